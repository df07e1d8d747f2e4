//! The stage: triggers are matched, deliveries written, attempted and recorded.

mod attempt;
mod fire;
#[cfg(test)]
mod tests;

use crate::{
    config::Config,
    directory::Directory,
    notice::{Snapshot, link},
    transport::Transport,
};
use domain::{Home, Timestamp, WorkspaceId};
use futures::{StreamExt, stream};
use pipeline::{
    AccountChanged, Change, Clock, Counters, Outcome, Received, Secrets, Stage, StageError, Store,
    notify::{Deliveries, Destinations, Triggers, delivery_key},
};
use std::time::Duration;
use url::Url;

/// How many accounts, or due deliveries, of one message are worked on at a time.
const CONCURRENCY: usize = 16;

/// How dispatch behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What links in notifications begin with.
    pub public_url: Url,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How long after the timeout somebody who is attempting is taken for dead, in milliseconds.
    pub lease_margin_ms: i64,
    /// For how long one invocation begins new attempts, in milliseconds. What is left is attempted by a later one.
    pub budget_ms: i64,
}

impl Settings {
    /// Ten seconds an attempt, twenty more until it is taken for dead, new attempts for twenty seconds.
    pub const fn new(public_url: Url) -> Self {
        Self { public_url, timeout: Duration::from_secs(10), lease_margin_ms: 20_000, budget_ms: 20_000 }
    }

    fn lease_ms(&self) -> i64 {
        i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX).saturating_add(self.lease_margin_ms)
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self::new(config.public_url.clone())
    }
}

/// Matches triggers against transitions, delivers, and keeps the log.
#[derive(Debug)]
pub struct Dispatcher<S, C, X, T, D> {
    store: S,
    clock: C,
    secrets: X,
    transport: T,
    directory: D,
    settings: Settings,
    triggers: Triggers<S, C>,
    destinations: Destinations<S, C>,
    deliveries: Deliveries<S>,
    counters: Counters,
}

impl<S, C, X, T, D> Dispatcher<S, C, X, T, D>
where
    S: Store + Clone,
    C: Clock + Clone,
    X: Secrets,
    T: Transport,
    D: Directory,
{
    /// Over these ports.
    pub fn new(store: S, clock: C, secrets: X, transport: T, directory: D, settings: Settings) -> Self {
        Self {
            triggers: Triggers::new(store.clone(), clock.clone()),
            destinations: Destinations::new(store.clone(), clock.clone()),
            deliveries: Deliveries::new(store.clone()),
            counters: Counters::default(),
            store,
            clock,
            secrets,
            transport,
            directory,
            settings,
        }
    }

    /// Counts here what becomes of deliveries.
    #[must_use]
    pub fn with_counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// Everything that the transitions of one account call for. Transitions are worked on in their order.
    async fn change(&self, workspace: &WorkspaceId, change: &Change, deadline: Timestamp) -> Result<(), StageError> {
        let Some(latest) = change.transitions.iter().map(|transition| transition.at).max() else {
            return Ok(());
        };
        let triggers = self.triggers.current(workspace, latest).await?;
        let mut snapshot = None;
        for transition in &change.transitions {
            for trigger in triggers.iter().filter(|trigger| trigger.fires_on(transition)) {
                let snapshot = match &snapshot {
                    Some(snapshot) => snapshot,
                    None => snapshot.insert(Snapshot::read(&self.store, workspace, &change.home).await?),
                };
                if snapshot.admits(trigger) {
                    self.fire(workspace, trigger, transition, snapshot, deadline).await?;
                }
            }
        }
        Ok(())
    }

    fn link(&self, home: &Home) -> String {
        link(&self.settings.public_url, home)
    }

    async fn transitions(&self, workspace: WorkspaceId, changes: Vec<Change>, again: bool, deadline: Timestamp) -> Outcome<AccountChanged> {
        let works = changes.into_iter().map(|change| {
            let workspace = &workspace;
            async move {
                let result = self.change(workspace, &change, deadline).await;
                (change, result)
            }
        });
        let results: Vec<_> = stream::iter(works).buffered(CONCURRENCY).collect().await;
        outcome(results, again, |changes| AccountChanged::Transitions { workspace: workspace.clone(), changes })
    }

    async fn due(&self, workspace: WorkspaceId, sort_keys: Vec<String>, again: bool, deadline: Timestamp) -> Outcome<AccountChanged> {
        let works = sort_keys.into_iter().map(|sort_key| {
            let workspace = &workspace;
            async move {
                let result = if delivery_key(workspace, &sort_key).is_some() {
                    self.attempt_due(workspace, &sort_key, deadline).await
                } else {
                    Err(StageError::Reject { reason: "a due delivery must be named by 15 digits, `#` and a delivery id".to_owned() })
                };
                (sort_key, result)
            }
        });
        let results: Vec<_> = stream::iter(works).buffered(CONCURRENCY).collect().await;
        outcome(results, again, |deliveries| AccountChanged::DeliveriesDue { workspace: workspace.clone(), deliveries })
    }
}

/// What becomes of a message whose parts fared differently: what is done is left out, what failed comes again, and what failed before
/// comes again alone, so that one bad part holds up no other.
fn outcome<P>(
    results: Vec<(P, Result<(), StageError>)>,
    again: bool,
    message: impl Fn(Vec<P>) -> AccountChanged,
) -> Outcome<AccountChanged> {
    let count = results.len();
    let (mut failed, mut reject, mut error) = (Vec::new(), Vec::new(), None);
    for (part, result) in results {
        match result {
            Ok(()) => {}
            Err(StageError::Reject { reason }) => reject.push((part, reason)),
            Err(retry) => {
                failed.push(part);
                error = Some(retry);
            }
        }
    }
    match (error, reject.pop()) {
        (None, None) => Outcome::Done,
        (None, Some((_, reason))) if count == 1 => Outcome::Failed(StageError::Reject { reason }),
        (Some(error), None) if failed.len() == count && (count == 1 || !again) => Outcome::Failed(error),
        (error, last) => {
            if let Some(error) = error {
                tracing::warn!(
                    stage = "dispatch",
                    error = &error as &dyn std::error::Error,
                    parts = failed.len(),
                    "parts of a message are to be retried"
                );
            }
            reject.extend(last);
            let alone = failed.len() == count;
            let retry = if alone {
                failed.into_iter().map(|part| message(vec![part])).collect()
            } else if failed.is_empty() {
                Vec::new()
            } else {
                vec![message(failed)]
            };
            Outcome::Split { retry, reject: reject.into_iter().map(|(part, reason)| (message(vec![part]), reason)).collect() }
        }
    }
}

impl<S, C, X, T, D> Stage for Dispatcher<S, C, X, T, D>
where
    S: Store + Clone,
    C: Clock + Clone,
    X: Secrets,
    T: Transport,
    D: Directory,
{
    const NAME: &'static str = "dispatch";
    type Input = AccountChanged;

    async fn handle(&self, batch: Vec<Received<AccountChanged>>) -> Vec<Outcome<AccountChanged>> {
        let deadline = self.clock.now().plus_millis(self.settings.budget_ms);
        let mut outcomes = Vec::with_capacity(batch.len());
        for received in batch {
            let again = received.failed_before();
            outcomes.push(match received.message {
                AccountChanged::Transitions { workspace, changes } => self.transitions(workspace, changes, again, deadline).await,
                AccountChanged::DeliveriesDue { workspace, deliveries } => self.due(workspace, deliveries, again, deadline).await,
            });
        }
        outcomes
    }
}
