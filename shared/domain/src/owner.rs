//! Owner rules: who looks after which accounts, as long as no person says otherwise.
//!
//! Rules stand in an order, and an account falls under the first that fits: its condition holds for the account's fields, and the account has one of
//! its levels. What is not known, or known only as an interval that leaves the condition open, does not hold. A condition can't ask for the owner,
//! which is what rules decide; for the same reason a rule that names levels does not go together with a segment of account levels that asks for the
//! owner ([`goes_round`]).
//!
//! When an account comes under another rule, the rule's owners take turns: each account goes to the next of them. While it stays under the rule it
//! keeps its owner, unless the rule does not name that owner any more. An account under no rule keeps the owner that it has. An owner whom a person
//! set stays until the person clears it.

use crate::{
    Day,
    account_rules::Condition,
    aliases::Aliases,
    field::FieldLookup,
    model::{Model, ModelDocument},
    problem::{Problems, join, shape},
    segments::{AccountFacts, CompiledCondition, SegmentFields},
    trigger::LevelOf,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The most rules of a workspace.
pub const MAX_RULES: usize = 100;
/// The most owners of one rule.
pub const MAX_OWNERS: usize = 50;
/// The longest id of a rule, in characters.
const MAX_ID: usize = 100;
/// The longest name of a rule or an owner, in characters.
const MAX_NAME: usize = 200;
/// What people state of an account that conditions may not ask for here.
const OWNER: &str = "owner";

/// Whose the accounts are that fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnerRule {
    /// Names the rule in accounts, and its turns.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// For which accounts; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// For accounts of which account levels, by id; of any when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// Who takes turns, in this order.
    pub owners: Vec<String>,
}

impl OwnerRule {
    /// Whose turn it is, counting turns from 0.
    pub fn owner(&self, turn: u64) -> Option<&str> {
        let owners = u64::try_from(self.owners.len()).ok().filter(|owners| *owners > 0)?;
        self.owners.get(usize::try_from(turn % owners).ok()?).map(String::as_str)
    }

    /// Whether it names an owner.
    pub fn names(&self, owner: &str) -> bool {
        self.owners.iter().any(|named| named == owner)
    }
}

/// The owner rules of a workspace, in their order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerRules(pub Vec<OwnerRule>);

impl OwnerRules {
    /// Whether there is no rule.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `{"rules": […]}` and checks it against the account levels of a model. The error lists every problem with its JSON pointer.
    pub fn read(value: &Value, document: &ModelDocument) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let rules = rules(&mut problems, value);
        for (i, rule) in rules.iter().enumerate() {
            check(&mut problems, &join("/rules", i), rule, rules.get(..i).unwrap_or_default(), document);
        }
        problems.or(Self(rules))
    }

    /// As [`Self::read`] takes it.
    pub fn to_value(&self) -> Value {
        json!({ "rules": self })
    }

    /// A rule by its id.
    pub fn rule(&self, id: &str) -> Option<&OwnerRule> {
        self.0.iter().find(|rule| rule.id == id)
    }
}

fn rules(problems: &mut Problems, value: &Value) -> Vec<OwnerRule> {
    let Some(map) = problems.object("", value, &["rules"]) else { return Vec::new() };
    let Some(listed) = map.get("rules") else {
        problems.add("/rules", "is required: an array of rules, the first one that fits decides");
        return Vec::new();
    };
    let Some(listed) = problems.array("/rules", listed) else { return Vec::new() };
    if listed.len() > MAX_RULES {
        problems.add("/rules", format!("must have at most {MAX_RULES} rules, got {}", listed.len()));
        return Vec::new();
    }
    // A rule that can't be read keeps its place, so that the pointers of the others are right.
    listed.iter().enumerate().map(|(i, value)| rule(problems, &join("/rules", i), value)).collect()
}

fn rule(problems: &mut Problems, at: &str, value: &Value) -> OwnerRule {
    let nothing = Map::new();
    let map = problems.object(at, value, &["id", "name", "when", "levels", "owners"]).unwrap_or(&nothing);
    let readable = value.is_object();
    let id = readable.then(|| problems.text(at, map, "id", MAX_ID)).flatten().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !id.is_empty() && !id.chars().all(fits) {
        problems.add(&join(at, "id"), "must be made of `a-z`, `A-Z`, `0-9`, `_`, `-` and `.`, such as `dach-enterprise`");
    }
    let name = problems.optional_text(at, map, "name", MAX_NAME).unwrap_or_else(|| id.clone());
    let when = map.get("when").filter(|value| !value.is_null()).and_then(|value| Condition::read(problems, &join(at, "when"), value));
    let levels = if map.get("levels").is_some_and(|value| !value.is_null()) {
        texts(problems, &join(at, "levels"), map.get("levels"), MAX_RULES, MAX_ID, "ids of account levels, such as `target`")
    } else {
        Vec::new()
    };
    let owners = if readable {
        texts(problems, &join(at, "owners"), map.get("owners"), MAX_OWNERS, MAX_NAME, "names of owners, such as `kim@yourcompany.example`")
    } else {
        Vec::new()
    };
    OwnerRule { id, name, when, levels, owners }
}

/// A list of 1 to `most` different texts.
fn texts(problems: &mut Problems, at: &str, value: Option<&Value>, most: usize, longest: usize, what: &str) -> Vec<String> {
    let listed = match value {
        Some(Value::Array(listed)) if (1..=most).contains(&listed.len()) => listed,
        Some(Value::Array(listed)) => {
            problems.add(at, format!("must have 1 to {most} {what}, got {}", listed.len()));
            return Vec::new();
        }
        Some(other) => {
            problems.add(at, format!("must be an array of 1 to {most} {what}, got {}", shape(other)));
            return Vec::new();
        }
        None => {
            problems.add(at, format!("is required: 1 to {most} {what}"));
            return Vec::new();
        }
    };
    let mut texts: Vec<String> = Vec::with_capacity(listed.len());
    for (i, value) in listed.iter().enumerate() {
        let at = join(at, i);
        let Some(text) = problems.text_value(&at, value, longest) else { continue };
        if text.chars().any(char::is_control) {
            problems.add(&at, "must have no control characters");
        } else if texts.contains(&text) {
            problems.add(&at, format!("names `{text}` a second time"));
        }
        texts.push(text);
    }
    texts
}

fn check(problems: &mut Problems, at: &str, rule: &OwnerRule, before: &[OwnerRule], document: &ModelDocument) {
    if !rule.id.is_empty() && before.iter().any(|other| other.id == rule.id) {
        problems.add(&join(at, "id"), format!("another rule before it has the id `{}`", rule.id));
    }
    let known = document.level_ids(LevelOf::Account);
    for (i, level) in rule.levels.iter().enumerate().filter(|(_, level)| !known.contains(&level.as_str())) {
        let known: Vec<String> = known.iter().map(|id| format!("`{id}`")).collect();
        problems.add(&join(&join(at, "levels"), i), format!("there is no account level `{level}`; the levels are {}", known.join(", ")));
    }
    if rule.when.as_ref().is_some_and(asks_for_owner) {
        problems.add(&join(at, "when"), "can't ask for `owner`: that is what the rules decide");
    }
    if !rule.levels.is_empty()
        && let Some(segment) = by_owner(document)
    {
        let says =
            format!("the account levels of the segment `{segment}` follow from the owner, so that the owner can't follow from levels");
        problems.add(&join(at, "levels"), says);
    }
}

/// Whether a condition asks for the owner.
pub(crate) fn asks_for_owner(condition: &Condition) -> bool {
    condition.fields().iter().any(|field| field.as_str() == OWNER)
}

/// The first segment of account levels that asks for the owner.
fn by_owner(document: &ModelDocument) -> Option<&str> {
    let segment = document.segments(LevelOf::Account).iter().find(|segment| asks_for_owner(&segment.when))?;
    Some(&segment.ruleset.name)
}

/// Whether in this model owners would follow from account levels, and account levels from owners: the names of the rule and of the segment.
pub fn goes_round(document: &ModelDocument) -> Option<(&str, &str)> {
    Some((by_level(document)?, by_owner(document)?))
}

/// The name of the first owner rule that asks for the account level.
pub(crate) fn by_level(document: &ModelDocument) -> Option<&str> {
    document.owners.0.iter().find(|rule| !rule.levels.is_empty()).map(|rule| rule.name.as_str())
}

/// The conditions of the owner rules, compiled, in their order.
#[derive(Debug, Default)]
pub(crate) struct CompiledOwners(Vec<Option<CompiledCondition>>);

impl CompiledOwners {
    pub(crate) fn compile(document: &ModelDocument, aliases: &Aliases) -> Self {
        Self(document.owners.0.iter().map(|rule| rule.when.as_ref().map(|when| CompiledCondition::new(when, aliases))).collect())
    }
}

impl Model {
    /// The owner rule that an account with this account level falls under on a UTC day. What people state of the account beside its fields counts,
    /// its owner apart.
    pub fn owner_rule<L: FieldLookup + ?Sized>(
        &self,
        fields: &L,
        account: &AccountFacts,
        level: Option<&str>,
        day: Day,
    ) -> Option<&OwnerRule> {
        let fields = SegmentFields { fields, account };
        let fits = |rule: &OwnerRule| rule.levels.is_empty() || level.is_some_and(|level| rule.levels.iter().any(|id| id == level));
        let holds = |condition: &Option<CompiledCondition>| condition.as_ref().is_none_or(|condition| condition.holds(&fields, day));
        let mut rules = self.document.owners.0.iter().zip(&self.owners().0);
        rules.find(|(rule, condition)| fits(rule) && holds(condition)).map(|(rule, _)| rule)
    }

    /// The first day after `day` on which an account may fall under another owner rule although no field and no level changes.
    pub fn next_owner_change<L: FieldLookup + ?Sized>(&self, fields: &L, account: Option<&AccountFacts>, day: Day) -> Option<Day> {
        let fields = SegmentFields { fields, account: account? };
        self.owners().0.iter().flatten().filter_map(|condition| condition.next_change(&fields, day)).min()
    }

    /// Whether an account may fall under another owner rule as days pass.
    pub fn owners_depend_on_date(&self) -> bool {
        self.owners().0.iter().flatten().any(CompiledCondition::depends_on_date)
    }
}

/// Levels that owner rules name and no account level ruleset has: such a rule takes nobody for them.
pub fn unknown_levels(document: &ModelDocument) -> Vec<(usize, &OwnerRule, &str)> {
    let known: BTreeSet<&str> = document.level_ids(LevelOf::Account).into_iter().collect();
    let rules = document.owners.0.iter().enumerate();
    let unknown = |level: &&str| !known.contains(level);
    rules
        .flat_map(|(i, rule)| rule.levels.iter().map(String::as_str).filter(unknown).map(move |level| (i, rule, level)).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests;
