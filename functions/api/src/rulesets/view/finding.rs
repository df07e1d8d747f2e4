//! How findings look.

use domain::lint::{Finding, Severity};
use serde::Serialize;
use utoipa::ToSchema;

/// How many findings there are.
#[derive(Debug, Default, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct FindingCounts {
    /// It can't work; publication refuses it.
    pub errors: usize,
    /// It works, and probably not as intended.
    pub warnings: usize,
    /// Worth a look.
    pub hints: usize,
}

impl FindingCounts {
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        Self { errors: count(Severity::Error), warnings: count(Severity::Warning), hints: count(Severity::Hint) }
    }
}

/// Findings of lint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "of": "draft", "revision": 7, "version": null, "accounts": 412,
    "findings": [{"code": "low_coverage", "severity": "warning", "pointer": "/rules/1", "rule_id": "revenue", "says": "`revenue` is known of 41 of 412 accounts", "remedy": "map it or enrich it, or drop the rule"}],
    "workspace": []
}))]
pub(crate) struct LintView {
    /// What was looked at: `draft` or `published`.
    pub of: &'static str,
    /// The draft's revision.
    #[schema(required)]
    pub revision: Option<u64>,
    /// The version.
    #[schema(required)]
    pub version: Option<u64>,
    /// How many accounts were looked at; null when there are too many to look at them at once, so that what only accounts show is left out.
    #[schema(required)]
    pub accounts: Option<u64>,
    /// What is wrong or doubtful, the gravest first.
    #[schema(value_type = Vec<FindingView>)]
    pub findings: Vec<Finding>,
    /// What is wrong with the rulesets in force together.
    #[schema(value_type = Vec<FindingView>)]
    pub workspace: Vec<Finding>,
}

/// Something that is wrong or doubtful.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingView {
    /// What it is, for programs.
    #[schema(example = "low_coverage")]
    pub code: String,
    /// `error`: it can't work, publication refuses it; `warning`: it works, and probably not as intended; `hint`: worth a look.
    #[schema(example = "warning")]
    pub severity: String,
    /// The place in the content, as a JSON pointer; empty for all of it.
    #[schema(example = "/rules/1")]
    pub pointer: String,
    /// The rule, when it is one's.
    pub rule_id: Option<String>,
    /// The level, when it is one's.
    pub level_id: Option<String>,
    /// What is the matter.
    pub says: String,
    /// What to do about it.
    pub remedy: String,
}
