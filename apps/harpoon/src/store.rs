//! The embedded DynamoDB: a database file served over the loopback interface to the real SDK.
//!
//! Durability, as found in its source: it opens SQLite in WAL mode and leaves `synchronous` at SQLite's default, `FULL`, so
//! every commit is flushed to the disk before it is answered. An acknowledged write survives a killed process and a loss of
//! power. Its requests run on the threads that serve them and wait for one lock, so they have threads of their own here. It
//! has no timer that removes expired items; [`EmbeddedStore`] brings one.

use crate::runner::{self, Stop};
use aws::{AwsClients, DynamoStore};
use pipeline::StoreError;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, time::MissedTickBehavior};

/// How often expired items are removed. A sweep reads every item, and readers ignore expired ones, so there is no hurry.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Threads that serve requests: one runs while the other reads or writes the socket.
const THREADS: usize = 2;
/// How long requests may go on once it stops.
const GRACE: Duration = Duration::from_secs(3);

/// Why the embedded database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedStoreError {
    /// The file can't be opened, or is no database.
    #[error("the database file `{path}` can't be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It can't listen on the loopback interface, or have threads.
    #[error("the embedded database can't be served")]
    Serve {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Its tables can't be made.
    #[error("the tables can't be made")]
    Tables {
        /// What the store said.
        #[source]
        source: StoreError,
    },
}

/// A database file that is being served. Dropping it ends the server, after the requests that are running.
#[derive(Debug)]
pub struct EmbeddedStore {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens `file`, making it when it is not there, and serves it.
    ///
    /// # Errors
    /// The file can't be opened or served, or its tables can't be made.
    pub async fn open(file: &Path, prefix: &str) -> Result<(Self, DynamoStore), EmbeddedStoreError> {
        let database = {
            let path = file.display().to_string();
            let opened = tokio::task::spawn_blocking(move || dynoxide::Database::new(&path)).await;
            let unopened = |source| EmbeddedStoreError::Open { path: file.to_owned(), source };
            opened.map_err(|e| unopened(e.into()))?.map_err(|e| unopened(e.to_string().into()))?
        };
        let served = Self::serve(database).map_err(|source| EmbeddedStoreError::Serve { source })?;
        let store = AwsClients::at(&served.endpoint()).store(prefix);
        store.create_tables().await.map_err(|source| EmbeddedStoreError::Tables { source })?;
        Ok((served, store))
    }

    /// Where the SDK finds it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn serve(database: dynoxide::Database) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(2)
            .thread_name("store")
            .enable_all()
            .build()?;
        let (stop, stopped) = runner::stop();
        let thread = std::thread::Builder::new().name("store-main".to_owned()).spawn(move || {
            runtime.block_on(async {
                let sweeping = tokio::spawn(sweep(database.clone()));
                let mut given_up = stopped.clone();
                let served = async {
                    let listener = TcpListener::from_std(listener).map_err(|e| e.to_string())?;
                    dynoxide::server::serve_with_shutdown(listener, database, wait(stopped)).await
                };
                let served = tokio::select! {
                    served = served => served,
                    // A client that sent only a part of its request must not hold up the end.
                    () = async { given_up.wait().await; tokio::time::sleep(GRACE).await } => Ok(()),
                };
                if let Err(error) = served {
                    tracing::error!(error, "the embedded database is no longer served");
                }
                sweeping.abort();
            });
            runtime.shutdown_timeout(Duration::from_secs(2));
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // The server may have ended by itself.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn wait(mut stop: Stop) {
    stop.wait().await;
}

async fn sweep(database: dynoxide::Database) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(removed)) => tracing::info!(removed, "expired items were removed"),
            Ok(Err(error)) => tracing::warn!(%error, "expired items could not be removed"),
            Err(error) => tracing::warn!(%error, "the removal of expired items ended early"),
        }
    }
}
