//! Goes through a whole deployment, in pages, and looks again at whatever seems wrong.

use super::{
    look::Look,
    report::{Finding, Report, Subject},
};
use domain::{Home, IdentityId, Timestamp, WorkspaceId};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use pipeline::{
    Clock, Consistency, Item, Key, Scan, Store, StoreError, Table,
    homes::HomeStore,
    models::Models,
    parcels::Parcels,
    records::{IdentityMapping, from_item, identity_key, state_key},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

/// Homes looked at at once.
const HOMES_AT_ONCE: usize = 8;
/// Items in one page of a scan: a page is what is held in memory of a table.
const PAGE: usize = 500;
/// Places that seem wrong and are remembered to be looked at again.
const SUSPECTS: usize = 20_000;
/// How often a place that is being changed is looked at again before it counts as in flight.
const ROUNDS: usize = 6;

/// Compares what a deployment holds with its log.
#[derive(Debug)]
pub struct Auditor<S, C> {
    pub(super) homes: HomeStore<S>,
    pub(super) parcels: Parcels<S>,
    pub(super) models: Models<S, C>,
    pub(super) clock: C,
    pub(super) due: Mutex<Option<(Timestamp, HashSet<String>)>>,
    only: Option<WorkspaceId>,
    segments: u32,
    bar: ProgressBar,
}

pub(super) type Place = (WorkspaceId, Subject);

/// What a walk came upon.
#[derive(Debug, Default)]
struct Walk {
    report: Report,
    suspects: BTreeSet<Place>,
}

impl Walk {
    fn suspect(&mut self, place: Place) {
        if self.suspects.contains(&place) {
            return;
        }
        if self.suspects.len() < SUSPECTS {
            self.suspects.insert(place);
        } else {
            self.report.not_looked_at += 1;
        }
    }
}

impl<S: Store + Clone, C: Clock + Clone> Auditor<S, C> {
    /// Of this store, by this clock.
    pub fn new(store: S, clock: C) -> Self {
        Self {
            homes: HomeStore::new(store.clone()),
            parcels: Parcels::new(store.clone()),
            models: Models::new(store, clock.clone()),
            clock,
            due: Mutex::new(None),
            only: None,
            segments: 1,
            bar: ProgressBar::hidden(),
        }
    }

    /// Only this workspace.
    #[must_use]
    pub fn only(mut self, workspace: Option<WorkspaceId>) -> Self {
        self.only = workspace;
        self
    }

    /// Reads tables in so many parts at once; more than one only helps where the store is spread over several machines.
    #[must_use]
    pub fn segments(mut self, segments: u32) -> Self {
        self.segments = segments.max(1);
        self
    }

    /// Shows on this bar how far it is.
    #[must_use]
    pub fn showing(mut self, bar: ProgressBar) -> Self {
        self.bar = bar;
        self
    }

    /// Compares everything. What differs is looked at again after `pause`, strongly consistent, and reported only when it differs twice while
    /// nobody wrote: a deployment may be working meanwhile.
    ///
    /// # Errors
    /// Those of the store, and items that can't be read.
    pub async fn run(&self, pause: &impl AsyncFn()) -> Result<Report, StoreError> {
        let walk = Mutex::new(Walk::default());
        for table in [Table::Accounts, Table::Events] {
            stream::iter(0..self.segments)
                .map(|segment| self.walk(table, segment, &walk))
                .buffer_unordered(usize::try_from(self.segments).unwrap_or(1))
                .try_collect::<Vec<()>>()
                .await?;
        }
        let Walk { mut report, suspects } = walk.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.confirm(suspects, pause, &mut report).await?;
        Ok(report)
    }

    async fn walk(&self, table: Table, segment: u32, walk: &Mutex<Walk>) -> Result<(), StoreError> {
        let mut scan = Scan::segment(table, segment, self.segments).limit(PAGE);
        let mut last = String::new();
        loop {
            let page = self.homes.store().scan(&scan).await?;
            let began = page.items.chunk_by(|a, b| a.key.pk == b.key.pk).filter_map(|items| items.first());
            // A partition that goes on from the page before was looked at there.
            let partitions: Vec<&Item> = began.filter(|first| first.key.pk != last).collect();
            match table {
                Table::Accounts => self.walk_accounts(&page.items, &partitions, walk).await?,
                _ => self.walk_events(&page.items, walk).await?,
            }
            if let Some(item) = page.items.last() {
                last.clone_from(&item.key.pk);
            }
            let so_far = {
                let walk = lock(walk);
                let homes = walk.report.accounts + walk.report.unresolved_leads;
                format!("{} identities, {homes} accounts and leads, {} to look at again", walk.report.identities, walk.suspects.len())
            };
            self.bar.set_message(so_far);
            self.bar.tick();
            match page.next {
                Some(next) => scan.after = Some(next),
                None => break,
            }
        }
        Ok(())
    }

    fn wanted(&self, workspace: &WorkspaceId) -> bool {
        self.only.as_ref().is_none_or(|only| only == workspace)
    }

    async fn walk_accounts(&self, items: &[Item], partitions: &[&Item], walk: &Mutex<Walk>) -> Result<(), StoreError> {
        let homes = partitions.iter().filter_map(|item| home_of(&item.key)).filter(|(workspace, _)| self.wanted(workspace));
        stream::iter(homes)
            .map(|(workspace, home)| async move {
                let looked = self.look_around(&workspace, &home).await?;
                let mut walk = lock(walk);
                match home.account() {
                    Some(_) => walk.report.accounts += u64::from(looked.exists),
                    // A lead that found its account leaves an empty home behind.
                    None => walk.report.unresolved_leads += u64::from(looked.identities > 0),
                }
                walk.report.identities += looked.identities;
                walk.report.earlier_model += u64::from(looked.earlier_model);
                for (subject, look) in looked.looks {
                    if !look.faults.is_empty() {
                        walk.suspect((workspace.clone(), subject));
                    }
                }
                Ok::<(), StoreError>(())
            })
            .buffer_unordered(HOMES_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        self.walk_mappings(items, walk).await
    }

    /// Every mapping's home must hold the state.
    async fn walk_mappings(&self, items: &[Item], walk: &Mutex<Walk>) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<Key, Place> = BTreeMap::new();
        for item in items {
            let Some((workspace, id)) = identity_of(&item.key, "I") else { continue };
            if item.key.sk == "I" && self.wanted(&workspace) {
                let mapping: IdentityMapping = from_item(item)?;
                wanted.insert(state_key(&workspace, &mapping.home, mapping.shard(), &id), (workspace, Subject::Identity(id)));
            }
        }
        self.suspect_absent(wanted, walk).await
    }

    /// Every identity with parcels must have a mapping.
    async fn walk_events(&self, items: &[Item], walk: &Mutex<Walk>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut wanted: BTreeMap<Key, Place> = BTreeMap::new();
        for item in items {
            let Some((workspace, id)) = identity_of(&item.key, "P") else { continue };
            let lives = item.key.sk.starts_with("P#") && item.expires_at.is_none_or(|at| at > now);
            if lives && self.wanted(&workspace) {
                wanted.insert(identity_key(&workspace, &id), (workspace, Subject::Identity(id)));
            }
        }
        self.suspect_absent(wanted, walk).await
    }

    async fn suspect_absent(&self, mut wanted: BTreeMap<Key, Place>, walk: &Mutex<Walk>) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = wanted.keys().cloned().collect();
        for item in self.homes.store().read_many(&keys, Consistency::Eventual).await? {
            wanted.remove(&item.key);
        }
        let mut walk = lock(walk);
        wanted.into_values().for_each(|place| walk.suspect(place));
        Ok(())
    }

    /// Looks at everything that seemed wrong until it is right, or wrong twice without having been changed in between.
    async fn confirm(&self, suspects: BTreeSet<Place>, pause: &impl AsyncFn(), report: &mut Report) -> Result<(), StoreError> {
        let mut open = self.look_at_all(suspects).await?;
        for _ in 0..ROUNDS {
            if open.is_empty() {
                return Ok(());
            }
            self.bar.set_message(format!("looking again at {} places", open.len()));
            pause().await;
            let again = self.look_at_all(open.keys().cloned().collect()).await?;
            let mut moving = BTreeMap::new();
            for ((workspace, subject), look) in again {
                let place = (workspace, subject);
                if open.get(&place).is_some_and(|before| *before == look) {
                    let (workspace, subject) = place;
                    report.findings.push(Finding { workspace, subject, faults: look.faults });
                } else {
                    moving.insert(place, look);
                }
            }
            open = moving;
        }
        report.in_flight = u64::try_from(open.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Looks at places; those that are right are left out.
    pub(super) async fn look_at_all(&self, places: BTreeSet<Place>) -> Result<BTreeMap<Place, Look>, StoreError> {
        let looks: Vec<(Place, Look)> = stream::iter(places)
            .map(|(workspace, subject)| async move {
                let look = self.look_at(&workspace, &subject).await?;
                Ok::<_, StoreError>(((workspace, subject), look))
            })
            .buffer_unordered(HOMES_AT_ONCE)
            .try_collect()
            .await?;
        Ok(looks.into_iter().filter(|(_, look)| !look.faults.is_empty()).collect())
    }

    /// Of these findings those that are still there, whatever was written meanwhile.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remaining(&self, findings: &[Finding]) -> Result<Vec<Finding>, StoreError> {
        let places = findings.iter().map(|finding| (finding.workspace.clone(), finding.subject.clone())).collect();
        let looks = self.look_at_all(places).await?;
        Ok(looks.into_iter().map(|((workspace, subject), look)| Finding { workspace, subject, faults: look.faults }).collect())
    }
}

fn lock(walk: &Mutex<Walk>) -> std::sync::MutexGuard<'_, Walk> {
    walk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The workspace of a partition, the letter that says what lies in it, and the rest of its key.
fn parts(key: &Key) -> Option<(WorkspaceId, &str, &str)> {
    let (workspace, rest) = key.pk.split_once('#')?;
    let (letter, rest) = rest.split_once('#')?;
    Some((WorkspaceId::new(workspace).ok()?, letter, rest))
}

fn home_of(key: &Key) -> Option<(WorkspaceId, Home)> {
    let (workspace, letter, home) = parts(key)?;
    let home = Home::try_from(home.to_owned()).ok().filter(|_| letter == "H")?;
    Some((workspace, home))
}

fn identity_of(key: &Key, expected: &str) -> Option<(WorkspaceId, IdentityId)> {
    let (workspace, letter, id) = parts(key)?;
    let id = IdentityId::parse(id).ok().filter(|_| letter == expected)?;
    Some((workspace, id))
}
