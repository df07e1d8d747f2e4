//! A Slack message in Block Kit: at most 50 blocks, a header of at most 150 characters, section texts of at most 3,000, at most ten fields
//! of at most 2,000 each, fewer than 10,000 characters in all, and always a fallback text.
//!
//! Everything that somebody else may have written is escaped and shortened; `verbatim` keeps Slack from turning bare names into links or
//! mentions.

use crate::{
    notice::Notice,
    text::{escaped, plain},
};
use domain::trigger::LevelOf;
use serde_json::{Value, json};

/// Errors that Slack will answer for ever: somebody has to mend the destination.
const PERMANENT: [&str; 14] = [
    "invalid_payload",
    "invalid_token",
    "invalid_blocks",
    "user_not_found",
    "channel_not_found",
    "channel_is_archived",
    "action_prohibited",
    "posting_to_general_channel_denied",
    "no_service",
    "no_service_id",
    "no_team",
    "no_active_hooks",
    "no_text",
    "team_disabled",
];

/// The error in Slack's answer that no retry will change.
pub fn permanent_error(answer: &str) -> Option<&'static str> {
    let answer = answer.trim();
    PERMANENT.into_iter().find(|error| *error == answer)
}

fn section(text: String) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// The body as JSON text.
pub fn body(notice: &Notice<'_>) -> String {
    let snapshot = notice.snapshot;
    let called = snapshot.called();
    let headline = notice.headline(&plain(&called, 80), |text| plain(text, 30));
    let link = format!("<{}|Open in Harpoon>", notice.link.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E"));

    let (from, to) = notice.from_to();
    let change = match from {
        Some(from) => format!("{} → {}", escaped(&from, 80), escaped(&to, 80)),
        None => format!("new: {}", escaped(&to, 80)),
    };
    let mut first = format!("*{}:* {change}", notice.subject());
    if !notice.transition.cause.is_empty() {
        first.push_str(&format!(" ({})", escaped(&notice.transition.cause, 200)));
    }
    // The header is escaped too: Slack reads entities in plain text as well.
    let mut blocks =
        vec![json!({"type": "header", "text": {"type": "plain_text", "text": escaped(&headline, 150), "emoji": false}}), section(first)];

    let (score, standing) = (snapshot.score.as_ref(), snapshot.standing.as_ref());
    let mut fields = Vec::new();
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.push(json!({"type": "mrkdwn", "text": format!("*{name}*\n{value}"), "verbatim": true}));
        }
    };
    let level = |of, id: Option<&str>| id.map(|id| escaped(&notice.levels.name(of, id), 80));
    let points = |points: Option<i64>, level: Option<String>| match (points, level) {
        (Some(points), Some(level)) => Some(format!("{points} ({level})")),
        (Some(points), None) => Some(points.to_string()),
        (None, level) => level,
    };
    let account_score = score.map(|s| s.account_score).or_else(|| standing.map(|s| s.account_score)).map(i64::from);
    let engagement = score.map(|s| s.engagement).or_else(|| standing.map(|s| s.engagement));
    field("Account score", points(account_score, level(LevelOf::Account, standing.and_then(|s| s.level.as_deref()))));
    field("Engagement", points(engagement, level(LevelOf::Engagement, standing.and_then(|s| s.engagement_level.as_deref()))));
    field("Owner", Some(snapshot.owner().map_or_else(|| "nobody yet".to_owned(), |owner| escaped(owner, 100))));
    field("Domain", snapshot.domain().map(|domain| escaped(domain, 100)));
    field("Tier", snapshot.tier().map(|tier| escaped(tier, 50)));
    field("Leads", score.map(|s| s.total_leads).or_else(|| standing.map(|s| s.total_leads)).map(|leads| leads.to_string()));
    blocks.push(json!({"type": "section", "fields": fields}));

    let bullets = |title: &str, lines: Vec<String>| {
        let lines: String = lines.into_iter().map(|line| format!("\n• {line}")).collect();
        section(format!("*{title}*{lines}"))
    };
    let reasons: Vec<String> =
        notice.reasons().into_iter().map(|reason| escaped(reason, 300)).filter(|reason| !reason.is_empty()).collect();
    let first_reason = reasons.first().cloned();
    if !reasons.is_empty() {
        blocks.push(bullets("Why", reasons));
    }
    let leads: Vec<String> = snapshot
        .leads()
        .map(|(_, points, person)| {
            let name = person.map_or_else(|| "A lead".to_owned(), |person| escaped(&person.name, 120));
            let did: Vec<String> = person.iter().flat_map(|person| person.did.iter().take(3).map(|did| escaped(did, 80))).collect();
            let did = if did.is_empty() { String::new() } else { format!(": {}", did.join(", ")) };
            format!("{name} — {points} points{did}")
        })
        .collect();
    if !leads.is_empty() {
        blocks.push(bullets("Who", leads));
    }
    if let Some(play) = notice.play() {
        let parts = [("Targeting", &play.targeting), ("Sales motion", &play.sales_motion), ("Success", &play.success_metric)];
        let lines =
            parts.into_iter().filter(|(_, text)| !text.trim().is_empty()).map(|(name, text)| format!("{name}: {}", escaped(text, 300)));
        blocks.push(bullets("Play", lines.collect()));
    }
    blocks.push(section(link.clone()));
    let context = format!("Trigger: {} · {}", escaped(&notice.trigger.name, 200), notice.at());
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": context, "verbatim": true}]}));

    let because = first_reason.map(|reason| format!(" {reason}.")).unwrap_or_default();
    let fallback = format!("{}. {}: {change}.{because} {link}", escaped(&headline, 300), notice.subject());
    json!({"text": fallback, "blocks": blocks, "unfurl_links": false, "unfurl_media": false}).to_string()
}
