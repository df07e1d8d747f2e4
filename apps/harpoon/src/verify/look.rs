//! Looks at one place, strongly consistent: an identity, a home, a state that no mapping names.

use super::{
    audit::Auditor,
    replay::{Allowed, Replay, differences, lacks},
    report::{Fault, Subject},
};
use domain::{Home, IdentityId, IdentityKind, Timestamp, WorkspaceId, facts::Facts, hash64, mail::WebDomain, model::Model};
use futures::{StreamExt, TryStreamExt, stream};
use pipeline::{
    Clock, Consistency, Key, Query, Store, StoreError, Table, Versioned,
    homes::{Gathered, StoredState},
    records::{IdentityMapping, SHARDS, ScoreRecord, Standing, due_key, due_partition, from_item, identity_key},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::PoisonError,
};

/// Identities of one home that are replayed at once.
const IDENTITIES_AT_ONCE: usize = 8;
/// From so many anonymous ids on a user's mapping notes no more of them.
const NOTED_LINKS: usize = 200;
/// A change that was recorded this long ago should have been sent.
const SENT_WITHIN_MS: i64 = 5 * 60 * 1000;
/// How long the list of what is due is believed.
const DUE_LIST_MS: i64 = 2_000;

/// What a look at a place showed: equal when nobody has written there in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Digest of the versions that were read.
    seen: u64,
    /// What is wrong; nothing when it is as it should be.
    pub faults: Vec<Fault>,
}

/// What a look at a home and all that lies in it showed.
#[derive(Debug)]
pub(super) struct Around {
    /// Whether anything lies there.
    pub exists: bool,
    /// How many states lie there.
    pub identities: u64,
    /// The score was made with an earlier model.
    pub earlier_model: bool,
    /// The home itself and its states.
    pub looks: Vec<(Subject, Look)>,
}

/// A state beside the replay of its log.
struct Compared {
    id: IdentityId,
    look: Look,
    parcels: u64,
    /// The replayed facts, when the state's are wrong.
    instead: Option<Facts>,
}

fn digest(numbers: &[u64]) -> u64 {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    hash64(&[&bytes])
}

impl<S: Store + Clone, C: Clock + Clone> Auditor<S, C> {
    /// Looks at one place.
    pub(super) async fn look_at(&self, workspace: &WorkspaceId, subject: &Subject) -> Result<Look, StoreError> {
        match subject {
            Subject::Identity(id) => self.look_at_identity(workspace, *id).await,
            Subject::Home(home) => {
                let around = self.look_around(workspace, home).await?;
                let own = around.looks.into_iter().find(|(of, _)| of == subject);
                Ok(own.map_or(Look { seen: 0, faults: Vec::new() }, |(_, look)| look))
            }
            Subject::Stray { home, identity } => {
                let mapping = self.homes.mapping(workspace, identity, Consistency::Strong).await?;
                let mut strays = self.homes.states_of(workspace, home, identity).await?;
                strays.retain(|stored| mapping.as_ref().is_none_or(|mapping| !is_named(&mapping.record, home, stored)));
                let newest = strays.iter().map(|stored| stored.version).max();
                let seen = digest(&[mapping.map_or(0, |mapping| mapping.version), newest.unwrap_or_default()]);
                Ok(Look { seen, faults: if newest.is_some() { vec![Fault::Stray] } else { Vec::new() } })
            }
        }
    }

    async fn look_at_identity(&self, workspace: &WorkspaceId, id: IdentityId) -> Result<Look, StoreError> {
        let model = self.models.current(workspace).await?;
        let mapping = self.homes.mapping(workspace, &id, Consistency::Strong).await?;
        let stored = match &mapping {
            Some(mapping) => self.homes.state(workspace, &mapping.record).await?,
            None => None,
        };
        if let (Some(mapping), Some(stored)) = (&mapping, &stored) {
            return Ok(self.compare(workspace, &model, mapping, stored).await?.look);
        }
        let replay = self.replay(workspace, id, None, &model).await?;
        let events = replay.facts.count;
        let fault = match &mapping {
            // What said who this is has gone from the log with time.
            None if events == 0 => None,
            None => Some(Fault::Lost { events }),
            Some(_) => Some(Fault::StateMissing { events }),
        };
        let seen = digest(&[mapping.map_or(0, |mapping| mapping.version), 0, replay.parcels]);
        Ok(Look { seen, faults: fault.into_iter().collect() })
    }

    /// Folds an identity's parcels from nothing.
    pub(super) async fn replay<'m>(
        &self,
        workspace: &WorkspaceId,
        id: IdentityId,
        mapping: Option<&IdentityMapping>,
        model: &'m Model,
    ) -> Result<Replay<'m>, StoreError> {
        let whose = mapping.map(|mapping| &mapping.identity);
        let kind = whose.map_or(IdentityKind::Account, |identity| identity.kind);
        let mut replay = Replay::new(kind, model);
        self.parcels.each(workspace, &id, None, self.clock.now(), |parcel| replay.add(whose, &parcel)).await?;
        Ok(replay)
    }

    /// Compares a state with the replay of its log, and what follows from the log beside the state.
    async fn compare(
        &self,
        workspace: &WorkspaceId,
        model: &Model,
        mapping: &Versioned<IdentityMapping>,
        stored: &StoredState,
    ) -> Result<Compared, StoreError> {
        let replay = self.replay(workspace, stored.identity, Some(&mapping.record), model).await?;
        // Until a mapping is applied, what was stored before it was published stays as it was read.
        let other_mapping = !model.document.is_mapping_applied();
        // Only a state that knows more than the log may know it from before the log begins.
        let asked = stored.state.facts.count > replay.facts.count;
        let log_begins = if asked { self.parcels.whole_since(self.clock.now()).await? } else { Timestamp::default() };
        let what = differences(&stored.state.facts, &replay.facts, Allowed { log_begins, other_mapping });
        let (held, logged) = (stored.state.facts.count, replay.facts.count);
        let mut faults = Vec::new();
        if what.contains(&"events") && logged > held {
            faults.push(Fault::EventsMissing { events: logged - held });
        } else if !what.is_empty() {
            let more = if what.contains(&"events") { held.saturating_sub(logged) } else { 0 };
            faults.push(Fault::StateDiffers { more, what });
        }
        let instead = if faults.is_empty() { None } else { Some(replay.facts.clone()) };
        let links = self.links_missing(workspace, mapping, stored, &replay).await?;
        if links > 0 {
            faults.push(Fault::LinksMissing { links });
        }
        let accounts = if other_mapping { 0 } else { self.fields_missing(workspace, &replay).await? };
        if accounts > 0 {
            faults.push(Fault::FieldsMissing { accounts });
        }
        let seen = digest(&[mapping.version, stored.version, replay.parcels]);
        Ok(Compared { id: stored.identity, look: Look { seen, faults }, parcels: replay.parcels, instead })
    }

    /// How many links the log states that the mappings lack: an anonymous id belongs to the user whose earliest event names both.
    async fn links_missing(
        &self,
        workspace: &WorkspaceId,
        mapping: &Versioned<IdentityMapping>,
        stored: &StoredState,
        replay: &Replay<'_>,
    ) -> Result<u64, StoreError> {
        let known = &mapping.record;
        let mut missing = u64::from(stored.state.link != known.link.as_ref().map(|link| link.user));
        if replay.named.is_empty() {
            return Ok(missing);
        }
        let keys: Vec<Key> = replay.named.keys().map(|id| identity_key(workspace, id)).collect();
        let mut linked: BTreeMap<Key, IdentityMapping> = BTreeMap::new();
        for item in self.homes.store().read_many(&keys, Consistency::Strong).await? {
            linked.insert(item.key.clone(), from_item(&item)?);
        }
        let full = known.named.len() >= NOTED_LINKS;
        for (id, order) in &replay.named {
            let noted = known.named.get(id).is_some_and(|noted| noted <= order);
            let link = linked.get(&identity_key(workspace, id)).and_then(|anonymous| anonymous.link.as_ref());
            let held = link.is_some_and(|link| (link.order, link.user) <= (*order, stored.identity));
            missing += u64::from(!(full || noted && held));
        }
        Ok(missing)
    }

    /// How many accounts lack fields that the identity's events state of them.
    async fn fields_missing(&self, workspace: &WorkspaceId, replay: &Replay<'_>) -> Result<u64, StoreError> {
        let mut missing = 0;
        for ((named, by_account_event), stated) in &replay.stated {
            let own = self.homes.own_fields(workspace, named).await?;
            let held = own.record.all();
            if !lacks(&held, stated) {
                continue;
            }
            // An account event may name a web domain, which stands for the account that owned it then.
            let is_domain = WebDomain::from_url(named.as_str()).is_some_and(|domain| domain.as_str() == named.as_str());
            if *by_account_event && is_domain {
                let claim = self.homes.domain_claim(workspace, named.as_str(), Consistency::Strong).await?;
                let owner = claim.map_or_else(|| named.clone(), |claim| claim.record.account);
                let owned = self.homes.own_fields(workspace, &owner).await?;
                let mut both = held;
                both.merge_all(&owned.record.all());
                if !lacks(&both, stated) {
                    continue;
                }
            }
            missing += 1;
        }
        Ok(missing)
    }

    /// Looks at a home and everything in it.
    pub(super) async fn look_around(&self, workspace: &WorkspaceId, home: &Home) -> Result<Around, StoreError> {
        let model = self.models.current(workspace).await?;
        let mut gathered = self.homes.gather(workspace, home, Consistency::Strong).await?;
        let states: Vec<StoredState> = gathered.partitions().flat_map(|partition| partition.states.iter().cloned()).collect();
        let own: HashSet<IdentityId> = gathered.own.states.iter().map(|stored| stored.identity).collect();
        let mappings = self.mappings(workspace, &states).await?;
        let mut looks = Vec::new();
        let mut mapped = Vec::new();
        for stored in &states {
            match mappings.get(&stored.identity) {
                Some(mapping) if is_named(&mapping.record, home, stored) || !own.contains(&stored.identity) => {
                    mapped.push((mapping, stored))
                }
                other => {
                    let subject = Subject::Stray { home: home.clone(), identity: stored.identity };
                    let seen = digest(&[other.map_or(0, |mapping| mapping.version), stored.version]);
                    looks.push((subject, Look { seen, faults: vec![Fault::Stray] }));
                }
            }
        }
        let compared: Vec<Compared> = stream::iter(mapped)
            .map(|(mapping, stored)| self.compare(workspace, &model, mapping, stored))
            .buffer_unordered(IDENTITIES_AT_ONCE)
            .try_collect()
            .await?;
        let mut versions = vec![gathered.own.own.version, compared.iter().map(|compared| compared.parcels).sum()];
        versions.extend(states.iter().map(|stored| stored.version));
        let mut instead: BTreeMap<IdentityId, Facts> = BTreeMap::new();
        for Compared { id, look, instead: facts, .. } in compared {
            if own.contains(&id) {
                looks.push((Subject::Identity(id), look));
            }
            instead.extend(facts.map(|facts| (id, facts)));
        }
        substitute(&mut gathered, &instead);
        let standing = self.homes.standing(workspace, home, Consistency::Strong).await?;
        let (faults, earlier_model) = self.faults_of_home(workspace, home, &gathered, standing.as_ref(), &model).await?;
        versions.push(gathered.own.score.as_ref().map_or(0, |score| score.version));
        versions.push(standing.map_or(0, |standing| standing.version));
        looks.push((Subject::Home(home.clone()), Look { seen: digest(&versions), faults }));
        let exists = !own.is_empty() || gathered.own.account.is_some() || gathered.own.score.is_some();
        Ok(Around { exists, identities: u64::try_from(own.len()).unwrap_or(u64::MAX), earlier_model, looks })
    }

    async fn mappings(
        &self,
        workspace: &WorkspaceId,
        states: &[StoredState],
    ) -> Result<BTreeMap<IdentityId, Versioned<IdentityMapping>>, StoreError> {
        let keys: Vec<Key> = states.iter().map(|stored| identity_key(workspace, &stored.identity)).collect();
        let mut mappings = BTreeMap::new();
        for item in self.homes.store().read_many(&keys, Consistency::Strong).await? {
            let record: IdentityMapping = from_item(&item)?;
            mappings.insert(record.identity.id(), Versioned { version: item.version, record });
        }
        Ok(mappings)
    }

    /// What is wrong with a home's score and standing, and whether the score was made with an earlier model.
    async fn faults_of_home(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        gathered: &Gathered,
        standing: Option<&Versioned<Standing>>,
        model: &Model,
    ) -> Result<(Vec<Fault>, bool), StoreError> {
        let now = self.clock.now();
        let Some(score) = &gathered.own.score else {
            let empty = gathered.own.states.is_empty() && gathered.own.own.version == 0;
            return Ok((if empty { Vec::new() } else { vec![Fault::NotScored] }, false));
        };
        let mut faults = Vec::new();
        let earlier_model = score.record.model != model.version();
        if !earlier_model {
            let expected = score::record::compute(home, gathered, model, score.record.as_of, now);
            let behind = expected.stamp != score.record.stamp;
            let points = points_between(&score.record, &expected);
            faults.extend(points.map(|points| Fault::ScoreDiffers { points }));
            if behind {
                faults.push(Fault::NotScored);
            }
            // An earlier look than needed is no fault; a later one is. When a wrong score changes next means nothing.
            let late = expected.due_at.is_some_and(|due| score.record.due_at.is_none_or(|stored| stored > due));
            if !behind && points.is_none() && (late || !self.is_due_kept(workspace, home, score.record.due_at, now).await?) {
                faults.push(Fault::DueLost);
            }
        }
        let follows = standing.is_some_and(|standing| {
            let row = &standing.record;
            let same =
                (row.account_score, row.engagement, row.surge) == (score.record.account_score, score.record.engagement, score.record.surge);
            row.served == score.version && same
        });
        if !follows {
            faults.push(Fault::NotLevelled);
        }
        if let Some(standing) = standing {
            let old = standing.record.pending.iter().filter(|transition| now.millis_since(transition.at) > SENT_WITHIN_MS).count();
            if old > 0 {
                faults.push(Fault::Unsent { changes: u64::try_from(old).unwrap_or(u64::MAX) });
            }
            if follows && !self.is_due_kept(workspace, home, standing.record.dwell_until, now).await? && !faults.contains(&Fault::DueLost) {
                faults.push(Fault::DueLost);
            }
        }
        Ok((faults, earlier_model))
    }

    /// Whether something will have the home looked at again at its moment: the very item for a moment that lies ahead, any item for one that has
    /// come, because rescore copies those ahead until they are served.
    async fn is_due_kept(&self, workspace: &WorkspaceId, home: &Home, at: Option<Timestamp>, now: Timestamp) -> Result<bool, StoreError> {
        let Some(at) = at else { return Ok(true) };
        if at > now {
            return Ok(self.homes.store().read(&due_key(workspace, home, at), Consistency::Strong).await?.is_some());
        }
        let who = format!("{workspace}#{home}");
        {
            let known = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read_at, due)) = known.as_ref()
                && (0..DUE_LIST_MS).contains(&now.millis_since(*read_at))
            {
                return Ok(due.contains(&who));
            }
        }
        let mut due = HashSet::new();
        for shard in 0..SHARDS {
            let mut query = Query::partition(Table::Accounts, due_partition(shard));
            loop {
                let page = self.homes.store().query(&query).await?;
                due.extend(page.items.iter().filter_map(|item| item.key.sk.split_once('#')).map(|(_, who)| who.to_owned()));
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
        }
        let kept = due.contains(&who);
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, due));
        Ok(kept)
    }
}

/// Whether a state that lies in `home` is the one that its identity's mapping names.
pub(super) fn is_named(mapping: &IdentityMapping, home: &Home, stored: &StoredState) -> bool {
    mapping.home == *home && mapping.shard() == stored.shard
}

/// Puts replayed facts in the place of wrong ones.
fn substitute(gathered: &mut Gathered, instead: &BTreeMap<IdentityId, Facts>) {
    let Gathered { own, members, .. } = gathered;
    for stored in std::iter::once(own).chain(members).flat_map(|partition| &mut partition.states) {
        if let Some(facts) = instead.get(&stored.identity) {
            stored.state.facts = facts.clone();
        }
    }
}

/// By how many points two records differ; `None` when they show the same.
fn points_between(stored: &ScoreRecord, expected: &ScoreRecord) -> Option<u64> {
    let plain = |record: &ScoreRecord| ScoreRecord { stamp: 0, inputs: 0, due_at: None, ..record.clone() };
    if plain(stored) == plain(expected) {
        return None;
    }
    let fit = i64::from(stored.account_score).abs_diff(i64::from(expected.account_score));
    Some(fit.max(stored.engagement.abs_diff(expected.engagement)))
}
