//! The scoring model of each workspace, remembered for a short while.

use crate::{
    clock::Clock,
    records::{self, text},
    store::{Condition, Consistency, Item, Key, Store, StoreError, Table, Write},
};
use domain::{
    Timestamp, WorkspaceId,
    model::{Model, ModelDocument, default_model},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How long a model is believed to be the current one.
const CACHE_MS: i64 = 30_000;

/// Where the published model of a workspace is kept.
pub fn model_key(workspace: &WorkspaceId) -> Key {
    Key::new(Table::Config, workspace.as_str(), "model")
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
                    let document: ModelDocument = records::from_item(&item)?;
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

    /// Publishes a model: its version must be one more than the current one's.
    pub async fn publish(&self, workspace: &WorkspaceId, document: &ModelDocument) -> Result<(), StoreError> {
        let key = model_key(workspace);
        let condition = match self.store.read(&key, Consistency::Strong).await? {
            Some(item) => Condition::Version(item.version),
            None => Condition::Absent,
        };
        let body = text(&key, document)?;
        self.store.write(Write::Put(Item { key, version: document.version, body, expires_at: None }, condition)).await?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(workspace);
        Ok(())
    }
}
