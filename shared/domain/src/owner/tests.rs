use super::*;
use crate::{
    field::{FieldName, FieldValue},
    model::default_document,
};
use std::collections::BTreeMap;

fn read(rules: Value) -> Result<OwnerRules, Problems> {
    OwnerRules::read(&json!({ "rules": rules }), &default_document().unwrap())
}

fn places(rules: Value) -> Vec<String> {
    read(rules).unwrap_err().0.into_iter().map(|problem| problem.pointer).collect()
}

fn model(rules: Value) -> Model {
    let mut document = default_document().unwrap();
    document.owners = read(rules).unwrap();
    Model::compile(document).unwrap()
}

fn rule_of<'m>(model: &'m Model, fields: &[(&str, &str)], tier: Option<&str>, level: Option<&str>) -> Option<&'m str> {
    let fields: BTreeMap<FieldName, FieldValue> =
        fields.iter().map(|(name, value)| (FieldName::new(name).unwrap(), FieldValue::Text((*value).to_owned()))).collect();
    let account = AccountFacts::new(tier, Some("somebody"), None);
    model.owner_rule(&fields, &account, level, Day(20_000)).map(|rule| rule.id.as_str())
}

#[test]
fn the_first_rule_whose_condition_and_levels_fit_decides() {
    let model = model(json!([
        {"id": "named", "when": {"field": "tier", "op": "eq", "value": "1:1"}, "owners": ["ana"]},
        {"id": "dach-targets", "when": {"field": "country", "op": "in", "value": ["Germany", "CH", "AT"]}, "levels": ["target"], "owners": ["kim", "robin"]},
        {"id": "targets", "levels": ["target", "qualified"], "owners": ["dana"]},
    ]));
    assert_eq!(rule_of(&model, &[("country", "DE")], Some("1:1"), Some("target")), Some("named"));
    // The country has another name; aliases of countries count here, too.
    assert_eq!(rule_of(&model, &[("country", "Germany")], None, Some("target")), Some("dach-targets"));
    assert_eq!(rule_of(&model, &[("country", "DE")], Some("1:few"), Some("qualified")), Some("targets"));
    // A country that is not known is none of those, and an account without a level has none of the levels.
    assert_eq!(rule_of(&model, &[], None, Some("target")), Some("targets"));
    assert_eq!(rule_of(&model, &[("country", "DE")], None, Some("standard")), None);
    assert_eq!(rule_of(&model, &[("country", "DE")], None, None), None);
}

#[test]
fn owners_take_turns_in_their_order() {
    let rules = read(json!([{"id": "all", "owners": ["a", "b", "c"]}])).unwrap();
    let rule = rules.rule("all").unwrap();
    let turns: Vec<&str> = [0, 1, 2, 3, 4, u64::MAX].iter().map(|turn| rule.owner(*turn).unwrap()).collect();
    // 2^64 - 1 is divisible by 3.
    assert_eq!(turns, ["a", "b", "c", "a", "b", "a"]);
    assert!(rule.names("b") && !rule.names("d"));
}

#[test]
fn everything_that_is_wrong_is_named_with_its_place() {
    assert_eq!(OwnerRules::read(&json!([]), &default_document().unwrap()).unwrap_err().0[0].pointer, "");
    assert_eq!(OwnerRules::read(&json!({}), &default_document().unwrap()).unwrap_err().0[0].pointer, "/rules");
    assert_eq!(places(json!({})), ["/rules"]);
    assert_eq!(places(json!(vec![json!({"id": "x", "owners": ["y"]}); 101])), ["/rules"]);
    let faulty = json!([
        {"id": "a b", "owners": []},
        {"id": "second", "owners": ["kim", "kim"], "levels": ["gold"]},
        7,
        {"id": "second", "owners": "kim", "colour": "red"},
        {"when": {"field": "country", "op": "is", "value": "DE"}, "owners": ["kim"]},
        {"id": "round", "when": {"any": [{"field": "country", "op": "exists"}, {"field": "owner", "op": "eq", "value": "kim"}]}, "owners": ["x\u{7}y"]},
    ]);
    let mut found = places(faulty);
    found.sort();
    let expected = [
        "/rules/0/id",
        "/rules/0/owners",
        "/rules/1/levels/0",
        "/rules/1/owners/1",
        "/rules/2",
        "/rules/3/colour",
        "/rules/3/id",
        "/rules/3/owners",
        "/rules/4/id",
        "/rules/4/when",
        "/rules/5/owners/0",
        "/rules/5/when",
    ];
    assert_eq!(found, expected);
    let too_many: Vec<String> = (0..51).map(|n| format!("owner {n}")).collect();
    let problems = read(json!([{"id": "many", "owners": too_many}])).unwrap_err();
    assert_eq!(problems.to_string(), "/rules/0/owners: must have 1 to 50 names of owners, such as `kim@yourcompany.example`, got 51");
    let problems = read(json!([{"id": "x", "owners": ["kim"], "levels": ["gold"]}])).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "/rules/0/levels/0: there is no account level `gold`; the levels are `low_priority`, `standard`, `qualified`, `target`"
    );
}

#[test]
fn owners_do_not_follow_from_levels_that_follow_from_owners() {
    let mut document = default_document().unwrap();
    let segment = json!({"when": {"field": "owner", "op": "eq", "value": "kim"}, "ruleset": document.account_levels});
    document.account_segments = vec![serde_json::from_value(segment).unwrap()];
    document.account_segments[0].ruleset.id = "kims".to_owned();
    let by_level = json!({"rules": [{"id": "x", "owners": ["kim"], "levels": ["target"]}]});
    assert_eq!(OwnerRules::read(&by_level, &document).unwrap_err().0[0].pointer, "/rules/0/levels");
    assert!(OwnerRules::read(&json!({"rules": [{"id": "x", "owners": ["kim"]}]}), &document).is_ok());
    assert_eq!(goes_round(&document), None);
    document.owners = OwnerRules::read(&by_level, &default_document().unwrap()).unwrap();
    assert!(goes_round(&document).is_some());
}

#[test]
fn rules_read_as_they_are_written_and_a_model_without_any_is_written_as_before() {
    let rules = json!([
        {"id": "dach", "name": "DACH", "when": {"field": "country", "op": "in", "value": ["DE"]}, "levels": ["target"], "owners": ["kim", "robin"]},
        {"id": "rest", "name": "rest", "owners": ["dana"]},
    ]);
    let read = read(rules.clone()).unwrap();
    assert_eq!(read.to_value(), json!({ "rules": rules }));
    let mut document = default_document().unwrap();
    assert!(!serde_json::to_string(&document).unwrap().contains("owners"));
    document.owners = read;
    let stored: ModelDocument = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
    assert_eq!(stored, document);
    document.account_levels.levels.retain(|level| level.id != "target");
    let unknown: Vec<(usize, &str)> = unknown_levels(&document).into_iter().map(|(i, _, level)| (i, level)).collect();
    assert_eq!(unknown, [(0, "target")]);
}

#[test]
fn a_condition_on_a_date_says_when_another_rule_may_take_the_account() {
    let model =
        model(json!([{"id": "hot", "when": {"field": "expansion_signal_at", "op": "within_days", "value": 30}, "owners": ["kim"]}]));
    assert!(model.owners_depend_on_date());
    let day = Day(20_000);
    let fields = BTreeMap::from([(FieldName::new("expansion_signal_at").unwrap(), FieldValue::Date(day.start()))]);
    let account = AccountFacts::default();
    let rule = |day: Day| model.owner_rule(&fields, &account, None, day).map(|rule| rule.id.as_str());
    // The day itself and 30 days before today: the 31st day is the first on which it is too long ago.
    assert_eq!((rule(day), rule(day.plus(30)), rule(day.plus(31))), (Some("hot"), Some("hot"), None));
    assert_eq!(model.next_owner_change(&fields, Some(&account), day), Some(day.plus(31)));
    assert_eq!(model.next_owner_change(&fields, None, day), None);
}
