//! A dry run over many accounts, as the job that works through it page by page: a draft of fields, a draft of events, and the same with notifications
//! of the last weeks.

use super::{columns, command, rescoring::seeded, rig::start};
use anyhow::{Context, ensure};
use domain::{
    DestinationId, RulesetId, Timestamp, TriggerId, WorkspaceId,
    ruleset::{Content, RulesetKind},
    trigger::TriggerDraft,
};
use futures::{StreamExt, TryStreamExt, stream};
use harpoon::{
    cost::load::{Load, Size},
    store::EmbeddedStore,
};
use harpoon_tests::bench::{Report, argument};
use pipeline::{
    Clock, Condition, Item, ManualClock, Store, Table, Write,
    clock::CountingEntropy,
    jobs::{JobKind, JobRecord, JobState, Jobs, new_job_id},
    memory::{MemoryQueue, MemoryStore},
    notify::Triggers,
    rulesets::{Rulesets, Subject},
};
use rescore::jobs::JobRunner;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const LEADS: usize = 3;
/// Accounts that go through the pipeline together before their items are taken over.
const AT_ONCE: usize = 2_000;

/// What is tried.
struct Draft {
    name: &'static str,
    kind: RulesetKind,
    id: &'static str,
    window_days: u32,
}

const DRAFTS: [Draft; 3] = [
    Draft { name: "account rules", kind: RulesetKind::Account, id: "enterprise-b2b-saas", window_days: 0 },
    Draft { name: "engagement rules", kind: RulesetKind::Engagement, id: "default", window_days: 0 },
    Draft { name: "engagement rules, and what 28 days would have told", kind: RulesetKind::Engagement, id: "default", window_days: 28 },
];

pub fn run() -> anyhow::Result<()> {
    let accounts: usize = argument("accounts", 20_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let memory = Arc::new(MemoryStore::default());
    let dir = tempfile::tempdir()?;
    let (embedded, store) = runtime.block_on(EmbeddedStore::open(&dir.path().join("harpoon.db"), "harpoon-"))?;
    let now = runtime.block_on(seed(&memory, &store, accounts))?;
    let mut rows = Vec::new();
    for (draft, minute) in DRAFTS.iter().zip(1..) {
        // Jobs of one moment would have one id.
        let now = now.plus_millis(minute * 60_000);
        rows.push(measured("memory", draft, accounts, runtime.block_on(tried(&memory, draft, now))?));
        rows.push(measured("the embedded store", draft, accounts, runtime.block_on(tried(&store, draft, now))?));
    }
    let report = Report {
        title: "Dry run of a draft over all accounts".into(),
        data: format!("{accounts} accounts of {LEADS} leads that were active on 10 days; two triggers"),
        command: command(&format!("dry-run --accounts {accounts}")),
        columns: columns(["draft", "store", "seconds", "accounts per second", "accounts that change"]),
        rows,
        notes: vec![
            "From the start of the job to its result, with every change listed; one worker, nothing is written but the job.".into(),
        ],
    };
    println!("{report}");
    drop((memory, store));
    runtime.block_on(async { tokio::task::spawn_blocking(move || drop(embedded)).await })?;
    Ok(())
}

fn measured(place: &str, draft: &Draft, accounts: usize, (took, result): (Duration, Value)) -> Vec<String> {
    vec![
        draft.name.to_owned(),
        place.to_owned(),
        format!("{:.1}", took.as_secs_f64()),
        format!("{:.0}", accounts as f64 / took.as_secs_f64()),
        result["changed"].to_string(),
    ]
}

/// Lets accounts live through the pipeline, some at a time, and puts what is stored of them into both stores. Answers the moment of the dry runs.
async fn seed<S: Store + Clone>(memory: &Arc<MemoryStore>, store: &S, accounts: usize) -> anyhow::Result<Timestamp> {
    let mut load = Load::new(Size { seed: 17, accounts, leads_per_account: LEADS, event_bytes: 640 });
    for from in (0..accounts).step_by(AT_ONCE) {
        let range = from..(from + AT_ONCE).min(accounts);
        // The rig has a runtime of its own.
        let items = tokio::task::block_in_place(|| seeded(&mut load, range, LEADS).map(|rig| rig.store.dump()))?;
        let wanted: Vec<Item> = items.into_iter().filter(|item| item.key.table == Table::Accounts).collect();
        let writes: Vec<Vec<Write>> =
            wanted.chunks(100).map(|items| items.iter().map(|item| Write::Put(item.clone(), Condition::Always)).collect()).collect();
        for writes in &writes {
            memory.transact(writes.clone()).await?;
        }
        stream::iter(writes).map(|writes| store.transact(writes)).buffer_unordered(2).try_collect::<Vec<()>>().await?;
    }
    Ok(start()?.plus_millis(600_000))
}

/// Runs the job from its start to its end.
async fn tried<S: Store + Clone>(store: &S, draft: &Draft, now: Timestamp) -> anyhow::Result<(Duration, Value)> {
    let (workspace, clock) = (WorkspaceId::new("main")?, Arc::new(ManualClock::at(now)));
    let rulesets = Rulesets::new(store.clone(), Arc::clone(&clock));
    let id = RulesetId::new(draft.id)?;
    let ruleset = rulesets.find(&workspace, draft.kind, &id).await?.context("the built-in ruleset")?;
    let mut content = ruleset.content.context("its content")?;
    match &mut content {
        Content::Account(fit) => fit.rules.iter_mut().for_each(|rule| rule.points += 15),
        Content::Engagement(demand) => demand.rules.iter_mut().for_each(|rule| rule.points *= 2),
        Content::Levels(_) => {}
    }
    let ruleset = rulesets.put_draft(&workspace, draft.kind, &id, content, "bench", None).await?;
    for (n, level, of) in [(1, "target", "account"), (2, "hot", "engagement")] {
        let trigger = json!({ "name": level, "when": { "kind": "level_entered", "level": level, "of": of }, "destinations": [DestinationId::new("dst_1")?] });
        let trigger = TriggerDraft::read(&trigger).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let trigger = trigger.start(TriggerId::new(&format!("trg_{n}"))?, now);
        // It is there already for the second draft.
        let _ = Triggers::new(store.clone(), Arc::clone(&clock)).put_new(&workspace, trigger).await;
    }
    let jobs = Jobs::new(store.clone(), Arc::clone(&clock));
    let of = Subject { kind: draft.kind, id };
    let kind = JobKind::DryRun { of, revision: Some(ruleset.revision()), as_primary: false, window_days: draft.window_days };
    let job = JobRecord::new(new_job_id(&CountingEntropy::default(), clock.now())?, kind, "bench", clock.now());
    let runner = JobRunner::new(store.clone(), Arc::new(MemoryQueue::default()), Arc::clone(&clock));
    jobs.start(&workspace, &job).await?;
    let began = Instant::now();
    while runner.round().await.context("a chunk failed")? > 0 {}
    let took = began.elapsed();
    let done = jobs.find(&workspace, &job.id).await?.context("the job")?.record;
    ensure!(done.state == JobState::Done, "the job is {:?}", done.state);
    Ok((took, done.result.context("a result")?))
}
