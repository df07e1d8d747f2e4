//! The score record: what an evaluation leaves behind for level and for lists. The score stage and dry runs compute the very same one.

use crate::{
    homes::{Gathered, StoredState},
    records::{AccountRecord, LeadScore, NAMED_LEADS, ScoreRecord, ShardRecord},
};
use domain::{
    Day, Home, IdentityId, Shard, Shards, Timestamp,
    decay::shown,
    evaluate::{Evaluation, Inputs},
    giant::{Scores, ShardSum},
    grade::Grade,
    hash64,
    model::Model,
    state::IdentityState,
};
use std::{collections::BTreeMap, fmt::Write};

/// Computes the record of a home as of `as_of` from all its states, whether it is giant or not.
pub fn compute(home: &Home, gathered: &Gathered, model: &Model, as_of: Day, now: Timestamp) -> ScoreRecord {
    if let Some(merged) = merged(gathered, model, as_of) {
        return merged;
    }
    if gathered.is_giant() {
        let mut states: BTreeMap<Shard, Vec<&StoredState>> = BTreeMap::new();
        for stored in gathered.partitions().flat_map(|partition| &partition.states) {
            states.entry(stored.shard).or_default().push(stored);
        }
        let sum = |shard: Shard| (shard, sum(gathered, states.remove(&shard).unwrap_or_default(), model, as_of));
        let sums = Shards::ALL.iter().map(sum).collect();
        return combine(home, gathered, &sums, model, as_of, now);
    }
    let digests = Digests::new(gathered, inputs_digest(gathered), model, as_of);
    let scores = Scores::of(model, Evaluation::new(model, gathered.inputs(), as_of));
    record(home, gathered, scores, digests, model, as_of, now)
}

/// The record of a home that was absorbed: nothing of it follows from states.
pub fn merged(gathered: &Gathered, model: &Model, as_of: Day) -> Option<ScoreRecord> {
    let account = gathered.own.account.as_ref()?;
    let into = account.record.merged_into.clone()?;
    let inputs = hash64(&[b"merged", &account.version.to_le_bytes()]);
    let stamp = hash64(&[&inputs.to_le_bytes(), &model.digest().to_le_bytes(), &as_of.0.to_le_bytes()]);
    Some(ScoreRecord { merged_into: Some(into), ..blank(Digests { stamp, inputs }, model, as_of) })
}

/// Sums one shard of a giant home. `states` are those of the shard in the home's partition and in its members'.
pub fn sum(head: &Gathered, mut states: Vec<&StoredState>, model: &Model, as_of: Day) -> ShardRecord {
    states.sort_by_key(|stored| stored.identity);
    let mut text = String::new();
    for stored in &states {
        note(&mut text, format_args!("{}{},", stored.identity, stored.version));
    }
    let states: Vec<(IdentityId, &IdentityState)> = states.into_iter().map(|stored| (stored.identity, &stored.state)).collect();
    ShardRecord {
        as_of,
        model: model.version(),
        model_digest: model.digest(),
        members: members_digest(head),
        inputs: hash64(&[text.as_bytes()]),
        sum: ShardSum::of(model, &states, as_of),
    }
}

/// Digest of the ids of the absorbed accounts: a sum of other members is none of this home.
pub fn members_digest(head: &Gathered) -> u64 {
    let ids = head.members.iter().filter_map(|member| member.account.as_ref()).map(|account| account.record.id.as_str());
    let ids: std::collections::BTreeSet<&str> = ids.collect();
    hash64(&ids.into_iter().map(str::as_bytes).collect::<Vec<_>>())
}

/// Computes the record of a giant home from the sums of all its shards. `head` needs no states.
pub fn combine(
    home: &Home,
    head: &Gathered,
    sums: &BTreeMap<Shard, ShardRecord>,
    model: &Model,
    as_of: Day,
    now: Timestamp,
) -> ScoreRecord {
    let mut inputs = b"giant".to_vec();
    for partition in head.partitions() {
        let id = partition.account.as_ref().map_or("", |account| account.record.id.as_str());
        inputs.extend_from_slice(format!("{id}\0{}\0", partition.own.version).as_bytes());
    }
    for (shard, record) in sums {
        inputs.push(shard.number());
        inputs.extend_from_slice(&record.inputs.to_le_bytes());
    }
    let digests = Digests::new(head, hash64(&[&inputs]), model, as_of);
    let Inputs { own, .. } = head.inputs();
    let scores = Scores::combine(model, own, sums.values().map(|record| &record.sum), as_of);
    ScoreRecord { giant: true, ..record(home, head, scores, digests, model, as_of, now) }
}

/// What tells whether a record follows from the same as another.
struct Digests {
    stamp: u64,
    inputs: u64,
}

impl Digests {
    fn new(gathered: &Gathered, inputs: u64, model: &Model, as_of: Day) -> Self {
        let parts: [&[u8]; 4] = [&inputs.to_le_bytes(), &account_versions(gathered), &model.digest().to_le_bytes(), &as_of.0.to_le_bytes()];
        Self { stamp: hash64(&parts), inputs }
    }
}

fn record(home: &Home, gathered: &Gathered, scores: Scores, digests: Digests, model: &Model, as_of: Day, now: Timestamp) -> ScoreRecord {
    let account = gathered.own.account.as_ref().map(|account| &account.record);
    let own_fresh: u64 = gathered.partitions().map(|partition| partition.own.record.fresh).sum();
    ScoreRecord {
        fresh: scores.fresh.saturating_add(own_fresh),
        account_score: scores.account.score,
        possible: scores.account.possible,
        known: u32::try_from(scores.account.known).unwrap_or(u32::MAX),
        of: u32::try_from(scores.account.of).unwrap_or(u32::MAX),
        engagement: shown(scores.engagement),
        surge: scores.surge.active,
        surge_since: scores.surge.since,
        leads: lead_scores(&scores),
        total_leads: scores.people,
        sessions: scores.sessions,
        last_activity_at: scores.last_activity,
        name: name(home, account, &scores),
        domain: account.and_then(|account| account.domains.first().cloned()),
        fields: scores.fields.winners().map(|(name, winner)| (name.to_string(), winner.value.clone())).collect(),
        owner: account.and_then(|account| account.owner.clone()),
        tier: account.and_then(|account| account.tier.clone()),
        priority: account.and_then(|account| account.priority.clone()),
        reasons: scores.reasons,
        grade: home.account().map(|_| {
            Grade::of(i64::from(scores.account.score), i64::from(scores.account.possible), !scores.account.disqualified_by.is_empty())
        }),
        disqualified_by: scores.account.disqualified_by.iter().map(ToString::to_string).collect(),
        others: scores.other_accounts,
        other_engagements: scores.other_engagements,
        stale: scores.stale,
        due_at: scores.next_change.map(Day::start).filter(|due| *due > now),
        ..blank(digests, model, as_of)
    }
}

fn blank(Digests { stamp, inputs }: Digests, model: &Model, as_of: Day) -> ScoreRecord {
    ScoreRecord {
        stamp,
        inputs,
        fresh: 0,
        as_of,
        model: model.version(),
        account_score: 0,
        possible: 0,
        known: 0,
        of: 0,
        engagement: 0,
        surge: false,
        surge_since: None,
        leads: Vec::new(),
        total_leads: 0,
        sessions: 0,
        last_activity_at: None,
        name: None,
        domain: None,
        fields: BTreeMap::new(),
        owner: None,
        tier: None,
        priority: None,
        reasons: Vec::new(),
        others: Vec::new(),
        other_engagements: Vec::new(),
        disqualified_by: Vec::new(),
        grade: None,
        stale: 0,
        giant: false,
        due_at: None,
        merged_into: None,
    }
}

/// Adds to a text, which never fails.
fn note(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

/// Digest of the versions of states and own fields: equal only when none was written in between.
fn inputs_digest(gathered: &Gathered) -> u64 {
    let mut text = String::new();
    for partition in gathered.partitions() {
        let id = partition.account.as_ref().map_or("", |account| account.record.id.as_str());
        note(&mut text, format_args!("{id}\0{}\0", partition.own.version));
        for stored in &partition.states {
            note(&mut text, format_args!("{}{},", stored.identity, stored.version));
        }
    }
    hash64(&[text.as_bytes()])
}

/// The versions of the accounts themselves: an owner or a domain is shown, but is no reason to notify anybody.
fn account_versions(gathered: &Gathered) -> Vec<u8> {
    gathered.partitions().flat_map(|partition| partition.account.as_ref().map_or(0, |account| account.version).to_le_bytes()).collect()
}

fn lead_scores(scores: &Scores) -> Vec<LeadScore> {
    let named = scores.leads.iter().filter(|lead| !lead.is_account && shown(lead.milli) != 0);
    named.take(NAMED_LEADS).map(|lead| LeadScore { lead: lead.lead, score: shown(lead.milli) }).collect()
}

/// What people call the home: the field `name`, for an unresolved lead the person.
fn name(home: &Home, account: Option<&AccountRecord>, scores: &Scores) -> Option<String> {
    if let Some(winner) = scores.fields.winner("name") {
        return Some(winner.value.to_string());
    }
    match home {
        Home::Lead(_) => scores.label.clone(),
        Home::Account(_) => account.and_then(|account| account.domains.first().cloned()),
    }
}
