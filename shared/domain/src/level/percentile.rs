//! Percentile levels: ranges that follow from how the scores are spread, such as the best 5 % of the accounts.

use super::{Level, LevelRuleset, MAX_LEVELS};
use crate::engagement::RuleFault;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// With fewer scores nothing can be said of percents.
pub const FEWEST_SCORES: u64 = 20;
/// The longest time between two computations, in days.
pub const MAX_EVERY_DAYS: u32 = 365;

/// How large each level is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    /// One for each level above the lowest, which takes the rest.
    pub cuts: Vec<Cut>,
    /// After so many days the cut points are computed again, 1 to 365; only when somebody asks for it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_days: Option<u32>,
}

/// How many reach a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The level's id.
    pub level: String,
    /// At most so many percent reach this level or a higher one, 1 to 100.
    pub top_percent: u32,
}

/// Where a level begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoint {
    /// The level's id.
    pub level: String,
    /// The lowest score that reaches it.
    pub min: i64,
}

/// Where all levels begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutPoints {
    /// Lowest level first.
    pub points: Vec<CutPoint>,
    /// Levels whose cut point was not above that of the level below, so that they begin one point above it and nobody may be in the one below.
    pub fell_together: Vec<String>,
}

/// Too few scores to speak of percents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("only {n} scores are there, and cut points need at least {FEWEST_SCORES}")]
pub struct TooFew {
    /// How many there are.
    pub n: u64,
}

/// How often each score was seen. Counts of different homes may be merged in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScoreCounts(BTreeMap<i64, u64>);

impl ScoreCounts {
    /// Counts a score so many times.
    pub fn add(&mut self, score: i64, times: u64) {
        if times > 0 {
            let count = self.0.entry(score.max(0)).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// Adds the counts of others.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(score, times)| self.add(*score, *times));
    }

    /// How many scores were counted.
    pub fn len(&self) -> u64 {
        self.0.values().fold(0, |sum, times| sum.saturating_add(*times))
    }

    /// Whether no score was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many different scores there are.
    pub fn distinct(&self) -> usize {
        self.0.len()
    }

    /// The lowest whole score that no more than so many percent reach. Who shares a score is never parted, so that ties make a level smaller,
    /// never larger. 0 for 100 percent.
    pub fn cut(&self, top_percent: u32) -> i64 {
        let most = u128::from(top_percent) * u128::from(self.len());
        let mut reached = 0_u128;
        for (score, times) in self.0.iter().rev() {
            reached += u128::from(*times);
            if reached * 100 > most {
                return score.saturating_add(1);
            }
        }
        0
    }
}

impl Percentiles {
    /// Where the levels begin with these scores: the lowest at 0, every other one at its cut, and above the one below.
    ///
    /// # Errors
    /// [`TooFew`] when there are fewer than [`FEWEST_SCORES`] scores.
    pub fn cut_points(&self, levels: &[Level], scores: &ScoreCounts) -> Result<CutPoints, TooFew> {
        let n = scores.len();
        if n < FEWEST_SCORES {
            return Err(TooFew { n });
        }
        let (mut points, mut fell_together, mut below): (Vec<CutPoint>, _, Option<i64>) = (Vec::new(), Vec::new(), None);
        for level in levels {
            let cut = self.cuts.iter().find(|cut| cut.level == level.id).map_or(100, |cut| cut.top_percent);
            let wanted = scores.cut(cut);
            let min = below.map_or(0, |below| {
                if wanted <= below {
                    fell_together.push(level.id.clone());
                }
                wanted.max(below.saturating_add(1))
            });
            points.push(CutPoint { level: level.id.clone(), min });
            below = Some(min);
        }
        Ok(CutPoints { points, fell_together })
    }

    /// Every fault of the cuts for these levels, with a JSON pointer from the content.
    pub fn faults(&self, levels: &[Level]) -> Vec<RuleFault> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, detail: String| faults.push(RuleFault { pointer, detail });
        if self.every_days.is_some_and(|days| !(1..=MAX_EVERY_DAYS).contains(&days)) {
            fault("/percentiles/every_days".to_owned(), format!("must be a whole number from 1 to {MAX_EVERY_DAYS}, or absent"));
        }
        if self.cuts.len() > MAX_LEVELS {
            fault("/percentiles/cuts".to_owned(), format!("must have at most {MAX_LEVELS} cuts, got {}", self.cuts.len()));
            return faults;
        }
        let mut named = BTreeSet::new();
        for (i, cut) in self.cuts.iter().enumerate() {
            let at = |field: &str| format!("/percentiles/cuts/{i}/{field}");
            if !(1..=100).contains(&cut.top_percent) {
                fault(at("top_percent"), format!("must be a whole number from 1 to 100, got {}", cut.top_percent));
            }
            let place = levels.iter().position(|level| level.id == cut.level);
            match place {
                None => fault(at("level"), format!("must be the id of a level of this ruleset, got `{}`", cut.level)),
                Some(_) if !named.insert(cut.level.as_str()) => fault(at("level"), format!("`{}` has a cut already", cut.level)),
                Some(0) if cut.top_percent != 100 => {
                    fault(at("top_percent"), "must be 100, or the cut left out: the lowest level takes all the rest".to_owned());
                }
                Some(place) => {
                    let above = |level: &Level| self.cuts.iter().find(|other| other.level == level.id);
                    let higher = levels.iter().skip(place.saturating_add(1)).filter_map(above);
                    if let Some(higher) = higher.into_iter().find(|higher| higher.top_percent >= cut.top_percent) {
                        let detail = format!("must be more than {}, that of the higher level `{}`", higher.top_percent, higher.level);
                        fault(at("top_percent"), detail);
                    }
                }
            }
        }
        let missing: Vec<String> =
            levels.iter().skip(1).filter(|level| !named.contains(level.id.as_str())).map(|level| format!("`{}`", level.id)).collect();
        if !missing.is_empty() {
            let detail = format!("must name each level above the lowest once; missing: {}", missing.join(", "));
            fault("/percentiles/cuts".to_owned(), detail);
        }
        faults
    }
}

impl LevelRuleset {
    /// The levels with these beginnings. A range that states its end reaches up to the next one; the top one states none.
    #[must_use]
    pub fn with_cut_points(&self, points: &[CutPoint]) -> Self {
        if points.is_empty() {
            return self.clone();
        }
        let mut levels = self.levels.clone();
        for level in &mut levels {
            if let Some(point) = points.iter().find(|point| point.level == level.id) {
                level.min = point.min;
            }
        }
        let next: Vec<Option<i64>> = levels.iter().skip(1).map(|level| Some(level.min.saturating_sub(1))).chain([None]).collect();
        for (level, end) in levels.iter_mut().zip(next) {
            level.max = level.max.and(end);
        }
        Self { levels, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn levels(ids: &[&str]) -> Vec<Level> {
        let level = |(i, id): (usize, &&str)| Level {
            id: (*id).to_owned(),
            name: (*id).to_owned(),
            color: "gray".to_owned(),
            min: i as i64 * 10,
            max: None,
            play: None,
        };
        ids.iter().enumerate().map(level).collect()
    }

    fn counts(scores: &[i64]) -> ScoreCounts {
        let mut counts = ScoreCounts::default();
        scores.iter().for_each(|score| counts.add(*score, 1));
        counts
    }

    fn percentiles(cuts: &[(&str, u32)]) -> Percentiles {
        let cuts = cuts.iter().map(|(level, top_percent)| Cut { level: (*level).to_owned(), top_percent: *top_percent }).collect();
        Percentiles { cuts, every_days: None }
    }

    #[test]
    fn ties_never_make_a_level_larger_than_its_percent() {
        // Of five scores 20 % are one: three have 90 or more, one has 91 or more. 60 % are three: four have 50 or more.
        let scores = counts(&[100, 90, 90, 50, 10]);
        assert_eq!([20, 60, 100].map(|percent| scores.cut(percent)), [91, 51, 0]);
        assert_eq!(counts(&[7; 20]).cut(99), 8);
        assert_eq!(counts(&[0; 20]).cut(50), 1);
        assert_eq!(ScoreCounts::default().cut(5), 0);
    }

    #[test]
    fn twenty_five_scores_are_cut_as_by_hand() {
        // 4, 8, 12 … 100. 8 % are two: 96 and 100. 20 % are five: 84 and more. 50 % are twelve (12.5): 56 and more.
        let scores: Vec<i64> = (1..=25).map(|i| i * 4).collect();
        let cuts = percentiles(&[("target", 8), ("qualified", 20), ("standard", 50)]);
        let levels = levels(&["low", "standard", "qualified", "target"]);
        let found = cuts.cut_points(&levels, &counts(&scores)).unwrap();
        let mins: Vec<i64> = found.points.iter().map(|point| point.min).collect();
        // 53 is the lowest whole score that no more than twelve reach, for 52 is reached by thirteen.
        assert_eq!((mins, found.fell_together), (vec![0, 53, 81, 93], Vec::<String>::new()));
    }

    #[test]
    fn cut_points_that_fall_together_are_parted_by_one_point() {
        let mut scores = vec![0; 15];
        scores.extend([40; 10]);
        // 40 % are ten, who all have 40: 1 and more. Of 20 %, five, nobody is: 41. Of 10 %: 41, too, and so 42.
        let cuts = percentiles(&[("a", 40), ("b", 20), ("c", 10)]);
        let found = cuts.cut_points(&levels(&["rest", "a", "b", "c"]), &counts(&scores)).unwrap();
        let mins: Vec<i64> = found.points.iter().map(|point| point.min).collect();
        assert_eq!((mins, found.fell_together), (vec![0, 1, 41, 42], vec!["c".to_owned()]));
    }

    #[test]
    fn fewer_than_twenty_scores_are_refused() {
        let cuts = percentiles(&[("a", 40)]);
        assert_eq!(cuts.cut_points(&levels(&["rest", "a"]), &counts(&[1; 19])), Err(TooFew { n: 19 }));
        assert_eq!(TooFew { n: 19 }.to_string(), "only 19 scores are there, and cut points need at least 20");
        assert!(cuts.cut_points(&levels(&["rest", "a"]), &counts(&[1; 20])).is_ok());
    }

    #[test]
    fn every_fault_of_the_cuts_is_named() {
        let faults = |cuts: &[(&str, u32)], days| {
            let percentiles = Percentiles { every_days: days, ..percentiles(cuts) };
            percentiles.faults(&levels(&["rest", "mid", "top"])).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(faults(&[("top", 5), ("mid", 20)], Some(7)), [""; 0]);
        assert_eq!(faults(&[("top", 5), ("mid", 20), ("rest", 100)], None), [""; 0]);
        assert_eq!(
            faults(&[("top", 20), ("mid", 20)], Some(0)),
            [
                "`/percentiles/every_days`: must be a whole number from 1 to 365, or absent",
                "`/percentiles/cuts/1/top_percent`: must be more than 20, that of the higher level `top`",
            ]
        );
        assert_eq!(
            faults(&[("top", 101), ("top", 5), ("other", 6), ("rest", 50)], None),
            [
                "`/percentiles/cuts/0/top_percent`: must be a whole number from 1 to 100, got 101",
                "`/percentiles/cuts/1/level`: `top` has a cut already",
                "`/percentiles/cuts/2/level`: must be the id of a level of this ruleset, got `other`",
                "`/percentiles/cuts/3/top_percent`: must be 100, or the cut left out: the lowest level takes all the rest",
                "`/percentiles/cuts`: must name each level above the lowest once; missing: `mid`",
            ]
        );
    }

    #[test]
    fn stated_ends_follow_the_cut_points() {
        let mut levels = levels(&["rest", "mid", "top"]);
        levels.iter_mut().for_each(|level| level.max = Some(level.min + 9));
        let ruleset = LevelRuleset { id: "l".into(), name: "L".into(), version: 1, levels, hysteresis_percent: 0, dwell_hours: 0 };
        let points = [("rest", 0), ("mid", 7), ("top", 30)].map(|(level, min)| CutPoint { level: level.into(), min });
        let cut = ruleset.with_cut_points(&points);
        let bounds: Vec<(i64, Option<i64>)> = cut.levels.iter().map(|level| (level.min, level.max)).collect();
        assert_eq!(bounds, [(0, Some(6)), (7, Some(29)), (30, None)]);
        assert_eq!(cut.faults(), vec![]);
    }

    proptest! {
        #[test]
        fn no_level_is_larger_than_its_percent_and_none_could_begin_lower(scores in proptest::collection::vec(0_i64..60, 20..80), percent in 1_u32..=100) {
            let cut = counts(&scores).cut(percent);
            // By the definition alone: how many reach a score.
            let reach = |score: i64| scores.iter().filter(|known| **known >= score).count() * 100;
            let most = percent as usize * scores.len();
            prop_assert!(reach(cut) <= most);
            prop_assert!(cut == 0 || reach(cut - 1) > most);
        }

        #[test]
        fn computed_ranges_have_no_fault(scores in proptest::collection::vec(0_i64..9, 20..60), percents in proptest::collection::btree_set(1_u32..100, 1..6)) {
            let ids: Vec<String> = (0..=percents.len()).map(|i| format!("l{i}")).collect();
            let levels = levels(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            let cuts = percents.iter().rev().zip(ids.iter().skip(1)).map(|(percent, id)| Cut { level: id.clone(), top_percent: *percent }).collect();
            let percentiles = Percentiles { cuts, every_days: Some(7) };
            prop_assert_eq!(percentiles.faults(&levels), vec![]);
            let found = percentiles.cut_points(&levels, &counts(&scores)).unwrap();
            let ruleset = LevelRuleset { id: "l".into(), name: "L".into(), version: 1, levels, hysteresis_percent: 0, dwell_hours: 0 };
            let ruleset = ruleset.with_cut_points(&found.points);
            prop_assert_eq!(ruleset.faults(), vec![]);
            // However they fall, no level and those above it are larger than its percent.
            for cut in &percentiles.cuts {
                let min = ruleset.level(&cut.level).unwrap().min;
                prop_assert!(scores.iter().filter(|score| **score >= min).count() * 100 <= cut.top_percent as usize * scores.len());
            }
        }
    }
}
