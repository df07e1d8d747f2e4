//! One call.

use super::{
    CallError, Invalid, MAX_ID_BYTES, MAX_NAME_BYTES, MESSAGE_ID_CHARS,
    object::{Context, Object, Payload},
    scalar::{Scalar, named},
    shape, short,
};
use crate::mail::WebDomain;
use crate::scan::Scanner;
use crate::{AccountId, CallKind, Event, IdError, JsonObject, MessageId, NamedAccount, NamedBy, Timestamp};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

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
#[derive(Debug, Clone, Default)]
pub struct Call<'a> {
    pub(super) kind: Scalar<'a>,
    pub(super) message_id: Scalar<'a>,
    pub(super) user_id: Scalar<'a>,
    pub(super) anonymous_id: Scalar<'a>,
    pub(super) previous_id: Scalar<'a>,
    pub(super) group_id: Scalar<'a>,
    pub(super) event: Scalar<'a>,
    pub(super) name: Scalar<'a>,
    pub(super) category: Scalar<'a>,
    pub(super) account_id: Scalar<'a>,
    pub(super) domain: Scalar<'a>,
    pub(super) timestamp: Scalar<'a>,
    pub(super) original_timestamp: Scalar<'a>,
    pub(super) sent_at: Scalar<'a>,
    pub(super) write_key: Scalar<'a>,
    pub(super) properties: Object<'a, Payload<'a>>,
    pub(super) traits: Object<'a, Payload<'a>>,
    pub(super) context: Object<'a, Context<'a>>,
    pub(super) batch_sent_at: Option<Timestamp>,
}

/// When something happened.
struct Moment {
    /// By our clock.
    at: Timestamp,
    /// The client claimed a later moment than this one.
    clamped: bool,
    /// `at` minus the moment that the client named.
    skew_ms: Option<i64>,
}

impl<'a> Call<'a> {
    /// Finds the fields of a JSON object.
    pub fn parse(text: &'a str) -> Result<Self, CallError> {
        let text = text.trim_ascii();
        if text.starts_with('{') {
            let mut scanner = Scanner::new(text);
            if let Some(call) = Self::scan(&mut scanner).filter(|_| scanner.at_end()) {
                return Ok(call);
            }
            return serde_json::from_str(text).map_err(|error| CallError::unread(&error));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| CallError::unread(&error))?;
        Err(Invalid::new("", format!("a call must be a JSON object, got {}", shape(text))).into())
    }

    /// What the batch around the call says for calls that say nothing themselves.
    pub(super) fn within(mut self, sent_at: Option<Timestamp>, context: &Object<'a, Context<'a>>) -> Self {
        self.batch_sent_at = sent_at;
        if let Object::Absent = self.context {
            self.context = context.clone();
        }
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
        let context = Context::read(&self.context)?;
        let properties = Payload::read(&self.properties, "/properties", "/properties/account_id")?;
        let traits = Payload::read(&self.traits, "/traits", "/traits/account_id")?;
        let (user_id, anonymous_id) = self.person(kind)?;
        let Moment { at: timestamp, clamped, skew_ms } = self.moment(origin.received_at)?;
        let (ip, user_agent) = if context.direct {
            (context.ip()?, context.user_agent.bounded("/context/userAgent", MAX_NAME_BYTES)?)
        } else {
            (origin.ip.map(str::to_owned), origin.user_agent.map(first_characters))
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
            skew_ms,
            ip,
            user_agent,
            properties: self.with_category(kind, properties)?,
            traits: traits.kept(),
            context: context.kept(),
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

    /// When it happened.
    fn moment(&self, received_at: Timestamp) -> Result<Moment, Invalid> {
        let original = moment(&self.original_timestamp, "/originalTimestamp")?;
        let stated = moment(&self.timestamp, "/timestamp")?;
        let sent_at = moment(&self.sent_at, "/sentAt")?.or(self.batch_sent_at);
        let (claimed, pointer) = match (original, stated) {
            (Some(claimed), _) => (claimed, "/originalTimestamp"),
            (None, Some(claimed)) => (claimed, "/timestamp"),
            (None, None) => return Ok(Moment { at: received_at, clamped: false, skew_ms: None }),
        };
        // Both were read off the same clock, so that their difference is right however wrong the clock is.
        let at = sent_at.map_or(claimed, |sent| received_at.plus_millis(claimed.millis_since(sent)));
        if at > received_at {
            return Ok(Moment { at: received_at, clamped: true, skew_ms: Some(received_at.millis_since(claimed)) });
        }
        if at.millis() < 0 {
            let reason = format!("{} must not be before 1970-01-01T00:00:00Z, got `{at}`", named(pointer));
            return Err(Invalid::new(pointer, reason));
        }
        Ok(Moment { at, clamped: false, skew_ms: Some(at.millis_since(claimed)) })
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

/// As much of a user agent as is kept.
fn first_characters(text: &str) -> String {
    if text.len() <= MAX_NAME_BYTES { text.to_owned() } else { text.chars().take(MAX_NAME_BYTES).collect() }
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
