//! Mappings that are applied to what is stored, alias tables, and the order of sources: by calls alone.

use super::given::*;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

const MAPPING: &str = "/api/v1/account-mappings";
const SETTINGS: &str = "/api/v1/account-mappings/settings";
const ENTRIES: &str = "/api/v1/account-mappings/entries";
const APPLY: &str = "/api/v1/account-mappings/apply";
const SEGMENT: &str = "/api/v1/account-mappings/aliases/segment";
const RULES: &str = "/api/v1/profile-mappings/rules";
const APPLY_PROFILES: &str = "/api/v1/profile-mappings/apply";

/// Applies a mapping and waits for the end of it; answers the job.
async fn applied(given: &Given, path: &str) -> Value {
    let started = given.post(path, json!({})).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.body);
    let job = started.headers[header::LOCATION].to_str().unwrap().to_owned();
    given.run_jobs().await;
    let job = given.get(&job).await.ok();
    assert_eq!((&job["state"], &job["percent"]), (&json!("done"), &json!(100)), "{job}");
    job
}

async fn field(given: &Given, account: &str, name: &str) -> Value {
    given.get(&format!("/api/v1/accounts/{account}")).await.ok()["fields"][name].clone()
}

#[tokio::test]
async fn a_profile_mapping_moves_a_leads_account_when_it_is_applied() {
    let given = given().await;
    let calls = vec![
        identify("ann", "ann@brightforge-systems.com"),
        track("ann", "Demo Requested", 30, "m1"),
        identify("bob", "bob@mail.brightforge-systems.com"),
        identify("cid", "cid@quillmark-press.com"),
        group("dee", "acct_9", json!({"name": "Quillmark Press"})),
    ];
    given.track("main", calls).await;
    let account = async |user: &str| given.get(&format!("/api/v1/leads/user:{user}")).await.ok()["account_id"].clone();
    assert_eq!((account("ann").await, account("bob").await), (json!("brightforge-systems.com"), json!("brightforge-systems.com")));

    let rule = json!({"when": "email_domain", "equals": "brightforge-systems.com", "account_id": "acct_7"});
    let added = given.post(RULES, rule).await.ok();
    assert_eq!((&added["applies_to"], &added["apply"]), (&json!("events from now on"), &json!(APPLY_PROFILES)));
    assert_eq!(account("ann").await, "brightforge-systems.com");

    // A month later the last parcels are older than anything that is folded from the window.
    given.clock.advance(30 * 24 * 3_600_000);
    let job = applied(&given, APPLY_PROFILES).await;
    assert_eq!(
        (&job["kind"], &job["result"]["identities"], &job["result"]["without_events"]),
        (&json!("apply_profiles"), &json!(4), &json!(0))
    );
    assert_eq!((account("ann").await, account("bob").await), (json!("acct_7"), json!("acct_7")));
    assert_eq!((account("cid").await, account("dee").await), (json!("quillmark-press.com"), json!("acct_9")));
    // Nothing was counted twice, and nothing is left behind: Ann was there in two half hours, Bob in one.
    let moved = given.get("/api/v1/accounts/acct_7").await.ok();
    assert_eq!((&moved["total_leads"], &moved["sessions"]), (&json!(2), &json!(3)));
    let explained = given.get("/api/v1/accounts/acct_7/explain").await.ok();
    let ann = explained["engagement"]["leads"].as_array().unwrap().iter().find(|lead| lead["score"] != 0).unwrap().clone();
    // A demo of 30 days ago with a half-life of 90: 50 x 2^(-1/3) = 39.685.
    assert_eq!(ann["score"], 40, "{ann}");
    // The account has its leads' domain by now, and the one that was made for the domain is a part of it.
    assert_eq!(given.get("/api/v1/accounts/brightforge-systems.com").await.ok()["account_id"], "acct_7");
    assert_eq!(given.get("/api/v1/accounts").await.ok()["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_website_places_a_lead() {
    let given = given().await;
    let rule = json!({"when": "website_domain", "equals": "brightforge-systems.com", "account_id": "acct_7"});
    assert_eq!(given.post(RULES, rule).await.status, 201);
    let call = json!({"type": "identify", "userId": "ann", "messageId": "i1",
        "traits": {"email": "ann@gmail.com", "website": "https://shop.brightforge-systems.com/about"}});
    given.track("main", vec![call]).await;
    assert_eq!(given.get("/api/v1/leads/user:ann").await.ok()["account_id"], "acct_7");
}

#[tokio::test]
async fn a_field_that_is_mapped_later_is_known_after_the_mapping_is_applied() {
    let given = given().await;
    let call = |id: &str, user: &str| json!({"type": "track", "userId": user, "event": "Signed Up", "messageId": id, "properties": {"seat_count": 40}});
    given.track("main", vec![identify("ann", "ann@brightforge-systems.com"), call("m1", "ann")]).await;
    // An account that an event names has its fields from that event.
    given.track("main", vec![group("cid", "acct_9", json!({"name": "Quillmark Press", "desks": 12}))]).await;

    let entries = [
        json!({"field": "seats", "type": "number", "paths": ["properties.seat_count"]}),
        json!({"field": "desks", "type": "number", "paths": ["group.desks"]}),
    ];
    for entry in entries {
        let added = given.post(ENTRIES, entry).await.ok();
        assert_eq!((&added["applies_to"], &added["apply"]), (&json!("events from now on"), &json!(APPLY)));
    }
    assert_eq!(
        (field(&given, "brightforge-systems.com", "seats").await, field(&given, "acct_9", "desks").await),
        (Value::Null, Value::Null)
    );
    let before = given.get(MAPPING).await.ok();
    assert_eq!(given.put(MAPPING, before).await.ok()["apply"], APPLY);

    let job = applied(&given, APPLY).await;
    assert_eq!((&job["kind"], &job["what"]), (&json!("apply_mapping"), &json!("account mapping version 3")));
    assert_eq!(
        (&job["result"]["identities"], &job["result"]["accounts"], &job["result"]["left"]),
        (&json!(1), &json!(1), &json!(0)),
        "{job}"
    );
    assert_eq!((field(&given, "brightforge-systems.com", "seats").await, field(&given, "acct_9", "desks").await), (json!(40), json!(12)));
    assert_eq!(field(&given, "acct_9", "name").await, "Quillmark Press");
    // Everything is read by this mapping now; lists and coverage follow.
    let same = given.put(MAPPING, given.get(MAPPING).await.ok()).await.ok();
    assert_eq!((&same["unchanged"], &same["apply"]), (&json!(true), &Value::Null));
    let coverage = given.get("/api/v1/mapping-coverage").await.ok();
    let seats = coverage["fields"].as_array().unwrap().iter().find(|known| known["field"] == "seats").unwrap().clone();
    assert_eq!(seats["known"], 1);
    // Once more changes nothing.
    let again = applied(&given, APPLY).await;
    assert_eq!((&again["result"]["identities"], &again["result"]["accounts"]), (&json!(0), &json!(0)), "{again}");
}

#[tokio::test]
async fn a_field_whose_entry_was_removed_is_gone_after_applying_and_what_a_person_states_stays() {
    let given = given().await;
    let plan = |user: &str, account: &str, id: &str| json!({"type": "group", "userId": user, "groupId": account, "messageId": id, "traits": {"plan": "Pro", "employees": 1500}});
    given.track("main", vec![plan("ann", "acct_7", "g1"), plan("bob", "acct_9", "g2")]).await;
    // A lead without an account of its own, too.
    let trait_call = json!({"type": "track", "userId": "cid", "event": "Signed Up", "messageId": "t1", "properties": {"plan": "Pro"}});
    given.track("main", vec![identify("cid", "cid@loamfield-foods.com"), trait_call]).await;
    given.set("acct_9", json!({"plan": "Business"})).await;
    let plans = async || {
        let mut plans = Vec::new();
        for account in ["acct_7", "acct_9", "loamfield-foods.com"] {
            plans.push(field(&given, account, "plan").await);
        }
        plans
    };
    assert_eq!(plans().await, [json!("Pro"), json!("Business"), json!("Pro")]);
    assert_eq!(given.delete(&format!("{ENTRIES}/plan")).await.status, 204);
    assert_eq!(plans().await, [json!("Pro"), json!("Business"), json!("Pro")]);

    applied(&given, APPLY).await;
    assert_eq!(plans().await, [Value::Null, json!("Business"), Value::Null]);
    // The other fields of the same events are as they were, and the score counts them.
    assert_eq!((field(&given, "acct_7", "employees").await, given.stands("acct_7").await.0), (json!(1500), 50));
    let statements = given.get("/api/v1/accounts/acct_9").await.ok()["field_sources"]["plan"]["statements"].clone();
    assert_eq!(statements.as_array().map(Vec::len), Some(1), "{statements}");

    // The entry comes back, under another name of the property: applied, it is known again beside the person's word.
    given.post(ENTRIES, json!({"field": "plan", "type": "text", "paths": ["group.plan", "properties.plan"]})).await.ok();
    applied(&given, APPLY).await;
    assert_eq!(plans().await, [json!("Pro"), json!("Business"), json!("Pro")]);
    given.delete("/api/v1/accounts/acct_9/fields/plan").await.ok();
    assert_eq!(field(&given, "acct_9", "plan").await, "Pro");
}

#[tokio::test]
async fn another_currency_counts_for_stored_amounts_once_it_is_applied() {
    let given = given().await;
    // An amount in another currency than the workspace's is worth nothing that could be compared.
    given.track("main", vec![group("ann", "acct_7", json!({"annual_revenue": "€60M"}))]).await;
    assert_eq!((field(&given, "acct_7", "revenue").await, given.stands("acct_7").await.0), (Value::Null, 0));
    let set = given.put(SETTINGS, json!({"currency": "EUR"})).await.ok();
    assert_eq!((&set["applies_to"], &set["apply"], &set["job"]), (&json!("events from now on"), &json!(APPLY), &Value::Null));
    assert_eq!(field(&given, "acct_7", "revenue").await, Value::Null);
    applied(&given, APPLY).await;
    assert_eq!((field(&given, "acct_7", "revenue").await, given.stands("acct_7").await.0), (json!(60_000_000), 45));
}

#[tokio::test]
async fn one_application_at_a_time_and_a_changed_mapping_ends_it() {
    let given = given().await;
    given.track("main", vec![group("ann", "acct_7", json!({"plan": "Pro"}))]).await;
    let first = given.post(APPLY, json!({})).await.ok();
    assert_eq!((&first["kind"], &first["state"], &first["phase"]), (&json!("apply_mapping"), &json!("waiting"), &json!("settle")));
    let second = given.post(APPLY, json!({})).await;
    assert_eq!(second.status, 409);
    let detail = second.body["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("/api/v1/jobs/{}", first["id"].as_str().unwrap())), "{detail}");
    // The other mapping may be applied at the same time, and another workspace's is none of this one's business.
    assert_eq!(given.post(APPLY_PROFILES, json!({})).await.status, 202);
    assert_eq!(given.call(OTHER, Method::POST, APPLY, Some(json!({}))).await.status, 202);
    assert_eq!(given.post(APPLY, json!({"all": true})).await.places(), ["/all"]);
    given.post(ENTRIES, json!({"field": "seats", "type": "number", "paths": ["group.seats"]})).await.ok();
    given.run_jobs().await;
    let ended = given.get(&format!("/api/v1/jobs/{}", first["id"].as_str().unwrap())).await.ok();
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("the mapping was changed meanwhile; apply it again")));
    assert_eq!(field(&given, "acct_7", "plan").await, "Pro");
    applied(&given, APPLY).await;
}

#[tokio::test]
async fn a_cancelled_application_leaves_every_account_with_what_was_known() {
    let given = given().await;
    given.track("main", vec![group("ann", "acct_7", json!({"plan": "Pro", "employees": 1500}))]).await;
    let job = given.post(APPLY, json!({})).await.ok()["id"].as_str().unwrap().to_owned();
    given.run_some_jobs(3).await;
    let cancelled = given.post(&format!("/api/v1/jobs/{job}/cancel"), json!({})).await.ok();
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!((field(&given, "acct_7", "plan").await, given.stands("acct_7").await.0), (json!("Pro"), 50));
    applied(&given, APPLY).await;
    assert_eq!((field(&given, "acct_7", "plan").await, given.stands("acct_7").await.0), (json!("Pro"), 50));
}

#[tokio::test]
async fn an_alias_table_acts_on_what_is_stored_and_keeps_what_was_stated() {
    let given = given().await;
    let rule =
        json!({"id": "big", "name": "Enterprise", "points": 30, "condition": {"field": "segment", "op": "eq", "value": "Enterprise"}});
    given.install("account-rulesets", json!({"name": "By segment", "content": {"rules": [rule]}})).await;
    given.set("acct_7", json!({"segment": " ENT"})).await;
    given.set("acct_9", json!({"segment": "1000+  Employees"})).await;
    given.set("acct_11", json!({"segment": "smb"})).await;
    let scores = async || {
        let mut scores = Vec::new();
        for account in ["acct_7", "acct_9", "acct_11"] {
            scores.push(given.stands(account).await.0);
        }
        scores
    };
    assert_eq!(scores().await, [0, 0, 0]);

    let table = json!({"values": {"Enterprise": ["ent", "1000+ employees"], "Small": ["smb"]}});
    let put = given.put(SEGMENT, table.clone()).await;
    assert_eq!(
        (put.status, &put.body["applies_to"], &put.body["job"]["kind"]),
        (StatusCode::ACCEPTED, &json!("everything that is stored"), &json!("publish"))
    );
    assert!(put.headers.contains_key(header::LOCATION) && put.headers.contains_key(header::ETAG));
    given.run_jobs().await;
    assert_eq!(scores().await, [30, 30, 0]);
    // The field keeps what was stated, and the explanation shows it.
    assert_eq!(field(&given, "acct_9", "segment").await, "1000+  Employees");
    let explained = given.get("/api/v1/accounts/acct_9/explain").await.ok();
    let line = &explained["account"]["rules"][0];
    assert_eq!(
        (&line["outcome"], &line["points"], &line["fields"][0]["value"]),
        (&json!("matched"), &json!(30), &json!("1000+  Employees"))
    );
    // Lists were scored anew, too.
    assert_eq!(given.get("/api/v1/accounts?sort=account_score&limit=1").await.ok()["data"][0]["account_score"], 30);

    let shown = given.get(SEGMENT).await.ok();
    assert_eq!(shown, json!({"field": "segment", "values": table["values"]}));
    assert_eq!(given.get("/api/v1/account-mappings/aliases").await.ok(), json!({"aliases": {"segment": table["values"]}}));
    let same = given.put(SEGMENT, shown).await;
    assert_eq!((same.status, &same.body["unchanged"], &same.body["job"]), (StatusCode::OK, &json!(true), &Value::Null));
    assert_eq!(given.call(OTHER, Method::GET, SEGMENT, None).await.status, 404);

    let removed = given.delete(SEGMENT).await;
    assert_eq!((removed.status, &removed.body["values"]), (StatusCode::ACCEPTED, &json!({})));
    given.run_jobs().await;
    assert_eq!(scores().await, [0, 0, 0]);
    assert_eq!((given.get(SEGMENT).await.status, given.delete(SEGMENT).await.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn faults_of_alias_tables_and_of_orders_name_their_places_and_change_nothing() {
    let given = given().await;
    let before = given.store.dump();
    let order = |sources: &[&str]| json!({"source_order": sources});
    let refused = [
        (SEGMENT, json!({}), vec!["/values"]),
        (SEGMENT, json!({"values": {}}), vec!["/values"]),
        (SEGMENT, json!({"values": ["ent"]}), vec!["/values"]),
        (SEGMENT, json!({"values": {"Enterprise": "ent"}}), vec!["/values/Enterprise"]),
        (SEGMENT, json!({"values": {"Enterprise": ["ent"], "Small": ["smb", " ENT "]}}), vec!["/values/Small/1"]),
        (SEGMENT, json!({"values": {"Enterprise": ["small"], "Small": []}}), vec!["/values/Enterprise/0"]),
        (SEGMENT, json!({"values": {"Enterprise": [" "]}}), vec!["/values/Enterprise/0"]),
        (SEGMENT, json!({"values": {"Enterprise": ["x".repeat(201)]}}), vec!["/values/Enterprise/0"]),
        (SEGMENT, json!({"field": "size", "values": {"Enterprise": ["ent"]}}), vec!["/field"]),
        (SEGMENT, json!({"values": {"Enterprise": ["ent"]}, "mode": 1}), vec!["/mode"]),
        ("/api/v1/account-mappings/aliases/Segment", json!({"values": {"Enterprise": ["ent"]}}), vec![""]),
        (SETTINGS, json!({}), vec!["/currency"]),
        (SETTINGS, order(&["manual", "form"]), vec!["/source_order"]),
        (SETTINGS, order(&["form", "manual", "crm_import", "enrichment", "group"]), vec!["/source_order"]),
        (SETTINGS, order(&["manual", "form", "form", "enrichment", "group"]), vec!["/source_order"]),
        (SETTINGS, order(&["manual", "crm", "csv", "enrichment", "group"]), vec!["/source_order/1", "/source_order/2"]),
        (SETTINGS, json!({"source_order": "manual"}), vec!["/source_order"]),
        (MAPPING, json!({"entries": [], "source_order": ["form"]}), vec!["/source_order"]),
    ];
    for (path, body, places) in refused {
        let answered = given.put(path, body.clone()).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (422, places), "{path} {body} {}", answered.body);
    }
    let twice = given.put(SEGMENT, json!({"values": {"Enterprise": ["ent"], "Small": ["Ent"]}})).await;
    assert_eq!(twice.body["errors"][0]["detail"], "stands for `Enterprise` already; a text stands for one value");
    let wrong = given.put(SETTINGS, order(&["form", "manual", "crm_import", "enrichment", "group"])).await;
    let detail = wrong.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("must begin with `manual` and name each of the 5 sources once"), "{detail}");
    assert!(given.store.dump() == before);
}

#[tokio::test]
async fn the_order_of_sources_decides_who_wins_and_the_score_follows() {
    let given = given().await;
    // The company says 1,500 in a group call; enrichment, which a mapping entry stands for, says 90.
    given
        .post(ENTRIES, json!({"field": "employees", "type": "number", "paths": ["properties.enriched_employees"], "source": "enrichment"}))
        .await
        .ok();
    let enriched = json!({"type": "track", "userId": "ann", "event": "Enriched", "messageId": "e1", "properties": {"enriched_employees": 90}, "context": {"groupId": "acct_7"}});
    given.track("main", vec![group("ann", "acct_7", json!({"employees": 1500})), enriched]).await;
    assert_eq!((field(&given, "acct_7", "employees").await, given.stands("acct_7").await.0), (json!(90), 0));
    assert_eq!(given.get(MAPPING).await.ok()["source_order"], json!(["manual", "crm_import", "enrichment", "group", "form"]));

    let order = json!(["manual", "group", "crm_import", "enrichment", "form"]);
    let set = given.put(SETTINGS, json!({"source_order": order})).await;
    assert_eq!(
        (set.status, &set.body["source_order"], &set.body["applies_to"]),
        (StatusCode::ACCEPTED, &order, &json!("everything that is stored"))
    );
    assert_eq!(set.body["changes"][0]["change"], "source_order");
    // No event is read for it: nothing is marked as read by another mapping than before.
    given.run_jobs().await;
    assert_eq!((field(&given, "acct_7", "employees").await, given.stands("acct_7").await.0), (json!(1500), 50));
    let sources = given.get("/api/v1/accounts/acct_7").await.ok()["field_sources"]["employees"].clone();
    assert_eq!((&sources["source"], &sources["statements"][0]["source"]), (&json!("group"), &json!("group")));
    let explained = given.get("/api/v1/accounts/acct_7/explain").await.ok();
    assert_eq!(explained["account"]["score"], 50);
    // A person's word still wins over all, and the list is sorted by the same number.
    given.set("acct_7", json!({"employees": 10})).await;
    assert_eq!(given.stands("acct_7").await.0, 0);
    given.delete("/api/v1/accounts/acct_7/fields/employees").await.ok();
    given.run().await;
    assert_eq!(given.get("/api/v1/accounts").await.ok()["data"][0]["account_score"], 50);
    // Both settings at once, and back.
    let both =
        given.put(SETTINGS, json!({"currency": "EUR", "source_order": ["manual", "crm_import", "enrichment", "group", "form"]})).await;
    assert_eq!(
        (both.status, &both.body["applies_to"], &both.body["currency"]),
        (StatusCode::ACCEPTED, &json!("events from now on"), &json!("EUR"))
    );
    given.run_jobs().await;
    assert_eq!(given.stands("acct_7").await.0, 0);
}

#[tokio::test]
async fn a_template_with_its_mapping_is_made_whole_or_not_at_all() {
    let given = given().await;
    let body = json!({"template": "plg-expansion", "variables": {"expansion_event": "Seat Limit Reached"}, "add_mappings": true});
    // While a publication runs the mapping can't be changed, so the ruleset is not made either.
    given.put("/api/v1/settings/surge", json!({"mode": "absolute", "events": 8, "days": 3})).await.ok();
    let before = given.store.dump();
    assert_eq!(given.post("/api/v1/account-rulesets", body.clone()).await.status, 409);
    assert!(given.store.dump() == before);
    given.run_jobs().await;
    let made = given.post("/api/v1/account-rulesets", body.clone()).await;
    assert_eq!((made.status.as_u16(), &made.body["needs"]), (201, &Value::Null), "{}", made.body);
    let mapping = given.get(MAPPING).await.ok();
    assert_eq!(mapping["version"], 2);
    assert!(mapping["entries"].as_array().unwrap().iter().any(|entry| entry["field"] == "expansion_signal_at"));
    // The next one finds its entry there.
    assert_eq!(given.post("/api/v1/account-rulesets", body).await.status, 201);
    assert_eq!(given.get(MAPPING).await.ok()["version"], 2);
}
