//! Leads: people, each a set of identities, found among the states of one home.

use crate::{
    Day, IdentityId, IdentityKind, Timestamp,
    engagement::PartId,
    facts::{Evidence, Facts, Minutes, PerDay, Trait},
    mail::EmailAddress,
    shard::Shard,
    state::IdentityState,
};
use litemap::LiteMap;
use std::collections::{BTreeMap, BTreeSet};

/// An anonymous identity with more activity than this on a UTC day is taken for a machine: the day scores nothing.
pub const ANONYMOUS_DAILY_LIMIT: u32 = 2_000;
/// The same for a known person or an account.
pub const KNOWN_DAILY_LIMIT: u32 = 20_000;

/// One person of a home, or the account itself for events without a person.
#[derive(Debug, Clone)]
pub struct Lead<'s> {
    /// The identity that founded it: the earliest user id, else the earliest anonymous id.
    pub id: IdentityId,
    /// Whether this is the account itself.
    pub is_account: bool,
    /// The shard of its first identity; in a giant home that of all of them.
    pub shard: Shard,
    /// Its identities, the founder first.
    pub identities: Vec<(IdentityId, &'s IdentityState)>,
}

/// What a lead's identities count together.
#[derive(Debug, Clone, Default)]
pub struct LeadCounts {
    /// Events by the set of parts that matched them.
    pub matched: BTreeMap<Vec<PartId>, PerDay>,
    /// The earliest day of each key.
    pub keys: LiteMap<PartId, LiteMap<u32, Day>>,
    /// Minutes of events that count once in so many hours.
    pub minutes: LiteMap<PartId, Minutes>,
}

impl<'s> Lead<'s> {
    /// Finds the leads of a home. User ids with one personal e-mail address are one lead, an anonymous id belongs to the user
    /// id it is linked to; a role or shared mailbox unites nobody.
    pub fn group(states: &[(IdentityId, &'s IdentityState)]) -> Vec<Self> {
        let address: BTreeMap<IdentityId, Option<String>> =
            states.iter().map(|(id, state)| (*id, personal_address(&state.facts.said))).collect();
        let mut groups: BTreeMap<String, Vec<(IdentityId, &'s IdentityState)>> = BTreeMap::new();
        for (id, state) in states {
            // A linked anonymous id follows its user's address; an address of its own does not move it elsewhere.
            let founder = state.link.unwrap_or(*id);
            let key = match (state.identity.kind, address.get(&founder).cloned().flatten()) {
                (IdentityKind::Account, _) => "account".to_owned(),
                (_, Some(address)) => format!("address {address}"),
                (_, None) => format!("identity {founder}"),
            };
            groups.entry(key).or_default().push((*id, state));
        }
        let mut leads: Vec<Self> = groups
            .into_iter()
            .filter_map(|(key, mut identities)| {
                identities.sort_by_key(|(id, state)| (state.identity.kind, state.facts.first_seen, *id));
                let (id, state) = *identities.first()?;
                let shard = Shard::of(state.identity.kind, id, state.link);
                Some(Self { id, is_account: key == "account", shard, identities })
            })
            .collect();
        leads.sort_by_key(|lead| lead.id);
        leads
    }

    /// Finds the leads of a giant home: as [`Self::group`], but in each shard by itself, so that no shard has to be read for another. User ids with
    /// one address are one lead only where they lie in one shard.
    pub fn group_within_shards(states: &[(IdentityId, &'s IdentityState)]) -> Vec<Self> {
        let mut shards: BTreeMap<Shard, Vec<(IdentityId, &'s IdentityState)>> = BTreeMap::new();
        for (id, state) in states {
            shards.entry(Shard::of(state.identity.kind, *id, state.link)).or_default().push((*id, state));
        }
        let mut leads: Vec<Self> = shards.values().flat_map(|states| Self::group(states)).collect();
        leads.sort_by_key(|lead| lead.id);
        leads
    }

    /// The latest event of any of its identities.
    pub fn last_seen(&self) -> Option<Timestamp> {
        self.identities.iter().filter_map(|(_, state)| state.facts.last_seen).max()
    }

    /// The earliest event of any of its identities.
    pub fn first_seen(&self) -> Option<Timestamp> {
        self.identities.iter().filter_map(|(_, state)| state.facts.first_seen).min()
    }

    /// Distinct events of all identities.
    pub fn events(&self) -> u64 {
        self.identities.iter().map(|(_, state)| state.facts.count).sum()
    }

    /// Distinct sessions of all identities.
    pub fn sessions(&self) -> usize {
        let sessions: BTreeSet<u32> = self.identities.iter().flat_map(|(_, state)| state.facts.sessions.keys().copied()).collect();
        sessions.len()
    }

    /// The latest statement of a trait by any of its identities.
    pub fn stated(&self, which: Trait) -> Option<&'s str> {
        let latest = self.identities.iter().filter_map(|(_, state)| state.facts.said.traits.get(&which)).max_by_key(|(order, _)| *order);
        latest?.1.as_deref()
    }

    /// A name to show: the full name, else given and family name.
    pub fn name(&self) -> Option<String> {
        if let Some(name) = self.stated(Trait::Name) {
            return Some(name.to_owned());
        }
        let parts: Vec<&str> = [self.stated(Trait::FirstName), self.stated(Trait::LastName)].into_iter().flatten().collect();
        if parts.is_empty() { None } else { Some(parts.join(" ")) }
    }

    /// What to call it in a sentence: the name, else the address, else the id that the client gave it.
    pub fn label(&self) -> String {
        self.name()
            .or_else(|| self.stated(Trait::Email).map(str::to_owned))
            .or_else(|| self.identities.first().map(|(_, state)| state.identity.value.clone()))
            .unwrap_or_default()
    }

    /// What its identities count together. Days on which an identity was over its daily limit are left out as a whole.
    pub fn counts(&self) -> LeadCounts {
        let mut counts = LeadCounts::default();
        for (_, state) in &self.identities {
            let facts = &state.facts;
            let limit = if state.identity.kind == IdentityKind::Anonymous { ANONYMOUS_DAILY_LIMIT } else { KNOWN_DAILY_LIMIT };
            let barred = barred_days(facts, limit);
            for matched in &facts.matched {
                let days = counts.matched.entry(matched.parts.clone()).or_default();
                for (day, n) in matched.days.iter().filter(|(day, _)| !barred.contains(*day)) {
                    *days.entry(*day).or_default() += n;
                }
            }
            for (part, keys) in facts.keys.iter() {
                let known = counts.keys.entry(*part).or_default();
                for (key, day) in keys.iter().filter(|(_, day)| !barred.contains(day)) {
                    let first = known.entry(*key).or_insert(*day);
                    *first = (*first).min(*day);
                }
            }
            for (part, minutes) in facts.minutes.iter() {
                let known = counts.minutes.entry(*part).or_default();
                for minute in minutes.keys().filter(|minute| !barred.contains(&minute_day(**minute))) {
                    known.insert(*minute, ());
                }
            }
        }
        counts
    }
}

/// The UTC day of a minute since the epoch.
pub fn minute_day(minute: u32) -> Day {
    Day(i32::try_from(minute / 1440).unwrap_or_default())
}

fn barred_days(facts: &Facts, limit: u32) -> BTreeSet<Day> {
    let mut totals = PerDay::new();
    for days in facts.channels.values() {
        for (day, n) in days.iter() {
            *totals.entry(*day).or_default() += n;
        }
    }
    totals.into_iter().filter(|(_, n)| *n > limit).map(|(day, _)| day).collect()
}

/// The e-mail address by which a person is known, unless it is a role or shared mailbox.
pub fn personal_address(said: &Evidence) -> Option<String> {
    let address = EmailAddress::new(said.stated(Trait::Email)?).ok()?;
    if address.is_role() { None } else { Some(address.as_str().to_lowercase()) }
}
