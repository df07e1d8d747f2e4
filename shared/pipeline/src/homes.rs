//! Typed access to what lies in and around a home: states, mappings, accounts, scores, standings, due items.

use crate::{
    records::{
        ACCOUNT, AccountRecord, DomainClaim, DueAccount, IdentityMapping, LeadLevels, OWN_FIELDS, OwnFields, SCORE, STATE, SUM, ScoreHead,
        ScoreRecord, ShardRecord, Standing, Versioned, domain_key, due_key, from_item, home_key, home_partition, identity_key,
        lead_levels_key, standing_key, state_key, sum_key, text,
    },
    state_body,
    store::{Body, Condition, Consistency, Item, Key, Query, Store, StoreError, Table, Write},
};
use domain::{
    AccountId, Home, IdentityId, Shard, Shards, Timestamp, WorkspaceId, evaluate::Inputs, field::FieldFacts, giant, segments::AccountFacts,
    state::IdentityState,
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// A state as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredState {
    /// Whose state.
    pub identity: IdentityId,
    /// The shard under which it is stored.
    pub shard: Shard,
    /// The version read.
    pub version: u64,
    /// The state.
    pub state: IdentityState,
}

/// Everything that one partition holds.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    /// The account, when it is an account's partition.
    pub account: Option<Versioned<AccountRecord>>,
    /// The account's own fields.
    pub own: Versioned<OwnFields>,
    /// The score record, unless whoever reads the partition knew it already.
    pub score: Option<Versioned<ScoreRecord>>,
    /// Whether the score record says that the home is evaluated by shards.
    pub giant: bool,
    /// The states.
    pub states: Vec<StoredState>,
}

impl Partition {
    /// The accounts that this one absorbed.
    fn absorbed(&self) -> Vec<AccountId> {
        self.account.as_ref().map(|account| account.record.members.clone()).unwrap_or_default()
    }
}

/// Up to so many shards are read one by one.
const SHARDS_APART: usize = 16;

/// States as they are stored, by shard.
#[derive(Debug, Default)]
pub struct ShardStates(BTreeMap<Shard, Vec<Item>>);

impl ShardStates {
    /// Takes the states of one shard out and decodes them.
    pub fn take(&mut self, shard: Shard) -> Result<Vec<StoredState>, StoreError> {
        self.0.remove(&shard).unwrap_or_default().iter().map(read_state).collect()
    }
}

impl<T: Default> Default for Versioned<T> {
    fn default() -> Self {
        Self { version: 0, record: T::default() }
    }
}

/// A home together with the members whose partitions are read with it.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// The home itself.
    pub own: Partition,
    /// The partitions of accounts that it absorbed.
    pub members: Vec<Partition>,
}

impl Gathered {
    /// What the home's scores follow from.
    pub fn inputs(&self) -> Inputs<'_> {
        let partitions = || std::iter::once(&self.own).chain(&self.members);
        let mut own = FieldFacts::new();
        for partition in partitions() {
            own.merge_all(&partition.own.record.facts);
            own.merge_all(&partition.own.record.set_apart);
        }
        let states = partitions().flat_map(|partition| &partition.states).map(|stored| (stored.identity, &stored.state)).collect();
        let account = self.own.account.as_ref().map(|account| &account.record);
        let stated =
            account.map(|account| AccountFacts::new(account.tier.as_deref(), account.owner.as_deref(), account.priority.as_deref()));
        Inputs { own, states, stated, giant: self.is_giant() }
    }

    /// Whether the home is evaluated by shards: it was before, or it has too many identities by now.
    pub fn is_giant(&self) -> bool {
        self.own.giant || self.identities() > giant::limit()
    }

    /// How many identities it has, those of its members included.
    pub fn identities(&self) -> usize {
        self.partitions().map(|partition| partition.states.len()).sum()
    }

    /// Every partition: the home's first.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        std::iter::once(&self.own).chain(&self.members)
    }
}

/// A giant home without its states.
#[derive(Debug, Clone)]
pub struct Head {
    /// The home and its members, with neither states nor score.
    pub gathered: Gathered,
    /// The sums that are stored, each with its version; `None` for one that this build can't read.
    pub sums: BTreeMap<Shard, Versioned<Option<ShardRecord>>>,
}

/// The first byte of a stored sum. Changes whenever a sum is computed or written in another way: what another build wrote is computed again.
const SUM_FORM: u8 = 2;

fn read_sum(item: &Item) -> Option<(Shard, Versioned<Option<ShardRecord>>)> {
    let shard = Shard::parse(item.key.sk.strip_prefix(SUM)?)?;
    let record = match &item.body {
        Body::Bytes(bytes) => bytes.strip_prefix(&[SUM_FORM]).and_then(|body| rmp_serde::from_slice(body).ok()),
        Body::Text(_) => None,
    };
    Some((shard, Versioned { version: item.version, record }))
}

/// Puts the sum of a shard over what was read at `version`.
pub fn put_sum(workspace: &WorkspaceId, home: &Home, shard: Shard, version: u64, record: &ShardRecord) -> Result<Write, StoreError> {
    let mut bytes = vec![SUM_FORM];
    rmp_serde::encode::write(&mut bytes, record).map_err(|e| StoreError::Refused { source: Box::new(e) })?;
    let item =
        Item { key: sum_key(workspace, home, shard), version: version.saturating_add(1), body: Body::Bytes(bytes), expires_at: None };
    Ok(Write::Put(item, unchanged(version)))
}

/// The condition under which a record that was read at `version` may be written: 0 means that nothing was there.
pub const fn unchanged(version: u64) -> Condition {
    if version == 0 { Condition::Absent } else { Condition::Version(version) }
}

/// Puts a record as JSON text over what was read at `version`.
pub fn put_record<T: Serialize>(key: Key, version: u64, record: &T) -> Result<Write, StoreError> {
    let body = text(&key, record)?;
    Ok(Write::Put(Item { key, version: version.saturating_add(1), body, expires_at: None }, unchanged(version)))
}

/// Puts a state. `version` is the version to write; `condition` what must be there now.
pub fn put_state(
    workspace: &WorkspaceId,
    home: &Home,
    state: &IdentityState,
    version: u64,
    condition: Condition,
) -> Result<Write, StoreError> {
    let id = state.identity.id();
    let key = state_key(workspace, home, Shard::of(state.identity.kind, id, state.link), &id);
    let bytes = state_body::encode(state).map_err(|e| StoreError::Refused { source: Box::new(e) })?;
    Ok(Write::Put(Item { key, version, body: Body::Bytes(bytes), expires_at: None }, condition))
}

/// Puts the due item of a home.
pub fn put_due(workspace: &WorkspaceId, home: &Home, at: Timestamp, leases: u32) -> Result<Write, StoreError> {
    let key = due_key(workspace, home, at);
    let body = text(&key, &DueAccount { workspace: workspace.clone(), home: home.clone(), leases })?;
    Ok(Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Always))
}

fn read_state(item: &Item) -> Result<StoredState, StoreError> {
    let corrupt =
        |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Corrupt { key: Box::new(item.key.clone()), what: "state", source };
    let (shard, id) = item.key.sk.strip_prefix(STATE).and_then(|place| place.split_at_checked(2)).unwrap_or_default();
    let identity = IdentityId::parse(id).map_err(|e| corrupt(Box::new(e)))?;
    let shard = Shard::parse(shard).ok_or_else(|| corrupt("the key names no shard".into()))?;
    let Body::Bytes(bytes) = &item.body else {
        return Err(corrupt("the body is no bytes".into()));
    };
    let state = state_body::decode(bytes).map_err(|e| corrupt(Box::new(e)))?;
    Ok(StoredState { identity, shard, version: item.version, state })
}

/// Typed reads over a store.
#[derive(Debug, Clone)]
pub struct HomeStore<S> {
    store: S,
}

impl<S: Store> HomeStore<S> {
    /// Over this store.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The store itself.
    pub const fn store(&self) -> &S {
        &self.store
    }

    async fn record<T: DeserializeOwned>(&self, key: &Key, consistency: Consistency) -> Result<Option<Versioned<T>>, StoreError> {
        let Some(item) = self.store.read(key, consistency).await? else {
            return Ok(None);
        };
        Ok(Some(Versioned { version: item.version, record: from_item(&item)? }))
    }

    /// Where an identity's state lives.
    pub async fn mapping(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        consistency: Consistency,
    ) -> Result<Option<Versioned<IdentityMapping>>, StoreError> {
        self.record(&identity_key(workspace, identity), consistency).await
    }

    /// An identity's state where its mapping says, strongly consistent.
    pub async fn state(&self, workspace: &WorkspaceId, mapping: &IdentityMapping) -> Result<Option<StoredState>, StoreError> {
        let id = mapping.identity.id();
        let shard = Shard::of(mapping.identity.kind, id, mapping.link.as_ref().map(|link| link.user));
        self.state_at(workspace, &mapping.home, shard, &id).await
    }

    /// An identity's state in a shard of a home, strongly consistent.
    pub async fn state_at(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        shard: Shard,
        identity: &IdentityId,
    ) -> Result<Option<StoredState>, StoreError> {
        let item = self.store.read(&state_key(workspace, home, shard, identity), Consistency::Strong).await?;
        item.as_ref().map(read_state).transpose()
    }

    /// Every state of an identity in a home, whatever its mapping says: there should be one at most.
    pub async fn states_of(&self, workspace: &WorkspaceId, home: &Home, identity: &IdentityId) -> Result<Vec<StoredState>, StoreError> {
        let keys: Vec<Key> = Shards::ALL.iter().map(|shard| state_key(workspace, home, shard, identity)).collect();
        self.store.read_many(&keys, Consistency::Strong).await?.iter().map(read_state).collect()
    }

    /// An account.
    pub async fn account(
        &self,
        workspace: &WorkspaceId,
        account: &AccountId,
        consistency: Consistency,
    ) -> Result<Option<Versioned<AccountRecord>>, StoreError> {
        self.record(&home_key(workspace, &Home::Account(account.clone()), ACCOUNT), consistency).await
    }

    /// An account's own fields.
    pub async fn own_fields(&self, workspace: &WorkspaceId, account: &AccountId) -> Result<Versioned<OwnFields>, StoreError> {
        let key = home_key(workspace, &Home::Account(account.clone()), OWN_FIELDS);
        Ok(self.record(&key, Consistency::Strong).await?.unwrap_or_default())
    }

    /// What score last computed for a home.
    pub async fn score(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        consistency: Consistency,
    ) -> Result<Option<Versioned<ScoreRecord>>, StoreError> {
        self.record(&home_key(workspace, home, SCORE), consistency).await
    }

    /// The head of what score last computed for a home, strongly consistent.
    pub async fn score_head(&self, workspace: &WorkspaceId, home: &Home) -> Result<Option<Versioned<ScoreHead>>, StoreError> {
        self.record(&home_key(workspace, home, SCORE), Consistency::Strong).await
    }

    /// What level last recorded for a home.
    pub async fn standing(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        consistency: Consistency,
    ) -> Result<Option<Versioned<Standing>>, StoreError> {
        self.record(&standing_key(workspace, home), consistency).await
    }

    /// The levels of a home's leads.
    pub async fn lead_levels(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        consistency: Consistency,
    ) -> Result<Versioned<LeadLevels>, StoreError> {
        Ok(self.record(&lead_levels_key(workspace, home), consistency).await?.unwrap_or_default())
    }

    /// Who owns a web domain.
    pub async fn domain_claim(
        &self,
        workspace: &WorkspaceId,
        domain: &str,
        consistency: Consistency,
    ) -> Result<Option<Versioned<DomainClaim>>, StoreError> {
        self.record(&domain_key(workspace, domain), consistency).await
    }

    /// Which account an external id names.
    pub async fn external(&self, workspace: &WorkspaceId, kind: &str, id: &str) -> Result<Option<Versioned<AccountId>>, StoreError> {
        self.record(&crate::records::external_key(workspace, kind, id), Consistency::Eventual).await
    }

    /// Everything that one partition holds. Not a snapshot: whoever writes what follows from it must have read the score record's
    /// version before.
    pub async fn partition(&self, workspace: &WorkspaceId, home: &Home, consistency: Consistency) -> Result<Partition, StoreError> {
        self.partition_after(workspace, home, None, consistency).await
    }

    /// As [`Self::partition`]; a score record that is still the one that was read before is left out.
    async fn partition_after(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        scored: Option<&Versioned<ScoreHead>>,
        consistency: Consistency,
    ) -> Result<Partition, StoreError> {
        let mut query = Query::partition(Table::Accounts, home_partition(workspace, home));
        query.consistency = consistency;
        let mut partition = Partition::default();
        for item in self.store.query_all(query).await? {
            match item.key.sk.as_str() {
                ACCOUNT => partition.account = Some(Versioned { version: item.version, record: from_item(&item)? }),
                OWN_FIELDS => partition.own = Versioned { version: item.version, record: from_item(&item)? },
                SCORE => match scored.filter(|scored| scored.version == item.version) {
                    Some(scored) => partition.giant = scored.record.giant,
                    None => {
                        let record: ScoreRecord = from_item(&item)?;
                        partition.giant = record.giant;
                        partition.score = Some(Versioned { version: item.version, record });
                    }
                },
                sk if sk.starts_with(STATE) => partition.states.push(read_state(&item)?),
                _ => {}
            }
        }
        Ok(partition)
    }

    /// The account that stands for this one: itself, or the one that it was absorbed into, followed to the end.
    pub async fn root(&self, workspace: &WorkspaceId, account: &AccountId, consistency: Consistency) -> Result<AccountId, StoreError> {
        let mut root = account.clone();
        // Memberships are checked for cycles when they are made; the bound keeps a damaged store from hanging a worker.
        for _ in 0..16 {
            match self.account(workspace, &root, consistency).await? {
                Some(Versioned { record: AccountRecord { merged_into: Some(into), .. }, .. }) => root = into,
                _ => break,
            }
        }
        Ok(root)
    }

    /// A giant home without its states, strongly consistent. Whoever writes what follows must have read the score record's version before, and
    /// reads the states of a shard afterwards.
    pub async fn head(&self, workspace: &WorkspaceId, home: &Home) -> Result<Head, StoreError> {
        let query = Query::partition(Table::Accounts, home_partition(workspace, home)).between("", OWN_FIELDS);
        let (mut own, mut sums) = (Partition::default(), BTreeMap::new());
        for item in self.store.query_all(query).await? {
            match item.key.sk.as_str() {
                ACCOUNT => own.account = Some(Versioned { version: item.version, record: from_item(&item)? }),
                OWN_FIELDS => own.own = Versioned { version: item.version, record: from_item(&item)? },
                _ => sums.extend(read_sum(&item)),
            }
        }
        let mut members = Vec::new();
        let mut seen: BTreeSet<AccountId> = home.account().cloned().into_iter().collect();
        let mut waiting = own.absorbed();
        while let Some(member) = waiting.pop() {
            if seen.insert(member.clone()) {
                let (account, own) =
                    futures::try_join!(self.account(workspace, &member, Consistency::Strong), self.own_fields(workspace, &member))?;
                let partition = Partition { account, own, ..Partition::default() };
                waiting.extend(partition.absorbed());
                members.push(partition);
            }
        }
        Ok(Head { gathered: Gathered { own, members }, sums })
    }

    /// The states of some shards of one partition, strongly consistent, each read only when it is asked for.
    pub async fn states_in(&self, workspace: &WorkspaceId, home: &Home, shards: Shards) -> Result<ShardStates, StoreError> {
        let partition = Query::partition(Table::Accounts, home_partition(workspace, home));
        // Each query is billed by its started 4 KB: for many shards one is cheaper.
        let queries: Vec<Query> = if shards.len() > SHARDS_APART {
            vec![partition.prefix(STATE)]
        } else {
            shards.iter().map(|shard| partition.clone().prefix(&format!("{STATE}{shard}"))).collect()
        };
        let mut states = ShardStates::default();
        for items in futures::future::try_join_all(queries.into_iter().map(|query| self.store.query_all(query))).await? {
            for item in items {
                let shard = item.key.sk.strip_prefix(STATE).and_then(|place| Shard::parse(place.get(..2)?));
                let shard = match shard {
                    Some(shard) => shard,
                    None => read_state(&item)?.shard,
                };
                if shards.contains(shard) {
                    states.0.entry(shard).or_default().push(item);
                }
            }
        }
        Ok(states)
    }

    /// Reads a home and the accounts that it absorbed.
    pub async fn gather(&self, workspace: &WorkspaceId, home: &Home, consistency: Consistency) -> Result<Gathered, StoreError> {
        self.gather_after(workspace, home, None, consistency).await
    }

    /// As [`Self::gather`], for who has read the head of the home's score record before and does not need the record itself.
    pub async fn gather_after(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        scored: Option<&Versioned<ScoreHead>>,
        consistency: Consistency,
    ) -> Result<Gathered, StoreError> {
        let own = self.partition_after(workspace, home, scored, consistency).await?;
        let mut members = Vec::new();
        let mut seen: BTreeSet<AccountId> = home.account().cloned().into_iter().collect();
        let mut waiting = own.absorbed();
        while let Some(member) = waiting.pop() {
            if seen.insert(member.clone()) {
                let partition = self.partition(workspace, &Home::Account(member), consistency).await?;
                waiting.extend(partition.absorbed());
                members.push(partition);
            }
        }
        Ok(Gathered { own, members })
    }
}
