#![doc = include_str!("../README.md")]

pub mod config;
pub mod jobs;

use domain::{
    Home, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
};
use futures::{StreamExt, TryStreamExt, stream};
use pipeline::{
    AccountChanged, AccountTouched, Clock, Condition, Counter, Counters, Item, Key, Query, Queue, StageError, Store, Table, Write,
    homes::put_due,
    notify::Deliveries,
    queue::{HOME_BYTES_PER_MESSAGE, HOMES_PER_MESSAGE, home_bytes},
    records::{self, DueAccount, SHARDS, due_key, due_partition},
};
use std::collections::BTreeMap;

/// What was enqueued is looked for again after this time, unless the stage that serves it has removed the due item.
pub const LEASE_MS: i64 = 15 * 60 * 1000;
/// Items are taken this long after their moment, so that hosts whose clocks differ agree that it has come.
pub const SETTLED_MS: i64 = 5_000;
/// From this many leases on somebody should look at the account.
const MANY_LEASES: u32 = 8;
/// Store operations under way at once.
const CONCURRENCY: usize = 16;
/// Due items read at once.
const PAGE: usize = 200;
/// Pages of one shard in one run, so that a run ends; the next run goes on.
const PAGES: usize = 50;

/// Finds what is due and enqueues it.
#[derive(Debug)]
pub struct Rescorer<S, T, D, C> {
    store: S,
    touched: T,
    changed: D,
    clock: C,
    counters: Counters,
}

/// What a run enqueued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// Accounts.
    pub accounts: usize,
    /// Deliveries.
    pub deliveries: usize,
}

impl<S: Store + Clone, T: Queue<AccountTouched>, D: Queue<AccountChanged>, C: Clock + Clone> Rescorer<S, T, D, C> {
    /// Over these ports.
    pub fn new(store: S, touched: T, changed: D, clock: C) -> Self {
        Self { store, touched, changed, clock, counters: Counters::default() }
    }

    /// Counts what it enqueues here.
    #[must_use]
    pub fn with_counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// Enqueues everything that is due. Nothing is lost when a run is cut off: what was not removed is found by the next. A shard that can't be read does
    /// not hold the others up; the first error is answered in the end.
    pub async fn run(&self) -> Result<Enqueued, StageError> {
        // Clocks differ between hosts: whoever serves an item must not find that its moment is still to come.
        let now = self.clock.now();
        let due = now.plus_millis(-SETTLED_MS);
        let mut enqueued = Enqueued::default();
        let mut first_error = None;
        // Deliveries first: at midnight every account is due, and nobody's message should wait for that.
        for shard in 0..SHARDS {
            match self.deliveries(shard, now).await {
                Ok(count) => enqueued.deliveries += count,
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        for shard in 0..SHARDS {
            match self.accounts(shard, due, now).await {
                Ok(count) => enqueued.accounts += count,
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        self.counters.add(Counter::AccountsDue, enqueued.accounts);
        self.counters.add(Counter::DeliveriesDue, enqueued.deliveries);
        if enqueued != Enqueued::default() {
            tracing::info!(stage = "rescore", accounts = enqueued.accounts, deliveries = enqueued.deliveries, "due work was enqueued");
        }
        first_error.map_or(Ok(enqueued), Err)
    }

    async fn accounts(&self, shard: u64, due: Timestamp, now: Timestamp) -> Result<usize, StageError> {
        let mut query =
            Query::partition(Table::Accounts, due_partition(shard)).between("", format!("{:015}~", due.millis().max(0))).limit(PAGE);
        let mut count = 0;
        for _ in 0..PAGES {
            let page = self.store.query(&query).await?;
            let leased: Vec<Leased> =
                stream::iter(page.items).map(|item| self.lease(item, now)).buffered(CONCURRENCY).try_collect().await?;
            let messages = pack(&leased);
            if !messages.is_empty() {
                self.touched.send(messages).await?;
            }
            count += leased.len();
            stream::iter(leased)
                .map(|leased| self.store.write(Write::Delete(leased.original, Condition::Always)))
                .buffered(CONCURRENCY)
                .try_collect::<Vec<()>>()
                .await?;
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(count)
    }

    /// Puts a copy of a due item a while ahead, the longer the more often it was in vain. The stage that serves it removes the copy.
    async fn lease(&self, item: Item, now: Timestamp) -> Result<Leased, StageError> {
        let due: DueAccount = records::from_item(&item)?;
        let until = now.plus_millis(LEASE_MS << due.leases.min(7));
        if due.leases >= MANY_LEASES {
            tracing::error!(stage = "rescore", account.id = %due.home, leases = due.leases, "an account that is due is enqueued again and again and never scored");
        }
        if active(Mutant::DueNotLeased) {
            self.store.write(Write::Delete(item.key.clone(), Condition::Always)).await?;
        } else {
            self.store.write(put_due(&due.workspace, &due.home, until, due.leases.saturating_add(1))?).await?;
        }
        let copy = due_key(&due.workspace, &due.home, until).sk;
        Ok(Leased { workspace: due.workspace, home: due.home, copy, original: item.key })
    }
}

impl<S: Store + Clone, T: Queue<AccountTouched>, D: Queue<AccountChanged>, C: Clock + Clone> Rescorer<S, T, D, C> {
    /// Leases due deliveries and enqueues them. Dispatch moves or removes their due items.
    async fn deliveries(&self, shard: u64, now: Timestamp) -> Result<usize, StageError> {
        let store = Deliveries::new(self.store.clone());
        let mut messages: BTreeMap<WorkspaceId, Vec<String>> = BTreeMap::new();
        let mut count = 0;
        for due in store.due_deliveries(shard, now, PAGE).await? {
            if store.lease_due(&due, now.plus_millis(DELIVERY_LEASE_MS)).await? {
                messages.entry(due.workspace).or_default().push(due.delivery);
                count += 1;
            }
        }
        let mut packed = Vec::new();
        for (workspace, deliveries) in messages {
            packed.extend(
                deliveries
                    .chunks(DELIVERIES_PER_MESSAGE)
                    .map(|chunk| AccountChanged::DeliveriesDue { workspace: workspace.clone(), deliveries: chunk.to_vec() }),
            );
        }
        if !packed.is_empty() {
            self.changed.send(packed).await?;
        }
        Ok(count)
    }
}

/// A delivery that was enqueued is looked for again after this time.
const DELIVERY_LEASE_MS: i64 = 2 * 60 * 1000;
/// How many deliveries share one message: few, because each may wait for a slow destination.
const DELIVERIES_PER_MESSAGE: usize = 10;
/// A due item that was copied ahead.
struct Leased {
    workspace: WorkspaceId,
    home: Home,
    copy: String,
    original: Key,
}

/// Packs what was leased into messages by their encoded size.
fn pack(leased: &[Leased]) -> Vec<AccountTouched> {
    let mut messages: BTreeMap<&WorkspaceId, Vec<(AccountTouched, usize)>> = BTreeMap::new();
    for Leased { workspace, home, copy, .. } in leased {
        // The copy's key holds the home once more.
        let bytes = home_bytes(home) * 2 + 64;
        let theirs = messages.entry(workspace).or_default();
        let full =
            theirs.last().is_none_or(|(message, used)| message.homes.len() >= HOMES_PER_MESSAGE || used + bytes > HOME_BYTES_PER_MESSAGE);
        if full {
            theirs.push((AccountTouched::whole(workspace.clone(), Vec::new()), 0));
        }
        if let Some((message, used)) = theirs.last_mut() {
            *used += bytes;
            if !message.homes.contains(home) {
                message.homes.push(home.clone());
            }
            if !message.due.contains(copy) {
                message.due.push(copy.clone());
            }
        }
    }
    messages.into_values().flatten().map(|(message, _)| message).collect()
}
