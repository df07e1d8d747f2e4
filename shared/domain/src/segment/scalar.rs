//! Values that are read, and values that are only walked.

use super::{Invalid, MAX_DEPTH};
use crate::scan::{Scanned, Scanner};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// A field that should be text or a number. Any JSON value can be one: what is wrong with it is told when it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    /// Not given, or `null`.
    #[default]
    Absent,
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number of at most 64 bits, as decimal digits.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// Anything else, in words.
    Other(&'static str),
}

impl<'a> Scalar<'a> {
    /// Reads the next value. `None` leaves the call to the parser.
    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Option<Self> {
        Some(match scanner.value(MAX_DEPTH)? {
            Scanned::Null => Self::Absent,
            Scanned::Bool(value) => Self::Bool(value),
            Scanned::Text(text) => Self::Text(Cow::Borrowed(text)),
            Scanned::Whole(value) => Self::Number(value.to_string()),
            Scanned::Decimal(text) | Scanned::Other(text) => serde_json::from_str(text).ok()?,
        })
    }

    fn shape(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Other(words) => words,
        }
    }

    /// The text, trimmed; a number as its digits; `None` when there is nothing or only white space.
    pub(super) fn text(&self, pointer: &'static str) -> Result<Option<&str>, Invalid> {
        let text = match self {
            Self::Absent => return Ok(None),
            Self::Text(text) => text.trim(),
            Self::Number(digits) => digits,
            Self::Bool(_) | Self::Other(_) => {
                let reason = format!("{} must be a string or a whole number, got {}", named(pointer), self.shape());
                return Err(Invalid::new(pointer, reason));
            }
        };
        Ok(if text.is_empty() { None } else { Some(text) })
    }

    /// As [`Scalar::text`], with a longest length and no control characters.
    pub(super) fn bounded(&self, pointer: &'static str, max: usize) -> Result<Option<String>, Invalid> {
        let Some(text) = self.text(pointer)? else { return Ok(None) };
        if text.len() > max {
            let reason = format!("{} must be at most {max} bytes, got {}", named(pointer), text.len());
            return Err(Invalid::new(pointer, reason));
        }
        if let Some(found) = text.chars().find(|c| c.is_control()) {
            let reason = format!("{} must not hold the character `{}`", named(pointer), found.escape_default());
            return Err(Invalid::new(pointer, reason));
        }
        Ok(Some(text.to_owned()))
    }

    /// A name: as [`Scalar::bounded`], but a number is none.
    pub(super) fn name(&self, pointer: &'static str, max: usize) -> Result<Option<String>, Invalid> {
        if let Self::Number(_) | Self::Bool(_) | Self::Other(_) = self {
            return Err(Invalid::new(pointer, format!("{} must be a string, got {}", named(pointer), self.shape())));
        }
        self.bounded(pointer, max)
    }
}

/// A pointer as a sentence names it: `/context/ip` is `context.ip`.
pub(super) fn named(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Scalar<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Absent)
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Bool(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(value.to_string()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(value.to_string()))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                // Digits that were dropped here would make two ids one.
                Ok(Scalar::Other("a number that is no whole number of at most 64 bits"))
            }
            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(value)))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(value.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element_seed(Walked::INSIDE)?.is_some() {}
                Ok(Scalar::Other("an array"))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value_seed(Walked::INSIDE)?;
                }
                Ok(Scalar::Other("an object"))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// Walks a value without keeping it: strings are decoded, numbers read and levels counted, so that whoever parses the
/// text again succeeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walked {
    levels: usize,
}

impl Walked {
    /// A value inside an object that is itself the first level.
    pub(super) const INSIDE: Self = Self { levels: MAX_DEPTH - 1 };

    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(E::custom(format_args!("nested more deeply than {MAX_DEPTH} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walked {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walked {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}
