//! Folds an identity's parcels into its state and puts the state where it belongs.

use crate::{Resolver, Touched, Work};
use domain::{
    AccountId, Home, IdentityKind, Timestamp,
    facts::Facts,
    model::Model,
    resolution::{Candidate, Claim, Method, Resolution, claims, unresolved_home},
    state::{Fold, IdentityState, Spilled},
};
use pipeline::{
    AccountTouched, Clock, Condition, Consistency, Queue, StageError, Store, Versioned, Write,
    homes::{StoredState, put_due, put_record, put_state},
    records::{IdentityMapping, identity_key, state_key},
};
use std::sync::Arc;

/// How often a fold is tried again when somebody else wrote in between, before the message comes again.
const ATTEMPTS: usize = 12;

/// What one try to fold came to.
enum Tried {
    Done(Folded),
    /// Somebody else wrote in between.
    Again,
}

/// An identity whose parcels are all folded.
pub(crate) struct Folded {
    pub mapping: Versioned<IdentityMapping>,
    pub state: IdentityState,
    /// Whether what the identity says about where it belongs changed, or may have changed at an earlier attempt.
    pub news: bool,
    /// The home that it left.
    pub left: Option<Home>,
}

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Resolver<S, Q, C> {
    /// Folds the parcels, which are stored already, and does everything that follows from them. Harmless to do again.
    pub(crate) async fn fold_identity(&self, work: &Work) -> Result<Touched, StageError> {
        let model = self.models.current(&work.workspace).await?;
        let folded = self.fold_parcels(work, &model).await?;
        let mut touched = Touched::new();
        touched.insert(folded.mapping.record.home.clone());
        touched.extend(folded.left.clone());
        self.follow_up(work, &model, folded, &mut touched).await?;
        Ok(touched)
    }

    async fn fold_parcels(&self, work: &Work, model: &Arc<Model>) -> Result<Folded, StageError> {
        // An eventual read of the mapping is half as dear; whatever it misses shows when the state is not found or not as
        // read, and then the mapping is read again, strongly consistent.
        let mut consistency = Consistency::Eventual;
        for _ in 0..ATTEMPTS {
            match self.try_fold(work, model, consistency).await {
                Ok(Tried::Done(folded)) => return Ok(folded),
                Ok(Tried::Again) => {}
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e),
            }
            consistency = Consistency::Strong;
        }
        Err(StageError::retry("the state was changed by others at every attempt"))
    }

    async fn try_fold(&self, work: &Work, model: &Arc<Model>, consistency: Consistency) -> Result<Tried, StageError> {
        let id = work.identity.id();
        let Some(mapping) = self.homes.mapping(&work.workspace, &id, consistency).await? else {
            if consistency == Consistency::Eventual {
                return Ok(Tried::Again);
            }
            return self.create(work, model).await;
        };
        let Some(stored) = self.homes.state(&work.workspace, &mapping.record.home, &id).await? else {
            // It was moved, or the mapping read was behind. A fold never creates a state.
            if consistency == Consistency::Strong {
                let after = self.homes.mapping(&work.workspace, &id, Consistency::Strong).await?;
                if after.is_some_and(|after| after.version == mapping.version) {
                    return Err(StageError::retry("the mapping names a home that does not hold the state"));
                }
            }
            return Ok(Tried::Again);
        };
        let (state, changed) = self.folded(work, &stored, model).await?;
        // A parcel that was folded by an earlier attempt may lack what should have followed.
        let news = !changed || says_other(&stored.state.facts, &state.facts);
        let home_news = news || mapping.record.resolution.method == Method::Unresolved;
        let (home, resolution) = if home_news {
            self.place(work, &mapping.record, &state, model).await?
        } else {
            (mapping.record.home.clone(), mapping.record.resolution.clone())
        };
        if home != mapping.record.home {
            return self.move_folded(work, mapping, stored, state, home, resolution).await;
        }
        if changed {
            self.write_state(work, &stored, state.clone(), &home).await?;
        }
        Ok(Tried::Done(Folded { mapping, state, news, left: None }))
    }

    /// Folds all parcels into a read state; tells whether it changed.
    async fn folded(&self, work: &Work, stored: &StoredState, model: &Model) -> Result<(IdentityState, bool), StageError> {
        let now = self.now();
        let id = work.identity.id();
        let spilled = if stored.state.has_spilled(now) && work.parcels.keys().any(|batch| !stored.state.window.batches.contains(batch)) {
            self.parcels.spilled(&work.workspace, &id).await?
        } else {
            Spilled::default()
        };
        let mut state = stored.state.clone();
        let mut changed = false;
        for (batch, (_, events)) in &work.parcels {
            match state.fold(*batch, events, &spilled, now, &model.matcher, &model.document.mapping) {
                Fold::Known => {}
                // A parcel of which every event was counted before changes nothing that would have to be stored.
                Fold::Added(new) => changed |= new > 0,
                Fold::Doubt => {
                    let mut again = stored.state.refold(&model.matcher, now);
                    let (matcher, mapping) = (&model.matcher, &model.document.mapping);
                    self.parcels
                        .each(&work.workspace, &id, now, |parcel| again.add(parcel.batch, &parcel.events, matcher, mapping))
                        .await?;
                    return Ok((again.finish(), true));
                }
            }
        }
        Ok((state, changed))
    }

    /// Spills what leaves the window, then writes the state over the one that was read.
    async fn write_state(&self, work: &Work, stored: &StoredState, mut state: IdentityState, home: &Home) -> Result<(), StageError> {
        self.spill(work, &mut state).await?;
        let version = stored.version.saturating_add(1);
        let write = put_state(&work.workspace, home, &state, version, Condition::Version(stored.version))?;
        self.homes.store().write(write).await?;
        Ok(())
    }

    async fn spill(&self, work: &Work, state: &mut IdentityState) -> Result<(), StageError> {
        let now = self.now();
        let id = work.identity.id();
        let had_spilled = state.has_spilled(now);
        let mut spilled = state.shrink(now);
        if spilled.len() > domain::state::MAX_IDS && had_spilled {
            // After a refold most of them are spilled already.
            spilled = spilled.without(&self.parcels.spilled(&work.workspace, &id).await?);
        }
        if spilled.is_empty() { Ok(()) } else { Ok(self.parcels.spill(&work.workspace, &id, spilled, now).await?) }
    }

    /// The first sight of an identity: mapping and state are made together.
    async fn create(&self, work: &Work, model: &Arc<Model>) -> Result<Tried, StageError> {
        let id = work.identity.id();
        let blank = StoredState { identity: id, version: 0, state: IdentityState::new(work.identity.clone(), &model.matcher) };
        let (mut state, _) = self.folded(work, &blank, model).await?;
        let mut mapping = IdentityMapping {
            identity: work.identity.clone(),
            home: Home::Lead(id),
            resolution: Resolution { method: Method::Unresolved, confidence: 0, candidates: Vec::new() },
            manual: None,
            link: None,
            named: std::collections::BTreeMap::new(),
            inherited: std::collections::BTreeMap::new(),
            unseated: Vec::new(),
            follow: Vec::new(),
        };
        (mapping.home, mapping.resolution) = self.place(work, &mapping, &state, model).await?;
        self.spill(work, &mut state).await?;
        let writes = vec![
            put_record(identity_key(&work.workspace, &id), 0, &mapping)?,
            put_state(&work.workspace, &mapping.home, &state, 1, Condition::Absent)?,
        ];
        self.homes.store().transact(writes).await?;
        Ok(Tried::Done(Folded { mapping: Versioned { version: 1, record: mapping }, state, news: true, left: None }))
    }

    /// Moves a state that was just folded: deleted there, put here, the mapping changed, all or nothing.
    async fn move_folded(
        &self,
        work: &Work,
        mapping: Versioned<IdentityMapping>,
        stored: StoredState,
        mut state: IdentityState,
        home: Home,
        resolution: Resolution,
    ) -> Result<Tried, StageError> {
        self.spill(work, &mut state).await?;
        let left = mapping.record.home.clone();
        let mut record = mapping.record;
        record.home = home;
        record.resolution = resolution;
        record.follow = record.named.keys().copied().collect();
        let writes = self.move_writes(&work.workspace, &left, &stored, &state, mapping.version, &record)?;
        self.homes.store().transact(writes).await?;
        let mapping = Versioned { version: mapping.version.saturating_add(1), record };
        Ok(Tried::Done(Folded { mapping, state, news: true, left: Some(left) }))
    }

    /// The writes that move a state. The home that it leaves becomes due, because an attempt after a crash can't know it any more.
    pub(crate) fn move_writes(
        &self,
        workspace: &domain::WorkspaceId,
        left: &Home,
        stored: &StoredState,
        state: &IdentityState,
        mapping_version: u64,
        mapping: &IdentityMapping,
    ) -> Result<Vec<Write>, StageError> {
        let id = stored.identity;
        let version = stored.version.saturating_add(1);
        let mut writes = vec![put_record(identity_key(workspace, &id), mapping_version, mapping)?];
        if *left == mapping.home {
            writes.push(put_state(workspace, left, state, version, Condition::Version(stored.version))?);
        } else {
            writes.push(Write::Delete(state_key(workspace, left, &id), Condition::Version(stored.version)));
            writes.push(put_state(workspace, &mapping.home, state, version, Condition::Absent)?);
            writes.push(put_due(workspace, left, self.now(), 0)?);
        }
        Ok(writes)
    }

    /// Where the identity belongs: a person's decision, then its user for a linked anonymous id, then the first claim that hits.
    pub(crate) async fn place(
        &self,
        work: &Work,
        mapping: &IdentityMapping,
        state: &IdentityState,
        model: &Arc<Model>,
    ) -> Result<(Home, Resolution), StageError> {
        self.place_identity(&work.workspace, mapping, &state.facts, model, self.now()).await
    }

    /// As [`Self::place`], for any identity.
    pub(crate) async fn place_identity(
        &self,
        workspace: &domain::WorkspaceId,
        mapping: &IdentityMapping,
        facts: &Facts,
        model: &Arc<Model>,
        now: Timestamp,
    ) -> Result<(Home, Resolution), StageError> {
        let id = mapping.identity.id();
        if let Some(manual) = &mapping.manual {
            let home = manual.account.clone().map_or_else(|| unresolved_home(id, facts), Home::Account);
            return Ok((home, resolved(Method::Manual)));
        }
        if mapping.identity.kind == IdentityKind::Account {
            let id = AccountId::new(&mapping.identity.value).map_err(|e| StageError::Reject { reason: e.to_string() })?;
            let named = domain::NamedAccount { id, by: domain::NamedBy::AccountEvent };
            let account = self.named_account(workspace, &named, now).await?;
            return Ok((Home::Account(account), resolved(Method::AccountId)));
        }
        if let Some(link) = &mapping.link
            && let Some(user) = self.homes.mapping(workspace, &link.user, Consistency::Strong).await?
        {
            return Ok((user.record.home, resolved(Method::Link)));
        }
        let said = mapping.said(facts);
        let claims = claims(&said, model);
        for (place, claim) in claims.iter().enumerate() {
            let Some((account, method)) = self.claimed(workspace, claim, now).await? else { continue };
            let others = claims.get(place.saturating_add(1)..).unwrap_or_default();
            let resolution = Resolution { candidates: self.candidates(workspace, others, &account).await?, ..resolved(method) };
            let home = Home::Account(account);
            let stays = home != mapping.home && self.same_root(workspace, &home, &mapping.home).await?;
            return Ok((if stays { mapping.home.clone() } else { home }, resolution));
        }
        Ok((unresolved_home(id, &said), resolved(Method::Unresolved)))
    }

    /// The accounts that weaker claims name, other than the one that was chosen. Nothing is made for them.
    async fn candidates(
        &self,
        workspace: &domain::WorkspaceId,
        claims: &[Claim],
        chosen: &AccountId,
    ) -> Result<Vec<Candidate>, StageError> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for claim in claims {
            let found = match claim {
                Claim::Account(method, account) => Some((*method, account.clone())),
                Claim::External(kind, id) => {
                    self.homes.external(workspace, kind, id).await?.map(|found| (Method::ExternalId, found.record))
                }
                Claim::Domain(method, domain) => {
                    let owner = self.homes.domain_claim(workspace, domain.as_str(), Consistency::Eventual).await?;
                    owner.map(|owner| (*method, owner.record.account))
                }
            };
            if let Some((method, account)) = found.filter(|(_, account)| account != chosen) {
                candidates.push(Candidate { method, account });
            }
        }
        Ok(candidates)
    }

    /// Whether two homes are the same account after absorptions.
    async fn same_root(&self, workspace: &domain::WorkspaceId, a: &Home, b: &Home) -> Result<bool, StageError> {
        let (Home::Account(a), Home::Account(b)) = (a, b) else {
            return Ok(false);
        };
        let a = self.homes.root(workspace, a, Consistency::Strong).await?;
        let b = self.homes.root(workspace, b, Consistency::Strong).await?;
        Ok(a == b)
    }
}

pub(crate) const fn resolved(method: Method) -> Resolution {
    Resolution { method, confidence: method.confidence(), candidates: Vec::new() }
}

/// Whether what an identity says about where it belongs differs.
fn says_other(before: &Facts, after: &Facts) -> bool {
    before.named.as_ref().map(|(_, named)| named) != after.named.as_ref().map(|(_, named)| named)
        || before.external.as_ref().map(|(_, kind, id)| (kind, id)) != after.external.as_ref().map(|(_, kind, id)| (kind, id))
        || before.traits.iter().map(|(which, (_, text))| (which, text)).ne(after.traits.iter().map(|(which, (_, text))| (which, text)))
}
