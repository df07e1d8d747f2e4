//! The whole pipeline gives the same accounts however the same events are cut, ordered and repeated.

use domain::{DAY_MS, Event, NamedBy, Timestamp};
use harpoon_tests::world::{START, World, event, group, identify, page, track};
use pipeline::{Table, records::ScoreRecord};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

/// Ten people: two at each of three companies, two with free mail, two whose company is also an account with an id.
const PEOPLE: [(&str, &str); 10] = [
    ("u0", "ada@quarrystone-mills.com"),
    ("u1", "bo@quarrystone-mills.com"),
    ("u2", "cy@fernhollow-labs.com"),
    ("u3", "di@fernhollow-labs.com"),
    ("u4", "ed@saltmarsh-rail.com"),
    ("u5", "flo@saltmarsh-rail.com"),
    ("u6", "gus.free@gmail.com"),
    ("u7", "gus.free@gmail.com"),
    ("u8", "hal@tidewell-foundry.com"),
    ("u9", "ivy@tidewell-foundry.com"),
];

fn any_event() -> impl Strategy<Value = Event> {
    (0_usize..PEOPLE.len(), 0_i64..30 * 24 * 60, 0_u8..9, 0_u8..4).prop_map(|(who, minutes, what, detail)| {
        let (user, email) = PEOPLE[who];
        let at = start().plus_millis(-minutes * 60_000);
        let id = format!("{who}-{minutes}-{what}-{detail}");
        let browser = format!("browser-{}", (who + usize::from(detail)) % 6);
        let told = match what {
            0 => identify(&id, user, email, at),
            1 => identify(&id, user, email, at).anonymous(&browser),
            2 => page(&id, user, &format!("s{detail}"), at).anonymous(&browser),
            3 => page(&id, user, &format!("s{detail}"), at).properties(json!({ "path": "/pricing" })),
            4 => track(&id, user, "Demo Requested", at),
            5 => track(&id, user, "content downloaded", at).properties(json!({ "asset": format!("guide-{detail}") })),
            6 if who >= 8 => {
                group(&id, user, "acct_tidewell", json!({ "employees": 500 + u32::from(detail) * 1000, "industry": "Technology" }), at)
            }
            6 => track(&id, user, "signed up", at).properties(json!({ "employees": u32::from(detail) * 700, "country": "US" })),
            7 => event(domain::CallKind::AccountEvent, &id, at)
                .named("SDR meeting")
                .account(email.rsplit('@').next().unwrap_or_default(), NamedBy::AccountEvent),
            _ => {
                let mut event = page(&id, user, &format!("s{detail}"), at).build();
                (event.user_id, event.anonymous_id) = (None, Some(browser));
                return event;
            }
        };
        // Nobody can tell the company of a free-mail address from an account event.
        if what == 7 && email.ends_with("gmail.com") { identify(&id, user, email, at).build() } else { told.build() }
    })
}

fn any_events() -> impl Strategy<Value = Vec<Event>> {
    // Every person is identified once, so that it does not depend on the draw who is known.
    let known: Vec<Event> = PEOPLE
        .iter()
        .map(|(user, email)| identify(&format!("known-{user}"), user, email, start().plus_millis(-40 * DAY_MS)).build())
        .collect();
    proptest::collection::vec(any_event(), 1..60).prop_map(move |mut events| {
        events.extend(known.clone());
        events.sort_by(|a, b| a.message_id.cmp(&b.message_id));
        events.dedup_by(|a, b| a.message_id == b.message_id);
        events
    })
}

/// What is shown of every account and unresolved lead that holds anybody.
async fn shown(world: &World) -> BTreeMap<String, ScoreRecord> {
    let mut shown = BTreeMap::new();
    for item in world.store.memory.dump() {
        if item.key.table != Table::Accounts || item.key.sk != "R" {
            continue;
        }
        let mut record: ScoreRecord = pipeline::records::from_item(&item).unwrap();
        if record.merged_into.is_some() || (record.total_leads == 0 && record.engagement == 0 && record.fields.is_empty()) {
            continue;
        }
        // Versions, and what is counted of them, tell how the events came; they are not shown.
        (record.stamp, record.inputs, record.fresh, record.due_at) = (0, 0, 0, None);
        let place = item.key.pk.rsplit("#H#").next().unwrap_or_default().to_owned();
        shown.insert(place, record);
    }
    shown
}

async fn run(batches: Vec<Vec<Event>>, settle_between: bool) -> BTreeMap<String, ScoreRecord> {
    let world = World::new();
    for batch in batches {
        world.send(batch).await.unwrap();
        world.clock.advance(1);
        if settle_between {
            world.settle().await.unwrap();
        }
    }
    world.settle().await.unwrap();
    world.clock.advance(rescore::SETTLED_MS);
    world.rescorer.run().await.unwrap();
    world.settle().await.unwrap();
    shown(&world).await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn cutting_order_and_repetition_change_no_account(
        (events, order) in any_events().prop_flat_map(|events| {
            let twice: Vec<usize> = (0..events.len()).chain(0..events.len() / 3).collect();
            (Just(events), Just(twice).prop_shuffle())
        }),
        size in 1_usize..9,
        settle_between in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (straight, shuffled) = runtime.block_on(async {
            let straight = run(vec![events.clone()], false).await;
            let shuffled: Vec<Event> = order.iter().map(|place| events[*place].clone()).collect();
            let batches = shuffled.chunks(size).map(<[Event]>::to_vec).collect();
            (straight, run(batches, settle_between).await)
        });
        // Three companies, one account with an id, and one person with free mail at least.
        prop_assert!(straight.len() >= 5, "{:?}", straight.keys());
        prop_assert_eq!(straight, shuffled);
    }
}
