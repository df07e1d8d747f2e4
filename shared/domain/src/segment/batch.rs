//! Several calls in one body.

use super::{Call, CallError, Invalid, MAX_BATCH_BYTES, MAX_BATCH_ITEMS, MAX_CALL_BYTES, call::moment, scalar::Scalar, shape};
use crate::Timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A batch whose envelope was read; its items are text still, so that a bad one fails nobody else.
#[derive(Debug)]
pub struct Batch<'a> {
    items: Vec<&'a RawValue>,
    write_key: Scalar<'a>,
    sent_at: Option<Timestamp>,
    context: Option<&'a RawValue>,
}

#[derive(Default)]
struct Envelope<'a> {
    batch: Option<&'a RawValue>,
    write_key: Scalar<'a>,
    sent_at: Scalar<'a>,
    context: Option<&'a RawValue>,
}

impl<'a> Batch<'a> {
    /// Reads the envelope: `batch`, `writeKey`, `sentAt`, and a `context` for the items that have none of their own.
    pub fn parse(text: &'a str) -> Result<Self, CallError> {
        let text = text.trim_ascii();
        let envelope: Envelope<'a> = match text.as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map_err(|error| CallError::unread(&error))?,
            _ => {
                serde_json::from_str::<IgnoredAny>(text).map_err(|error| CallError::unread(&error))?;
                return Err(Invalid::new("", format!("the body must be a JSON object, got {}", shape(text))).into());
            }
        };
        let batch = match envelope.batch.map(RawValue::get) {
            Some(batch) if batch.starts_with('[') => batch,
            Some(other) => return Err(Invalid::new("/batch", format!("batch must be an array, got {}", shape(other))).into()),
            None => return Err(Invalid::new("/batch", "batch is required: an array of calls").into()),
        };
        let items: Vec<&'a RawValue> = serde_json::from_str(batch).map_err(|error| CallError::unread(&error))?;
        if items.is_empty() {
            return Err(Invalid::new("/batch", "batch must hold at least one call").into());
        }
        if items.len() > MAX_BATCH_ITEMS {
            let reason = format!("batch must hold at most {MAX_BATCH_ITEMS} calls, got {}", items.len());
            return Err(CallError::TooLarge { reason });
        }
        let context = envelope.context.filter(|context| context.get() != "null");
        if let Some(other) = context.map(RawValue::get).filter(|context| !context.starts_with('{')) {
            return Err(Invalid::new("/context", format!("context must be an object, got {}", shape(other))).into());
        }
        // The shared context is copied into each event: without a limit on the copies a small body would become a huge one.
        let shared = context.map_or(0, |context| context.get().len()).saturating_mul(items.len());
        if shared.saturating_add(batch.len()) > MAX_BATCH_BYTES {
            let reason = format!("the calls, with the context of the batch counted for each, must be at most {MAX_BATCH_BYTES} bytes");
            return Err(CallError::TooLarge { reason });
        }
        let sent_at = moment(&envelope.sent_at, "/sentAt")?;
        Ok(Self { items, write_key: envelope.write_key, sent_at, context })
    }

    /// The write key in the envelope.
    pub fn write_key(&self) -> Option<&str> {
        self.write_key.text("/writeKey").ok().flatten()
    }

    /// The text of each item, in the order of the batch.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.items.iter().map(|item| item.get())
    }

    /// Reads one item's text. What the envelope says for all items holds where the item says nothing.
    pub fn call(&self, item: &'a str) -> Result<Call<'a>, Invalid> {
        let size = item.len().saturating_add(self.context.map_or(0, |context| context.get().len()));
        if size > MAX_CALL_BYTES {
            return Err(Invalid::new("", format!("a call must be at most {MAX_CALL_BYTES} bytes, got {size}")));
        }
        match Call::parse(item) {
            Ok(call) => Ok(call.within(self.sent_at, self.context)),
            Err(CallError::Invalid(invalid)) => Err(invalid),
            Err(error) => Err(Invalid::new("", error.to_string())),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Batch,
    WriteKey,
    SentAt,
    Context,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Envelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = Envelope::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::Batch => read.batch = Some(map.next_value()?),
                        Field::WriteKey => read.write_key = map.next_value()?,
                        Field::SentAt => read.sent_at = map.next_value()?,
                        Field::Context => read.context = Some(map.next_value()?),
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Read)
    }
}
