//! Account rules against a rule engine that nobody here wrote (`datalogic-rs`): random rulesets and accounts, the same totals, rule by rule.
//!
//! What Harpoon means by a test is written as JSONLogic on a document of plain values: a number is its lowest and highest possible value, a date
//! its milliseconds, `within_days` the number of days since. Caps are sums and minima worked out here.

use bumpalo::Bump;
use datalogic_rs::{DataValue, Engine, Logic};
use domain::{
    DAY_MS, Timestamp,
    account_rules::{AccountRuleset, Outcome},
    field::FieldValue,
};
use harpoon_tests::bench::Dice;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The first seed; each ruleset has the next one. A difference names the seed of its ruleset.
const FIRST_SEED: u64 = 40_000;
const RULESETS: u64 = 320;
const ACCOUNTS: usize = 32;

/// The day of the evaluation in days since 1970.
const TODAY: i64 = 20_400;

const OPS: [&str; 15] = [
    "eq",
    "neq",
    "gt",
    "gte",
    "lt",
    "lte",
    "between",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "exists",
    "not_exists",
    "within_days",
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Truth,
    Date,
    List,
}

/// No alias table knows these fields, so that texts are equal only to themselves.
const FIELDS: [(&str, Kind); 8] = [
    ("segment", Kind::Text),
    ("plan", Kind::Text),
    ("employees", Kind::Number),
    ("revenue", Kind::Number),
    ("trial", Kind::Truth),
    ("existing_customer", Kind::Truth),
    ("signed_at", Kind::Date),
    ("tools", Kind::List),
];

/// Lower case on both sides; some begin with or hold others.
const WORDS: [&str; 8] = ["paper", "paper mill", "mill", "looms", "loom", "northern looms", "müller", "mü"];

fn fields_of(kind: Kind) -> Vec<&'static str> {
    FIELDS.iter().filter(|(_, of)| *of == kind).map(|(name, _)| *name).collect()
}

/// A condition in both languages.
#[derive(Debug, Clone)]
struct Condition {
    ours: Value,
    theirs: Value,
}

fn var(name: &str) -> Value {
    json!({ "var": name })
}

fn present(name: &str) -> Value {
    json!({ "!==": [var(name), null] })
}

fn and(parts: impl IntoIterator<Item = Value>) -> Value {
    json!({ "and": parts.into_iter().collect::<Vec<_>>() })
}

fn or(parts: impl IntoIterator<Item = Value>) -> Value {
    json!({ "or": parts.into_iter().collect::<Vec<_>>() })
}

fn not(part: &Value) -> Value {
    json!({ "!": [part] })
}

/// A number between 0 and 40, sometimes with decimals: accounts and rules draw from the same few, so that bounds are met.
fn number(dice: &mut Dice) -> Value {
    let whole = i64::try_from(dice.below(41)).unwrap();
    let value = match dice.below(5) {
        0 => format!("{whole}.5"),
        1 => format!("{whole}.001"),
        _ => whole.to_string(),
    };
    serde_json::from_str(&value).unwrap()
}

fn less(a: &Value, b: &Value) -> bool {
    a.as_f64().unwrap() < b.as_f64().unwrap()
}

fn two_numbers(dice: &mut Dice) -> (Value, Value) {
    let (a, b) = (number(dice), number(dice));
    if less(&b, &a) { (b, a) } else { (a, b) }
}

/// A day near the day of the evaluation.
fn day(dice: &mut Dice) -> i64 {
    TODAY - 20 + i64::try_from(dice.below(25)).unwrap()
}

/// A date as a rule writes it, with its first and its last millisecond: a whole day, or a moment.
fn moment(dice: &mut Dice) -> (Value, i64, i64) {
    let day = day(dice);
    if dice.chance(60) {
        let text = Timestamp::from_millis(day * DAY_MS).to_string();
        return (json!(text[..10]), day * DAY_MS, day * DAY_MS + DAY_MS - 1);
    }
    let at = day * DAY_MS + 6 * 3_600_000 * i64::try_from(dice.below(4)).unwrap();
    (json!(Timestamp::from_millis(at).to_string()), at, at)
}

/// A test on one field, and its operator.
fn test(dice: &mut Dice) -> (Condition, &'static str) {
    let op = *dice.pick(&OPS);
    let kinds: &[Kind] = match op {
        "gt" | "gte" | "lt" | "lte" | "between" => &[Kind::Number, Kind::Number, Kind::Date],
        "contains" | "not_contains" | "starts_with" => &[Kind::Text, Kind::List],
        "within_days" => &[Kind::Date],
        _ => &[Kind::Text, Kind::Number, Kind::Truth, Kind::Date, Kind::List],
    };
    let kind = *dice.pick(kinds);
    let field = *dice.pick(&fields_of(kind));
    let (value, theirs) = match op {
        "exists" => (None, json!({ "===": [var(&format!("{field}_known")), true] })),
        "not_exists" => (None, json!({ "!==": [var(&format!("{field}_known")), true] })),
        "within_days" => {
            let days = dice.below(20) + 1;
            let since = json!({ "<=": [0, var("signed_at_days"), days] });
            (Some(json!(days)), and([present(field), since]))
        }
        "contains" | "not_contains" | "starts_with" => {
            let word = *dice.pick(&WORDS);
            (Some(json!(word)), of_text(op, kind, field, word))
        }
        "gt" | "gte" | "lt" | "lte" | "between" if kind == Kind::Number => of_order(dice, op, field),
        "gt" | "gte" | "lt" | "lte" | "between" => of_dates(dice, op, field),
        _ => of_equality(dice, op, kind, field),
    };
    let mut ours = json!({ "field": field, "op": op });
    if let Some(value) = value {
        ours["value"] = value;
    }
    (Condition { ours, theirs }, op)
}

fn begins(text: Value, word: &str) -> Value {
    json!({ "===": [{ "substr": [text, 0, word.chars().count()] }, word] })
}

fn of_text(op: &str, kind: Kind, field: &str, word: &str) -> Value {
    let holds = json!({ "in": [word, var(field)] });
    match (op, kind) {
        ("contains", _) => and([present(field), holds]),
        ("not_contains", _) => and([present(field), not(&holds)]),
        (_, Kind::List) => and([present(field), json!({ "some": [var(field), begins(var(""), word)] })]),
        _ => and([present(field), begins(var(field), word)]),
    }
}

fn of_order(dice: &mut Dice, op: &str, field: &str) -> (Option<Value>, Value) {
    let (low, high) = (format!("{field}.low"), format!("{field}.high"));
    let value = number(dice);
    match op {
        "gt" => (Some(value.clone()), and([present(&low), json!({ ">": [var(&low), value] })])),
        "gte" => (Some(value.clone()), and([present(&low), json!({ ">=": [var(&low), value] })])),
        "lt" => (Some(value.clone()), and([present(&high), json!({ "<": [var(&high), value] })])),
        "lte" => (Some(value.clone()), and([present(&high), json!({ "<=": [var(&high), value] })])),
        _ => {
            let (from, to) = two_numbers(dice);
            let inside = and([json!({ "<=": [from, var(&low)] }), json!({ "<=": [var(&high), to] })]);
            (Some(json!([from, to])), and([present(&low), present(&high), inside]))
        }
    }
}

fn of_dates(dice: &mut Dice, op: &str, field: &str) -> (Option<Value>, Value) {
    let (text, first, last) = moment(dice);
    let compared = match op {
        "gt" => json!({ ">": [var(field), last] }),
        "gte" => json!({ ">=": [var(field), first] }),
        "lt" => json!({ "<": [var(field), first] }),
        "lte" => json!({ "<=": [var(field), last] }),
        _ => {
            let (mut from, mut to) = ((text, first, last), moment(dice));
            if to.2 < from.1 {
                std::mem::swap(&mut from, &mut to);
            }
            return (Some(json!([from.0, to.0])), and([present(field), json!({ "<=": [from.1, var(field), to.2] })]));
        }
    };
    (Some(text), and([present(field), compared]))
}

/// `eq`, `neq`, `in` and `not_in`: one or several values, some of them of a kind that the field never has.
fn of_equality(dice: &mut Dice, op: &str, kind: Kind, field: &str) -> (Option<Value>, Value) {
    let several = matches!(op, "in" | "not_in");
    let count = if several { dice.below(3) + 1 } else { 1 };
    let (mut values, mut equal, mut possible) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let (value, same, may_be) = operand(dice, kind, field);
        values.push(value);
        equal.push(same);
        possible.push(may_be);
    }
    let theirs = match op {
        "eq" | "in" => and([present(field), or(equal)]),
        _ => and([present(field), not(&or(possible))]),
    };
    (Some(if several { Value::Array(values) } else { values.remove(0) }), theirs)
}

/// A value that a field may equal: as a rule writes it, when the field surely equals it, and when it may.
fn operand(dice: &mut Dice, kind: Kind, field: &str) -> (Value, Value, Value) {
    let never = json!({ "===": [1, 2] });
    let both = |value: Value, same: Value| (value, same.clone(), same);
    match kind {
        Kind::Text if dice.chance(10) => both(number(dice), never),
        Kind::Text => {
            let word = *dice.pick(&WORDS);
            both(json!(word), json!({ "===": [var(field), word] }))
        }
        Kind::Number if dice.chance(10) => both(json!("paper"), never),
        Kind::Number => {
            let (low, high) = (format!("{field}.low"), format!("{field}.high"));
            let value = number(dice);
            let written = if dice.chance(20) { json!(value.to_string()) } else { value.clone() };
            let same = and([json!({ "===": [var(&low), value] }), json!({ "===": [var(&high), value] })]);
            let above = or([not(&present(&low)), json!({ "<=": [var(&low), value] })]);
            let below = or([not(&present(&high)), json!({ "<=": [value, var(&high)] })]);
            (written, same, and([above, below]))
        }
        Kind::Truth => {
            let truth = dice.chance(50);
            let written = if dice.chance(30) { json!(if truth { "yes" } else { "no" }) } else { json!(truth) };
            both(written, json!({ "===": [var(field), truth] }))
        }
        Kind::Date => {
            let (text, first, last) = moment(dice);
            both(text, json!({ "<=": [first, var(field), last] }))
        }
        Kind::List => {
            let word = *dice.pick(&WORDS);
            both(json!(word), json!({ "in": [word, var(field)] }))
        }
    }
}

/// A condition with groups up to three deep.
fn condition(dice: &mut Dice, depth: u32) -> (Condition, Option<&'static str>) {
    if depth == 0 || dice.chance(45) {
        let (condition, op) = test(dice);
        return (condition, Some(op));
    }
    let count = dice.below(3) + 1;
    let members: Vec<Condition> = (0..count).map(|_| condition(dice, depth - 1).0).collect();
    let (ours, theirs): (Vec<Value>, Vec<Value>) = members.into_iter().map(|member| (member.ours, member.theirs)).unzip();
    let condition = if dice.chance(50) {
        Condition { ours: json!({ "all": ours }), theirs: and(theirs) }
    } else {
        Condition { ours: json!({ "any": ours }), theirs: or(theirs) }
    };
    (condition, None)
}

struct Rule {
    points: i64,
    disqualifies: bool,
    group: Option<usize>,
    condition: Condition,
    /// The operator, when the rule is a single test.
    op: Option<&'static str>,
}

struct Ruleset {
    rules: Vec<Rule>,
    group_caps: [Option<i64>; 2],
    cap: Option<i64>,
    means_no: Vec<&'static str>,
}

impl Ruleset {
    fn new(dice: &mut Dice) -> Self {
        let rules = (0..dice.below(8) + 1).map(|_| {
            let (condition, op) = condition(dice, 3);
            let disqualifies = dice.chance(10);
            let points = if disqualifies { 0 } else { i64::try_from(dice.below(100)).unwrap() - 30 };
            let group = [None, None, Some(0), Some(1)][usize::try_from(dice.below(4)).unwrap()];
            Rule { points, disqualifies, group, condition, op }
        });
        let rules = rules.collect();
        let mut cap = |most: u64| dice.chance(50).then(|| i64::try_from(dice.below(most)).unwrap());
        let (group_caps, cap) = ([cap(60), cap(60)], cap(120));
        let means_no = fields_of(Kind::Truth).into_iter().filter(|_| dice.chance(40)).collect();
        Self { rules, group_caps, cap, means_no }
    }

    fn to_value(&self, version: u64) -> Value {
        let rules = self.rules.iter().enumerate().map(|(n, rule)| {
            let mut value = json!({ "id": format!("r{n}"), "points": rule.points, "condition": rule.condition.ours });
            if rule.disqualifies {
                value["disqualifies"] = json!(true);
            }
            if let Some(group) = rule.group {
                value["group"] = json!(format!("g{group}"));
            }
            value
        });
        let rules: Vec<Value> = rules.collect();
        let groups = self.group_caps.iter().enumerate().map(|(n, cap)| match cap {
            Some(cap) => json!({ "id": format!("g{n}"), "cap": cap }),
            None => json!({ "id": format!("g{n}") }),
        });
        let mut value = json!({
            "id": "random", "name": "Random", "version": version, "missing_means_no": self.means_no, "groups": groups.collect::<Vec<_>>(), "rules": rules,
        });
        if let Some(cap) = self.cap {
            value["cap"] = json!(cap);
        }
        value
    }

    /// The total by plain arithmetic, given which rules hold.
    fn total(&self, holds: &[bool]) -> i64 {
        let points = |group: Option<usize>| -> i64 {
            self.rules.iter().zip(holds).filter(|(rule, holds)| rule.group == group && **holds).map(|(rule, _)| rule.points).sum()
        };
        let of_group = |group: usize| self.group_caps[group].map_or(points(Some(group)), |cap| points(Some(group)).min(cap));
        let total = points(None) + of_group(0) + of_group(1);
        self.cap.map_or(total, |cap| total.min(cap)).max(0)
    }
}

/// What is known of an account, by field: the value in Harpoon's form and in plain form.
type Known = BTreeMap<&'static str, (Value, Value)>;

fn account(dice: &mut Dice) -> Known {
    let mut known = Known::new();
    for (field, kind) in FIELDS {
        if dice.chance(30) {
            continue;
        }
        let value = match kind {
            Kind::Text => both(json!(dice.pick(&WORDS))),
            Kind::Number if dice.chance(25) => interval(dice),
            Kind::Number => {
                let value = number(dice);
                (value.clone(), json!({ "low": value, "high": value }))
            }
            Kind::Truth => both(json!(dice.chance(50))),
            Kind::Date => {
                let at = day(dice) * DAY_MS + 3 * 3_600_000 * i64::try_from(dice.below(8)).unwrap();
                (json!({ "date": Timestamp::from_millis(at).to_string() }), json!(at))
            }
            Kind::List => {
                let mut words: Vec<&str> = (0..dice.below(4) + 1).map(|_| *dice.pick(&WORDS)).collect();
                words.sort_unstable();
                words.dedup();
                both(json!(words))
            }
        };
        known.insert(field, value);
    }
    known
}

fn both(value: Value) -> (Value, Value) {
    (value.clone(), value)
}

/// An interval, open at one end in some cases.
fn interval(dice: &mut Dice) -> (Value, Value) {
    let (from, to) = loop {
        let (from, to) = two_numbers(dice);
        if less(&from, &to) {
            break (from, to);
        }
    };
    match dice.below(4) {
        0 => (json!({ "from": from }), json!({ "low": from })),
        1 => (json!({ "to": to }), json!({ "high": to })),
        _ => (json!({ "from": from, "to": to }), json!({ "low": from, "high": to })),
    }
}

/// The document that JSONLogic looks at.
fn plain(known: &Known, means_no: &[&str]) -> Value {
    let mut document = Map::new();
    for (field, kind) in FIELDS {
        let value = known.get(field).map(|(_, plain)| plain.clone());
        document.insert(format!("{field}_known"), json!(value.is_some()));
        if let (Kind::Date, Some(at)) = (kind, value.as_ref().and_then(Value::as_i64)) {
            document.insert(format!("{field}_days"), json!(TODAY - at.div_euclid(DAY_MS)));
        }
        let value = value.or_else(|| means_no.contains(&field).then_some(Value::Bool(false)));
        document.extend(value.map(|value| (field.to_owned(), value)));
    }
    Value::Object(document)
}

/// How often something was so, and how often it was not.
type Counts = BTreeMap<&'static str, [u64; 2]>;

/// Compares one ruleset on all accounts; answers how many rules were compared.
fn compare(seed: u64, counts: &mut Counts) -> usize {
    let mut dice = Dice(seed);
    let ruleset = Ruleset::new(&mut dice);
    let document = ruleset.to_value(seed);
    let read = AccountRuleset::parse(&document.to_string()).unwrap_or_else(|problems| panic!("seed {seed}: {problems}: {document}"));
    let compiled = read.compile();
    let engine = Engine::new();
    let compile = |rule: &Rule| engine.compile(rule.condition.theirs.to_string().as_str()).unwrap();
    let theirs: Vec<Logic> = ruleset.rules.iter().map(compile).collect();
    // In the afternoon, so that the time of day would show if it counted.
    let now = Timestamp::from_millis(TODAY * DAY_MS + 15 * 3_600_000);
    let arena = Bump::new();
    for _ in 0..ACCOUNTS {
        let known = account(&mut dice);
        let ours: Map<String, Value> = known.iter().map(|(field, (ours, _))| ((*field).to_owned(), ours.clone())).collect();
        let text = Value::Object(ours).to_string();
        let fields: BTreeMap<String, FieldValue> = serde_json::from_str(&text).unwrap();
        let plain = plain(&known, &ruleset.means_no).to_string();
        let at_theirs: &DataValue<'_> = arena.alloc(DataValue::from_str(&plain, &arena).unwrap());
        let asked = |logic: &Logic| engine.evaluate(logic, at_theirs, &arena).unwrap().as_bool().expect("true or false");
        let holds: Vec<bool> = theirs.iter().map(asked).collect();
        let explained = compiled.evaluate(&fields, now);
        let at = || format!("seed {seed}\nruleset {document}\naccount {text}\nplain {plain}");
        for ((rule, line), holds) in ruleset.rules.iter().zip(&explained.lines).zip(&holds) {
            let ours = matches!(line.outcome, Outcome::Matched | Outcome::Capped(_));
            assert_eq!(ours, *holds, "rule {}: {:?}\nas JSONLogic {}\n{}", line.rule_id, line.outcome, rule.condition.theirs, at());
            if let Some(op) = rule.op {
                counts.entry(op).or_default()[usize::from(*holds)] += 1;
            }
        }
        let total = ruleset.total(&holds);
        let disqualified = ruleset.rules.iter().zip(&holds).any(|(rule, holds)| rule.disqualifies && *holds);
        let raw = compiled.tally_json(&text, now).unwrap();
        let tally = compiled.tally(&fields, now);
        for (way, score, out) in [
            ("explained", explained.score, !explained.disqualified_by.is_empty()),
            ("stored fields", tally.score, tally.disqualified),
            ("raw JSON", raw.score, raw.disqualified),
        ] {
            assert_eq!((i64::from(score), out), (total, disqualified), "{way}: {}", at());
        }
        counts.entry("a total above 0").or_default()[usize::from(total > 0)] += 1;
        counts.entry("disqualified").or_default()[usize::from(disqualified)] += 1;
        counts.entry("capped").or_default()[usize::from(explained.caps.iter().any(|cap| cap.points < 0))] += 1;
        counts.entry("floored").or_default()[usize::from(explained.caps.iter().any(|cap| cap.points > 0))] += 1;
    }
    ruleset.rules.len() * ACCOUNTS
}

#[test]
fn random_rulesets_score_random_accounts_as_another_rule_engine_does() {
    let mut counts = Counts::new();
    let rules: usize = (FIRST_SEED..FIRST_SEED + RULESETS).map(|seed| compare(seed, &mut counts)).sum();
    println!(
        "{RULESETS} rulesets × {ACCOUNTS} accounts from seed {FIRST_SEED}: {} totals and {rules} rules are those of datalogic-rs",
        RULESETS as usize * ACCOUNTS
    );
    for (what, [not, so]) in &counts {
        println!("{what:<16} {so:>5} times, {not:>5} times not");
        assert!(*so >= 50 && *not >= 50, "{what}: {so} times, {not} times not: too few to tell anything");
    }
    // The fifteen operators and the four of a whole score.
    assert_eq!(counts.len(), OPS.len() + 4);
}
