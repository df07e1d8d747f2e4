//! Lint of level rulesets.

use super::{Circumstances, Findings, LevelShares, Severity};
use crate::{
    level::{Level, LevelFaultKind, LevelRuleset, Play},
    model::ModelDocument,
    ruleset::{Content, RulesetKind},
};
use std::collections::BTreeMap;

/// Fewer accounts say nothing about how many a level should have.
const ENOUGH_ACCOUNTS: u64 = 100;

pub(super) fn lint(findings: &mut Findings, ruleset: &LevelRuleset, circumstances: &Circumstances<'_>) {
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
