//! Brings a publication to every account.

use super::{JobRunner, Worked, failed, is_final};
use domain::{
    Home, IdentityId, Timestamp, WorkspaceId,
    model::Model,
    mutant::{Mutant, active},
};
use futures::future::try_join_all;
use pipeline::{
    AccountTouched, Clock, Consistency, Homes, Key, Queue, StageError, Store, StoreError, Versioned,
    jobs::{Cursor, JobKind, JobRecord, JobState, Phase},
    records::{SCORE, from_item, home_key},
    refold::{Counted, refold},
    rulesets::{PublishError, SETTLE_MS},
    walk::{self, StandingHead},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Homes whose standings are read at once. A page is one query.
const PAGE: usize = 500;
/// Homes whose events are counted before it is looked how long that took.
const FOLDED_AT_ONCE: usize = 16;
/// After so many passes that each found somebody, who is missed still is counted anew with the next event.
const PASSES: u32 = 3;
/// Homes are handed to score at most so fast, in homes a second, so that events need not wait for a publication.
const PACE: i64 = 2_000;
/// So long after homes were handed to score it is looked which of them were not scored.
const CONFIRM_MS: i64 = 10_000;
/// The first looks come sooner, each after twice as long as the one before: few accounts are scored within a second.
const FIRST_LOOK_MS: i64 = 500;
/// How many looks come sooner. Homes that are left after one of them are not handed to score again: they are on their way.
const EARLY_LOOKS: u32 = 5;
/// After so many looks without any progress what is left is left to the due items, and named.
const LOOKS: u32 = 30;
/// How many homes that are left are named.
const NAMED: usize = 20;

/// Score records that are read at once.
const RECORDS: usize = 100;

/// What of a score record tells whether its events were counted by other rules.
#[derive(Debug, Deserialize)]
struct Late {
    #[serde(default)]
    stale: u32,
}

/// What is gathered between chunks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Gathered {
    /// Identities whose events were counted anew, or that were handed over.
    pub(super) counted: u64,
    /// Those of them that were found in the present pass over all homes.
    pub(super) in_pass: u64,
    /// Passes over all homes that found any.
    pub(super) passes: u32,
    /// Accounts that hold other fields since then.
    pub(super) accounts: u64,
    /// Identities of which the log holds nothing any more.
    pub(super) without: u64,
    /// The place of the identity up to which the first home behind the cursor was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) within: Option<String>,
    /// Homes that were handed to score for the model in force.
    pub(super) touched: u64,
    /// Homes that the present look found not scored yet …
    pub(super) left: u64,
    /// … some of them by name …
    named: Vec<Home>,
    /// … and how many the look before had found.
    before: Option<u64>,
    /// Looks without any progress.
    idle: u32,
    /// Looks that came sooner than every [`CONFIRM_MS`].
    early: u32,
    /// Whether looks ask, too, who was counted by older rules: once everybody was scored.
    late: bool,
}

impl<S: Store + Clone, T: Queue<AccountTouched>, C: Clock + Clone> JobRunner<S, T, C> {
    /// Works one chunk of a publication.
    pub(super) async fn publish(&self, workspace: &WorkspaceId, job: &Versioned<JobRecord>) -> Result<Worked, StageError> {
        match job.record.phase() {
            Some(Phase::Settle) => Ok(self.settle(&job.record)),
            Some(Phase::Fold) => self.fold(workspace, &job.record).await,
            Some(Phase::Switch) => self.switch(workspace, job).await,
            Some(Phase::Rescore) => self.rescore(workspace, &job.record).await,
            Some(Phase::Confirm) => self.confirm(workspace, &job.record).await,
            Some(Phase::Walk | Phase::SetApart | Phase::Replace | Phase::Place) | None => Ok(done(&job.record, &gathered(&job.record))),
        }
    }

    /// Waits until nobody counts by the older model any more.
    pub(super) fn settle(&self, record: &JobRecord) -> Worked {
        let now = self.clock.now();
        // By this host's clock alone: the one that published may have another.
        let until = match record.cursor {
            Cursor::Until { at } => at,
            Cursor::Start | Cursor::Standings { .. } | Cursor::End => now.plus_millis(SETTLE_MS),
        };
        let mut record = record.clone();
        if now < until && !active(Mutant::FoldBeforeSettle) {
            record.cursor = Cursor::Until { at: until };
            return Worked::On(Box::new(record), until);
        }
        record.next_phase();
        Worked::On(Box::new(record), now)
    }

    /// Counts the events of a few homes anew.
    async fn fold(&self, workspace: &WorkspaceId, record: &JobRecord) -> Result<Worked, StageError> {
        let began = self.clock.now();
        let model = self.models.at_least(workspace, target(record)).await?;
        let page = walk::page(self.homes.store(), workspace, &record.cursor, PAGE).await?;
        let (mut record, mut sums) = (record.clone(), gathered(record));
        let mut next = page.next;
        let mut waiting = page.homes.as_slice();
        while !waiting.is_empty() {
            let (few, rest) = waiting.split_at(waiting.len().min(FOLDED_AT_ONCE));
            match try_join_all(few.iter().map(|(home, _)| self.fold_home(workspace, home, &model))).await {
                Ok(counted) => {
                    let counted = counted.iter().sum();
                    sums.counted = sums.counted.saturating_add(counted);
                    sums.in_pass = sums.in_pass.saturating_add(counted);
                }
                Err(e) if is_final(&e) => return Ok(failed(&record, format!("events can't be counted: {e}"))),
                Err(e) => return Err(e.into()),
            }
            record.done = record.done.saturating_add(few.len() as u64);
            waiting = rest;
            if let Some((last, _)) = few.last()
                && !waiting.is_empty()
                && self.is_late(began)
            {
                next = walk::after(workspace, last);
                break;
            }
        }
        // Who moved from a home that was still to come to one that was seen already was met in neither.
        if next == Cursor::End && sums.in_pass > 0 && sums.passes < PASSES {
            (sums.in_pass, sums.passes) = (0, sums.passes.saturating_add(1));
            (record.done, next) = (0, Cursor::Start);
        }
        Ok(self.walked(record, next, &sums, began))
    }

    /// Counts the events of one home's identities anew. Answers of how many.
    async fn fold_home(&self, workspace: &WorkspaceId, home: &Home, model: &Model) -> Result<u64, StoreError> {
        let partition = self.homes.partition(workspace, home, Consistency::Strong).await?;
        let digest = model.matcher.digest();
        let lacking: Vec<IdentityId> =
            partition.states.iter().filter(|stored| stored.state.facts.parts != digest).map(|stored| stored.identity).collect();
        let mut counted = 0;
        for identity in lacking {
            let now = self.clock.now();
            if refold(&self.homes, &self.parcels, workspace, &identity, model, now).await? == Counted::Anew {
                counted += 1;
            }
        }
        Ok(counted)
    }

    /// Stores how far a walk is, and begins the next phase when it is over.
    pub(super) fn walked(&self, mut record: JobRecord, next: Cursor, sums: &Gathered, at: Timestamp) -> Worked {
        record.partial = json!(sums);
        record.reach(walk::percent(&next));
        if next == Cursor::End {
            record.total = Some(record.done);
            record.next_phase();
        } else {
            record.cursor = next;
        }
        Worked::On(Box::new(record), at)
    }

    /// Puts the change into force.
    async fn switch(&self, workspace: &WorkspaceId, job: &Versioned<JobRecord>) -> Result<Worked, StageError> {
        match self.rulesets.switch(workspace, job, self.clock.now()).await {
            Ok(_) => Ok(Worked::Stored),
            Err(PublishError::Store(e)) if !is_final(&e) => Err(e.into()),
            Err(e) => Ok(failed(&job.record, format!("the change can't come into force: {e}"))),
        }
    }

    /// Hands a page of homes to score.
    async fn rescore(&self, workspace: &WorkspaceId, record: &JobRecord) -> Result<Worked, StageError> {
        let page = walk::page(self.homes.store(), workspace, &record.cursor, PAGE).await?;
        let target = target(record);
        let lacking: Vec<Home> = page.homes.iter().filter(|(_, standing)| lacks(standing, target)).map(|(home, _)| home.clone()).collect();
        let (mut record, mut sums) = (record.clone(), gathered(record));
        record.done = record.done.saturating_add(page.homes.len() as u64);
        let handed = i64::try_from(lacking.len()).unwrap_or(i64::MAX);
        sums.touched = sums.touched.saturating_add(lacking.len() as u64);
        self.touch(workspace, lacking, target).await?;
        let at = self.clock.now().plus_millis(handed.saturating_mul(1_000) / PACE);
        Ok(self.walked(record, page.next, &sums, at))
    }

    async fn touch(&self, workspace: &WorkspaceId, homes: Vec<Home>, model: u64) -> Result<(), StageError> {
        let mut touched = Homes::default();
        for home in homes {
            touched.add(workspace, home);
        }
        if touched.is_empty() {
            return Ok(());
        }
        Ok(self.touched.send(touched.touched_for(model)).await?)
    }

    /// Looks at a page of homes whether they were scored, and hands those that were not to score again when nothing moves.
    async fn confirm(&self, workspace: &WorkspaceId, record: &JobRecord) -> Result<Worked, StageError> {
        let now = self.clock.now();
        let (mut record, mut sums) = (record.clone(), gathered(record));
        let page = walk::page(self.homes.store(), workspace, &record.cursor, PAGE).await?;
        let lacking: Vec<Home> =
            page.homes.iter().filter(|(_, standing)| lacks(standing, target(&record))).map(|(home, _)| home.clone()).collect();
        sums.left = sums.left.saturating_add(lacking.len() as u64);
        let room = NAMED.saturating_sub(sums.named.len());
        sums.named.extend(lacking.iter().take(room).cloned());
        if sums.idle > 0 {
            self.touch(workspace, lacking, target(&record)).await?;
        }
        if sums.late {
            let late = self.fold_late(workspace, &page.homes, target(&record)).await?;
            sums.left = sums.left.saturating_add(late.len() as u64);
            sums.counted = sums.counted.saturating_add(late.len() as u64);
            self.touch(workspace, late, target(&record)).await?;
        }
        if page.next != Cursor::End {
            record.cursor = page.next;
            record.partial = json!(sums);
            return Ok(Worked::On(Box::new(record), now));
        }
        Ok(self.looked(record, sums))
    }

    /// Counts anew whose events were counted by older rules although everybody's were counted before the new ones came into force: somebody who was
    /// slow wrote after that. Answers the homes that are to be scored again for it.
    async fn fold_late(&self, workspace: &WorkspaceId, homes: &[(Home, StandingHead)], target: u64) -> Result<Vec<Home>, StageError> {
        let model = self.models.at_least(workspace, target).await?;
        let mut late = Vec::new();
        for homes in homes.chunks(RECORDS) {
            let keys: Vec<Key> = homes.iter().map(|(home, _)| home_key(workspace, home, SCORE)).collect();
            let items = self.homes.store().read_many(&keys, Consistency::Strong).await?;
            for ((home, _), key) in homes.iter().zip(&keys) {
                let Some(item) = items.iter().find(|item| item.key == *key) else { continue };
                let score: Late = from_item(item)?;
                if score.stale > 0 && self.fold_home(workspace, home, &model).await? > 0 {
                    late.push(home.clone());
                }
            }
        }
        Ok(late)
    }

    /// A look at all homes is over.
    fn looked(&self, mut record: JobRecord, mut sums: Gathered) -> Worked {
        let total = record.total.unwrap_or_default();
        record.done = total.saturating_sub(sums.left);
        record.reach(record.done.saturating_mul(100).checked_div(total).unwrap_or(100));
        if sums.left == 0 && !sums.late && matches!(record.kind, JobKind::Publish { prepare: true, .. }) {
            sums.late = true;
            record.partial = json!(sums);
            record.cursor = Cursor::Start;
            return Worked::On(Box::new(record), self.clock.now());
        }
        if sums.left == 0 || sums.idle >= LOOKS {
            if sums.left > 0 {
                let named: Vec<String> = sums.named.iter().map(ToString::to_string).collect();
                record.warn(format!(
                    "{} homes were not scored yet and will be when they are next due, such as {}",
                    sums.left,
                    named.join(", ")
                ));
            }
            let over = record.at_phase.saturating_add(1) >= record.phases.len();
            if over {
                return done(&record, &sums);
            }
            record.partial = json!(Gathered { counted: sums.counted, accounts: sums.accounts, ..Gathered::default() });
            record.next_phase();
            return Worked::On(Box::new(record), self.clock.now());
        }
        let early = sums.early < EARLY_LOOKS;
        let pause = if early { FIRST_LOOK_MS << sums.early } else { CONFIRM_MS };
        sums.early = sums.early.saturating_add(u32::from(early));
        let moved = early || sums.before.is_none_or(|before| sums.left < before);
        sums.idle = if moved { 0 } else { sums.idle.saturating_add(1) };
        sums.before = Some(sums.left);
        sums.left = 0;
        sums.named = Vec::new();
        record.partial = json!(sums);
        record.cursor = Cursor::Start;
        Worked::On(Box::new(record), self.clock.now().plus_millis(pause))
    }
}

impl Gathered {
    /// Notes what came of a few homes in a phase of an application of a mapping.
    pub(super) fn note(&mut self, phase: Phase, done: u64, without: u64) {
        self.without = self.without.saturating_add(without);
        if phase == Phase::Replace {
            self.accounts = self.accounts.saturating_add(done);
        } else {
            self.counted = self.counted.saturating_add(done);
            self.in_pass = self.in_pass.saturating_add(done);
        }
    }
}

pub(super) fn gathered(record: &JobRecord) -> Gathered {
    serde_json::from_value(record.partial.clone()).unwrap_or_default()
}

/// The version of the model that every home is to be scored by.
const fn target(record: &JobRecord) -> u64 {
    match record.kind {
        JobKind::Publish { model, .. } | JobKind::ApplyMapping { model, .. } => model,
        _ => 0,
    }
}

/// Whether a home was not scored by the model yet. One that was absorbed has no score of its own.
fn lacks(standing: &StandingHead, target: u64) -> bool {
    standing.merged_into.is_none() && standing.scored_under() < target
}

fn done(record: &JobRecord, sums: &Gathered) -> Worked {
    let published = || {
        json!({
            "homes": record.total.unwrap_or_default(),
            "rescored": sums.touched,
            "counted_anew": sums.counted,
            "left": sums.left,
            "model": target(record),
        })
    };
    let result = super::apply::applied(record, sums).unwrap_or_else(published);
    Worked::Over(Box::new(JobRecord { state: JobState::Done, percent: 100, result: Some(result), ..record.clone() }))
}
