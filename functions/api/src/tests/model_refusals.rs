//! What can't be done with the model: a clear answer each, and nothing is changed.

use super::given::*;
use http::Method;
use serde_json::{Value, json};

const FIT: &str = "/api/v1/account-rulesets";
const BUILT_IN: &str = "/api/v1/account-rulesets/enterprise-b2b-saas";
const EVENTS: &str = "/api/v1/engagement-rulesets/default";
const LEVELS: &str = "/api/v1/account-level-rulesets/account";

/// One request that is refused: how, with which status, at which places, and what the first fault or else the answer says.
struct Refusal {
    method: Method,
    path: String,
    body: Value,
    status: u16,
    places: &'static [&'static str],
    says: &'static str,
}

fn refusal(method: Method, path: &str, body: Value, status: u16, places: &'static [&'static str], says: &'static str) -> Refusal {
    Refusal { method, path: path.to_owned(), body, status, places, says }
}

fn fit(condition: Value) -> Value {
    json!({ "name": "Fit", "content": { "rules": [{ "id": "a", "points": 1, "condition": condition }] } })
}

fn eq(value: Value) -> Value {
    json!({ "field": "plan", "op": "eq", "value": value })
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(eq(json!("pro")), |inner, _| json!({ "all": [inner] }))
}

fn events(rule: Value) -> Value {
    let mut whole =
        json!({ "id": "a", "points": 1, "events": ["Demo Requested"], "count": { "mode": "every" }, "decay": { "kind": "none" } });
    whole.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    json!({ "name": "Events", "rules": [whole] })
}

fn levels(levels: &[(i64, Option<i64>, &str)]) -> Value {
    let levels: Vec<Value> = levels
        .iter()
        .enumerate()
        .map(|(i, (min, max, color))| {
            let names = ["Low", "Standard", "Qualified"];
            json!({ "id": format!("l{i}"), "name": names[i], "color": color, "min": min, "max": max })
        })
        .collect();
    json!({ "name": "Levels", "levels": levels })
}

fn contents() -> Vec<Refusal> {
    use Method as M;
    let long = "x".repeat(10_000);
    let many: Vec<Value> = (0..1_001).map(|n| json!({ "id": format!("r{n}"), "points": 1, "condition": eq(json!("pro")) })).collect();
    vec![
        refusal(
            M::POST,
            FIT,
            fit(json!({ "field": "plan", "op": "equals", "value": 1 })),
            422,
            &["/content/rules/0/condition"],
            "`op` must be one of `eq`, `neq`",
        ),
        refusal(
            M::POST,
            FIT,
            fit(json!({ "field": "plan", "op": "contains", "value": long })),
            422,
            &["/content/rules/0/condition/value"],
            "must have at most 1000 characters, got 10000",
        ),
        refusal(
            M::POST,
            FIT,
            fit(json!({ "field": "employees", "op": "between", "value": [5, 1] })),
            422,
            &["/content/rules/0/condition/value"],
            "",
        ),
        refusal(M::POST, FIT, fit(json!({ "field": "plan", "op": "eq" })), 422, &["/content/rules/0/condition"], ""),
        refusal(
            M::POST,
            FIT,
            fit(nested(60)),
            422,
            &["/content/rules/0/condition/all/0/all/0/all/0/all/0/all/0/all/0/all/0/all/0/all/0/all/0"],
            "nested deeper than 10 groups",
        ),
        refusal(
            M::POST,
            FIT,
            json!({ "name": "Fit", "content": { "rules": [{ "id": "a", "points": 12.5, "condition": eq(json!(1)) }] } }),
            422,
            &["/content/rules/0/points"],
            "must be a whole number from -1000000 to 1000000, got",
        ),
        refusal(
            M::POST,
            FIT,
            json!({ "name": "Fit", "content": { "rules": many } }),
            422,
            &["/content/rules"],
            "must have at most 1000 rules, got 1001",
        ),
        refusal(M::POST, FIT, json!({ "name": 7, "content": { "rules": {} }, "colour": 1 }), 422, &["/colour", "/name"], "unknown field"),
        refusal(M::POST, FIT, json!({ "content": { "rules": [] } }), 422, &["/name"], "is required: what to call it"),
        refusal(M::POST, FIT, json!([]), 422, &[""], "must be an object"),
        refusal(
            M::POST,
            FIT,
            json!({ "name": "Fit", "starts_on": "2026-12-01", "ends_on": "2026-11-30" }),
            422,
            &["/ends_on"],
            "must not be before `starts_on`, 2026-12-01",
        ),
        refusal(M::POST, FIT, json!({ "name": "Fit", "starts_on": "tomorrow", "enabled": "yes" }), 422, &["/enabled", "/starts_on"], ""),
        refusal(
            M::POST,
            FIT,
            json!({ "name": "Fit", "content": { "rules": [] }, "template": "enterprise-saas" }),
            422,
            &["/template"],
            "only one of",
        ),
        refusal(M::POST, FIT, json!({ "template": "three-tiers" }), 422, &["/template"], "there is no such template; the known ones are"),
        refusal(
            M::POST,
            FIT,
            json!({ "template": "mid-market-land" }),
            422,
            &["/variables/target_vertical"],
            "is required: The one industry you go for",
        ),
        refusal(
            M::POST,
            FIT,
            json!({ "template": "mid-market-land", "variables": { "target_vertical": "x", "employees": [9, 1], "colour": 1 } }),
            422,
            &["/variables/colour", "/variables/employees"],
            "",
        ),
        refusal(M::POST, FIT, json!({ "name": "x", "variables": {} }), 422, &["/variables"], "belongs to a `template`"),
        refusal(M::POST, FIT, json!({ "copy_of": { "id": "ars_none" } }), 422, &["/copy_of/id"], "there is no such account ruleset"),
        refusal(M::POST, FIT, json!({ "copy_of": { "id": "enterprise-b2b-saas", "version": 9 } }), 422, &["/copy_of/version"], ""),
        refusal(M::POST, "/api/v1/lead-level-rulesets", json!({ "name": "Levels" }), 422, &["/content"], "is required"),
        refusal(
            M::POST,
            "/api/v1/lead-level-rulesets",
            json!({ "name": "L", "content": levels(&[(0, None, "gray")]), "ends_on": "2027-01-01" }),
            422,
            &["/ends_on"],
            "a level ruleset has no dates",
        ),
        refusal(M::PUT, BUILT_IN, json!({ "name": "x", "rules": [], "lead_cap": 1 }), 422, &["/lead_cap"], "unknown key"),
        refusal(
            M::PUT,
            EVENTS,
            events(json!({ "events": [] })),
            422,
            &["/rules/0/events"],
            "must have 1 to 50 names, such as `Demo Requested`",
        ),
        refusal(
            M::PUT,
            EVENTS,
            events(json!({ "count": { "mode": "once" } })),
            422,
            &["/rules/0/count/mode"],
            "must be one of `every`, `once_per_lead`",
        ),
        refusal(
            M::PUT,
            EVENTS,
            events(json!({ "decay": { "kind": "half_life", "days": 0 } })),
            422,
            &["/rules/0/decay/days"],
            "must be a whole number from 1 to 3650, got",
        ),
        refusal(
            M::PUT,
            LEVELS,
            levels(&[(0, Some(19), "gray"), (20, Some(50), "gray"), (50, None, "gray")]),
            422,
            &["/levels/2/min"],
            "overlaps `Standard`, which reaches to 50: use 51 or set its max to 49",
        ),
        refusal(
            M::PUT,
            LEVELS,
            levels(&[(5, None, "gray"), (20, None, "gray")]),
            422,
            &["/levels/0/min"],
            "leaves a gap below: the lowest level begins at 0",
        ),
        refusal(
            M::PUT,
            LEVELS,
            levels(&[(0, Some(49), "gray"), (50, Some(40), "gray")]),
            422,
            &["/levels/1/max"],
            "must be at least the level's min, 50",
        ),
        refusal(
            M::PUT,
            LEVELS,
            levels(&[(0, None, "gray"), (20, None, "teal")]),
            422,
            &["/levels/1/color"],
            "must be `#rrggbb` or one of `gray`",
        ),
        refusal(M::PUT, LEVELS, levels(&[]), 422, &["/levels"], "must have 1 to"),
    ]
}

fn deeds(ruleset: &str) -> Vec<Refusal> {
    use Method as M;
    let at = |rest: &str| format!("{ruleset}{rest}");
    let rule = json!({ "id": "a", "points": 1, "condition": eq(json!("pro")) });
    vec![
        refusal(
            M::PUT,
            &at("/rules"),
            json!({ "order": ["size"] }),
            422,
            &["/order"],
            "must name each of the 2 rules once; missing: `industry`",
        ),
        refusal(M::PUT, &at("/rules"), json!({ "order": "size" }), 422, &["/order"], "must be an array"),
        refusal(M::PUT, &at("/rules"), json!({}), 422, &["/order"], "is required"),
        refusal(
            M::POST,
            &at("/rules"),
            json!({ "id": "b", "points": "many", "condition": { "field": "plan", "op": "near", "value": 1 } }),
            422,
            &["/points"],
            "",
        ),
        refusal(M::POST, &at("/rules"), json!({ "points": 1, "condition": eq(json!(1)) }), 422, &["/id"], "is required"),
        refusal(M::PUT, &at("/rules/none"), json!({ "points": 1, "condition": eq(json!(1)) }), 404, &[], "there is no rule `none`"),
        refusal(M::PUT, &at("/rules/size"), rule, 422, &["/id"], "must be `size` as in the address"),
        refusal(M::DELETE, &at("/rules/none"), Value::Null, 404, &[], ""),
        refusal(M::PATCH, ruleset, json!({ "why": "just so" }), 422, &[""], "must have one of `name`, `enabled`"),
        refusal(M::PATCH, ruleset, json!({ "why": "just so" }), 422, &[""], "must have one of `name`, `enabled`"),
        refusal(M::PATCH, ruleset, json!({}), 422, &[""], "must have one of `name`, `enabled`"),
        refusal(M::PATCH, ruleset, json!({ "primary": false }), 422, &["/primary"], "must be true"),
        refusal(M::PATCH, ruleset, json!({ "primary": true }), 422, &["/primary"], "the ruleset was never published; publish it first"),
        refusal(M::PATCH, ruleset, json!({ "cap": 10, "enabled": false }), 422, &["/enabled"], "send them apart"),
        refusal(M::PATCH, ruleset, json!({ "cap": "much" }), 422, &["/cap"], ""),
        refusal(
            M::PATCH,
            ruleset,
            json!({ "starts_on": "2026-12-01", "ends_on": "2026-11-30" }),
            422,
            &["/ends_on"],
            "must not be before `starts_on`, 2026-12-01",
        ),
        refusal(M::PATCH, ruleset, json!({ "lead_cap": 10 }), 422, &["/lead_cap"], "unknown field"),
        refusal(M::PATCH, LEVELS, json!({ "enabled": false }), 409, &[], "make another one primary first"),
        refusal(M::PATCH, LEVELS, json!({ "ends_on": "2027-01-01" }), 422, &["/ends_on"], "unknown field"),
        refusal(M::PATCH, LEVELS, json!({ "hysteresis_percent": 51 }), 422, &["/hysteresis_percent"], "0 to 50"),
        refusal(M::PATCH, BUILT_IN, json!({ "enabled": false }), 409, &[], "make another one primary first"),
        refusal(M::PATCH, BUILT_IN, json!({ "ends_on": "2027-01-01" }), 409, &[], "make another one primary first"),
        refusal(M::DELETE, BUILT_IN, Value::Null, 409, &[], "the primary ruleset can't be deleted; make another one primary first"),
        refusal(M::DELETE, LEVELS, Value::Null, 409, &[], "the primary ruleset can't be deleted; make another one primary first"),
        refusal(M::DELETE, &format!("{BUILT_IN}/draft"), Value::Null, 404, &[], "there is no draft of account ruleset"),
        refusal(M::DELETE, &at("/draft"), Value::Null, 422, &[""], "the ruleset was never published"),
        refusal(
            M::POST,
            &format!("{BUILT_IN}/publish"),
            json!({ "revision": 1, "why": "w" }),
            409,
            &["/revision"],
            "there is no draft to publish",
        ),
        refusal(M::POST, &at("/publish"), json!({ "revision": 9, "why": "w" }), 409, &["/revision"], "the draft is at revision 1 by now"),
        refusal(M::POST, &at("/publish"), json!({}), 422, &["/revision", "/why"], "is required"),
        refusal(
            M::POST,
            &at("/publish"),
            json!({ "revision": 0, "why": "x".repeat(1_001), "notify": 1, "colour": 1 }),
            422,
            &["/colour", "/revision", "/why", "/notify"],
            "",
        ),
        refusal(M::POST, &at("/rollback"), json!({ "version": 1 }), 422, &["/version"], "there is no version 1"),
        refusal(M::POST, &format!("{BUILT_IN}/rollback"), json!({}), 422, &["/version"], "is required"),
        refusal(M::POST, &at("/versions/1/copy"), json!({}), 404, &[], ""),
        refusal(M::GET, &at("/versions/x"), Value::Null, 404, &[], ""),
        refusal(M::GET, &at("/versions/1?against=x"), Value::Null, 400, &["against"], "must be the number of a version"),
        refusal(M::GET, &at("/lint?of=published"), Value::Null, 404, &[], "there is no published version of account ruleset"),
        refusal(M::GET, &format!("{BUILT_IN}/lint?of=both"), Value::Null, 400, &["of"], "must be one of `draft`, `published`"),
        refusal(
            M::POST,
            "/api/v1/account-level-rulesets/account/propose",
            json!({ "possible": 0 }),
            422,
            &["/possible"],
            "must be a whole number",
        ),
        refusal(M::POST, "/api/v1/jobs/job_none/cancel", json!({}), 404, &[], "there is no job `job_none`"),
        refusal(M::GET, "/api/v1/ruleset-templates?kind=mail", Value::Null, 400, &["kind"], ""),
    ]
}

#[tokio::test]
async fn what_is_refused_says_where_and_why_and_changes_nothing() {
    let given = given().await;
    let rules = json!([
        { "id": "size", "points": 50, "condition": { "field": "company_size", "op": "eq", "value": "enterprise" } },
        { "id": "industry", "points": 30, "condition": { "field": "industry", "op": "eq", "value": "technology" } },
    ]);
    let ruleset = given.make("account-rulesets", json!({ "name": "Fit", "content": { "rules": rules } })).await;
    given.lose_hints();
    let before = given.store.dump();
    for Refusal { method, path, body, status, places, says } in contents().into_iter().chain(deeds(&ruleset)) {
        let sent = (!body.is_null()).then(|| body.clone());
        let answered = given.call(TOKEN, method.clone(), &path, sent).await;
        let what = format!("{method} {path} {}", body.to_string().chars().take(200).collect::<String>());
        assert_eq!(answered.status.as_u16(), status, "{what}: {}", answered.body);
        let first = answered.body["errors"][0]["detail"].as_str().or(answered.body["detail"].as_str()).unwrap();
        assert!(first.contains(says), "{what}: {first}");
        if places.is_empty() {
            assert!(answered.body["errors"].is_null(), "{what}: {}", answered.body);
        } else {
            assert_eq!(answered.places(), places, "{what}: {}", answered.body);
        }
        assert_eq!(given.store.dump(), before, "{what}");
    }
    assert!(given.touched().await.is_empty());
}

#[tokio::test]
async fn bodies_that_are_too_deep_or_too_large_are_refused_before_they_are_read() {
    let given = given().await;
    let before = given.store.dump();
    let deep = given.post(FIT, fit(nested(100))).await;
    assert_eq!((deep.status.as_u16(), deep.places()), (400, vec![""]));
    let detail = deep.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.ends_with("nested deeper than 128 levels; conditions may nest 10 groups deep"), "{detail}");
    let large = given.post(FIT, fit(json!({ "field": "plan", "op": "contains", "value": "x".repeat(1_100_000) }))).await;
    assert_eq!(large.status, 413);
    // Ten groups, and a body that is larger than others may be, are fine.
    assert_eq!(given.store.dump(), before);
    assert_eq!(given.post(FIT, fit(nested(10))).await.status, 201);
    let many: Vec<Value> = (0..1_000)
        .map(|n| json!({ "id": format!("r{n}"), "name": "x".repeat(180), "points": 1, "condition": eq(json!("y".repeat(180))) }))
        .collect();
    let body = json!({ "name": "Large", "content": { "rules": many } });
    assert!(body.to_string().len() > 256 * 1024);
    assert_eq!(given.post(FIT, body).await.status, 201);
}

#[tokio::test]
async fn a_thousand_rules_that_look_for_a_needle_in_long_text_come_to_an_end() {
    let given = given().await;
    let needle = format!("{}b", "a".repeat(500));
    let rules: Vec<Value> = (0..1_000)
        .map(|n| json!({ "id": format!("r{n}"), "points": 1, "condition": { "field": "description", "op": "contains", "value": needle } }))
        .collect();
    given.install("account-rulesets", json!({ "name": "Needles", "content": { "rules": rules } })).await;
    given.set("acct_1", json!({ "description": "a".repeat(1_000) })).await;
    assert_eq!(given.stands("acct_1").await.0, 0);
    given.set("acct_2", json!({ "description": format!("{}b", "a".repeat(900)) })).await;
    assert_eq!(given.stands("acct_2").await.0, 1_000);
}

#[tokio::test]
async fn a_draft_that_cannot_work_is_kept_and_not_published() {
    let given = given().await;
    let path = given.make("account-rulesets", json!({ "name": "Nothing yet" })).await;
    let before = given.store.dump();
    let refused = given.post(&format!("{path}/publish"), json!({ "revision": 1, "why": "w" })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/rules"]), "{}", refused.body);
    assert_eq!(given.store.dump(), before);
    assert_eq!(given.get(&path).await.ok()["draft"]["findings"]["errors"], 1);
}

#[tokio::test]
async fn a_level_that_a_trigger_names_stays() {
    let given = given().await;
    let url = "https://hooks.example.com/services/T000/B000/token-9f3c";
    let destination = given.post("/api/v1/destinations", json!({ "name": "Sales", "kind": "signed_webhook", "url": url })).await.ok();
    let when = json!({ "kind": "level_entered", "level": "target" });
    given.post("/api/v1/triggers", json!({ "name": "New Targets", "when": when, "destinations": [destination["id"]] })).await.ok();
    assert_eq!(given.delete(&format!("{LEVELS}/levels/target")).await.status, 204);
    let before = given.store.dump();
    let refused = given.post(&format!("{LEVELS}/publish"), json!({ "revision": 1, "why": "w" })).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["detail"]),
        (409, &json!("the level `target` is named by the triggers `New Targets`; change them first"))
    );
    assert_eq!(given.store.dump(), before);
}

#[tokio::test]
async fn while_a_publication_is_under_way_there_is_no_other() {
    let given = given().await;
    given.set("acct_1", json!({ "employees": 1500 })).await;
    given.patch(BUILT_IN, json!({ "cap": 100 })).await.ok();
    let begun = given.post(&format!("{BUILT_IN}/publish"), json!({ "revision": 1, "why": "cap" })).await;
    let job = begun.headers["location"].to_str().unwrap().to_owned();
    // Drafts can be edited: it is in force already.
    given.patch(BUILT_IN, json!({ "cap": 90 })).await.ok();
    given.patch(LEVELS, json!({ "dwell_hours": 1 })).await.ok();
    let revision = given.get(BUILT_IN).await.ok()["draft"]["revision"].clone();
    let before = given.store.dump();
    for (path, body) in [
        (format!("{BUILT_IN}/publish"), json!({ "revision": revision, "why": "again" })),
        (format!("{BUILT_IN}/rollback"), json!({ "version": 1 })),
        (format!("{LEVELS}/publish"), json!({ "revision": 1, "why": "levels" })),
    ] {
        let refused = given.post(&path, body).await;
        assert_eq!((refused.status.as_u16(), refused.places()), (409, vec![""]), "{path}");
        assert_eq!(refused.body["detail"], format!("a publication is under way: {job}; wait for it or cancel it"));
    }
    let refused = given.patch(BUILT_IN, json!({ "name": "Other" })).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(given.store.dump(), before);
    given.run_jobs().await;
    given.post(&format!("{LEVELS}/publish"), json!({ "revision": 1, "why": "levels" })).await.ok();
}
