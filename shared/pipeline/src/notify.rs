//! Triggers, destinations, deliveries and cooldowns: what is stored about notifications, and where.
//!
//! | Table | Partition | Sort key | Holds |
//! |---|---|---|---|
//! | config | `{workspace}` | `trigger#{id}` | [`Trigger`](domain::trigger::Trigger) |
//! | config | `{workspace}` | `destination#{id}` | [`Destination`], its secrets sealed |
//! | deliveries | `{workspace}#D#{shard}` | `{transition's moment}#{id}` | [`Delivery`] |
//! | deliveries | `{workspace}#C#{trigger}` | home | [`Fired`]: what took the cooldown |
//! | deliveries | `{workspace}#off` | destination's id | that a version of the destination was answered 410 |
//! | deliveries | `DUE#{shard}` | `{moment}#{workspace}#{delivery's sort key}` | [`DueDelivery`] |
//!
//! A delivery and its due item are always written in one transaction, and the due item's moment can be read off the delivery: so
//! there is a due item exactly when something is still to be done, and a crash at any moment leaves nothing that nobody comes back to.

mod address;
mod cached;
mod delivery;
mod destination;
mod due;
mod list;
mod triggers;

pub use address::{UrlFault, check_url, is_always_refused, is_public};
pub use delivery::{
    Attempt, Created, Deliveries, Delivery, DeliveryId, DeliveryState, Fired, Suppression, Verdict, cooldown_key, delivery_key, verdict,
};
pub use destination::{
    Destination, DestinationDraft, DestinationError, DestinationKind, Destinations, OpenDestination, PublicDestination, Sealed, ShownOnce,
    check_secret,
};
pub use due::{DueDelivery, DueDeliveryRecord};
pub use list::{DeliveryFilter, DeliveryPage};
pub use triggers::Triggers;

use crate::clock::Entropy;
use domain::{DestinationId, IdError, Timestamp, TriggerId};

/// A new trigger's id: `trg_` and 26 characters.
pub fn new_trigger_id(entropy: &impl Entropy, now: Timestamp) -> Result<TriggerId, IdError> {
    TriggerId::new(&format!("trg_{}", entropy.batch_id(now).to_string().to_lowercase()))
}

/// A new destination's id: `dst_` and 26 characters.
pub fn new_destination_id(entropy: &impl Entropy, now: Timestamp) -> Result<DestinationId, IdError> {
    DestinationId::new(&format!("dst_{}", entropy.batch_id(now).to_string().to_lowercase()))
}
