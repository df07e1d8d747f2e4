//! `harpoon cost`: what a load costs in the cloud, from counted units, requests and milliseconds. Needs no account.
//!
//! The real stages run in this process over counting adapters. What DynamoDB would bill is counted by its published rules
//! ([`units`]), what SQS would bill in units of 64 KB, and what Lambda would bill from the critical path of each invocation: the
//! stated latencies of its requests ([`virtual_time`]), plus the processor time that was measured here.

pub mod bill;
pub mod counted;
pub mod emulator;
pub mod ledger;
pub mod load;
pub mod prices;
mod report;
pub mod rig;
pub mod run;
pub mod units;
pub mod virtual_time;

use crate::text::say;
use anyhow::{Context, ensure};
use bill::Bill;
use counted::Pace;
use load::Size;
use pipeline::memory::MemoryStore;
use prices::PriceFile;
use report::Row;
use rig::{Engine, Filling};
use run::{Measured, Plan, measure};
use std::{path::PathBuf, sync::Arc};
use virtual_time::VirtualTime;

/// What the meter is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Events of each measured load, about.
    #[arg(long, default_value_t = 40_000)]
    pub events: usize,
    /// Events of a request.
    #[arg(long, value_delimiter = ',', default_value = "1,10,20,100")]
    pub batch: Vec<usize>,
    /// Identities of a request.
    #[arg(long, value_delimiter = ',', default_value = "1,20")]
    pub identities: Vec<usize>,
    /// Known accounts; as many as the load needs when absent.
    #[arg(long)]
    pub accounts: Option<usize>,
    /// People of each account.
    #[arg(long, default_value_t = 5)]
    pub leads_per_account: usize,
    /// Requests that touch an account within a window of score.
    #[arg(long, default_value_t = 4)]
    pub touches: usize,
    /// Events a second: how full batches get.
    #[arg(long, default_value_t = 100)]
    pub rate: usize,
    /// Bytes of an event as it arrives, on average.
    #[arg(long, default_value_t = 640)]
    pub event_bytes: usize,
    /// Pollers that share a queue.
    #[arg(long, default_value_t = 1)]
    pub pollers: usize,
    /// Messages that a poller gets with one receive, at most 10.
    #[arg(long, default_value_t = 10)]
    pub per_receive: usize,
    /// Of the accounts touched in a window, the share whose level changes so that a trigger fires.
    #[arg(long, default_value_t = 0.001)]
    pub trigger_rate: f64,
    /// Also run the loads of 20 events a batch through the embedded DynamoDB, and compare what it reports.
    #[arg(long)]
    pub emulator: bool,
    /// How many events of each load the embedded DynamoDB is given, about.
    #[arg(long, default_value_t = 2_000)]
    pub emulator_events: usize,
    /// Also show what the loads of 20 events a batch cost under other assumptions.
    #[arg(long)]
    pub sensitivity: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The region whose prices are used.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// A price file instead of the built-in one.
    #[arg(long)]
    pub prices: Option<PathBuf>,
    /// Another seed makes another load of the same kind.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Counts and prints.
///
/// # Errors
/// The price file can't be used, or a stage failed.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let arguments = arguments.clone();
    // The stages run on virtual time, on a thread of their own.
    tokio::task::spawn_blocking(move || count(&arguments)).await.context("the counting ended early")?
}

fn plans(arguments: &Arguments) -> anyhow::Result<Vec<Plan>> {
    let positive =
        [arguments.events, arguments.leads_per_account, arguments.touches, arguments.rate, arguments.pollers, arguments.per_receive];
    ensure!(positive.iter().chain(&arguments.batch).chain(&arguments.identities).all(|n| *n > 0), "every number must be at least 1");
    ensure!(arguments.event_bytes >= 560, "an event has at least 560 bytes");
    let mut plans: Vec<Plan> = Vec::new();
    for identities in &arguments.identities {
        for batch in &arguments.batch {
            let size = Size {
                seed: arguments.seed,
                accounts: 1,
                leads_per_account: arguments.leads_per_account,
                event_bytes: arguments.event_bytes,
            };
            let mut plan = Plan {
                size,
                batch: *batch,
                identities: (*identities).min(*batch),
                touches: arguments.touches,
                rate: arguments.rate,
                events: arguments.events,
                firing_ppm: (arguments.trigger_rate.clamp(0.0, 1.0) * 1e6).round() as u64,
                filling: Filling { pollers: arguments.pollers, per_receive: arguments.per_receive },
            };
            plan.size.accounts = arguments.accounts.unwrap_or_else(|| plan.accounts_needed());
            if !plans.contains(&plan) {
                plans.push(plan);
            }
        }
    }
    Ok(plans)
}

/// Counts one load on virtual time.
fn row(plan: Plan, prices: &PriceFile, region: &str) -> anyhow::Result<Row> {
    tracing::info!(batch = plan.batch, identities = plan.identities, accounts = plan.size.accounts, "counting");
    let time = VirtualTime::default();
    let store = Arc::new(MemoryStore::default());
    let pace = Pace::Stated(time.clone(), prices.latency);
    let measured = measure(&plan, Engine::Virtual(time), pace, |_, _| (Arc::clone(&store), Arc::clone(&store)))
        .with_context(|| format!("a batch of {} with {} identities can't be counted", plan.batch, plan.identities))?;
    let bill = Bill::of(&measured.steady.counts, prices.region(region)?, &prices.function, 1e6 / measured.steady.of.max(1) as f64);
    Ok(Row { plan, measured, bill })
}

fn count(arguments: &Arguments) -> anyhow::Result<()> {
    let prices = PriceFile::read(arguments.prices.as_deref())?;
    let region = arguments.region.as_str();
    prices.region(region)?;
    let rows = plans(arguments)?.into_iter().map(|plan| row(plan, &prices, region)).collect::<anyhow::Result<Vec<Row>>>()?;
    if arguments.json {
        say(serde_json::to_string_pretty(&report::json(&rows))?)?;
        return Ok(());
    }
    say(report::loads(&rows))?;
    if cfg!(debug_assertions) {
        say("This is a debug build: the processor time that was measured is many times that of a release build.")?;
    }
    let reference: Vec<&Row> = rows.iter().filter(|row| row.plan.batch == REFERENCE_BATCH || rows.len() == 1).collect();
    for row in &reference {
        for part in
            [report::breakdown(row, &prices, region)?, report::apart(row, &prices, region)?, report::dominating(row, &prices, region)?]
        {
            say(format_args!("\n{part}"))?;
        }
    }
    if arguments.sensitivity {
        let mut others = Vec::new();
        for Row { plan, .. } in &reference {
            let filling = plan.filling;
            let variants = [
                ("five pollers a queue", Plan { filling: Filling { pollers: 5, ..filling }, ..*plan }),
                ("one message a receive", Plan { filling: Filling { per_receive: 1, ..filling }, ..*plan }),
                ("an account touched once a window", Plan { touches: 1, ..*plan }),
                ("ten times slower", Plan { rate: (plan.rate / 10).max(1), ..*plan }),
            ];
            for (name, mut plan) in variants {
                plan.events = plan.events.min(SENSITIVITY_EVENTS);
                plan.size.accounts = arguments.accounts.unwrap_or_else(|| plan.accounts_needed());
                others.push((name.to_owned(), row(plan, &prices, region)?));
            }
        }
        say(format_args!("\n{}", report::sensitivity(&others)))?;
    }
    if arguments.emulator {
        for Row { plan, .. } in reference {
            let plan = Plan { events: arguments.emulator_events, rate: plan.rate.min(EMULATED_RATE), ..*plan };
            let plan = Plan { size: Size { accounts: plan.accounts_needed(), ..plan.size }, ..plan };
            let measured = emulator::measure_emulated(&plan).context("the load can't be run through the embedded DynamoDB")?;
            // The same load without the SDK: what its requests take is the difference.
            let without = row(plan, &prices, region)?.measured;
            let computed = |measured: &Measured| {
                let functions = measured.steady.counts.functions.values();
                functions.fold((0, 0), |(cpu, calls), count| (cpu + count.cpu_us, calls + count.calls))
            };
            let ((with, calls), (without, _)) = (computed(&measured), computed(&without));
            let sdk_ms = (with as f64 - without as f64) / calls.max(1) as f64 / 1_000.0;
            let lines = emulator::compared(&measured);
            say(format_args!("\n{}", report::compared(&plan, &lines, sdk_ms, prices.function.request_cpu_ms)))?;
        }
    }
    Ok(())
}

/// The loads that the figures to reach are about have batches of so many events.
const REFERENCE_BATCH: usize = 20;
/// Events of a load under another assumption, at most.
const SENSITIVITY_EVENTS: usize = 10_000;
/// Events a second through the embedded store, at most: fewer people to introduce.
const EMULATED_RATE: usize = 25;
