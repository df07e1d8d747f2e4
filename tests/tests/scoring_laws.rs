//! Laws of the scoring model, over random models and random histories.

use domain::{
    Day, Event, Identity, Timestamp,
    account_rules::AccountRuleset,
    engagement::{EngagementRule, EventView},
    evaluate::{Evaluation, Inputs},
    facts::field_facts,
    field::FieldFacts,
    model::{Model, ModelDocument},
    ruleset::RulesetKind,
    state::IdentityState,
};
use harpoon_tests::{
    bench::Dice,
    caller::Caller,
    random::{self, Also, between, draft, each_seed, each_world, homes, lived, pass, path_of},
    world::{START, World},
};
use pipeline::{Item, Table, models::Models};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Each law has seeds of its own, so that a seed tells the law, too.
const SUMS: u64 = 10_000;
const MORE: u64 = 20_000;
const AGAIN: u64 = 30_000;
const BACK: u64 = 35_000;

/// Everything that may happen beside events, but publications.
const LIFE: Also = Also { statements: true, links: true, absorption: true, publications: false };

fn sum<'v>(lines: &'v Value, key: &str) -> i64 {
    let points = |line: &'v Value| line[key].as_i64().unwrap_or_else(|| panic!("no {key}: {line}"));
    lines.as_array().unwrap_or_else(|| panic!("no lines: {lines}")).iter().map(points).sum()
}

/// The points of a cap that may be there.
fn cap(of: &Value) -> i64 {
    of["cap"]["points"].as_i64().unwrap_or_default()
}

/// The lines of a lead sum to its score, and the days of each line to its points.
fn lead_sums(lead: &Value) {
    assert_eq!(sum(&lead["rules"], "points") + cap(lead), lead["score"].as_i64().unwrap(), "{lead}");
    for rule in lead["rules"].as_array().unwrap() {
        assert_eq!(sum(&rule["days"], "points") + cap(rule), rule["points"].as_i64().unwrap(), "{rule}");
    }
}

/// The leads, listed or not, sum to the score.
fn leads_sum(engagement: &Value, score: i64) {
    let others = engagement["others"]["counts"].as_i64().unwrap_or_default();
    assert_eq!(sum(&engagement["leads"], "counts") + others, score, "{engagement}");
    engagement["leads"].as_array().unwrap().iter().for_each(lead_sums);
}

/// Every number of an explanation is the sum of its lines.
fn sums(explained: &Value) {
    let account = &explained["account"];
    assert_eq!(sum(&account["rules"], "points") + sum(&account["caps"], "points"), account["score"].as_i64().unwrap(), "{account}");
    leads_sum(&explained["engagement"], explained["engagement"]["score"].as_i64().unwrap());
    for other in explained["other_rulesets"].as_array().unwrap() {
        let Some(score) = other["score"].as_i64() else {
            assert!(other["because"]["reason"].is_string(), "{other}");
            continue;
        };
        if other["kind"] == "account" {
            assert_eq!(sum(&other["rules"], "points") + sum(&other["caps"], "points"), score, "{other}");
        } else {
            leads_sum(other, score);
        }
    }
}

/// What the lists show of accounts equals what is explained, and every explanation sums up.
async fn explained_as_listed(caller: &Caller, dice: &mut Dice) -> anyhow::Result<[usize; 4]> {
    let mut seen = [0; 4];
    let accounts = caller.get("/accounts?limit=200").await?.ok();
    for item in accounts["data"].as_array().unwrap() {
        let account = item["account_id"].as_str().unwrap();
        let listed = *dice.pick(&["", "?leads=0", "?leads=1", "?leads=2"]);
        let explained = caller.get(&format!("/accounts/{account}/explain{listed}")).await?.ok();
        sums(&explained);
        assert_eq!(explained["account"]["score"], item["account_score"], "{account}");
        assert_eq!(explained["engagement"]["score"], item["engagement_score"], "{account}");
        assert_eq!(explained["surge"]["active"], item["surge_active"], "{account}");
        let out = explained["disqualified_by"].as_array().unwrap();
        assert!(out.is_empty() || explained["grade"] == "F", "{account}");
        let leads = caller.get(&format!("/accounts/{account}/leads?limit=200")).await?.ok();
        for lead in leads["data"].as_array().unwrap() {
            lead_explained(caller, lead).await?;
        }
        seen[0] += 1;
        seen[1] += usize::from(!out.is_empty());
        seen[2] += leads["data"].as_array().unwrap().len();
        seen[3] += explained["other_rulesets"].as_array().unwrap().iter().filter(|other| other["score"].is_i64()).count();
    }
    let unresolved = caller.get("/leads?resolved=false&limit=200").await?.ok();
    for lead in unresolved["data"].as_array().unwrap() {
        lead_explained(caller, lead).await?;
        seen[2] += 1;
    }
    Ok(seen)
}

async fn lead_explained(caller: &Caller, listed: &Value) -> anyhow::Result<()> {
    let id = listed["lead_id"].as_str().unwrap();
    let explained = caller.get(&format!("/leads/{id}/explain")).await?.ok();
    lead_sums(&explained);
    assert_eq!(explained["score"], listed["score"], "{id}");
    Ok(())
}

#[test]
fn every_score_that_is_listed_is_the_sum_of_its_explanation() {
    let seen = std::sync::Mutex::new([0; 4]);
    each_world(SUMS, 64, async |seed| {
        let mut dice = Dice(seed);
        let (world, caller) = lived(&mut dice, Vec::new(), LIFE).await.unwrap();
        let here = explained_as_listed(&caller, &mut dice).await.unwrap();
        // So it is on later days, on which points have faded and rulesets have begun or ended.
        pass(&world, 24 * between(&mut dice, 1, 40)).await.unwrap();
        world.clock.advance(1_000);
        let later = explained_as_listed(&caller, &mut dice).await.unwrap();
        let mut seen = seen.lock().unwrap();
        seen.iter_mut().zip(here.iter().zip(later)).for_each(|(sum, (a, b))| *sum += a + b);
    });
    let [accounts, disqualified, leads, others] = *seen.lock().unwrap();
    println!("{accounts} accounts ({disqualified} disqualified), {leads} leads, {others} scores beside the primary ones");
    assert!(accounts > 200 && disqualified > 20 && leads > 300 && others > 200, "too few to tell anything");
}

/// A home as a fold of events in memory makes it.
struct Folded {
    own: FieldFacts,
    states: Vec<IdentityState>,
    giant: bool,
}

impl Folded {
    fn new(events: &[Event], model: &Model, giant: bool) -> Self {
        let (matcher, mapping) = (&model.matcher, &model.document.mapping);
        let mut of: BTreeMap<Identity, Vec<&Event>> = BTreeMap::new();
        let mut own = FieldFacts::new();
        for event in events {
            of.entry(event.identity().unwrap()).or_default().push(event);
            for stated in field_facts(event, &mut EventView::new(event), mapping) {
                own.merge(&stated.field, stated.fact, stated.keep);
            }
        }
        let states = of.into_iter().map(|(identity, events)| {
            let mut state = IdentityState::new(identity, matcher);
            state.facts.absorb_all(events, matcher, mapping);
            state
        });
        Self { own, states: states.collect(), giant }
    }

    fn evaluate(&self, model: &Model, day: Day) -> Evaluation<'_> {
        let states = self.states.iter().map(|state| (state.identity.id(), state)).collect();
        Evaluation::new(model, Inputs { own: self.own.clone(), states, stated: None, giant: self.giant }, day)
    }
}

/// The document with one more positive rule of each kind, at any place.
fn with_more(dice: &mut Dice, document: &ModelDocument) -> ModelDocument {
    let mut more = document.clone();
    // One of the rules of another random ruleset, in one of this ruleset's groups or in none.
    let donor = AccountRuleset::read(&random::with_identity(&random::account_ruleset(dice), "donor")).unwrap();
    let mut rule = dice.pick(&donor.rules).clone();
    (rule.id, rule.points, rule.disqualifies) = ("more".to_owned(), i32::try_from(between(dice, 1, 80)).unwrap(), false);
    let place = usize::try_from(dice.below(more.account.rules.len() as u64 + 1)).unwrap();
    more.account.rules.insert(place, rule);
    let points = between(dice, 1, 60);
    let rule: EngagementRule = serde_json::from_value(random::engagement_rule(dice, "more", points)).unwrap();
    let place = usize::try_from(dice.below(more.engagement.rules.len() as u64 + 1)).unwrap();
    more.engagement.rules.insert(place, rule);
    more
}

#[test]
fn a_positive_rule_more_never_lowers_a_score() {
    let rose = std::sync::Mutex::new([0; 3]);
    each_seed(MORE, 600, |seed| {
        let mut dice = Dice(seed);
        let start = Timestamp::parse(START).unwrap();
        let document = random::document(&mut dice, start.day());
        let more = Model::compile(with_more(&mut dice, &document)).unwrap();
        let model = Model::compile(document).unwrap();
        let mut events = Vec::new();
        for n in 0..dice.below(60) {
            let at = start.plus_millis(between(&mut dice, 0, 60 * 24) * 3_600_000);
            events.push(random::deed(at, &mut dice, n).build());
        }
        let giant = dice.chance(20);
        let day = start.day().plus(i32::try_from(between(&mut dice, 50, 120)).unwrap());
        let (folded, folded_more) = (Folded::new(&events, &model, giant), Folded::new(&events, &more, giant));
        let (before, after) = (folded.evaluate(&model, day), folded_more.evaluate(&more, day));
        assert!(after.account.score >= before.account.score, "{} fell to {}", before.account.score, after.account.score);
        assert!(after.account.possible >= before.account.possible);
        assert!(after.engagement.milli >= before.engagement.milli, "{} fell to {}", before.engagement.milli, after.engagement.milli);
        let points = |evaluation: &Evaluation<'_>| -> BTreeMap<_, i64> {
            evaluation.engagement.leads.iter().map(|lead| (lead.lead, lead.milli)).collect()
        };
        let (leads, leads_after) = (points(&before), points(&after));
        assert!(leads.keys().eq(leads_after.keys()));
        assert!(leads.iter().all(|(lead, milli)| leads_after[lead] >= *milli), "{leads:?} became {leads_after:?}");
        let mut rose = rose.lock().unwrap();
        rose[0] += usize::from(after.account.score > before.account.score);
        rose[1] += usize::from(after.engagement.milli > before.engagement.milli);
        rose[2] += 1;
    });
    let [accounts, engagements, all] = *rose.lock().unwrap();
    println!("of {all} homes {accounts} account scores and {engagements} engagement scores rose");
    assert!(accounts > all / 10 && engagements > all / 10, "too few rose to tell anything");
}

fn dump(world: &World) -> Vec<Item> {
    world.store.memory.dump()
}

/// Everything but configuration, and of that the model.
fn derived(world: &World) -> Vec<Item> {
    dump(world).into_iter().filter(|item| item.key.table != Table::Config || item.key.sk == "model").collect()
}

async fn document(world: &World) -> ModelDocument {
    let models = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    models.latest(&world.workspace).await.unwrap().document.clone()
}

#[test]
fn publishing_an_unchanged_ruleset_again_changes_nothing() {
    each_world(AGAIN, 40, async |seed| {
        let mut dice = Dice(seed);
        let (world, caller) = lived(&mut dice, Vec::new(), LIFE).await.unwrap();
        world.changes();
        let (document, before) = (document(&world).await, derived(&world));
        let rulesets = [
            (RulesetKind::Account, document.account.id.as_str()),
            (RulesetKind::Engagement, document.engagement.id.as_str()),
            (RulesetKind::AccountLevels, document.account_levels.id.as_str()),
            (RulesetKind::LeadLevels, document.lead_levels.id.as_str()),
            (RulesetKind::EngagementLevels, document.engagement_levels.id.as_str()),
        ];
        let accounts = document.other_accounts.iter().map(|other| (RulesetKind::Account, other.ruleset.id.as_str()));
        let engagements = document.other_engagements.iter().map(|other| (RulesetKind::Engagement, other.ruleset.id.as_str()));
        for (kind, id) in rulesets.into_iter().chain(accounts).chain(engagements) {
            let path = path_of(kind, id);
            let shown = caller.get(&path).await.unwrap().ok();
            caller.put(&path, shown["content"].clone()).await.unwrap().ok();
            let published = caller.publish(&path, true).await.unwrap();
            assert_eq!(published["unchanged"], json!(true), "{path}: {published}");
            assert!(derived(&world) == before, "{path}: something was written");
            // Not even of the ruleset itself is anything left to write.
            let whole = dump(&world);
            let rolled = caller.post(&format!("{path}/rollback"), json!({ "version": shown["published"]["version"] })).await.unwrap().ok();
            assert_eq!(rolled["unchanged"], json!(true), "{path}: {rolled}");
            assert!(dump(&world) == whole, "{path}: something was written");
        }
        world.run_jobs().await.unwrap();
        pass(&world, 0).await.unwrap();
        assert!(derived(&world) == before);
        assert_eq!(world.changes(), []);
    });
}

/// Everything that is explained, but which versions it follows from.
async fn explanations(world: &World, caller: &Caller) -> BTreeMap<String, Value> {
    let mut explained = BTreeMap::new();
    for home in homes(world).await.unwrap() {
        let path = match &home {
            domain::Home::Account(account) => format!("/accounts/{account}/explain"),
            domain::Home::Lead(lead) => format!("/leads/ld_{lead}/explain"),
        };
        let answer = caller.get(&path).await.unwrap();
        let mut told = if home.account().is_none() && answer.status == 404 { Value::Null } else { answer.ok() };
        without_versions(&mut told);
        explained.insert(path, told);
    }
    explained
}

fn without_versions(explained: &mut Value) {
    if let Some(map) = explained.as_object_mut() {
        map.remove("rulesets");
        for other in map.get_mut("other_rulesets").and_then(Value::as_array_mut).into_iter().flatten() {
            other["ruleset"]["version"] = Value::Null;
        }
    }
}

/// With levels that do not remember.
#[test]
fn a_ruleset_that_is_rolled_back_leads_to_the_scores_and_levels_that_it_led_to_before() {
    let moved = std::sync::atomic::AtomicUsize::new(0);
    each_world(BACK, 40, async |seed| {
        let mut dice = Dice(seed);
        let (world, caller) = lived(&mut dice, Vec::new(), LIFE).await.unwrap();
        let mut steady = document(&world).await;
        let primary = [&mut steady.account_levels, &mut steady.lead_levels, &mut steady.engagement_levels];
        let segments = [&mut steady.account_segments, &mut steady.lead_segments, &mut steady.engagement_segments];
        let of_segments = segments.into_iter().flatten().map(|segment| &mut segment.ruleset);
        primary.into_iter().chain(of_segments).for_each(|levels| (levels.hysteresis_percent, levels.dwell_hours) = (0, 0));
        steady.version += 1;
        Models::new(Arc::clone(&world.store), Arc::clone(&world.clock)).publish(&world.workspace, &steady).await.unwrap();
        world.clock.advance(60_000);
        let (kind, id, content) = loop {
            let drawn = draft(&mut dice, &steady, seed % 2 == 0);
            if !drawn.0.is_of_levels() {
                break drawn;
            }
        };
        // Everybody is scored by it.
        let mut everybody = pipeline::Homes::default();
        homes(&world).await.unwrap().into_iter().for_each(|home| everybody.add(&world.workspace, home));
        pipeline::Queue::send(world.to_score.as_ref(), everybody.touched()).await.unwrap();
        world.settle().await.unwrap();
        let before = explanations(&world, &caller).await;
        let path = path_of(kind, &id);
        let version = caller.get(&path).await.unwrap().ok()["published"]["version"].clone();
        caller.put(&path, content).await.unwrap().ok();
        caller.publish(&path, false).await.unwrap();
        world.run_jobs().await.unwrap();
        world.clock.advance(31_000);
        let between = explanations(&world, &caller).await;
        caller.post(&format!("{path}/rollback"), json!({ "version": version })).await.unwrap().ok();
        world.run_jobs().await.unwrap();
        world.clock.advance(31_000);
        assert_eq!(explanations(&world, &caller).await, before, "{path}");
        moved.fetch_add(usize::from(between != before), std::sync::atomic::Ordering::Relaxed);
    });
    let moved = moved.into_inner();
    println!("{moved} of 40 publications changed something before they were taken back");
    assert!(moved > 20, "{moved}");
}
