//! Counters: what an invocation came to, in numbers, for whoever watches a deployment.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What is counted. Each name is that of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Events that ingest handed on.
    EventsAccepted,
    /// Events that ingest refused.
    EventsRejected,
    /// Messages that a stage is done with.
    MessagesDone,
    /// Messages that come again.
    MessagesRetried,
    /// Messages that were replaced by smaller ones.
    MessagesSplit,
    /// Messages, and parts of messages, that were parked in a dead queue.
    MessagesParked,
    /// Deliveries that their destination took.
    DeliveriesSent,
    /// Deliveries that are tried again later.
    DeliveriesPostponed,
    /// Deliveries that were given up.
    DeliveriesFailed,
    /// Accounts that rescore found due.
    AccountsDue,
    /// Deliveries that rescore found due.
    DeliveriesDue,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 11] = [
        Self::EventsAccepted,
        Self::EventsRejected,
        Self::MessagesDone,
        Self::MessagesRetried,
        Self::MessagesSplit,
        Self::MessagesParked,
        Self::DeliveriesSent,
        Self::DeliveriesPostponed,
        Self::DeliveriesFailed,
        Self::AccountsDue,
        Self::DeliveriesDue,
    ];

    /// The metric's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventsAccepted => "EventsAccepted",
            Self::EventsRejected => "EventsRejected",
            Self::MessagesDone => "MessagesDone",
            Self::MessagesRetried => "MessagesRetried",
            Self::MessagesSplit => "MessagesSplit",
            Self::MessagesParked => "MessagesParked",
            Self::DeliveriesSent => "DeliveriesSent",
            Self::DeliveriesPostponed => "DeliveriesPostponed",
            Self::DeliveriesFailed => "DeliveriesFailed",
            Self::AccountsDue => "AccountsDue",
            Self::DeliveriesDue => "DeliveriesDue",
        }
    }
}

type Counts = [AtomicU64; Counter::ALL.len()];

/// Where the parts of a process count. Clones count together. By default nothing is counted, which is what a process does that nobody
/// asks for metrics.
#[derive(Debug, Clone, Default)]
pub struct Counters(Option<Arc<Counts>>);

impl Counters {
    /// Counters that count.
    pub fn counting() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: usize) {
        if let Some(count) = self.0.as_ref().and_then(|counts| counts.get(counter as usize)) {
            count.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// What was counted since it was taken last, without the counters that stand at zero.
    pub fn take(&self) -> impl Iterator<Item = (Counter, u64)> {
        let counts = self.0.iter().flat_map(|counts| counts.iter());
        Counter::ALL.into_iter().zip(counts).filter_map(|(counter, count)| match count.swap(0, Ordering::Relaxed) {
            0 => None,
            n => Some((counter, n)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together_and_what_was_taken_is_not_taken_again() {
        let counters = Counters::counting();
        counters.add(Counter::MessagesDone, 2);
        counters.clone().add(Counter::MessagesDone, 3);
        counters.add(Counter::DeliveriesDue, 1);
        counters.add(Counter::MessagesParked, 0);
        assert_eq!(counters.take().collect::<Vec<_>>(), [(Counter::MessagesDone, 5), (Counter::DeliveriesDue, 1)]);
        assert_eq!(counters.take().count(), 0);
    }

    #[test]
    fn nothing_is_counted_by_default() {
        let counters = Counters::default();
        counters.add(Counter::EventsAccepted, 7);
        assert_eq!(counters.take().count(), 0);
    }

    #[test]
    fn every_counter_stands_at_its_own_place() {
        for (place, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, place);
            assert_eq!(counter.as_str(), format!("{counter:?}"));
        }
    }
}
