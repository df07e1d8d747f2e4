use super::*;
use domain::{CallKind, Identity, MessageId, model::default_model, state::IdentityState};
use pipeline::{Consistency, Item, Key, Page, Parcel, Query, Write, memory::MemoryStore};
use proptest::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const NOON: i64 = 1_763_640_000_000;
const MINUTE: i64 = 60_000;
const NOW: Timestamp = Timestamp::from_millis(NOON + DAY_MS);

/// A store that counts the partitions it is asked for.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryStore,
    queries: AtomicUsize,
}

impl Store for Counting {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.store.read(key, consistency).await
    }
    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.store.read_many(keys, consistency).await
    }
    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.store.query(query).await
    }
    async fn scan(&self, scan: &pipeline::Scan) -> Result<pipeline::ScanPage, StoreError> {
        self.store.scan(scan).await
    }
    async fn write(&self, write: Write) -> Result<(), StoreError> {
        self.store.write(write).await
    }
    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.store.transact(writes).await
    }
}

fn event(id: &str, at: Timestamp, received_at: Timestamp) -> Event {
    Event {
        message_id: MessageId::new(id).unwrap(),
        kind: CallKind::Track,
        name: Some("viewed".into()),
        user_id: None,
        anonymous_id: None,
        previous_id: None,
        account: None,
        timestamp: at.min(received_at),
        received_at,
        clamped: false,
        skew_ms: Some(0),
        ip: None,
        user_agent: None,
        properties: None,
        traits: None,
        context: None,
    }
}

/// One identity and its parcels.
struct Person {
    identity: Identity,
    parcels: Vec<(BatchId, Vec<Event>)>,
}

impl Person {
    fn source(&self) -> Source {
        let model = default_model().unwrap();
        let blank = IdentityState::new(self.identity.clone(), &model.matcher);
        let mut parcels = self.parcels.clone();
        parcels.sort_by_key(|(batch, _)| *batch);
        let mut refold = blank.refold(None, &model.matcher, NOW);
        for (batch, events) in &parcels {
            refold.add(*batch, events, &model.matcher, &model.document.mapping);
        }
        Source::new(self.identity.id(), &refold.finish().state.facts)
    }

    /// The plain truth: every message id from its earliest parcel.
    fn truth(&self) -> Vec<EventKey> {
        let mut parcels = self.parcels.clone();
        parcels.sort_by_key(|(batch, _)| *batch);
        let mut seen = BTreeSet::new();
        let events = parcels.into_iter().flat_map(|(_, events)| events);
        events
            .filter(|event| seen.insert(event.id_hash()))
            .map(|event| EventKey { at: event.timestamp, identity: self.identity.id(), id: event.id_hash() })
            .collect()
    }
}

async fn stored(people: &[Person]) -> (Arc<Counting>, Parcels<Arc<Counting>>, WorkspaceId) {
    let (store, workspace) = (Arc::new(Counting::default()), WorkspaceId::new("main").unwrap());
    let parcels = Parcels::new(Arc::clone(&store));
    for person in people {
        for (batch, events) in &person.parcels {
            let parcel = Parcel { identity: person.identity.clone(), events: events.clone().into() };
            parcels.put(&workspace, *batch, &parcel).await.unwrap();
        }
    }
    (store, parcels, workspace)
}

/// Pages through everything.
async fn paged(people: &[Person], effort: Effort, window: Window) -> Vec<EventKey> {
    let (_, parcels, workspace) = stored(people).await;
    let log = Log { parcels: &parcels, workspace: &workspace, now: NOW, effort };
    let (mut all, mut window) = (Vec::new(), window);
    loop {
        let sources = people.iter().map(Person::source).collect();
        let (events, more) = page(&log, sources, &window).await.unwrap();
        assert!(events.len() <= window.limit && (!more || events.len() == window.limit));
        window.after = events.last().map(|(key, _)| *key);
        all.extend(events.into_iter().map(|(key, _)| key));
        if !more {
            return all;
        }
    }
}

/// One call as it is made up: minutes before noon at which it was taken, how late it was, and whether it repeats an earlier one.
#[derive(Debug, Clone)]
struct Call {
    taken: i64,
    late: i64,
    again: Option<(usize, i64)>,
}

fn any_call() -> impl Strategy<Value = Call> {
    let late = prop_oneof![
        6 => Just(0_i64),
        3 => 0_i64..60,
        1 => 0_i64..(20 * 1440),
    ];
    // A repeated call comes within a day of the first and may claim another moment.
    (0_i64..(6 * 1440), late, proptest::option::weighted(0.2, (any::<prop::sample::Index>(), 1_i64..1440)))
        .prop_map(|(taken, late, again)| Call { taken, late, again: again.map(|(which, after)| (which.index(1_000), after)) })
}

fn person(n: usize, calls: &[Call]) -> Person {
    let mut parcels: Vec<(BatchId, Vec<Event>)> = Vec::new();
    let mut firsts: Vec<(String, i64)> = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let (id, taken) = match call.again.filter(|_| !firsts.is_empty()) {
            Some((which, after)) => {
                let (id, first) = &firsts[which % firsts.len()];
                (id.clone(), first - after)
            }
            None => {
                firsts.push((format!("m{i}"), call.taken));
                (format!("m{i}"), call.taken)
            }
        };
        let received_at = Timestamp::from_millis(NOON - taken * MINUTE);
        let event = event(&id, received_at.plus_millis(-call.late * MINUTE), received_at);
        parcels.push((BatchId::new(received_at, i as u128), vec![event]));
    }
    Person { identity: Identity::user(&format!("person-{n}")), parcels }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn pages_hold_every_event_once_newest_first(
        calls in proptest::collection::vec(proptest::collection::vec(any_call(), 0..40), 1..5),
        whole in prop_oneof![Just(0_u64), Just(10), Just(1_000)],
        step in 1_usize..12,
        open in 1_usize..4,
        straddling in 0_usize..4,
        limit in 1_usize..20,
        from in proptest::option::of(0_i64..(8 * 1440)),
        to in proptest::option::of(0_i64..(8 * 1440)),
    ) {
        let people: Vec<Person> = calls.iter().enumerate().map(|(n, calls)| person(n, calls)).collect();
        let moment = |minutes: i64| Timestamp::from_millis(NOON - minutes * MINUTE);
        let window = Window { from: from.map(moment), to: to.map(moment), after: None, limit };
        let mut truth: Vec<EventKey> = people.iter().flat_map(Person::truth).filter(|key| window.admits(key)).collect();
        truth.sort_unstable_by(|a, b| b.cmp(a));
        let effort = Effort { whole, step, open, straddling };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let paged = runtime.block_on(paged(&people, effort, window));
        prop_assert_eq!(paged, truth);
    }
}

#[tokio::test]
async fn many_events_of_one_millisecond_are_paged_without_loss() {
    let at = Timestamp::from_millis(NOON);
    let parcels = (0..30).map(|i| (BatchId::new(at, i), vec![event(&format!("m{i}"), at, at)])).collect();
    let people = [Person { identity: Identity::user("u"), parcels }];
    for effort in [Effort::USUAL, Effort { whole: 0, step: 3, open: 1, straddling: 0 }] {
        let window = Window { from: None, to: None, after: None, limit: 4 };
        assert_eq!(paged(&people, effort, window).await.len(), 30);
    }
}

#[tokio::test]
async fn a_page_of_an_account_with_many_leads_opens_few_of_them() {
    // Each of 2,000 leads was active for one minute, one after the other.
    let people: Vec<Person> = (0..2_000)
        .map(|n| {
            let at = Timestamp::from_millis(NOON - n * MINUTE);
            let parcels = (0..3)
                .map(|i| (BatchId::new(at.plus_millis(i), 0), vec![event(&format!("m{i}"), at.plus_millis(i), at.plus_millis(i))]))
                .collect();
            Person { identity: Identity::user(&format!("u{n}")), parcels }
        })
        .collect();
    let (store, parcels, workspace) = stored(&people).await;
    let log = Log { parcels: &parcels, workspace: &workspace, now: NOW, effort: Effort::USUAL };
    let mut window = Window { from: None, to: None, after: None, limit: 50 };
    for _ in 0..5 {
        let before = store.queries.load(Ordering::Relaxed);
        let (events, more) = page(&log, people.iter().map(Person::source).collect(), &window).await.unwrap();
        assert!(more && events.len() == 50);
        window.after = events.last().map(|(key, _)| *key);
        let queries = store.queries.load(Ordering::Relaxed) - before;
        // 50 events are those of 17 leads, opened in steps of 16.
        assert!(queries <= 32, "{queries}");
    }
}

#[tokio::test]
async fn a_deep_page_of_a_busy_lead_reads_a_part_of_its_parcels() {
    // 5,000 calls, one every ten minutes: five weeks.
    let parcels = (0..5_000).map(|i: i64| {
        let at = Timestamp::from_millis(NOON - i * 10 * MINUTE);
        (BatchId::new(at, 0), vec![event(&format!("m{i}"), at, at)])
    });
    let people = [Person { identity: Identity::user("busy"), parcels: parcels.collect() }];
    let (store, parcels, workspace) = stored(&people).await;
    let log = Log { parcels: &parcels, workspace: &workspace, now: NOW, effort: Effort::USUAL };
    let to = Timestamp::from_millis(NOON - 20 * DAY_MS);
    let window = Window { from: None, to: Some(to), after: None, limit: 50 };
    let (events, more) = page(&log, vec![people[0].source()], &window).await.unwrap();
    assert!(more && events.len() == 50 && events[0].0.at == to);
    // Two days around the page are 288 parcels and the page itself 50: two steps of 200.
    let queries = store.queries.load(Ordering::Relaxed);
    assert!(queries <= 3, "{queries}");
}
