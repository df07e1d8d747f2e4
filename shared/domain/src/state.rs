//! Folding parcels into a state exactly once, without a transaction.
//!
//! A state remembers which parcels it has folded and which message ids they held. What it remembers is a window; message ids that
//! leave the window are spilled beside the state before it is written. Whenever the window can't tell whether an event was
//! counted, the answer is [`Fold::Doubt`]: fold all parcels of the identity again, counting each message id from its
//! earliest parcel. So redelivery, reordering and client retries in other batches lose and double nothing.

use crate::{BatchId, Event, Identity, IdentityId, Timestamp, engagement::Matcher, facts::Facts, mapping::AccountMapping};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Spilled message ids live this long: longer than a dead queue keeps messages (14 days), and then some.
pub const SPILL_LIFE_MS: i64 = 16 * crate::DAY_MS;

/// Batches this much older than the newest leave the window.
const BATCH_SPAN_MS: i64 = 15 * 60 * 1000;
/// The most batch ids in the window.
const MAX_BATCHES: usize = 64;
/// When the window holds more message ids than this, the oldest are spilled …
pub const MAX_IDS: usize = 64;
/// … until so many are left.
const KEPT_IDS: usize = 32;

/// What is known of one identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityState {
    /// Whose state it is.
    #[serde(rename = "i")]
    pub identity: Identity,
    /// For an anonymous id: the user id that it belongs to.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub link: Option<IdentityId>,
    /// Which parcels and message ids were folded lately.
    #[serde(rename = "w", default)]
    pub window: Window,
    /// What the events add up to.
    #[serde(rename = "f")]
    pub facts: Facts,
}

/// Which parcels and message ids were folded lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Batches, oldest first.
    #[serde(rename = "b", default)]
    pub batches: Vec<BatchId>,
    /// The newest batch that ever left the window: nothing up to it can be told from what was folded.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<BatchId>,
    /// Digests of message ids by the batch that they were counted from, oldest batch first.
    #[serde(rename = "m", default)]
    pub ids: BTreeMap<BatchId, Vec<u64>>,
    /// Spilled ids exist until this moment.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub spilled_until: Option<Timestamp>,
}

/// Message ids that left a window, by the batch that they were counted from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spilled(pub BTreeMap<BatchId, Vec<u64>>);

impl Spilled {
    /// Whether nothing was spilled.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Adds what another segment holds.
    pub fn extend(&mut self, other: Spilled) {
        for (batch, ids) in other.0 {
            self.0.entry(batch).or_default().extend(ids);
        }
    }

    /// Leaves out what another set holds already.
    #[must_use]
    pub fn without(mut self, known: &Self) -> Self {
        for (batch, ids) in &mut self.0 {
            if let Some(known) = known.0.get(batch) {
                ids.retain(|id| !known.contains(id));
            }
        }
        self.0.retain(|_, ids| !ids.is_empty());
        self
    }

    /// Cuts the set into parts of at most `size` ids.
    pub fn segments(self, size: usize) -> Vec<Self> {
        let mut segments: Vec<Self> = Vec::new();
        let mut held = size;
        for (batch, ids) in self.0 {
            for chunk in ids.chunks(size.max(1)) {
                if held + chunk.len() > size {
                    segments.push(Self::default());
                    held = 0;
                }
                held += chunk.len();
                if let Some(segment) = segments.last_mut() {
                    segment.0.entry(batch).or_default().extend_from_slice(chunk);
                }
            }
        }
        segments
    }

    fn under_another(&self, id: u64, batch: BatchId) -> bool {
        self.0.iter().any(|(known, ids)| *known != batch && ids.contains(&id))
    }
}

/// What folding a parcel comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Fold {
    /// The parcel was folded before.
    Known,
    /// The parcel's new events are in the state. So many were new, the others were known from earlier parcels.
    Added(usize),
    /// The window can't tell: fold all parcels again.
    Doubt,
}

impl IdentityState {
    /// The state of an identity of which no event was folded.
    pub fn new(identity: Identity, matcher: &Matcher) -> Self {
        Self { identity, link: None, window: Window::default(), facts: Facts::new(matcher) }
    }

    /// Whether spilled ids have to be read before a parcel is folded.
    pub fn has_spilled(&self, now: Timestamp) -> bool {
        self.window.spilled_until.is_some_and(|until| until > now)
    }

    /// Folds a parcel in place. On [`Fold::Doubt`] the state is of no more use.
    pub fn fold(
        &mut self,
        batch: BatchId,
        events: &[Event],
        spilled: &Spilled,
        now: Timestamp,
        matcher: &Matcher,
        mapping: &AccountMapping,
    ) -> Fold {
        if self.window.batches.contains(&batch) {
            return Fold::Known;
        }
        // Rules that count something else were published since: what was counted before lacks it.
        let other_parts = self.facts.parts != matcher.digest();
        let too_old = now.millis_since(batch.at()) >= SPILL_LIFE_MS;
        if too_old || other_parts || self.window.evicted.is_some_and(|evicted| batch <= evicted) {
            return Fold::Doubt;
        }
        let mut own = BTreeSet::new();
        let mut fresh: Vec<&Event> = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id_hash();
            let known = self.window.ids.iter().find(|(_, ids)| ids.contains(&id)).map(|(known, _)| *known);
            match known {
                Some(known) if known > batch => return Fold::Doubt,
                Some(_) => {}
                None if spilled.under_another(id, batch) => return Fold::Doubt,
                None => {
                    if own.insert(id) {
                        fresh.push(event);
                    }
                }
            }
        }
        self.facts.absorb_all(fresh.iter().copied(), matcher, mapping);
        let place = self.window.batches.partition_point(|known| *known < batch);
        self.window.batches.insert(place, batch);
        if !own.is_empty() {
            self.window.ids.insert(batch, fresh.iter().map(|event| event.id_hash()).collect());
        }
        Fold::Added(fresh.len())
    }

    /// Makes the window small again and answers the ids to be spilled, which must be stored before the state is.
    pub fn shrink(&mut self, now: Timestamp) -> Spilled {
        let newest = self.window.batches.last().map(|batch| batch.at()).unwrap_or_default();
        let over = self.window.batches.len().saturating_sub(MAX_BATCHES);
        let old = self.window.batches.partition_point(|batch| newest.millis_since(batch.at()) > BATCH_SPAN_MS);
        for evicted in self.window.batches.drain(..over.max(old)) {
            self.window.evicted = self.window.evicted.max(Some(evicted));
        }
        let mut spilled = Spilled::default();
        let mut held: usize = self.window.ids.values().map(Vec::len).sum();
        if held > MAX_IDS {
            while held > KEPT_IDS {
                let Some((batch, mut ids)) = self.window.ids.pop_first() else { break };
                // A parcel with more ids than are kept is spilled in part, so that the newest ids stay at hand.
                let excess = (held - KEPT_IDS).min(ids.len());
                let kept = ids.split_off(excess);
                held -= excess;
                if !kept.is_empty() {
                    self.window.ids.insert(batch, kept);
                }
                if now.millis_since(batch.at()) < SPILL_LIFE_MS {
                    spilled.0.insert(batch, ids);
                }
            }
        }
        if !spilled.is_empty() {
            self.window.spilled_until = self.window.spilled_until.max(Some(now.plus_millis(SPILL_LIFE_MS)));
        }
        spilled
    }

    /// Begins to fold all parcels of the identity again. Link and identity are kept.
    pub fn refold(&self, matcher: &Matcher, now: Timestamp) -> Refold {
        let mut state = Self::new(self.identity.clone(), matcher);
        state.link = self.link;
        state.window.evicted = self.window.evicted;
        state.window.spilled_until = self.window.spilled_until;
        Refold { state, seen: HashSet::new(), now }
    }
}

/// All parcels of an identity, folded again one after the other, each message id from its earliest parcel.
#[derive(Debug)]
pub struct Refold {
    state: IdentityState,
    seen: HashSet<u64>,
    now: Timestamp,
}

impl Refold {
    /// Adds the next parcel. Parcels must come in the order of their batches.
    pub fn add(&mut self, batch: BatchId, events: &[Event], matcher: &Matcher, mapping: &AccountMapping) {
        let fresh: Vec<&Event> = events.iter().filter(|event| self.seen.insert(event.id_hash())).collect();
        self.state.facts.absorb_all(fresh.iter().copied(), matcher, mapping);
        let window = &mut self.state.window;
        if window.batches.last() != Some(&batch) {
            window.batches.push(batch);
        }
        // Batches far behind leave the window at once, so that it does not grow with the history.
        while window.batches.len() > MAX_BATCHES {
            window.evicted = window.evicted.max(Some(window.batches.remove(0)));
        }
        if !fresh.is_empty() && self.now.millis_since(batch.at()) < SPILL_LIFE_MS {
            window.ids.insert(batch, fresh.iter().map(|event| event.id_hash()).collect());
        }
    }

    /// The state of everything that was added.
    pub fn finish(self) -> IdentityState {
        self.state
    }
}
