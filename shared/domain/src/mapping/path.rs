//! Where values stand in a call, and a quick look whether a call holds any of them.

use serde_json::{Map, Value};
use std::fmt;

const MAX_PATH_CHARS: usize = 200;

/// Which part of a call a path begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// `properties.…`: the properties of a track, page, screen or account event.
    Properties,
    /// `traits.…`: the traits of an identify or group call.
    Traits,
    /// `group.…`: the traits of a group call only, where `name` and `email` are the account's and not a person's.
    Group,
    /// `context.…`: the context of any call.
    Context,
}

impl Root {
    pub(super) const ALL: [Self; 4] = [Self::Properties, Self::Traits, Self::Group, Self::Context];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Properties => "properties",
            Self::Traits => "traits",
            Self::Group => "group",
            Self::Context => "context",
        }
    }
}

/// Where a value stands in a call, such as `properties.company_size` or `context.traits.company`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyPath {
    pub(super) root: Root,
    rest: String,
}

impl PropertyPath {
    /// Reads a path. `None` when it does not begin with a known root, or a step is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (root, rest) = text.split_once('.')?;
        let root = Root::ALL.into_iter().find(|known| known.as_str() == root)?;
        let sound = rest.split('.').all(|step| !step.trim().is_empty()) && text.chars().count() <= MAX_PATH_CHARS;
        sound.then(|| Self { root, rest: rest.to_owned() })
    }

    /// Whether a value may stand below this key, or at it.
    pub(super) fn begins_with(&self, key: &str) -> bool {
        self.first_step() == key || self.rest == key
    }

    fn first_step(&self) -> &str {
        self.rest.split('.').next().unwrap_or_default()
    }

    /// Whether `other` lies below this place.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let below = other.rest.strip_prefix(&self.rest).is_some_and(|rest| rest.starts_with('.'));
        self.root == other.root && below
    }

    /// The value and the object that holds it. A key that itself contains dots wins over nesting.
    pub(super) fn find<'v>(&self, map: &'v Map<String, Value>) -> Option<(&'v Value, &'v Map<String, Value>)> {
        let (mut map, mut rest) = (map, self.rest.as_str());
        loop {
            if let Some(value) = map.get(rest) {
                return Some((value, map));
            }
            let (step, below) = rest.split_once('.')?;
            map = map.get(step)?.as_object()?;
            rest = below;
        }
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.root.as_str(), self.rest)
    }
}

/// The keys that paths begin with, to tell without parsing that an object holds nothing of interest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet {
    /// Sorted by length, then text.
    keys: Vec<String>,
    /// Bit n is set when there is a key of n bytes; bit 63 also stands for longer ones.
    lengths: u64,
    /// Bit n is set when there is a key whose first byte ends in the six bits n.
    firsts: u64,
}

/// The bit of a name's first byte.
fn first_bit(name: &str) -> u64 {
    1 << (name.as_bytes().first().copied().unwrap_or_default() & 63)
}

impl KeySet {
    pub(super) fn of<'p>(paths: impl Iterator<Item = &'p PropertyPath>) -> Self {
        let mut set = Self::default();
        for path in paths {
            // A key may be the whole rest of the path when it holds dots itself.
            let whole = path.rest.split('.').scan(String::new(), |prefix, step| {
                if !prefix.is_empty() {
                    prefix.push('.');
                }
                prefix.push_str(step);
                Some(prefix.clone())
            });
            set.keys.extend(whole.filter(|key| key == path.first_step() || *key == path.rest));
        }
        set.keys.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        set.keys.dedup();
        set.lengths = set.keys.iter().fold(0, |bits, key| bits | (1 << key.len().min(63)));
        set.firsts = set.keys.iter().fold(0, |bits, key| bits | first_bit(key));
        set
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether it is one of the keys.
    pub fn holds(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Its place among the keys.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let listed = self.lengths & (1 << name.len().min(63)) != 0 && self.firsts & first_bit(name) != 0;
        let found = || self.keys.binary_search_by(|key| (key.len(), key.as_str()).cmp(&(name.len(), name))).ok();
        if listed { found() } else { None }
    }

    /// The keys, each at its place.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }
}
