//! Every file of `events/inbound` and `events/invalid` gets the answer that it promises.

use super::*;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(name)
}

fn files(name: &str) -> Vec<(String, Value)> {
    let mut files: Vec<_> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_name().unwrap().to_string_lossy().into_owned(), value)
    };
    files.into_iter().map(read).collect()
}

/// `{"repeat": …, "times": n}` is a text n times over, or a list of n copies.
fn expanded(value: &Value) -> Value {
    match value {
        Value::Object(map) => match (map.get("repeat"), map.get("times").and_then(Value::as_u64), map.len()) {
            (Some(Value::String(text)), Some(times), 2) => Value::String(text.repeat(times as usize)),
            (Some(element), Some(times), 2) => Value::Array(vec![expanded(element); times as usize]),
            _ => Value::Object(map.iter().map(|(key, value)| (key.clone(), expanded(value))).collect()),
        },
        Value::Array(list) => Value::Array(list.iter().map(expanded).collect()),
        other => other.clone(),
    }
}

fn text(value: &Value) -> String {
    match expanded(value) {
        Value::String(text) => text,
        Value::Array(pieces) => pieces.iter().map(text).collect(),
        other => panic!("raw must be a text or a list of texts, got {other}"),
    }
}

fn body(request: &Value) -> Vec<u8> {
    let mut bytes = if let Some(body) = request.get("body") {
        expanded(body).to_string().into_bytes()
    } else if let Some(raw) = request.get("raw") {
        text(raw).into_bytes()
    } else if let Some(encoded) = request.get("base64") {
        base64::engine::general_purpose::STANDARD.decode(text(encoded)).unwrap()
    } else {
        Vec::new()
    };
    if request["gzip"] == json!(true) {
        bytes = gzip(&bytes);
    }
    if let Some(cut) = request["cut"].as_u64() {
        bytes.truncate(cut as usize);
    }
    bytes
}

fn request(request: &Value) -> Request<Bytes> {
    let mut built = Request::builder().method(request["method"].as_str().unwrap_or("POST")).uri(request["path"].as_str().unwrap());
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        built = built.header(name, value.as_str().unwrap());
    }
    built.body(body(request).into()).unwrap()
}

/// Whether everything that `expected` says is true of `found`; `null` expects an absent member.
fn agrees(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(key, value)| agrees(value, found.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| agrees(expected, found))
        }
        _ => expected == found,
    }
}

async fn answer(world: &World, file: &str, described: &Value) -> Response<Bytes> {
    assert!(described["description"].as_str().is_some_and(|text| !text.is_empty()), "{file} has a description");
    world.clock.set(moment(described["received_at"].as_str().unwrap_or(NOW)));
    let peer = described["peer"].as_str().unwrap_or("203.0.113.7").parse().unwrap();
    let answer = world.ingester.handle(request(&described["request"]), Some(peer)).await;
    let expected = &described["response"];
    let shown = String::from_utf8_lossy(answer.body());
    assert_eq!(answer.status().as_u16(), expected["status"].as_u64().unwrap() as u16, "{file}: {shown}");
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        assert_eq!(answer.headers().get(name).and_then(|found| found.to_str().ok()), value.as_str(), "{file}: {name}");
    }
    if let Some(body) = expected.get("body") {
        assert!(agrees(body, &parsed(&answer)), "{file}: expected {body}, got {shown}");
    }
    answer
}

#[tokio::test]
async fn every_inbound_file_is_taken_as_it_says() {
    let found = files("inbound");
    assert!(found.len() >= 12, "{} files", found.len());
    for (file, described) in found {
        let world = world().await;
        answer(&world, &file, &described).await;
        let queued = world.queued();
        let events: Vec<Value> = events(&queued).iter().map(|event| serde_json::to_value(event).unwrap()).collect();
        let expected = described["events"].as_array().unwrap_or_else(|| panic!("{file} lists its events"));
        assert_eq!(events.len(), expected.len(), "{file}");
        for (expected, found) in expected.iter().zip(&events) {
            assert!(agrees(expected, found), "{file}: expected {expected}, got {found}");
        }
        let rejected: Vec<Value> =
            queued.iter().flat_map(|message| &message.rejected).map(|item| serde_json::to_value(item).unwrap()).collect();
        let expected = described.get("rejected").cloned().unwrap_or(json!([]));
        assert!(agrees(&expected, &Value::Array(rejected.clone())), "{file}: expected {expected}, got {rejected:?}");
    }
}

#[tokio::test]
async fn every_invalid_file_is_refused_and_changes_nothing() {
    let found = files("invalid");
    assert!(found.len() >= 20, "{} files", found.len());
    let world = world().await;
    let before = world.store.dump();
    for (file, described) in found {
        let answer = answer(&world, &file, &described).await;
        assert!(answer.status().is_client_error(), "{file}");
        assert!(answer.body().len() < 1_000, "{file}: an error is short");
        assert!(world.queue.is_empty(), "{file}: the queue is unchanged");
        assert_eq!(world.store.dump(), before, "{file}: the store is unchanged");
    }
}
