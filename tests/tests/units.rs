//! What a request is billed: ten shapes of items by hand, against the embedded DynamoDB and against the arithmetic of the cost meter.
//!
//! The judge is DynamoDB's developer guide: "DynamoDB item sizes and formats" (an item is as large as the UTF-8 bytes of its attributes' names and
//! values; a number takes one byte for every two significant digits, and one more) and "DynamoDB read and write operations" (a write unit for
//! every started KB of the larger of the item before and after, a strong read unit for every started 4 KB, half of that for an
//! eventual read, a query by the sum of its items, a batch read item by item, transactions twice).
//!
//! Known differences between the two counts, each with its reason:
//! * A failed condition and a cancelled transaction: DynamoDB bills the write, but its error reports no capacity, and so does the embedded store. The
//!   arithmetic counts them, and the cost table uses the arithmetic.
//! * Eventual reads: the embedded store reads what was written last in any case, and reports half a unit as DynamoDB does. No difference in units.

use harpoon::{
    cost::{
        counted::{Counted, Pace},
        ledger::Ledger,
        units::item_bytes,
    },
    store::EmbeddedStore,
};
use pipeline::{Body, Condition, Consistency, Item, Key, Query, Store, Table, Write};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Both counts of the same requests.
struct Both {
    store: Counted<aws::DynamoStore>,
    ledger: Ledger,
    reported: Arc<Mutex<f64>>,
    _keep: (EmbeddedStore, TempDir),
}

/// What each of the two says about some requests: units that were billed, by arithmetic and as reported.
#[derive(Debug, PartialEq)]
struct Said {
    arithmetic: f64,
    reported: f64,
}

const fn both(units: f64) -> Said {
    Said { arithmetic: units, reported: units }
}

impl Both {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (served, store) = EmbeddedStore::open(&dir.path().join("harpoon.db"), "test-").await.unwrap();
        let (ledger, reported) = (Ledger::default(), Arc::new(Mutex::new(0.0)));
        let told = Arc::clone(&reported);
        let metered = store.clone().metered(Arc::new(move |units| *told.lock().unwrap() += units.units));
        let store = Counted::new(metered, store, "test", ledger.clone(), Pace::Real);
        Self { store, ledger, reported, _keep: (served, dir) }
    }

    /// Forgets what was counted so far.
    fn forget(&self) {
        let _ = self.said();
    }

    /// What was billed since the last time.
    fn said(&self) -> Said {
        let sum = self.ledger.take().store_sum(|_| true);
        Said { arithmetic: sum.write_units + sum.read_units, reported: std::mem::take(&mut *self.reported.lock().unwrap()) }
    }

    async fn put(&self, item: Item) {
        self.store.write(Write::Put(item, Condition::Always)).await.unwrap();
    }
}

fn key(sk: &str) -> Key {
    Key::new(Table::Accounts, "p", sk)
}

/// An item of so many bytes. By hand: `pk` 2 + `p` 1 + `sk` 2 + a sort key of 1 + `v` 1 + the number 1 (2 bytes: one for a pair of digits, one
/// more) + `d` 1 = 10 bytes, and the body is the rest.
fn sized(sk: &str, bytes: usize) -> Item {
    assert_eq!(sk.len(), 1);
    Item { key: key(sk), version: 1, body: Body::Bytes(vec![b'x'; bytes - 10]), expires_at: None }
}

/// Shape 1: items around one KB. 1,023 and 1,024 bytes are one started KB, 1,025 bytes are two.
#[tokio::test]
async fn a_put_is_billed_by_the_started_kilobyte() {
    let counts = Both::new().await;
    for (sk, bytes, units) in [("a", 1_023, 1.0), ("b", 1_024, 1.0), ("c", 1_025, 2.0)] {
        counts.put(sized(sk, bytes)).await;
        assert_eq!(counts.said(), both(units), "{bytes}");
    }
}

/// Shape 2: an item with every attribute. By hand: `pk` 2 + `p#é` 4 (é has two bytes) = 6; `sk` 2 + one letter = 3; `v` 1 + the number
/// 1,234 (two pairs of digits, and one) 3 = 4; `d` 1; `ttl` 3 + the number 1,767,225,600 (its eight significant digits are four pairs, and
/// one) 5 = 8. That is 22 bytes and the body: with 1,002 bytes 1,024 in all, with one more 1,025.
#[tokio::test]
async fn names_values_numbers_and_letters_of_two_bytes_count() {
    let counts = Both::new().await;
    for (body, units) in [(1_002, 1.0), (1_003, 2.0)] {
        let item = Item {
            key: Key::new(Table::Accounts, "p#é", body.to_string().chars().last().unwrap().to_string()),
            version: 1_234,
            body: Body::Text("x".repeat(body)),
            expires_at: Some(domain::Timestamp::from_millis(1_767_225_600_000)),
        };
        assert_eq!(item_bytes(&item), body + 22);
        counts.put(item).await;
        assert_eq!(counts.said(), both(units), "{body}");
    }
}

/// Shape 3: a large item becomes a small one. 3,000 bytes are three started KB; the larger of before and after is billed, so a put of 100 bytes
/// over it is three as well, and the next put of 100 bytes is one.
#[tokio::test]
async fn a_write_is_billed_by_the_larger_of_before_and_after() {
    let counts = Both::new().await;
    counts.put(sized("a", 3_000)).await;
    assert_eq!(counts.said(), both(3.0));
    counts.put(sized("a", 100)).await;
    assert_eq!(counts.said(), both(3.0));
    counts.put(sized("a", 100)).await;
    assert_eq!(counts.said(), both(1.0));
}

/// Shape 4: deletes. What is removed is billed by its size: 2,049 bytes are three started KB. Removing what is not there costs the smallest write.
#[tokio::test]
async fn a_delete_is_billed_by_what_it_removes() {
    let counts = Both::new().await;
    counts.put(sized("a", 2_049)).await;
    counts.forget();
    counts.store.write(Write::Delete(key("a"), Condition::Always)).await.unwrap();
    assert_eq!(counts.said(), both(3.0));
    counts.store.write(Write::Delete(key("a"), Condition::Always)).await.unwrap();
    assert_eq!(counts.said(), both(1.0));
}

/// Shape 5: a failed condition. The item there has 1,500 bytes (two started KB), the new one 100: two units are billed, and the error reports none.
#[tokio::test]
async fn a_failed_condition_is_billed_and_not_reported() {
    let counts = Both::new().await;
    counts.put(sized("a", 1_500)).await;
    counts.forget();
    let failed = counts.store.write(Write::Put(sized("a", 100), Condition::Absent)).await;
    assert!(failed.unwrap_err().is_conflict());
    assert_eq!(counts.said(), Said { arithmetic: 2.0, reported: 0.0 });
}

/// Shape 6: a transaction of two writes. A put of 1,025 bytes is two started KB and a delete of 500 bytes one: three, and twice in a
/// transaction, six.
#[tokio::test]
async fn a_transaction_is_billed_twice() {
    let counts = Both::new().await;
    counts.put(sized("b", 500)).await;
    counts.forget();
    let writes = vec![Write::Put(sized("a", 1_025), Condition::Absent), Write::Delete(key("b"), Condition::Version(1))];
    counts.store.transact(writes).await.unwrap();
    assert_eq!(counts.said(), both(6.0));
}

/// Shape 7: a transaction with a check. A put of 100 bytes is one, a check of an item of 1,025 bytes two: three, twice is six. And one that
/// is cancelled is billed alike, and its error reports nothing.
#[tokio::test]
async fn a_check_in_a_transaction_is_billed_as_a_write() {
    let counts = Both::new().await;
    counts.put(sized("b", 1_025)).await;
    counts.forget();
    let writes = |version| vec![Write::Put(sized("a", 100), Condition::Absent), Write::Check(key("b"), Condition::Version(version))];
    counts.store.transact(writes(1)).await.unwrap();
    assert_eq!(counts.said(), both(6.0));
    assert!(counts.store.transact(writes(1)).await.unwrap_err().is_conflict());
    assert_eq!(counts.said(), Said { arithmetic: 6.0, reported: 0.0 });
}

/// Shape 8: reads of one item. 4,096 bytes are one started 4 KB, 4,097 bytes two; an eventual read is half of that; and reading what is not there is
/// the smallest read.
#[tokio::test]
async fn a_read_is_billed_by_the_started_four_kilobytes() {
    let counts = Both::new().await;
    counts.put(sized("a", 4_096)).await;
    counts.put(sized("b", 4_097)).await;
    counts.forget();
    let expected = [("a", 1.0, 0.5), ("b", 2.0, 1.0), ("z", 1.0, 0.5)];
    for (sk, strong, eventual) in expected {
        counts.store.read(&key(sk), Consistency::Strong).await.unwrap();
        assert_eq!(counts.said(), both(strong), "{sk}");
        counts.store.read(&key(sk), Consistency::Eventual).await.unwrap();
        assert_eq!(counts.said(), both(eventual), "{sk}");
    }
}

/// Shape 9: queries. Six items of 700 bytes are 4,200 bytes: two started 4 KB for a strong query, half of that for an eventual one; five of them are 3,500
/// bytes: one. A query that finds nothing is the smallest read.
#[tokio::test]
async fn a_query_is_billed_by_the_sum_of_its_items() {
    let counts = Both::new().await;
    for sk in ["a", "b", "c", "d", "e", "f"] {
        counts.put(sized(sk, 700)).await;
    }
    counts.forget();
    let all = Query::partition(Table::Accounts, "p");
    let queries = [(all.clone(), 2.0), (all.clone().eventual(), 1.0), (all.clone().between("b", "f"), 1.0), (all.limit(2), 1.0)];
    for (query, units) in queries {
        counts.store.query(&query).await.unwrap();
        assert_eq!(counts.said(), both(units), "{query:?}");
    }
    let nothing = Query::partition(Table::Accounts, "q");
    counts.store.query(&nothing).await.unwrap();
    assert_eq!(counts.said(), both(1.0));
    counts.store.query(&nothing.eventual()).await.unwrap();
    assert_eq!(counts.said(), both(0.5));
}

/// Shape 10: a batch read, as in the guide's own example: items of 1.5 KB and 6.5 KB are 4 KB and 8 KB, three units and not two. A key that is not there
/// is one more, and eventual reads are half.
#[tokio::test]
async fn a_batch_read_is_billed_item_by_item() {
    let counts = Both::new().await;
    counts.put(sized("a", 1_536)).await;
    counts.put(sized("b", 6_656)).await;
    counts.forget();
    let keys = [key("a"), key("b")];
    counts.store.read_many(&keys, Consistency::Strong).await.unwrap();
    assert_eq!(counts.said(), both(3.0));
    counts.store.read_many(&keys, Consistency::Eventual).await.unwrap();
    assert_eq!(counts.said(), both(1.5));
    counts.store.read_many(&[key("a"), key("b"), key("z")], Consistency::Strong).await.unwrap();
    assert_eq!(counts.said(), both(4.0));
}
