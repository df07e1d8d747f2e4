//! Owner rules when something goes wrong: answers are lost, workers die, two accounts and a person come at the same time.

use domain::{AccountId, Home, Timestamp, model::default_document, owner::OwnerRules};
use harpoon_tests::{
    hooked::{Flaky, Hooked, Op},
    world::{START, World, group, home, identify},
};
use pipeline::{
    AccountScored, Consistency, ManualClock, Store,
    accounts::account_key,
    clock::CountingEntropy,
    homes::put_record,
    records::{AccountRecord, OwnerBy, OwnerTurns, from_item, owner_turns_key},
    rulesets::{Change, Plan},
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

type Leveler = level::Leveler<Arc<Hooked>, Arc<Flaky>, Arc<ManualClock>, Arc<CountingEntropy>>;

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

/// A worker of level on another host.
fn another_leveler(world: &World) -> Leveler {
    level::Leveler::new(Arc::clone(&world.store), Arc::clone(&world.to_dispatch), Arc::clone(&world.clock), Arc::default())
}

/// Three owners take turns for accounts of the level Target.
async fn world() -> World {
    let world = World::new();
    let rules = json!({"rules": [{"id": "targets", "name": "Targets", "levels": ["target"], "owners": ["ana", "ben", "cleo"]}]});
    let owners = OwnerRules::read(&rules, &default_document().unwrap()).unwrap();
    let plan = Plan { workspace: &world.workspace, by: "dana", why: String::new(), notify: false, change: Change::Owners { owners } };
    world.rulesets().publish(&plan).await.unwrap();
    world.run_jobs().await.unwrap();
    world
}

/// The message that tells level of an account with 145 points, which is a Target.
async fn scored(world: &World, account: &str) -> AccountScored {
    let traits = json!({"employees": 2_000, "annual_revenue": 60_000_000, "country": "US", "industry": "Technology"});
    let (user, address) = (format!("u-{account}"), format!("ann@{account}"));
    world
        .send(vec![
            identify(&format!("i-{account}"), &user, &address, start()).build(),
            group(&format!("g-{account}"), &user, account, traits, start()).build(),
        ])
        .await
        .unwrap();
    for message in world.to_resolve.memory.take() {
        world.run(&world.resolver, message).await.unwrap();
    }
    for message in world.touched() {
        world.run(&world.scorer, message).await.unwrap();
    }
    let messages = world.scored();
    assert_eq!(messages.len(), 1);
    messages.into_iter().next().unwrap()
}

async fn record(world: &World, account: &str) -> AccountRecord {
    let account = AccountId::new(account).unwrap();
    world.homes().account(&world.workspace, &account, Consistency::Strong).await.unwrap().unwrap().record
}

async fn turns(world: &World) -> u64 {
    let item = world.store.memory.read(&owner_turns_key(&world.workspace, "targets"), Consistency::Strong).await.unwrap();
    item.map_or(0, |item| from_item::<OwnerTurns>(&item).unwrap().taken)
}

const A: &str = "northwind-looms.com";
const B: &str = "quarrystone-mills.com";

#[tokio::test]
async fn a_lost_answer_and_a_message_that_comes_again_turn_the_wheel_once() {
    for lost in [false, true] {
        let world = world().await;
        let message = scored(&world, A).await;
        if lost {
            world.store.lose_answer(|op| op.writes("targets"));
        } else {
            world.store.fail(|op| op.writes("targets"));
        }
        assert!(!world.attempt(&world.leveler, message.clone(), 1).await);
        assert!(world.store.all_fired());
        assert_eq!(turns(&world).await, u64::from(lost));
        for receive in 2..5 {
            assert!(world.attempt(&world.leveler, message.clone(), receive).await);
            assert!(world.attempt(&another_leveler(&world), message.clone(), receive).await);
        }
        let record = record(&world, A).await;
        assert_eq!((record.owner.as_deref(), record.owner_by), (Some("ana"), Some(OwnerBy::Rule { id: "targets".into() })));
        assert_eq!(turns(&world).await, 1);
        assert_eq!(world.standing_of(A).await.unwrap().owner.as_deref(), Some("ana"));
        // What follows from the account is due: the score record names the owner after it.
        world.clock.advance(60_000);
        world.rescorer.run().await.unwrap();
        world.settle().await.unwrap();
        assert_eq!(world.score_of(A).await.unwrap().owner.as_deref(), Some("ana"));
        assert_eq!(turns(&world).await, 1);
    }
}

/// Whichever write fails or loses its answer, the account gets one owner, the wheel turns once, and the transition is sent.
#[tokio::test]
async fn whichever_write_fails_the_account_gets_one_owner() {
    for lost in [false, true] {
        for nth in 0..20 {
            let world = world().await;
            let message = scored(&world, A).await;
            let count = Arc::new(AtomicUsize::new(0));
            let chooses = move |op: &Op<'_>| matches!(op, Op::Write(_) | Op::Transact(_)) && count.fetch_add(1, Ordering::SeqCst) == nth;
            if lost {
                world.store.lose_answer(chooses);
            } else {
                world.store.fail(chooses);
            }
            let done = world.attempt(&world.leveler, message.clone(), 1).await;
            let fired = world.store.all_fired();
            assert_eq!(done, !fired, "{nth}");
            if !fired {
                assert!(nth > 2, "only {nth} writes");
                break;
            }
            assert!(world.attempt(&world.leveler, message, 2).await);
            assert_eq!((record(&world, A).await.owner.as_deref(), turns(&world).await), (Some("ana"), 1), "{nth} {lost}");
            let standing = world.standing_of(A).await.unwrap();
            assert_eq!((standing.owner.as_deref(), standing.level.as_deref()), (Some("ana"), Some("target")), "{nth} {lost}");
            assert!(!world.changes().is_empty());
        }
    }
}

#[tokio::test]
async fn of_two_accounts_at_once_each_has_its_own_turn() {
    let world = Arc::new(world().await);
    let (first, second) = (scored(&world, A).await, scored(&world, B).await);
    let (faster, store) = (Arc::clone(&world), &world.store);
    store.before(|op| op.writes("targets"), async move {
        assert!(faster.attempt(&another_leveler(&faster), second, 1).await);
    });
    assert!(world.attempt(&world.leveler, first, 1).await);
    assert_eq!(record(&world, B).await.owner.as_deref(), Some("ana"));
    assert_eq!(record(&world, A).await.owner.as_deref(), Some("ben"));
    assert_eq!(turns(&world).await, 2);
}

#[tokio::test]
async fn a_person_who_is_a_moment_faster_than_the_rule_wins() {
    let world = Arc::new(world().await);
    let message = scored(&world, A).await;
    let person = Arc::clone(&world);
    world.store.before(|op| op.writes("targets"), async move {
        let account = AccountId::new(A).unwrap();
        let read = person.homes().account(&person.workspace, &account, Consistency::Strong).await.unwrap().unwrap();
        let mut record = read.record;
        record.owner = Some("zoe".to_owned());
        record.owner_by = Some(OwnerBy::Manual);
        person.store.memory.write(put_record(account_key(&person.workspace, &account), read.version, &record).unwrap()).await.unwrap();
    });
    assert!(world.attempt(&world.leveler, message, 1).await);
    assert_eq!((record(&world, A).await.owner.as_deref(), turns(&world).await), (Some("zoe"), 0));
    assert_eq!(world.standing_of(A).await.unwrap().owner.as_deref(), Some("zoe"));
}

/// An owner of an account that an earlier build stored was set by a person.
#[tokio::test]
async fn an_owner_from_before_there_were_rules_stays() {
    let world = world().await;
    let message = scored(&world, A).await;
    let account = AccountId::new(A).unwrap();
    let read = world.homes().account(&world.workspace, &account, Consistency::Strong).await.unwrap().unwrap();
    let old: AccountRecord = serde_json::from_value({
        let mut stored = serde_json::to_value(&read.record).unwrap();
        assert!(stored.get("owner_by").is_none());
        stored["owner"] = "zoe".into();
        stored
    })
    .unwrap();
    world.store.memory.write(put_record(account_key(&world.workspace, &account), read.version, &old).unwrap()).await.unwrap();
    assert!(world.attempt(&world.leveler, message, 1).await);
    assert_eq!((record(&world, A).await.owner.as_deref(), turns(&world).await), (Some("zoe"), 0));
    assert!(matches!(home(A).unwrap(), Home::Account(_)));
}
