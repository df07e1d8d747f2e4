//! A tracked fact as the pipeline carries it: validated, stamped, with the client's own JSON left as it was written.

use crate::{AccountId, Identity, MessageId, Timestamp, hash64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use std::borrow::Cow;

/// Which call of the tracking API made the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    /// Something a person did.
    Track,
    /// What is known of a person.
    Identify,
    /// A web page was seen.
    Page,
    /// A screen of an app was seen.
    Screen,
    /// A person belongs to an account; the traits are the account's.
    Group,
    /// Two ids are one person.
    Alias,
    /// Something an account did, without a known person.
    AccountEvent,
}

/// A JSON object kept as the text in which it came. Empty objects are not stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonObject(Box<RawValue>);

impl JsonObject {
    /// Keeps the object's text; an empty object becomes `None`.
    pub fn from_map(map: &Map<String, Value>) -> Option<Self> {
        if map.is_empty() {
            return None;
        }
        serde_json::value::to_raw_value(map).ok().map(Self)
    }

    /// Keeps text that is already known to be a JSON object.
    pub fn from_raw(raw: Box<RawValue>) -> Self {
        Self(raw)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The whole object as a tree. Text that is no object, or too deep to parse, gives an empty map.
    pub fn to_map(&self) -> Map<String, Value> {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }
}

impl PartialEq for JsonObject {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// One tracked fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// De-duplicates client retries.
    #[serde(rename = "id")]
    pub message_id: MessageId,
    /// Which call made it.
    pub kind: CallKind,
    /// The event's name (track, account event) or the page's or screen's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The known person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The browser or device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// For `alias`: the id that turns out to be the same person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_id: Option<String>,
    /// The account that the event names: `account_id` property, `groupId`, `context.groupId`, or the account event's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<NamedAccount>,
    /// When it happened, corrected for the client's clock; never later than `received_at`.
    #[serde(rename = "at")]
    pub timestamp: Timestamp,
    /// When ingest took it.
    pub received_at: Timestamp,
    /// The client claimed a moment in the future; `timestamp` was clamped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clamped: bool,
    /// By how many milliseconds `timestamp` is later than the moment that the client named; absent when it named none. Copies
    /// of an event may be corrected differently, but name the same moment.
    #[serde(rename = "skew", default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    /// The address of the request, or of `context.ip` when `context.direct` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The user agent of the request, or of the context when `context.direct` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// `properties` as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// `traits` as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traits: Option<JsonObject>,
    /// `context` as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<JsonObject>,
}

/// An account that an event names outright.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAccount {
    /// The account.
    pub id: AccountId,
    /// Where the event named it.
    pub by: NamedBy,
}

/// Where an event names its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// The property `account_id`.
    AccountId,
    /// `groupId` of a group call, or `context.groupId` of any call.
    GroupId,
    /// An account event's `account_id` or `domain`.
    AccountEvent,
}

impl Event {
    /// Whose event this is: the user id, else the anonymous id, else the account of an account event.
    pub fn identity(&self) -> Option<Identity> {
        match (&self.user_id, &self.anonymous_id, &self.account) {
            (Some(user), _, _) => Some(Identity::user(user)),
            (None, Some(anonymous), _) => Some(Identity::anonymous(anonymous)),
            (None, None, Some(account)) => Some(Identity::account(&account.id)),
            (None, None, None) => None,
        }
    }

    /// The order in which facts about one thing supersede each other: time, then a digest of the message id.
    pub fn order(&self) -> Order {
        Order { at: self.timestamp, tie: self.id_hash() }
    }

    /// The moment that the client named: the same in every copy of the event.
    pub fn claimed_at(&self) -> Option<Timestamp> {
        self.skew_ms.map(|skew| self.timestamp.plus_millis(skew.saturating_neg()))
    }

    /// 64 bits of digest of the message id.
    pub fn id_hash(&self) -> u64 {
        hash64(&[self.message_id.as_str().as_bytes()])
    }

    /// The name by which rules know the event, folded by [`fold_name`]. A page call is `pageview`, a screen call `screenview`.
    pub fn folded_name(&self) -> Cow<'_, str> {
        match self.kind {
            CallKind::Track | CallKind::AccountEvent => self.name.as_deref().map(folded).unwrap_or_default(),
            CallKind::Page => Cow::Borrowed("pageview"),
            CallKind::Screen => Cow::Borrowed("screenview"),
            CallKind::Identify => Cow::Borrowed("identify"),
            CallKind::Group => Cow::Borrowed("group"),
            CallKind::Alias => Cow::Borrowed("alias"),
        }
    }

    /// Whether the event was at most a day old when it was taken. Only fresh events notify anybody.
    pub fn is_fresh(&self) -> bool {
        self.received_at.millis_since(self.timestamp) <= crate::DAY_MS
    }
}

/// When a fact was stated, and a stable tie-breaker for facts of the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Order {
    /// When it was stated.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// A digest of the message that stated it.
    #[serde(rename = "h")]
    pub tie: u64,
}

/// Folds an event name so that `Page View`, `page_view` and `page-view` are one.
pub fn fold_name(name: &str) -> String {
    folded(name).into_owned()
}

/// As [`fold_name`]; a name that is folded already is not copied.
pub fn folded(name: &str) -> Cow<'_, str> {
    let parts = |byte: &u8| matches!(byte, b' ' | b'_' | b'-');
    if !name.is_ascii() {
        return name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).flat_map(char::to_lowercase).collect();
    }
    if name.bytes().all(|byte| !parts(&byte) && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let mut folded = String::with_capacity(name.len());
    folded.extend(name.bytes().filter(|byte| !parts(byte)).map(|byte| char::from(byte.to_ascii_lowercase())));
    Cow::Owned(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_folded_character_by_character(name in "[a-zA-Z _-]{0,12}|[a-z]{0,8}|\\PC{0,12}") {
            let expected: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).flat_map(char::to_lowercase).collect();
            prop_assert_eq!(fold_name(&name), expected);
        }
    }

    #[test]
    fn event_names_match_without_case_spaces_and_dashes() {
        for name in ["Page View", "page_view", "PAGE-VIEW", "pageview"] {
            assert_eq!(fold_name(name), "pageview");
        }
    }
}
