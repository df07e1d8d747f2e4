//! When an account surges, and who would be surging by other settings.

use crate::{
    Api, Ports, Routes,
    auth::{By, Caller},
    body::Json as Body,
    etag::IfMatch,
    jobs::{JobView, started},
    problem::Problem,
    query,
    setting::{self, tag},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::{Home, WorkspaceId, surge::SurgeSettings};
use http::Uri;
use pipeline::{
    jobs::JobKind,
    rulesets::Change,
    survey::{self, INLINE},
};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/settings/surge", get(show::<P>).put(put::<P>)).route("/api/v1/settings/surge/preview", post(preview::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(show, put, preview), components(schemas(SurgeOfAccount, SurgeOfDay)))]
pub(crate) struct Doc;

/// When an account surges: `{"mode": "relative", …}` against its own past, or `{"mode": "absolute", "events", "days"}`. Of the relative mode, what
/// is left out has its usual value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"mode": "relative", "enter_events": 10, "enter_leads": 2, "enter_ratio_percent": 200, "least_weekly": 3,
    "leave_ratio_percent": 150, "leave_events": 5, "young_days": 28, "young_events": 15, "young_leads": 3}))]
pub(crate) struct SurgeSettingsBody {
    /// `relative` or `absolute`.
    mode: String,
    /// Relative: begin at this many events in 7 days …; 1 to 100,000, usually 10.
    enter_events: Option<u32>,
    /// … of this many leads …; 1 to 1,000, usually 2.
    enter_leads: Option<u32>,
    /// … and this ratio to a week of the 21 days before, in percent; 100 to 10,000, usually 200.
    enter_ratio_percent: Option<u32>,
    /// A week of the past counts as at least this many events; 1 to 1,000, usually 3.
    least_weekly: Option<u32>,
    /// End below this ratio …; 100 to 10,000, at most `enter_ratio_percent`, usually 150.
    leave_ratio_percent: Option<u32>,
    /// … or below this many events; 1 to `enter_events`, usually 5.
    leave_events: Option<u32>,
    /// An account whose first event is less than this many days old has no past to compare with …; 7 to 365, usually 28.
    young_days: Option<u32>,
    /// … and shows new activity at this many events …; `leave_events` to 100,000, usually 15.
    young_events: Option<u32>,
    /// … of this many leads; 1 to 1,000, usually 3.
    young_leads: Option<u32>,
    /// Absolute: surge while there are this many events; 1 to 100,000.
    events: Option<u32>,
    /// In this many days; 1 to 28.
    days: Option<u32>,
}

/// Surge settings after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SurgeSettingsChanged {
    /// The settings.
    #[schema(value_type = SurgeSettingsBody)]
    settings: SurgeSettings,
    /// The version of the scoring model that is in force.
    model_version: u64,
    /// Whether nothing is different from before.
    unchanged: bool,
    /// The job that scores every account by them, silently; null when nothing has to be scored.
    #[schema(required)]
    job: Option<JobView>,
}

/// Who would begin to surge, go on and cease to, by other settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "as_of": "2026-11-21", "accounts": 212, "now": 12, "then": 9, "changes": {"starts": 1, "stays": 8, "ends": 4},
    "starts": [{"account_id": "acct_9", "name": "Quillmark Press",
        "now": {"active": false, "since": null, "new_activity": false, "window_events": 8, "window_leads": 2, "baseline_events": 6, "ratio_percent": 266},
        "then": {"active": true, "since": "2026-11-20", "new_activity": false, "window_events": 8, "window_leads": 2, "baseline_events": 6, "ratio_percent": 266}}],
    "stays": [], "ends": [],
    "workspace_spike": {"now": {"flagged": false, "surging": 12, "active": 96}, "then": {"flagged": false, "surging": 9, "active": 96}},
    "settings": {"now": {"mode": "relative", "enter_events": 10}, "then": {"mode": "relative", "enter_events": 8}}
}))]
pub(crate) struct SurgePreview {
    /// The UTC day for which it holds.
    as_of: String,
    /// How many accounts were looked at: those with an event in the last 28 days. No other account surges by any settings.
    accounts: u64,
    /// How many surge by the settings in force.
    now: u64,
    /// How many would.
    then: u64,
    /// How many would begin to, go on and cease to: `{"starts", "stays", "ends"}`.
    #[schema(value_type = Object)]
    changes: Value,
    /// Accounts that would begin to surge; the first 100 by id.
    starts: Vec<SurgeOfAccount>,
    /// Accounts that surge either way; the first 100 by id.
    stays: Vec<SurgeOfAccount>,
    /// Accounts that would cease to; the first 100 by id.
    ends: Vec<SurgeOfAccount>,
    /// Whether so many would surge that one surge says little, by both settings: `{"now", "then"}`, each `{"flagged", "surging", "active"}`.
    #[schema(value_type = Object)]
    workspace_spike: Value,
    /// Both settings: `{"now", "then"}`.
    #[schema(value_type = Object)]
    settings: Value,
}

/// One account's surge by both settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SurgeOfAccount {
    /// Its id.
    account_id: String,
    /// Its name.
    #[schema(required)]
    name: Option<String>,
    /// By the settings in force.
    now: SurgeOfDay,
    /// By the others.
    then: SurgeOfDay,
}

/// What decides about a surge.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SurgeOfDay {
    /// Whether it surges.
    active: bool,
    /// The first day of the running surge.
    #[schema(required)]
    since: Option<String>,
    /// Whether it is new activity of a young account.
    new_activity: bool,
    /// Events that earn points, in the window.
    window_events: u32,
    /// Leads with such events in the window.
    window_leads: u32,
    /// Such events in the 21 days before; 0 in absolute mode.
    baseline_events: u32,
    /// The window against a week of the baseline, in percent.
    ratio_percent: u64,
}

impl<P: Ports> Api<P> {
    /// The accounts that may surge by any settings.
    async fn lively(&self, workspace: &WorkspaceId) -> Result<Vec<Home>, Problem> {
        let from = survey::first_of_any_window(self.now());
        let rows = self.board.accounts(workspace).await?;
        Ok(rows.iter().filter(|row| row.last_activity_at.is_some_and(|at| at >= from)).map(|row| row.home.clone()).collect())
    }
}

/// Show when an account surges
///
/// `ETag` is the version of the scoring model; send it as `If-Match` with a change to be told when somebody else was faster.
#[utoipa::path(get, path = "/api/v1/settings/surge", operation_id = "showSurgeSettings", tag = "Scoring settings",
    responses((status = 200, description = "The settings", body = SurgeSettingsBody)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    Ok((tag(model.version()), Json(&model.document.surge)).into_response())
}

/// Set when an account surges
///
/// In force at once. A job scores every account by them; it notifies nobody.
#[utoipa::path(put, path = "/api/v1/settings/surge", operation_id = "putSurgeSettings", tag = "Scoring settings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = SurgeSettingsBody, content_type = "application/json", examples(
        ("Against the account's own past" = (value = json!({"mode": "relative", "enter_events": 8}))),
        ("So many events" = (value = json!({"mode": "absolute", "events": 8, "days": 3}))))),
    responses((status = 200, description = "They were these already", body = SurgeSettingsChanged),
        (status = 202, description = "They are in force, and a job scores every account by them; `Location` names it", body = SurgeSettingsChanged)))]
pub(crate) async fn put<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let settings = SurgeSettings::read(&body)?;
    let change = |document: &domain::model::ModelDocument| {
        setting::check(&seen, document.version)?;
        Ok((Change::Surge { settings: settings.clone() }, ()))
    };
    let changed = api.change_setting(&workspace, &by, change).await?;
    Ok(changed.answer(|model, unchanged, job| SurgeSettingsChanged {
        settings: settings.clone(),
        model_version: model.version(),
        unchanged,
        job,
    }))
}

/// See who would surge by other settings
///
/// Nothing is changed. At once for up to 2,000 accounts with an event in the last 28 days; for more a job does it, whose result is the same.
#[utoipa::path(post, path = "/api/v1/settings/surge/preview", operation_id = "previewSurgeSettings", tag = "Scoring settings",
    request_body(content = SurgeSettingsBody, content_type = "application/json", examples(
        ("Against the account's own past" = (value = json!({"mode": "relative", "enter_events": 8}))),
        ("So many events" = (value = json!({"mode": "absolute", "events": 8, "days": 3}))))),
    responses((status = 200, description = "Who would begin, go on and cease", body = SurgePreview),
        (status = 202, description = "A job finds out; `Location` names it", body = JobView)))]
pub(crate) async fn preview<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let settings = SurgeSettings::read(&body)?;
    let homes = api.lively(&workspace).await?;
    if homes.len() > INLINE {
        let job = api.start_job(&workspace, JobKind::SurgePreview { settings }, &by).await?;
        return Ok(started(&job.id.clone(), JobView::new(job)));
    }
    let (model, now) = (api.models.current(&workspace).await?, api.now());
    let survey = survey::surge(&api.homes, &workspace, &model, &settings, &homes, now).await?;
    Ok(Json(survey.to_value(&model.document.surge, &settings, now.day())).into_response())
}
