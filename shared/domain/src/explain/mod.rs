//! Why the scores are what they are: every point with the fields or events behind it, as data.
//!
//! People see whole points. The lines of an explanation are whole numbers, too, and always sum to the number shown above them: leads
//! to the account's engagement, rules to a lead's score, days to a rule. The rounding is [`crate::score::apportion`]'s.

mod account;
mod engagement;
mod reasons;
mod ways;

pub use account::{AccountPart, AccountRuleLine, OtherAccount};
pub use engagement::{
    DayLine, EngagementPart, LeadExplanation, LeadPart, LeadRuleLine, OtherEngagement, Others, PointsCap, UnmatchedRule, lead,
};
pub use reasons::Because;
pub use ways::{Way, Who};

use crate::{
    Day, IdentityId, Timestamp,
    evaluate::Evaluation,
    grade::{Grade, GridCell},
    level::{Level, LevelRuleset},
    model::{Beside, Model},
    score::CompiledEngagement,
    surge::SurgeSettings,
    trigger::LevelOf,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The levels that somebody holds by hysteresis and dwell, which the scores alone do not tell.
#[derive(Debug, Clone, Copy)]
pub struct HeldLevels<'a> {
    /// The account level's id.
    pub account: Option<&'a str>,
    /// The account engagement level's id.
    pub engagement: Option<&'a str>,
    /// The level ids of leads above the lowest, and since when.
    pub leads: &'a BTreeMap<IdentityId, (String, Timestamp)>,
}

/// An account's (or an unresolved lead's) scores, surge and levels, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The UTC day for which it holds, such as `2026-11-21`.
    pub as_of: String,
    /// What was computed with.
    pub rulesets: Rulesets,
    /// The account score as a letter.
    pub grade: Grade,
    /// The cell of the grid of fit and engagement, such as `A1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridCell>,
    /// The ids of the rules that disqualify the account; its grade is F and its level the lowest while there are any.
    pub disqualified_by: Vec<String>,
    /// Fit.
    pub account: AccountPart,
    /// Behaviour.
    pub engagement: EngagementPart,
    /// Surge.
    pub surge: SurgePart,
    /// The rulesets beside the primary ones, each with a score of its own. They drive no level.
    pub other_rulesets: Vec<OtherRuleset>,
    /// The past moment that it was asked for, RFC 3339; absent for an answer as of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What this answer can't know, in words; nothing for an answer as of now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

/// A ruleset beside the primary one, explained: the points of its lines sum to its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherRuleset {
    /// `account` or `engagement`.
    pub kind: &'static str,
    /// Which ruleset.
    pub ruleset: RulesetName,
    /// Why it gives no score, when it is not in force on the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// Its score; absent while it is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// The most that it can give; absent when there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possible: Option<i64>,
    /// The lines of an account ruleset.
    #[serde(flatten)]
    pub account: Option<OtherAccount>,
    /// The lines of an engagement ruleset.
    #[serde(flatten)]
    pub engagement: Option<OtherEngagement>,
}

/// The versions of everything that the scores follow from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rulesets {
    /// Counts publications of any part.
    pub model: u64,
    /// The account ruleset.
    pub account: RulesetName,
    /// The engagement ruleset.
    pub engagement: RulesetName,
    /// The account level ruleset that the account falls under.
    pub account_levels: RulesetName,
    /// The lead level ruleset that its leads fall under.
    pub lead_levels: RulesetName,
    /// The account engagement level ruleset that it falls under.
    pub engagement_levels: RulesetName,
}

/// A published ruleset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulesetName {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Counts its publications, from 1.
    pub version: u64,
}

impl RulesetName {
    fn new(id: &str, name: &str, version: u64) -> Self {
        Self { id: id.to_owned(), name: name.to_owned(), version }
    }
}

/// A level and the way to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LevelPart {
    /// The level held; absent before the first one was assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<LevelName>,
    /// The level that the score alone asks for. It differs while a fall waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_score: Option<LevelName>,
    /// The level above the one held; absent at the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NextLevel>,
}

/// A level by id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LevelName {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The lowest score of its range.
    pub min: i64,
}

/// The level above, and the shortest way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextLevel {
    /// The level.
    #[serde(flatten)]
    pub level: LevelName,
    /// How many points are missing.
    pub points_needed: i64,
    /// Whether it can be reached at all: by what is not known yet (account level), or by more events (behaviour), all caps applied.
    pub reachable: bool,
    /// The best score that can be had, when the level can't be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<i64>,
    /// For the account level: the fewest rules that would do together. For engagement: alternatives of one rule each, the shortest first.
    pub ways: Vec<Way>,
    /// For engagement: the fewest events found that would do together, all of them today.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shortest: Vec<Way>,
    /// What stands in the way, in words, such as a lead that is at its cap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// Surge, with what it was decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SurgePart {
    /// Whether activity is well above the account's own baseline.
    pub active: bool,
    /// The first day of the running surge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// It is new activity of a young account, not a rise over a baseline.
    pub new_activity: bool,
    /// Events that earn points, in the window.
    pub window_events: u32,
    /// Leads with such events in the window.
    pub window_leads: u32,
    /// The window: first and last day, both included.
    pub window: [String; 2],
    /// Events that earn points, in the days before the window.
    pub baseline_events: u32,
    /// The days before the window: first and last, both included. Absent in absolute mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<[String; 2]>,
    /// The window against a week of the baseline, in percent.
    pub ratio_percent: u64,
    /// The numbers that decide.
    pub thresholds: SurgeSettings,
}

impl Explanation {
    /// Explains an evaluation. At most `leads` leads are listed one by one.
    pub fn new(model: &Model, evaluation: &Evaluation<'_>, held: HeldLevels<'_>, leads: usize) -> Self {
        let account = account::part(model, evaluation, held);
        let engagement = engagement::part(model, evaluation, held, leads);
        let disqualified_by = account::disqualified_by(&evaluation.account);
        let grade = Grade::of(i64::from(account.score), i64::from(account.possible), !disqualified_by.is_empty());
        Self {
            as_of: evaluation.as_of.to_string(),
            rulesets: rulesets(model, evaluation),
            grade,
            grid: grid(evaluation.levels(model, LevelOf::Engagement), &engagement.level, grade),
            disqualified_by,
            account,
            engagement,
            surge: surge_part(model, evaluation),
            other_rulesets: others(model, evaluation, leads),
            at: None,
            limits: Vec::new(),
        }
    }
}

fn rulesets(model: &Model, evaluation: &Evaluation<'_>) -> Rulesets {
    let document = &model.document;
    let levels = |of: LevelOf| {
        let rules = evaluation.levels(model, of);
        RulesetName::new(&rules.id, &rules.name, rules.version)
    };
    Rulesets {
        model: model.version(),
        account: RulesetName::new(&document.account.id, &document.account.name, document.account.version),
        engagement: RulesetName::new(&document.engagement.id, &document.engagement.name, document.engagement.version),
        account_levels: levels(LevelOf::Account),
        lead_levels: levels(LevelOf::Lead),
        engagement_levels: levels(LevelOf::Engagement),
    }
}

/// The cell of the grid: the level held counts, else the one that the score asks for.
fn grid(levels: &LevelRuleset, level: &LevelPart, grade: Grade) -> Option<GridCell> {
    let rank = levels.rank(&level.current.as_ref().or(level.by_score.as_ref())?.id)?;
    Some(GridCell::of(grade, levels.levels.len().saturating_sub(rank + 1)))
}

fn others(model: &Model, evaluation: &Evaluation<'_>, leads: usize) -> Vec<OtherRuleset> {
    let document = &model.document;
    let accounts = document.other_accounts.iter().zip(&model.other_accounts);
    let accounts = accounts.map(|(beside, compiled)| account::other(beside, compiled, evaluation));
    let engagements = document.other_engagements.iter().zip(&model.other_engagements);
    let engagements = engagements.map(|(beside, compiled)| engagement::other(model, beside, compiled, evaluation, leads));
    accounts.chain(engagements).collect()
}

/// Why a ruleset is not in force on a day.
fn not_in_force<R>(beside: &Beside<R>, day: Day) -> Option<Because> {
    match (beside.starts_on, beside.ends_on) {
        (Some(first), _) if day < first => Some(Because::NotBegun { on: first.to_string() }),
        (_, Some(last)) if last < day => Some(Because::Ended { on: last.to_string() }),
        _ => None,
    }
}

/// The most points that an engagement ruleset can give an account; `None` when there is no limit.
pub fn possible_engagement(engagement: &CompiledEngagement) -> Option<i64> {
    ways::possible_of_account(engagement)
}

/// `3 of 4 fields known`.
pub fn known(known: usize, of: usize) -> String {
    let fields = if of == 1 { "field" } else { "fields" };
    format!("{known} of {of} {fields} known")
}

fn level_name(level: &Level) -> LevelName {
    LevelName { id: level.id.clone(), name: level.name.clone(), min: level.min }
}

fn level_part(rules: &LevelRuleset, held: Option<&str>, score: i64) -> LevelPart {
    let by_score = rules.natural(score);
    let current = held.and_then(|id| rules.level(id));
    // Whoever holds a higher level than the score asks for goes on from the one held.
    let from = current.into_iter().chain(by_score).map(|level| level.min).max();
    let next = rules.levels.iter().find(|level| from.is_none_or(|from| level.min > from));
    LevelPart {
        current: current.map(level_name),
        by_score: by_score.map(level_name),
        next: next.map(|level| NextLevel {
            level: level_name(level),
            points_needed: level.min.saturating_sub(score).max(0),
            reachable: true,
            most: None,
            ways: Vec::new(),
            shortest: Vec::new(),
            hints: Vec::new(),
        }),
    }
}

fn surge_part(model: &Model, evaluation: &Evaluation<'_>) -> SurgePart {
    let (surge, settings, today) = (&evaluation.surge, &model.document.surge, evaluation.as_of);
    let between = |from: Day, to: Day| [from.to_string(), to.to_string()];
    let (window, baseline) = match settings {
        SurgeSettings::Relative(_) => (between(today.plus(-6), today), Some(between(today.plus(-27), today.plus(-7)))),
        SurgeSettings::Absolute { days, .. } => (between(today.plus(1 - i32::try_from(*days).unwrap_or(28).clamp(1, 28)), today), None),
    };
    SurgePart {
        active: surge.active,
        since: surge.since.map(|day| day.to_string()),
        new_activity: surge.new_activity,
        window_events: surge.window,
        window_leads: surge.leads,
        window,
        baseline_events: surge.baseline,
        baseline,
        ratio_percent: surge.ratio_percent(settings),
        thresholds: settings.clone(),
    }
}

#[cfg(test)]
mod tests;
