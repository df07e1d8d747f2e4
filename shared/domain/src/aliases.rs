//! Alias tables of a workspace: one value of a field under the names that its sources give it.
//!
//! A table acts when rules are evaluated, never when events are read: a field keeps the text that was stated, and a changed table holds at once for
//! everything that is stored. Where a table and a built-in one (countries, industries) know the same text, the workspace's decides.
//!
//! ```
//! use domain::{account_rules::AccountRuleset, aliases::AliasTables, field::FieldValue, time::Timestamp};
//! use std::collections::BTreeMap;
//!
//! let tables: AliasTables = serde_json::from_str(r#"{"segment": {"Enterprise": ["ent", "1000+ employees"]}}"#).unwrap();
//! let rules = r#"{"id": "fit", "name": "Fit", "version": 1, "rules": [
//!     {"id": "big", "name": "Big", "points": 30, "condition": {"field": "segment", "op": "eq", "value": "Enterprise"}}]}"#;
//! let rules = AccountRuleset::parse(rules).unwrap();
//! let stated = BTreeMap::from([("segment", FieldValue::Text("ENT".to_owned()))]);
//! assert_eq!(rules.compile_with(&tables.compiled()).tally(&stated, Timestamp::default()).score, 30);
//! assert_eq!(rules.compile().tally(&stated, Timestamp::default()).score, 0);
//! ```

use crate::{
    field::FieldName,
    problem::{Problems, join},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The most fields with a table.
pub const MAX_FIELDS: usize = 50;
/// The most values of a table.
pub const MAX_VALUES: usize = 1_000;
/// The most aliases of a value.
pub const MAX_ALIASES: usize = 200;
/// The most texts of a table, values and aliases together.
pub const MAX_TEXTS: usize = 5_000;
/// The most characters of a value or an alias.
pub const MAX_CHARS: usize = 200;

/// The tables of a workspace. Their JSON form is `{"segment": {"Enterprise": ["ent", "1000+ employees"]}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AliasTables(BTreeMap<FieldName, AliasTable>);

/// The table of one field: each value with what else stands for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AliasTable(BTreeMap<String, Vec<String>>);

impl AliasTables {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many fields have one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The table of a field.
    pub fn get(&self, field: &str) -> Option<&AliasTable> {
        self.0.get(field)
    }

    /// Puts the table of a field; one without values removes it.
    pub fn put(&mut self, field: FieldName, table: AliasTable) {
        if table.0.is_empty() {
            self.0.remove(&field);
        } else {
            self.0.insert(field, table);
        }
    }

    /// Ready to be looked up.
    pub fn compiled(&self) -> Aliases {
        Aliases(self.0.iter().map(|(field, table)| (field.clone(), Arc::new(Names::of(table)))).collect())
    }
}

impl AliasTable {
    /// Reads `{"Enterprise": ["ent", …], …}`. The error lists every problem with a JSON pointer into the table.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let Some(map) = value.as_object() else {
            problems.add("", "must be an object of values, each with an array of its aliases");
            return Err(problems);
        };
        if map.len() > MAX_VALUES {
            problems.add("", format!("must have at most {MAX_VALUES} values, got {}", map.len()));
            return Err(problems);
        }
        let mut table = BTreeMap::new();
        // What every folded text stands for, and whether it is a value itself.
        let mut known: HashMap<String, &str> = HashMap::new();
        for name in map.keys() {
            let at = join("", name);
            check(&mut problems, &at, name);
            if let Some(other) = known.insert(folded(name), name) {
                problems.add(&at, format!("is the same value as `{other}` but for case and blanks"));
            }
        }
        let mut texts = map.len();
        for (name, aliases) in map {
            let at = join("", name);
            let Some(listed) = problems.array(&at, aliases) else { continue };
            if listed.len() > MAX_ALIASES {
                problems.add(&at, format!("must have at most {MAX_ALIASES} aliases, got {}", listed.len()));
                continue;
            }
            texts = texts.saturating_add(listed.len());
            let mut kept: Vec<String> = Vec::new();
            for (i, alias) in listed.iter().enumerate() {
                let at = join(&at, i);
                let Some(alias) = alias.as_str() else {
                    problems.add(&at, format!("must be a text of 1 to {MAX_CHARS} characters"));
                    continue;
                };
                check(&mut problems, &at, alias);
                match known.get(folded(alias).as_str()) {
                    Some(other) if *other != name => {
                        problems.add(&at, format!("stands for `{other}` already; a text stands for one value"));
                    }
                    // Once more for the same value says nothing new.
                    Some(_) => {}
                    None => {
                        known.insert(folded(alias), name);
                        kept.push(alias.trim().to_owned());
                    }
                }
            }
            table.insert(name.trim().to_owned(), kept);
        }
        if texts > MAX_TEXTS {
            problems.add("", format!("must have at most {MAX_TEXTS} values and aliases together, got {texts}"));
        }
        problems.or(Self(table))
    }

    /// The values, each with its aliases.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, aliases)| (name.as_str(), aliases.as_slice()))
    }
}

fn check(problems: &mut Problems, at: &str, text: &str) {
    let chars = text.trim().chars().count();
    if chars == 0 || chars > MAX_CHARS || text.trim().chars().any(char::is_control) {
        problems.add(at, format!("must have 1 to {MAX_CHARS} characters that can be seen, got {chars}"));
    }
}

/// A text as it is compared: in lower case, without blanks around it, and with one where there were several.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// Tables ready to be looked up. Made by [`AliasTables::compiled`]; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Aliases(BTreeMap<FieldName, Arc<Names>>);

impl Aliases {
    pub(crate) fn of(&self, field: &FieldName) -> Option<&Arc<Names>> {
        self.0.get(field)
    }
}

/// What the texts of one field stand for.
#[derive(Debug)]
pub(crate) struct Names {
    by_folded: HashMap<String, Arc<str>>,
    /// No text that is longer than this is known.
    longest: usize,
}

/// Of white space, so much is looked at beyond the longest known text, in bytes.
const BLANKS: usize = 64;

impl Names {
    fn of(table: &AliasTable) -> Self {
        let mut by_folded = HashMap::new();
        let names: Vec<(Arc<str>, &[String])> = table.values().map(|(name, aliases)| (Arc::from(name), aliases)).collect();
        // Values first: none of them is another one's alias, whatever a table that was stored by another build says.
        for (name, _) in &names {
            by_folded.entry(folded(name)).or_insert_with(|| Arc::clone(name));
        }
        for (name, aliases) in &names {
            for alias in *aliases {
                by_folded.entry(folded(alias)).or_insert_with(|| Arc::clone(name));
            }
        }
        // A letter's other case may take another number of bytes.
        let longest = by_folded.keys().map(String::len).max().unwrap_or_default().saturating_mul(3).saturating_add(BLANKS);
        Self { by_folded, longest }
    }

    /// The value that a text stands for, as the table spells it; `None` when the table does not know the text.
    pub(crate) fn name_of(&self, text: &str) -> Option<&str> {
        if text.len() > self.longest {
            return None;
        }
        self.by_folded.get(&folded(text)).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        account_rules::{AccountRuleset, Outcome},
        field::FieldValue,
    };
    use proptest::prelude::*;
    use serde_json::json;

    type Fields = BTreeMap<String, FieldValue>;

    fn tables(value: Value) -> AliasTables {
        serde_json::from_value(value).unwrap()
    }

    fn rules(field: &str, op: &str, value: Value) -> AccountRuleset {
        let condition = json!({ "field": field, "op": op, "value": value });
        let rule = json!({ "id": "r", "name": "R", "points": 10, "condition": condition });
        AccountRuleset::read(&json!({ "id": "x", "name": "X", "version": 1, "rules": [rule] })).unwrap()
    }

    /// Whether a rule holds, in the four ways in which a ruleset is evaluated; they must agree.
    fn holds(rules: &AccountRuleset, aliases: &Aliases, field: &str, value: FieldValue) -> bool {
        let compiled = rules.compile_with(aliases);
        let fields: Fields = [(field.to_owned(), value)].into();
        let at = Timestamp::default();
        let score = compiled.tally(&fields, at).score;
        assert_eq!(compiled.evaluate(&fields, at).score, score);
        assert_eq!(compiled.tally_json(&serde_json::to_string(&fields).unwrap(), at).unwrap().score, score);
        assert_eq!(compiled.evaluate(&fields, at).lines[0].outcome == Outcome::Matched, score == 10);
        score == 10
    }

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.to_owned())
    }

    #[test]
    fn an_alias_of_the_value_and_the_value_are_one_whoever_uses_which() {
        let aliases = tables(json!({ "segment": { "Enterprise": ["ent", "1000+ employees"], "Small": ["smb"] } })).compiled();
        for (op, value, stated, expected) in [
            ("eq", json!("Enterprise"), "ent", true),
            ("eq", json!("ent"), "Enterprise", true),
            ("eq", json!("ent"), "1000+ Employees", true),
            ("eq", json!("Enterprise"), "  1000+ \t employees ", true),
            ("eq", json!("Enterprise"), "smb", false),
            ("eq", json!("Enterprise"), "enterprises", false),
            ("neq", json!("Enterprise"), "ENT", false),
            ("neq", json!("Enterprise"), "smb", true),
            ("in", json!(["Small", "Middle"]), "SMB", true),
            ("in", json!(["Small", "Middle"]), "middle", true),
            ("in", json!(["Small", "Middle"]), "ent", false),
            ("not_in", json!(["Small", "ent"]), "enterprise", false),
            ("not_in", json!(["Small"]), "ent", true),
            // Parts of texts are parts of what was stated.
            ("contains", json!("terp"), "ent", false),
            ("contains", json!("ployees"), "1000+ employees", true),
            ("starts_with", json!("Enter"), "ent", false),
        ] {
            assert_eq!(holds(&rules("segment", op, value.clone()), &aliases, "segment", text(stated)), expected, "{op} {value} {stated}");
        }
        // Of a list, one item is enough.
        let list = |items: &[&str]| FieldValue::List(items.iter().map(|item| (*item).to_owned()).collect());
        for (op, expected) in [("eq", true), ("contains", true), ("neq", false), ("not_contains", false)] {
            let rules = rules("segment", op, json!("Enterprise"));
            assert_eq!(holds(&rules, &aliases, "segment", list(&["partner", "1000+  employees"])), expected, "{op}");
            assert_eq!(holds(&rules, &aliases, "segment", list(&["partner", "smb"])), !expected, "{op}");
        }
        // Another field has no such table.
        assert!(!holds(&rules("size", "eq", json!("Enterprise")), &aliases, "size", text("ent")));
        // What is no text is compared as ever.
        let numbers = rules("segment", "in", json!(["Enterprise", 7]));
        assert!(holds(&numbers, &aliases, "segment", FieldValue::Number(crate::field::Number::whole(7).unwrap())));
    }

    #[test]
    fn the_table_of_the_workspace_decides_before_the_built_in_one() {
        let aliases = tables(json!({
            "industry": { "Finance": ["Computer Software"] },
            "country": { "GB": ["Blighty"], "Homeland": ["US"] },
        }))
        .compiled();
        let industry = |rule: &str, stated: &str| holds(&rules("industry", "eq", json!(rule)), &aliases, "industry", text(stated));
        assert!(industry("Finance", "computer software") && industry("Finance", "Banking") && industry("Technology", "Internet"));
        assert!(!industry("Technology", "Computer Software"));
        let country = |rule: &str, stated: &str| holds(&rules("country", "in", json!([rule])), &aliases, "country", text(stated));
        assert!(country("United Kingdom", "Blighty") && country("Blighty", "UK") && country("Germany", "DE"));
        assert!(country("Homeland", "us") && !country("US", "USA") && country("US", "Homeland"));
    }

    #[test]
    fn a_table_says_every_problem_with_its_place() {
        let read = |value: Value| AliasTable::read(&value);
        let table = read(json!({ "Enterprise": [" ent ", "ENT", "enterprise"], "Small": [] })).unwrap();
        assert_eq!(table.values().collect::<Vec<_>>(), [("Enterprise", ["ent".to_owned()].as_slice()), ("Small", [].as_slice())]);
        let wrong = read(json!({
            "Enterprise": ["ent", 7, ""], "Middle": ["ENT", "x".repeat(201)], "a/b": "x", "Small": ["  enterprise"], "small ": [],
        }));
        let wrong: Vec<(String, String)> = wrong.unwrap_err().0.into_iter().map(|p| (p.pointer, p.message)).collect();
        let said = |pointer: &str| wrong.iter().find(|(at, _)| at == pointer).map(|(_, message)| message.as_str()).unwrap_or("nothing");
        assert_eq!(said("/Middle/0"), "stands for `Enterprise` already; a text stands for one value");
        assert_eq!(said("/Small/0"), "stands for `Enterprise` already; a text stands for one value");
        assert_eq!(said("/Enterprise/1"), "must be a text of 1 to 200 characters");
        assert_eq!(said("/Middle/1"), "must have 1 to 200 characters that can be seen, got 201");
        assert!(said("/a~1b") != "nothing" && said("/Enterprise/2") != "nothing", "{wrong:?}");
        assert_eq!(said("/small "), "is the same value as `Small` but for case and blanks");
        let many: serde_json::Map<String, Value> = (0..1_001).map(|n| (format!("v{n}"), json!([]))).collect();
        assert_eq!(read(many.into()).unwrap_err().0[0].message, "must have at most 1000 values, got 1001");
        let texts = |n: usize| (0..n).map(|n| format!("t{n}")).collect::<Vec<_>>();
        assert_eq!(read(json!({ "a": texts(201) })).unwrap_err().0[0].pointer, "/a");
        assert!(read(json!(["a"])).is_err());
    }

    #[test]
    fn many_aliases_are_looked_up_not_searched() {
        let values: BTreeMap<String, Vec<String>> =
            (0..50).map(|v| (format!("v{v}"), (0..99).map(|a| format!("a{v}-{a}")).collect())).collect();
        let tables = tables(json!({ "segment": values }));
        assert!(holds(&rules("segment", "eq", json!("v49")), &tables.compiled(), "segment", text("A49-98")));
        let mut without = tables.clone();
        without.put(FieldName::new("segment").unwrap(), AliasTable::default());
        assert!(without.is_empty() && !tables.is_empty());
    }

    proptest! {
        #[test]
        fn tables_of_other_fields_and_unknown_texts_change_nothing(
            op in prop::sample::select(vec!["eq", "neq", "in", "not_in", "contains", "not_contains", "starts_with"]),
            value in "[a-c ]{0,3}[a-c]",
            stated in prop_oneof!["[a-c ]{0,3}[a-c]".prop_map(FieldValue::Text), prop::collection::vec("[a-c]{1,2}", 0..3).prop_map(FieldValue::List)],
        ) {
            let value = if op.ends_with("in") { json!([value]) } else { json!(value) };
            let rules = rules("segment", op, value);
            let usual = holds(&rules, &Aliases::default(), "segment", stated.clone());
            let elsewhere = tables(json!({ "other": { "a": ["b"] } })).compiled();
            prop_assert_eq!(holds(&rules, &elsewhere, "segment", stated.clone()), usual);
            let unknown = tables(json!({ "segment": { "x": ["y"] } })).compiled();
            prop_assert_eq!(holds(&rules, &unknown, "segment", stated), usual);
        }

        #[test]
        fn a_rule_can_tell_no_two_names_of_a_value_apart(
            op in prop::sample::select(vec!["eq", "neq", "in", "not_in"]),
            rule in prop::sample::select(vec!["Enterprise", "ent", "big", "small", "other"]),
            names in Just(vec!["Enterprise", "ENT", " big", "B I G"]).prop_shuffle(),
        ) {
            let aliases = tables(json!({ "segment": { "Enterprise": ["ent", "big", "b i g"], "Small": ["small"] } })).compiled();
            let value = if op.ends_with("in") { json!([rule]) } else { json!(rule) };
            let rules = rules("segment", op, value);
            let all: Vec<bool> = names.iter().map(|name| holds(&rules, &aliases, "segment", text(name))).collect();
            let equal = matches!(rule, "Enterprise" | "ent" | "big");
            prop_assert!(all.iter().all(|holds| *holds == (equal != matches!(op, "neq" | "not_in"))), "{:?}", all);
        }
    }
}
