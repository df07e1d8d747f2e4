//! A mapping that is applied reads what is stored as if it had always been in force, whatever happens to the workers.

use domain::{
    AccountId, BatchId, DAY_MS, Event, Identity, NamedBy, Order, Timestamp,
    field::{FieldFact, FieldName, FieldSource, FieldValue, SourceOrder},
    mapping::AccountMapping,
    profile::ProfileMapping,
};
use harpoon::verify::Auditor;
use harpoon_tests::{
    hooked::{Hooked, Op},
    world::{START, World, event, group, home, identify, track},
};
use pipeline::{
    AccountChanged, Table, Write,
    clock::CountingEntropy,
    homes::{put_due, put_record},
    jobs::{JobKind, JobRecord, JobState, Phase, new_job_id},
    records::{OWN_FIELDS, OwnFields, STATE, home_key},
    rulesets::{Change, Plan},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

const ACCOUNTS: [&str; 4] = ["acct_9", "quarrystone-mills.com", "fernhollow-labs.com", "acct_12"];

/// Two companies whose people say something of them, and two that calls name.
fn events() -> Vec<Event> {
    let signed_up = |id: &str, user: &str, at: i64| {
        let properties = json!({ "seat_count": 40, "plan": "Pro", "employees": 700, "sector": "Technology" });
        track(id, user, "Signed Up", start().plus_millis(at)).properties(properties).build()
    };
    vec![
        identify("a0", "u0", "ada@quarrystone-mills.com", start()).build(),
        signed_up("b0", "u0", 1),
        identify("a1", "u1", "ben@fernhollow-labs.com", start()).build(),
        signed_up("b1", "u1", 2),
        group("c0", "u2", "acct_9", json!({ "name": "Quillmark Press", "desks": 12, "plan": "Business" }), start()).build(),
        // Somebody else says it of the same account, later.
        group("c1", "u3", "acct_9", json!({ "desks": 15, "employees": 90 }), start().plus_millis(3)).build(),
        // And an event without a person.
        event(domain::CallKind::AccountEvent, "d0", start())
            .account("acct_12", NamedBy::AccountEvent)
            .named("Seats")
            .properties(json!({ "seat_count": 7 }))
            .build(),
    ]
}

/// The mapping that is put into force later: `seats`, `desks` and another place of `industry` are new, `plan` is gone.
fn mapping() -> AccountMapping {
    let mut value = serde_json::to_value(&domain::model::default_document().unwrap().mapping).unwrap();
    let entries = value["entries"].as_array_mut().unwrap();
    entries.retain(|entry| entry["field"] != "plan");
    entries.push(json!({ "field": "seats", "type": "number", "paths": ["properties.seat_count"] }));
    entries.push(json!({ "field": "industry", "type": "text", "paths": ["properties.sector"] }));
    entries.push(json!({ "field": "desks", "type": "number", "paths": ["group.desks"] }));
    AccountMapping::parse(&value.to_string()).unwrap()
}

async fn change(world: &World, change: Change) {
    let plan = Plan { workspace: &world.workspace, by: "dana", why: String::new(), notify: false, change };
    world.rulesets().publish(&plan).await.unwrap();
}

async fn put_mapping(world: &World) {
    change(world, Change::Mapping { mapping: mapping(), source_order: None }).await;
}

/// A person states the plan of an account.
async fn state_plan(world: &World) {
    let account = AccountId::new("acct_9").unwrap();
    let mut own = world.homes().own_fields(&world.workspace, &account).await.unwrap();
    let value = Some(FieldValue::Text("Enterprise".to_owned()));
    let fact = FieldFact::new(value, Order { at: start(), tie: 0 }, FieldSource::Manual);
    own.record.state(&FieldName::new("plan").unwrap(), fact);
    let put = put_record(home_key(&world.workspace, &home("acct_9").unwrap(), OWN_FIELDS), own.version, &own.record).unwrap();
    pipeline::Store::write(&*world.store, put).await.unwrap();
}

/// Events came, and then the mapping was changed.
async fn world() -> World {
    let world = World::new();
    world.take(events()).await.unwrap();
    state_plan(&world).await;
    put_mapping(&world).await;
    world.clock.advance(60_000);
    world
}

/// What is known of the accounts.
async fn known(world: &World) -> BTreeMap<&'static str, BTreeMap<String, String>> {
    let mut known = BTreeMap::new();
    for account in ACCOUNTS {
        let fields = world.score_of(account).await.unwrap().fields;
        known.insert(account, fields.into_iter().map(|(name, value)| (name, value.to_string())).collect());
    }
    known
}

fn expected() -> BTreeMap<&'static str, BTreeMap<String, String>> {
    let fields = |fields: &[(&str, &str)]| fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let company = fields(&[("employees", "700"), ("industry", "Technology"), ("seats", "40")]);
    [
        ("acct_9", fields(&[("desks", "15"), ("employees", "90"), ("name", "Quillmark Press"), ("plan", "Enterprise")])),
        ("quarrystone-mills.com", company),
        ("fernhollow-labs.com", fields(&[("employees", "700"), ("industry", "Technology"), ("seats", "40")])),
        ("acct_12", fields(&[("seats", "7")])),
    ]
    .into()
}

async fn begin(world: &World, kind: JobKind) -> JobRecord {
    let record = JobRecord::new(new_job_id(&CountingEntropy::default(), world.now()).unwrap(), kind, "dana", world.now());
    world.job_list().start(&world.workspace, &record).await.unwrap();
    record
}

async fn apply(world: &World) -> JobRecord {
    begin(world, JobKind::ApplyMapping { mapping: 2, model: 0 }).await
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

/// Works on jobs until one is in a phase.
async fn until(world: &World, started: &JobRecord, phase: Phase) {
    for _ in 0..100 {
        if job(world, started).await.phase() == Some(phase) {
            return;
        }
        let next = world.job_list().next_due().await.unwrap().unwrap();
        world.clock.set(next.max(world.now()));
        world.jobs.round().await.unwrap();
    }
    panic!("the job is never in phase {phase:?}: {:?}", job(world, started).await);
}

async fn verified(world: &World, what: &str) {
    world.clock.advance(rescore::SETTLED_MS + 1);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
    let report = Auditor::new(Arc::clone(&world.store), Arc::clone(&world.clock)).run(&async || {}).await.unwrap();
    assert!(report.agrees(), "{what}: {}\n{:?}", report.sentence(), report.findings);
}

/// The job is done, nothing is left lying about, and what is stored is what the log says by the mapping in force.
async fn is_applied(world: &World, started: &JobRecord, what: &str) {
    let record = job(world, started).await;
    assert_eq!((&record.state, record.percent), (&JobState::Done, 100), "{what}: {record:?}");
    assert_eq!(record.result.unwrap()["left"], 0, "{what}");
    assert_eq!(known(world).await, expected(), "{what}");
    let model = pipeline::models::Models::new(Arc::clone(&world.store), Arc::clone(&world.clock)).latest(&world.workspace).await.unwrap();
    assert!(model.document.is_mapping_applied(), "{what}");
    for item in world.store.memory.dump() {
        assert!(item.key.pk != "JOBS" && !item.key.sk.starts_with("M#"), "{what}: {:?}", item.key);
        if item.key.sk == OWN_FIELDS {
            assert!(!format!("{:?}", item.body).contains("set_apart"), "{what}: {item:?}");
        }
    }
    verified(world, what).await;
}

#[tokio::test]
async fn an_applied_mapping_reads_what_is_stored_as_if_it_had_always_been_in_force() {
    let world = world().await;
    let before = known(&world).await;
    assert_eq!((&before["quarrystone-mills.com"]["plan"], before["quarrystone-mills.com"].get("seats")), (&"Pro".to_owned(), None));
    let started = apply(&world).await;
    world.changes();
    world.run_jobs().await.unwrap();
    is_applied(&world, &started, "undisturbed").await;
    // The companies are known to be of a target industry now: 30 points, and another level, of which nobody is told.
    let standing = world.standing_of("quarrystone-mills.com").await.unwrap();
    assert_eq!((standing.account_score, standing.level.as_deref()), (30, Some("standard")));
    let mut moved = 0;
    for told in world.changes() {
        let AccountChanged::Transitions { changes, .. } = told else { continue };
        for transition in changes.into_iter().flat_map(|change| change.transitions) {
            assert!(transition.silent, "{transition:?}");
            moved += 1;
        }
    }
    assert_eq!(moved, 2);

    // The same events in a workspace that had the mapping from the beginning.
    let other = World::new();
    put_mapping(&other).await;
    other.take(events()).await.unwrap();
    state_plan(&other).await;
    other.clock.set(world.now());
    let states = |world: &World| {
        let items = world.store.memory.dump().into_iter().filter(|item| item.key.sk.starts_with(STATE));
        items.map(|item| (item.key, item.body)).collect::<Vec<_>>()
    };
    let facts = async |world: &World| {
        let mut facts = Vec::new();
        for user in ["u0", "u1", "u2", "u3"] {
            let home = world.home_of(&Identity::user(user)).await.unwrap();
            let gathered = world.homes().gather(&world.workspace, &home, pipeline::Consistency::Strong).await.unwrap();
            facts.push((
                home,
                gathered.own.own.record.facts.clone(),
                gathered.own.states.iter().map(|stored| stored.state.facts.clone()).collect::<Vec<_>>(),
            ));
        }
        facts
    };
    assert_eq!(facts(&world).await, facts(&other).await);
    assert_eq!(states(&world).len(), states(&other).len());
}

/// Whether the operation is a write of a job's worker: of its own record, of the model, of a state or an account's fields that it read again.
fn is_of_a_job(op: &Op<'_>) -> bool {
    let of = |write: &Write| {
        let key = write.key();
        key.table == Table::Config || key.sk.starts_with(STATE) || key.sk == OWN_FIELDS || key.sk.starts_with("M#")
    };
    match op {
        Op::Write(write) => of(write),
        Op::Transact(writes) => writes.iter().any(of),
        _ => false,
    }
}

/// Lets the `n`th such write fail, before it happens or after. Answers how many there were so far.
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
async fn a_worker_that_applies_a_mapping_may_die_before_or_after_any_of_its_writes() {
    let count = {
        let world = world().await;
        let seen = break_write(&world.store, usize::MAX, true);
        let started = apply(&world).await;
        seen.store(0, Ordering::SeqCst);
        run_whatever_happens(&world).await;
        let count = seen.load(Ordering::SeqCst);
        is_applied(&world, &started, "undisturbed").await;
        count
    };
    assert!(count > 20, "{count}");
    for before in [true, false] {
        for n in 1..=count {
            let world = world().await;
            let started = apply(&world).await;
            break_write(&world.store, n, before);
            run_whatever_happens(&world).await;
            let what = format!("write {n} of {count}, before: {before}");
            assert!(world.store.all_fired(), "{what}");
            is_applied(&world, &started, &what).await;
        }
    }
}

#[tokio::test]
async fn events_that_come_while_a_mapping_is_applied_count_once_and_are_not_lost() {
    for phase in [Phase::SetApart, Phase::Fold, Phase::Replace, Phase::Switch, Phase::Rescore] {
        let world = world().await;
        let started = apply(&world).await;
        until(&world, &started, phase).await;
        // Something new of both kinds of accounts; something that happened before all that is known; and a lead that moves.
        let now = world.now();
        let events = vec![
            track("n0", "u0", "Signed Up", now).properties(json!({ "seat_count": 41 })).build(),
            group("n1", "u2", "acct_9", json!({ "desks": 20 }), now).build(),
            group("n2", "u2", "acct_9", json!({ "name": "Quillmark" }), start().plus_millis(-DAY_MS)).build(),
            group("n3", "u1", "acct_9", json!({}), now).build(),
        ];
        world.take(events).await.unwrap();
        world.run_jobs().await.unwrap();
        let record = job(&world, &started).await;
        assert_eq!(record.state, JobState::Done, "{phase:?}: {record:?}");
        let known = known(&world).await;
        let of = |account: &str, field: &str| known[account].get(field).cloned().unwrap_or_default();
        assert_eq!(
            (of("quarrystone-mills.com", "seats"), of("acct_9", "desks"), of("acct_9", "name")),
            ("41".into(), "20".into(), "Quillmark Press".into()),
            "{phase:?}"
        );
        assert_eq!(
            (of("acct_9", "seats"), of("acct_9", "plan"), of("fernhollow-labs.com", "seats")),
            ("40".into(), "Enterprise".into(), String::new()),
            "{phase:?}"
        );
        verified(&world, &format!("{phase:?}")).await;
    }
}

#[tokio::test]
async fn a_lead_that_moves_behind_the_walk_is_read_again_all_the_same() {
    let world = Arc::new(world().await);
    let started = apply(&world).await;
    until(&world, &started, Phase::Fold).await;
    // As soon as the first state was read again, everybody moves into one account: whoever is there already was seen, whoever comes was not.
    let elsewhere = Arc::clone(&world);
    world.store.before(|op| op.writes(STATE), async move {
        let joins = ["u0", "u1", "u2", "u3"].map(|user| group(&format!("j-{user}"), user, "acct_12", json!({}), elsewhere.now()).build());
        elsewhere.take(joins.into()).await.unwrap();
    });
    run_whatever_happens(&world).await;
    assert!(world.store.all_fired());
    assert_eq!(job(&world, &started).await.state, JobState::Done);
    let fields = world.score_of("acct_12").await.unwrap().fields;
    assert_eq!((fields.get("seats").map(ToString::to_string), fields.get("plan")), (Some("40".to_owned()), None));
    verified(&world, "moved").await;
}

#[tokio::test]
async fn an_application_can_be_given_up_in_every_phase_and_made_up_for() {
    for phase in [Phase::Settle, Phase::SetApart, Phase::Fold, Phase::Replace, Phase::Switch, Phase::Rescore, Phase::Confirm] {
        let world = world().await;
        let started = apply(&world).await;
        until(&world, &started, phase).await;
        world.job_list().cancel(&world.workspace, &started.id).await.unwrap();
        world.settle().await.unwrap();
        // Whoever is scored meanwhile has what was known, by the one mapping or the other, and never less.
        let now = world.now();
        world
            .take(vec![identify("z", "u0", "ada@quarrystone-mills.com", now).build(), group("y", "u2", "acct_9", json!({}), now).build()])
            .await
            .unwrap();
        let known = known(&world).await;
        assert_eq!(
            (known["acct_9"].get("name"), known["acct_9"].get("plan")),
            (Some(&"Quillmark Press".to_owned()), Some(&"Enterprise".to_owned())),
            "{phase:?}"
        );
        assert_eq!(known["quarrystone-mills.com"]["employees"], "700", "{phase:?}");
        world.clock.advance(1);
        let again = apply(&world).await;
        world.run_jobs().await.unwrap();
        is_applied_but_for_leftovers(&world, &again, phase).await;
    }
}

/// As [`is_applied`]; what a job that was given up had collected goes with time.
async fn is_applied_but_for_leftovers(world: &World, started: &JobRecord, phase: Phase) {
    assert_eq!(job(world, started).await.state, JobState::Done, "{phase:?}");
    assert_eq!(known(world).await, expected(), "{phase:?}");
    let left = world.store.memory.dump().into_iter().filter(|item| item.key.sk.starts_with("M#"));
    for item in left {
        assert!(item.expires_at.is_some_and(|at| at <= world.now().plus_millis(30 * DAY_MS)), "{phase:?}: {item:?}");
    }
    verified(world, &format!("{phase:?}")).await;
}

#[tokio::test]
async fn two_workers_take_turns_and_a_slow_one_stores_nothing_over_the_other() {
    let world = Arc::new(world().await);
    let started = apply(&world).await;
    let elsewhere = Arc::clone(&world);
    world.store.before(|op| op.writes("M#"), async move {
        elsewhere.clock.advance(100_000);
        run_whatever_happens(&elsewhere).await;
    });
    let other = world.another_job_runner();
    for _ in 0..1_000 {
        let (a, b) = futures::join!(world.jobs.round(), other.round());
        world.settle().await.unwrap();
        let Some(next) = world.job_list().next_due().await.unwrap() else { break };
        if a.unwrap_or(0) + b.unwrap_or(0) == 0 {
            world.clock.set(next.max(world.now()));
        }
    }
    assert!(world.store.all_fired());
    assert_eq!(job(&world, &started).await.state, JobState::Done);
    // What the slow worker had read was collected under its job's name after the other one was done with it: it counts for nobody and goes with time.
    assert_eq!(known(&world).await, expected());
    verified(&world, "a slow worker").await;
}

#[tokio::test]
async fn what_was_sealed_by_the_old_mapping_is_not_used_again() {
    let world = World::new();
    // So many parcels that they are sealed when they are folded anew: a client sends an older copy of an event again.
    for n in 0..70 {
        let at = world.now();
        let seen = track(&format!("e{n}"), "u0", "Signed Up", at).properties(json!({ "plan": "Pro", "seat_count": n })).build();
        world.take(vec![identify(&format!("i{n}"), "u0", "ada@quarrystone-mills.com", at).build(), seen]).await.unwrap();
        world.clock.advance(60_000);
    }
    // Much later the rules count something else, so that the next event has everything folded anew, which seals what is old.
    let old = world.now();
    world.clock.advance(20 * DAY_MS);
    let mut document = domain::model::default_document().unwrap();
    document.version = 2;
    document.engagement.rules.remove(0);
    let models = pipeline::models::Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    models.publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(60_000);
    world.take(vec![identify("again", "u0", "ada@quarrystone-mills.com", world.now()).build()]).await.unwrap();
    let sealed = async || {
        let home = home("quarrystone-mills.com").unwrap();
        let gathered = world.homes().gather(&world.workspace, &home, pipeline::Consistency::Strong).await.unwrap();
        gathered.own.states[0].state.sealed
    };
    let before = sealed().await;
    assert!(before.is_some());
    put_mapping(&world).await;
    world.clock.advance(60_000);
    let started = apply(&world).await;
    world.run_jobs().await.unwrap();
    assert_eq!(job(&world, &started).await.state, JobState::Done);
    assert!(sealed().await.is_some() && sealed().await != before);
    let fields = async || world.score_of("quarrystone-mills.com").await.unwrap().fields;
    assert_eq!((fields().await.get("plan"), fields().await["seats"].to_string()), (None, "69".to_owned()));
    // A message that was parked comes after weeks: everything is folded anew from what is sealed.
    let parked = BatchId::new(old.plus_millis(DAY_MS), 1);
    let event = track("parked", "u0", "Signed Up", old).properties(json!({ "employees": 800 })).build();
    let message = world.message_as(parked, vec![event]);
    pipeline::Queue::send(world.to_resolve.as_ref(), vec![message]).await.unwrap();
    world.settle().await.unwrap();
    assert_eq!((fields().await.get("plan"), fields().await["seats"].to_string()), (None, "69".to_owned()));
    assert_eq!(fields().await["employees"].to_string(), "800");
    verified(&world, "sealed").await;
}

/// Puts the rule into force that leads of one company belong to another account.
async fn put_profiles(world: &World) {
    let rule = json!({ "rules": [{ "when": "email_domain", "equals": "quarrystone-mills.com", "account_id": "acct_7" }] });
    change(world, Change::Profiles { profiles: ProfileMapping::read(&rule).unwrap() }).await;
}

#[tokio::test]
async fn a_worker_that_applies_profiles_may_die_and_its_queue_may_be_down() {
    let write_of_a_job = |op: &Op<'_>| {
        let of = |write: &Write| write.key().table == Table::Config;
        match op {
            Op::Write(write) => of(write),
            Op::Transact(writes) => writes.iter().any(of),
            _ => false,
        }
    };
    for broken in 0..9 {
        let world = World::new();
        world.take(events()).await.unwrap();
        put_profiles(&world).await;
        // Later than anything that is folded from the window.
        world.clock.advance(40 * DAY_MS);
        let started = begin(&world, JobKind::ApplyProfiles { model: 2 }).await;
        let counter = AtomicUsize::new(0);
        let chooses = move |op: &Op<'_>| write_of_a_job(op) && counter.fetch_add(1, Ordering::SeqCst) == broken / 2;
        match broken {
            8 => world.to_resolve.fail_next(2),
            n if n % 2 == 0 => world.store.fail(chooses),
            _ => world.store.lose_answer(chooses),
        }
        run_whatever_happens(&world).await;
        let record = job(&world, &started).await;
        assert_eq!(record.state, JobState::Done, "{broken}: {record:?}");
        assert_eq!(record.result.unwrap()["identities"], 5, "{broken}");
        assert!(world.store.all_fired(), "{broken}");
        assert_eq!(world.home_of(&Identity::user("u0")).await.unwrap(), home("acct_7").unwrap(), "{broken}");
        assert_eq!(world.home_of(&Identity::user("u1")).await.unwrap(), home("fernhollow-labs.com").unwrap(), "{broken}");
        assert_eq!(world.score_of("acct_7").await.unwrap().total_leads, 1, "{broken}");
        verified(&world, &format!("{broken}")).await;
    }
}

#[tokio::test]
async fn an_application_waits_for_a_publication_that_is_under_way() {
    let world = world().await;
    let started = apply(&world).await;
    until(&world, &started, Phase::Switch).await;
    let surge = domain::surge::SurgeSettings::read(&json!({ "mode": "absolute", "events": 8, "days": 3 })).unwrap();
    change(&world, Change::Surge { settings: surge }).await;
    // Chunks of both are worked in turn; the publication is not overtaken.
    world.run_jobs().await.unwrap();
    is_applied(&world, &started, "with a publication").await;
}

#[tokio::test]
async fn an_account_with_more_identities_than_there_is_time_for_is_gone_on_with() {
    let world = Arc::new(world().await);
    let now = world.now();
    let person = |n: usize| {
        let user = format!("v{n}");
        let seen = track(&format!("w{n}"), &user, "Signed Up", now).properties(json!({ "plan": "Pro" })).build();
        [identify(&format!("v{n}"), &user, &format!("person{n}@quarrystone-mills.com"), now).build(), seen]
    };
    // By the mapping of before, as if they had come earlier.
    let mut document = domain::model::default_document().unwrap();
    document.version = 3;
    let models = pipeline::models::Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    models.publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(60_000);
    world.take((0..9).flat_map(person).collect()).await.unwrap();
    document.version = 4;
    document.mapping = AccountMapping::new(2, mapping().currency(), mapping().entries().to_vec());
    models.publish(&world.workspace, &document).await.unwrap();
    let started = apply(&world).await;
    until(&world, &started, Phase::Fold).await;
    // Several times in a chunk, time is up.
    for _ in 0..4 {
        let elsewhere = Arc::clone(&world);
        world.store.before(|op| op.writes(STATE), async move { elsewhere.clock.advance(25_000) });
    }
    world.run_jobs().await.unwrap();
    assert!(world.store.all_fired());
    let record = job(&world, &started).await;
    // Each of the nine and of the first two; what is stated of accounts that events name lies with these.
    assert_eq!((&record.state, &record.result.as_ref().unwrap()["identities"]), (&JobState::Done, &json!(11)), "{record:?}");
    let fields = world.score_of("quarrystone-mills.com").await.unwrap().fields;
    assert_eq!((fields.get("plan"), fields["seats"].to_string()), (None, "40".to_owned()));
    verified(&world, "no time").await;
}

#[tokio::test]
async fn verification_compares_fields_unless_a_mapping_waits_to_be_applied() {
    let agrees = async |world: &World| {
        world.clock.advance(rescore::SETTLED_MS + 1);
        world.rescorer.run().await.unwrap();
        world.settle().await.unwrap();
        Auditor::new(Arc::clone(&world.store), Arc::clone(&world.clock)).run(&async || {}).await.unwrap().agrees()
    };
    // Somebody loses what events state of an account.
    let lose = async |world: &World| {
        let account = AccountId::new("acct_9").unwrap();
        let own = world.homes().own_fields(&world.workspace, &account).await.unwrap();
        let key = home_key(&world.workspace, &home("acct_9").unwrap(), OWN_FIELDS);
        let lost = OwnFields { facts: own.record.facts.apart().0, ..own.record };
        let due = put_due(&world.workspace, &home("acct_9").unwrap(), world.now(), 0).unwrap();
        let writes = vec![put_record(key, own.version, &lost).unwrap(), due];
        pipeline::Store::transact(&*world.store, writes).await.unwrap();
    };
    let world = World::new();
    world.take(events()).await.unwrap();
    // Another version of the model is not another mapping.
    let surge = domain::surge::SurgeSettings::read(&json!({ "mode": "absolute", "events": 8, "days": 3 })).unwrap();
    change(&world, Change::Surge { settings: surge }).await;
    world.run_jobs().await.unwrap();
    assert!(agrees(&world).await);
    lose(&world).await;
    assert!(!agrees(&world).await);
    // Under a mapping that waits nobody can say how fields were read.
    put_mapping(&world).await;
    world.clock.advance(60_000);
    assert!(agrees(&world).await);
    apply(&world).await;
    world.run_jobs().await.unwrap();
    assert!(agrees(&world).await);
    lose(&world).await;
    assert!(!agrees(&world).await);
    // Another order of sources is none either: what is stored was read by the same entries.
    let order =
        SourceOrder::new(&[FieldSource::Manual, FieldSource::Form, FieldSource::Group, FieldSource::Enrichment, FieldSource::CrmImport]);
    change(&world, Change::Mapping { mapping: mapping(), source_order: order }).await;
    world.run_jobs().await.unwrap();
    assert!(!agrees(&world).await);
}
