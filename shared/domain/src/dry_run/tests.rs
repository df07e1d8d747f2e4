use super::*;
use crate::{
    AccountId, DestinationId, Identity,
    decay::Decay,
    evaluate::{Evaluation, Inputs},
    facts::{Matched, PerDay},
    field::FieldFacts,
    model::{Model, default_document},
    state::IdentityState,
    trigger::{Direction, Fire, FireMode, LevelOf, When},
};
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::compile(default_document().unwrap()).unwrap());
static NOBODY: BTreeMap<IdentityId, (String, Timestamp)> = BTreeMap::new();

fn account(n: usize) -> Home {
    Home::Account(AccountId::new(&format!("acct_{n:03}")).unwrap())
}

fn placed(score: i64, level: &'static str) -> Placed<'static> {
    Placed {
        score: Some(score),
        account_score: score,
        engagement: 0,
        account_level: Some(level),
        engagement_level: Some("cold"),
        grade: Some(Grade::of(score, 145, false)),
        grid: None,
        surge: false,
        lowest_lead_level: None,
        leads: &NOBODY,
    }
}

fn seen<'a>(home: &'a Home, old: Placed<'a>, new: Placed<'a>) -> Seen<'a> {
    Seen { home, name: Some("Northwind Looms"), total_leads: 0, old, new }
}

fn comparison() -> Comparison {
    Comparison::new(Subject::Account {}, &MODEL, &MODEL)
}

#[test]
fn leads_without_an_account_have_no_account_score_that_could_change() {
    let lead = Home::Lead(Identity::user("u1").id());
    let (old, new) = (Placed { account_level: None, ..placed(0, "") }, Placed { account_level: None, ..placed(20, "") });
    for subject in [Subject::Account {}, Subject::OtherAccount { ruleset: "ars_1".to_owned() }] {
        let mut all = Comparison::new(subject, &MODEL, &MODEL);
        assert_eq!(all.add(&seen(&lead, old, new), Vec::new), None);
        assert_eq!((all.accounts, all.unresolved_leads, all.changed, all.movers.risers.len()), (0, 1, 0, 0));
        // Their engagement levels are counted as they are.
        assert_eq!(all.engagement_levels.after(), [1, 0, 0, 0]);
    }
    let mut all = Comparison::new(Subject::Engagement {}, &MODEL, &MODEL);
    assert!(all.add(&seen(&lead, old, new), Vec::new).is_some());
    assert_eq!((all.changed, all.movers.risers.len()), (1, 1));
}

#[test]
fn who_had_no_score_moves_from_none() {
    let mut all = Comparison::new(Subject::OtherAccount { ruleset: "ars_1".to_owned() }, &MODEL, &MODEL);
    let changed = all.add(&seen(&account(1), Placed { score: None, ..placed(0, "standard") }, placed(110, "standard")), Vec::new);
    assert_eq!(changed.map(|changed| (changed.old.score, changed.new.score)), Some((None, Some(110))));
    let mover = &all.to_value(&[], 0)["top_movers"][0];
    assert_eq!((&mover["old"], &mover["new"]), (&Value::Null, &json!(110)));
}

#[test]
fn the_matrix_says_how_many_go_from_which_level_to_which() {
    let mut all = comparison();
    let moves = [
        ("low_priority", 0, "low_priority", 0),
        ("standard", 20, "target", 95),
        ("standard", 30, "qualified", 50),
        ("target", 145, "standard", 45),
    ];
    let mut changed = 0;
    for (n, (from, old, to, new)) in moves.into_iter().enumerate() {
        changed += usize::from(all.add(&seen(&account(n), placed(old, from), placed(new, to)), Vec::new).is_some());
    }
    assert_eq!((all.accounts, all.changed, all.levels_changed, changed), (4, 3, 3, 3));
    assert_eq!(all.account_levels.counts, [[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]);
    assert_eq!((all.account_levels.before(), all.account_levels.after()), (vec![1, 2, 0, 1], vec![1, 1, 1, 1]));
    // 0 + 20 + 30 + 145 = 195, /4 = 48.75; 0 + 95 + 50 + 45 = 190, /4 = 47.5.
    assert_eq!((all.before.mean(), all.after.mean(), all.possible), (Some(49), Some(48), [Some(145), Some(145)]));
    // Grades lowest first: F (0 and 20 of 145), D (30), C, B, A.
    assert_eq!(all.grades.before(), [2, 1, 0, 0, 1]);
    // 50 and 45 are D, 95 is B (65 %).
    assert_eq!(all.grades.after(), [1, 2, 0, 1, 0]);
    assert_eq!(all.level_shares().levels["target"], 1);
}

#[test]
fn who_had_no_level_comes_from_none_and_an_unknown_level_too() {
    let mut all = comparison();
    let none = Placed { account_level: None, ..placed(0, "standard") };
    all.add(&seen(&account(1), none, placed(20, "standard")), Vec::new);
    all.add(&seen(&account(2), placed(0, "gone"), placed(20, "standard")), Vec::new);
    assert_eq!(all.account_levels.from_none, [0, 2, 0, 0]);
    assert_eq!(all.account_levels.after(), [0, 2, 0, 0]);
}

#[test]
fn the_fifty_who_move_farthest_are_named_on_each_side_with_their_reasons() {
    let mut all = comparison();
    for n in 0..120 {
        let score = n as i64 + 1;
        let home = account(n);
        let (old, new) = if n % 2 == 0 { (0, score) } else { (score, 0) };
        all.add(&seen(&home, placed(old, "standard"), placed(new, "standard")), || vec![format!("Rule {n}: +{score}")]);
    }
    let (risers, fallers) = (&all.movers.risers, &all.movers.fallers);
    assert_eq!((risers.len(), fallers.len()), (50, 50));
    // The farthest rise is that of account 118, by 119; the last one named the 50th: account 20, by 21.
    assert_eq!(
        (risers[0].new, risers[49].new, risers[0].because.as_slice()),
        (Some(119), Some(21), ["Rule 118: +119".to_owned()].as_slice())
    );
    assert_eq!((fallers[0].old, fallers[49].old), (Some(120), Some(22)));
    let mut same = comparison();
    same.add(&seen(&account(1), placed(7, "standard"), placed(7, "standard")), || panic!("nobody asks why nothing changes"));
    assert_eq!((same.changed, same.movers), (0, Movers::default()));
}

#[test]
fn parts_merged_in_any_order_are_the_whole() {
    let moves: Vec<(Home, i64, i64)> = (0..200).map(|n| (account(n), (n as i64 * 37) % 146, (n as i64 * 91) % 146)).collect();
    let level = |score: i64| MODEL.document.account_levels.natural(score).unwrap().id.as_str();
    let trigger = TriggerId::new("trg_1").unwrap();
    let run = |moves: &[(Home, i64, i64)]| {
        let mut part = comparison();
        for (home, old, new) in moves {
            let (old, new) = (placed(*old, level(*old)), placed(*new, level(*new)));
            part.add(&seen(home, old, new), || vec![format!("{home}")]);
            part.add_fire(&trigger, home, old.account_score > 100);
            part.add_history(&[(trigger.clone(), 1)].into(), &[(trigger.clone(), 2)].into());
        }
        part
    };
    let whole = run(&moves);
    let mut forward = comparison();
    let mut backward = comparison();
    let parts: Vec<Comparison> = moves.chunks(33).map(run).collect();
    parts.iter().for_each(|part| forward.merge(part.clone()));
    parts.iter().rev().for_each(|part| backward.merge(part.clone()));
    assert_eq!((&forward, &backward), (&whole, &whole));
    let fires = &whole.fires[&trigger];
    assert_eq!((fires.would_fire + fires.held_by_cooldown, fires.homes.len()), (200, 20));
    assert_eq!(whole.history[&trigger], History { old: 200, new: 400 });
    // It goes through a store and stays small.
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), whole);
    assert!(text.len() < 60_000, "{}", text.len());
}

#[test]
fn leads_that_hold_no_level_above_the_lowest_are_counted_as_lowest() {
    let mut all = comparison();
    let id = |name: &str| Identity::user(name).id();
    let at = Timestamp::default();
    let old: BTreeMap<_, _> = [(id("ann"), ("hot".to_owned(), at)), (id("ben"), ("warm".to_owned(), at))].into();
    let new: BTreeMap<_, _> = [(id("ann"), ("very_hot".to_owned(), at))].into();
    let home = account(1);
    let mut seen = seen(&home, Placed { leads: &old, ..placed(0, "standard") }, Placed { leads: &new, ..placed(0, "standard") });
    seen.total_leads = 5;
    assert!(all.add(&seen, Vec::new).is_some());
    // Three were cold and stay so; Ben falls from Warm to Cold, Ann rises from Hot to Very Hot.
    assert_eq!(all.lead_levels.counts, [[3, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]);
}

#[test]
fn what_makes_the_difference_is_told_by_rule_with_its_sign() {
    let mut more = default_document().unwrap();
    more.account.rules[0].points = 70;
    more.account.rules.remove(2);
    let more = Model::compile(more).unwrap();
    let fields: BTreeMap<String, crate::field::FieldValue> = [
        ("employees".to_owned(), crate::field::FieldValue::Number(crate::field::Number::whole(5_000).unwrap())),
        ("country".to_owned(), crate::field::FieldValue::Text("US".to_owned())),
    ]
    .into();
    let (old, new) = (MODEL.account.evaluate(&fields, Timestamp::default()), more.account.evaluate(&fields, Timestamp::default()));
    assert_eq!(account_differences(Some(&old), Some(&new)), ["1,000 employees or more: +20", "In a country we sell to: -20"]);
}

// ------------------------------------------------------------------------------------------------------------------------------- days

const TODAY: Day = Day(20_000);
use crate::Day;

fn trigger(id: &str, when: When, fire: Fire) -> Trigger {
    Trigger {
        id: TriggerId::new(id).unwrap(),
        name: id.to_owned(),
        enabled: true,
        when,
        filters: Vec::new(),
        fire,
        destinations: vec![DestinationId::new("dst_1").unwrap()],
        created_at: Timestamp::default(),
        version: 1,
    }
}

/// A person with a meeting on each of these days before today.
fn met(model: &Model, ages: &[i32]) -> IdentityState {
    let mut state = IdentityState::new(Identity::user("ann"), &model.matcher);
    let part = model.document.engagement.rules[6].part.id();
    let days: PerDay = ages.iter().map(|age| (TODAY.plus(-age), 1)).collect();
    state.facts.first_seen = days.first().map(|(day, _)| day.start());
    state.facts.matched = vec![Matched { parts: vec![part], days }];
    state
}

fn fired(model: &Model, ages: &[i32], triggers: &[Trigger]) -> Vec<(String, u64)> {
    let state = met(model, ages);
    let inputs = Inputs { own: FieldFacts::new(), states: vec![(state.identity.id(), &state)], stated: None, giant: false };
    let evaluation = Evaluation::new(model, inputs, TODAY);
    let fixed = Fixed { is_account: true, tier: None, owner: None, field: None };
    fires_by_day(model, &evaluation, &fixed, 28, triggers).into_iter().map(|(id, n)| (id.to_string(), n)).collect()
}

#[test]
fn triggers_are_counted_day_by_day_with_their_cooldown() {
    let mut document = default_document().unwrap();
    // A meeting is worth 30 for five days and nothing afterwards.
    document.engagement.rules[6].decay = Decay::Step { steps: vec![crate::decay::Step { from_day: 5, percent: 0 }] };
    let model = Model::compile(document).unwrap();
    let crossed = When::EngagementCrossed { threshold: 30, direction: Direction::Up };
    let warm = When::LevelEntered { level: "warm".into(), of: LevelOf::Engagement };
    let hours = |hours| Fire { mode: FireMode::Always, cooldown_hours: hours };
    let triggers = [
        trigger("trg_a", crossed.clone(), hours(0)),
        trigger("trg_b", crossed.clone(), hours(24 * 12)),
        trigger("trg_c", crossed, Fire { mode: FireMode::Once, cooldown_hours: 0 }),
        trigger("trg_d", warm, hours(0)),
        trigger("trg_e", When::LevelEntered { level: "target".into(), of: LevelOf::Account }, hours(0)),
    ];
    // Up to 30 on the days −20, −10 and −1, each time down to 0 five days later. With twelve days of quiet the one in the middle is held back.
    let by_hand = [("trg_a", 3), ("trg_b", 2), ("trg_c", 1), ("trg_d", 3)];
    assert_eq!(fired(&model, &[20, 10, 1], &triggers), by_hand.map(|(id, n)| (id.to_owned(), n)));
    // What was so before the first day fires nothing.
    assert_eq!(fired(&model, &[28], &triggers), []);
}
