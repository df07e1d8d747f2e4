//! The examples of practice guides, made and scored by API calls alone: every number is the guide's own, or follows from it by hand.

use super::given::*;
use serde_json::{Value, json};

fn rule(id: &str, points: i64, field: &str, op: &str, value: Value) -> Value {
    json!({ "id": id, "points": points, "condition": { "field": field, "op": op, "value": value } })
}

fn merged(maps: &[&Value]) -> Value {
    let fields = maps.iter().flat_map(|map| map.as_object().unwrap().clone());
    fields.collect::<serde_json::Map<_, _>>().into()
}

/// Makes an account for each case and compares score and level with what was worked out by hand.
async fn scores(given: &Given, cases: &[(&str, Value, i64, &str)]) {
    for (i, (what, fields, score, level)) in cases.iter().enumerate() {
        let account = format!("acct_{i}");
        given.put(&format!("/api/v1/accounts/{account}"), json!({})).await.ok();
        // What an earlier ruleset's cases said of it goes.
        let shown = given.get(&format!("/api/v1/accounts/{account}")).await.ok();
        let cleared: serde_json::Map<String, Value> =
            shown["fields"].as_object().unwrap().keys().map(|name| (name.clone(), Value::Null)).collect();
        given.set(&account, merged(&[&cleared.into(), fields])).await;
        assert_eq!(given.stands(&account).await, (*score, (*level).to_owned()), "{what}: {fields}");
    }
}

fn three_rules() -> Value {
    json!([
        rule("size", 50, "company_size", "eq", json!("Enterprise")),
        rule("industry", 30, "industry", "eq", json!("Technology")),
        rule("country", 20, "country", "eq", json!("United States")),
    ])
}

#[tokio::test]
async fn size_industry_and_country_make_a_hundred() {
    let given = given().await;
    let path = given.install("account-rulesets", json!({ "name": "Target accounts", "content": { "rules": three_rules() } })).await;
    assert_eq!(given.get(&path).await.ok()["points_possible"], 100);
    let (size, industry, country) =
        (json!({ "company_size": "Enterprise" }), json!({ "industry": "Technology" }), json!({ "country": "United States" }));
    scores(
        &given,
        &[
            ("all", merged(&[&size, &industry, &country]), 100, "Target"),
            ("size and industry", merged(&[&size, &industry]), 80, "Target"),
            ("size and country", merged(&[&size, &country]), 70, "Qualified"),
            ("size", size, 50, "Qualified"),
            ("industry and country", merged(&[&industry, &country]), 50, "Qualified"),
            ("industry", industry, 30, "Standard"),
            ("country", country, 20, "Standard"),
            ("nothing", json!({}), 0, "Low Priority"),
            ("a country by its code", json!({ "country": "US" }), 20, "Standard"),
            ("a country by its letters", json!({ "country": "USA" }), 20, "Standard"),
            ("a country in lower case", json!({ "country": "united states" }), 20, "Standard"),
            ("an industry as another system names it", json!({ "industry": "COMPUTER_SOFTWARE" }), 30, "Standard"),
        ],
    )
    .await;
    let explained = given.get("/api/v1/accounts/acct_7/explain").await.ok();
    assert_eq!((&explained["account"]["known"], &explained["account"]["possible"]), (&json!("0 of 3 fields known"), &json!(100)));
}

#[tokio::test]
async fn enterprise_target_accounts_have_more_than_a_thousand_employees() {
    let given = given().await;
    let rules = json!([
        rule("size", 50, "company_size", "eq", json!("enterprise")),
        rule("industry", 30, "industry", "eq", json!("technology")),
        rule("employees", 40, "employees", "gt", json!(1000)),
    ]);
    let path = given.install("account-rulesets", json!({ "name": "Enterprise Target Accounts", "content": { "rules": rules } })).await;
    assert_eq!(given.get(&path).await.ok()["points_possible"], 120);
    let with = |employees: Value| json!({ "company_size": "enterprise", "industry": "technology", "employees": employees });
    scores(
        &given,
        &[
            ("one more", with(json!(1001)), 120, "Target"),
            ("just a thousand", with(json!(1000)), 80, "Target"),
            ("a little more", with(json!(1000.001)), 120, "Target"),
            // From 1,000 on: whether it is more can't be told.
            ("an interval", with(json!("1,000+")), 80, "Target"),
            ("employees alone", json!({ "employees": 1000.001 }), 40, "Standard"),
        ],
    )
    .await;
    let lines = given.get("/api/v1/accounts/acct_3/explain").await.ok()["account"]["rules"].clone();
    let employees = lines.as_array().unwrap().iter().find(|line| line["rule_id"] == "employees").unwrap().clone();
    assert_eq!((&employees["points"], &employees["outcome"]), (&json!(0), &json!("undecided")));
}

fn four_levels() -> Value {
    json!({ "levels": [
        { "id": "low_priority", "name": "Low Priority", "color": "gray", "min": 0, "max": 19 },
        { "id": "standard", "name": "Standard", "color": "green", "min": 20, "max": 49 },
        { "id": "qualified", "name": "Qualified", "color": "blue", "min": 50, "max": 79 },
        { "id": "target", "name": "Target", "color": "purple", "min": 80, "max": 100 },
    ] })
}

#[tokio::test]
async fn four_levels_begin_and_end_where_they_say() {
    let given = given().await;
    let rules: Vec<Value> = [19, 20, 49, 50, 79, 80, 100, 120]
        .map(|points| rule(&format!("p{points}"), points, "plan", "eq", json!(format!("p{points}"))))
        .into();
    let fit = given.install("account-rulesets", json!({ "name": "Any score", "content": { "rules": rules } })).await;
    let levels = given.install("account-level-rulesets", json!({ "name": "Levels", "content": four_levels() })).await;
    let plan = |points: i64| json!({ "plan": format!("p{points}") });
    scores(
        &given,
        &[
            ("nothing", json!({}), 0, "Low Priority"),
            ("", plan(19), 19, "Low Priority"),
            ("", plan(20), 20, "Standard"),
            ("", plan(49), 49, "Standard"),
            ("", plan(50), 50, "Qualified"),
            ("", plan(79), 79, "Qualified"),
            ("", plan(80), 80, "Target"),
            ("", plan(100), 100, "Target"),
            ("more than the top says", plan(120), 120, "Target"),
        ],
    )
    .await;
    // 120 and what lies below it can't come together, yet the ruleset gives more than the 100 that the top level ends with.
    assert!(given.get(&fit).await.ok()["points_possible"].as_i64().unwrap() > 100);
    let codes = codes(&given, &levels).await;
    assert!(codes.contains(&"level_above_cap_line".to_owned()), "{codes:?}");

    let level = |id: &str, min: i64, max: i64| json!({ "id": id, "name": id, "color": "gray", "min": min, "max": max });
    let overlap = json!({ "name": "L", "levels": [level("Low", 0, 19), level("Standard", 20, 50), level("Qualified", 50, 79)] });
    let refused = given.put(&levels, overlap).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/levels/2/min"]));
    assert_eq!(refused.body["errors"][0]["detail"], "overlaps `Standard`, which reaches to 50: use 51 or set its max to 49");
    let gap = json!({ "name": "L", "levels": [level("Low", 0, 19), level("Standard", 20, 49), level("Qualified", 60, 79)] });
    let refused = given.put(&levels, gap).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/levels/2/min"]));
    let detail = refused.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("gap"), "{detail}");
}

async fn codes(given: &Given, path: &str) -> Vec<String> {
    let lint = given.get(&format!("{path}/lint")).await.ok();
    lint["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// One of each of the seven things that people do, so many days ago: a look at the pricing page is a visit, too.
fn done(user: &str, days: i64, what: &[&str]) -> Vec<Value> {
    what.iter()
        .map(|event| {
            let mut call = track(user, event, days * 24 * 60 + 5, &format!("{user}-{event}-{days}"));
            if *event == "Page View" {
                call["properties"] = json!({ "path": "/pricing" });
            }
            call
        })
        .collect()
}

const ALL: [&str; 6] = ["Page View", "Content Download", "Email Clicked", "LinkedIn Ad Clicked", "Demo Requested", "SDR Meeting"];

async fn engagement(given: &Given, account: &str) -> (i64, String) {
    let account = given.get(&format!("/api/v1/accounts/{account}")).await.ok();
    (account["engagement_score"].as_i64().unwrap(), account["engagement_level"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn one_of_everything_by_one_person_is_cut_at_a_hundred() {
    let given = given().await;
    let path = given.install("engagement-rulesets", json!({ "template": "practice-guide", "name": "Practice guide" })).await;
    given.track("main", vec![identify("ann", "ann@northwind-looms.com")]).await;
    given.track("main", done("ann", 0, &ALL)).await;
    // 5 + 15 + 10 + 5 + 5 + 50 + 30 = 120, of which one person may have 100.
    assert_eq!(engagement(&given, "northwind-looms.com").await, (100, "Hot".to_owned()));
    let lead = given.get("/api/v1/leads/user:ann").await.ok();
    assert_eq!((&lead["score"], &lead["level"]), (&json!(100), &json!("Very Hot")), "{lead}");

    given.patch(&path, json!({ "lead_cap": 0 })).await.ok();
    let published = given.publish(&path).await;
    assert_eq!(published["version"], 2);
    assert_eq!(engagement(&given, "northwind-looms.com").await, (120, "Hot".to_owned()));
}

#[tokio::test]
async fn two_people_cross_a_hundred_once() {
    let given = given().await;
    given.install("engagement-rulesets", json!({ "template": "practice-guide" })).await;
    let url = "https://hooks.example.com/services/T000/B000/token-9f3c";
    let destination = given.post("/api/v1/destinations", json!({ "name": "Sales", "kind": "signed_webhook", "url": url })).await.ok();
    let when = json!({ "kind": "engagement_crossed", "threshold": 100 });
    given.post("/api/v1/triggers", json!({ "name": "Busy", "when": when, "destinations": [destination["id"]] })).await.ok();
    given.track("main", vec![identify("ann", "ann@northwind-looms.com"), identify("bob", "bob@northwind-looms.com")]).await;
    given.track("main", done("ann", 0, &["Page View", "Demo Requested"])).await;
    assert_eq!(engagement(&given, "northwind-looms.com").await, (70, "Warm".to_owned()));
    given.track("main", done("bob", 0, &["Content Download", "Email Clicked", "LinkedIn Ad Clicked", "SDR Meeting"])).await;
    // 5 + 15 + 50 = 70 and 10 + 5 + 5 + 30 = 50.
    assert_eq!(engagement(&given, "northwind-looms.com").await, (120, "Hot".to_owned()));
    let history = given.get("/api/v1/accounts/northwind-looms.com").await.ok()["history"].clone();
    let crossed: Vec<&Value> = history.as_array().unwrap().iter().filter(|change| change["what"] == "engagement").collect();
    assert_eq!(crossed.len(), 1, "{history}");
    assert_eq!((&crossed[0]["from"], &crossed[0]["to"], &crossed[0]["silent"]), (&json!(70), &json!(120), &json!(false)));
}

#[tokio::test]
async fn points_are_halved_after_three_weeks_a_month_and_a_half_or_a_quarter() {
    let given = given().await;
    given.install("engagement-rulesets", json!({ "template": "practice-guide" })).await;
    for (user, company, days, what, score) in [
        ("ann", "northwind-looms.com", 21, "Page View", 10),
        ("bob", "quillmark-press.com", 90, "SDR Meeting", 15),
        ("cleo", "brightforge-systems.com", 45, "Content Download", 5),
    ] {
        given.track("main", vec![identify(user, &format!("{user}@{company}"))]).await;
        given.track("main", done(user, days, &[what])).await;
        assert_eq!(engagement(&given, company).await.0, score, "{what} {days} days ago");
    }
}

#[tokio::test]
async fn the_enterprise_template_gives_145_to_a_perfect_fit() {
    let given = given().await;
    let path = given.install("account-rulesets", json!({ "template": "enterprise-saas" })).await;
    let shown = given.get(&path).await.ok();
    assert_eq!((&shown["points_possible"], &shown["name"]), (&json!(145), &json!("Enterprise B2B SaaS")));
    let perfect = json!({ "employees": 1000, "revenue": 50_000_000, "country": "US", "industry": "Technology" });
    let but = |field: &str, value: Value| merged(&[&perfect, &json!({ field: value })]);
    scores(
        &given,
        &[
            ("perfect", perfect.clone(), 145, "Target"),
            ("marginal", json!({ "employees": 1500 }), 50, "Qualified"),
            ("nothing", json!({}), 0, "Low Priority"),
            ("one employee too few", but("employees", json!(999)), 95, "Target"),
            ("one dollar too few", but("revenue", json!(49_999_999)), 100, "Target"),
            ("the United Kingdom", json!({ "country": "United Kingdom" }), 20, "Standard"),
            ("Germany in German", json!({ "country": "Deutschland" }), 20, "Standard"),
            ("France", json!({ "country": "France" }), 0, "Low Priority"),
        ],
    )
    .await;
    let possible = given.get("/api/v1/accounts/acct_2/explain").await.ok()["account"]["possible"].clone();
    assert_eq!(possible, 145);
}

#[tokio::test]
async fn the_mid_market_template_asks_for_its_vertical_and_takes_ranges_with_both_ends() {
    let given = given().await;
    let refused = given.post("/api/v1/account-rulesets", json!({ "template": "mid-market-land" })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/variables/target_vertical"]));
    assert_eq!(refused.body["errors"][0]["detail"], "is required: The one industry you go for");

    let variables = json!({ "target_vertical": "Manufacturing" });
    let path = given.install("account-rulesets", json!({ "template": "mid-market-land", "variables": variables })).await;
    assert_eq!(given.get(&path).await.ok()["points_possible"], 140);
    let perfect = json!({ "employees": 500, "revenue": 20_000_000, "industry": "Manufacturing", "existing_customer": false });
    let customer = |fields: Value| merged(&[&json!({ "existing_customer": true }), &fields]);
    scores(
        &given,
        &[
            ("the fewest employees", customer(json!({ "employees": 100 })), 50, "Qualified"),
            ("the most employees", customer(json!({ "employees": 1000 })), 50, "Qualified"),
            ("too few employees", customer(json!({ "employees": 99 })), 0, "Low Priority"),
            ("too many employees", customer(json!({ "employees": 1001 })), 0, "Low Priority"),
            ("the least revenue", customer(json!({ "revenue": 10_000_000 })), 40, "Standard"),
            ("the most revenue", customer(json!({ "revenue": 100_000_000 })), 40, "Standard"),
            ("too little revenue", customer(json!({ "revenue": 9_999_999 })), 0, "Low Priority"),
            ("an interval inside", customer(json!({ "employees": "201-500" })), 50, "Qualified"),
            ("an interval across the end", customer(json!({ "employees": "501-5000" })), 0, "Low Priority"),
            ("perfect", perfect.clone(), 140, "Target"),
            ("a customer already", merged(&[&perfect, &json!({ "existing_customer": true })]), 120, "Target"),
            // Nobody said that it is a customer, so it is none.
            ("nothing known", json!({}), 20, "Standard"),
        ],
    )
    .await;
    let explained = given.get("/api/v1/accounts/acct_11/explain").await.ok();
    let lines = explained["account"]["rules"].as_array().unwrap().clone();
    let line = lines.iter().find(|line| line["rule_id"] == "not_already_a_customer").unwrap();
    assert_eq!((&line["points"], &line["fields"][0]["assumed"]), (&json!(20), &json!(true)), "{line}");

    // Whoever wants to know it for sure says that nothing means no.
    given.patch(&path, json!({ "missing_means_no": [] })).await.ok();
    given.publish(&path).await;
    assert_eq!(given.stands("acct_11").await, (0, "Low Priority".to_owned()));
}

#[tokio::test]
async fn the_expansion_template_follows_an_event_for_thirty_days() {
    let given = given().await;
    let lacking = given.post("/api/v1/account-rulesets", json!({ "template": "plg-expansion", "name": "First" })).await.ok();
    assert_eq!(lacking["needs"]["mapping_entries"][0]["field"], "expansion_signal_at");
    let path = given.install("account-rulesets", json!({ "template": "plg-expansion", "add_mappings": true })).await;
    assert_eq!(given.get(&path).await.ok()["points_possible"], 120);
    let again = given.post("/api/v1/account-rulesets", json!({ "template": "plg-expansion", "name": "Second" })).await.ok();
    assert_eq!(again.get("needs"), None);

    for (user, account, days) in [("ann", "acct_today", 0), ("bob", "acct_30", 30), ("cleo", "acct_31", 31)] {
        given.track("main", vec![group(user, account, json!({ "name": account }))]).await;
        given.track("main", vec![track(user, "Expansion Signal", days * 24 * 60, &format!("{user}-signal"))]).await;
    }
    let customer = json!({ "existing_customer": true, "plan": "business", "employees": 100 });
    assert_eq!(given.stands("acct_today").await, (25, "Standard".to_owned()));
    assert_eq!(given.stands("acct_30").await, (25, "Standard".to_owned()));
    assert_eq!(given.stands("acct_31").await, (0, "Low Priority".to_owned()));
    given.set("acct_today", customer.clone()).await;
    assert_eq!(given.stands("acct_today").await, (120, "Target".to_owned()));
    given.set("acct_plain", customer).await;
    assert_eq!(given.stands("acct_plain").await.0, 95);
    given.set("acct_plan", json!({ "plan": "Pro" })).await;
    assert_eq!(given.stands("acct_plan").await.0, 30);
    // Nothing happens to it, and at midnight the thirty days are over.
    given.clock.advance(13 * 3_600_000);
    assert_eq!(given.stands("acct_30").await.0, 0);
    assert_eq!(given.stands("acct_today").await.0, 120);
}

#[tokio::test]
async fn an_expansion_signal_may_be_a_field_that_somebody_sets() {
    let given = given().await;
    let rules = json!([
        rule("customer", 40, "existing_customer", "eq", json!(true)),
        rule("expansion", 25, "expansion_signal_in_last_30_days", "eq", json!(true)),
    ]);
    given.install("account-rulesets", json!({ "name": "Expansion", "content": { "rules": rules } })).await;
    scores(
        &given,
        &[
            ("signal", json!({ "expansion_signal_in_last_30_days": true }), 25, "Standard"),
            ("both", json!({ "expansion_signal_in_last_30_days": true, "existing_customer": true }), 65, "Qualified"),
            ("none", json!({ "expansion_signal_in_last_30_days": false }), 0, "Low Priority"),
        ],
    )
    .await;
}

#[tokio::test]
async fn three_tiers_have_a_play_each() {
    let given = given().await;
    let path = given.install("account-level-rulesets", json!({ "template": "three-tiers" })).await;
    given.set("acct_1", json!({ "employees": 1500, "revenue": 60_000_000 })).await;
    assert_eq!(given.stands("acct_1").await, (95, "Top tier".to_owned()));
    let shown = given.get("/api/v1/accounts/acct_1").await.ok();
    let play = &shown["account_level_play"];
    assert_eq!(
        (&play["targeting"], &play["sales_motion"], &play["success_metric"]),
        (&json!("High-touch ABM, named ad audiences, direct mail"), &json!("AE-led, multi-stakeholder"), &json!("Pipeline created")),
        "{shown}"
    );
    let found = codes(&given, &path).await;
    assert!(!found.iter().any(|code| code == "levels_share_play" || code == "level_without_play"), "{found:?}");

    // A level with the play of another, then one without any.
    let mut mid = given.get(&format!("{path}/levels/mid")).await.ok();
    mid["play"] = given.get(&format!("{path}/levels/lower")).await.ok()["play"].clone();
    given.put(&format!("{path}/levels/mid"), mid.clone()).await.ok();
    assert!(codes(&given, &path).await.contains(&"levels_share_play".to_owned()));
    mid.as_object_mut().unwrap().remove("play");
    given.put(&format!("{path}/levels/mid"), mid).await.ok();
    assert!(codes(&given, &path).await.contains(&"level_without_play".to_owned()));
}

#[tokio::test]
async fn pitfalls_are_named_and_stand_in_nobodys_way() {
    let given = given().await;
    given.set("acct_1", json!({ "employees": 10 })).await;
    let mut rules: Vec<Value> = (0..9).map(|n| rule(&format!("r{n}"), 10, "employees", "gte", json!(n * 100 + 1))).collect();
    rules.push(rule("freemail", -20, "industry", "eq", json!("Education")));
    rules.push(rule("stage", 10, "funding_stage", "eq", json!("Series B")));
    assert_eq!(rules.len(), 11);
    let path = given.make("account-rulesets", json!({ "name": "Too much", "content": { "rules": rules } })).await;
    let found = codes(&given, &path).await;
    for code in ["too_many_rules", "negative_points", "field_without_mapping"] {
        assert!(found.contains(&code.to_owned()), "{code}: {found:?}");
    }
    let lint = given.get(&format!("{path}/lint")).await.ok();
    for finding in lint["findings"].as_array().unwrap() {
        assert_ne!(finding["severity"], "error", "{finding}");
        assert!(!finding["says"].as_str().unwrap().is_empty() && !finding["remedy"].as_str().unwrap().is_empty(), "{finding}");
    }
    let unmapped = lint["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "field_without_mapping").unwrap();
    assert_eq!((&unmapped["rule_id"], lint["accounts"].as_u64()), (&json!("stage"), Some(1)));

    let revision = given.get(&path).await.ok()["draft"]["revision"].clone();
    let published = given.post(&format!("{path}/publish"), json!({ "revision": revision, "why": "try it" })).await;
    assert_eq!(published.status, 202, "{}", published.body);
    assert!(!published.body["findings"].as_array().unwrap().is_empty());
    given.run_jobs().await;
    assert!(!codes(&given, &path).await.contains(&"not_revisited".to_owned()));
    given.clock.advance(92 * 24 * 3_600_000);
    assert!(codes(&given, &path).await.contains(&"not_revisited".to_owned()));
}

#[tokio::test]
async fn grades_are_fifths_of_what_is_possible_and_a_disqualifying_rule_is_an_f() {
    let given = given().await;
    let path = given.install("account-rulesets", json!({ "template": "enterprise-saas" })).await;
    let no_crm = json!({ "id": "no-crm", "name": "No CRM", "points": 0, "disqualifies": true, "condition": { "field": "crm", "op": "eq", "value": "none" } });
    given.post(&format!("{path}/rules"), no_crm).await.ok();
    given.publish(&path).await;
    let perfect = json!({ "employees": 1000, "revenue": 50_000_000, "country": "US", "industry": "Technology" });
    // Of 145: 125 is 86 %, 95 is 65 %, 65 is 44 %, 50 is 34 %, 20 is 13 %.
    for (account, fields, score, grade, level) in [
        ("a", json!({ "employees": 1000, "revenue": 50_000_000, "industry": "Finance" }), 125, "A", "Target"),
        ("b", json!({ "employees": 1000, "revenue": 50_000_000 }), 95, "B", "Target"),
        ("c", json!({ "revenue": 50_000_000, "country": "US" }), 65, "C", "Qualified"),
        ("d", json!({ "employees": 1500 }), 50, "D", "Qualified"),
        ("f", json!({ "country": "US" }), 20, "F", "Standard"),
        ("x", merged(&[&perfect, &json!({ "crm": "none" })]), 145, "F", "Low Priority"),
        ("y", perfect.clone(), 145, "A", "Target"),
    ] {
        given.set(account, fields).await;
        let explained = given.get(&format!("/api/v1/accounts/{account}/explain")).await.ok();
        assert_eq!((given.stands(account).await, &explained["grade"]), ((score, level.to_owned()), &json!(grade)), "{account}");
    }
    let explained = given.get("/api/v1/accounts/x/explain").await.ok();
    assert_eq!(explained["disqualified_by"], json!(["no-crm"]));
    // It gets a CRM, and another loses its own: no level is kept.
    given.set("x", json!({ "crm": "Pipeworks" })).await;
    assert_eq!(given.stands("x").await, (145, "Target".to_owned()));
    given.set("y", json!({ "crm": "none" })).await;
    assert_eq!(given.stands("y").await, (145, "Low Priority".to_owned()));
}
