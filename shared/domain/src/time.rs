//! Moments and UTC days. There is no clock here: "now" is always an argument.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds in one UTC day.
pub const DAY_MS: i64 = 86_400_000;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// The beginning of 9999-12-30: a little before the end of what the calendar library holds.
const MAX_MS: i64 = 253_402_128_000_000;
/// The earliest such moment, 0000-01-01T00:00:00Z.
const MIN_MS: i64 = -62_167_219_200_000;

impl Timestamp {
    /// A moment from milliseconds since the epoch; values outside the years 0 to 9999 (up to its last days) are clamped.
    pub const fn from_millis(ms: i64) -> Self {
        if ms > MAX_MS {
            Self(MAX_MS)
        } else if ms < MIN_MS {
            Self(MIN_MS)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The UTC day that holds this moment.
    pub const fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_MS) as i32)
    }

    /// This moment plus some milliseconds, clamped as in [`Timestamp::from_millis`].
    pub const fn plus_millis(self, ms: i64) -> Self {
        Self::from_millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    pub const fn millis_since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    /// Reads ISO 8601 / RFC 3339 text. Text without an offset is taken as UTC, as Segment does.
    ///
    /// ```
    /// use domain::Timestamp;
    /// assert_eq!(Timestamp::parse("1970-01-02T00:00:00Z").map(|t| t.millis()), Some(86_400_000));
    /// assert_eq!(Timestamp::parse("1970-01-01T01:00:00.5+01:00").map(|t| t.millis()), Some(500));
    /// assert_eq!(Timestamp::parse("yesterday"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > 64 {
            return None;
        }
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Some(Self::from_millis(moment.as_millisecond()));
        }
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        let moment = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
        Some(Self::from_millis(moment.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds, as in `2026-11-21T20:06:54.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A UTC day: whole days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// The first moment of the day, 00:00 UTC.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0 as i64 * DAY_MS)
    }

    /// The day `days` later (earlier when negative).
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Days from `earlier` to this day; negative when `earlier` is later.
    pub const fn since(self, earlier: Day) -> i32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Day {
    /// The ISO date, as in `2026-11-21`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let t = Timestamp::parse("2026-11-21T20:06:54.123Z").unwrap();
        assert_eq!(t.to_string(), "2026-11-21T20:06:54.123Z");
        assert_eq!(t.day().to_string(), "2026-11-21");
        assert_eq!(Timestamp::parse("2026-11-21 20:06:54.123"), Some(t));
        assert_eq!(Timestamp::parse("2026-11-21"), Some(t.day().start()));
    }

    #[test]
    fn days_before_the_epoch_round_down() {
        assert_eq!(Timestamp::from_millis(-1).day(), Day(-1));
        assert_eq!(Timestamp::from_millis(0).day(), Day(0));
    }

    #[test]
    fn extreme_moments_print_and_parse() {
        for ms in [i64::MIN, i64::MAX, MIN_MS, MAX_MS] {
            let t = Timestamp::from_millis(ms);
            assert_eq!(Timestamp::parse(&t.to_string()), Some(t));
        }
    }
}
