//! Everything in one process: what a person on one machine starts.

use crate::place::eventually;
use harpoon::{
    local::{Local, Options},
    runner::EVENT_SOURCES,
};
use pipeline::{Consistency, Store, records};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends one request and reads the whole answer.
async fn call(local: &Local, head: &str, body: &[u8]) -> String {
    let host = local.base_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!("{head}\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Sends a call with the write key in the body, as the browser library does.
async fn track(local: &Local, path: &str, call: serde_json::Value) -> String {
    let mut call = call;
    call["writeKey"] = local.write_key.clone().into();
    self::call(local, &format!("POST {path} HTTP/1.1\r\ncontent-type: application/json"), call.to_string().as_bytes()).await
}

async fn is_quiet(local: &Local) -> bool {
    for source in EVENT_SOURCES {
        let depth = local.queues.depth(source.stage).await.unwrap();
        assert_eq!(depth.dead, 0, "{}: {:?}", source.stage, local.queues.dead(source.stage, 3).await.unwrap());
        if depth.visible + depth.hidden > 0 {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracking_call_becomes_an_account_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    let traits = serde_json::json!({ "email": "ada@northwind-looms.com" });
    let answer = track(&local, "/v1/identify", serde_json::json!({ "userId": "ada", "traits": traits })).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let workspace = domain::WorkspaceId::new("main").unwrap();
    let claim = records::domain_key(&workspace, "northwind-looms.com");
    eventually("the event went through every stage", async || is_quiet(&local).await).await;
    assert!(local.store.read(&claim, Consistency::Strong).await.unwrap().is_some());
    let keys = (local.write_key.clone(), local.api_token.clone());
    local.shutdown().await;

    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    assert_eq!((local.write_key.clone(), local.api_token.clone()), keys);
    assert!(local.store.read(&claim, Consistency::Strong).await.unwrap().is_some());
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_queued_when_it_stopped_goes_on_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    for n in 0..20 {
        let traits = serde_json::json!({ "email": format!("ada@loom-{n}.com") });
        track(&local, "/v1/identify", serde_json::json!({ "userId": format!("ada-{n}"), "traits": traits })).await;
    }
    local.shutdown().await;
    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    eventually("every event went through every stage", async || is_quiet(&local).await).await;
    let workspace = domain::WorkspaceId::new("main").unwrap();
    for n in 0..20 {
        let claim = records::domain_key(&workspace, &format!("loom-{n}.com"));
        assert!(local.store.read(&claim, Consistency::Strong).await.unwrap().is_some(), "loom-{n}.com");
    }
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_answered_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    let head = "POST /v1/batch HTTP/1.1\r\ncontent-type: application/json";
    let answer = call(&local, head, &vec![b' '; 3 * 1024 * 1024]).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(is_quiet(&local).await);
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_keys_are_the_ones_that_open() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { write_key: Some("fixed-key".to_owned()), ..Options::in_dir(dir.path()) };
    let local = Local::start(options).await.unwrap();
    assert_eq!(local.write_key, "fixed-key");
    let event = serde_json::json!({ "userId": "ada", "event": "Page Viewed" });
    assert!(track(&local, "/v1/track", event.clone()).await.starts_with("HTTP/1.1 200 "));
    let stranger = serde_json::json!({ "userId": "ada", "event": "Page Viewed", "writeKey": "another" }).to_string();
    let answer = call(&local, "POST /v1/track HTTP/1.1\r\ncontent-type: application/json", stranger.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_unknown_addresses_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    assert!(call(&local, "GET /healthz HTTP/1.1", b"").await.starts_with("HTTP/1.1 200 "));
    let unknown = call(&local, "GET /nothing/here HTTP/1.1", b"").await;
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_and_a_directory_in_use_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
    let twice = Local::start(Options::in_dir(dir.path())).await.unwrap_err().to_string();
    assert!(twice.contains("another harpoon is using the data directory") && twice.contains("HARPOON_DATA_DIR"), "{twice}");

    let elsewhere = tempfile::tempdir().unwrap();
    let address = local.base_url.strip_prefix("http://").unwrap().parse().unwrap();
    let taken = Local::start(Options { address, ..Options::in_dir(elsewhere.path()) }).await.unwrap_err().to_string();
    assert!(taken.contains(&format!("port {}", address.port())) && taken.contains("HARPOON_PORT"), "{taken}");
    local.shutdown().await;
    // Both are free again.
    Local::start(Options { address, ..Options::in_dir(dir.path()) }).await.unwrap().shutdown().await;
}
