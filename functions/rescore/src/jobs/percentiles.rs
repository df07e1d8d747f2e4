//! Finds where the levels of a ruleset begin, by how the scores of its segment are spread, and publishes that without a word to anybody.
//!
//! While a publication is brought to every account, some scores follow from the model before; so the count waits for it, and begins anew when the
//! model changed in the midst of it.

use super::{JobRunner, Worked, failed, is_final};
use domain::{
    BatchId, DAY_MS, Home, IdError, JobId, Timestamp, WorkspaceId, hash64,
    level::{CutPoints, Percentiles, ScoreCounts},
    model::Model,
    ruleset::Content,
    segments::{AccountFacts, level_of},
    trigger::LevelOf,
};
use pipeline::{
    AccountTouched, Clock, Consistency, Queue, StageError, Store, StoreError, Versioned,
    jobs::{Cursor, JobKind, JobRecord, JobState},
    records::{SCORE, ScoreRecord, from_item, home_key},
    rulesets::{Change, Plan, PublishError, Ruleset, Started, Subject},
    walk,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Homes that are looked at in one chunk.
const PAGE: usize = 500;
/// How many score records one read asks for.
const RECORDS: usize = 200;
/// So long after a publication was found under way it is looked again.
const PAUSE_MS: i64 = 10_000;
/// More different scores than this are not kept apart in a job's record.
const MOST_SCORES: usize = 20_000;

/// What is gathered between chunks.
#[derive(Debug, Serialize, Deserialize)]
struct Gathered {
    /// The version of the model by which the scores were made.
    model: u64,
    /// The version of the ruleset.
    version: u64,
    /// The scores.
    sum: ScoreCounts,
}

/// The ruleset that cut points are for.
struct Asked<'a> {
    of: &'a Subject,
    levels: LevelOf,
    repeated: bool,
}

impl<S: Store + Clone, T: Queue<AccountTouched>, C: Clock + Clone> JobRunner<S, T, C> {
    /// Works one chunk.
    pub(super) async fn percentiles(&self, workspace: &WorkspaceId, job: &Versioned<JobRecord>) -> Result<Worked, StageError> {
        let record = &job.record;
        let JobKind::Percentiles { of, repeated } = &record.kind else {
            return Ok(failed(record, "it is about no percentiles".to_owned()));
        };
        let Some(levels) = level_of(of.kind) else {
            return Ok(failed(record, format!("a {} has no levels", of.kind.title())));
        };
        match self.cut(workspace, record, &Asked { of, levels, repeated: *repeated }).await {
            Err(e) if is_final(&e) => Ok(failed(record, format!("not everything can be read: {e}"))),
            worked => Ok(worked?),
        }
    }

    async fn cut(&self, workspace: &WorkspaceId, record: &JobRecord, asked: &Asked<'_>) -> Result<Worked, StoreError> {
        let Some(ruleset) = self.rulesets.find(workspace, asked.of.kind, &asked.of.id).await? else {
            return Ok(over(record, asked, "the ruleset was deleted"));
        };
        let Some(percentiles) = percentiles_of(&ruleset) else {
            return Ok(over(record, asked, "the ruleset is not in use, or its levels follow from no percentiles"));
        };
        let next = ruleset.head.cut_points.as_ref().and_then(|computed| computed.next.as_ref());
        if asked.repeated && next != Some(&record.id) {
            return Ok(over(record, asked, "another computation took its place"));
        }
        if ruleset.publication.is_some() {
            return Ok(self.later(record.clone()));
        }
        let model = self.models.latest(workspace).await?;
        let gathered = serde_json::from_value::<Gathered>(record.partial.clone()).ok();
        let version = ruleset.head.version();
        let gathered = gathered.filter(|gathered| gathered.model == model.version() && gathered.version == version);
        let mut record = record.clone();
        let mut gathered = gathered.unwrap_or_else(|| {
            (record.cursor, record.done) = (Cursor::Start, 0);
            Gathered { model: model.version(), version, sum: ScoreCounts::default() }
        });
        if record.cursor != Cursor::End {
            let page = walk::page(self.homes.store(), workspace, &record.cursor, PAGE).await?;
            let homes: Vec<Home> =
                page.homes.into_iter().filter(|(_, standing)| standing.merged_into.is_none()).map(|(home, _)| home).collect();
            let own = model.document.levels(asked.levels).id == asked.of.id.as_str();
            gathered.sum.merge(&self.counted(workspace, &model, asked, own, &homes).await?);
            if gathered.sum.distinct() > MOST_SCORES {
                return Ok(failed(&record, format!("there are more than {MOST_SCORES} different scores")));
            }
            record.done = record.done.saturating_add(homes.len() as u64);
            record.reach(walk::percent(&page.next));
            record.cursor = page.next;
            record.partial = json!(gathered);
            if record.cursor != Cursor::End {
                return Ok(Worked::On(Box::new(record), self.clock.now()));
            }
        }
        let Some(levels) = ruleset.content.as_ref().and_then(Content::levels) else {
            return Ok(over(&record, asked, "the ruleset has no levels"));
        };
        match percentiles.cut_points(&levels.ruleset.levels, &gathered.sum) {
            Ok(points) => self.begin_there(workspace, record, asked, &ruleset, &percentiles, &gathered, points).await,
            // There may be more by the next time.
            Err(e) if asked.repeated => {
                let next = self.repeat(workspace, &record, asked, &percentiles).await?;
                Ok(done(record, json!({ "scores": e.n, "unchanged": true, "because": e.to_string(), "next_job": next })))
            }
            Err(e) => Ok(failed(&record, format!("too few: {e}"))),
        }
    }

    /// Publishes where the levels begin.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the answer")]
    async fn begin_there(
        &self,
        workspace: &WorkspaceId,
        mut record: JobRecord,
        asked: &Asked<'_>,
        ruleset: &Ruleset,
        percentiles: &Percentiles,
        gathered: &Gathered,
        cut: CutPoints,
    ) -> Result<Worked, StoreError> {
        let (scores, next) = (gathered.sum.len(), self.next_job(workspace, &record, asked, percentiles)?);
        let change = Change::CutPoints {
            kind: asked.of.kind,
            id: asked.of.id.clone(),
            version: gathered.version,
            points: cut.points.clone(),
            scores,
            next: next.as_ref().map(|next| next.id.clone()),
        };
        let plan = Plan { workspace, by: &record.by, why: format!("cut points over {scores} scores"), notify: false, change };
        let started = match self.rulesets.publish(&plan).await {
            Ok(started) => started,
            // What was counted is not what is in force any more, or is about not to be: it is looked at again.
            Err(PublishError::Running { .. } | PublishError::Published { .. } | PublishError::Stale { .. } | PublishError::Missing) => {
                return Ok(self.later(record));
            }
            Err(PublishError::Store(e)) => return Err(e),
            Err(e) => return Ok(failed(&record, format!("the cut points can't come into force: {e}"))),
        };
        self.models.forget(workspace);
        if let Some(next) = &next {
            self.begin(workspace, next).await?;
        }
        for level in &cut.fell_together {
            record.warn(format!("the cut point of `{level}` falls together with that of the level below: fewer levels would do"));
        }
        let (version, job) = match started {
            Started::Unchanged => (None, None),
            Started::AtOnce { version, .. } => (version, None),
            Started::Job { job, version, .. } => (version, Some(job.id)),
        };
        Ok(done(
            record,
            json!({
                "ruleset_id": ruleset.head.id, "scores": scores, "cuts": cut.points, "unchanged": version.is_none(),
                "version": version, "publish_job": job, "next_job": next.map(|next| next.id),
            }),
        ))
    }

    /// The scores that the levels of the ruleset are given to: those of the accounts that fall under it, or of their leads. `own` says that it is
    /// the primary ruleset, under which leads without an account fall. Whoever is disqualified counts as having none.
    async fn counted(
        &self,
        workspace: &WorkspaceId,
        model: &Model,
        asked: &Asked<'_>,
        own: bool,
        homes: &[Home],
    ) -> Result<ScoreCounts, StoreError> {
        let mut counts = ScoreCounts::default();
        let homes: Vec<&Home> = homes.iter().filter(|home| home.account().is_some() || (own && asked.levels == LevelOf::Lead)).collect();
        for chunk in homes.chunks(RECORDS) {
            let keys: Vec<_> = chunk.iter().map(|home| home_key(workspace, home, SCORE)).collect();
            let items = self.homes.store().read_many(&keys, Consistency::Eventual).await?;
            for (home, key) in chunk.iter().zip(&keys) {
                let Some(item) = items.iter().find(|item| item.key == *key) else { continue };
                let score: ScoreRecord = from_item(item)?;
                let stated = AccountFacts::new(score.tier.as_deref(), score.owner.as_deref(), score.priority.as_deref());
                let stated = Some(&stated).filter(|_| home.account().is_some());
                if model.levels_for(asked.levels, &score.fields, stated, score.as_of).id == asked.of.id.as_str() {
                    add(&mut counts, asked.levels, &score);
                }
            }
        }
        Ok(counts)
    }

    /// Looks again after a while.
    fn later(&self, record: JobRecord) -> Worked {
        Worked::On(Box::new(record), self.clock.now().plus_millis(PAUSE_MS))
    }

    /// The job that computes them again, begun.
    async fn repeat(
        &self,
        workspace: &WorkspaceId,
        record: &JobRecord,
        asked: &Asked<'_>,
        percentiles: &Percentiles,
    ) -> Result<Option<JobId>, StoreError> {
        let Some(next) = self.next_job(workspace, record, asked, percentiles)? else { return Ok(None) };
        let Some(ruleset) = self.rulesets.find(workspace, asked.of.kind, &asked.of.id).await? else { return Ok(None) };
        let computed = ruleset.head.cut_points.as_ref();
        let change = Change::CutPoints {
            kind: asked.of.kind,
            id: asked.of.id.clone(),
            version: ruleset.head.version(),
            points: Vec::new(),
            scores: computed.map_or(0, |computed| computed.scores),
            next: Some(next.id.clone()),
        };
        let plan = Plan { workspace, by: &record.by, why: String::new(), notify: false, change };
        match self.rulesets.publish(&plan).await {
            Ok(_) => {}
            Err(PublishError::Store(e)) => return Err(e),
            Err(_) => return Ok(None),
        }
        self.begin(workspace, &next).await?;
        Ok(Some(next.id))
    }

    async fn begin(&self, workspace: &WorkspaceId, next: &JobRecord) -> Result<(), StoreError> {
        match self.jobs.start(workspace, next).await {
            // An attempt before this one began it.
            Err(e) if e.is_conflict() => Ok(()),
            other => other,
        }
    }

    /// The job that computes them again, so many days from now at the hour at which it was first asked for. Every attempt of a day names the same.
    fn next_job(
        &self,
        workspace: &WorkspaceId,
        record: &JobRecord,
        asked: &Asked<'_>,
        percentiles: &Percentiles,
    ) -> Result<Option<JobRecord>, StoreError> {
        let Some(days) = percentiles.every_days else { return Ok(None) };
        let now = self.clock.now();
        let hour = record.created_at.millis().rem_euclid(DAY_MS);
        let at = now.day().plus(i32::try_from(days).unwrap_or(1)).start().plus_millis(hour);
        let id = next_id(workspace, asked.of, at).map_err(|e| StoreError::Refused { source: Box::new(e) })?;
        let kind = JobKind::Percentiles { of: asked.of.clone(), repeated: true };
        Ok(Some(JobRecord { pointer: at, ..JobRecord::new(id, kind, &record.by, now) }))
    }
}

fn next_id(workspace: &WorkspaceId, of: &Subject, at: Timestamp) -> Result<JobId, IdError> {
    let parts: [&[u8]; 4] = [b"percentiles", workspace.as_str().as_bytes(), of.kind.key().as_bytes(), of.id.as_str().as_bytes()];
    JobId::new(&format!("job_{}", BatchId::new(at, u128::from(hash64(&parts))).to_string().to_lowercase()))
}

/// The percentiles of a ruleset that is in use.
fn percentiles_of(ruleset: &Ruleset) -> Option<Percentiles> {
    let used = ruleset.primary || ruleset.in_force;
    ruleset.content.as_ref().filter(|_| used)?.levels()?.percentiles.clone()
}

fn add(counts: &mut ScoreCounts, of: LevelOf, score: &ScoreRecord) {
    match of {
        LevelOf::Account => counts.add(if score.disqualified_by.is_empty() { i64::from(score.account_score) } else { 0 }, 1),
        LevelOf::Engagement => counts.add(score.engagement, 1),
        LevelOf::Lead => {
            score.leads.iter().for_each(|lead| counts.add(lead.score, 1));
            // The record names leads with points, at most 500.
            counts.add(0, u64::from(score.total_leads).saturating_sub(score.leads.len() as u64));
        }
    }
}

/// There is nothing to compute. Who asked for it is told; a repetition ends without a word.
fn over(record: &JobRecord, asked: &Asked<'_>, because: &str) -> Worked {
    if asked.repeated { done(record.clone(), json!({ "unchanged": true, "because": because })) } else { failed(record, because.to_owned()) }
}

fn done(record: JobRecord, result: Value) -> Worked {
    let total = Some(record.done);
    Worked::Over(Box::new(JobRecord { state: JobState::Done, total, percent: 100, partial: Value::Null, result: Some(result), ..record }))
}
