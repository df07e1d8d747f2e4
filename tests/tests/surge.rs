//! Surge as it happened, day by day for ten weeks, against surge recomputed from the log: by a replay of the parcels, by the history, and by the rule as
//! it reads, on a bare list of events.

use domain::{
    Day, Home, NamedBy,
    engagement::EngagementRule,
    evaluate::{Evaluation, Inputs},
    model::{Model, default_document},
    surge::{RUN_DAYS, SurgeSettings},
    transition::Changed,
};
use harpoon_tests::{
    bench::Dice,
    random::{between, each_world},
    world::{World, event, home, track},
};
use pipeline::{AccountChanged, Consistency, models::Models, parcels::Parcels, past};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The first seed; even ones are of the relative mode, odd ones of the absolute mode.
const FIRST_SEED: u64 = 60_000;
const SEEDS: u64 = 16;
const DAYS: i32 = 70;
const ACCOUNT: &str = "acct_1";

/// An earning event: when, and of whom; nobody when it is the account's own.
type Earned = (Day, Option<String>);

/// The rule as it reads, over the last 56 days, on all that had happened by the end of a day.
fn by_the_rule(events: &[Earned], first: Day, settings: &SurgeSettings, as_of: Day) -> Option<Day> {
    let within = |from: Day, to: Day| events.iter().filter(move |(day, _)| (from..=to).contains(day));
    let count = |from: Day, to: Day| within(from, to).count() as u64;
    let leads = |from: Day, to: Day| within(from, to).filter_map(|(_, who)| who.as_ref()).collect::<BTreeSet<_>>().len() as u64;
    let mut since = None;
    for day in (1 - RUN_DAYS..=0).map(|days| as_of.plus(days)) {
        let active = match settings {
            SurgeSettings::Absolute { events, days } => count(day.plus(1 - i32::try_from(*days).unwrap()), day) >= u64::from(*events),
            SurgeSettings::Relative(numbers) => {
                let (window, baseline) = (count(day.plus(-6), day), count(day.plus(-27), day.plus(-7)));
                let people = leads(day.plus(-6), day);
                // Percent of a week of the three before, which counts as at least so many events.
                let at_least = |percent: u32| window * 300 >= u64::from(percent) * baseline.max(3 * u64::from(numbers.least_weekly));
                let young = day.since(first) < i32::try_from(numbers.young_days).unwrap();
                match (since.is_some(), young) {
                    (true, _) => window >= u64::from(numbers.leave_events) && (young || at_least(numbers.leave_ratio_percent)),
                    (false, true) => window >= u64::from(numbers.young_events) && people >= u64::from(numbers.young_leads),
                    (false, false) => {
                        window >= u64::from(numbers.enter_events)
                            && people >= u64::from(numbers.enter_leads)
                            && at_least(numbers.enter_ratio_percent)
                    }
                }
            }
        };
        since = if active { since.or(Some(day)) } else { None };
    }
    since
}

fn settings(dice: &mut Dice, relative: bool) -> SurgeSettings {
    let value = if relative {
        json!({
            "mode": "relative",
            "enter_events": between(dice, 3, 9), "enter_leads": between(dice, 1, 3), "enter_ratio_percent": between(dice, 120, 300),
            "least_weekly": between(dice, 1, 3), "leave_ratio_percent": between(dice, 60, 150), "leave_events": between(dice, 1, 4),
            "young_days": between(dice, 0, 28), "young_events": between(dice, 4, 9), "young_leads": between(dice, 1, 3),
        })
    } else {
        json!({ "mode": "absolute", "events": between(dice, 2, 12), "days": between(dice, 1, 28) })
    };
    serde_json::from_value(value).unwrap()
}

/// The account's state of surge as the history tells it: the last transition up to each day.
fn from_history(changes: &[(Day, bool)], day: Day) -> bool {
    changes.iter().rfind(|(at, _)| *at <= day).is_some_and(|(_, active)| *active)
}

/// Everything that dispatch was told of surges since the last question, with its day.
fn surges(world: &World) -> Vec<(Day, bool)> {
    let changes = world.changes().into_iter().flat_map(|message| match message {
        AccountChanged::Transitions { changes, .. } => changes,
        AccountChanged::DeliveriesDue { .. } => Vec::new(),
    });
    changes
        .flat_map(|change| change.transitions)
        .filter_map(|transition| match transition.change {
            Changed::Surge { active } => Some((transition.at.day(), active)),
            _ => None,
        })
        .collect()
}

/// What the log alone says: every parcel is folded again, and the home evaluated as of each day.
async fn replayed(world: &World, model: &Model, home: &Home, days: &[Day]) -> Vec<(bool, Option<Day>)> {
    let gathered = world.homes().gather(&world.workspace, home, Consistency::Strong).await.unwrap();
    let parcels = Parcels::new(Arc::clone(&world.store));
    let mut states = Vec::new();
    for stored in gathered.partitions().flat_map(|partition| &partition.states) {
        let blank = domain::state::IdentityState::new(stored.state.identity.clone(), &model.matcher);
        states.push(past::refolded(&parcels, &world.workspace, &blank, model, None, world.now(), |_| {}).await.unwrap());
    }
    let surge = |day: &Day| {
        let states = states.iter().map(|state| (state.identity.id(), state)).collect();
        let surge = Evaluation::new(model, Inputs { own: Default::default(), states, stated: None, giant: false }, *day).surge;
        (surge.active, surge.since)
    };
    days.iter().map(surge).collect()
}

async fn ten_weeks(seed: u64, entered: &[AtomicUsize; 2]) {
    let (mut dice, world) = (Dice(seed), World::new());
    let mut document = default_document().unwrap();
    document.version = 2;
    document.surge = settings(&mut dice, seed.is_multiple_of(2));
    // What takes points away earns none.
    let rule = json!({ "id": "bounced", "name": "Bounced", "points": -5, "events": ["email bounced"] });
    document.engagement.rules.push(serde_json::from_value::<EngagementRule>(rule).unwrap());
    let models = Models::new(Arc::clone(&world.store), Arc::clone(&world.clock));
    models.publish(&world.workspace, &document).await.unwrap();
    world.clock.advance(60_000);
    let model = models.latest(&world.workspace).await.unwrap();
    let (home, first) = (home(ACCOUNT).unwrap(), world.now().day());
    let (mut earned, mut happened, mut told, mut days): (Vec<Earned>, Vec<_>, Vec<_>, Vec<Day>) = Default::default();
    // Somebody is there from the first day on.
    world.take(vec![track("first", "u0", "something else", world.now()).account(ACCOUNT, NamedBy::GroupId).build()]).await.unwrap();
    let mut busy = 0;
    for n in 0..DAYS {
        let day = first.plus(n);
        // Quiet weeks, and now and then some busy days.
        busy = if busy > 0 { busy - 1 } else { i64::from(dice.chance(7)) * between(&mut dice, 1, 6) };
        let many = if busy > 0 { between(&mut dice, 1, 8) } else { i64::from(dice.chance(25)) * between(&mut dice, 1, 2) };
        for i in 0..many {
            let at = world.now().max(day.start()).plus_millis(i * 60_000);
            let (id, who) = (format!("m{n}-{i}"), dice.below(6));
            let name = *dice.pick(&["page view", "demo requested", "sdr meeting", "something else", "email bounced"]);
            let told = match who {
                // Nobody in particular: the account itself.
                0 => event(domain::CallKind::Track, &id, at).named(name),
                1 | 2 => event(domain::CallKind::Track, &id, at).named(name).anonymous(&format!("b{who}")),
                _ => track(&id, &format!("u{who}"), name, at),
            };
            if !matches!(name, "something else" | "email bounced") {
                earned.push((at.day(), (who > 0).then(|| who.to_string())));
            }
            world.take(vec![told.account(ACCOUNT, NamedBy::GroupId).build()]).await.unwrap();
        }
        told.extend(surges(&world));
        // The evening: what is shown is what had come of the day.
        let record = world.score_at(&home).await.unwrap();
        happened.push((record.surge, record.surge_since));
        days.push(day);
        // After midnight what is due is scored: a little later, as clocks differ between hosts.
        world.clock.set(day.plus(1).start().plus_millis(3_600_000));
        world.rescorer.run().await.unwrap();
        world.settle().await.unwrap();
        told.extend(surges(&world));
        world.clock.set(day.plus(1).start().plus_millis(12 * 3_600_000));
    }
    let from_log = replayed(&world, &model, &home, &days).await;
    for ((day, shown), replayed) in days.iter().zip(&happened).zip(&from_log) {
        let expected = by_the_rule(&earned, first, &document.surge, *day);
        let so = format!("seed {seed}, {day}, {:?}", document.surge);
        assert_eq!(*shown, (expected.is_some(), expected), "as it happened, {so}");
        assert_eq!(*replayed, *shown, "from the log, {so}");
        assert_eq!(from_history(&told, *day), shown.0, "from the history, {so}");
    }
    let starts = happened.windows(2).filter(|pair| !pair[0].0 && pair[1].0).count();
    entered[usize::try_from(seed % 2).unwrap()].fetch_add(starts, Ordering::Relaxed);
}

#[test]
fn surge_recomputed_from_the_log_is_surge_as_it_happened() {
    let entered = [AtomicUsize::new(0), AtomicUsize::new(0)];
    each_world(FIRST_SEED, SEEDS, async |seed| ten_weeks(seed, &entered).await);
    let counts: BTreeMap<&str, usize> =
        ["relative", "absolute"].into_iter().zip(&entered).map(|(mode, count)| (mode, count.load(Ordering::Relaxed))).collect();
    println!("{SEEDS} accounts for {DAYS} days from seed {FIRST_SEED}; surges that began: {counts:?}");
    assert!(counts.values().all(|count| *count >= 8), "too few surges to tell anything: {counts:?}");
}
