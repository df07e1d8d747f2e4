//! What a draft or a published version of a level ruleset holds.

use crate::{
    account_rules::Condition,
    level::{LevelRuleset, Percentiles},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// Levels, the segment that they are for, and how large they are to be. In JSON one object.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelContent {
    /// The levels.
    pub ruleset: LevelRuleset,
    /// Which accounts they are for; the primary ruleset has no segment.
    pub segment: Option<Condition>,
    /// How large the levels are to be, when their ranges follow from the scores.
    pub percentiles: Option<Percentiles>,
}

impl From<LevelRuleset> for LevelContent {
    fn from(ruleset: LevelRuleset) -> Self {
        Self { ruleset, segment: None, percentiles: None }
    }
}

const SEGMENT: &str = "segment";
const PERCENTILES: &str = "percentiles";

impl Serialize for LevelContent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let written = |error: serde_json::Error| serde::ser::Error::custom(error);
        let mut value = serde_json::to_value(&self.ruleset).map_err(written)?;
        if let Some(map) = value.as_object_mut() {
            if let Some(segment) = &self.segment {
                map.insert(SEGMENT.to_owned(), segment.to_value());
            }
            if let Some(percentiles) = &self.percentiles {
                map.insert(PERCENTILES.to_owned(), serde_json::to_value(percentiles).map_err(written)?);
            }
        }
        value.serialize(s)
    }
}

impl<'de> Deserialize<'de> for LevelContent {
    /// Reads what was stored. A segment that can't be read is kept, and takes nobody.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        fn part<T: de::DeserializeOwned, E: de::Error>(map: &mut Map<String, Value>, key: &str) -> Result<Option<T>, E> {
            let value = map.remove(key).filter(|value| !value.is_null());
            value.map(serde_json::from_value).transpose().map_err(E::custom)
        }
        let mut map = Map::deserialize(d)?;
        let segment = part(&mut map, SEGMENT)?;
        let percentiles = part(&mut map, PERCENTILES)?;
        let ruleset = serde_json::from_value(Value::Object(map)).map_err(de::Error::custom)?;
        Ok(Self { ruleset, segment, percentiles })
    }
}
