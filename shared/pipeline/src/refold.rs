//! One identity's events are counted anew, because its counts lack what the rules ask for.

use crate::{
    homes::{HomeStore, put_state, unchanged},
    parcels::Parcels,
    records::IdentityMapping,
    store::{Store, StoreError},
};
use domain::{IdentityId, Timestamp, WorkspaceId, model::Model, state::Refolded};

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
    for _ in 0..ATTEMPTS {
        let mapping = homes.mapping(workspace, identity, crate::store::Consistency::Strong).await?;
        let Some(mapping) = mapping else { return Ok(Counted::Moving) };
        match try_refold(homes, parcels, workspace, &mapping.record, model, now).await {
            Err(e) if e.is_conflict() => {}
            other => return other,
        }
    }
    Err(StoreError::Busy { source: "somebody else wrote the state at every attempt".into() })
}

async fn try_refold<S: Store + Clone>(
    homes: &HomeStore<S>,
    parcels: &Parcels<S>,
    workspace: &WorkspaceId,
    mapping: &IdentityMapping,
    model: &Model,
    now: Timestamp,
) -> Result<Counted, StoreError> {
    let Some(stored) = homes.state(workspace, mapping).await? else {
        return Ok(Counted::Moving);
    };
    if stored.state.facts.parts == model.matcher.digest() {
        return Ok(Counted::Already);
    }
    let (matcher, fields) = (&model.matcher, &model.document.mapping);
    let mut again = stored.state.refold(None, matcher, now);
    parcels.each(workspace, &stored.identity, None, now, |parcel| again.add(parcel.batch, &parcel.events, matcher, fields)).await?;
    let Refolded { mut state, sealed } = again.finish();
    // What must be there before the state is: what was sealed, and ids that leave the window.
    if let Some((sealed, sum)) = sealed {
        parcels.seal(workspace, sealed, &sum).await?;
    }
    let segments = state.shrink(now);
    parcels.spill(workspace, &stored.identity, segments, now).await?;
    let version = stored.version.saturating_add(1);
    homes.store().write(put_state(workspace, &mapping.home, &state, version, unchanged(stored.version))?).await?;
    Ok(Counted::Anew)
}
