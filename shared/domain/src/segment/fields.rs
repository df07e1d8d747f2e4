//! Finds the fields of a call in its JSON.

use super::{Call, scalar::Scalar};
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
