//! What is stored under which key. One place, so that an operator, the simulator and a later build find the same layout.
//!
//! Text bodies are JSON. A field that a newer build added is ignored by an older one; a field that an older build did not
//! write takes its default.

use crate::store::{Body, Item, Key, StoreError, Table};
use domain::{
    AccountId, BatchId, Day, Home, Identity, IdentityId, Order, Shard, Timestamp, WorkspaceId,
    evaluate::OtherScore,
    facts::Evidence,
    field::{FieldFact, FieldFacts, FieldName, Keep},
    giant::ShardSum,
    grade::{Grade, GridCell},
    hash64,
    resolution::Resolution,
    state::{Sealed, SegmentName},
    transition::Transition,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Over how many partitions rows, journals and due items are spread, so that none is hot.
pub const SHARDS: u64 = 16;

/// Hosts' clocks are not further apart than this: what each of them was to do at a moment has come for all of them so long after it.
pub const CLOCK_DIFFERENCE_MS: i64 = 12 * 60 * 1000;

fn shard(of: &str) -> u64 {
    hash64(&[of.as_bytes()]) % SHARDS
}

/// A JSON body.
pub fn text<T: Serialize>(key: &Key, record: &T) -> Result<Body, StoreError> {
    serde_json::to_string(record).map(Body::Text).map_err(|source| StoreError::Corrupt {
        key: Box::new(key.clone()),
        what: std::any::type_name::<T>(),
        source: Box::new(source),
    })
}

/// Reads a JSON body.
pub fn from_item<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    let read = match &item.body {
        Body::Text(text) => serde_json::from_str(text),
        Body::Bytes(bytes) => serde_json::from_slice(bytes),
    };
    read.map_err(|source| StoreError::Corrupt {
        key: Box::new(item.key.clone()),
        what: std::any::type_name::<T>(),
        source: Box::new(source),
    })
}

/// A record together with the version under which it was read; version 0 when nothing was there.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The version read.
    pub version: u64,
    /// What was there.
    pub record: T,
}

// ---- Keys ----------------------------------------------------------------------------------------------------------

/// The mapping of an identity: table accounts.
pub fn identity_key(workspace: &WorkspaceId, identity: &IdentityId) -> Key {
    Key::new(Table::Accounts, format!("{workspace}#I#{identity}"), "I")
}

/// The partition of a home: table accounts.
pub fn home_partition(workspace: &WorkspaceId, home: &Home) -> String {
    format!("{workspace}#H#{home}")
}

/// An item of a home.
pub fn home_key(workspace: &WorkspaceId, home: &Home, sk: &str) -> Key {
    Key::new(Table::Accounts, home_partition(workspace, home), sk)
}

/// Sort key of the [`AccountRecord`].
pub const ACCOUNT: &str = "A";
/// Sort key of the [`OwnFields`].
pub const OWN_FIELDS: &str = "M";
/// Sort key of the [`ScoreRecord`].
pub const SCORE: &str = "R";
/// Sort keys of the [`ShardRecord`]s of a giant home begin with this; the shard follows. They lie between the account and its own fields, so
/// that one query reads everything of a giant home but its score and its states.
pub const SUM: &str = "G#";
/// Sort keys of states begin with this; the shard and the identity follow.
pub const STATE: &str = "S#";

/// The state of an identity at its home. The shard follows from the identity and its link: [`IdentityMapping::shard`].
pub fn state_key(workspace: &WorkspaceId, home: &Home, shard: Shard, identity: &IdentityId) -> Key {
    home_key(workspace, home, &format!("{STATE}{shard}{identity}"))
}

/// The sum of one shard of a giant home.
pub fn sum_key(workspace: &WorkspaceId, home: &Home, shard: Shard) -> Key {
    home_key(workspace, home, &format!("{SUM}{shard}"))
}

/// The partition that holds the standings of one shard. `leads` tells the rows of unresolved leads from those of accounts.
pub fn standing_partition(workspace: &WorkspaceId, leads: bool, shard: u64) -> String {
    format!("{workspace}#V{}#{shard:02}", if leads { "l" } else { "a" })
}

/// The standing of a home.
pub fn standing_key(workspace: &WorkspaceId, home: &Home) -> Key {
    let sk = home.to_string();
    Key::new(Table::Accounts, standing_partition(workspace, home.account().is_none(), shard(&sk)), sk)
}

/// The levels of a home's leads.
pub fn lead_levels_key(workspace: &WorkspaceId, home: &Home) -> Key {
    Key::new(Table::Accounts, format!("{workspace}#W#{home}"), "W")
}

/// The partition of a home's history, oldest first; sort key: the sequence number with twelve digits.
pub fn history_partition(workspace: &WorkspaceId, home: &Home) -> String {
    format!("{workspace}#T#{home}")
}

/// One transition of the history.
pub fn history_key(workspace: &WorkspaceId, home: &Home, seq: u64) -> Key {
    Key::new(Table::Accounts, history_partition(workspace, home), format!("{seq:012}"))
}

/// The partition of one shard of the journal of changed standings; sort key: a batch id, so it is ordered by time.
pub fn journal_partition(workspace: &WorkspaceId, shard: u64) -> String {
    format!("{workspace}#J#{shard:02}")
}

/// One entry of the journal.
pub fn journal_key(workspace: &WorkspaceId, id: BatchId) -> Key {
    Key::new(Table::Accounts, journal_partition(workspace, id.as_u128() as u64 % SHARDS), id.to_string())
}

/// Who owns a web domain.
pub fn domain_key(workspace: &WorkspaceId, domain: &str) -> Key {
    Key::new(Table::Accounts, format!("{workspace}#D#{domain}"), "D")
}

/// Which account an external id names.
pub fn external_key(workspace: &WorkspaceId, kind: &str, id: &str) -> Key {
    Key::new(Table::Accounts, format!("{workspace}#X#{kind}:{id}"), "X")
}

/// Something that a person should look at.
pub fn review_key(workspace: &WorkspaceId, subject: &str) -> Key {
    Key::new(Table::Accounts, format!("{workspace}#Q"), subject)
}

/// How many turns the owners of a rule have taken. Not in the table config, which the stages may only read.
pub fn owner_turns_key(workspace: &WorkspaceId, rule: &str) -> Key {
    Key::new(Table::Accounts, format!("{workspace}#O"), rule)
}

/// The programmes of a workspace: table config.
pub fn programmes_key(workspace: &WorkspaceId) -> Key {
    Key::new(Table::Config, workspace.as_str(), "programmes")
}

/// The partition of one shard of due accounts, of all workspaces.
pub fn due_partition(shard: u64) -> String {
    format!("DUE#{shard:02}")
}

/// The due item of a home.
pub fn due_key(workspace: &WorkspaceId, home: &Home, at: Timestamp) -> Key {
    let who = format!("{workspace}#{home}");
    Key::new(Table::Accounts, due_partition(shard(&who)), format!("{:015}#{who}", at.millis().max(0)))
}

/// A due item, from its sort key.
pub fn due_key_of(sk: &str) -> Key {
    let who = sk.split_once('#').map_or(sk, |(_, who)| who);
    Key::new(Table::Accounts, due_partition(shard(who)), sk)
}

/// The partition of an identity's parcels and spilled message ids: table events.
pub fn parcel_partition(workspace: &WorkspaceId, identity: &IdentityId) -> String {
    format!("{workspace}#P#{identity}")
}

/// A parcel.
pub fn parcel_key(workspace: &WorkspaceId, identity: &IdentityId, batch: BatchId) -> Key {
    Key::new(Table::Events, parcel_partition(workspace, identity), format!("P#{batch}"))
}

/// A segment of spilled message ids.
pub fn segment_key(workspace: &WorkspaceId, identity: &IdentityId, name: SegmentName) -> Key {
    Key::new(Table::Events, parcel_partition(workspace, identity), format!("Z#{:08x}#{:016x}", name.number, name.digest))
}

/// What an identity's parcels up to a batch add up to.
pub fn sealed_key(workspace: &WorkspaceId, identity: &IdentityId, sealed: Sealed) -> Key {
    Key::new(Table::Events, parcel_partition(workspace, identity), format!("C#{}#{:016x}", sealed.until, sealed.digest))
}

/// The partition of a day's rejected events of one shard: table events.
pub fn rejected_partition(workspace: &WorkspaceId, day: Day, shard: u64) -> String {
    format!("{workspace}#R#{day}#{shard:02}")
}

/// One message's rejected events.
pub fn rejected_key(workspace: &WorkspaceId, batch: BatchId) -> Key {
    let shard = batch.as_u128() as u64 % SHARDS;
    Key::new(Table::Events, rejected_partition(workspace, batch.at().day(), shard), batch.to_string())
}

// ---- Records -------------------------------------------------------------------------------------------------------

/// Where an identity's state lives, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityMapping {
    /// The alias itself.
    pub identity: Identity,
    /// The partition that holds its state.
    pub home: Home,
    /// How that was decided.
    pub resolution: Resolution,
    /// A person's decision; it wins over anything automatic until a person undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualLink>,
    /// For an anonymous id: the user id that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// For a user id: the anonymous ids that events named together with it, with the earliest such event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<IdentityId, Order>,
    /// For a user id: what each of its anonymous ids said about where it belongs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inherited: BTreeMap<IdentityId, Evidence>,
    /// User ids that lost an anonymous id to this one and still have to be placed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseated: Vec<IdentityId>,
    /// Anonymous ids that still have to follow this user's move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow: Vec<IdentityId>,
}

impl IdentityMapping {
    /// The shard of its home that holds its state.
    pub fn shard(&self) -> Shard {
        Shard::of(self.identity.kind, self.identity.id(), self.link.as_ref().map(|link| link.user))
    }

    /// Everything that is said about where the identity belongs: by itself, and by a user's anonymous ids as if the user had said it.
    pub fn said(&self, own: &Evidence) -> Evidence {
        let mut said = own.clone();
        for inherited in self.inherited.values() {
            said.merge(inherited);
        }
        said
    }
}

/// That an anonymous id belongs to a user id: the earliest event that names both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The user id's key.
    pub user: IdentityId,
    /// When and by which message.
    pub order: Order,
}

/// A person's decision where a lead belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualLink {
    /// The account; `None` holds the lead out of every account.
    pub account: Option<AccountId>,
    /// When it was decided.
    pub at: Timestamp,
}

/// How an account came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountOrigin {
    /// An event or a person named its id.
    Id,
    /// A lead's e-mail or website domain.
    Domain,
}

/// An account. Written when it is made, gets a domain, is merged, or by a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Its id.
    pub id: AccountId,
    /// How it came to be.
    pub origin: AccountOrigin,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Its web domains, the first is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// External ids, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external_ids: BTreeMap<String, String>,
    /// The account that this one was absorbed into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<AccountId>,
    /// Accounts that were absorbed into this one; their partitions are read with this one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<AccountId>,
    /// Who looks after it, as a person or a rule set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Who says so. An owner without it was set by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_by: Option<OwnerBy>,
    /// `1:1`, `1:few` or `1:many` for a named account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The named account's priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
}

impl AccountRecord {
    /// Who says who looks after it; `None` when nobody does.
    pub fn owner_by(&self) -> Option<&OwnerBy> {
        self.owner.as_ref().map(|_| self.owner_by.as_ref().unwrap_or(&OwnerBy::Manual))
    }
}

/// Who says who looks after an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum OwnerBy {
    /// A person, until a person clears it.
    Manual,
    /// An owner rule.
    Rule {
        /// Its id.
        id: String,
    },
}

/// How many turns the owners of a rule have taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerTurns {
    /// So many accounts were given to them, so this is the number of the next turn, from 0.
    pub taken: u64,
}

/// The account's own facts: manual input, imports, enrichment, and `group` calls that named the account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnFields {
    /// Per field and source.
    pub facts: FieldFacts,
    /// How many changes were fresh when they came; only fresh changes notify anybody.
    #[serde(default)]
    pub fresh: u64,
    /// What people stated and later replaced, oldest first, at most 50 statements: so that a correction does not change the past.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<(FieldName, FieldFact)>,
    /// What events stated by an earlier mapping, while a job reads them again by the present one: it counts until the job replaces it.
    #[serde(default, skip_serializing_if = "FieldFacts::is_empty")]
    pub set_apart: FieldFacts,
}

/// How many statements that were replaced are kept.
const PAST_STATEMENTS: usize = 50;

impl OwnFields {
    /// Every fact that counts.
    pub fn all(&self) -> FieldFacts {
        let mut all = self.facts.clone();
        all.merge_all(&self.set_apart);
        all
    }

    /// Takes in what a person or an import states, and keeps what it replaces. Tells whether anything changed.
    pub fn state(&mut self, name: &FieldName, fact: FieldFact) -> bool {
        let source = fact.source;
        let same = |(known, keep): &(&FieldFact, Keep)| known.source == source && *keep == Keep::Latest;
        let before = self.facts.facts(name.as_str()).find(same).map(|(known, _)| known.clone());
        let changed = self.facts.merge(name, fact, Keep::Latest);
        if let (true, Some(before)) = (changed, before) {
            self.keep(name, before);
        }
        changed
    }

    fn keep(&mut self, name: &FieldName, fact: FieldFact) {
        self.past.push((name.clone(), fact));
        let excess = self.past.len().saturating_sub(PAST_STATEMENTS);
        self.past.drain(..excess);
    }
}

/// The sum of one shard of a giant home: of the states of that shard in the home's partition and in those of the accounts that it absorbed.
/// Recomputed whole, never counted up. It holds only for the day, the model and the members that it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// The UTC day for which it holds.
    pub as_of: Day,
    /// The version of the model that was used …
    pub model: u64,
    /// … and its digest.
    pub model_digest: u64,
    /// Digest of the absorbed accounts' ids.
    pub members: u64,
    /// Digest of the versions of the shard's states.
    pub inputs: u64,
    /// The sum.
    pub sum: ShardSum,
}

/// Leads with points that a score record names; the others count in its totals only.
pub const NAMED_LEADS: usize = 500;

/// What score last computed for a home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord {
    /// Digest of every input: the write is left out only when it is equal.
    pub stamp: u64,
    /// Digest of the states and fields alone.
    pub inputs: u64,
    /// Sum of the counts of fresh events and changes behind the score.
    pub fresh: u64,
    /// The UTC day for which it holds.
    pub as_of: Day,
    /// The version of the model that was used.
    pub model: u64,
    /// Fit, in points.
    pub account_score: i32,
    /// The most points that the rules could give.
    pub possible: i32,
    /// How many of the fields that the rules use are known.
    pub known: u32,
    /// How many fields the rules use.
    pub of: u32,
    /// Engagement, in points, as shown.
    pub engagement: i64,
    /// Whether activity is well above the account's own baseline.
    pub surge: bool,
    /// The first day of the running surge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge_since: Option<Day>,
    /// The leads with points, best first, at most 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "named_leads")]
    pub leads: Vec<LeadScore>,
    /// All leads, with points or without.
    pub total_leads: u32,
    /// Distinct sessions of all leads.
    #[serde(default)]
    pub sessions: u32,
    /// The latest event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_at: Option<Timestamp>,
    /// The account's name, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account's first web domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The winning value of every field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, domain::field::FieldValue>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The named account's tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The named account's priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The three best reasons, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The scores of the account rulesets beside the primary one that are in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherScore>,
    /// The scores of the engagement rulesets beside the primary one that are in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_engagements: Vec<OtherScore>,
    /// The ids of the rules that disqualify the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disqualified_by: Vec<String>,
    /// The account score as a letter; none for an unresolved lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// How many states were counted by other rules than the model's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stale: u32,
    /// Whether the home is evaluated by shards. Once it is, it stays so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub giant: bool,
    /// The moment of the due item that stands for the next change without an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The account that this home was absorbed into: it has no score of its own any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<AccountId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What of a [`ScoreRecord`] tells whether and how it is written again. Read from the same text, of which the rest is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ScoreHead {
    /// Digest of every input.
    pub stamp: u64,
    /// The version of the model that was used.
    pub model: u64,
    /// Whether the home is evaluated by shards.
    #[serde(default)]
    pub giant: bool,
    /// The moment of the due item that stands for the next change without an event.
    #[serde(default)]
    pub due_at: Option<Timestamp>,
    /// The account that this home was absorbed into.
    #[serde(default)]
    pub merged_into: Option<AccountId>,
}

/// A lead's engagement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadScore {
    /// The lead: the identity that founded it.
    #[serde(rename = "id")]
    pub lead: IdentityId,
    /// Its points, as shown.
    #[serde(rename = "p")]
    pub score: i64,
}

/// How the leads of a score record are written: a few as a list, many packed, because a record that names 500 leads in full takes 26 KB and is
/// written at every touch of a large account. Both forms are read.
mod named_leads {
    use super::LeadScore;
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    use domain::IdentityId;
    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
    };
    use std::fmt;

    /// Beyond this many they are packed.
    const LISTED: usize = 16;
    /// A packed lead: its id and its points, in the order of a little-endian machine.
    const PACKED: usize = 16 + 4;

    pub(super) fn serialize<S: Serializer>(leads: &[LeadScore], s: S) -> Result<S::Ok, S::Error> {
        if leads.len() <= LISTED {
            return leads.serialize(s);
        }
        let points: Option<Vec<i32>> = leads.iter().map(|lead| i32::try_from(lead.score).ok()).collect();
        let Some(points) = points else {
            return leads.serialize(s);
        };
        let mut packed = Vec::with_capacity(leads.len().saturating_mul(PACKED));
        for (lead, points) in leads.iter().zip(points) {
            packed.extend_from_slice(lead.lead.bytes());
            packed.extend_from_slice(&points.to_le_bytes());
        }
        s.serialize_str(&STANDARD_NO_PAD.encode(packed))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<LeadScore>, D::Error> {
        d.deserialize_any(EitherForm)
    }

    struct EitherForm;

    impl<'de> Visitor<'de> for EitherForm {
        type Value = Vec<LeadScore>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of leads, or packed leads")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<LeadScore>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }

        fn visit_str<E: Error>(self, packed: &str) -> Result<Vec<LeadScore>, E> {
            let packed = STANDARD_NO_PAD.decode(packed).map_err(E::custom)?;
            let (leads, rest) = packed.as_chunks::<PACKED>();
            if !rest.is_empty() {
                return Err(E::custom("the packed leads end in the middle of one"));
            }
            let read = leads.iter().filter_map(|lead| {
                let (id, points) = lead.split_first_chunk::<16>()?;
                let score = i32::from_le_bytes(*points.first_chunk()?).into();
                Some(LeadScore { lead: IdentityId::from_bytes(*id), score })
            });
            Ok(read.collect())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use domain::Identity;

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Named {
            #[serde(with = "super")]
            leads: Vec<LeadScore>,
        }

        fn leads(n: i64) -> Named {
            Named { leads: (0..n).map(|i| LeadScore { lead: Identity::user(&i.to_string()).id(), score: 1_000 - i }).collect() }
        }

        #[test]
        fn a_few_leads_are_listed_and_many_are_packed_and_both_are_read() {
            for n in [0, 1, 16, 17, 500] {
                let text = serde_json::to_string(&leads(n)).unwrap();
                assert_eq!(text.contains("\"id\""), (1..=16).contains(&n), "{n}");
                assert_eq!(serde_json::from_str::<Named>(&text).unwrap(), leads(n));
                // 20 bytes a lead are 26.7 letters.
                assert!(n <= 16 || text.len() < 27 * n as usize + 20, "{n}: {}", text.len());
            }
        }

        #[test]
        fn damaged_leads_are_an_error() {
            for text in [r#"{"leads":"AAAA"}"#, r#"{"leads":"?"}"#, r#"{"leads":7}"#] {
                assert!(serde_json::from_str::<Named>(text).is_err(), "{text}");
            }
        }
    }
}

/// What level last recorded for a home. It is also the compact row from which lists are filtered and sorted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The version of the score record that this follows.
    pub served: u64,
    /// The version of the model by which levels were last assigned: that of the score record or a newer one.
    #[serde(default)]
    pub model: u64,
    /// The version of the model of that score record, when it is an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scored_by: Option<u64>,
    /// The `inputs` of that score record.
    pub inputs: u64,
    /// The `fresh` of that score record.
    pub fresh: u64,
    /// Sequence number of the last transition.
    pub seq: u64,
    /// Transitions that are not known to have been sent, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Transition>,
    /// The account level's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_since: Option<Timestamp>,
    /// The account engagement level's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement_level: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement_level_since: Option<Timestamp>,
    /// The account level ruleset that the account falls under, when it is a segment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_ruleset: Option<String>,
    /// The account engagement level ruleset that it falls under, when it is a segment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement_level_ruleset: Option<String>,
    /// The lead level ruleset that its leads fall under, when it is a segment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_level_ruleset: Option<String>,
    /// The hottest lead's level id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hottest: Option<String>,
    /// The account score as a letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// The cell of the grid of fit and engagement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridCell>,
    /// Fit.
    pub account_score: i32,
    /// Engagement.
    pub engagement: i64,
    /// Surge.
    pub surge: bool,
    /// All leads.
    pub total_leads: u32,
    /// Distinct sessions.
    #[serde(default)]
    pub sessions: u32,
    /// The latest event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_at: Option<Timestamp>,
    /// The account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The first web domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The named account's tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The named account's priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// A moment at which a level held back by its minimum dwell must be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_until: Option<Timestamp>,
    /// The account that this home was absorbed into: it is in no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<AccountId>,
}

impl Standing {
    /// The version of the model that everything which it shows follows from, at least.
    pub fn scored_under(&self) -> u64 {
        self.scored_by.unwrap_or(self.model)
    }
}

/// The levels of a home's leads that are above the lowest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadLevels {
    /// By lead: the level's id and since when.
    pub levels: BTreeMap<IdentityId, (String, Timestamp)>,
}

/// Who owns a web domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainClaim {
    /// The owner.
    pub account: AccountId,
    /// How the account got it.
    pub origin: AccountOrigin,
    /// When.
    pub at: Timestamp,
}

/// A due item: rescore enqueues its home once its moment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueAccount {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Which home.
    pub home: Home,
    /// How often it was enqueued and not found scored.
    #[serde(default)]
    pub leases: u32,
}

/// One entry of the journal of changed standings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The homes whose standing was written.
    pub homes: Vec<Home>,
}
