//! Alias tables: what values of fields are called by their sources.

use super::EVERYTHING;
use crate::{
    Api, Ports, Routes,
    auth::{By, Caller, Named},
    body::{Json as Body, Object, single},
    etag::IfMatch,
    jobs::JobView,
    problem::{Fault, Problem},
    query,
    setting::{self, tag},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use domain::{
    WorkspaceId,
    aliases::{AliasTable, MAX_FIELDS},
    field::FieldName,
    model::ModelDocument,
};
use http::Uri;
use pipeline::rulesets::Change;
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

pub(super) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes
        .route("/api/v1/account-mappings/aliases", get(list::<P>))
        .route("/api/v1/account-mappings/aliases/{field}", get(show::<P>).put(replace::<P>).delete(remove::<P>))
}

/// The alias tables of all fields.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"aliases": {"segment": {"Enterprise": ["ent", "1000+ employees"], "Small": ["smb"]}}}))]
pub(crate) struct AliasTablesView {
    /// By field: each value with its aliases.
    #[schema(value_type = Object)]
    aliases: Value,
}

/// The alias table of a field.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"field": "segment", "values": {"Enterprise": ["ent", "1000+ employees"], "Small": ["smb"]}}))]
pub(crate) struct AliasTableView {
    /// The field.
    field: String,
    /// Each value with its aliases.
    values: BTreeMap<String, Vec<String>>,
}

/// An alias table, as a client writes it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"values": {"Enterprise": ["ent", "1000+ employees"], "Small": ["smb"]}}))]
pub(crate) struct AliasTableBody {
    /// At most 1,000 values, each with at most 200 aliases; at most 5,000 texts in all, of 1 to 200 characters. Compared without regard to case and blanks;
    /// a text stands for one value.
    values: BTreeMap<String, Vec<String>>,
}

/// The alias table after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliasTableChanged {
    /// The table.
    #[serde(flatten)]
    table: AliasTableView,
    /// What it holds for: rules ask it when they look at a field, so that nothing has to be read again.
    #[schema(example = "everything that is stored")]
    applies_to: &'static str,
    /// The version of the scoring model that is in force.
    model_version: u64,
    /// Whether nothing is different from before.
    unchanged: bool,
    /// The job that scores every account by it, silently; null when nothing has to be scored.
    #[schema(required)]
    job: Option<JobView>,
}

fn view(field: &str, document: &ModelDocument) -> AliasTableView {
    let values = document.aliases.get(field).into_iter().flat_map(AliasTable::values);
    AliasTableView { field: field.to_owned(), values: values.map(|(name, aliases)| (name.to_owned(), aliases.to_vec())).collect() }
}

fn none(field: &str) -> Problem {
    Problem::not_found("alias table of the field", field)
}

impl<P: Ports> Api<P> {
    async fn change_aliases(
        &self,
        workspace: &WorkspaceId,
        by: &str,
        seen: &IfMatch,
        field: &FieldName,
        table: Option<AliasTable>,
    ) -> Result<Response, Problem> {
        let changed = self
            .change_setting(workspace, by, |document| {
                setting::check(seen, document.version)?;
                let mut aliases = document.aliases.clone();
                let known = aliases.get(field.as_str()).is_some();
                if table.is_none() && !known {
                    return Err(none(field.as_str()));
                }
                if !known && aliases.len() >= MAX_FIELDS {
                    return Err(single(Fault::at("", format!("is one too many: {MAX_FIELDS} fields may have an alias table"))));
                }
                aliases.put(field.clone(), table.clone().unwrap_or_default());
                Ok((Change::Aliases { aliases }, ()))
            })
            .await?;
        Ok(changed.answer(|model, unchanged, job| {
            let (table, model_version) = (view(field.as_str(), &model.document), model.version());
            AliasTableChanged { table, applies_to: EVERYTHING, model_version, unchanged, job }
        }))
    }
}

/// The field that an address names.
fn field(named: &str) -> Result<FieldName, Problem> {
    FieldName::new(named).map_err(|error| single(Fault::at("", format!("the field in the address is none: {error}"))))
}

/// List alias tables
///
/// What values of fields are called by their sources. Countries and industries have built-in tables beside these; where both know a text, these decide.
/// `ETag` is the version of the scoring model.
#[utoipa::path(get, path = "/api/v1/account-mappings/aliases", operation_id = "listAliasTables", tag = "Mappings",
    responses((status = 200, description = "The tables of all fields", body = AliasTablesView)))]
pub(crate) async fn list<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    let aliases = serde_json::to_value(&model.document.aliases).map_err(|_| Problem::internal())?;
    Ok((tag(model.version()), Json(AliasTablesView { aliases })).into_response())
}

/// Show the alias table of a field
#[utoipa::path(get, path = "/api/v1/account-mappings/aliases/{field}", operation_id = "showAliasTable", tag = "Mappings",
    params(("field" = String, Path, description = "The field's name", example = "segment")),
    responses((status = 200, description = "The table", body = AliasTableView)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(named): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    model.document.aliases.get(&named).ok_or_else(|| none(&named))?;
    Ok((tag(model.version()), Json(view(&named, &model.document))).into_response())
}

/// Put the alias table of a field
///
/// `eq`, `neq`, `in` and `not_in`, and `contains` on lists, take every alias for its value from then on, in rules and in what is stored; fields keep the
/// text that was stated. A job scores every account; it notifies nobody, and no event is read again.
#[utoipa::path(put, path = "/api/v1/account-mappings/aliases/{field}", operation_id = "putAliasTable", tag = "Mappings",
    params(("field" = String, Path, description = "The field's name", example = "segment"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = AliasTableBody, content_type = "application/json"),
    responses((status = 200, description = "It was this already", body = AliasTableChanged),
        (status = 202, description = "It is in force, and a job scores every account by it; `Location` names it", body = AliasTableChanged)))]
pub(crate) async fn replace<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Named(named): Named,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let field = field(&named)?;
    let mut map = Object::of(&body, &["field", "values"])?;
    if map.value("field").is_some_and(|said| said.as_str() != Some(field.as_str())) {
        map.fault("/field", format!("must be `{field}`, which the address names, or absent"));
    }
    let values = map.value("values");
    if values.is_none() {
        map.fault("/values", "is required: an object of values, each with an array of its aliases");
    }
    map.finish(())?;
    let table = AliasTable::read(values.unwrap_or(&Value::Null)).map_err(|problems| {
        let faults = problems.0.into_iter().map(|problem| Fault::at(format!("/values{}", problem.pointer), problem.message)).collect();
        Problem::body(faults).unwrap_or_else(Problem::internal)
    })?;
    if table.values().next().is_none() {
        return Err(single(Fault::at("/values", "must have a value; to remove the table, DELETE it")));
    }
    api.change_aliases(&workspace, &by, &seen, &field, Some(table)).await
}

/// Remove the alias table of a field
///
/// A job scores every account; it notifies nobody.
#[utoipa::path(delete, path = "/api/v1/account-mappings/aliases/{field}", operation_id = "removeAliasTable", tag = "Mappings",
    params(("field" = String, Path, description = "The field's name", example = "segment"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    responses((status = 202, description = "It is gone, and a job scores every account; `Location` names it", body = AliasTableChanged)))]
pub(crate) async fn remove<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Named(named): Named,
    seen: IfMatch,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let field = FieldName::new(&named).map_err(|_| none(&named))?;
    api.change_aliases(&workspace, &by, &seen, &field, None).await
}
