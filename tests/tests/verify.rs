//! `harpoon verify` finds what does not follow from the log, leaves alone what does, and mends what it found.

use domain::{DAY_MS, Event, Home, Identity, Shard, Timestamp};
use harpoon::verify::{Auditor, Fault, Report, Subject};
use harpoon_tests::{
    hooked::{Hooked, Op},
    world::{START, World, event, home, id, identify, page, track},
};
use pipeline::{
    Condition, Consistency, Item, Key, ManualClock, Parcel, Store, Table, Write,
    homes::{put_record, put_state},
    parcels::Parcels,
    records::{SCORE, due_key, home_key, identity_key, standing_key, state_key},
};
use std::sync::Arc;

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

fn days_ago(days: i64) -> Timestamp {
    start().plus_millis(-days * DAY_MS)
}

fn shard(identity: &Identity) -> Shard {
    Shard::of(identity.kind, identity.id(), None)
}

fn auditor(world: &World) -> Auditor<Arc<Hooked>, Arc<ManualClock>> {
    Auditor::new(Arc::clone(&world.store), Arc::clone(&world.clock))
}

/// What the deployment does on its own while somebody waits: rescore runs, and the stages work.
async fn work(world: &World) {
    world.clock.advance(rescore::SETTLED_MS + 1);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
}

/// Verifies a deployment at rest.
async fn verified(world: &World) -> Report {
    auditor(world).run(&async || {}).await.unwrap()
}

/// Verifies, mends, lets the stages work, and verifies again.
async fn mended(world: &World) -> Report {
    let before = verified(world).await;
    assert!(!before.agrees());
    let done = auditor(world).mend(&before.findings).await.unwrap();
    assert_eq!(done.left, 0, "{done:?}");
    work(world).await;
    assert!(auditor(world).remaining(&before.findings).await.unwrap().is_empty());
    let after = verified(world).await;
    assert!(after.agrees(), "{}\n{:?}", after.sentence(), after.findings);
    before
}

fn faults_of(report: &Report, subject: &Subject) -> Vec<Fault> {
    report.findings.iter().filter(|finding| finding.subject == *subject).flat_map(|finding| finding.faults.clone()).collect()
}

/// Ada of one company with a browser, Bo of another, and Gus with free mail: four identities, two accounts, one unresolved lead.
async fn people() -> Arc<World> {
    let world = Arc::new(World::new());
    let ada = |n: i64| track(&format!("ada-{n}"), "ada", "Demo Requested", days_ago(n)).build();
    let visit = event(domain::CallKind::Page, "visit", days_ago(9)).anonymous("browser").build();
    let known = identify("known-ada", "ada", "ada@quarrystone-mills.com", days_ago(8)).anonymous("browser").build();
    world.take(vec![visit]).await.unwrap();
    world.clock.advance(10);
    world.take(vec![known, ada(3), ada(2)]).await.unwrap();
    world.clock.advance(10);
    let bo = identify("known-bo", "bo", "bo@fernhollow-labs.com", days_ago(8)).build();
    let gus = identify("known-gus", "gus", "gus.free@gmail.com", days_ago(8)).build();
    world.take(vec![bo, gus, page("bo-1", "bo", "s1", days_ago(1)).build()]).await.unwrap();
    work(&world).await;
    world
}

fn quarrystone() -> Home {
    home("quarrystone-mills.com").unwrap()
}

fn ada() -> Identity {
    Identity::user("ada")
}

async fn log(world: &World, identity: Identity, events: Vec<Event>) {
    let parcels = Parcels::new(Arc::clone(&world.store));
    parcels.put(&world.workspace, world.batch_id(), &Parcel { identity, events: events.into() }).await.unwrap();
}

async fn read(world: &World, key: &Key) -> Item {
    world.store.read(key, Consistency::Strong).await.unwrap().unwrap()
}

async fn write(world: &World, write: Write) {
    world.store.write(write).await.unwrap();
}

#[tokio::test]
async fn what_ran_in_order_agrees() {
    let world = people().await;
    let report = verified(&world).await;
    assert_eq!(report.sentence(), "4 identities, 2 accounts and 1 unresolved lead agree with the log.");
    assert_eq!((report.findings.len(), report.in_flight), (0, 0));
}

#[tokio::test]
async fn an_empty_deployment_agrees() {
    assert_eq!(verified(&World::new()).await.sentence(), "0 identities and 0 accounts agree with the log.");
}

#[tokio::test]
async fn a_state_that_counts_too_much_is_found_and_folded_again() {
    let world = people().await;
    let homes = world.homes();
    let mut stored = homes.state_at(&world.workspace, &quarrystone(), shard(&ada()), &id(&ada())).await.unwrap().unwrap();
    stored.state.facts.count += 3;
    let put = put_state(&world.workspace, &quarrystone(), &stored.state, stored.version, Condition::Version(stored.version)).unwrap();
    write(&world, put).await;
    let report = mended(&world).await;
    assert_eq!(report.sentence(), "1 identity has a state that differs from the log, by 3 events too many.");
    assert_eq!(faults_of(&report, &Subject::Identity(id(&ada()))), [Fault::StateDiffers { more: 3, what: vec!["events"] }]);
    let state = homes.state_at(&world.workspace, &quarrystone(), shard(&ada()), &id(&ada())).await.unwrap().unwrap();
    assert_eq!(state.state.facts.count, 3);
}

#[tokio::test]
async fn a_parcel_that_was_never_folded_is_found_and_folded() {
    let world = people().await;
    let bo = Identity::user("bo");
    let before = world.score_of("fernhollow-labs.com").await.unwrap();
    world.clock.advance(10);
    let download = |n: i64| track(&format!("lost-{n}"), "bo", "Content Downloaded", days_ago(n));
    let lost = |n: i64| download(n).properties(serde_json::json!({ "asset": format!("guide-{n}") })).build();
    log(&world, bo.clone(), (0..4).map(lost).collect()).await;
    let report = mended(&world).await;
    assert_eq!(faults_of(&report, &Subject::Identity(id(&bo))), [Fault::EventsMissing { events: 4 }]);
    let after = world.score_of("fernhollow-labs.com").await.unwrap();
    let points = after.engagement - before.engagement;
    assert!(points > 0);
    assert_eq!(report.sentence(), format!("1 account differs by {points} points; 1 identity has 4 events that its state lacks."));
    // A parcel that comes again after it was mended is not counted twice.
    let again = world.store.memory.dump();
    let parcel = again.iter().rfind(|item| item.key.sk.starts_with("P#") && item.key.pk.ends_with(&id(&bo).to_string())).unwrap();
    let batch = domain::BatchId::parse(parcel.key.sk.trim_start_matches("P#")).unwrap();
    world.run(&world.resolver, world.message_as(batch, (0..4).map(lost).collect())).await.unwrap();
    work(&world).await;
    assert!(verified(&world).await.agrees());
}

#[tokio::test]
async fn an_identity_that_left_nothing_but_its_parcel_is_found_and_resolved() {
    let world = people().await;
    let events = vec![
        identify("known-cy", "cy", "cy@quarrystone-mills.com", days_ago(4)).build(),
        track("cy-1", "cy", "Demo Requested", days_ago(1)).build(),
    ];
    log(&world, Identity::user("cy"), events).await;
    let report = mended(&world).await;
    assert_eq!(report.sentence(), "1 identity with 2 events has no state.");
    assert_eq!(world.home_of(&Identity::user("cy")).await.unwrap(), quarrystone());
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().total_leads, 2);
}

#[tokio::test]
async fn a_state_that_is_gone_is_found_and_folded_from_the_log() {
    let world = people().await;
    let before = world.score_of("quarrystone-mills.com").await.unwrap();
    let key = state_key(&world.workspace, &quarrystone(), shard(&ada()), &id(&ada()));
    write(&world, Write::Delete(key, Condition::Always)).await;
    let report = mended(&world).await;
    assert_eq!(faults_of(&report, &Subject::Identity(id(&ada()))), [Fault::StateMissing { events: 3 }]);
    let after = world.score_of("quarrystone-mills.com").await.unwrap();
    assert_eq!((after.engagement, after.total_leads, after.leads), (before.engagement, before.total_leads, before.leads));
}

#[tokio::test]
async fn a_second_state_of_an_identity_is_found_and_removed() {
    let world = people().await;
    let elsewhere = home("fernhollow-labs.com").unwrap();
    let stored = world.homes().state_at(&world.workspace, &quarrystone(), shard(&ada()), &id(&ada())).await.unwrap().unwrap();
    write(&world, put_state(&world.workspace, &elsewhere, &stored.state, 1, Condition::Absent).unwrap()).await;
    let report = mended(&world).await;
    let stray = Subject::Stray { home: elsewhere, identity: id(&ada()) };
    assert_eq!(faults_of(&report, &stray), [Fault::Stray]);
    assert_eq!(world.score_of("fernhollow-labs.com").await.unwrap().total_leads, 1);
}

#[tokio::test]
async fn a_score_that_was_changed_is_found_with_its_points_and_computed_again() {
    let world = people().await;
    let key = home_key(&world.workspace, &quarrystone(), SCORE);
    let item = read(&world, &key).await;
    let mut record = world.score_of("quarrystone-mills.com").await.unwrap();
    let right = record.clone();
    record.account_score += 12;
    let put = put_record(key, item.version - 1, &record).unwrap();
    let Write::Put(changed, _) = put else { panic!("not a put") };
    write(&world, Write::Put(changed, Condition::Always)).await;
    let report = mended(&world).await;
    assert_eq!(report.sentence(), "1 account differs by 12 points; 1 account is not levelled from the last score.");
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().account_score, right.account_score);
}

#[tokio::test]
async fn a_score_that_is_gone_is_found_and_made_again_and_levelled() {
    let world = people().await;
    let right = world.score_of("quarrystone-mills.com").await.unwrap();
    write(&world, Write::Delete(home_key(&world.workspace, &quarrystone(), SCORE), Condition::Always)).await;
    let report = mended(&world).await;
    assert_eq!(report.sentence(), "1 account is not scored from the latest states.");
    let again = world.score_of("quarrystone-mills.com").await.unwrap();
    assert_eq!((again.engagement, again.account_score), (right.engagement, right.account_score));
}

#[tokio::test]
async fn a_hint_that_was_lost_is_found_and_served() {
    let world = people().await;
    let late = track("late", "ada", "Demo Requested", days_ago(0)).build();
    world.run(&world.resolver, world.message(vec![late])).await.unwrap();
    assert_eq!(world.touched().len(), 1);
    let report = mended(&world).await;
    assert!(report.sentence().ends_with("; 1 account is not scored from the latest states."), "{}", report.sentence());

    world.run(&world.resolver, world.message(vec![track("later", "ada", "Demo Requested", days_ago(0)).build()])).await.unwrap();
    for touched in world.touched() {
        world.run(&world.scorer, touched).await.unwrap();
    }
    assert_eq!(world.scored().len(), 1);
    assert_eq!(mended(&world).await.sentence(), "1 account is not levelled from the last score.");
}

#[tokio::test]
async fn a_due_item_that_is_gone_is_found_and_made_again() {
    let world = people().await;
    let due = world.score_of("quarrystone-mills.com").await.unwrap().due_at.expect("Ada's points decay");
    let key = due_key(&world.workspace, &quarrystone(), due);
    write(&world, Write::Delete(key.clone(), Condition::Always)).await;
    assert_eq!(mended(&world).await.sentence(), "1 account would not be scored again when that is due.");
    assert!(world.store.read(&key, Consistency::Strong).await.unwrap().is_some());
    // The same where the moment has come already.
    let items = world.store.memory.dump();
    let who = format!("{}#{}", world.workspace, quarrystone());
    let theirs = items.iter().filter(|item| item.key.pk.starts_with("DUE#") && item.key.sk.ends_with(&who));
    for item in theirs {
        write(&world, Write::Delete(item.key.clone(), Condition::Always)).await;
    }
    world.clock.set(due.plus_millis(DAY_MS / 2));
    let report = verified(&world).await;
    assert_eq!(faults_of(&report, &Subject::Home(quarrystone())), [Fault::DueLost]);
}

#[tokio::test]
async fn a_change_that_was_never_sent_is_found_and_sent() {
    let world = people().await;
    let was = world.standing_of("quarrystone-mills.com").await.unwrap();
    let history = world.store.memory.dump();
    let last = history.iter().rfind(|item| item.key.pk.contains("#T#a:quarrystone")).expect("Ada changed a level");
    let transition = pipeline::records::from_item(last).unwrap();
    let key = standing_key(&world.workspace, &quarrystone());
    let version = read(&world, &key).await.version;
    let unsent = pipeline::records::Standing { pending: vec![transition], ..was };
    write(&world, put_record(key, version, &unsent).unwrap()).await;
    assert!(verified(&world).await.agrees(), "what was recorded just now may be on its way");
    world.clock.advance(6 * 60 * 1000);
    world.changes();
    assert_eq!(mended(&world).await.sentence(), "1 account holds changes that were never sent.");
    assert_eq!(world.changes().len(), 1);
}

#[tokio::test]
async fn a_link_that_is_missing_is_found_and_made() {
    let world = people().await;
    let browser = id(&Identity::anonymous("browser"));
    let homes = world.homes();
    let mut mapping = homes.mapping(&world.workspace, &browser, Consistency::Strong).await.unwrap().unwrap();
    let mut user = homes.mapping(&world.workspace, &id(&ada()), Consistency::Strong).await.unwrap().unwrap();
    let mut stored = homes.state(&world.workspace, &mapping.record).await.unwrap().unwrap();
    assert!(mapping.record.link.take().is_some());
    assert!(user.record.named.remove(&browser).is_some());
    stored.state.link = None;
    let linked = state_key(&world.workspace, &quarrystone(), stored.shard, &browser);
    write(&world, Write::Delete(linked, Condition::Version(stored.version))).await;
    write(&world, put_record(identity_key(&world.workspace, &browser), mapping.version, &mapping.record).unwrap()).await;
    write(&world, put_record(identity_key(&world.workspace, &id(&ada())), user.version, &user.record).unwrap()).await;
    let put = put_state(&world.workspace, &quarrystone(), &stored.state, stored.version, Condition::Always).unwrap();
    write(&world, put).await;
    let report = mended(&world).await;
    assert_eq!(faults_of(&report, &Subject::Identity(id(&ada()))), [Fault::LinksMissing { links: 1 }]);
    let mapping = homes.mapping(&world.workspace, &browser, Consistency::Strong).await.unwrap().unwrap();
    assert_eq!(mapping.record.link.map(|link| link.user), Some(id(&ada())));
}

#[tokio::test]
async fn a_field_of_a_named_account_that_is_missing_is_found_and_stated_again() {
    let world = people().await;
    let stated = serde_json::json!({ "employees": 700, "industry": "Technology" });
    world.take(vec![harpoon_tests::world::group("group", "ada", "acct-7", stated, days_ago(1)).build()]).await.unwrap();
    work(&world).await;
    assert!(verified(&world).await.agrees());
    let key = home_key(&world.workspace, &home("acct-7").unwrap(), "M");
    write(&world, Write::Delete(key.clone(), Condition::Always)).await;
    let report = mended(&world).await;
    assert_eq!(faults_of(&report, &Subject::Identity(id(&ada()))), [Fault::FieldsMissing { accounts: 1 }]);
    assert!(world.store.read(&key, Consistency::Strong).await.unwrap().is_some());
}

/// Parcels are kept for 25 months; what a state knows from before then is no fault, and a parcel that still lies there past its time is
/// not part of the log.
#[tokio::test]
async fn what_the_log_no_longer_holds_is_no_fault() {
    let world = people().await;
    world.clock.advance(762 * DAY_MS);
    let now = world.now();
    world.take(vec![track("back", "ada", "Demo Requested", now).build(), page("bo-2", "bo", "s2", now).build()]).await.unwrap();
    for _ in 0..3 {
        work(&world).await;
    }
    let state = world.homes().state_at(&world.workspace, &quarrystone(), shard(&ada()), &id(&ada())).await.unwrap().unwrap();
    assert_eq!(state.state.facts.count, 4);
    let report = verified(&world).await;
    assert!(report.agrees(), "{}\n{:?}", report.sentence(), report.findings);
    // Yet an event that is in the log is still missed.
    log(&world, ada(), vec![track("lost", "ada", "Demo Requested", now).build()]).await;
    let report = verified(&world).await;
    assert!(!faults_of(&report, &Subject::Identity(id(&ada()))).is_empty(), "{}", report.sentence());
}

/// Gus turns out to be of a company, and so does a browser that nobody knew; an account that was made for a domain is absorbed.
#[tokio::test]
async fn identities_that_moved_agree() {
    let world = people().await;
    let moves = vec![
        identify("gus-2", "gus", "gus@fernhollow-labs.com", days_ago(2)).build(),
        harpoon_tests::world::group("g-1", "ada", "acct-9", serde_json::json!({ "name": "Quarrystone" }), days_ago(1)).build(),
    ];
    world.take(moves).await.unwrap();
    for _ in 0..3 {
        work(&world).await;
    }
    let report = verified(&world).await;
    assert!(report.agrees(), "{}\n{:?}", report.sentence(), report.findings);
    assert_eq!(world.home_of(&ada()).await.unwrap(), home("acct-9").unwrap());
}

/// Whatever stands between two reads of the verifier, work that is under way is not taken for a fault.
#[tokio::test]
async fn folding_and_scoring_in_between_raise_no_alarm() {
    for step in 0..40 {
        let world = people().await;
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let (here, clock) = (Arc::clone(&world), Arc::clone(&world.clock));
        let nth = move |_: &Op<'_>| seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == step;
        world.store.before(nth, async move {
            clock.advance(10);
            let events = vec![
                track("meanwhile", "ada", "Demo Requested", days_ago(0)).build(),
                identify("gus-2", "gus", "gus@fernhollow-labs.com", days_ago(2)).anonymous("another").build(),
                identify("new", "dot", "dot@saltmarsh-rail.com", days_ago(2)).build(),
            ];
            // The parcels are there and nothing else yet; or all is folded and nothing scored.
            here.run(&here.resolver, here.message(events)).await.unwrap();
        });
        let report = auditor(&world).run(&async || work(&world).await).await.unwrap();
        assert!(world.store.all_fired() || step > 20, "step {step} was never reached");
        assert!(report.agrees(), "step {step}: {}\n{:?}", report.sentence(), report.findings);
    }
}

/// Even where every look meets a write, nothing is reported that nobody has seen at rest.
#[tokio::test]
async fn a_place_that_is_written_at_every_look_is_not_judged() {
    let world = people().await;
    let n = std::sync::atomic::AtomicI64::new(0);
    let late = |n: i64| track(&format!("busy-{n}"), "ada", "Demo Requested", days_ago(0)).build();
    world.run(&world.resolver, world.message(vec![late(-1)])).await.unwrap();
    let busy = async || {
        // Folded, and never scored.
        world.clock.advance(10);
        let n = n.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        world.run(&world.resolver, world.message(vec![late(n)])).await.unwrap();
    };
    let report = auditor(&world).run(&busy).await.unwrap();
    assert_eq!((report.findings.len(), report.in_flight), (0, 1));
    assert!(report.remarks()[0].contains("not judged"), "{:?}", report.remarks());
}

#[tokio::test]
async fn only_the_wanted_workspace_is_verified() {
    let world = people().await;
    log(&world, Identity::user("cy"), vec![track("cy-1", "cy", "Demo Requested", days_ago(1)).build()]).await;
    let other = domain::WorkspaceId::new("other").unwrap();
    let report = auditor(&world).only(Some(other)).run(&async || {}).await.unwrap();
    assert_eq!(report.sentence(), "0 identities and 0 accounts agree with the log.");
}

/// Findings name ids alone: no address, no event.
#[tokio::test]
async fn what_is_reported_holds_nothing_personal() {
    let world = people().await;
    log(&world, ada(), vec![identify("lost", "ada", "ada.private@quarrystone-mills.com", days_ago(0)).build()]).await;
    for item in world.store.memory.dump() {
        if item.key.table == Table::Accounts && item.key.sk == SCORE {
            write(&world, Write::Delete(item.key, Condition::Always)).await;
        }
    }
    let report = verified(&world).await;
    assert!(report.findings.len() >= 4);
    let text = format!("{} {}", serde_json::to_string(&report).unwrap(), report.sentence());
    assert!(!text.contains('@'), "{text}");
}
