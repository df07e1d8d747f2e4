//! Surge settings from JSON.

use crate::{
    problem::Problems,
    ruleset::content::finished,
    surge::{Relative, SurgeSettings},
};
use serde_json::{Map, Value};

const RELATIVE: &[&str] = &[
    "mode",
    "enter_events",
    "enter_leads",
    "enter_ratio_percent",
    "least_weekly",
    "leave_ratio_percent",
    "leave_events",
    "young_days",
    "young_events",
    "young_leads",
];

#[derive(Clone, Copy)]
enum Mode {
    Relative,
    Absolute,
}

impl SurgeSettings {
    /// Reads settings and checks them; numbers of the relative mode that are left out have their defaults. The error lists every problem with
    /// its JSON pointer.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let settings = settings(&mut problems, value);
        finished(settings, problems)
    }
}

fn settings(problems: &mut Problems, value: &Value) -> Option<SurgeSettings> {
    let Some(map) = value.as_object() else {
        problems.object("", value, &[]);
        return None;
    };
    match problems.word("", map, "mode", &[("relative", Mode::Relative), ("absolute", Mode::Absolute)])? {
        Mode::Relative => {
            problems.object("", value, RELATIVE);
            relative(problems, map).map(SurgeSettings::Relative)
        }
        Mode::Absolute => {
            problems.object("", value, &["mode", "events", "days"]);
            let events = problems.count("", map, "events", 1..=100_000);
            let days = problems.count("", map, "days", 1..=28);
            Some(SurgeSettings::Absolute { events: events?, days: days? })
        }
    }
}

fn relative(problems: &mut Problems, map: &Map<String, Value>) -> Option<Relative> {
    let usual = Relative::default();
    let mut number = |key, range, default| problems.count_or("", map, key, range, default);
    let enter_events = number("enter_events", 1..=100_000, usual.enter_events);
    let enter_leads = number("enter_leads", 1..=1_000, usual.enter_leads);
    let enter_ratio_percent = number("enter_ratio_percent", 100..=10_000, usual.enter_ratio_percent);
    let least_weekly = number("least_weekly", 1..=1_000, usual.least_weekly);
    let leave_ratio_percent = number("leave_ratio_percent", 100..=10_000, usual.leave_ratio_percent);
    let leave_events = number("leave_events", 1..=100_000, usual.leave_events);
    let young_days = number("young_days", 7..=365, usual.young_days);
    let young_events = number("young_events", 1..=100_000, usual.young_events);
    let young_leads = number("young_leads", 1..=1_000, usual.young_leads);
    let at_most = |problems: &mut Problems, key: &str, value: Option<u32>, other: &str, limit: Option<u32>| {
        if let (Some(value), Some(limit)) = (value, limit)
            && value > limit
        {
            problems.add(&format!("/{key}"), format!("must be at most `{other}`, {limit}, got {value}"));
        }
    };
    at_most(problems, "leave_ratio_percent", leave_ratio_percent, "enter_ratio_percent", enter_ratio_percent);
    at_most(problems, "leave_events", leave_events, "enter_events", enter_events);
    if let (Some(young), Some(leave)) = (young_events, leave_events)
        && young < leave
    {
        problems.add("/young_events", format!("must be at least `leave_events`, {leave}, got {young}"));
    }
    Some(Relative {
        enter_events: enter_events?,
        enter_leads: enter_leads?,
        enter_ratio_percent: enter_ratio_percent?,
        least_weekly: least_weekly?,
        leave_ratio_percent: leave_ratio_percent?,
        leave_events: leave_events?,
        young_days: young_days?,
        young_events: young_events?,
        young_leads: young_leads?,
    })
}
