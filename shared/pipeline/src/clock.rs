//! The clock and the source of randomness, as ports.

use domain::{BatchId, Timestamp};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Tells the present moment.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// The host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter that the clock port names")]
    fn now(&self) -> Timestamp {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is set, for tests and replays.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.millis()))
    }

    /// Sets the moment.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.millis(), Ordering::SeqCst);
    }

    /// Moves on by some milliseconds.
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// Makes unpredictable bits for ids.
pub trait Entropy: Send + Sync + 'static {
    /// 128 random bits.
    fn bits(&self) -> u128;

    /// A batch id made now.
    fn batch_id(&self, now: Timestamp) -> BatchId {
        BatchId::new(now, self.bits())
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bits(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => u128::from_le_bytes(bytes),
            // Without the operating system's randomness ids would collide, which loses events; a counter mixed with
            // the address of a local keeps them apart inside one process.
            Err(_) => {
                static FALLBACK: AtomicU64 = AtomicU64::new(1);
                let n = FALLBACK.fetch_add(1, Ordering::Relaxed);
                let place = std::ptr::from_ref(&bytes).addr() as u64;
                (u128::from(n) << 64) | u128::from(domain::hash64(&[&n.to_le_bytes(), &place.to_le_bytes()]))
            }
        }
    }
}

/// Predictable bits for tests: a counter, digested.
#[derive(Debug, Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn bits(&self) -> u128 {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        let low = domain::hash64(&[&n.to_le_bytes()]);
        let high = domain::hash64(&[&low.to_le_bytes()]);
        (u128::from(high) << 64) | u128::from(low)
    }
}

impl<E: Entropy> Entropy for std::sync::Arc<E> {
    fn bits(&self) -> u128 {
        (**self).bits()
    }
}
