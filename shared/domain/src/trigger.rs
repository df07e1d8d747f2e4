//! What calls for a notification, given a transition.

use crate::{
    DestinationId, Timestamp, TriggerId,
    grade::{Grade, GridCell},
    problem::{Problems, join, shape},
    transition::{Changed, Transition},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The cooldown of a trigger that states none: seven days per account.
pub const DEFAULT_COOLDOWN_HOURS: u32 = 168;
/// The longest cooldown: one year.
pub const MAX_COOLDOWN_HOURS: u32 = 8_760;
/// The most destinations of one trigger. All its deliveries for one transition are written in one transaction.
pub const MAX_DESTINATIONS: usize = 20;
/// The most filters of one trigger.
pub const MAX_FILTERS: usize = 20;
/// The most values of one `in`.
pub const MAX_FILTER_VALUES: usize = 100;

/// Calls for a notification when a transition matches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    /// What a person called it.
    pub name: String,
    /// Whether it fires at all.
    pub enabled: bool,
    /// For which transitions.
    pub when: When,
    /// For which accounts; all of them must hold. Empty for every account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<TriggerFilter>,
    /// How often for one account.
    #[serde(default)]
    pub fire: Fire,
    /// Who is told.
    #[serde(default)]
    pub destinations: Vec<DestinationId>,
    /// When it was made. Transitions recorded earlier never fire it.
    pub created_at: Timestamp,
    /// Counts its writes; a store sets it when it reads the trigger.
    #[serde(default)]
    pub version: u64,
}

/// Which level a trigger watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelOf {
    /// The account level (fit).
    #[default]
    Account,
    /// The account engagement level.
    Engagement,
    /// The level of any lead of the account.
    Lead,
}

impl LevelOf {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Engagement => "engagement",
            Self::Lead => "lead",
        }
    }
}

/// Which way a score crosses a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From below the threshold to the threshold or more.
    #[default]
    Up,
    /// From the threshold or more to below it.
    Down,
}

/// Which transitions a trigger is about. Every one is an edge: something that is so now and was not so before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum When {
    /// A level was reached that was not there before, at the account's creation too.
    LevelEntered {
        /// The level's id.
        level: String,
        /// Whose level.
        #[serde(default)]
        of: LevelOf,
    },
    /// A level was left for another one.
    LevelLeft {
        /// The level's id.
        level: String,
        /// Whose level.
        #[serde(default)]
        of: LevelOf,
    },
    /// A surge began.
    SurgeStarted {},
    /// A surge ended.
    SurgeEnded {},
    /// A cell of the grid of fit and engagement was reached from another one, at the account's creation too.
    GridEntered {
        /// The cell, such as `A1`.
        cell: GridCell,
    },
    /// The account's engagement score went over or under a threshold.
    EngagementCrossed {
        /// The threshold, in points.
        threshold: i64,
        /// Over or under it.
        #[serde(default)]
        direction: Direction,
    },
}

impl When {
    /// Whether the transition is the edge that this is about. A silent transition never is.
    pub fn matches(&self, transition: &Transition) -> bool {
        if transition.silent {
            return false;
        }
        match (self, &transition.change) {
            (Self::LevelEntered { level, of }, change) => {
                levels_of(change, *of).is_some_and(|(from, to)| to == level && from != Some(level.as_str()))
            }
            (Self::LevelLeft { level, of }, change) => {
                levels_of(change, *of).is_some_and(|(from, to)| from == Some(level.as_str()) && to != level)
            }
            (Self::SurgeStarted {}, Changed::Surge { active }) => *active,
            (Self::SurgeEnded {}, Changed::Surge { active }) => !*active,
            (Self::GridEntered { cell }, Changed::Grid { from, to }) => to == cell && from.as_ref() != Some(cell),
            (Self::EngagementCrossed { threshold, direction }, Changed::Engagement { from, to }) => match direction {
                Direction::Up => from < threshold && to >= threshold,
                Direction::Down => from >= threshold && to < threshold,
            },
            (Self::SurgeStarted {} | Self::SurgeEnded {} | Self::GridEntered { .. } | Self::EngagementCrossed { .. }, _) => false,
        }
    }

    /// What a delivery's payload calls it, such as `account.level_entered`.
    pub const fn payload_type(&self) -> &'static str {
        match self {
            Self::LevelEntered { of: LevelOf::Account, .. } => "account.level_entered",
            Self::LevelEntered { of: LevelOf::Engagement, .. } => "account.engagement_level_entered",
            Self::LevelEntered { of: LevelOf::Lead, .. } => "lead.level_entered",
            Self::LevelLeft { of: LevelOf::Account, .. } => "account.level_left",
            Self::LevelLeft { of: LevelOf::Engagement, .. } => "account.engagement_level_left",
            Self::LevelLeft { of: LevelOf::Lead, .. } => "lead.level_left",
            Self::SurgeStarted {} => "account.surge_started",
            Self::SurgeEnded {} => "account.surge_ended",
            Self::GridEntered { .. } => "account.grid_entered",
            Self::EngagementCrossed { .. } => "account.engagement_crossed",
        }
    }

    /// The level that it names and whose level that is.
    pub fn level(&self) -> Option<(LevelOf, &str)> {
        match self {
            Self::LevelEntered { level, of } | Self::LevelLeft { level, of } => Some((*of, level)),
            Self::SurgeStarted {} | Self::SurgeEnded {} | Self::GridEntered { .. } | Self::EngagementCrossed { .. } => None,
        }
    }

    fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        const KINDS: &str = "`level_entered`, `level_left`, `surge_started`, `surge_ended`, `grid_entered` or `engagement_crossed`";
        let kind = match value.as_object().map(|map| map.get("kind")) {
            Some(Some(kind)) => kind,
            Some(None) => {
                problems.add(&join(at, "kind"), format!("is required: {KINDS}"));
                return None;
            }
            None => {
                problems.add(at, format!("must be an object with `kind`, got {}", shape(value)));
                return None;
            }
        };
        match kind.as_str() {
            Some(word @ ("level_entered" | "level_left")) => {
                let map = problems.object(at, value, &["kind", "level", "of"])?;
                let of = read_word(problems, at, map, "of", &LEVELS_OF);
                let level = problems.text(at, map, "level", 64)?;
                let of = of?;
                Some(if word == "level_entered" { Self::LevelEntered { level, of } } else { Self::LevelLeft { level, of } })
            }
            Some("surge_started") => problems.object(at, value, &["kind"]).map(|_| Self::SurgeStarted {}),
            Some("surge_ended") => problems.object(at, value, &["kind"]).map(|_| Self::SurgeEnded {}),
            Some("grid_entered") => {
                let map = problems.object(at, value, &["kind", "cell"])?;
                let text = problems.text(at, map, "cell", 64)?;
                let cell = GridCell::parse(&text).map_err(|error| problems.add(&join(at, "cell"), error.to_string())).ok()?;
                Some(Self::GridEntered { cell })
            }
            Some("engagement_crossed") => {
                let map = problems.object(at, value, &["kind", "threshold", "direction"])?;
                let direction = read_word(problems, at, map, "direction", &DIRECTIONS);
                let threshold = problems.whole(at, map, "threshold", 1..=1_000_000_000)?;
                Some(Self::EngagementCrossed { threshold, direction: direction? })
            }
            _ => {
                problems.add(&join(at, "kind"), format!("must be {KINDS}, got {}", shape(kind)));
                None
            }
        }
    }
}

const LEVELS_OF: [(&str, LevelOf); 3] = [("account", LevelOf::Account), ("engagement", LevelOf::Engagement), ("lead", LevelOf::Lead)];
const DIRECTIONS: [(&str, Direction); 2] = [("up", Direction::Up), ("down", Direction::Down)];
const MODES: [(&str, FireMode); 2] = [("always", FireMode::Always), ("once", FireMode::Once)];

/// Reads an optional word out of a few; absent or null gives the default.
fn read_word<T: Copy + Default>(problems: &mut Problems, at: &str, map: &Map<String, Value>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else {
        return Some(T::default());
    };
    let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text)).map(|(_, meaning)| *meaning);
    if found.is_none() {
        let known = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        problems.add(&join(at, key), format!("must be {known}, got {}", shape(value)));
    }
    found
}

fn levels_of(change: &Changed, of: LevelOf) -> Option<(Option<&str>, &str)> {
    match (change, of) {
        (Changed::AccountLevel { from, to }, LevelOf::Account)
        | (Changed::EngagementLevel { from, to }, LevelOf::Engagement)
        | (Changed::LeadLevel { from, to, .. }, LevelOf::Lead) => Some((from.as_deref(), to)),
        _ => None,
    }
}

/// How often a trigger fires for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// Once ever or again and again.
    #[serde(default)]
    pub mode: FireMode,
    /// For how many hours after it fired for an account it stays quiet for that account; 0 for not at all. Means nothing for `once`.
    #[serde(default = "default_cooldown")]
    pub cooldown_hours: u32,
}

const fn default_cooldown() -> u32 {
    DEFAULT_COOLDOWN_HOURS
}

impl Default for Fire {
    fn default() -> Self {
        Self { mode: FireMode::Always, cooldown_hours: DEFAULT_COOLDOWN_HOURS }
    }
}

impl Fire {
    /// The cooldown in milliseconds.
    pub const fn cooldown_ms(self) -> i64 {
        self.cooldown_hours as i64 * 3_600_000
    }

    fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let map = problems.object(at, value, &["mode", "cooldown_hours"])?;
        let mode = read_word(problems, at, map, "mode", &MODES);
        let before = problems.0.len();
        let hours = problems.optional_whole(at, map, "cooldown_hours", 0..=i64::from(MAX_COOLDOWN_HOURS));
        if problems.0.len() > before {
            return None;
        }
        let cooldown_hours = hours.and_then(|hours| u32::try_from(hours).ok()).unwrap_or(DEFAULT_COOLDOWN_HOURS);
        Some(Self { mode: mode?, cooldown_hours })
    }
}

/// Once ever or again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FireMode {
    /// Every time, but not within the cooldown.
    #[default]
    Always,
    /// The first time only, per account.
    Once,
}

/// A condition on the account: `{"on": "tier", "in": ["1:1", "1:few"]}` or `{"on": "field", "field": "country", "equals": "GB"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FilterText", into = "FilterText")]
pub struct TriggerFilter {
    /// What is compared.
    pub on: FilterOn,
    /// With what.
    pub test: FilterTest,
}

/// What a filter compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterOn {
    /// The account level's id.
    Level,
    /// The account engagement level's id.
    EngagementLevel,
    /// The grade of the account score, `A` to `F`.
    Grade,
    /// The cell of the grid of fit and engagement, such as `A1`.
    Grid,
    /// The named account's tier.
    Tier,
    /// Who looks after the account.
    Owner,
    /// A field of the account, by name.
    Field(String),
}

impl FilterOn {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::EngagementLevel => "engagement_level",
            Self::Grade => "grade",
            Self::Grid => "grid",
            Self::Tier => "tier",
            Self::Owner => "owner",
            Self::Field(_) => "field",
        }
    }

    fn parse(word: &str, field: Option<String>) -> Option<Self> {
        match (word, field) {
            ("level", None) => Some(Self::Level),
            ("engagement_level", None) => Some(Self::EngagementLevel),
            ("grade", None) => Some(Self::Grade),
            ("grid", None) => Some(Self::Grid),
            ("tier", None) => Some(Self::Tier),
            ("owner", None) => Some(Self::Owner),
            ("field", Some(field)) => Some(Self::Field(field)),
            _ => None,
        }
    }
}

/// What a filter compares with. Text is compared without regard to case and surrounding blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterTest {
    /// It is this value.
    Equals(FilterValue),
    /// It is one of these values.
    In(Vec<FilterValue>),
}

/// A value in a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FilterValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Whole(i64),
    /// Text; a number with decimals is written as text.
    Text(String),
}

impl FilterValue {
    fn is(&self, found: &Value) -> bool {
        match (self, found) {
            (_, Value::Array(items)) => items.iter().any(|item| !item.is_array() && self.is(item)),
            (Self::Bool(expected), Value::Bool(found)) => expected == found,
            (Self::Whole(expected), Value::Number(found)) => found.as_i64() == Some(*expected),
            (Self::Text(expected), Value::String(found)) => folded(expected) == folded(found),
            (Self::Text(expected), Value::Number(found)) => expected.trim() == found.to_string(),
            _ => false,
        }
    }

    fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let read = match value {
            Value::Bool(truth) => Some(Self::Bool(*truth)),
            Value::Number(number) => number.as_i64().map(Self::Whole),
            Value::String(_) => return problems.text_value(at, value, 1_000).map(Self::Text),
            _ => None,
        };
        if read.is_none() {
            problems.add(at, format!("must be a text, a whole number, `true` or `false`, got {}", shape(value)));
        }
        read
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

/// The JSON form of a filter.
#[derive(Clone, Serialize, Deserialize)]
struct FilterText {
    on: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    equals: Option<FilterValue>,
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<FilterValue>>,
}

impl From<TriggerFilter> for FilterText {
    fn from(filter: TriggerFilter) -> Self {
        let on = filter.on.as_str().to_owned();
        let field = match filter.on {
            FilterOn::Field(name) => Some(name),
            _ => None,
        };
        let (equals, one_of) = match filter.test {
            FilterTest::Equals(value) => (Some(value), None),
            FilterTest::In(values) => (None, Some(values)),
        };
        Self { on, field, equals, one_of }
    }
}

/// A stored filter that is none.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error(
    "a filter is `on` one of `level`, `engagement_level`, `grade`, `grid`, `tier`, `owner`, or `field` with `field`, and has `equals` or `in`"
)]
pub struct FilterError;

impl TryFrom<FilterText> for TriggerFilter {
    type Error = FilterError;
    fn try_from(text: FilterText) -> Result<Self, FilterError> {
        let on = FilterOn::parse(&text.on, text.field).ok_or(FilterError)?;
        let test = match (text.equals, text.one_of) {
            (Some(value), None) => FilterTest::Equals(value),
            (None, Some(values)) => FilterTest::In(values),
            _ => return Err(FilterError),
        };
        Ok(Self { on, test })
    }
}

/// Looks a field up by its name and gives its JSON form.
pub type FieldByName<'a> = dyn Fn(&str) -> Option<Value> + 'a;

/// What filters are compared with: the account as it is when the trigger is looked at.
#[derive(Default)]
pub struct FilterFacts<'a> {
    /// The account level's id.
    pub level: Option<&'a str>,
    /// The account engagement level's id.
    pub engagement_level: Option<&'a str>,
    /// The grade of the account score.
    pub grade: Option<Grade>,
    /// The cell of the grid of fit and engagement.
    pub grid: Option<GridCell>,
    /// The named account's tier.
    pub tier: Option<&'a str>,
    /// Who looks after the account.
    pub owner: Option<&'a str>,
    /// The account's fields.
    pub field: Option<&'a FieldByName<'a>>,
}

impl std::fmt::Debug for FilterFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterFacts").field("level", &self.level).field("tier", &self.tier).finish_non_exhaustive()
    }
}

impl TriggerFilter {
    /// Whether the account passes. What is not known passes no filter.
    pub fn passes(&self, facts: &FilterFacts<'_>) -> bool {
        let text = |text: Option<&str>| text.map(|text| Value::String(text.to_owned()));
        let found = match &self.on {
            FilterOn::Level => text(facts.level),
            FilterOn::EngagementLevel => text(facts.engagement_level),
            FilterOn::Grade => facts.grade.map(|grade| Value::String(grade.to_string())),
            FilterOn::Grid => facts.grid.map(|cell| Value::String(cell.to_string())),
            FilterOn::Tier => text(facts.tier),
            FilterOn::Owner => text(facts.owner),
            FilterOn::Field(name) => facts.field.and_then(|field| field(name)),
        };
        let Some(found) = found else {
            return false;
        };
        match &self.test {
            FilterTest::Equals(value) => value.is(&found),
            FilterTest::In(values) => values.iter().any(|value| value.is(&found)),
        }
    }

    fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        const ON: &str = "`level`, `engagement_level`, `grade`, `grid`, `tier`, `owner` or `field`";
        let map = problems.object(at, value, &["on", "field", "equals", "in"])?;
        let word = problems.text(at, map, "on", 64);
        let field = problems.optional_text(at, map, "field", 64);
        let on = word.as_deref().and_then(|word| match (word, &field) {
            ("field", None) => {
                problems.add(&join(at, "field"), "is required when `on` is `field`: the name of a field, such as `country`");
                None
            }
            ("level" | "engagement_level" | "grade" | "grid" | "tier" | "owner", Some(_)) => {
                problems.add(&join(at, "field"), "belongs only to a filter that is `on` a `field`; leave it out");
                None
            }
            _ => {
                let on = FilterOn::parse(word, field.clone());
                if on.is_none() {
                    problems.add(&join(at, "on"), format!("must be {ON}, got `{word}`"));
                }
                on
            }
        });
        let test = match (map.get("equals"), map.get("in")) {
            (Some(value), None) => FilterValue::read(problems, &join(at, "equals"), value).map(FilterTest::Equals),
            (None, Some(values)) => {
                let at = join(at, "in");
                let values = problems.array(&at, values)?;
                if values.is_empty() || values.len() > MAX_FILTER_VALUES {
                    problems.add(&at, format!("must have 1 to {MAX_FILTER_VALUES} values, got {}", values.len()));
                    return None;
                }
                let read: Vec<_> =
                    values.iter().enumerate().filter_map(|(i, value)| FilterValue::read(problems, &join(&at, i), value)).collect();
                (read.len() == values.len()).then_some(FilterTest::In(read))
            }
            _ => {
                problems.add(at, "must have exactly one of `equals` (a value) and `in` (an array of values)");
                None
            }
        };
        Some(Self { on: on?, test: test? })
    }
}

/// A trigger as a person writes it: everything but what the store assigns.
///
/// ```
/// use domain::trigger::TriggerDraft;
/// let draft = TriggerDraft::read(&serde_json::json!({
///     "name": "New Targets",
///     "when": {"kind": "level_entered", "level": "target"},
///     "destinations": ["dst_sales"],
/// }));
/// assert!(draft.is_ok_and(|draft| draft.fire.cooldown_hours == 168));
/// let wrong = TriggerDraft::read(&serde_json::json!({"name": "x", "when": {"kind": "level"}, "destinations": ["d"]}));
/// assert!(wrong.is_err_and(|problems| problems.0.iter().any(|problem| problem.pointer == "/when/kind")));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TriggerDraft {
    /// What a person called it, 1 to 200 characters.
    pub name: String,
    /// Whether it fires at all; absent means yes.
    pub enabled: bool,
    /// For which transitions.
    pub when: When,
    /// For which accounts.
    pub filters: Vec<TriggerFilter>,
    /// How often for one account.
    pub fire: Fire,
    /// Who is told, 1 to 20 destinations.
    pub destinations: Vec<DestinationId>,
}

impl TriggerDraft {
    /// Reads a trigger strictly: an unknown key, a wrong type or a value out of range is a problem with the pointer of its place, and
    /// all problems are listed.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let draft = Self::read_into(&mut problems, value);
        match draft {
            Some(draft) => problems.or(draft),
            None => Err(problems),
        }
    }

    fn read_into(problems: &mut Problems, value: &Value) -> Option<Self> {
        let map = problems.object("", value, &["name", "enabled", "when", "filters", "fire", "destinations"])?;
        let name = problems.text("", map, "name", 200);
        let enabled = match map.get("enabled") {
            None | Some(Value::Null) => Some(true),
            Some(Value::Bool(enabled)) => Some(*enabled),
            Some(other) => {
                problems.add("/enabled", format!("must be `true` or `false`, got {}", shape(other)));
                None
            }
        };
        let when = match map.get("when") {
            Some(value) => When::read(problems, "/when", value),
            None => {
                problems.add("/when", "is required: an object such as `{\"kind\": \"level_entered\", \"level\": \"target\"}`");
                None
            }
        };
        let filters = match map.get("filters") {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(value) => Self::filters(problems, value),
        };
        let fire = match map.get("fire") {
            None | Some(Value::Null) => Some(Fire::default()),
            Some(value) => Fire::read(problems, "/fire", value),
        };
        let destinations = Self::destinations(problems, map.get("destinations"));
        Some(Self { name: name?, enabled: enabled?, when: when?, filters: filters?, fire: fire?, destinations: destinations? })
    }

    fn filters(problems: &mut Problems, value: &Value) -> Option<Vec<TriggerFilter>> {
        let items = problems.array("/filters", value)?;
        if items.len() > MAX_FILTERS {
            problems.add("/filters", format!("must have at most {MAX_FILTERS} filters, got {}", items.len()));
            return None;
        }
        let read: Vec<_> =
            items.iter().enumerate().filter_map(|(i, item)| TriggerFilter::read(problems, &join("/filters", i), item)).collect();
        (read.len() == items.len()).then_some(read)
    }

    fn destinations(problems: &mut Problems, value: Option<&Value>) -> Option<Vec<DestinationId>> {
        const AT: &str = "/destinations";
        let Some(value) = value else {
            problems.add(AT, format!("is required: an array of 1 to {MAX_DESTINATIONS} destination ids"));
            return None;
        };
        let items = problems.array(AT, value)?;
        if items.is_empty() || items.len() > MAX_DESTINATIONS {
            problems.add(AT, format!("must have 1 to {MAX_DESTINATIONS} destination ids, got {}", items.len()));
            return None;
        }
        let mut read: Vec<DestinationId> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item.as_str().map(DestinationId::new) {
                Some(Ok(id)) if read.contains(&id) => {
                    problems.add(&join(AT, i), format!("names `{id}` a second time; name each destination once"))
                }
                Some(Ok(id)) => read.push(id),
                Some(Err(error)) => problems.add(&join(AT, i), error.to_string()),
                None => problems.add(&join(AT, i), format!("must be the text of a destination id, got {}", shape(item))),
            }
        }
        (read.len() == items.len()).then_some(read)
    }

    /// Problems that only somebody who knows the workspace can see: `levels` lists the ids of the published levels of a kind, and
    /// `destinations` the ids of the destinations that exist.
    pub fn check_names(&self, levels: impl Fn(LevelOf) -> Vec<String>, destinations: &[DestinationId]) -> Result<(), Problems> {
        let mut problems = Problems::none();
        if let Some((of, level)) = self.when.level() {
            let known = levels(of);
            if !known.iter().any(|id| id == level) {
                problems.add("/when/level", format!("there is no {} level `{level}`; the levels are {}", of.as_str(), listed(&known)));
            }
        }
        for (i, id) in self.destinations.iter().enumerate() {
            if !destinations.contains(id) {
                problems.add(&join("/destinations", i), format!("there is no destination `{id}`; make it first"));
            }
        }
        problems.or(())
    }

    /// The trigger that begins at `now`.
    pub fn start(self, id: TriggerId, now: Timestamp) -> Trigger {
        Trigger {
            id,
            name: self.name,
            enabled: self.enabled,
            when: self.when,
            filters: self.filters,
            fire: self.fire,
            destinations: self.destinations,
            created_at: now,
            version: 1,
        }
    }

    /// The trigger changed to what this says. One that now waits for something else, or is switched on again, starts anew from `now`.
    pub fn change(self, trigger: Trigger, now: Timestamp) -> Trigger {
        let anew = self.when != trigger.when || (self.enabled && !trigger.enabled);
        let created_at = if anew { now } else { trigger.created_at };
        let version = trigger.version;
        Trigger { created_at, version, ..self.start(trigger.id, now) }
    }
}

fn listed(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

impl Trigger {
    /// Whether the transition fires this trigger, filters and cooldown aside.
    pub fn fires_on(&self, transition: &Transition) -> bool {
        self.enabled && transition.at >= self.created_at && self.when.matches(transition)
    }

    /// Whether the account passes every filter.
    pub fn admits(&self, facts: &FilterFacts<'_>) -> bool {
        self.filters.iter().all(|filter| filter.passes(facts))
    }

    /// Checks a trigger that did not come through [`TriggerDraft::read`], by the same rules.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut problems = Problems::none();
        let whole = serde_json::to_value(self).unwrap_or_default();
        let mut draft = whole.as_object().cloned().unwrap_or_default();
        for assigned in ["id", "created_at", "version"] {
            draft.remove(assigned);
        }
        TriggerDraft::read_into(&mut problems, &Value::Object(draft));
        problems.or(())
    }

    /// The cells of the grid that enabled triggers watch: level records a transition when one is entered or left.
    pub fn cells<'a>(triggers: impl IntoIterator<Item = &'a Trigger>) -> Vec<GridCell> {
        let enabled = triggers.into_iter().filter(|trigger| trigger.enabled);
        let cells = enabled.filter_map(|trigger| match trigger.when {
            When::GridEntered { cell } => Some(cell),
            _ => None,
        });
        cells.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// The engagement thresholds that enabled triggers watch, ascending, each once: level records a transition when one is crossed.
    pub fn thresholds<'a>(triggers: impl IntoIterator<Item = &'a Trigger>) -> Vec<i64> {
        let mut thresholds: Vec<i64> = triggers
            .into_iter()
            .filter(|trigger| trigger.enabled)
            .filter_map(|trigger| match trigger.when {
                When::EngagementCrossed { threshold, .. } => Some(threshold),
                _ => None,
            })
            .collect();
        thresholds.sort_unstable();
        thresholds.dedup();
        thresholds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use proptest::prelude::*;
    use serde_json::json;

    fn transition(change: Changed) -> Transition {
        Transition { seq: 1, at: Timestamp::from_millis(1_000), change, cause: String::new(), silent: false }
    }

    fn account_level(from: Option<&str>, to: &str) -> Transition {
        transition(Changed::AccountLevel { from: from.map(str::to_owned), to: to.to_owned() })
    }

    fn entered(level: &str) -> When {
        When::LevelEntered { level: level.into(), of: LevelOf::Account }
    }

    fn draft(value: Value) -> TriggerDraft {
        TriggerDraft::read(&value).unwrap()
    }

    fn problems(value: Value) -> Vec<String> {
        TriggerDraft::read(&value).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_level_is_entered_only_from_another_one() {
        assert!(entered("target").matches(&account_level(Some("qualified"), "target")));
        assert!(!entered("target").matches(&account_level(Some("target"), "target")));
        assert!(!entered("target").matches(&account_level(Some("target"), "qualified")));
    }

    #[test]
    fn a_level_at_creation_counts_as_entered() {
        assert!(entered("target").matches(&account_level(None, "target")));
    }

    #[test]
    fn a_level_is_left_only_for_another_one() {
        let left = When::LevelLeft { level: "target".into(), of: LevelOf::Account };
        assert!(left.matches(&account_level(Some("target"), "qualified")));
        assert!(!left.matches(&account_level(Some("target"), "target")));
        assert!(!left.matches(&account_level(None, "qualified")));
        assert!(!left.matches(&account_level(Some("qualified"), "target")));
    }

    #[test]
    fn the_level_of_something_else_does_not_match() {
        let engagement = transition(Changed::EngagementLevel { from: None, to: "hot".into() });
        let lead = transition(Changed::LeadLevel { lead: Identity::user("u").id(), from: None, to: "hot".into() });
        let hot = |of| When::LevelEntered { level: "hot".into(), of };
        assert!(!hot(LevelOf::Account).matches(&engagement) && !hot(LevelOf::Account).matches(&lead));
        assert!(hot(LevelOf::Engagement).matches(&engagement) && !hot(LevelOf::Engagement).matches(&lead));
        assert!(hot(LevelOf::Lead).matches(&lead) && !hot(LevelOf::Lead).matches(&engagement));
    }

    #[test]
    fn a_surge_starts_and_ends() {
        let (on, off) = (transition(Changed::Surge { active: true }), transition(Changed::Surge { active: false }));
        assert!(When::SurgeStarted {}.matches(&on) && !When::SurgeStarted {}.matches(&off));
        assert!(When::SurgeEnded {}.matches(&off) && !When::SurgeEnded {}.matches(&on));
        assert!(!When::SurgeStarted {}.matches(&account_level(None, "target")));
    }

    #[test]
    fn a_cell_of_the_grid_is_entered_only_from_another_one() {
        let cell = |text: &str| GridCell::parse(text).unwrap();
        let read = draft(json!({"name": "T", "when": {"kind": "grid_entered", "cell": "A1"}, "destinations": ["d"]}));
        assert_eq!((&read.when, read.when.payload_type()), (&When::GridEntered { cell: cell("A1") }, "account.grid_entered"));
        assert_eq!(serde_json::to_value(&read.when).unwrap(), json!({"kind": "grid_entered", "cell": "A1"}));
        let moved = |from: Option<&str>, to: &str| transition(Changed::Grid { from: from.map(cell), to: cell(to) });
        assert!(read.when.matches(&moved(Some("A2"), "A1")) && read.when.matches(&moved(None, "A1")));
        assert!(!read.when.matches(&moved(Some("A1"), "A2")) && !read.when.matches(&moved(Some("A1"), "A1")));
        assert!(!read.when.matches(&account_level(None, "target")));
        let wrong = problems(json!({"name": "T", "when": {"kind": "grid_entered", "cell": "E1"}, "destinations": ["d"]}));
        assert!(wrong[0].starts_with("/when/cell: grid cell must be a grade"), "{wrong:?}");
        let trigger = read.start(TriggerId::new("t").unwrap(), Timestamp::default());
        assert_eq!(Trigger::cells([&trigger, &Trigger { enabled: false, ..trigger.clone() }]), [cell("A1")]);
    }

    #[test]
    fn a_threshold_belongs_to_the_upper_side() {
        let crossed = |direction| When::EngagementCrossed { threshold: 80, direction };
        let moved = |from, to| transition(Changed::Engagement { from, to });
        for (from, to, up, down) in [
            (79, 80, true, false),
            (80, 81, false, false),
            (80, 79, false, true),
            (81, 80, false, false),
            (0, 200, true, false),
            (200, 0, false, true),
            (10, 20, false, false),
        ] {
            assert_eq!(crossed(Direction::Up).matches(&moved(from, to)), up, "{from} to {to} up");
            assert_eq!(crossed(Direction::Down).matches(&moved(from, to)), down, "{from} to {to} down");
        }
    }

    #[test]
    fn a_silent_transition_fires_nothing() {
        let silent = Transition { silent: true, ..account_level(None, "target") };
        assert!(!entered("target").matches(&silent));
    }

    #[test]
    fn a_trigger_starts_from_now() {
        let value = json!({"name": "T", "when": {"kind": "level_entered", "level": "target"}, "destinations": ["d"]});
        let trigger = draft(value).start(TriggerId::new("t").unwrap(), Timestamp::from_millis(1_000));
        assert!(trigger.fires_on(&account_level(None, "target")));
        let earlier = Transition { at: Timestamp::from_millis(999), ..account_level(None, "target") };
        assert!(!trigger.fires_on(&earlier));
        assert!(!Trigger { enabled: false, ..trigger }.fires_on(&account_level(None, "target")));
    }

    #[test]
    fn a_trigger_that_waits_for_something_else_starts_anew() {
        let value =
            |level: &str, name: &str| json!({"name": name, "when": {"kind": "level_entered", "level": level}, "destinations": ["d"]});
        let (then, now) = (Timestamp::from_millis(1), Timestamp::from_millis(9));
        let trigger = Trigger { version: 4, ..draft(value("target", "A")).start(TriggerId::new("t").unwrap(), then) };
        let renamed = draft(value("target", "B")).change(trigger.clone(), now);
        assert_eq!((renamed.created_at, renamed.name.as_str(), renamed.version), (then, "B", 4));
        assert_eq!(draft(value("hot", "A")).change(trigger, now).created_at, now);
    }

    #[test]
    fn defaults_are_always_with_seven_days_of_cooldown() {
        let read = draft(json!({"name": " T ", "when": {"kind": "engagement_crossed", "threshold": 80}, "destinations": ["d"]}));
        assert_eq!((read.name.as_str(), read.enabled, read.fire), ("T", true, Fire { mode: FireMode::Always, cooldown_hours: 168 }));
        assert_eq!(read.when, When::EngagementCrossed { threshold: 80, direction: Direction::Up });
        assert_eq!(read.fire.cooldown_ms(), 7 * 86_400_000);
    }

    #[test]
    fn every_problem_names_its_place_and_what_would_be_right() {
        assert_eq!(
            problems(json!({
                "name": "", "enabled": "yes", "whn": 1,
                "when": {"kind": "engagement_crossed", "threshold": 0, "direction": "sideways", "x": 1},
                "filters": [{"on": "colour", "equals": 1}, {"on": "field", "equals": 1}, {"on": "tier"}, {"on": "owner", "in": [null]}, {"on": "tier", "field": "f", "equals": "1:1"}],
                "fire": {"mode": "twice", "cooldown_hours": -1},
                "destinations": ["a", "a", 7]
            })),
            [
                "/whn: unknown key; the known ones are `name`, `enabled`, `when`, `filters`, `fire`, `destinations`",
                "/name: must have 1 to 200 characters",
                "/enabled: must be `true` or `false`, got `yes`",
                "/when/x: unknown key; the known ones are `kind`, `threshold`, `direction`",
                "/when/direction: must be `up` or `down`, got `sideways`",
                "/when/threshold: must be a whole number from 1 to 1000000000, got `0`",
                "/filters/0/on: must be `level`, `engagement_level`, `grade`, `grid`, `tier`, `owner` or `field`, got `colour`",
                "/filters/1/field: is required when `on` is `field`: the name of a field, such as `country`",
                "/filters/2: must have exactly one of `equals` (a value) and `in` (an array of values)",
                "/filters/3/in/0: must be a text, a whole number, `true` or `false`, got `null`",
                "/filters/4/field: belongs only to a filter that is `on` a `field`; leave it out",
                "/fire/mode: must be `always` or `once`, got `twice`",
                "/fire/cooldown_hours: must be a whole number from 0 to 8760, got `-1`",
                "/destinations/1: names `a` a second time; name each destination once",
                "/destinations/2: must be the text of a destination id, got `7`",
            ]
        );
        assert_eq!(problems(json!([])), ["/: must be an object, got an array"]);
        assert!(
            problems(json!({"name": "x", "when": {"level": "t"}, "destinations": []}))
                .iter()
                .any(|p| p.starts_with("/when/kind: is required"))
        );
    }

    #[test]
    fn names_that_do_not_exist_are_listed_with_those_that_do() {
        let read = draft(json!({"name": "T", "when": {"kind": "level_entered", "level": "targt"}, "destinations": ["a", "b"]}));
        let levels = |_| vec!["target".to_owned(), "qualified".to_owned()];
        let found = read.check_names(levels, &[DestinationId::new("a").unwrap()]).unwrap_err();
        assert_eq!(
            found.to_string(),
            "/when/level: there is no account level `targt`; the levels are `target`, `qualified`; /destinations/1: there is no destination `b`; make it first"
        );
    }

    #[test]
    fn filters_compare_levels_tiers_owners_and_fields() {
        let field = |name: &str| match name {
            "country" => Some(json!("GB")),
            "employees" => Some(json!(500)),
            "tags" => Some(json!(["Mining", "Ore"])),
            _ => None,
        };
        let facts = FilterFacts {
            level: Some("target"),
            tier: Some("1:1"),
            owner: None,
            engagement_level: Some("hot"),
            grade: Some(Grade::B),
            grid: GridCell::parse("B2").ok(),
            field: Some(&field),
        };
        for (filter, passes) in [
            (json!({"on": "level", "equals": "target"}), true),
            (json!({"on": "engagement_level", "in": ["warm", "hot"]}), true),
            (json!({"on": "grade", "in": ["a", "b"]}), true),
            (json!({"on": "grade", "equals": "A"}), false),
            (json!({"on": "grid", "in": ["A1", "B2"]}), true),
            (json!({"on": "tier", "in": ["1:few"]}), false),
            (json!({"on": "owner", "equals": "kim"}), false),
            (json!({"on": "field", "field": "country", "equals": " gb "}), true),
            (json!({"on": "field", "field": "employees", "equals": 500}), true),
            (json!({"on": "field", "field": "employees", "equals": "500"}), true),
            (json!({"on": "field", "field": "employees", "in": [499, true]}), false),
            (json!({"on": "field", "field": "tags", "equals": "ore"}), true),
            (json!({"on": "field", "field": "unknown", "equals": "x"}), false),
        ] {
            let read: TriggerFilter = serde_json::from_value(filter.clone()).unwrap();
            assert_eq!(read.passes(&facts), passes, "{filter}");
            assert_eq!(serde_json::to_value(&read).unwrap(), filter);
        }
    }

    #[test]
    fn a_stored_trigger_reads_back_and_is_valid() {
        let trigger = draft(json!({
            "name": "T", "when": {"kind": "surge_started"}, "fire": {"mode": "once"}, "destinations": ["d"],
            "filters": [{"on": "field", "field": "country", "in": ["GB", 7, true]}]
        }))
        .start(TriggerId::new("t").unwrap(), Timestamp::from_millis(7));
        let text = serde_json::to_string(&trigger).unwrap();
        assert_eq!(serde_json::from_str::<Trigger>(&text).unwrap(), trigger);
        assert_eq!(trigger.validate(), Ok(()));
        let broken = Trigger { name: String::new(), destinations: Vec::new(), ..trigger };
        let pointers: Vec<_> = broken.validate().unwrap_err().0.into_iter().map(|p| p.pointer).collect();
        assert_eq!(pointers, ["/name", "/destinations"]);
    }

    #[test]
    fn thresholds_are_those_of_enabled_triggers_each_once() {
        let make = |threshold: i64, enabled: bool| {
            let value = json!({"name": "T", "enabled": enabled, "when": {"kind": "engagement_crossed", "threshold": threshold}, "destinations": ["d"]});
            draft(value).start(TriggerId::new("t").unwrap(), Timestamp::default())
        };
        let triggers = [make(80, true), make(30, true), make(80, true), make(150, false)];
        assert_eq!(Trigger::thresholds(&triggers), [30, 80]);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_only_one_direction_matches(text in ".{0,80}", from in -5_i64..300, to in -5_i64..300, threshold in 1_i64..300) {
            let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            let _ = TriggerDraft::read(&value);
            let _ = TriggerDraft::read(&json!({"name": value, "when": value, "filters": [value], "fire": value, "destinations": [value]}));
            let moved = transition(Changed::Engagement { from, to });
            let up = When::EngagementCrossed { threshold, direction: Direction::Up }.matches(&moved);
            let down = When::EngagementCrossed { threshold, direction: Direction::Down }.matches(&moved);
            prop_assert!(!(up && down));
            prop_assert_eq!(up || down, (from < threshold) != (to < threshold));
        }
    }
}
