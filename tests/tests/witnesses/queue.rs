//! An SQS queue of one's own, and its clauses. Harpoon never receives by itself, Lambda does that for it; so what makes, receives and
//! deletes speaks SQS's protocol here.

use crate::witness::{endpoint, name};
use aws::{AwsClients, SqsQueue};
use bytes::Bytes;
use harpoon_tests::contracts::queue;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pipeline::{AccountScored, messages};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Who asks: stand-ins read the service and the region here, and check no signature.
const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-target, Signature=none";

/// A queue of one's own.
pub struct Queue {
    endpoint: String,
    url: String,
    sender: SqsQueue<AccountScored>,
}

impl Queue {
    /// On the witness whose address is in this environment variable.
    pub async fn at(variable: &str) -> Self {
        let endpoint = endpoint(variable);
        let made = ask(&endpoint, "CreateQueue", json!({ "QueueName": name() })).await;
        let url = made["QueueUrl"].as_str().unwrap().to_owned();
        Self { sender: AwsClients::at(&endpoint).queue(&url), endpoint, url }
    }

    /// Receives and deletes everything that waits.
    async fn drain(&self) -> Vec<AccountScored> {
        let mut all = Vec::new();
        loop {
            let received = ask(&self.endpoint, "ReceiveMessage", json!({ "QueueUrl": self.url, "MaxNumberOfMessages": 10 })).await;
            let Some(messages) = received["Messages"].as_array().filter(|messages| !messages.is_empty()) else { return all };
            let entry = |(n, message): (usize, &Value)| json!({ "Id": n.to_string(), "ReceiptHandle": message["ReceiptHandle"] });
            let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
            let deleted = ask(&self.endpoint, "DeleteMessageBatch", json!({ "QueueUrl": self.url, "Entries": entries })).await;
            assert_eq!(deleted["Successful"].as_array().map(Vec::len), Some(messages.len()), "{deleted}");
            all.extend(messages.iter().map(|message| messages::decode::<AccountScored>(message["Body"].as_str().unwrap()).unwrap()));
        }
    }
}

/// Asks SQS for an operation.
async fn ask(endpoint: &str, operation: &str, body: Value) -> Value {
    let authority = endpoint.strip_prefix("http://").unwrap().trim_end_matches('/');
    let stream = TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/")
        .header(header::HOST, authority)
        .header(header::AUTHORIZATION, AUTHORIZATION)
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
        .header("x-amz-target", format!("AmazonSQS.{operation}"));
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let (answer, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(answer.status.is_success(), "{operation}: {} {}", answer.status, String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// Of the clauses, this one alone shows nothing of the witness: the adapter refuses before it asks anybody.
pub async fn an_oversize_message_is_refused(queue: &Queue) {
    queue::an_oversize_message_is_refused(&queue.sender).await;
}

pub async fn everything_sent_is_delivered(queue: &Queue) {
    queue::everything_sent_is_delivered(&queue.sender, async || queue.drain().await).await;
}

pub async fn concurrent_senders_lose_nothing(queue: &Queue) {
    queue::concurrent_senders_lose_nothing(&queue.sender, async || queue.drain().await).await;
}
