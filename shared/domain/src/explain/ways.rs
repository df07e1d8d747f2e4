//! The shortest way to the next level, judged by the very caps that a real evaluation applies.

use crate::{
    Day,
    account_rules::{AccountRuleset, AccountScore, CompiledAccountRuleset, Condition, Operation, Ordered, Outcome, RuleLine, Scalar, Test},
    decay::shown,
    engagement::{Aggregation, CountMode, EngagementRule},
    facts::PerDay,
    field::{FieldName, FieldValue, Interval},
    lead::Lead,
    score::{CompiledEngagement, LeadBase, Sharing, points_by_day, rule_capped},
};
use serde::Serialize;
use std::{cmp::Reverse, collections::BTreeMap};

/// How many rules are named as ways to the next engagement level.
const WAYS: usize = 3;
/// With so many waiting rules every combination is tried.
const EXACT: usize = 16;
/// … unless that takes more steps than this.
const STEPS: usize = 8_000_000;
/// How many values are tried for one field.
const VALUES: usize = 400;
/// How many rules are looked at for one way, those with the most points first.
const RULES: usize = 24;
/// How many of the hottest leads are looked at.
const LEADS: usize = 3;
/// How many events the shortest way may take together.
const EVENTS: usize = 25;
/// How often one rule may count on a way.
const TIMES: u64 = 100_000;
/// How many of the best leads are told apart; the share of the others stays as it is.
const BEST: usize = 256;

/// A step towards the next level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The rule.
    pub rule_id: String,
    /// What people call it.
    pub name: String,
    /// What it adds each time.
    pub points: i64,
    /// How often it must count.
    pub times: i64,
    /// The fields that must become known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// By whom; absent for the account level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Who>,
}

/// Whose events count on a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "who", rename_all = "snake_case")]
pub enum Who {
    /// A lead that is known.
    Lead {
        /// `ld_` and the lead's key.
        lead_id: String,
        /// What to call it.
        label: String,
    },
    /// A person of whom nothing is known yet.
    NewLead {
        /// Tells several such persons apart, from 1.
        number: u32,
    },
    /// Each time another person of whom nothing is known yet.
    NewLeads {},
}

// -------------------------------------------------------------------------------------------------------------------------- account

/// How the account score can reach a level.
#[derive(Debug)]
pub(super) struct ByFields {
    /// The fewest rules; when they do not reach the level, those that bring the most.
    pub ways: Vec<Way>,
    pub reachable: bool,
    /// The score when every rule that waits for a field matches.
    pub most: i64,
}

/// The fewest rules waiting for a field that bring the score to `target` together; of equally few those with the fewest points beyond it. Rules that
/// no value of their field meets together are no way, and what such a value takes away elsewhere counts.
pub(super) fn by_fields(
    compiled: &CompiledAccountRuleset,
    rules: &AccountRuleset,
    score: &AccountScore,
    target: i64,
    as_of: Day,
) -> ByFields {
    let waits = |line: &RuleLine| matches!(line.outcome, Outcome::Missing(_) | Outcome::Undecided(_));
    let waiting: Vec<usize> = score.lines.iter().enumerate().filter(|(_, line)| waits(line)).map(|(i, _)| i).collect();
    let candidates: Vec<usize> = waiting.iter().copied().filter(|i| score.lines.get(*i).is_some_and(|line| line.possible > 0)).collect();
    let unknown = Unknown { compiled, score, fields: fields_of(rules, score, &waiting, as_of) };
    let few = candidates.len() <= EXACT && (score.lines.len() << candidates.len()) <= STEPS;
    let (most, chosen) = if few { unknown.fewest(&candidates, target) } else { unknown.largest_first(&candidates, target) };
    let ways = chosen.iter().filter_map(|i| score.lines.get(*i)).map(way).collect();
    ByFields { ways, reachable: most >= target, most }
}

fn way(line: &RuleLine) -> Way {
    let needs = match &line.outcome {
        Outcome::Missing(fields) | Outcome::Undecided(fields) => fields.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    Way { rule_id: line.rule_id.to_string(), name: line.name.to_string(), points: i64::from(line.possible), times: 1, needs, by: None }
}

/// What is not known yet and what it might be.
struct Unknown<'a> {
    compiled: &'a CompiledAccountRuleset,
    score: &'a AccountScore,
    fields: Vec<UnknownField>,
}

/// The waiting rules that test this field alone.
struct UnknownField {
    rules: Vec<usize>,
    /// For each value that the field might have: which of the rules it meets.
    values: Vec<Vec<bool>>,
}

impl UnknownField {
    /// The rules that take points away and are met together with the chosen ones: by the value that costs least. `None` when no value meets all the
    /// chosen ones. What else a value may bring is not counted on.
    fn lost(&self, score: &AccountScore, chosen: &[usize]) -> Option<Vec<usize>> {
        let wanted: Vec<bool> = self.rules.iter().map(|rule| chosen.contains(rule)).collect();
        if !wanted.contains(&true) {
            return Some(Vec::new());
        }
        let possible = |rule: &usize| score.lines.get(*rule).map_or(0, |line| i64::from(line.possible));
        let taking = |met: &[bool]| -> Vec<usize> {
            let met = self.rules.iter().zip(met).filter(|(rule, met)| **met && possible(rule) < 0);
            met.map(|(rule, _)| *rule).collect()
        };
        let fits = |met: &&Vec<bool>| met.iter().zip(&wanted).all(|(met, wanted)| *met || !wanted);
        let lost = self.values.iter().filter(fits).map(|met| taking(met));
        lost.max_by_key(|rules| rules.iter().map(possible).sum::<i64>())
    }
}

impl Unknown<'_> {
    /// The score if these rules are met; `None` when they exclude each other.
    fn judge(&self, chosen: &[usize]) -> Option<i64> {
        let mut met = chosen.to_vec();
        for field in &self.fields {
            met.extend(field.lost(self.score, chosen)?);
        }
        let points = |i: usize| self.score.lines.get(i).map_or(0, |line| if met.contains(&i) { line.possible } else { line.points });
        Some(i64::from(self.compiled.score_if(points)))
    }

    fn points(&self, rules: &[usize]) -> i64 {
        rules.iter().filter_map(|i| self.score.lines.get(*i)).map(|line| i64::from(line.possible)).sum()
    }

    /// Tries every combination, the smallest first; of equally good ones that with the fewest points, and then the one whose rules come first. If
    /// none reaches the goal, the one that brings the most.
    fn fewest(&self, candidates: &[usize], goal: i64) -> (i64, Vec<usize>) {
        let mut sets: Vec<u32> = (0..1_u32 << candidates.len().min(EXACT)).collect();
        sets.sort_by_key(|set| (set.count_ones(), Reverse(set.reverse_bits())));
        let mut best: Option<((i64, i64), Vec<usize>)> = None;
        let mut most: (i64, Vec<usize>) = (i64::MIN, Vec::new());
        for set in sets {
            if best.as_ref().is_some_and(|(_, chosen)| chosen.len() < set.count_ones() as usize) {
                break;
            }
            let chosen: Vec<usize> = candidates.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, rule)| *rule).collect();
            let Some(reached) = self.judge(&chosen) else { continue };
            let key = (reached, self.points(&chosen));
            if reached >= goal && best.as_ref().is_none_or(|(least, _)| key < *least) {
                best = Some((key, chosen.clone()));
            }
            let fewer_points = || chosen.len() == most.1.len() && key.1 < self.points(&most.1);
            if reached > most.0 || (reached == most.0 && fewer_points()) {
                most = (reached, chosen);
            }
        }
        best.map_or(most, |((reached, _), chosen)| (reached, chosen))
    }

    /// Takes the rules with the most points until they do, then leaves out what is not needed.
    fn largest_first(&self, candidates: &[usize], goal: i64) -> (i64, Vec<usize>) {
        let mut order = candidates.to_vec();
        order.sort_by_key(|rule| Reverse(self.points(&[*rule])));
        let mut chosen = Vec::new();
        let mut reached = i64::from(self.score.score);
        for rule in order {
            if reached >= goal {
                break;
            }
            chosen.push(rule);
            match self.judge(&chosen) {
                Some(more) if more > reached => reached = more,
                _ => drop(chosen.pop()),
            }
        }
        for rule in chosen.clone().into_iter().rev() {
            let without: Vec<usize> = chosen.iter().copied().filter(|other| *other != rule).collect();
            if let Some(still) = self.judge(&without).filter(|still| *still >= goal.min(reached)) {
                (reached, chosen) = (still, without);
            }
        }
        chosen.sort_unstable();
        (reached, chosen)
    }
}

/// The fields that waiting rules test alone, with values that each of the tests tells apart.
fn fields_of(rules: &AccountRuleset, score: &AccountScore, waiting: &[usize], as_of: Day) -> Vec<UnknownField> {
    let mut fields: BTreeMap<&FieldName, Vec<(usize, &Test)>> = BTreeMap::new();
    for i in waiting {
        if let Some(Condition::Test(test)) = rules.rules.get(*i).map(|rule| &rule.condition) {
            fields.entry(&test.field).or_default().push((*i, test));
        }
    }
    let field = |(name, tests): (&FieldName, Vec<(usize, &Test)>)| {
        let mut ruleset = rules.clone();
        ruleset.rules = tests.iter().filter_map(|(i, _)| rules.rules.get(*i).cloned()).collect();
        let compiled = ruleset.compile();
        // Of an interval the value lies in it.
        let known = tests.iter().filter_map(|(i, _)| score.lines.get(*i)).flat_map(|line| &line.fields);
        let interval = known.filter(|seen| seen.field == *name).find_map(|seen| match &seen.value {
            Some(FieldValue::Interval(interval)) => Some(*interval),
            _ => None,
        });
        let may_be = |value: &FieldValue| match (interval, value) {
            (None, _) => true,
            (Some(interval), FieldValue::Number(number)) => interval.contains(*number),
            (Some(_), _) => false,
        };
        let values = values_of(tests.iter().map(|(_, test)| &test.operation), interval, as_of).into_iter().filter(may_be);
        let met = values.map(|value| {
            let fields: BTreeMap<String, FieldValue> = [(name.to_string(), value)].into();
            let lines = compiled.evaluate(&fields, as_of.start()).lines.into_iter();
            lines.map(|line| matches!(line.outcome, Outcome::Matched | Outcome::Capped(_))).collect()
        });
        UnknownField { rules: tests.iter().map(|(i, _)| *i).collect(), values: met.collect() }
    };
    fields.into_iter().map(field).collect()
}

/// Values on both sides of everything that tests compare with.
fn values_of<'t>(operations: impl Iterator<Item = &'t Operation>, interval: Option<Interval>, as_of: Day) -> Vec<FieldValue> {
    let mut values = vec![FieldValue::Text("something else".to_owned()), FieldValue::Bool(true), FieldValue::Bool(false)];
    let (mut begins, mut holds) = (Vec::new(), Vec::new());
    let ordered = |values: &mut Vec<FieldValue>, bound: &Ordered| match bound {
        Ordered::Number(number) => values.extend([number.below(), *number, number.above()].map(FieldValue::Number)),
        Ordered::Moment(moment) => {
            let (start, end) = (moment.start(), moment.end());
            values.extend([start.plus_millis(-1), start, end, end.plus_millis(1)].map(FieldValue::Date));
        }
    };
    let scalar = |scalar: &Scalar| match scalar {
        Scalar::Text(text) => FieldValue::Text(text.clone()),
        Scalar::Number(number) => FieldValue::Number(*number),
        Scalar::Bool(truth) => FieldValue::Bool(*truth),
    };
    for operation in operations {
        match operation {
            Operation::Eq(value) | Operation::Neq(value) => values.push(scalar(value)),
            Operation::In(all) | Operation::NotIn(all) => values.extend(all.iter().take(VALUES).map(scalar)),
            Operation::Gt(bound) | Operation::Gte(bound) | Operation::Lt(bound) | Operation::Lte(bound) => ordered(&mut values, bound),
            Operation::Between(low, high) => [low, high].into_iter().for_each(|bound| ordered(&mut values, bound)),
            Operation::StartsWith(text) => begins.push(text),
            Operation::Contains(text) | Operation::NotContains(text) => holds.push(text),
            Operation::WithinDays(_) => values.push(FieldValue::Date(as_of.start())),
            Operation::Exists | Operation::NotExists => {}
        }
    }
    values.extend(interval.into_iter().flat_map(|interval| [interval.from(), interval.to()]).flatten().map(FieldValue::Number));
    let texts: Vec<String> = begins.iter().chain(&holds).map(|text| (*text).clone()).collect();
    let both = begins.iter().take(8).flat_map(|begin| holds.iter().take(8).map(move |held| format!("{begin}{held}")));
    values.extend(texts.into_iter().chain(both).map(FieldValue::Text));
    if let [_, _, ..] = holds.as_slice() {
        values.push(FieldValue::List(holds.iter().take(100).map(|text| (*text).clone()).collect()));
    }
    values.truncate(VALUES);
    values
}

// ----------------------------------------------------------------------------------------------------------------------- engagement

/// How engagement can reach a level.
#[derive(Debug, Default)]
pub(super) struct ByEvents {
    /// Alternatives of one rule each, the shortest first.
    pub ways: Vec<Way>,
    /// The fewest events found.
    pub shortest: Vec<Way>,
    pub reachable: bool,
    /// The best score that can be had, when there is a limit.
    pub most: Option<i64>,
    pub hints: Vec<String>,
}

/// The most points that one lead can have; `None` when there is no limit.
pub(super) fn possible_of_lead(engagement: &CompiledEngagement) -> Option<i64> {
    let of_rule = |rule: &EngagementRule| {
        let once = (rule.part.count == CountMode::OncePerLead).then(|| match rule.cap_per_day {
            0 => rule.points,
            cap => rule.points.min(cap),
        });
        let cap = (rule.cap > 0).then_some(rule.cap);
        [once, cap].into_iter().flatten().min()
    };
    let positive = engagement.ruleset.rules.iter().filter(|rule| rule.points > 0);
    let rules: Option<i64> = positive.map(of_rule).try_fold(0_i64, |sum, most| Some(sum.saturating_add(most?)));
    let cap = (engagement.ruleset.lead_cap > 0).then_some(engagement.ruleset.lead_cap);
    [rules, cap].into_iter().flatten().min()
}

/// The most points that an account can have; `None` when there is no limit.
pub(super) fn possible_of_account(engagement: &CompiledEngagement) -> Option<i64> {
    let lead = possible_of_lead(engagement)?;
    match engagement.ruleset.aggregation {
        _ if lead <= 0 => Some(0),
        Aggregation::Sum => None,
        Aggregation::Max => Some(lead),
        Aggregation::TopN { n } => Some(lead.saturating_mul(i64::from(n))),
        Aggregation::Diminishing { percent: 100.. } => None,
        Aggregation::Diminishing { .. } => {
            let mut sharing = Sharing::new(&engagement.ruleset.aggregation);
            let mut sum = 0_i64;
            // What is kept from lead to lead comes to nothing unless rounding holds it up.
            for _ in 0..2_000 {
                match sharing.next(lead.saturating_mul(1_000)) {
                    0 => return Some(shown(sum)),
                    share => sum = sum.saturating_add(share),
                }
            }
            None
        }
    }
}

/// Who may act on a way, and what has been added for that.
#[derive(Debug, Clone)]
struct Actor<'a> {
    engagement: &'a CompiledEngagement,
    who: Who,
    /// The place among the leads; `None` for a new one.
    place: Option<usize>,
    /// By rule: the points of all days but today, in thousandths, and how many events of today count.
    rules: BTreeMap<usize, (i64, u64)>,
    /// By rule: on which days events counted before.
    before: BTreeMap<usize, &'a PerDay>,
    as_of: Day,
}

impl<'a> Actor<'a> {
    fn new(engagement: &'a CompiledEngagement, who: Who, base: Option<(usize, &'a LeadBase)>, as_of: Day) -> Self {
        let mut actor =
            Self { engagement, who, place: base.map(|(place, _)| place), rules: BTreeMap::new(), before: BTreeMap::new(), as_of };
        for (i, days) in base.into_iter().flat_map(|(_, base)| &base.rules) {
            let Some(rule) = engagement.rule(*i) else { continue };
            let others = points_by_day(rule, days, as_of).filter(|(points, _)| points.day != as_of).map(|(points, _)| points.milli);
            let today = days.get(&as_of).copied().unwrap_or_default();
            actor.rules.insert(*i, (others.fold(0, i64::saturating_add), u64::from(today)));
            actor.before.insert(*i, days);
        }
        actor
    }

    /// The lead's points in thousandths when a rule counts so many times more today.
    fn milli_with(&self, rule: usize, more: u64) -> i64 {
        let untouched = (!self.rules.contains_key(&rule)).then_some((rule, (0, 0)));
        let rules = self.rules.iter().map(|(i, known)| (*i, *known)).chain(untouched);
        let sum = rules.map(|(i, (others, today))| {
            let today = today.saturating_add(if i == rule { more } else { 0 });
            self.of_rule(i, others, today)
        });
        self.engagement.lead_capped(sum.fold(0, i64::saturating_add))
    }

    fn of_rule(&self, i: usize, others: i64, today: u64) -> i64 {
        let Some(rule) = self.engagement.rule(i) else { return 0 };
        let days: PerDay = [(self.as_of, u32::try_from(today).unwrap_or(u32::MAX))].into_iter().filter(|(_, n)| *n > 0).collect();
        let of_today = points_by_day(rule, &days, self.as_of).map(|(points, _)| points.milli).fold(0, i64::saturating_add);
        rule_capped(rule.0, others.saturating_add(of_today))
    }

    /// How often a rule may still count today.
    fn room(&self, rule: usize) -> u64 {
        let Some((of, _)) = self.engagement.rule(rule) else { return 0 };
        let today = self.rules.get(&rule).map_or(0, |(_, today)| *today);
        let last = self.before.get(&rule).and_then(|days| days.keys().filter(|day| **day <= self.as_of).max());
        match &of.part.count {
            CountMode::Every | CountMode::OncePerSession | CountMode::OncePerKey { .. } | CountMode::OncePerKeyAndDay { .. } => TIMES,
            CountMode::OncePerDay => 1_u64.saturating_sub(today),
            CountMode::OncePerLead => u64::from(last.is_none() && today == 0),
            CountMode::OncePerHours { hours } => {
                let hours = i64::from(*hours).max(1);
                let waits = last.is_some_and(|last| *last < self.as_of && i64::from(self.as_of.since(*last)) * 24 < hours);
                if waits { 0 } else { u64::try_from(24 / hours).unwrap_or(1).max(1).saturating_sub(today) }
            }
        }
    }

    fn add(&mut self, rule: usize) {
        self.rules.entry(rule).or_default().1 += 1;
    }
}

/// What sums leads up: the whole account, or nothing.
#[derive(Debug)]
struct Scene<'a> {
    engagement: &'a CompiledEngagement,
    /// The best leads by their place, best first; `None` when one lead alone is looked at.
    best: Option<Vec<(usize, i64)>>,
    /// What the other leads add.
    rest: i64,
}

impl<'a> Scene<'a> {
    /// Of all leads. `milli` are their points and `total` what they come to.
    fn of_account(engagement: &'a CompiledEngagement, milli: &[i64], total: i64) -> Self {
        let mut best: Vec<(usize, i64)> = milli.iter().copied().enumerate().collect();
        best.sort_by_key(|(_, milli)| Reverse(*milli));
        best.truncate(BEST);
        let mut scene = Self { engagement, best: Some(best), rest: 0 };
        scene.rest = total.saturating_sub(scene.total(&[], (0, 0)));
        scene
    }

    /// What the account (or the one lead) has when these leads have these points, and so many new ones have `extra` each.
    fn total(&self, changed: &[(Option<usize>, i64)], extra: (i64, u64)) -> i64 {
        let Some(best) = &self.best else {
            return changed.iter().map(|(_, milli)| *milli).max().unwrap_or_default();
        };
        let (each, many) = extra;
        let now = |place: usize, milli: i64| changed.iter().find(|(of, _)| *of == Some(place)).map_or(milli, |(_, milli)| *milli);
        let mut all: Vec<i64> = best.iter().map(|(place, milli)| now(*place, *milli)).collect();
        all.extend(changed.iter().filter(|(place, _)| place.is_none()).map(|(_, milli)| *milli));
        let summed = self.engagement.ruleset.aggregation == Aggregation::Sum;
        let apart = if summed { 0 } else { usize::try_from(many).unwrap_or(BEST).min(BEST) };
        all.extend(std::iter::repeat_n(each, apart));
        all.sort_by_key(|milli| Reverse(*milli));
        let mut sharing = Sharing::new(&self.engagement.ruleset.aggregation);
        let named = all.into_iter().map(|milli| sharing.next(milli)).fold(self.rest, i64::saturating_add);
        let summed = if summed { each.saturating_mul(i64::try_from(many).unwrap_or(i64::MAX)) } else { 0 };
        named.saturating_add(summed)
    }
}

/// The rules that may help, those with the most points first.
fn helpful(engagement: &CompiledEngagement) -> Vec<usize> {
    let rules = &engagement.ruleset.rules;
    let mut helpful: Vec<usize> = (0..rules.len()).filter(|i| rules.get(*i).is_some_and(|rule| rule.points > 0)).collect();
    helpful.sort_by_key(|i| Reverse(rules.get(*i).map_or(0, |rule| rule.points)));
    helpful.truncate(RULES);
    helpful
}

/// The least number up to `most` that does, if the more does at least as well as the less.
fn least(most: u64, does: impl Fn(u64) -> bool) -> Option<u64> {
    if most == 0 || !does(most) {
        return None;
    }
    let (mut low, mut high) = (0, most);
    let mut step = 1;
    while low + step < high {
        if does(low + step) {
            high = low + step;
            break;
        }
        low += step;
        step = step.saturating_mul(2);
    }
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if does(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

fn event_way(engagement: &CompiledEngagement, rule: usize, times: u64, by: Who) -> Option<Way> {
    let (rule, _) = engagement.rule(rule)?;
    let times = i64::try_from(times).unwrap_or(i64::MAX);
    Some(Way { rule_id: rule.id.clone(), name: rule.name.clone(), points: rule.points, times, needs: Vec::new(), by: Some(by) })
}

/// One rule alone: how often it must count, for the known lead or the new ones where it takes fewest.
fn alternatives(scene: &Scene<'_>, actors: &[Actor<'_>], target: i64, as_of: Day) -> Vec<Way> {
    let engagement = scene.engagement;
    let fresh = Actor::new(engagement, Who::NewLeads {}, None, as_of);
    let mut ways = Vec::new();
    for rule in helpful(engagement) {
        let mut best: Option<(u64, Who)> = None;
        for actor in actors {
            let does = |times: u64| shown(scene.total(&[(actor.place, actor.milli_with(rule, times))], (0, 0))) >= target;
            if let Some(times) = least(actor.room(rule), does).filter(|times| best.as_ref().is_none_or(|(known, _)| times < known)) {
                best = Some((times, actor.who.clone()));
            }
        }
        if scene.best.is_some() {
            let each = fresh.milli_with(rule, 1);
            let does = |times: u64| shown(scene.total(&[], (each, times))) >= target;
            if let Some(times) = least(TIMES, does).filter(|times| best.as_ref().is_none_or(|(known, _)| times < known)) {
                let who = if times == 1 { Who::NewLead { number: 1 } } else { Who::NewLeads {} };
                best = Some((times, who));
            }
        }
        ways.extend(best.and_then(|(times, who)| event_way(engagement, rule, times, who)));
    }
    ways.sort_by(|a, b| a.times.cmp(&b.times).then(b.points.cmp(&a.points)));
    ways.truncate(WAYS);
    ways
}

/// Adds the event that brings the most, again and again; the last one is the one that brings the least beyond the level.
fn together(scene: &Scene<'_>, known: &[Actor<'_>], target: i64, as_of: Day) -> Option<Vec<Way>> {
    let engagement = scene.engagement;
    let rules = helpful(engagement);
    let mut actors: Vec<Actor<'_>> = known.to_vec();
    let mut points: Vec<i64> = actors.iter().map(|actor| actor.milli_with(usize::MAX, 0)).collect();
    let mut taken: Vec<(usize, usize, u64)> = Vec::new();
    let mut now = scene.total(&actors.iter().zip(&points).map(|(actor, milli)| (actor.place, *milli)).collect::<Vec<_>>(), (0, 0));
    for _ in 0..EVENTS {
        // Whoever is new stands at the end; nobody is new where one lead alone is looked at.
        let untouched = actors.iter().skip(known.len()).all(|actor| !actor.rules.is_empty());
        if scene.best.is_some() && untouched {
            let number = u32::try_from(actors.len() - known.len() + 1).unwrap_or(u32::MAX);
            actors.push(Actor::new(engagement, Who::NewLead { number }, None, as_of));
            points.push(0);
        }
        let mut best: Option<(bool, i64, usize, usize)> = None;
        for (place, actor) in actors.iter().enumerate() {
            for rule in rules.iter().copied().filter(|rule| actor.room(*rule) > 0) {
                let changed: Vec<_> = actors
                    .iter()
                    .zip(&points)
                    .enumerate()
                    .map(|(other, (of, milli))| (of.place, if other == place { actor.milli_with(rule, 1) } else { *milli }))
                    .collect();
                let total = scene.total(&changed, (0, 0));
                let reaches = shown(total) >= target;
                let better = best.is_none_or(|(reached, known, ..)| match (reached, reaches) {
                    (true, true) => total < known,
                    (false, false) => total > known,
                    (reached, _) => !reached,
                });
                if better {
                    best = Some((reaches, total, place, rule));
                }
            }
        }
        let (reaches, total, place, rule) = best.filter(|(_, total, ..)| *total > now)?;
        let actor = actors.get_mut(place)?;
        actor.add(rule);
        *points.get_mut(place)? = actor.milli_with(usize::MAX, 0);
        match taken.iter_mut().find(|(of, by, _)| (*of, *by) == (rule, place)) {
            Some((_, _, times)) => *times += 1,
            None => taken.push((rule, place, 1)),
        }
        now = total;
        if reaches {
            let way = |(rule, place, times): (usize, usize, u64)| event_way(engagement, rule, times, actors.get(place)?.who.clone());
            return Some(taken.into_iter().filter_map(way).collect());
        }
    }
    None
}

fn found(scene: &Scene<'_>, actors: &[Actor<'_>], target: i64, most: Option<i64>, as_of: Day) -> ByEvents {
    if most.is_some_and(|most| most < target) {
        return ByEvents { most, ..ByEvents::default() };
    }
    let ways = alternatives(scene, actors, target, as_of);
    let events = |ways: &[Way]| ways.iter().map(|way| way.times).fold(0, i64::saturating_add);
    let alone: Vec<Way> = ways.first().into_iter().cloned().collect();
    let shortest = match together(scene, actors, target, as_of) {
        Some(together) if alone.is_empty() || events(&together) < events(&alone) => together,
        _ => alone,
    };
    ByEvents { reachable: !shortest.is_empty(), shortest, ways, most, hints: Vec::new() }
}

fn is_full(engagement: &CompiledEngagement, milli: i64) -> bool {
    engagement.ruleset.lead_cap > 0 && milli >= engagement.lead_capped(i64::MAX)
}

/// How an account's engagement can reach a level. `bases` stand in the order of `leads`.
pub(super) fn of_account(
    engagement: &CompiledEngagement,
    leads: &[Lead<'_>],
    bases: &[LeadBase],
    total: i64,
    as_of: Day,
    target: i64,
) -> ByEvents {
    let (_, milli) = engagement.totals(bases, as_of);
    let scene = Scene::of_account(engagement, &milli, total);
    let people = scene.best.iter().flatten().filter(|(place, _)| bases.get(*place).is_some_and(|base| !base.is_account)).take(LEADS);
    let actor = |(place, _): &(usize, i64)| {
        let (lead, base) = (leads.get(*place)?, bases.get(*place)?);
        let who = Who::Lead { lead_id: format!("ld_{}", lead.id), label: lead.label() };
        Some(Actor::new(engagement, who, Some((*place, base)), as_of))
    };
    let actors: Vec<Actor<'_>> = people.clone().filter_map(actor).collect();
    let mut found = found(&scene, &actors, target, possible_of_account(engagement), as_of);
    if let Some((place, milli)) = people.clone().next()
        && is_full(engagement, *milli)
        && let Some(lead) = leads.get(*place)
    {
        let cap = engagement.ruleset.lead_cap;
        let rest = match engagement.ruleset.aggregation {
            Aggregation::Max | Aggregation::TopN { n: 0 | 1 } => "only the best lead counts",
            _ => "another person is needed",
        };
        found.hints.push(format!("{} is at the cap of {cap} points: {rest}", lead.label()));
    }
    found
}

/// How one lead can reach a level.
pub(super) fn of_lead(engagement: &CompiledEngagement, lead: &Lead<'_>, base: &LeadBase, as_of: Day, target: i64) -> ByEvents {
    let scene = Scene { engagement, best: None, rest: 0 };
    let who = Who::Lead { lead_id: format!("ld_{}", lead.id), label: lead.label() };
    let actor = Actor::new(engagement, who, Some((0, base)), as_of);
    let now = actor.milli_with(usize::MAX, 0);
    let mut found = found(&scene, &[actor], target, possible_of_lead(engagement), as_of);
    if is_full(engagement, now) {
        found.hints.push(format!("at the cap of {} points", engagement.ruleset.lead_cap));
    }
    found
}
