//! An account's scores and surge: a pure function of its states, its fields, the model and the day.

use crate::{
    Day, IdentityId, Timestamp,
    account_rules::{AccountScore, CompiledAccountRuleset},
    decay::shown,
    field::{FieldFacts, FieldLookup},
    lead::Lead,
    level::LevelRuleset,
    model::{Beside, Model},
    score::{Engagement, LeadBase},
    segments::AccountFacts,
    state::IdentityState,
    surge::{Earning, Surge},
    trigger::LevelOf,
};
use serde::{Deserialize, Serialize};

/// What a ruleset beside the primary one gives while it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherScore {
    /// The ruleset's id.
    pub ruleset: String,
    /// The score, in whole points.
    pub score: i64,
    /// The most that it can give; absent when there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub possible: Option<i64>,
    /// How many of the fields that its rules use are known; 0 for a ruleset of events.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub known: u32,
    /// How many fields its rules use; 0 for a ruleset of events.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The places of the rulesets that are in force on a day.
pub(crate) fn in_force<R>(others: &[Beside<R>], day: Day) -> impl Iterator<Item = usize> {
    others.iter().enumerate().filter(move |(_, other)| other.is_in_force(day)).map(|(place, _)| place)
}

/// The scores of the account rulesets beside the primary one that are in force, in the order of the document.
pub fn other_accounts<L: FieldLookup + ?Sized>(model: &Model, fields: &L, day: Day) -> Vec<OtherScore> {
    let others = &model.document.other_accounts;
    let score = |place: usize| {
        let (other, compiled) = (others.get(place)?, model.other_accounts.get(place)?);
        let tally = compiled.tally(fields, day.start());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(OtherScore {
            ruleset: other.ruleset.id.clone(),
            score: i64::from(tally.score),
            possible: Some(i64::from(tally.possible)),
            known: count(tally.known),
            of: count(tally.of),
        })
    };
    in_force(others, day).filter_map(score).collect()
}

/// The score of the engagement ruleset at this place beside the primary one.
pub(crate) fn other_engagement(model: &Model, place: usize, milli: i64) -> Option<OtherScore> {
    let (other, compiled) = (model.document.other_engagements.get(place)?, model.other_engagements.get(place)?);
    let possible = crate::explain::possible_engagement(compiled);
    Some(OtherScore { ruleset: other.ruleset.id.clone(), score: shown(milli), possible, known: 0, of: 0 })
}

/// How far ahead [`Evaluation::next_change`] looks. When nothing changes until then, the home is looked at again on that day.
pub const AHEAD_DAYS: i32 = 35;

/// What a home's scores follow from.
#[derive(Debug)]
pub struct Inputs<'s> {
    /// The account's own fields, its members' included.
    pub own: FieldFacts,
    /// The states of the home and of its members.
    pub states: Vec<(IdentityId, &'s IdentityState)>,
    /// What people state of the account beside its fields; `None` for a lead without an account.
    pub stated: Option<AccountFacts>,
    /// Whether the home is evaluated by shards, because it has or had more than [`crate::giant::GIANT_IDENTITIES`] identities.
    pub giant: bool,
}

impl<'s> Inputs<'s> {
    /// The home's leads, by id; in a giant home identities are one lead only within a shard.
    pub fn leads(&self) -> Vec<Lead<'s>> {
        if self.giant { Lead::group_within_shards(&self.states) } else { Lead::group(&self.states) }
    }
}

/// A home as it stands on a day.
#[derive(Debug)]
pub struct Evaluation<'s> {
    /// The day.
    pub as_of: Day,
    /// Its leads, the account itself among them when there are events without a person.
    pub leads: Vec<Lead<'s>>,
    /// Every field with its sources.
    pub fields: FieldFacts,
    /// Fit.
    pub account: AccountScore,
    /// Engagement.
    pub engagement: Engagement,
    /// Surge.
    pub surge: Surge,
    /// The scores of the account rulesets beside the primary one that are in force.
    pub other_accounts: Vec<OtherScore>,
    /// The scores of the engagement rulesets beside the primary one that are in force.
    pub other_engagements: Vec<OtherScore>,
    /// What people state of the account beside its fields; `None` for a lead without an account.
    pub stated: Option<AccountFacts>,
    giant: bool,
    pub(crate) bases: Vec<LeadBase>,
    /// The leads' counts by each engagement ruleset beside the primary one that is in force, with its place.
    other_bases: Vec<(usize, Vec<LeadBase>)>,
    pub(crate) earning: Earning,
}

impl<'s> Evaluation<'s> {
    /// Evaluates a home.
    pub fn new(model: &Model, inputs: Inputs<'s>, as_of: Day) -> Self {
        let (giant, leads) = (inputs.giant, inputs.leads());
        let mut fields = inputs.own.ordered(model.document.source_order);
        for (_, state) in &inputs.states {
            fields.merge_all(&state.facts.fields);
        }
        let bases: Vec<LeadBase> = leads.iter().map(|lead| model.engagement.base(lead)).collect();
        let first_day = leads.iter().filter_map(Lead::first_seen).min().map(Timestamp::day);
        let earning = model.engagement.earning(&bases, first_day);
        let account = model.account.evaluate(&fields, as_of.start());
        let engagement = model.engagement.engagement(&bases, as_of, giant);
        let surge = earning.surge(&model.document.surge, as_of);
        let other_bases: Vec<(usize, Vec<LeadBase>)> = in_force(&model.document.other_engagements, as_of)
            .filter_map(|place| {
                Some((place, leads.iter().map(|lead| model.other_engagements.get(place).map(|of| of.base(lead))).collect::<Option<_>>()?))
            })
            .collect();
        let other_engagements = other_bases.iter().filter_map(|(place, bases)| {
            let milli = model.other_engagements.get(*place)?.engagement(bases, as_of, giant).milli;
            other_engagement(model, *place, milli)
        });
        Self {
            as_of,
            other_accounts: other_accounts(model, &fields, as_of),
            other_engagements: other_engagements.collect(),
            leads,
            fields,
            account,
            engagement,
            surge,
            stated: inputs.stated,
            giant,
            bases,
            other_bases,
            earning,
        }
    }

    /// Whether the home is evaluated by shards.
    pub const fn is_giant(&self) -> bool {
        self.giant
    }

    /// People, without the account itself.
    pub fn people(&self) -> impl Iterator<Item = &Lead<'s>> {
        self.leads.iter().filter(|lead| !lead.is_account)
    }

    /// The latest event.
    pub fn last_activity(&self) -> Option<Timestamp> {
        self.leads.iter().filter_map(Lead::last_seen).max()
    }

    /// How many states were counted by other rules than the model's.
    pub fn stale(&self, model: &Model) -> u32 {
        stale(model, self.leads.iter().flat_map(|lead| &lead.identities).map(|(_, state)| *state))
    }

    /// Sum of the counts of fresh events.
    pub fn fresh(&self) -> u64 {
        self.leads.iter().flat_map(|lead| &lead.identities).map(|(_, state)| state.facts.fresh).sum()
    }

    /// The first day after `as_of` on which something shown is different although nothing happens (a score, a lead's level, surge), or the
    /// day up to which it was looked ahead. A giant home is looked at every day. `None` when nothing can change.
    pub fn next_change(&self, model: &Model) -> Option<Day> {
        let segment = model.next_segment_change(&self.fields, self.stated.as_ref(), self.as_of);
        let owner = model.next_owner_change(&self.fields, self.stated.as_ref(), self.as_of);
        [self.next_own_change(model), model.next_boundary(self.as_of), segment, owner].into_iter().flatten().min()
    }

    /// The level ruleset that the home falls under.
    pub fn levels<'m>(&self, model: &'m Model, of: LevelOf) -> &'m LevelRuleset {
        model.levels_for(of, &self.fields, self.stated.as_ref(), self.as_of)
    }

    /// As [`Self::next_change`], as long as the same rulesets are in force.
    fn next_own_change(&self, model: &Model) -> Option<Day> {
        let counted = self.bases.iter().chain(self.other_bases.iter().flat_map(|(_, bases)| bases)).any(|base| !base.is_empty());
        let segments_move = self.giant && (model.segments_depend_on_date() || model.owners_depend_on_date());
        if !counted && !segments_move && !depends_on_date(model, self.as_of) {
            return None;
        }
        if self.giant {
            return Some(self.as_of.plus(1));
        }
        let (now, others) = (self.points_on(model, self.as_of), self.others_on(model, self.as_of));
        // What is cheaper to tell and changes more often is asked first.
        let changes = |day: &Day| {
            self.points_on(model, *day) != now
                || self.account_on(model, *day) != (self.account.score, self.account.disqualified_by.is_empty())
                || self.others_on(model, *day) != others
                || self.earning.surge(&model.document.surge, *day).active != self.surge.active
        };
        let ahead = self.as_of.plus(AHEAD_DAYS);
        Some((1..AHEAD_DAYS).map(|days| self.as_of.plus(days)).find(changes).unwrap_or(ahead))
    }

    fn points_on(&self, model: &Model, day: Day) -> Points {
        let (account, leads) = model.engagement.totals(&self.bases, day);
        // Who falls under another ruleset from some day on is looked at on that day.
        let lead_levels = self.levels(model, LevelOf::Lead);
        let bounds = |milli: i64| Some((lead_levels.natural(shown(milli))?.min, lead_levels.kept(shown(milli))?.min));
        Points { account: shown(account), levels: leads.into_iter().map(bounds).collect() }
    }

    /// The account score, and whether nothing disqualifies.
    fn account_on(&self, model: &Model, day: Day) -> (i32, bool) {
        if !model.account.depends_on_date() {
            return (self.account.score, self.account.disqualified_by.is_empty());
        }
        let tally = model.account.tally(&self.fields, day.start());
        (tally.score, !tally.disqualified)
    }

    /// The scores of what is in force beside the primary rulesets.
    fn others_on(&self, model: &Model, day: Day) -> (Vec<i32>, Vec<i64>) {
        let dated = in_force(&model.document.other_accounts, self.as_of)
            .filter_map(|place| model.other_accounts.get(place))
            .filter(|compiled| compiled.depends_on_date());
        let engagements = self.other_bases.iter().filter_map(|(place, bases)| {
            let (milli, _) = model.other_engagements.get(*place)?.totals(bases, day);
            Some(shown(milli))
        });
        (dated.map(|compiled| compiled.tally(&self.fields, day.start()).score).collect(), engagements.collect())
    }
}

/// Whether a score may change with the day although nothing happens.
pub(crate) fn depends_on_date(model: &Model, day: Day) -> bool {
    let mut others = in_force(&model.document.other_accounts, day).filter_map(|place| model.other_accounts.get(place));
    model.account.depends_on_date() || others.any(CompiledAccountRuleset::depends_on_date)
}

/// How many states were counted by other rules than the model's.
pub(crate) fn stale<'s>(model: &Model, states: impl Iterator<Item = &'s IdentityState>) -> u32 {
    let digest = model.matcher.digest();
    u32::try_from(states.filter(|state| state.facts.parts != digest).count()).unwrap_or(u32::MAX)
}

/// What people see of a home's engagement.
#[derive(Debug, PartialEq, Eq)]
struct Points {
    account: i64,
    /// For each lead the level that its score asks for, and the one that hysteresis would let it keep.
    levels: Vec<Option<(i64, i64)>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Identity,
        engagement::{Aggregation, PartId},
        facts::{Matched, PerDay},
        model::default_document,
    };
    use proptest::prelude::*;

    const TODAY: Day = Day(20_000);

    /// Everything that people see on a day, from whole evaluations.
    fn seen(model: &Model, states: &[IdentityState], day: Day) -> (i32, Vec<i64>, bool, Vec<(IdentityId, (i64, i64))>) {
        let evaluation = Evaluation::new(model, inputs(states), day);
        let levels = &model.document.lead_levels;
        let bounds = |shown: i64| (levels.natural(shown).unwrap().min, levels.kept(shown).unwrap().min);
        let mut leads: Vec<_> = evaluation.engagement.leads.iter().map(|lead| (lead.lead, bounds(lead.shown()))).collect();
        leads.sort_unstable();
        let others = evaluation.other_engagements.iter().map(|other| other.score);
        let engagement = std::iter::once(evaluation.engagement.shown()).chain(others).collect();
        (evaluation.account.score, engagement, evaluation.surge.active, leads)
    }

    fn inputs(states: &[IdentityState]) -> Inputs<'_> {
        Inputs {
            own: FieldFacts::new(),
            states: states.iter().map(|state| (state.identity.id(), state)).collect(),
            stated: None,
            giant: false,
        }
    }

    fn state(model: &Model, who: usize, matched: &[(usize, i32, u32)]) -> IdentityState {
        let mut state = IdentityState::new(Identity::user(&who.to_string()), &model.matcher);
        let parts: Vec<PartId> = model.engagement.ruleset.rules.iter().map(|rule| rule.part.id()).collect();
        let mut days: std::collections::BTreeMap<PartId, PerDay> = std::collections::BTreeMap::new();
        for (rule, age, n) in matched {
            let (part, day) = (parts[rule % parts.len()], TODAY.plus(-age));
            *days.entry(part).or_default().entry(day).or_default() += n;
            state.facts.keys.entry(part).or_default().insert(*n, day);
            state.facts.minutes.entry(part).or_default().insert(u32::try_from(day.0 * 1440).unwrap(), ());
            state.facts.first_seen = state.facts.first_seen.min(Some(day.start())).or(Some(day.start()));
            state.facts.last_seen = state.facts.last_seen.max(Some(day.start()));
        }
        state.facts.matched = days.into_iter().map(|(part, days)| Matched { parts: vec![part], days }).collect();
        state
    }

    fn any_aggregation() -> impl Strategy<Value = Aggregation> {
        prop_oneof![
            Just(Aggregation::Sum),
            Just(Aggregation::Max),
            (1_u32..3).prop_map(|n| Aggregation::TopN { n }),
            (0_u32..=100).prop_map(|percent| Aggregation::Diminishing { percent }),
        ]
    }

    #[test]
    fn a_ruleset_that_begins_or_ends_is_the_next_change_though_nothing_else_moves() {
        let mut document = default_document().unwrap();
        let beside = |starts: i32, ends: i32| Beside {
            ruleset: document.account.clone(),
            starts_on: Some(TODAY.plus(starts)),
            ends_on: Some(TODAY.plus(ends)),
        };
        document.other_accounts = vec![beside(3, 9), beside(-5, 70)];
        let model = Model::compile(document).unwrap();
        let next = |day: Day| Evaluation::new(&model, inputs(&[]), day).next_change(&model);
        assert_eq!(
            (next(TODAY), next(TODAY.plus(3)), next(TODAY.plus(10))),
            (Some(TODAY.plus(3)), Some(TODAY.plus(10)), Some(TODAY.plus(71)))
        );
        assert_eq!(next(TODAY.plus(71)), None);
        let scores = |day: Day| Evaluation::new(&model, inputs(&[]), day).other_accounts.len();
        assert_eq!((scores(TODAY), scores(TODAY.plus(3)), scores(TODAY.plus(9)), scores(TODAY.plus(10))), (1, 2, 2, 1));
    }

    proptest! {
        #[test]
        fn the_next_change_is_the_first_day_on_which_an_evaluation_shows_something_else(
            leads in proptest::collection::vec(proptest::collection::vec((0_usize..7, 0_i32..400, 1_u32..8), 0..6), 0..4),
            aggregation in any_aggregation(),
            lead_cap in prop_oneof![Just(0_i64), Just(20), Just(100)],
        ) {
            let mut document = default_document().unwrap();
            (document.engagement.aggregation, document.engagement.lead_cap) = (aggregation.clone(), lead_cap);
            // One that fades differently stands beside.
            let mut beside = document.engagement.clone();
            (beside.aggregation, beside.lead_cap) = (aggregation, 60);
            beside.rules.iter_mut().for_each(|rule| rule.decay = crate::decay::Decay::Linear { days: 9 });
            document.other_engagements = vec![Beside { ruleset: beside, starts_on: None, ends_on: None }];
            let model = Model::compile(document).unwrap();
            let states: Vec<IdentityState> = leads.iter().enumerate().map(|(who, matched)| state(&model, who, matched)).collect();
            let now = seen(&model, &states, TODAY);
            let first = (1..AHEAD_DAYS).map(|days| TODAY.plus(days)).find(|day| seen(&model, &states, *day) != now);
            let counted = leads.iter().any(|matched| !matched.is_empty());
            let expected = if counted || model.account.depends_on_date() { Some(first.unwrap_or(TODAY.plus(AHEAD_DAYS))) } else { None };
            prop_assert_eq!(Evaluation::new(&model, inputs(&states), TODAY).next_change(&model), expected);
        }
    }
}
