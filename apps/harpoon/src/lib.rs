#![doc = include_str!("../README.md")]

pub mod client;
pub mod cost;
pub mod dead;
pub mod demo;
pub mod explain;
pub mod keys;
pub mod local;
pub mod local_queue;
pub mod runner;
pub mod serve;
pub mod server;
pub mod setup;
pub mod store;
pub mod text;
pub mod verify;
