//! What the events of one identity add up to: a fold that gives the same result in any order.
//!
//! Every part of it is a sum, a minimum or a maximum over distinct events, cut to the last 395 days. Which events are distinct
//! is decided elsewhere ([`crate::state`]).

use crate::{
    Channel, Day, Event, NamedAccount, Order, Timestamp,
    engagement::{Counted, EventView, Matcher, Memory, PartId, plain_text},
    event::CallKind,
    field::FieldFacts,
    hash64,
    mapping::AccountMapping,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Nothing derived looks back further than this many days.
pub const LOOK_BACK_DAYS: i32 = 395;

/// A client's session id is trusted inside a stretch of this many days, so that an id used again years later is another session.
const SESSION_EPOCH_DAYS: i32 = 32;

/// The most sessions, keys of a part, and minutes of a part that are kept. Those with the smallest digests (the latest minutes) are, so that
/// the order of events does not matter. Nobody human comes near it.
const KEPT: usize = 4_000;

/// Counts per UTC day.
pub type PerDay = BTreeMap<Day, u32>;

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

/// What one lead's identity did and said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The set of matching parts that the counts below were made with.
    #[serde(rename = "p")]
    pub parts: u64,
    /// Distinct events.
    #[serde(rename = "n")]
    pub count: u64,
    /// Distinct events that were at most a day old when they came.
    #[serde(rename = "f")]
    pub fresh: u64,
    /// The earliest event.
    #[serde(rename = "a")]
    pub first_seen: Option<Timestamp>,
    /// The latest event.
    #[serde(rename = "z")]
    pub last_seen: Option<Timestamp>,
    /// Activity per channel and day.
    #[serde(rename = "c", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<Channel, PerDay>,
    /// Events by the exact set of parts that matched them, per day.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<Matched>,
    /// For parts that count once per something: the earliest day of each key.
    #[serde(rename = "k", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<PartId, BTreeMap<u32, Day>>,
    /// For parts that count once in so many hours: the minutes (since the epoch) of all matching events.
    #[serde(rename = "t", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub minutes: BTreeMap<PartId, BTreeSet<u32>>,
    /// Distinct sessions with their earliest day.
    #[serde(rename = "s", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sessions: BTreeMap<u32, Day>,
    /// The latest statement of each trait; `None` when it was cleared.
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: BTreeMap<Trait, (Order, Option<String>)>,
    /// The account that an event named last.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub named: Option<(Order, NamedAccount)>,
    /// The external id of an account that an event named last: its kind and value.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub external: Option<(Order, String, String)>,
    /// Fields of the lead's own account, from events that name no account.
    #[serde(rename = "o", default, skip_serializing_if = "FieldFacts::is_empty")]
    pub fields: FieldFacts,
}

/// Events that exactly these parts matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// The parts, in order of their ids.
    #[serde(rename = "p")]
    pub parts: Vec<PartId>,
    /// How many on each day.
    #[serde(rename = "d")]
    pub days: PerDay,
}

/// Part of a session's key that is the half hour in which an event without a session id happened.
fn session_key(event: &Event, view: &mut EventView<'_>) -> u32 {
    let stated = ["context.sessionId", "context.session.id", "context.session_id", "properties.session_id", "properties.sessionId"]
        .iter()
        .find_map(|path| plain_text(&view.value(path)?));
    let hash = match stated {
        Some(id) => {
            let epoch = event.timestamp.day().0.div_euclid(SESSION_EPOCH_DAYS);
            hash64(&[b"id", id.as_bytes(), &epoch.to_le_bytes()])
        }
        None => hash64(&[b"half hour", &(event.timestamp.seconds().div_euclid(1800)).to_le_bytes()]),
    };
    (hash >> 32) as u32
}

fn earliest(map: &mut BTreeMap<u32, Day>, key: u32, day: Day) {
    map.entry(key).and_modify(|known| *known = (*known).min(day)).or_insert(day);
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

    /// The first day that still counts.
    fn horizon(&self) -> Day {
        self.last_seen.unwrap_or_default().day().plus(-LOOK_BACK_DAYS)
    }

    fn absorb_activity(&mut self, event: &Event, view: &mut EventView<'_>, matcher: &Matcher) {
        let day = event.timestamp.day();
        let name = event.folded_name();
        let stated = view.value("properties.channel");
        if let Some(channel) = Channel::of(event, &name, stated.as_ref().and_then(serde_json::Value::as_str)) {
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
        let parts: Vec<PartId> = matches.iter().map(|(part, _)| *part).collect();
        let place = match self.matched.binary_search_by(|known| known.parts.cmp(&parts)) {
            Ok(place) => place,
            Err(place) => {
                self.matched.insert(place, Matched { parts, days: PerDay::new() });
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
                    self.minutes.entry(part).or_default().insert(minute);
                }
            }
        }
    }

    fn absorb_statements(&mut self, event: &Event, view: &mut EventView<'_>, mapping: &AccountMapping) {
        let order = event.order();
        if let Some(account) = &event.account {
            let later = self.named.as_ref().is_none_or(|(known, _)| *known < order);
            if later && event.kind != CallKind::AccountEvent {
                self.named = Some((order, account.clone()));
            }
        }
        if let Some((kind, id)) = external_account(view)
            && self.external.as_ref().is_none_or(|(known, _, _)| *known < order)
        {
            self.external = Some((order, kind, id));
        }
        self.absorb_traits(event, view, order);
        // Fields of an account that the event names go to that account, not with the lead.
        if event.account.is_none() {
            for fact in field_facts(event, view, mapping) {
                self.fields.merge(&fact.field, fact.fact, fact.keep);
            }
        }
    }

    fn absorb_traits(&mut self, event: &Event, view: &mut EventView<'_>, order: Order) {
        // A group call's traits describe the account; identify's describe the person. Other calls may carry the person's in
        // `context.traits`.
        let about: Vec<&str> = match event.kind {
            CallKind::Identify => vec!["traits", "context.traits"],
            CallKind::AccountEvent => return,
            _ => vec!["context.traits"],
        };
        for (which, names) in Trait::READ {
            for name in names {
                let found = about.iter().find_map(|place| view.value_or_null(&format!("{place}.{name}")));
                let Some(found) = found else { continue };
                let text = plain_text(&found).map(|text| text.chars().take(256).collect::<String>());
                if text.is_none() && !found.is_null() {
                    continue;
                }
                if self.traits.get(&which).is_none_or(|(known, _)| *known < order) {
                    self.traits.insert(which, (order, text));
                }
                break;
            }
        }
    }

    /// Drops what no one may look at any more. It depends only on the latest event, so that every order ends alike: days are
    /// dropped by themselves, sessions by the end of their epoch, and what counts once for ever is kept.
    fn prune(&mut self, matcher: &Matcher) {
        let horizon = self.horizon();
        let old_day = |days: &PerDay| days.first_key_value().is_some_and(|(day, _)| *day < horizon);
        if self.channels.values().any(old_day) {
            for days in self.channels.values_mut() {
                days.retain(|day, _| *day >= horizon);
            }
            self.channels.retain(|_, days| !days.is_empty());
        }
        if self.matched.iter().any(|matched| old_day(&matched.days)) {
            for matched in &mut self.matched {
                matched.days.retain(|day, _| *day >= horizon);
            }
            self.matched.retain(|matched| !matched.days.is_empty());
        }
        let oldest_epoch = horizon.0.div_euclid(SESSION_EPOCH_DAYS);
        self.sessions.retain(|_, day| day.0.div_euclid(SESSION_EPOCH_DAYS) >= oldest_epoch);
        for (part, keys) in &mut self.keys {
            match matcher.memory(*part) {
                Memory::Forever => {}
                Memory::Session => keys.retain(|_, day| day.0.div_euclid(SESSION_EPOCH_DAYS) >= oldest_epoch),
                Memory::Day => keys.retain(|_, day| *day >= horizon),
            }
        }
        self.keys.retain(|_, keys| !keys.is_empty());
        let first_minute = u32::try_from(horizon.start().seconds().div_euclid(60)).unwrap_or_default();
        for minutes in self.minutes.values_mut() {
            if minutes.first().is_some_and(|minute| *minute < first_minute) {
                *minutes = minutes.split_off(&first_minute);
            }
        }
        self.minutes.retain(|_, minutes| !minutes.is_empty());
        while self.sessions.len() > KEPT {
            self.sessions.pop_last();
        }
        for keys in self.keys.values_mut() {
            while keys.len() > KEPT {
                keys.pop_last();
            }
        }
        for minutes in self.minutes.values_mut() {
            while minutes.len() > KEPT {
                minutes.pop_first();
            }
        }
    }

    /// Only what says where somebody belongs: for the user that an anonymous id turns out to be.
    #[must_use]
    pub fn evidence(&self) -> Self {
        Self { named: self.named.clone(), external: self.external.clone(), traits: self.traits.clone(), ..Self::default() }
    }

    /// Takes in what somebody else says about where they belong; the latest statement of each kind wins. Tells whether anything changed.
    pub fn merge_evidence(&mut self, other: &Self) -> bool {
        let before = self.evidence();
        let named = |facts: &Self| facts.named.as_ref().map(|(order, _)| *order);
        if named(other) > named(self) {
            self.named.clone_from(&other.named);
        }
        let external = |facts: &Self| facts.external.as_ref().map(|(order, _, _)| *order);
        if external(other) > external(self) {
            self.external.clone_from(&other.external);
        }
        for (which, stated) in &other.traits {
            if self.traits.get(which).is_none_or(|(known, _)| *known < stated.0) {
                self.traits.insert(*which, stated.clone());
            }
        }
        self.evidence() != before
    }

    /// The latest value of a trait.
    pub fn stated(&self, which: Trait) -> Option<&str> {
        self.traits.get(&which)?.1.as_deref()
    }
}

impl EventView<'_> {
    /// Like [`EventView::value`], but null is an answer.
    fn value_or_null(&mut self, path: &str) -> Option<serde_json::Value> {
        let (head, rest) = path.split_once('.')?;
        let map = match head {
            "traits" => self.traits(),
            "context" => self.context(),
            _ => return None,
        };
        let mut steps = rest.split('.');
        let mut value = map.get(steps.next()?)?;
        for step in steps {
            value = value.as_object()?.get(step)?;
        }
        Some(value.clone())
    }
}

/// An account's id in another system: `context.externalIds` with the collection `accounts`.
fn external_account(view: &mut EventView<'_>) -> Option<(String, String)> {
    view.event().context.as_ref().filter(|context| context.as_str().contains("externalIds"))?;
    let ids = view.value("context.externalIds")?;
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
