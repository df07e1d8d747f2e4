use super::*;
use crate::{CallKind, Event, MessageId, NamedBy, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: &str = "2026-03-02T09:00:00.000Z";

fn origin() -> Origin<'static> {
    Origin { received_at: Timestamp::parse(NOW).unwrap(), ip: Some("203.0.113.7"), user_agent: Some("sample/1") }
}

fn read(kind: CallKind, body: &str) -> Result<Event, CallError> {
    Ok(Call::parse(body)?.event(kind, &origin(), || MessageId::new("made"))?)
}

fn event(kind: CallKind, body: Value) -> Event {
    read(kind, &body.to_string()).unwrap()
}

fn refusal(kind: CallKind, body: Value) -> (String, String) {
    match read(kind, &body.to_string()).unwrap_err() {
        CallError::Invalid(invalid) => (invalid.pointer.into_owned(), invalid.reason),
        other => panic!("{other:?}"),
    }
}

fn track(extra: Value) -> Value {
    let mut body = json!({"userId": "u-1", "event": "Demo Requested"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[test]
fn numbers_become_ids_and_white_space_is_trimmed() {
    assert_eq!(event(CallKind::Track, track(json!({"userId": 42}))).user_id.as_deref(), Some("42"));
    assert_eq!(event(CallKind::Track, track(json!({"userId": u64::MAX}))).user_id.as_deref(), Some("18446744073709551615"));
    assert_eq!(event(CallKind::Track, track(json!({"userId": -7}))).user_id.as_deref(), Some("-7"));
    assert_eq!(event(CallKind::Track, track(json!({"userId": "  u-2\t"}))).user_id.as_deref(), Some("u-2"));
}

#[test]
fn ids_that_would_lose_digits_are_refused() {
    let (pointer, reason) = refusal(CallKind::Track, track(json!({"userId": 1.5})));
    assert_eq!(pointer, "/userId");
    assert!(reason.contains("must be a string or a whole number"), "{reason}");
    let body = r#"{"userId": 123456789012345678901234567890, "event": "x"}"#;
    assert!(read(CallKind::Track, body).is_err());
}

#[test]
fn a_person_is_required_and_empty_ids_are_absent() {
    for id in [json!(null), json!(""), json!("   ")] {
        let (pointer, reason) = refusal(CallKind::Track, json!({"event": "x", "userId": id, "anonymousId": id}));
        assert_eq!(pointer, "/userId");
        assert!(reason.starts_with("userId or anonymousId is required"), "{reason}");
    }
    let anonymous = event(CallKind::Track, json!({"event": "x", "userId": "", "anonymousId": "a-1"}));
    assert_eq!((anonymous.user_id, anonymous.anonymous_id.as_deref()), (None, Some("a-1")));
}

#[test]
fn ids_of_512_bytes_are_taken_and_longer_ones_are_not() {
    assert!(read(CallKind::Track, &track(json!({"userId": "x".repeat(512)})).to_string()).is_ok());
    let (pointer, reason) = refusal(CallKind::Track, track(json!({"userId": "x".repeat(513)})));
    assert_eq!((pointer.as_str(), reason.as_str()), ("/userId", "userId must be at most 512 bytes, got 513"));
    // Bytes, not characters: 256 of two bytes each and one more.
    assert!(read(CallKind::Track, &track(json!({"userId": "é".repeat(257)})).to_string()).is_err());
    assert_eq!(refusal(CallKind::Track, track(json!({"anonymousId": "a\u{0}b"}))).0, "/anonymousId");
}

#[test]
fn every_kind_demands_what_it_needs() {
    let cases = [
        (CallKind::Track, json!({"userId": "u"}), "/event"),
        (CallKind::Track, json!({"userId": "u", "event": "  "}), "/event"),
        (CallKind::Track, json!({"userId": "u", "event": 7}), "/event"),
        (CallKind::Group, json!({"userId": "u"}), "/groupId"),
        (CallKind::Group, json!({"groupId": "g"}), "/userId"),
        (CallKind::Alias, json!({"userId": "u"}), "/previousId"),
        (CallKind::Alias, json!({"previousId": "p", "anonymousId": "a"}), "/userId"),
        (CallKind::Page, json!({"name": "Home"}), "/userId"),
        (CallKind::Identify, json!({"traits": {}}), "/userId"),
        (CallKind::AccountEvent, json!({"event": "x"}), "/account_id"),
        (CallKind::AccountEvent, json!({"account_id": "a"}), "/event"),
        (CallKind::AccountEvent, json!({"event": "x", "account_id": "a", "domain": "brightforge-systems.com"}), "/domain"),
    ];
    for (kind, body, pointer) in cases {
        assert_eq!(refusal(kind, body.clone()).0, pointer, "{kind:?} {body}");
    }
}

#[test]
fn message_ids_have_fewer_than_100_characters() {
    assert_eq!(event(CallKind::Track, track(json!({"messageId": "m".repeat(99)}))).message_id.as_str().len(), 99);
    assert_eq!(refusal(CallKind::Track, track(json!({"messageId": "m".repeat(100)}))).0, "/messageId");
    // Characters, not bytes.
    assert!(read(CallKind::Track, &track(json!({"messageId": "é".repeat(99)})).to_string()).is_ok());
    assert_eq!(event(CallKind::Track, track(json!({"messageId": null}))).message_id.as_str(), "made");
    assert_eq!(event(CallKind::Track, track(json!({"messageId": ""}))).message_id.as_str(), "made");
}

#[test]
fn objects_must_be_objects() {
    for (field, value, got) in [
        ("properties", json!("x"), "a string"),
        ("traits", json!([1]), "an array"),
        ("context", json!(7), "a number"),
        ("properties", json!(true), "a boolean"),
    ] {
        let (pointer, reason) = refusal(CallKind::Track, track(json!({field: value})));
        assert_eq!(pointer, format!("/{field}"));
        assert_eq!(reason, format!("{field} must be an object, got {got}"));
    }
    let empty = event(CallKind::Track, track(json!({"properties": {}, "traits": null, "context": {}})));
    assert_eq!((empty.properties, empty.traits, empty.context), (None, None, None));
}

#[test]
fn what_the_client_wrote_is_kept_as_text() {
    let body = r#"{"userId":"u","event":"x","properties":{ "b" : 1.0e2, "a":"\u00e9" }}"#;
    let event = read(CallKind::Track, body).unwrap();
    assert_eq!(event.properties.unwrap().as_str(), r#"{ "b" : 1.0e2, "a":"\u00e9" }"#);
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let body = r#"{"userId":"first","event":"x","userId":"last","properties":{"account_id":"a","account_id":"b"}}"#;
    let event = read(CallKind::Track, body).unwrap();
    assert_eq!(event.user_id.as_deref(), Some("last"));
    assert_eq!(event.account.unwrap().id.as_str(), "b");
}

#[test]
fn accounts_are_named_in_the_documented_order() {
    let context = json!({"groupId": "from-context"});
    let named = |event: Event| event.account.map(|account| (account.id.to_string(), account.by));
    let explicit = json!({"account_id": "acct_1"});
    let cases = [
        (event(CallKind::Track, track(json!({"properties": explicit, "context": context}))), Some(("acct_1", NamedBy::AccountId))),
        (event(CallKind::Track, track(json!({"properties": {"account_id": 77}}))), Some(("77", NamedBy::AccountId))),
        (
            event(CallKind::Track, track(json!({"properties": {"account_id": null}, "context": context}))),
            Some(("from-context", NamedBy::GroupId)),
        ),
        (event(CallKind::Page, json!({"anonymousId": "a", "properties": explicit})), Some(("acct_1", NamedBy::AccountId))),
        (event(CallKind::Screen, json!({"anonymousId": "a", "properties": explicit})), Some(("acct_1", NamedBy::AccountId))),
        (event(CallKind::Identify, json!({"userId": "u", "traits": explicit})), Some(("acct_1", NamedBy::AccountId))),
        (
            event(CallKind::Group, json!({"userId": "u", "groupId": 9, "traits": explicit, "context": context})),
            Some(("9", NamedBy::GroupId)),
        ),
        (event(CallKind::Alias, json!({"userId": "u", "previousId": "p", "context": context})), Some(("from-context", NamedBy::GroupId))),
        (event(CallKind::AccountEvent, json!({"account_id": "acct_2", "event": "x"})), Some(("acct_2", NamedBy::AccountEvent))),
        (
            event(CallKind::AccountEvent, json!({"domain": "News.Brightforge-Systems.COM", "event": "x"})),
            Some(("brightforge-systems.com", NamedBy::AccountEvent)),
        ),
        (event(CallKind::Track, track(json!({}))), None),
    ];
    for (event, expected) in cases {
        assert_eq!(named(event), expected.map(|(id, by)| (id.to_owned(), by)));
    }
    assert_eq!(refusal(CallKind::Track, track(json!({"properties": {"account_id": {"id": 1}}}))).0, "/properties/account_id");
    assert_eq!(refusal(CallKind::Track, track(json!({"context": {"groupId": "g".repeat(257)}}))).0, "/context/groupId");
}

#[test]
fn a_domain_must_be_a_company_domain() {
    for domain in ["co.uk", "com", "localhost", "10.0.0.1", "a..com", "-x.com", "x y.com", "https://brightforge-systems.com"] {
        let (pointer, reason) = refusal(CallKind::AccountEvent, json!({"event": "x", "domain": domain}));
        assert_eq!(pointer, "/domain", "{domain}");
        assert!(reason.contains(&format!("got `{domain}`")), "{reason}");
    }
    assert!(read(CallKind::AccountEvent, r#"{"event":"x","domain":"brightforge.co.uk"}"#).is_ok());
}

/// The Segment specification: timestamp = receivedAt − (sentAt − originalTimestamp).
#[test]
fn timestamps_are_corrected_for_the_clients_clock() {
    let at = |extra: Value| {
        let event = event(CallKind::Track, track(extra));
        (event.timestamp.to_string(), event.clamped)
    };
    let plain = |text: &str| (text.to_owned(), false);
    // The client's clock is an hour fast; it sent five seconds after the event.
    let fast = json!({"originalTimestamp": "2026-03-02T10:00:00.000Z", "sentAt": "2026-03-02T10:00:05.000Z"});
    assert_eq!(at(fast), plain("2026-03-02T08:59:55.000Z"));
    let libraries = json!({"timestamp": "2026-03-02T10:00:00+00:00", "sentAt": "2026-03-02T10:00:05.000000+00:00"});
    assert_eq!(at(libraries), plain("2026-03-02T08:59:55.000Z"));
    // Of the two the original one counts.
    let both = json!({"timestamp": "2026-01-01T00:00:00Z", "originalTimestamp": "2026-03-02T10:00:00Z", "sentAt": "2026-03-02T10:00:05Z"});
    assert_eq!(at(both), plain("2026-03-02T08:59:55.000Z"));
    // Without sentAt nothing is known of the clock.
    assert_eq!(at(json!({"timestamp": "2025-12-24T18:00:00Z"})), plain("2025-12-24T18:00:00.000Z"));
    assert_eq!(at(json!({})), plain(NOW));
    assert_eq!(at(json!({"sentAt": "2026-03-02T10:00:05Z"})), plain(NOW));
    // A moment in the future is clamped and flagged.
    assert_eq!(at(json!({"timestamp": "2026-03-02T09:00:00.001Z"})), (NOW.to_owned(), true));
    assert_eq!(at(json!({"timestamp": "2026-03-02T10:00:06Z", "sentAt": "2026-03-02T10:00:05Z"})), (NOW.to_owned(), true));
    assert_eq!(at(json!({"timestamp": NOW})), plain(NOW));
}

#[test]
fn bad_dates_are_refused_with_their_field() {
    for (field, value) in [
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("2026-13-01T00:00:00Z")),
        ("timestamp", json!(1_772_442_000)),
        ("originalTimestamp", json!(true)),
        ("sentAt", json!({"at": 1})),
        ("timestamp", json!("1969-12-31T23:59:59Z")),
        ("timestamp", json!("0001-01-01T00:00:00Z")),
        ("timestamp", json!("")),
    ] {
        assert_eq!(refusal(CallKind::Track, track(json!({field: value}))).0, format!("/{field}"));
    }
}

#[test]
fn ip_and_user_agent_are_the_requests_unless_the_context_is_direct() {
    let context = |direct: Value| json!({"context": {"direct": direct, "ip": "198.51.100.4", "userAgent": "phone/2"}});
    let of = |extra: Value| {
        let event = event(CallKind::Track, track(extra));
        (event.ip, event.user_agent)
    };
    let ours = (Some("203.0.113.7".to_owned()), Some("sample/1".to_owned()));
    assert_eq!(of(context(json!(false))), ours);
    assert_eq!(of(context(json!("true"))), ours);
    assert_eq!(of(context(json!(true))), (Some("198.51.100.4".to_owned()), Some("phone/2".to_owned())));
    // A server speaks for somebody whose address it does not tell: its own address is nobody's.
    assert_eq!(of(json!({"context": {"direct": true}})), (None, None));
    assert_eq!(refusal(CallKind::Track, track(json!({"context": {"direct": true, "ip": "here"}}))).0, "/context/ip");
}

#[test]
fn a_category_beside_the_properties_of_a_page_joins_them() {
    let page = |extra: Value| {
        let mut body = json!({"anonymousId": "a", "name": "Plans"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        event(CallKind::Page, body).properties.map(|properties| Value::Object(properties.to_map()))
    };
    assert_eq!(page(json!({"category": "Pricing"})), Some(json!({"category": "Pricing"})));
    assert_eq!(page(json!({"category": "Pricing", "properties": {"path": "/p"}})), Some(json!({"category": "Pricing", "path": "/p"})));
    assert_eq!(page(json!({"category": "Pricing", "properties": {"category": "Own"}})), Some(json!({"category": "Own"})));
    assert_eq!(page(json!({"category": null, "properties": {}})), None);
}

#[test]
fn deep_json_is_refused_without_overflowing() {
    for depth in [65, 129, 100_000] {
        let body = format!(r#"{{"userId":"u","event":"x","properties":{{"a":{}1{}}}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        let error = read(CallKind::Track, &body);
        if depth == 65 {
            let CallError::Invalid(invalid) = error.unwrap_err() else { panic!() };
            assert_eq!(invalid.pointer, "/properties");
            assert!(invalid.reason.contains("nested more deeply than 64 levels"), "{}", invalid.reason);
        } else {
            assert!(error.is_err());
        }
    }
    let fits = format!(r#"{{"userId":"u","event":"x","properties":{{"a":{}1{}}}}}"#, "[".repeat(63), "]".repeat(63));
    assert!(!read(CallKind::Track, &fits).unwrap().properties.unwrap().to_map().is_empty());
    for text in ["[".repeat(500_000), "{\"a\":".repeat(100_000), format!("{{\"integrations\":{}", "[".repeat(100_000))] {
        assert!(Call::parse(&text).is_err());
        assert!(Batch::parse(&text).is_err());
    }
}

#[test]
fn numbers_that_no_stage_could_read_are_refused() {
    let body = r#"{"userId":"u","event":"x","properties":{"amount":1e999}}"#;
    assert!(matches!(read(CallKind::Track, body), Err(CallError::Invalid(invalid)) if invalid.pointer == "/properties"));
}

#[test]
fn half_surrogates_are_mended_and_everything_else_stays() {
    let cases = [
        (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
        (r#""\uD83D""#, r#""\ufffd""#),
        (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
        (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
        (r#""\\ud83d""#, r#""\\ud83d""#),
        (r#""\\\ud83d""#, r#""\\\ufffd""#),
        (r#""\uffff\ufffe""#, r#""\ufffd\ufffd""#),
        ("\"\u{FFFE}\u{FFFF}\"", "\"\u{FFFD}\u{FFFD}\""),
        (r#""\u00e9\n""#, r#""\u00e9\n""#),
        (r#""\ud8"#, r#""\ud8"#),
        ("\\é", "\\é"),
    ];
    for (text, expected) in cases {
        assert_eq!(mend(text), expected, "{text}");
    }
}

#[test]
fn a_batch_hands_out_items_and_what_holds_for_all() {
    let text = json!({
        "batch": [{"type": "track", "event": "x", "userId": "u"}, {"type": "page", "userId": "u", "context": {"groupId": "own"}}, 7],
        "sentAt": "2026-03-02T10:00:05Z", "context": {"groupId": "shared"}, "writeKey": "wk",
    })
    .to_string();
    let batch = Batch::parse(&text).unwrap();
    assert_eq!(batch.write_key(), Some("wk"));
    let events: Vec<_> = batch
        .items()
        .map(|item| {
            let call = batch.call(item)?;
            call.event(call.kind()?, &origin(), || MessageId::new("made"))
        })
        .collect();
    assert_eq!(events[0].as_ref().unwrap().account.as_ref().unwrap().id.as_str(), "shared");
    assert_eq!(events[1].as_ref().unwrap().account.as_ref().unwrap().id.as_str(), "own");
    assert_eq!(events[2].as_ref().unwrap_err().reason, "a call must be a JSON object, got a number");
}

#[test]
fn the_clock_of_the_batch_corrects_its_items() {
    let text =
        r#"{"batch":[{"type":"track","event":"x","userId":"u","timestamp":"2026-03-02T10:00:00Z"}],"sentAt":"2026-03-02T10:00:05Z"}"#;
    let batch = Batch::parse(text).unwrap();
    let call = batch.call(batch.items().next().unwrap()).unwrap();
    let event = call.event(CallKind::Track, &origin(), || MessageId::new("made")).unwrap();
    assert_eq!(event.timestamp.to_string(), "2026-03-02T08:59:55.000Z");
}

#[test]
fn batches_that_are_none_say_why() {
    let of = |text: &str| Batch::parse(text).map(|_| ()).unwrap_err();
    assert!(matches!(of("{"), CallError::NotJson { .. }));
    assert!(matches!(of(""), CallError::NotJson { .. }));
    assert!(matches!(of("[1,]"), CallError::NotJson { .. }));
    for (text, pointer) in [
        ("[]", ""),
        ("{}", "/batch"),
        (r#"{"batch": null}"#, "/batch"),
        (r#"{"batch": {}}"#, "/batch"),
        (r#"{"batch": []}"#, "/batch"),
        (r#"{"batch": [1], "sentAt": "soon"}"#, "/sentAt"),
        (r#"{"batch": [1], "context": "x"}"#, "/context"),
    ] {
        assert!(matches!(of(text), CallError::Invalid(invalid) if invalid.pointer == pointer), "{text}");
    }
    let many = format!(r#"{{"batch":[{}1]}}"#, "1,".repeat(2_500));
    assert!(matches!(of(&many), CallError::TooLarge { .. }));
    let most = format!(r#"{{"batch":[{}1]}}"#, "1,".repeat(2_499));
    assert_eq!(Batch::parse(&most).unwrap().items().len(), 2_500);
    // 2,500 copies of 300 bytes are more than 500 KB.
    let copied = format!(r#"{{"batch":[{}1],"context":{{"a":"{}"}}}}"#, "1,".repeat(2_499), "x".repeat(300));
    assert!(matches!(of(&copied), CallError::TooLarge { .. }));
}

#[test]
fn an_item_over_32_kb_is_refused_alone() {
    let item = |size: usize| {
        let empty = json!({"type": "track", "event": "x", "userId": "u", "properties": {"a": ""}}).to_string();
        empty.replace("\"a\":\"\"", &format!("\"a\":\"{}\"", "x".repeat(size - empty.len())))
    };
    let text = format!(r#"{{"batch":[{},{}]}}"#, item(32 * 1024), item(32 * 1024 + 1));
    let batch = Batch::parse(&text).unwrap();
    let calls: Vec<_> = batch.items().map(|item| batch.call(item).map(|_| ())).collect();
    assert_eq!(calls[0], Ok(()));
    assert_eq!(calls[1].as_ref().unwrap_err().reason, "a call must be at most 32768 bytes, got 32769");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("2026-03-02T08:00:00Z")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field_name(), inner), 0..5).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn field_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "type",
            "messageId",
            "userId",
            "anonymousId",
            "previousId",
            "groupId",
            "event",
            "name",
            "category",
            "account_id",
            "domain",
            "timestamp",
            "originalTimestamp",
            "sentAt",
            "properties",
            "traits",
            "context",
            "direct",
            "ip",
            "batch",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ]
}

const KINDS: [CallKind; 7] =
    [CallKind::Track, CallKind::Identify, CallKind::Page, CallKind::Screen, CallKind::Group, CallKind::Alias, CallKind::AccountEvent];

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,200}") {
        for text in [text.clone(), mend(&text).into_owned()] {
            if let Ok(batch) = Batch::parse(&text) {
                batch.items().for_each(|item| drop(batch.call(item)));
            }
            for kind in KINDS {
                let _ = read(kind, &text);
            }
        }
    }

    #[test]
    fn whatever_is_accepted_is_sound(fields in prop::collection::vec((field_name(), any_json()), 0..12)) {
        let body = Value::Object(fields.into_iter().collect()).to_string();
        for kind in KINDS {
            let Ok(event) = read(kind, &body) else { continue };
            prop_assert!(event.identity().is_some());
            prop_assert!(event.timestamp <= event.received_at);
            for kept in [&event.properties, &event.traits, &event.context].into_iter().flatten() {
                prop_assert!(!kept.to_map().is_empty());
            }
            let wire = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<Event>(&wire).unwrap(), event);
        }
    }

    #[test]
    fn mended_text_is_json_that_parses(units in prop::collection::vec(any::<u16>(), 0..12)) {
        let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        let text = format!("\"{escapes}\"");
        let mended = mend(&text);
        let read: String = serde_json::from_str(&mended).unwrap();
        // The standard library's lossy decoding is the independent witness; the two non-characters go too.
        let expected = String::from_utf16_lossy(&units).replace(['\u{FFFE}', '\u{FFFF}'], "\u{FFFD}");
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn cutting_a_body_anywhere_never_panics(at in 0_usize..300) {
        let body = json!({"batch": [track(json!({"properties": {"a": "é\n", "b": [1, {"c": null}]}, "context": {"direct": true}}))], "sentAt": NOW}).to_string();
        let cut: String = body.chars().take(at).collect();
        let _ = Batch::parse(&cut).is_ok();
        let _ = Call::parse(&cut).is_ok();
    }
}
