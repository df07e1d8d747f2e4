//! The accounts list at many accounts: every filter and every sort.

use super::{columns, command, rescoring::seeded};
use anyhow::{Context, ensure};
use bytes::Bytes;
use domain::{AccountId, BatchId, Home, Timestamp, WorkspaceId};
use futures::{StreamExt, TryStreamExt, stream};
use harpoon::{
    cost::load::{Load, Size},
    store::EmbeddedStore,
};
use harpoon_tests::bench::{Dice, Report, Series, argument};
use pipeline::{
    Clock, Condition, Consistency, Credential, CredentialKind, Credentials, Item, ManualClock, Store, Write,
    homes::{HomeStore, put_record},
    memory::{MemoryQueue, MemoryStore},
    records::{JournalEntry, SCORE, ScoreRecord, Standing, home_key, journal_key, standing_key, text},
    secrets::FileKeySecrets,
};
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use tokio::runtime::Runtime;

const TOKEN: &str = "at_bench";
/// Accounts that changed between two requests.
const CHANGED: usize = 100;
/// Distinct accounts whose records are dealt out.
const PATTERNS: usize = 500;

/// Bytes that the process holds in memory.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096.0 / 1e6
}

struct Seed {
    workspace: WorkspaceId,
    patterns: Vec<(Standing, ScoreRecord)>,
    dice: Dice,
    now: Timestamp,
}

const OWNERS: [&str; 12] = ["amal", "bea", "chen", "dana", "eun", "femi", "gita", "hugo", "ines", "jun", "kofi", "lena"];
const WORDS: [&str; 16] = [
    "Quarry", "Loom", "Mill", "Harbour", "Cinder", "Willow", "Copper", "Juniper", "Saddle", "Lantern", "Meadow", "Flint", "Orchard",
    "Thimble", "Anchor", "Birch",
];

impl Seed {
    fn home(n: usize) -> anyhow::Result<Home> {
        Ok(Home::Account(AccountId::new(&format!("company-{n:06}.com"))?))
    }

    /// A standing that differs from its pattern in what lists filter and sort by.
    fn standing(&mut self, n: usize) -> anyhow::Result<(Standing, ScoreRecord)> {
        let dice = &mut self.dice;
        let (mut standing, mut score) = self.patterns.get(n % PATTERNS).cloned().context("no pattern")?;
        let pick = |dice: &mut Dice, choices: &[&str]| Some((*dice.pick(choices)).to_owned());
        standing.level = pick(dice, &["target", "high", "medium", "low"]);
        standing.engagement_level = pick(dice, &["hot", "warm", "cold"]);
        standing.surge = dice.chance(4);
        standing.account_score = i32::try_from(dice.below(150))?;
        standing.engagement = i64::try_from(dice.below(400))?;
        standing.owner = dice.chance(70).then(|| pick(dice, &OWNERS)).flatten();
        standing.tier = dice.chance(20).then(|| pick(dice, &["1:1", "1:few", "1:many"])).flatten();
        standing.last_activity_at = Some(self.now.plus_millis(-i64::try_from(dice.below(90 * 86_400_000))?));
        let name = format!("{} {} {} {n}", dice.pick(&WORDS), dice.pick(&WORDS), ["Works", "Group", "Partners"][n % 3]);
        standing.domain = Some(format!("company-{n:06}.com"));
        (score.name, score.domain) = (Some(name.clone()), standing.domain.clone());
        standing.name = Some(name);
        Ok((standing, score))
    }
}

pub fn run() -> anyhow::Result<()> {
    let accounts: usize = argument("list-accounts", 100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    measure(&Arc::new(MemoryStore::default()), "a store in memory", accounts, argument("rounds", 10), &runtime)?;
    let dir = tempfile::tempdir()?;
    let (embedded, store) = runtime.block_on(EmbeddedStore::open(&dir.path().join("harpoon.db"), "harpoon-"))?;
    measure(&store, "the embedded store of one machine", accounts, argument("embedded-rounds", 2), &runtime)?;
    drop((store, embedded));
    Ok(())
}

/// Writes many items that are not there yet.
fn put_all<S: Store>(store: &S, writes: Vec<Write>, runtime: &Runtime) -> anyhow::Result<()> {
    let chunks = writes.chunks(100).map(<[Write]>::to_vec);
    let puts = stream::iter(chunks).map(|writes| store.transact(writes)).buffer_unordered(2);
    Ok(runtime.block_on(puts.try_collect::<Vec<()>>()).map(drop)?)
}

fn measure<S: Store + Clone>(store: &S, place: &str, accounts: usize, rounds: usize, runtime: &Runtime) -> anyhow::Result<()> {
    let rig = seeded(&mut Load::new(Size { seed: 5, accounts: PATTERNS, leads_per_account: 1, event_bytes: 640 }), 0..PATTERNS, 1)?;
    let (now, workspace, homes) = (rig.now(), rig.workspace.clone(), HomeStore::new(Arc::clone(&rig.store)));
    let mut patterns = Vec::new();
    for n in 0..PATTERNS {
        let home = Home::Account(AccountId::new(&format!("acct-{n:05}"))?);
        let standing = runtime.block_on(homes.standing(&workspace, &home, Consistency::Strong))?.context("no standing")?;
        let score = runtime.block_on(homes.score(&workspace, &home, Consistency::Strong))?.context("no score")?;
        patterns.push((standing.record, score.record));
    }
    drop((rig, homes));

    let clock = Arc::new(ManualClock::at(now));
    let mut seed = Seed { workspace: workspace.clone(), patterns, dice: Dice(3), now };
    for from in (0..accounts).step_by(2_000) {
        let mut writes = Vec::new();
        for n in from..(from + 2_000).min(accounts) {
            let ((standing, score), home) = (seed.standing(n)?, Seed::home(n)?);
            writes.push(put_record(standing_key(&workspace, &home), 0, &standing)?);
            writes.push(put_record(home_key(&workspace, &home, SCORE), 0, &score)?);
        }
        put_all(store, writes, runtime)?;
    }
    let credential = Credential {
        workspace: workspace.clone(),
        kind: CredentialKind::ApiToken,
        name: "bench".into(),
        created_at: now,
        revoked_at: None,
    };
    runtime.block_on(Credentials::new(store.clone(), Arc::clone(&clock)).put(TOKEN, &credential))?;
    let api = api::Api::new(store.clone(), FileKeySecrets::new(&[7; 32]), Arc::clone(&clock), Arc::new(MemoryQueue::default()));
    let router = api::router(api);
    let ask = |query: &str| -> anyhow::Result<(f64, Bytes)> {
        let request =
            http::Request::get(format!("/api/v1/accounts?{query}")).header("authorization", format!("Bearer {TOKEN}")).body(Bytes::new())?;
        let began = Instant::now();
        let answer = runtime.block_on(api::answer(router.clone(), request));
        let took = began.elapsed().as_secs_f64() * 1e3;
        ensure!(answer.status().is_success(), "{query} answered {}: {:?}", answer.status(), answer.body());
        Ok((took, answer.into_body()))
    };

    let before = resident();
    let (cold, _) = ask("limit=50")?;
    let held = resident() - before;
    let filters = [
        "",
        "level=target",
        "engagement_level=hot",
        "surging=true",
        "owner=dana",
        "tier=1:1",
        "search=thimble",
        "search=company-054321",
        "search=nothing-has-this-name",
        "level=target&engagement_level=hot&surging=true&owner=dana",
    ];
    let sorts = ["priority", "activity", "account_score", "engagement", "name"];
    let mut rows = Vec::new();
    let mut worst: f64 = 0.0;
    for (way, changed) in [("nothing changed since the last request", 0), ("100 accounts changed before each request", CHANGED)] {
        let mut all = Vec::new();
        for sort in sorts {
            let mut taken = Vec::new();
            for filter in filters {
                for order in ["asc", "desc"] {
                    for limit in ["50", "200"] {
                        let query = format!("{filter}&sort={sort}&order={order}&limit={limit}");
                        let query = query.trim_start_matches('&');
                        let mut cursor: Option<String> = None;
                        for _ in 0..rounds {
                            clock.advance(1_000);
                            if changed > 0 {
                                touch(store, &mut seed, runtime, accounts, changed, &clock)?;
                            }
                            let page = cursor.as_ref().map_or_else(|| query.to_owned(), |cursor| format!("{query}&cursor={cursor}"));
                            let (took, body) = ask(&page)?;
                            let answer: serde_json::Value = serde_json::from_slice(&body)?;
                            cursor = answer["next_cursor"].as_str().map(str::to_owned);
                            taken.push(took);
                        }
                    }
                }
            }
            rows.push(line(&format!("sort by {sort}, {way}"), &mut taken));
            all.extend(taken);
        }
        let mut each = all;
        rows.push(line(&format!("**all, {way}**"), &mut each));
        worst = worst.max(percentile(&each, 95));
    }
    let mut loads = Series::default();
    for _ in 0..3 {
        clock.advance(4_000_000);
        loads.push(ask("limit=50")?.0);
    }
    let report = Report {
        title: format!("The accounts list over {place}"),
        data: format!(
            "{accounts} accounts; {} filters × {} sorts × 2 orders × pages of 50 and 200, {rounds} pages one after the other; the request as a function gets it, to the whole answer",
            filters.len(),
            sorts.len()
        ),
        command: command(&format!(
            "lists --list-accounts {accounts} --{}rounds {rounds}",
            if place.contains("embedded") { "embedded-" } else { "" }
        )),
        columns: columns(["requests", "number", "median, ms", "95th percentile, ms", "99th percentile, ms", "slowest, ms"]),
        rows,
        notes: vec![
            format!("95th percentile: {worst:.1} ms (at most 300 are asked for, 100 aimed at)."),
            format!(
                "The first request, which reads all standings: {cold:.0} ms. Reading them anew, once an hour: {loads} ms. The rows take {held:.0} MB of memory, {:.0} bytes an account.",
                held * 1e6 / accounts as f64
            ),
        ],
    };
    println!("{report}");
    Ok(())
}

/// Changes the standings of some accounts and says so in the journal, as level does.
fn touch<S: Store>(
    store: &S,
    seed: &mut Seed,
    runtime: &Runtime,
    accounts: usize,
    changed: usize,
    clock: &ManualClock,
) -> anyhow::Result<()> {
    let now = clock.now();
    let chosen: BTreeSet<u64> = (0..changed).map(|_| seed.dice.below(accounts as u64)).collect();
    let (mut homes, mut writes) = (Vec::new(), Vec::new());
    for n in chosen {
        let n = usize::try_from(n)?;
        let (home, (mut standing, _)) = (Seed::home(n)?, seed.standing(n)?);
        standing.last_activity_at = Some(now);
        let mut write = put_record(standing_key(&seed.workspace, &home), seed.dice.below(1 << 40), &standing)?;
        if let Write::Put(_, condition) = &mut write {
            *condition = Condition::Always;
        }
        writes.push(write);
        homes.push(home);
    }
    put_all(store, writes, runtime)?;
    let key = journal_key(&seed.workspace, BatchId::new(now, u128::from(seed.dice.roll())));
    let body = text(&key, &JournalEntry { homes })?;
    runtime.block_on(store.write(Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Always)))?;
    Ok(())
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn line(name: &str, taken: &mut [f64]) -> Vec<String> {
    taken.sort_by(f64::total_cmp);
    let ms = |percent| format!("{:.1}", percentile(taken, percent));
    vec![name.to_owned(), taken.len().to_string(), ms(50), ms(95), ms(99), ms(100)]
}
