//! One identity's events are counted anew, because its counts lack what the rules ask for.

use crate::{
    homes::{HomeStore, StoredState, put_due, put_state, unchanged},
    parcels::{Parcels, StoredParcel},
    records::IdentityMapping,
    store::{Consistency, Store, StoreError},
};
use domain::{
    Event, IdentityId, Timestamp, WorkspaceId,
    model::Model,
    state::{IdentityState, Refolded},
};

/// How often it is tried again when somebody else wrote the state in between.
const ATTEMPTS: usize = 8;

/// What became of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Its events were counted anew.
    Anew,
    /// They were counted by the model already.
    Already,
    /// It has no state where its mapping says: somebody is moving it, and counts it by the new model.
    Moving,
}

/// Counts all events of an identity by the model, unless they are counted so already, and stores its state. What is sealed is not used, as it was
/// counted otherwise. Harmless to do again, and at the same time as anybody else.
pub async fn refold<S: Store + Clone>(
    homes: &HomeStore<S>,
    parcels: &Parcels<S>,
    workspace: &WorkspaceId,
    identity: &IdentityId,
    model: &Model,
    now: Timestamp,
) -> Result<Counted, StoreError> {
    let needs = |stored: &StoredState| stored.state.facts.parts != model.matcher.digest();
    let places = Places { homes, parcels, workspace, identity, due_at: now };
    places.refold(model, now, needs, |_, _| true, |_| ()).await
}

/// Reads all events of an identity again by the model's mapping, also when its counts are those of the model, and stores its state if it says
/// something else. What is sealed is not used, as its fields were read by another mapping; with `unseal` it goes even when nothing else is
/// different. A home whose fields are different then is due at `due_at`, a moment that has come: the same for everybody whom one job reads, so that a home
/// has one due item of it. `each` gets every parcel's events, perhaps more than once.
pub async fn reread<S: Store + Clone>(
    homes: &HomeStore<S>,
    parcels: &Parcels<S>,
    (workspace, identity): (&WorkspaceId, &IdentityId),
    model: &Model,
    (now, due_at): (Timestamp, Timestamp),
    unseal: bool,
    each: impl FnMut(&[Event]) + Send,
) -> Result<Counted, StoreError> {
    let places = Places { homes, parcels, workspace, identity, due_at };
    let differs =
        |stored: &StoredState, again: &IdentityState| stored.state.facts != again.facts || unseal && stored.state.sealed.is_some();
    places.refold(model, now, |_| true, differs, each).await
}

/// Where an identity is counted anew.
struct Places<'a, S> {
    homes: &'a HomeStore<S>,
    parcels: &'a Parcels<S>,
    workspace: &'a WorkspaceId,
    identity: &'a IdentityId,
    due_at: Timestamp,
}

impl<S: Store + Clone> Places<'_, S> {
    async fn refold(
        &self,
        model: &Model,
        now: Timestamp,
        needs: impl Fn(&StoredState) -> bool,
        differs: impl Fn(&StoredState, &IdentityState) -> bool,
        mut each: impl FnMut(&[Event]) + Send,
    ) -> Result<Counted, StoreError> {
        for _ in 0..ATTEMPTS {
            let mapping = self.homes.mapping(self.workspace, self.identity, Consistency::Strong).await?;
            let Some(mapping) = mapping else { return Ok(Counted::Moving) };
            match self.try_refold(&mapping.record, model, now, (&needs, &differs), &mut each).await {
                Err(e) if e.is_conflict() => {}
                other => return other,
            }
        }
        Err(StoreError::Busy { source: "somebody else wrote the state at every attempt".into() })
    }

    async fn try_refold(
        &self,
        mapping: &IdentityMapping,
        model: &Model,
        now: Timestamp,
        (needs, differs): (&impl Fn(&StoredState) -> bool, &impl Fn(&StoredState, &IdentityState) -> bool),
        each: &mut (impl FnMut(&[Event]) + Send),
    ) -> Result<Counted, StoreError> {
        let Some(stored) = self.homes.state(self.workspace, mapping).await? else {
            return Ok(Counted::Moving);
        };
        if !needs(&stored) {
            return Ok(Counted::Already);
        }
        let (matcher, fields) = (&model.matcher, &model.document.mapping);
        let mut again = stored.state.refold(None, matcher, now);
        let add = |parcel: StoredParcel| {
            each(&parcel.events);
            again.add(parcel.batch, &parcel.events, matcher, fields);
        };
        self.parcels.each(self.workspace, &stored.identity, None, now, add).await?;
        let Refolded { mut state, sealed } = again.finish();
        if state.facts.count < stored.state.facts.count {
            // The log does not reach back to the beginning: what was stated before it can't be read again.
            state.facts.fields.merge_all(&stored.state.facts.fields.before(self.parcels.whole_since(now).await?));
        }
        if !differs(&stored, &state) {
            return Ok(Counted::Already);
        }
        // What must be there before the state is: what was sealed, and ids that leave the window.
        if let Some((sealed, sum)) = sealed {
            self.parcels.seal(self.workspace, sealed, &sum).await?;
        }
        let segments = state.shrink(now);
        self.parcels.spill(self.workspace, &stored.identity, segments, now).await?;
        let version = stored.version.saturating_add(1);
        let put = put_state(self.workspace, &mapping.home, &state, version, unchanged(stored.version))?;
        if stored.state.facts.fields == state.facts.fields {
            // No score follows from counts for rules that are still to come.
            self.homes.store().write(put).await?;
        } else {
            self.homes.store().transact(vec![put, put_due(self.workspace, &mapping.home, self.due_at, 0)?]).await?;
        }
        Ok(Counted::Anew)
    }
}
