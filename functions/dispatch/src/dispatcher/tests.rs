use super::*;
use crate::{FakeTransport, ModelDirectory, Outgoing, TransportError, transport::Answer};
use domain::{
    AccountId, DAY_MS, DestinationId, Home, TriggerId,
    transition::Transition,
    trigger::{Trigger, TriggerDraft},
};
use pipeline::{
    Body, Condition, Consistency, Item, Key, ManualClock, Page, Query, StoreError, Table, Write,
    memory::MemoryStore,
    notify::{Delivery, DeliveryFilter, DeliveryState, DestinationDraft, Suppression, cooldown_key},
    records::{self, SHARDS},
    secrets::FileKeySecrets,
};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

const START: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;

/// A store that refuses the n-th write from now on, or counts on.
#[derive(Default)]
struct Flaky {
    inner: MemoryStore,
    /// 0: all is well; n: the n-th write fails, before it happens.
    fail_in: AtomicUsize,
}

impl Flaky {
    fn stumble(&self) -> Result<(), StoreError> {
        let left = self.fail_in.load(Ordering::SeqCst);
        if left > 0 {
            self.fail_in.store(left - 1, Ordering::SeqCst);
        }
        if left == 1 { Err(StoreError::Unavailable { source: "injected".into() }) } else { Ok(()) }
    }
}

impl Store for Flaky {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.inner.read(key, consistency).await
    }
    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.inner.read_many(keys, consistency).await
    }
    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.inner.query(query).await
    }
    async fn scan(&self, scan: &pipeline::Scan) -> Result<pipeline::ScanPage, StoreError> {
        self.inner.scan(scan).await
    }
    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.stumble()?;
        self.inner.write(write).await
    }
    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.stumble()?;
        self.inner.transact(writes).await
    }
}

/// Never answers.
struct Silence;

impl Transport for Silence {
    async fn post(&self, _request: Outgoing) -> Result<Answer, TransportError> {
        std::future::pending().await
    }
}

type Ports<T> = Dispatcher<Arc<Flaky>, Arc<ManualClock>, Arc<FileKeySecrets>, T, ModelDirectory<Arc<Flaky>, Arc<ManualClock>>>;

struct World {
    store: Arc<Flaky>,
    clock: Arc<ManualClock>,
    secrets: Arc<FileKeySecrets>,
    transport: Arc<FakeTransport>,
    dispatcher: Ports<Arc<FakeTransport>>,
    main: WorkspaceId,
    secret: Mutex<String>,
}

fn account(id: &str) -> Home {
    Home::Account(AccountId::new(id).unwrap())
}

fn level(seq: u64, at: i64, from: Option<&str>, to: &str) -> Transition {
    let mut change = json!({"what": "account_level", "to": to});
    if let (Some(map), Some(from)) = (change.as_object_mut(), from) {
        map.insert("from".into(), json!(from));
    }
    serde_json::from_value(json!({"seq": seq, "at": at, "change": change, "cause": "score 50 → 145"})).unwrap()
}

/// Nothing is there yet.
fn given() -> World {
    let (store, clock) = (Arc::new(Flaky::default()), Arc::new(ManualClock::at(Timestamp::from_millis(START))));
    let (secrets, transport) = (Arc::new(FileKeySecrets::new(&[7; 32])), Arc::new(FakeTransport::default()));
    let dispatcher = ports(&store, &clock, &secrets, Arc::clone(&transport));
    World { store, clock, secrets, transport, dispatcher, main: WorkspaceId::new("main").unwrap(), secret: Mutex::default() }
}

fn ports<T: Transport>(store: &Arc<Flaky>, clock: &Arc<ManualClock>, secrets: &Arc<FileKeySecrets>, transport: T) -> Ports<T> {
    let directory = ModelDirectory::new(Arc::clone(store), Arc::clone(clock));
    let settings = Settings::new("https://harpoon.example.com".parse().unwrap());
    Dispatcher::new(Arc::clone(store), Arc::clone(clock), Arc::clone(secrets), transport, directory, settings)
}

impl World {
    /// With the signed webhook `hook` and the Slack webhook `team`.
    async fn with_destinations(self) -> Self {
        for (id, kind, url) in [
            ("hook", "signed_webhook", "https://hooks.example.com/in/token-9f3c"),
            ("team", "slack", "https://slack.example.com/services/T0/B0/xyz"),
        ] {
            let draft = DestinationDraft::read(&json!({"name": id, "kind": kind, "url": url}), false).unwrap();
            let id = DestinationId::new(id).unwrap();
            let (_, shown) = self.dispatcher.destinations.create_destination(&self.main, id, draft, &self.secrets).await.unwrap();
            if let Some(shown) = shown {
                *self.secret.lock().unwrap() = shown.0;
            }
        }
        self
    }

    async fn trigger(&self, id: &str, more: Value) -> Trigger {
        let mut value = json!({"name": "New Targets", "when": {"kind": "level_entered", "level": "target"}, "destinations": ["hook"]});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let trigger = TriggerDraft::read(&value).unwrap().start(TriggerId::new(id).unwrap(), self.clock.now());
        self.dispatcher.triggers.put_new(&self.main, trigger).await.unwrap()
    }

    async fn put(&self, key: Key, body: Body) {
        self.store.inner.write(Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Always)).await.unwrap();
    }

    /// Writes score and standing of an account.
    async fn account(&self, id: &str) {
        let score = json!({
            "stamp": 1, "inputs": 1, "fresh": 1, "as_of": 20_000, "model": 1, "account_score": 145, "possible": 145, "known": 4, "of": 4,
            "engagement": 85, "surge": false, "total_leads": 4, "name": "Northwind Looms", "domain": "northwind-looms.com", "owner": "kim",
            "tier": "1:1", "reasons": ["500 employees: +50", "industry textiles: +40", "in GB: +30"], "fields": {"country": "GB", "employees": 500}
        });
        let standing = json!({
            "served": 1, "inputs": 1, "fresh": 1, "seq": 1, "level": "target", "engagement_level": "hot", "account_score": 145, "engagement": 85,
            "surge": false, "total_leads": 4
        });
        self.put(records::home_key(&self.main, &account(id), records::SCORE), Body::Text(score.to_string())).await;
        self.put(records::standing_key(&self.main, &account(id)), Body::Text(standing.to_string())).await;
    }

    fn message(&self, changes: &[(&str, Transition)]) -> AccountChanged {
        let changes = changes.iter().map(|(id, transition)| Change { home: account(id), transitions: vec![transition.clone()] }).collect();
        AccountChanged::Transitions { workspace: self.main.clone(), changes }
    }

    async fn handle(&self, message: AccountChanged) -> Outcome<AccountChanged> {
        self.dispatcher.handle(vec![Received::first(message)]).await.pop().unwrap()
    }

    /// Handles a message about one account that must be done.
    async fn moved(&self, id: &str, transition: Transition) {
        let outcome = self.handle(self.message(&[(id, transition)])).await;
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    }

    /// What rescore would send now, handled.
    async fn rescore(&self) -> usize {
        let due = self.due(self.clock.now()).await;
        let count = due.len();
        if count > 0 {
            let message = AccountChanged::DeliveriesDue {
                workspace: self.main.clone(),
                deliveries: due.into_iter().map(|(sort_key, _)| sort_key).collect(),
            };
            let outcome = self.handle(message).await;
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
        }
        count
    }

    async fn due(&self, until: Timestamp) -> Vec<(String, Timestamp)> {
        let mut due = Vec::new();
        for shard in 0..SHARDS {
            due.extend(
                self.dispatcher.deliveries.due_deliveries(shard, until, 100).await.unwrap().into_iter().map(|due| (due.delivery, due.at)),
            );
        }
        due
    }

    /// Moves the clock to the next due moment; `None` when nothing is due any more.
    async fn wait(&self) -> Option<Timestamp> {
        let next = self.due(Timestamp::from_millis(i64::MAX)).await.into_iter().map(|(_, at)| at).min()?;
        self.clock.set(next.max(self.clock.now()));
        Some(next)
    }

    async fn log(&self) -> Vec<Delivery> {
        self.dispatcher.deliveries.list(&self.main, &DeliveryFilter::default(), None, 500).await.unwrap().deliveries
    }

    async fn only(&self) -> Delivery {
        let log = self.log().await;
        assert_eq!(log.len(), 1, "{log:?}");
        log.into_iter().next().unwrap()
    }

    async fn destination(&self, id: &str) -> pipeline::notify::Destination {
        self.dispatcher.destinations.find(&self.main, &DestinationId::new(id).unwrap()).await.unwrap().unwrap()
    }
}

fn header<'a>(request: &'a Outgoing, name: &str) -> &'a str {
    request.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

fn now_target(seq: u64) -> Transition {
    level(seq, START, Some("qualified"), "target")
}

#[tokio::test]
async fn a_transition_is_delivered_with_a_signature_that_verifies() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"destinations": ["hook", "team"]})).await;
    world.account("northwind-looms.com").await;
    world.moved("northwind-looms.com", now_target(7)).await;
    let sent = world.transport.take();
    assert_eq!(sent.len(), 2);
    let hook = sent.iter().find(|request| request.url.starts_with("https://hooks.")).unwrap();
    let body: Value = serde_json::from_str(&hook.body).unwrap();
    assert_eq!(
        (body["type"].as_str(), body["data"]["account"]["account_id"].as_str()),
        (Some("account.level_entered"), Some("northwind-looms.com"))
    );
    // The independent library signs the same bytes alike.
    let webhook = standardwebhooks::Webhook::new(&world.secret.lock().unwrap()).unwrap();
    let expected = webhook.sign(header(hook, "webhook-id"), START / 1_000, hook.body.as_bytes()).unwrap();
    assert_eq!((header(hook, "webhook-signature"), header(hook, "webhook-timestamp")), (expected.as_str(), "1795000000"));
    for delivery in world.log().await {
        assert!(matches!(delivery.state, DeliveryState::Delivered { .. }));
        assert_eq!(
            (delivery.tries, delivery.attempts[0].status, delivery.account_name.as_deref()),
            (1, Some(200), Some("Northwind Looms"))
        );
    }
    assert!(world.wait().await.is_none());
}

#[tokio::test]
async fn a_message_that_comes_twice_does_nothing_twice() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.moved("a", now_target(7)).await;
    world.moved("a", now_target(7)).await;
    world.clock.advance(40 * DAY_MS);
    world.moved("a", now_target(7)).await;
    assert_eq!(world.transport.take().len(), 1);
    world.only().await;
}

#[tokio::test]
async fn two_dispatchers_with_one_message_send_it_once() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    // The first one has written and is sending when the second one begins.
    let slow = ports(&world.store, &world.clock, &world.secrets, Silence);
    let message = world.message(&[("a", now_target(7))]);
    let mut first = Box::pin(slow.handle(vec![Received::first(message.clone())]));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(matches!(world.handle(message).await, Outcome::Done));
    assert_eq!(world.transport.take().len(), 0);
    assert_eq!(world.only().await.state.as_str(), "delivering");
}

#[tokio::test]
async fn of_two_transitions_at_once_exactly_one_takes_the_cooldown() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    let messages = [world.message(&[("a", now_target(7))]), world.message(&[("a", level(8, START + 1, Some("qualified"), "target"))])];
    let other = ports(&world.store, &world.clock, &world.secrets, Arc::clone(&world.transport));
    let [first, second] = messages;
    futures::join!(world.handle(first), async { other.handle(vec![Received::first(second)]).await });
    assert_eq!(world.transport.take().len(), 1);
    let states: Vec<_> = world.log().await.iter().map(|delivery| delivery.state.as_str()).collect();
    assert!(states.contains(&"delivered") && states.contains(&"suppressed"), "{states:?}");
}

#[tokio::test]
async fn a_crash_between_write_and_send_is_made_good_by_the_due_item() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    let doomed = ports(&world.store, &world.clock, &world.secrets, Silence);
    {
        let mut handling = Box::pin(doomed.handle(vec![Received::first(world.message(&[("a", now_target(7))]))]));
        assert!(futures::poll!(&mut handling).is_pending());
    }
    let written = world.only().await;
    assert_eq!((written.state.as_str(), written.tries, written.attempts.len()), ("delivering", 1, 0));
    // The message comes again while the claim lasts: whoever holds it may still be alive.
    world.moved("a", now_target(7)).await;
    assert_eq!((world.rescore().await, world.transport.take().len()), (0, 0));
    // Ten seconds of timeout and twenty of margin later nobody is.
    assert_eq!(world.wait().await, Some(Timestamp::from_millis(START + 30_000)));
    assert_eq!(world.rescore().await, 1);
    let sent = world.transport.take();
    assert_eq!((sent.len(), header(&sent[0], "webhook-id")), (1, written.id.as_str()));
    let delivered = world.only().await;
    assert_eq!((delivered.state.as_str(), delivered.tries), ("delivered", 2));
    assert!(world.wait().await.is_none());
}

#[tokio::test]
async fn a_message_that_comes_again_after_the_claim_ended_delivers_too() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    let doomed = ports(&world.store, &world.clock, &world.secrets, Silence);
    {
        let mut handling = Box::pin(doomed.handle(vec![Received::first(world.message(&[("a", now_target(7))]))]));
        assert!(futures::poll!(&mut handling).is_pending());
    }
    world.clock.advance(30_000);
    world.moved("a", now_target(7)).await;
    assert_eq!((world.transport.take().len(), world.only().await.state.as_str()), (1, "delivered"));
    assert!(world.wait().await.is_none());
}

#[tokio::test]
async fn a_result_that_could_not_be_recorded_is_sent_again_with_the_same_id() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    // The first write creates the delivery, the second one records the result.
    world.store.fail_in.store(2, Ordering::SeqCst);
    let outcome = world.handle(world.message(&[("a", now_target(7))])).await;
    assert!(matches!(outcome, Outcome::Failed(StageError::Retry { .. })), "{outcome:?}");
    world.moved("a", now_target(7)).await;
    world.wait().await;
    assert_eq!(world.rescore().await, 1);
    let ids: Vec<_> = world.transport.take().iter().map(|request| header(request, "webhook-id").to_owned()).collect();
    assert_eq!(ids, [world.only().await.id.to_string(), world.only().await.id.to_string()]);
}

#[tokio::test]
async fn a_store_that_fails_at_the_first_write_leaves_nothing_and_is_retried() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.store.fail_in.store(1, Ordering::SeqCst);
    let outcome = world.handle(world.message(&[("a", now_target(7))])).await;
    assert!(matches!(outcome, Outcome::Failed(StageError::Retry { .. })), "{outcome:?}");
    assert!(world.log().await.is_empty() && world.transport.take().is_empty());
    world.moved("a", now_target(7)).await;
    assert_eq!(world.transport.take().len(), 1);
}

#[tokio::test]
async fn an_account_whose_records_are_gone_is_told_with_what_is_known() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"destinations": ["hook", "team"]})).await;
    world.moved("gone-looms.com", now_target(7)).await;
    let sent = world.transport.take();
    let hook = sent.iter().find(|request| request.url.starts_with("https://hooks.")).unwrap();
    let body: Value = serde_json::from_str(&hook.body).unwrap();
    assert_eq!(body["data"]["account"]["account_id"], "gone-looms.com");
    assert_eq!((&body["data"]["account"]["name"], &body["data"]["account"]["account_score"]), (&Value::Null, &Value::Null));
    assert_eq!(body["data"]["reasons"], json!(["score 50 → 145"]));
    let team = sent.iter().find(|request| request.url.starts_with("https://slack.")).unwrap();
    assert!(team.body.contains("gone-looms.com is now Target"));
    // A filter on what is not known does not pass.
    world.trigger("trg_2", json!({"filters": [{"on": "tier", "equals": "1:1"}]})).await;
    world.moved("other-looms.com", now_target(7)).await;
    assert_eq!(world.transport.take().len(), 2);
}

#[tokio::test]
async fn one_faulty_account_holds_up_no_other_of_its_message() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.put(records::standing_key(&world.main, &account("bad")), Body::Text("no JSON".into())).await;
    let message = world.message(&[("a", now_target(7)), ("bad", now_target(7)), ("b", now_target(7))]);
    let Outcome::Split { retry, reject } = world.handle(message).await else { panic!("split") };
    assert_eq!((retry, reject), (vec![world.message(&[("bad", now_target(7))])], vec![]));
    assert_eq!(world.transport.take().len(), 2);
    // Alone it is retried by the queue, which parks it in the end.
    let alone = world.handle(world.message(&[("bad", now_target(7))])).await;
    assert!(matches!(alone, Outcome::Failed(StageError::Retry { .. })));
    // Two faulty ones that failed before are taken apart.
    world.put(records::standing_key(&world.main, &account("worse")), Body::Text("no JSON".into())).await;
    let message = world.message(&[("bad", now_target(7)), ("worse", now_target(7))]);
    assert!(matches!(world.handle(message.clone()).await, Outcome::Failed(_)));
    let again = Received { receive_count: 2, ..Received::first(message) };
    let Some(Outcome::Split { retry, .. }) = world.dispatcher.handle(vec![again]).await.pop() else { panic!("split") };
    assert_eq!(retry.len(), 2);
}

#[tokio::test]
async fn every_message_of_a_batch_has_its_own_outcome() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.put(records::standing_key(&world.main, &account("bad")), Body::Text("no JSON".into())).await;
    let batch = [("a", 7), ("bad", 7), ("b", 7)].map(|(id, seq)| Received::first(world.message(&[(id, now_target(seq))])));
    let outcomes = world.dispatcher.handle(batch.to_vec()).await;
    assert!(matches!(outcomes.as_slice(), [Outcome::Done, Outcome::Failed(_), Outcome::Done]), "{outcomes:?}");
}

#[tokio::test]
async fn a_failing_destination_is_tried_for_a_day_with_one_id() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    for _ in 0..10 {
        world.transport.answer(Ok(Answer { status: 503, retry_after: None, excerpt: "token-9f3c is busy".into() }));
    }
    world.moved("a", now_target(7)).await;
    let mut moments = vec![0];
    while let Some(at) = world.wait().await {
        moments.push(at.millis() - START);
        assert_eq!(world.rescore().await, 1);
    }
    // First attempt, then 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
    let published = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(|seconds| seconds * 1_000);
    assert_eq!(moments.len(), published.len());
    for (found, published) in moments.iter().zip(published) {
        assert!((published..=published + published / 10).contains(found), "{found} for {published}");
    }
    let sent = world.transport.take();
    let id = world.only().await.id;
    assert!(sent.len() == 10 && sent.iter().all(|request| header(request, "webhook-id") == id.as_str() && request.body == sent[0].body));
    // Each attempt is signed for its own moment.
    let stamps: std::collections::BTreeSet<_> = sent.iter().map(|request| header(request, "webhook-timestamp").to_owned()).collect();
    assert_eq!(stamps.len(), 10);
    let failed = world.only().await;
    assert_eq!(failed.state, DeliveryState::Failed { reason: "status 503".into() });
    assert_eq!((failed.tries, failed.attempts.len(), failed.attempts[0].response.as_str()), (10, 10, "… is busy"));
    // The message once more, a month later: it is finished.
    world.clock.advance(30 * DAY_MS);
    world.moved("a", now_target(7)).await;
    assert!(world.transport.take().is_empty());
}

#[tokio::test]
async fn a_destination_that_recovers_gets_it_once() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.transport.answer(Err(TransportError::Timeout { seconds: 10 }));
    world.transport.answer(Err(TransportError::Refused { reason: "must not have a private, local or reserved address".into() }));
    world.moved("a", now_target(7)).await;
    while world.wait().await.is_some() {
        world.rescore().await;
    }
    assert_eq!(world.transport.take().len(), 3);
    let delivered = world.only().await;
    let errors: Vec<_> = delivered.attempts.iter().map(|attempt| attempt.error.as_deref().unwrap_or("none")).collect();
    assert_eq!(errors, ["no answer within 10 s", "refused: the destination must not have a private, local or reserved address", "none"]);
    assert_eq!(delivered.state.as_str(), "delivered");
}

#[tokio::test]
async fn a_cooldown_of_seven_days_counts_from_the_transition_that_took_it() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.moved("a", now_target(1)).await;
    for (seq, after, sent) in [(2, DAY_MS, 0), (3, 7 * DAY_MS - 1, 0), (4, 7 * DAY_MS, 1), (5, 8 * DAY_MS, 0)] {
        world.clock.set(Timestamp::from_millis(START + after));
        world.transport.take();
        world.moved("a", level(seq, START + after, Some("qualified"), "target")).await;
        assert_eq!(world.transport.take().len(), sent, "transition {seq}");
    }
    // Another account has a cooldown of its own.
    world.moved("b", level(1, START + 8 * DAY_MS, None, "target")).await;
    assert_eq!(world.transport.take().len(), 1);
    let suppressed: Vec<_> = world.log().await.into_iter().filter(|delivery| delivery.state.as_str() == "suppressed").collect();
    assert_eq!(suppressed.len(), 3);
    let until = Timestamp::from_millis(START + 7 * DAY_MS);
    assert!(suppressed.iter().any(|delivery| delivery.state == DeliveryState::Suppressed { because: Suppression::Cooldown { until } }));
    assert!(suppressed.iter().all(|delivery| delivery.body.is_empty() && delivery.tries == 0));
}

#[tokio::test]
async fn once_is_once_for_ever() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"fire": {"mode": "once"}})).await;
    world.moved("a", now_target(1)).await;
    world.clock.advance(400 * DAY_MS);
    world.moved("a", level(2, START + 400 * DAY_MS, Some("qualified"), "target")).await;
    assert_eq!(world.transport.take().len(), 1);
    assert_eq!(world.log().await[0].state, DeliveryState::Suppressed { because: Suppression::Once });
}

#[tokio::test]
async fn without_a_cooldown_every_transition_is_told() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"fire": {"cooldown_hours": 0}})).await;
    for seq in 1..=3 {
        world.moved("a", now_target(seq)).await;
    }
    assert_eq!(world.transport.take().len(), 3);
}

#[tokio::test]
async fn a_retry_passes_the_cooldown_that_it_took_itself() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"destinations": ["hook"]})).await;
    world.moved("a", now_target(7)).await;
    // A second destination is added before the message comes again: it is told, for the cooldown is this transition's own.
    let trigger = world.dispatcher.triggers.find(&world.main, &TriggerId::new("trg_1").unwrap()).await.unwrap().unwrap();
    let destinations = vec![DestinationId::new("hook").unwrap(), DestinationId::new("team").unwrap()];
    world.dispatcher.triggers.replace(&world.main, Trigger { destinations, ..trigger }).await.unwrap();
    world.moved("a", now_target(7)).await;
    let urls: Vec<_> = world.transport.take().into_iter().map(|request| request.url).collect();
    assert_eq!(urls.len(), 2);
    let key = cooldown_key(&world.main, &TriggerId::new("trg_1").unwrap(), &account("a"));
    assert_eq!(world.store.inner.read(&key, Consistency::Strong).await.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn status_410_switches_the_destination_off() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"fire": {"cooldown_hours": 0}})).await;
    world.transport.answer_status(410);
    let configuration = || world.store.inner.dump().into_iter().filter(|item| item.key.table == Table::Config).collect::<Vec<_>>();
    let before = configuration();
    world.moved("a", now_target(1)).await;
    // Dispatch may not write the configuration.
    assert_eq!(configuration(), before);
    let off = world.destination("hook").await;
    assert!(!off.enabled && off.disabled_reason.unwrap().starts_with("the endpoint answered 410 Gone at 20"));
    assert_eq!(world.only().await.state, DeliveryState::Dead { reason: "status 410: the endpoint is gone".into() });
    assert!(world.wait().await.is_none());
    world.moved("a", now_target(2)).await;
    assert_eq!(world.transport.take().len(), 1);
    assert!(world.log().await.iter().any(|delivery| delivery.state == DeliveryState::Suppressed { because: Suppression::DestinationOff }));
    let on = DestinationDraft::read(&json!({"enabled": true}), false).unwrap();
    world.dispatcher.destinations.change_destination(&world.main, world.destination("hook").await, on, &world.secrets).await.unwrap();
    world.moved("a", now_target(3)).await;
    assert_eq!(world.transport.take().len(), 1);
}

#[tokio::test]
async fn a_destination_that_is_off_takes_no_cooldown() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.dispatcher.destinations.disable(&world.main, &world.destination("hook").await, "a test").await.unwrap();
    world.moved("a", now_target(1)).await;
    let on = DestinationDraft::read(&json!({"enabled": true}), false).unwrap();
    world.dispatcher.destinations.change_destination(&world.main, world.destination("hook").await, on, &world.secrets).await.unwrap();
    world.moved("a", now_target(2)).await;
    assert_eq!(world.transport.take().len(), 1);
}

#[tokio::test]
async fn a_pending_delivery_ends_when_its_destination_is_gone() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({"destinations": ["hook", "never-made"]})).await;
    world.transport.answer_status(500);
    world.moved("a", now_target(1)).await;
    let hook = world.destination("hook").await;
    world.dispatcher.destinations.delete(&world.main, &hook.id, hook.version).await.unwrap();
    world.wait().await;
    world.rescore().await;
    let reasons: Vec<_> = world.log().await.into_iter().map(|delivery| delivery.state).collect();
    assert!(reasons.contains(&DeliveryState::Dead { reason: "the destination was switched off or removed".into() }), "{reasons:?}");
    assert!(reasons.contains(&DeliveryState::Dead { reason: "the destination no longer exists".into() }), "{reasons:?}");
    assert_eq!((world.transport.take().len(), world.wait().await), (1, None));
}

#[tokio::test]
async fn a_destination_may_ask_for_a_longer_wait() {
    for (asked, waited) in [("7200", 2 * HOUR), ("999999999", 24 * HOUR), ("1", 5_000), ("soon", 5_000)] {
        let world = given().with_destinations().await;
        world.trigger("trg_1", json!({})).await;
        world.transport.answer(Ok(Answer { status: 429, retry_after: Some(asked.into()), excerpt: String::new() }));
        world.moved("a", now_target(1)).await;
        let next = world.wait().await.unwrap().millis() - START;
        assert!((waited..=waited + waited / 10).contains(&next), "{asked}: {next}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.transport.answer_status(301);
    world.moved("a", now_target(1)).await;
    let delivery = world.only().await;
    assert_eq!(
        (delivery.state.as_str(), delivery.attempts[0].error.as_deref()),
        ("pending", Some("status 301: redirects are not followed"))
    );
}

#[tokio::test]
async fn what_slack_will_say_for_ever_ends_the_delivery() {
    for (status, said, state) in [
        (404, "no_service", "dead"),
        (403, "invalid_token\n", "dead"),
        (404, "channel_not_found", "dead"),
        (500, "rollup_error", "pending"),
        (429, "", "pending"),
    ] {
        let world = given().with_destinations().await;
        world.trigger("trg_1", json!({"destinations": ["team"]})).await;
        world.transport.answer(Ok(Answer { status, retry_after: None, excerpt: said.into() }));
        world.moved("a", now_target(1)).await;
        assert_eq!(world.only().await.state.as_str(), state, "{said}");
        assert!(world.transport.take()[0].headers.is_empty());
        assert!(world.destination("team").await.enabled);
    }
}

#[tokio::test]
async fn filters_look_at_the_account() {
    let world = given().with_destinations().await;
    world.account("a").await;
    for (n, (filter, sent)) in [
        (json!({"on": "tier", "in": ["1:1", "1:few"]}), 1),
        (json!({"on": "owner", "equals": "robin"}), 0),
        (json!({"on": "field", "field": "country", "equals": "gb"}), 1),
        (json!({"on": "field", "field": "employees", "equals": 500}), 1),
        (json!({"on": "engagement_level", "equals": "hot"}), 1),
        (json!({"on": "level", "equals": "qualified"}), 0),
    ]
    .into_iter()
    .enumerate()
    {
        let made = world.trigger(&format!("trg_{n}"), json!({"filters": [filter]})).await;
        world.moved("a", now_target(n as u64 + 1)).await;
        assert_eq!(world.transport.take().len(), sent, "{filter}");
        world.dispatcher.triggers.delete(&world.main, &made.id, 1).await.unwrap();
    }
}

#[tokio::test]
async fn silent_and_earlier_transitions_and_those_of_other_workspaces_tell_nobody() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.moved("a", Transition { silent: true, ..now_target(1) }).await;
    world.moved("a", level(2, START - 1, None, "target")).await;
    let other = AccountChanged::Transitions {
        workspace: WorkspaceId::new("other").unwrap(),
        changes: vec![Change { home: account("a"), transitions: vec![now_target(3)] }],
    };
    assert!(matches!(world.handle(other).await, Outcome::Done));
    assert!(world.transport.take().is_empty() && world.log().await.is_empty());
}

#[tokio::test]
async fn a_due_delivery_of_another_workspace_is_not_found() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.transport.answer_status(500);
    world.moved("a", now_target(1)).await;
    world.wait().await;
    let sort_key = world.only().await.sort_key();
    let other = AccountChanged::DeliveriesDue { workspace: WorkspaceId::new("other").unwrap(), deliveries: vec![sort_key] };
    assert!(matches!(world.handle(other).await, Outcome::Done));
    assert_eq!((world.transport.take().len(), world.only().await.state.as_str()), (1, "pending"));
    assert_eq!(world.rescore().await, 1);
}

#[tokio::test]
async fn a_due_delivery_that_is_gone_leaves_nothing_behind() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.transport.answer_status(500);
    world.moved("a", now_target(1)).await;
    let sort_key = world.only().await.sort_key();
    world.wait().await;
    let key = delivery_key(&world.main, &sort_key).unwrap();
    world.store.inner.write(Write::Delete(key, Condition::Always)).await.unwrap();
    assert_eq!(world.rescore().await, 1);
    assert!(world.wait().await.is_none());
}

#[tokio::test]
async fn a_due_delivery_of_another_form_is_rejected_alone() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    world.transport.answer_status(500);
    world.moved("a", now_target(1)).await;
    world.wait().await;
    let sort_key = world.only().await.sort_key();
    let message = |deliveries: &[&str]| AccountChanged::DeliveriesDue {
        workspace: world.main.clone(),
        deliveries: deliveries.iter().map(|text| (*text).to_owned()).collect(),
    };
    let Outcome::Split { retry, reject } = world.handle(message(&["nonsense", &sort_key])).await else { panic!("split") };
    assert!(retry.is_empty());
    assert_eq!(reject, [(message(&["nonsense"]), "a due delivery must be named by 15 digits, `#` and a delivery id".to_owned())]);
    assert_eq!(world.only().await.state.as_str(), "delivered");
    assert!(matches!(world.handle(message(&["nonsense"])).await, Outcome::Failed(StageError::Reject { .. })));
}

#[tokio::test]
async fn a_last_attempt_that_never_ended_counts_as_failed() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    for _ in 0..9 {
        world.transport.answer_status(500);
    }
    world.moved("a", now_target(1)).await;
    for _ in 0..8 {
        world.wait().await;
        world.rescore().await;
    }
    assert_eq!(world.only().await.tries, 9);
    world.wait().await;
    let doomed = ports(&world.store, &world.clock, &world.secrets, Silence);
    {
        let due = AccountChanged::DeliveriesDue { workspace: world.main.clone(), deliveries: vec![world.only().await.sort_key()] };
        let mut handling = Box::pin(doomed.handle(vec![Received::first(due)]));
        assert!(futures::poll!(&mut handling).is_pending());
    }
    world.wait().await;
    world.rescore().await;
    assert_eq!(world.only().await.state, DeliveryState::Failed { reason: "the last attempt was not finished".into() });
    assert!(world.wait().await.is_none());
}

#[tokio::test]
async fn without_time_left_a_delivery_waits_for_the_next_invocation() {
    let mut world = given().with_destinations().await;
    world.dispatcher.settings.budget_ms = 0;
    world.trigger("trg_1", json!({})).await;
    world.moved("a", now_target(1)).await;
    assert_eq!((world.transport.take().len(), world.only().await.state.as_str()), (0, "pending"));
    assert_eq!(world.rescore().await, 1);
    assert_eq!(world.transport.take().len(), 0);
    world.dispatcher.settings.budget_ms = 20_000;
    assert_eq!(world.rescore().await, 1);
    assert_eq!(world.transport.take().len(), 1);
}

#[tokio::test]
async fn secrets_that_can_not_be_opened_are_recorded_and_tried_again() {
    let world = given().with_destinations().await;
    world.trigger("trg_1", json!({})).await;
    let stranger = ports(&world.store, &world.clock, &Arc::new(FileKeySecrets::new(&[8; 32])), Arc::clone(&world.transport));
    stranger.handle(vec![Received::first(world.message(&[("a", now_target(1))]))]).await;
    let delivery = world.only().await;
    assert_eq!(
        (delivery.state.as_str(), delivery.attempts[0].error.as_deref()),
        ("pending", Some("the destination's secrets could not be opened"))
    );
    assert!(world.transport.take().is_empty());
    world.wait().await;
    world.rescore().await;
    assert_eq!(world.only().await.state.as_str(), "delivered");
}

#[tokio::test]
async fn nothing_stored_holds_a_secret() {
    let world = given().with_destinations().await;
    let secret = world.secret.lock().unwrap().clone();
    for (destination, url) in
        [("hook", "https://hooks.example.com/in/token-9f3c"), ("team", "https://slack.example.com/services/T0/B0/xyz")]
    {
        world.trigger(&format!("trg_{destination}"), json!({"destinations": [destination]})).await;
        world.transport.answer(Ok(Answer {
            status: 500,
            retry_after: None,
            excerpt: format!("you: {} {url}", if destination == "hook" { &secret } else { "" }),
        }));
    }
    world.moved("a", now_target(1)).await;
    assert!(world.log().await.iter().all(|delivery| delivery.attempts[0].response.starts_with("you: …")));
    for item in world.store.inner.dump() {
        let Body::Text(text) = item.body else { continue };
        assert!(!text.contains(&secret) && !text.contains("token-9f3c") && !text.contains("services/T0"), "{text}");
        assert_ne!(item.key.table, Table::Events);
    }
}

#[tokio::test]
async fn deliveries_are_counted_by_what_becomes_of_them() {
    let mut world = given().with_destinations().await;
    let counters = Counters::counting();
    let dispatcher = ports(&world.store, &world.clock, &world.secrets, Arc::clone(&world.transport));
    world.dispatcher = dispatcher.with_counters(counters.clone());
    let counted = || counters.take().map(|(counter, n)| (counter.as_str(), n)).collect::<Vec<_>>();
    world.trigger("trg_1", json!({})).await;
    world.moved("a", now_target(7)).await;
    assert_eq!(counted(), [("DeliveriesSent", 1)]);
    for _ in 0..10 {
        world.transport.answer(Ok(Answer { status: 503, retry_after: None, excerpt: String::new() }));
    }
    world.moved("b", now_target(7)).await;
    while world.wait().await.is_some() {
        world.rescore().await;
    }
    assert_eq!(counted(), [("DeliveriesPostponed", 9), ("DeliveriesFailed", 1)]);
}
