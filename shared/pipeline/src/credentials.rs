//! Write keys and API tokens: stored hashed, looked up by hash. A workspace is known only through one of them.

use crate::{
    clock::Clock,
    homes::put_record,
    records,
    store::{Condition, Consistency, Item, Key, Scan, Store, StoreError, Table, Write},
};
use domain::{Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};
use thiserror::Error;

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

/// What the partitions of credentials begin with; the digest of the secret follows.
const PREFIX: &str = "KEY#";

fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

fn key(secret: &str) -> Key {
    Key::new(Table::Config, format!("{PREFIX}{}", digest(secret)), "-")
}

/// Names a stored credential without telling its secret: the first 12 hexadecimal digits of the secret's digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialId(String);

impl CredentialId {
    const DIGITS: usize = 12;

    /// The id of the credential with this secret.
    pub fn of(secret: &str) -> Self {
        Self::begins(&digest(secret))
    }

    fn begins(digest: &str) -> Self {
        Self(digest.chars().take(Self::DIGITS).collect())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// It has not 12 hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, domain::IdError> {
        let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == Self::DIGITS && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(domain::IdError::Form { what: "key id", expected: "12 hexadecimal digits", got: text.chars().take(64).collect() })
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a credential was not revoked.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// There is none with this id.
    #[error("there is no key with the id `{id}`")]
    Unknown {
        /// The id.
        id: CredentialId,
    },
    /// Several have this id, which is next to impossible.
    #[error("several keys have the id `{id}`")]
    Ambiguous {
        /// The id.
        id: CredentialId,
    },
    /// The store failed; a conflict means that somebody else changed it.
    #[error(transparent)]
    Store(#[from] StoreError),
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

    /// The credential whose secret is `secret` as it is stored, of whatever kind and even if it is revoked.
    pub async fn stored(&self, secret: &str) -> Result<Option<Credential>, StoreError> {
        self.store.read(&key(secret), Consistency::Strong).await?.as_ref().map(records::from_item).transpose()
    }

    /// Every credential, in the order in which they were made. Reads the whole configuration; one that was made a moment ago may be missing.
    pub async fn list(&self) -> Result<Vec<(CredentialId, Credential)>, StoreError> {
        let found = self.all().await?;
        let mut list = found
            .iter()
            .map(|(id, item)| Ok((id.clone(), records::from_item::<Credential>(item)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        list.sort_by(|(a, of_a), (b, of_b)| of_a.created_at.cmp(&of_b.created_at).then_with(|| a.cmp(b)));
        Ok(list)
    }

    async fn all(&self) -> Result<Vec<(CredentialId, Item)>, StoreError> {
        let (mut scan, mut found) = (Scan::segment(Table::Config, 0, 1), Vec::new());
        loop {
            let page = self.store.scan(&scan).await?;
            let named = |item: Item| item.key.pk.strip_prefix(PREFIX).map(CredentialId::begins).map(|id| (id, item));
            found.extend(page.items.into_iter().filter_map(named));
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Ends a credential: who remembers it believes it for another minute at most. One that is revoked already stays as it is. Answers it as it is
    /// stored now.
    ///
    /// # Errors
    /// There is none with this id, or the store failed.
    pub async fn revoke(&self, id: &CredentialId) -> Result<Credential, RevokeError> {
        let mut found = self.all().await?.into_iter().filter(|(known, _)| known == id).map(|(_, item)| item.key);
        let key = found.next().ok_or_else(|| RevokeError::Unknown { id: id.clone() })?;
        if found.next().is_some() {
            return Err(RevokeError::Ambiguous { id: id.clone() });
        }
        // What the scan saw may be old.
        let item = self.store.read(&key, Consistency::Strong).await?.ok_or_else(|| RevokeError::Unknown { id: id.clone() })?;
        let mut credential: Credential = records::from_item(&item)?;
        if credential.revoked_at.is_none() {
            credential.revoked_at = Some(self.clock.now());
            self.store.write(put_record(key.clone(), item.version, &credential)?).await?;
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.pk);
        }
        Ok(credential)
    }

    /// Looks whether keys can be read at all, past everything that is remembered.
    pub async fn reachable(&self) -> Result<(), StoreError> {
        self.store.read(&Key::new(Table::Config, "KEY#health", "-"), Consistency::Eventual).await.map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, memory::MemoryStore};
    use std::sync::Arc;

    fn given() -> (Arc<MemoryStore>, Arc<ManualClock>, Credentials<Arc<MemoryStore>, Arc<ManualClock>>) {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::at(Timestamp::from_millis(1_000))));
        let credentials = Credentials::new(Arc::clone(&store), Arc::clone(&clock));
        (store, clock, credentials)
    }

    fn credential(name: &str, at: i64) -> Credential {
        let workspace = WorkspaceId::new("main").unwrap();
        let created_at = Timestamp::from_millis(at);
        Credential { workspace, kind: CredentialKind::WriteKey, name: name.to_owned(), created_at, revoked_at: None }
    }

    #[tokio::test]
    async fn keys_are_listed_by_the_beginning_of_their_digest_in_the_order_in_which_they_were_made() {
        let (store, _, credentials) = given();
        credentials.put("wk_second", &credential("second", 2)).await.unwrap();
        credentials.put("abc", &credential("first", 1)).await.unwrap();
        let other =
            Item { key: Key::new(Table::Config, "main", "trigger#t"), version: 1, body: crate::Body::Text("{}".into()), expires_at: None };
        store.write(Write::Put(other, Condition::Always)).await.unwrap();
        let list = credentials.list().await.unwrap();
        // SHA-256 of `abc`, from FIPS 180-4's examples.
        assert_eq!(list[0].0.to_string(), "ba7816bf8f01");
        assert_eq!(list.iter().map(|(_, known)| known.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(list[1].0, CredentialId::of("wk_second"));
        assert!(!format!("{list:?} {:?}", store.dump()).contains("wk_second"));
    }

    #[tokio::test]
    async fn a_revoked_key_opens_nothing_and_stays_on_the_list() {
        let (_, clock, credentials) = given();
        credentials.put("abc", &credential("first", 1)).await.unwrap();
        assert!(credentials.find("abc", CredentialKind::WriteKey).await.unwrap().is_some());
        let id = CredentialId::new("ba7816bf8f01").unwrap();
        let revoked = credentials.revoke(&id).await.unwrap();
        assert_eq!(revoked.revoked_at, Some(Timestamp::from_millis(1_000)));
        assert_eq!(credentials.find("abc", CredentialKind::WriteKey).await.unwrap(), None);
        assert_eq!(credentials.stored("abc").await.unwrap(), Some(revoked.clone()));
        // Once is enough.
        clock.advance(5_000);
        assert_eq!(credentials.revoke(&id).await.unwrap(), revoked);
        assert_eq!(credentials.list().await.unwrap(), [(id, revoked)]);
    }

    #[tokio::test]
    async fn another_process_believes_a_revoked_key_for_a_minute_at_most() {
        let (store, clock, credentials) = given();
        let elsewhere = Credentials::new(Arc::clone(&store), Arc::clone(&clock));
        credentials.put("abc", &credential("first", 1)).await.unwrap();
        assert!(elsewhere.find("abc", CredentialKind::WriteKey).await.unwrap().is_some());
        credentials.revoke(&CredentialId::of("abc")).await.unwrap();
        clock.advance(60_000);
        assert_eq!(elsewhere.find("abc", CredentialKind::WriteKey).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_id_that_names_no_key_is_said_to() {
        let (_, _, credentials) = given();
        let error = credentials.revoke(&CredentialId::of("abc")).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no key with the id `ba7816bf8f01`");
        for wrong in ["", "ba7816bf8f0", "ba7816bf8f012", "BA7816BF8F01", "wk_816bf8f01"] {
            let error = CredentialId::new(wrong).unwrap_err().to_string();
            assert!(error.contains("12 hexadecimal digits"), "{error}");
        }
    }
}
