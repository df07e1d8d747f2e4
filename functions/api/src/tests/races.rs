//! What happens between two steps of a change: a lost hint, and somebody else who writes in between.

use super::given::*;
use crate::{Api, answer, router};
use bytes::Bytes;
use domain::{AccountId, Home, Identity, IdentityKind, Shard, Timestamp};
use http::{Request, StatusCode, header};
use pipeline::{
    AccountTouched, Condition, Consistency, Item, Key, Page, Query, Queue, QueueError, Store, StoreError, Write,
    homes::{HomeStore, put_record, put_state},
    memory::{MemoryQueue, MemoryStore},
    records::{OWN_FIELDS, due_key, home_key},
    secrets::FileKeySecrets,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A queue that takes nothing.
struct Broken;

impl Queue<AccountTouched> for Broken {
    async fn send(&self, _: Vec<AccountTouched>) -> Result<(), QueueError> {
        Err(QueueError::Unavailable { source: "gone".into() })
    }
}

/// A store where somebody else writes just before the first transaction.
#[derive(Clone)]
struct Meddled {
    store: Arc<MemoryStore>,
    first: Arc<Mutex<Option<Write>>>,
}

impl Store for Meddled {
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
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            self.store.write(first).await.unwrap();
        }
        self.store.transact(writes).await
    }
}

impl Given {
    /// Sends one request to an API over other ports than the usual ones.
    async fn over<S: Store + Clone, Q: Queue<AccountTouched>>(
        &self,
        store: S,
        touched: Q,
        method: &str,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let routes = router(Api::new(store, FileKeySecrets::new(&[7; 32]), Arc::clone(&self.clock), touched));
        let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        let response = answer(routes, request.body(Bytes::from(body.to_string())).unwrap()).await;
        (response.status(), serde_json::from_slice(response.body()).unwrap())
    }

    async fn is_due(&self, account: &str, at: Timestamp) -> bool {
        let home = Home::Account(AccountId::new(account).unwrap());
        self.store.read(&due_key(&main(), &home, at), Consistency::Strong).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_change_whose_hint_is_lost_stands_and_is_due() {
    let given = given().await;
    let at = Timestamp::parse(NOW).unwrap();
    let (status, body) =
        given.over(Arc::clone(&given.store), Broken, "PUT", "/api/v1/accounts/a", json!({"fields": {"employees": 1000}})).await;
    assert_eq!((status.as_u16(), &body["account_score"]), (201, &json!(50)));
    assert!(given.is_due("a", at).await);
    given.track("main", vec![identify("u", "ann@quillmark-press.com")]).await;
    let at = at.plus_millis(1_000);
    let (status, _) = given.over(Arc::clone(&given.store), Broken, "PUT", "/api/v1/leads/user:u", json!({"account_id": "a"})).await;
    assert_eq!(status, 200);
    assert!(given.is_due("a", at).await && given.is_due("quillmark-press.com", at).await);
}

#[tokio::test]
async fn a_field_that_an_event_states_meanwhile_is_kept() {
    let given = given().await;
    given.track("main", vec![group("u", "a", json!({"employees": 10, "industry": "Finance"}))]).await;
    let homes = HomeStore::new(Arc::clone(&given.store));
    let (account, home) = (AccountId::new("a").unwrap(), Home::Account(AccountId::new("a").unwrap()));
    // Resolve merges an event's field between the API's read and its write.
    let own = homes.own_fields(&main(), &account).await.unwrap();
    let mut merged = own.record.clone();
    merged.fresh += 1;
    let meddling = put_record(home_key(&main(), &home, OWN_FIELDS), own.version, &merged).unwrap();
    let store = Meddled { store: Arc::clone(&given.store), first: Arc::new(Mutex::new(Some(meddling))) };
    let (status, body) =
        given.over(store, MemoryQueue::default(), "PATCH", "/api/v1/accounts/a", json!({"fields": {"country": "US"}})).await;
    assert_eq!((status.as_u16(), &body["fields"]["country"], &body["fields"]["industry"]), (200, &json!("US"), &json!("Finance")));
    let after = homes.own_fields(&main(), &account).await.unwrap();
    assert_eq!((after.version, after.record.fresh), (own.version + 2, own.record.fresh + 2));
}

#[tokio::test]
async fn a_parcel_that_is_folded_while_its_lead_is_moved_is_not_lost() {
    let given = given().await;
    given.track("main", vec![identify("u", "ann@quillmark-press.com"), track("u", "Email Clicked", 5, "m1")]).await;
    let homes = HomeStore::new(Arc::clone(&given.store));
    let (id, home) = (Identity::user("u").id(), Home::Account(AccountId::new("quillmark-press.com").unwrap()));
    let shard = Shard::of(IdentityKind::User, id, None);
    // A fold writes the state between the API's read and its transaction.
    let stored = homes.state_at(&main(), &home, shard, &id).await.unwrap().unwrap();
    let mut folded = stored.state.clone();
    folded.facts.count += 1;
    let meddling = put_state(&main(), &home, &folded, stored.version + 1, Condition::Version(stored.version)).unwrap();
    let store = Meddled { store: Arc::clone(&given.store), first: Arc::new(Mutex::new(Some(meddling))) };
    let (status, body) = given.over(store, MemoryQueue::default(), "PUT", "/api/v1/leads/user:u", json!({"account_id": "a"})).await;
    assert_eq!((status.as_u16(), &body["account_id"], &body["events"]), (200, &json!("a"), &json!(3)));
    assert!(homes.state_at(&main(), &home, shard, &id).await.unwrap().is_none());
    let moved = homes.state_at(&main(), &Home::Account(AccountId::new("a").unwrap()), shard, &id).await.unwrap().unwrap();
    assert_eq!(moved.version, stored.version + 2);
}
