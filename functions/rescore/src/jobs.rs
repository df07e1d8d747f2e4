//! Works on jobs, chunk by chunk: any number of workers, each of which may die at any moment.

mod apply;
mod percentiles;
mod publish;
mod walks;

use domain::{Timestamp, WorkspaceId};
use pipeline::{
    AccountTouched, Clock, EventsReceived, Queue, QueueError, StageError, Store, StoreError, Versioned,
    homes::HomeStore,
    jobs::{DueJob, JobKind, JobRecord, JobState, Jobs, Phase},
    models::Models,
    parcels::Parcels,
    retention::{Kept, note_retention},
    rulesets::Rulesets,
};
use std::{future::Future, time::Duration};

/// How long one run works on jobs: well below an invocation's timeout.
pub const BUDGET: Duration = Duration::from_secs(240);
/// The same on one machine, where due accounts and jobs take turns.
pub const BUDGET_LOCALLY: Duration = Duration::from_millis(500);
/// Jobs that are looked at in one round.
const JOBS_AT_ONCE: usize = 20;
/// The most jobs of one workspace that are worked on in one round, so that others have their turn.
const OF_A_WORKSPACE: usize = 4;
/// A chunk is cut off after this time, well before the lease ends.
const CHUNK_MS: i64 = 20_000;
/// A job that was taken up so often without getting any further has failed: half an hour with the longest pauses between them.
const MANY_RUNS: u32 = 40;
/// The longest pause after a chunk that failed, as a power of two, in seconds.
const LONGEST_PAUSE: u32 = 6;
/// While nothing is due yet, it is looked again after this time.
const PAUSE: Duration = Duration::from_millis(250);

/// What became of a chunk.
pub(crate) enum Worked {
    /// The job is so far now, and goes on at this moment. What was counted in the chunk is in the record.
    On(Box<JobRecord>, Timestamp),
    /// The chunk stored the job itself.
    Stored,
    /// The job is over: its state says how.
    Over(Box<JobRecord>),
}

/// Where jobs send: homes that are to be scored, and parcels whose identities are to be placed again.
#[derive(Debug, Clone)]
pub struct Outlets<T, R> {
    /// What score reads.
    pub score: T,
    /// What resolve reads.
    pub resolve: R,
}

impl<T: Queue<AccountTouched>, R: Send + Sync + 'static> Queue<AccountTouched> for Outlets<T, R> {
    fn send(&self, messages: Vec<AccountTouched>) -> impl Future<Output = Result<(), QueueError>> + Send {
        self.score.send(messages)
    }
}

impl<T: Send + Sync + 'static, R: Queue<EventsReceived>> Queue<EventsReceived> for Outlets<T, R> {
    fn send(&self, messages: Vec<EventsReceived>) -> impl Future<Output = Result<(), QueueError>> + Send {
        self.resolve.send(messages)
    }
}

/// Works on jobs. `T` is where they send: [`Outlets`].
#[derive(Debug)]
pub struct JobRunner<S, T, C> {
    pub(crate) homes: HomeStore<S>,
    pub(crate) parcels: Parcels<S>,
    pub(crate) models: Models<S, C>,
    pub(crate) rulesets: Rulesets<S, C>,
    pub(crate) jobs: Jobs<S, C>,
    pub(crate) touched: T,
    pub(crate) clock: C,
    kept: Kept,
}

impl<S: Store + Clone, T, C: Clock + Clone> JobRunner<S, T, C> {
    /// Over these ports.
    pub fn new(store: S, touched: T, clock: C) -> Self {
        Self {
            homes: HomeStore::new(store.clone()),
            parcels: Parcels::new(store.clone()),
            models: Models::new(store.clone(), clock.clone()),
            rulesets: Rulesets::new(store.clone(), clock.clone()),
            jobs: Jobs::new(store, clock.clone()),
            touched,
            clock,
            kept: Kept::default(),
        }
    }

    /// For so long the event log keeps what is stored in it, which is noted when it is new.
    #[must_use]
    pub fn keeping(mut self, kept: Kept) -> Self {
        (self.kept, self.parcels) = (kept, self.parcels.kept_for(kept));
        self
    }

    /// Whether a chunk that began at a moment has taken long enough.
    pub(crate) fn is_late(&self, began: Timestamp) -> bool {
        self.clock.now().millis_since(began) >= CHUNK_MS
    }
}

impl<S: Store + Clone, T: Queue<AccountTouched> + Queue<EventsReceived>, C: Clock + Clone> JobRunner<S, T, C> {
    /// Works for about so long, as long as there are jobs that are not over. A job whose next chunk comes later is left to the next run.
    pub async fn run(&self, budget: Duration) -> Result<(), StageError> {
        let began = self.clock.now();
        let end = began.plus_millis(i64::try_from(budget.as_millis()).unwrap_or(i64::MAX));
        note_retention(self.homes.store(), self.kept, began).await?;
        loop {
            let worked = self.round().await?;
            if self.clock.now() >= end {
                return Ok(());
            }
            if worked == 0 {
                match self.jobs.next_due().await? {
                    Some(next) if next < end => tokio::time::sleep(PAUSE).await,
                    _ => return Ok(()),
                }
            }
        }
    }

    /// Works one chunk of each job that is due. Answers how many chunks were worked. A job that fails for now comes again by its pointer and does
    /// not hold the others up; the first error is answered in the end.
    pub async fn round(&self) -> Result<usize, StageError> {
        let due = self.jobs.due(self.clock.now(), JOBS_AT_ONCE).await?;
        let mut worked = 0;
        let mut first_error = None;
        let mut served: Vec<WorkspaceId> = Vec::new();
        for due in due {
            if served.iter().filter(|workspace| **workspace == due.workspace).count() >= OF_A_WORKSPACE {
                continue;
            }
            served.push(due.workspace.clone());
            match self.chunk(&due).await {
                Ok(done) => worked += usize::from(done),
                // Somebody else has it by now.
                Err(e) if e.is_conflict() => {}
                Err(e) => {
                    tracing::warn!(stage = "rescore", job.id = %due.id, error = %e, source = e.source_text(), "a chunk of a job was not worked");
                    first_error = first_error.or(Some(e));
                }
            }
        }
        first_error.map_or(Ok(worked), Err)
    }

    /// Takes a job, works one chunk of it, and puts it down again.
    async fn chunk(&self, due: &DueJob) -> Result<bool, StageError> {
        let Some(job) = self.jobs.lease(due).await? else {
            return Ok(false);
        };
        let worked = if job.record.runs > MANY_RUNS { Ok(gave_up(&job.record)) } else { self.work(&due.workspace, &job).await };
        match worked {
            Err(e) if !e.is_conflict() => {
                // Nobody has to wait until the lease ends. If this fails, too, that is what it ends for.
                let pause = 1_000 << job.record.runs.min(LONGEST_PAUSE);
                let _ = self.jobs.save(&due.workspace, &job, job.record.clone(), self.clock.now().plus_millis(pause)).await;
                return Err(e);
            }
            Err(e) => return Err(e),
            Ok(worked) => self.put_down(&due.workspace, &job, worked).await?,
        }
        Ok(true)
    }

    /// Stores what became of a chunk.
    async fn put_down(&self, workspace: &WorkspaceId, job: &Versioned<JobRecord>, worked: Worked) -> Result<(), StageError> {
        match worked {
            Worked::Stored => {}
            Worked::On(mut record, at) => {
                record.runs = 0;
                record.touched_at = self.clock.now();
                self.jobs.save(workspace, job, *record, at).await?;
            }
            Worked::Over(record) => {
                let ended = self.jobs.end(workspace, job, *record).await?;
                tracing::info!(stage = "rescore", job.id = %ended.id, job.kind = ended.kind.as_str(), job.state = ended.state.as_str(), "a job is over");
            }
        }
        Ok(())
    }

    async fn work(&self, workspace: &WorkspaceId, job: &Versioned<JobRecord>) -> Result<Worked, StageError> {
        match &job.record.kind {
            JobKind::Publish { .. } => self.publish(workspace, job).await,
            JobKind::ApplyMapping { mapping, .. } => self.apply_mapping(workspace, job, *mapping).await,
            JobKind::ApplyProfiles { .. } => self.apply_profiles(workspace, &job.record).await,
            JobKind::DryRun { .. } | JobKind::SurgePreview { .. } | JobKind::Coverage {} => self.walk(workspace, job).await,
            JobKind::Percentiles { .. } => self.percentiles(workspace, job).await,
        }
    }
}

/// The job can't be done.
pub(crate) fn failed(record: &JobRecord, reason: String) -> Worked {
    Worked::Over(Box::new(JobRecord { state: JobState::Failed { reason }, ..record.clone() }))
}

fn gave_up(record: &JobRecord) -> Worked {
    let phase = record.phase().map_or("last", Phase::as_str);
    failed(record, format!("it was begun {} times in its phase {phase} and never got further; the log of rescore says why", record.runs))
}

/// Whether a store error will be the same at every attempt.
pub(crate) fn is_final(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt { .. } | StoreError::Refused { .. })
}
