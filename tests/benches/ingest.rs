//! What a durable, authenticated request costs a server: Harpoon's ingest against a bare hyper endpoint.
//!
//! Both servers are processes of their own, on loopback, given the same bytes by the same 64 connections. Harpoon's is the local
//! server as `harpoon serve` runs it (router, authentication, validation, packing, queue file with one flush of the disk for each
//! group of commits) without the stages behind it, so that the queue only fills. The bare one parses the batch into typed structs,
//! checks what must be there, and forgets it. Compared is the time that the server's threads spend on a core for each request.

use anyhow::{Context, bail, ensure};
use domain::{Timestamp, WorkspaceId};
use futures::FutureExt;
use harpoon::{local::SharedClock, local_queue::LocalQueues, server, store::EmbeddedStore};
use harpoon_tests::bench::{Contestant, Dice, Report, alternate, argument, process_time, text_argument};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use pipeline::{Credential, CredentialKind, Credentials, SystemClock, SystemEntropy, secrets::FileKeySecrets};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json, value::RawValue};
use std::{
    borrow::Cow,
    convert::Infallible,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

// What ships uses it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const EVENTS_PER_BATCH: usize = 10;
/// `wk_bench:` as Basic authorization has it.
const AUTHORIZATION: &str = "Basic d2tfYmVuY2g6";
const WRITE_KEY: &str = "wk_bench";

fn main() -> anyhow::Result<()> {
    match text_argument("serve").as_deref() {
        None => compare(),
        Some("harpoon") => serve_harpoon(),
        Some("bare") => serve_bare(parse_typed),
        Some("bare-borrowed") => serve_bare(parse_borrowed),
        Some(other) => bail!("there is no server `{other}`"),
    }
}

// ---------------------------------------------------------------------------------------------------------------- the load

/// One track call of about 640 bytes, as a browser sends it.
fn event(dice: &mut Dice, person: u64, place: usize) -> Value {
    const PAGES: [&str; 5] = ["plans", "docs/quick-start", "customers", "integrations", "security"];
    let page = dice.pick(&PAGES);
    json!({
        "type": "track",
        "messageId": format!("ajs-next-{:016x}-{place}", dice.roll()),
        "timestamp": format!("2026-07-21T09:{:02}:{:02}.{:03}Z", dice.below(60), dice.below(60), dice.below(1000)),
        "userId": format!("u-{person}"),
        "anonymousId": format!("{:08x}-7c1d-4f0e-9a55-{:012x}", dice.below(1 << 32), person),
        "event": "Plan Compared",
        "properties": {
            "url": format!("https://www.northwind-looms.example/{page}?ref=menu"), "path": format!("/{page}"), "title": "Compare plans – Northwind Looms",
            "plan": "growth", "seats": dice.below(500), "annual": dice.chance(50), "price": 49.5,
        },
        "context": {
            "locale": "en-GB", "sessionId": 1_784_600_000_000_u64 + dice.below(1_000_000),
            "library": {"name": "analytics.js", "version": "next-1.70.0"},
            "page": {"path": format!("/{page}"), "referrer": "https://search.example/"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        },
    })
}

/// Whole requests, ready to be written.
fn requests(count: usize, identities: u64) -> Vec<Vec<u8>> {
    let mut dice = Dice(640);
    let request = |_| {
        let first = dice.below(100_000);
        let batch: Vec<Value> = (0..EVENTS_PER_BATCH).map(|place| event(&mut dice, first + place as u64 % identities, place)).collect();
        let body = json!({"batch": batch, "sentAt": "2026-07-21T10:00:00.000Z"}).to_string();
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {AUTHORIZATION}\r\ncontent-type: application/json\r\n\
             user-agent: bench/1\r\naccept: */*\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    };
    (0..count).map(request).collect()
}

/// Sends `count` requests over all connections and waits for all answers.
async fn drive(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, count: usize) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (requests, next) = (Arc::clone(requests), Arc::clone(&next));
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut buffer = vec![0; 4096];
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                stream.write_all(&requests[n % requests.len()]).await?;
                answered(&mut stream, &mut buffer).await?;
            }
        });
    }
    while let Some(done) = connections.join_next().await {
        done?.and_then(|()| anyhow::Ok(()))?;
    }
    Ok(())
}

/// Reads one answer, which must be 200.
async fn answered(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the server closed the connection");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("an answer without length")?;
        if body.len() >= length.parse()? {
            ensure!(head.starts_with("HTTP/1.1 200") && body == r#"{"success":true}"#, "answered {text}");
            return Ok(());
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ the servers

/// A server process, which ends when its standard input does.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str, dir: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", kind, "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("no output")?);
        let mut server = Self { child, input, output: BufReader::new(output), address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        server.address = server.line()?.parse().context("no address")?;
        Ok(server)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Lets it end; answers how many messages it stored.
    fn stop(mut self) -> anyhow::Result<usize> {
        self.input = None;
        let stored = self.line()?.parse()?;
        self.child.wait()?;
        Ok(stored)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells the parent where, waits until it closes our input.
async fn until_told(address: SocketAddr) -> anyhow::Result<()> {
    println!("{address}");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
    Ok(())
}

#[tokio::main]
async fn serve_harpoon() -> anyhow::Result<()> {
    harpoon::serve::init_tracing("warn,harpoon=info,dispatch=info,dynoxide=error")?;
    let dir = text_argument("dir").context("--dir is missing")?;
    let dir = Path::new(&dir);
    let clock = SharedClock(Arc::new(SystemClock));
    let (_embedded, store) = EmbeddedStore::open(&dir.join("harpoon.db"), "harpoon-").await?;
    let queues = LocalQueues::open(&dir.join("queues.db"), Arc::clone(&clock.0))?;
    let credential = Credential {
        workspace: WorkspaceId::new("main")?,
        kind: CredentialKind::WriteKey,
        name: "bench".to_owned(),
        created_at: Timestamp::from_millis(0),
        revoked_at: None,
    };
    Credentials::new(store.clone(), clock.clone()).put(WRITE_KEY, &credential).await?;
    let ingester = Arc::new(ingest::Ingester::new(store.clone(), queues.queue("resolve"), clock.clone(), SystemEntropy));
    let tracking: server::Tracking = Arc::new(move |request, peer| {
        let ingester = Arc::clone(&ingester);
        async move { ingester.handle(request, peer).await }.boxed()
    });
    let api = api::router(api::Api::new(store, FileKeySecrets::new(&[7; 32]), clock, queues.queue("score")));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(server::serve(listener, server::routes(tracking, api), std::future::pending().boxed().shared()));
    until_told(address).await?;
    println!("{}", queues.depth("resolve").await?.visible);
    Ok(())
}

#[tokio::main]
async fn serve_bare(parse: fn(&[u8]) -> bool) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| answer(request, parse));
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
            });
        }
    });
    until_told(address).await?;
    println!("0");
    Ok(())
}

async fn answer(request: Request<Incoming>, parse: fn(&[u8]) -> bool) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let valid = request.into_body().collect().await.is_ok_and(|body| parse(&body.to_bytes()));
    let mut response = Response::new(Full::new(bytes::Bytes::from_static(br#"{"success":true}"#)));
    if !valid {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// The usual way: structs that own what they hold, and maps for what is free.
fn parse_typed(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Batch {
        batch: Vec<Call>,
        #[serde(rename = "sentAt")]
        _sent_at: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Call {
        r#type: String,
        message_id: String,
        user_id: Option<String>,
        anonymous_id: Option<String>,
        event: Option<String>,
        timestamp: Option<String>,
        #[serde(default)]
        properties: Map<String, Value>,
        #[serde(default)]
        context: Map<String, Value>,
    }
    let Ok(batch) = serde_json::from_slice::<Batch>(body) else { return false };
    let valid = batch.batch.iter().all(|call| {
        std::hint::black_box((&call.properties, &call.context));
        valid(
            &call.r#type,
            &call.message_id,
            call.user_id.as_deref(),
            call.anonymous_id.as_deref(),
            call.event.as_deref(),
            call.timestamp.as_deref(),
        )
    });
    valid && !batch.batch.is_empty()
}

/// The least that can be done: everything borrowed, free objects only skipped over.
fn parse_borrowed(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<Call<'a>>,
        #[serde(rename = "sentAt")]
        _sent_at: IgnoredAny,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Call<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        message_id: Cow<'a, str>,
        #[serde(borrow)]
        user_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        anonymous_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        event: Option<Cow<'a, str>>,
        #[serde(borrow)]
        timestamp: Option<Cow<'a, str>>,
        #[serde(borrow)]
        properties: Option<&'a RawValue>,
        #[serde(borrow)]
        context: Option<&'a RawValue>,
    }
    let Ok(batch) = serde_json::from_slice::<Batch<'_>>(body) else { return false };
    let valid = batch.batch.iter().all(|call| {
        std::hint::black_box((call.properties, call.context));
        valid(
            &call.r#type,
            &call.message_id,
            call.user_id.as_deref(),
            call.anonymous_id.as_deref(),
            call.event.as_deref(),
            call.timestamp.as_deref(),
        )
    });
    valid && !batch.batch.is_empty()
}

fn valid(kind: &str, id: &str, user: Option<&str>, anonymous: Option<&str>, event: Option<&str>, at: Option<&str>) -> bool {
    let given = |text: Option<&str>| text.is_some_and(|text| !text.is_empty() && text.len() <= 512);
    let known = matches!(kind, "track" | "identify" | "page" | "screen" | "group" | "alias");
    let named = kind != "track" || given(event);
    known
        && named
        && !id.is_empty()
        && id.len() < 100
        && (given(user) || given(anonymous))
        && at.is_none_or(|at| Timestamp::parse(at).is_some())
}

// --------------------------------------------------------------------------------------------------------- the comparison

/// Microseconds of core time that a fresh server spends on a request.
fn measure(kind: &str, requests: &Arc<Vec<Vec<u8>>>, warm_up: usize, count: usize) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(kind, dir.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(server.address, requests, warm_up))?;
    let before = process_time(server.child.id())?;
    let began = std::time::Instant::now();
    runtime.block_on(drive(server.address, requests, count))?;
    let spent = (process_time(server.child.id())? - before).as_secs_f64();
    eprintln!(
        "{kind}: {:.1} µs of core time a request, {:.0} requests/s",
        spent * 1e6 / count as f64,
        count as f64 / began.elapsed().as_secs_f64()
    );
    let stored = server.stop()?;
    let expected = if kind == "harpoon" { warm_up + count } else { 0 };
    ensure!(stored == expected, "{stored} of {expected} messages are in the queue");
    Ok(spent * 1e6 / count as f64)
}

fn compare() -> anyhow::Result<()> {
    let (runs, count, warm_up) = (argument("runs", 7), argument("requests", 30_000), argument("warm-up", 3_000));
    let identities = argument("identities", 1);
    let requests = Arc::new(requests(512, identities));
    let bytes = requests.iter().map(Vec::len).sum::<usize>() / requests.len() / EVENTS_PER_BATCH;
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for kind in ["harpoon", "bare", "bare-borrowed"] {
        let requests = &requests;
        contestants.push((kind, Box::new(move || measure(kind, requests, warm_up, count))));
    }
    if let Some(only) = text_argument("only") {
        contestants.retain(|(name, _)| *name == only);
    }
    let series = alternate(runs, &mut contestants)?;
    let ours = series.first().context("nothing was measured")?.median();
    let words = |kind: &str| match kind {
        "harpoon" => "Harpoon: authenticated, validated, packed, on the disk",
        "bare" => "bare hyper, typed structs (`String`, `Map<String, Value>`)",
        _ => "bare hyper, everything borrowed, free objects skipped (`&RawValue`)",
    };
    let rows = contestants
        .iter()
        .zip(&series)
        .map(|((kind, _), series)| vec![words(kind).to_owned(), series.to_string(), format!("{:.2}×", series.median() / ours)]);
    let mut notes = Vec::new();
    if let [_, typed, borrowed] = series.as_slice() {
        notes.push(format!(
            "**Ratio: {:.2}×** (must ≥ 0.4×, aim ≥ 0.7×) against typed structs; {:.2}× against the borrowed ones.",
            typed.median() / ours,
            borrowed.median() / ours
        ));
    }
    notes.push(format!(
        "User and system time of all threads of the server process, read from `/proc/<pid>/stat`. {runs} runs in turn, each a fresh process on an empty data directory, {count} requests after {warm_up} that do not count."
    ));
    let report = Report {
        title: "Ingest against a bare endpoint".to_owned(),
        data: format!(
            "batches of {EVENTS_PER_BATCH} track calls of {bytes} bytes, {identities} identities a batch, {CONNECTIONS} connections, loopback"
        ),
        command: "cargo bench -p harpoon-tests --bench ingest".to_owned(),
        columns: ["", "µs of core time per request, median (least – most)", "ratio to Harpoon"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
        notes,
    };
    println!("{report}");
    Ok(())
}
