//! The long run of the fault simulator: many seeds on all cores, every fault, until so many events were told.

use anyhow::{Context, Result, bail};
use clap::Parser;
use domain::mutant::Mutant;
use harpoon_tests::sim::{
    Counts, Fault, Faults, Load, Plan, Report,
    hunt::{self, Caught, hunt},
    run_watching,
};
use indicatif::{ProgressBar, ProgressStyle};
use mimalloc::MiMalloc;
use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

// A run allocates and frees all the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs the real stages under simulated faults and compares everything with a replay.
#[derive(Debug, Parser)]
struct Options {
    /// How many events clients tell, in all seeds together.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events of one seed, if there are so many.
    #[arg(long, default_value_t = 5_000)]
    per_seed: u64,
    /// `uniform`, `hot-account`, `hot-identity` or `giant-account`; all of them in turn when absent.
    #[arg(long)]
    load: Option<String>,
    /// How many simulated days the traffic of a seed lasts; 0 for less than an hour. Few with most seeds, weeks with some when absent.
    #[arg(long)]
    days: Option<i64>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// `all`, `many`, `slow` or `none`.
    #[arg(long, default_value = "all")]
    faults: String,
    /// Accounts with more identities than this are giant; as many as in a deployment when absent, and fewer in short runs.
    #[arg(long)]
    giants: Option<usize>,
    /// A deliberate bug, by its name.
    #[arg(long)]
    mutant: Option<String>,
    /// Look for runs that see the deliberate bugs (all, or the one that `--mutant` names), and print a table.
    #[arg(long)]
    hunt: bool,
    /// Print every operation on items whose keys hold this text.
    #[arg(long)]
    watch: Option<String>,
}

#[derive(Default)]
struct Totals {
    events: u64,
    accepted: u64,
    faults: Counts,
    messages: u64,
    posts: u64,
    operations: u64,
    days: i64,
    giants: u64,
    seeds: u64,
    violations: Vec<String>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.events += report.events;
        self.accepted += report.accepted;
        self.faults.merge(&report.faults);
        self.messages += report.messages;
        self.posts += report.posts;
        self.operations += report.operations;
        self.days += report.days;
        self.giants += report.giants;
        self.seeds += 1;
        self.violations.extend(report.violations.iter().map(ToString::to_string));
    }
}

/// Looks for the deliberate bugs on all threads.
fn hunt_all(options: &Options) -> Result<ExitCode> {
    let wanted: Vec<Mutant> = match options.mutant.as_deref() {
        Some(name) => Mutant::ALL.into_iter().chain(Mutant::GIANT).filter(|mutant| format!("{mutant:?}") == name).collect(),
        None => Mutant::ALL.into_iter().chain(Mutant::GIANT).collect(),
    };
    let (next, survived) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                while let Some(mutant) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|n| wanted.get(n)) {
                    match hunt(hunt::plans(*mutant, 120)) {
                        Some(Caught { plan, what, tries }) => {
                            let Plan { seed, events, load, days, faults, .. } = plan;
                            let faults = faults.name();
                            println!("    (Mutant::{mutant:?}, {seed}, {events}, Load::{load:?}, {days}, Faults::{faults}()), // run {tries}: {what:.160}");
                        }
                        None => {
                            survived.fetch_add(1, Ordering::Relaxed);
                            println!("{mutant:?} was not seen");
                        }
                    }
                }
            });
        }
    });
    Ok(if survived.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plans(options: &Options) -> Result<Vec<Plan>> {
    let load = options.load.as_deref().map(|name| Load::parse(name).with_context(|| format!("there is no load `{name}`"))).transpose()?;
    let mutant = match options.mutant.as_deref() {
        None => None,
        Some(name) => {
            let found = Mutant::ALL.into_iter().chain(Mutant::GIANT).find(|mutant| format!("{mutant:?}") == name);
            Some(found.with_context(|| format!("there is no deliberate bug `{name}`"))?)
        }
    };
    let Some(faults) = Faults::named(&options.faults) else {
        bail!("there are no faults `{}`: `all`, `many`, `slow` or `none`", options.faults);
    };
    let mut plans = Vec::new();
    let mut left = options.events;
    while left > 0 {
        let events = left.min(options.per_seed.max(1));
        left -= events;
        let seed = options.seed + plans.len() as u64;
        let load = load.unwrap_or(Load::ALL[(seed % 4) as usize]);
        let plan = Plan::new(seed, usize::try_from(events)?, load);
        plans.push(Plan {
            faults,
            mutant,
            days: options.days.unwrap_or_else(|| days(seed)),
            giants: options.giants.or(plan.giants),
            ..plan
        });
    }
    Ok(plans)
}

/// Every simulated night costs as much as some events: few seeds live through many.
fn days(seed: u64) -> i64 {
    match seed / 4 % 10 {
        0..=5 => 0,
        6 => 1,
        7 => 2,
        8 => 4,
        _ => 14 + (seed % 17) as i64,
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if options.hunt {
        return hunt_all(&options);
    }
    let plans = plans(&options)?;
    let (next, totals, begun) = (AtomicU64::new(0), Mutex::new(Totals::default()), Instant::now());
    let bar = ProgressBar::new(options.events);
    bar.set_style(ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left, {msg}")?);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                while let Some(plan) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|n| plans.get(n)) {
                    let report = run_watching(plan, options.watch.as_deref());
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    for violation in &report.violations {
                        bar.suspend(|| println!("{violation}"));
                    }
                    totals.add(&report);
                    bar.inc(report.events);
                    bar.set_message(format!("{} faults, {} violations", totals.faults.total(), totals.violations.len()));
                }
            });
        }
    });
    bar.finish();
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = begun.elapsed().as_secs_f64();
    println!("events        {} ({} accepted)", totals.events, totals.accepted);
    println!("seeds         {} from {}", totals.seeds, options.seed);
    println!("messages      {}", totals.messages);
    println!("posts         {}", totals.posts);
    println!("operations    {}", totals.operations);
    println!("simulated     {} days", totals.days);
    println!("giants        {}", totals.giants);
    println!("took          {seconds:.1} s, {:.0} events/s", totals.events as f64 / seconds);
    println!("faults        {}", totals.faults.total());
    for fault in Fault::ALL {
        println!("  {:<20} {}", format!("{fault:?}"), totals.faults.of(fault));
    }
    println!("violations    {}", totals.violations.len());
    Ok(if totals.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
