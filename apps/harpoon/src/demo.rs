//! `harpoon demo`: sends a running server a month of invented activity over its own HTTP API.

pub mod chance;
pub mod company;
pub mod person;
mod send;
pub mod story;

use crate::{
    client::{Account, Server},
    explain::ruled_table,
    serve::Place,
    text::{grouped, plain, say},
};
use anyhow::bail;
use company::Company;
use domain::{DAY_MS, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::{Clock, SystemClock};
use send::{Sent, send};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use story::{Request, Story};
use tokio::time::sleep;

/// How often the server is asked whether it is done …
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// … how often in a row nothing may have changed …
const STILL: u32 = 6;
/// … and for how long.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the demo is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Another seed makes other companies.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many companies.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    pub companies: u16,
    /// How many days, up to now. Fewer than 25 leave no past that a surge could stand out from.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub days: u16,
}

/// Tells the story to the server, waits until everything is scored, and prints what to look at.
///
/// # Errors
/// The server can't be reached, or does not take the calls.
pub async fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<()> {
    let server = Server::at(place)?;
    server.check().await?;
    // Before anything is sent, so that a wrong token is not found out about halfway.
    server.accounts(1).await?;
    let now = SystemClock.now();
    let request = Request { seed: arguments.seed, companies: arguments.companies.into(), days: arguments.days.into(), now };
    let story = Story::tell(request);
    say(format_args!(
        "Sending {} {} of {}: {} of {}.",
        server.base_url(),
        count(arguments.days.into(), "day", "days"),
        count(arguments.companies.into(), "invented company", "invented companies"),
        count(story.calls.len(), "call", "calls"),
        count(story.people, "person", "people")
    ))?;

    let began = Instant::now();
    let bar = progress(story.calls.len());
    // What happened within the last day comes after everything else is scored: what it changes is news, and notifies.
    let (past, fresh): (Vec<_>, Vec<_>) = story.calls.into_iter().partition(|call| now.millis_since(call.at) > DAY_MS);
    let (mut sent, mut scored) = (Sent::default(), true);
    for (calls, waiting) in [(past, "waiting until the past is scored"), (fresh, "waiting until the last day is scored")] {
        bar.set_message("sending");
        sent.add(send(&server, calls, &bar).await?);
        bar.set_message(waiting);
        scored = settled(&server).await?;
    }
    bar.finish_and_clear();
    let notified = notified_since(&server, now).await?;
    let seconds = began.elapsed().as_secs_f64();
    let done = if scored { "Sent and scored in" } else { "Sent; accounts are still changing after" };
    say(format_args!("{done} {seconds:.0} seconds."))?;
    if let Some(reason) = &sent.reason {
        let calls = count(sent.refused, "call", "calls");
        bail!("the server refused {calls}; the first one because {}", plain(reason, 200));
    }
    say("The same seed on the same day makes the same messageIds: running this again today adds nothing.\n")?;
    say(to_look_at(&story.companies, &server.accounts(10_000).await?))?;
    say(format_args!("\n{}", next_steps(&server, &story.companies, notified)))?;
    Ok(())
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(i128::try_from(number).unwrap_or_default()), if number == 1 { one } else { many })
}

/// A bar on a terminal; nothing where there is none.
fn progress(calls: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(calls).unwrap_or_default());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} · {msg} · {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Waits until the accounts stay as they are for a while, or patience ends; says which.
async fn settled(server: &Server) -> anyhow::Result<bool> {
    let began = Instant::now();
    let (mut before, mut still) = (None, 0);
    while still < STILL && began.elapsed() < PATIENCE {
        let accounts = server.accounts(100_000).await?;
        still = if before.as_ref() == Some(&accounts) { still + 1 } else { 0 };
        before = Some(accounts);
        sleep(LOOK_EVERY).await;
    }
    Ok(still >= STILL)
}

/// The companies that show something, with what became of them.
fn to_look_at(companies: &[Company], accounts: &[Account]) -> String {
    let by_name: BTreeMap<&str, &Account> = accounts
        .iter()
        .flat_map(|account| {
            [Some(account.account_id.as_str()), account.domain.as_deref()].into_iter().flatten().map(move |name| (name, account))
        })
        .collect();
    let mut table = ruled_table();
    table.set_header(["Account", "Fit", "Engagement", "Surge", "What to see"]);
    for company in companies {
        let Some(note) = company.note else { continue };
        let account = by_name.get(company.id.as_str()).or_else(|| by_name.get(company.domain.as_str()));
        let name = format!("{}\n{}", company.name, company.domain);
        let Some(account) = account else {
            table.add_row([name.as_str(), "–", "–", "–", "not scored yet"]);
            continue;
        };
        let level = |score: i64, level: &Option<String>| format!("{score}\n{}", plain(level.as_deref().unwrap_or("–"), 20));
        table.add_row([
            name,
            level(account.account_score, &account.account_level),
            level(account.engagement_score, &account.engagement_level),
            if account.surge_active { "yes" } else { "–" }.to_owned(),
            note.to_owned(),
        ]);
    }
    table.trim_fmt()
}

#[derive(Deserialize)]
struct Deliveries {
    data: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Delivery {
    #[serde(default)]
    created_at: String,
}

/// How many notifications came of the story, as far as one page of the log tells.
async fn notified_since(server: &Server, began: Timestamp) -> anyhow::Result<usize> {
    let log: Deliveries = server.read("/api/v1/deliveries?limit=200").await?;
    let since = |delivery: &&Delivery| Timestamp::parse(&delivery.created_at).is_some_and(|at| at >= began);
    Ok(log.data.iter().filter(since).count())
}

fn next_steps(server: &Server, companies: &[Company], notified: usize) -> String {
    let first = companies.first().map(|company| company.domain.as_str()).unwrap_or_default();
    // As it was called: `cargo run` starts a file that is in no search path.
    let harpoon = std::env::args().next().unwrap_or_else(|| "harpoon".to_owned());
    let base = server.base_url();
    let token = "-H \"authorization: Bearer $HARPOON_API_TOKEN\"";
    let notifications = match notified {
        0 => format!(
            "To be told when an account becomes a Target or surges, make a destination and triggers (README, \"A first\n\
             webhook\"), and run the demo with another seed: {harpoon} demo --seed 2"
        ),
        n => format!("Notifications that your triggers sent: {n}. The log:\n\n  curl {token} {base}/api/v1/deliveries"),
    };
    format!(
        "Why a score is what it is:\n\n  {harpoon} explain {first}\n\n\
         Everything else is one request away. HARPOON_API_TOKEN stands for the token that the server printed:\n\n  \
         curl {token} '{base}/api/v1/accounts?surging=true&sort=engagement'\n  \
         curl {token} {base}/api/v1/accounts/{first}/timeline\n  \
         curl {token} '{base}/api/v1/leads?resolved=false'\n\n{notifications}"
    )
}
