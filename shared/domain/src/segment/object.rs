//! `properties`, `traits` and `context`: walked once, read where it matters, kept as text.

use super::{
    Invalid,
    scalar::{Scalar, Walked, named},
    shape,
};
use crate::JsonObject;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{fmt, net::IpAddr};

/// `properties` or `traits`: what is read of them, and the text.
#[derive(Debug, Default)]
pub(super) struct Payload<'a> {
    raw: Option<&'a RawValue>,
    /// Where `account_id` is.
    pub(super) account_pointer: &'static str,
    pub(super) account_id: Scalar<'a>,
    pub(super) has_category: bool,
}

impl<'a> Payload<'a> {
    pub(super) fn read(raw: Option<&'a RawValue>, pointer: &'static str, account_pointer: &'static str) -> Result<Self, Invalid> {
        let read: Option<Self> = object(raw, pointer)?;
        Ok(Self { raw, account_pointer, ..read.unwrap_or_default() })
    }

    pub(super) fn kept(&self) -> Option<JsonObject> {
        self.raw.and_then(kept)
    }
}

/// `context`: what is read of it, and the text.
#[derive(Debug, Default)]
pub(super) struct Context<'a> {
    raw: Option<&'a RawValue>,
    pub(super) direct: bool,
    ip: Scalar<'a>,
    pub(super) user_agent: Scalar<'a>,
    pub(super) group_id: Scalar<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn read(raw: Option<&'a RawValue>) -> Result<Self, Invalid> {
        let read: Option<Self> = object(raw, "/context")?;
        Ok(Self { raw, ..read.unwrap_or_default() })
    }

    /// The text, when there is anything in it.
    pub(super) fn kept(&self) -> Option<JsonObject> {
        self.raw.and_then(kept)
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

/// Reads a field that must be an object when it is there.
fn object<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, pointer: &'static str) -> Result<Option<T>, Invalid> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) if text.starts_with('{') => serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Invalid::new(pointer, format!("{} can't be read: {error}", named(pointer)))),
        Some(text) => Err(Invalid::new(pointer, format!("{} must be an object, got {}", named(pointer), shape(text)))),
    }
}

/// The text of an object that holds anything.
fn kept(raw: &RawValue) -> Option<JsonObject> {
    let inside = raw.get().strip_prefix('{')?.strip_suffix('}')?;
    if inside.trim_ascii().is_empty() { None } else { Some(JsonObject::from_raw(raw.to_owned())) }
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
