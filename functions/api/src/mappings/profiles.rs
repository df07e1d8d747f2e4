//! Profile mappings: to which account a lead belongs, from what is known of it.

use super::{APPLIES_TO, apply::APPLY_PROFILES};
use crate::{
    Api, Ports, Routes,
    auth::{By, Caller, Named},
    body::{Json as Body, single},
    etag::IfMatch,
    problem::{Fault, Problem},
    query,
    setting::{self, tag},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use domain::{
    WorkspaceId,
    profile::{ProfileMapping, ProfileRule},
};
use http::{StatusCode, Uri, header};
use pipeline::rulesets::{Change, Started};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Where rules are kept.
const RULES: &str = "/api/v1/profile-mappings/rules";
/// The most rules.
const MAX_RULES: usize = 1_000;

pub(super) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes
        .route("/api/v1/profile-mappings", get(show::<P>).put(replace::<P>))
        .route(RULES, post(add::<P>))
        .route("/api/v1/profile-mappings/rules/{rule}", get(show_rule::<P>).put(replace_rule::<P>).delete(remove_rule::<P>))
}

/// Leads for whom it holds belong to the account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"when": "email_domain", "equals": "brightforge-systems.com", "account_id": "acct_7"}))]
pub(crate) struct ProfileRuleBody {
    /// What to look at: `email_domain` and `website_domain` (subdomains included), `email`, `company`, `department` or `title`.
    #[schema(value_type = String)]
    when: domain::profile::ProfileField,
    /// The value, compared without regard to case.
    equals: String,
    /// The account.
    account_id: String,
}

impl From<&ProfileRule> for ProfileRuleBody {
    fn from(rule: &ProfileRule) -> Self {
        Self { when: rule.when, equals: rule.equals.clone(), account_id: rule.account_id.to_string() }
    }
}

/// To which account a lead belongs, from what is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"rules": [{"when": "email_domain", "equals": "brightforge-systems.com", "account_id": "acct_7"}]}))]
pub(crate) struct ProfileMappingBody {
    /// At most 1,000; the first that holds decides.
    rules: Vec<ProfileRuleBody>,
}

/// The profile mapping after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileMappingChanged {
    /// The mapping.
    #[serde(flatten)]
    mapping: ProfileMappingBody,
    /// Whom it places: leads that were placed before stay until their next event.
    #[schema(example = "events from now on")]
    applies_to: &'static str,
    /// Where leads that were placed before are placed again: `POST {}`.
    #[schema(example = "/api/v1/profile-mappings/apply")]
    apply: &'static str,
    /// Whether nothing is different from before.
    unchanged: bool,
}

/// One rule after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileRuleChanged {
    /// The rule and its number.
    #[serde(flatten)]
    rule: NumberedProfileRule,
    /// Whom it places: leads that were placed before stay until their next event.
    #[schema(example = "events from now on")]
    applies_to: &'static str,
    /// Where leads that were placed before are placed again: `POST {}`.
    #[schema(example = "/api/v1/profile-mappings/apply")]
    apply: &'static str,
}

impl From<NumberedProfileRule> for ProfileRuleChanged {
    fn from(rule: NumberedProfileRule) -> Self {
        Self { rule, applies_to: APPLIES_TO, apply: APPLY_PROFILES }
    }
}

/// One rule and its number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NumberedProfileRule {
    /// Its place, from 1.
    #[schema(example = 1)]
    number: usize,
    /// The rule.
    #[serde(flatten)]
    rule: ProfileRuleBody,
}

fn view(mapping: &ProfileMapping) -> ProfileMappingBody {
    ProfileMappingBody { rules: mapping.rules.iter().map(ProfileRuleBody::from).collect() }
}

/// The profile mapping after a change.
struct Remapped {
    unchanged: bool,
    version: u64,
    mapping: ProfileMapping,
}

impl Remapped {
    fn rule(&self, place: usize) -> Result<NumberedProfileRule, Problem> {
        let rule = self.mapping.rules.get(place).ok_or_else(Problem::internal)?;
        Ok(NumberedProfileRule { number: place.saturating_add(1), rule: rule.into() })
    }
}

impl<P: Ports> Api<P> {
    /// Changes the rules by an edit that answers the place of the rule that it is about.
    async fn change_profiles(
        &self,
        workspace: &WorkspaceId,
        by: &str,
        seen: &IfMatch,
        edit: impl Fn(&mut ProfileMapping) -> Result<usize, Problem>,
    ) -> Result<(Remapped, usize), Problem> {
        let changed = self
            .change_setting(workspace, by, |document| {
                setting::check(seen, document.version)?;
                let mut profiles = document.profiles.clone();
                let place = edit(&mut profiles)?;
                Ok((Change::Profiles { profiles }, place))
            })
            .await?;
        let unchanged = changed.started == Started::Unchanged;
        let remapped = Remapped { unchanged, version: changed.model.version(), mapping: changed.model.document.profiles.clone() };
        Ok((remapped, changed.said))
    }
}

/// The place of the rule that an address names by its number.
fn place(mapping: &ProfileMapping, named: &str) -> Result<usize, Problem> {
    let number = named.parse().ok().filter(|number| (1..=mapping.rules.len()).contains(number));
    number.map(|number: usize| number - 1).ok_or_else(|| Problem::not_found("rule of the profile mapping", named))
}

/// Show how leads' traits name accounts
///
/// Rules are tried in their order, before anything else that is known of a lead but a person's decision. `ETag` is the version of the model.
#[utoipa::path(get, path = "/api/v1/profile-mappings", operation_id = "showProfileMapping", tag = "Mappings",
    responses((status = 200, description = "The mapping", body = ProfileMappingBody)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    Ok((tag(model.version()), Json(view(&model.document.profiles))).into_response())
}

/// Replace the profile mapping
///
/// It is in force at once, for leads with an event from now on; `apply` says where everybody is placed again.
#[utoipa::path(put, path = "/api/v1/profile-mappings", operation_id = "replaceProfileMapping", tag = "Mappings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = ProfileMappingBody, content_type = "application/json"),
    responses((status = 200, description = "The mapping after the change", body = ProfileMappingChanged, example = json!({
        "rules": [{"when": "email_domain", "equals": "brightforge-systems.com", "account_id": "acct_7"}],
        "applies_to": "events from now on", "apply": "/api/v1/profile-mappings/apply", "unchanged": false}))))]
pub(crate) async fn replace<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    if body.is_object() && body.get("rules").is_none() {
        return Err(single(Fault::at("/rules", "is required: an array of at most 1000 rules")));
    }
    let profiles = ProfileMapping::read(&body)?;
    let edit = |mapping: &mut ProfileMapping| {
        *mapping = profiles.clone();
        Ok(0)
    };
    let (changed, _) = api.change_profiles(&workspace, &by, &seen, edit).await?;
    let body = ProfileMappingChanged {
        mapping: view(&changed.mapping),
        applies_to: APPLIES_TO,
        apply: APPLY_PROFILES,
        unchanged: changed.unchanged,
    };
    Ok((tag(changed.version), Json(body)).into_response())
}

/// Add a rule
///
/// Behind the others.
#[utoipa::path(post, path = "/api/v1/profile-mappings/rules", operation_id = "addProfileRule", tag = "Mappings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = ProfileRuleBody, content_type = "application/json"),
    responses((status = 201, description = "The rule that was added; `Location` names it", body = ProfileRuleChanged)))]
pub(crate) async fn add<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let rule = ProfileRule::read(&body)?;
    let edit = |mapping: &mut ProfileMapping| {
        if mapping.rules.len() >= MAX_RULES {
            return Err(single(Fault::at("", format!("is one too many: there may be {MAX_RULES} rules"))));
        }
        mapping.rules.push(rule.clone());
        Ok(mapping.rules.len().saturating_sub(1))
    };
    let (changed, place) = api.change_profiles(&workspace, &by, &seen, edit).await?;
    let rule = changed.rule(place)?;
    let location = [(header::LOCATION, format!("{RULES}/{}", rule.number))];
    Ok((StatusCode::CREATED, tag(changed.version), location, Json(ProfileRuleChanged::from(rule))).into_response())
}

/// Show a rule
#[utoipa::path(get, path = "/api/v1/profile-mappings/rules/{rule}", operation_id = "showProfileRule", tag = "Mappings",
    params(("rule" = String, Path, description = "The rule's number, from 1", example = "1")),
    responses((status = 200, description = "The rule", body = NumberedProfileRule)))]
pub(crate) async fn show_rule<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(named): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let model = api.models.latest(&workspace).await?;
    let mapping = model.document.profiles.clone();
    let place = place(&mapping, &named)?;
    let remapped = Remapped { unchanged: true, version: model.version(), mapping };
    Ok((tag(remapped.version), Json(remapped.rule(place)?)).into_response())
}

/// Replace a rule
///
/// It keeps its place.
#[utoipa::path(put, path = "/api/v1/profile-mappings/rules/{rule}", operation_id = "replaceProfileRule", tag = "Mappings",
    params(("rule" = String, Path, description = "The rule's number, from 1"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = ProfileRuleBody, content_type = "application/json"),
    responses((status = 200, description = "The rule after the change", body = ProfileRuleChanged)))]
pub(crate) async fn replace_rule<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Named(named): Named,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let rule = ProfileRule::read(&body)?;
    let edit = |mapping: &mut ProfileMapping| {
        let place = place(mapping, &named)?;
        if let Some(there) = mapping.rules.get_mut(place) {
            *there = rule.clone();
        }
        Ok(place)
    };
    let (changed, place) = api.change_profiles(&workspace, &by, &seen, edit).await?;
    Ok((tag(changed.version), Json(ProfileRuleChanged::from(changed.rule(place)?))).into_response())
}

/// Remove a rule
///
/// Later rules move up. Leads that it placed stay where they are until their next event, or until the mapping is applied.
#[utoipa::path(delete, path = "/api/v1/profile-mappings/rules/{rule}", operation_id = "removeProfileRule", tag = "Mappings",
    params(("rule" = String, Path, description = "The rule's number, from 1"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn remove_rule<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Named(named): Named,
    seen: IfMatch,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let edit = |mapping: &mut ProfileMapping| {
        let place = place(mapping, &named)?;
        mapping.rules.remove(place);
        Ok(place)
    };
    let (changed, _) = api.change_profiles(&workspace, &by, &seen, edit).await?;
    Ok((StatusCode::NO_CONTENT, tag(changed.version)).into_response())
}
