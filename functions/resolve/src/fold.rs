//! Folds an identity's parcels into its state and puts the state where it belongs.

use crate::{
    Patience, Resolver, Touched, Work,
    repeats::{self, Repeat},
};
use domain::{
    AccountId, BatchId, Home, IdentityKind, Shard, Shards, Timestamp,
    facts::Evidence,
    model::Model,
    mutant::{Mutant, active},
    resolution::{Candidate, Claim, Method, Resolution, claims, unresolved_home},
    state::{Fold, IdentityState, Refolded, Sealed, Spilled},
};
use pipeline::{
    AccountTouched, Clock, Condition, Consistency, Queue, StageError, Store, Versioned, Write,
    homes::{StoredState, put_due, put_record, put_state, unchanged},
    records::{IdentityMapping, STATE, identity_key, state_key},
};
use std::sync::Arc;

/// How often a fold is tried again when somebody else wrote in between, before the message comes again.
const ATTEMPTS: usize = 12;

/// How far from its own batches a fold that lost looks for parcels that others hold at the same moment, in milliseconds.
const WAITING_MS: i64 = 5_000;

/// How many of them it takes along.
const WAITING: usize = 100;

/// What one try to fold came to.
enum Tried {
    Done(Folded),
    /// Somebody else wrote in between.
    Again,
}

/// Parcels folded into a state that is not stored yet.
struct Folding {
    state: IdentityState,
    changed: bool,
    /// Whether everything was folded from the log, so that it can't be told which of the parcels an earlier attempt had folded.
    again: bool,
    /// What folding again sealed, to be stored before the state.
    sealed: Option<(Sealed, IdentityState)>,
}

/// An identity whose parcels are all folded.
pub(crate) struct Folded {
    pub mapping: Versioned<IdentityMapping>,
    pub state: IdentityState,
    /// Whether what the identity says about where it belongs changed, or may have changed at an earlier attempt.
    pub news: bool,
    /// Whether the state was written by this attempt.
    pub changed: bool,
    /// The home that it left.
    pub left: Option<Home>,
}

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Resolver<S, Q, C> {
    /// Folds the parcels, which are stored already, and does everything that follows from them. Harmless to do again.
    pub(crate) async fn fold_identity(&self, work: &Work, patience: Patience) -> Result<Touched, StageError> {
        let model = self.models.current(&work.workspace).await?;
        let folded = self.fold_parcels(work, &model, patience).await?;
        let mut touched = Touched::default();
        if active(Mutant::ResolveSendSkipped) && !folded.changed {
            return Ok(touched);
        }
        let shards = if active(Mutant::ShardForgotten) { Shards::NONE } else { Shards::only(folded.mapping.record.shard()) };
        touched.add(folded.mapping.record.home.clone(), shards);
        touched.add_all(folded.left.clone().map(|left| (left, shards)));
        self.follow_up(work, &model, folded, &mut touched).await?;
        Ok(touched)
    }

    async fn fold_parcels(&self, work: &Work, model: &Arc<Model>, patience: Patience) -> Result<Folded, StageError> {
        // An eventual read of the mapping is half as dear; whatever it misses shows when the state is not found or not as
        // read, and then the mapping is read again, strongly consistent.
        let mut consistency = Consistency::Eventual;
        let mut repeats = Vec::new();
        let mut joined = if patience == Patience::Full { Some(self.with_waiting(work).await?) } else { None };
        for _ in 0..ATTEMPTS {
            repeats.clear();
            match self.try_fold(joined.as_ref().unwrap_or(work), model, consistency, &mut repeats).await {
                Ok(Tried::Done(folded)) => {
                    repeats::log(work, &repeats);
                    return Ok(folded);
                }
                Ok(Tried::Again) => {}
                Err(e) if e.is_conflict() && patience == Patience::Full => joined = Some(self.with_waiting(work).await?),
                Err(e) => return Err(e),
            }
            consistency = Consistency::Strong;
        }
        Err(StageError::retry("the state was changed by others at every attempt"))
    }

    /// Whoever loses to another fold takes along the parcels that others hold at this moment: they lie in the log already. So one of many folds
    /// of the same identity does the work of all, and the others find theirs done, instead of losing to each other in turn.
    async fn with_waiting(&self, work: &Work) -> Result<Work, StageError> {
        let mut joined = work.clone();
        let (Some((oldest, _)), Some((newest, _))) = (work.parcels.first_key_value(), work.parcels.last_key_value()) else {
            return Ok(joined);
        };
        let from = oldest.at().plus_millis(-WAITING_MS);
        let before = BatchId::new(newest.at().plus_millis(WAITING_MS), 0);
        let waiting = self.parcels.newest(&work.workspace, &work.identity.id(), Some(before), WAITING, self.now()).await?;
        for parcel in waiting.into_iter().filter(|parcel| parcel.batch.at() >= from) {
            joined.parcels.entry(parcel.batch).or_insert_with(|| parcel.events.into());
        }
        Ok(joined)
    }

    async fn try_fold(
        &self,
        work: &Work,
        model: &Arc<Model>,
        consistency: Consistency,
        repeats: &mut Vec<Repeat>,
    ) -> Result<Tried, StageError> {
        let id = work.identity.id();
        let Some(mapping) = self.homes.mapping(&work.workspace, &id, consistency).await? else {
            if consistency == Consistency::Eventual {
                return Ok(Tried::Again);
            }
            return self.create(work, model, repeats).await;
        };
        let mut stored = self.homes.state(&work.workspace, &mapping.record).await?;
        if stored.is_none() && active(Mutant::FoldCreatesState) {
            let shard = mapping.record.shard();
            stored =
                Some(StoredState { identity: id, shard, version: 0, state: IdentityState::new(work.identity.clone(), &model.matcher) });
        }
        let Some(stored) = stored else {
            // It was moved, or the mapping read was behind. A fold never creates a state.
            if consistency == Consistency::Strong {
                let after = self.homes.mapping(&work.workspace, &id, Consistency::Strong).await?;
                if after.is_some_and(|after| after.version == mapping.version) {
                    return Err(StageError::retry("the mapping names a home that does not hold the state"));
                }
            }
            return Ok(Tried::Again);
        };
        let mut folding = self.folded(work, &stored, model, repeats).await?;
        // A parcel that was folded by an earlier attempt may lack what should have followed.
        let news = !folding.changed || folding.again || stored.state.facts.said.differs(&folding.state.facts.said);
        let home_news = news || mapping.record.resolution.method == Method::Unresolved;
        let (home, resolution) = if home_news {
            self.place(work, &mapping.record, &folding.state, model).await?
        } else {
            (mapping.record.home.clone(), mapping.record.resolution.clone())
        };
        if home != mapping.record.home {
            return self.move_folded(work, mapping, stored, folding, home, resolution).await;
        }
        if folding.changed {
            self.write_state(work, &stored, &mut folding, &home).await?;
        }
        Ok(Tried::Done(Folded { mapping, state: folding.state, news, changed: folding.changed, left: None }))
    }

    /// Folds all parcels into a read state, and notes the events that were counted before.
    async fn folded(&self, work: &Work, stored: &StoredState, model: &Model, repeats: &mut Vec<Repeat>) -> Result<Folding, StageError> {
        let now = self.now();
        let (matcher, mapping) = (&model.matcher, &model.document.mapping);
        let mut state = stored.state.clone();
        let mut spilled = None;
        let mut added = 0;
        for (batch, events) in &work.parcels {
            let mut fold = state.fold(*batch, events, spilled.as_ref(), now, matcher, mapping);
            if fold == Fold::NeedsSpilled {
                let read = self.read_spilled(work, &stored.state).await?;
                fold = state.fold(*batch, events, Some(&read), now, matcher, mapping);
                spilled = Some(read);
            }
            match fold {
                Fold::Added(new) => {
                    added += new;
                    if new < events.len() {
                        repeats::note(repeats, *batch, &state.repeated(*batch, events, spilled.as_ref()));
                    }
                }
                Fold::Doubt | Fold::NeedsSpilled => return self.refolded(work, stored, model).await,
            }
        }
        // Parcels of which every event was counted before change nothing that would have to be stored.
        Ok(Folding { state, changed: added > 0, again: false, sealed: None })
    }

    /// The ids that left the window and may be those of the parcels.
    async fn read_spilled(&self, work: &Work, state: &IdentityState) -> Result<Spilled, StageError> {
        let (Some(left), Some((oldest, _))) = (state.window.left, work.parcels.first_key_value()) else {
            return Ok(Spilled::default());
        };
        Ok(self.parcels.spilled(&work.workspace, &work.identity.id(), &left, oldest.at()).await?)
    }

    /// In doubt, all parcels are folded again, or those after what was sealed.
    async fn refolded(&self, work: &Work, stored: &StoredState, model: &Model) -> Result<Folding, StageError> {
        let (now, id) = (self.now(), work.identity.id());
        let (matcher, mapping) = (&model.matcher, &model.document.mapping);
        // A parcel that is older than the seal is not in it.
        let usable = stored.state.sealed.filter(|sealed| work.parcels.keys().all(|batch| *batch > sealed.until));
        let sealed = match usable {
            Some(sealed) => self.parcels.sealed(&work.workspace, &id, sealed, now).await?,
            None => None,
        };
        let mut again = stored.state.refold(sealed, matcher, now);
        let after = again.after();
        self.parcels.each(&work.workspace, &id, after, now, |parcel| again.add(parcel.batch, &parcel.events, matcher, mapping)).await?;
        let Refolded { state, sealed } = again.finish();
        Ok(Folding { state, changed: true, again: true, sealed })
    }

    /// Stores what must be there before the state is: ids that leave the window, and what was sealed.
    async fn store_beside(&self, work: &Work, folding: &mut Folding) -> Result<(), StageError> {
        let (now, id) = (self.now(), work.identity.id());
        if let Some((sealed, sum)) = folding.sealed.take() {
            self.parcels.seal(&work.workspace, sealed, &sum).await?;
        }
        let segments = folding.state.shrink(now);
        Ok(self.parcels.spill(&work.workspace, &id, segments, now).await?)
    }

    /// Writes the state over the one that was read.
    async fn write_state(&self, work: &Work, stored: &StoredState, folding: &mut Folding, home: &Home) -> Result<(), StageError> {
        self.store_beside(work, folding).await?;
        let version = stored.version.saturating_add(1);
        let condition = if active(Mutant::StateWrittenBlindly) { Condition::Always } else { unchanged(stored.version) };
        let write = put_state(&work.workspace, home, &folding.state, version, condition)?;
        self.homes.store().write(write).await?;
        Ok(())
    }

    /// The first sight of an identity: mapping and state are made together.
    async fn create(&self, work: &Work, model: &Arc<Model>, repeats: &mut Vec<Repeat>) -> Result<Tried, StageError> {
        let id = work.identity.id();
        let shard = Shard::of(work.identity.kind, id, None);
        let blank = StoredState { identity: id, shard, version: 0, state: IdentityState::new(work.identity.clone(), &model.matcher) };
        let mut folding = self.folded(work, &blank, model, repeats).await?;
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
        (mapping.home, mapping.resolution) = self.place(work, &mapping, &folding.state, model).await?;
        self.store_beside(work, &mut folding).await?;
        let state = folding.state;
        let writes = vec![
            put_record(identity_key(&work.workspace, &id), 0, &mapping)?,
            put_state(&work.workspace, &mapping.home, &state, 1, Condition::Absent)?,
        ];
        self.homes.store().transact(writes).await?;
        Ok(Tried::Done(Folded { mapping: Versioned { version: 1, record: mapping }, state, news: true, changed: true, left: None }))
    }

    /// Moves a state that was just folded: deleted there, put here, the mapping changed, all or nothing.
    async fn move_folded(
        &self,
        work: &Work,
        mapping: Versioned<IdentityMapping>,
        stored: StoredState,
        mut folding: Folding,
        home: Home,
        resolution: Resolution,
    ) -> Result<Tried, StageError> {
        self.store_beside(work, &mut folding).await?;
        let state = folding.state;
        let left = mapping.record.home.clone();
        let mut record = mapping.record;
        record.home = home;
        record.resolution = resolution;
        record.follow = record.named.keys().copied().collect();
        let mut writes = self.move_writes(&work.workspace, &left, &stored, &state, mapping.version, &record)?;
        if active(Mutant::MoveInTwoSteps) {
            let put = writes.extract_if(.., |write| matches!(write, Write::Put(item, _) if item.key.sk.starts_with(STATE))).collect();
            self.homes.store().transact(put).await?;
        }
        self.homes.store().transact(writes).await?;
        let mapping = Versioned { version: mapping.version.saturating_add(1), record };
        Ok(Tried::Done(Folded { mapping, state, news: true, changed: true, left: Some(left) }))
    }

    /// The writes that move a state. The home that it leaves becomes due, because an attempt after a crash can't know it, or the shard that it
    /// left, any more.
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
        if *left == mapping.home && stored.shard == mapping.shard() {
            writes.push(put_state(workspace, left, state, version, Condition::Version(stored.version))?);
        } else {
            // A new link changes the shard within a home: that is a move like any other.
            writes.push(Write::Delete(state_key(workspace, left, stored.shard, &id), Condition::Version(stored.version)));
            writes.push(put_state(workspace, &mapping.home, state, version, Condition::Absent)?);
            if !active(Mutant::MoveWithoutDue) {
                writes.push(put_due(workspace, left, self.now(), 0)?);
            }
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
        self.place_identity(&work.workspace, mapping, &state.facts.said, model, self.now()).await
    }

    /// As [`Self::place`], for any identity.
    pub(crate) async fn place_identity(
        &self,
        workspace: &domain::WorkspaceId,
        mapping: &IdentityMapping,
        own: &Evidence,
        model: &Arc<Model>,
        now: Timestamp,
    ) -> Result<(Home, Resolution), StageError> {
        let id = mapping.identity.id();
        if let Some(manual) = &mapping.manual {
            let home = manual.account.clone().map_or_else(|| unresolved_home(id, own), Home::Account);
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
        let said = mapping.said(own);
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
