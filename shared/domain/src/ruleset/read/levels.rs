//! Level rulesets from JSON.

use super::{MAX_ID, MAX_NAME, MAX_TEXT};
use crate::{
    account_rules::Condition,
    level::{Cut, Level, LevelRuleset, MAX_DWELL_HOURS, MAX_EVERY_DAYS, MAX_HYSTERESIS_PERCENT, MAX_LEVELS, Percentiles, Play},
    problem::{Problem, Problems, join, shape},
    ruleset::{LevelContent, content::finished},
};
use serde_json::{Map, Value};

/// Colours that have a name; any other is written `#rrggbb`.
const COLOURS: [&str; 7] = ["gray", "green", "blue", "purple", "yellow", "orange", "red"];
/// The highest bound of a level: more points than any ruleset gives.
const MAX_BOUND: i64 = 1_000_000_000;

impl LevelContent {
    /// Reads levels with their segment and checks them. The error lists every problem with its JSON pointer.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let content = content(&mut problems, value);
        if let Some(content) = content.as_ref().filter(|_| problems.0.is_empty()) {
            let levels = &content.ruleset.levels;
            let of_cuts = content.percentiles.iter().flat_map(|percentiles| percentiles.faults(levels));
            let faults = content.ruleset.faults().into_iter().chain(of_cuts);
            problems.0.extend(faults.map(|fault| Problem { pointer: fault.pointer, message: fault.detail }));
        }
        finished(content, problems)
    }
}

impl Level {
    /// Reads one level at a place of a document and notes every problem of it.
    pub(crate) fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let map = problems.object(at, value, &["id", "name", "color", "min", "max", "play"])?;
        let id = problems.text(at, map, "id", MAX_ID);
        let name = problems.optional_text(at, map, "name", MAX_NAME).or_else(|| id.clone());
        let color = color(problems, at, map);
        let min = problems.whole(at, map, "min", 0..=MAX_BOUND);
        let max = problems.optional_whole(at, map, "max", 0..=MAX_BOUND);
        let play = map.get("play").filter(|play| !play.is_null()).and_then(|value| play(problems, &join(at, "play"), value));
        Some(Self { id: id?, name: name?, color: color?, min: min?, max, play })
    }

    /// The level as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn content(problems: &mut Problems, value: &Value) -> Option<LevelContent> {
    let known = ["id", "name", "version", "segment", "levels", "hysteresis_percent", "dwell_hours", "percentiles"];
    let map = problems.object("", value, &known)?;
    let present = |key: &str| map.get(key).filter(|value| !value.is_null());
    let segment = present("segment").map(|value| Condition::read(problems, "/segment", value));
    let ruleset = ruleset(problems, map);
    let percentiles = present("percentiles").map(|value| percentiles(problems, value));
    let segment = match segment {
        Some(segment) => Some(segment?),
        None => None,
    };
    let percentiles = match percentiles {
        Some(percentiles) => Some(percentiles?),
        None => None,
    };
    Some(LevelContent { ruleset: ruleset?, segment, percentiles })
}

fn ruleset(problems: &mut Problems, map: &Map<String, Value>) -> Option<LevelRuleset> {
    let id = problems.text("", map, "id", MAX_ID);
    let name = problems.text("", map, "name", MAX_NAME);
    let version = problems.whole("", map, "version", 1..=i64::MAX).and_then(|n| u64::try_from(n).ok());
    let hysteresis_percent = problems.count_or("", map, "hysteresis_percent", 0..=MAX_HYSTERESIS_PERCENT, 0);
    let dwell_hours = problems.count_or("", map, "dwell_hours", 0..=MAX_DWELL_HOURS, 0);
    let listed = problems.array("/levels", map.get("levels").unwrap_or(&Value::Null))?;
    // More of them are a fault of the whole.
    let levels = listed.iter().enumerate().take(MAX_LEVELS + 1);
    let levels = levels.filter_map(|(i, value)| Level::read(problems, &join("/levels", i), value)).collect();
    Some(LevelRuleset {
        id: id?,
        name: name?,
        version: version?,
        levels,
        hysteresis_percent: hysteresis_percent?,
        dwell_hours: dwell_hours?,
    })
}

fn percentiles(problems: &mut Problems, value: &Value) -> Option<Percentiles> {
    let at = "/percentiles";
    let map = problems.object(at, value, &["cuts", "every_days"])?;
    let every_days = problems.optional_whole(at, map, "every_days", 1..=i64::from(MAX_EVERY_DAYS));
    let listed = problems.array("/percentiles/cuts", map.get("cuts").unwrap_or(&Value::Null))?;
    // More of them are a fault of the whole.
    let cuts = listed.iter().enumerate().take(MAX_LEVELS + 1);
    let cuts = cuts.filter_map(|(i, value)| cut(problems, &join("/percentiles/cuts", i), value)).collect();
    Some(Percentiles { cuts, every_days: every_days.and_then(|days| u32::try_from(days).ok()) })
}

fn cut(problems: &mut Problems, at: &str, value: &Value) -> Option<Cut> {
    let map = problems.object(at, value, &["level", "top_percent"])?;
    let level = problems.text(at, map, "level", MAX_ID);
    let top_percent = problems.count(at, map, "top_percent", 1..=100);
    Some(Cut { level: level?, top_percent: top_percent? })
}

fn color(problems: &mut Problems, at: &str, map: &Map<String, Value>) -> Option<String> {
    let value = map.get("color").unwrap_or(&Value::Null);
    let text = value.as_str().map(str::trim).filter(|text| is_color(text));
    if text.is_none() {
        let named = COLOURS.map(|name| format!("`{name}`")).join(", ");
        problems.add(&join(at, "color"), format!("must be `#rrggbb` or one of {named}, got {}", shape(value)));
    }
    text.map(str::to_owned)
}

fn is_color(text: &str) -> bool {
    let hex = |digits: &str| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    COLOURS.contains(&text) || text.strip_prefix('#').is_some_and(hex)
}

fn play(problems: &mut Problems, at: &str, value: &Value) -> Option<Play> {
    let map = problems.object(at, value, &["targeting", "sales_motion", "success_metric"])?;
    let targeting = problems.text(at, map, "targeting", MAX_TEXT);
    let sales_motion = problems.text(at, map, "sales_motion", MAX_TEXT);
    let success_metric = problems.text(at, map, "success_metric", MAX_TEXT);
    Some(Play { targeting: targeting?, sales_motion: sales_motion?, success_metric: success_metric? })
}
