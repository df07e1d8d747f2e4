//! The real stages over counting adapters, driven as their event sources would drive them.

use super::{
    counted::{Counted, CountedQueue, Pace},
    ledger::{Counts, Ledger},
    virtual_time::VirtualTime,
};
use crate::runner::{DISPATCH, EventSource, LEVEL, RESOLVE, SCORE};
use anyhow::{Context, ensure};
use aws::{MemoryDeadQueue, SqsRecord, handle_sqs, sqs_event};
use bytes::Bytes;
use dispatch::{Answer, Dispatcher, ModelDirectory, Outgoing, Settings, Transport, TransportError};
use domain::{DestinationId, Timestamp, TriggerId, WorkspaceId, model::default_model, trigger::TriggerDraft};
use http::{Request, header};
use pipeline::{
    Clock, Credential, CredentialKind, Credentials, ManualClock, Stage, Store,
    clock::CountingEntropy,
    models::Models,
    notify::{DestinationDraft, Destinations, Triggers},
    secrets::FileKeySecrets,
};
use serde_json::json;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const WRITE_KEY: &str = "wk_invented_for_counting";
const SEALING: [u8; 32] = [9; 32];

/// Posts nothing, and takes its time.
#[derive(Debug, Clone)]
struct Silent {
    pace: Pace,
    posted: Arc<AtomicU64>,
}

impl Transport for Silent {
    async fn post(&self, _request: Outgoing) -> Result<Answer, TransportError> {
        self.pace.wait(|latencies| latencies.post_ms).await;
        self.posted.fetch_add(1, Ordering::SeqCst);
        Ok(Answer { status: 200, ..Answer::default() })
    }
}

/// On what the futures of the stages are run.
#[derive(Debug)]
pub enum Engine {
    /// Time passes virtually.
    Virtual(VirtualTime),
    /// A runtime of this thread, for a store behind a socket.
    Real(tokio::runtime::Runtime),
}

impl Engine {
    /// Works until it is done, on this thread.
    ///
    /// # Errors
    /// The work waits for something that never comes.
    pub fn run<F: Future>(&self, work: F) -> anyhow::Result<F::Output> {
        match self {
            Self::Virtual(time) => Ok(time.run(work)?),
            Self::Real(runtime) => Ok(runtime.block_on(work)),
        }
    }

    fn micros(&self) -> u64 {
        match self {
            Self::Virtual(time) => time.micros(),
            Self::Real(_) => 0,
        }
    }
}

/// How full batches get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling {
    /// Pollers that share a queue: what comes in within a window is spread over so many invocations.
    pub pollers: usize,
    /// Messages that a poller gets with one receive, at most 10.
    pub per_receive: usize,
}

type St<S> = Counted<S>;
type Cl = Arc<ManualClock>;

/// A pipeline whose every request is counted.
pub struct Rig<S: Store + Clone> {
    engine: Engine,
    logs: tracing::Dispatch,
    /// The clock of all stages.
    pub clock: Cl,
    /// What was counted.
    pub ledger: Ledger,
    filling: Filling,
    ingester: ingest::Ingester<St<S>, CountedQueue, Cl, Arc<CountingEntropy>>,
    resolver: resolve::Resolver<St<S>, CountedQueue, Cl>,
    scorer: score::Scorer<St<S>, CountedQueue, Cl>,
    leveler: level::Leveler<St<S>, CountedQueue, Cl, Arc<CountingEntropy>>,
    dispatcher: Dispatcher<St<S>, Cl, FileKeySecrets, Silent, ModelDirectory<St<S>, Cl>>,
    rescorer: rescore::Rescorer<St<S>, CountedQueue, CountedQueue, Cl>,
    to_resolve: CountedQueue,
    to_score: CountedQueue,
    to_level: CountedQueue,
    to_dispatch: CountedQueue,
    dead: MemoryDeadQueue,
    posted: Arc<AtomicU64>,
    request: u64,
}

/// What was counted when an invocation began.
struct Before {
    waited: u64,
    computed: Duration,
    calls: u64,
    logged: u64,
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl<S: Store + Clone> Rig<S> {
    /// Over a store that `stored` hands out for each stage: the one that the stage uses, and the same one unmetered.
    ///
    /// # Errors
    /// The workspace's credential, destination or triggers can't be stored.
    pub fn new(
        engine: Engine,
        pace: Pace,
        filling: Filling,
        start: Timestamp,
        stored: impl Fn(&'static str, &Ledger) -> (S, S),
    ) -> anyhow::Result<Self> {
        let (clock, ledger) = (Arc::new(ManualClock::at(start)), Ledger::default());
        let entropy = Arc::new(CountingEntropy::default());
        let store = |stage| {
            let (inner, bare) = stored(stage, &ledger);
            Counted::new(inner, bare, stage, ledger.clone(), pace.clone())
        };
        let queue = |source: EventSource| CountedQueue::new(source.stage, ledger.clone(), pace.clone());
        let (to_resolve, to_score, to_level, to_dispatch) = (queue(RESOLVE), queue(SCORE), queue(LEVEL), queue(DISPATCH));
        let posted = Arc::new(AtomicU64::new(0));
        let transport = Silent { pace: pace.clone(), posted: Arc::clone(&posted) };
        let dispatch_store = store("dispatch");
        let directory = ModelDirectory::new(dispatch_store.clone(), Arc::clone(&clock));
        let settings = Settings::new("https://harpoon.northwind-looms.example".parse()?);
        let secrets = FileKeySecrets::new(&SEALING);
        let rig = Self {
            ingester: ingest::Ingester::new(store("ingest"), to_resolve.clone(), Arc::clone(&clock), Arc::clone(&entropy)),
            resolver: resolve::Resolver::new(store("resolve"), to_score.clone(), Arc::clone(&clock)),
            scorer: score::Scorer::new(store("score"), to_level.clone(), Arc::clone(&clock)),
            leveler: level::Leveler::new(store("level"), to_dispatch.clone(), Arc::clone(&clock), entropy),
            dispatcher: Dispatcher::new(dispatch_store, Arc::clone(&clock), secrets, transport, directory, settings),
            rescorer: rescore::Rescorer::new(store("rescore"), to_score.clone(), to_dispatch.clone(), Arc::clone(&clock)),
            to_resolve,
            to_score,
            to_level,
            to_dispatch,
            dead: MemoryDeadQueue::default(),
            posted,
            request: 0,
            engine,
            logs: logs(&ledger),
            clock,
            ledger: ledger.clone(),
            filling,
        };
        let setup = store("set-up");
        rig.engine.run(set_up(setup, Arc::clone(&rig.clock)))??;
        rig.ledger.take();
        Ok(rig)
    }

    /// Notifications posted so far.
    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::SeqCst)
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Counts {
        self.ledger.take()
    }

    /// One request to ingest.
    ///
    /// # Errors
    /// It was not accepted.
    pub fn ingest(&mut self, body: String) -> anyhow::Result<()> {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{WRITE_KEY}:"));
        let request = Request::post("/v1/batch")
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))?;
        let before = self.before();
        let answer = self.run(self.ingester.handle(request, None))?;
        self.invoked("ingest", 1, before);
        ensure!(answer.status().is_success(), "ingest answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body()));
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        ensure!(!text.contains("rejected\":["), "ingest rejected a part of a request: {text}");
        Ok(())
    }

    /// Runs an invocation; what it logs is counted and not shown.
    fn run<F: Future>(&self, work: F) -> anyhow::Result<F::Output> {
        tracing::dispatcher::with_default(&self.logs, || self.engine.run(work))
    }

    fn before(&self) -> Before {
        let (calls, logged) = self.ledger.marks();
        Before { waited: self.engine.micros(), calls, logged, computed: cpu() }
    }

    fn invoked(&self, stage: &'static str, messages: usize, before: Before) {
        let (waited, computed) = (self.engine.micros().saturating_sub(before.waited), micros(cpu().saturating_sub(before.computed)));
        let (calls, logged) = self.ledger.marks();
        self.ledger.function(stage, |count| {
            count.invocations += 1;
            count.messages += messages as u64;
            count.waited_us += waited;
            count.cpu_us += computed;
            count.calls += calls.saturating_sub(before.calls);
            count.logged += logged.saturating_sub(before.logged);
        });
    }

    fn invoke<T: Stage>(&self, stage: &T, queue: &CountedQueue, bodies: Vec<String>, number: u64) -> anyhow::Result<()> {
        queue.received(&bodies, self.filling.per_receive);
        let now = self.clock.now();
        let records = bodies.iter().enumerate().map(|(n, body)| SqsRecord {
            message_id: format!("{number}-{n}"),
            receipt: format!("{number}-{n}"),
            body: body.clone(),
            receive_count: 1,
            sent_at: now,
        });
        let event = sqs_event(T::NAME, records);
        let before = self.before();
        let response = self.run(handle_sqs(stage, event, queue, &self.dead))?;
        self.invoked(T::NAME, bodies.len(), before);
        ensure!(response.batch_item_failures.is_empty(), "{} failed {} messages", T::NAME, response.batch_item_failures.len());
        ensure!(self.dead.parked().is_empty(), "{} parked a message: {:?}", T::NAME, self.dead.parked());
        Ok(())
    }

    /// Everything that waits in a queue, in invocations of at most `most` messages for each of its pollers.
    fn drain<T: Stage>(&mut self, which: impl Fn(&Self) -> (&T, &CountedQueue), source: EventSource, most: usize) -> anyhow::Result<()> {
        let bodies = which(self).1.take();
        let each = most.div_ceil(self.filling.pollers.max(1)).clamp(1, source.batch_size);
        for chunk in bodies.chunks(each) {
            self.request = self.request.wrapping_add(1);
            let (stage, queue) = which(self);
            self.invoke(stage, queue, chunk.to_vec(), self.request)?;
        }
        Ok(())
    }

    /// Runs every stage until nothing waits. `span` is how long what waits for resolve took to come in.
    ///
    /// # Errors
    /// A stage failed a message.
    pub fn settle(&mut self, span: Duration) -> anyhow::Result<()> {
        let windows = (span.as_secs_f64() / RESOLVE.window.as_secs_f64()).max(1.0);
        for _ in 0..64 {
            let queues = [&self.to_resolve, &self.to_score, &self.to_level, &self.to_dispatch];
            if queues.iter().all(|queue| queue.is_empty()) {
                return Ok(());
            }
            let most = (f64::from(u32::try_from(self.to_resolve.len()).unwrap_or(u32::MAX)) / windows).ceil() as usize;
            self.drain(|rig| (&rig.resolver, &rig.to_resolve), RESOLVE, most)?;
            // Everything that resolve sent falls into one window of score, and what one invocation of score sent into one of level.
            let most = self.to_score.len();
            self.drain(|rig| (&rig.scorer, &rig.to_score), SCORE, most)?;
            let most = self.to_level.len();
            self.drain(|rig| (&rig.leveler, &rig.to_level), LEVEL, most)?;
            // Without a window an invocation gets what one receive found: in a quiet queue one message.
            self.drain(|rig| (&rig.dispatcher, &rig.to_dispatch), DISPATCH, 1)?;
        }
        anyhow::bail!("the pipeline does not come to rest")
    }

    /// One run of rescore.
    ///
    /// # Errors
    /// It failed.
    pub fn rescore(&mut self) -> anyhow::Result<rescore::Enqueued> {
        let before = self.before();
        let enqueued = self.run(self.rescorer.run())?.context("rescore failed")?;
        self.invoked("rescore", enqueued.accounts + enqueued.deliveries, before);
        Ok(enqueued)
    }
}

/// Counts what is written.
#[derive(Debug, Clone)]
struct LogBytes(Ledger);

impl io::Write for LogBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.logged(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs as functions do: JSON lines from `info` on.
fn logs(ledger: &Ledger) -> tracing::Dispatch {
    let bytes = LogBytes(ledger.clone());
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(false);
    lines.with_max_level(tracing::Level::INFO).with_writer(move || bytes.clone()).finish().into()
}

async fn set_up<S: Store + Clone>(store: Counted<S>, clock: Cl) -> anyhow::Result<()> {
    let workspace = WorkspaceId::new("main")?;
    let credential = Credential {
        workspace: workspace.clone(),
        kind: CredentialKind::WriteKey,
        name: "counting".to_owned(),
        created_at: clock.now(),
        revoked_at: None,
    };
    Credentials::new(store.clone(), Arc::clone(&clock)).put(WRITE_KEY, &credential).await?;
    let draft = json!({ "name": "CRM", "kind": "signed_webhook", "url": "https://hooks.northwind-looms.com/in" });
    let draft = DestinationDraft::read(&draft, false).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let destinations = Destinations::new(store.clone(), Arc::clone(&clock));
    let made = destinations.create_destination(&workspace, DestinationId::new("d1")?, draft, &FileKeySecrets::new(&SEALING)).await;
    made.map_err(|error| anyhow::anyhow!("{error}"))?;
    // As a workspace that has changed a rule: its model is stored and read, not built in.
    let built_in = default_model().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut document = built_in.document.clone();
    document.version = 1;
    Models::new(store.clone(), Arc::clone(&clock)).publish(&workspace, &document).await?;
    let triggers = Triggers::new(store, Arc::clone(&clock));
    let whens = [
        json!({ "kind": "level_entered", "level": "target" }),
        json!({ "kind": "level_left", "level": "target" }),
        json!({ "kind": "surge_started" }),
    ];
    for (n, when) in whens.iter().enumerate() {
        let draft = TriggerDraft::read(&json!({ "name": format!("t{n}"), "when": when, "destinations": ["d1"] }));
        let draft = draft.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        triggers.put_new(&workspace, draft.start(TriggerId::new(&format!("t{n}"))?, clock.now())).await?;
    }
    Ok(())
}
