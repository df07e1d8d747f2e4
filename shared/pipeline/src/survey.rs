//! What is asked of every account at once: who would surge by other settings, and of how many each field is known.
//!
//! An answer is made of pages of homes: each page gives a part, and parts of different homes are merged in any order. So a request answers for
//! a small workspace at once, and a job for a large one, by the same code.

use crate::{
    board::Spike,
    homes::{Gathered, HomeStore},
    packed::{from_packed, packed},
    records::{SCORE, ScoreRecord, from_item, home_key},
    store::{Condition, Consistency, Item, Key, Store, StoreError, Table, Write},
};
use domain::{
    Day, Home, Timestamp, WorkspaceId,
    coverage::Coverage,
    decay::divide_rounded,
    field::FieldName,
    lead::Lead,
    model::{Model, ModelDocument},
    score::LeadBase,
    segments::STATED,
    surge::{Earning, Surge, SurgeSettings},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// For so many accounts and leads a request answers at once; for more a job does.
pub const INLINE: usize = 2_000;
/// How many accounts each list of a survey names.
pub const LISTED: usize = 100;
/// How many homes are read at once.
const CONCURRENCY: usize = 16;
/// How many score records one read asks for.
const RECORDS: usize = 200;
/// No window has more days.
const WINDOW_DAYS: i32 = 28;

// ---- Surge -------------------------------------------------------------------------------------------------------------

/// Which accounts surge by the settings in force, and which would by others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurgeSurvey {
    /// How many accounts were looked at.
    pub accounts: u64,
    /// How many of them had an event in the last seven days.
    pub active: u64,
    /// How many surge by the settings in force.
    pub now: u64,
    /// How many would.
    pub then: u64,
    /// How many would begin to, go on, and cease to.
    pub changes: [u64; 3],
    /// Those that would begin to; the first hundred by id.
    pub starts: BTreeMap<Home, Surging>,
    /// Those that surge either way; the first hundred by id.
    pub stays: BTreeMap<Home, Surging>,
    /// Those that would cease to; the first hundred by id.
    pub ends: BTreeMap<Home, Surging>,
}

/// One account's surge by the settings in force and by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surging {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By the settings in force.
    pub now: Surge,
    /// By the others.
    pub then: Surge,
}

impl SurgeSurvey {
    /// Adds an account.
    fn add(&mut self, home: &Home, seen: Surging, active: bool) {
        self.accounts = self.accounts.saturating_add(1);
        self.active = self.active.saturating_add(u64::from(active));
        self.now = self.now.saturating_add(u64::from(seen.now.active));
        self.then = self.then.saturating_add(u64::from(seen.then.active));
        let [starts, stays, ends] = &mut self.changes;
        let (list, count) = match (seen.now.active, seen.then.active) {
            (false, true) => (&mut self.starts, starts),
            (true, true) => (&mut self.stays, stays),
            (true, false) => (&mut self.ends, ends),
            (false, false) => return,
        };
        *count = count.saturating_add(1);
        list.insert(home.clone(), seen);
        while list.len() > LISTED {
            list.pop_last();
        }
    }

    /// Adds what was seen of other accounts.
    pub fn merge(&mut self, other: Self) {
        self.accounts = self.accounts.saturating_add(other.accounts);
        self.active = self.active.saturating_add(other.active);
        self.now = self.now.saturating_add(other.now);
        self.then = self.then.saturating_add(other.then);
        self.changes.iter_mut().zip(other.changes).for_each(|(ours, theirs)| *ours = ours.saturating_add(theirs));
        for (ours, theirs) in [(&mut self.starts, other.starts), (&mut self.stays, other.stays), (&mut self.ends, other.ends)] {
            ours.extend(theirs);
            while ours.len() > LISTED {
                ours.pop_last();
            }
        }
    }

    /// The answer as JSON, for settings and a day.
    pub fn to_value(&self, now: &SurgeSettings, then: &SurgeSettings, day: Day) -> Value {
        let list = |accounts: &BTreeMap<Home, Surging>| -> Value {
            let account = |(home, seen): (&Home, &Surging)| {
                json!({
                    "account_id": home.account().map(ToString::to_string),
                    "name": seen.name,
                    "now": of_day(&seen.now, now),
                    "then": of_day(&seen.then, then),
                })
            };
            accounts.iter().map(account).collect()
        };
        let [starts, stays, ends] = self.changes;
        json!({
            "as_of": day.to_string(),
            "accounts": self.accounts,
            "now": self.now,
            "then": self.then,
            "changes": { "starts": starts, "stays": stays, "ends": ends },
            "starts": list(&self.starts),
            "stays": list(&self.stays),
            "ends": list(&self.ends),
            "workspace_spike": { "now": spike(self.now, self.active), "then": spike(self.then, self.active) },
            "settings": { "now": now, "then": then },
        })
    }
}

fn spike(surging: u64, active: u64) -> Value {
    let of = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    json!(Spike::of(of(surging), of(active)))
}

/// A surge as people see it.
fn of_day(surge: &Surge, settings: &SurgeSettings) -> Value {
    json!({
        "active": surge.active,
        "since": surge.since.map(|day| day.to_string()),
        "new_activity": surge.new_activity,
        "window_events": surge.window,
        "window_leads": surge.leads,
        "baseline_events": surge.baseline,
        "ratio_percent": surge.ratio_percent(settings),
    })
}

/// The days on which a home's events earned points.
fn earning(model: &Model, gathered: &Gathered) -> (Earning, Option<Timestamp>) {
    let inputs = gathered.inputs();
    let leads = inputs.leads();
    let bases: Vec<LeadBase> = leads.iter().map(|lead| model.engagement.base(lead)).collect();
    let first = leads.iter().filter_map(Lead::first_seen).min().map(Timestamp::day);
    (model.engagement.earning(&bases, first), leads.iter().filter_map(Lead::last_seen).max())
}

/// Looks at some homes, as of a moment's day. Absorbed accounts, those without any event in 28 days and unresolved leads are passed over.
pub async fn surge<S: Store>(
    homes: &HomeStore<S>,
    workspace: &WorkspaceId,
    model: &Model,
    settings: &SurgeSettings,
    of: &[Home],
    now: Timestamp,
) -> Result<SurgeSurvey, StoreError> {
    let accounts: Vec<Home> = of.iter().filter(|home| home.account().is_some()).cloned().collect();
    let seen: Vec<Option<(Home, Surging, bool)>> =
        stream::iter(accounts).map(|home| look(homes, workspace, model, settings, home, now)).buffered(CONCURRENCY).try_collect().await?;
    let mut survey = SurgeSurvey::default();
    for (home, surging, active) in seen.into_iter().flatten() {
        survey.add(&home, surging, active);
    }
    Ok(survey)
}

/// The beginning of the longest window: whoever had no event since then surges by no settings.
pub fn first_of_any_window(now: Timestamp) -> Timestamp {
    now.day().plus(1 - WINDOW_DAYS).start()
}

/// One account by both settings, and whether it had an event in the last seven days; nothing of an absorbed one, or of one that can't surge.
async fn look<S: Store>(
    homes: &HomeStore<S>,
    workspace: &WorkspaceId,
    model: &Model,
    settings: &SurgeSettings,
    home: Home,
    now: Timestamp,
) -> Result<Option<(Home, Surging, bool)>, StoreError> {
    let gathered = homes.gather(workspace, &home, Consistency::Eventual).await?;
    let account = gathered.own.account.as_ref().map(|account| &account.record);
    let Some(account) = account.filter(|account| account.merged_into.is_none()) else { return Ok(None) };
    let (earning, last) = earning(model, &gathered);
    if last.is_none_or(|last| last < first_of_any_window(now)) {
        return Ok(None);
    }
    let score = gathered.own.score.as_ref().map(|score| &score.record);
    let name = score.and_then(|score| score.name.clone()).or_else(|| account.domains.first().cloned());
    let today = now.day();
    let surging = Surging { name, now: earning.surge(&model.document.surge, today), then: earning.surge(settings, today) };
    let active = last.is_some_and(|last| last > now.plus_millis(-7 * domain::DAY_MS));
    Ok(Some((home, surging, active)))
}

// ---- Coverage ----------------------------------------------------------------------------------------------------------

/// Counts of how many of some homes each field is known, by what score last recorded of them. Absorbed accounts and unresolved leads are passed
/// over.
pub async fn coverage<S: Store>(
    store: &S,
    workspace: &WorkspaceId,
    model: &Model,
    of: &[Home],
    now: Timestamp,
) -> Result<Coverage, StoreError> {
    let keys: Vec<Key> = of.iter().filter(|home| home.account().is_some()).map(|home| home_key(workspace, home, SCORE)).collect();
    let mut coverage = Coverage::default();
    for keys in keys.chunks(RECORDS) {
        for item in store.read_many(keys, Consistency::Eventual).await? {
            let record: ScoreRecord = from_item(&item)?;
            if record.merged_into.is_none() {
                coverage.add(&record.fields, model, now);
            }
        }
    }
    Ok(coverage)
}

/// A count of coverage, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// When.
    pub at: Timestamp,
    /// The count.
    pub coverage: Coverage,
}

/// Where the last count of coverage is kept.
pub fn coverage_key(workspace: &WorkspaceId) -> Key {
    Key::new(Table::Config, workspace.as_str(), "coverage")
}

/// Keeps a count, instead of the one before.
pub async fn put_coverage<S: Store>(store: &S, workspace: &WorkspaceId, counted: &Counted) -> Result<(), StoreError> {
    let key = coverage_key(workspace);
    let body = packed(&key, counted)?;
    store.write(Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Always)).await
}

/// The last count that was kept.
pub async fn last_coverage<S: Store>(store: &S, workspace: &WorkspaceId) -> Result<Option<Counted>, StoreError> {
    let item = store.read(&coverage_key(workspace), Consistency::Eventual).await?;
    item.as_ref().map(from_packed).transpose()
}

/// Which rules, segments and owner rules look at which field: ids of rulesets and rules, by the field. A segment is called `segment`, and the ruleset
/// of owner rules `owner-rules`.
fn users(document: &ModelDocument) -> Vec<(FieldName, Vec<(&str, &str)>)> {
    let rulesets = std::iter::once(&document.account).chain(document.other_accounts.iter().map(|other| &other.ruleset));
    let rules = rulesets.flat_map(|ruleset| {
        ruleset.rules.iter().flat_map(|rule| {
            let place = (ruleset.id.as_str(), rule.id.as_str());
            rule.condition.fields().into_iter().map(move |field| (field, place))
        })
    });
    let segments = document.all_segments().map(|segment| ((segment.ruleset.id.as_str(), "segment"), &segment.when));
    let owners = document.owners.0.iter().filter_map(|rule| Some((("owner-rules", rule.id.as_str()), rule.when.as_ref()?)));
    let conditions = segments.chain(owners).flat_map(|(place, when)| when.fields().into_iter().map(move |field| (field, place)));
    let mut users: Vec<(FieldName, Vec<(&str, &str)>)> = Vec::new();
    for (field, place) in rules.chain(conditions.filter(|(field, _)| !STATED.contains(&field.as_str()))) {
        match users.iter_mut().find(|(known, _)| known == field) {
            Some((_, places)) => places.push(place),
            None => users.push((field.clone(), vec![place])),
        }
    }
    users
}

/// Coverage as JSON: fields that rules use in the order of the rules, then the others by name. Without a count all numbers are `null`.
pub fn coverage_value(document: &ModelDocument, counted: Option<&Counted>) -> Value {
    let users = users(document);
    let mapped: BTreeSet<&FieldName> = document.mapping.entries().iter().map(|entry| &entry.field).collect();
    let held = counted.into_iter().flat_map(|counted| counted.coverage.fields.keys());
    let others: BTreeSet<&FieldName> =
        mapped.iter().copied().chain(held).filter(|field| users.iter().all(|(used, _)| used != *field)).collect();
    let line = |field: &FieldName, rules: &[(&str, &str)]| -> Value {
        let known = counted.map(|counted| counted.coverage.of(field.as_str()));
        let accounts = counted.map(|counted| counted.coverage.accounts).filter(|accounts| *accounts > 0);
        let percent = known.zip(accounts).map(|(known, accounts)| percent(known.known, accounts));
        let rules: Value = rules.iter().map(|(ruleset, rule)| json!({ "ruleset": ruleset, "rule_id": rule })).collect();
        json!({
            "field": field.as_str(),
            "known": known.map(|known| known.known),
            "percent": percent,
            "undecided": known.map(|known| known.undecided),
            "mapped": mapped.contains(field),
            "rules": rules,
        })
    };
    let used = users.iter().map(|(field, rules)| line(field, rules));
    let fields: Value = used.chain(others.into_iter().map(|field| line(field, &[]))).collect();
    json!({
        "as_of": counted.map(|counted| counted.at.to_string()),
        "accounts": counted.map(|counted| counted.coverage.accounts),
        "fields": fields,
    })
}

fn percent(part: u64, whole: u64) -> i64 {
    let of = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    divide_rounded(of(part).saturating_mul(100), of(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AccountId, field::FieldValue, model::default_document};

    fn home(n: usize) -> Home {
        Home::Account(AccountId::new(&format!("acct_{n:04}")).unwrap())
    }

    fn surging(now: bool, then: bool) -> Surging {
        let of = |active| Surge { active, ..Surge::default() };
        Surging { name: None, now: of(now), then: of(then) }
    }

    #[test]
    fn a_survey_of_pages_in_any_order_is_that_of_the_whole() {
        let seen: Vec<(Home, bool, bool)> = (0..400).map(|n| (home(n), n % 2 == 0, n % 3 == 0)).collect();
        let part = |seen: &[(Home, bool, bool)]| {
            let mut survey = SurgeSurvey::default();
            seen.iter().for_each(|(home, now, then)| survey.add(home, surging(*now, *then), *now));
            survey
        };
        let whole = part(&seen);
        // Of 400, 200 are even, 134 are multiples of 3, 67 of both.
        assert_eq!((whole.accounts, whole.now, whole.then, whole.active), (400, 200, 134, 200));
        assert_eq!(whole.changes, [67, 67, 133]);
        assert_eq!((whole.stays.len(), whole.starts.len(), whole.ends.len()), (67, 67, 100));
        assert_eq!(whole.ends.keys().next(), Some(&home(2)));
        let (mut forward, mut backward) = (SurgeSurvey::default(), SurgeSurvey::default());
        seen.chunks(37).for_each(|page| forward.merge(part(page)));
        seen.chunks(37).rev().for_each(|page| backward.merge(part(page)));
        assert_eq!((&forward, &backward), (&whole, &whole));
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<SurgeSurvey>(&text).unwrap(), whole);
    }

    #[test]
    fn coverage_names_the_rules_of_a_field_and_whether_anything_fills_it() {
        let document = default_document().unwrap();
        let model = Model::compile(document.clone()).unwrap();
        let mut coverage = Coverage::default();
        for n in 0..412 {
            let mut fields: BTreeMap<String, FieldValue> = BTreeMap::new();
            if n < 252 {
                fields.insert("revenue".to_owned(), FieldValue::Text("x".to_owned()));
            }
            if n < 3 {
                fields.insert("nobody_maps".to_owned(), FieldValue::Text("x".to_owned()));
            }
            coverage.add(&fields, &model, Timestamp::default());
        }
        let value = coverage_value(&document, Some(&Counted { at: Timestamp::default(), coverage }));
        let fields = value["fields"].as_array().unwrap();
        let names: Vec<&str> = fields.iter().map(|field| field["field"].as_str().unwrap()).collect();
        assert_eq!(names[..4], ["employees", "revenue", "country", "industry"]);
        // 252 of 412 are 61.2 %.
        assert_eq!(
            fields[1],
            json!({"field": "revenue", "known": 252, "percent": 61, "undecided": 0, "mapped": true,
                "rules": [{"ruleset": "enterprise-b2b-saas", "rule_id": "revenue"}]})
        );
        let unmapped = fields.iter().find(|field| field["field"] == "nobody_maps").unwrap();
        assert_eq!(
            (unmapped["mapped"].as_bool(), unmapped["percent"].as_i64(), unmapped["rules"].as_array().map(Vec::len)),
            (Some(false), Some(1), Some(0))
        );
        let unknown = coverage_value(&document, None);
        assert!(unknown["accounts"].is_null() && unknown["fields"][0]["known"].is_null());
    }
}
