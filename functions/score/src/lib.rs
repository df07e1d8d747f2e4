#![doc = include_str!("../README.md")]

pub mod config;
pub use pipeline::scoring as record;

use domain::{
    AccountId, Day, Home, Shard, Shards, Timestamp, WorkspaceId,
    model::Model,
    mutant::{Mutant, active},
};
use futures::{StreamExt, TryStreamExt, stream};
use pipeline::{
    AccountScored, AccountTouched, Clock, Condition, Consistency, Homes, Outcome, Queue, Received, Stage, StageError, Store, StoreError,
    Versioned, Write,
    homes::{Gathered, Head, HomeStore, Partition, StoredState, put_due, put_record, put_sum},
    models::Models,
    records::{CLOCK_DIFFERENCE_MS, SCORE, ScoreHead, ScoreRecord, ShardRecord, due_key_of, home_key},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many homes are worked on at once within an invocation.
const CONCURRENCY: usize = 16;
/// How often a home is tried again when another scorer wrote in between, before the message comes again.
const ATTEMPTS: usize = 8;

/// Computes account score, engagement and surge of touched homes.
#[derive(Debug)]
pub struct Scorer<S, Q, C> {
    homes: HomeStore<S>,
    models: Models<S, C>,
    scored: Q,
    clock: C,
}

impl<S: Store + Clone, Q: Queue<AccountScored>, C: Clock + Clone> Scorer<S, Q, C> {
    /// Over these ports.
    pub fn new(store: S, scored: Q, clock: C) -> Self {
        Self { homes: HomeStore::new(store.clone()), models: Models::new(store, clock.clone()), scored, clock }
    }

    /// Scores a home as of now, of which these shards were touched.
    pub async fn score(&self, workspace: &WorkspaceId, home: &Home, shards: Shards) -> Result<Served, StageError> {
        let mut served = Served::default();
        let mut home = home.clone();
        // A home that was absorbed leaves a last record that says so, and the account that it belongs to now is scored.
        for _ in 0..ATTEMPTS * 2 {
            match self.try_score(workspace, &home, shards).await {
                Ok(Scored::Done(kept)) => {
                    served.ahead.extend(kept.map(|due_at| (home.clone(), due_at)));
                    served.homes.insert(home);
                    return Ok(served);
                }
                Ok(Scored::Unsent) => return Ok(served),
                Ok(Scored::MergedInto(into)) => {
                    served.homes.insert(home);
                    home = Home::Account(into);
                }
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e),
            }
        }
        Err(StageError::retry("another scorer wrote at every attempt"))
    }

    async fn try_score(&self, workspace: &WorkspaceId, home: &Home, shards: Shards) -> Result<Scored, StageError> {
        // The version is read strictly before the states: a state written after this read makes its own message, and a record
        // written after it fails our condition.
        let early =
            if active(Mutant::VersionAfterStates) { Some(self.homes.gather(workspace, home, Consistency::Strong).await?) } else { None };
        let before = self.homes.score_head(workspace, home).await?;
        if before.as_ref().is_some_and(|before| before.record.merged_into.is_some())
            && let Some(head) = self.absorbed(workspace, home).await?
        {
            let model = self.model(workspace, before.as_ref().map_or(0, |before| before.record.model)).await?;
            let now = self.clock.now();
            if let Some(merged) = record::merged(&head, &model, now.day()) {
                return self.write(workspace, home, before, merged, now).await;
            }
        }
        if before.as_ref().is_some_and(|before| before.record.giant) {
            return self.score_giant(workspace, home, before, shards).await;
        }
        let gathered = match early {
            Some(gathered) => gathered,
            None => self.homes.gather_after(workspace, home, before.as_ref(), Consistency::Strong).await?,
        };
        if gathered.is_giant() && gathered.own.account.as_ref().is_none_or(|account| account.record.merged_into.is_none()) {
            return self.score_giant(workspace, home, before, Shards::ALL).await;
        }
        let model = self.model(workspace, before.as_ref().map_or(0, |before| before.record.model)).await?;
        let now = self.clock.now();
        let record = record::compute(home, &gathered, &model, now.day(), now);
        self.write(workspace, home, before, record, now).await
    }

    /// A home that was absorbed and still is: of its states nothing follows any more, so they need not be read.
    async fn absorbed(&self, workspace: &WorkspaceId, home: &Home) -> Result<Option<Gathered>, StageError> {
        let Home::Account(account) = home else { return Ok(None) };
        let account = self.homes.account(workspace, account, Consistency::Strong).await?;
        let account = account.filter(|account| account.record.merged_into.is_some());
        Ok(account.map(|account| Gathered { own: Partition { account: Some(account), ..Partition::default() }, members: Vec::new() }))
    }

    /// The model to score with, at least as new as the one that what is stored was made with.
    async fn model(&self, workspace: &WorkspaceId, known: u64) -> Result<Arc<Model>, StageError> {
        let known = if active(Mutant::OldModelWrites) { 0 } else { known };
        let model = self.models.at_least(workspace, known).await?;
        if model.version() < known {
            return Err(StageError::retry("the account was scored with a newer model than can be read"));
        }
        Ok(model)
    }

    /// Scores a home by shards: sums those that were touched, and those whose stored sum is of another day, model or set of members, and
    /// combines all sums. `before` was read before: a scorer that writes a sum which this one does not see writes the record afterwards, and
    /// one of the two fails its condition.
    async fn score_giant(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        mut before: Option<Versioned<ScoreHead>>,
        touched: Shards,
    ) -> Result<Scored, StageError> {
        let Head { gathered: head, sums: stored } = self.homes.head(workspace, home).await?;
        if active(Mutant::VersionAfterSums) {
            before = self.homes.score_head(workspace, home).await?;
        }
        let known = stored.values().filter_map(|sum| sum.record.as_ref()).map(|sum| sum.model);
        let known = known.chain(before.as_ref().map(|before| before.record.model)).max();
        let model = self.model(workspace, known.unwrap_or_default()).await?;
        let now = self.clock.now();
        let as_of = now.day();
        if let Some(merged) = record::merged(&head, &model, as_of) {
            return self.write(workspace, home, before, merged, now).await;
        }
        let members = record::members_digest(&head);
        let day = |of: Day| if active(Mutant::OldSumBelieved) { as_of } else { of };
        let holds = |sum: &ShardRecord| (day(sum.as_of), sum.model_digest, sum.members) == (as_of, model.digest(), members);
        let mut sums: BTreeMap<Shard, ShardRecord> = BTreeMap::new();
        let mut versions: BTreeMap<Shard, u64> = BTreeMap::new();
        for (shard, Versioned { version, record }) in stored {
            versions.insert(shard, version);
            sums.extend(record.filter(holds).map(|record| (shard, record)));
        }
        // What an earlier time as a giant left behind is not believed.
        let touched = if before.as_ref().is_some_and(|before| before.record.giant) { touched } else { Shards::ALL };
        let wanted: Shards = Shards::ALL.iter().filter(|shard| touched.contains(*shard) || !sums.contains_key(shard)).collect();
        let mut states = Vec::new();
        if !wanted.is_empty() {
            let members = head.members.iter().filter_map(|member| member.account.as_ref());
            let members = members.map(|account| Home::Account(account.record.id.clone()));
            for partition in std::iter::once(home.clone()).chain(members) {
                states.push(self.homes.states_in(workspace, &partition, wanted).await?);
            }
        }
        let mut writes = Vec::new();
        for shard in wanted.iter() {
            let mut of_shard: Vec<StoredState> = Vec::new();
            for states in &mut states {
                of_shard.append(&mut states.take(shard)?);
            }
            let sum = record::sum(&head, of_shard.iter().collect(), &model, as_of);
            if sums.get(&shard) != Some(&sum) {
                writes.push(put_sum(workspace, home, shard, versions.get(&shard).copied().unwrap_or_default(), &sum)?);
                sums.insert(shard, sum);
            }
        }
        stream::iter(writes).map(|write| self.homes.store().write(write)).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
        let record = record::combine(home, &head, &sums, &model, as_of, now);
        self.write(workspace, home, before, record, now).await
    }

    /// Writes a record over the one that was read before what it follows from, unless that is the same.
    async fn write(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        before: Option<Versioned<ScoreHead>>,
        mut record: ScoreRecord,
        now: Timestamp,
    ) -> Result<Scored, StageError> {
        let merged = record.merged_into.clone();
        if self.is_served(before.as_ref(), &record, now) {
            if active(Mutant::ScoreSendSkipped) {
                return Ok(Scored::Unsent);
            }
            let due_at = before.and_then(|before| before.record.due_at);
            return Ok(merged.map_or(Scored::Done(due_at), Scored::MergedInto));
        }
        let kept = self.set_due(workspace, home, before.as_ref(), &mut record, now).await?;
        let version = before.map_or(0, |before| before.version);
        let mut write = put_record(home_key(workspace, home, SCORE), version, &record)?;
        if active(Mutant::ScoreWrittenBlindly)
            && let Write::Put(_, condition) = &mut write
        {
            *condition = Condition::Always;
        }
        self.homes.store().write(write).await?;
        Ok(merged.map_or(Scored::Done(kept), Scored::MergedInto))
    }

    /// Whether the stored record follows from the very same inputs and its due item still lies ahead.
    fn is_served(&self, before: Option<&Versioned<ScoreHead>>, record: &ScoreRecord, now: Timestamp) -> bool {
        before.is_some_and(|before| before.record.stamp == record.stamp && before.record.due_at.is_none_or(|due| due > now))
    }

    /// Stores a due item for the next change without an event, unless one lies ahead that is as early, whose moment is answered. It is stored
    /// before the record, so that a crash in between leaves one too many, which is harmless.
    async fn set_due(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        before: Option<&Versioned<ScoreHead>>,
        record: &mut ScoreRecord,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StageError> {
        let pending = before.and_then(|before| before.record.due_at).filter(|due| *due > now);
        match (pending, record.due_at) {
            (Some(pending), None) => record.due_at = Some(pending),
            (Some(pending), Some(next)) if pending <= next => record.due_at = Some(pending),
            (_, Some(next)) => {
                self.homes.store().write(put_due(workspace, home, next, 0)?).await?;
                return Ok(None);
            }
            (None, None) => {}
        }
        Ok(pending)
    }
}

/// Homes that were scored.
#[derive(Debug, Default)]
pub struct Served {
    /// The homes whose record level has to look at.
    pub homes: BTreeSet<Home>,
    /// Homes whose record names a due item that was there already, with its moment, which lies ahead by this host's clock.
    pub ahead: Vec<(Home, Timestamp)>,
}

enum Scored {
    /// With the moment of the due item that was there already and lies ahead, when there is one.
    Done(Option<Timestamp>),
    /// Only a deliberate bug leaves a send out.
    Unsent,
    MergedInto(AccountId),
}

impl<S: Store + Clone, Q: Queue<AccountScored>, C: Clock + Clone> Stage for Scorer<S, Q, C> {
    const NAME: &'static str = "score";
    type Input = AccountTouched;

    async fn handle(&self, batch: Vec<Received<AccountTouched>>) -> Vec<Outcome<AccountTouched>> {
        let mut homes: BTreeMap<(WorkspaceId, Home), Shards> = BTreeMap::new();
        for message in batch.iter().map(|received| &received.message) {
            if message.model > 0 {
                // An older model may be remembered. If this can't be read now, neither can it below.
                let _ = self.models.at_least(&message.workspace, message.model).await;
            }
            for (home, shards) in message.touched() {
                let known = homes.entry((message.workspace.clone(), home.clone())).or_default();
                *known = known.and(shards);
            }
        }
        let results: Vec<_> = stream::iter(homes)
            .map(|((workspace, home), shards)| async move {
                let scored = self.score(&workspace, &home, shards).await;
                ((workspace, home), scored)
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut to_level = Homes::default();
        let mut failed: BTreeMap<(WorkspaceId, Home), String> = BTreeMap::new();
        let mut ahead: BTreeMap<(WorkspaceId, Home), Timestamp> = BTreeMap::new();
        for ((workspace, home), scored) in results {
            match scored {
                Ok(served) => {
                    served.homes.into_iter().for_each(|home| to_level.add(&workspace, home));
                    ahead.extend(served.ahead.into_iter().map(|(home, due_at)| ((workspace.clone(), home), due_at)));
                }
                Err(e) => {
                    tracing::warn!(stage = Self::NAME, account.id = %home, error = %e, source = e.source_text(), "a home was not scored");
                    failed.insert((workspace, home), e.source_text());
                }
            }
        }
        // Write, then send, on every attempt: a home whose record needed no write may still wait for level.
        let messages = to_level.scored();
        let sent = if messages.is_empty() { Ok(()) } else { self.scored.send(messages).await };
        let sent = sent.map_err(|e| StageError::from(e).source_text());
        let mut outcomes = Vec::with_capacity(batch.len());
        for received in batch {
            outcomes.push(match &sent {
                Err(reason) => Outcome::Failed(StageError::retry(reason.clone())),
                Ok(()) => self.finish(received, &failed, &ahead).await,
            });
        }
        outcomes
    }
}

impl<S: Store + Clone, Q: Queue<AccountScored>, C: Clock + Clone> Scorer<S, Q, C> {
    /// A record names a due item that was there already and lies ahead by this host's clock. Rescore took it if its clock is right and
    /// this one is slow: another one is put, for when all clocks agree that the moment has come. Not the same one, which rescore may be about
    /// to remove.
    async fn keep_due(&self, message: &AccountTouched, ahead: &BTreeMap<(WorkspaceId, Home), Timestamp>) -> Result<(), StoreError> {
        for home in message.homes.iter().filter(|_| !message.due.is_empty()) {
            if let Some(due_at) = ahead.get(&(message.workspace.clone(), home.clone())) {
                let agreed = due_at.plus_millis(CLOCK_DIFFERENCE_MS);
                self.homes.store().write(put_due(&message.workspace, home, agreed, 0)?).await?;
            }
        }
        Ok(())
    }

    /// Removes the due items that a wholly served message stands for; a partly served one comes again with what is left.
    async fn finish(
        &self,
        received: Received<AccountTouched>,
        failed: &BTreeMap<(WorkspaceId, Home), String>,
        ahead: &BTreeMap<(WorkspaceId, Home), Timestamp>,
    ) -> Outcome<AccountTouched> {
        let message = &received.message;
        let left: Vec<(&Home, Shards)> =
            message.touched().filter(|(home, _)| failed.contains_key(&(message.workspace.clone(), (*home).clone()))).collect();
        if left.is_empty() {
            if let Err(e) = self.keep_due(message, ahead).await {
                return Outcome::Failed(e.into());
            }
            for sk in &message.due {
                if let Err(e) = self.homes.store().write(Write::Delete(due_key_of(sk), Condition::Always)).await {
                    return Outcome::Failed(e.into());
                }
            }
            return Outcome::Done;
        }
        if received.failed_before() && message.homes.len() > 1 {
            let one = |(home, shards): (&Home, Shards)| AccountTouched {
                shards: vec![shards],
                model: message.model,
                ..AccountTouched::whole(message.workspace.clone(), vec![home.clone()])
            };
            return Outcome::Split { retry: left.into_iter().map(one).collect(), reject: Vec::new() };
        }
        let cause = left.first().and_then(|(home, _)| failed.get(&(message.workspace.clone(), (*home).clone())));
        Outcome::Failed(StageError::retry(format!(
            "{} of {} homes were not scored: {}",
            left.len(),
            message.homes.len(),
            cause.map_or("", String::as_str)
        )))
    }
}
