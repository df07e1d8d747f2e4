//! What a dry run foretells, against what a publication then does.

use domain::{
    DestinationId, Home, NamedBy, TriggerId,
    candidate::Days,
    dry_run::{ChangedHome, Comparison, Subject},
    engagement::{Aggregation, CountMode},
    model::{Model, ModelDocument},
    ruleset::{Content, LevelContent, RulesetKind},
    transition::{Changed, Transition},
    trigger::{Direction, Fire, FireMode, LevelOf, Trigger, When},
};
use harpoon_tests::{
    hooked::Hooked,
    world::{World, event, group, page, track},
};
use pipeline::{AccountChanged, Consistency, ManualClock, models::Models, parcels::Parcels, rehearse::Rehearsal};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

const ACCOUNTS: usize = 4;

fn models(world: &World) -> Models<Arc<Hooked>, Arc<ManualClock>> {
    Models::new(Arc::clone(&world.store), Arc::clone(&world.clock))
}

async fn homes(world: &World) -> Vec<Home> {
    let mut homes: Vec<Home> = (0..ACCOUNTS).map(|n| harpoon_tests::world::home(&format!("acct_{n}")).unwrap()).collect();
    homes.push(harpoon_tests::world::lead_home(&domain::Identity::user("drifter")));
    let mut there = Vec::new();
    for home in homes {
        if world.homes().standing(&world.workspace, &home, Consistency::Strong).await.unwrap().is_some() {
            there.push(home);
        }
    }
    there
}

fn triggers() -> Vec<Trigger> {
    let trigger = |n: usize, when: When| Trigger {
        id: TriggerId::new(&format!("trg_{n}")).unwrap(),
        name: format!("Trigger {n}"),
        enabled: true,
        when,
        filters: Vec::new(),
        fire: Fire { mode: FireMode::Always, cooldown_hours: 0 },
        destinations: vec![DestinationId::new("dst_1").unwrap()],
        created_at: domain::Timestamp::default(),
        version: 1,
    };
    vec![
        trigger(1, When::LevelEntered { level: "target".into(), of: LevelOf::Account }),
        trigger(2, When::LevelEntered { level: "hot".into(), of: LevelOf::Engagement }),
        trigger(3, When::LevelEntered { level: "warm".into(), of: LevelOf::Lead }),
        trigger(4, When::LevelLeft { level: "qualified".into(), of: LevelOf::Account }),
        trigger(5, When::EngagementCrossed { threshold: 40, direction: Direction::Up }),
        trigger(6, When::GridEntered { cell: domain::grade::GridCell::parse("D3").unwrap() }),
    ]
}

async fn rehearse(world: &World, old: &Model, new: &Model, subject: Subject) -> (Comparison, BTreeMap<Home, ChangedHome>) {
    let (homes, parcels) = (world.homes(), Parcels::new(Arc::clone(&world.store)));
    let triggers = triggers();
    let rehearsal = Rehearsal {
        homes: &homes,
        parcels: &parcels,
        workspace: &world.workspace,
        old,
        new,
        subject,
        triggers: &triggers,
        days: 28,
        now: world.now(),
    };
    let (comparison, changed) = rehearsal.compare(&self::homes(world).await).await.unwrap();
    (comparison, changed.into_iter().map(|changed| (changed.home.clone(), changed)).collect())
}

/// Publishes and brings it to every home, as a job does.
async fn publish(world: &World, document: &ModelDocument, notify: bool) {
    let mut document = document.clone();
    if notify {
        document.announced.push(document.version);
    }
    models(world).publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(31_000);
    touch(world).await;
}

async fn touch(world: &World) {
    let mut touched = pipeline::Homes::default();
    homes(world).await.into_iter().for_each(|home| touched.add(&world.workspace, home));
    pipeline::Queue::send(world.to_score.as_ref(), touched.touched()).await.unwrap();
    world.settle().await.unwrap();
}

fn transitions(world: &World) -> Vec<(Home, Transition)> {
    let messages = world.changes().into_iter();
    let changes = messages.flat_map(|message| match message {
        AccountChanged::Transitions { changes, .. } => changes,
        AccountChanged::DeliveriesDue { .. } => Vec::new(),
    });
    changes.flat_map(|change| change.transitions.into_iter().map(move |transition| (change.home.clone(), transition))).collect()
}

/// What people see of a home after it was scored and levelled.
async fn shown(
    world: &World,
    home: &Home,
) -> (i32, i64, Option<String>, Option<String>, Option<domain::grade::Grade>, Option<domain::grade::GridCell>) {
    let standing = world.standing_at(home).await.unwrap();
    (standing.account_score, standing.engagement, standing.level, standing.engagement_level, standing.grade, standing.grid)
}

#[derive(Debug, Clone)]
struct Deed {
    account: usize,
    who: u8,
    what: u8,
    hours: i64,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    (0..=ACCOUNTS, 0_u8..3, 0_u8..9, 0_i64..60).prop_map(|(account, who, what, hours)| Deed { account, who, what, hours })
}

async fn happen(world: &World, n: usize, deed: &Deed) {
    let (now, id) = (world.now(), format!("m{n}"));
    let user = if deed.account == ACCOUNTS { "drifter".to_owned() } else { format!("u{}-{}", deed.account, deed.who) };
    let account = format!("acct_{}", deed.account);
    let told = match deed.what {
        0 => page(&id, &user, &id, now).properties(json!({ "path": "/pricing" })),
        1 | 2 => track(&id, &user, "sdr meeting", now),
        3 => track(&id, &user, "demo request", now),
        4 => track(&id, &user, "trial started", now),
        5 if deed.account < ACCOUNTS => group(&id, &user, &account, json!({ "employees": 5000 }), now),
        6 if deed.account < ACCOUNTS => group(&id, &user, &account, json!({ "country": "US", "revenue": 60_000_000 }), now),
        7 if deed.account < ACCOUNTS => group(&id, &user, &account, json!({ "industry": "Finance", "employees": 10 }), now),
        _ => event(domain::CallKind::Track, &id, now).user(&user).named("content download").properties(json!({ "asset": n })),
    };
    let told = if deed.account == ACCOUNTS { told } else { told.account(&account, NamedBy::GroupId) };
    world.take(vec![told.build()]).await.unwrap();
    world.clock.advance(deed.hours * 3_600_000);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
}

/// A draft: of the account rules, the engagement rules, a level ruleset, or a level ruleset of a segment.
#[derive(Debug, Clone)]
enum Draft {
    Account(Vec<i32>, Option<i32>, bool),
    Engagement(Vec<i64>, i64, Aggregation, bool),
    Levels(i64),
    Segment(Segment),
}

/// Levels for accounts with so many employees, or of a known country, whose ranges are so many tenths as wide as usual.
#[derive(Debug, Clone)]
struct Segment {
    kind: RulesetKind,
    tenths: i64,
    by_size: bool,
}

fn any_segment() -> impl Strategy<Value = Segment> {
    let kind = prop_oneof![Just(RulesetKind::AccountLevels), Just(RulesetKind::LeadLevels), Just(RulesetKind::EngagementLevels)];
    (kind, 4_i64..25, any::<bool>()).prop_map(|(kind, tenths, by_size)| Segment { kind, tenths, by_size })
}

impl Segment {
    fn content(&self, id: &str, document: &ModelDocument) -> Content {
        let mut ruleset = document.levels(domain::segments::level_of(self.kind).unwrap()).clone();
        id.clone_into(&mut ruleset.id);
        for level in &mut ruleset.levels {
            (level.min, level.max) = (level.min * self.tenths / 10, None);
        }
        let when = if self.by_size {
            json!({ "field": "employees", "op": "gte", "value": 1000 })
        } else {
            json!({ "field": "country", "op": "exists" })
        };
        Content::Levels(LevelContent { segment: Some(serde_json::from_value(when).unwrap()), ..ruleset.into() })
    }
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let aggregation =
        prop_oneof![Just(Aggregation::Sum), Just(Aggregation::Max), (0_u32..=100).prop_map(|percent| Aggregation::Diminishing { percent })];
    prop_oneof![
        (prop::collection::vec(-20_i32..90, 4), prop::option::of(0_i32..120), any::<bool>())
            .prop_map(|(points, cap, out)| Draft::Account(points, cap, out)),
        (prop::collection::vec(-20_i64..80, 7), 0_i64..150, aggregation, any::<bool>())
            .prop_map(|(points, cap, aggregation, part)| Draft::Engagement(points, cap, aggregation, part)),
        (1_i64..19).prop_map(Draft::Levels),
        any_segment().prop_map(Draft::Segment),
    ]
}

impl Draft {
    fn content(&self, document: &ModelDocument) -> (RulesetKind, Content) {
        match self {
            Self::Account(points, cap, out) => {
                let mut ruleset = document.account.clone();
                (ruleset.cap, ruleset.version) = (*cap, 2);
                ruleset.rules.iter_mut().zip(points).for_each(|(rule, points)| rule.points = *points);
                if *out {
                    (ruleset.rules[3].points, ruleset.rules[3].disqualifies) = (0, true);
                }
                (RulesetKind::Account, Content::Account(ruleset))
            }
            Self::Engagement(points, cap, aggregation, part) => {
                let mut ruleset = document.engagement.clone();
                (ruleset.lead_cap, ruleset.aggregation, ruleset.version) = (*cap, aggregation.clone(), 2);
                ruleset.rules.iter_mut().zip(points).for_each(|(rule, points)| rule.points = *points);
                if *part {
                    ruleset.rules[0].part.events = vec!["trial started".to_owned()];
                    ruleset.rules[0].part.count = CountMode::Every;
                }
                (RulesetKind::Engagement, Content::Engagement(ruleset))
            }
            Self::Segment(segment) => (segment.kind, segment.content("drafted", document)),
            Self::Levels(by) => {
                let mut ruleset = document.account_levels.clone();
                for level in &mut ruleset.levels {
                    level.max = None;
                }
                ruleset.levels.iter_mut().skip(1).for_each(|level| level.min -= by);
                (RulesetKind::AccountLevels, Content::Levels(ruleset.into()))
            }
        }
    }
}

/// Counts the events of everybody by a model, as the job of a publication does before the new rules come into force.
async fn count_anew(world: &World, model: &Model) {
    let (homes, parcels) = (world.homes(), Parcels::new(Arc::clone(&world.store)));
    for home in self::homes(world).await {
        let partition = homes.partition(&world.workspace, &home, Consistency::Strong).await.unwrap();
        for stored in partition.states {
            pipeline::refold::refold(&homes, &parcels, &world.workspace, &stored.identity, model, world.now()).await.unwrap();
        }
    }
    touch(world).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_a_dry_run_foretells_is_what_publishing_does(
        history in prop::collection::vec(any_deed(), 1..18),
        segment in prop::option::of(any_segment()),
        draft in any_draft(),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let world = World::new();
            for trigger in triggers() {
                pipeline::notify::Triggers::new(Arc::clone(&world.store), Arc::clone(&world.clock)).put_new(&world.workspace, trigger).await.unwrap();
            }
            world.clock.advance(60_000);
            if let Some(segment) = &segment {
                let document = &models(&world).latest(&world.workspace).await.unwrap().document;
                let with = document.with(segment.kind, &segment.content("there", document), Days::default(), false);
                publish(&world, &with.document, false).await;
            }
            for (n, deed) in history.iter().enumerate() {
                happen(&world, n, deed).await;
            }
            let old = models(&world).latest(&world.workspace).await.unwrap();
            let (kind, content) = draft.content(&old.document);
            let candidate = old.document.with(kind, &content, Days::default(), false);
            let subject = Subject::of(kind, content.id(), candidate.drives_levels);
            // What only the candidate counts is counted first, under the old rules.
            if !candidate.new_parts.is_empty() {
                let mut preparing = old.document.clone();
                preparing.version += 1;
                preparing.kept_parts = candidate.new_parts.clone();
                let (foretold, before) = (old.document.with(kind, &content, Days::default(), false), old.clone());
                let foretold = Model::compile(foretold.announced().document).unwrap();
                let (in_memory, rows) = rehearse(&world, &before, &foretold, subject.clone()).await;
                publish(&world, &preparing, true).await;
                let preparing = models(&world).latest(&world.workspace).await.unwrap();
                count_anew(&world, &preparing).await;
                let counted = Model::compile(preparing.document.with(kind, &content, Days::default(), false).announced().document).unwrap();
                let (later, later_rows) = rehearse(&world, &preparing, &counted, subject.clone()).await;
                prop_assert_eq!(rows, later_rows);
                prop_assert_eq!((in_memory.account_levels, in_memory.lead_levels), (later.account_levels, later.lead_levels));
            }
            let old = models(&world).latest(&world.workspace).await.unwrap();
            let candidate = old.document.with(kind, &content, Days::default(), false);
            prop_assert!(candidate.new_parts.is_empty());
            let new = Model::compile(candidate.announced().document).unwrap();
            let mut before = BTreeMap::new();
            for home in homes(&world).await {
                before.insert(home.clone(), shown(&world, &home).await);
            }
            let (comparison, rows) = rehearse(&world, &old, &new, subject).await;
            world.changes();
            publish(&world, &new.document, false).await;
            for (home, was) in before {
                let now = shown(&world, &home).await;
                match rows.get(&home) {
                    None => prop_assert_eq!(&now, &was, "{}", home),
                    Some(row) => {
                        let then = (i32::try_from(row.new.account_score).unwrap(), row.new.engagement_score, row.new.account_level.clone(),
                            row.new.engagement_level.clone(), row.new.grade, row.new.grid);
                        prop_assert_eq!(&now, &then, "{}", home);
                    }
                }
            }
            // Dispatch gets the very transitions that were foretold, and triggers fire on them as often.
            let mut fired: BTreeMap<String, u64> = BTreeMap::new();
            for (home, transition) in transitions(&world) {
                prop_assert!(!transition.silent, "{:?} of {}", transition, home);
                for trigger in triggers().iter().filter(|trigger| trigger.fires_on(&transition)) {
                    *fired.entry(trigger.id.to_string()).or_default() += 1;
                }
            }
            let foretold: BTreeMap<String, u64> = comparison.fires.iter().map(|(id, fires)| (id.to_string(), fires.would_fire)).collect();
            prop_assert_eq!(fired, foretold);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn an_unannounced_publication_changes_levels_silently_and_names_itself_as_the_cause() {
    let world = World::new();
    happen(&world, 1, &Deed { account: 0, who: 0, what: 5, hours: 0 }).await;
    world.changes();
    let mut document = models(&world).latest(&world.workspace).await.unwrap().document.clone();
    document.version = 2;
    document.account.rules[0].points = 95;
    let what = "account ruleset `Enterprise B2B SaaS` version 2".to_owned();
    document.published = Some(domain::model::Published { at: world.now(), by: "dana".into(), why: "review".into(), what });
    publish(&world, &document, false).await;
    let changes: Vec<Transition> = transitions(&world).into_iter().map(|(_, transition)| transition).collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].change, Changed::AccountLevel { from: Some("qualified".into()), to: "target".into() });
    assert_eq!(
        (changes[0].silent, changes[0].cause.as_str()),
        (true, "account ruleset `Enterprise B2B SaaS` version 2: account score 50 → 95")
    );
    assert_eq!(world.standing_of("acct_0").await.unwrap().model, 2);
    document.version = 3;
    document.account.rules[0].points = 50;
    publish(&world, &document, true).await;
    assert_eq!(transitions(&world).iter().map(|(_, transition)| transition.silent).collect::<Vec<_>>(), [false]);
}

#[tokio::test]
async fn who_is_disqualified_falls_to_the_lowest_level_at_once_and_rises_at_once_again() {
    let world = World::new();
    let mut document = models(&world).latest(&world.workspace).await.unwrap().document.clone();
    document.version = 2;
    // Hysteresis and dwell would hold a fall back.
    (document.account_levels.hysteresis_percent, document.account_levels.dwell_hours) = (50, 720);
    (document.account.rules[3].points, document.account.rules[3].disqualifies) = (0, true);
    models(&world).publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(31_000);
    let state = async |id: &str, fields: serde_json::Value| {
        let told = group(id, "u1", "acct_0", fields, world.now());
        world.take(vec![told.build()]).await.unwrap();
        world.clock.advance(1_000);
        let standing = world.standing_of("acct_0").await.unwrap();
        (standing.account_score, standing.level.unwrap(), standing.grade.unwrap().to_string(), standing.grid.unwrap().to_string())
    };
    let all = json!({ "employees": 5000, "revenue": 60_000_000, "country": "US", "industry": "Mining" });
    // 50 + 45 + 20 of 115 possible; nobody did anything that counts, so Cold, the fourth from the top.
    assert_eq!(state("m1", all).await, (115, "target".into(), "A".into(), "A4".into()));
    assert_eq!(state("m2", json!({ "industry": "Finance" })).await, (115, "low_priority".into(), "F".into(), "F4".into()));
    assert_eq!(world.score_of("acct_0").await.unwrap().disqualified_by, ["industry"]);
    assert_eq!(state("m3", json!({ "industry": "Mining" })).await, (115, "target".into(), "A".into(), "A4".into()));
    let causes: Vec<String> = transitions(&world).into_iter().map(|(_, transition)| transition.cause).collect();
    assert!(causes.iter().any(|cause| cause == "disqualified by `In a target industry`"), "{causes:?}");
}

#[tokio::test]
async fn rulesets_beside_the_primary_ones_have_scores_of_their_own_while_they_are_in_force() {
    let world = World::new();
    happen(&world, 1, &Deed { account: 0, who: 0, what: 5, hours: 0 }).await;
    happen(&world, 2, &Deed { account: 0, who: 0, what: 3, hours: 0 }).await;
    let mut document = models(&world).latest(&world.workspace).await.unwrap().document.clone();
    document.version = 2;
    let mut beside = document.account.clone();
    (beside.id, beside.cap) = ("ars_second".to_owned(), Some(30));
    let today = world.now().day();
    document.other_accounts = vec![domain::model::Beside { ruleset: beside, starts_on: Some(today.plus(2)), ends_on: Some(today.plus(4)) }];
    let mut beside = document.engagement.clone();
    (beside.id, beside.lead_cap) = ("ers_second".to_owned(), 20);
    document.other_engagements = vec![domain::model::Beside { ruleset: beside, starts_on: None, ends_on: None }];
    publish(&world, &document, false).await;
    let others = async || {
        let record = world.score_of("acct_0").await.unwrap();
        (
            record.others.iter().map(|other| other.score).collect::<Vec<_>>(),
            record.other_engagements.iter().map(|other| other.score).collect::<Vec<_>>(),
        )
    };
    assert_eq!(others().await, (vec![], vec![20]));
    // It begins and ends at midnight although nothing happens.
    let mut seen = Vec::new();
    for _ in 0..6 {
        world.clock.advance(domain::DAY_MS);
        world.rescorer.run().await.unwrap();
        world.settle().await.unwrap();
        seen.push(others().await.0);
    }
    assert_eq!(seen, [vec![], vec![30], vec![30], vec![30], vec![], vec![]]);
}

#[tokio::test]
async fn one_account_is_explained_by_both_models() {
    let world = World::new();
    happen(&world, 1, &Deed { account: 0, who: 0, what: 5, hours: 0 }).await;
    let old = models(&world).latest(&world.workspace).await.unwrap();
    let mut draft = old.document.account.clone();
    draft.rules[0].points = 95;
    let candidate = old.document.with(RulesetKind::Account, &Content::Account(draft), Days::default(), false);
    let new = Model::compile(candidate.announced().document).unwrap();
    let (homes, parcels, triggers) = (world.homes(), Parcels::new(Arc::clone(&world.store)), triggers());
    let rehearsal = Rehearsal {
        homes: &homes,
        parcels: &parcels,
        workspace: &world.workspace,
        old: &old,
        new: &new,
        subject: Subject::Account {},
        triggers: &triggers,
        days: 0,
        now: world.now(),
    };
    let home = harpoon_tests::world::home("acct_0").unwrap();
    let one = rehearsal.one(&home, 10).await.unwrap().unwrap();
    assert_eq!((one.old.account.score, one.new.account.score), (50, 95));
    let current = |explanation: &domain::explain::Explanation| explanation.account.level.current.as_ref().unwrap().id.clone();
    assert_eq!((current(&one.old), current(&one.new)), ("qualified".to_owned(), "target".to_owned()));
    // Target is entered and Qualified left. 95 of 190 are 50 %, a C instead of a D.
    let names: Vec<&str> = one.notifications.iter().map(|foretold| foretold.name.as_str()).collect();
    assert_eq!((names, one.changed.unwrap().new.grade), (vec!["Trigger 1", "Trigger 4"], Some(domain::grade::Grade::C)));
    // Nothing was written.
    assert_eq!(world.standing_of("acct_0").await.unwrap().level.as_deref(), Some("qualified"));
}
