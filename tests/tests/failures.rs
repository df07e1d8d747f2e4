//! What each stage does when something goes wrong: duplicate, crash between write and send, missing account, partial batch.

use domain::{Home, Identity, IdentityKind, Shard, Timestamp};
use harpoon_tests::{
    hooked::Op,
    world::{START, World, home, identify, page},
};
use pipeline::{AccountScored, AccountTouched, Outcome, Received, Stage, StageError, records::STATE};

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

fn two_people(world: &World) -> pipeline::EventsReceived {
    world.message(vec![
        identify("m1", "u1", "ada@quarrystone-mills.com", start()).build(),
        identify("m2", "u2", "bo@fernhollow-labs.com", start()).build(),
    ])
}

/// The store refuses every write of one identity's state.
fn break_state_of(world: &World, user: &str, times: usize) {
    let id = Identity::user(user).id();
    let sk = format!("{STATE}{}{id}", Shard::of(IdentityKind::User, id, None));
    for _ in 0..times {
        let sk = sk.clone();
        world.store.fail(move |op| match op {
            Op::Transact(writes) => writes.iter().any(|write| write.key().sk == sk),
            Op::Write(write) => write.key().sk == sk,
            _ => false,
        });
    }
}

#[tokio::test]
async fn resolve_counts_a_duplicate_message_once() {
    let world = World::new();
    let message = world.message(vec![page("m1", "u1", "s1", start()).build()]);
    let twice = vec![Received::first(message.clone()), Received::first(message.clone())];
    assert!(world.resolver.handle(twice).await.iter().all(|outcome| matches!(outcome, Outcome::Done)));
    assert!(world.attempt(&world.resolver, message, 3).await);
    world.settle().await.unwrap();
    let place = world.home_of(&Identity::user("u1")).await.unwrap();
    assert_eq!(world.score_at(&place).await.unwrap().engagement, 5);
}

#[tokio::test]
async fn resolve_sends_again_what_it_had_written_before_a_crash() {
    let world = World::new();
    let message = world.message(vec![page("m1", "u1", "s1", start()).build()]);
    world.to_score.fail_next(1);
    assert!(!world.attempt(&world.resolver, message.clone(), 1).await);
    assert!(world.touched().is_empty());
    assert!(world.attempt(&world.resolver, message, 2).await);
    assert_eq!(world.touched().len(), 1);
}

#[tokio::test]
async fn resolve_holds_a_good_parcel_back_once_and_then_splits_the_bad_one_off() {
    let world = World::new();
    let message = two_people(&world);
    break_state_of(&world, "u2", 2);
    let first = world.resolver.handle(vec![Received::first(message.clone())]).await;
    assert!(matches!(first.as_slice(), [Outcome::Failed(StageError::Retry { .. })]));
    let again = Received { message_id: String::new(), receive_count: 2, message: message.clone() };
    let second = world.resolver.handle(vec![again]).await;
    let [Outcome::Split { retry, reject }] = second.as_slice() else { panic!("{second:?}") };
    assert!(reject.is_empty());
    assert_eq!(retry.len(), 1);
    assert_eq!((retry[0].batch, retry[0].parcels[0].identity.value.as_str()), (message.batch, "u2"));
    // The good one is done, and the bad one once the store is well again.
    assert_eq!(world.home_of(&Identity::user("u1")).await.unwrap(), home("quarrystone-mills.com").unwrap());
    assert!(world.attempt(&world.resolver, retry[0].clone(), 1).await);
    assert_eq!(world.home_of(&Identity::user("u2")).await.unwrap(), home("fernhollow-labs.com").unwrap());
}

#[tokio::test]
async fn one_failed_message_fails_none_of_its_batch() {
    let world = World::new();
    let good = world.message(vec![page("m1", "u1", "s1", start()).build()]);
    let bad = world.message(vec![page("m2", "u2", "s1", start()).build()]);
    break_state_of(&world, "u2", 1);
    let outcomes = world.resolver.handle(vec![Received::first(good), Received::first(bad)]).await;
    assert!(matches!(outcomes.as_slice(), [Outcome::Done, Outcome::Failed(StageError::Retry { .. })]));
}

#[tokio::test]
async fn score_answers_a_duplicate_hint_without_a_second_write_but_with_a_second_message() {
    let world = World::new();
    world.send(vec![page("m1", "u1", "s1", start()).build()]).await.unwrap();
    world.settle().await.unwrap();
    let place = world.home_of(&Identity::user("u1")).await.unwrap();
    let version = |world: &World| {
        let (homes, workspace, place) = (world.homes(), world.workspace.clone(), place.clone());
        async move { homes.score(&workspace, &place, pipeline::Consistency::Strong).await.unwrap().unwrap().version }
    };
    let before = version(&world).await;
    let hint = AccountTouched::whole(world.workspace.clone(), vec![place.clone()]);
    assert!(world.attempt(&world.scorer, hint, 1).await);
    assert_eq!(version(&world).await, before);
    assert_eq!(world.scored().len(), 1);
}

#[tokio::test]
async fn score_sends_again_what_it_had_written_before_a_crash() {
    let world = World::new();
    world.run(&world.resolver, world.message(vec![page("m1", "u1", "s1", start()).build()])).await.unwrap();
    let [hint] = world.touched().try_into().unwrap();
    let hint: AccountTouched = hint;
    world.to_level.fail_next(1);
    assert!(!world.attempt(&world.scorer, hint.clone(), 1).await);
    assert!(world.attempt(&world.scorer, hint, 2).await);
    assert_eq!(world.scored().len(), 1);
}

#[tokio::test]
async fn score_and_level_take_a_hint_about_an_account_that_is_not_there() {
    let world = World::new();
    let nowhere = home("acct_nowhere").unwrap();
    let hint = AccountTouched::whole(world.workspace.clone(), vec![nowhere.clone()]);
    assert!(world.attempt(&world.scorer, hint, 1).await);
    let unknown = AccountScored { workspace: world.workspace.clone(), homes: vec![home("acct_never_scored").unwrap()] };
    assert!(world.attempt(&world.leveler, unknown, 1).await);
}

#[tokio::test]
async fn score_retries_one_home_alone_when_it_keeps_failing() {
    let world = World::new();
    world.run(&world.resolver, two_people(&world)).await.unwrap();
    let homes = vec![home("fernhollow-labs.com").unwrap(), home("quarrystone-mills.com").unwrap()];
    let hint = AccountTouched::whole(world.workspace.clone(), homes);
    world.store.fail(|op| matches!(op, Op::Write(write) if write.key().sk == "R" && write.key().pk.contains("fernhollow")));
    let outcomes = world.scorer.handle(vec![Received { message_id: String::new(), receive_count: 2, message: hint }]).await;
    let [Outcome::Split { retry, .. }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let left: Vec<&Vec<Home>> = retry.iter().map(|message| &message.homes).collect();
    assert_eq!(left, [&vec![home("fernhollow-labs.com").unwrap()]]);
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().total_leads, 1);
}

#[tokio::test]
async fn level_records_a_duplicate_hint_once() {
    let world = World::new();
    world.take(vec![page("m1", "u1", "s1", start()).build()]).await.unwrap();
    let place = world.home_of(&Identity::user("u1")).await.unwrap();
    let before = world.standing_at(&place).await.unwrap();
    world.changes();
    let hint = AccountScored { workspace: world.workspace.clone(), homes: vec![place.clone()] };
    assert!(world.attempt(&world.leveler, hint, 1).await);
    assert_eq!(world.standing_at(&place).await.unwrap(), before);
    assert!(world.changes().is_empty());
}

#[tokio::test]
async fn a_lease_that_nobody_served_is_enqueued_again() {
    let world = World::new();
    world
        .take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(), page("m1", "u1", "s1", start()).build()])
        .await
        .unwrap();
    let due = world.score_of("quarrystone-mills.com").await.unwrap().due_at.unwrap();
    world.clock.set(due.plus_millis(rescore::SETTLED_MS));
    assert_eq!(world.rescorer.run().await.unwrap().accounts, 1);
    // The message is lost. Nothing is enqueued until the lease ends.
    assert_eq!(world.touched().len(), 1);
    assert_eq!(world.rescorer.run().await.unwrap().accounts, 0);
    world.clock.advance(rescore::LEASE_MS + rescore::SETTLED_MS);
    assert_eq!(world.rescorer.run().await.unwrap().accounts, 1);
    world.settle().await.unwrap();
    // It was served: the next change lies ahead, and the lease is gone.
    world.clock.advance(3 * rescore::LEASE_MS);
    assert_eq!(world.rescorer.run().await.unwrap().accounts, 0);
    assert!(world.score_of("quarrystone-mills.com").await.unwrap().due_at.unwrap() > world.now());
}
