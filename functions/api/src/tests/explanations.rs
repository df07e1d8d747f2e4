//! Explanations of accounts and leads, now and as of a past moment.

use super::given::*;
use pipeline::Clock;
use serde_json::{Value, json};

const ACCOUNT: &str = "/api/v1/accounts/brightforge-systems.com/explain";
const DAY: i64 = 24 * 60;

/// An account with a meeting of Bob's ten days ago and a demo request of Ann's half an hour ago.
async fn with_leads() -> Given {
    let given = given().await;
    let calls = vec![
        identify("ann", "ann@brightforge-systems.com"),
        identify("bob", "bob@brightforge-systems.com"),
        track("bob", "Meeting Held", 10 * DAY, "m1"),
        track("ann", "Demo Requested", 30, "m2"),
    ];
    given.track("main", calls).await;
    given
}

fn sum(lines: &Value, field: &str) -> i64 {
    lines.as_array().unwrap().iter().map(|line| line[field].as_i64().unwrap()).sum()
}

/// Everything in a lead's explanation adds up.
fn check_lead(lead: &Value) {
    let cap = lead["cap"]["points"].as_i64().unwrap_or_default();
    assert_eq!(Some(sum(&lead["rules"], "points") + cap), lead["score"].as_i64());
    for rule in lead["rules"].as_array().unwrap() {
        let cap = rule["cap"]["points"].as_i64().unwrap_or_default();
        assert_eq!(Some(sum(&rule["days"], "points") + cap), rule["points"].as_i64());
    }
}

fn check(explanation: &Value) {
    let account = &explanation["account"];
    assert_eq!(Some(sum(&account["rules"], "points") + sum(&account["caps"], "points")), account["score"].as_i64());
    let engagement = &explanation["engagement"];
    let others = engagement["others"]["counts"].as_i64().unwrap_or_default();
    assert_eq!(Some(sum(&engagement["leads"], "counts") + others), engagement["score"].as_i64());
    engagement["leads"].as_array().unwrap().iter().for_each(check_lead);
}

#[tokio::test]
async fn a_lead_is_explained_by_any_of_its_identities() {
    let given = with_leads().await;
    let ann = given.get("/api/v1/leads/user:ann/explain").await.ok();
    check_lead(&ann);
    // A demo request of today: 50, all of which counts for the account.
    assert_eq!(
        (&ann["score"], &ann["counts"], &ann["possible"], &ann["as_of"]),
        (&json!(50), &json!(50), &json!(100), &json!("2026-11-20"))
    );
    assert_eq!(ann["level"]["current"]["id"], "hot");
    assert_eq!((&ann["level"]["next"]["id"], &ann["level"]["next"]["points_needed"]), (&json!("very_hot"), &json!(25)));
    let meeting = ann["unmatched"].as_array().unwrap().iter().find(|rule| rule["rule_id"] == "sdr_meeting").unwrap();
    assert_eq!(meeting["because"], json!({"reason": "never_seen"}));
    let id = ann["lead_id"].as_str().unwrap();
    assert_eq!(given.get(&format!("/api/v1/leads/{id}/explain")).await.ok(), ann);
    // The same as the part of the account's explanation that is about her.
    let account = given.get(ACCOUNT).await.ok();
    check(&account);
    let part = account["engagement"]["leads"].as_array().unwrap().iter().find(|lead| lead["lead_id"] == id).unwrap();
    assert_eq!((&part["rules"], &part["level"], &part["counts"]), (&ann["rules"], &ann["level"], &ann["counts"]));
    assert_eq!(given.get("/api/v1/leads/user:nobody/explain").await.status, 404);
    assert_eq!(given.call(OTHER, http::Method::GET, &format!("/api/v1/leads/{id}/explain"), None).await.status, 404);
}

#[tokio::test]
async fn as_of_now_is_now() {
    let given = with_leads().await;
    given.patch("/api/v1/accounts/brightforge-systems.com", json!({"fields": {"employees": 1500}})).await.ok();
    given.run().await;
    let now = Clock::now(&*given.clock).to_string();
    for path in [ACCOUNT, "/api/v1/leads/user:ann/explain", "/api/v1/leads/user:bob/explain"] {
        let plain = given.get(path).await.ok();
        assert_eq!(given.get(&format!("{path}?as_of={now}")).await.ok(), plain, "{path}");
        // Today stands for now.
        assert_eq!(given.get(&format!("{path}?as_of=2026-11-20")).await.ok(), plain, "{path}");
    }
}

#[tokio::test]
async fn a_past_moment_knows_only_what_had_happened() {
    let given = with_leads().await;
    given.patch("/api/v1/accounts/brightforge-systems.com", json!({"fields": {"employees": 1500}})).await.ok();
    given.run().await;
    let now = given.get(ACCOUNT).await.ok();
    // 30 · 2^(−10/90) = 27.78, and 50.
    assert_eq!((&now["account"]["score"], &now["engagement"]["score"]), (&json!(50), &json!(78)));
    assert!(now.get("limits").is_none());

    let then = given.get(&format!("{ACCOUNT}?as_of=2026-11-12T12:00:00Z")).await.ok();
    check(&then);
    // Two days after the meeting: 30 · 2^(−2/90) = 29.54. Nobody had said how many employees there are.
    assert_eq!((&then["as_of"], &then["engagement"]["score"], &then["account"]["score"]), (&json!("2026-11-12"), &json!(30), &json!(0)));
    assert_eq!(then["account"]["known"], "0 of 4 fields known");
    assert_eq!(then["engagement"]["leads"].as_array().map(Vec::len), Some(1));
    assert!(then["limits"].as_array().is_some_and(|limits| !limits.is_empty()));
    assert_eq!((&then["at"], now.get("at")), (&json!("2026-11-12T12:00:00.000Z"), None));
    // A day alone stands for its end.
    let on_the_day = given.get(&format!("{ACCOUNT}?as_of=2026-11-10")).await.ok();
    assert_eq!((&on_the_day["engagement"]["score"], &on_the_day["as_of"]), (&json!(30), &json!("2026-11-10")));
    assert_eq!(on_the_day["at"], "2026-11-10T23:59:59.999Z");
    let before = given.get(&format!("{ACCOUNT}?as_of=2026-11-09")).await.ok();
    assert_eq!(before["engagement"]["score"], 0);

    let bob = given.get("/api/v1/leads/user:bob/explain?as_of=2026-11-12").await.ok();
    check_lead(&bob);
    assert_eq!((&bob["score"], &bob["as_of"]), (&json!(30), &json!("2026-11-12")));
    let ann = given.get("/api/v1/leads/user:ann/explain?as_of=2026-11-12").await;
    assert_eq!(ann.status, 404);
}

#[tokio::test]
async fn moments_that_can_not_be_told_are_refused() {
    let given = with_leads().await;
    for path in [ACCOUNT, "/api/v1/leads/user:ann/explain"] {
        for wrong in ["2026-11-20T12:00:05Z", "2026-11-21", "2024-01-01", "yesterday", ""] {
            let answered = given.get(&format!("{path}?as_of={wrong}")).await;
            assert_eq!((answered.status.as_u16(), answered.places()), (400, vec!["as_of"]), "{path} {wrong}");
        }
    }
    let old = given.get(&format!("{ACCOUNT}?as_of=2024-01-01")).await;
    assert!(old.body["errors"][0]["detail"].as_str().unwrap().contains("the log goes back to then"), "{}", old.body);
    assert!(old.body["errors"][0]["detail"].as_str().unwrap().ends_with("got `2024-01-01`"), "{}", old.body);
    assert_eq!(given.get("/api/v1/accounts/nobody/explain?as_of=2026-11-12").await.status, 404);
}

#[tokio::test]
async fn leads_that_are_not_listed_are_summed_up() {
    let given = with_leads().await;
    let one = given.get(&format!("{ACCOUNT}?leads=1")).await.ok();
    check(&one);
    // Bob's 27.78 of 77.78: 28 of 78.
    assert_eq!(one["engagement"]["others"], json!({"leads": 1, "counts": 28}));
    let none = given.get(&format!("{ACCOUNT}?leads=0")).await.ok();
    check(&none);
    assert_eq!(none["engagement"]["others"], json!({"leads": 2, "counts": 78}));
    for wrong in ["1001", "-1", "all"] {
        assert_eq!(given.get(&format!("{ACCOUNT}?leads={wrong}")).await.places(), ["leads"]);
    }
}

#[tokio::test]
async fn a_past_moment_is_explained_by_the_rules_of_then() {
    let given = with_leads().await;
    given.patch("/api/v1/accounts/brightforge-systems.com", json!({"fields": {"employees": 1500}})).await.ok();
    given.run().await;
    let before = given.get(ACCOUNT).await.ok();
    let then = Clock::now(&*given.clock).to_string();
    given.clock.advance(60_000);

    let fit = "/api/v1/account-rulesets/enterprise-b2b-saas";
    let mut content = given.get(fit).await.ok()["content"].clone();
    content["rules"][0]["points"] = json!(85);
    given.put(fit, content).await.ok();
    given.publish(fit).await;
    given.run_jobs().await;
    let now = given.get(ACCOUNT).await.ok();
    check(&now);
    assert_eq!((&now["account"]["score"], &now["rulesets"]["account"]["version"]), (&json!(85), &json!(2)));
    // 85 of 180 are 47 %; 50 of 145 were 34 %.
    assert_eq!((&now["grade"], &now["account"]["level"]["current"]["id"]), (&json!("C"), &json!("target")));
    assert_eq!(before["grade"], "D");

    let past = given.get(&format!("{ACCOUNT}?as_of={then}")).await.ok();
    check(&past);
    assert_eq!((&past["account"]["score"], &past["rulesets"]), (&json!(50), &before["rulesets"]));
    assert_eq!((&past["account"], &past["engagement"], &past["grid"]), (&before["account"], &before["engagement"], &before["grid"]));
}

#[tokio::test]
async fn a_lead_without_an_account_is_explained_too() {
    let given = given().await;
    given.track("main", vec![identify("cid", "cid@gmail.com"), track("cid", "Meeting Held", 10 * DAY, "m1")]).await;
    let now = given.get("/api/v1/leads/user:cid/explain").await.ok();
    check_lead(&now);
    // 30 · 2^(−10/90) = 27.78.
    assert_eq!((&now["score"], &now["level"]["current"]["id"]), (&json!(28), &json!("warm")));
    assert_eq!(given.get("/api/v1/leads/user:cid/explain?as_of=2026-11-20").await.ok(), now);
    assert_eq!(given.get("/api/v1/leads/user:cid/explain?as_of=2026-11-10").await.ok()["score"], 30);
    assert_eq!(given.get("/api/v1/leads/user:cid/explain?as_of=2026-11-09").await.status, 404);
}

#[tokio::test]
async fn rulesets_beside_the_primary_one_are_explained_by_themselves() {
    let given = with_leads().await;
    given.set("acct_1", json!({"country": "DE"})).await;
    let rule = |id: &str, op: &str| json!({"id": id, "points": 30, "condition": {"field": "country", "op": op}});
    let content = json!({"rules": [rule("known", "exists"), rule("unknown", "not_exists")], "cap": 20});
    let path = given.make("account-rulesets", json!({"name": "Countries", "content": content})).await;
    given.publish(&path).await;
    given.run_jobs().await;
    let explained = given.get("/api/v1/accounts/acct_1/explain").await.ok();
    let beside = &explained["other_rulesets"][0];
    assert_eq!((&beside["ruleset"]["name"], &beside["score"], &beside["possible"]), (&json!("Countries"), &json!(20), &json!(20)));
    // 30 for a known country, and the cap takes 10 away.
    assert_eq!(sum(&beside["rules"], "points") + sum(&beside["caps"], "points"), 20);
    // The primary one alone drives levels.
    assert_eq!((&explained["account"]["score"], &explained["account"]["level"]["current"]["id"]), (&json!(20), &json!("standard")));
}
