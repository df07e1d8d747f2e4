//! What a draft or a published version of a ruleset holds.

use super::{LevelContent, RulesetId, RulesetKind};
use crate::{
    account_rules::{AccountRuleset, Condition},
    engagement::{Aggregation, EngagementRuleset, MatchingPart},
    field::FieldName,
    problem::{Problem, Problems},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;

/// The content of a ruleset. Its id and version are those of the ruleset that it belongs to; publication gives them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content", rename_all = "snake_case")]
pub enum Content {
    /// Rules on fields.
    Account(AccountRuleset),
    /// Rules on events.
    Engagement(EngagementRuleset),
    /// Levels of any score.
    Levels(LevelContent),
}

/// The id of a content that belongs to no ruleset yet.
const NO_ID: &str = "draft";

impl Content {
    /// Reads what a person wrote and checks it. `id` and `version` may be left out. The error lists every problem with its JSON pointer. That
    /// there are no rules yet is no problem here.
    pub fn read(kind: RulesetKind, value: &Value) -> Result<Self, Problems> {
        let value = identified(value);
        match kind {
            RulesetKind::Account => AccountRuleset::draft(&value).map(Self::Account),
            RulesetKind::Engagement => EngagementRuleset::read(&value).map(Self::Engagement),
            RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => {
                LevelContent::read(&value).map(Self::Levels)
            }
        }
    }

    /// Reads what was stored, though it may have faults: the fault of a draft, or what an older version accepted. The error is one problem.
    pub fn stored(kind: RulesetKind, value: Value) -> Result<Self, Problems> {
        fn of<T: DeserializeOwned>(value: Value) -> Result<T, Problems> {
            let problem = |error: serde_json::Error| Problem { pointer: String::new(), message: error.to_string() };
            serde_json::from_value(value).map_err(|error| Problems(vec![problem(error)]))
        }
        match kind {
            RulesetKind::Account => of(value).map(Self::Account),
            RulesetKind::Engagement => of(value).map(Self::Engagement),
            RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => of(value).map(Self::Levels),
        }
    }

    /// The content as JSON, id and version included.
    pub fn to_value(&self) -> Value {
        let written = match self {
            Self::Account(ruleset) => serde_json::to_value(ruleset),
            Self::Engagement(ruleset) => serde_json::to_value(ruleset),
            Self::Levels(ruleset) => serde_json::to_value(ruleset),
        };
        written.unwrap_or_default()
    }

    /// Whether both say the same, whatever their ids and versions.
    pub fn same_as(&self, other: &Self) -> bool {
        self.clone().identified(NO_ID, 1) == other.clone().identified(NO_ID, 1)
    }

    /// The content as that of a ruleset and a version of it, renamed if a name is given.
    #[must_use]
    pub fn with_identity(self, id: &RulesetId, name: Option<&str>, version: u64) -> Self {
        let mut content = self.identified(id.as_str(), version);
        if let Some(name) = name {
            content.rename(name);
        }
        content
    }

    fn identified(mut self, id: &str, version: u64) -> Self {
        let (its_id, its_version) = match &mut self {
            Self::Account(ruleset) => (&mut ruleset.id, &mut ruleset.version),
            Self::Engagement(ruleset) => (&mut ruleset.id, &mut ruleset.version),
            Self::Levels(levels) => (&mut levels.ruleset.id, &mut levels.ruleset.version),
        };
        id.clone_into(its_id);
        *its_version = version;
        self
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: &str) {
        let its_name = match self {
            Self::Account(ruleset) => &mut ruleset.name,
            Self::Engagement(ruleset) => &mut ruleset.name,
            Self::Levels(levels) => &mut levels.ruleset.name,
        };
        name.clone_into(its_name);
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Account(ruleset) => &ruleset.name,
            Self::Engagement(ruleset) => &ruleset.name,
            Self::Levels(levels) => &levels.ruleset.name,
        }
    }

    /// The id of the ruleset that it belongs to.
    pub fn id(&self) -> &str {
        match self {
            Self::Account(ruleset) => &ruleset.id,
            Self::Engagement(ruleset) => &ruleset.id,
            Self::Levels(levels) => &levels.ruleset.id,
        }
    }

    /// Which version of the ruleset it is, from 1.
    pub const fn version(&self) -> u64 {
        match self {
            Self::Account(ruleset) => ruleset.version,
            Self::Engagement(ruleset) => ruleset.version,
            Self::Levels(levels) => levels.ruleset.version,
        }
    }

    /// How many rules or levels it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Account(ruleset) => ruleset.rules.len(),
            Self::Engagement(ruleset) => ruleset.rules.len(),
            Self::Levels(levels) => levels.ruleset.levels.len(),
        }
    }

    /// Whether it has no rule and no level.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What states must be counted by for it; nothing for rulesets that do not look at events.
    pub fn parts(&self) -> Vec<MatchingPart> {
        match self {
            Self::Engagement(ruleset) => ruleset.rules.iter().map(|rule| rule.part.clone()).collect(),
            Self::Account(_) | Self::Levels(_) => Vec::new(),
        }
    }

    /// The most points that it can give after all caps: of an account ruleset to an account, of an engagement ruleset to a lead. `None` when
    /// there is no limit, and for levels.
    pub fn possible(&self) -> Option<i64> {
        match self {
            Self::Account(ruleset) => Some(i64::from(ruleset.compile().possible())),
            Self::Engagement(ruleset) => ruleset.possible_of_a_lead(),
            Self::Levels(_) => None,
        }
    }

    /// The levels with their segment, when it consists of levels.
    pub const fn levels(&self) -> Option<&LevelContent> {
        match self {
            Self::Levels(levels) => Some(levels),
            Self::Account(_) | Self::Engagement(_) => None,
        }
    }

    /// The fields that its rules or its segment look at, each once, in their order.
    pub fn fields(&self) -> Vec<FieldName> {
        match self {
            Self::Account(ruleset) => ruleset.compile().fields().cloned().collect(),
            Self::Levels(levels) => levels.segment.iter().flat_map(Condition::fields).cloned().collect(),
            Self::Engagement(_) => Vec::new(),
        }
    }
}

impl EngagementRuleset {
    /// The most points that a lead can have; `None` when there is no limit.
    pub fn possible_of_a_lead(&self) -> Option<i64> {
        let positive = || self.rules.iter().filter(|rule| rule.points > 0);
        let capped = positive().all(|rule| rule.cap > 0);
        let caps = capped.then(|| positive().map(|rule| rule.cap).fold(0, i64::saturating_add));
        let limit = (self.lead_cap > 0).then_some(self.lead_cap);
        [caps, limit].into_iter().flatten().min()
    }

    /// The most engagement that an account can have, however many leads it has; `None` when there is no limit.
    pub fn possible_of_an_account(&self) -> Option<i64> {
        let lead = self.possible_of_a_lead()?;
        match self.aggregation {
            Aggregation::Max => Some(lead),
            Aggregation::TopN { n } => Some(lead.saturating_mul(i64::from(n))),
            Aggregation::Sum => (lead == 0).then_some(0),
            Aggregation::Diminishing { percent } if percent < 100 => Some(lead.saturating_mul(100) / i64::from(100 - percent)),
            Aggregation::Diminishing { .. } => (lead == 0).then_some(0),
        }
    }
}

/// The document with an id and a version, where it is an object that has none.
fn identified(value: &Value) -> Cow<'_, Value> {
    let Some(map) = value.as_object().filter(|map| !map.contains_key("id") || !map.contains_key("version")) else {
        return Cow::Borrowed(value);
    };
    let mut map = map.clone();
    map.entry("id").or_insert_with(|| NO_ID.into());
    map.entry("version").or_insert_with(|| 1.into());
    Cow::Owned(map.into())
}

/// A ruleset's own problems, once its structure was read.
pub(super) fn finished<T>(ruleset: Option<T>, problems: Problems) -> Result<T, Problems> {
    match ruleset {
        Some(ruleset) if problems.0.is_empty() => Ok(ruleset),
        // What can't be read has noted why.
        _ => Err(problems),
    }
}
