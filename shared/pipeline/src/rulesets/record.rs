//! What is stored of a ruleset.

use crate::{
    packed::packed,
    records::{from_item, text},
    store::{Condition, Item, Key, StoreError, Table, Write},
};
use domain::{
    Day, JobId, RulesetId, Timestamp, WorkspaceId,
    candidate::Days,
    ruleset::{Content, Difference, RulesetKind},
};
use serde::{Deserialize, Serialize};

pub(super) fn head_prefix(kind: RulesetKind) -> String {
    format!("ruleset#{}#", kind.key())
}

/// Where a head is kept.
pub fn head_key(workspace: &WorkspaceId, kind: RulesetKind, id: &RulesetId) -> Key {
    Key::new(Table::Config, workspace.as_str(), format!("{}{id}", head_prefix(kind)))
}

/// Where a draft is kept.
pub fn draft_key(workspace: &WorkspaceId, kind: RulesetKind, id: &RulesetId) -> Key {
    Key::new(Table::Config, workspace.as_str(), format!("draft#{}#{id}", kind.key()))
}

pub(super) fn version_prefix(kind: RulesetKind, id: &RulesetId) -> String {
    format!("version#{}#{id}#", kind.key())
}

/// Where a version is kept.
pub fn version_key(workspace: &WorkspaceId, kind: RulesetKind, id: &RulesetId, version: u64) -> Key {
    Key::new(Table::Config, workspace.as_str(), format!("{}{version:010}", version_prefix(kind, id)))
}

/// Where the running publication is noted.
pub fn publication_key(workspace: &WorkspaceId) -> Key {
    Key::new(Table::Config, workspace.as_str(), "publication")
}

/// Names a ruleset of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its kind.
    pub kind: RulesetKind,
    /// Its id.
    pub id: RulesetId,
}

/// What is true of a ruleset whatever its rules say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesetHead {
    /// Its kind.
    pub kind: RulesetKind,
    /// Its id.
    pub id: RulesetId,
    /// What people call it: as its published version says, or its first draft.
    pub name: String,
    /// Whether it is scored, once it is published. A level ruleset is in use when it is the primary one, or enabled and has a segment.
    pub enabled: bool,
    /// The first day on which it is scored, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<Day>,
    /// The last day on which it is scored, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_on: Option<Day>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Its newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<VersionHead>,
    /// The highest revision of any draft that is no more: the next draft goes on counting, so that a revision never means two drafts.
    #[serde(default)]
    pub revisions: u64,
    /// When its cut points were last computed; for levels whose ranges follow from the scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_points: Option<Computed>,
    /// Whether it was deleted although it is built in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// A computation of cut points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Computed {
    /// When.
    pub at: Timestamp,
    /// Over how many scores.
    pub scores: u64,
    /// The job that computes them again; it alone does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<JobId>,
}

impl RulesetHead {
    /// Its name in keys and jobs.
    pub fn subject(&self) -> Subject {
        Subject { kind: self.kind, id: self.id.clone() }
    }

    /// Whether it is scored on a day, if it is enabled and published.
    pub fn dates_hold(&self, day: Day) -> bool {
        self.starts_on.is_none_or(|first| first <= day) && self.ends_on.is_none_or(|last| day <= last)
    }

    /// The days on which it is scored.
    pub const fn days(&self) -> Days {
        Days { starts_on: self.starts_on, ends_on: self.ends_on }
    }

    /// The number of its newest version; 0 when there is none.
    pub fn version(&self) -> u64 {
        self.published.as_ref().map_or(0, |published| published.version)
    }
}

/// A ruleset as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its head.
    pub head: RulesetHead,
    /// Whether it is the one that drives levels (for a level ruleset: the one that is used).
    pub primary: bool,
    /// Whether scores are computed by it today, or levels given by it.
    pub in_force: bool,
    /// Of levels with a segment, at which place it is asked, from 1.
    pub order: Option<usize>,
}

/// A ruleset with everything that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    /// Its head.
    pub head: RulesetHead,
    /// The version of the head as stored; 0 for a built-in ruleset that nobody changed. With the draft's revision it tells whether the
    /// ruleset was changed.
    pub seen: u64,
    /// Whether it is the one that drives levels (for a level ruleset: the one that is used).
    pub primary: bool,
    /// Whether scores are computed by it today.
    pub in_force: bool,
    /// Of levels with a segment, at which place it is asked, from 1.
    pub order: Option<usize>,
    /// What is being worked on.
    pub draft: Option<Draft>,
    /// The content of its newest version.
    pub content: Option<Content>,
    /// The version of the model that was in force when it was read.
    pub model_version: u64,
    /// The publication of the workspace that is under way, of this ruleset or another.
    pub publication: Option<Publication>,
}

impl Ruleset {
    /// What an edit begins with: the draft, or else the newest version.
    pub fn editable(&self) -> Option<&Content> {
        self.draft.as_ref().map(|draft| &draft.content).or(self.content.as_ref())
    }

    /// The draft's revision; 0 when there is none.
    pub fn revision(&self) -> u64 {
        self.draft.as_ref().map_or(0, |draft| draft.revision)
    }

    /// Whether its own publication is being prepared, so that its draft can't be edited.
    pub fn is_held(&self) -> bool {
        self.publication.as_ref().is_some_and(|publication| publication.holds(&self.head.subject()))
    }
}

/// What is being worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The content. Its own id and version mean nothing.
    pub content: Content,
    /// Counts edits; a publication names the one that was reviewed.
    pub revision: u64,
    /// The version that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Who edited it last.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

pub(super) fn put_draft(workspace: &WorkspaceId, subject: &Subject, draft: &Draft, condition: Condition) -> Result<Write, StoreError> {
    let key = draft_key(workspace, subject.kind, &subject.id);
    let body = packed(&key, draft)?;
    Ok(Write::Put(Item { key, version: draft.revision, body, expires_at: None }, condition))
}

/// What is true of a version whatever its rules say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionHead {
    /// Counts the ruleset's publications, from 1.
    pub version: u64,
    /// When it was published; the beginning of 1970 for a built-in one.
    pub at: Timestamp,
    /// Who published it; `harpoon` for a built-in one.
    pub by: String,
    /// Why, in that person's words.
    #[serde(default)]
    pub why: String,
    /// The version that it is a copy of, when it was rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<u64>,
    /// The job that brought it to every account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The most points that it can give; `None` when there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub possible: Option<i64>,
    /// How many rules or levels it has.
    #[serde(default)]
    pub rules: usize,
}

impl VersionHead {
    /// Whether it came with Harpoon.
    pub fn is_built_in(&self) -> bool {
        self.at == Timestamp::default()
    }
}

/// A version of a ruleset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesetVersion {
    /// Who, when, why.
    pub head: VersionHead,
    /// The content, with its id and version.
    pub content: Content,
    /// What differs from the version before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<Difference>,
}

pub(super) fn put_version(
    workspace: &WorkspaceId,
    subject: &Subject,
    version: &RulesetVersion,
    condition: Condition,
) -> Result<Write, StoreError> {
    let key = version_key(workspace, subject.kind, &subject.id, version.head.version);
    let body = packed(&key, version)?;
    Ok(Write::Put(Item { key, version: 1, body, expires_at: None }, condition))
}

pub(super) fn put_head(workspace: &WorkspaceId, head: &RulesetHead, version: u64) -> Result<Write, StoreError> {
    crate::homes::put_record(head_key(workspace, head.kind, &head.id), version, head)
}

/// A publication whose job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The job.
    pub job: JobId,
    /// What is published, in words.
    pub what: String,
    /// The ruleset, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Who published it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How far it is.
    pub state: PublicationState,
}

impl Publication {
    /// Whether the ruleset's draft is waiting to come into force, so that it must stay as it is.
    pub fn holds(&self, subject: &Subject) -> bool {
        self.state == PublicationState::Preparing && self.subject.as_ref() == Some(subject)
    }
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationState {
    /// Events are counted for it; every score is still that of the old rules.
    Preparing,
    /// It is in force, and accounts are being scored by it.
    Rescoring,
}

pub(crate) fn read_publication(item: &Item) -> Result<Publication, StoreError> {
    from_item(item)
}

pub(super) fn put_publication(
    workspace: &WorkspaceId,
    publication: &Publication,
    version: u64,
    condition: Condition,
) -> Result<Write, StoreError> {
    let key = publication_key(workspace);
    let body = text(&key, publication)?;
    Ok(Write::Put(Item { key, version, body, expires_at: None }, condition))
}
