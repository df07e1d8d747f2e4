//! The model as it would be with a ruleset in its place: what publications put into force, and what dry runs compare with the model in force.

use crate::{
    Day,
    engagement::{MatchingPart, PartId},
    model::{Beside, ModelDocument},
    ruleset::{Content, LevelContent, RulesetId, RulesetKind},
    segments::{SegmentLevels, level_of},
    trigger::LevelOf,
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

/// Where a ruleset stands in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It drives levels.
    Primary,
    /// It is used beside the primary one, on its days or for its segment.
    Beside,
    /// The model does not hold it.
    Nowhere,
}

impl ModelDocument {
    /// The model with this content in its place: as the primary ruleset of its kind if it is that already or `as_primary` says so, else beside
    /// it on its days. A primary ruleset of fields or events whose place is taken goes on beside. Levels with a segment take their place among the
    /// segments, behind the others when they are new; levels without one are always primary.
    pub fn with(&self, kind: RulesetKind, content: &Content, days: Days, as_primary: bool) -> Candidate {
        let mut document = self.clone();
        let drives_levels = as_primary || kind.is_of_levels() || self.primary_id(kind) == content.id();
        match (level_of(kind), content) {
            (Some(of), Content::Levels(levels)) => {
                let segments = document.segments_mut(of);
                if !as_primary && levels.segment.is_none() && segments.iter().any(|segment| segment.ruleset.id == levels.ruleset.id) {
                    // It had a segment and is to have none: it is not used then.
                    segments.retain(|segment| segment.ruleset.id != levels.ruleset.id);
                } else {
                    document.put_levels(of, levels.clone());
                }
            }
            _ if drives_levels => {
                let before = self.primary(kind);
                document.put_primary(kind, content.clone());
                if before.id() != content.id() {
                    document.put_beside(kind, before, Days::default());
                }
            }
            _ => document.put_beside(kind, content.clone(), days),
        }
        let new_parts = self.parts_new_in(&document);
        document.kept_parts = self.parts_kept_for(&document);
        document.version = self.version.saturating_add(1);
        document.published = None;
        Candidate { document, new_parts, drives_levels }
    }

    /// Where a ruleset stands.
    pub fn place_of(&self, kind: RulesetKind, id: &RulesetId) -> Place {
        if self.primary_id(kind) == id.as_str() {
            Place::Primary
        } else if self.beside(kind, id).is_some() {
            Place::Beside
        } else {
            Place::Nowhere
        }
    }

    /// The primary ruleset of a kind.
    pub fn primary(&self, kind: RulesetKind) -> Content {
        match kind {
            RulesetKind::Account => Content::Account(self.account.clone()),
            RulesetKind::Engagement => Content::Engagement(self.engagement.clone()),
            RulesetKind::AccountLevels => Content::Levels(self.account_levels.clone().into()),
            RulesetKind::LeadLevels => Content::Levels(self.lead_levels.clone().into()),
            RulesetKind::EngagementLevels => Content::Levels(self.engagement_levels.clone().into()),
        }
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

    /// Every ruleset of a kind that is used beside the primary one, with its days; of levels those of segments, which have none.
    pub fn all_beside(&self, kind: RulesetKind) -> Vec<Beside<Content>> {
        fn of<R: Clone>(others: &[Beside<R>], content: impl Fn(R) -> Content) -> Vec<Beside<Content>> {
            let as_content =
                |other: &Beside<R>| Beside { ruleset: content(other.ruleset.clone()), starts_on: other.starts_on, ends_on: other.ends_on };
            others.iter().map(as_content).collect()
        }
        match kind {
            RulesetKind::Account => of(&self.other_accounts, Content::Account),
            RulesetKind::Engagement => of(&self.other_engagements, Content::Engagement),
            RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => {
                let segments = level_of(kind).map(|of| self.segments(of)).unwrap_or_default();
                let content = |segment: &SegmentLevels| {
                    Content::Levels(LevelContent { segment: Some(segment.when.clone()), ..LevelContent::from(segment.ruleset.clone()) })
                };
                segments.iter().map(|segment| Beside { ruleset: content(segment), starts_on: None, ends_on: None }).collect()
            }
        }
    }

    /// A ruleset that is used beside the primary one, with its days.
    pub fn beside(&self, kind: RulesetKind, id: &RulesetId) -> Option<Beside<Content>> {
        self.all_beside(kind).into_iter().find(|other| other.ruleset.id() == id.as_str())
    }

    /// The content of a ruleset as the model holds it, whether as the primary one or beside it.
    pub fn holds(&self, kind: RulesetKind, id: &RulesetId) -> Option<Content> {
        if self.primary_id(kind) == id.as_str() { Some(self.primary(kind)) } else { self.beside(kind, id).map(|other| other.ruleset) }
    }

    /// Takes a ruleset out of those that are used beside the primary one.
    pub fn take_out(&mut self, kind: RulesetKind, id: &RulesetId) {
        match kind {
            RulesetKind::Account => self.other_accounts.retain(|other| other.ruleset.id != id.as_str()),
            RulesetKind::Engagement => self.other_engagements.retain(|other| other.ruleset.id != id.as_str()),
            RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => {
                if let Some(of) = level_of(kind) {
                    self.segments_mut(of).retain(|segment| segment.ruleset.id != id.as_str());
                }
            }
        }
    }

    /// Puts a ruleset among those that are used beside the primary one: of fields or events in the order of their ids, levels among the segments,
    /// behind the others when they are new. Levels without a segment have no such place.
    pub fn put_beside(&mut self, kind: RulesetKind, content: Content, days: Days) {
        match content {
            Content::Account(ruleset) => put_among(&mut self.other_accounts, ruleset, |ruleset| &ruleset.id, days),
            Content::Engagement(ruleset) => put_among(&mut self.other_engagements, ruleset, |ruleset| &ruleset.id, days),
            Content::Levels(levels) => {
                if let (Some(of), Some(_)) = (level_of(kind), &levels.segment) {
                    self.put_levels(of, levels);
                }
            }
        }
    }

    /// Makes a ruleset the primary one of its kind. The one that was leaves the model; it may be put beside.
    pub fn put_primary(&mut self, kind: RulesetKind, content: Content) {
        match (kind, content) {
            (RulesetKind::Account, Content::Account(ruleset)) => {
                self.other_accounts.retain(|other| other.ruleset.id != ruleset.id);
                self.account = ruleset;
            }
            (RulesetKind::Engagement, Content::Engagement(ruleset)) => {
                self.other_engagements.retain(|other| other.ruleset.id != ruleset.id);
                self.engagement = ruleset;
            }
            (RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels, Content::Levels(levels)) => {
                if let Some(of) = level_of(kind) {
                    // The primary one takes whoever no segment takes.
                    self.put_levels(of, LevelContent { segment: None, ..levels });
                }
            }
            // A content of another kind has no place there.
            _ => {}
        }
    }

    /// Puts levels into their place: with a segment among the segments, where a ruleset with their id stands already or behind the others; without
    /// one as the primary ruleset.
    fn put_levels(&mut self, of: LevelOf, levels: LevelContent) {
        let LevelContent { ruleset, segment, .. } = levels;
        let segments = self.segments_mut(of);
        match segment {
            Some(when) => {
                let place = segments.iter().position(|other| other.ruleset.id == ruleset.id);
                let segment = SegmentLevels { when, ruleset };
                match place.and_then(|place| segments.get_mut(place)) {
                    Some(there) => *there = segment,
                    None => segments.push(segment),
                }
            }
            None => {
                segments.retain(|other| other.ruleset.id != ruleset.id);
                *self.levels_mut(of) = ruleset;
            }
        }
    }

    const fn levels_mut(&mut self, of: LevelOf) -> &mut crate::level::LevelRuleset {
        match of {
            LevelOf::Account => &mut self.account_levels,
            LevelOf::Engagement => &mut self.engagement_levels,
            LevelOf::Lead => &mut self.lead_levels,
        }
    }

    /// What states are counted by.
    pub fn parts(&self) -> BTreeSet<PartId> {
        ids(self.matching_parts())
    }

    /// The matching parts that a candidate's rules ask for and that states are not counted by: empty when no event has to be read.
    pub fn parts_new_in(&self, candidate: &Self) -> Vec<MatchingPart> {
        lacking(candidate.rule_parts(), self.parts())
    }

    /// The parts that a candidate has to keep so that states stay counted by the same set.
    pub fn parts_kept_for(&self, candidate: &Self) -> Vec<MatchingPart> {
        lacking(self.matching_parts(), ids(candidate.rule_parts()))
    }

    /// The parts that the present rules have to keep while states are counted for a candidate: those of the candidate alone. What was kept for
    /// nobody goes, as everything is counted anew.
    pub fn parts_to_come(&self, candidate: &Self) -> Vec<MatchingPart> {
        lacking(candidate.rule_parts(), ids(self.rule_parts()))
    }

    /// Whether a candidate may lead to other scores, levels, owners or reasons than this model.
    pub fn scores_differ(&self, candidate: &Self) -> bool {
        bare(self, self) != bare(candidate, self)
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

fn put_among<R>(others: &mut Vec<Beside<R>>, ruleset: R, id: impl Fn(&R) -> &String, days: Days) {
    others.retain(|other| id(&other.ruleset) != id(&ruleset));
    others.push(Beside { ruleset, starts_on: days.starts_on, ends_on: days.ends_on });
    others.sort_by(|a, b| id(&a.ruleset).cmp(id(&b.ruleset)));
}

fn ids<'p>(parts: impl Iterator<Item = &'p MatchingPart>) -> BTreeSet<PartId> {
    parts.map(MatchingPart::id).collect()
}

/// Those of `parts` that are not among `known`, each once.
fn lacking<'p>(parts: impl Iterator<Item = &'p MatchingPart>, mut known: BTreeSet<PartId>) -> Vec<MatchingPart> {
    parts.filter(|part| known.insert(part.id())).cloned().collect()
}

/// A document without what no score, level or reason depends on.
fn bare(document: &ModelDocument, base: &ModelDocument) -> ModelDocument {
    let mut bare = document.clone();
    bare.version = 0;
    bare.kept_parts = Vec::new();
    bare.announced = Vec::new();
    bare.published = None;
    // These decide about events that are still to come.
    bare.mapping = base.mapping.clone();
    bare.mapping_applied = None;
    bare.profiles = base.profiles.clone();
    bare.own_domains.clone_from(&base.own_domains);
    bare.owners.0.iter_mut().for_each(|rule| rule.name.clear());
    let of_segments = [&mut bare.account_segments, &mut bare.lead_segments, &mut bare.engagement_segments]
        .into_iter()
        .flatten()
        .map(|segment| &mut segment.ruleset);
    for levels in of_segments.chain([&mut bare.account_levels, &mut bare.lead_levels, &mut bare.engagement_levels]) {
        levels.version = 0;
        levels.name.clear();
        for level in &mut levels.levels {
            level.name.clear();
            level.color.clear();
            level.play = None;
        }
    }
    let accounts = bare.other_accounts.iter_mut().map(|other| &mut other.ruleset);
    for ruleset in accounts.chain([&mut bare.account]) {
        ruleset.version = 0;
        ruleset.name.clear();
    }
    let engagements = bare.other_engagements.iter_mut().map(|other| &mut other.ruleset);
    for ruleset in engagements.chain([&mut bare.engagement]) {
        ruleset.version = 0;
        ruleset.name.clear();
    }
    bare
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
        assert_eq!(
            {
                let mut without = beside.document.clone();
                without.take_out(RulesetKind::Account, &id);
                without.other_accounts
            },
            []
        );
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

    fn part(event: &str) -> MatchingPart {
        MatchingPart { events: vec![event.to_owned()], filters: Vec::new(), count: Default::default() }
    }

    fn names(parts: &[MatchingPart]) -> Vec<&str> {
        parts.iter().map(|part| part.events[0].as_str()).collect()
    }

    #[test]
    fn what_no_rule_asks_for_any_more_stays_counted_so_that_the_set_of_parts_is_the_same() {
        let current = default_document().unwrap();
        let mut candidate = current.clone();
        let removed = candidate.engagement.rules.remove(0);
        assert!(current.parts_new_in(&candidate).is_empty());
        candidate.kept_parts = current.parts_kept_for(&candidate);
        assert_eq!(candidate.kept_parts, [removed.part]);
        assert_eq!(digest(&candidate), digest(&current));
    }

    #[test]
    fn a_new_part_is_counted_beside_the_old_ones_before_the_new_rules_hold() {
        let mut current = default_document().unwrap();
        current.kept_parts = vec![part("used by nobody")];
        let mut candidate = current.clone();
        candidate.engagement.rules.truncate(1);
        candidate.engagement.rules[0].part = part("Trial Started");
        assert_eq!(names(&current.parts_new_in(&candidate)), ["Trial Started"]);
        let mut preparing = current.clone();
        preparing.kept_parts = current.parts_to_come(&candidate);
        assert_eq!(names(&preparing.kept_parts), ["Trial Started"]);
        // Once everything is counted, the switch needs nothing new.
        assert!(preparing.parts_new_in(&candidate).is_empty());
        candidate.kept_parts = preparing.parts_kept_for(&candidate);
        assert_eq!(candidate.kept_parts.len(), current.engagement.rules.len());
        assert_eq!(digest(&candidate), digest(&preparing));
    }

    #[test]
    fn names_colours_and_plays_of_levels_change_no_score_and_bounds_do() {
        let current = default_document().unwrap();
        let mut candidate = current.clone();
        candidate.version = 9;
        candidate.account_levels.levels[0].name = "Lowest".into();
        candidate.account_levels.levels[0].color = "red".into();
        candidate.account_levels.levels[0].play = None;
        candidate.account.version = 4;
        assert!(!current.scores_differ(&candidate));
        candidate.account_levels.levels[1].min += 1;
        assert!(current.scores_differ(&candidate));
    }
}
