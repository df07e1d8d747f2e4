//! Field values straight out of JSON text, without a tree in between.

use super::{
    compile::{Places, Slot},
    verdict::{Known, Seen, trimmed},
};
use crate::{
    field::{FieldRef, MAX_ITEMS, MAX_LIST_CHARS, MAX_TEXT_CHARS, Number},
    scan::{Scanned, Scanner},
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// What the rules' fields hold.
pub(super) fn seen<'a>(slots: &[Slot], values: &'a [Option<FieldRef<'_>>]) -> Vec<Seen<'a>> {
    slots.iter().zip(values).map(|(slot, value)| Seen::new(value.as_ref().map(Known::of_read), slot)).collect()
}

/// What the rules' fields hold in a JSON object, as the parser reads it.
pub(super) fn parse<'a>(slots: &[Slot], places: &Places, text: &'a str) -> Result<Vec<Option<FieldRef<'a>>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let values = Values { slots, places }.deserialize(&mut json)?;
    json.end()?;
    Ok(values)
}

/// How deep a value may nest that no rule looks at.
const LEVELS: usize = 64;

/// The same of usual documents, in one pass and without copies. `None` leaves the document to the parser.
pub(super) fn scan<'a>(slots: &[Slot], places: &Places, text: &'a str, seen: &mut [Seen<'a>]) -> Option<()> {
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, key| {
        match places.find(key, slots).and_then(|slot| seen.get_mut(slot)) {
            Some(place) => place.value = value(scanner)?,
            None => drop(scanner.value(LEVELS)?),
        }
        Some(())
    })?;
    for (seen, slot) in seen.iter_mut().zip(slots) {
        if slot.vocabulary.is_some() || slot.missing_means_no {
            *seen = Seen::new(seen.value, slot);
        }
    }
    scanner.at_end().then_some(())
}

fn value<'a>(scanner: &mut Scanner<'a>) -> Option<Option<Known<'a>>> {
    if scanner.peek()? == b'[' {
        return scanner.text_of(items).map(|array| Some(Known::Items(array)));
    }
    Some(Some(match scanner.value(LEVELS)? {
        Scanned::Null => return Some(None),
        Scanned::Bool(truth) => Known::Bool(truth),
        Scanned::Text(text) => {
            let text = trimmed(text);
            if text.is_empty() || text.len() > MAX_TEXT_CHARS {
                return None;
            }
            Known::Text(text)
        }
        Scanned::Whole(n) => Known::Number(Number::whole(n)?),
        Scanned::Decimal(text) => Known::Number(Number::from_thousandths(thousandths(text)?)),
        Scanned::Other(_) => return None,
    }))
}

/// Passes over an array of texts.
fn items(scanner: &mut Scanner<'_>) -> Option<()> {
    // Bytes are at least as many as characters.
    let (mut count, mut bytes) = (0_usize, 0_usize);
    scanner.array(|scanner| {
        let Scanned::Text(item) = scanner.value(1)? else { return None };
        count = count.saturating_add(1);
        bytes = bytes.saturating_add(item.len());
        (count <= MAX_ITEMS && bytes <= MAX_LIST_CHARS).then_some(())
    })
}

/// A decimal number of at most 15 digits, three of them behind the point. So few survive floating point, so that it makes no
/// difference that the parser goes that way.
fn thousandths(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (mut number, mut decimals) = (0_i64, 0_usize);
    let mut behind = false;
    for byte in digits.bytes() {
        if byte == b'.' {
            behind = true;
        } else {
            number = number.wrapping_mul(10).wrapping_add(i64::from(byte.wrapping_sub(b'0')));
            decimals = decimals.wrapping_add(usize::from(behind));
        }
    }
    if digits.len() > 16 {
        return None;
    }
    let scale = match decimals {
        1 => 100,
        2 => 10,
        3 => 1,
        _ => return None,
    };
    Some(sign * number * scale)
}

/// Reads the values that rules use out of a JSON object.
struct Values<'s> {
    slots: &'s [Slot],
    places: &'s Places,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Vec<Option<FieldRef<'de>>>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<Option<FieldRef<'de>>>;

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
        Ok(values)
    }
}

/// Finds the slot of a key without keeping the key.
struct SlotKey<'a, 's>(&'a Values<'s>);

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
        seen.iter().map(|seen| seen.value.map(Known::to_value)).collect()
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
            let mut scanned = vec![Seen::NOTHING; rules.slots.len()];
            if scan(&rules.slots, &rules.places, &text, &mut scanned).is_some() {
                let parsed = parse(&rules.slots, &rules.places, &text).unwrap();
                prop_assert_eq!(values(&scanned), values(&seen(&rules.slots, &parsed)), "{}", text);
            }
        }
    }
}
