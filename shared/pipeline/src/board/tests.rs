use super::*;
use crate::{
    clock::{CountingEntropy, Entropy, ManualClock},
    homes::put_record,
    memory::MemoryStore,
    records::{journal_key, text},
    store::{Condition, Write},
};
use domain::{AccountId, Identity};

const START: i64 = 1_700_000_000_000;

struct Given {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    entropy: CountingEntropy,
    board: Board<Arc<MemoryStore>, Arc<ManualClock>>,
}

fn given() -> Given {
    let store = Arc::new(MemoryStore::default());
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
    Given { board: Board::new(Arc::clone(&store), Arc::clone(&clock)), store, clock, entropy: CountingEntropy::default() }
}

fn main() -> WorkspaceId {
    WorkspaceId::new("main").unwrap()
}

fn account(id: &str) -> Home {
    Home::Account(AccountId::new(id).unwrap())
}

fn standing(score: i32) -> Standing {
    serde_json::from_value(serde_json::json!({
        "served": 1, "inputs": 1, "fresh": 1, "seq": 1, "account_score": score, "engagement": 0, "surge": false,
        "total_leads": 1, "level": "target"
    }))
    .unwrap()
}

impl Given {
    async fn put(&self, workspace: &WorkspaceId, home: &Home, version: u64, standing: &Standing) {
        self.store.write(put_record(standing_key(workspace, home), version, standing).unwrap()).await.unwrap();
    }

    async fn journal(&self, homes: &[Home]) {
        let key = journal_key(&main(), self.entropy.batch_id(self.clock.now()));
        let body = text(&key, &JournalEntry { homes: homes.to_vec() }).unwrap();
        self.store.write(Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Always)).await.unwrap();
    }

    async fn scores(&self) -> Vec<(String, i32)> {
        self.board.accounts(&main()).await.unwrap().iter().map(|row| (row.home.to_string(), row.account_score)).collect()
    }
}

fn pairs(expected: &[(&str, i32)]) -> Vec<(String, i32)> {
    expected.iter().map(|(home, score)| ((*home).to_owned(), *score)).collect()
}

#[tokio::test]
async fn rows_follow_the_journal() {
    let given = given();
    given.put(&main(), &account("b"), 0, &standing(10)).await;
    assert_eq!(given.scores().await, pairs(&[("a:b", 10)]));
    // New ones before and after, and a changed one.
    given.put(&main(), &account("a"), 0, &standing(1)).await;
    given.put(&main(), &account("c"), 0, &standing(3)).await;
    given.put(&main(), &account("b"), 1, &standing(20)).await;
    given.journal(&[account("c"), account("a"), account("b")]).await;
    given.clock.advance(FRESH_MS);
    assert_eq!(given.scores().await, pairs(&[("a:a", 1), ("a:b", 20), ("a:c", 3)]));
    // A standing that was absorbed leaves the list.
    let absorbed = Standing { merged_into: Some(AccountId::new("a").unwrap()), ..standing(20) };
    given.put(&main(), &account("b"), 2, &absorbed).await;
    given.journal(&[account("b")]).await;
    given.clock.advance(FRESH_MS);
    assert_eq!(given.scores().await, pairs(&[("a:a", 1), ("a:c", 3)]));
}

#[tokio::test]
async fn an_entry_that_another_clock_dated_a_minute_back_is_found() {
    let given = given();
    assert_eq!(given.scores().await, []);
    given.clock.advance(60_000);
    assert_eq!(given.scores().await, []);
    given.put(&main(), &account("a"), 0, &standing(1)).await;
    given.clock.advance(-60_000);
    given.journal(&[account("a")]).await;
    given.clock.advance(60_000 + FRESH_MS);
    assert_eq!(given.scores().await, pairs(&[("a:a", 1)]));
}

#[tokio::test]
async fn what_no_entry_names_is_found_within_the_hour() {
    let given = given();
    assert_eq!(given.scores().await, []);
    given.put(&main(), &account("a"), 0, &standing(1)).await;
    given.clock.advance(FRESH_MS);
    assert_eq!(given.scores().await, []);
    given.clock.advance(RELOAD_MS);
    assert_eq!(given.scores().await, pairs(&[("a:a", 1)]));
}

#[tokio::test]
async fn workspaces_and_unresolved_leads_stay_apart() {
    let given = given();
    let lead = Home::Lead(Identity::anonymous("browser").id());
    let other = WorkspaceId::new("other").unwrap();
    given.put(&main(), &account("a"), 0, &standing(1)).await;
    given.put(&main(), &lead, 0, &standing(2)).await;
    given.put(&other, &account("o"), 0, &standing(3)).await;
    assert_eq!(given.scores().await, pairs(&[("a:a", 1)]));
    let leads = given.board.leads(&main()).await.unwrap();
    assert_eq!((leads.len(), leads.find(&lead).map(|row| row.account_score)), (1, Some(2)));
    assert_eq!(given.board.accounts(&other).await.unwrap().len(), 1);
    // A lead that has moved to an account leaves an empty home behind.
    let gone = Standing { total_leads: 0, ..standing(0) };
    given.put(&main(), &lead, 1, &gone).await;
    given.journal(std::slice::from_ref(&lead)).await;
    given.clock.advance(FRESH_MS);
    assert!(given.board.leads(&main()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_selection_is_the_sorted_beginning_of_what_passes() {
    let given = given();
    for n in 0..1_000 {
        // 7 is prime to 1,000, so every score from 0 to 999 is given once.
        given.put(&main(), &account(&format!("acct-{n}")), 0, &standing((n * 7) % 1_000)).await;
    }
    let rows = given.board.accounts(&main()).await.unwrap();
    let highest = |a: &i32, b: &i32| b.cmp(a);
    let (page, more) = rows.select(3, |row| Some(row.account_score).filter(|score| *score < 500), highest);
    assert_eq!(page.iter().map(|row| row.account_score).collect::<Vec<_>>(), [499, 498, 497]);
    assert!(more);
    let (page, more) = rows.select(2_000, |row| row.mentions("acct-99").then_some(row.account_score), highest);
    // 99 and 990 to 999.
    assert_eq!((page.len(), more), (11, false));
    assert_eq!(rows.select(0, |row| Some(row.account_score), highest).0.len(), 0);
}

#[tokio::test]
async fn a_busy_day_of_the_whole_workspace_is_flagged() {
    let given = given();
    let now = given.clock.now();
    // Forty accounts were active this week, a hundred long ago.
    for n in 0..140 {
        let mut row = standing(0);
        row.last_activity_at = Some(if n < 40 { now.plus_millis(-1) } else { now.plus_millis(-30 * domain::DAY_MS) });
        row.surge = n < 9;
        given.put(&main(), &account(&format!("acct-{n:03}")), 0, &row).await;
    }
    let rows = given.board.accounts(&main()).await.unwrap();
    // Nine are too few, whatever their share.
    assert_eq!(rows.spike(now), Spike { flagged: false, surging: 9, active: 40 });
    let mut tenth = standing(0);
    (tenth.last_activity_at, tenth.surge) = (Some(now), true);
    given.put(&main(), &account("acct-009"), 1, &tenth).await;
    given.journal(&[account("acct-009")]).await;
    given.clock.advance(1_000);
    let rows = given.board.accounts(&main()).await.unwrap();
    // Ten of forty are a quarter.
    assert_eq!(rows.spike(now), Spike { flagged: true, surging: 10, active: 40 });
}
