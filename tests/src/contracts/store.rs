//! The clauses of the store port. Each works in partitions of its own, so that all can run on one store.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are the bodies of tests: what they find wrong must end them"
)]

use domain::Timestamp;
use futures::future::join_all;
use pipeline::{Body, Condition, Consistency, Item, Key, Query, Scan, Store, StoreError, Table, Write};
use std::collections::BTreeSet;

/// Hands all clauses to another macro of this crate, behind what is given for it. They are listed here and nowhere else.
#[macro_export]
macro_rules! every_store_clause {
    ($next:ident!($($given:tt)*)) => {
        $crate::$next! { $($given)*
            an_item_is_read_as_it_was_written,
            what_is_not_there_is_not_an_error,
            tables_and_partitions_do_not_mix,
            an_unconditional_put_replaces,
            an_item_that_must_be_absent_is_written_once,
            a_version_that_was_read_is_written_once,
            a_delete_obeys_its_condition,
            a_lone_check_writes_nothing,
            a_transaction_happens_wholly,
            a_transaction_happens_not_at_all,
            a_transaction_names_the_first_item_that_failed,
            a_check_holds_a_transaction_back,
            a_transaction_that_names_an_item_twice_is_refused,
            a_transaction_holds_a_hundred_writes_and_no_more,
            an_empty_transaction_succeeds,
            sort_keys_are_ordered_by_their_bytes,
            a_range_includes_both_ends,
            a_range_that_ends_before_it_begins_is_empty,
            a_prefix_selects_what_begins_with_it,
            pages_cut_by_a_limit_hold_everything_once,
            pages_cut_by_size_hold_everything_once,
            a_query_continues_after_a_key_that_is_gone,
            a_cursor_outside_the_range_does_not_widen_it,
            many_items_are_read_by_key,
            a_scan_reads_a_whole_table_once,
            a_partition_lies_in_one_segment_and_stands_together,
            a_scan_continues_after_an_item_that_is_gone,
            a_segment_that_does_not_exist_is_refused,
            one_of_many_conditional_writers_wins,
            no_write_is_lost_between_readers_that_write_back,
            one_of_many_transactions_over_the_same_items_wins
        }
    };
}

/// Runs every clause of the contract as a test of its own, or those that are named. The expression makes a store, or a pair of
/// a store and what must outlive it.
#[macro_export]
macro_rules! store_contract {
    ($make:expr) => {
        $crate::every_store_clause!(store_contract!($make;));
    };
    ($make:expr; $($clause:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $clause() {
                let (store, _keep) = $make.await;
                $crate::contracts::store::$clause(&store).await;
            }
        )+
    };
}

/// The names of clauses.
#[macro_export]
macro_rules! clause_names {
    ($($clause:ident),+ $(,)?) => {
        &[$(stringify!($clause)),+]
    };
}

/// The names of all clauses, so that whoever runs a part of them can tell that none was forgotten.
pub const CLAUSES: &[&str] = every_store_clause!(clause_names!());

fn key(pk: &str, sk: &str) -> Key {
    Key::new(Table::Accounts, pk, sk)
}

fn item(key: &Key, version: u64, body: &str) -> Item {
    Item { key: key.clone(), version, body: Body::Text(body.to_owned()), expires_at: None }
}

fn put(key: &Key, version: u64, condition: Condition) -> Write {
    Write::Put(item(key, version, "{}"), condition)
}

async fn read<S: Store>(store: &S, key: &Key) -> Option<Item> {
    store.read(key, Consistency::Strong).await.unwrap()
}

async fn fill<S: Store>(store: &S, pk: &str, sort_keys: &[&str]) {
    for sk in sort_keys {
        store.write(put(&key(pk, sk), 1, Condition::Absent)).await.unwrap();
    }
}

async fn sort_keys<S: Store>(store: &S, query: Query) -> Vec<String> {
    store.query_all(query).await.unwrap().into_iter().map(|item| item.key.sk).collect()
}

fn partition(pk: &str) -> Query {
    Query::partition(Table::Accounts, pk)
}

#[track_caller]
fn assert_conflict(result: Result<(), StoreError>, expected: &Key) {
    match result {
        Err(StoreError::Conflict { key }) => assert_eq!(*key, *expected),
        other => panic!("expected a conflict over {expected:?}, got {other:?}"),
    }
}

/// Text and bytes, versions and expiry come back as they went in.
pub async fn an_item_is_read_as_it_was_written<S: Store>(store: &S) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies = [
        Body::Text("{\"name\":\"Grüße, 世界 🌍\"}".to_owned()),
        Body::Text(String::new()),
        Body::Text("line\nline\t\u{0}\"quoted\"".to_owned()),
        Body::Bytes(every_byte),
        Body::Bytes(Vec::new()),
        Body::Bytes(vec![7; 300_000]),
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        for (version, expires_at) in [(1, None), (u64::from(u32::MAX) + 1, Some(Timestamp::from_millis(4_102_444_800_000)))] {
            let key = Key::new(Table::Events, "as written", format!("{n} {version}"));
            let item = Item { key: key.clone(), version, body: body.clone(), expires_at };
            store.write(Write::Put(item.clone(), Condition::Absent)).await.unwrap();
            for consistency in [Consistency::Strong, Consistency::Eventual] {
                assert_eq!(store.read(&key, consistency).await.unwrap().as_ref(), Some(&item));
            }
            assert_eq!(store.read_many(std::slice::from_ref(&key), Consistency::Strong).await.unwrap(), std::slice::from_ref(&item));
            let queried = Query::partition(Table::Events, "as written").between(key.sk.as_str(), key.sk.as_str());
            assert_eq!(store.query_all(queried).await.unwrap(), [item]);
        }
    }
}

/// Reading and removing what is not there succeeds.
pub async fn what_is_not_there_is_not_an_error<S: Store>(store: &S) {
    let key = key("nothing", "here");
    assert_eq!(read(store, &key).await, None);
    assert!(store.read_many(std::slice::from_ref(&key), Consistency::Strong).await.unwrap().is_empty());
    assert!(store.read_many(&[], Consistency::Strong).await.unwrap().is_empty());
    let page = store.query(&partition("nothing")).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
    store.write(Write::Delete(key, Condition::Always)).await.unwrap();
}

/// The same keys in another table or partition are other items.
pub async fn tables_and_partitions_do_not_mix<S: Store>(store: &S) {
    for table in Table::ALL {
        for pk in ["mix", "mix#2"] {
            let key = Key::new(table, pk, "same");
            store.write(Write::Put(item(&key, 1, &format!("{table:?} {pk}")), Condition::Absent)).await.unwrap();
        }
    }
    for table in Table::ALL {
        let found = store.query_all(Query::partition(table, "mix")).await.unwrap();
        assert_eq!(found, [item(&Key::new(table, "mix", "same"), 1, &format!("{table:?} mix"))]);
    }
}

/// A put without a condition replaces body, version and expiry.
pub async fn an_unconditional_put_replaces<S: Store>(store: &S) {
    let key = key("replace", "s");
    let first = Item { expires_at: Some(Timestamp::from_millis(4_102_444_800_000)), ..item(&key, 7, "old") };
    store.write(Write::Put(first, Condition::Always)).await.unwrap();
    let second = Item { body: Body::Bytes(vec![1]), ..item(&key, 2, "") };
    store.write(Write::Put(second.clone(), Condition::Always)).await.unwrap();
    assert_eq!(read(store, &key).await, Some(second));
}

/// `Absent` holds once, and again after a removal.
pub async fn an_item_that_must_be_absent_is_written_once<S: Store>(store: &S) {
    let key = key("absent", "s");
    store.write(Write::Put(item(&key, 1, "first"), Condition::Absent)).await.unwrap();
    assert_conflict(store.write(Write::Put(item(&key, 1, "second"), Condition::Absent)).await, &key);
    assert_eq!(read(store, &key).await, Some(item(&key, 1, "first")));
    store.write(Write::Delete(key.clone(), Condition::Always)).await.unwrap();
    store.write(Write::Put(item(&key, 1, "third"), Condition::Absent)).await.unwrap();
    assert_eq!(read(store, &key).await, Some(item(&key, 1, "third")));
}

/// `Version` holds for the version that is there and for no other, nor for an item that is not there.
pub async fn a_version_that_was_read_is_written_once<S: Store>(store: &S) {
    let key = key("version", "s");
    assert_conflict(store.write(put(&key, 2, Condition::Version(1))).await, &key);
    store.write(put(&key, 1, Condition::Absent)).await.unwrap();
    store.write(put(&key, 2, Condition::Version(1))).await.unwrap();
    assert_conflict(store.write(Write::Put(item(&key, 2, "late"), Condition::Version(1))).await, &key);
    assert_conflict(store.write(Write::Put(item(&key, 4, "early"), Condition::Version(3))).await, &key);
    assert_eq!(read(store, &key).await, Some(item(&key, 2, "{}")));
}

/// A removal happens on its condition.
pub async fn a_delete_obeys_its_condition<S: Store>(store: &S) {
    let key = key("delete", "s");
    assert_conflict(store.write(Write::Delete(key.clone(), Condition::Version(1))).await, &key);
    store.write(put(&key, 5, Condition::Absent)).await.unwrap();
    assert_conflict(store.write(Write::Delete(key.clone(), Condition::Version(4))).await, &key);
    assert!(read(store, &key).await.is_some());
    store.write(Write::Delete(key.clone(), Condition::Version(5))).await.unwrap();
    assert_eq!(read(store, &key).await, None);
}

/// A check alone tells whether its condition holds.
pub async fn a_lone_check_writes_nothing<S: Store>(store: &S) {
    let key = key("check", "s");
    store.write(Write::Check(key.clone(), Condition::Absent)).await.unwrap();
    assert_eq!(read(store, &key).await, None);
    assert_conflict(store.write(Write::Check(key.clone(), Condition::Version(1))).await, &key);
    store.write(put(&key, 1, Condition::Absent)).await.unwrap();
    store.write(Write::Check(key.clone(), Condition::Version(1))).await.unwrap();
    store.write(Write::Check(key.clone(), Condition::Always)).await.unwrap();
    assert_conflict(store.write(Write::Check(key.clone(), Condition::Absent)).await, &key);
    assert_conflict(store.transact(vec![Write::Check(key.clone(), Condition::Absent)]).await, &key);
    assert_eq!(read(store, &key).await, Some(item(&key, 1, "{}")));
}

/// Puts, removals and checks over several tables happen together.
pub async fn a_transaction_happens_wholly<S: Store>(store: &S) {
    let moved = key("whole", "from");
    let there = Key::new(Table::Deliveries, "whole", "to");
    let held = Key::new(Table::Config, "whole", "held");
    store.write(put(&moved, 3, Condition::Absent)).await.unwrap();
    store.write(put(&held, 1, Condition::Absent)).await.unwrap();
    let writes = vec![
        Write::Delete(moved.clone(), Condition::Version(3)),
        put(&there, 4, Condition::Absent),
        Write::Check(held.clone(), Condition::Version(1)),
        put(&key("whole", "free"), 9, Condition::Always),
    ];
    store.transact(writes).await.unwrap();
    assert_eq!(read(store, &moved).await, None);
    assert_eq!(read(store, &there).await.map(|item| item.version), Some(4));
    assert_eq!(read(store, &held).await.map(|item| item.version), Some(1));
    assert_eq!(read(store, &key("whole", "free")).await.map(|item| item.version), Some(9));
}

/// One failed condition keeps everything as it was.
pub async fn a_transaction_happens_not_at_all<S: Store>(store: &S) {
    let (old, new, wrong) = (key("none", "old"), key("none", "new"), key("none", "wrong"));
    store.write(put(&old, 1, Condition::Absent)).await.unwrap();
    store.write(put(&wrong, 2, Condition::Absent)).await.unwrap();
    let writes =
        vec![put(&new, 1, Condition::Absent), Write::Delete(old.clone(), Condition::Always), put(&wrong, 2, Condition::Version(1))];
    assert_conflict(store.transact(writes).await, &wrong);
    assert_eq!(read(store, &new).await, None);
    assert!(read(store, &old).await.is_some());
    assert_eq!(read(store, &wrong).await.map(|item| item.version), Some(2));
}

/// The conflict names the first item whose condition failed.
pub async fn a_transaction_names_the_first_item_that_failed<S: Store>(store: &S) {
    let keys: Vec<Key> = ["a", "b", "c"].iter().map(|sk| key("first", sk)).collect();
    store.write(put(&keys[1], 1, Condition::Absent)).await.unwrap();
    store.write(put(&keys[2], 1, Condition::Absent)).await.unwrap();
    let writes = keys.iter().map(|key| put(key, 1, Condition::Absent)).collect();
    assert_conflict(store.transact(writes).await, &keys[1]);
}

/// A check is a condition on an item that is not written.
pub async fn a_check_holds_a_transaction_back<S: Store>(store: &S) {
    let (seen, new) = (key("held", "seen"), key("held", "new"));
    store.write(put(&seen, 2, Condition::Absent)).await.unwrap();
    let attempt = |version| vec![Write::Check(seen.clone(), Condition::Version(version)), put(&new, 1, Condition::Absent)];
    assert_conflict(store.transact(attempt(1)).await, &seen);
    assert_eq!(read(store, &new).await, None);
    store.transact(attempt(2)).await.unwrap();
    assert!(read(store, &new).await.is_some());
}

/// Which of two writes to one item would win is undefined, so neither happens.
pub async fn a_transaction_that_names_an_item_twice_is_refused<S: Store>(store: &S) {
    let twice = key("twice", "s");
    let writes = vec![Write::Check(twice.clone(), Condition::Absent), put(&twice, 1, Condition::Always)];
    let refused = store.transact(writes).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert_eq!(read(store, &twice).await, None);
}

/// A hundred writes fit, one more does not.
pub async fn a_transaction_holds_a_hundred_writes_and_no_more<S: Store>(store: &S) {
    let writes = |pk: &str, count: usize| (0..count).map(|n| put(&key(pk, &format!("{n:03}")), 1, Condition::Absent)).collect();
    store.transact(writes("hundred", 100)).await.unwrap();
    assert_eq!(store.query_all(partition("hundred")).await.unwrap().len(), 100);
    let refused = store.transact(writes("hundred and one", 101)).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert!(store.query_all(partition("hundred and one")).await.unwrap().is_empty());
}

/// Nothing to do is nothing wrong.
pub async fn an_empty_transaction_succeeds<S: Store>(store: &S) {
    store.transact(Vec::new()).await.unwrap();
}

/// Order is that of UTF-8 bytes: not of a language, and not of UTF-16, which puts `U+1F30D` before `U+FB01`.
pub async fn sort_keys_are_ordered_by_their_bytes<S: Store>(store: &S) {
    let ordered = ["!", "#1", "-", "0", "10", "2", "A", "B", "Z", "_", "a", "a#", "a#1", "a0", "aa", "b", "~", "é", "ﬁ", "🌍"];
    let mut shuffled = ordered;
    shuffled.reverse();
    shuffled.swap(3, 11);
    shuffled.swap(0, 7);
    fill(store, "order", &shuffled).await;
    assert_eq!(sort_keys(store, partition("order")).await, ordered);
    let mut backwards = sort_keys(store, partition("order").descending()).await;
    backwards.reverse();
    assert_eq!(backwards, ordered);
}

/// Both bounds belong to the range; an empty bound is no bound.
pub async fn a_range_includes_both_ends<S: Store>(store: &S) {
    fill(store, "range", &["a", "b", "c", "d"]).await;
    assert_eq!(sort_keys(store, partition("range").between("b", "c")).await, ["b", "c"]);
    assert_eq!(sort_keys(store, partition("range").between("b", "c").descending()).await, ["c", "b"]);
    assert_eq!(sort_keys(store, partition("range").between("b", "")).await, ["b", "c", "d"]);
    assert_eq!(sort_keys(store, partition("range").between("", "c")).await, ["a", "b", "c"]);
    assert_eq!(sort_keys(store, partition("range").between("aa", "bb")).await, ["b"]);
    assert_eq!(sort_keys(store, partition("range").between("c", "c")).await, ["c"]);
}

/// An impossible range is not an error.
pub async fn a_range_that_ends_before_it_begins_is_empty<S: Store>(store: &S) {
    fill(store, "impossible", &["a", "b", "c"]).await;
    assert!(sort_keys(store, partition("impossible").between("c", "a")).await.is_empty());
    assert!(sort_keys(store, partition("impossible").between("c", "a").descending()).await.is_empty());
}

/// A prefix selects exactly the keys that begin with it.
pub async fn a_prefix_selects_what_begins_with_it<S: Store>(store: &S) {
    fill(store, "prefix", &["P", "P#", "P#1", "P#9~", "P#🌍", "P$", "Q#1"]).await;
    assert_eq!(sort_keys(store, partition("prefix").prefix("P#")).await, ["P#", "P#1", "P#9~", "P#🌍"]);
    assert!(sort_keys(store, partition("prefix").prefix("R#")).await.is_empty());
}

/// Small pages, forwards and backwards, add up to the whole.
pub async fn pages_cut_by_a_limit_hold_everything_once<S: Store>(store: &S) {
    let all: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    fill(store, "limit", &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let page = store.query(&partition("limit").limit(3)).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.key.sk.as_str()).collect::<Vec<_>>(), ["00", "01", "02"]);
    assert_eq!(page.next.as_deref(), Some("02"));
    let page = store.query(&partition("limit").descending().limit(3)).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("17"));
    for limit in [1, 3, 7, 20, 21] {
        assert_eq!(sort_keys(store, partition("limit").limit(limit)).await, all);
        let mut backwards = sort_keys(store, partition("limit").limit(limit).descending()).await;
        backwards.reverse();
        assert_eq!(backwards, all);
        assert_eq!(sort_keys(store, partition("limit").limit(limit).between("05", "11")).await, all[5..=11]);
    }
    let page = store.query(&partition("limit").limit(100)).await.unwrap();
    assert_eq!((page.items.len(), page.next), (20, None));
}

/// A partition larger than a page of 1 MB is read whole.
pub async fn pages_cut_by_size_hold_everything_once<S: Store>(store: &S) {
    let body = |n: u8| Body::Bytes(vec![n; 150_000]);
    for n in 0..20_u8 {
        let key = key("size", &format!("{n:02}"));
        let item = Item { key, version: 1, body: body(n), expires_at: None };
        store.write(Write::Put(item, Condition::Absent)).await.unwrap();
    }
    let items = store.query_all(partition("size")).await.unwrap();
    assert_eq!(items.len(), 20);
    for (n, item) in (0..).zip(&items) {
        assert_eq!((item.key.sk.as_str(), &item.body), (format!("{n:02}").as_str(), &body(n)));
    }
    let keys: Vec<Key> = items.iter().map(|item| item.key.clone()).collect();
    assert_eq!(store.read_many(&keys, Consistency::Strong).await.unwrap().len(), 20);
}

/// The key of a cursor need not exist any more.
pub async fn a_query_continues_after_a_key_that_is_gone<S: Store>(store: &S) {
    fill(store, "cursor", &["a", "c", "e", "g"]).await;
    let after = |cursor: &str| partition("cursor").after(Some(cursor.to_owned()));
    assert_eq!(sort_keys(store, after("c")).await, ["e", "g"]);
    assert_eq!(sort_keys(store, after("d")).await, ["e", "g"]);
    assert_eq!(sort_keys(store, after("e").descending()).await, ["c", "a"]);
    assert_eq!(sort_keys(store, after("d").descending()).await, ["c", "a"]);
    assert!(sort_keys(store, after("g")).await.is_empty());
    assert!(sort_keys(store, after("a").descending()).await.is_empty());
}

/// A cursor narrows the range and never widens it.
pub async fn a_cursor_outside_the_range_does_not_widen_it<S: Store>(store: &S) {
    fill(store, "outside", &["a", "b", "c", "d", "e", "f"]).await;
    let after = |cursor: &str| partition("outside").between("c", "d").after(Some(cursor.to_owned()));
    assert_eq!(sort_keys(store, after("a")).await, ["c", "d"]);
    assert_eq!(sort_keys(store, after("c")).await, ["d"]);
    assert!(sort_keys(store, after("d")).await.is_empty());
    assert!(sort_keys(store, after("f")).await.is_empty());
    assert_eq!(sort_keys(store, after("f").descending()).await, ["d", "c"]);
    assert_eq!(sort_keys(store, after("d").descending()).await, ["c"]);
    assert!(sort_keys(store, after("c").descending()).await.is_empty());
    assert!(sort_keys(store, after("a").descending()).await.is_empty());
}

/// Any number of keys, some named twice, some of which are not there, of several tables.
pub async fn many_items_are_read_by_key<S: Store>(store: &S) {
    let table = |n: usize| if n.is_multiple_of(2) { Table::Accounts } else { Table::Events };
    let wanted: Vec<Key> = (0..250).map(|n| Key::new(table(n), format!("many {}", n % 7), format!("{n:03}"))).collect();
    let there = |n: &usize| n % 10 != 3;
    let written: Vec<&Key> = (0..250).filter(there).map(|n| &wanted[n]).collect();
    for chunk in written.chunks(100) {
        store.transact(chunk.iter().map(|key| put(key, 1, Condition::Absent)).collect()).await.unwrap();
    }
    let named: Vec<Key> = wanted.iter().chain(&wanted[..30]).cloned().collect();
    for consistency in [Consistency::Strong, Consistency::Eventual] {
        let found = store.read_many(&named, consistency).await.unwrap();
        assert_eq!(found.len(), 225);
        let found: BTreeSet<&Key> = found.iter().map(|item| &item.key).collect();
        assert_eq!(found, written.iter().copied().collect());
    }
}

/// Every page of every segment of a table, segment after segment; only what lies in partitions of this name.
async fn scanned<S: Store>(store: &S, name: &str, of: u32, limit: usize) -> Vec<Vec<Item>> {
    let mut segments = Vec::new();
    for segment in 0..of {
        let mut scan = Scan::segment(Table::Deliveries, segment, of).limit(limit);
        let mut items = Vec::new();
        loop {
            let page = store.scan(&scan).await.unwrap();
            assert!(limit == 0 || page.items.len() <= limit, "{} items in a page of {limit}", page.items.len());
            items.extend(page.items.into_iter().filter(|item| item.key.pk.starts_with(name)));
            match page.next {
                Some(next) => scan.after = Some(next),
                None => break,
            }
        }
        segments.push(items);
    }
    segments
}

/// Sixty items in twelve partitions, whose sort keys are in order.
async fn fill_table<S: Store>(store: &S, name: &str) -> BTreeSet<Key> {
    let key = |n: usize| Key::new(Table::Deliveries, format!("{name} {}", n % 12), format!("{:02}", n / 12));
    let keys: BTreeSet<Key> = (0..60).map(key).collect();
    for key in &keys {
        store.write(put(key, 1, Condition::Absent)).await.unwrap();
    }
    // Another table has no part in it.
    fill(store, &format!("{name} 1"), &["00", "other"]).await;
    keys
}

/// However it is cut into segments and pages, a scan of a table at rest answers each item exactly once, as it was written.
pub async fn a_scan_reads_a_whole_table_once<S: Store>(store: &S) {
    let written = fill_table(store, "whole table").await;
    for (of, limit) in [(1, 0), (1, 1), (1, 7), (3, 0), (4, 2), (16, 5), (64, 3)] {
        let items: Vec<Item> = scanned(store, "whole table", of, limit).await.into_iter().flatten().collect();
        assert_eq!(items.len(), written.len(), "{of} segments in pages of {limit}");
        let keys: BTreeSet<Key> = items.iter().map(|item| item.key.clone()).collect();
        assert_eq!(keys, written);
        assert!(items.iter().all(|found| *found == item(&found.key, 1, "{}")));
    }
}

/// A reader can take a partition's items one after the other, in order, from one segment alone.
pub async fn a_partition_lies_in_one_segment_and_stands_together<S: Store>(store: &S) {
    fill_table(store, "together").await;
    for limit in [0, 3] {
        let segments = scanned(store, "together", 4, limit).await;
        assert!(segments.iter().filter(|items| !items.is_empty()).count() > 1, "everything lies in one segment");
        let mut ended = BTreeSet::new();
        for items in segments {
            for partition in items.chunk_by(|a, b| a.key.pk == b.key.pk) {
                assert!(ended.insert(partition[0].key.pk.clone()), "`{}` stands in several places", partition[0].key.pk);
                let found: Vec<&str> = partition.iter().map(|item| item.key.sk.as_str()).collect();
                assert_eq!(found, ["00", "01", "02", "03", "04"]);
            }
        }
        assert_eq!(ended.len(), 12);
    }
}

/// The item of a cursor may be removed while the scan goes on.
pub async fn a_scan_continues_after_an_item_that_is_gone<S: Store>(store: &S) {
    let written = fill_table(store, "scan cursor").await;
    let mut seen: Vec<Key> = Vec::new();
    let mut scan = Scan::segment(Table::Deliveries, 0, 1).limit(7);
    loop {
        let page = store.scan(&scan).await.unwrap();
        seen.extend(page.items.into_iter().map(|item| item.key).filter(|key| key.pk.starts_with("scan cursor")));
        let Some(next) = page.next else { break };
        if next.pk.starts_with("scan cursor") {
            store.write(Write::Delete(next.clone(), Condition::Always)).await.unwrap();
        }
        scan.after = Some(next);
    }
    assert_eq!((seen.len(), seen.into_iter().collect::<BTreeSet<_>>()), (60, written));
}

/// Segments are counted from 0.
pub async fn a_segment_that_does_not_exist_is_refused<S: Store>(store: &S) {
    for (segment, of) in [(4, 4), (0, 0)] {
        let refused = store.scan(&Scan::segment(Table::Deliveries, segment, of)).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }
}

/// Of writers that expect the same version, exactly one succeeds and the others hear of a conflict.
pub async fn one_of_many_conditional_writers_wins<S: Store>(store: &S) {
    let contested = key("race", "s");
    let absent = join_all((0..16).map(|n| store.write(Write::Put(item(&contested, 1, &n.to_string()), Condition::Absent)))).await;
    let winner = winner(absent, &contested);
    assert_eq!(read(store, &contested).await, Some(item(&contested, 1, &winner.to_string())));
    let next = join_all((0..16).map(|n| store.write(Write::Put(item(&contested, 2, &n.to_string()), Condition::Version(1))))).await;
    let winner = self::winner(next, &contested);
    assert_eq!(read(store, &contested).await, Some(item(&contested, 2, &winner.to_string())));
}

fn winner(results: Vec<Result<(), StoreError>>, contested: &Key) -> usize {
    let winners: Vec<usize> = results.iter().enumerate().filter(|(_, result)| result.is_ok()).map(|(n, _)| n).collect();
    for result in results.into_iter().filter(Result::is_err) {
        assert_conflict(result, contested);
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners[0]
}

/// Eight workers that read, add and write back on the version read count to eighty.
pub async fn no_write_is_lost_between_readers_that_write_back<S: Store>(store: &S) {
    let counter = key("count", "s");
    store.write(Write::Put(item(&counter, 1, "0"), Condition::Absent)).await.unwrap();
    join_all((0..8).map(|_| async {
        for _ in 0..10 {
            loop {
                let Some(Item { version, body: Body::Text(text), .. }) = read(store, &counter).await else {
                    panic!("the counter is gone");
                };
                let next = text.parse::<u64>().unwrap() + 1;
                let next = item(&counter, version + 1, &next.to_string());
                match store.write(Write::Put(next, Condition::Version(version))).await {
                    Ok(()) => break,
                    Err(StoreError::Conflict { .. } | StoreError::Busy { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }))
    .await;
    assert_eq!(read(store, &counter).await, Some(item(&counter, 81, "80")));
}

/// Transactions over the same items exclude each other, and what is left is of one of them.
pub async fn one_of_many_transactions_over_the_same_items_wins<S: Store>(store: &S) {
    let (one, two) = (key("both", "1"), Key::new(Table::Config, "both", "2"));
    let attempt = |n: usize| {
        let write = |key: &Key| Write::Put(item(key, 1, &n.to_string()), Condition::Absent);
        // Half of them name the items in the other order.
        if n.is_multiple_of(2) { vec![write(&one), write(&two)] } else { vec![write(&two), write(&one)] }
    };
    let results = join_all((0..8).map(|n| store.transact(attempt(n)))).await;
    for result in &results {
        assert!(matches!(result, Ok(()) | Err(StoreError::Conflict { .. } | StoreError::Busy { .. })), "{result:?}");
    }
    let winners: Vec<usize> = results.iter().enumerate().filter(|(_, result)| result.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let won = winners[0].to_string();
    assert_eq!(read(store, &one).await, Some(item(&one, 1, &won)));
    assert_eq!(read(store, &two).await, Some(item(&two, 1, &won)));
}

#[cfg(test)]
mod tests {
    /// A clause that is not listed would be run by nobody.
    #[test]
    fn every_clause_is_listed() {
        let begun = include_str!("store.rs").lines().filter_map(|line| line.strip_prefix("pub async fn "));
        let written: Vec<&str> = begun.filter_map(|rest| rest.split('<').next()).collect();
        assert_eq!(written, super::CLAUSES);
    }
}
