//! How rulesets look in answers.

mod finding;
mod published;
mod version;

pub(super) use finding::{FindingCounts, FindingView, LintView};
pub(super) use published::{ProposedLevels, Published};
pub(super) use version::{DifferenceView, VersionItem, VersionSummary, VersionView};

use crate::view::moment;
use domain::{
    engagement::{MatchingPart, PartId},
    model::ModelDocument,
    ruleset::{Content, Difference, diff},
};
use pipeline::rulesets::{Computed, Draft, Listed, Publication, PublicationState, Ruleset};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// A ruleset as lists show it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ars_01k4z8e6v3y0m9c2w5t7r1p4qx", "kind": "account", "name": "Enterprise target accounts", "primary": false, "enabled": true,
    "starts_on": null, "ends_on": "2026-12-31", "in_force": true, "points_possible": 120, "created_at": "2026-11-20T11:00:00.000Z",
    "created_by": "dana",
    "published": {"version": 3, "at": "2026-11-20T12:00:00.000Z", "by": "dana", "why": "quarterly review", "rules": 3, "points_possible": 120}
}))]
pub(crate) struct RulesetItem {
    /// Its id.
    pub id: String,
    /// `account`, `engagement`, `account_levels`, `lead_levels` or `engagement_levels`.
    pub kind: &'static str,
    /// What people call it.
    pub name: String,
    /// Whether it is the one that levels follow; of rulesets of levels, whether it is the one in use.
    pub primary: bool,
    /// Whether it is scored, once it is published.
    pub enabled: bool,
    /// The first day on which it is scored, UTC; null when there is no such day.
    #[schema(required, example = "2026-12-01")]
    pub starts_on: Option<String>,
    /// The last day on which it is scored, UTC; null when there is no such day.
    #[schema(required, example = "2026-12-31")]
    pub ends_on: Option<String>,
    /// Whether scores are computed by it today; of rulesets of levels, whether levels are given by it.
    pub in_force: bool,
    /// Of levels with a segment that are in use: at which place the segment is asked, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<usize>,
    /// When the cut points of its levels were last computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_points: Option<ComputedView>,
    /// The most points that its newest version gives, after all caps: to an account, or to a lead. Null when there is no limit.
    #[schema(required)]
    pub points_possible: Option<i64>,
    /// When it was made; null for one that came with Harpoon.
    #[schema(required)]
    pub created_at: Option<String>,
    /// Who made it: the name of the API token.
    pub created_by: String,
    /// Its newest version; null when it was never published.
    #[schema(required)]
    pub published: Option<VersionItem>,
}

impl RulesetItem {
    pub(super) fn new(listed: Listed) -> Self {
        let Listed { head, primary, in_force, order } = listed;
        let built_in = head.created_at == domain::Timestamp::default();
        Self {
            id: head.id.to_string(),
            kind: head.kind.as_str(),
            name: head.name,
            primary,
            enabled: head.enabled,
            starts_on: head.starts_on.map(|day| day.to_string()),
            ends_on: head.ends_on.map(|day| day.to_string()),
            in_force,
            order,
            cut_points: head.cut_points.map(ComputedView::new),
            points_possible: head.published.as_ref().and_then(|published| published.possible),
            created_at: moment(Some(head.created_at).filter(|_| !built_in)),
            created_by: head.created_by,
            published: head.published.map(VersionItem::new),
        }
    }
}

/// A computation of cut points.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"at": "2026-11-21T02:00:00.000Z", "scores": 412, "next_job": "job_01k4z8e6v3y0m9c2w5t7r1p4qx"}))]
pub(crate) struct ComputedView {
    /// When.
    pub at: String,
    /// Over how many scores.
    pub scores: u64,
    /// The job that computes them again; null when none does.
    #[schema(required)]
    pub next_job: Option<String>,
}

impl ComputedView {
    fn new(computed: Computed) -> Self {
        Self { at: computed.at.to_string(), scores: computed.scores, next_job: computed.next.map(|job| job.to_string()) }
    }
}

/// What is being worked on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DraftView {
    /// Counts edits. A publication names the one that was reviewed.
    #[schema(example = 7)]
    pub revision: u64,
    /// The version that it began with; null when there was none.
    #[schema(required)]
    pub base: Option<u64>,
    /// Who edited it last: the name of the API token.
    pub by: String,
    /// When.
    pub at: String,
    /// The content, as `PUT` takes it.
    #[schema(value_type = Object)]
    pub content: Value,
    /// The most points that it can give, after all caps. Null when there is no limit, and for levels.
    #[schema(required)]
    pub points_possible: Option<i64>,
    /// What differs from the newest version.
    #[schema(value_type = Vec<DifferenceView>)]
    pub diff: Vec<Difference>,
    /// Whether events have to be counted before it can come into force: it counts something that nothing counted before.
    pub needs_fold: bool,
    /// How many findings it has by itself; `GET …/lint` names them, and those that accounts show.
    pub findings: FindingCounts,
}

/// The publication of the workspace that is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublicationView {
    /// Its job, at `/api/v1/jobs/{id}`.
    pub job_id: String,
    /// What is published.
    #[schema(example = "account ruleset \"Enterprise target accounts\" version 4")]
    pub what: String,
    /// Who published it: the name of the API token.
    pub by: String,
    /// When.
    pub at: String,
    /// `preparing` while events are counted for it and every score is still that of the old rules, then `rescoring`.
    pub state: &'static str,
}

impl PublicationView {
    fn new(publication: Publication) -> Self {
        Self {
            job_id: publication.job.to_string(),
            what: publication.what,
            by: publication.by,
            at: publication.at.to_string(),
            state: match publication.state {
                PublicationState::Preparing => "preparing",
                PublicationState::Rescoring => "rescoring",
            },
        }
    }
}

/// A ruleset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ars_01k4z8e6v3y0m9c2w5t7r1p4qx", "kind": "account", "name": "Enterprise target accounts", "primary": false, "enabled": true,
    "starts_on": null, "ends_on": "2026-12-31", "in_force": true, "points_possible": 40, "created_at": "2026-11-20T11:00:00.000Z",
    "created_by": "dana",
    "published": {"version": 3, "at": "2026-11-20T12:00:00.000Z", "by": "dana", "why": "quarterly review", "rules": 1, "points_possible": 40},
    "content": {"name": "Enterprise target accounts", "missing_means_no": ["existing_customer"], "rules": [
        {"id": "size", "name": "Enterprise", "points": 40, "condition": {"field": "company_size", "op": "eq", "value": "enterprise"}}]},
    "draft": {"revision": 7, "base": 3, "by": "kim", "at": "2026-11-21T09:00:00.000Z", "points_possible": 50,
        "content": {"name": "Enterprise target accounts", "missing_means_no": ["existing_customer"], "rules": [
            {"id": "size", "name": "Enterprise", "points": 50, "condition": {"field": "company_size", "op": "eq", "value": "enterprise"}}]},
        "diff": [{"change": "points", "rule_id": "size", "pointer": "/rules/0/points", "before": 40, "after": 50}],
        "needs_fold": false, "findings": {"errors": 0, "warnings": 1, "hints": 0}},
    "publication": null
}))]
pub(crate) struct RulesetView {
    #[serde(flatten)]
    pub head: RulesetItem,
    /// The content of its newest version, as `PUT` takes it; null when it was never published.
    #[schema(value_type = Option<Object>, required)]
    pub content: Value,
    /// What is being worked on; null when the newest version is all there is.
    #[schema(required)]
    pub draft: Option<DraftView>,
    /// The publication of the workspace that is under way, of this ruleset or of something else; null when there is none.
    #[schema(required)]
    pub publication: Option<PublicationView>,
    /// What the template that it was just made from needs beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// What a ruleset needs beside it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Needs {
    /// Entries that the account mapping lacks. Add them, or make the ruleset with `"add_mappings": true`.
    #[schema(value_type = Vec<Object>, example = json!([{"field": "expansion_signal_at", "type": "date", "policy": {"last_time_of_event": "Expansion Signal"}}]))]
    pub mapping_entries: Vec<Value>,
}

impl RulesetView {
    pub(super) fn new(ruleset: Ruleset, document: &ModelDocument, findings: FindingCounts) -> Self {
        let draft = ruleset.draft.map(|draft| DraftView::new(draft, ruleset.content.as_ref(), document, findings));
        Self {
            head: RulesetItem::new(Listed {
                head: ruleset.head,
                primary: ruleset.primary,
                in_force: ruleset.in_force,
                order: ruleset.order,
            }),
            content: ruleset.content.as_ref().map(bare).unwrap_or_default(),
            draft,
            publication: ruleset.publication.map(PublicationView::new),
            needs: None,
        }
    }
}

impl DraftView {
    fn new(draft: Draft, published: Option<&Content>, document: &ModelDocument, findings: FindingCounts) -> Self {
        Self {
            revision: draft.revision,
            base: draft.base,
            by: draft.by,
            at: draft.at.to_string(),
            content: bare(&draft.content),
            points_possible: draft.content.possible(),
            diff: published.map(|published| diff(Some(published), &draft.content)).unwrap_or_default(),
            needs_fold: needs_fold(&draft.content, document),
            findings,
        }
    }
}

/// Whether the content counts something that the model does not.
fn needs_fold(content: &Content, document: &ModelDocument) -> bool {
    let counted: BTreeSet<PartId> = document.matching_parts().map(MatchingPart::id).collect();
    content.parts().iter().any(|part| !counted.contains(&part.id()))
}

/// The content as people write it: without the id and the version, which are the ruleset's.
pub(crate) fn bare(content: &Content) -> Value {
    let mut value = content.to_value();
    if let Some(map) = value.as_object_mut() {
        map.remove("id");
        map.remove("version");
    }
    value
}
