//! Jobs: work that takes longer than a request.

use crate::{
    Api, Ports, Routes,
    auth::{Caller, Named},
    body::{Json as Body, Object},
    cursor::Listing,
    problem::Problem,
    query::{self, Parameters},
    view::{Page, moment},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::{JobId, WorkspaceId};
use http::{StatusCode, Uri, header};
use pipeline::jobs::{CancelError, JobKind, JobRecord, JobState};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes
        .route("/api/v1/jobs", get(list::<P>))
        .route("/api/v1/jobs/{id}", get(show::<P>))
        .route("/api/v1/jobs/{id}/changes", get(changes::<P>))
        .route("/api/v1/jobs/{id}/cancel", post(cancel::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(list, show, changes, cancel))]
pub(crate) struct Doc;

/// A job: what is done, how far it is, and what came out of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "job_01k4z8e6v3y0m9c2w5t7r1p4qx", "kind": "publish", "what": "account ruleset \"Enterprise target accounts\" version 4",
    "state": "running", "phase": "rescore", "percent": 63, "done": 63012, "total": 100000, "by": "dana",
    "created_at": "2026-11-21T09:05:00.000Z", "ended_at": null, "reason": null, "result": null, "warnings": [], "changes_url": null
}))]
pub(crate) struct JobView {
    /// Its id.
    pub id: String,
    /// `publish`, `dry_run`, `surge_preview`, `coverage`, `percentiles`, `apply_mapping` or `apply_profiles`.
    pub kind: &'static str,
    /// What it is about, in words.
    pub what: String,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    pub state: &'static str,
    /// What it does at present: `settle`, `set_apart`, `fold`, `replace`, `switch`, `rescore`, `confirm`, `place` or `walk`; null when it is over.
    #[schema(required)]
    pub phase: Option<&'static str>,
    /// How much of everything is done, 0 to 100. It never falls.
    pub percent: u8,
    /// How many accounts and leads were worked on in the present phase.
    pub done: u64,
    /// How many there are; null while that is not known.
    #[schema(required)]
    pub total: Option<u64>,
    /// Who asked for it: the name of the API token.
    pub by: String,
    /// When it was asked for.
    pub created_at: String,
    /// When it was over; null before.
    #[schema(required)]
    pub ended_at: Option<String>,
    /// Why it failed; null when it did not.
    #[schema(required)]
    pub reason: Option<String>,
    /// What came out, once it is done; its shape is the kind's own.
    #[schema(value_type = Option<Object>, required)]
    pub result: Option<Value>,
    /// What a person should know although the job goes on.
    pub warnings: Vec<String>,
    /// Where its changes are listed one by one, for 7 days; null when it lists none.
    #[schema(required)]
    pub changes_url: Option<String>,
}

impl JobView {
    pub(crate) fn new(job: JobRecord) -> Self {
        let reason = match &job.state {
            JobState::Failed { reason } => Some(reason.clone()),
            JobState::Waiting | JobState::Running | JobState::Done | JobState::Cancelled => None,
        };
        let over = job.state.is_over();
        Self {
            changes_url: (job.rows > 0).then(|| format!("{}/changes", address(&job.id))),
            id: job.id.to_string(),
            what: what(&job.kind),
            kind: job.kind.as_str(),
            state: job.state.as_str(),
            phase: job.phase().filter(|_| !over).map(pipeline::jobs::Phase::as_str),
            percent: if job.state == JobState::Done { 100 } else { job.percent },
            done: job.done,
            total: job.total,
            by: job.by,
            created_at: job.created_at.to_string(),
            ended_at: moment(job.ended_at),
            reason,
            result: job.result,
            warnings: job.warnings,
        }
    }
}

fn what(kind: &JobKind) -> String {
    match kind {
        JobKind::Publish { what, .. } => what.clone(),
        JobKind::DryRun { of, revision: Some(revision), .. } => format!("{} `{}`, draft {revision}", of.kind.title(), of.id),
        JobKind::DryRun { of, revision: None, .. } => format!("{} `{}`", of.kind.title(), of.id),
        JobKind::SurgePreview { .. } => "surge settings".to_owned(),
        JobKind::Coverage {} => "all fields".to_owned(),
        JobKind::Percentiles { of, .. } => format!("cut points of {} `{}`", of.kind.title(), of.id),
        JobKind::ApplyMapping { mapping, .. } => format!("account mapping version {mapping}"),
        JobKind::ApplyProfiles { .. } => "profile mapping".to_owned(),
    }
}

/// Where a job is asked for.
pub(crate) fn address(id: &JobId) -> String {
    format!("/api/v1/jobs/{id}")
}

/// 202: a job was started; the body says more.
pub(crate) fn started(id: &JobId, body: impl Serialize) -> Response {
    (StatusCode::ACCEPTED, [(header::LOCATION, address(id))], Json(body)).into_response()
}

impl<P: Ports> Api<P> {
    async fn job_named(&self, workspace: &WorkspaceId, id: &str) -> Result<JobRecord, Problem> {
        let missing = || Problem::not_found("job", id);
        let id = JobId::new(id).map_err(|_| missing())?;
        Ok(self.jobs.find(workspace, &id).await?.ok_or_else(missing)?.record)
    }
}

/// List jobs
///
/// Newest first. Jobs are kept for 90 days after their end.
#[utoipa::path(get, path = "/api/v1/jobs", operation_id = "listJobs", tag = "Jobs",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of jobs", body = Page<JobView>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
) -> Result<Json<Page<JobView>>, Problem> {
    let mut query = Parameters::of(&uri);
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;
    let listing = Listing::new("jobs", &workspace, &[]);
    let before: Option<JobId> = listing.read(cursor.as_deref())?;
    let jobs = api.jobs.list(&workspace, before.as_ref(), limit).await?;
    let next = jobs.last().filter(|_| jobs.len() == limit).and_then(|job| listing.after(&job.id));
    Ok(Json(Page { data: jobs.into_iter().map(JobView::new).collect(), next_cursor: next }))
}

/// Show a job
///
/// Its progress and, once it is done, what came out.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", operation_id = "showJob", tag = "Jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "The job", body = JobView)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<JobView>, Problem> {
    query::none(&uri)?;
    Ok(Json(JobView::new(api.job_named(&workspace, &id).await?)))
}

/// Where a page of changes begins: in which chunk of the result, and at which of its rows.
type Place = (u32, usize);

/// List what a job found, one by one
///
/// Of a dry run: every account and lead whose score or level would change. Kept for 7 days after they were found.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/changes", operation_id = "listJobChanges", tag = "Jobs",
    params(
        ("id" = String, Path, description = "The job's id"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of changes", body = Page<Object>,
        example = json!({"data": [{"account_id": "acct_9", "name": "Quillmark Press", "account_score": [20, 95], "account_level": ["standard", "target"]}], "next_cursor": null}))))]
pub(crate) async fn changes<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Parameters::of(&uri);
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;
    let listing = Listing::new("job-changes", &workspace, &[Some(&id)]);
    let (mut chunk, mut row) = listing.read::<Place>(cursor.as_deref())?.unwrap_or_default();
    let job = api.job_named(&workspace, &id).await?;
    let mut data: Vec<Value> = Vec::new();
    while chunk < job.rows {
        // A chunk past its time is skipped: there is nothing to show of it any more.
        let rows: Vec<Value> = api.jobs.rows(&workspace, &job.id, chunk).await?.unwrap_or_default();
        let wanted = limit.saturating_sub(data.len());
        let left = rows.len().saturating_sub(row);
        data.extend(rows.into_iter().skip(row).take(wanted));
        if left > wanted {
            row = row.saturating_add(wanted);
            break;
        }
        (chunk, row) = (chunk.saturating_add(1), 0);
    }
    let next_cursor = if chunk < job.rows { listing.after(&(chunk, row)) } else { None };
    Ok(Json(Page { data, next_cursor }))
}

/// Cancel a job
///
/// What it did stays done. A publication whose events are still being counted never comes into force, and its draft can be edited again; of one
/// that is in force, only the rescoring stops: accounts are scored by the new rules when they are next looked at.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", operation_id = "cancelJob", tag = "Jobs",
    params(("id" = String, Path, description = "The job's id")),
    request_body(content = Object, content_type = "application/json", example = json!({})),
    responses((status = 200, description = "The job as it is now", body = JobView)))]
pub(crate) async fn cancel<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Json<JobView>, Problem> {
    query::none(&uri)?;
    Object::of(&body, &[])?.finish(())?;
    let missing = || Problem::not_found("job", &id);
    let job = JobId::new(&id).map_err(|_| missing())?;
    match api.jobs.cancel(&workspace, &job).await {
        Ok(record) => Ok(Json(JobView::new(record))),
        Err(CancelError::Missing) => Err(missing()),
        Err(CancelError::Over(record)) => Err(Problem::conflict(format!("the job is over: it is {}", record.state.as_str()))),
        Err(CancelError::Store(error)) => Err(error.into()),
    }
}
