//! Coverage: of how many accounts each field is known.

use crate::{
    Timestamp,
    account_rules::{CompiledAccountRuleset, Outcome},
    field::{FieldName, FieldValue},
    model::Model,
};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

/// The most fields that are counted; of an account that holds more than these, the others are passed over.
pub const MAX_FIELDS: usize = 2_000;

/// Counts over accounts. Counts of different accounts may be merged in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// How many accounts were counted.
    pub accounts: u64,
    /// The fields that any of them holds.
    pub fields: BTreeMap<FieldName, FieldCoverage>,
}

/// How well one field is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldCoverage {
    /// Of how many accounts it is known.
    pub known: u64,
    /// Of how many of these only an interval is known that leaves a rule undecided.
    #[serde(default)]
    pub undecided: u64,
}

impl Coverage {
    /// Counts an account with the values that hold for its fields; `now` decides which moments are recent.
    pub fn add<K: Borrow<str> + Ord>(&mut self, fields: &BTreeMap<K, FieldValue>, model: &Model, now: Timestamp) {
        self.accounts = self.accounts.saturating_add(1);
        for name in fields.keys().filter_map(|name| FieldName::new(name.borrow()).ok()) {
            if let Some(count) = self.count(name) {
                count.known = count.known.saturating_add(1);
            }
        }
        let rulesets = std::iter::once(&model.account).chain(&model.other_accounts);
        let undecided: BTreeSet<FieldName> = rulesets.flat_map(|ruleset| undecided(ruleset, fields, now)).collect();
        for name in undecided {
            if let Some(count) = self.count(name) {
                count.undecided = count.undecided.saturating_add(1);
            }
        }
    }

    /// Adds counts of other accounts.
    pub fn merge(&mut self, other: &Self) {
        self.accounts = self.accounts.saturating_add(other.accounts);
        for (name, theirs) in &other.fields {
            if let Some(ours) = self.count(name.clone()) {
                ours.known = ours.known.saturating_add(theirs.known);
                ours.undecided = ours.undecided.saturating_add(theirs.undecided);
            }
        }
    }

    /// How well a field is known; zeroes for one that no account holds.
    pub fn of(&self, field: &str) -> FieldCoverage {
        self.fields.get(field).copied().unwrap_or_default()
    }

    fn count(&mut self, name: FieldName) -> Option<&mut FieldCoverage> {
        if self.fields.len() >= MAX_FIELDS && !self.fields.contains_key(&name) {
            return None;
        }
        Some(self.fields.entry(name).or_default())
    }
}

/// The fields of which an interval leaves a rule undecided.
fn undecided<K: Borrow<str> + Ord>(ruleset: &CompiledAccountRuleset, fields: &BTreeMap<K, FieldValue>, now: Timestamp) -> Vec<FieldName> {
    // Only an interval can leave a rule undecided, and most accounts hold none.
    if !fields.values().any(|value| matches!(value, FieldValue::Interval(_))) {
        return Vec::new();
    }
    let lines = ruleset.evaluate(fields, now).lines.into_iter();
    let fields = lines.filter_map(|line| match line.outcome {
        Outcome::Undecided(fields) => Some(fields),
        _ => None,
    });
    fields.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        field::{Interval, Number},
        model::default_model,
    };

    fn number(n: i64) -> Number {
        Number::whole(n).unwrap()
    }

    fn account(fields: &[(&str, FieldValue)]) -> BTreeMap<String, FieldValue> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn counted(accounts: &[BTreeMap<String, FieldValue>]) -> Coverage {
        let mut coverage = Coverage::default();
        for fields in accounts {
            coverage.add(fields, default_model().unwrap(), Timestamp::default());
        }
        coverage
    }

    fn between(from: i64, to: i64) -> FieldValue {
        FieldValue::Interval(Interval::new(Some(number(from)), Some(number(to))).unwrap())
    }

    #[test]
    fn fields_are_counted_by_account_and_intervals_that_leave_a_rule_undecided_apart() {
        // The default rule on employees asks for 1,000 or more.
        let coverage = counted(&[
            account(&[("employees", FieldValue::Number(number(1200))), ("crm", FieldValue::Text("none".to_owned()))]),
            account(&[("employees", between(501, 5000))]),
            account(&[("employees", between(1001, 5000))]),
            account(&[]),
        ]);
        assert_eq!(coverage.accounts, 4);
        assert_eq!(coverage.of("employees"), FieldCoverage { known: 3, undecided: 1 });
        assert_eq!(coverage.of("crm"), FieldCoverage { known: 1, undecided: 0 });
        assert_eq!(coverage.of("revenue"), FieldCoverage::default());
    }

    #[test]
    fn counts_of_parts_are_the_counts_of_the_whole() {
        let accounts = [
            account(&[("employees", between(501, 5000))]),
            account(&[("country", FieldValue::Text("DE".to_owned()))]),
            account(&[("employees", FieldValue::Number(number(3)))]),
        ];
        let mut merged = counted(&accounts[2..]);
        merged.merge(&counted(&accounts[..2]));
        assert_eq!(merged, counted(&accounts));
        let stored = serde_json::to_string(&merged).unwrap();
        assert_eq!(serde_json::from_str::<Coverage>(&stored).unwrap(), merged);
    }

    #[test]
    fn however_many_names_there_are_the_counts_stay_small() {
        let mut coverage = Coverage::default();
        for i in 0..MAX_FIELDS + 50 {
            coverage.add(&account(&[(&format!("f{i}"), FieldValue::Bool(true))]), default_model().unwrap(), Timestamp::default());
        }
        assert_eq!((coverage.fields.len(), coverage.accounts), (MAX_FIELDS, 2_050));
    }
}
