//! One lead, found by any of its identities.

use crate::{
    ATTEMPTS, Api, Ports,
    account::{Whole, as_of, earlier},
    auth::{Caller, Named},
    leads::LeadItem,
    problem::Problem,
    query::{self, Parameters},
};
use axum::{Json, extract::State};
use domain::{
    Home, Identity, IdentityId, WorkspaceId,
    evaluate::Evaluation,
    explain::{self, Explanation, LeadExplanation},
    lead::Lead,
};
use http::Uri;
use pipeline::{Consistency, homes::Gathered, records::IdentityMapping};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// A lead and why its score is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeadDetail {
    /// What lists show.
    #[serde(flatten)]
    pub item: LeadItem,
    /// The UTC day for which the score holds.
    #[schema(example = "2026-11-21")]
    pub as_of: String,
    /// The score, explained: the points of `rules` and `cap` sum to it.
    #[schema(value_type = Object, required)]
    pub explanation: Value,
}

/// A lead where it was found.
pub(crate) struct Found {
    /// The identity by which it was named.
    pub(crate) id: IdentityId,
    /// Its home, or the account that its home was absorbed into.
    pub(crate) whole: Whole,
}

/// The identity that an address names: `ld_…`, `user:…` or `anonymous:…`.
pub(crate) fn identity_named(named: &str) -> Option<IdentityId> {
    let identity = match named.split_once(':') {
        Some(("user", value)) => Identity::user(value),
        Some(("anonymous", value)) => Identity::anonymous(value),
        _ => return IdentityId::parse(named).ok(),
    };
    (!identity.value.is_empty()).then(|| identity.id())
}

/// The lead of a home that has this identity.
pub(crate) fn lead_with<'s>(gathered: &'s Gathered, id: IdentityId) -> Option<Lead<'s>> {
    gathered.inputs().leads().into_iter().find(|lead| !lead.is_account && lead.identities.iter().any(|(known, _)| *known == id))
}

impl<P: Ports> Api<P> {
    /// Finds the lead that an address names, in its home.
    pub(crate) async fn lead_named(&self, workspace: &WorkspaceId, named: &str) -> Result<Found, Problem> {
        let missing = || Problem::not_found("lead", named);
        let id = identity_named(named).ok_or_else(missing)?;
        for _ in 0..ATTEMPTS {
            let Some(mapping) = self.homes.mapping(workspace, &id, Consistency::Strong).await? else { break };
            let home = match mapping.record.home {
                Home::Account(account) => Home::Account(self.homes.root(workspace, &account, Consistency::Strong).await?),
                home @ Home::Lead(_) => home,
            };
            if mapping.record.identity.kind == domain::IdentityKind::Account {
                break;
            }
            let whole = self.whole(workspace, home).await?;
            if lead_with(&whole.gathered, id).is_some() {
                return Ok(Found { id, whole });
            }
            // It moved between the two reads: its mapping names the new home by now.
        }
        Err(missing())
    }

    /// Everything about a lead, as of today.
    pub(crate) async fn lead_detail(&self, workspace: &WorkspaceId, found: &Found) -> Result<LeadDetail, Problem> {
        let whole = &found.whole;
        let founder = lead_with(&whole.gathered, found.id).map_or(found.id, |lead| lead.id);
        let mapping = self.homes.mapping(workspace, &founder, Consistency::Strong).await?;
        lead_detail(whole, founder, mapping.as_ref().map(|mapping| &mapping.record), self.now().day())
    }
}

fn lead_detail(whole: &Whole, founder: IdentityId, mapping: Option<&IdentityMapping>, today: domain::Day) -> Result<LeadDetail, Problem> {
    let evaluation = Evaluation::new(&whole.model, whole.gathered.inputs(), today);
    let lead = evaluation.leads.iter().find(|lead| lead.id == founder);
    let points = evaluation.engagement.leads.iter().find(|points| points.lead == founder);
    let (Some(lead), Some(points)) = (lead, points) else { return Err(Problem::internal()) };
    let explanation = Explanation::new(&whole.model, &evaluation, whole.held(), usize::MAX);
    let lead_id = format!("ld_{founder}");
    let part = explanation.engagement.leads.iter().find(|part| part.lead_id == lead_id);
    Ok(LeadDetail {
        item: LeadItem::new(whole, lead, points.shown(), mapping),
        as_of: explanation.as_of.clone(),
        explanation: serde_json::to_value(part).unwrap_or_default(),
    })
}

/// Show a lead
///
/// By its id or that of any of its identities (`ld_…`), or as `user:` or `anonymous:` and the id that your own systems gave it.
#[utoipa::path(get, path = "/api/v1/leads/{id}", operation_id = "showLead", tag = "Leads",
    params(("id" = String, Path, description = "`ld_…`, `user:<userId>` or `anonymous:<anonymousId>`", example = "user:u-1001")),
    responses((status = 200, description = "The lead", body = LeadDetail)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<LeadDetail>, Problem> {
    query::none(&uri)?;
    let found = api.lead_named(&workspace, &id).await?;
    Ok(Json(api.lead_detail(&workspace, &found).await?))
}

/// Explain a lead's score
///
/// Every rule with its points, the days behind it, decay and the caps that bit, rules that give nothing and why, and the shortest way to the next
/// level. The points of `rules` and `cap` sum to `score`; a rule's `days` and `cap` to its `points`. `counts` is what of the score counts for the
/// account.
///
/// With `as_of` it is explained as it was then, by the rulesets that were in force; `limits` says what such an answer can't know. A lead of whom
/// nothing had been seen by then is not found.
#[utoipa::path(get, path = "/api/v1/leads/{id}/explain", operation_id = "explainLead", tag = "Leads",
    params(
        ("id" = String, Path, description = "`ld_…`, `user:<userId>` or `anonymous:<anonymousId>`", example = "user:u-1001"),
        ("as_of" = Option<String>, Query, description = "A past moment, ISO 8601; a day alone stands for its end. Up to 25 months back", example = "2026-10-01T00:00:00Z"),
    ),
    responses((status = 200, description = "The explanation, as of today or of the moment", body = Object, example = json!({
        "as_of": "2026-11-21",
        "rulesets": {"model": 1, "engagement": {"id": "default", "name": "Practice-guide engagement", "version": 1}},
        "lead_id": "ld_00000000000000000000000000000000", "label": "Ann Weaver", "is_account": false, "score": 100, "counts": 100, "possible": 100,
        "rules": [{"rule_id": "demo_request", "name": "Demo request", "points": 50, "count": 1,
            "days": [{"day": "2026-11-21", "count": 1, "raw": 50, "decayed_milli": 50000, "points": 50}]}],
        "cap": {"limit": 100, "points": -20},
        "level": {"current": {"id": "very_hot", "name": "Very Hot", "min": 75}, "by_score": {"id": "very_hot", "name": "Very Hot", "min": 75}},
        "unmatched": [{"rule_id": "visit", "name": "Website visit", "points": 5, "because": {"reason": "never_seen"},
            "why": "no such event in the last 395 days"}]
    }))))]
pub(crate) async fn explain<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<LeadExplanation>, Problem> {
    let mut query = Parameters::of(&uri);
    let at = as_of(&mut query, api.now());
    query.finish()?;
    let found = api.lead_named(&workspace, &id).await?;
    let whole = &found.whole;
    let Some(at) = at else {
        let evaluation = Evaluation::new(&whole.model, whole.gathered.inputs(), api.now().day());
        let explanation = explain::lead(&whole.model, &evaluation, found.id, whole.held());
        return explanation.map(Json).ok_or_else(Problem::internal);
    };
    let past = api.past(&workspace, &whole.home, at).await?;
    let evaluation = Evaluation::new(&past.model, past.gathered.inputs(), past.day());
    let explanation = explain::lead(&past.model, &evaluation, found.id, past.levels.held());
    let explanation = explanation.ok_or_else(|| Problem::not_found(&format!("lead seen by {at}:"), &id))?;
    Ok(Json(LeadExplanation { at: earlier(at, api.now()), limits: past.limits, ..explanation }))
}
