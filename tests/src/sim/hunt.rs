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

/// The runs in which a bug is looked for: small ones first, under every load, with some, with many and with few
/// faults, over weeks and within an hour.
pub fn plans(mutant: Mutant, tries: u64) -> impl Iterator<Item = Plan> {
    (1..=tries).map(move |n| {
        let faults = [Faults::all(), Faults::many(), Faults::slow()][(n % 3) as usize];
        let events = if n <= tries * 2 / 3 { 200 } else { 600 };
        let days = if n % 5 < 2 { 20 } else { 0 };
        let load = Load::ALL[(n % 4) as usize];
        Plan { faults, days, giants: giants(mutant, load), mutant: Some(mutant), ..Plan::new(1_000 + n, events, load) }
    })
}

/// Bugs in what only giants have are looked for where nearly every account is one.
pub fn giants(mutant: Mutant, load: Load) -> Option<usize> {
    if Mutant::GIANT.contains(&mutant) && load != Load::GiantAccount { Some(3) } else { Plan::new(0, 0, load).giants }
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
