//! Engagement rules: which events earn points, how they are counted, how the points fade.

use crate::{
    CallKind, Event,
    decay::Decay,
    event::fold_name,
    field::Number,
    hash64,
    scan::{Scanned, Scanner},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, collections::BTreeSet, collections::HashMap};
use thiserror::Error;

/// A versioned set of event rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngagementRuleset {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Counts publications, from 1.
    pub version: u64,
    /// The most points that one lead can have; 0 for no limit.
    #[serde(default = "default_lead_cap")]
    pub lead_cap: i64,
    /// How the account's engagement follows from its leads'.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// The rules, in the order in which they are shown.
    pub rules: Vec<EngagementRule>,
}

const fn default_lead_cap() -> i64 {
    100
}

/// How the account's engagement follows from its leads'.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Aggregation {
    /// All leads together.
    #[default]
    Sum,
    /// The best lead alone.
    Max,
    /// The best leads together.
    TopN {
        /// How many.
        n: u32,
    },
    /// The best lead in full, each further one multiplied once more.
    Diminishing {
        /// Percent kept from one lead to the next, 0 to 100.
        percent: u32,
    },
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngagementRule {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What a counted event adds, −10,000 to 10,000.
    pub points: i64,
    /// What it counts.
    #[serde(flatten)]
    pub part: MatchingPart,
    /// The most points a lead gets from it on one day, before decay; 0 for no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cap_per_day: i64,
    /// The most points a lead gets from it at all, after decay; 0 for no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cap: i64,
    /// How its points fade.
    #[serde(default)]
    pub decay: Decay,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// The part of a rule that decides what is counted. Counts are kept under its digest, so that points, caps and decay can change
/// without counting anything again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchingPart {
    /// Names of events; case, spaces, `_` and `-` do not matter. `page view` is also every page call, `screen view` every screen call.
    pub events: Vec<String>,
    /// All of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<EventFilter>,
    /// What counts as one.
    #[serde(default)]
    pub count: CountMode,
}

/// What counts as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum CountMode {
    /// Each event.
    #[default]
    Every,
    /// The first one of a lead, for ever.
    OncePerLead,
    /// The first one of each session.
    OncePerSession,
    /// The first one of each UTC day.
    OncePerDay,
    /// The first one of each key, for ever.
    OncePerKey {
        /// Where the key stands; the first path that holds something is taken. Events without a key share one.
        paths: Vec<String>,
    },
    /// The first one of each key and UTC day.
    OncePerKeyAndDay {
        /// Where the key stands.
        paths: Vec<String>,
    },
    /// One, then none until so many hours have passed since the last that counted.
    OncePerHours {
        /// How many hours, 1 to 8,760.
        hours: u32,
    },
}

/// A condition on an event's own data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// Where to look, such as `properties.path` or `context.page.url`; it holds if it holds at any of them.
    pub paths: Vec<String>,
    /// How to compare.
    pub op: FilterOp,
    /// What with.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
}

/// How an event filter compares. Text is compared without regard to case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterOp {
    /// Equal.
    Eq,
    /// There, and not equal.
    Neq,
    /// One of a list.
    In,
    /// Text that holds the value.
    Contains,
    /// Text that begins with the value.
    StartsWith,
    /// There at all.
    Exists,
    /// A larger number.
    Gt,
    /// A number at least as large.
    Gte,
    /// A smaller number.
    Lt,
    /// A number at most as large.
    Lte,
}

/// Names a matching part: 32 bits of a digest of its canonical text.
pub type PartId = u32;

impl MatchingPart {
    /// The digest under which its counts are kept.
    pub fn id(&self) -> PartId {
        let events: BTreeSet<String> = self.events.iter().map(|name| fold_name(name)).collect();
        let canonical = serde_json::json!({ "events": events, "filters": self.filters, "count": self.count });
        (hash64(&[canonical.to_string().as_bytes()]) >> 32) as u32
    }
}

/// What is wrong with a ruleset, one entry per fault.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{pointer}`: {detail}")]
pub struct RuleFault {
    /// A JSON pointer to the field.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl EngagementRuleset {
    /// Every fault of the ruleset.
    pub fn faults(&self) -> Vec<RuleFault> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, detail: &str| faults.push(RuleFault { pointer, detail: detail.to_owned() });
        if self.rules.len() > 1_000 {
            fault("/rules".to_owned(), "at most 1,000 rules");
        }
        if !(0..=1_000_000).contains(&self.lead_cap) {
            fault("/lead_cap".to_owned(), "0 (no limit) to 1,000,000");
        }
        match self.aggregation {
            Aggregation::TopN { n: 0 } => fault("/aggregation/n".to_owned(), "at least 1"),
            Aggregation::Diminishing { percent } if percent > 100 => fault("/aggregation/percent".to_owned(), "0 to 100"),
            _ => {}
        }
        let mut ids = BTreeSet::new();
        for (i, rule) in self.rules.iter().enumerate() {
            let at = |field: &str| format!("/rules/{i}/{field}");
            if rule.id.trim().is_empty() || !ids.insert(rule.id.as_str()) {
                fault(at("id"), "must not be empty, and no two rules may share it");
            }
            if !(-10_000..=10_000).contains(&rule.points) {
                fault(at("points"), "−10,000 to 10,000");
            }
            if rule.cap < 0 {
                fault(at("cap"), "0 (no limit) or more");
            }
            if rule.cap_per_day < 0 {
                fault(at("cap_per_day"), "0 (no limit) or more");
            }
            if rule.part.events.is_empty() || rule.part.events.iter().any(|name| fold_name(name).is_empty()) {
                fault(at("events"), "at least one name, none of them empty");
            }
            match &rule.part.count {
                CountMode::OncePerHours { hours } if !(1..=8_760).contains(hours) => fault(at("count/hours"), "1 to 8,760"),
                CountMode::OncePerKey { paths } | CountMode::OncePerKeyAndDay { paths } if paths.is_empty() => {
                    fault(at("count/paths"), "at least one path");
                }
                _ => {}
            }
            match &rule.decay {
                Decay::Linear { days } | Decay::HalfLife { days } if !(1..=3_650).contains(days) => {
                    fault(at("decay/days"), "1 to 3,650");
                }
                Decay::Step { steps } if steps.iter().any(|step| step.percent > 100) => fault(at("decay/steps"), "0 to 100 percent"),
                _ => {}
            }
            for (j, filter) in rule.part.filters.iter().enumerate() {
                if filter.paths.is_empty() {
                    fault(at(&format!("filters/{j}/paths")), "at least one path");
                }
                let fits = match filter.op {
                    FilterOp::Exists => true,
                    FilterOp::In => filter.value.is_array(),
                    FilterOp::Gt | FilterOp::Gte | FilterOp::Lt | FilterOp::Lte => filter.value.is_number(),
                    FilterOp::Contains | FilterOp::StartsWith => filter.value.as_str().is_some_and(|text| !text.is_empty()),
                    FilterOp::Eq | FilterOp::Neq => !filter.value.is_null() && !filter.value.is_object(),
                };
                if !fits {
                    fault(
                        at(&format!("filters/{j}/value")),
                        "a list for `in`, a number for comparisons, text for `contains` and `starts_with`, a plain value else",
                    );
                }
            }
        }
        faults
    }
}

/// An event's own data, looked into only where a rule asks, and without building a tree where that can be avoided.
#[derive(Debug)]
pub struct EventView<'e> {
    event: &'e Event,
    properties: Part<'e>,
    traits: Part<'e>,
    context: Part<'e>,
}

/// One of an event's JSON objects.
#[derive(Debug, Default)]
struct Part<'e> {
    text: Option<&'e str>,
    /// The members with their values as they are written; the inner `None` when only the parser can tell them.
    members: Option<Option<Vec<(&'e str, &'e str)>>>,
    tree: Option<Map<String, Value>>,
}

/// Members of a JSON object, their values as they are written. `None` when the text is not of the usual kind.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut members = Vec::with_capacity(12);
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, key| {
        let value = scanner.text_of(|scanner| scanner.value(NESTED).map(drop))?;
        members.push((key, value));
        Some(())
    })?;
    scanner.at_end().then_some(members)
}

/// The last member of this name is the one that holds, as for the parser.
fn member<'t>(members: &[(&'t str, &'t str)], name: &str) -> Option<&'t str> {
    members.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

/// Deeper objects are left to the parser.
const NESTED: usize = 64;

/// A value as the parser reads it; text of the usual kind without asking it.
fn read_value(text: &str) -> Option<Value> {
    let mut scanner = Scanner::new(text);
    match scanner.value(1) {
        Some(Scanned::Text(text)) => Some(Value::String(text.to_owned())),
        Some(Scanned::Null) => Some(Value::Null),
        Some(Scanned::Bool(flag)) => Some(Value::Bool(flag)),
        _ => serde_json::from_str(text).ok(),
    }
}

impl<'e> Part<'e> {
    fn of(object: Option<&'e crate::JsonObject>) -> Self {
        Self { text: object.map(crate::JsonObject::as_str), ..Self::default() }
    }

    fn tree(&mut self) -> &Map<String, Value> {
        let text = self.text;
        self.tree.get_or_insert_with(|| text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// The value at a dotted path, null included. A key that itself holds dots wins over nesting.
    fn value(&mut self, rest: &str) -> Option<Value> {
        let text = self.text?;
        let Some(listed) = self.members.get_or_insert_with(|| members(text)) else {
            let map = self.tree();
            if let Some(value) = map.get(rest) {
                return Some(value.clone());
            }
            let mut steps = rest.split('.');
            let first = map.get(steps.next()?)?;
            return steps.try_fold(first, |value, step| value.as_object()?.get(step)).cloned();
        };
        if let Some(value) = member(listed, rest) {
            return read_value(value);
        }
        let (first, mut below) = rest.split_once('.')?;
        let mut value = member(listed, first)?;
        loop {
            let (step, deeper) = below.split_once('.').map_or((below, None), |(step, deeper)| (step, Some(deeper)));
            let Some(listed) = members(value) else {
                let tree: Value = serde_json::from_str(value).ok()?;
                return below.split('.').try_fold(&tree, |value, step| value.as_object()?.get(step)).cloned();
            };
            value = member(&listed, step)?;
            match deeper {
                Some(deeper) => below = deeper,
                None => return read_value(value),
            }
        }
    }
}

impl<'e> EventView<'e> {
    /// A view that has looked at nothing yet.
    pub fn new(event: &'e Event) -> Self {
        Self {
            event,
            properties: Part::of(event.properties.as_ref()),
            traits: Part::of(event.traits.as_ref()),
            context: Part::of(event.context.as_ref()),
        }
    }

    /// The event.
    pub const fn event(&self) -> &'e Event {
        self.event
    }

    /// `properties` as a tree.
    pub fn properties(&mut self) -> &Map<String, Value> {
        self.properties.tree()
    }

    /// `traits` as a tree.
    pub fn traits(&mut self) -> &Map<String, Value> {
        self.traits.tree()
    }

    /// `context` as a tree.
    pub fn context(&mut self) -> &Map<String, Value> {
        self.context.tree()
    }

    /// The names of the members of an object, unless only the parser can tell them.
    pub(crate) fn names(&mut self, which: &str) -> Option<impl Iterator<Item = &'e str>> {
        let part = match which {
            "properties" => &mut self.properties,
            "traits" => &mut self.traits,
            _ => &mut self.context,
        };
        let text = part.text.unwrap_or("{}");
        part.members.get_or_insert_with(|| members(text)).as_ref().map(|listed| listed.iter().map(|(name, _)| *name))
    }

    /// The value at a dotted path: `properties.…`, `traits.…`, `context.…` or `name`. Null counts as absent.
    pub fn value(&mut self, path: &str) -> Option<Value> {
        self.value_or_null(path).filter(|value| !value.is_null())
    }

    /// Like [`Self::value`], but null is an answer.
    pub fn value_or_null(&mut self, path: &str) -> Option<Value> {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        match head {
            "properties" => self.properties.value(rest),
            "traits" => self.traits.value(rest),
            "context" => self.context.value(rest),
            "name" if rest.is_empty() => self.event.name.clone().map(Value::String),
            _ => None,
        }
    }

    /// The first of the paths that holds text or a number, as text.
    pub fn text(&mut self, paths: &[String]) -> Option<String> {
        paths.iter().find_map(|path| plain_text(&self.value(path)?))
    }
}

/// Text or a number as trimmed text; nothing for everything else and for empty text.
pub fn plain_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

impl EventFilter {
    fn holds(&self, view: &mut EventView<'_>) -> bool {
        self.paths.iter().any(|path| view.value(path).is_some_and(|found| self.compares(&found)))
    }

    fn compares(&self, found: &Value) -> bool {
        let number =
            |order: fn(Number, Number) -> bool| plain_number(found).zip(plain_number(&self.value)).is_some_and(|(a, b)| order(a, b));
        let text = |test: fn(&str, &str) -> bool| {
            plain_text(found).zip(self.value.as_str()).is_some_and(|(a, b)| test(&a.to_lowercase(), &b.to_lowercase()))
        };
        match self.op {
            FilterOp::Exists => true,
            FilterOp::Eq => same(found, &self.value),
            FilterOp::Neq => !same(found, &self.value),
            FilterOp::In => self.value.as_array().is_some_and(|list| list.iter().any(|one| same(found, one))),
            FilterOp::Contains => text(|a, b| a.contains(b)),
            FilterOp::StartsWith => text(|a, b| a.starts_with(b)),
            FilterOp::Gt => number(|a, b| a > b),
            FilterOp::Gte => number(|a, b| a >= b),
            FilterOp::Lt => number(|a, b| a < b),
            FilterOp::Lte => number(|a, b| a <= b),
        }
    }
}

/// A number, or text that is one.
fn plain_number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Number::from_json(number),
        Value::String(text) => Number::parse(text.trim()),
        _ => None,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    if let (Value::Number(a), Value::Number(b)) = (a, b) {
        return Number::from_json(a) == Number::from_json(b);
    }
    match (plain_text(a), plain_text(b)) {
        (Some(a), Some(b)) => a.to_lowercase() == b.to_lowercase(),
        _ => false,
    }
}

/// The matching parts of a ruleset, each once, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    parts: Vec<(PartId, MatchingPart)>,
    by_name: HashMap<String, Vec<usize>>,
    digest: u64,
}

/// How long the key of something that counts once must be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// For ever: once means once.
    Forever,
    /// As long as its session.
    Session,
    /// As long as its day.
    Day,
}

/// That an event is counted by a part, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// By the day on which it happened, from the counts of all matching events.
    Day,
    /// Once for this key; the earliest day wins.
    Key(u32),
    /// By its minute.
    Minute,
}

impl Matcher {
    /// From the matching parts of a ruleset.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r MatchingPart>) -> Self {
        let parts: BTreeMap<PartId, MatchingPart> = rules.into_iter().map(|part| (part.id(), part.clone())).collect();
        let ids: Vec<u8> = parts.keys().flat_map(|id| id.to_le_bytes()).collect();
        let mut matcher = Self { digest: hash64(&[&ids]), ..Self::default() };
        for (id, part) in parts {
            let names: BTreeSet<String> = part.events.iter().map(|name| fold_name(name)).collect();
            for name in names {
                matcher.by_name.entry(name).or_default().push(matcher.parts.len());
            }
            matcher.parts.push((id, part));
        }
        matcher
    }

    /// Names the set of parts: states that were folded with another set lack counts.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How long a part's keys must be remembered. Keys of a part that is no longer asked for are kept.
    pub fn memory(&self, part: PartId) -> Memory {
        let found = self.parts.binary_search_by_key(&part, |(id, _)| *id).ok().and_then(|place| self.parts.get(place));
        match found.map(|(_, part)| &part.count) {
            Some(CountMode::OncePerSession) => Memory::Session,
            Some(CountMode::OncePerKeyAndDay { .. }) => Memory::Day,
            _ => Memory::Forever,
        }
    }

    /// The parts that the event belongs to, in order of their ids, and how each counts it.
    pub fn matches(&self, view: &mut EventView<'_>, folded_name: &str, session: u32) -> Vec<(PartId, Counted)> {
        if matches!(view.event().kind, CallKind::Alias) {
            return Vec::new();
        }
        let Some(candidates) = self.by_name.get(folded_name) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (id, part) in candidates.iter().filter_map(|i| self.parts.get(*i)) {
            if part.filters.iter().all(|filter| filter.holds(view)) {
                found.push((*id, counted(&part.count, view, session)));
            }
        }
        found
    }
}

fn counted(mode: &CountMode, view: &mut EventView<'_>, session: u32) -> Counted {
    let key = |view: &mut EventView<'_>, paths: &[String], day: &[u8]| {
        let text = view.text(paths).unwrap_or_default().to_lowercase();
        Counted::Key((hash64(&[text.as_bytes(), day]) >> 32) as u32)
    };
    match mode {
        CountMode::Every | CountMode::OncePerDay => Counted::Day,
        CountMode::OncePerLead => Counted::Key(0),
        CountMode::OncePerSession => Counted::Key(session),
        CountMode::OncePerKey { paths } => key(view, paths, &[]),
        CountMode::OncePerKeyAndDay { paths } => {
            let day = view.event().timestamp.day().0.to_le_bytes();
            key(view, paths, &day)
        }
        CountMode::OncePerHours { .. } => Counted::Minute,
    }
}
