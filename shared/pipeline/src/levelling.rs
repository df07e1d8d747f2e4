//! From what level last recorded and a score record to the next standing and its transitions: a pure step. The level stage and dry runs take the
//! very same one.

use crate::records::{LeadLevels, NAMED_LEADS, ScoreRecord, Standing, Versioned};
use domain::{
    IdentityId, Timestamp,
    grade::GridCell,
    level::LevelRuleset,
    model::Model,
    mutant::{Mutant, active},
    segments::AccountFacts,
    transition::{Changed, Transition},
    trigger::LevelOf,
};
use std::collections::BTreeMap;

/// What a step needs beside the records.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The model that levels follow from.
    pub model: &'a Model,
    /// Engagement scores that some trigger watches.
    pub thresholds: &'a [i64],
    /// Cells of the grid that some trigger watches.
    pub cells: &'a [GridCell],
    /// The moment of the step.
    pub now: Timestamp,
    /// A lead without an account has no account level.
    pub is_account: bool,
}

/// The next standing and the next levels of the leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The next standing, with the transitions that led to it.
    pub standing: Standing,
    /// The levels of the leads that are above the lowest.
    pub lead_levels: LeadLevels,
}

/// A level held by somebody: its id and since when.
type Held<'a> = Option<(&'a str, Timestamp)>;

/// The level rulesets that a home falls under.
#[derive(Debug, Clone, Copy)]
struct Under<'m> {
    account: &'m LevelRuleset,
    engagement: &'m LevelRuleset,
    lead: &'m LevelRuleset,
}

impl Step<'_> {
    /// Takes the step. `before` is what was recorded last, `leads` the levels of the leads then.
    pub fn take(&self, before: Option<&Standing>, leads: &LeadLevels, score: &Versioned<ScoreRecord>) -> Taken {
        let record = &score.record;
        let mut standing = row(self.model, before, score);
        // Nobody is there any more: absorbed, or a lead that has found an account.
        if record.merged_into.is_some() || (!self.is_account && record.total_leads == 0) {
            return Taken { standing, lead_levels: LeadLevels::default() };
        }
        let mut changes: Vec<(Changed, String)> = Vec::new();
        let under = self.under(record, &mut standing);
        let hold = if self.is_account { self.account_level(before, record, under.account, &mut standing, &mut changes) } else { None };

        let held_engagement = held(before.and_then(|b| b.engagement_level.as_deref()), before.and_then(|b| b.engagement_level_since));
        let was = before.map_or(0, |before| before.engagement);
        let (level, since, hold_engagement) = self.assign(under.engagement, record.engagement, held_engagement);
        if let Some(to) = differs(held_engagement, level.as_deref()) {
            let other = before.is_some_and(|before| before.engagement_level_ruleset != standing.engagement_level_ruleset);
            let why = because(other.then_some(under.engagement), cause("engagement", was, record.engagement));
            changes.push((Changed::EngagementLevel { from: id(held_engagement), to }, why));
        }
        (standing.engagement_level, standing.engagement_level_since) = (level, since);
        if self.is_account {
            self.grid(before, record, under.engagement, &mut standing, &mut changes);
        }

        // A lead that is not recorded had the lowest level of the ruleset that it fell under.
        let lowest = before.and_then(|before| {
            self.model.document.levels_by_id(LevelOf::Lead, before.lead_level_ruleset.as_deref()).lowest().map(|level| level.id.as_str())
        });
        let (lead_levels, hold_leads) = self.lead_levels(leads, record, under.lead, lowest, &mut changes);
        standing.hottest = lead_levels
            .levels
            .values()
            .filter_map(|(level, _)| Some((under.lead.rank(level)?, level)))
            .max()
            .map(|(_, level)| level.clone());

        if before.is_some_and(|before| before.surge) != record.surge {
            changes.push((Changed::Surge { active: record.surge }, String::new()));
        }
        if self.thresholds.iter().any(|threshold| (was >= *threshold) != (record.engagement >= *threshold)) {
            changes.push((Changed::Engagement { from: was, to: record.engagement }, String::new()));
        }
        standing.dwell_until = sooner(sooner(hold, hold_engagement), hold_leads);
        self.note(before, record, changes, &mut standing);
        Taken { standing, lead_levels }
    }

    /// The rulesets that the home falls under as of the day of its scores, which the standing names when they are not the primary ones.
    fn under(&self, record: &ScoreRecord, standing: &mut Standing) -> Under<'_> {
        let stated = AccountFacts::new(record.tier.as_deref(), record.owner.as_deref(), record.priority.as_deref());
        let stated = Some(&stated).filter(|_| self.is_account);
        let levels = |of: LevelOf| self.model.levels_for(of, &record.fields, stated, record.as_of);
        let name = |of: LevelOf, under: &LevelRuleset| (self.model.document.levels(of).id != under.id).then(|| under.id.clone());
        let under = Under { account: levels(LevelOf::Account), engagement: levels(LevelOf::Engagement), lead: levels(LevelOf::Lead) };
        standing.level_ruleset = name(LevelOf::Account, under.account);
        standing.engagement_level_ruleset = name(LevelOf::Engagement, under.engagement);
        standing.lead_level_ruleset = name(LevelOf::Lead, under.lead);
        under
    }

    /// Assigns the account level. Whoever is disqualified has the lowest one at once.
    fn account_level(
        &self,
        before: Option<&Standing>,
        record: &ScoreRecord,
        ruleset: &LevelRuleset,
        standing: &mut Standing,
        changes: &mut Vec<(Changed, String)>,
    ) -> Option<Timestamp> {
        let account_held = held(before.and_then(|b| b.level.as_deref()), before.and_then(|b| b.level_since));
        let disqualified = !record.disqualified_by.is_empty();
        let (level, since, held_until) = if disqualified && active(Mutant::DisqualifiedKeptByHysteresis) {
            self.assign(ruleset, 0, account_held)
        } else if disqualified {
            let lowest = ruleset.levels.first().map(|level| level.id.as_str());
            let since = account_held.filter(|(held, _)| lowest == Some(*held)).map_or(self.now, |(_, since)| since);
            (lowest.map(str::to_owned), lowest.map(|_| since), None)
        } else {
            self.assign(ruleset, i64::from(record.account_score), account_held)
        };
        if let Some(to) = differs(account_held, level.as_deref()) {
            let was = before.map_or(0, |before| before.account_score);
            let why = if disqualified {
                format!("disqualified by {}", self.names(&record.disqualified_by))
            } else {
                let other = before.is_some_and(|before| before.level_ruleset != standing.level_ruleset);
                because(other.then_some(ruleset), cause("account score", i64::from(was), i64::from(record.account_score)))
            };
            changes.push((Changed::AccountLevel { from: id(account_held), to }, why));
        }
        (standing.level, standing.level_since) = (level, since);
        held_until
    }

    fn names(&self, rules: &[String]) -> String {
        let name = |id: &String| {
            let rule = self.model.document.account.rules.iter().find(|rule| rule.id == *id);
            format!("`{}`", rule.map_or(id.as_str(), |rule| rule.name.as_str()))
        };
        rules.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Places the account in the grid. A change is recorded when some trigger watches one of both cells.
    fn grid(
        &self,
        before: Option<&Standing>,
        record: &ScoreRecord,
        levels: &LevelRuleset,
        standing: &mut Standing,
        changes: &mut Vec<(Changed, String)>,
    ) {
        let rank = standing.engagement_level.as_deref().and_then(|level| levels.rank(level));
        standing.grade = record.grade;
        standing.grid = record.grade.zip(rank).map(|(grade, rank)| GridCell::of(grade, levels.levels.len().saturating_sub(rank + 1)));
        let was = before.and_then(|before| before.grid);
        // A standing that an earlier build wrote names no cell although the account was there.
        let unknown = before.is_some_and(|before| before.grid.is_none() && before.level.is_some());
        if let Some(to) = standing.grid.filter(|to| Some(*to) != was && !unknown)
            && self.cells.iter().any(|cell| *cell == to || Some(*cell) == was)
        {
            changes.push((Changed::Grid { from: was, to }, format!("score {} of {}", record.account_score, record.possible)));
        }
    }

    /// Puts the changes behind those that wait to be sent.
    fn note(&self, before: Option<&Standing>, record: &ScoreRecord, changes: Vec<(Changed, String)>, standing: &mut Standing) {
        // Only fresh events and changes notify, and the passing of days; old events and imports do not, nor does a publication that is not
        // announced.
        let was = before.map_or(standing.model, |before| followed(before, record));
        let other_model = was != standing.model;
        let silent = match before {
            None => record.fresh == 0,
            Some(before) => {
                let unannounced = other_model && !self.model.announces(was, standing.model);
                before.fresh == record.fresh && (before.inputs != record.inputs || unannounced) && !active(Mutant::SilenceForgotten)
            }
        };
        let published = self.model.document.published.as_ref().filter(|_| other_model);
        for (change, cause) in changes {
            let cause = match published {
                Some(published) if cause.is_empty() => published.what.clone(),
                Some(published) => format!("{}: {cause}", published.what),
                None => cause,
            };
            standing.seq = standing.seq.saturating_add(1);
            standing.pending.push(Transition { seq: standing.seq, at: self.now, change, cause, silent });
        }
    }

    fn assign(&self, ruleset: &LevelRuleset, score: i64, held: Held<'_>) -> (Option<String>, Option<Timestamp>, Option<Timestamp>) {
        let Some(assigned) = ruleset.assign(score, held, self.now) else {
            return (None, None, None);
        };
        let same = held.filter(|(level, _)| *level == assigned.level.id);
        let since = same.map_or(self.now, |(_, since)| since);
        (Some(assigned.level.id.clone()), Some(since), assigned.held_until)
    }

    fn lead_levels(
        &self,
        leads: &LeadLevels,
        record: &ScoreRecord,
        ruleset: &LevelRuleset,
        lowest_before: Option<&str>,
        changes: &mut Vec<(Changed, String)>,
    ) -> (LeadLevels, Option<Timestamp>) {
        let lowest = ruleset.levels.first().map(|level| level.id.as_str()).unwrap_or_default();
        let scores: BTreeMap<IdentityId, i64> = record.leads.iter().map(|lead| (lead.lead, lead.score)).collect();
        let cut = record.leads.len() >= NAMED_LEADS;
        let mut next = LeadLevels::default();
        let mut hold = None;
        let everyone: std::collections::BTreeSet<IdentityId> = scores.keys().chain(leads.levels.keys()).copied().collect();
        for lead in everyone {
            // The record names the best leads only; who is not among them keeps the level when others were left out.
            if cut && !scores.contains_key(&lead) {
                next.levels.extend(leads.levels.get_key_value(&lead).map(|(lead, held)| (*lead, held.clone())));
                continue;
            }
            let score = scores.get(&lead).copied().unwrap_or_default();
            let before = leads.levels.get(&lead).map(|(level, since)| (level.as_str(), *since));
            let (level, since, held_until) = self.assign(ruleset, score, before);
            hold = sooner(hold, held_until);
            let (Some(level), Some(since)) = (level, since) else { continue };
            let was = before.map_or(lowest_before.unwrap_or(lowest), |(level, _)| level);
            if was != level {
                let from = Some(was.to_owned());
                changes.push((Changed::LeadLevel { lead, from, to: level.clone() }, format!("score {score}")));
            }
            if level != lowest {
                next.levels.insert(lead, (level, since));
            }
        }
        (next, hold)
    }
}

fn held<'a>(level: Option<&'a str>, since: Option<Timestamp>) -> Held<'a> {
    level.zip(since)
}

fn id(held: Held<'_>) -> Option<String> {
    held.map(|(level, _)| level.to_owned())
}

fn differs(held: Held<'_>, level: Option<&str>) -> Option<String> {
    level.filter(|level| held.is_none_or(|(before, _)| before != *level)).map(str::to_owned)
}

/// A cause, with the ruleset that somebody falls under since then.
fn because(other: Option<&LevelRuleset>, cause: String) -> String {
    match other {
        Some(ruleset) => format!("under the levels of `{}` now: {cause}", ruleset.name),
        None => cause,
    }
}

fn cause(what: &str, from: i64, to: i64) -> String {
    if from == to { format!("{what} {to}") } else { format!("{what} {from} → {to}") }
}

/// The version of the model that a standing followed as far as it matters for what comes after it: scores may have followed an older model than
/// levels, and catch up now.
fn followed(before: &Standing, record: &ScoreRecord) -> u64 {
    before.scored_by.filter(|scored_by| *scored_by != record.model).unwrap_or(before.model)
}

/// The standing without levels: what lists show of the score record.
fn row(model: &Model, before: Option<&Standing>, score: &Versioned<ScoreRecord>) -> Standing {
    let record = &score.record;
    Standing {
        served: score.version,
        // Levels may follow from a newer model than the scores.
        model: model.version().max(record.model),
        scored_by: Some(record.model).filter(|version| *version < model.version()),
        inputs: record.inputs,
        fresh: record.fresh,
        seq: before.map_or(0, |before| before.seq),
        pending: before.filter(|_| !active(Mutant::PendingForgotten)).map(|before| before.pending.clone()).unwrap_or_default(),
        level: None,
        level_since: None,
        engagement_level: None,
        engagement_level_since: None,
        level_ruleset: None,
        engagement_level_ruleset: None,
        lead_level_ruleset: None,
        hottest: None,
        grade: None,
        grid: None,
        account_score: record.account_score,
        engagement: record.engagement,
        surge: record.surge,
        total_leads: record.total_leads,
        sessions: record.sessions,
        last_activity_at: record.last_activity_at,
        name: record.name.clone(),
        domain: record.domain.clone(),
        owner: record.owner.clone(),
        tier: record.tier.clone(),
        priority: record.priority.clone(),
        dwell_until: None,
        merged_into: record.merged_into.clone(),
    }
}

/// The earlier of two moments, when there is one.
pub const fn sooner(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if a.millis() < b.millis() { a } else { b }),
        (Some(a), None) => Some(a),
        (None, b) => b,
    }
}
