//! The clauses of the queue port: what every queue owes a sender. How messages come back is up to the adapter, so each clause
//! is given a way to receive everything that waits.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are the bodies of tests: what they find wrong must end them")]

use domain::{AccountId, Home, WorkspaceId};
use futures::future::join_all;
use pipeline::{AccountScored, Queue, QueueError};
use std::collections::BTreeMap;

/// The names of all clauses, so that whoever runs a part of them can tell that none was forgotten.
pub const CLAUSES: &[&str] =
    crate::clause_names!(everything_sent_is_delivered, concurrent_senders_lose_nothing, an_oversize_message_is_refused);

/// A message about this account.
pub fn message(account: &str) -> AccountScored {
    AccountScored { workspace: WorkspaceId::new("main").unwrap(), homes: vec![Home::Account(AccountId::new(account).unwrap())] }
}

fn counted(messages: Vec<AccountScored>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for message in messages {
        for home in message.homes {
            *counts.entry(home.to_string()).or_default() += 1;
        }
    }
    counts
}

/// Everything is delivered as it was sent, whatever the size of the batch.
pub async fn everything_sent_is_delivered<Q, R>(queue: &Q, receive: R)
where
    Q: Queue<AccountScored>,
    R: AsyncFn() -> Vec<AccountScored>,
{
    queue.send(Vec::new()).await.unwrap();
    assert!(receive().await.is_empty());
    let sent: Vec<AccountScored> = (0..25).map(|n| message(&format!("account-{n}"))).collect();
    queue.send(sent[..1].to_vec()).await.unwrap();
    queue.send(sent[1..].to_vec()).await.unwrap();
    assert_eq!(counted(receive().await), counted(sent));
}

/// Sixty-four senders at a time lose and double nothing.
pub async fn concurrent_senders_lose_nothing<Q, R>(queue: &Q, receive: R)
where
    Q: Queue<AccountScored>,
    R: AsyncFn() -> Vec<AccountScored>,
{
    join_all((0..64).map(|sender| async move {
        for n in 0..20 {
            queue.send(vec![message(&format!("sender-{sender}-{n}")), message(&format!("sender-{sender}-{n}-b"))]).await.unwrap();
        }
    }))
    .await;
    let counts = counted(receive().await);
    assert_eq!(counts.len(), 64 * 20 * 2);
    assert!(counts.values().all(|count| *count == 1));
}

/// A message of more than 64 KB is refused with its size, and nothing of its batch needs to be received.
pub async fn an_oversize_message_is_refused<Q: Queue<AccountScored>>(queue: &Q) {
    let mut large = message("x");
    large.homes = (0..2_000).map(|n| Home::Account(AccountId::new(&format!("account-of-a-long-name-{n:06}")).unwrap())).collect();
    let refused = queue.send(vec![large]).await;
    assert!(matches!(&refused, Err(QueueError::Refused { reason }) if reason.contains("at most 65536 fit")), "{refused:?}");
}

#[cfg(test)]
mod tests {
    /// A clause that is not listed would be missed by nobody.
    #[test]
    fn every_clause_is_listed() {
        let begun = include_str!("queue.rs").lines().filter_map(|line| line.strip_prefix("pub async fn "));
        let written: Vec<&str> = begun.filter_map(|rest| rest.split('<').next()).collect();
        assert_eq!(written, super::CLAUSES);
    }
}
