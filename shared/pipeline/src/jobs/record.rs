//! What is stored of a job.

use crate::rulesets::{Change, Subject};
use domain::{JobId, Timestamp, surge::SurgeSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most warnings that a job keeps.
const WARNINGS: usize = 20;

/// A job: what is to be done, how far it is, and what came out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub kind: JobKind,
    /// Who asked for it: the name of the API token.
    pub by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Whether it waits, runs or is over.
    pub state: JobState,
    /// Everything that it goes through, in order.
    pub phases: Vec<Phase>,
    /// The place of the present phase among them.
    #[serde(default)]
    pub at_phase: usize,
    /// How far the present phase is.
    #[serde(default)]
    pub cursor: Cursor,
    /// How many homes were worked on in the present phase.
    #[serde(default)]
    pub done: u64,
    /// How many there are, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How much of everything is done, 0 to 100. It never falls.
    #[serde(default)]
    pub percent: Percent,
    /// What was gathered so far; its shape is the kind's own.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub partial: Value,
    /// How many chunks of detailed result were written.
    #[serde(default)]
    pub rows: u32,
    /// What a person should know although the job goes on; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How often it was taken up without anything having been saved since.
    #[serde(default)]
    pub runs: u32,
    /// The moment of its pointer: it is looked at from then on.
    pub pointer: Timestamp,
    /// When it was last worked on.
    pub touched_at: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What came out, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// How much is done, 0 to 100.
pub type Percent = u8;

impl JobRecord {
    /// A job that waits from now on.
    pub fn new(id: JobId, kind: JobKind, by: &str, now: Timestamp) -> Self {
        Self {
            id,
            phases: kind.phases(),
            kind,
            by: by.to_owned(),
            created_at: now,
            state: JobState::Waiting,
            at_phase: 0,
            cursor: Cursor::Start,
            done: 0,
            total: None,
            percent: 0,
            partial: Value::Null,
            rows: 0,
            warnings: Vec::new(),
            runs: 0,
            pointer: now,
            touched_at: now,
            ended_at: None,
            result: None,
        }
    }

    /// The present phase; `None` when all are over.
    pub fn phase(&self) -> Option<Phase> {
        self.phases.get(self.at_phase).copied()
    }

    /// Goes on to the next phase.
    pub fn next_phase(&mut self) {
        self.at_phase = self.at_phase.saturating_add(1);
        self.cursor = Cursor::Start;
        self.done = 0;
        self.reach(0);
    }

    /// Notes that so many percent of the present phase are done.
    pub fn reach(&mut self, percent: u64) {
        let phases = u64::try_from(self.phases.len()).unwrap_or(1).max(1);
        let before = u64::try_from(self.at_phase).unwrap_or(0).min(phases);
        let reached = (before.saturating_mul(100).saturating_add(percent.min(99))) / phases;
        self.percent = self.percent.max(Percent::try_from(reached.min(99)).unwrap_or(99));
    }

    /// Notes something that a person should know.
    pub fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobKind {
    /// Brings a publication to every account.
    Publish {
        /// What was asked for: needed when it comes into force only after events were counted.
        change: Box<Change>,
        /// Why, in the person's words.
        why: String,
        /// Whether changes of levels that follow from it notify people.
        notify: bool,
        /// What is published, in words, such as `account ruleset "Enterprise" version 4`.
        what: String,
        /// The version of the model that every score is to have: of the model with the change, once that is in force.
        model: u64,
        /// Whether events have to be counted first.
        prepare: bool,
    },
    /// Tries a draft on every account.
    DryRun {
        /// The ruleset.
        of: Subject,
        /// The revision of its draft; `None` for the published version.
        revision: Option<u64>,
        /// Whether it is tried as the primary ruleset of its kind.
        as_primary: bool,
        /// Over how many past days notifications are counted.
        window_days: u32,
    },
    /// Finds who would be surging by other settings.
    SurgePreview {
        /// The settings.
        settings: SurgeSettings,
    },
    /// Counts of how many accounts each field is known.
    Coverage {},
    /// Finds where the levels of a ruleset begin, and publishes that.
    Percentiles {
        /// The ruleset.
        of: Subject,
        /// Whether it follows an earlier computation; then it ends without a word when another one took its place.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        repeated: bool,
    },
    /// Reads the events of everybody again by the account mapping in force.
    ApplyMapping {
        /// The version of the mapping.
        mapping: u64,
        /// The version of the model that says so, by which every score is to be made; 0 before everything was read.
        #[serde(default)]
        model: u64,
    },
    /// Places every lead again by the profile mapping in force.
    ApplyProfiles {
        /// The version of the model with the mapping.
        model: u64,
    },
}

impl JobKind {
    /// What it goes through.
    fn phases(&self) -> Vec<Phase> {
        match self {
            Self::Publish { prepare: false, .. } => vec![Phase::Rescore, Phase::Confirm],
            Self::Publish { prepare: true, notify: false, .. } => {
                vec![Phase::Settle, Phase::Fold, Phase::Switch, Phase::Rescore, Phase::Confirm]
            }
            // Counting anew changes what scores are computed from, which is told nobody: so everybody is scored by the old rules first.
            Self::Publish { prepare: true, notify: true, .. } => {
                vec![Phase::Settle, Phase::Fold, Phase::Rescore, Phase::Confirm, Phase::Switch, Phase::Rescore, Phase::Confirm]
            }
            Self::ApplyMapping { .. } => {
                vec![Phase::Settle, Phase::SetApart, Phase::Fold, Phase::Replace, Phase::Switch, Phase::Rescore, Phase::Confirm]
            }
            Self::ApplyProfiles { .. } => vec![Phase::Settle, Phase::Place],
            Self::DryRun { .. } | Self::SurgePreview { .. } | Self::Coverage {} | Self::Percentiles { .. } => vec![Phase::Walk],
        }
    }

    /// The word for it in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "publish",
            Self::DryRun { .. } => "dry_run",
            Self::SurgePreview { .. } => "surge_preview",
            Self::Coverage {} => "coverage",
            Self::Percentiles { .. } => "percentiles",
            Self::ApplyMapping { .. } => "apply_mapping",
            Self::ApplyProfiles { .. } => "apply_profiles",
        }
    }
}

/// A part of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits until nobody counts by the older model any more.
    Settle,
    /// Counts the events of those identities anew whose counts lack something.
    Fold,
    /// Puts the change into force.
    Switch,
    /// Has every home scored.
    Rescore,
    /// Looks whether every home was scored, and sees to those that were not.
    Confirm,
    /// Looks at every home.
    Walk,
    /// Sets apart what accounts hold from events.
    SetApart,
    /// Puts what was read again in its place.
    Replace,
    /// Has every lead placed again.
    Place,
}

impl Phase {
    /// The word for it in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Fold => "fold",
            Self::Switch => "switch",
            Self::Rescore => "rescore",
            Self::Confirm => "confirm",
            Self::Walk => "walk",
            Self::SetApart => "set_apart",
            Self::Replace => "replace",
            Self::Place => "place",
        }
    }
}

/// Whether a job waits, runs or is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum JobState {
    /// Nobody has begun.
    Waiting,
    /// Somebody has.
    Running,
    /// It is done.
    Done,
    /// It can't be done.
    Failed {
        /// Why.
        reason: String,
    },
    /// A person gave it up.
    Cancelled,
}

impl JobState {
    /// Whether nothing happens any more.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { .. } | Self::Cancelled)
    }

    /// The word for it in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How far a phase is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum Cursor {
    /// At its beginning.
    #[default]
    Start,
    /// Among the homes: those of one partition of standings after a sort key.
    Standings {
        /// Whether unresolved leads' standings are read, after all accounts'.
        leads: bool,
        /// Which partition of theirs.
        shard: u64,
        /// The sort key after which to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Waits for a moment.
    Until {
        /// Which.
        at: Timestamp,
    },
    /// All homes were seen.
    End,
}
