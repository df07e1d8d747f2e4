//! What both witnesses need: where they are, tables of one's own, and the certainty that no clause was forgotten.

use aws::{AwsClients, DynamoStore};
use harpoon_tests::contracts::{queue, store};
use pipeline::environment::Environment;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

/// The address in this environment variable, such as `http://127.0.0.1:5000`.
pub fn endpoint(variable: &str) -> String {
    let endpoint = Environment::of_process().optional(variable);
    endpoint.unwrap_or_else(|| panic!("`{variable}` must hold the address of a running witness; `make cloud` starts one and sets it"))
}

/// A name that nobody else uses.
pub fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("witness-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A store with tables of its own.
pub async fn store_at(variable: &str) -> (DynamoStore, ()) {
    let store = AwsClients::at(&endpoint(variable)).store(&format!("{}-", name()));
    store.create_tables().await.unwrap();
    (store, ())
}

/// Every clause is run, or is one of the differences, which are pairs of a clause and its reason.
pub fn assert_every_clause_has_its_place(run: &[&str], differences: &[(&str, &str)]) {
    let known = differences.iter().map(|(clause, _)| *clause);
    let told: Vec<&str> = run.iter().copied().chain(known).collect();
    let placed: BTreeSet<&str> = told.iter().copied().collect();
    let all: BTreeSet<&str> = store::CLAUSES.iter().chain(queue::CLAUSES).copied().collect();
    let odd: Vec<_> = all.symmetric_difference(&placed).collect();
    assert!(odd.is_empty(), "neither run nor a known difference, or no clauses: {odd:?}");
    assert_eq!(told.len(), all.len(), "a clause is named twice");
    assert!(differences.iter().all(|(_, reason)| !reason.is_empty()), "a difference has no reason");
}

/// Runs the named clauses of both contracts, each as a test of its own, on the witness whose address is in the variable.
macro_rules! contracts {
    ($variable:expr, differences: $differences:expr, store: [$($store:ident),+ $(,)?], queue: [$($queue:ident),+ $(,)?]) => {
        mod keeps_the_store_contract {
            harpoon_tests::store_contract!($crate::witness::store_at($variable); $($store),+);
        }

        mod keeps_the_queue_contract {
            $(
                #[tokio::test]
                async fn $queue() {
                    $crate::queue::$queue(&$crate::queue::Queue::at($variable).await).await;
                }
            )+
        }

        #[test]
        fn every_clause_is_run_or_a_known_difference() {
            $crate::witness::assert_every_clause_has_its_place(&[$(stringify!($store),)+ $(stringify!($queue)),+], $differences);
        }
    };
}

pub(crate) use contracts;
