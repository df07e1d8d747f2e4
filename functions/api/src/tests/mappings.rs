//! Mappings: read, changed entry by entry, in force for events from then on.

use super::{
    given::*,
    model_races::{asked, at_once, at_once_over},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

const MAPPING: &str = "/api/v1/account-mappings";
const ENTRIES: &str = "/api/v1/account-mappings/entries";
const PROFILES: &str = "/api/v1/profile-mappings";
const RULES: &str = "/api/v1/profile-mappings/rules";

fn ids(mapping: &Value) -> Vec<&str> {
    mapping["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect()
}

/// A change by somebody who says which version they looked at.
async fn if_match(given: &Given, method: Method, path: &str, tag: &str, body: Value) -> Answered {
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    given.send(request.header(header::IF_MATCH, tag).body(body).unwrap()).await
}

#[tokio::test]
async fn an_added_entry_fills_its_field_from_then_on() {
    let given = given().await;
    let call =
        |id: &str| json!({"type": "track", "userId": "ann", "event": "Signed Up", "messageId": id, "properties": {"seat_count": 40}});
    given.track("main", vec![identify("ann", "ann@brightforge-systems.com"), call("m1")]).await;
    let fields = async || given.get("/api/v1/accounts/brightforge-systems.com").await.ok()["fields"]["seats"].clone();
    assert_eq!(fields().await, Value::Null);

    let added = given.post(ENTRIES, json!({"field": "seats", "type": "number", "paths": ["properties.seat_count"]})).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    assert_eq!(added.headers[header::LOCATION], "/api/v1/account-mappings/entries/seats");
    assert_eq!(added.headers[header::ETAG], "\"2\"");
    let entry = json!({"id": "seats", "field": "seats", "type": "number", "paths": ["properties.seat_count"]});
    assert_eq!(given.get("/api/v1/account-mappings/entries/seats").await.ok(), entry);
    let mut said = entry;
    (said["applies_to"], said["apply"]) = (json!("events from now on"), json!("/api/v1/account-mappings/apply"));
    assert_eq!(added.body, said);
    // What was stored before stays as it was read.
    assert_eq!(fields().await, Value::Null);
    given.track("main", vec![call("m2")]).await;
    assert_eq!(fields().await, json!(40));
    // The other workspace has its own.
    let other = given.call(OTHER, Method::GET, MAPPING, None).await.ok();
    assert!(!ids(&other).contains(&"seats"));
    assert_eq!(other["version"], 1);
}

#[tokio::test]
async fn entries_are_replaced_reordered_and_removed() {
    let given = given().await;
    let before = given.get(MAPPING).await.ok();
    assert_eq!(ids(&before)[..3], ["name", "industry", "employees"]);
    given.post(ENTRIES, json!({"field": "employees", "type": "number", "paths": ["properties.headcount"]})).await.ok();
    assert_eq!(ids(&given.get(MAPPING).await.ok()).last(), Some(&"employees~2"));

    // With another field it has another id; it keeps its place.
    let replaced = given
        .put("/api/v1/account-mappings/entries/employees~2", json!({"field": "seats", "type": "number", "paths": "properties.seats"}))
        .await
        .ok();
    assert_eq!((&replaced["id"], &replaced["paths"]), (&json!("seats"), &json!(["properties.seats"])));

    let mut order: Vec<String> = ids(&given.get(MAPPING).await.ok()).into_iter().map(str::to_owned).collect();
    order.reverse();
    let reordered = given.put(ENTRIES, json!({"order": order})).await.ok();
    assert_eq!(ids(&reordered), order.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&reordered["changes"][0]["change"], &reordered["applies_to"]), (&json!("order"), &json!("events from now on")));

    assert_eq!(given.delete("/api/v1/account-mappings/entries/seats").await.status, StatusCode::NO_CONTENT);
    for gone in [given.get("/api/v1/account-mappings/entries/seats").await, given.delete("/api/v1/account-mappings/entries/seats").await] {
        assert_eq!(gone.status, 404);
    }
}

#[tokio::test]
async fn what_was_read_can_be_sent_back_and_changes_nothing() {
    let given = given().await;
    let before = given.get(MAPPING).await.ok();
    let same = given.put(MAPPING, before.clone()).await.ok();
    assert_eq!((&same["unchanged"], &same["changes"], &same["version"]), (&json!(true), &json!([]), &json!(1)));
    let currency = given.put("/api/v1/account-mappings/settings", json!({"currency": "EUR"})).await.ok();
    assert_eq!((&currency["currency"], &currency["version"], &currency["unchanged"]), (&json!("EUR"), &json!(2), &json!(false)));
    assert_eq!(currency["changes"], json!([{"change": "currency", "before": "USD", "after": "EUR"}]));
    let small = given.put(MAPPING, json!({"entries": [{"field": "plan", "type": "text", "paths": ["traits.plan"]}]})).await.ok();
    assert_eq!((ids(&small), &small["currency"], &small["version"]), (vec!["plan"], &json!("USD"), &json!(3)));
}

#[tokio::test]
async fn faults_of_a_mapping_name_their_places_and_change_nothing() {
    let given = given().await;
    let before = given.store.dump();
    let refused = [
        (Method::POST, ENTRIES, json!({"field": "Seats", "type": "integer", "paths": ["seats"]}), vec!["/field", "/type", "/paths/0"]),
        (Method::POST, ENTRIES, json!({"field": "employees", "type": "text", "paths": ["traits.e"]}), vec!["/type"]),
        (Method::POST, ENTRIES, json!({"field": "seen", "type": "text", "policy": {"last_time_of_event": "Seen"}}), vec!["/type"]),
        (Method::POST, ENTRIES, json!({"field": "seats", "type": "text", "paths": ["traits.s"], "colour": "red"}), vec!["/colour"]),
        (Method::PUT, "/api/v1/account-mappings/entries/plan", json!({"field": "plan"}), vec!["/type", "/paths"]),
        (Method::PUT, ENTRIES, json!({"order": ["plan"]}), vec!["/order"]),
        (Method::PUT, ENTRIES, json!({"order": [7]}), vec!["/order/0"]),
        (Method::PUT, "/api/v1/account-mappings/settings", json!({"currency": "dollars"}), vec!["/currency"]),
        (Method::PUT, "/api/v1/account-mappings/settings", json!({}), vec!["/currency"]),
        (Method::PUT, MAPPING, json!({"currency": "USD"}), vec!["/entries"]),
        (Method::PUT, MAPPING, json!({"entries": [], "mode": 1}), vec!["/mode"]),
        (
            Method::PUT,
            MAPPING,
            json!({"entries": [{"field": "a", "type": "text", "paths": "traits.a"}, {"field": "a", "type": "bool", "paths": "traits.b"}]}),
            vec!["/entries/1/type"],
        ),
        (Method::PUT, PROFILES, json!({}), vec!["/rules"]),
        (Method::PUT, PROFILES, json!({"rules": [{"when": "phone", "equals": "x", "account_id": "acct_7"}]}), vec!["/rules/0/when"]),
        (Method::POST, RULES, json!({"when": "email", "equals": " ", "account_id": ""}), vec!["/equals", "/account_id"]),
        (Method::POST, RULES, json!({"when": "email", "equals": "x", "account_id": "acct_7", "then": 1}), vec!["/then"]),
    ];
    for (method, path, body, places) in refused {
        let answered = given.call(TOKEN, method, path, Some(body.clone())).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (422, places), "{path} {body}");
    }
    let clash = given.post(ENTRIES, json!({"field": "employees", "type": "text", "paths": ["traits.e"]})).await;
    assert_eq!(clash.body["errors"][0]["detail"], "must be `number` as in the other mapping of `employees`");
    for (method, path) in [
        (Method::GET, "/api/v1/profile-mappings/rules/1"),
        (Method::DELETE, "/api/v1/profile-mappings/rules/0"),
        (Method::DELETE, "/api/v1/account-mappings/entries/nothing"),
    ] {
        assert_eq!(given.call(TOKEN, method, path, None).await.status, 404, "{path}");
    }
    assert!(given.store.dump() == before);
}

#[tokio::test]
async fn an_entry_whose_change_spoils_another_one_says_which() {
    let given = given().await;
    given.post(ENTRIES, json!({"field": "employees", "type": "number", "paths": ["properties.headcount"]})).await.ok();
    let spoiled =
        given.put("/api/v1/account-mappings/entries/employees", json!({"field": "employees", "type": "text", "paths": ["traits.e"]})).await;
    assert_eq!((spoiled.status.as_u16(), spoiled.places()), (422, vec![""]));
    let detail = spoiled.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("must be `text` as in the other mapping of `employees`"), "{detail}");
}

#[tokio::test]
async fn whoever_looked_at_an_older_version_is_told() {
    let given = given().await;
    let entry = |field: &str| json!({"field": field, "type": "text", "paths": [format!("traits.{field}")]});
    let first = if_match(&given, Method::POST, ENTRIES, "\"1\"", entry("one")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let late = if_match(&given, Method::POST, ENTRIES, "\"1\"", entry("two")).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(late.body["detail"], "it is at revision 2 by now; read it again");
    assert_eq!(if_match(&given, Method::DELETE, "/api/v1/account-mappings/entries/one", "\"1\"", Value::Null).await.status, 412);
    assert_eq!(if_match(&given, Method::DELETE, "/api/v1/account-mappings/entries/one", "\"2\"", Value::Null).await.status, 204);
    // The model has version 3 by now: two mappings were published.
    assert_eq!(if_match(&given, Method::PUT, PROFILES, "\"2\"", json!({"rules": []})).await.status, 412);
    assert_eq!(if_match(&given, Method::PUT, PROFILES, "\"3\"", json!({"rules": []})).await.status, 200);
    assert_eq!(if_match(&given, Method::PUT, PROFILES, "three", json!({"rules": []})).await.status, 400);
}

#[tokio::test]
async fn of_two_entries_added_at_once_none_is_lost() {
    let given = Arc::new(given().await);
    let add = |field: &str| asked(Method::POST, ENTRIES, json!({"field": field, "type": "text", "paths": [format!("traits.{field}")]}));
    let (first, second) = at_once(&given, add("one"), add("two")).await;
    assert_eq!((first.0, second.0), (201, 201), "{} {}", first.1, second.1);
    let mapping = given.get(MAPPING).await.ok();
    assert_eq!((&ids(&mapping)[18..], &mapping["version"]), (["two", "one"].as_slice(), &json!(3)));
    // Who looked at what was before is told.
    let (first, second) = at_once_over(&given, add("three"), Some("\"3\"".to_owned()), add("four")).await;
    assert_eq!((first.0, second.0), (412, 201), "{} {}", first.1, second.1);
    // Rules that place leads are another part of the model, and neither change undoes the other.
    let rule = json!({"when": "email_domain", "equals": "brightforge-systems.com", "account_id": "acct_7"});
    let (first, second) = at_once(&given, add("five"), asked(Method::POST, RULES, rule)).await;
    assert_eq!((first.0, second.0), (201, 201), "{} {}", first.1, second.1);
    assert_eq!(given.get(PROFILES).await.ok()["rules"][0]["account_id"], "acct_7");
    assert!(ids(&given.get(MAPPING).await.ok()).contains(&"five"));
    // Surge settings start a job; while it runs nothing else is changed.
    let surge = asked(Method::PUT, "/api/v1/settings/surge", json!({"mode": "absolute", "events": 8, "days": 3}));
    let (first, second) = at_once(&given, add("six"), surge).await;
    assert_eq!((first.0, second.0), (409, 202), "{} {}", first.1, second.1);
    assert!(first.1["detail"].as_str().unwrap().starts_with("a publication is under way: /api/v1/jobs/job_"), "{}", first.1);
}

#[tokio::test]
async fn profile_rules_are_numbered_and_place_leads_from_then_on() {
    let given = given().await;
    let rule = |domain: &str, account: &str| json!({"when": "email_domain", "equals": domain, "account_id": account});
    let added = given.post(RULES, rule("brightforge-systems.com", "acct_7")).await;
    assert_eq!(
        (added.status, added.headers[header::LOCATION].to_str().unwrap()),
        (StatusCode::CREATED, "/api/v1/profile-mappings/rules/1")
    );
    given.post(RULES, rule("quillmark-press.com", "acct_9")).await.ok();
    let third = given.post(RULES, rule("loamfield-foods.com", "acct_11")).await.ok();
    assert_eq!(third["number"], 3);
    let replaced = given.put("/api/v1/profile-mappings/rules/2", rule("quillmark-press.com", "acct_10")).await.ok();
    assert_eq!((&replaced["number"], &replaced["account_id"]), (&json!(2), &json!("acct_10")));
    assert_eq!(given.delete("/api/v1/profile-mappings/rules/3").await.status, 204);
    let mapping = given.get(PROFILES).await.ok();
    assert_eq!(mapping, json!({"rules": [rule("brightforge-systems.com", "acct_7"), rule("quillmark-press.com", "acct_10")]}));
    assert_eq!(given.put(PROFILES, mapping).await.ok()["unchanged"], true);

    given.track("main", vec![identify("ann", "ann@mail.brightforge-systems.com"), track("ann", "Demo Requested", 30, "m1")]).await;
    let lead = given.get("/api/v1/leads/user:ann").await.ok();
    assert_eq!(lead["account_id"], "acct_7");
}

#[tokio::test]
async fn coverage_counts_the_accounts_that_hold_a_field() {
    let given = given().await;
    for (account, fields) in [("a", json!({"employees": 1500})), ("b", json!({"employees": "501-5000", "shoe_size": 44})), ("c", json!({}))]
    {
        given.put(&format!("/api/v1/accounts/{account}"), json!({"fields": fields})).await.ok();
    }
    given.run().await;
    let counted = given.get("/api/v1/mapping-coverage").await.ok();
    assert_eq!(counted["accounts"], 3);
    let of = |name: &str| counted["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).unwrap().clone();
    // 501 to 5,000 employees may be 1,000 or more, and may be fewer.
    assert_eq!(
        of("employees"),
        json!({"field": "employees", "known": 2, "percent": 67, "undecided": 1, "mapped": true,
            "rules": [{"ruleset": "enterprise-b2b-saas", "rule_id": "employees"}]})
    );
    assert_eq!((&of("revenue")["known"], &of("revenue")["percent"]), (&json!(0), &json!(0)));
    assert_eq!((&of("shoe_size")["mapped"], &of("shoe_size")["known"], &of("plan")["rules"]), (&json!(false), &json!(1), &json!([])));
    assert_eq!(given.post("/api/v1/mapping-coverage", json!({})).await.ok()["fields"], counted["fields"]);
    assert_eq!(given.post("/api/v1/mapping-coverage", json!({"all": true})).await.places(), ["/all"]);
    assert_eq!(given.call(OTHER, Method::GET, "/api/v1/mapping-coverage", None).await.ok()["accounts"], 0);
}
