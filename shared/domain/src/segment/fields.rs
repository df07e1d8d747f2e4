//! Finds the fields of a call in its JSON.

use super::{
    Call, MAX_DEPTH,
    object::{Context, Object, Payload},
    scalar::Scalar,
};
use crate::scan::Scanner;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

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

impl<'a> Call<'a> {
    /// Finds the fields of the next value, an object. `None` leaves the text to the parser.
    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut call = Self::default();
        scanner.object(|scanner, key| {
            let scalar = match key {
                "type" => &mut call.kind,
                "messageId" => &mut call.message_id,
                "userId" => &mut call.user_id,
                "anonymousId" => &mut call.anonymous_id,
                "previousId" => &mut call.previous_id,
                "groupId" => &mut call.group_id,
                "event" => &mut call.event,
                "name" => &mut call.name,
                "category" => &mut call.category,
                "account_id" => &mut call.account_id,
                "domain" => &mut call.domain,
                "timestamp" => &mut call.timestamp,
                "originalTimestamp" => &mut call.original_timestamp,
                "sentAt" => &mut call.sent_at,
                "writeKey" => &mut call.write_key,
                other => {
                    match other {
                        "properties" => call.properties = Payload::scan(scanner)?,
                        "traits" => call.traits = Payload::scan(scanner)?,
                        "context" => call.context = Context::scan(scanner)?,
                        _ => drop(scanner.value(MAX_DEPTH)?),
                    }
                    return Some(());
                }
            };
            *scalar = Scalar::scan(scanner)?;
            Some(())
        })?;
        Some(call)
    }
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
                    let scalar: &mut Scalar<'de> = match field {
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
                            call.properties = Object::found(map.next_value()?);
                            continue;
                        }
                        CallField::Traits => {
                            call.traits = Object::found(map.next_value()?);
                            continue;
                        }
                        CallField::Context => {
                            call.context = Object::found(map.next_value()?);
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
