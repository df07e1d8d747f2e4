//! One recorded change of a level, a score or a surge.

use crate::{IdentityId, Timestamp, grade::GridCell};
use serde::{Deserialize, Serialize};

/// One change of an account (or of an unresolved lead), as level recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Counts the account's transitions from 1. Ids of deliveries are made from it.
    pub seq: u64,
    /// When level recorded it.
    pub at: Timestamp,
    /// What changed.
    pub change: Changed,
    /// Why: one clause for the history, such as `score 35 → 80`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Notifies nobody: it comes only from old events, an import or a publication.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
}

/// What changed. Levels are named by their ids; `from` is `None` when there was nothing before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Changed {
    /// The account level.
    AccountLevel {
        /// The level before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The level now.
        to: String,
    },
    /// The account engagement level.
    EngagementLevel {
        /// The level before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The level now.
        to: String,
    },
    /// A lead's level.
    LeadLevel {
        /// Which lead.
        lead: IdentityId,
        /// The level before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The level now.
        to: String,
    },
    /// A surge began or ended.
    Surge {
        /// Whether it began.
        active: bool,
    },
    /// The cell of the grid of fit and engagement, from or to one that a trigger watches.
    Grid {
        /// The cell before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<GridCell>,
        /// The cell now.
        to: GridCell,
    },
    /// The engagement score went over or under a threshold that a trigger watches.
    Engagement {
        /// The score that level last recorded.
        from: i64,
        /// The score now.
        to: i64,
    },
}
