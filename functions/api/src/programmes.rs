//! Programmes: what runs for which columns of accounts.

use crate::{
    Api, Ports, Routes,
    auth::Caller,
    body::Json as Body,
    etag::IfMatch,
    filter,
    problem::Problem,
    query,
    setting::{self, tag},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use domain::{Home, WorkspaceId, model::ModelDocument, programmes::Programmes};
use http::Uri;
use pipeline::{
    Consistency, Store, Versioned,
    board::Rows,
    homes::put_record,
    records::{from_item, programmes_key},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/settings/programmes", get(show::<P>).put(put::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(show, put), components(schemas(ColumnBody, ProgrammeBody)))]
pub(crate) struct Doc;

/// Which programmes run for which accounts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "columns": [{"id": "top-20", "name": "Top 20 accounts", "view": {"sort": "account_score", "first": 20}},
        {"id": "a-b", "name": "A & B", "view": {"grade": ["A", "B"]}}, {"id": "rest", "name": "Remaining accounts", "view": {}}],
    "programmes": [{"name": "Company emails", "runs": {"top-20": true, "a-b": true, "rest": true}},
        {"name": "Event invites", "runs": {"top-20": true, "a-b": false, "rest": false}},
        {"name": "Sales calls", "runs": {"top-20": true, "a-b": true, "rest": false}}]
}))]
pub(crate) struct ProgrammesBody {
    /// At most 20; an account belongs to the first one whose view takes it.
    columns: Vec<ColumnBody>,
    /// At most 50.
    programmes: Vec<ProgrammeBody>,
}

/// Accounts that are treated alike.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnBody {
    /// Names the column in programmes.
    id: String,
    /// What people call it; usually the id.
    name: Option<String>,
    /// The parameters of the accounts list: `search`, `level`, `engagement_level`, `grade`, `grid`, `surging`, `owner`, `tier`, `sort` and `order`, and
    /// `first` for only so many of them in that order. A list of values takes accounts with any of them.
    #[schema(value_type = Object)]
    view: Value,
}

/// Something that marketing or sales do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgrammeBody {
    /// What people call it.
    name: String,
    /// Whether it runs, for each column by its id.
    runs: BTreeMap<String, bool>,
}

/// Where an account stands in the programmes.
pub(crate) struct Place {
    /// The column's name; none before the account was first levelled, and when no view takes it.
    pub(crate) column: Option<String>,
    /// Whether each programme runs for it.
    pub(crate) runs: BTreeMap<String, bool>,
}

impl Place {
    /// Of an account among all of them.
    pub(crate) fn of(home: &Home, programmes: &Programmes, rows: &Rows, document: &ModelDocument) -> Self {
        let row = rows.find(home);
        let column = row.and_then(|row| programmes.columns.iter().find(|column| filter::shows(&column.view, rows, row, document)));
        Self { column: column.map(|column| column.name.clone()), runs: column.map(|column| programmes.runs(column)).unwrap_or_default() }
    }
}

impl<P: Ports> Api<P> {
    /// The programmes of a workspace with their version; version 0 is the template.
    pub(crate) async fn programmes(&self, workspace: &WorkspaceId, consistency: Consistency) -> Result<Versioned<Programmes>, Problem> {
        match self.store.read(&programmes_key(workspace), consistency).await? {
            Some(item) => Ok(Versioned { version: item.version, record: from_item(&item)? }),
            None => Ok(Versioned { version: 0, record: Programmes::template().map_err(|_| Problem::internal())? }),
        }
    }
}

/// Show which programmes run for which accounts
///
/// Before anything was set it is the template: the best 20 accounts by fit, those with grade A or B, and the rest. `ETag` is the version; send it as
/// `If-Match` with a change to be told when somebody else was faster.
#[utoipa::path(get, path = "/api/v1/settings/programmes", operation_id = "showProgrammes", tag = "Scoring settings",
    responses((status = 200, description = "Columns and programmes", body = ProgrammesBody)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let programmes = api.programmes(&workspace, Consistency::Strong).await?;
    Ok((tag(programmes.version), Json(programmes.record)).into_response())
}

/// Set which programmes run for which accounts
///
/// In force at once. Nothing is stored with accounts: who is in a column is asked when an account is looked at.
#[utoipa::path(put, path = "/api/v1/settings/programmes", operation_id = "putProgrammes", tag = "Scoring settings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = ProgrammesBody, content_type = "application/json"),
    responses((status = 200, description = "Columns and programmes as they are now", body = ProgrammesBody),
        (status = 412, description = "They have another version than `If-Match` names")))]
pub(crate) async fn put<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    let programmes = Programmes::read(&body, &model.document)?;
    for _ in 0..crate::ATTEMPTS {
        let before = api.programmes(&workspace, Consistency::Strong).await?;
        setting::check(&seen, before.version)?;
        if before.record == programmes {
            return Ok((tag(before.version), Json(programmes)).into_response());
        }
        match api.store.write(put_record(programmes_key(&workspace), before.version, &programmes)?).await {
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok((tag(before.version.saturating_add(1)), Json(programmes)).into_response()),
        }
    }
    Err(Problem::busy())
}
