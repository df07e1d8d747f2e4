//! What a draft would change, added up account by account.
//!
//! Everything here may be stored between two chunks of a long run, merged in any order, and stays small however many accounts there are.

mod days;

pub use days::{Fixed, fires_by_day};

use crate::{
    Home, IdentityId, Timestamp, TriggerId,
    account_rules::{AccountScore, Outcome},
    grade::{Grade, GridCell},
    lint::{LevelShares, RuleShares},
    model::Model,
    ruleset::RulesetKind,
    score::{CompiledEngagement, Engagement},
    trigger::{LevelOf, Trigger},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How many accounts are named that rise most, and as many that fall most.
pub const MOVERS: usize = 50;
/// How many accounts are named for each trigger.
pub const NAMED: usize = 20;
/// How many reasons are given for one account.
const REASONS: usize = 3;
/// The longest name that is kept, in characters.
const NAME: usize = 100;
/// How many steps the scores are sorted into.
const BUCKETS: usize = 20;

/// Which score a dry run is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Subject {
    /// The account score: of the primary ruleset, or because its levels change.
    Account {},
    /// The engagement score.
    Engagement {},
    /// The score of an account ruleset beside the primary one.
    OtherAccount {
        /// The ruleset's id.
        ruleset: String,
    },
    /// The score of an engagement ruleset beside the primary one.
    OtherEngagement {
        /// The ruleset's id.
        ruleset: String,
    },
}

impl Subject {
    /// The score that follows from a ruleset of this kind. Levels of leads follow from engagement.
    pub fn of(kind: RulesetKind, ruleset: &str, drives_levels: bool) -> Self {
        let ruleset = || ruleset.to_owned();
        match kind {
            RulesetKind::Account if !drives_levels => Self::OtherAccount { ruleset: ruleset() },
            RulesetKind::Engagement if !drives_levels => Self::OtherEngagement { ruleset: ruleset() },
            RulesetKind::Account | RulesetKind::AccountLevels => Self::Account {},
            RulesetKind::Engagement | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => Self::Engagement {},
        }
    }

    /// Whether levels follow from the score.
    pub const fn drives_levels(&self) -> bool {
        matches!(self, Self::Account {} | Self::Engagement {})
    }
}

/// Where a home stands by one of both models.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The score that the dry run is about; `None` when the ruleset is not in force.
    pub score: Option<i64>,
    /// Fit.
    pub account_score: i64,
    /// Engagement.
    pub engagement: i64,
    /// The account level's id; `None` for an unresolved lead.
    pub account_level: Option<&'a str>,
    /// The account engagement level's id.
    pub engagement_level: Option<&'a str>,
    /// The grade; `None` for an unresolved lead.
    pub grade: Option<Grade>,
    /// The cell of the grid; `None` for an unresolved lead.
    pub grid: Option<GridCell>,
    /// Whether it surges.
    pub surge: bool,
    /// The lowest level of its leads: those that `leads` does not name have it. That of the primary ruleset when absent.
    pub lowest_lead_level: Option<&'a str>,
    /// The levels of its leads that are above the lowest.
    pub leads: &'a BTreeMap<IdentityId, (String, Timestamp)>,
}

/// A home by both models.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Which home.
    pub home: &'a Home,
    /// What people call it.
    pub name: Option<&'a str>,
    /// How many leads it has.
    pub total_leads: u32,
    /// By the model in force, as of today.
    pub old: Placed<'a>,
    /// By the draft, as of today.
    pub new: Placed<'a>,
}

/// A home for which something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedHome {
    /// Which home.
    pub home: Home,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By the model in force.
    pub old: Shown,
    /// By the draft.
    pub new: Shown,
}

/// What people see of a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The score that the dry run is about; absent when the ruleset is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// Fit.
    pub account_score: i64,
    /// Engagement.
    pub engagement_score: i64,
    /// The account level's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_level: Option<String>,
    /// The account engagement level's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement_level: Option<String>,
    /// The grade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// The cell of the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridCell>,
    /// Whether it surges.
    pub surge_active: bool,
}

impl Shown {
    fn of(placed: &Placed<'_>) -> Self {
        Self {
            score: placed.score,
            account_score: placed.account_score,
            engagement_score: placed.engagement,
            account_level: placed.account_level.map(str::to_owned),
            engagement_level: placed.engagement_level.map(str::to_owned),
            grade: placed.grade,
            grid: placed.grid,
            surge_active: placed.surge,
        }
    }
}

/// How many go from which level to which. Levels are named by their ids, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The levels of the model in force.
    pub from: Vec<String>,
    /// The levels of the draft.
    pub to: Vec<String>,
    /// For each level of now, how many go to each level of the draft.
    pub counts: Vec<Vec<u64>>,
    /// How many come from no level that the model in force knows, by level of the draft.
    pub from_none: Vec<u64>,
}

impl Migration {
    fn between(from: Vec<String>, to: Vec<String>) -> Self {
        Self { counts: vec![vec![0; to.len()]; from.len()], from_none: vec![0; to.len()], from, to }
    }

    fn of_levels(of: LevelOf, old: &Model, new: &Model) -> Self {
        let ids = |model: &Model| model.document.level_ids(of).into_iter().map(str::to_owned).collect();
        Self::between(ids(old), ids(new))
    }

    fn of_grades() -> Self {
        let letters = || Grade::ALL.iter().rev().map(Grade::to_string).collect();
        Self::between(letters(), letters())
    }

    /// Counts some who go from one level to another.
    pub fn add(&mut self, from: Option<&str>, to: Option<&str>, many: u64) {
        let Some(column) = to.and_then(|to| self.to.iter().position(|level| level == to)) else { return };
        let row = from.and_then(|from| self.from.iter().position(|level| level == from));
        let row = match row {
            Some(row) => self.counts.get_mut(row),
            None => Some(&mut self.from_none),
        };
        if let Some(count) = row.and_then(|row| row.get_mut(column)) {
            *count = count.saturating_add(many);
        }
    }

    /// Adds the counts of others, made for the same levels.
    pub fn merge(&mut self, other: &Self) {
        let rows = self.counts.iter_mut().chain([&mut self.from_none]);
        for (ours, theirs) in rows.zip(other.counts.iter().chain([&other.from_none])) {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours = ours.saturating_add(*theirs));
        }
    }

    /// How many each level of now has.
    pub fn before(&self) -> Vec<u64> {
        self.counts.iter().map(|row| row.iter().fold(0_u64, |sum, n| sum.saturating_add(*n))).collect()
    }

    /// How many each level of the draft has.
    pub fn after(&self) -> Vec<u64> {
        let rows = || self.counts.iter().chain([&self.from_none]);
        (0..self.to.len()).map(|column| rows().filter_map(|row| row.get(column)).fold(0_u64, |sum, n| sum.saturating_add(*n))).collect()
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "levels": self.to, "matrix": self.counts, "from_none": self.from_none, "before": self.before(), "after": self.after(),
        });
        if let (true, Some(map)) = (self.from != self.to, value.as_object_mut()) {
            map.insert("levels_before".to_owned(), json!(self.from));
        }
        value
    }
}

/// An account whose score moves far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mover {
    /// Which home.
    pub home: Home,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The score by the model in force; `None` when the ruleset is not in force.
    pub old: Option<i64>,
    /// The score by the draft; `None` when the ruleset would not be in force.
    pub new: Option<i64>,
    /// The level by the model in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_level: Option<String>,
    /// The level by the draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_level: Option<String>,
    /// The rules that make the difference, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

impl Mover {
    /// How far it moves; a score that there is not counts as none.
    fn difference(&self) -> i64 {
        self.new.unwrap_or_default().saturating_sub(self.old.unwrap_or_default())
    }
}

/// The accounts that rise most and those that fall most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movers {
    /// The farthest rise first, equal ones by home.
    pub risers: Vec<Mover>,
    /// The farthest fall first, equal ones by home.
    pub fallers: Vec<Mover>,
}

impl Movers {
    fn side(&mut self, difference: i64) -> &mut Vec<Mover> {
        if difference > 0 { &mut self.risers } else { &mut self.fallers }
    }

    fn place(side: &[Mover], difference: i64, home: &Home) -> usize {
        let key = (std::cmp::Reverse(difference.saturating_abs()), home);
        side.partition_point(|mover| (std::cmp::Reverse(mover.difference().saturating_abs()), &mover.home) < key)
    }

    /// Whether a home with this difference is among those that are named.
    fn admits(&mut self, difference: i64, home: &Home) -> bool {
        difference != 0 && Self::place(self.side(difference), difference, home) < MOVERS
    }

    fn add(&mut self, mover: Mover) {
        let difference = mover.difference();
        let side = self.side(difference);
        let place = Self::place(side, difference, &mover.home);
        if difference != 0 && place < MOVERS {
            side.insert(place, mover);
            side.truncate(MOVERS);
        }
    }

    fn merge(&mut self, other: Self) {
        other.risers.into_iter().chain(other.fallers).for_each(|mover| self.add(mover));
    }
}

/// What one trigger would send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fires {
    /// For how many homes and transitions it would fire.
    pub would_fire: u64,
    /// How many more its cooldown would hold back.
    pub held_by_cooldown: u64,
    /// The first homes for which it would fire, in the order of their ids.
    pub homes: BTreeSet<Home>,
}

impl Fires {
    fn name(&mut self, home: Home) {
        self.homes.insert(home);
        while self.homes.len() > NAMED {
            self.homes.pop_last();
        }
    }

    fn merge(&mut self, other: Self) {
        self.would_fire = self.would_fire.saturating_add(other.would_fire);
        self.held_by_cooldown = self.held_by_cooldown.saturating_add(other.held_by_cooldown);
        other.homes.into_iter().for_each(|home| self.name(home));
    }
}

/// How scores are spread, by one of both models.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// How many points each step holds.
    pub step: i64,
    /// How many accounts have a score in each step; the last one takes everything above.
    pub counts: Vec<u64>,
    /// The sum of all scores.
    pub sum: i64,
    /// How many have a score.
    pub scored: u64,
}

impl Spread {
    fn of_steps(step: i64) -> Self {
        Self { step: step.max(1), counts: vec![0; BUCKETS], sum: 0, scored: 0 }
    }

    fn add(&mut self, score: Option<i64>) {
        let Some(score) = score else { return };
        let place = usize::try_from(score.max(0) / self.step.max(1)).unwrap_or(usize::MAX).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(score);
        self.scored = self.scored.saturating_add(1);
    }

    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours = ours.saturating_add(*theirs));
        self.sum = self.sum.saturating_add(other.sum);
        self.scored = self.scored.saturating_add(other.scored);
    }

    /// The mean, rounded to whole points; nothing when nobody has a score.
    fn mean(&self) -> Option<i64> {
        let scored = i64::try_from(self.scored).ok().filter(|scored| *scored > 0)?;
        Some(crate::decay::divide_rounded(self.sum, scored))
    }
}

/// How often a trigger would have fired in the last days, by the model in force and by the draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// By the model in force.
    pub old: u64,
    /// By the draft.
    pub new: u64,
}

/// A dry run over accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Which score it is about.
    pub subject: Subject,
    /// How many accounts were compared.
    pub accounts: u64,
    /// How many leads without an account were compared; they are in the matrices of engagement and leads.
    pub unresolved_leads: u64,
    /// For how many homes anything changes.
    pub changed: u64,
    /// For how many homes a level changes, those of leads included.
    pub levels_changed: u64,
    /// Account levels.
    pub account_levels: Migration,
    /// Account engagement levels.
    pub engagement_levels: Migration,
    /// Leads' levels.
    pub lead_levels: Migration,
    /// Grades.
    pub grades: Migration,
    /// The scores by the model in force.
    pub before: Spread,
    /// The scores by the draft.
    pub after: Spread,
    /// The points that are possible by the model in force and by the draft, when there is a limit.
    pub possible: [Option<i64>; 2],
    /// Who moves farthest.
    pub movers: Movers,
    /// What would be sent if the publication notified people.
    pub fires: BTreeMap<TriggerId, Fires>,
    /// What would have been sent in the last days.
    pub history: BTreeMap<TriggerId, History>,
    /// How many accounts each rule of the draft matches; for account rulesets.
    pub matched: RuleShares,
}

impl Comparison {
    /// Of no account yet.
    pub fn new(subject: Subject, old: &Model, new: &Model) -> Self {
        let possible = [old, new].map(|model| possible(&subject, model));
        let widest = possible.iter().flatten().copied().max().unwrap_or(200);
        let step = widest.saturating_add(1).saturating_add(BUCKETS as i64 - 1) / BUCKETS as i64;
        Self {
            accounts: 0,
            unresolved_leads: 0,
            changed: 0,
            levels_changed: 0,
            account_levels: Migration::of_levels(LevelOf::Account, old, new),
            engagement_levels: Migration::of_levels(LevelOf::Engagement, old, new),
            lead_levels: Migration::of_levels(LevelOf::Lead, old, new),
            grades: Migration::of_grades(),
            before: Spread::of_steps(step),
            after: Spread::of_steps(step),
            possible,
            movers: Movers::default(),
            fires: BTreeMap::new(),
            history: BTreeMap::new(),
            matched: RuleShares::default(),
            subject,
        }
    }

    /// Adds a home. `because` is asked only for homes that move far. Answers what changes for it, if anything does.
    pub fn add(&mut self, seen: &Seen<'_>, because: impl FnOnce() -> Vec<String>) -> Option<ChangedHome> {
        let (old, new) = (Shown::of(&seen.old), Shown::of(&seen.new));
        match seen.home {
            Home::Account(_) => self.accounts = self.accounts.saturating_add(1),
            Home::Lead(_) => self.unresolved_leads = self.unresolved_leads.saturating_add(1),
        }
        let is_account = seen.home.account().is_some();
        if is_account {
            self.account_levels.add(seen.old.account_level, seen.new.account_level, 1);
            let grade = |placed: &Placed<'_>| placed.grade.map(|grade| grade.to_string());
            self.grades.add(grade(&seen.old).as_deref(), grade(&seen.new).as_deref(), 1);
        }
        // An unresolved lead has no account score that anybody sees.
        let concerned = is_account || !matches!(self.subject, Subject::Account {} | Subject::OtherAccount { .. });
        if concerned {
            self.before.add(seen.old.score);
            self.after.add(seen.new.score);
        }
        self.engagement_levels.add(seen.old.engagement_level, seen.new.engagement_level, 1);
        let leads = self.add_leads(seen);
        if !concerned {
            return None;
        }
        let levels = leads || old.account_level != new.account_level || old.engagement_level != new.engagement_level;
        self.levels_changed = self.levels_changed.saturating_add(u64::from(levels));
        let (from, to) = (seen.old.score.unwrap_or_default(), seen.new.score.unwrap_or_default());
        if self.movers.admits(to.saturating_sub(from), seen.home) {
            self.movers.add(self.mover(seen, because()));
        }
        if !levels && old == new {
            return None;
        }
        self.changed = self.changed.saturating_add(1);
        Some(ChangedHome { home: seen.home.clone(), name: short(seen.name), old, new })
    }

    /// Adds the leads of a home and tells whether any of their levels changes.
    fn add_leads(&mut self, seen: &Seen<'_>) -> bool {
        let lowest =
            |placed: &Placed<'_>, levels: &[String]| placed.lowest_lead_level.map(str::to_owned).or_else(|| levels.first().cloned());
        let (old_lowest, new_lowest) = (lowest(&seen.old, &self.lead_levels.from), lowest(&seen.new, &self.lead_levels.to));
        let above: BTreeSet<&IdentityId> = seen.old.leads.keys().chain(seen.new.leads.keys()).collect();
        let mut changed = false;
        for lead in &above {
            let of = |leads: &BTreeMap<IdentityId, (String, Timestamp)>| leads.get(*lead).map(|(level, _)| level.clone());
            let old = of(seen.old.leads).or_else(|| old_lowest.clone());
            let new = of(seen.new.leads).or_else(|| new_lowest.clone());
            changed |= old != new;
            self.lead_levels.add(old.as_deref(), new.as_deref(), 1);
        }
        let others = u64::from(seen.total_leads).saturating_sub(above.len() as u64);
        self.lead_levels.add(old_lowest.as_deref(), new_lowest.as_deref(), others);
        changed
    }

    fn mover(&self, seen: &Seen<'_>, mut because: Vec<String>) -> Mover {
        because.truncate(REASONS);
        let level = |placed: &Placed<'_>| match self.subject {
            Subject::Account {} => placed.account_level.map(str::to_owned),
            Subject::Engagement {} => placed.engagement_level.map(str::to_owned),
            Subject::OtherAccount { .. } | Subject::OtherEngagement { .. } => None,
        };
        Mover {
            home: seen.home.clone(),
            name: short(seen.name),
            old: seen.old.score,
            new: seen.new.score,
            old_level: level(&seen.old),
            new_level: level(&seen.new),
            because: because.iter().filter_map(|reason| short(Some(reason))).collect(),
        }
    }

    /// Notes that a trigger would fire for a home, or would if its cooldown did not hold it back.
    pub fn add_fire(&mut self, trigger: &TriggerId, home: &Home, held: bool) {
        let fires = self.fires.entry(trigger.clone()).or_default();
        if held {
            fires.held_by_cooldown = fires.held_by_cooldown.saturating_add(1);
        } else {
            fires.would_fire = fires.would_fire.saturating_add(1);
            fires.name(home.clone());
        }
    }

    /// Adds how often triggers would have fired for a home in the last days.
    pub fn add_history(&mut self, old: &BTreeMap<TriggerId, u64>, new: &BTreeMap<TriggerId, u64>) {
        for (trigger, many) in old {
            let known = self.history.entry(trigger.clone()).or_default();
            known.old = known.old.saturating_add(*many);
        }
        for (trigger, many) in new {
            let known = self.history.entry(trigger.clone()).or_default();
            known.new = known.new.saturating_add(*many);
        }
    }

    /// Counts which rules of an account ruleset hold for an account.
    pub fn add_matched(&mut self, score: &AccountScore) {
        self.matched.accounts = self.matched.accounts.saturating_add(1);
        for line in score.lines.iter().filter(|line| matches!(line.outcome, Outcome::Matched | Outcome::Capped(_))) {
            let count = self.matched.matched.entry(line.rule_id.to_string()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Adds what was compared of other homes with the same models.
    pub fn merge(&mut self, other: Self) {
        for (ours, theirs) in [
            (&mut self.accounts, other.accounts),
            (&mut self.unresolved_leads, other.unresolved_leads),
            (&mut self.changed, other.changed),
            (&mut self.levels_changed, other.levels_changed),
            (&mut self.matched.accounts, other.matched.accounts),
        ] {
            *ours = ours.saturating_add(theirs);
        }
        self.account_levels.merge(&other.account_levels);
        self.engagement_levels.merge(&other.engagement_levels);
        self.lead_levels.merge(&other.lead_levels);
        self.grades.merge(&other.grades);
        self.before.merge(&other.before);
        self.after.merge(&other.after);
        self.movers.merge(other.movers);
        for (trigger, fires) in other.fires {
            self.fires.entry(trigger).or_default().merge(fires);
        }
        for (trigger, theirs) in other.history {
            let ours = self.history.entry(trigger).or_default();
            *ours = History { old: ours.old.saturating_add(theirs.old), new: ours.new.saturating_add(theirs.new) };
        }
        for (rule, theirs) in other.matched.matched {
            let ours = self.matched.matched.entry(rule).or_default();
            *ours = ours.saturating_add(theirs);
        }
    }

    /// How many accounts have each account level by the draft, for lint.
    pub fn level_shares(&self) -> LevelShares {
        let levels = self.account_levels.to.iter().cloned().zip(self.account_levels.after()).collect();
        LevelShares { accounts: self.accounts, levels, twentieth: None }
    }

    /// The result as JSON. `triggers` give the names; `days` is how far the history reaches.
    pub fn to_value(&self, triggers: &[Trigger], days: u32) -> Value {
        let name = |id: &TriggerId| triggers.iter().find(|trigger| trigger.id == *id).map(|trigger| trigger.name.clone());
        let fires = self.fires.iter().map(|(id, fires)| {
            let homes: Vec<String> = fires.homes.iter().map(named).collect();
            json!({ "trigger": id, "name": name(id), "would_fire": fires.would_fire, "held_by_cooldown": fires.held_by_cooldown, "accounts": homes })
        });
        let history = self.history.iter().map(|(id, times)| json!({ "trigger": id, "name": name(id), "old": times.old, "new": times.new }));
        let mover = |mover: &Mover| {
            let mut value = serde_json::to_value(mover).unwrap_or_default();
            if let Some(map) = value.as_object_mut() {
                map.remove("home");
                let kind = if mover.home.account().is_some() { "account_id" } else { "lead_id" };
                map.insert(kind.to_owned(), json!(named(&mover.home)));
            }
            value
        };
        let drives = self.subject.drives_levels();
        let mut value = json!({
            "accounts": self.accounts,
            "unresolved_leads": self.unresolved_leads,
            "changed": self.changed,
            "levels_changed": self.levels_changed,
            "score": {
                "mean_before": self.before.mean(), "mean_after": self.after.mean(), "possible": self.possible,
                "histogram": { "step": self.before.step, "before": self.before.counts, "after": self.after.counts },
            },
            "top_movers": self.movers.risers.iter().map(mover).collect::<Vec<_>>(),
            "top_fallers": self.movers.fallers.iter().map(mover).collect::<Vec<_>>(),
            "matched": self.matched,
        });
        if let Some(map) = value.as_object_mut() {
            if drives {
                map.insert("account_levels".to_owned(), self.account_levels.to_value());
                map.insert("engagement_levels".to_owned(), self.engagement_levels.to_value());
                map.insert("lead_levels".to_owned(), self.lead_levels.to_value());
                map.insert("grades".to_owned(), self.grades.to_value());
                let last = json!({ "days": days, "assumes": "fields as they are today", "triggers": history.collect::<Vec<_>>() });
                let notifications = json!({ "at_publication": fires.collect::<Vec<_>>(), "last_days": last });
                map.insert("notifications".to_owned(), notifications);
            } else {
                map.insert("levels".to_owned(), json!("not driven by this ruleset"));
            }
        }
        value
    }
}

fn possible(subject: &Subject, model: &Model) -> Option<i64> {
    let document = &model.document;
    match subject {
        Subject::Account {} => Some(i64::from(model.account.possible())),
        Subject::Engagement {} => crate::explain::possible_engagement(&model.engagement),
        Subject::OtherAccount { ruleset } => {
            let place = document.other_accounts.iter().position(|other| other.ruleset.id == *ruleset)?;
            model.other_accounts.get(place).map(|compiled| i64::from(compiled.possible()))
        }
        Subject::OtherEngagement { ruleset } => {
            let place = document.other_engagements.iter().position(|other| other.ruleset.id == *ruleset)?;
            crate::explain::possible_engagement(model.other_engagements.get(place)?)
        }
    }
}

/// A home as the API names it: the account's id, or `ld_` and the lead's key.
fn named(home: &Home) -> String {
    match home {
        Home::Account(account) => account.to_string(),
        Home::Lead(lead) => format!("ld_{lead}"),
    }
}

fn short(text: Option<&str>) -> Option<String> {
    text.map(|text| text.chars().take(NAME).collect())
}

/// The rules that make the difference between two account scores, the largest first: `Revenue of 50 million or more: +45`.
pub fn account_differences(old: Option<&AccountScore>, new: Option<&AccountScore>) -> Vec<String> {
    let mut points: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (score, sign) in [(old, -1), (new, 1)] {
        for line in score.into_iter().flat_map(|score| &score.lines) {
            *points.entry((line.rule_id.to_string(), line.name.to_string())).or_default() += sign * i64::from(line.points);
        }
        for cap in score.into_iter().flat_map(|score| &score.caps) {
            *points.entry((String::new(), "caps".to_owned())).or_default() += sign * i64::from(cap.points);
        }
    }
    told(points.into_iter().map(|((_, name), points)| (name, points)).collect())
}

/// The rules that make the difference between two engagements, the largest first.
pub fn engagement_differences(
    old: Option<(&CompiledEngagement, &Engagement)>,
    new: Option<(&CompiledEngagement, &Engagement)>,
) -> Vec<String> {
    let mut points: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (side, sign) in [(old, -1_i64), (new, 1)] {
        let Some((compiled, engagement)) = side else { continue };
        for lead in &engagement.leads {
            for given in &lead.rules {
                let Some(rule) = compiled.ruleset.rules.get(given.rule) else { continue };
                let known = points.entry((rule.id.clone(), rule.name.clone())).or_default();
                *known = known.saturating_add(sign.saturating_mul(given.milli));
            }
            let known = points.entry((String::new(), "caps of leads".to_owned())).or_default();
            *known = known.saturating_add(sign.saturating_mul(lead.capped));
        }
    }
    told(points.into_iter().map(|((_, name), milli)| (name, crate::decay::shown(milli))).collect())
}

fn told(mut points: Vec<(String, i64)>) -> Vec<String> {
    points.retain(|(_, points)| *points != 0);
    points.sort_by(|a, b| b.1.saturating_abs().cmp(&a.1.saturating_abs()).then_with(|| a.0.cmp(&b.0)));
    points.into_iter().map(|(name, points)| format!("{name}: {points:+}")).collect()
}

#[cfg(test)]
mod tests;
