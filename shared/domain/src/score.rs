//! Engagement: from a lead's counts to points, and from leads to the account.

use crate::{
    Day, IdentityId,
    decay::{Fading, divide_rounded, shown},
    engagement::{Aggregation, CountMode, EngagementRule, EngagementRuleset, PartId},
    facts::{LOOK_BACK_DAYS, PerDay},
    lead::{Lead, LeadCounts, minute_day},
    shard::Shard,
    surge::Earning,
};
use std::collections::{BTreeMap, BTreeSet};

/// A published engagement ruleset with its parts' digests at hand.
#[derive(Debug, Clone)]
pub struct CompiledEngagement {
    /// The ruleset.
    pub ruleset: EngagementRuleset,
    /// For each rule its part's digest and its decay.
    prepared: Vec<(PartId, Fading)>,
    earning: BTreeSet<PartId>,
}

/// What one day adds under one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayPoints {
    /// The day.
    pub day: Day,
    /// How many events counted.
    pub count: u32,
    /// Their points after the day's cap and before decay, in thousandths.
    pub raw: i64,
    /// Their points on the day asked for, in thousandths.
    pub milli: i64,
}

/// What one rule adds to one lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePoints {
    /// The rule's place in the ruleset.
    pub rule: usize,
    /// Day by day, oldest first.
    pub days: Vec<DayPoints>,
    /// What the day's cap took away before decay, in thousandths (0 or less).
    pub day_capped: i64,
    /// What the rule's cap took away, in thousandths (0 or less).
    pub capped: i64,
    /// Σ of the days plus `capped`.
    pub milli: i64,
}

/// One lead's engagement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadPoints {
    /// The lead.
    pub lead: IdentityId,
    /// Its shard.
    pub shard: Shard,
    /// Whether it is the account itself.
    pub is_account: bool,
    /// Rules that add something.
    pub rules: Vec<RulePoints>,
    /// What the lead's cap (or the floor at 0) changed, in thousandths.
    pub capped: i64,
    /// Σ of the rules plus `capped`, in thousandths.
    pub milli: i64,
    /// What of it counts for the account, in thousandths.
    pub share: i64,
}

impl LeadPoints {
    /// The points that people see.
    pub fn shown(&self) -> i64 {
        shown(self.milli)
    }
}

/// The engagement of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engagement {
    /// Its leads, best first; equal ones by id.
    pub leads: Vec<LeadPoints>,
    /// Σ of the shares, in thousandths.
    pub milli: i64,
}

impl Engagement {
    /// The points that people see.
    pub fn shown(&self) -> i64 {
        shown(self.milli)
    }
}

/// A lead's counts per rule, before decay: the part of the work that does not depend on the day.
#[derive(Debug, Clone)]
pub struct LeadBase {
    pub(crate) lead: IdentityId,
    shard: Shard,
    pub(crate) is_account: bool,
    pub(crate) rules: Vec<(usize, PerDay)>,
    earning: PerDay,
}

impl LeadBase {
    /// Whether nothing was ever counted.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.earning.is_empty()
    }
}

impl CompiledEngagement {
    /// Prepares a ruleset.
    pub fn new(ruleset: EngagementRuleset) -> Self {
        let prepared: Vec<_> = ruleset.rules.iter().map(|rule| (rule.part.id(), Fading::new(&rule.decay))).collect();
        let earning = ruleset.rules.iter().zip(&prepared).filter(|(rule, _)| rule.points > 0).map(|(_, (part, _))| *part).collect();
        Self { ruleset, prepared, earning }
    }

    pub(crate) fn rule(&self, i: usize) -> Option<(&EngagementRule, &Fading)> {
        Some((self.ruleset.rules.get(i)?, &self.prepared.get(i)?.1))
    }

    /// A lead's counts by rule.
    pub fn base(&self, lead: &Lead<'_>) -> LeadBase {
        let counts = lead.counts();
        let rules = self
            .ruleset
            .rules
            .iter()
            .zip(&self.prepared)
            .enumerate()
            .map(|(i, (rule, (part, _)))| (i, counted_days(rule, *part, &counts)))
            .filter(|(_, days)| !days.is_empty())
            .collect();
        let mut earning = PerDay::new();
        for matched in counts.matched.iter().filter(|matched| matched.parts.iter().any(|part| self.earning.contains(part))) {
            add_days(&mut earning, &matched.days);
        }
        LeadBase { lead: lead.id, shard: lead.shard, is_account: lead.is_account, rules, earning }
    }

    /// One lead's points on a day.
    pub fn lead(&self, base: &LeadBase, as_of: Day) -> LeadPoints {
        let rules: Vec<RulePoints> = base
            .rules
            .iter()
            .filter_map(|(i, days)| Some(rule_points(*i, self.rule(*i)?, days, as_of)))
            .filter(|points| !points.days.is_empty())
            .collect();
        let sum: i64 = rules.iter().map(|rule| rule.milli).fold(0, i64::saturating_add);
        let milli = self.lead_capped(sum);
        let capped = milli.saturating_sub(sum);
        LeadPoints { lead: base.lead, shard: base.shard, is_account: base.is_account, rules, capped, milli, share: 0 }
    }

    /// One lead's points on a day in thousandths, without the days that they come from.
    fn lead_milli(&self, base: &LeadBase, as_of: Day) -> i64 {
        let rules = base.rules.iter().filter_map(|(i, days)| {
            let rule = self.rule(*i)?;
            let sum = points_by_day(rule, days, as_of).map(|(points, _)| points.milli).fold(0, i64::saturating_add);
            Some(rule_capped(rule.0, sum))
        });
        self.lead_capped(rules.fold(0, i64::saturating_add))
    }

    pub(crate) fn lead_capped(&self, sum: i64) -> i64 {
        let cap = if self.ruleset.lead_cap > 0 { self.ruleset.lead_cap.saturating_mul(1000) } else { i64::MAX };
        sum.clamp(0, cap)
    }

    /// The account's points on a day and those of its leads, in the order of the bases, in thousandths: what [`Self::engagement`] says of a
    /// home that is not giant, without the explanation.
    pub fn totals(&self, bases: &[LeadBase], as_of: Day) -> (i64, Vec<i64>) {
        let leads: Vec<i64> = bases.iter().map(|base| self.lead_milli(base, as_of)).collect();
        let mut best = leads.clone();
        best.sort_unstable_by_key(|milli| std::cmp::Reverse(*milli));
        let mut sharing = Sharing::new(&self.ruleset.aggregation);
        (best.into_iter().map(|milli| sharing.next(milli)).fold(0, i64::saturating_add), leads)
    }

    /// The account's points on a day. In a giant home the best leads of each shard are looked at where the order of the leads matters.
    pub fn engagement(&self, bases: &[LeadBase], as_of: Day, giant: bool) -> Engagement {
        let mut leads: Vec<LeadPoints> = bases.iter().map(|base| self.lead(base, as_of)).collect();
        leads.sort_by(|a, b| b.milli.cmp(&a.milli).then(a.lead.cmp(&b.lead)));
        let best = if giant { self.best_of_a_shard() } else { usize::MAX };
        let mut seen: BTreeMap<Shard, usize> = BTreeMap::new();
        let mut sharing = Sharing::new(&self.ruleset.aggregation);
        for lead in &mut leads {
            let place = seen.entry(lead.shard).or_default();
            lead.share = if *place < best { sharing.next(lead.milli) } else { sharing.unnamed(lead.milli) };
            *place += 1;
        }
        let milli = leads.iter().map(|lead| lead.share).fold(0, i64::saturating_add);
        Engagement { leads, milli }
    }

    /// How many of its best leads a shard of a giant home keeps: more than the 64th part of what is named, and of what counts where the
    /// order of leads matters. Which leads share a shard is chance, so that far more than an even part would be needed only once in 10⁸ accounts.
    pub const fn best_of_a_shard(&self) -> usize {
        match self.ruleset.aggregation {
            Aggregation::Sum | Aggregation::Max => 32,
            Aggregation::TopN { .. } | Aggregation::Diminishing { .. } => 64,
        }
    }

    /// What surge looks at.
    pub fn earning(&self, bases: &[LeadBase], first_day: Option<Day>) -> Earning {
        let mut earning = Earning { first_day, ..Earning::default() };
        for base in bases {
            add_days(&mut earning.events, &base.earning);
            if !base.is_account {
                earning.leads.push(base.earning.keys().copied().collect());
            }
        }
        earning
    }
}

fn add_days(sum: &mut PerDay, days: &PerDay) {
    if sum.is_empty() {
        sum.clone_from(days);
        return;
    }
    for (day, n) in days.iter() {
        *sum.entry(*day).or_default() += n;
    }
}

/// How many events count on each day.
fn counted_days(rule: &EngagementRule, part: PartId, counts: &LeadCounts<'_>) -> PerDay {
    let mut days = PerDay::new();
    match &rule.part.count {
        CountMode::Every | CountMode::OncePerDay => {
            for matched in counts.matched.iter().filter(|matched| matched.parts.contains(&part)) {
                add_days(&mut days, &matched.days);
            }
            if rule.part.count == CountMode::OncePerDay {
                days.iter_mut().for_each(|(_, n)| *n = 1);
            }
        }
        CountMode::OncePerLead | CountMode::OncePerSession | CountMode::OncePerKey { .. } | CountMode::OncePerKeyAndDay { .. } => {
            let mut firsts: Vec<Day> = counts.keys.get(&part).into_iter().flat_map(|keys| keys.values().copied()).collect();
            firsts.sort_unstable();
            for day in firsts {
                *days.entry(day).or_default() += 1;
            }
        }
        CountMode::OncePerHours { hours } => {
            let mut next = 0_u32;
            for minute in counts.minutes.get(&part).into_iter().flat_map(|minutes| minutes.keys()).copied() {
                if minute >= next {
                    *days.entry(minute_day(minute)).or_default() += 1;
                    next = minute.saturating_add(hours.saturating_mul(60));
                }
            }
        }
    }
    days.retain(|_, n| *n > 0);
    days
}

/// What the events of each day add on a day, and what the day's cap took away before decay, both in thousandths.
pub(crate) fn points_by_day(
    (rule, fading): (&EngagementRule, &Fading),
    days: &PerDay,
    as_of: Day,
) -> impl Iterator<Item = (DayPoints, i64)> {
    let oldest = as_of.plus(-LOOK_BACK_DAYS);
    days.iter().filter(move |(day, _)| **day <= as_of && **day > oldest).map(move |(day, count)| {
        let uncapped = i64::from(*count).saturating_mul(rule.points).saturating_mul(1000);
        let cap = rule.cap_per_day.saturating_mul(1000);
        let raw = if cap > 0 { uncapped.clamp(-cap, cap) } else { uncapped };
        let milli = fading.apply(raw, as_of.since(*day));
        (DayPoints { day: *day, count: *count, raw, milli }, raw.saturating_sub(uncapped))
    })
}

pub(crate) fn rule_capped(rule: &EngagementRule, milli: i64) -> i64 {
    let cap = rule.cap.saturating_mul(1000);
    if cap > 0 { milli.clamp(-cap, cap) } else { milli }
}

fn rule_points(i: usize, rule: (&EngagementRule, &Fading), days: &PerDay, as_of: Day) -> RulePoints {
    let mut points = RulePoints { rule: i, days: Vec::with_capacity(days.len()), day_capped: 0, capped: 0, milli: 0 };
    for (of_day, day_capped) in points_by_day(rule, days, as_of) {
        points.day_capped += day_capped;
        points.milli = points.milli.saturating_add(of_day.milli);
        points.days.push(of_day);
    }
    let capped = rule_capped(rule.0, points.milli);
    points.capped = capped.saturating_sub(points.milli);
    points.milli = capped;
    points
}

/// Gives each lead, best first, its share of the account's points.
#[derive(Debug)]
pub(crate) struct Sharing<'a> {
    aggregation: &'a Aggregation,
    place: usize,
    kept: i64,
}

impl<'a> Sharing<'a> {
    /// Before the best lead.
    pub(crate) const fn new(aggregation: &'a Aggregation) -> Self {
        Self { aggregation, place: 0, kept: 1_000_000 }
    }

    /// The share of the next lead, which has so many points.
    pub(crate) fn next(&mut self, milli: i64) -> i64 {
        let place = self.place;
        self.place += 1;
        match self.aggregation {
            Aggregation::Sum => milli,
            Aggregation::Max if place == 0 => milli,
            Aggregation::Max => 0,
            Aggregation::TopN { n } if place < *n as usize => milli,
            Aggregation::TopN { .. } => 0,
            Aggregation::Diminishing { percent } => {
                let share = divide_rounded(milli.saturating_mul(self.kept), 1_000_000);
                self.kept = divide_rounded(self.kept.saturating_mul(i64::from((*percent).min(100))), 100);
                share
            }
        }
    }

    /// The share of a lead that is not among the best of its shard.
    pub(crate) const fn unnamed(&self, milli: i64) -> i64 {
        match self.aggregation {
            Aggregation::Sum => milli,
            Aggregation::Max | Aggregation::TopN { .. } | Aggregation::Diminishing { .. } => 0,
        }
    }
}

/// Splits `total` whole points over parts given in thousandths so that the whole numbers sum to it: each part is rounded down
/// and the largest remainders get the points that are left. Equal remainders go to the earlier part.
pub fn apportion(parts: &[i64], total: i64) -> Vec<i64> {
    let mut whole: Vec<i64> = parts.iter().map(|milli| milli.div_euclid(1000)).collect();
    let mut left = total.saturating_sub(whole.iter().sum());
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(parts.get(*i).map(|milli| milli.rem_euclid(1000)).unwrap_or_default()));
    while left != 0 && !order.is_empty() {
        for i in &order {
            if left == 0 {
                break;
            }
            if let Some(points) = whole.get_mut(*i) {
                *points += left.signum();
                left -= left.signum();
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_points_go_to_the_largest_remainders() {
        assert_eq!(apportion(&[1_600, 1_600, 800], 4), [2, 1, 1]);
        assert_eq!(apportion(&[500, 500], 1), [1, 0]);
        assert_eq!(apportion(&[2_400, -400], 2), [2, 0]);
    }

    proptest! {
        #[test]
        fn whole_points_sum_to_the_total(parts in proptest::collection::vec(-100_000_i64..100_000, 1..20)) {
            let total = shown(parts.iter().sum());
            let whole = apportion(&parts, total);
            prop_assert_eq!(whole.iter().sum::<i64>(), total);
            for (milli, points) in parts.iter().zip(&whole) {
                prop_assert!((points * 1000 - milli).abs() <= 1_000);
            }
        }
    }
}
