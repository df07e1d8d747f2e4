//! Rulesets from their first draft to their last version.

use super::given::*;
use bytes::Bytes;
use domain::JobId;
use http::{Method, Request, header};
use pipeline::{
    Clock,
    jobs::{JobKind, JobRecord, Jobs},
};
use serde_json::{Value, json};
use std::sync::Arc;

const KINDS: [&str; 5] =
    ["account-rulesets", "engagement-rulesets", "account-level-rulesets", "lead-level-rulesets", "engagement-level-rulesets"];

fn size(points: i64) -> Value {
    json!({ "id": "size", "name": "Enterprise", "points": points, "condition": { "field": "company_size", "op": "eq", "value": "enterprise" } })
}

fn industry() -> Value {
    json!({ "id": "industry", "name": "Technology", "points": 30, "condition": { "field": "industry", "op": "eq", "value": "technology" } })
}

async fn with_if_match(given: &Given, method: Method, path: &str, tag: &str, body: Value) -> Answered {
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    given.send(request.header(header::IF_MATCH, tag).body(Bytes::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn every_kind_lists_what_comes_with_harpoon() {
    let given = given().await;
    for (kind, id, parts) in [
        (KINDS[0], "enterprise-b2b-saas", "rules"),
        (KINDS[1], "default", "rules"),
        (KINDS[2], "account", "levels"),
        (KINDS[3], "lead", "levels"),
        (KINDS[4], "engagement", "levels"),
    ] {
        let listed = given.get(&format!("/api/v1/{kind}")).await.ok();
        let only = &listed["data"][0];
        assert_eq!((&only["id"], &only["primary"], &only["in_force"]), (&json!(id), &json!(true), &json!(true)), "{kind}");
        let shown = given.get(&format!("/api/v1/{kind}/{id}")).await.ok();
        assert_eq!((&shown["draft"], &shown["published"]["version"]), (&Value::Null, &json!(1)), "{kind}");
        let listed = given.get(&format!("/api/v1/{kind}/{id}/{parts}")).await.ok();
        assert_eq!(listed["data"], shown["content"][parts], "{kind}");
        assert!(shown["content"].get("id").is_none());
        // What is shown may be put back as it is.
        let put = given.put(&format!("/api/v1/{kind}/{id}"), shown["content"].clone()).await.ok();
        assert_eq!((&put["draft"]["diff"], &put["draft"]["content"]), (&json!([]), &shown["content"]), "{kind}");
    }
    let other = given.call(OTHER, Method::GET, "/api/v1/account-rulesets/enterprise-b2b-saas", None).await.ok();
    assert_eq!(other["draft"], Value::Null);
}

#[tokio::test]
async fn a_draft_becomes_a_version_and_an_earlier_version_comes_back() {
    let given = given().await;
    given.set("acct_1", json!({ "company_size": "enterprise" })).await;
    let path = given.make("account-rulesets", json!({ "name": "Fit", "content": { "rules": [size(40)] } })).await;
    let made = given.get(&path).await.ok();
    assert_eq!((&made["published"], &made["draft"]["revision"], &made["in_force"]), (&Value::Null, &json!(1), &json!(false)));
    assert_eq!((&made["created_by"], &made["draft"]["by"]), (&json!("test"), &json!("test")));
    let first = given.publish(&path).await;
    assert_eq!((&first["version"], &first["job"]["kind"], &first["job"]["state"]), (&json!(1), &json!("publish"), &json!("waiting")));
    given.make_primary(&path).await;
    assert_eq!(given.stands("acct_1").await.0, 40);

    // An edit begins a draft with the newest version; until it is published nothing changes.
    given.put(&format!("{path}/rules/size"), size(50)).await.ok();
    let edited = given.get(&path).await.ok();
    assert_eq!(edited["draft"]["base"], 1);
    assert_eq!(
        edited["draft"]["diff"],
        json!([{ "change": "points", "rule_id": "size", "pointer": "/rules/0/points", "before": 40, "after": 50 }])
    );
    given.run().await;
    assert_eq!(given.stands("acct_1").await.0, 40);
    let second = given.publish(&path).await;
    assert_eq!(second["version"], 2);
    assert_eq!(given.stands("acct_1").await.0, 50);
    assert_eq!(given.get(&path).await.ok()["draft"], Value::Null);

    let versions = given.get(&format!("{path}/versions")).await.ok();
    let lines: Vec<&Value> = versions["data"].as_array().unwrap().iter().map(|version| &version["summary"]).collect();
    assert_eq!((lines.len(), lines[0]), (2, &json!("points of `size` from 40 to 50")));
    assert_eq!(versions["data"][0]["why"], "a test");
    let version = given.get(&format!("{path}/versions/1?against=2")).await.ok();
    assert_eq!((&version["against"], &version["diff"][0]["before"], &version["diff"][0]["after"]), (&json!(2), &json!(50), &json!(40)));
    assert_eq!(given.all(&format!("{path}/versions?limit=1"), "why").await.len(), 2);

    let back = given.post(&format!("{path}/rollback"), json!({ "version": 1 })).await;
    assert_eq!((back.status.as_u16(), &back.body["version"]), (202, &json!(3)));
    given.run_jobs().await;
    assert_eq!(given.stands("acct_1").await.0, 40);
    let newest = given.get(&format!("{path}/versions/3")).await.ok();
    assert_eq!((&newest["copied_from"], &newest["why"]), (&json!(1), &json!("rolled back to version 1")));
    assert_eq!(newest["content"], given.get(&format!("{path}/versions/1")).await.ok()["content"]);

    // A version is copied to the draft, and not over another draft.
    let copied = given.post(&format!("{path}/versions/2/copy"), json!({})).await.ok();
    assert_eq!(copied["draft"]["content"]["rules"][0]["points"], 50);
    let kept = given.post(&format!("{path}/versions/1/copy"), json!({})).await;
    assert_eq!(kept.status, 409, "{}", kept.body);
    let replaced = given.post(&format!("{path}/versions/1/copy"), json!({ "replace": true })).await.ok();
    assert_eq!(replaced["draft"]["content"]["rules"][0]["points"], 40);

    // It says what is in force, so there is nothing to publish.
    let revision = replaced["draft"]["revision"].clone();
    let unchanged = given.post(&format!("{path}/publish"), json!({ "revision": revision, "why": "again" })).await;
    assert_eq!((unchanged.status.as_u16(), &unchanged.body["unchanged"], &unchanged.body["job"]), (200, &json!(true), &Value::Null));
    assert_eq!(given.get(&path).await.ok()["draft"], Value::Null);
}

#[tokio::test]
async fn rules_are_added_replaced_ordered_and_deleted_in_the_draft() {
    let given = given().await;
    let path = given.make("account-rulesets", json!({ "name": "Fit" })).await;
    let added = given.post(&format!("{path}/rules"), size(40)).await;
    assert_eq!((added.status.as_u16(), added.headers["location"].to_str().unwrap()), (201, &*format!("{path}/rules/size")));
    assert_eq!(added.body, size(40));
    given.post(&format!("{path}/rules"), industry()).await.ok();
    let taken = given.post(&format!("{path}/rules"), size(1)).await;
    assert_eq!((taken.status.as_u16(), taken.places()), (409, vec!["/id"]));
    assert_eq!(given.all(&format!("{path}/rules"), "id").await, ["size", "industry"]);
    let ordered = given.put(&format!("{path}/rules"), json!({ "order": ["industry", "size"] })).await.ok();
    assert_eq!(ordered["draft"]["content"]["rules"][0]["id"], "industry");
    let unnamed = json!({ "points": 7, "condition": { "field": "plan", "op": "exists" } });
    let replaced = given.put(&format!("{path}/rules/size"), unnamed).await.ok();
    assert_eq!((&replaced["id"], &replaced["points"]), (&json!("size"), &json!(7)));
    assert_eq!(given.get(&format!("{path}/rules/size")).await.ok(), replaced);
    assert_eq!(given.put(&format!("{path}/rules/size"), industry()).await.places(), ["/id"]);
    assert_eq!(given.delete(&format!("{path}/rules/industry")).await.status, 204);
    assert_eq!(given.delete(&format!("{path}/rules/industry")).await.status, 404);
    assert_eq!(given.put(&format!("{path}/rules/industry"), industry()).await.status, 404);
    assert_eq!(given.all(&format!("{path}/rules"), "id").await, ["size"]);
    // Levels stand in the order of their ranges.
    let levels = "/api/v1/lead-level-rulesets/lead";
    let level = json!({ "id": "tepid", "name": "Tepid", "color": "#ffee00", "min": 10 });
    assert_eq!(given.post(&format!("{levels}/levels"), level).await.status, 201);
    assert_eq!(given.all(&format!("{levels}/levels"), "id").await, ["cold", "tepid", "warm", "hot", "very_hot"]);
    assert_eq!(given.put(&format!("{levels}/levels"), json!({ "order": [] })).await.status, 405);
}

#[tokio::test]
async fn settings_of_the_draft_wait_and_settings_of_the_ruleset_act_at_once() {
    let given = given().await;
    given.set("acct_1", json!({ "company_size": "enterprise" })).await;
    let path = given.make("account-rulesets", json!({ "name": "Fit", "content": { "rules": [size(40)] } })).await;
    given.publish(&path).await;
    let beside = async |given: &Given| given.get("/api/v1/accounts/acct_1/explain").await.ok()["other_rulesets"][0]["score"].clone();
    assert_eq!(beside(&given).await, 40);
    let capped = given.patch(&path, json!({ "cap": 25 })).await;
    assert_eq!((capped.status.as_u16(), &capped.body["draft"]["content"]["cap"]), (200, &json!(25)));
    assert_eq!(beside(&given).await, 40);
    given.publish(&path).await;
    assert_eq!(beside(&given).await, 25);

    let renamed = given.patch(&path, json!({ "name": "Better fit" })).await;
    assert_eq!((renamed.status.as_u16(), &renamed.body["name"]), (200, &json!("Better fit")));
    // A draft and a new version begin with the new name.
    let capped = given.patch(&path, json!({ "cap": 30 })).await.ok();
    assert_eq!((&capped["draft"]["content"]["name"], capped["draft"]["diff"].as_array().unwrap().len()), (&json!("Better fit"), 1));
    let renamed = given.patch(&path, json!({ "name": "Best fit" })).await.ok();
    assert_eq!((&renamed["name"], &renamed["draft"]["content"]["name"]), (&json!("Best fit"), &json!("Best fit")));
    assert_eq!(given.delete(&format!("{path}/draft")).await.status, 204);
    let ended = given.patch(&path, json!({ "starts_on": "2026-11-01", "ends_on": "2026-11-19" })).await;
    assert_eq!(ended.status, 202, "{}", ended.body);
    assert_eq!(ended.headers["location"], format!("/api/v1/jobs/{}", ended.body["job"]["id"].as_str().unwrap()));
    given.run_jobs().await;
    let shown = given.get(&path).await.ok();
    assert_eq!((&shown["in_force"], &shown["enabled"], &shown["ends_on"]), (&json!(false), &json!(true), &json!("2026-11-19")));
    given.patch(&path, json!({ "ends_on": null })).await.ok();
    given.run_jobs().await;
    assert_eq!(given.get(&path).await.ok()["in_force"], true);

    // Deleting takes two steps: nobody deletes what is scored.
    let enabled = given.delete(&path).await;
    assert_eq!((enabled.status.as_u16(), &enabled.body["detail"]), (409, &json!("the ruleset is enabled; disable it first")));
    given.patch(&path, json!({ "enabled": false })).await.ok();
    given.run_jobs().await;
    assert_eq!(given.delete(&path).await.status, 204);
    assert_eq!(given.get(&path).await.status, 404);
}

#[tokio::test]
async fn whoever_looked_at_something_older_is_told() {
    let given = given().await;
    let path = given.make("account-rulesets", json!({ "name": "Fit", "content": { "rules": [size(40)] } })).await;
    let first = given.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
    let second = with_if_match(&given, Method::PUT, &format!("{path}/rules/size"), &first, size(41)).await;
    assert_eq!(second.status, 200);
    let tag = second.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(tag, first);
    let before = given.store.dump();
    for (method, at, body) in [
        (Method::PUT, path.clone(), json!({ "name": "Fit", "rules": [] })),
        (Method::PATCH, path.clone(), json!({ "cap": 1 })),
        (Method::PATCH, path.clone(), json!({ "enabled": false })),
        (Method::POST, format!("{path}/rules"), industry()),
        (Method::PUT, format!("{path}/rules"), json!({ "order": ["size"] })),
        (Method::PUT, format!("{path}/rules/size"), size(1)),
        (Method::DELETE, format!("{path}/rules/size"), Value::Null),
        (Method::DELETE, format!("{path}/draft"), Value::Null),
        (Method::DELETE, path.clone(), Value::Null),
    ] {
        let refused = with_if_match(&given, method.clone(), &at, &first, body.clone()).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["detail"]),
            (412, &json!("it is at revision 2 by now; read it again")),
            "{method} {at}"
        );
    }
    assert_eq!(given.store.dump(), before);
    assert_eq!(with_if_match(&given, Method::PUT, &format!("{path}/rules/size"), &tag, size(42)).await.status, 200);
    assert_eq!(with_if_match(&given, Method::PUT, &format!("{path}/rules/size"), "7", size(42)).await.status, 400);
    // Without a word of what they looked at, the last one wins.
    assert_eq!(given.put(&format!("{path}/rules/size"), size(43)).await.status, 200);
}

#[tokio::test]
async fn a_new_event_is_counted_before_its_rules_hold_and_can_be_given_up_until_then() {
    let given = given().await;
    given.track("main", vec![identify("ann", "ann@northwind-looms.com"), track("ann", "Webinar Attended", 5, "w1")]).await;
    let score = async |given: &Given| given.get("/api/v1/accounts/northwind-looms.com").await.ok()["engagement_score"].clone();
    assert_eq!(score(&given).await, 0);
    let path = "/api/v1/engagement-rulesets/default";
    let rule =
        json!({ "id": "webinar", "points": 20, "events": ["Webinar Attended"], "count": { "mode": "every" }, "decay": { "kind": "none" } });
    given.post(&format!("{path}/rules"), rule).await.ok();
    let draft = given.get(path).await.ok()["draft"].clone();
    assert_eq!(draft["needs_fold"], true);
    let body = json!({ "revision": draft["revision"], "why": "webinars count" });
    let begun = given.post(&format!("{path}/publish"), body.clone()).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let job = begun.headers["location"].to_str().unwrap().to_owned();
    let shown = given.get(path).await.ok();
    assert_eq!((&shown["publication"]["state"], &shown["published"]["version"]), (&json!("preparing"), &json!(1)));
    // What was reviewed is what comes: the draft can't be edited, and nothing else is published.
    let held = given.patch(path, json!({ "lead_cap": 10 })).await;
    assert_eq!((held.status.as_u16(), held.places()), (409, vec![""]));
    assert!(held.body["detail"].as_str().unwrap().contains(&job), "{}", held.body);
    assert_eq!(given.post(&format!("{job}/cancel"), json!({})).await.ok()["state"], "cancelled");
    assert_eq!(given.post(&format!("{job}/cancel"), json!({})).await.status, 409);
    given.run_jobs().await;
    assert_eq!(score(&given).await, 0);
    assert_eq!(given.get(path).await.ok()["publication"], Value::Null);

    let begun = given.post(&format!("{path}/publish"), body).await.ok();
    let job = begun["job"]["id"].as_str().unwrap().to_owned();
    given.run_jobs().await;
    assert_eq!(score(&given).await, 20);
    let done = given.get(&format!("/api/v1/jobs/{job}")).await.ok();
    assert_eq!((&done["state"], &done["percent"], &done["phase"]), (&json!("done"), &json!(100), &Value::Null));
    assert_eq!(given.all("/api/v1/jobs?limit=1", "state").await, ["done", "cancelled"]);
    assert_eq!(given.call(OTHER, Method::GET, &format!("/api/v1/jobs/{job}"), None).await.status, 404);
    assert_eq!(given.get(&format!("/api/v1/jobs/{job}/changes")).await.ok()["data"], json!([]));
}

#[tokio::test]
async fn what_a_job_found_is_paged_across_its_chunks() {
    let given = given().await;
    let jobs = Jobs::new(Arc::clone(&given.store), Arc::clone(&given.clock));
    let mut job = JobRecord::new(JobId::new("job_found").unwrap(), JobKind::Coverage {}, "dana", given.clock.now());
    job.rows = 4;
    let row = |n: usize| json!({ "account_id": format!("acct_{n:02}") });
    // Seven rows, none, two, and a chunk that is past its time.
    jobs.put_rows(&main(), &job.id, 0, &(0..7).map(row).collect::<Vec<_>>()).await.unwrap();
    jobs.put_rows::<Value>(&main(), &job.id, 1, &[]).await.unwrap();
    jobs.put_rows(&main(), &job.id, 2, &(7..9).map(row).collect::<Vec<_>>()).await.unwrap();
    jobs.start(&main(), &job).await.unwrap();
    let all: Vec<String> = (0..9).map(|n| format!("acct_{n:02}")).collect();
    for limit in [1, 2, 3, 7, 9, 50] {
        assert_eq!(given.all(&format!("/api/v1/jobs/job_found/changes?limit={limit}"), "account_id").await, all, "{limit}");
    }
    let shown = given.get("/api/v1/jobs/job_found").await.ok();
    assert_eq!((&shown["changes_url"], &shown["what"]), (&json!("/api/v1/jobs/job_found/changes"), &json!("all fields")));
    assert_eq!(given.get("/api/v1/jobs/job_found/changes?cursor=abc").await.places(), ["cursor"]);
}

#[tokio::test]
async fn levels_that_follow_from_a_publication_stand_in_the_history_and_tell_nobody() {
    let given = given().await;
    given.set("acct_1", json!({ "employees": 1500 })).await;
    assert_eq!(given.stands("acct_1").await, (50, "Qualified".to_owned()));
    let path = "/api/v1/account-rulesets/enterprise-b2b-saas";
    let mut rule = given.get(&format!("{path}/rules/employees")).await.ok();
    rule["points"] = json!(90);
    given.put(&format!("{path}/rules/employees"), rule).await.ok();
    given.publish(path).await;
    assert_eq!(given.stands("acct_1").await, (90, "Target".to_owned()));
    let history = given.get("/api/v1/accounts/acct_1/history").await.ok();
    let newest = &history["data"][0];
    assert_eq!((&newest["from"], &newest["to"], &newest["silent"]), (&json!("Qualified"), &json!("Target"), &json!(true)));
    let cause = newest["cause"].as_str().unwrap();
    assert!(cause.contains("account ruleset") && cause.contains("version 2"), "{cause}");
    let paged = given.all("/api/v1/accounts/acct_1/history?limit=1", "cause").await;
    assert_eq!(paged.len(), history["data"].as_array().unwrap().len());

    // When it is asked for, it is told.
    let mut rule = given.get(&format!("{path}/rules/employees")).await.ok();
    rule["points"] = json!(60);
    given.put(&format!("{path}/rules/employees"), rule).await.ok();
    let revision = given.get(path).await.ok()["draft"]["revision"].clone();
    given.post(&format!("{path}/publish"), json!({ "revision": revision, "why": "w", "notify": true })).await.ok();
    given.run_jobs().await;
    let newest = given.get("/api/v1/accounts/acct_1/history?limit=1").await.ok()["data"][0].clone();
    assert_eq!((&newest["from"], &newest["to"], &newest["silent"]), (&json!("Target"), &json!("Qualified"), &json!(false)));
}

#[tokio::test]
async fn ranges_move_along_with_what_is_possible() {
    let given = given().await;
    // 20, 50 and 80 of 100 are 29, 72.5 and 116 of 145; halves are rounded up.
    let proposed = given.post("/api/v1/account-level-rulesets/account/propose", json!({ "from": 100, "possible": 145 })).await.ok();
    let mins: Vec<i64> = proposed["levels"].as_array().unwrap().iter().map(|level| level["min"].as_i64().unwrap()).collect();
    assert_eq!(mins, [0, 29, 73, 116]);
    // Of the 145 points that the built-in ruleset gives, a rule of 45 goes: 80 · 100 / 145 = 55.2.
    let path = "/api/v1/account-rulesets/enterprise-b2b-saas";
    given.delete(&format!("{path}/rules/revenue")).await;
    let rules = given.all(&format!("{path}/rules"), "id").await;
    assert_eq!(rules.len(), 3, "{rules:?}");
    let published = given.publish(path).await;
    let levels = &published["proposed_levels"][0];
    assert_eq!((&levels["ruleset_id"], &levels["because"]), (&json!("account"), &json!("100 points are possible now, 145 before")));
    assert_eq!(levels["levels"][3]["min"], 55);
    assert_eq!(given.post("/api/v1/engagement-level-rulesets/engagement/propose", json!({ "possible": 100 })).await.places(), ["/from"]);
    assert_eq!(given.post("/api/v1/account-rulesets/enterprise-b2b-saas/propose", json!({ "possible": 100 })).await.status, 404);
}

#[tokio::test]
async fn templates_are_listed_with_what_they_ask_for() {
    let given = given().await;
    let all = given.get("/api/v1/ruleset-templates").await.ok();
    let ids: Vec<&str> = all["data"].as_array().unwrap().iter().map(|template| template["id"].as_str().unwrap()).collect();
    for id in ["enterprise-saas", "mid-market-land", "plg-expansion", "practice-guide", "three-tiers"] {
        assert!(ids.contains(&id), "{ids:?}");
        let shown = given.get(&format!("/api/v1/ruleset-templates/{id}")).await.ok();
        assert!(KINDS.iter().any(|kind| shown["make_at"] == format!("/api/v1/{kind}")));
    }
    let engagement = given.get("/api/v1/ruleset-templates?kind=engagement").await.ok();
    assert_eq!(engagement["data"].as_array().unwrap().len(), 1);
    let vertical = &given.get("/api/v1/ruleset-templates/mid-market-land").await.ok()["variables"][0];
    assert_eq!((&vertical["name"], &vertical["required"]), (&json!("target_vertical"), &json!(true)));
}

#[tokio::test]
async fn a_ruleset_is_copied_from_another_or_from_a_version_of_it() {
    let given = given().await;
    let path = given.make("account-rulesets", json!({ "name": "Fit", "content": { "rules": [size(40)] } })).await;
    given.publish(&path).await;
    given.put(&format!("{path}/rules/size"), size(50)).await.ok();
    let id = given.get(&path).await.ok()["id"].clone();
    let copy = given.post("/api/v1/account-rulesets", json!({ "copy_of": { "id": id } })).await.ok();
    assert_eq!((&copy["name"], &copy["draft"]["content"]["rules"][0]["points"]), (&json!("Copy of Fit"), &json!(50)));
    let older = json!({ "copy_of": { "id": id, "version": 1 }, "name": "Older", "enabled": false });
    let older = given.post("/api/v1/account-rulesets", older).await.ok();
    assert_eq!((&older["name"], &older["draft"]["content"]["rules"][0]["points"]), (&json!("Older"), &json!(40)));
    assert_eq!(older["enabled"], false);
    // What is not enabled concerns nobody: it is published at once.
    let older = format!("/api/v1/account-rulesets/{}", older["id"].as_str().unwrap());
    let published = given.post(&format!("{older}/publish"), json!({ "revision": 1, "why": "w" })).await;
    assert_eq!((published.status.as_u16(), &published.body["job"], &published.body["version"]), (200, &Value::Null, &json!(1)));
}

#[tokio::test]
async fn a_ruleset_that_becomes_the_primary_one_comes_with_ranges_that_fit_its_points() {
    let given = given().await;
    let path = given.make("account-rulesets", json!({ "name": "Smaller", "content": { "rules": [size(100)] } })).await;
    given.publish(&path).await;
    let primary = given.patch(&path, json!({ "primary": true })).await;
    assert_eq!(primary.status, 202, "{}", primary.body);
    let proposed = &primary.body["proposed_levels"][0];
    assert_eq!((&proposed["ruleset_id"], primary.body["proposed_levels"].as_array().map(Vec::len)), (&json!("account"), Some(1)));
    // Of 145 points possible 20, 50 and 80 are as many as 13.8, 34.5 and 55.2 of 100.
    let begins: Vec<i64> = proposed["levels"].as_array().unwrap().iter().map(|level| level["min"].as_i64().unwrap()).collect();
    assert_eq!(begins, [0, 14, 34, 55]);
}

#[tokio::test]
async fn what_the_description_shows_can_be_sent() {
    let given = given().await;
    let document = serde_json::to_value(crate::document()).unwrap();
    let example = |path: &str, method: &str| -> Value {
        let content = &document["paths"][path][method]["requestBody"]["content"]["application/json"];
        let schema = content["schema"]["$ref"].as_str().unwrap_or_default();
        let schema = document.pointer(schema.trim_start_matches('#')).unwrap_or(&Value::Null);
        let example = if content["example"].is_null() { &schema["example"] } else { &content["example"] };
        assert!(!example.is_null(), "{method} {path} has no example");
        example.clone()
    };
    for kind in KINDS {
        let base = format!("/api/v1/{kind}");
        let parts = if kind.contains("level") { "levels" } else { "rules" };
        let one = parts.trim_end_matches('s');
        let path = given.make(kind, example(&base, "post")).await;
        let content = example(&format!("{base}/{{id}}"), "put");
        given.put(&path, content).await.ok();
        let settings = example(&format!("{base}/{{id}}"), "patch");
        given.patch(&path, settings).await.ok();
        let mut rule = example(&format!("{base}/{{id}}/{parts}"), "post");
        rule["id"] = json!("another");
        let added = given.post(&format!("{path}/{parts}"), rule).await;
        assert_eq!(added.status, 201, "{kind}: {}", added.body);
        let rule = example(&format!("{base}/{{id}}/{parts}/{{{one}}}"), "put");
        let known = rule["id"].as_str().unwrap();
        let put = given.put(&format!("{path}/{parts}/{known}"), rule.clone()).await;
        assert!(put.status == 200 || put.status == 404, "{kind}: {}", put.body);
        for (action, status) in [("publish", 409), ("rollback", 422)] {
            let answered = given.post(&format!("{path}/{action}"), example(&format!("{base}/{{id}}/{action}"), "post")).await;
            assert_eq!(answered.status, status, "{kind} {action}: {}", answered.body);
        }
        example(&format!("{base}/{{id}}/versions/{{version}}/copy"), "post");
    }
}
