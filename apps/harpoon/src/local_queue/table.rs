//! The tables of the queue file and what is done with them. Everything here runs inside a transaction of the writer.

use super::{
    DeadMessage, Delivered, Delivery, Depth, Receipt,
    body::{self, Body},
};
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
    interruptions INTEGER NOT NULL DEFAULT 0,
    packed        BLOB
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
    died_at  INTEGER NOT NULL,
    packed   BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS dead_by_queue ON dead (queue);
";

/// Makes the tables and takes back what a killed process held.
pub fn prepare(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    attach(connection)?;
    connection.execute(
        "UPDATE message SET visible_at = ?1, held = 0, interruptions = interruptions + 1,
             receives = receives - (interruptions < ?2) WHERE held = 1",
        params![now.millis(), FORGIVEN_INTERRUPTIONS],
    )?;
    Ok(())
}

/// Makes the tables, and leaves to others what they hold.
pub fn attach(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    connection.execute_batch(SCHEMA)?;
    // Files of builds that did not compress bodies.
    for table in ["message", "dead"] {
        if !connection.column_exists(None::<&str>, table, "packed")? {
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN packed BLOB"))?;
        }
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn id(now: Timestamp) -> String {
    SystemEntropy.batch_id(now).to_string()
}

/// Adds messages.
pub fn send(connection: &Connection, queue: &str, bodies: &[Body], now: Timestamp) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO message (queue, id, body, packed, sent_at, visible_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)")?;
    for body in bodies {
        insert.execute(params![queue, id(now), body.plain(), body.packed(), now.millis()])?;
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
        "SELECT seq, receives + 1, id, body, packed, sent_at FROM message
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
        body: body::read(row, 3, 4)?,
        receive_count: receives,
        sent_at: Timestamp::from_millis(row.get(5)?),
    })
}

fn give_up(connection: &Connection, seq: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO dead (queue, id, body, packed, sent_at, receives, reason, stage, died_at)
             SELECT queue, id, body, packed, sent_at, receives,
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
    let mut select = connection.prepare_cached(
        "SELECT id, body, packed, reason, stage, receives, died_at FROM dead WHERE queue = ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    select.query_map(params![queue, limit], dead_message)?.collect()
}

/// The message of a dead queue with this id.
pub fn dead_one(connection: &Connection, queue: &str, id: &str) -> rusqlite::Result<Option<DeadMessage>> {
    let mut select = connection.prepare_cached(
        "SELECT id, body, packed, reason, stage, receives, died_at FROM dead WHERE queue = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1",
    )?;
    select.query_map([queue, id], dead_message)?.next().transpose()
}

fn dead_message(row: &Row<'_>) -> rusqlite::Result<DeadMessage> {
    Ok(DeadMessage {
        id: row.get(0)?,
        body: body::read(row, 1, 2)?,
        reason: row.get(3)?,
        stage: row.get(4)?,
        receive_count: row.get(5)?,
        died_at: Timestamp::from_millis(row.get(6)?),
    })
}

/// Moves a dead queue back, or only the message with this id.
pub fn redrive(connection: &Connection, queue: &str, only: Option<&str>, now: Timestamp) -> rusqlite::Result<u64> {
    let moved = connection.execute(
        "INSERT INTO message (queue, id, body, packed, sent_at, visible_at)
         SELECT queue, id, body, packed, sent_at, ?2 FROM dead WHERE queue = ?1 AND (?3 IS NULL OR id = ?3) ORDER BY seq",
        params![queue, now.millis(), only],
    )?;
    connection.execute("DELETE FROM dead WHERE queue = ?1 AND (?2 IS NULL OR id = ?2)", params![queue, only])?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of builds that did not compress bodies.
    const OLDER: &str = "
CREATE TABLE message (seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    sent_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, receives INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE dead (seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    sent_at INTEGER NOT NULL, receives INTEGER NOT NULL, reason TEXT NOT NULL, stage TEXT NOT NULL, died_at INTEGER NOT NULL) STRICT;
INSERT INTO message (queue, id, body, sent_at, visible_at) VALUES ('score', '01', '{\"n\":1}', 5, 5);
INSERT INTO dead (queue, id, body, sent_at, receives, reason, stage, died_at) VALUES ('score', '02', '{\"n\":2}', 5, 3, 'why', 'score', 7);
";

    #[test]
    fn a_file_of_an_older_build_is_read_on() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(OLDER).unwrap();
        let now = Timestamp::from_millis(1_000);
        prepare(&connection, now).unwrap();
        prepare(&connection, now).unwrap();
        assert_eq!(redrive(&connection, "score", None, now).unwrap(), 1);
        send(&connection, "score", &[Body::new("{\"n\":3}".to_owned())], now).unwrap();
        let delivery = receive(&connection, "score", 10, now, 1_000, 5).unwrap();
        let bodies: Vec<&str> = delivery.messages.iter().map(|message| message.body.as_str()).collect();
        assert_eq!(bodies, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    }

    #[test]
    fn a_long_body_is_the_same_in_the_dead_queue_and_back_from_it() {
        let connection = Connection::open_in_memory().unwrap();
        let now = Timestamp::from_millis(1_000);
        prepare(&connection, now).unwrap();
        let long = r#"{"type":"track","event":"Plan Compared"},"#.repeat(100);
        send(&connection, "score", &[Body::new(long.clone())], now).unwrap();
        // Received once is as often as it may be: the second time it is given up.
        assert_eq!(receive(&connection, "score", 1, now, 1, 1).unwrap().messages[0].body, long);
        assert!(receive(&connection, "score", 1, now.plus_millis(10), 1, 1).unwrap().messages.is_empty());
        assert_eq!(dead(&connection, "score", 10).unwrap()[0].body, long);
        assert_eq!(redrive(&connection, "score", None, now).unwrap(), 1);
        assert_eq!(receive(&connection, "score", 1, now, 1, 1).unwrap().messages[0].body, long);
    }
}
