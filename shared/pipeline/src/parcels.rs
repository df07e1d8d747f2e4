//! The event log: parcels as they were received, and the message ids that left an identity's window.

use crate::{
    messages::{Parcel, Rejected},
    records::{parcel_key, parcel_partition, rejected_key, segment_key, text},
    store::{Body, Condition, Item, Query, Store, StoreError, Table, Write},
};
use domain::{BatchId, DAY_MS, Event, IdentityId, Timestamp, WorkspaceId, hash64, state::Spilled};

/// How long parcels are kept: 25 months.
pub const PARCEL_LIFE_MS: i64 = 761 * DAY_MS;
/// How long rejected events are kept.
pub const REJECTED_LIFE_MS: i64 = 90 * DAY_MS;

/// Compression of parcels: the library's default trades well between time and size.
const ZSTD_LEVEL: i32 = 3;
/// Message ids in one segment: well below what an item may hold.
const SEGMENT_IDS: usize = 1_000;
/// A parcel that unpacks to more than this was not written by us.
const MAX_UNPACKED: usize = 16 * 1024 * 1024;

/// A parcel as it was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredParcel {
    /// Its batch.
    pub batch: BatchId,
    /// Its events.
    pub events: Vec<Event>,
}

/// The event log over a store.
#[derive(Debug, Clone)]
pub struct Parcels<S> {
    store: S,
}

fn corrupt(item: &Item, what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Corrupt { key: Box::new(item.key.clone()), what, source: source.into() }
}

fn read_parcel(item: &Item) -> Result<StoredParcel, StoreError> {
    let batch = item.key.sk.strip_prefix("P#").unwrap_or_default();
    let batch = BatchId::parse(batch).map_err(|e| corrupt(item, "parcel", e))?;
    let Body::Bytes(packed) = &item.body else {
        return Err(corrupt(item, "parcel", "the body is no bytes"));
    };
    let unpacked = zstd::bulk::decompress(packed, MAX_UNPACKED).map_err(|e| corrupt(item, "parcel", e))?;
    let events = serde_json::from_slice(&unpacked).map_err(|e| corrupt(item, "parcel", e))?;
    Ok(StoredParcel { batch, events })
}

impl<S: Store> Parcels<S> {
    /// Over this store.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// Puts a parcel. One that is there already is the same one: success.
    pub async fn put(&self, workspace: &WorkspaceId, batch: BatchId, parcel: &Parcel) -> Result<(), StoreError> {
        let key = parcel_key(workspace, &parcel.identity.id(), batch);
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Refused { source };
        let plain = serde_json::to_vec(&parcel.events).map_err(|e| refused(Box::new(e)))?;
        let packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|e| refused(Box::new(e)))?;
        let item = Item { key, version: 1, body: Body::Bytes(packed), expires_at: Some(batch.at().plus_millis(PARCEL_LIFE_MS)) };
        match self.store.write(Write::Put(item, Condition::Absent)).await {
            Err(e) if !e.is_conflict() => Err(e),
            _ => Ok(()),
        }
    }

    /// All parcels of an identity that are not past their time, oldest first, strongly consistent.
    pub async fn of(&self, workspace: &WorkspaceId, identity: &IdentityId, now: Timestamp) -> Result<Vec<StoredParcel>, StoreError> {
        let query = Query::partition(Table::Events, parcel_partition(workspace, identity)).prefix("P#");
        let items = self.store.query_all(query).await?;
        items.iter().filter(|item| item.expires_at.is_none_or(|at| at > now)).map(read_parcel).collect()
    }

    /// Hands every parcel of an identity that is not past its time to `each`, oldest first, page by page, strongly consistent.
    pub async fn each(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        now: Timestamp,
        mut each: impl FnMut(StoredParcel) + Send,
    ) -> Result<(), StoreError> {
        let mut query = Query::partition(Table::Events, parcel_partition(workspace, identity)).prefix("P#");
        loop {
            let page = self.store.query(&query).await?;
            for item in page.items.iter().filter(|item| item.expires_at.is_none_or(|at| at > now)) {
                each(read_parcel(item)?);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// One page of an identity's parcels, newest first, of batches before `before`.
    pub async fn newest(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        before: Option<BatchId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<StoredParcel>, StoreError> {
        let query = Query::partition(Table::Events, parcel_partition(workspace, identity))
            .prefix("P#")
            .descending()
            .limit(limit)
            .after(before.map(|batch| format!("P#{batch}")))
            .eventual();
        let page = self.store.query(&query).await?;
        page.items.iter().filter(|item| item.expires_at.is_none_or(|at| at > now)).map(read_parcel).collect()
    }

    /// Stores message ids that leave a window, in segments of bounded size. The same ids again are the same items.
    pub async fn spill(&self, workspace: &WorkspaceId, identity: &IdentityId, spilled: Spilled, now: Timestamp) -> Result<(), StoreError> {
        let expires_at = Some(now.plus_millis(domain::state::SPILL_LIFE_MS + DAY_MS));
        for segment in spilled.segments(SEGMENT_IDS) {
            let body = rmp_serde::to_vec(&segment).map_err(|e| StoreError::Refused { source: Box::new(e) })?;
            let key = segment_key(workspace, identity, hash64(&[&body]));
            self.store.write(Write::Put(Item { key, version: 1, body: Body::Bytes(body), expires_at }, Condition::Always)).await?;
        }
        Ok(())
    }

    /// The message ids that left an identity's window.
    pub async fn spilled(&self, workspace: &WorkspaceId, identity: &IdentityId) -> Result<Spilled, StoreError> {
        let query = Query::partition(Table::Events, parcel_partition(workspace, identity)).prefix("Z#");
        let mut all = Spilled::default();
        for item in self.store.query_all(query).await? {
            let Body::Bytes(bytes) = &item.body else {
                return Err(corrupt(&item, "segment of message ids", "the body is no bytes"));
            };
            all.extend(rmp_serde::from_slice(bytes).map_err(|e| corrupt(&item, "segment of message ids", e))?);
        }
        Ok(all)
    }

    /// Logs the items of a message that ingest refused.
    pub async fn put_rejected(&self, workspace: &WorkspaceId, batch: BatchId, rejected: &Vec<Rejected>) -> Result<(), StoreError> {
        let key = rejected_key(workspace, batch);
        let body = text(&key, rejected)?;
        let item = Item { key, version: 1, body, expires_at: Some(batch.at().plus_millis(REJECTED_LIFE_MS)) };
        self.store.write(Write::Put(item, Condition::Always)).await
    }
}
