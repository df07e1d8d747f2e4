#![doc = include_str!("../README.md")]

mod accounts;
pub mod config;
mod fold;
mod identities;
mod own_fields;
mod repeats;

use domain::{
    BatchId, Home, Identity, IdentityId, Shards, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
};
use futures::{StreamExt, stream};
use pipeline::{
    AccountTouched, Clock, Events, EventsReceived, Homes, Outcome, Parcel, Queue, Received, Stage, StageError, Store, homes::HomeStore,
    models::Models, parcels::Parcels, retention::Kept,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many identities or parcels are worked on at once within an invocation.
const CONCURRENCY: usize = 16;

/// Turns identities into leads and leads into members of accounts.
#[derive(Debug)]
pub struct Resolver<S, Q, C> {
    homes: HomeStore<S>,
    parcels: Parcels<S>,
    models: Models<S, C>,
    touched: Q,
    clock: C,
    known: accounts::KnownAccounts,
}

/// How long a fold stands being overtaken by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Until it loses for the first time.
    Little,
    /// Many times, taking along what others hold.
    Full,
}

/// One identity's parcels of this invocation.
#[derive(Clone)]
struct Work {
    workspace: WorkspaceId,
    identity: Identity,
    /// By batch, oldest first.
    parcels: BTreeMap<BatchId, Events>,
    /// The places of the messages that brought them.
    messages: Vec<usize>,
}

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Resolver<S, Q, C> {
    /// Over these ports.
    pub fn new(store: S, touched: Q, clock: C) -> Self {
        Self {
            homes: HomeStore::new(store.clone()),
            parcels: Parcels::new(store.clone()),
            models: Models::new(store, clock.clone()),
            touched,
            clock,
            known: accounts::KnownAccounts::default(),
        }
    }

    /// Keeps for so long what it stores in the event log.
    #[must_use]
    pub fn keeping(mut self, kept: Kept) -> Self {
        self.parcels = self.parcels.kept_for(kept);
        self
    }

    /// Stores parcels as they are, for measurements.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.parcels = self.parcels.uncompressed();
        self
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Puts every parcel before any state is read. Answers the messages whose parcels could not all be stored.
    async fn put_parcels(&self, batch: &[Received<EventsReceived>]) -> BTreeMap<(usize, IdentityId), StageError> {
        let mut puts = Vec::new();
        for (at, received) in batch.iter().enumerate() {
            for parcel in &received.message.parcels {
                puts.push(self.put_parcel(at, &received.message, parcel));
            }
        }
        stream::iter(puts).buffer_unordered(CONCURRENCY).filter_map(futures::future::ready).collect().await
    }

    async fn put_parcel(&self, at: usize, message: &EventsReceived, parcel: &Parcel) -> Option<((usize, IdentityId), StageError)> {
        let put = self.parcels.put(&message.workspace, message.batch, parcel).await;
        put.err().map(|e| ((at, parcel.identity.id()), StageError::from(e)))
    }

    async fn put_rejected(&self, batch: &[Received<EventsReceived>]) -> BTreeMap<usize, StageError> {
        let mut failed = BTreeMap::new();
        for (at, received) in batch.iter().enumerate() {
            let message = &received.message;
            if message.rejected.is_empty() {
                continue;
            }
            if let Err(e) = self.parcels.put_rejected(&message.workspace, message.batch, &message.rejected).await {
                failed.insert(at, e.into());
            }
        }
        failed
    }

    async fn fold_all(&self, work: Vec<Work>, patience: Patience) -> Vec<(Work, Result<Touched, StageError>)> {
        stream::iter(work)
            .map(|work| async move {
                let done = self.fold_identity(&work, patience).await;
                (work, done)
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await
    }
}

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Stage for Resolver<S, Q, C> {
    const NAME: &'static str = "resolve";
    type Input = EventsReceived;

    async fn handle(&self, batch: Vec<Received<EventsReceived>>) -> Vec<Outcome<EventsReceived>> {
        let mut whole = self.put_rejected(&batch).await;
        let late = active(Mutant::StateBeforeParcel);
        let mut failed = if late { BTreeMap::new() } else { self.put_parcels(&batch).await };
        let (mut work, mut contended, mut unsent) = (group(&batch, &failed), Vec::new(), None);
        // Whoever is contended by other invocations comes last, when score has been told of everybody else.
        for patience in [Patience::Little, Patience::Full] {
            let mut touched = Homes::default();
            for (work, done) in self.fold_all(std::mem::take(&mut work), patience).await {
                match done {
                    Ok(homes) => homes.0.into_iter().for_each(|(home, shards)| touched.add_shards(&work.workspace, home, shards)),
                    Err(e) if e.is_conflict() && patience == Patience::Little => contended.push(work),
                    Err(e) => {
                        let reason = e.source_text();
                        tracing::warn!(stage = Self::NAME, identity.id = %work.identity.id(), error = %e, source = e.source_text(), "an identity's parcels were not folded");
                        for at in &work.messages {
                            failed.insert((*at, work.identity.id()), StageError::retry(reason.clone()));
                        }
                    }
                }
            }
            // Write, then send, on every attempt: also what was found to be done already is sent.
            if let Err(e) = send(&self.touched, touched).await {
                unsent = Some(e.source_text());
            }
            work = std::mem::take(&mut contended);
        }
        if late {
            self.put_parcels(&batch).await;
        }
        if let Some(reason) = unsent {
            for at in 0..batch.len() {
                whole.insert(at, StageError::retry(reason.clone()));
            }
        }
        batch.into_iter().enumerate().map(|(at, received)| outcome(at, received, &mut whole, &mut failed)).collect()
    }
}

async fn send<Q: Queue<AccountTouched>>(queue: &Q, touched: Homes) -> Result<(), StageError> {
    let messages = touched.touched();
    if messages.is_empty() { Ok(()) } else { Ok(queue.send(messages).await?) }
}

/// Groups the parcels of an invocation by identity, so that each identity costs one read and one write.
fn group(batch: &[Received<EventsReceived>], failed: &BTreeMap<(usize, IdentityId), StageError>) -> Vec<Work> {
    let mut work: BTreeMap<(&WorkspaceId, IdentityId), Work> = BTreeMap::new();
    for (at, received) in batch.iter().enumerate() {
        let message = &received.message;
        for parcel in &message.parcels {
            let id = parcel.identity.id();
            if failed.contains_key(&(at, id)) {
                continue;
            }
            let entry = work.entry((&message.workspace, id)).or_insert_with(|| Work {
                workspace: message.workspace.clone(),
                identity: parcel.identity.clone(),
                parcels: BTreeMap::new(),
                messages: Vec::new(),
            });
            // The same message twice in one invocation brings the same parcel twice.
            entry.parcels.entry(message.batch).or_insert_with(|| parcel.events.clone());
            entry.messages.push(at);
        }
    }
    work.into_values().collect()
}

/// What became of a message: done, failed as a whole, or split so that only its failed parcels come again.
fn outcome(
    at: usize,
    received: Received<EventsReceived>,
    whole: &mut BTreeMap<usize, StageError>,
    failed: &mut BTreeMap<(usize, IdentityId), StageError>,
) -> Outcome<EventsReceived> {
    if active(Mutant::AckBeforeWrite) {
        return Outcome::Done;
    }
    if let Some(error) = whole.remove(&at) {
        return Outcome::Failed(error);
    }
    let bad: BTreeSet<IdentityId> = failed.keys().filter(|(place, _)| *place == at).map(|(_, id)| *id).collect();
    let Some(first) = bad.first() else {
        return Outcome::Done;
    };
    let several = received.message.parcels.len() > 1;
    if !received.failed_before() || !several {
        let error = failed.remove(&(at, *first));
        return Outcome::Failed(error.unwrap_or_else(|| StageError::retry("a parcel was not folded")));
    }
    let retry = received
        .message
        .parcels
        .iter()
        .filter(|parcel| bad.contains(&parcel.identity.id()))
        .map(|parcel: &Parcel| EventsReceived { parcels: vec![parcel.clone()], rejected: Vec::new(), ..received.message.clone() })
        .collect();
    Outcome::Split { retry, reject: Vec::new() }
}

/// Homes whose scores may have changed, with the shards in which that happened.
#[derive(Debug, Default)]
struct Touched(BTreeMap<Home, Shards>);

impl Touched {
    fn add(&mut self, home: Home, shards: Shards) {
        let known = self.0.entry(home).or_default();
        *known = known.and(shards);
    }

    fn add_all(&mut self, places: impl IntoIterator<Item = Place>) {
        places.into_iter().for_each(|(home, shards)| self.add(home, shards));
    }
}

/// A home and shards of it.
type Place = (Home, Shards);
