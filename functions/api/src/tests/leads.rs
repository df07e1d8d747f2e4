//! Leads: found, listed, linked by a person and unlinked.

use super::given::*;
use domain::Identity;
use http::Method;
use pipeline::{Consistency, homes::HomeStore};
use serde_json::{Value, json};
use std::sync::Arc;

async fn with_leads() -> Given {
    let given = given().await;
    given
        .track(
            "main",
            vec![
                identify("ann", "ann@brightforge-systems.com"),
                track("ann", "Demo Requested", 30, "m1"),
                // The same person's browser.
                json!({"type": "page", "userId": "ann", "anonymousId": "browser-1", "messageId": "p1", "name": "Home"}),
                json!({"type": "page", "anonymousId": "browser-1", "messageId": "p2", "name": "Home"}),
                identify("bob", "bob@brightforge-systems.com"),
                track("bob", "Email Clicked", 30, "m2"),
                identify("cid", "cid@gmail.com"),
                track("cid", "Email Clicked", 10, "m3"),
                json!({"type": "page", "anonymousId": "browser-2", "messageId": "p3", "name": "Home"}),
            ],
        )
        .await;
    given
}

#[tokio::test]
async fn an_account_lists_its_leads_best_first() {
    let given = with_leads().await;
    let page = given.get("/api/v1/accounts/brightforge-systems.com/leads").await.ok();
    let ann = &page["data"][0];
    // A demo request (50) and visits (5 a session; both pages lie in one half hour).
    assert_eq!(
        (&ann["email"], &ann["score"], &ann["level"], &ann["name"]),
        (&json!("ann@brightforge-systems.com"), &json!(55), &json!("Hot"), &json!("Person ann"))
    );
    assert_eq!(
        (&ann["events"], &ann["account_id"], &ann["resolution"]["method"]),
        (&json!(4), &json!("brightforge-systems.com"), &json!("email_domain"))
    );
    let identities: Vec<_> = ann["identities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|identity| (identity["kind"].as_str().unwrap(), identity["value"].as_str().unwrap()))
        .collect();
    assert_eq!(identities, [("user", "ann"), ("anonymous", "browser-1")]);
    assert_eq!(
        given.all("/api/v1/accounts/brightforge-systems.com/leads?limit=1", "email").await,
        ["ann@brightforge-systems.com", "bob@brightforge-systems.com"]
    );
}

#[tokio::test]
async fn a_lead_is_found_by_every_identity() {
    let given = with_leads().await;
    let lead = given.get("/api/v1/leads/user:ann").await.ok();
    let browser = format!("ld_{}", Identity::anonymous("browser-1").id());
    for id in [lead["lead_id"].as_str().unwrap(), "anonymous:browser-1", &browser] {
        assert_eq!(given.get(&format!("/api/v1/leads/{id}")).await.ok(), lead, "{id}");
    }
    assert_eq!(lead["explanation"]["score"], lead["score"]);
    let sum: i64 = lead["explanation"]["rules"].as_array().unwrap().iter().map(|rule| rule["points"].as_i64().unwrap()).sum();
    assert_eq!(Some(sum), lead["score"].as_i64());
    for id in ["user:nobody", "ld_00000000000000000000000000000000", "ld_zz", "nonsense", "user:"] {
        assert_eq!(given.get(&format!("/api/v1/leads/{id}")).await.status, 404, "{id}");
    }
}

#[tokio::test]
async fn leads_are_listed_with_and_without_accounts() {
    let given = with_leads().await;
    let page = given.get("/api/v1/leads?resolved=false").await.ok();
    let found: Vec<_> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lead| (lead["email"].clone(), lead["score"].clone(), lead["account_id"].clone()))
        .collect();
    assert_eq!(found, [(json!("cid@gmail.com"), json!(5), Value::Null), (Value::Null, json!(5), Value::Null)]);
    assert_eq!(page["data"][0]["resolution"]["method"], "unresolved");
    for limit in [1, 2, 50] {
        assert_eq!(
            given.all(&format!("/api/v1/leads?resolved=true&limit={limit}"), "email").await,
            ["ann@brightforge-systems.com", "bob@brightforge-systems.com"]
        );
        assert_eq!(given.all(&format!("/api/v1/leads?resolved=false&limit={limit}"), "email").await.len(), 2);
    }
    assert_eq!(given.all("/api/v1/leads?resolved=false&search=person%20CID", "email").await, ["cid@gmail.com"]);
    assert_eq!(given.all("/api/v1/leads?resolved=false&level=hot", "email").await.len(), 0);
    assert_eq!(given.all("/api/v1/leads?resolved=false&level=cold", "email").await.len(), 2);
}

#[tokio::test]
async fn a_manual_link_moves_every_identity_and_stands_against_events() {
    let given = with_leads().await;
    given.track("main", vec![identify("dan", "dan@quillmark-press.com")]).await;
    let linked = given.put("/api/v1/leads/anonymous:browser-1", json!({"account_id": "quillmark-press.com"})).await.ok();
    assert_eq!(
        (&linked["account_id"], &linked["resolution"]["method"], &linked["resolution"]["confidence"]),
        (&json!("quillmark-press.com"), &json!("manual"), &json!(100))
    );
    assert_eq!(linked["identities"].as_array().unwrap().len(), 2);
    assert_eq!(given.touched().await, ["a:brightforge-systems.com", "a:quillmark-press.com"]);
    // Events that name another account, or another address, change nothing.
    given
        .track("main", vec![
            json!({"type": "track", "userId": "ann", "event": "Email Clicked", "messageId": "m9", "properties": {"account_id": "acct_other"}}),
            json!({"type": "page", "anonymousId": "browser-1", "messageId": "p9"}),
        ])
        .await;
    assert_eq!(given.get("/api/v1/leads/user:ann").await.ok()["account_id"], "quillmark-press.com");
    assert_eq!(
        given.all("/api/v1/accounts/quillmark-press.com/leads", "email").await,
        ["ann@brightforge-systems.com", "dan@quillmark-press.com"]
    );
    assert_eq!(given.all("/api/v1/accounts/brightforge-systems.com/leads", "email").await, ["bob@brightforge-systems.com"]);
    // Ann's six events went along, Dan's one was there.
    let timeline = given.all("/api/v1/accounts/quillmark-press.com/timeline", "message_id").await;
    assert_eq!(timeline.len(), 7);
}

#[tokio::test]
async fn a_link_that_is_there_already_writes_nothing() {
    let given = with_leads().await;
    given.put("/api/v1/leads/user:ann", json!({"account_id": "acct_new"})).await.ok();
    let before = given.store.dump();
    given.put("/api/v1/leads/user:ann", json!({"account_id": "acct_new"})).await.ok();
    assert_eq!(given.store.dump(), before);
    // The hint is sent all the same: the one before may have been lost.
    assert_eq!(given.touched().await, ["a:acct_new", "a:brightforge-systems.com"]);
}

#[tokio::test]
async fn a_manual_link_is_undone_to_where_the_events_say() {
    let given = with_leads().await;
    given.put("/api/v1/leads/user:ann", json!({"account_id": "acct_new"})).await.ok();
    let undone = given.delete("/api/v1/leads/user:ann/account").await.ok();
    assert_eq!(
        (&undone["account_id"], &undone["resolution"]),
        (&json!("brightforge-systems.com"), &json!({"method": "email_domain", "confidence": 80}))
    );
    assert_eq!(undone["identities"].as_array().unwrap().len(), 2);
    let homes = HomeStore::new(Arc::clone(&given.store));
    let mapping = homes.mapping(&main(), &Identity::anonymous("browser-1").id(), Consistency::Strong).await.unwrap().unwrap().record;
    assert_eq!((mapping.manual, mapping.home.to_string()), (None, "a:brightforge-systems.com".to_owned()));
    // Undoing what nobody decided changes nothing.
    let before = given.store.dump();
    given.delete("/api/v1/leads/user:bob/account").await.ok();
    assert_eq!(given.store.dump(), before);
}

#[tokio::test]
async fn a_lead_can_be_held_out_of_every_account() {
    let given = with_leads().await;
    let held = given.put("/api/v1/leads/user:ann", json!({"account_id": null})).await.ok();
    assert_eq!((&held["account_id"], &held["resolution"]["method"]), (&Value::Null, &json!("manual")));
    assert_eq!(held["identities"].as_array().unwrap().len(), 2);
    given.run().await;
    given
        .track(
            "main",
            vec![identify("ann", "ann@brightforge-systems.com"), json!({"type": "page", "anonymousId": "browser-1", "messageId": "p9"})],
        )
        .await;
    let emails = given.all("/api/v1/leads?resolved=false", "email").await;
    assert!(emails.contains(&"ann@brightforge-systems.com".to_owned()), "{emails:?}");
    assert_eq!(given.get("/api/v1/leads/anonymous:browser-1").await.ok()["identities"].as_array().unwrap().len(), 2);
    assert_eq!(given.all("/api/v1/accounts/brightforge-systems.com/leads", "email").await, ["bob@brightforge-systems.com"]);
}

#[tokio::test]
async fn a_link_to_an_absorbed_account_leads_to_the_one_that_stands() {
    let given = with_leads().await;
    given.put("/api/v1/accounts/acct_1", json!({"domains": ["brightforge-systems.com"]})).await.ok();
    let linked = given.put("/api/v1/leads/user:cid", json!({"account_id": "brightforge-systems.com"})).await.ok();
    assert_eq!(linked["account_id"], "acct_1");
    given.run().await;
    let mut emails = given.all("/api/v1/accounts/acct_1/leads", "email").await;
    emails.sort();
    assert_eq!(emails, ["ann@brightforge-systems.com", "bob@brightforge-systems.com", "cid@gmail.com"]);
}

#[tokio::test]
async fn links_that_make_no_sense_are_refused() {
    let given = with_leads().await;
    let before = given.store.dump();
    for (body, place) in [
        (json!({}), "/account_id"),
        (json!({"account_id": ""}), "/account_id"),
        (json!({"account_id": 7}), "/account_id"),
        (json!({"account_id": "x".repeat(300)}), "/account_id"),
        (json!({"account_id": "a\nb"}), "/account_id"),
        (json!({"account_id": "a", "why": "x"}), "/why"),
    ] {
        let answered = given.put("/api/v1/leads/user:ann", body.clone()).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (422, vec![place]), "{body}");
    }
    assert_eq!(given.put("/api/v1/leads/user:nobody", json!({"account_id": "a"})).await.status, 404);
    assert_eq!(given.call(TOKEN, Method::DELETE, "/api/v1/leads/user:nobody/account", None).await.status, 404);
    assert_eq!(given.store.dump(), before);
}
