//! Drafts are edited and thrown away; rulesets are deleted.

use super::{Deed, refused, tag, view::RulesetView};
use crate::{
    Api, Ports,
    auth::{By, Caller, Named},
    body::Large as Body,
    etag::IfMatch,
    kinds::Of,
    problem::Problem,
    query,
};
use axum::{extract::State, response::Response};
use domain::{
    WorkspaceId,
    ruleset::{Content, RulesetKind},
};
use http::{StatusCode, Uri};
use pipeline::rulesets::{PublishError, Ruleset};
use std::sync::Arc;

/// How often an edit is tried again when somebody else edited in between: of many at once one gets through at a time.
const EDITS: usize = 50;

/// Which ruleset is to be edited, by whom, and what that person looked at.
#[derive(Debug)]
pub(super) struct Edit<'r> {
    pub(super) workspace: &'r WorkspaceId,
    pub(super) by: &'r str,
    pub(super) kind: RulesetKind,
    pub(super) id: &'r str,
    pub(super) looked_at: &'r IfMatch,
}

impl<P: Ports> Api<P> {
    /// Changes the draft; where there is none, one begins with the newest version. What somebody else writes in between is kept, unless the client
    /// says what it looked at: then it is told.
    pub(super) async fn edit<T>(
        &self,
        edit: &Edit<'_>,
        change: impl Fn(&mut Content) -> Result<T, Problem>,
    ) -> Result<(Ruleset, T), Problem> {
        let Edit { workspace, by, kind, id, looked_at } = *edit;
        for _ in 0..EDITS {
            let ruleset = self.ruleset_named(workspace, kind, id).await?;
            looked_at.check(&tag(&ruleset), ruleset.revision())?;
            let mut content = ruleset.editable().cloned().ok_or_else(Problem::internal)?;
            let made = change(&mut content)?;
            let put = self.rulesets.put_draft(workspace, kind, &ruleset.head.id, content, by, Some(ruleset.revision())).await;
            match put {
                Ok(ruleset) => return Ok((ruleset, made)),
                Err(PublishError::Stale { .. }) if !looked_at.is_said() => {}
                Err(error) => return Err(refused(error, Deed::Edit, kind, id)),
            }
        }
        Err(Problem::busy())
    }
}

/// Replace the draft of an account ruleset
///
/// The body is the whole content; nothing of it is in force before it is published. Without `If-Match` it replaces whatever draft there is.
/// A content with faults is refused, each fault with its place.
#[utoipa::path(put, path = "/api/v1/account-rulesets/{id}", operation_id = "replaceAccountRulesetDraft", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = super::schema::AccountContent, content_type = "application/json"),
    responses((status = 200, description = "The account ruleset with its draft", body = RulesetView, headers(("ETag" = String, description = "For `If-Match`")))))]
#[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
pub(crate) async fn replace<P: Ports>(
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
    // Whether there is such a ruleset comes before what is wrong with the body.
    api.ruleset_named(&workspace, kind, &id).await?;
    let content = Content::read(kind, &body)?;
    let (ruleset, ()) = api
        .edit(&edit, |draft| {
            draft.clone_from(&content);
            Ok(())
        })
        .await?;
    api.ruleset_answer(&workspace, ruleset, StatusCode::OK).await
}

/// Discard the draft of an account ruleset
///
/// The newest version is all there is then. A ruleset that was never published keeps its draft: delete it instead.
#[utoipa::path(delete, path = "/api/v1/account-rulesets/{id}/draft", operation_id = "discardAccountRulesetDraft", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    responses((status = 204, description = "The draft is gone")))]
pub(crate) async fn discard<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    looked_at: IfMatch,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    looked_at.check(&tag(&ruleset), ruleset.revision())?;
    let Some(draft) = &ruleset.draft else { return Err(Problem::not_found(&format!("draft of {}", kind.title()), &id)) };
    let expected = looked_at.is_said().then_some(draft.revision);
    let discarded = api.rulesets.discard_draft(&workspace, kind, &ruleset.head.id, expected).await;
    discarded.map(|()| StatusCode::NO_CONTENT).map_err(|error| refused(error, Deed::Edit, kind, &id))
}

/// Delete an account ruleset
///
/// With its draft. The primary one can't be deleted, and an enabled one has to be disabled first.
#[utoipa::path(delete, path = "/api/v1/account-rulesets/{id}", operation_id = "deleteAccountRuleset", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn remove<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    looked_at: IfMatch,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    looked_at.check(&tag(&ruleset), ruleset.revision())?;
    let deleted = api.rulesets.delete(&workspace, kind, &ruleset.head.id).await;
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|error| refused(error, Deed::Delete, kind, &id))
}
