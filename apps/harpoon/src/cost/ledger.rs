//! What was counted, by stage, table, kind of item and operation.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// The stage that asked.
    pub stage: &'static str,
    /// The table.
    pub table: &'static str,
    /// The kind of item.
    pub kind: &'static str,
    /// The operation.
    pub operation: &'static str,
}

/// Requests to the store and what they are billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StoreCount {
    /// Items asked for or written (one query counts once).
    pub requests: u64,
    /// Of these, writes whose condition failed.
    pub failed: u64,
    /// Write request units.
    pub write_units: f64,
    /// Of these, units of writes whose condition failed.
    pub failed_units: f64,
    /// Read request units.
    pub read_units: f64,
    /// Bytes of the items read or written.
    pub bytes: u64,
}

impl StoreCount {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.write_units += other.write_units;
        self.failed_units += other.failed_units;
        self.read_units += other.read_units;
        self.bytes += other.bytes;
    }
}

/// Requests to a queue, in units of 64 KB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QueueCount {
    /// Messages sent.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Units of sends.
    pub sends: u64,
    /// Units of receives.
    pub receives: u64,
    /// Deletes.
    pub deletes: u64,
}

impl QueueCount {
    /// All units.
    pub const fn units(&self) -> u64 {
        self.sends + self.receives + self.deletes
    }
}

/// Invocations of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FunctionCount {
    /// How often it ran.
    pub invocations: u64,
    /// Messages (requests for ingest) that it was given.
    pub messages: u64,
    /// Microseconds that it waited for the store and the queues.
    pub waited_us: u64,
    /// Microseconds of a whole processor that it computed here, without what its requests take there.
    pub cpu_us: u64,
    /// Requests to the store and the queues.
    pub calls: u64,
    /// Bytes that it logged.
    pub logged: u64,
}

/// Everything that was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// By stage, table, kind and operation.
    pub store: BTreeMap<Entry, StoreCount>,
    /// By queue.
    pub queues: BTreeMap<&'static str, QueueCount>,
    /// By stage.
    pub functions: BTreeMap<&'static str, FunctionCount>,
    /// Units that the store itself reported, by stage, table and operation: read units and write units.
    pub reported: BTreeMap<(&'static str, String, &'static str), (f64, f64)>,
}

impl Counts {
    /// The sum over the entries that `which` chooses.
    pub fn store_sum(&self, which: impl Fn(&Entry) -> bool) -> StoreCount {
        let mut sum = StoreCount::default();
        for (_, count) in self.store.iter().filter(|(entry, _)| which(entry)) {
            sum.add(count);
        }
        sum
    }
}

/// Collects counts from every part of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    counts: Arc<Mutex<Counts>>,
    calls: Arc<AtomicU64>,
    logged: Arc<AtomicU64>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request to the store.
    pub fn store(&self, entry: Entry, count: StoreCount) {
        self.lock().store.entry(entry).or_default().add(&count);
    }

    /// Counts a request, whatever it is about.
    pub fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes of the log.
    pub fn logged(&self, bytes: usize) {
        self.logged.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many requests and bytes of log were counted ever since.
    pub fn marks(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.logged.load(Ordering::Relaxed))
    }

    /// Changes the count of a queue.
    pub fn queue(&self, queue: &'static str, change: impl FnOnce(&mut QueueCount)) {
        change(self.lock().queues.entry(queue).or_default());
    }

    /// Changes the count of a function.
    pub fn function(&self, stage: &'static str, change: impl FnOnce(&mut FunctionCount)) {
        change(self.lock().functions.entry(stage).or_default());
    }

    /// Counts what the store said it billed.
    pub fn reported(&self, stage: &'static str, table: String, operation: &'static str, units: f64) {
        let mut counts = self.lock();
        let sum = counts.reported.entry((stage, table, operation)).or_default();
        if matches!(operation, "GetItem" | "BatchGetItem" | "Query" | "Scan") { sum.0 += units } else { sum.1 += units }
    }

    /// What was counted so far; from now on counting begins anew.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.lock())
    }
}
