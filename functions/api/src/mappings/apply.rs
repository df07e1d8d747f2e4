//! A mapping is applied to what is stored: a job reads the events of everybody again.

use crate::{
    Api, Ports, Routes,
    auth::{By, Caller},
    body::{Json as Body, Object},
    jobs::{JobView, started},
    problem::Problem,
    query,
};
use axum::{extract::State, response::Response, routing::post};
use domain::WorkspaceId;
use http::Uri;
use pipeline::jobs::JobKind;
use std::sync::Arc;

/// Where the account mapping is applied.
pub(super) const APPLY_MAPPING: &str = "/api/v1/account-mappings/apply";
/// Where the profile mapping is applied.
pub(super) const APPLY_PROFILES: &str = "/api/v1/profile-mappings/apply";
/// How many of the latest jobs are looked at for one that does the same already.
const LATEST: usize = 200;

pub(super) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route(APPLY_MAPPING, post(mapping::<P>)).route(APPLY_PROFILES, post(profiles::<P>))
}

impl<P: Ports> Api<P> {
    /// Starts a job of this kind, unless one is under way.
    async fn apply(&self, workspace: &WorkspaceId, by: &str, kind: JobKind) -> Result<Response, Problem> {
        let jobs = self.jobs.list(workspace, None, LATEST).await?;
        let same = jobs.iter().find(|job| !job.state.is_over() && std::mem::discriminant(&job.kind) == std::mem::discriminant(&kind));
        if let Some(job) = same {
            return Err(Problem::conflict(format!(
                "it is being applied already: {}; wait for it or cancel it",
                crate::jobs::address(&job.id)
            )));
        }
        let job = self.start_job(workspace, kind, by).await?;
        Ok(started(&job.id.clone(), JobView::new(job)))
    }
}

/// Apply the account mapping to what is stored
///
/// A job reads the events of everybody again by the mapping in force and scores every account. A field that was mapped after its events came is known
/// then; a field that no entry fills any more is gone; what people and imports state stays. It notifies nobody, and no account lacks anything in between.
/// What was stated before the log begins (25 months back) can't be read again and stays. Changing the mapping while the job runs ends the job: apply again.
#[utoipa::path(post, path = "/api/v1/account-mappings/apply", operation_id = "applyAccountMapping", tag = "Mappings",
    request_body(content = Object, content_type = "application/json", example = json!({})),
    responses((status = 202, description = "A job applies it; `Location` names it. Its result counts identities and accounts that are different since then", body = JobView)))]
pub(crate) async fn mapping<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    Object::of(&body, &[])?.finish(())?;
    let mapping = api.models.latest(&workspace).await?.document.mapping.version();
    api.apply(&workspace, &by, JobKind::ApplyMapping { mapping, model: 0 }).await
}

/// Apply the profile mapping to what is stored
///
/// A job has every lead placed again by what is known of it and the mapping in force, as if its last event came once more; nothing is counted twice. People's
/// decisions and what events say outright (an account id, a group) stay stronger. A lead that moves takes its activity with it, so that its new account's
/// levels may rise and notify, as whenever a lead moves. The last leads are placed within seconds after the job's end.
#[utoipa::path(post, path = "/api/v1/profile-mappings/apply", operation_id = "applyProfileMapping", tag = "Mappings",
    request_body(content = Object, content_type = "application/json", example = json!({})),
    responses((status = 202, description = "A job applies it; `Location` names it", body = JobView)))]
pub(crate) async fn profiles<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    Object::of(&body, &[])?.finish(())?;
    let model = api.models.latest(&workspace).await?.version();
    api.apply(&workspace, &by, JobKind::ApplyProfiles { model }).await
}
