//! How often triggers would have fired in the last days.

use crate::{
    Day, IdentityId, Timestamp, TriggerId,
    decay::shown,
    evaluate::Evaluation,
    level::LevelRuleset,
    model::Model,
    transition::{Changed, Transition},
    trigger::{FieldByName, FilterFacts, FireMode, LevelOf, Trigger},
};
use std::collections::BTreeMap;

/// What filters compare with and what is taken to have been the same on all days.
#[derive(Clone, Copy)]
pub struct Fixed<'a> {
    /// Whether the home is an account.
    pub is_account: bool,
    /// The named account's tier.
    pub tier: Option<&'a str>,
    /// Who looks after the account.
    pub owner: Option<&'a str>,
    /// The account's fields.
    pub field: Option<&'a FieldByName<'a>>,
}

impl std::fmt::Debug for Fixed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixed").field("is_account", &self.is_account).finish_non_exhaustive()
    }
}

/// A level and since when.
type Held = Option<(String, Timestamp)>;

/// Where a home stood at the end of a day.
#[derive(Debug, Clone, Default)]
struct Stand {
    account: Held,
    engagement: Held,
    leads: BTreeMap<IdentityId, (String, Timestamp)>,
    surge: bool,
    score: i64,
}

fn assign(ruleset: &LevelRuleset, score: i64, held: Held, now: Timestamp) -> Held {
    let assigned = ruleset.assign(score, held.as_ref().map(|(level, since)| (level.as_str(), *since)), now)?;
    let since = held.filter(|(level, _)| *level == assigned.level.id).map_or(now, |(_, since)| since);
    Some((assigned.level.id.clone(), since))
}

impl Stand {
    /// The next day's.
    fn next(&self, model: &Model, evaluation: &Evaluation<'_>, fixed: &Fixed<'_>, day: Day, now: Timestamp) -> Self {
        let levels = |of: LevelOf| model.levels_for(of, &evaluation.fields, evaluation.stated.as_ref(), day);
        let lead_levels = levels(LevelOf::Lead);
        let (engagement, leads) = model.engagement.totals(&evaluation.bases, day);
        let score = shown(engagement);
        let account = if fixed.is_account {
            let tally = model.account.tally(&evaluation.fields, day.start());
            let levels = levels(LevelOf::Account);
            match levels.lowest().filter(|_| tally.disqualified) {
                Some(lowest) => {
                    let since = self.account.as_ref().filter(|(level, _)| *level == lowest.id).map_or(now, |(_, since)| *since);
                    Some((lowest.id.clone(), since))
                }
                None => assign(levels, i64::from(tally.score), self.account.clone(), now),
            }
        } else {
            None
        };
        let held_by_leads = evaluation.bases.iter().zip(leads).filter(|(base, _)| !base.is_account).filter_map(|(base, milli)| {
            let held = self.leads.get(&base.lead).cloned();
            Some((base.lead, assign(lead_levels, shown(milli), held, now)?))
        });
        Self {
            account,
            engagement: assign(levels(LevelOf::Engagement), score, self.engagement.clone(), now),
            leads: held_by_leads.collect(),
            surge: evaluation.earning.surge(&model.document.surge, day).active,
            score,
        }
    }

    /// What changed since the day before.
    fn changes(&self, before: &Self) -> Vec<Changed> {
        let mut changes = Vec::new();
        let level = |held: &Held| held.as_ref().map(|(level, _)| level.clone());
        let moved = |from: &Held, to: &Held| level(to).filter(|to| level(from).as_ref() != Some(to)).map(|to| (level(from), to));
        if let Some((from, to)) = moved(&before.account, &self.account) {
            changes.push(Changed::AccountLevel { from, to });
        }
        if let Some((from, to)) = moved(&before.engagement, &self.engagement) {
            changes.push(Changed::EngagementLevel { from, to });
        }
        for (lead, (to, _)) in &self.leads {
            let from = before.leads.get(lead).map(|(level, _)| level.clone());
            if from.as_ref() != Some(to) {
                changes.push(Changed::LeadLevel { lead: *lead, from, to: to.clone() });
            }
        }
        if self.surge != before.surge {
            changes.push(Changed::Surge { active: self.surge });
        }
        if self.score != before.score {
            changes.push(Changed::Engagement { from: before.score, to: self.score });
        }
        changes
    }
}

/// How often each trigger would have fired for a home at the end of each of the last `days` days, had this model been in force with the fields
/// of today. Cooldowns count within these days; what happened within a day is not told apart.
pub fn fires_by_day(
    model: &Model,
    evaluation: &Evaluation<'_>,
    fixed: &Fixed<'_>,
    days: u32,
    triggers: &[Trigger],
) -> BTreeMap<TriggerId, u64> {
    let mut fired: BTreeMap<TriggerId, (u64, Timestamp)> = BTreeMap::new();
    let triggers: Vec<&Trigger> = triggers.iter().filter(|trigger| trigger.enabled).collect();
    let days = i32::try_from(days.min(366)).unwrap_or_default();
    let end = |day: Day| day.plus(1).start().plus_millis(-1);
    if triggers.is_empty() || days == 0 {
        return BTreeMap::new();
    }
    let begin = evaluation.as_of.plus(-days);
    let mut before = Stand::default().next(model, evaluation, fixed, begin, end(begin));
    for day in (1 - days..=0).map(|ago| evaluation.as_of.plus(ago)) {
        let now = end(day);
        let stand = before.next(model, evaluation, fixed, day, now);
        for change in stand.changes(&before) {
            let transition = Transition { seq: 0, at: now, change, cause: String::new(), silent: false };
            let facts = FilterFacts {
                level: stand.account.as_ref().map(|(level, _)| level.as_str()),
                engagement_level: stand.engagement.as_ref().map(|(level, _)| level.as_str()),
                tier: fixed.tier,
                owner: fixed.owner,
                field: fixed.field,
                ..FilterFacts::default()
            };
            for trigger in triggers.iter().filter(|trigger| trigger.when.matches(&transition) && trigger.admits(&facts)) {
                let last = fired.get(&trigger.id).map(|(_, last)| *last);
                let free =
                    last.is_none_or(|last| trigger.fire.mode == FireMode::Always && last.plus_millis(trigger.fire.cooldown_ms()) <= now);
                if free {
                    let known = fired.entry(trigger.id.clone()).or_insert((0, now));
                    *known = (known.0.saturating_add(1), now);
                }
            }
        }
        before = stand;
    }
    fired.into_iter().map(|(trigger, (times, _))| (trigger, times)).collect()
}
