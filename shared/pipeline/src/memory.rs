//! In-memory adapters. They pass the same contracts as the real ones.

use crate::{
    messages::{self, Message},
    queue::{Queue, QueueError},
    store::{Condition, Consistency, Item, Key, Page, Query, Scan, ScanPage, Store, StoreError, Table, Write},
};
use domain::hash64;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

type Partition = BTreeMap<String, Item>;

/// A store in memory: each operation is one atomic step.
#[derive(Debug, Default)]
pub struct MemoryStore {
    partitions: Mutex<BTreeMap<(Table, String), Partition>>,
}

/// The most items a page holds when a query sets no limit.
const PAGE_ITEMS: usize = 500;
/// The most writes a transaction holds.
const TRANSACTION_WRITES: usize = 100;

fn holds(partitions: &BTreeMap<(Table, String), Partition>, key: &Key, condition: Condition) -> bool {
    let version = partitions.get(&(key.table, key.pk.clone())).and_then(|partition| partition.get(&key.sk)).map(|item| item.version);
    match condition {
        Condition::Always => true,
        Condition::Absent => version.is_none(),
        Condition::Version(expected) => version == Some(expected),
    }
}

fn apply(partitions: &mut BTreeMap<(Table, String), Partition>, write: Write) {
    match write {
        Write::Put(item, _) => {
            let place = (item.key.table, item.key.pk.clone());
            partitions.entry(place).or_default().insert(item.key.sk.clone(), item);
        }
        Write::Delete(key, _) => {
            if let Some(partition) = partitions.get_mut(&(key.table, key.pk.clone())) {
                partition.remove(&key.sk);
            }
        }
        Write::Check(..) => {}
    }
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Table, String), Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every item, in key order: for assertions and replays.
    pub fn dump(&self) -> Vec<Item> {
        self.lock().values().flat_map(|partition| partition.values().cloned()).collect()
    }
}

impl Store for MemoryStore {
    async fn read(&self, key: &Key, _consistency: Consistency) -> Result<Option<Item>, StoreError> {
        let partitions = self.lock();
        Ok(partitions.get(&(key.table, key.pk.clone())).and_then(|partition| partition.get(&key.sk)).cloned())
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        for key in keys.iter().collect::<BTreeSet<_>>() {
            items.extend(self.read(key, consistency).await?);
        }
        Ok(items)
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let partitions = self.lock();
        let Some(partition) = partitions.get(&(query.table, query.pk.clone())) else {
            return Ok(Page::default());
        };
        let mut from = Bound::Included(query.from.as_str());
        let mut to = if query.to.is_empty() { Bound::Unbounded } else { Bound::Included(query.to.as_str()) };
        if let Some(after) = query.after.as_deref() {
            // A cursor narrows the range and never widens it.
            if query.descending {
                if query.to.is_empty() || after <= query.to.as_str() {
                    to = Bound::Excluded(after);
                }
            } else if after >= query.from.as_str() {
                from = Bound::Excluded(after);
            }
        }
        let empty = match (from, to) {
            (Bound::Included(a), Bound::Included(b)) => a > b,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) | (Bound::Excluded(a), Bound::Included(b)) => a >= b,
            _ => false,
        };
        if empty {
            return Ok(Page::default());
        }
        let limit = if query.limit == 0 { PAGE_ITEMS } else { query.limit };
        let range = partition.range::<str, _>((from, to));
        let mut items: Vec<Item> = if query.descending {
            range.rev().take(limit + 1).map(|(_, item)| item.clone()).collect()
        } else {
            range.take(limit + 1).map(|(_, item)| item.clone()).collect()
        };
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| item.key.sk.clone()) } else { None };
        Ok(Page { items, next })
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        if scan.segment >= scan.of {
            return Err(StoreError::Refused { source: format!("there is no segment {} of {}", scan.segment, scan.of).into() });
        }
        let partitions = self.lock();
        let limit = if scan.limit == 0 { PAGE_ITEMS } else { scan.limit };
        let first = scan.after.as_ref().map_or_else(String::new, |after| after.pk.clone());
        let mut items: Vec<Item> = Vec::new();
        let here = partitions
            .range((scan.table, first)..)
            .take_while(|((table, _), _)| *table == scan.table)
            .filter(|((_, pk), _)| hash64(&[pk.as_bytes()]) % u64::from(scan.of) == u64::from(scan.segment));
        for ((_, pk), partition) in here {
            let from = match &scan.after {
                Some(after) if after.pk == *pk => Bound::Excluded(after.sk.as_str()),
                _ => Bound::Unbounded,
            };
            let room = (limit + 1).saturating_sub(items.len());
            items.extend(partition.range::<str, _>((from, Bound::Unbounded)).take(room).map(|(_, item)| item.clone()));
            if items.len() > limit {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| item.key.clone()) } else { None };
        Ok(ScanPage { items, next })
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.transact(vec![write]).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.len() > TRANSACTION_WRITES {
            let source = format!("a transaction holds at most {TRANSACTION_WRITES} writes, not {}", writes.len()).into();
            return Err(StoreError::Refused { source });
        }
        let mut partitions = self.lock();
        let mut seen = BTreeSet::new();
        for write in &writes {
            if !seen.insert(write.key()) {
                return Err(StoreError::Refused { source: "a transaction names an item twice".into() });
            }
            let (Write::Put(_, condition) | Write::Delete(_, condition) | Write::Check(_, condition)) = write;
            if !holds(&partitions, write.key(), *condition) {
                return Err(StoreError::Conflict { key: Box::new(write.key().clone()) });
            }
        }
        for write in writes {
            apply(&mut partitions, write);
        }
        Ok(())
    }
}

/// A queue in memory that keeps what was sent, encoded as on the wire.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    bodies: Mutex<VecDeque<String>>,
}

impl MemoryQueue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything that was sent so far, as bodies.
    pub fn take_bodies(&self) -> Vec<String> {
        self.lock().drain(..).collect()
    }

    /// Takes everything that was sent so far, decoded.
    pub fn take<M: Message>(&self) -> Vec<M> {
        self.take_bodies().iter().filter_map(|body| messages::decode(body).ok()).collect()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl<M: Message> Queue<M> for MemoryQueue {
    async fn send(&self, batch: Vec<M>) -> Result<(), QueueError> {
        for message in &batch {
            let body = messages::encode(message).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
            if body.len() > messages::MAX_MESSAGE_BYTES {
                return Err(QueueError::Refused {
                    reason: format!("the body has {} bytes, at most {} fit", body.len(), messages::MAX_MESSAGE_BYTES),
                });
            }
            self.lock().push_back(body);
        }
        Ok(())
    }
}
