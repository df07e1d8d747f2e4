//! A batch of SQS records becomes one call of a stage and a partial batch response. Written once: Lambda, the local runner
//! and the tests call [`handle_sqs`].

use aws_lambda_events::event::sqs::SqsMessage;
pub use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::{
    BatchId, Timestamp,
    mutant::{Mutant, active},
};
use futures::FutureExt;
use pipeline::{
    Counter, Counters, Message, Outcome, Queue, QueueError, Received, Stage, StageError,
    messages::{self, MessageError},
};
use std::{
    error::Error,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Where messages that can never succeed are parked, each with its reason.
///
/// Obligations of an adapter: the message is durable when the future resolves.
pub trait DeadQueue: Send + Sync + 'static {
    /// Parks a message. `reason` says what is wrong with it; it holds no personal data, as it is shown and logged.
    fn park(&self, body: &str, reason: &str, stage: &str) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// After how many attempts a message that keeps failing is parked. It is parked here with its last error; without this
    /// the queue moves it by itself, and nobody sees why.
    fn max_receives(&self) -> Option<u32> {
        None
    }
}

impl<D: DeadQueue> DeadQueue for std::sync::Arc<D> {
    fn park(&self, body: &str, reason: &str, stage: &str) -> impl Future<Output = Result<(), QueueError>> + Send {
        (**self).park(body, reason, stage)
    }

    fn max_receives(&self) -> Option<u32> {
        (**self).max_receives()
    }
}

/// A parked message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The message as it was received.
    pub body: String,
    /// Why it was parked.
    pub reason: String,
    /// Which stage parked it.
    pub stage: String,
}

/// A dead queue in memory.
#[derive(Debug, Default)]
pub struct MemoryDeadQueue {
    parked: Mutex<Vec<Parked>>,
}

impl MemoryDeadQueue {
    /// Everything that was parked, oldest first.
    pub fn parked(&self) -> Vec<Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl DeadQueue for MemoryDeadQueue {
    async fn park(&self, body: &str, reason: &str, stage: &str) -> Result<(), QueueError> {
        let parked = Parked { body: body.to_owned(), reason: reason.to_owned(), stage: stage.to_owned() };
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).push(parked);
        Ok(())
    }
}

/// What a record of an SQS event is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsRecord {
    /// The queue's id of the message; the batch response names it.
    pub message_id: String,
    /// Names this very receipt.
    pub receipt: String,
    /// The message.
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// The payload with which Lambda would call the function that reads the queue named `queue`.
pub fn sqs_event(queue: &str, records: impl IntoIterator<Item = SqsRecord>) -> SqsEvent {
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{queue}");
    let mut event = SqsEvent::default();
    event.records = records.into_iter().map(|record| message(record, &arn)).collect();
    event
}

fn message(record: SqsRecord, arn: &str) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(record.message_id);
    message.receipt_handle = Some(record.receipt);
    message.body = Some(record.body);
    message.attributes.insert(RECEIVE_COUNT.to_owned(), record.receive_count.to_string());
    message.attributes.insert("SentTimestamp".to_owned(), record.sent_at.millis().to_string());
    message.event_source = Some("aws:sqs".to_owned());
    message.event_source_arn = Some(arn.to_owned());
    message.aws_region = Some("us-east-1".to_owned());
    message
}

const RECEIVE_COUNT: &str = "ApproximateReceiveCount";

/// A record with what is needed once its outcome is known.
struct Arrived {
    id: String,
    count: u32,
    body: String,
    correlation: Option<BatchId>,
}

impl Arrived {
    fn of(record: SqsMessage) -> Self {
        let count = record.attributes.get(RECEIVE_COUNT).and_then(|n| n.parse().ok()).unwrap_or(1);
        Self { id: record.message_id.unwrap_or_default(), count, body: record.body.unwrap_or_default(), correlation: None }
    }

    /// As a log line has it.
    fn correlation_id(&self) -> Option<tracing::field::DisplayValue<BatchId>> {
        self.correlation.map(tracing::field::display)
    }
}

/// Works on one event and answers which of its messages must come again.
///
/// Every record is parsed by itself: one that is no message of this stage is parked with its reason and its neighbours go on.
/// The stage is called once with all others. A message is acknowledged (not reported) when it is done, or when whatever must
/// replace it (its rejected and its smaller parts) was taken by the queues. If a stage panics over several messages, each is
/// handled by itself, so that only the one at fault is reported.
pub async fn handle_sqs<S, Q, D>(stage: &S, event: SqsEvent, own: &Q, dead: &D) -> SqsBatchResponse
where
    S: Stage,
    Q: Queue<S::Input>,
    D: DeadQueue,
{
    handle_sqs_counting(stage, event, own, dead, &Counters::default()).await
}

/// As [`handle_sqs`], and counts what became of the messages.
pub async fn handle_sqs_counting<S, Q, D>(stage: &S, event: SqsEvent, own: &Q, dead: &D, counters: &Counters) -> SqsBatchResponse
where
    S: Stage,
    Q: Queue<S::Input>,
    D: DeadQueue,
{
    let started = Instant::now();
    let settling = Settling { stage: S::NAME, own, dead, started, counters };
    let mut response = SqsBatchResponse::default();
    let mut arrived = Vec::new();
    let mut batch = Vec::new();
    for record in event.records {
        let mut record = Arrived::of(record);
        match messages::decode::<S::Input>(&record.body) {
            Ok(message) => {
                record.correlation = message.correlation();
                batch.push(Received { message_id: record.id.clone(), receive_count: record.count, message });
                arrived.push(record);
            }
            Err(error) => {
                if !settling.reject(&record, &malformed(&error)).await {
                    response.add_failure(record.id);
                }
            }
        }
    }
    let outcomes = run(stage, batch).await;
    for (record, outcome) in arrived.into_iter().zip(outcomes) {
        if !settling.settle(&record, outcome).await {
            response.add_failure(record.id);
        }
    }
    response
}

/// One outcome for each message, whatever the stage does.
async fn run<S: Stage>(stage: &S, batch: Vec<Received<S::Input>>) -> Vec<Outcome<S::Input>> {
    let size = batch.len();
    match size {
        0 => Vec::new(),
        1 => attempt(stage, batch).await.unwrap_or_else(panicked),
        _ => match attempt(stage, batch.clone()).await {
            Some(outcomes) => outcomes,
            None => {
                let mut outcomes = Vec::with_capacity(size);
                for message in batch {
                    outcomes.extend(attempt(stage, vec![message]).await.unwrap_or_else(panicked));
                }
                outcomes
            }
        },
    }
}

fn panicked<M>() -> Vec<Outcome<M>> {
    vec![Outcome::Failed(StageError::retry("the stage panicked"))]
}

/// The outcomes, or `None` if the stage panicked. A message without an outcome counts as failed.
async fn attempt<S: Stage>(stage: &S, batch: Vec<Received<S::Input>>) -> Option<Vec<Outcome<S::Input>>> {
    let size = batch.len();
    let mut outcomes = AssertUnwindSafe(async { stage.handle(batch).await }).catch_unwind().await.ok()?;
    outcomes.truncate(size);
    while outcomes.len() < size {
        outcomes.push(Outcome::Failed(StageError::retry("the stage answered no outcome for the message")));
    }
    Some(outcomes)
}

/// Why a body is no message, without anything that it holds.
fn malformed(error: &MessageError) -> String {
    match error {
        MessageError::Malformed { source, .. } => {
            let said = source.to_string();
            let what = if said.starts_with("missing field") || source.is_syntax() || source.is_eof() {
                said
            } else {
                format!("a value of another type than expected at line {} column {}", source.line(), source.column())
            };
            format!("{error}: {what}")
        }
        MessageError::OtherType { .. } | MessageError::Newer { .. } => error.to_string(),
    }
}

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // An error that repeats its cause's text is not told twice.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Acts on outcomes. Each answer tells whether the message may be acknowledged.
struct Settling<'a, Q, D> {
    stage: &'static str,
    own: &'a Q,
    dead: &'a D,
    started: Instant,
    counters: &'a Counters,
}

impl<Q, D: DeadQueue> Settling<'_, Q, D> {
    fn duration_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn settle<M>(&self, record: &Arrived, outcome: Outcome<M>) -> bool
    where
        M: Message,
        Q: Queue<M>,
    {
        let (stage, id, receive_count) = (self.stage, record.id.as_str(), record.count);
        match outcome {
            Outcome::Done => {
                let (duration_ms, correlation) = (self.duration_ms(), record.correlation_id());
                tracing::info!(
                    stage,
                    message.id = id,
                    correlation.id = correlation,
                    outcome = "done",
                    receive_count,
                    duration_ms,
                    "the message is done"
                );
                self.counters.add(Counter::MessagesDone, 1);
                true
            }
            Outcome::Failed(StageError::Reject { reason }) => self.reject(record, &reason).await,
            Outcome::Failed(StageError::Retry { source }) => self.retry(record, &chain(&*source)).await,
            Outcome::Split { retry, reject } => {
                let (retried, rejected) = (retry.len(), reject.len());
                match self.split(retry, reject).await {
                    Ok(()) => {
                        let duration_ms = self.duration_ms();
                        self.counters.add(Counter::MessagesSplit, 1);
                        self.counters.add(Counter::MessagesParked, rejected);
                        tracing::warn!(
                            stage,
                            message.id = id,
                            correlation.id = record.correlation_id(),
                            outcome = "split",
                            receive_count,
                            retried,
                            rejected,
                            duration_ms,
                            "the message was split"
                        );
                        true
                    }
                    Err(error) => self.retry(record, &chain(&error)).await,
                }
            }
        }
    }

    async fn split<M>(&self, retry: Vec<M>, reject: Vec<(M, String)>) -> Result<(), QueueError>
    where
        M: Message,
        Q: Queue<M>,
    {
        if active(Mutant::SplitLost) {
            return Ok(());
        }
        for (part, reason) in &reject {
            let body = messages::encode(part).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
            self.dead.park(&body, reason, self.stage).await?;
            tracing::error!(stage = self.stage, reason, "a part of a message was parked");
        }
        if retry.is_empty() { Ok(()) } else { self.own.send(retry).await }
    }

    async fn reject(&self, record: &Arrived, reason: &str) -> bool {
        let (stage, id, receive_count) = (self.stage, record.id.as_str(), record.count);
        match self.dead.park(&record.body, reason, stage).await {
            Ok(()) => {
                let (duration_ms, correlation) = (self.duration_ms(), record.correlation_id());
                self.counters.add(Counter::MessagesParked, 1);
                tracing::error!(
                    stage,
                    message.id = id,
                    correlation.id = correlation,
                    outcome = "rejected",
                    receive_count,
                    duration_ms,
                    reason,
                    "the message was parked"
                );
                true
            }
            Err(error) => {
                let error = chain(&error);
                self.counters.add(Counter::MessagesRetried, 1);
                tracing::error!(
                    stage,
                    message.id = id,
                    correlation.id = record.correlation_id(),
                    outcome = "retry",
                    receive_count,
                    duration_ms = self.duration_ms(),
                    reason,
                    error,
                    "the message can't be parked"
                );
                false
            }
        }
    }

    async fn retry(&self, record: &Arrived, error: &str) -> bool {
        let (stage, id, receive_count) = (self.stage, record.id.as_str(), record.count);
        if self.dead.max_receives().is_some_and(|max| receive_count >= max) {
            return self.reject(record, &format!("failed {receive_count} times, at last: {error}")).await;
        }
        let (duration_ms, correlation) = (self.duration_ms(), record.correlation_id());
        self.counters.add(Counter::MessagesRetried, 1);
        tracing::warn!(
            stage,
            message.id = id,
            correlation.id = correlation,
            outcome = "retry",
            receive_count,
            duration_ms,
            error,
            "the message will come again"
        );
        false
    }
}
