//! A store and a queue that count what each request would be billed, and let as much time pass as it would take.

use super::{
    ledger::{Entry, Ledger, StoreCount},
    prices::Latencies,
    units::{item_bytes, kind, queue_units, read_units, write_units},
    virtual_time::VirtualTime,
};
use futures::{StreamExt, stream};
use pipeline::{
    Condition, Consistency, Item, Key, Message, Page, Query, Queue, QueueError, Scan, ScanPage, Store, StoreError, Write,
    messages::{self, MAX_MESSAGE_BYTES},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How time passes: virtually, by stated latencies; or for real, as the store takes it.
#[derive(Debug, Clone)]
pub enum Pace {
    /// By these latencies.
    Stated(VirtualTime, Latencies),
    /// As it comes.
    Real,
}

impl Pace {
    /// Lets the time pass that one of the latencies states.
    pub async fn wait(&self, choose: impl FnOnce(&Latencies) -> f64) {
        if let Self::Stated(time, latencies) = self {
            let micros = std::time::Duration::try_from_secs_f64(choose(latencies) / 1_000.0).unwrap_or_default().as_micros();
            time.sleep(u64::try_from(micros).unwrap_or_default()).await;
        }
    }
}

/// A store that counts for one stage.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    /// The same store without any meter, to see what lies there before a write.
    bare: S,
    stage: &'static str,
    ledger: Ledger,
    pace: Pace,
}

impl<S: Store> Counted<S> {
    /// Counts what `stage` asks of `inner`. `bare` is the same store, and is not counted.
    pub const fn new(inner: S, bare: S, stage: &'static str, ledger: Ledger, pace: Pace) -> Self {
        Self { inner, bare, stage, ledger, pace }
    }

    fn count(&self, key: &Key, operation: &'static str, count: StoreCount) {
        let entry = Entry { stage: self.stage, table: key.table.as_str(), kind: kind(key), operation };
        self.ledger.store(entry, count);
    }

    fn count_read(&self, key: &Key, operation: &'static str, bytes: usize, consistency: Consistency) {
        let read_units = read_units(bytes, consistency);
        self.count(key, operation, StoreCount { requests: 1, read_units, bytes: bytes as u64, ..StoreCount::default() });
    }

    async fn before(&self, key: &Key) -> Result<(usize, Option<u64>), StoreError> {
        let item = self.bare.read(key, Consistency::Strong).await?;
        Ok(item.map_or((0, None), |item| (item_bytes(&item), Some(item.version))))
    }
}

const fn condition(write: &Write) -> Condition {
    let (Write::Put(_, on) | Write::Delete(_, on) | Write::Check(_, on)) = write;
    *on
}

fn after(write: &Write) -> usize {
    if let Write::Put(item, _) = write { item_bytes(item) } else { 0 }
}

const fn operation(write: &Write, transacted: bool) -> &'static str {
    match (write, transacted) {
        (Write::Put(..), false) => "put",
        (Write::Delete(..), false) => "delete",
        (Write::Check(..), false) => "check",
        (Write::Put(..), true) => "put in a transaction",
        (Write::Delete(..), true) => "delete in a transaction",
        (Write::Check(..), true) => "check in a transaction",
    }
}

const fn holds(on: Condition, version: Option<u64>) -> bool {
    match (on, version) {
        (Condition::Always, _) | (Condition::Absent, None) => true,
        (Condition::Version(wanted), Some(found)) => wanted == found,
        _ => false,
    }
}

impl<S: Store> Store for Counted<S> {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.ledger.called();
        self.pace.wait(|latencies| latencies.read_ms).await;
        let found = self.inner.read(key, consistency).await?;
        let operation = if consistency == Consistency::Strong { "strong read" } else { "eventual read" };
        self.count_read(key, operation, found.as_ref().map_or(0, item_bytes), consistency);
        Ok(found)
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        (0..keys.len().div_ceil(KEYS_PER_READ)).for_each(|_| self.ledger.called());
        self.pace.wait(|latencies| latencies.read_many_ms).await;
        let found = self.inner.read_many(keys, consistency).await?;
        for key in keys.iter().collect::<BTreeSet<_>>() {
            let bytes = found.iter().find(|item| item.key == *key).map_or(0, item_bytes);
            self.count_read(key, "batch read", bytes, consistency);
        }
        Ok(found)
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.ledger.called();
        self.pace.wait(|latencies| latencies.query_ms).await;
        let page = self.inner.query(query).await?;
        let bytes = page.items.iter().map(item_bytes).sum();
        let place = Key::new(query.table, query.pk.as_str(), query.from.as_str());
        let operation = if query.consistency == Consistency::Strong { "strong query" } else { "eventual query" };
        self.count_read(&place, operation, bytes, query.consistency);
        Ok(page)
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        self.ledger.called();
        self.pace.wait(|latencies| latencies.query_ms).await;
        let page = self.inner.scan(scan).await?;
        let bytes = page.items.iter().map(item_bytes).sum();
        self.count_read(&Key::new(scan.table, "", ""), "scan", bytes, Consistency::Eventual);
        Ok(page)
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.ledger.called();
        if let Write::Check(key, _) = &write {
            // A check that stands alone is a strong read in the adapter.
            self.pace.wait(|latencies| latencies.read_ms).await;
            let (bytes, _) = self.before(key).await?;
            self.count_read(key, "check", bytes, Consistency::Strong);
            return self.inner.write(write).await;
        }
        self.pace.wait(|latencies| latencies.write_ms).await;
        let (before, _) = self.before(write.key()).await?;
        let (key, operation, after) = (write.key().clone(), operation(&write, false), after(&write));
        let done = self.inner.write(write).await;
        let failed = u64::from(done.as_ref().is_err_and(StoreError::is_conflict));
        if done.is_ok() || failed == 1 {
            let bytes = before.max(after) as u64;
            let write_units = write_units(before, after);
            let failed_units = if failed == 1 { write_units } else { 0.0 };
            self.count(&key, operation, StoreCount { requests: 1, failed, write_units, failed_units, bytes, ..StoreCount::default() });
        }
        done
    }

    async fn transact(&self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.len() <= 1 {
            return match writes.pop() {
                Some(write) => self.write(write).await,
                None => Ok(()),
            };
        }
        self.ledger.called();
        self.pace.wait(|latencies| latencies.transact_ms).await;
        let mut parts = Vec::with_capacity(writes.len());
        for write in &writes {
            let (before, version) = self.before(write.key()).await?;
            let failed = u64::from(!holds(condition(write), version));
            let count = StoreCount {
                requests: 1,
                failed,
                write_units: write_units(before, after(write)) * 2.0,
                bytes: before.max(after(write)) as u64,
                ..StoreCount::default()
            };
            parts.push((write.key().clone(), operation(write, true), count));
        }
        let done = self.inner.transact(writes).await;
        if done.is_ok() || done.as_ref().is_err_and(StoreError::is_conflict) {
            for (key, operation, mut count) in parts {
                if done.is_err() {
                    count.failed_units = count.write_units;
                }
                self.count(&key, operation, count);
            }
        }
        done
    }
}

/// The most keys of one batch read, as in the adapter.
const KEYS_PER_READ: usize = 100;
/// The most messages of one request to a queue.
pub const MESSAGES_PER_CALL: usize = 10;
/// The most bytes of one send, as the adapter packs them.
const BYTES_PER_CALL: usize = 256 * 1024;
/// How many sends run at a time, as in the adapter.
const CALLS_AT_A_TIME: usize = 4;

/// A queue in memory that counts what is sent to it.
#[derive(Debug, Clone)]
pub struct CountedQueue {
    name: &'static str,
    bodies: Arc<Mutex<VecDeque<String>>>,
    ledger: Ledger,
    pace: Pace,
}

impl CountedQueue {
    /// The queue of this stage.
    pub fn new(name: &'static str, ledger: Ledger, pace: Pace) -> Self {
        Self { name, bodies: Arc::default(), ledger, pace }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything that waits.
    pub fn take(&self) -> Vec<String> {
        self.lock().drain(..).collect()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Counts that these messages were received, `per_call` at a time, and deleted.
    pub fn received(&self, bodies: &[String], per_call: usize) {
        let per_call = per_call.clamp(1, MESSAGES_PER_CALL);
        let receives = bodies.chunks(per_call).map(|call| queue_units(call.iter().map(String::len).sum())).sum::<u64>();
        let deletes = bodies.len().div_ceil(MESSAGES_PER_CALL) as u64;
        self.ledger.queue(self.name, |count| {
            count.receives += receives;
            count.deletes += deletes;
        });
    }
}

/// Sizes of the bodies of each call that a send is cut into.
fn calls(bodies: &[String]) -> Vec<usize> {
    let mut calls: Vec<(usize, usize)> = Vec::new();
    for body in bodies {
        match calls.last_mut() {
            Some((messages, bytes)) if *messages < MESSAGES_PER_CALL && *bytes + body.len() <= BYTES_PER_CALL => {
                *messages += 1;
                *bytes += body.len();
            }
            _ => calls.push((1, body.len())),
        }
    }
    calls.into_iter().map(|(_, bytes)| bytes).collect()
}

impl<M: Message> Queue<M> for CountedQueue {
    async fn send(&self, batch: Vec<M>) -> Result<(), QueueError> {
        let mut bodies = Vec::with_capacity(batch.len());
        for message in &batch {
            let body = messages::encode(message).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
            if body.len() > MAX_MESSAGE_BYTES {
                return Err(QueueError::Refused { reason: format!("the body has {} bytes, at most {MAX_MESSAGE_BYTES} fit", body.len()) });
            }
            bodies.push(body);
        }
        let calls = calls(&bodies);
        self.ledger.queue(self.name, |count| {
            count.messages += bodies.len() as u64;
            count.bytes += bodies.iter().map(|body| body.len() as u64).sum::<u64>();
            count.sends += calls.iter().map(|bytes| queue_units(*bytes)).sum::<u64>();
        });
        calls.iter().for_each(|_| self.ledger.called());
        let waits = stream::iter(calls).map(|_| self.pace.wait(|latencies| latencies.send_ms));
        waits.buffer_unordered(CALLS_AT_A_TIME).collect::<Vec<()>>().await;
        self.lock().extend(bodies);
        Ok(())
    }
}
