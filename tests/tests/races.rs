//! Interleavings, spelled out. In each test a second worker does its whole work between two operations of the first.

use domain::{Home, Identity, NamedBy, Timestamp};
use harpoon_tests::world::{START, World, home, identify, page, track};
use pipeline::{AccountScored, AccountTouched, Consistency, ManualClock, Received, Stage, homes::HomeStore, records::STATE};
use std::sync::Arc;

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

fn touched(world: &World, home: Home) -> AccountTouched {
    AccountTouched::whole(world.workspace.clone(), vec![home])
}

/// Worker A has read mapping and state of a browser. Before A writes the state, worker B learns who uses the browser and moves
/// the state to the account. A's write must fail, A must find the state at its new home, and fold there.
#[tokio::test]
async fn a_state_moved_while_a_parcel_of_it_is_folded_loses_nothing() {
    let world = World::new();
    let visit = |id: &str, session: &str| {
        let event = page(id, "nobody", session, start()).build();
        domain::Event { user_id: None, anonymous_id: Some("browser-1".into()), ..event }
    };
    world.take(vec![visit("m1", "s1")]).await.unwrap();

    let other = world.another_resolver();
    let moving = world.message(vec![identify("m2", "u1", "ada@quarrystone-mills.com", start()).anonymous("browser-1").build()]);
    world.store.before(|op| op.writes(STATE), async move {
        let outcomes = other.handle(vec![Received::first(moving)]).await;
        assert!(matches!(outcomes.as_slice(), [pipeline::Outcome::Done]));
    });
    world.take(vec![visit("m3", "s2")]).await.unwrap();
    assert!(world.store.all_fired());

    let account = home("quarrystone-mills.com").unwrap();
    assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), account);
    let browser = Identity::anonymous("browser-1").id();
    let mapping = world.homes().mapping(&world.workspace, &browser, Consistency::Strong).await.unwrap().unwrap();
    let state = world.homes().state(&world.workspace, &mapping.record).await.unwrap().unwrap();
    assert_eq!(state.state.facts.count, 2);
    // Nothing is left where it was.
    let left =
        world.homes().partition(&world.workspace, &Home::Lead(Identity::anonymous("browser-1").id()), Consistency::Strong).await.unwrap();
    assert!(left.states.is_empty());
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().engagement, 10);
}

/// Two workers fold two parcels of one identity: B's fold happens between A's read and A's write.
#[tokio::test]
async fn two_folds_of_one_identity_count_both_parcels() {
    let world = World::new();
    world.take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    let other = world.another_resolver();
    let second = world.message(vec![page("m2", "u1", "s2", start()).build()]);
    world.store.before(|op| op.writes(STATE), async move {
        other.handle(vec![Received::first(second)]).await;
    });
    world.take(vec![page("m1", "u1", "s1", start()).build()]).await.unwrap();
    assert!(world.store.all_fired());
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().engagement, 10);
}

/// Two workers see a new identity at once: both want to make its state.
#[tokio::test]
async fn two_first_sights_of_one_identity_make_one_state() {
    let world = World::new();
    let other = world.another_resolver();
    let second = world.message(vec![page("m2", "u1", "s2", start()).build()]);
    world.store.before(|op| op.writes(STATE), async move {
        other.handle(vec![Received::first(second)]).await;
    });
    world.take(vec![page("m1", "u1", "s1", start()).build()]).await.unwrap();
    assert!(world.store.all_fired());
    let place = world.home_of(&Identity::user("u1")).await.unwrap();
    let score = world.score_at(&place).await.unwrap();
    assert_eq!((score.total_leads, score.engagement), (1, 10));
}

/// Scorer A has read an old view of the account. Before A writes, the account changes and scorer B writes the new view. A must not put
/// the old view over it.
#[tokio::test]
async fn a_scorer_with_an_old_view_does_not_overwrite_a_newer_one() {
    let world = World::new();
    world
        .take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(), page("m1", "u1", "s1", start()).build()])
        .await
        .unwrap();
    let account = home("quarrystone-mills.com").unwrap();
    // Something that makes A write: the next day has begun.
    world.clock.set(start().day().plus(1).start());
    let (resolver, scorer) = (world.another_resolver(), world.another_scorer());
    let news = world.message(vec![track("m2", "u1", "demo request", world.now()).build()]);
    let hint = touched(&world, account.clone());
    world.store.before(|op| op.writes("R"), async move {
        resolver.handle(vec![Received::first(news)]).await;
        scorer.handle(vec![Received::first(hint)]).await;
    });
    world.run(&world.scorer, touched(&world, account.clone())).await.unwrap();
    assert!(world.store.all_fired());
    // The visit of yesterday (5 · 2^(−1/21) = 4.838) and the demo request of today: 54.838.
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().engagement, 55);
}

/// Level has written the standing with its pending transition, and dies before it sends. The message comes again: the transition is sent
/// then, once recorded, under the same sequence number.
#[tokio::test]
async fn a_crash_between_levels_write_and_its_send_loses_no_transition() {
    let world = World::new();
    world.send(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    let resolve = world.to_resolve.memory.take::<pipeline::EventsReceived>();
    for message in resolve {
        world.run(&world.resolver, message).await.unwrap();
    }
    for message in world.touched() {
        world.run(&world.scorer, message).await.unwrap();
    }
    let scored: Vec<AccountScored> = world.scored();
    world.to_dispatch.fail_next(1);
    for message in &scored {
        assert!(!world.attempt(&world.leveler, message.clone(), 1).await);
    }
    assert!(world.changes().is_empty());
    let standing = world.standing_of("quarrystone-mills.com").await.unwrap();
    assert_eq!(standing.level.as_deref(), Some("low_priority"));
    let pending: Vec<u64> = standing.pending.iter().map(|transition| transition.seq).collect();
    assert!(!pending.is_empty());

    for message in scored {
        assert!(world.attempt(&world.leveler, message, 2).await);
    }
    let sent: Vec<u64> = world
        .changes()
        .into_iter()
        .flat_map(|message| match message {
            pipeline::AccountChanged::Transitions { changes, .. } => changes,
            pipeline::AccountChanged::DeliveriesDue { .. } => Vec::new(),
        })
        .flat_map(|change| change.transitions)
        .map(|transition| transition.seq)
        .collect();
    assert_eq!(sent, pending);
    assert!(world.standing_of("quarrystone-mills.com").await.unwrap().pending.is_empty());
}

/// A worker dies after its transaction moved a state and before it sent anything. The home that was left is due.
#[tokio::test]
async fn a_home_that_a_lead_left_is_scored_although_the_worker_died() {
    let world = World::new();
    world
        .take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build(), page("m1", "u1", "s1", start()).build()])
        .await
        .unwrap();
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().total_leads, 1);
    let moving = world.message(vec![identify("m2", "u1", "ada@fernhollow-labs.com", start().plus_millis(1)).build()]);
    world.to_score.fail_next(1);
    assert!(!world.attempt(&world.resolver, moving.clone(), 1).await);
    // The attempt after the crash no longer knows where the lead came from.
    assert!(world.attempt(&world.resolver, moving, 2).await);
    world.settle().await.unwrap();
    assert_eq!(world.score_of("fernhollow-labs.com").await.unwrap().total_leads, 1);
    world.clock.advance(rescore::SETTLED_MS);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().total_leads, 0);
}

/// A user moves between the moment at which an anonymous id is linked and the moment at which the link is written.
#[tokio::test]
async fn an_anonymous_id_follows_a_user_who_moves_meanwhile() {
    let world = World::new();
    world.take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    let other = world.another_resolver();
    let moving = world.message(vec![track("m2", "u1", "signed up", start()).account("acct_7", NamedBy::AccountId).build()]);
    world.store.before(|op| matches!(op, harpoon_tests::hooked::Op::Transact(_)), async move {
        other.handle(vec![Received::first(moving)]).await;
    });
    world.take(vec![page("m1", "u1", "s1", start()).anonymous("browser-1").build()]).await.unwrap();
    assert!(world.store.all_fired());
    let account = world.home_of(&Identity::user("u1")).await.unwrap();
    assert_eq!(account, home("acct_7").unwrap());
    assert_eq!(world.home_of(&Identity::anonymous("browser-1")).await.unwrap(), account);
}

/// A write that succeeded but whose answer was lost is done again, and changes nothing.
#[tokio::test]
async fn a_lost_answer_doubles_nothing() {
    for sk in ["P#", STATE, "R", "a:"] {
        let world = World::new();
        world.take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
        world.store.lose_answer(move |op| op.writes(sk));
        let message = world.message(vec![page("m1", "u1", "s1", start()).build()]);
        let first = world.attempt(&world.resolver, message.clone(), 1).await;
        if !first {
            assert!(world.attempt(&world.resolver, message, 2).await, "{sk}");
        }
        for hint in world.touched() {
            if !world.attempt(&world.scorer, hint.clone(), 1).await {
                assert!(world.attempt(&world.scorer, hint, 2).await, "{sk}");
            }
        }
        for hint in world.scored() {
            if !world.attempt(&world.leveler, hint.clone(), 1).await {
                assert!(world.attempt(&world.leveler, hint, 2).await, "{sk}");
            }
        }
        assert!(world.store.all_fired(), "{sk}");
        assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().engagement, 5, "{sk}");
        assert_eq!(world.standing_of("quarrystone-mills.com").await.unwrap().engagement, 5, "{sk}");
    }
}

/// The typed access that the test above uses reads what the stages wrote.
#[tokio::test]
async fn a_second_reader_sees_the_same() {
    let world = World::new();
    world.take(vec![identify("m0", "u1", "ada@quarrystone-mills.com", start()).build()]).await.unwrap();
    let homes = HomeStore::new(Arc::clone(&world.store));
    let found =
        homes.account(&world.workspace, &domain::AccountId::new("quarrystone-mills.com").unwrap(), Consistency::Strong).await.unwrap();
    assert_eq!(found.unwrap().record.domains, ["quarrystone-mills.com"]);
}

#[tokio::test]
async fn an_account_that_is_due_is_not_forgotten_by_a_scorer_whose_clock_is_slow() {
    let world = World::new();
    let at = world.now();
    let events = vec![identify("m1", "u1", "ada@quarrystone-mills.com", at).build(), track("m2", "u1", "Demo Requested", at).build()];
    world.take(events).await.unwrap();
    let due = world.score_of("quarrystone-mills.com").await.unwrap().due_at.unwrap();

    // A minute after its moment rescore enqueues it, and a host whose clock is two minutes slow serves the message.
    world.clock.set(due.plus_millis(60_000));
    world.rescorer.run().await.unwrap();
    let slow = Arc::new(ManualClock::at(due.plus_millis(-60_000)));
    let scorer = score::Scorer::new(Arc::clone(&world.store), Arc::clone(&world.to_level), slow);
    let touched = world.touched();
    assert!(!touched.is_empty());
    for message in touched {
        world.run(&scorer, message).await.unwrap();
    }
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().as_of, due.day().plus(-1));

    world.clock.set(due.plus_millis(30 * 60_000));
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
    assert_eq!(world.score_of("quarrystone-mills.com").await.unwrap().as_of, due.day());
}
