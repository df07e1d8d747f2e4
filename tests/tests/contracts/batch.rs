//! How a batch of records becomes outcomes.

use aws::{DeadQueue, MemoryDeadQueue, SqsBatchResponse, SqsEvent, SqsRecord, handle_sqs, handle_sqs_counting, sqs_event};
use domain::Timestamp;
use harpoon_tests::contracts::queue::message;
use pipeline::{
    AccountScored, Counter, Counters, Outcome, Queue, QueueError, Received, Stage, StageError,
    memory::MemoryQueue,
    messages,
    store::{Key, StoreError, Table},
};
use std::sync::Mutex;

/// A stage that does what the account's name says, and remembers what it was given.
#[derive(Default)]
struct Obedient {
    calls: Mutex<Vec<Vec<(String, u32)>>>,
}

fn account(message: &AccountScored) -> String {
    message.homes[0].account().unwrap().as_str().to_owned()
}

impl Stage for Obedient {
    const NAME: &'static str = "level";
    type Input = AccountScored;

    async fn handle(&self, batch: Vec<Received<AccountScored>>) -> Vec<Outcome<AccountScored>> {
        let seen = batch.iter().map(|received| (account(&received.message), received.receive_count)).collect();
        self.calls.lock().unwrap().push(seen);
        batch
            .iter()
            .filter_map(|received| match account(&received.message).as_str() {
                "reject" => Some(Outcome::Failed(StageError::Reject { reason: "the account is closed".to_owned() })),
                "retry" => {
                    let key = Box::new(Key::new(Table::Accounts, "p", "s"));
                    Some(Outcome::Failed(StoreError::Conflict { key }.into()))
                }
                "split" => {
                    let reject = vec![(message("bad"), "one item is bad".to_owned())];
                    Some(Outcome::Split { retry: vec![message("half-1"), message("half-2")], reject })
                }
                "panic" => panic!("as told"),
                "silent" => None,
                _ => Some(Outcome::Done),
            })
            .collect()
    }
}

fn record(id: &str, body: String, receive_count: u32) -> SqsRecord {
    SqsRecord { message_id: id.to_owned(), receipt: format!("r-{id}"), body, receive_count, sent_at: Timestamp::from_millis(0) }
}

fn event(accounts: &[&str]) -> SqsEvent {
    sqs_event("level", accounts.iter().map(|account| record(account, messages::encode(&message(account)).unwrap(), 1)))
}

fn failed(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

struct Run {
    stage: Obedient,
    own: MemoryQueue,
    dead: MemoryDeadQueue,
}

impl Run {
    fn new() -> Self {
        Self { stage: Obedient::default(), own: MemoryQueue::default(), dead: MemoryDeadQueue::default() }
    }

    async fn of(&self, event: SqsEvent) -> SqsBatchResponse {
        handle_sqs(&self.stage, event, &self.own, &self.dead).await
    }

    fn calls(&self) -> Vec<Vec<(String, u32)>> {
        self.stage.calls.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_batch_is_handled_in_one_call_and_acknowledged_when_done() {
    let run = Run::new();
    let response = run.of(event(&["a", "b", "c"])).await;
    assert!(failed(&response).is_empty());
    assert_eq!(run.calls().iter().map(Vec::len).collect::<Vec<_>>(), [3]);
    assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[]}"#);
}

#[tokio::test]
async fn an_event_as_lambda_sends_it_is_understood() {
    let body = messages::encode(&message("a")).unwrap();
    let event = serde_json::json!({ "Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "4", "SentTimestamp": "1545082649183", "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185"
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
        "awsRegion": "us-east-2"
    }] });
    let run = Run::new();
    assert!(failed(&run.of(serde_json::from_value(event).unwrap()).await).is_empty());
    assert_eq!(run.calls(), [[("a".to_owned(), 4)]]);
}

#[tokio::test]
async fn an_empty_event_calls_nothing() {
    let run = Run::new();
    assert!(failed(&run.of(SqsEvent::default()).await).is_empty());
    assert!(run.calls().is_empty());
}

#[tokio::test]
async fn a_malformed_record_is_parked_and_its_neighbours_go_on() {
    let run = Run::new();
    let good = messages::encode(&message("a")).unwrap();
    let bodies = [
        "no json, from ada@northwind-looms.com".to_owned(),
        good.clone(),
        String::new(),
        r#"{"type":"AccountTouched","version":1,"body":{}}"#.to_owned(),
        r#"{"type":"AccountScored","version":1,"body":{"workspace":"main"}}"#.to_owned(),
        r#"{"type":"AccountScored","version":1,"body":{"workspace":"main","homes":"ada@northwind-looms.com"}}"#.to_owned(),
        r#"{"type":"AccountScored","version":9,"body":{}}"#.to_owned(),
        good,
    ];
    let records = bodies.iter().enumerate().map(|(n, body)| record(&n.to_string(), body.clone(), 1));
    let response = run.of(sqs_event("level", records)).await;
    assert!(failed(&response).is_empty());
    assert_eq!(run.calls().iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    let parked = run.dead.parked();
    let expected = [
        (0, "the body is no AccountScored message: expected ident at line 1 column 2"),
        (2, "the body is no AccountScored message: EOF while parsing a value at line 1 column 0"),
        (3, "expected a AccountScored message, got `AccountTouched`"),
        (4, "the body is no AccountScored message: missing field `homes` at line 1 column 63"),
        (5, "the body is no AccountScored message: a value of another type than expected at line 1 column 96"),
        (6, "message version 9 is newer than 1; deploy the newer build before it is redriven"),
    ];
    for (parked, (n, reason)) in parked.iter().zip(expected) {
        assert_eq!((parked.body.as_str(), parked.reason.as_str(), parked.stage.as_str()), (bodies[n].as_str(), reason, "level"));
    }
    assert_eq!(parked.len(), expected.len());
}

#[tokio::test]
async fn only_what_is_worth_retrying_is_reported() {
    let run = Run::new();
    let response = run.of(event(&["a", "retry", "reject", "b"])).await;
    assert_eq!(failed(&response), ["retry"]);
    let parked = run.dead.parked();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].reason, "the account is closed");
    assert_eq!(messages::decode::<AccountScored>(&parked[0].body).unwrap(), message("reject"));
}

#[tokio::test]
async fn a_split_message_is_replaced_by_its_parts() {
    let run = Run::new();
    let response = run.of(event(&["split"])).await;
    assert!(failed(&response).is_empty());
    assert_eq!(run.own.take::<AccountScored>(), [message("half-1"), message("half-2")]);
    let parked = run.dead.parked();
    assert_eq!((parked.len(), parked[0].reason.as_str()), (1, "one item is bad"));
    assert_eq!(messages::decode::<AccountScored>(&parked[0].body).unwrap(), message("bad"));
}

#[tokio::test]
async fn every_outcome_is_counted() {
    let run = Run::new();
    let counters = Counters::counting();
    let batch = event(&["a", "retry", "reject", "b", "split"]);
    handle_sqs_counting(&run.stage, batch, &run.own, &run.dead, &counters).await;
    let malformed = sqs_event("level", [record("m", "{".to_owned(), 1)]);
    handle_sqs_counting(&run.stage, malformed, &run.own, &run.dead, &counters).await;
    // Parked are `reject`, a part of `split`, and what is no message.
    assert_eq!(
        counters.take().collect::<Vec<_>>(),
        [(Counter::MessagesDone, 2), (Counter::MessagesRetried, 1), (Counter::MessagesSplit, 1), (Counter::MessagesParked, 3),]
    );
    handle_sqs_counting(&run.stage, event(&["reject"]), &run.own, &Closed, &counters).await;
    assert_eq!(counters.take().collect::<Vec<_>>(), [(Counter::MessagesRetried, 1)]);
}

/// A queue that takes nothing.
struct Closed;

impl Queue<AccountScored> for Closed {
    async fn send(&self, _: Vec<AccountScored>) -> Result<(), QueueError> {
        Err(QueueError::Unavailable { source: "closed".into() })
    }
}

impl DeadQueue for Closed {
    async fn park(&self, _: &str, _: &str, _: &str) -> Result<(), QueueError> {
        Err(QueueError::Unavailable { source: "closed".into() })
    }
}

#[tokio::test]
async fn what_no_queue_takes_is_not_acknowledged() {
    let (stage, dead) = (Obedient::default(), MemoryDeadQueue::default());
    let response = handle_sqs(&stage, event(&["a", "split"]), &Closed, &dead).await;
    assert_eq!(failed(&response), ["split"]);
    let response = handle_sqs(&stage, event(&["a", "split", "reject"]), &MemoryQueue::default(), &Closed).await;
    assert_eq!(failed(&response), ["split", "reject"]);
    let malformed = sqs_event("level", [record("m", "{".to_owned(), 1)]);
    assert_eq!(failed(&handle_sqs(&stage, malformed, &MemoryQueue::default(), &Closed).await), ["m"]);
}

#[tokio::test]
async fn a_panic_over_one_message_does_not_fail_the_others() {
    let run = Run::new();
    let response = run.of(event(&["a", "panic", "reject"])).await;
    assert_eq!(failed(&response), ["panic"]);
    assert_eq!(run.dead.parked().len(), 1);
    assert_eq!(run.calls().iter().map(Vec::len).collect::<Vec<_>>(), [3, 1, 1, 1]);
}

#[tokio::test]
async fn a_message_without_an_outcome_is_reported() {
    let run = Run::new();
    assert_eq!(failed(&run.of(event(&["a", "silent"])).await), ["silent"]);
}

/// A dead queue that takes messages at the third attempt.
#[derive(Default)]
struct AfterThree(MemoryDeadQueue);

impl DeadQueue for AfterThree {
    async fn park(&self, body: &str, reason: &str, stage: &str) -> Result<(), QueueError> {
        self.0.park(body, reason, stage).await
    }

    fn max_receives(&self) -> Option<u32> {
        Some(3)
    }
}

#[tokio::test]
async fn at_the_last_attempt_a_failing_message_is_parked_with_its_error() {
    let (stage, own, dead) = (Obedient::default(), MemoryQueue::default(), AfterThree::default());
    let attempt = |count| sqs_event("level", [record("m", messages::encode(&message("retry")).unwrap(), count)]);
    assert_eq!(failed(&handle_sqs(&stage, attempt(2), &own, &dead).await), ["m"]);
    assert!(dead.0.parked().is_empty());
    assert!(failed(&handle_sqs(&stage, attempt(3), &own, &dead).await).is_empty());
    assert_eq!(dead.0.parked()[0].reason, "failed 3 times, at last: the item `p` / `s` is not as the write expected");
}
