use super::*;
use domain::{
    BatchId, CallKind, Day, Event, Identity, MessageId, Order,
    evaluate::{Evaluation, Inputs},
    explain::{Explanation, HeldLevels},
    field::{FieldFact, FieldFacts, FieldName, FieldSource, FieldValue, Keep, Number},
    model::{Model, default_document},
    state::IdentityState,
};
use std::collections::BTreeMap;

const TODAY: Day = Day(20_778);

fn event(n: i64, name: &str, age_days: i32) -> Event {
    let at = TODAY.plus(-age_days).start().plus_millis(n * 60_000);
    let properties = serde_json::json!({ "asset": format!("asset-{n}"), "path": "/pricing" });
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
        properties: domain::JsonObject::from_map(properties.as_object().unwrap()),
        traits: None,
        context: None,
    }
}

/// What the API answers for these fields and these people: name, age in days, what they did.
fn explained(fields: &[(&str, FieldValue)], people: &[(&str, &[(i32, &str)])]) -> Explained {
    let model = Model::compile(default_document().unwrap()).unwrap();
    let mut own = FieldFacts::new();
    for (name, value) in fields {
        let fact = FieldFact::new(Some(value.clone()), Order::default(), FieldSource::Manual);
        own.merge(&FieldName::new(name).unwrap(), fact, Keep::Latest);
    }
    let states: Vec<IdentityState> = people
        .iter()
        .map(|(who, events)| {
            let mut state = IdentityState::new(Identity::user(who), &model.matcher);
            let events: Vec<Event> = (0..).zip(*events).map(|(n, (age, name))| event(n, name, *age)).collect();
            let batch = BatchId::new(TODAY.start(), 1);
            state.fold(batch, &events, None, TODAY.start(), &model.matcher, &model.document.mapping);
            state
        })
        .collect();
    let states = states.iter().map(|state| (state.identity.id(), state)).collect();
    let evaluation = Evaluation::new(&model, Inputs { own, states, stated: None, giant: false }, TODAY);
    let none = BTreeMap::new();
    let held = HeldLevels { account: Some("qualified"), engagement: None, leads: &none };
    let text = serde_json::to_string(&Explanation::new(&model, &evaluation, held, 100)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn account() -> Account {
    Account {
        account_id: "acct-quarrystone-mills".into(),
        domain: Some("quarrystone-mills.com".into()),
        name: Some("Quarrystone Mills".into()),
        ..Account::default()
    }
}

fn number(n: i64) -> FieldValue {
    FieldValue::Number(Number::whole(n).unwrap())
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

fn assert_fits(page: &str) {
    for line in page.lines() {
        assert!(line.chars().count() <= usize::from(WIDTH), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn an_explanation_is_printed_with_every_point_and_the_way_on() {
    let fields = [("employees", number(4_200)), ("country", text("France"))];
    let people: [(&str, &[(i32, &str)]); 2] = [
        ("ada", &[(1, "demo request"), (0, "page view"), (0, "page view"), (40, "download"), (3, "sdr meeting"), (2, "sdr meeting")]),
        ("bo", &[(21, "page view"), (2, "email click")]),
    ];
    let page = render(&account(), &explained(&fields, &people));
    assert_fits(&page);
    insta::assert_snapshot!(page);
}

#[test]
fn an_account_of_which_nothing_is_known_is_printed_too() {
    let page = render(&Account { account_id: "acct-1".into(), ..Account::default() }, &explained(&[], &[]));
    assert_fits(&page);
    insta::assert_snapshot!(page);
}

#[test]
fn the_sum_lines_are_the_scores() {
    let fields = [("employees", number(1_500)), ("revenue", number(60_000_000)), ("industry", text("Technology"))];
    let events: Vec<(i32, &str)> = (0..30).map(|n| (n % 6, "sdr meeting")).collect();
    let people: Vec<(String, &[(i32, &str)])> = (0..14).map(|n| (format!("person {n}"), events.as_slice())).collect();
    let people: Vec<(&str, &[(i32, &str)])> = people.iter().map(|(who, events)| (who.as_str(), *events)).collect();
    let explained = explained(&fields, &people);
    let page = render(&account(), &explained);
    assert_fits(&page);
    let sums: Vec<i64> = page
        .lines()
        .filter(|line| line.trim_start().starts_with("Sum"))
        .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
        .collect();
    // 50 + 45 + 30 of the fields; fourteen people at the limit of 100 each.
    assert_eq!(sums, [125, 1_400]);
    assert!(page.contains("4 more leads"));
}

#[test]
fn nothing_that_the_server_says_steers_the_terminal() {
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{202e}\u{0}long".repeat(200);
    let fields = [
        ("employees", text(&evil.chars().filter(|c| *c != '\0').take(900).collect::<String>())),
        ("country", text(&evil.chars().take(200).collect::<String>())),
    ];
    let name: &str = &evil;
    let people: [(&str, &[(i32, &str)]); 1] = [(name, &[(0, "demo request")])];
    let mut explained = explained(&fields, &people);
    explained.account.rules[0].name.clone_from(&evil);
    explained.engagement.leads[0].label.clone_from(&evil);
    let account = Account { name: Some(evil.clone()), domain: Some(evil.clone()), account_id: evil.clone(), ..Account::default() };
    let page = render(&account, &explained);
    for c in page.chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?}");
        assert!(!matches!(c, '\u{202a}'..='\u{202e}'), "{c:?}");
    }
}
