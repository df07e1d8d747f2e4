//! Field mappings: which properties and traits of events state which field of the account.

mod path;
mod read;

pub use path::{KeySet, PropertyPath, Root};

use crate::{
    CallKind, Timestamp,
    engagement::EventView,
    event::{fold_name, folded},
    field::{CoercionError, Currency, FieldName, FieldSource, FieldType, FieldValue, Keep},
    problem::{Problems, short},
};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The mapping of a workspace that has declared none, as JSON.
pub const DEFAULT_MAPPING: &str = include_str!("../../../infra/mappings/account-fields.json");

/// Which of several statements about a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPolicy {
    /// The latest one.
    Latest,
    /// The first one.
    OnlyIfEmpty,
    /// The field is a date: when the event of this name happened last.
    LastTimeOfEvent(String),
}

impl FieldPolicy {
    /// Which fact is kept when several are merged.
    pub const fn keep(&self) -> Keep {
        match self {
            Self::Latest | Self::LastTimeOfEvent(_) => Keep::Latest,
            Self::OnlyIfEmpty => Keep::First,
        }
    }
}

/// How one field is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMapping {
    /// The field.
    pub field: FieldName,
    /// What it holds.
    pub kind: FieldType,
    /// Where its value may stand; the first place that holds something counts. Empty for the last time of an event.
    pub paths: Vec<PropertyPath>,
    /// Which of several statements holds.
    pub policy: FieldPolicy,
    /// Who is taken to state it; `None` means `group` for the traits of a group call and `form` for everything else.
    pub source: Option<FieldSource>,
}

/// A value that a call states about a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The field.
    pub field: FieldName,
    /// Where the value stood; `None` for the last time of an event.
    pub path: Option<PropertyPath>,
    /// The value; `None` when it was `null`, which clears the field.
    pub result: Result<Option<FieldValue>, CoercionError>,
    /// Which of several statements is kept.
    pub keep: Keep,
    /// Who states it.
    pub source: FieldSource,
}

/// The member that names the currency of the amounts beside it.
pub(crate) const BESIDE: &str = "currency";

/// A call, as far as mappings look at it; its objects may live for `'c`.
pub trait CallContent<'c> {
    /// Which call it is.
    fn kind(&self) -> CallKind;
    /// The name of the event, folded by [`fold_name`].
    fn folded_name(&self) -> Cow<'c, str>;
    /// When it happened.
    fn at(&self) -> Timestamp;
    /// `properties`, `traits` (also for [`Root::Group`]) or `context`: at least the members with these keys, and what [`BESIDE`] names. `None`
    /// when it has none of the keys.
    fn object(&mut self, root: Root, keys: &KeySet) -> Option<Cow<'c, Map<String, Value>>>;
}

/// A call whose objects are parsed already.
#[derive(Debug, Clone, Copy)]
pub struct ParsedCall<'a> {
    /// Which call it is.
    pub kind: CallKind,
    /// The name of a tracked event.
    pub event_name: Option<&'a str>,
    /// When it happened.
    pub at: Timestamp,
    /// Its `properties`.
    pub properties: &'a Map<String, Value>,
    /// Its `traits`.
    pub traits: &'a Map<String, Value>,
    /// Its `context`.
    pub context: &'a Map<String, Value>,
}

impl<'a> CallContent<'a> for ParsedCall<'a> {
    fn kind(&self) -> CallKind {
        self.kind
    }

    fn folded_name(&self) -> Cow<'a, str> {
        self.event_name.map(folded).unwrap_or_default()
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn object(&mut self, root: Root, _keys: &KeySet) -> Option<Cow<'a, Map<String, Value>>> {
        Some(Cow::Borrowed(match root {
            Root::Properties => self.properties,
            Root::Traits | Root::Group => self.traits,
            Root::Context => self.context,
        }))
    }
}

impl<'e> CallContent<'e> for EventView<'e> {
    fn kind(&self) -> CallKind {
        self.event().kind
    }

    fn folded_name(&self) -> Cow<'e, str> {
        self.event().folded_name()
    }

    fn at(&self) -> Timestamp {
        self.event().timestamp
    }

    fn object(&mut self, root: Root, keys: &KeySet) -> Option<Cow<'e, Map<String, Value>>> {
        self.pick(root, keys).map(Cow::Owned)
    }
}

/// Every mapping of a workspace. Its JSON form is `{"version", "currency", "entries": […]}`; see `infra/mappings/account-fields.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountMapping {
    version: u64,
    currency: Currency,
    entries: Vec<FieldMapping>,
    /// The keys of each root, and for each key the entries that look at it.
    keys: [(KeySet, Vec<Vec<usize>>); Root::ALL.len()],
    /// The folded event name of each entry, and the entries that have one.
    events: Vec<Option<String>>,
    timed: Vec<usize>,
}

impl AccountMapping {
    /// A mapping of these entries.
    pub fn new(version: u64, currency: Currency, entries: Vec<FieldMapping>) -> Self {
        let paths = |root: Root| entries.iter().flat_map(|entry| &entry.paths).filter(move |path| path.root == root);
        let looks = |entry: &FieldMapping, root: Root, key: &str| entry.paths.iter().any(|path| path.root == root && path.begins_with(key));
        let looking = |root: Root, key: &str| (0..).zip(&entries).filter(|(_, entry)| looks(entry, root, key)).map(|(i, _)| i).collect();
        let keys = Root::ALL.map(|root| {
            let keys = KeySet::of(paths(root));
            let entries = keys.keys().map(|key| looking(root, key)).collect();
            (keys, entries)
        });
        let folded_event = |entry: &FieldMapping| match &entry.policy {
            FieldPolicy::LastTimeOfEvent(event) => Some(fold_name(event)),
            FieldPolicy::Latest | FieldPolicy::OnlyIfEmpty => None,
        };
        let events: Vec<Option<String>> = entries.iter().map(folded_event).collect();
        let timed = (0..).zip(&events).filter(|(_, event)| event.is_some()).map(|(i, _)| i).collect();
        Self { version, currency, keys, events, timed, entries }
    }

    /// Reads JSON text; the error lists every problem with its place.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        Self::read(&Problems::document(text)?)
    }

    /// Counts publications, from 1.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The currency of amounts of money.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The mappings, in the order in which they are tried.
    pub fn entries(&self) -> &[FieldMapping] {
        &self.entries
    }

    /// The declared type of a field.
    pub fn type_of(&self, field: &str) -> Option<FieldType> {
        self.entries.iter().find(|entry| entry.field.as_str() == field).map(|entry| entry.kind)
    }

    /// Reads a value that a person, a file or an API call states for a field: by the declared type, else by the look of the JSON.
    /// `null` gives `None`: it clears.
    pub fn coerce(&self, field: &FieldName, raw: &Value) -> Result<Option<FieldValue>, CoercionError> {
        let by_look = || match raw {
            Value::Number(_) => FieldType::Number,
            Value::Bool(_) => FieldType::Bool,
            Value::Array(_) => FieldType::List,
            Value::Null | Value::String(_) | Value::Object(_) => FieldType::Text,
        };
        self.type_of(field.as_str()).unwrap_or_else(by_look).coerce(raw, self.currency)
    }

    /// What a call states about fields, in the order of the mappings. A field that two mappings with one policy find in the same call
    /// is stated by the first.
    pub fn extract<'c>(&self, call: &mut impl CallContent<'c>) -> Vec<Extracted> {
        let mut all: Vec<Extracted> = Vec::new();
        let mut name = None;
        let group = call.kind() == CallKind::Group;
        let objects = Root::ALL.map(|root| {
            let (keys, _) = self.keys.get(root as usize).filter(|(keys, _)| !keys.is_empty() && (group || root != Root::Group))?;
            call.object(root, keys)
        });
        // Only entries that look at a key which is there, or at the event's name, can find anything.
        let mut asked = self.timed.clone();
        for ((keys, entries), object) in self.keys.iter().zip(&objects) {
            let held = object.iter().flat_map(|object| object.keys()).filter_map(|key| entries.get(keys.place(key)?));
            asked.extend(held.flatten());
        }
        asked.sort_unstable();
        asked.dedup();
        for (entry, event) in asked.iter().filter_map(|i| Some((self.entries.get(*i)?, self.events.get(*i)?))) {
            let found = match event {
                Some(event) => {
                    let named = matches!(call.kind(), CallKind::Track | CallKind::AccountEvent | CallKind::Page | CallKind::Screen);
                    let hit = named && *name.get_or_insert_with(|| call.folded_name()) == *event;
                    hit.then(|| (None, Ok(Some(FieldValue::Date(call.at())))))
                }
                None => self.value(entry, &objects).map(|(path, result)| (Some(path.clone()), result)),
            };
            let Some((path, result)) = found else { continue };
            let by_group = |path: &PropertyPath| group && matches!(path.root, Root::Traits | Root::Group);
            let usual = if path.as_ref().is_some_and(by_group) { FieldSource::Group } else { FieldSource::Form };
            let (keep, source) = (entry.policy.keep(), entry.source.unwrap_or(usual));
            if !all.iter().any(|known| known.field == entry.field && known.keep == keep && known.source == source && known.result.is_ok()) {
                all.push(Extracted { field: entry.field.clone(), path, result, keep, source });
            }
        }
        all
    }

    /// The value at the first of the entry's places that holds something.
    fn value<'m>(
        &'m self,
        entry: &'m FieldMapping,
        objects: &[Option<Cow<'_, Map<String, Value>>>; Root::ALL.len()],
    ) -> Option<(&'m PropertyPath, Result<Option<FieldValue>, CoercionError>)> {
        for path in &entry.paths {
            let Some(Some(map)) = objects.get(path.root as usize) else { continue };
            let Some((raw, beside)) = path.find(map) else { continue };
            if raw.is_object() && entry.paths.iter().any(|other| path.holds(other)) {
                continue;
            }
            return Some((path, self.coerce_beside(entry.kind, raw, beside)));
        }
        None
    }

    /// Reads a value; an amount of money is in the currency that a property `currency` beside it names.
    fn coerce_beside(&self, kind: FieldType, raw: &Value, beside: &Map<String, Value>) -> Result<Option<FieldValue>, CoercionError> {
        let code = beside.get(BESIDE).and_then(Value::as_str).map(str::trim).filter(|code| !code.is_empty());
        let stated = match code {
            Some(code) if kind == FieldType::Money && !raw.is_null() => {
                let expected = "an amount whose property `currency` is an ISO 4217 code such as `USD`";
                Some(Currency::parse(code).ok_or_else(|| CoercionError::Form { expected, got: short(code) })?)
            }
            _ => None,
        };
        kind.coerce_stated(raw, self.currency, stated)
    }
}

#[cfg(test)]
mod tests;
