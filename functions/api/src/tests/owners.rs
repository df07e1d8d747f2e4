//! Owner rules by calls alone: who gets which account, who keeps one, and what a person's word is worth.

use super::given::*;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

const RULES: &str = "/api/v1/settings/owner-rules";

/// 50 + 45 + 20 + 30 = 145 points: the level Target.
fn target() -> Value {
    json!({"employees": 1_500, "revenue": 60_000_000, "country": "US", "industry": "Technology"})
}

/// No points: the level Low Priority.
fn low() -> Value {
    json!({"employees": 10, "revenue": 1_000, "country": "BR", "industry": "Mining"})
}

async fn with_rules(rules: Value) -> Given {
    let given = given().await;
    let put = given.put(RULES, json!({ "rules": rules })).await;
    assert_eq!(put.status, StatusCode::ACCEPTED, "{}", put.body);
    given.run_jobs().await;
    given
}

/// The owner and who says so, as the account's page shows it.
async fn owner(given: &Given, account: &str) -> (String, Value) {
    let shown = given.get(&format!("/api/v1/accounts/{account}")).await.ok();
    (shown["owner"].as_str().unwrap_or_default().to_owned(), shown["owner_by"].clone())
}

async fn owners(given: &Given, accounts: &[&str]) -> Vec<String> {
    let mut owners = Vec::new();
    for account in accounts {
        owners.push(owner(given, account).await.0);
    }
    owners
}

fn targets_and_the_rest() -> Value {
    json!([
        {"id": "targets", "name": "Targets", "levels": ["target"], "owners": ["ana", "ben", "cleo"]},
        {"id": "rest", "owners": ["dora"]},
    ])
}

#[tokio::test]
async fn owners_take_turns_a_change_of_level_gives_another_and_a_person_wins() {
    let given = with_rules(targets_and_the_rest()).await;
    for account in ["a1", "a2", "a3", "a4"] {
        given.set(account, target()).await;
    }
    assert_eq!(owners(&given, &["a1", "a2", "a3", "a4"]).await, ["ana", "ben", "cleo", "ana"]);
    let by_rule = json!({"by": "rule", "rule_id": "targets", "rule": "Targets"});
    assert_eq!(owner(&given, "a1").await, ("ana".to_owned(), by_rule));
    // Lists show it at once, and find accounts by it.
    assert_eq!(given.all("/api/v1/accounts?owner=Ana&sort=name", "account_id").await, ["a1", "a4"]);

    given.patch("/api/v1/accounts/a2", json!({"owner": "zoe"})).await.ok();
    given.run().await;
    given.set("a2", low()).await;
    assert_eq!(owner(&given, "a2").await, ("zoe".to_owned(), json!({"by": "person"})));
    // Cleared: nobody at first, then whoever the rules say.
    let cleared = given.patch("/api/v1/accounts/a2", json!({"owner": null})).await.ok();
    assert_eq!((&cleared["owner"], &cleared["owner_by"]), (&Value::Null, &Value::Null));
    given.run().await;
    assert_eq!(owner(&given, "a2").await, ("dora".to_owned(), json!({"by": "rule", "rule_id": "rest", "rule": "rest"})));

    // The level changes, and the rule with it. Back under the old rule it is the next one's turn: the fifth.
    given.set("a1", low()).await;
    assert_eq!(given.stands("a1").await, (0, "Low Priority".to_owned()));
    assert_eq!(owners(&given, &["a1"]).await, ["dora"]);
    given.set("a1", target()).await;
    assert_eq!(owners(&given, &["a1", "a3", "a4"]).await, ["ben", "cleo", "ana"]);

    // Nothing turns the wheel but an account that comes under the rule.
    for _ in 0..3 {
        given.post("/api/v1/accounts/a1/rescore", json!({})).await.ok();
        given.run().await;
    }
    given.set("a3", json!({"employees": 2_000})).await;
    given.set("a5", target()).await;
    assert_eq!(owners(&given, &["a1", "a3", "a5"]).await, ["ben", "cleo", "cleo"]);
    // A person who names the owner whom the rule gave makes it the person's word.
    given.patch("/api/v1/accounts/a5", json!({"owner": "cleo"})).await.ok();
    given.set("a5", low()).await;
    assert_eq!(owner(&given, "a5").await, ("cleo".to_owned(), json!({"by": "person"})));
}

#[tokio::test]
async fn new_rules_reach_every_account_and_keep_what_still_holds() {
    let given = given().await;
    for account in ["a1", "a2", "a3"] {
        given.set(account, target()).await;
    }
    given.patch("/api/v1/accounts/a3", json!({"owner": "zoe"})).await.ok();
    given.run().await;
    let history = given.get("/api/v1/accounts/a1/history").await.ok();

    let rules = |owners: Value| json!({"rules": [{"id": "all", "name": "All", "owners": owners}]});
    let put = given.put(RULES, rules(json!(["ana", "ben"]))).await;
    assert_eq!(put.status, StatusCode::ACCEPTED);
    assert_eq!((&put.body["unchanged"], &put.body["rules"][0]["id"]), (&json!(false), &json!("all")));
    given.run_jobs().await;
    let mut first = owners(&given, &["a1", "a2", "a3"]).await;
    assert_eq!(first[2], "zoe");
    first.sort();
    assert_eq!(first, ["ana", "ben", "zoe"]);

    // A name is only a name, and the same rules change nothing.
    let mut named = rules(json!(["ana", "ben"]));
    named["rules"][0]["name"] = "Everybody".into();
    assert_eq!(given.put(RULES, named.clone()).await.status, StatusCode::OK);
    assert_eq!(given.put(RULES, named).await.ok()["unchanged"], true);
    assert_eq!(owner(&given, "a1").await.1["rule"], "Everybody");

    // Whoever is not named any more gives their accounts away; the others keep theirs.
    given.put(RULES, rules(json!(["ben", "cleo"]))).await.ok();
    given.run_jobs().await;
    let mut second = owners(&given, &["a1", "a2"]).await;
    second.sort();
    assert!(second == ["ben", "cleo"] || second == ["ben", "ben"], "{second:?}");
    assert!(!second.contains(&"ana".to_owned()));

    // Without rules everybody keeps who they have; the rule that gave it has no name any more.
    let before = owners(&given, &["a1", "a2", "a3"]).await;
    given.put(RULES, json!({"rules": []})).await.ok();
    given.run_jobs().await;
    assert_eq!(owners(&given, &["a1", "a2", "a3"]).await, before);
    assert_eq!(owner(&given, "a1").await.1, json!({"by": "rule", "rule_id": "all", "rule": null}));
    // Owners make no transition.
    assert_eq!(given.get("/api/v1/accounts/a1/history").await.ok(), history);
}

#[tokio::test]
async fn a_condition_asks_for_fields_and_for_what_people_state() {
    let given = with_rules(json!([
        {"id": "named", "when": {"field": "tier", "op": "eq", "value": "1:1"}, "owners": ["ana"]},
        {"id": "dach", "when": {"field": "country", "op": "in", "value": ["DE", "AT", "CH"]}, "owners": ["ben"]},
    ]))
    .await;
    given.set("a1", json!({"country": "Germany"})).await;
    given.set("a2", json!({"country": "US"})).await;
    assert_eq!(owners(&given, &["a1", "a2"]).await, ["ben", ""]);
    assert_eq!(owner(&given, "a2").await.1, Value::Null);
    given.patch("/api/v1/accounts/a1", json!({"tier": "1:1"})).await.ok();
    given.run().await;
    assert_eq!(owners(&given, &["a1"]).await, ["ana"]);
    // An account that no rule takes keeps its owner.
    given.patch("/api/v1/accounts/a1", json!({"tier": null, "fields": {"country": "US"}})).await.ok();
    given.run().await;
    assert_eq!(owner(&given, "a1").await, ("ana".to_owned(), json!({"by": "rule", "rule_id": "named", "rule": "named"})));
}

#[tokio::test]
async fn faults_name_their_places_and_nothing_is_changed() {
    let given = with_rules(targets_and_the_rest()).await;
    let shown = given.get(RULES).await;
    assert_eq!(shown.headers[header::ETAG], "\"2\"");
    assert_eq!(shown.body["rules"].as_array().unwrap().len(), 2);
    let before = given.store.dump();
    let one = |rule: Value| json!({ "rules": [rule] });
    let refused = [
        (json!([]), vec![""]),
        (json!({}), vec!["/rules"]),
        (json!({"rules": [], "more": 1}), vec!["/more"]),
        (one(json!({"id": "x"})), vec!["/rules/0/owners"]),
        (one(json!({"id": "x", "owners": []})), vec!["/rules/0/owners"]),
        (one(json!({"id": "x", "owners": [""]})), vec!["/rules/0/owners/0"]),
        (one(json!({"id": "x/y", "owners": ["kim"]})), vec!["/rules/0/id"]),
        (one(json!({"id": "x", "owners": ["kim"], "levels": ["gold"]})), vec!["/rules/0/levels/0"]),
        (one(json!({"id": "x", "owners": ["kim"], "when": {"field": "country", "op": "equals", "value": "DE"}})), vec!["/rules/0/when"]),
        (one(json!({"id": "x", "owners": ["kim"], "when": {"field": "owner", "op": "exists"}})), vec!["/rules/0/when"]),
        (json!({"rules": [{"id": "x", "owners": ["kim"]}, {"id": "x", "owners": ["kim"]}]}), vec!["/rules/1/id"]),
    ];
    for (body, places) in refused {
        let answered = given.put(RULES, body.clone()).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (422, places), "{body}");
    }
    let request = http::Request::put(RULES)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::IF_MATCH, "\"1\"")
        .body(bytes::Bytes::from(json!({"rules": []}).to_string()))
        .unwrap();
    assert_eq!(given.send(request).await.status, 412);
    assert!(given.store.dump() == before);
    assert_eq!(given.call(OTHER, Method::GET, RULES, None).await.ok(), json!({"rules": []}));
}

#[tokio::test]
async fn levels_that_follow_from_owners_do_not_go_with_owners_that_follow_from_levels() {
    let given = with_rules(targets_and_the_rest()).await;
    let levels = json!({"name": "Of zoe", "content": {
        "segment": {"field": "owner", "op": "eq", "value": "zoe"}, "hysteresis_percent": 0, "dwell_hours": 0,
        "levels": [{"id": "low_priority", "name": "Low", "color": "gray", "min": 0}, {"id": "target", "name": "Target", "color": "purple", "min": 10}]}});
    let path = given.make("account-level-rulesets", levels).await;
    let revision = given.get(&path).await.ok()["draft"]["revision"].clone();
    let publish = json!({"revision": revision, "why": "zoe's own levels"});
    let refused = given.post(&format!("{path}/publish"), publish.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/segment"]), "{}", refused.body);
    // Owner rules without levels do go with it, and then none with levels.
    given.put(RULES, json!({"rules": [{"id": "rest", "owners": ["dora"]}]})).await.ok();
    given.run_jobs().await;
    given.post(&format!("{path}/publish"), publish).await.ok();
    given.run_jobs().await;
    let refused = given.put(RULES, json!({ "rules": targets_and_the_rest() })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/rules/0/levels"]), "{}", refused.body);
}
