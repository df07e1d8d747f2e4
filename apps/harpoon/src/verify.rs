//! `harpoon verify`: replays the log of a deployment and says what does not follow from it.

mod audit;
mod look;
mod mend;
pub(crate) mod reach;
mod replay;
mod report;

pub use audit::Auditor;
pub use mend::{MendError, Mended};
pub use report::{Fault, Finding, Report, Subject};

use crate::{
    explain::ruled_table,
    serve::Place,
    text::{plain, say},
};
use domain::WorkspaceId;
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::SystemClock;
use reach::Reached;
use serde_json::json;
use std::{process::ExitCode, time::Duration};

/// Findings that the table shows.
const SHOWN: usize = 20;
/// Parts in which the tables of a cloud deployment are read at once.
const CLOUD_SEGMENTS: u32 = 8;
/// How long messages between stages are waited for before what differs is looked at again.
const REST: Duration = Duration::from_secs(60);
/// How long what was mended may take to be scored and levelled.
const MENDED_WITHIN: Duration = Duration::from_secs(300);

/// What to verify.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Verify a deployment on AWS, with the region and credentials of the environment, instead of the one on this machine.
    #[arg(long)]
    pub aws: bool,
    /// What the tables' names begin with.
    #[arg(long, default_value = "harpoon-", requires = "aws")]
    pub prefix: String,
    /// Mend what is found, then verify again.
    #[arg(long)]
    pub mend: bool,
    /// Only this workspace.
    #[arg(long)]
    pub workspace: Option<String>,
    /// Seconds after which what differs is looked at again [default: 3, on AWS 30].
    #[arg(long)]
    pub wait: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Prints what was found. The exit code is 0 when everything follows from the log, 1 when something does not, 2 when that can't be told.
pub async fn run(place: &Place, arguments: &Arguments) -> ExitCode {
    match verify(place, arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("harpoon: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn verify(place: &Place, arguments: &Arguments) -> anyhow::Result<bool> {
    let workspace = arguments.workspace.as_deref().map(WorkspaceId::new).transpose()?;
    let reached = if arguments.aws { Reached::on_aws(&arguments.prefix).await } else { Reached::locally(place, arguments.mend).await? };
    let verified = verify_reached(&reached, workspace, arguments).await;
    reached.close().await;
    verified
}

async fn verify_reached(reached: &Reached, workspace: Option<WorkspaceId>, arguments: &Arguments) -> anyhow::Result<bool> {
    let wait = Duration::from_secs(arguments.wait.unwrap_or(if arguments.aws { 30 } else { 3 }));
    let pause = async || {
        let began = tokio::time::Instant::now();
        tokio::time::sleep(wait).await;
        // Where nothing runs, nothing would come of waiting.
        while reached.is_running && reached.waiting().is_some_and(|waiting| waiting > 0) && began.elapsed() < REST {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let bar = spinner();
    let auditor = Auditor::new(reached.store.clone(), SystemClock)
        .only(workspace)
        .segments(if arguments.aws { CLOUD_SEGMENTS } else { 1 })
        .showing(bar.clone());
    let mut report = auditor.run(&pause).await?;
    let mut mended = None;
    if arguments.mend && !report.agrees() {
        if !arguments.json {
            bar.suspend(|| say(page(&report)))?;
        }
        let done = auditor.mend(&report.findings).await?;
        let began = tokio::time::Instant::now();
        let mut left = report.findings;
        while !left.is_empty() && began.elapsed() < MENDED_WITHIN {
            bar.set_message(format!("waiting for {} mended places to be scored", left.len()));
            tokio::time::sleep(Duration::from_secs(1)).await;
            left = auditor.remaining(&left).await?;
        }
        report = auditor.run(&pause).await?;
        mended = Some(done);
    }
    bar.finish_and_clear();
    let mut remarks = report.remarks();
    if let Some(waiting) = reached.waiting().filter(|waiting| *waiting > 0) {
        let hint = if reached.is_running { "what they bring is not judged yet" } else { "start the server and verify again" };
        remarks.push(format!("{} between the stages: {hint}.", report::count(waiting, "message waits", "messages wait")));
    }
    if arguments.json {
        let text = json!({
            "agrees": report.agrees(), "sentence": report.sentence(), "remarks": remarks, "report": report, "mended": mended,
        });
        say(serde_json::to_string_pretty(&text)?)?;
    } else {
        if let Some(mended) = &mended {
            say(mended.sentence())?;
        }
        say(page(&report))?;
        for remark in remarks {
            say(remark)?;
        }
    }
    Ok(report.agrees())
}

/// Shows on a terminal that something happens.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The template is fixed; without it the bar looks plainer.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The sentence, and the worst findings as a table.
fn page(report: &Report) -> String {
    let worst = report.worst();
    if worst.is_empty() {
        return report.sentence();
    }
    let mut table = ruled_table();
    table.set_header(["Workspace", "Where", "What"]);
    for finding in worst.iter().take(SHOWN) {
        let what: Vec<String> = finding.faults.iter().map(Fault::words).collect();
        table.add_row([plain(finding.workspace.as_str(), 40), plain(&finding.subject.to_string(), 80), what.join("; ")]);
    }
    let more = worst.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("\n… and {more} more; --json lists all") } else { String::new() };
    format!("{}\n\n{table}{rest}", report.sentence())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AccountId, Home, Identity};

    #[test]
    fn the_worst_findings_stand_under_the_sentence() {
        let workspace = WorkspaceId::new("main").unwrap();
        let finding = |subject, faults| Finding { workspace: workspace.clone(), subject, faults };
        let account = |n: u64| Subject::Home(Home::Account(AccountId::new(&format!("acct-{n:02}")).unwrap()));
        let mut findings: Vec<Finding> = (1..=22).map(|n| finding(account(n), vec![Fault::ScoreDiffers { points: n }])).collect();
        findings.push(finding(Subject::Identity(Identity::user("ada").id()), vec![Fault::EventsMissing { events: 40 }]));
        let page = page(&Report { findings, ..Report::default() });
        let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "22 accounts differ, largest by 22 points; 1 identity has 40 events that its state lacks.");
        assert!(lines[4].contains("identity ") && lines[4].ends_with("its state lacks 40 events"), "{page}");
        assert!(lines[5].contains("account acct-22") && lines[5].ends_with("the score differs by 22 points"), "{page}");
        assert_eq!(lines.last(), Some(&"… and 3 more; --json lists all"));
        assert_eq!(lines.len(), 4 + SHOWN + 1, "{page}");
    }
}
