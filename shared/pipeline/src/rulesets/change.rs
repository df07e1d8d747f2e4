//! What may be asked of the model, and what becomes of it.

use super::record::Subject;
use crate::{jobs::JobRecord, packed::TooLarge, store::StoreError};
use domain::{
    Day, JobId, RulesetId, Timestamp, TriggerId, WorkspaceId, aliases::AliasTables, field::SourceOrder, level::CutPoint, lint::Finding,
    mapping::AccountMapping, model::ModelError, owner::OwnerRules, problem::Problems, profile::ProfileMapping, ruleset::RulesetKind,
    surge::SurgeSettings,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A change of the model that somebody asks for.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Whose model.
    pub workspace: &'a WorkspaceId,
    /// Who asks: the name of the API token.
    pub by: &'a str,
    /// Why, in that person's words; empty for a change that needs no reason.
    pub why: String,
    /// Whether changes of levels that follow from it notify people.
    pub notify: bool,
    /// What is to change.
    pub change: Change,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The draft becomes the ruleset's next version.
    Ruleset {
        /// The ruleset's kind.
        kind: RulesetKind,
        /// Its id.
        id: RulesetId,
        /// The revision of the draft that was reviewed.
        revision: u64,
    },
    /// The content of an earlier version becomes the ruleset's next version.
    Rollback {
        /// The ruleset's kind.
        kind: RulesetKind,
        /// Its id.
        id: RulesetId,
        /// The earlier version.
        to: u64,
    },
    /// Whether and when the ruleset is scored, its name, and whether it is the primary one.
    Head {
        /// The ruleset's kind.
        kind: RulesetKind,
        /// Its id.
        id: RulesetId,
        /// What is to be different.
        patch: HeadPatch,
    },
    /// In which order segments of levels are asked.
    Order {
        /// The kind of levels.
        kind: RulesetKind,
        /// The rulesets of all segments, the first to be asked first.
        order: Vec<RulesetId>,
    },
    /// The levels of a ruleset begin where the scores say.
    CutPoints {
        /// The ruleset's kind.
        kind: RulesetKind,
        /// Its id.
        id: RulesetId,
        /// The version of it that they were computed for.
        version: u64,
        /// Where its levels begin.
        points: Vec<CutPoint>,
        /// Over how many scores that was computed.
        scores: u64,
        /// The job that computes them again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<JobId>,
    },
    /// When an account surges.
    Surge {
        /// The settings.
        settings: SurgeSettings,
    },
    /// How event properties become fields, for events from now on; and whose statement wins, for everything.
    Mapping {
        /// The mapping; its version is counted by Harpoon.
        mapping: AccountMapping,
        /// Which source's statement wins; `None` leaves that as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source_order: Option<SourceOrder>,
    },
    /// What values of fields are called by their sources.
    Aliases {
        /// The tables of all fields.
        aliases: AliasTables,
    },
    /// Who looks after which accounts, as long as no person says otherwise.
    Owners {
        /// The rules.
        owners: OwnerRules,
    },
    /// How leads' traits name accounts, for events from now on.
    Profiles {
        /// The mapping.
        profiles: ProfileMapping,
    },
}

impl Change {
    /// The ruleset that it is about, when it is about one.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Ruleset { kind, id, .. }
            | Self::Rollback { kind, id, .. }
            | Self::Head { kind, id, .. }
            | Self::CutPoints { kind, id, .. } => Some(Subject { kind: *kind, id: id.clone() }),
            Self::Order { .. }
            | Self::Surge { .. }
            | Self::Mapping { .. }
            | Self::Aliases { .. }
            | Self::Owners { .. }
            | Self::Profiles { .. } => None,
        }
    }
}

/// What is to be different about a ruleset's head; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadPatch {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The first day on which it is scored; the inner `None` for no such day.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub starts_on: Option<Option<Day>>,
    /// The last day on which it is scored; the inner `None` for no such day.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    pub ends_on: Option<Option<Day>>,
    /// Whether it is to be the primary one; another one takes its place only by being made primary itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<bool>,
}

/// `null` is something else than nothing.
mod double {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::option_option, reason = "the outer one says whether anything was said")]
    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(d).map(Some)
    }

    #[expect(clippy::option_option, reason = "the outer one says whether anything was said")]
    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Option<Option<T>>, s: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(s)
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// It is as it was asked for already: no version, no job, nothing was written but that a draft without differences is gone.
    Unchanged,
    /// It is in force, and no score follows from it that is not right already.
    AtOnce {
        /// The version of the ruleset, when one was made.
        version: Option<u64>,
        /// The version of the model; `None` when the model does not hold the ruleset.
        model: Option<u64>,
    },
    /// A job brings it to every account.
    Job {
        /// The job.
        job: Box<JobRecord>,
        /// The version of the ruleset that is made, when one is.
        version: Option<u64>,
        /// The version of the model that is in force from now on. While events are counted first, it scores by the old rules.
        model: u64,
    },
}

/// Why a ruleset or the model was not changed. Nothing was written.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The draft is at another revision by now (0: there is none).
    #[error("it is at revision {revision} by now; read it again")]
    Stale {
        /// The revision.
        revision: u64,
    },
    /// A publication is under way.
    #[error("a publication is under way: /api/v1/jobs/{job}; wait for it or cancel it")]
    Running {
        /// Its job.
        job: JobId,
    },
    /// Somebody published something meanwhile.
    #[error("version {version} of the model was published by `{by}` at {at}; look at the differences again")]
    Published {
        /// The version of the model.
        version: u64,
        /// Who published it.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It can't work.
    #[error("it can't work: {} faults", .0.len())]
    Refused(Vec<Finding>),
    /// The request does not fit the ruleset; each problem names its place.
    #[error("{0}")]
    Invalid(Problems),
    /// Enabled triggers name a level that would be no more.
    #[error("the level `{level}` is named by the triggers {}; change them first", names(triggers))]
    Referenced {
        /// The level's id.
        level: String,
        /// The triggers: id and name.
        triggers: Vec<(TriggerId, String)>,
    },
    /// The model or the ruleset is too large.
    #[error("it has {kib} KB packed, at most 350 fit: fewer or shorter rules would")]
    TooLarge {
        /// Its size in KB.
        kib: usize,
    },
    /// There is no such ruleset, version or draft.
    #[error("there is no such ruleset, version or draft")]
    Missing,
    /// The primary ruleset of its kind can't be deleted or disabled, and has no dates.
    #[error("the primary ruleset can't be deleted, disabled or given an end; make another one primary first")]
    Primary,
    /// It is enabled.
    #[error("the ruleset is enabled; disable it first")]
    Enabled,
    /// There is a draft already.
    #[error("there is a draft already, at revision {revision}; discard it or replace it")]
    DraftThere {
        /// Its revision.
        revision: u64,
    },
    /// Another ruleset has this id.
    #[error("another ruleset has this id")]
    Taken,
    /// The model that follows can't be used. Lint finds such faults with their places; this is the last line of defence.
    #[error(transparent)]
    Unusable(#[from] ModelError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Refused { source } = &error
            && let Some(TooLarge { kib }) = source.downcast_ref::<TooLarge>()
        {
            return Self::TooLarge { kib: *kib };
        }
        Self::Store(error)
    }
}

impl PublishError {
    pub(super) fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        let mut problems = Problems::none();
        problems.add(pointer, message);
        Self::Invalid(problems)
    }
}

fn names(triggers: &[(TriggerId, String)]) -> String {
    triggers.iter().map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
