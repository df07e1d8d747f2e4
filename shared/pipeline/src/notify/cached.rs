//! A workspace's triggers or destinations, remembered for a few seconds.

use domain::{Timestamp, WorkspaceId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How long a list is believed.
const BELIEVED_MS: i64 = 5_000;
/// By how much the clocks of two hosts may differ without a trigger being overlooked.
const SKEW_MS: i64 = 1_000;

/// A list and the moment at which its reading began.
type Listed<T> = (Timestamp, Arc<Vec<T>>);

/// Lists by workspace.
#[derive(Debug)]
pub(super) struct Cached<T> {
    lists: Mutex<HashMap<WorkspaceId, Listed<T>>>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { lists: Mutex::new(HashMap::new()) }
    }
}

impl<T> Cached<T> {
    /// The list, if it is young and was read after `as_of`. What was made before `as_of` is then certainly in it.
    pub(super) fn find(&self, workspace: &WorkspaceId, as_of: Timestamp, now: Timestamp) -> Option<Arc<Vec<T>>> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, list) = lists.get(workspace)?;
        let young = (0..BELIEVED_MS).contains(&now.millis_since(*read_at));
        (young && read_at.millis_since(as_of) >= SKEW_MS).then(|| Arc::clone(list))
    }

    pub(super) fn keep(&self, workspace: &WorkspaceId, read_at: Timestamp, list: Vec<T>) -> Arc<Vec<T>> {
        let list = Arc::new(list);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= 1_000 {
            lists.clear();
        }
        lists.insert(workspace.clone(), (read_at, Arc::clone(&list)));
        list
    }

    pub(super) fn forget(&self, workspace: &WorkspaceId) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).remove(workspace);
    }
}
