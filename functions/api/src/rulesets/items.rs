//! Single rules (of rulesets of levels: levels) and their order.

use super::{edit::Edit, schema, tag, view::RulesetView};
use crate::{
    Api, Ports,
    auth::{By, Caller, Named},
    body::{Large as Body, Object, single},
    etag::{self, IfMatch},
    kinds::{self, Of},
    problem::{Fault, Problem},
    query,
    view::Page,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{account_rules::MAX_RULES, ruleset::RulesetKind};
use http::{StatusCode, Uri, header};
use serde_json::Value;
use std::sync::Arc;

/// What the parts of a ruleset are called, in addresses and in messages.
const fn item(kind: RulesetKind) -> (&'static str, &'static str) {
    if kind.is_of_levels() { ("levels", "level") } else { ("rules", "rule") }
}

fn missing(kind: RulesetKind, id: &str) -> Problem {
    Problem::not_found(item(kind).1, id)
}

/// List the rules of an account ruleset
///
/// Those of the draft when there is one, else of the newest version, in their order.
#[utoipa::path(get, path = "/api/v1/account-rulesets/{id}/rules", operation_id = "listAccountRulesetRules", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    responses((status = 200, description = "All rules", body = Page<schema::AccountRule>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let data = ruleset.editable().map(domain::ruleset::Content::rules).unwrap_or_default();
    Ok((etag::header(&tag(&ruleset)), Json(Page { data, next_cursor: None })).into_response())
}

/// Show a rule of an account ruleset
///
/// As the draft has it when there is one, else the newest version.
#[utoipa::path(get, path = "/api/v1/account-rulesets/{id}/rules/{rule}", operation_id = "showAccountRulesetRule", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("rule" = String, Path, description = "The id")),
    responses((status = 200, description = "The rule", body = schema::AccountRule)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named((id, rule)): Named<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let found = ruleset.editable().and_then(|content| content.rule(&rule)).ok_or_else(|| missing(kind, &rule))?;
    Ok((etag::header(&tag(&ruleset)), Json(found)).into_response())
}

/// Add a rule to an account ruleset
///
/// To the draft, behind its others; a draft begins when there is none.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/rules", operation_id = "addAccountRulesetRule", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = schema::AccountRule, content_type = "application/json"),
    responses((status = 201, description = "The rule that was added", body = schema::AccountRule, headers(("Location" = String, description = "Where it is"), ("ETag" = String, description = "For `If-Match`")))))]
#[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
pub(crate) async fn add<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named(id): Named,
    looked_at: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let edit = Edit { workspace: &workspace, by: &by, kind, id: &id, looked_at: &looked_at };
    let (ruleset, rule) = api
        .edit(&edit, |draft| {
            let rule = body.get("id").and_then(Value::as_str).map(|rule| rule.trim().to_owned()).unwrap_or_default();
            if draft.rule(&rule).is_some() {
                let detail = format!("there is a {} `{rule}` already", item(kind).1);
                return Err(Problem::conflict(detail.clone()).with(Fault::at("/id", detail)));
            }
            draft.put_rule(&body)?;
            Ok(rule)
        })
        .await?;
    let added = ruleset.editable().and_then(|content| content.rule(&rule)).unwrap_or_default();
    let place: String = url::form_urlencoded::byte_serialize(rule.as_bytes()).collect::<String>().replace('+', "%20");
    let location = [(header::LOCATION, format!("{}/{id}/{}/{place}", kinds::base(kind), item(kind).0))];
    Ok((StatusCode::CREATED, location, etag::header(&tag(&ruleset)), Json(added)).into_response())
}

/// Replace a rule of an account ruleset
///
/// In the draft, at its place; a draft begins when there is none.
#[utoipa::path(put, path = "/api/v1/account-rulesets/{id}/rules/{rule}", operation_id = "replaceAccountRulesetRule", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("rule" = String, Path, description = "The id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = schema::AccountRule, content_type = "application/json"),
    responses((status = 200, description = "The rule after the change", body = schema::AccountRule, headers(("ETag" = String, description = "For `If-Match`")))))]
#[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
pub(crate) async fn replace<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named((id, rule)): Named<(String, String)>,
    looked_at: IfMatch,
    uri: Uri,
    Body(mut body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    if let Some(map) = body.as_object_mut() {
        let said = map.entry("id").or_insert_with(|| rule.as_str().into());
        if said.as_str().map(str::trim) != Some(rule.as_str()) {
            return Err(single(Fault::at("/id", format!("must be `{rule}` as in the address, or be left out"))));
        }
    }
    let edit = Edit { workspace: &workspace, by: &by, kind, id: &id, looked_at: &looked_at };
    let (ruleset, ()) = api
        .edit(&edit, |draft| {
            draft.rule(&rule).ok_or_else(|| missing(kind, &rule))?;
            Ok(draft.put_rule(&body)?)
        })
        .await?;
    let changed = ruleset.editable().and_then(|content| content.rule(&rule)).unwrap_or_default();
    Ok((etag::header(&tag(&ruleset)), Json(changed)).into_response())
}

/// Delete a rule of an account ruleset
///
/// From the draft; a draft begins when there is none.
#[utoipa::path(delete, path = "/api/v1/account-rulesets/{id}/rules/{rule}", operation_id = "deleteAccountRulesetRule", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("rule" = String, Path, description = "The id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    responses((status = 204, description = "The draft is without it")))]
pub(crate) async fn remove<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named((id, rule)): Named<(String, String)>,
    looked_at: IfMatch,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let edit = Edit { workspace: &workspace, by: &by, kind, id: &id, looked_at: &looked_at };
    let (ruleset, ()) = api.edit(&edit, |draft| if draft.remove_rule(&rule) { Ok(()) } else { Err(missing(kind, &rule)) }).await?;
    Ok((StatusCode::NO_CONTENT, etag::header(&tag(&ruleset))).into_response())
}

/// Reorder the rules of an account ruleset
///
/// The order in which they are listed and explained; no score depends on it. Names every rule of the draft once.
#[utoipa::path(put, path = "/api/v1/account-rulesets/{id}/rules", operation_id = "reorderAccountRulesetRules", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = Object, content_type = "application/json", example = json!({"order": ["industry", "employees", "revenue", "country"]})),
    responses((status = 200, description = "The account ruleset with its draft", body = RulesetView, headers(("ETag" = String, description = "For `If-Match`")))))]
#[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
pub(crate) async fn reorder<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named(id): Named,
    looked_at: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let mut object = Object::of(&body, &["order"])?;
    if object.value("order").is_none() {
        object.fault("/order", "is required: the ids of all rules in their order");
    }
    let mut order = Vec::new();
    for (at, value) in object.array("order", MAX_RULES) {
        match value.as_str() {
            Some(rule) => order.push(rule.to_owned()),
            None => object.fault(at, "must be the id of a rule"),
        }
    }
    object.finish(())?;
    let edit = Edit { workspace: &workspace, by: &by, kind, id: &id, looked_at: &looked_at };
    let (ruleset, ()) = api.edit(&edit, |draft| Ok(draft.reorder(&order)?)).await?;
    api.ruleset_answer(&workspace, ruleset, StatusCode::OK).await
}
