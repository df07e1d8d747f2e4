//! Triggers, destinations and the delivery log.

use super::given::*;
use domain::{
    AccountId, DestinationId, Home, Timestamp, TriggerId,
    transition::{Changed, Transition},
};
use pipeline::notify::{Attempt, Deliveries, Delivery, DeliveryId, DeliveryState};
use serde_json::{Value, json};
use std::sync::Arc;

const URL: &str = "https://hooks.example.com/services/T000/B000/token-9f3c";

async fn destination(given: &Given) -> String {
    let made = given.post("/api/v1/destinations", json!({"name": "Sales", "kind": "signed_webhook", "url": URL})).await.ok();
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let given = given().await;
    let made = given.post("/api/v1/destinations", json!({"name": "Sales", "kind": "signed_webhook", "url": URL})).await;
    assert_eq!(made.status, 201);
    let location = made.headers["location"].to_str().unwrap().to_owned();
    let made = made.ok();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && !secret.contains('…'));
    assert_eq!(made["url"], "https://hooks.example.com/…9f3c");
    let shown = given.get(&location).await.ok();
    let listed = given.get("/api/v1/destinations").await.ok()["data"][0].clone();
    assert_eq!(shown, listed);
    assert!(shown["secret"].as_str().unwrap().starts_with("whsec_…"));
    let everything = format!("{:?}", given.store.dump());
    assert!(!everything.contains(secret) && !everything.contains("T000"));

    let rotated = given.put(&location, json!({"rotate_secret": true})).await.ok();
    assert!(rotated["secret"].as_str().unwrap() != secret && !rotated["secret"].as_str().unwrap().contains('…'));
    let changed = given.put(&location, json!({"name": "Sales team", "enabled": false, "fields": ["country"]})).await.ok();
    assert_eq!((&changed["name"], &changed["enabled"], &changed["fields"]), (&json!("Sales team"), &json!(false), &json!(["country"])));
    assert!(changed["secret"].as_str().unwrap().starts_with("whsec_…"));
}

#[tokio::test]
async fn destinations_that_make_no_sense_are_refused_without_repeating_secrets() {
    let given = given().await;
    let answered =
        given.post("/api/v1/destinations", json!({"kind": "mail", "url": "https://user:hunter2@hooks.example.com/", "x": 1})).await;
    assert_eq!(answered.status, 422);
    assert_eq!(answered.places(), ["/x", "/kind", "/url"]);
    assert!(!answered.body.to_string().contains("hunter2"));
    assert_eq!(given.post("/api/v1/destinations", json!({})).await.places(), ["/name", "/kind", "/url"]);
    let id = destination(&given).await;
    let path = format!("/api/v1/destinations/{id}");
    assert_eq!(given.put(&path, json!({"rotate_secret": 1})).await.places(), ["/rotate_secret"]);
    assert_eq!(given.put(&path, json!({"kind": "slack"})).await.places(), ["/kind"]);
    let slack = given.post("/api/v1/destinations", json!({"name": "s", "kind": "slack", "url": URL})).await.ok();
    let slack = format!("/api/v1/destinations/{}", slack["id"].as_str().unwrap());
    assert_eq!(given.put(&slack, json!({"rotate_secret": true})).await.places(), ["/rotate_secret"]);
    assert_eq!(given.delete(&slack).await.status, 204);
    assert_eq!(given.delete(&slack).await.status, 404);
    assert_eq!(given.get("/api/v1/destinations/dst_none").await.status, 404);
}

#[tokio::test]
async fn a_new_trigger_lists_who_already_qualifies() {
    let given = given().await;
    given
        .track(
            "main",
            vec![
                group("a", "acct_north", enterprise()),
                track("a", "Demo Requested", 5, "m"),
                group("b", "acct_south", json!({"employees": 1200})),
            ],
        )
        .await;
    let id = destination(&given).await;
    let body = json!({"name": "New Targets", "when": {"kind": "level_entered", "level": "target"}, "destinations": [id]});
    let made = given.post("/api/v1/triggers", body.clone()).await;
    assert_eq!(made.status, 201);
    let made = made.ok();
    assert_eq!(
        made["already_qualify"],
        json!({"count": 1, "accounts": [{"account_id": "acct_north", "name": "Northwind Looms", "account_score": 145, "engagement_score": 50}]})
    );
    assert_eq!((&made["fire"]["cooldown_hours"], &made["created_at"]), (&json!(168), &json!("2026-11-20T12:00:01.000Z")));
    let listed = given.get("/api/v1/triggers").await.ok();
    assert_eq!((&listed["data"][0]["id"], listed["data"][0].get("already_qualify")), (&made["id"], None));

    for (when, filters, count) in [
        (json!({"kind": "engagement_crossed", "threshold": 50}), json!([]), json!(1)),
        (json!({"kind": "engagement_crossed", "threshold": 50, "direction": "down"}), json!([]), json!(1)),
        (json!({"kind": "surge_started"}), json!([]), json!(0)),
        (json!({"kind": "level_entered", "level": "hot", "of": "lead"}), json!([]), json!(1)),
        (json!({"kind": "level_entered", "level": "warm", "of": "engagement"}), json!([{"on": "level", "equals": "target"}]), json!(1)),
        (
            json!({"kind": "level_entered", "level": "target"}),
            json!([{"on": "field", "field": "industry", "equals": "technology"}]),
            json!(1),
        ),
        (json!({"kind": "level_entered", "level": "target"}), json!([{"on": "field", "field": "industry", "equals": "Retail"}]), json!(0)),
        (json!({"kind": "level_left", "level": "target"}), json!([]), Value::Null),
    ] {
        let made = given.post("/api/v1/triggers", json!({"name": "t", "when": when, "filters": filters, "destinations": [id]})).await.ok();
        assert_eq!(made["already_qualify"]["count"], count, "{when} {filters}");
    }
}

#[tokio::test]
async fn triggers_are_replaced_and_deleted() {
    let given = given().await;
    let id = destination(&given).await;
    let body = |name: &str, level: &str| json!({"name": name, "when": {"kind": "level_entered", "level": level}, "destinations": [id]});
    let made = given.post("/api/v1/triggers", body("one", "target")).await.ok();
    let path = format!("/api/v1/triggers/{}", made["id"].as_str().unwrap());
    given.clock.advance(5_000);
    let renamed = given.put(&path, body("two", "target")).await.ok();
    assert_eq!((&renamed["name"], &renamed["created_at"], &renamed["version"]), (&json!("two"), &made["created_at"], &json!(2)));
    let other = given.put(&path, body("two", "qualified")).await.ok();
    assert_ne!(other["created_at"], made["created_at"]);
    // A destination that a trigger names stays.
    let answered = given.delete(&format!("/api/v1/destinations/{id}")).await;
    assert_eq!(answered.status, 409);
    assert_eq!(given.delete(&path).await.status, 204);
    assert_eq!(given.get(&path).await.status, 404);
    assert_eq!(given.delete(&format!("/api/v1/destinations/{id}")).await.status, 204);
}

#[tokio::test]
async fn triggers_that_name_what_is_not_there_are_refused() {
    let given = given().await;
    let answered = given
        .post("/api/v1/triggers", json!({"name": "t", "when": {"kind": "level_entered", "level": "gold"}, "destinations": ["dst_none"]}))
        .await;
    assert_eq!((answered.status.as_u16(), answered.places()), (422, vec!["/when/level", "/destinations/0"]));
    let answered = given.post("/api/v1/triggers", json!({"name": "", "when": {"kind": "never"}, "destinations": [], "colour": 1})).await;
    assert_eq!(answered.status, 422);
    let mut places = answered.places();
    places.sort_unstable();
    assert_eq!(places, ["/colour", "/destinations", "/name", "/when/kind"]);
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_and_filtered() {
    let given = given().await;
    given.put("/api/v1/accounts/acct_1", json!({})).await.ok();
    let deliveries = Deliveries::new(Arc::clone(&given.store));
    for n in 0..30_u64 {
        let home = Home::Account(AccountId::new(&format!("acct_{}", n % 3)).unwrap());
        let (trigger, destination) = (TriggerId::new("trg_1").unwrap(), DestinationId::new("dst_1").unwrap());
        let at = Timestamp::parse(NOW).unwrap().plus_millis(n as i64 * 1_000);
        let state = if n % 2 == 0 { DeliveryState::Failed { reason: "503".into() } } else { DeliveryState::Delivered { at } };
        let attempts =
            vec![Attempt { at, status: Some(503), error: Some("the answer was 503".into()), duration_ms: 12, response: "busy".into() }];
        let transition = Transition {
            seq: n,
            at,
            change: Changed::AccountLevel { from: None, to: "target".into() },
            cause: "account score 145".into(),
            silent: false,
        };
        let delivery = Delivery {
            id: DeliveryId::new(&main(), &trigger, &home, n, &destination),
            trigger,
            trigger_name: "New Targets".into(),
            destination,
            home,
            account_name: Some("Northwind Looms".into()),
            kind: "account.level_entered".into(),
            transition,
            created_at: at,
            state,
            first_attempt_at: Some(at),
            tries: 1,
            attempts,
            body: "{\"secret\":\"of the account\"}".into(),
        };
        deliveries.create(&main(), None, vec![delivery]).await.unwrap();
    }
    let page = given.get("/api/v1/deliveries?limit=1").await.ok();
    let first = &page["data"][0];
    assert_eq!(
        (&first["state"], &first["delivered_at"], &first["account_id"]),
        (&json!("delivered"), &json!("2026-11-20T12:00:29.000Z"), &json!("acct_2"))
    );
    assert_eq!((&first["transition"]["to"], &first["attempts"][0]["at"]), (&json!("Target"), &json!("2026-11-20T12:00:29.000Z")));
    assert_eq!(given.all("/api/v1/deliveries?limit=7", "id").await.len(), 30);
    assert_eq!(given.all("/api/v1/deliveries?state=failed&limit=4", "reason").await, vec!["503"; 15]);
    assert_eq!(given.all("/api/v1/deliveries?account=acct_1", "id").await.len(), 10);
    assert_eq!(given.all("/api/v1/deliveries?trigger=trg_1&destination=dst_1", "id").await.len(), 30);
    assert_eq!(given.all("/api/v1/deliveries?trigger=trg_2", "id").await.len(), 0);
    assert_eq!(given.get("/api/v1/deliveries?state=lost").await.places(), ["state"]);
    assert_eq!(given.get("/api/v1/deliveries?account=nobody").await.status, 404);
}
