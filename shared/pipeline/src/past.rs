//! A home as it was at a past moment: what its events had come to by then, which levels it held, and by which model it was scored.
//!
//! Memberships are those of today, because they carry no dates. Fields are read by the mapping of today.

use crate::{
    clock::Clock,
    homes::{Gathered, HomeStore, StoredState},
    models::Models,
    parcels::Parcels,
    records::{from_item, history_partition},
    retention::retention,
    store::{Consistency, Query, Store, StoreError, Table},
};
use domain::{
    AccountId, Day, Event, Home, IdentityId, Timestamp, WorkspaceId,
    engagement::EventView,
    explain::HeldLevels,
    facts::field_facts,
    field::{FieldFact, FieldFacts, FieldName, FieldSource, Keep},
    mapping::AccountMapping,
    model::Model,
    mutant::{Mutant, active},
    segments::STATED,
    state::IdentityState,
    transition::{Changed, Transition},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use thiserror::Error;

/// A home with more identities than this takes a job.
pub const MOST_IDENTITIES: usize = 200;
/// How many identities' parcels are read at once.
const CONCURRENCY: usize = 16;

/// A home as it was.
#[derive(Debug)]
pub struct Past {
    /// The moment.
    pub at: Timestamp,
    /// The model that was in force, with the mapping of today.
    pub model: Arc<Model>,
    /// The home with its states and fields as they were.
    pub gathered: Gathered,
    /// The levels that it held.
    pub levels: PastLevels,
    /// What this can't know, in words; nothing when the moment is now.
    pub limits: Vec<String>,
}

impl Past {
    /// The day to evaluate it on.
    pub const fn day(&self) -> Day {
        self.at.day()
    }
}

/// The levels that a home held at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastLevels {
    /// The account level's id.
    pub account: Option<String>,
    /// The account engagement level's id.
    pub engagement: Option<String>,
    /// The level ids of leads, and since when.
    pub leads: BTreeMap<IdentityId, (String, Timestamp)>,
}

impl PastLevels {
    /// For an explanation.
    pub fn held(&self) -> HeldLevels<'_> {
        HeldLevels { account: self.account.as_deref(), engagement: self.engagement.as_deref(), leads: &self.leads }
    }
}

/// Why a past can't be told.
#[derive(Debug, Error)]
pub enum PastError {
    /// The log does not reach back so far.
    #[error("the log goes back to {begins}")]
    TooOld {
        /// Since when it is kept.
        begins: Timestamp,
    },
    /// The moment has not come yet.
    #[error("the moment lies in the future")]
    Future,
    /// It takes too long for a request.
    #[error("the account has {identities} identities; with more than {MOST_IDENTITIES} it takes a job")]
    TooMany {
        /// How many.
        identities: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads a home as it was at a moment. `home` is no absorbed one.
pub async fn gather<S: Store + Clone, C: Clock>(
    store: &S,
    models: &Models<S, C>,
    workspace: &WorkspaceId,
    home: &Home,
    at: Timestamp,
    now: Timestamp,
) -> Result<Past, PastError> {
    let begins = retention(store).await?.holds_since(now);
    if at < begins {
        return Err(PastError::TooOld { begins });
    }
    if at > now {
        return Err(PastError::Future);
    }
    let homes = HomeStore::new(store.clone());
    let (gathered, levels, model) = futures::try_join!(
        homes.gather(workspace, home, Consistency::Strong),
        levels_at(store, workspace, home, at),
        model_at(models, workspace, at)
    )?;
    let identities = gathered.identities();
    if identities > MOST_IDENTITIES {
        return Err(PastError::TooMany { identities });
    }
    let parcels = Parcels::new(store.clone());
    let mut gathered = gathered;
    let mut stated = Stated::new(&gathered, at);
    for partition in std::iter::once(&mut gathered.own).chain(&mut gathered.members) {
        let states = std::mem::take(&mut partition.states);
        let rewound: Vec<(Option<StoredState>, Stated)> = stream::iter(states)
            .map(|stored| rewind(&parcels, workspace, stored, &model, at, now, stated.empty()))
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        for (state, said) in rewound {
            partition.states.extend(state);
            stated.merge(&said);
        }
    }
    let mut unknown = BTreeSet::new();
    for partition in std::iter::once(&mut gathered.own).chain(&mut gathered.members) {
        let account = partition.account.as_ref().map(|account| &account.record.id);
        let known = account.and_then(|account| stated.of.get(account));
        let mut logged = known.cloned().unwrap_or_default();
        let own = &mut partition.own.record;
        for (name, fact) in own.past.iter().filter(|(_, fact)| fact.at <= at) {
            logged.merge(name, fact.clone(), Keep::Latest);
        }
        own.facts = before(&own.all(), &logged, at, &mut unknown);
        own.set_apart = FieldFacts::new();
    }
    let limits = if at >= now { Vec::new() } else { limits(&unknown, &model) };
    Ok(Past { at, model, gathered, levels, limits })
}

fn limits(unknown: &BTreeSet<FieldName>, model: &Model) -> Vec<String> {
    let mut limits = vec![
        "leads and absorbed accounts belong where they belong today".to_owned(),
        "fields are read by the mapping of today".to_owned(),
        "events count from the moment at which they happened, also those that were received later".to_owned(),
    ];
    let stated = model.document.all_segments().flat_map(|segment| segment.when.fields()).any(|field| STATED.contains(&field.as_str()));
    if stated {
        limits.push("segments of levels see the tier, owner and priority of today".to_owned());
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|name| format!("`{name}`")).collect();
        limits.push(format!("what was known of {} then was replaced since", names.join(", ")));
    }
    limits
}

/// The model that was in force at a moment, with the mapping of today.
async fn model_at<S: Store, C: Clock>(models: &Models<S, C>, workspace: &WorkspaceId, at: Timestamp) -> Result<Arc<Model>, StoreError> {
    let today = models.latest(workspace).await?;
    let mut document = models.history_at(workspace, at).await?.document;
    if document.version == today.version() {
        return Ok(today);
    }
    document.mapping = today.document.mapping.clone();
    document.profiles = today.document.profiles.clone();
    document.aliases = today.document.aliases.clone();
    document.source_order = today.document.source_order;
    document.own_domains.clone_from(&today.document.own_domains);
    Ok(Arc::new(Model::compile(document).map_err(|e| StoreError::Refused { source: Box::new(e) })?))
}

/// The levels that the history of a home tells of a moment.
pub async fn levels_at<S: Store>(store: &S, workspace: &WorkspaceId, home: &Home, at: Timestamp) -> Result<PastLevels, StoreError> {
    let mut levels = PastLevels::default();
    let mut query = Query::partition(Table::Accounts, history_partition(workspace, home));
    loop {
        let page = store.query(&query).await?;
        for item in &page.items {
            let transition: Transition = from_item(item)?;
            if transition.at > at {
                continue;
            }
            match transition.change {
                Changed::AccountLevel { to, .. } => levels.account = Some(to),
                Changed::EngagementLevel { to, .. } => levels.engagement = Some(to),
                Changed::LeadLevel { lead, to, .. } => drop(levels.leads.insert(lead, (to, transition.at))),
                _ => {}
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(levels),
        }
    }
}

/// Folds the parcels of an identity from their beginning by a model, in memory: all events, or those that happened until a moment.
pub async fn refolded<S: Store>(
    parcels: &Parcels<S>,
    workspace: &WorkspaceId,
    state: &IdentityState,
    model: &Model,
    until: Option<Timestamp>,
    now: Timestamp,
    mut each: impl FnMut(&[Event]) + Send,
) -> Result<IdentityState, StoreError> {
    // What was sealed was folded by another model, or holds later events.
    let mut again = state.refold(None, &model.matcher, now);
    let (matcher, mapping) = (&model.matcher, &model.document.mapping);
    let fold = |mut parcel: crate::parcels::StoredParcel| {
        if let Some(until) = until {
            parcel.events.retain(|event| event.timestamp <= until);
        }
        each(&parcel.events);
        again.add(parcel.batch, &parcel.events, matcher, mapping);
    };
    parcels.each(workspace, &state.identity.id(), None, now, fold).await?;
    Ok(again.finish().state)
}

/// A state as it was; nothing when the identity had done nothing yet.
async fn rewind<S: Store>(
    parcels: &Parcels<S>,
    workspace: &WorkspaceId,
    stored: StoredState,
    model: &Model,
    at: Timestamp,
    now: Timestamp,
    mut stated: Stated,
) -> Result<(Option<StoredState>, Stated), StoreError> {
    let mapping = &model.document.mapping;
    let until = Some(at).filter(|_| !active(Mutant::AsOfSeesTheFuture));
    let mut state = refolded(parcels, workspace, &stored.state, model, until, now, |events| stated.add(events, mapping)).await?;
    if state.facts.count == 0 && stored.state.facts.count > 0 {
        return Ok((None, stated));
    }
    state.facts.fields = before(&stored.state.facts.fields, &state.facts.fields, at, &mut BTreeSet::new());
    Ok((Some(StoredState { state, ..stored }), stated))
}

/// The facts of a moment. Of each source the fact that is kept is the one that was kept then, unless it was stated later: then what the log says
/// takes its place. Fields of which a person's earlier statement is lost are noted.
fn before(kept: &FieldFacts, logged: &FieldFacts, at: Timestamp, unknown: &mut BTreeSet<FieldName>) -> FieldFacts {
    let mut facts = FieldFacts::new();
    for name in kept.names() {
        for (fact, keep) in kept.facts(name.as_str()) {
            if fact.at <= at {
                facts.merge(name, fact.clone(), keep);
                continue;
            }
            let same = |(other, how): &(&FieldFact, Keep)| other.source == fact.source && *how == keep;
            match logged.facts(name.as_str()).find(same) {
                Some((earlier, _)) => drop(facts.merge(name, earlier.clone(), keep)),
                None if matches!(fact.source, FieldSource::Manual) => drop(unknown.insert(name.clone())),
                None => {}
            }
        }
    }
    facts
}

/// What events state of the accounts that they name, as far as it is asked for.
#[derive(Debug, Clone, Default)]
struct Stated {
    of: BTreeMap<AccountId, FieldFacts>,
}

impl Stated {
    /// For the accounts of a home of which something was stated after a moment.
    fn new(gathered: &Gathered, at: Timestamp) -> Self {
        let later = |facts: &FieldFacts| facts.names().any(|name| facts.facts(name.as_str()).any(|(fact, _)| fact.at > at));
        let partitions = gathered.partitions().filter(|partition| later(&partition.own.record.facts));
        let accounts = partitions.filter_map(|partition| partition.account.as_ref());
        Self { of: accounts.map(|account| (account.record.id.clone(), FieldFacts::new())).collect() }
    }

    fn empty(&self) -> Self {
        Self { of: self.of.keys().map(|account| (account.clone(), FieldFacts::new())).collect() }
    }

    fn add(&mut self, events: &[Event], mapping: &AccountMapping) {
        if self.of.is_empty() {
            return;
        }
        for event in events {
            let Some(facts) = event.account.as_ref().and_then(|account| self.of.get_mut(&account.id)) else { continue };
            for stated in field_facts(event, &mut EventView::new(event), mapping) {
                facts.merge(&stated.field, stated.fact, stated.keep);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for (account, theirs) in &other.of {
            if let Some(facts) = self.of.get_mut(account) {
                facts.merge_all(theirs);
            }
        }
    }
}
