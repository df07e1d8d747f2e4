//! Evaluation: every rule answers matched, not matched, or why it can't tell.

use super::{
    AccountScore, CapLine, CapScope, CompiledAccountRuleset, MissingField, Moment, Outcome, RuleLine, SeenField, Tally,
    compile::{Check, CompiledRule, Matcher, Operand, Slot},
};
use crate::{
    Day, Timestamp,
    field::{Canonical, FieldLookup, FieldRef, Interval, Number, Vocabulary, contains_text, same_text},
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The answer of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
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

/// What is known of a field.
#[derive(Debug, Default)]
struct Seen<'a> {
    value: Option<FieldRef<'a>>,
    canonical: Option<Canonical>,
    /// The value is assumed, because missing means no.
    assumed: bool,
}

impl<'a> Seen<'a> {
    fn new(value: Option<FieldRef<'a>>, slot: &Slot) -> Self {
        let canonical = match (&value, slot.vocabulary) {
            (Some(FieldRef::Text(text)), Some(vocabulary)) => vocabulary.canonical(text),
            _ => None,
        };
        let assumed = value.is_none() && slot.missing_means_no;
        let value = if assumed { Some(FieldRef::Bool(false)) } else { value };
        Self { value, canonical, assumed }
    }

    const fn is_known(&self) -> bool {
        self.value.is_some() && !self.assumed
    }
}

impl CompiledAccountRuleset {
    /// The ruleset's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The ruleset's version: every score names it.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The fields that rules use, each once.
    pub fn fields(&self) -> impl Iterator<Item = &crate::field::FieldName> {
        self.slots.iter().map(|slot| &slot.name)
    }

    /// Whether the score may change with the day although no field changes.
    pub fn depends_on_date(&self) -> bool {
        fn dated(matcher: &Matcher) -> bool {
            match matcher {
                Matcher::All(members) | Matcher::Any(members) => members.iter().any(dated),
                Matcher::Test { check, .. } => matches!(check, Check::WithinDays(_)),
            }
        }
        self.rules.iter().any(|rule| rule.matcher.as_ref().is_ok_and(dated))
    }

    /// The score and its explanation, as of a moment's UTC day.
    pub fn evaluate<L: FieldLookup + ?Sized>(&self, fields: &L, as_of: Timestamp) -> AccountScore {
        self.explain(&self.look_up(fields), as_of.day())
    }

    /// The score alone: the same as [`Self::evaluate`] says, without the cost of the explanation.
    pub fn tally<L: FieldLookup + ?Sized>(&self, fields: &L, as_of: Timestamp) -> Tally {
        self.count(&self.look_up(fields), as_of.day())
    }

    /// The score of fields given as one JSON object in the form in which [`crate::field::FieldValue`] is written; `null` counts as not known.
    /// Only the values that rules use are looked at.
    pub fn tally_json(&self, fields: &str, as_of: Timestamp) -> Result<Tally, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(fields);
        let seen = SeenVisitor(&self.slots).deserialize(&mut json)?;
        json.end()?;
        Ok(self.count(&seen, as_of.day()))
    }

    fn look_up<'a, L: FieldLookup + ?Sized>(&self, fields: &'a L) -> Vec<Seen<'a>> {
        self.slots.iter().map(|slot| Seen::new(fields.field(&slot.name).map(|value| value.view()), slot)).collect()
    }

    fn count(&self, seen: &[Seen<'_>], today: Day) -> Tally {
        let points = |_: usize, rule: &CompiledRule| match &rule.matcher {
            Ok(matcher) if matcher.verdict(seen, today) == Verdict::Matched => rule.points,
            _ => 0,
        };
        Tally {
            score: self.settle(points, None),
            possible: self.possible,
            known: seen.iter().filter(|seen| seen.is_known()).count(),
            of: self.slots.len(),
            next_change: self.next_change(seen, today),
        }
    }

    /// The most points that can be had.
    pub(super) fn most(&self) -> i32 {
        self.settle(|_, rule| if rule.matcher.is_ok() { rule.points.max(0) } else { 0 }, None)
    }

    /// Sums the points of the rules and applies caps and floor; notes what they change.
    fn settle(&self, points: impl Fn(usize, &CompiledRule) -> i32, mut noted: Option<&mut Vec<CapLine>>) -> i32 {
        let mut total = 0_i64;
        let mut sums = vec![0_i64; self.groups.len()];
        for (i, rule) in self.rules.iter().enumerate() {
            let points = i64::from(points(i, rule));
            total += points;
            if let Some(sum) = rule.group.and_then(|group| sums.get_mut(group)) {
                *sum += points;
            }
        }
        let mut adjust = |total: &mut i64, scope: CapScope, limit: i32, by: i64| {
            *total += by;
            if let Some(noted) = noted.as_deref_mut() {
                // A thousand rules of a million points fit 32 bits.
                noted.push(CapLine { scope, limit, points: i32::try_from(by).unwrap_or_default() });
            }
        };
        for (group, sum) in self.groups.iter().zip(sums) {
            if let Some(cap) = group.cap.filter(|cap| sum > i64::from(*cap)) {
                adjust(&mut total, CapScope::Group(group.id.clone()), cap, i64::from(cap) - sum);
            }
        }
        if let Some(cap) = self.cap.filter(|cap| total > i64::from(*cap)) {
            let by = i64::from(cap) - total;
            adjust(&mut total, CapScope::Total, cap, by);
        }
        if total < 0 {
            let by = -total;
            adjust(&mut total, CapScope::Floor, 0, by);
        }
        i32::try_from(total).unwrap_or_default()
    }

    fn next_change(&self, seen: &[Seen<'_>], today: Day) -> Option<Day> {
        self.rules.iter().filter_map(|rule| rule.matcher.as_ref().ok()?.next_change(seen, today)).min()
    }

    fn explain(&self, seen: &[Seen<'_>], today: Day) -> AccountScore {
        let mut lines: Vec<RuleLine> = self.rules.iter().map(|rule| self.line(rule, seen, today)).collect();
        let awarded = |i: usize| lines.get(i).map_or(0, |line| line.points);
        let mut caps = Vec::new();
        let score = self.settle(|i, _| awarded(i), Some(&mut caps));
        let waiting = |i: usize| lines.get(i).is_some_and(|line| matches!(line.outcome, Outcome::Missing(_)));
        let could_be = |i: usize, rule: &CompiledRule| if waiting(i) { rule.points.max(0) } else { awarded(i) };
        let missing_could_add = self.settle(could_be, None) - score;
        self.mark_capped(&mut lines, &caps);
        AccountScore {
            score,
            possible: self.possible,
            known: seen.iter().filter(|seen| seen.is_known()).count(),
            of: self.slots.len(),
            missing_could_add,
            missing: self.missing(seen, &lines),
            lines,
            caps,
            next_change: self.next_change(seen, today),
        }
    }

    fn line(&self, rule: &CompiledRule, seen: &[Seen<'_>], today: Day) -> RuleLine {
        let name = |slot: &usize| self.slots.get(*slot).map(|slot| slot.name.clone());
        let outcome = match &rule.matcher {
            Err(reason) => Outcome::Faulty(reason.clone()),
            Ok(matcher) => {
                let waits_for = |verdict: Verdict| {
                    let mut slots = Vec::new();
                    matcher.slots_with(verdict, seen, today, &mut slots);
                    slots.iter().filter_map(name).collect()
                };
                match matcher.verdict(seen, today) {
                    Verdict::Matched => Outcome::Matched,
                    Verdict::NotMatched => Outcome::NotMatched,
                    Verdict::Missing => Outcome::Missing(waits_for(Verdict::Missing)),
                    Verdict::Undecided => Outcome::Undecided(waits_for(Verdict::Undecided)),
                    Verdict::Faulty => Outcome::Faulty(self.mismatch(matcher, seen, today)),
                }
            }
        };
        let fields = rule.slots.iter().filter_map(|slot| {
            let (field, seen) = (name(slot)?, seen.get(*slot)?);
            Some(SeenField { field, value: seen.value.as_ref().map(FieldRef::to_value), assumed: seen.assumed })
        });
        RuleLine {
            rule_id: rule.id.clone(),
            name: rule.name.clone(),
            points: if outcome == Outcome::Matched { rule.points } else { 0 },
            possible: rule.points,
            fields: fields.collect(),
            outcome,
        }
    }

    /// Why a rule can't be evaluated on these values.
    fn mismatch(&self, matcher: &Matcher, seen: &[Seen<'_>], today: Day) -> String {
        let mut found = None;
        matcher.each_test(&mut |slot, check| {
            if found.is_none() && check.verdict(seen.get(slot), self.slots.get(slot).and_then(|s| s.vocabulary), today) == Verdict::Faulty {
                found = Some((slot, check));
            }
        });
        let Some((slot, check)) = found else { return "can't be evaluated".to_owned() };
        let name = self.slots.get(slot).map_or("", |slot| slot.name.as_str());
        let holds = seen.get(slot).and_then(|seen| seen.value.as_ref()).map_or("nothing", FieldRef::kind);
        let (op, wants) = check.wants();
        format!("field `{name}` holds {holds}, but `{op}` needs {wants}")
    }

    /// Marks the rules whose points a cap took away, the later ones first to lose them.
    fn mark_capped(&self, lines: &mut [RuleLine], caps: &[CapLine]) {
        for cap in caps.iter().filter(|cap| cap.points < 0) {
            let counts = |rule: &CompiledRule| match &cap.scope {
                CapScope::Group(id) => rule.group.and_then(|group| self.groups.get(group)).is_some_and(|group| group.id == *id),
                CapScope::Total | CapScope::Floor => true,
            };
            let mut over = i64::from(cap.points.unsigned_abs());
            for (rule, line) in self.rules.iter().zip(lines.iter_mut()).rev() {
                if over > 0 && counts(rule) && line.points > 0 {
                    over -= i64::from(line.points);
                    if line.outcome == Outcome::Matched {
                        line.outcome = Outcome::Capped(cap.scope.clone());
                    }
                }
            }
        }
    }

    fn missing(&self, seen: &[Seen<'_>], lines: &[RuleLine]) -> Vec<MissingField> {
        let unknown = self.slots.iter().zip(seen).filter(|(_, seen)| !seen.is_known()).map(|(slot, _)| &slot.name);
        let could_add = |field| {
            let waits = |line: &&RuleLine| matches!(&line.outcome, Outcome::Missing(fields) if fields.contains(field));
            lines.iter().filter(waits).map(|line| line.possible.max(0)).sum()
        };
        let mut missing: Vec<MissingField> =
            unknown.map(|field| MissingField { field: field.clone(), could_add: could_add(field) }).collect();
        missing.sort_by_key(|missing| std::cmp::Reverse(missing.could_add));
        missing
    }
}

impl Matcher {
    fn verdict(&self, seen: &[Seen<'_>], today: Day) -> Verdict {
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

    fn each_test<'m>(&'m self, visit: &mut impl FnMut(usize, &'m Check)) {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().for_each(|member| member.each_test(visit)),
            Self::Test { slot, check, .. } => visit(*slot, check),
        }
    }

    /// The slots of the tests that answer so, each once.
    fn slots_with(&self, verdict: Verdict, seen: &[Seen<'_>], today: Day, slots: &mut Vec<usize>) {
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

    fn next_change(&self, seen: &[Seen<'_>], today: Day) -> Option<Day> {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().filter_map(|member| member.next_change(seen, today)).min(),
            Self::Test { slot, check: Check::WithinDays(days), .. } => {
                let Some(FieldRef::Date(at)) = seen.get(*slot)?.value else { return None };
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
    fn verdict(&self, seen: Option<&Seen<'_>>, vocabulary: Option<Vocabulary>, today: Day) -> Verdict {
        let Some(Seen { value: Some(value), canonical, assumed }) = seen else {
            return if matches!(self, Self::NotExists) { Verdict::Matched } else { Verdict::Missing };
        };
        match (self, value) {
            (Self::Exists, _) => if *assumed { Verdict::Missing } else { Verdict::Matched },
            (Self::NotExists, _) => Verdict::of(*assumed),
            (Self::OneOf(operands, turn), value) => one_of(operands, value, *canonical, vocabulary).turned_around(*turn),
            (Self::Numbers { from, to, .. }, FieldRef::Number(number)) => {
                Verdict::of(from.is_none_or(|from| from <= *number) && to.is_none_or(|to| *number <= to))
            }
            (Self::Numbers { from, to, .. }, FieldRef::Interval(interval)) => inside(*interval, *from, *to),
            (Self::Moments { from, to, strict, .. }, FieldRef::Date(at)) => {
                let (from, to) = if *strict {
                    (from.map(|from| from.end().plus_millis(1)), to.map(|to| to.start().plus_millis(-1)))
                } else {
                    (from.map(Moment::start), to.map(Moment::end))
                };
                Verdict::of(from.is_none_or(|from| from <= *at) && to.is_none_or(|to| *at <= to))
            }
            (Self::Contains(operand, turn), FieldRef::Text(text)) => {
                Verdict::of(contains_text(text, &operand.folded)).turned_around(*turn)
            }
            (Self::Contains(operand, turn), FieldRef::List(items)) => {
                Verdict::of(items.iter().any(|item| operand.equals_text(item, canonical_of(item, vocabulary)))).turned_around(*turn)
            }
            (Self::StartsWith(start), FieldRef::Text(text)) => Verdict::of(begins(text, start)),
            (Self::StartsWith(start), FieldRef::List(items)) => Verdict::of(items.iter().any(|item| begins(item, start))),
            (Self::WithinDays(days), FieldRef::Date(at)) => Verdict::of((0..=*days).contains(&today.since(at.day()))),
            (Self::Numbers { .. } | Self::Moments { .. } | Self::Contains(..) | Self::StartsWith(_) | Self::WithinDays(_), _) => {
                Verdict::Faulty
            }
        }
    }

    /// The operation's word, and what it needs a field to hold.
    const fn wants(&self) -> (&'static str, &'static str) {
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
fn one_of(operands: &[Operand], value: &FieldRef<'_>, canonical: Option<Canonical>, vocabulary: Option<Vocabulary>) -> Verdict {
    let any = |equals: &dyn Fn(&Operand) -> bool| Verdict::of(operands.iter().any(equals));
    match value {
        FieldRef::Text(text) => any(&|operand| operand.equals_text(text, canonical)),
        FieldRef::Number(number) => any(&|operand| operand.number == Some(*number)),
        FieldRef::Bool(truth) => any(&|operand| operand.truth == Some(*truth)),
        FieldRef::Date(at) => any(&|operand| operand.moment.is_some_and(|moment| moment.start() <= *at && *at <= moment.end())),
        FieldRef::List(items) => any(&|operand| items.iter().any(|item| operand.equals_text(item, canonical_of(item, vocabulary)))),
        FieldRef::Interval(interval) => {
            match any(&|operand| operand.number.is_some_and(|number| interval.contains(number))) {
                Verdict::Matched if interval.from() != interval.to() => Verdict::Undecided,
                verdict => verdict,
            }
        }
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
    fn equals_text(&self, text: &str, canonical: Option<Canonical>) -> bool {
        let same_thing = self.canonical.zip(canonical).is_some_and(|(ours, theirs)| ours.covers(theirs));
        same_thing || same_text(text, &self.folded)
    }
}

/// Whether a text begins with another but for case. `folded` is in lower case already.
fn begins(text: &str, folded: &str) -> bool {
    let mut chars = text.trim_start().chars().flat_map(char::to_lowercase);
    folded.chars().all(|c| chars.next() == Some(c))
}

/// Reads the values that rules use out of a JSON object.
struct SeenVisitor<'s>(&'s [Slot]);

impl<'de> DeserializeSeed<'de> for SeenVisitor<'_> {
    type Value = Vec<Seen<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SeenVisitor<'_> {
    type Value = Vec<Seen<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values: Vec<Option<FieldRef<'de>>> = Vec::new();
        values.resize_with(self.0.len(), || None);
        while let Some(slot) = map.next_key_seed(SlotKey(self.0))? {
            match slot.and_then(|slot| values.get_mut(slot)) {
                Some(place) => *place = map.next_value()?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self.0.iter().zip(values).map(|(slot, value)| Seen::new(value, slot)).collect())
    }
}

/// Finds the slot of a key without keeping the key.
struct SlotKey<'s>(&'s [Slot]);

impl<'de> DeserializeSeed<'de> for SlotKey<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for SlotKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|slot| slot.name.as_str() == key))
    }
}
