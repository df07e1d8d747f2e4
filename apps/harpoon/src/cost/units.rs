//! What DynamoDB and SQS bill, by their published rules.
//!
//! DynamoDB (developer guide, "DynamoDB read and write operations" and "DynamoDB item sizes and formats"): an item is as large as the
//! names and values of its attributes; a write is billed a unit for every started KB of the larger of the item before and after,
//! whether its condition holds or not; a strong read a unit for every started 4 KB and an eventual one half of that; a query by the sum
//! of the items it looked at; each item of a batch read by itself; each write or check of a transaction twice; and nothing is free:
//! what is not there counts as the smallest item.

use domain::Timestamp;
use pipeline::{Consistency, Item, Key, Table};

/// Bytes that one write unit covers.
pub const WRITE_UNIT_BYTES: usize = 1_024;
/// Bytes that one read unit covers.
pub const READ_UNIT_BYTES: usize = 4_096;
/// Bytes of a queue request's payload that are billed as one request.
pub const QUEUE_UNIT_BYTES: usize = 64 * 1_024;

/// Bytes of a whole number: one for every two significant digits (zeros at the end are none), and one more.
fn number_bytes(number: u64) -> usize {
    let digits = number.to_string();
    digits.trim_end_matches('0').len().div_ceil(2).saturating_add(1)
}

/// Bytes that an item is billed for: the names and values of `pk`, `sk`, `v`, `d` and `ttl`.
pub fn item_bytes(item: &Item) -> usize {
    let ttl = item
        .expires_at
        .map_or(0, |at: Timestamp| "ttl".len() + number_bytes(u64::try_from(at.plus_millis(999).seconds()).unwrap_or_default()));
    let key = "pk".len() + item.key.pk.len() + "sk".len() + item.key.sk.len();
    key + "v".len() + number_bytes(item.version) + "d".len() + item.body.len() + ttl
}

fn started(bytes: usize, unit: usize) -> f64 {
    let units = bytes.div_ceil(unit).max(1);
    f64::from(u32::try_from(units).unwrap_or(u32::MAX))
}

/// Write units of one write, given the item's bytes before and after it (0 when there is none).
pub fn write_units(before: usize, after: usize) -> f64 {
    started(before.max(after), WRITE_UNIT_BYTES)
}

/// Read units of reading so many bytes at once.
pub fn read_units(bytes: usize, consistency: Consistency) -> f64 {
    let whole = started(bytes, READ_UNIT_BYTES);
    if consistency == Consistency::Strong { whole } else { whole / 2.0 }
}

/// How many requests a queue's request with this payload is billed as.
pub fn queue_units(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(QUEUE_UNIT_BYTES).max(1)).unwrap_or(u64::MAX)
}

/// What sort of item a key names, as an operator would call it. A key that is not known here is called by its table.
pub fn kind(key: &Key) -> &'static str {
    let marker = key.pk.split('#').nth(1).unwrap_or_default();
    match (key.table, marker) {
        (Table::Config, _) if key.pk.starts_with("KEY#") => "credential",
        (Table::Config, _) if key.sk.starts_with("trigger#") => "triggers",
        (Table::Config, _) if key.sk.starts_with("destination#") => "destinations",
        (Table::Config, _) if key.sk.starts_with("model") => "model",
        (Table::Config, _) => "other configuration",
        (Table::Events, "P") if key.sk.starts_with('Z') => "spilled message ids",
        (Table::Events, "P") => "parcel",
        (Table::Events, "R") => "rejected events",
        (Table::Events, _) => "other event log",
        (Table::Deliveries, _) if key.pk.starts_with("DUE#") => "due delivery",
        (Table::Deliveries, "C") => "cooldown",
        (Table::Deliveries, "off") => "destinations",
        (Table::Deliveries, _) => "delivery",
        (Table::Accounts, _) if key.pk.starts_with("DUE#") => "due account",
        (Table::Accounts, "I") => "mapping",
        (Table::Accounts, "H") => match key.sk.as_bytes().first() {
            Some(b'S') => "state",
            Some(b'R') => "score record",
            Some(b'M') => "own fields",
            Some(b'A') => "account",
            None => "whole home",
            Some(_) => "other part of a home",
        },
        (Table::Accounts, marker) if marker.starts_with('V') => "standing",
        (Table::Accounts, "W") => "lead levels",
        (Table::Accounts, "T") => "history",
        (Table::Accounts, "J") => "journal",
        (Table::Accounts, "D") => "domain claim",
        (Table::Accounts, "X") => "external id",
        (Table::Accounts, "Q") => "review note",
        (Table::Accounts, _) => "other account item",
    }
}
