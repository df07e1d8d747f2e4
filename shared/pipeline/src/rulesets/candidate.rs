//! The model as it would be with a ruleset in its place: pure functions on documents, for publications and dry runs alike.

use super::record::RulesetHead;
use domain::{
    Day, RulesetId,
    engagement::{MatchingPart, PartId},
    level::LevelRuleset,
    model::{Beside, ModelDocument},
    ruleset::{Content, RulesetKind},
};
use std::collections::BTreeSet;

/// Where a ruleset stands in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It drives levels.
    Primary,
    /// It is scored beside the primary one, on its days.
    Beside,
    /// The model does not hold it.
    Nowhere,
}

pub(super) fn place_of(document: &ModelDocument, kind: RulesetKind, id: &RulesetId) -> Place {
    if primary(document, kind).id() == id.as_str() {
        Place::Primary
    } else if beside(document, kind, id).is_some() {
        Place::Beside
    } else {
        Place::Nowhere
    }
}

/// The primary ruleset of a kind.
pub(super) fn primary(document: &ModelDocument, kind: RulesetKind) -> Content {
    match kind {
        RulesetKind::Account => Content::Account(document.account.clone()),
        RulesetKind::Engagement => Content::Engagement(document.engagement.clone()),
        RulesetKind::AccountLevels => Content::Levels(document.account_levels.clone()),
        RulesetKind::LeadLevels => Content::Levels(document.lead_levels.clone()),
        RulesetKind::EngagementLevels => Content::Levels(document.engagement_levels.clone()),
    }
}

/// Every ruleset of a kind that is scored beside the primary one, with its days.
pub(super) fn all_beside(document: &ModelDocument, kind: RulesetKind) -> Vec<Beside<Content>> {
    fn of<R: Clone>(others: &[Beside<R>], content: impl Fn(R) -> Content) -> Vec<Beside<Content>> {
        let as_content =
            |other: &Beside<R>| Beside { ruleset: content(other.ruleset.clone()), starts_on: other.starts_on, ends_on: other.ends_on };
        others.iter().map(as_content).collect()
    }
    match kind {
        RulesetKind::Account => of(&document.other_accounts, Content::Account),
        RulesetKind::Engagement => of(&document.other_engagements, Content::Engagement),
        RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => Vec::new(),
    }
}

/// A ruleset that is scored beside the primary one, with its days.
pub fn beside(document: &ModelDocument, kind: RulesetKind, id: &RulesetId) -> Option<Beside<Content>> {
    all_beside(document, kind).into_iter().find(|other| other.ruleset.id() == id.as_str())
}

/// The content of a ruleset as the model holds it, whether as the primary one or beside it.
pub fn in_force(document: &ModelDocument, kind: RulesetKind, id: &RulesetId) -> Option<Content> {
    let primary = primary(document, kind);
    if primary.id() == id.as_str() { Some(primary) } else { beside(document, kind, id).map(|other| other.ruleset) }
}

/// A content as that of a version of a ruleset.
pub fn stamped(content: Content, id: &RulesetId, version: u64) -> Content {
    content.with_identity(id, None, version)
}

/// Takes a ruleset out of those that are scored beside the primary one.
pub fn without(document: &mut ModelDocument, kind: RulesetKind, id: &RulesetId) {
    match kind {
        RulesetKind::Account => document.other_accounts.retain(|other| other.ruleset.id != id.as_str()),
        RulesetKind::Engagement => document.other_engagements.retain(|other| other.ruleset.id != id.as_str()),
        RulesetKind::AccountLevels | RulesetKind::LeadLevels | RulesetKind::EngagementLevels => {}
    }
}

/// Puts a ruleset among those that are scored beside the primary one, in the order of their ids. Level rulesets have no such place.
pub fn put_beside(document: &mut ModelDocument, content: Content, starts_on: Option<Day>, ends_on: Option<Day>) {
    match content {
        Content::Account(ruleset) => {
            document.other_accounts.retain(|other| other.ruleset.id != ruleset.id);
            document.other_accounts.push(Beside { ruleset, starts_on, ends_on });
            document.other_accounts.sort_by(|a, b| a.ruleset.id.cmp(&b.ruleset.id));
        }
        Content::Engagement(ruleset) => {
            document.other_engagements.retain(|other| other.ruleset.id != ruleset.id);
            document.other_engagements.push(Beside { ruleset, starts_on, ends_on });
            document.other_engagements.sort_by(|a, b| a.ruleset.id.cmp(&b.ruleset.id));
        }
        Content::Levels(_) => {}
    }
}

/// Makes a ruleset the primary one of its kind. The one that was leaves the model; it may be put beside.
pub fn put_primary(document: &mut ModelDocument, kind: RulesetKind, content: Content) {
    let levels = |place: &mut LevelRuleset, content: Content| {
        if let Content::Levels(ruleset) = content {
            *place = ruleset;
        }
    };
    match (kind, content) {
        (RulesetKind::Account, Content::Account(ruleset)) => {
            document.other_accounts.retain(|other| other.ruleset.id != ruleset.id);
            document.account = ruleset;
        }
        (RulesetKind::Engagement, Content::Engagement(ruleset)) => {
            document.other_engagements.retain(|other| other.ruleset.id != ruleset.id);
            document.engagement = ruleset;
        }
        (RulesetKind::AccountLevels, content) => levels(&mut document.account_levels, content),
        (RulesetKind::LeadLevels, content) => levels(&mut document.lead_levels, content),
        (RulesetKind::EngagementLevels, content) => levels(&mut document.engagement_levels, content),
        (RulesetKind::Account | RulesetKind::Engagement, _) => {}
    }
}

/// Puts the content of a ruleset into its place: where it stands already, or beside the primary one when it is enabled.
pub(super) fn place(document: &mut ModelDocument, head: &RulesetHead, content: Content) {
    if place_of(document, head.kind, &head.id) == Place::Primary {
        put_primary(document, head.kind, content);
    } else if head.enabled {
        put_beside(document, content, head.starts_on, head.ends_on);
    } else {
        without(document, head.kind, &head.id);
    }
}

fn ids<'p>(parts: impl Iterator<Item = &'p MatchingPart>) -> BTreeSet<PartId> {
    parts.map(MatchingPart::id).collect()
}

/// Those of `parts` that are not among `known`, each once.
fn lacking<'p>(parts: impl Iterator<Item = &'p MatchingPart>, mut known: BTreeSet<PartId>) -> Vec<MatchingPart> {
    parts.filter(|part| known.insert(part.id())).cloned().collect()
}

/// The matching parts that a candidate's rules ask for and that states are not counted by: empty when no event has to be read.
pub(super) fn new_parts(current: &ModelDocument, candidate: &ModelDocument) -> Vec<MatchingPart> {
    lacking(candidate.rule_parts(), ids(current.matching_parts()))
}

/// The parts that a candidate has to keep so that states stay counted by the same set.
pub(super) fn kept_parts(current: &ModelDocument, candidate: &ModelDocument) -> Vec<MatchingPart> {
    lacking(current.matching_parts(), ids(candidate.rule_parts()))
}

/// The parts that the present rules have to keep while states are counted for a candidate: those of the candidate alone. What was kept for
/// nobody goes, as everything is counted anew.
pub(super) fn parts_to_come(current: &ModelDocument, candidate: &ModelDocument) -> Vec<MatchingPart> {
    lacking(candidate.rule_parts(), ids(current.rule_parts()))
}

/// Whether a candidate may lead to other scores, levels or reasons than the model in force.
pub(super) fn changes_scores(current: &ModelDocument, candidate: &ModelDocument) -> bool {
    bare(current, current) != bare(candidate, current)
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
    bare.profiles = base.profiles.clone();
    bare.own_domains.clone_from(&base.own_domains);
    for levels in [&mut bare.account_levels, &mut bare.lead_levels, &mut bare.engagement_levels] {
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
    use domain::model::default_document;

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
        assert!(new_parts(&current, &candidate).is_empty());
        candidate.kept_parts = kept_parts(&current, &candidate);
        assert_eq!(candidate.kept_parts, [removed.part]);
        let digest = |document: &ModelDocument| domain::engagement::Matcher::new(document.matching_parts()).digest();
        assert_eq!(digest(&candidate), digest(&current));
    }

    #[test]
    fn a_new_part_is_counted_beside_the_old_ones_before_the_new_rules_hold() {
        let mut current = default_document().unwrap();
        current.kept_parts = vec![part("used by nobody")];
        let mut candidate = current.clone();
        candidate.engagement.rules.truncate(1);
        candidate.engagement.rules[0].part = part("Trial Started");
        assert_eq!(names(&new_parts(&current, &candidate)), ["Trial Started"]);
        let mut preparing = current.clone();
        preparing.kept_parts = parts_to_come(&current, &candidate);
        assert_eq!(names(&preparing.kept_parts), ["Trial Started"]);
        // Once everything is counted, the switch needs nothing new.
        assert!(new_parts(&preparing, &candidate).is_empty());
        candidate.kept_parts = kept_parts(&preparing, &candidate);
        assert_eq!(candidate.kept_parts.len(), current.engagement.rules.len());
        let digest = |document: &ModelDocument| domain::engagement::Matcher::new(document.matching_parts()).digest();
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
        assert!(!changes_scores(&current, &candidate));
        candidate.account_levels.levels[1].min += 1;
        assert!(changes_scores(&current, &candidate));
    }
}
