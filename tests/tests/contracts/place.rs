//! Directories, clocks and waiting for the tests of this target.

use domain::Timestamp;
use harpoon::local_queue::LocalQueues;
use pipeline::ManualClock;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

/// The queue that the tests use.
pub const QUEUE: &str = "score";

/// A clock that shows 2026-01-01.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_767_225_600_000)))
}

/// Queues in a directory of their own, with the clock that they go by.
pub struct Place {
    pub queues: LocalQueues,
    pub clock: Arc<ManualClock>,
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
        let queues = LocalQueues::open(&dir.path().join("queues.db"), clock.clone()).unwrap();
        Self { queues, clock, dir }
    }

    /// Closes the file and opens it again, as the next process would.
    pub fn reopened(self) -> Self {
        let Self { queues, clock, dir } = self;
        drop(queues);
        let queues = LocalQueues::open(&dir.path().join("queues.db"), clock.clone()).unwrap();
        Self { queues, clock, dir }
    }
}

/// Waits until something holds, asking again and again; it must hold within half a minute.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("still not so after 30 seconds: {what}"));
}
