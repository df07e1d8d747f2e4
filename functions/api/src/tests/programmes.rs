//! Programmes: columns that are views, and what runs for whom.

use super::given::*;
use http::{Method, header};
use serde_json::{Value, json};

const PROGRAMMES: &str = "/api/v1/settings/programmes";

/// Employees give 50 points, revenue 45, the industry 30, the country 20: 145 in all.
fn fields(employees: bool, revenue: bool, industry: bool, country: bool) -> Value {
    let mut fields = json!({});
    let mut say = |said: bool, name: &str, value: Value| {
        if said {
            fields[name] = value;
        }
    };
    say(employees, "employees", json!(1_500));
    say(revenue, "revenue", json!(60_000_000));
    say(industry, "industry", json!("Technology"));
    say(country, "country", json!("US"));
    fields
}

async fn place(given: &Given, account: &str) -> (Value, Value) {
    let shown = given.get(&format!("/api/v1/accounts/{account}")).await.ok();
    (shown["programme_column"].clone(), shown["programmes"].clone())
}

/// 20 accounts of 145 points, and five with 125 (A), 95 (B), 80 (C), 50 (D) and 0 (F).
async fn with_25_accounts() -> Given {
    let given = given().await;
    for n in 1..=20 {
        given.set(&format!("best-{n:02}"), fields(true, true, true, true)).await;
    }
    given.set("grade-a", fields(true, true, true, false)).await;
    given.set("grade-b", fields(true, true, false, false)).await;
    given.set("grade-c", fields(true, false, true, false)).await;
    given.set("grade-d", fields(true, false, false, false)).await;
    given.set("grade-f", json!({"industry": "Mining"})).await;
    given
}

#[tokio::test]
async fn the_20_best_are_in_the_first_column_and_grades_decide_about_the_rest() {
    let given = with_25_accounts().await;
    let runs = |invites: bool, calls: bool| json!({"Company emails": true, "Event invites": invites, "Sales calls": calls});
    for account in ["best-01", "best-12", "best-20"] {
        assert_eq!(place(&given, account).await, (json!("Top 20 accounts"), runs(true, true)), "{account}");
    }
    for account in ["grade-a", "grade-b"] {
        assert_eq!(place(&given, account).await, (json!("A & B"), runs(false, true)), "{account}");
    }
    for account in ["grade-c", "grade-d", "grade-f"] {
        assert_eq!(place(&given, account).await, (json!("Remaining accounts"), runs(false, false)), "{account}");
    }
    // Who is among the best is asked when it is looked at: one leaves, the next one follows.
    given.set("best-07", json!({"employees": 1, "revenue": 1, "country": "BR", "industry": "Mining"})).await;
    assert_eq!(place(&given, "best-07").await.0, "Remaining accounts");
    assert_eq!(place(&given, "grade-a").await.0, "Top 20 accounts");
    assert_eq!(place(&given, "grade-b").await.0, "A & B");
    // Of equals the first by id stays in: 20 accounts have 145 points, and one more of them comes behind.
    given.set("best-07", fields(true, true, true, true)).await;
    given.set("zeta", fields(true, true, true, true)).await;
    assert_eq!((place(&given, "zeta").await.0, place(&given, "best-20").await.0), (json!("A & B"), json!("Top 20 accounts")));
}

#[tokio::test]
async fn columns_and_programmes_can_be_others_and_lists_ask_for_grades_and_cells() {
    let given = with_25_accounts().await;
    let template = given.get(PROGRAMMES).await;
    assert_eq!(template.headers[header::ETAG], "\"0\"");
    assert_eq!(template.body["columns"][0]["view"], json!({"sort": "account_score", "first": 20}));
    let mine = json!({
        "columns": [{"id": "fit-but-cold", "name": "Fit, not engaged", "view": {"grid": ["A4", "B4"], "search": "GRADE"}},
            {"id": "last", "view": {"sort": "account_score", "order": "asc", "first": 1}}],
        "programmes": [{"name": "Direct mail", "runs": {"fit-but-cold": true, "last": false}}]
    });
    let put = given.put(PROGRAMMES, mine.clone()).await;
    assert_eq!(put.headers[header::ETAG], "\"1\"");
    assert_eq!(put.ok()["columns"][1]["name"], "last");
    assert_eq!(given.put(PROGRAMMES, mine).await.headers[header::ETAG], "\"1\"");
    assert_eq!(place(&given, "grade-b").await, (json!("Fit, not engaged"), json!({"Direct mail": true})));
    assert_eq!(place(&given, "grade-f").await, (json!("last"), json!({"Direct mail": false})));
    assert_eq!(place(&given, "best-01").await, (Value::Null, json!({})));
    assert_eq!(given.call(OTHER, Method::GET, PROGRAMMES, None).await.headers[header::ETAG], "\"0\"");

    let listed = async |parameters: &str| given.all(&format!("/api/v1/accounts?search=grade&sort=name&{parameters}"), "account_id").await;
    assert_eq!(listed("grade=A,B").await, ["grade-a", "grade-b"]);
    assert_eq!(listed("grade=F").await, ["grade-f"]);
    // Nobody is engaged: the fourth level from the top.
    assert_eq!(listed("grid=A4,%20C4").await, ["grade-a", "grade-c"]);
    assert_eq!(listed("grid=A1").await, Vec::<String>::new());
    for (parameters, place) in [("grade=A,E", "grade"), ("grid=A0", "grid"), ("grade=", "grade")] {
        let refused = given.get(&format!("/api/v1/accounts?{parameters}")).await;
        assert_eq!((refused.status.as_u16(), refused.places()), (400, vec![place]), "{parameters}");
    }
}

#[tokio::test]
async fn faults_name_their_places_and_nothing_is_changed() {
    let given = given().await;
    let before = given.store.dump();
    let column = |view: Value| json!({"columns": [{"id": "x", "view": view}], "programmes": []});
    let refused = [
        (json!([]), vec![""]),
        (json!({"columns": []}), vec!["/programmes"]),
        (column(json!({"grade": ["E"]})), vec!["/columns/0/view/grade/0"]),
        (column(json!({"level": "gold", "first": 0})), vec!["/columns/0/view/level", "/columns/0/view/first"]),
        (column(json!({"limit": 3})), vec!["/columns/0/view/limit"]),
        (json!({"columns": [{"id": "x", "view": {}}], "programmes": [{"name": "Calls", "runs": {}}]}), vec!["/programmes/0/runs/x"]),
        (json!({"columns": [], "programmes": [{"name": "Calls", "runs": {"y": true}}]}), vec!["/programmes/0/runs/y"]),
    ];
    for (body, places) in refused {
        let answered = given.put(PROGRAMMES, body.clone()).await;
        assert_eq!((answered.status.as_u16(), answered.places()), (422, places), "{body}");
    }
    let request = http::Request::put(PROGRAMMES)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::IF_MATCH, "\"3\"")
        .body(bytes::Bytes::from(json!({"columns": [], "programmes": []}).to_string()))
        .unwrap();
    assert_eq!(given.send(request).await.status, 412);
    assert!(given.store.dump() == before);
}

#[tokio::test]
async fn the_bounds_of_grades_are_shown_with_the_scores_that_reach_them() {
    let given = given().await;
    let shown = given.get("/api/v1/settings/grades").await.ok();
    let grades: Vec<(&str, i64, i64)> = shown["grades"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grade| (grade["grade"].as_str().unwrap(), grade["least_percent"].as_i64().unwrap(), grade["least_score"].as_i64().unwrap()))
        .collect();
    // Of 145 points: 80 % are 116, 60 % 87, 40 % 58, 20 % 29.
    assert_eq!(grades, [("A", 80, 116), ("B", 60, 87), ("C", 40, 58), ("D", 20, 29), ("F", 0, 0)]);
    let columns: Vec<(u64, &str)> = shown["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["column"].as_u64().unwrap(), column["level"].as_str().unwrap()))
        .collect();
    assert_eq!(columns, [(1, "Very Hot"), (2, "Hot"), (3, "Warm"), (4, "Cold")]);
    assert_eq!(shown["disqualified"], "F");
}
