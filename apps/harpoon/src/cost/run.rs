//! Drives a load through a pipeline: first everybody is introduced, then comes what is measured.

use super::{
    counted::Pace,
    ledger::{Counts, Ledger},
    load::{Load, Size, Who},
    rig::{Engine, Filling, Rig},
};
use crate::runner::SCORE;
use domain::{DAY_MS, Timestamp};
use pipeline::{Clock, Store};
use serde_json::Value;
use std::collections::BTreeSet;

/// When the measured part begins, UTC.
const START: &str = "2026-03-18T06:00:00Z";
/// Windows that follow each other before the fleet looks elsewhere: half a minute, for which rulesets are remembered …
const WINDOWS_IN_A_ROW: usize = 6;
/// … and fewer where so many accounts would be needed that only introducing them takes long. Rulesets are then read more often than in truth,
/// which is next to nothing beside so many accounts.
const FEWER_WINDOWS_IN_A_ROW: usize = 2;
/// From so many accounts in a row on.
const MANY_ACCOUNTS: usize = 120;
/// How long it takes until the same people may come again.
const PAUSE_MS: i64 = 12 * 60 * 1_000;
/// Events of everybody from the days before.
const PAST_EVENTS: usize = 48;
/// Then everybody comes up to so many times, some more often than others, so that whatever fills up and is emptied is full to all degrees.
const WARM_VISITS: usize = 24;
/// How many people come before the stages are run, while nothing is measured.
const PEOPLE_AT_ONCE: usize = 50;
/// Over how many days they are spread.
const PAST_DAYS: usize = 15;
/// For how many midnights it is counted what is scored again.
const MIDNIGHTS: u64 = 7;
/// Calls of one request while everybody is introduced.
const INTRODUCED_AT_ONCE: usize = 20;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The load.
    pub size: Size,
    /// Events of one request.
    pub batch: usize,
    /// Identities of one request.
    pub identities: usize,
    /// How many requests touch an account within a window of score.
    pub touches: usize,
    /// Events a second.
    pub rate: usize,
    /// How many events, about.
    pub events: usize,
    /// How full batches get.
    pub filling: Filling,
    /// Of a million accounts touched in a window, how many fire a trigger.
    pub firing_ppm: u64,
}

impl Plan {
    /// Events of one identity in one request.
    pub fn events_each(&self) -> usize {
        (self.batch / self.identities.max(1)).max(1)
    }

    /// Accounts that are touched within a window.
    pub fn accounts_at_once(&self) -> usize {
        let events = self.rate.saturating_mul(usize::try_from(SCORE.window.as_secs()).unwrap_or(1));
        (events / self.events_each() / self.touches.max(1)).max(1).max(self.identities.div_ceil(self.touches.max(1)))
    }

    fn windows_in_a_row(&self) -> usize {
        let many = self.accounts_at_once().saturating_mul(WINDOWS_IN_A_ROW) > MANY_ACCOUNTS;
        if many { FEWER_WINDOWS_IN_A_ROW } else { WINDOWS_IN_A_ROW }
    }

    /// Accounts that there must be so that nobody comes again at once.
    pub fn accounts_needed(&self) -> usize {
        self.accounts_at_once().saturating_mul(self.windows_in_a_row())
    }
}

/// A measured part.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// What was counted.
    pub counts: Counts,
    /// Events, or whatever the part is about.
    pub of: u64,
}

/// Everything that a run measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// The steady state; of events.
    pub steady: Part,
    /// Accounts seen for the first time, each with its first lead.
    pub new_accounts: Part,
    /// Leads of known accounts seen for the first time.
    pub new_leads: Part,
    /// The midnights after everything, when nobody comes any more: of accounts times days.
    pub midnight: Part,
    /// How many accounts were found due in these midnights.
    pub rescored: u64,
    /// A run of rescore that finds nothing.
    pub idle_rescore: Part,
    /// Bytes of an event as it arrived, on average.
    pub event_bytes: f64,
    /// Windows of score that the steady state lasted.
    pub windows: u64,
    /// Requests that touch an account within a window, on average.
    pub touches: f64,
    /// Notifications posted in the steady state.
    pub posted: u64,
}

/// Runs a plan.
///
/// # Errors
/// A stage failed, which it should not.
pub fn measure<S: Store + Clone>(
    plan: &Plan,
    engine: Engine,
    pace: Pace,
    stored: impl Fn(&'static str, &Ledger) -> (S, S),
) -> anyhow::Result<Measured> {
    let start = Timestamp::parse(START).unwrap_or_default();
    let rig = Rig::new(engine, pace, plan.filling, start.plus_millis(-DAY_MS), stored)?;
    let mut driver = Driver { plan: *plan, rig, load: Load::new(plan.size), place: 0, turn: 0, firing: 0, fits: BTreeSet::new() };
    let mut measured = Measured::default();
    let accounts = 0..plan.size.accounts;
    let first: Vec<Who> = accounts.clone().map(|account| Who { account, lead: 0 }).collect();
    measured.new_accounts = driver.introduce(&first)?;
    let others: Vec<Who> = accounts.flat_map(|account| (1..plan.size.leads_per_account).map(move |lead| Who { account, lead })).collect();
    measured.new_leads = driver.introduce(&others)?;
    driver.past(first.into_iter().chain(others))?;

    driver.rig.clock.set(start);
    let events_in_a_window = plan.accounts_at_once() * plan.touches * plan.events_each();
    let windows = plan.events.div_ceil(events_in_a_window.max(1)).max(1);
    driver.windows(windows.min(2 * plan.windows_in_a_row()))?;
    driver.rig.take();
    driver.load.start_counting();
    let before = driver.rig.posted();
    driver.windows(windows)?;
    measured.posted = driver.rig.posted() - before;
    let (events, bytes) = driver.load.made();
    measured.event_bytes = bytes as f64 / events.max(1) as f64;
    measured.steady = Part { counts: driver.rig.take(), of: events };
    measured.windows = windows as u64;
    measured.touches = plan.touches as f64;

    // A run that finds nothing, and then the one after midnight that finds everybody.
    driver.rig.rescore()?;
    driver.rig.settle(SCORE.window)?;
    driver.rig.take();
    driver.rig.rescore()?;
    measured.idle_rescore = Part { counts: driver.rig.take(), of: 1 };
    for _ in 0..MIDNIGHTS {
        let midnight = driver.rig.clock.now().day().plus(1).start();
        driver.rig.clock.set(midnight.plus_millis(60_000));
        // One run takes everything that is due; another one takes what the first one made due.
        for _ in 0..2 {
            measured.rescored += driver.rig.rescore()?.accounts as u64;
            driver.rig.settle(SCORE.window)?;
            driver.rig.clock.advance(60_000);
        }
    }
    let account_days = MIDNIGHTS * plan.size.accounts as u64;
    measured.midnight = Part { counts: driver.rig.take(), of: account_days };
    Ok(measured)
}

struct Driver<S: Store + Clone> {
    plan: Plan,
    rig: Rig<S>,
    load: Load,
    /// The next account whose turn it is.
    place: usize,
    /// Counts windows.
    turn: usize,
    /// Millionths of a trigger that are still to fire.
    firing: u64,
    /// Accounts that were made to fit best, and those that were made not to.
    fits: BTreeSet<usize>,
}

impl<S: Store + Clone> Driver<S> {
    fn now(&self) -> Timestamp {
        self.rig.clock.now()
    }

    /// Introduces people, a request of some calls each, and counts it.
    fn introduce(&mut self, people: &[Who]) -> anyhow::Result<Part> {
        for some in people.chunks(INTRODUCED_AT_ONCE * 5) {
            for few in some.chunks(INTRODUCED_AT_ONCE / 2) {
                let now = self.now();
                let calls: Vec<Value> = few.iter().flat_map(|who| self.load.introduce(*who, now)).collect();
                let body = self.load.body(&calls);
                self.rig.ingest(body)?;
                self.rig.clock.advance(100);
            }
            self.rig.settle(SCORE.window)?;
        }
        Ok(Part { counts: self.rig.take(), of: people.len() as u64 })
    }

    /// Tells what everybody did before.
    fn past(&mut self, people: impl Iterator<Item = Who>) -> anyhow::Result<()> {
        let people: Vec<Who> = people.collect();
        for some in people.chunks(PEOPLE_AT_ONCE) {
            for who in some {
                let now = self.now();
                let calls = self.load.past(*who, PAST_EVENTS, PAST_DAYS, now);
                self.send(&calls)?;
            }
            self.rig.settle(SCORE.window)?;
        }
        let visits: Vec<usize> = people.iter().map(|_| self.load.chance().below(WARM_VISITS)).collect();
        for round in 0..WARM_VISITS {
            let coming: Vec<Who> = people.iter().zip(&visits).filter(|(_, visits)| **visits > round).map(|(who, _)| *who).collect();
            for some in coming.chunks(PEOPLE_AT_ONCE) {
                for who in some {
                    let now = self.now();
                    let calls = self.load.visit(*who, self.plan.events_each(), now);
                    self.send(&calls)?;
                }
                self.rig.settle(SCORE.window)?;
            }
            self.rig.clock.advance(PAUSE_MS);
        }
        Ok(())
    }

    fn send(&mut self, calls: &[Value]) -> anyhow::Result<()> {
        let body = self.load.body(calls);
        self.rig.ingest(body)?;
        self.rig.clock.advance(20);
        Ok(())
    }

    fn windows(&mut self, windows: usize) -> anyhow::Result<()> {
        for _ in 0..windows {
            self.window()?;
            self.turn += 1;
            if self.turn.is_multiple_of(self.plan.windows_in_a_row()) {
                self.rig.clock.advance(PAUSE_MS);
            }
        }
        Ok(())
    }

    /// One window: some accounts are touched, each by several people.
    fn window(&mut self) -> anyhow::Result<()> {
        let plan = self.plan;
        let (count, leads) = (plan.accounts_at_once(), plan.size.leads_per_account.max(1));
        let accounts: Vec<usize> = (0..count).map(|n| (self.place + n) % plan.size.accounts.max(1)).collect();
        self.place = (self.place + count) % plan.size.accounts.max(1);
        self.firing += plan.firing_ppm * count as u64;
        let due = usize::try_from(self.firing / 1_000_000).unwrap_or(count).min(count);
        self.firing %= 1_000_000;
        let mut turning = accounts.clone();
        self.load.chance().shuffle(&mut turning);
        turning.truncate(due);
        let mut requests: Vec<Vec<Who>> = Vec::new();
        for touch in 0..plan.touches {
            let mut people: Vec<Who> =
                accounts.iter().map(|account| Who { account: *account, lead: (touch + self.turn) % leads }).collect();
            self.load.chance().shuffle(&mut people);
            requests.extend(people.chunks(plan.identities.max(1)).map(<[Who]>::to_vec));
        }
        let span = i64::try_from(SCORE.window.as_millis()).unwrap_or_default();
        let apart = span / i64::try_from(requests.len().max(1)).unwrap_or(1);
        for people in requests {
            let now = self.now();
            let mut calls: Vec<Value> = Vec::with_capacity(plan.batch);
            for who in people {
                let mut visit = self.load.visit(who, plan.events_each(), now);
                if let Some(place) = turning.iter().position(|account| *account == who.account) {
                    turning.remove(place);
                    let fits = self.fits.insert(who.account) || !self.fits.remove(&who.account);
                    // In place of the last event: each time the account's level changes to the other end.
                    visit.pop();
                    visit.push(self.load.turn(who, fits, now));
                }
                calls.append(&mut visit);
            }
            calls.sort_by_cached_key(|call| call.get("timestamp").and_then(Value::as_str).unwrap_or_default().to_owned());
            let body = self.load.body(&calls);
            self.rig.ingest(body)?;
            self.rig.clock.advance(apart);
        }
        self.rig.settle(SCORE.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{prices::PriceFile, virtual_time::VirtualTime};
    use pipeline::memory::MemoryStore;
    use std::sync::Arc;

    fn measured(plan: &Plan) -> Measured {
        let time = VirtualTime::default();
        let pace = Pace::Stated(time.clone(), PriceFile::read(None).unwrap().latency);
        let store = Arc::new(MemoryStore::default());
        measure(plan, Engine::Virtual(time), pace, |_, _| (Arc::clone(&store), Arc::clone(&store))).unwrap()
    }

    fn plan(batch: usize, identities: usize) -> Plan {
        let size = Size { seed: 3, accounts: 1, leads_per_account: 5, event_bytes: 640 };
        let filling = Filling { pollers: 1, per_receive: 10 };
        let mut plan = Plan { size, batch, identities, touches: 4, rate: 16, events: 160, filling, firing_ppm: 250_000 };
        plan.size.accounts = plan.accounts_needed();
        plan
    }

    #[test]
    fn the_same_seed_counts_the_same() {
        let counts = |mut measured: Measured| {
            // The processor's time is measured and log lines hold durations; everything else is counted.
            for function in measured.steady.counts.functions.values_mut() {
                (function.cpu_us, function.logged) = (0, 0);
            }
            (measured.steady.counts, measured.steady.of, measured.posted, measured.rescored)
        };
        assert_eq!(counts(measured(&plan(20, 1))), counts(measured(&plan(20, 1))));
    }

    #[test]
    fn what_is_stated_is_what_is_sent() {
        let plan = plan(20, 20);
        let measured = measured(&plan);
        let counts = &measured.steady.counts;
        // 16 events a second for 5 seconds, each of another person, 4 touches: 20 accounts, and 4 requests of 20 people.
        assert_eq!(plan.accounts_at_once(), 20);
        assert_eq!((measured.windows, measured.steady.of), (2, 160));
        assert_eq!(counts.functions["ingest"].invocations, 8);
        assert_eq!(counts.queues["resolve"].messages, 8);
        // Every person of every request is one parcel, and each account is scored once a window.
        let puts = |kind: &str| counts.store_sum(|entry| entry.kind == kind && entry.operation == "put").requests;
        assert_eq!(puts("parcel"), 160);
        assert_eq!(puts("score record"), 40);
        // A quarter of the 20 accounts touched in a window change their level, and each change notifies.
        assert_eq!(measured.posted, 10);
    }
}
