//! From the JSON that a client sent to the type that the mapping declares.

use super::{
    Currency, FieldType, FieldValue, MAX_ITEMS, MAX_LIST_CHARS, MAX_TEXT_CHARS, Number,
    amount::{self, Amount, Reading},
};
use crate::{
    Timestamp,
    problem::{shape, short},
};
use serde_json::Value;
use thiserror::Error;

/// Why a value is no value of the declared type. Reads on from the field's name: "`employees` must be …".
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CoercionError {
    /// Not of the form that the type wants.
    #[error("must be {expected}, got {got}", got = quoted(got))]
    Form {
        /// What would be right.
        expected: &'static str,
        /// What was found, shortened.
        got: String,
    },
    /// Empty text says neither a value nor that there is none.
    #[error("must not be empty text; send null to clear the field")]
    Empty,
    /// Longer than a field may be.
    #[error("must have at most {max} characters, got {got}")]
    TooLong {
        /// The longest that is accepted, in characters.
        max: usize,
        /// The length found.
        got: usize,
    },
    /// More items than a list may have.
    #[error("must have at most {max} items, got {got}")]
    TooManyItems {
        /// The most that are accepted.
        max: usize,
        /// How many were found.
        got: usize,
    },
    /// An amount in a currency for which the workspace has no rate.
    #[error("is in {got}, but the workspace counts in {workspace} and there is no rate; send the amount in {workspace}")]
    Currency {
        /// The currency of the amount.
        got: Currency,
        /// The currency of the workspace.
        workspace: Currency,
    },
    /// Could mean two numbers.
    #[error("is ambiguous: `{got}` has either three decimals or a thousands separator; send a JSON number, or group with a comma")]
    Ambiguous {
        /// What was found, shortened.
        got: String,
    },
    /// A range whose lower end is above its upper one.
    #[error("must be a range from the smaller to the larger number, got {from} to {to}")]
    Reversed {
        /// The first end.
        from: Number,
        /// The second end.
        to: Number,
    },
    /// Larger than fields hold.
    #[error("must lie between -9e15 and 9e15, got `{got}`")]
    OutOfRange {
        /// What was found, shortened.
        got: String,
    },
}

/// Quotes user input, but not the words `an array`, `an object`.
fn quoted(got: &str) -> String {
    let described = got.starts_with('`') || got == "an array" || got == "an object";
    if described { got.to_owned() } else { format!("`{got}`") }
}

const TRUTH: &str = "true or false (`yes`, `no`, 1 and 0 also count)";
const DATE: &str = "an ISO 8601 date such as 2026-11-21T08:00:00Z, or an epoch in seconds or milliseconds";

impl FieldType {
    /// Reads what a client sent as a value of this type. `null` gives `None`: it clears the field.
    ///
    /// Amounts are in the `workspace`'s currency. The accepted forms of numbers are listed in the documentation of field mappings.
    pub fn coerce(self, raw: &Value, workspace: Currency) -> Result<Option<FieldValue>, CoercionError> {
        self.coerce_stated(raw, workspace, None)
    }

    /// The same; `stated` is the currency that a sibling property names for an amount that names none itself.
    pub(crate) fn coerce_stated(
        self,
        raw: &Value,
        workspace: Currency,
        stated: Option<Currency>,
    ) -> Result<Option<FieldValue>, CoercionError> {
        if raw.is_null() {
            return Ok(None);
        }
        match self {
            Self::Text => text(raw),
            Self::Number => number(raw, Reading { money: None, stated: None }),
            Self::Money => number(raw, Reading { money: Some(workspace), stated }),
            Self::Bool => bool_of(raw),
            Self::Date => date(raw),
            Self::List => list(raw),
        }
        .map(Some)
    }
}

fn form(expected: &'static str, raw: &Value) -> CoercionError {
    CoercionError::Form { expected, got: shape(raw) }
}

/// A scalar as text.
fn scalar(raw: &Value) -> Option<String> {
    match raw {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(raw: &Value) -> Result<FieldValue, CoercionError> {
    let text = scalar(raw).ok_or_else(|| form("a text", raw))?;
    if text.is_empty() {
        return Err(CoercionError::Empty);
    }
    let chars = text.chars().count();
    if chars > MAX_TEXT_CHARS {
        return Err(CoercionError::TooLong { max: MAX_TEXT_CHARS, got: chars });
    }
    Ok(FieldValue::Text(text))
}

fn number(raw: &Value, reading: Reading) -> Result<FieldValue, CoercionError> {
    match raw {
        Value::Number(n) => {
            if let (Some(workspace), Some(got)) = (reading.money, reading.stated)
                && got != workspace
            {
                return Err(CoercionError::Currency { got, workspace });
            }
            let number = Number::from_json(n).ok_or_else(|| CoercionError::OutOfRange { got: short(&n.to_string()) })?;
            Ok(FieldValue::Number(number))
        }
        Value::String(text) if text.trim().is_empty() => Err(CoercionError::Empty),
        Value::String(text) => Ok(match amount::read(text, reading)? {
            Amount::Exact(number) => FieldValue::Number(number),
            Amount::Between(interval) => FieldValue::Interval(interval),
        }),
        _ if reading.money.is_some() => Err(form("an amount of money such as 50000000 or `$50M`", raw)),
        _ => Err(form("a number such as 1200, `1,000+` or `201-500`", raw)),
    }
}

/// Reads a word for true or false.
pub(crate) fn truth(text: &str) -> Option<bool> {
    let text = text.trim();
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "yes", "y", "t", "1", "on"]) {
        Some(true)
    } else if is(&["false", "no", "n", "f", "0", "off"]) {
        Some(false)
    } else {
        None
    }
}

fn bool_of(raw: &Value) -> Result<FieldValue, CoercionError> {
    let read = match raw {
        Value::Bool(truth) => Some(*truth),
        Value::Number(n) => match n.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        Value::String(text) if text.trim().is_empty() => return Err(CoercionError::Empty),
        Value::String(text) => truth(text),
        _ => None,
    };
    read.map(FieldValue::Bool).ok_or_else(|| form(TRUTH, raw))
}

/// Epochs below this are refused: they are more likely a year or a mistake than a moment before March 1973.
const EARLIEST_EPOCH: i64 = 100_000_000;
/// Epochs from here on are in milliseconds; in seconds this is the year 5138.
const MILLIS_FROM: i64 = 100_000_000_000;

fn date(raw: &Value) -> Result<FieldValue, CoercionError> {
    let epoch = |n: i64| match n {
        EARLIEST_EPOCH..MILLIS_FROM => Some(n * 1_000),
        // What a timestamp would clamp is no date.
        MILLIS_FROM.. => Some(n).filter(|n| Timestamp::from_millis(*n).millis() == *n),
        _ => None,
    };
    let at = match raw {
        Value::Number(n) => n.as_i64().and_then(epoch).map(Timestamp::from_millis),
        Value::String(text) if text.trim().is_empty() => return Err(CoercionError::Empty),
        Value::String(text) => {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            match text.parse() {
                Ok(n) if digits && text.len() > 8 => epoch(n).map(Timestamp::from_millis),
                _ => Timestamp::parse(text),
            }
        }
        _ => None,
    };
    at.map(FieldValue::Date).ok_or_else(|| form(DATE, raw))
}

/// A list from an array of scalars, or from text with `;` (else `,`) between the items. Repeated items are kept once.
fn list(raw: &Value) -> Result<FieldValue, CoercionError> {
    const LIST: &str = "a list of texts, or a text with `;` or `,` between the items";
    let parts: Vec<String> = match raw {
        Value::String(text) => {
            let separator = if text.contains(';') { ';' } else { ',' };
            text.split(separator).map(|part| part.trim().to_owned()).collect()
        }
        Value::Array(items) => items.iter().map(scalar).collect::<Option<_>>().ok_or_else(|| form(LIST, raw))?,
        _ => return Err(form(LIST, raw)),
    };
    let mut items: Vec<String> = Vec::new();
    let mut chars = 0_usize;
    let mut seen = std::collections::BTreeSet::new();
    for part in parts {
        if !part.is_empty() && seen.insert(part.to_lowercase()) {
            chars = chars.saturating_add(part.chars().count());
            items.push(part);
        }
    }
    if items.len() > MAX_ITEMS {
        return Err(CoercionError::TooManyItems { max: MAX_ITEMS, got: items.len() });
    }
    if chars > MAX_LIST_CHARS {
        return Err(CoercionError::TooLong { max: MAX_LIST_CHARS, got: chars });
    }
    if items.is_empty() && raw.is_string() {
        return Err(CoercionError::Empty);
    }
    Ok(FieldValue::List(items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn coerce(kind: FieldType, raw: Value) -> Result<Option<FieldValue>, CoercionError> {
        kind.coerce(&raw, Currency::USD)
    }

    fn shown(kind: FieldType, raw: Value) -> String {
        match coerce(kind, raw) {
            Ok(Some(value)) => value.to_string(),
            Ok(None) => "cleared".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn null_clears_a_field_of_every_type() {
        for kind in FieldType::ALL {
            assert_eq!(coerce(kind, Value::Null), Ok(None));
        }
    }

    #[test]
    fn the_documents_examples_are_read() {
        assert_eq!(shown(FieldType::Number, json!("1,000+")), "1000+");
        assert_eq!(shown(FieldType::Money, json!("$50M")), "50000000");
        assert_eq!(shown(FieldType::Number, json!("201-500")), "201–500");
        assert_eq!(shown(FieldType::Number, json!(1200)), "1200");
        assert_eq!(shown(FieldType::Number, json!(12.5)), "12.5");
        assert_eq!(shown(FieldType::Money, json!(0.1 + 0.2)), "0.3");
    }

    #[test]
    fn truth_comes_in_several_words() {
        for raw in [json!(true), json!("yes"), json!("TRUE"), json!(1), json!("1"), json!(" Y ")] {
            assert_eq!(coerce(FieldType::Bool, raw), Ok(Some(FieldValue::Bool(true))));
        }
        for raw in [json!(false), json!("no"), json!("False"), json!(0), json!("off")] {
            assert_eq!(coerce(FieldType::Bool, raw), Ok(Some(FieldValue::Bool(false))));
        }
        assert_eq!(shown(FieldType::Bool, json!("maybe")), "must be true or false (`yes`, `no`, 1 and 0 also count), got `maybe`");
        assert!(coerce(FieldType::Bool, json!(2)).is_err());
    }

    #[test]
    fn dates_are_iso_8601_or_epochs() {
        let moment = "2023-11-14T22:13:20.000Z";
        for raw in [json!("2023-11-14T22:13:20Z"), json!(1_700_000_000), json!(1_700_000_000_000_i64), json!("1700000000")] {
            assert_eq!(shown(FieldType::Date, raw.clone()), moment, "{raw}");
        }
        assert_eq!(shown(FieldType::Date, json!("2023-11-14")), "2023-11-14T00:00:00.000Z");
        for raw in [json!(2015), json!(0), json!("2015"), json!("yesterday"), json!(-5), json!(i64::MAX), json!("14.11.2023"), json!([1])] {
            assert!(coerce(FieldType::Date, raw.clone()).unwrap_err().to_string().starts_with("must be an ISO 8601 date"), "{raw}");
        }
    }

    #[test]
    fn lists_come_as_arrays_or_text_and_hold_each_item_once() {
        assert_eq!(shown(FieldType::List, json!(["a", "b", "A", 7])), "a, b, 7");
        assert_eq!(shown(FieldType::List, json!("a; b, c;")), "a, b, c");
        assert_eq!(coerce(FieldType::List, json!("a, b")), Ok(Some(FieldValue::List(vec!["a".into(), "b".into()]))));
        assert_eq!(coerce(FieldType::List, json!([])), Ok(Some(FieldValue::List(vec![]))));
        assert!(coerce(FieldType::List, json!([["a"]])).is_err());
        let many: Vec<usize> = (0..101).collect();
        assert_eq!(shown(FieldType::List, json!(many)), "must have at most 100 items, got 101");
    }

    #[test]
    fn errors_say_what_would_be_right() {
        assert_eq!(shown(FieldType::Number, json!("lots")), "must be a number such as 1200, `1,000+`, `201-500` or `under 50`, got `lots`");
        assert_eq!(shown(FieldType::Number, json!({"n": 1})), "must be a number such as 1200, `1,000+` or `201-500`, got an object");
        assert_eq!(shown(FieldType::Text, json!(["a"])), "must be a text, got an array");
        assert_eq!(shown(FieldType::Text, json!("  ")), "must not be empty text; send null to clear the field");
        assert_eq!(shown(FieldType::Text, json!("x".repeat(1_001))), "must have at most 1000 characters, got 1001");
        assert_eq!(shown(FieldType::Text, json!(" x ")), "x");
        assert_eq!(shown(FieldType::Number, json!(1e300)), "must lie between -9e15 and 9e15, got `1e+300`");
        assert_eq!(shown(FieldType::Number, json!(true)), "must be a number such as 1200, `1,000+` or `201-500`, got `true`");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn coercion_never_panics_and_what_it_gives_is_storable(raw in any_json()) {
            for kind in FieldType::ALL {
                if let Ok(Some(value)) = coerce(kind, raw.clone()) {
                    let json = serde_json::to_string(&value).unwrap();
                    prop_assert_eq!(serde_json::from_str::<FieldValue>(&json).unwrap(), value);
                }
            }
        }
    }
}
