//! Changes of single rules and levels.

use super::Content;
use crate::{
    account_rules::{self, AccountRule},
    engagement::EngagementRule,
    level::{Level, LevelRuleset, MAX_LEVELS},
    problem::Problems,
};
use serde_json::Value;
use std::collections::BTreeSet;

impl Content {
    /// The rules or levels as JSON, in their order.
    pub fn rules(&self) -> Vec<Value> {
        match self {
            Self::Account(ruleset) => ruleset.rules.iter().map(AccountRule::to_value).collect(),
            Self::Engagement(ruleset) => ruleset.rules.iter().map(EngagementRule::to_value).collect(),
            Self::Levels(levels) => levels.ruleset.levels.iter().map(Level::to_value).collect(),
        }
    }

    /// The ids of the rules or levels, in their order.
    pub fn rule_ids(&self) -> Vec<&str> {
        match self {
            Self::Account(ruleset) => ruleset.rules.iter().map(|rule| rule.id.as_str()).collect(),
            Self::Engagement(ruleset) => ruleset.rules.iter().map(|rule| rule.id.as_str()).collect(),
            Self::Levels(levels) => levels.ruleset.levels.iter().map(|level| level.id.as_str()).collect(),
        }
    }

    /// One rule or level as JSON.
    pub fn rule(&self, id: &str) -> Option<Value> {
        match self {
            Self::Account(ruleset) => ruleset.rules.iter().find(|rule| rule.id == id).map(AccountRule::to_value),
            Self::Engagement(ruleset) => ruleset.rules.iter().find(|rule| rule.id == id).map(EngagementRule::to_value),
            Self::Levels(levels) => levels.ruleset.level(id).map(Level::to_value),
        }
    }

    /// Puts a rule or level: in the place of the one with its id, else behind the others (a level where its range belongs). The error lists
    /// every problem with a JSON pointer into the rule, and nothing is changed. Ranges of levels may have gaps and overlaps then, which
    /// [`crate::lint`] says and publication refuses.
    pub fn put_rule(&mut self, rule: &Value) -> Result<(), Problems> {
        let mut problems = Problems::none();
        match self {
            Self::Account(ruleset) => {
                let read = AccountRule::read(&mut problems, "", rule);
                let group = read.as_ref().and_then(|rule| rule.group.as_deref());
                if let Some(group) = group.filter(|group| ruleset.groups.iter().all(|known| known.id != *group)) {
                    problems.add("/group", format!("must be the id of a group of this ruleset, got `{group}`"));
                }
                if let Some(rule) = read {
                    put(&mut ruleset.rules, rule, |rule| &rule.id, &mut problems);
                }
            }
            Self::Engagement(ruleset) => {
                if let Some(rule) = EngagementRule::read(&mut problems, "", rule) {
                    put(&mut ruleset.rules, rule, |rule| &rule.id, &mut problems);
                }
            }
            Self::Levels(levels) => {
                if let Some(level) = Level::read(&mut problems, "", rule) {
                    put_level(&mut levels.ruleset, level, &mut problems);
                }
            }
        }
        problems.or(())
    }

    /// Takes a rule or level out; `false` when there is none with this id. What is left may have a gap or no rule at all, which [`crate::lint`]
    /// says and publication refuses.
    pub fn remove_rule(&mut self, id: &str) -> bool {
        let before = self.len();
        match self {
            Self::Account(ruleset) => ruleset.rules.retain(|rule| rule.id != id),
            Self::Engagement(ruleset) => ruleset.rules.retain(|rule| rule.id != id),
            Self::Levels(levels) => levels.ruleset.levels.retain(|level| level.id != id),
        }
        self.len() < before
    }

    /// Puts the rules into the order of their ids. Levels have the order of their ranges and accept no other.
    pub fn reorder(&mut self, ids: &[String]) -> Result<(), Problems> {
        let mut problems = Problems::none();
        if let Some(message) = not_each_once(&self.rule_ids(), ids) {
            problems.add("/order", message);
            return Err(problems);
        }
        let place = |id: &str| ids.iter().position(|listed| listed == id);
        match self {
            Self::Account(ruleset) => ruleset.rules.sort_by_cached_key(|rule| place(&rule.id)),
            Self::Engagement(ruleset) => ruleset.rules.sort_by_cached_key(|rule| place(&rule.id)),
            Self::Levels(levels) => {
                if !levels.ruleset.levels.iter().map(|level| &level.id).eq(ids) {
                    problems.add("/order", "must be the order of the levels' ranges, lowest first; change `min` to move a level");
                }
            }
        }
        problems.or(())
    }
}

/// Replaces what has the same id, or adds it.
fn put<R>(rules: &mut Vec<R>, rule: R, id: impl Fn(&R) -> &String, problems: &mut Problems) {
    let place = rules.iter().position(|other| id(other) == id(&rule));
    if place.is_none() && rules.len() >= account_rules::MAX_RULES {
        problems.add("", format!("is one too many: a ruleset must have at most {} rules", account_rules::MAX_RULES));
    }
    if !problems.0.is_empty() {
        return;
    }
    match place.and_then(|place| rules.get_mut(place)) {
        Some(there) => *there = rule,
        None => rules.push(rule),
    }
}

/// Replaces or adds a level where its range belongs. A bound is moved in two steps, one level at a time, so ranges that do not fit together in between
/// are no problem here: lint says them of the draft, and publication refuses them.
fn put_level(ruleset: &mut LevelRuleset, level: Level, problems: &mut Problems) {
    if level.max.is_some_and(|max| max < level.min) {
        problems.add("/max", format!("must be at least the level's min, {}", level.min));
    }
    let others = ruleset.levels.iter().filter(|other| other.id != level.id).count();
    if others >= MAX_LEVELS {
        problems.add("", format!("is one too many: a ruleset must have at most {MAX_LEVELS} levels"));
    }
    if !problems.0.is_empty() {
        return;
    }
    ruleset.levels.retain(|other| other.id != level.id);
    let place = ruleset.levels.partition_point(|other| other.min < level.min);
    ruleset.levels.insert(place, level);
}

/// Why a list does not name each of the rules once; `None` when it does.
fn not_each_once(rules: &[&str], ids: &[String]) -> Option<String> {
    let listed: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = rules.iter().copied().collect();
    let named = |what: &str, ids: Vec<&str>| {
        let more = if ids.len() > 10 { format!(" and {} more", ids.len() - 10) } else { String::new() };
        let shown: Vec<String> = ids.iter().take(10).map(|id| format!("`{}`", crate::problem::short(id))).collect();
        (!ids.is_empty()).then(|| format!("; {what}: {}{more}", shown.join(", ")))
    };
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !seen.insert(*id)).collect();
    let parts = [
        named("missing", rules.iter().copied().filter(|id| !listed.contains(id)).collect()),
        named("unknown", listed.difference(&known).copied().collect()),
        named("named twice", twice),
    ];
    let wrong: String = parts.into_iter().flatten().collect();
    (!wrong.is_empty()).then(|| format!("must name each of the {} rules once{wrong}", rules.len()))
}
