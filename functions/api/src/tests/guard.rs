//! Who may ask, and what is refused before anything is done.

use super::given::*;
use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::json;

#[tokio::test]
async fn health_needs_no_token() {
    let given = given().await;
    let answered = given.send(Request::get("/healthz").body(Bytes::new()).unwrap()).await;
    assert_eq!(answered.ok(), json!({"status": "ok"}));
}

#[tokio::test]
async fn every_address_refuses_whoever_has_no_token() {
    let given = given().await;
    let document = serde_json::to_value(crate::document()).unwrap();
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if path == "/healthz" || path == "/api/v1/openapi.json" {
                continue;
            }
            let path = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
            for header in [None, Some("Bearer"), Some("Bearer wrong"), Some("Basic YTpi"), Some("Bearer wk_main"), Some("Bearer ")] {
                let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
                if let Some(header) = header {
                    request = request.header(header::AUTHORIZATION, header);
                }
                let answered = given.send(request.body(Bytes::from_static(b"{}")).unwrap()).await;
                assert_eq!(answered.status, 401, "{method} {path} {header:?}");
                assert!(answered.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer realm="));
            }
            tried += 1;
        }
    }
    let all: usize = document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(tried, all - 2);
}

#[tokio::test]
async fn the_scheme_is_read_without_regard_to_case_and_a_second_header_is_refused() {
    let given = given().await;
    let one = Request::get("/api/v1/accounts").header(header::AUTHORIZATION, format!("bearer {TOKEN}"));
    assert_eq!(given.send(one.body(Bytes::new()).unwrap()).await.status, 200);
    let two =
        Request::get("/api/v1/accounts").header(header::AUTHORIZATION, format!("Bearer {TOKEN}")).header(header::AUTHORIZATION, "Bearer x");
    assert_eq!(given.send(two.body(Bytes::new()).unwrap()).await.status, 401);
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems() {
    let given = given().await;
    assert_eq!(given.get("/api/v1/nothing").await.status, 404);
    assert_eq!(given.get("/").await.status, 404);
    assert_eq!(given.get("/api/v1/accounts/%FF").await.status, 404);
    let answered = given.call(TOKEN, Method::POST, "/api/v1/accounts", Some(json!({}))).await;
    assert_eq!(answered.status, 405);
    let allowed = answered.headers[header::ALLOW].to_str().unwrap();
    assert!(allowed.contains("GET"), "{allowed}");
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large_are_refused() {
    let given = given().await;
    given.put("/api/v1/accounts/a", json!({})).await.ok();
    let send = async |body: String| {
        let request = Request::patch("/api/v1/accounts/a").header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        given.send(request.body(Bytes::from(body)).unwrap()).await
    };
    assert_eq!(send(String::new()).await.status, 400);
    assert_eq!(send("{\"owner\":".into()).await.status, 400);
    assert_eq!(send("\u{0}".into()).await.status, 400);
    assert_eq!(send("[".repeat(10_000)).await.status, 400);
    assert_eq!(send("[]".into()).await.places(), [""]);
    assert_eq!(send(format!("{{\"owner\":\"{}\"}}", "x".repeat(256 * 1024))).await.status, 413);
    assert_eq!(send("{\"owner\": \"dana\"} ".to_owned() + &" ".repeat(200 * 1024)).await.status, 200);
}

#[tokio::test]
async fn unknown_and_faulty_parameters_are_all_named_at_once() {
    let given = given().await;
    let answered =
        given.get("/api/v1/accounts?limit=0&sort=size&surging=maybe&level=gold&tier=1&colour=red&search=a&search=b&order=up").await;
    assert_eq!(answered.status, 400);
    let mut places = answered.places();
    places.sort_unstable();
    assert_eq!(places, ["colour", "level", "limit", "order", "search", "sort", "surging", "tier"]);
    let answered = given.get("/api/v1/accounts?level=gold").await;
    assert_eq!(
        answered.body["errors"][0]["detail"],
        "there is no such level; the levels are `low_priority`, `standard`, `qualified`, `target`"
    );
    assert_eq!(given.get("/api/v1/accounts?cursor=abc").await.places(), ["cursor"]);
    assert_eq!(given.get("/api/v1/accounts/x/explain?as_off=2026-01-01").await.places(), ["as_off"]);
    assert_eq!(given.get("/api/v1/leads").await.places(), ["resolved"]);
    assert_eq!(given.get("/api/v1/leads?resolved=true&search=x").await.places(), ["search"]);
}

#[tokio::test]
async fn hostile_text_finds_nothing_and_breaks_nothing() {
    let given = given().await;
    given.track("main", vec![identify("u1", "ann@brightforge-systems.com")]).await;
    for text in [
        "%00",
        "..%2F..%2F",
        "a%3Ab",
        "%F0%9F%92%A9",
        "%27%20OR%201%3D1",
        "%23I%23",
        "main%23H%23a%3Ax",
        "%E2%80%AE",
        &"x".repeat(3_000),
        "%0A%0D",
    ] {
        for path in [
            "/api/v1/accounts/T",
            "/api/v1/accounts/T/leads",
            "/api/v1/accounts/T/timeline",
            "/api/v1/accounts/T/explain",
            "/api/v1/leads/T",
            "/api/v1/leads/user:T",
            "/api/v1/triggers/T",
            "/api/v1/destinations/T",
            "/api/v1/account-rulesets/T",
            "/api/v1/engagement-rulesets/T/rules",
            "/api/v1/lead-level-rulesets/T/versions",
            "/api/v1/account-rulesets/enterprise-b2b-saas/rules/T",
            "/api/v1/account-rulesets/enterprise-b2b-saas/versions/T",
            "/api/v1/ruleset-templates/T",
            "/api/v1/jobs/T",
            "/api/v1/jobs/T/changes",
        ] {
            let answered = given.get(&path.replace('T', text)).await;
            assert_eq!(answered.status, 404, "{path} {text}");
        }
        let listed = given.get(&format!("/api/v1/accounts?search={text}")).await;
        assert!(listed.status == 200 && listed.body["data"] == json!([]) || listed.status == 400, "{text}: {}", listed.body);
    }
}

#[tokio::test]
async fn a_workspace_sees_and_changes_nothing_of_another() {
    let given = given().await;
    given
        .track(
            "main",
            vec![identify("u1", "ann@brightforge-systems.com"), track("u1", "Demo Requested", 5, "m1"), identify("u2", "bob@gmail.com")],
        )
        .await;
    let destination = given
        .post("/api/v1/destinations", json!({"name": "d", "kind": "slack", "url": "https://hooks.example.com/services/T/B/secret"}))
        .await
        .ok();
    let id = destination["id"].as_str().unwrap();
    let trigger = given.post("/api/v1/triggers", json!({"name": "t", "when": {"kind": "surge_started"}, "destinations": [id]})).await.ok();
    assert_eq!(given.all("/api/v1/accounts", "account_id").await, ["brightforge-systems.com"]);
    let rules = json!([{"id": "size", "points": 5, "condition": {"field": "employees", "op": "exists"}}]);
    let ruleset = given.make("account-rulesets", json!({"name": "Fit", "content": {"rules": rules}})).await;
    let published = given.publish(&ruleset).await;
    let job = format!("/api/v1/jobs/{}", published["job"]["id"].as_str().unwrap());
    given.patch(&ruleset, json!({"cap": 3})).await.ok();
    let ruleset_id = ruleset.rsplit('/').next().unwrap();

    let before = given.store.dump();
    for list in [
        "/api/v1/accounts",
        "/api/v1/leads?resolved=false",
        "/api/v1/leads?resolved=true",
        "/api/v1/triggers",
        "/api/v1/destinations",
        "/api/v1/deliveries",
        "/api/v1/jobs",
    ] {
        assert_eq!(given.call(OTHER, Method::GET, list, None).await.ok()["data"], json!([]), "{list}");
    }
    let account = "/api/v1/accounts/brightforge-systems.com";
    for (method, path, body) in [
        (Method::GET, account.to_owned(), None),
        (Method::GET, format!("{account}/leads"), None),
        (Method::GET, format!("{account}/timeline"), None),
        (Method::GET, format!("{account}/history"), None),
        (Method::GET, format!("{account}/explain"), None),
        (Method::PATCH, account.to_owned(), Some(json!({"owner": "mallory"}))),
        (Method::DELETE, format!("{account}/fields/name"), None),
        (Method::GET, "/api/v1/leads/user:u1".to_owned(), None),
        (Method::PUT, "/api/v1/leads/user:u1".to_owned(), Some(json!({"account_id": "mine"}))),
        (Method::DELETE, "/api/v1/leads/user:u1/account".to_owned(), None),
        (Method::GET, format!("/api/v1/destinations/{id}"), None),
        (Method::PUT, format!("/api/v1/destinations/{id}"), Some(json!({"enabled": false}))),
        (Method::DELETE, format!("/api/v1/destinations/{id}"), None),
        (Method::DELETE, format!("/api/v1/triggers/{}", trigger["id"].as_str().unwrap()), None),
        (Method::GET, ruleset.clone(), None),
        (Method::PUT, ruleset.clone(), Some(json!({"name": "Mine", "rules": []}))),
        (Method::PATCH, ruleset.clone(), Some(json!({"enabled": false}))),
        (Method::DELETE, ruleset.clone(), None),
        (Method::DELETE, format!("{ruleset}/draft"), None),
        (Method::GET, format!("{ruleset}/rules"), None),
        (Method::POST, format!("{ruleset}/rules"), Some(json!({"id": "x", "points": 1, "condition": {"field": "plan", "op": "exists"}}))),
        (Method::PUT, format!("{ruleset}/rules"), Some(json!({"order": ["size"]}))),
        (Method::DELETE, format!("{ruleset}/rules/size"), None),
        (Method::GET, format!("{ruleset}/lint"), None),
        (Method::POST, format!("{ruleset}/publish"), Some(json!({"revision": 2, "why": "w"}))),
        (Method::POST, format!("{ruleset}/rollback"), Some(json!({"version": 1}))),
        (Method::GET, format!("{ruleset}/versions"), None),
        (Method::GET, format!("{ruleset}/versions/1"), None),
        (Method::POST, format!("{ruleset}/versions/1/copy"), Some(json!({}))),
        (Method::GET, job.clone(), None),
        (Method::GET, format!("{job}/changes"), None),
        (Method::POST, format!("{job}/cancel"), Some(json!({}))),
    ] {
        assert_eq!(given.call(OTHER, method.clone(), &path, body).await.status, 404, "{method} {path}");
    }
    // A trigger can't name a destination of somebody else.
    let foreign = given
        .call(OTHER, Method::POST, "/api/v1/triggers", Some(json!({"name": "t", "when": {"kind": "surge_started"}, "destinations": [id]})))
        .await;
    assert_eq!(foreign.places(), ["/destinations/0"]);
    let copied = given.call(OTHER, Method::POST, "/api/v1/account-rulesets", Some(json!({"copy_of": {"id": ruleset_id}}))).await;
    assert_eq!(copied.places(), ["/copy_of/id"]);
    assert_eq!(given.store.dump(), before);
}
