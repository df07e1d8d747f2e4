//! Why an engagement rule gives a lead no points.

use crate::{
    Day,
    decay::shown,
    engagement::PartId,
    facts::LOOK_BACK_DAYS,
    lead::{Lead, barred_days},
    score::{CompiledEngagement, LeadBase, LeadPoints},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why something gives no points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Because {
    /// No such event was seen.
    NeverSeen {},
    /// Events counted, the last of them longer ago than anything looks back.
    OutsideWindow {
        /// The last day on which one counted.
        last_day: String,
    },
    /// Events counted, and nothing whole is left of their points.
    Decayed {
        /// The last day on which one counted.
        last_day: String,
        /// Their points before decay.
        was: i64,
    },
    /// A cap took all of its points away again.
    CapExhausted {
        /// The cap in points.
        cap: i64,
    },
    /// Such events came only on days with more activity than a person has.
    Noise {
        /// On how many days.
        days: u32,
    },
    /// What was folded before the rule was published still has to be counted anew.
    NotCountedYet {},
    /// The rule gives no points at all.
    NoPoints {},
    /// The ruleset is not in force any more.
    Ended {
        /// Its last day.
        on: String,
    },
    /// The ruleset is not in force yet.
    NotBegun {
        /// Its first day.
        on: String,
    },
}

impl Because {
    /// The reason as a clause.
    pub fn why(&self) -> String {
        match self {
            Self::NeverSeen {} => format!("no such event in the last {LOOK_BACK_DAYS} days"),
            Self::OutsideWindow { last_day } => format!("the last such event was on {last_day}, more than {LOOK_BACK_DAYS} days ago"),
            Self::Decayed { last_day, was } => format!("the last such event was on {last_day}; of {was} points nothing whole is left"),
            Self::CapExhausted { cap } => format!("counted, but the cap of {cap} points took its points away again"),
            Self::Noise { days: 1 } => "such events came only on a day with more activity than a person has".to_owned(),
            Self::Noise { days } => format!("such events came only on {days} days with more activity than a person has"),
            Self::NotCountedYet {} => "earlier events are not counted by this rule yet; they are with the next event".to_owned(),
            Self::NoPoints {} => "the rule gives no points".to_owned(),
            Self::Ended { on } => format!("the ruleset ended on {on}"),
            Self::NotBegun { on } => format!("the ruleset begins on {on}"),
        }
    }

    /// Of the reasons of several leads the one that is nearest to points is told.
    fn nearness(&self) -> (u8, &str) {
        match self {
            Self::CapExhausted { .. } => (7, ""),
            Self::Decayed { last_day, .. } => (6, last_day),
            Self::Noise { .. } => (5, ""),
            Self::OutsideWindow { last_day } => (4, last_day),
            Self::NotCountedYet {} => (3, ""),
            Self::NeverSeen {} => (2, ""),
            Self::NoPoints {} | Self::Ended { .. } | Self::NotBegun { .. } => (1, ""),
        }
    }
}

/// The reasons of the rules that give a lead nothing, by the rule's place. `whole` are the points shown of each of the lead's rules.
pub(super) fn of_lead(
    engagement: &CompiledEngagement,
    digest: u64,
    lead: &Lead<'_>,
    base: &LeadBase,
    points: &LeadPoints,
    whole: &[i64],
    as_of: Day,
) -> BTreeMap<usize, Because> {
    let mut reasons = BTreeMap::new();
    for (i, rule) in engagement.ruleset.rules.iter().enumerate() {
        let given = points.rules.iter().zip(whole).find(|(given, _)| given.rule == i);
        let because = match given {
            Some((_, shown)) if *shown != 0 => continue,
            _ if rule.points == 0 => Because::NoPoints {},
            Some((given, _)) => {
                let last_day = given.days.last().map(|day| day.day.to_string()).unwrap_or_default();
                Because::Decayed { last_day, was: shown(given.days.iter().map(|day| day.raw).sum()) }
            }
            None => nothing(digest, lead, base, (i, rule.part.id()), as_of),
        };
        reasons.insert(i, because);
    }
    reasons
}

/// Why nothing of a rule is in the window.
fn nothing(digest: u64, lead: &Lead<'_>, base: &LeadBase, (rule, part): (usize, PartId), as_of: Day) -> Because {
    let oldest = as_of.plus(-LOOK_BACK_DAYS);
    let counted = base.rules.iter().find(|(i, _)| *i == rule).and_then(|(_, days)| days.keys().filter(|day| **day <= oldest).max());
    let noisy = noisy_days(lead, part, as_of);
    if noisy > 0 {
        return Because::Noise { days: noisy };
    }
    if let Some(last) = counted {
        return Because::OutsideWindow { last_day: last.to_string() };
    }
    if lead.identities.iter().any(|(_, state)| state.facts.parts != digest) { Because::NotCountedYet {} } else { Because::NeverSeen {} }
}

/// On how many days in the window events of a part came that did not count, because the day had too much activity.
fn noisy_days(lead: &Lead<'_>, part: PartId, as_of: Day) -> u32 {
    let oldest = as_of.plus(-LOOK_BACK_DAYS);
    let mut noisy = std::collections::BTreeSet::new();
    for (_, state) in &lead.identities {
        let barred = barred_days(state);
        let of_part = state.facts.matched.iter().filter(|matched| !barred.is_empty() && matched.parts.contains(&part));
        let days = of_part.flat_map(|matched| matched.days.keys()).filter(|day| barred.contains(*day));
        noisy.extend(days.filter(|day| **day <= as_of && **day > oldest).copied());
    }
    u32::try_from(noisy.len()).unwrap_or(u32::MAX)
}

/// The reasons of the rules that give nobody anything: of each the one of the lead that is nearest to points.
pub(super) fn of_all(rules: usize, leads: &[BTreeMap<usize, Because>]) -> BTreeMap<usize, Because> {
    let mut all = BTreeMap::new();
    for rule in 0..rules {
        if leads.iter().any(|reasons| !reasons.contains_key(&rule)) {
            continue;
        }
        let nearest = leads.iter().filter_map(|reasons| reasons.get(&rule)).max_by(|a, b| a.nearness().cmp(&b.nearness()));
        all.insert(rule, nearest.cloned().unwrap_or(Because::NeverSeen {}));
    }
    all
}
