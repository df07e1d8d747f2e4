//! The store and queue contracts over two more stand-ins for AWS: MiniStack, which the cloud deployment is tested on, and the server of
//! moto. The embedded database keeps the store contract, but what it alone shows could be a mistake that it shares with us; two others,
//! who read AWS's documentation for themselves, are witnesses.
//!
//! `make cloud` starts both and runs this; `cargo test --workspace` does not. What a witness does not keep stands beside what it keeps.

#[cfg(test)]
mod ministack;
#[cfg(test)]
mod moto;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod witness;
