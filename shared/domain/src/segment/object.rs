//! `properties`, `traits` and `context`: walked once, read where it matters, kept as text.

use super::{
    Invalid, MAX_DEPTH,
    scalar::{Scalar, Walked, named},
    shape,
};
use crate::{
    JsonObject,
    scan::{Scanned, Scanner},
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{fmt, net::IpAddr};

/// A field that should be an object.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Object<'a, T> {
    /// Not given, or `null`.
    #[default]
    Absent,
    /// Walked together with the call: its text, and what was read of it.
    Walked(&'a str, T),
    /// Any JSON value but `null`, still to be walked.
    Unread(&'a str),
}

impl<'a, T: Default> Object<'a, T> {
    /// A value that the parser found.
    pub(super) fn found(raw: &'a RawValue) -> Self {
        match raw.get() {
            "null" => Self::Absent,
            text => Self::Unread(text),
        }
    }

    /// The value's text.
    pub(super) const fn text(&self) -> Option<&'a str> {
        match self {
            Self::Absent => None,
            Self::Walked(text, _) | Self::Unread(text) => Some(text),
        }
    }

    /// Walks the next value; `member` reads what matters of it. `None` leaves the call to the parser.
    fn walk(scanner: &mut Scanner<'a>, mut member: impl FnMut(&mut T, &mut Scanner<'a>, &str) -> Option<()>) -> Option<Self> {
        if scanner.peek()? == b'n' {
            return matches!(scanner.value(1)?, Scanned::Null).then_some(Self::Absent);
        }
        let mut read = T::default();
        let text = scanner.text_of(|scanner| scanner.object(|scanner, key| member(&mut read, scanner, key)))?;
        Some(Self::Walked(text, read))
    }
}

impl<'a, T: Deserialize<'a> + Clone + Default> Object<'a, T> {
    /// What is read of the object, which must be one when it is there.
    fn read(&self, pointer: &'static str) -> Result<T, Invalid> {
        match self {
            Self::Absent => Ok(T::default()),
            Self::Walked(_, read) => Ok(read.clone()),
            Self::Unread(text) if text.starts_with('{') => {
                serde_json::from_str(text).map_err(|error| Invalid::new(pointer, format!("{} can't be read: {error}", named(pointer))))
            }
            Self::Unread(text) => Err(Invalid::new(pointer, format!("{} must be an object, got {}", named(pointer), shape(text)))),
        }
    }
}

/// Levels of a value inside an object that is itself the first one.
const INSIDE: usize = MAX_DEPTH - 1;

/// `properties` or `traits`: what is read of them, and the text.
#[derive(Debug, Clone, Default)]
pub(super) struct Payload<'a> {
    text: Option<&'a str>,
    /// Where `account_id` is.
    pub(super) account_pointer: &'static str,
    pub(super) account_id: Scalar<'a>,
    pub(super) has_category: bool,
}

impl<'a> Payload<'a> {
    pub(super) fn read(object: &Object<'a, Self>, pointer: &'static str, account_pointer: &'static str) -> Result<Self, Invalid> {
        Ok(Self { text: object.text(), account_pointer, ..object.read(pointer)? })
    }

    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Option<Object<'a, Self>> {
        Object::walk(scanner, |read: &mut Self, scanner, key| {
            match key {
                "account_id" => read.account_id = Scalar::scan(scanner)?,
                _ => {
                    read.has_category |= key == "category";
                    scanner.value(INSIDE)?;
                }
            }
            Some(())
        })
    }

    pub(super) fn kept(&self) -> Option<JsonObject> {
        self.text.and_then(kept)
    }
}

/// `context`: what is read of it, and the text.
#[derive(Debug, Clone, Default)]
pub(super) struct Context<'a> {
    text: Option<&'a str>,
    pub(super) direct: bool,
    ip: Scalar<'a>,
    pub(super) user_agent: Scalar<'a>,
    pub(super) group_id: Scalar<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn read(object: &Object<'a, Self>) -> Result<Self, Invalid> {
        Ok(Self { text: object.text(), ..object.read("/context")? })
    }

    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Option<Object<'a, Self>> {
        Object::walk(scanner, |read: &mut Self, scanner, key| {
            match key {
                "direct" => read.direct = Scalar::scan(scanner)? == Scalar::Bool(true),
                "ip" => read.ip = Scalar::scan(scanner)?,
                "userAgent" => read.user_agent = Scalar::scan(scanner)?,
                "groupId" => read.group_id = Scalar::scan(scanner)?,
                _ => drop(scanner.value(INSIDE)?),
            }
            Some(())
        })
    }

    /// The text, when there is anything in it.
    pub(super) fn kept(&self) -> Option<JsonObject> {
        self.text.and_then(kept)
    }

    /// The address that it tells.
    pub(super) fn ip(&self) -> Result<Option<String>, Invalid> {
        let Some(text) = self.ip.text("/context/ip")? else { return Ok(None) };
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Some(ip.to_canonical().to_string())),
            Err(_) => Err(Invalid::new("/context/ip", "context.ip must be an IPv4 or IPv6 address when context.direct is true")),
        }
    }
}

/// The text of an object that holds anything.
fn kept(text: &str) -> Option<JsonObject> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    if inside.trim_ascii().is_empty() { None } else { RawValue::from_string(text.to_owned()).ok().map(JsonObject::from_raw) }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum PayloadField {
    AccountId,
    Category,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Payload<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = Payload::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        PayloadField::AccountId => read.account_id = map.next_value()?,
                        PayloadField::Category => {
                            read.has_category = true;
                            map.next_value_seed(Walked::INSIDE)?;
                        }
                        PayloadField::Other => map.next_value_seed(Walked::INSIDE)?,
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum ContextField {
    Direct,
    Ip,
    UserAgent,
    GroupId,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Context<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Context<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = Context::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        ContextField::Direct => read.direct = map.next_value::<Scalar<'_>>()? == Scalar::Bool(true),
                        ContextField::Ip => read.ip = map.next_value()?,
                        ContextField::UserAgent => read.user_agent = map.next_value()?,
                        ContextField::GroupId => read.group_id = map.next_value()?,
                        ContextField::Other => map.next_value_seed(Walked::INSIDE)?,
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Read)
    }
}
