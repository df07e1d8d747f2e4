//! Templates: rulesets to begin with, which ask for what differs from company to company.

use crate::{
    Ports, Routes,
    auth::{Caller, Named},
    problem::Problem,
    query::{self, Parameters},
    view::Page,
};
use axum::{Json, routing::get};
use domain::ruleset::{RulesetKind, Template, VariableKind};
use http::Uri;
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/ruleset-templates", get(list)).route("/api/v1/ruleset-templates/{id}", get(show))
}

#[derive(OpenApi)]
#[openapi(paths(list, show))]
pub(crate) struct Doc;

/// A ruleset to begin with. Make one of it by `POST` to the address of its kind, with `{"template": id, "variables": {…}}`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "mid-market-land", "name": "Mid-Market Land Strategy", "kind": "account", "make_at": "/api/v1/account-rulesets",
    "says": "New companies of medium size in the one industry you go for.",
    "variables": [{"name": "target_vertical", "says": "The one industry you go for", "kind": "text", "required": true, "default": null}],
    "mapping_entries": [],
    "body": {"rules": [{"id": "vertical", "points": 30, "condition": {"field": "industry", "op": "eq", "value": {"$": "target_vertical"}}}]}
}))]
pub(crate) struct TemplateView {
    /// Names the template.
    pub id: &'static str,
    /// What people call it, and the ruleset that is made of it unless they name it.
    pub name: &'static str,
    /// What it is for.
    pub says: &'static str,
    /// The kind of ruleset that it makes.
    pub kind: &'static str,
    /// Where a ruleset is made of it.
    pub make_at: String,
    /// What it asks for.
    pub variables: Vec<VariableView>,
    /// Entries of the account mapping that it needs, with places for variables.
    #[schema(value_type = Vec<Object>)]
    pub mapping_entries: &'static [Value],
    /// The content, with places for variables: `{"$": "name"}`.
    #[schema(value_type = Object)]
    pub body: &'static Value,
}

/// What a template asks for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VariableView {
    /// Its name.
    #[schema(example = "target_vertical")]
    pub name: &'static str,
    /// What it means.
    #[schema(example = "The one industry you go for")]
    pub says: &'static str,
    /// What it may be: `text`, `number`, `range` (two numbers, the lower one first), `list` (texts or numbers) or `event` (its name).
    #[schema(example = "text")]
    pub kind: &'static str,
    /// Whether somebody must say.
    pub required: bool,
    /// What it is when nobody says; null when there is no such value.
    pub default: Option<&'static Value>,
}

impl TemplateView {
    fn new(template: &'static Template) -> Self {
        let variables = template.variables.iter().map(|variable| VariableView {
            name: &variable.name,
            says: &variable.says,
            kind: match variable.kind {
                VariableKind::Text => "text",
                VariableKind::Number => "number",
                VariableKind::Range => "range",
                VariableKind::List => "list",
                VariableKind::Event => "event",
            },
            required: variable.required,
            default: variable.default.as_ref(),
        });
        Self {
            id: &template.id,
            name: &template.name,
            says: &template.says,
            kind: template.kind.as_str(),
            make_at: crate::kinds::base(template.kind),
            variables: variables.collect(),
            mapping_entries: &template.mapping_entries,
            body: &template.body,
        }
    }
}

/// List ruleset templates
///
/// All of them, with the variables that they ask for.
#[utoipa::path(get, path = "/api/v1/ruleset-templates", operation_id = "listRulesetTemplates", tag = "Rulesets",
    params(("kind" = Option<String>, Query, description = "Only those that make this kind: `account`, `engagement`, `account_levels`, `lead_levels` or `engagement_levels`")),
    responses((status = 200, description = "All templates", body = Page<TemplateView>)))]
pub(crate) async fn list(Caller(_workspace): Caller, uri: Uri) -> Result<Json<Page<TemplateView>>, Problem> {
    let mut query = Parameters::of(&uri);
    let kind = query.word("kind", &RulesetKind::ALL.map(|kind| (kind.as_str(), kind)));
    query.finish()?;
    let wanted = Template::all().iter().filter(|template| kind.is_none_or(|kind| template.kind == kind));
    Ok(Json(Page { data: wanted.map(TemplateView::new).collect(), next_cursor: None }))
}

/// Show a ruleset template
#[utoipa::path(get, path = "/api/v1/ruleset-templates/{id}", operation_id = "showRulesetTemplate", tag = "Rulesets",
    params(("id" = String, Path, description = "The template's id", example = "mid-market-land")),
    responses((status = 200, description = "The template", body = TemplateView)))]
pub(crate) async fn show(Caller(_workspace): Caller, Named(id): Named, uri: Uri) -> Result<Json<TemplateView>, Problem> {
    query::none(&uri)?;
    let template = Template::find(&id).ok_or_else(|| Problem::not_found("ruleset template", &id))?;
    Ok(Json(TemplateView::new(template)))
}
