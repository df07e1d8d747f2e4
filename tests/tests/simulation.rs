//! The real stages under simulated faults: a short run of what `make soak` does for hours.

use harpoon_tests::sim::{Counts, Fault, Faults, Load, Plan, Report, run};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn sound(report: &Report) {
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Runs plans on two threads.
fn run_all(plans: &[Plan]) -> Vec<Report> {
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = run(plan);
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    reports.into_inner().unwrap()
}

#[test]
fn without_a_fault_every_event_is_accepted_and_counted() {
    for load in Load::ALL {
        let report = run(&Plan { faults: Faults::none(), ..Plan::new(7, 300, load) });
        sound(&report);
        assert_eq!((report.accepted, report.events), (300, 300));
        let injected = report.faults.total() - report.faults.of(Fault::ExpiredAnswered) - report.faults.of(Fault::ExpiredRemoved);
        assert_eq!(injected, 0, "{:?}", report.faults);
        assert!(report.posts > 0);
    }
}

#[test]
fn the_same_plan_gives_the_same_run() {
    let plan = Plan::new(11, 300, Load::HotAccount);
    let (once, again) = (run(&plan), run(&plan));
    assert_eq!(once, again);
    assert_ne!(once.digest, run(&Plan { seed: 12, ..plan }).digest);
}

#[test]
fn nothing_is_lost_or_doubled_whatever_goes_wrong() {
    // Over weeks, and within an hour, where no night's rescoring makes good what went wrong.
    let days = |seed: u64| if seed <= 2 { 20 } else { 0 };
    let mut plans: Vec<Plan> =
        (1..=8).flat_map(|seed| Load::ALL.map(|load| Plan { days: days(seed), ..Plan::new(seed, 300, load) })).collect();
    // Long enough that what expires is met again.
    plans.push(Plan { days: 60, ..Plan::new(3, 2_000, Load::HotIdentity) });
    let (mut faults, mut giants) = (Counts::default(), 0);
    let mut violations = Vec::new();
    for report in run_all(&plans) {
        assert!(report.events >= 300);
        violations.extend(report.violations.iter().map(ToString::to_string));
        faults.merge(&report.faults);
        giants += report.giants;
    }
    assert!(giants > 0, "no account was ever giant");
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    for fault in Fault::ALL {
        assert!(faults.of(fault) > 0, "{fault:?} never happened");
    }
}

#[test]
fn nothing_of_an_account_with_more_than_200_identities_is_lost_or_doubled() {
    let report = run(&Plan { days: 0, ..Plan::new(3, 2_400, Load::GiantAccount) });
    sound(&report);
    assert_eq!(report.giants, 1);
}
