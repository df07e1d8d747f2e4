//! Looks for a run that sees a deliberate bug.

use super::{Faults, Load, Plan, run};
use domain::mutant::Mutant;

/// A bug that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Caught {
    /// The run that saw it.
    pub plan: Plan,
    /// What it saw.
    pub what: String,
    /// How many runs were tried.
    pub tries: usize,
}

/// The runs in which a bug is looked for: small ones first, under every load, with some and with many
/// faults, over weeks and within an hour.
pub fn plans(mutant: Mutant, tries: u64) -> impl Iterator<Item = Plan> {
    (1..=tries).map(move |n| {
        let faults = if n % 2 == 0 { Faults::many() } else { Faults::all() };
        let events = if n <= tries / 2 { 300 } else { 1_000 };
        let days = if n % 4 < 2 { 30 } else { 0 };
        Plan { faults, days, mutant: Some(mutant), ..Plan::new(1_000 + n, events, Load::ALL[(n % 3) as usize]) }
    })
}

/// The first of the runs that sees the bug and is sound without it.
pub fn hunt(plans: impl Iterator<Item = Plan>) -> Option<Caught> {
    for (tries, plan) in plans.enumerate() {
        let report = run(&plan);
        let Some(violation) = report.violations.first() else { continue };
        if run(&Plan { mutant: None, ..plan }).violations.is_empty() {
            return Some(Caught { plan, what: violation.what.clone(), tries: tries + 1 });
        }
    }
    None
}
