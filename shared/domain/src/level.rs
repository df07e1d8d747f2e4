//! Levels: named ranges of a score, with steadiness against flapping.

use crate::{Timestamp, engagement::RuleFault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Named ranges of a score, lowest first. A range reaches up to the next one; the lowest takes everything below, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelRuleset {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Counts publications, from 1.
    pub version: u64,
    /// The levels, lowest first.
    pub levels: Vec<Level>,
    /// A level is left downwards only when the score is so many percent below its lower bound, 0 to 50.
    #[serde(default)]
    pub hysteresis_percent: u32,
    /// A level is left downwards only after so many hours in it, 0 to 720.
    #[serde(default)]
    pub dwell_hours: u32,
}

/// A named range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Its id, stable when the name changes.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `#rrggbb` or a colour's name.
    pub color: String,
    /// The lowest score of the range.
    pub min: i64,
    /// The highest score, when the range states one; the top level needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// What sales and marketing do with accounts at this level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub play: Option<Play>,
}

/// What sales and marketing do at a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// Targeting.
    pub targeting: String,
    /// Sales motion.
    pub sales_motion: String,
    /// Success metric.
    pub success_metric: String,
}

/// The level that a score was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned<'r> {
    /// The level.
    pub level: &'r Level,
    /// The score alone asks for a lower level, which must wait until this moment.
    pub held_until: Option<Timestamp>,
}

impl LevelRuleset {
    /// Every fault of the ruleset: none, unordered, overlapping or gaping ranges, ids used twice.
    pub fn faults(&self) -> Vec<RuleFault> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, detail: String| faults.push(RuleFault { pointer, detail });
        if self.levels.is_empty() || self.levels.len() > 20 {
            fault("/levels".to_owned(), "1 to 20 levels".to_owned());
        }
        if self.hysteresis_percent > 50 {
            fault("/hysteresis_percent".to_owned(), "0 to 50".to_owned());
        }
        if self.dwell_hours > 720 {
            fault("/dwell_hours".to_owned(), "0 to 720".to_owned());
        }
        let mut ids = BTreeSet::new();
        let mut before: Option<&Level> = None;
        for (i, level) in self.levels.iter().enumerate() {
            if level.id.trim().is_empty() || !ids.insert(level.id.as_str()) {
                fault(format!("/levels/{i}/id"), "must not be empty, and no two levels may share it".to_owned());
            }
            if level.max.is_some_and(|max| max < level.min) {
                fault(format!("/levels/{i}/max"), format!("at least the level's min, {}", level.min));
            }
            if let Some(below) = before {
                if level.min <= below.min {
                    fault(format!("/levels/{i}/min"), format!("levels go from low to high: more than {}", below.min));
                } else if let Some(max) = below.max.filter(|max| *max >= level.min) {
                    fault(
                        format!("/levels/{i}/min"),
                        format!(
                            "overlaps `{}`, which reaches to {max}: use {} or set its max to {}",
                            below.name,
                            max.saturating_add(1),
                            level.min.saturating_sub(1)
                        ),
                    );
                } else if let Some(max) = below.max.filter(|max| max.saturating_add(1) < level.min) {
                    fault(
                        format!("/levels/{i}/min"),
                        format!("leaves a gap after `{}`, which ends at {max}: use {}", below.name, max.saturating_add(1)),
                    );
                }
            }
            before = Some(level);
        }
        faults
    }

    /// The level with this id.
    pub fn level(&self, id: &str) -> Option<&Level> {
        self.levels.iter().find(|level| level.id == id)
    }

    /// A level's place, lowest 0.
    pub fn rank(&self, id: &str) -> Option<usize> {
        self.levels.iter().position(|level| level.id == id)
    }

    /// The range that holds a score, without regard to the past. `None` only when there are no levels.
    pub fn natural(&self, score: i64) -> Option<&Level> {
        self.levels.iter().rev().find(|level| level.min <= score).or_else(|| self.levels.first())
    }

    /// The highest level that somebody with this score may keep by hysteresis.
    pub fn kept(&self, score: i64) -> Option<&Level> {
        self.levels.iter().rev().find(|level| self.may_stay(level, score)).or_else(|| self.levels.first())
    }

    fn may_stay(&self, level: &Level, score: i64) -> bool {
        let keep = 100_i64.saturating_sub(i64::from(self.hysteresis_percent));
        score.saturating_mul(100) >= level.min.saturating_mul(keep)
    }

    /// The level of a score for somebody who has had `current` since a moment. Rises are taken at once; a fall only when the score is
    /// clearly below the current range and the minimum dwell is over.
    pub fn assign(&self, score: i64, current: Option<(&str, Timestamp)>, now: Timestamp) -> Option<Assigned<'_>> {
        let natural = self.natural(score)?;
        let free = Assigned { level: natural, held_until: None };
        let Some((current, since)) = current.and_then(|(id, since)| Some((self.level(id)?, since))) else {
            return Some(free);
        };
        if natural.min >= current.min {
            return Some(free);
        }
        if self.may_stay(current, score) {
            return Some(Assigned { level: current, held_until: None });
        }
        let until = since.plus_millis(i64::from(self.dwell_hours) * 3_600_000);
        if until > now {
            return Some(Assigned { level: current, held_until: Some(until) });
        }
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn level(id: &str, min: i64, max: Option<i64>) -> Level {
        Level { id: id.into(), name: id.into(), color: "gray".into(), min, max, play: None }
    }

    fn engagement() -> LevelRuleset {
        LevelRuleset {
            id: "e".into(),
            name: "e".into(),
            version: 1,
            levels: vec![level("cold", 0, None), level("warm", 30, None), level("hot", 80, None), level("very_hot", 150, None)],
            hysteresis_percent: 10,
            dwell_hours: 24,
        }
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_level_is_left_ten_percent_below_its_bound_and_after_its_dwell() {
        let rules = engagement();
        let at = Timestamp::from_millis(1_000 * HOUR);
        let long_ago = at.plus_millis(-100 * HOUR);
        let given = |score, current, since| rules.assign(score, Some((current, since)), at).map(|a| (a.level.id.clone(), a.held_until));
        // 10 % below 80 is 72.
        assert_eq!(given(72, "hot", long_ago), Some(("hot".into(), None)));
        assert_eq!(given(71, "hot", long_ago), Some(("warm".into(), None)));
        assert_eq!(given(5, "hot", long_ago), Some(("cold".into(), None)));
        // Two hours in the level: 22 more to wait.
        assert_eq!(given(5, "hot", at.plus_millis(-2 * HOUR)), Some(("hot".into(), Some(at.plus_millis(22 * HOUR)))));
        // A rise does not wait.
        assert_eq!(given(150, "warm", at), Some(("very_hot".into(), None)));
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let mut rules = engagement();
        rules.levels = vec![level("a", 0, Some(19)), level("b", 25, Some(49)), level("c", 49, None)];
        let faults: Vec<String> = rules.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "`/levels/1/min`: leaves a gap after `a`, which ends at 19: use 20",
                "`/levels/2/min`: overlaps `b`, which reaches to 49: use 50 or set its max to 48",
            ]
        );
    }

    proptest! {
        #[test]
        fn every_score_has_exactly_one_level(score in any::<i64>()) {
            let rules = engagement();
            let natural = rules.natural(score).map(|level| level.id.as_str());
            let by_hand = match score { i64::MIN..30 => "cold", 30..80 => "warm", 80..150 => "hot", _ => "very_hot" };
            prop_assert_eq!(natural, Some(by_hand));
            prop_assert_eq!(rules.assign(score, None, Timestamp::default()).map(|a| a.level.id.as_str()), Some(by_hand));
        }
    }
}
