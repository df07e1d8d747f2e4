//! Field mappings: which properties and traits of events state which field of the account.

use crate::{
    CallKind, Timestamp,
    engagement::EventView,
    event::fold_name,
    field::{CoercionError, Currency, FieldName, FieldSource, FieldType, FieldValue, Keep},
    problem::{Problems, join},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt};

/// The mapping of a workspace that has declared none, as JSON.
pub const DEFAULT_MAPPING: &str = include_str!("../../../infra/mappings/account-fields.json");

const MAX_ENTRIES: usize = 200;
const MAX_PATHS: usize = 20;
const MAX_PATH_CHARS: usize = 200;

/// Which part of a call a path begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// `properties.…`: the properties of a track, page, screen or account event.
    Properties,
    /// `traits.…`: the traits of an identify or group call.
    Traits,
    /// `group.…`: the traits of a group call only, where `name` and `email` are the account's and not a person's.
    Group,
    /// `context.…`: the context of any call.
    Context,
}

impl Root {
    const ALL: [Self; 4] = [Self::Properties, Self::Traits, Self::Group, Self::Context];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Properties => "properties",
            Self::Traits => "traits",
            Self::Group => "group",
            Self::Context => "context",
        }
    }
}

/// Where a value stands in a call, such as `properties.company_size` or `context.traits.company`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyPath {
    root: Root,
    rest: String,
}

impl PropertyPath {
    /// Reads a path. `None` when it does not begin with a known root, or a step is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (root, rest) = text.split_once('.')?;
        let root = Root::ALL.into_iter().find(|known| known.as_str() == root)?;
        let sound = rest.split('.').all(|step| !step.trim().is_empty()) && text.chars().count() <= MAX_PATH_CHARS;
        sound.then(|| Self { root, rest: rest.to_owned() })
    }

    fn first_step(&self) -> &str {
        self.rest.split('.').next().unwrap_or_default()
    }

    /// Whether `other` lies below this place.
    fn holds(&self, other: &Self) -> bool {
        let below = other.rest.strip_prefix(&self.rest).is_some_and(|rest| rest.starts_with('.'));
        self.root == other.root && below
    }

    /// The value and the object that holds it. A key that itself contains dots wins over nesting.
    fn find<'v>(&self, map: &'v Map<String, Value>) -> Option<(&'v Value, &'v Map<String, Value>)> {
        let (mut map, mut rest) = (map, self.rest.as_str());
        loop {
            if let Some(value) = map.get(rest) {
                return Some((value, map));
            }
            let (step, below) = rest.split_once('.')?;
            map = map.get(step)?.as_object()?;
            rest = below;
        }
    }
}

impl fmt::Display for PropertyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.root.as_str(), self.rest)
    }
}

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

/// A call, as far as mappings look at it.
pub trait CallContent {
    /// Which call it is.
    fn kind(&self) -> CallKind;
    /// The name of the event, folded by [`fold_name`].
    fn folded_name(&self) -> String;
    /// When it happened.
    fn at(&self) -> Timestamp;
    /// `properties`, `traits` (also for [`Root::Group`]) or `context`, unless the object surely holds none of the `keys`.
    fn object(&mut self, root: Root, keys: &KeySet) -> Option<&Map<String, Value>>;
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

impl CallContent for ParsedCall<'_> {
    fn kind(&self) -> CallKind {
        self.kind
    }

    fn folded_name(&self) -> String {
        self.event_name.map(fold_name).unwrap_or_default()
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn object(&mut self, root: Root, _keys: &KeySet) -> Option<&Map<String, Value>> {
        Some(match root {
            Root::Properties => self.properties,
            Root::Traits | Root::Group => self.traits,
            Root::Context => self.context,
        })
    }
}

impl CallContent for EventView<'_> {
    fn kind(&self) -> CallKind {
        self.event().kind
    }

    fn folded_name(&self) -> String {
        self.event().folded_name()
    }

    fn at(&self) -> Timestamp {
        self.event().timestamp
    }

    fn object(&mut self, root: Root, keys: &KeySet) -> Option<&Map<String, Value>> {
        let event = self.event();
        let raw = match root {
            Root::Properties => &event.properties,
            Root::Traits | Root::Group => &event.traits,
            Root::Context => &event.context,
        };
        let mentioned = raw.as_ref().is_some_and(|raw| keys.may_occur_in(raw.as_str()));
        mentioned.then(|| match root {
            Root::Properties => self.properties(),
            Root::Traits | Root::Group => self.traits(),
            Root::Context => self.context(),
        })
    }
}

/// The keys that paths begin with, to tell without parsing that an object holds nothing of interest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet {
    /// Sorted by length, then text.
    keys: Vec<String>,
    /// Bit n is set when there is a key of n bytes; bit 63 also stands for longer ones.
    lengths: u64,
}

impl KeySet {
    fn of<'p>(paths: impl Iterator<Item = &'p PropertyPath>) -> Self {
        let mut set = Self::default();
        for path in paths {
            // A key may be the whole rest of the path when it holds dots itself.
            let whole = path.rest.split('.').scan(String::new(), |prefix, step| {
                if !prefix.is_empty() {
                    prefix.push('.');
                }
                prefix.push_str(step);
                Some(prefix.clone())
            });
            set.keys.extend(whole.filter(|key| key == path.first_step() || *key == path.rest));
        }
        set.keys.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        set.keys.dedup();
        set.lengths = set.keys.iter().fold(0, |bits, key| bits | (1 << key.len().min(63)));
        set
    }

    /// Whether the text of a JSON object may hold one of the keys. Never wrongly says no.
    pub fn may_occur_in(&self, json: &str) -> bool {
        if self.keys.is_empty() {
            return false;
        }
        json.split('"').any(|part| {
            let listed = self.lengths & (1 << part.len().min(63)) != 0;
            // An escape may hide a key.
            part.contains('\\')
                || (listed && self.keys.binary_search_by(|key| (key.len(), key.as_str()).cmp(&(part.len(), part))).is_ok())
        })
    }
}

/// Every mapping of a workspace. Its JSON form is `{"version", "currency", "entries": […]}`; see `infra/mappings/account-fields.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountMapping {
    version: u64,
    currency: Currency,
    entries: Vec<FieldMapping>,
    /// The keys of each root, and the folded event name of each entry.
    keys: BTreeMap<Root, KeySet>,
    events: Vec<Option<String>>,
}

impl AccountMapping {
    /// A mapping of these entries.
    pub fn new(version: u64, currency: Currency, entries: Vec<FieldMapping>) -> Self {
        let paths = |root: Root| entries.iter().flat_map(|entry| &entry.paths).filter(move |path| path.root == root);
        let keys = Root::ALL.into_iter().map(|root| (root, KeySet::of(paths(root)))).collect();
        let events = entries.iter().map(|entry| match &entry.policy {
            FieldPolicy::LastTimeOfEvent(event) => Some(fold_name(event)),
            FieldPolicy::Latest | FieldPolicy::OnlyIfEmpty => None,
        });
        Self { version, currency, keys, events: events.collect(), entries }
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
    pub fn extract<C: CallContent>(&self, call: &mut C) -> Vec<Extracted> {
        let mut all: Vec<Extracted> = Vec::new();
        let mut name = None;
        let mut absent = [false; Root::ALL.len()];
        for (entry, event) in self.entries.iter().zip(&self.events) {
            let found = match event {
                Some(event) => {
                    let named = matches!(call.kind(), CallKind::Track | CallKind::AccountEvent | CallKind::Page | CallKind::Screen);
                    let hit = named && name.get_or_insert_with(|| call.folded_name()) == event;
                    hit.then(|| (None, Ok(Some(FieldValue::Date(call.at())))))
                }
                None => self.value(entry, call, &mut absent).map(|(path, result)| (Some(path.clone()), result)),
            };
            let Some((path, result)) = found else { continue };
            let by_group = |path: &PropertyPath| call.kind() == CallKind::Group && matches!(path.root, Root::Traits | Root::Group);
            let usual = if path.as_ref().is_some_and(by_group) { FieldSource::Group } else { FieldSource::Form };
            let (keep, source) = (entry.policy.keep(), entry.source.unwrap_or(usual));
            if !all.iter().any(|known| known.field == entry.field && known.keep == keep && known.source == source && known.result.is_ok()) {
                all.push(Extracted { field: entry.field.clone(), path, result, keep, source });
            }
        }
        all
    }

    /// The value at the first of the entry's places that holds something. `absent` remembers the roots that hold nothing mapped.
    fn value<'m, C: CallContent>(
        &'m self,
        entry: &'m FieldMapping,
        call: &mut C,
        absent: &mut [bool; Root::ALL.len()],
    ) -> Option<(&'m PropertyPath, Result<Option<FieldValue>, CoercionError>)> {
        for path in &entry.paths {
            let absent = absent.get_mut(path.root as usize)?;
            if *absent || (path.root == Root::Group && call.kind() != CallKind::Group) {
                continue;
            }
            let Some(map) = self.keys.get(&path.root).and_then(|keys| call.object(path.root, keys)) else {
                *absent = true;
                continue;
            };
            let Some((raw, beside)) = path.find(map) else { continue };
            if raw.is_object() && entry.paths.iter().any(|other| path.holds(other)) {
                continue;
            }
            let stated = || beside.get("currency").and_then(Value::as_str).and_then(Currency::parse);
            let stated = if entry.kind == FieldType::Money { stated() } else { None };
            return Some((path, entry.kind.coerce_stated(raw, self.currency, stated)));
        }
        None
    }
}

impl AccountMapping {
    fn read(document: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let Some(map) = problems.object("", document, &["version", "currency", "entries"]) else { return Err(problems) };
        let version = problems.whole("", map, "version", 1..=i64::MAX).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        let code = problems.optional_text("", map, "currency", 3);
        let currency = code.as_deref().map_or(Some(Currency::USD), Currency::parse);
        if currency.is_none() {
            problems.add("/currency", "must be an ISO 4217 code such as `USD`");
        }
        let mut entries: Vec<FieldMapping> = Vec::new();
        let missing = Value::Null;
        let listed = problems.array("/entries", map.get("entries").unwrap_or(&missing)).unwrap_or_default();
        if listed.len() > MAX_ENTRIES {
            problems.add("/entries", format!("must have at most {MAX_ENTRIES} entries, got {}", listed.len()));
        }
        for (i, value) in listed.iter().enumerate().take(MAX_ENTRIES) {
            let at = format!("/entries/{i}");
            let Some(entry) = read_entry(&mut problems, &at, value) else { continue };
            if let Some(other) = entries.iter().find(|other| other.field == entry.field && other.kind != entry.kind) {
                problems.add(&join(&at, "type"), format!("must be `{}` as in the other mapping of `{}`", other.kind.as_str(), entry.field));
            }
            entries.push(entry);
        }
        problems.or(()).map(|()| Self::new(version, currency.unwrap_or_default(), entries))
    }
}

fn read_entry(problems: &mut Problems, at: &str, value: &Value) -> Option<FieldMapping> {
    let map = problems.object(at, value, &["field", "type", "paths", "policy", "source"])?;
    let name = problems.text(at, map, "field", 200).and_then(|text| match FieldName::new(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            problems.add(&join(at, "field"), error.to_string());
            None
        }
    });
    let policy = read_policy(problems, at, map.get("policy"));
    let dated = matches!(policy, Some(FieldPolicy::LastTimeOfEvent(_)));
    let kind = match map.get("type") {
        None if dated => Some(FieldType::Date),
        _ => problems.text(at, map, "type", 20).and_then(|text| {
            let kind = FieldType::parse(&text);
            if kind.is_none() {
                let known = FieldType::ALL.map(|kind| format!("`{}`", kind.as_str())).join(", ");
                problems.add(&join(at, "type"), format!("must be one of {known}, got `{text}`"));
            }
            kind
        }),
    };
    if dated && kind.is_some_and(|kind| kind != FieldType::Date) {
        problems.add(&join(at, "type"), "must be `date`, because the policy is `last_time_of_event`");
    }
    let paths = match (map.get("paths"), dated) {
        (None, true) => Vec::new(),
        (Some(_), true) => {
            problems.add(&join(at, "paths"), "must be absent, because the policy is `last_time_of_event`");
            Vec::new()
        }
        (paths, false) => read_paths(problems, &join(at, "paths"), paths),
    };
    let source = problems.optional_text(at, map, "source", 20).map(|text| {
        let source = FieldSource::parse(&text).filter(|source| *source != FieldSource::Manual);
        if source.is_none() {
            problems.add(&join(at, "source"), format!("must be one of `crm_import`, `enrichment`, `group`, `form`, got `{text}`"));
        }
        source
    });
    Some(FieldMapping { field: name?, kind: kind?, paths, policy: policy?, source: source.flatten() })
}

fn read_policy(problems: &mut Problems, at: &str, value: Option<&Value>) -> Option<FieldPolicy> {
    let at = join(at, "policy");
    match value {
        None => Some(FieldPolicy::Latest),
        Some(Value::String(text)) if text == "latest" => Some(FieldPolicy::Latest),
        Some(Value::String(text)) if text == "only_if_empty" => Some(FieldPolicy::OnlyIfEmpty),
        Some(value @ Value::Object(_)) => {
            let map = problems.object(&at, value, &["last_time_of_event"])?;
            let event = problems.text(&at, map, "last_time_of_event", 200)?;
            if fold_name(&event).is_empty() {
                problems.add(&join(&at, "last_time_of_event"), "must hold a letter or digit");
                return None;
            }
            Some(FieldPolicy::LastTimeOfEvent(event))
        }
        Some(_) => {
            problems.add(&at, "must be `latest`, `only_if_empty` or {\"last_time_of_event\": \"an event's name\"}");
            None
        }
    }
}

/// One path, or an array of 1 to 20.
fn read_paths(problems: &mut Problems, at: &str, value: Option<&Value>) -> Vec<PropertyPath> {
    let listed: Vec<(String, &Value)> = match value {
        Some(Value::Array(paths)) => paths.iter().enumerate().map(|(i, path)| (join(at, i), path)).collect(),
        Some(path) => vec![(at.to_owned(), path)],
        None => Vec::new(),
    };
    if listed.is_empty() || listed.len() > MAX_PATHS {
        problems.add(at, format!("must have 1 to {MAX_PATHS} paths, such as `properties.company_size` or `group.employees`"));
    }
    let mut paths = Vec::new();
    for (at, value) in listed {
        let Some(text) = problems.text_value(&at, value, MAX_PATH_CHARS) else { continue };
        match PropertyPath::parse(&text) {
            Some(path) => paths.push(path),
            None => problems.add(&at, format!("must begin with `properties.`, `traits.`, `group.` or `context.`, got `{text}`")),
        }
    }
    paths
}

impl Serialize for AccountMapping {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let entries = self.entries.iter().map(|entry| {
            let mut map = Map::new();
            map.insert("field".to_owned(), entry.field.as_str().into());
            map.insert("type".to_owned(), entry.kind.as_str().into());
            if !entry.paths.is_empty() {
                map.insert("paths".to_owned(), entry.paths.iter().map(ToString::to_string).collect());
            }
            match &entry.policy {
                FieldPolicy::Latest => None,
                FieldPolicy::OnlyIfEmpty => map.insert("policy".to_owned(), "only_if_empty".into()),
                FieldPolicy::LastTimeOfEvent(event) => map.insert("policy".to_owned(), json!({ "last_time_of_event": event })),
            };
            if let Some(source) = entry.source {
                map.insert("source".to_owned(), source.as_str().into());
            }
            Value::Object(map)
        });
        json!({ "version": self.version, "currency": self.currency, "entries": entries.collect::<Value>() }).serialize(s)
    }
}

impl<'de> Deserialize<'de> for AccountMapping {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
