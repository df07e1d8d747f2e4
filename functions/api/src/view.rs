//! How things look in answers: moments as RFC 3339, levels by id and name.

use domain::{
    Timestamp,
    level::LevelRuleset,
    model::Model,
    transition::{Changed, Transition},
};
use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Give it as `cursor` for the next page; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A moment in RFC 3339 with milliseconds.
pub(crate) fn moment(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// What a level is called. One that the rules do not have any more goes by its id.
pub(crate) fn level_name(rules: &LevelRuleset, id: Option<&str>) -> Option<String> {
    id.map(|id| rules.level(id).map_or_else(|| id.to_owned(), |level| level.name.clone()))
}

/// The id of the level that a client names by id or by name, without regard to case.
pub(crate) fn level_id<'r>(rules: &'r LevelRuleset, named: &str) -> Option<&'r str> {
    let by_id = rules.levels.iter().find(|level| level.id.eq_ignore_ascii_case(named));
    let found = by_id.or_else(|| rules.levels.iter().find(|level| level.name.to_lowercase() == named.to_lowercase()));
    found.map(|level| level.id.as_str())
}

/// The names of the levels, for messages.
pub(crate) fn level_names(rules: &LevelRuleset) -> String {
    rules.levels.iter().map(|level| format!("`{}`", level.id)).collect::<Vec<_>>().join(", ")
}

/// One change of a level, a score or a surge.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransitionView {
    /// Counts the account's transitions from 1.
    pub seq: u64,
    /// When it was recorded.
    #[schema(example = "2026-11-21T20:06:54.123Z")]
    pub at: String,
    /// `account_level`, `engagement_level`, `lead_level`, `surge` or `engagement`.
    pub what: &'static str,
    /// The lead, when it is a lead's level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<String>,
    /// What was before: a level's name, a score, or whether there was a surge. Null when there was nothing.
    #[schema(value_type = Option<String>, required)]
    pub from: serde_json::Value,
    /// What is since then.
    #[schema(value_type = String)]
    pub to: serde_json::Value,
    /// Why, in a clause.
    pub cause: String,
    /// Whether it notified nobody, because it came from old events, an import or a publication.
    pub silent: bool,
}

impl TransitionView {
    pub(crate) fn new(transition: &Transition, model: &Model) -> Self {
        let document = &model.document;
        let level = |rules: &LevelRuleset, id: Option<&str>| serde_json::Value::from(level_name(rules, id));
        let (what, lead, from, to) = match &transition.change {
            Changed::AccountLevel { from, to } => {
                let rules = &document.account_levels;
                ("account_level", None, level(rules, from.as_deref()), level(rules, Some(to)))
            }
            Changed::EngagementLevel { from, to } => {
                let rules = &document.engagement_levels;
                ("engagement_level", None, level(rules, from.as_deref()), level(rules, Some(to)))
            }
            Changed::LeadLevel { lead, from, to } => {
                let rules = &document.lead_levels;
                ("lead_level", Some(lead), level(rules, from.as_deref()), level(rules, Some(to)))
            }
            Changed::Surge { active } => ("surge", None, (!active).into(), (*active).into()),
            Changed::Grid { from, to } => ("grid", None, from.map(|cell| cell.to_string()).into(), to.to_string().into()),
            Changed::Engagement { from, to } => ("engagement", None, (*from).into(), (*to).into()),
        };
        Self {
            seq: transition.seq,
            at: transition.at.to_string(),
            what,
            lead_id: lead.map(|lead| format!("ld_{lead}")),
            from,
            to,
            cause: transition.cause.clone(),
            silent: transition.silent,
        }
    }
}
