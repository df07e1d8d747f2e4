//! Events become messages of at most 64 KB.

use domain::{BatchId, Event, Identity, Timestamp, WorkspaceId};
use pipeline::{
    EventsReceived, Parcel, Rejected,
    messages::{MAX_MESSAGE_BYTES, MESSAGE_VERSION},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::HashMap, io};

/// The most bytes of a refused item that are kept as they came.
const KEPT_ITEM_BYTES: usize = 4 * 1024;

/// A refused item as it may be kept: short ones whole, the beginning of others as text.
pub fn kept_item(item: &str) -> Value {
    if item.len() <= KEPT_ITEM_BYTES
        && let Ok(value) = serde_json::from_str(item)
    {
        return value;
    }
    let end = (0..=KEPT_ITEM_BYTES.min(item.len())).rev().find(|end| item.is_char_boundary(*end)).unwrap_or(0);
    Value::String(item.get(..end).unwrap_or_default().to_owned())
}

/// Packs everything into messages. The events of an identity stay in the order given and whole in one parcel, unless they
/// are more than one message holds: then they are cut, and no message holds two parcels of one identity. Each message has a
/// batch id of its own.
pub fn messages(
    workspace: &WorkspaceId,
    received_at: Timestamp,
    events: Vec<Event>,
    rejected: Vec<Rejected>,
    mut new_batch: impl FnMut() -> BatchId,
) -> Vec<EventsReceived> {
    let frame = frame_bytes(workspace, received_at);
    if rejected.is_empty() && events.iter().map(at_most).fold(frame, usize::saturating_add) <= MAX_MESSAGE_BYTES {
        // Most batches fit one message by far, and need no exact count.
        let parcels: Vec<Parcel> = grouped(events).into_iter().map(Group::parcel).collect();
        if parcels.is_empty() {
            return Vec::new();
        }
        return vec![EventsReceived { workspace: workspace.clone(), batch: new_batch(), received_at, parcels, rejected }];
    }
    let mut packing = Packing { capacity: MAX_MESSAGE_BYTES.saturating_sub(frame), used: 0, open: Contents::default(), closed: Vec::new() };
    for Group { identity, events } in grouped(events) {
        packing.add_events(identity, events);
    }
    for item in rejected {
        packing.add_rejected(item);
    }
    packing.close();
    let message = |Contents { parcels, rejected }| EventsReceived {
        workspace: workspace.clone(),
        batch: new_batch(),
        received_at,
        parcels,
        rejected,
    };
    packing.closed.into_iter().map(message).collect()
}

struct Group {
    identity: Identity,
    events: Vec<Event>,
}

impl Group {
    fn parcel(self) -> Parcel {
        Parcel { identity: self.identity, events: self.events.into() }
    }
}

/// Identities in the order in which they first appear.
fn grouped(events: Vec<Event>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Identity, usize> = HashMap::new();
    for event in events {
        // An accepted event always has an identity; one without could be nobody's fact.
        let Some(identity) = event.identity() else { continue };
        let place = *places.entry(identity).or_insert_with_key(|identity| {
            groups.push(Group { identity: identity.clone(), events: Vec::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.events.push(event);
        }
    }
    groups
}

#[derive(Default)]
struct Contents {
    parcels: Vec<Parcel>,
    rejected: Vec<Rejected>,
}

struct Packing {
    /// Bytes that a message has for its parcels and refused items.
    capacity: usize,
    used: usize,
    open: Contents,
    closed: Vec<Contents>,
}

impl Packing {
    fn add_events(&mut self, identity: Identity, events: Vec<Event>) {
        let sizes: Vec<usize> = events.iter().map(|event| encoded_bytes(event) + SEPARATOR).collect();
        let frame = encoded_bytes(&identity) + PARCEL_FRAME;
        let whole = sizes.iter().fold(frame, |sum, size| sum.saturating_add(*size));
        if whole <= self.capacity {
            self.add_parcel(Parcel { identity, events: events.into() }, whole);
            return;
        }
        // Each part is filled until the next event would not fit an empty message. So two parts of one identity never
        // fit one message together, and never share a batch id.
        let mut part = Vec::new();
        let mut used = frame;
        for (event, size) in events.into_iter().zip(sizes) {
            if !part.is_empty() && used.saturating_add(size) > self.capacity {
                self.add_parcel(Parcel { identity: identity.clone(), events: std::mem::take(&mut part).into() }, used);
                used = frame;
            }
            part.push(event);
            used = used.saturating_add(size);
        }
        self.add_parcel(Parcel { identity, events: part.into() }, used);
    }

    fn add_parcel(&mut self, parcel: Parcel, bytes: usize) {
        self.make_room(bytes);
        self.open.parcels.push(parcel);
    }

    fn add_rejected(&mut self, item: Rejected) {
        self.make_room(encoded_bytes(&item) + SEPARATOR);
        self.open.rejected.push(item);
    }

    fn make_room(&mut self, bytes: usize) {
        if self.used.saturating_add(bytes) > self.capacity {
            self.close();
        }
        self.used = self.used.saturating_add(bytes);
    }

    fn close(&mut self) {
        self.used = 0;
        let contents = std::mem::take(&mut self.open);
        if !contents.parcels.is_empty() || !contents.rejected.is_empty() {
            self.closed.push(contents);
        }
    }
}

/// More bytes than an event takes in a message, with a parcel of its own around it.
fn at_most(event: &Event) -> usize {
    /// Names of fields, numbers, signs and the parcel's frame.
    const FRAME: usize = 640;
    /// A character may become an escape such as `\u0007`.
    const ESCAPE: usize = 6;
    let Event {
        message_id, kind: _, name, user_id, anonymous_id, previous_id, account, ip, user_agent, properties, traits, context, ..
    } = event;
    let named = account.as_ref().map_or(0, |account| account.id.as_str().len());
    let texts = [name, previous_id, ip, user_agent].map(|text| text.as_ref().map_or(0, String::len)).iter().sum::<usize>();
    // The one by which the event is kept is in its parcel, too.
    let ids = [user_id, anonymous_id].map(|text| text.as_ref().map_or(0, String::len)).iter().sum::<usize>() + named;
    let objects =
        [properties, traits, context].map(|object| object.as_ref().map_or(0, |object| object.as_str().len())).iter().sum::<usize>();
    let escaped = message_id.as_str().len().saturating_add(texts).saturating_add(ids.saturating_mul(2)).saturating_mul(ESCAPE);
    FRAME.saturating_add(escaped).saturating_add(objects)
}

#[cfg(test)]
#[test]
fn no_event_takes_more_than_is_reckoned() {
    let id = "\u{7}\"é".repeat(100);
    let account = Some(domain::NamedAccount { id: domain::AccountId::new(&"é".repeat(60)).unwrap(), by: domain::NamedBy::AccountEvent });
    let event = |text: &str| -> Event {
        let at = i64::MIN / 2;
        let event = serde_json::json!({
            "id": "m\"", "kind": "account-event", "name": text, "user_id": text, "anonymous_id": text, "previous_id": text, "account": account,
            "at": at, "received_at": at, "clamped": true, "skew": at, "ip": text, "user_agent": text,
            "properties": {text: text}, "traits": {text: text}, "context": {text: text},
        });
        serde_json::from_str(&event.to_string()).unwrap()
    };
    for event in [event(""), event("x"), event(&id)] {
        let parcel = Parcel { identity: event.identity().unwrap(), events: vec![event.clone()].into() };
        let bytes = serde_json::to_string(&parcel).unwrap().len() + SEPARATOR;
        assert!(bytes <= at_most(&event), "{bytes} > {}", at_most(&event));
    }
}

/// The comma after an element.
const SEPARATOR: usize = 1;
/// `{"identity":,"events":[]}` and the comma after it.
const PARCEL_FRAME: usize = 26;

/// Bytes of an encoded message without parcels and refused items.
fn frame_bytes(workspace: &WorkspaceId, received_at: Timestamp) -> usize {
    #[derive(Serialize)]
    struct Frame<'a> {
        r#type: &'a str,
        version: u32,
        body: Inside<'a>,
    }
    #[derive(Serialize)]
    struct Inside<'a> {
        workspace: &'a WorkspaceId,
        batch: BatchId,
        received_at: Timestamp,
        parcels: [(); 0],
        rejected: [(); 0],
    }
    let inside = Inside { workspace, batch: BatchId::from_u128(0), received_at, parcels: [], rejected: [] };
    encoded_bytes(&Frame { r#type: <EventsReceived as pipeline::Message>::TYPE, version: MESSAGE_VERSION, body: inside })
}

/// Counts what is written and keeps nothing.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encoded_bytes<T: Serialize>(value: &T) -> usize {
    let mut count = Count(0);
    // What can't be encoded is refused by the queue; here it only must not share a message.
    if serde_json::to_writer(&mut count, value).is_ok() { count.0 } else { MAX_MESSAGE_BYTES }
}
