//! One lead, found by any of its identities.

use crate::{
    ATTEMPTS, Api, Ports,
    account::Whole,
    auth::{Caller, Named},
    leads::LeadItem,
    problem::Problem,
    query,
};
use axum::{Json, extract::State};
use domain::{Home, Identity, IdentityId, WorkspaceId, evaluate::Evaluation, explain::Explanation, lead::Lead};
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
