//! The queue port and the way messages are packed into it.

use crate::messages::{AccountScored, AccountTouched, Message};
use domain::{Home, Shards, WorkspaceId};
use std::{collections::BTreeMap, future::Future};
use thiserror::Error;

/// Why a send failed. Whoever gets this must not acknowledge what it was working on.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The queue can't be reached or is busy; some of the messages may have been sent.
    #[error("the queue did not take the message")]
    Unavailable {
        /// What the adapter saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The message can never be sent.
    #[error("the queue refused the message: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// A queue of one type of message.
///
/// Obligations of an adapter: messages are durable when the future resolves; each is delivered at least once, in any order;
/// one that is not acknowledged comes again; one that came too often goes to the dead queue.
pub trait Queue<M: Message>: Send + Sync + 'static {
    /// Sends messages. On an error some may have been sent: the caller sends all of them again.
    fn send(&self, messages: Vec<M>) -> impl Future<Output = Result<(), QueueError>> + Send;
}

impl<M: Message, Q: Queue<M>> Queue<M> for std::sync::Arc<Q> {
    fn send(&self, messages: Vec<M>) -> impl Future<Output = Result<(), QueueError>> + Send {
        (**self).send(messages)
    }
}

/// How many bytes of homes one hint takes: the rest of a message is for its envelope.
pub const HOME_BYTES_PER_MESSAGE: usize = crate::messages::MAX_MESSAGE_BYTES - 1_024;
/// How many homes one hint takes, so that one invocation can serve it in time.
pub const HOMES_PER_MESSAGE: usize = 200;

/// How many bytes the shards of a home take in a message at most.
const SHARDS_BYTES: usize = 19;

/// How many bytes a home takes in a message.
pub fn home_bytes(home: &Home) -> usize {
    serde_json::to_string(home).map_or(HOME_BYTES_PER_MESSAGE, |text| text.len() + 1)
}

/// Homes that were touched, collected over an invocation and sent as few packed hints.
#[derive(Debug, Default)]
pub struct Homes(BTreeMap<WorkspaceId, BTreeMap<Home, Shards>>);

impl Homes {
    /// Adds a home as a whole; one that is there already stays once.
    pub fn add(&mut self, workspace: &WorkspaceId, home: Home) {
        self.add_shards(workspace, home, Shards::ALL);
    }

    /// Adds shards of a home; one that is there already was touched in both.
    pub fn add_shards(&mut self, workspace: &WorkspaceId, home: Home, shards: Shards) {
        let known = self.0.entry(workspace.clone()).or_default().entry(home).or_default();
        *known = known.and(shards);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn packed<M>(self, make: impl Fn(WorkspaceId, Vec<(Home, Shards)>) -> M) -> Vec<M> {
        let mut messages = Vec::new();
        for (workspace, homes) in self.0 {
            let (mut packed, mut used) = (Vec::new(), 0);
            for (home, shards) in homes {
                let bytes = home_bytes(&home) + SHARDS_BYTES;
                if packed.len() >= HOMES_PER_MESSAGE || (used + bytes > HOME_BYTES_PER_MESSAGE && !packed.is_empty()) {
                    messages.push(make(workspace.clone(), std::mem::take(&mut packed)));
                    used = 0;
                }
                used += bytes;
                packed.push((home, shards));
            }
            messages.push(make(workspace, packed));
        }
        messages
    }

    /// As hints for score.
    pub fn touched(self) -> Vec<AccountTouched> {
        self.touched_for(0)
    }

    /// As hints for score, because of a version of the model.
    pub fn touched_for(self, model: u64) -> Vec<AccountTouched> {
        self.packed(|workspace, homes| {
            let (homes, mut shards): (Vec<Home>, Vec<Shards>) = homes.into_iter().unzip();
            let named = shards.iter().rposition(|shards| *shards != Shards::ALL).map_or(0, |last| last + 1);
            shards.truncate(named);
            AccountTouched { workspace, homes, shards, due: Vec::new(), model }
        })
    }

    /// As hints for level.
    pub fn scored(self) -> Vec<AccountScored> {
        self.packed(|workspace, homes| AccountScored { workspace, homes: homes.into_iter().map(|(home, _)| home).collect() })
    }
}
