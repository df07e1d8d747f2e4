#![doc = include_str!("../README.md")]

pub mod config;
mod owners;

use domain::{
    BatchId, Home, Timestamp, WorkspaceId,
    grade::GridCell,
    mutant::{Mutant, active},
    trigger::Trigger,
};
use futures::{StreamExt, lock::Mutex, stream};
use owners::Owned;
use pipeline::{
    AccountChanged, AccountScored, Change, Clock, Condition, Consistency, Entropy, Item, Outcome, Queue, Received, Stage, StageError,
    Store, Versioned, Write,
    homes::{HomeStore, put_due, put_record},
    levelling::Step,
    messages::{self, MAX_MESSAGE_BYTES},
    models::Models,
    notify::Triggers,
    records::{CLOCK_DIFFERENCE_MS, JournalEntry, Standing, history_key, journal_key, lead_levels_key, standing_key, text},
    rulesets::SETTLE_MS,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many homes are worked on at once within an invocation.
const CONCURRENCY: usize = 16;
/// How often a home is tried again when somebody else wrote in between, before the message comes again.
const ATTEMPTS: usize = 8;
/// … and how often when accounts wait for the turns of an owner rule, which one after the other takes.
const ATTEMPTS_AT_THE_WHEEL: usize = 64;
/// How long the journal is kept: longer than any list goes without a refresh.
const JOURNAL_LIFE_MS: i64 = 2 * domain::DAY_MS;
/// The version of a standing that was written once.
const FIRST: u64 = 1;
/// Homes in one entry of the journal.
const JOURNAL_HOMES: usize = 500;

/// What triggers watch: a transition is recorded only when somebody asks for it.
#[derive(Debug, Default)]
struct Watched {
    thresholds: Vec<i64>,
    cells: Vec<GridCell>,
}

/// Assigns levels and records transitions.
#[derive(Debug)]
pub struct Leveler<S, Q, C, E> {
    homes: HomeStore<S>,
    models: Models<S, C>,
    triggers: Triggers<S, C>,
    changed: Q,
    clock: C,
    entropy: E,
    /// Held while an owner is given: turns are taken one after the other, so that within this process nobody is in another one's way.
    wheel: Mutex<()>,
}

impl<S: Store + Clone, Q: Queue<AccountChanged>, C: Clock + Clone, E: Entropy> Leveler<S, Q, C, E> {
    /// Over these ports.
    pub fn new(store: S, changed: Q, clock: C, entropy: E) -> Self {
        Self {
            homes: HomeStore::new(store.clone()),
            models: Models::new(store.clone(), clock.clone()),
            triggers: Triggers::new(store, clock.clone()),
            changed,
            clock,
            entropy,
            wheel: Mutex::new(()),
        }
    }

    /// Brings the standing of a home up to its score record. Answers the standing, whose pending transitions are to be sent.
    async fn record(&self, workspace: &WorkspaceId, home: &Home, watched: &Watched) -> Result<Option<Versioned<Standing>>, StageError> {
        let (mut attempts, mut most) = (0, ATTEMPTS);
        while attempts < most {
            attempts += 1;
            match self.try_record(workspace, home, watched, &mut most).await {
                Err(e) if e.is_conflict() => {}
                other => return other,
            }
        }
        Err(StageError::retry("another worker wrote the standing at every attempt"))
    }

    /// One attempt. Where the turn of an owner rule is waited for, `attempts` may be more.
    async fn try_record(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        watched: &Watched,
        attempts: &mut usize,
    ) -> Result<Option<Versioned<Standing>>, StageError> {
        let Watched { thresholds, cells } = watched;
        let before = self.homes.standing(workspace, home, Consistency::Strong).await?;
        let Some(score) = self.homes.score(workspace, home, Consistency::Strong).await? else {
            return Ok(before);
        };
        let now = self.clock.now();
        let served = before.as_ref().is_some_and(|before| before.record.served >= score.version);
        let waits = before.as_ref().and_then(|before| before.record.dwell_until).is_some_and(|until| until <= now);
        if served && !waits {
            self.keep_due(workspace, home, before.as_ref(), now).await?;
            return Ok(before.filter(|_| !active(Mutant::LevelSendSkipped)));
        }
        // A level that was assigned by a newer model is not looked at by an older one.
        let known = before.as_ref().map_or(0, |before| before.record.model).max(score.record.model);
        let model = self.models.at_least(workspace, known).await?;
        let leads = self.homes.lead_levels(workspace, home, Consistency::Strong).await?;
        let step = Step { model: &model, thresholds, cells, now, is_account: home.account().is_some() };
        let mut outcome = step.take(before.as_ref().map(|before| &before.record), &leads.record, &score);
        let level = outcome.standing.level.as_deref();
        let (mut given, mut turn) = (Vec::new(), None);
        match owners::owned(&self.homes, workspace, home.account(), &model, &score.record, level).await? {
            Owned::Unruled => {}
            Owned::Keeps(owner) => outcome.standing.owner = owner,
            Owned::Gets(account, rule) => {
                *attempts = ATTEMPTS_AT_THE_WHEEL;
                turn = Some(self.wheel.lock().await);
                if let Some((owner, writes)) = owners::give(self.homes.store(), workspace, *account, &rule, now).await? {
                    outcome.standing.owner = Some(owner);
                    given = writes;
                }
            }
        }
        if let Some(until) = outcome.standing.dwell_until {
            self.homes.store().write(put_due(workspace, home, until, 0)?).await?;
        }
        let version = before.map_or(0, |before| before.version);
        let mut writes = vec![put_record(standing_key(workspace, home), version, &outcome.standing)?];
        if active(Mutant::StandingWrittenBlindly)
            && let Some(Write::Put(_, condition)) = writes.first_mut()
        {
            *condition = Condition::Always;
        }
        // Leads' levels change seldom; when they do, both items change together.
        if outcome.lead_levels != leads.record {
            writes.push(put_record(lead_levels_key(workspace, home), leads.version, &outcome.lead_levels)?);
        }
        writes.extend(given);
        match (writes.pop(), writes.is_empty()) {
            (Some(only), true) => self.homes.store().write(only).await?,
            (Some(last), false) => {
                writes.push(last);
                self.homes.store().transact(writes).await?;
            }
            (None, _) => {}
        }
        drop(turn);
        Ok(Some(Versioned { version: version.saturating_add(1), record: outcome.standing }))
    }

    /// A level that is held back until a moment which is about to come by this host's clock may have been enqueued for that moment by a host
    /// whose clock is right: another due item is put, for when all clocks agree.
    async fn keep_due(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        before: Option<&Versioned<Standing>>,
        now: Timestamp,
    ) -> Result<(), StageError> {
        match before.and_then(|before| before.record.dwell_until) {
            Some(until) if until.millis_since(now) <= CLOCK_DIFFERENCE_MS => {
                Ok(self.homes.store().write(put_due(workspace, home, until.plus_millis(CLOCK_DIFFERENCE_MS), 0)?).await?)
            }
            _ => Ok(()),
        }
    }

    /// What the workspace's triggers watch, as of now: a trigger counts from the moment it was made.
    async fn watched(&self, workspace: &WorkspaceId) -> Result<Watched, StageError> {
        let triggers = self.triggers.current(workspace, self.clock.now()).await?;
        Ok(Watched { thresholds: Trigger::thresholds(triggers.iter()), cells: Trigger::cells(triggers.iter()) })
    }

    /// Writes the history of the pending transitions. The same transition again is the same item.
    async fn write_history(&self, workspace: &WorkspaceId, home: &Home, standing: &Standing) -> Result<(), StageError> {
        for transition in &standing.pending {
            let key = history_key(workspace, home, transition.seq);
            let body = text(&key, transition)?;
            self.homes.store().write(Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Always)).await?;
        }
        Ok(())
    }

    /// Removes transitions that were sent. If somebody else has written meanwhile, they are sent again, which dispatch knows by
    /// their sequence numbers.
    async fn remove_sent(&self, workspace: &WorkspaceId, home: &Home, standing: Versioned<Standing>) -> Result<(), StageError> {
        if standing.record.pending.is_empty() {
            return Ok(());
        }
        let Versioned { version, mut record } = standing;
        record.pending.clear();
        match self.homes.store().write(put_record(standing_key(workspace, home), version, &record)?).await {
            Err(e) if !e.is_conflict() => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Notes which standings may have changed, so that lists need not read all of them again.
    async fn write_journal(&self, workspace: &WorkspaceId, homes: &[Home]) -> Result<(), StageError> {
        let now = self.clock.now();
        for chunk in homes.chunks(JOURNAL_HOMES) {
            let id: BatchId = self.entropy.batch_id(now);
            let key = journal_key(workspace, id);
            let body = text(&key, &JournalEntry { homes: chunk.to_vec() })?;
            let expires_at = Some(now.plus_millis(JOURNAL_LIFE_MS));
            self.homes.store().write(Write::Put(Item { key, version: 1, body, expires_at }, Condition::Always)).await?;
        }
        Ok(())
    }
}

type Place = (WorkspaceId, Home);

impl<S: Store + Clone, Q: Queue<AccountChanged>, C: Clock + Clone, E: Entropy> Stage for Leveler<S, Q, C, E> {
    const NAME: &'static str = "level";
    type Input = AccountScored;

    async fn handle(&self, batch: Vec<Received<AccountScored>>) -> Vec<Outcome<AccountScored>> {
        let places: BTreeSet<Place> = batch
            .iter()
            .flat_map(|received| received.message.homes.iter().map(|home| (received.message.workspace.clone(), home.clone())))
            .collect();
        let mut watched: BTreeMap<WorkspaceId, Watched> = BTreeMap::new();
        let mut failed: BTreeMap<Place, String> = BTreeMap::new();
        for workspace in places.iter().map(|(workspace, _)| workspace).collect::<BTreeSet<_>>() {
            match self.watched(workspace).await {
                Ok(of) => drop(watched.insert(workspace.clone(), of)),
                Err(e) => {
                    tracing::warn!(stage = Self::NAME, workspace = %workspace, error = %e, source = e.source_text(), "what triggers wait for was not read");
                    let theirs = places.iter().filter(|(of, _)| of == workspace);
                    failed.extend(theirs.map(|place| (place.clone(), e.source_text())));
                }
            }
        }
        let watched = &watched;
        let places: Vec<Place> = places.into_iter().filter(|place| !failed.contains_key(place)).collect();
        let recorded: Vec<(Place, Result<Option<Versioned<Standing>>, StageError>)> = stream::iter(places)
            .map(|(workspace, home)| async move {
                let nothing = Watched::default();
                let watched = watched.get(&workspace).unwrap_or(&nothing);
                let standing = async {
                    let standing = self.record(&workspace, &home, watched).await?;
                    if let Some(standing) = &standing {
                        self.write_history(&workspace, &home, &standing.record).await?;
                    }
                    Ok(standing)
                };
                let standing = standing.await;
                ((workspace, home), standing)
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;

        let mut standings: BTreeMap<WorkspaceId, Vec<(Home, Versioned<Standing>)>> = BTreeMap::new();
        for ((workspace, home), standing) in recorded {
            match standing {
                Ok(Some(standing)) => standings.entry(workspace).or_default().push((home, standing)),
                Ok(None) => {}
                Err(e) => {
                    tracing::warn!(stage = Self::NAME, account.id = %home, error = %e, source = e.source_text(), "a level was not recorded");
                    failed.insert((workspace, home), e.source_text());
                }
            }
        }
        for (workspace, standings) in standings {
            if let Err(e) = self.look_for_publications(&workspace, &standings).await {
                tracing::warn!(stage = Self::NAME, workspace = %workspace, error = %e, source = e.source_text(), "the model in force was not read");
                failed.extend(standings.iter().map(|(home, _)| ((workspace.clone(), home.clone()), e.source_text())));
                continue;
            }
            if active(Mutant::PendingRemovedBeforeSend) {
                for (home, standing) in standings.clone() {
                    let _ = self.remove_sent(&workspace, &home, standing).await;
                }
            }
            if let Err(e) = self.publish(&workspace, &standings).await {
                let reason = e.source_text();
                failed.extend(standings.iter().map(|(home, _)| ((workspace.clone(), home.clone()), reason.clone())));
                continue;
            }
            for (home, standing) in standings {
                if let Err(e) = self.remove_sent(&workspace, &home, standing).await {
                    failed.insert((workspace.clone(), home), e.source_text());
                }
            }
        }
        batch.into_iter().map(|received| outcome(received, &failed)).collect()
    }
}

impl<S: Store + Clone, Q: Queue<AccountChanged>, C: Clock + Clone, E: Entropy> Leveler<S, Q, C, E> {
    /// A publication goes through the standings that are there when it comes into force; later ones are scored by what it published, unless a worker
    /// still remembers the model before. So whose standing is its first is looked at after it was written, and scored once more when nobody
    /// remembers that model any more. Done on every attempt: until something is written over it, a standing is its first.
    async fn look_for_publications(&self, workspace: &WorkspaceId, standings: &[(Home, Versioned<Standing>)]) -> Result<(), StageError> {
        let first: Vec<_> = standings.iter().filter(|(_, standing)| standing.version == FIRST).collect();
        if first.is_empty() {
            return Ok(());
        }
        let model = self.models.latest(workspace).await?;
        let at = self.clock.now().plus_millis(SETTLE_MS);
        for (home, standing) in first {
            if standing.record.scored_under() < model.version() && !active(Mutant::FirstStandingBelieved) {
                self.homes.store().write(put_due(workspace, home, at, 0)?).await?;
            }
        }
        Ok(())
    }

    /// Tells lists and dispatch. Done on every attempt, also when the standing was recorded by an earlier one.
    async fn publish(&self, workspace: &WorkspaceId, standings: &[(Home, Versioned<Standing>)]) -> Result<(), StageError> {
        let homes: Vec<Home> = standings.iter().map(|(home, _)| home.clone()).collect();
        self.write_journal(workspace, &homes).await?;
        let changes: Vec<Change> = standings
            .iter()
            .filter(|(_, standing)| !standing.record.pending.is_empty())
            .map(|(home, standing)| Change { home: home.clone(), transitions: standing.record.pending.clone() })
            .collect();
        let packed = pack(workspace, changes);
        if packed.is_empty() { Ok(()) } else { Ok(self.changed.send(packed).await?) }
    }
}

/// Packs changes into as few messages as hold them. An account's transitions stay together and in order; one with more than fit
/// is cut into several messages.
fn pack(workspace: &WorkspaceId, changes: Vec<Change>) -> Vec<AccountChanged> {
    let message = |changes: Vec<Change>| AccountChanged::Transitions { workspace: workspace.clone(), changes };
    let size = |change: &Change| serde_json::to_string(change).map_or(MAX_MESSAGE_BYTES, |text| text.len() + 1);
    let room = MAX_MESSAGE_BYTES - messages::encode(&message(Vec::new())).map_or(512, |text| text.len());
    let mut packed = Vec::new();
    let mut waiting: Vec<Change> = changes.into_iter().rev().collect();
    let mut current = Vec::new();
    let mut used = 0;
    while let Some(mut change) = waiting.pop() {
        let bytes = size(&change);
        if bytes > room && change.transitions.len() > 1 {
            let rest = change.transitions.split_off(change.transitions.len() / 2);
            waiting.push(Change { home: change.home.clone(), transitions: rest });
            waiting.push(change);
            continue;
        }
        if used + bytes > room && !current.is_empty() {
            packed.push(message(std::mem::take(&mut current)));
            used = 0;
        }
        used += bytes;
        current.push(change);
    }
    if !current.is_empty() {
        packed.push(message(current));
    }
    packed
}

fn outcome(received: Received<AccountScored>, failed: &BTreeMap<Place, String>) -> Outcome<AccountScored> {
    let message = &received.message;
    let left: Vec<Home> =
        message.homes.iter().filter(|home| failed.contains_key(&(message.workspace.clone(), (*home).clone()))).cloned().collect();
    if left.is_empty() {
        return Outcome::Done;
    }
    if received.failed_before() && message.homes.len() > 1 {
        let one = |home: Home| AccountScored { workspace: message.workspace.clone(), homes: vec![home] };
        return Outcome::Split { retry: left.into_iter().map(one).collect(), reject: Vec::new() };
    }
    let cause = left.first().and_then(|home| failed.get(&(message.workspace.clone(), home.clone())));
    Outcome::Failed(StageError::retry(format!(
        "{} of {} levels were not recorded: {}",
        left.len(),
        message.homes.len(),
        cause.map_or("", String::as_str)
    )))
}
