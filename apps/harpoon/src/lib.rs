//! Harpoon on one machine: the stages of a deployment in one process, with no cloud account.
//!
//! [`local::Local::start`] starts everything on one port; `harpoon serve` does so and prints how to use it.

pub mod local;
pub mod local_queue;
pub mod runner;
pub mod serve;
pub mod server;
pub mod setup;
pub mod store;
