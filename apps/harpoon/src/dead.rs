//! `harpoon dead`: what lies in the dead queues, and the way back, on this machine or on AWS.

use crate::{
    local_queue::{DeadMessage, LocalQueues},
    serve::Place,
    text::{grouped, plain, say},
};
use anyhow::bail;
use aws::{AwsClients, ParkedMessage};
use clap::{Args, Subcommand, ValueEnum};
use domain::Timestamp;
use pipeline::{Clock, SystemClock};
use std::{fmt::Write, sync::Arc};

/// How many messages of each dead queue are listed.
const LISTED: usize = 100;

/// What to do with parked messages.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// List what was parked, and why.
    List {
        /// Only what this stage could not work on.
        #[arg(long)]
        stage: Option<Stage>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show one parked message with everything that it holds.
    Show {
        /// The message's id, as listed.
        id: String,
        /// The stage that could not work on it; without it every dead queue is searched.
        #[arg(long)]
        stage: Option<Stage>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Send parked messages back to their stage. Pause dispatch first if what they bring should notify nobody yet.
    Redrive {
        /// The stage that could not work on them.
        #[arg(long)]
        stage: Stage,
        /// Only the message with this id.
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Clone, Args)]
struct Reach {
    /// Look at a deployment on AWS, with the region and credentials of the environment, instead of the one on this machine.
    #[arg(long)]
    aws: bool,
    /// What the queues' names begin with.
    #[arg(long, default_value = "harpoon-", requires = "aws")]
    prefix: String,
}

/// A stage that reads a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    Resolve,
    Score,
    Level,
    Dispatch,
}

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Score => "score",
            Self::Level => "level",
            Self::Dispatch => "dispatch",
        }
    }
}

/// The stages to look at: one, or all.
fn stages(one: Option<Stage>) -> Vec<Stage> {
    one.map_or_else(|| Stage::value_variants().to_vec(), |stage| vec![stage])
}

/// A parked message, wherever it lies.
struct Parked {
    stage: Stage,
    id: String,
    body: String,
    reason: String,
    since: Option<Timestamp>,
}

impl Parked {
    fn here(stage: Stage, message: DeadMessage) -> Self {
        let DeadMessage { id, body, reason, died_at, .. } = message;
        Self { stage, id, body, reason, since: Some(died_at) }
    }

    fn on_aws(stage: Stage, message: ParkedMessage) -> Self {
        let reason = message.reason.unwrap_or_else(|| "given up by the queue: received too often and never acknowledged".to_owned());
        Self { stage, id: message.id, body: message.body, reason, since: message.sent_at }
    }

    fn since(&self) -> String {
        self.since.map(|at| at.to_string()).unwrap_or_default()
    }
}

/// Where dead queues are.
enum DeadQueues {
    Here(LocalQueues),
    OnAws { clients: AwsClients, prefix: String },
}

impl DeadQueues {
    /// On AWS, or in the queue file, which a running server goes on using.
    async fn reach(place: &Place, reach: &Reach) -> anyhow::Result<Self> {
        if reach.aws {
            return Ok(Self::OnAws { clients: AwsClients::from_env().await, prefix: reach.prefix.clone() });
        }
        let file = place.data_dir.join("queues.db");
        if !file.is_file() {
            bail!("there is no Harpoon data in `{}`; name its directory with --data-dir", place.data_dir.display());
        }
        Ok(Self::Here(LocalQueues::beside(&file, Arc::new(SystemClock))?))
    }

    async fn list(&self, stage: Stage, most: usize) -> anyhow::Result<Vec<Parked>> {
        Ok(match self {
            Self::Here(queues) => {
                let found = queues.dead(stage.as_str(), most).await?;
                found.into_iter().map(|message| Parked::here(stage, message)).collect()
            }
            Self::OnAws { clients, prefix } => {
                let found = clients.parked_messages(prefix, stage.as_str()).await?.list(most).await?;
                found.into_iter().map(|message| Parked::on_aws(stage, message)).collect()
            }
        })
    }

    async fn find(&self, stage: Stage, id: &str) -> anyhow::Result<Option<Parked>> {
        Ok(match self {
            Self::Here(queues) => queues.dead_one(stage.as_str(), id).await?.map(|message| Parked::here(stage, message)),
            Self::OnAws { clients, prefix } => {
                let found = clients.parked_messages(prefix, stage.as_str()).await?.find(id).await?;
                found.map(|message| Parked::on_aws(stage, message))
            }
        })
    }

    async fn redrive(&self, stage: Stage, only: Option<&str>) -> anyhow::Result<u64> {
        Ok(match (self, only) {
            (Self::Here(queues), None) => queues.redrive(stage.as_str()).await?,
            (Self::Here(queues), Some(id)) => u64::from(queues.redrive_one(stage.as_str(), id).await?),
            (Self::OnAws { clients, prefix }, only) => {
                clients.parked_messages(prefix, stage.as_str()).await?.redrive(only, SystemClock.now()).await?
            }
        })
    }
}

/// Lists, shows or sends back, and says what came of it.
///
/// # Errors
/// The queues can't be reached, or a message that is to be shown is in none of them.
pub async fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<()> {
    let (Action::List { reach, .. } | Action::Show { reach, .. } | Action::Redrive { reach, .. }) = &arguments.action;
    let queues = DeadQueues::reach(place, reach).await?;
    Ok(say(answer(&queues, &arguments.action).await?)?)
}

async fn answer(queues: &DeadQueues, action: &Action) -> anyhow::Result<String> {
    match action {
        Action::List { stage, .. } => {
            let (mut parked, mut more) = (Vec::new(), false);
            for stage in stages(*stage) {
                let mut found = queues.list(stage, LISTED.saturating_add(1)).await?;
                more |= found.len() > LISTED;
                found.truncate(LISTED);
                parked.extend(found);
            }
            Ok(listed(&parked, more))
        }
        Action::Show { id, stage, .. } => {
            for stage in stages(*stage) {
                if let Some(parked) = queues.find(stage, id).await? {
                    return Ok(shown(&parked));
                }
            }
            bail!("no dead queue holds a message `{}`; `harpoon dead list` names those that are there", plain(id, 80))
        }
        Action::Redrive { stage, id, .. } => {
            let moved = queues.redrive(*stage, id.as_deref()).await?;
            Ok(redriven(queues, *stage, moved))
        }
    }
}

fn listed(parked: &[Parked], more: bool) -> String {
    if parked.is_empty() {
        return "Nothing is parked.".to_owned();
    }
    // Lines are not broken: an id is there to be copied.
    let mut lines: Vec<String> = parked
        .iter()
        .map(|message| {
            let (stage, id, reason) = (message.stage.as_str(), plain(&message.id, 64), plain(&message.reason, 300));
            format!("{stage:<8}  {:<24}  {id}\n          {reason}", message.since())
        })
        .collect();
    if more {
        lines.push(format!("… and more; at most {LISTED} of each dead queue are listed"));
    }
    lines.join("\n")
}

fn shown(parked: &Parked) -> String {
    let Parked { stage, id, body, reason, .. } = parked;
    let body = serde_json::from_str::<serde_json::Value>(body).and_then(|body| serde_json::to_string_pretty(&body));
    let body = legible(body.as_deref().unwrap_or(&parked.body));
    format!("Stage   {}\nSince   {}\nId      {}\nReason  {}\n\n{body}", stage.as_str(), parked.since(), plain(id, 64), plain(reason, 2_000))
}

/// Text in lines, in which nothing steers the terminal.
fn legible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.lines() {
        for c in line.chars() {
            if c.is_control() || plain(c.encode_utf8(&mut [0; 4]), 1).is_empty() && c != ' ' {
                // Writing to a string does not fail.
                let _ = write!(shown, "{}", c.escape_unicode());
            } else {
                shown.push(c);
            }
        }
        shown.push('\n');
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn redriven(queues: &DeadQueues, stage: Stage, moved: u64) -> String {
    let name = stage.as_str();
    if moved == 0 {
        return format!("Nothing to send back is parked for {name}.");
    }
    let messages = if moved == 1 { "1 message was".to_owned() } else { format!("{} messages were", grouped(i128::from(moved))) };
    let when = match queues {
        DeadQueues::Here(_) => " A running server takes them within half a minute, any other when it starts.",
        DeadQueues::OnAws { .. } => "",
    };
    format!("{messages} sent back to {name}.{when}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws::DeadQueue;
    use clap::Parser;
    use std::time::Duration;
    use tempfile::TempDir;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        arguments: Arguments,
    }

    /// What the command prints for a deployment in a directory.
    async fn says(dir: &TempDir, words: &str) -> anyhow::Result<String> {
        let dir = dir.path().to_str().unwrap();
        let line = Line::parse_from(["dead"].into_iter().chain(words.split(' ')).chain(["--data-dir", dir]));
        let (Action::List { reach, .. } | Action::Show { reach, .. } | Action::Redrive { reach, .. }) = &line.arguments.action;
        answer(&DeadQueues::reach(&line.place, reach).await?, &line.arguments.action).await
    }

    /// Queues that a server uses at the same time, with two messages parked by resolve and one by dispatch.
    async fn given() -> (TempDir, LocalQueues) {
        let dir = tempfile::tempdir().unwrap();
        let queues = LocalQueues::open(&dir.path().join("queues.db"), Arc::new(SystemClock)).unwrap();
        for (stage, body, reason) in [
            ("resolve", r#"{"type":"EventsReceived","version":2}"#, "message version 2 is newer than 1"),
            ("resolve", "no message \u{1b}[31m", "the body is no EventsReceived message"),
            ("dispatch", "{}", "failed 5 times, at last: nobody answered"),
        ] {
            queues.dead_queue(stage, 5).park(body, reason, stage).await.unwrap();
        }
        (dir, queues)
    }

    async fn received(queues: &LocalQueues, stage: &str) -> Vec<String> {
        let messages = queues.receive(stage, 10, Duration::from_secs(60), 5).await.unwrap().messages;
        messages.into_iter().map(|message| message.body).collect()
    }

    #[tokio::test]
    async fn what_is_parked_is_listed_beside_a_running_server() {
        let (dir, _queues) = given().await;
        let all = says(&dir, "list").await.unwrap();
        let reasons: Vec<&str> = all.lines().skip(1).step_by(2).map(str::trim).collect();
        let expected =
            ["the body is no EventsReceived message", "message version 2 is newer than 1", "failed 5 times, at last: nobody answered"];
        assert_eq!(reasons, expected, "{all}");
        let one = says(&dir, "list --stage dispatch").await.unwrap();
        assert!(one.contains("nobody answered") && !one.contains("resolve"), "{one}");
        assert_eq!(says(&dir, "list --stage level").await.unwrap(), "Nothing is parked.");
    }

    #[tokio::test]
    async fn a_message_is_shown_with_its_body_and_nothing_in_it_steers_the_terminal() {
        let (dir, queues) = given().await;
        let dead = queues.dead("resolve", 10).await.unwrap();
        let text = says(&dir, &format!("show {}", dead[0].id)).await.unwrap();
        assert!(text.contains("Reason  the body is no EventsReceived message"), "{text}");
        assert!(text.ends_with("\n\nno message \\u{1b}[31m"), "{text}");
        let text = says(&dir, &format!("show {} --stage resolve", dead[1].id)).await.unwrap();
        assert!(text.ends_with("{\n  \"type\": \"EventsReceived\",\n  \"version\": 2\n}"), "{text}");
        let error = says(&dir, "show 01ABC").await.unwrap_err();
        assert_eq!(error.to_string(), "no dead queue holds a message `01ABC`; `harpoon dead list` names those that are there");
    }

    #[tokio::test]
    async fn one_message_or_all_are_sent_back_and_a_second_time_does_nothing() {
        let (dir, queues) = given().await;
        let id = queues.dead("resolve", 10).await.unwrap()[1].id.clone();
        let one = format!("redrive --stage resolve --id {id}");
        assert!(says(&dir, &one).await.unwrap().starts_with("1 message was sent back to resolve."));
        assert_eq!(says(&dir, &one).await.unwrap(), "Nothing to send back is parked for resolve.");
        assert_eq!(received(&queues, "resolve").await, [r#"{"type":"EventsReceived","version":2}"#]);
        assert!(says(&dir, "redrive --stage resolve").await.unwrap().starts_with("1 message was sent back to resolve."));
        assert_eq!(says(&dir, "redrive --stage resolve").await.unwrap(), "Nothing to send back is parked for resolve.");
        assert_eq!(received(&queues, "resolve").await, ["no message \u{1b}[31m"]);
        // Another stage's messages stay where they are.
        assert_eq!(queues.depth("dispatch").await.unwrap().dead, 1);
    }

    #[tokio::test]
    async fn looking_takes_nothing_from_a_server_that_works_on_it() {
        let (dir, queues) = given().await;
        queues.redrive("resolve").await.unwrap();
        assert_eq!(received(&queues, "resolve").await.len(), 2);
        says(&dir, "list").await.unwrap();
        assert_eq!(received(&queues, "resolve").await.len(), 0);
    }

    #[tokio::test]
    async fn a_directory_without_data_is_named_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        let error = says(&dir, "list").await.unwrap_err().to_string();
        assert!(error.starts_with("there is no Harpoon data in `") && error.ends_with("name its directory with --data-dir"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_stage_that_reads_a_queue_has_a_dead_queue() {
        let named: Vec<&str> = stages(None).into_iter().map(Stage::as_str).collect();
        assert_eq!(named, crate::runner::EVENT_SOURCES.map(|source| source.stage));
    }
}
