//! Conditions and tests on known values: matched, not matched, or why it can't be told.

use super::{
    Moment,
    compile::{Check, Matcher, OneOf, Operand, Slot},
};
use crate::{
    Day, Timestamp,
    field::{Canonical, FieldRef, FieldValue, Interval, Number, Vocabulary, contains_text, same_text},
};
use std::borrow::Cow;

/// The answer of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Matched,
    NotMatched,
    Missing,
    Undecided,
    Faulty,
}

impl Verdict {
    const fn of(holds: bool) -> Self {
        if holds { Self::Matched } else { Self::NotMatched }
    }

    const fn turned_around(self, turn: bool) -> Self {
        match (self, turn) {
            (Self::Matched, true) => Self::NotMatched,
            (Self::NotMatched, true) => Self::Matched,
            (other, _) => other,
        }
    }

    /// AND: one that fails decides. A faulty one can never hold; a missing or undecided one may.
    const fn and(self, other: Self) -> Self {
        const fn rank(verdict: Verdict) -> u8 {
            match verdict {
                Verdict::Matched => 0,
                Verdict::Undecided => 1,
                Verdict::Missing => 2,
                Verdict::Faulty => 3,
                Verdict::NotMatched => 4,
            }
        }
        if rank(other) > rank(self) { other } else { self }
    }

    /// OR: one that holds decides. A missing or undecided one may hold yet, whatever is wrong with the others.
    const fn or(self, other: Self) -> Self {
        const fn rank(verdict: Verdict) -> u8 {
            match verdict {
                Verdict::NotMatched => 0,
                Verdict::Faulty => 1,
                Verdict::Undecided => 2,
                Verdict::Missing => 3,
                Verdict::Matched => 4,
            }
        }
        if rank(other) > rank(self) { other } else { self }
    }
}

/// The value of a field, where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    Text(&'a str),
    Number(Number),
    Interval(&'a Interval),
    Bool(bool),
    Date(Timestamp),
    List(&'a [String]),
    /// A list as JSON: an array of texts without escapes.
    Items(&'a str),
}

impl<'a> Known<'a> {
    pub(super) fn of(value: &'a FieldValue) -> Self {
        match value {
            FieldValue::Text(text) => Self::Text(text),
            FieldValue::Number(number) => Self::Number(*number),
            FieldValue::Interval(interval) => Self::Interval(interval),
            FieldValue::Bool(truth) => Self::Bool(*truth),
            FieldValue::Date(at) => Self::Date(*at),
            FieldValue::List(items) => Self::List(items),
        }
    }

    pub(super) fn of_read(value: &'a FieldRef<'_>) -> Self {
        match value {
            FieldRef::Text(text) => Self::Text(text),
            FieldRef::Number(number) => Self::Number(*number),
            FieldRef::Interval(interval) => Self::Interval(interval),
            FieldRef::Bool(truth) => Self::Bool(*truth),
            FieldRef::Date(at) => Self::Date(*at),
            FieldRef::List(items) => Self::List(items),
        }
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => FieldRef::Text(Cow::Borrowed("")).kind(),
            Self::Number(number) => FieldRef::Number(*number).kind(),
            Self::Interval(interval) => FieldRef::Interval(**interval).kind(),
            Self::Bool(truth) => FieldRef::Bool(*truth).kind(),
            Self::Date(at) => FieldRef::Date(*at).kind(),
            Self::List(_) | Self::Items(_) => FieldRef::List(Cow::Borrowed(&[])).kind(),
        }
    }

    pub(super) fn to_value(self) -> FieldValue {
        match self {
            Self::Text(text) => FieldValue::Text(text.to_owned()),
            Self::Number(number) => FieldValue::Number(number),
            Self::Interval(interval) => FieldValue::Interval(*interval),
            Self::Bool(truth) => FieldValue::Bool(truth),
            Self::Date(at) => FieldValue::Date(at),
            Self::List(items) => FieldValue::List(items.to_vec()),
            Self::Items(array) => FieldValue::List(items_of(array).map(str::to_owned).collect()),
        }
    }
}

/// The items of a JSON array of texts without escapes, which was walked before: they stand between the quotes.
fn items_of(array: &str) -> impl Iterator<Item = &str> {
    array.split('"').skip(1).step_by(2)
}

/// A text without the white space around it; of most texts a look at both ends is enough.
pub(super) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// What is known of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) value: Option<Known<'a>>,
    canonical: Option<Canonical>,
    /// The value is assumed, because missing means no.
    pub(super) assumed: bool,
}

impl<'a> Seen<'a> {
    pub(super) const NOTHING: Self = Self { value: None, canonical: None, assumed: false };

    pub(super) fn new(value: Option<Known<'a>>, slot: &Slot) -> Self {
        let canonical = match (value, slot.vocabulary) {
            (Some(Known::Text(text)), Some(vocabulary)) => vocabulary.canonical(text),
            _ => None,
        };
        let assumed = value.is_none() && slot.missing_means_no;
        let value = if assumed { Some(Known::Bool(false)) } else { value };
        Self { value, canonical, assumed }
    }

    pub(super) const fn is_known(&self) -> bool {
        self.value.is_some() && !self.assumed
    }
}

impl Matcher {
    pub(super) fn verdict(&self, seen: &[Seen<'_>], today: Day) -> Verdict {
        match self {
            Self::All(members) => {
                let mut verdict = Verdict::Matched;
                for member in members {
                    verdict = verdict.and(member.verdict(seen, today));
                    if verdict == Verdict::NotMatched {
                        break;
                    }
                }
                verdict
            }
            Self::Any(members) => {
                let mut verdict = Verdict::NotMatched;
                for member in members {
                    verdict = verdict.or(member.verdict(seen, today));
                    if verdict == Verdict::Matched {
                        break;
                    }
                }
                verdict
            }
            Self::Test { slot, check, vocabulary } => check.verdict(seen.get(*slot), *vocabulary, today),
        }
    }

    pub(super) fn each_test<'m>(&'m self, visit: &mut impl FnMut(usize, &'m Check)) {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().for_each(|member| member.each_test(visit)),
            Self::Test { slot, check, .. } => visit(*slot, check),
        }
    }

    /// The slots of the tests that answer so, each once.
    pub(super) fn slots_with(&self, verdict: Verdict, seen: &[Seen<'_>], today: Day, slots: &mut Vec<usize>) {
        match self {
            Self::All(members) | Self::Any(members) => {
                for member in members {
                    // A part that is decided waits for nothing.
                    if !matches!(member.verdict(seen, today), Verdict::Matched | Verdict::NotMatched) {
                        member.slots_with(verdict, seen, today, slots);
                    }
                }
            }
            Self::Test { slot, .. } => {
                if self.verdict(seen, today) == verdict && !slots.contains(slot) {
                    slots.push(*slot);
                }
            }
        }
    }

    pub(super) fn next_change(&self, seen: &[Seen<'_>], today: Day) -> Option<Day> {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().filter_map(|member| member.next_change(seen, today)).min(),
            Self::Test { slot, check: Check::WithinDays(days), .. } => {
                let Some(Known::Date(at)) = seen.get(*slot)?.value else { return None };
                match today.since(at.day()) {
                    age if age < 0 => Some(at.day()),
                    age if age <= *days => Some(at.day().plus(*days).plus(1)),
                    _ => None,
                }
            }
            Self::Test { .. } => None,
        }
    }
}

impl Check {
    pub(super) fn verdict(&self, seen: Option<&Seen<'_>>, vocabulary: Option<Vocabulary>, today: Day) -> Verdict {
        let Some(Seen { value: Some(value), canonical, assumed }) = seen else {
            return if matches!(self, Self::NotExists) { Verdict::Matched } else { Verdict::Missing };
        };
        match (self, value) {
            (Self::Exists, _) => {
                if *assumed {
                    Verdict::Missing
                } else {
                    Verdict::Matched
                }
            }
            (Self::NotExists, _) => Verdict::of(*assumed),
            (_, Known::List(items)) => self.of_items(|passes| items.iter().any(|item| passes(item)), vocabulary),
            (_, Known::Items(array)) => self.of_items(|passes| items_of(array).any(passes), vocabulary),
            (Self::OneOf(one, turn), value) => one_of(one, value, *canonical).turned_around(*turn),
            (Self::Numbers { from, to, .. }, Known::Number(number)) => {
                Verdict::of(from.is_none_or(|from| from <= *number) && to.is_none_or(|to| *number <= to))
            }
            (Self::Numbers { from, to, .. }, Known::Interval(interval)) => inside(**interval, *from, *to),
            (Self::Moments { from, to, strict, .. }, Known::Date(at)) => {
                let (from, to) = if *strict {
                    (from.map(|from| from.end().plus_millis(1)), to.map(|to| to.start().plus_millis(-1)))
                } else {
                    (from.map(Moment::start), to.map(Moment::end))
                };
                Verdict::of(from.is_none_or(|from| from <= *at) && to.is_none_or(|to| *at <= to))
            }
            (Self::Contains(operand, turn), Known::Text(text)) => Verdict::of(contains_text(text, &operand.folded)).turned_around(*turn),
            (Self::StartsWith(start), Known::Text(text)) => Verdict::of(begins(text, start)),
            (Self::WithinDays(days), Known::Date(at)) => Verdict::of((0..=*days).contains(&today.since(at.day()))),
            (Self::Numbers { .. } | Self::Moments { .. } | Self::Contains(..) | Self::StartsWith(_) | Self::WithinDays(_), _) => {
                Verdict::Faulty
            }
        }
    }

    /// Of a list; `any` says whether one of its items passes.
    fn of_items(&self, any: impl FnOnce(&dyn Fn(&str) -> bool) -> bool, vocabulary: Option<Vocabulary>) -> Verdict {
        let equals = |operand: &Operand, item: &str| operand.equals_text(item, canonical_of(item, vocabulary));
        match self {
            Self::OneOf(one, turn) => {
                Verdict::of(any(&|item| one.operands.iter().any(|operand| equals(operand, item)))).turned_around(*turn)
            }
            Self::Contains(operand, turn) => Verdict::of(any(&|item| equals(operand, item))).turned_around(*turn),
            Self::StartsWith(start) => Verdict::of(any(&|item| begins(item, start))),
            _ => Verdict::Faulty,
        }
    }

    /// The operation's word, and what it needs a field to hold.
    pub(super) const fn wants(&self) -> (&'static str, &'static str) {
        match self {
            Self::OneOf(..) | Self::Exists | Self::NotExists => ("exists", "anything"),
            Self::Numbers { op, .. } => (op, "a number"),
            Self::Moments { op, .. } => (op, "a date"),
            Self::Contains(_, false) => ("contains", "a text or a list"),
            Self::Contains(_, true) => ("not_contains", "a text or a list"),
            Self::StartsWith(_) => ("starts_with", "a text or a list"),
            Self::WithinDays(_) => ("within_days", "a date"),
        }
    }
}

fn canonical_of(text: &str, vocabulary: Option<Vocabulary>) -> Option<Canonical> {
    vocabulary.and_then(|vocabulary| vocabulary.canonical(text))
}

/// Whether the value equals one of the operands; an interval may only contain one.
fn one_of(one: &OneOf, value: &Known<'_>, canonical: Option<Canonical>) -> Verdict {
    fn any(operands: &[Operand], equals: impl Fn(&Operand) -> bool) -> Verdict {
        Verdict::of(operands.iter().any(equals))
    }
    let operands = &one.operands;
    match value {
        Known::Text(text) => {
            if canonical.is_some_and(|canonical| one.canonicals.iter().any(|ours| ours.covers(canonical))) {
                return Verdict::Matched;
            }
            let text = trimmed(text);
            if text.is_ascii() {
                Verdict::of(one.may_be(text.len()) && operands.iter().any(|operand| text.eq_ignore_ascii_case(&operand.folded)))
            } else {
                any(operands, |operand| same_text(text, &operand.folded))
            }
        }
        Known::Number(number) => any(operands, |operand| operand.number == Some(*number)),
        Known::Bool(truth) => any(operands, |operand| operand.truth == Some(*truth)),
        Known::Date(at) => any(operands, |operand| operand.moment.is_some_and(|moment| moment.start() <= *at && *at <= moment.end())),
        Known::Interval(interval) => match any(operands, |operand| operand.number.is_some_and(|number| interval.contains(number))) {
            Verdict::Matched if interval.from() != interval.to() => Verdict::Undecided,
            verdict => verdict,
        },
        // Lists are judged by their items.
        Known::List(_) | Known::Items(_) => Verdict::Faulty,
    }
}

/// Whether an interval lies inside a range: all of it, none of it, or a part.
fn inside(interval: Interval, from: Option<Number>, to: Option<Number>) -> Verdict {
    let (low, high) = (interval.from(), interval.to());
    let above = from.is_none_or(|from| low.is_some_and(|low| from <= low));
    let below = to.is_none_or(|to| high.is_some_and(|high| high <= to));
    let apart = from.is_some_and(|from| high.is_some_and(|high| high < from)) || to.is_some_and(|to| low.is_some_and(|low| to < low));
    match (above && below, apart) {
        (true, _) => Verdict::Matched,
        (_, true) => Verdict::NotMatched,
        _ => Verdict::Undecided,
    }
}

impl Operand {
    fn covers(&self, canonical: Option<Canonical>) -> bool {
        self.canonical.zip(canonical).is_some_and(|(ours, theirs)| ours.covers(theirs))
    }

    fn equals_text(&self, text: &str, canonical: Option<Canonical>) -> bool {
        self.covers(canonical) || same_text(text, &self.folded)
    }
}

/// Whether a text begins with another but for case. `folded` is in lower case already.
fn begins(text: &str, folded: &str) -> bool {
    let mut chars = text.trim_start().chars().flat_map(char::to_lowercase);
    folded.chars().all(|c| chars.next() == Some(c))
}
