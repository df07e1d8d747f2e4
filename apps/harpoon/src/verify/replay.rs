//! What an identity's parcels add up to when they are folded from nothing, and how that compares with its state.
//!
//! This does not use the fold that it checks: it keeps every message id of the identity and needs no window.

use domain::{
    AccountId, BatchId, Day, Event, Identity, IdentityId, IdentityKind, NamedBy, Order, Timestamp,
    engagement::EventView,
    facts::{Facts, field_facts},
    field::{FieldFacts, Keep},
    model::Model,
    state::RETRY_SPAN_MS,
};
use pipeline::parcels::StoredParcel;
use std::collections::{BTreeMap, HashMap};

/// The log of one identity, read from its beginning.
#[derive(Debug)]
pub(super) struct Replay<'m> {
    model: &'m Model,
    is_user: bool,
    counted: HashMap<u64, Timestamp>,
    /// What the events add up to.
    pub facts: Facts,
    /// How many parcels there are.
    pub parcels: u64,
    /// The newest one.
    pub newest: Option<BatchId>,
    /// The anonymous ids that a user's events name, with the earliest such event.
    pub named: BTreeMap<IdentityId, Order>,
    /// The fields that events state of accounts that they name, apart for account events, which may mean a web domain's owner.
    pub stated: BTreeMap<(AccountId, bool), FieldFacts>,
}

impl<'m> Replay<'m> {
    /// Of no parcel yet.
    pub fn new(kind: IdentityKind, model: &'m Model) -> Self {
        Self {
            model,
            is_user: kind == IdentityKind::User,
            counted: HashMap::new(),
            facts: Facts::new(&model.matcher),
            parcels: 0,
            newest: None,
            named: BTreeMap::new(),
            stated: BTreeMap::new(),
        }
    }

    /// Adds the next parcel; parcels come in the order of their batches. A message id that comes again within the time in which clients
    /// retry is the same event, and its earliest copy counts.
    pub fn add(&mut self, whose: Option<&Identity>, parcel: &StoredParcel) {
        self.parcels += 1;
        self.newest = Some(parcel.batch);
        let at = parcel.batch.at();
        let mut fresh: Vec<&Event> = Vec::with_capacity(parcel.events.len());
        for event in &parcel.events {
            let known = self.counted.get(&event.id_hash());
            if known.is_none_or(|known| at.millis_since(*known) > RETRY_SPAN_MS) {
                self.counted.insert(event.id_hash(), at);
                fresh.push(event);
            }
        }
        self.facts.absorb_all(fresh.iter().copied(), &self.model.matcher, &self.model.document.mapping);
        for event in &parcel.events {
            self.add_links(whose, event);
            self.add_fields(event);
        }
    }

    fn add_links(&mut self, whose: Option<&Identity>, event: &Event) {
        if !self.is_user {
            return;
        }
        for value in [event.anonymous_id.as_deref(), event.previous_id.as_deref()].into_iter().flatten() {
            let anonymous = Identity::anonymous(value);
            if anonymous.value.is_empty() || whose.is_some_and(|user| user.value == anonymous.value) {
                continue;
            }
            let order = event.order();
            let earliest = self.named.entry(anonymous.id()).or_insert(order);
            *earliest = (*earliest).min(order);
        }
    }

    fn add_fields(&mut self, event: &Event) {
        let Some(account) = &event.account else { return };
        for stated in field_facts(event, &mut EventView::new(event), &self.model.document.mapping) {
            let of = (account.id.clone(), account.by == NamedBy::AccountEvent);
            self.stated.entry(of).or_default().merge(&stated.field, stated.fact, stated.keep);
        }
    }
}

/// What may rightly differ between a state and the replay of its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    /// The log begins here: what a state knows from before then can't be replayed.
    pub log_begins: Timestamp,
    /// The mapping was published anew and not applied to what was stored before, so that fields may have been read as an earlier one said.
    pub other_mapping: bool,
}

/// In what a state differs from the replay of its log, in words; nothing when they agree.
pub(super) fn differences(stored: &Facts, replayed: &Facts, allowed: Allowed) -> Vec<&'static str> {
    if stored == replayed {
        return Vec::new();
    }
    let older = stored.first_seen.is_some_and(|first| first < allowed.log_begins) && stored.count > replayed.count;
    let (mut ours, mut theirs) = (stored.clone(), replayed.clone());
    if older {
        let since = allowed.log_begins.day().plus(1);
        forget(&mut ours, stored, replayed, since);
        forget(&mut theirs, stored, replayed, since);
    }
    let same_rules = stored.parts == replayed.parts;
    let fields_count = !allowed.other_mapping && !older;
    let checks = [
        ("events", ours.count == theirs.count),
        ("fresh events", ours.fresh == theirs.fresh),
        ("first seen", ours.first_seen == theirs.first_seen),
        ("last seen", ours.last_seen == theirs.last_seen),
        ("activity by channel", ours.channels == theirs.channels),
        ("sessions", ours.sessions == theirs.sessions),
        ("counts of rules", !same_rules || ours.matched == theirs.matched),
        ("keys of rules", !same_rules || ours.keys == theirs.keys),
        ("minutes of rules", !same_rules || ours.minutes == theirs.minutes),
        ("what was said", ours.said == theirs.said),
        ("fields", !fields_count || ours.fields == theirs.fields),
    ];
    checks.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
}

/// Leaves out whatever may come from parcels that the log does not hold any more.
fn forget(facts: &mut Facts, stored: &Facts, replayed: &Facts, since: Day) {
    (facts.count, facts.fresh, facts.first_seen) = (0, 0, None);
    facts.channels.iter_mut().for_each(|(_, days)| days.retain(|day, _| *day >= since));
    facts.channels.retain(|_, days| !days.is_empty());
    facts.matched.iter_mut().for_each(|matched| matched.days.retain(|day, _| *day >= since));
    facts.matched.retain(|matched| !matched.days.is_empty());
    let lately = |known: Option<&Day>| known.is_none_or(|day| *day >= since);
    facts.sessions.retain(|key, _| lately(stored.sessions.get(key)) && lately(replayed.sessions.get(key)));
    for (part, keys) in facts.keys.iter_mut() {
        let (ours, theirs) = (stored.keys.get(part), replayed.keys.get(part));
        keys.retain(|key, _| lately(ours.and_then(|keys| keys.get(key))) && lately(theirs.and_then(|keys| keys.get(key))));
    }
    facts.keys.retain(|_, keys| !keys.is_empty());
    let first = u32::try_from(since.start().seconds().div_euclid(60)).unwrap_or_default();
    facts.minutes.iter_mut().for_each(|(_, minutes)| minutes.retain(|minute, ()| *minute >= first));
    facts.minutes.retain(|_, minutes| !minutes.is_empty());
    let from = since.start();
    facts.last_seen = facts.last_seen.filter(|last| *last >= from);
    facts.said.traits.retain(|_, (order, _)| order.at >= from);
    facts.said.named = facts.said.named.take().filter(|(order, _)| order.at >= from);
    facts.said.external = facts.said.external.take().filter(|(order, ..)| order.at >= from);
}

/// Whether an account's own fields lack something that events state of it: merging it would change them.
pub(super) fn lacks(own: &FieldFacts, stated: &FieldFacts) -> bool {
    stated.names().any(|name| {
        stated.facts(name.as_str()).any(|(fact, keep)| {
            let known = own.facts(name.as_str()).find(|(known, kept)| known.source == fact.source && *kept == keep);
            known.is_none_or(|(known, _)| match keep {
                Keep::Latest => (known.at, known.tie) < (fact.at, fact.tie),
                Keep::First => (known.at, known.tie) > (fact.at, fact.tie),
            })
        })
    })
}
