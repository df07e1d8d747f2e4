#![doc = include_str!("../README.md")]

pub mod event;
pub mod field;
pub mod ids;
pub mod resolution;
pub mod time;
pub mod transition;

pub use event::{CallKind, Event, JsonObject, NamedAccount, NamedBy, Order, fold_name};
pub use ids::{
    AccountId, BatchId, DestinationId, Home, IdError, Identity, IdentityId, IdentityKind, MessageId, TriggerId,
    WorkspaceId, hash64,
};
pub use time::{DAY_MS, Day, Timestamp};
