//! What goes wrong, how often, and how often it did.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Fault {
    /// A store operation fails before it happens.
    StoreFails,
    /// A store operation is refused for too many requests.
    Throttled,
    /// A write happens, but its answer is lost.
    AnswerLost,
    /// A write happens, its answer is lost, and the client's own second try meets the first one.
    ConflictWithItself,
    /// A write is given up by its caller and happens later.
    LateWrite,
    /// A transaction meets another one.
    TransactionMeets,
    /// A read that did not ask for consistency answers the past.
    StaleAnswer,
    /// A query reads its items one by one while others write.
    NoSnapshot,
    /// An expired item is still answered.
    ExpiredAnswered,
    /// An expired item vanishes.
    ExpiredRemoved,
    /// A worker dies between two operations.
    Crash,
    /// A worker dies and its successor begins with cold caches.
    ColdStart,
    /// A worker is slower than its messages' visibility timeout.
    SlowWorker,
    /// A message is handed out twice.
    Duplicate,
    /// A message comes late: seconds to hours.
    Delay,
    /// A message comes very late: up to fourteen days.
    LongDelay,
    /// A done message is not removed.
    DeleteFails,
    /// What the handler answered is lost: the whole batch comes again.
    ResponseLost,
    /// A message came while a worker still held it.
    VisibilityRanOut,
    /// A message went to the dead queue.
    DeadLetter,
    /// A dead message was sent back.
    Redrive,
    /// A send fails and sends nothing.
    SendFails,
    /// A send fails after a part was taken.
    SendInPart,
    /// A send succeeds and reports failure.
    SendAnswerLost,
    /// The client does not hear the answer.
    ClientUnanswered,
    /// The client sends the same batch again.
    ClientRetry,
    /// The client sends events again in other batches.
    ClientRegroups,
    /// The client sends again what was accepted.
    ClientRepeats,
    /// A host's clock jumps.
    ClockJump,
    /// A destination answers an error.
    DestinationFails,
    /// A destination takes a notification, but its answer is lost.
    DestinationSilent,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 31] = [
        Self::StoreFails,
        Self::Throttled,
        Self::AnswerLost,
        Self::ConflictWithItself,
        Self::LateWrite,
        Self::TransactionMeets,
        Self::StaleAnswer,
        Self::NoSnapshot,
        Self::ExpiredAnswered,
        Self::ExpiredRemoved,
        Self::Crash,
        Self::ColdStart,
        Self::SlowWorker,
        Self::Duplicate,
        Self::Delay,
        Self::LongDelay,
        Self::DeleteFails,
        Self::ResponseLost,
        Self::VisibilityRanOut,
        Self::DeadLetter,
        Self::Redrive,
        Self::SendFails,
        Self::SendInPart,
        Self::SendAnswerLost,
        Self::ClientUnanswered,
        Self::ClientRetry,
        Self::ClientRegroups,
        Self::ClientRepeats,
        Self::ClockJump,
        Self::DestinationFails,
        Self::DestinationSilent,
    ];
}

/// How often each kind of fault happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Counts {
    /// One more.
    pub fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// The probability of each kind of fault at each opportunity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// Of a store operation that fails before it happens.
    pub store_fails: f64,
    /// Of a throttled store operation.
    pub throttled: f64,
    /// Of a write whose answer is lost.
    pub answer_lost: f64,
    /// Of a write that meets itself.
    pub conflict_with_itself: f64,
    /// Of a write that happens after its caller gave it up.
    pub late_write: f64,
    /// Of a transaction that meets another one.
    pub transaction_meets: f64,
    /// Of an eventual read that lags.
    pub stale: f64,
    /// Of a query that reads item by item.
    pub no_snapshot: f64,
    /// Of an operation after which the worker dies.
    pub crash: f64,
    /// Of a batch that is worked on slowly.
    pub slow: f64,
    /// Of a message that is handed out twice.
    pub duplicate: f64,
    /// Of a message that comes late.
    pub delay: f64,
    /// Of a message that comes days late.
    pub long_delay: f64,
    /// Of a failed removal of a done message.
    pub delete_fails: f64,
    /// Of a handler's answer that is lost.
    pub response_lost: f64,
    /// Of a send that fails, in any of the three ways.
    pub send_fails: f64,
    /// Of a client that does not hear the answer.
    pub client_unanswered: f64,
    /// Of a client that sends accepted events again.
    pub client_repeats: f64,
    /// Of a host whose clock is minutes off.
    pub wild_clock: f64,
    /// Of a post that fails.
    pub destination_fails: f64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self {
            store_fails: 0.0,
            throttled: 0.0,
            answer_lost: 0.0,
            conflict_with_itself: 0.0,
            late_write: 0.0,
            transaction_meets: 0.0,
            stale: 0.0,
            no_snapshot: 0.0,
            crash: 0.0,
            slow: 0.0,
            duplicate: 0.0,
            delay: 0.0,
            long_delay: 0.0,
            delete_fails: 0.0,
            response_lost: 0.0,
            send_fails: 0.0,
            client_unanswered: 0.0,
            client_repeats: 0.0,
            wild_clock: 0.0,
            destination_fails: 0.0,
        }
    }

    /// Everything goes wrong now and then.
    pub const fn all() -> Self {
        Self {
            store_fails: 0.003,
            throttled: 0.003,
            answer_lost: 0.008,
            conflict_with_itself: 0.006,
            late_write: 0.002,
            transaction_meets: 0.01,
            stale: 0.15,
            no_snapshot: 0.5,
            crash: 0.002,
            slow: 0.02,
            duplicate: 0.03,
            delay: 0.08,
            long_delay: 0.004,
            delete_fails: 0.03,
            response_lost: 0.02,
            send_fails: 0.02,
            client_unanswered: 0.05,
            client_repeats: 0.02,
            wild_clock: 0.02,
            destination_fails: 0.25,
        }
    }

    /// Everything goes wrong more often than a deployment survives for long.
    pub const fn many() -> Self {
        let all = Self::all();
        Self {
            answer_lost: 0.03,
            conflict_with_itself: 0.03,
            crash: 0.008,
            slow: 0.08,
            duplicate: 0.1,
            delay: 0.2,
            long_delay: 0.02,
            response_lost: 0.06,
            send_fails: 0.06,
            client_unanswered: 0.2,
            client_repeats: 0.1,
            ..all
        }
    }

    /// Workers are slow at different operations, and little else goes wrong that would have a message served again.
    pub const fn slow() -> Self {
        Self { slow: 0.4, delay: 0.3, stale: 0.1, no_snapshot: 0.5, ..Self::none() }
    }

    /// By name: `all`, `many`, `slow` or `none`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::all(), Self::many(), Self::slow(), Self::none()].into_iter().find(|faults| faults.name() == name)
    }

    /// As the command line names it.
    pub fn name(&self) -> &'static str {
        if *self == Self::all() {
            "all"
        } else if *self == Self::many() {
            "many"
        } else if *self == Self::slow() {
            "slow"
        } else {
            "none"
        }
    }

    /// Whether anything can go wrong.
    pub fn any(&self) -> bool {
        *self != Self::none()
    }
}
