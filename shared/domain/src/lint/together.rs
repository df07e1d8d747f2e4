//! Lint of all rulesets that are in force together.

use super::{Finding, Findings, Severity, engagement};
use crate::{
    engagement::EngagementRule, field::FieldName, model::ModelDocument, owner::unknown_levels, problem::join, segments::STATED,
    trigger::LevelOf,
};

/// What is wrong with the rulesets in force together, the gravest first. Pointers are into the model document.
pub fn workspace(document: &ModelDocument) -> Vec<Finding> {
    let mut findings = Findings::default();
    let others: Vec<&str> =
        document.other_accounts.iter().filter(|other| !other.ruleset.rules.is_empty()).map(|other| other.ruleset.name.as_str()).collect();
    primary(&mut findings, "account", document.account.rules.is_empty(), &others);
    let others: Vec<&str> = document
        .other_engagements
        .iter()
        .filter(|other| !other.ruleset.rules.is_empty())
        .map(|other| other.ruleset.name.as_str())
        .collect();
    primary(&mut findings, "engagement", document.engagement.rules.is_empty(), &others);
    unmapped(&mut findings, document);
    unmapped_segments(&mut findings, document);
    owners(&mut findings, document);
    let rulesets = std::iter::once(("/engagement".to_owned(), &document.engagement));
    let others =
        document.other_engagements.iter().enumerate().map(|(i, other)| (format!("/other_engagements/{i}/ruleset"), &other.ruleset));
    let mut before: Vec<&EngagementRule> = Vec::new();
    for (at, ruleset) in rulesets.chain(others) {
        let parts = before.iter().map(|rule| &rule.part).chain(&document.kept_parts);
        for (place, rule) in engagement::colliding(&ruleset.rules, parts) {
            engagement::collision(&mut findings, place, rule);
            if let Some(finding) = findings.0.last_mut() {
                finding.pointer = format!("{at}{}", finding.pointer);
            }
        }
        before.extend(&ruleset.rules);
    }
    findings.0.sort_by_key(|finding| finding.severity);
    findings.0
}

/// Levels follow the primary ruleset, so there must be one that scores something.
fn primary(findings: &mut Findings, kind: &str, is_empty: bool, others: &[&str]) {
    if !is_empty {
        return;
    }
    let pointer = format!("/{kind}");
    match others.first() {
        Some(other) => findings.add(
            Severity::Error,
            "no_primary",
            pointer,
            format!("no {kind} ruleset drives the levels: the primary one has no rules"),
            format!("make `{other}` the primary one"),
        ),
        None => findings.add(
            Severity::Error,
            "none_enabled",
            pointer,
            format!("no {kind} ruleset is enabled, so that nothing is scored"),
            "enable one and make it the primary one",
        ),
    }
}

/// Fields that segments use and no mapping entry fills: they may still be set by hand or by an import.
fn unmapped_segments(findings: &mut Findings, document: &ModelDocument) {
    let kinds = [("account", LevelOf::Account), ("lead", LevelOf::Lead), ("engagement", LevelOf::Engagement)];
    for (kind, of) in kinds {
        for (i, segment) in document.segments(of).iter().enumerate() {
            let unmapped = |field: &&FieldName| {
                !STATED.contains(&field.as_str()) && !document.mapping.entries().iter().any(|entry| entry.field == **field)
            };
            for field in segment.when.fields().into_iter().filter(unmapped) {
                findings.add(
                    Severity::Warning,
                    "field_without_mapping",
                    format!("/{kind}_segments/{i}/when"),
                    format!("the segment of `{}` looks at `{field}`, which no mapping fills", segment.ruleset.name),
                    format!("add an entry for `{field}` to the account mapping (`/api/v1/account-mappings`)"),
                );
            }
        }
    }
}

/// Owner rules that take nobody, or fewer than they seem to.
fn owners(findings: &mut Findings, document: &ModelDocument) {
    for (i, rule, level) in unknown_levels(document) {
        findings.add(
            Severity::Warning,
            "owner_rule_without_level",
            join("/owners", i),
            format!("the owner rule `{}` is for the account level `{level}`, which no ruleset has", rule.name),
            "name a level that there is (`/api/v1/settings/owner-rules`)",
        );
        findings.of_level(Some(level));
    }
    for (i, rule) in document.owners.0.iter().enumerate() {
        let fields = rule.when.iter().flat_map(|when| when.fields());
        for field in fields.filter(|field| !STATED.contains(&field.as_str()) && !is_mapped(document, field)) {
            findings.add(
                Severity::Warning,
                "field_without_mapping",
                join(&join("/owners", i), "when"),
                format!("the owner rule `{}` looks at `{field}`, which no mapping fills", rule.name),
                format!("add an entry for `{field}` to the account mapping (`/api/v1/account-mappings`)"),
            );
        }
    }
}

fn is_mapped(document: &ModelDocument, field: &FieldName) -> bool {
    document.mapping.entries().iter().any(|entry| entry.field == *field)
}

/// Fields that rules use and no mapping entry fills: they may still be set by hand or by an import.
fn unmapped(findings: &mut Findings, document: &ModelDocument) {
    let others = document.other_accounts.iter().enumerate().map(|(i, other)| (format!("/other_accounts/{i}/ruleset"), &other.ruleset));
    let mut said: Vec<&FieldName> = Vec::new();
    for (at, ruleset) in std::iter::once(("/account".to_owned(), &document.account)).chain(others) {
        for (i, rule) in ruleset.rules.iter().enumerate() {
            for field in rule.condition.fields() {
                if said.contains(&field) || is_mapped(document, field) {
                    continue;
                }
                said.push(field);
                findings.add(
                    Severity::Warning,
                    "field_without_mapping",
                    join(&format!("{at}/rules"), i),
                    format!("`{}` of `{}` looks at `{field}`, which no mapping fills", rule.name, ruleset.name),
                    format!("add an entry for `{field}` to the account mapping (`/api/v1/account-mappings`)"),
                );
                findings.of_rule(Some(&rule.id));
            }
        }
    }
}
