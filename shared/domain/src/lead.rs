//! Leads: people, each a set of identities, found among the states of one home.

use crate::{
    Day, IdentityId, IdentityKind, Timestamp,
    engagement::PartId,
    facts::{Evidence, Matched, Minutes, PerDay, Trait},
    mail::EmailAddress,
    shard::Shard,
    state::IdentityState,
};
use litemap::LiteMap;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

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

/// What a lead's identities count together. Mostly one identity has it all, and nothing is copied.
#[derive(Debug, Clone, Default)]
pub struct LeadCounts<'s> {
    /// Events by the set of parts that matched them.
    pub matched: Vec<Cow<'s, Matched>>,
    /// The earliest day of each key.
    pub keys: Cow<'s, LiteMap<PartId, LiteMap<u32, Day>>>,
    /// Minutes of events that count once in so many hours.
    pub minutes: Cow<'s, LiteMap<PartId, Minutes>>,
}

impl<'s> Lead<'s> {
    /// Finds the leads of a home. User ids with one personal e-mail address are one lead, an anonymous id belongs to the user
    /// id it is linked to; a role or shared mailbox unites nobody.
    pub fn group(states: &[(IdentityId, &'s IdentityState)]) -> Vec<Self> {
        let address: BTreeMap<IdentityId, String> =
            states.iter().filter_map(|(id, state)| Some((*id, personal_address(&state.facts.said)?))).collect();
        let mut groups: BTreeMap<UnitedBy<'_>, Vec<(IdentityId, &'s IdentityState)>> = BTreeMap::new();
        for (id, state) in states {
            // A linked anonymous id follows its user's address; an address of its own does not move it elsewhere.
            let founder = state.link.unwrap_or(*id);
            let key = match (state.identity.kind, address.get(&founder)) {
                (IdentityKind::Account, _) => UnitedBy::Account,
                (_, Some(address)) => UnitedBy::Address(address),
                (_, None) => UnitedBy::Founder(founder),
            };
            groups.entry(key).or_default().push((*id, state));
        }
        let mut leads: Vec<Self> = groups
            .into_iter()
            .filter_map(|(key, mut identities)| {
                identities.sort_by_key(|(id, state)| (state.identity.kind, state.facts.first_seen, *id));
                let (id, state) = *identities.first()?;
                let shard = Shard::of(state.identity.kind, id, state.link);
                Some(Self { id, is_account: key == UnitedBy::Account, shard, identities })
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
        if let [(_, only)] = self.identities.as_slice() {
            return only.facts.sessions.len();
        }
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
    pub fn counts(&self) -> LeadCounts<'s> {
        if let [(_, only)] = self.identities.as_slice()
            && barred_days(only).is_empty()
        {
            let facts = &only.facts;
            let matched = facts.matched.iter().map(Cow::Borrowed).collect();
            return LeadCounts { matched, keys: Cow::Borrowed(&facts.keys), minutes: Cow::Borrowed(&facts.minutes) };
        }
        let mut all: BTreeMap<&[PartId], PerDay> = BTreeMap::new();
        let (mut all_keys, mut all_minutes) = (LiteMap::<PartId, LiteMap<u32, Day>>::new(), LiteMap::<PartId, Minutes>::new());
        for (_, state) in &self.identities {
            let facts = &state.facts;
            let barred = barred_days(state);
            for matched in &facts.matched {
                let days = all.entry(&matched.parts).or_default();
                for (day, n) in matched.days.iter().filter(|(day, _)| !barred.contains(*day)) {
                    *days.entry(*day).or_default() += n;
                }
            }
            for (part, keys) in facts.keys.iter() {
                let known = all_keys.entry(*part).or_default();
                for (key, day) in keys.iter().filter(|(_, day)| !barred.contains(day)) {
                    let first = known.entry(*key).or_insert(*day);
                    *first = (*first).min(*day);
                }
            }
            for (part, minutes) in facts.minutes.iter() {
                let known = all_minutes.entry(*part).or_default();
                for minute in minutes.keys().filter(|minute| !barred.contains(&minute_day(**minute))) {
                    known.insert(*minute, ());
                }
            }
        }
        let matched = all.into_iter().map(|(parts, days)| Cow::Owned(Matched { parts: parts.to_vec(), days })).collect();
        LeadCounts { matched, keys: Cow::Owned(all_keys), minutes: Cow::Owned(all_minutes) }
    }
}

/// What makes identities one lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum UnitedBy<'a> {
    /// They stand for the account itself.
    Account,
    /// A personal e-mail address.
    Address(&'a str),
    /// A user id, or an anonymous id that is linked to none.
    Founder(IdentityId),
}

/// The UTC day of a minute since the epoch.
pub fn minute_day(minute: u32) -> Day {
    Day(i32::try_from(minute / 1440).unwrap_or_default())
}

/// The days on which an identity was over its daily limit.
pub(crate) fn barred_days(state: &IdentityState) -> BTreeSet<Day> {
    let facts = &state.facts;
    let limit = if state.identity.kind == IdentityKind::Anonymous { ANONYMOUS_DAILY_LIMIT } else { KNOWN_DAILY_LIMIT };
    if facts.count <= u64::from(limit) {
        return BTreeSet::new();
    }
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
