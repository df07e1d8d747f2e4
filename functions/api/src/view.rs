//! How things look in answers: moments as RFC 3339, levels by id and name.

use domain::{
    Timestamp,
    model::{Model, ModelDocument},
    transition::{Changed, Transition},
    trigger::LevelOf,
};
use pipeline::{board::Row, records::Standing};
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

/// The level rulesets that a home falls under, each `None` for the primary one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Under<'s> {
    account: Option<&'s str>,
    engagement: Option<&'s str>,
    lead: Option<&'s str>,
}

impl<'s> Under<'s> {
    pub(crate) fn of(standing: Option<&'s Standing>) -> Self {
        let name = |ruleset: fn(&Standing) -> &Option<String>| standing.and_then(|standing| ruleset(standing).as_deref());
        Self {
            account: name(|standing| &standing.level_ruleset),
            engagement: name(|standing| &standing.engagement_level_ruleset),
            lead: name(|standing| &standing.lead_level_ruleset),
        }
    }

    /// Of a row: which ruleset its leads fall under is not known there.
    pub(crate) fn of_row(row: &'s Row) -> Self {
        Self { account: row.level_ruleset.as_deref(), engagement: row.engagement_level_ruleset.as_deref(), lead: None }
    }

    const fn ruleset(self, of: LevelOf) -> Option<&'s str> {
        match of {
            LevelOf::Account => self.account,
            LevelOf::Engagement => self.engagement,
            LevelOf::Lead => self.lead,
        }
    }
}

/// What a level is called by the ruleset that somebody falls under. One that no ruleset has any more goes by its id.
pub(crate) fn level_name(document: &ModelDocument, of: LevelOf, under: Under<'_>, id: Option<&str>) -> Option<String> {
    id.map(|id| document.level_named(of, under.ruleset(of), id).map_or_else(|| id.to_owned(), |level| level.name.clone()))
}

/// The id of the level of any ruleset that a client names by id or by name, without regard to case.
pub(crate) fn level_id<'d>(document: &'d ModelDocument, of: LevelOf, named: &str) -> Option<&'d str> {
    let levels = || document.all_levels(of).flat_map(|ruleset| &ruleset.levels);
    let by_id = levels().find(|level| level.id.eq_ignore_ascii_case(named));
    let found = by_id.or_else(|| levels().find(|level| level.name.to_lowercase() == named.to_lowercase()));
    found.map(|level| level.id.as_str())
}

/// The ids of the levels, for messages.
pub(crate) fn level_names(document: &ModelDocument, of: LevelOf) -> String {
    document.level_ids(of).into_iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
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
    pub(crate) fn new(transition: &Transition, model: &Model, under: Under<'_>) -> Self {
        let document = &model.document;
        let level = |of: LevelOf, id: Option<&str>| serde_json::Value::from(level_name(document, of, under, id));
        let (what, lead, from, to) = match &transition.change {
            Changed::AccountLevel { from, to } => {
                let of = LevelOf::Account;
                ("account_level", None, level(of, from.as_deref()), level(of, Some(to)))
            }
            Changed::EngagementLevel { from, to } => {
                let of = LevelOf::Engagement;
                ("engagement_level", None, level(of, from.as_deref()), level(of, Some(to)))
            }
            Changed::LeadLevel { lead, from, to } => {
                let of = LevelOf::Lead;
                ("lead_level", Some(lead), level(of, from.as_deref()), level(of, Some(to)))
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
