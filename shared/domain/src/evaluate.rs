//! An account's scores and surge: a pure function of its states, its fields, the model and the day.

use crate::{
    Day, IdentityId, Timestamp,
    account_rules::AccountScore,
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
        let now = self.shown_on(model, self.as_of, &self.engagement);
        let changes = |day: &Day| self.shown_on(model, *day, &model.engagement.engagement(&self.bases, *day, false)) != now;
        let ahead = self.as_of.plus(AHEAD_DAYS);
        Some((1..AHEAD_DAYS).map(|days| self.as_of.plus(days)).find(changes).unwrap_or(ahead))
    }

    fn shown_on(&self, model: &Model, day: Day, engagement: &Engagement) -> Shown {
        // The level that a lead's score asks for, and the one that hysteresis would let it keep.
        let lead_levels = &model.document.lead_levels;
        let bounds = |shown: i64| Some((lead_levels.natural(shown)?.min, lead_levels.kept(shown)?.min));
        let mut levels: Vec<(IdentityId, (i64, i64))> =
            engagement.leads.iter().filter_map(|lead| Some((lead.lead, bounds(lead.shown())?))).collect();
        levels.sort_unstable();
        Shown {
            account: if day == self.as_of {
                self.account.score
            } else if model.account.depends_on_date() {
                model.account.evaluate(&self.fields, day.start()).score
            } else {
                self.account.score
            },
            engagement: engagement.shown(),
            surge: self.earning.surge(&model.document.surge, day).active,
            levels,
        }
    }
}

/// What people see of a home.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    account: i32,
    engagement: i64,
    surge: bool,
    levels: Vec<(IdentityId, (i64, i64))>,
}
