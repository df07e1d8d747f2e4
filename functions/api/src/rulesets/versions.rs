//! What was published.

use super::{
    Deed, refused,
    view::{RulesetView, VersionItem, VersionSummary, VersionView, bare},
};
use crate::{
    Api, Ports,
    auth::{By, Caller, Named},
    body::{Json as Body, Object},
    cursor::Listing,
    kinds::Of,
    problem::Problem,
    query::{self, Parameters},
    view::Page,
};
use axum::{Json, extract::State, response::Response};
use domain::{
    WorkspaceId,
    ruleset::{RulesetKind, diff},
};
use http::{StatusCode, Uri};
use pipeline::rulesets::RulesetVersion;
use std::sync::Arc;

impl<P: Ports> Api<P> {
    async fn version_named(&self, workspace: &WorkspaceId, kind: RulesetKind, id: &str, number: &str) -> Result<RulesetVersion, Problem> {
        let missing = || Problem::not_found(&format!("version of {} `{id}`:", kind.title()), number);
        let named = self.ruleset_id(kind, id)?;
        let number: u64 = number.parse().map_err(|_| missing())?;
        self.rulesets.version(workspace, kind, &named, number).await?.ok_or_else(missing)
    }
}

/// List the versions of an account ruleset
///
/// Newest first, with who published each, when and why.
#[utoipa::path(get, path = "/api/v1/account-rulesets/{id}/versions", operation_id = "listAccountRulesetVersions", tag = "Rulesets",
    params(
        ("id" = String, Path, description = "The ruleset's id"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of versions", body = Page<VersionSummary>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<Page<VersionSummary>>, Problem> {
    let mut query = Parameters::of(&uri);
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;
    let listing = Listing::new("versions", &workspace, &[Some(kind.as_str()), Some(&id)]);
    let before: Option<u64> = listing.read(cursor.as_deref())?;
    let named = api.ruleset_id(kind, &id)?;
    let versions = api.rulesets.versions(&workspace, kind, &named, before, limit).await?;
    let versions = versions.ok_or_else(|| Problem::not_found(kind.title(), &id))?;
    let next = versions.last().filter(|last| versions.len() == limit && last.head.version > 1);
    let next_cursor = next.and_then(|last| listing.after(&last.head.version));
    Ok(Json(Page { data: versions.into_iter().map(VersionSummary::new).collect(), next_cursor }))
}

/// Show a version of an account ruleset
///
/// Its content, and what differs from the version before or from another one.
#[utoipa::path(get, path = "/api/v1/account-rulesets/{id}/versions/{version}", operation_id = "showAccountRulesetVersion", tag = "Rulesets",
    params(
        ("id" = String, Path, description = "The ruleset's id"), ("version" = u64, Path, description = "Its number"),
        ("against" = Option<u64>, Query, description = "The number of the version to compare with; usually the one before"),
    ),
    responses((status = 200, description = "The version", body = VersionView)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named((id, number)): Named<(String, String)>,
    uri: Uri,
) -> Result<Json<VersionView>, Problem> {
    let mut query = Parameters::of(&uri);
    let asked = query.text("against", 20);
    let against = asked.as_deref().map(str::parse::<u64>).transpose();
    if against.is_err() {
        query.fault("against", "must be the number of a version");
    }
    query.finish()?;
    let version = api.version_named(&workspace, kind, &id, &number).await?;
    let mut shown_against = version.head.version.checked_sub(1).filter(|before| *before > 0);
    let mut differences = version.diff.clone();
    if let (Ok(Some(against)), Some(asked)) = (&against, &asked) {
        let other = api.version_named(&workspace, kind, &id, asked).await?;
        differences = diff(Some(&other.content), &version.content);
        shown_against = Some(*against);
    }
    Ok(Json(VersionView {
        content: bare(&version.content),
        head: VersionItem::new(version.head),
        against: shown_against,
        diff: differences,
    }))
}

/// Copy a version of an account ruleset to its draft
///
/// The draft has the content of the version then. One that is there already is kept, and the answer is 409, unless `replace` is true.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/versions/{version}/copy", operation_id = "copyAccountRulesetVersion", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("version" = u64, Path, description = "Its number")),
    request_body(content = super::schema::CopyBody, content_type = "application/json"),
    responses((status = 200, description = "The account ruleset with its draft", body = RulesetView, headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn copy<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named((id, number)): Named<(String, String)>,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let version = api.version_named(&workspace, kind, &id, &number).await?;
    let mut object = Object::of(&body, &["replace"])?;
    let replace = object.truth("replace").unwrap_or(false);
    object.finish(())?;
    let copied = api.rulesets.copy_version(&workspace, kind, &ruleset.head.id, version.head.version, &by, replace).await;
    let ruleset = copied.map_err(|error| refused(error, Deed::Edit, kind, &id))?;
    api.ruleset_answer(&workspace, ruleset, StatusCode::OK).await
}
