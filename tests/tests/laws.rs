//! Laws of the domain, over random histories.

use domain::{
    BatchId, DAY_MS, Day, Event, Identity, IdentityId, Timestamp,
    evaluate::{Evaluation, Inputs},
    field::FieldFacts,
    model::{Model, default_model},
    state::{Fold, IdentityState, Refolded, SPILL_LIFE_MS, Sealed, Spilled},
};
use harpoon_tests::world::{START, group, identify, page, track};
use pipeline::state_body;
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

fn model() -> Arc<Model> {
    Arc::clone(default_model().unwrap())
}

fn start() -> Timestamp {
    Timestamp::parse(START).unwrap()
}

/// One of the things that a person does, `minutes` before noon.
fn any_event() -> impl Strategy<Value = Event> {
    (0_u32..400, 0_i64..60 * 24 * 90, 0_u8..8, 0_u8..3).prop_map(|(id, minutes, what, detail)| {
        let at = start().plus_millis(-minutes * 60_000);
        let id = format!("m{id}");
        // What an id stands for does not depend on the copy: a client sends the same event again, not another one.
        match what {
            0 => page(&id, "u1", &format!("s{detail}"), at),
            1 => page(&id, "u1", &format!("s{detail}"), at).properties(json!({ "path": "/pricing" })),
            2 => track(&id, "u1", "Demo Requested", at),
            3 => track(&id, "u1", "content downloaded", at).properties(json!({ "asset": format!("guide-{detail}") })),
            4 => identify(&id, "u1", &format!("ada{detail}@quarrystone-mills.com"), at),
            5 => track(&id, "u1", "meeting held", at),
            6 => track(&id, "u1", "signed up", at).properties(json!({ "company_size": format!("size {detail}") })),
            _ => group(&id, "u1", &format!("acct_{detail}"), json!({ "employees": u32::from(detail) * 1000 }), at),
        }
        .build()
    })
}

/// Milliseconds after the beginning at which a parcel was made: mostly within two hours, some within forty days.
fn any_offset() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0_i64..7_200_000, 1 => 0..40 * DAY_MS]
}

/// Distinct events, cut into parcels, some of them sent again in another parcel, and an order in which the parcels arrive, some twice.
fn any_history() -> impl Strategy<Value = (Vec<(BatchId, Vec<Event>)>, Vec<usize>)> {
    let events = proptest::collection::vec(any_event(), 1..120).prop_map(|mut events| {
        events.sort_by(|a, b| a.message_id.cmp(&b.message_id));
        events.dedup_by(|a, b| a.message_id == b.message_id);
        events
    });
    (events, proptest::collection::vec((0_usize..12, any_offset()), 1..14)).prop_flat_map(|(events, cuts)| {
        let parcels: Vec<(BatchId, Vec<Event>)> = cuts
            .iter()
            .enumerate()
            .map(|(i, (overlap, offset))| {
                let size = events.len().div_ceil(cuts.len());
                let from = (i * size).min(events.len());
                let to = ((i + 1) * size + overlap).min(events.len());
                (BatchId::new(start().plus_millis(*offset), i as u128), events[from..to].to_vec())
            })
            .collect();
        let arrivals: Vec<usize> = (0..parcels.len()).chain(0..parcels.len() / 2).collect();
        (Just(parcels), Just(arrivals).prop_shuffle())
    })
}

/// What resolve does with a store that never fails: put, read, fold, spill, write.
struct Folder {
    model: Arc<Model>,
    stored: Vec<(BatchId, Vec<Event>)>,
    spilled: Spilled,
    sealed: Option<(Sealed, IdentityState)>,
    state: IdentityState,
}

impl Folder {
    fn new(model: &Arc<Model>) -> Self {
        let state = IdentityState::new(Identity::user("u1"), &model.matcher);
        Self { model: Arc::clone(model), stored: Vec::new(), spilled: Spilled::default(), sealed: None, state }
    }

    fn take(&mut self, parcel: &(BatchId, Vec<Event>), now: Timestamp) {
        if !self.stored.iter().any(|(batch, _)| *batch == parcel.0) {
            self.stored.push(parcel.clone());
        }
        let (matcher, mapping) = (&self.model.matcher, &self.model.document.mapping);
        let mut state = self.state.clone();
        let mut fold = state.fold(parcel.0, &parcel.1, None, now, matcher, mapping);
        if fold == Fold::NeedsSpilled {
            fold = state.fold(parcel.0, &parcel.1, Some(&self.spilled), now, matcher, mapping);
        }
        assert_ne!(fold, Fold::NeedsSpilled);
        if fold == Fold::Doubt {
            let usable = self.sealed.clone().filter(|(sealed, _)| Some(*sealed) == self.state.sealed && parcel.0 > sealed.until);
            let again = refolded(&self.state, usable.map(|(_, sum)| sum), &self.stored, &self.model, now);
            state = again.state;
            self.sealed = again.sealed.or(self.sealed.take());
            self.spilled = Spilled::default();
        }
        for (_, segment) in state.shrink(now) {
            self.spilled.add(&segment);
        }
        self.state = state;
    }
}

/// All parcels, or those after a seal, oldest first, as resolve reads them.
fn refolded(
    state: &IdentityState,
    sealed: Option<IdentityState>,
    parcels: &[(BatchId, Vec<Event>)],
    model: &Model,
    now: Timestamp,
) -> Refolded {
    let mut sorted = parcels.to_vec();
    sorted.sort_by_key(|(batch, _)| *batch);
    let mut refold = state.refold(sealed, &model.matcher, now);
    let after = refold.after();
    for (batch, events) in sorted.iter().filter(|(batch, _)| after.is_none_or(|after| *batch > after)) {
        refold.add(*batch, events, &model.matcher, &model.document.mapping);
    }
    refold.finish()
}

/// A hundred days of one page view and one download a day, each day a parcel.
fn hundred_days() -> Vec<(BatchId, Vec<Event>)> {
    (0..100_i64)
        .map(|day| {
            let at = start().plus_millis((day - 100) * DAY_MS);
            let view = page(&format!("view-{day}"), "u1", &format!("s{day}"), at).build();
            let asset = json!({ "asset": format!("guide-{}", day % 7) });
            let download = track(&format!("download-{day}"), "u1", "content downloaded", at).properties(asset).build();
            (BatchId::new(at.plus_millis(1_000), u128::from(day.unsigned_abs()) << 50), vec![view, download])
        })
        .collect()
}

#[test]
fn folding_again_begins_at_the_seal_and_comes_to_the_same() {
    let model = model();
    let parcels = hundred_days();
    let blank = IdentityState::new(Identity::user("u1"), &model.matcher);
    let whole = refolded(&blank, None, &parcels, &model, start());
    let (sealed, sum) = whole.sealed.clone().expect("a hundred parcels are sealed");
    // Seventeen days are not settled: the parcels of the first 83 days are, and a day later one more.
    let settled = parcels.iter().filter(|(batch, _)| start().millis_since(batch.at()) >= 17 * DAY_MS).count();
    assert_eq!((sealed.until, settled), (parcels[settled - 1].0, 83));
    assert_eq!((sum.facts.count, whole.state.facts.count), (166, 200));
    assert_eq!(whole.state.sealed, Some(sealed));

    let later = start().plus_millis(DAY_MS);
    let from_seal = refolded(&whole.state, Some(sum.clone()), &parcels, &model, later);
    assert_eq!(from_seal.state.facts, whole.state.facts);
    // What was sealed with other rules is of no use.
    let mut other = sum;
    other.facts.parts ^= 1;
    assert_eq!(refolded(&whole.state, Some(other), &parcels, &model, later).state.facts, whole.state.facts);
}

#[test]
fn an_event_that_is_newer_than_all_that_left_the_window_needs_no_spilled_ids() {
    let model = model();
    let mut state = IdentityState::new(Identity::user("u1"), &model.matcher);
    let (matcher, mapping) = (&model.matcher, &model.document.mapping);
    let parcel = |minute: i64| {
        let at = start().plus_millis(minute * 60_000);
        let events = (0..20).map(|n| page(&format!("{minute}-{n}"), "u1", "s", at.plus_millis(n * 100)).build()).collect::<Vec<_>>();
        (BatchId::new(at.plus_millis(5_000), u128::from(minute.unsigned_abs()) << 50), events)
    };
    for minute in 0..50 {
        let (batch, events) = parcel(minute);
        assert_eq!(state.fold(batch, &events, None, batch.at(), matcher, mapping), Fold::Added(20));
        state.shrink(batch.at());
    }
    let now = start().plus_millis(3_600_000);
    let (batch, events) = parcel(0);
    assert_eq!(state.fold(batch, &events, None, now, matcher, mapping), Fold::NeedsSpilled, "a redelivery");
    let (_, again) = parcel(1);
    let other = BatchId::new(now, 7 << 50);
    assert_eq!(state.fold(other, &again, None, now, matcher, mapping), Fold::NeedsSpilled, "a client's retry");
    let (_, last) = parcel(49);
    assert_eq!(state.fold(other, &last[19..], None, now, matcher, mapping), Fold::Added(0), "a retry of what the window holds");
}

fn evaluate<'s>(model: &Model, state: &'s IdentityState, as_of: Day) -> Evaluation<'s> {
    let id: IdentityId = state.identity.id();
    Evaluation::new(model, Inputs { own: FieldFacts::new(), states: vec![(id, state)], stated: None, giant: false }, as_of)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn shuffle_and_duplication_change_nothing((parcels, arrivals) in any_history(), late in 0_i64..5) {
        let model = model();
        let mut folder = Folder::new(&model);
        let now = start().plus_millis(8_000_000 + late * SPILL_LIFE_MS / 2);
        for arrival in arrivals {
            folder.take(&parcels[arrival], now);
        }
        let blank = IdentityState::new(Identity::user("u1"), &model.matcher);
        let replay = refolded(&blank, None, &parcels, &model, start()).state;
        prop_assert_eq!(&folder.state.facts, &replay.facts);
    }

    #[test]
    fn states_survive_storing(history in any_history()) {
        let model = model();
        let blank = IdentityState::new(Identity::user("u1"), &model.matcher);
        let state = refolded(&blank, None, &history.0, &model, start()).state;
        let bytes = state_body::encode(&state).unwrap();
        prop_assert_eq!(state_body::decode(&bytes).unwrap(), state);
    }

    #[test]
    fn without_events_engagement_never_rises((parcels, _) in any_history(), ahead in 1_i32..100) {
        let model = model();
        let blank = IdentityState::new(Identity::user("u1"), &model.matcher);
        let state = refolded(&blank, None, &parcels, &model, start()).state;
        let today = evaluate(&model, &state, start().day());
        let later = evaluate(&model, &state, start().day().plus(ahead));
        prop_assert!(later.engagement.milli <= today.engagement.milli);
    }

    #[test]
    fn nothing_shown_changes_before_the_day_that_was_foretold((parcels, _) in any_history()) {
        let model = model();
        let blank = IdentityState::new(Identity::user("u1"), &model.matcher);
        let state = refolded(&blank, None, &parcels, &model, start()).state;
        let day = start().day();
        let today = evaluate(&model, &state, day);
        let next = today.next_change(&model);
        for ahead in 1..40 {
            let then = evaluate(&model, &state, day.plus(ahead));
            let same = then.engagement.shown() == today.engagement.shown() && then.surge.active == today.surge.active;
            if next.is_none_or(|next| day.plus(ahead) < next) {
                prop_assert!(same, "day +{}", ahead);
            }
        }
        if let Some(next) = next.filter(|next| *next < day.plus(domain::evaluate::AHEAD_DAYS)) {
            let then = evaluate(&model, &state, next);
            let levels = &model.document.lead_levels;
            let level = |shown: i64| (levels.natural(shown).map(|level| level.id.clone()), levels.kept(shown).map(|level| level.id.clone()));
            let leads = |evaluation: &Evaluation<'_>| evaluation.engagement.leads.iter().map(|lead| level(lead.shown())).collect::<Vec<_>>();
            let differs = then.engagement.shown() != today.engagement.shown() || then.surge.active != today.surge.active || leads(&then) != leads(&today);
            prop_assert!(differs);
        }
    }

    #[test]
    fn shares_sum_to_the_score((parcels, _) in any_history()) {
        let model = model();
        let blank = IdentityState::new(Identity::user("u1"), &model.matcher);
        let state = refolded(&blank, None, &parcels, &model, start()).state;
        let evaluation = evaluate(&model, &state, start().day());
        let shares: i64 = evaluation.engagement.leads.iter().map(|lead| lead.share).sum();
        prop_assert_eq!(shares, evaluation.engagement.milli);
        for lead in &evaluation.engagement.leads {
            let rules: i64 = lead.rules.iter().map(|rule| rule.milli).sum();
            prop_assert_eq!(rules + lead.capped, lead.milli);
            for rule in &lead.rules {
                prop_assert_eq!(rule.days.iter().map(|day| day.milli).sum::<i64>() + rule.capped, rule.milli);
            }
        }
        let account: i32 = evaluation.account.lines.iter().map(|line| line.points).sum::<i32>() + evaluation.account.caps.iter().map(|cap| cap.points).sum::<i32>();
        prop_assert_eq!(account, evaluation.account.score);
    }
}
