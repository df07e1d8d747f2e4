//! Lint of engagement rulesets.

use super::{Circumstances, Findings, RuleView, Severity, duplicates, index, levels, rules};
use crate::{
    engagement::{EngagementRule, EngagementRuleset, MatchingPart, PartId},
    event::fold_name,
    ruleset::RulesetKind,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn lint(findings: &mut Findings, ruleset: &EngagementRuleset, circumstances: &Circumstances<'_>) {
    for fault in ruleset.faults() {
        let rule = index(&fault.pointer, "rules").and_then(|place| ruleset.rules.get(place));
        let code = if rule.is_some() { "faulty_rule" } else { "does_not_parse" };
        let says = rule.map_or_else(|| fault.detail.clone(), |rule| format!("`{}` can't be evaluated: {}", rule.name, fault.detail));
        findings.add(Severity::Error, code, fault.pointer, says, format!("what would be right: {}", fault.detail));
        findings.of_rule(rule.map(|rule| rule.id.as_str()));
    }
    let views: Vec<RuleView<'_>> =
        ruleset.rules.iter().map(|rule| RuleView { id: &rule.id, name: &rule.name, points: rule.points }).collect();
    rules(findings, &views, circumstances.matched);
    duplicates(findings, &views, ruleset.rules.iter().map(|rule| canonical(&rule.part)));
    caps(findings, ruleset);
    let others = circumstances.document.matching_parts();
    for (place, rule) in colliding(&ruleset.rules, others) {
        collision(findings, place, rule);
    }
    if circumstances.primary {
        let (document, now) = (circumstances.document, &circumstances.document.engagement);
        let of_lead = (ruleset.possible_of_a_lead(), now.possible_of_a_lead());
        let of_account = (ruleset.possible_of_an_account(), now.possible_of_an_account());
        levels::reach(findings, &document.lead_levels, RulesetKind::LeadLevels, of_lead.0, of_lead.1, false);
        levels::reach(findings, &document.engagement_levels, RulesetKind::EngagementLevels, of_account.0, of_account.1, false);
    }
}

pub(super) fn collision(findings: &mut Findings, place: usize, rule: &EngagementRule) {
    findings.add(
        Severity::Error,
        "parts_collide",
        format!("/rules/{place}"),
        format!("what `{}` counts can't be told apart from what another rule counts, by accident of the digest that names it", rule.name),
        "change one of its event names or filters, for instance by adding an event name that does not occur",
    );
    findings.of_rule(Some(&rule.id));
}

/// A matching part as text: the same for parts that count the same.
pub(super) fn canonical(part: &MatchingPart) -> String {
    let events: BTreeSet<String> = part.events.iter().map(|name| fold_name(name)).collect();
    json!({ "events": events, "filters": part.filters, "count": part.count }).to_string()
}

/// The rules whose parts have the id of a different part, be it of another rule or of the others.
pub(super) fn colliding<'r, 'o>(
    rules: &'r [EngagementRule],
    others: impl Iterator<Item = &'o MatchingPart>,
) -> Vec<(usize, &'r EngagementRule)> {
    let mut seen: BTreeMap<PartId, String> = others.map(|part| (part.id(), canonical(part))).collect();
    let mut found = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let text = canonical(&rule.part);
        match seen.get(&rule.part.id()) {
            Some(other) if *other != text => found.push((place, rule)),
            Some(_) => {}
            None => drop(seen.insert(rule.part.id(), text)),
        }
    }
    found
}

/// Caps that leave less than one event is worth.
fn caps(findings: &mut Findings, ruleset: &EngagementRuleset) {
    for (i, rule) in ruleset.rules.iter().enumerate() {
        let limits = [("lead_cap", ruleset.lead_cap), ("cap", rule.cap), ("cap_per_day", rule.cap_per_day)];
        let Some((key, limit)) = limits.into_iter().find(|(_, limit)| (1..rule.points).contains(limit)) else { continue };
        findings.add(
            Severity::Hint,
            "points_cut_by_cap",
            format!("/rules/{i}/points"),
            format!("one event of `{}` is worth {} points, and `{key}` leaves {limit}", rule.name, rule.points),
            format!("raise `{key}`, or give the rule {limit} points"),
        );
        findings.of_rule(Some(&rule.id));
    }
}
