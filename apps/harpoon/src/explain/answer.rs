//! The answer of `GET /api/v1/accounts/{id}/explain`, as far as it is printed. What is missing counts as empty.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Explained {
    pub as_of: String,
    pub rulesets: Rulesets,
    pub account: Fit,
    pub engagement: Engagement,
    pub surge: Surge,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rulesets {
    pub account: Ruleset,
    pub engagement: Ruleset,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ruleset {
    pub name: String,
    pub version: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fit {
    pub score: i64,
    pub possible: i64,
    pub known: String,
    pub missing_could_add: i64,
    pub missing: Vec<Missing>,
    pub rules: Vec<FitRule>,
    pub caps: Vec<FitCap>,
    pub level: LevelPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Missing {
    pub field: String,
    pub could_add: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FitRule {
    pub name: String,
    pub points: i64,
    pub possible: i64,
    pub outcome: String,
    pub because: Value,
    pub fields: Vec<Seen>,
    pub why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Seen {
    pub field: String,
    pub value: Value,
    pub assumed: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FitCap {
    pub cap: String,
    pub group: Value,
    pub limit: i64,
    pub points: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LevelPart {
    pub current: Option<Level>,
    pub by_score: Option<Level>,
    pub next: Option<Next>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Level {
    pub name: String,
    pub min: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    pub name: String,
    pub min: i64,
    pub points_needed: i64,
    pub reachable: bool,
    pub ways: Vec<Way>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Way {
    pub name: String,
    pub points: i64,
    pub times: i64,
    pub needs: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Engagement {
    pub score: i64,
    pub aggregation: Aggregation,
    pub leads: Vec<Lead>,
    pub others: Option<Others>,
    pub unmatched: Vec<Unmatched>,
    pub level: LevelPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Aggregation {
    pub kind: String,
    pub n: u64,
    pub percent: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Others {
    pub leads: u64,
    pub counts: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unmatched {
    pub name: String,
    pub points: i64,
    pub because: Because,
    pub why: String,
}

/// Why a rule gives nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Because {
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lead {
    pub label: String,
    pub is_account: bool,
    pub score: i64,
    pub counts: i64,
    pub rules: Vec<LeadRule>,
    pub cap: Option<Cap>,
    pub level: Option<LevelPart>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LeadRule {
    pub name: String,
    pub points: i64,
    pub count: u64,
    pub days: Vec<DayLine>,
    pub day_cap: Option<Cap>,
    pub cap: Option<Cap>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DayLine {
    pub raw: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cap {
    pub limit: i64,
    pub points: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Surge {
    pub active: bool,
    pub since: Option<String>,
    pub new_activity: bool,
    pub window_events: u64,
    pub window_leads: u64,
    pub window: [String; 2],
    pub baseline_events: u64,
    pub baseline: Option<[String; 2]>,
    pub ratio_percent: u64,
    pub thresholds: Thresholds,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Thresholds {
    pub mode: String,
    pub enter_events: u64,
    pub enter_leads: u64,
    pub enter_ratio_percent: u64,
    pub least_weekly: u64,
    pub leave_ratio_percent: u64,
    pub leave_events: u64,
    pub young_days: u64,
    pub young_events: u64,
    pub young_leads: u64,
    pub events: u64,
    pub days: u64,
}
