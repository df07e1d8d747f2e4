//! Everything in one process on one port.

use crate::{
    local_queue::{LocalQueue, LocalQueues},
    runner::{self, DISPATCH, EventSource, LEVEL, RESOLVE, SCORE, Stop},
    server::{self, Tracking},
    setup::{self, DataDir, Keys},
    store::EmbeddedStore,
};
use anyhow::Context;
use aws::DynamoStore;
use domain::{Timestamp, WorkspaceId};
use futures::FutureExt;
use pipeline::{Clock, Credential, CredentialKind, Credentials, Stage, SystemClock, SystemEntropy, secrets::FileKeySecrets};
use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// What the tables' names begin with.
pub(crate) const PREFIX: &str = "harpoon-";
/// The workspace of a local deployment.
const WORKSPACE: &str = "main";

/// How often it is looked for jobs. Jobs have a schedule of their own, so that due accounts never wait for one.
const JOBS_EVERY: Duration = Duration::from_millis(250);

/// A clock that every part of the process shares.
#[derive(Clone)]
pub struct SharedClock(pub Arc<dyn Clock>);

impl std::fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedClock(…)")
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything is kept; made when it is not there.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 takes any free port.
    pub address: SocketAddr,
    /// The write key, instead of the one that was made on the first start.
    pub write_key: Option<String>,
    /// The API token, instead of the one that was made on the first start.
    pub api_token: Option<String>,
    /// Whether deliveries may go to private and loopback addresses.
    pub allow_private_destinations: bool,
    /// Tells the time to every part.
    pub clock: SharedClock,
    /// How often rescore looks for what is due.
    pub rescore_every: Duration,
}

impl Options {
    /// In this directory, on any free port of the loopback interface, by the host's clock.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            write_key: None,
            api_token: None,
            allow_private_destinations: false,
            clock: SharedClock(Arc::new(SystemClock)),
            rescore_every: runner::RESCORE_EVERY_LOCALLY,
        }
    }
}

/// What the stages are made of.
struct Parts {
    store: DynamoStore,
    queues: LocalQueues,
    keys: Keys,
    options: Options,
    base_url: String,
    stop: Stop,
}

/// A running Harpoon.
#[derive(Debug)]
pub struct Local {
    /// Where it is, such as `http://127.0.0.1:8787`.
    pub base_url: String,
    /// With it events are sent.
    pub write_key: String,
    /// With it the API is used.
    pub api_token: String,
    /// Where everything is kept, as an absolute path.
    pub data_dir: PathBuf,
    /// The store that the stages use.
    pub store: DynamoStore,
    /// The queues that the stages use.
    pub queues: LocalQueues,
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
    embedded: EmbeddedStore,
    lock: DataDir,
}

impl Local {
    /// Starts everything.
    ///
    /// # Errors
    /// The data directory, the port or a key can't be used; the message says what to do.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let lock = DataDir::open(&options.data_dir)?;
        let data_dir = lock.path().to_owned();
        // What a killed process noted is wrong by now.
        setup::retract_store(&data_dir);
        // First the port, as it is what most often can't be had.
        let listener = listen(options.address).await?;
        let base_url = base_url(listener.local_addr()?);
        let keys = setup::keys(&data_dir, options.write_key.clone(), options.api_token.clone())?;
        let (embedded, store) = EmbeddedStore::open(&data_dir.join("harpoon.db"), PREFIX).await?;
        setup::announce_store(&data_dir, &embedded.endpoint())?;
        let queues = LocalQueues::open(&data_dir.join("queues.db"), Arc::clone(&options.clock.0))?;
        admit(&store, &options.clock, &keys).await?;

        let (stop, stopped) = runner::stop();
        let (write_key, api_token) = (keys.write_key.clone(), keys.api_token.clone());
        let parts =
            Parts { store: store.clone(), queues: queues.clone(), keys, options, base_url: base_url.clone(), stop: stopped.clone() };
        let mut running = JoinSet::new();
        parts.spawn_stages(&mut running)?;
        let routes = server::routes(parts.tracking(), parts.api());
        let stopped = async move {
            let mut stopped = stopped;
            stopped.wait().await;
        }
        .boxed()
        .shared();
        running.spawn(async move {
            if let Err(error) = server::serve(listener, routes, stopped).await {
                tracing::error!(%error, "the port is no longer served");
            }
        });
        Ok(Self { base_url, write_key, api_token, data_dir, store, queues, stop, running, embedded, lock })
    }

    /// Stops taking requests, lets running work finish, and closes the files. What is not finished goes on at the next start.
    pub async fn shutdown(mut self) {
        // Nobody may be listening any more.
        let _ = self.stop.send(true);
        while self.running.join_next().await.is_some() {}
        let Self { queues, store, embedded, lock, data_dir, .. } = self;
        setup::retract_store(&data_dir);
        let closed = tokio::task::spawn_blocking(move || {
            drop((queues, store));
            drop(embedded);
            drop(lock);
        });
        if closed.await.is_err() {
            tracing::error!("the files were not closed in order");
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => anyhow::bail!(
            "port {} of {} is in use by another program; stop that program, or choose another port with HARPOON_PORT",
            address.port(),
            address.ip()
        ),
        Err(error) => Err(error).with_context(|| format!("`{address}` can't be listened on")),
    }
}

/// The address as a client on this machine reaches it.
fn base_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// Makes the keys known to the store, once. One that was revoked stays so.
async fn admit(store: &DynamoStore, clock: &SharedClock, keys: &Keys) -> anyhow::Result<()> {
    let workspace = WorkspaceId::new(WORKSPACE)?;
    let credentials = Credentials::new(store.clone(), clock.clone());
    let wanted = [(&keys.write_key, CredentialKind::WriteKey), (&keys.api_token, CredentialKind::ApiToken)];
    for (secret, kind) in wanted {
        let known = credentials.stored(secret).await?.filter(|known| known.kind == kind);
        let Some(known) = known else {
            let name = "local".to_owned();
            let credential = Credential { workspace: workspace.clone(), kind, name, created_at: clock.now(), revoked_at: None };
            credentials.put(secret, &credential).await?;
            continue;
        };
        if known.revoked_at.is_some() {
            let (what, variable) = match kind {
                CredentialKind::WriteKey => ("write key", "HARPOON_WRITE_KEY"),
                CredentialKind::ApiToken => ("API token", "HARPOON_API_TOKEN"),
            };
            tracing::warn!(
                "the {what} of this data directory is revoked; make another with `harpoon key create` and give it as {variable}"
            );
        }
    }
    Ok(())
}

/// Where each stage is plugged in: one line for each.
impl Parts {
    fn spawn_stages(&self, running: &mut JoinSet<()>) -> anyhow::Result<()> {
        let (store, clock) = (&self.store, &self.options.clock);
        self.spawn(running, RESOLVE, resolve::Resolver::new(store.clone(), self.queue("score"), clock.clone()));
        self.spawn(running, SCORE, score::Scorer::new(store.clone(), self.queue("level"), clock.clone()));
        self.spawn(running, LEVEL, level::Leveler::new(store.clone(), self.queue("dispatch"), clock.clone(), SystemEntropy));
        self.spawn(running, DISPATCH, self.dispatcher()?);

        let rescorer = rescore::Rescorer::new(store.clone(), self.queue("score"), self.queue("dispatch"), clock.clone());
        let (every, stop, rescorer) = (self.options.rescore_every, self.stop.clone(), Arc::new(rescorer));
        running.spawn(runner::run_schedule("rescore", every, stop, move || {
            let rescorer = Arc::clone(&rescorer);
            async move { rescorer.run().await.map(drop) }
        }));
        let outlets = rescore::jobs::Outlets { score: self.queue("score"), resolve: self.queue("resolve") };
        let jobs = Arc::new(rescore::jobs::JobRunner::new(store.clone(), outlets, clock.clone()));
        running.spawn(runner::run_schedule("jobs", JOBS_EVERY, self.stop.clone(), move || {
            let jobs = Arc::clone(&jobs);
            async move { jobs.run(rescore::jobs::BUDGET_LOCALLY).await }
        }));
        Ok(())
    }

    fn dispatcher(&self) -> anyhow::Result<impl Stage + use<>> {
        let transport = dispatch::HyperTransport::new(self.options.allow_private_destinations)?;
        let directory = dispatch::ModelDirectory::new(self.store.clone(), self.options.clock.clone());
        let settings = dispatch::Settings::new(self.base_url.parse()?);
        Ok(dispatch::Dispatcher::new(self.store.clone(), self.options.clock.clone(), self.secrets(), transport, directory, settings))
    }

    fn tracking(&self) -> Tracking {
        let ingester = ingest::Ingester::new(self.store.clone(), self.queue("resolve"), self.options.clock.clone(), SystemEntropy);
        let ingester = Arc::new(ingester);
        Arc::new(move |request, peer| {
            let ingester = Arc::clone(&ingester);
            async move { ingester.handle(request, peer).await }.boxed()
        })
    }

    fn api(&self) -> axum::Router {
        let api = api::Api::new(self.store.clone(), self.secrets(), self.options.clock.clone(), self.queue("score"));
        api::router(api.allow_private_destinations(self.options.allow_private_destinations))
    }

    fn spawn<S: Stage>(&self, running: &mut JoinSet<()>, source: EventSource, stage: S) {
        running.spawn(runner::run_stage(Arc::new(stage), self.queues.clone(), source.locally(), self.stop.clone()));
    }

    fn queue<M>(&self, name: &str) -> LocalQueue<M> {
        self.queues.queue(name)
    }

    fn secrets(&self) -> FileKeySecrets {
        FileKeySecrets::new(&self.keys.sealing)
    }
}
