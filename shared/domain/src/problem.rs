//! What is wrong with a configuration document: every problem, each with the JSON pointer of the place.

use serde_json::{Map, Value};
use std::fmt;
use thiserror::Error;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The JSON pointer (RFC 6901) of the place; empty for the whole document.
    pub pointer: String,
    /// What is wrong there and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{place}: {}", self.message)
    }
}

/// All problems of one document, in the order of the document. Never empty when it is returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Error, serde::Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "; " };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl Problems {
    /// Nothing wrong so far.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Notes a problem.
    pub fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.0.push(Problem { pointer: pointer.to_owned(), message: message.into() });
    }

    /// `Ok` when nothing was noted.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Parses JSON text; what is no JSON is one problem of the whole document.
    pub(crate) fn document(text: &str) -> Result<Value, Self> {
        serde_json::from_str(text)
            .map_err(|error| Self(vec![Problem { pointer: String::new(), message: format!("must be JSON: {error}") }]))
    }

    /// Reads an object that has no other keys than `allowed`.
    pub(crate) fn object<'v>(&mut self, at: &str, value: &'v Value, allowed: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.add(at, format!("must be an object, got {}", shape(value)));
            return None;
        };
        for key in map.keys().filter(|key| !allowed.contains(&key.as_str())) {
            let known = allowed.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
            self.add(&join(at, key), format!("unknown key; the known ones are {known}"));
        }
        Some(map)
    }

    /// Reads an array.
    pub(crate) fn array<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v [Value]> {
        let array = value.as_array().map(Vec::as_slice);
        if array.is_none() {
            self.add(at, format!("must be an array, got {}", shape(value)));
        }
        array
    }

    /// Reads a required text of at most `max` characters, trimmed.
    pub(crate) fn text(&mut self, at: &str, map: &Map<String, Value>, key: &str, max: usize) -> Option<String> {
        match map.get(key) {
            Some(value) => self.text_value(&join(at, key), value, max),
            None => {
                self.add(&join(at, key), "is required: a text");
                None
            }
        }
    }

    /// Reads an optional text; `null` counts as absent.
    pub(crate) fn optional_text(&mut self, at: &str, map: &Map<String, Value>, key: &str, max: usize) -> Option<String> {
        let value = map.get(key).filter(|value| !value.is_null())?;
        self.text_value(&join(at, key), value, max)
    }

    /// Reads a text of 1 to `max` characters, trimmed. It may have several lines.
    pub(crate) fn text_value(&mut self, at: &str, value: &Value, max: usize) -> Option<String> {
        match value.as_str().map(str::trim) {
            Some(text) if text.chars().any(|c| c.is_control() && c != '\n') => {
                self.add(at, "must have no control characters");
                None
            }
            Some(text) if !text.is_empty() && text.chars().count() <= max => Some(text.to_owned()),
            Some(_) => {
                self.add(at, format!("must have 1 to {max} characters"));
                None
            }
            None => {
                self.add(at, format!("must be a text, got {}", shape(value)));
                None
            }
        }
    }

    /// Reads a required whole number inside `range`.
    pub(crate) fn whole(&mut self, at: &str, map: &Map<String, Value>, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let at = join(at, key);
        let Some(value) = map.get(key) else {
            self.add(&at, format!("is required: a whole number from {} to {}", range.start(), range.end()));
            return None;
        };
        self.whole_value(&at, value, range)
    }

    /// Reads an optional whole number inside `range`; `null` counts as absent.
    pub(crate) fn optional_whole(
        &mut self,
        at: &str,
        map: &Map<String, Value>,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = map.get(key).filter(|value| !value.is_null())?;
        self.whole_value(&join(at, key), value, range)
    }

    /// Reads a whole number inside `range`.
    pub(crate) fn whole_value(&mut self, at: &str, value: &Value, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let whole = value.as_i64().filter(|n| range.contains(n));
        if whole.is_none() {
            self.add(at, format!("must be a whole number from {} to {}, got {}", range.start(), range.end(), shape(value)));
        }
        whole
    }
}

/// The pointer of a key or index below `at`.
pub(crate) fn join(at: &str, key: impl fmt::Display) -> String {
    let key = key.to_string().replace('~', "~0").replace('/', "~1");
    format!("{at}/{key}")
}

/// A value as an error message shows it: short.
pub(crate) fn shape(value: &Value) -> String {
    match value {
        Value::Null => "`null`".to_owned(),
        Value::Bool(b) => format!("`{b}`"),
        Value::Number(n) => format!("`{n}`"),
        Value::String(s) => format!("`{}`", short(s)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The first 64 characters of a text.
pub(crate) fn short(text: &str) -> String {
    let mut out: String = text.chars().take(64).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_escape_as_rfc_6901_says() {
        assert_eq!(join("/rules", 3), "/rules/3");
        assert_eq!(join("", "a/b~c"), "/a~1b~0c");
    }

    #[test]
    fn a_text_has_no_control_characters_but_line_ends() {
        let mut problems = Problems::none();
        assert_eq!(problems.text_value("/why", &json!("two\nlines"), 20).as_deref(), Some("two\nlines"));
        for text in ["a\u{0}b", "a\u{1b}[2J", "a\u{7f}", "a\u{85}b"] {
            assert_eq!(problems.text_value("/why", &json!(text), 20), None);
        }
        assert_eq!(problems.0.len(), 4);
        assert_eq!(problems.0[0].to_string(), "/why: must have no control characters");
    }

    #[test]
    fn every_problem_is_listed_with_its_place() {
        let mut problems = Problems::none();
        let value = json!({"name": 7, "colour": "red"});
        let map = problems.object("", &value, &["name", "cap"]).unwrap();
        problems.text("", map, "name", 10);
        problems.whole("", map, "cap", 0..=9);
        let pointers: Vec<_> = problems.0.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(pointers, ["/colour", "/name", "/cap"]);
        assert_eq!(problems.0[1].to_string(), "/name: must be a text, got `7`");
    }
}
