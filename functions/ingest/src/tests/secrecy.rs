//! Nothing that a client sent reaches the logs, and nothing that it sends makes ingest fail.

use super::*;
use proptest::prelude::*;
use std::{io, sync::Mutex};

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn logs_hold_counts_and_none_of_what_was_sent() {
    let log = Log::default();
    let to = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(move || to.clone()).finish();
    let secret = json!({"type": "identify", "userId": "secret-user", "messageId": "secret-id", "traits": {"email": "secret@brightforge-systems.com"}});
    tracing::subscriber::with_default(subscriber, || {
        block_on(async {
            let world = world().await;
            let agent = |mut request: Request<Bytes>| {
                request.headers_mut().insert("user-agent", "secret-agent/1".parse().unwrap());
                request
            };
            let bad = json!({"type": "track", "userId": "secret-user", "event": {"secret": 1}});
            world.send(agent(post("/v1/identify", secret.to_string()))).await;
            world.send(agent(post("/v1/batch", json!({"batch": [secret, bad]}).to_string()))).await;
            world.send(agent(post("/v1/track", r#"{"userId":"secret-user","event":"#))).await;
            world.send(agent(post("/v1/track?secret=1", bad.to_string()))).await;
            world.send(Request::post("/v1/track").header("authorization", basic("secret-key")).body(Bytes::new()).unwrap()).await;
            world.send(Request::get("/v1/projects/secret-key/settings").body(Bytes::new()).unwrap()).await;
            let queue = Faulty { failures: 1.into(), ..Faulty::default() };
            let failing = Ingester::new(world.store.clone(), queue, world.clock.clone(), CountingEntropy::default());
            failing.handle(post("/v1/identify", secret.to_string()), "203.0.113.7".parse().ok()).await;
            let dead = Ingester::new(Dead, world.queue.clone(), world.clock.clone(), CountingEntropy::default());
            dead.handle(post("/v1/identify", secret.to_string()), "203.0.113.7".parse().ok()).await;
        });
    });
    let text = log.text();
    assert_eq!(text.matches("answered a tracking request").count(), 8, "{text}");
    for expected in [
        "stage=\"ingest\"",
        "workspace.id=northwind",
        "events=1",
        "rejected=1",
        "correlation.id=",
        "problem=\"malformed-body\"",
        "the network is down",
        "no route",
    ] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    for hidden in ["secret", KEY, "203.0.113.7"] {
        assert!(!text.contains(hidden), "{hidden} is in {text}");
    }
}

proptest! {
    #[test]
    fn no_request_makes_ingest_fail(
        path in prop_oneof![Just("/v1/track".to_owned()), Just("/v1/batch".to_owned()), Just("/v1/projects/wk/settings".to_owned()), "/[a-z0-9/]{0,20}"],
        method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "PUT", "DELETE"]),
        encoding in prop::option::of(prop::sample::select(vec!["gzip", "identity", "br", ""])),
        authorization in prop::option::of("[ -~]{0,40}"),
        known in any::<bool>(),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), "[\\[\\]{}\",:a-z0-9 ]{0,300}".prop_map(String::into_bytes)],
    ) {
        let mut request = Request::builder().method(method).uri(&path);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        if known {
            request = request.header("authorization", basic(KEY));
        } else if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Bytes::from(body)).unwrap();
        let answer = block_on(async { world().await.send(request).await });
        prop_assert!(matches!(answer.status().as_u16(), 200 | 204 | 400 | 401 | 404 | 405 | 413), "{}", answer.status());
        prop_assert_eq!(&answer.headers()["access-control-allow-origin"], "*");
    }
}
