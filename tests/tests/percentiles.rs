//! Cut points are computed once, whatever happens to the workers.

use domain::{
    Day, NamedBy, RulesetId, Timestamp,
    account_rules::AccountRule,
    level::{Cut, Percentiles},
    ruleset::{Content, RulesetKind},
};
use harpoon_tests::{
    hooked::{Hooked, Op},
    world::{START, World, group},
};
use pipeline::{
    Table, Write,
    jobs::{JobKind, JobRecord, JobState},
    models::Models,
    rulesets::{Change, Plan, Subject},
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const KIND: RulesetKind = RulesetKind::AccountLevels;

fn id() -> RulesetId {
    RulesetId::new("account").unwrap()
}

/// 25 accounts with 1 to 25 points, and account levels for the best 8, 20 and 50 percent, computed again every week.
async fn world() -> World {
    let world = World::new();
    let models = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    let mut document = models.latest(&world.workspace).await.unwrap().document.clone();
    document.version = 2;
    let rule = |n: i64| -> AccountRule {
        let condition = serde_json::from_value(json!({ "field": "employees", "op": "gte", "value": n })).unwrap();
        AccountRule { id: format!("r{n}"), name: format!("{n}"), points: 1, disqualifies: false, group: None, condition }
    };
    document.account.rules = (1..=25).map(rule).collect();
    models.publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(31_000);
    for n in 1..=25 {
        let (id, account) = (format!("m{n}"), format!("acct_{n:02}"));
        let told = group(&id, &format!("u{n}"), &account, json!({ "employees": n }), world.now()).account(&account, NamedBy::GroupId);
        world.take(vec![told.build()]).await.unwrap();
        assert_eq!(world.score_of(&account).await.unwrap().account_score, n);
    }
    let ruleset = world.rulesets().find(&world.workspace, KIND, &id()).await.unwrap().unwrap();
    let Some(Content::Levels(mut levels)) = ruleset.content else { panic!("no levels") };
    let cuts = [("target", 8), ("qualified", 20), ("standard", 50)];
    let cuts = cuts.map(|(level, top_percent)| Cut { level: level.to_owned(), top_percent }).to_vec();
    levels.percentiles = Some(Percentiles { cuts, every_days: Some(7) });
    world.rulesets().put_draft(&world.workspace, KIND, &id(), Content::Levels(levels), "kim", Some(0)).await.unwrap();
    let change = Change::Ruleset { kind: KIND, id: id(), revision: 1 };
    let plan = Plan { workspace: &world.workspace, by: "dana", why: "sizes".into(), notify: false, change };
    world.rulesets().publish(&plan).await.unwrap();
    world.run_jobs().await.unwrap();
    world
}

async fn ask(world: &World) -> JobRecord {
    let kind = JobKind::Percentiles { of: Subject { kind: KIND, id: id() }, repeated: false };
    let job = JobRecord::new(domain::JobId::new("job_asked").unwrap(), kind, "dana", world.now());
    world.job_list().start(&world.workspace, &job).await.unwrap();
    job
}

/// Runs jobs to their end as far as failures let them, but not those of another day.
async fn run_whatever_happens(world: &World) {
    for _ in 0..5_000 {
        let worked = world.jobs.round().await.unwrap_or(0);
        world.settle().await.unwrap();
        let Some(next) = world.job_list().next_due().await.unwrap() else { return };
        if next.millis_since(world.now()) > domain::DAY_MS / 2 {
            return;
        }
        if worked == 0 {
            world.clock.set(next.max(world.now()));
        }
    }
    panic!("the jobs do not come to an end");
}

fn is_of_a_job(op: &Op<'_>) -> bool {
    let of = |write: &Write| write.key().table == Table::Config;
    match op {
        Op::Write(write) => of(write),
        Op::Transact(writes) => writes.iter().any(of),
        _ => false,
    }
}

/// Lets the `n`th write of a job's worker fail, before it happens or after. Answers how many there were so far.
fn break_write(store: &Hooked, n: usize, before: bool) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let chooses = move |op: &Op<'_>| is_of_a_job(op) && counter.fetch_add(1, Ordering::SeqCst) + 1 == n;
    if before {
        store.fail(chooses);
    } else {
        store.lose_answer(chooses);
    }
    seen
}

async fn is_finished(world: &World, asked: &JobRecord, what: &str) {
    let job = world.job_list().find(&world.workspace, &asked.id).await.unwrap().unwrap().record;
    assert_eq!(job.state, JobState::Done, "{what}: {job:?}");
    let ruleset = world.rulesets().find(&world.workspace, KIND, &id()).await.unwrap().unwrap();
    let mins: Vec<i64> = ruleset.content.as_ref().unwrap().levels().unwrap().ruleset.levels.iter().map(|level| level.min).collect();
    // Two are 8 % of 25, five are 20 %, twelve are at most 50 %.
    assert_eq!((mins, ruleset.head.version()), (vec![0, 14, 21, 24], 3), "{what}");
    let computed = ruleset.head.cut_points.unwrap();
    assert_eq!(computed.scores, 25, "{what}");
    let next = world.job_list().find(&world.workspace, &computed.next.unwrap()).await.unwrap().unwrap().record;
    let week = Timestamp::parse(START).unwrap().day().plus(7);
    assert_eq!((next.state, next.pointer.day()), (JobState::Waiting, week), "{what}");
    assert_eq!(world.rulesets().publication(&world.workspace).await.unwrap(), None, "{what}");
    let pointers = world.store.memory.dump().into_iter().filter(|item| item.key.pk == "JOBS").count();
    assert_eq!(pointers, 1, "{what}");
    let level = async |account: &str| world.standing_of(account).await.unwrap().level.unwrap();
    assert_eq!([level("acct_24").await, level("acct_23").await, level("acct_13").await], ["target", "qualified", "low_priority"], "{what}");
}

#[tokio::test]
async fn a_worker_may_die_before_or_after_any_of_its_writes() {
    let count = {
        let world = world().await;
        let asked = ask(&world).await;
        let seen = break_write(&world.store, usize::MAX, true);
        run_whatever_happens(&world).await;
        is_finished(&world, &asked, "undisturbed").await;
        seen.load(Ordering::SeqCst)
    };
    assert!(count >= 6, "{count}");
    for before in [true, false] {
        for n in 1..=count {
            let world = world().await;
            let asked = ask(&world).await;
            break_write(&world.store, n, before);
            run_whatever_happens(&world).await;
            is_finished(&world, &asked, &format!("write {n}, before: {before}")).await;
            assert!(world.store.all_fired(), "write {n}, before: {before}");
        }
    }
}

#[tokio::test]
async fn a_week_later_they_are_computed_again_and_nobody_is_told() {
    let world = world().await;
    ask(&world).await;
    world.run_jobs().await.unwrap();
    // Three more get 25 points: four share them, of whom no two can be told apart.
    for n in 22..25 {
        let (id, account) = (format!("n{n}"), format!("acct_{n:02}"));
        let told = group(&id, &format!("u{n}"), &account, json!({ "employees": 25 }), world.now()).account(&account, NamedBy::GroupId);
        world.take(vec![told.build()]).await.unwrap();
    }
    world.changes();
    let seven_days: Day = world.now().day().plus(7);
    world.clock.set(seven_days.plus(1).start());
    world.run_jobs().await.unwrap();
    let levels = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock)).latest(&world.workspace).await.unwrap();
    let mins: Vec<i64> = levels.document.account_levels.levels.iter().map(|level| level.min).collect();
    assert_eq!(mins, [0, 14, 21, 26]);
    let loud = world.changes().into_iter().flat_map(|message| match message {
        pipeline::AccountChanged::Transitions { changes, .. } => changes,
        pipeline::AccountChanged::DeliveriesDue { .. } => Vec::new(),
    });
    let loud: Vec<_> = loud.flat_map(|change| change.transitions).filter(|transition| !transition.silent).collect();
    assert!(loud.is_empty(), "{loud:?}");
    assert_eq!(world.standing_of("acct_25").await.unwrap().level.as_deref(), Some("qualified"));
}
