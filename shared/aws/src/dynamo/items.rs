//! How an item looks as attributes.

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use domain::Timestamp;
use pipeline::{Body, Item, Key, StoreError, Table, store::Condition};
use std::collections::HashMap;

type Attributes = HashMap<String, AttributeValue>;

/// The attributes that name an item.
pub fn key_attributes(key: &Key) -> Attributes {
    HashMap::from([("pk".to_owned(), AttributeValue::S(key.pk.clone())), ("sk".to_owned(), AttributeValue::S(key.sk.clone()))])
}

/// All attributes of an item.
pub fn attributes(item: &Item) -> Attributes {
    let mut attributes = key_attributes(&item.key);
    attributes.insert("v".to_owned(), AttributeValue::N(item.version.to_string()));
    let body = match &item.body {
        Body::Text(text) => AttributeValue::S(text.clone()),
        Body::Bytes(bytes) => AttributeValue::B(Blob::new(bytes.as_slice())),
    };
    attributes.insert("d".to_owned(), body);
    if let Some(at) = item.expires_at {
        // Rounded up, so that nothing is removed early.
        attributes.insert("ttl".to_owned(), AttributeValue::N(at.plus_millis(999).seconds().to_string()));
    }
    attributes
}

/// Reads an item from its attributes.
pub fn item(table: Table, mut attributes: Attributes) -> Result<Item, StoreError> {
    let mut text = |name: &str| match attributes.remove(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    };
    let (pk, sk) = (text("pk"), text("sk"));
    let key = Key { table, pk: pk.unwrap_or_default(), sk: sk.unwrap_or_default() };
    let corrupt = |what: &'static str, source: &str| StoreError::Corrupt { key: Box::new(key.clone()), what, source: source.into() };
    let number = |value: &AttributeValue| value.as_n().ok().and_then(|n| n.parse::<i64>().ok());
    let version = attributes.get("v").and_then(number).and_then(|v| u64::try_from(v).ok());
    let version = version.ok_or_else(|| corrupt("versioned item", "its attribute `v` is no whole number"))?;
    let body = match attributes.remove("d") {
        Some(AttributeValue::S(text)) => Body::Text(text),
        Some(AttributeValue::B(blob)) => Body::Bytes(blob.into_inner()),
        _ => return Err(corrupt("versioned item", "its attribute `d` is neither text nor bytes")),
    };
    let expires_at = attributes.get("ttl").and_then(number).map(|s| Timestamp::from_millis(s.saturating_mul(1000)));
    Ok(Item { key, version, body, expires_at })
}

/// A condition as an expression with its values.
pub fn condition(condition: Condition) -> (Option<String>, Option<Attributes>) {
    match condition {
        Condition::Always => (None, None),
        Condition::Absent => (Some("attribute_not_exists(pk)".to_owned()), None),
        Condition::Version(version) => {
            let values = HashMap::from([(":v".to_owned(), AttributeValue::N(version.to_string()))]);
            (Some("v = :v".to_owned()), Some(values))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_that_is_not_ours_is_reported_with_its_key() {
        let mut attributes = key_attributes(&Key::new(Table::Config, "p", "s"));
        attributes.insert("v".to_owned(), AttributeValue::S("1".to_owned()));
        let error = item(Table::Config, attributes).unwrap_err();
        assert_eq!(error.to_string(), "the item `p` / `s` can't be read as a versioned item");
    }

    #[test]
    fn an_item_expires_no_earlier_than_its_moment() {
        let key = Key::new(Table::Config, "p", "s");
        let at = Timestamp::from_millis(1_500);
        let item = Item { key, version: 1, body: Body::Text(String::new()), expires_at: Some(at) };
        assert_eq!(attributes(&item).get("ttl"), Some(&AttributeValue::N("2".to_owned())));
    }
}
