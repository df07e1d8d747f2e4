//! One account on demand, what changed about a lead, and on which channels an account was met.

use super::given::*;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn an_account_is_scored_on_demand() {
    let given = given().await;
    given.set("a1", json!({"employees": 10})).await;
    let listed = async || given.get("/api/v1/accounts").await.ok()["data"][0]["account_score"].clone();
    assert_eq!(listed().await, 0);
    given.put("/api/v1/accounts/a1", json!({"fields": {"employees": 1_500}})).await.ok();
    given.lose_hints();
    given.run().await;
    assert_eq!(listed().await, 0);
    let asked = given.post("/api/v1/accounts/a1/rescore", json!({})).await;
    assert_eq!((asked.status.as_u16(), &asked.body["account_id"]), (202, &json!("a1")));
    assert_eq!(given.touched().await, ["a:a1"]);
    given.run().await;
    assert_eq!(listed().await, 50);
    // Again it comes to the same, and nothing is recorded a second time.
    let history = given.get("/api/v1/accounts/a1/history").await.ok();
    given.post("/api/v1/accounts/a1/rescore", json!({})).await.ok();
    given.run().await;
    assert_eq!((given.get("/api/v1/accounts/a1/history").await.ok(), listed().await), (history, json!(50)));

    assert_eq!(given.post("/api/v1/accounts/nobody/rescore", json!({})).await.status, 404);
    let wrong = given.post("/api/v1/accounts/a1/rescore", json!({"now": true})).await;
    assert_eq!((wrong.status.as_u16(), wrong.places()), (422, vec!["/now"]));
    assert_eq!(given.call(OTHER, Method::POST, "/api/v1/accounts/a1/rescore", Some(json!({}))).await.status, 404);
}

#[tokio::test]
async fn the_history_of_a_lead_is_its_levels_with_their_causes() {
    let given = given().await;
    given.track("main", vec![identify("u1", "ann@northwind-looms.com"), identify("u2", "bo@northwind-looms.com")]).await;
    // A demo request is 50 points: Hot. A meeting with sales adds 30: Very Hot.
    given.track("main", vec![track("u1", "Demo Requested", 5, "d1")]).await;
    given.track("main", vec![track("u2", "Demo Requested", 4, "d2")]).await;
    given.track("main", vec![track("u1", "Meeting Held", 3, "m1")]).await;
    let history = given.get("/api/v1/leads/user:u1/history").await.ok();
    let changes: Vec<(&str, &Value, &Value)> = history["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["what"].as_str().unwrap(), &change["from"], &change["to"]))
        .collect();
    let account = given.get("/api/v1/accounts/northwind-looms.com/history?limit=200").await.ok();
    let of_u1 = history["data"][0]["lead_id"].as_str().unwrap();
    let expected: Vec<(&str, &Value, &Value)> = account["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["lead_id"] == of_u1)
        .map(|change| (change["what"].as_str().unwrap(), &change["from"], &change["to"]))
        .collect();
    assert_eq!(changes, expected);
    assert_eq!(changes.iter().map(|(_, _, to)| (*to).clone()).collect::<Vec<_>>(), [json!("Very Hot"), json!("Hot")]);
    assert_eq!((&history["data"][0]["cause"], &history["data"][1]["cause"]), (&json!("score 80"), &json!("score 50")));
    // Page by page it is the same.
    assert_eq!(given.all("/api/v1/leads/user:u1/history?limit=1", "to").await, ["Very Hot", "Hot"]);
    assert_eq!(given.all("/api/v1/leads/user:u2/history?limit=1", "to").await, ["Hot"]);
    assert_eq!(given.get("/api/v1/leads/user:nobody/history").await.status, 404);
    let cursor = given.get("/api/v1/leads/user:u1/history?limit=1").await.ok()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(given.get(&format!("/api/v1/leads/user:u2/history?cursor={cursor}")).await.status, 400);
}

#[tokio::test]
async fn an_account_shows_on_which_channels_its_leads_were_met() {
    let given = given().await;
    let mut calls = vec![identify("u1", "ann@northwind-looms.com"), identify("u2", "bo@northwind-looms.com")];
    let stated = |user: &str, channel: &str, minutes: i64, id: &str| {
        let mut call = track(user, "Something", minutes, id);
        call["properties"]["channel"] = channel.into();
        call
    };
    calls.extend([stated("u1", "email", 10, "e1"), stated("u1", "email", 20, "e2"), stated("u2", "email", 2 * 24 * 60, "e3")]);
    calls.push(stated("u2", "ads", 3 * 24 * 60, "a1"));
    given.track("main", calls).await;
    let shown = given.get("/api/v1/accounts/northwind-looms.com").await.ok();
    let expected = json!([
        {"channel": "email", "events": 3, "leads": 2, "last_on": "2026-11-20"},
        {"channel": "ads", "events": 1, "leads": 1, "last_on": "2026-11-17"},
    ]);
    assert_eq!(shown["channels_tried"], expected);
    assert_eq!(given.put("/api/v1/accounts/a1", json!({})).await.ok()["channels_tried"], json!([]));
}
