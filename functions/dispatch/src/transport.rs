//! The port through which notifications leave, and a fake of it.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// One request. Its debug form shows neither URL nor body: both are secret.
#[derive(Clone)]
pub struct Outgoing {
    /// Where to; may hold a token.
    pub url: String,
    /// The headers beside those of every request.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} bytes)", self.body.len())
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After` as it was sent.
    pub retry_after: Option<String>,
    /// The beginning of the body, at most 4 KB, as text.
    pub excerpt: String,
}

/// Why there is no answer. The messages name no URL.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// The URL or every address of its host is refused.
    #[error("refused: the destination {reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
    },
    /// The host's name has no address.
    #[error("the host's name could not be resolved")]
    Resolve,
    /// Nobody listens, or the network is down.
    #[error("no connection: {reason}")]
    Connect {
        /// What the operating system said.
        reason: String,
    },
    /// The certificate is not right, or the handshake failed.
    #[error("no secure connection: {reason}")]
    Tls {
        /// What the TLS library said.
        reason: String,
    },
    /// The exchange was not over in time.
    #[error("no answer within {seconds} s")]
    Timeout {
        /// How long it was waited for.
        seconds: u64,
    },
    /// What came back is not HTTP.
    #[error("no HTTP answer: {reason}")]
    Protocol {
        /// What the HTTP library said.
        reason: String,
    },
}

/// Posts a request.
///
/// Obligations of an adapter: it follows no redirect, uses no proxy, reads at most 64 KB of the answer, keeps to the timeout, and
/// connects only to an address that it has checked.
pub trait Transport: Send + Sync + 'static {
    /// Posts and answers what came back, whatever the status.
    fn post(&self, request: Outgoing) -> impl Future<Output = Result<Answer, TransportError>> + Send;
}

impl<T: Transport> Transport for std::sync::Arc<T> {
    fn post(&self, request: Outgoing) -> impl Future<Output = Result<Answer, TransportError>> + Send {
        (**self).post(request)
    }
}

/// A transport that sends nothing, keeps every request, and answers what it was told to; 200 when nothing was told.
#[derive(Debug, Default)]
pub struct FakeTransport {
    answers: Mutex<VecDeque<Result<Answer, TransportError>>>,
    sent: Mutex<Vec<Outgoing>>,
}

impl FakeTransport {
    /// Queues an answer.
    pub fn answer(&self, answer: Result<Answer, TransportError>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(answer);
    }

    /// Queues an answer with only a status.
    pub fn answer_status(&self, status: u16) {
        self.answer(Ok(Answer { status, ..Answer::default() }));
    }

    /// Takes every request so far, oldest first.
    pub fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Transport for FakeTransport {
    async fn post(&self, request: Outgoing) -> Result<Answer, TransportError> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let told = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        told.unwrap_or(Ok(Answer { status: 200, ..Answer::default() }))
    }
}
