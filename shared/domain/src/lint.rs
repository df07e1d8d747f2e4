//! Lint: what is wrong or doubtful about a ruleset together with its levels and the fields that are known, and what to do about it.

mod account;
mod engagement;
mod levels;
mod together;

pub use together::workspace;

use crate::{
    Day,
    coverage::Coverage,
    model::ModelDocument,
    ruleset::{Content, RulesetKind, check_dates},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It can't work; publication refuses it.
    Error,
    /// It works, and probably not as intended.
    Warning,
    /// Worth a look.
    Hint,
}

/// Something that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is, for programs: stable words such as `low_coverage`.
    pub code: String,
    /// How grave it is.
    pub severity: Severity,
    /// The place in the content, as a JSON pointer; empty for all of it.
    pub pointer: String,
    /// The rule, when it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// The level, when it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_id: Option<String>,
    /// What is the matter.
    pub says: String,
    /// What to do about it.
    pub remedy: String,
}

/// How many accounts each rule matched, as a dry run or a walk over all accounts saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleShares {
    /// How many accounts were looked at.
    pub accounts: u64,
    /// How many each rule matched, by its id; a rule that matched none may be absent.
    pub matched: BTreeMap<String, u64>,
}

/// How many accounts have each level.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelShares {
    /// How many accounts were looked at.
    pub accounts: u64,
    /// How many have each level, by its id; a level that nobody has may be absent.
    pub levels: BTreeMap<String, u64>,
    /// The lowest score that no more than 5 % of the accounts reach, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twentieth: Option<i64>,
}

/// What a content is judged by.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// What sort of ruleset it is.
    pub kind: RulesetKind,
    /// The model that is in force.
    pub document: &'a ModelDocument,
    /// Whether it is, or is to be, the primary ruleset of its kind: the one that levels follow.
    pub primary: bool,
    /// The day of the question.
    pub today: Day,
    /// Of how many accounts each field is known.
    pub coverage: Option<&'a Coverage>,
    /// How many accounts have each level.
    pub shares: Option<&'a LevelShares>,
    /// How many accounts each rule matched.
    pub matched: Option<&'a RuleShares>,
    /// When this content was published; `None` for a draft.
    pub published_at: Option<Day>,
    /// The first day on which it is in force.
    pub starts_on: Option<Day>,
    /// The last day on which it is in force.
    pub ends_on: Option<Day>,
}

impl<'a> Circumstances<'a> {
    /// For a draft of the primary ruleset of its kind, with nothing known of accounts.
    pub const fn new(kind: RulesetKind, document: &'a ModelDocument, today: Day) -> Self {
        Self {
            kind,
            document,
            primary: true,
            today,
            coverage: None,
            shares: None,
            matched: None,
            published_at: None,
            starts_on: None,
            ends_on: None,
        }
    }
}

/// More rules than this are too many to be understood.
const FEW_RULES: usize = 10;
/// So many findings of one code are listed.
const OF_ONE_CODE: usize = 20;
/// After so many days a published ruleset should be looked at again: a quarter.
const QUARTER_DAYS: i32 = 91;

/// Everything that is wrong or doubtful about a content, the gravest first, then in the order of the content.
pub fn lint(content: &Content, circumstances: &Circumstances<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    dates(&mut findings, circumstances);
    match content {
        Content::Account(ruleset) => account::lint(&mut findings, ruleset, circumstances),
        Content::Engagement(ruleset) => engagement::lint(&mut findings, ruleset, circumstances),
        Content::Levels(levels) => levels::lint(&mut findings, levels, circumstances),
    }
    age(&mut findings, circumstances);
    findings.0.sort_by_key(|finding| finding.severity);
    findings.cut()
}

/// Whether publication refuses a content with these findings: only errors stand in its way.
pub fn refuses(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, code: &str, pointer: impl Into<String>, says: impl Into<String>, remedy: impl Into<String>) {
        let (code, pointer, says, remedy) = (code.to_owned(), pointer.into(), says.into(), remedy.into());
        self.0.push(Finding { code, severity, pointer, rule_id: None, level_id: None, says, remedy });
    }

    /// Says whose the last finding is.
    fn of_rule(&mut self, id: Option<&str>) {
        if let Some(finding) = self.0.last_mut() {
            finding.rule_id = id.map(str::to_owned);
        }
    }

    /// The first few of each code; the last of them says how many more there are.
    fn cut(self) -> Vec<Finding> {
        let mut of_code: BTreeMap<String, usize> = BTreeMap::new();
        for finding in &self.0 {
            *of_code.entry(finding.code.clone()).or_default() += 1;
        }
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        let mut few = Vec::with_capacity(self.0.len().min(OF_ONE_CODE * 8));
        for mut finding in self.0 {
            let seen = kept.entry(finding.code.clone()).or_default();
            *seen += 1;
            let all = of_code.get(&finding.code).copied().unwrap_or_default();
            if *seen > OF_ONE_CODE {
                continue;
            }
            if *seen == OF_ONE_CODE && all > OF_ONE_CODE {
                finding.says.push_str(&format!("; the same is true {} times more", all - OF_ONE_CODE));
            }
            few.push(finding);
        }
        few
    }

    /// Says whose the last finding is.
    fn of_level(&mut self, id: Option<&str>) {
        if let Some(finding) = self.0.last_mut() {
            finding.level_id = id.map(str::to_owned);
        }
    }
}

fn dates(findings: &mut Findings, circumstances: &Circumstances<'_>) {
    if let Err(problems) = check_dates(circumstances.starts_on, circumstances.ends_on) {
        for problem in problems.0 {
            let says = "the ruleset ends before it begins, so that it would never be in force";
            findings.add(Severity::Error, "ends_before_it_starts", problem.pointer, says, format!("the end {}", problem.message));
        }
    }
}

fn age(findings: &mut Findings, circumstances: &Circumstances<'_>) {
    let days = circumstances.published_at.map_or(0, |day| circumstances.today.since(day));
    if days > QUARTER_DAYS {
        findings.add(
            Severity::Hint,
            "not_revisited",
            "",
            format!("was published {days} days ago"),
            "look at it every quarter: dry-run it against the accounts that you won and lost since",
        );
    }
}

/// What is the same of rules of both sorts.
struct RuleView<'r> {
    id: &'r str,
    name: &'r str,
    points: i64,
}

/// The findings that rules of both sorts may have.
fn rules<'r>(findings: &mut Findings, rules: &[RuleView<'r>], matched: Option<&RuleShares>) {
    if rules.is_empty() {
        findings.add(Severity::Error, "no_rules", "/rules", "has no rules, so that it would score nothing", "add a rule");
    }
    let matched = matched.filter(|shares| shares.accounts > 0);
    let share = |rule: &RuleView<'r>| matched.map(|shares| (shares.matched.get(rule.id).copied().unwrap_or_default(), shares.accounts));
    if rules.len() > FEW_RULES {
        let rare = rules.iter().filter(|rule| share(rule).is_some_and(|(matched, accounts)| matched.saturating_mul(100) < accounts));
        let rare: Vec<String> = rare.take(FEW_RULES).map(|rule| format!("`{}`", rule.name)).collect();
        let named = if rare.is_empty() { String::new() } else { format!("; of the accounts less than 1 % matched {}", rare.join(", ")) };
        findings.add(
            Severity::Warning,
            "too_many_rules",
            "/rules",
            format!("has {} rules; five to ten well-chosen ones tell more than thirty", rules.len()),
            format!("keep the ten that separate the accounts you won from those you lost{named}"),
        );
    }
    for (i, rule) in rules.iter().enumerate() {
        if rule.points < 0 {
            findings.add(
                Severity::Warning,
                "negative_points",
                format!("/rules/{i}/points"),
                format!("`{}` takes {} points away, which makes scores hard to explain", rule.name, rule.points.saturating_abs()),
                "give no points instead, and let the lowest level separate such accounts",
            );
            findings.of_rule(Some(rule.id));
        }
        let Some((matched, accounts)) = share(rule) else { continue };
        if matched == 0 {
            let says = format!("`{}` matched none of {accounts} accounts", rule.name);
            findings.add(Severity::Hint, "rule_never_matches", format!("/rules/{i}"), says, "make it wider, or take it out");
            findings.of_rule(Some(rule.id));
        } else if matched >= accounts {
            let says = format!("`{}` matched every one of {accounts} accounts, so that it separates nobody", rule.name);
            findings.add(Severity::Hint, "rule_always_matches", format!("/rules/{i}"), says, "make it narrower, or take it out");
            findings.of_rule(Some(rule.id));
        }
    }
}

/// Says of each rule that another one before it looks for the same.
fn duplicates<K: Ord>(findings: &mut Findings, rules: &[RuleView<'_>], keys: impl IntoIterator<Item = K>) {
    let mut seen: BTreeMap<K, &RuleView<'_>> = BTreeMap::new();
    for ((i, rule), key) in rules.iter().enumerate().zip(keys) {
        let Some(first) = seen.get(&key) else {
            seen.insert(key, rule);
            continue;
        };
        findings.add(
            Severity::Warning,
            "duplicate_rule",
            format!("/rules/{i}"),
            format!("`{}` looks for the same as `{}`", rule.name, first.name),
            format!("join them to one rule of {} points", rule.points.saturating_add(first.points)),
        );
        findings.of_rule(Some(rule.id));
    }
}

/// The index in a pointer such as `/rules/3/points`.
fn index(pointer: &str, key: &str) -> Option<usize> {
    pointer.strip_prefix('/')?.strip_prefix(key)?.strip_prefix('/')?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
