//! Jobs that look at every home and change nothing: dry runs, previews, counts.

use super::{JobRunner, Worked, failed, is_final};
use domain::{
    Home, WorkspaceId,
    coverage::Coverage,
    dry_run::Comparison,
    model::Model,
    mutant::{Mutant, active},
    surge::SurgeSettings,
};
use pipeline::{
    AccountTouched, Clock, Queue, StageError, Store, StoreError, Versioned,
    jobs::{Cursor, JobKind, JobRecord, JobState},
    notify::Triggers,
    rulesets::Subject,
    survey::{self, Counted, SurgeSurvey},
    trial::{self, Trial},
    walk,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::Arc;

/// Homes that are looked at in one chunk.
const PAGE: usize = 500;
/// The same when their events have to be counted for it.
const COUNTED_PAGE: usize = 100;

/// What is gathered between chunks.
#[derive(Debug, Serialize, Deserialize)]
struct Gathered<T> {
    /// The version of the model with which the walk began: numbers by two models can't be added up.
    model: u64,
    /// What it adds up to so far.
    sum: Option<T>,
}

/// How a dry run was asked for.
struct Asked<'a> {
    of: &'a Subject,
    revision: Option<u64>,
    as_primary: bool,
    days: u32,
}

impl<S: Store + Clone, T: Queue<AccountTouched>, C: Clock + Clone> JobRunner<S, T, C> {
    /// Works one chunk of a walk.
    pub(super) async fn walk(&self, workspace: &WorkspaceId, job: &Versioned<JobRecord>) -> Result<Worked, StageError> {
        let record = &job.record;
        let model = self.models.latest(workspace).await?;
        let worked = match &record.kind {
            JobKind::DryRun { of, revision, as_primary, window_days } => {
                let asked = Asked { of, revision: *revision, as_primary: *as_primary, days: *window_days };
                self.dry_run(workspace, record, model, &asked).await
            }
            JobKind::SurgePreview { settings } => self.preview(workspace, record, &model, settings).await,
            JobKind::Coverage {} => self.coverage(workspace, record, &model).await,
            other => return Ok(failed(record, format!("this build does not know how to walk for a {}", other.as_str()))),
        };
        match worked {
            Err(e) if is_final(&e) => Ok(failed(record, format!("not everything can be read: {e}"))),
            worked => Ok(worked?),
        }
    }

    async fn dry_run(
        &self,
        workspace: &WorkspaceId,
        record: &JobRecord,
        model: Arc<Model>,
        asked: &Asked<'_>,
    ) -> Result<Worked, StoreError> {
        let gathered: Gathered<Comparison> = match so_far(record, &model) {
            Ok(gathered) => gathered,
            Err(worked) => return Ok(worked),
        };
        let Some(ruleset) = self.rulesets.find(workspace, asked.of.kind, &asked.of.id).await? else {
            return Ok(failed(record, "the ruleset was deleted".to_owned()));
        };
        // The whole walk asks as of the moment at which it was asked for.
        let now = record.created_at;
        let trial = match Trial::of(&ruleset, asked.revision, model, asked.as_primary, now.day()) {
            Ok(trial) => trial,
            Err(e) => return Ok(failed(record, format!("there is nothing to try any more: {e}"))),
        };
        let triggers = Triggers::new(self.homes.store().clone(), self.clock.clone()).list(workspace).await?;
        let page = if trial.needs_fold { COUNTED_PAGE } else { PAGE };
        let (homes, next) = self.page(workspace, record, page).await?;
        let rehearsal = trial.rehearsal(&self.homes, &self.parcels, workspace, &triggers, asked.days, now);
        let (part, changed) = rehearsal.compare(&homes).await?;
        let mut record = record.clone();
        if !changed.is_empty() {
            let rows: Vec<Value> = changed.iter().map(trial::row).collect();
            match self.jobs.put_rows(workspace, &record.id, record.rows, &rows).await {
                Err(_) if active(Mutant::JobCursorWithoutRows) => {}
                put => put?,
            }
            record.rows = record.rows.saturating_add(1);
        }
        let sum = match gathered.sum {
            Some(mut sum) => {
                sum.merge(part);
                sum
            }
            None => part,
        };
        if next == Cursor::End {
            let result = trial.result(&sum, &triggers, asked.days, now.day());
            return Ok(done(record, homes.len(), result));
        }
        Ok(self.on(record, homes.len(), next, gathered.model, sum))
    }

    async fn preview(
        &self,
        workspace: &WorkspaceId,
        record: &JobRecord,
        model: &Model,
        settings: &SurgeSettings,
    ) -> Result<Worked, StoreError> {
        let gathered: Gathered<SurgeSurvey> = match so_far(record, model) {
            Ok(gathered) => gathered,
            Err(worked) => return Ok(worked),
        };
        let (homes, next) = self.page(workspace, record, PAGE).await?;
        let now = record.created_at;
        let mut sum = gathered.sum.unwrap_or_default();
        sum.merge(survey::surge(&self.homes, workspace, model, settings, &homes, now).await?);
        if next == Cursor::End {
            return Ok(done(record.clone(), homes.len(), sum.to_value(&model.document.surge, settings, now.day())));
        }
        Ok(self.on(record.clone(), homes.len(), next, gathered.model, sum))
    }

    async fn coverage(&self, workspace: &WorkspaceId, record: &JobRecord, model: &Model) -> Result<Worked, StoreError> {
        let gathered: Gathered<Coverage> = match so_far(record, model) {
            Ok(gathered) => gathered,
            Err(worked) => return Ok(worked),
        };
        let (homes, next) = self.page(workspace, record, PAGE).await?;
        let store = self.homes.store();
        let mut sum = gathered.sum.unwrap_or_default();
        sum.merge(&survey::coverage(store, workspace, model, &homes, record.created_at).await?);
        if next == Cursor::End {
            let counted = Counted { at: record.created_at, coverage: sum };
            survey::put_coverage(store, workspace, &counted).await?;
            return Ok(done(record.clone(), homes.len(), survey::coverage_value(&model.document, Some(&counted))));
        }
        Ok(self.on(record.clone(), homes.len(), next, gathered.model, sum))
    }

    /// The next homes of the walk; absorbed ones have no numbers of their own.
    async fn page(&self, workspace: &WorkspaceId, record: &JobRecord, limit: usize) -> Result<(Vec<Home>, Cursor), StoreError> {
        let page = walk::page(self.homes.store(), workspace, &record.cursor, limit).await?;
        let homes = page.homes.into_iter().filter(|(_, standing)| standing.merged_into.is_none()).map(|(home, _)| home).collect();
        Ok((homes, page.next))
    }

    /// Goes on later.
    fn on<G: Serialize>(&self, mut record: JobRecord, homes: usize, next: Cursor, model: u64, sum: G) -> Worked {
        record.done = record.done.saturating_add(homes as u64);
        record.reach(walk::percent(&next));
        record.cursor = next;
        record.partial = json!(Gathered { model, sum: Some(sum) });
        Worked::On(Box::new(record), self.clock.now())
    }
}

/// What was gathered so far, unless it was gathered by another model.
fn so_far<T: DeserializeOwned>(record: &JobRecord, model: &Model) -> Result<Gathered<T>, Worked> {
    if record.partial.is_null() {
        return Ok(Gathered { model: model.version(), sum: None });
    }
    let gathered: Gathered<T> = serde_json::from_value(record.partial.clone())
        .map_err(|e| failed(record, format!("another build began it, and this one can't go on: {e}")))?;
    if gathered.model != model.version() {
        return Err(failed(record, "the model was changed meanwhile; ask again".to_owned()));
    }
    Ok(gathered)
}

/// Everything was seen.
fn done(record: JobRecord, homes: usize, result: Value) -> Worked {
    let done = record.done.saturating_add(homes as u64);
    let (state, result) = (JobState::Done, Some(result));
    Worked::Over(Box::new(JobRecord { state, done, total: Some(done), percent: 100, partial: Value::Null, result, ..record }))
}
