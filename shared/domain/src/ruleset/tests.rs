use super::*;
use crate::{
    model::default_document,
    problem::Problems,
    profile::{ProfileMapping, ProfileRule},
    surge::SurgeSettings,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn told(problems: &Problems) -> Vec<String> {
    problems.0.iter().map(ToString::to_string).collect()
}

fn refused(kind: RulesetKind, value: &Value) -> Vec<String> {
    told(&Content::read(kind, value).unwrap_err())
}

fn size(id: &str, points: i64) -> Value {
    json!({ "id": id, "points": points, "condition": { "field": "employees", "op": "gte", "value": 1000 } })
}

fn account(rules: &[Value]) -> Content {
    Content::read(RulesetKind::Account, &json!({ "name": "Fit", "rules": rules })).unwrap()
}

fn demo(id: &str, points: i64) -> Value {
    json!({ "id": id, "points": points, "events": ["Demo Requested"] })
}

fn engagement(rules: &[Value]) -> Content {
    Content::read(RulesetKind::Engagement, &json!({ "name": "Demand", "rules": rules })).unwrap()
}

fn levels(levels: &Value) -> Result<Content, Vec<String>> {
    Content::read(RulesetKind::AccountLevels, &json!({ "name": "Levels", "levels": levels })).map_err(|problems| told(&problems))
}

fn four_levels() -> Value {
    json!([
        { "id": "low_priority", "name": "Low Priority", "color": "gray", "min": 0, "max": 19 },
        { "id": "standard", "name": "Standard", "color": "green", "min": 20, "max": 49 },
        { "id": "qualified", "name": "Qualified", "color": "blue", "min": 50, "max": 79 },
        { "id": "target", "name": "Target", "color": "purple", "min": 80, "max": 100 },
    ])
}

#[test]
fn every_kind_has_words_of_its_own() {
    for kind in RulesetKind::ALL {
        assert_eq!(RulesetKind::parse(kind.as_str()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.as_str()));
        assert!(RulesetId::new(&format!("{}{}", kind.prefix(), "a".repeat(26))).is_ok());
        let same = RulesetKind::ALL
            .iter()
            .filter(|other| other.path() == kind.path() || other.key() == kind.key() || other.prefix() == kind.prefix());
        assert_eq!(same.count(), 1, "{kind}");
    }
    assert_eq!(RulesetKind::EngagementLevels.path(), "engagement-level-rulesets");
    assert_eq!(RulesetKind::parse("rules"), None);
}

#[test]
fn a_content_needs_neither_id_nor_version() {
    let content = account(&[size("size", 50)]).with_identity(&RulesetId::new("ars_1").unwrap(), Some("Ours"), 3);
    assert_eq!((content.id(), content.name(), content.version(), content.len()), ("ars_1", "Ours", 3, 1));
    assert_eq!(Content::read(RulesetKind::Account, &content.to_value()), Ok(content.clone()));
    assert!(!content.same_as(&account(&[size("size", 50)])), "the name is part of the content");
    assert!(content.same_as(&content.clone().with_identity(&RulesetId::new("ars_2").unwrap(), None, 9)));
}

#[test]
fn people_begin_with_a_ruleset_without_rules() {
    assert!(account(&[]).is_empty());
    assert!(engagement(&[]).is_empty());
    assert_eq!(account(&[]).possible(), Some(0));
    // Every other problem is still said.
    assert_eq!(
        refused(RulesetKind::Account, &json!({ "name": "Fit", "rules": [], "cap": -1 })),
        ["/cap: must be a whole number from 0 to 2147483647, got `-1`"]
    );
    // Levels without a level would leave every score without one.
    assert_eq!(levels(&json!([])), Err(vec!["/levels: must have 1 to 20 levels, got 0".to_owned()]));
}

#[test]
fn wrong_account_rules_are_named_with_what_would_be_right() {
    let rules = json!([
        { "id": "a", "points": 1, "condition": { "field": "employees", "op": "equals", "value": 1 } },
        size("b", 1),
        size("b", 1),
        { "id": "d", "points": 12.5, "condition": { "field": "employees", "op": "exists" } },
    ]);
    assert_eq!(
        refused(RulesetKind::Account, &json!({ "name": "Fit", "rules": rules })),
        ["/rules/3/points: must be a whole number from -1000000 to 1000000, got `12.5`"]
    );
    assert_eq!(
        refused(RulesetKind::Account, &json!({ "name": "Fit", "rules": rules.as_array().unwrap()[..3] })),
        [
            "/rules/0/condition: `op` must be one of `eq`, `neq`, `gt`, `gte`, `lt`, `lte`, `between`, `in`, `not_in`, `contains`, \
             `not_contains`, `starts_with`, `exists`, `not_exists`, `within_days`, got `equals`",
            "/rules/2/id: must be unique, `b` is taken by another rule",
        ]
    );
    let many: Vec<Value> = (0..1001).map(|i| size(&format!("r{i}"), 1)).collect();
    assert_eq!(refused(RulesetKind::Account, &json!({ "name": "Fit", "rules": many })), ["/rules: must have at most 1000 rules, got 1001"]);
    assert_eq!(account(&many[..1000]).possible(), Some(1000));
    let mut deep = json!({ "field": "employees", "op": "exists" });
    for _ in 0..11 {
        deep = json!({ "all": [deep] });
    }
    let deep = json!({ "name": "Fit", "rules": [{ "id": "a", "points": 1, "condition": deep }] });
    let told = refused(RulesetKind::Account, &deep);
    assert_eq!(told, [format!("/rules/0/condition{}: is nested deeper than 10 groups", "/all/0".repeat(10))]);
    assert_eq!(refused(RulesetKind::Account, &json!(7)), ["/: must be an object, got `7`"]);
    assert_eq!(refused(RulesetKind::Account, &json!({})), ["/name: is required: a text", "/rules: must be an array, got `null`"]);
}

#[test]
fn wrong_engagement_rules_are_named_with_what_would_be_right() {
    let rules = json!([
        { "id": "a", "points": 5, "events": [] },
        { "id": "b", "points": 5, "events": ["Demo", "--"], "count": { "mode": "once" } },
        { "id": "c", "points": 10001, "events": ["Demo"], "decay": { "kind": "half_life", "days": 0 } },
        { "id": "d", "points": 5, "events": ["Demo"], "count": { "mode": "once_per_hours", "hours": 8761, "paths": [] } },
        { "id": "e", "points": 5, "events": ["Demo"], "filters": [{ "paths": ["plan"], "op": "in", "value": "pro" }], "colour": "red" },
        { "id": "a", "points": 5, "events": ["Demo"], "decay": { "kind": "step", "steps": [{ "from_day": 7, "percent": 101 }] } },
    ]);
    let document = json!({ "name": "Demand", "lead_cap": -1, "aggregation": { "kind": "top_n", "n": 0 }, "rules": rules });
    assert_eq!(
        refused(RulesetKind::Engagement, &document),
        [
            "/lead_cap: must be a whole number from 0 to 1000000, got `-1`",
            "/aggregation/n: must be a whole number from 1 to 10000, got `0`",
            "/rules/0/events: must have 1 to 50 names, such as `Demo Requested`",
            "/rules/1/events/1: must hold a letter or digit",
            "/rules/1/count/mode: must be one of `every`, `once_per_lead`, `once_per_session`, `once_per_day`, `once_per_key`, \
             `once_per_key_and_day`, `once_per_hours`, got `once`",
            "/rules/2/points: must be a whole number from -10000 to 10000, got `10001`",
            "/rules/2/decay/days: must be a whole number from 1 to 3650, got `0`",
            "/rules/3/count/paths: unknown key; the known ones are `mode`, `hours`",
            "/rules/3/count/hours: must be a whole number from 1 to 8760, got `8761`",
            "/rules/4/colour: unknown key; the known ones are `id`, `name`, `points`, `events`, `filters`, `count`, `cap_per_day`, `cap`, `decay`",
            "/rules/4/filters/0/paths/0: must begin with `properties.`, `traits.` or `context.`, or be `name`, got `plan`",
            "/rules/4/filters/0/value: must be an array of 1 to 1000 texts, numbers of at most 15 digits or truth values, got `pro`",
            "/rules/5/decay/steps/0/percent: must be a whole number from 0 to 100, got `101`",
            "/rules/5/id: must be unique, `a` is taken by another rule",
        ]
    );
    let long = json!([{ "id": "a", "points": 5, "events": ["Demo"], "filters": [{ "paths": ["name"], "op": "contains", "value": "x".repeat(10_000) }] }]);
    assert_eq!(
        refused(RulesetKind::Engagement, &json!({ "name": "Demand", "rules": long })),
        ["/rules/0/filters/0/value: must have at most 1000 characters, got 10000"]
    );
}

#[test]
fn whatever_the_reader_accepts_the_engine_has_no_fault_with() {
    let document = default_document().unwrap();
    for (kind, content) in [
        (RulesetKind::Account, Content::Account(document.account)),
        (RulesetKind::Engagement, Content::Engagement(document.engagement)),
        (RulesetKind::AccountLevels, Content::Levels(document.account_levels.into())),
        (RulesetKind::LeadLevels, Content::Levels(document.lead_levels.into())),
        (RulesetKind::EngagementLevels, Content::Levels(document.engagement_levels.into())),
    ] {
        assert_eq!(Content::read(kind, &content.to_value()).as_ref(), Ok(&content));
        assert_eq!(Content::stored(kind, content.to_value()).as_ref(), Ok(&content));
        assert_eq!(serde_json::from_value::<Content>(serde_json::to_value(&content).unwrap()).unwrap(), content);
    }
}

#[test]
fn numbers_of_filters_are_kept_as_they_are_compared() {
    let value = |value: Value| {
        let filter = json!({ "paths": ["properties.seats"], "op": "gt", "value": value });
        Content::read(
            RulesetKind::Engagement,
            &json!({ "name": "Demand", "rules": [{ "id": "a", "points": 5, "events": ["Demo"], "filters": [filter] }] }),
        )
        .map(|content| content.rule("a").unwrap()["filters"][0]["value"].clone())
        .map_err(|problems| told(&problems))
    };
    assert_eq!(value(json!(2.0)), Ok(json!(2)));
    assert_eq!(value(json!(0.1)), Ok(json!(0.1)));
    // More than three decimals make no difference to a comparison.
    assert_eq!(value(json!(4.1855e-39)), Ok(json!(0)));
    assert_eq!(value(json!(1.2346)), Ok(json!(1.235)));
    let refused = |given: &str| Err(vec![format!("/rules/0/filters/0/value: must be a number of at most 15 digits, got `{given}`")]);
    assert_eq!(value(json!(1e300)), refused("1e+300"));
    assert_eq!(value(json!(1_234_567_890_123.5)), refused("1234567890123.5"));
}

#[test]
fn steps_of_a_decay_are_kept_in_order_of_age() {
    let stepped = |days: [i64; 2]| {
        let steps: Vec<Value> = days.iter().map(|day| json!({ "from_day": day, "percent": 100 - day })).collect();
        engagement(&[json!({ "id": "a", "points": 5, "events": ["Demo"], "decay": { "kind": "step", "steps": steps } })])
    };
    assert_eq!(stepped([30, 7]), stepped([7, 30]));
}

#[test]
fn ranges_that_collide_gape_or_are_upside_down_are_refused() {
    assert!(levels(&four_levels()).is_ok());
    let with = |place: usize, key: &str, value: Value| {
        let mut changed = four_levels();
        changed[place][key] = value;
        levels(&changed).unwrap_err()
    };
    assert_eq!(with(1, "max", json!(50)), ["/levels/2/min: overlaps `Standard`, which reaches to 50: use 51 or set its max to 49"]);
    assert_eq!(with(2, "min", json!(60)), ["/levels/2/min: leaves a gap after `Standard`, which ends at 49: use 50"]);
    assert_eq!(with(0, "min", json!(1)), ["/levels/0/min: leaves a gap below: the lowest level begins at 0"]);
    assert_eq!(with(0, "min", json!(-1)), ["/levels/0/min: must be a whole number from 0 to 1000000000, got `-1`"]);
    assert_eq!(with(3, "max", json!(70)), ["/levels/3/max: must be at least the level's min, 80"]);
    assert_eq!(with(3, "id", json!("standard")), ["/levels/3/id: must not be empty, and no two levels may share it"]);
    assert_eq!(
        with(1, "color", json!("mauve")),
        ["/levels/1/color: must be `#rrggbb` or one of `gray`, `green`, `blue`, `purple`, `yellow`, `orange`, `red`, got `mauve`"]
    );
    assert_eq!(with(1, "play", json!({ "targeting": "All" })).len(), 2);
    let whole =
        json!({ "name": "Levels", "levels": four_levels(), "hysteresis_percent": 51, "dwell_hours": 721, "segments": {}, "segment": {} });
    assert_eq!(
        refused(RulesetKind::LeadLevels, &whole),
        [
            "/segments: unknown key; the known ones are `id`, `name`, `version`, `segment`, `levels`, `hysteresis_percent`, `dwell_hours`, `percentiles`",
            "/segment: `field` is required: the name of a field",
            "/hysteresis_percent: must be a whole number from 0 to 50, got `51`",
            "/dwell_hours: must be a whole number from 0 to 720, got `721`",
        ]
    );
}

#[test]
fn levels_are_stored_with_their_segment_and_their_percentiles_and_without_them_as_ever() {
    let cuts = json!([{ "level": "target", "top_percent": 5 }, { "level": "qualified", "top_percent": 20 }, { "level": "standard", "top_percent": 50 }]);
    let whole = json!({
        "name": "Partners", "levels": four_levels(), "segment": { "any": [{ "field": "tier", "op": "eq", "value": "1:1" }] },
        "percentiles": { "cuts": cuts, "every_days": 7 },
    });
    let content = Content::read(RulesetKind::AccountLevels, &whole).unwrap();
    let written = content.to_value();
    assert_eq!((&written["segment"], &written["percentiles"]), (&whole["segment"], &whole["percentiles"]));
    assert_eq!(Content::stored(RulesetKind::AccountLevels, written.clone()).unwrap(), content);
    let tagged = serde_json::to_string(&content).unwrap();
    assert_eq!(serde_json::from_str::<Content>(&tagged).unwrap(), content);
    assert_eq!(content.fields(), [crate::field::FieldName::new("tier").unwrap()]);
    // Without both it is what a level ruleset alone is.
    let plain = json!({ "name": "Levels", "levels": four_levels() });
    let plain = Content::read(RulesetKind::AccountLevels, &plain).unwrap();
    assert_eq!(plain.to_value(), serde_json::to_value(&plain.levels().unwrap().ruleset).unwrap());
    // A segment that differs is a condition that differs.
    let Content::Levels(mut other) = content.clone() else { panic!("levels") };
    other.segment = None;
    let differences = diff(Some(&content), &Content::Levels(other));
    assert_eq!(differences.iter().map(|line| (line.change, line.pointer.as_str())).collect::<Vec<_>>(), [(Change::Condition, "/segment")]);
    assert!(!content.same_as(&plain));
}

#[test]
fn a_rule_is_added_replaced_and_taken_out_by_its_id() {
    let mut content = account(&[size("a", 1), size("b", 2)]);
    content.put_rule(&size("c", 3)).unwrap();
    content.put_rule(&size("a", 10)).unwrap();
    assert_eq!(content.rule_ids(), ["a", "b", "c"]);
    assert_eq!(content.rule("a").unwrap()["points"], 10);
    assert_eq!(content.rules().len(), 3);
    assert!(content.remove_rule("b"));
    assert!(!content.remove_rule("b"));
    assert_eq!(content.rule_ids(), ["a", "c"]);
    assert_eq!(content.rule("b"), None);
}

#[test]
fn a_wrong_rule_is_refused_with_pointers_into_the_rule_and_changes_nothing() {
    let mut content = account(&[size("a", 1)]);
    let before = content.clone();
    let wrong = json!({ "id": "x", "points": 1, "group": "nobody", "condition": { "all": [] } });
    assert_eq!(
        told(&content.put_rule(&wrong).unwrap_err()),
        ["/condition/all: must have at least one condition", "/group: must be the id of a group of this ruleset, got `nobody`"]
    );
    assert_eq!(content, before);
    let mut full = account(&(0..1000).map(|i| size(&format!("r{i}"), 1)).collect::<Vec<_>>());
    assert_eq!(told(&full.put_rule(&size("one_more", 1)).unwrap_err()), ["/: is one too many: a ruleset must have at most 1000 rules"]);
    full.put_rule(&size("r7", 5)).unwrap();
    let mut demand = engagement(&[demo("a", 1)]);
    assert_eq!(
        told(&demand.put_rule(&json!({ "id": "x", "points": 1, "events": ["Demo"], "decay": { "kind": "linear" } })).unwrap_err()),
        ["/decay/days: is required: a whole number from 1 to 3650"]
    );
}

#[test]
fn a_level_is_put_where_its_range_belongs() {
    let mut content = levels(&json!([{ "id": "low", "color": "gray", "min": 0 }, { "id": "top", "color": "red", "min": 80 }])).unwrap();
    content.put_rule(&json!({ "id": "mid", "color": "blue", "min": 50 })).unwrap();
    assert_eq!(content.rule_ids(), ["low", "mid", "top"]);
    content.put_rule(&json!({ "id": "mid", "color": "blue", "min": 90 })).unwrap();
    assert_eq!(content.rule_ids(), ["low", "top", "mid"]);
    let before = content.clone();
    let refused = content.put_rule(&json!({ "id": "low", "color": "gray", "min": 10, "max": 9 })).unwrap_err();
    assert_eq!(told(&refused), ["/max: must be at least the level's min, 10"]);
    assert_eq!(content, before);
    let many: Vec<Value> = (0..20).map(|i| json!({ "id": format!("l{i}"), "color": "gray", "min": i })).collect();
    let mut full = levels(&many.into()).unwrap();
    let refused = full.put_rule(&json!({ "id": "one_more", "color": "gray", "min": 99 })).unwrap_err();
    assert_eq!(told(&refused), ["/: is one too many: a ruleset must have at most 20 levels"]);
    full.put_rule(&json!({ "id": "l19", "color": "red", "min": 99 })).unwrap();
}

#[test]
fn a_bound_between_two_levels_with_stated_ends_is_moved_one_level_at_a_time() {
    let mut content = levels(&four_levels()).unwrap();
    let faults =
        |content: &Content| -> Vec<String> { content.levels().unwrap().ruleset.faults().iter().map(ToString::to_string).collect() };
    let put = |content: &mut Content, id: &str, min: i64, max: Option<i64>| {
        let mut level = content.rule(id).unwrap();
        (level["min"], level["max"]) = (min.into(), max.into());
        content.put_rule(&level).unwrap();
    };
    // Target from 80 to 95, as the built-in levels state their ends: in between there is a gap, which is a fault of the draft.
    put(&mut content, "target", 95, None);
    assert_eq!(faults(&content), ["`/levels/3/min`: leaves a gap after `Qualified`, which ends at 79: use 80"]);
    put(&mut content, "qualified", 50, Some(94));
    assert_eq!(faults(&content), [""; 0]);
    // The other way round there is an overlap in between.
    put(&mut content, "standard", 20, Some(59));
    assert_eq!(faults(&content), ["`/levels/2/min`: overlaps `Standard`, which reaches to 59: use 60 or set its max to 49"]);
    put(&mut content, "qualified", 60, Some(94));
    assert_eq!(faults(&content), [""; 0]);
}

#[test]
fn an_order_names_each_rule_once() {
    let mut content = account(&["size", "revenue", "country", "industry"].map(|id| size(id, 1)));
    let order = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let wrong = content.reorder(&order(&["size", "revenue", "country"])).unwrap_err();
    assert_eq!(told(&wrong), ["/order: must name each of the 4 rules once; missing: `industry`"]);
    let wrong = content.reorder(&order(&["size", "size", "country", "x"])).unwrap_err();
    assert_eq!(
        told(&wrong),
        ["/order: must name each of the 4 rules once; missing: `revenue`, `industry`; unknown: `x`; named twice: `size`"]
    );
    content.reorder(&order(&["industry", "size", "revenue", "country"])).unwrap();
    assert_eq!(content.rule_ids(), ["industry", "size", "revenue", "country"]);
    let mut levels = levels(&four_levels()).unwrap();
    let wrong = levels.reorder(&order(&["target", "qualified", "standard", "low_priority"])).unwrap_err();
    assert_eq!(told(&wrong), ["/order: must be the order of the levels' ranges, lowest first; change `min` to move a level"]);
    levels.reorder(&order(&["low_priority", "standard", "qualified", "target"])).unwrap();
}

#[test]
fn an_end_before_the_start_is_refused() {
    let day = |text: &str| Some(crate::Timestamp::parse(text).unwrap().day());
    assert_eq!(
        told(&check_dates(day("2026-12-01"), day("2026-11-30")).unwrap_err()),
        ["/ends_on: must not be before `starts_on`, 2026-12-01"]
    );
    assert_eq!(check_dates(day("2026-12-01"), day("2026-12-01")), Ok(()));
    assert_eq!(check_dates(None, day("2026-12-01")), Ok(()));
}

#[test]
fn what_is_possible_follows_the_caps() {
    assert_eq!(account(&[size("a", 50), size("b", -20), size("c", 45)]).possible(), Some(95));
    let capped = json!({ "name": "Fit", "cap": 60, "rules": [size("a", 50), size("b", 45)] });
    assert_eq!(Content::read(RulesetKind::Account, &capped).unwrap().possible(), Some(60));
    let demand = |lead_cap: i64, aggregation: Value, caps: [i64; 2]| {
        let rules: Vec<Value> =
            caps.iter().enumerate().map(|(i, cap)| json!({ "id": format!("r{i}"), "points": 5, "cap": cap, "events": ["Demo"] })).collect();
        let document = json!({ "name": "Demand", "lead_cap": lead_cap, "aggregation": aggregation, "rules": rules });
        let Content::Engagement(ruleset) = Content::read(RulesetKind::Engagement, &document).unwrap() else { panic!("event rules") };
        (ruleset.possible_of_a_lead(), ruleset.possible_of_an_account())
    };
    let kind = |kind: &str| json!({ "kind": kind });
    assert_eq!(demand(100, kind("sum"), [0, 0]), (Some(100), None));
    assert_eq!(demand(0, kind("max"), [0, 20]), (None, None));
    assert_eq!(demand(0, kind("max"), [10, 20]), (Some(30), Some(30)));
    assert_eq!(demand(100, json!({ "kind": "top_n", "n": 3 }), [0, 0]), (Some(100), Some(300)));
    // 100 and a half of it, and a half of that, and so on, are never more than 200.
    assert_eq!(demand(100, json!({ "kind": "diminishing", "percent": 50 }), [0, 0]), (Some(100), Some(200)));
    assert_eq!(levels(&four_levels()).unwrap().possible(), None);
}

#[test]
fn only_engagement_rulesets_have_something_to_count() {
    assert_eq!(account(&[size("a", 1)]).parts(), []);
    let parts = engagement(&[demo("a", 1), demo("b", 2)]).parts();
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0], parts[1]);
    assert_eq!(account(&[size("a", 1), size("b", 1)]).fields().len(), 1);
}

#[test]
fn surge_settings_out_of_their_ranges_are_named() {
    let refused = |value: Value| told(&SurgeSettings::read(&value).unwrap_err());
    let default = SurgeSettings::default();
    assert_eq!(SurgeSettings::read(&serde_json::to_value(&default).unwrap()), Ok(default.clone()));
    assert_eq!(SurgeSettings::read(&json!({ "mode": "relative" })), Ok(default));
    assert_eq!(
        SurgeSettings::read(&json!({ "mode": "absolute", "events": 8, "days": 3 })),
        Ok(SurgeSettings::Absolute { events: 8, days: 3 })
    );
    assert_eq!(refused(json!({})), ["/mode: is required: one of `relative`, `absolute`"]);
    assert_eq!(refused(json!([])), ["/: must be an object, got an array"]);
    assert_eq!(
        refused(json!({ "mode": "absolute", "days": 29, "leads": 2 })),
        [
            "/leads: unknown key; the known ones are `mode`, `events`, `days`",
            "/events: is required: a whole number from 1 to 100000",
            "/days: must be a whole number from 1 to 28, got `29`",
        ]
    );
    assert_eq!(
        refused(json!({ "mode": "relative", "enter_events": 4, "leave_ratio_percent": 201, "young_events": 4, "least_weekly": 0 })),
        [
            "/least_weekly: must be a whole number from 1 to 1000, got `0`",
            "/leave_ratio_percent: must be at most `enter_ratio_percent`, 200, got 201",
            "/leave_events: must be at most `enter_events`, 4, got 5",
            "/young_events: must be at least `leave_events`, 5, got 4",
        ]
    );
}

#[test]
fn profile_rules_are_read_strictly() {
    let rule = json!({ "when": "email_domain", "equals": "brightforge-systems.com", "account_id": "acct_7" });
    let mapping = ProfileMapping::read(&json!({ "rules": [rule] })).unwrap();
    assert_eq!(serde_json::to_value(&mapping).unwrap(), json!({ "rules": [rule] }));
    assert_eq!(ProfileMapping::read(&json!({})), Ok(ProfileMapping::default()));
    assert_eq!(
        told(&ProfileMapping::read(&json!({ "rules": [{ "when": "domain", "equals": " ", "account_id": "" }, 7], "x": 1 })).unwrap_err()),
        [
            "/x: unknown key; the known ones are `rules`",
            "/rules/0/when: must be one of `email_domain`, `website_domain`, `email`, `company`, `department`, `title`, got `domain`",
            "/rules/0/equals: must have 1 to 1000 characters",
            "/rules/0/account_id: must have 1 to 1000 characters",
            "/rules/1: must be an object, got `7`",
        ]
    );
    let long = json!({ "when": "title", "equals": "Head of Sales", "account_id": "x".repeat(300) });
    assert_eq!(told(&ProfileRule::read(&long).unwrap_err()), ["/account_id: account id must be at most 256 bytes, got 300"]);
}

fn any_condition() -> impl Strategy<Value = Value> {
    let field = || prop::sample::select(vec!["employees", "country", "plan", "industry", "existing_customer"]);
    let test = prop_oneof![
        (field(), -5_i64..2000).prop_map(|(field, n)| json!({ "field": field, "op": "gte", "value": n })),
        (field(), "[A-Za-z]{1,8}").prop_map(|(field, text)| json!({ "field": field, "op": "eq", "value": text })),
        (field(), proptest::collection::vec("[A-Z]{2}", 1..4))
            .prop_map(|(field, list)| json!({ "field": field, "op": "in", "value": list })),
        (field(), any::<bool>()).prop_map(|(field, truth)| json!({ "field": field, "op": "neq", "value": truth })),
        field().prop_map(|field| json!({ "field": field, "op": "not_exists" })),
        (field(), 0_i64..100, 100_i64..1000).prop_map(|(field, from, to)| json!({ "field": field, "op": "between", "value": [from, to] })),
        (field(), 1_u32..400).prop_map(|(field, days)| json!({ "field": field, "op": "within_days", "value": days })),
        (field(), 1e9_f64..1e15).prop_map(|(field, n)| json!({ "field": field, "op": "lt", "value": n })),
    ];
    test.prop_recursive(3, 8, 3, |inner| {
        (any::<bool>(), proptest::collection::vec(inner, 1..3))
            .prop_map(|(all, members)| json!({ (if all { "all" } else { "any" }): members }))
    })
}

fn any_account() -> impl Strategy<Value = Content> {
    let rule = (any_condition(), -50_i64..100, any::<bool>());
    (proptest::collection::vec(rule, 0..8), proptest::option::of(0_i64..200)).prop_map(|(rules, cap)| {
        let rules = rules.into_iter().enumerate().map(|(i, (condition, points, grouped))| {
            let group = if grouped { json!("fit") } else { Value::Null };
            let disqualifies = points == 0 || i == 5;
            let points = if disqualifies { 0 } else { points };
            let name = format!("Rule {i}");
            json!({ "id": format!("r{i}"), "name": name, "points": points, "disqualifies": disqualifies, "group": group, "condition": condition })
        });
        let document = json!({ "name": "Any", "cap": cap, "groups": [{ "id": "fit", "cap": 40 }], "rules": rules.collect::<Value>() });
        Content::read(RulesetKind::Account, &document).unwrap()
    })
}

fn any_engagement() -> impl Strategy<Value = Content> {
    let count = prop_oneof![
        Just(json!({ "mode": "every" })),
        Just(json!({ "mode": "once_per_session" })),
        Just(json!({ "mode": "once_per_key", "paths": ["properties.asset", "name"] })),
        (1_u32..8760).prop_map(|hours| json!({ "mode": "once_per_hours", "hours": hours })),
    ];
    let decay = prop_oneof![
        Just(json!({ "kind": "none" })),
        (1_u32..3650).prop_map(|days| json!({ "kind": "half_life", "days": days })),
        proptest::collection::btree_map(0_u32..400, 0_u32..=100, 1..4).prop_map(|steps| {
            let steps = steps.into_iter().rev().map(|(day, percent)| json!({ "from_day": day, "percent": percent }));
            json!({ "kind": "step", "steps": steps.collect::<Value>() })
        }),
    ];
    let filter = prop_oneof![
        "[a-z]{1,9}".prop_map(|text| json!({ "paths": ["context.page.url"], "op": "contains", "value": text })),
        (-1e11_f64..1e11).prop_map(|n| json!({ "paths": ["properties.seats"], "op": "gt", "value": n })),
        Just(json!({ "paths": ["traits.plan"], "op": "exists" })),
    ];
    let rule = ("[A-Za-z][a-z ]{0,9}", -10_000_i64..=10_000, count, decay, proptest::collection::vec(filter, 0..3), 0_i64..50, 0_i64..50);
    (proptest::collection::vec(rule, 0..8), 0_i64..200, 0_u32..=100).prop_map(|(rules, lead_cap, percent)| {
        let rules = rules.into_iter().enumerate().map(|(i, (event, points, count, decay, filters, cap, per_day))| {
            json!({
                "id": format!("r{i}"), "points": points, "events": [event], "filters": filters, "count": count, "decay": decay,
                "cap": cap, "cap_per_day": per_day,
            })
        });
        let aggregation = json!({ "kind": "diminishing", "percent": percent });
        let document = json!({ "name": "Any", "lead_cap": lead_cap, "aggregation": aggregation, "rules": rules.collect::<Value>() });
        Content::read(RulesetKind::Engagement, &document).unwrap()
    })
}

fn any_levels() -> impl Strategy<Value = Content> {
    let segment = prop_oneof![
        Just(Value::Null),
        Just(json!({ "field": "tier", "op": "eq", "value": "1:1" })),
        Just(json!({ "any": [{ "field": "signed_at", "op": "within_days", "value": 30 }, { "field": "country", "op": "exists" }] })),
    ];
    (proptest::collection::btree_set(1_i64..500, 0..8), any::<bool>(), 0_u32..=50, 0_u32..=720, segment, any::<bool>()).prop_map(
        |(mins, stated, hysteresis, dwell, segment, percentiles)| {
            let mins: Vec<i64> = std::iter::once(0).chain(mins).collect();
            let ends = mins.iter().skip(1).map(|min| stated.then_some(min - 1)).chain([None]);
            let levels = mins
                .iter()
                .zip(ends)
                .enumerate()
                .map(|(i, (min, max))| json!({ "id": format!("l{i}"), "color": "#00aaFF", "min": min, "max": max }));
            let levels: Value = levels.collect();
            let cuts = (1..mins.len()).map(|i| json!({ "level": format!("l{i}"), "top_percent": 50 - i }));
            let percentiles = percentiles.then(|| json!({ "cuts": cuts.collect::<Value>(), "every_days": stated.then_some(7) }));
            let document = json!({
                "name": "Any", "levels": levels, "hysteresis_percent": hysteresis, "dwell_hours": dwell, "segment": segment, "percentiles": percentiles,
            });
            Content::read(RulesetKind::EngagementLevels, &document).unwrap()
        },
    )
}

fn any_content() -> impl Strategy<Value = (RulesetKind, Content)> {
    prop_oneof![
        any_account().prop_map(|content| (RulesetKind::Account, content)),
        any_engagement().prop_map(|content| (RulesetKind::Engagement, content)),
        any_levels().prop_map(|content| (RulesetKind::LeadLevels, content)),
    ]
}

fn any_surge() -> impl Strategy<Value = SurgeSettings> {
    let relative = (1_u32..=1000, 0_u32..1000, 100_u32..=5000, 0_u32..5000, 1_u32..=1000, 7_u32..=365, 1_u32..=1000);
    let relative = relative.prop_map(|(leave, more, leave_ratio, more_ratio, count, young_days, young)| {
        SurgeSettings::Relative(crate::surge::Relative {
            enter_events: leave + more,
            enter_leads: count,
            enter_ratio_percent: leave_ratio + more_ratio,
            least_weekly: count,
            leave_ratio_percent: leave_ratio,
            leave_events: leave,
            young_days,
            young_events: leave + young,
            young_leads: young,
        })
    });
    prop_oneof![relative, (1_u32..=100_000, 1_u32..=28).prop_map(|(events, days)| SurgeSettings::Absolute { events, days })]
}

/// Values that stand where they should not.
fn any_odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{ "id": "x" }, null, 7])),
        Just(json!({ "kind": "top_n", "mode": "once_per_key", "all": [{}], "op": "in", "~/": 1 })),
    ]
}

/// Every place of a document, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| places(item, &format!("{at}/{i}"), found)),
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &crate::problem::join(at, key), found)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn whatever_stands_anywhere_is_read_or_refused_at_a_place_of_the_document(
        (kind, content) in any_content(), odd in any_odd_value(), key in "[a-z_~/]{1,6}", pick in any::<prop::sample::Index>(), added in any::<bool>(),
    ) {
        let mut document = content.to_value();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        let place = document.pointer_mut(&found[pick.index(found.len())]).unwrap();
        match place {
            Value::Object(map) if added => drop(map.insert(key, odd)),
            _ => *place = odd,
        }
        match Content::read(kind, &document) {
            Ok(content) => prop_assert_eq!(Content::read(kind, &content.to_value()), Ok(content)),
            Err(problems) => {
                prop_assert!(!problems.0.is_empty());
                for problem in problems.0 {
                    // Of what is missing there is at least what it is missing from. The reader gives an id and a version to what has none.
                    let around = problem.pointer.rsplit_once('/').map_or("", |(around, _)| around);
                    prop_assert!(document.pointer(around).is_some(), "{}", problem);
                    prop_assert!(!problem.message.is_empty());
                }
            }
        }
        let _ = Content::stored(kind, document);
    }

    #[test]
    fn surge_settings_read_as_they_are_written_and_odd_values_are_refused(
        settings in any_surge(), odd in any_odd_value(), key in prop::sample::select(vec!["mode", "days", "events", "enter_events", "other"]),
    ) {
        let mut document = serde_json::to_value(&settings).unwrap();
        prop_assert_eq!(SurgeSettings::read(&document), Ok(settings));
        document[key] = odd;
        if let Ok(settings) = SurgeSettings::read(&document) {
            prop_assert_eq!(SurgeSettings::read(&serde_json::to_value(&settings).unwrap()), Ok(settings));
        }
    }

    #[test]
    fn a_content_reads_as_it_is_written((kind, content) in any_content()) {
        let read = Content::read(kind, &content.to_value());
        prop_assert_eq!(read.as_ref(), Ok(&content));
        // Through text, as it is stored.
        let text = content.to_value().to_string();
        let stored = Content::stored(kind, serde_json::from_str(&text).unwrap());
        prop_assert_eq!(stored.as_ref(), Ok(&content));
        let faults = match &content {
            Content::Account(_) => Vec::new(),
            Content::Engagement(ruleset) => ruleset.faults(),
            Content::Levels(levels) => levels.ruleset.faults(),
        };
        prop_assert_eq!(faults, vec![]);
    }

    #[test]
    fn a_content_does_not_differ_from_itself((_, content) in any_content()) {
        prop_assert_eq!(diff(Some(&content), &content), vec![]);
        let again = content.clone().with_identity(&RulesetId::new("ars_x").unwrap(), None, 99);
        prop_assert_eq!(diff(Some(&content), &again), vec![]);
        prop_assert!(content.same_as(&again));
    }

    #[test]
    fn a_difference_is_seen_whenever_contents_are_not_the_same((_, before) in any_content(), (_, after) in any_content()) {
        if std::mem::discriminant(&before) == std::mem::discriminant(&after) {
            prop_assert_eq!(diff(Some(&before), &after).is_empty(), before.same_as(&after));
        }
    }

    #[test]
    fn another_order_keeps_the_rules(content in prop_oneof![any_account(), any_engagement()], seed in any::<u64>()) {
        let mut ids: Vec<String> = content.rule_ids().into_iter().map(str::to_owned).collect();
        // Any order that does not depend on the present one.
        ids.sort_by_key(|id| crate::hash64(&[id.as_bytes(), &seed.to_le_bytes()]));
        let mut moved = content.clone();
        moved.reorder(&ids).unwrap();
        prop_assert_eq!(moved.rule_ids(), ids.iter().map(String::as_str).collect::<Vec<_>>());
        for id in &ids {
            prop_assert_eq!(moved.rule(id), content.rule(id));
        }
        prop_assert!(diff(Some(&content), &moved).iter().all(|line| line.change == Change::Moved));
        prop_assert_eq!(moved.possible(), content.possible());
    }

    #[test]
    fn putting_a_rule_back_changes_nothing((_, content) in any_content()) {
        let mut again = content.clone();
        for rule in content.rules() {
            again.put_rule(&rule).unwrap();
        }
        prop_assert_eq!(&again, &content);
        for id in content.rule_ids() {
            let mut less = content.clone();
            prop_assert!(less.remove_rule(id));
            let said = diff(Some(&content), &less);
            prop_assert_eq!(said.len(), 1);
            prop_assert_eq!((said[0].change, said[0].rule_id.as_deref()), (Change::Removed, Some(id)));
        }
    }
}
