//! What a field holds, and its JSON form.

use super::{Interval, Number};
use crate::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use std::{borrow::Cow, fmt};

/// The longest text of a field, in characters.
pub const MAX_TEXT_CHARS: usize = 1_000;
/// The most items of a list.
pub const MAX_ITEMS: usize = 100;
/// The most characters that the items of a list hold together.
pub const MAX_LIST_CHARS: usize = 4_000;

/// The value of a field.
///
/// In JSON a text, number, truth value or list is the plain JSON value; an interval is `{"from": 201, "to": 500}` with either end absent when
/// open; a date is `{"date": "2026-11-21T00:00:00.000Z"}`. In binary formats the date is milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldValue {
    /// Text, trimmed, of 1 to 1,000 characters.
    Text(String),
    /// A number with up to three decimals.
    Number(Number),
    /// A number of which only the bounds are known.
    Interval(Interval),
    /// Yes or no.
    Bool(bool),
    /// A moment.
    Date(Timestamp),
    /// Up to 100 texts.
    List(Vec<String>),
}

/// A borrowed field value: what rules are evaluated on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldRef<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Number(Number),
    /// A number of which only the bounds are known.
    Interval(Interval),
    /// Yes or no.
    Bool(bool),
    /// A moment.
    Date(Timestamp),
    /// Several texts.
    List(Cow<'a, [String]>),
}

impl FieldValue {
    /// A borrowed view.
    pub fn view(&self) -> FieldRef<'_> {
        match self {
            Self::Text(text) => FieldRef::Text(Cow::Borrowed(text)),
            Self::Number(number) => FieldRef::Number(*number),
            Self::Interval(interval) => FieldRef::Interval(*interval),
            Self::Bool(truth) => FieldRef::Bool(*truth),
            Self::Date(at) => FieldRef::Date(*at),
            Self::List(items) => FieldRef::List(Cow::Borrowed(items)),
        }
    }
}

impl FieldRef<'_> {
    /// What sort of value it is, for messages: `a text`, `a number` ….
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Interval(_) => "an interval",
            Self::Bool(_) => "yes or no",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
        }
    }

    /// An owned copy.
    pub fn to_value(&self) -> FieldValue {
        match self {
            Self::Text(text) => FieldValue::Text(text.clone().into_owned()),
            Self::Number(number) => FieldValue::Number(*number),
            Self::Interval(interval) => FieldValue::Interval(*interval),
            Self::Bool(truth) => FieldValue::Bool(*truth),
            Self::Date(at) => FieldValue::Date(*at),
            Self::List(items) => FieldValue::List(items.clone().into_owned()),
        }
    }
}

impl fmt::Display for FieldValue {
    /// As a person reads it: `201–500`, `yes`, `2026-11-21T00:00:00.000Z`, items joined by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Interval(interval) => write!(f, "{interval}"),
            Self::Bool(true) => f.write_str("yes"),
            Self::Bool(false) => f.write_str("no"),
            Self::Date(at) => write!(f, "{at}"),
            Self::List(items) => f.write_str(&items.join(", ")),
        }
    }
}

impl Serialize for FieldValue {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => s.serialize_str(text),
            Self::Number(number) => number.serialize(s),
            Self::Interval(interval) => interval.serialize(s),
            Self::Bool(truth) => s.serialize_bool(*truth),
            Self::Date(at) => {
                let readable = s.is_human_readable();
                let mut map = s.serialize_map(Some(1))?;
                if readable {
                    map.serialize_entry("date", &at.to_string())?;
                } else {
                    map.serialize_entry("date", at)?;
                }
                map.end()
            }
            Self::List(items) => items.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        FieldRef::deserialize(d).map(|value| value.to_value())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for FieldRef<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl ValueVisitor {
    fn text<E: de::Error>(text: &str) -> Result<&str, E> {
        let text = text.trim();
        if text.is_empty() || (text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS) {
            return Err(E::custom("a text must have 1 to 1000 characters"));
        }
        Ok(text)
    }

    fn number<E: de::Error>(number: Option<Number>) -> Result<FieldRef<'static>, E> {
        number.map(FieldRef::Number).ok_or_else(|| E::custom("the number is out of range"))
    }
}

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = FieldRef<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false, a list of texts, {\"from\", \"to\"} or {\"date\"}")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Self::text(text).map(|text| FieldRef::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::text(text).map(|text| FieldRef::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(FieldRef::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Self::Value, E> {
        Self::number(Number::whole(n))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Self::Value, E> {
        Self::number(i64::try_from(n).ok().and_then(Number::whole))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Self::Value, E> {
        Self::number(Number::parse(&n.to_string()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let mut chars = 0_usize;
        while let Some(item) = seq.next_element::<String>()? {
            chars = chars.saturating_add(item.chars().count());
            if items.len() == MAX_ITEMS || chars > MAX_LIST_CHARS {
                return Err(de::Error::custom("a list may have 100 items with 4000 characters together"));
            }
            items.push(item);
        }
        Ok(FieldRef::List(Cow::Owned(items)))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Moment {
            Text(String),
            Millis(i64),
        }
        let (mut from, mut to) = (None, None);
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match key.as_ref() {
                "from" => from = Some(map.next_value::<Number>()?),
                "to" => to = Some(map.next_value::<Number>()?),
                "date" => {
                    let at = match map.next_value::<Moment>()? {
                        Moment::Text(text) => Timestamp::parse(&text),
                        Moment::Millis(ms) => Some(Timestamp::from_millis(ms)),
                    };
                    let at = at.ok_or_else(|| de::Error::custom("`date` must be ISO 8601, such as 2026-11-21T08:00:00Z"))?;
                    return Self::alone(map, FieldRef::Date(at));
                }
                "number" => {
                    let number = Number::parse(&map.next_value::<Cow<'_, str>>()?);
                    let number = Self::number(number)?;
                    return Self::alone(map, number);
                }
                other => return Err(de::Error::unknown_field(other, &["from", "to", "date", "number"])),
            }
        }
        Interval::new(from, to)
            .map(FieldRef::Interval)
            .ok_or_else(|| de::Error::custom("an interval needs `from`, `to` or both, and `from` not above `to`"))
    }
}

impl ValueVisitor {
    /// Refuses further keys beside `date` or `number`.
    fn alone<'de, A: de::MapAccess<'de>>(mut map: A, value: FieldRef<'de>) -> Result<FieldRef<'de>, A::Error> {
        match map.next_key::<Cow<'_, str>>()? {
            Some(key) => Err(de::Error::custom(format_args!("unexpected key `{key}`"))),
            None => Ok(value),
        }
    }
}

/// Whether two texts are equal but for case and surrounding space. `folded` is trimmed and in lower case already.
pub(crate) fn same_text(text: &str, folded: &str) -> bool {
    let text = text.trim();
    if text.is_ascii() {
        return text.eq_ignore_ascii_case(folded);
    }
    text.chars().flat_map(char::to_lowercase).eq(folded.chars())
}

/// Whether a text holds another but for case. `folded` is in lower case already.
pub(crate) fn contains_text(text: &str, folded: &str) -> bool {
    if text.is_ascii() && folded.is_ascii() {
        let (text, folded) = (text.as_bytes(), folded.as_bytes());
        return folded.is_empty() || text.windows(folded.len()).any(|part| part.eq_ignore_ascii_case(folded));
    }
    text.chars().flat_map(char::to_lowercase).collect::<String>().contains(folded)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_number() -> impl Strategy<Value = Number> {
        prop_oneof![(-5_i64..5).prop_map(|n| n * 500), any::<i64>()].prop_map(Number::from_thousandths)
    }

    pub(crate) fn any_value() -> impl Strategy<Value = FieldValue> {
        let number = any_number;
        prop_oneof![
            "[a-zA-Zéß][ -~é]{0,10}[a-z]".prop_map(FieldValue::Text),
            number().prop_map(FieldValue::Number),
            (proptest::option::of(number()), proptest::option::of(number()))
                .prop_filter_map("no bounds", |(from, to)| Interval::new(from, to).map(FieldValue::Interval)),
            any::<bool>().prop_map(FieldValue::Bool),
            (-4_000_000_000_000_i64..4_000_000_000_000).prop_map(|ms| FieldValue::Date(Timestamp::from_millis(ms))),
            proptest::collection::vec("[a-z]{1,6}", 0..4).prop_map(FieldValue::List),
        ]
    }

    #[test]
    fn json_is_plain_where_it_can_be() {
        let n = |n| Number::whole(n).unwrap();
        let interval = Interval::new(Some(n(201)), Some(n(500))).unwrap();
        let open = Interval::new(Some(n(1000)), None).unwrap();
        let date = Timestamp::parse("2026-11-21T08:00:00Z").unwrap();
        for (value, json) in [
            (FieldValue::Text("enterprise".into()), r#""enterprise""#),
            (FieldValue::Number(n(1200)), "1200"),
            (FieldValue::Interval(interval), r#"{"from":201,"to":500}"#),
            (FieldValue::Interval(open), r#"{"from":1000}"#),
            (FieldValue::Bool(true), "true"),
            (FieldValue::Date(date), r#"{"date":"2026-11-21T08:00:00.000Z"}"#),
            (FieldValue::List(vec!["a".into(), "b".into()]), r#"["a","b"]"#),
        ] {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<FieldValue>(json).unwrap(), value);
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_a_reason() {
        for json in [
            "null",
            r#""""#,
            "1e300",
            "{}",
            r#"{"from":2,"to":1}"#,
            r#"{"date":"soon"}"#,
            r#"{"date":1,"x":2}"#,
            r#"{"x":1}"#,
            "[1]",
            "[[]]",
            r#"{"number":"x"}"#,
            r#"{"from":"1"}"#,
        ] {
            assert!(serde_json::from_str::<FieldValue>(json).is_err(), "{json}");
        }
        let long = format!("\"{}\"", "x".repeat(1_001));
        assert!(serde_json::from_str::<FieldValue>(&long).unwrap_err().to_string().contains("1 to 1000 characters"));
    }

    #[test]
    fn text_is_compared_without_case_in_any_script() {
        assert!(same_text(" Enterprise ", "enterprise"));
        assert!(same_text("ÉCOLE", "école"));
        assert!(!same_text("enterprises", "enterprise"));
        assert!(contains_text("Software as a Service", "AS A".to_lowercase().as_str()));
        assert!(contains_text("GROSSE ÄNDERUNG", "änder"));
        assert!(!contains_text("ab", "abc"));
    }

    proptest! {
        #[test]
        fn values_round_trip_through_json_and_message_pack(value in any_value()) {
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(&serde_json::from_str::<FieldValue>(&json).unwrap(), &value);
            let tree = serde_json::to_value(&value).unwrap();
            prop_assert_eq!(&serde_json::from_value::<FieldValue>(tree).unwrap(), &value);
            for packed in [rmp_serde::to_vec(&value).unwrap(), rmp_serde::to_vec_named(&value).unwrap()] {
                prop_assert_eq!(&rmp_serde::from_slice::<FieldValue>(&packed).unwrap(), &value);
            }
        }

        #[test]
        fn a_borrowed_value_reads_as_the_owned_one(value in any_value()) {
            let json = serde_json::to_string(&value).unwrap();
            let borrowed: FieldRef<'_> = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(borrowed.to_value(), value);
        }
    }
}
