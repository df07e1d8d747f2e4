//! Field values straight out of JSON text, without a tree in between.

use super::{compile::Slot, verdict::Seen};
use crate::field::FieldRef;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Reads the values that rules use out of a JSON object.
pub(super) struct SeenVisitor<'s>(pub(super) &'s [Slot]);

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
        values.resize_with(self.0.len(), || None);
        while let Some(slot) = map.next_key_seed(SlotKey(self.0))? {
            match slot.and_then(|slot| values.get_mut(slot)) {
                Some(place) => *place = map.next_value()?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self.0.iter().zip(values).map(|(slot, value)| Seen::new(value, slot)).collect())
    }
}

/// Finds the slot of a key without keeping the key.
struct SlotKey<'s>(&'s [Slot]);

impl<'de> DeserializeSeed<'de> for SlotKey<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for SlotKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|slot| slot.name.as_str() == key))
    }
}
