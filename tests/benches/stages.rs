//! How fast resolve, score and level work, per core, when the store costs nothing.
//!
//! The real handlers run over a store in memory that keeps time of itself, which is taken off; parcels are not compressed. The load
//! is that of the cost meter: batches of ten events of one person, five people an account, four batches of an account per window.

use anyhow::{Context, ensure};
use aws::batch::{MemoryDeadQueue, SqsRecord, handle_sqs, sqs_event};
use domain::{Timestamp, WorkspaceId};
use harpoon::cost::load::{Load, Size, Who};
use harpoon_tests::bench::{Report, Series, argument, thread_time};
use pipeline::{
    Body, Consistency, Credential, CredentialKind, Credentials, Item, Key, ManualClock, Outcome, Page, Query, Received, Scan, ScanPage,
    Stage, Store, StoreError, Table, Write,
    clock::CountingEntropy,
    memory::{MemoryQueue, MemoryStore},
    messages,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

// What ships uses it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A store in memory that knows how long it worked.
#[derive(Debug, Default)]
struct Timed {
    memory: MemoryStore,
    nanos: AtomicU64,
}

impl Timed {
    async fn time<T>(&self, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.nanos.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        done
    }
}

impl Store for Timed {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.time(self.memory.read(key, consistency)).await
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.time(self.memory.read_many(keys, consistency)).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.time(self.memory.query(query)).await
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        self.time(self.memory.scan(scan)).await
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.time(async { self.memory.write(without_parcel(write)).await }).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.time(self.memory.transact(writes)).await
    }
}

/// Nobody reads parcels here. Kept, they would only make every stage wait for fresh memory.
fn without_parcel(mut write: Write) -> Write {
    if let Write::Put(item, _) = &mut write
        && item.key.table == Table::Events
        && item.key.sk.starts_with("P#")
    {
        item.body = Body::Bytes(Vec::new());
    }
    write
}

type Clock = Arc<ManualClock>;
type Queue = Arc<MemoryQueue>;

struct Rig {
    store: Arc<Timed>,
    clock: Clock,
    ingester: ingest::Ingester<Arc<Timed>, Queue, Clock, Arc<CountingEntropy>>,
    resolver: resolve::Resolver<Arc<Timed>, Queue, Clock>,
    scorer: score::Scorer<Arc<Timed>, Queue, Clock>,
    leveler: level::Leveler<Arc<Timed>, Queue, Clock, Arc<CountingEntropy>>,
    to_resolve: Queue,
    to_score: Queue,
    to_level: Queue,
    to_dispatch: Queue,
    runtime: tokio::runtime::Runtime,
}

const WRITE_KEY: &str = "bench-write-key";

impl Rig {
    fn new() -> anyhow::Result<Self> {
        let store = Arc::new(Timed::default());
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-03-18T06:00:00Z").context("a moment")?));
        let entropy = Arc::new(CountingEntropy::default());
        let queue = || Arc::new(MemoryQueue::default());
        let (to_resolve, to_score, to_level, to_dispatch) = (queue(), queue(), queue(), queue());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let workspace = WorkspaceId::new("main")?;
        let credentials = Credentials::new(Arc::clone(&store), Arc::clone(&clock));
        let credential = Credential {
            workspace,
            kind: CredentialKind::WriteKey,
            name: "bench".into(),
            created_at: Timestamp::default(),
            revoked_at: None,
        };
        runtime.block_on(credentials.put(WRITE_KEY, &credential))?;
        Ok(Self {
            ingester: ingest::Ingester::new(Arc::clone(&store), Arc::clone(&to_resolve), Arc::clone(&clock), Arc::clone(&entropy)),
            resolver: resolve::Resolver::new(Arc::clone(&store), Arc::clone(&to_score), Arc::clone(&clock)).uncompressed(),
            scorer: score::Scorer::new(Arc::clone(&store), Arc::clone(&to_level), Arc::clone(&clock)),
            leveler: level::Leveler::new(Arc::clone(&store), Arc::clone(&to_dispatch), Arc::clone(&clock), entropy),
            store,
            clock,
            to_resolve,
            to_score,
            to_level,
            to_dispatch,
            runtime,
        })
    }

    fn ingest(&self, body: String) -> anyhow::Result<()> {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{WRITE_KEY}:"));
        let request = http::Request::post("/v1/batch").header("authorization", format!("Basic {basic}")).body(bytes::Bytes::from(body))?;
        let answer = self.runtime.block_on(self.ingester.handle(request, None));
        ensure!(answer.status().is_success(), "ingest answered {}", answer.status());
        Ok(())
    }

    fn run<S: Stage>(&self, stage: &S, bodies: Vec<String>, own: &Queue, parsed: bool) -> anyhow::Result<Duration> {
        if parsed {
            let batch =
                bodies.iter().map(|body| Ok(Received::first(messages::decode::<S::Input>(body)?))).collect::<anyhow::Result<Vec<_>>>()?;
            let began = thread_time();
            let outcomes = self.runtime.block_on(stage.handle(batch));
            let took = thread_time() - began;
            ensure!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done)), "{} failed", S::NAME);
            return Ok(took);
        }
        let record = |(i, body)| SqsRecord {
            message_id: format!("{i}"),
            receipt: String::new(),
            body,
            receive_count: 1,
            sent_at: Timestamp::default(),
        };
        let event = sqs_event(S::NAME, bodies.into_iter().enumerate().map(record));
        let began = thread_time();
        let response = self.runtime.block_on(handle_sqs(stage, event, own, &MemoryDeadQueue::default()));
        let took = thread_time() - began;
        ensure!(response.batch_item_failures.is_empty(), "{} failed", S::NAME);
        Ok(took)
    }

    /// Runs what waits through the stages, ten messages an invocation; answers the time of each stage.
    fn settle(&self, parsed: bool) -> anyhow::Result<[Duration; 3]> {
        let mut took = [Duration::ZERO; 3];
        for bodies in self.to_resolve.take_bodies().chunks(10) {
            took[0] += self.run(&self.resolver, bodies.to_vec(), &self.to_resolve, parsed)?;
        }
        // What score gets in one window names each account once.
        let touched: Vec<pipeline::AccountTouched> = self.to_score.take();
        let mut homes = pipeline::Homes::default();
        for message in touched {
            for home in message.homes {
                homes.add(&message.workspace, home);
            }
        }
        let hints = homes.touched().iter().map(messages::encode).collect::<Result<Vec<_>, _>>()?;
        for bodies in hints.chunks(10) {
            took[1] += self.run(&self.scorer, bodies.to_vec(), &self.to_score, parsed)?;
        }
        for bodies in self.to_level.take_bodies().chunks(10) {
            took[2] += self.run(&self.leveler, bodies.to_vec(), &self.to_level, parsed)?;
        }
        self.to_dispatch.take_bodies();
        Ok(took)
    }
}

const LEADS: usize = 5;
const TOUCHES: usize = 4;
const BATCH: usize = 10;
const WINDOW: usize = 50;

fn main() -> anyhow::Result<()> {
    let accounts: usize = argument("accounts", 400);
    let rounds: usize = argument("rounds", 7);
    let rig = Rig::new()?;
    let mut load = Load::new(Size { seed: 7, accounts, leads_per_account: LEADS, event_bytes: 640 });
    for account in 0..accounts {
        let now = pipeline::Clock::now(&rig.clock);
        for lead in 0..LEADS {
            let who = Who { account, lead };
            let mut calls = load.introduce(who, now);
            calls.extend(load.past(who, 20, 8, now));
            rig.ingest(load.body(&calls))?;
        }
    }
    rig.settle(true)?;

    load.start_counting();
    let mut rows: Vec<(&str, [Series; 5])> = vec![("decoded messages", Default::default()), ("queue bodies", Default::default())];
    for round in 0..=rounds {
        for (way, (_, series)) in rows.iter_mut().enumerate() {
            rig.clock.advance(60_000);
            let now = pipeline::Clock::now(&rig.clock);
            rig.store.nanos.store(0, Ordering::Relaxed);
            let mut took = [Duration::ZERO; 3];
            let mut beside = 0;
            // A window of few accounts at a time, as a function has them: what waits in a queue takes none of its memory.
            for window in (0..accounts).collect::<Vec<_>>().chunks(WINDOW) {
                let before = rig.store.nanos.load(Ordering::Relaxed);
                for touch in 0..TOUCHES {
                    for account in window.iter().copied() {
                        let calls = load.visit(Who { account, lead: (touch + account + round) % LEADS }, BATCH, now);
                        rig.ingest(load.body(&calls))?;
                    }
                }
                beside += rig.store.nanos.load(Ordering::Relaxed) - before;
                let of_window = rig.settle(way == 0)?;
                took.iter_mut().zip(of_window).for_each(|(sum, time)| *sum += time);
            }
            let stored = Duration::from_nanos(rig.store.nanos.load(Ordering::Relaxed) - beside);
            let events = (accounts * TOUCHES * BATCH) as f64;
            let whole: Duration = took.iter().sum();
            let work = whole.saturating_sub(stored);
            if round > 0 {
                series[0].push(events / work.as_secs_f64());
                let per = |time: Duration| time.as_secs_f64() * 1e6 / events;
                series[1].push(per(took[0]));
                series[2].push(per(took[1]));
                series[3].push(per(took[2]));
                series[4].push(per(stored));
            }
        }
    }
    let (made, bytes) = load.made();
    let report = Report {
        title: "Resolve, score and level without the store and without compression".into(),
        data: format!(
            "{accounts} accounts of {LEADS} people, {TOUCHES} batches of {BATCH} events of one person each per account and window, {} bytes an event",
            bytes / made.max(1)
        ),
        command: format!("cargo bench -p harpoon-tests --bench stages -- --accounts {accounts} --rounds {rounds}"),
        columns: ["from", "events per second per core", "resolve, µs an event", "score", "level", "of these the store"]
            .map(String::from)
            .to_vec(),
        rows: rows
            .iter()
            .map(|(name, series)| std::iter::once((*name).to_owned()).chain(series.iter().map(Series::to_string)).collect())
            .collect(),
        notes: Vec::new(),
    };
    println!("{report}");
    Ok(())
}
