#![doc = include_str!("../README.md")]

pub mod accounts;
pub mod board;
pub mod clock;
pub mod credentials;
pub mod environment;
mod events;
pub mod homes;
pub mod memory;
pub mod messages;
pub mod models;
pub mod notify;
mod pack;
pub mod parcels;
pub mod queue;
pub mod records;
pub mod secrets;
pub mod stage;
pub mod state_body;
pub mod store;

pub use clock::{Clock, Entropy, ManualClock, SystemClock, SystemEntropy};
pub use credentials::{Credential, CredentialKind, Credentials};
pub use events::Events;
pub use messages::{AccountChanged, AccountScored, AccountTouched, Change, EventsReceived, Message, Parcel, Rejected};
pub use queue::{Homes, Queue, QueueError};
pub use records::Versioned;
pub use secrets::{SecretError, Secrets};
pub use stage::{Outcome, Received, Stage, StageError};
pub use store::{Body, Condition, Consistency, Item, Key, Page, Query, Scan, ScanPage, Store, StoreError, Table, Write};
