//! Several level rulesets of a kind, each for a segment of the accounts; and levels whose ranges follow from how the scores are spread.

use super::given::*;
use domain::DAY_MS;
use serde_json::{Value, json};

const LEVELS: &str = "/api/v1/account-level-rulesets";
const PRIMARY: &str = "/api/v1/account-level-rulesets/account";

/// Four levels with the usual ids that begin at these scores and go by these names.
fn levels(mins: [i64; 4], names: [&str; 4]) -> Value {
    let ids = ["low_priority", "standard", "qualified", "target"];
    let level = |((id, min), name): ((&str, i64), &str)| json!({ "id": id, "name": name, "color": "yellow", "min": min });
    ids.into_iter().zip(mins).zip(names).map(level).collect()
}

fn partners() -> Value {
    let mut levels = levels([0, 10, 20, 40], ["Other partner", "Partner", "Good partner", "Key partner"]);
    levels[3]["play"] = json!({ "targeting": "Joint events", "sales_motion": "Partner manager", "success_metric": "Joint pipeline" });
    json!({ "name": "Partners", "content": { "segment": { "field": "partner_tier", "op": "exists" }, "levels": levels } })
}

fn dach() -> Value {
    let levels = levels([0, 20, 50, 80], ["Gering", "Normal", "Qualifiziert", "Ziel"]);
    let segment = json!({ "field": "country", "op": "in", "value": ["DE", "AT", "CH"] });
    json!({ "name": "DACH", "content": { "segment": segment, "levels": levels } })
}

/// Makes and publishes a ruleset and answers its address.
async fn in_use(given: &Given, kind: &str, body: Value) -> String {
    let path = given.make(kind, body).await;
    given.publish(&path).await;
    path
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// Name, id and ruleset of the account level.
async fn level(given: &Given, account: &str) -> (String, String, Option<String>) {
    let shown = given.get(&format!("/api/v1/accounts/{account}")).await.ok();
    let text = |key: &str| shown[key].as_str().map(str::to_owned);
    (text("account_level").unwrap(), text("account_level_id").unwrap(), text("account_level_ruleset"))
}

async fn history(given: &Given, account: &str) -> Vec<Value> {
    given.get(&format!("/api/v1/accounts/{account}/history")).await.ok()["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_account_falls_under_the_first_segment_that_holds_and_moves_when_a_field_changes() {
    let given = given().await;
    given.set("acct_a", json!({ "employees": 1500 })).await;
    let (partners, dach) =
        (in_use(&given, "account-level-rulesets", partners()).await, in_use(&given, "account-level-rulesets", dach()).await);
    // The primary one first, then the segments in the order in which they are asked.
    let listed = given.get(LEVELS).await.ok();
    let order: Vec<(&str, Option<u64>, bool)> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["id"].as_str().unwrap(), item["order"].as_u64(), item["in_force"].as_bool().unwrap()))
        .collect();
    assert_eq!(order, [("account", None, true), (id(&partners), Some(1), true), (id(&dach), Some(2), true)]);

    // 50 points: Qualified by the primary levels, which begin at 50.
    assert_eq!(level(&given, "acct_a").await, ("Qualified".into(), "qualified".into(), None));
    given.set("acct_a", json!({ "partner_tier": "gold" })).await;
    assert_eq!(level(&given, "acct_a").await, ("Key partner".into(), "target".into(), Some(id(&partners).into())));
    let shown = given.get("/api/v1/accounts/acct_a").await.ok();
    assert_eq!((&shown["account_level_color"], &shown["account_level_play"]["targeting"]), (&json!("yellow"), &json!("Joint events")));
    let changed = history(&given, "acct_a").await;
    assert_eq!((&changed[0]["to"], &changed[0]["silent"]), (&json!("Key partner"), &json!(false)));
    assert_eq!(changed[0]["cause"], "under the levels of `Partners` now: account score 50");
    let listed = given.get("/api/v1/accounts?level=key%20partner").await.ok();
    assert_eq!(listed["data"][0]["account_level"], "Key partner");
    assert_eq!(given.all("/api/v1/accounts?level=target", "account_id").await, ["acct_a"]);

    // 20 points for Germany make 70; it is a partner still, which is asked first.
    given.set("acct_a", json!({ "country": "Germany" })).await;
    assert_eq!(level(&given, "acct_a").await.2, Some(id(&partners).into()));
    let explained = given.get("/api/v1/accounts/acct_a/explain").await.ok();
    assert_eq!(explained["rulesets"]["account_levels"]["name"], "Partners");
    assert_eq!(explained["account"]["level"]["current"], json!({ "id": "target", "name": "Key partner", "min": 40 }));

    given.set("acct_a", json!({ "partner_tier": null })).await;
    assert_eq!(level(&given, "acct_a").await, ("Qualifiziert".into(), "qualified".into(), Some(id(&dach).into())));
    // By the levels of its segment Target begins at 80: ten points more.
    let explained = given.get("/api/v1/accounts/acct_a/explain").await.ok();
    assert_eq!(
        (&explained["account"]["level"]["next"]["name"], &explained["account"]["level"]["next"]["points_needed"]),
        (&json!("Ziel"), &json!(10))
    );
    given.set("acct_a", json!({ "country": "France" })).await;
    assert_eq!(level(&given, "acct_a").await, ("Qualified".into(), "qualified".into(), None));
}

#[tokio::test]
async fn another_ruleset_with_the_same_level_is_no_transition() {
    let given = given().await;
    given.set("acct_z", json!({ "country": "DE" })).await;
    let before = history(&given, "acct_z").await;
    assert_eq!(level(&given, "acct_z").await, ("Standard".into(), "standard".into(), None));
    let dach = in_use(&given, "account-level-rulesets", dach()).await;
    assert_eq!(level(&given, "acct_z").await, ("Normal".into(), "standard".into(), Some(id(&dach).into())));
    assert_eq!(history(&given, "acct_z").await.len(), before.len());
    // Disabled, its accounts fall under the primary one again.
    given.patch(&dach, json!({ "enabled": false })).await.ok();
    given.run_jobs().await;
    assert_eq!(level(&given, "acct_z").await, ("Standard".into(), "standard".into(), None));
    assert_eq!(history(&given, "acct_z").await.len(), before.len());
    given.patch(&dach, json!({ "enabled": true })).await.ok();
    given.run_jobs().await;
    assert_eq!(level(&given, "acct_z").await.2, Some(id(&dach).into()));
    let enabled = given.delete(&dach).await;
    assert_eq!((enabled.status.as_u16(), &enabled.body["detail"]), (409, &json!("the ruleset is enabled; disable it first")));
    given.patch(&dach, json!({ "enabled": false })).await.ok();
    given.run_jobs().await;
    assert_eq!(given.delete(&dach).await.status, 204);
}

#[tokio::test]
async fn segments_are_asked_in_the_order_that_people_give_them() {
    let given = given().await;
    given.put("/api/v1/accounts/acct_a", json!({ "fields": { "employees": 1500, "country": "DE" }, "tier": "1:1" })).await.ok();
    given.run().await;
    let named = json!({ "name": "Named", "content": { "segment": { "field": "tier", "op": "eq", "value": "1:1" }, "levels": levels([0, 1, 2, 3], ["A", "B", "C", "D"]) } });
    let (dach, named) = (in_use(&given, "account-level-rulesets", dach()).await, in_use(&given, "account-level-rulesets", named).await);
    assert_eq!(level(&given, "acct_a").await.0, "Qualifiziert");
    let order = format!("{LEVELS}/order");
    let same = given.put(&order, json!({ "order": [id(&dach), id(&named)] })).await;
    assert_eq!((same.status.as_u16(), &same.body["unchanged"]), (200, &json!(true)));
    // The primary one may be named last, where it is.
    let moved = given.put(&order, json!({ "order": [id(&named), id(&dach), "account"] })).await;
    assert_eq!(moved.status, 202, "{}", moved.body);
    given.run_jobs().await;
    assert_eq!(level(&given, "acct_a").await, ("D".into(), "target".into(), Some(id(&named).into())));
    assert_eq!((given.get(&named).await.ok()["order"].clone(), given.get(&dach).await.ok()["order"].clone()), (json!(1), json!(2)));
    let before = given.store.dump();
    for (body, place, detail) in [
        (
            json!({ "order": [id(&named)] }),
            "/order",
            format!("must name each of the 2 rulesets with a segment once; missing: `{}`", id(&dach)),
        ),
        (json!({ "order": [id(&named), id(&named), id(&dach)] }), "/order/1", format!("`{}` is named twice", id(&named))),
        (
            json!({ "order": ["account", id(&named), id(&dach)] }),
            "/order/0",
            "must be the id of an enabled ruleset with a segment, got `account`".to_owned(),
        ),
        (json!({ "order": [7] }), "/order/0", "must be the id of a ruleset".to_owned()),
        (json!({}), "/order", "is required: the ids of all rulesets with a segment, the first to be asked first".to_owned()),
    ] {
        let refused = given.put(&order, body.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.places()), (422, vec![place]), "{body}");
        assert_eq!(refused.body["errors"][0]["detail"], json!(detail), "{body}");
    }
    assert!(given.store.dump() == before);
}

#[tokio::test]
async fn leads_and_engagement_have_segments_of_their_account() {
    let given = given().await;
    given
        .track(
            "main",
            vec![group("u1", "acct_a", json!({ "partner_tier": "gold", "employees": 10 })), track("u1", "Demo Requested", 30, "m1")],
        )
        .await;
    given.track("main", vec![identify("cid", "cid@gmail.com"), track("cid", "Demo Requested", 30, "m2")]).await;
    given.set("acct_a", json!({ "partner_tier": "gold" })).await;
    let segment = json!({ "field": "partner_tier", "op": "exists" });
    let four = |mins: [i64; 4], names: [&str; 4]| -> Value {
        let ids = ["cold", "warm", "hot", "very_hot"];
        ids.into_iter()
            .zip(mins)
            .zip(names)
            .map(|((id, min), name)| json!({ "id": id, "name": name, "color": "red", "min": min }))
            .collect()
    };
    let of_leads = json!({ "name": "Partner people", "content": { "segment": segment, "levels": four([0, 10, 20, 30], ["Cool", "Lukewarm", "Heated", "Burning"]) } });
    let of_leads = in_use(&given, "lead-level-rulesets", of_leads).await;
    let engagement = json!({ "name": "Partner engagement", "content": { "segment": segment, "levels": four([0, 5, 50, 60], ["I", "II", "III", "IV"]) } });
    let engagement = in_use(&given, "engagement-level-rulesets", engagement).await;
    // One demo request today is worth 50 points.
    let lead = given.get("/api/v1/accounts/acct_a/leads").await.ok()["data"][0].clone();
    assert_eq!((&lead["score"], &lead["level"], &lead["level_id"]), (&json!(50), &json!("Burning"), &json!("very_hot")));
    let account = given.get("/api/v1/accounts/acct_a").await.ok();
    assert_eq!((&account["engagement_level"], &account["engagement_level_ruleset"]), (&json!("III"), &json!(id(&engagement))));
    assert_eq!(account["hottest_lead_level_id"], "very_hot");
    let explained = given.get("/api/v1/accounts/acct_a/explain").await.ok();
    assert_eq!(explained["rulesets"]["lead_levels"]["id"], id(&of_leads));
    // The second column from the top of its own four.
    assert_eq!(explained["grid"].as_str().unwrap().chars().nth(1), Some('2'));
    // Who has no account falls under the primary ones: 50 points are Hot.
    let alone = given.get("/api/v1/leads?resolved=false").await.ok()["data"][0].clone();
    assert_eq!((&alone["score"], &alone["level"]), (&json!(50), &json!("Hot")));
}

#[tokio::test]
async fn a_dry_run_of_a_segment_tells_what_publishing_it_does() {
    let given = given().await;
    given.set("acct_a", json!({ "employees": 1500, "partner_tier": "gold" })).await;
    given.set("acct_b", json!({ "employees": 1500 })).await;
    given.set("acct_z", json!({ "country": "DE", "partner_tier": "silver" })).await;
    let path = given.make("account-level-rulesets", partners()).await;
    let foretold = given.post(&format!("{path}/dry-run"), json!({ "accounts": "all" })).await.ok();
    // Of the three at 50, 50 and 20 points the two partners rise: to Key partner (40 and more) and to Good partner (20 and more).
    assert_eq!((&foretold["accounts"], &foretold["changed"], &foretold["levels_changed"]), (&json!(3), &json!(2), &json!(2)));
    assert_eq!(foretold["account_levels"]["after"], json!([0, 0, 2, 1]));
    let one = given.post(&format!("{path}/dry-run"), json!({ "account": "acct_z" })).await.ok();
    assert_eq!(one["changes"]["account_level"], json!(["standard", "qualified"]));
    assert_eq!(one["new"]["account"]["level"]["current"]["name"], "Good partner");
    given.publish(&path).await;
    for change in foretold["changes"].as_array().unwrap() {
        let stands = level(&given, change["account_id"].as_str().unwrap()).await;
        assert_eq!(change["account_level"][1], json!(stands.1));
    }
    assert_eq!(level(&given, "acct_b").await, ("Qualified".into(), "qualified".into(), None));
    // A version without the segment is used by nobody, and the dry run says so.
    given.patch(&path, json!({ "segment": null })).await.ok();
    let foretold = given.post(&format!("{path}/dry-run"), json!({ "accounts": "all" })).await.ok();
    assert_eq!(foretold["account_levels"]["after"], json!([0, 1, 2, 0]));
    given.publish(&path).await;
    assert_eq!(level(&given, "acct_a").await, ("Qualified".into(), "qualified".into(), None));
    let shown = given.get(&path).await.ok();
    assert_eq!((&shown["in_force"], &shown["order"]), (&json!(false), &Value::Null));
    // What was comes back with its segment.
    given.post(&format!("{path}/rollback"), json!({ "version": 1 })).await.ok();
    given.run_jobs().await;
    assert_eq!(level(&given, "acct_a").await.0, "Key partner");
}

#[tokio::test]
async fn a_faulty_segment_is_refused_at_its_place() {
    let given = given().await;
    let body = |segment: Value| {
        let mut body = partners();
        body["content"]["segment"] = segment;
        body
    };
    for (segment, place, detail) in [
        (json!({ "field": "country", "op": "equals", "value": "DE" }), "/content/segment", "`op` must be one of"),
        (json!("DE"), "/content/segment", "must be an object, got `DE`"),
        (
            json!({ "all": [{ "field": "country", "op": "exists" }, { "field": "x", "op": "gt" }] }),
            "/content/segment/all/1",
            "`value` of `gt`",
        ),
        (json!({ "any": [] }), "/content/segment/any", "must have at least one condition"),
    ] {
        let refused = given.post(LEVELS, body(segment.clone())).await;
        assert_eq!((refused.status.as_u16(), refused.places()), (422, vec![place]), "{segment}");
        assert!(refused.body["errors"][0]["detail"].as_str().unwrap().contains(detail), "{}", refused.body);
    }
    // The primary ruleset takes whoever no segment takes.
    given.patch(PRIMARY, json!({ "segment": { "field": "country", "op": "exists" } })).await.ok();
    let revision = given.get(PRIMARY).await.ok()["draft"]["revision"].clone();
    let refused = given.post(&format!("{PRIMARY}/publish"), json!({ "revision": revision, "why": "a test" })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/segment"]));
    let partners = in_use(&given, "account-level-rulesets", partners()).await;
    let refused = given.patch(&partners, json!({ "primary": true })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/primary"]));
    let dated = given.patch(&partners, json!({ "ends_on": "2026-12-31" })).await;
    assert_eq!((dated.status.as_u16(), dated.places()), (422, vec!["/ends_on"]));
    let primary = given.delete(PRIMARY).await;
    assert_eq!(
        (primary.status.as_u16(), &primary.body["detail"]),
        (409, &json!("the primary ruleset can't be deleted; make another one primary first"))
    );
}

#[tokio::test]
async fn lint_of_a_segment_names_fields_that_nothing_fills_and_levels_that_only_it_has() {
    let given = given().await;
    let mut body = partners();
    body["content"]["levels"][3]["id"] = json!("key_partner");
    let path = given.make("account-level-rulesets", body).await;
    let findings = given.get(&format!("{path}/lint")).await.ok()["findings"].clone();
    let found = |code: &str| findings.as_array().unwrap().iter().find(|finding| finding["code"] == code).cloned().unwrap_or_default();
    assert_eq!(
        (&found("field_without_mapping")["pointer"], &found("field_without_mapping")["severity"]),
        (&json!("/segment"), &json!("warning"))
    );
    assert_eq!(
        (&found("level_ids_differ")["pointer"], &found("level_ids_differ")["level_id"]),
        (&json!("/levels/3/id"), &json!("key_partner"))
    );
    // `tier`, `owner` and `priority` need no mapping.
    given.patch(&path, json!({ "segment": { "field": "tier", "op": "eq", "value": "1:1" } })).await.ok();
    let findings = given.get(&format!("{path}/lint")).await.ok()["findings"].clone();
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["code"] != "field_without_mapping"), "{findings}");
}

#[tokio::test]
async fn a_level_of_a_segment_that_an_enabled_trigger_names_stays() {
    let given = given().await;
    let mut body = partners();
    body["content"]["levels"][3]["id"] = json!("key_partner");
    let path = in_use(&given, "account-level-rulesets", body).await;
    let destination =
        given.post("/api/v1/destinations", json!({"name": "Sales", "kind": "signed_webhook", "url": "http://127.0.0.1:9/hook"})).await.ok();
    let trigger =
        json!({"name": "Key partners", "when": {"kind": "level_entered", "level": "key_partner"}, "destinations": [destination["id"]]});
    let trigger = given.post("/api/v1/triggers", trigger).await.ok();
    let wanted = json!("the level `key_partner` is named by the triggers `Key partners`; change them first");
    let disabled = given.patch(&path, json!({ "enabled": false })).await;
    assert_eq!((disabled.status.as_u16(), &disabled.body["detail"]), (409, &wanted));
    assert_eq!(given.delete(&format!("{path}/levels/key_partner")).await.status, 204);
    let revision = given.get(&path).await.ok()["draft"]["revision"].clone();
    let refused = given.post(&format!("{path}/publish"), json!({ "revision": revision, "why": "a test" })).await;
    assert_eq!((refused.status.as_u16(), &refused.body["detail"]), (409, &wanted));
    // The primary ruleset has a level `target` still, so that one may go.
    let mut off = trigger.clone();
    off["enabled"] = json!(false);
    for key in ["id", "created_at", "version", "already_qualify"] {
        off.as_object_mut().unwrap().remove(key);
    }
    given.put(&format!("/api/v1/triggers/{}", trigger["id"].as_str().unwrap()), off).await.ok();
    given.publish(&path).await;
    assert_eq!(given.get(&path).await.ok()["published"]["version"], 2);
}

#[tokio::test]
async fn a_bound_of_the_built_in_levels_is_moved_one_level_at_a_time() {
    let given = given().await;
    given.set("acct_a", json!({ "employees": 1500, "industry": "Technology" })).await;
    assert_eq!(level(&given, "acct_a").await.1, "target");
    let mut target = given.get(&format!("{PRIMARY}/levels/target")).await.ok();
    target["min"] = json!(95);
    given.put(&format!("{PRIMARY}/levels/target"), target).await.ok();
    // In between there is a gap: the draft says so, and can't be published.
    let findings = given.get(&format!("{PRIMARY}/lint")).await.ok()["findings"].clone();
    assert_eq!((&findings[0]["code"], &findings[0]["pointer"]), (&json!("level_gap"), &json!("/levels/3/min")));
    let refused = given.post(&format!("{PRIMARY}/publish"), json!({ "revision": 1, "why": "a test" })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/levels/3/min"]));
    let mut qualified = given.get(&format!("{PRIMARY}/levels/qualified")).await.ok();
    qualified["max"] = json!(94);
    given.put(&format!("{PRIMARY}/levels/qualified"), qualified).await.ok();
    given.publish(PRIMARY).await;
    // 80 points are Qualified now.
    assert_eq!(level(&given, "acct_a").await.1, "qualified");
}

#[tokio::test]
async fn twenty_rulesets_of_a_kind_are_used_at_the_same_time_and_drafts_do_not_count() {
    let given = given().await;
    let mut made = Vec::new();
    for n in 1..=21 {
        let segment = json!({ "field": "region", "op": "eq", "value": n });
        let body = json!({ "name": format!("Region {n}"), "content": { "segment": segment, "levels": levels([0, 1, 2, 3], ["A", "B", "C", "D"]) } });
        made.push(given.make("account-level-rulesets", body).await);
    }
    // With the primary one they are twenty.
    for path in &made[..19] {
        given.publish(path).await;
    }
    let refused = given.post(&format!("{}/publish", made[19]), json!({ "revision": 1, "why": "a test" })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec![""]));
    assert_eq!(refused.body["errors"][0]["detail"], "20 rulesets of this kind are enabled, which is the most; disable one");
    // A new version of one that is used is none more; one that is disabled makes room.
    given.patch(&made[0], json!({ "hysteresis_percent": 5 })).await.ok();
    given.publish(&made[0]).await;
    given.patch(&made[0], json!({ "enabled": false })).await.ok();
    given.run_jobs().await;
    given.publish(&made[19]).await;
    let refused = given.patch(&made[0], json!({ "enabled": true })).await;
    assert_eq!((refused.status.as_u16(), refused.places()), (422, vec!["/enabled"]));
}

/// 25 accounts with 1 to 25 points: each yes adds its power of two.
async fn with_25_accounts(given: &Given) {
    let rule = |i: usize| json!({ "id": format!("r{i}"), "points": 1 << i, "condition": { "field": format!("yes_{i}"), "op": "eq", "value": true } });
    let rules: Vec<Value> = (0..5).map(rule).collect();
    given.install("account-rulesets", json!({ "name": "Powers of two", "content": { "rules": rules } })).await;
    for score in 1..=25 {
        scores(given, &format!("acct_{score:02}"), score).await;
    }
}

async fn scores(given: &Given, account: &str, score: i64) {
    let fields: serde_json::Map<String, Value> = (0..5).map(|i| (format!("yes_{i}"), json!(score >> i & 1 == 1))).collect();
    given.set(account, fields.into()).await;
}

fn by_percentiles(every_days: Option<u32>) -> Value {
    let cuts = json!([{ "level": "target", "top_percent": 8 }, { "level": "qualified", "top_percent": 20 }, { "level": "standard", "top_percent": 50 }]);
    json!({ "cuts": cuts, "every_days": every_days })
}

async fn mins(given: &Given) -> Vec<i64> {
    let levels = given.get(PRIMARY).await.ok()["content"]["levels"].clone();
    levels.as_array().unwrap().iter().map(|level| level["min"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn cut_points_over_25_accounts_are_those_computed_by_hand_and_are_published_silently() {
    let given = given().await;
    with_25_accounts(&given).await;
    given.patch(PRIMARY, json!({ "percentiles": by_percentiles(Some(7)) })).await.ok();
    given.publish(PRIMARY).await;
    let started = given.post(&format!("{PRIMARY}/cut-points"), json!({})).await;
    assert_eq!(started.status, 202, "{}", started.body);
    assert_eq!(
        (&started.body["kind"], &started.body["what"]),
        (&json!("percentiles"), &json!("cut points of account level ruleset `account`"))
    );
    given.run_jobs().await;
    // 8 % of 25 are two: 24 and 25. 20 % are five: 21 to 25. 50 % are twelve: 14 to 25.
    assert_eq!(mins(&given).await, [0, 14, 21, 24]);
    let job = given.get(&format!("/api/v1/jobs/{}", started.body["id"].as_str().unwrap())).await.ok();
    assert_eq!((&job["state"], &job["result"]["scores"], &job["result"]["version"]), (&json!("done"), &json!(25), &json!(3)));
    assert_eq!(job["result"]["cuts"][3], json!({ "level": "target", "min": 24 }));
    for (account, wanted) in [
        ("acct_25", "target"),
        ("acct_24", "target"),
        ("acct_23", "qualified"),
        ("acct_21", "qualified"),
        ("acct_20", "standard"),
        ("acct_14", "standard"),
        ("acct_13", "low_priority"),
    ] {
        assert_eq!(level(&given, account).await.1, wanted, "{account}");
    }
    let newest = history(&given, "acct_25").await[0].clone();
    assert_eq!((&newest["to"], &newest["silent"]), (&json!("Target"), &json!(true)));
    let version = given.get(&format!("{PRIMARY}/versions/3")).await.ok();
    assert_eq!(version["why"], "cut points over 25 scores");
    let explained = given.get("/api/v1/accounts/acct_13/explain").await.ok();
    assert_eq!(
        (&explained["account"]["level"]["next"]["min"], &explained["rulesets"]["account_levels"]["version"]),
        (&json!(14), &json!(3))
    );

    // Four accounts share 25 points a week later: two of them can't be told from the others, so that nobody is a Target.
    let shown = given.get(PRIMARY).await.ok();
    assert_eq!(shown["cut_points"]["scores"], 25);
    let next = shown["cut_points"]["next_job"].as_str().unwrap().to_owned();
    assert_eq!(given.get(&format!("/api/v1/jobs/{next}")).await.ok()["state"], "waiting");
    for account in ["acct_22", "acct_23", "acct_24"] {
        scores(&given, account, 25).await;
    }
    given.clock.advance(6 * DAY_MS);
    given.run_jobs().await;
    assert_eq!(mins(&given).await, [0, 14, 21, 24]);
    given.clock.advance(DAY_MS);
    given.run_jobs().await;
    // Scores are 1 to 21 and four times 25: 8 % are two, whom nobody can be told apart to be; five have 21 or more; twelve have 14 or more.
    assert_eq!(mins(&given).await, [0, 14, 21, 26]);
    assert_eq!((level(&given, "acct_25").await.1, level(&given, "acct_21").await.1), ("qualified".into(), "qualified".into()));
    let after = given.get(PRIMARY).await.ok()["cut_points"]["next_job"].as_str().unwrap().to_owned();
    assert_ne!(after, next);

    // Asked for by hand in between, the repetition that waits has nothing to do; with the same cut points there is no version.
    given.clock.advance(DAY_MS);
    given.post(&format!("{PRIMARY}/cut-points"), json!({})).await.ok();
    given.run_jobs().await;
    assert_eq!(given.get(PRIMARY).await.ok()["published"]["version"], 4);
    given.clock.advance(6 * DAY_MS);
    given.run_jobs().await;
    let superseded = given.get(&format!("/api/v1/jobs/{after}")).await.ok();
    assert_eq!((&superseded["state"], &superseded["result"]["because"]), (&json!("done"), &json!("another computation took its place")));
}

#[tokio::test]
async fn cut_points_of_a_segment_count_its_accounts_alone() {
    let given = given().await;
    with_25_accounts(&given).await;
    for score in 1..=25 {
        // Of the five others nobody counts.
        if score > 5 {
            given.set(&format!("acct_{score:02}"), json!({ "partner_tier": "gold" })).await;
        }
    }
    let mut body = partners();
    body["content"]["percentiles"] = json!({ "cuts": [{ "level": "target", "top_percent": 10 }, { "level": "qualified", "top_percent": 50 }, { "level": "standard", "top_percent": 100 }] });
    let path = in_use(&given, "account-level-rulesets", body).await;
    given.post(&format!("{path}/cut-points"), json!({})).await.ok();
    given.run_jobs().await;
    // 20 accounts with 6 to 25: 10 % are two, 24 and 25; 50 % are ten, 16 to 25; all of them have 0 or more, and Standard begins above the lowest.
    let levels = given.get(&path).await.ok()["content"]["levels"].clone();
    let mins: Vec<i64> = levels.as_array().unwrap().iter().map(|level| level["min"].as_i64().unwrap()).collect();
    assert_eq!(mins, [0, 1, 16, 24]);
    assert_eq!(given.get(&path).await.ok()["cut_points"]["next_job"], Value::Null);
    let job =
        given.get("/api/v1/jobs").await.ok()["data"].as_array().unwrap().iter().find(|job| job["kind"] == "percentiles").cloned().unwrap();
    assert_eq!(job["warnings"], json!(["the cut point of `standard` falls together with that of the level below: fewer levels would do"]));
    let finding = given.get(&format!("{path}/lint?of=published")).await.ok()["findings"].clone();
    assert!(
        finding
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["code"] == "percentile_cuts_equal" && finding["pointer"] == "/levels/0/min"),
        "{finding}"
    );
}

#[tokio::test]
async fn cut_points_that_can_not_be_computed_are_refused() {
    let given = given().await;
    given.set("acct_a", json!({ "employees": 1500 })).await;
    let none = given.post(&format!("{PRIMARY}/cut-points"), json!({})).await;
    assert_eq!((none.status.as_u16(), none.places()), (422, vec![""]));
    for (percentiles, place) in [
        (json!({ "cuts": [{ "level": "targt", "top_percent": 5 }] }), "/percentiles/cuts/0/level"),
        (json!({ "cuts": [{ "level": "target", "top_percent": 0 }] }), "/percentiles/cuts/0/top_percent"),
        (json!({ "cuts": [{ "level": "target", "top_percent": 5 }] }), "/percentiles/cuts"),
        (json!({ "cuts": 5 }), "/percentiles/cuts"),
        (json!({ "cuts": [], "every_days": 0 }), "/percentiles/every_days"),
        (json!({ "cuts": [], "every": 7 }), "/percentiles/every"),
    ] {
        let refused = given.patch(PRIMARY, json!({ "percentiles": percentiles })).await;
        assert_eq!(refused.status, 422, "{percentiles}");
        assert!(refused.places().contains(&place), "{percentiles}: {}", refused.body);
    }
    let uneven = json!({ "cuts": [{ "level": "target", "top_percent": 20 }, { "level": "qualified", "top_percent": 20 }, { "level": "standard", "top_percent": 50 }] });
    let refused = given.patch(PRIMARY, json!({ "percentiles": uneven })).await;
    assert_eq!(refused.places(), ["/percentiles/cuts/1/top_percent"]);
    given.patch(PRIMARY, json!({ "percentiles": by_percentiles(None) })).await.ok();
    given.publish(PRIMARY).await;
    let started = given.post(&format!("{PRIMARY}/cut-points"), json!({})).await.ok();
    given.run_jobs().await;
    let job = given.get(&format!("/api/v1/jobs/{}", started["id"].as_str().unwrap())).await.ok();
    assert_eq!(
        (&job["state"], &job["reason"]),
        (&json!("failed"), &json!("too few: only 1 scores are there, and cut points need at least 20"))
    );
    assert_eq!(mins(&given).await, [0, 20, 50, 80]);
    // Levels that nobody uses have no scores.
    let mut body = partners();
    (body["enabled"], body["content"]["percentiles"]) = (json!(false), by_percentiles(None));
    let path = in_use(&given, "account-level-rulesets", body).await;
    let unused = given.post(&format!("{path}/cut-points"), json!({})).await;
    assert_eq!((unused.status.as_u16(), unused.places()), (422, vec![""]));
}
