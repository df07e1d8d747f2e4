//! Drafts come into force; earlier versions come back.

use super::{
    Deed, refused,
    settings::MAX_WHY,
    view::{ProposedLevels, Published},
};
use crate::{
    Api, Ports,
    auth::{By, Caller, Named},
    body::{Json as Body, Object},
    jobs::{JobView, started},
    kinds::Of,
    problem::{Fault, Problem},
    query,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    RulesetId, WorkspaceId,
    level::LevelRuleset,
    lint::Finding,
    model::ModelDocument,
    ruleset::{Content, RulesetKind},
    trigger::LevelOf,
};
use http::Uri;
use pipeline::rulesets::{Change, Plan, Ruleset, Started};
use std::sync::Arc;

/// The answer to a change that was brought into force.
pub(super) fn answer(came_of_it: Started, findings: Vec<Finding>, proposed_levels: Vec<ProposedLevels>) -> Response {
    let published = |unchanged, version, model_version, job| Published {
        unchanged,
        version,
        model_version,
        job,
        findings: findings.clone(),
        proposed_levels,
    };
    match came_of_it {
        Started::Unchanged => Json(published(true, None, None, None)).into_response(),
        Started::AtOnce { version, model } => Json(published(false, version, model, None)).into_response(),
        Started::Job { job, version, model } => {
            let id = job.id.clone();
            started(&id, published(false, version, Some(model), Some(JobView::new(*job))))
        }
    }
}

/// The levels that follow what a kind of ruleset gives, with what is possible by a content.
fn levels_of<'d>(document: &'d ModelDocument, content: &Content) -> Vec<(RulesetKind, &'d LevelRuleset, Option<i64>)> {
    let of_kind = |kind: RulesetKind, of: LevelOf, possible| document.all_levels(of).map(move |levels| (kind, levels, possible));
    match content {
        Content::Account(_) => of_kind(RulesetKind::AccountLevels, LevelOf::Account, content.possible()).collect(),
        Content::Engagement(rules) => of_kind(RulesetKind::LeadLevels, LevelOf::Lead, rules.possible_of_a_lead())
            .chain(of_kind(RulesetKind::EngagementLevels, LevelOf::Engagement, rules.possible_of_an_account()))
            .collect(),
        Content::Levels(_) => Vec::new(),
    }
}

/// Ranges that fit what is possible by a content that comes in the place of the primary ruleset's, when that is something else than before.
pub(super) fn proposed_levels(before: &Content, content: &Content, document: &ModelDocument) -> Vec<ProposedLevels> {
    let pairs = levels_of(document, before).into_iter().zip(levels_of(document, content));
    let proposed = pairs.filter_map(|((kind, levels, before), (_, _, after))| match (before, after) {
        (Some(before), Some(after)) if before != after => ProposedLevels::new(kind, levels, before, after),
        _ => None,
    });
    proposed.collect()
}

impl<P: Ports> Api<P> {
    /// Brings a content of a ruleset into force and answers what came of it.
    async fn put_into_force(
        &self,
        workspace: &WorkspaceId,
        ruleset: &Ruleset,
        content: Option<&Content>,
        plan: Plan<'_>,
    ) -> Result<Response, Problem> {
        let model = self.models.at_least(workspace, ruleset.model_version).await?;
        let (mut findings, mut proposed) = (Vec::new(), Vec::new());
        if let Some(content) = content {
            findings = self.findings(workspace, ruleset, content, &model).await?.0;
            let before = ruleset.content.as_ref().filter(|_| ruleset.primary);
            proposed = before.map(|before| proposed_levels(before, content, &model.document)).unwrap_or_default();
        }
        let published = self.rulesets.publish(&plan).await;
        self.models.forget(workspace);
        let (kind, id) = (ruleset.head.kind, ruleset.head.id.as_str());
        let came_of_it = published.map_err(|error| refused(error, Deed::Publish, kind, id))?;
        Ok(answer(came_of_it, findings, proposed))
    }
}

/// Publish the draft of an account ruleset
///
/// Names the revision that you reviewed: a draft that somebody edited since then is not published. The draft becomes the next version of the
/// account ruleset, and a job brings it to every account. Nobody is notified of the changes of levels that follow, unless `notify` is true. A
/// draft that counts events which nothing counted before comes into force once they are counted; until then every score is that of the old
/// rules. A draft that says what the newest version says is discarded, and the answer is 200 with `unchanged`.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/publish", operation_id = "publishAccountRuleset", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    request_body(content = super::schema::PublishBody, content_type = "application/json"),
    responses(
        (status = 200, description = "No account depends on it: it is in force, or everything was so already", body = Published),
        (status = 202, description = "A job brings it to every account", body = Published, headers(("Location" = String, description = "Where the job is"))),
    ))]
pub(crate) async fn publish<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let mut object = Object::of(&body, &["revision", "why", "notify"])?;
    let revision = object.required_whole("revision", 1..=u64::MAX, "the revision of the draft that you reviewed");
    let why = object.required("why", MAX_WHY, "why it is published, in a sentence for whoever looks it up");
    let notify = object.truth("notify").unwrap_or(false);
    let (revision, why) = object.finish(revision.zip(why))?.ok_or_else(Problem::internal)?;
    let content = ruleset.draft.as_ref().filter(|draft| draft.revision == revision).map(|draft| &draft.content);
    let change = Change::Ruleset { kind, id: ruleset.head.id.clone(), revision };
    api.put_into_force(&workspace, &ruleset, content, Plan { workspace: &workspace, by: &by, why, notify, change }).await
}

/// Roll an account ruleset back
///
/// The content of an earlier version becomes the next version of the account ruleset; history stays a line. A draft stays as it is.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/rollback", operation_id = "rollBackAccountRuleset", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    request_body(content = super::schema::RollbackBody, content_type = "application/json"),
    responses(
        (status = 200, description = "No account depends on it: it is in force, or everything was so already", body = Published),
        (status = 202, description = "A job brings it to every account", body = Published, headers(("Location" = String, description = "Where the job is"))),
    ))]
pub(crate) async fn rollback<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let mut object = Object::of(&body, &["version", "why", "notify"])?;
    let to = object.required_whole("version", 1..=u64::MAX, "the version to come back");
    let why = object.text("why", MAX_WHY).flatten();
    let notify = object.truth("notify").unwrap_or(false);
    let to = object.finish(to)?.ok_or_else(Problem::internal)?;
    let why = why.unwrap_or_else(|| format!("rolled back to version {to}"));
    let missing = || crate::body::single(Fault::at("/version", format!("there is no version {to} of {} `{id}`", kind.title())));
    let version = api.rulesets.version(&workspace, kind, &ruleset.head.id, to).await?.ok_or_else(missing)?;
    let change = Change::Rollback { kind, id: ruleset.head.id.clone(), to };
    api.put_into_force(&workspace, &ruleset, Some(&version.content), Plan { workspace: &workspace, by: &by, why, notify, change }).await
}

/// What is possible at present by the primary ruleset whose scores a kind of levels ranges over.
fn possible_now(kind: RulesetKind, document: &ModelDocument) -> Option<i64> {
    match kind {
        RulesetKind::AccountLevels => Content::Account(document.account.clone()).possible(),
        RulesetKind::LeadLevels => document.engagement.possible_of_a_lead(),
        RulesetKind::EngagementLevels => document.engagement.possible_of_an_account(),
        RulesetKind::Account | RulesetKind::Engagement => None,
    }
}

/// Propose ranges of an account ruleset
///
/// Its levels with their ranges moved along from what is possible now, or `from`, to `possible` points. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/propose", operation_id = "proposeAccountRulesetLevels", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    request_body(content = super::schema::ProposeBody, content_type = "application/json"),
    responses((status = 200, description = "The levels as they would be", body = ProposedLevels)))]
pub(crate) async fn propose<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Json<ProposedLevels>, Problem> {
    const MOST: u64 = 1_000_000_000;
    query::none(&uri)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let mut object = Object::of(&body, &["possible", "from"])?;
    let after = object.required_whole("possible", 1..=MOST, "how many points are to be possible");
    let from = object.whole("from", 1..=MOST);
    let model = api.models.at_least(&workspace, ruleset.model_version).await?;
    let whole = |n: u64| i64::try_from(n).ok();
    let before = from.and_then(whole).or_else(|| possible_now(kind, &model.document).filter(|now| *now > 0));
    if before.is_none() && object.value("from").is_none() {
        object.fault(
            "/from",
            "is required: there is no limit to what is possible now, so say how many points the present ranges are made for",
        );
    }
    let (before, after) = object.finish(before.zip(after.and_then(whole)))?.ok_or_else(Problem::internal)?;
    let Some(Content::Levels(levels)) = ruleset.editable() else { return Err(Problem::internal()) };
    let levels = levels.ruleset.proposed(before, after).ok_or_else(Problem::internal)?;
    Ok(Json(ProposedLevels {
        ruleset_id: RulesetId::to_string(&ruleset.head.id),
        kind: kind.as_str(),
        because: format!("{after} points are possible then, {before} before"),
        levels,
    }))
}
