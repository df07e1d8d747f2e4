//! The scoring model of each workspace, remembered for a short while.

use crate::{
    clock::Clock,
    packed::{from_packed, packed},
    store::{Condition, Consistency, Item, Key, Query, Store, StoreError, Table, Write},
};
use domain::{
    Timestamp, WorkspaceId,
    model::{Model, ModelDocument, default_model},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How long a model is believed to be the current one.
pub const CACHE_MS: i64 = 30_000;

/// Where the published model of a workspace is kept.
pub fn model_key(workspace: &WorkspaceId) -> Key {
    Key::new(Table::Config, workspace.as_str(), "model")
}

const PAST: &str = "model-at#";

/// Where a model that is or was in force is kept for ever.
fn past_key(workspace: &WorkspaceId, version: u64) -> Key {
    Key::new(Table::Config, workspace.as_str(), format!("{PAST}{version:010}"))
}

/// A model that is or was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastModel {
    /// Since when.
    pub at: Timestamp,
    /// The model.
    pub document: ModelDocument,
}

/// The writes that put a model into force over the one that is stored as `stored` (0: none is), and keep it for ever.
pub(crate) fn model_writes(
    workspace: &WorkspaceId,
    stored: u64,
    document: &ModelDocument,
    now: Timestamp,
) -> Result<Vec<Write>, StoreError> {
    let key = model_key(workspace);
    let body = packed(&key, document)?;
    let in_force = Item { key, version: document.version, body, expires_at: None };
    let key = past_key(workspace, document.version);
    let body = packed(&key, &PastModel { at: now, document: document.clone() })?;
    // The condition on the model in force guards both.
    let past = Item { key, version: 1, body, expires_at: None };
    Ok(vec![Write::Put(in_force, crate::homes::unchanged(stored)), Write::Put(past, Condition::Always)])
}

/// A model that was in force; the built-in one when that version was not published.
pub(crate) async fn past_model<S: Store>(store: &S, workspace: &WorkspaceId, version: u64) -> Result<ModelDocument, StoreError> {
    match store.read(&past_key(workspace, version), Consistency::Strong).await? {
        Some(item) => Ok(from_packed::<PastModel>(&item)?.document),
        None => domain::model::default_document().map_err(|e| StoreError::Refused { source: Box::new(e) }),
    }
}

/// Reads models. A workspace that has published none uses the default.
#[derive(Debug)]
pub struct Models<S, C> {
    store: S,
    clock: C,
    cache: Mutex<HashMap<WorkspaceId, (Timestamp, Arc<Model>)>>,
}

impl<S: Store, C: Clock> Models<S, C> {
    /// Over this store.
    pub fn new(store: S, clock: C) -> Self {
        Self { store, clock, cache: Mutex::new(HashMap::new()) }
    }

    /// The workspace's model; at most half a minute old.
    pub async fn current(&self, workspace: &WorkspaceId) -> Result<Arc<Model>, StoreError> {
        self.at_least(workspace, 0).await
    }

    /// The workspace's model as it is now, whatever is remembered: for whoever is about to change it.
    pub async fn latest(&self, workspace: &WorkspaceId) -> Result<Arc<Model>, StoreError> {
        self.at_least(workspace, u64::MAX).await
    }

    /// The workspace's model, read again when the remembered one is older than version `version`.
    pub async fn at_least(&self, workspace: &WorkspaceId, version: u64) -> Result<Arc<Model>, StoreError> {
        let now = self.clock.now();
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, model)) = cache.get(workspace)
                && (0..CACHE_MS).contains(&now.millis_since(*at))
                && model.version() >= version
            {
                return Ok(Arc::clone(model));
            }
        }
        let key = model_key(workspace);
        let refused = |source: String| StoreError::Refused { source: source.into() };
        let default = default_model().map_err(|e| refused(e.to_string()))?;
        let remembered = self.remembered(workspace).filter(|known| !Arc::ptr_eq(known, default));
        let model = match self.store.read(&key, Consistency::Strong).await? {
            None => Arc::clone(default),
            Some(item) => match remembered.filter(|known| known.version() == item.version) {
                // Nothing was published: compiling it again would come to the same.
                Some(known) => known,
                None => {
                    let document: ModelDocument = from_packed(&item)?;
                    let corrupt = |e| StoreError::Corrupt { key: Box::new(key.clone()), what: "model", source: Box::new(e) };
                    Arc::new(Model::compile(document).map_err(corrupt)?)
                }
            },
        };
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(workspace.clone(), (now, Arc::clone(&model)));
        Ok(model)
    }

    fn remembered(&self, workspace: &WorkspaceId) -> Option<Arc<Model>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(workspace).map(|(_, model)| Arc::clone(model))
    }

    /// Forgets what is remembered, because something was published by another way than [`Self::publish`].
    pub fn forget(&self, workspace: &WorkspaceId) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(workspace);
    }

    /// The model that was in force at a moment, as it was published then; the built-in one (since the beginning of time) when none had been.
    pub async fn history_at(&self, workspace: &WorkspaceId, at: Timestamp) -> Result<PastModel, StoreError> {
        let mut query = Query::partition(Table::Config, workspace.as_str()).prefix(PAST).descending().limit(4);
        loop {
            let page = self.store.query(&query).await?;
            for item in &page.items {
                let past: PastModel = from_packed(item)?;
                if past.at <= at {
                    return Ok(past);
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let document = domain::model::default_document().map_err(|e| StoreError::Refused { source: Box::new(e) })?;
        Ok(PastModel { at: Timestamp::default(), document })
    }

    /// Publishes a whole model, whatever rulesets it is made of: its version must be one more than the current one's. Starts no job.
    pub async fn publish(&self, workspace: &WorkspaceId, document: &ModelDocument) -> Result<(), StoreError> {
        let stored = self.store.read(&model_key(workspace), Consistency::Strong).await?.map_or(0, |item| item.version);
        self.store.transact(model_writes(workspace, stored, document, self.clock.now())?).await?;
        self.forget(workspace);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, memory::MemoryStore, store::Body};
    use domain::model::default_document;

    fn models() -> (Models<Arc<MemoryStore>, Arc<ManualClock>>, Arc<MemoryStore>, Arc<ManualClock>, WorkspaceId) {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000))));
        (Models::new(Arc::clone(&store), Arc::clone(&clock)), store, clock, WorkspaceId::new("main").unwrap())
    }

    #[tokio::test]
    async fn a_model_that_an_earlier_build_stored_as_text_is_read_and_replaced() {
        let (models, store, _, main) = models();
        let mut document = default_document().unwrap();
        document.version = 2;
        let body = Body::Text(serde_json::to_string(&document).unwrap());
        let item = Item { key: model_key(&main), version: 2, body, expires_at: None };
        store.write(Write::Put(item, Condition::Absent)).await.unwrap();
        assert_eq!(models.current(&main).await.unwrap().document, document);
        document.version = 3;
        models.publish(&main, &document).await.unwrap();
        let stored = store.read(&model_key(&main), Consistency::Strong).await.unwrap().unwrap();
        assert!(matches!(stored.body, Body::Bytes(_)) && stored.body.len() < 5_000, "{}", stored.body.len());
        assert_eq!(models.current(&main).await.unwrap().version(), 3);
    }

    #[tokio::test]
    async fn the_model_of_a_moment_is_the_newest_one_published_until_then() {
        let (models, _, clock, main) = models();
        let begin = clock.now();
        for version in 2..9 {
            clock.advance(1_000);
            models.publish(&main, &ModelDocument { version, ..default_document().unwrap() }).await.unwrap();
        }
        let at = async |ms: i64| models.history_at(&main, begin.plus_millis(ms)).await.unwrap().document.version;
        assert_eq!((at(999).await, at(1_000).await, at(1_999).await, at(6_500).await, at(70_000).await), (1, 2, 2, 7, 8));
    }

    #[tokio::test]
    async fn the_latest_model_is_not_the_remembered_one() {
        let (models, store, clock, main) = models();
        assert_eq!(models.current(&main).await.unwrap().version(), 1);
        let elsewhere = Models::new(store, clock);
        elsewhere.publish(&main, &ModelDocument { version: 2, ..default_document().unwrap() }).await.unwrap();
        assert_eq!(models.current(&main).await.unwrap().version(), 1);
        assert_eq!(models.latest(&main).await.unwrap().version(), 2);
    }
}
