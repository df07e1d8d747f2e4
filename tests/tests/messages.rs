//! Messages on the wire: every file under `events/messages` is read by this build and written again as it was.

use domain::{AccountId, Home, Shard, Shards, WorkspaceId};
use pipeline::{
    AccountChanged, AccountScored, AccountTouched, EventsReceived, Homes,
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
    assert_eq!(read, 6);
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

#[test]
fn a_hint_names_shards_and_an_old_one_means_all_of_them() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/messages/account-touched-shards.v1.json"));
    let hint: AccountTouched = decode(&text.unwrap()).unwrap();
    let touched: Vec<(String, Vec<u8>)> = hint
        .touched()
        .map(|(home, shards)| {
            (home.to_string(), if shards == Shards::ALL { vec![255] } else { shards.iter().map(Shard::number).collect() })
        })
        .collect();
    // 0x21 is bits 0 and 5, the highest of 64 bits is 63; the second home was touched outside of all shards, the third as a whole.
    let expected = [("a:acct_1", vec![0, 5, 63]), ("a:acct_2", vec![]), ("a:acct_3", vec![255])];
    assert_eq!(touched, expected.map(|(home, shards)| (home.to_owned(), shards)));
    let old = r#"{"type":"AccountTouched","version":1,"body":{"workspace":"main","homes":["a:acct_1"]}}"#;
    assert_eq!(decode::<AccountTouched>(old).unwrap().touched().map(|(_, shards)| shards).collect::<Vec<_>>(), [Shards::ALL]);
}

#[test]
fn hints_about_one_home_become_one_with_the_shards_of_all() {
    let workspace = WorkspaceId::new("main").unwrap();
    let home = |id: &str| Home::Account(AccountId::new(id).unwrap());
    let shards = |numbers: &[u8]| numbers.iter().filter_map(|number| Shard::new(*number)).collect::<Shards>();
    let mut homes = Homes::default();
    homes.add_shards(&workspace, home("a"), shards(&[1, 7]));
    homes.add_shards(&workspace, home("a"), shards(&[7, 9]));
    homes.add_shards(&workspace, home("b"), Shards::NONE);
    homes.add_shards(&workspace, home("c"), shards(&[2]));
    homes.add(&workspace, home("c"));
    let [hint] = <[AccountTouched; 1]>::try_from(homes.touched()).unwrap();
    assert_eq!(hint.homes, [home("a"), home("b"), home("c")]);
    assert_eq!(hint.shards, [shards(&[1, 7, 9]), Shards::NONE]);
    assert_eq!(decode::<AccountTouched>(&encode(&hint).unwrap()).unwrap(), hint);
}
