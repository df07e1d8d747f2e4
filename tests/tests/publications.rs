//! Publications: what they change, what they read, whom they tell, and what happens when two meet.

use domain::{
    RulesetId, Timestamp,
    engagement::EngagementRule,
    model::default_document,
    ruleset::{Content, RulesetKind},
    surge::SurgeSettings,
    transition::Changed,
};
use harpoon_tests::{
    hooked::Op,
    world::{START, World, group, identify, page, track},
};
use pipeline::{
    AccountChanged, Condition, Consistency, Item, Store, Table, Write,
    jobs::{JobState, Phase},
    rulesets::{Change, HeadPatch, NewRuleset, Plan, PublicationState, PublishError, Started},
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const ACCOUNT: &str = "quarrystone-mills.com";

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

fn id(text: &str) -> RulesetId {
    RulesetId::new(text).unwrap()
}

fn primary(kind: RulesetKind) -> RulesetId {
    id(match kind {
        RulesetKind::Account => "enterprise-b2b-saas",
        RulesetKind::Engagement => "default",
        RulesetKind::AccountLevels => "account",
        RulesetKind::LeadLevels => "lead",
        RulesetKind::EngagementLevels => "engagement",
    })
}

fn plan(world: &World, change: Change) -> Plan<'_> {
    Plan { workspace: &world.workspace, by: "dana", why: "quarterly review".into(), notify: false, change }
}

/// The draft of a ruleset, changed, and the change that publishes it.
async fn drafted(world: &World, kind: RulesetKind, edit: impl FnOnce(&mut Content)) -> Change {
    drafted_of(world, kind, primary(kind), edit).await
}

async fn drafted_of(world: &World, kind: RulesetKind, id: RulesetId, edit: impl FnOnce(&mut Content)) -> Change {
    let rulesets = world.rulesets();
    let ruleset = rulesets.find(&world.workspace, kind, &id).await.unwrap().unwrap();
    let mut content = ruleset.editable().unwrap().clone();
    edit(&mut content);
    let ruleset = rulesets.put_draft(&world.workspace, kind, &id, content, "kim", Some(ruleset.revision())).await.unwrap();
    Change::Ruleset { kind, id, revision: ruleset.revision() }
}

fn points(rule: &'static str, points: i32) -> impl FnOnce(&mut Content) {
    move |content| match content {
        Content::Account(ruleset) => ruleset.rules.iter_mut().find(|known| known.id == rule).unwrap().points = points,
        Content::Engagement(ruleset) => ruleset.rules.iter_mut().find(|known| known.id == rule).unwrap().points = points.into(),
        Content::Levels(_) => panic!("levels have no points"),
    }
}

fn new_rule(content: &mut Content) {
    let rule: EngagementRule =
        serde_json::from_value(json!({ "id": "paid", "name": "Paid", "points": 7, "events": ["Invoice Paid"] })).unwrap();
    let Content::Engagement(ruleset) = content else { panic!("not of events") };
    ruleset.rules.push(rule);
}

/// Publishes and brings it to everybody.
async fn publish(world: &World, change: Change) {
    let started = world.rulesets().publish(&plan(world, change)).await.unwrap();
    world.run_jobs().await.unwrap();
    if let Started::Job { job, model, .. } = started {
        let job = world.job_list().find(&world.workspace, &job.id).await.unwrap().unwrap().record;
        assert_eq!((job.state, job.percent, job.warnings), (JobState::Done, 100, Vec::new()));
        let result = job.result.unwrap();
        assert_eq!(result["left"], 0);
        assert!(result["model"].as_u64().unwrap() >= model);
    }
    assert_eq!(world.rulesets().publication(&world.workspace).await.unwrap(), None);
}

/// An account with 2,000 employees (50 points) and two people: one saw a page (5), the other paid an invoice and asked for a demo (50).
async fn world() -> World {
    let world = World::new();
    let events = vec![
        identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(),
        identify("m1", "u2", "bo@quarrystone-mills.com", start()).build(),
        page("m2", "u1", "s1", start()).build(),
        track("m3", "u2", "Invoice Paid", start()).build(),
        track("m4", "u2", "Demo Requested", start()).build(),
        group("m5", "u1", ACCOUNT, json!({ "employees": 2_000 }), start()).build(),
    ];
    world.take(events).await.unwrap();
    assert_eq!(scores(&world).await, (50, 55));
    world.changes();
    world
}

async fn scores(world: &World) -> (i32, i64) {
    let record = world.score_of(ACCOUNT).await.unwrap();
    (record.account_score, record.engagement)
}

/// Counts the reads of the event log from now on.
fn log_reads(world: &World) -> Arc<AtomicUsize> {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reads);
    world.store.fail(move |op| {
        let read = match op {
            Op::Read(key) => key.table == Table::Events,
            Op::ReadMany(keys) => keys.iter().any(|key| key.table == Table::Events),
            Op::Query(query) => query.table == Table::Events,
            Op::Scan(scan) => scan.table == Table::Events,
            _ => false,
        };
        counter.fetch_add(usize::from(read), Ordering::SeqCst);
        false
    });
    reads
}

fn dump(world: &World) -> Vec<Item> {
    world.store.memory.dump()
}

#[tokio::test]
async fn a_workspace_that_published_nothing_shows_the_built_in_rulesets_as_published() {
    let world = World::new();
    for kind in RulesetKind::ALL {
        let listed = world.rulesets().list(&world.workspace, kind).await.unwrap();
        assert_eq!(listed.len(), 1, "{kind}");
        assert_eq!((listed[0].head.id.clone(), listed[0].primary, listed[0].in_force), (primary(kind), true, true));
        let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
        assert_eq!((ruleset.head.version(), ruleset.seen, ruleset.draft, ruleset.content.is_some()), (1, 0, None, true));
        let versions = world.rulesets().versions(&world.workspace, kind, &primary(kind), None, 10).await.unwrap().unwrap();
        assert_eq!(versions.iter().map(|version| version.head.version).collect::<Vec<_>>(), [1]);
        assert!(versions[0].head.is_built_in());
    }
    assert!(dump(&world).is_empty());
}

#[tokio::test]
async fn a_published_draft_is_the_next_version_and_every_account_is_scored_by_it() {
    let world = world().await;
    let change = drafted(&world, RulesetKind::Account, points("employees", 60)).await;
    let started = world.rulesets().publish(&plan(&world, change)).await.unwrap();
    let Started::Job { version, model, .. } = started else { panic!("{started:?}") };
    assert_eq!((version, model), (Some(2), 2));
    assert_eq!(scores(&world).await, (50, 55));
    world.run_jobs().await.unwrap();
    assert_eq!(scores(&world).await, (60, 55));
    let kind = RulesetKind::Account;
    let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
    assert_eq!((ruleset.head.version(), ruleset.draft, ruleset.publication), (2, None, None));
    let versions = world.rulesets().versions(&world.workspace, kind, &primary(kind), None, 10).await.unwrap().unwrap();
    let told: Vec<_> = versions.iter().map(|v| (v.head.version, v.head.by.as_str(), v.head.why.as_str())).collect();
    assert_eq!(told, [(2, "dana", "quarterly review"), (1, "harpoon", "built in")]);
    assert!(versions[0].head.job.is_some());
    let older = world.rulesets().versions(&world.workspace, kind, &primary(kind), Some(2), 10).await.unwrap().unwrap();
    assert_eq!(older.len(), 1);
    // The possible points are those of the four rules: 60 + 45 + 20 + 30.
    assert_eq!((versions[0].head.possible, versions[0].head.rules), (Some(155), 4));
}

#[tokio::test]
async fn what_counts_nothing_new_reads_no_event_and_touches_no_state() {
    type Edit = fn(&mut Content);
    fn engagement(content: &mut Content) -> &mut domain::engagement::EngagementRuleset {
        let Content::Engagement(ruleset) = content else { panic!("not of events") };
        ruleset
    }
    // Two leads, the page view 5 and the demo request 50.
    let edits: [(&str, Edit, i64); 5] = [
        ("points", |content| engagement(content).rules[0].points = 8, 58),
        ("a cap of the lead", |content| engagement(content).lead_cap = 20, 25),
        ("a cap of the rule", |content| engagement(content).rules.iter_mut().find(|rule| rule.points == 50).unwrap().cap = 30, 35),
        ("aggregation", |content| engagement(content).aggregation = domain::engagement::Aggregation::Max, 50),
        ("a removal", |content| engagement(content).rules.retain(|rule| rule.id != "visit"), 50),
    ];
    for (what, edit, expected) in edits {
        let world = world().await;
        let states: Vec<Item> = dump(&world).into_iter().filter(|item| item.key.sk.starts_with("S#")).collect();
        let reads = log_reads(&world);
        let change = drafted(&world, RulesetKind::Engagement, edit).await;
        publish(&world, change).await;
        assert_eq!(scores(&world).await, (50, expected), "{what}");
        // Back to what it was: the removed rule's events are still counted.
        publish(&world, Change::Rollback { kind: RulesetKind::Engagement, id: primary(RulesetKind::Engagement), to: 1 }).await;
        assert_eq!(scores(&world).await, (50, 55), "{what}");
        assert_eq!(reads.load(Ordering::SeqCst), 0, "{what}");
        let after: Vec<Item> = dump(&world).into_iter().filter(|item| item.key.sk.starts_with("S#")).collect();
        assert_eq!(states, after, "{what}");
    }
}

#[tokio::test]
async fn a_new_part_is_counted_for_everybody_before_any_score_changes() {
    let world = world().await;
    let reads = log_reads(&world);
    let change = drafted(&world, RulesetKind::Engagement, new_rule).await;
    let Started::Job { job, .. } = world.rulesets().publish(&plan(&world, change.clone())).await.unwrap() else { panic!("no job") };
    let kind = RulesetKind::Engagement;
    let mut phases = Vec::new();
    for _ in 0..1_000 {
        let Some(next) = world.job_list().next_due().await.unwrap() else { break };
        let record = world.job_list().find(&world.workspace, &job.id).await.unwrap().unwrap().record;
        phases.push(record.phase().unwrap());
        let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
        if ruleset.publication.as_ref().is_some_and(|publication| publication.state == PublicationState::Preparing) {
            assert_eq!((scores(&world).await, ruleset.head.version(), ruleset.is_held()), ((50, 55), 1, true));
            let content = ruleset.editable().unwrap().clone();
            let refused = world.rulesets().put_draft(&world.workspace, kind, &primary(kind), content, "kim", None).await;
            assert!(matches!(refused, Err(PublishError::Running { job: running }) if running == job.id));
            let refused = world.rulesets().discard_draft(&world.workspace, kind, &primary(kind), None).await;
            assert!(matches!(refused, Err(PublishError::Running { .. })));
        }
        world.clock.set(next.max(world.now()));
        world.jobs.round().await.unwrap();
        world.settle().await.unwrap();
    }
    phases.dedup();
    assert_eq!(phases, [Phase::Settle, Phase::Fold, Phase::Switch, Phase::Rescore, Phase::Confirm]);
    assert_eq!(scores(&world).await, (50, 62));
    // Two people have parcels, and each is read once.
    assert_eq!(reads.load(Ordering::SeqCst), 2);
    let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
    assert_eq!((ruleset.head.version(), ruleset.draft), (2, None));
    // From now on its events count one by one.
    world.take(vec![track("m9", "u1", "invoice_paid", world.now()).build()]).await.unwrap();
    assert_eq!((scores(&world).await, reads.load(Ordering::SeqCst)), ((50, 69), 2));
}

#[tokio::test]
async fn an_event_that_comes_while_a_publication_is_prepared_counts_for_the_old_rules_and_then_for_the_new_ones() {
    let world = world().await;
    let change = drafted(&world, RulesetKind::Engagement, new_rule).await;
    world.rulesets().publish(&plan(&world, change)).await.unwrap();
    // By a resolver that still believes the older model, and by one that knows the newer one.
    world.take(vec![track("m6", "u1", "Invoice Paid", world.now()).build()]).await.unwrap();
    world.clock.advance(40_000);
    world.take(vec![track("m7", "u3", "Invoice Paid", world.now()).build()]).await.unwrap();
    assert_eq!(scores(&world).await, (50, 55));
    world.take(vec![identify("m8", "u3", "cy@quarrystone-mills.com", world.now()).build()]).await.unwrap();
    world.run_jobs().await.unwrap();
    assert_eq!(scores(&world).await, (50, 55 + 3 * 7));
}

#[tokio::test]
async fn a_publication_that_is_given_up_leaves_the_old_rules_and_the_draft() {
    let world = world().await;
    let change = drafted(&world, RulesetKind::Engagement, new_rule).await;
    let Started::Job { job, .. } = world.rulesets().publish(&plan(&world, change.clone())).await.unwrap() else { panic!("no job") };
    world.jobs.round().await.unwrap();
    let record = world.job_list().cancel(&world.workspace, &job.id).await.unwrap();
    assert_eq!(record.state, JobState::Cancelled);
    world.run_jobs().await.unwrap();
    assert_eq!(scores(&world).await, (50, 55));
    let kind = RulesetKind::Engagement;
    let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
    assert_eq!((ruleset.head.version(), ruleset.revision(), ruleset.publication), (1, 1, None));
    // It can be published after all.
    publish(&world, change).await;
    assert_eq!(scores(&world).await, (50, 62));
}

#[tokio::test]
async fn publishing_what_is_published_already_changes_nothing() {
    let world = world().await;
    let before = dump(&world);
    let kind = RulesetKind::Account;
    for change in [
        Change::Rollback { kind, id: primary(kind), to: 1 },
        Change::Surge { settings: SurgeSettings::Relative(Default::default()) },
        Change::Mapping { mapping: default_document().unwrap().mapping, source_order: None },
        Change::Head { kind, id: primary(kind), patch: HeadPatch { primary: Some(true), enabled: Some(true), ..HeadPatch::default() } },
    ] {
        assert_eq!(world.rulesets().publish(&plan(&world, change)).await.unwrap(), Started::Unchanged);
        assert_eq!(dump(&world), before);
    }
    // A draft without differences goes, and that is all.
    let change = drafted(&world, kind, |_| {}).await;
    assert_eq!(world.rulesets().publish(&plan(&world, change)).await.unwrap(), Started::Unchanged);
    let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
    assert_eq!((ruleset.draft, ruleset.head.version(), ruleset.model_version), (None, 1, 1));
    let rest = |items: Vec<Item>| items.into_iter().filter(|item| item.key.table != Table::Config).collect::<Vec<_>>();
    assert_eq!(rest(dump(&world)), rest(before));
}

#[tokio::test]
async fn the_same_rules_published_again_lead_to_the_same_scores_and_levels() {
    let world = world().await;
    let (score, standing) = (world.score_of(ACCOUNT).await.unwrap(), world.standing_of(ACCOUNT).await.unwrap());
    let kind = RulesetKind::Account;
    let change = drafted(&world, kind, points("employees", 51)).await;
    publish(&world, change).await;
    publish(&world, Change::Rollback { kind, id: primary(kind), to: 1 }).await;
    let (after, stands) = (world.score_of(ACCOUNT).await.unwrap(), world.standing_of(ACCOUNT).await.unwrap());
    assert_eq!(
        (after.account_score, after.engagement, after.fields, after.inputs),
        (score.account_score, score.engagement, score.fields, score.inputs)
    );
    assert_eq!((stands.level, stands.engagement_level, stands.seq), (standing.level, standing.engagement_level, standing.seq));
    assert_eq!(world.changes(), []);
    let ruleset = world.rulesets().find(&world.workspace, kind, &primary(kind)).await.unwrap().unwrap();
    let published = ruleset.head.published.unwrap();
    assert_eq!((published.version, published.copied_from), (3, Some(1)));
}

#[tokio::test]
async fn of_two_publications_at_once_one_wins_and_the_other_is_told_of_its_job() {
    let world = Arc::new(world().await);
    let first = drafted(&world, RulesetKind::Account, points("employees", 60)).await;
    let second = drafted(&world, RulesetKind::Engagement, points("visit", 6)).await;
    let (elsewhere, theirs) = (Arc::clone(&world), first.clone());
    world.store.before(|op| op.writes("model"), async move {
        elsewhere.rulesets().publish(&plan(&elsewhere, theirs)).await.unwrap();
    });
    let error = world.rulesets().publish(&plan(&world, second)).await.unwrap_err();
    let PublishError::Running { job } = error else { panic!("{error:?}") };
    assert!(world.store.all_fired());
    // So is who comes while the job runs.
    let again = world.rulesets().publish(&plan(&world, first)).await.unwrap_err();
    assert!(matches!(again, PublishError::Running { job: running } if running == job));
    world.run_jobs().await.unwrap();
    assert_eq!(scores(&world).await, (60, 55));
}

#[tokio::test]
async fn who_publishes_after_somebody_who_needed_no_job_is_told_of_the_version() {
    let world = Arc::new(world().await);
    let change = drafted(&world, RulesetKind::Account, points("employees", 60)).await;
    let elsewhere = Arc::clone(&world);
    world.store.before(|op| op.writes("model"), async move {
        let renamed = drafted(&elsewhere, RulesetKind::AccountLevels, |content| {
            let Content::Levels(levels) = content else { panic!("no levels") };
            levels.ruleset.levels[0].name = "Not yet".into();
        });
        let started = elsewhere.rulesets().publish(&plan(&elsewhere, renamed.await)).await.unwrap();
        assert_eq!(started, Started::AtOnce { version: Some(2), model: Some(2) });
    });
    let error = world.rulesets().publish(&plan(&world, change)).await.unwrap_err();
    assert!(matches!(&error, PublishError::Published { version: 2, by, at } if by == "dana" && *at == world.now()), "{error:?}");
}

#[tokio::test]
async fn a_draft_that_is_edited_while_it_is_published_is_not_published() {
    let world = Arc::new(world().await);
    let change = drafted(&world, RulesetKind::Account, points("employees", 60)).await;
    let elsewhere = Arc::clone(&world);
    world.store.before(|op| op.writes("model"), async move {
        drafted(&elsewhere, RulesetKind::Account, points("employees", 70)).await;
    });
    let error = world.rulesets().publish(&plan(&world, change)).await.unwrap_err();
    assert!(matches!(error, PublishError::Stale { revision: 2 }), "{error:?}");
    // A revision never means two drafts, not even when one was thrown away in between.
    world.rulesets().discard_draft(&world.workspace, RulesetKind::Account, &primary(RulesetKind::Account), Some(2)).await.unwrap();
    let change = drafted(&world, RulesetKind::Account, points("employees", 80)).await;
    assert!(matches!(change, Change::Ruleset { revision: 3, .. }), "{change:?}");
}

#[tokio::test]
async fn of_two_primaries_at_once_one_is_the_primary() {
    let world = Arc::new(world().await);
    let kind = RulesetKind::Account;
    for name in ["one", "two"] {
        let mut content = Content::Account(default_document().unwrap().account);
        points("employees", if name == "one" { 10 } else { 20 })(&mut content);
        let new = NewRuleset { kind, id: id(name), content, enabled: true, starts_on: None, ends_on: None };
        world.rulesets().create(&world.workspace, new, "kim").await.unwrap();
        publish(&world, Change::Ruleset { kind, id: id(name), revision: 1 }).await;
    }
    let made = |name: &str| Change::Head { kind, id: id(name), patch: HeadPatch { primary: Some(true), ..HeadPatch::default() } };
    let elsewhere = Arc::clone(&world);
    let theirs = made("one");
    world.store.before(|op| op.writes("model"), async move {
        elsewhere.rulesets().publish(&plan(&elsewhere, theirs)).await.unwrap();
    });
    let error = world.rulesets().publish(&plan(&world, made("two"))).await.unwrap_err();
    assert!(matches!(error, PublishError::Running { .. }), "{error:?}");
    world.run_jobs().await.unwrap();
    let listed = world.rulesets().list(&world.workspace, kind).await.unwrap();
    let told: Vec<_> = listed.iter().map(|ruleset| (ruleset.head.id.as_str(), ruleset.primary, ruleset.in_force)).collect();
    assert_eq!(told, [("one", true, true), ("enterprise-b2b-saas", false, true), ("two", false, true)]);
    assert_eq!(scores(&world).await, (10, 55));
}

#[tokio::test]
async fn the_primary_ruleset_stays_until_another_one_takes_its_place() {
    let world = world().await;
    let kind = RulesetKind::Account;
    let rulesets = world.rulesets();
    let head = |patch: HeadPatch| Change::Head { kind, id: primary(kind), patch };
    for patch in [
        HeadPatch { enabled: Some(false), ..HeadPatch::default() },
        HeadPatch { primary: Some(false), ..HeadPatch::default() },
        HeadPatch { ends_on: Some(Some(world.now().day().plus(9))), ..HeadPatch::default() },
    ] {
        assert!(matches!(rulesets.publish(&plan(&world, head(patch))).await, Err(PublishError::Primary)));
    }
    assert!(matches!(rulesets.delete(&world.workspace, kind, &primary(kind)).await, Err(PublishError::Primary)));
    let content = Content::Account(default_document().unwrap().account);
    let new = NewRuleset { kind, id: id("second"), content, enabled: true, starts_on: None, ends_on: None };
    rulesets.create(&world.workspace, new.clone(), "kim").await.unwrap();
    assert!(matches!(rulesets.create(&world.workspace, new, "kim").await, Err(PublishError::Taken)));
    let second = |patch: HeadPatch| Change::Head { kind, id: id("second"), patch };
    let become_primary = || second(HeadPatch { primary: Some(true), ..HeadPatch::default() });
    assert!(matches!(rulesets.publish(&plan(&world, become_primary())).await, Err(PublishError::Invalid(_))));
    publish(&world, Change::Ruleset { kind, id: id("second"), revision: 1 }).await;
    assert!(matches!(rulesets.delete(&world.workspace, kind, &id("second")).await, Err(PublishError::Enabled)));
    publish(&world, become_primary()).await;
    publish(&world, head(HeadPatch { enabled: Some(false), ..HeadPatch::default() })).await;
    rulesets.delete(&world.workspace, kind, &primary(kind)).await.unwrap();
    let listed = rulesets.list(&world.workspace, kind).await.unwrap();
    assert_eq!(listed.iter().map(|ruleset| ruleset.head.id.as_str()).collect::<Vec<_>>(), ["second"]);
    assert_eq!(rulesets.find(&world.workspace, kind, &primary(kind)).await.unwrap(), None);
}

#[tokio::test]
async fn an_end_before_the_start_is_refused() {
    let world = World::new();
    let kind = RulesetKind::Account;
    let content = Content::Account(default_document().unwrap().account);
    let (first, last) = (world.now().day().plus(3), world.now().day().plus(2));
    let new = NewRuleset { kind, id: id("x"), content, enabled: true, starts_on: Some(first), ends_on: Some(last) };
    let error = world.rulesets().create(&world.workspace, new, "kim").await.unwrap_err();
    let PublishError::Invalid(problems) = error else { panic!("{error:?}") };
    assert_eq!(problems.0[0].pointer, "/ends_on");
    assert!(dump(&world).is_empty());
}

/// Every transition that dispatch was told of: the level reached, and whether it is silent.
fn told(world: &World) -> Vec<(String, bool)> {
    let mut told = Vec::new();
    for message in world.changes() {
        let AccountChanged::Transitions { changes, .. } = message else { continue };
        for transition in changes.into_iter().flat_map(|change| change.transitions) {
            if let Changed::AccountLevel { to, .. } | Changed::EngagementLevel { to, .. } = transition.change {
                told.push((to, transition.silent));
            }
        }
    }
    told
}

#[tokio::test]
async fn a_publication_notifies_nobody_unless_it_is_asked_to() {
    for notify in [false, true] {
        let world = world().await;
        // 50 points are Qualified, 95 are Target.
        let change = drafted(&world, RulesetKind::Account, points("employees", 95)).await;
        world.rulesets().publish(&Plan { notify, ..plan(&world, change) }).await.unwrap();
        world.run_jobs().await.unwrap();
        assert_eq!(told(&world), [("target".to_owned(), !notify)]);
    }
}

#[tokio::test]
async fn a_publication_that_counts_something_new_notifies_exactly_when_it_is_asked_to() {
    for notify in [false, true] {
        let world = world().await;
        // 55 points are Warm, 55 + 7 × 4 = 83 are Hot.
        let change = drafted(&world, RulesetKind::Engagement, |content| {
            new_rule(content);
            points("paid", 28)(content);
        });
        let change = change.await;
        world.rulesets().publish(&Plan { notify, ..plan(&world, change) }).await.unwrap();
        world.run_jobs().await.unwrap();
        assert_eq!(scores(&world).await, (50, 83));
        assert_eq!(told(&world), [("hot".to_owned(), !notify)]);
    }
}

#[tokio::test]
async fn a_publication_stays_silent_for_an_account_whose_levels_saw_it_before_its_scores_did() {
    let world = world().await;
    let change = drafted(&world, RulesetKind::Account, points("employees", 95)).await;
    world.rulesets().publish(&plan(&world, change)).await.unwrap();
    // A scorer that still believes the older model, and a leveler that knows the newer one.
    let message = world.message(vec![page("m9", "u1", "s2", world.now()).build()]);
    world.run(&world.resolver, message).await.unwrap();
    for hint in world.touched() {
        world.run(&world.scorer, hint).await.unwrap();
    }
    let leveler = level::Leveler::new(
        Arc::clone(&world.store),
        Arc::clone(&world.to_dispatch),
        Arc::clone(&world.clock),
        Arc::new(pipeline::clock::CountingEntropy::default()),
    );
    for hint in world.scored() {
        world.run(&leveler, hint).await.unwrap();
    }
    let standing = world.standing_of(ACCOUNT).await.unwrap();
    assert_eq!((standing.model, standing.scored_by, standing.account_score), (2, Some(1), 50));
    world.run_jobs().await.unwrap();
    let standing = world.standing_of(ACCOUNT).await.unwrap();
    assert_eq!((standing.model, standing.scored_by, standing.account_score), (2, None, 95));
    assert_eq!(told(&world), [("target".to_owned(), true)]);
}

fn engagement_ruleset(edit: impl FnOnce(&mut Vec<EngagementRule>)) -> Content {
    let mut ruleset = default_document().unwrap().engagement;
    ruleset.rules.clear();
    edit(&mut ruleset.rules);
    Content::Engagement(ruleset)
}

fn paid(points: i64) -> EngagementRule {
    serde_json::from_value(json!({ "id": "paid", "name": "Paid", "points": points, "events": ["Invoice Paid"] })).unwrap()
}

#[tokio::test]
async fn a_second_ruleset_is_scored_beside_the_primary_one_once_it_is_enabled_and_its_events_are_counted() {
    let world = world().await;
    let kind = RulesetKind::Engagement;
    let content = engagement_ruleset(|rules| rules.push(paid(9)));
    let new = NewRuleset { kind, id: id("second"), content, enabled: false, starts_on: None, ends_on: None };
    world.rulesets().create(&world.workspace, new, "kim").await.unwrap();
    let started = world.rulesets().publish(&plan(&world, Change::Ruleset { kind, id: id("second"), revision: 1 })).await.unwrap();
    assert_eq!(started, Started::AtOnce { version: Some(1), model: None });
    let enabled = |enabled| Change::Head { kind, id: id("second"), patch: HeadPatch { enabled: Some(enabled), ..HeadPatch::default() } };
    publish(&world, enabled(true)).await;
    let others = world.score_of(ACCOUNT).await.unwrap().other_engagements;
    assert_eq!(others.iter().map(|other| (other.ruleset.as_str(), other.score)).collect::<Vec<_>>(), [("second", 9)]);
    assert_eq!(scores(&world).await, (50, 55));
    // Disabled and enabled again, no event is read: it stayed counted.
    let reads = log_reads(&world);
    publish(&world, enabled(false)).await;
    assert!(world.score_of(ACCOUNT).await.unwrap().other_engagements.is_empty());
    publish(&world, enabled(true)).await;
    assert_eq!(world.score_of(ACCOUNT).await.unwrap().other_engagements.len(), 1);
    assert_eq!(reads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_ruleset_that_begins_tomorrow_and_ends_the_day_after_is_scored_on_these_days_without_any_event() {
    let world = world().await;
    let kind = RulesetKind::Account;
    let content = Content::Account(default_document().unwrap().account);
    let today = world.now().day();
    let (first, last) = (Some(today.plus(1)), Some(today.plus(2)));
    let new = NewRuleset { kind, id: id("soon"), content, enabled: true, starts_on: first, ends_on: last };
    world.rulesets().create(&world.workspace, new, "kim").await.unwrap();
    publish(&world, Change::Ruleset { kind, id: id("soon"), revision: 1 }).await;
    for (days, scored) in [(0, false), (1, true), (2, true), (3, false)] {
        let moment = today.plus(days).start().plus_millis(60_000);
        world.clock.set(world.now().max(moment));
        world.rescorer.run().await.unwrap();
        world.settle().await.unwrap();
        let record = world.score_of(ACCOUNT).await.unwrap();
        assert_eq!(record.others.iter().map(|other| other.score).collect::<Vec<_>>(), if scored { vec![50] } else { vec![] }, "{days}");
        let listed = world.rulesets().list(&world.workspace, kind).await.unwrap();
        assert_eq!(listed.iter().find(|ruleset| ruleset.head.id == id("soon")).unwrap().in_force, scored, "{days}");
    }
}

#[tokio::test]
async fn a_level_that_an_enabled_trigger_names_stays() {
    let world = world().await;
    let triggers = pipeline::notify::Triggers::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    let draft = json!({ "name": "New Targets", "when": { "kind": "level_entered", "level": "target" }, "destinations": ["d"] });
    let trigger = domain::trigger::TriggerDraft::read(&draft).unwrap().start(domain::TriggerId::new("t").unwrap(), world.now());
    triggers.put_new(&world.workspace, trigger).await.unwrap();
    let change = drafted(&world, RulesetKind::AccountLevels, |content| {
        let Content::Levels(levels) = content else { panic!("no levels") };
        levels.ruleset.levels.retain(|level| level.id != "target");
    });
    let error = world.rulesets().publish(&plan(&world, change.await)).await.unwrap_err();
    let PublishError::Referenced { level, triggers } = error else { panic!("{error:?}") };
    assert_eq!((level.as_str(), triggers[0].1.as_str()), ("target", "New Targets"));
}

#[tokio::test]
async fn what_does_not_fit_an_item_is_refused_with_its_size() {
    let world = World::new();
    // A thousand rules with filters that nothing can compress: 64 digests of eight bytes each, in hexadecimal digits.
    let content = engagement_ruleset(|rules| {
        for n in 0..1_000_u64 {
            let values: Vec<String> =
                (0..64_u64).map(|i| format!("{:016x}", domain::hash64(&[&n.to_le_bytes(), &i.to_le_bytes()]))).collect();
            let rule = json!({ "id": format!("r{n}"), "name": "r", "points": 1, "events": ["x"],
                "filters": [{ "paths": ["properties.a"], "op": "in", "value": values }] });
            rules.push(serde_json::from_value(rule).unwrap());
        }
    });
    let kind = RulesetKind::Engagement;
    let error = world.rulesets().put_draft(&world.workspace, kind, &primary(kind), content, "kim", None).await.unwrap_err();
    // 64,000 digests of eight bytes are 500 KB.
    assert!(matches!(error, PublishError::TooLarge { kib } if (500..900).contains(&kib)), "{error:?}");
    assert!(dump(&world).is_empty());
}

/// A resolver that was slow for longer than anybody is waited for writes a state that was counted by the old rules.
#[tokio::test]
async fn who_is_counted_by_old_rules_after_the_new_ones_hold_is_counted_anew_before_the_job_ends() {
    let world = Arc::new(world().await);
    let old: Vec<Item> = dump(&world).into_iter().filter(|item| item.key.sk.starts_with("S#")).collect();
    assert_eq!(old.len(), 2);
    let change = drafted(&world, RulesetKind::Engagement, new_rule).await;
    let slow = Arc::clone(&world);
    let began = AtomicUsize::new(0);
    // The second time the model is written is the switch.
    let switch = move |op: &Op<'_>| op.writes("model") && began.fetch_add(1, Ordering::SeqCst) == 1;
    world.store.before(switch, async move {
        for item in old {
            let now = slow.store.memory.read(&item.key, Consistency::Strong).await.unwrap().unwrap();
            let written = Item { version: now.version + 1, ..item };
            slow.store.memory.write(Write::Put(written, Condition::Always)).await.unwrap();
        }
    });
    publish(&world, change).await;
    assert!(world.store.all_fired());
    assert_eq!(scores(&world).await, (50, 62));
    assert_eq!(world.score_of(ACCOUNT).await.unwrap().stale, 0);
}
