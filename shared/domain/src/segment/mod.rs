//! Calls of the public Segment tracking API: their JSON, checked, becomes [`Event`]s.
//!
//! `properties`, `traits` and `context` stay the text that the client wrote; what is read inside them is what decides
//! about identity and account. All of it is walked once, so that a later stage never meets text that it can't parse.
//!
//! ```
//! use domain::segment::{Call, Origin};
//! use domain::{CallKind, MessageId, Timestamp};
//!
//! let body = r#"{"userId": 42, "event": "Demo Requested", "properties": {"account_id": "acct_1"}}"#;
//! let origin = Origin { received_at: Timestamp::from_millis(1_772_442_000_000), ip: None, user_agent: None };
//! let event = Call::parse(body)?.event(CallKind::Track, &origin, || MessageId::new("made-here"))?;
//! assert_eq!(event.user_id.as_deref(), Some("42"));
//! assert_eq!(event.account.map(|account| account.id.to_string()).as_deref(), Some("acct_1"));
//! # Ok::<(), domain::segment::CallError>(())
//! ```

mod batch;
mod call;
mod fields;
mod mend;
mod object;
mod scalar;

pub use batch::{Batch, Item};
pub use call::{Call, Origin};
pub use mend::mend;

use std::borrow::Cow;
use thiserror::Error;

/// The most bytes of one call, and of one item of a batch.
pub const MAX_CALL_BYTES: usize = 32 * 1024;
/// The most bytes of a batch.
pub const MAX_BATCH_BYTES: usize = 500 * 1024;
/// The most items of a batch.
pub const MAX_BATCH_ITEMS: usize = 2_500;
/// The most bytes of a `userId`, `anonymousId` or `previousId`.
pub const MAX_ID_BYTES: usize = 512;
/// The most bytes of an event's, page's or screen's name.
pub const MAX_NAME_BYTES: usize = 512;
/// A `messageId` has fewer characters than this.
pub const MESSAGE_ID_CHARS: usize = 100;
/// How many levels of objects and arrays `properties`, `traits` and `context` may have.
pub const MAX_DEPTH: usize = 64;

/// Why a call or a batch item is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Invalid {
    /// The field at fault as a JSON pointer into the call; empty for the call as a whole.
    pub pointer: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Invalid {
    fn new(pointer: &'static str, reason: impl Into<String>) -> Self {
        Self { pointer: Cow::Borrowed(pointer), reason: reason.into() }
    }
}

/// Why a body is no call, or no batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The text is not JSON.
    #[error("the body is not valid JSON: {reason}")]
    NotJson {
        /// What the parser stumbled over and where; never any of the text.
        reason: String,
    },
    /// It is JSON, with something wrong in it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is more than is taken at once.
    #[error("{reason}")]
    TooLarge {
        /// What is too large, and the limit.
        reason: String,
    },
}

impl CallError {
    /// The parser's own words hold data only when a value has the wrong type, and types are never left to the parser here.
    fn unread(error: &serde_json::Error) -> Self {
        if error.is_data() {
            return Self::Invalid(Invalid::new("", format!("the body can't be read: {error}")));
        }
        Self::NotJson { reason: error.to_string() }
    }
}

/// The first characters of a text, as an error message may show them.
fn short(text: &str) -> String {
    let mut out: String = text.chars().take(40).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// What a JSON text is, in words. The text must not begin with white space.
fn shape(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "`null`",
        Some(_) => "a number",
        None => "nothing",
    }
}

#[cfg(test)]
mod tests;
