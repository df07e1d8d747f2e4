#![doc = include_str!("../README.md")]

mod config;
mod dispatcher;
pub mod notice;
pub mod outbound;
pub mod schedule;
pub mod signature;
pub mod slack;
mod text;
pub mod transport;
pub mod webhook;

pub use config::{Config, ConfigError};
pub use dispatcher::{Dispatcher, Settings};
pub use notice::{Directory, LevelName, LevelNames, Person, Play, RecordDirectory};
pub use outbound::{HyperTransport, Resolver, SystemResolver};
pub use transport::{Answer, FakeTransport, Outgoing, Transport, TransportError};

#[cfg(test)]
mod tests;
