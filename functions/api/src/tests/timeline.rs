//! The timeline over the API. How parcels are merged is tested where they are merged.

use super::given::*;
use serde_json::{Value, json};

async fn busy_account() -> Given {
    let given = given().await;
    given
        .track(
            "main",
            vec![
                identify("ann", "ann@brightforge-systems.com"),
                track("ann", "Demo Requested", 3 * 1440, "demo"),
                track("ann", "Email Clicked", 90, "mail"),
                identify("bob", "bob@brightforge-systems.com"),
                track("bob", "Content Downloaded", 1440, "download"),
            ],
        )
        .await;
    given.clock.advance(60_000);
    // A server sends something that happened long ago, and repeats what was sent before.
    given.track("main", vec![track("bob", "Email Clicked", 10 * 1440, "late"), track("ann", "Email Clicked", 90, "mail")]).await;
    given
}

const PATH: &str = "/api/v1/accounts/brightforge-systems.com/timeline";

#[tokio::test]
async fn events_of_all_leads_are_listed_newest_first_each_once() {
    let given = busy_account().await;
    let mut expected = vec!["mail", "download", "demo", "late"];
    let all = given.all(PATH, "message_id").await;
    // The two identify calls carry no time of their own: they happened when they came.
    assert_eq!(all[2..], expected.split_off(0)[..]);
    for limit in 1..=6 {
        assert_eq!(given.all(&format!("{PATH}?limit={limit}"), "message_id").await, all, "limit {limit}");
    }
    let mail = given.get(&format!("{PATH}?limit=3")).await.ok()["data"][2].clone();
    assert_eq!(
        (&mail["at"], &mail["type"], &mail["name"], &mail["channel"]),
        (&json!("2026-11-20T10:30:00.000Z"), &json!("track"), &json!("Email Clicked"), &json!("email"))
    );
    assert_eq!((&mail["lead"], &mail["identity_kind"], &mail["identity"]), (&json!("Person ann"), &json!("user"), &json!("ann")));
    assert_eq!((&mail["properties"], &mail["traits"], &mail["clamped"]), (&json!({"id": "mail"}), &json!({}), &json!(false)));
}

#[tokio::test]
async fn a_timeline_is_cut_by_lead_and_time() {
    let given = busy_account().await;
    for (query, expected) in [
        ("?lead=user:bob&to=2026-11-20T11:00:00Z", ["download", "late"].as_slice()),
        ("?from=2026-11-17&to=2026-11-19", &["download", "demo"]),
        ("?from=2026-11-19T12:00:00.001Z&to=2026-11-20T11:00:00Z", &["mail"]),
        ("?from=2026-11-19T12:00:00%2B00:00&to=2026-11-20T11:00:00Z", &["mail", "download"]),
        ("?to=2026-11-01", &[]),
    ] {
        assert_eq!(given.all(&format!("{PATH}{query}"), "message_id").await, expected, "{query}");
        assert_eq!(given.all(&format!("{PATH}{query}&limit=1"), "message_id").await, expected, "{query}");
    }
    assert_eq!(given.get(&format!("{PATH}?lead=user:nobody")).await.status, 404);
    assert_eq!(given.get(&format!("{PATH}?from=2026-11-20&to=2026-11-19")).await.places(), ["to"]);
    assert_eq!(given.get(&format!("{PATH}?from=yesterday&view=weekly")).await.places(), ["from", "view"]);
}

#[tokio::test]
async fn daily_activity_is_counted_by_channel() {
    let given = busy_account().await;
    let page = given.get(&format!("{PATH}?view=daily")).await.ok();
    assert_eq!(
        page,
        json!({"data": [
            {"day": "2026-11-20", "events": 1, "channels": {"email": 1}},
            {"day": "2026-11-19", "events": 1, "channels": {"website": 1}},
            {"day": "2026-11-17", "events": 1, "channels": {"website": 1}},
            {"day": "2026-11-10", "events": 1, "channels": {"email": 1}},
        ], "next_cursor": Value::Null})
    );
    let page = given.get(&format!("{PATH}?view=daily&lead=user:bob&from=2026-11-19")).await.ok();
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn events_of_the_account_itself_have_no_lead() {
    let given = given().await;
    given.put("/api/v1/accounts/acct", json!({})).await.ok();
    let call = json!({"type": "track", "userId": "u", "event": "Viewed", "messageId": "m1", "properties": {"account_id": "acct"}});
    given.track("main", vec![call]).await;
    let page = given.get("/api/v1/accounts/acct/timeline").await.ok();
    assert_eq!((&page["data"][0]["account_id"], &page["data"][0]["lead"]), (&json!("acct"), &json!("u")));
}
