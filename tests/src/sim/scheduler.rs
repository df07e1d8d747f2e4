//! One thread, one heap of moments, one generator: which waiting operation happens next is decided here and nowhere else.
//!
//! A task is a future. Each of its operations waits at a gate first; the gate's moment is drawn, and the heap opens the earliest.
//! So operations of different tasks, and those that one task has under way at once, happen in any order. Dropping a task at a gate is
//! a crash between two operations.

use super::{
    faults::{Counts, Fault, Faults},
    queue::Queues,
    rng::Rng,
    store::Tables,
    transport::Posts,
};
use domain::Timestamp;
use pipeline::{Clock, Entropy, Write};
use std::{
    cmp::Ordering as Order,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// What may be done at a moment.
#[derive(Debug)]
pub(super) enum What {
    /// An operation goes on.
    Open { slot: usize, turn: u64 },
    /// A message can be received (again).
    Visible { queue: usize, message: u64, epoch: u32 },
    /// A dead message is sent back.
    Redrive { queue: usize, message: u64 },
    /// A write that its caller gave up happens.
    Late(Vec<Write>),
}

struct Moment {
    at: i64,
    seq: u64,
    what: What,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    // The heap's largest is the earliest moment.
    fn cmp(&self, other: &Self) -> Order {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

#[derive(Default)]
struct Slot {
    turn: u64,
    waker: Option<Waker>,
    open: bool,
    task: usize,
}

/// What a task is to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Never dies.
    Lasting,
    /// Dies at random, and that is all.
    Mortal,
    /// Dies at random, and a successor begins.
    Worker,
}

pub(super) type Job = Pin<Box<dyn Future<Output = ()>>>;

/// Everything that the run changes.
pub(super) struct Inner {
    pub rng: Rng,
    pub faults: Faults,
    pub counts: Counts,
    pub digest: u64,
    pub operations: u64,
    pub tables: Tables,
    pub queues: Queues,
    pub posts: Posts,
    /// After which transitions a home had no leads any more, by the sort key of its standing: its levels are forgotten then.
    pub emptied: BTreeMap<String, BTreeSet<u64>>,
    pub violations: Vec<String>,
    heap: BinaryHeap<Moment>,
    seq: u64,
    slots: Vec<Slot>,
    free: Vec<usize>,
    idle: Vec<(usize, u64)>,
    /// The task that is being polled, and how much slower than others it is.
    current: usize,
    slowness: Vec<i64>,
    kinds: Vec<Kind>,
    /// Operations happen at once: for setting up and for checks.
    pub direct: bool,
    /// Operations on keys that hold this text are printed.
    pub watched: Option<String>,
}

/// A simulated world, shared by everything in it.
pub struct Sim {
    inner: Mutex<Inner>,
    now: AtomicI64,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").field("now", &self.now).finish_non_exhaustive()
    }
}

fn mix(digest: u64, value: u64) -> u64 {
    (digest ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
}

impl Inner {
    pub fn at(&mut self, at: i64, what: What) {
        self.seq += 1;
        self.heap.push(Moment { at, seq: self.seq, what });
    }

    pub fn note(&mut self, value: u64) {
        self.digest = mix(self.digest, value);
    }

    /// Draws a fault.
    pub fn fault(&mut self, fault: Fault, p: f64) -> bool {
        let happens = self.rng.chance(p);
        if happens {
            self.counts.add(fault);
        }
        happens
    }

    /// Prints an operation on a watched key.
    pub fn show(&self, now: i64, key: &pipeline::Key, what: impl FnOnce() -> String) {
        if let Some(watched) = &self.watched
            && !self.direct
            && (key.pk.contains(watched.as_str()) || key.sk.contains(watched.as_str()))
        {
            println!("{} task {:<4} {} / {}  {}", Timestamp::from_millis(now), self.current, key.pk, key.sk, what());
        }
    }

    /// Says that something is not as it must be.
    pub fn violated(&mut self, what: impl Into<String>) {
        if self.violations.len() < 50 {
            self.violations.push(what.into());
        }
    }

    fn slot(&mut self, waker: &Waker) -> (usize, u64) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let task = self.current;
        let place = &mut self.slots[slot];
        place.turn += 1;
        (place.waker, place.open, place.task) = (Some(waker.clone()), false, task);
        (slot, place.turn)
    }

    fn release(&mut self, slot: usize, turn: u64) {
        let place = &mut self.slots[slot];
        if place.turn == turn && place.waker.is_some() {
            place.waker = None;
            place.turn += 1;
            self.free.push(slot);
        }
    }

    /// How long an operation of the current task takes.
    fn latency(&mut self) -> i64 {
        let slow = self.slowness.get(self.current).copied().unwrap_or(1);
        let base = match self.rng.below(64) {
            0 => self.rng.between(50, 2_000),
            1..=6 => self.rng.between(10, 60),
            _ => self.rng.between(1, 8),
        };
        base * slow
    }

    /// Wakes one idle worker, if there is one.
    pub fn call_worker(&mut self, now: i64) {
        while !self.idle.is_empty() {
            let place = self.rng.below(self.idle.len());
            let (slot, turn) = self.idle.swap_remove(place);
            if self.slots[slot].turn == turn {
                let at = now + self.rng.between(0, 3);
                self.at(at, What::Open { slot, turn });
                return;
            }
        }
    }

    /// Makes the task that is being polled slower.
    pub fn slow_down(&mut self, factor: i64) {
        if let Some(slowness) = self.slowness.get_mut(self.current) {
            *slowness = factor;
        }
    }
}

impl Sim {
    /// A world at a moment.
    pub(super) fn new(seed: u64, faults: Faults, now: Timestamp) -> Self {
        let inner = Inner {
            rng: Rng::new(seed),
            faults,
            counts: Counts::default(),
            digest: seed,
            operations: 0,
            tables: Tables::default(),
            queues: Queues::default(),
            posts: Posts::default(),
            emptied: BTreeMap::new(),
            violations: Vec::new(),
            heap: BinaryHeap::new(),
            seq: 0,
            slots: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            current: 0,
            slowness: Vec::new(),
            kinds: Vec::new(),
            direct: true,
            watched: None,
        };
        Self { inner: Mutex::new(inner), now: AtomicI64::new(now.millis()) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The true moment, in milliseconds.
    pub(super) fn millis(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The true moment.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis())
    }

    pub(super) fn set_now(&self, ms: i64) {
        self.now.store(ms.max(self.millis()), Ordering::Relaxed);
    }

    /// Waits for the moment at which the next operation of this task happens.
    pub(super) fn gate(&self) -> Gate<'_> {
        Gate { sim: self, state: GateState::New(Wait::Operation) }
    }

    /// Waits for a moment.
    pub(super) fn until(&self, at: i64) -> Gate<'_> {
        Gate { sim: self, state: GateState::New(Wait::Until(at)) }
    }

    /// Waits for some milliseconds.
    pub(super) fn pause(&self, ms: i64) -> Gate<'_> {
        self.until(self.millis() + ms)
    }

    /// Waits until a message waits.
    pub(super) fn work(&self) -> Gate<'_> {
        Gate { sim: self, state: GateState::New(Wait::Work) }
    }
}

enum Wait {
    Operation,
    Until(i64),
    Work,
}

enum GateState {
    New(Wait),
    Waiting(usize, u64),
    Passed,
}

/// A moment that is waited for.
pub(super) struct Gate<'a> {
    sim: &'a Sim,
    state: GateState,
}

impl Future for Gate<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut inner = this.sim.lock();
        match &this.state {
            GateState::Passed => Poll::Ready(()),
            GateState::New(wait) => {
                if inner.direct {
                    this.state = GateState::Passed;
                    return Poll::Ready(());
                }
                let now = this.sim.millis();
                let (slot, turn) = inner.slot(cx.waker());
                match wait {
                    Wait::Operation => {
                        let at = now + inner.latency();
                        inner.at(at, What::Open { slot, turn });
                    }
                    Wait::Until(at) => inner.at((*at).max(now), What::Open { slot, turn }),
                    Wait::Work => {
                        inner.idle.push((slot, turn));
                        if inner.queues.any_ready() {
                            inner.call_worker(now);
                        }
                    }
                }
                this.state = GateState::Waiting(slot, turn);
                Poll::Pending
            }
            GateState::Waiting(slot, turn) => {
                let (slot, turn) = (*slot, *turn);
                if inner.slots[slot].open {
                    inner.release(slot, turn);
                    this.state = GateState::Passed;
                    return Poll::Ready(());
                }
                inner.slots[slot].waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        if let GateState::Waiting(slot, turn) = self.state {
            self.sim.lock().release(slot, turn);
        }
    }
}

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.task);
        }
    }
}

struct Task {
    job: Option<Job>,
    waker: Arc<TaskWaker>,
}

/// What the scheduler came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something happened.
    Went,
    /// This worker died.
    Died(usize),
    /// Nothing is left to happen before the given moment.
    Rest,
}

/// Tasks, and the loop that runs them.
pub(super) struct Executor {
    sim: Arc<Sim>,
    tasks: Vec<Task>,
    vacant: Vec<usize>,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Executor {
    pub fn new(sim: Arc<Sim>) -> Self {
        Self { sim, tasks: Vec::new(), vacant: Vec::new(), ready: Arc::default() }
    }

    /// Begins a task. Its number is used again once it has ended.
    pub fn spawn(&mut self, kind: Kind, job: Job) -> usize {
        let task = self.vacant.pop().unwrap_or(self.tasks.len());
        let waker = Arc::new(TaskWaker { task, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        waker.wake_by_ref();
        let new = Task { job: Some(job), waker };
        let mut inner = self.sim.lock();
        if task == self.tasks.len() {
            self.tasks.push(new);
            inner.kinds.push(kind);
            inner.slowness.push(1);
        } else {
            self.tasks[task] = new;
            inner.kinds[task] = kind;
            inner.slowness[task] = 1;
        }
        task
    }

    /// Lets every task run that can.
    pub fn run_ready(&mut self) {
        loop {
            let next = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(number) = next else { return };
            let task = &mut self.tasks[number];
            task.waker.queued.store(false, Ordering::Relaxed);
            let Some(mut job) = task.job.take() else { continue };
            let waker = Waker::from(Arc::clone(&task.waker));
            self.sim.lock().current = number;
            let done = job.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if done {
                drop(job);
                self.vacant.push(number);
            } else {
                self.tasks[number].job = Some(job);
            }
        }
    }

    /// Lets the next thing happen that happens at `limit` or before.
    pub fn step(&mut self, limit: i64) -> Step {
        let mut inner = self.sim.lock();
        let Some(moment) = inner.heap.peek() else { return Step::Rest };
        if moment.at > limit {
            return Step::Rest;
        }
        let Some(Moment { at, what, .. }) = inner.heap.pop() else { return Step::Rest };
        self.sim.set_now(at);
        match what {
            What::Open { slot, turn } => {
                if inner.slots[slot].turn != turn {
                    return Step::Went;
                }
                let task = inner.slots[slot].task;
                inner.operations += 1;
                inner.note(at as u64 ^ ((task as u64) << 48));
                let crash = inner.faults.crash;
                if inner.kinds[task] != Kind::Lasting && inner.fault(Fault::Crash, crash) {
                    let kind = inner.kinds[task];
                    if inner.watched.is_some() {
                        println!("{} task {task} dies", Timestamp::from_millis(at));
                    }
                    drop(inner);
                    let job = self.tasks[task].job.take();
                    drop(job);
                    self.vacant.push(task);
                    return if kind == Kind::Worker { Step::Died(task) } else { Step::Went };
                }
                inner.slots[slot].open = true;
                let waker = inner.slots[slot].waker.clone();
                drop(inner);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            What::Visible { queue, message, epoch } => inner.message_visible(queue, message, epoch, at),
            What::Redrive { queue, message } => inner.redrive(queue, message, at),
            What::Late(writes) => inner.late(writes, at),
        }
        Step::Went
    }
}

/// A host's clock: the true moment and an error that changes now and then.
#[derive(Debug, Clone)]
pub struct SimClock {
    pub(super) sim: Arc<Sim>,
    pub(super) skew: Arc<AtomicI64>,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.sim.now().plus_millis(self.skew.load(Ordering::Relaxed))
    }
}

/// Bits from the run's generator.
#[derive(Debug, Clone)]
pub struct SimEntropy(pub(super) Arc<Sim>);

impl Entropy for SimEntropy {
    fn bits(&self) -> u128 {
        let mut inner = self.0.lock();
        (u128::from(inner.rng.next()) << 64) | u128::from(inner.rng.next())
    }
}
