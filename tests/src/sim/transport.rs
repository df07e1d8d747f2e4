//! The world of destinations: what was posted, and how it was answered.

use super::{faults::Fault, scheduler::Sim};
use dispatch::{Answer, Outgoing, Transport, TransportError};
use std::{collections::BTreeMap, sync::Arc};

/// What destinations saw of one delivery id.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Posts.
    pub posts: u64,
    /// Posts that the destination took.
    pub taken: u64,
    /// The body of the first post.
    pub body: String,
    /// Where it went.
    pub url: String,
}

/// Everything that was posted, by delivery id.
#[derive(Debug, Default)]
pub(super) struct Posts(pub BTreeMap<String, Seen>);

/// Posts into the simulated world.
#[derive(Debug, Clone)]
pub struct SimTransport(pub(super) Arc<Sim>);

impl Transport for SimTransport {
    async fn post(&self, request: Outgoing) -> Result<Answer, TransportError> {
        self.0.gate().await;
        let (answer, wait) = {
            let mut inner = self.0.lock();
            let fails = inner.faults.destination_fails;
            let id = request.headers.iter().find(|(name, _)| *name == "webhook-id").map(|(_, id)| id.clone()).unwrap_or_default();
            let fail = inner.rng.chance(fails);
            let kind = if fail { inner.rng.below(4) } else { 4 };
            let seconds = request.timeout.as_secs();
            let answer = match kind {
                0 => Ok(Answer { status: 500, ..Answer::default() }),
                1 => Err(TransportError::Connect { reason: "nobody listens".to_owned() }),
                2 | 3 => Err(TransportError::Timeout { seconds }),
                _ => Ok(Answer { status: 200, ..Answer::default() }),
            };
            let taken = kind >= 3;
            if fail {
                inner.counts.add(if taken { Fault::DestinationSilent } else { Fault::DestinationFails });
            }
            let seen = inner.posts.0.entry(id.clone()).or_insert_with(|| Seen {
                url: request.url.clone(),
                body: request.body.clone(),
                ..Seen::default()
            });
            seen.posts += 1;
            seen.taken += u64::from(taken);
            let changed = seen.body != request.body || seen.url != request.url;
            if changed {
                inner.violated(format!("delivery `{id}` was posted with two different bodies or to two places"));
            }
            (answer, if kind == 2 || kind == 3 { seconds as i64 * 1_000 } else { 0 })
        };
        if wait > 0 {
            self.0.pause(wait).await;
        }
        answer
    }
}
