//! Of how many accounts each field is known.

use crate::{
    Api, Ports, Routes,
    auth::{By, Caller},
    body::{Json as Body, Object},
    jobs::{JobView, started},
    problem::Problem,
    query,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use domain::{Home, WorkspaceId, model::Model};
use http::Uri;
use pipeline::{
    jobs::{JobKind, JobRecord, new_job_id},
    survey::{self, Counted, INLINE},
};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/mapping-coverage", get(show::<P>).post(count::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(show, count), components(schemas(FieldCoverage, FieldUser)))]
pub(crate) struct Doc;

/// Of how many accounts each field is known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "as_of": "2026-11-21T09:05:00.000Z", "accounts": 412, "fields": [
        {"field": "revenue", "known": 252, "percent": 61, "undecided": 9, "mapped": true,
            "rules": [{"ruleset": "enterprise-b2b-saas", "rule_id": "revenue"}]},
        {"field": "plan", "known": 12, "percent": 3, "undecided": 0, "mapped": true, "rules": []}
    ]}))]
pub(crate) struct MappingCoverage {
    /// When it was counted; null when it never was.
    #[schema(required)]
    as_of: Option<String>,
    /// How many accounts there were.
    #[schema(required)]
    accounts: Option<u64>,
    /// Fields that rules use, in the order of the rules; then those that a mapping fills or any account holds, by name.
    fields: Vec<FieldCoverage>,
}

/// How well one field is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldCoverage {
    /// The field.
    field: String,
    /// Of how many accounts it is known; null when it was never counted.
    #[schema(required)]
    known: Option<u64>,
    /// The same in percent, rounded; null without accounts.
    #[schema(required)]
    percent: Option<u8>,
    /// Of how many of these only an interval is known that leaves a rule undecided.
    #[schema(required)]
    undecided: Option<u64>,
    /// Whether an entry of the account mapping fills it.
    mapped: bool,
    /// The rules that look at it.
    rules: Vec<FieldUser>,
}

/// A rule that looks at a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldUser {
    /// The ruleset's id.
    ruleset: String,
    /// The rule's id.
    rule_id: String,
}

impl<P: Ports> Api<P> {
    /// Every account that lists show.
    pub(crate) async fn all_accounts(&self, workspace: &WorkspaceId) -> Result<Vec<Home>, Problem> {
        Ok(self.board.accounts(workspace).await?.iter().map(|row| row.home.clone()).collect())
    }

    async fn counted(&self, workspace: &WorkspaceId, model: &Model, homes: &[Home]) -> Result<Counted, Problem> {
        let at = self.now();
        Ok(Counted { at, coverage: survey::coverage(&self.store, workspace, model, homes, at).await? })
    }

    /// Starts a job that stands alone.
    pub(crate) async fn start_job(&self, workspace: &WorkspaceId, kind: JobKind, by: &str) -> Result<JobRecord, Problem> {
        let now = self.now();
        let id = new_job_id(&self.entropy, now).map_err(|_| Problem::internal())?;
        let record = JobRecord::new(id, kind, by, now);
        self.jobs.start(workspace, &record).await?;
        Ok(record)
    }
}

/// Show how well fields are known
///
/// Counted at the moment of the question for up to 2,000 accounts. For more, the last count of a job is shown; `POST` counts anew.
#[utoipa::path(get, path = "/api/v1/mapping-coverage", operation_id = "showMappingCoverage", tag = "Mappings",
    responses((status = 200, description = "The coverage", body = MappingCoverage)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    query::none(&uri)?;
    let model = api.models.current(&workspace).await?;
    let homes = api.all_accounts(&workspace).await?;
    let counted = if homes.len() <= INLINE {
        Some(api.counted(&workspace, &model, &homes).await?)
    } else {
        survey::last_coverage(&api.store, &workspace).await?
    };
    Ok(Json(survey::coverage_value(&model.document, counted.as_ref())))
}

/// Count how well fields are known
///
/// At once for up to 2,000 accounts; for more a job does it, whose result is the same.
#[utoipa::path(post, path = "/api/v1/mapping-coverage", operation_id = "countMappingCoverage", tag = "Mappings",
    request_body(content = Object, content_type = "application/json", example = json!({})),
    responses((status = 200, description = "The coverage", body = MappingCoverage),
        (status = 202, description = "A job counts; `Location` names it", body = JobView)))]
pub(crate) async fn count<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    Object::of(&body, &[])?.finish(())?;
    let homes = api.all_accounts(&workspace).await?;
    if homes.len() > INLINE {
        let job = api.start_job(&workspace, JobKind::Coverage {}, &by).await?;
        return Ok(started(&job.id.clone(), JobView::new(job)));
    }
    let model = api.models.current(&workspace).await?;
    let counted = api.counted(&workspace, &model, &homes).await?;
    survey::put_coverage(&api.store, &workspace, &counted).await?;
    Ok(Json(survey::coverage_value(&model.document, Some(&counted))).into_response())
}
