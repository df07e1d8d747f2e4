//! Who acts in a run: workers, clients, the schedule, people at the console. A new kind of operation is one more [`Action`].

use super::{
    faults::Fault,
    queue::{STAGES, SimDead, SimQueue},
    scheduler::{Job, Kind, Sim, SimClock, SimEntropy},
    store::SimStore,
    transport::SimTransport,
    workload::{Told, Workload},
};
use aws::{SqsRecord, handle_sqs, sqs_event};
use bytes::Bytes;
use dispatch::{Dispatcher, ModelDirectory, Settings};
use domain::{DAY_MS, Timestamp, WorkspaceId, model::ModelDocument};
use futures::{channel::oneshot, future::LocalBoxFuture};
use http::{Method, Request, Response};
use ingest::Ingester;
use level::Leveler;
use pipeline::{Homes, Queue, Stage, Table, models::Models, secrets::FileKeySecrets};
use rescore::Rescorer;
use resolve::Resolver;
use score::Scorer;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// Opens the API.
pub(super) const TOKEN: &str = "at_simulation";
/// Takes tracking calls.
pub(super) const WRITE_KEY: &str = "wk_simulation";
/// Seals destination secrets.
pub(super) const KEY: [u8; 32] = [9; 32];
/// Clients send again for so long.
const CLIENT_PATIENCE_MS: i64 = DAY_MS;

type Answering = Box<dyn Fn(Request<Bytes>) -> LocalBoxFuture<'static, Response<Bytes>>>;

/// The stages as one host runs them.
pub(super) struct Host {
    ingester: Ingester<SimStore, SimQueue, SimClock, SimEntropy>,
    resolver: Resolver<SimStore, SimQueue, SimClock>,
    scorer: Scorer<SimStore, SimQueue, SimClock>,
    leveler: Leveler<SimStore, SimQueue, SimClock, SimEntropy>,
    dispatcher: Dispatcher<SimStore, SimClock, FileKeySecrets, SimTransport, ModelDirectory<SimStore, SimClock>>,
    rescorer: Rescorer<SimStore, SimQueue, SimQueue, SimClock>,
    models: Models<SimStore, SimClock>,
}

impl Host {
    fn new(sim: &Arc<Sim>, clock: &SimClock) -> Self {
        let store = || SimStore(Arc::clone(sim));
        let queue = |stage: &str| queue_of(sim, stage);
        let entropy = || SimEntropy(Arc::clone(sim));
        let settings = Settings::new("http://127.0.0.1:8787".parse().unwrap_or_else(|_| unreachable!("a fixed address")));
        Self {
            ingester: Ingester::new(store(), queue("resolve"), clock.clone(), entropy()),
            resolver: Resolver::new(store(), queue("score"), clock.clone()),
            scorer: Scorer::new(store(), queue("level"), clock.clone()),
            leveler: Leveler::new(store(), queue("dispatch"), clock.clone(), entropy()),
            dispatcher: Dispatcher::new(
                store(),
                clock.clone(),
                FileKeySecrets::new(&KEY),
                SimTransport(Arc::clone(sim)),
                ModelDirectory::new(store(), clock.clone()),
                settings,
            ),
            rescorer: Rescorer::new(store(), queue("score"), queue("dispatch"), clock.clone()),
            models: Models::new(store(), clock.clone()),
        }
    }
}

fn queue_of(sim: &Arc<Sim>, stage: &str) -> SimQueue {
    SimQueue { sim: Arc::clone(sim), queue: STAGES.iter().position(|name| *name == stage).unwrap_or_default() }
}

/// A machine: its clock, its stages, its API.
struct Machine {
    clock: SimClock,
    host: Rc<Host>,
    api: Answering,
}

/// Something that somebody does once, at some moment of the run.
#[derive(Debug, Clone)]
pub enum Action {
    /// A person links a lead to an account, or holds it out of every account.
    Link {
        /// The lead.
        user: String,
        /// The account; `None` for no account.
        account: Option<String>,
    },
    /// A person undoes a link.
    Unlink {
        /// The lead.
        user: String,
    },
    /// A new version of the scoring model is published.
    Publish,
    /// A host's clock is set.
    SetClock,
    /// The schedule's tick.
    Rescore,
}

/// A run's people and machines.
pub(super) struct World {
    pub sim: Arc<Sim>,
    pub workspace: WorkspaceId,
    machines: RefCell<Vec<Machine>>,
    spawned: RefCell<Vec<(Kind, Job)>>,
    pub workload: RefCell<Workload>,
    pub events: RefCell<Vec<Told>>,
    /// Events that clients have not got an answer for and send in other batches.
    pool: RefCell<Vec<usize>>,
    /// Clients and actions that are not done yet.
    pub busy: Cell<usize>,
    pub closing: Cell<bool>,
    /// The run ends before midnight, so that no night's rescoring makes good what went wrong.
    pub short: Cell<bool>,
    /// Every model that may have been published, by version.
    pub models: RefCell<BTreeMap<u64, ModelDocument>>,
}

impl World {
    pub fn new(sim: Arc<Sim>, hosts: usize, workload: Workload, first: ModelDocument) -> Rc<Self> {
        let machines = (0..hosts.max(1))
            .map(|_| {
                let skew = Arc::new(AtomicI64::new(0));
                let clock = SimClock { sim: Arc::clone(&sim), skew };
                let routes = api::router(api::Api::new(
                    SimStore(Arc::clone(&sim)),
                    FileKeySecrets::new(&KEY),
                    clock.clone(),
                    queue_of(&sim, "score"),
                ));
                let api: Answering = Box::new(move |request| Box::pin(api::answer(routes.clone(), request)));
                Machine { host: Rc::new(Host::new(&sim, &clock)), clock, api }
            })
            .collect();
        Rc::new(Self {
            sim,
            workspace: WorkspaceId::new("main").unwrap_or_else(|_| unreachable!("a fixed id")),
            machines: RefCell::new(machines),
            spawned: RefCell::default(),
            workload: RefCell::new(workload),
            events: RefCell::default(),
            pool: RefCell::default(),
            busy: Cell::new(0),
            closing: Cell::new(false),
            short: Cell::new(false),
            models: RefCell::new(BTreeMap::from([(first.version, first)])),
        })
    }

    /// Begins a task.
    pub fn spawn(&self, kind: Kind, job: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push((kind, Box::pin(job)));
    }

    /// What was begun since the last question.
    pub fn take_spawned(&self) -> Vec<(Kind, Job)> {
        std::mem::take(&mut *self.spawned.borrow_mut())
    }

    fn below(&self, n: usize) -> usize {
        self.sim.lock().rng.below(n)
    }

    fn between(&self, low: i64, high: i64) -> i64 {
        self.sim.lock().rng.between(low, high)
    }

    fn chance(&self, p: f64) -> bool {
        self.sim.lock().rng.chance(p)
    }

    fn fault(&self, fault: Fault, p: f64) -> bool {
        self.sim.lock().fault(fault, p)
    }

    fn faults(&self) -> super::faults::Faults {
        self.sim.lock().faults
    }

    fn host(&self) -> Rc<Host> {
        let at = self.below(self.machines.borrow().len());
        Rc::clone(&self.machines.borrow()[at].host)
    }

    /// A process begins anew on some host: it remembers nothing.
    pub fn cold_start(&self) {
        let at = self.below(self.machines.borrow().len());
        let machine = &mut self.machines.borrow_mut()[at];
        machine.host = Rc::new(Host::new(&self.sim, &machine.clock));
    }

    /// Sets every clock right.
    pub fn set_clocks_right(&self) {
        for machine in self.machines.borrow().iter() {
            machine.clock.skew.store(0, Ordering::Relaxed);
        }
    }

    fn set_clock(&self) {
        let faults = self.faults();
        if !faults.any() {
            return;
        }
        let machines = self.machines.borrow();
        let machine = &machines[self.below(machines.len())];
        let wild = self.fault(Fault::ClockJump, faults.wild_clock);
        let skew = if wild { self.between(-300_000, 300_000) } else { self.between(-2_000, 2_000) };
        machine.clock.skew.store(skew, Ordering::Relaxed);
    }

    /// The earliest moment at which an account or a delivery is due.
    pub fn next_due(&self) -> Option<i64> {
        let inner = self.sim.lock();
        let of = |table| inner.tables.firsts(table, "DUE#").filter_map(|sk| sk.split('#').next()?.parse::<i64>().ok()).min();
        of(Table::Accounts).into_iter().chain(of(Table::Deliveries)).min()
    }
}

// ---- Workers -------------------------------------------------------------------------------------------------------

async fn run_stage<S: Stage>(world: &World, stage: &S, queue: usize, batch: &[super::queue::Receipt], parks: bool) -> BTreeSet<u64>
where
    SimQueue: Queue<S::Input>,
{
    let records = batch.iter().map(|receipt| SqsRecord {
        message_id: receipt.message.to_string(),
        receipt: receipt.message.to_string(),
        body: receipt.body.to_string(),
        receive_count: receipt.receives,
        sent_at: Timestamp::from_millis(receipt.sent_at),
    });
    let own = SimQueue { sim: Arc::clone(&world.sim), queue };
    let dead = SimDead { sim: Arc::clone(&world.sim), queue, parks };
    let response = handle_sqs(stage, sqs_event(S::NAME, records), &own, &dead).await;
    response.batch_item_failures.iter().filter_map(|failure| failure.item_identifier.parse().ok()).collect()
}

/// Receives, works, acknowledges, for ever.
pub(super) async fn worker(world: Rc<World>, begin: i64) {
    world.sim.pause(begin).await;
    loop {
        world.sim.work().await;
        let received = {
            let now = world.sim.millis();
            world.sim.lock().receive(now)
        };
        let Some((queue, batch)) = received else { continue };
        let faults = world.faults();
        if world.fault(Fault::SlowWorker, faults.slow) {
            // From a little slower than the others to slower than any timeout.
            let factor = if world.chance(0.5) { world.between(3, 60) } else { world.between(60, 3_000) };
            world.sim.lock().slow_down(factor);
        }
        let host = world.host();
        let parks = !faults.any() || world.chance(0.5);
        let failed = match queue {
            0 => run_stage(&world, &host.resolver, queue, &batch, parks).await,
            1 => run_stage(&world, &host.scorer, queue, &batch, parks).await,
            2 => run_stage(&world, &host.leveler, queue, &batch, parks).await,
            _ => run_stage(&world, &host.dispatcher, queue, &batch, parks).await,
        };
        if !world.fault(Fault::ResponseLost, faults.response_lost) {
            world.sim.gate().await;
            let now = world.sim.millis();
            let mut inner = world.sim.lock();
            for receipt in &batch {
                if !failed.contains(&receipt.message) {
                    inner.remove(queue, receipt.message);
                } else if !faults.any() || inner.rng.chance(0.7) {
                    inner.give_back(queue, receipt.message, now);
                }
            }
        }
        world.sim.lock().slow_down(1);
    }
}

// ---- Clients -------------------------------------------------------------------------------------------------------

/// Sends one request; `true` when it was answered 200 and the client heard it.
async fn ask(world: &Rc<World>, events: &[usize]) -> bool {
    let now = world.sim.millis();
    let body = {
        let workload = world.workload.borrow();
        let mut all = world.events.borrow_mut();
        let mut body = format!(r#"{{"writeKey":"{WRITE_KEY}""#);
        if world.chance(0.5) {
            let skew = workload.skews[world.below(workload.skews.len())];
            body.push_str(&format!(r#","sentAt":"{}""#, Timestamp::from_millis(now + skew)));
        }
        body.push_str(r#","batch":["#);
        for (place, event) in events.iter().enumerate() {
            all[*event].first_sent.get_or_insert(now);
            if place > 0 {
                body.push(',');
            }
            body.push_str(&all[*event].json);
        }
        body.push_str("]}");
        body
    };
    let (tell, told) = oneshot::channel();
    let here = Rc::clone(world);
    world.spawn(Kind::Mortal, async move {
        let host = here.host();
        let request = Request::post("/v1/batch").body(Bytes::from(body)).unwrap_or_default();
        let response = host.ingester.handle(request, None).await;
        if response.status() == 200 && String::from_utf8_lossy(response.body()).contains(r#""rejected":[{"#) {
            here.sim.lock().violated("ingest refused a valid event");
        }
        if response.status().is_client_error() {
            here.sim.lock().violated(format!("ingest answered {} to a valid request", response.status()));
        }
        let _ = tell.send(response.status() == 200);
    });
    let unanswered = world.fault(Fault::ClientUnanswered, world.faults().client_unanswered);
    if unanswered && world.chance(0.5) {
        // The client's own patience ends, whatever the server still does.
        let ms = world.between(1, 60);
        world.sim.pause(ms).await;
        return false;
    }
    let heard = told.await.unwrap_or(false);
    heard && !unanswered
}

/// Sends a batch until it is answered 200, or its events are too old, or they are sent otherwise.
pub(super) async fn client(world: Rc<World>, mut events: Vec<usize>, mut repeats: bool) {
    loop {
        if ask(&world, &events).await {
            accept(&world, &events);
            if !repeats || !world.fault(Fault::ClientRepeats, world.faults().client_repeats) {
                break;
            }
            // It forgets that it was answered.
            repeats = false;
            wait(&world).await;
        } else {
            wait(&world).await;
            let choice = world.below(10);
            if choice >= 5 {
                world.sim.lock().counts.add(Fault::ClientRegroups);
                regroup(&world, &events);
            }
            if (5..8).contains(&choice) {
                break;
            }
        }
        let now = world.sim.millis();
        let all = world.events.borrow();
        events.retain(|event| all[*event].first_sent.is_none_or(|at| now - at < CLIENT_PATIENCE_MS));
        if events.is_empty() {
            break;
        }
        world.sim.lock().counts.add(Fault::ClientRetry);
    }
    world.busy.set(world.busy.get() - 1);
}

fn accept(world: &World, events: &[usize]) {
    let mut all = world.events.borrow_mut();
    for event in events {
        all[*event].accepted = true;
    }
}

async fn wait(world: &World) {
    let longest = if world.short.get() { 300_000 } else { 8 * 3_600_000 };
    let ms = if world.chance(0.1) { world.between(60_000, longest) } else { world.between(1, 5_000) };
    world.sim.pause(ms).await;
}

/// Sends events in other batches, together with others that wait for the same.
fn regroup(world: &Rc<World>, events: &[usize]) {
    let now = world.sim.millis();
    let mut pool = world.pool.borrow_mut();
    pool.extend(events);
    {
        let all = world.events.borrow();
        pool.retain(|event| all[*event].first_sent.is_some_and(|at| now - at < CLIENT_PATIENCE_MS));
    }
    world.sim.lock().rng.shuffle(&mut pool);
    let take = (events.len() + world.below(4)).min(pool.len());
    let mut taken: Vec<usize> = pool.drain(..take).collect();
    while !taken.is_empty() {
        let part: Vec<usize> = taken.drain(..(1 + world.below(taken.len()))).collect();
        world.busy.set(world.busy.get() + 1);
        world.spawn(Kind::Lasting, client(Rc::clone(world), part, false));
    }
}

/// All traffic and everything that people do, in bursts with hours in between.
pub(super) async fn traffic(world: Rc<World>, events: usize, days: i64) {
    let mut left = events;
    let requests = (events / world.workload.borrow().mean_request()).max(1);
    let bursts = (requests / 12).max(4) as i64;
    let mean_gap = days * DAY_MS / bursts;
    let publish_every = (bursts / 5).max(2);
    let mut burst = 0;
    while left > 0 {
        burst += 1;
        let requests = 4 + world.below(18);
        let span = world.between(10, 3_000);
        for _ in 0..requests {
            if left == 0 {
                break;
            }
            let at = world.between(0, span);
            let now = world.sim.millis();
            let told = world.workload.borrow_mut().request(&mut world.sim.lock().rng, now + at, left);
            left -= told.len();
            let first = world.events.borrow().len();
            let batch: Vec<usize> = (first..first + told.len()).collect();
            world.events.borrow_mut().extend(told);
            world.busy.set(world.busy.get() + 1);
            let here = Rc::clone(&world);
            world.spawn(Kind::Lasting, async move {
                here.sim.pause(at).await;
                client(here, batch, true).await;
            });
        }
        let mut actions = vec![Action::SetClock];
        if burst % publish_every == 0 {
            actions.push(Action::Publish);
        }
        for _ in 0..world.below(if world.workload.borrow().in_bulk() { 6 } else { 3 }) {
            let user = world.workload.borrow().user(&mut world.sim.lock().rng).to_owned();
            let account = world.workload.borrow().account(&mut world.sim.lock().rng);
            actions.push(match world.below(5) {
                0 => Action::Link { user, account: None },
                1 | 2 => Action::Link { user, account: Some(account) },
                _ => Action::Unlink { user },
            });
        }
        for action in actions {
            let at = world.between(0, span * 2);
            world.busy.set(world.busy.get() + 1);
            world.spawn(Kind::Lasting, act(Rc::clone(&world), action, at));
        }
        let gap = if world.chance(0.3) { world.between(1, 20_000) } else { world.between(0, mean_gap * 5 / 2) };
        world.sim.pause(span + gap).await;
    }
    world.busy.set(world.busy.get() - 1);
}

// ---- Actions -------------------------------------------------------------------------------------------------------

/// Does something at a moment. What can die in the middle is a task of its own.
pub(super) async fn act(world: Rc<World>, action: Action, after: i64) {
    world.sim.pause(after).await;
    match action {
        Action::Link { user, account } => {
            let body = serde_json::json!({ "account_id": account }).to_string();
            call_api(&world, Method::PUT, format!("/api/v1/leads/user:{user}"), Some(body)).await;
        }
        Action::Unlink { user } => call_api(&world, Method::DELETE, format!("/api/v1/leads/user:{user}/account"), None).await,
        Action::Publish => publish(&world).await,
        Action::SetClock => world.set_clock(),
        Action::Rescore => rescore_once(&world).await,
    }
    world.busy.set(world.busy.get() - 1);
}

/// A person asks for something, and asks again until it is answered: what failed half-way is finished by the same request.
async fn call_api(world: &Rc<World>, method: Method, path: String, body: Option<String>) {
    for _ in 0..50 {
        let (tell, told) = oneshot::channel::<u16>();
        let (here, path, method, body) = (Rc::clone(world), path.clone(), method.clone(), body.clone());
        world.spawn(Kind::Mortal, async move {
            let request = Request::builder().method(method).uri(&path).header("authorization", format!("Bearer {TOKEN}"));
            let request = if body.is_some() { request.header("content-type", "application/json") } else { request };
            let Ok(request) = request.body(body.map(Bytes::from).unwrap_or_default()) else { return };
            let at = here.below(here.machines.borrow().len());
            let answer = (here.machines.borrow()[at].api)(request);
            let status = answer.await.status().as_u16();
            if !matches!(status, 200..=299 | 404 | 409 | 429 | 500..=599) {
                here.sim.lock().violated(format!("the API answered {status} to {path}"));
            }
            let _ = tell.send(status);
        });
        if told.await.is_ok_and(|status| status < 409) {
            return;
        }
        let ms = world.between(100, 20_000);
        world.sim.pause(ms).await;
    }
}

/// A new version: other points, another threshold, now and then another matching part.
async fn publish(world: &Rc<World>) {
    let (mut document, change) = {
        let models = world.models.borrow();
        let Some((_, last)) = models.last_key_value() else { return };
        (last.clone(), world.below(4))
    };
    document.version += 1;
    let rule = world.below(document.engagement.rules.len());
    match change {
        0 => {
            let mut new = document.engagement.rules[rule].clone();
            new.id = format!("campaign_{}", document.version);
            new.part.events = vec!["campaign answered".to_owned(), format!("campaign {}", document.version)];
            new.part.filters.clear();
            document.engagement.rules.push(new);
        }
        1 => document.engagement.lead_cap = world.between(60, 200),
        _ => document.engagement.rules[rule].points = world.between(1, 40),
    }
    world.models.borrow_mut().insert(document.version, document.clone());
    for _ in 0..40 {
        let (tell, told) = oneshot::channel();
        let (here, document) = (Rc::clone(world), document.clone());
        world.spawn(Kind::Mortal, async move {
            let host = here.host();
            let _ = tell.send(host.models.publish(&here.workspace, &document).await.is_ok());
        });
        if told.await.unwrap_or(false) {
            break;
        }
        world.sim.pause(500).await;
    }
    // Whoever publishes has accounts looked at again, some at once.
    let homes: Vec<domain::Home> = {
        let inner = world.sim.lock();
        inner
            .tables
            .items(Table::Accounts)
            .filter(|item| item.key.sk == pipeline::records::SCORE)
            .filter_map(|item| home_of(&item.key.pk))
            .collect()
    };
    let mut touched = Homes::default();
    for home in homes {
        if world.chance(0.3) {
            touched.add(&world.workspace, home);
        }
    }
    let messages = touched.touched();
    if !messages.is_empty() {
        let _ = queue_of(&world.sim, "score").send(messages).await;
    }
}

/// The home of a partition.
pub(super) fn home_of(pk: &str) -> Option<domain::Home> {
    let text = pk.split_once("#H#")?.1;
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// One run of the schedule, on some host.
pub(super) async fn rescore_once(world: &Rc<World>) {
    let (done, finished) = oneshot::channel::<()>();
    let here = Rc::clone(world);
    world.spawn(Kind::Mortal, async move {
        let _done = done;
        let host = here.host();
        // What fails is found again by the next run.
        drop(host.rescorer.run().await);
    });
    let _ = finished.await;
}

/// The schedule: it looks when something is due, and sometimes when nothing is.
pub(super) async fn schedule(world: Rc<World>) {
    while !world.closing.get() {
        let now = world.sim.millis();
        let due = world.next_due().map_or(i64::MAX, |due| due + rescore::SETTLED_MS);
        let at = due.clamp(now + 15_000, now + 6 * 3_600_000) + world.between(0, 60_000);
        world.sim.until(at).await;
        if world.closing.get() {
            return;
        }
        if world.next_due().is_some_and(|due| due <= world.sim.millis()) || world.chance(0.1) {
            rescore_once(&world).await;
        }
    }
}
