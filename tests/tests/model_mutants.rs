//! Deliberate bugs of editing, trying and publishing the scoring model, one at a time, and the check that sees each. A check counts only when it
//! passes without the bug.

use anyhow::{Context, Result, bail, ensure};
use domain::{
    DAY_MS, Home, NamedBy, RulesetId, Timestamp,
    engagement::EngagementRule,
    mutant::{Mutant, choose},
    ruleset::{Content, RulesetKind},
    transition::{Changed, Transition},
};
use harpoon_tests::{
    caller::Caller,
    hooked::Op,
    world::{START, World, group, home, identify, page, track},
};
use pipeline::{
    AccountChanged, Table,
    jobs::{JobKind, JobRecord, JobState},
    models::Models,
    records::STATE,
    rulesets::{Change, Plan, PublishError, SETTLE_MS, Started, Subject},
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const COMPANIES: [&str; 3] = ["quarrystone-mills.com", "fernhollow-labs.com", "northwind-looms.com"];
const ACCOUNT: &str = COMPANIES[0];

/// Runs a check without any bug, and with this one.
fn sees(mutant: Mutant, check: impl AsyncFn() -> Result<()>) {
    let run = |mutant: Option<Mutant>| {
        choose(mutant);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = runtime.block_on(check());
        choose(None);
        seen
    };
    if let Err(e) = run(None) {
        panic!("the check fails without the bug: {e:#}");
    }
    match run(Some(mutant)) {
        Ok(()) => panic!("{mutant:?} was not seen"),
        Err(e) => println!("{mutant:?}: {e:#}"),
    }
}

/// A test for each deliberate bug, named by what must not happen.
macro_rules! bugs {
    ($($name:ident: $mutant:ident by $check:ident;)*) => {
        $(
            #[test]
            fn $name() {
                sees(Mutant::$mutant, $check);
            }
        )*
        const CHECKED: &[Mutant] = &[$(Mutant::$mutant),*];
    };
}

bugs! {
    events_counted_by_an_older_model_after_the_others_were_counted_anew_are_missed: FoldBeforeSettle by nobody_counts_by_the_older_model;
    what_no_rule_asks_for_any_more_must_be_counted_anew_to_come_back: KeptPartsDropped by what_comes_back_was_counted_all_along;
    of_two_publications_at_once_both_win: PublishOnAnyVersion by one_of_two_publications_wins;
    a_result_lacks_what_could_not_be_stored: JobCursorWithoutRows by a_result_is_whole_whatever_fails;
    two_workers_do_the_same_chunk: JobWithoutLease by a_chunk_is_worked_by_one_worker;
    a_publication_notifies_people_who_were_not_to_be_notified: SilenceForgotten by a_publication_is_silent;
    a_dry_run_takes_the_passing_of_days_for_the_work_of_the_draft: DryRunByStoredScores by a_draft_without_differences_changes_nobody;
    a_disqualified_account_stays_where_it_was_for_a_month: DisqualifiedKeptByHysteresis by the_disqualified_fall_at_once;
    a_past_moment_knows_what_happened_later: AsOfSeesTheFuture by the_past_is_told_as_it_was;
    who_had_no_standing_when_a_publication_came_into_force_is_missed: FirstStandingBelieved by who_comes_meanwhile_is_scored_by_it;
}

#[test]
fn every_deliberate_bug_of_the_model_has_a_check() {
    assert_eq!(CHECKED, Mutant::MODEL);
}

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap_or_default()
}

/// Three companies; at each somebody saw a page (5) and paid an invoice, which no rule counts yet. The first has 2,000 employees (50).
async fn world() -> Result<World> {
    let world = World::new();
    for (i, company) in COMPANIES.iter().enumerate() {
        let user = format!("u{i}");
        let events = vec![
            identify(&format!("a{i}"), &user, &format!("ada@{company}"), start()).build(),
            page(&format!("b{i}"), &user, "s", start()).build(),
            track(&format!("c{i}"), &user, "Invoice Paid", start()).build(),
        ];
        world.take(events).await?;
    }
    world.take(vec![group("g", "u0", ACCOUNT, json!({ "employees": 2_000 }), start()).build()]).await?;
    world.changes();
    Ok(world)
}

fn id(text: &str) -> Result<RulesetId> {
    Ok(RulesetId::new(text)?)
}

const DEMAND: (RulesetKind, &str) = (RulesetKind::Engagement, "default");
const FIT: (RulesetKind, &str) = (RulesetKind::Account, "enterprise-b2b-saas");

/// A change of a draft that makes it the ruleset's next version.
async fn drafted(world: &World, (kind, name): (RulesetKind, &str), edit: impl FnOnce(&mut Content)) -> Result<Change> {
    let (rulesets, id) = (world.rulesets(), id(name)?);
    let ruleset = rulesets.find(&world.workspace, kind, &id).await?.context("the ruleset")?;
    let mut content = ruleset.content.context("a content")?;
    edit(&mut content);
    let ruleset = rulesets.put_draft(&world.workspace, kind, &id, content, "kim", None).await?;
    Ok(Change::Ruleset { kind, id, revision: ruleset.revision() })
}

fn with_invoices(content: &mut Content) {
    let rule = json!({ "id": "paid", "name": "Paid", "points": 7, "events": ["Invoice Paid"] });
    if let (Content::Engagement(ruleset), Ok(rule)) = (content, serde_json::from_value::<EngagementRule>(rule)) {
        ruleset.rules.push(rule);
    }
}

fn employees(points: i32) -> impl FnOnce(&mut Content) {
    move |content| {
        if let Content::Account(ruleset) = content {
            ruleset.rules.iter_mut().filter(|rule| rule.id == "employees").for_each(|rule| rule.points = points);
        }
    }
}

fn plan(world: &World, change: Change) -> Plan<'_> {
    Plan { workspace: &world.workspace, by: "dana", why: "review".into(), notify: false, change }
}

async fn publish(world: &World, change: Change) -> Result<JobRecord> {
    match world.rulesets().publish(&plan(world, change)).await? {
        Started::Job { job, .. } => Ok(*job),
        other => bail!("no job: {other:?}"),
    }
}

async fn job(world: &World, job: &JobRecord) -> Result<JobRecord> {
    Ok(world.job_list().find(&world.workspace, &job.id).await?.context("the job")?.record)
}

/// Runs jobs to their end as far as failures let them; each failure is a worker that dies.
async fn run_whatever_happens(world: &World) -> Result<()> {
    for _ in 0..5_000 {
        let worked = world.jobs.round().await.unwrap_or(0);
        world.settle().await?;
        let Some(next) = world.job_list().next_due().await? else { return Ok(()) };
        if worked == 0 {
            world.clock.set(next.max(world.now()));
        }
    }
    bail!("the jobs do not come to an end")
}

async fn nobody_counts_by_the_older_model() -> Result<()> {
    let world = world().await?;
    let change = drafted(&world, DEMAND, with_invoices).await?;
    publish(&world, change).await?;
    // The job does what it can do at once. The resolver still believes the model that it read a moment ago.
    for _ in 0..100 {
        if world.jobs.round().await? == 0 {
            break;
        }
        world.settle().await?;
    }
    let before = world.score_of(ACCOUNT).await?.engagement;
    world.take(vec![track("late", "u0", "Invoice Paid", world.now()).build()]).await?;
    let meanwhile = world.score_of(ACCOUNT).await?.engagement;
    world.run_jobs().await?;
    let record = world.score_of(ACCOUNT).await?;
    // Whoever was missed is found in the end; but nobody may see points go and come back.
    ensure!(before <= meanwhile, "{before} points, then {meanwhile}");
    ensure!((record.engagement, record.stale) == (5 + 2 * 7, 0), "{} points, {} states not counted yet", record.engagement, record.stale);
    Ok(())
}

async fn what_comes_back_was_counted_all_along() -> Result<()> {
    let world = world().await?;
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reads);
    world.store.fail(move |op| {
        let of_the_log = |table: Table| table == Table::Events;
        let read = match op {
            Op::Read(key) => of_the_log(key.table),
            Op::ReadMany(keys) => keys.iter().any(|key| of_the_log(key.table)),
            Op::Query(query) => of_the_log(query.table),
            Op::Scan(scan) => of_the_log(scan.table),
            _ => false,
        };
        counter.fetch_add(usize::from(read), Ordering::SeqCst);
        false
    });
    let without = |content: &mut Content| {
        if let Content::Engagement(ruleset) = content {
            ruleset.rules.retain(|rule| rule.id != "visit");
        }
    };
    let change = drafted(&world, DEMAND, without).await?;
    publish(&world, change).await?;
    world.run_jobs().await?;
    ensure!(world.score_of(ACCOUNT).await?.engagement == 0, "visits count still");
    // Who does something meanwhile is counted by what is counted now.
    world.clock.advance(31_000);
    world.take(vec![track("more", "u0", "something else", world.now()).build()]).await?;
    publish(&world, Change::Rollback { kind: DEMAND.0, id: id(DEMAND.1)?, to: 1 }).await?;
    world.run_jobs().await?;
    ensure!(world.score_of(ACCOUNT).await?.engagement == 5, "visits do not count again");
    let reads = reads.load(Ordering::SeqCst);
    ensure!(reads == 0, "the log was read {reads} times for rules that count nothing new");
    Ok(())
}

async fn one_of_two_publications_wins() -> Result<()> {
    let world = Arc::new(world().await?);
    let first = drafted(&world, FIT, employees(60)).await?;
    let more = |content: &mut Content| {
        if let Content::Engagement(ruleset) = content {
            ruleset.rules.iter_mut().filter(|rule| rule.id == "visit").for_each(|rule| rule.points = 6);
        }
    };
    let second = drafted(&world, DEMAND, more).await?;
    let elsewhere = Arc::clone(&world);
    world.store.before(|op| op.writes("model"), async move {
        publish(&elsewhere, first).await.unwrap();
    });
    let answered = world.rulesets().publish(&plan(&world, second)).await;
    ensure!(matches!(answered, Err(PublishError::Running { .. })), "the second publication was answered {answered:?}");
    world.run_jobs().await?;
    let record = world.score_of(ACCOUNT).await?;
    ensure!((record.account_score, record.engagement) == (60, 5), "{} and {} points", record.account_score, record.engagement);
    Ok(())
}

async fn a_result_is_whole_whatever_fails() -> Result<()> {
    let world = world().await?;
    let Change::Ruleset { kind, id, revision } = drafted(&world, DEMAND, with_invoices).await? else { bail!("no draft") };
    let kind = JobKind::DryRun { of: Subject { kind, id }, revision: Some(revision), as_primary: false, window_days: 0 };
    let id = pipeline::jobs::new_job_id(&pipeline::clock::CountingEntropy::default(), world.now())?;
    let asked = JobRecord::new(id, kind, "kim", world.now());
    world.job_list().start(&world.workspace, &asked).await?;
    world.store.fail(|op| matches!(op, Op::Write(write) if write.key().sk.contains("#r#")));
    run_whatever_happens(&world).await?;
    ensure!(world.store.all_fired(), "nothing failed");
    let record = job(&world, &asked).await?;
    ensure!(record.state == JobState::Done, "{:?}", record.state);
    let mut rows = Vec::new();
    for chunk in 0..record.rows {
        rows.extend(world.job_list().rows::<Value>(&world.workspace, &asked.id, chunk).await?.unwrap_or_default());
    }
    ensure!(rows.len() == COMPANIES.len(), "{} of {} changes are listed", rows.len(), COMPANIES.len());
    Ok(())
}

async fn a_chunk_is_worked_by_one_worker() -> Result<()> {
    let world = Arc::new(world().await?);
    let change = drafted(&world, DEMAND, with_invoices).await?;
    let published = publish(&world, change).await?;
    // While the first worker is at the second of three people, another one looks for work.
    let (elsewhere, writes) = (Arc::clone(&world), AtomicUsize::new(0));
    world.store.before(move |op| op.writes(STATE) && writes.fetch_add(1, Ordering::SeqCst) == 1, async move {
        let _ = elsewhere.another_job_runner().round().await;
    });
    run_whatever_happens(&world).await?;
    ensure!(world.store.all_fired(), "there was no second worker");
    let record = job(&world, &published).await?;
    let result = record.result.context("a result")?;
    ensure!(result["counted_anew"] == json!(3), "of three people {} were counted anew", result["counted_anew"]);
    Ok(())
}

fn transitions(world: &World) -> Vec<Transition> {
    let changes = world.changes().into_iter().flat_map(|message| match message {
        AccountChanged::Transitions { changes, .. } => changes,
        AccountChanged::DeliveriesDue { .. } => Vec::new(),
    });
    changes.flat_map(|change| change.transitions).collect()
}

async fn a_publication_is_silent() -> Result<()> {
    let world = world().await?;
    let change = drafted(&world, FIT, employees(95)).await?;
    publish(&world, change).await?;
    world.run_jobs().await?;
    let told = transitions(&world);
    ensure!(told.iter().any(|told| matches!(told.change, Changed::AccountLevel { .. })), "no level changed");
    ensure!(told.iter().all(|told| told.silent), "people are told: {told:?}");
    Ok(())
}

async fn a_draft_without_differences_changes_nobody() -> Result<()> {
    let world = world().await?;
    let caller = Caller::new(&world).await?;
    // Nobody has looked since: half of the 5 points of a visit are left after 21 days.
    world.clock.advance(21 * DAY_MS);
    let tried = caller.post("/account-rulesets/enterprise-b2b-saas/dry-run", json!({ "accounts": "all", "of": "published" })).await?.ok();
    ensure!(tried["accounts"] == json!(3) && tried["changed"] == json!(0), "it changes {}: {}", tried["changed"], tried["changes"]);
    Ok(())
}

async fn the_disqualified_fall_at_once() -> Result<()> {
    let world = World::new();
    let models = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    let mut document = models.latest(&world.workspace).await?.document.clone();
    document.version = 2;
    (document.account_levels.hysteresis_percent, document.account_levels.dwell_hours) = (50, 720);
    for rule in document.account.rules.iter_mut().filter(|rule| rule.id == "industry") {
        (rule.points, rule.disqualifies) = (0, true);
    }
    models.publish(&world.workspace, &document).await?;
    world.clock.advance(31_000);
    let all = json!({ "employees": 5000, "revenue": 60_000_000, "country": "US", "industry": "Mining" });
    world.take(vec![group("m1", "u1", "acct_1", all, world.now()).build()]).await?;
    let level = async || anyhow::Ok(world.standing_of("acct_1").await?.level.unwrap_or_default());
    ensure!(level().await? == "target", "{}", level().await?);
    world.clock.advance(1_000);
    world.take(vec![group("m2", "u1", "acct_1", json!({ "industry": "Finance" }), world.now()).build()]).await?;
    ensure!(level().await? == "low_priority", "who is disqualified is {}", level().await?);
    Ok(())
}

/// A new account is scored by the rules before, and its level waits until the publication has gone through all standings.
async fn who_comes_meanwhile_is_scored_by_it() -> Result<()> {
    let (world, new) = (world().await?, "pinebarrow-foods.com");
    let events = vec![identify("n1", "u9", &format!("ada@{new}"), start()).build()];
    world.run(&world.resolver, world.message(events)).await?;
    let change = drafted(&world, FIT, employees(60)).await?;
    let touched = group("n2", "u9", new, json!({ "employees": 2_000 }), start()).build();
    world.run(&world.resolver, world.message(vec![touched])).await?;
    for message in world.touched() {
        world.run(&world.scorer, message).await?;
    }
    let waiting = world.scored();
    publish(&world, change).await?;
    world.run_jobs().await?;
    for message in waiting {
        world.run(&world.leveler, message).await?;
    }
    ensure!(world.score_of(new).await?.account_score == 50, "it was not scored by the rules before");
    world.clock.advance(SETTLE_MS + rescore::SETTLED_MS + 1);
    world.rescorer.run().await?;
    world.settle().await?;
    let (score, old) = (world.score_of(new).await?.account_score, world.score_of(ACCOUNT).await?.account_score);
    ensure!((score, old) == (60, 60), "{score} points where those who were there have {old}");
    Ok(())
}

async fn the_past_is_told_as_it_was() -> Result<()> {
    let world = World::new();
    let models = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    let meeting = |id: &str, user: &str| track(id, user, "sdr meeting", world.now()).account("acct_1", NamedBy::GroupId).build();
    world.take(vec![meeting("m1", "u1")]).await?;
    let then = world.now();
    world.clock.advance(3_600_000);
    world.take(vec![meeting("m2", "u1"), meeting("m3", "u2")]).await?;
    let home: Home = home("acct_1")?;
    let past = pipeline::past::gather(&world.store, &models, &world.workspace, &home, then, world.now()).await?;
    let (states, events) = past
        .gathered
        .partitions()
        .flat_map(|partition| &partition.states)
        .fold((0, 0), |(states, events), stored| (states + 1, events + stored.state.facts.count));
    ensure!((states, events) == (1, 1), "one meeting of one person had been; told are {events} of {states}");
    Ok(())
}
