//! The queue contract over each adapter, and what the local queues owe the runner and the operator.

use crate::place::{Place, QUEUE};
use aws::DeadQueue;
use harpoon::local_queue::{Delivered, Depth, LocalQueues};
use harpoon_tests::contracts::queue::{self, message};
use pipeline::{AccountScored, Queue, memory::MemoryQueue, messages};
use std::time::Duration;

const VISIBILITY: Duration = Duration::from_secs(60);
const MAX_RECEIVES: u32 = 3;

async fn receive(queues: &LocalQueues, max: usize) -> Vec<Delivered> {
    queues.receive(QUEUE, max, VISIBILITY, MAX_RECEIVES).await.unwrap().messages
}

/// Receives and deletes everything that is visible.
async fn drain(queues: &LocalQueues) -> Vec<AccountScored> {
    let mut all = Vec::new();
    loop {
        let delivered = receive(queues, 100).await;
        if delivered.is_empty() {
            return all;
        }
        queues.delete(delivered.iter().map(|message| message.receipt).collect()).await.unwrap();
        all.extend(delivered.iter().map(|message| messages::decode::<AccountScored>(&message.body).unwrap()));
    }
}

async fn send(place: &Place, accounts: &[&str]) {
    place.queues.queue(QUEUE).send(accounts.iter().map(|account| message(account)).collect()).await.unwrap();
}

fn depth(visible: u64, hidden: u64, dead: u64) -> Depth {
    Depth { visible, hidden, dead }
}

mod over_memory {
    use super::*;

    #[tokio::test]
    async fn everything_sent_is_delivered() {
        let memory = MemoryQueue::default();
        queue::everything_sent_is_delivered(&memory, async || memory.take()).await;
    }

    #[tokio::test]
    async fn concurrent_senders_lose_nothing() {
        let memory = MemoryQueue::default();
        queue::concurrent_senders_lose_nothing(&memory, async || memory.take()).await;
    }

    #[tokio::test]
    async fn an_oversize_message_is_refused() {
        queue::an_oversize_message_is_refused(&MemoryQueue::default()).await;
    }
}

mod over_a_file {
    use super::*;

    #[tokio::test]
    async fn everything_sent_is_delivered() {
        let place = Place::new();
        queue::everything_sent_is_delivered(&place.queues.queue(QUEUE), async || drain(&place.queues).await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn concurrent_senders_lose_nothing() {
        let place = Place::new();
        queue::concurrent_senders_lose_nothing(&place.queues.queue(QUEUE), async || drain(&place.queues).await).await;
    }

    #[tokio::test]
    async fn an_oversize_message_is_refused() {
        queue::an_oversize_message_is_refused(&Place::new().queues.queue(QUEUE)).await;
    }
}

#[tokio::test]
async fn a_received_message_is_hidden_until_its_visibility_timeout() {
    let place = Place::new();
    send(&place, &["a"]).await;
    let first = receive(&place.queues, 10).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].receive_count, 1);
    place.clock.advance(59_999);
    assert!(receive(&place.queues, 10).await.is_empty());
    place.clock.advance(1);
    let second = receive(&place.queues, 10).await;
    assert_eq!((second[0].id.as_str(), second[0].receive_count), (first[0].id.as_str(), 2));
    assert_eq!(second[0].sent_at, first[0].sent_at);
}

#[tokio::test]
async fn a_deleted_message_never_comes_again() {
    let place = Place::new();
    send(&place, &["a", "b"]).await;
    let both = receive(&place.queues, 10).await;
    place.queues.delete(vec![both[0].receipt]).await.unwrap();
    place.clock.advance(60_000);
    let again = receive(&place.queues, 10).await;
    assert_eq!(again.iter().map(|message| &message.id).collect::<Vec<_>>(), [&both[1].id]);
}

#[tokio::test]
async fn work_that_outlasted_its_visibility_may_still_be_acknowledged() {
    let place = Place::new();
    send(&place, &["a"]).await;
    let slow = receive(&place.queues, 1).await;
    place.clock.advance(60_000);
    assert_eq!(receive(&place.queues, 1).await.len(), 1);
    place.queues.delete(vec![slow[0].receipt]).await.unwrap();
    assert_eq!(place.queues.depth(QUEUE).await.unwrap(), depth(0, 0, 0));
}

#[tokio::test]
async fn a_deferred_message_comes_when_it_was_told_to() {
    let place = Place::new();
    send(&place, &["a"]).await;
    let first = receive(&place.queues, 1).await;
    place.queues.defer(first[0].receipt, Duration::from_secs(4)).await.unwrap();
    place.clock.advance(3_999);
    let nothing = place.queues.receive(QUEUE, 1, VISIBILITY, MAX_RECEIVES).await.unwrap();
    assert!(nothing.messages.is_empty());
    assert_eq!(nothing.next_at.map(|at| at.millis_since(pipeline::Clock::now(&place.clock))), Some(1));
    place.clock.advance(1);
    assert_eq!(receive(&place.queues, 1).await[0].receive_count, 2);
}

#[tokio::test]
async fn an_old_receipt_does_not_defer_what_somebody_else_holds() {
    let place = Place::new();
    send(&place, &["a"]).await;
    let slow = receive(&place.queues, 1).await;
    place.clock.advance(60_000);
    receive(&place.queues, 1).await;
    place.queues.defer(slow[0].receipt, Duration::ZERO).await.unwrap();
    assert!(receive(&place.queues, 1).await.is_empty());
}

#[tokio::test]
async fn no_more_than_asked_for_is_received_and_those_that_waited_longest_first() {
    let place = Place::new();
    send(&place, &["a"]).await;
    place.clock.advance(1);
    send(&place, &["b", "c"]).await;
    let first = receive(&place.queues, 2).await;
    assert_eq!(first.len(), 2);
    assert!(first[0].body.contains("a:a") && first[1].body.contains("a:b"));
    assert_eq!(receive(&place.queues, 2).await.len(), 1);
}

#[tokio::test]
async fn queues_of_one_file_do_not_mix() {
    let place = Place::new();
    send(&place, &["a"]).await;
    let other = place.queues.receive("level", 10, VISIBILITY, MAX_RECEIVES).await.unwrap();
    assert!(other.messages.is_empty() && other.next_at.is_none());
    assert_eq!(place.queues.redrive("level").await.unwrap(), 0);
    assert_eq!(place.queues.depth(QUEUE).await.unwrap(), depth(1, 0, 0));
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_queue_with_the_reason() {
    let place = Place::new();
    send(&place, &["bad", "good"]).await;
    for attempt in 1..=MAX_RECEIVES {
        for message in receive(&place.queues, 10).await {
            assert_eq!(message.receive_count, attempt);
            if message.body.contains("good") {
                place.queues.delete(vec![message.receipt]).await.unwrap();
            }
        }
        place.clock.advance(60_000);
    }
    assert!(receive(&place.queues, 10).await.is_empty());
    let dead = place.queues.dead(QUEUE, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].body.contains("a:bad"));
    assert_eq!(dead[0].reason, "received 3 times and never acknowledged");
    assert_eq!((dead[0].stage.as_str(), dead[0].receive_count), (QUEUE, 3));
    assert_eq!(place.queues.depth(QUEUE).await.unwrap(), depth(0, 0, 1));
}

#[tokio::test]
async fn worn_out_messages_do_not_keep_others_from_being_received() {
    let place = Place::new();
    send(&place, &["w1", "w2", "w3"]).await;
    for _ in 0..MAX_RECEIVES {
        receive(&place.queues, 3).await;
        place.clock.advance(60_000);
    }
    send(&place, &["fresh"]).await;
    let received = receive(&place.queues, 1).await;
    assert_eq!(received.len(), 1);
    assert!(received[0].body.contains("a:fresh"));
    assert_eq!(place.queues.depth(QUEUE).await.unwrap(), depth(0, 1, 3));
}

#[tokio::test]
async fn a_parked_message_is_listed_with_its_reason_and_comes_back_when_redriven() {
    let place = Place::new();
    let dead = place.queues.dead_queue(QUEUE, MAX_RECEIVES);
    dead.park("the body", "`homes` is empty, name at least one", QUEUE).await.unwrap();
    let listed = place.queues.dead(QUEUE, 10).await.unwrap();
    assert_eq!((listed[0].body.as_str(), listed[0].reason.as_str()), ("the body", "`homes` is empty, name at least one"));
    let place = place.reopened();
    assert_eq!(place.queues.redrive(QUEUE).await.unwrap(), 1);
    let redriven = receive(&place.queues, 10).await;
    assert_eq!((redriven[0].body.as_str(), redriven[0].receive_count), ("the body", 1));
    assert_eq!(place.queues.depth(QUEUE).await.unwrap(), depth(0, 1, 0));
}

#[tokio::test]
async fn everything_is_there_after_the_file_was_closed() {
    let place = Place::new();
    let accounts: Vec<String> = (0..50).map(|n| format!("account-{n}")).collect();
    send(&place, &accounts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let done = receive(&place.queues, 10).await;
    place.queues.delete(done.iter().map(|message| message.receipt).collect()).await.unwrap();
    let place = place.reopened();
    assert_eq!(drain(&place.queues).await.len(), 40);
}

#[tokio::test]
async fn what_a_killed_process_held_comes_at_once_and_does_not_count() {
    let mut place = Place::new();
    send(&place, &["a"]).await;
    // A hundred interruptions are forgiven: a message that is worked on whenever somebody stops the process is not at fault.
    for _ in 0..100 {
        assert_eq!(receive(&place.queues, 1).await[0].receive_count, 1);
        place = place.reopened();
    }
    // Then the message itself is suspected.
    for count in 1..=MAX_RECEIVES {
        assert_eq!(receive(&place.queues, 1).await[0].receive_count, count);
        place = place.reopened();
    }
    assert!(receive(&place.queues, 1).await.is_empty());
    assert_eq!(place.queues.depth(QUEUE).await.unwrap(), depth(0, 0, 1));
}

#[tokio::test]
async fn a_file_that_is_no_queue_file_is_reported_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.db");
    std::fs::write(&file, "this is no database, and long enough to be seen as none".repeat(20)).unwrap();
    let error = LocalQueues::open(&file, crate::place::clock()).unwrap_err();
    assert_eq!(error.to_string(), format!("the queue file `{}` can't be opened", file.display()));
}
