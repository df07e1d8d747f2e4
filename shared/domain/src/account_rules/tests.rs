//! Tests of account rules.

use super::*;
use crate::{
    Timestamp,
    field::{FieldFacts, FieldLookup, FieldType, FieldValue, Interval, Number},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Fields = BTreeMap<FieldName, FieldValue>;

fn name(text: &str) -> FieldName {
    FieldName::new(text).unwrap()
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-21T20:00:00Z").unwrap()
}

/// Fields from their JSON form.
fn fields(json: Value) -> Fields {
    serde_json::from_value(json).unwrap()
}

fn default() -> CompiledAccountRuleset {
    AccountRuleset::parse(DEFAULT_RULESET).unwrap().compile()
}

/// A ruleset of these conditions, 10 points each.
fn ruleset(conditions: &[Value]) -> AccountRuleset {
    let rules: Vec<Value> =
        (0..).zip(conditions).map(|(i, c): (usize, _)| json!({"id": format!("r{i}"), "points": 10, "condition": c})).collect();
    let document = json!({"id": "test", "name": "Test", "version": 1, "rules": rules});
    serde_json::from_value(document).unwrap()
}

/// What comes of one condition: the word for the outcome.
fn outcome(condition: Value, known: Value) -> &'static str {
    let score = ruleset(&[condition]).compile().evaluate(&fields(known), now());
    assert_eq!(score.explained(), i64::from(score.score));
    match score.lines[0].outcome {
        Outcome::Matched => "matched",
        Outcome::Capped(_) => "capped",
        Outcome::NotMatched => "not matched",
        Outcome::Missing(_) => "missing",
        Outcome::Undecided(_) => "undecided",
        Outcome::Faulty(_) => "faulty",
    }
}

fn test(field: &str, op: &str, value: Value) -> Value {
    json!({"field": field, "op": op, "value": value})
}

#[test]
fn the_enterprise_pattern_of_the_documents_scores_145_50_and_0() {
    let perfect = fields(json!({"employees": 1200, "revenue": 50_000_000, "country": "United Kingdom", "industry": "Computer Software"}));
    let score = default().evaluate(&perfect, now());
    assert_eq!((score.score, score.possible, score.known, score.of, score.missing_could_add), (145, 145, 4, 4, 0));
    assert_eq!(score.lines.iter().map(|line| line.points).collect::<Vec<_>>(), [50, 45, 20, 30]);

    let marginal = default().evaluate(&fields(json!({"employees": 1000})), now());
    assert_eq!((marginal.score, marginal.known, marginal.of, marginal.missing_could_add), (50, 1, 4, 95));

    let nothing = default().evaluate(&FieldFacts::new(), now());
    assert_eq!((nothing.score, nothing.possible, nothing.known, nothing.of, nothing.missing_could_add), (0, 145, 0, 4, 145));
    let missing: Vec<(String, i32)> = nothing.missing.iter().map(|m| (m.field.to_string(), m.could_add)).collect();
    let expected = [("employees", 50), ("revenue", 45), ("industry", 30), ("country", 20)];
    assert_eq!(missing, expected.map(|(field, points)| (field.to_owned(), points)));
    assert!(nothing.lines.iter().all(|line| matches!(&line.outcome, Outcome::Missing(fields) if fields.len() == 1)));
}

#[test]
fn fields_as_clients_send_them_score_as_the_documents_say() {
    let mut facts = Fields::new();
    for (field, kind, raw) in [
        ("employees", FieldType::Number, json!("1,000+")),
        ("revenue", FieldType::Money, json!("$50M")),
        ("country", FieldType::Text, json!("Deutschland")),
        ("industry", FieldType::Text, json!("HOSPITAL_HEALTH_CARE")),
    ] {
        facts.insert(name(field), kind.coerce(&raw, crate::field::Currency::USD).unwrap().unwrap());
    }
    assert_eq!(default().tally(&facts, now()).score, 50 + 45 + 20, "an industry that no table knows does not match");
    facts.insert(name("industry"), FieldValue::Text("Hospital & Health Care".into()));
    assert_eq!(default().tally(&facts, now()).score, 145);
}

#[test]
fn every_operator_does_what_its_name_says() {
    let company = json!({
        "employees": 1200, "plan": "Enterprise", "country": "United Kingdom", "industry": "Computer Software", "existing_customer": true,
        "signed_at": {"date": "2026-11-01T12:00:00Z"}, "tools": ["Loom CAD", "Ledger"], "size": {"from": 201, "to": 500}
    });
    for (field, op, value, expected) in [
        ("employees", "eq", json!(1200), "matched"),
        ("employees", "eq", json!("1200"), "matched"),
        ("employees", "eq", json!(1201), "not matched"),
        ("employees", "neq", json!(1201), "matched"),
        ("employees", "gt", json!(1200), "not matched"),
        ("employees", "gt", json!(1199.999), "matched"),
        ("employees", "gte", json!(1200), "matched"),
        ("employees", "lt", json!(1200), "not matched"),
        ("employees", "lte", json!(1200), "matched"),
        ("employees", "between", json!([1200, 1300]), "matched"),
        ("employees", "between", json!([100, 1199]), "not matched"),
        ("employees", "in", json!([1, 1200]), "matched"),
        ("employees", "not_in", json!([1, 1200]), "not matched"),
        ("plan", "eq", json!(" enterprise "), "matched"),
        ("plan", "neq", json!("enterprise"), "not matched"),
        ("plan", "neq", json!("free"), "matched"),
        ("plan", "in", json!(["Pro", "ENTERPRISE"]), "matched"),
        ("plan", "contains", json!("PRISE"), "matched"),
        ("plan", "not_contains", json!("prise"), "not matched"),
        ("plan", "starts_with", json!("enter"), "matched"),
        ("plan", "starts_with", json!("prise"), "not matched"),
        ("plan", "exists", json!(null), "matched"),
        ("plan", "not_exists", json!(null), "not matched"),
        ("country", "in", json!(["US", "UK", "CA", "AU", "DE"]), "matched"),
        ("country", "eq", json!("GBR"), "matched"),
        ("country", "neq", json!("gb"), "not matched"),
        ("country", "not_in", json!(["US"]), "matched"),
        ("industry", "in", json!(["Technology"]), "matched"),
        ("industry", "eq", json!("technology"), "matched"),
        ("industry", "eq", json!("COMPUTER_SOFTWARE"), "matched"),
        ("industry", "eq", json!("Internet"), "not matched"),
        ("existing_customer", "eq", json!(true), "matched"),
        ("existing_customer", "eq", json!("yes"), "matched"),
        ("existing_customer", "neq", json!(true), "not matched"),
        ("signed_at", "eq", json!("2026-11-01"), "matched"),
        ("signed_at", "gt", json!("2026-11-01"), "not matched"),
        ("signed_at", "gte", json!("2026-11-01"), "matched"),
        ("signed_at", "gt", json!("2026-11-01T11:59:59Z"), "matched"),
        ("signed_at", "lt", json!("2026-11-02"), "matched"),
        ("signed_at", "lte", json!("2026-11-01"), "matched"),
        ("signed_at", "between", json!(["2026-10-01", "2026-11-01"]), "matched"),
        ("signed_at", "within_days", json!(20), "matched"),
        ("signed_at", "within_days", json!(19), "not matched"),
        ("tools", "contains", json!("ledger"), "matched"),
        ("tools", "contains", json!("Loom"), "not matched"),
        ("tools", "starts_with", json!("loom"), "matched"),
        ("tools", "in", json!(["Ledger", "Other"]), "matched"),
        ("tools", "not_in", json!(["Other"]), "matched"),
        ("tools", "not_contains", json!("Ledger"), "not matched"),
        ("plan", "gte", json!(5), "faulty"),
        ("plan", "within_days", json!(5), "faulty"),
        ("employees", "contains", json!("1"), "faulty"),
        ("employees", "gte", json!("2026-01-01"), "faulty"),
        ("signed_at", "gt", json!(5), "faulty"),
    ] {
        assert_eq!(outcome(test(field, op, value.clone()), company.clone()), expected, "{field} {op} {value}");
    }
}

#[test]
fn a_missing_field_never_matches_unless_it_is_asked_for() {
    let values = [
        ("eq", json!("x")),
        ("neq", json!("x")),
        ("gt", json!(1)),
        ("gte", json!(1)),
        ("lt", json!(1)),
        ("lte", json!(1)),
        ("between", json!([1, 2])),
        ("in", json!(["x"])),
        ("not_in", json!(["x"])),
        ("contains", json!("x")),
        ("not_contains", json!("x")),
        ("starts_with", json!("x")),
        ("exists", json!(null)),
        ("within_days", json!(3)),
    ];
    for (op, value) in values {
        assert_eq!(outcome(test("plan", op, value), json!({})), "missing", "{op}");
    }
    assert_eq!(outcome(test("plan", "not_exists", json!(null)), json!({})), "matched");
}

#[test]
fn missing_means_no_where_it_is_declared() {
    assert_eq!(outcome(test("existing_customer", "eq", json!(false)), json!({})), "matched");
    assert_eq!(outcome(test("existing_customer", "neq", json!(true)), json!({})), "matched");
    assert_eq!(outcome(test("existing_customer", "eq", json!(true)), json!({})), "not matched");
    assert_eq!(outcome(test("existing_customer", "exists", json!(null)), json!({})), "missing");
    assert_eq!(outcome(test("existing_customer", "not_exists", json!(null)), json!({})), "matched");

    let mut rules = ruleset(&[test("existing_customer", "eq", json!(false))]);
    let score = rules.compile().evaluate(&Fields::new(), now());
    assert_eq!((score.score, score.known, score.of), (10, 0, 1), "assumed is not known");
    let seen = &score.lines[0].fields[0];
    assert_eq!((seen.value.clone(), seen.assumed), (Some(FieldValue::Bool(false)), true));
    rules.missing_means_no.clear();
    assert_eq!(rules.compile().tally(&Fields::new(), now()).score, 0);
}

#[test]
fn an_interval_matches_only_as_a_whole() {
    let size = json!({"employees": {"from": 201, "to": 500}});
    for (op, value, expected) in [
        ("gte", json!(201), "matched"),
        ("gte", json!(202), "undecided"),
        ("gte", json!(500), "undecided"),
        ("gt", json!(500), "not matched"),
        ("gt", json!(200), "matched"),
        ("lt", json!(201), "not matched"),
        ("lt", json!(501), "matched"),
        ("lte", json!(499), "undecided"),
        ("between", json!([201, 500]), "matched"),
        ("between", json!([100, 1000]), "matched"),
        ("between", json!([300, 400]), "undecided"),
        ("between", json!([501, 900]), "not matched"),
        ("eq", json!(300), "undecided"),
        ("eq", json!(501), "not matched"),
        ("neq", json!(300), "undecided"),
        ("neq", json!(501), "matched"),
        ("in", json!([1, 300]), "undecided"),
        ("not_in", json!([1, 2]), "matched"),
    ] {
        assert_eq!(outcome(test("employees", op, value.clone()), size.clone()), expected, "{op} {value}");
    }
    assert_eq!(outcome(test("employees", "gte", json!(1000)), json!({"employees": {"from": 1000}})), "matched");
    assert_eq!(outcome(test("employees", "gte", json!(50)), json!({"employees": {"to": 49.999}})), "not matched");
}

#[test]
fn groups_join_by_and_and_or_and_say_what_they_wait_for() {
    let (big, rich, uk) = (test("employees", "gte", json!(1000)), test("revenue", "gte", json!(50)), test("country", "eq", json!("UK")));
    let both = json!({"all": [big, rich]});
    let either = json!({"any": [big, rich]});
    assert_eq!(outcome(both.clone(), json!({"employees": 1000, "revenue": 50})), "matched");
    assert_eq!(outcome(both.clone(), json!({"employees": 1000})), "missing");
    assert_eq!(outcome(both.clone(), json!({"employees": 1})), "not matched", "nothing that is missing could save it");
    assert_eq!(outcome(both.clone(), json!({"employees": {"from": 500}, "revenue": 50})), "undecided");
    assert_eq!(outcome(either.clone(), json!({"employees": 1000})), "matched", "nothing that is missing could spoil it");
    assert_eq!(outcome(either.clone(), json!({"employees": 1})), "missing");
    assert_eq!(outcome(either.clone(), json!({"employees": 1, "revenue": 1})), "not matched");
    assert_eq!(outcome(json!({"all": [uk, {"any": [both, either]}]}), json!({"country": "GB", "revenue": 90})), "matched");
    assert_eq!(outcome(json!({"any": [big, rich]}), json!({"employees": "many", "revenue": 50})), "matched");
    assert_eq!(outcome(json!({"any": [big, rich]}), json!({"employees": "many"})), "missing", "revenue may save it yet");
    assert_eq!(outcome(json!({"any": [big, rich]}), json!({"employees": "many", "revenue": 1})), "faulty");
    assert_eq!(outcome(json!({"all": [big, rich]}), json!({"employees": "many"})), "faulty", "revenue can't save it");

    let score = ruleset(&[json!({"all": [big, rich, uk]})]).compile().evaluate(&fields(json!({"employees": 5000})), now());
    assert_eq!(score.lines[0].outcome, Outcome::Missing(vec![name("revenue"), name("country")]));
    assert_eq!(score.missing_could_add, 10);
}

#[test]
fn a_mismatch_says_what_the_field_holds_and_what_is_needed() {
    let score = ruleset(&[test("employees", "gte", json!(1000))]).compile().evaluate(&fields(json!({"employees": "many"})), now());
    let reason = "field `employees` holds a text, but `gte` needs a number".to_owned();
    assert_eq!(score.lines[0].outcome, Outcome::Faulty(reason));
    assert_eq!(score.score, 0);
}

fn capped() -> AccountRuleset {
    let rule = |id: &str, points: i32, group: Option<&str>| json!({"id": id, "points": points, "group": group, "condition": test(id, "exists", json!(null))});
    AccountRuleset::parse(
        &json!({
            "id": "capped", "name": "Capped", "version": 3, "cap": 70, "groups": [{"id": "size", "cap": 50}],
            "rules": [rule("a", 30, Some("size")), rule("b", 30, Some("size")), rule("c", 40, None), rule("d", -100, None)]
        })
        .to_string(),
    )
    .unwrap()
}

#[test]
fn caps_take_points_away_in_lines_of_their_own() {
    let rules = capped().compile();
    let score = rules.evaluate(&fields(json!({"a": 1, "b": 1, "c": 1})), now());
    assert_eq!((score.score, score.possible), (70, 70));
    let size = CapScope::Group("size".into());
    assert_eq!(
        score.caps,
        [CapLine { scope: size.clone(), limit: 50, points: -10 }, CapLine { scope: CapScope::Total, limit: 70, points: -20 }]
    );
    let outcomes: Vec<&Outcome> = score.lines.iter().map(|line| &line.outcome).collect();
    assert_eq!(outcomes[..3], [&Outcome::Matched, &Outcome::Capped(size), &Outcome::Capped(CapScope::Total)]);
    assert_eq!(score.explained(), 70);
}

#[test]
fn a_score_is_never_below_zero_and_the_floor_is_explained() {
    let score = capped().compile().evaluate(&fields(json!({"a": 1, "d": 1})), now());
    assert_eq!(score.score, 0);
    assert_eq!(score.caps, [CapLine { scope: CapScope::Floor, limit: 0, points: 70 }]);
    assert_eq!(score.explained(), 0);
}

#[test]
fn the_day_on_which_a_score_changes_by_itself_is_known() {
    let rules = ruleset(&[test("demo_at", "within_days", json!(30)), test("renews_at", "within_days", json!(5))]).compile();
    assert!(rules.depends_on_date());
    assert!(!default().depends_on_date());
    let on = |day: &str| Timestamp::parse(day).unwrap();
    let known = fields(json!({"demo_at": {"date": "2026-11-01T23:00:00Z"}, "renews_at": {"date": "2026-11-25T00:00:00Z"}}));
    for (today, score, next) in [
        ("2026-11-21", 10, Some("2026-11-25")),
        ("2026-11-25", 20, Some("2026-12-01")),
        ("2026-12-01", 10, Some("2026-12-02")),
        ("2026-12-02", 0, None),
    ] {
        let tally = rules.tally(&known, on(today));
        assert_eq!((tally.score, tally.next_change), (score, next.map(|day| on(day).day())), "{today}");
    }
}

#[test]
fn every_problem_is_listed_with_its_pointer() {
    let of = |document: Value| -> Vec<String> {
        AccountRuleset::parse(&document.to_string()).unwrap_err().0.iter().map(ToString::to_string).collect()
    };
    let rules = |rules: Value| of(json!({"id": "x", "name": "X", "version": 1, "rules": rules}));
    let rule = |condition: Value| json!({"id": "r", "points": 1, "condition": condition});
    let condition = |condition: Value| rules(json!([rule(condition)]));
    let ops = "`eq`, `neq`, `gt`, `gte`, `lt`, `lte`, `between`, `in`, `not_in`, `contains`, `not_contains`, `starts_with`, `exists`, \
        `not_exists`, `within_days`";
    assert_eq!(condition(test("a", "like", json!(1))), [format!("/rules/0/condition: `op` must be one of {ops}, got `like`")]);
    for (op, value, wants) in [
        ("gte", json!("lots"), "a number or an ISO 8601 date, got `lots`"),
        ("eq", json!([1]), "a text, a number, true or false, got an array"),
        ("in", json!("x"), "an array of 1 to 1000 texts, numbers or truth values, got `x`"),
        ("in", json!([]), "an array of 1 to 1000 texts, numbers or truth values, got an array"),
        ("between", json!([1]), "an array of two numbers or two ISO 8601 dates, got an array"),
        ("contains", json!(5), "a text, got `5`"),
        ("exists", json!(true), "absent, got `true`"),
        ("within_days", json!(0), "a whole number of days from 1 to 3650, got `0`"),
        ("within_days", json!(1.5), "a whole number of days from 1 to 3650, got `1.5`"),
    ] {
        assert_eq!(condition(test("a", op, value)), [format!("/rules/0/condition: `value` of `{op}` must be {wants}")]);
    }
    assert_eq!(condition(test("a", "between", json!([2, 1]))), ["/rules/0/condition/value: must be a range from low to high, got 2 to 1"]);
    assert_eq!(condition(test("a", "between", json!([1, "2026-01-01"]))), ["/rules/0/condition/value: must be two numbers or two dates"]);
    assert_eq!(condition(json!({"any": []})), ["/rules/0/condition/any: must have at least one condition"]);
    assert_eq!(
        condition(
            json!({"all": [test("A", "eq", json!(1)), {"any": 5}, 7, {"all": [], "any": []}, {"field": "a", "op": "exists", "val": 1}]})
        ),
        [
            "/rules/0/condition/all/0: field name must be 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter, got `A`",
            "/rules/0/condition/all/1: `any` must be an array of conditions, got `5`",
            "/rules/0/condition/all/2: must be an object, got `7`",
            "/rules/0/condition/all/3: must have no other key beside `all`",
            "/rules/0/condition/all/4: unknown key `val`; the known ones are `field`, `op`, `value`, or `all` or `any` alone",
        ]
    );
    let sound = test("a", "exists", json!(null));
    assert_eq!(
        rules(json!([rule(sound.clone()), {"id": "r", "points": 1, "group": "g", "condition": sound}])),
        ["/rules/1/id: must be unique, `r` is taken by another rule", "/rules/1/group: must be the id of a group of this ruleset, got `g`"]
    );
    assert_eq!(
        rules(json!([{"id": "r", "points": "ten", "weight": 5}, {"id": "", "points": 1_000_001, "condition": sound}])),
        [
            "/rules/0/weight: unknown key; the known ones are `id`, `name`, `points`, `disqualifies`, `group`, `condition`",
            "/rules/0/points: must be a whole number from -1000000 to 1000000, got `ten`",
            "/rules/0/condition: is required: {\"field\", \"op\", \"value\"}, {\"all\": […]} or {\"any\": […]}",
            "/rules/1/id: must have 1 to 100 characters",
            "/rules/1/points: must be a whole number from -1000000 to 1000000, got `1000001`",
        ]
    );
    assert_eq!(rules(json!([])), ["/rules: must have at least one rule"]);
    assert_eq!(
        of(json!({"id": "x", "name": "X", "version": 0, "rules": {}}))[0],
        "/version: must be a whole number from 1 to 9223372036854775807, got `0`"
    );
    let many: Vec<Value> = (0..1_001).map(|i| json!({"id": i.to_string(), "points": 1, "condition": sound})).collect();
    assert_eq!(rules(json!(many)), ["/rules: must have at most 1000 rules, got 1001"]);
}

/// A test inside so many groups.
fn nested(groups: usize) -> Value {
    (0..groups).fold(test("a", "exists", json!(null)), |inner, _| json!({"all": [inner]}))
}

#[test]
fn groups_nest_ten_deep_and_no_deeper() {
    assert_eq!(outcome(nested(10), json!({"a": 1})), "matched");
    assert_eq!(outcome(nested(11), json!({"a": 1})), "faulty");
    let deep = json!({"id": "x", "name": "X", "version": 1, "rules": [{"id": "r", "points": 1, "condition": nested(11)}]});
    let problems = AccountRuleset::parse(&deep.to_string()).unwrap_err();
    assert_eq!(problems.0[0].pointer, format!("/rules/0/condition{}", "/all/0".repeat(10)));
    assert_eq!(problems.0[0].message, "is nested deeper than 10 groups");
}

#[test]
fn a_faulty_rule_contributes_nothing_and_shows() {
    let mut rules = ruleset(&[test("a", "like", json!(1)), test("a", "exists", json!(null))]);
    assert_eq!(rules.validate().0.len(), 1);
    let score = rules.compile().evaluate(&fields(json!({"a": 1})), now());
    assert_eq!((score.score, score.possible), (10, 10));
    assert!(matches!(&score.lines[0].outcome, Outcome::Faulty(reason) if reason.contains("got `like`")));
    // A faulty rule survives being stored again.
    let text = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<AccountRuleset>(&text).unwrap(), rules);
    // One that was made faulty in memory is found too.
    rules.rules[1].condition = Condition::All(Vec::new());
    assert_eq!(rules.compile().evaluate(&fields(json!({"a": 1})), now()).score, 0);
    let rule = rules.rules[0].clone();
    rules.rules = vec![AccountRule { condition: Condition::Any(vec![]), ..rule }; 1_500];
    assert_eq!(rules.compile().tally(&Fields::new(), now()).score, 0);
}

#[test]
fn the_shipped_ruleset_is_sound_and_writes_itself() {
    let rules = AccountRuleset::parse(DEFAULT_RULESET).unwrap();
    assert_eq!(rules.missing_means_no, [name("existing_customer")]);
    let text = serde_json::to_string(&rules).unwrap();
    assert_eq!(AccountRuleset::parse(&text).unwrap(), rules);
    let compiled = rules.compile();
    assert_eq!((compiled.id(), compiled.version()), ("enterprise-b2b-saas", 1));
    assert_eq!(compiled.fields().map(FieldName::as_str).collect::<Vec<_>>(), ["employees", "revenue", "country", "industry"]);
}

#[test]
fn an_explanation_is_plain_json() {
    let score = default().evaluate(&fields(json!({"employees": 1200, "country": "France"})), now());
    assert_eq!(
        serde_json::to_value(&score.lines[..3]).unwrap(),
        json!([
            {"rule_id": "employees", "name": "1,000 employees or more", "points": 50, "possible": 50, "outcome": "matched",
                "fields": [{"field": "employees", "value": 1200}]},
            {"rule_id": "revenue", "name": "Revenue of 50 million or more", "points": 0, "possible": 45, "outcome": "missing",
                "because": ["revenue"], "fields": [{"field": "revenue", "value": null}]},
            {"rule_id": "country", "name": "In a country we sell to", "points": 0, "possible": 20, "outcome": "not_matched",
                "fields": [{"field": "country", "value": "France"}]},
        ])
    );
    let text = serde_json::to_string(&score).unwrap();
    assert_eq!(serde_json::from_str::<AccountScore>(&text).unwrap(), score);
    let capped = capped().compile().evaluate(&fields(json!({"a": 1, "b": 1})), now());
    let json = serde_json::to_value(&capped).unwrap();
    assert_eq!(json["caps"], json!([{"cap": "group", "group": "size", "limit": 50, "points": -10}]));
    assert_eq!(serde_json::from_value::<AccountScore>(json).unwrap(), capped);
}

#[test]
fn raw_json_scores_as_stored_fields_do() {
    let rules = default();
    let tally = rules.tally_json(r#"{"x":{"y":[1]},"employees":1200,"country":"UK","industry":null,"revenue":{"from":50000000}}"#, now());
    assert_eq!(tally.unwrap(), Tally { score: 115, possible: 145, known: 3, of: 4, disqualified: false, next_change: None });
    for bad in ["", "[]", "{", r#"{"employees":[1]}"#, "{} x"] {
        assert!(rules.tally_json(bad, now()).is_err(), "{bad}");
    }
}

fn with_a_disqualifying_rule(points: &Value) -> Value {
    let mut document: Value = serde_json::from_str(DEFAULT_RULESET).unwrap();
    let condition = json!({"field": "crm", "op": "eq", "value": "none"});
    let rule = json!({"id": "no-crm", "name": "No CRM", "points": points, "disqualifies": true, "condition": condition});
    document["rules"].as_array_mut().unwrap().push(rule);
    document
}

#[test]
fn a_rule_that_disqualifies_changes_no_point_and_is_named() {
    let document = with_a_disqualifying_rule(&json!(0));
    let rules = AccountRuleset::read(&document).unwrap().compile();
    let perfect = json!({"employees": 1200, "revenue": 60_000_000, "country": "US", "industry": "Technology", "crm": "None"});
    let score = rules.evaluate(&fields(perfect.clone()), now());
    assert_eq!((score.score, score.possible, score.explained()), (145, 145, 145));
    assert_eq!(score.disqualified_by.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["no-crm"]);
    let line = serde_json::to_value(&score.lines[4]).unwrap();
    assert_eq!(
        line,
        json!({"rule_id": "no-crm", "name": "No CRM", "points": 0, "possible": 0, "disqualifies": true, "outcome": "matched",
            "fields": [{"field": "crm", "value": "None"}]})
    );
    assert!(rules.tally(&fields(perfect), now()).disqualified);
    // What is not known disqualifies nobody, and neither does another value.
    for known in [json!({"employees": 1200}), json!({"employees": 1200, "crm": "in use"})] {
        let score = rules.evaluate(&fields(known.clone()), now());
        assert_eq!((score.score, score.disqualified_by.len()), (50, 0));
        assert!(!rules.tally(&fields(known), now()).disqualified);
    }
}

#[test]
fn a_rule_that_disqualifies_gives_no_points() {
    let told = AccountRuleset::read(&with_a_disqualifying_rule(&json!(5))).unwrap_err();
    assert_eq!(told.to_string(), "/rules/4/points: must be 0, because the rule disqualifies, got `5`");
    let mut document = with_a_disqualifying_rule(&json!(0));
    document["rules"][4].as_object_mut().unwrap().remove("points");
    let rules = AccountRuleset::read(&document).unwrap();
    assert_eq!((rules.rules[4].points, rules.rules[4].disqualifies), (0, true));
    assert_eq!(rules.rules[4].to_value()["disqualifies"], json!(true));
    // Other rules do not mention it.
    assert_eq!(rules.rules[0].to_value().get("disqualifies"), None);
    document["rules"][4]["disqualifies"] = json!("yes");
    let told = AccountRuleset::read(&document).unwrap_err();
    assert!(told.to_string().starts_with("/rules/4/disqualifies: must be true or false, got `yes`"), "{told}");
}

#[test]
fn texts_of_rules_are_as_short_as_texts_of_fields() {
    let of_length = |op: &str, length: usize| {
        let text = json!("ä".repeat(length));
        let value = if op == "in" { json!(["x", text]) } else { text };
        let document = json!({
            "id": "x", "name": "X", "version": 1,
            "rules": [{"id": "a", "points": 1, "condition": {"all": [{"field": "plan", "op": op, "value": value}]}}],
        });
        AccountRuleset::read(&document).map_err(|problems| problems.to_string())
    };
    for op in ["eq", "neq", "in", "contains", "starts_with"] {
        assert!(of_length(op, 1_000).is_ok());
        assert_eq!(
            of_length(op, 10_000).unwrap_err(),
            "/rules/0/condition/all/0/value: must have at most 1000 characters, got 10000",
            "{op}"
        );
    }
}

#[test]
fn a_number_of_many_digits_is_read_as_it_is_written() {
    let document = json!({
        "id": "x", "name": "X", "version": 1,
        "rules": [{"id": "a", "points": 1, "condition": {"all": [
            {"field": "revenue", "op": "gte", "value": 1_234_567_890_123.5},
            {"field": "seats", "op": "in", "value": [1_234_567_890_123.5, 7]},
        ]}}],
    });
    let rules = AccountRuleset::read(&document).unwrap();
    let written = serde_json::to_value(&rules).unwrap();
    assert_eq!(written["rules"][0]["condition"]["all"][0]["value"], json!({"number": "1234567890123.5"}));
    assert_eq!(AccountRuleset::read(&written), Ok(rules));
}

const NAMES: [&str; 5] = ["employees", "country", "industry", "existing_customer", "signed_at"];

fn any_number() -> impl Strategy<Value = Number> {
    (-3_i64..12).prop_map(|n| Number::from_thousandths(n * 500))
}

fn any_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "UK",
        "Germany",
        "Technology",
        "Banking",
        "Computer Software",
        "x",
        "yes",
        "3",
        "2026-11-20",
        "TECHNOLOGY",
        "computer SOFTWARE",
        "Zürich",
        "ZÜRICH",
    ])
    .prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = FieldValue> {
    prop_oneof![
        any_text().prop_map(FieldValue::Text),
        any_number().prop_map(FieldValue::Number),
        (proptest::option::of(any_number()), proptest::option::of(any_number()))
            .prop_filter_map("no bounds", |(from, to)| Interval::new(from, to).map(FieldValue::Interval)),
        any::<bool>().prop_map(FieldValue::Bool),
        (-10_i64..10).prop_map(|days| FieldValue::Date(now().plus_millis(days * crate::DAY_MS))),
        proptest::collection::vec(any_text(), 0..3).prop_map(FieldValue::List),
    ]
}

fn any_fields() -> impl Strategy<Value = Fields> {
    proptest::collection::btree_map(prop::sample::select(NAMES.map(name).to_vec()), any_value(), 0..5)
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![any_text().prop_map(Scalar::Text), any_number().prop_map(Scalar::Number), any::<bool>().prop_map(Scalar::Bool)]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let ordered = || {
        prop_oneof![
            any_number().prop_map(Ordered::Number),
            (-10_i32..10).prop_map(|days| Ordered::Moment(Moment::On(now().day().plus(days)))),
        ]
    };
    let scalars = || proptest::collection::vec(any_scalar(), 1..4);
    prop_oneof![
        any_scalar().prop_map(Operation::Eq),
        any_scalar().prop_map(Operation::Neq),
        ordered().prop_map(Operation::Gt),
        ordered().prop_map(Operation::Gte),
        ordered().prop_map(Operation::Lt),
        ordered().prop_map(Operation::Lte),
        (ordered(), ordered()).prop_map(|(from, to)| Operation::Between(from, to)),
        scalars().prop_map(Operation::In),
        scalars().prop_map(Operation::NotIn),
        any_text().prop_map(Operation::Contains),
        any_text().prop_map(Operation::NotContains),
        any_text().prop_map(Operation::StartsWith),
        Just(Operation::Exists),
        Just(Operation::NotExists),
        (1_u32..20).prop_map(Operation::WithinDays),
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let field = prop::sample::select(NAMES.map(name).to_vec());
    let leaf = (field, any_operation()).prop_map(|(field, operation)| Condition::Test(Test { field, operation }));
    leaf.prop_recursive(3, 12, 4, |inner| {
        let members = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![members().prop_map(Condition::All), members().prop_map(Condition::Any)]
    })
}

fn any_ruleset() -> impl Strategy<Value = AccountRuleset> {
    let cap = || proptest::option::of(0_i32..150);
    let rule = (any_condition(), -40_i32..100, proptest::option::of(prop::sample::select(vec!["g0", "g1", "unknown"])));
    (proptest::collection::vec(rule, 0..8), cap(), cap(), cap()).prop_map(|(rules, total, g0, g1)| AccountRuleset {
        id: "any".to_owned(),
        name: "Any".to_owned(),
        version: 1,
        missing_means_no: vec![name("existing_customer")],
        cap: total,
        groups: [("g0", g0), ("g1", g1)].map(|(id, cap)| RuleGroup { id: id.to_owned(), name: id.to_owned(), cap }).to_vec(),
        rules: (0..)
            .zip(rules)
            .map(|(i, (condition, points, group)): (usize, _)| {
                let id = format!("r{i}");
                let disqualifies = i % 4 == 3;
                let points = if disqualifies { 0 } else { points };
                AccountRule { name: id.clone(), id, points, disqualifies, group: group.map(str::to_owned), condition }
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn the_explanation_sums_to_the_score(rules in any_ruleset(), known in any_fields()) {
        let compiled = rules.compile();
        let score = compiled.evaluate(&known, now());
        prop_assert_eq!(score.explained(), i64::from(score.score));
        prop_assert!(score.score >= 0 && score.score <= score.possible && score.missing_could_add >= 0);
        prop_assert!(score.score + score.missing_could_add <= score.possible);
        prop_assert!(score.known <= score.of && score.known + score.missing.len() == score.of);
        prop_assert_eq!(score.lines.len(), rules.rules.len());
        for line in &score.lines {
            let gives = matches!(line.outcome, Outcome::Matched | Outcome::Capped(_));
            prop_assert_eq!(line.points, if gives { line.possible } else { 0 });
        }
    }

    #[test]
    fn score_explanation_and_raw_json_agree(rules in any_ruleset(), known in any_fields()) {
        let compiled = rules.compile();
        let (score, tally) = (compiled.evaluate(&known, now()), compiled.tally(&known, now()));
        let explained = Tally {
            score: score.score, possible: score.possible, known: score.known, of: score.of,
            disqualified: !score.disqualified_by.is_empty(), next_change: score.next_change,
        };
        prop_assert_eq!(explained, tally);
        let json = serde_json::to_string(&known).unwrap();
        prop_assert_eq!(compiled.tally_json(&json, now()).unwrap(), tally);
    }

    #[test]
    fn rulesets_write_and_read_themselves(rules in any_ruleset()) {
        let text = serde_json::to_string(&rules).unwrap();
        let again: AccountRuleset = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&again, &rules);
        prop_assert_eq!(AccountRuleset::parse(&text).is_ok(), rules.validate().0.is_empty());
        let packed = rmp_serde::to_vec_named(&rules).unwrap();
        prop_assert_eq!(&rmp_serde::from_slice::<AccountRuleset>(&packed).unwrap(), &rules);
    }

    #[test]
    fn an_interval_decides_only_what_all_of_its_numbers_decide_alike(
        operation in any_operation(), from in any_number(), width in 0_i64..8, step in 0_i64..=8
    ) {
        let to = Number::from_thousandths(from.thousandths() + width * 500);
        let inner = Number::from_thousandths(from.thousandths() + (width * step / 8) * 500);
        let mut rules = ruleset(&[test("employees", "exists", json!(null))]);
        rules.rules[0].condition = Condition::Test(Test { field: name("employees"), operation });
        let rules = rules.compile();
        let verdict = |value: FieldValue| {
            rules.evaluate(&BTreeMap::from([(name("employees"), value)]), now()).lines[0].outcome.clone()
        };
        let whole = verdict(FieldValue::Interval(Interval::new(Some(from), Some(to)).unwrap()));
        if matches!(whole, Outcome::Matched | Outcome::NotMatched) {
            prop_assert_eq!(verdict(FieldValue::Number(inner)), whole);
        }
    }

    #[test]
    fn learning_a_missing_field_adds_at_most_what_was_promised(rules in any_ruleset(), known in any_fields(), field in 0_usize..5, value in any_value()) {
        let mut rules = rules;
        rules.missing_means_no.clear();
        // Points that a rule takes away, tests for absence and caps make the promise a bound of something else.
        rules.cap = None;
        rules.groups.iter_mut().for_each(|group| group.cap = None);
        rules.rules.retain(|rule| rule.points >= 0);
        let compiled = rules.compile();
        let learned = name(NAMES[field]);
        let mut known = known;
        known.remove(&learned);
        let before = compiled.evaluate(&known, now());
        known.insert(learned, value);
        let after = compiled.evaluate(&known, now());
        prop_assert!(after.score <= before.score + before.missing_could_add, "{} > {} + {}", after.score, before.score, before.missing_could_add);
    }

    #[test]
    fn nothing_changes_before_the_next_change(rules in any_ruleset(), known in any_fields(), days in 0_i64..25) {
        let compiled = rules.compile();
        let today = compiled.tally(&known, now());
        let later = now().plus_millis(days * crate::DAY_MS);
        if today.next_change.is_none_or(|day| later.day() < day) {
            prop_assert_eq!(compiled.tally(&known, later).score, today.score);
        }
    }

    #[test]
    fn reading_a_ruleset_never_panics(text in ".*") {
        let _ = AccountRuleset::parse(&text);
        let _ = default().tally_json(&text, now());
    }
}

#[test]
fn facts_and_maps_are_looked_up_alike() {
    let known = fields(json!({"employees": 5}));
    let mut facts = FieldFacts::new();
    let fact = crate::field::FieldFact::new(known.get("employees").cloned(), crate::Order::default(), crate::field::FieldSource::Form);
    facts.merge(&name("employees"), fact, crate::field::Keep::Latest);
    assert_eq!(facts.field(&name("employees")), known.field(&name("employees")));
}
