//! Conditions and tests on known values: matched, not matched, or why it can't be told.

use super::{
    Moment,
    compile::{Aliased, Check, Compared, Lengths, Matcher, OneOf, Operand, Slot},
};
use crate::{
    Day, Timestamp,
    field::{Canonical, FieldRef, FieldValue, Interval, Number, Vocabulary, contains_text},
    scan::Scanner,
};
use std::{borrow::Cow, cell::OnceCell};

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
    /// A list as JSON: an array of texts without escapes, with their lengths.
    Items(&'a str, Lengths),
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
            Self::List(_) | Self::Items(..) => FieldRef::List(Cow::Borrowed(&[])).kind(),
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
            Self::Items(array, _) => {
                let mut items = Vec::new();
                any_item(array, |item| {
                    items.push(item.to_owned());
                    false
                });
                FieldValue::List(items)
            }
        }
    }
}

/// Whether one of the items passes of a JSON array of texts without escapes, which was walked before.
fn any_item<'a>(array: &'a str, mut passes: impl FnMut(&'a str) -> bool) -> bool {
    let mut scanner = Scanner::new(array);
    let none = scanner.array(|scanner| if passes(scanner.plain()?) { None } else { Some(()) });
    none.is_none()
}

/// A text without the white space around it; of most texts a look at both ends is enough.
#[inline]
pub(super) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// What is known of a field.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    pub(super) value: Option<Known<'a>>,
    /// What the alias tables make of the text, once a test has asked for it.
    canonical: OnceCell<Option<Canonical>>,
    /// The value is assumed, because missing means no.
    pub(super) assumed: bool,
}

impl<'a> Seen<'a> {
    pub(super) const fn nothing() -> Self {
        Self::known(None)
    }

    /// Without regard to what is assumed.
    pub(super) const fn known(value: Option<Known<'a>>) -> Self {
        Self { value, canonical: OnceCell::new(), assumed: false }
    }

    pub(super) fn new(value: Option<Known<'a>>, slot: &Slot) -> Self {
        match value {
            None if slot.missing_means_no => Self { assumed: true, ..Self::known(Some(Known::Bool(false))) },
            value => Self::known(value),
        }
    }

    fn canonical(&self, vocabulary: Option<Vocabulary>) -> Option<Canonical> {
        let Some(Known::Text(text)) = self.value else { return None };
        *self.canonical.get_or_init(|| canonical_of(text, vocabulary))
    }

    pub(super) const fn is_known(&self) -> bool {
        self.value.is_some() & !self.assumed
    }
}

impl Matcher {
    /// Whether the verdict is [`Verdict::Matched`], told more quickly.
    #[inline(always)]
    pub(super) fn matches(&self, seen: &[Seen<'_>], today: Day) -> bool {
        match self {
            Self::Test { slot, check, vocabulary } => check.matches(seen.get(*slot), *vocabulary, today),
            Self::All(_) | Self::Any(_) => self.joined_matches(seen, today),
        }
    }

    #[inline(never)]
    fn joined_matches(&self, seen: &[Seen<'_>], today: Day) -> bool {
        match self {
            Self::All(members) => members.iter().all(|member| member.matches(seen, today)),
            Self::Any(members) => members.iter().any(|member| member.matches(seen, today)),
            Self::Test { .. } => false,
        }
    }

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
    /// Whether the verdict is [`Verdict::Matched`], told more quickly of what is frequent.
    #[inline(always)]
    fn matches(&self, seen: Option<&Seen<'_>>, vocabulary: Option<Vocabulary>, today: Day) -> bool {
        let Some(seen @ Seen { value: Some(value), .. }) = seen else { return matches!(self, Self::NotExists) };
        match (self, value) {
            (Self::Numbers { from, to, .. }, Known::Number(number)) => between(*number, *from, *to),
            (Self::OneOf(one, turn), Known::Text(text)) => one.holds(text, || seen.canonical(vocabulary)) != *turn,
            (Self::OneOf(one, turn), Known::Bool(truth)) => one.operands.iter().any(|operand| operand.truth == Some(*truth)) != *turn,
            _ => self.verdict(Some(seen), vocabulary, today) == Verdict::Matched,
        }
    }

    pub(super) fn verdict(&self, seen: Option<&Seen<'_>>, vocabulary: Option<Vocabulary>, today: Day) -> Verdict {
        let Some(seen @ Seen { value: Some(value), assumed, .. }) = seen else {
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
            (Self::Aliased(aliased), _) => aliased.verdict(seen, vocabulary, today),
            (_, Known::List(items)) => self.of_items(|passes| items.iter().any(|item| passes(item)), Lengths::ANY, vocabulary),
            (_, Known::Items(array, lengths)) => self.of_items(|passes| any_item(array, passes), *lengths, vocabulary),
            (Self::OneOf(one, turn), value) => one_of(one, value, || seen.canonical(vocabulary)).turned_around(*turn),
            (Self::Numbers { from, to, .. }, Known::Number(number)) => Verdict::of(between(*number, *from, *to)),
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

    /// Of a list whose items have these lengths; `any` says whether one of them passes.
    fn of_items(&self, any: impl FnOnce(&dyn Fn(&str) -> bool) -> bool, lengths: Lengths, vocabulary: Option<Vocabulary>) -> Verdict {
        let may_be = |ours: Lengths| vocabulary.is_some() || ours.meet(lengths);
        match self {
            Self::OneOf(one, turn) => {
                let holds = may_be(one.lengths) && any(&|item| one.holds(item, || canonical_of(item, vocabulary)));
                Verdict::of(holds).turned_around(*turn)
            }
            Self::Contains(operand, turn) => {
                let equals = |item: &str| operand.equals_text(item, || canonical_of(item, vocabulary));
                Verdict::of(may_be(operand.lengths()) && any(&equals)).turned_around(*turn)
            }
            Self::StartsWith(start) => Verdict::of(any(&|item| begins(item, start))),
            _ => Verdict::Faulty,
        }
    }

    /// The operation's word, and what it needs a field to hold.
    pub(super) fn wants(&self) -> (&'static str, &'static str) {
        match self {
            Self::Aliased(aliased) => aliased.check.wants(),
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

impl Aliased {
    /// Whole texts are compared by their names, everything else as without a table.
    #[inline(never)]
    fn verdict(&self, seen: &Seen<'_>, vocabulary: Option<Vocabulary>, today: Day) -> Verdict {
        let holds = match (&self.check, &seen.value) {
            (Check::OneOf(..), Some(Known::Text(text))) => self.holds(text, vocabulary),
            (_, Some(Known::List(items))) => items.iter().any(|item| self.holds(item, vocabulary)),
            (_, Some(Known::Items(array, _))) => any_item(array, |item| self.holds(item, vocabulary)),
            _ => return self.check.verdict(Some(seen), vocabulary, today),
        };
        Verdict::of(holds).turned_around(self.turn)
    }
}

fn canonical_of(text: &str, vocabulary: Option<Vocabulary>) -> Option<Canonical> {
    vocabulary.and_then(|vocabulary| vocabulary.canonical(text))
}

/// Whether a number is in a range, both ends included.
fn between(number: Number, from: Option<Number>, to: Option<Number>) -> bool {
    from.is_none_or(|from| from <= number) & to.is_none_or(|to| number <= to)
}

/// Whether the value equals one of the operands; an interval may only contain one.
fn one_of(one: &OneOf, value: &Known<'_>, canonical: impl FnOnce() -> Option<Canonical>) -> Verdict {
    fn any(operands: &[Operand], equals: impl Fn(&Operand) -> bool) -> Verdict {
        Verdict::of(operands.iter().any(equals))
    }
    let operands = &one.operands;
    match value {
        Known::Text(text) => Verdict::of(one.holds(text, canonical)),
        Known::Number(number) => any(operands, |operand| operand.number == Some(*number)),
        Known::Bool(truth) => any(operands, |operand| operand.truth == Some(*truth)),
        Known::Date(at) => any(operands, |operand| operand.moment.is_some_and(|moment| moment.start() <= *at && *at <= moment.end())),
        Known::Interval(interval) => match any(operands, |operand| operand.number.is_some_and(|number| interval.contains(number))) {
            Verdict::Matched if interval.from() != interval.to() => Verdict::Undecided,
            verdict => verdict,
        },
        // Lists are judged by their items.
        Known::List(_) | Known::Items(..) => Verdict::Faulty,
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
    fn equals_text(&self, text: &str, canonical: impl FnOnce() -> Option<Canonical>) -> bool {
        self.is(&Compared::of(text)) || self.canonical.is_some_and(|ours| canonical().is_some_and(|theirs| ours.covers(theirs)))
    }
}

/// Whether a text begins with another but for case. `folded` is in lower case already.
fn begins(text: &str, folded: &str) -> bool {
    let mut chars = text.trim_start().chars().flat_map(char::to_lowercase);
    folded.chars().all(|c| chars.next() == Some(c))
}
