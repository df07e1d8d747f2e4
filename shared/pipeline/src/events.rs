//! The events of a parcel, together with the JSON text that they were read from.

use domain::Event;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Deref, sync::Arc};

/// The events of a parcel. Copies share them. Those that were read from JSON keep the text, because a parcel is stored as it came: then
/// it need not be written again.
#[derive(Debug, Clone)]
pub struct Events(Arc<Read>);

#[derive(Debug)]
struct Read {
    events: Vec<Event>,
    /// The array that they were read from.
    text: Option<Box<RawValue>>,
}

impl Events {
    /// The events as a JSON array. Fails only for events that no JSON text can hold, of which there are none.
    pub fn json(&self) -> Result<Cow<'_, str>, serde_json::Error> {
        match &self.0.text {
            Some(text) => Ok(Cow::Borrowed(text.get())),
            None => serde_json::to_string(&self.0.events).map(Cow::Owned),
        }
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Self {
        Self(Arc::new(Read { events, text: None }))
    }
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.0.events
    }
}

impl<'e> IntoIterator for &'e Events {
    type Item = &'e Event;
    type IntoIter = std::slice::Iter<'e, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Events {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Serialize for Events {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match &self.0.text {
            Some(text) => text.serialize(s),
            None => self.0.events.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Events {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(d)?;
        let events = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self(Arc::new(Read { events, text: Some(text) })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = r#"[ {"id":"m-1","kind":"page","at":1,"received_at":2, "properties":{"b":1.0,"a":"\u00e9"}} ]"#;

    #[test]
    fn events_that_were_read_are_written_as_they_came() {
        let events: Events = serde_json::from_str(READ).unwrap();
        assert_eq!(events.json().unwrap(), READ);
        assert_eq!(serde_json::to_string(&events).unwrap(), READ);
        assert_eq!(events.iter().map(|event| event.timestamp.millis()).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn events_that_were_made_are_written_like_any_others() {
        let made: Events = serde_json::from_str::<Vec<Event>>(READ).unwrap().into();
        assert_eq!(made, serde_json::from_str::<Events>(READ).unwrap());
        let written = made.json().unwrap().into_owned();
        assert_eq!(written, serde_json::to_string(&made).unwrap());
        assert_eq!(serde_json::from_str::<Events>(&written).unwrap(), made);
    }

    #[test]
    fn what_is_no_list_of_events_is_refused() {
        for text in ["{}", "[{}]", "[1]", r#"[{"id":"m"}]"#] {
            assert!(serde_json::from_str::<Events>(text).is_err(), "{text}");
        }
    }
}
