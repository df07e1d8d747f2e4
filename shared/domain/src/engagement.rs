//! Engagement rules: which events earn points, how they are counted, how the points fade.

use crate::{
    CallKind, Event,
    decay::Decay,
    event::fold_name,
    field::Number,
    hash64,
    mapping::{BESIDE, KeySet, Root},
    scan::{Scanned, Scanner},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};
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
    /// The members, once they were looked at; the inner `None` when only the parser can tell them.
    members: Option<Option<Members<'e>>>,
    tree: Option<Map<String, Value>>,
}

/// Names of members and their values.
type Members<'t> = Vec<(&'t str, Scanned<'t>)>;

/// Members of a JSON object. `None` when the text is not of the usual kind.
fn members(text: &str) -> Option<Members<'_>> {
    let mut members = Vec::with_capacity(12);
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, key| {
        members.push((key, scanner.value(NESTED)?));
        Some(())
    })?;
    scanner.at_end().then_some(members)
}

/// The last member of this name is the one that holds, as for the parser.
fn member<'t>(members: &[(&'t str, Scanned<'t>)], name: &str) -> Option<Scanned<'t>> {
    members.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

/// Deeper objects are left to the parser.
const NESTED: usize = 64;

/// A value that was found in an event.
#[derive(Debug)]
pub(crate) enum Found<'e> {
    /// A text as it stands in the event.
    Text(&'e str),
    /// Any other value, and text that is written with escapes.
    Read(Value),
}

impl<'e> Found<'e> {
    /// A value as the parser reads it, which is asked only where it has to be.
    fn new(value: Scanned<'e>) -> Option<Self> {
        match value {
            Scanned::Text(text) => Some(Self::Text(text)),
            Scanned::Null => Some(Self::Read(Value::Null)),
            Scanned::Bool(flag) => Some(Self::Read(Value::Bool(flag))),
            Scanned::Whole(n) => Some(Self::Read(n.into())),
            Scanned::Decimal(text) | Scanned::Other(text) => serde_json::from_str(text).ok().map(Self::Read),
        }
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Read(Value::Null))
    }

    /// The value itself.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.to_owned()),
            Self::Read(value) => value,
        }
    }

    /// The text, when it is one.
    pub(crate) fn into_text(self) -> Option<Cow<'e, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Read(Value::String(text)) => Some(Cow::Owned(text)),
            Self::Read(_) => None,
        }
    }

    /// As [`plain_text`].
    pub(crate) fn plain_text(&self) -> Option<Cow<'e, str>> {
        match self {
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed),
            Self::Read(value) => plain_text(value).map(Cow::Owned),
        }
    }
}

impl<'e> Part<'e> {
    fn of(object: Option<&'e crate::JsonObject>) -> Self {
        match object {
            Some(object) => Self { text: Some(object.as_str()), ..Self::default() },
            None => Self { members: Some(Some(Vec::new())), ..Self::default() },
        }
    }

    /// The members; `None` when only the parser can tell them.
    fn members(&mut self) -> Option<&Members<'e>> {
        let text = self.text.unwrap_or_default();
        self.members.get_or_insert_with(|| members(text)).as_ref()
    }

    fn tree(&mut self) -> &Map<String, Value> {
        let text = self.text;
        self.tree.get_or_insert_with(|| text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// Whether a member may have a name that begins like this. Never wrongly no.
    fn may_name(&mut self, beginning: &str) -> bool {
        self.members().is_none_or(|listed| listed.iter().any(|(name, _)| name.starts_with(beginning)))
    }

    /// The value at a dotted path, null included. A key that itself holds dots wins over nesting.
    fn find(&mut self, rest: &str) -> Option<Found<'e>> {
        let Some(listed) = self.members() else {
            let map = self.tree();
            if let Some(value) = map.get(rest) {
                return Some(Found::Read(value.clone()));
            }
            let mut steps = rest.split('.');
            let first = map.get(steps.next()?)?;
            return steps.try_fold(first, |value, step| value.as_object()?.get(step)).cloned().map(Found::Read);
        };
        if let Some(value) = member(listed, rest) {
            return Found::new(value);
        }
        let (first, mut below) = rest.split_once('.')?;
        let mut value = member(listed, first)?;
        loop {
            let (step, deeper) = below.split_once('.').map_or((below, None), |(step, deeper)| (step, Some(deeper)));
            let Scanned::Other(text) = value else { return None };
            let Some(listed) = members(text) else {
                let tree: Value = serde_json::from_str(text).ok()?;
                return below.split('.').try_fold(&tree, |value, step| value.as_object()?.get(step)).cloned().map(Found::Read);
            };
            value = member(&listed, step)?;
            match deeper {
                Some(deeper) => below = deeper,
                None => return Found::new(value),
            }
        }
    }

    /// The members whose names are wanted, when `keys` holds any of them; of an object that only the parser can read all members.
    fn pick(&mut self, keys: &KeySet) -> Option<Map<String, Value>> {
        let Some(listed) = self.members() else { return Some(self.tree().clone()) };
        if !listed.iter().any(|(name, _)| keys.holds(name)) {
            return None;
        }
        let picked = listed.iter().filter(|(name, _)| keys.holds(name) || *name == BESIDE);
        Some(picked.filter_map(|(name, value)| Some(((*name).to_owned(), Found::new(*value)?.into_value()))).collect())
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

    /// The members of an object that a mapping may look at; `None` when it has none of these keys.
    pub(crate) fn pick(&mut self, root: Root, keys: &KeySet) -> Option<Map<String, Value>> {
        match root {
            Root::Properties => self.properties.pick(keys),
            Root::Traits | Root::Group => self.traits.pick(keys),
            Root::Context => self.context.pick(keys),
        }
    }

    /// Whether an object may have a member whose name begins like this. Never wrongly no.
    pub(crate) fn may_name(&mut self, place: Place, beginning: &str) -> bool {
        match place {
            Place::Properties => self.properties.may_name(beginning),
            Place::Traits => self.traits.may_name(beginning),
            Place::Context => self.context.may_name(beginning),
            Place::Name | Place::Nowhere => false,
        }
    }

    /// The value at a dotted path below a place. Null counts as absent.
    pub(crate) fn find(&mut self, place: Place, rest: &str) -> Option<Found<'e>> {
        self.find_or_null(place, rest).filter(|found| !found.is_null())
    }

    /// Like [`Self::find`], but null is an answer.
    pub(crate) fn find_or_null(&mut self, place: Place, rest: &str) -> Option<Found<'e>> {
        match place {
            Place::Properties => self.properties.find(rest),
            Place::Traits => self.traits.find(rest),
            Place::Context => self.context.find(rest),
            Place::Name => self.event.name.as_deref().map(Found::Text),
            Place::Nowhere => None,
        }
    }

    /// The first of the paths that holds text or a number, as text.
    fn text(&mut self, paths: &[EventPath]) -> Option<Cow<'e, str>> {
        paths.iter().find_map(|path| self.find(path.place, &path.rest)?.plain_text())
    }
}

/// Where in an event a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Properties,
    Traits,
    Context,
    /// The event's name.
    Name,
    /// No event has it.
    Nowhere,
}

/// A dotted path: `properties.…`, `traits.…`, `context.…` or `name`.
#[derive(Debug, Clone)]
struct EventPath {
    place: Place,
    rest: String,
}

impl EventPath {
    fn new(path: &str) -> Self {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        let place = match head {
            "properties" => Place::Properties,
            "traits" => Place::Traits,
            "context" => Place::Context,
            "name" if rest.is_empty() => Place::Name,
            _ => Place::Nowhere,
        };
        Self { place, rest: rest.to_owned() }
    }

    fn all(paths: &[String]) -> Vec<Self> {
        paths.iter().map(|path| Self::new(path)).collect()
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

/// A filter with its paths and the text that it looks for at hand.
#[derive(Debug, Clone)]
struct CompiledFilter {
    paths: Vec<EventPath>,
    op: FilterOp,
    value: Value,
    /// The value in lower case, when it is text.
    lower: Option<String>,
}

impl CompiledFilter {
    fn new(filter: &EventFilter) -> Self {
        let lower = filter.value.as_str().map(str::to_lowercase);
        Self { paths: EventPath::all(&filter.paths), op: filter.op, value: filter.value.clone(), lower }
    }

    fn holds(&self, view: &mut EventView<'_>) -> bool {
        self.paths.iter().any(|path| view.find(path.place, &path.rest).is_some_and(|found| self.compares(found)))
    }

    fn compares(&self, found: Found<'_>) -> bool {
        let value = &self.value;
        let text = |test: fn(&str, &str) -> bool| found.plain_text().zip(self.lower.as_ref()).is_some_and(|(a, b)| test(&a, b));
        match self.op {
            FilterOp::Exists => true,
            FilterOp::Contains => text(contains_lower),
            FilterOp::StartsWith => text(starts_with_lower),
            FilterOp::Eq => same(&found.into_value(), value),
            FilterOp::Neq => !same(&found.into_value(), value),
            FilterOp::In => {
                let found = found.into_value();
                value.as_array().is_some_and(|list| list.iter().any(|one| same(&found, one)))
            }
            FilterOp::Gt => ordered(found, value, |a, b| a > b),
            FilterOp::Gte => ordered(found, value, |a, b| a >= b),
            FilterOp::Lt => ordered(found, value, |a, b| a < b),
            FilterOp::Lte => ordered(found, value, |a, b| a <= b),
        }
    }
}

fn ordered(found: Found<'_>, value: &Value, order: fn(Number, Number) -> bool) -> bool {
    plain_number(&found.into_value()).zip(plain_number(value)).is_some_and(|(a, b)| order(a, b))
}

/// Whether a text in lower case holds another one, which is in lower case.
fn contains_lower(text: &str, lower: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().contains(lower);
    }
    let Some(first) = lower.bytes().next() else { return true };
    // This bit tells letters of the one case from those of the other; of other characters too many pass, which does no harm.
    const CASE: u8 = 0x20;
    let mut begins = text.bytes().enumerate().filter(|(_, byte)| byte | CASE == first | CASE);
    begins.any(|(at, _)| text.get(at..).is_some_and(|rest| ascii_starts_with_lower(rest, lower)))
}

/// Whether a text in lower case begins with another one, which is in lower case.
fn starts_with_lower(text: &str, lower: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().starts_with(lower);
    }
    ascii_starts_with_lower(text, lower)
}

fn ascii_starts_with_lower(text: &str, lower: &str) -> bool {
    text.as_bytes().get(..lower.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(lower.as_bytes()))
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
    parts: Vec<CompiledPart>,
    by_name: HashMap<String, Vec<usize>>,
    digest: u64,
}

/// A matching part as it is asked.
#[derive(Debug, Clone)]
struct CompiledPart {
    id: PartId,
    filters: Vec<CompiledFilter>,
    count: CountMode,
    /// Where the key of something that counts once stands.
    keys: Vec<EventPath>,
}

impl CompiledPart {
    fn new(id: PartId, part: MatchingPart) -> Self {
        let keys = match &part.count {
            CountMode::OncePerKey { paths } | CountMode::OncePerKeyAndDay { paths } => EventPath::all(paths),
            _ => Vec::new(),
        };
        Self { id, filters: part.filters.iter().map(CompiledFilter::new).collect(), count: part.count, keys }
    }
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
            matcher.parts.push(CompiledPart::new(id, part));
        }
        matcher
    }

    /// Names the set of parts: states that were folded with another set lack counts.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How long a part's keys must be remembered. Keys of a part that is no longer asked for are kept.
    pub fn memory(&self, part: PartId) -> Memory {
        let found = self.parts.binary_search_by_key(&part, |part| part.id).ok().and_then(|place| self.parts.get(place));
        match found.map(|part| &part.count) {
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
        for part in candidates.iter().filter_map(|i| self.parts.get(*i)) {
            if part.filters.iter().all(|filter| filter.holds(view)) {
                found.push((part.id, part.counted(view, session)));
            }
        }
        found
    }
}

impl CompiledPart {
    /// As what it counts an event that belongs to it.
    fn counted(&self, view: &mut EventView<'_>, session: u32) -> Counted {
        let key = |view: &mut EventView<'_>, day: &[u8]| {
            let text = view.text(&self.keys).unwrap_or_default().to_lowercase();
            Counted::Key((hash64(&[text.as_bytes(), day]) >> 32) as u32)
        };
        match &self.count {
            CountMode::Every | CountMode::OncePerDay => Counted::Day,
            CountMode::OncePerLead => Counted::Key(0),
            CountMode::OncePerSession => Counted::Key(session),
            CountMode::OncePerKey { .. } => key(view, &[]),
            CountMode::OncePerKeyAndDay { .. } => {
                let day = view.event().timestamp.day().0.to_le_bytes();
                key(view, &day)
            }
            CountMode::OncePerHours { .. } => Counted::Minute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JsonObject, MessageId, Timestamp};
    use proptest::prelude::*;

    fn event(context: &str) -> Event {
        Event {
            message_id: MessageId::new("m").unwrap(),
            kind: CallKind::Track,
            name: Some("x".to_owned()),
            user_id: None,
            anonymous_id: None,
            previous_id: None,
            account: None,
            timestamp: Timestamp::default(),
            received_at: Timestamp::default(),
            clamped: false,
            skew_ms: None,
            ip: None,
            user_agent: None,
            properties: None,
            traits: None,
            context: Some(JsonObject::from_raw(serde_json::from_str(context).unwrap())),
        }
    }

    /// What the parser finds at a path: a key that itself holds dots wins over nesting, once.
    fn parsed(context: &str, path: &str) -> Option<Value> {
        let map: Map<String, Value> = serde_json::from_str(context).unwrap();
        if let Some(value) = map.get(path) {
            return Some(value.clone());
        }
        let mut steps = path.split('.');
        let first = map.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(step)).cloned()
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("-3.50".to_owned()),
            Just("1e2".to_owned()),
            "[a-z ]{0,4}".prop_map(|text| format!("\"{text}\"")),
            Just(r#""a\nb""#.to_owned()),
            Just("[1, {\"a\": 2}]".to_owned()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let key = prop_oneof![Just("a"), Just("b"), Just("a.b"), Just("b.a"), Just("\\u0061")];
            proptest::collection::vec((key, inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{ {} }}", members.join(","))
            })
        })
    }

    fn any_object() -> impl Strategy<Value = String> {
        (any_json(), any_json(), any_json()).prop_map(|(a, b, both)| format!(r#"{{"a": {a}, "b": {b}, "a.b": {both}, "a": {a}}}"#))
    }

    proptest! {
        #[test]
        fn a_view_finds_what_the_parser_finds(
            context in prop_oneof![any_object(), any_json().prop_filter("an object", |text| text.starts_with('{'))],
            path in "[ab](\\.[ab]){0,3}",
        ) {
            let event = event(&context);
            let mut view = EventView::new(&event);
            let found = view.find_or_null(Place::Context, &path).map(Found::into_value);
            prop_assert_eq!(&found, &parsed(&context, &path));
            let text = found.as_ref().and_then(plain_text);
            prop_assert_eq!(view.text(&EventPath::all(&[format!("context.{path}")])).map(Cow::into_owned), text);
            prop_assert!(view.may_name(Place::Context, "a") || parsed(&context, "a").is_none());
        }

        #[test]
        fn text_is_compared_as_it_is_in_lower_case(text in "[a-cA-C\u{130}\u{212a}é]{0,12}", part in "[a-cA-C\u{130}k]{1,3}") {
            let (lower, part) = (text.to_lowercase(), part.to_lowercase());
            prop_assert_eq!(contains_lower(&text, &part), lower.contains(&part));
            prop_assert_eq!(starts_with_lower(&text, &part), lower.starts_with(&part));
        }
    }
}
