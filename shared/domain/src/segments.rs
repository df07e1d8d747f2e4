//! Segments: which level ruleset an account falls under.
//!
//! Beside the primary level ruleset of a kind there may be others, each for the accounts that a condition holds for. They are asked in their
//! order, and the first whose condition holds decides; whoever none of them takes falls under the primary one. What is not known, or known only
//! as an interval that leaves the condition open, does not hold. A lead without an account falls under the primary ruleset.
//!
//! Level ids are a shared vocabulary: the same id in two rulesets of a kind means the same to triggers, filters and lists. Name, colour and
//! play are those of the ruleset that the account falls under.

use crate::{
    Day,
    account_rules::{AccountRule, AccountRuleset, CompiledAccountRuleset, Condition},
    aliases::Aliases,
    field::{FieldLookup, FieldName, FieldValue},
    level::{Level, LevelRuleset},
    model::{Model, ModelDocument},
    ruleset::RulesetKind,
    trigger::LevelOf,
};
use serde::{Deserialize, Serialize};

/// What people state of an account beside its fields. Conditions name it as they name fields, and it comes before a field of that name.
pub const STATED: [&str; 3] = ["tier", "owner", "priority"];

/// A level ruleset and the accounts that fall under it, unless a segment before it takes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentLevels {
    /// Which accounts.
    pub when: Condition,
    /// Their levels.
    pub ruleset: LevelRuleset,
}

/// What people state of an account beside its fields: see [`STATED`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFacts {
    tier: Option<FieldValue>,
    owner: Option<FieldValue>,
    priority: Option<FieldValue>,
}

impl AccountFacts {
    /// The named account's tier, who looks after the account, and the named account's priority.
    pub fn new(tier: Option<&str>, owner: Option<&str>, priority: Option<&str>) -> Self {
        let text = |text: Option<&str>| text.map(|text| FieldValue::Text(text.to_owned()));
        Self { tier: text(tier), owner: text(owner), priority: text(priority) }
    }

    fn of(&self, name: &str) -> Option<&FieldValue> {
        match name {
            "tier" => self.tier.as_ref(),
            "owner" => self.owner.as_ref(),
            "priority" => self.priority.as_ref(),
            _ => None,
        }
    }
}

/// An account's fields together with what people state of it.
#[derive(Debug, Clone, Copy)]
pub struct SegmentFields<'a, L: ?Sized> {
    /// The fields.
    pub fields: &'a L,
    /// What people state.
    pub account: &'a AccountFacts,
}

impl<L: FieldLookup + ?Sized> FieldLookup for SegmentFields<'_, L> {
    fn field(&self, name: &FieldName) -> Option<&FieldValue> {
        self.account.of(name.as_str()).or_else(|| self.fields.field(name))
    }
}

/// A condition alone, ready to be tried on many accounts.
#[derive(Debug)]
pub struct CompiledCondition(CompiledAccountRuleset);

impl CompiledCondition {
    /// Compiles a condition of a workspace with these alias tables. A faulty one never holds.
    pub fn new(condition: &Condition, aliases: &Aliases) -> Self {
        let rule = AccountRule {
            id: "segment".to_owned(),
            name: "segment".to_owned(),
            points: 1,
            disqualifies: false,
            group: None,
            condition: condition.clone(),
        };
        let ruleset = AccountRuleset {
            id: "segment".to_owned(),
            name: "segment".to_owned(),
            version: 1,
            missing_means_no: Vec::new(),
            cap: None,
            groups: Vec::new(),
            rules: vec![rule],
        };
        Self(ruleset.compile_with(aliases))
    }

    /// Whether the condition holds on a UTC day. What is missing or undecided does not.
    pub fn holds<L: FieldLookup + ?Sized>(&self, fields: &L, day: Day) -> bool {
        self.0.tally(fields, day.start()).score > 0
    }

    /// The next day after `day` on which the answer may be another although no field changes.
    pub fn next_change<L: FieldLookup + ?Sized>(&self, fields: &L, day: Day) -> Option<Day> {
        if self.0.depends_on_date() { self.0.tally(fields, day.start()).next_change } else { None }
    }

    /// Whether the answer may change with the day although no field does.
    pub fn depends_on_date(&self) -> bool {
        self.0.depends_on_date()
    }
}

/// The segments of every kind, compiled, in the order of the document.
#[derive(Debug, Default)]
pub(crate) struct Segments([Vec<CompiledCondition>; 3]);

impl Segments {
    pub(crate) fn compile(document: &ModelDocument, aliases: &Aliases) -> Self {
        Self(KINDS.map(|of| document.segments(of).iter().map(|segment| CompiledCondition::new(&segment.when, aliases)).collect()))
    }

    fn of(&self, of: LevelOf) -> &[CompiledCondition] {
        let [account, engagement, lead] = &self.0;
        match of {
            LevelOf::Account => account,
            LevelOf::Engagement => engagement,
            LevelOf::Lead => lead,
        }
    }

    fn all(&self) -> impl Iterator<Item = &CompiledCondition> {
        self.0.iter().flatten()
    }
}

const KINDS: [LevelOf; 3] = [LevelOf::Account, LevelOf::Engagement, LevelOf::Lead];

/// What levels of a kind of ruleset are levels of.
pub const fn level_of(kind: RulesetKind) -> Option<LevelOf> {
    match kind {
        RulesetKind::AccountLevels => Some(LevelOf::Account),
        RulesetKind::LeadLevels => Some(LevelOf::Lead),
        RulesetKind::EngagementLevels => Some(LevelOf::Engagement),
        RulesetKind::Account | RulesetKind::Engagement => None,
    }
}

impl ModelDocument {
    /// The primary level ruleset.
    pub const fn levels(&self, of: LevelOf) -> &LevelRuleset {
        match of {
            LevelOf::Account => &self.account_levels,
            LevelOf::Engagement => &self.engagement_levels,
            LevelOf::Lead => &self.lead_levels,
        }
    }

    /// The level rulesets with a segment, in their order.
    pub fn segments(&self, of: LevelOf) -> &[SegmentLevels] {
        match of {
            LevelOf::Account => &self.account_segments,
            LevelOf::Engagement => &self.engagement_segments,
            LevelOf::Lead => &self.lead_segments,
        }
    }

    /// The segments of every kind.
    pub fn all_segments(&self) -> impl Iterator<Item = &SegmentLevels> {
        self.account_segments.iter().chain(&self.lead_segments).chain(&self.engagement_segments)
    }

    /// The level rulesets with a segment, to be changed.
    pub const fn segments_mut(&mut self, of: LevelOf) -> &mut Vec<SegmentLevels> {
        match of {
            LevelOf::Account => &mut self.account_segments,
            LevelOf::Engagement => &mut self.engagement_segments,
            LevelOf::Lead => &mut self.lead_segments,
        }
    }

    /// Every level ruleset of a kind: the primary one first.
    pub fn all_levels(&self, of: LevelOf) -> impl Iterator<Item = &LevelRuleset> {
        std::iter::once(self.levels(of)).chain(self.segments(of).iter().map(|segment| &segment.ruleset))
    }

    /// The level ruleset with this id, the primary one for `None` and for an id that is not known any more.
    pub fn levels_by_id(&self, of: LevelOf, id: Option<&str>) -> &LevelRuleset {
        let primary = self.levels(of);
        id.and_then(|id| self.all_levels(of).find(|ruleset| ruleset.id == id)).unwrap_or(primary)
    }

    /// A level of any ruleset of a kind: the one of the ruleset with this id where there is such a ruleset and it has the level, else the
    /// primary one's, else that of the first segment which has it.
    pub fn level_named(&self, of: LevelOf, ruleset: Option<&str>, level: &str) -> Option<&Level> {
        let own = self.levels_by_id(of, ruleset).level(level);
        own.or_else(|| self.all_levels(of).find_map(|ruleset| ruleset.level(level)))
    }

    /// The ids of all levels of a kind, lowest first: those of the primary ruleset, and those that only segments have where they stand among
    /// them.
    pub fn level_ids(&self, of: LevelOf) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for level in self.all_levels(of).flat_map(|ruleset| &ruleset.levels) {
            if !ids.contains(&level.id.as_str()) {
                ids.push(&level.id);
            }
        }
        // The sort is stable: of levels that stand at the same place the primary one's comes first.
        ids.sort_by_cached_key(|id| self.level_rank(of, id));
        ids
    }

    /// A level's place among those of the primary ruleset, lowest 0, in thousandths. One that only a segment has stands where it stands there:
    /// at the middle of its ruleset, at the middle. `None` for a level that no ruleset has.
    pub fn level_rank(&self, of: LevelOf, level: &str) -> Option<i64> {
        const STEP: i64 = 1_000;
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let primary = self.levels(of);
        if let Some(rank) = primary.rank(level) {
            return Some(whole(rank).saturating_mul(STEP));
        }
        let top = whole(primary.levels.len()).saturating_sub(1).saturating_mul(STEP);
        self.segments(of).iter().find_map(|segment| {
            let (rank, last) = (whole(segment.ruleset.rank(level)?), whole(segment.ruleset.levels.len()).saturating_sub(1));
            Some(top.saturating_mul(rank).checked_div(last).unwrap_or(0))
        })
    }
}

impl Model {
    /// The level ruleset that an account falls under on a UTC day: of the first segment that holds for it, else the primary one. A lead without
    /// an account, which has no account facts, falls under the primary one.
    pub fn levels_for<L: FieldLookup + ?Sized>(&self, of: LevelOf, fields: &L, account: Option<&AccountFacts>, day: Day) -> &LevelRuleset {
        let segments = self.document.segments(of);
        let primary = self.document.levels(of);
        // Most workspaces have no segment.
        let Some(account) = account.filter(|_| !segments.is_empty()) else {
            return primary;
        };
        let fields = SegmentFields { fields, account };
        let holding = self.segments().of(of).iter().zip(segments).find(|(compiled, _)| compiled.holds(&fields, day));
        holding.map_or(primary, |(_, segment)| &segment.ruleset)
    }

    /// The first day after `day` on which an account may fall under another level ruleset although no field changes.
    pub fn next_segment_change<L: FieldLookup + ?Sized>(&self, fields: &L, account: Option<&AccountFacts>, day: Day) -> Option<Day> {
        let fields = SegmentFields { fields, account: account? };
        self.segments().all().filter_map(|segment| segment.next_change(&fields, day)).min()
    }

    /// Whether an account may fall under another level ruleset as days pass.
    pub fn segments_depend_on_date(&self) -> bool {
        self.segments().all().any(CompiledCondition::depends_on_date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Order,
        evaluate::{Evaluation, Inputs},
        field::{FieldFact, FieldFacts, FieldSource, Keep},
        model::default_document,
        problem::Problems,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const TODAY: Day = Day(20_000);

    fn condition(value: &Value) -> Condition {
        Condition::read(&mut Problems::none(), "", value).unwrap()
    }

    /// The account levels of the default model under another id, with another name for the highest.
    fn levels(id: &str) -> LevelRuleset {
        let mut levels = default_document().unwrap().account_levels;
        id.clone_into(&mut levels.id);
        levels.levels[3].name = format!("Target of {id}");
        levels
    }

    fn model(segments: &[(&str, Value)]) -> Model {
        let mut document = default_document().unwrap();
        document.account_segments =
            segments.iter().map(|(id, when)| SegmentLevels { when: condition(when), ruleset: levels(id) }).collect();
        Model::compile(document).unwrap()
    }

    fn fields(value: Value) -> BTreeMap<String, FieldValue> {
        serde_json::from_value(value).unwrap()
    }

    fn under<'m>(model: &'m Model, known: Value, stated: &AccountFacts) -> &'m str {
        &model.levels_for(LevelOf::Account, &fields(known), Some(stated), TODAY).id
    }

    #[test]
    fn the_first_segment_that_holds_decides_and_whoever_none_takes_falls_under_the_primary_ruleset() {
        let model = model(&[
            ("partners", json!({ "field": "partner_tier", "op": "exists" })),
            ("dach", json!({ "field": "country", "op": "in", "value": ["DE", "AT", "CH"] })),
        ]);
        let nothing = AccountFacts::default();
        assert_eq!(under(&model, json!({ "partner_tier": "gold", "country": "DE" }), &nothing), "partners");
        // Countries have one vocabulary, as everywhere.
        assert_eq!(under(&model, json!({ "country": "Deutschland" }), &nothing), "dach");
        assert_eq!(under(&model, json!({ "country": "FR" }), &nothing), model.document.account_levels.id);
        assert_eq!(under(&model, json!({}), &nothing), model.document.account_levels.id);
        // A lead without an account falls under the primary one, whatever is known of it.
        let lead = model.levels_for(LevelOf::Account, &fields(json!({ "country": "DE" })), None, TODAY);
        assert_eq!(lead.id, model.document.account_levels.id);
        // The other kinds have no segment.
        let leads = model.levels_for(LevelOf::Lead, &fields(json!({ "country": "DE" })), Some(&nothing), TODAY);
        assert_eq!(leads.id, model.document.lead_levels.id);
    }

    #[test]
    fn what_is_missing_or_undecided_is_not_in_the_segment() {
        let model = model(&[
            ("large", json!({ "field": "employees", "op": "gte", "value": 300 })),
            ("no_customers", json!({ "field": "existing_customer", "op": "eq", "value": false })),
        ]);
        let nothing = AccountFacts::default();
        let primary = model.document.account_levels.id.as_str();
        assert_eq!(under(&model, json!({ "employees": { "from": 201, "to": 500 } }), &nothing), primary);
        assert_eq!(under(&model, json!({ "employees": { "from": 301, "to": 500 } }), &nothing), "large");
        // A ruleset may say that nothing means no; a segment asks for what is known.
        assert_eq!(under(&model, json!({}), &nothing), primary);
        assert_eq!(under(&model, json!({ "existing_customer": false }), &nothing), "no_customers");
    }

    #[test]
    fn what_people_state_comes_before_a_field_of_that_name() {
        let model = model(&[("one_to_one", json!({ "field": "tier", "op": "eq", "value": "1:1" }))]);
        let stated = |tier| AccountFacts::new(tier, Some("dana"), None);
        assert_eq!(under(&model, json!({ "tier": "1:many" }), &stated(Some("1:1"))), "one_to_one");
        assert_eq!(under(&model, json!({ "tier": "1:1" }), &stated(Some("1:many"))), model.document.account_levels.id);
        assert_eq!(under(&model, json!({ "tier": "1:1" }), &stated(None)), "one_to_one");
        let by_owner = self::model(&[("hers", json!({ "field": "owner", "op": "eq", "value": "Dana" }))]);
        assert_eq!(under(&by_owner, json!({}), &stated(None)), "hers");
    }

    #[test]
    fn a_segment_that_looks_at_the_day_is_the_next_change() {
        let model = model(&[("new", json!({ "field": "signed_at", "op": "within_days", "value": 30 }))]);
        let own = |days: i32| {
            let mut own = FieldFacts::new();
            let name = FieldName::new("signed_at").unwrap();
            let value = Some(FieldValue::Date(TODAY.plus(-days).start()));
            let fact = FieldFact::new(value, Order::default(), FieldSource::Manual);
            own.merge(&name, fact, Keep::Latest);
            own
        };
        let evaluate = |days: i32, stated: Option<AccountFacts>| {
            let inputs = Inputs { own: own(days), states: Vec::new(), stated, giant: false };
            let evaluation = Evaluation::new(&model, inputs, TODAY);
            (evaluation.levels(&model, LevelOf::Account).id.clone(), evaluation.next_change(&model))
        };
        let account = Some(AccountFacts::default());
        // Signed ten days ago it is in the segment for twenty more days; the day after, it is not.
        assert_eq!(evaluate(10, account.clone()), ("new".to_owned(), Some(TODAY.plus(21))));
        assert_eq!(evaluate(31, account.clone()), (model.document.account_levels.id.clone(), None));
        // Tomorrow's date is no past one yet.
        assert_eq!(evaluate(-1, account), (model.document.account_levels.id.clone(), Some(TODAY.plus(1))));
        assert_eq!(evaluate(10, None), (model.document.account_levels.id.clone(), None));
    }

    #[test]
    fn a_level_goes_by_the_name_of_the_ruleset_that_the_account_falls_under() {
        let mut document = model(&[("partners", json!({ "field": "partner_tier", "op": "exists" }))]).document;
        let only = Level { id: "strategic".into(), name: "Strategic".into(), color: "red".into(), min: 200, max: None, play: None };
        document.account_segments[0].ruleset.levels.push(only);
        let name = |ruleset, level| document.level_named(LevelOf::Account, ruleset, level).map(|level| level.name.as_str());
        assert_eq!(name(None, "target"), Some("Target"));
        assert_eq!(name(Some("partners"), "target"), Some("Target of partners"));
        assert_eq!((name(None, "strategic"), name(Some("gone"), "strategic")), (Some("Strategic"), Some("Strategic")));
        assert_eq!(name(None, "elsewhere"), None);
        // Five levels there, four here: the fifth of five stands at the top, where the fourth of four does.
        let rank = |level| document.level_rank(LevelOf::Account, level);
        assert_eq!(
            [rank("low_priority"), rank("standard"), rank("target"), rank("strategic")],
            [Some(0), Some(1000), Some(3000), Some(3000)]
        );
        assert_eq!(document.level_ids(LevelOf::Account), ["low_priority", "standard", "qualified", "target", "strategic"]);
    }

    #[test]
    fn a_document_with_segments_reads_back_as_it_was_written_and_one_without_says_nothing_of_them() {
        let document = model(&[("partners", json!({ "all": [{ "field": "tier", "op": "eq", "value": "1:1" }] }))]).document;
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<ModelDocument>(&text).unwrap(), document);
        assert!(!serde_json::to_string(&default_document().unwrap()).unwrap().contains("segments"));
        // A condition of a later build is kept as it is, and holds for nobody.
        let text = text.replace("\"eq\"", "\"resembles\"");
        let model = Model::compile(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(under(&model, json!({}), &AccountFacts::new(Some("1:1"), None, None)), model.document.account_levels.id);
        assert!(serde_json::to_string(&model.document).unwrap().contains("resembles"));
    }

    proptest! {
        #[test]
        fn the_ruleset_is_that_of_the_first_condition_that_holds_by_itself(
            bounds in proptest::collection::vec((0_i64..100, 0_i64..100), 0..6),
            employees in proptest::option::of(0_i64..100),
        ) {
            let ids: Vec<String> = (0..bounds.len()).map(|i| format!("s{i}")).collect();
            let segments: Vec<(&str, Value)> = ids.iter().zip(&bounds)
                .map(|(id, (a, b))| (id.as_str(), json!({ "field": "employees", "op": "between", "value": [a.min(b), a.max(b)] }))).collect();
            let model = model(&segments);
            let known = employees.map_or(json!({}), |employees| json!({ "employees": employees }));
            // By hand: the first pair of bounds with the number between them.
            let first = employees.and_then(|n| bounds.iter().position(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&n)));
            let wanted = first.map_or(model.document.account_levels.id.as_str(), |first| ids[first].as_str());
            prop_assert_eq!(under(&model, known, &AccountFacts::default()), wanted);
        }
    }
}
