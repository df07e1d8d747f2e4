//! The queues of a deployment on one machine: one SQLite file that behaves like SQS with a dead queue beside each queue.
//!
//! A message is on the disk when `send` resolves. One that was received is invisible until it is deleted, deferred, or its
//! visibility timeout ran out; one that was received too often goes to the dead queue. All moments come from the clock port.

mod body;
mod table;
mod writer;

use aws::{DeadQueue, SqsRecord};
use body::Body;
use domain::Timestamp;
use pipeline::{
    Clock, Queue, QueueError,
    messages::{self, MAX_MESSAGE_BYTES, Message},
};
use rusqlite::Connection;
use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use table::Park;
use tokio::sync::{Notify, oneshot};
use writer::{Durability, Writer};

/// Why the queue file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalQueueError {
    /// It can't be opened, or is no queue file.
    #[error("the queue file `{path}` can't be opened")]
    Open {
        /// The file.
        path: String,
        /// What SQLite saw.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread that writes it can't be started.
    #[error("the thread that writes the queue file can't be started")]
    Thread {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// Names one receipt of a message. A later receipt of the same message has another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    pub(crate) seq: i64,
    pub(crate) receives: u32,
}

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Names this receipt.
    pub receipt: Receipt,
    /// Names the message.
    pub id: String,
    /// What was sent.
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
}

impl Delivered {
    /// The message as a record of an SQS event.
    pub fn record(&self) -> SqsRecord {
        SqsRecord {
            message_id: self.id.clone(),
            receipt: format!("{}-{}", self.receipt.seq, self.receipt.receives),
            body: self.body.clone(),
            receive_count: self.receive_count,
            sent_at: self.sent_at,
        }
    }
}

/// What a receive answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The messages, those that became visible first before the others.
    pub messages: Vec<Delivered>,
    /// When the next message of the queue becomes visible, if one is left.
    pub next_at: Option<Timestamp>,
}

/// A message in a dead queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadMessage {
    /// Names the message. One that a stage parked in parts has a new name.
    pub id: String,
    /// What was sent.
    pub body: String,
    /// Why it is here.
    pub reason: String,
    /// Which stage parked it, or the queue's name when the queue itself gave up.
    pub stage: String,
    /// How often it was received; 0 when a stage parked it.
    pub receive_count: u32,
    /// When it came here.
    pub died_at: Timestamp,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be received now.
    pub visible: u64,
    /// Messages that were received or deferred and are invisible for now.
    pub hidden: u64,
    /// Messages in the dead queue.
    pub dead: u64,
}

struct Shared {
    writer: Writer,
    clock: Arc<dyn Clock>,
    wakes: Mutex<HashMap<String, Arc<Notify>>>,
}

/// All queues of one file.
#[derive(Clone)]
pub struct LocalQueues {
    shared: Arc<Shared>,
}

impl fmt::Debug for LocalQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalQueues(…)")
    }
}

impl LocalQueues {
    /// Opens the file, making it when it is not there. What a process that was killed held becomes visible at once: the
    /// caller holds the lock of the data directory, so nobody else can be working on it.
    ///
    /// # Errors
    /// The file can't be opened, or the thread can't be started.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, LocalQueueError> {
        let now = clock.now();
        Self::open_with(path, clock, |connection| table::prepare(connection, now))
    }

    /// Opens the file beside whoever works on it, and takes nothing from them.
    ///
    /// # Errors
    /// The file can't be opened, or the thread can't be started.
    pub fn beside(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, LocalQueueError> {
        Self::open_with(path, clock, table::attach)
    }

    fn open_with(
        path: &Path,
        clock: Arc<dyn Clock>,
        prepare: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Self, LocalQueueError> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            prepare(&connection)?;
            Ok(connection)
        };
        let connection = open().map_err(|source| LocalQueueError::Open { path: path.display().to_string(), source })?;
        let writer = Writer::start(connection).map_err(|source| LocalQueueError::Thread { source })?;
        Ok(Self { shared: Arc::new(Shared { writer, clock, wakes: Mutex::default() }) })
    }

    /// The sending side of a queue.
    pub fn queue<M>(&self, name: &str) -> LocalQueue<M> {
        LocalQueue { queues: self.clone(), name: name.into(), message: PhantomData }
    }

    /// The dead queue of a queue, which takes a message at the `max_receives`th failed attempt.
    pub fn dead_queue(&self, name: &str, max_receives: u32) -> LocalDeadQueue {
        LocalDeadQueue { queues: self.clone(), name: name.into(), max_receives }
    }

    /// Receives at most `max` messages and hides them for `visibility`. One that was received `max_receives` times before goes
    /// to the dead queue instead.
    ///
    /// # Errors
    /// The file can't be written.
    pub async fn receive(&self, queue: &str, max: usize, visibility: Duration, max_receives: u32) -> Result<Delivery, QueueError> {
        let (queue, clock) = (queue.to_owned(), Arc::clone(&self.shared.clock));
        self.run(Durability::Relaxed, move |connection| {
            table::receive(connection, &queue, max, clock.now(), millis(visibility), max_receives)
        })
        .await
    }

    /// Deletes messages that are done. One that is gone already stays gone.
    ///
    /// # Errors
    /// The file can't be written; the messages will come again.
    pub async fn delete(&self, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.run(Durability::Relaxed, move |connection| table::delete(connection, &receipts)).await
    }

    /// Makes a message visible again after a while, unless it was received by somebody else since.
    ///
    /// # Errors
    /// The file can't be written; the message comes again when its visibility timeout ran out.
    pub async fn defer(&self, receipt: Receipt, after: Duration) -> Result<(), QueueError> {
        let clock = Arc::clone(&self.shared.clock);
        self.run(Durability::Relaxed, move |connection| table::defer(connection, receipt, clock.now().plus_millis(millis(after)))).await
    }

    /// The messages in a queue's dead queue, the latest first.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn dead(&self, queue: &str, limit: usize) -> Result<Vec<DeadMessage>, QueueError> {
        let queue = queue.to_owned();
        self.run(Durability::Relaxed, move |connection| table::dead(connection, &queue, limit)).await
    }

    /// The message in a queue's dead queue that has this id.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn dead_one(&self, queue: &str, id: &str) -> Result<Option<DeadMessage>, QueueError> {
        let (queue, id) = (queue.to_owned(), id.to_owned());
        self.run(Durability::Relaxed, move |connection| table::dead_one(connection, &queue, &id)).await
    }

    /// Moves everything in a queue's dead queue back to the queue, as if it had never been received, and answers how many
    /// messages that were.
    ///
    /// # Errors
    /// The file can't be written; then nothing was moved.
    pub async fn redrive(&self, queue: &str) -> Result<u64, QueueError> {
        self.redrive_some(queue, None).await
    }

    /// Moves one message back, as [`Self::redrive`] does with all of them. Answers whether it was there.
    ///
    /// # Errors
    /// The file can't be written; then nothing was moved.
    pub async fn redrive_one(&self, queue: &str, id: &str) -> Result<bool, QueueError> {
        Ok(self.redrive_some(queue, Some(id.to_owned())).await? > 0)
    }

    async fn redrive_some(&self, queue: &str, only: Option<String>) -> Result<u64, QueueError> {
        let (name, clock) = (queue.to_owned(), Arc::clone(&self.shared.clock));
        let redrive = move |connection: &Connection| table::redrive(connection, &name, only.as_deref(), clock.now());
        let moved = self.run(Durability::Full, redrive).await?;
        self.wake(queue);
        Ok(moved)
    }

    /// How many messages a queue holds.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn depth(&self, queue: &str) -> Result<Depth, QueueError> {
        let (queue, clock) = (queue.to_owned(), Arc::clone(&self.shared.clock));
        self.run(Durability::Relaxed, move |connection| table::depth(connection, &queue, clock.now())).await
    }

    /// Resolves once a message was sent to the queue since the last call resolved. One task at a time may wait.
    pub(crate) async fn arrived(&self, queue: &str) {
        self.notify(queue).notified().await;
    }

    /// Wakes whoever waits for any queue: for tests that set their clock.
    pub fn wake_all(&self) {
        for notify in self.shared.wakes.lock().unwrap_or_else(PoisonError::into_inner).values() {
            notify.notify_one();
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn notify(&self, queue: &str) -> Arc<Notify> {
        let mut wakes = self.shared.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        match wakes.get(queue) {
            Some(notify) => Arc::clone(notify),
            None => Arc::clone(wakes.entry(queue.to_owned()).or_default()),
        }
    }

    fn wake(&self, queue: &str) {
        self.notify(queue).notify_one();
    }

    async fn send(&self, queue: &str, bodies: Vec<Body>) -> Result<(), QueueError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let (name, clock) = (queue.to_owned(), Arc::clone(&self.shared.clock));
        self.run(Durability::Full, move |connection| table::send(connection, &name, &bodies, clock.now())).await?;
        self.wake(queue);
        Ok(())
    }

    async fn run<T, F>(&self, durability: Durability, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.shared.writer.submit(durability, work, answer);
        match answered.await {
            Ok(result) => result.map_err(|source| QueueError::Unavailable { source: source.into() }),
            Err(_) => Err(QueueError::Unavailable { source: "the thread that writes the queue file has ended".into() }),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The sending side of one queue.
pub struct LocalQueue<M> {
    queues: LocalQueues,
    name: Arc<str>,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for LocalQueue<M> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone(), name: Arc::clone(&self.name), message: PhantomData }
    }
}

impl<M> fmt::Debug for LocalQueue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalQueue").field(&self.name).finish()
    }
}

impl<M: Message> Queue<M> for LocalQueue<M> {
    async fn send(&self, batch: Vec<M>) -> Result<(), QueueError> {
        let mut bodies = Vec::with_capacity(batch.len());
        for message in &batch {
            let body = messages::encode(message).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
            if body.len() > MAX_MESSAGE_BYTES {
                let reason = format!("the body has {} bytes, at most {MAX_MESSAGE_BYTES} fit", body.len());
                return Err(QueueError::Refused { reason });
            }
            bodies.push(Body::new(body));
        }
        self.queues.send(&self.name, bodies).await
    }
}

/// The dead queue of one queue.
#[derive(Debug, Clone)]
pub struct LocalDeadQueue {
    queues: LocalQueues,
    name: Arc<str>,
    max_receives: u32,
}

impl DeadQueue for LocalDeadQueue {
    async fn park(&self, body: &str, reason: &str, stage: &str) -> Result<(), QueueError> {
        let park = Park { queue: self.name.to_string(), body: body.to_owned(), reason: reason.to_owned(), stage: stage.to_owned() };
        let clock = Arc::clone(&self.queues.shared.clock);
        self.queues.run(Durability::Full, move |connection| table::park(connection, &park, clock.now())).await
    }

    fn max_receives(&self) -> Option<u32> {
        Some(self.max_receives)
    }
}
