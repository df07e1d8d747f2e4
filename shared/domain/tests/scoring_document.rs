//! The numbers in `docs/scoring.md` are those that come out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use domain::{
    Day, Identity,
    decay::{Decay, Step},
    engagement::{Aggregation, EngagementRule, EngagementRuleset, MatchingPart},
    evaluate::{Evaluation, Inputs},
    facts::{Matched, PerDay},
    field::FieldFacts,
    grade::Grade,
    level::LevelRuleset,
    model::{Model, ModelDocument, default_document},
    score::apportion,
    state::IdentityState,
    surge::{Earning, SurgeSettings},
};

const DOCUMENT: &str = include_str!("../../../docs/scoring.md");

/// The rows of the table with this head, cell by cell.
fn table(head: &str) -> Vec<Vec<String>> {
    let mut lines = DOCUMENT.lines().skip_while(|line| *line != head);
    assert!(lines.next().is_some(), "there is no table with the head {head}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// A number as people write it: `1,000` or `100.000` with three decimals.
fn whole(text: &str) -> i64 {
    text.replace(',', "").parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn milli(text: &str) -> i64 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let sign = if text.starts_with(['−', '-']) { -1 } else { 1 };
    let whole: i64 = whole.trim_start_matches(['−', '-']).parse().unwrap();
    sign * (whole * 1_000 + format!("{decimals:0<3}").parse::<i64>().unwrap())
}

fn defaults() -> ModelDocument {
    default_document().unwrap()
}

#[test]
fn decay_is_as_the_table_says() {
    let steps = vec![Step { from_day: 7, percent: 50 }, Step { from_day: 30, percent: 0 }];
    let half = |days| Decay::HalfLife { days };
    let curves = [half(21), half(45), half(90), Decay::Linear { days: 30 }, Decay::Step { steps }];
    let rows = table("| Age in days | half-life 21 | half-life 45 | half-life 90 | linear 30 | steps 7: 50 %, 30: 0 % |");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let age = row[0].parse().unwrap();
        for (curve, left) in curves.iter().zip(&row[1..]) {
            assert_eq!(curve.apply(100_000, age), milli(left), "{curve:?} at {age}");
        }
    }
}

#[test]
fn the_built_in_rules_are_those_of_the_tables() {
    let document = defaults();
    let rules = table("| Rule | Condition | Points |");
    let told: Vec<i64> = rules.iter().map(|row| whole(&row[2])).collect();
    let points: Vec<i64> = document.account.rules.iter().map(|rule| i64::from(rule.points)).collect();
    assert_eq!(told, points);
    assert_eq!(Model::compile(document.clone()).unwrap().account.possible(), 145);
    let rules = table("| Rule | Points | Counted | Cap per day | Half-life |");
    assert_eq!(rules.len(), document.engagement.rules.len());
    for (row, rule) in rules.iter().zip(&document.engagement.rules) {
        let cap = if row[3].is_empty() { 0 } else { whole(&row[3]) };
        let days = row[4].trim_end_matches(" days").parse().unwrap();
        assert_eq!(
            (row[0].as_str(), whole(&row[1]), cap, Decay::HalfLife { days }),
            (rule.name.as_str(), rule.points, rule.cap_per_day, rule.decay.clone())
        );
    }
}

#[test]
fn the_built_in_levels_are_those_of_the_table() {
    let document = defaults();
    let rows = table("| Account level | from | Lead level | from | Account engagement level | from |");
    let levels: [&LevelRuleset; 3] = [&document.account_levels, &document.lead_levels, &document.engagement_levels];
    for (column, ruleset) in levels.into_iter().enumerate() {
        let told: Vec<(&str, i64)> = rows.iter().map(|row| (row[2 * column].as_str(), whole(&row[2 * column + 1]))).collect();
        let known: Vec<(&str, i64)> = ruleset.levels.iter().map(|level| (level.name.as_str(), level.min)).collect();
        assert_eq!(told, known);
    }
    let rows = table("| Possible | 20 | 50 | 80 |");
    for row in rows {
        let (before, after) = row[0].split_once(" → ").unwrap();
        let proposed = document.account_levels.proposed(whole(before), whole(after)).unwrap();
        let told: Vec<i64> = row[1..].iter().map(|min| whole(min)).collect();
        assert_eq!(proposed.iter().skip(1).map(|level| level.min).collect::<Vec<_>>(), told, "{}", row[0]);
    }
}

#[test]
fn grades_begin_where_the_table_says() {
    let rows = table("| Grade | At least | Of 145 | Of 100 |");
    for row in rows.iter().filter(|row| row[0] != "F") {
        let grade = Grade::parse(&row[0]).unwrap();
        assert_eq!(format!("{} %", grade.least_percent()), row[1]);
        for (possible, least) in [(145, whole(&row[2])), (100, whole(&row[3]))] {
            assert_eq!(Grade::of(least, possible, false), grade);
            assert_ne!(Grade::of(least - 1, possible, false), grade);
        }
    }
}

#[test]
fn whole_points_are_shared_out_as_the_table_says() {
    for row in table("| Lines | Sum | Rounded down | Shown |") {
        let spaced = row[0].replace("− ", "+ −");
        let parts: Vec<i64> = spaced.split(" + ").map(milli).collect();
        let (_, total) = row[1].split_once(" → ").unwrap();
        let shown: Vec<i64> = row[3].split(", ").map(whole).collect();
        assert_eq!(apportion(&parts, whole(total)), shown, "{}", row[0]);
    }
}

/// A model in which every event is worth one point for ever.
fn one_point_each(aggregation: Aggregation) -> Model {
    let part = MatchingPart { events: vec!["Met".to_owned()], filters: Vec::new(), count: domain::engagement::CountMode::Every };
    let rule = EngagementRule { id: "met".into(), name: "Met".into(), points: 1, part, cap_per_day: 0, cap: 0, decay: Decay::None };
    let engagement = EngagementRuleset { lead_cap: 0, aggregation, rules: vec![rule], ..defaults().engagement };
    Model::compile(ModelDocument { engagement, ..defaults() }).unwrap()
}

#[test]
fn leads_are_summed_up_as_the_table_says() {
    const TODAY: Day = Day(20_000);
    let aggregations = [Aggregation::Sum, Aggregation::Max, Aggregation::TopN { n: 2 }, Aggregation::Diminishing { percent: 50 }];
    for (row, aggregation) in table("| `aggregation.kind` | Counts | Leads with 100, 60 and 20 |").iter().zip(aggregations) {
        let model = one_point_each(aggregation);
        let part = model.engagement.ruleset.rules[0].part.id();
        let lead = |points: u32| {
            let mut state = IdentityState::new(Identity::user(&points.to_string()), &model.matcher);
            let days: PerDay = [(TODAY, points)].into_iter().collect();
            state.facts.matched = vec![Matched { parts: vec![part], days }];
            state
        };
        let states = [100, 60, 20].map(lead);
        let states = states.iter().map(|state| (state.identity.id(), state)).collect();
        let evaluation = Evaluation::new(&model, Inputs { own: FieldFacts::new(), states, giant: false }, TODAY);
        let told = row[2].rsplit(" = ").next().unwrap();
        assert_eq!(evaluation.engagement.shown(), whole(told), "{}", row[0]);
    }
}

#[test]
fn surge_settings_and_examples_are_as_the_tables_say() {
    let settings = defaults().surge;
    let known = serde_json::to_value(&settings).unwrap();
    for row in table("| Setting | Built in | Range |") {
        let name = row[0].trim_matches('`');
        assert_eq!(known[name].as_i64(), Some(whole(&row[1])), "{name}");
    }
    for row in table("| Window | Leads | Baseline | A week of it | Ratio | |") {
        let Ok(window) = row[0].parse::<u32>() else { continue };
        let (leads, baseline): (usize, u32) = (row[1].parse().unwrap(), row[2].parse().unwrap());
        let (today, before) = (Day(1_000), Day(985));
        let earning = Earning {
            events: [(before, baseline), (today, window)].into_iter().filter(|(_, n)| *n > 0).collect(),
            leads: vec![vec![today]; leads],
            first_day: Some(Day(1)),
            counted: None,
        };
        let surge = earning.surge(&settings, today);
        assert_eq!(surge.active, row[5] == "begins", "{row:?}");
        let ratio = row[4].rsplit(" = ").next().unwrap();
        // The answer has whole percents, rounded down; the table has two decimals, rounded.
        let percent = (milli(ratio) + 5) / 10;
        assert!(percent.abs_diff(i64::try_from(surge.ratio_percent(&settings)).unwrap()) <= 1, "{row:?}");
    }
    let absolute = SurgeSettings::Absolute { events: 8, days: 3 };
    for (events, surges) in [(8, true), (7, false)] {
        let earning = Earning { events: [(Day(1_000), events)].into_iter().collect(), ..Earning::default() };
        assert_eq!(earning.surge(&absolute, Day(1_000)).active, surges);
    }
}

#[test]
fn every_operator_and_every_reason_is_explained() {
    let operators = "eq neq gt gte lt lte between in not_in contains not_contains starts_with exists not_exists within_days";
    let told: String =
        table("| Operator | Holds when the field is | Value | Fields |").into_iter().map(|row| format!("{} ", row[0])).collect();
    for operator in operators.split(' ') {
        assert!(told.contains(&format!("`{operator}`")), "{operator}");
    }
    let modes: Vec<String> = table("| `count.mode` | Counts | A lead that does it twice on Monday and once on Tuesday |")
        .into_iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    for mode in ["every", "once_per_lead", "once_per_session", "once_per_day", "once_per_key", "once_per_key_and_day", "once_per_hours"] {
        assert!(modes.iter().any(|told| told == mode), "{mode}");
    }
}
