//! Merging the parcels of many identities into one page of events, newest first, without reading all of them.
//!
//! What is known without reading a parcel: the moments of an identity's first and last event, how many events it has, and whether all of
//! them came within a day of happening. A parcel is stored under the moment at which it was taken, and no event in it is later than that.
//!
//! * Identities are opened in the order of the latest event that each may add to the page, and only until the page is certain: so a page
//!   of an account with ten thousand leads opens about as many identities as it has events.
//! * An identity with few events is read as a whole, which is exact whatever came late or twice.
//! * One with many is read backwards, in steps. Three things keep that exact:
//!   - *Late events* (sent long after they happened) lie in parcels newer than themselves. When all of its events came within a day, a
//!     page that ends at some moment begins reading a day after it. Otherwise it begins with the newest parcel.
//!   - *Events sent twice* count from their earliest parcel, as they do in scores. A client that repeats a call does so within a day, so
//!     an event is certain only when everything of the day before it has been read.
//!   - What is uncertain waits: an event is given out only when no unread parcel of any identity can hold a later one.
//! * An identity that was active both before and after the moment at which a page begins might add to every page. As long as these are
//!   few, all of them are opened; of many, only those that were active on the days of the page, by their daily counts.

use domain::{
    BatchId, DAY_MS, Day, Event, IdentityId, Timestamp, WorkspaceId,
    facts::{Facts, LOOK_BACK_DAYS},
};
use futures::future::try_join_all;
use pipeline::{
    Store, StoreError,
    parcels::{Parcels, StoredParcel},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// How much is read at once. The answer does not depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Identities with at most this many events are read as a whole.
    whole: u64,
    /// How many parcels one step of a larger identity reads.
    step: usize,
    /// How many identities are opened at once.
    open: usize,
    /// Up to so many identities that may add to every page are all opened.
    straddling: usize,
}

impl Effort {
    /// What an answer takes.
    pub(super) const USUAL: Self = Self { whole: 200, step: 200, open: 16, straddling: 200 };
}

/// Clients repeat a call within this time, and what is not late comes within it.
const SPAN_MS: i64 = DAY_MS;

/// Where an event stands in a timeline: later ones first, and a fixed order among those of one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct EventKey {
    /// When it happened.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// Whose event it is.
    #[serde(rename = "i")]
    pub identity: IdentityId,
    /// A digest of its message id.
    #[serde(rename = "h")]
    pub id: u64,
}

/// Which part of a timeline is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Nothing earlier.
    pub from: Option<Timestamp>,
    /// Nothing later.
    pub to: Option<Timestamp>,
    /// Only what comes after this event in the list.
    pub after: Option<EventKey>,
    /// At most so many events.
    pub limit: usize,
}

impl Window {
    /// The latest moment that an event of the page may have.
    fn end(&self) -> Timestamp {
        let after = self.after.map(|key| key.at);
        [self.to, after].into_iter().flatten().min().unwrap_or(Timestamp::from_millis(i64::MAX))
    }

    fn admits(&self, key: &EventKey) -> bool {
        self.from.is_none_or(|from| key.at >= from) && self.to.is_none_or(|to| key.at <= to) && self.after.is_none_or(|after| *key < after)
    }
}

/// What is known of an identity before any of its parcels is read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    identity: IdentityId,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    all_fresh: bool,
    /// Days with activity; empty until they are needed.
    days: BTreeSet<Day>,
}

impl Source {
    /// From an identity's facts.
    pub(super) fn new(identity: IdentityId, facts: &Facts) -> Self {
        let days = facts.channels.values().flat_map(|days| days.keys()).chain(facts.sessions.values()).copied().collect();
        Self {
            identity,
            first: facts.first_seen.unwrap_or_default(),
            last: facts.last_seen.unwrap_or_default(),
            count: facts.count,
            all_fresh: facts.fresh == facts.count,
            days,
        }
    }

    /// Whether it was active before and after the end of a page.
    fn straddles(&self, end: Timestamp) -> bool {
        self.first <= end && self.last > end
    }

    /// The latest moment that an event of it can have in a page that ends at `end`; none when it has no such event. `by_day` looks at its
    /// days, for which only calls that say who somebody is may be missing.
    fn latest(&self, end: Timestamp, by_day: bool) -> Option<Timestamp> {
        if self.count == 0 || self.first > end {
            return None;
        }
        if self.last <= end {
            return Some(self.last);
        }
        // Older days are not counted any more.
        let counted = end.day() > self.last.day().plus(-LOOK_BACK_DAYS);
        if !by_day || !counted {
            return Some(end);
        }
        match self.days.range(..=end.day()).next_back() {
            Some(day) => Some(end.min(day.plus(1).start().plus_millis(-1))),
            None => Some(self.first),
        }
    }
}

/// An identity that is being read.
struct Stream {
    identity: IdentityId,
    /// Every event read so far, from the earliest parcel that holds it.
    events: HashMap<u64, Event>,
    /// Where the next step begins; none when everything has been read.
    next: Option<Option<BatchId>>,
    /// Events up to this moment are not certain.
    uncertain: Option<Timestamp>,
}

impl Stream {
    /// Takes parcels in, the newest first; each is older than all before it.
    fn take(&mut self, parcels: Vec<StoredParcel>) {
        for parcel in parcels {
            let mut own = BTreeSet::new();
            for event in parcel.events {
                // Within a parcel the first of equal ids counts, over parcels that of the earliest.
                if own.insert(event.id_hash()) {
                    self.events.insert(event.id_hash(), event);
                }
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = EventKey> {
        self.events.iter().map(|(id, event)| EventKey { at: event.timestamp, identity: self.identity, id: *id })
    }
}

/// Opens an identity: reads it as a whole, or makes the first step.
async fn open<S: Store>(log: &Log<'_, S>, source: &Source, end: Timestamp) -> Result<Stream, StoreError> {
    let mut stream = Stream { identity: source.identity, events: HashMap::new(), next: None, uncertain: None };
    if source.count <= log.effort.whole {
        let mut all = log.parcels.of(log.workspace, &source.identity, log.now).await?;
        all.reverse();
        stream.take(all);
        return Ok(stream);
    }
    // A batch made in the very last millisecond that counts is included.
    let begin = source.all_fresh.then(|| BatchId::new(end.plus_millis(SPAN_MS + 1), 0));
    stream.next = Some(begin);
    step(log, &mut stream).await?;
    Ok(stream)
}

/// Reads on.
async fn step<S: Store>(log: &Log<'_, S>, stream: &mut Stream) -> Result<(), StoreError> {
    let Some(before) = stream.next else { return Ok(()) };
    let read = log.parcels.newest(log.workspace, &stream.identity, before, log.effort.step, log.now).await?;
    // What lies behind parcels past their time is past its time, too.
    match read.last().map(|parcel| parcel.batch) {
        Some(oldest) => {
            stream.next = Some(Some(oldest));
            stream.uncertain = Some(oldest.at().plus_millis(SPAN_MS));
        }
        None => (stream.next, stream.uncertain) = (None, None),
    }
    stream.take(read);
    Ok(())
}

/// Where parcels are read, and how.
#[derive(Debug)]
pub(super) struct Log<'p, S> {
    /// The parcels.
    pub parcels: &'p Parcels<S>,
    /// Whose.
    pub workspace: &'p WorkspaceId,
    /// Parcels past their time at this moment are not there.
    pub now: Timestamp,
    /// How much is read at once.
    pub effort: Effort,
}

/// One page of the merged events, and whether there are more.
pub(super) async fn page<S: Store>(
    log: &Log<'_, S>,
    sources: Vec<Source>,
    window: &Window,
) -> Result<(Vec<(EventKey, Event)>, bool), StoreError> {
    let end = window.end();
    let by_day = sources.iter().filter(|source| source.straddles(end)).count() > log.effort.straddling;
    let mut waiting: Vec<(Timestamp, Source)> = sources
        .into_iter()
        .filter_map(|source| Some((source.latest(end, by_day)?, source)))
        .filter(|(latest, _)| window.from.is_none_or(|from| *latest >= from))
        .collect();
    // The next one to be opened stands at the end.
    waiting.sort_unstable_by_key(|(latest, source)| (*latest, source.identity));
    let mut streams: Vec<Stream> = Vec::new();
    loop {
        let unopened = waiting.last().map(|(latest, _)| *latest);
        let unread = streams.iter().filter_map(|stream| stream.uncertain).max();
        let floor = unopened.max(unread).filter(|floor| window.from.is_none_or(|from| *floor >= from));
        let certain = |key: &EventKey| window.admits(key) && floor.is_none_or(|floor| key.at > floor);
        let found = streams.iter().flat_map(Stream::keys).filter(|key| certain(key)).count();
        let Some(floor) = floor.filter(|_| found <= window.limit) else {
            return Ok(collect(streams, window.limit, certain));
        };
        if unopened == Some(floor) {
            let next = waiting.split_off(waiting.len().saturating_sub(log.effort.open));
            let opened = try_join_all(next.iter().map(|(_, source)| open(log, source, end))).await?;
            streams.extend(opened);
        } else {
            let behind = streams.iter_mut().filter(|stream| stream.uncertain == Some(floor));
            try_join_all(behind.map(|stream| step(log, stream))).await?;
        }
    }
}

fn collect(streams: Vec<Stream>, limit: usize, certain: impl Fn(&EventKey) -> bool) -> (Vec<(EventKey, Event)>, bool) {
    let mut events: Vec<(EventKey, Event)> = Vec::new();
    for stream in streams {
        let identity = stream.identity;
        let keyed = stream.events.into_iter().map(|(id, event)| (EventKey { at: event.timestamp, identity, id }, event));
        events.extend(keyed.filter(|(key, _)| certain(key)));
    }
    events.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
    let more = events.len() > limit;
    events.truncate(limit);
    (events, more)
}

#[cfg(test)]
mod tests;
