//! Queues with the semantics of SQS: at least once, in any order, visible again unless removed, dead after too many receipts.

use super::{
    faults::Fault,
    scheduler::{Inner, Sim, What},
};
use aws::DeadQueue;
use domain::{DAY_MS, Home};
use pipeline::{AccountChanged, Message, Queue, QueueError, messages};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The stages that read queues, in pipeline order.
pub(super) const STAGES: [&str; 4] = ["resolve", "score", "level", "dispatch"];
/// After so many receipts a message is dead.
pub(super) const MAX_RECEIVES: u32 = 5;
/// How long a received message is hidden.
const VISIBILITY_MS: i64 = 90_000;
/// How long a message is kept.
const KEPT_MS: i64 = 14 * DAY_MS;

#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub body: Arc<str>,
    pub sent_at: i64,
    pub receives: u32,
    /// Counts what happened to it, so that an older timer does nothing.
    epoch: u32,
    held: bool,
}

#[derive(Debug, Default)]
pub(super) struct OneQueue {
    letters: BTreeMap<u64, Letter>,
    ready: Vec<u64>,
    dead: BTreeMap<u64, Letter>,
}

impl OneQueue {
    /// Messages that wait or are held.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Dead messages.
    pub fn dead(&self) -> usize {
        self.dead.len()
    }

    /// The bodies that wait or are held.
    pub fn bodies(&self) -> impl Iterator<Item = &str> {
        self.letters.values().map(|letter| &*letter.body)
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub queues: [OneQueue; STAGES.len()],
    next: u64,
    /// Messages sent.
    pub sent: u64,
    /// Transitions that dispatch was told of.
    pub told: BTreeSet<(Home, u64)>,
}

/// A received message.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub message: u64,
    pub body: Arc<str>,
    pub receives: u32,
    pub sent_at: i64,
}

impl Queues {
    pub fn any_ready(&self) -> bool {
        self.queues.iter().any(|queue| !queue.ready.is_empty())
    }
}

impl Inner {
    /// A message is taken by a queue.
    pub fn post(&mut self, queue: usize, body: Arc<str>, now: i64) {
        let duplicate = self.faults.duplicate;
        let copies = 1 + usize::from(self.fault(Fault::Duplicate, duplicate));
        self.queues.sent += 1;
        if STAGES[queue] == "dispatch"
            && let Ok(AccountChanged::Transitions { changes, .. }) = messages::decode(&body)
        {
            for change in changes {
                let told = change.transitions.iter().map(|transition| (change.home.clone(), transition.seq));
                self.queues.told.extend(told);
            }
        }
        for _ in 0..copies {
            self.queues.next += 1;
            let message = self.queues.next;
            let at = now + self.delay();
            let letter = Letter { body: Arc::clone(&body), sent_at: now, receives: 0, epoch: 0, held: false };
            self.queues.queues[queue].letters.insert(message, letter);
            self.at(at, What::Visible { queue, message, epoch: 0 });
        }
    }

    fn delay(&mut self) -> i64 {
        let (delay, long_delay) = (self.faults.delay, self.faults.long_delay);
        if self.fault(Fault::LongDelay, long_delay) {
            return if self.rng.chance(0.5) { self.rng.between(DAY_MS, KEPT_MS - DAY_MS) } else { self.rng.between(3_600_000, DAY_MS) };
        }
        if self.fault(Fault::Delay, delay) {
            return match self.rng.below(8) {
                0 => self.rng.between(60_000, 3_600_000),
                1 | 2 => self.rng.between(10_000, 60_000),
                _ => self.rng.between(100, 10_000),
            };
        }
        self.rng.between(0, 20)
    }

    /// A message can be received, or has come too often.
    pub fn message_visible(&mut self, queue: usize, message: u64, epoch: u32, now: i64) {
        let Some(letter) = self.queues.queues[queue].letters.get_mut(&message) else { return };
        if letter.epoch != epoch {
            return;
        }
        let ran_out = std::mem::take(&mut letter.held);
        let dead = letter.receives >= MAX_RECEIVES;
        if ran_out {
            self.counts.add(Fault::VisibilityRanOut);
        }
        if dead {
            self.bury(queue, message, now);
        } else {
            self.queues.queues[queue].ready.push(message);
            self.call_worker(now);
        }
    }

    fn bury(&mut self, queue: usize, message: u64, now: i64) {
        if let Some(letter) = self.queues.queues[queue].letters.remove(&message) {
            self.counts.add(Fault::DeadLetter);
            let latest = (letter.sent_at + KEPT_MS - 60_000).max(now + 1);
            // Somebody looks at it after hours or days, before it is gone.
            let at = now + if self.rng.chance(0.3) { self.rng.between(1, latest - now) } else { self.rng.between(1, 3_600_000) };
            self.queues.queues[queue].dead.insert(message, letter);
            self.at(at.min(latest), What::Redrive { queue, message });
        }
    }

    /// A dead message is sent back to its queue.
    pub fn redrive(&mut self, queue: usize, message: u64, now: i64) {
        if let Some(mut letter) = self.queues.queues[queue].dead.remove(&message) {
            self.counts.add(Fault::Redrive);
            letter.receives = 0;
            letter.epoch += 1;
            letter.held = false;
            let epoch = letter.epoch;
            self.queues.queues[queue].letters.insert(message, letter);
            self.at(now, What::Visible { queue, message, epoch });
        }
    }

    /// Up to ten messages of one queue.
    pub fn receive(&mut self, now: i64) -> Option<(usize, Vec<Receipt>)> {
        let waiting: Vec<usize> = (0..STAGES.len()).filter(|queue| !self.queues.queues[*queue].ready.is_empty()).collect();
        if waiting.is_empty() {
            return None;
        }
        let queue = *self.rng.pick(&waiting);
        let wanted = 1 + self.rng.below(10);
        let mut receipts = Vec::new();
        while receipts.len() < wanted && !self.queues.queues[queue].ready.is_empty() {
            let place = self.rng.below(self.queues.queues[queue].ready.len());
            let message = self.queues.queues[queue].ready.swap_remove(place);
            let Some(letter) = self.queues.queues[queue].letters.get_mut(&message) else { continue };
            letter.receives += 1;
            letter.epoch += 1;
            letter.held = true;
            let epoch = letter.epoch;
            receipts.push(Receipt { message, body: Arc::clone(&letter.body), receives: letter.receives, sent_at: letter.sent_at });
            self.at(now + VISIBILITY_MS, What::Visible { queue, message, epoch });
        }
        if self.queues.any_ready() {
            self.call_worker(now);
        }
        Some((queue, receipts))
    }

    /// A done message is removed.
    pub fn remove(&mut self, queue: usize, message: u64) {
        let delete_fails = self.faults.delete_fails;
        if self.fault(Fault::DeleteFails, delete_fails) {
            return;
        }
        self.queues.queues[queue].letters.remove(&message);
    }

    /// A message that was not done comes again after a while.
    pub fn give_back(&mut self, queue: usize, message: u64, now: i64) {
        let Some(letter) = self.queues.queues[queue].letters.get_mut(&message) else { return };
        letter.epoch += 1;
        letter.held = false;
        let epoch = letter.epoch;
        let at = now + if self.faults.any() { self.rng.between(200, 20_000) } else { 1_000 };
        self.at(at, What::Visible { queue, message, epoch });
    }
}

/// A queue as a sender sees it.
#[derive(Debug, Clone)]
pub struct SimQueue {
    pub(super) sim: Arc<Sim>,
    pub(super) queue: usize,
}

fn cut() -> QueueError {
    QueueError::Unavailable { source: "the simulated queue was cut off".into() }
}

impl<M: Message> Queue<M> for SimQueue {
    async fn send(&self, batch: Vec<M>) -> Result<(), QueueError> {
        let mut bodies: Vec<Arc<str>> = Vec::with_capacity(batch.len());
        for message in &batch {
            let body = messages::encode(message).map_err(|e| QueueError::Refused { reason: e.to_string() })?;
            if body.len() > messages::MAX_MESSAGE_BYTES {
                let mut inner = self.sim.lock();
                inner.violated(format!("a message of {} bytes was sent to {}", body.len(), STAGES[self.queue]));
                return Err(QueueError::Refused { reason: "the message is too long".to_owned() });
            }
            bodies.push(body.into());
        }
        // Ten messages a request, each request at its own moment.
        for chunk in bodies.chunks(10) {
            self.sim.gate().await;
            let mut inner = self.sim.lock();
            let now = self.sim.millis();
            let fails = inner.faults.send_fails;
            let trouble = inner.rng.chance(fails);
            let kind = if trouble { inner.rng.below(3) } else { 3 };
            let taken = match kind {
                0 => {
                    inner.counts.add(Fault::SendFails);
                    0
                }
                1 => {
                    inner.counts.add(Fault::SendInPart);
                    inner.rng.below(chunk.len())
                }
                2 => {
                    inner.counts.add(Fault::SendAnswerLost);
                    chunk.len()
                }
                _ => chunk.len(),
            };
            let mut order: Vec<&Arc<str>> = chunk.iter().collect();
            if kind == 1 {
                inner.rng.shuffle(&mut order);
            }
            for body in order.into_iter().take(taken) {
                inner.post(self.queue, Arc::clone(body), now);
            }
            if kind < 3 {
                return Err(cut());
            }
        }
        Ok(())
    }
}

/// A dead queue as a stage sees it.
#[derive(Debug, Clone)]
pub(super) struct SimDead {
    pub sim: Arc<Sim>,
    pub queue: usize,
    /// Whether messages are parked by the stage, or moved by the queue itself.
    pub parks: bool,
}

impl DeadQueue for SimDead {
    async fn park(&self, body: &str, reason: &str, stage: &str) -> Result<(), QueueError> {
        self.sim.gate().await;
        let mut inner = self.sim.lock();
        let fails = inner.faults.send_fails;
        if inner.rng.chance(fails / 2.0) {
            inner.counts.add(Fault::SendFails);
            return Err(cut());
        }
        let now = self.sim.millis();
        if !reason.starts_with("failed ") {
            inner.violated(format!("{stage} rejected a message that is right: {reason}"));
        }
        inner.queues.next += 1;
        let message = inner.queues.next;
        let letter = Letter { body: body.into(), sent_at: now, receives: MAX_RECEIVES, epoch: 0, held: false };
        inner.queues.queues[self.queue].letters.insert(message, letter);
        inner.bury(self.queue, message, now);
        if inner.rng.chance(fails / 2.0) {
            inner.counts.add(Fault::SendAnswerLost);
            return Err(cut());
        }
        Ok(())
    }

    fn max_receives(&self) -> Option<u32> {
        self.parks.then_some(MAX_RECEIVES)
    }
}
