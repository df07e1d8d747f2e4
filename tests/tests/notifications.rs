//! From an event to a signed webhook: an edge notifies once, under one id, whatever fails in between.

use dispatch::{Dispatcher, FakeTransport, ModelDirectory, Settings};
use domain::{DestinationId, Timestamp, TriggerId, trigger::TriggerDraft};
use harpoon_tests::{
    hooked::Hooked,
    world::{START, World, group, track},
};
use pipeline::{
    AccountChanged, ManualClock, Outcome, Received, Stage,
    notify::{DestinationDraft, Destinations, Triggers},
    secrets::FileKeySecrets,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

type TestDispatcher =
    Dispatcher<Arc<Hooked>, Arc<ManualClock>, FileKeySecrets, Arc<FakeTransport>, ModelDirectory<Arc<Hooked>, Arc<ManualClock>>>;

const KEY: [u8; 32] = [9; 32];

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

struct Office {
    world: World,
    dispatcher: TestDispatcher,
    transport: Arc<FakeTransport>,
}

/// A pipeline with one signed webhook and triggers for it.
async fn office(triggers: &[Value]) -> Office {
    let world = World::new();
    let transport = Arc::new(FakeTransport::default());
    let (store, clock) = (Arc::clone(&world.store), Arc::clone(&world.clock));
    let draft =
        DestinationDraft::read(&json!({ "name": "CRM", "kind": "signed_webhook", "url": "https://hooks.northwind-looms.com/in" }), false)
            .unwrap();
    let destinations = Destinations::new(Arc::clone(&store), Arc::clone(&clock));
    destinations.create_destination(&world.workspace, DestinationId::new("d1").unwrap(), draft, &FileKeySecrets::new(&KEY)).await.unwrap();
    let made = Triggers::new(Arc::clone(&store), Arc::clone(&clock));
    for (n, when) in triggers.iter().enumerate() {
        let draft = TriggerDraft::read(&json!({ "name": format!("t{n}"), "when": when, "destinations": ["d1"] })).unwrap();
        made.put_new(&world.workspace, draft.start(TriggerId::new(&format!("t{n}")).unwrap(), start())).await.unwrap();
    }
    let settings = Settings::new("http://127.0.0.1:8787".parse().unwrap());
    let directory = ModelDirectory::new(Arc::clone(&store), Arc::clone(&clock));
    let dispatcher = Dispatcher::new(store, clock, FileKeySecrets::new(&KEY), Arc::clone(&transport), directory, settings);
    Office { world, dispatcher, transport }
}

impl Office {
    async fn dispatch(&self, messages: Vec<AccountChanged>) {
        for message in messages {
            let outcomes = self.dispatcher.handle(vec![Received::first(message)]).await;
            assert!(matches!(outcomes.as_slice(), [Outcome::Done]), "{outcomes:?}");
        }
    }

    /// The ids and types of what was posted since the last look.
    fn posted(&self) -> Vec<(String, String)> {
        let id = |headers: &[(&'static str, String)]| headers.iter().find(|(name, _)| *name == "webhook-id").unwrap().1.clone();
        self.transport
            .take()
            .iter()
            .map(|request| {
                let body: Value = serde_json::from_str(&request.body).unwrap();
                (id(&request.headers), body["type"].as_str().unwrap().to_owned())
            })
            .collect()
    }
}

fn perfect_fit() -> Value {
    json!({ "name": "Tidewell Foundry", "employees": 5000, "revenue": 60_000_000, "country": "US", "industry": "Technology" })
}

#[tokio::test]
async fn becoming_a_target_posts_one_webhook() {
    let office = office(&[json!({ "kind": "level_entered", "level": "target" })]).await;
    office.world.take(vec![group("m1", "u1", "acct_1", perfect_fit(), start()).build()]).await.unwrap();
    let changes = office.world.changes();
    office.dispatch(changes.clone()).await;
    let posted = office.posted();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].1, "account.level_entered");
    // The same transitions again, and the same events again.
    office.dispatch(changes).await;
    office.world.take(vec![group("m1", "u1", "acct_1", perfect_fit(), start()).build()]).await.unwrap();
    office.dispatch(office.world.changes()).await;
    assert!(office.posted().is_empty());
}

#[tokio::test]
async fn a_failing_destination_gets_the_same_id_at_every_attempt() {
    let office = office(&[json!({ "kind": "level_entered", "level": "target" })]).await;
    for _ in 0..3 {
        office.transport.answer_status(500);
    }
    office.world.take(vec![group("m1", "u1", "acct_1", perfect_fit(), start()).build()]).await.unwrap();
    office.dispatch(office.world.changes()).await;
    let mut ids: Vec<String> = office.posted().into_iter().map(|(id, _)| id).collect();
    // 5 seconds, 5 minutes and 30 minutes later, give or take a tenth.
    for minutes in [1, 6, 34] {
        office.world.clock.set(start().plus_millis(minutes * 60_000));
        office.world.rescorer.run().await.unwrap();
        office.dispatch(office.world.changes()).await;
        ids.extend(office.posted().into_iter().map(|(id, _)| id));
    }
    assert_eq!(ids.len(), 4);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1);
    office.world.clock.advance(24 * 3_600_000);
    office.world.rescorer.run().await.unwrap();
    office.dispatch(office.world.changes()).await;
    assert!(office.posted().is_empty());
}

#[tokio::test]
async fn crossing_an_engagement_threshold_and_leaving_a_level_notify() {
    let office = office(&[
        json!({ "kind": "engagement_crossed", "threshold": 40, "direction": "up" }),
        json!({ "kind": "level_left", "level": "low_priority" }),
    ])
    .await;
    office.world.take(vec![track("m1", "u1", "signed up", start()).account("acct_1", domain::NamedBy::AccountId).build()]).await.unwrap();
    office.dispatch(office.world.changes()).await;
    assert!(office.posted().is_empty());
    office.world.take(vec![track("m2", "u1", "demo request", start()).build()]).await.unwrap();
    office.dispatch(office.world.changes()).await;
    assert_eq!(office.posted().into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(), ["account.engagement_crossed"]);
    office.world.take(vec![group("m3", "u1", "acct_1", json!({ "employees": 5000 }), start()).build()]).await.unwrap();
    office.dispatch(office.world.changes()).await;
    assert_eq!(office.posted().into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(), ["account.level_left"]);
}

/// A person's change whose message was never sent: the due item that was written with it brings it through.
#[tokio::test]
async fn a_change_made_outside_the_queues_is_scored_though_its_message_was_lost() {
    use pipeline::{
        Store,
        homes::{put_due, put_record},
        records::{OWN_FIELDS, OwnFields, home_key},
    };
    let office = office(&[json!({ "kind": "level_entered", "level": "qualified" })]).await;
    let world = &office.world;
    world.take(vec![track("m1", "u1", "signed up", start()).account("acct_1", domain::NamedBy::AccountId).build()]).await.unwrap();
    office.dispatch(world.changes()).await;
    let home = harpoon_tests::world::home("acct_1").unwrap();
    let mut own = OwnFields { fresh: 1, ..OwnFields::default() };
    let employees = domain::field::FieldName::new("employees").unwrap();
    let value = domain::field::FieldType::Number.coerce(&json!(5000), domain::field::Currency::default()).unwrap();
    let fact = domain::field::FieldFact { value, at: world.now(), tie: 0, source: domain::field::FieldSource::Manual };
    own.facts.merge(&employees, fact, domain::field::Keep::Latest);
    let writes = vec![
        put_record(home_key(&world.workspace, &home, OWN_FIELDS), 0, &own).unwrap(),
        put_due(&world.workspace, &home, world.now(), 0).unwrap(),
    ];
    world.store.transact(writes).await.unwrap();
    world.clock.advance(rescore::SETTLED_MS);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
    assert_eq!(world.score_of("acct_1").await.unwrap().account_score, 50);
    office.dispatch(world.changes()).await;
    assert_eq!(office.posted().len(), 1);
}
