//! The event log: parcels as they were received, and the message ids that left an identity's window.

use crate::{
    messages::{Parcel, Rejected},
    pack::{pack, unpack, unpacked},
    records::{parcel_key, parcel_partition, rejected_key, sealed_key, segment_key, text},
    retention::{Kept, retention},
    state_body,
    store::{Body, Condition, Consistency, Item, Query, Store, StoreError, Table, Write},
};
use domain::{
    BatchId, DAY_MS, Event, IdentityId, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
    state::{IdentityState, Left, RETRY_SPAN_MS, SPILL_LIFE_MS, Sealed, Segment, SegmentName, Spilled},
};

/// How long rejected events are kept.
pub const REJECTED_LIFE_MS: i64 = 90 * DAY_MS;

/// Segments read at first: mostly the first few tell. Each further page is twice as large.
const SEGMENTS_AT_FIRST: usize = 8;
/// Segments read at once at most.
const SEGMENTS_PER_PAGE: usize = 128;

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
    compress: bool,
    kept: Kept,
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
    let unpacked = unpack(packed).map_err(|e| corrupt(item, "parcel", e))?;
    let events = serde_json::from_slice(&unpacked).map_err(|e| corrupt(item, "parcel", e))?;
    Ok(StoredParcel { batch, events })
}

fn read_segment(item: &Item) -> Result<Segment, StoreError> {
    let Body::Bytes(bytes) = &item.body else {
        return Err(corrupt(item, "segment of message ids", "the body is no bytes"));
    };
    state_body::decode_segment(bytes).map_err(|e| corrupt(item, "segment of message ids", e))
}

impl<S: Store> Parcels<S> {
    /// Over this store; parcels are kept as long as nothing else is said.
    pub fn new(store: S) -> Self {
        Self { store, compress: true, kept: Kept::default() }
    }

    /// Keeps for so long what is stored from now on.
    #[must_use]
    pub const fn kept_for(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    /// Since when the log is whole: what happened since then is in it.
    pub async fn whole_since(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        Ok(retention(&self.store).await?.whole_since(now))
    }

    /// Stores parcels as they are: what folding costs is measured without what compression costs.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.compress = false;
        self
    }

    /// Puts a parcel. One that is there already is the same one: success.
    pub async fn put(&self, workspace: &WorkspaceId, batch: BatchId, parcel: &Parcel) -> Result<(), StoreError> {
        let key = parcel_key(workspace, &parcel.identity.id(), batch);
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Refused { source };
        let json = parcel.events.json().map_err(|e| refused(Box::new(e)))?;
        let plain = json.as_bytes();
        let packed = if self.compress { pack(plain).map_err(|e| refused(Box::new(e)))? } else { unpacked(plain) };
        let item = Item { key, version: 1, body: Body::Bytes(packed), expires_at: Some(batch.at().plus_millis(self.kept.millis())) };
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

    /// Hands every parcel of an identity after a batch that is not past its time to `each`, oldest first, page by page, strongly consistent.
    pub async fn each(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        after: Option<BatchId>,
        now: Timestamp,
        mut each: impl FnMut(StoredParcel) + Send,
    ) -> Result<(), StoreError> {
        let query = Query::partition(Table::Events, parcel_partition(workspace, identity)).prefix("P#");
        let mut query = query.after(after.map(|batch| format!("P#{batch}")));
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

    /// Stores message ids that leave a window, oldest segment first. The same segment again is the same item.
    pub async fn spill(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        segments: Vec<(SegmentName, Segment)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let expires_at = Some(now.plus_millis(SPILL_LIFE_MS + DAY_MS));
        for (name, segment) in segments {
            let key = segment_key(workspace, identity, name);
            let body = Body::Bytes(state_body::encode_segment(&segment));
            self.store.write(Write::Put(Item { key, version: 1, body, expires_at }, Condition::Always)).await?;
        }
        Ok(())
    }

    /// The message ids that left an identity's window and may be those of a batch made at `from` or later: as far back as a client
    /// retries. Only segments that hang on the chain whose head the state names count.
    pub async fn spilled(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        left: &Left,
        from: Timestamp,
    ) -> Result<Spilled, StoreError> {
        let oldest = from.plus_millis(-RETRY_SPAN_MS);
        let mut query = Query::partition(Table::Events, parcel_partition(workspace, identity))
            .between("Z#", format!("Z#{:08x}~", left.head.number))
            .descending()
            .limit(SEGMENTS_AT_FIRST);
        let mut spilled = Spilled::default();
        let mut wanted = left.head;
        loop {
            let page = self.store.query(&query).await?;
            for item in &page.items {
                let believed = active(Mutant::UnfinishedSpillBelieved);
                if item.key.sk != segment_key(workspace, identity, wanted).sk && !believed {
                    continue;
                }
                let segment = read_segment(item)?;
                spilled.add(&segment);
                match segment.previous.filter(|_| segment.newest >= oldest) {
                    Some(previous) => wanted = previous,
                    None if believed => {}
                    None => return Ok(spilled),
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(spilled),
            }
            query.limit = query.limit.saturating_mul(2).min(SEGMENTS_PER_PAGE);
        }
    }

    /// Stores what the parcels up to a batch add up to.
    pub async fn seal(&self, workspace: &WorkspaceId, sealed: Sealed, sum: &IdentityState) -> Result<(), StoreError> {
        let key = sealed_key(workspace, &sum.identity.id(), sealed);
        let body = Body::Bytes(state_body::encode(sum).map_err(|e| StoreError::Refused { source: Box::new(e) })?);
        let expires_at = Some(sealed.until.at().plus_millis(self.kept.millis()));
        self.store.write(Write::Put(Item { key, version: 1, body, expires_at }, Condition::Always)).await
    }

    /// What was sealed, if it is still there and not past its time.
    pub async fn sealed(
        &self,
        workspace: &WorkspaceId,
        identity: &IdentityId,
        sealed: Sealed,
        now: Timestamp,
    ) -> Result<Option<IdentityState>, StoreError> {
        let item = self.store.read(&sealed_key(workspace, identity, sealed), Consistency::Strong).await?;
        let Some(item) = item.filter(|item| item.expires_at.is_none_or(|at| at > now)) else { return Ok(None) };
        let Body::Bytes(bytes) = &item.body else {
            return Err(corrupt(&item, "sealed state", "the body is no bytes"));
        };
        state_body::decode(bytes).map(Some).map_err(|e| corrupt(&item, "sealed state", e))
    }

    /// Logs the items of a message that ingest refused.
    pub async fn put_rejected(&self, workspace: &WorkspaceId, batch: BatchId, rejected: &Vec<Rejected>) -> Result<(), StoreError> {
        let key = rejected_key(workspace, batch);
        let body = text(&key, rejected)?;
        let item = Item { key, version: 1, body, expires_at: Some(batch.at().plus_millis(REJECTED_LIFE_MS)) };
        self.store.write(Write::Put(item, Condition::Always)).await
    }
}
