//! Rulesets that nobody stored: those of the model in force, and those that come with Harpoon.

use super::record::{RulesetHead, RulesetVersion, Subject, VersionHead};
use crate::store::StoreError;
use domain::{
    Day, RulesetId, Timestamp,
    model::{ModelDocument, default_document},
    ruleset::{Content, RulesetKind},
};

/// Who is said to have made what comes with Harpoon.
const NOBODY: &str = "harpoon";

fn built_in() -> Result<ModelDocument, StoreError> {
    default_document().map_err(|e| StoreError::Refused { source: Box::new(e) })
}

fn head_of(kind: RulesetKind, content: &Content, dates: (Option<Day>, Option<Day>), enabled: bool) -> Option<RulesetHead> {
    Some(RulesetHead {
        kind,
        id: RulesetId::new(content.id()).ok()?,
        name: content.name().to_owned(),
        enabled,
        starts_on: dates.0,
        ends_on: dates.1,
        created_at: Timestamp::default(),
        created_by: NOBODY.to_owned(),
        published: Some(version_head(content)),
        revisions: 0,
        cut_points: None,
        deleted: false,
    })
}

fn version_head(content: &Content) -> VersionHead {
    VersionHead {
        version: content.version().max(1),
        at: Timestamp::default(),
        by: NOBODY.to_owned(),
        why: "built in".to_owned(),
        copied_from: None,
        job: None,
        possible: content.possible(),
        rules: content.len(),
    }
}

/// The heads of all rulesets of a kind that the model holds or that are built in.
pub(super) fn heads(document: &ModelDocument, kind: RulesetKind) -> Result<Vec<RulesetHead>, StoreError> {
    let mut heads: Vec<RulesetHead> = head_of(kind, &document.primary(kind), (None, None), true).into_iter().collect();
    let others = document.all_beside(kind);
    heads.extend(others.iter().filter_map(|other| head_of(kind, &other.ruleset, (other.starts_on, other.ends_on), true)));
    if let Some(built_in) = head_of(kind, &built_in()?.primary(kind), (None, None), false)
        && heads.iter().all(|head| head.id != built_in.id)
    {
        heads.push(built_in);
    }
    Ok(heads)
}

/// The head of a ruleset that the model holds or that is built in.
pub(super) fn head(document: &ModelDocument, subject: &Subject) -> Result<Option<RulesetHead>, StoreError> {
    Ok(heads(document, subject.kind)?.into_iter().find(|head| head.id == subject.id))
}

/// The only version of such a ruleset.
pub(super) fn version(document: &ModelDocument, subject: &Subject) -> Result<Option<RulesetVersion>, StoreError> {
    let content = match document.holds(subject.kind, &subject.id) {
        Some(content) => Some(content),
        None => built_in()?.holds(subject.kind, &subject.id),
    };
    Ok(content.map(|content| RulesetVersion { head: version_head(&content), content, diff: Vec::new() }))
}
