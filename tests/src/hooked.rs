//! Adapters that do what a test says at a chosen operation: let somebody else work in between, or fail.

use futures::future::BoxFuture;
use pipeline::{
    Consistency, Item, Key, Message, Page, Query, Queue, QueueError, Scan, ScanPage, Store, StoreError, Write,
    memory::{MemoryQueue, MemoryStore},
};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// An operation on the store that is about to happen.
#[derive(Debug)]
pub enum Op<'a> {
    /// One item is read.
    Read(&'a Key),
    /// Items are read.
    ReadMany(&'a [Key]),
    /// A page is read.
    Query(&'a Query),
    /// A page of a table is read.
    Scan(&'a Scan),
    /// One item is written.
    Write(&'a Write),
    /// Several items are written.
    Transact(&'a [Write]),
}

impl Op<'_> {
    /// Whether it writes an item whose sort key begins so.
    pub fn writes(&self, sk: &str) -> bool {
        match self {
            Self::Write(write) => write.key().sk.starts_with(sk),
            Self::Transact(writes) => writes.iter().any(|write| write.key().sk.starts_with(sk)),
            _ => false,
        }
    }
}

type Chooses = Box<dyn Fn(&Op<'_>) -> bool + Send + Sync>;

enum Then {
    /// This happens before the operation.
    First(BoxFuture<'static, ()>),
    /// The operation does not happen; its caller gets an error.
    Fail,
    /// The operation happens; its caller gets an error all the same.
    FailAfter,
}

/// A store in memory with hooks. A hook fires once.
#[derive(Default)]
pub struct Hooked {
    /// What is really there.
    pub memory: MemoryStore,
    hooks: Mutex<Vec<(Chooses, Then)>>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.memory.fmt(f)
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable { source: "the connection was cut by the test".into() }
}

impl Hooked {
    fn add(&self, chooses: impl Fn(&Op<'_>) -> bool + Send + Sync + 'static, then: Then) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push((Box::new(chooses), then));
    }

    /// Before the next such operation, `work` is done to its end.
    pub fn before(&self, chooses: impl Fn(&Op<'_>) -> bool + Send + Sync + 'static, work: impl Future<Output = ()> + Send + 'static) {
        self.add(chooses, Then::First(Box::pin(work)));
    }

    /// The next such operation does not happen.
    pub fn fail(&self, chooses: impl Fn(&Op<'_>) -> bool + Send + Sync + 'static) {
        self.add(chooses, Then::Fail);
    }

    /// The next such operation happens, but its answer is lost.
    pub fn lose_answer(&self, chooses: impl Fn(&Op<'_>) -> bool + Send + Sync + 'static) {
        self.add(chooses, Then::FailAfter);
    }

    /// Whether every hook has fired.
    pub fn all_fired(&self) -> bool {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    async fn meet(&self, op: Op<'_>) -> Result<bool, StoreError> {
        let then = {
            let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
            let place = hooks.iter().position(|(chooses, _)| chooses(&op));
            place.map(|place| hooks.remove(place).1)
        };
        match then {
            None => Ok(false),
            Some(Then::First(work)) => {
                work.await;
                Ok(false)
            }
            Some(Then::Fail) => Err(lost()),
            Some(Then::FailAfter) => Ok(true),
        }
    }
}

impl Store for Hooked {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.meet(Op::Read(key)).await?;
        self.memory.read(key, consistency).await
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.meet(Op::ReadMany(keys)).await?;
        self.memory.read_many(keys, consistency).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.meet(Op::Query(query)).await?;
        self.memory.query(query).await
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        self.meet(Op::Scan(scan)).await?;
        self.memory.scan(scan).await
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        let lose = self.meet(Op::Write(&write)).await?;
        self.memory.write(write).await?;
        if lose { Err(lost()) } else { Ok(()) }
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let lose = self.meet(Op::Transact(&writes)).await?;
        self.memory.transact(writes).await?;
        if lose { Err(lost()) } else { Ok(()) }
    }
}

/// A queue in memory whose next sends can be made to fail.
#[derive(Debug, Default)]
pub struct Flaky {
    /// What was really sent.
    pub memory: MemoryQueue,
    failures: AtomicUsize,
}

impl Flaky {
    /// The next `n` sends fail and send nothing.
    pub fn fail_next(&self, n: usize) {
        self.failures.store(n, Ordering::SeqCst);
    }
}

impl<M: Message> Queue<M> for Flaky {
    async fn send(&self, batch: Vec<M>) -> Result<(), QueueError> {
        let failing = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if failing {
            return Err(QueueError::Unavailable { source: "the queue was cut off by the test".into() });
        }
        self.memory.send(batch).await
    }
}
