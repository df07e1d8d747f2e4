#![doc = include_str!("../README.md")]

pub mod config;

use domain::{Timestamp, WorkspaceId};
use pipeline::{
    AccountChanged, AccountTouched, Clock, Condition, Query, Queue, StageError, Store, Table, Write,
    homes::put_due,
    notify::Deliveries,
    records::{self, DueAccount, SHARDS, due_key, due_partition},
};
use std::collections::BTreeMap;

/// What was enqueued is looked for again after this time, unless the stage that serves it has removed the due item.
pub const LEASE_MS: i64 = 15 * 60 * 1000;
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
    pub const fn new(store: S, touched: T, changed: D, clock: C) -> Self {
        Self { store, touched, changed, clock }
    }

    /// Enqueues everything that is due now. Nothing is lost when a run is cut off: what was not removed is found by the next.
    pub async fn run(&self) -> Result<Enqueued, StageError> {
        let now = self.clock.now();
        let mut enqueued = Enqueued::default();
        for shard in 0..SHARDS {
            enqueued.accounts += self.accounts(shard, now).await?;
            enqueued.deliveries += self.deliveries(shard, now).await?;
        }
        if enqueued != Enqueued::default() {
            tracing::info!(stage = "rescore", accounts = enqueued.accounts, deliveries = enqueued.deliveries, "due work was enqueued");
        }
        Ok(enqueued)
    }

    async fn accounts(&self, shard: u64, now: Timestamp) -> Result<usize, StageError> {
        let mut query = Query::partition(Table::Accounts, due_partition(shard)).between("", format!("{:015}~", now.millis().max(0))).limit(PAGE);
        let mut count = 0;
        for _ in 0..PAGES {
            let page = self.store.query(&query).await?;
            let mut messages: BTreeMap<WorkspaceId, Vec<AccountTouched>> = BTreeMap::new();
            let mut served = Vec::with_capacity(page.items.len());
            for item in &page.items {
                let due: DueAccount = records::from_item(item)?;
                let until = now.plus_millis(LEASE_MS);
                self.store.write(put_due(&due.workspace, &due.home, until, due.leases.saturating_add(1))?).await?;
                let leased = due_key(&due.workspace, &due.home, until).sk;
                add(messages.entry(due.workspace.clone()).or_default(), due, leased);
                served.push(item.key.clone());
            }
            count += served.len();
            let messages: Vec<AccountTouched> = messages.into_values().flatten().collect();
            if !messages.is_empty() {
                self.touched.send(messages).await?;
            }
            for key in served {
                self.store.write(Write::Delete(key, Condition::Always)).await?;
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(count)
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
                deliveries.chunks(DELIVERIES_PER_MESSAGE).map(|chunk| AccountChanged::DeliveriesDue { workspace: workspace.clone(), deliveries: chunk.to_vec() }),
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
/// How many homes share one message.
const HOMES_PER_MESSAGE: usize = 100;

fn add(messages: &mut Vec<AccountTouched>, due: DueAccount, leased: String) {
    let full = messages.last().is_none_or(|last| last.homes.len() >= HOMES_PER_MESSAGE);
    if full {
        messages.push(AccountTouched { workspace: due.workspace, homes: Vec::new(), due: Vec::new() });
    }
    if let Some(last) = messages.last_mut() {
        if !last.homes.contains(&due.home) {
            last.homes.push(due.home);
        }
        if !last.due.contains(&leased) {
            last.due.push(leased);
        }
    }
}
