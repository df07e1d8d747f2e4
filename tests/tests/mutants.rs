//! Deliberate bugs, one at a time, and the run of the fault simulator that sees each. A simulator that finds nothing proves nothing.

use domain::mutant::Mutant;
use harpoon_tests::sim::{
    Faults, Load, Plan,
    hunt::{Caught, hunt, plans},
};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The run that is known to see a bug, tried first: the bug, the seed, the events, the load, the days and the faults.
/// `soak --hunt` prints them.
const KNOWN: [(Mutant, u64, usize, Load, i64, Faults); 0] = [];

/// Further runs that are tried before a bug counts as survived.
const TRIES: u64 = 30;

fn known(mutant: Mutant) -> impl Iterator<Item = Plan> {
    KNOWN.into_iter().filter(move |(known, ..)| *known == mutant).map(move |(_, seed, events, load, days, faults)| Plan {
        faults,
        days,
        mutant: Some(mutant),
        ..Plan::new(seed, events, load)
    })
}

/// A run counts only when it is sound without the bug.
#[test]
fn every_deliberate_bug_is_seen() {
    let all: Vec<Mutant> = Mutant::ALL.into_iter().chain(Mutant::GIANT).collect();
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = hunt(known(*mutant).chain(plans(*mutant, TRIES)));
                    caught.lock().unwrap().push((*mutant, found));
                }
            });
        }
    });
    let mut caught: Vec<(Mutant, Option<Caught>)> = caught.into_inner().unwrap();
    caught.sort_by_key(|(mutant, _)| *mutant);
    println!("{:<26} | {:>6} | {:<13} | what was seen", "mutant", "seed", "load");
    for (mutant, Caught { plan, what, tries }) in caught.iter().filter_map(|(mutant, found)| Some((mutant, found.as_ref()?))) {
        let again = if *tries > 1 { format!(" (run {tries})") } else { String::new() };
        println!("{:<26} | {:>6} | {:<13} | {what:.160}{again}", format!("{mutant:?}"), plan.seed, plan.load.as_str());
    }
    let survived: Vec<Mutant> = caught.iter().filter(|(_, found)| found.is_none()).map(|(mutant, _)| *mutant).collect();
    assert!(survived.is_empty(), "these bugs were not seen: {survived:?}");
}
