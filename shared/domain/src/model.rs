//! The scoring model of a workspace: every ruleset and mapping that is in force, compiled.

use crate::{
    Day, Timestamp,
    account_rules::{AccountRuleset, CompiledAccountRuleset},
    aliases::{AliasTables, Aliases},
    engagement::{EngagementRuleset, Matcher, MatchingPart, RuleFault},
    field::SourceOrder,
    hash64,
    level::LevelRuleset,
    mapping::AccountMapping,
    owner::{CompiledOwners, OwnerRules},
    profile::ProfileMapping,
    score::CompiledEngagement,
    segments::{SegmentLevels, Segments},
    surge::SurgeSettings,
};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use thiserror::Error;

/// The model as it is stored and published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDocument {
    /// Counts publications of any part, from 1. Every score names it.
    pub version: u64,
    /// The primary account ruleset.
    pub account: AccountRuleset,
    /// The primary engagement ruleset.
    pub engagement: EngagementRuleset,
    /// The primary account level ruleset.
    pub account_levels: LevelRuleset,
    /// The lead level ruleset.
    pub lead_levels: LevelRuleset,
    /// The account engagement level ruleset.
    pub engagement_levels: LevelRuleset,
    /// When an account surges.
    pub surge: SurgeSettings,
    /// How event properties become fields.
    pub mapping: AccountMapping,
    /// How leads' traits name accounts.
    #[serde(default)]
    pub profiles: ProfileMapping,
    /// What values of fields are called by their sources. Acts when rules are evaluated.
    #[serde(default, skip_serializing_if = "AliasTables::is_empty")]
    pub aliases: AliasTables,
    /// Which source's statement about a field wins.
    #[serde(default, skip_serializing_if = "SourceOrder::is_usual")]
    pub source_order: SourceOrder,
    /// The version of the mapping by which everything that is stored was read; `None` for the built-in one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_applied: Option<u64>,
    /// Web domains of the workspace's own company; their people create no account.
    #[serde(default)]
    pub own_domains: Vec<String>,
    /// Account rulesets that are scored beside the primary one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_accounts: Vec<Beside<AccountRuleset>>,
    /// Engagement rulesets that are scored beside the primary one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_engagements: Vec<Beside<EngagementRuleset>>,
    /// Account level rulesets of segments, in their order: the first whose condition holds comes before the primary one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub account_segments: Vec<SegmentLevels>,
    /// Lead level rulesets of segments, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lead_segments: Vec<SegmentLevels>,
    /// Account engagement level rulesets of segments, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engagement_segments: Vec<SegmentLevels>,
    /// Who looks after which accounts, as long as no person says otherwise.
    #[serde(default, skip_serializing_if = "OwnerRules::is_empty")]
    pub owners: OwnerRules,
    /// Matching parts that are counted although no ruleset asks for them: as long as they stay, the counts of all states stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_parts: Vec<MatchingPart>,
    /// Publications whose changes of levels notify people, newest last; at most [`ANNOUNCED`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<u64>,
    /// Who published this version, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

/// How many announced publications a model remembers.
pub const ANNOUNCED: usize = 32;

/// A ruleset that is scored beside the primary one, and the days on which it is, both inclusive, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside<R> {
    /// The ruleset.
    pub ruleset: R,
    /// Its first day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<Day>,
    /// Its last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_on: Option<Day>,
}

impl<R> Beside<R> {
    /// Whether it is scored on a day.
    pub fn is_in_force(&self, day: Day) -> bool {
        self.starts_on.is_none_or(|first| first <= day) && self.ends_on.is_none_or(|last| day <= last)
    }

    /// The first day after `day` on which it begins or has ended.
    pub fn next_boundary(&self, day: Day) -> Option<Day> {
        let ended = self.ends_on.map(|last| last.plus(1));
        [self.starts_on, ended].into_iter().flatten().filter(|boundary| *boundary > day).min()
    }
}

/// What made a version of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// When.
    pub at: Timestamp,
    /// Who: the name of the API token.
    pub by: String,
    /// Why, in that person's words.
    #[serde(default)]
    pub why: String,
    /// What was published, such as `account ruleset "Enterprise target accounts" version 4`.
    pub what: String,
}

/// The version of the built-in mapping.
const BUILT_IN_MAPPING: u64 = 1;

impl ModelDocument {
    /// Whether everything that is stored was read by the mapping in force: it was never changed, or was applied since.
    pub fn is_mapping_applied(&self) -> bool {
        self.mapping.version() == self.mapping_applied.unwrap_or(BUILT_IN_MAPPING)
    }

    /// Every matching part that states are counted by: those of all engagement rulesets, and those that are kept.
    pub fn matching_parts(&self) -> impl Iterator<Item = &MatchingPart> {
        self.rule_parts().chain(&self.kept_parts)
    }

    /// The matching parts of all engagement rulesets.
    pub fn rule_parts(&self) -> impl Iterator<Item = &MatchingPart> {
        let others = self.other_engagements.iter().map(|other| &other.ruleset);
        std::iter::once(&self.engagement).chain(others).flat_map(|ruleset| &ruleset.rules).map(|rule| &rule.part)
    }
}

/// Why a model can't be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A part does not parse.
    #[error("the {part} does not parse")]
    Parse {
        /// Which part.
        part: &'static str,
        /// What the parser saw.
        #[source]
        source: serde_json::Error,
    },
    /// A part has faults.
    #[error("the {part} has faults, the first: {first}")]
    Faulty {
        /// Which part.
        part: &'static str,
        /// The first fault.
        first: RuleFault,
    },
}

/// The model, ready to be used.
#[derive(Debug)]
pub struct Model {
    /// As stored.
    pub document: ModelDocument,
    /// Finds the parts that an event belongs to.
    pub matcher: Matcher,
    /// The account rules, compiled.
    pub account: CompiledAccountRuleset,
    /// The engagement rules, compiled.
    pub engagement: CompiledEngagement,
    /// The account rulesets beside the primary one, compiled, in the order of the document.
    pub other_accounts: Vec<CompiledAccountRuleset>,
    /// The engagement rulesets beside the primary one, compiled, in the order of the document.
    pub other_engagements: Vec<CompiledEngagement>,
    /// The alias tables, ready to be looked up: whoever compiles a ruleset of the workspace needs them.
    pub aliases: Aliases,
    segments: Segments,
    owners: CompiledOwners,
    digest: u64,
}

impl Model {
    /// Checks and compiles a document.
    pub fn compile(document: ModelDocument) -> Result<Self, ModelError> {
        let check = |part: &'static str, faults: Vec<RuleFault>| match faults.into_iter().next() {
            Some(first) => Err(ModelError::Faulty { part, first }),
            None => Ok(()),
        };
        check("engagement ruleset", document.engagement.faults())?;
        for other in &document.other_engagements {
            check("engagement ruleset", other.ruleset.faults())?;
        }
        check("account level ruleset", document.account_levels.faults())?;
        check("lead level ruleset", document.lead_levels.faults())?;
        check("engagement level ruleset", document.engagement_levels.faults())?;
        let segments = [&document.account_segments, &document.lead_segments, &document.engagement_segments];
        for segment in segments.into_iter().flatten() {
            check("level ruleset of a segment", segment.ruleset.faults())?;
        }
        check("profile mapping", document.profiles.faults())?;
        let parse = |source| ModelError::Parse { part: "model", source };
        let text = serde_json::to_string(&document).map_err(parse)?;
        let aliases = document.aliases.compiled();
        Ok(Self {
            matcher: Matcher::new(document.matching_parts()),
            account: document.account.compile_with(&aliases),
            engagement: CompiledEngagement::new(document.engagement.clone()),
            other_accounts: document.other_accounts.iter().map(|other| other.ruleset.compile_with(&aliases)).collect(),
            other_engagements: document.other_engagements.iter().map(|other| CompiledEngagement::new(other.ruleset.clone())).collect(),
            segments: Segments::compile(&document, &aliases),
            owners: CompiledOwners::compile(&document, &aliases),
            aliases,
            digest: hash64(&[text.as_bytes()]),
            document,
        })
    }

    /// Digest of everything in it.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The conditions of segments, compiled.
    pub(crate) const fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The conditions of owner rules, compiled.
    pub(crate) const fn owners(&self) -> &CompiledOwners {
        &self.owners
    }

    /// Counts publications.
    pub const fn version(&self) -> u64 {
        self.document.version
    }

    /// The first day after `day` on which a ruleset beside the primary ones begins or has ended.
    pub fn next_boundary(&self, day: Day) -> Option<Day> {
        let accounts = self.document.other_accounts.iter().filter_map(|other| other.next_boundary(day));
        accounts.chain(self.document.other_engagements.iter().filter_map(|other| other.next_boundary(day))).min()
    }

    /// Whether what changes between two versions of the model, because of the model, is told to people.
    pub fn announces(&self, after: u64, until: u64) -> bool {
        until > after && (after.saturating_add(1)..=until).all(|version| self.document.announced.contains(&version))
    }

    /// Whether a web domain is the workspace's own.
    pub fn is_own_domain(&self, domain: &str) -> bool {
        self.document.own_domains.iter().any(|own| own.eq_ignore_ascii_case(domain))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(part: &'static str, text: &str) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(|source| ModelError::Parse { part, source })
}

/// The model that a new workspace has: the data files under `infra/`.
pub fn default_document() -> Result<ModelDocument, ModelError> {
    Ok(ModelDocument {
        version: 1,
        account: parse("account ruleset", include_str!("../../../infra/rulesets/account.enterprise-saas.json"))?,
        engagement: parse("engagement ruleset", include_str!("../../../infra/rulesets/engagement.default.json"))?,
        account_levels: parse("account level ruleset", include_str!("../../../infra/levels/account.json"))?,
        lead_levels: parse("lead level ruleset", include_str!("../../../infra/levels/lead.json"))?,
        engagement_levels: parse("engagement level ruleset", include_str!("../../../infra/levels/engagement.json"))?,
        surge: parse("surge settings", include_str!("../../../infra/surge.json"))?,
        mapping: parse("account mapping", include_str!("../../../infra/mappings/account-fields.json"))?,
        profiles: ProfileMapping::default(),
        aliases: AliasTables::default(),
        source_order: SourceOrder::default(),
        mapping_applied: None,
        own_domains: Vec::new(),
        other_accounts: Vec::new(),
        other_engagements: Vec::new(),
        account_segments: Vec::new(),
        lead_segments: Vec::new(),
        engagement_segments: Vec::new(),
        owners: OwnerRules::default(),
        kept_parts: Vec::new(),
        announced: Vec::new(),
        published: None,
    })
}

/// The compiled default model, made once.
pub fn default_model() -> Result<&'static std::sync::Arc<Model>, &'static ModelError> {
    static MODEL: LazyLock<Result<std::sync::Arc<Model>, ModelError>> =
        LazyLock::new(|| default_document().and_then(Model::compile).map(std::sync::Arc::new));
    MODEL.as_ref()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_model_has_no_fault() {
        let model = super::default_model().unwrap();
        assert_eq!(model.document.engagement.rules.len(), 7);
        assert_eq!(model.document.account_levels.levels.len(), 4);
        assert!(model.document.is_mapping_applied());
    }
}
