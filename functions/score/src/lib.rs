#![doc = include_str!("../README.md")]

pub mod config;
pub mod record;

use domain::{
    AccountId, Home, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
};
use futures::{StreamExt, stream};
use pipeline::{
    AccountScored, AccountTouched, Clock, Condition, Consistency, Homes, Outcome, Queue, Received, Stage, StageError, Store, Versioned,
    Write,
    homes::{HomeStore, put_due, put_record},
    models::Models,
    records::{SCORE, ScoreRecord, due_key_of, home_key},
};
use std::collections::{BTreeMap, BTreeSet};

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

    /// Scores a home as of now. Answers the homes whose record level has to look at.
    pub async fn score(&self, workspace: &WorkspaceId, home: &Home) -> Result<BTreeSet<Home>, StageError> {
        let mut served = BTreeSet::new();
        let mut home = home.clone();
        // A home that was absorbed leaves a last record that says so, and the account that it belongs to now is scored.
        for _ in 0..ATTEMPTS * 2 {
            match self.try_score(workspace, &home).await {
                Ok(Scored::Done) => {
                    served.insert(home);
                    return Ok(served);
                }
                Ok(Scored::Unsent) => return Ok(served),
                Ok(Scored::MergedInto(into)) => {
                    served.insert(home);
                    home = Home::Account(into);
                }
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e),
            }
        }
        Err(StageError::retry("another scorer wrote at every attempt"))
    }

    async fn try_score(&self, workspace: &WorkspaceId, home: &Home) -> Result<Scored, StageError> {
        // The version is read strictly before the states: a state written after this read makes its own message, and a record
        // written after it fails our condition.
        let early = if active(Mutant::VersionAfterStates) { Some(self.homes.gather(workspace, home, Consistency::Strong).await?) } else { None };
        let before = self.homes.score(workspace, home, Consistency::Strong).await?;
        let gathered = match early {
            Some(gathered) => gathered,
            None => self.homes.gather(workspace, home, Consistency::Strong).await?,
        };
        let known = before.as_ref().map_or(0, |before| before.record.model);
        let known = if active(Mutant::OldModelWrites) { 0 } else { known };
        let model = self.models.at_least(workspace, known).await?;
        if model.version() < known {
            return Err(StageError::retry("the account was scored with a newer model than can be read"));
        }
        let now = self.clock.now();
        let mut record = record::compute(home, &gathered, &model, now.day(), now);
        let merged = record.merged_into.clone();
        if self.is_served(before.as_ref(), &record, now) {
            if active(Mutant::ScoreSendSkipped) {
                return Ok(Scored::Unsent);
            }
            return Ok(merged.map_or(Scored::Done, Scored::MergedInto));
        }
        self.set_due(workspace, home, before.as_ref(), &mut record, now).await?;
        let version = before.map_or(0, |before| before.version);
        let mut write = put_record(home_key(workspace, home, SCORE), version, &record)?;
        if active(Mutant::ScoreWrittenBlindly)
            && let Write::Put(_, condition) = &mut write
        {
            *condition = Condition::Always;
        }
        self.homes.store().write(write).await?;
        Ok(merged.map_or(Scored::Done, Scored::MergedInto))
    }

    /// Whether the stored record follows from the very same inputs and its due item still lies ahead.
    fn is_served(&self, before: Option<&Versioned<ScoreRecord>>, record: &ScoreRecord, now: Timestamp) -> bool {
        before.is_some_and(|before| before.record.stamp == record.stamp && before.record.due_at.is_none_or(|due| due > now))
    }

    /// Stores a due item for the next change without an event, unless one lies ahead that is as early. It is stored before the record, so
    /// that a crash in between leaves one too many, which is harmless.
    async fn set_due(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        before: Option<&Versioned<ScoreRecord>>,
        record: &mut ScoreRecord,
        now: Timestamp,
    ) -> Result<(), StageError> {
        let pending = before.and_then(|before| before.record.due_at).filter(|due| *due > now);
        match (pending, record.due_at) {
            (Some(pending), None) => record.due_at = Some(pending),
            (Some(pending), Some(next)) if pending <= next => record.due_at = Some(pending),
            (_, Some(next)) => self.homes.store().write(put_due(workspace, home, next, 0)?).await?,
            (None, None) => {}
        }
        Ok(())
    }
}

enum Scored {
    Done,
    /// Only a deliberate bug leaves a send out.
    Unsent,
    MergedInto(AccountId),
}

impl<S: Store + Clone, Q: Queue<AccountScored>, C: Clock + Clone> Stage for Scorer<S, Q, C> {
    const NAME: &'static str = "score";
    type Input = AccountTouched;

    async fn handle(&self, batch: Vec<Received<AccountTouched>>) -> Vec<Outcome<AccountTouched>> {
        let homes: BTreeSet<(WorkspaceId, Home)> = batch
            .iter()
            .flat_map(|received| received.message.homes.iter().map(|home| (received.message.workspace.clone(), home.clone())))
            .collect();
        let results: Vec<_> = stream::iter(homes)
            .map(|(workspace, home)| async move {
                let scored = self.score(&workspace, &home).await;
                ((workspace, home), scored)
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut to_level = Homes::default();
        let mut failed: BTreeMap<(WorkspaceId, Home), String> = BTreeMap::new();
        for ((workspace, home), scored) in results {
            match scored {
                Ok(served) => served.into_iter().for_each(|home| to_level.add(&workspace, home)),
                Err(e) => {
                    tracing::warn!(stage = Self::NAME, account.id = %home, error = %e, source = e.source_text(), "a home was not scored");
                    failed.insert((workspace, home), e.to_string());
                }
            }
        }
        // Write, then send, on every attempt: a home whose record needed no write may still wait for level.
        let messages = to_level.scored();
        let sent = if messages.is_empty() { Ok(()) } else { self.scored.send(messages).await };
        let mut outcomes = Vec::with_capacity(batch.len());
        for received in batch {
            outcomes.push(match &sent {
                Err(e) => Outcome::Failed(StageError::retry(e.to_string())),
                Ok(()) => self.finish(received, &failed).await,
            });
        }
        outcomes
    }
}

impl<S: Store + Clone, Q: Queue<AccountScored>, C: Clock + Clone> Scorer<S, Q, C> {
    /// Removes the due items that a wholly served message stands for; a partly served one comes again with what is left.
    async fn finish(&self, received: Received<AccountTouched>, failed: &BTreeMap<(WorkspaceId, Home), String>) -> Outcome<AccountTouched> {
        let message = &received.message;
        let left: Vec<Home> =
            message.homes.iter().filter(|home| failed.contains_key(&(message.workspace.clone(), (*home).clone()))).cloned().collect();
        if left.is_empty() {
            for sk in &message.due {
                if let Err(e) = self.homes.store().write(Write::Delete(due_key_of(sk), Condition::Always)).await {
                    return Outcome::Failed(e.into());
                }
            }
            return Outcome::Done;
        }
        if received.failed_before() && message.homes.len() > 1 {
            let one = |home: Home| AccountTouched { workspace: message.workspace.clone(), homes: vec![home], due: Vec::new() };
            return Outcome::Split { retry: left.into_iter().map(one).collect(), reject: Vec::new() };
        }
        Outcome::Failed(StageError::retry("some homes were not scored"))
    }
}
