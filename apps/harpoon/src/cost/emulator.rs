//! The same load through the embedded DynamoDB and the real SDK: what the store reports beside what our arithmetic says.

use super::{
    counted::Pace,
    rig::Engine,
    run::{Measured, Plan, measure},
};
use crate::store::EmbeddedStore;
use anyhow::Context;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// What both say about one stage and table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Compared {
    /// The stage.
    pub stage: &'static str,
    /// The table.
    pub table: String,
    /// Read units by our arithmetic.
    pub read_units: f64,
    /// Read units that the store reported.
    pub reported_read_units: f64,
    /// Write units by our arithmetic.
    pub write_units: f64,
    /// Of these, those of failed writes: DynamoDB bills them, and its answers do not report them.
    pub failed_units: f64,
    /// Write units that the store reported.
    pub reported_write_units: f64,
}

impl Compared {
    /// Whether both agree, but for failed writes.
    pub fn agrees(&self) -> bool {
        let close = |a: f64, b: f64| (a - b).abs() < 0.01;
        close(self.read_units, self.reported_read_units) && close(self.write_units - self.failed_units, self.reported_write_units)
    }
}

/// Runs a plan against the embedded store.
///
/// # Errors
/// The store can't be opened, or a stage failed.
pub fn measure_emulated(plan: &Plan) -> anyhow::Result<Measured> {
    let dir = tempfile::tempdir().context("there is no place for a temporary database")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (embedded, store) = runtime.block_on(EmbeddedStore::open(&dir.path().join("cost.db"), PREFIX))?;
    let measured = measure(plan, Engine::Real(runtime), Pace::Real, |stage, ledger| {
        let told = ledger.clone();
        let metered = store.clone().metered(Arc::new(move |units| told.reported(stage, units.table, units.operation, units.units)));
        (metered, store.clone())
    });
    drop(store);
    drop(embedded);
    measured
}

const PREFIX: &str = "cost-";

/// Both counts of the steady state, by stage and table.
pub fn compared(measured: &Measured) -> Vec<Compared> {
    let mut by_place: BTreeMap<(&'static str, String), Compared> = BTreeMap::new();
    let counts = &measured.steady.counts;
    for (entry, count) in &counts.store {
        let line = by_place.entry((entry.stage, entry.table.to_owned())).or_default();
        line.read_units += count.read_units;
        line.write_units += count.write_units;
        line.failed_units += count.failed_units;
    }
    for ((stage, table, _), (reads, writes)) in &counts.reported {
        let table = table.strip_prefix(PREFIX).unwrap_or(table).to_owned();
        let line = by_place.entry((stage, table)).or_default();
        line.reported_read_units += reads;
        line.reported_write_units += writes;
    }
    by_place.into_iter().map(|((stage, table), line)| Compared { stage, table, ..line }).collect()
}
