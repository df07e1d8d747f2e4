//! Jobs survive whatever happens to their workers.

use domain::{
    Home, IdentityId, RulesetId, Timestamp,
    engagement::EngagementRule,
    ruleset::{Content, RulesetKind},
};
use harpoon_tests::{
    hooked::{Hooked, Op},
    world::{START, World, identify, page, track},
};
use pipeline::{
    Condition, Item, Table, Write,
    homes::put_record,
    jobs::{CancelError, Cursor, JobKind, JobRecord, JobState, Phase},
    records::{STATE, Standing, standing_key},
    rulesets::{Change, Plan, Started},
    walk,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

const COMPANIES: [&str; 3] = ["quarrystone-mills.com", "fernhollow-labs.com", "northwind-looms.com"];

/// Three companies; at each somebody saw a page (5) and paid an invoice, which no rule counts yet.
async fn world() -> World {
    let world = World::new();
    for (i, company) in COMPANIES.iter().enumerate() {
        let user = format!("u{i}");
        let events = vec![
            identify(&format!("a{i}"), &user, &format!("ada@{company}"), start()).build(),
            page(&format!("b{i}"), &user, "s", start()).build(),
            track(&format!("c{i}"), &user, "Invoice Paid", start()).build(),
        ];
        world.take(events).await.unwrap();
        assert_eq!(world.score_of(company).await.unwrap().engagement, 5);
    }
    world.changes();
    world
}

/// Publishes a rule that counts paid invoices, with seven points.
async fn publish(world: &World, notify: bool) -> JobRecord {
    let (kind, id) = (RulesetKind::Engagement, RulesetId::new("default").unwrap());
    let ruleset = world.rulesets().find(&world.workspace, kind, &id).await.unwrap().unwrap();
    let mut content = ruleset.content.unwrap();
    let rule: EngagementRule =
        serde_json::from_value(json!({ "id": "paid", "name": "Paid", "points": 7, "events": ["Invoice Paid"] })).unwrap();
    let Content::Engagement(engagement) = &mut content else { panic!("not of events") };
    engagement.rules.push(rule);
    world.rulesets().put_draft(&world.workspace, kind, &id, content, "kim", Some(0)).await.unwrap();
    let change = Change::Ruleset { kind, id, revision: 1 };
    let plan = Plan { workspace: &world.workspace, by: "dana", why: "invoices".into(), notify, change };
    let Started::Job { job, .. } = world.rulesets().publish(&plan).await.unwrap() else { panic!("no job") };
    *job
}

async fn job(world: &World, job: &JobRecord) -> JobRecord {
    world.job_list().find(&world.workspace, &job.id).await.unwrap().unwrap().record
}

/// Runs jobs to their end as far as failures let them; each failure is a worker that dies.
async fn run_whatever_happens(world: &World) {
    for _ in 0..5_000 {
        let worked = world.jobs.round().await.unwrap_or(0);
        world.settle().await.unwrap();
        let Some(next) = world.job_list().next_due().await.unwrap() else { return };
        if worked == 0 {
            world.clock.set(next.max(world.now()));
        }
    }
    panic!("the jobs do not come to an end");
}

async fn is_finished(world: &World, started: &JobRecord, what: &str) {
    let record = job(world, started).await;
    assert_eq!((&record.state, record.percent), (&JobState::Done, 100), "{what}");
    let result = record.result.unwrap();
    assert_eq!((&result["homes"], &result["left"]), (&json!(3), &json!(0)), "{what}");
    for company in COMPANIES {
        assert_eq!(world.score_of(company).await.unwrap().engagement, 12, "{what}, {company}");
    }
    assert_eq!(world.rulesets().publication(&world.workspace).await.unwrap(), None, "{what}");
    let pointers = world.store.memory.dump().into_iter().filter(|item| item.key.pk == "JOBS").count();
    assert_eq!(pointers, 0, "{what}");
}

/// Whether the operation is a write of a job's worker: of its own record, of the model, or of a state that it counted anew.
fn is_of_a_job(op: &Op<'_>) -> bool {
    let of = |write: &Write| write.key().table == Table::Config || write.key().sk.starts_with(STATE);
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

#[tokio::test]
async fn a_worker_may_die_before_or_after_any_of_its_writes() {
    let count = {
        let world = world().await;
        let seen = break_write(&world.store, usize::MAX, true);
        let started = publish(&world, false).await;
        seen.store(0, Ordering::SeqCst);
        run_whatever_happens(&world).await;
        is_finished(&world, &started, "undisturbed").await;
        seen.load(Ordering::SeqCst)
    };
    assert!(count > 12, "{count}");
    for before in [true, false] {
        for n in 1..=count {
            let world = world().await;
            let started = publish(&world, false).await;
            break_write(&world.store, n, before);
            run_whatever_happens(&world).await;
            is_finished(&world, &started, &format!("write {n}, before: {before}")).await;
            assert!(world.store.all_fired(), "write {n}, before: {before}");
        }
    }
}

#[tokio::test]
async fn a_queue_that_is_down_for_a_while_only_delays_a_job() {
    let world = world().await;
    let started = publish(&world, false).await;
    while job(&world, &started).await.phase() != Some(Phase::Rescore) {
        let next = world.job_list().next_due().await.unwrap().unwrap();
        world.clock.set(next.max(world.now()));
        world.jobs.round().await.unwrap();
    }
    world.to_score.fail_next(3);
    run_whatever_happens(&world).await;
    is_finished(&world, &started, "the queue was down").await;
}

#[tokio::test]
async fn two_workers_take_turns_and_do_everything_once() {
    let world = world().await;
    let started = publish(&world, false).await;
    let other = world.another_job_runner();
    for _ in 0..1_000 {
        let (a, b) = futures::join!(world.jobs.round(), other.round());
        world.settle().await.unwrap();
        let Some(next) = world.job_list().next_due().await.unwrap() else { break };
        if a.unwrap() + b.unwrap() == 0 {
            world.clock.set(next.max(world.now()));
        }
    }
    is_finished(&world, &started, "two workers").await;
    assert_eq!(job(&world, &started).await.result.unwrap()["counted_anew"], 3);
}

#[tokio::test]
async fn a_worker_that_was_too_slow_stores_nothing_over_the_one_that_replaced_it() {
    let world = Arc::new(world().await);
    let started = publish(&world, false).await;
    // While the first worker counts, its lease ends and another one does the whole job.
    let elsewhere = Arc::clone(&world);
    world.store.before(|op| op.writes(STATE), async move {
        elsewhere.clock.advance(100_000);
        run_whatever_happens(&elsewhere).await;
    });
    run_whatever_happens(&world).await;
    assert!(world.store.all_fired());
    is_finished(&world, &started, "a slow worker").await;
}

#[tokio::test]
async fn a_job_can_be_given_up_in_every_phase() {
    for (phase, engagement) in [(Phase::Settle, 5), (Phase::Fold, 5), (Phase::Switch, 5), (Phase::Rescore, 12), (Phase::Confirm, 12)] {
        let world = world().await;
        let started = publish(&world, false).await;
        for _ in 0..100 {
            if job(&world, &started).await.phase() == Some(phase) {
                break;
            }
            let next = world.job_list().next_due().await.unwrap().unwrap();
            world.clock.set(next.max(world.now()));
            world.jobs.round().await.unwrap();
        }
        let cancelled = world.job_list().cancel(&world.workspace, &started.id).await.unwrap();
        assert_eq!((&cancelled.state, cancelled.phase(), cancelled.ended_at), (&JobState::Cancelled, Some(phase), Some(world.now())));
        let again = world.job_list().cancel(&world.workspace, &started.id).await;
        assert!(matches!(again, Err(CancelError::Over(_))), "{phase:?}");
        world.run_jobs().await.unwrap();
        assert_eq!(world.rulesets().publication(&world.workspace).await.unwrap(), None);
        // Who is scored from now on is scored by the model in force.
        world.clock.advance(60_000);
        for (i, company) in COMPANIES.iter().enumerate() {
            let user = format!("u{i}");
            world.take(vec![identify(&format!("z{i}"), &user, &format!("ada@{company}"), world.now()).build()]).await.unwrap();
            assert_eq!(world.score_of(company).await.unwrap().engagement, engagement, "{phase:?}");
        }
    }
}

#[tokio::test]
async fn progress_never_falls_and_ends_at_a_hundred() {
    let world = world().await;
    let started = publish(&world, true).await;
    let (mut before, mut seen) = (0, BTreeSet::new());
    for _ in 0..1_000 {
        let Some(next) = world.job_list().next_due().await.unwrap() else { break };
        let record = job(&world, &started).await;
        assert!(record.percent >= before && record.percent < 100, "{record:?}");
        before = record.percent;
        seen.insert(before);
        world.clock.set(next.max(world.now()));
        world.jobs.round().await.unwrap();
        world.settle().await.unwrap();
    }
    assert!(seen.len() > 4, "{seen:?}");
    is_finished(&world, &started, "progress").await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_are_no_business_of_another_workspace() {
    let world = world().await;
    let first = publish(&world, false).await;
    world.run_jobs().await.unwrap();
    let listed = world.job_list().list(&world.workspace, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|job| &job.id).collect::<Vec<_>>(), [&first.id]);
    let other = domain::WorkspaceId::new("other").unwrap();
    assert_eq!(world.job_list().find(&other, &first.id).await.unwrap(), None);
    assert!(world.job_list().list(&other, None, 10).await.unwrap().is_empty());
    assert!(matches!(world.job_list().cancel(&other, &first.id).await, Err(CancelError::Missing)));
    world.clock.advance(1);
    let second = JobRecord::new(
        pipeline::jobs::new_job_id(&pipeline::clock::CountingEntropy::default(), world.now()).unwrap(),
        JobKind::Coverage {},
        "kim",
        world.now(),
    );
    world.job_list().start(&world.workspace, &second).await.unwrap();
    world.job_list().put_rows(&world.workspace, &first.id, 0, &[1, 2]).await.unwrap();
    let listed = world.job_list().list(&world.workspace, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|job| &job.id).collect::<Vec<_>>(), [&second.id, &first.id]);
    let after = world.job_list().list(&world.workspace, Some(&second.id), 10).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(world.job_list().rows::<i32>(&world.workspace, &first.id, 0).await.unwrap(), Some(vec![1, 2]));
    // Ninety days later nobody sees them any more.
    world.clock.advance(91 * domain::DAY_MS);
    assert_eq!(world.job_list().find(&world.workspace, &first.id).await.unwrap(), None);
    assert_eq!(world.job_list().rows::<i32>(&world.workspace, &first.id, 0).await.unwrap(), None);
}

#[tokio::test]
async fn a_walk_meets_each_of_twenty_thousand_homes_once_however_it_is_cut() {
    let world = World::new();
    let standing: Standing = serde_json::from_value(json!({
        "served": 1, "model": 1, "inputs": 1, "fresh": 0, "seq": 0, "account_score": 0, "engagement": 0, "surge": false, "total_leads": 0,
    }))
    .unwrap();
    let mut homes = BTreeSet::new();
    for n in 0..20_000_u128 {
        let home = if n % 4 == 0 {
            Home::Lead(IdentityId::from_bytes(n.to_be_bytes()))
        } else {
            harpoon_tests::world::home(&format!("acct_{n}")).unwrap()
        };
        let Write::Put(item, _) = put_record(standing_key(&world.workspace, &home), 0, &standing).unwrap() else { panic!("no put") };
        pipeline::Store::write(&*world.store, Write::Put(Item { ..item }, Condition::Absent)).await.unwrap();
        homes.insert(home);
    }
    let (mut cursor, mut met, mut pages, mut percent) = (Cursor::Start, Vec::new(), 0, 0);
    while cursor != Cursor::End {
        let page = walk::page(&world.store, &world.workspace, &cursor, 500).await.unwrap();
        let cut = pages % 5 == 4 && page.homes.len() > 7;
        met.extend(page.homes.iter().take(if cut { 7 } else { 500 }).map(|(home, _)| home.clone()));
        cursor = if cut { walk::after(&world.workspace, &page.homes[6].0) } else { page.next };
        assert!(walk::percent(&cursor) >= percent);
        percent = walk::percent(&cursor);
        pages += 1;
    }
    assert_eq!(met.len(), 20_000);
    assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), homes);
    assert!((40..120).contains(&pages), "{pages}");
}

async fn asked(world: &World, kind: JobKind) -> JobRecord {
    let id = pipeline::jobs::new_job_id(&pipeline::clock::CountingEntropy::default(), world.now()).unwrap();
    let record = JobRecord::new(id, kind, "kim", world.now());
    world.job_list().start(&world.workspace, &record).await.unwrap();
    world.run_jobs().await.unwrap();
    job(world, &record).await
}

#[tokio::test]
async fn a_dry_run_as_a_job_counts_everybody_lists_every_change_and_changes_nothing() {
    let world = world().await;
    let (kind, id) = (RulesetKind::Engagement, RulesetId::new("default").unwrap());
    let mut content = world.rulesets().find(&world.workspace, kind, &id).await.unwrap().unwrap().content.unwrap();
    let Content::Engagement(engagement) = &mut content else { panic!("not of events") };
    // A page view is worth five; with thirty everybody is warm.
    engagement.rules.iter_mut().find(|rule| rule.id == "visit").unwrap().points = 30;
    engagement.rules.iter_mut().find(|rule| rule.id == "visit").unwrap().cap_per_day = 0;
    let ruleset = world.rulesets().put_draft(&world.workspace, kind, &id, content, "kim", None).await.unwrap();
    let dump = world.store.memory.dump();
    let of = ruleset.head.subject();
    let kind = JobKind::DryRun { of, revision: Some(1), as_primary: false, window_days: 0 };
    let record = asked(&world, kind.clone()).await;
    assert_eq!((&record.state, record.percent, record.done), (&JobState::Done, 100, 3));
    let result = record.result.unwrap();
    assert_eq!((&result["accounts"], &result["changed"]), (&json!(3), &json!(3)));
    let mut rows = Vec::new();
    for chunk in 0..record.rows {
        rows.extend(world.job_list().rows::<serde_json::Value>(&world.workspace, &record.id, chunk).await.unwrap().unwrap());
    }
    rows.sort_by_key(|row| row["account_id"].to_string());
    let mut companies = COMPANIES;
    companies.sort_unstable();
    assert_eq!(rows.iter().map(|row| row["account_id"].as_str().unwrap()).collect::<Vec<_>>(), companies);
    assert!(rows.iter().all(|row| row["score"] == json!([5, 30]) && row["engagement_level"] == json!(["cold", "warm"])), "{rows:?}");
    let rest = |items: Vec<Item>| items.into_iter().filter(|item| !item.key.sk.starts_with("job#")).collect::<Vec<_>>();
    assert_eq!(rest(world.store.memory.dump()), dump);
    // The draft that it names is gone.
    world.clock.advance(1);
    world.rulesets().discard_draft(&world.workspace, RulesetKind::Engagement, &ruleset.head.id, None).await.unwrap();
    assert!(matches!(asked(&world, kind).await.state, JobState::Failed { .. }));
}

#[tokio::test]
async fn coverage_is_counted_by_a_job_and_kept() {
    let world = world().await;
    let employees = harpoon_tests::world::group("g", "u0", COMPANIES[0], json!({ "employees": 2_000 }), world.now()).build();
    world.take(vec![employees]).await.unwrap();
    let record = asked(&world, JobKind::Coverage {}).await;
    assert_eq!(record.state, JobState::Done, "{record:?}");
    let counted = pipeline::survey::last_coverage(&world.store, &world.workspace).await.unwrap().unwrap();
    assert_eq!((counted.coverage.accounts, counted.at), (3, record.created_at));
    let known = counted.coverage.fields.iter().find(|(name, _)| name.as_str() == "employees").unwrap().1;
    assert_eq!(known.known, 1);
}
