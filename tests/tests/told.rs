//! What a deployment's log tells whoever asks why an event did not score, and how many messages came to what.

use aws::{MemoryDeadQueue, SqsRecord, handle_sqs_counting, sqs_event};
use domain::{BatchId, Event, Timestamp};
use harpoon_tests::world::{World, home, track};
use pipeline::{Counter, Counters, EventsReceived, Store, homes::put_due, messages};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The lines that resolve writes while it works on these messages, each in an invocation of its own, and what it counted.
fn told(world: &World, given: &[EventsReceived]) -> (Vec<serde_json::Value>, Vec<(Counter, u64)>) {
    let (log, counters) = (Log::default(), Counters::counting());
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            for message in given {
                let body = messages::encode(message).unwrap();
                let sent_at = Timestamp::default();
                let record = SqsRecord { message_id: "q".to_owned(), receipt: "r".to_owned(), body, receive_count: 1, sent_at };
                let event = sqs_event("resolve", [record]);
                let dead = MemoryDeadQueue::default();
                let response = handle_sqs_counting(&world.resolver, event, &world.to_resolve, &dead, &counters).await;
                assert!(response.batch_item_failures.is_empty() && dead.parked().is_empty());
            }
        });
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), counters.take().collect())
}

fn duplicates(lines: &[serde_json::Value]) -> Vec<(&str, &str)> {
    let repeated = lines.iter().filter(|line| line["why"] == "duplicate");
    repeated.map(|line| (line["event.id"].as_str().unwrap(), line["correlation.id"].as_str().unwrap())).collect()
}

fn view(world: &World, id: &str) -> Event {
    track(id, "u-1", "Page View", world.now()).build()
}

fn message(world: &World, batch: BatchId, ids: &[&str]) -> EventsReceived {
    world.message_as(batch, ids.iter().map(|id| view(world, id)).collect())
}

#[test]
fn an_event_that_was_counted_before_is_told_by_its_id_and_its_batch() {
    let world = World::new();
    let batch = |random: u128| BatchId::new(world.now(), random << 60);
    let (first, second) = (batch(1), batch(2));
    let (lines, _) = told(&world, &[message(&world, first, &["m-1", "m-2"]), message(&world, second, &["m-2", "m-3", "m-3"])]);
    let second = second.to_string();
    assert_eq!(duplicates(&lines), [("m-2", second.as_str()), ("m-3", second.as_str())]);
}

#[test]
fn a_message_that_comes_again_is_no_duplicate_of_itself() {
    let world = World::new();
    let batch = world.batch_id();
    let once = message(&world, batch, &["m-1", "m-2"]);
    let (lines, counted) = told(&world, &[once.clone(), once]);
    assert_eq!(duplicates(&lines), []);
    assert_eq!(counted, [(Counter::MessagesDone, 2)]);
}

#[test]
fn the_line_of_a_message_names_the_batch_that_ingest_named() {
    let world = World::new();
    let batch = world.batch_id();
    let (lines, _) = told(&world, &[message(&world, batch, &["m-1"])]);
    let done: Vec<_> = lines.iter().filter(|line| line["outcome"] == "done").collect();
    assert_eq!(done.len(), 1);
    assert_eq!(done[0]["correlation.id"], batch.to_string());
    assert_eq!(done[0]["message.id"], "q");
}

#[tokio::test]
async fn what_is_due_is_counted() {
    let world = World::new();
    for account in ["northwind-looms.example", "harborlight.example"] {
        let due = put_due(&world.workspace, &home(account).unwrap(), world.now(), 0).unwrap();
        world.store.write(due).await.unwrap();
    }
    world.clock.advance(domain::DAY_MS);
    let counters = Counters::counting();
    let (store, score, dispatch) = (Arc::clone(&world.store), Arc::clone(&world.to_score), Arc::clone(&world.to_dispatch));
    let rescorer = rescore::Rescorer::new(store, score, dispatch, Arc::clone(&world.clock)).with_counters(counters.clone());
    rescorer.run().await.unwrap();
    assert_eq!(counters.take().collect::<Vec<_>>(), [(Counter::AccountsDue, 2)]);
}
