//! Where triggers are kept.

use super::cached::Cached;
use crate::{
    clock::Clock,
    records,
    store::{Condition, Consistency, Item, Key, Query, Store, StoreError, Table, Write},
};
use domain::{Timestamp, TriggerId, WorkspaceId, trigger::Trigger};
use std::sync::Arc;

const PREFIX: &str = "trigger#";

fn key(workspace: &WorkspaceId, id: &TriggerId) -> Key {
    Key::new(Table::Config, workspace.to_string(), format!("{PREFIX}{id}"))
}

fn read(item: &Item) -> Result<Trigger, StoreError> {
    let mut trigger: Trigger = records::from_item(item)?;
    trigger.version = item.version;
    Ok(trigger)
}

/// The triggers of all workspaces.
#[derive(Debug)]
pub struct Triggers<S, C> {
    store: S,
    clock: C,
    cache: Cached<Trigger>,
}

impl<S: Store, C: Clock> Triggers<S, C> {
    /// Over this store.
    pub fn new(store: S, clock: C) -> Self {
        Self { store, clock, cache: Cached::default() }
    }

    /// Every trigger of the workspace as it is now, in the order of their ids (the order in which they were made).
    pub async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<Trigger>, StoreError> {
        let query = Query::partition(Table::Config, workspace.to_string()).prefix(PREFIX);
        self.store.query_all(query).await?.iter().map(read).collect()
    }

    /// Every trigger that was made before `as_of`, and what has been made since up to five seconds ago: for dispatch, which must not
    /// overlook a trigger that is older than the transition it looks at.
    pub async fn current(&self, workspace: &WorkspaceId, as_of: Timestamp) -> Result<Arc<Vec<Trigger>>, StoreError> {
        let now = self.clock.now();
        if let Some(known) = self.cache.find(workspace, as_of, now) {
            return Ok(known);
        }
        let list = self.list(workspace).await?;
        Ok(self.cache.keep(workspace, now, list))
    }

    /// The trigger with this id, as it is now.
    pub async fn find(&self, workspace: &WorkspaceId, id: &TriggerId) -> Result<Option<Trigger>, StoreError> {
        self.store.read(&key(workspace, id), Consistency::Strong).await?.as_ref().map(read).transpose()
    }

    /// Stores a trigger that is not there yet; a conflict when its id is taken.
    pub async fn put_new(&self, workspace: &WorkspaceId, trigger: Trigger) -> Result<Trigger, StoreError> {
        self.put(workspace, Trigger { version: 1, ..trigger }, Condition::Absent).await
    }

    /// Stores a changed trigger over the version that it was read with; a conflict when somebody was faster. Answers it with its new
    /// version.
    pub async fn replace(&self, workspace: &WorkspaceId, trigger: Trigger) -> Result<Trigger, StoreError> {
        let (before, version) = (trigger.version, trigger.version.saturating_add(1));
        self.put(workspace, Trigger { version, ..trigger }, Condition::Version(before)).await
    }

    async fn put(&self, workspace: &WorkspaceId, trigger: Trigger, condition: Condition) -> Result<Trigger, StoreError> {
        let key = key(workspace, &trigger.id);
        let item = Item { body: records::text(&key, &trigger)?, key, version: trigger.version, expires_at: None };
        self.store.write(Write::Put(item, condition)).await?;
        self.cache.forget(workspace);
        Ok(trigger)
    }

    /// Removes a trigger that still has this version; a conflict when it was changed or is gone. What it delivered stays in the log.
    pub async fn delete(&self, workspace: &WorkspaceId, id: &TriggerId, version: u64) -> Result<(), StoreError> {
        self.store.write(Write::Delete(key(workspace, id), Condition::Version(version))).await?;
        self.cache.forget(workspace);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, memory::MemoryStore};
    use domain::trigger::TriggerDraft;
    use serde_json::json;

    fn trigger(id: &str) -> Trigger {
        let value = json!({"name": id, "when": {"kind": "surge_started"}, "destinations": ["d"]});
        TriggerDraft::read(&value).unwrap().start(TriggerId::new(id).unwrap(), Timestamp::from_millis(5))
    }

    fn ids(triggers: &[Trigger]) -> Vec<&str> {
        triggers.iter().map(|trigger| trigger.id.as_str()).collect()
    }

    #[tokio::test]
    async fn triggers_are_made_changed_and_removed_on_their_version() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::default()));
        let triggers = Triggers::new(store, clock);
        let (main, other) = (WorkspaceId::new("main").unwrap(), WorkspaceId::new("other").unwrap());
        let made = triggers.put_new(&main, trigger("a")).await.unwrap();
        assert!(triggers.put_new(&main, trigger("a")).await.unwrap_err().is_conflict());
        let changed = triggers.replace(&main, Trigger { name: "new".into(), ..made.clone() }).await.unwrap();
        assert_eq!((changed.version, triggers.find(&main, &made.id).await.unwrap()), (2, Some(changed.clone())));
        assert!(triggers.replace(&main, made.clone()).await.unwrap_err().is_conflict());
        assert_eq!(triggers.find(&other, &made.id).await.unwrap(), None);
        assert!(triggers.list(&other).await.unwrap().is_empty());
        assert!(triggers.delete(&main, &made.id, 1).await.unwrap_err().is_conflict());
        triggers.delete(&main, &made.id, 2).await.unwrap();
        assert!(triggers.list(&main).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_remembered_list_never_misses_a_trigger_older_than_the_transition() {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::at(Timestamp::from_millis(100_000))));
        let here = Triggers::new(Arc::clone(&store), Arc::clone(&clock));
        let elsewhere = Triggers::new(store, Arc::clone(&clock));
        let main = WorkspaceId::new("main").unwrap();
        let old = Timestamp::from_millis(0);
        assert!(here.current(&main, old).await.unwrap().is_empty());
        elsewhere.put_new(&main, trigger("a")).await.unwrap();
        // An old transition may be judged by what is remembered, one of this moment may not.
        assert!(here.current(&main, old).await.unwrap().is_empty());
        assert_eq!(ids(&here.current(&main, clock.now()).await.unwrap()), ["a"]);
        elsewhere.put_new(&main, trigger("b")).await.unwrap();
        clock.advance(4_999);
        assert_eq!(ids(&here.current(&main, old).await.unwrap()), ["a"]);
        clock.advance(1);
        assert_eq!(ids(&here.current(&main, old).await.unwrap()), ["a", "b"]);
    }
}
