//! Field values straight out of JSON text, without a tree in between.

use super::{
    compile::{Lengths, Places, Slot},
    verdict::{Known, Seen, trimmed},
};
use crate::{
    field::{FieldRef, MAX_ITEMS, MAX_LIST_CHARS, MAX_TEXT_CHARS, Number},
    scan::{Figures, Scanner},
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
            Some(place) => *place = Seen::known(value(scanner)?),
            None => scanner.skip(LEVELS)?,
        }
        Some(())
    })?;
    for (seen, slot) in seen.iter_mut().zip(slots) {
        if slot.missing_means_no {
            *seen = Seen::new(seen.value, slot);
        }
    }
    scanner.at_end().then_some(())
}

/// The value of a field; the inner `None` for `null`.
#[inline(always)]
fn value<'a>(scanner: &mut Scanner<'a>) -> Option<Option<Known<'a>>> {
    let known = match scanner.peek()? {
        b'"' => Known::Text(text(scanner.plain()?)?),
        b'-' | b'0'..=b'9' => Known::Number(number(&scanner.figures()?)?),
        b'[' => scanner.apart(items)?,
        _ => match scanner.literal()? {
            Some(truth) => Known::Bool(truth),
            None => return Some(None),
        },
    };
    Some(Some(known))
}

/// A text as a field holds it.
fn text(text: &str) -> Option<&str> {
    let text = trimmed(text);
    (!text.is_empty() && text.len() <= MAX_TEXT_CHARS).then_some(text)
}

/// An array of texts.
#[inline(never)]
fn items<'a>(scanner: &mut Scanner<'a>) -> Option<Known<'a>> {
    // Bytes are at least as many as characters.
    let (mut count, mut bytes, mut lengths) = (0_usize, 0_usize, Lengths::default());
    let array = scanner.text_of(|scanner| {
        scanner.array(|scanner| {
            let item = scanner.plain()?;
            count = count.wrapping_add(1);
            bytes = bytes.wrapping_add(item.len());
            lengths = lengths.and(Lengths::of(trimmed(item)));
            Some(())
        })
    })?;
    let lengths = if array.is_ascii() { lengths } else { Lengths::ANY };
    (count <= MAX_ITEMS && bytes <= MAX_LIST_CHARS).then_some(Known::Items(array, lengths))
}

/// A whole number, or one of at most 15 digits, three of them behind the point. So few survive floating point, so that it makes no
/// difference that the parser goes that way.
#[inline(always)]
fn number(figures: &Figures) -> Option<Number> {
    if figures.digits.wrapping_add(figures.decimals) > 15 {
        return Number::whole(figures.as_whole()?);
    }
    let scale = [1_000, 100, 10, 1].get(figures.decimals)?;
    let thousandths = figures.whole.wrapping_mul(1_000).wrapping_add(figures.behind.wrapping_mul(*scale));
    if figures.negative && thousandths == 0 {
        // Floating point knows a negative zero: the parser decides.
        return None;
    }
    Some(Number::from_thousandths(if figures.negative { thousandths.wrapping_neg() } else { thousandths }))
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
                    r#""[ -~é–]{0,20}""#, r#"\["[ -~é]{0,4}"(, ?"[a-zé]{0,4}")?\]"#, "-?0\\.0{1,3}", "-?[0-9]{1,20}", r"-?[0-9]{1,14}\.[0-9]{1,6}", "1e[0-9]",
                    "null|true|false|\\[\\]|\\{\\}|-0|-0\\.0|\\[1\\]",
                    r#"\{"(from|to|date|number)": ?("2026-11-21"|"12"|12)\}"#,
                ]), 0..6),
            tail in " ?|x",
        ) {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let text = format!("{{{}}}{tail}", members.join(", "));
            let rules = AccountRuleset::parse(DEFAULT_RULESET).unwrap().compile();
            let mut scanned = vec![Seen::nothing(); rules.slots.len()];
            if scan(&rules.slots, &rules.places, &text, &mut scanned).is_some() {
                let parsed = parse(&rules.slots, &rules.places, &text).unwrap();
                prop_assert_eq!(values(&scanned), values(&seen(&rules.slots, &parsed)), "{}", text);
            }
        }
    }
}
