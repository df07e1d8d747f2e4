//! Giant homes: what the leads of a shard add up to, and what the shards add up to.
//!
//! A home with more than [`GIANT_IDENTITIES`] identities is evaluated in two steps. A [`ShardSum`] follows from the states of one
//! shard; [`Scores::combine`] follows from the sums. Both are pure functions, so that a sum that was stored and one that is
//! computed anew can't differ unless a state, the model or the day does.

use crate::{
    Day, IdentityId, Timestamp,
    account_rules::AccountScore,
    decay::shown,
    evaluate::{Evaluation, OtherScore, depends_on_date, in_force, other_accounts, other_engagement, stale},
    facts::PerDay,
    field::FieldFacts,
    lead::Lead,
    model::Model,
    score::{CompiledEngagement, LeadBase, LeadPoints, Sharing},
    state::IdentityState,
    surge::{Earning, SEEN_DAYS, Surge},
};
use serde::{Deserialize, Serialize};

/// A home with more identities than this is evaluated by shards, and stays so.
pub const GIANT_IDENTITIES: usize = 200;

#[cfg(feature = "mutants")]
mod chosen {
    use std::cell::Cell;

    thread_local! {
        static LIMIT: Cell<usize> = const { Cell::new(super::GIANT_IDENTITIES) };
    }

    /// Makes homes giant from other sizes on, for this thread: a simulated account is smaller than a giant one.
    pub fn choose_limit(identities: usize) {
        LIMIT.set(identities);
    }

    /// A home with more identities than this is evaluated by shards.
    pub fn limit() -> usize {
        LIMIT.get()
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{choose_limit, limit};

/// A home with more identities than this is evaluated by shards.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn limit() -> usize {
    GIANT_IDENTITIES
}

/// Reasons that a message shows.
const REASONS: usize = 3;

/// A lead with points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BestLead {
    /// The lead.
    pub lead: IdentityId,
    /// Its points, in thousandths.
    pub milli: i64,
    /// Whether it is the account itself.
    pub is_account: bool,
}

/// A reason for a score: the points in thousandths, and the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason(pub i64, pub String);

fn best_reasons(mut reasons: Vec<Reason>) -> Vec<Reason> {
    reasons.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    reasons.truncate(REASONS);
    reasons
}

/// What the states of one shard add up to on a day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardSum {
    /// Fields that leads state of their account.
    pub fields: FieldFacts,
    /// Leads, without the account itself.
    pub people: u32,
    /// Their distinct sessions.
    pub sessions: u32,
    /// Fresh events.
    pub fresh: u64,
    /// The day of the first event.
    pub first_day: Option<Day>,
    /// The latest event.
    pub last_activity: Option<Timestamp>,
    /// All leads' points, in thousandths.
    pub milli: i64,
    /// The best leads with points, best first, equal ones by id; at most as many as a shard keeps.
    pub best: Vec<BestLead>,
    /// Earning events of each of the [`SEEN_DAYS`] up to the day; nothing when there are none.
    pub earning: Vec<u32>,
    /// For each day of the surge rule's run, how many leads had earning events in its window; nothing when there are none.
    pub active: Vec<u32>,
    /// The best reasons.
    pub reasons: Vec<Reason>,
    /// The person with the lowest id, and what to call that person.
    pub first_person: Option<(IdentityId, String)>,
    /// Whether any score may change as days pass.
    pub moves: bool,
    /// For each engagement ruleset beside the primary one, in the order of the document: what its leads add up to, nothing while it is not in force.
    pub others: Vec<OtherSum>,
    /// How many states were counted by other rules than the model's.
    pub stale: u32,
}

/// What the leads of one shard have by an engagement ruleset beside the primary one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSum {
    /// All leads' points, in thousandths.
    pub milli: i64,
    /// The best leads' points, best first; at most as many as a shard keeps.
    pub best: Vec<i64>,
}

impl OtherSum {
    fn of(compiled: &CompiledEngagement, leads: &[Lead<'_>], as_of: Day) -> (Self, bool) {
        let bases: Vec<LeadBase> = leads.iter().map(|lead| compiled.base(lead)).collect();
        let (_, mut best) = compiled.totals(&bases, as_of);
        let milli = best.iter().copied().fold(0, i64::saturating_add);
        best.retain(|milli| *milli > 0);
        best.sort_unstable_by_key(|milli| std::cmp::Reverse(*milli));
        best.truncate(compiled.best_of_a_shard());
        (Self { milli, best }, !bases.iter().all(LeadBase::is_empty))
    }

    /// What the account has by the sums of all its shards.
    fn combined<'s>(compiled: &CompiledEngagement, sums: impl Iterator<Item = &'s Self>) -> i64 {
        let (mut all, mut best) = (0_i64, Vec::new());
        for sum in sums {
            all = all.saturating_add(sum.milli);
            best.extend_from_slice(&sum.best);
        }
        best.sort_unstable_by_key(|milli| std::cmp::Reverse(*milli));
        let mut sharing = Sharing::new(&compiled.ruleset.aggregation);
        let of_best = best.iter().copied().fold(0, i64::saturating_add);
        let named = best.into_iter().map(|milli| sharing.next(milli)).fold(0, i64::saturating_add);
        named.saturating_add(sharing.unnamed(all.saturating_sub(of_best)))
    }
}

impl ShardSum {
    /// Sums the states of one shard.
    pub fn of(model: &Model, states: &[(IdentityId, &IdentityState)], as_of: Day) -> Self {
        let mut sum = Self::default();
        for (_, state) in states {
            sum.fields.merge_all(&state.facts.fields);
            sum.fresh = sum.fresh.saturating_add(state.facts.fresh);
        }
        let leads = Lead::group(states);
        let bases: Vec<LeadBase> = leads.iter().map(|lead| model.engagement.base(lead)).collect();
        let mut points: Vec<LeadPoints> = bases.iter().map(|base| model.engagement.lead(base, as_of)).collect();
        points.sort_by(|a, b| b.milli.cmp(&a.milli).then(a.lead.cmp(&b.lead)));
        sum.milli = points.iter().map(|lead| lead.milli).fold(0, i64::saturating_add);
        sum.best = best_leads(&points).take(model.engagement.best_of_a_shard()).collect();
        sum.reasons = best_reasons(lead_reasons(model, &leads, &points));
        sum.moves = !bases.iter().all(LeadBase::is_empty);
        sum.others.resize(model.other_engagements.len(), OtherSum::default());
        for place in in_force(&model.document.other_engagements, as_of) {
            if let (Some(other), Some(compiled)) = (sum.others.get_mut(place), model.other_engagements.get(place)) {
                let (of, moves) = OtherSum::of(compiled, &leads, as_of);
                *other = of;
                sum.moves |= moves;
            }
        }
        sum.stale = stale(model, states.iter().map(|(_, state)| *state));
        sum.first_day = leads.iter().filter_map(Lead::first_seen).min().map(Timestamp::day);
        sum.last_activity = leads.iter().filter_map(Lead::last_seen).max();
        let earning = model.engagement.earning(&bases, sum.first_day);
        sum.earning = unless_zero(earning.seen(as_of));
        sum.active = unless_zero(earning.active(&model.document.surge, as_of));
        let people = || leads.iter().filter(|lead| !lead.is_account);
        sum.people = count(people().count());
        sum.sessions = count(people().map(Lead::sessions).sum());
        sum.first_person = people().next().map(|lead| (lead.id, lead.label()));
        sum
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn unless_zero(counts: Vec<u32>) -> Vec<u32> {
    if counts.iter().all(|n| *n == 0) { Vec::new() } else { counts }
}

fn best_leads(points: &[LeadPoints]) -> impl Iterator<Item = BestLead> {
    let with_points = points.iter().filter(|lead| lead.milli > 0);
    with_points.map(|lead| BestLead { lead: lead.lead, milli: lead.milli, is_account: lead.is_account })
}

/// The best reasons among what rules add to leads. Only those that can be among the best are put into words.
fn lead_reasons(model: &Model, leads: &[Lead<'_>], points: &[LeadPoints]) -> Vec<Reason> {
    let mut found: Vec<(i64, &LeadPoints, usize)> = Vec::new();
    for lead in points {
        found.extend(lead.rules.iter().filter(|rule| shown(rule.milli) > 0).map(|rule| (rule.milli, lead, rule.rule)));
    }
    found.sort_unstable_by_key(|(milli, ..)| std::cmp::Reverse(*milli));
    let least = found.get(REASONS - 1).map_or(i64::MIN, |(milli, ..)| *milli);
    let best = found.into_iter().take_while(|(milli, ..)| *milli >= least);
    best.map(|(milli, points, rule)| {
        let lead = leads.binary_search_by_key(&points.lead, |lead| lead.id).ok().and_then(|place| leads.get(place));
        let who = lead.filter(|lead| !lead.is_account).map(|lead| format!(" by {}", lead.label())).unwrap_or_default();
        let name = model.document.engagement.rules.get(rule).map(|rule| rule.name.as_str()).unwrap_or_default();
        Reason(milli, format!("{name}{who}: +{}", shown(milli)))
    })
    .collect()
}

fn account_reasons(account: &AccountScore) -> impl Iterator<Item = Reason> {
    let added = account.lines.iter().filter(|line| line.points > 0);
    added.map(|line| Reason(i64::from(line.points).saturating_mul(1000), format!("{}: +{}", line.name, line.points)))
}

/// What a home's score record says.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Every field with its sources.
    pub fields: FieldFacts,
    /// Fit.
    pub account: AccountScore,
    /// Engagement, in thousandths.
    pub engagement: i64,
    /// Surge.
    pub surge: Surge,
    /// Leads with points, best first, equal ones by id. Of a giant home the best of each shard.
    pub leads: Vec<BestLead>,
    /// Leads, without the account itself.
    pub people: u32,
    /// Their distinct sessions.
    pub sessions: u32,
    /// Fresh events.
    pub fresh: u64,
    /// The latest event.
    pub last_activity: Option<Timestamp>,
    /// What to call the first person.
    pub label: Option<String>,
    /// The best reasons, in words.
    pub reasons: Vec<String>,
    /// The day on which the home must be looked at although nothing happens.
    pub next_change: Option<Day>,
    /// The scores of the account rulesets beside the primary one that are in force.
    pub other_accounts: Vec<OtherScore>,
    /// The scores of the engagement rulesets beside the primary one that are in force.
    pub other_engagements: Vec<OtherScore>,
    /// How many states were counted by other rules than the model's.
    pub stale: u32,
}

impl Scores {
    /// From the evaluation of all states.
    pub fn of(model: &Model, evaluation: Evaluation<'_>) -> Self {
        let mut reasons = lead_reasons(model, &evaluation.leads, &evaluation.engagement.leads);
        reasons.extend(account_reasons(&evaluation.account));
        let label = evaluation.people().next().map(Lead::label);
        Self {
            engagement: evaluation.engagement.milli,
            surge: evaluation.surge,
            leads: best_leads(&evaluation.engagement.leads).collect(),
            people: count(evaluation.people().count()),
            sessions: count(evaluation.people().map(Lead::sessions).sum()),
            fresh: evaluation.fresh(),
            last_activity: evaluation.last_activity(),
            label,
            reasons: best_reasons(reasons).into_iter().map(|Reason(_, text)| text).collect(),
            next_change: evaluation.next_change(model),
            stale: evaluation.stale(model),
            other_accounts: evaluation.other_accounts,
            other_engagements: evaluation.other_engagements,
            account: evaluation.account,
            fields: evaluation.fields,
        }
    }

    /// From the sums of all shards of a giant home, each of them as of `as_of`. `own` are the account's own fields.
    pub fn combine<'s>(model: &Model, own: FieldFacts, sums: impl Iterator<Item = &'s ShardSum> + Clone, as_of: Day) -> Self {
        let mut fields = own.ordered(model.document.source_order);
        let mut earning = Earning { counted: Some((as_of, Vec::new())), ..Earning::default() };
        let mut events = PerDay::new();
        let mut active: Vec<u32> = Vec::new();
        let mut leads: Vec<BestLead> = Vec::new();
        let mut reasons: Vec<Reason> = Vec::new();
        for sum in sums.clone() {
            fields.merge_all(&sum.fields);
            for (days, n) in (1 - SEEN_DAYS..).zip(&sum.earning).filter(|(_, n)| **n > 0) {
                let known = events.entry(as_of.plus(days)).or_default();
                *known = known.saturating_add(*n);
            }
            active.resize(active.len().max(sum.active.len()), 0);
            active.iter_mut().zip(&sum.active).for_each(|(all, n)| *all = all.saturating_add(*n));
            leads.extend(&sum.best);
            reasons.extend(sum.reasons.iter().cloned());
        }
        earning.first_day = sums.clone().filter_map(|sum| sum.first_day).min();
        earning.events = events;
        earning.counted = Some((as_of, active));
        leads.sort_by(|a, b| b.milli.cmp(&a.milli).then(a.lead.cmp(&b.lead)));
        let mut sharing = Sharing::new(&model.engagement.ruleset.aggregation);
        let named = leads.iter().map(|lead| sharing.next(lead.milli)).fold(0, i64::saturating_add);
        let all = sums.clone().map(|sum| sum.milli).fold(0, i64::saturating_add);
        let of_leads = leads.iter().map(|lead| lead.milli).fold(0, i64::saturating_add);
        let engagement = named.saturating_add(sharing.unnamed(all.saturating_sub(of_leads)));
        let account = model.account.evaluate(&fields, as_of.start());
        reasons.extend(account_reasons(&account));
        let by_day = model.segments_depend_on_date() || model.owners_depend_on_date();
        let moves = by_day || sums.clone().any(|sum| sum.moves) || depends_on_date(model, as_of);
        let others = in_force(&model.document.other_engagements, as_of).filter_map(|place| {
            let milli = OtherSum::combined(model.other_engagements.get(place)?, sums.clone().filter_map(|sum| sum.others.get(place)));
            other_engagement(model, place, milli)
        });
        let first_person = sums.clone().filter_map(|sum| sum.first_person.as_ref()).min();
        let add = |part: fn(&ShardSum) -> u32| sums.clone().map(part).fold(0, u32::saturating_add);
        Self {
            engagement,
            surge: earning.surge(&model.document.surge, as_of),
            leads,
            people: add(|sum| sum.people),
            sessions: add(|sum| sum.sessions),
            fresh: sums.clone().map(|sum| sum.fresh).fold(0, u64::saturating_add),
            last_activity: sums.clone().filter_map(|sum| sum.last_activity).max(),
            label: first_person.map(|(_, label)| label.clone()),
            reasons: best_reasons(reasons).into_iter().map(|Reason(_, text)| text).collect(),
            // Looking ahead would take every lead's days: a giant home is looked at every day.
            next_change: [moves.then(|| as_of.plus(1)), model.next_boundary(as_of)].into_iter().flatten().min(),
            other_accounts: other_accounts(model, &fields, as_of),
            other_engagements: others.collect(),
            stale: add(|sum| sum.stale),
            account,
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Identity, Shard, Shards,
        engagement::Aggregation,
        evaluate::Inputs,
        facts::Matched,
        model::{Beside, default_document},
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TODAY: Day = Day(20_000);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_stands_beside_comes_to_the_same_from_sums_of_shards_as_from_all_states(
            leads in proptest::collection::vec(proptest::collection::vec((0_usize..7, 0_i32..60, 1_u32..4), 0..4), 0..120),
            aggregation in prop_oneof![
                Just(Aggregation::Sum),
                Just(Aggregation::Max),
                (1_u32..4).prop_map(|n| Aggregation::TopN { n }),
                (0_u32..=100).prop_map(|percent| Aggregation::Diminishing { percent }),
            ],
        ) {
            let mut document = default_document().unwrap();
            let mut beside = document.engagement.clone();
            (beside.aggregation, beside.lead_cap) = (aggregation, 30);
            let gone = Beside { ruleset: beside.clone(), starts_on: None, ends_on: Some(TODAY.plus(-1)) };
            document.other_engagements = vec![gone, Beside { ruleset: beside, starts_on: None, ends_on: None }];
            let model = Model::compile(document).unwrap();
            let parts: Vec<u32> = model.document.engagement.rules.iter().map(|rule| rule.part.id()).collect();
            let states: Vec<IdentityState> = leads.iter().enumerate().map(|(who, matched)| {
                let mut state = IdentityState::new(Identity::user(&who.to_string()), &model.matcher);
                let mut days: BTreeMap<u32, PerDay> = BTreeMap::new();
                for (rule, age, n) in matched {
                    *days.entry(parts[*rule]).or_default().entry(TODAY.plus(-age)).or_default() += n;
                }
                state.facts.matched = days.into_iter().map(|(part, days)| Matched { parts: vec![part], days }).collect();
                state.facts.parts = if who % 5 == 0 { 1 } else { state.facts.parts };
                state
            }).collect();
            let all: Vec<(IdentityId, &IdentityState)> = states.iter().map(|state| (state.identity.id(), state)).collect();
            let sums: Vec<ShardSum> = Shards::ALL.iter().map(|shard| {
                let of_shard: Vec<_> =
                    all.iter().copied().filter(|(id, state)| Shard::of(state.identity.kind, *id, state.link) == shard).collect();
                ShardSum::of(&model, &of_shard, TODAY)
            }).collect();
            let evaluation = Evaluation::new(&model, Inputs { own: FieldFacts::new(), states: all, stated: None, giant: true }, TODAY);
            let whole = Scores::of(&model, evaluation);
            let combined = Scores::combine(&model, FieldFacts::new(), sums.iter(), TODAY);
            prop_assert_eq!(whole.other_engagements.len(), 1);
            prop_assert_eq!(&combined.other_engagements, &whole.other_engagements);
            prop_assert_eq!((combined.stale, combined.engagement), (whole.stale, whole.engagement));
        }
    }
}
