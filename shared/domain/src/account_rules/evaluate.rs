//! Evaluation of a ruleset: points, caps, and the explanation of both.

use super::{
    AccountScore, CapLine, CapScope, CompiledAccountRuleset, MissingField, Outcome, RuleLine, SeenField, Tally,
    compile::{CompiledRule, Matcher},
    json,
    verdict::{Known, Seen, Verdict},
};
use crate::{
    Day, Timestamp,
    field::{FieldLookup, Vocabulary},
};

/// So many fields need no memory of their own.
const FEW: usize = 16;

impl CompiledAccountRuleset {
    /// The ruleset's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The ruleset's version: every score names it.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The most points that can be had, after caps.
    pub const fn possible(&self) -> i32 {
        self.possible
    }

    /// The fields that rules use, each once.
    pub fn fields(&self) -> impl Iterator<Item = &crate::field::FieldName> {
        self.slots.iter().map(|slot| &slot.name)
    }

    /// Whether the score may change with the day although no field changes.
    pub fn depends_on_date(&self) -> bool {
        self.dated
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
        let mut few = [const { Seen::nothing() }; FEW];
        let mut many = Vec::new();
        let seen = match few.get_mut(..self.slots.len()) {
            Some(few) => few,
            None => {
                many.resize(self.slots.len(), Seen::nothing());
                many.as_mut_slice()
            }
        };
        if json::scan(&self.slots, &self.places, fields, seen).is_some() {
            return Ok(self.count(seen, as_of.day()));
        }
        let values = json::parse(&self.slots, &self.places, fields)?;
        Ok(self.count(&json::seen(&self.slots, &values), as_of.day()))
    }

    fn look_up<'a, L: FieldLookup + ?Sized>(&self, fields: &'a L) -> Vec<Seen<'a>> {
        self.slots.iter().map(|slot| Seen::new(fields.field(&slot.name).map(Known::of), slot)).collect()
    }

    fn count(&self, seen: &[Seen<'_>], today: Day) -> Tally {
        let points = |_: usize, rule: &CompiledRule| match &rule.matcher {
            Ok(matcher) => rule.points.wrapping_mul(matcher.matches(seen, today).into()),
            Err(_) => 0,
        };
        Tally {
            score: self.settle(points, None),
            possible: self.possible,
            known: seen.iter().filter(|seen| seen.is_known()).count(),
            of: self.slots.len(),
            disqualified: self.disqualifying && self.rules.iter().any(|rule| rule.disqualifies_by(seen, today)),
            next_change: if self.dated { self.next_change(seen, today) } else { None },
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

    /// The score if the rules gave these points, by their places: caps and floor are applied as in any evaluation.
    pub(crate) fn score_if(&self, points: impl Fn(usize) -> i32) -> i32 {
        self.settle(|i, _| points(i), None)
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
        let disqualifying = lines.iter().filter(|line| line.disqualifies && line.outcome == Outcome::Matched);
        AccountScore {
            disqualified_by: disqualifying.map(|line| line.rule_id.clone()).collect(),
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
            Some(SeenField { field, value: seen.value.map(Known::to_value), assumed: seen.assumed })
        });
        RuleLine {
            rule_id: rule.id.clone(),
            name: rule.name.clone(),
            points: if outcome == Outcome::Matched { rule.points } else { 0 },
            possible: rule.points,
            disqualifies: rule.disqualifies,
            fields: fields.collect(),
            outcome,
        }
    }

    /// Why a rule can't be evaluated on these values.
    fn mismatch(&self, matcher: &Matcher, seen: &[Seen<'_>], today: Day) -> String {
        let mut found = None;
        matcher.each_test(&mut |slot, check| {
            if found.is_none()
                && check.verdict(seen.get(slot), self.slots.get(slot).and_then(|slot| Vocabulary::of(&slot.name)), today) == Verdict::Faulty
            {
                found = Some((slot, check));
            }
        });
        let Some((slot, check)) = found else { return "can't be evaluated".to_owned() };
        let name = self.slots.get(slot).map_or("", |slot| slot.name.as_str());
        let holds = seen.get(slot).and_then(|seen| seen.value.as_ref()).map_or("nothing", Known::kind);
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

impl CompiledRule {
    /// Whether the rule disqualifies and holds.
    fn disqualifies_by(&self, seen: &[Seen<'_>], today: Day) -> bool {
        self.disqualifies && self.matcher.as_ref().is_ok_and(|matcher| matcher.matches(seen, today))
    }
}
