//! Levels: named ranges of a score, with steadiness against flapping.

mod percentile;

pub use percentile::{Cut, CutPoint, CutPoints, FEWEST_SCORES, MAX_EVERY_DAYS, Percentiles, ScoreCounts, TooFew};

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

/// The most levels of a ruleset.
pub const MAX_LEVELS: usize = 20;
/// The most percent of hysteresis.
pub const MAX_HYSTERESIS_PERCENT: u32 = 50;
/// The longest dwell, in hours.
pub const MAX_DWELL_HOURS: u32 = 720;

/// What sort of fault a level ruleset has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelFaultKind {
    /// No levels, or too many.
    Count,
    /// A number out of its range.
    Setting,
    /// An id that is empty or used twice.
    Ids,
    /// A range that ends before it begins, or levels that do not go from low to high.
    Inverted,
    /// Two ranges that hold the same score.
    Overlap,
    /// Scores that no range holds.
    Gap,
}

/// One fault of a level ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelFault {
    /// What sort of fault it is.
    pub kind: LevelFaultKind,
    /// The level by its place, lowest 0, when it is one level's.
    pub level: Option<usize>,
    /// A JSON pointer to the field.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl LevelFault {
    fn at(kind: LevelFaultKind, level: usize, field: &str, detail: String) -> Self {
        Self { kind, level: Some(level), pointer: format!("/levels/{level}/{field}"), detail }
    }
}

impl LevelRuleset {
    /// Every fault of the ruleset: none, unordered, overlapping or gaping ranges, ids used twice.
    pub fn faults(&self) -> Vec<RuleFault> {
        self.level_faults().into_iter().map(|fault| RuleFault { pointer: fault.pointer, detail: fault.detail }).collect()
    }

    /// Every fault of the ruleset, with its sort.
    pub fn level_faults(&self) -> Vec<LevelFault> {
        let mut faults = Vec::new();
        let mut whole = |wrong: bool, kind, pointer: &str, detail: String| {
            if wrong {
                faults.push(LevelFault { kind, level: None, pointer: pointer.to_owned(), detail });
            }
        };
        let count = self.levels.len();
        whole(
            !(1..=MAX_LEVELS).contains(&count),
            LevelFaultKind::Count,
            "/levels",
            format!("must have 1 to {MAX_LEVELS} levels, got {count}"),
        );
        whole(
            self.hysteresis_percent > MAX_HYSTERESIS_PERCENT,
            LevelFaultKind::Setting,
            "/hysteresis_percent",
            format!("must be a whole number from 0 to {MAX_HYSTERESIS_PERCENT}, got {}", self.hysteresis_percent),
        );
        whole(
            self.dwell_hours > MAX_DWELL_HOURS,
            LevelFaultKind::Setting,
            "/dwell_hours",
            format!("must be a whole number from 0 to {MAX_DWELL_HOURS}, got {}", self.dwell_hours),
        );
        let mut ids = BTreeSet::new();
        let mut below: Option<&Level> = None;
        for (i, level) in self.levels.iter().enumerate() {
            if level.id.trim().is_empty() || !ids.insert(level.id.as_str()) {
                faults.push(LevelFault::at(LevelFaultKind::Ids, i, "id", "must not be empty, and no two levels may share it".to_owned()));
            }
            if level.max.is_some_and(|max| max < level.min) {
                faults.push(LevelFault::at(LevelFaultKind::Inverted, i, "max", format!("must be at least the level's min, {}", level.min)));
            }
            faults.extend(range_fault(i, below, level));
            below = Some(level);
        }
        faults
    }

    /// The id of the level at a place.
    pub fn id_at(&self, place: Option<usize>) -> Option<&str> {
        self.levels.get(place?).map(|level| level.id.as_str())
    }

    /// The lowest level.
    pub fn lowest(&self) -> Option<&Level> {
        self.levels.first()
    }

    /// The levels that no score reaches when so many points are possible.
    pub fn unreachable(&self, possible: i64) -> Vec<&Level> {
        self.levels.iter().filter(|level| level.min > possible).collect()
    }

    /// The levels with their ranges moved along with what is possible: a `min` that stood at two fifths of what was possible stands at two
    /// fifths of what is, rounded half up. The lowest begins at 0, and every level begins above the one before. `None` when nothing was
    /// or is possible.
    pub fn proposed(&self, before: i64, after: i64) -> Option<Vec<Level>> {
        if before <= 0 || after <= 0 {
            return None;
        }
        let moved = |bound: i64| {
            let bound = (2 * i128::from(bound) * i128::from(after) + i128::from(before)).div_euclid(2 * i128::from(before));
            i64::try_from(bound).unwrap_or(i64::MAX)
        };
        let mut levels = self.levels.clone();
        let mut last = None;
        for level in &mut levels {
            level.min = last.map_or(0, |last: i64| moved(level.min).max(last.saturating_add(1)));
            level.max = level.max.map(moved);
            last = Some(level.min);
        }
        // A range that states its end reaches up to the next one.
        let next: Vec<Option<i64>> = levels.iter().skip(1).map(|level| Some(level.min)).chain([None]).collect();
        for (level, next) in levels.iter_mut().zip(next) {
            level.max = level.max.map(|max| next.map_or(max.max(level.min), |next| next.saturating_sub(1)));
        }
        Some(levels)
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

/// What is wrong with where a level's range begins, given the level below it.
fn range_fault(place: usize, below: Option<&Level>, level: &Level) -> Option<LevelFault> {
    let fault = |kind, detail| Some(LevelFault::at(kind, place, "min", detail));
    let Some(below) = below else {
        return match level.min {
            0 => None,
            1.. => fault(LevelFaultKind::Gap, "leaves a gap below: the lowest level begins at 0".to_owned()),
            _ => fault(LevelFaultKind::Inverted, "must not be negative: the lowest level begins at 0".to_owned()),
        };
    };
    if level.min <= below.min {
        return fault(LevelFaultKind::Inverted, format!("levels go from low to high: more than {}", below.min));
    }
    let end = below.max?;
    let next = end.saturating_add(1);
    let name = &below.name;
    if end >= level.min {
        let shorter = level.min.saturating_sub(1);
        return fault(
            LevelFaultKind::Overlap,
            format!("overlaps `{name}`, which reaches to {end}: use {next} or set its max to {shorter}"),
        );
    }
    if next < level.min {
        return fault(LevelFaultKind::Gap, format!("leaves a gap after `{name}`, which ends at {end}: use {next}"));
    }
    None
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

    fn bounds(levels: &[Level]) -> Vec<(i64, Option<i64>)> {
        levels.iter().map(|level| (level.min, level.max)).collect()
    }

    fn fit() -> LevelRuleset {
        let levels =
            vec![level("low", 0, Some(19)), level("standard", 20, Some(49)), level("qualified", 50, Some(79)), level("target", 80, None)];
        LevelRuleset { levels, ..engagement() }
    }

    #[test]
    fn ranges_move_along_with_what_is_possible() {
        let mins = |before, after| fit().proposed(before, after).unwrap().iter().map(|level| level.min).collect::<Vec<_>>();
        // 20, 50 and 80 of 100 are 29, 72.5 and 116 of 145.
        assert_eq!(mins(100, 145), [0, 29, 73, 116]);
        // 20, 50 and 80 of 145 are 16.55, 41.38 and 66.21 of 120.
        assert_eq!(mins(145, 120), [0, 17, 41, 66]);
        // … and 19.31, 48.28 and 77.24 of 140.
        assert_eq!(mins(145, 140), [0, 19, 48, 77]);
        assert_eq!(mins(100, 100), [0, 20, 50, 80]);
        // Of 2 points they would all be 0, 1, 1.6: each begins above the one before.
        assert_eq!(mins(100, 2), [0, 1, 2, 3]);
        assert_eq!(fit().proposed(0, 100), None);
        assert_eq!(fit().proposed(100, 0), None);
    }

    #[test]
    fn stated_ends_follow_the_next_range() {
        let mut rules = fit();
        rules.levels[3].max = Some(100);
        assert_eq!(bounds(&rules.proposed(100, 145).unwrap()), [(0, Some(28)), (29, Some(72)), (73, Some(115)), (116, Some(145))]);
        assert_eq!(bounds(&fit().proposed(100, 145).unwrap()).last(), Some(&(116, None)));
    }

    #[test]
    fn a_level_above_what_is_possible_is_never_reached() {
        let rules = fit();
        let ids = |possible| rules.unreachable(possible).iter().map(|level| level.id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids(80), [""; 0]);
        assert_eq!(ids(79), ["target"]);
        assert_eq!(ids(10), ["standard", "qualified", "target"]);
        assert_eq!(rules.lowest().map(|level| level.id.as_str()), Some("low"));
    }

    #[test]
    fn the_lowest_level_begins_at_nothing() {
        let faults_of = |min| {
            let rules = LevelRuleset { levels: vec![level("a", min, None)], ..engagement() };
            rules.faults().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(faults_of(0), [""; 0]);
        assert_eq!(faults_of(20), ["`/levels/0/min`: leaves a gap below: the lowest level begins at 0"]);
        assert_eq!(faults_of(-1), ["`/levels/0/min`: must not be negative: the lowest level begins at 0"]);
    }

    proptest! {
        #[test]
        fn proposed_ranges_have_no_fault(mins in proptest::collection::btree_set(1_i64..1000, 0..19), stated: bool, before in 1_i64..2000, after in 1_i64..2000) {
            let mins: Vec<i64> = std::iter::once(0).chain(mins).collect();
            let ends = mins.iter().skip(1).map(|min| stated.then_some(min - 1)).chain([None]);
            let levels = mins.iter().zip(ends).enumerate().map(|(i, (min, max))| level(&format!("l{i}"), *min, max)).collect();
            let rules = LevelRuleset { levels, ..engagement() };
            prop_assert_eq!(rules.faults(), vec![]);
            let proposed = LevelRuleset { levels: rules.proposed(before, after).unwrap(), ..rules.clone() };
            prop_assert_eq!(proposed.faults(), vec![]);
            prop_assert_eq!(rules.proposed(before, before).unwrap(), rules.levels);
        }

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
