//! What the events of one identity add up to: a fold that gives the same result in any order.
//!
//! Every part of it is a sum, a minimum or a maximum over distinct events, cut to the last 395 days. Which events are distinct
//! is decided elsewhere ([`crate::state`]).

use crate::{
    Channel, Day, Event, NamedAccount, Order, Timestamp,
    engagement::{Counted, EventView, Found, Matcher, Memory, PartId, Place, plain_text},
    event::CallKind,
    field::FieldFacts,
    hash64,
    mapping::AccountMapping,
};
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Nothing derived looks back further than this many days.
pub const LOOK_BACK_DAYS: i32 = 395;

/// A client's session id is trusted inside a stretch of this many days, so that an id used again years later is another session.
const SESSION_EPOCH_DAYS: i32 = 32;

/// The most sessions, keys of a part, and minutes of a part that are kept. Those with the smallest digests (the latest minutes) are, so that
/// the order of events does not matter. Nobody human comes near it.
const KEPT: usize = 4_000;

/// Minutes since the epoch, each once.
pub type Minutes = LiteMap<u32, ()>;

/// Counts per UTC day.
pub type PerDay = LiteMap<Day, u32>;

/// What is known of a person or of a lead's company from traits, each with the event that said it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trait {
    /// E-mail address.
    Email,
    /// Full name.
    Name,
    /// Given name.
    FirstName,
    /// Family name.
    LastName,
    /// Job title.
    Title,
    /// Department.
    Department,
    /// The company's website.
    Website,
    /// The company's name as the lead wrote it.
    Company,
}

impl Trait {
    const READ: [(Self, &'static [&'static str]); 8] = [
        (Self::Email, &["email", "emailAddress", "email_address"]),
        (Self::Name, &["name", "fullName", "full_name"]),
        (Self::FirstName, &["firstName", "first_name", "firstname"]),
        (Self::LastName, &["lastName", "last_name", "lastname"]),
        (Self::Title, &["title", "jobTitle", "job_title"]),
        (Self::Department, &["department"]),
        (Self::Website, &["website", "companyWebsite", "company_website"]),
        (Self::Company, &["company", "companyName", "company_name"]),
    ];
}

/// What an identity said about who it is and where it belongs: the latest statement of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The latest statement of each trait; `None` when it was cleared.
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: BTreeMap<Trait, (Order, Option<String>)>,
    /// The account that an event named last.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub named: Option<(Order, NamedAccount)>,
    /// The external id of an account that an event named last: its kind and value.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub external: Option<(Order, String, String)>,
}

impl Evidence {
    /// Takes in what somebody else says; the latest statement of each kind wins. Tells whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        if other.named.as_ref().map(|(order, _)| *order) > self.named.as_ref().map(|(order, _)| *order) {
            self.named.clone_from(&other.named);
            changed = true;
        }
        if other.external.as_ref().map(|(order, ..)| *order) > self.external.as_ref().map(|(order, ..)| *order) {
            self.external.clone_from(&other.external);
            changed = true;
        }
        for (which, stated) in &other.traits {
            if self.traits.get(which).is_none_or(|(known, _)| *known < stated.0) {
                self.traits.insert(*which, stated.clone());
                changed = true;
            }
        }
        changed
    }

    /// The latest value of a trait.
    pub fn stated(&self, which: Trait) -> Option<&str> {
        self.traits.get(&which)?.1.as_deref()
    }

    /// Whether it says something else than another, whenever either was said.
    pub fn differs(&self, other: &Self) -> bool {
        self.named.as_ref().map(|(_, named)| named) != other.named.as_ref().map(|(_, named)| named)
            || self.external.as_ref().map(|(_, kind, id)| (kind, id)) != other.external.as_ref().map(|(_, kind, id)| (kind, id))
            || self.traits.iter().map(|(which, (_, text))| (which, text)).ne(other.traits.iter().map(|(which, (_, text))| (which, text)))
    }
}

/// What one lead's identity did and said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The set of matching parts that the counts below were made with.
    pub parts: u64,
    /// Distinct events.
    pub count: u64,
    /// Distinct events that were at most a day old when they came.
    pub fresh: u64,
    /// The earliest event.
    pub first_seen: Option<Timestamp>,
    /// The latest event.
    pub last_seen: Option<Timestamp>,
    /// Activity per channel and day.
    pub channels: LiteMap<Channel, PerDay>,
    /// Events by the exact set of parts that matched them, per day.
    pub matched: Vec<Matched>,
    /// For parts that count once per something: the earliest day of each key.
    pub keys: LiteMap<PartId, LiteMap<u32, Day>>,
    /// For parts that count once in so many hours: the minutes (since the epoch) of all matching events.
    pub minutes: LiteMap<PartId, Minutes>,
    /// Distinct sessions with their earliest day.
    pub sessions: LiteMap<u32, Day>,
    /// What was said about who this is and where it belongs.
    pub said: Evidence,
    /// Fields of the lead's own account, from events that name no account.
    pub fields: FieldFacts,
}

/// Events that exactly these parts matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The parts, in order of their ids.
    pub parts: Vec<PartId>,
    /// How many on each day.
    pub days: PerDay,
}

/// Part of a session's key that is the half hour in which an event without a session id happened.
fn session_key(event: &Event, view: &mut EventView<'_>) -> u32 {
    // Most events state none: then no name even begins like it.
    let mut stated = |place: Place, paths: &[&str]| {
        let may = view.may_name(place, "session");
        paths.iter().filter(|_| may).find_map(|path| view.find(place, path)?.plain_text())
    };
    let stated = stated(Place::Context, &["sessionId", "session.id", "session_id"])
        .or_else(|| stated(Place::Properties, &["session_id", "sessionId"]));
    let hash = match stated {
        Some(id) => {
            let epoch = event.timestamp.day().0.div_euclid(SESSION_EPOCH_DAYS);
            hash64(&[b"id", id.as_bytes(), &epoch.to_le_bytes()])
        }
        None => hash64(&[b"half hour", &(event.timestamp.seconds().div_euclid(1800)).to_le_bytes()]),
    };
    // 24 bits: of two people in ten thousand with sixty sessions, one is counted a session short; every bit is stored for every session.
    (hash >> 40) as u32
}

fn earliest(map: &mut LiteMap<u32, Day>, key: u32, day: Day) {
    let known = map.entry(key).or_insert(day);
    *known = (*known).min(day);
}

impl Facts {
    /// Facts of no event, to be folded with this matcher.
    pub fn new(matcher: &Matcher) -> Self {
        Self { parts: matcher.digest(), ..Self::default() }
    }

    /// Adds events, which the caller knows to be distinct, and drops what is too old to be looked at.
    pub fn absorb_all<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>, matcher: &Matcher, mapping: &AccountMapping) {
        for event in events {
            self.absorb(event, matcher, mapping);
        }
        self.prune(matcher);
    }

    fn absorb(&mut self, event: &Event, matcher: &Matcher, mapping: &AccountMapping) {
        let mut view = EventView::new(event);
        self.count += 1;
        self.fresh += u64::from(event.is_fresh());
        let at = event.timestamp;
        self.first_seen = Some(self.first_seen.map_or(at, |known| known.min(at)));
        self.last_seen = Some(self.last_seen.map_or(at, |known| known.max(at)));
        self.absorb_statements(event, &mut view, mapping);
        self.absorb_activity(event, &mut view, matcher);
    }

    /// About how many bytes the facts take when they are stored in the form of `pipeline::state_body`. Only how much the window of
    /// counted ids may take hangs on it.
    pub fn stored_bytes(&self) -> usize {
        let series = self.channels.values().chain(self.matched.iter().map(|matched| &matched.days));
        let (days, counts) = series.fold((0, 0), |(days, counts), series| (days.max(series.len()), counts + series.len()));
        let sessions = self.sessions.len() * 4;
        let keys: usize =
            self.keys.values().map(|keys| if keys.len() * 2 > self.sessions.len() { keys.len() } else { keys.len() * 5 }).sum();
        let minutes: usize = self.minutes.values().map(|minutes| minutes.len() * 2).sum();
        let parts = (self.matched.len() + self.keys.len()) * 8;
        let text = |text: &Option<String>| 16 + text.as_ref().map_or(0, String::len);
        let said: usize =
            self.said.traits.values().map(|(_, stated)| text(stated)).sum::<usize>() + if self.said.named.is_some() { 40 } else { 0 };
        20 + days + counts + sessions + keys + minutes + parts + said + self.fields.len() * 40
    }

    /// The first day that still counts.
    fn horizon(&self) -> Day {
        self.last_seen.unwrap_or_default().day().plus(-LOOK_BACK_DAYS)
    }

    fn absorb_activity(&mut self, event: &Event, view: &mut EventView<'_>, matcher: &Matcher) {
        let day = event.timestamp.day();
        let name = event.folded_name();
        let stated = view.find(Place::Properties, "channel").and_then(Found::into_text);
        if let Some(channel) = Channel::of(event, &name, stated.as_deref()) {
            *self.channels.entry(channel).or_default().entry(day).or_default() += 1;
        }
        let session = session_key(event, view);
        if !matches!(event.kind, CallKind::AccountEvent) {
            earliest(&mut self.sessions, session, day);
        }
        let matches = matcher.matches(view, &name, session);
        if matches.is_empty() {
            return;
        }
        let parts = || matches.iter().map(|(part, _)| *part);
        let place = match self.matched.binary_search_by(|known| known.parts.iter().copied().cmp(parts())) {
            Ok(place) => place,
            Err(place) => {
                self.matched.insert(place, Matched { parts: parts().collect(), days: PerDay::new() });
                place
            }
        };
        if let Some(matched) = self.matched.get_mut(place) {
            *matched.days.entry(day).or_default() += 1;
        }
        for (part, counted) in matches {
            match counted {
                Counted::Day => {}
                Counted::Key(key) => earliest(self.keys.entry(part).or_default(), key, day),
                Counted::Minute => {
                    let minute = u32::try_from(event.timestamp.seconds().div_euclid(60)).unwrap_or_default();
                    self.minutes.entry(part).or_default().insert(minute, ());
                }
            }
        }
    }

    fn absorb_statements(&mut self, event: &Event, view: &mut EventView<'_>, mapping: &AccountMapping) {
        if let Some(account) = &event.account {
            let order = event.order();
            let later = self.said.named.as_ref().is_none_or(|(known, _)| *known < order);
            if later && event.kind != CallKind::AccountEvent {
                self.said.named = Some((order, account.clone()));
            }
        }
        if let Some((kind, id)) = external_account(view) {
            let order = event.order();
            if self.said.external.as_ref().is_none_or(|(known, _, _)| *known < order) {
                self.said.external = Some((order, kind, id));
            }
        }
        self.absorb_traits(event, view);
        // Fields of an account that the event names go to that account, not with the lead.
        if event.account.is_none() {
            for fact in field_facts(event, view, mapping) {
                self.fields.merge(&fact.field, fact.fact, fact.keep);
            }
        }
    }

    fn absorb_traits(&mut self, event: &Event, view: &mut EventView<'_>) {
        // A group call's traits describe the account; identify's describe the person. Other calls may carry the person's in
        // `context.traits`.
        let about: &[(Place, &str)] = match event.kind {
            CallKind::Identify => &[(Place::Traits, ""), (Place::Context, "traits.")],
            CallKind::AccountEvent => return,
            _ if view.may_name(Place::Context, "traits") => &[(Place::Context, "traits.")],
            _ => return,
        };
        let order = event.order();
        for (which, names) in Trait::READ {
            for name in names {
                let found = about.iter().find_map(|(place, above)| view.find_or_null(*place, &format!("{above}{name}")));
                let Some(found) = found else { continue };
                let text = found.plain_text().map(|text| text.chars().take(256).collect::<String>());
                if text.is_none() && !found.is_null() {
                    continue;
                }
                if self.said.traits.get(&which).is_none_or(|(known, _)| *known < order) {
                    self.said.traits.insert(which, (order, text));
                }
                break;
            }
        }
    }

    /// Drops what no one may look at any more. It depends only on the latest event, so that every order ends alike: days are
    /// dropped by themselves, sessions by the end of their epoch, and what counts once for ever is kept.
    fn prune(&mut self, matcher: &Matcher) {
        let horizon = self.horizon();
        let old_day = |days: &PerDay| days.first().is_some_and(|(day, _)| *day < horizon);
        if self.channels.values().any(old_day) {
            self.channels.iter_mut().for_each(|(_, days)| days.retain(|day, _| *day >= horizon));
            self.channels.retain(|_, days| !days.is_empty());
        }
        if self.matched.iter().any(|matched| old_day(&matched.days)) {
            for matched in &mut self.matched {
                matched.days.retain(|day, _| *day >= horizon);
            }
            self.matched.retain(|matched| !matched.days.is_empty());
        }
        let oldest_epoch = horizon.0.div_euclid(SESSION_EPOCH_DAYS);
        let epoch_is_old = |day: Day| day.0.div_euclid(SESSION_EPOCH_DAYS) < oldest_epoch;
        if self.first_seen.is_none_or(|first| epoch_is_old(first.day())) {
            self.sessions.retain(|_, day| !epoch_is_old(*day));
            for (part, keys) in self.keys.iter_mut() {
                match matcher.memory(*part) {
                    Memory::Forever => {}
                    Memory::Session => keys.retain(|_, day| !epoch_is_old(*day)),
                    Memory::Day => keys.retain(|_, day| *day >= horizon),
                }
            }
            self.keys.retain(|_, keys| !keys.is_empty());
        }
        let first_minute = u32::try_from(horizon.start().seconds().div_euclid(60)).unwrap_or_default();
        if self.minutes.values().any(|minutes| minutes.first().is_some_and(|(minute, ())| *minute < first_minute)) {
            self.minutes.iter_mut().for_each(|(_, minutes)| minutes.retain(|minute, ()| *minute >= first_minute));
            self.minutes.retain(|_, minutes| !minutes.is_empty());
        }
        keep_first(&mut self.sessions);
        self.keys.iter_mut().for_each(|(_, keys)| keep_first(keys));
        for (_, minutes) in self.minutes.iter_mut() {
            if minutes.len() > KEPT {
                let excess = minutes.len() - KEPT;
                let first_kept = minutes.get_indexed(excess).map_or(0, |(minute, ())| *minute);
                minutes.retain(|minute, ()| *minute >= first_kept);
            }
        }
    }
}

/// Keeps the smallest keys.
fn keep_first(keys: &mut LiteMap<u32, Day>) {
    if keys.len() > KEPT {
        let end = keys.get_indexed(KEPT).map_or(u32::MAX, |(key, _)| *key);
        keys.retain(|key, _| *key < end);
    }
}

/// An account's id in another system: `context.externalIds` with the collection `accounts`.
fn external_account(view: &mut EventView<'_>) -> Option<(String, String)> {
    let ids = view.find(Place::Context, "externalIds")?.into_value();
    ids.as_array()?.iter().find_map(|entry| {
        let text = |name: &str| entry.get(name).and_then(plain_text).filter(|text| text.len() <= 256);
        let collection = text("collection")?;
        if !matches!(collection.as_str(), "accounts" | "account" | "groups") {
            return None;
        }
        Some((text("type")?.to_lowercase(), text("id")?))
    })
}

/// A field that an event states.
#[derive(Debug, Clone, PartialEq)]
pub struct StatedField {
    /// Which field.
    pub field: crate::field::FieldName,
    /// What it says and when.
    pub fact: crate::field::FieldFact,
    /// Whether the latest or the first statement wins.
    pub keep: crate::field::Keep,
}

/// The fields that an event states, by the account mapping. Values that can't be read are left out here; ingest of fields reports them.
pub fn field_facts(event: &Event, view: &mut EventView<'_>, mapping: &AccountMapping) -> Vec<StatedField> {
    mapping
        .extract(view)
        .into_iter()
        .filter_map(|extracted| {
            let value = extracted.result.ok()?;
            Some(StatedField {
                field: extracted.field,
                fact: crate::field::FieldFact { value, at: event.timestamp, tie: event.id_hash(), source: extracted.source },
                keep: extracted.keep,
            })
        })
        .collect()
}
