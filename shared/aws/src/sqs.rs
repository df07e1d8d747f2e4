//! The queue ports on SQS.

use crate::{batch::DeadQueue, failed::Failed};
use aws_sdk_sqs::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{MessageAttributeValue, SendMessageBatchRequestEntry},
};
use futures::{StreamExt, TryStreamExt, stream};
use pipeline::{
    Queue, QueueError,
    messages::{self, MAX_MESSAGE_BYTES, Message},
};
use std::{error::Error, fmt, marker::PhantomData, time::Duration};

/// The most messages one call may send.
const ENTRIES_PER_CALL: usize = 10;
/// The most bytes one call may send. SQS takes 1 MiB, some stand-ins only this; each 64 KB is billed as a call anyway.
const BYTES_PER_CALL: usize = 256 * 1024;
/// How many calls of one `send` run at a time.
const CALLS_AT_A_TIME: usize = 4;
/// How often the messages that SQS did not take are sent again.
const ROUNDS: u32 = 4;
/// The longest reason that travels with a parked message, in characters.
const REASON_CHARACTERS: usize = 1_000;

/// Sends messages of one type to an SQS queue.
pub struct SqsQueue<M> {
    client: Client,
    url: String,
    message: PhantomData<fn() -> M>,
}

impl<M> SqsQueue<M> {
    /// To the queue at this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into(), message: PhantomData }
    }
}

impl<M> Clone for SqsQueue<M> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), url: self.url.clone(), message: PhantomData }
    }
}

impl<M> fmt::Debug for SqsQueue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Bodies that fit one call.
fn calls(bodies: Vec<String>) -> Vec<Vec<String>> {
    let mut calls: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        bytes += body.len();
        match calls.last_mut() {
            Some(call) if call.len() < ENTRIES_PER_CALL && bytes <= BYTES_PER_CALL => call.push(body),
            _ => {
                bytes = body.len();
                calls.push(vec![body]);
            }
        }
    }
    calls
}

/// Translates what a request to the queue at this URL failed with.
pub(crate) fn translate<E>(error: &SdkError<E, HttpResponse>, client: &Client, url: &str) -> QueueError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
    // Codes come with and without the prefix of the older protocol.
    match code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(&code) {
        "BatchRequestTooLong" | "InvalidMessageContents" | "MessageTooLong" | "InvalidParameterValue" => {
            QueueError::Refused { reason: error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or(&code).to_owned() }
        }
        _ => QueueError::Unavailable { source: Box::new(Failed::new("queue", url, client.config().region().map(AsRef::as_ref), error)) },
    }
}

impl<M: Message> SqsQueue<M> {
    async fn call(&self, mut bodies: Vec<String>) -> Result<(), QueueError> {
        let mut left_out = String::new();
        for round in 0..ROUNDS {
            let mut entries = Vec::with_capacity(bodies.len());
            for (n, body) in bodies.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body).build();
                entries.push(entry.map_err(|e| QueueError::Refused { reason: e.to_string() })?);
            }
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let answer = request.send().await.map_err(|error| translate(&error, &self.client, &self.url))?;
            let failed = answer.failed();
            if let Some(entry) = failed.iter().find(|entry| entry.sender_fault()) {
                return Err(QueueError::Refused { reason: entry.code().to_owned() });
            }
            let Some(first) = failed.first() else { return Ok(()) };
            first.code().clone_into(&mut left_out);
            let again: Vec<usize> = failed.iter().filter_map(|entry| entry.id().parse().ok()).collect();
            bodies = bodies.into_iter().enumerate().filter(|(n, _)| again.contains(n)).map(|(_, body)| body).collect();
            tokio::time::sleep(Duration::from_millis(100 << round)).await;
        }
        Err(QueueError::Unavailable { source: format!("the queue left messages out again and again: `{left_out}`").into() })
    }
}

impl<M: Message> Queue<M> for SqsQueue<M> {
    async fn send(&self, batch: Vec<M>) -> Result<(), QueueError> {
        let mut bodies = Vec::with_capacity(batch.len());
        for message in &batch {
            let body = messages::encode(message).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
            if body.len() > MAX_MESSAGE_BYTES {
                let reason = format!("the body has {} bytes, at most {MAX_MESSAGE_BYTES} fit", body.len());
                return Err(QueueError::Refused { reason });
            }
            bodies.push(body);
        }
        let calls = stream::iter(calls(bodies)).map(|bodies| self.call(bodies));
        calls.buffer_unordered(CALLS_AT_A_TIME).try_collect().await
    }
}

/// Parks messages in an SQS queue; the reason and the stage are message attributes.
#[derive(Debug, Clone)]
pub struct SqsDeadQueue {
    client: Client,
    url: String,
    max_receives: u32,
}

impl SqsDeadQueue {
    /// To the queue at this URL. `max_receives` is the number in the redrive policy of the queue that feeds it.
    pub fn new(client: Client, url: impl Into<String>, max_receives: u32) -> Self {
        Self { client, url: url.into(), max_receives }
    }
}

/// Text as an attribute may hold it: never empty, no control characters, not too long.
fn attribute(text: &str) -> Result<MessageAttributeValue, QueueError> {
    let text: String = text.chars().take(REASON_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = if text.trim().is_empty() { "unknown".to_owned() } else { text };
    let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
    value.map_err(|e| QueueError::Refused { reason: e.to_string() })
}

impl DeadQueue for SqsDeadQueue {
    async fn park(&self, body: &str, reason: &str, stage: &str) -> Result<(), QueueError> {
        let (reason, stage) = (attribute(reason)?, attribute(stage)?);
        let request = self.client.send_message().queue_url(&self.url).message_body(body);
        let request = request.message_attributes("reason", reason).message_attributes("stage", stage);
        request.send().await.map(drop).map_err(|error| translate(&error, &self.client, &self.url))
    }

    fn max_receives(&self) -> Option<u32> {
        Some(self.max_receives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bodies: &[usize]) -> Vec<Vec<usize>> {
        let bodies = bodies.iter().map(|size| "x".repeat(*size)).collect();
        calls(bodies).iter().map(|call| call.iter().map(String::len).collect()).collect()
    }

    #[test]
    fn a_call_holds_at_most_ten_messages() {
        let calls = sizes(&[1; 23]);
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 3]);
    }

    #[test]
    fn a_call_holds_at_most_256_kilobytes() {
        let full = MAX_MESSAGE_BYTES;
        assert_eq!(sizes(&[full; 5]), [vec![full; 4], vec![full]]);
        assert_eq!(sizes(&[full, full, full, full - 1, 1, 1]), [vec![full, full, full, full - 1, 1], vec![1]]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn an_attribute_is_never_empty_and_has_no_control_characters() {
        assert_eq!(attribute("").unwrap().string_value(), Some("unknown"));
        assert_eq!(attribute("a\u{0}b").unwrap().string_value(), Some("a b"));
        assert_eq!(attribute(&"ä".repeat(2_000)).unwrap().string_value().unwrap().chars().count(), 1_000);
    }
}
