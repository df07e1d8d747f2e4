//! When a failed delivery is attempted again.

use domain::{Timestamp, hash64};
use pipeline::notify::DeliveryId;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// The moments of the retries, counted from the first attempt, as Standard Webhooks proposes them.
pub const RETRIES: [i64; 9] = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// How often a delivery is attempted: once and all the retries.
pub const MAX_TRIES: u32 = RETRIES.len() as u32 + 1;

/// The longest wait that a destination may ask for.
const MAX_RETRY_AFTER: i64 = 24 * HOUR;

/// When the next attempt is due after `tries` attempts, of which the first began at `first`; `None` when that was the last one.
///
/// Each step is lengthened by up to a tenth, by a digest of the id: many deliveries that failed together do not come back together. After
/// a standstill of Harpoon itself, at least half a step lies between two attempts. A longer wait that the destination asked for is kept, up to a day.
pub fn next_attempt(id: &DeliveryId, first: Timestamp, tries: u32, now: Timestamp, retry_after: Option<i64>) -> Option<Timestamp> {
    let index = usize::try_from(tries.checked_sub(1)?).ok()?;
    let offset = *RETRIES.get(index)?;
    let before = index.checked_sub(1).and_then(|before| RETRIES.get(before)).copied().unwrap_or(0);
    let step = offset - before;
    let spread = u64::try_from(step / 10).unwrap_or(0).saturating_add(1);
    let jitter = i64::try_from(hash64(&[id.as_str().as_bytes(), &tries.to_le_bytes()]) % spread).unwrap_or(0);
    let planned = first.plus_millis(offset + jitter).max(now.plus_millis(step / 2));
    Some(match retry_after {
        Some(wait) => planned.max(now.plus_millis(wait.clamp(0, MAX_RETRY_AFTER))),
        None => planned,
    })
}

/// Reads `Retry-After`: whole seconds or an HTTP date. Answers milliseconds from `now`; `None` for anything else.
pub fn retry_after(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    if text.len() > 64 || text.is_empty() {
        return None;
    }
    if text.bytes().all(|c| c.is_ascii_digit()) {
        let seconds: i64 = text.parse().unwrap_or(i64::MAX);
        return Some(seconds.saturating_mul(SECOND));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    Some(Timestamp::from_millis(at).millis_since(now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(digit: char) -> DeliveryId {
        DeliveryId::try_from(format!("msg_{}", String::from(digit).repeat(32))).unwrap()
    }

    #[test]
    fn retries_come_at_the_published_moments_plus_at_most_a_tenth() {
        // 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h in seconds.
        let published = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        let first = Timestamp::from_millis(1_700_000_000_000);
        let mut now = first;
        for (i, seconds) in published.iter().enumerate() {
            let next = next_attempt(&id('a'), first, i as u32 + 1, now, None).unwrap();
            let after = next.millis_since(first);
            assert!(after >= seconds * 1_000 && after <= seconds * 1_100, "retry {i}: {after} ms");
            now = next;
        }
        assert_eq!(next_attempt(&id('a'), first, 10, now, None), None);
        assert_eq!((MAX_TRIES, next_attempt(&id('a'), first, 0, now, None)), (10, None));
    }

    #[test]
    fn deliveries_that_failed_together_come_back_apart() {
        let first = Timestamp::default();
        let moments: std::collections::BTreeSet<_> =
            "0123456789abcdef".chars().filter_map(|digit| next_attempt(&id(digit), first, 5, first, None)).collect();
        assert!(moments.len() > 12);
    }

    #[test]
    fn after_a_standstill_the_retries_do_not_come_all_at_once() {
        let first = Timestamp::default();
        let late = first.plus_millis(30 * HOUR);
        // The step from 5 minutes to 30 minutes is 25 minutes long.
        assert_eq!(next_attempt(&id('a'), first, 3, late, None), Some(late.plus_millis(25 * MINUTE / 2)));
    }

    #[test]
    fn a_longer_wait_is_kept_up_to_a_day_and_a_shorter_one_does_not_hurry() {
        let first = Timestamp::default();
        assert_eq!(next_attempt(&id('a'), first, 1, first, Some(HOUR)), Some(first.plus_millis(HOUR)));
        assert_eq!(next_attempt(&id('a'), first, 1, first, Some(90 * HOUR)), Some(first.plus_millis(24 * HOUR)));
        assert!(next_attempt(&id('a'), first, 2, first, Some(SECOND)).unwrap() >= first.plus_millis(5 * MINUTE));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::parse("2015-10-21T07:27:00Z").unwrap();
        assert_eq!(retry_after("120", now), Some(120_000));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(60_000));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:26:00 GMT", now), Some(0));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("", now), None);
        assert!(retry_after("99999999999999999999999", now).unwrap() > 90 * HOUR);
    }

    proptest! {
        #[test]
        fn the_next_attempt_is_never_in_the_past(tries in 1_u32..12, late in 0_i64..1_000_000_000_000, wait in proptest::option::of(any::<i64>()), text in ".{0,70}") {
            let (first, now) = (Timestamp::default(), Timestamp::from_millis(late));
            prop_assert!(next_attempt(&id('b'), first, tries, now, wait).is_none_or(|next| next > now));
            let _ = retry_after(&text, now);
        }
    }
}
