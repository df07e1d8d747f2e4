//! What a person says of an account.

use super::given::*;
use domain::Timestamp;
use pipeline::{
    Query, Store, Table,
    records::{SHARDS, due_partition},
};
use serde_json::{Value, json};

async fn due(given: &Given) -> Vec<String> {
    let mut due = Vec::new();
    for shard in 0..SHARDS {
        let items = given.store.query_all(Query::partition(Table::Accounts, due_partition(shard))).await.unwrap();
        due.extend(items.into_iter().map(|item| item.key.sk));
    }
    due.sort();
    due
}

#[tokio::test]
async fn a_change_is_due_and_hinted_and_scored() {
    let given = given().await;
    given.track("main", vec![identify("u1", "ann@brightforge-systems.com")]).await;
    let path = "/api/v1/accounts/brightforge-systems.com";
    let changed = given.patch(path, json!({"owner": " Dana ", "tier": "1:1", "priority": "A", "name": "Brightforge", "fields": {"employees": "1,000+", "country": "uk"}})).await.ok();
    // The answer is as of now: 50 for the employees, 20 for the country.
    assert_eq!(
        (&changed["account_score"], &changed["owner"], &changed["tier"], &changed["name"]),
        (&json!(70), &json!("Dana"), &json!("1:1"), &json!("Brightforge"))
    );
    assert_eq!(changed["field_sources"]["employees"]["source"], "manual");
    let now = format!("{:015}#main#a:brightforge-systems.com", Timestamp::parse(NOW).unwrap().plus_millis(1_000).millis());
    assert!(due(&given).await.contains(&now), "{:?}", due(&given).await);
    assert_eq!(given.touched().await, ["a:brightforge-systems.com"]);

    given.patch(path, json!({"fields": {"industry": "Finance"}})).await.ok();
    given.run().await;
    let item = given.get("/api/v1/accounts").await.ok()["data"][0].clone();
    assert_eq!((&item["account_score"], &item["account_level"], &item["owner"]), (&json!(100), &json!("Target"), &json!("Dana")));
    let cleared = given.patch(path, json!({"owner": null, "tier": null, "priority": null})).await.ok();
    assert_eq!((&cleared["owner"], &cleared["tier"], &cleared["priority"]), (&Value::Null, &Value::Null, &Value::Null));
}

#[tokio::test]
async fn the_same_change_again_writes_nothing() {
    let given = given().await;
    given.put("/api/v1/accounts/a", json!({})).await.ok();
    let change =
        json!({"owner": "Dana", "domains": ["brightforge-systems.com"], "external_ids": {"CRM": "1"}, "fields": {"employees": 10}});
    given.patch("/api/v1/accounts/a", change.clone()).await.ok();
    let before = given.store.dump();
    given.lose_hints();
    given.clock.advance(1_000);
    given.patch("/api/v1/accounts/a", change).await.ok();
    assert_eq!((given.store.dump(), given.touched().await), (before, Vec::<String>::new()));
}

#[tokio::test]
async fn a_manual_field_wins_until_it_is_undone() {
    let given = given().await;
    given.track("main", vec![group("u", "acct", json!({"employees": 10}))]).await;
    given.patch("/api/v1/accounts/acct", json!({"fields": {"employees": 5000}})).await.ok();
    given.clock.advance(60_000);
    given.track("main", vec![group("v", "acct", json!({"employees": 20}))]).await;
    let account = given.get("/api/v1/accounts/acct").await.ok();
    assert_eq!((&account["fields"]["employees"], &account["account_score"]), (&json!(5000), &json!(50)));
    assert_eq!(account["field_sources"]["employees"]["statements"].as_array().unwrap().len(), 2);
    // A person may also say that nothing is known.
    let cleared = given.patch("/api/v1/accounts/acct", json!({"fields": {"employees": null}})).await.ok();
    assert_eq!((&cleared["fields"].get("employees"), &cleared["field_sources"]["employees"]["value"]), (&None, &Value::Null));
    let undone = given.delete("/api/v1/accounts/acct/fields/employees").await.ok();
    assert_eq!((&undone["fields"]["employees"], &undone["field_sources"]["employees"]["source"]), (&json!(20), &json!("group")));
    assert_eq!(given.touched().await, ["a:acct"]);
    assert_eq!(given.delete("/api/v1/accounts/acct/fields/employees").await.status, 404);
    assert_eq!(given.delete("/api/v1/accounts/acct/fields/NO%20NAME").await.status, 404);
}

#[tokio::test]
async fn two_changes_within_a_millisecond_leave_the_last() {
    let given = given().await;
    given.put("/api/v1/accounts/a", json!({"fields": {"employees": 9}})).await.ok();
    for n in [1, 7, 3] {
        given.patch("/api/v1/accounts/a", json!({"fields": {"employees": n}})).await.ok();
    }
    assert_eq!(given.get("/api/v1/accounts/a").await.ok()["fields"]["employees"], json!(3));
}

#[tokio::test]
async fn every_fault_of_a_change_is_named_and_nothing_is_written() {
    let given = given().await;
    given.put("/api/v1/accounts/a", json!({})).await.ok();
    let before = given.store.dump();
    let answered = given
        .patch(
            "/api/v1/accounts/a",
            json!({
                "owner": 7, "tier": "gold", "priority": "", "name": "x", "colour": "red",
                "domains": ["gmail.com", "co.uk", 5], "external_ids": {"a b": "1", "crm": 1},
                "fields": {"employees": "many", "Bad Name": 1, "a/b": 1, "name": "y"}
            }),
        )
        .await;
    assert_eq!(answered.status, 422);
    let mut places = answered.places();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "/colour",
            "/domains/0",
            "/domains/1",
            "/domains/2",
            "/external_ids/a b",
            "/external_ids/crm",
            "/fields/Bad Name",
            "/fields/a~1b",
            "/fields/employees",
            "/fields/name",
            "/owner",
            "/priority",
            "/tier"
        ]
    );
    assert_eq!(given.store.dump(), before);
    assert_eq!(given.patch("/api/v1/accounts/a", json!([1])).await.places(), [""]);
    assert_eq!(given.patch("/api/v1/accounts/b", json!({"owner": "x"})).await.status, 404);
}

#[tokio::test]
async fn an_account_can_be_made_under_an_id() {
    let given = given().await;
    let made = given.put("/api/v1/accounts/ACME%20%2F%201", json!({"name": "Quillmark", "domains": ["quillmark-press.com"]})).await;
    assert_eq!((made.status.as_u16(), made.headers["location"].to_str().unwrap()), (201, "/api/v1/accounts/ACME%20%2F%201"));
    assert_eq!(made.ok()["account_id"], "ACME / 1");
    assert_eq!(given.put("/api/v1/accounts/ACME%20%2F%201", json!({"tier": "1:many"})).await.status, 200);
    assert_eq!(given.get("/api/v1/accounts/quillmark-press.com").await.ok()["account_id"], "ACME / 1");
    given.run().await;
    assert_eq!(given.all("/api/v1/accounts", "account_level").await, ["Low Priority"]);
    assert_eq!(given.put(&format!("/api/v1/accounts/{}", "x".repeat(300)), json!({})).await.status, 422);
    // Leads of that domain belong to it.
    given.track("main", vec![identify("u1", "ann@quillmark-press.com")]).await;
    assert_eq!(given.all("/api/v1/accounts/ACME%20%2F%201/leads", "email").await, ["ann@quillmark-press.com"]);
}

#[tokio::test]
async fn adding_a_domain_absorbs_the_account_that_was_made_for_it() {
    let given = given().await;
    given
        .track(
            "main",
            vec![
                identify("u1", "ann@quillmark-press.com"),
                track("u1", "Demo Requested", 5, "m1"),
                group("u2", "acct_1", json!({"name": "Quillmark"})),
            ],
        )
        .await;
    let changed = given.patch("/api/v1/accounts/acct_1", json!({"domains": ["www.quillmark-press.com"]})).await.ok();
    assert_eq!(
        (&changed["members"], &changed["total_leads"], &changed["engagement_score"]),
        (&json!(["quillmark-press.com"]), &json!(2), &json!(50))
    );
    assert_eq!(given.touched().await, ["a:acct_1", "a:quillmark-press.com"]);
    given.patch("/api/v1/accounts/acct_1", json!({"owner": "Dana"})).await.ok();
    given.patch("/api/v1/accounts/quillmark-press.com", json!({"tier": "1:1"})).await.ok();
    given.run().await;
    assert_eq!(given.all("/api/v1/accounts", "account_id").await, ["acct_1"]);
    // Its old id leads to where it is now.
    let found = given.get("/api/v1/accounts/quillmark-press.com").await.ok();
    assert_eq!((&found["account_id"], &found["tier"]), (&json!("acct_1"), &json!("1:1")));
}

#[tokio::test]
async fn what_belongs_to_another_account_is_a_conflict() {
    let given = given().await;
    given.put("/api/v1/accounts/a", json!({"domains": ["quillmark-press.com"], "external_ids": {"crm": "77"}})).await.ok();
    let before = given.store.dump();
    let answered = given.put("/api/v1/accounts/b", json!({"domains": ["quillmark-press.com"]})).await;
    assert_eq!((answered.status.as_u16(), answered.places()), (409, vec!["/domains/0"]));
    let answered = given.put("/api/v1/accounts/b", json!({"external_ids": {"crm": "77"}})).await;
    assert_eq!((answered.status.as_u16(), answered.places()), (409, vec!["/external_ids/crm"]));
    assert_eq!(given.store.dump(), before);
    // Given up by the one, it is free for the other.
    given.patch("/api/v1/accounts/a", json!({"external_ids": {"crm": null}})).await.ok();
    assert_eq!(given.put("/api/v1/accounts/b", json!({"external_ids": {"crm": "77"}})).await.status, 201);
}
