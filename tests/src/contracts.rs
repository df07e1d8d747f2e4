//! What every adapter of a port owes its users. A test target runs these clauses over each adapter, so that a stage that passes
//! its tests in memory behaves alike on the real thing.

pub mod queue;
pub mod store;
