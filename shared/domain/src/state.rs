//! Folding parcels into a state exactly once, without a transaction.
//!
//! A state remembers which message ids it has counted, and from which batch. What it remembers is a window; ids that leave it
//! are spilled into segments beside the state before the state is written. The segments form a chain whose head the state names,
//! so that a segment left behind by a fold that never finished is not believed. An event that the client dated later than
//! everything that left the window was never counted, so the segments are read only for events that come late or again.
//!
//! A message id that comes again within [`RETRY_SPAN_MS`] of the batch that it was counted from is a client's retry. The copy of
//! the earliest batch counts. When a later copy was counted first, or the window and its segments can't tell, the answer is
//! [`Fold::Doubt`]: fold the identity's parcels again ([`Refold`]).

use crate::{
    BatchId, DAY_MS, Event, Identity, IdentityId, Timestamp,
    engagement::Matcher,
    facts::Facts,
    hash64,
    mapping::AccountMapping,
    mutant::{Mutant, active},
};
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A parcel older than this is folded from the log: longer than a dead queue keeps messages (14 days), and then some.
pub const FOLD_LIFE_MS: i64 = 16 * DAY_MS;
/// Spilled message ids live this long, so that a parcel that is just not too old finds the ids of a retry's first copy.
pub const SPILL_LIFE_MS: i64 = 18 * DAY_MS;
/// Copies of an event in batches this far apart are one event: clients retry for a day, hosts' clocks differ, and then some.
pub const RETRY_SPAN_MS: i64 = 26 * 60 * 60 * 1000;
/// A write is billed by this many bytes. The window takes what the facts leave of them …
const UNIT: usize = 1_024;
/// … but at least so many …
const LEAST_ROOM: usize = 60;
/// … and at most so many, so that what is spilled is small, too.
const MOST_ROOM: usize = 800;
/// Bytes of the key, the names of attributes and whatever else a stored state has beside facts and window.
const FRAME: usize = 90;
/// What a batch costs in the window beside its ids.
const BATCH_BYTES: usize = 12;
/// What a message id costs.
const ID_BYTES: usize = 8;
/// Parcels that are folded again before what they add up to is sealed, so that they need not be read once more.
const SEAL_PARCELS: usize = 64;

/// What is known of one identity.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentityState {
    /// Whose state it is.
    pub identity: Identity,
    /// For an anonymous id: the user id that it belongs to.
    pub link: Option<IdentityId>,
    /// Which message ids were counted lately.
    pub window: Window,
    /// The parcels up to here need not be folded again.
    pub sealed: Option<Sealed>,
    /// What the events add up to.
    pub facts: Facts,
}

/// The beginning of a batch id, which is all that a window keeps of it: its moment and 32 of its random bits. Two batches of one identity with the
/// same mark would be taken for one, which is harmless: their ids are known either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark(u128);

impl Mark {
    /// The mark of a batch.
    pub const fn of(batch: BatchId) -> Self {
        Self(batch.as_u128() >> 48)
    }

    /// From its moment in milliseconds and 32 random bits.
    pub const fn new(ms: u64, random: u32) -> Self {
        Self(((ms as u128 & 0xFFFF_FFFF_FFFF) << 32) | random as u128)
    }

    /// When the batch was made.
    pub const fn at(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> 32) as i64)
    }

    /// Its 32 random bits.
    pub const fn random(self) -> u32 {
        (self.0 & 0xFFFF_FFFF) as u32
    }

    const fn is_near(self, other: Self) -> bool {
        self.at().millis_since(other.at()).saturating_abs() <= RETRY_SPAN_MS
    }
}

/// What a window keeps of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The latest moment that the client named in any of its events.
    pub latest: Option<Timestamp>,
    /// Digests of the message ids that were counted from it.
    pub ids: Vec<u64>,
}

/// Which message ids were counted lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// By the batch from which they were counted, oldest first.
    pub counted: LiteMap<Mark, Counted>,
    /// How many segments were spilled.
    pub segments: u32,
    /// What left the window.
    pub left: Option<Left>,
}

/// What left a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The newest segment of spilled ids.
    pub head: SegmentName,
    /// Spilled ids exist until this moment.
    pub until: Timestamp,
    /// A batch from before this moment has to be looked for among the spilled ids.
    pub since: Timestamp,
    /// The latest moment that clients named in events whose ids were spilled since then …
    pub latest: Option<Timestamp>,
    /// … and in the stretch before it.
    pub before: Option<Timestamp>,
}

/// Names one segment of spilled ids: its place in the chain, and a digest of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentName {
    /// Counts the segments of the identity.
    pub number: u32,
    /// A digest, so that two folds that race for the same place in the chain name different segments.
    pub digest: u64,
}

/// Message ids that left a window together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The segment that was spilled before this one.
    pub previous: Option<SegmentName>,
    /// The newest batch of the window when they were spilled: no id in this segment or an earlier one is of a later batch.
    pub newest: Timestamp,
    /// The ids, by the batch from which they were counted.
    pub ids: BTreeMap<Mark, Vec<u64>>,
}

/// Spilled message ids that were read back, as far as they matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spilled {
    by_id: HashMap<u64, Vec<Mark>>,
}

impl Spilled {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds what a segment holds.
    pub fn add(&mut self, segment: &Segment) {
        for (mark, ids) in &segment.ids {
            for id in ids {
                self.by_id.entry(*id).or_default().push(*mark);
            }
        }
    }
}

/// What the parcels up to a batch add up to was stored, so that a later fold can begin there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The last batch in it.
    pub until: BatchId,
    /// Distinguishes what was stored under the same batch by different folds.
    pub digest: u64,
}

/// What folding a parcel comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Fold {
    /// The parcel's new events are in the state. So many were new, the others had been counted.
    Added(usize),
    /// Spilled ids must be read before it can be told; nothing was changed.
    NeedsSpilled,
    /// The window can't tell: fold the parcels again; nothing was changed.
    Doubt,
}

impl IdentityState {
    /// The state of an identity of which no event was folded.
    pub fn new(identity: Identity, matcher: &Matcher) -> Self {
        Self { identity, link: None, window: Window::default(), sealed: None, facts: Facts::new(matcher) }
    }

    /// Whether a batch must be folded from the log: spilled ids may not reach back to it.
    pub fn is_too_old(batch: BatchId, now: Timestamp) -> bool {
        now.millis_since(batch.at()) >= FOLD_LIFE_MS
    }

    /// Folds a parcel in place. `spilled` are the ids that left the window within [`RETRY_SPAN_MS`] of the batch, when they were read.
    pub fn fold(
        &mut self,
        batch: BatchId,
        events: &[Event],
        spilled: Option<&Spilled>,
        now: Timestamp,
        matcher: &Matcher,
        mapping: &AccountMapping,
    ) -> Fold {
        // Rules that count something else were published since: what was counted before lacks it.
        let other_parts = self.facts.parts != matcher.digest();
        if Self::is_too_old(batch, now) || other_parts {
            return Fold::Doubt;
        }
        let mark = Mark::of(batch);
        let mut fresh: Vec<(u64, &Event)> = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id_hash();
            if fresh.iter().any(|(known, _)| *known == id) {
                continue;
            }
            match self.window.find(id, event, mark, spilled, now) {
                Found::New => fresh.push((id, event)),
                Found::Counted => {}
                Found::CountedLater if active(Mutant::FirstFoldedCopyKept) => {}
                Found::CountedLater => return Fold::Doubt,
                Found::Unread => return Fold::NeedsSpilled,
            }
        }
        if fresh.is_empty() {
            return Fold::Added(0);
        }
        self.facts.absorb_all(fresh.iter().map(|(_, event)| *event), matcher, mapping);
        let latest = fresh.iter().filter_map(|(_, event)| event.claimed_at()).max();
        let counted = self.window.counted.entry(mark).or_default();
        counted.latest = counted.latest.max(latest);
        counted.ids.extend(fresh.iter().map(|(id, _)| *id));
        Fold::Added(fresh.len())
    }

    /// Those of a parcel's events that count for nothing because an earlier batch, or the same one before them, brought the same id: for the
    /// log. The parcel was folded, with the same `spilled`. An event that counts from this very batch is not among them, however often
    /// the batch came.
    pub fn repeated<'e>(&self, batch: BatchId, events: &'e [Event], spilled: Option<&Spilled>) -> Vec<&'e Event> {
        let mark = Mark::of(batch);
        let mut seen = HashSet::with_capacity(events.len());
        let elsewhere = |id: u64| {
            let counted = self.window.counted.iter();
            let earlier = |known: Mark| known < mark && known.is_near(mark);
            counted.filter(|(known, _)| earlier(**known)).any(|(_, counted)| counted.ids.contains(&id))
                || spilled.and_then(|spilled| spilled.by_id.get(&id)).is_some_and(|marks| marks.iter().any(|known| earlier(*known)))
        };
        events.iter().filter(|event| !seen.insert(event.id_hash()) || elsewhere(event.id_hash())).collect()
    }

    /// Makes the window small again and answers the segments to be spilled, which must be stored before the state is.
    pub fn shrink(&mut self, now: Timestamp) -> Vec<(SegmentName, Segment)> {
        let base = FRAME.saturating_add(self.identity.value.len()).saturating_add(self.facts.stored_bytes());
        let units = base.saturating_add(LEAST_ROOM).div_ceil(UNIT).saturating_mul(UNIT);
        self.window.shrink(units.saturating_sub(base).min(MOST_ROOM), now)
    }

    /// Begins to fold parcels of the identity again: all of them, or those after what was sealed.
    pub fn refold(&self, sealed: Option<IdentityState>, matcher: &Matcher, now: Timestamp) -> Refold {
        let usable = sealed.filter(|sealed| sealed.facts.parts == matcher.digest());
        let began = self.sealed.filter(|_| usable.is_some());
        let mut state = usable.unwrap_or_else(|| Self::new(self.identity.clone(), matcher));
        state.link = self.link;
        state.sealed = began;
        let seen = state.window.counted.iter().flat_map(|(mark, counted)| counted.ids.iter().map(|id| (*id, *mark))).collect();
        // The chain of segments begins anew, above the numbers of the old one.
        state.window = Window { segments: self.window.segments, ..Window::default() };
        Refold { state, seen, now, parcels: 0, last: None, to_seal: None }
    }

    /// What is stored when the parcels up to here are sealed: the sums, and the ids that a retry may still repeat.
    fn seal(&self, seen: &HashMap<u64, Mark>, until: BatchId) -> Self {
        let mut counted: LiteMap<Mark, Counted> = LiteMap::new();
        let end = Mark::of(until);
        for (id, mark) in seen.iter().filter(|(_, mark)| mark.is_near(end)) {
            counted.entry(*mark).or_default().ids.push(*id);
        }
        for (_, counted) in counted.iter_mut() {
            counted.ids.sort_unstable();
        }
        let window = Window { counted, ..Window::default() };
        Self { identity: self.identity.clone(), link: None, window, sealed: None, facts: self.facts.clone() }
    }
}

enum Found {
    New,
    Counted,
    CountedLater,
    Unread,
}

impl Window {
    fn find(&self, id: u64, event: &Event, mark: Mark, spilled: Option<&Spilled>, now: Timestamp) -> Found {
        let mut later = false;
        for (known, counted) in self.counted.iter() {
            if known.is_near(mark) && counted.ids.contains(&id) {
                if *known <= mark {
                    return Found::Counted;
                }
                later = true;
            }
        }
        if !self.may_have_left(event, mark, now) {
            return if later { Found::CountedLater } else { Found::New };
        }
        let Some(spilled) = spilled else {
            return Found::Unread;
        };
        for known in spilled.by_id.get(&id).into_iter().flatten() {
            if known.is_near(mark) {
                if *known <= mark {
                    return Found::Counted;
                }
                later = true;
            }
        }
        if later { Found::CountedLater } else { Found::New }
    }

    /// Whether the event's id may be among those that left the window.
    fn may_have_left(&self, event: &Event, mark: Mark, now: Timestamp) -> bool {
        let Some(left) = &self.left else { return false };
        let until = if active(Mutant::SpillExpires) { left.until.plus_millis(60 * 60 * 1000 - SPILL_LIFE_MS) } else { left.until };
        if until <= now {
            return false;
        }
        if mark.at() < left.since {
            return true;
        }
        event.claimed_at().is_none_or(|claimed| Some(claimed) <= left.latest.max(left.before))
    }

    /// Bytes that the window takes when it is stored.
    fn stored_bytes(&self) -> usize {
        self.counted.values().map(|counted| BATCH_BYTES + ID_BYTES * counted.ids.len()).sum()
    }

    fn shrink(&mut self, room: usize, now: Timestamp) -> Vec<(SegmentName, Segment)> {
        let mut held = self.stored_bytes();
        if held <= room {
            return Vec::new();
        }
        // Far below the room, so that it takes many events until the next time.
        let keep = room / 6;
        let newest = self.counted.last().map(|(mark, _)| mark.at()).unwrap_or_default();
        let mut ids: BTreeMap<Mark, Vec<u64>> = BTreeMap::new();
        let mut latest = None;
        let mut kept = LiteMap::new();
        for (mark, mut counted) in std::mem::take(&mut self.counted) {
            let excess = held.saturating_sub(keep);
            if excess == 0 {
                kept.insert(mark, counted);
                continue;
            }
            // A batch with more ids than are kept is spilled in part, so that the newest ids stay at hand.
            let cut = excess.div_ceil(ID_BYTES).min(counted.ids.len());
            let rest = counted.ids.split_off(cut);
            held = held.saturating_sub(ID_BYTES * cut + if rest.is_empty() { BATCH_BYTES } else { 0 });
            latest = latest.max(counted.latest);
            if !rest.is_empty() {
                kept.insert(mark, Counted { latest: counted.latest, ids: rest });
            }
            if now.millis_since(mark.at()) < SPILL_LIFE_MS {
                ids.insert(mark, counted.ids);
            }
        }
        self.counted = kept;
        if active(Mutant::EvictedIdsForgotten) {
            return Vec::new();
        }
        self.spill(ids, newest, latest, now)
    }

    /// Cuts ids into segments and hangs them onto the chain.
    fn spill(
        &mut self,
        ids: BTreeMap<Mark, Vec<u64>>,
        newest: Timestamp,
        latest: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<(SegmentName, Segment)> {
        let mut chained = Vec::new();
        for ids in segments(ids) {
            let previous = self.left.map(|left| left.head);
            let segment = Segment { previous, newest, ids };
            let name = SegmentName { number: self.segments, digest: segment.digest() };
            self.segments = self.segments.saturating_add(1);
            let blank = Left { head: name, until: now, since: newest, latest: None, before: None };
            let left = self.left.get_or_insert(blank);
            left.head = name;
            left.until = left.until.max(now.plus_millis(SPILL_LIFE_MS));
            // What clients named is kept for two stretches, so that one wrong clock does not cost a read for ever.
            if newest.millis_since(left.since) > RETRY_SPAN_MS {
                (left.before, left.latest, left.since) = (left.latest, None, newest);
            }
            left.latest = left.latest.max(latest);
            chained.push((name, segment));
        }
        chained
    }
}

/// Message ids in one segment: well below what an item may hold.
const SEGMENT_IDS: usize = 1_000;

fn segments(ids: BTreeMap<Mark, Vec<u64>>) -> Vec<BTreeMap<Mark, Vec<u64>>> {
    let mut segments: Vec<BTreeMap<Mark, Vec<u64>>> = Vec::new();
    let mut held = SEGMENT_IDS;
    for (mark, ids) in ids {
        for chunk in ids.chunks(SEGMENT_IDS) {
            if held + chunk.len() > SEGMENT_IDS {
                segments.push(BTreeMap::new());
                held = 0;
            }
            held += chunk.len();
            if let Some(segment) = segments.last_mut() {
                segment.entry(mark).or_default().extend_from_slice(chunk);
            }
        }
    }
    segments
}

impl Segment {
    fn digest(&self) -> u64 {
        let mut bytes = Vec::with_capacity(64);
        if let Some(previous) = self.previous {
            bytes.extend(previous.number.to_le_bytes());
            bytes.extend(previous.digest.to_le_bytes());
        }
        bytes.extend(self.newest.millis().to_le_bytes());
        for (mark, ids) in &self.ids {
            bytes.extend(mark.0.to_le_bytes());
            bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        }
        hash64(&[&bytes])
    }
}

/// An identity's parcels, folded again one after the other, each message id from its earliest parcel.
#[derive(Debug)]
pub struct Refold {
    state: IdentityState,
    seen: HashMap<u64, Mark>,
    now: Timestamp,
    parcels: usize,
    last: Option<BatchId>,
    to_seal: Option<(Sealed, IdentityState)>,
}

/// What folding again came to.
#[derive(Debug)]
pub struct Refolded {
    /// The state of everything that was added.
    pub state: IdentityState,
    /// What must be stored before the state is: the parcels up to a batch, sealed.
    pub sealed: Option<(Sealed, IdentityState)>,
}

impl Refold {
    /// The batch after which parcels are to be added; `None` for all.
    pub fn after(&self) -> Option<BatchId> {
        self.state.sealed.map(|sealed| sealed.until)
    }

    /// Adds the next parcel. Parcels must come in the order of their batches.
    pub fn add(&mut self, batch: BatchId, events: &[Event], matcher: &Matcher, mapping: &AccountMapping) {
        if active(Mutant::RefoldForgetsOld) && self.now.millis_since(batch.at()) > 2 * DAY_MS {
            return;
        }
        let settled = |batch: BatchId| self.now.millis_since(batch.at()) >= FOLD_LIFE_MS + DAY_MS;
        if let Some(last) = self.last
            && settled(last)
            && !settled(batch)
            && self.parcels >= SEAL_PARCELS
        {
            // No message that was sent so long ago comes any more, unless it was parked: then all parcels are folded again.
            let sealed = self.state.seal(&self.seen, last);
            let sum = hash64(&[&sealed.facts.count.to_le_bytes(), &self.now.millis().to_le_bytes(), &last.as_u128().to_le_bytes()]);
            self.to_seal = Some((Sealed { until: last, digest: sum }, sealed));
        }
        let mark = Mark::of(batch);
        let mut ids = Vec::new();
        let mut fresh: Vec<&Event> = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id_hash();
            if self.seen.get(&id).is_some_and(|earlier| earlier.is_near(mark)) {
                continue;
            }
            self.seen.insert(id, mark);
            ids.push(id);
            fresh.push(event);
        }
        self.state.facts.absorb_all(fresh.iter().copied(), matcher, mapping);
        self.parcels += 1;
        self.last = Some(batch);
        if !ids.is_empty() && self.now.millis_since(batch.at()) < SPILL_LIFE_MS {
            let latest = fresh.iter().filter_map(|event| event.claimed_at()).max();
            let counted = self.state.window.counted.entry(mark).or_default();
            counted.latest = counted.latest.max(latest);
            counted.ids.extend(ids);
        }
    }

    /// The state of everything that was added. Its window holds all ids that may still matter: it has to be shrunk.
    pub fn finish(mut self) -> Refolded {
        if let Some((sealed, _)) = &self.to_seal {
            self.state.sealed = Some(*sealed);
        }
        Refolded { state: self.state, sealed: self.to_seal }
    }
}
