//! Applies a mapping to what is stored: every identity's events are read again by the account mapping, or every lead is placed again by the profile
//! mapping.
//!
//! Fields of an account that events name lie with the account; `pipeline::reread` says how they are read again. Those of a lead's own account lie in the
//! lead's state, which is folded anew from its parcels; so do seals, which were made by another mapping.

use super::{
    JobRunner, Worked, failed, is_final,
    publish::{Gathered, gathered},
};
use domain::{Event, Home, Timestamp, WorkspaceId, model::Model};
use futures::future::try_join_all;
use pipeline::{
    AccountTouched, Clock, Consistency, EventsReceived, Parcel, Queue, StageError, Store, StoreError, Versioned,
    homes::StoredState,
    jobs::{Cursor, JobKind, JobRecord, JobState, Phase},
    refold::{Counted, reread},
    reread::{Stated, collect, replace, set_apart},
    rulesets::PublishError,
    walk,
};
use serde_json::json;

/// Homes whose standings are read at once. A page is one query.
const PAGE: usize = 500;
/// Homes that are worked on before it is looked how long that took.
const AT_ONCE: usize = 16;
/// After so many passes that each found somebody, who is missed still stays as read before.
const PASSES: u32 = 4;
/// Of one home so many parcels are handed over in one chunk.
const HANDED_AT_ONCE: usize = 500;
/// While somebody publishes, it is looked again after this time.
const PUBLICATION_MS: i64 = 5_000;
/// Identities are handed to resolve at most so fast, in identities a second, so that events need not wait for them.
const PACE: i64 = 500;

/// What came of a home.
#[derive(Debug, Default)]
struct OfHome {
    /// Identities or accounts that are different since then, or identities that were handed over.
    done: u64,
    /// Identities of which the log holds no parcel any more.
    without: u64,
    /// What its events state of accounts that they name.
    stated: Stated,
    /// What is to be handed to resolve.
    messages: Vec<EventsReceived>,
    /// The place of the last identity that was looked at, when there are more than there was time for.
    unfinished: Option<String>,
}

/// What a chunk looks at.
struct Looking<'a> {
    workspace: &'a WorkspaceId,
    record: &'a JobRecord,
    phase: Phase,
    model: &'a Model,
    /// Whether it is the first pass over all homes.
    first: bool,
    /// Since when the log is whole, where that matters.
    log_begins: Timestamp,
    began: Timestamp,
}

/// An identity's place in its home: identities are looked at in this order.
fn place(stored: &StoredState) -> String {
    format!("{}{}", stored.shard, stored.identity)
}

impl<S: Store + Clone, T: Queue<AccountTouched> + Queue<EventsReceived>, C: Clock + Clone> JobRunner<S, T, C> {
    /// Works one chunk of an application of the account mapping.
    pub(super) async fn apply_mapping(
        &self,
        workspace: &WorkspaceId,
        job: &Versioned<JobRecord>,
        mapping: u64,
    ) -> Result<Worked, StageError> {
        let Some(phase) = job.record.phase() else { return Ok(failed(&job.record, "it has no phase".to_owned())) };
        match phase {
            Phase::Settle => return Ok(self.settle(&job.record)),
            Phase::Rescore | Phase::Confirm => return self.publish(workspace, job).await,
            _ => {}
        }
        let model = self.models.latest(workspace).await?;
        if model.document.mapping.version() != mapping {
            return Ok(failed(&job.record, "the mapping was changed meanwhile; apply it again".to_owned()));
        }
        if phase == Phase::Switch {
            return match self.rulesets.applied(workspace, job, mapping, self.clock.now()).await {
                Ok(true) => Ok(Worked::Stored),
                Ok(false) => Ok(Worked::On(Box::new(job.record.clone()), self.clock.now().plus_millis(PUBLICATION_MS))),
                Err(PublishError::Store(e)) if !is_final(&e) => Err(e.into()),
                Err(e) => Ok(failed(&job.record, format!("it can't be noted that the mapping was applied: {e}"))),
            };
        }
        self.some(workspace, &job.record, phase, &model).await
    }

    /// Works one chunk of an application of the profile mapping.
    pub(super) async fn apply_profiles(&self, workspace: &WorkspaceId, record: &JobRecord) -> Result<Worked, StageError> {
        if record.phase() == Some(Phase::Settle) {
            return Ok(self.settle(record));
        }
        let model = self.models.latest(workspace).await?;
        self.some(workspace, record, Phase::Place, &model).await
    }

    /// Works on a page of homes, as long as there is time. A home with more identities than there is time for is gone on with in the next chunk.
    async fn some(&self, workspace: &WorkspaceId, record: &JobRecord, phase: Phase, model: &Model) -> Result<Worked, StageError> {
        let mut sums = gathered(record);
        let began = self.clock.now();
        let log_begins = if phase == Phase::Replace { self.parcels.whole_since(began).await? } else { began };
        let looking = Looking { workspace, record, phase, model, first: sums.passes == 0, log_begins, began };
        let page = walk::page(self.homes.store(), workspace, &record.cursor, PAGE).await?;
        let mut next = page.next;
        let (mut before, mut seen, mut handed) = (record.cursor.clone(), 0_u64, 0);
        let mut waiting = page.homes.as_slice();
        while !waiting.is_empty() {
            let (few, rest) = waiting.split_at(waiting.len().min(AT_ONCE));
            let within = sums.within.take();
            // Only the first home of a chunk may have been begun already.
            let from = |i: usize| within.as_deref().filter(|_| i == 0);
            let worked = try_join_all(few.iter().enumerate().map(|(i, (home, _))| self.of_home(&looking, home, from(i)))).await;
            let came = match worked.map_err(StageError::from) {
                Ok(came) => self.gather(&looking, came, &mut sums).await,
                Err(e) => Err(e),
            };
            let (unfinished, sent) = match came {
                Ok(came) => came,
                Err(StageError::Reject { reason }) => return Ok(failed(record, format!("not everything can be read: {reason}"))),
                Err(e) => return Err(e),
            };
            handed += sent;
            let over = unfinished.as_ref().map_or(few.len(), |(home, _)| *home);
            seen = seen.saturating_add(over as u64);
            if let Some((last, _)) = over.checked_sub(1).and_then(|last| few.get(last)) {
                before = walk::after(workspace, last);
            }
            waiting = rest;
            if let Some((_, place)) = unfinished {
                sums.within = Some(place);
                next = before;
                break;
            }
            if !waiting.is_empty() && self.is_late(looking.began) {
                next = before;
                break;
            }
        }
        let mut record = record.clone();
        record.done = record.done.saturating_add(seen);
        let mut at = looking.began;
        if phase == Phase::Place {
            at = self.clock.now().plus_millis(handed.saturating_mul(1_000) / PACE);
            if next == Cursor::End {
                return Ok(placed(&record, &sums));
            }
        }
        // Who moved from a home that was still to come to one that was seen already was met in neither.
        if phase == Phase::Fold && next == Cursor::End && sums.in_pass > 0 && sums.passes < PASSES {
            (sums.in_pass, sums.passes) = (0, sums.passes.saturating_add(1));
            (record.done, next) = (0, Cursor::Start);
        }
        Ok(self.walked(record, next, &sums, at))
    }

    /// Looks at one home, from after an identity's place on.
    async fn of_home(&self, looking: &Looking<'_>, home: &Home, from: Option<&str>) -> Result<OfHome, StoreError> {
        let (workspace, job, now) = (looking.workspace, &looking.record.id, self.clock.now());
        match (looking.phase, home.account()) {
            (Phase::SetApart, Some(account)) => set_apart(&self.homes, workspace, account).await?,
            (Phase::Replace, Some(account)) => {
                let changed = replace(&self.homes, workspace, job, account, looking.log_begins, now).await?;
                return Ok(OfHome { done: u64::from(changed), ..OfHome::default() });
            }
            (Phase::Fold | Phase::Place, _) => return self.of_identities(looking, home, from).await,
            _ => {}
        }
        Ok(OfHome::default())
    }

    /// Looks at a home's identities, one after the other: each is due with the same item as its home.
    async fn of_identities(&self, looking: &Looking<'_>, home: &Home, from: Option<&str>) -> Result<OfHome, StoreError> {
        let partition = self.homes.partition(looking.workspace, home, Consistency::Strong).await?;
        let mut came = OfHome::default();
        let waiting = partition.states.into_iter().filter(|stored| from.is_none_or(|from| place(stored).as_str() > from));
        let mut waiting = waiting.peekable();
        while let Some(stored) = waiting.next() {
            let at = place(&stored);
            if looking.phase == Phase::Fold {
                self.read_again(looking, &stored, &mut came).await?;
            } else {
                self.newest(looking, stored, &mut came).await?;
            }
            let enough = came.messages.len() >= HANDED_AT_ONCE || self.is_late(looking.began);
            if enough && waiting.peek().is_some() {
                came.unfinished = Some(at);
                break;
            }
        }
        Ok(came)
    }

    /// Reads the events of an identity again.
    async fn read_again(&self, looking: &Looking<'_>, stored: &StoredState, came: &mut OfHome) -> Result<(), StoreError> {
        let moments = (self.clock.now(), looking.record.created_at);
        let who = (looking.workspace, &stored.identity);
        let stated = &mut came.stated;
        let each = |events: &[Event]| stated.add(events, &looking.model.document.mapping);
        let counted = reread(&self.homes, &self.parcels, who, looking.model, moments, looking.first, each).await?;
        came.done = came.done.saturating_add(u64::from(counted == Counted::Anew));
        Ok(())
    }

    /// Takes the newest parcel of an identity along to be handed to resolve, as if its message came again: what was counted is not counted again, and the
    /// identity is placed anew.
    async fn newest(&self, looking: &Looking<'_>, stored: StoredState, came: &mut OfHome) -> Result<(), StoreError> {
        let (workspace, now) = (looking.workspace.clone(), self.clock.now());
        let newest = self.parcels.newest(&workspace, &stored.identity, None, 1, now).await?.into_iter().next();
        let Some(parcel) = newest else {
            came.without = came.without.saturating_add(1);
            return Ok(());
        };
        let parcels = vec![Parcel { identity: stored.state.identity, events: parcel.events.into() }];
        came.messages.push(EventsReceived { workspace, batch: parcel.batch, received_at: now, parcels, rejected: Vec::new() });
        came.done = came.done.saturating_add(1);
        Ok(())
    }

    /// Notes what came of a few homes. Answers the first of them that is not finished, with the place to go on from, and how many parcels were sent.
    async fn gather(
        &self,
        looking: &Looking<'_>,
        came: Vec<OfHome>,
        sums: &mut Gathered,
    ) -> Result<(Option<(usize, String)>, i64), StageError> {
        let (mut stated, mut messages, mut unfinished) = (Stated::default(), Vec::new(), None);
        for (i, of) in came.into_iter().enumerate() {
            stated.merge(of.stated);
            messages.extend(of.messages);
            // Homes behind one that is not finished are looked at once more; what was read again then is not different a second time.
            if unfinished.is_none() || looking.phase == Phase::Fold {
                sums.note(looking.phase, of.done, of.without);
            }
            if unfinished.is_none() {
                unfinished = of.unfinished.map(|place| (i, place));
            }
        }
        let by_account = stated.by_account(&self.homes, looking.workspace).await?;
        let (job, now) = (&looking.record.id, self.clock.now());
        let collected = by_account.iter().map(|(account, facts)| collect(&self.homes, looking.workspace, job, account, facts, now));
        try_join_all(collected).await?;
        let sent = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        if !messages.is_empty() {
            Queue::<EventsReceived>::send(&self.touched, messages).await?;
        }
        Ok((unfinished, sent))
    }
}

/// Every lead was handed over.
fn placed(record: &JobRecord, sums: &Gathered) -> Worked {
    let result = json!({ "homes": record.done, "identities": sums.counted, "without_events": sums.without });
    let done = JobRecord { state: JobState::Done, total: Some(record.done), percent: 100, result: Some(result), ..record.clone() };
    Worked::Over(Box::new(done))
}

/// What came of an application of the account mapping.
pub(super) fn applied(record: &JobRecord, sums: &Gathered) -> Option<serde_json::Value> {
    let JobKind::ApplyMapping { mapping, model } = record.kind else { return None };
    Some(json!({
        "homes": record.total.unwrap_or_default(), "identities": sums.counted, "accounts": sums.accounts,
        "rescored": sums.touched, "left": sums.left, "mapping": mapping, "model": model,
    }))
}
