//! The one thread that writes the queue file. Everything that waits while it commits shares its next transaction, and with it
//! one flush of the disk: under load a message costs a small part of a flush.

use rusqlite::Connection;
use std::{
    fmt,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};
use tokio::sync::oneshot;

/// The most pieces of work one transaction takes, so that the first of them does not wait for ever.
const GROUP: usize = 1_024;

/// What must survive a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It may be forgotten when the power fails: then a message comes once more. A killed process forgets nothing.
    Relaxed,
    /// It is on the disk when it is answered.
    Full,
}

/// Work, and how to tell its result once the transaction is committed.
type Work = Box<dyn FnOnce(Result<&Connection, WriteError>) -> Telling + Send>;
type Telling = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// Why work on the file failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the queue file can't be written: {reason}")]
pub struct WriteError {
    reason: String,
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self { reason: error.to_string() }
    }
}

struct Job {
    durability: Durability,
    work: Work,
}

/// Hands work to the thread. The thread ends when this is dropped, after everything that was handed to it.
pub struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer(…)")
    }
}

impl Writer {
    pub fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new().name("queue-writer".to_owned()).spawn(move || write(connection, &waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Has `work` done inside a transaction and its result told when the transaction is committed.
    pub fn submit<T, F>(&self, durability: Durability, work: F, answer: oneshot::Sender<Result<T, WriteError>>)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let work: Work = Box::new(move |connection| {
            let result = connection.and_then(|connection| Ok(within_savepoint(connection, work)?));
            Box::new(move |committed| {
                // Nobody waits for the answer of a task that was dropped.
                let _ = answer.send(committed.and(result));
            })
        });
        if let Some(jobs) = &self.jobs {
            // When the thread is gone the answer's sender is dropped with the job, which the waiting task notices.
            let _ = jobs.send(Job { durability, work });
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What fails takes nothing else of its group with it.
fn within_savepoint<T>(connection: &Connection, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT work")?.execute([])?;
    let result = work(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
    }
    connection.prepare_cached("RELEASE work")?.execute([])?;
    result
}

fn write(connection: Connection, waiting: &Receiver<Job>) {
    let mut current = Durability::Full;
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            match waiting.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let wanted = group.iter().map(|job| job.durability).max().unwrap_or(Durability::Full);
        let begun = begin(&connection, wanted, &mut current).map_err(WriteError::from);
        let mut told = Vec::with_capacity(group.len());
        for job in group {
            told.push((job.work)(begun.clone().map(|()| &connection)));
        }
        let committed = begun.and_then(|()| Ok(connection.prepare_cached("COMMIT")?.execute([]).map(drop)?));
        if let Err(error) = &committed {
            tracing::error!(%error, "the queues can't be written");
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
        for tell in told {
            tell(committed.clone());
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::error!(%error, "the queue file was not closed in order");
    }
}

/// A commit in WAL mode is flushed with `FULL` and left to the operating system with `NORMAL`. A later flush takes everything
/// before it along.
fn begin(connection: &Connection, wanted: Durability, current: &mut Durability) -> rusqlite::Result<()> {
    if wanted != *current {
        connection.execute_batch(match wanted {
            Durability::Full => "PRAGMA synchronous = FULL",
            Durability::Relaxed => "PRAGMA synchronous = NORMAL",
        })?;
        *current = wanted;
    }
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
}
