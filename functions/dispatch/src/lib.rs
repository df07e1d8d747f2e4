#![doc = include_str!("../README.md")]

mod config;
pub mod directory;
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
pub use directory::{Directory, LevelName, LevelNames, ModelDirectory, Person, Play, SegmentNames};
pub use dispatcher::{Dispatcher, Settings};
pub use outbound::{HyperTransport, Resolver, SystemResolver};
pub use transport::{Answer, FakeTransport, Outgoing, Transport, TransportError};

#[cfg(test)]
mod tests;
