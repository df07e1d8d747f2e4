//! What a stage is: something that works on a batch of messages and says of each what became of it.

use crate::{messages::Message, queue::QueueError, store::StoreError};
use std::future::Future;
use thiserror::Error;

/// Why a message was not done.
#[derive(Debug, Error)]
pub enum StageError {
    /// It can never succeed: it is parked in the dead queue with this reason.
    #[error("rejected: {reason}")]
    Reject {
        /// What is wrong with it and what would be right; no personal data.
        reason: String,
    },
    /// It may succeed later: it is reported as a batch failure and comes again.
    #[error("to be retried")]
    Retry {
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StageError {
    /// A retry because of `source`.
    pub fn retry(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Retry { source: source.into() }
    }
}

impl StageError {
    /// Everything behind the error, joined, for the log.
    pub fn source_text(&self) -> String {
        let mut parts = Vec::new();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            parts.push(cause.to_string());
            source = cause.source();
        }
        parts.join(": ")
    }

    /// Whether it is a failed condition: read again and decide anew.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Retry { source } => source.downcast_ref::<StoreError>().is_some_and(StoreError::is_conflict),
            Self::Reject { .. } => false,
        }
    }
}

impl From<StoreError> for StageError {
    fn from(source: StoreError) -> Self {
        Self::Retry { source: Box::new(source) }
    }
}

impl From<QueueError> for StageError {
    fn from(source: QueueError) -> Self {
        Self::Retry { source: Box::new(source) }
    }
}

/// What became of one message.
#[derive(Debug)]
pub enum Outcome<M> {
    /// Everything it asks for is done and durable: it may be acknowledged.
    Done,
    /// Nothing or only a part of it was done, which is harmless to do again.
    Failed(StageError),
    /// A packed message of which a part was done: `retry` replaces it (each a smaller message of the same queue), and `reject`
    /// goes to the dead queue. Both are sent before the message is acknowledged.
    Split {
        /// The parts that may succeed later.
        retry: Vec<M>,
        /// The parts that never can, each with its reason.
        reject: Vec<(M, String)>,
    },
}

/// A message as it was received.
#[derive(Debug, Clone)]
pub struct Received<M> {
    /// The queue's id of the message, for logs.
    pub message_id: String,
    /// How often it was received, this time included. At the last but one attempt a packed message should be split.
    pub receive_count: u32,
    /// What it says.
    pub message: M,
}

impl<M> Received<M> {
    /// A message that came for the first time.
    pub fn first(message: M) -> Self {
        Self { message_id: String::new(), receive_count: 1, message }
    }

    /// Whether it failed before: then one faulty part must not hold up the others any longer.
    pub const fn failed_before(&self) -> bool {
        self.receive_count > 1
    }
}

/// A step of the pipeline.
pub trait Stage: Send + Sync + 'static {
    /// The stage's verb: its folder, function, queue and log field.
    const NAME: &'static str;
    /// What its queue carries.
    type Input: Message;

    /// Works on the messages of one invocation and answers one outcome for each, in their order. The whole batch is given at
    /// once so that work on one identity or account is done once per invocation.
    fn handle(&self, batch: Vec<Received<Self::Input>>) -> impl Future<Output = Vec<Outcome<Self::Input>>> + Send;
}

impl<T: Stage> Stage for std::sync::Arc<T> {
    const NAME: &'static str = T::NAME;
    type Input = T::Input;

    fn handle(&self, batch: Vec<Received<Self::Input>>) -> impl Future<Output = Vec<Outcome<Self::Input>>> + Send {
        (**self).handle(batch)
    }
}
