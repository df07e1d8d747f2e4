//! Field values straight out of JSON text, without a tree in between.

use super::{
    compile::{Places, Slot},
    verdict::{Known, Seen},
};
use crate::{
    field::{FieldRef, MAX_ITEMS, MAX_LIST_CHARS, MAX_TEXT_CHARS, Number},
    scan::{Scanned, Scanner},
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::{borrow::Cow, fmt};

/// What the rules' fields hold in a JSON object.
pub(super) fn seen<'a>(slots: &[Slot], places: &Places, text: &'a str) -> Result<Vec<Seen<'a>>, serde_json::Error> {
    match scanned(slots, places, text) {
        Some(seen) => Ok(seen),
        None => parsed(slots, places, text),
    }
}

fn parsed<'a>(slots: &[Slot], places: &Places, text: &'a str) -> Result<Vec<Seen<'a>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let seen = SeenVisitor { slots, places }.deserialize(&mut json)?;
    json.end()?;
    Ok(seen)
}

/// How deep a value may nest that no rule looks at.
const LEVELS: usize = 64;

/// The usual documents, in one pass. `None` leaves the document to the parser.
fn scanned<'a>(slots: &[Slot], places: &Places, text: &'a str) -> Option<Vec<Seen<'a>>> {
    let mut values: Vec<Seen<'a>> = Vec::with_capacity(slots.len());
    values.resize_with(slots.len(), Seen::default);
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, key| {
        match places.find(key, slots).and_then(|slot| values.get_mut(slot)) {
            Some(place) => place.value = value(scanner)?,
            None => drop(scanner.value(LEVELS)?),
        }
        Some(())
    })?;
    if !scanner.at_end() {
        return None;
    }
    for (seen, slot) in values.iter_mut().zip(slots) {
        if seen.value.is_none() {
            *seen = Seen::new(None, slot);
        } else if slot.vocabulary.is_some() {
            *seen = Seen::new(seen.value.take(), slot);
        }
    }
    Some(values)
}

fn value<'a>(scanner: &mut Scanner<'a>) -> Option<Option<Known<'a>>> {
    if scanner.peek()? == b'[' {
        return items(scanner).map(|items| Some(Known::Items(items)));
    }
    let value = match scanner.value(LEVELS)? {
        Scanned::Null => return Some(None),
        Scanned::Bool(truth) => FieldRef::Bool(truth),
        Scanned::Text(text) => {
            let text = text.trim();
            if text.is_empty() || text.len() > MAX_TEXT_CHARS {
                return None;
            }
            FieldRef::Text(Cow::Borrowed(text))
        }
        Scanned::Whole(n) => FieldRef::Number(Number::whole(n)?),
        Scanned::Decimal(text) => match thousandths(text) {
            Some(thousandths) => FieldRef::Number(Number::from_thousandths(thousandths)),
            None => serde_json::from_str(text).ok()?,
        },
        Scanned::Other(text) => serde_json::from_str(text).ok()?,
    };
    Some(Some(Known::Value(value)))
}

fn items<'a>(scanner: &mut Scanner<'a>) -> Option<Vec<&'a str>> {
    let mut items = Vec::new();
    // Bytes are at least as many as characters.
    let mut bytes = 0_usize;
    scanner.array(|scanner| {
        let Scanned::Text(item) = scanner.value(1)? else { return None };
        bytes = bytes.saturating_add(item.len());
        if items.len() == MAX_ITEMS || bytes > MAX_LIST_CHARS {
            return None;
        }
        items.push(item);
        Some(())
    })?;
    Some(items)
}

/// A decimal number of at most 15 digits, three of them behind the point. So few survive floating point, so that it makes no
/// difference that the parser goes that way.
fn thousandths(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let point = digits.find('.')?;
    let decimals = digits.len().checked_sub(point)?.checked_sub(1)?;
    if digits.len() > 16 || decimals > 3 {
        return None;
    }
    let digits = digits.bytes().filter(u8::is_ascii_digit).fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let scale = match decimals {
        1 => 100,
        2 => 10,
        _ => 1,
    };
    Some(sign * digits * scale)
}

/// Reads the values that rules use out of a JSON object.
struct SeenVisitor<'s> {
    slots: &'s [Slot],
    places: &'s Places,
}

impl<'de> DeserializeSeed<'de> for SeenVisitor<'_> {
    type Value = Vec<Seen<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SeenVisitor<'_> {
    type Value = Vec<Seen<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values: Vec<Option<FieldRef<'de>>> = Vec::new();
        values.resize_with(self.slots.len(), || None);
        while let Some(slot) = map.next_key_seed(SlotKey(&self))? {
            match slot.and_then(|slot| values.get_mut(slot)) {
                Some(place) => *place = map.next_value()?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self.slots.iter().zip(values).map(|(slot, value)| Seen::new(value.map(Known::Value), slot)).collect())
    }
}

/// Finds the slot of a key without keeping the key.
struct SlotKey<'a, 's>(&'a SeenVisitor<'s>);

impl<'de> DeserializeSeed<'de> for SlotKey<'_, '_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for SlotKey<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.places.find(key, self.0.slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account_rules::{AccountRuleset, DEFAULT_RULESET};
    use proptest::prelude::*;

    fn values(seen: &[Seen<'_>]) -> Vec<Option<crate::field::FieldValue>> {
        seen.iter().map(|seen| seen.value.as_ref().map(Known::to_value)).collect()
    }

    proptest! {
        #[test]
        fn the_scanner_sees_what_the_parser_sees(
            members in proptest::collection::vec(
                ("employees|revenue|country|industry|name|employee", prop_oneof![
                    r#""[ -~é–]{0,20}""#, r#"\["[a-z]{0,4}"(, ?"[a-zé]{0,4}")?\]"#, "-?[0-9]{1,20}", r"-?[0-9]{1,14}\.[0-9]{1,6}", "1e[0-9]",
                    "null|true|false|\\[\\]|\\{\\}|-0|-0\\.0|\\[1\\]",
                    r#"\{"(from|to|date|number)": ?("2026-11-21"|"12"|12)\}"#,
                ]), 0..6),
            tail in " ?|x",
        ) {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let text = format!("{{{}}}{tail}", members.join(", "));
            let rules = AccountRuleset::parse(DEFAULT_RULESET).unwrap().compile();
            let parsed = parsed(&rules.slots, &rules.places, &text);
            if let Some(scanned) = scanned(&rules.slots, &rules.places, &text) {
                prop_assert_eq!(values(&scanned), values(&parsed.unwrap()), "{}", text);
            }
        }
    }
}
