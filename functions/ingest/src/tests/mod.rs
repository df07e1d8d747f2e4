//! The whole function against the in-memory adapters.

mod files;
mod packing;
mod secrecy;
mod told;

use super::*;
use base64::Engine;
use domain::{BatchId, IdentityKind};
use http::StatusCode;
use pipeline::{
    Credential, ManualClock, Parcel, StoreError,
    clock::CountingEntropy,
    memory::{MemoryQueue, MemoryStore},
    messages,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

const NOW: &str = "2026-03-02T09:00:00.000Z";
const KEY: &str = "wk_northwind";

type Sample = Ingester<Arc<MemoryStore>, Arc<MemoryQueue>, Arc<ManualClock>, CountingEntropy>;

struct World {
    ingester: Sample,
    store: Arc<MemoryStore>,
    queue: Arc<MemoryQueue>,
    clock: Arc<ManualClock>,
}

fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Two workspaces with a write key each, an API token, and a key that was revoked.
async fn world() -> World {
    let store = Arc::new(MemoryStore::default());
    let queue = Arc::new(MemoryQueue::default());
    let clock = Arc::new(ManualClock::at(moment(NOW)));
    let credentials = Credentials::new(store.clone(), clock.clone());
    for (secret, workspace, kind, revoked_at) in [
        (KEY, "northwind", CredentialKind::WriteKey, None),
        ("wk_harborlight", "harborlight", CredentialKind::WriteKey, None),
        ("at_northwind", "northwind", CredentialKind::ApiToken, None),
        ("wk_revoked", "northwind", CredentialKind::WriteKey, Some(moment(NOW))),
    ] {
        let workspace = WorkspaceId::new(workspace).unwrap();
        let credential = Credential { workspace, kind, name: secret.to_owned(), created_at: moment(NOW), revoked_at };
        credentials.put(secret, &credential).await.unwrap();
    }
    let ingester = Ingester::new(store.clone(), queue.clone(), clock.clone(), CountingEntropy::default());
    World { ingester, store, queue, clock }
}

fn basic(key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")))
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(path).header("authorization", basic(KEY)).body(body.into()).unwrap()
}

fn parsed(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn track(user: &str, n: usize) -> Value {
    json!({"type": "track", "event": "Page View", "userId": user, "messageId": format!("{user}-{n}")})
}

impl World {
    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.ingester.handle(request, Some("203.0.113.7".parse().unwrap())).await
    }

    /// Everything that was queued since the last look, after checking what every message must keep to.
    fn queued(&self) -> Vec<EventsReceived> {
        let bodies = self.queue.take_bodies();
        assert!(bodies.iter().all(|body| body.len() <= messages::MAX_MESSAGE_BYTES));
        let queued: Vec<EventsReceived> = bodies.iter().map(|body| messages::decode(body).unwrap()).collect();
        let batches: BTreeSet<BatchId> = queued.iter().map(|message| message.batch).collect();
        assert_eq!(batches.len(), queued.len(), "each message has a batch id of its own");
        for message in &queued {
            let identities: BTreeSet<_> = message.parcels.iter().map(|parcel| &parcel.identity).collect();
            assert_eq!(identities.len(), message.parcels.len(), "one parcel per identity and message");
        }
        queued
    }
}

fn events(queued: &[EventsReceived]) -> Vec<&Event> {
    queued.iter().flat_map(|message| &message.parcels).flat_map(|parcel| &parcel.events).collect()
}

#[tokio::test]
async fn a_call_becomes_one_message() {
    let world = world().await;
    let body = json!({"userId": "u-1", "event": "Demo Requested", "messageId": "m-1", "properties": {"plan": "gold"}});
    let answer = world.send(post("/v1/track", body.to_string())).await;
    assert_eq!((answer.status(), parsed(&answer)), (StatusCode::OK, json!({"success": true})));
    let queued = world.queued();
    let [message] = queued.as_slice() else { panic!("{queued:?}") };
    assert_eq!(message.workspace.as_str(), "northwind");
    assert_eq!(message.received_at, moment(NOW));
    assert_eq!(message.batch.at(), moment(NOW));
    let [Parcel { identity, events }] = message.parcels.as_slice() else { panic!() };
    assert_eq!((identity.kind, identity.value.as_str()), (IdentityKind::User, "u-1"));
    assert_eq!(events[0].message_id.as_str(), "m-1");
    assert_eq!(events[0].ip.as_deref(), Some("203.0.113.7"));
}

#[tokio::test]
async fn the_workspace_comes_from_the_key_wherever_the_key_is() {
    let world = world().await;
    let body = |key: &str| json!({"userId": "u", "event": "x", "writeKey": key, "workspace": "northwind"}).to_string();
    let in_body = Request::post("/v1/track").body(body("wk_harborlight").into()).unwrap();
    assert_eq!(world.send(in_body).await.status(), 200);
    assert_eq!(world.queued()[0].workspace.as_str(), "harborlight");
    // The header wins.
    assert_eq!(world.send(post("/v1/track", body("wk_harborlight"))).await.status(), 200);
    assert_eq!(world.queued()[0].workspace.as_str(), "northwind");
    // What is no Basic authorization is overlooked.
    let bearer = Request::post("/v1/track").header("authorization", "Bearer abc").body(body(KEY).into()).unwrap();
    assert_eq!(world.send(bearer).await.status(), 200);
    let batch = json!({"batch": [track("u", 1)], "writeKey": "wk_harborlight"}).to_string();
    assert_eq!(world.send(Request::post("/v1/batch").body(batch.into()).unwrap()).await.status(), 200);
    assert_eq!(world.queued()[1].workspace.as_str(), "harborlight");
}

#[tokio::test]
async fn only_a_valid_write_key_opens() {
    let world = world().await;
    for key in ["wk_nobody", "at_northwind", "wk_revoked", "x".repeat(600).as_str()] {
        let request = Request::post("/v1/track").header("authorization", basic(key)).body("{".into()).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.status(), 401, "{key}");
        assert!(!String::from_utf8_lossy(answer.body()).contains(key), "the key is not echoed");
    }
    // Padding, letter case and a password make no difference.
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(format!("{KEY}:secret"));
    let request = Request::post("/v1/track")
        .header("authorization", format!("bASIC  {encoded}"))
        .body(r#"{"userId":"u","event":"x"}"#.into())
        .unwrap();
    assert_eq!(world.send(request).await.status(), 200);
}

#[tokio::test]
async fn the_short_paths_are_the_long_ones() {
    let world = world().await;
    let body = json!({"userId": "u", "event": "x", "groupId": "g", "previousId": "p", "account_id": "a"}).to_string();
    for (short, long) in [("t", "track"), ("i", "identify"), ("p", "page"), ("s", "screen"), ("g", "group"), ("a", "alias")] {
        for path in [format!("/v1/{short}"), format!("/v1/{long}"), format!("/v1/{long}/")] {
            assert_eq!(world.send(post(&path, body.clone())).await.status(), 200, "{path}");
            let queued = world.queued();
            let kind = serde_json::to_value(events(&queued)[0].kind).unwrap();
            assert_eq!(kind, json!(long));
        }
    }
    let batch = json!({"batch": [track("u", 1)]}).to_string();
    for path in ["/v1/b", "/v1/batch"] {
        assert_eq!(world.send(post(path, batch.clone())).await.status(), 200);
    }
}

#[tokio::test]
async fn every_answer_may_be_read_by_any_page() {
    let world = world().await;
    for request in [
        post("/v1/track", r#"{"userId":"u","event":"x"}"#),
        post("/v1/track", "{"),
        post("/v1/nothing", "{}"),
        Request::put("/v1/track").body(Bytes::new()).unwrap(),
        Request::post("/v1/track").body("{}".into()).unwrap(),
        post("/v1/track", "x".repeat(40_000)),
        Request::builder().method("OPTIONS").uri("/v1/t").body(Bytes::new()).unwrap(),
        Request::get(format!("/v1/projects/{KEY}/settings")).header("host", "track.example").body(Bytes::new()).unwrap(),
    ] {
        let answer = world.send(request).await;
        assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{}", answer.status());
        if !answer.status().is_success() {
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let problem = parsed(&answer);
            assert_eq!(problem["status"], answer.status().as_u16());
            for member in ["type", "title", "detail"] {
                assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()));
            }
        }
    }
}

#[tokio::test]
async fn a_preflight_allows_what_the_browser_asks_for() {
    let world = world().await;
    let request = Request::builder()
        .method("OPTIONS")
        .uri("/v1/batch")
        .header("origin", "https://www.northwind-looms.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-custom")
        .body(Bytes::new())
        .unwrap();
    let answer = world.send(request).await;
    assert_eq!(answer.status(), 204);
    assert!(answer.body().is_empty());
    assert_eq!(answer.headers()["access-control-allow-headers"], "authorization,content-type,x-custom");
    assert_eq!(answer.headers()["access-control-allow-methods"], "GET, POST, OPTIONS");
    assert_eq!(answer.headers()["access-control-max-age"], "86400");
    let plain = Request::builder().method("OPTIONS").uri("/v1/batch").body(Bytes::new()).unwrap();
    let allowed = world.send(plain).await.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"));
}

#[tokio::test]
async fn the_browser_library_is_told_to_send_here() {
    let world = world().await;
    let ask = |headers: &[(&str, &str)], key: &str| {
        let mut request = Request::get(format!("/v1/projects/{key}/settings"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::new()).unwrap()
    };
    let told = parsed(&world.send(ask(&[("host", "127.0.0.1:8787")], KEY)).await);
    let integration = &told["integrations"]["Segment.io"];
    assert_eq!(
        (&integration["apiKey"], &integration["apiHost"], &integration["protocol"]),
        (&json!(KEY), &json!("127.0.0.1:8787/v1"), &json!("http"))
    );
    let told = parsed(&world.send(ask(&[("host", "track.example"), ("x-forwarded-proto", "https")], KEY)).await);
    assert_eq!(told["integrations"]["Segment.io"]["protocol"], "https");
    assert_eq!(world.send(ask(&[("host", "track.example")], "wk_nobody")).await.status(), 401);
    // Without a host the library would fall back to its maker's.
    assert_eq!(world.send(ask(&[], KEY)).await.status(), 400);
    assert_eq!(world.send(ask(&[("host", "evil.example/\"x")], KEY)).await.status(), 400);

    let behind = World {
        ingester: Ingester::new(world.store.clone(), world.queue.clone(), world.clock.clone(), CountingEntropy::default())
            .with_public_url(Url::parse("https://data.brightforge.example/in/").ok()),
        ..world
    };
    let told = parsed(&behind.send(ask(&[("host", "internal")], KEY)).await);
    assert_eq!(told["integrations"]["Segment.io"]["apiHost"], "data.brightforge.example/in/v1");
    assert_eq!(told["integrations"]["Segment.io"]["protocol"], "https");
}

#[tokio::test]
async fn the_wrong_method_is_told_the_right_one() {
    let world = world().await;
    let get = world.send(Request::get("/v1/track").body(Bytes::new()).unwrap()).await;
    assert_eq!((get.status(), &get.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST, OPTIONS".parse().unwrap()));
    let post = world.send(post("/v1/projects/wk/settings", "")).await;
    assert_eq!((post.status(), &post.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"GET, OPTIONS".parse().unwrap()));
    for path in ["/", "/v1", "/v1/", "/v2/track", "/v1/track/x", "/v1/projects//settings", "/v1/projects/a/b/settings", "/V1/track"] {
        let answer = world.send(Request::post(path).body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_bad_item_fails_nobody_else() {
    let world = world().await;
    let batch = json!({"batch": [track("u", 1), {"type": "track", "userId": "u"}, "x", track("v", 1), {"type": "dance"}]});
    let answer = world.send(post("/v1/batch", batch.to_string())).await;
    assert_eq!(answer.status(), 200);
    let told = parsed(&answer);
    let places: Vec<_> = told["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["index"].as_u64().unwrap(), item["pointer"].as_str().unwrap()))
        .collect();
    assert_eq!(places, [(1, "/event"), (2, ""), (4, "/type")]);
    let queued = world.queued();
    assert_eq!(events(&queued).len(), 2);
    let kept: Vec<_> = queued.iter().flat_map(|message| &message.rejected).collect();
    assert_eq!(kept.iter().map(|item| item.index).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(kept[0].item, json!({"type": "track", "userId": "u"}));
    assert_eq!(kept[0].reason, told["rejected"][0]["reason"].as_str().unwrap());
}

#[tokio::test]
async fn a_batch_of_bad_items_is_taken_for_the_log() {
    let world = world().await;
    let answer = world.send(post("/v1/batch", r#"{"batch":[1,null,{}]}"#)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(parsed(&answer)["rejected"].as_array().unwrap().len(), 3);
    let queued = world.queued();
    assert_eq!((queued.len(), queued[0].parcels.len(), queued[0].rejected.len()), (1, 0, 3));
}

#[tokio::test]
async fn ids_made_here_are_all_different() {
    let world = world().await;
    let nameless = json!({"type": "track", "event": "x", "userId": "u"});
    for _ in 0..2 {
        world.send(post("/v1/batch", json!({"batch": [nameless, nameless]}).to_string())).await;
        world.send(post("/v1/track", nameless.to_string())).await;
    }
    let queued = world.queued();
    let ids: BTreeSet<_> = events(&queued).iter().map(|event| event.message_id.clone()).collect();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn half_a_megabyte_of_one_user_is_cut_and_counted_once() {
    let world = world().await;
    // 512,000 bytes are allowed: items are added until the next one would pass that.
    let filler = "x".repeat(1_000);
    let item = |n: usize| json!({"type": "track", "event": "Page View", "userId": "u-1", "messageId": format!("m-{n:04}"), "properties": {"filler": filler}});
    let count = (512_000 - 20) / (item(0).to_string().len() + 1);
    let body = json!({"batch": (0..count).map(item).collect::<Vec<_>>()}).to_string();
    assert!(body.len() > 510_000 && body.len() <= 512_000, "{}", body.len());
    assert_eq!(world.send(post("/v1/batch", body)).await.status(), 200);
    let queued = world.queued();
    assert!(queued.len() >= 8, "{} messages", queued.len());
    let ids: Vec<_> = events(&queued).iter().map(|event| event.message_id.as_str().to_owned()).collect();
    let expected: Vec<_> = (0..count).map(|n| format!("m-{n:04}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn sizes_are_exact() {
    let world = world().await;
    let sized = |size: usize| {
        let empty = r#"{"userId":"u","event":"x","properties":{"a":""}}"#;
        empty.replace("\"a\":\"\"", &format!("\"a\":\"{}\"", "y".repeat(size - empty.len())))
    };
    assert_eq!(world.send(post("/v1/track", sized(32_768))).await.status(), 200);
    assert_eq!(world.send(post("/v1/track", sized(32_769))).await.status(), 413);
    let padded = |size: usize| {
        let body = json!({"batch": [track("u", 1)]}).to_string();
        let gap = " ".repeat(size - body.len());
        format!("{body}{gap}")
    };
    assert_eq!(world.send(post("/v1/batch", padded(512_000))).await.status(), 200);
    assert_eq!(world.send(post("/v1/batch", padded(512_001))).await.status(), 413);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn gzipped(path: &str, body: Vec<u8>) -> Request<Bytes> {
    let mut request = post(path, body);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    request
}

#[tokio::test]
async fn gzip_is_read_and_bombs_are_not() {
    let world = world().await;
    let body = json!({"batch": [track("u", 1), track("u", 2)]}).to_string();
    let packed = gzip(body.as_bytes());
    assert_eq!(world.send(gzipped("/v1/batch", packed.clone())).await.status(), 200);
    assert_eq!(events(&world.queued()).len(), 2);
    for end in 0..packed.len() {
        let answer = world.send(gzipped("/v1/batch", packed[..end].to_vec())).await;
        assert_eq!(answer.status(), 400, "cut after {end} bytes");
    }
    let mut trailing = packed.clone();
    trailing.extend(b"trailing");
    assert_eq!(world.send(gzipped("/v1/batch", trailing)).await.status(), 400);
    // A hundred megabytes of blanks in a hundred kilobytes.
    let bomb = gzip(&vec![b' '; 100_000_000]);
    assert!(bomb.len() < 500_000);
    assert_eq!(world.send(gzipped("/v1/batch", bomb)).await.status(), 413);
    let long = gzip(&vec![b' '; 40_000]);
    assert_eq!(world.send(gzipped("/v1/track", long)).await.status(), 413);
    assert!(world.queued().is_empty());
    let mut other = post("/v1/batch", body);
    other.headers_mut().insert("content-encoding", "br".parse().unwrap());
    assert_eq!(world.send(other).await.status(), 400);
}

/// Fails as often as it is told, and then takes everything.
#[derive(Default)]
struct Faulty {
    failures: std::sync::atomic::AtomicUsize,
    inner: MemoryQueue,
}

impl Queue<EventsReceived> for Faulty {
    async fn send(&self, messages: Vec<EventsReceived>) -> Result<(), QueueError> {
        use std::sync::atomic::Ordering;
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            // Some of it goes through: nobody may take the error for "nothing was sent".
            self.inner.send(messages.into_iter().take(1).collect()).await?;
            return Err(QueueError::Unavailable { source: "the network is down".into() });
        }
        self.inner.send(messages).await
    }
}

#[tokio::test]
async fn a_queue_that_fails_is_no_200_and_the_retry_carries_the_same_ids() {
    let world = world().await;
    let queue = Arc::new(Faulty { failures: 1.into(), ..Faulty::default() });
    let ingester = Ingester::new(world.store.clone(), queue.clone(), world.clock.clone(), CountingEntropy::default());
    let batch =
        json!({"batch": (0..300).map(|n| track("u-1", n)).chain((0..300).map(|n| track("u-2", n))).collect::<Vec<_>>()}).to_string();
    let answer = ingester.handle(post("/v1/batch", batch.clone()), None).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let first = queue.inner.take::<EventsReceived>();
    assert_eq!(ingester.handle(post("/v1/batch", batch), None).await.status(), 200);
    let second = queue.inner.take::<EventsReceived>();
    let batches: BTreeSet<_> = first.iter().chain(&second).map(|message| message.batch).collect();
    assert_eq!(batches.len(), first.len() + second.len(), "a retry never reuses a batch id");
    assert_eq!(events(&second).len(), 600);
}

/// A store that never answers.
struct Dead;

impl Store for Dead {
    async fn read(&self, _: &pipeline::Key, _: pipeline::Consistency) -> Result<Option<pipeline::Item>, StoreError> {
        Err(StoreError::Unavailable { source: "no route".into() })
    }
    async fn read_many(&self, _: &[pipeline::Key], _: pipeline::Consistency) -> Result<Vec<pipeline::Item>, StoreError> {
        Err(StoreError::Unavailable { source: "no route".into() })
    }
    async fn query(&self, _: &pipeline::Query) -> Result<pipeline::Page, StoreError> {
        Err(StoreError::Unavailable { source: "no route".into() })
    }
    async fn scan(&self, _: &pipeline::Scan) -> Result<pipeline::ScanPage, StoreError> {
        Err(StoreError::Unavailable { source: "no route".into() })
    }
    async fn write(&self, _: pipeline::Write) -> Result<(), StoreError> {
        Err(StoreError::Unavailable { source: "no route".into() })
    }
    async fn transact(&self, _: Vec<pipeline::Write>) -> Result<(), StoreError> {
        Err(StoreError::Unavailable { source: "no route".into() })
    }
}

#[tokio::test]
async fn a_store_that_fails_is_no_wrong_key() {
    let queue = Arc::new(MemoryQueue::default());
    let ingester = Ingester::new(Dead, queue.clone(), Arc::new(ManualClock::at(moment(NOW))), CountingEntropy::default());
    let answer = ingester.handle(post("/v1/track", r#"{"userId":"u","event":"x"}"#), None).await;
    assert_eq!((answer.status(), queue.is_empty()), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn an_address_that_was_mapped_into_ipv6_is_written_as_ipv4() {
    let world = world().await;
    let request = post("/v1/track", r#"{"userId":"u","event":"x"}"#);
    world.ingester.handle(request, Some("::ffff:203.0.113.9".parse().unwrap())).await;
    let mut request = post("/v1/track", r#"{"userId":"u","event":"x"}"#);
    request.headers_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
    world.ingester.handle(request, None).await;
    let queued = world.queued();
    let ips: Vec<_> = events(&queued).iter().map(|event| event.ip.clone()).collect();
    assert_eq!(ips, [Some("203.0.113.9".to_owned()), None]);
}

#[tokio::test]
async fn health_reports_of_the_browser_library_are_ignored() {
    let world = world().await;
    let answer = world.send(Request::post("/v1/m").body(r#"{"series":[]}"#.into()).unwrap()).await;
    assert_eq!((answer.status(), world.queue.is_empty()), (StatusCode::OK, true));
}
