//! What a person says of an account: owner, tier, priority, fields, domains, ids in other systems.
//!
//! A change and the due moment that makes score look at it are written in one transaction. The message that follows only makes it faster.

mod read;

use crate::{
    ATTEMPTS, Api, Ports,
    account::AccountDetail,
    auth::{Caller, Named},
    body::{Json as Body, Said, pointer, single},
    problem::{Fault, Problem},
    query,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    AccountId, Home, Order, Timestamp, WorkspaceId,
    field::{FieldFact, FieldName, FieldSource, FieldValue},
    mail::WebDomain,
};
use http::{StatusCode, Uri, header};
use pipeline::{
    Consistency, Store, StoreError, Versioned, Write,
    accounts::new_account,
    homes::{put_due, put_record, unchanged},
    records::{
        ACCOUNT, AccountOrigin, AccountRecord, DomainClaim, OWN_FIELDS, OwnFields, OwnerBy, domain_key, external_key, from_item, home_key,
    },
};
use read::{AccountChange, Change};
use std::{collections::BTreeSet, sync::Arc};

/// The most domains of an account.
const MAX_DOMAINS: usize = 200;

/// What came of one try to write a change.
enum Tried {
    /// It is written; these homes are to be scored.
    Done { created: bool, touched: BTreeSet<Home> },
    /// There is no such account.
    Missing,
}

/// The writes of one change, together.
struct Draft {
    writes: Vec<Write>,
    record: AccountRecord,
    touched: BTreeSet<Home>,
}

impl<P: Ports> Api<P> {
    async fn change(&self, workspace: &WorkspaceId, account: &AccountId, change: &Change, create: bool) -> Result<bool, Problem> {
        for _ in 0..ATTEMPTS {
            match self.try_change(workspace, account, change, create).await {
                Ok(Tried::Done { created, touched }) => {
                    self.touch(workspace, touched).await;
                    return Ok(created);
                }
                Ok(Tried::Missing) => return Err(Problem::not_found("account", account.as_str())),
                Err(Failed::Store(error)) if error.is_conflict() => {}
                Err(Failed::Store(error)) => return Err(error.into()),
                Err(Failed::Problem(problem)) => return Err(problem),
            }
        }
        Err(Problem::busy())
    }

    async fn try_change(&self, workspace: &WorkspaceId, account: &AccountId, change: &Change, create: bool) -> Result<Tried, Failed> {
        let now = self.now();
        let home = Home::Account(account.clone());
        let before = match self.homes.account(workspace, account, Consistency::Strong).await? {
            Some(found) => found,
            None if create => Versioned { version: 0, record: new_account(account, AccountOrigin::Id, Vec::new(), now) },
            None => return Ok(Tried::Missing),
        };
        let mut draft = Draft { writes: Vec::new(), record: before.record.clone(), touched: BTreeSet::new() };
        let said = |text: &Said<String>, known: &mut Option<String>| {
            if let Some(text) = text {
                known.clone_from(text);
            }
        };
        if let Some(owner) = &change.owner {
            // A person's word comes before any rule; that nobody is said leaves it to the rules.
            draft.record.owner_by = owner.as_ref().map(|_| OwnerBy::Manual);
            draft.record.owner.clone_from(owner);
        }
        said(&change.tier, &mut draft.record.tier);
        said(&change.priority, &mut draft.record.priority);
        for (i, domain) in change.domains.iter().enumerate() {
            self.adopt(workspace, domain, &format!("/domains/{i}"), &mut draft, now).await?;
        }
        for (kind, id) in &change.external_ids {
            self.name_elsewhere(workspace, kind, id.as_deref(), &mut draft).await?;
        }
        if !change.fields.is_empty() {
            let own = self.homes.own_fields(workspace, account).await?;
            if let Some(changed) = with_fields(&own.record, &change.fields, now) {
                draft.writes.push(put_record(home_key(workspace, &home, OWN_FIELDS), own.version, &changed)?);
            }
        }
        let created = before.version == 0;
        if draft.record != before.record || created {
            draft.writes.push(put_record(home_key(workspace, &home, ACCOUNT), before.version, &draft.record)?);
        }
        if draft.writes.is_empty() {
            return Ok(Tried::Done { created, touched: BTreeSet::new() });
        }
        draft.touched.insert(home);
        for home in &draft.touched {
            draft.writes.push(put_due(workspace, home, now, 0)?);
        }
        self.store.transact(draft.writes).await?;
        Ok(Tried::Done { created, touched: draft.touched })
    }

    /// Gives a web domain to the account. An account that was made for it automatically is absorbed.
    async fn adopt(&self, workspace: &WorkspaceId, domain: &WebDomain, at: &str, draft: &mut Draft, now: Timestamp) -> Result<(), Failed> {
        let account = draft.record.id.clone();
        if !draft.record.domains.iter().any(|known| known == domain.as_str()) {
            if draft.record.domains.len() >= MAX_DOMAINS {
                let fault = Fault::at(at, format!("an account has at most {MAX_DOMAINS} domains"));
                return Err(Failed::Problem(single(fault)));
            }
            draft.record.domains.push(domain.as_str().to_owned());
        }
        let key = domain_key(workspace, domain.as_str());
        let ours = DomainClaim { account: account.clone(), origin: AccountOrigin::Id, at: now };
        let Some(claim) = self.homes.domain_claim(workspace, domain.as_str(), Consistency::Strong).await? else {
            draft.writes.push(put_record(key, 0, &ours)?);
            return Ok(());
        };
        let owner = self.homes.root(workspace, &claim.record.account, Consistency::Strong).await?;
        if owner == account {
            return Ok(());
        }
        draft.writes.push(put_record(key, claim.version, &ours)?);
        if draft.record.members.contains(&owner) {
            // Another domain of this request has absorbed it.
            return Ok(());
        }
        let absorbed = self.homes.account(workspace, &owner, Consistency::Strong).await?;
        let Some(mut absorbed) = absorbed.filter(|absorbed| absorbed.record.origin == AccountOrigin::Domain) else {
            let fault = Fault::at(at, format!("belongs to the account `{owner}`"));
            return Err(Failed::Problem(Problem::conflict(format!("the domain `{domain}` belongs to another account")).with(fault)));
        };
        absorbed.record.merged_into = Some(account);
        draft.record.members.push(owner.clone());
        let home = Home::Account(owner);
        draft.writes.push(put_record(home_key(workspace, &home, ACCOUNT), absorbed.version, &absorbed.record)?);
        draft.touched.insert(home);
        Ok(())
    }

    /// Notes the account's id in another system, or removes it.
    async fn name_elsewhere(&self, workspace: &WorkspaceId, kind: &str, id: Option<&str>, draft: &mut Draft) -> Result<(), Failed> {
        let before = match id {
            Some(id) => draft.record.external_ids.insert(kind.to_owned(), id.to_owned()),
            None => draft.record.external_ids.remove(kind),
        };
        let stored = async |id: &str| -> Result<Option<Versioned<AccountId>>, StoreError> {
            let item = self.store.read(&external_key(workspace, kind, id), Consistency::Strong).await?;
            item.map(|item| Ok(Versioned { version: item.version, record: from_item(&item)? })).transpose()
        };
        if let Some(before) = before.as_deref().filter(|before| Some(*before) != id)
            && let Some(found) = stored(before).await?.filter(|found| found.record == draft.record.id)
        {
            draft.writes.push(Write::Delete(external_key(workspace, kind, before), unchanged(found.version)));
        }
        let Some(id) = id else { return Ok(()) };
        match stored(id).await? {
            None => draft.writes.push(put_record(external_key(workspace, kind, id), 0, &draft.record.id)?),
            Some(found) if found.record == draft.record.id => {}
            Some(found) => {
                let root = self.homes.root(workspace, &found.record, Consistency::Strong).await?;
                if root != draft.record.id {
                    let fault = Fault::at(pointer("/external_ids", kind), format!("names the account `{root}`"));
                    return Err(Failed::Problem(Problem::conflict(format!("the {kind} id belongs to another account")).with(fault)));
                }
                draft.writes.push(put_record(external_key(workspace, kind, id), found.version, &draft.record.id)?);
            }
        }
        Ok(())
    }

    /// Removes what a person states about a field of the account. Answers whether there was anything.
    async fn try_forget(&self, workspace: &WorkspaceId, account: &AccountId, name: &FieldName) -> Result<bool, Failed> {
        let now = self.now();
        let root = Home::Account(account.clone());
        let gathered = self.homes.gather(workspace, &root, Consistency::Strong).await?;
        let mut writes = Vec::new();
        for partition in gathered.partitions() {
            let mut own = partition.own.record.clone();
            let Some(of) = partition.account.as_ref().map(|of| of.record.id.clone()) else { continue };
            if own.facts.forget(name, FieldSource::Manual) {
                own.fresh = own.fresh.saturating_add(1);
                writes.push(put_record(home_key(workspace, &Home::Account(of), OWN_FIELDS), partition.own.version, &own)?);
            }
        }
        if writes.is_empty() {
            return Ok(false);
        }
        writes.push(put_due(workspace, &root, now, 0)?);
        self.store.transact(writes).await?;
        Ok(true)
    }
}

/// Why a try failed.
enum Failed {
    Store(StoreError),
    Problem(Problem),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The own fields with a person's statements; `None` when they say nothing new.
fn with_fields(own: &OwnFields, fields: &[(FieldName, Option<FieldValue>)], now: Timestamp) -> Option<OwnFields> {
    let mut changed = own.clone();
    let mut any = false;
    for (name, value) in fields {
        let manual = own.facts.facts(name.as_str()).find(|(fact, _)| fact.source == FieldSource::Manual).map(|(fact, _)| fact);
        if manual.is_some_and(|manual| manual.value == *value) {
            continue;
        }
        // What is said last wins, also within a millisecond and when a clock went back.
        let at = manual.map_or(now, |manual| now.max(manual.at.plus_millis(1)));
        changed.state(name, FieldFact::new(value.clone(), Order { at, tie: 0 }, FieldSource::Manual));
        any = true;
    }
    changed.fresh = changed.fresh.saturating_add(1);
    any.then_some(changed)
}

/// Change an account
///
/// Whatever the body does not name stays. Field values are read by their declared types; they are the account's manual statements, which
/// win over every other source. The answer shows the new scores; levels and notifications follow within seconds.
#[utoipa::path(patch, path = "/api/v1/accounts/{id}", operation_id = "changeAccount", tag = "Accounts",
    params(("id" = String, Path, description = "The account's id, or one of its domains")),
    request_body(content = AccountChange, content_type = "application/json"),
    responses((status = 200, description = "The account after the change", body = AccountDetail)))]
pub(crate) async fn patch<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Json<AccountDetail>, Problem> {
    query::none(&uri)?;
    let model = api.models.current(&workspace).await?;
    let change = Change::read(&body, &model)?;
    let account = api.account_named(&workspace, &id).await?;
    api.change(&workspace, &account, &change, false).await?;
    Ok(Json(api.detail(&workspace, &account).await?))
}

/// Make an account, or change it
///
/// As `PATCH`, but an account that is not there is made, under exactly this id.
#[utoipa::path(put, path = "/api/v1/accounts/{id}", operation_id = "putAccount", tag = "Accounts",
    params(("id" = String, Path, description = "The account's id")),
    request_body(content = AccountChange, content_type = "application/json"),
    responses(
        (status = 200, description = "The account after the change", body = AccountDetail),
        (status = 201, description = "The account that was made", body = AccountDetail),
    ))]
pub(crate) async fn put<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.current(&workspace).await?;
    let change = Change::read(&body, &model)?;
    let account = AccountId::new(&id).map_err(|error| single(Fault::at("", format!("the id in the address is none: {error}"))))?;
    let account = api.homes.root(&workspace, &account, Consistency::Strong).await?;
    let created = api.change(&workspace, &account, &change, true).await?;
    let detail = Json(api.detail(&workspace, &account).await?);
    if !created {
        return Ok(detail.into_response());
    }
    let address: String = url::form_urlencoded::byte_serialize(account.as_str().as_bytes()).collect();
    let location = [(header::LOCATION, format!("/api/v1/accounts/{}", address.replace('+', "%20")))];
    Ok((StatusCode::CREATED, location, detail).into_response())
}

/// Undo a person's statement about a field
///
/// The field again has the value that the strongest other source states.
#[utoipa::path(delete, path = "/api/v1/accounts/{id}/fields/{name}", operation_id = "forgetField", tag = "Accounts",
    params(
        ("id" = String, Path, description = "The account's id, or one of its domains"),
        ("name" = String, Path, description = "The field's name", example = "employees"),
    ),
    responses((status = 200, description = "The account after the change", body = AccountDetail)))]
pub(crate) async fn forget<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named((id, name)): Named<(String, String)>,
    uri: Uri,
) -> Result<Json<AccountDetail>, Problem> {
    query::none(&uri)?;
    let account = api.account_named(&workspace, &id).await?;
    let nothing = || Problem::not_found("manual statement about the field", &name);
    let field = FieldName::new(&name).map_err(|_| nothing())?;
    for _ in 0..ATTEMPTS {
        match api.try_forget(&workspace, &account, &field).await {
            Ok(true) => {
                api.touch(&workspace, BTreeSet::from([Home::Account(account.clone())])).await;
                return Ok(Json(api.detail(&workspace, &account).await?));
            }
            Ok(false) => return Err(nothing()),
            Err(Failed::Store(error)) if error.is_conflict() => {}
            Err(Failed::Store(error)) => return Err(error.into()),
            Err(Failed::Problem(problem)) => return Err(problem),
        }
    }
    Err(Problem::busy())
}
