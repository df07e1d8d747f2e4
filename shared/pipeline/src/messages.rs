//! What the stages say to each other. A message belongs to one workspace, carries its version, and is at most 64 KB.

use crate::events::Events;
use domain::{BatchId, Home, Identity, Shards, Timestamp, WorkspaceId, transition::Transition};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

/// The most bytes a message's body may have: one billed unit of the queue.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A message: a past fact that the next stage works on.
pub trait Message: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The fact's name, as in the `type` field of the body.
    const TYPE: &'static str;
    /// Which workspace it belongs to.
    fn workspace(&self) -> &WorkspaceId;
    /// What the log lines about it are found by in every stage, when it brings events of one batch.
    fn correlation(&self) -> Option<BatchId> {
        None
    }
}

/// Ingest took these events. Read by resolve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventsReceived {
    /// Whose events.
    pub workspace: WorkspaceId,
    /// Names this very message; fixed after splitting.
    pub batch: BatchId,
    /// When ingest took them.
    pub received_at: Timestamp,
    /// One parcel per identity.
    #[serde(default)]
    pub parcels: Vec<Parcel>,
    /// Items that were refused, for the rejected-events log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
}

/// The events of one identity in one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// Whose events.
    pub identity: Identity,
    /// In the order in which the client sent them.
    pub events: Events,
}

/// A batch item that was refused, with the reason that the client was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its place in the client's batch.
    pub index: usize,
    /// The field at fault, as a JSON pointer into the item.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub reason: String,
    /// The item as sent, cut to what may be kept.
    pub item: Value,
}

impl Message for EventsReceived {
    const TYPE: &'static str = "EventsReceived";
    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
    fn correlation(&self) -> Option<BatchId> {
        Some(self.batch)
    }
}

/// Something that these partitions' scores depend on may have changed. A hint: score reads the present. Read by score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountTouched {
    /// Whose accounts.
    pub workspace: WorkspaceId,
    /// The partitions, each once.
    pub homes: Vec<Home>,
    /// For each of the homes, in their order, the shards that were touched. A home beyond the end was touched as a whole: so a message that
    /// names no shards, as an earlier build wrote it, means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shards>,
    /// Sort keys of the due items that this message serves; score removes them when it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<String>,
    /// The version of the model because of which they were touched, when it is one: score believes no older model to be the current one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub model: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl AccountTouched {
    /// Homes that were touched as a whole.
    pub const fn whole(workspace: WorkspaceId, homes: Vec<Home>) -> Self {
        Self { workspace, homes, shards: Vec::new(), due: Vec::new(), model: 0 }
    }

    /// The homes with what was touched of each.
    pub fn touched(&self) -> impl Iterator<Item = (&Home, Shards)> {
        self.homes.iter().zip(self.shards.iter().copied().chain(std::iter::repeat(Shards::ALL)))
    }
}

impl Message for AccountTouched {
    const TYPE: &'static str = "AccountTouched";
    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
}

/// These partitions have a score record that level may not have seen. A hint: level reads the present. Read by level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountScored {
    /// Whose accounts.
    pub workspace: WorkspaceId,
    /// The partitions, each once.
    pub homes: Vec<Home>,
}

impl Message for AccountScored {
    const TYPE: &'static str = "AccountScored";
    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }
}

/// What dispatch works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccountChanged {
    /// Level recorded these transitions, each account's in the order of their sequence numbers.
    Transitions {
        /// Whose accounts.
        workspace: WorkspaceId,
        /// The changes, one entry per account.
        changes: Vec<Change>,
    },
    /// Rescore found these deliveries due.
    DeliveriesDue {
        /// Whose deliveries.
        workspace: WorkspaceId,
        /// The deliveries' sort keys, as in the deliveries table.
        deliveries: Vec<String>,
    },
}

/// The transitions of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The account.
    pub home: Home,
    /// In the order of their sequence numbers.
    pub transitions: Vec<Transition>,
}

impl Message for AccountChanged {
    const TYPE: &'static str = "AccountChanged";
    fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Transitions { workspace, .. } | Self::DeliveriesDue { workspace, .. } => workspace,
        }
    }
}

/// The version that this build writes into every body.
pub const MESSAGE_VERSION: u32 = 1;

#[derive(Serialize)]
struct EnvelopeOut<'a, M> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u32,
    body: &'a M,
}

#[derive(Deserialize)]
struct EnvelopeIn<B> {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
    body: B,
}

/// Why a body is no message of the expected type.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is not the JSON that this type has.
    #[error("the body is no {expected} message")]
    Malformed {
        /// The type that the queue carries.
        expected: &'static str,
        /// What the parser saw.
        #[source]
        source: serde_json::Error,
    },
    /// It is another message.
    #[error("expected a {expected} message, got `{got}`")]
    OtherType {
        /// The type that the queue carries.
        expected: &'static str,
        /// The type found.
        got: String,
    },
    /// It was written by a newer build.
    #[error("message version {got} is newer than {MESSAGE_VERSION}; deploy the newer build before it is redriven")]
    Newer {
        /// The version found.
        got: u32,
    },
}

/// Writes a message as the body of a queue message.
pub fn encode<M: Message>(message: &M) -> Result<String, serde_json::Error> {
    serde_json::to_string(&EnvelopeOut { kind: M::TYPE, version: MESSAGE_VERSION, body: message })
}

/// Reads the body of a queue message.
pub fn decode<M: Message>(body: &str) -> Result<M, MessageError> {
    let read: Result<EnvelopeIn<M>, _> = serde_json::from_str(body);
    match read {
        Ok(envelope) => check::<M, M>(&envelope).map(|()| envelope.body),
        Err(source) => {
            // Of another message, or a newer one, it matters which it is and not where it differs.
            if let Ok(envelope) = serde_json::from_str::<EnvelopeIn<IgnoredAny>>(body) {
                check::<M, IgnoredAny>(&envelope)?;
            }
            Err(MessageError::Malformed { expected: M::TYPE, source })
        }
    }
}

/// Whether an envelope holds a message of a type and version that this build reads.
fn check<M: Message, B>(envelope: &EnvelopeIn<B>) -> Result<(), MessageError> {
    if envelope.kind != M::TYPE {
        return Err(MessageError::OtherType { expected: M::TYPE, got: envelope.kind.chars().take(64).collect() });
    }
    if envelope.version > MESSAGE_VERSION {
        return Err(MessageError::Newer { got: envelope.version });
    }
    Ok(())
}
