//! Fields: the firmographic properties of an account, their types, how raw JSON becomes one, and which statement of several wins.

mod alias;
mod amount;
mod coerce;
mod currency;
mod facts;
mod number;
mod value;

pub use alias::{Canonical, CountryCode, Industry, Vocabulary, canonical_country, canonical_industry};
pub use coerce::CoercionError;
pub(crate) use coerce::truth;
pub use currency::Currency;
pub use facts::{FieldFact, FieldFacts, FieldLookup, FieldSource, Keep, SourceOrder, Winner};
pub use number::{Interval, Number};
pub(crate) use value::contains_text;
pub(crate) use value::same_text;
pub use value::{FieldRef, FieldValue, MAX_ITEMS, MAX_LIST_CHARS, MAX_TEXT_CHARS};

use crate::IdError;
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt};

/// The name of a field: 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter, as in `company_size`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(String);

impl FieldName {
    /// Trims and checks the text.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let text = text.trim();
        if Self::is_sound(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::Form {
            what: "field name",
            expected: "1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter",
            got: text.chars().take(64).collect(),
        })
    }

    fn is_sound(text: &str) -> bool {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        let begins = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        begins && text.len() <= 64 && text.bytes().all(fits)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FieldName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FieldName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        if Self::is_sound(&text) { Ok(Self(text)) } else { Self::new(&text) }
    }
}

impl From<FieldName> for String {
    fn from(name: FieldName) -> String {
        name.0
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a field is declared to hold. Decides how raw JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Text of at most 1,000 characters.
    Text,
    /// A number with up to three decimals, or an interval.
    Number,
    /// A number, or an interval, in the workspace's currency.
    Money,
    /// Yes or no.
    Bool,
    /// A moment.
    Date,
    /// Several texts.
    List,
}

impl FieldType {
    /// Every type, in the order in which documentation lists them.
    pub const ALL: [Self; 6] = [Self::Text, Self::Number, Self::Money, Self::Bool, Self::Date, Self::List];

    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Money => "money",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::List => "list",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_snake_case_and_short() {
        for good in ["employees", "company_size", "a", "x2"] {
            assert_eq!(FieldName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Employees", "company size", "2x", "_x", "a-b", "straße", &"x".repeat(65)] {
            assert!(FieldName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            FieldName::new("Company Size").unwrap_err().to_string(),
            "field name must be 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter, got `Company Size`"
        );
    }
}
