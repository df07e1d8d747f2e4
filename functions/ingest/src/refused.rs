//! Log lines about events that are not taken, found by the event's own id. They say where an event is wrong and nothing of what it holds.

use domain::{MessageId, WorkspaceId};
use serde::Deserialize;

/// How many refused events of one request have a line of their own.
const LINES: usize = 100;

/// An event that was refused.
#[derive(Debug)]
pub struct Refused {
    /// Its `messageId`, if it has one that an event may have.
    id: Option<MessageId>,
    /// The field at fault, as a JSON pointer.
    pointer: String,
}

impl Refused {
    /// The event that this text is, refused because of the field at `pointer`.
    pub fn new(text: &str, pointer: &str) -> Self {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "messageId")]
            id: Option<String>,
        }
        let named: Option<Named> = serde_json::from_str(text).ok();
        let id = named.and_then(|named| named.id).and_then(|id| MessageId::new(id.trim()).ok());
        Self { id, pointer: pointer.to_owned() }
    }
}

/// Tells about each of the events, or about the first of very many.
pub fn log(workspace: &WorkspaceId, events: &[Refused]) {
    for event in events.iter().take(LINES) {
        tracing::info!(
            stage = "ingest",
            workspace.id = %workspace,
            event.id = event.id.as_ref().map(MessageId::as_str),
            why = format!("rejected: {}", event.pointer),
            "an event was refused"
        );
    }
    if let Some(more) = events.len().checked_sub(LINES).filter(|more| *more > 0) {
        tracing::info!(stage = "ingest", workspace.id = %workspace, more, "more events of the request were refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_event_is_known_by_its_id_if_it_has_a_proper_one() {
        let id = |text: &str| Refused::new(text, "/event").id.map(|id| id.as_str().to_owned());
        assert_eq!(id(r#"{"messageId":"m-1","userId":7}"#).as_deref(), Some("m-1"));
        assert_eq!(id(r#"{"messageId":"m\u002d2"}"#).as_deref(), Some("m-2"));
        for text in ["", "[]", "{}", r#"{"messageId":7}"#, r#"{"messageId":""}"#, r#"{"messageId":null}"#, "{\"messageId\":\"x"] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
