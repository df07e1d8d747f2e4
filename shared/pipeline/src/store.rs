//! The store port: versioned items under a partition key and a sort key, written one at a time on a condition or several in one transaction.
//!
//! Everything that Harpoon keeps is one of these items, so that the exactly-once argument, the fault simulator and the
//! cost meter each need to look in one place only. The typed stores of this crate stand on this port.

use domain::Timestamp;
use std::future::Future;
use thiserror::Error;

/// A table of the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Credentials, rulesets, mappings, triggers, destinations.
    Config,
    /// Identities, states, accounts, scores, levels, due accounts.
    Accounts,
    /// Parcels (the event log), spilled message ids, rejected events.
    Events,
    /// Deliveries, cooldowns, due deliveries.
    Deliveries,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 4] = [Self::Config, Self::Accounts, Self::Events, Self::Deliveries];

    /// The last part of the table's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Accounts => "accounts",
            Self::Events => "events",
            Self::Deliveries => "deliveries",
        }
    }
}

/// Names one item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The partition key, at most 2,048 bytes.
    pub pk: String,
    /// The sort key, at most 1,024 bytes.
    pub sk: String,
}

impl Key {
    /// Names an item.
    pub fn new(table: Table, pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { table, pk: pk.into(), sk: sk.into() }
    }
}

/// What an item holds: text that an operator can read in a console, or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// JSON text.
    Text(String),
    /// Packed or compressed bytes.
    Bytes(Vec<u8>),
}

impl Body {
    /// Bytes that the body is billed for.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A stored item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub key: Key,
    /// Counts its writes; conditions compare it. The first version is 1.
    pub version: u64,
    /// What it holds.
    pub body: Body,
    /// The moment (whole seconds) after which the store may remove it. A reader must ignore it from then on.
    pub expires_at: Option<Timestamp>,
}

/// What must be true of the stored item for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// No item is there (an expired item that still lies there counts as there).
    Absent,
    /// An item with this version is there.
    Version(u64),
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts the item as given, version included.
    Put(Item, Condition),
    /// Removes the item; removing what is not there succeeds unless the condition says otherwise.
    Delete(Key, Condition),
    /// Writes nothing; inside a transaction its condition must hold.
    Check(Key, Condition),
}

impl Write {
    /// The item that the write is about.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put(item, _) => &item.key,
            Self::Delete(key, _) | Self::Check(key, _) => key,
        }
    }
}

/// Whether a read sees every write that finished before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// It does; costs a whole read unit per 4 KB.
    Strong,
    /// It may lag; costs half.
    Eventual,
}

/// Reads one partition in sort-key order.
#[derive(Debug, Clone)]
pub struct Query {
    /// The table.
    pub table: Table,
    /// The partition.
    pub pk: String,
    /// The first sort key, inclusive; empty for the beginning.
    pub from: String,
    /// The last sort key, inclusive; empty for the end.
    pub to: String,
    /// From the end to the beginning.
    pub descending: bool,
    /// At most so many items; 0 for as many as fit a page (1 MB).
    pub limit: usize,
    /// Continue after this sort key (before it when descending).
    pub after: Option<String>,
    /// Strong or eventual.
    pub consistency: Consistency,
}

impl Query {
    /// A whole partition, ascending, strongly consistent.
    pub fn partition(table: Table, pk: impl Into<String>) -> Self {
        Self {
            table,
            pk: pk.into(),
            from: String::new(),
            to: String::new(),
            descending: false,
            limit: 0,
            after: None,
            consistency: Consistency::Strong,
        }
    }

    /// Only sort keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.from = prefix.to_owned();
        self.to = format!("{prefix}\u{10FFFF}");
        self
    }

    /// Only sort keys from `from` to `to`, both inclusive; empty for no bound.
    #[must_use]
    pub fn between(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.from = from.into();
        self.to = to.into();
        self
    }

    /// Newest (largest) sort key first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// At most `limit` items.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Continue after a sort key.
    #[must_use]
    pub fn after(mut self, after: Option<String>) -> Self {
        self.after = after;
        self
    }

    /// With eventual consistency, at half the price.
    #[must_use]
    pub fn eventual(mut self) -> Self {
        self.consistency = Consistency::Eventual;
        self
    }
}

/// One page of a query.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The items, in order.
    pub items: Vec<Item>,
    /// The sort key to continue after; `None` when the partition's range is exhausted.
    pub next: Option<String>,
}

/// Reads one part of a whole table, for jobs that look at everything. Half the price of strong reads, and no snapshot.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The table.
    pub table: Table,
    /// Which part: 0 to `of` - 1.
    pub segment: u32,
    /// Into how many parts the table is cut, at least 1. Every partition lies in exactly one of them, and stays there.
    pub of: u32,
    /// At most so many items; 0 for as many as fit a page (1 MB).
    pub limit: usize,
    /// Continue after this item, which need not exist any more. It must come from a page of the same part.
    pub after: Option<Key>,
}

impl Scan {
    /// One part of a table from its beginning.
    pub const fn segment(table: Table, segment: u32, of: u32) -> Self {
        Self { table, segment, of, limit: 0, after: None }
    }

    /// At most `limit` items.
    #[must_use]
    pub const fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Continue after an item.
    #[must_use]
    pub fn after(mut self, after: Option<Key>) -> Self {
        self.after = after;
        self
    }
}

/// One page of a scan.
#[derive(Debug, Clone, Default)]
pub struct ScanPage {
    /// The items: those of one partition stand together, in sort-key order; partitions come in no order.
    pub items: Vec<Item>,
    /// The item to continue after; `None` when the part is exhausted. A page may be empty and yet not the last.
    pub next: Option<Key>,
}

/// Why a store operation failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A condition did not hold; nothing was written. Read again and decide anew.
    #[error("the item `{}` / `{}` is not as the write expected", key.pk, key.sk)]
    Conflict {
        /// The first item whose condition failed, or the first of the transaction when the store does not say.
        key: Box<Key>,
    },
    /// Too many requests, or a transaction met another one. Try again later.
    #[error("the store is busy")]
    Busy {
        /// What the adapter saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The write may or may not have happened, or the store can't be reached.
    #[error("the store did not answer")]
    Unavailable {
        /// What the adapter saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request can never succeed: a missing table or permission, an oversize item.
    #[error("the store refused the request")]
    Refused {
        /// What the adapter saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An item does not hold what its key promises.
    #[error("the item `{}` / `{}` can't be read as a {what}", key.pk, key.sk)]
    Corrupt {
        /// The item.
        key: Box<Key>,
        /// What was expected in it.
        what: &'static str,
        /// What the decoder saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether a condition failed.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

/// Where items are kept.
///
/// Obligations of an adapter: a write is durable when its future resolves; conditions and the write are one atomic step;
/// a transaction (at most 100 writes, each on another item) happens wholly or not at all; a strong read sees every write
/// that resolved before it began; a query is *not* a snapshot; an expired item may still be answered.
pub trait Store: Send + Sync + 'static {
    /// Reads one item.
    fn read(&self, key: &Key, consistency: Consistency) -> impl Future<Output = Result<Option<Item>, StoreError>> + Send;

    /// Reads many items, in no order; what is not there is left out. Any number of keys.
    fn read_many(&self, keys: &[Key], consistency: Consistency) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send;

    /// Reads one page of a partition.
    fn query(&self, query: &Query) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Reads one page of a part of a table, eventually consistent. What is written while the scan runs may be in it or not; what is not
    /// written meanwhile is in it exactly once.
    fn scan(&self, scan: &Scan) -> impl Future<Output = Result<ScanPage, StoreError>> + Send;

    /// Writes one item on its condition.
    fn write(&self, write: Write) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes all or nothing.
    fn transact(&self, writes: Vec<Write>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads every page of a query.
    fn query_all(&self, query: Query) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send {
        async move {
            let mut query = query;
            let mut items = Vec::new();
            loop {
                let page = self.query(&query).await?;
                items.extend(page.items);
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => return Ok(items),
                }
            }
        }
    }
}

impl<S: Store> Store for std::sync::Arc<S> {
    fn read(&self, key: &Key, consistency: Consistency) -> impl Future<Output = Result<Option<Item>, StoreError>> + Send {
        (**self).read(key, consistency)
    }

    fn read_many(&self, keys: &[Key], consistency: Consistency) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send {
        (**self).read_many(keys, consistency)
    }

    fn query(&self, query: &Query) -> impl Future<Output = Result<Page, StoreError>> + Send {
        (**self).query(query)
    }

    fn scan(&self, scan: &Scan) -> impl Future<Output = Result<ScanPage, StoreError>> + Send {
        (**self).scan(scan)
    }

    fn write(&self, write: Write) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).write(write)
    }

    fn transact(&self, writes: Vec<Write>) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).transact(writes)
    }
}
