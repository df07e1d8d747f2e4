//! Random scoring models and random histories: the same for the same seed.
//!
//! A test takes its cases from consecutive seeds ([`each_seed`]); one that fails names its seed, and that seed alone tells all of it again.

use crate::{
    bench::Dice,
    caller::Caller,
    world::{Told, World, event, group, identify, page, track},
};
use domain::{
    CallKind, Day, Home, NamedBy, Timestamp,
    account_rules::AccountRuleset,
    engagement::EngagementRuleset,
    field::{FieldSource, SourceOrder},
    level::LevelRuleset,
    mapping::AccountMapping,
    model::{Beside, ModelDocument, default_document},
    owner::OwnerRules,
    ruleset::RulesetKind,
    segments::SegmentLevels,
    surge::SurgeSettings,
    trigger::Trigger,
};
use pipeline::{jobs::Cursor, models::Models, notify::Triggers, walk};
use serde_json::{Value, json};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Runs a check for each of `count` seeds from `first` on, on two threads. A seed whose check panics is printed.
pub fn each_seed(first: u64, count: u64, check: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let seed = first.wrapping_add(n);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
                        eprintln!("this was seed {seed}");
                        next.store(count, Ordering::Relaxed);
                        resume_unwind(panic);
                    }
                }
            });
        }
    });
}

/// As [`each_seed`], for checks of worlds.
pub fn each_world(first: u64, count: u64, check: impl AsyncFn(u64) + Sync) {
    each_seed(first, count, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without a driver");
        runtime.block_on(check(seed));
    });
}

/// A number from `low` to `high`, both included.
pub fn between(dice: &mut Dice, low: i64, high: i64) -> i64 {
    low.saturating_add(i64::try_from(dice.below(high.abs_diff(low) + 1)).unwrap_or_default())
}

fn index(dice: &mut Dice, count: usize) -> usize {
    usize::try_from(dice.below(count as u64)).unwrap_or_default()
}

/// What a field is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Truth,
    Date,
    List,
}

/// The fields that rules look at, with the key of a group call's traits that states each.
const FIELDS: [(&str, &str, Kind); 9] = [
    ("employees", "employees", Kind::Number),
    ("revenue", "revenue", Kind::Number),
    ("country", "country", Kind::Text),
    ("industry", "industry", Kind::Text),
    ("plan", "plan", Kind::Text),
    ("existing_customer", "existing_customer", Kind::Truth),
    ("created_at", "createdAt", Kind::Date),
    ("tools", "tools", Kind::List),
    // The moment of the last such event; no trait states it.
    ("demo_at", "", Kind::Date),
];

const NUMBERS: [i64; 6] = [10, 100, 200, 1_000, 5_000, 50_000_000];
const TEXTS: [(&str, [&str; 4]); 4] = [
    ("country", ["US", "Germany", "FR", "United Kingdom"]),
    ("industry", ["Technology", "Finance", "Mining", "HOSPITAL_HEALTH_CARE"]),
    ("plan", ["pro", "Business", "free", "Pro Annual"]),
    ("tools", ["Loom CAD", "Ledger", "ledger pro", "Spindle"]),
];

fn texts(field: &str) -> &'static [&'static str] {
    TEXTS.iter().find(|(name, _)| *name == field).map_or(&[], |(_, texts)| texts.as_slice())
}

/// The mapping of a random model: the default one, and a list and a date of events beside.
fn mapping() -> AccountMapping {
    let mut document: Value =
        serde_json::from_str(include_str!("../../infra/mappings/account-fields.json")).expect("a file of this repository");
    if let Some(entries) = document["entries"].as_array_mut() {
        entries.push(json!({ "field": "tools", "type": "list", "paths": ["group.tools"] }));
        entries.push(json!({ "field": "demo_at", "policy": { "last_time_of_event": "Demo Requested" } }));
    }
    AccountMapping::parse(&document.to_string()).expect("a sound mapping")
}

/// A test on one field.
fn test(dice: &mut Dice) -> Value {
    let (field, _, kind) = *dice.pick(&FIELDS);
    let number = |dice: &mut Dice| json!(*dice.pick(&NUMBERS));
    let ops: &[&str] = match kind {
        Kind::Number => &["gt", "gte", "lt", "lte", "between", "eq", "neq", "in", "exists", "not_exists"],
        Kind::Text => &["eq", "neq", "in", "not_in", "contains", "not_contains", "starts_with", "exists", "not_exists"],
        Kind::Truth => &["eq", "neq", "exists", "not_exists"],
        Kind::Date => &["within_days", "within_days", "gt", "lte", "exists", "not_exists"],
        Kind::List => &["contains", "not_contains", "eq", "not_in", "starts_with", "exists"],
    };
    let op = *dice.pick(ops);
    let value = match (kind, op) {
        (_, "exists" | "not_exists") => return json!({ "field": field, "op": op }),
        (_, "within_days") => json!(between(dice, 1, 20)),
        (Kind::Number, "between") => {
            let (a, b) = (*dice.pick(&NUMBERS), *dice.pick(&NUMBERS));
            json!([a.min(b), a.max(b)])
        }
        (Kind::Number, "in") => json!([number(dice), number(dice)]),
        (Kind::Number, _) => number(dice),
        (Kind::Truth, _) => json!(dice.chance(50)),
        (Kind::Date, _) => json!(format!("2026-0{}-10", between(dice, 1, 5))),
        (_, "in" | "not_in") => json!([dice.pick(texts(field)), dice.pick(texts(field))]),
        (_, "contains" | "not_contains" | "starts_with") if kind == Kind::Text => {
            let text = *dice.pick(texts(field));
            json!(text.chars().take(3).collect::<String>())
        }
        _ => json!(dice.pick(texts(field))),
    };
    json!({ "field": field, "op": op, "value": value })
}

fn condition(dice: &mut Dice, depth: u32) -> Value {
    if depth == 0 || dice.chance(60) {
        return test(dice);
    }
    let members: Vec<Value> = (0..between(dice, 1, 3)).map(|_| condition(dice, depth - 1)).collect();
    if dice.chance(50) { json!({ "all": members }) } else { json!({ "any": members }) }
}

/// A random account ruleset as the API takes it: groups and caps, nested conditions on what is known, missing or dated, rules that disqualify.
pub fn account_ruleset(dice: &mut Dice) -> Value {
    let rule = |dice: &mut Dice, n: i64| {
        let mut rule = json!({ "id": format!("r{n}"), "name": format!("Rule {n}"), "condition": condition(dice, 2) });
        if dice.chance(12) {
            rule["disqualifies"] = json!(true);
        } else {
            rule["points"] = json!(between(dice, -30, 60));
        }
        if dice.chance(40) {
            rule["group"] = json!(format!("g{}", dice.below(2)));
        }
        rule
    };
    let rules: Vec<Value> = (0..between(dice, 2, 7)).map(|n| rule(dice, n)).collect();
    let groups: Vec<Value> =
        (0..2).map(|n| json!({ "id": format!("g{n}"), "name": format!("Group {n}"), "cap": between(dice, 0, 90) })).collect();
    let means_no: Vec<&str> = ["existing_customer"].into_iter().filter(|_| dice.chance(60)).collect();
    let mut ruleset = json!({ "name": "Random fit", "missing_means_no": means_no, "groups": groups, "rules": rules });
    if dice.chance(40) {
        ruleset["cap"] = json!(between(dice, 10, 150));
    }
    ruleset
}

/// The names that events have and rules ask for. The last one no rule asks for.
const EVENTS: [&str; 7] =
    ["page view", "content download", "email click", "demo requested", "sdr meeting", "invoice paid", "something else"];

fn decay(dice: &mut Dice) -> Value {
    match dice.below(5) {
        0 => json!({ "kind": "none" }),
        1 => json!({ "kind": "linear", "days": between(dice, 1, 60) }),
        2 => json!({ "kind": "step", "steps": [
            { "from_day": between(dice, 1, 10), "percent": between(dice, 40, 100) },
            { "from_day": between(dice, 11, 60), "percent": between(dice, 0, 39) },
        ] }),
        _ => json!({ "kind": "half_life", "days": between(dice, 1, 90) }),
    }
}

fn count(dice: &mut Dice) -> Value {
    let paths = json!(["properties.asset", "properties.path"]);
    match dice.below(7) {
        0 => json!({ "mode": "once_per_lead" }),
        1 => json!({ "mode": "once_per_session" }),
        2 => json!({ "mode": "once_per_day" }),
        3 => json!({ "mode": "once_per_key", "paths": paths }),
        4 => json!({ "mode": "once_per_key_and_day", "paths": paths }),
        5 => json!({ "mode": "once_per_hours", "hours": between(dice, 1, 72) }),
        _ => json!({ "mode": "every" }),
    }
}

/// A random engagement rule: any event, with or without a filter, every way of counting, every decay, caps.
pub fn engagement_rule(dice: &mut Dice, id: &str, points: i64) -> Value {
    let name = EVENTS[index(dice, EVENTS.len() - 1)];
    let mut rule = json!({ "id": id, "name": id, "points": points, "events": [name], "count": count(dice), "decay": decay(dice) });
    match dice.below(5) {
        0 => rule["filters"] = json!([{ "paths": ["properties.path"], "op": "contains", "value": "pricing" }]),
        1 => rule["filters"] = json!([{ "paths": ["properties.asset"], "op": "gte", "value": 2 }]),
        _ => {}
    }
    if dice.chance(40) {
        rule["cap_per_day"] = json!(between(dice, 1, 40));
    }
    if dice.chance(40) {
        rule["cap"] = json!(between(dice, 1, 80));
    }
    rule
}

/// A random engagement ruleset as the API takes it.
pub fn engagement_ruleset(dice: &mut Dice) -> Value {
    let mut rules = Vec::new();
    for n in 0..between(dice, 2, 7) {
        let points = between(dice, -15, 50);
        rules.push(engagement_rule(dice, &format!("e{n}"), points));
    }
    let aggregation = match dice.below(5) {
        0 => json!({ "kind": "max" }),
        1 => json!({ "kind": "top_n", "n": between(dice, 1, 3) }),
        2 => json!({ "kind": "diminishing", "percent": between(dice, 0, 100) }),
        _ => json!({ "kind": "sum" }),
    };
    let lead_cap = *dice.pick(&[0, 20, 60, 100]);
    json!({ "name": "Random demand", "lead_cap": lead_cap, "aggregation": aggregation, "rules": rules })
}

/// Random levels with these ids, lowest first: other bounds, with and without steadiness.
pub fn levels(dice: &mut Dice, ids: &[String]) -> Value {
    let mut min = 0;
    let levels: Vec<Value> = ids
        .iter()
        .map(|id| {
            let level = json!({ "id": id, "name": id, "color": "gray", "min": min });
            min += between(dice, 5, 45);
            level
        })
        .collect();
    let (hysteresis, dwell) = (*dice.pick(&[0, 0, 10, 50]), *dice.pick(&[0, 0, 24, 72]));
    json!({ "name": "Random levels", "hysteresis_percent": hysteresis, "dwell_hours": dwell, "levels": levels })
}

/// Random surge settings of both modes, low enough for a few events to surge.
pub fn surge(dice: &mut Dice) -> SurgeSettings {
    let settings = if dice.chance(40) {
        json!({ "mode": "absolute", "events": between(dice, 1, 8), "days": between(dice, 1, 28) })
    } else {
        json!({
            "mode": "relative",
            "enter_events": between(dice, 2, 8), "enter_leads": between(dice, 1, 2), "enter_ratio_percent": between(dice, 100, 300),
            "least_weekly": between(dice, 1, 3), "leave_ratio_percent": between(dice, 50, 150), "leave_events": between(dice, 1, 4),
            "young_days": between(dice, 0, 28), "young_events": between(dice, 2, 9), "young_leads": between(dice, 1, 3),
        })
    };
    serde_json::from_value(settings).expect("surge settings")
}

/// What the API takes as a ruleset, with an id and a version.
pub fn with_identity(content: &Value, id: &str) -> Value {
    let mut whole = content.clone();
    (whole["id"], whole["version"]) = (json!(id), json!(1));
    whole
}

fn account(dice: &mut Dice, id: &str) -> AccountRuleset {
    AccountRuleset::read(&with_identity(&account_ruleset(dice), id)).expect("a sound ruleset")
}

fn engagement(dice: &mut Dice, id: &str) -> EngagementRuleset {
    serde_json::from_value(with_identity(&engagement_ruleset(dice), id)).expect("a sound ruleset")
}

fn level_ruleset(dice: &mut Dice, id: &str) -> LevelRuleset {
    let ids: Vec<String> = (0..between(dice, 2, 5)).map(|n| format!("{id}-{n}")).collect();
    serde_json::from_value(with_identity(&levels(dice, &ids), id)).expect("sound levels")
}

/// Levels for the accounts that a random condition holds for: the lowest of these ids, and some of the others.
fn segment(dice: &mut Dice, id: &str, of: &LevelRuleset) -> SegmentLevels {
    let ids: Vec<String> =
        of.levels.iter().enumerate().filter(|(place, _)| *place == 0 || dice.chance(70)).map(|(_, level)| level.id.clone()).collect();
    let ruleset = with_identity(&levels(dice, &ids), id);
    serde_json::from_value(json!({ "when": segment_condition(dice), "ruleset": ruleset })).expect("a sound segment")
}

fn segment_condition(dice: &mut Dice) -> Value {
    if dice.chance(30) { json!({ "field": "tier", "op": "eq", "value": dice.pick(&TIERS) }) } else { condition(dice, 1) }
}

const TIERS: [&str; 3] = ["1:1", "1:few", "1:many"];

/// Rules that say whose an account is, by its fields or its level.
fn owners(dice: &mut Dice, levels: &LevelRuleset) -> OwnerRules {
    let rule = |dice: &mut Dice, n: u64| {
        let levels: Vec<&str> = levels.levels.iter().filter(|_| dice.chance(40)).map(|level| level.id.as_str()).collect();
        json!({ "id": format!("o{n}"), "name": format!("Owners {n}"), "when": condition(dice, 1), "levels": levels, "owners": ["dana", "eun"] })
    };
    let rules: Vec<Value> = (0..dice.below(3)).map(|n| rule(dice, n)).collect();
    serde_json::from_value(json!(rules)).expect("sound rules")
}

fn source_order(dice: &mut Dice) -> SourceOrder {
    let mut sources = FieldSource::ALL.to_vec();
    let count = sources.len();
    (1..count).for_each(|place| sources.swap(place, 1 + index(dice, count - 1)));
    SourceOrder::new(&sources).expect("each source once, a person's first")
}

fn beside<R>(dice: &mut Dice, ruleset: R, today: Day) -> Beside<R> {
    let mut day = |percent: u64, low: i64, high: i64| {
        let days = i32::try_from(between(dice, low, high)).unwrap_or_default();
        dice.chance(percent).then(|| today.plus(days))
    };
    Beside { ruleset, starts_on: day(40, -10, 20), ends_on: day(40, 21, 60) }
}

/// A random model as the second version of a workspace's: everything that can be published is random, and up to two rulesets of each kind stand
/// beside the primary ones, some of them with dates around `today`. Level ids are `fit-levels-0`, `lead-levels-0`, `demand-levels-0` and so on.
pub fn document(dice: &mut Dice, today: Day) -> ModelDocument {
    let mut document = default_document().expect("the built-in model");
    document.version = 2;
    document.account = account(dice, "fit");
    document.engagement = engagement(dice, "demand");
    document.account_levels = level_ruleset(dice, "fit-levels");
    document.lead_levels = level_ruleset(dice, "lead-levels");
    document.engagement_levels = level_ruleset(dice, "demand-levels");
    for n in 0..dice.below(3) {
        document.account_segments.push(segment(dice, &format!("fit-segment-{n}"), &document.account_levels));
        document.lead_segments.push(segment(dice, &format!("lead-segment-{n}"), &document.lead_levels));
        document.engagement_segments.push(segment(dice, &format!("demand-segment-{n}"), &document.engagement_levels));
    }
    document.surge = surge(dice);
    document.mapping = mapping();
    document.owners = owners(dice, &document.account_levels);
    if dice.chance(50) {
        let tables =
            json!({ "plan": { "pro": ["Pro Annual"] }, "tools": { "Ledger": ["ledger pro"] }, "industry": { "Mining": ["Finance"] } });
        document.aliases = serde_json::from_value(tables).expect("sound tables");
    }
    if dice.chance(50) {
        document.source_order = source_order(dice);
    }
    for n in 0..dice.below(3) {
        let ruleset = account(dice, &format!("fit-{n}"));
        document.other_accounts.push(beside(dice, ruleset, today));
    }
    for n in 0..dice.below(3) {
        let ruleset = engagement(dice, &format!("demand-{n}"));
        document.other_engagements.push(beside(dice, ruleset, today));
    }
    document
}

/// A random draft of one of a model's rulesets: its kind, its id, and the content. `counted` keeps what the rules of events count, so that nothing
/// has to be counted anew.
pub fn draft(dice: &mut Dice, of: &ModelDocument, counted: bool) -> (RulesetKind, String, Value) {
    let ids = |ruleset: &LevelRuleset| ruleset.levels.iter().map(|level| level.id.clone()).collect::<Vec<_>>();
    let beside = dice.below(3);
    match dice.below(5) {
        0 | 1 => {
            let other = of.other_accounts.get(index(dice, 2)).filter(|_| beside == 0).map(|other| &other.ruleset.id);
            (RulesetKind::Account, other.unwrap_or(&of.account.id).clone(), account_ruleset(dice))
        }
        2 | 3 => {
            let other = of.other_engagements.get(index(dice, 2)).filter(|_| beside == 0).map(|other| &other.ruleset);
            let ruleset = other.unwrap_or(&of.engagement);
            let mut content = engagement_ruleset(dice);
            if counted && let Some(rules) = content["rules"].as_array_mut() {
                rules.truncate(ruleset.rules.len());
                for (rule, known) in rules.iter_mut().zip(&ruleset.rules) {
                    let part = serde_json::to_value(&known.part).unwrap_or_default();
                    let kept = ["id", "name", "points", "decay", "cap", "cap_per_day"];
                    if let Some(map) = rule.as_object_mut() {
                        map.retain(|key, _| kept.contains(&key.as_str()));
                        map.extend(part.as_object().cloned().unwrap_or_default());
                    }
                }
            }
            (RulesetKind::Engagement, ruleset.id.clone(), content)
        }
        _ => {
            let (kind, ruleset, segments) = match dice.below(3) {
                0 => (RulesetKind::AccountLevels, &of.account_levels, &of.account_segments),
                1 => (RulesetKind::LeadLevels, &of.lead_levels, &of.lead_segments),
                _ => (RulesetKind::EngagementLevels, &of.engagement_levels, &of.engagement_segments),
            };
            let Some(segment) = segments.get(index(dice, 3)) else {
                return (kind, ruleset.id.clone(), levels(dice, &ids(ruleset)));
            };
            let mut content = levels(dice, &ids(&segment.ruleset));
            content["segment"] = segment_condition(dice);
            (kind, segment.ruleset.id.clone(), content)
        }
    }
}

/// The address of a ruleset below `/api/v1`.
pub fn path_of(kind: RulesetKind, id: &str) -> String {
    let kinds = match kind {
        RulesetKind::Account => "account-rulesets",
        RulesetKind::Engagement => "engagement-rulesets",
        RulesetKind::AccountLevels => "account-level-rulesets",
        RulesetKind::LeadLevels => "lead-level-rulesets",
        RulesetKind::EngagementLevels => "engagement-level-rulesets",
    };
    format!("/{kinds}/{id}")
}

/// How many accounts the events of a history name.
pub const ACCOUNTS: usize = 3;
/// How many people there are; some name accounts, some are known by an address, some by nothing.
pub const PEOPLE: usize = 8;
const COMPANIES: [&str; 2] = ["quarrystone-mills.com", "fernhollow-labs.com"];

/// An account that the events of a history name.
pub fn account_id(n: usize) -> String {
    format!("acct_{n}")
}

/// The id of the account that Harpoon makes for a company's domain.
pub fn company(n: usize) -> &'static str {
    COMPANIES[n % COMPANIES.len()]
}

fn person(n: usize) -> String {
    format!("u{n}")
}

/// Values that a group call, or a person, states about an account.
fn traits(dice: &mut Dice, by_hand: bool) -> Value {
    let mut stated = serde_json::Map::new();
    for (field, key, kind) in FIELDS {
        if !dice.chance(35) || key.is_empty() {
            continue;
        }
        let value = match kind {
            Kind::Number if dice.chance(20) => json!(dice.pick(&["201-500", "1,000+", "< 50"])),
            Kind::Number => json!(dice.pick(&NUMBERS)),
            Kind::Text => json!(dice.pick(texts(field))),
            Kind::Truth => json!(dice.chance(50)),
            Kind::Date => json!(format!("2026-0{}-{}", between(dice, 1, 4), between(dice, 10, 28))),
            Kind::List => json!([dice.pick(texts(field)), dice.pick(texts(field))]),
        };
        let value = if dice.chance(8) { Value::Null } else { value };
        stated.insert(if by_hand { field } else { key }.to_owned(), value);
    }
    Value::Object(stated)
}

/// What happens in a history beside events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Also {
    /// A person states fields.
    pub statements: bool,
    /// Leads are linked to accounts by hand, and links undone.
    pub links: bool,
    /// Accounts are given the domains of others, which they absorb.
    pub absorption: bool,
    /// Drafts are published.
    pub publications: bool,
}

/// Lets something random happen at the present moment; `n` names it. Answers what, in words.
pub async fn happen(world: &World, caller: &Caller, dice: &mut Dice, n: u64, also: Also) -> anyhow::Result<String> {
    let extra = dice.below(12);
    if also.statements && extra == 0 {
        let account = account_id(index(dice, ACCOUNTS));
        let mut said = json!({ "fields": traits(dice, true) });
        if dice.chance(40) {
            said["tier"] = json!(Some(dice.pick(&TIERS)).filter(|_| dice.chance(80)));
        }
        if dice.chance(20) {
            said["owner"] = json!(Some("kim").filter(|_| dice.chance(60)));
        }
        caller.put(&format!("/accounts/{account}"), said.clone()).await?.ok();
        world.settle().await?;
        return Ok(format!("somebody states {said} of {account}"));
    }
    if also.links && extra == 1 {
        return link(world, caller, dice).await;
    }
    if also.absorption && extra == 2 {
        let (account, domain) = (account_id(index(dice, ACCOUNTS)), company(index(dice, 2)));
        // A second account can't have what another one has: that is an answer, too.
        let answer = caller.put(&format!("/accounts/{account}"), json!({ "domains": [domain] })).await?;
        world.settle().await?;
        return Ok(format!("{account} is given {domain}: {}", answer.status));
    }
    if also.publications && extra == 3 {
        let models = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
        let document = models.latest(&world.workspace).await?.document.clone();
        let (kind, id, content) = draft(dice, &document, false);
        let path = path_of(kind, &id);
        caller.put(&path, content).await?.ok();
        caller.publish(&path, dice.chance(50)).await?;
        world.run_jobs().await?;
        return Ok(format!("{path} is published"));
    }
    let told = deed(world.now(), dice, n);
    let said = format!("{told:?}");
    world.take(vec![told.build()]).await?;
    Ok(said)
}

async fn link(world: &World, caller: &Caller, dice: &mut Dice) -> anyhow::Result<String> {
    let lead = format!("/leads/user:{}", person(index(dice, PEOPLE)));
    let said = match dice.below(4) {
        0 => caller.ask("DELETE", &format!("{lead}/account"), None).await?,
        1 => caller.put(&lead, json!({ "account_id": null })).await?,
        _ => caller.put(&lead, json!({ "account_id": account_id(index(dice, ACCOUNTS)) })).await?,
    };
    world.settle().await?;
    Ok(format!("{lead} is linked: {}", said.status))
}

/// An event that is received at a moment; a few happened long before.
pub fn deed(received: Timestamp, dice: &mut Dice, n: u64) -> Told {
    let late = if dice.chance(10) { between(dice, 1, 40 * 24) * 3_600_000 } else { 0 };
    let id = format!("m{n}");
    let at = received.plus_millis(-late);
    let who = index(dice, PEOPLE);
    let user = person(who);
    let account = account_id(who % ACCOUNTS);
    let properties = json!({ "asset": between(dice, 0, 4), "path": dice.pick(&["/pricing", "/docs", "/"]) });
    let told = match dice.below(12) {
        0 | 1 => page(&id, &user, &format!("s{}", dice.below(3)), at).properties(properties),
        2 => group(&id, &user, &account, traits(dice, false), at),
        3 => group(&id, &user, &account_id(index(dice, ACCOUNTS)), traits(dice, false), at),
        4 => identify(&id, &user, &format!("{user}@{}", company(who)), at),
        5 => event(CallKind::Track, &id, at)
            .anonymous(&format!("b{}", dice.below(3)))
            .named(EVENTS[index(dice, EVENTS.len())])
            .properties(properties),
        // A browser that turns out to be somebody's.
        6 => event(CallKind::Identify, &id, at).anonymous(&format!("b{}", dice.below(3))).user(&user),
        _ => track(&id, &user, EVENTS[index(dice, EVENTS.len())], at).properties(properties),
    };
    let told = told.received(received);
    // The first of them name an account with most of their events; the others never do.
    if who < PEOPLE / 2 && dice.chance(80) { told.account(&account, NamedBy::GroupId) } else { told }
}

/// Lets hours pass, and what is due be scored.
pub async fn pass(world: &World, hours: i64) -> anyhow::Result<()> {
    world.clock.advance(hours * 3_600_000);
    world.rescorer.run().await?;
    world.settle().await
}

/// Every home that has a standing and was not absorbed, in the order of their names.
pub async fn homes(world: &World) -> anyhow::Result<Vec<Home>> {
    let (mut homes, mut cursor) = (Vec::new(), Cursor::Start);
    while cursor != Cursor::End {
        let page = walk::page(&world.store, &world.workspace, &cursor, 500).await?;
        homes.extend(page.homes.into_iter().filter(|(_, standing)| standing.merged_into.is_none()).map(|(home, _)| home));
        cursor = page.next;
    }
    homes.sort();
    Ok(homes)
}

/// A world that scores by a random model, in which random things have happened, on the half of an hour after the last of them.
pub async fn lived(dice: &mut Dice, triggers: Vec<Trigger>, also: Also) -> anyhow::Result<(World, Caller)> {
    let world = World::new();
    let caller = Caller::new(&world).await?;
    let (store, clock) = (Arc::clone(&world.store), Arc::clone(&world.clock));
    let document = document(dice, world.now().day());
    for trigger in triggers {
        Triggers::new(Arc::clone(&store), Arc::clone(&clock)).put_new(&world.workspace, trigger).await?;
    }
    Models::new(store, clock).publish(&world.workspace, &document).await?;
    // Nobody believes an older model or older triggers any more.
    world.clock.advance(3_600_000);
    for n in 0..8 + dice.below(16) {
        happen(&world, &caller, dice, n, also).await?;
        pass(&world, between(dice, 0, 60)).await?;
    }
    // Far from midnight, and from every moment at which a level was taken up.
    let noon = world.now().day().start().plus_millis(36 * 3_600_000 + 1_800_000);
    world.clock.set(noon);
    pass(&world, 0).await?;
    Ok((world, caller))
}
