//! How long the event log keeps parcels, and since when it is whole.
//!
//! A parcel's time is set when it is written, so a longer retention does not bring back what was written for a shorter one. What was in force
//! when is kept in one item; from it follows since when nothing is missing.

use crate::{
    environment::{Environment, EnvironmentError},
    records::{from_item, text},
    store::{Condition, Consistency, Item, Key, Store, StoreError, Table, Write},
};
use domain::{DAY_MS, Timestamp};
use serde::{Deserialize, Serialize};

/// The fewest months that parcels may be kept: explanations and percentages of change look back for 13.
pub const FEWEST_MONTHS: u32 = 14;
/// The most months.
pub const MOST_MONTHS: u32 = 120;
/// What holds where nothing else is said: 25 months.
const DEFAULT_DAYS: i64 = 761;
/// A parcel's events are older than it is, and a change of the retention is noted a little later than functions act by it.
const ROOM_MS: i64 = 2 * DAY_MS;

/// For how long parcels are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kept {
    days: i64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { days: DEFAULT_DAYS }
    }
}

impl Kept {
    /// For so many months of 30.4375 days, from [`FEWEST_MONTHS`] to [`MOST_MONTHS`].
    pub fn months(months: u32) -> Option<Self> {
        (FEWEST_MONTHS..=MOST_MONTHS).contains(&months).then(|| Self { days: (i64::from(months) * 1461 + 24) / 48 })
    }

    /// As a variable says.
    pub fn from_environment(environment: &Environment<'_>, name: &'static str) -> Result<Self, EnvironmentError> {
        let expected = "how many months events are kept, from 14 to 120";
        Self::months(environment.number(name, expected)?).ok_or(EnvironmentError { name, expected })
    }

    pub(crate) const fn millis(self) -> i64 {
        self.days * DAY_MS
    }
}

/// Parcels that were written from a moment on are kept for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Period {
    since: Timestamp,
    days: Kept,
}

/// For how long parcels were and are kept; the last period is the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    periods: Vec<Period>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { periods: vec![Period { since: Timestamp::default(), days: Kept::default() }] }
    }
}

impl Retention {
    /// Since when no parcel has gone because of its age.
    pub fn holds_since(&self, now: Timestamp) -> Timestamp {
        let ends = self.periods.iter().skip(1).map(|next| Some(next.since)).chain([None]);
        let gone = self.periods.iter().zip(ends).filter_map(|(period, end)| {
            let until = now.plus_millis(-period.days.millis());
            (until > period.since).then(|| end.map_or(until, |end| until.min(end)))
        });
        gone.max().unwrap_or_default()
    }

    /// Since when the log is whole: what happened since then is in it.
    pub fn whole_since(&self, now: Timestamp) -> Timestamp {
        self.holds_since(now.plus_millis(ROOM_MS))
    }

    /// From now on parcels are kept for so long. Tells whether that is new.
    fn change(&mut self, kept: Kept, now: Timestamp) -> bool {
        let present = self.periods.last().map(|period| period.days);
        if present == Some(kept) {
            return false;
        }
        self.periods.push(Period { since: now, days: kept });
        // Of a period whose parcels have all gone nothing follows any more.
        let begins = self.holds_since(now);
        let over = self.periods.iter().skip(1).take_while(|next| next.since <= begins).count();
        self.periods.drain(..over);
        true
    }
}

fn key() -> Key {
    Key::new(Table::Config, "LOG", "retention")
}

/// What is noted of the log's retention.
pub async fn retention<S: Store>(store: &S) -> Result<Retention, StoreError> {
    store.read(&key(), Consistency::Strong).await?.map_or_else(|| Ok(Retention::default()), |item| from_item(&item))
}

/// Notes for how long parcels are kept from now on. Two that note it at once note the same; the next run puts right what one of them lost.
pub async fn note_retention<S: Store>(store: &S, kept: Kept, now: Timestamp) -> Result<(), StoreError> {
    let stored = store.read(&key(), Consistency::Strong).await?;
    let mut retention: Retention = stored.as_ref().map_or_else(|| Ok(Retention::default()), from_item)?;
    if !retention.change(kept, now) {
        return Ok(());
    }
    let version = stored.map_or(0, |item| item.version);
    let item = Item { key: key(), version: version.saturating_add(1), body: text(&key(), &retention)?, expires_at: None };
    let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
    store.write(Write::Put(item, condition)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MS)
    }

    fn kept(days: i64) -> Kept {
        Kept { days }
    }

    fn of(periods: &[(i64, i64)]) -> Retention {
        Retention { periods: periods.iter().map(|(since, days)| Period { since: day(*since), days: kept(*days) }).collect() }
    }

    #[test]
    fn a_wrong_number_of_months_is_refused() {
        let said = |value: &'static str| {
            let environment = Environment::new(move |_| Some(value.to_owned()));
            Kept::from_environment(&environment, "MONTHS").map_err(|e| e.to_string())
        };
        assert_eq!(said("60"), Ok(kept(1_826)));
        for wrong in ["13", "121", "-25", "many"] {
            let told = "the environment variable `MONTHS` must be how many months events are kept, from 14 to 120";
            assert_eq!(said(wrong), Err(told.to_owned()));
        }
    }

    #[test]
    fn months_are_days_within_limits() {
        let days = |months| Kept::months(months).map(|kept| kept.days);
        assert_eq!([13, 14, 25, 120, 121].map(days), [None, Some(426), Some(761), Some(3_653), None]);
    }

    /// Every parcel, one a day, lives as long as was said on the day it was written.
    #[test]
    fn the_log_holds_everything_since_the_last_parcel_that_is_gone() {
        for periods in [&[(0, 100)][..], &[(0, 100), (400, 300)], &[(0, 300), (400, 100)], &[(0, 100), (400, 300), (450, 50), (900, 80)]] {
            let retention = of(periods);
            let life = |written: i64| periods.iter().rev().find(|(since, _)| *since <= written).map_or(0, |(_, days)| *days);
            for now in 0..2_000 {
                let gone = (0..now).filter(|written| written + life(*written) < now).max();
                let expected = gone.map_or(0, |written| written + 1);
                assert_eq!(retention.holds_since(day(now)), day(expected), "{periods:?} on day {now}");
            }
        }
    }

    #[test]
    fn what_was_written_for_a_shorter_time_does_not_come_back() {
        let retention = of(&[(0, 426), (1_000, 3_653)]);
        assert_eq!(retention.whole_since(day(1_000)), day(1_000 + 2 - 426));
        assert_eq!(retention.whole_since(day(1_400)), day(1_400 + 2 - 426));
        // From then on all that is left was written for the longer time, of which nothing has gone.
        assert_eq!(retention.whole_since(day(2_000)), day(1_000));
        assert_eq!(retention.whole_since(day(5_000)), day(5_000 + 2 - 3_653));
    }

    #[tokio::test]
    async fn a_change_is_noted_once_and_what_is_over_is_forgotten() {
        let store = MemoryStore::default();
        assert_eq!(retention(&store).await.unwrap(), Retention::default());
        note_retention(&store, Kept::default(), day(20_000)).await.unwrap();
        assert_eq!(store.read(&key(), Consistency::Strong).await.unwrap(), None);
        for now in [20_000, 20_001] {
            note_retention(&store, kept(426), day(now)).await.unwrap();
        }
        assert_eq!(retention(&store).await.unwrap(), of(&[(0, 761), (20_000, 426)]));
        note_retention(&store, kept(900), day(20_800)).await.unwrap();
        assert_eq!(retention(&store).await.unwrap(), of(&[(20_000, 426), (20_800, 900)]));
    }
}
