//! What only rulesets of levels have: the order of their segments, and cut points.

use super::{Deed, publish::answer, refused, settings::MAX_WHY};
use crate::{
    Api, Ports,
    auth::{By, Caller, Named},
    body::{Json as Body, Object, single},
    jobs::{JobView, started},
    kinds::Of,
    problem::{Fault, Problem},
    query,
};
use axum::{extract::State, response::Response};
use domain::{RulesetId, ruleset::Content};
use http::Uri;
use pipeline::{
    jobs::JobKind,
    rulesets::{Change, MAX_RULESETS, Plan},
};
use std::sync::Arc;

/// Order the segments of account rulesets
///
/// The first segment that holds for an account decides which account ruleset it falls under; whoever none takes falls under the primary one. The
/// body names every ruleset with a segment that is in use once. It acts at once; when a level may depend on it, the answer is 202 and a job brings
/// it to every account.
#[utoipa::path(put, path = "/api/v1/account-rulesets/order", operation_id = "orderAccountRulesets", tag = "Rulesets",
    request_body(content = super::schema::OrderBody, content_type = "application/json"),
    responses(
        (status = 200, description = "They are in this order", body = super::view::Published),
        (status = 202, description = "They are in this order, and a job brings it to every account", body = super::view::Published, headers(("Location" = String, description = "Where the job is"))),
    ))]
pub(crate) async fn order<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let mut object = Object::of(&body, &["order", "why", "notify"])?;
    if object.value("order").is_none() {
        object.fault("/order", "is required: the ids of all rulesets with a segment, the first to be asked first");
    }
    let mut order = Vec::new();
    for (at, value) in object.array("order", MAX_RULESETS) {
        match value.as_str().and_then(|id| RulesetId::new(id).ok()) {
            Some(id) => order.push(id),
            None => object.fault(at, "must be the id of a ruleset"),
        }
    }
    let why = object.text("why", MAX_WHY).flatten().unwrap_or_default();
    let notify = object.truth("notify").unwrap_or(false);
    let mut order: Vec<RulesetId> = object.finish(order)?;
    // The primary one is asked last, whether it is named or not.
    let model = api.models.latest(&workspace).await?;
    if order.last().is_some_and(|last| last.as_str() == model.document.primary_id(kind)) {
        order.pop();
    }
    let plan = Plan { workspace: &workspace, by: &by, why, notify, change: Change::Order { kind, order } };
    let came_of_it = api.rulesets.publish(&plan).await;
    api.models.forget(&workspace);
    Ok(answer(came_of_it.map_err(|error| refused(error, Deed::Edit, kind, "order"))?, Vec::new(), Vec::new()))
}

/// Compute the cut points of an account ruleset
///
/// A job counts the scores of the accounts that fall under it (of lead levels those of their leads), finds where its levels begin so that none
/// is larger than its `top_percent`, and publishes that as a new version of the account ruleset, which notifies nobody. Ties make a level smaller,
/// never larger. The job fails when there are fewer than 20 scores. With `every_days` it is computed again and again; `cut_points` of the account
/// ruleset names the next job, which can be cancelled.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/cut-points", operation_id = "computeAccountRulesetCutPoints", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    request_body(content = Object, content_type = "application/json", example = json!({})),
    responses((status = 202, description = "A job computes them; `Location` names it", body = JobView, headers(("Location" = String, description = "Where the job is")))))]
pub(crate) async fn cut_points<P: Ports>(
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
    Object::of(&body, &[])?.finish(())?;
    let refuse = |detail: &str| Err(single(Fault::at("", detail)));
    let levels = ruleset.content.as_ref().and_then(Content::levels);
    if levels.is_none_or(|levels| levels.percentiles.is_none()) {
        return refuse("the published version has no `percentiles`; publish one that says how large each level is to be first");
    }
    if !ruleset.primary && !ruleset.in_force {
        return refuse(
            "the ruleset is not in use, so that no account falls under it; enable it with a segment, or make it the primary one first",
        );
    }
    let kind = JobKind::Percentiles { of: ruleset.head.subject(), repeated: false };
    let job = api.start_job(&workspace, kind, &by).await?;
    Ok(started(&job.id.clone(), JobView::new(job)))
}
