#![doc = include_str!("../README.md")]

mod answer;
mod body;
mod config;
mod refused;
mod route;
mod settings;
mod split;

pub use config::{Config, ConfigError};
pub use url::Url;

use answer::{Problem, RejectedItem};
use bytes::Bytes;
use domain::{
    CallKind, Event, MessageId, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
    segment::{self, Batch, Call, Invalid, Origin},
};
use http::{HeaderMap, Method, Request, Response, header};
use pipeline::{Clock, Counter, Counters, CredentialKind, Credentials, Entropy, EventsReceived, Queue, QueueError, Rejected, Store};
use refused::Refused;
use route::Route;
use std::{cell::OnceCell, net::IpAddr};

/// The most bytes of a request's body that are worth reading: whoever adapts a server may stop after one more.
pub const MAX_BODY_BYTES: usize = segment::MAX_BATCH_BYTES;

/// Takes tracking calls.
#[derive(Debug)]
pub struct Ingester<S, Q, C, E> {
    credentials: Credentials<S, C>,
    queue: Q,
    clock: C,
    entropy: E,
    public_url: Option<Url>,
    counters: Counters,
}

/// What a request amounted to, for its log line.
#[derive(Default)]
struct Tally {
    workspace: Option<WorkspaceId>,
    correlation: Option<domain::BatchId>,
    events: usize,
    rejected: usize,
    messages: usize,
}

/// What a body held.
struct Judged {
    events: Vec<Event>,
    rejected: Vec<Rejected>,
    /// What the log says of those.
    refused: Vec<Refused>,
}

impl<S: Store, Q: Queue<EventsReceived>, C: Clock + Clone, E: Entropy> Ingester<S, Q, C, E> {
    /// Over these ports.
    pub fn new(store: S, queue: Q, clock: C, entropy: E) -> Self {
        Self { credentials: Credentials::new(store, clock.clone()), queue, clock, entropy, public_url: None, counters: Counters::default() }
    }

    /// Tells browsers this address, where the one that they called is not theirs to see (behind a proxy that rewrites `Host`).
    #[must_use]
    pub fn with_public_url(mut self, url: Option<Url>) -> Self {
        self.public_url = url;
        self
    }

    /// Counts accepted and rejected events here.
    #[must_use]
    pub fn with_counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// Answers one request. `peer` is the address that the connection came from, where the server knows it.
    pub async fn handle(&self, request: Request<Bytes>, peer: Option<IpAddr>) -> Response<Bytes> {
        let received_at = self.clock.now();
        let mut tally = Tally::default();
        let (response, problem) = match self.answer(&request, peer, received_at, &mut tally).await {
            Ok(response) => (response, None),
            Err(problem) => (problem.response(), Some(problem.slug)),
        };
        tracing::info!(
            stage = "ingest",
            workspace.id = tally.workspace.as_ref().map(tracing::field::display),
            correlation.id = tally.correlation.map(tracing::field::display),
            status = response.status().as_u16(),
            problem,
            bytes = request.body().len(),
            events = tally.events,
            rejected = tally.rejected,
            messages = tally.messages,
            duration_ms = self.clock.now().millis_since(received_at),
            "answered a tracking request"
        );
        answer::for_any_page(response)
    }

    async fn answer(
        &self,
        request: &Request<Bytes>,
        peer: Option<IpAddr>,
        received_at: Timestamp,
        tally: &mut Tally,
    ) -> Result<Response<Bytes>, Problem> {
        let route = Route::find(request.uri().path()).ok_or_else(Problem::not_found)?;
        if request.method() == Method::OPTIONS {
            return Ok(answer::preflight(request.headers()));
        }
        if request.method() != route.method() {
            return Err(Problem::method_not_allowed(&route));
        }
        match route {
            Route::Metrics => Ok(answer::success()),
            Route::Health => self.health().await,
            Route::Settings(write_key) => {
                self.workspace(Some(write_key), tally).await?;
                settings::answer(write_key, request, self.public_url.as_ref())
            }
            Route::Call(kind) => self.take(Some(kind), request, peer, received_at, tally).await,
            Route::Batch => self.take(None, request, peer, received_at, tally).await,
        }
    }

    /// Takes a call of this kind, or a batch.
    async fn take(
        &self,
        kind: Option<CallKind>,
        request: &Request<Bytes>,
        peer: Option<IpAddr>,
        received_at: Timestamp,
        tally: &mut Tally,
    ) -> Result<Response<Bytes>, Problem> {
        let headers = request.headers();
        let max = if kind.is_some() { segment::MAX_CALL_BYTES } else { segment::MAX_BATCH_BYTES };
        body::check_size(request.body(), max)?;
        // A key in the headers is looked up before any work is done for a stranger's body.
        let known = match header_key(headers) {
            Some(key) => Some(self.workspace(Some(&key), tally).await?),
            None => None,
        };
        let text = body::text(headers, request.body(), max)?;
        let text = segment::mend(&text);
        let ip = peer.map(|ip| ip.to_canonical().to_string());
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let origin = Origin { received_at, ip: ip.as_deref(), user_agent };
        let (workspace, judged) = match kind {
            Some(kind) => {
                let call = Call::parse(&text)?;
                let workspace = match known {
                    Some(workspace) => workspace,
                    None => self.workspace(call.write_key(), tally).await?,
                };
                let judged = self.judge_call(&call, kind, &origin);
                let judged = judged.inspect_err(|invalid| self.refuse(&workspace, &[Refused::new(&text, invalid.pointer.as_ref())]));
                (workspace, judged?)
            }
            None => {
                let batch = Batch::parse(&text)?;
                let workspace = match known {
                    Some(workspace) => workspace,
                    None => self.workspace(batch.write_key(), tally).await?,
                };
                (workspace, self.judge_batch(&batch, &origin))
            }
        };
        self.send(workspace, received_at, judged, tally).await
    }

    async fn send(
        &self,
        workspace: WorkspaceId,
        received_at: Timestamp,
        judged: Judged,
        tally: &mut Tally,
    ) -> Result<Response<Bytes>, Problem> {
        let Judged { events, rejected, refused } = judged;
        tally.events = events.len();
        tally.rejected = rejected.len();
        let told: Vec<RejectedItem> = rejected.iter().map(RejectedItem::from).collect();
        let shared = active(Mutant::SharedBatchId).then(|| self.entropy.batch_id(received_at));
        let new_batch = || shared.unwrap_or_else(|| self.entropy.batch_id(received_at));
        let accepted = events.len();
        let messages = split::messages(&workspace, received_at, events, rejected, new_batch);
        tally.messages = messages.len();
        tally.correlation = messages.first().map(|message| message.batch);
        match self.queue.send(messages).await {
            Ok(()) => {
                self.counters.add(Counter::EventsAccepted, accepted);
                self.refuse(&workspace, &refused);
                Ok(answer::accepted(&told))
            }
            Err(error) => {
                if let QueueError::Refused { .. } = error {
                    tracing::error!(stage = "ingest", error = %error, "the queue will never take these messages");
                } else {
                    tracing::warn!(stage = "ingest", error = %error, cause = cause(&error), "the queue is not available");
                }
                Err(Problem::unavailable())
            }
        }
    }

    /// Notes events that were refused.
    fn refuse(&self, workspace: &WorkspaceId, events: &[Refused]) {
        self.counters.add(Counter::EventsRejected, events.len());
        refused::log(workspace, events);
    }

    /// Whether a call could be taken: whether its write key could be looked up.
    async fn health(&self) -> Result<Response<Bytes>, Problem> {
        match self.credentials.reachable().await {
            Ok(()) => Ok(answer::ok(Bytes::from_static(br#"{"status":"ok"}"#))),
            Err(error) => {
                tracing::warn!(stage = "ingest", error = %error, cause = cause(&error), "write keys can't be looked up");
                Err(Problem::unhealthy())
            }
        }
    }

    async fn workspace(&self, write_key: Option<&str>, tally: &mut Tally) -> Result<WorkspaceId, Problem> {
        let key = write_key.ok_or_else(Problem::no_key)?;
        match self.credentials.find(key, CredentialKind::WriteKey).await {
            Ok(Some(credential)) => {
                tally.workspace = Some(credential.workspace.clone());
                Ok(credential.workspace)
            }
            Ok(None) => Err(Problem::unknown_key()),
            Err(error) => {
                tracing::warn!(stage = "ingest", error = %error, cause = cause(&error), "the write key can't be looked up");
                Err(Problem::unavailable())
            }
        }
    }

    fn judge_call(&self, call: &Call<'_>, kind: CallKind, origin: &Origin<'_>) -> Result<Judged, Invalid> {
        let event = call.event(kind, origin, || MessageId::new(&format!("harpoon-{:032x}", self.entropy.bits())))?;
        Ok(Judged { events: vec![event], rejected: Vec::new(), refused: Vec::new() })
    }

    fn judge_batch(&self, batch: &Batch<'_>, origin: &Origin<'_>) -> Judged {
        let mut judged = Judged { events: Vec::with_capacity(batch.items().len()), rejected: Vec::new(), refused: Vec::new() };
        let stem = OnceCell::new();
        for (index, item) in batch.items().enumerate() {
            let make_id = || MessageId::new(&format!("harpoon-{:032x}-{index}", stem.get_or_init(|| self.entropy.bits())));
            let event = batch.call(item).and_then(|call| call.event(call.kind()?, origin, make_id));
            match event {
                Ok(event) => judged.events.push(event),
                Err(Invalid { pointer, reason }) => {
                    judged.refused.push(Refused::new(item.text(), &pointer));
                    judged.rejected.push(Rejected { index, pointer: pointer.into_owned(), reason, item: split::kept_item(item.text()) });
                }
            }
        }
        judged
    }
}

/// The user name of Basic authorization. Anything else in the header counts as no key, so that one in the body is used.
fn header_key(headers: &HeaderMap) -> Option<String> {
    use base64::Engine;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const TOLERANT: GeneralPurpose =
        GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(TOLERANT.decode(encoded.trim()).ok()?).ok()?;
    let user = decoded.split(':').next().unwrap_or_default().trim();
    if user.is_empty() { None } else { Some(user.to_owned()) }
}

/// The innermost cause of an error, where the adapter's own words are.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.pointer, invalid.reason)
    }
}

impl From<segment::CallError> for Problem {
    fn from(error: segment::CallError) -> Self {
        match error {
            segment::CallError::NotJson { .. } => Self::malformed(error.to_string()),
            segment::CallError::Invalid(invalid) => invalid.into(),
            segment::CallError::TooLarge { reason } => Self::too_large(reason),
        }
    }
}

#[cfg(test)]
mod tests;
