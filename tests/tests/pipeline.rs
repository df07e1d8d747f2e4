//! From events to levels, through the real stages.

use domain::{DAY_MS, Home, Identity, IdentityId, NamedBy, Timestamp, transition::Changed};
use harpoon_tests::world::{START, World, event, group, home, identify, page, track};
use pipeline::AccountChanged;
use serde_json::json;

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

fn account_levels(changes: &[AccountChanged]) -> Vec<(Option<String>, String)> {
    let transitions = changes.iter().flat_map(|message| match message {
        AccountChanged::Transitions { changes, .. } => changes.clone(),
        AccountChanged::DeliveriesDue { .. } => Vec::new(),
    });
    transitions
        .flat_map(|change| change.transitions)
        .filter_map(|transition| match transition.change {
            Changed::AccountLevel { from, to } => Some((from, to)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn the_enterprise_account_of_the_seeds_scores_145_and_is_a_target() {
    let world = World::new();
    let traits = json!({ "employees": 5000, "revenue": 60_000_000, "country": "US", "industry": "Technology" });
    world.take(vec![group("m1", "u1", "acct_1", traits, start()).build()]).await.unwrap();
    let score = world.score_of("acct_1").await.unwrap();
    assert_eq!((score.account_score, score.possible, score.known, score.of), (145, 145, 4, 4));
    assert_eq!(world.standing_of("acct_1").await.unwrap().level.as_deref(), Some("target"));
    assert_eq!(account_levels(&world.changes()), [(None, "target".to_owned())]);
}

#[tokio::test]
async fn with_only_employees_known_it_scores_50_and_is_qualified() {
    let world = World::new();
    world.take(vec![group("m1", "u1", "acct_1", json!({ "employees": 5000 }), start()).build()]).await.unwrap();
    let score = world.score_of("acct_1").await.unwrap();
    assert_eq!((score.account_score, score.known, score.of), (50, 1, 4));
    assert_eq!(world.standing_of("acct_1").await.unwrap().level.as_deref(), Some("qualified"));
}

#[tokio::test]
async fn with_nothing_known_it_scores_0_and_is_low_priority_with_0_of_4_fields_known() {
    let world = World::new();
    world.take(vec![identify("m1", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    let score = world.score_of("quarrystone-mills.com").await.unwrap();
    assert_eq!((score.account_score, score.known, score.of), (0, 0, 4));
    assert_eq!(world.standing_of("quarrystone-mills.com").await.unwrap().level.as_deref(), Some("low_priority"));
}

#[tokio::test]
async fn a_visit_a_pricing_page_and_a_demo_request_add_up() {
    let world = World::new();
    let events = vec![
        identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(),
        page("m1", "u1", "s1", start()).build(),
        page("m2", "u1", "s1", start()).properties(json!({ "path": "/pricing" })).build(),
        track("m3", "u1", "Demo Requested", start()).build(),
        track("m4", "u1", "demo_requested", start().plus_millis(-3_600_000)).build(),
    ];
    world.take(events).await.unwrap();
    // One session 5, one pricing day 15, one demo request in 24 hours 50.
    let score = world.score_of("quarrystone-mills.com").await.unwrap();
    assert_eq!(score.engagement, 70);
    assert_eq!(score.total_leads, 1);
    assert_eq!(world.standing_of("quarrystone-mills.com").await.unwrap().engagement_level.as_deref(), Some("warm"));
    assert_eq!(world.standing_of("quarrystone-mills.com").await.unwrap().hottest.as_deref(), Some("hot"));
}

#[tokio::test]
async fn free_mail_people_stay_unresolved_and_meet_by_their_address() {
    let world = World::new();
    let events = vec![
        identify("m1", "u1", "ada.quarry@gmail.com", start()).build(),
        identify("m2", "u2", "Ada.Quarry@gmail.com", start()).build(),
        page("m3", "u2", "s1", start()).build(),
    ];
    world.take(events).await.unwrap();
    let place = world.home_of(&Identity::user("u1")).await.unwrap();
    assert_eq!(place, Home::Lead(IdentityId::of_address("ada.quarry@gmail.com")));
    assert_eq!(world.home_of(&Identity::user("u2")).await.unwrap(), place);
    let score = world.score_at(&place).await.unwrap();
    assert_eq!((score.total_leads, score.engagement), (1, 5));
}

#[tokio::test]
async fn an_anonymous_visitor_brings_the_past_along_when_identified() {
    let world = World::new();
    let visit = page("m1", "u1", "s1", start()).build();
    let anonymous = domain::Event { user_id: None, anonymous_id: Some("browser-1".into()), ..visit };
    world.take(vec![anonymous]).await.unwrap();
    assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), Home::Lead(Identity::anonymous("browser-1").id()));
    let known = identify("m2", "u1", "ada@quarrystone-mills.com", start()).anonymous("browser-1").build();
    world.take(vec![known]).await.unwrap();
    let account = home("quarrystone-mills.com").unwrap();
    assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), account);
    let score = world.score_at(&account).await.unwrap();
    assert_eq!((score.total_leads, score.engagement), (1, 5));
    // Where it came from is scored as empty.
    let left = world.score_at(&Home::Lead(Identity::anonymous("browser-1").id())).await.unwrap();
    assert_eq!((left.total_leads, left.engagement), (0, 0));
}

#[tokio::test]
async fn a_second_user_of_a_browser_is_not_the_first_one() {
    let world = World::new();
    let first = identify("m1", "u1", "ada@quarrystone-mills.com", start()).anonymous("browser-1").build();
    let second = identify("m2", "u2", "bo@fernhollow-labs.com", start().plus_millis(1000)).anonymous("browser-1").build();
    world.take(vec![second]).await.unwrap();
    assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), home("fernhollow-labs.com").unwrap());
    // The earlier event comes later, and wins.
    world.take(vec![first]).await.unwrap();
    assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), home("quarrystone-mills.com").unwrap());
    assert_eq!(world.score_of("fernhollow-labs.com").await.unwrap().total_leads, 1);
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().total_leads, 1);
}

#[tokio::test]
async fn an_account_with_an_id_absorbs_the_automatic_account_of_its_leads_domain() {
    let world = World::new();
    world
        .take(vec![identify("m1", "u1", "ada@quarrystone-mills.com", start()).build(), page("m2", "u1", "s1", start()).build()])
        .await
        .unwrap();
    let named = identify("m3", "u2", "bo@quarrystone-mills.com", start()).account("acct_9", NamedBy::AccountId).build();
    world.take(vec![named, page("m4", "u2", "s2", start()).build()]).await.unwrap();
    let score = world.score_of("acct_9").await.unwrap();
    assert_eq!((score.total_leads, score.engagement), (2, 10));
    assert_eq!(score.domain.as_deref(), Some("quarrystone-mills.com"));
    let absorbed = world.standing_of("quarrystone-mills.com").await.unwrap();
    assert_eq!(absorbed.merged_into.map(|id| id.to_string()).as_deref(), Some("acct_9"));
    // Who comes later goes there at once, and who was there before still counts there.
    world
        .take(vec![identify("m5", "u3", "cy@quarrystone-mills.com", start()).build(), page("m6", "u1", "s3", start()).build()])
        .await
        .unwrap();
    let score = world.score_of("acct_9").await.unwrap();
    assert_eq!((score.total_leads, score.engagement), (3, 15));
}

#[tokio::test]
async fn decay_lowers_a_level_at_the_right_moment_and_touches_nobody_else() {
    let world = World::new();
    world
        .take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(), track("m1", "u1", "demo request", start()).build()])
        .await
        .unwrap();
    world.take(vec![identify("n0", "u9", "bo@fernhollow-labs.com", start()).build()]).await.unwrap();
    let quiet = world.score_of("fernhollow-labs.com").await.unwrap();
    assert_eq!(quiet.due_at, None);
    assert_eq!(world.standing_of("quarrystone-mills.com").await.unwrap().engagement_level.as_deref(), Some("warm"));
    // 50 · 2^(−d/90) is shown as 50 on day 0 and 49.6 → 50 on day 1, 49.2 → 49 on day 2.
    let due = world.score_of("quarrystone-mills.com").await.unwrap().due_at;
    assert_eq!(due, Some(start().day().plus(2).start()));
    // Warm begins at 30 and is left 10 % below, under 27: 50 · 2^(−d/90) < 26.5 first on day 83 (26.4).
    let mut fell = None;
    for day in 1..=90 {
        world.clock.set(start().day().plus(day).start().plus_millis(rescore::SETTLED_MS));
        world.rescorer.run().await.unwrap();
        world.settle().await.unwrap();
        let standing = world.standing_of("quarrystone-mills.com").await.unwrap();
        if fell.is_none() && standing.engagement_level.as_deref() == Some("cold") {
            fell = Some(day);
        }
    }
    assert_eq!(fell, Some(83));
    assert_eq!(world.score_of("fernhollow-labs.com").await.unwrap(), quiet);
}

#[tokio::test]
async fn old_events_change_scores_and_notify_nobody() {
    let world = World::new();
    let old = start().plus_millis(-10 * DAY_MS);
    let events = vec![
        identify("m0", "u1", "ada@quarrystone-mills.com", old).received(start()).build(),
        track("m1", "u1", "demo request", old).received(start()).build(),
    ];
    world.take(events).await.unwrap();
    let changes = world.changes();
    let silent: Vec<bool> = changes
        .iter()
        .flat_map(|message| match message {
            AccountChanged::Transitions { changes, .. } => changes.clone(),
            AccountChanged::DeliveriesDue { .. } => Vec::new(),
        })
        .flat_map(|change| change.transitions)
        .map(|transition| transition.silent)
        .collect();
    assert!(!silent.is_empty() && silent.iter().all(|silent| *silent));
}

#[tokio::test]
async fn the_same_events_again_change_nothing() {
    let world = World::new();
    let events = vec![
        identify("m0", "u1", "ada@quarrystone-mills.com", start()).anonymous("b1").build(),
        page("m1", "u1", "s1", start()).build(),
        track("m2", "u1", "demo request", start()).build(),
    ];
    world.take(events.clone()).await.unwrap();
    let before = world.score_of("quarrystone-mills.com").await.unwrap();
    world.take(events.clone()).await.unwrap();
    world.take(events.into_iter().rev().collect()).await.unwrap();
    let after = world.score_of("quarrystone-mills.com").await.unwrap();
    assert_eq!((before.engagement, before.fresh, before.total_leads), (after.engagement, after.fresh, after.total_leads));
}

#[tokio::test]
async fn account_events_count_without_a_person() {
    let world = World::new();
    world.take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    let seen = event(domain::CallKind::AccountEvent, "m1", start())
        .named("SDR meeting")
        .account("quarrystone-mills.com", NamedBy::AccountEvent)
        .build();
    world.take(vec![seen]).await.unwrap();
    let score = world.score_of("quarrystone-mills.com").await.unwrap();
    assert_eq!((score.engagement, score.total_leads), (30, 1));
}

#[tokio::test]
async fn a_resolution_says_how_sure_it_is_and_what_else_it_could_have_been() {
    use domain::resolution::Method;
    let world = World::new();
    world.take(vec![identify("m1", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    world
        .take(vec![
            group("m2", "u9", "acct_fern", json!({}), start()).build(),
            identify("m3", "u9", "bo@fernhollow-labs.com", start()).build(),
        ])
        .await
        .unwrap();
    // Ada's browser says that she works with the other account: the named account wins, her address is the candidate.
    world.take(vec![track("m4", "u1", "signed up", start()).account("acct_fern", NamedBy::AccountId).build()]).await.unwrap();
    let mapping =
        world.homes().mapping(&world.workspace, &Identity::user("u1").id(), pipeline::Consistency::Strong).await.unwrap().unwrap();
    let resolution = mapping.record.resolution;
    assert_eq!((resolution.method, resolution.confidence), (Method::AccountId, 100));
    let candidates: Vec<(Method, &str)> =
        resolution.candidates.iter().map(|candidate| (candidate.method, candidate.account.as_str())).collect();
    assert_eq!(candidates, [(Method::EmailDomain, "quarrystone-mills.com")]);
}

#[tokio::test]
async fn an_identity_is_counted_anew_when_the_rules_count_something_else() {
    use domain::{engagement::EngagementRule, model::default_document};
    use pipeline::models::Models;
    let world = World::new();
    world
        .take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(), track("m1", "u1", "invoice paid", start()).build()])
        .await
        .unwrap();
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().engagement, 0);
    let mut document = default_document().unwrap();
    document.version = 2;
    let rule: EngagementRule =
        serde_json::from_value(json!({ "id": "paid", "name": "Paid", "points": 7, "events": ["Invoice Paid"] })).unwrap();
    document.engagement.rules.push(rule);
    let models = Models::new(std::sync::Arc::clone(&world.store), std::sync::Arc::clone(&world.clock));
    models.publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(60_000);
    world.take(vec![page("m2", "u1", "s1", world.now()).build()]).await.unwrap();
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().engagement, 12);
}

#[tokio::test]
async fn what_an_anonymous_visitor_said_about_the_account_holds_once_the_visitor_is_known() {
    let browser = Identity::anonymous("browser-1");
    let asks = || {
        let event = track("m1", "nobody", "Demo Requested", start()).account("acct_9", NamedBy::AccountId).build();
        domain::Event { user_id: None, anonymous_id: Some("browser-1".into()), ..event }
    };
    let says = || identify("m2", "u1", "ada@quarrystone-mills.com", start().plus_millis(1)).anonymous("browser-1").build();
    for order in [vec![asks(), says()], vec![says(), asks()]] {
        let world = World::new();
        for event in order {
            world.take(vec![event]).await.unwrap();
        }
        let account = home("acct_9").unwrap();
        assert_eq!(world.home_of(&Identity::user("u1")).await.unwrap(), account);
        assert_eq!(world.home_of(&browser).await.unwrap(), account);
        let score = world.score_of("acct_9").await.unwrap();
        assert_eq!((score.total_leads, score.engagement, score.domain.as_deref()), (1, 50, Some("quarrystone-mills.com")));
    }
}

#[tokio::test]
async fn an_address_given_before_the_log_in_finds_the_company() {
    let world = World::new();
    let form = identify("m1", "nobody", "ada@quarrystone-mills.com", start()).build();
    world.take(vec![domain::Event { user_id: None, anonymous_id: Some("browser-1".into()), ..form }]).await.unwrap();
    world.take(vec![track("m2", "u1", "signed up", start().plus_millis(1)).anonymous("browser-1").build()]).await.unwrap();
    assert_eq!(world.home_of(&Identity::user("u1")).await.unwrap(), home("quarrystone-mills.com").unwrap());
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().total_leads, 1);
}

#[tokio::test]
async fn who_loses_a_browser_to_an_earlier_user_loses_what_it_said_too() {
    let invited = track("m1", "nobody", "signed up", start()).account("acct_9", NamedBy::AccountId).build();
    let invited = domain::Event { user_id: None, anonymous_id: Some("browser-1".into()), ..invited };
    let later = identify("m2", "u2", "gus.free@gmail.com", start().plus_millis(2)).anonymous("browser-1").build();
    let earlier = identify("m3", "u1", "hal.free@gmail.com", start().plus_millis(1)).anonymous("browser-1").build();
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1]] {
        let world = World::new();
        let events = [invited.clone(), later.clone(), earlier.clone()];
        for place in order {
            world.take(vec![events[place].clone()]).await.unwrap();
        }
        let account = home("acct_9").unwrap();
        assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), account, "{order:?}");
        assert_eq!(world.home_of(&Identity::user("u1")).await.unwrap(), account, "{order:?}");
        let other = Home::Lead(IdentityId::of_address("gus.free@gmail.com"));
        assert_eq!(world.home_of(&Identity::user("u2")).await.unwrap(), other, "{order:?}");
    }
}
