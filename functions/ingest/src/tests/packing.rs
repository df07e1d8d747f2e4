//! Splitting loses nothing, doubles nothing and keeps to the limit.

use super::*;
use proptest::prelude::*;

fn event(user: usize, n: usize, filler: usize) -> Event {
    let body = json!({"userId": format!("u-{user}"), "event": "x", "properties": {"f": "é\"".repeat(filler / 4)}}).to_string();
    let origin = Origin { received_at: moment(NOW), ip: None, user_agent: None };
    Call::parse(&body).unwrap().event(CallKind::Track, &origin, || MessageId::new(&format!("m-{n}"))).unwrap()
}

fn pack(events: Vec<Event>, rejected: Vec<Rejected>) -> Vec<EventsReceived> {
    let mut next = 0;
    split::messages(&WorkspaceId::new("northwind").unwrap(), moment(NOW), events, rejected, || {
        next += 1;
        BatchId::new(moment(NOW), next)
    })
}

fn check(events: Vec<Event>, rejected: Vec<Rejected>) -> Vec<EventsReceived> {
    let messages = pack(events.clone(), rejected.clone());
    let mut of_identity: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut batches = BTreeSet::new();
    for message in &messages {
        let bytes = messages::encode(message).unwrap().len();
        assert!(bytes <= messages::MAX_MESSAGE_BYTES, "{bytes} bytes");
        assert!(batches.insert(message.batch));
        assert!(!message.parcels.is_empty() || !message.rejected.is_empty());
        let mut here = BTreeSet::new();
        for parcel in &message.parcels {
            assert!(here.insert(&parcel.identity), "one parcel per identity and message");
            assert!(!parcel.events.is_empty());
            for event in &parcel.events {
                assert_eq!(event.identity().as_ref(), Some(&parcel.identity));
                of_identity.entry(parcel.identity.value.clone()).or_default().push(event.message_id.to_string());
            }
        }
    }
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in &events {
        expected.entry(event.identity().unwrap().value).or_default().push(event.message_id.to_string());
    }
    assert_eq!(of_identity, expected, "each event once, in the order of the client");
    let kept: Vec<Rejected> = messages.iter().flat_map(|message| message.rejected.clone()).collect();
    assert_eq!(kept, rejected);
    messages
}

fn refused(index: usize, size: usize) -> Rejected {
    Rejected { index, pointer: "/event".to_owned(), reason: "event is required".to_owned(), item: Value::String("\"".repeat(size)) }
}

#[test]
fn few_events_are_one_message() {
    let messages = check((0..20).map(|n| event(n, n, 400)).collect(), vec![refused(7, 10)]);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].parcels.len(), 20);
    assert!(check(Vec::new(), Vec::new()).is_empty());
}

#[test]
fn a_message_may_be_filled_to_the_last_byte() {
    // Grown byte by byte, the second event moves to a message of its own exactly when both no longer fit.
    let mut counts = BTreeSet::new();
    for filler in (32_400..33_600).step_by(4) {
        let together = check(vec![event(1, 1, filler), event(1, 2, 32_000)], Vec::new());
        counts.insert(together.len());
        if together.len() == 2 {
            let whole = EventsReceived {
                parcels: vec![Parcel {
                    identity: together[0].parcels[0].identity.clone(),
                    events: vec![event(1, 1, filler), event(1, 2, 32_000)].into(),
                }],
                ..together[0].clone()
            };
            // The count is exact but for commas and the place of the refused items.
            assert!(messages::encode(&whole).unwrap().len() > messages::MAX_MESSAGE_BYTES - 32);
        }
    }
    assert_eq!(counts, BTreeSet::from([1, 2]));
}

#[test]
fn a_kept_item_is_short_and_never_cut_inside_a_character() {
    assert_eq!(split::kept_item("{\"a\": 1}"), json!({"a": 1}));
    let long = format!("\"{}\"", "é".repeat(4_000));
    let Value::String(kept) = split::kept_item(&long) else { panic!() };
    assert!(kept.len() <= 4_096 && long.starts_with(&kept) && kept.len() > 4_090);
    // What is short and can't be read stays text.
    assert_eq!(split::kept_item("1e999"), json!("1e999"));
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    assert_eq!(split::kept_item(&deep), Value::String(deep));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_lost_or_doubled_whatever_the_sizes(
        sizes in prop::collection::vec((0_usize..6, prop_oneof![3 => 0_usize..800, 1 => 0_usize..32_000]), 0..60),
        refusals in prop::collection::vec(0_usize..4_000, 0..20),
    ) {
        let events = sizes.iter().enumerate().map(|(n, (user, filler))| event(*user, n, *filler)).collect();
        let rejected = refusals.iter().enumerate().map(|(index, size)| refused(index, *size)).collect();
        check(events, rejected);
    }
}
