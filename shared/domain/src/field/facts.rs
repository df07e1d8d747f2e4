//! What several sources state about an account's fields, and which statement wins.
//!
//! Facts are merged, never applied in order: the result is the same for every order and number of deliveries.

use super::{FieldName, FieldValue};
use crate::{
    Order, Timestamp,
    problem::{Problems, join},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    fmt,
};

/// Who states a field's value. Earlier ones win over later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldSource {
    /// A person, in the console or by API.
    Manual,
    /// A CSV file or a CRM.
    CrmImport,
    /// An enrichment webhook.
    Enrichment,
    /// The traits of a group call.
    Group,
    /// Any other event: a form that somebody filled in, a trait of a person.
    Form,
}

impl FieldSource {
    /// Every source, the strongest first.
    pub const ALL: [Self; 5] = [Self::Manual, Self::CrmImport, Self::Enrichment, Self::Group, Self::Form];

    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::CrmImport => "crm_import",
            Self::Enrichment => "enrichment",
            Self::Group => "group",
            Self::Form => "form",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }

    /// The number that stands for it in stored states. Never change one.
    const fn code(self) -> u8 {
        match self {
            Self::Manual => 0,
            Self::CrmImport => 1,
            Self::Enrichment => 2,
            Self::Group => 3,
            Self::Form => 4,
        }
    }
}

/// In which order sources win over each other: every source once, a person's statements first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceOrder([FieldSource; FieldSource::ALL.len()]);

impl SourceOrder {
    /// Takes a list that names every source once and begins with [`FieldSource::Manual`]; `None` for any other.
    pub fn new(sources: &[FieldSource]) -> Option<Self> {
        let order: [FieldSource; FieldSource::ALL.len()] = sources.try_into().ok()?;
        let whole = FieldSource::ALL.iter().all(|source| order.contains(source));
        (whole && order.first() == Some(&FieldSource::Manual)).then_some(Self(order))
    }

    /// Reads the words of a JSON array at a place of a document and notes every problem.
    pub fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let known = FieldSource::ALL.map(|source| format!("`{}`", source.as_str())).join(", ");
        let listed = problems.array(at, value)?;
        let mut sources = Vec::new();
        for (i, value) in listed.iter().enumerate() {
            match value.as_str().and_then(FieldSource::parse) {
                Some(source) => sources.push(source),
                None => problems.add(&join(at, i), format!("must be one of {known}")),
            }
        }
        let order = Self::new(&sources);
        if order.is_none() && sources.len() == listed.len() {
            problems.add(at, format!("must begin with `manual` and name each of the {} sources once: {known}", FieldSource::ALL.len()));
        }
        order
    }

    /// Every source, the strongest first.
    pub const fn sources(&self) -> &[FieldSource] {
        &self.0
    }

    /// Whether it is the order of a workspace that has set none.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for SourceOrder {
    fn default() -> Self {
        Self(FieldSource::ALL)
    }
}

impl Serialize for SourceOrder {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for SourceOrder {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let sources = Vec::<FieldSource>::deserialize(d)?;
        Self::new(&sources).ok_or_else(|| D::Error::custom("a source order must begin with `manual` and name each source once"))
    }
}

/// Which of several facts of one source is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The latest: mappings that are "always latest" or "last time of event".
    Latest,
    /// The earliest that holds a value: mappings that are "only if empty".
    First,
}

/// One statement about a field. `None` is a client's `null`: it clears.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldFact {
    /// What is stated.
    #[serde(rename = "v")]
    pub value: Option<FieldValue>,
    /// When it was stated.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// A digest of the message that stated it, to order facts of the same millisecond.
    #[serde(rename = "h")]
    pub tie: u64,
    /// Who states it.
    #[serde(rename = "s")]
    pub source: FieldSource,
}

impl FieldFact {
    /// A statement made by `source` at a place in the order of events.
    pub const fn new(value: Option<FieldValue>, order: Order, source: FieldSource) -> Self {
        Self { value, at: order.at, tie: order.tie, source }
    }

    /// Whether an event states it, and not a person or another system: such a fact follows from the log and the mapping, and can be read again.
    pub const fn is_of_event(&self) -> bool {
        // The digest of a message's id is never 0; whoever else states something has no message.
        self.tie != 0 && !matches!(self.source, FieldSource::Manual)
    }

    /// Facts of one source in the order in which they supersede each other. The value is compared last, so that even two different
    /// values under one order merge the same way in every order of arrival.
    fn rank(&self) -> (Timestamp, u64, &Option<FieldValue>) {
        (self.at, self.tie, &self.value)
    }
}

/// The best facts for every field: per source the latest, and the first for mappings that fill only what is empty.
///
/// Merging is commutative, associative and idempotent. The order in which sources win is no part of what is stored: whoever asks for winners says it
/// with [`FieldFacts::ordered`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldFacts {
    fields: BTreeMap<FieldName, Vec<Kept>>,
    order: SourceOrder,
}

/// A fact and its slot. A field's facts are sorted by slot; a slot holds one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    keep: Keep,
    fact: FieldFact,
}

impl Kept {
    const fn slot(&self) -> (FieldSource, Keep) {
        (self.fact.source, self.keep)
    }

    /// Takes this fact into those of its field. Returns whether anything changed.
    fn merge_into(self, kept: &mut Vec<Self>) -> bool {
        match kept.binary_search_by_key(&self.slot(), Self::slot) {
            Err(place) => {
                kept.insert(place, self);
                true
            }
            Ok(place) => {
                let Some(old) = kept.get_mut(place) else { return false };
                let better = match self.keep {
                    Keep::Latest => self.fact.rank() > old.fact.rank(),
                    Keep::First => self.fact.rank() < old.fact.rank(),
                };
                if better {
                    *old = self;
                }
                better
            }
        }
    }
}

/// The value that holds for a field, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winner<'a> {
    /// The value.
    pub value: &'a FieldValue,
    /// Who stated it.
    pub source: FieldSource,
    /// When it was stated.
    pub at: Timestamp,
}

impl FieldFacts {
    /// No facts.
    pub const fn new() -> Self {
        Self { fields: BTreeMap::new(), order: SourceOrder(FieldSource::ALL) }
    }

    /// The same facts, of which those of the sources win in this order.
    #[must_use]
    pub const fn ordered(mut self, order: SourceOrder) -> Self {
        self.order = order;
        self
    }

    /// Takes the facts out that events state: the others, and these.
    pub fn apart(&self) -> (Self, Self) {
        let (mut others, mut of_events) = (Self::new(), Self::new());
        for (name, kept) in &self.fields {
            for Kept { keep, fact } in kept {
                let place = if fact.is_of_event() { &mut of_events } else { &mut others };
                place.merge(name, fact.clone(), *keep);
            }
        }
        (others, of_events)
    }

    /// The facts that were stated before a moment.
    pub fn before(&self, moment: Timestamp) -> Self {
        let mut before = Self::new();
        for (name, kept) in &self.fields {
            for Kept { keep, fact } in kept.iter().filter(|kept| kept.fact.at < moment) {
                before.merge(name, fact.clone(), *keep);
            }
        }
        before
    }

    /// How many fields something is stated about.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether nothing is stated at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Takes a fact in. Returns whether anything changed.
    ///
    /// A `null` under [`Keep::First`] is ignored: a mapping that fills only what is empty cannot empty it.
    pub fn merge(&mut self, name: &FieldName, fact: FieldFact, keep: Keep) -> bool {
        if keep == Keep::First && fact.value.is_none() {
            return false;
        }
        let new = Kept { keep, fact };
        match self.fields.get_mut(name) {
            Some(kept) => new.merge_into(kept),
            None => {
                self.fields.insert(name.clone(), vec![new]);
                true
            }
        }
    }

    /// Takes all facts of another set in. Returns whether anything changed.
    pub fn merge_all(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (name, theirs) in &other.fields {
            let Some(kept) = self.fields.get_mut(name) else {
                self.fields.insert(name.clone(), theirs.clone());
                changed = true;
                continue;
            };
            for new in theirs {
                changed |= new.clone().merge_into(kept);
            }
        }
        changed
    }

    /// Removes what one source states about a field: how a person's decision is undone. Returns whether there was anything.
    pub fn forget(&mut self, name: &FieldName, source: FieldSource) -> bool {
        let Some(kept) = self.fields.get_mut(name) else { return false };
        let before = kept.len();
        kept.retain(|kept| kept.fact.source != source);
        let changed = kept.len() != before;
        if kept.is_empty() {
            self.fields.remove(name);
        }
        changed
    }

    /// The value that holds for a field: that of the strongest source that has one.
    ///
    /// Within a source the latest fact decides, and the first of an only-if-empty mapping where there is no latest. A `null` clears its source, so
    /// that a weaker source shows through; a person's `null` clears the field altogether, until it is undone.
    pub fn winner(&self, name: &str) -> Option<Winner<'_>> {
        self.best(self.fields.get(name)?)
    }

    fn best<'a>(&self, kept: &'a [Kept]) -> Option<Winner<'a>> {
        if self.order.is_usual() {
            return Self::first(kept.iter());
        }
        Self::first(self.order.sources().iter().flat_map(|source| kept.iter().filter(|kept| kept.fact.source == *source)))
    }

    /// The value of the first source that has one.
    fn first<'a>(kept: impl Iterator<Item = &'a Kept>) -> Option<Winner<'a>> {
        let mut decided = None;
        for Kept { fact, .. } in kept {
            if decided == Some(fact.source) {
                continue;
            }
            decided = Some(fact.source);
            match &fact.value {
                Some(value) => return Some(Winner { value, source: fact.source, at: fact.at }),
                None if fact.source == FieldSource::Manual => return None,
                None => {}
            }
        }
        None
    }

    /// Every field that holds a value, in the order of the names.
    pub fn winners(&self) -> impl Iterator<Item = (&FieldName, Winner<'_>)> {
        self.fields.iter().filter_map(|(name, kept)| Some((name, self.best(kept)?)))
    }

    /// Every field about which anything is stated, also those that are cleared, in the order of the names.
    pub fn names(&self) -> impl Iterator<Item = &FieldName> {
        self.fields.keys()
    }

    /// Every fact that is kept about a field, the strongest source first: what an account page shows as alternatives.
    pub fn facts(&self, name: &str) -> impl Iterator<Item = (&FieldFact, Keep)> {
        let kept = self.fields.get(name).map_or(&[][..], Vec::as_slice);
        let sources = self.order.0.into_iter();
        sources.flat_map(move |source| kept.iter().filter(move |kept| kept.fact.source == source)).map(|kept| (&kept.fact, kept.keep))
    }
}

/// Where rules look fields up.
pub trait FieldLookup {
    /// The value that holds for a field; `None` when it is not known.
    fn field(&self, name: &FieldName) -> Option<&FieldValue>;
}

impl FieldLookup for FieldFacts {
    fn field(&self, name: &FieldName) -> Option<&FieldValue> {
        self.winner(name.as_str()).map(|winner| winner.value)
    }
}

impl<K: Borrow<str> + Ord> FieldLookup for BTreeMap<K, FieldValue> {
    fn field(&self, name: &FieldName) -> Option<&FieldValue> {
        self.get(name.as_str())
    }
}

impl<K: Borrow<str> + Eq + std::hash::Hash, S: std::hash::BuildHasher> FieldLookup for HashMap<K, FieldValue, S> {
    fn field(&self, name: &FieldName) -> Option<&FieldValue> {
        self.get(name.as_str())
    }
}

/// The stored form of a fact: slot, order and value as an array, because an account may hold many.
#[derive(Serialize, Deserialize)]
struct Stored<V>(u8, Timestamp, u64, V);

/// Set in the slot number of only-if-empty facts.
const FIRST: u8 = 8;

impl Serialize for FieldFacts {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.fields.iter().map(|(name, kept)| {
            let stored = kept.iter().map(|Kept { keep, fact }| {
                let first = if *keep == Keep::First { FIRST } else { 0 };
                Stored(fact.source.code() | first, fact.at, fact.tie, &fact.value)
            });
            (name, stored.collect::<Vec<_>>())
        }))
    }
}

impl<'de> Deserialize<'de> for FieldFacts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(StoredFacts)
    }
}

struct StoredFacts;

impl<'de> Visitor<'de> for StoredFacts {
    type Value = FieldFacts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the facts of each field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldFacts, A::Error> {
        let mut facts = FieldFacts::new();
        while let Some((name, stored)) = map.next_entry::<FieldName, Vec<Stored<Option<FieldValue>>>>()? {
            let mut kept = Vec::with_capacity(stored.len());
            for Stored(slot, at, tie, value) in stored {
                let keep = if slot & FIRST == 0 { Keep::Latest } else { Keep::First };
                let source = FieldSource::ALL.into_iter().find(|source| source.code() == slot & !FIRST);
                let source = source.ok_or_else(|| A::Error::custom(format_args!("unknown field source {slot}")))?;
                if keep == Keep::Latest || value.is_some() {
                    Kept { keep, fact: FieldFact { value, at, tie, source } }.merge_into(&mut kept);
                }
            }
            if !kept.is_empty() {
                facts.fields.insert(name, kept);
            }
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::tests::any_value;
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> FieldName {
        FieldName::new(text).unwrap()
    }

    fn fact(text: Option<&str>, at: i64, source: FieldSource) -> FieldFact {
        let value = text.map(|text| FieldValue::Text(text.to_owned()));
        FieldFact { value, at: Timestamp::from_millis(at), tie: 0, source }
    }

    fn merged(facts: &[(FieldFact, Keep)]) -> FieldFacts {
        let mut all = FieldFacts::new();
        for (fact, keep) in facts {
            all.merge(&name("plan"), fact.clone(), *keep);
        }
        all
    }

    fn winner(facts: &[(FieldFact, Keep)]) -> Option<String> {
        merged(facts).winner("plan").map(|winner| winner.value.to_string())
    }

    use FieldSource::{CrmImport, Form, Group, Manual};
    use Keep::{First, Latest};

    #[test]
    fn the_latest_fact_wins_within_a_source_and_the_stronger_source_overall() {
        let facts = [(fact(Some("old"), 1, Group), Latest), (fact(Some("new"), 2, Group), Latest), (fact(Some("form"), 3, Form), Latest)];
        assert_eq!(winner(&facts).as_deref(), Some("new"));
        let facts = [(fact(Some("crm"), 1, CrmImport), Latest), (fact(Some("group"), 9, Group), Latest)];
        assert_eq!(winner(&facts).as_deref(), Some("crm"));
    }

    #[test]
    fn only_if_empty_keeps_the_first_value_and_gives_way_to_a_latest_one() {
        let facts = [(fact(Some("second"), 2, Form), First), (fact(Some("first"), 1, Form), First), (fact(None, 0, Form), First)];
        assert_eq!(winner(&facts).as_deref(), Some("first"));
        let facts = [(fact(Some("first"), 1, Form), First), (fact(Some("latest"), 0, Form), Latest)];
        assert_eq!(winner(&facts).as_deref(), Some("latest"));
    }

    #[test]
    fn a_null_lets_a_weaker_source_show_through() {
        let facts = [(fact(Some("group"), 1, Group), Latest), (fact(None, 2, Group), Latest), (fact(Some("form"), 0, Form), Latest)];
        assert_eq!(winner(&facts).as_deref(), Some("form"));
    }

    #[test]
    fn a_persons_null_clears_the_field_until_it_is_undone() {
        let facts = [(fact(Some("group"), 1, Group), Latest), (fact(None, 0, Manual), Latest)];
        assert_eq!(winner(&facts), None);
        let mut facts = merged(&facts);
        assert!(facts.forget(&name("plan"), Manual));
        assert!(!facts.forget(&name("plan"), Manual));
        assert_eq!(facts.winner("plan").unwrap().value.to_string(), "group");
    }

    #[test]
    fn sources_win_in_the_order_that_is_asked_for_and_a_person_before_all() {
        use FieldSource::Enrichment;
        let facts = merged(&[
            (fact(Some("crm"), 9, CrmImport), Latest),
            (fact(Some("group"), 5, Group), Latest),
            (fact(Some("first form"), 1, Form), First),
        ]);
        let wins = |facts: &FieldFacts, order: [FieldSource; 5]| {
            let facts = facts.clone().ordered(SourceOrder::new(&order).unwrap());
            (facts.winner("plan").unwrap().value.to_string(), facts.facts("plan").next().unwrap().0.source)
        };
        assert_eq!(wins(&facts, FieldSource::ALL), ("crm".to_owned(), CrmImport));
        assert_eq!(wins(&facts, [Manual, Group, Form, CrmImport, Enrichment]), ("group".to_owned(), Group));
        assert_eq!(wins(&facts, [Manual, Enrichment, Form, Group, CrmImport]), ("first form".to_owned(), Form));
        for wrong in [vec![], vec![Manual], vec![Form, CrmImport, Enrichment, Group, Manual], vec![Manual, Form, Form, Group, Enrichment]] {
            assert_eq!(SourceOrder::new(&wrong), None, "{wrong:?}");
        }
        let stored = serde_json::to_string(&SourceOrder::default()).unwrap();
        assert_eq!(stored, r#"["manual","crm_import","enrichment","group","form"]"#);
        assert!(serde_json::from_str::<SourceOrder>(&stored).unwrap().is_usual());
        assert!(serde_json::from_str::<SourceOrder>(r#"["manual","form"]"#).is_err());
    }

    #[test]
    fn what_events_state_is_told_from_what_a_person_or_an_import_states() {
        let of = |source, tie| FieldFact { tie, ..fact(Some("x"), 1, source) };
        let facts = merged(&[(of(Manual, 0), Latest), (of(CrmImport, 0), Latest), (of(Group, 7), Latest), (of(Form, 7), First)]);
        let (others, of_events) = facts.apart();
        let sources = |facts: &FieldFacts| facts.facts("plan").map(|(fact, _)| fact.source).collect::<Vec<_>>();
        assert_eq!((sources(&others), sources(&of_events)), (vec![Manual, CrmImport], vec![Group, Form]));
        assert_eq!((facts.before(Timestamp::from_millis(1)).len(), facts.before(Timestamp::from_millis(2))), (0, facts));
    }

    #[test]
    fn the_stored_form_is_short() {
        let facts = merged(&[(fact(Some("pro"), 5, Group), Latest), (fact(Some("free"), 1, Form), First)]);
        assert_eq!(serde_json::to_string(&facts).unwrap(), r#"{"plan":[[3,5,0,"pro"],[12,1,0,"free"]]}"#);
        assert_eq!(serde_json::to_string(&fact(None, 5, Form)).unwrap(), r#"{"v":null,"t":5,"h":0,"s":"form"}"#);
        assert!(serde_json::from_str::<FieldFacts>(r#"{"plan":[[7,5,0,"pro"]]}"#).is_err());
    }

    fn any_fact() -> impl Strategy<Value = (FieldName, FieldFact, Keep)> {
        let source = prop::sample::select(FieldSource::ALL.to_vec());
        let keep = prop::sample::select(vec![Latest, First]);
        let field = prop::sample::select(vec![name("plan"), name("employees")]);
        (field, proptest::option::weighted(0.8, any_value()), 0_i64..4, 0_u64..2, source, keep).prop_map(
            |(field, value, at, tie, source, keep)| (field, FieldFact { value, at: Timestamp::from_millis(at), tie, source }, keep),
        )
    }

    fn all(facts: &[(FieldName, FieldFact, Keep)]) -> FieldFacts {
        let mut all = FieldFacts::new();
        for (name, fact, keep) in facts {
            all.merge(name, fact.clone(), *keep);
        }
        all
    }

    fn any_facts() -> impl Strategy<Value = FieldFacts> {
        proptest::collection::vec(any_fact(), 0..12).prop_map(|facts| all(&facts))
    }

    proptest! {
        #[test]
        fn order_and_repetition_of_facts_do_not_matter(
            (facts, shuffled) in proptest::collection::vec(any_fact(), 0..20).prop_flat_map(|facts| {
                let mut twice = facts.clone();
                twice.extend(facts.iter().take(5).cloned());
                (Just(facts), Just(twice).prop_shuffle())
            })
        ) {
            prop_assert_eq!(all(&facts), all(&shuffled));
        }

        #[test]
        fn merging_sets_is_commutative_associative_and_idempotent(a in any_facts(), b in any_facts(), c in any_facts()) {
            let join = |x: &FieldFacts, y: &FieldFacts| { let mut z = x.clone(); z.merge_all(y); z };
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a.clone());
            let mut again = join(&a, &b);
            prop_assert!(!again.merge_all(&b));
        }

        #[test]
        fn the_winner_comes_from_the_strongest_source_that_holds_a_value(facts in any_facts()) {
            for (name, winner) in facts.winners() {
                prop_assert_eq!(facts.field(name), Some(winner.value));
                for (fact, _) in facts.facts(name.as_str()).filter(|(fact, _)| fact.source < winner.source) {
                    let latest = facts.facts(name.as_str()).find(|(f, keep)| f.source == fact.source && *keep == Latest);
                    prop_assert!(latest.is_some_and(|(latest, _)| latest.value.is_none()));
                }
            }
        }

        #[test]
        fn any_order_lets_the_first_source_with_a_value_win_and_the_usual_one_changes_nothing(
            facts in any_facts(),
            rest in Just(vec![CrmImport, FieldSource::Enrichment, Group, Form]).prop_shuffle(),
        ) {
            let sources = [vec![Manual], rest].concat();
            let asked = facts.clone().ordered(SourceOrder::new(&sources).unwrap());
            for name in facts.names() {
                // What a source says: its latest statement, else its first one; nothing stands below a person's.
                let says = |source: &FieldSource| facts.facts(name.as_str()).find(|(fact, _)| fact.source == *source).map(|(fact, _)| fact.value.as_ref());
                let cleared = says(&Manual) == Some(None);
                let expected = sources.iter().find_map(|source| says(source)?).filter(|_| !cleared);
                prop_assert_eq!(asked.field(name), expected);
                let usual = facts.clone().ordered(SourceOrder::default());
                prop_assert_eq!(usual.winner(name.as_str()), facts.winner(name.as_str()));
            }
        }

        #[test]
        fn facts_round_trip_through_json_and_message_pack(facts in any_facts()) {
            let json = serde_json::to_string(&facts).unwrap();
            prop_assert_eq!(&serde_json::from_str::<FieldFacts>(&json).unwrap(), &facts);
            for packed in [rmp_serde::to_vec(&facts).unwrap(), rmp_serde::to_vec_named(&facts).unwrap()] {
                prop_assert_eq!(&rmp_serde::from_slice::<FieldFacts>(&packed).unwrap(), &facts);
            }
        }

        #[test]
        fn single_facts_round_trip_too((_, fact, _) in any_fact()) {
            let json = serde_json::to_string(&fact).unwrap();
            prop_assert_eq!(&serde_json::from_str::<FieldFact>(&json).unwrap(), &fact);
            let packed = rmp_serde::to_vec(&fact).unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<FieldFact>(&packed).unwrap(), &fact);
        }
    }
}
