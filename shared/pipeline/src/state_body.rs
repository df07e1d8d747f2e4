//! How an identity's state is stored: a compact binary form, because every fold pays for the state's bytes.
//!
//! Days are written as distances, all counts of a day together, and sessions that a rule counts are written as bits
//! over the list of sessions. The first byte names the form, so that a later form can be told from this one.

use domain::{
    AccountId, BatchId, Channel, Day, Identity, IdentityId, IdentityKind, NamedAccount, NamedBy, Order, Timestamp,
    engagement::PartId,
    facts::{Facts, Matched, Minutes, PerDay, Trait},
    field::FieldFacts,
    state::{Counted, IdentityState, Left, Mark, Sealed, Segment, SegmentName, Window},
};
use litemap::LiteMap;
use std::collections::BTreeMap;
use thiserror::Error;

/// The first byte of a state in this form.
const STATE_FORM: u8 = 1;
/// The first byte of a segment in this form.
const SEGMENT_FORM: u8 = 1;
/// Bytes of a session's key.
const SESSION_BYTES: usize = 3;
/// Bytes of any other key.
const KEY_BYTES: usize = 4;
/// Series mostly have no more days than this.
const MOSTLY_DAYS: usize = 64;
/// With more series than this, a day lists its series instead of naming them by bits.
const MASKED_SERIES: usize = 55;

/// Why bytes are no state, or a state can't be written.
#[derive(Debug, Error)]
pub enum StateBodyError {
    /// The bytes end too early, or say something that no state says.
    #[error("the bytes are damaged at the {what}")]
    Damaged {
        /// What was being read.
        what: &'static str,
    },
    /// A newer build wrote it.
    #[error("form {form} is not known to this build")]
    Form {
        /// The form found.
        form: u8,
    },
    /// The fields of a state can't be written.
    #[error("the fields can't be written")]
    Fields {
        /// What the encoder saw.
        #[source]
        source: rmp_serde::encode::Error,
    },
}

const fn damaged(what: &'static str) -> StateBodyError {
    StateBodyError::Damaged { what }
}

// ---- Writing -------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n as u8 & 0x7F) | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)) as u64);
    }

    fn count(&mut self, n: usize) {
        self.number(n as u64);
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, moment: Option<Timestamp>, base: Timestamp) {
        match moment {
            None => self.byte(0),
            // Shifted by one, so that 0 says that there is none.
            Some(at) => {
                let n = at.millis().wrapping_sub(base.millis());
                self.number((((n << 1) ^ (n >> 63)) as u64).wrapping_add(1));
            }
        }
    }

    fn order(&mut self, order: Order, base: Timestamp) {
        self.signed(order.at.millis().wrapping_sub(base.millis()));
        self.0.extend_from_slice(&order.tie.to_le_bytes());
    }
}

/// Writes a state.
pub fn encode(state: &IdentityState) -> Result<Vec<u8>, StateBodyError> {
    let mut w = Writer(Vec::with_capacity(512));
    w.byte(STATE_FORM);
    w.byte(kind_code(state.identity.kind));
    w.text(&state.identity.value);
    let facts = &state.facts;
    let flags = u8::from(state.link.is_some())
        | u8::from(state.sealed.is_some()) << 1
        | u8::from(state.window.left.is_some()) << 2
        | u8::from(!facts.fields.is_empty()) << 3
        | u8::from(facts.said.named.is_some()) << 4
        | u8::from(facts.said.external.is_some()) << 5
        | u8::from(facts.first_seen.is_some()) << 6;
    w.byte(flags);
    if let Some(link) = &state.link {
        w.0.extend_from_slice(link.bytes());
    }
    if let Some(sealed) = &state.sealed {
        w.0.extend_from_slice(&sealed.until.as_u128().to_be_bytes());
        w.0.extend_from_slice(&sealed.digest.to_le_bytes());
    }
    write_facts(&mut w, facts)?;
    write_window(&mut w, &state.window);
    Ok(w.0)
}

fn write_facts(w: &mut Writer, facts: &Facts) -> Result<(), StateBodyError> {
    w.0.extend_from_slice(&facts.parts.to_le_bytes());
    w.number(facts.count);
    w.number(facts.fresh);
    let base = facts.first_seen.unwrap_or_default();
    if let Some(first) = facts.first_seen {
        w.signed(first.millis());
        w.signed(facts.last_seen.unwrap_or(first).millis().wrapping_sub(first.millis()));
    }
    let parts = part_table(facts);
    w.count(parts.len());
    for part in &parts {
        w.0.extend_from_slice(&part.to_le_bytes());
    }
    let place = |part: &PartId| parts.binary_search(part).unwrap_or_default();
    write_days(w, facts, &place);
    let sessions = by_day(&facts.sessions);
    write_keys(w, &sessions, SESSION_BYTES);
    w.count(facts.keys.len());
    for (part, keys) in facts.keys.iter() {
        w.count(place(part));
        write_part_keys(w, keys, &facts.sessions, &sessions);
    }
    w.count(facts.minutes.len());
    for (part, minutes) in facts.minutes.iter() {
        w.count(place(part));
        w.count(minutes.len());
        let mut last = 0;
        for minute in minutes.keys() {
            w.number(u64::from(minute - last));
            last = *minute;
        }
    }
    w.count(facts.said.traits.len());
    for (which, (order, text)) in &facts.said.traits {
        w.byte(trait_code(*which));
        w.order(*order, base);
        match text {
            None => w.byte(0),
            Some(text) => {
                w.byte(1);
                w.text(text);
            }
        }
    }
    if let Some((order, named)) = &facts.said.named {
        w.order(*order, base);
        w.byte(named_code(named.by));
        w.text(named.id.as_str());
    }
    if let Some((order, kind, id)) = &facts.said.external {
        w.order(*order, base);
        w.text(kind);
        w.text(id);
    }
    if !facts.fields.is_empty() {
        let fields = rmp_serde::to_vec(&facts.fields).map_err(|source| StateBodyError::Fields { source })?;
        w.count(fields.len());
        w.0.extend_from_slice(&fields);
    }
    Ok(())
}

fn part_table(facts: &Facts) -> Vec<PartId> {
    let mut parts: Vec<PartId> = facts.matched.iter().flat_map(|matched| matched.parts.iter().copied()).collect();
    parts.extend(facts.keys.keys());
    parts.extend(facts.minutes.keys());
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// All counts of a day together: which series it has, then their counts.
fn write_days(w: &mut Writer, facts: &Facts, place: &impl Fn(&PartId) -> usize) {
    w.count(facts.channels.len());
    for channel in facts.channels.keys() {
        w.byte(channel_code(*channel));
    }
    w.count(facts.matched.len());
    for matched in &facts.matched {
        w.count(matched.parts.len());
        matched.parts.iter().for_each(|part| w.count(place(part)));
    }
    let series: Vec<&PerDay> = facts.channels.values().chain(facts.matched.iter().map(|matched| &matched.days)).collect();
    // Every series is sorted: they are merged by walking all of them at once.
    let mut at = vec![0_usize; series.len()];
    let mut all: Vec<Day> = series.iter().flat_map(|days| days.keys().copied()).collect();
    all.sort_unstable();
    all.dedup();
    w.count(all.len());
    let mut last = Day(0);
    let mut counts: Vec<(usize, u32)> = Vec::with_capacity(8);
    for day in all {
        w.signed(i64::from(day.since(last)));
        last = day;
        counts.clear();
        for (i, (days, at)) in series.iter().zip(at.iter_mut()).enumerate() {
            if let Some((_, n)) = days.get_indexed(*at).filter(|(known, _)| **known == day) {
                counts.push((i, *n));
                *at += 1;
            }
        }
        if series.len() <= MASKED_SERIES {
            // Mostly every event has a channel and is matched: then the first channel's count follows from the others.
            let balanced = follows(&counts, facts.channels.len());
            w.number(counts.iter().fold(u64::from(balanced.is_some()), |mask, (i, _)| mask | 2 << i));
            counts.iter().skip(usize::from(balanced.is_some())).for_each(|(_, n)| w.number(u64::from(*n)));
        } else {
            w.count(counts.len());
            for (i, n) in &counts {
                w.count(*i);
                w.number(u64::from(*n));
            }
        }
    }
}

/// The first channel's count, when it is what the matched counts of the day leave to it.
fn follows(counts: &[(usize, u32)], channels: usize) -> Option<u32> {
    let (first, rest) = counts.split_first()?;
    (first.0 < channels && remainder(rest, channels) == Some(first.1)).then_some(first.1)
}

/// What the matched counts of a day come to beyond those of its channels.
fn remainder(counts: &[(usize, u32)], channels: usize) -> Option<u32> {
    let sum = |matched: bool| counts.iter().filter(|(i, _)| (*i >= channels) == matched).try_fold(0_u32, |sum, (_, n)| sum.checked_add(*n));
    sum(true)?.checked_sub(sum(false)?)
}

fn by_day(keys: &LiteMap<u32, Day>) -> Vec<(Day, u32)> {
    let mut sorted: Vec<(Day, u32)> = keys.iter().map(|(key, day)| (*day, *key)).collect();
    sorted.sort_unstable();
    sorted
}

/// Keys have 32 bits, those of sessions 24.
fn write_keys(w: &mut Writer, keys: &[(Day, u32)], bytes: usize) {
    w.count(keys.len());
    let mut last = Day(0);
    for (day, key) in keys {
        w.signed(i64::from(day.since(last)));
        last = *day;
        w.0.extend_from_slice(key.to_le_bytes().get(..bytes).unwrap_or_default());
    }
}

/// Keys that are sessions of the same days are written as bits over the list of sessions.
fn write_part_keys(w: &mut Writer, keys: &LiteMap<u32, Day>, sessions: &LiteMap<u32, Day>, listed: &[(Day, u32)]) {
    if !keys.is_empty() && keys == sessions {
        w.byte(1);
        return;
    }
    let mut found = 0;
    let mut bits = vec![0_u8; listed.len().div_ceil(8)];
    for (eight, byte) in listed.chunks(8).zip(&mut bits) {
        for (i, _) in eight.iter().enumerate().filter(|(_, (day, key))| keys.get(key) == Some(day)) {
            *byte |= 1 << i;
            found += 1;
        }
    }
    if found == keys.len() && found > 0 {
        w.byte(2);
        w.0.extend_from_slice(&bits);
    } else {
        w.byte(0);
        write_keys(w, &by_day(keys), KEY_BYTES);
    }
}

fn write_counted<'c>(w: &mut Writer, batches: impl ExactSizeIterator<Item = (&'c Mark, Option<Option<Timestamp>>, &'c [u64])>) {
    w.count(batches.len());
    let mut last = 0_i64;
    for (mark, latest, ids) in batches {
        w.signed(mark.at().millis().wrapping_sub(last));
        last = mark.at().millis();
        w.0.extend_from_slice(&mark.random().to_le_bytes());
        if let Some(latest) = latest {
            w.optional(latest, mark.at());
        }
        w.count(ids.len());
        ids.iter().for_each(|id| w.0.extend_from_slice(&id.to_le_bytes()));
    }
}

fn write_window(w: &mut Writer, window: &Window) {
    w.number(u64::from(window.segments));
    let batches: Vec<_> = window.counted.iter().map(|(mark, counted)| (mark, Some(counted.latest), counted.ids.as_slice())).collect();
    write_counted(w, batches.into_iter());
    if let Some(left) = &window.left {
        w.number(u64::from(left.head.number));
        w.0.extend_from_slice(&left.head.digest.to_le_bytes());
        w.signed(left.until.millis());
        for moment in [Some(left.since), left.latest, left.before] {
            w.optional(moment, left.until);
        }
    }
}

/// Writes a segment of spilled ids.
pub fn encode_segment(segment: &Segment) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(1024));
    w.byte(SEGMENT_FORM);
    w.byte(u8::from(segment.previous.is_some()));
    if let Some(previous) = segment.previous {
        w.number(u64::from(previous.number));
        w.0.extend_from_slice(&previous.digest.to_le_bytes());
    }
    w.signed(segment.newest.millis());
    write_counted(&mut w, segment.ids.iter().map(|(mark, ids)| (mark, None, ids.as_slice())));
    w.0
}

// ---- Reading -------------------------------------------------------------------------------------------------------

struct Reader<'b> {
    left: &'b [u8],
}

impl<'b> Reader<'b> {
    fn bytes(&mut self, n: usize, what: &'static str) -> Result<&'b [u8], StateBodyError> {
        let (taken, left) = self.left.split_at_checked(n).ok_or_else(|| damaged(what))?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], StateBodyError> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or_else(|| damaged(what))?;
        self.left = left;
        Ok(*taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, StateBodyError> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    #[inline]
    fn number(&mut self, what: &'static str) -> Result<u64, StateBodyError> {
        let first = self.byte(what)?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.long_number(first, what) }
    }

    /// The rest of a number of several bytes.
    fn long_number(&mut self, first: u8, what: &'static str) -> Result<u64, StateBodyError> {
        let mut n = u64::from(first & 0x7F);
        for shift in (7..64).step_by(7) {
            let byte = self.byte(what)?;
            n |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(damaged(what))
    }

    fn signed(&mut self, what: &'static str) -> Result<i64, StateBodyError> {
        let n = self.number(what)?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A count of things that each take a byte at least, so that damaged bytes can't ask for much memory.
    fn count(&mut self, what: &'static str) -> Result<usize, StateBodyError> {
        let n = usize::try_from(self.number(what)?).map_err(|_| damaged(what))?;
        if n > self.left.len().saturating_mul(8) { Err(damaged(what)) } else { Ok(n) }
    }

    fn small(&mut self, what: &'static str) -> Result<u32, StateBodyError> {
        u32::try_from(self.number(what)?).map_err(|_| damaged(what))
    }

    fn text(&mut self, what: &'static str) -> Result<&'b str, StateBodyError> {
        let n = self.count(what)?;
        std::str::from_utf8(self.bytes(n, what)?).map_err(|_| damaged(what))
    }

    fn moment(&mut self, base: Timestamp, what: &'static str) -> Result<Timestamp, StateBodyError> {
        Ok(Timestamp::from_millis(base.millis().wrapping_add(self.signed(what)?)))
    }

    fn optional(&mut self, base: Timestamp, what: &'static str) -> Result<Option<Timestamp>, StateBodyError> {
        let Some(n) = self.number(what)?.checked_sub(1) else { return Ok(None) };
        let n = (n >> 1) as i64 ^ -((n & 1) as i64);
        Ok(Some(Timestamp::from_millis(base.millis().wrapping_add(n))))
    }

    fn order(&mut self, base: Timestamp, what: &'static str) -> Result<Order, StateBodyError> {
        Ok(Order { at: self.moment(base, what)?, tie: u64::from_le_bytes(self.array(what)?) })
    }

    fn day(&mut self, last: Day, what: &'static str) -> Result<Day, StateBodyError> {
        let distance = i32::try_from(self.signed(what)?).map_err(|_| damaged(what))?;
        Ok(Day(last.0.wrapping_add(distance)))
    }
}

/// Reads a state.
pub fn decode(bytes: &[u8]) -> Result<IdentityState, StateBodyError> {
    let mut r = Reader { left: bytes };
    match r.byte("form")? {
        STATE_FORM => {}
        form => return Err(StateBodyError::Form { form }),
    }
    let kind = kind_of(r.byte("kind of identity")?)?;
    let identity = Identity { kind, value: r.text("identity")?.to_owned() };
    let flags = r.byte("flags")?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    let link = if has(0) { Some(IdentityId::from_bytes(r.array("link")?)) } else { None };
    let sealed = if has(1) {
        let until = BatchId::from_u128(u128::from_be_bytes(r.array("seal")?));
        Some(Sealed { until, digest: u64::from_le_bytes(r.array("seal")?) })
    } else {
        None
    };
    let facts = read_facts(&mut r, &has)?;
    let window = read_window(&mut r, has(2))?;
    Ok(IdentityState { identity, link, window, sealed, facts })
}

fn read_facts(r: &mut Reader<'_>, has: &impl Fn(u8) -> bool) -> Result<Facts, StateBodyError> {
    let mut facts = Facts {
        parts: u64::from_le_bytes(r.array("parts")?),
        count: r.number("count")?,
        fresh: r.number("fresh count")?,
        ..Facts::default()
    };
    if has(6) {
        let first = r.moment(Timestamp::default(), "first event")?;
        facts.first_seen = Some(first);
        facts.last_seen = Some(r.moment(first, "last event")?);
    }
    let base = facts.first_seen.unwrap_or_default();
    let mut parts: Vec<PartId> = Vec::new();
    for _ in 0..r.count("part table")? {
        parts.push(u32::from_le_bytes(r.array("part table")?));
    }
    let part = |place: usize| parts.get(place).copied().ok_or_else(|| damaged("part"));
    read_days(r, &mut facts, &part)?;
    let sessions = Sessions::new(&read_keys::<SESSION_BYTES>(r, "sessions")?);
    facts.sessions = sessions.all();
    for _ in 0..r.count("keys")? {
        let of = part(r.count("keys")?)?;
        facts.keys.insert(of, read_part_keys(r, &sessions)?);
    }
    for _ in 0..r.count("minutes")? {
        let of = part(r.count("minutes")?)?;
        let mut minutes = Minutes::new();
        let mut last = 0_u32;
        for _ in 0..r.count("minutes")? {
            last = last.wrapping_add(r.small("minutes")?);
            append(&mut minutes, last, ());
        }
        facts.minutes.insert(of, minutes);
    }
    for _ in 0..r.count("traits")? {
        let which = trait_of(r.byte("trait")?)?;
        let order = r.order(base, "trait")?;
        let text = if r.byte("trait")? == 0 { None } else { Some(r.text("trait")?.to_owned()) };
        facts.said.traits.insert(which, (order, text));
    }
    if has(4) {
        let order = r.order(base, "named account")?;
        let by = named_by(r.byte("named account")?)?;
        let id = AccountId::new(r.text("named account")?).map_err(|_| damaged("named account"))?;
        facts.said.named = Some((order, NamedAccount { id, by }));
    }
    if has(5) {
        let order = r.order(base, "external id")?;
        facts.said.external = Some((order, r.text("external id")?.to_owned(), r.text("external id")?.to_owned()));
    }
    if has(3) {
        let n = r.count("fields")?;
        facts.fields = rmp_serde::from_slice::<FieldFacts>(r.bytes(n, "fields")?).map_err(|_| damaged("fields"))?;
    }
    Ok(facts)
}

fn read_days(r: &mut Reader<'_>, facts: &mut Facts, part: &impl Fn(usize) -> Result<PartId, StateBodyError>) -> Result<(), StateBodyError> {
    let mut channels = Vec::new();
    for _ in 0..r.count("channels")? {
        channels.push(channel_of(r.byte("channels")?)?);
    }
    let mut sets: Vec<Vec<PartId>> = Vec::new();
    for _ in 0..r.count("matched parts")? {
        let n = r.count("matched parts")?;
        let mut parts = Vec::with_capacity(n);
        for _ in 0..n {
            parts.push(part(r.count("matched parts")?)?);
        }
        sets.push(parts);
    }
    let n = r.count("days")?;
    let series = channels.len() + sets.len();
    // A day takes two bytes at least, so that damaged bytes can't ask for much memory.
    let mut days: Vec<PerDay> = (0..series).map(|_| PerDay::with_capacity(n.min(r.left.len() / 2).min(MOSTLY_DAYS))).collect();
    let mut last = Day(0);
    for _ in 0..n {
        last = r.day(last, "days")?;
        let mut put = |i: usize, count: u32| -> Result<(), StateBodyError> {
            append(days.get_mut(i).ok_or_else(|| damaged("days"))?, last, count);
            Ok(())
        };
        if series <= MASKED_SERIES {
            let mask = r.number("days")?;
            let mut places = (mask >> 1) & ((1 << series) - 1);
            let first = if mask & 1 != 0 { next_place(&mut places) } else { None };
            let (mut of_channels, mut of_matched) = (0_u64, 0_u64);
            while let Some(i) = next_place(&mut places) {
                let count = r.small("days")?;
                *(if i < channels.len() { &mut of_channels } else { &mut of_matched }) += u64::from(count);
                put(i, count)?;
            }
            if let Some(first) = first {
                let left = of_matched.checked_sub(of_channels).and_then(|left| u32::try_from(left).ok());
                put(first, left.ok_or_else(|| damaged("days"))?)?;
            }
        } else {
            for _ in 0..r.count("days")? {
                let i = r.count("days")?;
                put(i, r.small("days")?)?;
            }
        }
    }
    let mut days = days.into_iter();
    for channel in channels {
        facts.channels.insert(channel, days.next().unwrap_or_default());
    }
    facts.matched = sets.into_iter().map(|parts| Matched { parts, days: days.next().unwrap_or_default() }).collect();
    Ok(())
}

/// The place of the lowest bit, which is taken away.
fn next_place(bits: &mut u64) -> Option<usize> {
    let lowest = bits.trailing_zeros();
    *bits &= bits.wrapping_sub(1);
    if lowest < u64::BITS { Some(lowest as usize) } else { None }
}

/// Adds what mostly belongs to the end.
fn append<K: Ord, V>(map: &mut LiteMap<K, V>, key: K, value: V) {
    if let Some((key, value)) = map.try_append(key, value) {
        map.insert(key, value);
    }
}

fn from_days(keys: &[(Day, u32)]) -> LiteMap<u32, Day> {
    keys.iter().map(|(day, key)| (*key, *day)).collect()
}

fn read_keys<const BYTES: usize>(r: &mut Reader<'_>, what: &'static str) -> Result<Vec<(Day, u32)>, StateBodyError> {
    let n = r.count(what)?;
    let mut keys = Vec::with_capacity(n);
    let mut last = Day(0);
    for _ in 0..n {
        last = r.day(last, what)?;
        let mut key = [0_u8; 4];
        key.iter_mut().zip(r.array::<BYTES>(what)?).for_each(|(to, from)| *to = from);
        keys.push((last, u32::from_le_bytes(key)));
    }
    Ok(keys)
}

/// Sessions with their days, in the order of their keys, each with its place in the list that was read.
struct Sessions(Vec<(u32, Day, usize)>);

impl Sessions {
    fn new(listed: &[(Day, u32)]) -> Self {
        let mut sessions: Vec<_> = listed.iter().enumerate().map(|(place, (day, key))| (*key, *day, place)).collect();
        sessions.sort_unstable();
        Self(sessions)
    }

    fn all(&self) -> LiteMap<u32, Day> {
        self.0.iter().map(|(key, day, _)| (*key, *day)).collect()
    }

    /// Those whose bits are set, in the order of the list.
    fn of_bits(&self, bits: &[u8]) -> LiteMap<u32, Day> {
        let is_set = |place: usize| bits.get(place / 8).is_some_and(|eight| eight & (1 << (place % 8)) != 0);
        let mut set = LiteMap::with_capacity(self.0.len());
        for (key, day, _) in self.0.iter().filter(|(_, _, place)| is_set(*place)) {
            append(&mut set, *key, *day);
        }
        set
    }
}

fn read_part_keys(r: &mut Reader<'_>, sessions: &Sessions) -> Result<LiteMap<u32, Day>, StateBodyError> {
    match r.byte("keys")? {
        0 => Ok(from_days(&read_keys::<KEY_BYTES>(r, "keys")?)),
        1 => Ok(sessions.all()),
        2 => Ok(sessions.of_bits(r.bytes(sessions.0.len().div_ceil(8), "keys")?)),
        _ => Err(damaged("keys")),
    }
}

/// Reads what [`write_counted`] wrote; `latest` tells whether each batch has the latest moment that its client named.
fn read_counted(r: &mut Reader<'_>, latest: bool, mut each: impl FnMut(Mark, Option<Timestamp>, Vec<u64>)) -> Result<(), StateBodyError> {
    let mut last = 0_i64;
    for _ in 0..r.count("window")? {
        last = last.wrapping_add(r.signed("window")?);
        let ms = u64::try_from(last).map_err(|_| damaged("window"))?;
        let mark = Mark::new(ms, u32::from_le_bytes(r.array("window")?));
        let latest = if latest { r.optional(mark.at(), "window")? } else { None };
        let n = r.count("window")?;
        let mut ids = Vec::with_capacity(n.min(4_096));
        for _ in 0..n {
            ids.push(u64::from_le_bytes(r.array("window")?));
        }
        each(mark, latest, ids);
    }
    Ok(())
}

fn read_window(r: &mut Reader<'_>, has_left: bool) -> Result<Window, StateBodyError> {
    let mut window = Window { segments: r.small("window")?, ..Window::default() };
    read_counted(r, true, |mark, latest, ids| append(&mut window.counted, mark, Counted { latest, ids }))?;
    if has_left {
        let head = SegmentName { number: r.small("spilled ids")?, digest: u64::from_le_bytes(r.array("spilled ids")?) };
        let until = r.moment(Timestamp::default(), "spilled ids")?;
        let since = r.optional(until, "spilled ids")?.ok_or_else(|| damaged("spilled ids"))?;
        window.left =
            Some(Left { head, until, since, latest: r.optional(until, "spilled ids")?, before: r.optional(until, "spilled ids")? });
    }
    Ok(window)
}

/// Reads a segment of spilled ids.
pub fn decode_segment(bytes: &[u8]) -> Result<Segment, StateBodyError> {
    let mut r = Reader { left: bytes };
    match r.byte("form")? {
        SEGMENT_FORM => {}
        form => return Err(StateBodyError::Form { form }),
    }
    let previous = if r.byte("previous segment")? == 0 {
        None
    } else {
        Some(SegmentName { number: r.small("previous segment")?, digest: u64::from_le_bytes(r.array("previous segment")?) })
    };
    let newest = r.moment(Timestamp::default(), "newest batch")?;
    let mut ids = BTreeMap::new();
    read_counted(&mut r, false, |mark, _, of| drop(ids.insert(mark, of)))?;
    Ok(Segment { previous, newest, ids })
}

// ---- Codes: stored, so never change one -----------------------------------------------------------------------------

const fn kind_code(kind: IdentityKind) -> u8 {
    match kind {
        IdentityKind::User => 0,
        IdentityKind::Anonymous => 1,
        IdentityKind::Account => 2,
    }
}

const fn kind_of(code: u8) -> Result<IdentityKind, StateBodyError> {
    match code {
        0 => Ok(IdentityKind::User),
        1 => Ok(IdentityKind::Anonymous),
        2 => Ok(IdentityKind::Account),
        _ => Err(damaged("kind of identity")),
    }
}

const fn channel_code(channel: Channel) -> u8 {
    match channel {
        Channel::Website => 0,
        Channel::Email => 1,
        Channel::Product => 2,
        Channel::Ads => 3,
        Channel::InPerson => 4,
        Channel::Sales => 5,
    }
}

const fn channel_of(code: u8) -> Result<Channel, StateBodyError> {
    match code {
        0 => Ok(Channel::Website),
        1 => Ok(Channel::Email),
        2 => Ok(Channel::Product),
        3 => Ok(Channel::Ads),
        4 => Ok(Channel::InPerson),
        5 => Ok(Channel::Sales),
        _ => Err(damaged("channel")),
    }
}

const fn named_code(by: NamedBy) -> u8 {
    match by {
        NamedBy::AccountId => 0,
        NamedBy::GroupId => 1,
        NamedBy::AccountEvent => 2,
    }
}

const fn named_by(code: u8) -> Result<NamedBy, StateBodyError> {
    match code {
        0 => Ok(NamedBy::AccountId),
        1 => Ok(NamedBy::GroupId),
        2 => Ok(NamedBy::AccountEvent),
        _ => Err(damaged("named account")),
    }
}

const fn trait_code(which: Trait) -> u8 {
    match which {
        Trait::Email => 0,
        Trait::Name => 1,
        Trait::FirstName => 2,
        Trait::LastName => 3,
        Trait::Title => 4,
        Trait::Department => 5,
        Trait::Website => 6,
        Trait::Company => 7,
    }
}

const fn trait_of(code: u8) -> Result<Trait, StateBodyError> {
    match code {
        0 => Ok(Trait::Email),
        1 => Ok(Trait::Name),
        2 => Ok(Trait::FirstName),
        3 => Ok(Trait::LastName),
        4 => Ok(Trait::Title),
        5 => Ok(Trait::Department),
        6 => Ok(Trait::Website),
        7 => Ok(Trait::Company),
        _ => Err(damaged("trait")),
    }
}
