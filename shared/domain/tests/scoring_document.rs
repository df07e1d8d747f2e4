//! The numbers in `docs/scoring.md` are those that come out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use domain::{
    Day, Identity, Timestamp,
    account_rules::AccountRuleset,
    decay::{Decay, Step, shown},
    engagement::{Aggregation, EngagementRule, EngagementRuleset, MatchingPart},
    evaluate::{Evaluation, Inputs},
    facts::{Matched, PerDay},
    field::{FieldFacts, FieldName, FieldValue},
    grade::{Grade, GridCell},
    level::LevelRuleset,
    model::{Model, ModelDocument, default_document},
    owner::OwnerRules,
    programmes::Programmes,
    score::apportion,
    segments::AccountFacts,
    state::IdentityState,
    surge::{Earning, SurgeSettings},
};
use std::collections::BTreeMap;

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
        let evaluation = Evaluation::new(&model, Inputs { own: FieldFacts::new(), states, stated: None, giant: false }, TODAY);
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

/// What a ruleset that is given as JSON makes of fields that are given as JSON.
fn score(ruleset: serde_json::Value, fields: &serde_json::Value) -> i64 {
    let ruleset = AccountRuleset::parse(&ruleset.to_string()).unwrap();
    i64::from(ruleset.compile().tally_json(&fields.to_string(), Timestamp::default()).unwrap().score)
}

#[test]
fn one_company_comes_to_what_its_table_says() {
    let document = defaults();
    let rows = table("| Step | Worked | Comes to |");
    let told = |step: &str| rows.iter().find(|row| row[0] == step).unwrap_or_else(|| panic!("no step {step}"))[2].clone();
    let account = document.account.compile();
    let fields = r#"{"employees": 1500, "country": "United States", "industry": "Computer Software"}"#;
    let fit = i64::from(account.tally_json(fields, Timestamp::default()).unwrap().score);
    assert_eq!(told("Account score"), format!("{fit} of 145"));
    let known = fields.replace('{', r#"{"revenue": 50000000, "#);
    let most = account.tally_json(&known, Timestamp::default()).unwrap().score;
    assert_eq!(told("What is not known"), format!("{most} of 145 at most"));
    assert_eq!(told("Account level"), document.account_levels.natural(fit).unwrap().name);
    let grade = Grade::of(fit, 145, false);
    assert_eq!(told("Grade"), grade.to_string());

    let rule = |id: &str| document.engagement.rules.iter().find(|rule| rule.id == id).unwrap();
    let after = |id: &str, days: i32| rule(id).decay.apply(rule(id).points * 1_000, days);
    let ada = after("demo_request", 3) + after("visit", 0) + after("pricing_page", 0);
    let decimals = |milli: i64| format!("{}.{:03}", milli / 1_000, milli % 1_000);
    assert_eq!(told("Ada"), format!("{}, shown as {}", decimals(ada), shown(ada)));
    assert_eq!(told("Ada's level"), document.lead_levels.natural(shown(ada)).unwrap().name);
    let ben = after("download", 45);
    assert_eq!(told("Ben"), shown(ben).to_string());
    let engagement = shown(ada + ben);
    assert_eq!(told("Engagement score"), engagement.to_string());
    let levels = &document.engagement_levels;
    let level = levels.natural(engagement).unwrap();
    assert_eq!(told("Engagement level"), level.name);
    let from_top = levels.levels.len() - 1 - levels.rank(&level.id).unwrap();
    assert_eq!(told("Grid cell"), GridCell::of(grade, from_top).to_string());
}

#[test]
fn companies_have_the_scores_of_their_table() {
    let fields = [
        r#"{"employees": 1000, "revenue": 50000000, "country": "UK", "industry": "Finance"}"#,
        r#"{"employees": 1500}"#,
        r#"{"employees": 999, "revenue": 50000000, "country": "UK", "industry": "Finance"}"#,
        r#"{"employees": 1000, "revenue": 49999999, "country": "UK", "industry": "Finance"}"#,
        "{}",
    ];
    let rows = table("| Company | Points | Score |");
    assert_eq!(rows.len(), fields.len());
    let account = defaults().account.compile();
    for (row, fields) in rows.iter().zip(fields) {
        let score = account.tally_json(fields, Timestamp::default()).unwrap().score;
        assert_eq!(row[2], score.to_string(), "{}", row[0]);
        if !row[1].is_empty() {
            assert_eq!(row[1].split(" + ").map(whole).sum::<i64>(), whole(&row[2]), "{}", row[0]);
        }
    }
}

fn capped(rules: &[serde_json::Value], cap: Option<i64>, groups: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({ "id": "r", "name": "R", "version": 1, "cap": cap, "groups": groups, "rules": rules })
}

#[test]
fn caps_cut_as_their_table_says() {
    let rule = |id: &str, points: i64, group: Option<&str>| {
        let mut rule = serde_json::json!({"id": id, "points": points, "condition": {"field": "here", "op": "eq", "value": true}});
        rule.as_object_mut().unwrap().extend(group.map(|group| ("group".to_owned(), group.into())));
        rule
    };
    let three = [rule("a", 40, Some("g")), rule("b", 30, Some("g")), rule("c", 20, None)];
    let two = [rule("a", 20, None), rule("b", -50, None)];
    let group = serde_json::json!([{"id": "g", "name": "G", "cap": 50}]);
    let rulesets = [capped(&three, None, &group), capped(&three, Some(60), &group), capped(&two, None, &serde_json::json!([]))];
    let rows = table("| Rules that hold | Caps | Lines below them | Score |");
    assert_eq!(rows.len(), rulesets.len());
    for (row, ruleset) in rows.iter().zip(rulesets) {
        assert_eq!(score(ruleset, &serde_json::json!({"here": true})), whole(&row[3]), "{row:?}");
    }
}

#[test]
fn points_fade_as_their_table_says() {
    let document = defaults();
    let sets: [(&[&str], i32); 4] = [(&["visit", "pricing_page"], 21), (&["sdr_meeting"], 90), (&["download"], 45), (&["demo_request"], 3)];
    for (row, (ids, days)) in table("| Done | After | Left |").iter().zip(sets) {
        assert_eq!(row[1], format!("{days} days"));
        let rules = document.engagement.rules.iter().filter(|rule| ids.contains(&rule.id.as_str()));
        let left: i64 = rules.map(|rule| rule.decay.apply(rule.points * 1_000, days)).sum();
        let told = row[2].split(',').next().unwrap().rsplit(" = ").next().unwrap();
        assert_eq!(left, milli(told), "{}", row[0]);
    }
}

#[test]
fn the_matrix_of_a_dry_run_adds_up() {
    let rows = table("| From, down; to, across | Low Priority | Standard | Qualified | Target | Before |");
    let cells: Vec<Vec<i64>> = rows.iter().map(|row| row[1..].iter().map(|cell| whole(cell)).collect()).collect();
    let (after, levels) = cells.split_last().unwrap();
    for level in levels {
        assert_eq!(level[..4].iter().sum::<i64>(), level[4]);
    }
    for column in 0..5 {
        assert_eq!(levels.iter().map(|level| level[column]).sum::<i64>(), after[column]);
    }
}

/// A cell's text without the marks of code.
fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn the_order_of_sources_decides_as_the_table_says() {
    use domain::{
        Order,
        field::{FieldFact, FieldName, FieldSource, FieldValue, Keep, Number, SourceOrder},
    };
    let rows = table("| `source_order` after `manual` | A group call says | Enrichment says | A person says | Holds |");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let named = row[0].split(' ').map(|word| FieldSource::parse(code(word)).unwrap());
        let order = SourceOrder::new(&std::iter::once(FieldSource::Manual).chain(named).collect::<Vec<_>>()).unwrap();
        let mut facts = FieldFacts::new().ordered(order);
        let name = FieldName::new("employees").unwrap();
        for (source, said) in [FieldSource::Group, FieldSource::Enrichment, FieldSource::Manual].into_iter().zip(&row[1..4]) {
            if !said.is_empty() {
                let value = Some(FieldValue::Number(Number::whole(whole(said)).unwrap()));
                facts.merge(&name, FieldFact::new(value, Order { at: Timestamp::default(), tie: 1 }, source), Keep::Latest);
            }
        }
        assert_eq!(facts.winner("employees").unwrap().value.to_string(), row[4], "{row:?}");
    }
}

#[test]
fn aliases_are_equal_as_the_table_says() {
    use domain::{aliases::AliasTables, field::FieldValue};
    let shown = r#"{"values": {"Enterprise": ["ent", "1000+ employees"], "Small": ["smb"]}}"#;
    assert!(DOCUMENT.contains(shown));
    let values: serde_json::Value = serde_json::from_str(shown).unwrap();
    let tables: AliasTables = serde_json::from_value(serde_json::json!({ "segment": values["values"] })).unwrap();
    let rows = table("| The rule asks for | The field holds | Equal |");
    assert_eq!(rows.len(), 7);
    for row in rows {
        let condition = serde_json::json!({ "field": "segment", "op": "eq", "value": code(&row[0]) });
        let rule = serde_json::json!({ "id": "r", "name": "R", "points": 1, "condition": condition });
        let ruleset = AccountRuleset::read(&serde_json::json!({ "id": "x", "name": "X", "version": 1, "rules": [rule] })).unwrap();
        let fields = BTreeMap::from([("segment", FieldValue::Text(code(&row[1]).to_owned()))]);
        let holds = ruleset.compile_with(&tables.compiled()).tally(&fields, Timestamp::default()).score == 1;
        assert_eq!(if holds { "yes" } else { "no" }, row[2], "{row:?}");
    }
}

#[test]
fn websites_fit_rules_as_the_table_says() {
    use domain::{
        Order,
        facts::{Evidence, Trait},
        profile::ProfileMapping,
    };
    let rows = table("| `website_domain` is | The lead's website | Fits |");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let rule = serde_json::json!({ "when": "website_domain", "equals": code(&row[0]), "account_id": "acct_7" });
        let mapping = ProfileMapping::read(&serde_json::json!({ "rules": [rule] })).unwrap();
        let said = (Order { at: Timestamp::default(), tie: 1 }, Some(code(&row[1]).to_owned()));
        let said = Evidence { traits: [(Trait::Website, said)].into(), ..Evidence::default() };
        assert_eq!(if mapping.account(&said).is_some() { "yes" } else { "no" }, row[2], "{row:?}");
    }
}

#[test]
fn companies_fall_under_segments_as_the_table_says() {
    use domain::{
        field::FieldValue,
        segments::{AccountFacts, SegmentLevels},
        trigger::LevelOf,
    };
    let segment = |name: &str, when: serde_json::Value| {
        let ruleset = LevelRuleset { id: name.to_owned(), name: name.to_owned(), ..defaults().account_levels };
        SegmentLevels { when: serde_json::from_value(when).unwrap(), ruleset }
    };
    let account_segments = vec![
        segment("Partners", serde_json::json!({ "field": "partner_tier", "op": "exists" })),
        segment("DACH", serde_json::json!({ "field": "country", "op": "in", "value": ["DE", "AT", "CH"] })),
    ];
    let model = Model::compile(ModelDocument { account_segments, ..defaults() }).unwrap();
    let rows = table("| Known of the company | Falls under |");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let known = row[0].split(", ").filter_map(|known| known.split_once(' '));
        let fields: BTreeMap<String, FieldValue> =
            known.map(|(field, value)| (field.to_owned(), FieldValue::Text(value.to_owned()))).collect();
        let under = model.levels_for(LevelOf::Account, &fields, Some(&AccountFacts::default()), Day(20_000));
        assert_eq!(under.name, row[1], "{row:?}");
    }
}

#[test]
fn cut_points_are_those_of_the_tables() {
    use domain::level::{Percentiles, ScoreCounts};
    let counts = |scores: &[i64]| {
        let mut counts = ScoreCounts::default();
        scores.iter().for_each(|score| counts.add(*score, 1));
        counts
    };
    let shown = DOCUMENT.lines().find_map(|line| line.strip_prefix("\"percentiles\": ")).unwrap();
    let percentiles: Percentiles = serde_json::from_str(shown).unwrap();
    let levels = defaults().account_levels.levels;
    assert_eq!(percentiles.faults(&levels), vec![]);
    let found = percentiles.cut_points(&levels, &counts(&(1..=25).collect::<Vec<_>>())).unwrap();
    for row in table("| Level | At most | That is | Begins at |") {
        let level = levels.iter().find(|level| level.name == row[0]).unwrap();
        let point = found.points.iter().find(|point| point.level == level.id).unwrap();
        assert_eq!(point.min, whole(&row[3]), "{row:?}");
        if let Some(cut) = percentiles.cuts.iter().find(|cut| cut.level == level.id) {
            assert_eq!((format!("{} %", cut.top_percent), milli(&row[2])), (row[1].clone(), i64::from(cut.top_percent) * 250));
        }
    }
    let rows = table("| Scores | At most | Begins at | Because |");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let scores: Vec<i64> = row[0].split(", ").map(whole).collect();
        let percent = whole(row[1].trim_end_matches(" %"));
        assert_eq!(counts(&scores).cut(u32::try_from(percent).unwrap()), whole(&row[2]), "{row:?}");
    }
}

#[test]
fn owner_rules_take_the_accounts_and_the_turns_that_the_tables_say() {
    let text = DOCUMENT.split("```json").find(|text| text.contains("\"named\"")).unwrap().split("```").next().unwrap();
    let mut document = defaults();
    document.owners = OwnerRules::read(&serde_json::from_str(text).unwrap(), &document).unwrap();
    let model = Model::compile(document).unwrap();
    let rows = table("| Account | Tier | Country | Level | Falls under |");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let fields: BTreeMap<FieldName, FieldValue> = [("country", &row[2])]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (FieldName::new(name).unwrap(), FieldValue::Text(value.clone())))
            .collect();
        let account = AccountFacts::new(Some(row[1].as_str()).filter(|tier| !tier.is_empty()), None, None);
        let rule = model.owner_rule(&fields, &account, Some(&row[3]), Day(20_000));
        assert_eq!(rule.map(|rule| rule.id.as_str()), Some(row[4].as_str()), "{row:?}");
    }
    let dach = model.document.owners.rule("dach").unwrap();
    let owners: Vec<String> = table("| Account that comes under `dach` | Owner |").into_iter().map(|row| row[1].clone()).collect();
    let turns: Vec<&str> = (0..3).map(|turn| dach.owner(turn).unwrap()).collect();
    assert_eq!(owners, turns);
}

#[test]
fn programmes_run_as_the_table_says() {
    let template = Programmes::template().unwrap();
    let columns: Vec<&str> = template.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["Top 20 accounts", "A & B", "Remaining accounts"]);
    let rows = table("| Programme | Top 20 accounts | A & B | Remaining accounts |");
    assert_eq!(rows.len(), template.programmes.len());
    for (row, programme) in rows.iter().zip(&template.programmes) {
        let runs: Vec<&str> = template.columns.iter().map(|column| if programme.runs[&column.id] { "yes" } else { "no" }).collect();
        assert_eq!((row[0].as_str(), &row[1..]), (programme.name.as_str(), &runs.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
    }
}
