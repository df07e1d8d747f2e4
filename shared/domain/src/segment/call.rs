//! One call.

use super::{
    CallError, Invalid, MAX_ID_BYTES, MAX_NAME_BYTES, MESSAGE_ID_CHARS,
    scalar::{Scalar, Walked, named},
    shape, short,
};
use crate::mail::WebDomain;
use crate::{AccountId, CallKind, Event, IdError, JsonObject, MessageId, NamedAccount, NamedBy, Timestamp};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{fmt, net::IpAddr};

/// What the request itself says, whatever its body claims.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// When the request was taken.
    pub received_at: Timestamp,
    /// The address it came from.
    pub ip: Option<&'a str>,
    /// Its user agent.
    pub user_agent: Option<&'a str>,
}

/// A call whose fields were found and not yet judged. Of a key that comes twice the last one counts.
#[derive(Debug, Default)]
pub struct Call<'a> {
    kind: Scalar<'a>,
    message_id: Scalar<'a>,
    user_id: Scalar<'a>,
    anonymous_id: Scalar<'a>,
    previous_id: Scalar<'a>,
    group_id: Scalar<'a>,
    event: Scalar<'a>,
    name: Scalar<'a>,
    category: Scalar<'a>,
    account_id: Scalar<'a>,
    domain: Scalar<'a>,
    timestamp: Scalar<'a>,
    original_timestamp: Scalar<'a>,
    sent_at: Scalar<'a>,
    write_key: Scalar<'a>,
    properties: Option<&'a RawValue>,
    traits: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
    batch_sent_at: Option<Timestamp>,
}

impl<'a> Call<'a> {
    /// Finds the fields of a JSON object.
    pub fn parse(text: &'a str) -> Result<Self, CallError> {
        let text = text.trim_ascii();
        if text.starts_with('{') {
            return serde_json::from_str(text).map_err(|error| CallError::unread(&error));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| CallError::unread(&error))?;
        Err(Invalid::new("", format!("a call must be a JSON object, got {}", shape(text))).into())
    }

    /// What the batch around the call says for calls that say nothing themselves.
    pub(super) fn within(mut self, sent_at: Option<Timestamp>, context: Option<&'a RawValue>) -> Self {
        self.batch_sent_at = sent_at;
        self.context = self.context.filter(|own| own.get() != "null").or(context);
        self
    }

    /// The write key in the body.
    pub fn write_key(&self) -> Option<&str> {
        self.write_key.text("/writeKey").ok().flatten()
    }

    /// Which call a batch item is, by its `type`.
    pub fn kind(&self) -> Result<CallKind, Invalid> {
        const KINDS: &str = "`track`, `identify`, `page`, `screen`, `group`, `alias` or `account-event`";
        let text = self.kind.name("/type", MAX_NAME_BYTES)?;
        match text.as_deref() {
            Some("track") => Ok(CallKind::Track),
            Some("identify") => Ok(CallKind::Identify),
            Some("page") => Ok(CallKind::Page),
            Some("screen") => Ok(CallKind::Screen),
            Some("group") => Ok(CallKind::Group),
            Some("alias") => Ok(CallKind::Alias),
            Some("account-event") => Ok(CallKind::AccountEvent),
            Some(other) => Err(Invalid::new("/type", format!("type must be {KINDS}, got `{}`", short(other)))),
            None => Err(Invalid::new("/type", format!("type is required: {KINDS}"))),
        }
    }

    /// Judges the fields as a call of this kind. `make_id` names the event when the client did not.
    pub fn event(
        &self,
        kind: CallKind,
        origin: &Origin<'_>,
        make_id: impl FnOnce() -> Result<MessageId, IdError>,
    ) -> Result<Event, Invalid> {
        let context = Context::read(self.context)?;
        let properties = Payload::read(self.properties, "/properties", "/properties/account_id")?;
        let traits = Payload::read(self.traits, "/traits", "/traits/account_id")?;
        let (user_id, anonymous_id) = self.person(kind)?;
        let (timestamp, clamped) = self.moment(origin.received_at)?;
        let (ip, user_agent) = if context.direct {
            (context.ip()?, context.user_agent.bounded("/context/userAgent", MAX_NAME_BYTES)?)
        } else {
            (origin.ip.map(str::to_owned), origin.user_agent.map(|text| text.chars().take(MAX_NAME_BYTES).collect()))
        };
        Ok(Event {
            message_id: self.message_id(make_id)?,
            kind,
            name: self.name(kind)?,
            user_id,
            anonymous_id,
            previous_id: if kind == CallKind::Alias { Some(self.previous_id()?) } else { None },
            account: self.account(kind, &properties, &traits, &context)?,
            timestamp,
            received_at: origin.received_at,
            clamped,
            ip,
            user_agent,
            properties: self.with_category(kind, properties)?,
            traits: traits.kept(),
            context: context.raw.and_then(kept),
        })
    }

    fn person(&self, kind: CallKind) -> Result<(Option<String>, Option<String>), Invalid> {
        if kind == CallKind::AccountEvent {
            return Ok((None, None));
        }
        let user_id = self.user_id.bounded("/userId", MAX_ID_BYTES)?;
        let anonymous_id = self.anonymous_id.bounded("/anonymousId", MAX_ID_BYTES)?;
        if kind == CallKind::Alias && user_id.is_none() {
            return Err(Invalid::new("/userId", "userId is required in an alias call: the id that previousId becomes"));
        }
        if user_id.is_none() && anonymous_id.is_none() {
            return Err(Invalid::new("/userId", "userId or anonymousId is required: a string that is not empty, or a number"));
        }
        Ok((user_id, anonymous_id))
    }

    fn previous_id(&self) -> Result<String, Invalid> {
        let missing = || Invalid::new("/previousId", "previousId is required in an alias call: the id that is known as userId from now on");
        self.previous_id.bounded("/previousId", MAX_ID_BYTES)?.ok_or_else(missing)
    }

    fn name(&self, kind: CallKind) -> Result<Option<String>, Invalid> {
        match kind {
            CallKind::Track | CallKind::AccountEvent => {
                let missing = || Invalid::new("/event", "event is required: the name of what happened, a string that is not empty");
                self.event.name("/event", MAX_NAME_BYTES)?.ok_or_else(missing).map(Some)
            }
            CallKind::Page | CallKind::Screen => self.name.name("/name", MAX_NAME_BYTES),
            CallKind::Identify | CallKind::Group | CallKind::Alias => Ok(None),
        }
    }

    fn message_id(&self, make: impl FnOnce() -> Result<MessageId, IdError>) -> Result<MessageId, Invalid> {
        let wrong = |error: IdError| Invalid::new("/messageId", error.to_string());
        let Some(text) = self.message_id.text("/messageId")? else { return make().map_err(wrong) };
        let length = text.chars().count();
        if length >= MESSAGE_ID_CHARS {
            let reason = format!("messageId must have fewer than {MESSAGE_ID_CHARS} characters, got {length}");
            return Err(Invalid::new("/messageId", reason));
        }
        MessageId::new(text).map_err(wrong)
    }

    /// When it happened by our clock, and whether the client claimed a later moment than this one.
    fn moment(&self, received_at: Timestamp) -> Result<(Timestamp, bool), Invalid> {
        let original = moment(&self.original_timestamp, "/originalTimestamp")?;
        let stated = moment(&self.timestamp, "/timestamp")?;
        let sent_at = moment(&self.sent_at, "/sentAt")?.or(self.batch_sent_at);
        let (claimed, pointer) = match (original, stated) {
            (Some(claimed), _) => (claimed, "/originalTimestamp"),
            (None, Some(claimed)) => (claimed, "/timestamp"),
            (None, None) => return Ok((received_at, false)),
        };
        // Both were read off the same clock, so that their difference is right however wrong the clock is.
        let at = sent_at.map_or(claimed, |sent| received_at.plus_millis(claimed.millis_since(sent)));
        if at > received_at {
            return Ok((received_at, true));
        }
        if at.millis() < 0 {
            let reason = format!("{} must not be before 1970-01-01T00:00:00Z, got `{at}`", named(pointer));
            return Err(Invalid::new(pointer, reason));
        }
        Ok((at, false))
    }

    fn account(
        &self,
        kind: CallKind,
        properties: &Payload<'_>,
        traits: &Payload<'_>,
        context: &Context<'_>,
    ) -> Result<Option<NamedAccount>, Invalid> {
        let payload = match kind {
            CallKind::AccountEvent => return self.own_account().map(Some),
            CallKind::Group => {
                let group = account(&self.group_id, "/groupId", NamedBy::GroupId)?;
                let missing = || Invalid::new("/groupId", "groupId is required in a group call: the account's id");
                return group.ok_or_else(missing).map(Some);
            }
            CallKind::Track | CallKind::Page | CallKind::Screen => Some(properties),
            CallKind::Identify => Some(traits),
            CallKind::Alias => None,
        };
        let explicit = match payload {
            Some(payload) => account(&payload.account_id, payload.account_pointer, NamedBy::AccountId)?,
            None => None,
        };
        match explicit {
            Some(account) => Ok(Some(account)),
            None => account(&context.group_id, "/context/groupId", NamedBy::GroupId),
        }
    }

    fn own_account(&self) -> Result<NamedAccount, Invalid> {
        let by_id = account(&self.account_id, "/account_id", NamedBy::AccountEvent)?;
        let domain = self.domain.name("/domain", MAX_NAME_BYTES)?;
        match (by_id, domain) {
            (Some(account), None) => Ok(account),
            (None, Some(text)) => {
                let domain = WebDomain::new(&text).map_err(|error| Invalid::new("/domain", error.to_string()))?;
                let id = AccountId::new(domain.as_str()).map_err(|error| Invalid::new("/domain", error.to_string()))?;
                Ok(NamedAccount { id, by: NamedBy::AccountEvent })
            }
            (Some(_), Some(_)) => Err(Invalid::new("/domain", "account_id and domain must not both be given: each names the account")),
            (None, None) => Err(Invalid::new("/account_id", "account_id or domain is required: whose event it is")),
        }
    }

    /// Server libraries write a page's category beside `properties`, the browser's into them; rules find it in them.
    fn with_category(&self, kind: CallKind, properties: Payload<'_>) -> Result<Option<JsonObject>, Invalid> {
        if !matches!(kind, CallKind::Page | CallKind::Screen) || properties.has_category {
            return Ok(properties.kept());
        }
        let Some(category) = self.category.name("/category", MAX_NAME_BYTES)? else { return Ok(properties.kept()) };
        let category = serde_json::Value::String(category);
        let kept = properties.kept();
        let text = match kept.as_ref().and_then(|kept| kept.as_str().strip_prefix('{')) {
            Some(rest) => format!("{{\"category\":{category},{rest}"),
            None => format!("{{\"category\":{category}}}"),
        };
        Ok(RawValue::from_string(text).ok().map(JsonObject::from_raw).or(kept))
    }
}

/// Reads a date.
pub(super) fn moment(value: &Scalar<'_>, pointer: &'static str) -> Result<Option<Timestamp>, Invalid> {
    let wrong = |got: String| {
        let reason = format!("{} must be an ISO 8601 date such as `2026-11-21T20:06:54.123Z`, got {got}", named(pointer));
        Invalid::new(pointer, reason)
    };
    match value {
        Scalar::Absent => Ok(None),
        Scalar::Text(text) => Timestamp::parse(text).map(Some).ok_or_else(|| wrong(format!("`{}`", short(text)))),
        Scalar::Number(digits) => Err(wrong(format!("the number `{digits}`"))),
        Scalar::Bool(value) => Err(wrong(format!("`{value}`"))),
        Scalar::Other(words) => Err(wrong((*words).to_owned())),
    }
}

fn account(value: &Scalar<'_>, pointer: &'static str, by: NamedBy) -> Result<Option<NamedAccount>, Invalid> {
    let Some(text) = value.text(pointer)? else { return Ok(None) };
    match AccountId::new(text) {
        Ok(id) => Ok(Some(NamedAccount { id, by })),
        Err(error) => Err(Invalid::new(pointer, error.to_string())),
    }
}

/// `properties` or `traits`: what is read of them, and the text.
#[derive(Debug, Default)]
struct Payload<'a> {
    raw: Option<&'a RawValue>,
    account_pointer: &'static str,
    account_id: Scalar<'a>,
    has_category: bool,
}

impl<'a> Payload<'a> {
    fn read(raw: Option<&'a RawValue>, pointer: &'static str, account_pointer: &'static str) -> Result<Self, Invalid> {
        let read: Option<Self> = object(raw, pointer)?;
        Ok(Self { raw, account_pointer, ..read.unwrap_or_default() })
    }

    fn kept(&self) -> Option<JsonObject> {
        self.raw.and_then(kept)
    }
}

/// `context`: what is read of it, and the text.
#[derive(Debug, Default)]
struct Context<'a> {
    raw: Option<&'a RawValue>,
    direct: bool,
    ip: Scalar<'a>,
    user_agent: Scalar<'a>,
    group_id: Scalar<'a>,
}

impl<'a> Context<'a> {
    fn read(raw: Option<&'a RawValue>) -> Result<Self, Invalid> {
        let read: Option<Self> = object(raw, "/context")?;
        Ok(Self { raw, ..read.unwrap_or_default() })
    }

    fn ip(&self) -> Result<Option<String>, Invalid> {
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
#[serde(field_identifier, rename_all = "camelCase")]
enum CallField {
    Type,
    MessageId,
    UserId,
    AnonymousId,
    PreviousId,
    GroupId,
    Event,
    Name,
    Category,
    #[serde(rename = "account_id")]
    AccountId,
    Domain,
    Timestamp,
    OriginalTimestamp,
    SentAt,
    WriteKey,
    Properties,
    Traits,
    Context,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Call<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Call<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut call = Call::default();
                while let Some(field) = map.next_key()? {
                    let scalar = match field {
                        CallField::Type => &mut call.kind,
                        CallField::MessageId => &mut call.message_id,
                        CallField::UserId => &mut call.user_id,
                        CallField::AnonymousId => &mut call.anonymous_id,
                        CallField::PreviousId => &mut call.previous_id,
                        CallField::GroupId => &mut call.group_id,
                        CallField::Event => &mut call.event,
                        CallField::Name => &mut call.name,
                        CallField::Category => &mut call.category,
                        CallField::AccountId => &mut call.account_id,
                        CallField::Domain => &mut call.domain,
                        CallField::Timestamp => &mut call.timestamp,
                        CallField::OriginalTimestamp => &mut call.original_timestamp,
                        CallField::SentAt => &mut call.sent_at,
                        CallField::WriteKey => &mut call.write_key,
                        CallField::Properties => {
                            call.properties = Some(map.next_value()?);
                            continue;
                        }
                        CallField::Traits => {
                            call.traits = Some(map.next_value()?);
                            continue;
                        }
                        CallField::Context => {
                            call.context = Some(map.next_value()?);
                            continue;
                        }
                        CallField::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *scalar = map.next_value()?;
                }
                Ok(call)
            }
        }
        deserializer.deserialize_map(Read)
    }
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
