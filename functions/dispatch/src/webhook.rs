//! The body of a signed webhook.
//!
//! ```json
//! {
//!   "type": "account.level_entered",
//!   "timestamp": "2026-11-21T20:06:54.123Z",
//!   "data": {
//!     "workspace": "main",
//!     "headline": "Northwind Looms is now Target",
//!     "trigger": {"id": "trg_…", "name": "New Targets"},
//!     "account": {"account_id": "northwind-looms.com", "lead_id": null, "name": "Northwind Looms", "domain": "northwind-looms.com",
//!                 "owner": "kim", "tier": "1:1", "priority": null, "account_score": 145, "engagement_score": 85,
//!                 "account_level": {"id": "target", "name": "Target"}, "engagement_level": {"id": "hot", "name": "Hot"},
//!                 "surge_active": false, "total_leads": 4, "last_activity_at": "2026-11-21T20:06:50.000Z", "fields": {"country": "GB"}},
//!     "transition": {"seq": 7, "at": "2026-11-21T20:06:54.123Z", "of": "account_level", "lead_id": null,
//!                    "from": {"id": "qualified", "name": "Qualified"}, "to": {"id": "target", "name": "Target"}, "cause": "score 50 → 145"},
//!     "reasons": ["employees 500 or more: +50"],
//!     "leads": [{"lead_id": "ld_…", "name": "kim@northwind-looms.com", "engagement_score": 50, "did": []}],
//!     "play": {"targeting": "…", "sales_motion": "…", "success_metric": "…"},
//!     "url": "https://harpoon.example.com/api/v1/accounts/northwind-looms.com"
//!   }
//! }
//! ```
//!
//! `type` is one of `account.level_entered`, `account.level_left`, `account.engagement_level_entered`, `account.engagement_level_left`,
//! `lead.level_entered`, `lead.level_left`, `account.surge_started`, `account.surge_ended`, `account.grid_entered`, `account.engagement_crossed`. `timestamp` is the
//! transition's moment; the attempt's is in the header `webhook-timestamp`. `transition.of` is `account_level`, `engagement_level`,
//! `lead_level`, `surge` (`from` and `to` are truth values) or `engagement` (`from` and `to` are points). What is not known is `null`. An
//! unresolved lead has `lead_id` instead of `account_id`. New keys may be added; a receiver ignores what it does not know. Text is cut at 1,000 characters.

use crate::{notice::Notice, text::cut};
use domain::{Home, transition::Changed, trigger::LevelOf};
use serde_json::{Value, json};

/// The longest text, in bytes.
const TEXT: usize = 1_000;

fn text(text: &str) -> Value {
    Value::String(cut(text, TEXT).to_owned())
}

fn maybe(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

/// The body as JSON text. Only the fields that the destination chose are in it.
pub fn body(notice: &Notice<'_>, chosen: Option<&[String]>) -> String {
    let level = |of: LevelOf, id: Option<&str>| {
        id.map_or(Value::Null, |id| json!({"id": cut(id, TEXT), "name": cut(&notice.levels.name(of, id), TEXT)}))
    };
    let snapshot = notice.snapshot;
    let (score, standing) = (snapshot.score.as_ref(), snapshot.standing.as_ref());
    let (account_id, lead_id) = match &snapshot.home {
        Home::Account(id) => (json!(id.as_str()), Value::Null),
        Home::Lead(lead) => (Value::Null, json!(format!("ld_{lead}"))),
    };
    let (of, moved_lead, from, to) = match &notice.transition.change {
        Changed::AccountLevel { from, to } => {
            ("account_level", None, level(LevelOf::Account, from.as_deref()), level(LevelOf::Account, Some(to)))
        }
        Changed::EngagementLevel { from, to } => {
            ("engagement_level", None, level(LevelOf::Engagement, from.as_deref()), level(LevelOf::Engagement, Some(to)))
        }
        Changed::LeadLevel { lead, from, to } => {
            ("lead_level", Some(format!("ld_{lead}")), level(LevelOf::Lead, from.as_deref()), level(LevelOf::Lead, Some(to)))
        }
        Changed::Surge { active } => ("surge", None, json!(!active), json!(active)),
        Changed::Grid { from, to } => ("grid", None, json!(from), json!(to)),
        Changed::Engagement { from, to } => ("engagement", None, json!(from), json!(to)),
    };
    let leads: Vec<Value> = snapshot
        .leads()
        .map(|(lead, points, person)| {
            let did: Vec<Value> = person.iter().flat_map(|person| person.did.iter().take(5).map(|did| text(did))).collect();
            json!({"lead_id": format!("ld_{lead}"), "name": maybe(person.map(|person| person.name.as_str())), "engagement_score": points, "did": did})
        })
        .collect();
    let name = snapshot.called();
    let headline = notice.headline(cut(&name, TEXT), |text| cut(text, TEXT).to_owned());
    let last_activity = score.map(|s| s.last_activity_at).or_else(|| standing.map(|s| s.last_activity_at)).flatten();
    let body = json!({
        "type": notice.trigger.when.payload_type(),
        "timestamp": notice.at().to_string(),
        "data": {
            "workspace": notice.workspace.as_str(),
            "headline": headline,
            "trigger": {"id": notice.trigger.id.as_str(), "name": notice.trigger.name},
            "account": {
                "account_id": account_id,
                "lead_id": lead_id,
                "name": maybe(snapshot.name()),
                "domain": maybe(snapshot.domain()),
                "owner": maybe(snapshot.owner()),
                "tier": maybe(snapshot.tier()),
                "priority": maybe(snapshot.priority()),
                "account_score": score.map(|s| s.account_score).or_else(|| standing.map(|s| s.account_score)),
                "engagement_score": score.map(|s| s.engagement).or_else(|| standing.map(|s| s.engagement)),
                "account_level": level(LevelOf::Account, standing.and_then(|s| s.level.as_deref())),
                "engagement_level": level(LevelOf::Engagement, standing.and_then(|s| s.engagement_level.as_deref())),
                "surge_active": score.map(|s| s.surge).or_else(|| standing.map(|s| s.surge)),
                "total_leads": score.map(|s| s.total_leads).or_else(|| standing.map(|s| s.total_leads)),
                "last_activity_at": last_activity.map(|at| at.to_string()),
                "fields": snapshot.fields(chosen),
            },
            "transition": {
                "seq": notice.transition.seq,
                "at": notice.at().to_string(),
                "of": of,
                "lead_id": moved_lead,
                "from": from,
                "to": to,
                "cause": cut(&notice.transition.cause, TEXT),
            },
            "reasons": notice.reasons().into_iter().map(text).collect::<Vec<_>>(),
            "leads": leads,
            "play": notice.play(),
            "url": notice.link,
        }
    });
    body.to_string()
}
