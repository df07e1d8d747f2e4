//! Triggers: what calls for a notification.

use crate::{
    ATTEMPTS, Api, Ports,
    auth::{Caller, Named},
    body::Json as Body,
    problem::Problem,
    query::{self, Parameters},
    view::Page,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    DestinationId, TriggerId, WorkspaceId,
    trigger::{Direction, FilterFacts, FilterOn, LevelOf, Trigger, TriggerDraft, When},
};
use http::{StatusCode, Uri, header};
use pipeline::{StoreError, board::Row, notify::new_trigger_id, records::ScoreRecord};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// How many of the accounts that already qualify are listed.
const LISTED: usize = 20;
/// How many accounts a filter on fields is tried on.
const TRIED: usize = 5_000;
/// How many score records are read at once for that.
const READ_AT_ONCE: usize = 200;

/// A trigger as a client writes it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "New Targets", "when": {"kind": "level_entered", "level": "target"}, "destinations": ["dst_01k4z8e6v3y0m9c2w5t7r1p4qx"]}))]
pub(crate) struct TriggerBody {
    /// What to call it, 1 to 200 characters.
    name: String,
    /// Whether it fires at all; usually true.
    enabled: Option<bool>,
    /// For what: `{"kind": "level_entered" | "level_left", "level", "of": "account" | "engagement" | "lead"}`,
    /// `{"kind": "surge_started" | "surge_ended"}` or `{"kind": "engagement_crossed", "threshold", "direction": "up" | "down"}`.
    #[schema(value_type = Object)]
    when: Value,
    /// For which accounts; all must hold: `{"on": "tier" | "owner" | "level" | "engagement_level", "equals" | "in"}` or
    /// `{"on": "field", "field", "equals" | "in"}`.
    #[schema(value_type = Option<Vec<Object>>)]
    filters: Option<Vec<Value>>,
    /// How often for one account: `{"mode": "always" | "once", "cooldown_hours"}`; usually always, with 168 hours.
    #[schema(value_type = Option<Object>)]
    fire: Option<Value>,
    /// The ids of 1 to 20 destinations.
    destinations: Vec<String>,
}

/// A trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerView {
    /// Its id.
    #[schema(value_type = String, example = "trg_01k4z8e6v3y0m9c2w5t7r1p4qx")]
    pub id: TriggerId,
    /// What people call it.
    #[schema(example = "New Targets")]
    pub name: String,
    /// Whether it fires at all.
    pub enabled: bool,
    /// For what.
    #[schema(value_type = Object, example = json!({"kind": "level_entered", "level": "target", "of": "account"}))]
    pub when: When,
    /// For which accounts.
    #[schema(value_type = Vec<Object>)]
    pub filters: Vec<domain::trigger::TriggerFilter>,
    /// How often for one account.
    #[schema(value_type = Object, example = json!({"mode": "always", "cooldown_hours": 168}))]
    pub fire: domain::trigger::Fire,
    /// Who is told.
    #[schema(value_type = Vec<String>)]
    pub destinations: Vec<DestinationId>,
    /// From when on it fires, RFC 3339. What was so before never fires it.
    pub created_at: String,
    /// Counts its changes.
    pub version: u64,
    /// Accounts for which it would have fired already, had it been there; only when it was just made or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already_qualify: Option<Qualifying>,
}

/// Accounts that are already where a trigger looks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Qualifying {
    /// How many.
    pub count: usize,
    /// The first of them, most engaged first.
    pub accounts: Vec<QualifyingAccount>,
}

/// An account that is already where a trigger looks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualifyingAccount {
    /// Its id.
    pub account_id: String,
    /// Its name.
    #[schema(required)]
    pub name: Option<String>,
    /// Fit.
    pub account_score: i32,
    /// Behaviour.
    pub engagement_score: i64,
}

impl TriggerView {
    fn new(trigger: Trigger, already_qualify: Option<Qualifying>) -> Self {
        Self {
            created_at: trigger.created_at.to_string(),
            id: trigger.id,
            name: trigger.name,
            enabled: trigger.enabled,
            when: trigger.when,
            filters: trigger.filters,
            fire: trigger.fire,
            destinations: trigger.destinations,
            version: trigger.version,
            already_qualify,
        }
    }
}

/// Whether an account is already where a trigger looks. Of leads only the hottest one's level is known here.
fn is_there(when: &When, row: &Row) -> bool {
    match when {
        When::LevelEntered { level, of } => {
            let held = match of {
                LevelOf::Account => &row.level,
                LevelOf::Engagement => &row.engagement_level,
                LevelOf::Lead => &row.hottest,
            };
            held.as_deref() == Some(level)
        }
        When::SurgeStarted {} => row.surge,
        When::EngagementCrossed { threshold, direction: Direction::Up } => row.engagement >= *threshold,
        When::EngagementCrossed { threshold, direction: Direction::Down } => row.engagement < *threshold,
        When::GridEntered { cell } => row.grid == Some(*cell),
        When::LevelLeft { .. } | When::SurgeEnded {} => false,
    }
}

fn admits(trigger: &Trigger, row: &Row, score: Option<&ScoreRecord>) -> bool {
    let field = |name: &str| score.and_then(|score| serde_json::to_value(score.fields.get(name)?).ok());
    trigger.admits(&FilterFacts {
        level: row.level.as_deref(),
        grade: row.grade,
        grid: row.grid,
        engagement_level: row.engagement_level.as_deref(),
        tier: row.tier.as_deref(),
        owner: row.owner.as_deref(),
        field: Some(&field),
    })
}

impl<P: Ports> Api<P> {
    async fn qualifying(&self, workspace: &WorkspaceId, trigger: &Trigger) -> Result<Option<Qualifying>, Problem> {
        if matches!(trigger.when, When::LevelLeft { .. } | When::SurgeEnded {}) {
            return Ok(None);
        }
        let rows = self.board.accounts(workspace).await?;
        let engaged = |row: &Row| is_there(&trigger.when, row).then_some(row.engagement);
        let (candidates, _) = rows.select(rows.len(), engaged, |a, b| b.cmp(a));
        let by_field = trigger.filters.iter().any(|filter| matches!(filter.on, FilterOn::Field(_)));
        let mut found = Vec::new();
        if by_field {
            for chunk in candidates.chunks(READ_AT_ONCE).take(TRIED / READ_AT_ONCE) {
                let scores = self.scores(workspace, chunk).await?;
                found.extend(chunk.iter().filter(|row| admits(trigger, row, scores.get(&row.home))));
            }
        } else {
            found.extend(candidates.iter().filter(|row| admits(trigger, row, None)));
        }
        let accounts = found.iter().take(LISTED).map(|row| QualifyingAccount {
            account_id: row.home.account().map(ToString::to_string).unwrap_or_default(),
            name: row.name.as_deref().map(str::to_owned),
            account_score: row.account_score,
            engagement_score: row.engagement,
        });
        Ok(Some(Qualifying { count: found.len(), accounts: accounts.collect() }))
    }

    /// Reads a trigger and checks that what it names is there.
    async fn trigger_draft(&self, workspace: &WorkspaceId, body: &Value) -> Result<TriggerDraft, Problem> {
        let draft = TriggerDraft::read(body)?;
        let model = self.models.current(workspace).await?;
        let destinations: Vec<DestinationId> =
            self.destinations.list(workspace).await?.into_iter().map(|destination| destination.id).collect();
        draft.check_names(|of| model.document.level_ids(of).into_iter().map(str::to_owned).collect(), &destinations)?;
        Ok(draft)
    }

    async fn trigger_named(&self, workspace: &WorkspaceId, id: &str) -> Result<Trigger, Problem> {
        let missing = || Problem::not_found("trigger", id);
        let id = TriggerId::new(id).map_err(|_| missing())?;
        self.triggers.find(workspace, &id).await?.ok_or_else(missing)
    }
}

/// List triggers
///
/// All of them, in the order in which they were made.
#[utoipa::path(get, path = "/api/v1/triggers", operation_id = "listTriggers", tag = "Triggers",
    responses((status = 200, description = "All triggers", body = Page<TriggerView>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
) -> Result<Json<Page<TriggerView>>, Problem> {
    Parameters::of(&uri).finish()?;
    let triggers = api.triggers.list(&workspace).await?;
    let data = triggers.into_iter().map(|trigger| TriggerView::new(trigger, None)).collect();
    Ok(Json(Page { data, next_cursor: None }))
}

/// Show a trigger
#[utoipa::path(get, path = "/api/v1/triggers/{id}", operation_id = "showTrigger", tag = "Triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    responses((status = 200, description = "The trigger", body = TriggerView)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<TriggerView>, Problem> {
    query::none(&uri)?;
    Ok(Json(TriggerView::new(api.trigger_named(&workspace, &id).await?, None)))
}

/// Make a trigger
///
/// It starts from now: what is so already does not fire it. The answer lists the accounts that already qualify.
#[utoipa::path(post, path = "/api/v1/triggers", operation_id = "createTrigger", tag = "Triggers",
    request_body(content = TriggerBody, content_type = "application/json"),
    responses((status = 201, description = "The trigger that was made", body = TriggerView)))]
pub(crate) async fn create<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let draft = api.trigger_draft(&workspace, &body).await?;
    let now = api.now();
    let id = new_trigger_id(&api.entropy, now).map_err(|_| Problem::internal())?;
    let trigger = api.triggers.put_new(&workspace, draft.start(id, now)).await?;
    let qualifying = api.qualifying(&workspace, &trigger).await?;
    let location = [(header::LOCATION, format!("/api/v1/triggers/{}", trigger.id))];
    Ok((StatusCode::CREATED, location, Json(TriggerView::new(trigger, qualifying))).into_response())
}

/// Replace a trigger
///
/// One that now waits for something else, or is switched on again, starts anew from now.
#[utoipa::path(put, path = "/api/v1/triggers/{id}", operation_id = "replaceTrigger", tag = "Triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    request_body(content = TriggerBody, content_type = "application/json"),
    responses((status = 200, description = "The trigger after the change", body = TriggerView)))]
pub(crate) async fn replace<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Json<TriggerView>, Problem> {
    query::none(&uri)?;
    let before = api.trigger_named(&workspace, &id).await?;
    let draft = api.trigger_draft(&workspace, &body).await?;
    let trigger = api.triggers.replace(&workspace, draft.change(before, api.now())).await?;
    let qualifying = api.qualifying(&workspace, &trigger).await?;
    Ok(Json(TriggerView::new(trigger, qualifying)))
}

/// Delete a trigger
///
/// What it has delivered stays in the log.
#[utoipa::path(delete, path = "/api/v1/triggers/{id}", operation_id = "deleteTrigger", tag = "Triggers",
    params(("id" = String, Path, description = "The trigger's id")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    query::none(&uri)?;
    for _ in 0..ATTEMPTS {
        let trigger = api.trigger_named(&workspace, &id).await?;
        match api.triggers.delete(&workspace, &trigger.id, trigger.version).await {
            Err(StoreError::Conflict { .. }) => {}
            deleted => return deleted.map(|()| StatusCode::NO_CONTENT).map_err(Problem::from),
        }
    }
    Err(Problem::busy())
}
