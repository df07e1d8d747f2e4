#![doc = include_str!("../README.md")]

pub mod account_rules;
pub mod aliases;
pub mod candidate;
pub mod channel;
pub mod coverage;
pub mod decay;
pub mod dry_run;
pub mod engagement;
pub mod evaluate;
pub mod event;
pub mod explain;
pub mod facts;
pub mod field;
pub mod giant;
pub mod grade;
pub mod ids;
pub mod lead;
pub mod level;
pub mod lint;
pub mod mail;
pub mod mapping;
pub mod model;
pub mod mutant;
pub mod owner;
pub mod problem;
pub mod profile;
pub mod programmes;
pub mod resolution;
pub mod ruleset;
mod scan;
pub mod score;
pub mod segment;
pub mod segments;
pub mod shard;
pub mod state;
pub mod surge;
pub mod time;
pub mod transition;
pub mod trigger;

pub use channel::Channel;
pub use event::{CallKind, Event, JsonObject, NamedAccount, NamedBy, Order, fold_name};
pub use ids::{
    AccountId, BatchId, DestinationId, Home, IdError, Identity, IdentityId, IdentityKind, JobId, MessageId, RulesetId, TriggerId,
    WorkspaceId, hash64,
};
pub use shard::{Shard, Shards};
pub use time::{DAY_MS, Day, Timestamp};
