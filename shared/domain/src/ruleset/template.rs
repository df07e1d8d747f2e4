//! Templates: rulesets to begin with, which ask for what differs from company to company.

use super::{Content, RulesetId, RulesetKind};
use crate::{
    account_rules::MAX_VALUES,
    event::fold_name,
    field::Number,
    problem::{Problems, join, shape},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::LazyLock};

const TEXTS: [&str; 5] = [
    include_str!("../../../../infra/templates/account.enterprise-saas.json"),
    include_str!("../../../../infra/templates/account.mid-market-land.json"),
    include_str!("../../../../infra/templates/account.plg-expansion.json"),
    include_str!("../../../../infra/templates/engagement.practice-guide.json"),
    include_str!("../../../../infra/templates/account-levels.three-tiers.json"),
];
/// The longest text of a variable, in characters.
const MAX_TEXT: usize = 1_000;

/// A ruleset with places that variables fill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Names the template.
    pub id: String,
    /// What people call it, and the ruleset that is made from it unless they name it.
    pub name: String,
    /// What it is for.
    pub says: String,
    /// What it makes.
    pub kind: RulesetKind,
    /// What it asks for.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// Entries of the account mapping that it needs, with places for variables.
    #[serde(default)]
    pub mapping_entries: Vec<Value>,
    /// The content, with places for variables: `{"$": "name"}`.
    pub body: Value,
}

/// What a template asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it means, for the person who is asked.
    pub says: String,
    /// What it may be.
    pub kind: VariableKind,
    /// What it is when nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether somebody must say.
    #[serde(default)]
    pub required: bool,
}

/// What a variable may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableKind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// Two numbers, the lower one first.
    Range,
    /// Texts or numbers.
    List,
    /// The name of an event.
    Event,
}

/// What a template makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// The content of the new ruleset.
    pub content: Content,
    /// Entries that the account mapping must have for it.
    pub mapping_entries: Vec<Value>,
}

impl Template {
    /// Every template: the data files under `infra/templates`.
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Template>> = LazyLock::new(|| TEXTS.iter().filter_map(|text| serde_json::from_str(text).ok()).collect());
        &ALL
    }

    /// The template with this id.
    pub fn find(id: &str) -> Option<&'static Self> {
        Self::all().iter().find(|template| template.id == id)
    }

    /// Makes the first content of a ruleset. The error names what is wrong with a variable at `/variables/{name}`.
    pub fn fill(&self, id: &RulesetId, name: Option<&str>, variables: &Map<String, Value>) -> Result<Filled, Problems> {
        let values = self.values(variables)?;
        let mut places = Places { values: &values, found: Vec::new() };
        let mut body = places.fill(&self.body, "");
        let mapping_entries = self.mapping_entries.iter().map(|entry| places.fill(entry, "/mapping_entries")).collect();
        if let Some(map) = body.as_object_mut() {
            map.insert("name".to_owned(), name.unwrap_or(&self.name).into());
        }
        let content = Content::read(self.kind, &body).map_err(|problems| places.blame(problems))?;
        Ok(Filled { content: content.with_identity(id, None, 1), mapping_entries })
    }

    /// The value of every variable: what was given, else its default.
    fn values(&self, given: &Map<String, Value>) -> Result<BTreeMap<&str, Value>, Problems> {
        let mut problems = Problems::none();
        let known = self.variables.iter().map(|variable| format!("`{}`", variable.name)).collect::<Vec<_>>().join(", ");
        for name in given.keys().filter(|name| self.variables.iter().all(|variable| variable.name != **name)) {
            let message = if known.is_empty() {
                "unknown key; there are none".to_owned()
            } else {
                format!("unknown key; the known ones are {known}")
            };
            problems.add(&join("/variables", name), message);
        }
        let mut values = BTreeMap::new();
        for variable in &self.variables {
            let at = join("/variables", &variable.name);
            let given = given.get(&variable.name).filter(|value| !value.is_null());
            match given.or(variable.default.as_ref()) {
                Some(value) => match variable.kind.read(value) {
                    Ok(value) => drop(values.insert(variable.name.as_str(), value)),
                    Err(wanted) => problems.add(&at, format!("must be {wanted}, got {}", shape(value))),
                },
                None => problems.add(&at, format!("is required: {}", variable.says)),
            }
        }
        problems.or(values)
    }
}

impl VariableKind {
    /// The value as it goes into the template; what would be right, when it is not of this kind.
    fn read(self, value: &Value) -> Result<Value, String> {
        let text =
            |value: &Value| value.as_str().map(str::trim).filter(|text| (1..=MAX_TEXT).contains(&text.chars().count())).map(Value::from);
        let number = |value: &Value| value.as_number().and_then(Number::from_json).map(|number| (number, value.clone()));
        let read = match self {
            Self::Text => text(value),
            Self::Event => text(value).filter(|text| text.as_str().is_some_and(|text| !fold_name(text).is_empty())),
            Self::Number => number(value).map(|(_, value)| value),
            Self::Range => value
                .as_array()
                .filter(|ends| ends.len() == 2)
                .and_then(|ends| ends.iter().map(number).collect::<Option<Vec<_>>>())
                .filter(|ends| ends.is_sorted_by_key(|(number, _)| *number))
                .map(|ends| ends.into_iter().map(|(_, value)| value).collect()),
            Self::List => value
                .as_array()
                .filter(|items| (1..=MAX_VALUES).contains(&items.len()))
                .and_then(|items| items.iter().map(|item| text(item).or_else(|| number(item).map(|(_, value)| value))).collect()),
        };
        read.ok_or_else(|| match self {
            Self::Text => format!("a text of 1 to {MAX_TEXT} characters"),
            Self::Event => "the name of an event, such as `Demo Requested`".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Range => "two numbers, the lower one first, such as [100, 1000]".to_owned(),
            Self::List => format!("an array of 1 to {MAX_VALUES} texts or numbers"),
        })
    }
}

/// Fills variables in, and remembers where each went.
struct Places<'v> {
    values: &'v BTreeMap<&'v str, Value>,
    found: Vec<(String, String)>,
}

impl Places<'_> {
    fn fill(&mut self, value: &Value, at: &str) -> Value {
        match value {
            Value::Array(items) => items.iter().enumerate().map(|(i, item)| self.fill(item, &join(at, i))).collect(),
            Value::Object(map) => {
                if let Some((name, filled)) = self.variable(map) {
                    self.found.push((at.to_owned(), name));
                    return filled;
                }
                map.iter().map(|(key, value)| (key.clone(), self.fill(value, &join(at, key)))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    /// The variable that stands in a place `{"$": "name"}`, with its value.
    fn variable(&self, map: &Map<String, Value>) -> Option<(String, Value)> {
        let name = map.get("$").filter(|_| map.len() == 1)?.as_str()?;
        self.values.get(name).map(|value| (name.to_owned(), value.clone()))
    }

    /// The problems of a filled content, said of the variables that they come from.
    fn blame(&self, mut problems: Problems) -> Problems {
        for problem in &mut problems.0 {
            let pointer = problem.pointer.as_str();
            // The value itself, something inside it, or the condition that compares with it.
            let meant = |place: &str| {
                let inside = pointer.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                inside || place.strip_prefix(pointer) == Some("/value")
            };
            if let Some((_, name)) = self.found.iter().find(|(place, _)| meant(place)) {
                problem.pointer = join("/variables", name);
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        account_rules::DEFAULT_RULESET,
        engagement::EngagementRuleset,
        field::{FieldName, FieldValue},
        mapping::AccountMapping,
    };
    use serde_json::json;

    fn id() -> RulesetId {
        RulesetId::new("ars_1").unwrap()
    }

    fn filled(template: &str, variables: Value) -> Result<Filled, Vec<String>> {
        let template = Template::find(template).unwrap();
        template.fill(&id(), None, variables.as_object().unwrap()).map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
    }

    fn score(content: &Content, fields: &[(&str, FieldValue)]) -> i32 {
        let Content::Account(ruleset) = content else { panic!("account rules") };
        let fields: BTreeMap<FieldName, FieldValue> =
            fields.iter().map(|(name, value)| (FieldName::new(name).unwrap(), value.clone())).collect();
        ruleset.compile().tally(&fields, Timestamp::parse("2026-11-22T12:00:00Z").unwrap()).score
    }

    fn number(n: i64) -> FieldValue {
        FieldValue::Number(Number::whole(n).unwrap())
    }

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.to_owned())
    }

    #[test]
    fn every_template_is_sound_and_asks_for_what_it_uses() {
        assert_eq!(Template::all().len(), TEXTS.len());
        for template in Template::all() {
            let variables: Map<String, Value> = template
                .variables
                .iter()
                .map(|variable| (variable.name.clone(), variable.default.clone().unwrap_or_else(|| json!("Manufacturing"))))
                .collect();
            let filled = template.fill(&id(), Some("Ours"), &variables).unwrap();
            assert_eq!(filled.content.name(), "Ours", "{}", template.id);
            assert!(!template.body.to_string().contains("\"$\"") || !filled.content.to_value().to_string().contains("\"$\""));
            let used = json!([template.body, template.mapping_entries]).to_string();
            for variable in &template.variables {
                assert!(used.contains(&format!("{{\"$\":\"{}\"}}", variable.name)), "{} does not use {}", template.id, variable.name);
                assert_eq!(variable.required, variable.default.is_none());
                assert!(!variable.says.is_empty());
            }
        }
    }

    #[test]
    fn a_variable_without_a_default_must_be_given() {
        assert_eq!(
            filled("mid-market-land", json!({})),
            Err(vec!["/variables/target_vertical: is required: The one industry you go for".to_owned()])
        );
        assert!(filled("mid-market-land", json!({ "target_vertical": "Manufacturing" })).is_ok());
    }

    #[test]
    fn a_variable_that_does_not_fit_is_named() {
        let wrong = json!({ "target_vertical": 7, "employees": [1000, 100], "revenue": [1], "colour": "red" });
        assert_eq!(
            filled("mid-market-land", wrong).unwrap_err(),
            [
                "/variables/colour: unknown key; the known ones are `target_vertical`, `employees`, `revenue`",
                "/variables/target_vertical: must be a text of 1 to 1000 characters, got `7`",
                "/variables/employees: must be two numbers, the lower one first, such as [100, 1000], got an array",
                "/variables/revenue: must be two numbers, the lower one first, such as [100, 1000], got an array",
            ]
        );
        // What only the ruleset knows is said of the variable, too.
        let days = filled("plg-expansion", json!({ "within_days": 0 })).unwrap_err();
        assert_eq!(days, ["/variables/within_days: `value` of `within_days` must be a whole number of days from 1 to 3650, got `0`"]);
        let tiers = filled("three-tiers", json!({ "mid_from": 90 })).unwrap_err();
        assert_eq!(tiers, ["/variables/top_from: levels go from low to high: more than 90"]);
        let event = filled("plg-expansion", json!({ "expansion_event": "--" })).unwrap_err();
        assert_eq!(event, ["/variables/expansion_event: must be the name of an event, such as `Demo Requested`, got `--`"]);
    }

    #[test]
    fn the_enterprise_pattern_gives_145_and_50() {
        let content = filled("enterprise-saas", json!({})).unwrap().content;
        assert_eq!(content.possible(), Some(145));
        let perfect = [
            ("employees", number(1000)),
            ("revenue", number(50_000_000)),
            ("country", text("United Kingdom")),
            ("industry", text("Technology")),
        ];
        assert_eq!(score(&content, &perfect), 145);
        assert_eq!(score(&content, &perfect[..1]), 50);
        assert_eq!(score(&content, &[("employees", number(999))]), 0);
        let shown = crate::account_rules::AccountRuleset::parse(DEFAULT_RULESET).unwrap();
        let Content::Account(ruleset) = content else { panic!("account rules") };
        let conditions = |ruleset: &crate::account_rules::AccountRuleset| {
            ruleset.rules.iter().map(|rule| (rule.points, rule.condition.clone())).collect::<Vec<_>>()
        };
        assert_eq!(conditions(&ruleset), conditions(&shown));
    }

    #[test]
    fn the_mid_market_pattern_gives_140_and_counts_unknown_as_no_customer() {
        let content = filled("mid-market-land", json!({ "target_vertical": "Manufacturing" })).unwrap().content;
        assert_eq!(content.possible(), Some(140));
        assert_eq!(score(&content, &[]), 20);
        assert_eq!(score(&content, &[("existing_customer", FieldValue::Bool(true))]), 0);
        for (employees, points) in [(99, 20), (100, 70), (1000, 70), (1001, 20)] {
            assert_eq!(score(&content, &[("employees", number(employees))]), points, "{employees}");
        }
        for (revenue, points) in [(9_999_999, 20), (10_000_000, 60), (100_000_000, 60)] {
            assert_eq!(score(&content, &[("revenue", number(revenue))]), points, "{revenue}");
        }
        assert_eq!(score(&content, &[("industry", text("manufacturing"))]), 50);
    }

    #[test]
    fn the_expansion_pattern_gives_120_and_needs_a_date_that_an_event_sets() {
        let filled = filled("plg-expansion", json!({ "expansion_event": "Seats Requested" })).unwrap();
        assert_eq!(filled.content.possible(), Some(120));
        let on = |day: &str| FieldValue::Date(Timestamp::parse(day).unwrap());
        // 30 days before 2026-11-22 is 2026-10-23.
        assert_eq!(score(&filled.content, &[("expansion_signal_at", on("2026-10-23T00:00:00Z"))]), 25);
        assert_eq!(score(&filled.content, &[("expansion_signal_at", on("2026-10-22T23:59:59Z"))]), 0);
        assert_eq!(score(&filled.content, &[("plan", text("business")), ("existing_customer", FieldValue::Bool(true))]), 70);
        assert_eq!(
            filled.mapping_entries,
            [json!({ "field": "expansion_signal_at", "type": "date", "policy": { "last_time_of_event": "Seats Requested" } })]
        );
        let mapping = json!({ "version": 1, "entries": filled.mapping_entries });
        assert!(serde_json::from_value::<AccountMapping>(mapping).is_ok());
    }

    #[test]
    fn the_practice_guide_is_the_ruleset_that_a_new_workspace_has() {
        let content = filled("practice-guide", json!({})).unwrap().content;
        let shown: EngagementRuleset = serde_json::from_str(include_str!("../../../../infra/rulesets/engagement.default.json")).unwrap();
        assert!(content.same_as(&Content::Engagement(shown)));
        assert_eq!(content.possible(), Some(100));
    }

    #[test]
    fn three_tiers_are_three_levels_with_plays() {
        let Content::Levels(levels) = filled("three-tiers", json!({})).unwrap().content else { panic!("levels") };
        let mins: Vec<_> = levels.ruleset.levels.iter().map(|level| (level.name.as_str(), level.min, level.play.is_some())).collect();
        assert_eq!(mins, [("Lower tier", 0, true), ("Mid tier", 50, true), ("Top tier", 80, true)]);
    }
}
