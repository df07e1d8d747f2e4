//! Log lines about events that were counted before, found by the event's own id: the answer to why such an event adds nothing.

use crate::Work;
use domain::{BatchId, Event, MessageId};

/// How many repeated events of one identity have a line of their own in an invocation. A client that sends everything again is told by those.
const LINES: usize = 100;

/// An event whose id was counted from an earlier batch.
pub struct Repeat {
    batch: BatchId,
    id: MessageId,
}

/// Remembers events of a batch until it is certain that their parcel is folded.
pub fn note(repeats: &mut Vec<Repeat>, batch: BatchId, events: &[&Event]) {
    let room = LINES.saturating_sub(repeats.len());
    repeats.extend(events.iter().take(room).map(|event| Repeat { batch, id: event.message_id.clone() }));
}

/// Tells about those that came with this work. What others hold and was taken along, they tell themselves.
pub fn log(work: &Work, repeats: &[Repeat]) {
    for repeat in repeats.iter().filter(|repeat| work.parcels.contains_key(&repeat.batch)) {
        tracing::info!(
            stage = "resolve",
            workspace.id = %work.workspace,
            event.id = repeat.id.as_str(),
            correlation.id = %repeat.batch,
            why = "duplicate",
            "an event was counted before"
        );
    }
}
