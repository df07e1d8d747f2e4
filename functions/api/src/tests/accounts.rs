//! The list, one account, and its explanation.

use super::given::*;
use http::Method;
use serde_json::{Value, json};

async fn three_accounts() -> Given {
    let given = given().await;
    given
        .track(
            "main",
            vec![
                // 145 points: Target. A demo request today: 50.
                group("ann", "acct_north", enterprise()),
                track("ann", "Demo Requested", 60, "m1"),
                // Only the employees: 50 points, Qualified. Nothing done.
                group("bob", "acct_south", json!({"name": "Southwall Brewing", "employees": 1200})),
                // Nothing known: 0 points.
                identify("cid", "cid@quillmark-press.com"),
                track("cid", "Email Clicked", 120, "m2"),
            ],
        )
        .await;
    given
}

#[tokio::test]
async fn items_carry_scores_levels_and_what_is_known() {
    let given = three_accounts().await;
    let page = given.get("/api/v1/accounts").await.ok();
    let item = |id: &str| page["data"].as_array().unwrap().iter().find(|item| item["account_id"] == id).unwrap().clone();
    let north = item("acct_north");
    assert_eq!(
        (&north["account_score"], &north["account_level"], &north["account_level_id"], &north["points_possible"], &north["known"]),
        (&json!(145), &json!("Target"), &json!("target"), &json!(145), &json!("4 of 4 fields known"))
    );
    assert_eq!((&north["engagement_score"], &north["engagement_level"], &north["total_leads"]), (&json!(50), &json!("Warm"), &json!(1)));
    assert_eq!(
        (&north["name"], &north["surge_active"], &north["hottest_lead_level_id"]),
        (&json!("Northwind Looms"), &json!(false), &json!("hot"))
    );
    assert_eq!(north["fields"]["employees"], json!(1500));
    assert!(north["last_activity_at"].as_str().unwrap().ends_with('Z'));
    let south = item("acct_south");
    assert_eq!(
        (&south["account_score"], &south["account_level"], &south["known"]),
        (&json!(50), &json!("Qualified"), &json!("1 of 4 fields known"))
    );
    let quill = item("quillmark-press.com");
    assert_eq!(
        (&quill["account_score"], &quill["account_level"], &quill["known"], &quill["domain"]),
        (&json!(0), &json!("Low Priority"), &json!("0 of 4 fields known"), &json!("quillmark-press.com"))
    );
    assert_eq!(page["next_cursor"], Value::Null);
}

#[tokio::test]
async fn lists_are_filtered_and_sorted() {
    let given = three_accounts().await;
    given.patch("/api/v1/accounts/acct_south", json!({"owner": "Dana", "tier": "1:few"})).await.ok();
    given.run().await;
    for (query, expected) in [
        ("", ["acct_north", "acct_south", "quillmark-press.com"].as_slice()),
        ("?order=asc", &["quillmark-press.com", "acct_south", "acct_north"]),
        ("?sort=name", &["acct_north", "quillmark-press.com", "acct_south"]),
        ("?sort=engagement", &["acct_north", "quillmark-press.com", "acct_south"]),
        ("?sort=account_score&order=asc", &["quillmark-press.com", "acct_south", "acct_north"]),
        ("?search=SOUTHwall", &["acct_south"]),
        ("?search=quillmark", &["quillmark-press.com"]),
        ("?search=acct_", &["acct_north", "acct_south"]),
        ("?level=target", &["acct_north"]),
        ("?level=Low%20Priority", &["quillmark-press.com"]),
        ("?engagement_level=warm", &["acct_north"]),
        ("?surging=true", &[]),
        ("?surging=false&level=qualified", &["acct_south"]),
        ("?owner=dana", &["acct_south"]),
        ("?tier=1:few", &["acct_south"]),
        ("?tier=1:1", &[]),
    ] {
        assert_eq!(given.all(&format!("/api/v1/accounts{query}"), "account_id").await, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_have_no_duplicates_and_no_gaps_while_accounts_come_in() {
    let given = given().await;
    let account =
        |n: usize| group(&format!("u{n}"), &format!("acct_{n:03}"), json!({"name": format!("Company {}", n % 7), "employees": n * 100}));
    given.track("main", (0..60).map(account).collect()).await;
    for query in ["sort=priority", "sort=name", "sort=account_score&order=asc", "sort=activity"] {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        for round in 0.. {
            let page = given.get(&format!("/api/v1/accounts?{query}&limit=7{cursor}")).await.ok();
            seen.extend(page["data"].as_array().unwrap().iter().map(|item| item["account_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            if round < 3 {
                given.track("main", vec![account(1_000 + seen.len() + query.len() * 100 + round)]).await;
            }
        }
        let old = |id: &&String| id.as_str() < "acct_060";
        let mut kept: Vec<&String> = seen.iter().filter(old).collect();
        kept.sort();
        assert_eq!(kept, (0..60).map(|n| format!("acct_{n:03}")).collect::<Vec<_>>().iter().collect::<Vec<_>>(), "{query}");
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), seen.len());
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_query() {
    let given = three_accounts().await;
    let page = given.get("/api/v1/accounts?limit=1").await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in [
        format!("/api/v1/accounts?limit=1&sort=name&cursor={cursor}"),
        format!("/api/v1/accounts?limit=1&level=target&cursor={cursor}"),
        format!("/api/v1/leads?resolved=false&cursor={cursor}"),
        format!("/api/v1/accounts/acct_north/leads?cursor={cursor}"),
    ] {
        let answered = given.get(&path).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (400, vec!["cursor"]), "{path}");
    }
    assert_eq!(given.call(OTHER, Method::GET, &format!("/api/v1/accounts?limit=1&cursor={cursor}"), None).await.status, 400);
    // The page size is no part of what the list is.
    given.get(&format!("/api/v1/accounts?limit=2&cursor={cursor}")).await.ok();
}

#[tokio::test]
async fn an_account_is_found_by_id_and_by_domain_and_shows_everything() {
    let given = three_accounts().await;
    let quill = given.get("/api/v1/accounts/www.quillmark-press.com").await.ok();
    assert_eq!(
        (&quill["account_id"], &quill["origin"], &quill["domains"]),
        (&json!("quillmark-press.com"), &json!("domain"), &json!(["quillmark-press.com"]))
    );
    let north = given.get("/api/v1/accounts/acct_north").await.ok();
    assert_eq!((&north["as_of"], &north["account_score"], &north["origin"]), (&json!("2026-11-20"), &json!(145), &json!("id")));
    assert_eq!(north["field_sources"]["employees"]["source"], "group");
    assert_eq!(north["field_sources"]["employees"]["value"], 1500);
    assert_eq!(
        north["explanation"]["reasons"],
        json!(["1,000 employees or more: +50", "Demo request by ann: +50", "Revenue of 50 million or more: +45"])
    );
    assert_eq!(
        (&north["explanation"]["next_account_level"], &north["explanation"]["next_engagement_level"]["points_needed"]),
        (&Value::Null, &json!(30))
    );
    assert_eq!((&north["surge"]["active"], &north["surge"]["window_events"]), (&json!(false), &json!(1)));
    let history: Vec<_> =
        north["history"].as_array().unwrap().iter().map(|entry| (entry["what"].as_str().unwrap(), entry["to"].clone())).collect();
    assert!(history.contains(&("account_level", json!("Target"))) && history.contains(&("engagement_level", json!("Warm"))), "{history:?}");
    assert!(north["account_level_since"].as_str().unwrap().starts_with("2026-11-20T12:00"));
    assert_eq!(given.get("/api/v1/accounts/acct_west").await.body["detail"], "there is no account `acct_west`");
}

#[tokio::test]
async fn scores_are_as_of_the_day_on_which_they_are_shown() {
    let given = three_accounts().await;
    // 21 days later an e-mail click (5) has half of its points, rounded up; a demo request (half-life 90 days) 50·2^(−21/90) = 42.5.
    given.clock.advance(21 * 86_400_000);
    let quill = given.get("/api/v1/accounts/quillmark-press.com").await.ok();
    assert_eq!((&quill["as_of"], &quill["engagement_score"]), (&json!("2026-12-11"), &json!(3)));
    let explained = given.get("/api/v1/accounts/acct_north/explain").await.ok();
    assert_eq!((&explained["as_of"], &explained["engagement"]["score"]), (&json!("2026-12-11"), &json!(43)));
    assert_eq!(explained["engagement"]["leads"][0]["rules"][0]["days"][0]["raw"], 50);
}

#[tokio::test]
async fn the_explanation_sums_to_the_score_and_names_the_way_up() {
    let given = three_accounts().await;
    let explained = given.get("/api/v1/accounts/acct_south/explain").await.ok();
    let account = &explained["account"];
    assert_eq!(
        (&account["score"], &account["known"], &account["missing_could_add"]),
        (&json!(50), &json!("1 of 4 fields known"), &json!(95))
    );
    let sum: i64 = account["rules"].as_array().unwrap().iter().map(|rule| rule["points"].as_i64().unwrap()).sum();
    assert_eq!(sum, 50);
    assert_eq!(
        account["level"]["next"]["ways"],
        json!([{"rule_id": "industry", "name": "In a target industry", "points": 30, "times": 1, "needs": ["industry"]}])
    );
    assert_eq!(explained["rulesets"]["account"], json!({"id": "enterprise-b2b-saas", "name": "Enterprise B2B SaaS", "version": 1}));
    assert_eq!(explained["engagement"]["unmatched"].as_array().unwrap().len(), 7);
    assert_eq!(explained["surge"]["window"], json!(["2026-11-14", "2026-11-20"]));
}

#[tokio::test]
async fn a_lead_without_an_account_is_in_no_list_of_accounts() {
    let given = given().await;
    given.track("main", vec![identify("free", "somebody@gmail.com"), track("free", "Demo Requested", 5, "m")]).await;
    assert!(given.all("/api/v1/accounts", "account_id").await.is_empty());
    assert_eq!(given.all("/api/v1/leads?resolved=false", "email").await, ["somebody@gmail.com"]);
}
