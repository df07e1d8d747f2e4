//! Who did what when: the events of an account, newest first, and its activity day by day.

mod merge;

use crate::{
    Api, Ports,
    account::Whole,
    auth::{Caller, Named},
    cursor::Listing,
    problem::Problem,
    query::Parameters,
    view::Page,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{CallKind, Channel, Event, Home, Identity, IdentityId, JsonObject, Timestamp, state::IdentityState};
use http::Uri;
use merge::{Effort, EventKey, Log, Source, Window};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use utoipa::ToSchema;

/// One event of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineItem {
    /// When it happened, RFC 3339.
    #[schema(example = "2026-11-21T20:06:54.123Z")]
    pub at: String,
    /// When it was taken.
    #[schema(example = "2026-11-21T20:06:55.001Z")]
    pub received_at: String,
    /// Names the event.
    pub message_id: String,
    /// `track`, `identify`, `page`, `screen`, `group`, `alias` or `account-event`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "track")]
    pub kind: CallKind,
    /// The event's, page's or screen's name.
    #[schema(required, example = "Demo Requested")]
    pub name: Option<String>,
    /// Where it happened: `website`, `email`, `product`, `ads`, `in-person` or `sales`. Null for calls that say who somebody is.
    #[schema(value_type = Option<String>, required, example = "website")]
    pub channel: Option<Channel>,
    /// Who did it; null for an event of the account itself.
    #[schema(required)]
    pub lead_id: Option<String>,
    /// What to call who did it.
    #[schema(example = "Ann Weaver")]
    pub lead: String,
    /// The alias that the event carries: `user`, `anonymous` or `account`.
    #[schema(example = "user")]
    pub identity_kind: &'static str,
    /// The alias itself.
    #[schema(example = "u-1001")]
    pub identity: String,
    /// The account that the event names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// `properties` as sent.
    #[schema(value_type = Object)]
    pub properties: Value,
    /// `traits` as sent.
    #[schema(value_type = Object)]
    pub traits: Value,
    /// The client claimed a moment in the future, and the moment of receipt was taken.
    pub clamped: bool,
}

/// One day of activity.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DayItem {
    /// The UTC day.
    #[schema(example = "2026-11-21")]
    pub day: String,
    /// Distinct events, without the calls that say who somebody is.
    pub events: u64,
    /// The same by channel.
    #[schema(example = json!({"website": 5, "email": 1}))]
    pub channels: BTreeMap<&'static str, u64>,
}

/// What a timeline says, by its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Events,
    Daily,
}

/// Who is behind an identity.
struct Who {
    lead_id: Option<String>,
    label: String,
    identity: Identity,
}

fn people(whole: &Whole) -> (HashMap<IdentityId, Who>, Vec<(IdentityId, &IdentityState, Option<IdentityId>)>) {
    let inputs = whole.gathered.inputs();
    let mut who = HashMap::new();
    let mut states = Vec::new();
    for lead in inputs.leads() {
        let label = lead.label();
        let lead_id = (!lead.is_account).then_some(lead.id);
        for (id, state) in &lead.identities {
            let shown = lead_id.map(|lead| format!("ld_{lead}"));
            who.insert(*id, Who { lead_id: shown, label: label.clone(), identity: state.identity.clone() });
            states.push((*id, *state, lead_id));
        }
    }
    (who, states)
}

fn raw(object: Option<&JsonObject>) -> Value {
    Value::Object(object.map(JsonObject::to_map).unwrap_or_default())
}

fn item(event: &Event, who: &Who) -> TimelineItem {
    let properties = raw(event.properties.as_ref());
    let channel = Channel::of(event, &event.folded_name(), properties.get("channel").and_then(Value::as_str));
    TimelineItem {
        at: event.timestamp.to_string(),
        received_at: event.received_at.to_string(),
        message_id: event.message_id.to_string(),
        kind: event.kind,
        name: event.name.clone(),
        channel,
        lead_id: who.lead_id.clone(),
        lead: who.label.clone(),
        identity_kind: who.identity.kind.as_str(),
        identity: who.identity.value.clone(),
        account_id: event.account.as_ref().map(|account| account.id.to_string()),
        properties,
        traits: raw(event.traits.as_ref()),
        clamped: event.clamped,
    }
}

/// Activity day by day, the newest first, from what the states count.
fn daily(states: &[(IdentityId, &IdentityState, Option<IdentityId>)], from: Option<Timestamp>, to: Option<Timestamp>) -> Vec<DayItem> {
    let mut days: BTreeMap<domain::Day, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for (_, state, _) in states {
        for (channel, counts) in &state.facts.channels {
            for (day, n) in counts {
                let within = from.is_none_or(|from| *day >= from.day()) && to.is_none_or(|to| *day <= to.day());
                if within {
                    *days.entry(*day).or_default().entry(channel.as_str()).or_default() += u64::from(*n);
                }
            }
        }
    }
    days.into_iter().rev().map(|(day, channels)| DayItem { day: day.to_string(), events: channels.values().sum(), channels }).collect()
}

/// Show an account's timeline
///
/// The events of all its leads and of the account itself, newest first, each once. `view=daily` answers activity per UTC day and channel
/// instead, over the last 395 days at most and in one page.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/timeline", operation_id = "showTimeline", tag = "Accounts",
    params(
        ("id" = String, Path, description = "The account's id, or one of its domains"),
        ("lead" = Option<String>, Query, description = "Only this lead's events: its id or that of any of its identities"),
        ("from" = Option<String>, Query, description = "From this moment or day on, ISO 8601"),
        ("to" = Option<String>, Query, description = "Up to and including this moment or day, ISO 8601"),
        ("view" = Option<String>, Query, description = "`events` (the default) or `daily`"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50; not for `daily`"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses(
        (status = 200, description = "One page of events; with `view=daily` a page of days, each `{day, events, channels}`", body = Page<TimelineItem>),
    ))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut query = Parameters::of(&uri);
    let lead = query.text("lead", 300);
    let from = query.moment("from");
    let to = query.end("to");
    let view = query.word("view", &[("events", View::Events), ("daily", View::Daily)]).unwrap_or(View::Events);
    let (limit, cursor) = (query.limit(), query.cursor());
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        query.fault("to", "must not be before `from`");
    }
    query.finish()?;

    let account = api.account_named(&workspace, &id).await?;
    let bound = |at: Option<Timestamp>| at.map(|at| at.millis().to_string());
    let parameters =
        [Some(account.as_str()), lead.as_deref(), bound(from).as_deref(), bound(to).as_deref()].map(|text| text.map(str::to_owned));
    let listing = Listing::new("timeline", &workspace, &parameters.each_ref().map(Option::as_deref));
    let after: Option<EventKey> = listing.read(cursor.as_deref())?;
    let whole = api.whole(&workspace, Home::Account(account)).await?;
    let (who, mut states) = people(&whole);
    if let Some(named) = lead {
        let wanted = crate::lead::identity_named(&named);
        let found = states.iter().find(|(id, _, lead)| Some(*id) == wanted && lead.is_some()).and_then(|(_, _, lead)| *lead);
        let found = found.ok_or_else(|| Problem::not_found("lead of this account", &named))?;
        states.retain(|(_, _, lead)| *lead == Some(found));
    }
    if view == View::Daily {
        return Ok(Json(Page { data: daily(&states, from, to), next_cursor: None }).into_response());
    }
    let sources: Vec<Source> = states.iter().map(|(id, state, _)| Source::new(*id, &state.facts)).collect();
    let window = Window { from, to, after, limit };
    let log = Log { parcels: &api.parcels, workspace: &workspace, now: api.now(), effort: Effort::USUAL };
    let (events, more) = merge::page(&log, sources, &window).await?;
    let next_cursor = events.last().filter(|_| more).and_then(|(key, _)| listing.after(key));
    let data = events.iter().filter_map(|(key, event)| Some(item(event, who.get(&key.identity)?))).collect();
    Ok(Json(Page { data, next_cursor }).into_response())
}
