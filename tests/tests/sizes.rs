//! What is stored fits the units that it is billed in.

use domain::{BatchId, DAY_MS, Event, Identity, Timestamp, model::default_model, state::IdentityState};
use harpoon_tests::world::{START, identify, page, track};
use pipeline::state_body;
use serde_json::json;

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

/// Sixty active days: a session of six pages, a download a week, an e-mail click every third day.
fn sixty_days() -> Vec<(BatchId, Vec<Event>)> {
    let mut parcels = Vec::new();
    for day in 0..60_i64 {
        let morning = start().plus_millis((day - 60) * DAY_MS - 3 * 3_600_000);
        {
            let (at, visit) = (morning, 0);
            let session = format!("{}", at.millis());
            let mut events: Vec<Event> = (0..6)
                .map(|n| {
                    let path = if n == 5 { "/pricing" } else { "/product" };
                    let id = format!("page-{day}-{visit}-{n}");
                    page(&id, "u-1029384756", &session, at.plus_millis(n * 40_000))
                        .properties(json!({ "path": path, "session_id": session }))
                        .build()
                })
                .collect();
            if visit == 0 && day % 7 == 0 {
                events.push(
                    track(&format!("asset-{day}"), "u-1029384756", "content downloaded", at)
                        .properties(json!({ "asset": format!("guide-{day}"), "session_id": session }))
                        .build(),
                );
            }
            if visit == 0 && day % 3 == 0 {
                events.push(
                    track(&format!("click-{day}"), "u-1029384756", "email clicked", at)
                        .properties(json!({ "campaign": format!("issue {day}"), "session_id": session }))
                        .build(),
                );
            }
            if day == 0 && visit == 0 {
                events.push(identify("identify", "u-1029384756", "ada.quarrystone@quarrystone-mills.com", at).build());
            }
            parcels
                .push((BatchId::new(at.plus_millis(300_000), 0x9E37_79B9_7F4A_7C15_F39C_0C5A_u128.wrapping_mul(day as u128 + 1)), events));
        }
    }
    parcels
}

#[test]
fn the_state_of_a_lead_with_sixty_active_days_is_one_write_unit() {
    let model = default_model().unwrap();
    let mut state = IdentityState::new(Identity::user("u-1029384756"), &model.matcher);
    let mut sizes = Vec::new();
    for (batch, events) in sixty_days() {
        let folded = state.fold(batch, &events, None, batch.at(), &model.matcher, &model.document.mapping);
        assert!(matches!(folded, domain::state::Fold::Added(n) if n == events.len()), "{folded:?}");
        state.shrink(batch.at());
        sizes.push(state_body::encode(&state).unwrap().len());
    }
    let mut bare = state.clone();
    bare.window = Default::default();
    println!("sizes: {sizes:?}, without its window {}", state_body::encode(&bare).unwrap().len());
    // Key, version and attribute names take about 80 bytes of the 1,024.
    assert!(sizes.iter().all(|size| *size <= 1_024 - 80), "{sizes:?}");
}
