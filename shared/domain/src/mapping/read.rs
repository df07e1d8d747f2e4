//! Mappings to and from JSON.

use super::{AccountMapping, FieldMapping, FieldPolicy, PropertyPath};
use crate::{
    event::fold_name,
    field::{Currency, FieldName, FieldSource, FieldType},
    problem::{Problems, join},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

const MAX_ENTRIES: usize = 200;
const MAX_PATHS: usize = 20;
const MAX_PATH_CHARS: usize = 200;

impl AccountMapping {
    pub(super) fn read(document: &Value) -> Result<Self, Problems> {
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
