//! Account rules: how well a company fits, from its fields.
//!
//! A ruleset is data. [`AccountRuleset::parse`] reads it strictly and lists every problem; [`AccountRuleset::compile`] makes it ready to be evaluated
//! many times. A rule that is faulty all the same (it was stored by another version, say) contributes nothing and says so in the explanation.
//!
//! A field that is not known never matches, not even `neq`, `not_in` and `not_contains`; only `not_exists` does. Fields declared in
//! `missing_means_no` count as *no* instead. Of an interval (`201–500`) a rule holds only when it holds for all of it; when it holds for a part,
//! the rule is undecided and gives no points.
//!
//! A rule may disqualify instead of giving points: the score stays what the other rules make it, and the grade and the level say that the account is
//! out. What is not known disqualifies nobody.

mod check;
mod compile;
mod condition;
mod evaluate;
mod json;
mod read;
mod score;
mod verdict;

pub use compile::CompiledAccountRuleset;
pub use condition::{Condition, Moment, Operation, Ordered, Scalar, Test};
pub use score::{AccountScore, CapLine, CapScope, MissingField, Outcome, RuleLine, SeenField, Tally};

use crate::{
    aliases::Aliases,
    field::FieldName,
    problem::{Problems, join},
};
use serde_json::Value;

/// The ruleset of a workspace that has declared none, as JSON: the Enterprise B2B SaaS pattern.
pub const DEFAULT_RULESET: &str = include_str!("../../../../infra/rulesets/account.enterprise-saas.json");

/// The most rules of a ruleset.
pub const MAX_RULES: usize = 1_000;
/// The most groups of a ruleset.
pub const MAX_GROUPS: usize = 100;
/// How deep AND/OR groups may nest.
pub const MAX_DEPTH: usize = 10;
/// The most points that a rule may add or take away; a thousand such rules still fit the score.
pub const MAX_POINTS: i32 = 1_000_000;
/// The most values that `in` and `not_in` compare with.
pub const MAX_VALUES: usize = 1_000;
/// The longest span of `within_days`.
pub const MAX_WITHIN_DAYS: u32 = 3_650;
/// The longest text that a rule compares with, in characters: as long as the longest text of a field.
pub const MAX_OPERAND_CHARS: usize = crate::field::MAX_TEXT_CHARS;

/// A versioned set of rules on fields. Its JSON form is shown in `infra/rulesets/account.enterprise-saas.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountRuleset {
    /// Names the ruleset.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Counts publications, from 1.
    pub version: u64,
    /// Fields that count as *no* while nothing is known of them. `existing_customer` when the document does not say.
    pub missing_means_no: Vec<FieldName>,
    /// The most points that all rules give together.
    pub cap: Option<i32>,
    /// Groups of rules whose points are capped together.
    pub groups: Vec<RuleGroup>,
    /// The rules, in the order in which they are explained.
    pub rules: Vec<AccountRule>,
}

/// A group of rules that may not give more than some points together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleGroup {
    /// Names the group within the ruleset.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The most points that its rules give together.
    pub cap: Option<i32>,
}

/// One condition and the points that it adds when it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountRule {
    /// Names the rule within the ruleset.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it adds; may be negative. 0 when it disqualifies.
    pub points: i32,
    /// Whether an account that it holds for is no candidate at all: grade F and the lowest level, whatever its score.
    pub disqualifies: bool,
    /// The group whose cap it counts towards.
    pub group: Option<String>,
    /// When it applies.
    pub condition: Condition,
}

impl AccountRuleset {
    /// Reads JSON text and checks it. The error lists every problem with its JSON pointer.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        Self::read(&Problems::document(text)?)
    }

    /// Reads a JSON document and checks it. The error lists every problem with its JSON pointer.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        Self::checked(document, |_| true)
    }

    /// Like [`Self::read`], but there may be no rules yet.
    pub fn draft(document: &Value) -> Result<Self, Problems> {
        Self::checked(document, |ruleset| !ruleset.rules.is_empty())
    }

    /// Reads and checks; what is said of all rules together counts only where `whole` holds.
    fn checked(document: &Value, whole: impl Fn(&Self) -> bool) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let ruleset = read::ruleset(&mut problems, document);
        if let Some(ruleset) = &ruleset {
            let whole = whole(ruleset);
            problems.0.extend(ruleset.validate().0.into_iter().filter(|problem| whole || problem.pointer != "/rules"));
        }
        // Problems stand in the order of the document, whether they were found in reading or in checking.
        match ruleset {
            Some(ruleset) if problems.0.is_empty() => Ok(ruleset),
            _ => Err(problems),
        }
    }

    /// Every problem that would keep a rule from working as written; empty when there is none.
    pub fn validate(&self) -> Problems {
        check::ruleset(self)
    }

    /// Makes the ruleset ready for evaluation. Faulty rules are kept, to be shown; they never match.
    pub fn compile(&self) -> CompiledAccountRuleset {
        self.compile_with(&Aliases::default())
    }

    /// As [`Self::compile`], for a workspace that gives texts other names.
    pub fn compile_with(&self, aliases: &Aliases) -> CompiledAccountRuleset {
        compile::ruleset(self, aliases)
    }
}

impl AccountRule {
    /// Reads one rule at a place of a document and notes every problem of it; `None` when its structure is wrong.
    pub(crate) fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let rule = read::rule(problems, at, value)?;
        check::points(problems, at, &rule);
        check::condition(problems, &join(at, "condition"), &rule.condition, 0);
        Some(rule)
    }

    /// The rule as JSON.
    pub fn to_value(&self) -> Value {
        read::rule_json(self)
    }
}

impl Condition {
    /// The condition as JSON.
    pub fn to_value(&self) -> Value {
        read::condition_json(self)
    }
}

#[cfg(test)]
mod tests;
