//! Rulesets of every kind as people edit them: read strictly, changed rule by rule, compared, and made from templates.
//!
//! A [`Content`] is what a draft or a published version holds. [`Content::read`] refuses whatever could not work as written, with the JSON pointer
//! of every problem; only a ruleset without rules is accepted, because people begin with one. [`Content::stored`] reads back what was stored.

mod content;
mod diff;
mod edit;
mod levels;
mod read;
mod template;

pub use content::Content;
pub use diff::{Change, Difference, diff, summary};
pub use levels::LevelContent;
pub use template::{Filled, Template, Variable, VariableKind};

pub use crate::ids::{JobId, RulesetId};

use crate::{Day, problem::Problems};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a ruleset rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesetKind {
    /// How well companies fit, from their fields.
    Account,
    /// What events are worth.
    Engagement,
    /// Ranges of the account score.
    AccountLevels,
    /// Ranges of a lead's engagement score.
    LeadLevels,
    /// Ranges of an account's engagement score.
    EngagementLevels,
}

impl RulesetKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Account, Self::Engagement, Self::AccountLevels, Self::LeadLevels, Self::EngagementLevels];

    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Engagement => "engagement",
            Self::AccountLevels => "account_levels",
            Self::LeadLevels => "lead_levels",
            Self::EngagementLevels => "engagement_levels",
        }
    }

    /// Where the API keeps it, such as `account-rulesets`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Account => "account-rulesets",
            Self::Engagement => "engagement-rulesets",
            Self::AccountLevels => "account-level-rulesets",
            Self::LeadLevels => "lead-level-rulesets",
            Self::EngagementLevels => "engagement-level-rulesets",
        }
    }

    /// What new ids begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Account => "ars_",
            Self::Engagement => "ers_",
            Self::AccountLevels => "als_",
            Self::LeadLevels => "lls_",
            Self::EngagementLevels => "els_",
        }
    }

    /// Its short name in keys.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Account => "a",
            Self::Engagement => "e",
            Self::AccountLevels => "al",
            Self::LeadLevels => "ll",
            Self::EngagementLevels => "el",
        }
    }

    /// What people call it, such as `account ruleset`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Account => "account ruleset",
            Self::Engagement => "engagement ruleset",
            Self::AccountLevels => "account level ruleset",
            Self::LeadLevels => "lead level ruleset",
            Self::EngagementLevels => "account engagement level ruleset",
        }
    }

    /// Whether it consists of levels.
    pub const fn is_of_levels(self) -> bool {
        matches!(self, Self::AccountLevels | Self::LeadLevels | Self::EngagementLevels)
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for RulesetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Refuses an end before the start. Both days are included.
pub fn check_dates(starts_on: Option<Day>, ends_on: Option<Day>) -> Result<(), Problems> {
    let mut problems = Problems::none();
    if let (Some(first), Some(last)) = (starts_on, ends_on)
        && last < first
    {
        problems.add("/ends_on", format!("must not be before `starts_on`, {first}"));
    }
    problems.or(())
}

#[cfg(test)]
mod tests;
