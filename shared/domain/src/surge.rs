//! Surge: activity well above the account's own baseline, found by running the enter and leave rule over the last 56 UTC days.

use crate::{Day, facts::PerDay};
use serde::{Deserialize, Serialize};

/// How many days the rule is run over, so that the answer depends on nothing that was stored before.
pub const RUN_DAYS: i32 = 56;
/// The days that the rule looks at: the run, and what lies before its first day in a window or a baseline.
pub const SEEN_DAYS: i32 = RUN_DAYS + 27;

/// When an account surges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum SurgeSettings {
    /// Against the account's own past.
    Relative(Relative),
    /// So many events in a window, whatever came before.
    Absolute {
        /// Enter at this many events.
        events: u32,
        /// In so many days, 1 to 28.
        days: u32,
    },
}

/// The numbers of the relative mode. Ratios are in percent so that no fraction is involved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relative {
    /// Enter at this many events in 7 days …
    pub enter_events: u32,
    /// … of this many leads …
    pub enter_leads: u32,
    /// … and this ratio to a week of the 21 days before, in percent.
    pub enter_ratio_percent: u32,
    /// A week of the past counts as at least this many events.
    pub least_weekly: u32,
    /// Leave below this ratio …
    pub leave_ratio_percent: u32,
    /// … or below this many events.
    pub leave_events: u32,
    /// An account younger than this many days has no past to compare with …
    pub young_days: u32,
    /// … and shows new activity at this many events …
    pub young_events: u32,
    /// … of this many leads.
    pub young_leads: u32,
}

impl Default for Relative {
    fn default() -> Self {
        Self {
            enter_events: 10,
            enter_leads: 2,
            enter_ratio_percent: 200,
            least_weekly: 3,
            leave_ratio_percent: 150,
            leave_events: 5,
            young_days: 28,
            young_events: 15,
            young_leads: 3,
        }
    }
}

impl Default for SurgeSettings {
    fn default() -> Self {
        Self::Relative(Relative::default())
    }
}

/// What the rule looks at: events that earn points.
#[derive(Debug, Clone, Default)]
pub struct Earning {
    /// Earning events of the whole account per day.
    pub events: PerDay,
    /// For each lead the days on which it had any, in order.
    pub leads: Vec<Vec<Day>>,
    /// The day of the account's first event.
    pub first_day: Option<Day>,
    /// Instead of the leads' days: the last day of a run, and for each of its days how many leads had earning events in the window that ends on it.
    pub counted: Option<(Day, Vec<u32>)>,
}

/// The rule's answer for a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surge {
    /// Whether the account surges.
    pub active: bool,
    /// The first day of the running surge.
    pub since: Option<Day>,
    /// It is new activity of a young account, not a rise over a baseline.
    pub new_activity: bool,
    /// Earning events in the window of 7 days.
    pub window: u32,
    /// Leads with earning events in that window.
    pub leads: u32,
    /// Earning events in the 21 days before the window.
    pub baseline: u32,
}

impl Surge {
    /// The window against a week of the baseline, in percent.
    pub fn ratio_percent(&self, settings: &SurgeSettings) -> u64 {
        let least = match settings {
            SurgeSettings::Relative(numbers) => numbers.least_weekly,
            SurgeSettings::Absolute { .. } => 1,
        };
        let three_weeks = u64::from(self.baseline.max(least.saturating_mul(3))).max(1);
        u64::from(self.window) * 300 / three_weeks
    }
}

impl SurgeSettings {
    /// The days of the window in which leads are counted.
    pub fn window(&self) -> i32 {
        match self {
            Self::Relative(_) => 7,
            Self::Absolute { days, .. } => window_days(*days),
        }
    }
}

impl Earning {
    /// Earning events of each of the [`SEEN_DAYS`] that end on `as_of`, oldest first.
    pub fn seen(&self, as_of: Day) -> Vec<u32> {
        (1 - SEEN_DAYS..=0).map(|days| self.events.get(&as_of.plus(days)).copied().unwrap_or_default()).collect()
    }

    /// For each of the [`RUN_DAYS`] that end on `as_of`, oldest first: how many leads had earning events in the window that ends on it.
    pub fn active(&self, settings: &SurgeSettings, as_of: Day) -> Vec<u32> {
        let mut active = vec![0_u32; usize::try_from(RUN_DAYS).unwrap_or_default()];
        let (begin, window) = (as_of.plus(1 - RUN_DAYS), settings.window());
        for days in &self.leads {
            // Windows that overlap count once.
            let mut from = begin;
            for day in between(days, begin.plus(1 - window), as_of) {
                let to = day.plus(window - 1).min(as_of);
                let (first, last) = (from.max(*day).since(begin), to.since(begin));
                for place in first..=last {
                    if let Some(count) = usize::try_from(place).ok().and_then(|place| active.get_mut(place)) {
                        *count += 1;
                    }
                }
                from = from.max(to.plus(1));
            }
        }
        active
    }

    fn active_leads(&self, from: Day, to: Day) -> u32 {
        if let Some((last, counts)) = &self.counted {
            let place = usize::try_from(last.since(to)).ok().and_then(|back| counts.len().checked_sub(back.saturating_add(1)));
            return place.and_then(|place| counts.get(place)).copied().unwrap_or_default();
        }
        let active = self.leads.iter().filter(|days| !between(days, from, to).is_empty()).count();
        u32::try_from(active).unwrap_or(u32::MAX)
    }

    /// Whether the account surges on `as_of`.
    pub fn surge(&self, settings: &SurgeSettings, as_of: Day) -> Surge {
        let mut surge = Surge::default();
        // Nothing can begin before the first earning event of the run.
        let begin = as_of.plus(1 - RUN_DAYS);
        let first = self.events.iter().find(|(day, n)| (begin..=as_of).contains(day) && **n > 0).map(|(day, _)| *day);
        let sums = Sums::new(&self.events, as_of);
        let mut day = first.unwrap_or(as_of);
        while day <= as_of {
            surge = self.step(settings, surge, day, &sums);
            day = day.plus(1);
        }
        // Steps count leads only where a decision hangs on them.
        surge.leads = self.active_leads(as_of.plus(1 - settings.window()), as_of);
        surge
    }

    fn step(&self, settings: &SurgeSettings, before: Surge, day: Day, sums: &Sums) -> Surge {
        let (active, new_activity, counts) = match settings {
            SurgeSettings::Absolute { events, days } => {
                let window = sums.of(day.plus(1 - window_days(*days)), day);
                (window >= (*events).max(1), false, (window, 0))
            }
            SurgeSettings::Relative(numbers) => {
                let window = sums.of(day.plus(-6), day);
                let baseline = sums.of(day.plus(-27), day.plus(-7));
                let young = self.first_day.is_none_or(|first| i64::from(day.since(first)) < i64::from(numbers.young_days));
                let leads = || self.active_leads(day.plus(-6), day);
                let (active, new_activity) = relative(numbers, before, young, window, leads, baseline);
                (active, new_activity, (window, baseline))
            }
        };
        let since = match (before.active, active) {
            (false, true) => Some(day),
            (true, true) => before.since,
            (_, false) => None,
        };
        let (window, baseline) = counts;
        Surge { active, since, new_activity, window, leads: 0, baseline }
    }
}

/// The days of a list in order that lie between two days, both included.
fn between(days: &[Day], from: Day, to: Day) -> &[Day] {
    let (first, end) = (days.partition_point(|day| *day < from), days.partition_point(|day| *day <= to));
    days.get(first..end).unwrap_or_default()
}

/// Sums of events over any of the [`SEEN_DAYS`] that end on a day.
struct Sums {
    first: Day,
    /// For each of the days and the one after them, the events of all days before it.
    before: [u64; SEEN_DAYS as usize + 1],
}

impl Sums {
    fn new(events: &PerDay, as_of: Day) -> Self {
        let first = as_of.plus(1 - SEEN_DAYS);
        let mut before = [0; SEEN_DAYS as usize + 1];
        for (day, n) in events.iter() {
            if let Some(after) = usize::try_from(day.since(first)).ok().and_then(|place| before.get_mut(place + 1)) {
                *after = u64::from(*n);
            }
        }
        let mut sum = 0;
        for after in &mut before {
            sum += *after;
            *after = sum;
        }
        Self { first, before }
    }

    /// The events from one day to another, both included.
    fn of(&self, from: Day, to: Day) -> u32 {
        let until = |day: Day| usize::try_from(day.since(self.first)).ok().and_then(|place| self.before.get(place)).copied();
        let sum = until(to.plus(1)).unwrap_or_default().saturating_sub(until(from).unwrap_or_default());
        u32::try_from(sum).unwrap_or(u32::MAX)
    }
}

/// The enter and leave rule of one day. A ratio of p percent to a week of the past means `window · 300 ≥ p · max(baseline, 3 · least)`.
fn relative(numbers: &Relative, before: Surge, young: bool, window: u32, leads: impl Fn() -> u32, baseline: u32) -> (bool, bool) {
    let three_weeks = u64::from(baseline.max(numbers.least_weekly.saturating_mul(3)));
    let at_least = |percent: u32| u64::from(window) * 300 >= u64::from(percent) * three_weeks;
    if before.active {
        // A young account has no baseline, so only the count can end its new activity.
        let stays = window >= numbers.leave_events && (young || at_least(numbers.leave_ratio_percent));
        return (stays, stays && before.new_activity);
    }
    if young {
        let enters = window >= numbers.young_events && leads() >= numbers.young_leads;
        return (enters, enters);
    }
    (window >= numbers.enter_events && at_least(numbers.enter_ratio_percent) && leads() >= numbers.enter_leads, false)
}

fn window_days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(28).clamp(1, 28)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(first_day: i32, days: &[(i32, u32)], leads: usize) -> Earning {
        let active: Vec<Day> = days.iter().map(|(day, _)| Day(*day)).collect();
        Earning {
            events: days.iter().map(|(day, n)| (Day(*day), *n)).collect(),
            leads: vec![active; leads],
            first_day: Some(Day(first_day)),
            counted: None,
        }
    }

    fn on(earning: &Earning, day: i32) -> bool {
        earning.surge(&SurgeSettings::default(), Day(day)).active
    }

    /// The rule as it reads, day by day from the first of the run, each sum counted anew.
    fn by_the_rule(earning: &Earning, numbers: &Relative, as_of: Day) -> Option<Day> {
        let sum = |from: Day, to: Day| earning.events.iter().filter(|(day, _)| (from..=to).contains(day)).map(|(_, n)| *n).sum::<u32>();
        let mut since = None;
        for day in (1 - RUN_DAYS..=0).map(|days| as_of.plus(days)) {
            let (window, baseline) = (sum(day.plus(-6), day), sum(day.plus(-27), day.plus(-7)));
            let leads = earning.leads.iter().filter(|days| days.iter().any(|seen| (day.plus(-6)..=day).contains(seen))).count() as u32;
            let weekly = f64::from(baseline) / 3.0;
            let ratio = f64::from(window) / weekly.max(f64::from(numbers.least_weekly)) * 100.0;
            let young = day.since(earning.first_day.unwrap()) < numbers.young_days as i32;
            let stays = window >= numbers.leave_events && (young || ratio >= f64::from(numbers.leave_ratio_percent) - 1e-9);
            let enters = if young {
                window >= numbers.young_events && leads >= numbers.young_leads
            } else {
                window >= numbers.enter_events && leads >= numbers.enter_leads && ratio >= f64::from(numbers.enter_ratio_percent) - 1e-9
            };
            since = match since {
                Some(first) if stays => Some(first),
                Some(_) => None,
                None if enters => Some(day),
                None => None,
            };
        }
        since
    }

    proptest! {
        #[test]
        fn a_surge_is_what_the_rule_says(days in proptest::collection::btree_map(0_i32..110, 1_u32..16, 0..20), leads in 1_usize..5, first in 0_i32..100) {
            let days: Vec<(i32, u32)> = days.into_iter().collect();
            let earning = account(first, &days, leads);
            let surge = earning.surge(&SurgeSettings::default(), Day(100));
            prop_assert_eq!(surge.since, by_the_rule(&earning, &Relative::default(), Day(100)));
            prop_assert_eq!(surge.active, surge.since.is_some());
            let window: u32 = days.iter().filter(|(day, _)| (94..=100).contains(day)).map(|(_, n)| n).sum();
            let baseline: u32 = days.iter().filter(|(day, _)| (73..=93).contains(day)).map(|(_, n)| n).sum();
            prop_assert_eq!((surge.window, surge.baseline), (window, baseline));
        }
    }

    #[test]
    fn ten_events_of_two_leads_at_twice_the_baseline_surge() {
        // No baseline: a week counts as 3 events, so 10 events are 3.3 times as many.
        assert!(on(&account(0, &[(100, 10)], 2), 100));
        assert!(!on(&account(0, &[(100, 9)], 2), 100));
        assert!(!on(&account(0, &[(100, 10)], 1), 100));
        // 15 events in the three weeks before are 5 a week: 10 is twice, 9 would not be enough anyway.
        assert!(on(&account(0, &[(90, 15), (100, 10)], 2), 100));
        // 18 are 6 a week: 11 is less than twice, 12 is twice.
        assert!(!on(&account(0, &[(90, 18), (100, 11)], 2), 100));
        assert!(on(&account(0, &[(90, 18), (100, 12)], 2), 100));
    }

    #[test]
    fn a_surge_ends_below_five_events_or_a_ratio_of_one_and_a_half() {
        let earning = account(0, &[(100, 10)], 2);
        // The events leave the window of 7 days on day 107.
        assert!(on(&earning, 106));
        assert!(!on(&earning, 107));
        // It goes on while the ratio holds: on day 108 the window has 6, the baseline 10 → 3.3 a week → ratio 1.8.
        assert!(on(&account(0, &[(100, 10), (105, 6)], 2), 108));
        // 4 are too few.
        assert!(!on(&account(0, &[(100, 10), (105, 4)], 2), 108));
        // On day 108 the window has 6, the baseline 15 → 5 a week → ratio 1.2.
        assert!(!on(&account(0, &[(100, 15), (105, 6)], 2), 108));
    }

    #[test]
    fn a_young_account_needs_fifteen_events_of_three_leads() {
        assert!(!on(&account(90, &[(100, 14)], 3), 100));
        assert!(!on(&account(90, &[(100, 15)], 2), 100));
        let surge = account(90, &[(100, 15)], 3).surge(&SurgeSettings::default(), Day(100));
        assert!(surge.active && surge.new_activity);
        assert_eq!(surge.since, Some(Day(100)));
    }

    #[test]
    fn absolute_mode_counts_a_window() {
        let settings = SurgeSettings::Absolute { events: 5, days: 3 };
        let earning = account(0, &[(98, 2), (100, 3)], 1);
        assert!(earning.surge(&settings, Day(100)).active);
        assert!(!earning.surge(&settings, Day(101)).active);
    }
}
