//! The store contract over each adapter.

use harpoon::store::EmbeddedStore;
use pipeline::{Body, Condition, Consistency, Item, Key, Query, Store, StoreError, Table, Write};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

async fn embedded() -> (aws::DynamoStore, (EmbeddedStore, TempDir)) {
    let dir = tempfile::tempdir().unwrap();
    let (served, store) = EmbeddedStore::open(&dir.path().join("harpoon.db"), "test-").await.unwrap();
    (store, (served, dir))
}

fn item(sk: &str, body: Body) -> Item {
    Item { key: Key::new(Table::Accounts, "p", sk), version: 1, body, expires_at: None }
}

mod memory_store {
    async fn memory() -> (pipeline::memory::MemoryStore, ()) {
        (pipeline::memory::MemoryStore::default(), ())
    }

    harpoon_tests::store_contract!(memory());
}

mod dynamo_store_on_the_embedded_database {
    harpoon_tests::store_contract!(super::embedded());
}

/// A page of DynamoDB ends at 1 MB. (The store in memory cuts by count, so this is no clause of the contract.)
#[tokio::test]
async fn a_page_holds_about_a_megabyte() {
    let (store, _keep) = embedded().await;
    for n in 0..20 {
        let item = item(&format!("{n:02}"), Body::Bytes(vec![0; 150_000]));
        store.write(Write::Put(item, Condition::Absent)).await.unwrap();
    }
    let page = store.query(&Query::partition(Table::Accounts, "p")).await.unwrap();
    assert!((6..=8).contains(&page.items.len()), "{}", page.items.len());
    assert_eq!(page.next, page.items.last().map(|item| item.key.sk.clone()));
}

/// DynamoDB's items are at most 400 KB. (The store in memory has no limit.)
#[tokio::test]
async fn an_item_of_more_than_400_kilobytes_is_refused() {
    let (store, _keep) = embedded().await;
    let refused = store.write(Write::Put(item("s", Body::Bytes(vec![0; 410_000])), Condition::Absent)).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_refused() {
    let (_store, (served, _dir)) = embedded().await;
    let other = aws::AwsClients::at(&served.endpoint()).store("other-");
    let refused = other.read(&Key::new(Table::Config, "p", "s"), Consistency::Strong).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable() {
    let (store, (served, _dir)) = embedded().await;
    tokio::task::spawn_blocking(move || drop(served)).await.unwrap();
    let answer = store.read(&Key::new(Table::Config, "p", "s"), Consistency::Strong).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_and_tables_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("harpoon.db");
    let written = item("s", Body::Text("{}".to_owned()));
    let (served, store) = EmbeddedStore::open(&file, "test-").await.unwrap();
    store.create_tables().await.unwrap();
    store.write(Write::Put(written.clone(), Condition::Absent)).await.unwrap();
    drop((served, store));
    let (_served, store) = EmbeddedStore::open(&file, "test-").await.unwrap();
    assert_eq!(store.read(&written.key, Consistency::Strong).await.unwrap(), Some(written));
}

/// A write of up to 1 KB is one unit and twice that in a transaction, a strong read of up to 4 KB is one unit, as in
/// DynamoDB's price list.
#[tokio::test]
async fn the_meter_is_told_what_each_request_was_billed() {
    let (store, _keep) = embedded().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let meter = Arc::clone(&told);
    let store = store.metered(Arc::new(move |units| meter.lock().unwrap().push(units)));
    let one = item("1", Body::Text("{}".to_owned()));
    let two = item("2", Body::Text("{}".to_owned()));
    store.write(Write::Put(one.clone(), Condition::Absent)).await.unwrap();
    store.read(&one.key, Consistency::Strong).await.unwrap();
    store.read(&one.key, Consistency::Eventual).await.unwrap();
    store.transact(vec![Write::Put(two, Condition::Absent), Write::Delete(one.key, Condition::Always)]).await.unwrap();
    let told: Vec<_> = told.lock().unwrap().iter().map(|units| (units.operation, units.table.clone(), units.units)).collect();
    let table = || "test-accounts".to_owned();
    assert_eq!(
        told,
        [("PutItem", table(), 1.0), ("GetItem", table(), 1.0), ("GetItem", table(), 0.5), ("TransactWriteItems", table(), 4.0)]
    );
}
