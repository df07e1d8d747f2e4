//! Engagement rulesets from JSON.

use super::{MAX_ID, MAX_NAME, MAX_TEXT};
use crate::{
    account_rules::{MAX_RULES, MAX_VALUES},
    decay::{Decay, Step},
    engagement::{Aggregation, CountMode, EngagementRule, EngagementRuleset, EventFilter, FilterOp, MatchingPart},
    event::fold_name,
    field::Number,
    problem::{Problems, join, shape},
    ruleset::content::finished,
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const MAX_POINTS: i64 = 10_000;
const MAX_CAP: i64 = 1_000_000;
/// The most names of events of a rule.
const MAX_EVENTS: usize = 50;
const MAX_FILTERS: usize = 20;
const MAX_PATHS: usize = 20;
const MAX_PATH_CHARS: usize = 200;
const MAX_STEPS: usize = 100;
const MAX_DAYS: u32 = 3_650;

const OPS: [(&str, FilterOp); 10] = [
    ("eq", FilterOp::Eq),
    ("neq", FilterOp::Neq),
    ("in", FilterOp::In),
    ("contains", FilterOp::Contains),
    ("starts_with", FilterOp::StartsWith),
    ("exists", FilterOp::Exists),
    ("gt", FilterOp::Gt),
    ("gte", FilterOp::Gte),
    ("lt", FilterOp::Lt),
    ("lte", FilterOp::Lte),
];

impl EngagementRuleset {
    /// Reads an engagement ruleset and checks it. The error lists every problem with its JSON pointer. That there are no rules is no problem.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let ruleset = ruleset(&mut problems, value);
        finished(ruleset, problems)
    }
}

impl EngagementRule {
    /// Reads one rule at a place of a document and notes every problem of it.
    pub(crate) fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let known = ["id", "name", "points", "events", "filters", "count", "cap_per_day", "cap", "decay"];
        let map = problems.object(at, value, &known)?;
        let id = problems.text(at, map, "id", MAX_ID);
        let name = problems.optional_text(at, map, "name", MAX_NAME).or_else(|| id.clone());
        let points = problems.whole(at, map, "points", -MAX_POINTS..=MAX_POINTS);
        let events = events(problems, &join(at, "events"), map.get("events"));
        let filters = filters(problems, &join(at, "filters"), map.get("filters"));
        let count = count(problems, &join(at, "count"), map.get("count"));
        let cap_per_day = problems.optional_whole(at, map, "cap_per_day", 0..=MAX_CAP).unwrap_or_default();
        let cap = problems.optional_whole(at, map, "cap", 0..=MAX_CAP).unwrap_or_default();
        let decay = decay(problems, &join(at, "decay"), map.get("decay"));
        let part = MatchingPart { events, filters, count: count? };
        Some(Self { id: id?, name: name?, points: points?, part, cap_per_day, cap, decay: decay? })
    }

    /// The rule as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn ruleset(problems: &mut Problems, value: &Value) -> Option<EngagementRuleset> {
    let map = problems.object("", value, &["id", "name", "version", "lead_cap", "aggregation", "rules"])?;
    let id = problems.text("", map, "id", MAX_ID);
    let name = problems.text("", map, "name", MAX_NAME);
    let version = problems.whole("", map, "version", 1..=i64::MAX).and_then(|n| u64::try_from(n).ok());
    let lead_cap = match map.get("lead_cap") {
        Some(_) => problems.whole("", map, "lead_cap", 0..=MAX_CAP),
        None => Some(100),
    };
    let aggregation = aggregation(problems, map.get("aggregation"));
    let listed = problems.array("/rules", map.get("rules").unwrap_or(&Value::Null))?;
    if listed.len() > MAX_RULES {
        problems.add("/rules", format!("must have at most {MAX_RULES} rules, got {}", listed.len()));
    }
    let mut rules: Vec<EngagementRule> = Vec::new();
    let mut ids = BTreeSet::new();
    for (i, value) in listed.iter().enumerate().take(MAX_RULES) {
        let at = join("/rules", i);
        let Some(rule) = EngagementRule::read(problems, &at, value) else { continue };
        if !ids.insert(rule.id.clone()) {
            problems.add(&join(&at, "id"), format!("must be unique, `{}` is taken by another rule", rule.id));
        }
        rules.push(rule);
    }
    Some(EngagementRuleset { id: id?, name: name?, version: version?, lead_cap: lead_cap?, aggregation: aggregation?, rules })
}

/// The word of a tagged object, with the keys that belong to it; the object must be read with those.
fn tagged<'v, T: Copy>(
    problems: &mut Problems,
    at: &str,
    value: &'v Value,
    tag: &str,
    words: &[(&str, (T, &[&str]))],
) -> Option<(T, &'v Map<String, Value>)> {
    let Some(map) = value.as_object() else {
        problems.object(at, value, &[]);
        return None;
    };
    let (meant, keys) = problems.word(at, map, tag, words)?;
    let allowed: Vec<&str> = std::iter::once(tag).chain(keys.iter().copied()).collect();
    problems.object(at, value, &allowed);
    Some((meant, map))
}

#[derive(Clone, Copy)]
enum Aggregates {
    Sum,
    Max,
    TopN,
    Diminishing,
}

fn aggregation(problems: &mut Problems, value: Option<&Value>) -> Option<Aggregation> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(Aggregation::Sum) };
    let at = "/aggregation";
    let words: [(&str, (Aggregates, &[&str])); 4] = [
        ("sum", (Aggregates::Sum, &[])),
        ("max", (Aggregates::Max, &[])),
        ("top_n", (Aggregates::TopN, &["n"])),
        ("diminishing", (Aggregates::Diminishing, &["percent"])),
    ];
    let (kind, map) = tagged(problems, at, value, "kind", &words)?;
    Some(match kind {
        Aggregates::Sum => Aggregation::Sum,
        Aggregates::Max => Aggregation::Max,
        Aggregates::TopN => Aggregation::TopN { n: problems.count(at, map, "n", 1..=10_000)? },
        Aggregates::Diminishing => Aggregation::Diminishing { percent: problems.count(at, map, "percent", 0..=100)? },
    })
}

fn events(problems: &mut Problems, at: &str, value: Option<&Value>) -> Vec<String> {
    let listed = value.and_then(Value::as_array).filter(|names| (1..=MAX_EVENTS).contains(&names.len()));
    let Some(listed) = listed else {
        problems.add(at, format!("must have 1 to {MAX_EVENTS} names, such as `Demo Requested`"));
        return Vec::new();
    };
    let mut names = Vec::new();
    for (i, value) in listed.iter().enumerate() {
        let at = join(at, i);
        let Some(name) = problems.text_value(&at, value, MAX_NAME) else { continue };
        if fold_name(&name).is_empty() {
            problems.add(&at, "must hold a letter or digit");
        }
        names.push(name);
    }
    names
}

fn paths(problems: &mut Problems, at: &str, map: &Map<String, Value>) -> Vec<String> {
    let at = join(at, "paths");
    let listed = map.get("paths").and_then(Value::as_array).filter(|paths| (1..=MAX_PATHS).contains(&paths.len()));
    let Some(listed) = listed else {
        problems.add(&at, format!("must have 1 to {MAX_PATHS} paths, such as `properties.plan`, `context.page.url` or `name`"));
        return Vec::new();
    };
    let mut paths = Vec::new();
    for (i, value) in listed.iter().enumerate() {
        let at = join(&at, i);
        let Some(path) = problems.text_value(&at, value, MAX_PATH_CHARS) else { continue };
        let rooted = ["properties.", "traits.", "context."].iter().any(|root| path.strip_prefix(root).is_some_and(|rest| !rest.is_empty()));
        if !rooted && path != "name" {
            problems.add(&at, format!("must begin with `properties.`, `traits.` or `context.`, or be `name`, got `{path}`"));
        }
        paths.push(path);
    }
    paths
}

#[derive(Clone, Copy)]
enum Counts {
    Every,
    OncePerLead,
    OncePerSession,
    OncePerDay,
    OncePerKey,
    OncePerKeyAndDay,
    OncePerHours,
}

fn count(problems: &mut Problems, at: &str, value: Option<&Value>) -> Option<CountMode> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(CountMode::Every) };
    let words: [(&str, (Counts, &[&str])); 7] = [
        ("every", (Counts::Every, &[])),
        ("once_per_lead", (Counts::OncePerLead, &[])),
        ("once_per_session", (Counts::OncePerSession, &[])),
        ("once_per_day", (Counts::OncePerDay, &[])),
        ("once_per_key", (Counts::OncePerKey, &["paths"])),
        ("once_per_key_and_day", (Counts::OncePerKeyAndDay, &["paths"])),
        ("once_per_hours", (Counts::OncePerHours, &["hours"])),
    ];
    let (mode, map) = tagged(problems, at, value, "mode", &words)?;
    Some(match mode {
        Counts::Every => CountMode::Every,
        Counts::OncePerLead => CountMode::OncePerLead,
        Counts::OncePerSession => CountMode::OncePerSession,
        Counts::OncePerDay => CountMode::OncePerDay,
        Counts::OncePerKey => CountMode::OncePerKey { paths: paths(problems, at, map) },
        Counts::OncePerKeyAndDay => CountMode::OncePerKeyAndDay { paths: paths(problems, at, map) },
        Counts::OncePerHours => CountMode::OncePerHours { hours: problems.count(at, map, "hours", 1..=8_760)? },
    })
}

#[derive(Clone, Copy)]
enum Decays {
    None,
    Linear,
    HalfLife,
    Step,
}

fn decay(problems: &mut Problems, at: &str, value: Option<&Value>) -> Option<Decay> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Some(Decay::None) };
    let words: [(&str, (Decays, &[&str])); 4] = [
        ("none", (Decays::None, &[])),
        ("linear", (Decays::Linear, &["days"])),
        ("half_life", (Decays::HalfLife, &["days"])),
        ("step", (Decays::Step, &["steps"])),
    ];
    let (kind, map) = tagged(problems, at, value, "kind", &words)?;
    Some(match kind {
        Decays::None => Decay::None,
        Decays::Linear => Decay::Linear { days: problems.count(at, map, "days", 1..=MAX_DAYS)? },
        Decays::HalfLife => Decay::HalfLife { days: problems.count(at, map, "days", 1..=MAX_DAYS)? },
        Decays::Step => Decay::Step { steps: steps(problems, &join(at, "steps"), map.get("steps")) },
    })
}

/// The drops in order of age, so that writing them in another order is no change.
fn steps(problems: &mut Problems, at: &str, value: Option<&Value>) -> Vec<Step> {
    let listed = value.and_then(Value::as_array).filter(|steps| (1..=MAX_STEPS).contains(&steps.len()));
    let Some(listed) = listed else {
        problems.add(at, format!("must have 1 to {MAX_STEPS} steps, such as {{\"from_day\": 30, \"percent\": 50}}"));
        return Vec::new();
    };
    let mut steps: Vec<Step> = Vec::new();
    for (i, value) in listed.iter().enumerate() {
        let at = join(at, i);
        let Some(map) = problems.object(&at, value, &["from_day", "percent"]) else { continue };
        let from_day = problems.count(&at, map, "from_day", 0..=MAX_DAYS);
        let percent = problems.count(&at, map, "percent", 0..=100);
        let (Some(from_day), Some(percent)) = (from_day, percent) else { continue };
        if steps.iter().any(|step| step.from_day == from_day) {
            problems.add(&join(&at, "from_day"), format!("must be unique, another step begins at day {from_day}"));
        }
        steps.push(Step { from_day, percent });
    }
    steps.sort_by_key(|step| step.from_day);
    steps
}

fn filters(problems: &mut Problems, at: &str, value: Option<&Value>) -> Vec<EventFilter> {
    let listed = match value {
        None | Some(Value::Null) => &[],
        Some(value) => problems.array(at, value).unwrap_or_default(),
    };
    if listed.len() > MAX_FILTERS {
        problems.add(at, format!("must have at most {MAX_FILTERS} filters, got {}", listed.len()));
    }
    listed.iter().enumerate().take(MAX_FILTERS).filter_map(|(i, value)| filter(problems, &join(at, i), value)).collect()
}

fn filter(problems: &mut Problems, at: &str, value: &Value) -> Option<EventFilter> {
    let map = problems.object(at, value, &["paths", "op", "value"])?;
    let paths = paths(problems, at, map);
    let op = problems.word(at, map, "op", &OPS)?;
    let value = plain(map.get("value").cloned().unwrap_or_default());
    if let Err(wanted) = fits(op, &value) {
        let given = map.get("value").unwrap_or(&Value::Null);
        problems.add(&join(at, "value"), format!("must be {wanted}, got {}", shape(given)));
    } else if let Some(length) = longest(&value).filter(|length| *length > MAX_TEXT) {
        problems.add(&join(at, "value"), format!("must have at most {MAX_TEXT} characters, got {length}"));
    }
    Some(EventFilter { paths, op, value })
}

/// A value with its numbers as they are compared: with three decimals. What a rule counts is named by a digest of it, so a number must read
/// the same however often it is written. For numbers that can't there is an empty list, which suits no operator.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let compared = Number::from_json(&number).and_then(|number| serde_json::to_value(number).ok());
            compared.filter(Value::is_number).unwrap_or_else(|| Value::Array(Vec::new()))
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

/// Whether a value suits an operator; what would, when it does not.
fn fits(op: FilterOp, value: &Value) -> Result<(), &'static str> {
    let plain = |value: &Value| match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let (suits, wanted) = match op {
        FilterOp::Exists => (value.is_null(), "absent"),
        FilterOp::In => (
            value.as_array().is_some_and(|list| (1..=MAX_VALUES).contains(&list.len()) && list.iter().all(plain)),
            "an array of 1 to 1000 texts, numbers of at most 15 digits or truth values",
        ),
        FilterOp::Gt | FilterOp::Gte | FilterOp::Lt | FilterOp::Lte => (value.is_number(), "a number of at most 15 digits"),
        FilterOp::Contains | FilterOp::StartsWith => (value.is_string() && plain(value), "a text"),
        FilterOp::Eq | FilterOp::Neq => (plain(value), "a text, a number of at most 15 digits, true or false"),
    };
    if suits { Ok(()) } else { Err(wanted) }
}

/// The length of the longest text of a value, in characters.
fn longest(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(list) => list.iter().filter_map(longest).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
