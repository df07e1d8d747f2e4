//! What the adapters do with answers that the embedded database never gives: canned answers over a socket.

use aws::{AwsClients, DeadQueue, SqsParkedMessages};
use domain::Timestamp;
use harpoon_tests::contracts::queue::message;
use pipeline::{AccountScored, Consistency, Key, Queue, QueueError, Store, StoreError, Table, messages};
use serde_json::{Value, json};
use std::{
    error::Error,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// Answers requests one after the other and remembers them: the operation and the body.
struct Canned {
    url: String,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Canned {
    async fn new(answers: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(BufReader::new(stream), Arc::clone(&answers), Arc::clone(&seen)));
            }
        });
        Self { url, requests }
    }

    fn clients(&self) -> AwsClients {
        AwsClients::at(&self.url)
    }

    fn requests(&self) -> Vec<(String, Value)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(
    mut stream: BufReader<TcpStream>,
    answers: Arc<Mutex<std::vec::IntoIter<(u16, Value)>>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
) {
    loop {
        let (mut target, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => target = value.trim().to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        seen.lock().unwrap().push((target, serde_json::from_slice(&body).unwrap()));
        let Some((status, body)) = answers.lock().unwrap().next() else { return };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} -\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

fn stored(sk: &str) -> Value {
    json!({ "pk": { "S": "p" }, "sk": { "S": sk }, "v": { "N": "1" }, "d": { "S": "{}" } })
}

fn named(sk: &str) -> Value {
    json!({ "pk": { "S": "p" }, "sk": { "S": sk } })
}

#[tokio::test]
async fn keys_that_a_batch_read_left_out_are_asked_for_again() {
    let canned = Canned::new(vec![
        (
            200,
            json!({
                "Responses": { "h-accounts": [stored("a")] },
                "UnprocessedKeys": { "h-accounts": { "ConsistentRead": true, "Keys": [named("b")] } }
            }),
        ),
        (200, json!({ "Responses": { "h-accounts": [stored("b")] }, "UnprocessedKeys": {} })),
    ])
    .await;
    let keys = [Key::new(Table::Accounts, "p", "a"), Key::new(Table::Accounts, "p", "b")];
    let found = canned.clients().store("h-").read_many(&keys, Consistency::Strong).await.unwrap();
    assert_eq!(found.iter().map(|item| item.key.sk.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let requests = canned.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].0, "DynamoDB_20120810.BatchGetItem");
    assert_eq!(requests[1].1["RequestItems"]["h-accounts"], json!({ "ConsistentRead": true, "Keys": [named("b")] }));
}

#[tokio::test]
async fn a_transaction_that_met_another_one_is_busy_and_one_that_failed_a_condition_a_conflict() {
    let cancelled = |codes: [&str; 2]| {
        let reasons: Vec<Value> = codes.iter().map(|code| json!({ "Code": code })).collect();
        (400, json!({ "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "CancellationReasons": reasons }))
    };
    let canned =
        Canned::new(vec![cancelled(["None", "TransactionConflict"]), cancelled(["TransactionConflict", "ConditionalCheckFailed"])]).await;
    let store = canned.clients().store("h-");
    let keys = ["a", "b"].map(|sk| Key::new(Table::Accounts, "p", sk));
    let writes = || keys.iter().map(|key| pipeline::Write::Delete(key.clone(), pipeline::Condition::Version(1))).collect();
    let busy = store.transact(writes()).await;
    assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");
    let conflict = store.transact(writes()).await;
    assert!(matches!(&conflict, Err(StoreError::Conflict { key }) if **key == keys[1]), "{conflict:?}");
}

#[tokio::test]
async fn an_attribute_that_is_not_ours_is_reported_as_corrupt() {
    let canned = Canned::new(vec![(200, json!({ "Item": { "pk": { "S": "p" }, "sk": { "S": "s" }, "v": { "N": "1.5" } } }))]).await;
    let read = canned.clients().store("h-").read(&Key::new(Table::Config, "p", "s"), Consistency::Strong).await;
    assert!(matches!(&read, Err(StoreError::Corrupt { key, .. }) if key.sk == "s"), "{read:?}");
}

fn sent(id: &str) -> Value {
    json!({ "Id": id, "MessageId": format!("m-{id}"), "MD5OfMessageBody": "" })
}

#[tokio::test]
async fn messages_that_sqs_left_out_are_sent_again_and_no_others() {
    let left_out = json!({ "Id": "1", "SenderFault": false, "Code": "InternalError" });
    let canned = Canned::new(vec![
        (200, json!({ "Successful": [sent("0"), sent("2")], "Failed": [left_out] })),
        (200, json!({ "Successful": [sent("0")], "Failed": [] })),
    ])
    .await;
    let queue = canned.clients().queue::<AccountScored>(&canned.url);
    let all = ["a", "b", "c"].map(message);
    queue.send(all.to_vec()).await.unwrap();
    let bodies: Vec<Vec<AccountScored>> = canned
        .requests()
        .iter()
        .map(|(_, request)| request["Entries"].as_array().unwrap().clone())
        .map(|entries| entries.iter().map(|entry| messages::decode(entry["MessageBody"].as_str().unwrap()).unwrap()).collect())
        .collect();
    assert_eq!(bodies, [all.to_vec(), vec![all[1].clone()]]);
}

#[tokio::test]
async fn a_message_that_sqs_calls_our_fault_is_refused() {
    let fault = json!({ "Id": "0", "SenderFault": true, "Code": "InvalidMessageContents" });
    let canned = Canned::new(vec![(200, json!({ "Successful": [], "Failed": [fault] }))]).await;
    let refused = canned.clients().queue::<AccountScored>(&canned.url).send(vec![message("a")]).await;
    assert!(matches!(&refused, Err(QueueError::Refused { reason }) if reason == "InvalidMessageContents"), "{refused:?}");
}

#[tokio::test]
async fn nothing_to_send_calls_nobody_and_an_oversize_message_neither() {
    let canned = Canned::new(Vec::new()).await;
    let queue = canned.clients().queue::<AccountScored>(&canned.url);
    queue.send(Vec::new()).await.unwrap();
    harpoon_tests::contracts::queue::an_oversize_message_is_refused(&queue).await;
    assert!(canned.requests().is_empty());
}

#[tokio::test]
async fn a_parked_message_carries_its_reason_and_stage() {
    let canned = Canned::new(vec![(200, json!({ "MessageId": "m", "MD5OfMessageBody": "" }))]).await;
    canned.clients().dead_queue(&canned.url, 5).park("the body", "line one\nline two", "score").await.unwrap();
    let (target, request) = canned.requests().remove(0);
    assert_eq!(target, "AmazonSQS.SendMessage");
    assert_eq!(request["MessageBody"], "the body");
    assert_eq!(request["MessageAttributes"]["reason"], json!({ "DataType": "String", "StringValue": "line one line two" }));
    assert_eq!(request["MessageAttributes"]["stage"]["StringValue"], "score");
}

/// A message as SQS gives it out of a dead queue.
fn parked(id: &str, sent_at: &str, reason: Option<&str>) -> Value {
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let attributes = reason.map_or_else(|| json!({}), |reason| json!({ "reason": text(reason), "stage": text("score") }));
    json!({
        "MessageId": id, "ReceiptHandle": format!("r-{id}"), "Body": format!("body of {id}"), "MD5OfBody": "",
        "Attributes": { "SentTimestamp": sent_at, "ApproximateReceiveCount": "1" }, "MessageAttributes": attributes,
    })
}

fn received(messages: &[Value]) -> (u16, Value) {
    (200, json!({ "Messages": messages }))
}

fn queue_url(name: &str) -> (u16, Value) {
    (200, json!({ "QueueUrl": format!("https://queue.example/{name}") }))
}

const DONE: (u16, Value) = (200, Value::Null);

/// Answers for the two queues of score, then these.
async fn dead_queue_of_score(answers: Vec<(u16, Value)>) -> (Canned, SqsParkedMessages) {
    let empty = |(status, body): (u16, Value)| (status, if body.is_null() { json!({}) } else { body });
    let urls = [queue_url("harpoon-score"), queue_url("harpoon-score-dead")];
    let canned = Canned::new(urls.into_iter().chain(answers.into_iter().map(empty)).collect()).await;
    let queue = canned.clients().parked_messages("harpoon-", "score").await.unwrap();
    (canned, queue)
}

/// The operations after the first two, with the place of the message that each is about, and its queue.
fn story(canned: &Canned) -> Vec<String> {
    let requests = canned.requests();
    let told = requests.iter().skip(2).map(|(target, request)| {
        let operation = target.strip_prefix("AmazonSQS.").unwrap();
        let queue = request["QueueUrl"].as_str().unwrap().strip_prefix("https://queue.example/harpoon-").unwrap();
        let about: Vec<&str> = match operation {
            "SendMessage" => vec![request["MessageBody"].as_str().unwrap()],
            "DeleteMessage" => vec![request["ReceiptHandle"].as_str().unwrap()],
            "ChangeMessageVisibilityBatch" => {
                let mut receipts: Vec<&str> =
                    request["Entries"].as_array().unwrap().iter().map(|entry| entry["ReceiptHandle"].as_str().unwrap()).collect();
                assert!(request["Entries"].as_array().unwrap().iter().all(|entry| entry["VisibilityTimeout"] == 0));
                receipts.sort_unstable();
                receipts
            }
            _ => Vec::new(),
        };
        format!("{operation} {queue} {}", about.join(" ")).trim_end().to_owned()
    });
    told.collect()
}

#[tokio::test]
async fn parked_messages_are_listed_with_their_reasons_and_given_back() {
    let (canned, queue) = dead_queue_of_score(vec![
        received(&[parked("a", "1000", Some("why")), parked("b", "2000", None)]),
        received(&[parked("a", "1000", Some("why"))]),
        DONE,
    ])
    .await;
    let found = queue.list(100).await.unwrap();
    let told: Vec<_> = found.iter().map(|message| (message.id.as_str(), message.reason.as_deref(), message.stage.as_deref())).collect();
    assert_eq!(told, [("b", None, None), ("a", Some("why"), Some("score"))]);
    assert_eq!(found[0].sent_at, Some(Timestamp::from_millis(2_000)));
    let names: Vec<String> =
        canned.requests().iter().take(2).map(|(_, request)| request["QueueName"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["harpoon-score", "harpoon-score-dead"]);
    assert_eq!(
        story(&canned),
        ["ReceiveMessage score-dead", "ReceiveMessage score-dead", "ChangeMessageVisibilityBatch score-dead r-a r-b"]
    );
}

#[tokio::test]
async fn redriving_sends_before_it_deletes_and_leaves_what_failed_again() {
    let (canned, queue) =
        dead_queue_of_score(vec![received(&[parked("a", "1000", None), parked("new", "6000", None)]), DONE, DONE, received(&[]), DONE])
            .await;
    assert_eq!(queue.redrive(None, Timestamp::from_millis(5_000)).await.unwrap(), 1);
    assert_eq!(
        story(&canned),
        [
            "ReceiveMessage score-dead",
            "SendMessage score body of a",
            "DeleteMessage score-dead r-a",
            "ReceiveMessage score-dead",
            "ChangeMessageVisibilityBatch score-dead r-new",
        ]
    );
}

#[tokio::test]
async fn one_message_is_redriven_by_its_id_and_a_second_time_nothing_is() {
    let (canned, queue) = dead_queue_of_score(vec![
        received(&[parked("a", "1000", None), parked("b", "1000", None), parked("c", "1000", None)]),
        DONE,
        DONE,
        DONE,
        received(&[parked("a", "1000", None), parked("c", "1000", None)]),
        received(&[]),
        DONE,
    ])
    .await;
    let now = Timestamp::from_millis(5_000);
    assert_eq!(queue.redrive(Some("b"), now).await.unwrap(), 1);
    assert_eq!(queue.redrive(Some("b"), now).await.unwrap(), 0);
    assert_eq!(
        story(&canned),
        [
            "ReceiveMessage score-dead",
            "SendMessage score body of b",
            "DeleteMessage score-dead r-b",
            "ChangeMessageVisibilityBatch score-dead r-a r-c",
            "ReceiveMessage score-dead",
            "ReceiveMessage score-dead",
            "ChangeMessageVisibilityBatch score-dead r-a r-c",
        ]
    );
}

#[tokio::test]
async fn a_message_that_can_not_be_sent_back_stays_parked() {
    let refused = (400, json!({ "__type": "com.amazonaws.sqs#AccessDenied", "message": "not authorized to perform: sqs:sendmessage" }));
    let (canned, queue) = dead_queue_of_score(vec![received(&[parked("a", "1000", None)]), refused, DONE]).await;
    let error = queue.redrive(None, Timestamp::from_millis(5_000)).await.unwrap_err();
    let said = error.source().unwrap().to_string();
    assert!(said.contains("harpoon-score`") && said.contains("AccessDenied: not authorized"), "{said}");
    assert_eq!(story(&canned), ["ReceiveMessage score-dead", "SendMessage score body of a", "ChangeMessageVisibilityBatch score-dead r-a"]);
}

#[tokio::test]
async fn a_parked_message_is_found_by_its_id() {
    let (_canned, queue) =
        dead_queue_of_score(vec![received(&[parked("a", "1000", None), parked("b", "1000", None)]), DONE, received(&[]), DONE]).await;
    assert_eq!(queue.find("b").await.unwrap().unwrap().body, "body of b");
    assert_eq!(queue.find("z").await.unwrap(), None);
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_named() {
    let missing = (400, json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist." }));
    let canned = Canned::new(vec![missing]).await;
    let error = canned.clients().parked_messages("staging-", "score").await.unwrap_err();
    let said = error.source().unwrap().to_string();
    assert_eq!(said, "queue `staging-score` in `us-east-1`: QueueDoesNotExist: The specified queue does not exist.");
}
