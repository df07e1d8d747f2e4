//! Surge settings: read, changed, and tried on the accounts before that.

use super::given::*;
use domain::surge::SurgeSettings;
use http::{Method, StatusCode, header};
use pipeline::{
    Clock,
    clock::CountingEntropy,
    jobs::{JobKind, JobRecord, Jobs, new_job_id},
};
use serde_json::{Value, json};

const SETTINGS: &str = "/api/v1/settings/surge";
const PREVIEW: &str = "/api/v1/settings/surge/preview";

const DAY: i64 = 24 * 60;

/// Three accounts, each of two leads and older than 28 days:
/// alpha with 8 events today, beta with 12 today, gamma with 4 today and 6 five days ago.
async fn with_activity() -> Given {
    let given = given().await;
    let mut calls = Vec::new();
    for (account, today, before) in [("alpha", 8, 0), ("beta", 12, 0), ("gamma", 4, 6)] {
        for lead in 0..2 {
            let user = format!("{account}-{lead}");
            calls.push(identify(&user, &format!("{user}@{account}-looms.com")));
            // The first event is 40 days old; it lies outside of window and baseline.
            calls.push(track(&user, "Meeting Held", 40 * DAY, &format!("{user}-first")));
        }
        let meeting = |n: i64, minutes: i64, id: &str| {
            track(&format!("{account}-{}", n % 2), "Meeting Held", minutes, &format!("{account}-{id}-{n}"))
        };
        calls.extend((0..today).map(|n| meeting(n, 10 + n, "today")));
        calls.extend((0..before).map(|n| meeting(n, 5 * DAY + n, "before")));
    }
    given.track("main", calls).await;
    given
}

fn accounts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|account| account["account_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_preview_says_who_would_begin_go_on_and_cease() {
    let given = with_activity().await;
    let before = given.store.dump();
    // 10 events of 2 leads are needed now: beta has 12, gamma 10, alpha 8. None has a baseline, so that a week counts as 3.
    let eight = given.post(PREVIEW, json!({"mode": "relative", "enter_events": 8})).await.ok();
    assert_eq!((&eight["accounts"], &eight["now"], &eight["then"]), (&json!(3), &json!(2), &json!(3)));
    assert_eq!(accounts(&eight["starts"]), ["alpha-looms.com"]);
    assert_eq!(accounts(&eight["stays"]), ["beta-looms.com", "gamma-looms.com"]);
    assert_eq!(eight["changes"], json!({"starts": 1, "stays": 2, "ends": 0}));
    // 8 events are 8 · 3 / 9 = 2.67 times the least week.
    let alpha = &eight["starts"][0];
    assert_eq!(
        alpha["then"],
        json!({"active": true, "since": "2026-11-20", "new_activity": false, "window_events": 8, "window_leads": 2, "baseline_events": 0, "ratio_percent": 266})
    );
    assert_eq!((&alpha["now"]["active"], &alpha["now"]["since"]), (&json!(false), &Value::Null));
    assert_eq!(eight["workspace_spike"]["now"], json!({"flagged": false, "surging": 2, "active": 3}));

    // 9 events in 3 days: gamma has 4 in these days.
    let absolute = given.post(PREVIEW, json!({"mode": "absolute", "events": 9, "days": 3})).await.ok();
    assert_eq!(
        (accounts(&absolute["stays"]), accounts(&absolute["ends"]), accounts(&absolute["starts"])),
        (vec!["beta-looms.com"], vec!["gamma-looms.com"], vec![])
    );
    assert!(given.store.dump() == before);
    // The account pages agree with what is said to be so now.
    for (account, surges) in [("alpha", false), ("beta", true), ("gamma", true)] {
        let shown = given.get(&format!("/api/v1/accounts/{account}-looms.com")).await.ok();
        assert_eq!(shown["surge"]["active"], surges, "{account}");
    }
    assert_eq!(given.call(OTHER, Method::POST, PREVIEW, Some(json!({"mode": "relative"}))).await.ok()["accounts"], 0);
}

/// More than 2,000 accounts are looked at by a job; it comes to the same as looking at once.
#[tokio::test]
async fn a_job_previews_as_the_request_does() {
    let given = with_activity().await;
    let other = json!({"mode": "absolute", "events": 9, "days": 3});
    let at_once = given.post(PREVIEW, other.clone()).await.ok();
    let settings = SurgeSettings::read(&other).unwrap();
    let id = new_job_id(&CountingEntropy::default(), given.clock.now()).unwrap();
    let record = JobRecord::new(id.clone(), JobKind::SurgePreview { settings }, "dana", given.clock.now());
    Jobs::new(given.store.clone(), given.clock.clone()).start(&main(), &record).await.unwrap();
    given.run_jobs().await;
    let job = given.get(&format!("/api/v1/jobs/{id}")).await.ok();
    assert_eq!(
        (&job["kind"], &job["state"], &job["percent"], &job["by"]),
        (&json!("surge_preview"), &json!("done"), &json!(100), &json!("dana"))
    );
    assert_eq!(job["result"], at_once);
    assert_eq!(accounts(&job["result"]["ends"]), ["gamma-looms.com"]);
    // Nothing was changed by it.
    assert_eq!(given.get(SETTINGS).await.ok()["mode"], "relative");
    assert_eq!(given.call(OTHER, Method::GET, &format!("/api/v1/jobs/{id}"), None).await.status, 404);
}

#[tokio::test]
async fn changed_settings_are_in_force_at_once_and_a_job_scores_by_them() {
    let given = with_activity().await;
    let shown = given.get(SETTINGS).await;
    assert_eq!(shown.headers[header::ETAG], "\"1\"");
    assert_eq!((&shown.body["mode"], &shown.body["enter_events"], &shown.body["young_leads"]), (&json!("relative"), &json!(10), &json!(3)));
    assert_eq!(given.put(SETTINGS, shown.body.clone()).await.ok()["unchanged"], true);

    let changed = given.put(SETTINGS, json!({"mode": "relative", "enter_events": 8})).await;
    assert_eq!(changed.status, StatusCode::ACCEPTED, "{}", changed.body);
    let job = changed.body["job"]["id"].as_str().unwrap();
    assert_eq!(changed.headers[header::LOCATION], format!("/api/v1/jobs/{job}"));
    assert_eq!((&changed.body["model_version"], &changed.body["settings"]["enter_events"]), (&json!(2), &json!(8)));
    assert_eq!(given.get(SETTINGS).await.ok()["enter_events"], 8);
    assert_eq!(given.get("/api/v1/accounts/alpha-looms.com").await.ok()["surge"]["active"], true);
    let by = given.get(&format!("/api/v1/jobs/{job}")).await.ok();
    assert_eq!((&by["kind"], &by["what"], &by["by"]), (&json!("publish"), &json!("surge settings"), &json!("test")));

    // While it runs there is no other change of the model.
    let second = given.put(SETTINGS, json!({"mode": "absolute", "events": 8, "days": 3})).await;
    assert_eq!(second.status, 409);
    assert!(second.body["detail"].as_str().unwrap().contains(&format!("/api/v1/jobs/{job}")), "{}", second.body);
    given.post(&format!("/api/v1/jobs/{job}/cancel"), json!({})).await.ok();
    assert_eq!(given.put(SETTINGS, json!({"mode": "absolute", "events": 8, "days": 3})).await.status, 202);
    assert_eq!(given.call(OTHER, Method::GET, SETTINGS, None).await.ok()["mode"], "relative");
}

#[tokio::test]
async fn faults_of_surge_settings_name_their_places_and_change_nothing() {
    let given = given().await;
    let before = given.store.dump();
    let refused = [
        (json!([]), vec![""]),
        (json!({}), vec!["/mode"]),
        (json!({"mode": "both"}), vec!["/mode"]),
        (json!({"mode": "relative", "events": 3}), vec!["/events"]),
        (json!({"mode": "absolute", "events": 0, "days": 29}), vec!["/events", "/days"]),
        (json!({"mode": "absolute", "events": 5}), vec!["/days"]),
        (json!({"mode": "relative", "enter_ratio_percent": 99, "young_days": 6}), vec!["/enter_ratio_percent", "/young_days"]),
        (json!({"mode": "relative", "leave_ratio_percent": 201}), vec!["/leave_ratio_percent"]),
        (json!({"mode": "relative", "enter_events": 4}), vec!["/leave_events"]),
        (json!({"mode": "relative", "young_events": 4}), vec!["/young_events"]),
        (json!({"mode": "relative", "enter_leads": 1.5}), vec!["/enter_leads"]),
    ];
    for (body, places) in refused {
        for (method, path) in [(Method::PUT, SETTINGS), (Method::POST, PREVIEW)] {
            let answered = given.call(TOKEN, method, path, Some(body.clone())).await;
            assert_eq!((answered.status.as_u16(), answered.places()), (422, places.clone()), "{path} {body}");
        }
    }
    assert!(given.store.dump() == before);
}
