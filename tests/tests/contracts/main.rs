//! Every adapter keeps the contract of its port, and batches are handled as Lambda expects.

#[cfg(test)]
mod batch;
#[cfg(test)]
mod local;
#[cfg(test)]
mod local_queue;
#[cfg(test)]
mod place;
#[cfg(test)]
mod runner;
#[cfg(test)]
mod store;
#[cfg(test)]
mod wire;
