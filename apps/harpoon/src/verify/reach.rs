//! How the store of a deployment is reached: through the running server's database, by opening the data directory, or on AWS.

use crate::{
    local::{Local, Options, PREFIX},
    serve::Place,
    setup::{self, DataDir},
    store::EmbeddedStore,
};
use anyhow::{Context, bail};
use aws::{AwsClients, DynamoStore};
use rusqlite::{Connection, OpenFlags};
use std::path::PathBuf;

/// A store, and what must live as long as it is used.
pub(crate) struct Reached {
    /// The store.
    pub store: DynamoStore,
    /// The queue file of a local deployment.
    queues: Option<PathBuf>,
    /// Whether stages work on it meanwhile.
    pub is_running: bool,
    opened: Option<(EmbeddedStore, DataDir)>,
    started: Option<Local>,
}

impl Reached {
    /// On AWS, as the environment says.
    pub async fn on_aws(prefix: &str) -> Self {
        let store = DynamoStore::from_env(prefix).await;
        Self { store, queues: None, is_running: true, opened: None, started: None }
    }

    /// On this machine. Where no server runs, the files are opened; if something is to be mended, everything is started on a free port of
    /// the loopback interface, because the stages are what mends.
    pub async fn locally(place: &Place, mend: bool) -> anyhow::Result<Self> {
        let dir = &place.data_dir;
        if !dir.join("harpoon.db").is_file() {
            bail!("there is no Harpoon data in `{}`; name its directory with --data-dir", dir.display());
        }
        let queues = Some(dir.join("queues.db"));
        let lock = match DataDir::open(dir) {
            Ok(lock) => lock,
            Err(in_use) => {
                let endpoint = setup::store_endpoint(dir)?;
                let Some(endpoint) = endpoint else {
                    return Err(in_use).context("and the server that runs there does not say where its store is; is it starting or older?");
                };
                let store = AwsClients::at(&endpoint).store(PREFIX);
                return Ok(Self { store, queues, is_running: true, opened: None, started: None });
            }
        };
        if mend {
            drop(lock);
            let options = Options {
                write_key: place.write_key.clone(),
                api_token: place.api_token.clone(),
                allow_private_destinations: place.allow_private_destinations,
                ..Options::in_dir(dir)
            };
            let local = Local::start(options).await?;
            return Ok(Self { store: local.store.clone(), queues, is_running: true, opened: None, started: Some(local) });
        }
        let (embedded, store) = EmbeddedStore::open(&dir.join("harpoon.db"), PREFIX).await?;
        Ok(Self { store, queues, is_running: false, opened: Some((embedded, lock)), started: None })
    }

    /// How many messages wait between the stages of a local deployment; nothing on AWS, where this program does not know the queues.
    pub fn waiting(&self) -> Option<u64> {
        let file = self.queues.as_ref()?;
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let sql = "SELECT count(*) FROM message WHERE queue IN ('resolve', 'score', 'level')";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().and_then(|n| u64::try_from(n).ok())
    }

    /// Stops what was started, and closes what was opened.
    pub async fn close(self) {
        let Self { store, opened, started, .. } = self;
        drop(store);
        if let Some(local) = started {
            local.shutdown().await;
        }
        if let Some(opened) = opened {
            // Closing waits for the store's threads; if that fails they end with the process.
            let _ = tokio::task::spawn_blocking(move || drop(opened)).await;
        }
    }
}
