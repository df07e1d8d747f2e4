//! The score record: what an evaluation leaves behind for level and for lists.

use domain::{Day, Home, Timestamp, decay::shown, evaluate::Evaluation, hash64, lead::Lead, model::Model};
use pipeline::{
    homes::Gathered,
    records::{AccountRecord, LeadScore, NAMED_LEADS, ScoreRecord},
};
use std::collections::BTreeMap;

/// Reasons that a message shows.
const REASONS: usize = 3;

/// Computes the record of a home as of `as_of`.
pub fn compute(home: &Home, gathered: &Gathered, model: &Model, as_of: Day, now: Timestamp) -> ScoreRecord {
    let account = gathered.own.account.as_ref().map(|account| &account.record);
    let inputs = inputs_digest(gathered);
    let stamp = hash64(&[&inputs.to_le_bytes(), &account_versions(gathered), &model.digest().to_le_bytes(), &as_of.0.to_le_bytes()]);
    if let Some(into) = account.and_then(|account| account.merged_into.clone()) {
        return ScoreRecord { merged_into: Some(into), ..blank(stamp, inputs, model, as_of) };
    }
    let evaluation = Evaluation::new(model, gathered.inputs(), as_of);
    let own_fresh: u64 = gathered.partitions().map(|partition| partition.own.record.fresh).sum();
    ScoreRecord {
        fresh: evaluation.fresh().saturating_add(own_fresh),
        account_score: evaluation.account.score,
        possible: evaluation.account.possible,
        known: u32::try_from(evaluation.account.known).unwrap_or(u32::MAX),
        of: u32::try_from(evaluation.account.of).unwrap_or(u32::MAX),
        engagement: evaluation.engagement.shown(),
        surge: evaluation.surge.active,
        surge_since: evaluation.surge.since,
        leads: lead_scores(&evaluation),
        total_leads: u32::try_from(evaluation.people().count()).unwrap_or(u32::MAX),
        sessions: u32::try_from(evaluation.people().map(Lead::sessions).sum::<usize>()).unwrap_or(u32::MAX),
        last_activity_at: evaluation.last_activity(),
        name: name(home, account, &evaluation),
        domain: account.and_then(|account| account.domains.first().cloned()),
        fields: evaluation.fields.winners().map(|(name, winner)| (name.to_string(), winner.value.clone())).collect(),
        owner: account.and_then(|account| account.owner.clone()),
        tier: account.and_then(|account| account.tier.clone()),
        priority: account.and_then(|account| account.priority.clone()),
        reasons: reasons(&evaluation, model),
        due_at: evaluation.next_change(model).map(Day::start).filter(|due| *due > now),
        ..blank(stamp, inputs, model, as_of)
    }
}

fn blank(stamp: u64, inputs: u64, model: &Model, as_of: Day) -> ScoreRecord {
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
        due_at: None,
        merged_into: None,
    }
}

/// Digest of the versions of states and own fields: equal only when none was written in between.
fn inputs_digest(gathered: &Gathered) -> u64 {
    let mut text = String::new();
    for partition in gathered.partitions() {
        let id = partition.account.as_ref().map_or("", |account| account.record.id.as_str());
        text.push_str(&format!("{id}\0{}\0", partition.own.version));
        for stored in &partition.states {
            text.push_str(&format!("{}{},", stored.identity, stored.version));
        }
    }
    hash64(&[text.as_bytes()])
}

/// The versions of the accounts themselves: an owner or a domain is shown, but is no reason to notify anybody.
fn account_versions(gathered: &Gathered) -> Vec<u8> {
    gathered.partitions().flat_map(|partition| partition.account.as_ref().map_or(0, |account| account.version).to_le_bytes()).collect()
}

fn lead_scores(evaluation: &Evaluation<'_>) -> Vec<LeadScore> {
    let people = evaluation.engagement.leads.iter().filter(|lead| !lead.is_account && lead.shown() != 0);
    people.take(NAMED_LEADS).map(|lead| LeadScore { lead: lead.lead, score: lead.shown() }).collect()
}

/// What people call the home: the field `name`, for an unresolved lead the person.
fn name(home: &Home, account: Option<&AccountRecord>, evaluation: &Evaluation<'_>) -> Option<String> {
    if let Some(winner) = evaluation.fields.winner("name") {
        return Some(winner.value.to_string());
    }
    match home {
        Home::Lead(_) => evaluation.people().next().map(Lead::label),
        Home::Account(_) => account.and_then(|account| account.domains.first().cloned()),
    }
}

/// The rules that add most, in words: the account's and those of its leads.
fn reasons(evaluation: &Evaluation<'_>, model: &Model) -> Vec<String> {
    let mut reasons: Vec<(i64, String)> = evaluation
        .account
        .lines
        .iter()
        .filter(|line| line.points > 0)
        .map(|line| (i64::from(line.points).saturating_mul(1000), format!("{}: +{}", line.name, line.points)))
        .collect();
    for points in &evaluation.engagement.leads {
        let lead = evaluation.leads.iter().find(|lead| lead.id == points.lead);
        let who = lead.filter(|lead| !lead.is_account).map(|lead| format!(" by {}", lead.label())).unwrap_or_default();
        for rule in &points.rules {
            let name = model.document.engagement.rules.get(rule.rule).map(|rule| rule.name.as_str()).unwrap_or_default();
            if shown(rule.milli) > 0 {
                reasons.push((rule.milli, format!("{name}{who}: +{}", shown(rule.milli))));
            }
        }
    }
    reasons.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    reasons.into_iter().take(REASONS).map(|(_, text)| text).collect()
}
