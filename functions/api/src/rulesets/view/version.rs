//! How versions look.

use crate::view::moment;
use domain::ruleset::{Change, Difference};
use pipeline::rulesets::{RulesetVersion, VersionHead};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Who published a version, when and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionItem {
    /// Counts the ruleset's versions from 1.
    pub version: u64,
    /// When it was published; null for one that came with Harpoon.
    #[schema(required, example = "2026-11-20T12:00:00.000Z")]
    pub at: Option<String>,
    /// Who published it: the name of the API token.
    #[schema(example = "dana")]
    pub by: String,
    /// Why, in that person's words.
    #[schema(example = "quarterly review")]
    pub why: String,
    /// The earlier version that it is a copy of, when it was rolled back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<u64>,
    /// The job that brought it to every account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// How many rules or levels it has.
    pub rules: usize,
    /// The most points that it gives, after all caps. Null when there is no limit, and for levels.
    #[schema(required)]
    pub points_possible: Option<i64>,
}

impl VersionItem {
    pub(crate) fn new(head: VersionHead) -> Self {
        Self {
            at: moment(Some(head.at).filter(|_| !head.is_built_in())),
            version: head.version,
            by: head.by,
            why: head.why,
            copied_from: head.copied_from,
            job_id: head.job.map(|job| job.to_string()),
            rules: head.rules,
            points_possible: head.possible,
        }
    }
}

/// A version in a list of versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "version": 3, "at": "2026-11-20T12:00:00.000Z", "by": "dana", "why": "quarterly review", "rules": 3, "points_possible": 120,
    "summary": "points of `size` from 40 to 50"
}))]
pub(crate) struct VersionSummary {
    /// Who published it, when and why.
    #[serde(flatten)]
    pub head: VersionItem,
    /// What differs from the version before, in a line.
    pub summary: String,
}

impl VersionSummary {
    pub(crate) fn new(version: RulesetVersion) -> Self {
        let first = version.diff.is_empty() && version.head.version == 1;
        Self { summary: if first { "the first version".to_owned() } else { summary(&version.diff) }, head: VersionItem::new(version.head) }
    }
}

/// A version of a ruleset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "version": 3, "at": "2026-11-20T12:00:00.000Z", "by": "dana", "why": "quarterly review", "rules": 1, "points_possible": 50,
    "content": {"name": "Enterprise target accounts", "rules": [{"id": "size", "name": "Enterprise", "points": 50, "condition": {"field": "company_size", "op": "eq", "value": "enterprise"}}]},
    "against": 2,
    "diff": [{"change": "points", "rule_id": "size", "pointer": "/rules/0/points", "before": 40, "after": 50}]
}))]
pub(crate) struct VersionView {
    /// Who published it, when and why.
    #[serde(flatten)]
    pub head: VersionItem,
    /// Its content, as `PUT` takes it.
    #[schema(value_type = Object)]
    pub content: Value,
    /// The version that the differences are against; null for a first version.
    #[schema(required)]
    pub against: Option<u64>,
    /// What differs.
    #[schema(value_type = Vec<DifferenceView>)]
    pub diff: Vec<Difference>,
}

/// One difference between two contents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DifferenceView {
    /// `added`, `removed`, `moved`, `points`, `condition`, `name`, `cap`, `decay`, `count`, `level` or `setting`.
    #[schema(example = "points")]
    pub change: String,
    /// The rule or level, when it is of one.
    pub rule_id: Option<String>,
    /// The place, as a JSON pointer: in the content before for what was removed, in the content after for everything else.
    #[schema(example = "/rules/0/points")]
    pub pointer: String,
    /// What stood there; null for nothing.
    pub before: Value,
    /// What stands there now; null for nothing.
    pub after: Value,
}

/// What a few differences are, in a line.
pub(crate) fn summary(diff: &[Difference]) -> String {
    const SHOWN: usize = 3;
    let mut lines: Vec<String> = diff.iter().take(SHOWN).map(line).collect();
    match diff.len() {
        0 => "nothing but its number".to_owned(),
        n if n > SHOWN => {
            lines.push(format!("and {} more", n - SHOWN));
            lines.join(", ")
        }
        _ => lines.join(", "),
    }
}

fn line(difference: &Difference) -> String {
    let of = difference.rule_id.as_ref().map_or_else(String::new, |id| format!(" of `{id}`"));
    let field = difference.pointer.rsplit('/').next().unwrap_or_default();
    let short = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("`{text}`"),
        Value::String(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let named = difference.rule_id.as_deref().unwrap_or(field);
    match difference.change {
        Change::Added => format!("`{named}` added"),
        Change::Removed => format!("`{named}` removed"),
        Change::Moved => format!("`{named}` moved"),
        _ => match (short(&difference.before), short(&difference.after)) {
            (before, after) if before.is_empty() || after.is_empty() => format!("{field}{of} changed"),
            (before, after) => format!("{field}{of} from {before} to {after}"),
        },
    }
}
