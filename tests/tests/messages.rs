//! Messages on the wire: every file under `events/messages` is read by this build and written again as it was.

use pipeline::{
    AccountChanged, AccountScored, AccountTouched, EventsReceived,
    messages::{Message, MessageError, decode, encode},
};
use serde_json::Value;
use std::path::Path;

fn there_and_back<M: Message>(text: &str) -> Value {
    let message: M = decode(text).unwrap();
    serde_json::from_str(&encode(&message).unwrap()).unwrap()
}

#[test]
fn messages_of_every_version_are_read_and_written_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/messages");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let as_written: Value = serde_json::from_str(&text).unwrap();
        let again = match as_written["type"].as_str().unwrap() {
            "EventsReceived" => there_and_back::<EventsReceived>(&text),
            "AccountTouched" => there_and_back::<AccountTouched>(&text),
            "AccountScored" => there_and_back::<AccountScored>(&text),
            "AccountChanged" => there_and_back::<AccountChanged>(&text),
            other => panic!("no stage reads `{other}`"),
        };
        assert_eq!(again, as_written);
        read += 1;
    }
    assert_eq!(read, 5);
}

#[test]
fn a_message_of_a_newer_build_waits_for_it() {
    let newer = r#"{"type":"AccountScored","version":2,"body":{"workspace":"main","homes":[]}}"#;
    assert!(matches!(decode::<AccountScored>(newer), Err(MessageError::Newer { got: 2 })));
}

#[test]
fn a_message_of_another_type_is_named() {
    let other = r#"{"type":"AccountScored","version":1,"body":{"workspace":"main","homes":[]}}"#;
    assert_eq!(decode::<AccountTouched>(other).unwrap_err().to_string(), "expected a AccountTouched message, got `AccountScored`");
}

#[test]
fn a_body_that_is_no_message_is_malformed() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"type":"AccountScored","version":1}"#,
        r#"{"type":"AccountScored","version":1,"body":{"workspace":"MAIN!","homes":[]}}"#,
    ] {
        assert!(matches!(decode::<AccountScored>(body), Err(MessageError::Malformed { .. })), "{body}");
    }
}
