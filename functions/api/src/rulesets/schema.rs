//! What clients write, for the description: the domain reads it by itself.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The rules of an account ruleset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "Enterprise target accounts", "cap": null, "groups": [], "missing_means_no": ["existing_customer"],
    "rules": [
        {"id": "size", "name": "Enterprise", "points": 50, "condition": {"field": "company_size", "op": "eq", "value": "enterprise"}},
        {"id": "industry", "points": 30, "condition": {"field": "industry", "op": "eq", "value": "technology"}},
        {"id": "employees", "points": 40, "condition": {"field": "employees", "op": "gt", "value": 1000}}
    ]
}))]
pub(crate) struct AccountContent {
    /// What to call it, 1 to 200 characters.
    pub name: String,
    /// The most points that all rules give together.
    pub cap: Option<i32>,
    /// Groups of rules whose points are capped together: `{"id", "name", "cap"}`; at most 100.
    #[schema(value_type = Option<Vec<Object>>)]
    pub groups: Option<Vec<Value>>,
    /// Fields that count as *no* while nothing is known of them; `existing_customer` unless said.
    pub missing_means_no: Option<Vec<String>>,
    /// At most 1,000, in the order in which they are explained.
    pub rules: Vec<AccountRule>,
}

/// One condition on fields and the points that it adds when it holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "industry", "name": "In a target industry", "points": 30, "condition": {"field": "industry", "op": "in", "value": ["Technology", "Finance"]}}))]
pub(crate) struct AccountRule {
    /// Names the rule within the ruleset.
    pub id: String,
    /// What people call it; its id unless said.
    pub name: Option<String>,
    /// What it adds, −1,000,000 to 1,000,000.
    pub points: i32,
    /// The group whose cap it counts towards.
    pub group: Option<String>,
    /// Whether an account for which it holds is disqualified: its grade is F and its level the lowest, whatever its score. Such a rule has 0 points.
    pub disqualifies: Option<bool>,
    /// When it applies: `{"field", "op", "value"}`, `{"all": […]}` or `{"any": […]}`, nested at most 10 deep. The operators are `eq`, `neq`, `in`,
    /// `not_in`, `contains`, `not_contains`, `starts_with`, `exists`, `not_exists`, `gt`, `gte`, `lt`, `lte`, `between` and `within_days`.
    #[schema(value_type = Object)]
    pub condition: Value,
}

/// The rules of an engagement ruleset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "Trial engagement", "lead_cap": 100, "aggregation": {"kind": "sum"},
    "rules": [
        {"id": "demo", "name": "Demo request", "points": 50, "events": ["Demo Requested"], "count": {"mode": "once_per_hours", "hours": 24}, "decay": {"kind": "half_life", "days": 90}},
        {"id": "pricing", "points": 15, "events": ["page view"], "filters": [{"paths": ["properties.path"], "op": "contains", "value": "pricing"}], "count": {"mode": "once_per_day"}, "decay": {"kind": "half_life", "days": 21}}
    ]
}))]
pub(crate) struct EngagementContent {
    /// What to call it, 1 to 200 characters.
    pub name: String,
    /// The most points of a lead; 0 for no limit; 100 unless said.
    pub lead_cap: Option<i64>,
    /// How an account's engagement follows from its leads': `{"kind": "sum"}`, `{"kind": "max"}`, `{"kind": "top_n", "n": 3}` or
    /// `{"kind": "diminishing", "percent": 50}`.
    #[schema(value_type = Option<Object>)]
    pub aggregation: Option<Value>,
    /// At most 1,000, in the order in which they are explained.
    pub rules: Vec<EngagementRule>,
}

/// What an event is worth.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "demo", "name": "Demo request", "points": 50, "events": ["Demo Requested"], "count": {"mode": "once_per_hours", "hours": 24}, "decay": {"kind": "half_life", "days": 90}}))]
pub(crate) struct EngagementRule {
    /// Names the rule within the ruleset.
    pub id: String,
    /// What people call it; its id unless said.
    pub name: Option<String>,
    /// What one counted event adds on its day, −10,000 to 10,000.
    pub points: i64,
    /// The names of 1 to 50 events, without regard to case and blanks.
    pub events: Vec<String>,
    /// What else must hold of the event: `{"paths", "op", "value"}`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub filters: Option<Vec<Value>>,
    /// What counts as one: `{"mode": "every" | "once_per_lead" | "once_per_session" | "once_per_day" | "once_per_key" | "once_per_key_and_day" |
    /// "once_per_hours"}`, with `paths` or `hours`.
    #[schema(value_type = Option<Object>)]
    pub count: Option<Value>,
    /// The most points of a day, before decay; 0 for no limit.
    pub cap_per_day: Option<i64>,
    /// The most points of a lead; 0 for no limit.
    pub cap: Option<i64>,
    /// How points fade: `{"kind": "none"}`, `{"kind": "half_life", "days"}`, `{"kind": "linear", "days"}` or `{"kind": "step", "steps": [{"from_day", "percent"}]}`.
    #[schema(value_type = Option<Object>)]
    pub decay: Option<Value>,
}

/// Levels.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "Account levels", "hysteresis_percent": 10, "dwell_hours": 24,
    "levels": [
        {"id": "low_priority", "name": "Low Priority", "color": "gray", "min": 0, "max": 19},
        {"id": "standard", "name": "Standard", "color": "green", "min": 20, "max": 49},
        {"id": "qualified", "name": "Qualified", "color": "blue", "min": 50, "max": 79},
        {"id": "target", "name": "Target", "color": "purple", "min": 80,
            "play": {"targeting": "Named ad audiences", "sales_motion": "AE-led", "success_metric": "Pipeline created"}}
    ]
}))]
pub(crate) struct LevelContent {
    /// What to call it, 1 to 200 characters.
    pub name: String,
    /// By how many percent a score must fall below a level's `min` before the level is lost, 0 to 50; 0 unless said.
    pub hysteresis_percent: Option<u32>,
    /// For how many hours a level is kept after it was reached, 0 to 720; 0 unless said.
    pub dwell_hours: Option<u32>,
    /// Which accounts the levels are for: `{"field", "op", "value"}`, `{"all": […]}` or `{"any": […]}` over fields of the account, `tier`,
    /// `owner` and `priority`. What is not known does not hold. The primary ruleset has none.
    #[schema(value_type = Option<Object>, example = json!({"field": "tier", "op": "eq", "value": "1:1"}))]
    pub segment: Option<Value>,
    /// How large the levels are to be: `cut-points` computes where they begin, and again every so many days: `{"cuts": [{"level", "top_percent"}],
    /// "every_days"}`, with one cut for each level above the lowest.
    #[schema(value_type = Option<Object>, example = json!({"cuts": [{"level": "target", "top_percent": 5}], "every_days": 7}))]
    pub percentiles: Option<Value>,
    /// Lowest first; the lowest begins at 0, and ranges neither overlap nor leave a gap.
    pub levels: Vec<LevelRule>,
}

/// A named range of scores.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "top", "name": "Top tier", "color": "purple", "min": 95}))]
pub(crate) struct LevelRule {
    /// Names the level; triggers and filters name it so.
    pub id: String,
    /// What people call it; its id unless said.
    pub name: Option<String>,
    /// `gray`, `green`, `blue`, `purple`, `yellow`, `orange`, `red` or `#rrggbb`.
    pub color: String,
    /// The lowest score that reaches it.
    pub min: i64,
    /// The highest score, when it should be said; the next level begins one above it.
    pub max: Option<i64>,
    /// What to do about accounts of this level: `{"targeting", "sales_motion", "success_metric"}`.
    #[schema(value_type = Option<Object>)]
    pub play: Option<Value>,
}

/// An account ruleset that is to be made: of a content, of a template, or of another ruleset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "Enterprise target accounts",
    "content": {"rules": [{"id": "size", "name": "Enterprise", "points": 50, "condition": {"field": "company_size", "op": "eq", "value": "enterprise"}}]}
}))]
pub(crate) struct AccountNewRuleset {
    /// What to call it, 1 to 200 characters. A template and a copy bring a name with them.
    pub name: Option<String>,
    /// The draft to begin with; without it there are no rules yet. Its name may be left out.
    pub content: Option<AccountContent>,
    /// The id of a template.
    pub template: Option<String>,
    /// What the template asks for.
    #[schema(value_type = Option<Object>, example = json!({"target_vertical": "Manufacturing"}))]
    pub variables: Option<Value>,
    /// Whether entries that the account mapping lacks for the template are added; usually false, and the answer names them under `needs`.
    pub add_mappings: Option<bool>,
    /// Another account ruleset, of which the draft or the newest version is copied, or the version that is named: `{"id", "version"}`.
    #[schema(value_type = Option<Object>)]
    pub copy_of: Option<Value>,
    /// Whether it is scored once it is published; usually true.
    pub enabled: Option<bool>,
    /// The first day on which it is scored, UTC.
    #[schema(example = "2026-12-01")]
    pub starts_on: Option<String>,
    /// The last day on which it is scored, UTC.
    #[schema(example = "2026-12-31")]
    pub ends_on: Option<String>,
}

/// An engagement ruleset that is to be made: of a content, of a template, or of another ruleset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"template": "practice-guide", "variables": {"pricing_word": "plans"}, "name": "Trial engagement"}))]
pub(crate) struct EngagementNewRuleset {
    /// What to call it, 1 to 200 characters. A template and a copy bring a name with them.
    pub name: Option<String>,
    /// The draft to begin with; without it there are no rules yet. Its name may be left out.
    pub content: Option<EngagementContent>,
    /// The id of a template.
    pub template: Option<String>,
    /// What the template asks for.
    #[schema(value_type = Option<Object>, example = json!({"pricing_word": "plans"}))]
    pub variables: Option<Value>,
    /// Whether entries that the account mapping lacks for the template are added; usually false, and the answer names them under `needs`.
    pub add_mappings: Option<bool>,
    /// Another engagement ruleset, of which the draft or the newest version is copied, or the version that is named: `{"id", "version"}`.
    #[schema(value_type = Option<Object>)]
    pub copy_of: Option<Value>,
    /// Whether it is scored once it is published; usually true.
    pub enabled: Option<bool>,
    /// The first day on which it is scored, UTC.
    #[schema(example = "2026-12-01")]
    pub starts_on: Option<String>,
    /// The last day on which it is scored, UTC.
    #[schema(example = "2026-12-31")]
    pub ends_on: Option<String>,
}

/// A ruleset of levels that is to be made: of a content, of a template, or of another ruleset. Once it is published it is used for its segment; one
/// without a segment is used once it is made the primary one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "Three levels",
    "content": {"levels": [
        {"id": "lower", "name": "Lower tier", "color": "gray", "min": 0}, {"id": "mid", "name": "Mid tier", "color": "blue", "min": 50},
        {"id": "top", "name": "Top tier", "color": "purple", "min": 80}]}
}))]
pub(crate) struct LevelNewRuleset {
    /// What to call it, 1 to 200 characters. A template and a copy bring a name with them.
    pub name: Option<String>,
    /// The draft to begin with. Its name may be left out.
    pub content: Option<LevelContent>,
    /// The id of a template.
    pub template: Option<String>,
    /// What the template asks for.
    #[schema(value_type = Option<Object>, example = json!({"mid_from": 50, "top_from": 95}))]
    pub variables: Option<Value>,
    /// Another ruleset of the kind, of which the draft or the newest version is copied, or the version that is named: `{"id", "version"}`.
    #[schema(value_type = Option<Object>)]
    pub copy_of: Option<Value>,
    /// Whether it is used for its segment once it is published; usually true.
    pub enabled: Option<bool>,
}

/// Settings of an account ruleset: either those of the ruleset itself, which act at once, or those of its draft.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"enabled": false}))]
pub(crate) struct AccountSettings {
    /// What people call it.
    pub name: Option<String>,
    /// Whether it is scored, once it is published.
    pub enabled: Option<bool>,
    /// The first day on which it is scored, UTC; null for no such day.
    pub starts_on: Option<String>,
    /// The last day on which it is scored, UTC; null for no such day.
    pub ends_on: Option<String>,
    /// `true` makes it the primary one: the one that levels follow.
    pub primary: Option<bool>,
    /// Why, for whoever looks it up.
    pub why: Option<String>,
    /// Whether people are notified of the changes of levels that follow; usually false.
    pub notify: Option<bool>,
    /// Of the draft: the most points that all rules give together; null for no limit.
    pub cap: Option<i32>,
    /// Of the draft: groups of rules whose points are capped together.
    #[schema(value_type = Option<Vec<Object>>)]
    pub groups: Option<Vec<Value>>,
    /// Of the draft: fields that count as *no* while nothing is known of them.
    pub missing_means_no: Option<Vec<String>>,
}

/// Settings of an engagement ruleset: either those of the ruleset itself, which act at once, or those of its draft.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"lead_cap": 200}))]
pub(crate) struct EngagementSettings {
    /// What people call it.
    pub name: Option<String>,
    /// Whether it is scored, once it is published.
    pub enabled: Option<bool>,
    /// The first day on which it is scored, UTC; null for no such day.
    pub starts_on: Option<String>,
    /// The last day on which it is scored, UTC; null for no such day.
    pub ends_on: Option<String>,
    /// `true` makes it the primary one: the one that levels follow.
    pub primary: Option<bool>,
    /// Why, for whoever looks it up.
    pub why: Option<String>,
    /// Whether people are notified of the changes of levels that follow; usually false.
    pub notify: Option<bool>,
    /// Of the draft: the most points of a lead; 0 for no limit.
    pub lead_cap: Option<i64>,
    /// Of the draft: how an account's engagement follows from its leads'.
    #[schema(value_type = Option<Object>)]
    pub aggregation: Option<Value>,
}

/// Settings of a ruleset of levels: either those of the ruleset itself, which act at once, or those of its draft.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"hysteresis_percent": 15}))]
pub(crate) struct LevelSettings {
    /// What people call it.
    pub name: Option<String>,
    /// Whether it is used for its segment, once it is published.
    pub enabled: Option<bool>,
    /// `true` makes it the primary one: the one for whoever no segment takes. It must have no segment itself.
    pub primary: Option<bool>,
    /// Why, for whoever looks it up.
    pub why: Option<String>,
    /// Whether people are notified of the changes of levels that follow; usually false.
    pub notify: Option<bool>,
    /// Of the draft: by how many percent a score must fall below a level's `min` before the level is lost.
    pub hysteresis_percent: Option<u32>,
    /// Of the draft: for how many hours a level is kept after it was reached.
    pub dwell_hours: Option<u32>,
    /// Of the draft: which accounts the levels are for; null for all.
    #[schema(value_type = Option<Object>)]
    pub segment: Option<Value>,
    /// Of the draft: how large the levels are to be; null when their ranges are as they are written.
    #[schema(value_type = Option<Object>)]
    pub percentiles: Option<Value>,
}

/// In which order segments are asked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"order": ["als_01k4z8e6v3y0m9c2w5t7r1p4qx", "als_01k4z8e6v3y0m9c2w5t7r1p4qy"]}))]
pub(crate) struct OrderBody {
    /// The ids of all rulesets with a segment that are in use, the first to be asked first. The primary one may stand at the end, where it is anyway.
    pub order: Vec<String>,
    /// Why, for whoever looks it up.
    pub why: Option<String>,
    /// Whether people are notified of the changes of levels that follow; usually false.
    pub notify: Option<bool>,
}

/// What is published, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"revision": 7, "why": "quarterly review"}))]
pub(crate) struct PublishBody {
    /// The revision of the draft that you reviewed.
    pub revision: u64,
    /// Why, 1 to 1,000 characters, for whoever looks it up.
    pub why: String,
    /// Whether people are notified of the changes of levels that follow; usually false.
    pub notify: Option<bool>,
}

/// What comes back, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"version": 3, "why": "the new points brought too many targets"}))]
pub(crate) struct RollbackBody {
    /// The version whose content comes back.
    pub version: u64,
    /// Why, for whoever looks it up; `rolled back to version 3` unless said.
    pub why: Option<String>,
    /// Whether people are notified of the changes of levels that follow; usually false.
    pub notify: Option<bool>,
}

/// How a version is copied.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"replace": true}))]
pub(crate) struct CopyBody {
    /// Whether a draft that is there already is replaced; usually false.
    pub replace: Option<bool>,
}

/// How many points are to be possible.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"possible": 145, "from": 100}))]
pub(crate) struct ProposeBody {
    /// How many points are to be possible.
    pub possible: u64,
    /// How many are, for the ranges of now; usually what the primary ruleset gives.
    pub from: Option<u64>,
}
