//! Rulesets of every kind: they are made, edited as drafts, looked at, and published.
//!
//! The five kinds have the same addresses. Each handler serves them all; its description is written for account rulesets and said again for
//! the others (see `kinds`).

mod create;
mod edit;
mod items;
mod levels;
mod lint;
mod publish;
mod refusal;
mod schema;
mod settings;
mod versions;
mod view;

pub(crate) use refusal::{Deed, problem as refusal_of, refused};

use crate::{
    Api, Ports, Routes,
    auth::{Caller, Named},
    etag,
    kinds::{self, Of},
    problem::Problem,
    query,
    view::Page,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use domain::{RulesetId, WorkspaceId, ruleset::RulesetKind};
use http::{StatusCode, Uri};
use pipeline::{Clock, rulesets::Ruleset};
use std::sync::Arc;
use utoipa::OpenApi;
use view::{FindingCounts, RulesetItem, RulesetView};

/// The addresses of this module, for every kind of ruleset.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    kinds::add_routes(routes, |routes, kind| {
        let base = kinds::base(kind);
        let at = |rest: &str| format!("{base}{rest}");
        let (items, item) =
            if kind.is_of_levels() { ("/{id}/levels", "/{id}/levels/{level}") } else { ("/{id}/rules", "/{id}/rules/{rule}") };
        let routes = routes
            .route(&at(""), get(list::<P>).post(create::create::<P>))
            .route(&at("/{id}"), get(show::<P>).put(edit::replace::<P>).patch(settings::patch::<P>).delete(edit::remove::<P>))
            .route(&at("/{id}/draft"), delete(edit::discard::<P>))
            .route(&at(item), get(items::show::<P>).put(items::replace::<P>).delete(items::remove::<P>))
            .route(&at("/{id}/lint"), get(lint::show::<P>))
            .route(&at("/{id}/publish"), post(publish::publish::<P>))
            .route(&at("/{id}/rollback"), post(publish::rollback::<P>))
            .route(&at("/{id}/versions"), get(versions::list::<P>))
            .route(&at("/{id}/versions/{version}"), get(versions::show::<P>))
            .route(&at("/{id}/versions/{version}/copy"), post(versions::copy::<P>));
        let listed = get(items::list::<P>).post(items::add::<P>);
        if kind.is_of_levels() {
            routes
                .route(&at(items), listed)
                .route(&at("/{id}/propose"), post(publish::propose::<P>))
                .route(&at("/{id}/cut-points"), post(levels::cut_points::<P>))
                .route(&at("/order"), put(levels::order::<P>))
        } else {
            routes.route(&at(items), listed.put(items::reorder::<P>))
        }
    })
}

/// Written for `account-rulesets`; the others follow by `kinds::for_every_kind`.
#[derive(OpenApi)]
#[openapi(
    paths(
        list,
        create::create,
        show,
        edit::replace,
        settings::patch,
        edit::remove,
        edit::discard,
        items::list,
        items::add,
        items::reorder,
        items::show,
        items::replace,
        items::remove,
        lint::show,
        publish::publish,
        publish::rollback,
        publish::propose,
        levels::order,
        levels::cut_points,
        versions::list,
        versions::show,
        versions::copy,
    ),
    components(schemas(
        schema::AccountContent,
        schema::EngagementContent,
        schema::LevelContent,
        schema::AccountRule,
        schema::EngagementRule,
        schema::LevelRule,
        schema::AccountNewRuleset,
        schema::EngagementNewRuleset,
        schema::LevelNewRuleset,
        schema::AccountSettings,
        schema::EngagementSettings,
        schema::LevelSettings,
        Page<schema::EngagementRule>,
        Page<schema::LevelRule>,
        view::DifferenceView,
        view::FindingView,
    ))
)]
pub(crate) struct Doc;

/// What a client that looked at the ruleset looked at: its head and its draft.
pub(crate) fn tag(ruleset: &Ruleset) -> String {
    format!("\"{}-{}\"", ruleset.seen, ruleset.revision())
}

/// The ruleset whose newest content bears its name: it may have been renamed since that version.
fn by_its_name(mut ruleset: Ruleset) -> Ruleset {
    if let Some(content) = &mut ruleset.content {
        content.rename(&ruleset.head.name);
    }
    ruleset
}

impl<P: Ports> Api<P> {
    /// The ruleset that a client names, as it is now.
    pub(crate) async fn ruleset_named(&self, workspace: &WorkspaceId, kind: RulesetKind, named: &str) -> Result<Ruleset, Problem> {
        let id = self.ruleset_id(kind, named)?;
        let found = self.rulesets.find(workspace, kind, &id).await?;
        found.map(by_its_name).ok_or_else(|| Problem::not_found(kind.title(), named))
    }

    /// The id that a client names; what can't be one names nothing.
    pub(crate) fn ruleset_id(&self, kind: RulesetKind, named: &str) -> Result<RulesetId, Problem> {
        RulesetId::new(named).map_err(|_| Problem::not_found(kind.title(), named))
    }

    async fn ruleset_view(&self, workspace: &WorkspaceId, ruleset: Ruleset) -> Result<RulesetView, Problem> {
        let ruleset = by_its_name(ruleset);
        let model = self.models.at_least(workspace, ruleset.model_version).await?;
        let today = self.clock.now().day();
        let draft = ruleset.draft.as_ref();
        let findings = draft.map(|draft| lint::alone(&ruleset, &draft.content, &model.document, today)).unwrap_or_default();
        Ok(RulesetView::new(ruleset, &model.document, FindingCounts::of(&findings)))
    }

    /// The answer that shows a ruleset.
    async fn ruleset_answer(&self, workspace: &WorkspaceId, ruleset: Ruleset, status: StatusCode) -> Result<Response, Problem> {
        let tag = etag::header(&tag(&ruleset));
        Ok((status, tag, Json(self.ruleset_view(workspace, ruleset).await?)).into_response())
    }
}

/// List account rulesets
///
/// All of them, the primary one first.
#[utoipa::path(get, path = "/api/v1/account-rulesets", operation_id = "listAccountRulesets", tag = "Rulesets",
    responses((status = 200, description = "All of them", body = Page<RulesetItem>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    uri: Uri,
) -> Result<Json<Page<RulesetItem>>, Problem> {
    query::none(&uri)?;
    let rulesets = api.rulesets.list(&workspace, kind).await?;
    Ok(Json(Page { data: rulesets.into_iter().map(RulesetItem::new).collect(), next_cursor: None }))
}

/// Show an account ruleset
///
/// With its draft and the content of its newest version. `ETag` says what you looked at: give it as `If-Match` with a
/// change, and the change is refused when somebody else changed the ruleset meanwhile.
#[utoipa::path(get, path = "/api/v1/account-rulesets/{id}", operation_id = "showAccountRuleset", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    responses((status = 200, description = "The account ruleset", body = RulesetView, headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    api.ruleset_answer(&workspace, ruleset, StatusCode::OK).await
}
