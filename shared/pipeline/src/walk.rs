//! Going through every home of a workspace, page by page, in an order that can be taken up again.

use crate::{
    jobs::Cursor,
    records::{SHARDS, from_item, standing_key, standing_partition},
    store::{Item, Query, Store, StoreError, Table},
};
use domain::{AccountId, Home, WorkspaceId};
use serde::Deserialize;

/// What of a standing a walk reads: the rest of it is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StandingHead {
    /// The version of the model by which levels were last assigned.
    #[serde(default)]
    model: u64,
    /// The version of the model by which the home was scored, when it is an older one.
    #[serde(default)]
    scored_by: Option<u64>,
    /// Digest of what its scores were computed from.
    pub inputs: u64,
    /// The account that this home was absorbed into.
    #[serde(default)]
    pub merged_into: Option<AccountId>,
}

impl StandingHead {
    /// As [`Standing::scored_under`](crate::records::Standing::scored_under).
    pub fn scored_under(&self) -> u64 {
        self.scored_by.unwrap_or(self.model)
    }
}

/// A page of homes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Walked {
    /// The homes, in the order of the walk; absorbed ones too.
    pub homes: Vec<(Home, StandingHead)>,
    /// Where the walk goes on; [`Cursor::End`] when all homes were seen.
    pub next: Cursor,
}

/// Partitions that are read for one page, so that few homes need few pages.
const PARTITIONS: u64 = 2 * SHARDS;

/// Reads one page of at most `limit` homes, strongly consistent: first all accounts, then all unresolved leads. A page may hold less and yet not be
/// the last. A home that is there during the whole walk is met exactly once; one that is made meanwhile may be missed.
pub async fn page<S: Store>(store: &S, workspace: &WorkspaceId, cursor: &Cursor, limit: usize) -> Result<Walked, StoreError> {
    let mut walked = Walked { homes: Vec::new(), next: cursor.clone() };
    for _ in 0..PARTITIONS {
        let (leads, shard, after) = match &walked.next {
            Cursor::Start | Cursor::Until { .. } => (false, 0, None),
            Cursor::Standings { leads, shard, after } => (*leads, *shard, after.clone()),
            Cursor::End => break,
        };
        let room = limit.max(1).saturating_sub(walked.homes.len());
        if room == 0 {
            break;
        }
        let query = Query::partition(Table::Accounts, standing_partition(workspace, leads, shard)).limit(room).after(after);
        let page = store.query(&query).await?;
        for item in &page.items {
            walked.homes.push((read_home(item)?, from_item(item)?));
        }
        walked.next = match page.next {
            Some(after) => Cursor::Standings { leads, shard, after: Some(after) },
            None if shard.saturating_add(1) < SHARDS => Cursor::Standings { leads, shard: shard.saturating_add(1), after: None },
            None if !leads => Cursor::Standings { leads: true, shard: 0, after: None },
            None => Cursor::End,
        };
    }
    Ok(walked)
}

fn read_home(item: &Item) -> Result<Home, StoreError> {
    let corrupt = |e| StoreError::Corrupt { key: Box::new(item.key.clone()), what: "standing", source: Box::new(e) };
    Home::try_from(item.key.sk.clone()).map_err(corrupt)
}

/// The place in a walk just after a home, for who stops in the middle of a page.
pub fn after(workspace: &WorkspaceId, home: &Home) -> Cursor {
    let key = standing_key(workspace, home);
    let leads = home.account().is_none();
    let shard = (0..SHARDS).find(|shard| standing_partition(workspace, leads, *shard) == key.pk).unwrap_or_default();
    Cursor::Standings { leads, shard, after: Some(key.sk) }
}

/// How many percent of a walk lie before a place, by the partitions that were read to their end.
pub fn percent(cursor: &Cursor) -> u64 {
    match cursor {
        Cursor::Start | Cursor::Until { .. } => 0,
        Cursor::Standings { leads, shard, .. } => (u64::from(*leads) * SHARDS + shard) * 100 / (2 * SHARDS),
        Cursor::End => 100,
    }
}
