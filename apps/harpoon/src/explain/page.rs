//! An explanation as text: tables of at most 100 columns, without colours, whatever the account calls itself.

use super::answer::{
    Cap, Engagement, Explained, Fit, FitCap, FitRule, Lead, LeadRule, LevelPart, Next, Seen, Surge, Thresholds, Unmatched, Way,
};
use crate::{
    client::Account,
    text::{grouped, plain},
};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets};
use serde_json::Value;

/// How wide the output is at most, in characters.
const WIDTH: u16 = 100;
/// How many leads are printed one by one.
const LEADS: usize = 10;
/// The longest name, in characters.
const NAME: usize = 60;
/// The longest value of a field, in characters.
const VALUE: usize = 120;

/// The whole page.
pub fn render(account: &Account, explained: &Explained) -> String {
    let parts = [head(account, explained), fit(&explained.account), engagement(&explained.engagement), surge(&explained.surge)];
    parts.join("\n\n")
}

fn head(account: &Account, explained: &Explained) -> String {
    let domain = account.domain.as_deref().map(|domain| plain(domain, NAME));
    let id = plain(&account.account_id, NAME);
    let name = account.name.as_deref().map(|name| plain(name, NAME)).filter(|name| !name.is_empty());
    let mut named: Vec<String> = Vec::new();
    for part in [name, domain, Some(id)].into_iter().flatten() {
        if !named.contains(&part) {
            named.push(part);
        }
    }
    let rules = &explained.rulesets;
    let ruleset = |ruleset: &super::answer::Ruleset| format!("{}, version {}", plain(&ruleset.name, NAME), ruleset.version);
    let lines = [
        named.join(" · "),
        format!("As of {} (UTC)", plain(&explained.as_of, 20)),
        format!("Rulesets: {}; {}", ruleset(&rules.account), ruleset(&rules.engagement)),
    ];
    lines.join("\n")
}

// ----------------------------------------------------------------------------------------------------------------------------- fit

fn fit(fit: &Fit) -> String {
    let title = format!("ACCOUNT SCORE {} of {}{} · {}", fit.score, fit.possible, level(&fit.level), plain(&fit.known, NAME));
    let mut table = table(["Rule", "Points", "Outcome", "Because"], &[1]);
    for rule in &fit.rules {
        let points = if rule.points == 0 { format!("0 of {}", rule.possible) } else { signed(rule.points) };
        table.add_row([cell(plain(&rule.name, NAME)), number(points), cell(outcome(rule)), cell(because(rule))]);
    }
    for cap in &fit.caps {
        table.add_row([cell(fit_cap(cap)), number(signed(cap.points)), cell(String::new()), cell(String::new())]);
    }
    let sum: i64 = fit.rules.iter().map(|rule| rule.points).chain(fit.caps.iter().map(|cap| cap.points)).sum();
    table.add_row([cell("Sum".to_owned()), number(sum.to_string()), cell(String::new()), cell(String::new())]);
    let mut text = format!("{title}\n{}\n", table.trim_fmt());
    if !fit.missing.is_empty() {
        let fields: Vec<String> =
            fit.missing.iter().map(|missing| format!("{} ({})", plain(&missing.field, NAME), signed(missing.could_add))).collect();
        text.push_str(&wrapped(&format!("Not known: {}. Together they could add {}.", fields.join(", "), fit.missing_could_add)));
    }
    text.push_str(&next(&fit.level, fit_ways));
    text
}

fn outcome(rule: &FitRule) -> String {
    let words = match rule.outcome.as_str() {
        "matched" => "holds",
        "capped" => "holds, capped",
        "not_matched" => "does not hold",
        "missing" => "not known",
        "undecided" => "undecided",
        "faulty" => "faulty rule",
        other => return plain(other, 20),
    };
    words.to_owned()
}

fn because(rule: &FitRule) -> String {
    match (rule.outcome.as_str(), &rule.because) {
        ("faulty", Value::String(reason)) => plain(reason, VALUE),
        _ if rule.fields.is_empty() => plain(&rule.why, VALUE),
        _ => rule.fields.iter().map(seen).collect::<Vec<_>>().join(", "),
    }
}

fn seen(seen: &Seen) -> String {
    let field = plain(&seen.field, NAME);
    match (&seen.value, seen.assumed) {
        (Value::Null, true) => format!("{field} is not known, which counts as no"),
        (Value::Null, false) => format!("{field} is not known"),
        (value, _) => format!("{field} is {}", field_value(value)),
    }
}

fn field_value(value: &Value) -> String {
    let end = |value: &Value| value.as_i64().map_or_else(|| plain(&value.to_string(), 40), |number| grouped(number.into()));
    match value {
        Value::String(text) => plain(text, VALUE),
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::Number(_) => end(value),
        Value::Array(items) => plain(&items.iter().map(field_value).collect::<Vec<_>>().join(", "), VALUE),
        Value::Object(parts) => match (parts.get("date"), parts.get("from"), parts.get("to")) {
            (Some(date), _, _) => plain(date.as_str().unwrap_or_default(), 40),
            (None, Some(from), Some(to)) => format!("{} to {}", end(from), end(to)),
            (None, Some(from), None) => format!("{} or more", end(from)),
            (None, None, Some(to)) => format!("{} or less", end(to)),
            (None, None, None) => plain(&value.to_string(), VALUE),
        },
        Value::Null => "not known".to_owned(),
    }
}

fn fit_cap(cap: &FitCap) -> String {
    match (cap.cap.as_str(), &cap.group) {
        ("group", Value::String(group)) => format!("Limit of {} for the group {}", cap.limit, plain(group, NAME)),
        ("floor", _) => "A score is never below 0".to_owned(),
        _ => format!("Limit of {} for all rules", cap.limit),
    }
}

fn fit_ways(next: &Next) -> String {
    if !next.reachable {
        return "What is not known could not bring them.".to_owned();
    }
    let ways: Vec<String> =
        next.ways.iter().map(|way| format!("{} ({}){}", plain(&way.name, NAME), signed(way.points), needs(way))).collect();
    if ways.is_empty() { String::new() } else { format!("Enough would be: {}.", ways.join(" and ")) }
}

fn needs(way: &Way) -> String {
    let fields: Vec<String> = way.needs.iter().map(|field| plain(field, NAME)).collect();
    if fields.is_empty() { String::new() } else { format!(", which needs {}", fields.join(", ")) }
}

// ---------------------------------------------------------------------------------------------------------------------- engagement

fn engagement(engagement: &Engagement) -> String {
    let aggregation = &engagement.aggregation;
    let how = match aggregation.kind.as_str() {
        "sum" => "all leads together".to_owned(),
        "max" => "the best lead alone".to_owned(),
        "top_n" => format!("the best {} leads together", aggregation.n),
        "diminishing" => format!("the best lead in full, each further one at {} % of the one before", aggregation.percent),
        other => plain(other, 40),
    };
    let mut text = format!("ENGAGEMENT SCORE {}{} · {how}\n", engagement.score, level(&engagement.level));
    if engagement.others.is_none() && engagement.leads.iter().all(|lead| lead.is_account && !adds(lead)) {
        text.push_str("No person of this account is known yet.");
    } else {
        text.push_str(&leads(engagement));
        text.push('\n');
    }
    text.push_str(&unmatched(engagement));
    text.push_str(&next(&engagement.level, event_ways));
    text
}

/// What nobody did, and what somebody did that gives no points now.
fn unmatched(engagement: &Engagement) -> String {
    let never = |rule: &&Unmatched| matches!(rule.because.reason.as_str(), "" | "never_seen");
    let name = |rule: &Unmatched| format!("{} ({})", plain(&rule.name, NAME), signed(rule.points));
    let undone: Vec<String> = engagement.unmatched.iter().filter(never).map(name).collect();
    let mut text = if undone.is_empty() { String::new() } else { wrapped(&format!("Nobody did: {}.", undone.join(", "))) };
    for rule in engagement.unmatched.iter().filter(|rule| !never(rule)) {
        text.push_str(&wrapped(&format!("No points from {}: {}.", name(rule), plain(&rule.why, VALUE))));
    }
    text
}

fn leads(engagement: &Engagement) -> String {
    let mut table = table(["Lead and rule", "Counted", "Before decay", "Now", "Adds"], &[1, 2, 3, 4]);
    let (active, idle): (Vec<&Lead>, Vec<&Lead>) = engagement.leads.iter().partition(|lead| adds(lead));
    for lead in active.iter().take(LEADS) {
        add_lead(&mut table, lead);
    }
    // Events of the account itself, without a person, are no lead.
    let idle = idle.iter().filter(|lead| !lead.is_account).count();
    if idle > 0 {
        let leads = if idle == 1 { "1 lead without points".to_owned() } else { format!("{idle} leads without points") };
        table.add_row([cell(leads), number(""), number(""), number("0"), number("0")]);
    }
    let unlisted = active.iter().skip(LEADS);
    let (more, counts) = unlisted.fold((0_u64, 0_i64), |(more, counts), lead| (more + 1, counts.saturating_add(lead.counts)));
    let (other, other_counts) = engagement.others.as_ref().map_or((0, 0), |others| (others.leads, others.counts));
    let (more, counts) = (more.saturating_add(other), counts.saturating_add(other_counts));
    if more > 0 {
        let leads = if more == 1 { "1 more lead".to_owned() } else { format!("{more} more leads") };
        table.add_row([cell(leads), number(""), number(""), number(""), number(counts.to_string())]);
    }
    let listed = active.iter().take(LEADS).fold(0_i64, |sum, lead| sum.saturating_add(lead.counts));
    let sum = listed.saturating_add(counts);
    table.add_row([cell("Sum".to_owned()), number(""), number(""), number(""), number(sum.to_string())]);
    table.trim_fmt()
}

/// Whether there is anything to say about a lead.
fn adds(lead: &Lead) -> bool {
    !lead.rules.is_empty() || lead.score != 0 || lead.counts != 0
}

fn add_lead(table: &mut Table, lead: &Lead) {
    let label = plain(&lead.label, NAME);
    let who = match (lead.is_account, label.is_empty()) {
        (true, _) => "The account itself".to_owned(),
        (false, true) => "Somebody without a name".to_owned(),
        (false, false) => label,
    };
    let level = lead.level.as_ref().map(level).unwrap_or_default();
    table.add_row([cell(format!("{who}{level}")), number(""), number(""), number(lead.score.to_string()), number(lead.counts.to_string())]);
    for rule in &lead.rules {
        add_rule(table, rule);
    }
    if let Some(cap) = &lead.cap {
        let why = if cap.points > 0 { "never below 0".to_owned() } else { format!("limit of {} for a lead", cap.limit) };
        table.add_row([cell(format!("  {why}")), number(""), number(""), number(signed(cap.points)), number("")]);
    }
}

fn add_rule(table: &mut Table, rule: &LeadRule) {
    let raw = rule.days.iter().fold(0_i64, |sum, day| sum.saturating_add(day.raw));
    let mut name = format!("  {}", plain(&rule.name, NAME));
    let limit = |what: &str, cap: &Option<Cap>| cap.as_ref().map(|cap| format!("; the limit of {} {what} took {}", cap.limit, -cap.points));
    name.push_str(&limit("a day", &rule.day_cap).unwrap_or_default());
    name.push_str(&limit("for the rule", &rule.cap).unwrap_or_default());
    table.add_row([cell(name), number(rule.count.to_string()), number(raw.to_string()), number(signed(rule.points)), number("")]);
}

fn event_ways(next: &Next) -> String {
    let ways: Vec<String> = next
        .ways
        .iter()
        .map(|way| {
            let times = if way.times > 1 { format!("{} × ", way.times) } else { String::new() };
            format!("{times}{} ({})", plain(&way.name, NAME), signed(way.points))
        })
        .collect();
    if ways.is_empty() { String::new() } else { format!("Enough would be: {}.", ways.join(", or ")) }
}

// --------------------------------------------------------------------------------------------------------------------------- surge

fn surge(surge: &Surge) -> String {
    let since = surge.since.as_deref().map(|day| format!(" since {}", plain(day, 20))).unwrap_or_default();
    let title = match (surge.active, surge.new_activity) {
        (true, true) => format!("SURGE yes{since} · new activity of a young account"),
        (true, false) => format!("SURGE yes{since}"),
        (false, _) => "SURGE no".to_owned(),
    };
    let day = |day: &String| plain(day, 20);
    let between = |[from, to]: &[String; 2]| format!("{} to {}", day(from), day(to));
    let mut table = table(["Events that earn points", "Days", "Events", "Leads", "A week"], &[2, 3, 4]);
    let (window_events, window_leads) = (surge.window_events.to_string(), surge.window_leads.to_string());
    table.add_row([
        cell("Lately".to_owned()),
        cell(between(&surge.window)),
        number(window_events),
        number(window_leads),
        number(surge.window_events.to_string()),
    ]);
    if let Some(baseline) = &surge.baseline {
        let weekly = tenths(surge.baseline_events.saturating_mul(10) / 3);
        table.add_row([
            cell("Before".to_owned()),
            cell(between(baseline)),
            number(surge.baseline_events.to_string()),
            number(""),
            number(weekly),
        ]);
    }
    let mut text = format!("{title}\n{}\n", table.trim_fmt());
    for sentence in rules_of_surge(surge, &surge.thresholds) {
        text.push_str(&wrapped(&sentence));
    }
    text
}

fn rules_of_surge(surge: &Surge, limits: &Thresholds) -> Vec<String> {
    if limits.mode != "relative" {
        return vec![format!("A surge is {} events in {} days.", limits.events, limits.days)];
    }
    let ratio = |percent: u64| tenths(percent / 10);
    let least = format!("a week of the past counts as at least {} events", limits.least_weekly);
    vec![
        format!("Ratio {} ({least}).", ratio(surge.ratio_percent)),
        format!(
            "A surge begins at {} events of {} leads and a ratio of {}, and ends below {} events or a ratio of {}. An account younger than {} days \
             needs {} events of {} leads instead.",
            limits.enter_events,
            limits.enter_leads,
            ratio(limits.enter_ratio_percent),
            limits.leave_events,
            ratio(limits.leave_ratio_percent),
            limits.young_days,
            limits.young_events,
            limits.young_leads
        ),
    ]
}

/// A number given in tenths.
fn tenths(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

// -------------------------------------------------------------------------------------------------------------------------- pieces

/// ` · Target`, with what the score alone asks for when that is another level.
fn level(level: &LevelPart) -> String {
    match (&level.current, &level.by_score) {
        (Some(current), Some(by_score)) if current.name != by_score.name => {
            format!(" · {} (by the score alone {})", plain(&current.name, 20), plain(&by_score.name, 20))
        }
        (Some(level), _) | (None, Some(level)) => format!(" · {}", plain(&level.name, 20)),
        (None, None) => String::new(),
    }
}

fn next(level: &LevelPart, ways: impl Fn(&Next) -> String) -> String {
    match &level.next {
        Some(next) => {
            let points = if next.points_needed == 1 { "1 point".to_owned() } else { format!("{} points", next.points_needed) };
            wrapped(&format!("Next level: {} at {}, {points} away. {}", plain(&next.name, 20), next.min, ways(next)))
        }
        None => wrapped("This is the highest level."),
    }
}

fn signed(points: i64) -> String {
    match points {
        1.. => format!("+{points}"),
        0 => "0".to_owned(),
        _ => format!("−{}", points.unsigned_abs()),
    }
}

/// A table with a line under its head and no others.
pub fn ruled_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    table
}

fn cell(text: String) -> Cell {
    Cell::new(text)
}

fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn table<const N: usize>(columns: [&str; N], numbers: &[usize]) -> Table {
    let mut table = ruled_table();
    let header = columns.iter().enumerate().map(|(n, name)| if numbers.contains(&n) { number(name) } else { Cell::new(name) });
    table.set_header(header);
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(60)));
    }
    table
}

/// A new line and the sentence, broken between words.
fn wrapped(sentence: &str) -> String {
    let mut out = String::from("\n");
    let mut length = 0;
    for word in sentence.split_whitespace() {
        let more = word.chars().count();
        if length > 0 && length + 1 + more > usize::from(WIDTH) {
            out.push('\n');
            length = 0;
        } else if length > 0 {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += more;
    }
    out
}

#[cfg(test)]
mod tests;
