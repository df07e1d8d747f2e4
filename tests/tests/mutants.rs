//! Deliberate bugs, one at a time, and the seed of the fault simulator that sees each. A simulator that finds nothing proves nothing.

use domain::mutant::Mutant;
use harpoon_tests::sim::{
    Faults, Load, Plan,
    hunt::{Caught, hunt, plans},
};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Runs that are known to see a bug, tried first: the bug, the seed, the events, the load, the days, and whether many faults are
/// injected.
/// `soak --hunt` prints them.
const KNOWN: [(Mutant, u64, usize, Load, i64, bool); 0] = [];

/// Further runs that are tried before a bug counts as survived.
const TRIES: u64 = 60;

fn known(mutant: Mutant) -> impl Iterator<Item = Plan> {
    KNOWN.into_iter().filter(move |(known, ..)| *known == mutant).map(move |(_, seed, events, load, days, many)| {
        let faults = if many { Faults::many() } else { Faults::all() };
        Plan { faults, days, mutant: Some(mutant), ..Plan::new(seed, events, load) }
    })
}

#[test]
fn every_deliberate_bug_is_seen() {
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = hunt(known(*mutant).chain(plans(*mutant, TRIES)));
                    caught.lock().unwrap().push((*mutant, found));
                }
            });
        }
    });
    let mut caught: Vec<(Mutant, Option<Caught>)> = caught.into_inner().unwrap();
    caught.sort_by_key(|(mutant, _)| *mutant);
    println!("{:<26} | {:>6} | {:>6} | {:<12} | what was seen", "mutant", "seed", "events", "load");
    for (mutant, Caught { plan, what, .. }) in caught.iter().filter_map(|(mutant, found)| Some((mutant, found.as_ref()?))) {
        println!("{:<26} | {:>6} | {:>6} | {:<12} | {what:.160}", format!("{mutant:?}"), plan.seed, plan.events, plan.load.as_str());
    }
    let survived: Vec<Mutant> = caught.iter().filter(|(_, found)| found.is_none()).map(|(mutant, _)| *mutant).collect();
    assert!(survived.is_empty(), "these bugs were not seen: {survived:?}");
}
