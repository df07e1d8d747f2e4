//! An account's scores and surge: a pure function of its states, its fields, the model and the day.

use crate::{
    Day, IdentityId, Timestamp,
    account_rules::AccountScore,
    decay::shown,
    field::FieldFacts,
    lead::Lead,
    model::Model,
    score::{Engagement, LeadBase},
    state::IdentityState,
    surge::{Earning, Surge},
};

/// How far ahead [`Evaluation::next_change`] looks. When nothing changes until then, the home is looked at again on that day.
pub const AHEAD_DAYS: i32 = 35;

/// What a home's scores follow from.
#[derive(Debug)]
pub struct Inputs<'s> {
    /// The account's own fields, its members' included.
    pub own: FieldFacts,
    /// The states of the home and of its members.
    pub states: Vec<(IdentityId, &'s IdentityState)>,
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
    giant: bool,
    bases: Vec<LeadBase>,
    earning: Earning,
}

impl<'s> Evaluation<'s> {
    /// Evaluates a home.
    pub fn new(model: &Model, inputs: Inputs<'s>, as_of: Day) -> Self {
        let (giant, leads) = (inputs.giant, inputs.leads());
        let mut fields = inputs.own;
        for (_, state) in &inputs.states {
            fields.merge_all(&state.facts.fields);
        }
        let bases: Vec<LeadBase> = leads.iter().map(|lead| model.engagement.base(lead)).collect();
        let first_day = leads.iter().filter_map(Lead::first_seen).min().map(Timestamp::day);
        let earning = model.engagement.earning(&bases, first_day);
        let account = model.account.evaluate(&fields, as_of.start());
        let engagement = model.engagement.engagement(&bases, as_of, giant);
        let surge = earning.surge(&model.document.surge, as_of);
        Self { as_of, leads, fields, account, engagement, surge, giant, bases, earning }
    }

    /// People, without the account itself.
    pub fn people(&self) -> impl Iterator<Item = &Lead<'s>> {
        self.leads.iter().filter(|lead| !lead.is_account)
    }

    /// The latest event.
    pub fn last_activity(&self) -> Option<Timestamp> {
        self.leads.iter().filter_map(Lead::last_seen).max()
    }

    /// Sum of the counts of fresh events.
    pub fn fresh(&self) -> u64 {
        self.leads.iter().flat_map(|lead| &lead.identities).map(|(_, state)| state.facts.fresh).sum()
    }

    /// The first day after `as_of` on which something shown is different although nothing happens (a score, a lead's level, surge), or the
    /// day up to which it was looked ahead. A giant home is looked at every day. `None` when nothing can change.
    pub fn next_change(&self, model: &Model) -> Option<Day> {
        if self.bases.iter().all(LeadBase::is_empty) && !model.account.depends_on_date() {
            return None;
        }
        if self.giant {
            return Some(self.as_of.plus(1));
        }
        let now = self.points_on(model, self.as_of);
        // What is cheaper to tell and changes more often is asked first.
        let changes = |day: &Day| {
            self.points_on(model, *day) != now
                || self.account_on(model, *day) != self.account.score
                || self.earning.surge(&model.document.surge, *day).active != self.surge.active
        };
        let ahead = self.as_of.plus(AHEAD_DAYS);
        Some((1..AHEAD_DAYS).map(|days| self.as_of.plus(days)).find(changes).unwrap_or(ahead))
    }

    fn points_on(&self, model: &Model, day: Day) -> Points {
        let (account, leads) = model.engagement.totals(&self.bases, day);
        let lead_levels = &model.document.lead_levels;
        let bounds = |milli: i64| Some((lead_levels.natural(shown(milli))?.min, lead_levels.kept(shown(milli))?.min));
        Points { account: shown(account), levels: leads.into_iter().map(bounds).collect() }
    }

    fn account_on(&self, model: &Model, day: Day) -> i32 {
        if model.account.depends_on_date() { model.account.tally(&self.fields, day.start()).score } else { self.account.score }
    }
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
    fn seen(model: &Model, states: &[IdentityState], day: Day) -> (i32, i64, bool, Vec<(IdentityId, (i64, i64))>) {
        let evaluation = Evaluation::new(model, inputs(states), day);
        let levels = &model.document.lead_levels;
        let bounds = |shown: i64| (levels.natural(shown).unwrap().min, levels.kept(shown).unwrap().min);
        let mut leads: Vec<_> = evaluation.engagement.leads.iter().map(|lead| (lead.lead, bounds(lead.shown()))).collect();
        leads.sort_unstable();
        (evaluation.account.score, evaluation.engagement.shown(), evaluation.surge.active, leads)
    }

    fn inputs(states: &[IdentityState]) -> Inputs<'_> {
        Inputs { own: FieldFacts::new(), states: states.iter().map(|state| (state.identity.id(), state)).collect(), giant: false }
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

    proptest! {
        #[test]
        fn the_next_change_is_the_first_day_on_which_an_evaluation_shows_something_else(
            leads in proptest::collection::vec(proptest::collection::vec((0_usize..7, 0_i32..400, 1_u32..8), 0..6), 0..4),
            aggregation in any_aggregation(),
            lead_cap in prop_oneof![Just(0_i64), Just(20), Just(100)],
        ) {
            let mut document = default_document().unwrap();
            (document.engagement.aggregation, document.engagement.lead_cap) = (aggregation, lead_cap);
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
