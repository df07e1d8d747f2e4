//! Deliberate bugs, one at a time, and the run of the fault simulator that sees each. A simulator that finds nothing proves nothing.

use domain::mutant::Mutant;
use harpoon_tests::sim::{
    Faults, Load, Plan,
    hunt::{self, Caught, hunt, plans},
};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The run that is known to see a bug, tried first: the bug, the seed, the events, the load, the days and the faults.
/// `soak --hunt` prints them.
const KNOWN: [(Mutant, u64, usize, Load, i64, Faults); 28] = [
    (Mutant::SharedBatchId, 20, 200, Load::HotIdentity, 0, Faults::many()),
    (Mutant::StateBeforeParcel, 1, 200, Load::HotIdentity, 0, Faults::many()),
    (Mutant::StateWrittenBlindly, 1, 200, Load::HotIdentity, 0, Faults::many()),
    (Mutant::FoldCreatesState, 1_002, 200, Load::HotIdentity, 0, Faults::slow()),
    (Mutant::EvictedIdsForgotten, 1_002, 200, Load::HotIdentity, 0, Faults::slow()),
    (Mutant::SpillExpires, 1_010, 200, Load::HotIdentity, 20, Faults::many()),
    (Mutant::UnfinishedSpillBelieved, 9_003, 200, Load::HotIdentity, 0, Faults::slow()),
    (Mutant::FirstFoldedCopyKept, 1_001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::RefoldForgetsOld, 1_005, 200, Load::HotAccount, 20, Faults::slow()),
    (Mutant::AckBeforeWrite, 2, 200, Load::HotIdentity, 0, Faults::many()),
    (Mutant::ResolveSendSkipped, 1_001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::MoveWithoutDue, 1_007, 200, Load::GiantAccount, 0, Faults::many()),
    (Mutant::MoveInTwoSteps, 1_007, 200, Load::GiantAccount, 0, Faults::many()),
    (Mutant::VersionAfterStates, 1_062, 200, Load::HotIdentity, 0, Faults::slow()),
    (Mutant::ScoreWrittenBlindly, 1_002, 200, Load::HotIdentity, 0, Faults::slow()),
    (Mutant::ScoreSendSkipped, 1001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::OldModelWrites, 1_004, 200, Load::Uniform, 0, Faults::many()),
    (Mutant::LevelSendSkipped, 1_003, 200, Load::GiantAccount, 0, Faults::all()),
    (Mutant::PendingForgotten, 1001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::PendingRemovedBeforeSend, 1_001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::StandingWrittenBlindly, 1_004, 200, Load::Uniform, 0, Faults::many()),
    (Mutant::DueNotLeased, 1001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::DeliveryIdByMoment, 1001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::CooldownTakenApart, 1004, 200, Load::Uniform, 0, Faults::many()),
    (Mutant::SplitLost, 1_001, 200, Load::HotAccount, 20, Faults::many()),
    (Mutant::ShardForgotten, 1_009, 200, Load::HotAccount, 0, Faults::all()),
    (Mutant::OldSumBelieved, 1004, 200, Load::GiantAccount, 0, Faults::many()),
    (Mutant::VersionAfterSums, 7_847, 300, Load::Uniform, 0, Faults::slow()),
];

/// Further runs that are tried before a bug counts as survived.
const TRIES: u64 = 30;

fn known(mutant: Mutant) -> impl Iterator<Item = Plan> {
    KNOWN.into_iter().filter(move |(known, ..)| *known == mutant).map(move |(_, seed, events, load, days, faults)| Plan {
        faults,
        days,
        mutant: Some(mutant),
        giants: hunt::giants(mutant, load),
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
