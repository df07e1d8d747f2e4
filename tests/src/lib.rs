//! What the integration tests share: a whole pipeline over in-memory adapters, with a clock that stands still.

pub mod bench;
pub mod caller;
pub mod hooked;
pub mod random;
pub mod sim;
pub mod world;

pub mod contracts;
