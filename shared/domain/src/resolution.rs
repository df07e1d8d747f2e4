//! Which account a lead belongs to, and why.

use crate::AccountId;
use serde::{Deserialize, Serialize};

/// How a home was found. Earlier methods win over later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A person decided.
    Manual,
    /// The event property `account_id`.
    AccountId,
    /// A `groupId`.
    GroupId,
    /// An id of another system that an account carries.
    ExternalId,
    /// A profile mapping.
    ProfileMapping,
    /// The domain of the e-mail address.
    EmailDomain,
    /// The domain of the website trait.
    Website,
    /// An anonymous id goes where its user goes.
    Link,
    /// Nothing hit: an unresolved lead.
    Unresolved,
}

/// A decision and what else it could have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// How the home was found.
    pub method: Method,
    /// How sure that is, in percent.
    pub confidence: u8,
    /// What the other methods would have said, in the order of the methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// An account that another method names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// How.
    pub method: Method,
    /// Which account.
    pub account: AccountId,
}
