//! One account: everything that is known of it, scored as of today, and why.

use crate::{
    Api, Ports,
    accounts::{AccountItem, values},
    auth::{Caller, Named},
    owner_rules::OwnerByView,
    problem::{Fault, Problem},
    programmes,
    query::{self, Parameters},
    view::{TransitionView, Under, level_name, moment},
};
use axum::{Json, extract::State};
use domain::{
    AccountId, Channel, Day, Home, Timestamp, WorkspaceId,
    evaluate::Evaluation,
    explain::{Explanation, HeldLevels, known},
    field::FieldFacts,
    lead::Lead,
    mail::WebDomain,
    model::Model,
    transition::Transition,
    trigger::LevelOf,
};
use http::Uri;
use pipeline::{
    Consistency, Query, Store, Table,
    homes::Gathered,
    past::{self, Past, PastError},
    records::{AccountOrigin, LeadLevels, Standing, from_item, history_partition},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// How many changes of its history an account shows.
const HISTORY: usize = 50;
/// How many reasons a summary gives.
const REASONS: usize = 3;
/// How many leads an explanation lists one by one.
pub(crate) const EXPLAINED_LEADS: usize = 100;
/// … and at most.
const MOST_EXPLAINED_LEADS: usize = 1_000;

/// Everything that is known of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountDetail {
    /// What lists show; the scores are as of today.
    #[serde(flatten)]
    pub item: AccountItem,
    /// The UTC day for which the scores hold.
    #[schema(example = "2026-11-21")]
    pub as_of: String,
    /// The version of the scoring model.
    pub model_version: u64,
    /// How it came to be: `id` (an event or a person named its id) or `domain` (a lead's e-mail or website).
    #[schema(example = "id")]
    pub origin: &'static str,
    /// When it came to be, RFC 3339.
    pub created_at: String,
    /// Who says who looks after it: a person or an owner rule; null when nobody looks after it.
    #[schema(required)]
    pub owner_by: Option<OwnerByView>,
    /// The column of the programmes that it belongs to; null when it belongs to none.
    #[schema(required, example = "A & B")]
    pub programme_column: Option<String>,
    /// Whether each programme runs for it, by the programmes' names.
    #[schema(example = json!({"Company emails": true, "Event invites": false, "Sales calls": true}))]
    pub programmes: BTreeMap<String, bool>,
    /// On which channels its leads were active in the last 395 days, the one with the most events first. What is not there was not tried, or had no
    /// answer.
    pub channels_tried: Vec<ChannelTried>,
    /// Its web domains, the first is shown.
    pub domains: Vec<String>,
    /// Its ids in other systems, by kind.
    pub external_ids: BTreeMap<String, String>,
    /// Accounts that were absorbed into it.
    pub members: Vec<String>,
    /// Since when it has its account level.
    #[schema(required)]
    pub account_level_since: Option<String>,
    /// What to do about accounts of its level: `{"targeting", "sales_motion", "success_metric"}`; null when the level does not say.
    #[schema(value_type = Option<Object>, required)]
    pub account_level_play: Option<domain::level::Play>,
    /// The account level's colour: a name or `#rrggbb`.
    #[schema(required, example = "purple")]
    pub account_level_color: Option<String>,
    /// The level ruleset that it falls under, when that is a segment's and not the primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_level_ruleset: Option<String>,
    /// The engagement level ruleset that it falls under, when that is a segment's and not the primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engagement_level_ruleset: Option<String>,
    /// Since when it has its engagement level.
    #[schema(required)]
    pub engagement_level_since: Option<String>,
    /// Where the value of each field comes from.
    pub field_sources: BTreeMap<String, FieldSources>,
    /// Surge, with what it was decided by, and whether so many accounts surge that one surge says little (`workspace_spike`).
    #[schema(value_type = Object)]
    pub surge: Value,
    /// Why the scores are what they are, in short; `/explain` says everything.
    pub explanation: Summary,
    /// The last changes of levels, scores and surge, newest first.
    pub history: Vec<TransitionView>,
}

/// The statement that holds for a field, and the others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldSources {
    /// The value that holds; null when a person cleared the field.
    #[schema(required)]
    pub value: Value,
    /// Who states it: `manual`, `crm_import`, `enrichment`, `group` or `form`.
    pub source: &'static str,
    /// When it was stated, RFC 3339.
    pub at: String,
    /// Every statement, the strongest source first.
    pub statements: Vec<Statement>,
}

/// A channel on which leads of the account were active.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelTried {
    /// `website`, `email`, `product`, `ads`, `in-person` or `sales`.
    #[schema(example = "email")]
    pub channel: &'static str,
    /// How many events there were.
    #[schema(example = 12)]
    pub events: u64,
    /// How many leads they were of.
    #[schema(example = 3)]
    pub leads: u32,
    /// The UTC day of the last one.
    #[schema(example = "2026-11-20")]
    pub last_on: String,
}

/// What one source states about a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Statement {
    /// The value; null clears.
    #[schema(required)]
    pub value: Value,
    /// Who states it.
    pub source: &'static str,
    /// When, RFC 3339.
    pub at: String,
}

/// An explanation in short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Summary {
    /// What adds most.
    #[schema(example = json!(["1,000 employees or more: +50", "Demo request by Ann Weaver: +50"]))]
    pub reasons: Vec<String>,
    /// The next account level and the shortest way there; null at the top.
    #[schema(value_type = Option<Object>, required)]
    pub next_account_level: Value,
    /// The next engagement level and the shortest ways there; null at the top.
    #[schema(value_type = Option<Object>, required)]
    pub next_engagement_level: Value,
}

/// A home as it was read, ready to be evaluated.
pub(crate) struct Whole {
    pub(crate) home: Home,
    pub(crate) gathered: Gathered,
    pub(crate) standing: Option<Standing>,
    pub(crate) lead_levels: LeadLevels,
    pub(crate) model: Arc<Model>,
}

impl Whole {
    pub(crate) fn held(&self) -> HeldLevels<'_> {
        let standing = self.standing.as_ref();
        HeldLevels {
            account: standing.and_then(|standing| standing.level.as_deref()),
            engagement: standing.and_then(|standing| standing.engagement_level.as_deref()),
            leads: &self.lead_levels.levels,
        }
    }
}

impl<P: Ports> Api<P> {
    /// The account that an address names by id or else by a domain; the one that it was absorbed into, if it was.
    pub(crate) async fn account_named(&self, workspace: &WorkspaceId, named: &str) -> Result<AccountId, Problem> {
        if let Ok(id) = AccountId::new(named)
            && self.homes.account(workspace, &id, Consistency::Strong).await?.is_some()
        {
            return Ok(self.homes.root(workspace, &id, Consistency::Strong).await?);
        }
        if let Some(domain) = WebDomain::from_url(named)
            && let Some(claim) = self.homes.domain_claim(workspace, domain.as_str(), Consistency::Strong).await?
        {
            return Ok(self.homes.root(workspace, &claim.record.account, Consistency::Strong).await?);
        }
        Err(Problem::not_found("account", named))
    }

    /// Reads a home with everything that its scores and levels follow from.
    pub(crate) async fn whole(&self, workspace: &WorkspaceId, home: Home) -> Result<Whole, Problem> {
        let (gathered, standing, lead_levels) = futures::try_join!(
            self.homes.gather(workspace, &home, Consistency::Strong),
            self.homes.standing(workspace, &home, Consistency::Strong),
            self.homes.lead_levels(workspace, &home, Consistency::Strong),
        )?;
        let model = self.models.current(workspace).await?;
        Ok(Whole { home, gathered, standing: standing.map(|standing| standing.record), lead_levels: lead_levels.record, model })
    }

    async fn history(&self, workspace: &WorkspaceId, home: &Home, model: &Model, under: Under<'_>) -> Result<Vec<TransitionView>, Problem> {
        let query = Query::partition(Table::Accounts, history_partition(workspace, home)).descending().limit(HISTORY);
        let page = self.store.query(&query).await?;
        let mut history = Vec::with_capacity(page.items.len());
        for item in &page.items {
            history.push(TransitionView::new(&from_item::<Transition>(item)?, model, under));
        }
        Ok(history)
    }

    /// Everything about an account, as of today.
    pub(crate) async fn detail(&self, workspace: &WorkspaceId, account: &AccountId) -> Result<AccountDetail, Problem> {
        let whole = self.whole(workspace, Home::Account(account.clone())).await?;
        let Some(record) = whole.gathered.own.account.as_ref().map(|record| &record.record) else {
            return Err(Problem::not_found("account", account.as_str()));
        };
        let history = self.history(workspace, &whole.home, &whole.model, Under::of(whole.standing.as_ref())).await?;
        let evaluation = Evaluation::new(&whole.model, whole.gathered.inputs(), self.now().day());
        let explanation = Explanation::new(&whole.model, &evaluation, whole.held(), REASONS);
        let standing = whole.standing.as_ref();
        let ruleset = standing.and_then(|standing| standing.level_ruleset.as_deref());
        let level = whole.held().account.and_then(|id| whole.model.document.level_named(LevelOf::Account, ruleset, id));
        let rows = self.board.accounts(workspace).await?;
        let mut surge = json(&explanation.surge);
        if let Some(surge) = surge.as_object_mut() {
            surge.insert("workspace_spike".to_owned(), json(&rows.spike(self.now())));
        }
        let programmes = self.programmes(workspace, Consistency::Eventual).await?.record;
        let place = programmes::Place::of(&whole.home, &programmes, &rows, &whole.model.document);
        let members = whole.gathered.members.iter().filter_map(|member| member.account.as_ref());
        Ok(AccountDetail {
            item: item(&whole, record, &evaluation),
            as_of: explanation.as_of.clone(),
            model_version: whole.model.version(),
            origin: match record.origin {
                AccountOrigin::Id => "id",
                AccountOrigin::Domain => "domain",
            },
            created_at: record.created_at.to_string(),
            owner_by: OwnerByView::of(record, &whole.model),
            programme_column: place.column,
            programmes: place.runs,
            channels_tried: channels_tried(&evaluation),
            domains: record.domains.clone(),
            external_ids: record.external_ids.clone(),
            members: members.map(|member| member.record.id.to_string()).collect(),
            account_level_since: moment(standing.and_then(|standing| standing.level_since)),
            account_level_play: level.and_then(|level| level.play.clone()),
            account_level_color: level.map(|level| level.color.clone()),
            account_level_ruleset: standing.and_then(|standing| standing.level_ruleset.clone()),
            engagement_level_ruleset: standing.and_then(|standing| standing.engagement_level_ruleset.clone()),
            engagement_level_since: moment(standing.and_then(|standing| standing.engagement_level_since)),
            field_sources: sources(&evaluation.fields),
            surge,
            explanation: summary(&explanation),
            history,
        })
    }
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn item(whole: &Whole, record: &pipeline::records::AccountRecord, evaluation: &Evaluation<'_>) -> AccountItem {
    let document = &whole.model.document;
    let held = whole.held();
    let (fit, standing) = (&evaluation.account, whole.standing.as_ref());
    let under = Under::of(standing);
    let domain = record.domains.first().cloned();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    AccountItem {
        account_id: record.id.to_string(),
        name: evaluation.fields.winner("name").map(|winner| winner.value.to_string()).or_else(|| domain.clone()),
        domain,
        account_score: fit.score,
        account_level: level_name(document, LevelOf::Account, under, held.account),
        account_level_id: held.account.map(str::to_owned),
        engagement_score: evaluation.engagement.shown(),
        engagement_level: level_name(document, LevelOf::Engagement, under, held.engagement),
        engagement_level_id: held.engagement.map(str::to_owned),
        hottest_lead_level_id: standing.and_then(|standing| standing.hottest.clone()),
        total_leads: count(evaluation.people().count()),
        sessions: count(evaluation.people().map(Lead::sessions).sum()),
        surge_active: evaluation.surge.active,
        last_activity_at: moment(evaluation.last_activity()),
        owner: record.owner.clone(),
        tier: record.tier.clone(),
        priority: record.priority.clone(),
        points_possible: fit.possible,
        fields_known: count(fit.known),
        fields_used: count(fit.of),
        known: known(fit.known, fit.of),
        fields: values(evaluation.fields.winners().map(|(name, winner)| (name, winner.value))),
    }
}

fn channels_tried(evaluation: &Evaluation<'_>) -> Vec<ChannelTried> {
    let mut tried: BTreeMap<Channel, (u64, u32, Day)> = BTreeMap::new();
    for lead in &evaluation.leads {
        let mut of_lead: BTreeMap<Channel, (u64, Day)> = BTreeMap::new();
        for (channel, days) in lead.identities.iter().flat_map(|(_, state)| &state.facts.channels) {
            let events: u64 = days.values().map(|events| u64::from(*events)).sum();
            let Some((last, _)) = days.last() else { continue };
            let seen = of_lead.entry(*channel).or_insert((0, *last));
            *seen = (seen.0.saturating_add(events), seen.1.max(*last));
        }
        for (channel, (events, last)) in of_lead {
            let all = tried.entry(channel).or_insert((0, 0, last));
            *all = (all.0.saturating_add(events), all.1.saturating_add(u32::from(!lead.is_account)), all.2.max(last));
        }
    }
    let view = |(channel, (events, leads, last)): (Channel, (u64, u32, Day))| ChannelTried {
        channel: channel.as_str(),
        events,
        leads,
        last_on: last.to_string(),
    };
    let mut tried: Vec<ChannelTried> = tried.into_iter().map(view).collect();
    tried.sort_by_key(|tried| std::cmp::Reverse(tried.events));
    tried
}

fn sources(fields: &FieldFacts) -> BTreeMap<String, FieldSources> {
    let statement =
        |fact: &domain::field::FieldFact| Statement { value: json(&fact.value), source: fact.source.as_str(), at: fact.at.to_string() };
    let mut sources = BTreeMap::new();
    for name in fields.names() {
        let statements: Vec<Statement> = fields.facts(name.as_str()).map(|(fact, _)| statement(fact)).collect();
        let (value, source, at) = match fields.winner(name.as_str()) {
            Some(winner) => (json(winner.value), winner.source.as_str(), winner.at.to_string()),
            // Cleared: the strongest source says so.
            None => match statements.first() {
                Some(first) => (Value::Null, first.source, first.at.clone()),
                None => continue,
            },
        };
        sources.insert(name.to_string(), FieldSources { value, source, at, statements });
    }
    sources
}

/// The rules that add most, and the ways to the next levels.
fn summary(explanation: &Explanation) -> Summary {
    let mut reasons: Vec<(i64, String)> = Vec::new();
    for rule in explanation.account.rules.iter().filter(|rule| rule.line.points > 0) {
        reasons.push((rule.line.points.into(), format!("{}: +{}", rule.line.name, rule.line.points)));
    }
    for lead in &explanation.engagement.leads {
        let who = if lead.is_account { String::new() } else { format!(" by {}", lead.label) };
        for rule in lead.rules.iter().filter(|rule| rule.points > 0) {
            reasons.push((rule.points, format!("{}{who}: +{}", rule.name, rule.points)));
        }
    }
    reasons.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Summary {
        reasons: reasons.into_iter().take(REASONS).map(|(_, text)| text).collect(),
        next_account_level: json(&explanation.account.level.next),
        next_engagement_level: json(&explanation.engagement.level.next),
    }
}

/// Show an account
///
/// By its id, else by one of its domains. Scores are as of today; levels are those that it holds.
#[utoipa::path(get, path = "/api/v1/accounts/{id}", operation_id = "showAccount", tag = "Accounts",
    params(("id" = String, Path, description = "The account's id, or one of its domains", example = "northwind-looms.example")),
    responses((status = 200, description = "The account", body = AccountDetail)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<AccountDetail>, Problem> {
    query::none(&uri)?;
    let account = api.account_named(&workspace, &id).await?;
    Ok(Json(api.detail(&workspace, &account).await?))
}

/// Explain an account's scores
///
/// Every rule with its points, the fields or events behind it, decay and the caps that bit, rules that did not match and why, surge, and
/// the shortest way to the next levels. The points always sum to the score shown: `account.rules` and `account.caps` to
/// `account.score`; the `counts` of `engagement.leads` and `engagement.others` to `engagement.score`; a lead's `rules` and `cap` to
/// its `score`; a rule's `days` and `cap` to its `points`; the lines of an entry of `other_rulesets` to its `score`.
///
/// With `as_of` it is explained as it was then, by the rulesets that were in force; `limits` says what such an answer can't know.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/explain", operation_id = "explainAccount", tag = "Accounts",
    params(
        ("id" = String, Path, description = "The account's id, or one of its domains"),
        ("as_of" = Option<String>, Query, description = "A past moment, ISO 8601; a day alone stands for its end. Up to 25 months back", example = "2026-10-01T00:00:00Z"),
        ("leads" = Option<u32>, Query, description = "How many leads are listed one by one, 0 to 1,000, usually 100; the others are summed up"),
    ),
    responses((status = 200, description = "The explanation, as of today or of the moment", body = Object, example = json!({
        "as_of": "2026-11-21",
        "rulesets": {"model": 1, "account": {"id": "enterprise-b2b-saas", "name": "Enterprise B2B SaaS", "version": 1}},
        "grade": "D", "grid": "D3", "disqualified_by": [],
        "account": {
            "score": 50, "possible": 145, "fields_known": 1, "fields_used": 4, "known": "1 of 4 fields known", "missing_could_add": 95,
            "rules": [{"rule_id": "employees", "name": "1,000 employees or more", "points": 50, "possible": 50, "outcome": "matched",
                "fields": [{"field": "employees", "value": 1500}], "why": "holds: `employees` is 1500"}],
            "caps": [],
            "level": {"current": {"id": "qualified", "name": "Qualified", "min": 50}, "next": {"id": "target", "name": "Target", "min": 80,
                "points_needed": 30, "reachable": true,
                "ways": [{"rule_id": "industry", "name": "In a target industry", "points": 30, "times": 1, "needs": ["industry"]}]}}
        },
        "engagement": {"score": 49, "leads": [{"lead_id": "ld_00000000000000000000000000000000", "label": "Ann Weaver", "score": 49, "counts": 49,
            "rules": [{"rule_id": "demo_request", "name": "Demo request", "points": 49, "count": 1,
                "days": [{"day": "2026-11-18", "count": 1, "raw": 50, "decayed_milli": 48858, "points": 49}]}]}],
            "unmatched": [{"rule_id": "sdr_meeting", "name": "SDR meeting", "points": 30,
                "because": {"reason": "outside_window", "last_day": "2025-09-02"},
                "why": "the last such event was on 2025-09-02, more than 395 days ago"}]},
        "surge": {"active": false, "window_events": 1, "window_leads": 1, "ratio_percent": 33},
        "other_rulesets": []
    }))))]
pub(crate) async fn explain<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<Explanation>, Problem> {
    let mut query = Parameters::of(&uri);
    let at = as_of(&mut query, api.now());
    let leads = listed_leads(&mut query);
    query.finish()?;
    let home = Home::Account(api.account_named(&workspace, &id).await?);
    let Some(at) = at else {
        let whole = api.whole(&workspace, home).await?;
        let evaluation = Evaluation::new(&whole.model, whole.gathered.inputs(), api.now().day());
        return Ok(Json(Explanation::new(&whole.model, &evaluation, whole.held(), leads)));
    };
    let past = api.past(&workspace, &home, at).await?;
    let evaluation = Evaluation::new(&past.model, past.gathered.inputs(), past.day());
    let explanation = Explanation::new(&past.model, &evaluation, past.levels.held(), leads);
    Ok(Json(Explanation { at: earlier(at, api.now()), limits: past.limits, ..explanation }))
}

/// The past moment that a request asks for. A day alone stands for its end; today stands for now.
pub(crate) fn as_of(query: &mut Parameters, now: Timestamp) -> Option<Timestamp> {
    let at = query.end("as_of")?;
    let end_of_today = now.day().plus(1).start().plus_millis(-1);
    Some(if at == end_of_today { now } else { at })
}

/// The moment for an answer as of an earlier one.
pub(crate) fn earlier(at: Timestamp, now: Timestamp) -> Option<String> {
    (at < now).then(|| at.to_string())
}

/// A moment as people ask for it: a day's last millisecond stands for the day.
fn asked(at: Timestamp) -> String {
    let day = at.day();
    if at == day.plus(1).start().plus_millis(-1) { day.to_string() } else { at.to_string() }
}

fn listed_leads(query: &mut Parameters) -> usize {
    let Some(text) = query.text("leads", 20) else { return EXPLAINED_LEADS };
    let leads = text.parse().ok().filter(|leads| *leads <= MOST_EXPLAINED_LEADS);
    if leads.is_none() {
        query.fault("leads", format!("must be a whole number from 0 to {MOST_EXPLAINED_LEADS}, got `{text}`"));
    }
    leads.unwrap_or(EXPLAINED_LEADS)
}

impl<P: Ports> Api<P> {
    /// A home as it was at a moment.
    pub(crate) async fn past(&self, workspace: &WorkspaceId, home: &Home, at: Timestamp) -> Result<Past, Problem> {
        let wrong = |detail: String| Problem::parameters(vec![Fault::of("as_of", detail)]).unwrap_or_else(Problem::internal);
        match past::gather(&self.store, &self.models, workspace, home, at, self.now()).await {
            Ok(past) => Ok(past),
            Err(PastError::Store(error)) => Err(error.into()),
            Err(PastError::Future) => Err(wrong(format!("must not lie in the future, got `{}`", asked(at)))),
            Err(PastError::TooOld { begins }) => {
                Err(wrong(format!("must be {begins} or later: the log goes back to then, got `{}`", asked(at))))
            }
            Err(PastError::TooMany { identities }) => {
                Err(wrong(format!("is answered for up to {} identities; the account has {identities}", past::MOST_IDENTITIES)))
            }
        }
    }
}
