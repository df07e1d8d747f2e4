//! The rows from which lists are filtered and sorted: every standing of a workspace, kept in memory.
//!
//! Level writes one standing per home into hash-spread partitions, and after each invocation one entry of a journal that names the
//! homes it wrote. A board reads all standings once, then follows the journal: it looks at the entries of the time since it looked last,
//! with an overlap for clocks that differ and for writes that come late, and reads only the standings that an entry names which it has
//! not seen before. An entry is written after its standings, so a strong read then finds what it announces. Once an hour everything is
//! read anew.

use crate::{
    clock::Clock,
    records::{JournalEntry, SHARDS, Standing, from_item, journal_partition, standing_key, standing_partition},
    store::{Consistency, Item, Key, Query, Store, StoreError, Table},
};
use domain::{
    BatchId, Home, Timestamp, WorkspaceId,
    grade::{Grade, GridCell},
};
use futures::future::try_join_all;
use serde::Serialize;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Mutex as TurnMutex;

/// Rows this young are shown without a look at the journal.
const FRESH_MS: i64 = 500;
/// The journal is read again from this long before the last look: clocks differ, and an entry's id is older than its write.
const OVERLAP_MS: i64 = 120_000;
/// After this long everything is read anew.
const RELOAD_MS: i64 = 3_600_000;
/// How many workspaces' rows are kept.
const WORKSPACES: usize = 64;
/// How many standings one read of changed rows asks for.
const READ_AT_ONCE: usize = 1_000;

/// What lists show, filter and sort by, of one home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The account or unresolved lead.
    pub home: Home,
    /// The version of the standing.
    pub version: u64,
    /// Its name.
    pub name: Option<Box<str>>,
    /// Its first web domain.
    pub domain: Option<Box<str>>,
    /// The account level's id.
    pub level: Option<Arc<str>>,
    /// The engagement level's id.
    pub engagement_level: Option<Arc<str>>,
    /// The account level ruleset that the account falls under, when it is a segment's.
    pub level_ruleset: Option<Arc<str>>,
    /// The account engagement level ruleset that it falls under, when it is a segment's.
    pub engagement_level_ruleset: Option<Arc<str>>,
    /// The hottest lead's level id; none when all are at the lowest.
    pub hottest: Option<Arc<str>>,
    /// The account score as a letter.
    pub grade: Option<Grade>,
    /// The cell of the grid of fit and engagement.
    pub grid: Option<GridCell>,
    /// Fit.
    pub account_score: i32,
    /// Engagement.
    pub engagement: i64,
    /// Surge.
    pub surge: bool,
    /// All leads.
    pub total_leads: u32,
    /// Distinct sessions.
    pub sessions: u32,
    /// The latest event.
    pub last_activity_at: Option<Timestamp>,
    /// Who looks after it.
    pub owner: Option<Arc<str>>,
    /// The named account's tier.
    pub tier: Option<Arc<str>>,
    /// The named account's priority.
    pub priority: Option<Arc<str>>,
    /// Name (else domain, else id) in lower case: what names are sorted by.
    pub folded_name: Box<str>,
    /// Domain and id in lower case, to be searched beside the name.
    folded_rest: Box<str>,
}

impl Row {
    /// The row of a standing; none when the home was absorbed by another or is an unresolved lead that has moved on.
    fn new(home: Home, version: u64, standing: Standing, words: &mut Words) -> Option<Self> {
        if standing.merged_into.is_some() || (home.account().is_none() && standing.total_leads == 0) {
            return None;
        }
        let id = home.account().map(|account| account.as_str().to_owned()).unwrap_or_default();
        let label = standing.name.as_deref().or(standing.domain.as_deref()).unwrap_or(&id);
        let folded_name = label.to_lowercase().into_boxed_str();
        let folded_rest =
            format!("{}\n{}", standing.domain.as_deref().unwrap_or_default().to_lowercase(), id.to_lowercase()).into_boxed_str();
        let mut word = |text: Option<String>| text.map(|text| words.intern(text));
        Some(Self {
            version,
            level: word(standing.level),
            engagement_level: word(standing.engagement_level),
            level_ruleset: word(standing.level_ruleset),
            engagement_level_ruleset: word(standing.engagement_level_ruleset),
            hottest: word(standing.hottest),
            grade: standing.grade,
            grid: standing.grid,
            owner: word(standing.owner),
            tier: word(standing.tier),
            priority: word(standing.priority),
            name: standing.name.map(String::into_boxed_str),
            domain: standing.domain.map(String::into_boxed_str),
            account_score: standing.account_score,
            engagement: standing.engagement,
            surge: standing.surge,
            total_leads: standing.total_leads,
            sessions: standing.sessions,
            last_activity_at: standing.last_activity_at,
            folded_name,
            folded_rest,
            home,
        })
    }

    /// Whether name, domain or id hold the text, which must be in lower case.
    pub fn mentions(&self, folded: &str) -> bool {
        self.folded_name.contains(folded) || self.folded_rest.contains(folded)
    }
}

/// Levels, owners and tiers repeat: each text is kept once.
#[derive(Debug, Default)]
struct Words(BTreeSet<Arc<str>>);

impl Words {
    fn intern(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(text.as_str()) {
            return Arc::clone(known);
        }
        let word: Arc<str> = text.into();
        self.0.insert(Arc::clone(&word));
        word
    }
}

/// All rows of one kind of one workspace at a moment, in the order of their homes.
#[derive(Debug, Clone, Default)]
pub struct Rows(Vec<Arc<Row>>);

/// From this many surging accounts on …
const SPIKE_ACCOUNTS: usize = 10;
/// … and this share of the accounts that were active in the last seven days, in percent, it is the workspace that is busy.
const SPIKE_PERCENT: usize = 25;

/// Whether so many accounts surge at once that a single surge says little: the days after a webinar or a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spike {
    /// Whether it is so.
    pub flagged: bool,
    /// Accounts that surge.
    pub surging: usize,
    /// Accounts with an event in the last seven days.
    pub active: usize,
}

impl Spike {
    /// Of so many accounts that surge, and so many that had an event in the last seven days.
    pub const fn of(surging: usize, active: usize) -> Self {
        let most = surging.saturating_mul(100) >= active.saturating_mul(SPIKE_PERCENT);
        Self { flagged: surging >= SPIKE_ACCOUNTS && most, surging, active }
    }
}

impl Rows {
    /// Whether the whole workspace is busier than usual.
    pub fn spike(&self, now: Timestamp) -> Spike {
        let week_ago = now.plus_millis(-7 * domain::DAY_MS);
        let active = self.0.iter().filter(|row| row.last_activity_at.is_some_and(|at| at > week_ago)).count();
        let surging = self.0.iter().filter(|row| row.surge).count();
        Spike::of(surging, active)
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The row of a home.
    pub fn find(&self, home: &Home) -> Option<&Arc<Row>> {
        let place = self.0.binary_search_by(|row| row.home.cmp(home)).ok()?;
        self.0.get(place)
    }

    /// The rows after a home in the order of homes.
    pub fn after(&self, home: Option<&Home>) -> &[Arc<Row>] {
        let place = home.map_or(0, |home| self.0.partition_point(|row| row.home <= *home));
        self.0.get(place..).unwrap_or_default()
    }

    /// At most `limit` rows for which `key` gives something, in the order that `compare` gives to the keys, and whether there are more.
    /// Costs one pass and the sorting of what is answered.
    pub fn select<'r, K>(
        &'r self,
        limit: usize,
        key: impl Fn(&'r Row) -> Option<K>,
        compare: impl Fn(&K, &K) -> Ordering,
    ) -> (Vec<Arc<Row>>, bool) {
        let mut found: Vec<(K, &Arc<Row>)> = self.0.iter().filter_map(|row| Some((key(row)?, row))).collect();
        let more = found.len() > limit;
        if more && limit > 0 {
            found.select_nth_unstable_by(limit - 1, |(a, _), (b, _)| compare(a, b));
        }
        found.truncate(limit);
        found.sort_unstable_by(|(a, _), (b, _)| compare(a, b));
        (found.into_iter().map(|(_, row)| Arc::clone(row)).collect(), more)
    }

    /// Puts changed rows in their places; `None` takes a row away.
    fn merge(&mut self, changes: BTreeMap<Home, Option<Arc<Row>>>) {
        if changes.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.0);
        let mut merged = Vec::with_capacity(old.len() + changes.len());
        let mut changes = changes.into_iter().peekable();
        for row in old {
            while let Some((_, new)) = changes.next_if(|(home, _)| *home < row.home) {
                merged.extend(new);
            }
            match changes.next_if(|(home, _)| *home == row.home) {
                Some((_, new)) => merged.extend(new),
                None => merged.push(row),
            }
        }
        merged.extend(changes.filter_map(|(_, new)| new));
        self.0 = merged;
    }
}

/// What is known of one workspace.
#[derive(Debug, Default)]
struct Known {
    accounts: Arc<Rows>,
    leads: Arc<Rows>,
    words: Words,
    /// When everything was read; none before that.
    loaded_at: Option<Timestamp>,
    /// When the journal was last looked at.
    looked_at: Timestamp,
    /// Entries of the journal that were dealt with, as far back as it may be read again.
    seen: BTreeSet<BatchId>,
}

/// A workspace's rows; whoever holds the lock brings them up to date, the others wait for that.
type Place = Arc<TurnMutex<Known>>;

/// Every workspace's rows.
#[derive(Debug)]
pub struct Board<S, C> {
    store: S,
    clock: C,
    places: Mutex<HashMap<WorkspaceId, (Timestamp, Place)>>,
}

impl<S: Store, C: Clock> Board<S, C> {
    /// Over this store, with nothing read yet.
    pub fn new(store: S, clock: C) -> Self {
        Self { store, clock, places: Mutex::new(HashMap::new()) }
    }

    /// The accounts of a workspace, at most half a second old.
    pub async fn accounts(&self, workspace: &WorkspaceId) -> Result<Arc<Rows>, StoreError> {
        Ok(self.current(workspace).await?.0)
    }

    /// The unresolved leads of a workspace, at most half a second old.
    pub async fn leads(&self, workspace: &WorkspaceId) -> Result<Arc<Rows>, StoreError> {
        Ok(self.current(workspace).await?.1)
    }

    async fn current(&self, workspace: &WorkspaceId) -> Result<(Arc<Rows>, Arc<Rows>), StoreError> {
        let place = self.place(workspace);
        let mut known = place.lock().await;
        let now = self.clock.now();
        let age = |at: Timestamp| now.millis_since(at);
        match known.loaded_at {
            Some(loaded) if (0..RELOAD_MS).contains(&age(loaded)) && (0..RELOAD_MS).contains(&age(known.looked_at)) => {
                if age(known.looked_at) >= FRESH_MS {
                    self.follow(workspace, &mut known, now).await?;
                }
            }
            _ => *known = self.load(workspace, now).await?,
        }
        Ok((Arc::clone(&known.accounts), Arc::clone(&known.leads)))
    }

    fn place(&self, workspace: &WorkspaceId) -> Place {
        let now = self.clock.now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((used, place)) = places.get_mut(workspace) {
            *used = now;
            return Arc::clone(place);
        }
        if places.len() >= WORKSPACES {
            let oldest = places.iter().min_by_key(|(_, (used, _))| *used).map(|(workspace, _)| workspace.clone());
            oldest.and_then(|oldest| places.remove(&oldest));
        }
        let place = Place::default();
        places.insert(workspace.clone(), (now, Arc::clone(&place)));
        place
    }

    /// Reads everything.
    async fn load(&self, workspace: &WorkspaceId, now: Timestamp) -> Result<Known, StoreError> {
        let mut known = Known { loaded_at: Some(now), looked_at: now, ..Known::default() };
        known.accounts = Arc::new(self.load_rows(workspace, false, &mut known.words).await?);
        known.leads = Arc::new(self.load_rows(workspace, true, &mut known.words).await?);
        Ok(known)
    }

    async fn load_rows(&self, workspace: &WorkspaceId, leads: bool, words: &mut Words) -> Result<Rows, StoreError> {
        let shards =
            (0..SHARDS).map(|shard| self.store.query_all(Query::partition(Table::Accounts, standing_partition(workspace, leads, shard))));
        let mut rows = Vec::new();
        for items in try_join_all(shards).await? {
            for item in items {
                rows.extend(read(item, words)?.and_then(|(_, row)| row));
            }
        }
        rows.sort_unstable_by(|a: &Arc<Row>, b| a.home.cmp(&b.home));
        Ok(Rows(rows))
    }

    /// Reads what the journal names since the last look.
    async fn follow(&self, workspace: &WorkspaceId, known: &mut Known, now: Timestamp) -> Result<(), StoreError> {
        let from = BatchId::new(known.looked_at.plus_millis(-OVERLAP_MS), 0);
        let shards = (0..SHARDS).map(|shard| {
            let query = Query::partition(Table::Accounts, journal_partition(workspace, shard)).between(from.to_string(), "");
            self.store.query_all(query)
        });
        let mut new = BTreeSet::new();
        let mut homes: BTreeSet<Home> = BTreeSet::new();
        for item in try_join_all(shards).await?.into_iter().flatten() {
            let Ok(id) = BatchId::parse(&item.key.sk) else { continue };
            if !known.seen.contains(&id) {
                homes.extend(from_item::<JournalEntry>(&item)?.homes);
                new.insert(id);
            }
        }
        let changes = self.read_changed(workspace, homes, &mut known.words).await?;
        let (leads, accounts) = changes.into_iter().partition(|(home, _)| home.account().is_none());
        Arc::make_mut(&mut known.accounts).merge(accounts);
        Arc::make_mut(&mut known.leads).merge(leads);
        // Only now: had a read failed, the entries must be looked at again.
        known.seen.extend(new);
        known.looked_at = now;
        known.seen = known.seen.split_off(&BatchId::new(now.plus_millis(-OVERLAP_MS), 0));
        Ok(())
    }

    async fn read_changed(
        &self,
        workspace: &WorkspaceId,
        homes: BTreeSet<Home>,
        words: &mut Words,
    ) -> Result<BTreeMap<Home, Option<Arc<Row>>>, StoreError> {
        let keys: Vec<Key> = homes.iter().map(|home| standing_key(workspace, home)).collect();
        let mut changes: BTreeMap<Home, Option<Arc<Row>>> = homes.into_iter().map(|home| (home, None)).collect();
        for keys in keys.chunks(READ_AT_ONCE) {
            for item in self.store.read_many(keys, Consistency::Strong).await? {
                changes.extend(read(item, words)?);
            }
        }
        Ok(changes)
    }
}

/// The home and row of a stored standing. An item under a key that is no home is left out.
fn read(item: Item, words: &mut Words) -> Result<Option<(Home, Option<Arc<Row>>)>, StoreError> {
    let standing: Standing = from_item(&item)?;
    let Ok(home) = Home::try_from(item.key.sk) else { return Ok(None) };
    let row = Row::new(home.clone(), item.version, standing, words).map(Arc::new);
    Ok(Some((home, row)))
}

#[cfg(test)]
mod tests;
