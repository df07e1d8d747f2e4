//! Sends calls as fast as the server takes them.

use super::story::{Call, Route};
use crate::client::{Answer, Server};
use anyhow::bail;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// How many requests are under way at a time.
const AT_A_TIME: usize = 4;
/// The most calls of one request.
const CALLS: usize = 100;
/// How often a request that the server has no room for is sent again.
const ATTEMPTS: u32 = 20;
/// The longest wait between two attempts, in seconds.
const LONGEST_WAIT: u64 = 30;

/// What became of the calls.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many the server refused.
    pub refused: usize,
    /// Why it refused the first one.
    pub reason: Option<String>,
}

impl Sent {
    /// Adds what became of others.
    pub fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.reason = self.reason.take().or(other.reason);
    }
}

/// One HTTP request.
struct Outgoing {
    path: &'static str,
    calls: usize,
    body: Bytes,
}

#[derive(Default, Deserialize)]
struct Accepted {
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    #[serde(default)]
    reason: String,
}

/// Sends them all.
///
/// # Errors
/// The server can't be reached, or does not take a request.
pub async fn send(server: &Server, calls: Vec<Call>, bar: &ProgressBar) -> anyhow::Result<Sent> {
    let under_way = stream::iter(requests(calls)).map(|request| post(server, request, bar)).buffer_unordered(AT_A_TIME);
    under_way
        .try_fold(Sent::default(), |mut sent, more| async move {
            sent.add(more);
            Ok(sent)
        })
        .await
}

/// Calls of the batch route go together, up to a hundred at a time; the others by themselves, after the batch that they fall into.
fn requests(calls: Vec<Call>) -> Vec<Outgoing> {
    let mut out = Vec::new();
    let mut waiting: Vec<Value> = Vec::new();
    for call in calls {
        match call.route {
            Route::AccountEvent => out.push(Outgoing { path: "/v1/account-event", calls: 1, body: call.body.to_string().into() }),
            Route::Batch => waiting.push(call.body),
        }
        if waiting.len() >= CALLS {
            out.push(batch(std::mem::take(&mut waiting)));
        }
    }
    if !waiting.is_empty() {
        out.push(batch(waiting));
    }
    out
}

fn batch(calls: Vec<Value>) -> Outgoing {
    Outgoing { path: "/v1/batch", calls: calls.len(), body: json!({ "batch": calls }).to_string().into() }
}

async fn post(server: &Server, request: Outgoing, bar: &ProgressBar) -> anyhow::Result<Sent> {
    let Outgoing { path, calls, body } = request;
    let mut attempt = 1;
    loop {
        let answer = server.track(path, body.clone()).await?;
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if attempt < ATTEMPTS => {
                bar.set_message("the server asks for a pause");
                sleep(pause(&answer)).await;
                bar.set_message("sending");
                attempt += 1;
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                bail!("the server had no room for a request {ATTEMPTS} times in a row: {}", answer.detail())
            }
            _ => {
                server.accepted(&answer, path)?;
                bar.inc(u64::try_from(calls).unwrap_or_default());
                let accepted: Accepted = serde_json::from_slice(&answer.body).unwrap_or_default();
                let reason = accepted.rejected.first().map(|rejected| rejected.reason.clone());
                return Ok(Sent { refused: accepted.rejected.len(), reason });
            }
        }
    }
}

fn pause(answer: &Answer) -> Duration {
    Duration::from_secs(answer.retry_after.unwrap_or(1).clamp(1, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::story::{Request, Story};
    use domain::{Timestamp, segment};

    #[test]
    fn every_call_is_in_exactly_one_request_and_none_is_too_large() {
        let story = Story::tell(Request { seed: 1, companies: 60, days: 30, now: Timestamp::from_millis(1_795_291_200_000) });
        let wanted = story.calls.len();
        let requests = requests(story.calls);
        assert_eq!(requests.iter().map(|request| request.calls).sum::<usize>(), wanted);
        for request in requests {
            assert!(request.body.len() <= segment::MAX_BATCH_BYTES, "{}", request.body.len());
        }
    }

    #[test]
    fn the_server_says_how_long_to_wait_within_reason() {
        let answer = |retry_after| Answer { status: StatusCode::TOO_MANY_REQUESTS, retry_after, body: Bytes::new() };
        let seconds: Vec<u64> = [None, Some(0), Some(7), Some(86_400)].map(|after| pause(&answer(after)).as_secs()).to_vec();
        assert_eq!(seconds, [1, 1, 7, 30]);
    }
}
