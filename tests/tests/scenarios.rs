//! Every story under `events/scenarios`: given, when, then, from the HTTP request to the transitions.

use anyhow::{Context, Result, ensure};
use domain::{Timestamp, transition::Changed};
use harpoon_tests::world::World;
use http::{Request, StatusCode};
use pipeline::{AccountChanged, Credential, CredentialKind, Credentials, Table, records::Standing};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::Path, sync::Arc};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    description: String,
    now: String,
    given: Vec<Call>,
    when: Vec<Call>,
    then: Then,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    path: String,
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    /// Every account, with what must be true of its standing.
    accounts: BTreeMap<String, Map<String, Value>>,
    /// How many leads have no account.
    unresolved: usize,
    /// Transitions that the second part must have caused; others may have happened, too.
    transitions: Vec<String>,
}

const KEY: &str = "wk_scenario";

async fn call(world: &World, calls: &[Call]) -> Result<()> {
    let entropy = Arc::new(pipeline::clock::CountingEntropy::default());
    let ingester = ingest::Ingester::new(Arc::clone(&world.store), Arc::clone(&world.to_resolve), Arc::clone(&world.clock), entropy);
    for call in calls {
        let mut body = call.body.clone();
        body.as_object_mut().context("a body is an object")?.insert("writeKey".into(), KEY.into());
        let request = Request::post(&call.path).header("content-type", "application/json").body(serde_json::to_vec(&body)?.into())?;
        let response = ingester.handle(request, None).await;
        ensure!(response.status() == StatusCode::OK, "{}: {:?}", call.path, response.body());
        // Each call is a request of its own, a moment later.
        world.clock.advance(1);
        world.settle().await?;
    }
    Ok(())
}

fn told(change: &Changed) -> String {
    let from = |from: &Option<String>| from.clone().unwrap_or_else(|| "none".into());
    match change {
        Changed::AccountLevel { from: before, to } => format!("account_level {} → {to}", from(before)),
        Changed::EngagementLevel { from: before, to } => format!("engagement_level {} → {to}", from(before)),
        Changed::LeadLevel { from: before, to, .. } => format!("lead_level {} → {to}", from(before)),
        Changed::Surge { active } => format!("surge {}", if *active { "began" } else { "ended" }),
        Changed::Grid { from, to } => format!("grid {} → {to}", from.map_or("none".into(), |cell| cell.to_string())),
        Changed::Engagement { from, to } => format!("engagement {from} → {to}"),
    }
}

async fn play(file: &Path) -> Result<()> {
    let scenario: Scenario = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    ensure!(!scenario.description.is_empty(), "a story says what it shows");
    let world = World::new();
    world.clock.set(Timestamp::parse(&scenario.now).context("`now` is a moment")?);
    let credential = Credential {
        workspace: world.workspace.clone(),
        kind: CredentialKind::WriteKey,
        name: "scenario".into(),
        created_at: world.now(),
        revoked_at: None,
    };
    Credentials::new(Arc::clone(&world.store), Arc::clone(&world.clock)).put(KEY, &credential).await?;
    call(&world, &scenario.given).await?;
    let before = transitions(&world);
    call(&world, &scenario.when).await?;
    let after = transitions(&world);
    drop(before);

    let mut accounts = BTreeMap::new();
    let mut unresolved = 0;
    for item in world.store.memory.dump() {
        let row = item.key.table == Table::Accounts && item.key.pk.contains("#V");
        if !row {
            continue;
        }
        let standing: Standing = pipeline::records::from_item(&item)?;
        if standing.merged_into.is_some() {
            continue;
        }
        match item.key.sk.strip_prefix("a:") {
            Some(account) => {
                accounts.insert(account.to_owned(), serde_json::to_value(&standing)?);
            }
            None => unresolved += usize::from(standing.total_leads > 0),
        }
    }
    let names: Vec<&String> = accounts.keys().collect();
    ensure!(names == scenario.then.accounts.keys().collect::<Vec<_>>(), "accounts are {names:?}");
    for (account, expected) in &scenario.then.accounts {
        for (field, value) in expected {
            let found = accounts.get(account).and_then(|standing| standing.get(field)).cloned().unwrap_or(Value::Null);
            ensure!(found == *value, "{account}: {field} is {found}, not {value}");
        }
    }
    ensure!(unresolved == scenario.then.unresolved, "{unresolved} leads are unresolved");
    for expected in &scenario.then.transitions {
        ensure!(after.contains(expected), "no transition `{expected}` in {after:?}");
    }
    Ok(())
}

fn transitions(world: &World) -> Vec<String> {
    let messages = world.changes().into_iter();
    let changes = messages.flat_map(|message| match message {
        AccountChanged::Transitions { changes, .. } => changes,
        AccountChanged::DeliveriesDue { .. } => Vec::new(),
    });
    changes.flat_map(|change| change.transitions).map(|transition| told(&transition.change)).collect()
}

#[tokio::test]
async fn every_scenario_ends_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4);
    for file in files {
        play(&file).await.unwrap_or_else(|e| panic!("{}: {e:#}", file.display()));
    }
}
