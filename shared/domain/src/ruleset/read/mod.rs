//! Strict readers: every problem of a document with its JSON pointer, and nothing that is not known.

mod engagement;
mod levels;
mod profiles;
mod surge;

use crate::problem::{Problems, join};
use serde_json::{Map, Value};

/// The longest id of a rule or level, in characters.
const MAX_ID: usize = 100;
/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// The longest text that a rule compares with, in characters.
const MAX_TEXT: usize = 1_000;

impl Problems {
    /// Reads a required word out of some.
    fn word<T: Copy>(&mut self, at: &str, map: &Map<String, Value>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let at = join(at, key);
        let known = || words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let Some(value) = map.get(key) else {
            self.add(&at, format!("is required: one of {}", known()));
            return None;
        };
        let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            self.add(&at, format!("must be one of {}, got {}", known(), crate::problem::shape(value)));
        }
        found.map(|(_, meant)| *meant)
    }

    /// Reads a required whole number that is never negative.
    fn count(&mut self, at: &str, map: &Map<String, Value>, key: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        self.whole(at, map, key, range).and_then(|n| u32::try_from(n).ok())
    }

    /// Reads a whole number that is never negative and has a default.
    fn count_or(
        &mut self,
        at: &str,
        map: &Map<String, Value>,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
        default: u32,
    ) -> Option<u32> {
        match map.get(key) {
            None | Some(Value::Null) => Some(default),
            Some(_) => self.count(at, map, key, range),
        }
    }
}
