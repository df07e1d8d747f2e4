//! Owner rules: who looks after which accounts, as long as no person says otherwise.

use crate::{
    Api, Ports, Routes,
    auth::{By, Caller},
    body::Json as Body,
    etag::IfMatch,
    jobs::JobView,
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
use domain::{
    model::{Model, ModelDocument},
    owner::{OwnerRule, OwnerRules},
};
use http::Uri;
use pipeline::{
    records::{AccountRecord, OwnerBy},
    rulesets::Change,
};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/settings/owner-rules", get(show::<P>).put(put::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(show, put), components(schemas(OwnerRuleBody)))]
pub(crate) struct Doc;

/// Owner rules, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"rules": [
    {"id": "dach-targets", "name": "Targets in DACH", "when": {"field": "country", "op": "in", "value": ["DE", "AT", "CH"]}, "levels": ["target"],
        "owners": ["kim@yourcompany.example", "robin@yourcompany.example"]},
    {"id": "rest", "name": "Everybody else", "owners": ["dana@yourcompany.example"]}
]}))]
pub(crate) struct OwnerRulesBody {
    /// At most 100; the first one that fits decides.
    #[schema(value_type = Vec<OwnerRuleBody>)]
    rules: Vec<OwnerRule>,
}

/// Whose the accounts are that fit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnerRuleBody {
    /// Names the rule in accounts: letters, digits, `_`, `-` and `.`. A rule that keeps its id keeps its accounts and its turns.
    #[schema(example = "dach-targets")]
    id: String,
    /// What people call it; usually the id.
    name: Option<String>,
    /// For which accounts: a condition as account rules have it, which may ask for `tier` and `priority`, too, and not for the owner. Usually all.
    #[schema(value_type = Option<Object>)]
    when: Option<Value>,
    /// For accounts of which account levels, by id. Usually of any.
    levels: Option<Vec<String>>,
    /// Who takes turns, 1 to 50, in this order.
    owners: Vec<String>,
}

/// Owner rules after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnerRulesChanged {
    /// The rules.
    #[schema(value_type = Vec<OwnerRuleBody>)]
    rules: Vec<OwnerRule>,
    /// The version of the scoring model that is in force.
    model_version: u64,
    /// Whether nothing is different from before.
    unchanged: bool,
    /// The job that looks at every account by them; null when no account can get another owner.
    #[schema(required)]
    job: Option<JobView>,
}

/// Who says who looks after an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnerByView {
    /// `person` or `rule`.
    #[schema(example = "rule")]
    by: &'static str,
    /// The owner rule's id, when it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "dach-targets")]
    rule_id: Option<String>,
    /// What the owner rule is called; null when there is no such rule any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "Targets in DACH")]
    rule: Option<Value>,
}

impl OwnerByView {
    /// Of an account that has an owner.
    pub(crate) fn of(record: &AccountRecord, model: &Model) -> Option<Self> {
        Some(match record.owner_by()? {
            OwnerBy::Manual => Self { by: "person", rule_id: None, rule: None },
            OwnerBy::Rule { id } => {
                let name = model.document.owners.rule(id).map(|rule| rule.name.clone());
                Self { by: "rule", rule_id: Some(id.clone()), rule: Some(name.into()) }
            }
        })
    }
}

/// Show who gets which accounts
///
/// `ETag` is the version of the scoring model; send it as `If-Match` with a change to be told when somebody else was faster.
#[utoipa::path(get, path = "/api/v1/settings/owner-rules", operation_id = "showOwnerRules", tag = "Scoring settings",
    responses((status = 200, description = "The rules", body = OwnerRulesBody)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    Ok((tag(model.version()), Json(model.document.owners.to_value())).into_response())
}

/// Set who gets which accounts
///
/// An account falls under the first rule whose condition holds and that names its level, or no level. When it comes under another rule, that rule's
/// owners take turns. It keeps its owner while it stays under the rule, unless the rule does not name that owner any more, and when no rule takes it.
/// An owner whom a person sets stays until the person clears it (`{"owner": null}`). In force at once; a job looks at every account.
#[utoipa::path(put, path = "/api/v1/settings/owner-rules", operation_id = "putOwnerRules", tag = "Scoring settings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = OwnerRulesBody, content_type = "application/json"),
    responses((status = 200, description = "No account can get another owner by them", body = OwnerRulesChanged),
        (status = 202, description = "They are in force, and a job looks at every account; `Location` names it", body = OwnerRulesChanged),
        (status = 412, description = "The model has another version than `If-Match` names")))]
pub(crate) async fn put<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let change = |document: &ModelDocument| {
        let owners = OwnerRules::read(&body, document)?;
        setting::check(&seen, document.version)?;
        Ok((Change::Owners { owners }, ()))
    };
    let changed = api.change_setting(&workspace, &by, change).await?;
    Ok(changed.answer(|model, unchanged, job| OwnerRulesChanged {
        rules: model.document.owners.0.clone(),
        model_version: model.version(),
        unchanged,
        job,
    }))
}
