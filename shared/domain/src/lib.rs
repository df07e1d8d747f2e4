#![doc = include_str!("../README.md")]

pub mod account_rules;
pub mod channel;
pub mod decay;
pub mod engagement;
pub mod evaluate;
pub mod event;
pub mod explain;
pub mod facts;
pub mod field;
pub mod giant;
pub mod ids;
pub mod lead;
pub mod level;
pub mod mail;
pub mod mapping;
pub mod model;
pub mod mutant;
pub mod problem;
pub mod profile;
pub mod resolution;
mod scan;
pub mod score;
pub mod segment;
pub mod shard;
pub mod state;
pub mod surge;
pub mod time;
pub mod transition;
pub mod trigger;

pub use channel::Channel;
pub use event::{CallKind, Event, JsonObject, NamedAccount, NamedBy, Order, fold_name};
pub use ids::{
    AccountId, BatchId, DestinationId, Home, IdError, Identity, IdentityId, IdentityKind, MessageId, TriggerId, WorkspaceId, hash64,
};
pub use shard::{Shard, Shards};
pub use time::{DAY_MS, Day, Timestamp};
