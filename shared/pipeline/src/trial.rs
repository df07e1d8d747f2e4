//! A draft, or a published version, on trial: the candidate model that a dry run compares with the model in force, and how its result reads. A
//! request for one account or a small workspace and a job for a large one begin and end here.

use crate::{homes::HomeStore, parcels::Parcels, rehearse::Rehearsal, rulesets::Ruleset};
use domain::{
    Day, Home, Timestamp, WorkspaceId,
    dry_run::{ChangedHome, Comparison, Shown, Subject},
    level::LevelRuleset,
    lint::{Circumstances, Finding, Severity, lint},
    model::{Model, ModelError},
    ruleset::{Content, RulesetKind},
    trigger::Trigger,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use thiserror::Error;

/// Over how many past days it is told how often triggers would have fired, at most.
pub const MOST_DAYS: u32 = 28;

/// A content on trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Which score it is about.
    pub subject: Subject,
    /// The model in force.
    pub old: Arc<Model>,
    /// The model with the content in its place.
    pub new: Arc<Model>,
    /// Whether events would have to be counted for it.
    pub needs_fold: bool,
    kind: RulesetKind,
    /// What is said of the ruleset.
    ruleset: Value,
}

/// Why there is nothing to try.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The draft has another revision by now (0: there is none), or there is no content at all.
    #[error("the draft is at revision {revision} by now")]
    Stale {
        /// The revision.
        revision: u64,
    },
    /// It can't work.
    #[error("it can't work: {} faults", .0.len())]
    Refused(Vec<Finding>),
    /// The model that follows can't be used.
    #[error(transparent)]
    Unusable(#[from] ModelError),
}

impl Trial {
    /// Tries the draft of this revision, or for `None` the published version, as it would be if it were enabled; with `as_primary` as the primary
    /// ruleset of its kind. Rulesets of levels are always tried so.
    pub fn of(ruleset: &Ruleset, revision: Option<u64>, old: Arc<Model>, as_primary: bool, today: Day) -> Result<Self, TrialError> {
        let stale = TrialError::Stale { revision: ruleset.revision() };
        let content = match (revision, &ruleset.draft) {
            (Some(revision), Some(draft)) if draft.revision == revision => &draft.content,
            (None, _) => match &ruleset.content {
                Some(content) => content,
                None => return Err(stale),
            },
            _ => return Err(stale),
        };
        let head = &ruleset.head;
        let circumstances = Circumstances {
            primary: ruleset.primary || as_primary,
            starts_on: head.starts_on,
            ends_on: head.ends_on,
            ..Circumstances::new(head.kind, &old.document, today)
        };
        let faults: Vec<Finding> =
            lint(content, &circumstances).into_iter().filter(|finding| finding.severity == Severity::Error).collect();
        if !faults.is_empty() {
            return Err(TrialError::Refused(faults));
        }
        let version = if revision.is_some() { head.version().saturating_add(1) } else { head.version() };
        let content: Content = content.clone().with_identity(&head.id, None, version);
        let candidate = old.document.with(head.kind, &content, head.days(), as_primary);
        let said = json!({
            "id": head.id, "kind": head.kind, "name": content.name(), "revision": revision,
            "version": revision.is_none().then_some(version), "as_primary": candidate.drives_levels,
        });
        let (subject, needs_fold) = (Subject::of(head.kind, head.id.as_str(), candidate.drives_levels), !candidate.new_parts.is_empty());
        let new = Arc::new(Model::compile(candidate.announced().document)?);
        Ok(Self { subject, old, new, needs_fold, kind: head.kind, ruleset: said })
    }

    /// The comparison of homes.
    pub fn rehearsal<'a, S>(
        &'a self,
        homes: &'a HomeStore<S>,
        parcels: &'a Parcels<S>,
        workspace: &'a WorkspaceId,
        triggers: &'a [Trigger],
        days: u32,
        now: Timestamp,
    ) -> Rehearsal<'a, S> {
        let subject = self.subject.clone();
        Rehearsal { homes, parcels, workspace, old: &self.old, new: &self.new, subject, triggers, days, now }
    }

    /// What is said of the ruleset that is tried.
    pub fn ruleset(&self) -> Value {
        self.ruleset.clone()
    }

    /// The result over all homes as JSON.
    pub fn result(&self, comparison: &Comparison, triggers: &[Trigger], days: u32, today: Day) -> Value {
        let mut value = comparison.to_value(triggers, days);
        if let Some(map) = value.as_object_mut() {
            map.insert("as_of".to_owned(), json!(today.to_string()));
            map.insert("ruleset".to_owned(), self.ruleset());
            map.insert("needs_fold".to_owned(), json!(self.needs_fold));
            map.insert("proposed_levels".to_owned(), self.proposed(comparison.possible));
        }
        value
    }

    /// Ranges of levels that keep their share of what is possible.
    fn proposed(&self, possible: [Option<i64>; 2]) -> Value {
        let (kind, levels): (RulesetKind, &LevelRuleset) = match (self.kind, &self.subject) {
            (RulesetKind::Account, Subject::Account {}) => (RulesetKind::AccountLevels, &self.old.document.account_levels),
            (RulesetKind::Engagement, Subject::Engagement {}) => (RulesetKind::EngagementLevels, &self.old.document.engagement_levels),
            _ => return json!([]),
        };
        let [Some(before), Some(after)] = possible else { return json!([]) };
        let proposed = levels.proposed(before, after).filter(|proposed| *proposed != levels.levels);
        let proposed = proposed.map(|proposed| {
            let because = format!("{after} points are possible then, {before} now");
            json!({ "ruleset_id": levels.id, "kind": kind, "because": because, "levels": proposed })
        });
        proposed.into_iter().collect()
    }
}

/// A home for which something changes, as JSON: who it is, and for everything that is different what it is now and would be.
pub fn row(changed: &ChangedHome) -> Value {
    let mut map = Map::new();
    match &changed.home {
        Home::Account(account) => map.insert("account_id".to_owned(), json!(account)),
        Home::Lead(lead) => map.insert("lead_id".to_owned(), json!(format!("ld_{lead}"))),
    };
    map.insert("name".to_owned(), json!(changed.name));
    map.extend(differences(&changed.old, &changed.new));
    Value::Object(map)
}

/// Everything that is different between what people see of a home now and would see, as pairs. Only levels of leads are different when there is
/// nothing.
pub fn differences(old: &Shown, new: &Shown) -> Map<String, Value> {
    fn pair<T: Serialize + PartialEq>(map: &mut Map<String, Value>, key: &str, old: &T, new: &T) {
        if old != new {
            map.insert(key.to_owned(), json!([old, new]));
        }
    }
    let mut map = Map::new();
    pair(&mut map, "score", &old.score, &new.score);
    pair(&mut map, "account_score", &old.account_score, &new.account_score);
    pair(&mut map, "engagement_score", &old.engagement_score, &new.engagement_score);
    pair(&mut map, "account_level", &old.account_level, &new.account_level);
    pair(&mut map, "engagement_level", &old.engagement_level, &new.engagement_level);
    pair(&mut map, "grade", &old.grade, &new.grade);
    pair(&mut map, "grid", &old.grid, &new.grid);
    pair(&mut map, "surge_active", &old.surge_active, &new.surge_active);
    map
}
