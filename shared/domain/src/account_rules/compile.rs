//! From a ruleset to a matcher: fields become slots, values are folded and looked up once.

use super::{AccountRule, AccountRuleset, Condition, MAX_POINTS, MAX_RULES, Moment, Operation, Ordered, Scalar, Test, check};
use crate::{
    field::{Canonical, FieldName, Number, Vocabulary, truth},
    problem::Problems,
};
use std::sync::Arc;

/// A ruleset that is ready to be evaluated. Made by [`AccountRuleset::compile`].
#[derive(Debug)]
pub struct CompiledAccountRuleset {
    pub(super) id: Arc<str>,
    pub(super) version: u64,
    pub(super) slots: Vec<Slot>,
    pub(super) places: Places,
    /// Whether a rule looks at the day.
    pub(super) dated: bool,
    pub(super) rules: Vec<CompiledRule>,
    pub(super) groups: Vec<CompiledGroup>,
    pub(super) cap: Option<i32>,
    pub(super) possible: i32,
}

/// A field that rules use.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: FieldName,
    pub(super) missing_means_no: bool,
    pub(super) vocabulary: Option<Vocabulary>,
}

/// Finds a field's slot by its name: most names that no rule uses are told by one look.
#[derive(Debug)]
pub(super) struct Places {
    /// Slots counted from 1, and 0 where there is none, each at its name's place or behind it. A power of two of them.
    table: Box<[u32]>,
}

impl Places {
    fn of(slots: &[Slot]) -> Self {
        let size = slots.len().saturating_mul(8).next_power_of_two().max(8);
        let mut table = vec![0_u32; size];
        for (slot, number) in slots.iter().zip(1..) {
            let mut at = Self::place(slot.name.as_str());
            // More than half of the table is free, so that the search ends.
            while let Some(entry) = table.get_mut(at % size) {
                if *entry == 0 {
                    *entry = number;
                    break;
                }
                at += 1;
            }
        }
        Self { table: table.into() }
    }

    /// Length and ends tell the names of one ruleset apart well enough.
    #[inline]
    fn place(name: &str) -> usize {
        let (first, last) = match name.as_bytes() {
            [first, .., last] => (usize::from(*first), usize::from(*last)),
            [only] => (usize::from(*only), 0),
            [] => (0, 0),
        };
        name.len().wrapping_mul(3) ^ first ^ last.wrapping_mul(17)
    }

    /// The slot of a field.
    #[inline]
    pub(super) fn find(&self, name: &str, slots: &[Slot]) -> Option<usize> {
        let mask = self.table.len().wrapping_sub(1);
        let mut at = Self::place(name);
        loop {
            let slot = (*self.table.get(at & mask)? as usize).checked_sub(1)?;
            if slots.get(slot)?.name.as_str() == name {
                return Some(slot);
            }
            at = at.wrapping_add(1);
        }
    }
}

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) points: i32,
    /// The rule's group by its place.
    pub(super) group: Option<usize>,
    pub(super) matcher: Result<Matcher, String>,
    /// The slots that it looks at, each once, in the order of the condition.
    pub(super) slots: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct CompiledGroup {
    pub(super) id: Arc<str>,
    pub(super) cap: Option<i32>,
}

/// A condition on slots.
#[derive(Debug)]
pub(super) enum Matcher {
    All(Box<[Matcher]>),
    Any(Box<[Matcher]>),
    Test { slot: usize, check: Check, vocabulary: Option<Vocabulary> },
}

impl Matcher {
    fn is_dated(&self) -> bool {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().any(Self::is_dated),
            Self::Test { check, .. } => matches!(check, Check::WithinDays(_)),
        }
    }
}

/// A test with its values prepared.
#[derive(Debug)]
pub(super) enum Check {
    /// Equal to one of the values; the second says that the answer is turned around.
    OneOf(OneOf, bool),
    /// Inside a range of numbers.
    Numbers {
        from: Option<Number>,
        to: Option<Number>,
        op: &'static str,
    },
    /// Inside a range of moments, both ends included.
    Moments {
        from: Option<Moment>,
        to: Option<Moment>,
        op: &'static str,
        strict: bool,
    },
    /// Holds a text; the second says that the answer is turned around.
    Contains(Operand, bool),
    StartsWith(Box<str>),
    Exists,
    NotExists,
    WithinDays(i32),
}

/// Values of which a field may equal one.
#[derive(Debug)]
pub(super) struct OneOf {
    pub(super) operands: Box<[Operand]>,
    /// What the alias tables make of them.
    pub(super) canonicals: Box<[Canonical]>,
    /// One bit for each length of a folded text, in bytes; the last one for all longer ones. Most texts are none of the values, and
    /// most of these are told by their length.
    lengths: u64,
}

impl OneOf {
    fn of(operands: impl Iterator<Item = Operand>) -> Self {
        let operands: Box<[Operand]> = operands.collect();
        let lengths = operands.iter().fold(0, |bits, operand| bits | Self::length_bit(operand.folded.len()));
        Self { canonicals: operands.iter().filter_map(|operand| operand.canonical).collect(), lengths, operands }
    }

    fn length_bit(length: usize) -> u64 {
        1 << length.min(63)
    }

    /// Whether a text of this length may be one of them but for case, if it is ASCII.
    pub(super) fn may_be(&self, length: usize) -> bool {
        self.lengths & Self::length_bit(length) != 0
    }
}

/// A value of a rule in every form in which a field may hold it.
#[derive(Debug)]
pub(super) struct Operand {
    /// Trimmed and in lower case.
    pub(super) folded: Box<str>,
    pub(super) number: Option<Number>,
    pub(super) truth: Option<bool>,
    pub(super) moment: Option<Moment>,
    pub(super) canonical: Option<Canonical>,
}

impl Operand {
    fn of(scalar: &Scalar, vocabulary: Option<Vocabulary>) -> Self {
        match scalar {
            Scalar::Text(text) => Self {
                folded: text.trim().chars().flat_map(char::to_lowercase).collect::<String>().into(),
                number: Number::parse(text.trim()),
                truth: truth(text),
                moment: Moment::parse(text),
                canonical: vocabulary.and_then(|vocabulary| vocabulary.canonical(text)),
            },
            Scalar::Number(number) => {
                Self { folded: number.to_string().into(), number: Some(*number), truth: None, moment: None, canonical: None }
            }
            Scalar::Bool(truth) => {
                Self { folded: truth.to_string().into(), number: None, truth: Some(*truth), moment: None, canonical: None }
            }
        }
    }
}

pub(super) fn ruleset(ruleset: &AccountRuleset) -> CompiledAccountRuleset {
    let mut slots: Vec<Slot> = Vec::new();
    let groups: Vec<CompiledGroup> =
        ruleset.groups.iter().map(|group| CompiledGroup { id: group.id.as_str().into(), cap: group.cap.map(|cap| cap.max(0)) }).collect();
    let mut rules: Vec<CompiledRule> = ruleset.rules.iter().map(|rule| compile_rule(ruleset, rule, &mut slots)).collect();
    for rule in rules.iter_mut().skip(MAX_RULES) {
        rule.matcher = Err(format!("is beyond the {MAX_RULES} rules that a ruleset may have"));
    }
    let mut compiled = CompiledAccountRuleset {
        id: ruleset.id.as_str().into(),
        version: ruleset.version,
        places: Places::of(&slots),
        dated: rules.iter().any(|rule| rule.matcher.as_ref().is_ok_and(Matcher::is_dated)),
        slots,
        rules,
        groups,
        cap: ruleset.cap.map(|cap| cap.max(0)),
        possible: 0,
    };
    compiled.possible = compiled.most();
    compiled
}

fn compile_rule(ruleset: &AccountRuleset, rule: &AccountRule, slots: &mut Vec<Slot>) -> CompiledRule {
    let mut problems = Problems::none();
    check::condition(&mut problems, "", &rule.condition, 0);
    let group = rule.group.as_ref().map(|id| ruleset.groups.iter().position(|group| group.id == *id));
    if let (Some(None), Some(id)) = (group, &rule.group) {
        problems.add("/group", format!("must be the id of a group of this ruleset, got `{id}`"));
    }
    let mut used = Vec::new();
    let matcher = match problems.0.into_iter().next() {
        Some(problem) if problem.pointer.is_empty() => Err(problem.message),
        Some(problem) => Err(problem.to_string()),
        None => Ok(compile_condition(ruleset, &rule.condition, slots, &mut used)),
    };
    CompiledRule {
        id: rule.id.as_str().into(),
        name: rule.name.as_str().into(),
        points: rule.points.clamp(-MAX_POINTS, MAX_POINTS),
        group: group.flatten(),
        matcher,
        slots: used,
    }
}

fn compile_condition(ruleset: &AccountRuleset, condition: &Condition, slots: &mut Vec<Slot>, used: &mut Vec<usize>) -> Matcher {
    let mut members = |members: &[Condition]| -> Box<[Matcher]> {
        members.iter().map(|member| compile_condition(ruleset, member, slots, used)).collect()
    };
    match condition {
        Condition::All(conditions) => Matcher::All(members(conditions)),
        Condition::Any(conditions) => Matcher::Any(members(conditions)),
        Condition::Test(test) => {
            let slot = slot_of(ruleset, &test.field, slots);
            if !used.contains(&slot) {
                used.push(slot);
            }
            Matcher::Test { slot, check: compile_test(test), vocabulary: Vocabulary::of(&test.field) }
        }
        // Rules with a faulty condition are not compiled; an empty OR holds for nothing.
        Condition::Faulty { .. } => Matcher::Any(Box::new([])),
    }
}

fn slot_of(ruleset: &AccountRuleset, field: &FieldName, slots: &mut Vec<Slot>) -> usize {
    if let Some(slot) = slots.iter().position(|slot| slot.name == *field) {
        return slot;
    }
    slots.push(Slot { name: field.clone(), missing_means_no: ruleset.missing_means_no.contains(field), vocabulary: Vocabulary::of(field) });
    slots.len() - 1
}

fn compile_test(test: &Test) -> Check {
    let vocabulary = Vocabulary::of(&test.field);
    let operand = |scalar: &Scalar| Operand::of(scalar, vocabulary);
    let text = |text: &String| Operand::of(&Scalar::Text(text.clone()), vocabulary);
    let op = test.operation.as_str();
    let from = |value: &Ordered, strict: bool| match value {
        Ordered::Number(n) => Check::Numbers { from: Some(if strict { n.above() } else { *n }), to: None, op },
        Ordered::Moment(m) => Check::Moments { from: Some(*m), to: None, op, strict },
    };
    let to = |value: &Ordered, strict: bool| match value {
        Ordered::Number(n) => Check::Numbers { from: None, to: Some(if strict { n.below() } else { *n }), op },
        Ordered::Moment(m) => Check::Moments { from: None, to: Some(*m), op, strict },
    };
    match &test.operation {
        Operation::Eq(value) => Check::OneOf(OneOf::of(std::iter::once(operand(value))), false),
        Operation::Neq(value) => Check::OneOf(OneOf::of(std::iter::once(operand(value))), true),
        Operation::In(values) => Check::OneOf(OneOf::of(values.iter().map(operand)), false),
        Operation::NotIn(values) => Check::OneOf(OneOf::of(values.iter().map(operand)), true),
        Operation::Gt(value) => from(value, true),
        Operation::Gte(value) => from(value, false),
        Operation::Lt(value) => to(value, true),
        Operation::Lte(value) => to(value, false),
        Operation::Between(low, high) => match (low, high) {
            (Ordered::Moment(low), Ordered::Moment(high)) => Check::Moments { from: Some(*low), to: Some(*high), op, strict: false },
            (Ordered::Number(low), Ordered::Number(high)) => Check::Numbers { from: Some(*low), to: Some(*high), op },
            // Mixed ends are refused by the check before compilation.
            _ => Check::OneOf(OneOf::of(std::iter::empty()), false),
        },
        Operation::Contains(value) => Check::Contains(text(value), false),
        Operation::NotContains(value) => Check::Contains(text(value), true),
        Operation::StartsWith(value) => Check::StartsWith(text(value).folded),
        Operation::Exists => Check::Exists,
        Operation::NotExists => Check::NotExists,
        Operation::WithinDays(days) => Check::WithinDays(i32::try_from(*days).unwrap_or(i32::MAX)),
    }
}
