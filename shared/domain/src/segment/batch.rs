//! Several calls in one body.

use super::{
    Call, CallError, Invalid, MAX_BATCH_BYTES, MAX_BATCH_ITEMS, MAX_CALL_BYTES, MAX_DEPTH,
    call::moment,
    object::{Context, Object},
    scalar::Scalar,
    shape,
};
use crate::{Timestamp, scan::Scanner};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A batch whose envelope was read. A bad item fails nobody else.
#[derive(Debug)]
pub struct Batch<'a> {
    items: Vec<Item<'a>>,
    write_key: Scalar<'a>,
    sent_at: Option<Timestamp>,
    context: Object<'a, Context<'a>>,
}

/// One item of a batch.
#[derive(Debug)]
pub struct Item<'a> {
    text: &'a str,
    /// Its fields, where they were found together with the envelope.
    call: Option<Call<'a>>,
}

impl<'a> Item<'a> {
    /// The item as it was sent.
    pub const fn text(&self) -> &'a str {
        self.text
    }
}

#[derive(Default)]
struct Envelope<'a> {
    batch: Option<&'a RawValue>,
    write_key: Scalar<'a>,
    sent_at: Scalar<'a>,
    context: Object<'a, Context<'a>>,
}

impl<'a> Batch<'a> {
    /// Reads the envelope: `batch`, `writeKey`, `sentAt`, and a `context` for the items that have none of their own.
    pub fn parse(text: &'a str) -> Result<Self, CallError> {
        let text = text.trim_ascii();
        if let Some((envelope, items, bytes)) = scan(text) {
            return Self::new(envelope, items, bytes);
        }
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
        let items = items.into_iter().map(|item| Item { text: item.get(), call: None }).collect();
        Self::new(envelope, items, batch.len())
    }

    /// Judges the envelope; `bytes` is the length of the array's text.
    fn new(envelope: Envelope<'a>, items: Vec<Item<'a>>, bytes: usize) -> Result<Self, CallError> {
        if items.is_empty() {
            return Err(Invalid::new("/batch", "batch must hold at least one call").into());
        }
        if items.len() > MAX_BATCH_ITEMS {
            let reason = format!("batch must hold at most {MAX_BATCH_ITEMS} calls, got {}", items.len());
            return Err(CallError::TooLarge { reason });
        }
        let Envelope { write_key, sent_at, context, .. } = envelope;
        if let Some(other) = context.text().filter(|context| !context.starts_with('{')) {
            return Err(Invalid::new("/context", format!("context must be an object, got {}", shape(other))).into());
        }
        // The shared context is copied into each event: without a limit on the copies a small body would become a huge one.
        let shared = context.text().map_or(0, str::len).saturating_mul(items.len());
        if shared.saturating_add(bytes) > MAX_BATCH_BYTES {
            let reason = format!("the calls, with the context of the batch counted for each, must be at most {MAX_BATCH_BYTES} bytes");
            return Err(CallError::TooLarge { reason });
        }
        let sent_at = moment(&sent_at, "/sentAt")?;
        Ok(Self { items, write_key, sent_at, context })
    }

    /// The write key in the envelope.
    pub fn write_key(&self) -> Option<&str> {
        self.write_key.text("/writeKey").ok().flatten()
    }

    /// The items, in the order of the batch.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &Item<'a>> {
        self.items.iter()
    }

    /// Reads one item. What the envelope says for all items holds where the item says nothing.
    pub fn call(&self, item: &Item<'a>) -> Result<Call<'a>, Invalid> {
        let size = item.text.len().saturating_add(self.context.text().map_or(0, str::len));
        if size > MAX_CALL_BYTES {
            return Err(Invalid::new("", format!("a call must be at most {MAX_CALL_BYTES} bytes, got {size}")));
        }
        let call = match &item.call {
            Some(call) => Ok(call.clone()),
            None => Call::parse(item.text),
        };
        match call {
            Ok(call) => Ok(call.within(self.sent_at, &self.context)),
            Err(CallError::Invalid(invalid)) => Err(invalid),
            Err(error) => Err(Invalid::new("", error.to_string())),
        }
    }
}

/// Finds the envelope's fields and those of all calls in one pass, with the length of the array's text. `None` leaves the body to
/// the parser.
fn scan(text: &str) -> Option<(Envelope<'_>, Vec<Item<'_>>, usize)> {
    let mut envelope = Envelope::default();
    let mut found = None;
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, key| {
        match key {
            "batch" => found = Some(scan_items(scanner)?),
            "writeKey" => envelope.write_key = Scalar::scan(scanner)?,
            "sentAt" => envelope.sent_at = Scalar::scan(scanner)?,
            "context" => envelope.context = Context::scan(scanner)?,
            _ => drop(scanner.value(MAX_DEPTH)?),
        }
        Some(())
    })?;
    let (items, bytes) = found.filter(|_| scanner.at_end())?;
    Some((envelope, items, bytes))
}

fn scan_items<'a>(scanner: &mut Scanner<'a>) -> Option<(Vec<Item<'a>>, usize)> {
    let mut items = Vec::new();
    let array = scanner.text_of(|scanner| {
        scanner.array(|scanner| {
            let mut call = None;
            let text = scanner.text_of(|scanner| {
                call = Some(Call::scan(scanner)?);
                Some(())
            })?;
            items.push(Item { text, call });
            Some(())
        })
    })?;
    Some((items, array.len()))
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
                        Field::Context => read.context = Object::found(map.next_value()?),
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
