//! Fit, explained.

use super::{HeldLevels, LevelPart, OtherRuleset, RulesetName, level_part, not_in_force, ways};
use crate::{
    account_rules::{AccountRuleset, AccountScore, CapLine, CompiledAccountRuleset, MissingField, Outcome, RuleLine},
    evaluate::Evaluation,
    field::FieldName,
    model::{Beside, Model},
    trigger::LevelOf,
};
use serde::Serialize;

/// Fit: the points of `rules` and `caps` sum to `score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountPart {
    /// The account score.
    pub score: i32,
    /// The most that the rules can give.
    pub possible: i32,
    /// How many of the fields that rules use are known.
    pub fields_known: usize,
    /// How many fields the rules use.
    pub fields_used: usize,
    /// The same in words: `3 of 4 fields known`.
    pub known: String,
    /// By how much the score would rise if every rule that lacks a field matched.
    pub missing_could_add: i32,
    /// The fields that are not known, with what each could add.
    pub missing: Vec<MissingField>,
    /// One line a rule.
    pub rules: Vec<AccountRuleLine>,
    /// What caps took away, and what the floor of 0 gave back.
    pub caps: Vec<CapLine>,
    /// The level and the way to the next one.
    pub level: LevelPart,
}

/// One account rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountRuleLine {
    /// Points, outcome and the fields looked at.
    #[serde(flatten)]
    pub line: RuleLine,
    /// The outcome as a sentence.
    pub why: String,
}

/// What an account ruleset beside the primary one gives: the points of `rules` and `caps` sum to its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherAccount {
    /// How many of the fields that rules use are known.
    pub fields_known: usize,
    /// How many fields the rules use.
    pub fields_used: usize,
    /// One line a rule.
    pub rules: Vec<AccountRuleLine>,
    /// What caps took away, and what the floor of 0 gave back.
    pub caps: Vec<CapLine>,
}

fn lines(score: &AccountScore) -> Vec<AccountRuleLine> {
    score.lines.iter().map(|line| AccountRuleLine { why: why(line), line: line.clone() }).collect()
}

/// The rules that disqualify.
pub(super) fn disqualified_by(score: &AccountScore) -> Vec<String> {
    score.disqualified_by.iter().map(ToString::to_string).collect()
}

pub(super) fn part(model: &Model, evaluation: &Evaluation<'_>, held: HeldLevels<'_>) -> AccountPart {
    let (score, as_of) = (&evaluation.account, evaluation.as_of);
    let mut level = level_part(evaluation.levels(model, LevelOf::Account), held.account, i64::from(score.score));
    if let Some(next) = &mut level.next {
        let found = ways::by_fields(&model.account, &model.document.account, score, next.level.min, as_of);
        next.reachable = found.reachable;
        next.most = (!found.reachable).then_some(found.most);
        next.ways = found.ways;
        if !score.disqualified_by.is_empty() {
            let rules = score.lines.iter().filter(|line| score.disqualified_by.contains(&line.rule_id));
            let names: Vec<String> = rules.map(|line| format!("`{}`", line.name)).collect();
            next.hints.push(format!("disqualified by {}", names.join(", ")));
            (next.reachable, next.most) = (false, Some(i64::from(score.score)));
            next.ways.clear();
        }
    }
    AccountPart {
        score: score.score,
        possible: score.possible,
        fields_known: score.known,
        fields_used: score.of,
        known: super::known(score.known, score.of),
        missing_could_add: score.missing_could_add,
        missing: score.missing.clone(),
        rules: lines(score),
        caps: score.caps.clone(),
        level,
    }
}

pub(super) fn other(beside: &Beside<AccountRuleset>, compiled: &CompiledAccountRuleset, evaluation: &Evaluation<'_>) -> OtherRuleset {
    let ruleset = &beside.ruleset;
    let ruleset = RulesetName::new(&ruleset.id, &ruleset.name, ruleset.version);
    let because = not_in_force(beside, evaluation.as_of);
    let score = because.is_none().then(|| compiled.evaluate(&evaluation.fields, evaluation.as_of.start()));
    OtherRuleset {
        kind: "account",
        ruleset,
        because,
        score: score.as_ref().map(|score| i64::from(score.score)),
        possible: score.as_ref().map(|score| i64::from(score.possible)),
        account: score.map(|score| OtherAccount {
            fields_known: score.known,
            fields_used: score.of,
            rules: lines(&score),
            caps: score.caps,
        }),
        engagement: None,
    }
}

/// An outcome as a sentence.
fn why(line: &RuleLine) -> String {
    let seen: Vec<String> = line
        .fields
        .iter()
        .map(|seen| match (&seen.value, seen.assumed) {
            (Some(value), _) => format!("`{}` is {value}", seen.field),
            (None, true) => format!("`{}` is not known and counts as no", seen.field),
            (None, false) => format!("`{}` is not known", seen.field),
        })
        .collect();
    let seen = seen.join(", ");
    let names = |fields: &[FieldName]| fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    match &line.outcome {
        Outcome::Matched => format!("holds: {seen}"),
        Outcome::Capped(_) => format!("holds, but a cap took points away: {seen}"),
        Outcome::NotMatched => format!("does not hold: {seen}"),
        Outcome::Missing(fields) => format!("can't be told until {} is known", names(fields)),
        Outcome::Undecided(fields) => format!("can't be told, because only a range is known of {}", names(fields)),
        Outcome::Faulty(reason) => format!("can't be evaluated: {reason}"),
    }
}
