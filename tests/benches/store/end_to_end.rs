//! Durable, on one machine: from the first request until everything is scored and levelled.

use super::{columns, command, rescoring::ceiling};
use anyhow::{Context, ensure};
use aws::DynamoStore;
use harpoon::{
    cost::load::{Load, Size, Who},
    local::{Local, Options, SharedClock},
    local_queue::LocalQueues,
    runner::{self, DISPATCH, EVENT_SOURCES, LEVEL, RESOLVE, SCORE},
    store::EmbeddedStore,
};
use harpoon_tests::bench::{Dice, Report, Series, argument};
use pipeline::{Clock, Credential, CredentialKind, Credentials, SystemClock, SystemEntropy, secrets::FileKeySecrets};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CONNECTIONS: usize = 8;
const BATCH: usize = 20;
const LEADS: usize = 5;
const CEILING_PUTS: usize = 3_000;

/// What requests look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    OneIdentity,
    TwentyIdentities,
}

struct Loads {
    load: Load,
    accounts: usize,
    dice: Dice,
}

impl Loads {
    fn new(accounts: usize) -> Self {
        Self { load: Load::new(Size { seed: 20, accounts, leads_per_account: LEADS, event_bytes: 640 }), accounts, dice: Dice(20) }
    }

    fn introductions(&mut self) -> Vec<String> {
        let now = SystemClock.now();
        let everybody = (0..LEADS).flat_map(|lead| (0..self.accounts).map(move |account| Who { account, lead }));
        let load = &mut self.load;
        everybody
            .map(|who| {
                let mut calls = load.introduce(who, now);
                calls.extend(load.past(who, 10, 8, now));
                load.body(&calls)
            })
            .collect()
    }

    fn requests(&mut self, shape: Shape, count: usize) -> Vec<String> {
        let now = SystemClock.now();
        let mut who = || Who {
            account: usize::try_from(self.dice.below(self.accounts as u64)).unwrap_or_default(),
            lead: usize::try_from(self.dice.below(LEADS as u64)).unwrap_or_default(),
        };
        let people: Vec<Vec<Who>> = match shape {
            Shape::OneIdentity => (0..count).map(|_| vec![who()]).collect(),
            Shape::TwentyIdentities => (0..count).map(|_| (0..BATCH).map(|_| who()).collect()).collect(),
        };
        let load = &mut self.load;
        people
            .into_iter()
            .map(|people| {
                let calls: Vec<_> = people.iter().flat_map(|who| load.visit(*who, BATCH / people.len(), now)).collect();
                load.body(&calls)
            })
            .collect()
    }
}

async fn answered(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (mut buffer, mut filled) = (vec![0; 8_192], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the server closed the connection");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("an answer without length")?;
        if body.len() >= length.parse()? {
            ensure!(head.starts_with("HTTP/1.1 200"), "answered {text}");
            return Ok(());
        }
    }
}

/// Posts all bodies over a few connections.
async fn post(local: &Local, bodies: Vec<String>) -> anyhow::Result<()> {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:", local.write_key));
    let address = local.base_url.trim_start_matches("http://").to_owned();
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (bodies, next, basic, address) = (Arc::clone(&bodies), Arc::clone(&next), basic.clone(), address.clone());
        connections.spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let head = format!(
                    "POST /v1/batch HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {basic}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
                answered(&mut stream).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    Ok(())
}

/// Waits until nothing waits for a stage and nothing is being worked on.
async fn at_rest(queues: &LocalQueues) -> anyhow::Result<()> {
    loop {
        let mut waiting = 0;
        for source in EVENT_SOURCES {
            let depth = queues.depth(source.stage).await?;
            ensure!(depth.dead == 0, "{} gave messages up", source.stage);
            waiting += depth.visible + depth.hidden;
        }
        // A stage sends before its own message is deleted, and stages are looked at in the order of the pipeline.
        if waiting == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Store requests of each event, counted in a pipeline like that of `Local`, whose store can't be metered from outside.
async fn counted(accounts: usize, requests: usize) -> anyhow::Result<[f64; 2]> {
    let dir = tempfile::tempdir()?;
    let (embedded, bare) = EmbeddedStore::open(&dir.path().join("harpoon.db"), "harpoon-").await?;
    let clock = SharedClock(Arc::new(SystemClock));
    let queues = LocalQueues::open(&dir.path().join("queues.db"), Arc::clone(&clock.0))?;
    let count = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&count);
    let store: DynamoStore = bare.clone().metered(Arc::new(move |_| {
        told.fetch_add(1, Ordering::Relaxed);
    }));
    let workspace = domain::WorkspaceId::new("main")?;
    let credential =
        Credential { workspace, kind: CredentialKind::WriteKey, name: "bench".into(), created_at: clock.now(), revoked_at: None };
    Credentials::new(store.clone(), clock.clone()).put("wk_bench", &credential).await?;
    let (stop, stopped) = runner::stop();
    let mut running = tokio::task::JoinSet::new();
    let resolver = resolve::Resolver::new(store.clone(), queues.queue("score"), clock.clone());
    running.spawn(runner::run_stage(Arc::new(resolver), queues.clone(), RESOLVE.locally(), stopped.clone()));
    let scorer = score::Scorer::new(store.clone(), queues.queue("level"), clock.clone());
    running.spawn(runner::run_stage(Arc::new(scorer), queues.clone(), SCORE.locally(), stopped.clone()));
    let leveler = level::Leveler::new(store.clone(), queues.queue("dispatch"), clock.clone(), SystemEntropy);
    running.spawn(runner::run_stage(Arc::new(leveler), queues.clone(), LEVEL.locally(), stopped.clone()));
    let directory = dispatch::ModelDirectory::new(store.clone(), clock.clone());
    let settings = dispatch::Settings::new("http://127.0.0.1:1".parse()?);
    let transport = dispatch::HyperTransport::new(true)?;
    let dispatcher = dispatch::Dispatcher::new(store.clone(), clock.clone(), FileKeySecrets::new(&[7; 32]), transport, directory, settings);
    running.spawn(runner::run_stage(Arc::new(dispatcher), queues.clone(), DISPATCH.locally(), stopped.clone()));
    let ingester = Arc::new(ingest::Ingester::new(store.clone(), queues.queue("resolve"), clock.clone(), SystemEntropy));

    let mut loads = Loads::new(accounts);
    let mut figures = [0.0; 2];
    for (figure, shape) in [(None, None), (Some(0), Some(Shape::OneIdentity)), (Some(1), Some(Shape::TwentyIdentities))] {
        let bodies = match shape {
            None => loads.introductions(),
            Some(shape) => loads.requests(shape, requests),
        };
        count.store(0, Ordering::Relaxed);
        let events = (bodies.len() * BATCH) as f64;
        let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (bodies, next, ingester) = (Arc::clone(&bodies), Arc::clone(&next), Arc::clone(&ingester));
            clients.spawn(async move {
                use base64::Engine as _;
                let basic = base64::engine::general_purpose::STANDARD.encode("wk_bench:");
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let request = http::Request::post("/v1/batch").header("authorization", format!("Basic {basic}"));
                    let answer = ingester.handle(request.body(bytes::Bytes::from(body.clone()))?, None).await;
                    ensure!(answer.status().is_success(), "ingest answered {}", answer.status());
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        at_rest(&queues).await?;
        if let Some(place) = figure {
            figures[place] = count.load(Ordering::Relaxed) as f64 / events;
        }
    }
    stop.send(true)?;
    while running.join_next().await.is_some() {}
    drop((store, bare, queues, ingester));
    tokio::task::spawn_blocking(move || drop(embedded)).await?;
    Ok(figures)
}

pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(argument("e2e-accounts", 200), argument("requests", 250), argument("rounds", 3)))
}

async fn measure(accounts: usize, requests: usize, rounds: usize) -> anyhow::Result<()> {
    let operations = counted(accounts, requests).await?;
    let dir = tempfile::tempdir()?;
    let local = Local::start(Options::in_dir(dir.path())).await?;
    let mut loads = Loads::new(accounts);
    post(&local, loads.introductions()).await?;
    at_rest(&local.queues).await?;

    let mut puts = Series::default();
    let mut rates = [Series::default(), Series::default()];
    let mut accepted = [Series::default(), Series::default()];
    for round in 0..=rounds {
        let ceiling = ceiling(&local.store, round, CEILING_PUTS).await?;
        if round > 0 {
            puts.push(ceiling);
        }
        for (place, shape) in [Shape::OneIdentity, Shape::TwentyIdentities].into_iter().enumerate() {
            let bodies = loads.requests(shape, requests);
            let began = Instant::now();
            post(&local, bodies).await?;
            let taken = began.elapsed();
            at_rest(&local.queues).await?;
            let whole = began.elapsed();
            let events = (requests * BATCH) as f64;
            if round > 0 {
                rates[place].push(events / whole.as_secs_f64());
                accepted[place].push(events / taken.as_secs_f64());
            }
        }
    }
    local.shutdown().await;
    let rows = ["one identity in a batch of 20", "20 identities in a batch of 20"].iter().enumerate().map(|(place, name)| {
        let used = rates[place].median() * operations[place];
        vec![
            (*name).to_owned(),
            rates[place].to_string(),
            accepted[place].to_string(),
            format!("{:.2}", operations[place]),
            format!("{used:.0}"),
            puts.to_string(),
            format!("{:.2}", used / puts.median()),
        ]
    });
    let report = Report {
        title: "End to end on one machine, durable".into(),
        data: format!(
            "{accounts} accounts of {LEADS} people; {requests} requests of {BATCH} events of 640 bytes over {CONNECTIONS} connections to the server of `harpoon serve`, from the first request until every queue is empty; client, server, store and queues share the machine"
        ),
        command: command(&format!("end-to-end --e2e-accounts {accounts} --requests {requests} --rounds {rounds}")),
        columns: columns([
            "load",
            "events per second, scored and levelled",
            "events per second, accepted",
            "store requests an event",
            "store requests per second",
            "the store's single puts of 1 KB per second",
            "against these",
        ]),
        rows: rows.collect(),
        notes: vec![
            "Store requests of an event are counted beforehand in the same stages over a metered store; a transaction, a batch of reads and a query count as one.".into(),
            "The store's ceiling: puts of 1 KB through the same client, 16 at a time, one flush of the disk each, in turn with the loads while the server had nothing to do.".into(),
        ],
    };
    println!("{report}");
    Ok(())
}
