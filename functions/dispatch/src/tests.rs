//! What destinations are sent: snapshots of both forms, and the limits that Slack sets, whatever anybody calls their company.

use crate::{
    LevelName, LevelNames, Person, Play,
    notice::{Notice, Snapshot, link},
    slack, webhook,
};
use domain::{
    AccountId, Home, Timestamp, TriggerId, WorkspaceId,
    transition::Transition,
    trigger::{Trigger, TriggerDraft},
};
use proptest::prelude::*;
use serde_json::{Value, json};

struct Given {
    workspace: WorkspaceId,
    trigger: Trigger,
    transition: Transition,
    snapshot: Snapshot,
    levels: LevelNames,
    base: String,
}

fn lead(n: u8) -> domain::IdentityId {
    domain::IdentityId::from_bytes([n; 16])
}

fn levels() -> LevelNames {
    let play = Play {
        targeting: "1:1 ads to the buying committee".into(),
        sales_motion: "Call within a day, executive sponsor".into(),
        success_metric: "Meeting within 14 days".into(),
    };
    let named = |id: &str, name: &str, play: Option<Play>| LevelName { id: id.into(), name: name.into(), play };
    LevelNames {
        account: vec![named("target", "Target", Some(play)), named("qualified", "Qualified", None)],
        engagement: vec![named("hot", "Hot", None)],
        lead: vec![named("very_hot", "Very Hot", None)],
        segments: Vec::new(),
    }
}

fn given(when: Value, change: Value) -> Given {
    let draft = TriggerDraft::read(&json!({"name": "New Targets", "when": when, "destinations": ["d"]})).unwrap();
    let at = Timestamp::parse("2026-11-21T20:06:54.123Z").unwrap();
    let score = json!({
        "stamp": 1, "inputs": 1, "fresh": 1, "as_of": 20_000, "model": 1, "account_score": 145, "possible": 145, "known": 4, "of": 4,
        "engagement": 85, "surge": false, "total_leads": 4, "name": "Northwind Looms", "domain": "northwind-looms.com", "owner": "kim",
        "tier": "1:1", "reasons": ["500 employees: +50", "industry textiles: +40", "in GB: +30", "a fourth one"],
        "leads": [{"id": lead(1).to_string(), "p": 50}, {"id": lead(2).to_string(), "p": 35}, {"id": lead(3).to_string(), "p": 0}, {"id": lead(4).to_string(), "p": 0}],
        "last_activity_at": at.plus_millis(-4_123).millis(),
        "fields": {"country": "GB", "employees": 500, "industry": "Textiles"}
    });
    let standing = json!({
        "served": 1, "inputs": 1, "fresh": 1, "seq": 7, "level": "target", "engagement_level": "hot", "account_score": 145, "engagement": 85,
        "surge": false, "total_leads": 4
    });
    Given {
        workspace: WorkspaceId::new("main").unwrap(),
        trigger: draft.start(TriggerId::new("trg_1").unwrap(), at),
        transition: serde_json::from_value(json!({"seq": 7, "at": at.millis(), "change": change, "cause": "score 50 → 145"})).unwrap(),
        snapshot: Snapshot {
            home: Home::Account(AccountId::new("northwind-looms.com").unwrap()),
            score: Some(serde_json::from_value(score).unwrap()),
            standing: Some(serde_json::from_value(standing).unwrap()),
            people: vec![
                Person {
                    lead: lead(1),
                    name: "kim@northwind-looms.com".into(),
                    did: vec!["requested a demo".into(), "saw the pricing page".into()],
                },
                Person { lead: lead(2), name: "robin@northwind-looms.com".into(), did: Vec::new() },
            ],
        },
        levels: levels(),
        base: "https://harpoon.example.com".into(),
    }
}

fn entered() -> Given {
    given(json!({"kind": "level_entered", "level": "target"}), json!({"what": "account_level", "from": "qualified", "to": "target"}))
}

impl Given {
    fn called(mut self, name: &str) -> Self {
        if let Some(score) = &mut self.snapshot.score {
            score.name = Some(name.to_owned());
        }
        self
    }

    fn slack(&self) -> Value {
        serde_json::from_str(&self.with(slack::body)).unwrap()
    }

    fn webhook(&self, fields: Option<&[String]>) -> Value {
        serde_json::from_str(&self.with(|notice| webhook::body(notice, fields))).unwrap()
    }

    fn with(&self, body: impl Fn(&Notice<'_>) -> String) -> String {
        let notice = Notice {
            workspace: &self.workspace,
            trigger: &self.trigger,
            transition: &self.transition,
            snapshot: &self.snapshot,
            levels: &self.levels,
            link: link(&self.base.parse().unwrap(), &self.snapshot.home),
        };
        body(&notice)
    }
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Every limit of Slack that a message could break, and that nothing in it can act on the reader.
fn within_limits(message: &Value) -> Result<(), TestCaseError> {
    prop_assert!(length(&message.to_string()) < 10_000, "{} characters", length(&message.to_string()));
    prop_assert!(message["text"].as_str().is_some_and(|text| !text.is_empty()));
    let blocks = message["blocks"].as_array().unwrap();
    prop_assert!((1..=50).contains(&blocks.len()));
    let mut texts = vec![(message["text"].clone(), 3_000)];
    for block in blocks {
        match block["type"].as_str().unwrap() {
            "header" => {
                prop_assert_eq!(&block["text"]["type"], "plain_text");
                texts.push((block["text"]["text"].clone(), 150));
            }
            "section" => {
                prop_assert!(block.get("text").is_some() || block.get("fields").is_some());
                texts.extend(block.get("text").map(|text| (text["text"].clone(), 3_000)));
                let fields = block["fields"].as_array().cloned().unwrap_or_default();
                prop_assert!(fields.len() <= 10);
                texts.extend(fields.into_iter().map(|field| (field["text"].clone(), 2_000)));
            }
            "context" => texts.extend(block["elements"].as_array().unwrap().iter().map(|element| (element["text"].clone(), 3_000))),
            other => prop_assert!(false, "unknown block {other}"),
        }
    }
    for (text, max) in texts {
        let text = text.as_str().unwrap().to_owned();
        prop_assert!((1..=max).contains(&length(&text)), "{} of {max}: {text}", length(&text));
        // The only thing in angle brackets is our own link.
        let without_link = text.replacen("<https://harpoon.example.com/", "", 1).replacen("|Open in Harpoon>", "", 1);
        prop_assert!(!without_link.contains(['<', '>']), "{text}");
        let bare = without_link.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
        prop_assert!(!bare.contains('&'), "{text}");
        let steers = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}');
        let found = text.chars().find(|c| (c.is_control() && *c != '\n') || steers(*c));
        prop_assert_eq!(found, None);
    }
    Ok(())
}

#[test]
fn slack_message_of_an_entered_level() {
    let message = entered().slack();
    within_limits(&message).unwrap();
    insta::assert_json_snapshot!(message);
}

#[test]
fn webhook_body_of_an_entered_level() {
    insta::assert_json_snapshot!(entered().webhook(None));
}

#[test]
fn only_the_chosen_fields_leave() {
    let fields = |chosen: Option<&[String]>| entered().webhook(chosen)["data"]["account"]["fields"].clone();
    assert_eq!(fields(None), json!({"country": "GB", "employees": 500, "industry": "Textiles"}));
    assert_eq!(fields(Some(&["country".to_owned(), "unknown".to_owned()])), json!({"country": "GB"}));
    assert_eq!(fields(Some(&[])), json!({}));
}

#[test]
fn every_kind_of_change_has_its_type_and_its_sentence() {
    let level = |what: &str, from: &str, to: &str| json!({"what": what, "from": from, "to": to, "lead": lead(1).to_string()});
    for (when, change, kind, headline) in [
        (
            json!({"kind": "level_entered", "level": "target"}),
            level("account_level", "qualified", "target"),
            "account.level_entered",
            "Northwind Looms is now Target",
        ),
        (
            json!({"kind": "level_left", "level": "target"}),
            level("account_level", "target", "qualified"),
            "account.level_left",
            "Northwind Looms is no longer Target",
        ),
        (
            json!({"kind": "level_entered", "level": "hot", "of": "engagement"}),
            level("engagement_level", "warm", "hot"),
            "account.engagement_level_entered",
            "Northwind Looms is now Hot in engagement",
        ),
        (
            json!({"kind": "level_left", "level": "hot", "of": "engagement"}),
            level("engagement_level", "hot", "warm"),
            "account.engagement_level_left",
            "Northwind Looms is no longer Hot in engagement",
        ),
        (
            json!({"kind": "level_entered", "level": "very_hot", "of": "lead"}),
            level("lead_level", "hot", "very_hot"),
            "lead.level_entered",
            "kim@northwind-looms.com of Northwind Looms is now Very Hot",
        ),
        (
            json!({"kind": "level_left", "level": "very_hot", "of": "lead"}),
            level("lead_level", "very_hot", "hot"),
            "lead.level_left",
            "kim@northwind-looms.com of Northwind Looms is no longer Very Hot",
        ),
        (json!({"kind": "surge_started"}), json!({"what": "surge", "active": true}), "account.surge_started", "Northwind Looms is surging"),
        (
            json!({"kind": "surge_ended"}),
            json!({"what": "surge", "active": false}),
            "account.surge_ended",
            "The surge of Northwind Looms has ended",
        ),
        (
            json!({"kind": "engagement_crossed", "threshold": 80}),
            json!({"what": "engagement", "from": 70, "to": 85}),
            "account.engagement_crossed",
            "Northwind Looms reached 80 engagement points",
        ),
        (
            json!({"kind": "engagement_crossed", "threshold": 80, "direction": "down"}),
            json!({"what": "engagement", "from": 85, "to": 70}),
            "account.engagement_crossed",
            "Northwind Looms fell below 80 engagement points",
        ),
    ] {
        let given = given(when, change);
        assert!(given.trigger.fires_on(&given.transition), "{headline}");
        let body = given.webhook(None);
        assert_eq!((body["type"].as_str(), body["data"]["headline"].as_str()), (Some(kind), Some(headline)));
        let message = given.slack();
        within_limits(&message).unwrap();
        // A lead's name is shortened in the header.
        let header = message["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(header.contains("Northwind Looms"), "{header}");
    }
}

#[test]
fn a_company_that_calls_itself_a_mention_mentions_nobody() {
    let message = entered().called("<!channel> & <@U0001> <https://phish.example|sign in>").slack();
    within_limits(&message).unwrap();
    assert!(!message.to_string().contains("<!channel>"));
    insta::assert_json_snapshot!(message);
}

#[test]
fn a_name_of_ten_thousand_characters_is_shortened() {
    for name in ["x".repeat(10_000), "&".repeat(10_000), "🧵".repeat(10_000), "\u{1d11e}<".repeat(5_000)] {
        let message = entered().called(&name).slack();
        within_limits(&message).unwrap();
    }
    insta::assert_json_snapshot!(entered().called(&"x".repeat(10_000)).slack()["blocks"][0]);
}

#[test]
fn a_name_that_turns_the_reading_direction_does_not() {
    let message = entered().called("Looms\u{202e}moc.elpmaxe\u{2066}\u{200f}\u{0}\u{1b}[31m\nInc").slack();
    within_limits(&message).unwrap();
    insta::assert_json_snapshot!(message["blocks"][0]);
}

#[test]
fn an_account_of_which_nothing_is_known_is_named_by_its_id() {
    let mut given = entered();
    (given.snapshot.score, given.snapshot.standing) = (None, None);
    let message = given.slack();
    within_limits(&message).unwrap();
    insta::assert_json_snapshot!(message);
    insta::assert_json_snapshot!(given.webhook(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_text_breaks_a_limit(texts in prop::collection::vec("\\PC{0,400}|[<>&|*_`\u{202e}\\x00-\\x1f]{0,400}", 12), id in "[^\\x00-\\x1f\\x7f-\\u{9f} ]{1,60}") {
        let mut given = entered();
        let [name, domain, owner, tier, one, two, three, lead, did, play, trigger, cause] = &texts[..] else { unreachable!() };
        if let Ok(id) = AccountId::new(&id) {
            given.snapshot.home = Home::Account(id);
        }
        let score = given.snapshot.score.as_mut().unwrap();
        (score.name, score.domain, score.owner, score.tier) = (Some(name.clone()), Some(domain.clone()), Some(owner.clone()), Some(tier.clone()));
        score.reasons = vec![one.clone(), two.clone(), three.clone()];
        given.snapshot.people[0] = Person { lead: self::lead(1), name: lead.clone(), did: vec![did.clone(); 4] };
        given.levels.account[0].name = play.clone();
        given.levels.account[0].play = Some(Play { targeting: play.clone(), sales_motion: play.clone(), success_metric: play.clone() });
        given.trigger.name = trigger.clone();
        given.transition.cause = cause.clone();
        within_limits(&given.slack())?;
        prop_assert!(given.webhook(None).is_object());
    }
}
