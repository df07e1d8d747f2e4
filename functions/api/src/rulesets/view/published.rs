//! How it looks what came of a publication.

use super::finding::FindingView;
use crate::jobs::JobView;
use domain::{
    level::{Level, LevelRuleset},
    lint::Finding,
    ruleset::RulesetKind,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What came of a publication.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "unchanged": false, "version": 4, "model_version": 12,
    "job": {"id": "job_01k4z8e6v3y0m9c2w5t7r1p4qx", "kind": "publish", "state": "waiting", "phase": "rescore", "percent": 0, "done": 0, "total": null,
        "what": "account ruleset \"Enterprise target accounts\" version 4", "by": "dana", "created_at": "2026-11-21T09:05:00.000Z", "ended_at": null,
        "reason": null, "result": null, "warnings": [], "changes_url": null},
    "findings": [],
    "proposed_levels": [{"ruleset_id": "account", "kind": "account_levels", "because": "145 points are possible now, 100 before",
        "levels": [{"id": "low_priority", "name": "Low Priority", "color": "gray", "min": 0}, {"id": "target", "name": "Target", "color": "purple", "min": 116}]}]
}))]
pub(crate) struct Published {
    /// Whether everything was so already: no version was made, and no job started.
    pub unchanged: bool,
    /// The ruleset's version that was made, or that is made once events are counted; null when none is.
    #[schema(required)]
    pub version: Option<u64>,
    /// The version of the whole scoring model; null when the model does not hold the ruleset, because it is not enabled.
    #[schema(required)]
    pub model_version: Option<u64>,
    /// The job that brings it to every account; null when no score depends on it.
    #[schema(required)]
    pub job: Option<JobView>,
    /// What is doubtful about it all the same.
    #[schema(value_type = Vec<FindingView>)]
    pub findings: Vec<Finding>,
    /// Ranges of levels that fit the points that are possible now. They come into force only when somebody publishes them.
    pub proposed_levels: Vec<ProposedLevels>,
}

/// Ranges of levels for other points.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProposedLevels {
    /// The ruleset of levels.
    pub ruleset_id: String,
    /// Its kind.
    #[schema(example = "account_levels")]
    pub kind: &'static str,
    /// Why.
    #[schema(example = "145 points are possible now, 100 before")]
    pub because: String,
    /// The levels, lowest first.
    #[schema(value_type = Vec<Object>)]
    pub levels: Vec<Level>,
}

impl ProposedLevels {
    /// The levels moved along, when what is possible changes and the levels would change with it.
    pub(crate) fn new(kind: RulesetKind, ruleset: &LevelRuleset, before: i64, after: i64) -> Option<Self> {
        let levels = ruleset.proposed(before, after).filter(|levels| *levels != ruleset.levels)?;
        Some(Self {
            ruleset_id: ruleset.id.clone(),
            kind: kind.as_str(),
            because: format!("{after} points are possible now, {before} before"),
            levels,
        })
    }
}
