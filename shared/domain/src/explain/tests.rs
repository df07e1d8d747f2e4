use super::*;
use crate::{
    CallKind, Event, Identity, MessageId, Order,
    decay::Decay,
    evaluate::Inputs,
    field::{FieldFact, FieldFacts, FieldName, FieldSource, FieldValue, Keep, Number},
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
    let evaluation = Evaluation::new(model, Inputs { own, states, giant: false }, Day(TODAY));
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
    // Without them 45 and 30 are needed.
    let ways: Vec<_> = part.level.next.unwrap().ways.iter().map(|way| way.points).collect();
    assert_eq!(ways, [45, 30]);
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

const NAMES: [&str; 7] =
    ["page view", "content download", "email click", "linkedin ad click", "demo request", "sdr meeting", "something else"];

fn any_decay() -> impl Strategy<Value = Decay> {
    prop_oneof![
        Just(Decay::None),
        (1_u32..100).prop_map(|days| Decay::HalfLife { days }),
        (1_u32..100).prop_map(|days| Decay::Linear { days }),
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
            document
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_explanation_sums_to_the_score_shown(
        document in any_model(),
        leads in proptest::collection::vec(proptest::collection::vec((0_usize..7, 0_i32..60, 0_u8..4), 0..12), 0..6),
        listed in 0_usize..7,
        employees in proptest::option::of(0_i64..3_000),
        country in proptest::option::of("[A-Z]{2}"),
    ) {
        let model = Model::compile(document).unwrap();
        let mut known = Vec::new();
        known.extend(employees.map(|n| ("employees", number(n))));
        known.extend(country.map(|country| ("country", text(&country))));
        let states: Vec<IdentityState> = leads
            .iter()
            .enumerate()
            .map(|(i, events)| {
                let events: Vec<_> = events.iter().enumerate().map(|(n, (name, age, asset))| (n, NAMES[*name], *age, *asset)).collect();
                state(&model, &format!("lead-{i}"), &events)
            })
            .collect();
        let explanation = explain(&model, fields(&known), &states, listed);

        let account = &explanation.account;
        let points: i64 = account.rules.iter().map(|rule| i64::from(rule.line.points)).sum();
        let caps: i64 = account.caps.iter().map(|cap| i64::from(cap.points)).sum();
        prop_assert_eq!(points + caps, i64::from(account.score));

        let engagement = &explanation.engagement;
        let counts: i64 = engagement.leads.iter().map(|lead| lead.counts).sum();
        prop_assert_eq!(counts + engagement.others.as_ref().map_or(0, |others| others.counts), engagement.score);
        for lead in &engagement.leads {
            let rules: i64 = lead.rules.iter().map(|rule| rule.points).sum();
            prop_assert_eq!(rules + lead.cap.as_ref().map_or(0, |cap| cap.points), lead.score);
            for rule in &lead.rules {
                let days: i64 = rule.days.iter().map(|day| day.points).sum();
                prop_assert_eq!(days + rule.cap.as_ref().map_or(0, |cap| cap.points), rule.points);
            }
        }
    }
}
