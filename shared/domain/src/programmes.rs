//! Programmes: which of the things that marketing and sales do run for which accounts.
//!
//! Columns are saved views of the accounts list, in an order; an account belongs to the first column whose view takes it. Each programme says for
//! every column whether it runs for the accounts there. Nothing of it is stored with accounts: who belongs to "the best 20" is asked when it is
//! looked at.

use crate::{
    grade::{Grade, GridCell},
    model::ModelDocument,
    problem::{Problems, join, shape},
    trigger::LevelOf,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The template that a workspace has until it says otherwise.
const TEMPLATE: &str = include_str!("../../../infra/templates/programmes.json");
/// The most columns.
pub const MAX_COLUMNS: usize = 20;
/// The most programmes.
pub const MAX_PROGRAMMES: usize = 50;
/// The most accounts of a view that ends somewhere.
pub const MAX_FIRST: i64 = 10_000;
/// The longest id of a column, in characters.
const MAX_ID: usize = 64;
/// The longest name, and the longest text of a view, in characters.
const MAX_NAME: usize = 200;
/// The most values that a filter names.
const MAX_VALUES: usize = 50;

/// The tiers of a named account.
pub const TIERS: [&str; 3] = ["1:1", "1:few", "1:many"];

/// What lists of accounts and leads are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    /// Level, hottest lead, surge, recency.
    #[default]
    Priority,
    /// The latest event.
    Activity,
    /// Fit.
    AccountScore,
    /// Engagement.
    Engagement,
    /// Name.
    Name,
}

impl SortBy {
    /// Everything that accounts can be sorted by.
    pub const ALL: [Self; 5] = [Self::Priority, Self::Activity, Self::AccountScore, Self::Engagement, Self::Name];

    /// The word in queries and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Activity => "activity",
            Self::AccountScore => "account_score",
            Self::Engagement => "engagement",
            Self::Name => "name",
        }
    }

    /// Names begin with A, everything else with the most.
    pub const fn usual_order(self) -> SortOrder {
        match self {
            Self::Name => SortOrder::Ascending,
            Self::Priority | Self::Activity | Self::AccountScore | Self::Engagement => SortOrder::Descending,
        }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortOrder {
    /// The least.
    #[serde(rename = "asc")]
    Ascending,
    /// The most.
    #[serde(rename = "desc")]
    Descending,
}

impl SortOrder {
    /// Both, by their words in queries and views.
    pub const WORDS: [(&'static str, Self); 2] = [("asc", Self::Ascending), ("desc", Self::Descending)];
}

/// Which accounts a list shows; all of it must hold, and what is empty holds for all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Filters {
    /// Part of the name, a domain or the id, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// One of these account levels, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub level: Vec<String>,
    /// One of these engagement levels, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engagement_level: Vec<String>,
    /// One of these grades.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grade: Vec<Grade>,
    /// One of these cells of the grid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grid: Vec<GridCell>,
    /// Whether it surges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surging: Option<bool>,
    /// Who looks after it, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// One of these tiers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tier: Vec<String>,
}

/// A saved view of the accounts list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Which accounts.
    #[serde(flatten)]
    pub filters: Filters,
    /// Sorted by what; usually by priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<SortBy>,
    /// Which end first; usually that of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SortOrder>,
    /// Only so many of them, in that order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u32>,
}

/// Accounts that are treated alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Names the column in programmes.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its accounts, as far as no column before it has them.
    pub view: View,
}

/// Something that marketing or sales do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programme {
    /// What people call it.
    pub name: String,
    /// Whether it runs, for each column by its id.
    pub runs: BTreeMap<String, bool>,
}

/// Which programmes run for which columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Programmes {
    /// The columns, in their order.
    pub columns: Vec<Column>,
    /// The programmes, in their order.
    pub programmes: Vec<Programme>,
}

impl Programmes {
    /// The template: the best 20 accounts by fit, those with grade A or B, and the rest.
    pub fn template() -> Result<Self, serde_json::Error> {
        serde_json::from_str(TEMPLATE)
    }

    /// Reads columns and programmes and checks them against the levels of a model. The error lists every problem with its JSON pointer.
    pub fn read(value: &Value, document: &ModelDocument) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let Some(map) = problems.object("", value, &["columns", "programmes"]) else { return Err(problems) };
        let columns = listed(&mut problems, map, "columns", MAX_COLUMNS);
        let columns: Vec<Column> = columns.into_iter().map(|(at, value)| column(&mut problems, &at, value, document)).collect();
        let mut ids = BTreeSet::new();
        for (i, column) in columns.iter().enumerate() {
            if !column.id.is_empty() && !ids.insert(column.id.as_str()) {
                problems.add(&join(&join("/columns", i), "id"), format!("another column before it has the id `{}`", column.id));
            }
        }
        let programmes = listed(&mut problems, map, "programmes", MAX_PROGRAMMES);
        let programmes: Vec<Programme> = programmes.into_iter().map(|(at, value)| programme(&mut problems, &at, value, &ids)).collect();
        let mut names = BTreeSet::new();
        for (i, programme) in programmes.iter().enumerate() {
            if !programme.name.is_empty() && !names.insert(programme.name.to_lowercase()) {
                let says = format!("another programme before it is called `{}`", programme.name);
                problems.add(&join(&join("/programmes", i), "name"), says);
            }
        }
        problems.or(Self { columns, programmes })
    }

    /// What runs for the accounts of a column, by the programmes' names.
    pub fn runs(&self, column: &Column) -> BTreeMap<String, bool> {
        let runs = |programme: &Programme| programme.runs.get(&column.id).copied().unwrap_or_default();
        self.programmes.iter().map(|programme| (programme.name.clone(), runs(programme))).collect()
    }
}

/// The items of a required list, with their pointers.
fn listed<'v>(problems: &mut Problems, map: &'v Map<String, Value>, key: &str, most: usize) -> Vec<(String, &'v Value)> {
    let at = join("", key);
    let Some(value) = map.get(key) else {
        problems.add(&at, format!("is required: an array of at most {most}"));
        return Vec::new();
    };
    let Some(items) = problems.array(&at, value) else { return Vec::new() };
    if items.len() > most {
        problems.add(&at, format!("must have at most {most} items, got {}", items.len()));
        return Vec::new();
    }
    items.iter().enumerate().map(|(i, item)| (join(&at, i), item)).collect()
}

fn column(problems: &mut Problems, at: &str, value: &Value, document: &ModelDocument) -> Column {
    let mut column = Column { id: String::new(), name: String::new(), view: View::default() };
    let Some(map) = problems.object(at, value, &["id", "name", "view"]) else { return column };
    column.id = problems.text(at, map, "id", MAX_ID).unwrap_or_default();
    column.name = problems.optional_text(at, map, "name", MAX_NAME).unwrap_or_else(|| column.id.clone());
    let view_at = join(at, "view");
    match map.get("view") {
        Some(value) => column.view = View::read(problems, &view_at, value, document),
        None => problems.add(&view_at, "is required: what the accounts list is asked for; `{}` takes every account"),
    }
    column
}

fn programme(problems: &mut Problems, at: &str, value: &Value, columns: &BTreeSet<&str>) -> Programme {
    let mut programme = Programme { name: String::new(), runs: BTreeMap::new() };
    let Some(map) = problems.object(at, value, &["name", "runs"]) else { return programme };
    programme.name = problems.text(at, map, "name", MAX_NAME).unwrap_or_default();
    let runs_at = join(at, "runs");
    let Some(runs) = map.get("runs").and_then(Value::as_object) else {
        problems.add(&runs_at, "is required: an object that says `true` or `false` for each column by its id");
        return programme;
    };
    for (column, value) in runs {
        match value.as_bool() {
            _ if !columns.contains(column.as_str()) => {
                let known: Vec<String> = columns.iter().map(|id| format!("`{id}`")).collect();
                problems.add(&join(&runs_at, column), format!("there is no such column; the columns are {}", known.join(", ")));
            }
            Some(runs) => drop(programme.runs.insert(column.clone(), runs)),
            None => problems.add(&join(&runs_at, column), format!("must be true or false, got {}", shape(value))),
        }
    }
    for column in columns.iter().filter(|column| !runs.contains_key(**column)) {
        problems.add(&join(&runs_at, column), "is required: whether it runs for this column");
    }
    programme
}

impl View {
    fn read(problems: &mut Problems, at: &str, value: &Value, document: &ModelDocument) -> Self {
        const KEYS: [&str; 11] =
            ["search", "level", "engagement_level", "grade", "grid", "surging", "owner", "tier", "sort", "order", "first"];
        let mut view = Self::default();
        let Some(map) = problems.object(at, value, &KEYS) else { return view };
        let filters = &mut view.filters;
        filters.search = problems.optional_text(at, map, "search", MAX_NAME).map(|text| text.to_lowercase());
        filters.owner = problems.optional_text(at, map, "owner", MAX_NAME).map(|text| text.to_lowercase());
        let level = |of: LevelOf| move |text: &str| document.level_ids(of).contains(&text).then(|| text.to_owned());
        let levels = |of: LevelOf| list_of(&document.level_ids(of));
        filters.level = values(problems, at, map, "level", level(LevelOf::Account), &levels(LevelOf::Account));
        filters.engagement_level = values(problems, at, map, "engagement_level", level(LevelOf::Engagement), &levels(LevelOf::Engagement));
        filters.grade = values(problems, at, map, "grade", Grade::parse, &list_of(&Grade::ALL.map(Grade::as_str)));
        filters.grid = values(problems, at, map, "grid", |text| GridCell::parse(text).ok(), "cells such as `A1`");
        filters.tier = values(problems, at, map, "tier", |text| TIERS.contains(&text).then(|| text.to_owned()), &list_of(&TIERS));
        filters.surging = match map.get("surging") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(surging)) => Some(*surging),
            Some(other) => {
                problems.add(&join(at, "surging"), format!("must be true or false, got {}", shape(other)));
                None
            }
        };
        view.sort = one(problems, at, map, "sort", &SortBy::ALL.map(|sort| (sort.as_str(), sort)));
        view.order = one(problems, at, map, "order", &SortOrder::WORDS);
        view.first = problems.optional_whole(at, map, "first", 1..=MAX_FIRST).and_then(|first| u32::try_from(first).ok());
        view
    }

    /// By what and from which end the accounts are listed.
    pub fn sorted(&self) -> (SortBy, SortOrder) {
        let by = self.sort.unwrap_or_default();
        (by, self.order.unwrap_or(by.usual_order()))
    }
}

fn list_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// One text or a list of texts, each of which must mean something.
fn values<T>(
    problems: &mut Problems,
    at: &str,
    map: &Map<String, Value>,
    key: &str,
    read: impl Fn(&str) -> Option<T>,
    known: &str,
) -> Vec<T> {
    let at = join(at, key);
    let listed: Vec<(String, &Value)> = match map.get(key) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(listed)) if (1..=MAX_VALUES).contains(&listed.len()) => {
            listed.iter().enumerate().map(|(i, value)| (join(&at, i), value)).collect()
        }
        Some(Value::Array(listed)) => {
            problems.add(&at, format!("must have 1 to {MAX_VALUES} values, got {}", listed.len()));
            return Vec::new();
        }
        Some(value) => vec![(at, value)],
    };
    let mut values = Vec::with_capacity(listed.len());
    for (at, value) in listed {
        match value.as_str().and_then(&read) {
            Some(value) => values.push(value),
            None => problems.add(&at, format!("must be one of {known}, got {}", shape(value))),
        }
    }
    values
}

fn one<T: Copy>(problems: &mut Problems, at: &str, map: &Map<String, Value>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let value = map.get(key).filter(|value| !value.is_null())?;
    let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        problems.add(&join(at, key), format!("must be one of {}, got {}", list_of(&known), shape(value)));
    }
    found.map(|(_, meant)| *meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::default_document;
    use serde_json::json;

    fn read(value: &Value) -> Result<Programmes, Problems> {
        Programmes::read(value, &default_document().unwrap())
    }

    #[test]
    fn the_template_is_that_of_the_practice_guide_and_passes_its_own_reader() {
        let template = Programmes::template().unwrap();
        assert_eq!(read(&serde_json::from_str(TEMPLATE).unwrap()).unwrap(), template);
        assert_eq!(serde_json::to_value(&template).unwrap(), serde_json::from_str::<Value>(TEMPLATE).unwrap());
        let cells: Vec<Vec<bool>> = template
            .programmes
            .iter()
            .map(|programme| template.columns.iter().map(|column| programme.runs[&column.id]).collect())
            .collect();
        // Company emails go to everybody, event invites to the top 20 alone, sales calls to the top 20 and to A and B.
        assert_eq!(cells, [[true, true, true], [true, false, false], [true, true, false]]);
        assert_eq!(template.columns[0].view.sorted(), (SortBy::AccountScore, SortOrder::Descending));
        let runs = template.runs(&template.columns[1]);
        assert_eq!(serde_json::to_value(runs).unwrap(), json!({"Company emails": true, "Event invites": false, "Sales calls": true}));
    }

    #[test]
    fn a_view_may_ask_for_whatever_the_accounts_list_may() {
        let view = json!({"search": "Looms", "level": "target", "engagement_level": ["hot", "very_hot"], "grade": ["A"], "grid": "A1", "surging": true,
            "owner": "Kim", "tier": ["1:1"], "sort": "name", "order": "desc", "first": 5});
        let read = read(&json!({"columns": [{"id": "x", "view": view}], "programmes": []})).unwrap();
        let [column] = &read.columns[..] else { unreachable!() };
        assert_eq!(column.name, "x");
        assert_eq!(column.view.sorted(), (SortBy::Name, SortOrder::Descending));
        let stored = serde_json::to_value(&column.view).unwrap();
        let expected = json!({"search": "looms", "level": ["target"], "engagement_level": ["hot", "very_hot"], "grade": ["A"], "grid": ["A1"],
            "surging": true, "owner": "kim", "tier": ["1:1"], "sort": "name", "order": "desc", "first": 5});
        assert_eq!(stored, expected);
        assert_eq!(serde_json::from_value::<View>(stored).unwrap(), column.view);
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_place() {
        let places = |value: Value| {
            let mut places: Vec<String> = read(&value).unwrap_err().0.into_iter().map(|problem| problem.pointer).collect();
            places.sort();
            places
        };
        assert_eq!(places(json!(1)), [""]);
        assert_eq!(places(json!({})), ["/columns", "/programmes"]);
        let columns = |view: Value| json!({"columns": [{"id": "x", "view": view}], "programmes": []});
        let faulty = json!({"level": "gold", "engagement_level": [], "grade": ["A", "E"], "grid": "A0", "surging": 1, "tier": "2:1", "sort": "age",
            "order": "up", "first": 0, "colour": "red"});
        let expected = ["colour", "engagement_level", "first", "grade/1", "grid", "level", "order", "sort", "surging", "tier"];
        assert_eq!(places(columns(faulty)), expected.map(|key| format!("/columns/0/view/{key}")));
        let doubled = json!({"columns": [{"id": "x", "view": {}}, {"id": "x"}, 3], "programmes": [
            {"name": "Calls", "runs": {"x": true}}, {"name": "calls", "runs": {"x": 1, "y": true}}, {"runs": {}}]});
        let expected = [
            "/columns/1/id",
            "/columns/1/view",
            "/columns/2",
            "/programmes/1/name",
            "/programmes/1/runs/x",
            "/programmes/1/runs/y",
            "/programmes/2/name",
            "/programmes/2/runs/x",
        ];
        assert_eq!(places(doubled), expected);
        assert_eq!(places(json!({"columns": vec![json!({"id": "x", "view": {}}); 21], "programmes": []})), ["/columns"]);
    }
}
