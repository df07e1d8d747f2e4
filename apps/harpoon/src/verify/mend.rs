//! Puts right what was found, with the deployment's own code: a state that can't be trusted is folded again by the real resolver, and a home
//! becomes due, so that the running stages score, level and tell of it.

use super::{
    audit::Auditor,
    look::is_named,
    report::{Fault, Finding, Subject, count},
};
use domain::{BatchId, Home, IdentityId, Timestamp, WorkspaceId, model::Model, state::IdentityState};
use pipeline::{
    AccountTouched, Clock, Condition, Consistency, EventsReceived, Outcome, Parcel, Queue, QueueError, Received, Stage, Store, StoreError,
    Versioned, Write,
    homes::{put_due, put_record, put_state},
    parcels::StoredParcel,
    records::{SCORE, ScoreRecord, Standing, home_key, identity_key, state_key},
};
use resolve::Resolver;
use std::collections::BTreeSet;

/// Parcels that are handed over at once.
const PARCELS_AT_ONCE: usize = 100;

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Mended {
    /// Identities that were folded again from their parcels.
    pub identities: u64,
    /// Accounts and unresolved leads that are scored again.
    pub homes: u64,
    /// States that no mapping named and that are gone.
    pub strays: u64,
    /// Places that somebody else wrote meanwhile, or that could not be mended; looking again tells.
    pub left: u64,
}

impl Mended {
    /// What was done, in one sentence.
    pub fn sentence(&self) -> String {
        let were = |n: u64| if n == 1 { "was" } else { "were" };
        let mut parts = Vec::new();
        if self.identities > 0 {
            parts.push(format!("{} {} folded again", count(self.identities, "identity", "identities"), were(self.identities)));
        }
        if self.homes > 0 {
            parts.push(format!("{} {} scored again", count(self.homes, "account or lead", "accounts and leads"), were(self.homes)));
        }
        if self.strays > 0 {
            parts.push(format!("{} {} removed", count(self.strays, "stray state", "stray states"), were(self.strays)));
        }
        if self.left > 0 {
            parts.push(format!("{} {} left as found", count(self.left, "place", "places"), were(self.left)));
        }
        format!("Mended: {}.", if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") })
    }
}

/// Turns homes that the resolver touched into due items: they outlive this process, and rescore finds them.
#[derive(Debug)]
struct DueQueue<S, C> {
    store: S,
    clock: C,
}

impl<S: Store, C: Clock> Queue<AccountTouched> for DueQueue<S, C> {
    async fn send(&self, messages: Vec<AccountTouched>) -> Result<(), QueueError> {
        for message in messages {
            for home in message.homes {
                let write = put_due(&message.workspace, &home, self.clock.now(), 0);
                let written = match write {
                    Ok(write) => self.store.write(write).await,
                    Err(e) => Err(e),
                };
                written.map_err(|e| QueueError::Unavailable { source: Box::new(e) })?;
            }
        }
        Ok(())
    }
}

/// Why mending stopped.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// The store failed.
    #[error("the store failed while mending")]
    Store(#[from] StoreError),
    /// The parcels of an identity can't be folded.
    #[error("identity `{identity}` can't be folded: {reason}")]
    Fold {
        /// Whose parcels.
        identity: IdentityId,
        /// What resolve said.
        reason: String,
    },
}

impl<S: Store + Clone, C: Clock + Clone> Auditor<S, C> {
    /// Puts findings right. Every write is on the version read, so that whatever is at work meanwhile wins.
    ///
    /// # Errors
    /// The store fails, or parcels can't be folded. What was mended before stays mended.
    pub async fn mend(&self, findings: &[Finding]) -> Result<Mended, MendError> {
        let store = self.homes.store().clone();
        let queue = DueQueue { store: store.clone(), clock: self.clock.clone() };
        let resolver = Resolver::new(store, queue, self.clock.clone());
        let mut mended = Mended::default();
        // Subjects are ordered: stray states, identities, homes. Each stands on what comes before.
        let subjects: BTreeSet<(&Subject, &WorkspaceId)> = findings.iter().map(|finding| (&finding.subject, &finding.workspace)).collect();
        for (subject, workspace) in subjects {
            let faults = self.look_at(workspace, subject).await?.faults;
            if faults.is_empty() {
                continue;
            }
            let done = match subject {
                Subject::Stray { home, identity } => self.remove_stray(workspace, home, *identity).await?,
                Subject::Identity(id) => self.fold_again(&resolver, workspace, *id, &faults).await?,
                Subject::Home(home) => self.score_again(workspace, home, &faults).await?,
            };
            let count = match subject {
                _ if !done => &mut mended.left,
                Subject::Stray { .. } => &mut mended.strays,
                Subject::Identity(_) => &mut mended.identities,
                Subject::Home(_) => &mut mended.homes,
            };
            *count += 1;
        }
        Ok(mended)
    }

    async fn remove_stray(&self, workspace: &WorkspaceId, home: &Home, id: IdentityId) -> Result<bool, MendError> {
        let mapping = self.homes.mapping(workspace, &id, Consistency::Strong).await?;
        let mut strays = self.homes.states_of(workspace, home, &id).await?;
        strays.retain(|stored| mapping.as_ref().is_none_or(|mapping| !is_named(&mapping.record, home, stored)));
        if strays.is_empty() {
            return Ok(true);
        }
        let seen = mapping.map_or(Condition::Absent, |mapping| Condition::Version(mapping.version));
        let mut writes = vec![Write::Check(identity_key(workspace, &id), seen), put_due(workspace, home, self.clock.now(), 0)?];
        writes.extend(
            strays.iter().map(|stored| Write::Delete(state_key(workspace, home, stored.shard, &id), Condition::Version(stored.version))),
        );
        unless_changed(self.homes.store().transact(writes).await)
    }

    async fn fold_again<Q>(
        &self,
        resolver: &Resolver<S, Q, C>,
        workspace: &WorkspaceId,
        id: IdentityId,
        faults: &[Fault],
    ) -> Result<bool, MendError>
    where
        Q: Queue<AccountTouched>,
    {
        let model = self.models.current(workspace).await?;
        let counts_differ =
            |fault: &Fault| matches!(fault, Fault::StateMissing { .. } | Fault::EventsMissing { .. } | Fault::StateDiffers { .. });
        if faults.iter().any(counts_differ) {
            let Some(newest) = self.distrust(workspace, id, &model).await? else { return Ok(false) };
            self.hand_over(resolver, workspace, id, newest.into_iter().collect()).await?;
        }
        if self.relink(workspace, id).await? && faults.iter().all(counts_differ) {
            return Ok(true);
        }
        // What follows from parcels beside the state follows from each of them.
        let mut parcels = self.parcels.of(workspace, &id, self.clock.now()).await?.into_iter();
        loop {
            let chunk: Vec<StoredParcel> = parcels.by_ref().take(PARCELS_AT_ONCE).collect();
            if chunk.is_empty() {
                return Ok(true);
            }
            self.hand_over(resolver, workspace, id, chunk).await?;
        }
    }

    /// Writes the replayed state on the version read, marked so that the next fold takes nothing of it for granted but folds all parcels
    /// again: only that fold knows which message ids the window has to hold. Answers the newest parcel, from which that fold begins;
    /// nothing when somebody else wrote meanwhile.
    async fn distrust(&self, workspace: &WorkspaceId, id: IdentityId, model: &Model) -> Result<Option<Option<StoredParcel>>, MendError> {
        let Some(mapping) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else { return Ok(None) };
        let home = &mapping.record.home;
        let stored = self.homes.state(workspace, &mapping.record).await?;
        let replay = self.replay(workspace, id, Some(&mapping.record), model).await?;
        let newest = self.newest(workspace, id).await?;
        let (mut state, version, condition) = match stored {
            Some(stored) => (stored.state, stored.version.saturating_add(1), Condition::Version(stored.version)),
            // Higher than any version that the lost state can have had, so that no score takes it for that one.
            None => (IdentityState::new(mapping.record.identity.clone(), &model.matcher), lasting(self.clock.now()), Condition::Absent),
        };
        state.facts = replay.facts;
        state.sealed = None;
        state.link = mapping.record.link.as_ref().map(|link| link.user);
        if newest.is_some() {
            state.facts.parts = !model.matcher.digest();
        }
        let writes = vec![
            Write::Check(identity_key(workspace, &id), Condition::Version(mapping.version)),
            put_state(workspace, home, &state, version, condition)?,
            put_due(workspace, home, self.clock.now(), 0)?,
        ];
        Ok(if unless_changed(self.homes.store().transact(writes).await)? { Some(newest) } else { None })
    }

    async fn newest(&self, workspace: &WorkspaceId, id: IdentityId) -> Result<Option<StoredParcel>, MendError> {
        let no_later: Option<BatchId> = None;
        Ok(self.parcels.newest(workspace, &id, no_later, 1, self.clock.now()).await?.into_iter().next())
    }

    /// A state names the user that its mapping names.
    async fn relink(&self, workspace: &WorkspaceId, id: IdentityId) -> Result<bool, MendError> {
        let Some(mapping) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else { return Ok(false) };
        let home = &mapping.record.home;
        let Some(stored) = self.homes.state(workspace, &mapping.record).await? else { return Ok(false) };
        let user = mapping.record.link.as_ref().map(|link| link.user);
        if stored.state.link == user {
            return Ok(true);
        }
        let mut state = stored.state;
        state.link = user;
        let writes = vec![
            Write::Check(identity_key(workspace, &id), Condition::Version(mapping.version)),
            put_state(workspace, home, &state, stored.version.saturating_add(1), Condition::Version(stored.version))?,
            put_due(workspace, home, self.clock.now(), 0)?,
        ];
        unless_changed(self.homes.store().transact(writes).await)
    }

    /// Hands parcels of the log to the resolver as if their messages came again.
    async fn hand_over<Q>(
        &self,
        resolver: &Resolver<S, Q, C>,
        workspace: &WorkspaceId,
        id: IdentityId,
        parcels: Vec<StoredParcel>,
    ) -> Result<(), MendError>
    where
        Q: Queue<AccountTouched>,
    {
        let received_at = self.clock.now();
        let messages = parcels.into_iter().filter_map(|parcel| {
            // The partition names the identity by its digest; its events say who that is.
            let identity = parcel.events.iter().find_map(|event| event.identity().filter(|identity| identity.id() == id))?;
            let parcels = vec![Parcel { identity, events: parcel.events.into() }];
            Some(EventsReceived { workspace: workspace.clone(), batch: parcel.batch, received_at, parcels, rejected: Vec::new() })
        });
        let batch: Vec<Received<EventsReceived>> = messages.map(Received::first).collect();
        if batch.is_empty() {
            return Ok(());
        }
        for outcome in resolver.handle(batch).await {
            if let Outcome::Failed(error) = outcome {
                let reason = format!("{error}: {}", error.source_text());
                return Err(MendError::Fold { identity: id, reason });
            }
        }
        Ok(())
    }

    /// Makes a home due. A record that can't be trusted is marked first, under a version that no standing has seen, so that score and level
    /// take neither it nor its due item for done.
    async fn score_again(&self, workspace: &WorkspaceId, home: &Home, faults: &[Fault]) -> Result<bool, MendError> {
        let now = self.clock.now();
        let score = self.homes.score(workspace, home, Consistency::Strong).await?;
        let standing = self.homes.standing(workspace, home, Consistency::Strong).await?;
        let untrue = |fault: &Fault| matches!(fault, Fault::ScoreDiffers { .. } | Fault::NotLevelled | Fault::DueLost);
        if faults.iter().any(untrue) || (score.is_none() && standing.is_some()) {
            let write = self.marked(workspace, home, score, standing.as_ref(), now).await?;
            if !unless_changed(self.homes.store().write(write).await)? {
                return Ok(false);
            }
        }
        if let Some(until) = standing.and_then(|standing| standing.record.dwell_until).filter(|until| *until > now) {
            self.homes.store().write(put_due(workspace, home, until, 0)?).await?;
        }
        self.homes.store().write(put_due(workspace, home, now, 0)?).await?;
        Ok(true)
    }

    async fn marked(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        score: Option<Versioned<ScoreRecord>>,
        standing: Option<&Versioned<Standing>>,
        now: Timestamp,
    ) -> Result<Write, MendError> {
        let (version, mut record) = match score {
            Some(score) => (score.version, score.record),
            None => {
                let model = self.models.current(workspace).await?;
                let gathered = self.homes.gather(workspace, home, Consistency::Strong).await?;
                (0, score::record::compute(home, &gathered, &model, now.day(), now))
            }
        };
        record.stamp = !record.stamp;
        record.due_at = None;
        let mut write = put_record(home_key(workspace, home, SCORE), version, &record)?;
        if let Write::Put(item, _) = &mut write {
            item.version = item.version.max(standing.map_or(0, |standing| standing.record.served).saturating_add(1));
        }
        Ok(write)
    }
}

/// A version above all that counting up from 1 can have reached.
fn lasting(now: Timestamp) -> u64 {
    u64::try_from(now.millis()).unwrap_or(1)
}

/// Whether it was written; somebody else's write is no error.
fn unless_changed(written: Result<(), StoreError>) -> Result<bool, MendError> {
    match written {
        Ok(()) => Ok(true),
        Err(e) if e.is_conflict() => Ok(false),
        Err(e) => Err(e.into()),
    }
}
