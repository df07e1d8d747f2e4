//! Behaviour, explained.

use super::{
    HeldLevels, LevelPart, NextLevel, OtherRuleset, RulesetName, Rulesets, level_part, not_in_force, reasons, reasons::Because, ways,
};
use crate::{
    Day, IdentityId,
    engagement::{Aggregation, EngagementRule, EngagementRuleset},
    evaluate::Evaluation,
    lead::Lead,
    level::LevelRuleset,
    model::{Beside, Model},
    score::{CompiledEngagement, Engagement, LeadBase, LeadPoints, RulePoints, apportion},
    trigger::LevelOf,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Behaviour: the `counts` of `leads` and of `others` sum to `score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngagementPart {
    /// The engagement score.
    pub score: i64,
    /// The most that it can be; absent when there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possible: Option<i64>,
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

/// What an engagement ruleset beside the primary one gives: the `counts` of `leads` and of `others` sum to its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherEngagement {
    /// How the score follows from the leads'.
    pub aggregation: Aggregation,
    /// The best leads, best first.
    pub leads: Vec<LeadPart>,
    /// Leads that are not listed one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
    /// Rules from which no lead has points.
    pub unmatched: Vec<UnmatchedRule>,
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
    pub because: Because,
    /// The same in words.
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
    /// The level and the way to the next one; absent for the account itself, and for rulesets that drive no level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LevelPart>,
}

/// One lead, explained by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeadExplanation {
    /// The UTC day for which it holds, such as `2026-11-21`.
    pub as_of: String,
    /// What was computed with.
    pub rulesets: Rulesets,
    /// The points of its `rules` and `cap` sum to its `score`.
    #[serde(flatten)]
    pub lead: LeadPart,
    /// The most points that a lead can have; absent when there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possible: Option<i64>,
    /// Rules from which it has no points.
    pub unmatched: Vec<UnmatchedRule>,
    /// The past moment that it was asked for, RFC 3339; absent for an answer as of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What this answer can't know, in words; nothing for an answer as of now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
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
    /// Set when the lead's cap takes all of these points away again, the last rules first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
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

/// A ruleset's leads on a day, ready to be explained.
struct Scored<'a, 's> {
    model: &'a Model,
    compiled: &'a CompiledEngagement,
    /// For the primary ruleset the levels held.
    held: Option<HeldLevels<'a>>,
    /// The levels that leads fall under.
    levels: &'a LevelRuleset,
    as_of: Day,
    leads: BTreeMap<IdentityId, (&'a Lead<'s>, &'a LeadBase)>,
}

/// A lead's whole points: those of its rules, and what its cap takes away.
struct Whole {
    rules: Vec<i64>,
    cap: Option<i64>,
}

impl Whole {
    fn of(points: &LeadPoints) -> Self {
        let mut parts: Vec<i64> = points.rules.iter().map(|rule| rule.milli).collect();
        if points.capped != 0 {
            parts.push(points.capped);
        }
        let mut rules = apportion(&parts, points.shown());
        let cap = if points.capped != 0 { rules.pop() } else { None };
        Self { rules, cap }
    }
}

impl<'a, 's> Scored<'a, 's> {
    fn new(
        model: &'a Model,
        compiled: &'a CompiledEngagement,
        held: Option<HeldLevels<'a>>,
        evaluation: &'a Evaluation<'s>,
        bases: &'a [LeadBase],
    ) -> Self {
        let leads = evaluation.leads.iter().zip(bases).map(|(lead, base)| (lead.id, (lead, base))).collect();
        let levels = evaluation.levels(model, LevelOf::Lead);
        Self { model, compiled, held, levels, as_of: evaluation.as_of, leads }
    }

    /// The leads that are listed, the others together, and the rules that give nobody anything.
    fn explain(&self, engagement: &Engagement, listed: usize) -> (Vec<LeadPart>, Option<Others>, Vec<UnmatchedRule>) {
        let shares: Vec<i64> = engagement.leads.iter().map(|lead| lead.share).collect();
        let counts = apportion(&shares, engagement.shown());
        let mut parts = Vec::new();
        let mut nothing = Vec::with_capacity(engagement.leads.len());
        for (i, (points, counts)) in engagement.leads.iter().zip(&counts).enumerate() {
            let whole = Whole::of(points);
            nothing.push(self.reasons(points, &whole));
            if i < listed {
                parts.push(self.lead(points, &whole, *counts));
            }
        }
        let rest: Vec<i64> = counts.iter().skip(listed).copied().collect();
        let others = if rest.is_empty() { None } else { Some(Others { leads: rest.len(), counts: rest.iter().sum() }) };
        let nobody = reasons::of_all(self.compiled.ruleset.rules.len(), &nothing);
        (parts, others, self.unmatched(nobody))
    }

    fn reasons(&self, points: &LeadPoints, whole: &Whole) -> BTreeMap<usize, Because> {
        let Some((lead, base)) = self.leads.get(&points.lead) else { return BTreeMap::new() };
        reasons::of_lead(self.compiled, self.model.matcher.digest(), lead, base, points, &whole.rules, self.as_of)
    }

    fn unmatched(&self, reasons: BTreeMap<usize, Because>) -> Vec<UnmatchedRule> {
        let rule = |(i, because): (usize, Because)| {
            let (rule, _) = self.compiled.rule(i)?;
            let (rule_id, name) = (rule.id.clone(), rule.name.clone());
            Some(UnmatchedRule { rule_id, name, points: rule.points, why: because.why(), because })
        };
        reasons.into_iter().filter_map(rule).collect()
    }

    fn lead(&self, points: &LeadPoints, whole: &Whole, counts: i64) -> LeadPart {
        let score = points.shown();
        let mut rules: Vec<LeadRuleLine> =
            points.rules.iter().zip(&whole.rules).map(|(rule, points)| lead_rule(self.compiled, rule, *points)).collect();
        let lead_cap = self.compiled.ruleset.lead_cap;
        mark_exhausted(&mut rules, whole.cap.unwrap_or_default(), lead_cap);
        let limit = if points.capped > 0 { 0 } else { lead_cap };
        LeadPart {
            lead_id: format!("ld_{}", points.lead),
            label: self.leads.get(&points.lead).map(|(lead, _)| lead.label()).unwrap_or_default(),
            is_account: points.is_account,
            score,
            counts,
            rules,
            cap: whole.cap.map(|points| PointsCap { limit, points }),
            level: if points.is_account { None } else { self.level(points) },
        }
    }

    fn level(&self, points: &LeadPoints) -> Option<LevelPart> {
        let held = self.held?.leads.get(&points.lead).map(|(level, _)| level.as_str());
        let levels = self.levels;
        // Only levels above the lowest are recorded.
        let lowest = levels.levels.first().map(|level| level.id.as_str());
        let mut level = level_part(levels, held.or(lowest), points.shown());
        if let (Some(next), Some((lead, base))) = (&mut level.next, self.leads.get(&points.lead)) {
            let target = next.level.min;
            put_ways(next, ways::of_lead(self.compiled, lead, base, self.as_of, target));
        }
        Some(level)
    }
}

/// Marks the rules of which a lead's cap leaves nothing, the later ones first.
fn mark_exhausted(rules: &mut [LeadRuleLine], cap: i64, limit: i64) {
    let mut over = -cap;
    for rule in rules.iter_mut().rev().filter(|rule| rule.points > 0) {
        if over < rule.points {
            break;
        }
        over -= rule.points;
        rule.because = Some(Because::CapExhausted { cap: limit });
    }
}

fn put_ways(next: &mut NextLevel, found: ways::ByEvents) {
    next.reachable = found.reachable;
    next.most = found.most.filter(|_| !found.reachable);
    next.ways = found.ways;
    next.shortest = found.shortest;
    next.hints = found.hints;
}

pub(super) fn part(model: &Model, evaluation: &Evaluation<'_>, held: HeldLevels<'_>, listed: usize) -> EngagementPart {
    let (compiled, engagement) = (&model.engagement, &evaluation.engagement);
    let scored = Scored::new(model, compiled, Some(held), evaluation, &evaluation.bases);
    let (leads, others, unmatched) = scored.explain(engagement, listed);
    let mut level = level_part(evaluation.levels(model, LevelOf::Engagement), held.engagement, engagement.shown());
    if let Some(next) = &mut level.next {
        let (leads, bases) = (&evaluation.leads, &evaluation.bases);
        let target = next.level.min;
        put_ways(next, ways::of_account(compiled, leads, bases, engagement.milli, evaluation.as_of, target));
    }
    EngagementPart {
        score: engagement.shown(),
        possible: ways::possible_of_account(compiled),
        aggregation: compiled.ruleset.aggregation.clone(),
        leads,
        others,
        unmatched,
        level,
    }
}

pub(super) fn other(
    model: &Model,
    beside: &Beside<EngagementRuleset>,
    compiled: &CompiledEngagement,
    evaluation: &Evaluation<'_>,
    listed: usize,
) -> OtherRuleset {
    let ruleset = &beside.ruleset;
    let mut other = OtherRuleset {
        kind: "engagement",
        ruleset: RulesetName::new(&ruleset.id, &ruleset.name, ruleset.version),
        because: not_in_force(beside, evaluation.as_of),
        score: None,
        possible: None,
        account: None,
        engagement: None,
    };
    if other.because.is_none() {
        let bases: Vec<LeadBase> = evaluation.leads.iter().map(|lead| compiled.base(lead)).collect();
        let engagement = compiled.engagement(&bases, evaluation.as_of, evaluation.is_giant());
        let (leads, others, unmatched) = Scored::new(model, compiled, None, evaluation, &bases).explain(&engagement, listed);
        other.score = Some(engagement.shown());
        other.possible = ways::possible_of_account(compiled);
        other.engagement = Some(OtherEngagement { aggregation: ruleset.aggregation.clone(), leads, others, unmatched });
    }
    other
}

/// Explains one lead, named by any of its identities. `None` when the home has no such lead.
pub fn lead(model: &Model, evaluation: &Evaluation<'_>, lead: IdentityId, held: HeldLevels<'_>) -> Option<LeadExplanation> {
    let compiled = &model.engagement;
    let named = |known: &&Lead<'_>| !known.is_account && known.identities.iter().any(|(id, _)| *id == lead);
    let founder = evaluation.leads.iter().find(named)?.id;
    let shares: Vec<i64> = evaluation.engagement.leads.iter().map(|lead| lead.share).collect();
    let counts = apportion(&shares, evaluation.engagement.shown());
    let (points, counts) = evaluation.engagement.leads.iter().zip(counts).find(|(points, _)| points.lead == founder)?;
    let scored = Scored::new(model, compiled, Some(held), evaluation, &evaluation.bases);
    let whole = Whole::of(points);
    let reasons = scored.reasons(points, &whole);
    Some(LeadExplanation {
        as_of: evaluation.as_of.to_string(),
        rulesets: super::rulesets(model, evaluation),
        lead: scored.lead(points, &whole, counts),
        possible: ways::possible_of_lead(compiled),
        unmatched: scored.unmatched(reasons),
        at: None,
        limits: Vec::new(),
    })
}

fn lead_rule(compiled: &CompiledEngagement, points: &RulePoints, whole: i64) -> LeadRuleLine {
    let rule = compiled.ruleset.rules.get(points.rule);
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
    let limit = |of: fn(&EngagementRule) -> i64| rule.map(of).unwrap_or_default();
    LeadRuleLine {
        rule_id: rule.map(|rule| rule.id.clone()).unwrap_or_default(),
        name: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
        points: whole,
        count: points.days.iter().map(|day| u64::from(day.count)).sum(),
        days: days.collect(),
        day_cap: (points.day_capped != 0).then(|| PointsCap { limit: limit(|rule| rule.cap_per_day), points: points.day_capped / 1000 }),
        cap: shown.get(points.days.len()).map(|points| PointsCap { limit: limit(|rule| rule.cap), points: *points }),
        because: None,
    }
}
