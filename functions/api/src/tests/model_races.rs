//! Two people at once: one changes the model while the other's request is between its reading and its writing.

use super::given::*;
use crate::{Api, answer, router};
use bytes::Bytes;
use http::{Method, Request, header};
use pipeline::{
    Consistency, Item, Key, Page, Query, Store, StoreError, Write,
    memory::{MemoryQueue, MemoryStore},
    secrets::FileKeySecrets,
};
use serde_json::{Value, json};
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A store in which something happens just before the first transaction.
#[derive(Clone)]
struct Hooked {
    store: Arc<MemoryStore>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

impl Store for Hooked {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.store.read(key, consistency).await
    }
    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.store.read_many(keys, consistency).await
    }
    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.query(query).await
    }
    async fn scan(&self, scan: &pipeline::Scan) -> Result<pipeline::ScanPage, StoreError> {
        self.store.scan(scan).await
    }
    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.store.write(write).await
    }
    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        self.store.transact(writes).await
    }
}

/// One request, as it is written down.
pub(super) type Asked = (Method, String, Value);

pub(super) fn asked(method: Method, path: &str, body: Value) -> Asked {
    (method, path.to_owned(), body)
}

/// Sends the first request; between its reading and its writing the second one is answered. Answers both, first the first.
pub(super) async fn at_once(given: &Arc<Given>, first: Asked, second: Asked) -> ((u16, Value), (u16, Value)) {
    at_once_over(given, first, None, second).await
}

pub(super) async fn at_once_over(given: &Arc<Given>, first: Asked, tag: Option<String>, second: Asked) -> ((u16, Value), (u16, Value)) {
    let came: Arc<Mutex<Option<(u16, Value)>>> = Arc::default();
    let (other, noted) = (Arc::clone(given), Arc::clone(&came));
    let meanwhile: Meanwhile = Box::pin(async move {
        let (method, path, body) = second;
        let answered = other.call(TOKEN, method, &path, Some(body)).await;
        *noted.lock().unwrap() = Some((answered.status.as_u16(), answered.body));
    });
    let store = Hooked { store: Arc::clone(&given.store), meanwhile: Arc::new(Mutex::new(Some(meanwhile))) };
    let routes = router(Api::new(store, FileKeySecrets::new(&[7; 32]), Arc::clone(&given.clock), MemoryQueue::default()));
    let (method, path, body) = first;
    let mut request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    if let Some(tag) = tag {
        request = request.header(header::IF_MATCH, tag);
    }
    let response = answer(routes, request.body(Bytes::from(body.to_string())).unwrap()).await;
    let body = if response.body().is_empty() { Value::Null } else { serde_json::from_slice(response.body()).unwrap() };
    let second = came.lock().unwrap().take().expect("the first request writes in one transaction");
    ((response.status().as_u16(), body), second)
}

fn rules(points: i64) -> Value {
    json!([{ "id": "size", "points": points, "condition": { "field": "company_size", "op": "eq", "value": "enterprise" } }])
}

async fn published(given: &Given, name: &str, points: i64) -> String {
    let path = given.make("account-rulesets", json!({ "name": name, "content": { "rules": rules(points) } })).await;
    given.publish(&path).await;
    path
}

#[tokio::test]
async fn of_two_new_primaries_at_once_there_is_one() {
    let given = Arc::new(given().await);
    let (a, b) = (published(&given, "A", 40).await, published(&given, "B", 60).await);
    let primary = json!({ "primary": true });
    let (first, second) = at_once(&given, asked(Method::PATCH, &a, primary.clone()), asked(Method::PATCH, &b, primary)).await;
    assert_eq!((first.0, second.0), (409, 202), "{} {}", first.1, second.1);
    assert!(first.1["detail"].as_str().unwrap().starts_with("a publication is under way: /api/v1/jobs/job_"), "{}", first.1);
    given.run_jobs().await;
    let listed = given.get("/api/v1/account-rulesets").await.ok();
    let primaries: Vec<&Value> = listed["data"].as_array().unwrap().iter().filter(|ruleset| ruleset["primary"] == true).collect();
    assert_eq!((primaries.len(), &primaries[0]["name"]), (1, &json!("B")));
}

#[tokio::test]
async fn of_two_publications_at_once_one_wins_and_the_other_is_told() {
    let given = Arc::new(given().await);
    let (a, b) = (published(&given, "A", 40).await, published(&given, "B", 60).await);
    for path in [&a, &b] {
        given.put(&format!("{path}/rules/size"), rules(41)[0].clone()).await.ok();
    }
    let publish = |path: &str| asked(Method::POST, &format!("{path}/publish"), json!({ "revision": 2, "why": "w" }));
    let (first, second) = at_once(&given, publish(&a), publish(&b)).await;
    assert_eq!((first.0, second.0), (409, 202), "{} {}", first.1, second.1);
    given.run_jobs().await;
    // The same draft twice, too.
    let (first, second) = at_once(&given, publish(&a), publish(&a)).await;
    assert_eq!((first.0, second.0), (409, 202), "{} {}", first.1, second.1);
    given.run_jobs().await;
    let versions: Vec<u64> = [given.get(&a).await.ok(), given.get(&b).await.ok()]
        .iter()
        .map(|ruleset| ruleset["published"]["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [2, 2]);
}

#[tokio::test]
async fn what_was_edited_since_it_was_reviewed_is_not_published() {
    let given = Arc::new(given().await);
    let a = published(&given, "A", 40).await;
    given.put(&format!("{a}/rules/size"), rules(41)[0].clone()).await.ok();
    let publish = asked(Method::POST, &format!("{a}/publish"), json!({ "revision": 2, "why": "w" }));
    let edit = asked(Method::PUT, &format!("{a}/rules/size"), rules(99)[0].clone());
    let (first, second) = at_once(&given, publish, edit).await;
    assert_eq!((first.0, second.0), (409, 200), "{} {}", first.1, second.1);
    assert_eq!(first.1["errors"][0]["pointer"], "/revision", "{}", first.1);
    let shown = given.get(&a).await.ok();
    assert_eq!((&shown["published"]["version"], &shown["draft"]["content"]["rules"][0]["points"]), (&json!(1), &json!(99)));
}

#[tokio::test]
async fn an_edit_during_a_publication_goes_into_the_next_draft() {
    let given = Arc::new(given().await);
    let a = published(&given, "A", 40).await;
    given.put(&format!("{a}/rules/size"), rules(41)[0].clone()).await.ok();
    let publish = || asked(Method::POST, &format!("{a}/publish"), json!({ "revision": 2, "why": "w" }));
    let edit = || asked(Method::PATCH, &a, json!({ "cap": 30 }));
    let (first, second) = at_once(&given, edit(), publish()).await;
    assert_eq!((first.0, second.0), (200, 202), "{} {}", first.1, second.1);
    given.run_jobs().await;
    let shown = given.get(&a).await.ok();
    assert_eq!((&shown["published"]["version"], &shown["content"].get("cap").unwrap_or(&Value::Null)), (&json!(2), &&Value::Null));
    assert_eq!((&shown["draft"]["base"], &shown["draft"]["content"]["cap"]), (&json!(2), &json!(30)));
    assert_eq!(shown["draft"]["content"]["rules"][0]["points"], 41);

    // Whoever said what they looked at is told instead.
    let tag = given.get(&a).await.headers["etag"].to_str().unwrap().to_owned();
    let other = asked(Method::PATCH, &a, json!({ "cap": 20 }));
    let (first, second) = at_once_over(&given, edit(), Some(tag), other).await;
    assert_eq!((first.0, second.0), (412, 200), "{} {}", first.1, second.1);
    assert_eq!(given.get(&a).await.ok()["draft"]["content"]["cap"], 20);
}

#[tokio::test]
async fn a_ruleset_that_is_deleted_meanwhile_is_not_published() {
    let given = Arc::new(given().await);
    let body = json!({ "name": "A", "content": { "rules": rules(40) } });
    let a = given.make("account-rulesets", body.clone()).await;
    let publish = |path: &str| asked(Method::POST, &format!("{path}/publish"), json!({ "revision": 1, "why": "w" }));
    let delete = |path: &str| asked(Method::DELETE, path, Value::Null);
    let (first, second) = at_once(&given, publish(&a), delete(&a)).await;
    assert_eq!((first.0, second.0), (404, 204), "{} {}", first.1, second.1);
    given.run_jobs().await;
    assert_eq!(given.get(&a).await.status, 404);
    // And one that is published meanwhile is not deleted.
    let b = given.make("account-rulesets", body).await;
    let (first, second) = at_once(&given, delete(&b), publish(&b)).await;
    assert_eq!((first.0, second.0), (409, 202), "{} {}", first.1, second.1);
    given.run_jobs().await;
    assert_eq!(given.get(&b).await.ok()["in_force"], true);
}

#[tokio::test]
async fn two_edits_at_once_are_both_kept() {
    let given = Arc::new(given().await);
    let a = published(&given, "A", 40).await;
    let add = |id: &str| {
        let rule = json!({ "id": id, "points": 5, "condition": { "field": "plan", "op": "exists" } });
        asked(Method::POST, &format!("{a}/rules"), rule)
    };
    let (first, second) = at_once(&given, add("one"), add("two")).await;
    assert_eq!((first.0, second.0), (201, 201), "{} {}", first.1, second.1);
    assert_eq!(given.all(&format!("{a}/rules"), "id").await, ["size", "two", "one"]);
    let (first, second) = at_once(&given, add("same"), add("same")).await;
    assert_eq!((first.0, second.0), (409, 201), "{} {}", first.1, second.1);
}
