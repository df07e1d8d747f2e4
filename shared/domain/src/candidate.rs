//! The model as it would be with a ruleset in its place: what a dry run compares with the model in force.

use crate::{
    Day,
    engagement::{MatchingPart, PartId},
    model::{Beside, ModelDocument},
    ruleset::{Content, RulesetId, RulesetKind},
};
use std::collections::BTreeSet;

/// A model that is not in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The whole model, as the next version of the one in force.
    pub document: ModelDocument,
    /// What its rules count and the states do not: nothing when no event has to be read for it.
    pub new_parts: Vec<MatchingPart>,
    /// Whether levels follow from the ruleset in question.
    pub drives_levels: bool,
}

/// The days on which a ruleset beside the primary one is scored, both inclusive, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Days {
    /// The first one.
    pub starts_on: Option<Day>,
    /// The last one.
    pub ends_on: Option<Day>,
}

impl ModelDocument {
    /// The model with this content in its place: as the primary ruleset of its kind if it is that already or `as_primary` says so, else beside
    /// it on its days. A primary ruleset of fields or events whose place is taken goes on beside. Level rulesets are always primary.
    pub fn with(&self, kind: RulesetKind, content: &Content, days: Days, as_primary: bool) -> Candidate {
        let mut document = self.clone();
        let drives_levels = as_primary || kind.is_of_levels() || self.primary_id(kind) == content.id();
        match (kind, content.clone()) {
            (RulesetKind::Account, Content::Account(ruleset)) => {
                put((&mut document.account, &mut document.other_accounts), ruleset, |ruleset| &ruleset.id, days, drives_levels);
            }
            (RulesetKind::Engagement, Content::Engagement(ruleset)) => {
                put((&mut document.engagement, &mut document.other_engagements), ruleset, |ruleset| &ruleset.id, days, drives_levels);
            }
            (RulesetKind::AccountLevels, Content::Levels(ruleset)) => document.account_levels = ruleset,
            (RulesetKind::LeadLevels, Content::Levels(ruleset)) => document.lead_levels = ruleset,
            (RulesetKind::EngagementLevels, Content::Levels(ruleset)) => document.engagement_levels = ruleset,
            // A content of another kind has no place there.
            _ => {}
        }
        self.followed_by(document, drives_levels)
    }

    /// The model without a ruleset that is scored beside the primary one.
    pub fn without(&self, kind: RulesetKind, id: &RulesetId) -> Candidate {
        let mut document = self.clone();
        match kind {
            RulesetKind::Account => document.other_accounts.retain(|other| other.ruleset.id != id.as_str()),
            RulesetKind::Engagement => document.other_engagements.retain(|other| other.ruleset.id != id.as_str()),
            RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => {}
        }
        self.followed_by(document, false)
    }

    /// The id of the primary ruleset of a kind.
    pub fn primary_id(&self, kind: RulesetKind) -> &str {
        match kind {
            RulesetKind::Account => &self.account.id,
            RulesetKind::Engagement => &self.engagement.id,
            RulesetKind::AccountLevels => &self.account_levels.id,
            RulesetKind::LeadLevels => &self.lead_levels.id,
            RulesetKind::EngagementLevels => &self.engagement_levels.id,
        }
    }

    /// What states are counted by.
    pub fn parts(&self) -> BTreeSet<PartId> {
        self.matching_parts().map(MatchingPart::id).collect()
    }

    /// As the next version. Whatever states are counted by now stays counted, so that without new parts no state has to be folded again.
    fn followed_by(&self, mut document: ModelDocument, drives_levels: bool) -> Candidate {
        let known = self.parts();
        let asked: BTreeSet<PartId> = document.rule_parts().map(MatchingPart::id).collect();
        let mut seen = known.clone();
        let new_parts = document.rule_parts().filter(|part| seen.insert(part.id())).cloned().collect();
        let mut seen = asked;
        document.kept_parts = self.matching_parts().filter(|part| seen.insert(part.id())).cloned().collect();
        document.version = self.version.saturating_add(1);
        document.published = None;
        Candidate { document, new_parts, drives_levels }
    }
}

impl Candidate {
    /// The candidate as it would be if its publication notified people.
    #[must_use]
    pub fn announced(mut self) -> Self {
        self.document.announced.push(self.document.version);
        self
    }
}

fn put<R>((primary, others): (&mut R, &mut Vec<Beside<R>>), ruleset: R, id: impl Fn(&R) -> &String, days: Days, as_primary: bool) {
    others.retain(|other| id(&other.ruleset) != id(&ruleset));
    if !as_primary {
        others.push(Beside { ruleset, starts_on: days.starts_on, ends_on: days.ends_on });
    } else if id(primary) == id(&ruleset) {
        *primary = ruleset;
    } else {
        let before = std::mem::replace(primary, ruleset);
        others.push(Beside { ruleset: before, starts_on: None, ends_on: None });
    }
    others.sort_by(|a, b| id(&a.ruleset).cmp(id(&b.ruleset)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engagement::Matcher, model::default_document};

    fn digest(document: &ModelDocument) -> u64 {
        Matcher::new(document.matching_parts()).digest()
    }

    #[test]
    fn a_draft_of_the_primary_ruleset_takes_its_place() {
        let document = default_document().unwrap();
        let mut draft = document.account.clone();
        draft.rules.truncate(1);
        let candidate = document.with(RulesetKind::Account, &Content::Account(draft.clone()), Days::default(), false);
        assert_eq!((candidate.document.account, candidate.document.other_accounts.len()), (draft, 0));
        assert_eq!((candidate.document.version, candidate.drives_levels, candidate.new_parts.len()), (2, true, 0));
    }

    #[test]
    fn another_ruleset_stands_beside_on_its_days_or_takes_the_place_of_the_primary_one() {
        let document = default_document().unwrap();
        let mut draft = document.account.clone();
        draft.id = "ars_second".to_owned();
        let content = Content::Account(draft.clone());
        let days = Days { starts_on: Some(Day(20_000)), ends_on: None };
        let beside = document.with(RulesetKind::Account, &content, days, false);
        assert_eq!(beside.document.account, document.account);
        assert_eq!(beside.document.other_accounts, [Beside { ruleset: draft.clone(), starts_on: Some(Day(20_000)), ends_on: None }]);
        assert!(!beside.drives_levels);
        let primary = beside.document.with(RulesetKind::Account, &content, days, true);
        assert_eq!(primary.document.account, draft);
        assert_eq!(
            primary.document.other_accounts.iter().map(|other| other.ruleset.id.as_str()).collect::<Vec<_>>(),
            ["enterprise-b2b-saas"]
        );
        assert!(primary.drives_levels);
        let id = RulesetId::new("ars_second").unwrap();
        assert_eq!(beside.document.without(RulesetKind::Account, &id).document.other_accounts, []);
    }

    #[test]
    fn only_what_counts_something_else_is_a_new_part() {
        let document = default_document().unwrap();
        let mut draft = document.engagement.clone();
        draft.rules.remove(0);
        draft.rules.iter_mut().for_each(|rule| rule.points = 1);
        let fewer = document.with(RulesetKind::Engagement, &Content::Engagement(draft.clone()), Days::default(), false);
        assert_eq!((fewer.new_parts.len(), fewer.document.kept_parts.len()), (0, 1));
        assert_eq!(digest(&fewer.document), digest(&document));
        draft.rules[0].part.events = vec!["Trial Started".to_owned()];
        let other = document.with(RulesetKind::Engagement, &Content::Engagement(draft.clone()), Days::default(), false);
        assert_eq!(other.new_parts, [draft.rules[0].part.clone()]);
        assert_ne!(digest(&other.document), digest(&document));
    }
}
