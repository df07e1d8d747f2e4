//! Dry runs: what a draft would change, told before it is published.

use super::given::*;
use domain::{RulesetId, ruleset::RulesetKind};
use pipeline::{
    Clock,
    clock::CountingEntropy,
    jobs::{JobKind, JobRecord, Jobs, new_job_id},
    rulesets::Subject,
};
use serde_json::{Value, json};
use std::sync::Arc;

const FIT: &str = "/api/v1/account-rulesets/enterprise-b2b-saas";
const ENGAGEMENT: &str = "/api/v1/engagement-rulesets/default";

/// Four accounts with 50, 145, 0 and 20 points, a lead without an account, and a trigger on new Targets.
async fn with_accounts() -> Given {
    let given = given().await;
    given.set("acct_a", json!({"name": "Northwind Looms", "employees": 1500})).await;
    given.set("acct_b", json!({"employees": 1500, "revenue": 60_000_000, "country": "US", "industry": "Technology"})).await;
    given.set("acct_c", json!({})).await;
    given.set("acct_z", json!({"country": "DE"})).await;
    given.track("main", vec![identify("cid", "cid@gmail.com"), track("cid", "Demo Requested", 30, "m1")]).await;
    let destination =
        given.post("/api/v1/destinations", json!({"name": "Sales", "kind": "signed_webhook", "url": "http://127.0.0.1:9/hook"})).await.ok();
    given
        .post(
            "/api/v1/triggers",
            json!({"name": "New Targets", "when": {"kind": "level_entered", "level": "target"}, "destinations": [destination["id"]]}),
        )
        .await
        .ok();
    given
}

/// Employees are worth 85 instead of 50, and countries nothing any more: 160 points are possible.
async fn drafted(given: &Given) {
    let mut content = given.get(FIT).await.ok()["content"].clone();
    content["rules"][0]["points"] = json!(85);
    content["rules"].as_array_mut().unwrap().remove(2);
    given.put(FIT, content).await.ok();
}

fn change<'c>(result: &'c Value, account: &str) -> Option<&'c Value> {
    result["changes"].as_array().unwrap().iter().find(|change| change["account_id"] == account)
}

#[tokio::test]
async fn a_dry_run_of_all_counts_who_goes_where_and_writes_nothing() {
    let given = with_accounts().await;
    drafted(&given).await;
    let before = given.store.dump();
    let result = given.post(&format!("{FIT}/dry-run"), json!({"accounts": "all"})).await.ok();
    assert!(given.store.dump() == before);
    assert_eq!((&result["accounts"], &result["unresolved_leads"], &result["changed"]), (&json!(4), &json!(1), &json!(3)));
    // a: 50 → 85, b: 145 → 160, c stays at 0, z: 20 → 0.
    let levels = &result["account_levels"];
    assert_eq!(levels["levels"], json!(["low_priority", "standard", "qualified", "target"]));
    assert_eq!(levels["matrix"], json!([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]));
    assert_eq!((&levels["before"], &levels["after"]), (&json!([1, 1, 1, 1]), &json!([2, 0, 0, 2])));
    // 215 / 4 = 53.75, 245 / 4 = 61.25.
    assert_eq!(
        (&result["score"]["mean_before"], &result["score"]["mean_after"], &result["score"]["possible"]),
        (&json!(54), &json!(61), &json!([145, 160]))
    );
    let mover = &result["top_movers"][0];
    assert_eq!(
        (&mover["account_id"], &mover["old"], &mover["new"], &mover["name"]),
        (&json!("acct_a"), &json!(50), &json!(85), &json!("Northwind Looms"))
    );
    assert_eq!(mover["because"], json!(["1,000 employees or more: +35"]));
    assert_eq!(result["top_fallers"][0]["because"], json!(["In a country we sell to: -20"]));
    let fired = &result["notifications"]["at_publication"][0];
    assert_eq!((&fired["name"], &fired["would_fire"], &fired["accounts"]), (&json!("New Targets"), &json!(1), &json!(["acct_a"])));
    // Of 145 points they were 20, 50 and 80: 22.07, 55.17 and 88.28 of 160.
    let mins: Vec<i64> =
        result["proposed_levels"][0]["levels"].as_array().unwrap().iter().map(|level| level["min"].as_i64().unwrap()).collect();
    assert_eq!(mins, [0, 22, 55, 88]);
    let a = change(&result, "acct_a").unwrap();
    assert_eq!((&a["account_score"], &a["account_level"]), (&json!([50, 85]), &json!(["qualified", "target"])));
    assert!(change(&result, "acct_c").is_none());

    // What is foretold is what happens.
    let revision = result["ruleset"]["revision"].clone();
    given.post(&format!("{FIT}/publish"), json!({"revision": revision, "why": "as tried"})).await.ok();
    given.run_jobs().await;
    for (account, score, level) in
        [("acct_a", 85, "Target"), ("acct_b", 160, "Target"), ("acct_c", 0, "Low Priority"), ("acct_z", 0, "Low Priority")]
    {
        assert_eq!(given.stands(account).await, (score, level.to_owned()), "{account}");
    }
    // Now there is no draft, and the published version changes nothing.
    let again = given.post(&format!("{FIT}/dry-run"), json!({"accounts": "all"})).await.ok();
    assert_eq!((&again["changed"], &again["ruleset"]["version"], &again["ruleset"]["revision"]), (&json!(0), &json!(2), &Value::Null));
}

#[tokio::test]
async fn one_account_is_explained_by_both_rulesets() {
    let given = with_accounts().await;
    drafted(&given).await;
    let one = given.post(&format!("{FIT}/dry-run"), json!({"account": "acct_a"})).await.ok();
    assert_eq!((&one["old"]["account"]["score"], &one["new"]["account"]["score"]), (&json!(50), &json!(85)));
    assert_eq!((&one["old"]["account"]["possible"], &one["new"]["account"]["possible"]), (&json!(145), &json!(160)));
    assert_eq!(
        (&one["old"]["account"]["level"]["current"]["id"], &one["new"]["account"]["level"]["current"]["id"]),
        (&json!("qualified"), &json!("target"))
    );
    assert_eq!((&one["changes"]["account_score"], &one["changes"]["account_level"]), (&json!([50, 85]), &json!(["qualified", "target"])));
    assert_eq!((&one["notifications"][0]["name"], &one["notifications"][0]["held_by_cooldown"]), (&json!("New Targets"), &json!(false)));
    // The old side is what the account's own explanation says.
    assert_eq!(one["old"], given.get("/api/v1/accounts/acct_a/explain").await.ok());
    let same = given.post(&format!("{FIT}/dry-run"), json!({"account": "acct_a", "of": "published"})).await.ok();
    assert_eq!((&same["old"]["account"]["rules"], &same["changes"]), (&same["new"]["account"]["rules"], &json!({})));
}

#[tokio::test]
async fn a_ruleset_beside_the_primary_one_drives_no_level_unless_it_is_tried_so() {
    let given = with_accounts().await;
    let rule = json!({"id": "any", "name": "Known country", "points": 90, "condition": {"field": "country", "op": "exists"}});
    let path = given.make("account-rulesets", json!({"name": "Countries", "content": {"rules": [rule]}})).await;
    let beside = given.post(&format!("{path}/dry-run"), json!({"accounts": "all"})).await.ok();
    assert_eq!((&beside["levels"], &beside["account_levels"]), (&json!("not driven by this ruleset"), &Value::Null));
    assert_eq!((&beside["score"]["possible"], &beside["ruleset"]["as_primary"]), (&json!([null, 90]), &json!(false)));
    let z = change(&beside, "acct_z").unwrap();
    assert_eq!((&z["score"], z.get("account_score")), (&json!([null, 90]), None));
    let primary = given.post(&format!("{path}/dry-run"), json!({"accounts": "all", "as_primary": true})).await.ok();
    // b and z are known by their countries: 90, Target; a and c have nothing.
    assert_eq!(primary["account_levels"]["after"], json!([2, 0, 0, 2]));
    assert_eq!(change(&primary, "acct_z").unwrap()["account_level"], json!(["standard", "target"]));
}

#[tokio::test]
async fn levels_are_tried_as_well() {
    let given = with_accounts().await;
    let path = "/api/v1/account-level-rulesets/account";
    let mut content = given.get(path).await.ok()["content"].clone();
    content["levels"][2]["max"] = json!(59);
    content["levels"][3]["min"] = json!(60);
    content["levels"][1]["max"] = json!(39);
    content["levels"][2]["min"] = json!(40);
    given.put(path, content).await.ok();
    let result = given.post(&format!("{path}/dry-run"), json!({"accounts": "all"})).await.ok();
    assert_eq!((&result["changed"], &result["account_levels"]["after"]), (&json!(0), &json!([1, 1, 1, 1])));
    let mut content = given.get(path).await.ok()["draft"]["content"].clone();
    content["levels"][2]["max"] = json!(49);
    content["levels"][3]["min"] = json!(50);
    given.put(path, content).await.ok();
    let result = given.post(&format!("{path}/dry-run"), json!({"accounts": "all"})).await.ok();
    assert_eq!(result["account_levels"]["after"], json!([1, 1, 0, 2]));
    let a = change(&result, "acct_a").unwrap();
    assert_eq!((&a["account_level"], a.get("account_score")), (&json!(["qualified", "target"]), None));
}

#[tokio::test]
async fn a_rule_that_counts_something_new_is_tried_on_what_was_stored() {
    let given = with_accounts().await;
    given
        .track(
            "main",
            vec![
                identify("ann", "ann@brightforge-systems.com"),
                track("ann", "Trial Started", 30, "m2"),
                track("ann", "Demo Requested", 20, "m3"),
            ],
        )
        .await;
    let mut content = given.get(ENGAGEMENT).await.ok()["content"].clone();
    let trial = json!({"id": "trial", "name": "Trial", "points": 40, "events": ["Trial Started"], "decay": {"kind": "none"}});
    content["rules"].as_array_mut().unwrap().push(trial);
    given.put(ENGAGEMENT, content).await.ok();
    let before = given.store.dump();
    let one = given.post(&format!("{ENGAGEMENT}/dry-run"), json!({"account": "brightforge-systems.com"})).await.ok();
    // A demo request is worth 50; the trial 40 more.
    assert_eq!((&one["old"]["engagement"]["score"], &one["new"]["engagement"]["score"]), (&json!(50), &json!(90)));
    assert_eq!(one["changes"]["engagement_level"], json!(["warm", "hot"]));
    let all = given.post(&format!("{ENGAGEMENT}/dry-run"), json!({"accounts": "all"})).await.ok();
    assert_eq!((&all["needs_fold"], &all["changed"]), (&json!(true), &json!(1)));
    // Ann rises from 50 to 90: from Hot to Very Hot. Cid stays Hot.
    assert_eq!(all["lead_levels"]["after"], json!([0, 0, 1, 1]));
    assert!(given.store.dump() == before);
    // After publication it is so.
    let revision = all["ruleset"]["revision"].clone();
    given.post(&format!("{ENGAGEMENT}/publish"), json!({"revision": revision, "why": "as tried"})).await.ok();
    given.run_jobs().await;
    let account = given.get("/api/v1/accounts/brightforge-systems.com").await.ok();
    assert_eq!((&account["engagement_score"], &account["engagement_level_id"]), (&json!(90), &json!("hot")));
}

#[tokio::test]
async fn a_job_finds_what_a_request_finds() {
    let given = with_accounts().await;
    drafted(&given).await;
    let asked = given.post(&format!("{FIT}/dry-run"), json!({"accounts": "all"})).await.ok();
    let jobs = Jobs::new(Arc::clone(&given.store), Arc::clone(&given.clock));
    let entropy = CountingEntropy::default();
    let start = async |kind: JobKind| {
        let now = given.clock.now();
        let record = JobRecord::new(new_job_id(&entropy, now).unwrap(), kind, "test", now);
        jobs.start(&main(), &record).await.unwrap();
        format!("/api/v1/jobs/{}", record.id)
    };
    let of = Subject { kind: RulesetKind::Account, id: RulesetId::new("enterprise-b2b-saas").unwrap() };
    let revision = asked["ruleset"]["revision"].as_u64();
    let dry_run = start(JobKind::DryRun { of, revision, as_primary: false, window_days: 28 }).await;
    let counted = start(JobKind::Coverage {}).await;
    let settings = serde_json::from_value(json!({"mode": "relative", "enter_events": 8})).unwrap();
    let preview = start(JobKind::SurgePreview { settings }).await;
    given.run_jobs().await;
    let job = given.get(&dry_run).await.ok();
    assert_eq!((&job["state"], &job["percent"]), (&json!("done"), &json!(100)), "{job}");
    let mut expected = asked.clone();
    expected.as_object_mut().unwrap().retain(|key, _| !key.starts_with("changes"));
    assert_eq!(job["result"], expected);
    let mut changes = given.get(job["changes_url"].as_str().unwrap()).await.ok()["data"].as_array().unwrap().clone();
    changes.sort_by_key(|change| change["account_id"].to_string());
    assert_eq!(Value::Array(changes), asked["changes"]);
    let coverage = given.get("/api/v1/mapping-coverage").await.ok();
    assert_eq!(given.get(&counted).await.ok()["result"]["fields"], coverage["fields"]);
    let inline = given.post("/api/v1/settings/surge/preview", json!({"mode": "relative", "enter_events": 8})).await.ok();
    assert_eq!(given.get(&preview).await.ok()["result"], inline);
}

#[tokio::test]
async fn what_can_not_be_tried_is_refused() {
    let given = with_accounts().await;
    let path = format!("{FIT}/dry-run");
    let refused = [
        (json!({}), vec![""]),
        (json!({"accounts": "some"}), vec!["/accounts"]),
        (json!({"account": "acct_a", "accounts": "all"}), vec!["/accounts"]),
        (json!({"account": "nobody"}), vec!["/account"]),
        (json!({"account": 7}), vec!["/account"]),
        (json!({"accounts": "all", "window_days": 29}), vec!["/window_days"]),
        (json!({"accounts": "all", "as_primary": 1, "sample": 2}), vec!["/sample", "/as_primary"]),
        (json!({"accounts": "all", "of": "draft"}), vec!["/of"]),
    ];
    for (body, places) in refused {
        let answered = given.post(&path, body.clone()).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (422, places), "{body}");
    }
    assert_eq!(given.post("/api/v1/account-rulesets/nothing/dry-run", json!({"accounts": "all"})).await.status, 404);
    assert_eq!(given.post(&format!("{path}?limit=1"), json!({"accounts": "all"})).await.places(), ["limit"]);
    // A draft that can't be published can't be tried.
    let empty = given.make("account-rulesets", json!({"name": "Nothing yet", "content": {"rules": []}})).await;
    let answered = given.post(&format!("{empty}/dry-run"), json!({"accounts": "all"})).await;
    assert_eq!((answered.status.as_u16(), answered.places()), (422, vec!["/rules"]), "{}", answered.body);
    let other = given.call(OTHER, http::Method::POST, &path, Some(json!({"accounts": "all"}))).await.ok();
    assert_eq!((&other["accounts"], &other["changed"]), (&json!(0), &json!(0)));
}
