//! What an evaluation says: the score, and every point of it explained.

use crate::{
    Day,
    field::{FieldName, FieldValue},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An account score with its explanation. The points of the lines and of the caps always sum to the score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountScore {
    /// The score.
    pub score: i32,
    /// The most points that the ruleset can give, after caps.
    pub possible: i32,
    /// How many of the fields that rules use are known …
    pub known: usize,
    /// … of how many.
    pub of: usize,
    /// By how much the score would rise if every rule that lacks a field matched.
    pub missing_could_add: i32,
    /// The fields that are not known, with what each could add, the most first.
    pub missing: Vec<MissingField>,
    /// One line a rule, in the order of the ruleset.
    pub lines: Vec<RuleLine>,
    /// What caps took away, and what the floor of 0 gave back.
    pub caps: Vec<CapLine>,
    /// The rules that disqualify the account, by their ids, in the order of the ruleset. They change no point of the score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disqualified_by: Vec<Arc<str>>,
    /// The first day after the day of the evaluation on which the score may change without any field changing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_change: Option<Day>,
}

/// The score without its explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The score.
    pub score: i32,
    /// The most points that the ruleset can give, after caps.
    pub possible: i32,
    /// How many of the fields that rules use are known …
    pub known: usize,
    /// … of how many.
    pub of: usize,
    /// Whether a rule disqualifies the account.
    pub disqualified: bool,
    /// The first day after the day of the evaluation on which the score may change without any field changing.
    pub next_change: Option<Day>,
}

/// A field that rules use and that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingField {
    /// The field.
    pub field: FieldName,
    /// The points of the rules that wait for it, before caps. Rules that would take points away do not count.
    pub could_add: i32,
}

/// What one rule gave, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// The rule.
    pub rule_id: Arc<str>,
    /// What people call it.
    pub name: Arc<str>,
    /// The points that it gave, before caps.
    pub points: i32,
    /// The points that it gives when it matches.
    pub possible: i32,
    /// Whether it disqualifies the account when it matches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disqualifies: bool,
    /// Whether it matched, and why not.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The values that it looked at.
    pub fields: Vec<SeenField>,
}

/// What came of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "because", rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Matched,
    /// It holds, and a cap took some or all of its points away again.
    Capped(CapScope),
    /// It does not hold, whatever the missing fields may be.
    NotMatched,
    /// It can't be told, because these fields are not known.
    Missing(Vec<FieldName>),
    /// It can't be told, because only an interval is known of these fields.
    Undecided(Vec<FieldName>),
    /// It can't be evaluated.
    Faulty(String),
}

/// A value that a rule looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenField {
    /// The field.
    pub field: FieldName,
    /// Its value; `None` when it is not known.
    pub value: Option<FieldValue>,
    /// The value is not known, and *no* was assumed because the ruleset says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
}

/// Points that a cap took away (negative), or that the floor of 0 gave back (positive).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapLine {
    /// Which cap.
    #[serde(flatten)]
    pub scope: CapScope,
    /// The limit.
    pub limit: i32,
    /// What it adds to the score.
    pub points: i32,
}

/// What a cap is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cap", content = "group", rename_all = "snake_case")]
pub enum CapScope {
    /// A group of rules, by its id.
    Group(Arc<str>),
    /// All rules together.
    Total,
    /// A score is never below 0.
    Floor,
}

impl AccountScore {
    /// The sum of the explanation, which is the score.
    pub fn explained(&self) -> i64 {
        let lines = self.lines.iter().map(|line| i64::from(line.points));
        lines.chain(self.caps.iter().map(|cap| i64::from(cap.points))).sum()
    }
}
