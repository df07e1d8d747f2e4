//! The store: versioned items with their recent past, and everything that a real one does to its callers.

use super::{
    faults::Fault,
    scheduler::{Inner, Sim, What},
};
use pipeline::{Condition, Consistency, Item, Key, Page, Query, Scan, ScanPage, Store, StoreError, Table, Write, records::SCORE};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

/// An eventual read is at most so far behind.
const LAG_MS: i64 = 20_000;
/// The most writes a transaction holds.
const TRANSACTION_WRITES: usize = 100;
/// Items in a page of a query that sets no limit.
const PAGE_ITEMS: usize = 40;

/// An item now and lately: what was there from which moment on.
#[derive(Debug, Default)]
struct Versions {
    now: Option<Arc<Item>>,
    /// Since when, and what, oldest first; without the present.
    past: Vec<(i64, Option<Arc<Item>>)>,
    since: i64,
}

impl Versions {
    fn set(&mut self, at: i64, item: Option<Arc<Item>>) {
        let old = std::mem::replace(&mut self.now, item);
        self.past.push((self.since, old));
        self.since = at;
        // What ended longer ago than any read lags is not asked for.
        while self.past.get(1).is_some_and(|(since, _)| at - since > LAG_MS) {
            self.past.remove(0);
        }
    }

    fn as_of(&self, at: i64) -> Option<&Arc<Item>> {
        if self.since <= at {
            return self.now.as_ref();
        }
        self.past.iter().rev().find(|(since, _)| *since <= at).and_then(|(_, item)| item.as_ref())
    }
}

type Partition = BTreeMap<String, Versions>;

/// Everything that is stored.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: [BTreeMap<String, Partition>; 4],
    /// What was removed, and when, oldest first: no read asks for it when it is gone longer than any read lags.
    removed: VecDeque<(i64, Key)>,
}

const fn index(table: Table) -> usize {
    match table {
        Table::Config => 0,
        Table::Accounts => 1,
        Table::Events => 2,
        Table::Deliveries => 3,
    }
}

impl Tables {
    fn find(&self, key: &Key) -> Option<&Versions> {
        self.tables[index(key.table)].get(key.pk.as_str())?.get(key.sk.as_str())
    }

    fn version(&self, key: &Key) -> Option<u64> {
        self.find(key)?.now.as_ref().map(|item| item.version)
    }

    fn holds(&self, key: &Key, condition: Condition) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Absent => self.version(key).is_none(),
            Condition::Version(version) => self.version(key) == Some(version),
        }
    }

    fn set(&mut self, key: &Key, at: i64, item: Option<Arc<Item>>) {
        if item.is_none() {
            self.removed.push_back((at, key.clone()));
            self.forget(at);
        }
        let table = &mut self.tables[index(key.table)];
        if !table.contains_key(key.pk.as_str()) {
            table.insert(key.pk.clone(), Partition::new());
        }
        let Some(partition) = table.get_mut(key.pk.as_str()) else { return };
        match partition.get_mut(key.sk.as_str()) {
            Some(versions) => versions.set(at, item),
            None => {
                let mut versions = Versions { since: i64::MIN, ..Versions::default() };
                versions.set(at, item);
                partition.insert(key.sk.clone(), versions);
            }
        }
    }

    fn conflict(&self, writes: &[Write]) -> Option<Key> {
        writes.iter().find_map(|write| {
            let (Write::Put(_, condition) | Write::Delete(_, condition) | Write::Check(_, condition)) = write;
            (!self.holds(write.key(), *condition)).then(|| write.key().clone())
        })
    }

    /// The present items of a table, in key order.
    pub fn items(&self, table: Table) -> impl Iterator<Item = &Arc<Item>> {
        self.tables[index(table)].values().flat_map(|partition| partition.values().filter_map(|versions| versions.now.as_ref()))
    }

    /// The first present sort key of every partition whose key begins so.
    pub fn firsts<'a>(&'a self, table: Table, pk: &'a str) -> impl Iterator<Item = &'a str> {
        self.tables[index(table)]
            .range::<str, _>((Bound::Included(pk), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(pk))
            .filter_map(|(_, partition)| partition.iter().find(|(_, versions)| versions.now.is_some()).map(|(sk, _)| sk.as_str()))
    }

    /// Forgets items that are gone for longer than any read lags.
    fn forget(&mut self, now: i64) {
        while self.removed.front().is_some_and(|(at, _)| now - at > LAG_MS) {
            let Some((_, key)) = self.removed.pop_front() else { return };
            let table = &mut self.tables[index(key.table)];
            let Some(partition) = table.get_mut(key.pk.as_str()) else { continue };
            if partition.get(key.sk.as_str()).is_some_and(|versions| versions.now.is_none() && now - versions.since > LAG_MS) {
                partition.remove(key.sk.as_str());
                if partition.is_empty() {
                    table.remove(key.pk.as_str());
                }
            }
        }
    }
}

fn text(item: &Item) -> String {
    match &item.body {
        pipeline::Body::Text(text) => text.chars().take(600).collect(),
        pipeline::Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// The `"model":` of a score record, without reading all of it.
fn model_of(item: &Item) -> Option<u64> {
    let pipeline::Body::Text(text) = &item.body else { return None };
    let rest = text.split_once("\"model\":")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Inner {
    fn apply(&mut self, writes: Vec<Write>, at: i64) {
        for write in writes {
            match write {
                Write::Put(item, _) => {
                    self.watch(&item);
                    self.show(at, &item.key, || format!("is put as version {} {}", item.version, text(&item)));
                    self.note(item.version.wrapping_mul(31) ^ item.body.len() as u64);
                    let key = item.key.clone();
                    self.tables.set(&key, at, Some(Arc::new(item)));
                }
                Write::Delete(key, _) => {
                    self.show(at, &key, || "is removed".to_owned());
                    if self.tables.version(&key).is_some() {
                        self.tables.set(&key, at, None);
                    }
                }
                Write::Check(..) => {}
            }
        }
    }

    /// What must be true of every write, whatever comes after it.
    fn watch(&mut self, item: &Item) {
        if item.key.table == Table::Accounts && item.key.sk == SCORE {
            let before = self.tables.find(&item.key).and_then(|versions| versions.now.as_ref()).and_then(|item| model_of(item));
            let (before, after) = (before.unwrap_or_default(), model_of(item).unwrap_or_default());
            if after < before {
                self.violated(format!("`{}` was scored with model {after} after it had been scored with model {before}", item.key.pk));
            }
        }
        if item.key.sk.starts_with("l:")
            && let pipeline::Body::Text(text) = &item.body
            && text.contains("\"total_leads\":0,")
            && let Ok(standing) = pipeline::records::from_item::<pipeline::records::Standing>(item)
        {
            self.emptied.entry(item.key.sk.clone()).or_default().insert(standing.seq);
        }
    }

    /// A write happens that its caller gave up.
    pub fn late(&mut self, writes: Vec<Write>, at: i64) {
        if self.tables.conflict(&writes).is_none() {
            self.apply(writes, at);
        }
    }

    fn expired(&mut self, item: &Item, now: i64) -> bool {
        if item.expires_at.is_none_or(|at| at.millis() > now) {
            return false;
        }
        if self.fault(Fault::ExpiredRemoved, 0.2) {
            self.tables.set(&item.key, now, None);
            return true;
        }
        self.counts.add(Fault::ExpiredAnswered);
        false
    }

    fn read(&mut self, key: &Key, lag: i64, now: i64) -> Option<Item> {
        let item = Arc::clone(self.tables.find(key)?.as_of(now - lag)?);
        if self.expired(&item, now) { None } else { Some((*item).clone()) }
    }

    /// How far behind an eventual read is.
    fn lag(&mut self, consistency: Consistency) -> i64 {
        let stale = self.faults.stale;
        if consistency == Consistency::Eventual && self.fault(Fault::StaleAnswer, stale) {
            return if self.rng.chance(0.2) { self.rng.between(1, LAG_MS) } else { self.rng.between(1, 1_500) };
        }
        0
    }

    /// Whether an operation fails before it happens.
    fn refuses(&mut self) -> Option<StoreError> {
        let (fails, throttled) = (self.faults.store_fails, self.faults.throttled);
        if self.fault(Fault::StoreFails, fails) {
            return Some(lost());
        }
        self.fault(Fault::Throttled, throttled).then(busy)
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable { source: "the simulated connection was cut".into() }
}

fn busy() -> StoreError {
    StoreError::Busy { source: "the simulated store has too much to do".into() }
}

fn refused(text: &'static str) -> StoreError {
    StoreError::Refused { source: text.into() }
}

/// The store as a host sees it.
#[derive(Debug, Clone)]
pub struct SimStore(pub(super) Arc<Sim>);

impl SimStore {
    async fn change(&self, writes: Vec<Write>, several: bool) -> Result<(), StoreError> {
        self.0.gate().await;
        let mut inner = self.0.lock();
        let now = self.0.millis();
        if let Some(error) = inner.refuses() {
            for write in &writes {
                inner.show(now, write.key(), || format!("is not written: {error}"));
            }
            return Err(error);
        }
        let faults = inner.faults;
        if several && inner.fault(Fault::TransactionMeets, faults.transaction_meets) {
            return Err(busy());
        }
        if inner.fault(Fault::LateWrite, faults.late_write) {
            let at = now + inner.rng.between(1, 8_000);
            for write in &writes {
                inner.show(now, write.key(), || format!("will be written late, at {}", domain::Timestamp::from_millis(at)));
            }
            inner.at(at, What::Late(writes));
            return Err(lost());
        }
        if let Some(key) = inner.tables.conflict(&writes) {
            for write in &writes {
                inner.show(now, write.key(), || format!("is not written: `{}` / `{}` is not as expected", key.pk, key.sk));
            }
            return Err(StoreError::Conflict { key: Box::new(key) });
        }
        let conditional = !several
            && matches!(
                writes.first(),
                Some(Write::Put(_, Condition::Absent | Condition::Version(_)) | Write::Delete(_, Condition::Version(_)))
            );
        let first = writes.first().map(|write| write.key().clone());
        inner.apply(writes, now);
        if conditional
            && let Some(key) = first
            && inner.fault(Fault::ConflictWithItself, faults.conflict_with_itself)
        {
            return Err(StoreError::Conflict { key: Box::new(key) });
        }
        if inner.fault(Fault::AnswerLost, faults.answer_lost) { Err(lost()) } else { Ok(()) }
    }
}

impl Store for SimStore {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.0.gate().await;
        let mut inner = self.0.lock();
        if let Some(error) = inner.refuses() {
            return Err(error);
        }
        let lag = inner.lag(consistency);
        let found = inner.read(key, lag, self.0.millis());
        inner.show(self.0.millis(), key, || format!("is read {lag} ms late as version {:?}", found.as_ref().map(|item| item.version)));
        Ok(found)
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let keys: Vec<&Key> = keys.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut at = 0;
        while at < keys.len() {
            // What was not processed is asked for again, a little later.
            self.0.gate().await;
            let mut inner = self.0.lock();
            if let Some(error) = inner.refuses() {
                return Err(error);
            }
            let lag = inner.lag(consistency);
            let part = if inner.faults.any() { 1 + inner.rng.below(keys.len() - at) } else { keys.len() - at };
            for key in &keys[at..at + part] {
                items.extend(inner.read(key, lag, self.0.millis()));
            }
            at += part;
        }
        Ok(items)
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let wanted = if query.limit == 0 { PAGE_ITEMS } else { query.limit };
        let mut page = Page::default();
        let mut after = query.after.clone();
        let mut pieces = 0;
        self.0.gate().await;
        let (lag, piecewise) = {
            let mut inner = self.0.lock();
            if let Some(error) = inner.refuses() {
                return Err(error);
            }
            let no_snapshot = inner.faults.no_snapshot;
            (inner.lag(query.consistency), inner.rng.chance(no_snapshot))
        };
        loop {
            let more = {
                let mut inner = self.0.lock();
                // The more there is to read, the larger are the pieces.
                let part = if piecewise { (1 + inner.rng.below(3)) << pieces.min(4) } else { wanted };
                let part = part.min(wanted - page.items.len());
                let now = self.0.millis();
                let (found, more) = inner.range(query, after.as_deref(), part, now - lag);
                for item in found {
                    after = Some(item.key.sk.clone());
                    if !inner.expired(&item, now) {
                        page.items.push((*item).clone());
                    }
                }
                if piecewise && more && page.items.len() < wanted {
                    if pieces == 0 {
                        inner.counts.add(Fault::NoSnapshot);
                    }
                    pieces += 1;
                }
                more
            };
            if !more {
                return Ok(page);
            }
            if page.items.len() >= wanted {
                page.next = after;
                return Ok(page);
            }
            self.0.gate().await;
        }
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        if scan.segment >= scan.of {
            return Err(refused("there is no such segment"));
        }
        self.0.gate().await;
        let mut inner = self.0.lock();
        if let Some(error) = inner.refuses() {
            return Err(error);
        }
        let lag = inner.lag(Consistency::Eventual);
        let at = self.0.millis() - lag;
        let limit = if scan.limit == 0 { PAGE_ITEMS } else { scan.limit };
        let mut items: Vec<Item> = Vec::new();
        let first = scan.after.as_ref().map_or("", |after| after.pk.as_str());
        'all: for (pk, partition) in inner.tables.tables[index(scan.table)].range::<str, _>((Bound::Included(first), Bound::Unbounded)) {
            if domain::hash64(&[pk.as_bytes()]) % u64::from(scan.of) != u64::from(scan.segment) {
                continue;
            }
            let from = match &scan.after {
                Some(after) if after.pk == *pk => Bound::Excluded(after.sk.as_str()),
                _ => Bound::Unbounded,
            };
            for versions in partition.range::<str, _>((from, Bound::Unbounded)).map(|(_, versions)| versions) {
                if let Some(item) = versions.as_of(at) {
                    items.push((**item).clone());
                    if items.len() > limit {
                        break 'all;
                    }
                }
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| item.key.clone()) } else { None };
        Ok(ScanPage { items, next })
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.change(vec![write], false).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.len() > TRANSACTION_WRITES {
            return Err(refused("a transaction holds at most 100 writes"));
        }
        if writes.iter().map(Write::key).collect::<BTreeSet<_>>().len() != writes.len() {
            return Err(refused("a transaction names an item twice"));
        }
        self.change(writes, true).await
    }
}

impl Inner {
    /// Up to `part` items of a query's range after a cursor, and whether there are more.
    fn range(&self, query: &Query, after: Option<&str>, part: usize, at: i64) -> (Vec<Arc<Item>>, bool) {
        let Some(partition) = self.tables.tables[index(query.table)].get(query.pk.as_str()) else {
            return (Vec::new(), false);
        };
        let mut from = Bound::Included(query.from.as_str());
        let mut to = if query.to.is_empty() { Bound::Unbounded } else { Bound::Included(query.to.as_str()) };
        if let Some(after) = after {
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
            return (Vec::new(), false);
        }
        let range = partition.range::<str, _>((from, to));
        let there = |(_, versions): (&String, &Versions)| versions.as_of(at).map(Arc::clone);
        let mut found: Vec<Arc<Item>> = if query.descending {
            range.rev().filter_map(there).take(part + 1).collect()
        } else {
            range.filter_map(there).take(part + 1).collect()
        };
        let more = found.len() > part;
        found.truncate(part);
        (found, more)
    }
}
