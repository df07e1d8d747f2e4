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
