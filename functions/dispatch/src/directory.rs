//! What notifications call levels and leads.

use domain::{Home, IdentityId, WorkspaceId, evaluate::Evaluation, level::LevelRuleset, segments::SegmentLevels, trigger::LevelOf};
use pipeline::{Clock, Consistency, Store, StoreError, homes::HomeStore, models::Models, records::Standing};
use std::{borrow::Cow, future::Future, sync::Arc};

/// How many deeds of a lead are named.
const DEEDS: usize = 3;

/// What a level is called and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelName {
    /// The level's id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What sales and marketing do with accounts at this level.
    pub play: Option<Play>,
}

/// What sales and marketing do with accounts at a level.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Play {
    /// Targeting.
    pub targeting: String,
    /// Sales motion.
    pub sales_motion: String,
    /// Success metric.
    pub success_metric: String,
}

/// The names of a workspace's levels, each kind in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LevelNames {
    /// Account levels.
    pub account: Vec<LevelName>,
    /// Account engagement levels.
    pub engagement: Vec<LevelName>,
    /// Lead levels.
    pub lead: Vec<LevelName>,
    /// What the levels of segments are called.
    pub segments: Vec<SegmentNames>,
}

/// The names of the levels of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentNames {
    /// Which kind of levels.
    pub of: LevelOf,
    /// The id of the segment's level ruleset.
    pub ruleset: String,
    /// The levels.
    pub levels: Vec<LevelName>,
}

impl LevelNames {
    /// The names for an account with this standing: those of the rulesets that it falls under come first. A level that only another segment has
    /// keeps the name that it has there.
    #[must_use]
    pub fn under(&self, standing: Option<&Standing>) -> Cow<'_, Self> {
        if self.segments.is_empty() {
            return Cow::Borrowed(self);
        }
        let names = |of: LevelOf, ruleset: Option<&String>, primary: &[LevelName]| {
            let of_kind = || self.segments.iter().filter(move |segment| segment.of == of);
            let own = of_kind().filter(|segment| Some(&segment.ruleset) == ruleset).flat_map(|segment| &segment.levels);
            own.chain(primary).chain(of_kind().flat_map(|segment| &segment.levels)).cloned().collect()
        };
        let under = |ruleset: fn(&Standing) -> &Option<String>| standing.and_then(|standing| ruleset(standing).as_ref());
        Cow::Owned(Self {
            account: names(LevelOf::Account, under(|standing| &standing.level_ruleset), &self.account),
            engagement: names(LevelOf::Engagement, under(|standing| &standing.engagement_level_ruleset), &self.engagement),
            lead: names(LevelOf::Lead, under(|standing| &standing.lead_level_ruleset), &self.lead),
            segments: Vec::new(),
        })
    }

    fn find(&self, of: LevelOf, id: &str) -> Option<&LevelName> {
        let levels = match of {
            LevelOf::Account => &self.account,
            LevelOf::Engagement => &self.engagement,
            LevelOf::Lead => &self.lead,
        };
        levels.iter().find(|level| level.id == id)
    }

    /// A level's name; one that is not known any more is named by its id, `very_hot` as `Very hot`.
    pub fn name(&self, of: LevelOf, id: &str) -> String {
        match self.find(of, id) {
            Some(level) => level.name.clone(),
            None => {
                let words = id.replace(['_', '-'], " ");
                let mut chars = words.chars();
                chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
            }
        }
    }

    /// What is done with accounts at a level.
    pub fn play(&self, of: LevelOf, id: &str) -> Option<&Play> {
        self.find(of, id).and_then(|level| level.play.as_ref())
    }
}

/// A lead as a notification names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Which lead.
    pub lead: IdentityId,
    /// A name, an e-mail address, or the id that the client gave.
    pub name: String,
    /// What the lead did, in words, best first. May be empty.
    pub did: Vec<String>,
}

/// What notifications need to know beside the records of the account: the names of levels and leads.
pub trait Directory: Send + Sync + 'static {
    /// The workspace's levels.
    fn levels(&self, workspace: &WorkspaceId) -> impl Future<Output = Result<Arc<LevelNames>, StoreError>> + Send;

    /// Who these leads of a home are, in their order. One that is not found is left out.
    fn people(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        leads: &[IdentityId],
    ) -> impl Future<Output = Result<Vec<Person>, StoreError>> + Send;
}

impl<D: Directory> Directory for Arc<D> {
    fn levels(&self, workspace: &WorkspaceId) -> impl Future<Output = Result<Arc<LevelNames>, StoreError>> + Send {
        (**self).levels(workspace)
    }

    fn people(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        leads: &[IdentityId],
    ) -> impl Future<Output = Result<Vec<Person>, StoreError>> + Send {
        (**self).people(workspace, home, leads)
    }
}

/// Levels as the workspace's model names them; leads by their name, address or id, with the rules that gave them most points.
#[derive(Debug)]
pub struct ModelDirectory<S, C> {
    homes: HomeStore<S>,
    models: Models<S, C>,
    clock: C,
}

impl<S: Store + Clone, C: Clock + Clone> ModelDirectory<S, C> {
    /// Over this store.
    pub fn new(store: S, clock: C) -> Self {
        Self { homes: HomeStore::new(store.clone()), models: Models::new(store, clock.clone()), clock }
    }
}

fn names(ruleset: &LevelRuleset) -> Vec<LevelName> {
    let play = |play: &domain::level::Play| Play {
        targeting: play.targeting.clone(),
        sales_motion: play.sales_motion.clone(),
        success_metric: play.success_metric.clone(),
    };
    let name =
        |level: &domain::level::Level| LevelName { id: level.id.clone(), name: level.name.clone(), play: level.play.as_ref().map(play) };
    ruleset.levels.iter().map(name).collect()
}

impl<S: Store + Clone, C: Clock + Clone> Directory for ModelDirectory<S, C> {
    async fn levels(&self, workspace: &WorkspaceId) -> Result<Arc<LevelNames>, StoreError> {
        let model = self.models.current(workspace).await?;
        let document = &model.document;
        let segments = [LevelOf::Account, LevelOf::Engagement, LevelOf::Lead].into_iter().flat_map(|of| {
            let named =
                move |segment: &SegmentLevels| SegmentNames { of, ruleset: segment.ruleset.id.clone(), levels: names(&segment.ruleset) };
            document.segments(of).iter().map(named)
        });
        Ok(Arc::new(LevelNames {
            account: names(&document.account_levels),
            engagement: names(&document.engagement_levels),
            lead: names(&document.lead_levels),
            segments: segments.collect(),
        }))
    }

    async fn people(&self, workspace: &WorkspaceId, home: &Home, leads: &[IdentityId]) -> Result<Vec<Person>, StoreError> {
        let model = self.models.current(workspace).await?;
        let gathered = self.homes.gather(workspace, home, Consistency::Eventual).await?;
        let evaluation = Evaluation::new(&model, gathered.inputs(), self.clock.now().day());
        let person = |id: &IdentityId| {
            let lead = evaluation.leads.iter().find(|lead| lead.id == *id)?;
            let points = evaluation.engagement.leads.iter().find(|points| points.lead == *id);
            let mut rules: Vec<_> = points.iter().flat_map(|points| &points.rules).filter(|rule| rule.milli > 0).collect();
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.milli));
            let named = rules.into_iter().filter_map(|rule| model.document.engagement.rules.get(rule.rule));
            Some(Person { lead: *id, name: lead.label(), did: named.take(DEEDS).map(|rule| rule.name.clone()).collect() })
        };
        Ok(leads.iter().filter_map(person).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AccountId, BatchId, Event, Identity, Timestamp, model::default_model, state::IdentityState};
    use pipeline::{Condition, ManualClock, homes::put_state, memory::MemoryStore};
    use serde_json::json;

    #[test]
    fn a_level_without_a_name_is_named_by_its_id() {
        let levels =
            LevelNames { account: vec![LevelName { id: "target".into(), name: "Ziel".into(), play: None }], ..LevelNames::default() };
        assert_eq!(levels.name(LevelOf::Account, "target"), "Ziel");
        assert_eq!(levels.name(LevelOf::Lead, "very_hot"), "Very hot");
        assert_eq!(levels.name(LevelOf::Lead, ""), "");
    }

    #[test]
    fn an_account_of_a_segment_goes_by_the_names_of_its_ruleset() {
        let named = |id: &str, name: &str| LevelName { id: id.into(), name: name.into(), play: None };
        let segment = |ruleset: &str, levels: Vec<LevelName>| SegmentNames { of: LevelOf::Account, ruleset: ruleset.into(), levels };
        let levels = LevelNames {
            account: vec![named("target", "Target"), named("low", "Low")],
            segments: vec![
                segment("als_partners", vec![named("target", "Key partner")]),
                segment("als_dach", vec![named("target", "Ziel"), named("watch", "Beobachten")]),
            ],
            ..LevelNames::default()
        };
        let standing = json!({
            "served": 1, "inputs": 1, "fresh": 1, "seq": 1, "level": "target", "level_ruleset": "als_dach", "account_score": 9, "engagement": 0,
            "surge": false, "total_leads": 0
        });
        let standing: Standing = serde_json::from_value(standing).unwrap();
        let of_dach = levels.under(Some(&standing));
        let name = |levels: &LevelNames, id: &str| levels.name(LevelOf::Account, id);
        assert_eq!(
            (name(&of_dach, "target"), name(&of_dach, "low"), name(&of_dach, "watch")),
            ("Ziel".into(), "Low".into(), "Beobachten".into())
        );
        let primary = levels.under(None);
        assert_eq!((name(&primary, "target"), name(&primary, "watch")), ("Target".into(), "Beobachten".into()));
    }

    #[tokio::test]
    async fn a_lead_is_named_with_what_it_did() {
        let (store, at) = (Arc::new(MemoryStore::default()), Timestamp::parse("2026-11-21T12:00:00Z").unwrap());
        let clock = Arc::new(ManualClock::at(at));
        let (main, home) = (WorkspaceId::new("main").unwrap(), Home::Account(AccountId::new("northwind-looms.com").unwrap()));
        let identity = Identity::user("u1");
        let event = |id: &str, kind: &str, more: serde_json::Value| {
            let mut event = json!({"id": id, "kind": kind, "user_id": "u1", "at": at.millis(), "received_at": at.millis()});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            // Objects of events keep their text, which only the parser can give them.
            serde_json::from_str::<Event>(&event.to_string()).unwrap()
        };
        let events = [
            event("m1", "identify", json!({"traits": {"name": "Kim Loom", "email": "kim@northwind-looms.com"}})),
            event("m2", "page", json!({"name": "Home"})),
            event("m3", "track", json!({"name": "Demo Request"})),
        ];
        let model = default_model().unwrap();
        let mut state = IdentityState::new(identity.clone(), &model.matcher);
        state.fold(BatchId::new(at, 1), &events, None, at, &model.matcher, &model.document.mapping);
        store.write(put_state(&main, &home, &state, 1, Condition::Absent).unwrap()).await.unwrap();
        let directory = ModelDirectory::new(store, clock);
        let people = directory.people(&main, &home, &[identity.id(), Identity::user("stranger").id()]).await.unwrap();
        assert_eq!(
            people,
            [Person { lead: identity.id(), name: "Kim Loom".into(), did: vec!["Demo request".into(), "Website visit".into()] }]
        );
        let levels = directory.levels(&main).await.unwrap();
        assert_eq!(
            (levels.name(LevelOf::Account, "target"), levels.name(LevelOf::Engagement, "very_hot")),
            ("Target".into(), "Very Hot".into())
        );
        assert!(levels.play(LevelOf::Account, "target").is_some());
    }
}
