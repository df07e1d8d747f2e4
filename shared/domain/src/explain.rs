//! Why the scores are what they are: every point with the fields or events behind it, as data.
//!
//! People see whole points. The lines of an explanation are whole numbers, too, and always sum to the number shown above them: leads
//! to the account's engagement, rules to a lead's score, days to a rule. The rounding is [`apportion`]'s.

use crate::{
    Day, IdentityId, Timestamp,
    account_rules::{AccountScore, CapLine, MissingField, Outcome, RuleLine},
    engagement::Aggregation,
    evaluate::Evaluation,
    lead::Lead,
    level::{Level, LevelRuleset},
    model::Model,
    score::{LeadPoints, RulePoints, apportion},
    surge::SurgeSettings,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How many rules are named as ways to the next engagement level.
const WAYS: usize = 3;

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
    /// Fit.
    pub account: AccountPart,
    /// Behaviour.
    pub engagement: EngagementPart,
    /// Surge.
    pub surge: SurgePart,
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
    /// The account level ruleset.
    pub account_levels: RulesetName,
    /// The lead level ruleset.
    pub lead_levels: RulesetName,
    /// The account engagement level ruleset.
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

/// Fit: the points of `rules` and `caps` sum to `score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountPart {
    /// The account score.
    pub score: i32,
    /// The most that the rules can give.
    pub possible: i32,
    /// How many of the fields that rules use are known.
    pub fields_known: usize,
    /// How many fields the rules use.
    pub fields_used: usize,
    /// The same in words: `3 of 4 fields known`.
    pub known: String,
    /// By how much the score would rise if every rule that lacks a field matched.
    pub missing_could_add: i32,
    /// The fields that are not known, with what each could add.
    pub missing: Vec<MissingField>,
    /// One line a rule.
    pub rules: Vec<AccountRuleLine>,
    /// What caps took away, and what the floor of 0 gave back.
    pub caps: Vec<CapLine>,
    /// The level and the way to the next one.
    pub level: LevelPart,
}

/// One account rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountRuleLine {
    /// Points, outcome and the fields looked at.
    #[serde(flatten)]
    pub line: RuleLine,
    /// The outcome as a sentence.
    pub why: String,
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
    /// Whether what is not known yet could bring them (account level); always true for behaviour.
    pub reachable: bool,
    /// For the account level: the fewest rules that would do together. For engagement: alternatives, the shortest first.
    pub ways: Vec<Way>,
}

/// A step towards the next level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The rule.
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// What it adds each time.
    pub points: i64,
    /// How often it must count.
    pub times: i64,
    /// The fields that must become known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// Behaviour: the `counts` of `leads` and of `others` sum to `score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngagementPart {
    /// The engagement score.
    pub score: i64,
    /// How it follows from the leads'.
    pub aggregation: Aggregation,
    /// The best leads, best first.
    pub leads: Vec<LeadPart>,
    /// Leads that are not listed one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
    /// Rules from which no lead has points.
    pub unmatched: Vec<UnmatchedRule>,
    /// The level and the way to the next one.
    pub level: LevelPart,
}

/// The leads that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Others {
    /// How many.
    pub leads: usize,
    /// What they add to the account's engagement together.
    pub counts: i64,
}

/// A rule that gives no points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmatchedRule {
    /// The rule.
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// What it would add each time.
    pub points: i64,
    /// Why it gives nothing.
    pub why: String,
}

/// One lead: the points of `rules` and `caps` sum to `score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeadPart {
    /// `ld_` and the lead's key.
    pub lead_id: String,
    /// What to call it.
    pub label: String,
    /// Whether this is the account itself: events without a person.
    pub is_account: bool,
    /// The lead's own score.
    pub score: i64,
    /// What of it counts for the account.
    pub counts: i64,
    /// What each rule gives.
    pub rules: Vec<LeadRuleLine>,
    /// What the lead's cap took away (negative), or the floor of 0 gave back (positive).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<PointsCap>,
    /// The level and the way to the next one; absent for the account itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LevelPart>,
}

/// One engagement rule of one lead: the points of `days` and `cap` sum to `points`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeadRuleLine {
    /// The rule.
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// What it gives.
    pub points: i64,
    /// How many events counted.
    pub count: u64,
    /// Day by day, oldest first.
    pub days: Vec<DayLine>,
    /// What the limit per day took away before decay; not a part of the sum, because the days are shown without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_cap: Option<PointsCap>,
    /// What the rule's limit took away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<PointsCap>,
}

/// One day of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayLine {
    /// The UTC day, such as `2026-11-21`.
    pub day: String,
    /// How many events counted.
    pub count: u32,
    /// Their points before decay.
    pub raw: i64,
    /// What is left of them, in thousandths of a point.
    pub decayed_milli: i64,
    /// Their part of the points shown.
    pub points: i64,
}

/// A limit that bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointsCap {
    /// The limit in points; 0 for the floor.
    pub limit: i64,
    /// What it adds.
    pub points: i64,
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
        Self {
            as_of: evaluation.as_of.to_string(),
            rulesets: rulesets(model),
            account: account_part(model, &evaluation.account, held),
            engagement: engagement_part(model, evaluation, held, leads),
            surge: surge_part(model, evaluation),
        }
    }
}

fn rulesets(model: &Model) -> Rulesets {
    let document = &model.document;
    let name = |id: &str, name: &str, version: u64| RulesetName { id: id.to_owned(), name: name.to_owned(), version };
    let levels = |rules: &LevelRuleset| name(&rules.id, &rules.name, rules.version);
    Rulesets {
        model: model.version(),
        account: name(&document.account.id, &document.account.name, document.account.version),
        engagement: name(&document.engagement.id, &document.engagement.name, document.engagement.version),
        account_levels: levels(&document.account_levels),
        lead_levels: levels(&document.lead_levels),
        engagement_levels: levels(&document.engagement_levels),
    }
}

/// `3 of 4 fields known`.
pub fn known(known: usize, of: usize) -> String {
    let fields = if of == 1 { "field" } else { "fields" };
    format!("{known} of {of} {fields} known")
}

fn account_part(model: &Model, score: &AccountScore, held: HeldLevels<'_>) -> AccountPart {
    let rules = score.lines.iter().map(|line| AccountRuleLine { why: why(line), line: line.clone() }).collect();
    let mut level = level_part(&model.document.account_levels, held.account, i64::from(score.score));
    if let Some(next) = &mut level.next {
        next.ways = field_ways(score, next.points_needed);
        next.reachable = i64::from(score.missing_could_add) >= next.points_needed;
    }
    AccountPart {
        score: score.score,
        possible: score.possible,
        fields_known: score.known,
        fields_used: score.of,
        known: known(score.known, score.of),
        missing_could_add: score.missing_could_add,
        missing: score.missing.clone(),
        rules,
        caps: score.caps.clone(),
        level,
    }
}

/// An outcome as a sentence.
fn why(line: &RuleLine) -> String {
    let seen: Vec<String> = line
        .fields
        .iter()
        .map(|seen| match (&seen.value, seen.assumed) {
            (Some(value), _) => format!("`{}` is {value}", seen.field),
            (None, true) => format!("`{}` is not known and counts as no", seen.field),
            (None, false) => format!("`{}` is not known", seen.field),
        })
        .collect();
    let seen = seen.join(", ");
    let names = |fields: &[crate::field::FieldName]| fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    match &line.outcome {
        Outcome::Matched => format!("holds: {seen}"),
        Outcome::Capped(_) => format!("holds, but a cap took points away: {seen}"),
        Outcome::NotMatched => format!("does not hold: {seen}"),
        Outcome::Missing(fields) => format!("can't be told until {} is known", names(fields)),
        Outcome::Undecided(fields) => format!("can't be told, because only a range is known of {}", names(fields)),
        Outcome::Faulty(reason) => format!("can't be evaluated: {reason}"),
    }
}

/// The fewest rules waiting for a field that bring the points together: the smallest one that does it alone, else the largest first.
fn field_ways(score: &AccountScore, needed: i64) -> Vec<Way> {
    let waiting = |line: &&RuleLine| line.possible > 0 && matches!(line.outcome, Outcome::Missing(_) | Outcome::Undecided(_));
    let mut lines: Vec<&RuleLine> = score.lines.iter().filter(waiting).collect();
    lines.sort_by_key(|line| line.possible);
    let way = |line: &RuleLine| {
        let needs = match &line.outcome {
            Outcome::Missing(fields) | Outcome::Undecided(fields) => fields.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Way { rule_id: line.rule_id.to_string(), name: line.name.to_string(), points: i64::from(line.possible), times: 1, needs }
    };
    if let Some(alone) = lines.iter().find(|line| i64::from(line.possible) >= needed) {
        return vec![way(alone)];
    }
    let mut ways = Vec::new();
    let mut left = needed;
    for line in lines.iter().rev() {
        if left <= 0 {
            break;
        }
        left -= i64::from(line.possible);
        ways.push(way(line));
    }
    ways
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
            ways: Vec::new(),
        }),
    }
}

fn engagement_part(model: &Model, evaluation: &Evaluation<'_>, held: HeldLevels<'_>, listed: usize) -> EngagementPart {
    let engagement = &evaluation.engagement;
    let score = engagement.shown();
    let shares: Vec<i64> = engagement.leads.iter().map(|lead| lead.share).collect();
    let counts = apportion(&shares, score);
    let who: BTreeMap<IdentityId, &Lead<'_>> = evaluation.leads.iter().map(|lead| (lead.id, lead)).collect();
    let leads = engagement
        .leads
        .iter()
        .zip(&counts)
        .take(listed)
        .map(|(points, counts)| lead_part(model, points, who.get(&points.lead).copied(), *counts, held))
        .collect();
    let rest: Vec<i64> = counts.iter().skip(listed).copied().collect();
    let others = if rest.is_empty() { None } else { Some(Others { leads: rest.len(), counts: rest.iter().sum() }) };
    let mut level = level_part(&model.document.engagement_levels, held.engagement, score);
    if let Some(next) = &mut level.next {
        next.ways = event_ways(model, next.points_needed);
    }
    EngagementPart {
        score,
        aggregation: model.document.engagement.aggregation.clone(),
        leads,
        others,
        unmatched: unmatched(model, evaluation),
        level,
    }
}

fn unmatched(model: &Model, evaluation: &Evaluation<'_>) -> Vec<UnmatchedRule> {
    let matched: BTreeSet<usize> = evaluation.engagement.leads.iter().flat_map(|lead| lead.rules.iter().map(|rule| rule.rule)).collect();
    let rules = model.document.engagement.rules.iter().enumerate().filter(|(i, _)| !matched.contains(i));
    rules
        .map(|(_, rule)| UnmatchedRule {
            rule_id: rule.id.clone(),
            name: rule.name.clone(),
            points: rule.points,
            why: format!("no such event in the last {} days", crate::facts::LOOK_BACK_DAYS),
        })
        .collect()
}

/// The rules that need to count least often, the best first.
fn event_ways(model: &Model, needed: i64) -> Vec<Way> {
    let mut ways: Vec<Way> = model
        .document
        .engagement
        .rules
        .iter()
        .filter(|rule| rule.points > 0)
        .map(|rule| Way {
            rule_id: rule.id.clone(),
            name: rule.name.clone(),
            points: rule.points,
            times: needed.saturating_add(rule.points - 1).div_euclid(rule.points).max(1),
            needs: Vec::new(),
        })
        .collect();
    ways.sort_by(|a, b| a.times.cmp(&b.times).then(b.points.cmp(&a.points)));
    ways.truncate(WAYS);
    ways
}

fn lead_part(model: &Model, points: &LeadPoints, lead: Option<&Lead<'_>>, counts: i64, held: HeldLevels<'_>) -> LeadPart {
    let score = points.shown();
    let mut parts: Vec<i64> = points.rules.iter().map(|rule| rule.milli).collect();
    if points.capped != 0 {
        parts.push(points.capped);
    }
    let whole = apportion(&parts, score);
    let rules = points.rules.iter().zip(&whole).map(|(rule, points)| lead_rule(model, rule, *points)).collect();
    let limit = if points.capped > 0 { 0 } else { model.document.engagement.lead_cap };
    let cap = whole.get(points.rules.len()).map(|points| PointsCap { limit, points: *points });
    let level = if points.is_account {
        None
    } else {
        let held = held.leads.get(&points.lead).map(|(level, _)| level.as_str());
        // Only levels above the lowest are recorded.
        let lowest = model.document.lead_levels.levels.first().map(|level| level.id.as_str());
        let mut level = level_part(&model.document.lead_levels, held.or(lowest), score);
        if let Some(next) = &mut level.next {
            next.ways = event_ways(model, next.points_needed);
        }
        Some(level)
    };
    LeadPart {
        lead_id: format!("ld_{}", points.lead),
        label: lead.map(Lead::label).unwrap_or_default(),
        is_account: points.is_account,
        score,
        counts,
        rules,
        cap,
        level,
    }
}

fn lead_rule(model: &Model, points: &RulePoints, whole: i64) -> LeadRuleLine {
    let rule = model.document.engagement.rules.get(points.rule);
    let mut parts: Vec<i64> = points.days.iter().map(|day| day.milli).collect();
    if points.capped != 0 {
        parts.push(points.capped);
    }
    let shown = apportion(&parts, whole);
    let days = points.days.iter().zip(&shown).map(|(day, points)| DayLine {
        day: day.day.to_string(),
        count: day.count,
        raw: day.raw / 1000,
        decayed_milli: day.milli,
        points: *points,
    });
    let limit = |of: fn(&crate::engagement::EngagementRule) -> i64| rule.map(of).unwrap_or_default();
    LeadRuleLine {
        rule_id: rule.map(|rule| rule.id.clone()).unwrap_or_default(),
        name: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
        points: whole,
        count: points.days.iter().map(|day| u64::from(day.count)).sum(),
        days: days.collect(),
        day_cap: (points.day_capped != 0).then(|| PointsCap { limit: limit(|rule| rule.cap_per_day), points: points.day_capped / 1000 }),
        cap: shown.get(points.days.len()).map(|points| PointsCap { limit: limit(|rule| rule.cap), points: *points }),
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
