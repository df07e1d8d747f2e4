//! Scoring everything again: a million accounts in memory, and many in the embedded store.

use super::{
    columns, command,
    rig::{Rig, start},
};
use anyhow::{Context, ensure};
use domain::{AccountId, DAY_MS, Home, model::default_model};
use futures::{StreamExt, TryStreamExt, stream};
use harpoon::{
    cost::{
        counted::Pace,
        load::{Load, Size, Who},
    },
    store::EmbeddedStore,
};
use harpoon_tests::bench::{Contestant, Report, alternate, argument, thread_time};
use pipeline::{
    AccountScored, AccountTouched, Body, Condition, Consistency, Item, Key, ManualClock, Outcome, Received, Stage, Store, Table, Write,
    clock::CountingEntropy,
    homes::{Gathered, HomeStore},
    memory::MemoryQueue,
    state_body,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const LEADS: usize = 3;
const EVENTS: usize = 20;
const DAYS: usize = 10;
const SEED: u64 = 11;

fn size(accounts: usize) -> Size {
    Size { seed: SEED, accounts, leads_per_account: LEADS, event_bytes: 640 }
}

/// A pipeline in memory through which these accounts went.
pub fn seeded(load: &mut Load, accounts: std::ops::Range<usize>, leads: usize) -> anyhow::Result<Rig> {
    let mut rig = Rig::new(start()?, &Pace::Real)?;
    // First those who say what the accounts are, so that the others find them.
    for lead in 0..leads {
        for account in accounts.clone() {
            rig.introduce(load, Who { account, lead }, EVENTS, DAYS)?;
            if account % 200 == 199 {
                rig.settle()?;
            }
        }
        rig.settle()?;
    }
    Ok(rig)
}

fn home(account: usize) -> anyhow::Result<Home> {
    Ok(Home::Account(AccountId::new(&format!("acct-{account:05}"))?))
}

pub fn run() -> anyhow::Result<()> {
    in_memory(argument("evaluations", 200_000), argument("pool", 2_000))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(in_the_store(argument("accounts", 20_000)))
}

fn in_memory(evaluations: usize, pool: usize) -> anyhow::Result<()> {
    let rig = seeded(&mut Load::new(size(pool)), 0..pool, LEADS)?;
    let homes = HomeStore::new(Arc::clone(&rig.store));
    let mut accounts: Vec<(Home, Gathered, Vec<Vec<u8>>)> = Vec::with_capacity(pool);
    for account in 0..pool {
        let home = home(account)?;
        let gathered = rig.run(homes.gather(&rig.workspace, &home, Consistency::Strong))??;
        ensure!(gathered.identities() == LEADS, "{home} has {} leads", gathered.identities());
        let stored = gathered.own.states.iter().map(|stored| state_body::encode(&stored.state)).collect::<Result<_, _>>()?;
        accounts.push((home, gathered, stored));
    }
    let now = rig.now().plus_millis(DAY_MS);
    let model = default_model().map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let per_run = evaluations.div_ceil(5);
    let evaluate = |decode: bool| -> anyhow::Result<f64> {
        let began = thread_time();
        for (home, gathered, stored) in accounts.iter().cycle().take(per_run) {
            if decode {
                for bytes in stored {
                    std::hint::black_box(state_body::decode(bytes)?);
                }
            }
            std::hint::black_box(score::record::compute(home, gathered, model, now.day(), now));
        }
        Ok(per_run as f64 / (thread_time() - began).as_secs_f64())
    };
    let mut contestants: [Contestant<'_>; 2] =
        [("states at hand", Box::new(|| evaluate(false))), ("states decoded from their stored bytes", Box::new(|| evaluate(true)))];
    let series = alternate(5, &mut contestants)?;
    let bytes: usize = accounts.iter().flat_map(|(_, _, stored)| stored).map(Vec::len).sum();
    let rows = contestants.iter().zip(&series).map(|((name, _), series)| {
        vec![(*name).to_owned(), series.to_string(), format!("{:.1}", 1e6 / series.median()), format!("{:.0} s", 1e6 / series.median())]
    });
    let report = Report {
        title: "Rescoring a million accounts in memory".into(),
        data: format!(
            "{evaluations} evaluations of {pool} distinct accounts with {LEADS} leads, {EVENTS} events on {DAYS} days each, {} stored bytes a lead; account, engagement, surge, reasons and the whole record",
            bytes / (pool * LEADS).max(1)
        ),
        command: command(&format!("rescoring --evaluations {evaluations} --pool {pool}")),
        columns: columns(["from", "accounts per second per core", "µs an account", "a million on one core"]),
        rows: rows.collect(),
        notes: Vec::new(),
    };
    println!("{report}");
    Ok(())
}

/// Items of about 1 KB a second that the store takes, 16 at a time.
pub async fn ceiling<S: Store + Clone>(store: &S, round: usize, items: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    let puts = stream::iter(0..items).map(|n| {
        let key = Key::new(Table::Deliveries, format!("ceiling#{round}#{n}"), "x");
        // Not of one letter, as a store that packs would like.
        let text: String = (0..64).map(|i| format!("{:016x}", domain::hash64(&[&n.to_le_bytes(), &[i]]))).collect();
        store.write(Write::Put(Item { key, version: 1, body: Body::Text(text), expires_at: None }, Condition::Always))
    });
    puts.buffer_unordered(16).try_collect::<Vec<()>>().await?;
    Ok(items as f64 / began.elapsed().as_secs_f64())
}

async fn invocations<S: Stage>(stage: &S, messages: Vec<S::Input>) -> anyhow::Result<()>
where
    S::Input: Clone,
{
    let batches: Vec<Vec<S::Input>> = messages.chunks(5).map(<[S::Input]>::to_vec).collect();
    let outcomes: Vec<Vec<Outcome<S::Input>>> = stream::iter(batches)
        .map(|batch| stage.handle(batch.into_iter().map(Received::first).collect()))
        .buffer_unordered(4)
        .collect()
        .await;
    ensure!(outcomes.iter().flatten().all(|outcome| matches!(outcome, Outcome::Done)), "{} failed", S::NAME);
    Ok(())
}

async fn in_the_store(accounts: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (embedded, store) = EmbeddedStore::open(&dir.path().join("harpoon.db"), "harpoon-").await?;
    let midnight = start()?.day().plus(1).start().plus_millis(60_000);
    let mut load = Load::new(size(accounts));
    let mut stored = 0_usize;
    for from in (0..accounts).step_by(2_000) {
        let rig = seeded(&mut load, from..(from + 2_000).min(accounts), LEADS)?;
        // What moves left due as a precaution is long served by midnight.
        let early = format!("{:015}", midnight.plus_millis(-3_600_000).millis());
        let wanted = |item: &Item| item.key.table == Table::Accounts && !(item.key.pk.starts_with("DUE#") && item.key.sk < early);
        let items: Vec<Item> = rig.store.dump().into_iter().filter(wanted).collect();
        stored += items.len();
        let writes: Vec<Vec<Write>> =
            items.chunks(100).map(|items| items.iter().map(|item| Write::Put(item.clone(), Condition::Always)).collect()).collect();
        stream::iter(writes).map(|writes| store.transact(writes)).buffer_unordered(2).try_collect::<Vec<()>>().await?;
    }
    let clock = Arc::new(ManualClock::at(midnight));
    let (to_score, to_level, to_dispatch) =
        (Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()), Arc::new(MemoryQueue::default()));
    let counts: Arc<BTreeMap<&str, AtomicU64>> = Arc::new(["rescore", "score", "level"].map(|stage| (stage, AtomicU64::new(0))).into());
    let metered = |stage: &'static str| {
        let counts = Arc::clone(&counts);
        store.clone().metered(Arc::new(move |_| {
            if let Some(count) = counts.get(stage) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }))
    };
    let rescorer = rescore::Rescorer::new(metered("rescore"), Arc::clone(&to_score), Arc::clone(&to_dispatch), Arc::clone(&clock));
    let scorer = score::Scorer::new(metered("score"), Arc::clone(&to_level), Arc::clone(&clock));
    let leveler = level::Leveler::new(metered("level"), Arc::clone(&to_dispatch), Arc::clone(&clock), CountingEntropy::default());

    let before = ceiling(&store, 0, 4_000).await?;
    let began = Instant::now();
    let mut due = 0;
    loop {
        let enqueued = rescorer.run().await.context("rescore failed")?.accounts;
        if enqueued == 0 {
            break;
        }
        due += enqueued;
    }
    let rescored = began.elapsed();
    invocations(&scorer, to_score.take::<AccountTouched>()).await?;
    let scored = began.elapsed();
    invocations(&leveler, to_level.take::<AccountScored>()).await?;
    let whole = began.elapsed();
    let after = ceiling(&store, 1, 4_000).await?;
    // A few show the same score tomorrow as today.
    ensure!(due * 100 >= accounts * 99, "only {due} of {accounts} accounts were due");
    let operations = |stage: &str| counts.get(stage).map_or(0, |count| count.load(Ordering::Relaxed)) as f64;
    let spans = [("rescore", rescored), ("score", scored - rescored), ("level", whole - scored)];
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut all = 0.0;
    let top = (before + after) / 2.0;
    let mut row = |name: &str, seconds: f64, operations: f64| {
        rows.push(vec![
            name.to_owned(),
            format!("{:.0}", accounts as f64 / seconds),
            format!("{:.2}", operations / accounts as f64),
            format!("{:.0}", operations / seconds),
            format!("{:.2}", operations / seconds / top),
        ]);
    };
    for (name, span) in spans {
        all += operations(name);
        row(name, span.as_secs_f64(), operations(name));
    }
    row("all", whole.as_secs_f64(), all);
    let report = Report {
        title: "Rescoring the accounts of an embedded store".into(),
        data: format!(
            "{accounts} accounts of {LEADS} leads ({stored} items of the accounts table) at the midnight after: rescore, score and level one after the other, four invocations at a time"
        ),
        command: command(&format!("rescoring --accounts {accounts}")),
        columns: columns([
            "stage",
            "accounts per second",
            "store requests an account",
            "store requests per second",
            "against single puts of 1 KB",
        ]),
        rows,
        notes: vec![format!(
            "{accounts} accounts ({due} due items) in {:.1} s, {:.0} accounts per second. The store itself took {before:.0} puts of 1 KB per second before and {after:.0} after, 16 at a time.",
            whole.as_secs_f64(),
            accounts as f64 / whole.as_secs_f64()
        )],
    };
    println!("{report}");
    drop((rescorer, scorer, leveler, store));
    tokio::task::spawn_blocking(move || drop(embedded)).await?;
    Ok(())
}
