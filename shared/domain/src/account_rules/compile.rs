//! From a ruleset to a matcher: fields become slots, values are folded and looked up once.

use super::{
    AccountRule, AccountRuleset, Condition, MAX_POINTS, MAX_RULES, Moment, Operation, Ordered, Scalar, Test, check, verdict::trimmed,
};
use crate::{
    aliases::{Aliases, Names},
    field::{Canonical, FieldName, Number, Vocabulary, same_text, truth},
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
    /// Whether a rule disqualifies.
    pub(super) disqualifying: bool,
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
}

/// Finds a field's slot by its name: most names that no rule uses are told by one look.
#[derive(Debug)]
pub(super) struct Places {
    /// Slots by their names, each at its name's place or behind it. A power of two of them.
    table: Box<[Option<Place>]>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    ends: Ends,
    slot: usize,
}

impl Places {
    fn of(slots: &[Slot]) -> Self {
        let size = slots.len().saturating_mul(8).next_power_of_two().max(8);
        let mut table = vec![None; size];
        for (slot, field) in slots.iter().enumerate() {
            let ends = Ends::of(field.name.as_str());
            let mut at = ends.place();
            // More than half of the table is free, so that the search ends.
            while let Some(entry) = table.get_mut(at % size) {
                if entry.is_none() {
                    *entry = Some(Place { ends, slot });
                    break;
                }
                at = at.wrapping_add(1);
            }
        }
        Self { table: table.into() }
    }

    /// The slot of a field.
    #[inline(always)]
    pub(super) fn find(&self, name: &str, slots: &[Slot]) -> Option<usize> {
        let ends = Ends::of(name);
        let mask = self.table.len().wrapping_sub(1);
        let mut at = ends.place();
        loop {
            let place = self.table.get(at & mask)?.as_ref()?;
            if place.ends == ends && (ends.tell_all() || slots.get(place.slot)?.name.as_str() == name) {
                return Some(place.slot);
            }
            at = at.wrapping_add(1);
        }
    }
}

/// The length of a text and both of its ends: enough to tell most texts apart without a look at every byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    length: usize,
    first: u64,
    last: u64,
}

impl PartialEq for Ends {
    /// Without branches, which would be hard to foresee.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.length ^ other.length) as u64 | (self.first ^ other.first) | (self.last ^ other.last) == 0
    }
}

impl Ends {
    #[inline(always)]
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (first, last) = match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => match (bytes.first_chunk(), bytes.last_chunk()) {
                (Some(first), Some(last)) => (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()),
                _ => (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
            },
        };
        Self { length: bytes.len(), first, last }
    }

    /// Whether texts with the same ends are the same.
    const fn tell_all(&self) -> bool {
        self.length <= 16
    }

    /// The ends in lower case, if all of their bytes are ASCII.
    #[inline(always)]
    fn folded(self) -> Option<Self> {
        let fold = |word: u64| {
            // The highest bit of each byte from `A` on, and of each byte behind `Z`.
            let (letters, behind) = (word.wrapping_add(0x3F3F_3F3F_3F3F_3F3F), word.wrapping_add(0x2525_2525_2525_2525));
            word | (letters & !behind & 0x8080_8080_8080_8080) >> 2
        };
        let ascii = (self.first | self.last) & 0x8080_8080_8080_8080 == 0;
        ascii.then(|| Self { length: self.length, first: fold(self.first), last: fold(self.last) })
    }

    fn place(&self) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(24)).wrapping_add(self.length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize
    }
}

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) points: i32,
    pub(super) disqualifies: bool,
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
    /// One of the comparisons above, by names that the workspace gives to texts.
    Aliased(Box<Aliased>),
}

/// A comparison with whole texts, of a field for which the workspace has an alias table.
#[derive(Debug)]
pub(super) struct Aliased {
    /// As it would be without the table: for whatever is no whole text.
    pub(super) check: Check,
    /// The values under the names that the table gives them; `turn` says that the answer is turned around.
    one: OneOf,
    pub(super) turn: bool,
    names: Arc<Names>,
}

/// Values of which a field may equal one.
#[derive(Debug)]
pub(super) struct OneOf {
    pub(super) operands: Box<[Operand]>,
    /// What the alias tables make of them.
    canonicals: Box<[Canonical]>,
    /// Most texts are none of the values, and most of these are told by their length.
    pub(super) lengths: Lengths,
}

impl OneOf {
    fn of(operands: impl Iterator<Item = Operand>) -> Self {
        let operands: Box<[Operand]> = operands.collect();
        let lengths = operands.iter().fold(Lengths::default(), |lengths, operand| lengths.and(operand.lengths()));
        Self { canonicals: operands.iter().filter_map(|operand| operand.canonical).collect(), lengths, operands }
    }

    /// Whether a text is one of them, but for case or by another name. The alias tables are asked only if that matters.
    #[inline]
    pub(super) fn holds(&self, text: &str, canonical: impl FnOnce() -> Option<Canonical>) -> bool {
        let text = Compared::of(text);
        let may_be = text.folded.is_none() || self.lengths.meet(Lengths::of(text.text));
        if may_be && self.operands.iter().any(|operand| operand.is(&text)) {
            return true;
        }
        !self.canonicals.is_empty() && canonical().is_some_and(|canonical| self.canonicals.iter().any(|ours| ours.covers(canonical)))
    }
}

/// Lengths of texts in bytes: one bit for each, the last one for all longer ones. Texts in ASCII that are the same but for case have
/// the same length.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lengths(u32);

impl Lengths {
    /// Any length.
    pub(super) const ANY: Self = Self(u32::MAX);

    pub(super) fn of(text: &str) -> Self {
        Self(1 << text.len().min(31))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A value of a rule in every form in which a field may hold it.
#[derive(Debug)]
pub(super) struct Operand {
    /// Trimmed and in lower case.
    pub(super) folded: Box<str>,
    /// The ends of that.
    pub(super) ends: Ends,
    pub(super) number: Option<Number>,
    pub(super) truth: Option<bool>,
    pub(super) moment: Option<Moment>,
    pub(super) canonical: Option<Canonical>,
}

impl Operand {
    fn of(scalar: &Scalar, vocabulary: Option<Vocabulary>) -> Self {
        let (folded, number, truth, moment, canonical) = match scalar {
            Scalar::Text(text) => (
                text.trim().chars().flat_map(char::to_lowercase).collect(),
                Number::parse(text.trim()),
                truth(text),
                Moment::parse(text),
                vocabulary.and_then(|vocabulary| vocabulary.canonical(text)),
            ),
            Scalar::Number(number) => (number.to_string(), Some(*number), None, None, None),
            Scalar::Bool(truth) => (truth.to_string(), None, Some(*truth), None, None),
        };
        Self { ends: Ends::of(&folded), folded: folded.into(), number, truth, moment, canonical }
    }

    pub(super) fn lengths(&self) -> Lengths {
        Lengths::of(&self.folded)
    }

    /// Whether a text is the same but for case and the white space around it.
    #[inline(always)]
    pub(super) fn is(&self, text: &Compared<'_>) -> bool {
        match text.folded {
            Some(ends) => ends == self.ends && (ends.tell_all() || text.text.eq_ignore_ascii_case(&self.folded)),
            None => same_text(text.text, &self.folded),
        }
    }
}

/// A text that is compared with operands.
pub(super) struct Compared<'a> {
    text: &'a str,
    /// The folded ends, if it is ASCII.
    folded: Option<Ends>,
}

impl<'a> Compared<'a> {
    #[inline(always)]
    pub(super) fn of(text: &'a str) -> Self {
        let text = trimmed(text);
        let folded = Ends::of(text).folded().filter(|ends| ends.tell_all() || text.is_ascii());
        Self { text, folded }
    }
}

pub(super) fn ruleset(ruleset: &AccountRuleset, aliases: &Aliases) -> CompiledAccountRuleset {
    let mut slots: Vec<Slot> = Vec::new();
    let groups: Vec<CompiledGroup> =
        ruleset.groups.iter().map(|group| CompiledGroup { id: group.id.as_str().into(), cap: group.cap.map(|cap| cap.max(0)) }).collect();
    let mut rules: Vec<CompiledRule> = ruleset.rules.iter().map(|rule| compile_rule(ruleset, rule, aliases, &mut slots)).collect();
    for rule in rules.iter_mut().skip(MAX_RULES) {
        rule.matcher = Err(format!("is beyond the {MAX_RULES} rules that a ruleset may have"));
    }
    let mut compiled = CompiledAccountRuleset {
        disqualifying: rules.iter().any(|rule| rule.disqualifies),
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

fn compile_rule(ruleset: &AccountRuleset, rule: &AccountRule, aliases: &Aliases, slots: &mut Vec<Slot>) -> CompiledRule {
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
        None => Ok(compile_condition((ruleset, aliases), &rule.condition, slots, &mut used)),
    };
    CompiledRule {
        id: rule.id.as_str().into(),
        name: rule.name.as_str().into(),
        points: if rule.disqualifies { 0 } else { rule.points.clamp(-MAX_POINTS, MAX_POINTS) },
        disqualifies: rule.disqualifies,
        group: group.flatten(),
        matcher,
        slots: used,
    }
}

fn compile_condition(
    (ruleset, aliases): (&AccountRuleset, &Aliases),
    condition: &Condition,
    slots: &mut Vec<Slot>,
    used: &mut Vec<usize>,
) -> Matcher {
    let mut members = |members: &[Condition]| -> Box<[Matcher]> {
        members.iter().map(|member| compile_condition((ruleset, aliases), member, slots, used)).collect()
    };
    match condition {
        Condition::All(conditions) => Matcher::All(members(conditions)),
        Condition::Any(conditions) => Matcher::Any(members(conditions)),
        Condition::Test(test) => {
            let slot = slot_of(ruleset, &test.field, slots);
            if !used.contains(&slot) {
                used.push(slot);
            }
            Matcher::Test { slot, check: compile_test(test, aliases.of(&test.field)), vocabulary: Vocabulary::of(&test.field) }
        }
        // Rules with a faulty condition are not compiled; an empty OR holds for nothing.
        Condition::Faulty { .. } => Matcher::Any(Box::new([])),
    }
}

fn slot_of(ruleset: &AccountRuleset, field: &FieldName, slots: &mut Vec<Slot>) -> usize {
    if let Some(slot) = slots.iter().position(|slot| slot.name == *field) {
        return slot;
    }
    slots.push(Slot { name: field.clone(), missing_means_no: ruleset.missing_means_no.contains(field) });
    slots.len() - 1
}

fn compile_test(test: &Test, names: Option<&Arc<Names>>) -> Check {
    let check = compile_check(test);
    match names.and_then(|names| Aliased::of(test, names)) {
        Some((names, one, turn)) => Check::Aliased(Box::new(Aliased { check, one, turn, names })),
        None => check,
    }
}

impl Aliased {
    /// The names of a table, and the values of a comparison with whole texts under them; the last says that the answer is turned around.
    fn of(test: &Test, names: &Arc<Names>) -> Option<(Arc<Names>, OneOf, bool)> {
        let vocabulary = Vocabulary::of(&test.field);
        let text = |text: &str| Operand::of(&Scalar::Text(names.name_of(text).unwrap_or(text).to_owned()), vocabulary);
        let operand = |scalar: &Scalar| match scalar {
            Scalar::Text(value) => text(value),
            other => Operand::of(other, vocabulary),
        };
        let one = match &test.operation {
            Operation::Eq(value) | Operation::Neq(value) => OneOf::of(std::iter::once(operand(value))),
            Operation::In(values) | Operation::NotIn(values) => OneOf::of(values.iter().map(operand)),
            Operation::Contains(value) | Operation::NotContains(value) => OneOf::of(std::iter::once(text(value))),
            _ => return None,
        };
        let turn = matches!(test.operation, Operation::Neq(_) | Operation::NotIn(_) | Operation::NotContains(_));
        Some((Arc::clone(names), one, turn))
    }

    /// Whether a text, under its name, is one of the values.
    pub(super) fn holds(&self, text: &str, vocabulary: Option<Vocabulary>) -> bool {
        let text = self.names.name_of(text).unwrap_or(text);
        self.one.holds(text, || vocabulary.and_then(|vocabulary| vocabulary.canonical(text)))
    }
}

fn compile_check(test: &Test) -> Check {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts that are often the same but for case, and often nearly so.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[aAbB]{0,3}",
            "[@`\\[{_zZ]{0,2}",
            "[kK\u{212A}\u{df}éÉ]{1,9}",
            "(same|SAME)[xX]{4,16}(end|END|ênd)",
            " ?Series [ABab] ?"
        ]
    }

    proptest! {
        #[test]
        fn a_quick_comparison_says_what_a_full_one_says(text in any_text(), value in any_text()) {
            let operand = Operand::of(&Scalar::Text(value), None);
            prop_assert_eq!(operand.is(&Compared::of(&text)), same_text(&text, &operand.folded));
            let one = OneOf::of(std::iter::once(operand));
            prop_assert_eq!(one.holds(&text, || None), same_text(&text, &one.operands[0].folded));
        }

        #[test]
        fn every_field_is_found_and_no_other(names in proptest::collection::btree_set("[a-c]{1,3}|beginnin[a-c]{1,3}endendend", 0..40), other in "[a-c]{1,3}|beginnin[a-c]{1,3}endendend") {
            let slot = |name: &String| Slot { name: FieldName::new(name).unwrap(), missing_means_no: false };
            let slots: Vec<Slot> = names.iter().map(slot).collect();
            let places = Places::of(&slots);
            for (at, name) in names.iter().enumerate() {
                prop_assert_eq!(places.find(name, &slots), Some(at));
            }
            prop_assert_eq!(places.find(&other, &slots), names.iter().position(|name| *name == other));
        }
    }
}
