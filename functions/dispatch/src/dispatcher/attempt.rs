//! One attempt to deliver, and what becomes of the delivery.

use super::Dispatcher;
use crate::{
    directory::Directory,
    schedule::{MAX_TRIES, next_attempt, retry_after},
    signature, slack,
    text::scrubbed,
    transport::{Answer, Outgoing, Transport},
};
use domain::{Timestamp, WorkspaceId};
use pipeline::{
    Clock, Counter, Secrets, StageError, Store, Versioned,
    notify::{Attempt, Delivery, DeliveryState, Destination, DestinationKind, OpenDestination},
};
use std::error::Error as _;
use url::Url;

/// What an attempt means for its delivery.
enum Ruling {
    Delivered,
    /// It failed; it may succeed later, not before the milliseconds that the destination asked for.
    Again {
        error: String,
        wait: Option<i64>,
    },
    /// It can never succeed.
    Never {
        error: String,
    },
    /// It can never succeed, nor can any other to this destination.
    Gone {
        error: String,
    },
}

fn ruling(kind: &DestinationKind, answer: &Answer, now: Timestamp) -> Ruling {
    let status = answer.status;
    let refused = match kind {
        DestinationKind::Slack { .. } => slack::permanent_error(&answer.excerpt),
        DestinationKind::SignedWebhook { .. } => None,
    };
    match status {
        200..=299 => Ruling::Delivered,
        410 => Ruling::Gone { error: "status 410: the endpoint is gone".to_owned() },
        _ if refused.is_some() => Ruling::Never { error: format!("status {status}: Slack answered `{}`", refused.unwrap_or_default()) },
        300..=399 => Ruling::Again { error: format!("status {status}: redirects are not followed"), wait: None },
        _ => {
            Ruling::Again { error: format!("status {status}"), wait: answer.retry_after.as_deref().and_then(|text| retry_after(text, now)) }
        }
    }
}

/// Everything of an open destination that must not reach the log, longest first.
fn secrets_of(open: &OpenDestination) -> Vec<String> {
    let mut secrets = vec![open.url.clone()];
    for secret in &open.signing {
        secrets.push(secret.clone());
        secrets.extend(secret.strip_prefix("whsec_").map(str::to_owned));
    }
    if let Ok(url) = Url::parse(&open.url) {
        secrets.push(format!("{}{}", url.path(), url.query().map(|query| format!("?{query}")).unwrap_or_default()));
        secrets.push(url.path().to_owned());
        secrets.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    }
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

impl<S, C, X, T, D> Dispatcher<S, C, X, T, D>
where
    S: Store + Clone,
    C: Clock + Clone,
    X: Secrets,
    T: Transport,
    D: Directory,
{
    /// Attempts the delivery with this sort key if it is due. One that is not there any more leaves nothing behind.
    pub(super) async fn attempt_due(&self, workspace: &WorkspaceId, sort_key: &str, deadline: Timestamp) -> Result<(), StageError> {
        match self.deliveries.find(workspace, sort_key).await? {
            Some(found) => self.attempt_found(workspace, found, deadline).await,
            None => {
                let removed = self.deliveries.remove_orphan_due(workspace, sort_key, self.clock.now()).await?;
                tracing::warn!(stage = "dispatch", workspace = %workspace, delivery = sort_key, removed, "a due delivery is not there any more");
                Ok(())
            }
        }
    }

    /// Attempts a delivery if its moment has come: otherwise it is finished, somebody is at it, or it is waiting. When this invocation has
    /// no time left, its due item brings it back to a later one.
    pub(super) async fn attempt_found(
        &self,
        workspace: &WorkspaceId,
        found: Versioned<Delivery>,
        deadline: Timestamp,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        if now >= deadline || found.record.due_at().is_none_or(|due| due > now) {
            return Ok(());
        }
        let mut claimed = found.record.clone();
        if claimed.tries >= MAX_TRIES {
            // Whoever began the last attempt never finished it.
            claimed.state = DeliveryState::Failed { reason: "the last attempt was not finished".to_owned() };
            self.counters.add(Counter::DeliveriesFailed, 1);
            return self.record(workspace, &found, claimed).await;
        }
        claimed.tries = claimed.tries.saturating_add(1);
        claimed.first_attempt_at = claimed.first_attempt_at.or(Some(now));
        claimed.state = DeliveryState::Delivering { until: now.plus_millis(self.settings.lease_ms()) };
        match self.deliveries.save(workspace, &found, claimed).await {
            Ok(claimed) => self.attempt(workspace, claimed).await,
            // Somebody else claimed it in between.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Attempts a delivery that this invocation has claimed, and records what came of it.
    pub(super) async fn attempt(&self, workspace: &WorkspaceId, claimed: Versioned<Delivery>) -> Result<(), StageError> {
        let began = self.clock.now();
        let destination = match self
            .destinations
            .current(workspace, claimed.record.created_at)
            .await?
            .iter()
            .find(|known| known.id == claimed.record.destination)
        {
            Some(known) => Some(known.clone()),
            None => self.destinations.find(workspace, &claimed.record.destination).await?,
        };
        let mut after = claimed.record.clone();
        let Some(destination) = destination.filter(|destination| destination.enabled) else {
            after.state = DeliveryState::Dead { reason: "the destination was switched off or removed".to_owned() };
            return self.record(workspace, &claimed, after).await;
        };
        let (mut attempt, ruling) = self.post(workspace, &destination, &claimed.record, began).await;
        let now = self.clock.now();
        attempt.duration_ms = u64::try_from(now.millis_since(began)).unwrap_or(0);
        after.state = match ruling {
            Ruling::Delivered => DeliveryState::Delivered { at: now },
            Ruling::Never { error } => {
                attempt.error = Some(error.clone());
                DeliveryState::Dead { reason: error }
            }
            Ruling::Gone { error } => {
                let reason = format!("the endpoint answered 410 Gone at {now}");
                self.destinations.disable(workspace, &destination, &reason).await?;
                attempt.error = Some(error.clone());
                DeliveryState::Dead { reason: error }
            }
            Ruling::Again { error, wait } => {
                attempt.error = Some(error.clone());
                let first = after.first_attempt_at.unwrap_or(began);
                match next_attempt(&after.id, first, after.tries, now, wait) {
                    Some(next_attempt_at) => DeliveryState::Pending { next_attempt_at },
                    None => DeliveryState::Failed { reason: error },
                }
            }
        };
        let counter = match after.state {
            DeliveryState::Delivered { .. } => Counter::DeliveriesSent,
            DeliveryState::Pending { .. } => Counter::DeliveriesPostponed,
            _ => Counter::DeliveriesFailed,
        };
        self.counters.add(counter, 1);
        tracing::info!(
            stage = "dispatch", workspace = %workspace, delivery.id = %after.id, trigger.id = %after.trigger, destination.id = %after.destination,
            status = attempt.status, state = after.state.as_str(), tries = after.tries, duration_ms = attempt.duration_ms, "a delivery was attempted"
        );
        after.attempts.push(attempt);
        self.record(workspace, &claimed, after).await
    }

    async fn post(&self, workspace: &WorkspaceId, destination: &Destination, delivery: &Delivery, began: Timestamp) -> (Attempt, Ruling) {
        let mut attempt = Attempt { at: began, status: None, error: None, duration_ms: 0, response: String::new() };
        let again = |error: String| Ruling::Again { error, wait: None };
        let open = match destination.open(workspace, &self.secrets, began).await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(
                    stage = "dispatch", workspace = %workspace, destination.id = %destination.id, delivery.id = %delivery.id,
                    error = %error, cause = error.source().map(ToString::to_string), "the destination's secrets could not be opened"
                );
                return (attempt, again("the destination's secrets could not be opened".to_owned()));
            }
        };
        let headers = match &destination.kind {
            DestinationKind::SignedWebhook { .. } => match signature::headers(delivery.id.as_str(), began, &delivery.body, &open.signing) {
                Ok(headers) => headers,
                Err(error) => return (attempt, again(error.to_string())),
            },
            DestinationKind::Slack { .. } => Vec::new(),
        };
        let request = Outgoing { url: open.url.clone(), headers, body: delivery.body.clone(), timeout: self.settings.timeout };
        match self.transport.post(request).await {
            Ok(answer) => {
                attempt.status = Some(answer.status);
                attempt.response = scrubbed(&answer.excerpt, &secrets_of(&open));
                let ruling = ruling(&destination.kind, &answer, self.clock.now());
                (attempt, ruling)
            }
            Err(error) => (attempt, again(error.to_string())),
        }
    }

    /// Writes what came of a claim. When the claim had run out and somebody else took it over, theirs is the record that counts.
    async fn record(&self, workspace: &WorkspaceId, claimed: &Versioned<Delivery>, after: Delivery) -> Result<(), StageError> {
        match self.deliveries.save(workspace, claimed, after).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => {
                tracing::warn!(stage = "dispatch", workspace = %workspace, delivery.id = %claimed.record.id, "a delivery was taken over while it was attempted");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
