//! Write keys and API tokens: stored hashed, looked up by hash. A workspace is known only through one of them.

use crate::{
    clock::Clock,
    records,
    store::{Condition, Consistency, Item, Key, Store, StoreError, Table, Write},
};
use domain::{Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// What a credential may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Send tracking calls.
    WriteKey,
    /// Use the API.
    ApiToken,
}

/// A stored credential. The secret itself is not stored, only a digest, which is its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// What it opens.
    pub workspace: WorkspaceId,
    /// What it may do.
    pub kind: CredentialKind,
    /// What a person called it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stopped being valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

fn key(secret: &str) -> Key {
    Key::new(Table::Config, format!("KEY#{}", hex::encode(Sha256::digest(secret.as_bytes()))), "-")
}

/// How long an answer about a credential is believed.
const CACHE_MS: i64 = 60_000;
/// How many answers are remembered, so that guesses can't fill the memory.
const CACHE_ENTRIES: usize = 10_000;

/// Looks credentials up, remembering answers for a minute.
#[derive(Debug)]
pub struct Credentials<S, C> {
    store: S,
    clock: C,
    cache: Mutex<HashMap<String, (Timestamp, Option<Credential>)>>,
}

impl<S: Store, C: Clock> Credentials<S, C> {
    /// Over this store.
    pub fn new(store: S, clock: C) -> Self {
        Self { store, clock, cache: Mutex::new(HashMap::new()) }
    }

    /// The valid credential of this kind whose secret is `secret`.
    pub async fn find(&self, secret: &str, kind: CredentialKind) -> Result<Option<Credential>, StoreError> {
        if secret.is_empty() || secret.len() > 512 {
            return Ok(None);
        }
        let now = self.clock.now();
        let key = key(secret);
        let known = {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.get(&key.pk).filter(|(at, _)| (0..CACHE_MS).contains(&now.millis_since(*at))).map(|(_, found)| found.clone())
        };
        let found = match known {
            Some(found) => found,
            None => {
                let item = self.store.read(&key, Consistency::Eventual).await?;
                let found = item.as_ref().map(records::from_item::<Credential>).transpose()?;
                let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                if cache.len() >= CACHE_ENTRIES {
                    cache.clear();
                }
                cache.insert(key.pk, (now, found.clone()));
                found
            }
        };
        Ok(found.filter(|credential| credential.kind == kind && credential.revoked_at.is_none()))
    }

    /// Stores a credential for `secret`; one that is there already is replaced.
    pub async fn put(&self, secret: &str, credential: &Credential) -> Result<(), StoreError> {
        let key = key(secret);
        let item = Item { body: records::text(&key, credential)?, key: key.clone(), version: 1, expires_at: None };
        self.store.write(Write::Put(item, Condition::Always)).await?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.pk);
        Ok(())
    }
}
