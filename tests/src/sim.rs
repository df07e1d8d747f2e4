//! A deterministic fault simulator: the real stages, driven by the real batching code, over a store and queues that do everything
//! that real ones do to their callers, under one seeded scheduler on simulated time.
//!
//! The same [`Plan`] gives the same run, operation by operation. After a run everything must be counted exactly once and equal to a replay.

mod actor;
mod check;
pub mod faults;
pub mod hunt;
mod queue;
mod rng;
mod scheduler;
mod store;
mod transport;
mod workload;

pub use actor::Action;
pub use faults::{Counts, Fault, Faults};
pub use workload::Load;

use actor::{KEY, TOKEN, WRITE_KEY, World};
use check::{Checked, Phase, Replays, check};
use domain::{
    DAY_MS, DestinationId, Timestamp, TriggerId,
    giant::{self, GIANT_IDENTITIES},
    model::default_document,
    mutant::{self, Mutant},
    trigger::TriggerDraft,
};
use futures::executor::block_on;
use pipeline::{
    Credential, CredentialKind, Credentials, Homes, Queue,
    notify::{DestinationDraft, Destinations, Triggers},
    secrets::FileKeySecrets,
};
use scheduler::{Executor, Inner, Kind, Sim, SimClock, Step};
use serde_json::json;
use std::{fmt, rc::Rc, sync::Arc};
use store::SimStore;
use workload::Workload;

/// A run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Events that clients have to tell.
    pub events: usize,
    /// How they are spread.
    pub load: Load,
    /// Machines, each with its clock and its caches.
    pub hosts: usize,
    /// Workers, each on any machine and any queue.
    pub workers: usize,
    /// How many days the traffic lasts; 0 for less than an hour, so that no night's rescoring makes good what went wrong.
    pub days: i64,
    /// What goes wrong.
    pub faults: Faults,
    /// Accounts with more identities than this are giant; `None` for as many as in a deployment.
    pub giants: Option<usize>,
    /// A deliberate bug.
    pub mutant: Option<Mutant>,
}

impl Plan {
    /// Four hosts, sixteen workers, thirty days, all faults.
    pub const fn new(seed: u64, events: usize, load: Load) -> Self {
        // In a short run, no account grows as large as a giant one.
        let giants = if matches!(load, Load::GiantAccount) && events < workload::GIANT_EVENTS { Some(FEW) } else { None };
        Self { seed, events, load, hosts: 4, workers: 16, days: DAYS, faults: Faults::all(), giants, mutant: None }
    }

    /// The command that runs it again.
    pub fn command(&self) -> String {
        let Self { seed, events, load, days, .. } = self;
        let faults = match self.faults.name() {
            "all" => String::new(),
            name => format!(" --faults {name}"),
        };
        let giants = match self.giants {
            giants if giants == Self::new(self.seed, self.events, self.load).giants => String::new(),
            giants => format!(" --giants {}", giants.unwrap_or(GIANT_IDENTITIES)),
        };
        let mutant = self.mutant.map(|mutant| format!(" --mutant {mutant:?}")).unwrap_or_default();
        let load = load.as_str();
        format!(
            "cargo run -p harpoon-tests --release --bin soak -- --seed {seed} --events {events} --load {load} --days {days}{faults}{giants}{mutant}"
        )
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What, in a sentence.
    pub what: String,
    /// The command that shows it again.
    pub replay: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    {}", self.what, self.replay)
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Events that were told.
    pub events: u64,
    /// Events of which a client heard that they were taken.
    pub accepted: u64,
    /// Faults by kind.
    pub faults: Counts,
    /// Queue messages.
    pub messages: u64,
    /// Notifications posted.
    pub posts: u64,
    /// Operations of the store, the queues and the destinations.
    pub operations: u64,
    /// Simulated days.
    pub days: i64,
    /// Accounts that were giant at the end.
    pub giants: u64,
    /// What is not as it must be.
    pub violations: Vec<Violation>,
    /// Digest of every operation with its moment.
    pub digest: u64,
}

/// The moment at which every run begins: a Wednesday noon.
const START: &str = "2026-03-18T12:00:00Z";
/// How many days the traffic lasts.
const DAYS: i64 = 30;
/// Accounts with more identities than this are giant in a short run.
const FEW: usize = 12;

/// Runs a plan.
pub fn run(plan: &Plan) -> Report {
    run_watching(plan, None)
}

/// Runs a plan and prints every operation on items whose keys hold a text.
pub fn run_watching(plan: &Plan, watched: Option<&str>) -> Report {
    let usual = giant::limit();
    mutant::choose(plan.mutant);
    giant::choose_limit(plan.giants.unwrap_or(usual));
    let run = Run::new(plan);
    run.change(|inner| inner.watched = watched.map(str::to_owned));
    let report = run.go();
    mutant::choose(None);
    giant::choose_limit(usual);
    report
}

struct Run<'p> {
    plan: &'p Plan,
    sim: Arc<Sim>,
    world: Rc<World>,
    executor: Executor,
    begun: i64,
    steps: u64,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan) -> Self {
        let start = Timestamp::parse(START).unwrap_or_default();
        let sim = Arc::new(Sim::new(plan.seed, Faults::none(), start));
        let workload = Workload::new(&mut sim.lock().rng, plan.load, plan.events);
        let document = default_document().unwrap_or_else(|e| unreachable!("the default model: {e}"));
        let world = World::new(Arc::clone(&sim), plan.hosts, workload, document);
        let executor = Executor::new(Arc::clone(&sim));
        Self { plan, begun: sim.millis(), sim, world, executor, steps: 0 }
    }

    /// Credentials, destinations and triggers.
    async fn furnish(&self) -> anyhow::Result<()> {
        let (store, workspace) = (SimStore(Arc::clone(&self.sim)), &self.world.workspace);
        let clock = SimClock { sim: Arc::clone(&self.sim), skew: Arc::default() };
        let before = self.sim.now().plus_millis(-DAY_MS);
        let credentials = Credentials::new(store.clone(), clock.clone());
        for (secret, kind) in [(WRITE_KEY, CredentialKind::WriteKey), (TOKEN, CredentialKind::ApiToken)] {
            let credential =
                Credential { workspace: workspace.clone(), kind, name: "simulation".into(), created_at: before, revoked_at: None };
            credentials.put(secret, &credential).await?;
        }
        let destinations = Destinations::new(store.clone(), clock.clone());
        for (id, path) in [("d1", "crm"), ("d2", "desk")] {
            let url = format!("https://hooks.northwind-looms.com/{path}");
            let draft = DestinationDraft::read(&json!({ "name": id, "kind": "signed_webhook", "url": url }), false)
                .map_err(|e| anyhow::anyhow!("{e:?}"))?;
            destinations.create_destination(workspace, DestinationId::new(id)?, draft, &FileKeySecrets::new(&KEY)).await?;
        }
        let triggers = Triggers::new(store, clock);
        let all = [
            (
                "entered",
                json!({ "kind": "level_entered", "level": "hot", "of": "engagement" }),
                json!({ "cooldown_hours": 0 }),
                json!(["d1"]),
            ),
            ("crossed", json!({ "kind": "engagement_crossed", "threshold": 40 }), json!({ "cooldown_hours": 72 }), json!(["d1", "d2"])),
            ("lead", json!({ "kind": "level_entered", "level": "hot", "of": "lead" }), json!({ "mode": "once" }), json!(["d2"])),
            ("fit", json!({ "kind": "level_left", "level": "low_priority" }), json!({ "cooldown_hours": 24 }), json!(["d2"])),
            ("surge", json!({ "kind": "surge_started" }), json!({ "cooldown_hours": 0 }), json!(["d1"])),
        ];
        for (name, when, fire, destinations) in all {
            let draft = TriggerDraft::read(&json!({ "name": name, "when": when, "fire": fire, "destinations": destinations }))
                .map_err(|e| anyhow::anyhow!("{e:?}"))?;
            triggers.put_new(workspace, draft.start(TriggerId::new(name)?, before)).await?;
        }
        Ok(())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        change(&mut self.sim.lock())
    }

    /// One step; dead workers get successors, what was begun begins. `false` when nothing is left to happen before `limit`.
    fn step(&mut self, limit: i64) -> bool {
        self.steps += 1;
        // What was begun begins at this moment, before time moves on.
        loop {
            self.executor.run_ready();
            let spawned = self.world.take_spawned();
            if spawned.is_empty() {
                break;
            }
            for (kind, job) in spawned {
                self.executor.spawn(kind, job);
            }
        }
        let step = self.executor.step(limit);
        if let Step::Died(_) = step {
            if self.change(|inner| inner.fault(Fault::ColdStart, 0.3)) {
                self.world.cold_start();
            }
            self.hire(1_000);
        }
        step != Step::Rest
    }

    fn hire(&mut self, latest: i64) {
        let begin = self.change(|inner| inner.rng.between(0, latest));
        self.executor.spawn(Kind::Worker, Box::pin(actor::worker(Rc::clone(&self.world), begin)));
    }

    /// Runs until nothing happens any more up to a moment; says so when there is no end of it.
    fn drain(&mut self, limit: i64) {
        let most = self.steps + 20_000_000 + self.plan.events as u64 * 5_000;
        while self.step(limit) {
            if self.steps > most {
                self.change(|inner| inner.violated("the pipeline does not come to rest"));
                return;
            }
        }
    }

    /// Everything that is due up to a moment is enqueued and served.
    fn serve_due(&mut self, until: i64) {
        for _ in 0..2_000 {
            self.drain(i64::MAX);
            let Some(due) = self.world.next_due().filter(|due| *due <= until) else { return };
            self.sim.set_now(due + rescore::SETTLED_MS + 1);
            self.world.busy.set(self.world.busy.get() + 1);
            self.executor.spawn(Kind::Lasting, Box::pin(actor::act(Rc::clone(&self.world), Action::Rescore, 30_000)));
        }
        self.change(|inner| inner.violated("something stays due however often it is enqueued"));
    }

    fn go(mut self) -> Report {
        if let Err(error) = block_on(self.furnish()) {
            self.change(|inner| inner.violated(format!("the world could not be furnished: {error}")));
        }
        // Whoever begins to send has had the key for a while.
        self.sim.set_now(self.begun + 60_000);
        let mut faults = self.plan.faults;
        let short = self.plan.days == 0;
        if short {
            faults.long_delay = 0.0;
        }
        self.world.short.set(short);
        self.change(|inner| {
            inner.direct = false;
            inner.faults = faults;
        });
        for _ in 0..self.plan.workers.max(1) {
            self.hire(100);
        }
        self.world.busy.set(1);
        let traffic = actor::traffic(Rc::clone(&self.world), self.plan.events, self.plan.days);
        self.executor.spawn(Kind::Lasting, Box::pin(traffic));
        self.executor.spawn(Kind::Lasting, Box::pin(actor::schedule(Rc::clone(&self.world))));
        let most = 100_000_000 + self.plan.events as u64 * 20_000;
        while self.world.busy.get() > 0 && self.step(i64::MAX) {
            if self.steps > most {
                self.change(|inner| inner.violated("the clients do not come to an end"));
                break;
            }
        }
        // Late messages come while things still go wrong, too.
        let calm = self.sim.millis() + if short { 600_000 } else { 2 * DAY_MS };
        self.drain(calm);
        self.change(|inner| inner.faults = Faults::none());
        self.world.closing.set(true);
        self.world.set_clocks_right();
        self.drain(i64::MAX);
        let until = self.sim.millis() + if short { 1_200_000 } else { 36 * 3_600_000 };
        self.serve_due(until);
        self.sim.set_now(until);
        self.change(|inner| inner.direct = true);
        let Checked { mut found, replays, .. } = check(&self.world, Phase::AtRest, Replays::new());
        self.change(|inner| inner.direct = false);
        let mut giants = 0;
        if found.is_empty() {
            self.touch_all();
            self.change(|inner| inner.direct = true);
            let touched = check(&self.world, Phase::Touched, replays);
            (found, giants) = (touched.found, touched.giants);
        }
        self.report(found, giants)
    }

    /// As a publication does: every home is scored again.
    fn touch_all(&mut self) {
        // Not across midnight: then some would be scored for the day before.
        let now = self.sim.millis();
        if DAY_MS - now.rem_euclid(DAY_MS) < 2 * 3_600_000 {
            self.sim.set_now(now + 2 * 3_600_000);
        }
        let mut touched = Homes::default();
        let homes: Vec<_> = self.change(|inner| {
            let items = inner.tables.items(pipeline::Table::Accounts);
            items.filter(|item| item.key.sk == pipeline::records::SCORE).filter_map(|item| actor::home_of(&item.key.pk)).collect()
        });
        homes.into_iter().for_each(|home| touched.add(&self.world.workspace, home));
        let queue = queue::SimQueue { sim: Arc::clone(&self.sim), queue: 1 };
        self.change(|inner| inner.direct = true);
        if block_on(queue.send(touched.touched())).is_err() {
            self.change(|inner| inner.violated("a send failed although nothing goes wrong"));
        }
        self.change(|inner| inner.direct = false);
        self.drain(i64::MAX);
        let now = self.sim.millis();
        self.serve_due(now);
    }

    fn report(self, found: Vec<String>, giants: u64) -> Report {
        let inner = self.sim.lock();
        let events = self.world.events.borrow();
        let replay = self.plan.command();
        let all = inner.violations.iter().chain(&found);
        Report {
            events: events.len() as u64,
            accepted: events.iter().filter(|event| event.accepted).count() as u64,
            faults: inner.counts,
            messages: inner.queues.sent,
            posts: inner.posts.0.values().map(|seen| seen.posts).sum(),
            operations: inner.operations,
            days: (self.sim.millis() - self.begun) / DAY_MS,
            giants,
            violations: all.map(|what| Violation { what: what.clone(), replay: replay.clone() }).collect(),
            digest: inner.digest,
        }
    }
}
