//! What was so at a past moment, told from the log, against what was shown when it was the present.

use domain::{
    Home, NamedBy, Timestamp,
    evaluate::Evaluation,
    explain::{Explanation, HeldLevels},
};
use harpoon_tests::{
    bench::Dice,
    random::{Also, each_world, homes, lived},
    world::{START, World, group, home, page, track},
};
use pipeline::{Consistency, ManualClock, models::Models, past};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn models(world: &World) -> Models<Arc<harpoon_tests::hooked::Hooked>, Arc<ManualClock>> {
    Models::new(Arc::clone(&world.store), Arc::clone(&world.clock))
}

/// The explanation as an API would answer it at this moment.
async fn shown(world: &World, home: &Home) -> Value {
    let (homes, workspace) = (world.homes(), &world.workspace);
    let gathered = homes.gather(workspace, home, Consistency::Strong).await.unwrap();
    let standing = homes.standing(workspace, home, Consistency::Strong).await.unwrap().map(|standing| standing.record);
    let leads = homes.lead_levels(workspace, home, Consistency::Strong).await.unwrap().record;
    let model = models(world).latest(workspace).await.unwrap();
    let evaluation = Evaluation::new(&model, gathered.inputs(), world.now().day());
    let held = HeldLevels {
        account: standing.as_ref().and_then(|standing| standing.level.as_deref()),
        engagement: standing.as_ref().and_then(|standing| standing.engagement_level.as_deref()),
        leads: &leads.levels,
    };
    serde_json::to_value(Explanation::new(&model, &evaluation, held, 10)).unwrap()
}

/// The explanation as of a moment, with what it can't know.
async fn as_of(world: &World, home: &Home, at: Timestamp) -> (Value, Vec<String>) {
    let past = past::gather(&world.store, &models(world), &world.workspace, home, at, world.now()).await.unwrap();
    let evaluation = Evaluation::new(&past.model, past.gathered.inputs(), past.day());
    let explanation = Explanation::new(&past.model, &evaluation, past.levels.held(), 10);
    (serde_json::to_value(explanation).unwrap(), past.limits)
}

/// What somebody does, and how many hours later the next thing happens.
#[derive(Debug, Clone)]
enum Deed {
    View(u8),
    Track(u8, &'static str),
    State(u8, Value),
    Publish(i64),
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let names = prop::sample::select(vec!["demo request", "sdr meeting", "content download", "email click", "something else"]);
    let traits = prop::sample::select(vec![
        json!({ "employees": 5000 }),
        json!({ "employees": 20, "country": "US" }),
        json!({ "industry": "Finance", "name": "Quillmark Press" }),
        json!({ "country": null }),
    ]);
    prop_oneof![
        3 => (0_u8..4).prop_map(Deed::View),
        4 => (0_u8..4, names).prop_map(|(who, name)| Deed::Track(who, name)),
        2 => (0_u8..4, traits).prop_map(|(who, traits)| Deed::State(who, traits)),
        1 => (1_i64..90).prop_map(Deed::Publish),
    ]
}

async fn happen(world: &World, n: usize, deed: &Deed) {
    let (now, id) = (world.now(), format!("m{n}"));
    let user = |who: &u8| format!("u{who}");
    let event = match deed {
        Deed::View(who) => page(&id, &user(who), &format!("s{n}"), now).properties(json!({ "path": "/pricing" })),
        Deed::Track(who, name) => track(&id, &user(who), name, now).properties(json!({ "asset": n })),
        Deed::State(who, traits) => group(&id, &user(who), "acct_1", traits.clone(), now),
        Deed::Publish(points) => {
            let models = models(world);
            let mut document = models.latest(&world.workspace).await.unwrap().document.clone();
            document.version += 1;
            document.engagement.rules[5].points = *points;
            document.account.rules[0].points = i32::try_from(*points).unwrap();
            return models.publish(&world.workspace, &document).await.unwrap();
        }
    };
    world.take(vec![event.account("acct_1", NamedBy::GroupId).build()]).await.unwrap();
}

/// Time passes, and what is due is scored.
async fn pass(world: &World, hours: i64) {
    world.clock.advance(hours * 3_600_000);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_past_is_told_as_it_was_shown_and_now_is_now(history in prop::collection::vec((any_deed(), 0_i64..90), 1..25), looks in 1_usize..6) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let world = World::new();
            let home = home("acct_1").unwrap();
            happen(&world, 999, &Deed::State(0, json!({}))).await;
            let mut seen = Vec::new();
            for (n, (deed, hours)) in history.iter().enumerate() {
                happen(&world, n, deed).await;
                if n % looks == 0 {
                    seen.push((world.now(), shown(&world, &home).await));
                    // Two things at one moment can't be told apart by their time.
                    world.clock.advance(1);
                }
                pass(&world, *hours).await;
            }
            let (now, limits) = as_of(&world, &home, world.now()).await;
            prop_assert_eq!((now, limits), (shown(&world, &home).await, Vec::<String>::new()));
            for (at, then) in seen {
                let (told, _) = as_of(&world, &home, at).await;
                prop_assert_eq!(told, then, "as of {}", at);
            }
            Ok(())
        })?;
    }
}

/// The first seed; each history has the next one.
const FIRST_SEED: u64 = 70_000;

/// Over random models, and with everything that may happen: fields stated by hand, links made and undone, accounts absorbed, drafts published.
#[test]
fn as_of_now_is_now_whatever_has_happened() {
    let told = std::sync::Mutex::new([0; 2]);
    each_world(FIRST_SEED, 48, async |seed| {
        let also = Also { statements: true, links: true, absorption: true, publications: true };
        let (world, caller) = lived(&mut Dice(seed), Vec::new(), also).await.unwrap();
        let mut here = [0; 2];
        for home in homes(&world).await.unwrap() {
            let path = match &home {
                Home::Account(account) => format!("/accounts/{account}/explain"),
                Home::Lead(lead) => format!("/leads/ld_{lead}/explain"),
            };
            let (now, as_of) = (caller.get(&path).await.unwrap(), caller.get(&format!("{path}?as_of={}", world.now())).await.unwrap());
            // A lead that has found an account is found there.
            if home.account().is_none() && now.status == 404 {
                continue;
            }
            assert_eq!(as_of.ok(), now.clone().ok(), "{path}");
            here[0] += 1;
            for lead in now.body["engagement"]["leads"].as_array().into_iter().flatten().filter(|lead| lead["is_account"] == json!(false)) {
                let path = format!("/leads/{}/explain", lead["lead_id"].as_str().unwrap());
                let as_of = caller.get(&format!("{path}?as_of={}", world.now())).await.unwrap().ok();
                assert_eq!(as_of, caller.get(&path).await.unwrap().ok(), "{path}");
                here[1] += 1;
            }
        }
        let mut told = told.lock().unwrap();
        told.iter_mut().zip(here).for_each(|(sum, n)| *sum += n);
    });
    let [homes, leads] = *told.lock().unwrap();
    println!("{homes} homes and {leads} leads of accounts from seed {FIRST_SEED} are now as they are as of now");
    assert!(homes > 150 && leads > 150, "too few to tell anything");
}

#[tokio::test]
async fn an_event_of_later_is_not_in_the_past_and_a_person_who_came_later_neither() {
    let world = World::new();
    let home = home("acct_1").unwrap();
    happen(&world, 1, &Deed::Track(1, "sdr meeting")).await;
    let then = world.now();
    pass(&world, 1).await;
    happen(&world, 2, &Deed::Track(1, "demo request")).await;
    happen(&world, 3, &Deed::Track(2, "sdr meeting")).await;
    let (told, limits) = as_of(&world, &home, then).await;
    assert_eq!((&told["engagement"]["score"], told["engagement"]["leads"].as_array().unwrap().len()), (&json!(30), 1));
    assert_eq!(limits.len(), 3);
    assert_eq!(as_of(&world, &home, world.now()).await.0["engagement"]["score"], json!(110));
}

#[tokio::test]
async fn the_past_is_scored_by_the_model_of_then() {
    let world = World::new();
    let home = home("acct_1").unwrap();
    happen(&world, 1, &Deed::State(1, json!({ "employees": 5000 }))).await;
    let then = world.now();
    world.clock.advance(1_000);
    happen(&world, 2, &Deed::Publish(7)).await;
    assert_eq!(shown(&world, &home).await["account"]["score"], json!(7));
    let told = as_of(&world, &home, then).await.0;
    assert_eq!((&told["account"]["score"], &told["rulesets"]["model"]), (&json!(50), &json!(1)));
}

#[tokio::test]
async fn neither_the_future_nor_what_the_log_does_not_reach_can_be_asked_for() {
    let world = World::new();
    happen(&world, 1, &Deed::View(1)).await;
    let ask = async |at: Timestamp| {
        let models = models(&world);
        past::gather(&world.store, &models, &world.workspace, &home("acct_1").unwrap(), at, world.now()).await.unwrap_err().to_string()
    };
    assert_eq!(ask(world.now().plus_millis(1)).await, "the moment lies in the future");
    let begins = Timestamp::parse(START).unwrap().plus_millis(-761 * domain::DAY_MS);
    assert_eq!(ask(begins.plus_millis(-1)).await, format!("the log goes back to {begins}"));
}
