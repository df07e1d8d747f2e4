//! Lint of account rulesets.

use super::{Circumstances, Findings, RuleView, Severity, duplicates, index, levels, rules};
use crate::{
    account_rules::AccountRuleset,
    problem::Problem,
    ruleset::{Content, RulesetKind},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// A field that is known of fewer percent of the accounts says little …
const LOW_PERCENT: u64 = 20;
/// … once there are so many accounts.
const ENOUGH_ACCOUNTS: u64 = 20;

pub(super) fn lint(findings: &mut Findings, ruleset: &AccountRuleset, circumstances: &Circumstances<'_>) {
    for problem in ruleset.validate().0 {
        // That there are no rules has a finding of its own.
        if !ruleset.rules.is_empty() || problem.pointer != "/rules" {
            faulty(findings, ruleset, problem);
        }
    }
    let views: Vec<RuleView<'_>> =
        ruleset.rules.iter().map(|rule| RuleView { id: &rule.id, name: &rule.name, points: i64::from(rule.points) }).collect();
    rules(findings, &views, circumstances.matched);
    duplicates(findings, &views, ruleset.rules.iter().map(|rule| (rule.disqualifies, folded(rule.condition.to_value()).to_string())));
    caps(findings, ruleset);
    fields(findings, ruleset, circumstances);
    // That such a rule never matches says nothing new.
    let unmapped: BTreeSet<Option<String>> =
        findings.0.iter().filter(|finding| finding.code == "field_without_mapping").map(|finding| finding.rule_id.clone()).collect();
    findings.0.retain(|finding| finding.code != "rule_never_matches" || !unmapped.contains(&finding.rule_id));
    if circumstances.primary {
        let possible = Content::Account(ruleset.clone()).possible();
        let before = Content::Account(circumstances.document.account.clone()).possible();
        let levels = &circumstances.document.account_levels;
        levels::reach(findings, levels, RulesetKind::AccountLevels, possible, before, false);
        levels::top(findings, levels, circumstances.shares, false);
    }
}

fn faulty(findings: &mut Findings, ruleset: &AccountRuleset, problem: Problem) {
    let place = index(&problem.pointer, "rules");
    let rule = place.and_then(|place| ruleset.rules.get(place));
    match rule {
        Some(rule) => {
            let says = format!("`{}` can't be evaluated and would give nothing: {}", rule.name, problem.message);
            findings.add(Severity::Error, "faulty_rule", problem.pointer, says, "correct the rule, or take it out");
        }
        None => findings.add(Severity::Error, "does_not_parse", problem.pointer, problem.message, "correct what is named there"),
    }
    findings.of_rule(rule.map(|rule| rule.id.as_str()));
}

/// A condition without regard to case, which comparisons have none for.
fn folded(condition: Value) -> Value {
    match condition {
        Value::String(text) => text.trim().to_lowercase().into(),
        Value::Array(items) => items.into_iter().map(folded).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, folded(value))).collect(),
        other => other,
    }
}

/// Caps that cut so much that the rules below them hardly differ any more.
fn caps(findings: &mut Findings, ruleset: &AccountRuleset) {
    let sum = |group: Option<&str>| -> i64 {
        let rules = ruleset.rules.iter().filter(|rule| group.is_none() || rule.group.as_deref() == group);
        rules.map(|rule| i64::from(rule.points.max(0))).sum()
    };
    let groups =
        ruleset.groups.iter().enumerate().map(|(i, group)| {
            (format!("/groups/{i}/cap"), format!("the rules of group `{}`", group.name), group.cap, sum(Some(&group.id)))
        });
    let all = std::iter::once(("/cap".to_owned(), "all rules".to_owned(), ruleset.cap, sum(None)));
    for (pointer, whose, cap, points) in groups.chain(all) {
        let Some(cap) = cap.map(i64::from).filter(|cap| points > cap.saturating_mul(3)) else { continue };
        let says = format!("{whose} have {points} points together, and the cap leaves {cap}");
        findings.add(Severity::Hint, "points_cut_by_cap", pointer, says, "raise the cap, or give these rules fewer points");
    }
}

/// Fields that nothing fills, and fields that are known of few accounts.
fn fields(findings: &mut Findings, ruleset: &AccountRuleset, circumstances: &Circumstances<'_>) {
    for (i, rule) in ruleset.rules.iter().enumerate() {
        for field in rule.condition.fields() {
            let name = field.as_str();
            let mapped = circumstances.document.mapping.entries().iter().any(|entry| entry.field == *field);
            let accounts = circumstances.coverage.map_or(0, |coverage| coverage.accounts);
            let known = circumstances.coverage.map_or(0, |coverage| coverage.of(name).known);
            if known == 0 && !mapped {
                findings.add(
                    Severity::Warning,
                    "field_without_mapping",
                    format!("/rules/{i}/condition"),
                    format!(
                        "`{}` looks at `{name}`, which no mapping fills and no account holds, so that it silently matches nothing",
                        rule.name
                    ),
                    format!("add an entry for `{name}` to the account mapping (`/api/v1/account-mappings`)"),
                );
            } else if ruleset.missing_means_no.contains(field) {
                // That it is not known decides, too.
                continue;
            } else if accounts >= ENOUGH_ACCOUNTS && known.saturating_mul(100) < accounts.saturating_mul(LOW_PERCENT) {
                let remedy = if mapped {
                    format!("send `{name}` with more events or enrich it, or drop the rule")
                } else {
                    format!("add an entry for `{name}` to the account mapping (`/api/v1/account-mappings`) or enrich it, or drop the rule")
                };
                let says = format!("`{}` looks at `{name}`, which {known} of {accounts} accounts hold", rule.name);
                findings.add(Severity::Warning, "low_coverage", format!("/rules/{i}/condition"), says, remedy);
            } else {
                continue;
            }
            findings.of_rule(Some(&rule.id));
        }
    }
}
