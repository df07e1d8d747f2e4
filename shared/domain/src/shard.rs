//! Shards of a home: which of a giant account's leads are summed together.

use crate::{IdentityId, IdentityKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How many shards a home has.
pub const SHARDS: u8 = 64;

/// One shard of a home. A lead's linked identities lie in one shard, and so do all identities that stand for the account itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// The shard of an identity: six bits of its id, or of the user's whom it is linked to. Events without a person are the account's own,
    /// however it is named, and lie in the first shard.
    pub const fn of(kind: IdentityKind, id: IdentityId, link: Option<IdentityId>) -> Self {
        let founder = match link {
            Some(user) => user,
            None => id,
        };
        let [first, ..] = founder.bytes();
        match kind {
            IdentityKind::Account => Self(0),
            IdentityKind::User | IdentityKind::Anonymous => Self(*first >> 2),
        }
    }

    /// From its number; `None` from [`SHARDS`] on.
    pub const fn new(number: u8) -> Option<Self> {
        if number < SHARDS { Some(Self(number)) } else { None }
    }

    /// Its number, below [`SHARDS`].
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Reads the two hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = Some(text).filter(|text| text.len() == 2)?;
        Self::new(u8::from_str_radix(digits, 16).ok()?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// A set of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shards(u64);

impl Shards {
    /// None of them: something of the home changed that is in no shard, such as the account's own fields.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// Only this one.
    pub const fn only(shard: Shard) -> Self {
        Self(1 << shard.0)
    }

    /// Those of either set.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a shard is among them.
    pub const fn contains(self, shard: Shard) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Shard> {
        (0..SHARDS).map(Shard).filter(move |shard| self.contains(*shard))
    }
}

impl FromIterator<Shard> for Shards {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        shards.into_iter().fold(Self::NONE, |set, shard| set.and(Self::only(shard)))
    }
}

/// As hexadecimal digits of a bit per shard, because not every reader of JSON knows integers of 64 bits.
impl Serialize for Shards {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bits = u64::from_str_radix(&text, 16);
        bits.map(Self).map_err(|_| serde::de::Error::custom("a set of shards must be up to 16 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn a_linked_anonymous_id_lies_with_its_user() {
        let (user, browser) = (Identity::user("u-1").id(), Identity::anonymous("b-1").id());
        let of_user = Shard::of(IdentityKind::User, user, None);
        assert_eq!(Shard::of(IdentityKind::Anonymous, browser, Some(user)), of_user);
        // The six highest bits of the first byte.
        assert_eq!(of_user.number(), user.bytes()[0] / 4);
    }

    #[test]
    fn whatever_names_the_account_itself_lies_in_the_first_shard() {
        for id in ["acct-1", "quarrystone-mills.com"] {
            let id = Identity { kind: IdentityKind::Account, value: id.to_owned() }.id();
            assert_eq!(Shard::of(IdentityKind::Account, id, None).number(), 0);
        }
    }

    #[test]
    fn a_set_is_written_as_bits_in_hexadecimal_digits() {
        let set: Shards = [0, 5, 63].into_iter().filter_map(Shard::new).collect();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#""8000000000000021""#);
        for set in [set, Shards::ALL, Shards::NONE] {
            assert_eq!(serde_json::from_str::<Shards>(&serde_json::to_string(&set).unwrap()).unwrap(), set);
        }
        assert!(serde_json::from_str::<Shards>(r#""x""#).is_err());
        assert_eq!(set.iter().map(Shard::number).collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!((Shards::ALL.len(), Shards::NONE.len(), Shard::new(64)), (64, 0, None));
    }
}
