//! From what level last recorded and a score record to the next standing and its transitions: a pure step.

use domain::{
    IdentityId, Timestamp,
    level::LevelRuleset,
    model::Model,
    mutant::{Mutant, active},
    transition::{Changed, Transition},
};
use pipeline::{
    Versioned,
    records::{LeadLevels, NAMED_LEADS, ScoreRecord, Standing},
};
use std::collections::BTreeMap;

/// What a step needs beside the records.
pub(crate) struct Step<'a> {
    pub model: &'a Model,
    /// Engagement scores that some trigger watches.
    pub thresholds: &'a [i64],
    pub now: Timestamp,
    /// A lead without an account has no account level.
    pub is_account: bool,
}

/// The next standing and the next levels of the leads.
pub(crate) struct Taken {
    pub standing: Standing,
    pub lead_levels: LeadLevels,
}

/// A level held by somebody: its id and since when.
type Held<'a> = Option<(&'a str, Timestamp)>;

impl Step<'_> {
    pub(crate) fn take(&self, before: Option<&Standing>, leads: &LeadLevels, score: &Versioned<ScoreRecord>) -> Taken {
        let record = &score.record;
        let mut standing = row(before, score);
        // Nobody is there any more: absorbed, or a lead that has found an account.
        if record.merged_into.is_some() || (!self.is_account && record.total_leads == 0) {
            return Taken { standing, lead_levels: LeadLevels::default() };
        }
        let mut changes: Vec<(Changed, String)> = Vec::new();
        let account_held = held(before.and_then(|b| b.level.as_deref()), before.and_then(|b| b.level_since));
        let document = &self.model.document;
        let was = before.map_or(0, |before| before.account_score);
        let mut hold = None;
        if self.is_account {
            let (level, since, held_until) = self.assign(&document.account_levels, i64::from(record.account_score), account_held);
            if let Some(to) = differs(account_held, level.as_deref()) {
                let why = cause("account score", i64::from(was), i64::from(record.account_score));
                changes.push((Changed::AccountLevel { from: id(account_held), to }, why));
            }
            (standing.level, standing.level_since, hold) = (level, since, held_until);
        }

        let held_engagement = held(before.and_then(|b| b.engagement_level.as_deref()), before.and_then(|b| b.engagement_level_since));
        let was = before.map_or(0, |before| before.engagement);
        let (level, since, hold_engagement) = self.assign(&document.engagement_levels, record.engagement, held_engagement);
        if let Some(to) = differs(held_engagement, level.as_deref()) {
            changes.push((Changed::EngagementLevel { from: id(held_engagement), to }, cause("engagement", was, record.engagement)));
        }
        (standing.engagement_level, standing.engagement_level_since) = (level, since);

        let (lead_levels, hold_leads) = self.lead_levels(leads, record, &mut changes);
        let ruleset = &document.lead_levels;
        standing.hottest =
            lead_levels.levels.values().filter_map(|(level, _)| Some((ruleset.rank(level)?, level))).max().map(|(_, level)| level.clone());

        if before.is_some_and(|before| before.surge) != record.surge {
            changes.push((Changed::Surge { active: record.surge }, String::new()));
        }
        if self.thresholds.iter().any(|threshold| (was >= *threshold) != (record.engagement >= *threshold)) {
            changes.push((Changed::Engagement { from: was, to: record.engagement }, String::new()));
        }
        standing.dwell_until = crate::sooner(crate::sooner(hold, hold_engagement), hold_leads);

        // Only fresh events and changes notify, and the passing of days; old events, imports and publications do not.
        let silent = match before {
            None => record.fresh == 0,
            Some(before) => before.fresh == record.fresh && (before.inputs != record.inputs || before.model != record.model),
        };
        for (change, cause) in changes {
            standing.seq = standing.seq.saturating_add(1);
            standing.pending.push(Transition { seq: standing.seq, at: self.now, change, cause, silent });
        }
        Taken { standing, lead_levels }
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
        changes: &mut Vec<(Changed, String)>,
    ) -> (LeadLevels, Option<Timestamp>) {
        let ruleset = &self.model.document.lead_levels;
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
            hold = crate::sooner(hold, held_until);
            let (Some(level), Some(since)) = (level, since) else { continue };
            let was = before.map_or(lowest, |(level, _)| level);
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

fn cause(what: &str, from: i64, to: i64) -> String {
    if from == to { format!("{what} {to}") } else { format!("{what} {from} → {to}") }
}

/// The standing without levels: what lists show of the score record.
fn row(before: Option<&Standing>, score: &Versioned<ScoreRecord>) -> Standing {
    let record = &score.record;
    Standing {
        served: score.version,
        model: record.model,
        inputs: record.inputs,
        fresh: record.fresh,
        seq: before.map_or(0, |before| before.seq),
        pending: before.filter(|_| !active(Mutant::PendingForgotten)).map(|before| before.pending.clone()).unwrap_or_default(),
        level: None,
        level_since: None,
        engagement_level: None,
        engagement_level_since: None,
        hottest: None,
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
