//! A trigger fires: who is told, and whether anybody is.

use super::Dispatcher;
use crate::{
    directory::Directory,
    notice::{Notice, Snapshot},
    slack,
    text::plain,
    transport::Transport,
    webhook,
};
use domain::{
    DestinationId, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
    transition::Transition,
    trigger::{Fire, Trigger},
};
use futures::future::join_all;
use pipeline::{
    Clock, Secrets, StageError, Store, StoreError, Versioned,
    notify::{Created, Delivery, DeliveryId, DeliveryState, Destination, DestinationKind, Fired, Suppression, Verdict, verdict},
};
use std::collections::BTreeMap;
use thiserror::Error;

/// How often a decision is taken anew because somebody else wrote at the same time.
const ROUNDS: usize = 8;

/// Others kept writing the same deliveries or cooldown.
#[derive(Debug, Error)]
#[error("the deliveries of trigger `{trigger}` were written by others {ROUNDS} times in a row")]
struct Contended {
    trigger: String,
}

/// What a destination is at the moment a trigger fires.
enum Found {
    On(Box<Destination>),
    Off,
    Gone,
}

impl<S, C, X, T, D> Dispatcher<S, C, X, T, D>
where
    S: Store + Clone,
    C: Clock + Clone,
    X: Secrets,
    T: Transport,
    D: Directory,
{
    /// Writes the deliveries that are not there yet, in one transaction with the cooldown, and attempts those that are nobody's. Doing it
    /// again does nothing twice: a delivery is found by its id.
    pub(super) async fn fire(
        &self,
        workspace: &WorkspaceId,
        trigger: &Trigger,
        transition: &Transition,
        snapshot: &Snapshot,
        deadline: Timestamp,
    ) -> Result<(), StageError> {
        for _ in 0..ROUNDS {
            let blanks: Vec<Delivery> =
                trigger.destinations.iter().map(|id| self.blank(workspace, trigger, transition, snapshot, id)).collect();
            let sort_keys: Vec<String> = blanks.iter().map(Delivery::sort_key).collect();
            let there = self.deliveries.find_many(workspace, &sort_keys).await?;
            let missing: Vec<Delivery> = blanks.into_iter().filter(|blank| there.iter().all(|found| found.record.id != blank.id)).collect();
            let Some(written) = self.write(workspace, trigger, transition, snapshot, missing, deadline).await? else {
                continue;
            };
            let new = written.into_iter().filter(|new| matches!(new.record.state, DeliveryState::Delivering { .. }));
            let attempts = join_all(new.map(|claimed| self.attempt(workspace, claimed)));
            // A delivery that was there already belongs to whoever wrote it, unless its moment has passed.
            let late = join_all(there.into_iter().map(|found| self.attempt_found(workspace, found, deadline)));
            let (attempts, late) = futures::join!(attempts, late);
            return attempts.into_iter().chain(late).collect();
        }
        Err(StageError::retry(Contended { trigger: trigger.id.to_string() }))
    }

    fn blank(
        &self,
        workspace: &WorkspaceId,
        trigger: &Trigger,
        transition: &Transition,
        snapshot: &Snapshot,
        destination: &DestinationId,
    ) -> Delivery {
        let now = self.clock.now();
        let seq = if active(Mutant::DeliveryIdByMoment) { now.millis().unsigned_abs() } else { transition.seq };
        Delivery {
            id: DeliveryId::new(workspace, &trigger.id, &snapshot.home, seq, destination),
            trigger: trigger.id.clone(),
            trigger_name: trigger.name.clone(),
            destination: destination.clone(),
            home: snapshot.home.clone(),
            account_name: snapshot.name().map(|name| plain(name, 200)),
            kind: trigger.when.payload_type().to_owned(),
            transition: transition.clone(),
            created_at: now,
            state: DeliveryState::Pending { next_attempt_at: now },
            first_attempt_at: None,
            tries: 0,
            attempts: Vec::new(),
            body: String::new(),
        }
    }

    /// Writes new deliveries, each in the state that it begins with. `None` when somebody else was faster.
    async fn write(
        &self,
        workspace: &WorkspaceId,
        trigger: &Trigger,
        transition: &Transition,
        snapshot: &Snapshot,
        missing: Vec<Delivery>,
        deadline: Timestamp,
    ) -> Result<Option<Vec<Versioned<Delivery>>>, StageError> {
        if missing.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut found = BTreeMap::new();
        for delivery in &missing {
            found.insert(delivery.destination.clone(), self.find(workspace, &delivery.destination, transition.at).await?);
        }
        // A trigger that can tell nobody takes no cooldown: it has not been heard.
        let anybody = found.values().any(|found| matches!(found, Found::On(_)));
        let (suppressed, take) = if anybody { self.decide(workspace, trigger, transition, snapshot).await? } else { (None, None) };
        let levels = self.directory.levels(workspace).await?;
        let snapshot = match (anybody, suppressed) {
            (true, None) => snapshot.clone().with_people(&self.directory, workspace, transition).await?,
            _ => snapshot.clone(),
        };
        let levels = levels.under(snapshot.standing.as_ref());
        let notice = Notice { workspace, trigger, transition, snapshot: &snapshot, levels: &levels, link: self.link(&snapshot.home) };
        let now = self.clock.now();
        let deliveries = missing.into_iter().map(|mut delivery| {
            delivery.state = match (found.get(&delivery.destination), suppressed) {
                (Some(Found::On(_)), Some(because)) => DeliveryState::Suppressed { because },
                (Some(Found::On(destination)), None) => {
                    delivery.body = match &destination.kind {
                        DestinationKind::SignedWebhook { .. } => webhook::body(&notice, destination.fields.as_deref()),
                        DestinationKind::Slack { .. } => slack::body(&notice),
                    };
                    if now < deadline {
                        delivery.tries = 1;
                        delivery.first_attempt_at = Some(now);
                        DeliveryState::Delivering { until: now.plus_millis(self.settings.lease_ms()) }
                    } else {
                        DeliveryState::Pending { next_attempt_at: now }
                    }
                }
                (Some(Found::Off), _) => DeliveryState::Suppressed { because: Suppression::DestinationOff },
                (Some(Found::Gone) | None, _) => DeliveryState::Dead { reason: "the destination no longer exists".to_owned() },
            };
            delivery
        });
        let deliveries: Vec<Delivery> = deliveries.collect();
        for delivery in deliveries.iter().filter(|delivery| delivery.due_at().is_none()) {
            tracing::info!(
                stage = "dispatch", workspace = %workspace, delivery.id = %delivery.id, trigger.id = %trigger.id,
                destination.id = %delivery.destination, state = delivery.state.as_str(), "nothing is to be sent"
            );
        }
        match self.deliveries.create(workspace, take, deliveries).await? {
            Created::Written(written) => Ok(Some(written)),
            Created::Conflict => Ok(None),
        }
    }

    /// Whether the trigger may fire, and what has to be noted in the same step.
    async fn decide(
        &self,
        workspace: &WorkspaceId,
        trigger: &Trigger,
        transition: &Transition,
        snapshot: &Snapshot,
    ) -> Result<(Option<Suppression>, Option<(Fire, Versioned<Option<Fired>>)>), StoreError> {
        let last = self.deliveries.last_fired(workspace, &trigger.id, &snapshot.home).await?;
        Ok(match verdict(trigger.fire, last.record, transition.seq, transition.at) {
            Verdict::Pass => (None, None),
            Verdict::Take => (None, Some((trigger.fire, last))),
            Verdict::Suppress(because) => (Some(because), None),
        })
    }

    /// The destination as it is known; one that is not known is looked for once more before it is called gone.
    async fn find(&self, workspace: &WorkspaceId, id: &DestinationId, as_of: Timestamp) -> Result<Found, StoreError> {
        let found = match self.known(workspace, id, as_of).await? {
            Some(found) => Some(found),
            None => self.destinations.find(workspace, id).await?,
        };
        Ok(match found {
            Some(destination) if destination.enabled => Found::On(Box::new(destination)),
            Some(_) => Found::Off,
            None => Found::Gone,
        })
    }

    async fn known(&self, workspace: &WorkspaceId, id: &DestinationId, as_of: Timestamp) -> Result<Option<Destination>, StoreError> {
        let known = self.destinations.current(workspace, as_of).await?;
        Ok(known.iter().find(|destination| destination.id == *id).cloned())
    }
}
