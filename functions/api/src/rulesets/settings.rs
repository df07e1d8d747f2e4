//! Single settings: of the ruleset itself, which act at once, and of its draft.

use super::{
    Deed,
    edit::Edit,
    refused,
    view::{Published, RulesetView},
};
use crate::{
    Api, Ports,
    auth::{By, Caller, Named},
    body::{Large as Body, Object},
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
use pipeline::rulesets::{Change, HeadPatch, Plan, Ruleset, Started};
use serde_json::{Map, Value};
use std::sync::Arc;

pub(super) const NOT_OF_LEVELS: &str = "a level ruleset has no dates: it is used as long as it is enabled";
/// The most characters of a reason.
pub(super) const MAX_WHY: usize = 1_000;

/// Settings of a content, which go to the draft.
const fn of_draft(kind: RulesetKind) -> &'static [&'static str] {
    match kind {
        RulesetKind::Account => &["cap", "groups", "missing_means_no"],
        RulesetKind::Engagement => &["lead_cap", "aggregation"],
        RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => {
            &["hysteresis_percent", "dwell_hours", "segment", "percentiles"]
        }
    }
}

/// Settings of the ruleset itself.
const fn of_ruleset(kind: RulesetKind) -> &'static [&'static str] {
    if kind.is_of_levels() {
        &["name", "enabled", "primary", "why", "notify"]
    } else {
        &["name", "enabled", "starts_on", "ends_on", "primary", "why", "notify"]
    }
}

/// What is said about a change, and is none.
const BESIDE: [&str; 2] = ["why", "notify"];

/// What a body asks for.
enum Asked {
    Ruleset { patch: HeadPatch, why: String, notify: bool },
    Draft(Map<String, Value>),
}

fn read(kind: RulesetKind, body: &Value) -> Result<Asked, Problem> {
    let (of_ruleset, of_draft) = (of_ruleset(kind), of_draft(kind));
    let known: Vec<&str> = [of_ruleset, of_draft].concat();
    let mut object = Object::of(body, &known)?;
    let draft: Map<String, Value> =
        of_draft.iter().filter_map(|key| object.value(key).map(|value| ((*key).to_owned(), value.clone()))).collect();
    let first_of_ruleset = of_ruleset.iter().find(|key| object.value(key).is_some());
    let asks = known.iter().any(|key| !BESIDE.contains(key) && object.value(key).is_some());
    let only_beside = body.as_object().is_some_and(|map| map.keys().all(|key| BESIDE.contains(&key.as_str())));
    if only_beside && !asks {
        let settings = known.iter().filter(|key| !BESIDE.contains(key)).map(|key| format!("`{key}`"));
        object.fault("", format!("must have one of {}", settings.collect::<Vec<_>>().join(", ")));
    }
    if let (false, Some(key)) = (draft.is_empty(), first_of_ruleset) {
        let settings = draft.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        object.fault(format!("/{key}"), format!("acts at once, and {settings} is of the draft: send them apart"));
    }
    let patch = HeadPatch {
        name: object.value("name").and_then(|_| object.required("name", super::create::MAX_NAME, "what to call it")),
        enabled: object.truth("enabled"),
        starts_on: object.day("starts_on"),
        ends_on: object.day("ends_on"),
        primary: object.truth("primary"),
    };
    if patch.primary == Some(false) {
        object.fault("/primary", "must be true; one stops being the primary one when another is made primary");
    }
    let why = object.text("why", MAX_WHY).flatten().unwrap_or_default();
    let notify = object.truth("notify").unwrap_or(false);
    object.finish(())?;
    Ok(if draft.is_empty() { Asked::Ruleset { patch, why, notify } } else { Asked::Draft(draft) })
}

/// The content with these settings.
fn with_settings(kind: RulesetKind, content: &Content, settings: &Map<String, Value>) -> Result<Content, Problem> {
    let mut value = content.to_value();
    if let Some(map) = value.as_object_mut() {
        for (key, value) in settings {
            // `null` says: as if it had not been said.
            if value.is_null() {
                map.remove(key);
            } else {
                map.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(Content::read(kind, &value)?)
}

impl<P: Ports> Api<P> {
    /// Renames the draft along with its ruleset, unless the draft had another name.
    async fn rename_draft(&self, workspace: &WorkspaceId, by: &str, before: &Ruleset) -> Result<(), Problem> {
        let (kind, id) = (before.head.kind, before.head.id.as_str());
        let now = self.ruleset_named(workspace, kind, id).await?;
        if now.head.name == before.head.name || now.draft.as_ref().is_none_or(|draft| draft.content.name() != before.head.name) {
            return Ok(());
        }
        let edit = Edit { workspace, by, kind, id, looked_at: &IfMatch::Anything };
        let rename = |draft: &mut Content| {
            draft.rename(&now.head.name);
            Ok(())
        };
        self.edit(&edit, rename).await.map(|_| ())
    }
}

/// Change settings of an account ruleset
///
/// `name`, `enabled`, `starts_on`, `ends_on` and `primary` act at once; when scores depend on them, the answer is 202 and a job brings the
/// change to every account. All other settings go to the draft of the account ruleset and act once it is published. Send the two sorts apart.
#[utoipa::path(patch, path = "/api/v1/account-rulesets/{id}", operation_id = "changeAccountRuleset", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = super::schema::AccountSettings, content_type = "application/json"),
    responses(
        (status = 200, description = "The account ruleset after the change", body = RulesetView, headers(("ETag" = String, description = "For `If-Match`"))),
        (status = 202, description = "It is in force, and a job brings it to every account", body = Published, headers(("Location" = String, description = "Where the job is"))),
    ))]
#[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
pub(crate) async fn patch<P: Ports>(
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
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    match read(kind, &body)? {
        Asked::Draft(settings) => {
            let edit = Edit { workspace: &workspace, by: &by, kind, id: &id, looked_at: &looked_at };
            let (ruleset, ()) = api
                .edit(&edit, |draft| {
                    *draft = with_settings(kind, draft, &settings)?;
                    Ok(())
                })
                .await?;
            api.ruleset_answer(&workspace, ruleset, StatusCode::OK).await
        }
        Asked::Ruleset { patch, why, notify } => {
            looked_at.check(&super::tag(&ruleset), ruleset.revision())?;
            // Another ruleset may come to more or fewer points than the levels are made for.
            let becomes = ruleset.content.as_ref().filter(|_| patch.primary == Some(true) && !ruleset.primary);
            let proposed = match becomes {
                Some(content) => {
                    let model = api.models.at_least(&workspace, ruleset.model_version).await?;
                    super::publish::proposed_levels(&model.document.primary(kind), content, &model.document)
                }
                None => Vec::new(),
            };
            let change = Change::Head { kind, id: ruleset.head.id.clone(), patch };
            let plan = Plan { workspace: &workspace, by: &by, why, notify, change };
            let started = api.rulesets.publish(&plan).await;
            api.models.forget(&workspace);
            match started.map_err(|error| refused(error, Deed::Edit, kind, &id))? {
                Started::Unchanged | Started::AtOnce { .. } => {
                    api.rename_draft(&workspace, &by, &ruleset).await?;
                    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
                    api.ruleset_answer(&workspace, ruleset, StatusCode::OK).await
                }
                started @ Started::Job { .. } => Ok(super::publish::answer(started, Vec::new(), proposed)),
            }
        }
    }
}
