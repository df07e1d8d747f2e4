//! A person's decision where a lead belongs: made, kept against everything automatic, and undone.
//!
//! Each identity of the lead is moved by one transaction: its state is deleted at the old home on its version and put at the new one, its
//! mapping is changed on its version, and both homes become due. An identity that somebody else moved meanwhile is read again. A user's
//! mapping names the anonymous ids that have yet to follow, so a request that failed half-way is simply sent again.

use crate::{
    ATTEMPTS, Api, Ports,
    auth::{Caller, Named},
    body::{Json as Body, Object, clean},
    lead::{LeadDetail, lead_with},
    problem::Problem,
    query,
};
use axum::{Json, extract::State};
use domain::{
    AccountId, Home, IdentityId, IdentityKind, Timestamp, WorkspaceId,
    facts::Evidence,
    model::Model,
    resolution::{Claim, Method, Resolution, claims, unresolved_home},
};
use http::Uri;
use pipeline::{
    Condition, Consistency, Store, StoreError, Write,
    homes::{put_due, put_record, put_state},
    records::{AccountOrigin, IdentityMapping, ManualLink, identity_key, state_key},
};
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};
use utoipa::ToSchema;

/// Where a lead belongs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"account_id": "acct_4711"}))]
pub(crate) struct LeadLink {
    /// The account, which is made when it is not there; null holds the lead out of every account.
    #[schema(required)]
    account_id: Option<String>,
}

/// What is decided about a lead.
#[derive(Debug, Clone)]
enum Decision {
    /// It belongs to this account.
    To(AccountId),
    /// It belongs to no account.
    Nowhere,
    /// What was decided is undone: it belongs where its own facts say.
    Undone,
}

/// Where an identity is to be, and why.
struct Target {
    home: Home,
    resolution: Resolution,
    manual: Option<ManualLink>,
}

const fn resolved(method: Method) -> Resolution {
    Resolution { method, confidence: method.confidence(), candidates: Vec::new() }
}

impl<P: Ports> Api<P> {
    /// Decides about every identity of a lead, user ids first, so that linked anonymous ids find them where they belong.
    async fn decide(&self, workspace: &WorkspaceId, named: &str, decision: &Decision) -> Result<LeadDetail, Problem> {
        let found = self.lead_named(workspace, named).await?;
        let identities: Vec<IdentityId> =
            lead_with(&found.whole.gathered, found.id).map(|lead| lead.identities.iter().map(|(id, _)| *id).collect()).unwrap_or_default();
        if let Decision::To(account) = decision {
            self.homes.ensure_account(workspace, account, AccountOrigin::Id, Vec::new(), self.now()).await?;
        }
        let mut touched = BTreeSet::new();
        for id in &identities {
            self.decide_identity(workspace, *id, decision, &found.whole.model, &mut touched).await?;
        }
        for user in &identities {
            self.decide_followers(workspace, *user, decision, &found.whole.model, &mut touched).await?;
        }
        self.touch(workspace, touched).await;
        let found = self.lead_named(workspace, named).await?;
        self.lead_detail(workspace, &found).await
    }

    /// Anonymous ids that a user left behind: an attempt that failed half-way moved the user alone, or they were linked meanwhile.
    async fn decide_followers(
        &self,
        workspace: &WorkspaceId,
        user: IdentityId,
        decision: &Decision,
        model: &Model,
        touched: &mut BTreeSet<Home>,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            let Some(mut mapping) = self.homes.mapping(workspace, &user, Consistency::Strong).await? else { return Ok(()) };
            if mapping.record.follow.is_empty() {
                return Ok(());
            }
            let mut waiting = Vec::new();
            for id in &mapping.record.follow {
                let linked = self.homes.mapping(workspace, id, Consistency::Strong).await?;
                let ours = linked.is_some_and(|known| known.record.link.is_some_and(|link| link.user == user));
                if ours {
                    self.decide_identity(workspace, *id, decision, model, touched).await?;
                    let moved = self.homes.mapping(workspace, id, Consistency::Strong).await?;
                    if moved.is_some_and(|moved| moved.record.home != mapping.record.home) {
                        waiting.push(*id);
                    }
                }
            }
            mapping.record.follow = waiting;
            let done = mapping.record.follow.is_empty();
            match self.store.write(put_record(identity_key(workspace, &user), mapping.version, &mapping.record)?).await {
                Ok(()) if done => return Ok(()),
                Ok(()) => {}
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::busy())
    }

    async fn decide_identity(
        &self,
        workspace: &WorkspaceId,
        id: IdentityId,
        decision: &Decision,
        model: &Model,
        touched: &mut BTreeSet<Home>,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            match self.try_decide(workspace, id, decision, model, touched).await {
                Ok(true) => return Ok(()),
                // It was moved between two reads.
                Ok(false) => {}
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::busy())
    }

    async fn try_decide(
        &self,
        workspace: &WorkspaceId,
        id: IdentityId,
        decision: &Decision,
        model: &Model,
        touched: &mut BTreeSet<Home>,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let Some(mapping) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else { return Ok(true) };
        let left = mapping.record.home.clone();
        let Some(stored) = self.homes.state(workspace, &mapping.record).await? else { return Ok(false) };
        let target = self.target(workspace, &mapping.record, &stored.state.facts.said, decision, model, now).await?;
        touched.insert(left.clone());
        touched.insert(target.home.clone());
        let decided = |manual: &Option<ManualLink>| manual.as_ref().map(|manual| manual.account.clone());
        if left == target.home
            && decided(&mapping.record.manual) == decided(&target.manual)
            && mapping.record.resolution == target.resolution
        {
            return Ok(true);
        }
        let mut record =
            IdentityMapping { home: target.home.clone(), resolution: target.resolution, manual: target.manual, ..mapping.record };
        if left != target.home {
            // Should this request end before it has come to them, the user's next event takes the anonymous ids along.
            record.follow = record.named.keys().copied().collect();
        }
        let mut writes =
            vec![put_record(identity_key(workspace, &id), mapping.version, &record)?, put_due(workspace, &target.home, now, 0)?];
        if left == target.home {
            writes.push(Write::Check(state_key(workspace, &left, stored.shard, &id), Condition::Version(stored.version)));
        } else {
            let version = stored.version.saturating_add(1);
            writes.push(Write::Delete(state_key(workspace, &left, stored.shard, &id), Condition::Version(stored.version)));
            writes.push(put_state(workspace, &target.home, &stored.state, version, Condition::Absent)?);
            writes.push(put_due(workspace, &left, now, 0)?);
        }
        self.store.transact(writes).await?;
        Ok(true)
    }

    async fn target(
        &self,
        workspace: &WorkspaceId,
        mapping: &IdentityMapping,
        own: &Evidence,
        decision: &Decision,
        model: &Model,
        now: Timestamp,
    ) -> Result<Target, StoreError> {
        let id = mapping.identity.id();
        let manual = |account: Option<AccountId>| Some(ManualLink { account, at: now });
        match decision {
            Decision::To(account) => {
                let root = self.homes.root(workspace, account, Consistency::Strong).await?;
                Ok(Target { home: Home::Account(root.clone()), resolution: resolved(Method::Manual), manual: manual(Some(root)) })
            }
            // A linked anonymous id follows its user; a decision of its own would part them.
            Decision::Nowhere if mapping.link.is_none() => {
                Ok(Target { home: unresolved_home(id, own), resolution: resolved(Method::Manual), manual: manual(None) })
            }
            // Nobody decided about this one.
            Decision::Undone if mapping.manual.is_none() && mapping.link.is_none() => {
                Ok(Target { home: mapping.home.clone(), resolution: mapping.resolution.clone(), manual: None })
            }
            Decision::Nowhere | Decision::Undone => {
                let (home, method) = self.place(workspace, mapping, own, model).await?;
                Ok(Target { home, resolution: resolved(method), manual: None })
            }
        }
    }

    /// Where an identity belongs by itself: with its user, else where its first claim leads, else to no account. The same rules by which
    /// events are resolved.
    async fn place(
        &self,
        workspace: &WorkspaceId,
        mapping: &IdentityMapping,
        own: &Evidence,
        model: &Model,
    ) -> Result<(Home, Method), StoreError> {
        let id = mapping.identity.id();
        if let Some(link) = mapping.link.as_ref().filter(|_| mapping.identity.kind == IdentityKind::Anonymous)
            && let Some(user) = self.homes.mapping(workspace, &link.user, Consistency::Strong).await?
        {
            return Ok((user.record.home, Method::Link));
        }
        let said = mapping.said(own);
        for claim in claims(&said, model) {
            let found = match claim {
                Claim::Account(method, account) => {
                    self.homes.ensure_account(workspace, &account, AccountOrigin::Id, Vec::new(), self.now()).await?;
                    Some((account, method))
                }
                Claim::External(kind, external) => {
                    self.homes.external(workspace, &kind, &external).await?.map(|found| (found.record, Method::ExternalId))
                }
                Claim::Domain(method, domain) => Some((self.homes.domain_owner(workspace, &domain, self.now()).await?, method)),
            };
            if let Some((account, method)) = found {
                let root = self.homes.root(workspace, &account, Consistency::Strong).await?;
                return Ok((Home::Account(root), method));
            }
        }
        Ok((unresolved_home(id, &said), Method::Unresolved))
    }
}

fn read_link(body: &serde_json::Value) -> Result<Decision, Problem> {
    let mut object = Object::of(body, &["account_id"])?;
    let account = match object.value("account_id") {
        Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => match clean(text, 256).as_deref().map(AccountId::new) {
            Some(Ok(account)) => Some(account),
            Some(Err(error)) => {
                object.fault("/account_id", error.to_string());
                None
            }
            None => {
                object.fault("/account_id", "must be the text of an account id, 1 to 256 bytes, or null");
                None
            }
        },
        Some(_) => {
            object.fault("/account_id", "must be the text of an account id, or null");
            None
        }
        None => {
            object.fault("/account_id", "is required: an account id, or null for no account");
            None
        }
    };
    object.finish(account.map_or(Decision::Nowhere, Decision::To))
}

/// Link a lead to an account
///
/// A person's decision about all identities of the lead. It wins over everything automatic until it is undone with
/// `DELETE /api/v1/leads/{id}/account`. An account that is not there is made.
#[utoipa::path(put, path = "/api/v1/leads/{id}", operation_id = "linkLead", tag = "Leads",
    params(("id" = String, Path, description = "`ld_…`, `user:<userId>` or `anonymous:<anonymousId>`")),
    request_body(content = LeadLink, content_type = "application/json"),
    responses((status = 200, description = "The lead where it is now", body = LeadDetail)))]
pub(crate) async fn put<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Json<LeadDetail>, Problem> {
    query::none(&uri)?;
    let decision = read_link(&body)?;
    api.decide(&workspace, &id, &decision).await.map(Json)
}

/// Undo a lead's manual link
///
/// The lead goes where its own events say: to the account that they name, else to that of its e-mail domain, else to none.
#[utoipa::path(delete, path = "/api/v1/leads/{id}/account", operation_id = "unlinkLead", tag = "Leads",
    params(("id" = String, Path, description = "`ld_…`, `user:<userId>` or `anonymous:<anonymousId>`")),
    responses((status = 200, description = "The lead where it is now", body = LeadDetail)))]
pub(crate) async fn undo<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<LeadDetail>, Problem> {
    query::none(&uri)?;
    api.decide(&workspace, &id, &Decision::Undone).await.map(Json)
}
