//! Due deliveries: rescore asks for what is due and sends it to dispatch, which moves or removes the due item.

use super::{
    Deliveries, DeliveryId,
    delivery::{parse_sort_key, shard_of},
};
use crate::{
    records,
    store::{Condition, Item, Key, Query, Store, StoreError, Table, Write},
};
use domain::{Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};

/// A delivery whose moment has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// Whose delivery.
    pub workspace: WorkspaceId,
    /// The delivery's sort key, as in a `DeliveriesDue` message.
    pub delivery: String,
    /// Since when it is due.
    pub at: Timestamp,
    key: Key,
    version: u64,
}

/// The body of a due item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueDeliveryRecord {
    /// It was enqueued, and is not enqueued again before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<Timestamp>,
}

pub(super) fn partition(shard: u64) -> String {
    format!("DUE#{shard:02}")
}

/// The due item of a delivery. Its moment can be read off the delivery, so that both are always written together.
pub(super) fn due_key(workspace: &WorkspaceId, id: &DeliveryId, sort_key: &str, at: Timestamp) -> Key {
    Key::new(Table::Deliveries, partition(shard_of(id)), format!("{:015}#{workspace}#{sort_key}", at.millis().max(0)))
}

pub(super) fn due_item(key: Key) -> Result<Item, StoreError> {
    let body = records::text(&key, &DueDeliveryRecord::default())?;
    Ok(Item { key, version: 1, body, expires_at: None })
}

fn parse(item: &Item) -> Option<DueDelivery> {
    let (moment, rest) = item.key.sk.split_once('#')?;
    let (workspace, delivery) = rest.split_once('#')?;
    parse_sort_key(delivery)?;
    Some(DueDelivery {
        workspace: WorkspaceId::new(workspace).ok()?,
        delivery: delivery.to_owned(),
        at: Timestamp::from_millis(moment.parse().ok()?),
        key: item.key.clone(),
        version: item.version,
    })
}

fn no_due_item(item: &Item) -> StoreError {
    StoreError::Corrupt { key: Box::new(item.key.clone()), what: "due delivery", source: "the sort key has another form".into() }
}

impl<S: Store> Deliveries<S> {
    /// Up to `limit` deliveries of one shard (of [`SHARDS`](crate::records::SHARDS)) that are due at `now` and not enqueued already,
    /// the longest due first, of all workspaces.
    pub async fn due_deliveries(&self, shard: u64, now: Timestamp, limit: usize) -> Result<Vec<DueDelivery>, StoreError> {
        let mut query = Query::partition(Table::Deliveries, partition(shard))
            .between(String::new(), format!("{:015}#\u{10FFFF}", now.millis().max(0)))
            .limit(limit.clamp(1, 500));
        let mut due = Vec::new();
        loop {
            let page = self.store.query(&query).await?;
            for item in &page.items {
                let record: DueDeliveryRecord = records::from_item(item)?;
                if record.leased_until.is_none_or(|until| until <= now) {
                    due.push(parse(item).ok_or_else(|| no_due_item(item))?);
                }
                if due.len() >= limit {
                    return Ok(due);
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(due),
            }
        }
    }

    /// Holds a due delivery back until `until` because it was enqueued. `false` when somebody else did, or dispatch has dealt with it.
    pub async fn lease_due(&self, due: &DueDelivery, until: Timestamp) -> Result<bool, StoreError> {
        let body = records::text(&due.key, &DueDeliveryRecord { leased_until: Some(until) })?;
        let item = Item { key: due.key.clone(), version: due.version.saturating_add(1), body, expires_at: None };
        match self.store.write(Write::Put(item, Condition::Version(due.version))).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes every due item up to `now` of a delivery that is not there any more. Answers how many there were.
    pub async fn remove_orphan_due(&self, workspace: &WorkspaceId, sort_key: &str, now: Timestamp) -> Result<usize, StoreError> {
        let Some((_, id)) = parse_sort_key(sort_key) else {
            return Ok(0);
        };
        let query = Query::partition(Table::Deliveries, partition(shard_of(&id)))
            .between(String::new(), format!("{:015}#\u{10FFFF}", now.millis().max(0)));
        let mut removed = 0;
        for item in self.store.query_all(query).await? {
            if parse(&item).is_some_and(|due| due.workspace == *workspace && due.delivery == sort_key) {
                self.store.write(Write::Delete(item.key, Condition::Always)).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
