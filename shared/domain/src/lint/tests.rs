use super::*;
use crate::{
    coverage::FieldCoverage,
    engagement::MatchingPart,
    field::FieldName,
    model::{Beside, default_document},
    ruleset::Template,
};
use serde_json::{Value, json};
use std::sync::LazyLock;

const TODAY: Day = Day(20_000);

fn document() -> ModelDocument {
    default_document().unwrap()
}

fn account(document: Value) -> Content {
    Content::read(RulesetKind::Account, &document).unwrap()
}

fn rule(id: &str, field: &str, points: i64) -> Value {
    json!({ "id": id, "points": points, "condition": { "field": field, "op": "eq", "value": id } })
}

fn fit(rules: &[Value]) -> Content {
    account(json!({ "name": "Fit", "rules": rules }))
}

fn demand(rules: &Value) -> Content {
    Content::read(RulesetKind::Engagement, &json!({ "name": "Demand", "rules": rules })).unwrap()
}

fn levels(levels: &Value) -> Content {
    Content::stored(RulesetKind::AccountLevels, json!({ "id": "l", "name": "Levels", "version": 1, "levels": levels })).unwrap()
}

fn coverage(accounts: u64, known: &[(&str, u64)]) -> Coverage {
    let fields = known.iter().map(|(name, known)| (FieldName::new(name).unwrap(), FieldCoverage { known: *known, undecided: 0 }));
    Coverage { accounts, fields: fields.collect() }
}

/// Code, place and rule or level of each finding.
fn found<'f>(findings: &'f [Finding]) -> Vec<(&'f str, &'f str, &'f str)> {
    let whose = |finding: &'f Finding| finding.rule_id.as_deref().or(finding.level_id.as_deref()).unwrap_or_default();
    findings.iter().map(|finding| (finding.code.as_str(), finding.pointer.as_str(), whose(finding))).collect()
}

fn of<'a>(content: &Content, kind: RulesetKind, change: impl FnOnce(&mut Circumstances<'a>)) -> Vec<Finding> {
    static DOCUMENT: LazyLock<ModelDocument> = LazyLock::new(document);
    let mut circumstances = Circumstances::new(kind, &DOCUMENT, TODAY);
    change(&mut circumstances);
    lint(content, &circumstances)
}

#[test]
fn the_model_of_a_new_workspace_has_nothing_wrong_with_it() {
    let document = document();
    for (kind, content) in [
        (RulesetKind::Account, Content::Account(document.account.clone())),
        (RulesetKind::Engagement, Content::Engagement(document.engagement.clone())),
        (RulesetKind::AccountLevels, Content::Levels(document.account_levels.clone().into())),
        (RulesetKind::LeadLevels, Content::Levels(document.lead_levels.clone().into())),
        (RulesetKind::EngagementLevels, Content::Levels(document.engagement_levels.clone().into())),
    ] {
        assert_eq!(lint(&content, &Circumstances::new(kind, &document, TODAY)), [], "{kind}");
    }
    assert_eq!(workspace(&document), []);
}

#[test]
fn a_ruleset_without_rules_is_not_published() {
    let findings = of(&fit(&[]), RulesetKind::Account, |_| {});
    assert_eq!(found(&findings)[..1], [("no_rules", "/rules", "")]);
    assert!(refuses(&findings));
    assert!(refuses(&of(&demand(&json!([])), RulesetKind::Engagement, |_| {})));
    assert!(refuses(&of(&levels(&json!([])), RulesetKind::AccountLevels, |_| {})));
}

#[test]
fn a_field_whose_absence_decides_needs_no_coverage_and_one_finding_says_that_a_field_is_not_filled() {
    let customer = json!({"id": "new", "name": "Not already a customer", "points": 20,
        "condition": {"field": "existing_customer", "op": "eq", "value": false}});
    let stored = json!({"id": "x", "name": "Fit", "version": 1, "missing_means_no": ["existing_customer"],
        "rules": [customer, rule("plan", "plan", 100), rule("churned", "lifecycle", 5)]});
    let content = Content::stored(RulesetKind::Account, stored).unwrap();
    let coverage = coverage(100, &[("existing_customer", 3), ("plan", 3)]);
    let matched = RuleShares { accounts: 100, matched: [("new".to_owned(), 50)].into() };
    let findings = of(&content, RulesetKind::Account, |circumstances| {
        circumstances.coverage = Some(&coverage);
        circumstances.matched = Some(&matched);
    });
    let mut found = found(&findings);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("field_without_mapping", "/rules/2/condition", "churned"),
            ("low_coverage", "/rules/1/condition", "plan"),
            ("rule_never_matches", "/rules/1", "plan"),
        ]
    );
}

#[test]
fn owner_rules_and_segments_that_go_round_are_an_error_and_unknown_levels_a_warning() {
    let mut document = default_document().unwrap();
    let rules = json!({"rules": [{"id": "x", "name": "Targets", "levels": ["target"], "owners": ["kim"],
        "when": {"field": "territory", "op": "eq", "value": "north"}}]});
    document.owners = crate::owner::OwnerRules::read(&rules, &document).unwrap();
    let mut of_kim = document.account_levels.clone();
    of_kim.id = "kims".to_owned();
    let segment = serde_json::from_value(json!({"field": "owner", "op": "eq", "value": "kim"})).unwrap();
    let content = Content::Levels(crate::ruleset::LevelContent { segment: Some(segment), ..of_kim.into() });
    let circumstances = Circumstances { primary: false, ..Circumstances::new(RulesetKind::AccountLevels, &document, TODAY) };
    let findings = lint(&content, &circumstances);
    assert_eq!(found(&findings)[..1], [("owner_goes_round", "/segment", "")]);
    assert!(refuses(&findings));
    // The engagement level decides about no owner.
    let circumstances = Circumstances { kind: RulesetKind::EngagementLevels, ..circumstances };
    assert!(lint(&content, &circumstances).iter().all(|finding| finding.code != "owner_goes_round"));

    document.account_levels.levels.retain(|level| level.id != "target");
    let findings = workspace(&document);
    assert_eq!(found(&findings), [("owner_rule_without_level", "/owners/0", "target"), ("field_without_mapping", "/owners/0/when", "")]);
}

#[test]
fn a_stored_rule_that_can_not_be_read_is_an_error_that_names_it() {
    let stored = json!({
        "id": "x", "name": "Fit", "version": 1,
        "rules": [rule("a", "plan", 100), { "id": "b", "name": "Odd", "points": 5, "condition": { "field": "plan", "op": "like", "value": "x" } }],
    });
    let content = Content::stored(RulesetKind::Account, stored).unwrap();
    let findings = of(&content, RulesetKind::Account, |_| {});
    assert_eq!(found(&findings), [("faulty_rule", "/rules/1/condition", "b")]);
    assert!(findings[0].says.starts_with("`Odd` can't be evaluated and would give nothing: `op` must be one of `eq`"));
}

#[test]
fn the_pitfalls_of_the_practice_guide_are_warnings_and_stop_nobody() {
    let mut rules: Vec<Value> = (0..10).map(|i| rule(&format!("r{i}"), "plan", 10)).collect();
    rules.push(rule("churned", "lifecycle", -30));
    let findings = of(&fit(&rules), RulesetKind::Account, |circumstances| circumstances.published_at = Some(TODAY.plus(-92)));
    assert_eq!(
        found(&findings),
        [
            ("too_many_rules", "/rules", ""),
            ("negative_points", "/rules/10/points", "churned"),
            ("field_without_mapping", "/rules/10/condition", "churned"),
            ("not_revisited", "", ""),
        ]
    );
    assert!(!refuses(&findings));
    assert_eq!(findings[3].says, "was published 92 days ago");
    assert_eq!(findings[2].remedy, "add an entry for `lifecycle` to the account mapping (`/api/v1/account-mappings`)");
    // Ten rules are not too many, and 91 days are a quarter.
    let findings = of(&fit(&rules[..10]), RulesetKind::Account, |circumstances| circumstances.published_at = Some(TODAY.plus(-91)));
    assert_eq!(findings, []);
}

#[test]
fn too_many_rules_name_those_that_hardly_match() {
    let rules: Vec<Value> = (0..11).map(|i| rule(&format!("r{i}"), "plan", 10)).collect();
    let matched = (0..11).map(|i| (format!("r{i}"), if i == 3 { 1 } else { 50 })).collect();
    let shares = RuleShares { accounts: 101, matched };
    let findings = of(&fit(&rules), RulesetKind::Account, |circumstances| circumstances.matched = Some(&shares));
    assert_eq!(found(&findings), [("too_many_rules", "/rules", "")]);
    assert!(findings[0].remedy.ends_with("less than 1 % matched `r3`"), "{}", findings[0].remedy);
}

#[test]
fn a_field_that_few_accounts_hold_is_named_with_the_counts() {
    let content = fit(&[rule("a", "plan", 40), rule("b", "crm", 40), rule("c", "tier_of_partner", 40)]);
    let known = coverage(100, &[("plan", 19), ("crm", 20)]);
    let findings = of(&content, RulesetKind::Account, |circumstances| circumstances.coverage = Some(&known));
    assert_eq!(found(&findings), [("low_coverage", "/rules/0/condition", "a"), ("field_without_mapping", "/rules/2/condition", "c")]);
    assert_eq!(findings[0].says, "`a` looks at `plan`, which 19 of 100 accounts hold");
    // Of 19 accounts nothing can be said yet; a mapped field that nobody holds is one of low coverage.
    let few = coverage(19, &[("crm", 1)]);
    let findings = of(&content, RulesetKind::Account, |circumstances| circumstances.coverage = Some(&few));
    assert_eq!(found(&findings), [("field_without_mapping", "/rules/2/condition", "c")]);
}

#[test]
fn rules_that_look_for_the_same_are_said_to_be_one() {
    let one = json!({ "id": "a", "name": "Pro", "points": 60, "condition": { "field": "plan", "op": "eq", "value": "Pro" } });
    let two = json!({ "id": "b", "name": "Pro again", "points": 20, "condition": { "field": "plan", "op": "eq", "value": "pro" } });
    let findings = of(&fit(&[one, two]), RulesetKind::Account, |_| {});
    assert_eq!(found(&findings), [("duplicate_rule", "/rules/1", "b")]);
    assert_eq!(
        (findings[0].says.as_str(), findings[0].remedy.as_str()),
        ("`Pro again` looks for the same as `Pro`", "join them to one rule of 80 points")
    );
    let rules = json!([{ "id": "a", "points": 5, "events": ["Demo Requested"] }, { "id": "b", "points": 5, "events": ["demo_requested"] }]);
    assert_eq!(found(&of(&demand(&rules), RulesetKind::Engagement, |_| {})), [("duplicate_rule", "/rules/1", "b")]);
}

#[test]
fn a_cap_that_leaves_less_than_a_third_is_pointed_out() {
    let capped = |cap: i64| {
        account(json!({
            "name": "Fit", "groups": [{ "id": "g", "name": "Size", "cap": cap }],
            "rules": [
                { "id": "a", "points": 50, "group": "g", "condition": { "field": "plan", "op": "exists" } },
                { "id": "b", "points": 40, "group": "g", "condition": { "field": "country", "op": "exists" } },
                { "id": "c", "points": 60, "condition": { "field": "industry", "op": "exists" } },
            ],
        }))
    };
    assert_eq!(found(&of(&capped(29), RulesetKind::Account, |_| {})), [("points_cut_by_cap", "/groups/0/cap", "")]);
    assert_eq!(found(&of(&capped(30), RulesetKind::Account, |_| {})), []);
    let rules = json!([{ "id": "a", "points": 101, "events": ["Demo"] }, { "id": "b", "points": 30, "cap": 20, "events": ["Visit"] }]);
    let findings = of(&demand(&rules), RulesetKind::Engagement, |_| {});
    assert_eq!(found(&findings), [("points_cut_by_cap", "/rules/0/points", "a"), ("points_cut_by_cap", "/rules/1/points", "b")]);
}

#[test]
fn a_level_beyond_what_is_possible_comes_with_proposed_ranges() {
    // 145 points were possible; with 60 the default levels of 20, 50 and 80 would begin at 8, 21 and 33.
    let findings = of(&fit(&[rule("a", "plan", 60)]), RulesetKind::Account, |_| {});
    assert_eq!(found(&findings), [("level_unreachable", "", "target")]);
    assert_eq!(findings[0].says, "the level `Target` of the account level ruleset begins at 80, and at most 60 points are possible");
    assert_eq!(
        findings[0].remedy,
        "lower its `min` to at most 60; in proportion the levels would begin at: Low Priority 0, Standard 8, Qualified 21, Target 33"
    );
    // Levels follow the primary ruleset only.
    assert_eq!(of(&fit(&[rule("a", "plan", 60)]), RulesetKind::Account, |circumstances| circumstances.primary = false), []);
    // The levels of leads and accounts under a lower cap of leads.
    let small = Content::read(
        RulesetKind::Engagement,
        &json!({ "name": "Small", "lead_cap": 60, "aggregation": { "kind": "max" }, "rules": [{ "id": "a", "points": 5, "events": ["Demo"] }] }),
    );
    let findings = of(&small.unwrap(), RulesetKind::Engagement, |_| {});
    assert_eq!(
        found(&findings),
        [("level_unreachable", "", "very_hot"), ("level_unreachable", "", "hot"), ("level_unreachable", "", "very_hot")]
    );
}

#[test]
fn a_top_level_that_ends_too_early_is_pointed_out() {
    let play = |text: &str| json!({ "targeting": text, "sales_motion": text, "success_metric": text });
    let three = levels(&json!([
        { "id": "low", "name": "Low", "color": "gray", "min": 0, "max": 79, "play": play("a") },
        { "id": "target", "name": "Target", "color": "purple", "min": 80, "max": 100, "play": play("b") },
    ]));
    let findings = of(&three, RulesetKind::AccountLevels, |_| {});
    assert_eq!(found(&findings), [("level_above_cap_line", "/levels/1/max", "target")]);
    assert_eq!(findings[0].severity, Severity::Hint);
}

#[test]
fn levels_need_plays_of_their_own() {
    let level = |id: &str, min: i64, play: Option<[&str; 3]>| {
        let play = play.map(|[a, b, c]| json!({ "targeting": a, "sales_motion": b, "success_metric": c }));
        json!({ "id": id, "name": id, "color": "gray", "min": min, "play": play })
    };
    let content = levels(&json!([
        level("low", 0, None),
        level("mid", 20, Some(["Nurture", "Inbound only", "Demos"])),
        level("top", 50, Some(["nurture ", "inbound  only", "DEMOS"])),
    ]));
    let findings = of(&content, RulesetKind::AccountLevels, |_| {});
    assert_eq!(found(&findings), [("level_without_play", "/levels/0/play", "low"), ("levels_share_play", "/levels/2/play", "top")]);
    // Levels of leads need none, but two equal ones are one too many there, too.
    assert_eq!(found(&of(&content, RulesetKind::LeadLevels, |_| {})), [("levels_share_play", "/levels/2/play", "top")]);
    let tiers = Template::find("three-tiers").unwrap().fill(&crate::RulesetId::new("als_1").unwrap(), None, &serde_json::Map::new());
    assert_eq!(of(&tiers.unwrap().content, RulesetKind::AccountLevels, |_| {}), []);
}

#[test]
fn every_fault_of_ranges_has_a_name_of_its_own() {
    let level = |id: &str, min: i64, max: Option<i64>| json!({ "id": id, "name": id, "color": "gray", "min": min, "max": max });
    let codes = |content: Content| {
        let findings = of(&content, RulesetKind::LeadLevels, |_| {});
        findings.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.code.clone()).collect::<Vec<_>>()
    };
    assert_eq!(codes(levels(&json!([level("a", 5, None)]))), ["level_gap"]);
    assert_eq!(codes(levels(&json!([level("a", 0, Some(9)), level("b", 20, None)]))), ["level_gap"]);
    assert_eq!(codes(levels(&json!([level("a", 0, Some(30)), level("b", 20, None)]))), ["level_overlap"]);
    assert_eq!(codes(levels(&json!([level("a", 0, None), level("b", 0, None)]))), ["level_inverted"]);
    assert_eq!(codes(levels(&json!([level("a", 0, None), level("a", 20, None)]))), ["level_ids"]);
}

#[test]
fn a_segment_that_can_not_work_is_an_error_and_one_that_may_take_nobody_is_pointed_out() {
    let content = |segment: Value, ids: [&str; 2]| {
        let level = |(i, id): (usize, &str)| json!({ "id": id, "name": id, "color": "gray", "min": i });
        let levels: Value = ids.into_iter().enumerate().map(level).collect();
        let content = json!({ "id": "l", "name": "Levels", "version": 1, "levels": levels, "segment": segment });
        Content::stored(RulesetKind::LeadLevels, content).unwrap()
    };
    let lead_levels =
        |content: &Content, primary: bool| of(content, RulesetKind::LeadLevels, |circumstances| circumstances.primary = primary);
    let tier = json!({ "field": "tier", "op": "eq", "value": "1:1" });
    assert_eq!(lead_levels(&content(tier.clone(), ["cold", "warm"]), false), []);
    let primary = lead_levels(&content(tier.clone(), ["cold", "warm"]), true);
    assert_eq!((found(&primary), refuses(&primary)), (vec![("segment_of_primary", "/segment", "")], true));
    let newer = json!({ "all": [tier.clone(), { "field": "tier", "op": "resembles", "value": "x" }] });
    let faulty = lead_levels(&content(newer, ["cold", "warm"]), false);
    assert_eq!((found(&faulty), refuses(&faulty)), (vec![("faulty_segment", "/segment/all/1", "")], true));
    let unknown = json!({ "field": "partner_tier", "op": "exists" });
    let findings = lead_levels(&content(unknown.clone(), ["cold", "lukewarm"]), false);
    assert_eq!(found(&findings), [("field_without_mapping", "/segment", ""), ("level_ids_differ", "/levels/1/id", "lukewarm")]);
    assert!(!refuses(&findings));
    let coverage = coverage(50, &[("partner_tier", 3)]);
    let held = of(&content(unknown, ["cold", "warm"]), RulesetKind::LeadLevels, |circumstances| {
        (circumstances.primary, circumstances.coverage) = (false, Some(&coverage));
    });
    assert_eq!(held, []);
}

#[test]
fn cuts_that_do_not_fit_the_levels_are_errors_and_ranges_of_one_point_a_warning() {
    let content = |cuts: Value| {
        let level = |id: &str, min: i64| json!({ "id": id, "name": id, "color": "gray", "min": min });
        let levels = json!([level("cold", 0), level("warm", 40), level("hot", 41)]);
        let content = json!({ "id": "l", "name": "Levels", "version": 1, "levels": levels, "percentiles": { "cuts": cuts } });
        Content::stored(RulesetKind::LeadLevels, content).unwrap()
    };
    let of = |cuts: Value| of(&content(cuts), RulesetKind::LeadLevels, |_| {});
    let fitting = of(json!([{ "level": "hot", "top_percent": 5 }, { "level": "warm", "top_percent": 20 }]));
    assert_eq!(found(&fitting), [("percentile_cuts_equal", "/levels/1/min", "warm")]);
    let lacking = of(json!([{ "level": "hot", "top_percent": 5 }]));
    assert_eq!((lacking[0].code.as_str(), lacking[0].pointer.as_str(), refuses(&lacking)), ("percentile_cuts", "/percentiles/cuts", true));
}

#[test]
fn a_top_level_with_hardly_anybody_or_nearly_everybody_is_a_warning() {
    let share = |accounts: u64, top: u64, twentieth: Option<i64>| {
        let shares = LevelShares { accounts, levels: [("target".to_owned(), top)].into(), twentieth };
        let document = document();
        let mut circumstances = Circumstances::new(RulesetKind::AccountLevels, &document, TODAY);
        circumstances.shares = Some(&shares);
        lint(&Content::Levels(document.account_levels.clone().into()), &circumstances)
    };
    assert_eq!(found(&share(200, 1, None)), [("top_level_too_small", "/levels/3/min", "target")]);
    assert_eq!(share(200, 2, None), []);
    assert_eq!(share(200, 40, None), []);
    let findings = share(200, 41, Some(95));
    assert_eq!(found(&findings), [("top_level_too_large", "/levels/3/min", "target")]);
    assert_eq!(findings[0].remedy, "move its `min` to 95: at most 5 % of the accounts have as much");
    assert_eq!(share(99, 99, None), []);
}

#[test]
fn rules_that_separate_nobody_are_pointed_out() {
    let content = fit(&[rule("a", "plan", 40), rule("b", "country", 40)]);
    let shares = RuleShares { accounts: 50, matched: [("b".to_owned(), 50)].into() };
    let findings = of(&content, RulesetKind::Account, |circumstances| circumstances.matched = Some(&shares));
    assert_eq!(found(&findings), [("rule_never_matches", "/rules/0", "a"), ("rule_always_matches", "/rules/1", "b")]);
    let nobody = RuleShares::default();
    assert_eq!(of(&content, RulesetKind::Account, |circumstances| circumstances.matched = Some(&nobody)), []);
}

#[test]
fn an_end_before_the_start_is_an_error() {
    let findings = of(&fit(&[rule("a", "plan", 100)]), RulesetKind::Account, |circumstances| {
        (circumstances.starts_on, circumstances.ends_on) = (Some(TODAY), Some(TODAY.plus(-1)));
    });
    assert_eq!(found(&findings), [("ends_before_it_starts", "/ends_on", "")]);
    assert_eq!(findings[0].remedy, format!("the end must not be before `starts_on`, {TODAY}"));
}

/// Two different parts with the same id: 32 bits collide among a hundred thousand or so.
fn twins() -> [MatchingPart; 2] {
    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    let part =
        |i: u32| MatchingPart { events: vec![format!("event {i}")], filters: Vec::new(), count: crate::engagement::CountMode::Every };
    for i in 0..2_000_000 {
        if let Some(other) = seen.insert(part(i).id(), i) {
            return [part(other), part(i)];
        }
    }
    panic!("two million parts without a collision");
}

#[test]
fn rules_whose_counts_can_not_be_told_apart_are_an_error() {
    let [one, two] = twins();
    let rule = |id: &str, part: &MatchingPart| json!({ "id": id, "points": 5, "events": part.events });
    let both = demand(&json!([rule("a", &one), rule("b", &two)]));
    let findings = of(&both, RulesetKind::Engagement, |_| {});
    assert_eq!(found(&findings), [("parts_collide", "/rules/1", "b")]);
    assert!(refuses(&findings));
    // The other one may be of another ruleset, or be kept.
    let mut document = document();
    document.kept_parts.push(one.clone());
    let findings = lint(&demand(&json!([rule("b", &two)])), &Circumstances::new(RulesetKind::Engagement, &document, TODAY));
    assert_eq!(found(&findings), [("parts_collide", "/rules/0", "b")]);
    let Content::Engagement(ruleset) = demand(&json!([rule("b", &two)])) else { panic!("event rules") };
    document.other_engagements.push(Beside { ruleset, starts_on: None, ends_on: None });
    assert_eq!(found(&workspace(&document)), [("parts_collide", "/other_engagements/0/ruleset/rules/0", "b")]);
}

#[test]
fn a_workspace_without_a_ruleset_that_scores_is_told_what_to_do() {
    let mut document = document();
    document.account.rules.clear();
    let findings = workspace(&document);
    assert_eq!(found(&findings), [("none_enabled", "/account", "")]);
    assert!(refuses(&findings));
    let Content::Account(other) = fit(&[rule("a", "lifecycle", 5)]) else { panic!("account rules") };
    document.other_accounts.push(Beside { ruleset: other, starts_on: None, ends_on: None });
    let findings = workspace(&document);
    assert_eq!(found(&findings), [("no_primary", "/account", ""), ("field_without_mapping", "/other_accounts/0/ruleset/rules/0", "a")]);
    assert_eq!(findings[0].remedy, "make `Fit` the primary one");
}

#[test]
fn findings_are_stored_and_read_back() {
    let findings = of(&fit(&[rule("a", "lifecycle", -5)]), RulesetKind::Account, |_| {});
    let stored = serde_json::to_value(&findings).unwrap();
    assert_eq!(stored[0]["severity"], "warning");
    assert_eq!(serde_json::from_value::<Vec<Finding>>(stored).unwrap(), findings);
}

#[test]
fn of_many_findings_of_one_sort_the_first_twenty_are_listed_and_the_rest_counted() {
    let rules: Vec<Value> = (0..1_000).map(|n| rule(&format!("r{n}"), "plan", -1)).collect();
    let findings = of(&fit(&rules), RulesetKind::Account, |_| {});
    let negative: Vec<&Finding> = findings.iter().filter(|finding| finding.code == "negative_points").collect();
    assert_eq!(negative.len(), 20);
    assert_eq!(negative[0].pointer, "/rules/0/points");
    assert!(negative[19].says.ends_with("; the same is true 980 times more"), "{}", negative[19].says);
    assert!(!negative[18].says.contains("times more"));
}
