//! Work that takes longer than a request: rescoring everybody after a publication, a dry run over all accounts.
//!
//! | Table | Partition | Sort key | Holds |
//! |---|---|---|---|
//! | config | `{workspace}` | `job#{job}` | [`JobRecord`], packed: what is to be done, how far it is, what came out; removed 90 days after its end |
//! | config | `{workspace}` | `job#{job}#r#{chunk}` | one chunk of a job's detailed result, packed; removed after 7 days |
//! | config | `JOBS` | `{moment}#{workspace}#{job}` | pointer: the job is to be looked at from this moment on |
//!
//! A job that is not over has exactly one pointer, whose moment stands in the job's record, and both change in one transaction. Whoever works
//! on a job moves the pointer ahead first ([`Jobs::lease`]): so nobody else takes it meanwhile, and a worker that dies is replaced when the
//! moment has come. Cursor and partial result are one item, so a chunk counts once, however often it was worked.

mod record;

pub use record::{Cursor, JobKind, JobRecord, JobState, Percent, Phase};

use crate::{
    clock::{Clock, Entropy},
    packed::{from_packed, packed},
    records::Versioned,
    rulesets::{self, PublicationState, publication_key},
    store::{Condition, Consistency, Item, Key, Query, Store, StoreError, Table, Write},
};
use domain::{
    DAY_MS, IdError, JobId, Timestamp, WorkspaceId,
    mutant::{Mutant, active},
};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// How long a finished job is kept.
pub const JOB_LIFE_MS: i64 = 90 * DAY_MS;
/// How long the rows of a job's result are kept.
pub const ROWS_LIFE_MS: i64 = 7 * DAY_MS;
/// For so long a job belongs to the worker that took it.
pub const LEASE_MS: i64 = 90_000;
/// The partition of all pointers.
const POINTERS: &str = "JOBS";
const PREFIX: &str = "job#";
/// How often a change is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 8;

/// A new job's id: `job_` and 26 characters.
pub fn new_job_id(entropy: &impl Entropy, now: Timestamp) -> Result<JobId, IdError> {
    JobId::new(&format!("job_{}", entropy.batch_id(now).to_string().to_lowercase()))
}

/// Where a job is kept.
pub fn job_key(workspace: &WorkspaceId, job: &JobId) -> Key {
    Key::new(Table::Config, workspace.as_str(), format!("{PREFIX}{job}"))
}

fn row_prefix(job: &JobId) -> String {
    format!("{PREFIX}{job}#r#")
}

fn row_key(workspace: &WorkspaceId, job: &JobId, chunk: u32) -> Key {
    Key::new(Table::Config, workspace.as_str(), format!("{}{chunk:06}", row_prefix(job)))
}

fn pointer_key(workspace: &WorkspaceId, job: &JobId, at: Timestamp) -> Key {
    Key::new(Table::Config, POINTERS, format!("{:015}#{workspace}#{job}", at.millis().max(0)))
}

fn put_pointer(workspace: &WorkspaceId, job: &JobId, at: Timestamp) -> Write {
    let key = pointer_key(workspace, job, at);
    Write::Put(Item { key, version: 1, body: crate::store::Body::Text("{}".to_owned()), expires_at: None }, Condition::Always)
}

fn put_job(workspace: &WorkspaceId, job: &JobRecord, version: u64, condition: Condition) -> Result<Write, StoreError> {
    let key = job_key(workspace, &job.id);
    let body = packed(&key, job)?;
    let expires_at = job.ended_at.map(|at| at.plus_millis(JOB_LIFE_MS));
    Ok(Write::Put(Item { key, version, body, expires_at }, condition))
}

fn read_job(item: &Item) -> Result<Versioned<JobRecord>, StoreError> {
    Ok(Versioned { version: item.version, record: from_packed(item)? })
}

/// The writes that start a job: its record and its pointer, due at `record.pointer`. For a transaction that starts something else with it.
pub fn start_writes(workspace: &WorkspaceId, record: &JobRecord) -> Result<Vec<Write>, StoreError> {
    Ok(vec![put_job(workspace, record, 1, Condition::Absent)?, put_pointer(workspace, &record.id, record.pointer)])
}

/// Why a job was not cancelled.
#[derive(Debug, Error)]
pub enum CancelError {
    /// There is no such job.
    #[error("there is no such job")]
    Missing,
    /// It is over.
    #[error("the job is over")]
    Over(Box<JobRecord>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A job that a worker may work on.
#[derive(Debug, Clone, PartialEq)]
pub struct DueJob {
    /// Whose job.
    pub workspace: WorkspaceId,
    /// Which.
    pub id: JobId,
    /// Since when it is due.
    pub at: Timestamp,
    key: Key,
}

/// The jobs of all workspaces.
#[derive(Debug, Clone)]
pub struct Jobs<S, C> {
    store: S,
    clock: C,
}

impl<S: Store + Clone, C: Clock> Jobs<S, C> {
    /// Over this store.
    pub const fn new(store: S, clock: C) -> Self {
        Self { store, clock }
    }

    /// Starts a job that stands alone. A conflict when its id is taken. Publications start theirs themselves.
    pub async fn start(&self, workspace: &WorkspaceId, record: &JobRecord) -> Result<(), StoreError> {
        self.store.transact(start_writes(workspace, record)?).await
    }

    /// The job with this id, as it is now.
    pub async fn find(&self, workspace: &WorkspaceId, id: &JobId) -> Result<Option<Versioned<JobRecord>>, StoreError> {
        let item = self.store.read(&job_key(workspace, id), Consistency::Strong).await?;
        let now = self.clock.now();
        item.filter(|item| item.expires_at.is_none_or(|at| at > now)).as_ref().map(read_job).transpose()
    }

    /// The workspace's jobs, newest first, after `before` when that is given: at most `limit` of them. Their ids are in the order of time.
    pub async fn list(&self, workspace: &WorkspaceId, before: Option<&JobId>, limit: usize) -> Result<Vec<JobRecord>, StoreError> {
        let now = self.clock.now();
        let query = Query::partition(Table::Config, workspace.as_str()).prefix(PREFIX).descending().limit(limit.clamp(20, 500));
        let mut query = query.after(before.map(|id| format!("{PREFIX}{id}")));
        let mut jobs = Vec::new();
        loop {
            let page = self.store.query(&query).await?;
            for item in page.items {
                let is_row = item.key.sk.strip_prefix(PREFIX).is_some_and(|rest| rest.contains('#'));
                if !is_row && item.expires_at.is_none_or(|at| at > now) {
                    jobs.push(read_job(&item)?.record);
                }
                if jobs.len() >= limit {
                    return Ok(jobs);
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(jobs),
            }
        }
    }

    /// Cancels a job that is not over. What it did stays done; a publication that waits for events to be counted is given up, and its draft can
    /// be edited again.
    pub async fn cancel(&self, workspace: &WorkspaceId, id: &JobId) -> Result<JobRecord, CancelError> {
        for _ in 0..ATTEMPTS {
            let found = self.find(workspace, id).await?.ok_or(CancelError::Missing)?;
            if found.record.state.is_over() {
                return Err(CancelError::Over(Box::new(found.record)));
            }
            let mut record = found.record.clone();
            record.state = JobState::Cancelled;
            match self.end(workspace, &found, record).await {
                Ok(record) => return Ok(record),
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(StoreError::Busy { source: "the job is being worked on; cancel it again".into() }.into())
    }

    /// The jobs of all workspaces that are due, the longest due first: at most `limit`.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<DueJob>, StoreError> {
        let query = Query::partition(Table::Config, POINTERS).between("", format!("{:015}~", now.millis().max(0))).limit(limit.max(1));
        let items = self.store.query(&query).await?.items;
        let read = items.into_iter().filter_map(|item| {
            let mut parts = item.key.sk.splitn(3, '#');
            let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
            let workspace = WorkspaceId::new(parts.next()?).ok()?;
            Some(DueJob { workspace, id: JobId::new(parts.next()?).ok()?, at, key: item.key })
        });
        Ok(read.collect())
    }

    /// The moment at which the next job of any workspace is due, if there is one.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = Query::partition(Table::Config, POINTERS).limit(1);
        let first = self.store.query(&query).await?.items.into_iter().next();
        Ok(first.and_then(|item| item.key.sk.split_once('#')?.0.parse().ok()).map(Timestamp::from_millis))
    }

    /// Takes a due job for [`LEASE_MS`]. `None` when somebody else took it, or it is over.
    pub async fn lease(&self, due: &DueJob) -> Result<Option<Versioned<JobRecord>>, StoreError> {
        let found = self.find(&due.workspace, &due.id).await?;
        let Some(found) = found.filter(|found| !found.record.state.is_over()) else {
            // A pointer to nothing: the job was removed by the store, or by hand.
            self.store.write(Write::Delete(due.key.clone(), Condition::Always)).await?;
            return Ok(None);
        };
        let now = self.clock.now();
        if pointer_key(&due.workspace, &due.id, found.record.pointer) != due.key {
            // Somebody moved it between the query and now, or this pointer is one too many.
            self.store.write(Write::Delete(due.key.clone(), Condition::Always)).await?;
            return Ok(None);
        }
        let mut record = found.record.clone();
        record.state = JobState::Running;
        record.runs = record.runs.saturating_add(1);
        record.touched_at = now;
        if active(Mutant::JobWithoutLease) {
            return Ok(Some(Versioned { version: found.version, record }));
        }
        match self.save_with(&due.workspace, &found, record, now.plus_millis(LEASE_MS), Vec::new()).await {
            Ok(saved) => Ok(Some(saved)),
            Err(e) if e.is_conflict() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes a job over what was read, and moves its pointer to `pointer`. A conflict when somebody else has it by now.
    pub async fn save(
        &self,
        workspace: &WorkspaceId,
        read: &Versioned<JobRecord>,
        record: JobRecord,
        pointer: Timestamp,
    ) -> Result<Versioned<JobRecord>, StoreError> {
        self.save_with(workspace, read, record, pointer, Vec::new()).await
    }

    /// As [`Self::save`], in one transaction with other writes.
    pub async fn save_with(
        &self,
        workspace: &WorkspaceId,
        read: &Versioned<JobRecord>,
        record: JobRecord,
        pointer: Timestamp,
        others: Vec<Write>,
    ) -> Result<Versioned<JobRecord>, StoreError> {
        let (record, mut writes) = save_writes(workspace, read, record, pointer)?;
        writes.extend(others);
        self.store.transact(writes).await?;
        Ok(Versioned { version: read.version.saturating_add(1), record })
    }

    /// Ends a job whose `state` says how: its pointer goes, and if it is a publication's, the workspace can publish again. A conflict when
    /// somebody else has it by now.
    pub async fn end(&self, workspace: &WorkspaceId, read: &Versioned<JobRecord>, mut record: JobRecord) -> Result<JobRecord, StoreError> {
        let now = self.clock.now();
        record.ended_at = Some(now);
        record.touched_at = now;
        let mut writes = vec![
            put_job(workspace, &record, read.version.saturating_add(1), Condition::Version(read.version))?,
            Write::Delete(pointer_key(workspace, &record.id, read.record.pointer), Condition::Always),
        ];
        if matches!(record.kind, JobKind::Publish { .. })
            && let Some(item) = self.store.read(&publication_key(workspace), Consistency::Strong).await?
        {
            let publication = rulesets::read_publication(&item)?;
            if publication.job == record.id {
                writes.push(Write::Delete(item.key, Condition::Version(item.version)));
                if publication.state == PublicationState::Preparing {
                    writes.extend(rulesets::give_up(&self.store, workspace, &publication, now).await?);
                }
            }
        }
        self.store.transact(writes).await?;
        Ok(record)
    }

    /// Writes one chunk of a job's detailed result. The same chunk again replaces it: so whoever repeats a chunk repeats its rows.
    pub async fn put_rows<T: Serialize>(&self, workspace: &WorkspaceId, job: &JobId, chunk: u32, rows: &[T]) -> Result<(), StoreError> {
        let key = row_key(workspace, job, chunk);
        let body = packed(&key, &rows)?;
        let expires_at = Some(self.clock.now().plus_millis(ROWS_LIFE_MS));
        self.store.write(Write::Put(Item { key, version: 1, body, expires_at }, Condition::Always)).await
    }

    /// One chunk of a job's detailed result; `None` when it is past its time or there never was one.
    pub async fn rows<T: DeserializeOwned>(&self, workspace: &WorkspaceId, job: &JobId, chunk: u32) -> Result<Option<Vec<T>>, StoreError> {
        let item = self.store.read(&row_key(workspace, job, chunk), Consistency::Strong).await?;
        let now = self.clock.now();
        item.filter(|item| item.expires_at.is_none_or(|at| at > now)).as_ref().map(from_packed).transpose()
    }
}

/// The writes that store a job over what was read and move its pointer; and the record as it is then.
pub(crate) fn save_writes(
    workspace: &WorkspaceId,
    read: &Versioned<JobRecord>,
    mut record: JobRecord,
    pointer: Timestamp,
) -> Result<(JobRecord, Vec<Write>), StoreError> {
    record.pointer = pointer;
    let mut writes = vec![put_job(workspace, &record, read.version.saturating_add(1), Condition::Version(read.version))?];
    if pointer != read.record.pointer {
        writes.push(Write::Delete(pointer_key(workspace, &record.id, read.record.pointer), Condition::Always));
        writes.push(put_pointer(workspace, &record.id, pointer));
    }
    Ok((record, writes))
}
