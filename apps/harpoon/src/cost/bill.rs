//! Counts times prices.

use super::{
    ledger::{Counts, FunctionCount},
    prices::{Function, Prices},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes that DynamoDB adds to every item that it keeps.
const ITEM_OVERHEAD_BYTES: f64 = 100.0;

/// What something costs, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Dollars {
    /// DynamoDB write units.
    pub writes: f64,
    /// DynamoDB read units.
    pub reads: f64,
    /// SQS requests.
    pub queues: f64,
    /// Lambda invocations.
    pub invocations: f64,
    /// Lambda, waiting for the store and the queues.
    pub waiting: f64,
    /// Lambda, computing.
    pub computing: f64,
}

impl Dollars {
    /// All of it.
    pub const fn total(&self) -> f64 {
        self.writes + self.reads + self.queues + self.invocations + self.waiting + self.computing
    }

    /// So many times as much.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self {
            writes: self.writes * factor,
            reads: self.reads * factor,
            queues: self.queues * factor,
            invocations: self.invocations * factor,
            waiting: self.waiting * factor,
            computing: self.computing * factor,
        }
    }

    fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.reads += other.reads;
        self.queues += other.queues;
        self.invocations += other.invocations;
        self.waiting += other.waiting;
        self.computing += other.computing;
    }
}

/// A bill.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bill {
    /// By stage. A queue is its reader's, except for what was sent into it, which is the sender's; here both are the reader's.
    pub stages: BTreeMap<&'static str, Dollars>,
    /// DynamoDB by table.
    pub tables: BTreeMap<&'static str, f64>,
    /// All of it.
    pub total: Dollars,
    /// Milliseconds billed, by stage.
    pub billed_ms: BTreeMap<&'static str, f64>,
    /// Listed apart, and in no sum.
    pub apart: Apart,
}

/// What a deployment may pay beside, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Apart {
    /// An HTTP API before ingest instead of its function URL.
    pub http_api: f64,
    /// Logs: the functions' own lines and the platform's.
    pub logs: f64,
    /// Traces.
    pub traces: f64,
    /// Keeping what was stored for a month.
    pub storage_month: f64,
}

impl Bill {
    /// What these counts cost, times `factor`.
    pub fn of(counts: &Counts, prices: &Prices, function: &Function, factor: f64) -> Self {
        let mut bill = Self::default();
        for (entry, count) in &counts.store {
            let writes = prices.dynamodb_write.of(count.write_units) * factor;
            let reads = prices.dynamodb_read.of(count.read_units) * factor;
            bill.stages.entry(entry.stage).or_default().add(&Dollars { writes, reads, ..Dollars::default() });
            *bill.tables.entry(entry.table).or_default() += writes + reads;
        }
        for (queue, count) in &counts.queues {
            let queues = prices.sqs_request.of(count.units() as f64) * factor;
            bill.stages.entry(queue).or_default().add(&Dollars { queues, ..Dollars::default() });
        }
        let processor = function.memory_mb / function.memory_of_a_processor_mb;
        let gb = function.memory_mb / 1_024.0;
        for (stage, count) in &counts.functions {
            let waited = count.waited_us as f64 / 1_000.0;
            let computed = (count.cpu_us as f64 / 1_000.0 + count.calls as f64 * function.request_cpu_ms) / processor;
            // Each invocation is billed to the next whole millisecond: half of one on average.
            let rounding = count.invocations as f64 * 0.5;
            let price = |ms: f64| prices.lambda_duration.of(ms / 1_000.0 * gb) * factor;
            bill.stages.entry(stage).or_default().add(&Dollars {
                invocations: prices.lambda_request.of(count.invocations as f64) * factor,
                waiting: price(waited + rounding),
                computing: price(computed),
                ..Dollars::default()
            });
            bill.billed_ms.insert(stage, (waited + rounding + computed) * factor);
        }
        let sum = |of: fn(&FunctionCount) -> u64| counts.functions.values().map(of).sum::<u64>() as f64 * factor;
        let (invocations, logged) = (sum(|count| count.invocations), sum(|count| count.logged));
        let requests = counts.functions.get("ingest").map_or(0.0, |count| count.invocations as f64) * factor;
        // Parcels stay; whatever else is written replaces itself.
        let parcels = counts.store_sum(|entry| entry.kind == "parcel");
        let kept = (parcels.bytes as f64 + parcels.requests as f64 * ITEM_OVERHEAD_BYTES) * factor;
        bill.apart = Apart {
            http_api: prices.http_api_request.of(requests),
            logs: prices.logs_ingested.of(logged + invocations * function.platform_log_bytes),
            traces: prices.traces_recorded.of(invocations * function.traced_share),
            storage_month: prices.dynamodb_storage.of(kept),
        };
        for dollars in bill.stages.values() {
            bill.total.add(dollars);
        }
        bill
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{
        ledger::{Entry, QueueCount, StoreCount},
        prices::PriceFile,
    };

    #[test]
    fn a_bill_is_what_the_price_list_says_by_hand() {
        let file = PriceFile::read(None).unwrap();
        let mut counts = Counts::default();
        let entry = Entry { stage: "resolve", table: "events", kind: "parcel", operation: "put" };
        counts.store.insert(entry, StoreCount { requests: 10, write_units: 2e6, read_units: 4e6, bytes: 4_000, ..StoreCount::default() });
        counts.queues.insert("resolve", QueueCount { sends: 500_000, receives: 300_000, deletes: 200_000, ..QueueCount::default() });
        let waited = FunctionCount { invocations: 1_000_000, waited_us: 9_500_000_000, ..FunctionCount::default() };
        counts.functions.insert("resolve", waited);
        let function = Function { memory_mb: 256.0, memory_of_a_processor_mb: 1_769.0, ..file.function };
        let bill = Bill::of(&counts, file.region("us-east-1").unwrap(), &function, 1.0);
        // 2 million at 0.625, 4 million at 0.125, 1 million at 0.40, 1 million at 0.20, and a million times 9.5 + 0.5 ms of a
        // quarter GB: 2,500 GB-seconds at 0.0000133334.
        let expected = [1.25, 0.5, 0.4, 0.2, 0.033_333_5, 0.0];
        let total = &bill.total;
        let found = [total.writes, total.reads, total.queues, total.invocations, total.waiting, total.computing];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
        // Ten parcels of 400 bytes, each kept with 100 more: 5,000 bytes at 0.25 for a GB.
        assert!((bill.apart.storage_month - 5_000.0 * 0.25 / 1e9).abs() < 1e-15);
    }

    #[test]
    fn computing_takes_longer_on_a_share_of_a_processor() {
        let file = PriceFile::read(None).unwrap();
        let mut counts = Counts::default();
        let computed = FunctionCount { invocations: 1, cpu_us: 2_000, calls: 10, ..FunctionCount::default() };
        counts.functions.insert("score", computed);
        let function = Function { memory_mb: 442.25, memory_of_a_processor_mb: 1_769.0, request_cpu_ms: 0.2, ..file.function };
        let bill = Bill::of(&counts, file.region("us-east-1").unwrap(), &function, 1.0);
        // 2 ms and ten requests of 0.2 ms on a quarter of a processor, and half a millisecond of rounding.
        assert!((bill.billed_ms["score"] - 16.5).abs() < 1e-9);
    }
}
