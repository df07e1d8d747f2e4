//! Lists of leads: those of one account, those without an account, and those of all accounts.

use crate::{
    Api, Ports,
    account::Whole,
    accounts::level_filter,
    auth::{Caller, Named},
    cursor::Listing,
    listing::{SortBy, SortOrder, Sorting},
    problem::Problem,
    query::Parameters,
    view::{Page, Under, level_name, moment},
};
use axum::{Json, extract::State};
use domain::{
    AccountId, Home, IdentityId, WorkspaceId, evaluate::Evaluation, facts::Trait, lead::Lead, resolution::Method, trigger::LevelOf,
};
use futures::{StreamExt, TryStreamExt, stream};
use http::Uri;
use pipeline::{
    Consistency, Key, Store,
    records::{IdentityMapping, from_item, identity_key},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// How many homes are read at once.
const CONCURRENCY: usize = 16;
/// How many accounts one page of all leads looks into, so that many empty ones can't make it read everything.
const ACCOUNTS_A_PAGE: usize = 200;

/// A lead: a person, known by one or several identities.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeadItem {
    /// Its id: that of the identity that founded it. The ids of its other identities name it, too.
    #[schema(example = "ld_5c1f0f1bb3a64d8c5a3b6f7ea0f6b1d2")]
    pub lead_id: String,
    /// Its account; null for an unresolved lead.
    #[schema(required, example = "acct_4711")]
    pub account_id: Option<String>,
    /// E-mail address.
    #[schema(required, example = "ann.weaver@northwind-looms.example")]
    pub email: Option<String>,
    /// Name.
    #[schema(required, example = "Ann Weaver")]
    pub name: Option<String>,
    /// Job title.
    #[schema(required, example = "Head of Operations")]
    pub title: Option<String>,
    /// Department.
    #[schema(required, example = "Operations")]
    pub department: Option<String>,
    /// Engagement, in points, as of today.
    #[schema(example = 50)]
    pub score: i64,
    /// The lead level's name.
    #[schema(required, example = "Hot")]
    pub level: Option<String>,
    /// The lead level's id.
    #[schema(required, example = "hot")]
    pub level_id: Option<String>,
    /// Distinct events.
    pub events: u64,
    /// Distinct sessions.
    pub sessions: usize,
    /// Its earliest event, RFC 3339.
    #[schema(required)]
    pub first_seen_at: Option<String>,
    /// Its latest event, RFC 3339.
    #[schema(required)]
    pub last_seen_at: Option<String>,
    /// The aliases under which it is known, the founder first.
    pub identities: Vec<IdentityView>,
    /// Why it belongs where it is.
    #[schema(required)]
    pub resolution: Option<ResolutionView>,
}

/// An alias that events carry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdentityView {
    /// `user`, `anonymous` or `account`.
    pub kind: &'static str,
    /// The alias as the client wrote it.
    pub value: String,
    /// It names the lead, too.
    pub lead_id: String,
}

/// How a lead came to its account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolutionView {
    /// `manual`, `account_id`, `group_id`, `external_id`, `profile_mapping`, `email_domain`, `website`, `link` or `unresolved`.
    #[schema(value_type = String, example = "email_domain")]
    pub method: Method,
    /// How sure that is, in percent.
    #[schema(example = 80)]
    pub confidence: u8,
    /// When a person decided it, RFC 3339; such a decision stands until it is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
}

impl LeadItem {
    /// A lead of a home that was read.
    pub(crate) fn new(whole: &Whole, lead: &Lead<'_>, score: i64, mapping: Option<&IdentityMapping>) -> Self {
        let (document, under) = (&whole.model.document, Under::of(whole.standing.as_ref()));
        let ruleset = whole.standing.as_ref().and_then(|standing| standing.lead_level_ruleset.as_deref());
        let text = |which| lead.stated(which).map(str::to_owned);
        // Only levels above the lowest are recorded.
        let lowest = document.levels_by_id(LevelOf::Lead, ruleset).lowest().map(|level| level.id.as_str());
        let level = whole.lead_levels.levels.get(&lead.id).map(|(level, _)| level.as_str()).or(lowest);
        let identities = lead.identities.iter().map(|(id, state)| IdentityView {
            kind: state.identity.kind.as_str(),
            value: state.identity.value.clone(),
            lead_id: format!("ld_{id}"),
        });
        Self {
            lead_id: format!("ld_{}", lead.id),
            account_id: whole.home.account().map(ToString::to_string),
            email: text(Trait::Email),
            name: lead.name(),
            title: text(Trait::Title),
            department: text(Trait::Department),
            score,
            level: level_name(document, LevelOf::Lead, under, level),
            level_id: level.map(str::to_owned),
            events: lead.events(),
            sessions: lead.sessions(),
            first_seen_at: moment(lead.first_seen()),
            last_seen_at: moment(lead.last_seen()),
            identities: identities.collect(),
            resolution: mapping.map(|mapping| ResolutionView {
                method: mapping.resolution.method,
                confidence: mapping.resolution.confidence,
                decided_at: mapping.manual.as_ref().map(|manual| manual.at.to_string()),
            }),
        }
    }
}

/// Where a lead stands among those of its account: its exact points, then its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LeadKey {
    m: i64,
    l: IdentityId,
}

impl<P: Ports> Api<P> {
    /// The mappings of some identities.
    pub(crate) async fn mappings(
        &self,
        workspace: &WorkspaceId,
        ids: &[IdentityId],
    ) -> Result<BTreeMap<IdentityId, IdentityMapping>, Problem> {
        let keys: Vec<Key> = ids.iter().map(|id| identity_key(workspace, id)).collect();
        let mut mappings = BTreeMap::new();
        for item in self.store.read_many(&keys, Consistency::Eventual).await? {
            let mapping: IdentityMapping = from_item(&item)?;
            mappings.insert(mapping.identity.id(), mapping);
        }
        Ok(mappings)
    }

    /// The people of a home that was read, best first, from behind a key.
    async fn people(
        &self,
        workspace: &WorkspaceId,
        whole: &Whole,
        after: Option<LeadKey>,
        limit: usize,
    ) -> Result<Vec<(LeadKey, LeadItem)>, Problem> {
        let found: Vec<(LeadKey, i64, Lead<'_>)> = {
            let evaluation = Evaluation::new(&whole.model, whole.gathered.inputs(), self.now().day());
            let leads: BTreeMap<IdentityId, &Lead<'_>> = evaluation.leads.iter().map(|lead| (lead.id, lead)).collect();
            let scores = evaluation.engagement.leads.iter().filter(|points| !points.is_account);
            scores
                .map(|points| (LeadKey { m: points.milli, l: points.lead }, points.shown()))
                .filter(|(key, _)| after.is_none_or(|after| (after.m, key.l) > (key.m, after.l)))
                .take(limit)
                .filter_map(|(key, score)| Some((key, score, (*leads.get(&key.l)?).clone())))
                .collect()
        };
        let ids: Vec<IdentityId> = found.iter().map(|(key, _, _)| key.l).collect();
        let mappings = self.mappings(workspace, &ids).await?;
        Ok(found.into_iter().map(|(key, score, lead)| (key, LeadItem::new(whole, &lead, score, mappings.get(&key.l)))).collect())
    }

    async fn unresolved(&self, workspace: &WorkspaceId, mut query: Parameters) -> Result<Page<LeadItem>, Problem> {
        const SORTS: [(&str, SortBy); 3] = [("score", SortBy::Engagement), ("activity", SortBy::Activity), ("name", SortBy::Name)];
        let model = self.models.current(workspace).await?;
        let rules = &model.document.lead_levels;
        let search = query.text("search", 256).map(|text| text.to_lowercase());
        let level = level_filter(&mut query, "level", &model.document, LevelOf::Lead);
        let by = query.word("sort", &SORTS).unwrap_or(SortBy::Engagement);
        let order = query.word("order", &SortOrder::WORDS).unwrap_or(by.usual_order());
        let (limit, cursor) = (query.limit(), query.cursor());
        query.finish()?;

        let direction = if order == SortOrder::Ascending { "asc" } else { "desc" };
        let listing = Listing::new("unresolved", workspace, &[search.as_deref(), level, Some(by.as_str()), Some(direction)]);
        let after = listing.read(cursor.as_deref())?;
        let rows = self.board.leads(workspace).await?;
        let sorting = Sorting::new(by, order, &model.document);
        let lowest = rules.levels.first().map(|level| level.id.as_str());
        let (page, more) = sorting.page(&rows, after.as_ref(), limit, |row| {
            level.is_none_or(|level| row.hottest.as_deref().or(lowest) == Some(level))
                && search.as_deref().is_none_or(|search| row.mentions(search))
        });
        let next_cursor = page.last().filter(|_| more).and_then(|last| listing.after(&sorting.key(last)));
        let data: Vec<Vec<LeadItem>> = stream::iter(page)
            .map(|row| async move {
                let whole = self.whole(workspace, row.home.clone()).await?;
                // A home keeps identities with one e-mail address together, so this is one lead.
                let people = self.people(workspace, &whole, None, usize::MAX).await?;
                Ok::<_, Problem>(people.into_iter().map(|(_, item)| item).collect())
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(Page { data: data.into_iter().flatten().collect(), next_cursor })
    }

    /// All leads that have an account, by account and there best first.
    async fn resolved(&self, workspace: &WorkspaceId, mut query: Parameters) -> Result<Page<LeadItem>, Problem> {
        let (limit, cursor) = (query.limit(), query.cursor());
        query.finish()?;
        let listing = Listing::new("resolved", workspace, &[]);
        let begin: Option<(AccountId, Option<LeadKey>)> = listing.read(cursor.as_deref())?;
        let rows = self.board.accounts(workspace).await?;
        let (mut at, mut within) = match begin {
            Some((account, key)) => (Some(Home::Account(account)), key),
            None => (None, None),
        };
        let mut data = Vec::new();
        // The account in which the last page ended comes first, if it was not at its end.
        let unfinished = at.as_ref().filter(|_| within.is_some()).and_then(|home| rows.find(home)).cloned();
        let next = rows.after(at.as_ref()).iter().filter(|row| row.total_leads > 0).cloned();
        for (n, row) in unfinished.into_iter().chain(next).enumerate() {
            if data.len() == limit || n == ACCOUNTS_A_PAGE {
                let place = at.as_ref().and_then(Home::account).map(|account| (account.clone(), within));
                return Ok(Page { data, next_cursor: place.and_then(|place| listing.after(&place)) });
            }
            let room = limit - data.len();
            let whole = self.whole(workspace, row.home.clone()).await?;
            let mut people = self.people(workspace, &whole, within.take(), room.saturating_add(1)).await?;
            at = Some(row.home.clone());
            if people.len() > room {
                people.truncate(room);
                within = people.last().map(|(key, _)| *key);
            }
            data.extend(people.into_iter().map(|(_, item)| item));
            if within.is_some() {
                let place = row.home.account().map(|account| (account.clone(), within));
                return Ok(Page { data, next_cursor: place.and_then(|place| listing.after(&place)) });
            }
        }
        Ok(Page { data, next_cursor: None })
    }
}

/// List an account's leads
///
/// Best first. Scores are as of today.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/leads", operation_id = "listAccountLeads", tag = "Accounts",
    params(
        ("id" = String, Path, description = "The account's id, or one of its domains"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses((status = 200, description = "One page of leads", body = Page<LeadItem>)))]
pub(crate) async fn of_account<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<Page<LeadItem>>, Problem> {
    let mut query = Parameters::of(&uri);
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;
    let account = api.account_named(&workspace, &id).await?;
    let listing = Listing::new("leads of", &workspace, &[Some(account.as_str())]);
    let after = listing.read(cursor.as_deref())?;
    let whole = api.whole(&workspace, Home::Account(account)).await?;
    let mut people = api.people(&workspace, &whole, after, limit + 1).await?;
    let more = people.len() > limit;
    people.truncate(limit);
    let next_cursor = people.last().filter(|_| more).and_then(|(key, _)| listing.after(key));
    Ok(Json(Page { data: people.into_iter().map(|(_, item)| item).collect(), next_cursor }))
}

/// List leads
///
/// `resolved=false` lists the leads that belong to no account, `resolved=true` those that do, account by account. A page of
/// `resolved=true` may hold fewer leads than asked for; `next_cursor` alone tells the end.
#[utoipa::path(get, path = "/api/v1/leads", operation_id = "listLeads", tag = "Leads",
    params(
        ("resolved" = bool, Query, description = "Whether the leads belong to an account"),
        ("search" = Option<String>, Query, description = "Only with `resolved=false`: part of the name"),
        ("level" = Option<String>, Query, description = "Only with `resolved=false`: lead level, by id or name"),
        ("sort" = Option<String>, Query, description = "Only with `resolved=false`: `score` (the default), `activity` or `name`"),
        ("order" = Option<String>, Query, description = "Only with `resolved=false`: `asc` or `desc`"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of leads", body = Page<LeadItem>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
) -> Result<Json<Page<LeadItem>>, Problem> {
    let mut query = Parameters::of(&uri);
    match query.truth("resolved") {
        Some(true) => api.resolved(&workspace, query).await.map(Json),
        Some(false) => api.unresolved(&workspace, query).await.map(Json),
        None => Err(query.refuse("resolved", "is required: `false` for leads without an account, `true` for those with one")),
    }
}
