//! What a draft would change, before it is published.

use crate::{
    Api, Ports, Routes,
    account::EXPLAINED_LEADS,
    auth::{By, Caller, Named},
    body::{Json as Body, Object, single},
    jobs::{JobView, started},
    kinds::{self, Of, base},
    problem::{Fault, Problem},
    query,
    rulesets::{Deed, refused},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use domain::{Home, WorkspaceId, ruleset::RulesetKind, trigger::Trigger};
use http::Uri;
use pipeline::{
    Consistency,
    board::Row,
    jobs::JobKind,
    rulesets::{PublishError, Ruleset},
    survey::INLINE,
    trial::{MOST_DAYS, Trial, TrialError, differences, row},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

/// With so many leads in all it is a job, however few the accounts are.
const INLINE_LEADS: u64 = 20_000;
/// Of so many leads the events are counted anew within a request.
const FOLDED_LEADS: u64 = 200;

/// The addresses of this module, for every kind of ruleset. An argument `kinds::Of(kind)` tells a handler the kind.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    kinds::add_routes(routes, |routes, kind| routes.route(&format!("{}/{{id}}/dry-run", base(kind)), post(run::<P>)))
}

/// Written for `account-rulesets`; the others follow by `kinds::for_every_kind`.
#[derive(OpenApi)]
#[openapi(paths(run))]
pub(crate) struct Doc;

/// On whom a draft is tried: one account, or all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"accounts": "all"}))]
pub(crate) struct DryRunBody {
    /// One account, by its id or one of its domains: the answer explains it by both rulesets.
    account: Option<String>,
    /// `all`: the answer counts.
    accounts: Option<String>,
    /// Whether it is tried as the primary ruleset of its kind, the one that levels follow. Rulesets of levels always are.
    as_primary: Option<bool>,
    /// With `accounts`: over how many past days it is told how often triggers would have fired, 0 to 28, usually 28.
    window_days: Option<u32>,
    /// `draft` or `published`; usually the draft, when there is one.
    of: Option<String>,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    account: Option<String>,
    as_primary: bool,
    window_days: u32,
    draft: Option<bool>,
}

impl Asked {
    fn read(body: &Value) -> Result<Self, Problem> {
        let mut map = Object::of(body, &["account", "accounts", "as_primary", "window_days", "of"])?;
        let account = map.text("account", 256).flatten();
        let all = map.value("accounts").filter(|value| !value.is_null());
        match (&account, all) {
            _ if map.value("account").is_some_and(|value| !value.is_null()) && account.is_none() => {}
            (Some(_), Some(_)) => map.fault("/accounts", "must be absent beside `account`"),
            (None, None) => map.fault("", "must have `account`, an account's id, or `\"accounts\": \"all\"`"),
            (None, Some(all)) if *all != "all" => map.fault("/accounts", "must be `all`"),
            _ => {}
        }
        let as_primary = match map.value("as_primary") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(truth)) => *truth,
            Some(_) => {
                map.fault("/as_primary", "must be `true` or `false`");
                false
            }
        };
        let window_days = match map.value("window_days").filter(|value| !value.is_null()) {
            None => MOST_DAYS,
            Some(_) if account.is_some() => {
                map.fault("/window_days", "must be absent beside `account`");
                0
            }
            Some(value) => match value.as_u64().and_then(|days| u32::try_from(days).ok()).filter(|days| *days <= MOST_DAYS) {
                Some(days) => days,
                None => {
                    map.fault("/window_days", format!("must be a whole number from 0 to {MOST_DAYS}"));
                    0
                }
            },
        };
        let draft = match map.value("of").map(Value::as_str) {
            None => None,
            Some(Some("draft")) => Some(true),
            Some(Some("published")) => Some(false),
            Some(_) => {
                map.fault("/of", "must be `draft` or `published`");
                None
            }
        };
        map.finish(Self { account, as_primary, window_days, draft })
    }
}

/// Why there is nothing to try, as the API says it.
fn not_tried(error: TrialError, kind: RulesetKind, id: &str) -> Problem {
    match error {
        TrialError::Refused(findings) => refused(PublishError::Refused(findings), Deed::Publish, kind, id),
        TrialError::Unusable(error) => refused(PublishError::Unusable(error), Deed::Publish, kind, id),
        TrialError::Stale { revision: 0 } => single(Fault::at("/of", "there is no draft; try the published version")),
        TrialError::Stale { .. } => single(Fault::at("/of", "it was never published; try the draft")),
    }
}

impl<P: Ports> Api<P> {
    /// One account by both models.
    async fn try_one(&self, workspace: &WorkspaceId, trial: &Trial, triggers: &[Trigger], named: &str) -> Result<Value, Problem> {
        let missing = || single(Fault::at("/account", format!("there is no account `{}`", named.chars().take(128).collect::<String>())));
        let account = match self.account_named(workspace, named).await {
            Err(problem) if problem == Problem::not_found("account", named) => return Err(missing()),
            found => found?,
        };
        let home = Home::Account(account.clone());
        if trial.needs_fold {
            let identities = self.homes.gather(workspace, &home, Consistency::Eventual).await?.identities();
            if u64::try_from(identities).unwrap_or(u64::MAX) > FOLDED_LEADS {
                return Err(single(Fault::at(
                    "/account",
                    format!(
                        "has {identities} identities, whose events would have to be counted: try `\"accounts\": \"all\"`, which is a job"
                    ),
                )));
            }
        }
        let now = self.now();
        let rehearsal = trial.rehearsal(&self.homes, &self.parcels, workspace, triggers, 0, now);
        let one = rehearsal.one(&home, EXPLAINED_LEADS).await?.ok_or_else(missing)?;
        let changes = one.changed.map(|changed| differences(&changed.old, &changed.new)).unwrap_or_default();
        let notifications: Vec<Value> = one
            .notifications
            .iter()
            .map(|foretold| json!({ "trigger": foretold.trigger, "name": foretold.name, "held_by_cooldown": foretold.held_by_cooldown }))
            .collect();
        Ok(json!({
            "account_id": account, "as_of": now.day().to_string(), "ruleset": trial.ruleset(), "old": one.old, "new": one.new,
            "changes": changes, "notifications": notifications,
        }))
    }

    /// Every home by both models.
    async fn try_all(
        &self,
        workspace: &WorkspaceId,
        trial: &Trial,
        triggers: &[Trigger],
        homes: &[Home],
        days: u32,
    ) -> Result<Value, Problem> {
        let now = self.now();
        let rehearsal = trial.rehearsal(&self.homes, &self.parcels, workspace, triggers, days, now);
        let (comparison, changed) = rehearsal.compare(homes).await?;
        let mut value = trial.result(&comparison, triggers, days, now.day());
        let mut more = Map::new();
        more.insert("changes".to_owned(), changed.iter().map(row).collect());
        more.insert("changes_url".to_owned(), Value::Null);
        if let Some(map) = value.as_object_mut() {
            map.append(&mut more);
        }
        Ok(value)
    }

    /// Every account and every lead without one, and how many leads they are together.
    async fn everybody(&self, workspace: &WorkspaceId) -> Result<(Vec<Home>, u64), Problem> {
        let (accounts, leads) = (self.board.accounts(workspace).await?, self.board.leads(workspace).await?);
        let rows = || accounts.iter().chain(leads.iter());
        let many = rows().map(|row: &Arc<Row>| u64::from(row.total_leads)).fold(0, u64::saturating_add);
        Ok((rows().map(|row| row.home.clone()).collect(), many))
    }
}

/// The revision of the draft that is tried; `None` for the published version.
fn revision(ruleset: &Ruleset, draft: Option<bool>) -> Option<u64> {
    draft.unwrap_or(ruleset.draft.is_some()).then(|| ruleset.revision())
}

/// Try a draft
///
/// What publishing the account ruleset would change, compared with the model in force on the same facts, as of today: nothing is written. For one
/// account both explanations, old beside new. For all: how many go from which level to which, who moves farthest and why, every account
/// that changes, what a publication with `notify` would send, and how often triggers would have fired in the last days.
///
/// All are compared at once for up to 2,000 accounts and leads without an account; for more, or when events of many leads have to be counted for the
/// draft, a job does it, whose result is the same and whose `changes_url` lists every change.
#[utoipa::path(post, path = "/api/v1/account-rulesets/{id}/dry-run", operation_id = "dryRunAccountRuleset", tag = "Rulesets",
    params(("id" = String, Path, description = "The ruleset's id")),
    request_body(content = DryRunBody, content_type = "application/json", examples(
        ("One account" = (value = json!({"account": "acct_4711"}))),
        ("All accounts" = (value = json!({"accounts": "all", "window_days": 28}))))),
    responses((status = 200, description = "What would change", content_type = "application/json", body = Object, examples(
        ("One account" = (value = json!({
            "account_id": "acct_4711", "as_of": "2026-11-21",
            "ruleset": {"id": "ars_01k4z8e6v3y0m9c2w5t7r1p4qx", "kind": "account", "name": "Enterprise", "revision": 7, "version": null, "as_primary": true},
            "old": {"account": {"score": 50, "possible": 100}}, "new": {"account": {"score": 95, "possible": 145}},
            "changes": {"score": [50, 95], "account_score": [50, 95], "account_level": ["qualified", "target"], "grade": ["C", "B"], "grid": ["C4", "B4"]},
            "notifications": [{"trigger": "trg_01k4z8e6v3y0m9c2w5t7r1p4qx", "name": "New Targets", "held_by_cooldown": false}]}))),
        ("All accounts" = (value = json!({
            "as_of": "2026-11-21",
            "ruleset": {"id": "ars_01k4z8e6v3y0m9c2w5t7r1p4qx", "kind": "account", "name": "Enterprise", "revision": 7, "version": null, "as_primary": true},
            "accounts": 412, "unresolved_leads": 37, "changed": 57, "levels_changed": 30, "needs_fold": false,
            "account_levels": {"levels": ["low_priority", "standard", "qualified", "target"],
                "matrix": [[201, 4, 0, 0], [0, 88, 9, 1], [0, 0, 60, 14], [0, 0, 2, 33]], "from_none": [0, 0, 0, 0],
                "before": [205, 98, 74, 35], "after": [201, 92, 71, 48]},
            "score": {"mean_before": 31, "mean_after": 34, "possible": [100, 145], "histogram": {"step": 8, "before": [205], "after": [201]}},
            "top_movers": [{"account_id": "acct_9", "name": "Quillmark Press", "old": 20, "new": 95, "old_level": "standard", "new_level": "target",
                "because": ["Revenue of 50 million or more: +45"]}],
            "top_fallers": [],
            "notifications": {
                "at_publication": [{"trigger": "trg_01k4z8e6v3y0m9c2w5t7r1p4qx", "name": "New Targets", "would_fire": 15, "held_by_cooldown": 2, "accounts": ["acct_9"]}],
                "last_days": {"days": 28, "assumes": "fields as they are today", "triggers": [{"trigger": "trg_01k4z8e6v3y0m9c2w5t7r1p4qx", "name": "New Targets", "old": 12, "new": 31}]}},
            "proposed_levels": [{"ruleset_id": "account", "kind": "account_levels", "because": "145 points are possible then, 100 now",
                "levels": [{"id": "low_priority", "name": "Low Priority", "color": "gray", "min": 0}]}],
            "changes": [{"account_id": "acct_9", "name": "Quillmark Press", "score": [20, 95], "account_score": [20, 95], "account_level": ["standard", "target"]}],
            "changes_url": null})))
    )),
    (status = 202, description = "A job compares; `Location` names it", body = JobView)))]
pub(crate) async fn run<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let asked = Asked::read(&body)?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let revision = revision(&ruleset, asked.draft);
    let model = api.models.at_least(&workspace, ruleset.model_version).await?;
    let trial = Trial::of(&ruleset, revision, model, asked.as_primary, api.now().day()).map_err(|error| not_tried(error, kind, &id))?;
    let triggers = api.triggers.list(&workspace).await?;
    if let Some(account) = &asked.account {
        return Ok(Json(api.try_one(&workspace, &trial, &triggers, account).await?).into_response());
    }
    let (homes, leads) = api.everybody(&workspace).await?;
    let most_leads = if trial.needs_fold { FOLDED_LEADS } else { INLINE_LEADS };
    if homes.len() > INLINE || leads > most_leads {
        let (as_primary, window_days) = (asked.as_primary, asked.window_days);
        let kind = JobKind::DryRun { of: ruleset.head.subject(), revision, as_primary, window_days };
        let job = api.start_job(&workspace, kind, &by).await?;
        return Ok(started(&job.id.clone(), JobView::new(job)));
    }
    Ok(Json(api.try_all(&workspace, &trial, &triggers, &homes, asked.window_days).await?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_account_or_all() {
        let one = Asked { account: Some("acct_1".into()), as_primary: false, window_days: MOST_DAYS, draft: None };
        assert_eq!(Asked::read(&json!({"account": "acct_1"})), Ok(one));
        let all = Asked { account: None, as_primary: true, window_days: 7, draft: Some(false) };
        assert_eq!(Asked::read(&json!({"accounts": "all", "as_primary": true, "window_days": 7, "of": "published"})), Ok(all));
        for wrong in [
            json!({}),
            json!({"accounts": "some"}),
            json!({"account": 7}),
            json!({"account": "a", "accounts": "all"}),
            json!({"account": "a", "window_days": 7}),
            json!({"accounts": "all", "window_days": 29}),
            json!({"accounts": "all", "as_primary": "yes"}),
            json!({"accounts": "all", "of": "both"}),
            json!({"accounts": "all", "limit": 1}),
        ] {
            assert!(Asked::read(&wrong).is_err(), "{wrong}");
        }
    }
}
