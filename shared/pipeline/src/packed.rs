//! Configuration documents as they are stored: JSON, packed, because a model with a thousand rules is larger than an item may be.

use crate::{
    pack::{pack, unpack},
    store::{Body, Item, Key, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The most KB of a packed document: an item may have 400.
pub const MOST_KIB: usize = 350;

/// A document that is too large to be stored, even packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it has {kib} KB packed, at most {MOST_KIB} fit: fewer or shorter rules would")]
pub struct TooLarge {
    /// Its size in KB, rounded up.
    pub kib: usize,
}

/// Packs a record. An error of the kind `Refused` whose source is [`TooLarge`] says that it does not fit an item.
pub fn packed<T: Serialize>(key: &Key, record: &T) -> Result<Body, StoreError> {
    let corrupt = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Corrupt {
        key: Box::new(key.clone()),
        what: std::any::type_name::<T>(),
        source,
    };
    let json = serde_json::to_vec(record).map_err(|e| corrupt(Box::new(e)))?;
    let bytes = pack(&json).map_err(|e| corrupt(Box::new(e)))?;
    let kib = bytes.len().div_ceil(1_024);
    if kib > MOST_KIB {
        return Err(StoreError::Refused { source: Box::new(TooLarge { kib }) });
    }
    Ok(Body::Bytes(bytes))
}

/// Reads what [`packed`] made, and JSON text, which earlier builds wrote.
pub fn from_packed<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    let corrupt = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Corrupt {
        key: Box::new(item.key.clone()),
        what: std::any::type_name::<T>(),
        source,
    };
    match &item.body {
        Body::Text(text) => serde_json::from_str(text).map_err(|e| corrupt(Box::new(e))),
        Body::Bytes(bytes) => {
            let json = unpack(bytes).map_err(|e| corrupt(Box::new(e)))?;
            serde_json::from_slice(&json).map_err(|e| corrupt(Box::new(e)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;

    fn item(body: Body) -> Item {
        Item { key: Key::new(Table::Config, "main", "model"), version: 1, body, expires_at: None }
    }

    #[test]
    fn packed_documents_and_older_text_are_read_alike() {
        let numbers: Vec<u32> = (0..5_000).collect();
        let key = Key::new(Table::Config, "main", "model");
        let body = packed(&key, &numbers).unwrap();
        assert!(body.len() < 15_000, "{}", body.len());
        assert_eq!(from_packed::<Vec<u32>>(&item(body)).unwrap(), numbers);
        let text = Body::Text(serde_json::to_string(&numbers).unwrap());
        assert_eq!(from_packed::<Vec<u32>>(&item(text)).unwrap(), numbers);
        assert!(from_packed::<Vec<u32>>(&item(Body::Bytes(b"{}".to_vec()))).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_size() {
        // Digests can't be compressed: 12,000 of 64 hexadecimal digits hold 32 bytes each, which is 375 KB.
        let digests: Vec<String> = (0..12_000_u32).map(|n| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(n.to_le_bytes()))).collect();
        let error = packed(&Key::new(Table::Config, "main", "model"), &digests).unwrap_err();
        let StoreError::Refused { source } = error else { panic!("{error}") };
        let kib = source.downcast_ref::<TooLarge>().unwrap().kib;
        assert!((375..500).contains(&kib), "{kib}");
    }
}
