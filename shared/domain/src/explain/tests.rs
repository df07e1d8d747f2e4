use super::*;
use crate::{
    CallKind, Event, Identity, MessageId, Order,
    account_rules::{AccountRuleset, Outcome},
    decay::{Decay, Step},
    engagement::{Aggregation, CountMode, EngagementRuleset},
    evaluate::Inputs,
    facts::PerDay,
    field::{FieldFact, FieldFacts, FieldName, FieldSource, FieldValue, Interval, Keep, Number},
    model::{ModelDocument, default_document},
    state::IdentityState,
};
use proptest::prelude::*;

const TODAY: i32 = 20_000;

fn event(n: usize, name: &str, age_days: i32, asset: u8) -> Event {
    let at = Day(TODAY - age_days).start().plus_millis(n as i64 * 60_000);
    let properties = serde_json::json!({ "asset": format!("asset-{asset}"), "path": "/pricing" });
    Event {
        message_id: MessageId::new(&format!("m{n}")).unwrap(),
        kind: CallKind::Track,
        name: Some(name.to_owned()),
        user_id: None,
        anonymous_id: None,
        previous_id: None,
        account: None,
        timestamp: at,
        received_at: at,
        clamped: false,
        skew_ms: Some(0),
        ip: None,
        user_agent: None,
        properties: crate::JsonObject::from_map(properties.as_object().unwrap()),
        traits: None,
        context: None,
    }
}

fn state(model: &Model, who: &str, events: &[(usize, &str, i32, u8)]) -> IdentityState {
    let mut state = IdentityState::new(Identity::user(who), &model.matcher);
    for (n, name, age, asset) in events {
        state.facts.absorb_all([&event(*n, name, *age, *asset)], &model.matcher, &model.document.mapping);
    }
    state
}

fn fields(known: &[(&str, FieldValue)]) -> FieldFacts {
    let mut facts = FieldFacts::new();
    for (name, value) in known {
        let fact = FieldFact::new(Some(value.clone()), Order::default(), FieldSource::Manual);
        facts.merge(&FieldName::new(name).unwrap(), fact, Keep::Latest);
    }
    facts
}

fn explain(model: &Model, own: FieldFacts, states: &[IdentityState], listed: usize) -> Explanation {
    let states = states.iter().map(|state| (state.identity.id(), state)).collect();
    let evaluation = Evaluation::new(model, Inputs { own, states, stated: None, giant: false }, Day(TODAY));
    let none = BTreeMap::new();
    let held = HeldLevels { account: Some("standard"), engagement: None, leads: &none };
    Explanation::new(model, &evaluation, held, listed)
}

fn number(n: i64) -> FieldValue {
    FieldValue::Number(Number::whole(n).unwrap())
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

#[test]
fn an_account_of_which_only_the_employees_are_known_needs_one_more_field() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let part = explain(&model, fields(&[("employees", number(1_500))]), &[], 10).account;
    // 50 points, Qualified; Target begins at 80, and of 45 + 20 + 30 the industry's 30 are just enough.
    assert_eq!((part.score, part.possible, part.known.as_str(), part.missing_could_add), (50, 145, "1 of 4 fields known", 95));
    assert_eq!(part.level.by_score.unwrap().name, "Qualified");
    let next = part.level.next.unwrap();
    assert_eq!((next.level.name.as_str(), next.points_needed, next.reachable), ("Target", 30, true));
    let ways: Vec<_> = next.ways.iter().map(|way| (way.rule_id.as_str(), way.needs.as_slice())).collect();
    assert_eq!(ways, [("industry", ["industry".to_owned()].as_slice())]);
    let why: Vec<_> = part.rules.iter().map(|rule| rule.why.as_str()).collect();
    assert_eq!(why[0], "holds: `employees` is 1500");
    assert_eq!(why[1], "can't be told until `revenue` is known");
}

#[test]
fn the_whole_pattern_scores_145_and_has_no_next_level() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let known = [
        ("employees", number(1_500)),
        ("revenue", number(60_000_000)),
        ("country", text("United States")),
        ("industry", text("Technology")),
    ];
    let part = explain(&model, fields(&known), &[], 10).account;
    assert_eq!((part.score, part.known.as_str(), part.level.next), (145, "4 of 4 fields known", None));
}

#[test]
fn several_fields_are_named_when_no_single_one_would_do() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let part = explain(&model, FieldFacts::new(), &[], 10).account;
    // From 0 and held Standard the next is Qualified at 50: the employees alone bring 50.
    let next = part.level.next.unwrap();
    assert_eq!((next.points_needed, next.ways.len(), next.ways[0].rule_id.as_str()), (50, 1, "employees"));
    let part = explain(&model, fields(&[("employees", number(10))]), &[], 10).account;
    // Without them two of 45, 20 and 30 are needed, and 20 + 30 are just enough.
    let ways: Vec<_> = part.level.next.unwrap().ways.iter().map(|way| way.points).collect();
    assert_eq!(ways, [20, 30]);
}

#[test]
fn a_lead_is_explained_day_by_day_with_the_cap_that_bit() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    // Five demo requests, a day apart: 50 each with a half-life of 90 days; the lead's cap is 100.
    let events: Vec<_> = (0..5).map(|n| (n, "demo request", 4 - n as i32, 0)).collect();
    let part = explain(&model, FieldFacts::new(), &[state(&model, "ann", &events)], 10).engagement;
    let lead = &part.leads[0];
    assert_eq!((part.score, lead.score, lead.counts, lead.label.as_str()), (100, 100, 100, "ann"));
    let rule = &lead.rules[0];
    // By hand: 50·(1 + 2^(−1/90) + … + 2^(−4/90)) = 246.2.
    assert_eq!((rule.rule_id.as_str(), rule.points, rule.count), ("demo_request", 246, 5));
    assert_eq!(lead.cap, Some(PointsCap { limit: 100, points: -146 }));
    assert_eq!(lead.level.as_ref().unwrap().by_score.as_ref().unwrap().id, "very_hot");
    assert_eq!(part.unmatched.len(), 6);
}

#[test]
fn leads_that_are_not_listed_count_together() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let states: Vec<_> = (0..5).map(|n| state(&model, &format!("u{n}"), &[(n, "demo request", 0, 0)])).collect();
    let part = explain(&model, FieldFacts::new(), &states, 2).engagement;
    assert_eq!((part.score, part.leads.len()), (250, 2));
    assert_eq!(part.others, Some(Others { leads: 3, counts: 150 }));
}

#[test]
fn a_level_that_no_missing_field_can_bring_is_not_reachable_and_the_most_is_told() {
    let mut document = default_document().unwrap();
    document.account.cap = Some(70);
    let model = Model::compile(document).unwrap();
    let part = explain(&model, fields(&[("employees", number(1_500))]), &[], 10).account;
    // 50 points, and whatever comes on top is cut at 70: Target begins at 80.
    let next = part.level.next.unwrap();
    assert_eq!((next.level.name.as_str(), next.reachable, next.most), ("Target", false, Some(70)));
    // The country's 20 bring those 70 alone.
    let ways: Vec<_> = next.ways.iter().map(|way| way.rule_id.as_str()).collect();
    assert_eq!(ways, ["country"]);
}

#[test]
fn many_waiting_rules_are_taken_largest_first_and_what_is_not_needed_is_left_out() {
    let mut document = default_document().unwrap();
    let rules: Vec<_> = (0..30)
        .map(|i| serde_json::json!({ "id": format!("r{i}"), "name": "r", "points": i + 1, "condition": { "field": format!("f{i}"), "op": "exists" } }))
        .collect();
    let ruleset = serde_json::json!({ "id": "many", "name": "Many", "version": 1, "rules": rules });
    document.account = AccountRuleset::parse(&ruleset.to_string()).unwrap();
    let model = Model::compile(document).unwrap();
    // Held Standard and 0 points: Qualified begins at 50, and 30 + 29 are the fewest.
    let next = explain(&model, FieldFacts::new(), &[], 10).account.level.next.unwrap();
    let ways: Vec<_> = next.ways.iter().map(|way| way.points).collect();
    assert_eq!((next.level.min, next.reachable, ways), (50, true, vec![29, 30]));
}

#[test]
fn rules_that_exclude_each_other_are_no_way_together_and_what_a_value_takes_away_counts() {
    let mut document = default_document().unwrap();
    let rule = |id: &str, points: i32, field: &str, op: &str, value: serde_json::Value| serde_json::json!({ "id": id, "name": id, "points": points, "condition": { "field": field, "op": op, "value": value } });
    let rules = [
        rule("us", 30, "country", "eq", "US".into()),
        rule("de", 35, "country", "eq", "DE".into()),
        rule("large", 40, "employees", "gte", 1000.into()),
        rule("huge", -25, "employees", "gt", 5000.into()),
        rule("vast", 15, "employees", "gte", 20_000.into()),
    ];
    let ruleset = serde_json::json!({ "id": "r", "name": "R", "version": 1, "rules": rules });
    document.account = AccountRuleset::parse(&ruleset.to_string()).unwrap();
    document.account_levels.levels[2].min = 60;
    document.account_levels.levels[1].max = Some(59);
    let model = Model::compile(document).unwrap();
    let next = |known: &[(&str, FieldValue)]| explain(&model, fields(known), &[], 10).account.level.next.unwrap();
    // Held Standard; 60 are needed. Both countries together would bring 65, but nobody is in both: 30 + 40 do.
    let found = next(&[]);
    let ways: Vec<_> = found.ways.iter().map(|way| way.rule_id.as_str()).collect();
    assert_eq!((found.reachable, ways), (true, vec!["us", "large"]));
    // In no target country only the employees are left: 40 up to 5,000 of them, and 40 - 25 + 15 = 30 from 20,000 on.
    let found = next(&[("country", text("FR"))]);
    assert_eq!((found.reachable, found.most, found.ways.len()), (false, Some(40), 1));
    // Of an interval above 5,000 every value costs 25, and whoever is large is huge.
    let from = Interval::new(Some(Number::whole(6_000).unwrap()), Some(Number::whole(9_000).unwrap())).unwrap();
    let found = next(&[("country", text("FR")), ("employees", FieldValue::Interval(from))]);
    assert_eq!((found.reachable, found.most), (false, Some(15)));
}

fn unmatched(model: &Model, states: &[IdentityState], rule: &str) -> UnmatchedRule {
    let part = explain(model, FieldFacts::new(), states, 10).engagement;
    part.unmatched.into_iter().find(|unmatched| unmatched.rule_id == rule).unwrap()
}

#[test]
fn a_rule_that_gives_nothing_says_why() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let day = |age: i32| Day(TODAY - age).to_string();
    let never = unmatched(&model, &[], "demo_request");
    assert_eq!((never.because, never.why.as_str()), (Because::NeverSeen {}, "no such event in the last 395 days"));
    // 395 days ago is the last day that does not count any more, 394 the first that does: by hand 50 · 2^(−394/90) = 2.4.
    let old = [state(&model, "ann", &[(0, "demo request", 395, 0)])];
    assert_eq!(unmatched(&model, &old, "demo_request").because, Because::OutsideWindow { last_day: day(395) });
    let young = [state(&model, "ann", &[(0, "demo request", 394, 0)])];
    assert!(explain(&model, FieldFacts::new(), &young, 10).engagement.unmatched.iter().all(|rule| rule.rule_id != "demo_request"));
    // 5 · 2^(−100/21) = 0.18.
    let faded = [state(&model, "ann", &[(0, "email click", 100, 0)])];
    assert_eq!(unmatched(&model, &faded, "email_click").because, Because::Decayed { last_day: day(100), was: 5 });
}

#[test]
fn a_day_with_more_activity_than_a_person_has_is_told_as_noise() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let mut noisy = IdentityState::new(Identity::anonymous("robot"), &model.matcher);
    noisy.facts.absorb_all([&event(0, "demo request", 3, 0)], &model.matcher, &model.document.mapping);
    noisy.facts.count = 2_001;
    let day: PerDay = [(Day(TODAY - 3), 2_001)].into_iter().collect();
    noisy.facts.channels.insert(crate::Channel::Website, day);
    assert_eq!(unmatched(&model, &[noisy], "demo_request").because, Because::Noise { days: 1 });
}

#[test]
fn what_was_folded_with_other_rules_is_not_counted_yet() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let mut old = state(&model, "ann", &[(0, "email click", 0, 0)]);
    old.facts.parts ^= 1;
    assert_eq!(unmatched(&model, &[old], "demo_request").because, Because::NotCountedYet {});
}

#[test]
fn a_rule_whose_points_the_cap_takes_away_says_so() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    // Two demo requests, a meeting and a click: 50 + 49.2 + 30 + 5 = 134.2, of which the cap takes 34.
    let events = [(0, "demo request", 0, 0), (1, "demo request", 2, 0), (2, "sdr meeting", 0, 0), (3, "email click", 0, 0)];
    let part = explain(&model, FieldFacts::new(), &[state(&model, "ann", &events)], 10).engagement;
    let because = |rule: &str| part.leads[0].rules.iter().find(|line| line.rule_id == rule).unwrap().because.clone();
    // The meeting, the last rule, loses all of its 30, and the demo requests a part of theirs.
    assert_eq!(
        (because("sdr_meeting"), because("demo_request"), because("email_click")),
        (Some(Because::CapExhausted { cap: 100 }), None, None)
    );
}

#[test]
fn a_lead_at_its_cap_needs_another_person() {
    let mut document = default_document().unwrap();
    for rule in &mut document.engagement.rules {
        rule.decay = Decay::None;
    }
    let model = Model::compile(document).unwrap();
    let events: Vec<_> = (0..4).map(|n| (n, "sdr meeting", n as i32, 0)).collect();
    let part = explain(&model, FieldFacts::new(), &[state(&model, "ann", &events)], 10).engagement;
    // Four meetings are 120, cut to 100: Hot. Very Hot begins at 150, and one demo request by somebody else brings 50.
    let next = part.level.next.unwrap();
    assert_eq!((next.level.name.as_str(), next.points_needed, next.reachable), ("Very Hot", 50, true));
    assert_eq!(next.hints, ["ann is at the cap of 100 points: another person is needed"]);
    let shortest: Vec<_> = next.shortest.iter().map(|way| (way.rule_id.as_str(), way.times, way.by.clone())).collect();
    assert_eq!(shortest, [("demo_request", 1, Some(Who::NewLead { number: 1 }))]);
    // Two meetings by one new person are 60; as many as by two.
    let ways: Vec<_> = next.ways.iter().map(|way| (way.rule_id.as_str(), way.times)).collect();
    assert_eq!(ways, [("demo_request", 1), ("sdr_meeting", 2), ("pricing_page", 4)]);
    // The lead itself is Very Hot from 75 on.
    assert_eq!(part.leads[0].level.as_ref().unwrap().next, None);
}

#[test]
fn only_the_best_lead_counts_so_that_a_level_above_its_cap_can_not_be_reached() {
    let mut document = default_document().unwrap();
    document.engagement.aggregation = Aggregation::Max;
    let model = Model::compile(document).unwrap();
    let events: Vec<_> = (0..4).map(|n| (n, "sdr meeting", 0, n as u8)).collect();
    let part = explain(&model, FieldFacts::new(), &[state(&model, "ann", &events)], 10).engagement;
    let next = part.level.next.unwrap();
    assert_eq!((part.possible, next.reachable, next.most, next.ways.len()), (Some(100), false, Some(100), 0));
    assert_eq!(next.hints, ["ann is at the cap of 100 points: only the best lead counts"]);
}

#[test]
fn the_most_that_is_possible_follows_from_the_caps() {
    let possible = |change: &dyn Fn(&mut EngagementRuleset)| {
        let mut document = default_document().unwrap();
        change(&mut document.engagement);
        let engagement = Model::compile(document).unwrap().engagement;
        (ways::possible_of_lead(&engagement), ways::possible_of_account(&engagement))
    };
    assert_eq!(possible(&|_| {}), (Some(100), None));
    assert_eq!(possible(&|rules| rules.lead_cap = 0), (None, None));
    assert_eq!(possible(&|rules| rules.aggregation = Aggregation::TopN { n: 3 }), (Some(100), Some(300)));
    // 100 + 50 + 25 + … = 200.
    assert_eq!(possible(&|rules| rules.aggregation = Aggregation::Diminishing { percent: 50 }), (Some(100), Some(200)));
    let capped = |rules: &mut EngagementRuleset| {
        rules.lead_cap = 0;
        rules.rules.iter_mut().for_each(|rule| rule.cap = 6);
        rules.rules[0].cap = 0;
        rules.rules[0].part.count = CountMode::OncePerLead;
    };
    // Six rules of 6, and one visit for ever of 5.
    assert_eq!(possible(&capped), (Some(41), None));
}

#[test]
fn grade_and_grid_are_told_with_the_explanation() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let states = [state(&model, "ann", &[(0, "demo request", 0, 0)])];
    let explanation = explain(&model, fields(&[("employees", number(1_500))]), &states, 10);
    // 50 of 145 are 34 %: D. 50 points of engagement are Warm, the third level from the top.
    assert_eq!((explanation.grade, explanation.grid.unwrap().to_string().as_str()), (Grade::D, "D3"));
}

#[test]
fn a_lead_is_explained_by_itself_under_any_of_its_identities() {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let mut device = state(&model, "device", &[(0, "page view", 0, 0)]);
    device.identity = Identity::anonymous("device");
    device.link = Some(Identity::user("ann").id());
    let states = [state(&model, "ann", &[(1, "demo request", 0, 0)]), device, state(&model, "ben", &[(2, "sdr meeting", 0, 0)])];
    let states: Vec<_> = states.iter().map(|state| (state.identity.id(), state)).collect();
    let evaluation = Evaluation::new(&model, Inputs { own: FieldFacts::new(), states, stated: None, giant: false }, Day(TODAY));
    let none = BTreeMap::new();
    let held = HeldLevels { account: None, engagement: None, leads: &none };
    let by_user = lead(&model, &evaluation, Identity::user("ann").id(), held).unwrap();
    // A demo request, a visit and the pricing page: 50 + 5 + 15.
    assert_eq!((by_user.lead.score, by_user.lead.counts, by_user.possible), (70, 70, Some(100)));
    let unmatched: Vec<_> = by_user.unmatched.iter().map(|rule| rule.rule_id.as_str()).collect();
    assert_eq!(unmatched, ["download", "email_click", "linkedin_ad_click", "sdr_meeting"]);
    assert_eq!(lead(&model, &evaluation, Identity::anonymous("device").id(), held), Some(by_user));
    assert_eq!(lead(&model, &evaluation, Identity::user("nobody").id(), held), None);
}

#[test]
fn a_ruleset_beside_the_primary_one_has_its_own_score_while_it_is_in_force() {
    let mut document = default_document().unwrap();
    let mut second = document.account.clone();
    second.id = "second".to_owned();
    second.rules.truncate(1);
    let between = |starts: i32, ends: i32| Beside { ruleset: second.clone(), starts_on: Some(Day(starts)), ends_on: Some(Day(ends)) };
    document.other_accounts = vec![between(TODAY, TODAY), between(TODAY - 9, TODAY - 1), between(TODAY + 1, TODAY + 9)];
    document.other_engagements = vec![Beside { ruleset: document.engagement.clone(), starts_on: None, ends_on: None }];
    document.other_engagements[0].ruleset.lead_cap = 20;
    let model = Model::compile(document).unwrap();
    let states = [state(&model, "ann", &[(0, "demo request", 0, 0)])];
    let explanation = explain(&model, fields(&[("employees", number(1_500)), ("country", text("US"))]), &states, 10);
    assert_eq!((explanation.account.score, explanation.engagement.score), (70, 50));
    let others: Vec<_> = explanation.other_rulesets.iter().map(|other| (other.score, other.possible)).collect();
    assert_eq!(others, [(Some(50), Some(50)), (None, None), (None, None), (Some(20), None)]);
    let day = |day: i32| Day(day).to_string();
    assert_eq!(explanation.other_rulesets[1].because, Some(Because::Ended { on: day(TODAY - 1) }));
    assert_eq!(explanation.other_rulesets[2].because, Some(Because::NotBegun { on: day(TODAY + 1) }));
}

const NAMES: [&str; 7] =
    ["page view", "content download", "email click", "linkedin ad click", "demo request", "sdr meeting", "something else"];

fn any_decay() -> impl Strategy<Value = Decay> {
    prop_oneof![
        Just(Decay::None),
        (1_u32..100).prop_map(|days| Decay::HalfLife { days }),
        (1_u32..100).prop_map(|days| Decay::Linear { days }),
        (1_u32..50, 0_u32..=100).prop_map(|(from_day, percent)| Decay::Step { steps: vec![Step { from_day, percent }] }),
    ]
}

fn any_count() -> impl Strategy<Value = CountMode> {
    let paths = || vec!["properties.asset".to_owned()];
    prop_oneof![
        Just(CountMode::Every),
        Just(CountMode::OncePerLead),
        Just(CountMode::OncePerSession),
        Just(CountMode::OncePerDay),
        Just(CountMode::OncePerKey { paths: paths() }),
        Just(CountMode::OncePerKeyAndDay { paths: paths() }),
        (1_u32..100).prop_map(|hours| CountMode::OncePerHours { hours }),
    ]
}

fn any_model() -> impl Strategy<Value = ModelDocument> {
    let rule = (-30_i64..60, 0_i64..40, 0_i64..80, any_decay());
    let aggregation = prop_oneof![
        Just(Aggregation::Sum),
        Just(Aggregation::Max),
        (1_u32..4).prop_map(|n| Aggregation::TopN { n }),
        (0_u32..=100).prop_map(|percent| Aggregation::Diminishing { percent }),
    ];
    (
        proptest::collection::vec(rule, 7),
        0_i64..150,
        aggregation,
        proptest::collection::vec(-40_i32..80, 4),
        proptest::option::of(0_i32..200),
    )
        .prop_map(|(rules, lead_cap, aggregation, points, cap)| {
            let mut document = default_document().unwrap();
            document.engagement.lead_cap = lead_cap;
            document.engagement.aggregation = aggregation;
            for (rule, (points, per_day, cap, decay)) in document.engagement.rules.iter_mut().zip(rules) {
                (rule.points, rule.cap_per_day, rule.cap, rule.decay) = (points, per_day, cap, decay);
            }
            for (rule, points) in document.account.rules.iter_mut().zip(points) {
                rule.points = points;
            }
            document.account.cap = cap;
            let mut beside = document.account.clone();
            beside.rules.reverse();
            beside.cap = Some(60);
            document.other_accounts = vec![Beside { ruleset: beside, starts_on: None, ends_on: None }];
            let mut beside = document.engagement.clone();
            beside.rules.reverse();
            beside.lead_cap = 40;
            document.other_engagements = vec![Beside { ruleset: beside, starts_on: None, ends_on: None }];
            document
        })
}

/// With any way of counting, and with a rule that disqualifies in some cases.
fn any_whole_model() -> impl Strategy<Value = ModelDocument> {
    let counts = proptest::collection::vec(proptest::option::of(any_count()), 7);
    (any_model(), counts, proptest::option::weighted(0.3, 0_usize..4)).prop_map(|(mut document, counts, disqualifies)| {
        for (rule, count) in document.engagement.rules.iter_mut().zip(counts) {
            rule.part.count = count.unwrap_or(rule.part.count.clone());
        }
        if let Some(place) = disqualifies {
            (document.account.rules[place].points, document.account.rules[place].disqualifies) = (0, true);
        }
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_explanation_sums_to_the_score_shown(
        document in any_whole_model(),
        leads in any_leads(),
        listed in 0_usize..7,
        employees in proptest::option::of(0_i64..3_000),
        country in proptest::option::of("[A-Z]{2}"),
    ) {
        let model = Model::compile(document).unwrap();
        let mut known = Vec::new();
        known.extend(employees.map(|n| ("employees", number(n))));
        known.extend(country.map(|country| ("country", text(&country))));
        let states = states_of(&model, &leads);
        let explanation = explain(&model, fields(&known), &states, listed);

        let account = &explanation.account;
        prop_assert_eq!(sum_of_rules(&account.rules, &account.caps), i64::from(account.score));
        let out = account.rules.iter().any(|rule| rule.line.disqualifies && rule.line.outcome == Outcome::Matched);
        prop_assert_eq!((out, explanation.disqualified_by.is_empty()), (!explanation.disqualified_by.is_empty(), !out));
        prop_assert!(!out || explanation.grade == Grade::F);
        let engagement = &explanation.engagement;
        sums_of_leads(&engagement.leads, engagement.others.as_ref(), engagement.score)?;
        for other in &explanation.other_rulesets {
            if let Some(account) = &other.account {
                prop_assert_eq!(Some(sum_of_rules(&account.rules, &account.caps)), other.score);
            }
            if let Some(engagement) = &other.engagement {
                sums_of_leads(&engagement.leads, engagement.others.as_ref(), other.score.unwrap())?;
            }
        }
        // Every rule of every lead is either explained with points or with a reason.
        let refs: Vec<_> = states.iter().map(|state| (state.identity.id(), state)).collect();
        let evaluation = Evaluation::new(&model, Inputs { own: fields(&known), states: refs, stated: None, giant: false }, Day(TODAY));
        let none = BTreeMap::new();
        let held = HeldLevels { account: None, engagement: None, leads: &none };
        for state in &states {
            let part = lead(&model, &evaluation, state.identity.id(), held).unwrap();
            sums_of_leads(std::slice::from_ref(&part.lead), None, part.lead.counts)?;
            let with_points = part.lead.rules.iter().filter(|rule| rule.points != 0).count();
            prop_assert_eq!(with_points + part.unmatched.len(), model.document.engagement.rules.len());
        }
    }

    #[test]
    fn a_positive_rule_more_never_lowers_a_score(
        document in any_whole_model(),
        leads in any_leads(),
        employees in proptest::option::of(0_i64..3_000),
        points in 1_i32..100,
        place in 0_usize..7,
    ) {
        let known: Vec<_> = employees.map(|n| ("employees", number(n))).into_iter().collect();
        let scores = |document: &ModelDocument| {
            let model = Model::compile(document.clone()).unwrap();
            let explanation = explain(&model, fields(&known), &states_of(&model, &leads), 10);
            (explanation.account.score, explanation.engagement.score)
        };
        let before = scores(&document);
        let mut after = document.clone();
        let mut rule = after.account.rules[place % 4].clone();
        (rule.id, rule.points, rule.disqualifies) = ("more".to_owned(), points, false);
        after.account.rules.push(rule);
        let mut rule = after.engagement.rules[place].clone();
        (rule.id, rule.points) = ("more".to_owned(), i64::from(points));
        after.engagement.rules.push(rule);
        let after = scores(&after);
        prop_assert!(after.0 >= before.0 && after.1 >= before.1, "{:?} fell to {:?}", before, after);
    }

    #[test]
    fn the_shortest_way_of_fields_really_reaches_the_level(document in any_model(), known in 0_usize..16) {
        let model = Model::compile(document).unwrap();
        let values = [("employees", number(5_000)), ("revenue", number(60_000_000)), ("country", text("US")), ("industry", text("Finance"))];
        let mut facts: Vec<_> = values.iter().enumerate().filter(|(i, _)| known >> i & 1 == 1).map(|(_, value)| value.clone()).collect();
        let before = explain(&model, fields(&facts), &[], 0).account;
        let Some(next) = before.level.next.clone() else { return Ok(()) };
        for way in &next.ways {
            facts.extend(values.iter().filter(|(name, _)| way.needs.iter().any(|need| need == name)).cloned());
        }
        let after = explain(&model, fields(&facts), &[], 0).account;
        let expected = if next.reachable { next.level.min } else { next.most.unwrap() };
        prop_assert!(i64::from(after.score) >= expected, "{} instead of {}", after.score, expected);
        prop_assert_eq!(next.reachable, i64::from(after.score) >= next.level.min);
    }

    #[test]
    fn the_shortest_way_of_events_really_reaches_the_level(
        document in any_model(),
        leads in any_leads(),
    ) {
        let mut document = document;
        for rule in &mut document.engagement.rules {
            // Another rule that the same event meets must not take away what this one brings.
            rule.points = rule.points.abs();
        }
        let model = Model::compile(document).unwrap();
        let states = states_of(&model, &leads);
        let before = explain(&model, FieldFacts::new(), &states, 0).engagement;
        let Some(next) = before.level.next else { return Ok(()) };
        prop_assert!(next.reachable || next.ways.is_empty());
        if next.reachable && next.shortest.iter().map(|way| way.times).sum::<i64>() <= 200 {
            let after = explain(&model, FieldFacts::new(), &walked(&model, &states, &next.shortest), 0).engagement;
            prop_assert!(after.score >= next.level.min, "{} by {:?}", after.score, next.shortest);
        }
        if let Some(possible) = before.possible {
            prop_assert!(before.score <= possible);
        }
    }
}

fn any_leads() -> impl Strategy<Value = Vec<Vec<(usize, i32, u8)>>> {
    proptest::collection::vec(proptest::collection::vec((0_usize..7, 0_i32..60, 0_u8..4), 0..12), 0..6)
}

fn states_of(model: &Model, leads: &[Vec<(usize, i32, u8)>]) -> Vec<IdentityState> {
    let events = |events: &[(usize, i32, u8)]| -> Vec<_> {
        events.iter().enumerate().map(|(n, (name, age, asset))| (n, NAMES[*name], *age, *asset)).collect()
    };
    leads.iter().enumerate().map(|(i, lead)| state(model, &format!("lead-{i}"), &events(lead))).collect()
}

/// The states after the events that a way names, all of them today.
fn walked(model: &Model, states: &[IdentityState], ways: &[Way]) -> Vec<IdentityState> {
    let mut states = states.to_vec();
    let mut count = 500;
    for way in ways {
        let name = match way.rule_id.as_str() {
            "visit" | "pricing_page" => "page view",
            "download" => "content download",
            "email_click" => "email click",
            "linkedin_ad_click" => "linkedin ad click",
            "demo_request" => "demo request",
            _ => "sdr meeting",
        };
        for _ in 0..way.times {
            count += 1;
            let who = match way.by.as_ref().unwrap() {
                Who::Lead { lead_id, .. } => states.iter().position(|state| format!("ld_{}", state.identity.id()) == *lead_id).unwrap(),
                who => {
                    let name = match who {
                        Who::NewLead { number } => format!("new-{number}"),
                        _ => format!("another-{count}"),
                    };
                    states.iter().position(|state| state.identity.value == name).unwrap_or_else(|| {
                        states.push(state(model, &name, &[]));
                        states.len() - 1
                    })
                }
            };
            // Each in a session of its own, with its own asset, mail and campaign.
            let mut event = event(0, name, 0, 0);
            event.message_id = MessageId::new(&format!("way-{count}")).unwrap();
            let own = format!("own-{count}");
            let properties =
                serde_json::json!({ "asset": own, "email_id": own, "campaign_id": own, "session_id": own, "path": "/pricing" });
            event.properties = crate::JsonObject::from_map(properties.as_object().unwrap());
            states[who].facts.absorb_all([&event], &model.matcher, &model.document.mapping);
        }
    }
    states
}

fn sum_of_rules(rules: &[AccountRuleLine], caps: &[crate::account_rules::CapLine]) -> i64 {
    let points = rules.iter().map(|rule| i64::from(rule.line.points));
    points.chain(caps.iter().map(|cap| i64::from(cap.points))).sum()
}

fn sums_of_leads(leads: &[LeadPart], others: Option<&Others>, score: i64) -> Result<(), TestCaseError> {
    let counts: i64 = leads.iter().map(|lead| lead.counts).sum();
    prop_assert_eq!(counts + others.map_or(0, |others| others.counts), score);
    for lead in leads {
        let rules: i64 = lead.rules.iter().map(|rule| rule.points).sum();
        prop_assert_eq!(rules + lead.cap.as_ref().map_or(0, |cap| cap.points), lead.score);
        for rule in &lead.rules {
            let days: i64 = rule.days.iter().map(|day| day.points).sum();
            prop_assert_eq!(days + rule.cap.as_ref().map_or(0, |cap| cap.points), rule.points);
        }
    }
    Ok(())
}
