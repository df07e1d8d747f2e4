//! Lint of level rulesets.

use super::{Circumstances, Findings, LevelShares, Severity};
use crate::{
    account_rules::Condition,
    level::{Level, LevelFaultKind, LevelRuleset, Percentiles, Play},
    model::ModelDocument,
    owner::{asks_for_owner, by_level},
    ruleset::{Content, LevelContent, RulesetKind},
    segments::{STATED, level_of},
};
use std::collections::BTreeMap;

/// Fewer accounts say nothing about how many a level should have.
const ENOUGH_ACCOUNTS: u64 = 100;

pub(super) fn lint(findings: &mut Findings, content: &LevelContent, circumstances: &Circumstances<'_>) {
    let ruleset = &content.ruleset;
    for fault in ruleset.level_faults() {
        let code = match fault.kind {
            LevelFaultKind::Gap => "level_gap",
            LevelFaultKind::Overlap => "level_overlap",
            LevelFaultKind::Inverted => "level_inverted",
            LevelFaultKind::Ids => "level_ids",
            LevelFaultKind::Count if ruleset.levels.is_empty() => "no_rules",
            LevelFaultKind::Count | LevelFaultKind::Setting => "does_not_parse",
        };
        let id = ruleset.id_at(fault.level);
        let says = id.map_or_else(|| fault.detail.clone(), |id| format!("level `{id}`: {}", fault.detail));
        findings.add(Severity::Error, code, fault.pointer, says, "correct the level's range, so that every score has exactly one level");
        findings.of_level(id);
    }
    let possible = possible(circumstances.kind, circumstances.document);
    reach(findings, ruleset, circumstances.kind, possible, possible, true);
    plays(findings, ruleset, circumstances.kind);
    top(findings, ruleset, circumstances.shares, true);
    if let Some(when) = &content.segment {
        segment(findings, when, circumstances);
        vocabulary(findings, ruleset, circumstances);
    }
    if let Some(percentiles) = &content.percentiles {
        cuts(findings, percentiles, ruleset);
    }
}

/// A segment that takes nobody, or that can't be one.
fn segment(findings: &mut Findings, when: &Condition, circumstances: &Circumstances<'_>) {
    if circumstances.primary {
        findings.add(
            Severity::Error,
            "segment_of_primary",
            "/segment",
            "the primary ruleset takes every account that no segment takes, so that it has no segment itself",
            "take the segment out, or make another ruleset the primary one first",
        );
    }
    if circumstances.kind == RulesetKind::AccountLevels
        && asks_for_owner(when)
        && let Some(rule) = by_level(circumstances.document)
    {
        let says = format!(
            "the segment asks for the owner, and the owner rule `{rule}` for the account level: one would change the other for ever"
        );
        let remedy = "ask for something else, or take the levels out of the owner rules (`/api/v1/settings/owner-rules`)";
        findings.add(Severity::Error, "owner_goes_round", "/segment", says, remedy);
    }
    for problem in when.validate().0 {
        let says = format!("the segment can't be evaluated and would take nobody: {}", problem.message);
        findings.add(Severity::Error, "faulty_segment", format!("/segment{}", problem.pointer), says, "correct the condition");
    }
    for field in when.fields().into_iter().filter(|field| !STATED.contains(&field.as_str())) {
        let mapped = circumstances.document.mapping.entries().iter().any(|entry| entry.field == *field);
        let known = circumstances.coverage.map_or(0, |coverage| coverage.of(field.as_str()).known);
        if known == 0 && !mapped {
            findings.add(
                Severity::Warning,
                "field_without_mapping",
                "/segment",
                format!("the segment looks at `{field}`, which no mapping fills and no account holds, so that it silently takes nobody"),
                format!("add an entry for `{field}` to the account mapping (`/api/v1/account-mappings`)"),
            );
        }
    }
}

/// Levels of a segment that mean nothing to the primary ruleset.
fn vocabulary(findings: &mut Findings, ruleset: &LevelRuleset, circumstances: &Circumstances<'_>) {
    let Some(of) = level_of(circumstances.kind) else { return };
    let primary = circumstances.document.levels(of);
    for (i, level) in ruleset.levels.iter().enumerate().filter(|(_, level)| primary.level(&level.id).is_none()) {
        findings.add(
            Severity::Warning,
            "level_ids_differ",
            format!("/levels/{i}/id"),
            format!(
                "no level of `{}`, the primary ruleset, has the id `{}`: triggers and filters that name it see this segment only",
                primary.name, level.id
            ),
            "give levels that mean the same the same id in every ruleset; their names may differ",
        );
        findings.of_level(Some(&level.id));
    }
}

/// Cuts that fit the levels badly.
fn cuts(findings: &mut Findings, percentiles: &Percentiles, ruleset: &LevelRuleset) {
    for fault in percentiles.faults(&ruleset.levels) {
        findings.add(
            Severity::Error,
            "percentile_cuts",
            fault.pointer,
            fault.detail,
            "give every level above the lowest one cut, the higher the smaller",
        );
    }
    for ((i, level), above) in ruleset.levels.iter().enumerate().zip(ruleset.levels.iter().skip(1)) {
        if above.min == level.min.saturating_add(1) {
            findings.add(
                Severity::Warning,
                "percentile_cuts_equal",
                format!("/levels/{i}/min"),
                format!(
                    "`{}` is one point wide: its cut point and that of `{}` fall together, or were not computed yet",
                    level.name, above.name
                ),
                "compute the cut points; if they stay so, have fewer levels",
            );
            findings.of_level(Some(&level.id));
        }
    }
}

/// The most points that the primary ruleset behind levels gives.
fn possible(kind: RulesetKind, document: &ModelDocument) -> Option<i64> {
    match kind {
        RulesetKind::AccountLevels | RulesetKind::Account => Content::Account(document.account.clone()).possible(),
        RulesetKind::LeadLevels => document.engagement.possible_of_a_lead(),
        RulesetKind::EngagementLevels | RulesetKind::Engagement => document.engagement.possible_of_an_account(),
    }
}

/// Levels that are never reached with so many points, and a top level that states an end below them. `before` is how many points were possible when
/// the ranges were made. `own` tells whether the levels themselves are looked at, not the rules behind them.
pub(super) fn reach(
    findings: &mut Findings,
    levels: &LevelRuleset,
    kind: RulesetKind,
    possible: Option<i64>,
    before: Option<i64>,
    own: bool,
) {
    let Some(possible) = possible else { return };
    let pointer = |level: &Level, key: &str| match levels.rank(&level.id).filter(|_| own) {
        Some(place) => format!("/levels/{place}/{key}"),
        None => String::new(),
    };
    let unreachable = levels.unreachable(possible);
    let proposal = before.filter(|before| *before != possible).and_then(|before| levels.proposed(before, possible));
    let proposal = proposal.map(|levels| levels.iter().map(|level| format!("{} {}", level.name, level.min)).collect::<Vec<_>>().join(", "));
    for level in unreachable {
        let remedy = match &proposal {
            Some(ranges) => format!("lower its `min` to at most {possible}; in proportion the levels would begin at: {ranges}"),
            None => format!("lower its `min` to at most {possible}"),
        };
        findings.add(
            Severity::Warning,
            "level_unreachable",
            pointer(level, "min"),
            format!(
                "the level `{}` of the {} begins at {}, and at most {possible} points are possible",
                level.name,
                kind.title(),
                level.min
            ),
            remedy,
        );
        findings.of_level(Some(&level.id));
    }
    if let Some((level, max)) = levels.levels.last().and_then(|level| Some((level, level.max?))).filter(|(_, max)| *max < possible) {
        findings.add(
            Severity::Hint,
            "level_above_cap_line",
            pointer(level, "max"),
            format!("the top level `{}` says that it ends at {max}, and {possible} points are possible; it takes those, too", level.name),
            "leave its `max` out",
        );
        findings.of_level(Some(&level.id));
    }
}

/// A play with nothing but its letters.
fn folded(play: &Play) -> [String; 3] {
    let fold = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    [fold(&play.targeting), fold(&play.sales_motion), fold(&play.success_metric)]
}

fn plays(findings: &mut Findings, ruleset: &LevelRuleset, kind: RulesetKind) {
    let mut seen: BTreeMap<[String; 3], &Level> = BTreeMap::new();
    for (i, level) in ruleset.levels.iter().enumerate() {
        let Some(play) = &level.play else {
            // Plays belong to fit; levels of engagement say when, not what.
            if kind == RulesetKind::AccountLevels {
                findings.add(
                    Severity::Warning,
                    "level_without_play",
                    format!("/levels/{i}/play"),
                    format!("nobody knows what to do with accounts at `{}`", level.name),
                    "write its play, or join it with another level: one without a play does not earn its place",
                );
                findings.of_level(Some(&level.id));
            }
            continue;
        };
        let Some(first) = seen.get(&folded(play)) else {
            seen.insert(folded(play), level);
            continue;
        };
        findings.add(
            Severity::Warning,
            "levels_share_play",
            format!("/levels/{i}/play"),
            format!("`{}` and `{}` have the same play", first.name, level.name),
            "write one of them anew, or join the two levels: there are too many",
        );
        findings.of_level(Some(&level.id));
    }
}

/// A top level with hardly any accounts, or with so many that it is none.
pub(super) fn top(findings: &mut Findings, levels: &LevelRuleset, shares: Option<&LevelShares>, own: bool) {
    let Some(shares) = shares.filter(|shares| shares.accounts >= ENOUGH_ACCOUNTS) else { return };
    let Some(top) = levels.levels.last().filter(|_| levels.levels.len() > 1) else { return };
    let (n, all) = (shares.levels.get(&top.id).copied().unwrap_or_default(), shares.accounts);
    let code = match n.saturating_mul(100) {
        hundredfold if hundredfold < all => "top_level_too_small",
        hundredfold if hundredfold > all.saturating_mul(20) => "top_level_too_large",
        _ => return,
    };
    let pointer = if own { format!("/levels/{}/min", levels.levels.len().saturating_sub(1)) } else { String::new() };
    let remedy = match shares.twentieth {
        Some(score) => format!("move its `min` to {score}: at most 5 % of the accounts have as much"),
        None => "move its `min`, so that about 5 % of the accounts reach it".to_owned(),
    };
    let says = format!("{n} of {all} accounts are at the top level `{}`; between 1 % and 20 % are worth a play of their own", top.name);
    findings.add(Severity::Warning, code, pointer, says, remedy);
    findings.of_level(Some(&top.id));
}
