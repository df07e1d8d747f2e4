//! Links between identities: an anonymous id belongs to the user id whose earliest event names both.

use crate::{
    Place, Resolver, Touched, Work,
    fold::{Folded, resolved},
};
use domain::{
    Home, Identity, IdentityId, IdentityKind, Order, Shards, WorkspaceId, facts::Evidence, model::Model, resolution::Method,
    state::IdentityState,
};
use pipeline::{
    AccountTouched, Clock, Condition, Consistency, Queue, StageError, Store, StoreError, Write,
    homes::{put_record, put_state},
    records::{IdentityMapping, Link, identity_key},
};
use std::{collections::BTreeMap, sync::Arc};

/// Anonymous ids that a user's mapping notes. A client that makes a new one for every call would fill the mapping otherwise: beyond this, one
/// that never did anything alone is not worth a state.
const NAMED: usize = 200;

/// How often a link is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 12;

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Resolver<S, Q, C> {
    /// What follows from folded parcels. Each step is harmless to do again, and is done again when a message comes again.
    pub(crate) async fn follow_up(&self, work: &Work, model: &Arc<Model>, folded: Folded, touched: &mut Touched) -> Result<(), StageError> {
        self.merge_own_fields(work, model, touched).await?;
        let mapping = &folded.mapping.record;
        if work.identity.kind == IdentityKind::User {
            return self.follow_user(work, model, &folded, touched).await;
        }
        if !folded.news {
            return Ok(());
        }
        let said = &folded.state.facts.said;
        // One person's decision about one lead says nothing about everybody who shares the lead's domain.
        if mapping.manual.is_none() {
            self.adopt(&work.workspace, &mapping.home, said, model, touched).await?;
        }
        if let Some(link) = &mapping.link {
            self.retrying(|| self.try_tell_user(&work.workspace, link.user, work.identity.id(), said)).await?;
            self.place_again(&work.workspace, link.user, model, touched).await?;
        }
        Ok(())
    }

    /// Links the anonymous ids that a user's events name, and lets those follow that still have to.
    async fn follow_user(&self, work: &Work, model: &Arc<Model>, folded: &Folded, touched: &mut Touched) -> Result<(), StageError> {
        let mapping = &folded.mapping.record;
        let news = named_together(work, mapping);
        if news.is_empty() && mapping.follow.is_empty() && mapping.unseated.is_empty() && !folded.news {
            return Ok(());
        }
        let user = work.identity.id();
        for (id, (anonymous, order)) in &news {
            let link = Link { user, order: *order };
            touched.add_all(self.retrying(|| self.try_link(&work.workspace, anonymous, *id, &link, model)).await?);
        }
        self.place_again(&work.workspace, user, model, touched).await?;
        // Who lost an anonymous id to this user may belong elsewhere without it.
        let unseated =
            self.homes.mapping(&work.workspace, &user, Consistency::Strong).await?.map(|known| known.record.unseated).unwrap_or_default();
        for loser in &unseated {
            self.place_again(&work.workspace, *loser, model, touched).await?;
        }
        if unseated.is_empty() { Ok(()) } else { self.note_done(&work.workspace, user, &mapping.home, &[], &unseated).await }
    }

    /// Places a user again, takes along its anonymous ids, and lets the account adopt the company's domain.
    async fn place_again(
        &self,
        workspace: &WorkspaceId,
        user: IdentityId,
        model: &Arc<Model>,
        touched: &mut Touched,
    ) -> Result<(), StageError> {
        touched.add_all(self.retrying(|| self.try_place_again(workspace, user, model)).await?);
        let Some(mapping) = self.homes.mapping(workspace, &user, Consistency::Strong).await? else {
            return Ok(());
        };
        for id in &mapping.record.follow {
            touched.add_all(self.retrying(|| self.try_follow(workspace, *id, user)).await?);
        }
        if !mapping.record.follow.is_empty() {
            self.note_done(workspace, user, &mapping.record.home, &mapping.record.follow, &[]).await?;
        }
        if mapping.record.manual.is_none()
            && let Some(stored) = self.homes.state(workspace, &mapping.record).await?
        {
            self.adopt(workspace, &mapping.record.home, &stored.state.facts.said, model, touched).await?;
        }
        Ok(())
    }

    async fn retrying<F, T>(&self, mut step: impl FnMut() -> F) -> Result<T, StageError>
    where
        F: Future<Output = Result<T, StageError>>,
    {
        for _ in 0..ATTEMPTS {
            match step().await {
                Err(e) if e.is_conflict() => {}
                other => return other,
            }
        }
        Err(StageError::retry("a link was changed by others at every attempt"))
    }

    /// Links an anonymous id to a user id unless an earlier event links it elsewhere. Answers the homes that changed. The user's
    /// mapping is written in the same transaction, so that a user who moves meanwhile takes the anonymous id along.
    async fn try_link(
        &self,
        workspace: &WorkspaceId,
        anonymous: &Identity,
        id: IdentityId,
        link: &Link,
        model: &Arc<Model>,
    ) -> Result<Vec<Place>, StageError> {
        let Some(mut user) = self.homes.mapping(workspace, &link.user, Consistency::Strong).await? else {
            return Err(StageError::retry("the user's mapping is gone"));
        };
        let home = user.record.home.clone();
        // Its anonymous ids lie in the user's shard.
        let shards = Shards::only(user.record.shard());
        if user.record.named.get(&id).is_some_and(|noted| *noted <= link.order) {
            return Ok(vec![(home, shards)]);
        }
        let full = user.record.named.len() >= NAMED && !user.record.named.contains_key(&id);
        if !full {
            user.record.named.insert(id, link.order);
        }
        let (user_key, user_version) = (identity_key(workspace, &link.user), user.version);
        let Some(known) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else {
            if full {
                return Ok(Vec::new());
            }
            let mut state = IdentityState::new(anonymous.clone(), &model.matcher);
            state.link = Some(link.user);
            let mapping = IdentityMapping {
                identity: anonymous.clone(),
                home: home.clone(),
                resolution: resolved(Method::Link),
                manual: None,
                link: Some(link.clone()),
                named: BTreeMap::new(),
                inherited: BTreeMap::new(),
                unseated: Vec::new(),
                follow: Vec::new(),
            };
            let writes = vec![
                put_record(user_key, user_version, &user.record)?,
                put_record(identity_key(workspace, &id), 0, &mapping)?,
                put_state(workspace, &home, &state, 1, Condition::Absent)?,
            ];
            self.homes.store().transact(writes).await?;
            return Ok(vec![(home, shards)]);
        };
        if known.record.link.as_ref().is_some_and(|earlier| (earlier.order, earlier.user) <= (link.order, link.user)) {
            if !full {
                self.homes.store().write(put_record(user_key, user_version, &user.record)?).await?;
            }
            return Ok(Vec::new());
        }
        let left = known.record.home.clone();
        let Some(stored) = self.homes.state(workspace, &known.record).await? else {
            return Err(StoreError::Conflict { key: Box::new(identity_key(workspace, &id)) }.into());
        };
        let mut state = stored.state.clone();
        state.link = Some(link.user);
        let mut mapping = known.record;
        let earlier_user = mapping.link.as_ref().map(|earlier| earlier.user);
        mapping.link = Some(link.clone());
        if mapping.manual.is_none() {
            mapping.home = home.clone();
            mapping.resolution = resolved(Method::Link);
        }
        inherit(&mut user.record, id, &stored.state.facts.said);
        let mut writes = self.move_writes(workspace, &left, &stored, &state, known.version, &mapping)?;
        if let Some(loser) = earlier_user.filter(|loser| *loser != link.user) {
            user.record.unseated.push(loser);
            if let Some(mut loser) = self.homes.mapping(workspace, &loser, Consistency::Strong).await? {
                loser.record.inherited.remove(&id);
                writes.push(put_record(identity_key(workspace, &loser.record.identity.id()), loser.version, &loser.record)?);
            }
        }
        writes.push(put_record(user_key, user_version, &user.record)?);
        self.homes.store().transact(writes).await?;
        Ok(vec![(left, Shards::only(stored.shard)), (mapping.home, shards)])
    }

    /// An anonymous id said something new about where its user belongs: the user is told, and placed again.
    async fn try_tell_user(&self, workspace: &WorkspaceId, user: IdentityId, id: IdentityId, said: &Evidence) -> Result<(), StageError> {
        let Some(mut known) = self.homes.mapping(workspace, &user, Consistency::Strong).await? else {
            return Ok(());
        };
        if inherit(&mut known.record, id, said) {
            self.homes.store().write(put_record(identity_key(workspace, &user), known.version, &known.record)?).await?;
        }
        Ok(())
    }

    /// Puts a user where everything that is known of the person says, and the user's anonymous ids after it. Answers the homes that changed.
    async fn try_place_again(&self, workspace: &WorkspaceId, user: IdentityId, model: &Arc<Model>) -> Result<Vec<Place>, StageError> {
        let Some(known) = self.homes.mapping(workspace, &user, Consistency::Strong).await? else {
            return Ok(Vec::new());
        };
        let left = known.record.home.clone();
        let Some(stored) = self.homes.state(workspace, &known.record).await? else {
            return Err(StoreError::Conflict { key: Box::new(identity_key(workspace, &user)) }.into());
        };
        let (home, resolution) = self.place_identity(workspace, &known.record, &stored.state.facts.said, model, self.now()).await?;
        let shards = Shards::only(stored.shard);
        if home == left {
            return Ok(vec![(left, shards)]);
        }
        let mut mapping = known.record;
        (mapping.home, mapping.resolution) = (home, resolution);
        mapping.follow = mapping.named.keys().copied().collect();
        let writes = self.move_writes(workspace, &left, &stored, &stored.state, known.version, &mapping)?;
        self.homes.store().transact(writes).await?;
        Ok(vec![(left, shards), (mapping.home, shards)])
    }

    /// Moves an anonymous id after its user. Answers the homes that changed.
    async fn try_follow(&self, workspace: &WorkspaceId, id: IdentityId, user: IdentityId) -> Result<Vec<Place>, StageError> {
        let Some(leader) = self.homes.mapping(workspace, &user, Consistency::Strong).await? else {
            return Ok(Vec::new());
        };
        let Some(known) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else {
            return Ok(Vec::new());
        };
        let ours = known.record.link.as_ref().is_some_and(|link| link.user == user);
        if !ours || known.record.manual.is_some() || known.record.home == leader.record.home {
            return Ok(Vec::new());
        }
        let left = known.record.home.clone();
        let Some(stored) = self.homes.state(workspace, &known.record).await? else {
            return Err(StoreError::Conflict { key: Box::new(identity_key(workspace, &id)) }.into());
        };
        let mut mapping = known.record;
        mapping.home = leader.record.home;
        mapping.resolution = resolved(Method::Link);
        let mut writes = self.move_writes(workspace, &left, &stored, &stored.state, known.version, &mapping)?;
        // A user who is moved meanwhile, by a person say, must not be followed to where it was.
        writes.push(Write::Check(identity_key(workspace, &user), Condition::Version(leader.version)));
        self.homes.store().transact(writes).await?;
        let shards = Shards::only(stored.shard);
        Ok(vec![(left, shards), (mapping.home, shards)])
    }

    /// Notes in the user's mapping who has followed and who was placed again, so that they are not looked at again.
    async fn note_done(
        &self,
        workspace: &WorkspaceId,
        id: IdentityId,
        home: &Home,
        followed: &[IdentityId],
        placed: &[IdentityId],
    ) -> Result<(), StageError> {
        self.retrying(|| async {
            let Some(mut user) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else {
                return Err(StageError::retry("the user's mapping is gone"));
            };
            // Who moved again since then has to be followed there.
            if user.record.home == *home {
                user.record.follow.retain(|waiting| !followed.contains(waiting));
            }
            user.record.unseated.retain(|waiting| !placed.contains(waiting));
            let write = put_record(identity_key(workspace, &id), user.version, &user.record)?;
            Ok(self.homes.store().write(write).await?)
        })
        .await
    }
}

/// Takes what an anonymous id says about where its user belongs into the user's mapping. Tells whether that is news.
fn inherit(user: &mut IdentityMapping, anonymous: IdentityId, said: &Evidence) -> bool {
    *said != Evidence::default() && user.inherited.entry(anonymous).or_default().merge(said)
}

/// The anonymous ids that the parcels name together with the user, with their earliest event, unless an event as early is noted.
fn named_together(work: &Work, mapping: &IdentityMapping) -> BTreeMap<IdentityId, (Identity, Order)> {
    let mut news: BTreeMap<IdentityId, (Identity, Order)> = BTreeMap::new();
    for event in work.parcels.values().flatten() {
        // `alias` says that its previous id is this user; that is a link like any other.
        for value in [event.anonymous_id.as_deref(), event.previous_id.as_deref()].into_iter().flatten() {
            let anonymous = Identity::anonymous(value);
            if anonymous.value.is_empty() || anonymous.value == work.identity.value {
                continue;
            }
            let (id, order) = (anonymous.id(), event.order());
            if mapping.named.get(&id).is_some_and(|known| *known <= order) {
                continue;
            }
            let entry = news.entry(id).or_insert_with(|| (anonymous, order));
            entry.1 = entry.1.min(order);
        }
    }
    news
}
