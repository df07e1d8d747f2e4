//! What is wrong with a ruleset, beyond its structure.

use super::{
    AccountRule, AccountRuleset, Condition, MAX_DEPTH, MAX_GROUPS, MAX_OPERAND_CHARS, MAX_POINTS, MAX_RULES, MAX_VALUES, MAX_WITHIN_DAYS,
    Operation, Ordered, Scalar, Test,
};
use crate::problem::{Problems, join};
use std::collections::BTreeSet;

/// Every problem of a ruleset.
pub(super) fn ruleset(ruleset: &AccountRuleset) -> Problems {
    let mut problems = Problems::none();
    let mut groups = BTreeSet::new();
    if ruleset.groups.len() > MAX_GROUPS {
        problems.add("/groups", format!("must have at most {MAX_GROUPS} groups, got {}", ruleset.groups.len()));
    }
    for (i, group) in ruleset.groups.iter().enumerate() {
        if !groups.insert(group.id.as_str()) {
            problems.add(&format!("/groups/{i}/id"), format!("must be unique, `{}` is taken by another group", group.id));
        }
    }
    if ruleset.rules.is_empty() {
        problems.add("/rules", "must have at least one rule");
    }
    if ruleset.rules.len() > MAX_RULES {
        problems.add("/rules", format!("must have at most {MAX_RULES} rules, got {}", ruleset.rules.len()));
    }
    let mut ids = BTreeSet::new();
    for (i, rule) in ruleset.rules.iter().enumerate() {
        let at = format!("/rules/{i}");
        if !ids.insert(rule.id.as_str()) {
            problems.add(&join(&at, "id"), format!("must be unique, `{}` is taken by another rule", rule.id));
        }
        points(&mut problems, &at, rule);
        if let Some(group) = rule.group.as_deref().filter(|group| !groups.contains(group)) {
            problems.add(&join(&at, "group"), format!("must be the id of a group of this ruleset, got `{group}`"));
        }
        condition(&mut problems, &join(&at, "condition"), &rule.condition, 0);
    }
    problems
}

/// Every problem of a rule's points; `at` is the rule's place.
pub(super) fn points(problems: &mut Problems, at: &str, rule: &AccountRule) {
    let at = join(at, "points");
    if rule.points.unsigned_abs() > MAX_POINTS.unsigned_abs() {
        problems.add(&at, format!("must be a whole number from -{MAX_POINTS} to {MAX_POINTS}, got `{}`", rule.points));
    } else if rule.disqualifies && rule.points != 0 {
        problems.add(&at, format!("must be 0, because the rule disqualifies, got `{}`", rule.points));
    }
}

/// Every problem of a condition at a place; `depth` counts the groups around it.
pub(super) fn condition(problems: &mut Problems, at: &str, this: &Condition, depth: usize) {
    let (key, members) = match this {
        Condition::All(members) => ("all", members),
        Condition::Any(members) => ("any", members),
        Condition::Faulty { reason, .. } => return problems.add(at, reason.as_str()),
        Condition::Test(test) => {
            if let Some(reason) = unsound(test) {
                problems.add(&join(at, "value"), reason);
            }
            return;
        }
    };
    let at = join(at, key);
    if depth >= MAX_DEPTH {
        return problems.add(&at, format!("is nested deeper than {MAX_DEPTH} groups"));
    }
    if members.is_empty() {
        problems.add(&at, "must have at least one condition");
    }
    for (i, member) in members.iter().enumerate() {
        condition(problems, &join(&at, i), member, depth + 1);
    }
}

/// Why a test can't work, when it can't.
fn unsound(test: &Test) -> Option<String> {
    let blank = |text: &str| text.trim().is_empty().then(|| "must not be empty".to_owned());
    if let Some(length) = longest(&test.operation).filter(|length| *length > MAX_OPERAND_CHARS) {
        return Some(format!("must have at most {MAX_OPERAND_CHARS} characters, got {length}"));
    }
    match &test.operation {
        Operation::Between(Ordered::Number(from), Ordered::Number(to)) if from > to => {
            Some(format!("must be a range from low to high, got {from} to {to}"))
        }
        Operation::Between(Ordered::Moment(from), Ordered::Moment(to)) if from.start() > to.end() => {
            Some(format!("must be a range from early to late, got {from} to {to}"))
        }
        Operation::Between(Ordered::Number(_), Ordered::Moment(_)) | Operation::Between(Ordered::Moment(_), Ordered::Number(_)) => {
            Some("must be two numbers or two dates".to_owned())
        }
        Operation::In(values) | Operation::NotIn(values) if !(1..=MAX_VALUES).contains(&values.len()) => {
            Some(format!("must have 1 to {MAX_VALUES} values, got {}", values.len()))
        }
        Operation::Contains(text) | Operation::NotContains(text) | Operation::StartsWith(text) => blank(text),
        Operation::WithinDays(days) if !(1..=MAX_WITHIN_DAYS).contains(days) => {
            Some(format!("must be a whole number of days from 1 to {MAX_WITHIN_DAYS}, got {days}"))
        }
        _ => None,
    }
}

/// The length of the longest text that an operation compares with, in characters.
fn longest(operation: &Operation) -> Option<usize> {
    let of = |value: &Scalar| match value {
        Scalar::Text(text) => Some(text.chars().count()),
        Scalar::Number(_) | Scalar::Bool(_) => None,
    };
    match operation {
        Operation::Eq(value) | Operation::Neq(value) => of(value),
        Operation::In(values) | Operation::NotIn(values) => values.iter().filter_map(of).max(),
        Operation::Contains(text) | Operation::NotContains(text) | Operation::StartsWith(text) => Some(text.chars().count()),
        Operation::Gt(_) | Operation::Gte(_) | Operation::Lt(_) | Operation::Lte(_) | Operation::Between(..) => None,
        Operation::Exists | Operation::NotExists | Operation::WithinDays(_) => None,
    }
}
