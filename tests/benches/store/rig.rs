//! The real stages over a store in memory that counts what DynamoDB would bill and keeps time of itself.

use anyhow::{Context, ensure};
use domain::{Timestamp, WorkspaceId};
use harpoon::cost::{
    counted::{Counted, Pace},
    ledger::Ledger,
    load::{Load, Who},
    virtual_time::VirtualTime,
};
use harpoon_tests::bench::thread_time;
use pipeline::{
    AccountTouched, Clock, Consistency, Credential, CredentialKind, Credentials, EventsReceived, Homes, Item, Key, ManualClock, Outcome,
    Page, Query, Received, Scan, ScanPage, Stage, Store, StoreError, Write,
    clock::CountingEntropy,
    memory::{MemoryQueue, MemoryStore},
    messages,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const START: &str = "2026-03-18T06:00:00Z";

/// When measuring begins.
pub fn start() -> anyhow::Result<Timestamp> {
    Timestamp::parse(START).context("a moment")
}

const WRITE_KEY: &str = "wk_bench";
/// Messages of one invocation of resolve.
const MESSAGES: usize = 10;

/// A store whose time is taken off.
#[derive(Debug, Clone)]
pub struct Probe {
    counted: Counted<Arc<MemoryStore>>,
    nanos: Arc<AtomicU64>,
}

impl Probe {
    async fn time<T>(&self, work: impl Future<Output = T>) -> T {
        let began = thread_time();
        let done = work.await;
        let took = thread_time().saturating_sub(began);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        done
    }
}

impl Store for Probe {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.time(self.counted.read(key, consistency)).await
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.time(self.counted.read_many(keys, consistency)).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.time(self.counted.query(query)).await
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        self.time(self.counted.scan(scan)).await
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.time(self.counted.write(write)).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.time(self.counted.transact(writes)).await
    }
}

/// What something took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub requests: f64,
    pub failed: f64,
    pub read_units: f64,
    pub write_units: f64,
    /// On a core, without the store: resolve, score, level.
    pub cpu: [Duration; 3],
}

impl Spent {
    /// In parts of equal size.
    pub fn per(mut self, parts: usize) -> Self {
        let n = parts.max(1) as f64;
        for figure in [&mut self.requests, &mut self.failed, &mut self.read_units, &mut self.write_units] {
            *figure /= n;
        }
        self.cpu = self.cpu.map(|cpu| cpu.div_f64(n));
        self
    }

    /// Microseconds on a core of all stages.
    pub fn micros(&self) -> f64 {
        self.cpu.iter().sum::<Duration>().as_secs_f64() * 1e6
    }

    /// Requests, read units, write units, and microseconds of each stage.
    pub fn cells(&self) -> Vec<String> {
        let micros = |cpu: Duration| format!("{:.0}", cpu.as_secs_f64() * 1e6);
        let mut cells = vec![figure(self.requests), figure(self.read_units), figure(self.write_units)];
        cells.extend(self.cpu.map(micros));
        cells
    }
}

/// With as many digits as tell something.
pub fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

type Queue = Arc<MemoryQueue>;
type Time = Arc<ManualClock>;
/// The stage over this store.
pub type Resolver = resolve::Resolver<Probe, Queue, Time>;

/// A pipeline.
pub struct Rig {
    pub store: Arc<MemoryStore>,
    pub clock: Time,
    pub workspace: WorkspaceId,
    pub resolver: Resolver,
    pub to_resolve: Queue,
    to_score: Queue,
    to_level: Queue,
    to_dispatch: Queue,
    ingester: ingest::Ingester<Probe, Queue, Time, Arc<CountingEntropy>>,
    scorer: score::Scorer<Probe, Queue, Time>,
    leveler: level::Leveler<Probe, Queue, Time, Arc<CountingEntropy>>,
    rescorer: rescore::Rescorer<Probe, Queue, Queue, Time>,
    ledger: Ledger,
    nanos: Arc<AtomicU64>,
    time: VirtualTime,
    cpu: [Duration; 3],
}

impl Rig {
    /// With nothing in it.
    pub fn new(start: Timestamp, pace: &Pace) -> anyhow::Result<Self> {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::at(start)));
        let (ledger, nanos, entropy) = (Ledger::default(), Arc::new(AtomicU64::new(0)), Arc::new(CountingEntropy::default()));
        let time = if let Pace::Stated(time, _) = pace { time.clone() } else { VirtualTime::default() };
        let probe = |stage| Probe {
            counted: Counted::new(Arc::clone(&store), Arc::clone(&store), stage, ledger.clone(), pace.clone()),
            nanos: Arc::clone(&nanos),
        };
        let queue = || Arc::new(MemoryQueue::default());
        let (to_resolve, to_score, to_level, to_dispatch) = (queue(), queue(), queue(), queue());
        let workspace = WorkspaceId::new("main")?;
        let credential = Credential {
            workspace: workspace.clone(),
            kind: CredentialKind::WriteKey,
            name: "bench".into(),
            created_at: start,
            revoked_at: None,
        };
        time.run(Credentials::new(Arc::clone(&store), Arc::clone(&clock)).put(WRITE_KEY, &credential))??;
        Ok(Self {
            ingester: ingest::Ingester::new(probe("ingest"), Arc::clone(&to_resolve), Arc::clone(&clock), Arc::clone(&entropy)),
            resolver: resolve::Resolver::new(probe("resolve"), Arc::clone(&to_score), Arc::clone(&clock)),
            scorer: score::Scorer::new(probe("score"), Arc::clone(&to_level), Arc::clone(&clock)),
            leveler: level::Leveler::new(probe("level"), Arc::clone(&to_dispatch), Arc::clone(&clock), entropy),
            rescorer: rescore::Rescorer::new(probe("rescore"), Arc::clone(&to_score), Arc::clone(&to_dispatch), Arc::clone(&clock)),
            store,
            clock,
            workspace,
            to_resolve,
            to_score,
            to_level,
            to_dispatch,
            ledger,
            nanos,
            time,
            cpu: [Duration::ZERO; 3],
        })
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Works until it is done.
    pub fn run<F: Future>(&self, work: F) -> anyhow::Result<F::Output> {
        Ok(self.time.run(work)?)
    }

    /// One request to ingest.
    pub fn ingest(&self, body: String) -> anyhow::Result<()> {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{WRITE_KEY}:"));
        let request = http::Request::post("/v1/batch").header("authorization", format!("Basic {basic}")).body(bytes::Bytes::from(body))?;
        let answer = self.run(self.ingester.handle(request, None))?;
        ensure!(answer.status().is_success(), "ingest answered {}: {:?}", answer.status(), answer.body());
        Ok(())
    }

    fn invoke<S: Stage>(&self, stage: &S, batch: Vec<S::Input>) -> anyhow::Result<Duration> {
        let batch = batch.into_iter().map(Received::first).collect();
        self.nanos.store(0, Ordering::Relaxed);
        let began = thread_time();
        let outcomes = self.run(stage.handle(batch))?;
        let took = thread_time().saturating_sub(began);
        ensure!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done)), "{} failed", S::NAME);
        Ok(took.saturating_sub(Duration::from_nanos(self.nanos.load(Ordering::Relaxed))))
    }

    /// Runs resolve over bodies.
    pub fn resolve(&mut self, bodies: &[String]) -> anyhow::Result<()> {
        for bodies in bodies.chunks(MESSAGES) {
            let batch = bodies.iter().map(|body| messages::decode::<EventsReceived>(body)).collect::<Result<_, _>>()?;
            self.cpu[0] += self.invoke(&self.resolver, batch)?;
        }
        Ok(())
    }

    /// Runs score and level until nothing waits. What score gets in one window names each account once.
    pub fn follow(&mut self) -> anyhow::Result<()> {
        let mut homes = Homes::default();
        let mut due = Vec::new();
        for message in self.to_score.take::<AccountTouched>() {
            if !message.due.is_empty() {
                due.push(message);
                continue;
            }
            for (home, shards) in message.touched() {
                homes.add_shards(&message.workspace, home.clone(), shards);
            }
        }
        for message in homes.touched().into_iter().chain(due) {
            self.cpu[1] += self.invoke(&self.scorer, vec![message])?;
        }
        for message in self.to_level.take() {
            self.cpu[2] += self.invoke(&self.leveler, vec![message])?;
        }
        self.to_dispatch.take_bodies();
        Ok(())
    }

    /// Runs every stage until nothing waits.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        let bodies = self.to_resolve.take_bodies();
        self.resolve(&bodies)?;
        self.follow()
    }

    /// Enqueues what is due.
    pub fn rescore(&self) -> anyhow::Result<usize> {
        Ok(self.run(self.rescorer.run())?.context("rescore failed")?.accounts)
    }

    /// What was spent since the last time.
    pub fn spent(&mut self) -> Spent {
        let sum = self.ledger.take().store_sum(|entry| entry.stage != "ingest");
        Spent {
            requests: sum.requests as f64,
            failed: sum.failed as f64,
            read_units: sum.read_units,
            write_units: sum.write_units,
            cpu: std::mem::take(&mut self.cpu),
        }
    }

    /// Makes somebody known, with some days of activity, in one request.
    pub fn introduce(&self, load: &mut Load, who: Who, events: usize, days: usize) -> anyhow::Result<()> {
        let mut calls = load.introduce(who, self.now());
        calls.extend(load.past(who, events, days, self.now()));
        self.ingest(load.body(&calls))
    }
}
