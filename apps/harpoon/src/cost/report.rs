//! What was counted, as tables.

use super::{
    bill::{Bill, Dollars},
    emulator::Compared,
    ledger::{Entry, StoreCount},
    prices::PriceFile,
    run::{Measured, Part, Plan},
};
use crate::text::grouped;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde_json::json;
use std::collections::BTreeMap;

const STAGES: [&str; 6] = ["ingest", "resolve", "score", "level", "dispatch", "rescore"];

/// One load with what came of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The load.
    pub plan: Plan,
    /// What was counted.
    pub measured: Measured,
    /// Per million events.
    pub bill: Bill,
}

fn table(header: &[&str], words: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    table.set_header(header.iter().enumerate().map(|(n, name)| if n < words { Cell::new(name) } else { number(name) }));
    table
}

fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn dollars(value: f64) -> String {
    format!("{value:.3}")
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.0} %", part / whole * 100.0) } else { "–".to_owned() }
}

fn whole(value: f64) -> String {
    grouped(value.round() as i128)
}

/// Dollars per million events of every load.
pub fn loads(rows: &[Row]) -> String {
    let header = [
        "batch",
        "ids",
        "total $",
        "writes",
        "reads",
        "SQS",
        "invoc.",
        "waiting",
        "CPU",
        "ingest",
        "resolve",
        "score",
        "level",
        "dispatch",
        "t.accounts",
        "t.events",
    ];
    let mut table = table(&header, 0);
    for row in rows {
        let total = &row.bill.total;
        let mut cells = vec![row.plan.batch.to_string(), row.plan.identities.to_string(), dollars(total.total())];
        cells.extend([total.writes, total.reads, total.queues, total.invocations, total.waiting, total.computing].map(dollars));
        let stage = |name: &str| row.bill.stages.get(name).map_or(0.0, Dollars::total);
        cells.extend(STAGES.iter().take(5).map(|name| share(stage(name), total.total())));
        let of_table = |name: &str| row.bill.tables.get(name).copied().unwrap_or_default();
        cells.extend(["accounts", "events"].map(|name| share(of_table(name), total.total())));
        table.add_row(cells.into_iter().map(number));
    }
    let title = "DOLLARS PER MILLION EVENTS, by batch size and identities in a batch\n\
        DynamoDB writes and reads, SQS, Lambda invocations, Lambda duration waiting and computing; then shares of the total by stage\n\
        (a queue is counted with the stage that reads it) and by table";
    format!("{title}\n{}", table.trim_fmt())
}

/// What one load consists of.
pub fn breakdown(row: &Row, prices: &PriceFile, region: &str) -> anyhow::Result<String> {
    let per_million = 1e6 / row.measured.steady.of.max(1) as f64;
    let title = format!(
        "{} EVENTS A BATCH, {} {}: ${:.3} per million events",
        row.plan.batch,
        row.plan.identities,
        if row.plan.identities == 1 { "identity" } else { "identities" },
        row.bill.total.total()
    );
    let parts = [
        title,
        store(&row.measured.steady, prices, region, per_million)?,
        queues(&row.measured.steady, prices, region, per_million)?,
        functions(row, prices, region, per_million)?,
        assumed(row),
    ];
    Ok(parts.join("\n\n"))
}

fn store(part: &Part, prices: &PriceFile, region: &str, factor: f64) -> anyhow::Result<String> {
    let prices = prices.region(region)?;
    let header = ["stage", "table", "kind of item", "operation", "requests", "failed", "write units", "read units", "bytes each", "$"];
    let mut shown = table(&header, 4);
    let cost = |count: &StoreCount| (prices.dynamodb_write.of(count.write_units) + prices.dynamodb_read.of(count.read_units)) * factor;
    let mut lines: Vec<(&Entry, &StoreCount)> = part.counts.store.iter().collect();
    lines.sort_by(|a, b| cost(b.1).total_cmp(&cost(a.1)));
    for (entry, count) in lines {
        let words = [entry.stage, entry.table, entry.kind, entry.operation].map(Cell::new);
        let numbers = [
            whole(count.requests as f64 * factor),
            whole(count.failed as f64 * factor),
            whole(count.write_units * factor),
            whole(count.read_units * factor),
            whole(count.bytes as f64 / count.requests.max(1) as f64),
            dollars(cost(count)),
        ];
        shown.add_row(words.into_iter().chain(numbers.into_iter().map(number)));
    }
    let sum = part.counts.store_sum(|_| true);
    shown.add_row([
        Cell::new("all"),
        Cell::new(""),
        Cell::new(""),
        Cell::new(""),
        number(whole(sum.requests as f64 * factor)),
        number(whole(sum.failed as f64 * factor)),
        number(whole(sum.write_units * factor)),
        number(whole(sum.read_units * factor)),
        Cell::new(""),
        number(dollars(cost(&sum))),
    ]);
    Ok(format!("DynamoDB, per million events\n{}", shown.trim_fmt()))
}

fn queues(part: &Part, prices: &PriceFile, region: &str, factor: f64) -> anyhow::Result<String> {
    let prices = prices.region(region)?;
    let mut shown = table(&["queue", "messages", "bytes each", "sends", "receives", "deletes", "$"], 1);
    for (queue, count) in &part.counts.queues {
        let numbers = [
            whole(count.messages as f64 * factor),
            whole(count.bytes as f64 / count.messages.max(1) as f64),
            whole(count.sends as f64 * factor),
            whole(count.receives as f64 * factor),
            whole(count.deletes as f64 * factor),
            dollars(prices.sqs_request.of(count.units() as f64) * factor),
        ];
        shown.add_row(std::iter::once(Cell::new(queue)).chain(numbers.into_iter().map(number)));
    }
    Ok(format!("SQS, requests in units of 64 KB per million events\n{}", shown.trim_fmt()))
}

fn functions(row: &Row, prices: &PriceFile, region: &str, factor: f64) -> anyhow::Result<String> {
    let function = &prices.function;
    let of_region = prices.region(region)?;
    let header = [
        "function",
        "invocations",
        "messages each",
        "ms waiting each",
        "ms CPU here each",
        "requests each",
        "billed ms each",
        "$ invocations",
        "$ duration",
    ];
    let mut shown = table(&header, 1);
    for name in STAGES {
        let Some(count) = row.measured.steady.counts.functions.get(name) else { continue };
        let each = |value: f64| value / count.invocations.max(1) as f64;
        let billed = row.bill.billed_ms.get(name).copied().unwrap_or_default();
        let numbers = [
            whole(count.invocations as f64 * factor),
            format!("{:.1}", each(count.messages as f64)),
            format!("{:.1}", each(count.waited_us as f64 / 1_000.0)),
            format!("{:.2}", each(count.cpu_us as f64 / 1_000.0)),
            format!("{:.1}", each(count.calls as f64)),
            format!("{:.1}", billed / (count.invocations as f64 * factor)),
            dollars(of_region.lambda_request.of(count.invocations as f64 * factor)),
            dollars(of_region.lambda_duration.of(billed / 1_000.0 * function.memory_mb / 1_024.0)),
        ];
        shown.add_row(std::iter::once(Cell::new(name)).chain(numbers.into_iter().map(number)));
    }
    Ok(format!(
        "Lambda, per million events, {} MB ({:.3} of a processor)\n{}",
        function.memory_mb,
        function.memory_mb / function.memory_of_a_processor_mb,
        shown.trim_fmt()
    ))
}

/// What the counts rest on.
fn assumed(row: &Row) -> String {
    let (plan, measured) = (&row.plan, &row.measured);
    let per_window = plan.accounts_at_once();
    format!(
        "{} events of {:.0} bytes each; {} windows of 5 s at {} events a second; {per_window} of {} accounts touched in a window by {} requests each, \
         each request by {} people of other accounts; {} poller(s) a queue, {} messages a receive; {} notifications.",
        grouped(i128::from(measured.steady.of)),
        measured.event_bytes,
        measured.windows,
        plan.rate,
        plan.size.accounts,
        plan.touches,
        plan.identities,
        plan.filling.pollers,
        plan.filling.per_receive,
        measured.posted,
    )
}

/// What is paid apart from the steady state: first sights, midnight, idle schedules.
pub fn apart(row: &Row, prices: &PriceFile, region: &str) -> anyhow::Result<String> {
    let of_region = prices.region(region)?;
    let measured = &row.measured;
    let mut shown = table(&["apart", "for each", "write units", "read units", "SQS", "invocations", "$ per 1,000"], 2);
    let parts = [
        ("an account seen for the first time, with its first lead", "account", &measured.new_accounts),
        ("a lead of a known account seen for the first time", "lead", &measured.new_leads),
        ("days on which nobody comes: what is due is scored again", "account and day", &measured.midnight),
        ("a run of rescore that finds nothing (1,440 a day)", "run", &measured.idle_rescore),
    ];
    for (what, each, part) in parts {
        let factor = 1.0 / part.of.max(1) as f64;
        let sum = part.counts.store_sum(|_| true);
        let queued: u64 = part.counts.queues.values().map(super::ledger::QueueCount::units).sum();
        let invoked: u64 = part.counts.functions.values().map(|count| count.invocations).sum();
        let bill = Bill::of(&part.counts, of_region, &prices.function, factor * 1_000.0);
        let numbers = [
            format!("{:.1}", sum.write_units * factor),
            format!("{:.1}", sum.read_units * factor),
            format!("{:.2}", queued as f64 * factor),
            format!("{:.2}", invoked as f64 * factor),
            format!("{:.5}", bill.total.total()),
        ];
        shown.add_row([Cell::new(what), Cell::new(each)].into_iter().chain(numbers.into_iter().map(number)));
    }
    let due = measured.rescored as f64 / measured.midnight.of.max(1) as f64;
    let apart = &row.bill.apart;
    Ok(format!(
        "{}\n{:.0} % of accounts were due on such a day.\nIn no sum, per million events: HTTP API ${:.3} (instead of a function URL), logs ${:.3}, traces ${:.3}, keeping the event log ${:.4} a month.\n\
         Idle queues: five pollers of each of the four queues that wait 20 s at a time are {} requests a month, ${:.2}.",
        shown.trim_fmt(),
        due * 100.0,
        apart.http_api,
        apart.logs,
        apart.traces,
        apart.storage_month,
        grouped(i128::from(IDLE_RECEIVES_A_MONTH)),
        of_region.sqs_request.of(IDLE_RECEIVES_A_MONTH as f64),
    ))
}

/// Four queues, five pollers each, a receive of 20 s, 30 days.
const IDLE_RECEIVES_A_MONTH: u64 = 4 * 5 * 30 * 24 * 3_600 / 20;

/// Our arithmetic beside what the embedded store reported.
pub fn compared(plan: &Plan, lines: &[Compared], sdk_ms: f64, stated_ms: f64) -> String {
    let header = ["stage", "table", "read units", "reported", "write units", "of failed", "reported", ""];
    let mut shown = table(&header, 2);
    for line in lines {
        let numbers = [line.read_units, line.reported_read_units, line.write_units, line.failed_units, line.reported_write_units];
        let verdict = if line.agrees() { "agree" } else { "DIFFER" };
        let words = [Cell::new(line.stage), Cell::new(&line.table)];
        shown.add_row(words.into_iter().chain(numbers.into_iter().map(|n| number(format!("{n:.1}")))).chain([Cell::new(verdict)]));
    }
    let differ = lines.iter().filter(|line| !line.agrees()).count();
    format!(
        "ARITHMETIC AND EMBEDDED STORE, {} events a batch, {} identities: {}\n{}\n\
         A request takes {sdk_ms:.3} ms of a processor in the SDK here, without encryption; the bill states {stated_ms:.3} ms.",
        plan.batch,
        plan.identities,
        if differ == 0 { "they agree".to_owned() } else { format!("{differ} lines differ") },
        shown.trim_fmt()
    )
}

/// Other assumptions, one a row.
pub fn sensitivity(rows: &[(String, Row)]) -> String {
    let mut shown = table(&["assumption", "batch", "ids", "total $", "writes", "reads", "SQS", "invoc.", "waiting", "CPU"], 1);
    for (name, row) in rows {
        let total = &row.bill.total;
        let mut cells = vec![row.plan.batch.to_string(), row.plan.identities.to_string(), dollars(total.total())];
        cells.extend([total.writes, total.reads, total.queues, total.invocations, total.waiting, total.computing].map(dollars));
        shown.add_row(std::iter::once(Cell::new(name)).chain(cells.into_iter().map(number)));
    }
    format!("IF THE ASSUMPTIONS WERE OTHERS\n{}", shown.trim_fmt())
}

/// Everything, for machines.
pub fn json(rows: &[Row]) -> serde_json::Value {
    let loads: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            let counts = &row.measured.steady.counts;
            let store: Vec<_> = counts.store.iter().map(|(entry, count)| json!({ "of": entry, "count": count })).collect();
            let part = |part: &Part| {
                let sum = part.counts.store_sum(|_| true);
                json!({ "of": part.of, "store": sum, "queues": part.counts.queues, "functions": part.counts.functions })
            };
            json!({
                "batch": row.plan.batch,
                "identities": row.plan.identities,
                "touches": row.plan.touches,
                "rate": row.plan.rate,
                "accounts": row.plan.size.accounts,
                "leads_per_account": row.plan.size.leads_per_account,
                "pollers": row.plan.filling.pollers,
                "per_receive": row.plan.filling.per_receive,
                "events": row.measured.steady.of,
                "event_bytes": row.measured.event_bytes,
                "notifications": row.measured.posted,
                "dollars_per_million_events": row.bill.total.total(),
                "bill": row.bill,
                "store": store,
                "queues": counts.queues,
                "functions": counts.functions,
                "new_accounts": part(&row.measured.new_accounts),
                "new_leads": part(&row.measured.new_leads),
                "quiet_days": part(&row.measured.midnight),
                "idle_rescore": part(&row.measured.idle_rescore),
            })
        })
        .collect();
    json!({ "loads": loads, "debug_build": cfg!(debug_assertions) })
}

/// What dominates, in a sentence.
pub fn dominating(row: &Row, prices: &PriceFile, region: &str) -> anyhow::Result<String> {
    let of_region = prices.region(region)?;
    let factor = 1e6 / row.measured.steady.of.max(1) as f64;
    let mut parts: BTreeMap<String, f64> = BTreeMap::new();
    for (entry, count) in &row.measured.steady.counts.store {
        let cost = (of_region.dynamodb_write.of(count.write_units) + of_region.dynamodb_read.of(count.read_units)) * factor;
        let verb = if count.write_units > 0.0 { "writing" } else { "reading" };
        *parts.entry(format!("{verb} the {} in {}", entry.kind, entry.stage)).or_default() += cost;
    }
    for (stage, dollars) in &row.bill.stages {
        for (what, cost) in [
            ("the queue of", dollars.queues),
            ("invocations of", dollars.invocations),
            ("duration of", dollars.waiting + dollars.computing),
        ] {
            *parts.entry(format!("{what} {stage}")).or_default() += cost;
        }
    }
    let mut parts: Vec<(String, f64)> = parts.into_iter().collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total = row.bill.total.total();
    let named: Vec<String> = parts.iter().take(5).map(|(what, cost)| format!("{what} {}", share(*cost, total))).collect();
    Ok(format!("What dominates at {}/{}: {}.", row.plan.batch, row.plan.identities, named.join(", ")))
}
