//! Messages on the wire: every file under `events/messages` is read by this build, worked on, and written again as it was. The files stand for the
//! messages that wait in the queues of a deployment while it is upgraded, so none is ever changed: a new form is a new file.

use aws::{MemoryDeadQueue, SqsRecord, handle_sqs, sqs_event};
use dispatch::{Dispatcher, FakeTransport, ModelDirectory, Settings};
use domain::{AccountId, Home, Shard, Shards, Timestamp, WorkspaceId};
use harpoon_tests::{hooked::Flaky, world::World};
use pipeline::{
    AccountChanged, AccountScored, AccountTouched, EventsReceived, Homes, Queue, Stage,
    messages::{MESSAGE_VERSION, Message, MessageError, decode, encode},
    secrets::FileKeySecrets,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Every file with the SHA-256 digest that it was added with. Lines are only ever added.
const FILES: [(&str, &str); 6] = [
    ("account-changed.v1.json", "8110115cecedd18ef05e06032fdd0adfce72a2e4c0f44c08a72b1bfd51ed73b7"),
    ("account-scored.v1.json", "932dfdf04c8254cbceff54f1010df6ad24eb4d02fd2d16b03314d29c56eac5bf"),
    ("account-touched-shards.v1.json", "7dccddf65056973694f6f0353d07096283aac8effcd79e88cc93fb93f41689f5"),
    ("account-touched.v1.json", "fc83bc115677224b295e920cec079cf328dc64a2e0c5a7fb5a95c37162a876b5"),
    ("deliveries-due.v1.json", "f263a387a3a703316e21c96bbdc078704487e1bcea04a40e49d70b1cad507fd7"),
    ("events-received.v1.json", "93bd5e6d6490609099130ce08e63e3b13fabff0eb8f2d171d5ef72fd1c67b3fd"),
];

/// The files by name, with the version that each name tells.
fn files() -> BTreeMap<String, (u32, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/messages");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (_, version) = name.strip_suffix(".json").unwrap().rsplit_once(".v").unwrap();
        let version = version.parse().unwrap();
        (name, (version, std::fs::read_to_string(path).unwrap()))
    };
    std::fs::read_dir(folder).unwrap().map(read).collect()
}

fn there_and_back<M: Message>(text: &str) -> Value {
    let message: M = decode(text).unwrap();
    serde_json::from_str(&encode(&message).unwrap()).unwrap()
}

#[test]
fn messages_of_every_version_are_read_and_written_again() {
    for (name, (version, text)) in files() {
        let as_written: Value = serde_json::from_str(&text).unwrap();
        let again = match as_written["type"].as_str().unwrap() {
            "EventsReceived" => there_and_back::<EventsReceived>(&text),
            "AccountTouched" => there_and_back::<AccountTouched>(&text),
            "AccountScored" => there_and_back::<AccountScored>(&text),
            "AccountChanged" => there_and_back::<AccountChanged>(&text),
            other => panic!("no stage reads `{other}`"),
        };
        assert_eq!(as_written["version"], version, "{name}");
        assert!(version <= MESSAGE_VERSION, "{name}");
        // An older form is read, and written in the present one.
        if version == MESSAGE_VERSION {
            assert_eq!(again, as_written, "{name}");
        }
    }
}

#[test]
fn no_message_file_is_ever_changed_or_removed() {
    let digest = |text: &str| hex::encode(Sha256::digest(text.as_bytes()));
    let present: BTreeMap<String, String> = files().into_iter().map(|(name, (_, text))| (name, digest(&text))).collect();
    let kept: BTreeMap<String, String> = FILES.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
    assert_eq!(present, kept, "messages of this form may wait in queues: add a file for a new form, and its line here");
}

/// Gives a stage one message as its queue would.
async fn work_on<S: Stage>(stage: &S, own: &Arc<Flaky>, name: &str, text: &str)
where
    Arc<Flaky>: Queue<S::Input>,
{
    let dead = MemoryDeadQueue::default();
    let sent_at = Timestamp::default();
    let record = SqsRecord { message_id: name.to_owned(), receipt: name.to_owned(), body: text.to_owned(), receive_count: 1, sent_at };
    let response = handle_sqs(stage, sqs_event(S::NAME, [record]), own, &dead).await;
    assert!(response.batch_item_failures.is_empty(), "{} did not do {name}", S::NAME);
    assert_eq!(dead.parked(), [], "{} parked {name}", S::NAME);
}

#[tokio::test]
async fn messages_that_wait_during_an_upgrade_are_worked_on_once_and_again() {
    let world = World::new();
    world.clock.set(Timestamp::from_millis(1_742_299_201_000));
    let (store, clock) = (Arc::clone(&world.store), Arc::clone(&world.clock));
    let directory = ModelDirectory::new(Arc::clone(&store), Arc::clone(&clock));
    let settings = Settings::new("http://127.0.0.1:8787".parse().unwrap());
    let dispatcher = Dispatcher::new(store, clock, FileKeySecrets::new(&[9; 32]), FakeTransport::default(), directory, settings);
    for _ in 0..2 {
        for (name, (_, text)) in files() {
            let body: Value = serde_json::from_str(&text).unwrap();
            match body["type"].as_str().unwrap() {
                "EventsReceived" => work_on(&world.resolver, &world.to_resolve, &name, &text).await,
                "AccountTouched" => work_on(&world.scorer, &world.to_score, &name, &text).await,
                "AccountScored" => work_on(&world.leveler, &world.to_level, &name, &text).await,
                "AccountChanged" => work_on(&dispatcher, &world.to_dispatch, &name, &text).await,
                other => panic!("no stage reads `{other}`"),
            }
        }
    }
    // The events of the file reached score, for the account that they name.
    let touched = world.to_score.memory.take_bodies().join("\n");
    assert!(touched.contains("a:acct_1"), "{touched}");
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
