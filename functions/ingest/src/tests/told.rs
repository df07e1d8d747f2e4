//! What people who run a deployment are told: health, counters, and which events were refused.

use super::*;
use pipeline::{Counter, Counters};
use secrecy::{Log, block_on};

#[tokio::test]
async fn the_health_is_good_while_keys_can_be_looked_up() {
    let world = world().await;
    let get = || Request::get("/v1/health").body(Bytes::new()).unwrap();
    let answer = world.send(get()).await;
    assert_eq!((answer.status(), parsed(&answer)), (StatusCode::OK, json!({ "status": "ok" })));
    let ingester = Ingester::new(Dead, world.queue.clone(), world.clock.clone(), CountingEntropy::default());
    let answer = ingester.handle(get(), None).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(parsed(&answer)["detail"], "write keys can't be looked up; the log says why");
    let posted = world.send(post("/v1/health", "")).await;
    assert_eq!((posted.status(), &posted.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"GET, OPTIONS".parse().unwrap()));
}

#[tokio::test]
async fn events_are_counted_once_the_queue_has_them() {
    let counters = Counters::counting();
    let counted = || counters.take().collect::<Vec<_>>();
    let world = world().await;
    let ingester = Ingester::new(world.store.clone(), world.queue.clone(), world.clock.clone(), CountingEntropy::default());
    let ingester = ingester.with_counters(counters.clone());
    let batch = json!({"batch": [track("u", 1), {"type": "track", "userId": "u"}, "x", track("v", 1)]});
    ingester.handle(post("/v1/batch", batch.to_string()), None).await;
    assert_eq!(counted(), [(Counter::EventsAccepted, 2), (Counter::EventsRejected, 2)]);
    ingester.handle(post("/v1/track", track("u", 2).to_string()), None).await;
    assert_eq!(counted(), [(Counter::EventsAccepted, 1)]);
    ingester.handle(post("/v1/track", r#"{"userId":"u"}"#), None).await;
    assert_eq!(counted(), [(Counter::EventsRejected, 1)]);
    let queue = Faulty { failures: 1.into(), ..Faulty::default() };
    let failing = Ingester::new(world.store.clone(), queue, world.clock.clone(), CountingEntropy::default());
    failing.with_counters(counters.clone()).handle(post("/v1/batch", batch.to_string()), None).await;
    assert_eq!(counted(), []);
}

#[test]
fn a_refused_event_is_found_in_the_log_by_its_id_with_the_field_at_fault() {
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || to.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        block_on(async {
            let world = world().await;
            let bad = json!({"type": "track", "messageId": "m-bad", "userId": "hidden-user"});
            world.send(post("/v1/batch", json!({"batch": [track("u", 1), bad]}).to_string())).await;
            world.send(post("/v1/track", r#"{"messageId":"m-worse","event":"hidden-event"}"#)).await;
        });
    });
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("an event was refused")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("event.id=\"m-bad\"") && lines[0].contains("why=\"rejected: /event\""), "{text}");
    assert!(lines[1].contains("event.id=\"m-worse\"") && lines[1].contains("why=\"rejected: /userId\""), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}
