//! The tables of the queue file and what is done with them. Everything here runs inside a transaction of the writer.

use super::{DeadMessage, Delivered, Delivery, Depth, Receipt};
use domain::Timestamp;
use pipeline::{Entropy, SystemEntropy};
use rusqlite::{Connection, Row, params};

/// How often being held by a process that was killed is not counted against a message. Beyond that the message itself may be
/// what kills the process.
const FORGIVEN_INTERRUPTIONS: u32 = 100;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS message (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    queue         TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    body          TEXT    NOT NULL,
    sent_at       INTEGER NOT NULL,
    visible_at    INTEGER NOT NULL,
    receives      INTEGER NOT NULL DEFAULT 0,
    held          INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS message_by_moment ON message (queue, visible_at);
CREATE TABLE IF NOT EXISTS dead (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    queue    TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    sent_at  INTEGER NOT NULL,
    receives INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    stage    TEXT    NOT NULL,
    died_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS dead_by_queue ON dead (queue);
";

/// Makes the tables and takes back what a killed process held.
pub fn prepare(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    connection.execute_batch(SCHEMA)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute(
        "UPDATE message SET visible_at = ?1, held = 0, interruptions = interruptions + 1,
             receives = receives - (interruptions < ?2) WHERE held = 1",
        params![now.millis(), FORGIVEN_INTERRUPTIONS],
    )?;
    Ok(())
}

fn id(now: Timestamp) -> String {
    SystemEntropy.batch_id(now).to_string()
}

/// Adds messages.
pub fn send(connection: &Connection, queue: &str, bodies: &[String], now: Timestamp) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO message (queue, id, body, sent_at, visible_at) VALUES (?1, ?2, ?3, ?4, ?4)")?;
    for body in bodies {
        insert.execute(params![queue, id(now), body, now.millis()])?;
    }
    Ok(())
}

/// Takes the visible messages that waited longest and hides them.
pub fn receive(
    connection: &Connection,
    queue: &str,
    max: usize,
    now: Timestamp,
    visibility_ms: i64,
    max_receives: u32,
) -> rusqlite::Result<Delivery> {
    let mut select = connection.prepare_cached(
        "SELECT seq, receives + 1, id, body, sent_at FROM message
         WHERE queue = ?1 AND visible_at <= ?2 ORDER BY visible_at, seq LIMIT ?3",
    )?;
    let mut hide = connection.prepare_cached("UPDATE message SET receives = ?2, visible_at = ?3, held = 1 WHERE seq = ?1")?;
    let hidden_until = now.plus_millis(visibility_ms.max(1)).millis();
    let mut messages = Vec::new();
    // Hidden and given up messages leave the selection, so each round sees others.
    while messages.len() < max {
        let limit = i64::try_from(max - messages.len()).unwrap_or(i64::MAX);
        let found: Vec<Delivered> = select.query_map(params![queue, now.millis(), limit], delivered)?.collect::<rusqlite::Result<_>>()?;
        if found.is_empty() {
            break;
        }
        for message in found {
            if message.receive_count > max_receives {
                give_up(connection, message.receipt.seq, now)?;
            } else {
                hide.execute(params![message.receipt.seq, message.receive_count, hidden_until])?;
                messages.push(message);
            }
        }
    }
    let mut next = connection.prepare_cached("SELECT min(visible_at) FROM message WHERE queue = ?1")?;
    let next: Option<i64> = next.query_row([queue], |row| row.get(0))?;
    Ok(Delivery { messages, next_at: next.map(Timestamp::from_millis) })
}

fn delivered(row: &Row<'_>) -> rusqlite::Result<Delivered> {
    let receives = row.get(1)?;
    Ok(Delivered {
        receipt: Receipt { seq: row.get(0)?, receives },
        id: row.get(2)?,
        body: row.get(3)?,
        receive_count: receives,
        sent_at: Timestamp::from_millis(row.get(4)?),
    })
}

fn give_up(connection: &Connection, seq: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO dead (queue, id, body, sent_at, receives, reason, stage, died_at)
             SELECT queue, id, body, sent_at, receives,
                 'received ' || receives || ' times and never acknowledged', queue, ?2
             FROM message WHERE seq = ?1",
        )?
        .execute(params![seq, now.millis()])?;
    connection.prepare_cached("DELETE FROM message WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}

/// Removes messages. The receipt may be an old one: what was done is done.
pub fn delete(connection: &Connection, receipts: &[Receipt]) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM message WHERE seq = ?1")?;
    for receipt in receipts {
        delete.execute([receipt.seq])?;
    }
    Ok(())
}

/// Sets when a message becomes visible, unless it was received again since.
pub fn defer(connection: &Connection, receipt: Receipt, until: Timestamp) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE message SET visible_at = ?3, held = 0 WHERE seq = ?1 AND receives = ?2")?.execute(params![
        receipt.seq,
        receipt.receives,
        until.millis()
    ])?;
    Ok(())
}

/// A message for the dead queue.
pub struct Park {
    pub queue: String,
    pub body: String,
    pub reason: String,
    pub stage: String,
}

/// Adds a message to the dead queue.
pub fn park(connection: &Connection, park: &Park, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO dead (queue, id, body, sent_at, receives, reason, stage, died_at) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?4)",
        )?
        .execute(params![park.queue, id(now), park.body, now.millis(), park.reason, park.stage])?;
    Ok(())
}

/// The latest messages of a dead queue.
pub fn dead(connection: &Connection, queue: &str, limit: usize) -> rusqlite::Result<Vec<DeadMessage>> {
    let mut select = connection
        .prepare_cached("SELECT id, body, reason, stage, receives, died_at FROM dead WHERE queue = ?1 ORDER BY seq DESC LIMIT ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map(params![queue, limit], |row| {
        Ok(DeadMessage {
            id: row.get(0)?,
            body: row.get(1)?,
            reason: row.get(2)?,
            stage: row.get(3)?,
            receive_count: row.get(4)?,
            died_at: Timestamp::from_millis(row.get(5)?),
        })
    })?;
    rows.collect()
}

/// Moves a dead queue back.
pub fn redrive(connection: &Connection, queue: &str, now: Timestamp) -> rusqlite::Result<u64> {
    let moved = connection.execute(
        "INSERT INTO message (queue, id, body, sent_at, visible_at)
         SELECT queue, id, body, sent_at, ?2 FROM dead WHERE queue = ?1 ORDER BY seq",
        params![queue, now.millis()],
    )?;
    connection.execute("DELETE FROM dead WHERE queue = ?1", [queue])?;
    Ok(u64::try_from(moved).unwrap_or(u64::MAX))
}

/// Counts a queue's messages.
pub fn depth(connection: &Connection, queue: &str, now: Timestamp) -> rusqlite::Result<Depth> {
    let mut count = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM message WHERE queue = ?1 AND visible_at <= ?2),
                (SELECT count(*) FROM message WHERE queue = ?1 AND visible_at > ?2),
                (SELECT count(*) FROM dead WHERE queue = ?1)",
    )?;
    let count = count.query_row(params![queue, now.millis()], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]))?;
    let [visible, hidden, dead] = count.map(|n| u64::try_from(n).unwrap_or(0));
    Ok(Depth { visible, hidden, dead })
}
