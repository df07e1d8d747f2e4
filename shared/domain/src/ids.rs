//! Identifiers. Each is a newtype whose constructor validates, so that a value that exists is a value that may be stored.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use thiserror::Error;

/// Why a piece of text is no identifier.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum IdError {
    /// Nothing is left after trimming.
    #[error("{what} must not be empty")]
    Empty {
        /// Which identifier was read.
        what: &'static str,
    },
    /// Longer than may be stored.
    #[error("{what} must be at most {max} bytes, got {got}")]
    TooLong {
        /// Which identifier was read.
        what: &'static str,
        /// The longest that is accepted, in bytes.
        max: usize,
        /// The length found, in bytes.
        got: usize,
    },
    /// Holds a character that has no place in it.
    #[error("{what} must not hold the character `{found}`")]
    Character {
        /// Which identifier was read.
        what: &'static str,
        /// The offending character, escaped.
        found: String,
    },
    /// Not of the expected form.
    #[error("{what} must be {expected}, got `{got}`")]
    Form {
        /// Which identifier was read.
        what: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was found, shortened.
        got: String,
    },
}

/// The trimmed text.
fn checked<'t>(text: &'t str, what: &'static str, max: usize) -> Result<&'t str, IdError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > max {
        return Err(IdError::TooLong { what, max, got: text.len() });
    }
    // Most are plain, and bytes are looked at faster than characters.
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let control = if plain { None } else { text.chars().find(|c| c.is_control()) };
    if let Some(c) = control {
        return Err(IdError::Character { what, found: c.escape_default().to_string() });
    }
    Ok(text)
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Trims and checks the text.
            pub fn new(text: &str) -> Result<Self, IdError> {
                checked(text, $what, $max).map(|text| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                let trimmed = checked(&text, $what, $max)?;
                Ok(Self(if trimmed.len() == text.len() { text } else { trimmed.to_owned() }))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A company: an id that the user's own systems gave it, or its web domain when Harpoon made the account.
    AccountId, "account id", 256
);
text_id!(
    /// Identifies one event for de-duplication; under 100 characters as in the Segment specification.
    MessageId, "messageId", 400
);
text_id!(
    /// A trigger's id.
    TriggerId, "trigger id", 64
);
text_id!(
    /// A destination's id.
    DestinationId, "destination id", 64
);
text_id!(
    /// A ruleset's id, of any kind.
    RulesetId, "ruleset id", 64
);
text_id!(
    /// The id of a job that runs in the background.
    JobId, "job id", 64
);

/// One isolated customer of a deployment. Lower-case letters, digits, `-` and `_`; it is part of every key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceId(String);

impl WorkspaceId {
    /// Checks the text.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let text = checked(text, "workspace id", 32)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        match text.chars().find(|c| !fits(*c)) {
            Some(c) => Err(IdError::Character { what: "workspace id", found: c.to_string() }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WorkspaceId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl From<WorkspaceId> for String {
    fn from(id: WorkspaceId) -> String {
        id.0
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What sort of alias an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityKind {
    /// The `userId` of a known person.
    User,
    /// The `anonymousId` of a browser or device.
    Anonymous,
    /// An account that an event names when there is no person.
    Account,
}

impl IdentityKind {
    /// The word used in keys and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Anonymous => "anonymous",
            Self::Account => "account",
        }
    }
}

/// One alias that an event carries, read off the event itself. The workspace is known from the context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What sort of alias it is.
    pub kind: IdentityKind,
    /// The alias as the client wrote it, trimmed.
    pub value: String,
}

impl Identity {
    /// A known person.
    pub fn user(value: &str) -> Self {
        Self { kind: IdentityKind::User, value: value.trim().to_owned() }
    }

    /// A browser or device.
    pub fn anonymous(value: &str) -> Self {
        Self { kind: IdentityKind::Anonymous, value: value.trim().to_owned() }
    }

    /// An account named by an event without a person.
    pub fn account(account: &AccountId) -> Self {
        Self { kind: IdentityKind::Account, value: account.as_str().to_owned() }
    }

    /// The fixed-size key under which this identity is stored.
    pub fn id(&self) -> IdentityId {
        let mut hash = Sha256::new();
        hash.update(self.kind.as_str().as_bytes());
        hash.update([0]);
        hash.update(self.value.as_bytes());
        let mut id = [0_u8; 16];
        for (to, from) in id.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        IdentityId(id)
    }
}

/// 128 bits of a digest of kind and value: the key of an identity. Also the public id of the lead that it founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId([u8; 16]);

impl IdentityId {
    /// The raw 16 bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the raw 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key of the place where unresolved people with this e-mail address are kept together.
    pub fn of_address(address: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"address");
        hash.update([0]);
        hash.update(address.as_bytes());
        let mut id = [0_u8; 16];
        for (to, from) in id.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(id)
    }

    /// Reads 32 hexadecimal digits, with or without the `ld_` that a lead's id begins with.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix("ld_").unwrap_or(text);
        let mut bytes = [0_u8; 16];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| IdError::Form {
            what: "lead id",
            expected: "`ld_` and 32 hexadecimal digits",
            got: text.chars().take(64).collect(),
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; 32];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityId({self})")
    }
}

impl Serialize for IdentityId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for IdentityId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = IdentityId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes or 32 hexadecimal digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<IdentityId, E> {
                IdentityId::parse(text).map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<IdentityId, E> {
                bytes.try_into().map(IdentityId).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        if d.is_human_readable() { d.deserialize_str(Visitor) } else { d.deserialize_bytes(Visitor) }
    }
}

/// Names one queue message of events. Ingest assigns it after splitting; it sorts by the moment it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(u128);

impl BatchId {
    /// 48 bits of time and 80 bits of randomness, laid out as a ULID.
    pub const fn new(at: Timestamp, random: u128) -> Self {
        let ms = if at.millis() < 0 { 0 } else { at.millis() as u128 & 0xFFFF_FFFF_FFFF };
        Self((ms << 80) | (random & ((1 << 80) - 1)))
    }

    /// When the batch was made, by the clock of the host that made it.
    pub const fn at(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> 80) as i64)
    }

    /// From its 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Its 128 bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Reads the 26 characters that `Display` writes.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let wrong =
            || IdError::Form { what: "batch id", expected: "26 characters of Crockford base 32", got: text.chars().take(64).collect() };
        if text.len() != 26 {
            return Err(wrong());
        }
        let mut bits: u128 = 0;
        for c in text.bytes() {
            let digit = ALPHABET.iter().position(|a| *a == c).ok_or_else(wrong)?;
            if bits >> 123 != 0 {
                return Err(wrong());
            }
            bits = (bits << 5) | digit as u128;
        }
        Ok(Self(bits))
    }
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; 26];
        for (i, to) in digits.iter_mut().rev().enumerate() {
            let digit = ((self.0 >> (i * 5)) & 31) as usize;
            *to = ALPHABET.get(digit).copied().unwrap_or(b'0');
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for BatchId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0.to_be_bytes()) }
    }
}

impl<'de> Deserialize<'de> for BatchId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = BatchId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes or 26 base 32 characters")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BatchId, E> {
                BatchId::parse(text).map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<BatchId, E> {
                let bytes: [u8; 16] = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
                Ok(BatchId(u128::from_be_bytes(bytes)))
            }
        }
        if d.is_human_readable() { d.deserialize_str(Visitor) } else { d.deserialize_bytes(Visitor) }
    }
}

/// Where a state lives: an account's partition, or the partition of a lead that has no account yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Home {
    /// The partition of an account.
    Account(AccountId),
    /// The partition of an unresolved lead, which is scored like an account of one.
    Lead(IdentityId),
}

impl Home {
    /// The account, when this is an account's partition.
    pub const fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Account(id) => Some(id),
            Self::Lead(_) => None,
        }
    }
}

impl fmt::Display for Home {
    /// `a:` and the account id, or `l:` and the lead's key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(f, "a:{id}"),
            Self::Lead(id) => write!(f, "l:{id}"),
        }
    }
}

impl From<Home> for String {
    fn from(home: Home) -> String {
        home.to_string()
    }
}

impl TryFrom<String> for Home {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("a", id)) => AccountId::new(id).map(Self::Account),
            Some(("l", id)) => IdentityId::parse(id).map(Self::Lead),
            _ => Err(IdError::Form {
                what: "home",
                expected: "`a:` and an account id or `l:` and a lead key",
                got: text.chars().take(64).collect(),
            }),
        }
    }
}

/// A short stable digest for spreading keys over shards and for comparing text by hash. Never for secrets.
pub fn hash64(parts: &[&[u8]]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(0x6861_7270, 0x6f6f_6e31);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_name_what_is_wrong() {
        assert_eq!(AccountId::new("  ").unwrap_err().to_string(), "account id must not be empty");
        assert!(AccountId::new(&"x".repeat(257)).is_err());
        assert!(AccountId::new("a\nb").is_err());
        assert_eq!(AccountId::new(" acct_1 ").unwrap().as_str(), "acct_1");
        assert!(WorkspaceId::new("Acme").is_err());
    }

    #[test]
    fn same_value_of_another_kind_is_another_identity() {
        assert_ne!(Identity::user("7").id(), Identity::anonymous("7").id());
        assert_eq!(Identity::user(" 7 ").id(), Identity::user("7").id());
    }

    proptest! {
        #[test]
        fn batch_ids_round_trip_and_sort_by_time(ms in 0_i64..(1 << 47), random in any::<u128>()) {
            let id = BatchId::new(Timestamp::from_millis(ms), random);
            prop_assert_eq!(BatchId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(id.at().millis(), ms.min(253_402_128_000_000));
            let later = BatchId::new(id.at().plus_millis(1), 0);
            prop_assert!(later > id && later.to_string() > id.to_string());
        }

        #[test]
        fn parsers_never_panic(text in ".*") {
            let _ = BatchId::parse(&text);
            let _ = IdentityId::parse(&text);
            let _ = Home::try_from(text.clone());
            let _ = Timestamp::parse(&text);
        }
    }
}
