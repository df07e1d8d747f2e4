//! Account rules from raw JSON: Harpoon's compiled ruleset against the crate `datalogic-rs`, ten rules, one core.
//!
//! Both are given the bytes of a JSON document and say its points; both compiled their rules before. `datalogic-rs` is used in two
//! ways, each without a copy of the result and with one arena that is reset after every account: one expression that sums, and ten
//! expressions over a document that is parsed once. The faster of the two is what Harpoon is compared with.

use anyhow::{Context, ensure};
use bumpalo::Bump;
use datalogic_rs::{DataValue, Engine, Logic};
use domain::{
    Timestamp,
    account_rules::{AccountRuleset, CompiledAccountRuleset, DEFAULT_RULESET},
};
use harpoon_tests::bench::{Contestant, Dice, Report, alternate, argument, thread_time};
use serde_json::{Map, Value, json};

/// The ten rules in Harpoon's form: those of the default ruleset, and six more.
fn ruleset() -> Value {
    let mut ruleset: Value = serde_json::from_str(DEFAULT_RULESET).unwrap();
    let rule = |id: &str, points: i32, condition: Value| json!({"id": id, "name": id, "points": points, "condition": condition});
    let test = |field: &str, op: &str, value: Value| json!({"field": field, "op": op, "value": value});
    ruleset["rules"].as_array_mut().unwrap().extend([
        rule("mid-size", 25, test("employees", "between", json!([200, 999]))),
        rule("stage", 15, test("funding_stage", "in", json!(["Series B", "Series C", "Series D"]))),
        rule("warehouse", 20, test("tech_stack", "contains", json!("data warehouse"))),
        rule("public", 10, test("is_public", "eq", json!(true))),
        rule("growing", 15, json!({"all": [test("growth_rate", "gte", json!(20)), test("founded", "gte", json!(2010))]})),
        rule("model", 10, json!({"any": [test("business_model", "eq", json!("B2B")), test("business_model", "eq", json!("SaaS"))]})),
    ]);
    ruleset
}

/// The same ten rules as conditions of JSONLogic, with their points. A field that is not there is `null`, for which none of them holds.
fn conditions() -> Vec<(Value, i32)> {
    let var = |name: &str| json!({"var": name});
    vec![
        (json!({">=": [var("employees"), 1000]}), 50),
        (json!({">=": [var("revenue"), 50_000_000]}), 45),
        (json!({"in": [var("country"), ["US", "UK", "CA", "AU", "DE"]]}), 20),
        (json!({"in": [var("industry"), ["Technology", "Finance", "Healthcare"]]}), 30),
        (json!({"<=": [200, var("employees"), 999]}), 25),
        (json!({"in": [var("funding_stage"), ["Series B", "Series C", "Series D"]]}), 15),
        (json!({"in": ["data warehouse", var("tech_stack")]}), 20),
        (json!({"===": [var("is_public"), true]}), 10),
        (json!({"and": [{">=": [var("growth_rate"), 20]}, {">=": [var("founded"), 2010]}]}), 15),
        (json!({"or": [{"===": [var("business_model"), "B2B"]}, {"===": [var("business_model"), "SaaS"]}]}), 10),
    ]
}

/// Account documents as a CRM would hand them over: 15 fields, of which some are not known, and some of which no rule looks at.
fn accounts(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(20_260_725);
    (0..count).map(|i| serde_json::to_vec(&account(i, &mut dice)).unwrap()).collect()
}

fn account(i: usize, dice: &mut Dice) -> Value {
    const FIRST: [&str; 8] = ["Northwind", "Brightforge", "Larkfield", "Quillmont", "Ostrava", "Verdant", "Copperline", "Halden"];
    const SECOND: [&str; 8] = ["Looms", "Systems", "Analytics", "Foods", "Logistics", "Robotics", "Clinics", "Paper"];
    const COUNTRIES: [&str; 12] = ["US", "US", "US", "UK", "DE", "CA", "AU", "FR", "NL", "SE", "BR", "JP"];
    const INDUSTRIES: [&str; 8] = ["Technology", "Finance", "Healthcare", "Manufacturing", "Retail", "Education", "Energy", "Media"];
    const CITIES: [&str; 6] = ["Springfield", "Lakeview", "Port Ellery", "Nieuwstad", "Steinbach", "Riverton"];
    const STAGES: [&str; 7] = ["Seed", "Series A", "Series B", "Series C", "Series D", "Public", "Bootstrapped"];
    const TOOLS: [&str; 8] = ["crm", "data warehouse", "help desk", "ad platform", "billing", "chat", "cms", "product analytics"];
    const MODELS: [&str; 4] = ["B2B", "B2C", "SaaS", "Marketplace"];
    let (first, second) = (*dice.pick(&FIRST), *dice.pick(&SECOND));
    let employees = 5 * 10_u64.pow(u32::try_from(dice.below(4)).unwrap()) + dice.below(900);
    let tools: Vec<&str> = (0..1 + dice.below(4)).map(|_| *dice.pick(&TOOLS)).collect();
    #[expect(clippy::cast_precision_loss, reason = "tenths of small numbers")]
    let tenths = |n: u64| n as f64 / 10.0;
    let fields = [
        ("name", json!(format!("{first} {second}"))),
        ("website", json!(format!("https://www.{}-{}-{i}.example", first.to_lowercase(), second.to_lowercase()))),
        ("employees", json!(employees)),
        ("revenue", json!(employees * (80_000 + dice.below(200_000)))),
        ("country", json!(dice.pick(&COUNTRIES))),
        ("city", json!(dice.pick(&CITIES))),
        ("industry", json!(dice.pick(&INDUSTRIES))),
        ("founded", json!(1950 + dice.below(75))),
        ("funding_stage", json!(dice.pick(&STAGES))),
        ("total_funding", json!(dice.below(400) * 250_000)),
        ("growth_rate", json!(tenths(dice.below(600)))),
        ("is_public", json!(dice.chance(15))),
        ("tech_stack", json!(tools)),
        ("business_model", json!(dice.pick(&MODELS))),
        ("crm_owner", json!(format!("Owner {}", dice.below(40)))),
    ];
    let mut document = Map::new();
    for (at, (name, value)) in fields.into_iter().enumerate() {
        match dice.below(100) {
            // Name and website are always known.
            0..12 if at > 1 => {}
            12..16 if at > 1 => drop(document.insert(name.to_owned(), Value::Null)),
            _ => drop(document.insert(name.to_owned(), value)),
        }
    }
    Value::Object(document)
}

fn by_harpoon(ruleset: &CompiledAccountRuleset, account: &[u8], now: Timestamp) -> i64 {
    let text = std::str::from_utf8(account).unwrap();
    i64::from(ruleset.tally_json(text, now).unwrap().score)
}

fn by_sum(engine: &Engine, sum: &Logic, account: &[u8], arena: &mut Bump) -> i64 {
    let text = std::str::from_utf8(account).unwrap();
    let points = engine.evaluate(sum, text, arena).unwrap().as_i64().unwrap();
    arena.reset();
    points
}

fn by_ten(engine: &Engine, ten: &[(Logic, i64)], account: &[u8], arena: &mut Bump) -> i64 {
    let text = std::str::from_utf8(account).unwrap();
    let mut points = 0;
    {
        let document: &DataValue<'_> = arena.alloc(DataValue::from_str(text, arena).unwrap());
        for (condition, worth) in ten {
            if engine.evaluate(condition, document, arena).unwrap().as_bool() == Some(true) {
                points += worth;
            }
        }
    }
    arena.reset();
    points
}

/// Nanoseconds of this core for each account.
fn measure(accounts: &[Vec<u8>], passes: usize, mut points: impl FnMut(&[u8]) -> i64) -> f64 {
    let before = thread_time();
    let mut total = 0;
    for _ in 0..passes {
        for account in accounts {
            total += points(account);
        }
    }
    std::hint::black_box(total);
    let spent = (thread_time() - before).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let count = (accounts.len() * passes) as f64;
    spent * 1e9 / count
}

fn main() -> anyhow::Result<()> {
    let (count, runs, passes) = (argument("accounts", 100_000), argument("runs", 11), argument("passes", 5));
    let accounts = accounts(count);
    let now = Timestamp::from_millis(1_784_937_600_000);
    let ruleset = AccountRuleset::parse(&ruleset().to_string()).map_err(|problems| anyhow::anyhow!("{problems}"))?.compile();
    let engine = Engine::new();
    let compiled = |logic: &Value| engine.compile(logic.to_string().as_str()).map_err(|error| anyhow::anyhow!("{error}"));
    let summands: Vec<Value> = conditions().iter().map(|(condition, points)| json!({"if": [condition, points, 0]})).collect();
    let sum = compiled(&json!({"+": summands}))?;
    let ten = conditions()
        .iter()
        .map(|(condition, points)| Ok((compiled(condition)?, i64::from(*points))))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let mut arena = Bump::with_capacity(16 * 1024);
    let mut scores = std::collections::BTreeSet::new();
    for account in &accounts {
        let ours = by_harpoon(&ruleset, account, now);
        let theirs = [by_sum(&engine, &sum, account, &mut arena), by_ten(&engine, &ten, account, &mut arena)];
        let document = || String::from_utf8_lossy(account).into_owned();
        ensure!(theirs == [ours, ours], "Harpoon says {ours}, datalogic-rs {theirs:?} of {}", document());
        scores.insert(ours);
    }
    ensure!(scores.len() > 20, "the documents have hardly any scores: {scores:?}");

    let (mut first, mut second) = (Bump::with_capacity(16 * 1024), Bump::with_capacity(16 * 1024));
    let mut contestants: Vec<Contestant<'_>> = vec![
        ("Harpoon `tally_json`", Box::new(|| Ok(measure(&accounts, passes, |account| by_harpoon(&ruleset, account, now))))),
        (
            "datalogic-rs, one expression that sums",
            Box::new(|| Ok(measure(&accounts, passes, |account| by_sum(&engine, &sum, account, &mut first)))),
        ),
        (
            "datalogic-rs, ten expressions on one parse",
            Box::new(|| Ok(measure(&accounts, passes, |account| by_ten(&engine, &ten, account, &mut second)))),
        ),
    ];
    if let Some(only) = harpoon_tests::bench::text_argument("only") {
        contestants.retain(|(name, _)| name.contains(&only));
    }
    let series = alternate(runs, &mut contestants)?;
    let ours = series.first().context("nothing was measured")?;
    let best = series.iter().skip(1).map(|series| series.median()).fold(f64::INFINITY, f64::min);
    let rows = contestants.iter().zip(&series).map(|((name, _), series)| {
        vec![
            (*name).to_owned(),
            series.to_string(),
            format!("{:.2}", 1e3 / series.median()),
            format!("{:.2}×", series.median() / ours.median()),
        ]
    });
    let bytes = accounts.iter().map(Vec::len).sum::<usize>() / accounts.len();
    let report = Report {
        title: "Account rules from raw JSON".to_owned(),
        data: format!(
            "{count} account documents of {bytes} bytes on average, 10 rules, {} different scores, the same from all three",
            scores.len()
        ),
        command: "cargo bench -p harpoon-tests --bench rules".to_owned(),
        columns: ["", "ns per account, median of the runs (least – most)", "million accounts/s per core", "time against Harpoon"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
        notes: vec![
            format!("**Ratio: {:.2}×** (must ≥ 1.3×, aim ≥ 2×), against the faster way of datalogic-rs 5.4.", best / ours.median()),
            format!(
                "{runs} runs in turn of {passes} passes each, time of one thread on its core, UTF-8 check and JSON parsing included. Documents are in order of their field names, as a JSON library writes them."
            ),
        ],
    };
    println!("{report}");
    Ok(())
}
