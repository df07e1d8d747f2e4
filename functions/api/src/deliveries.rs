//! The delivery log.

use crate::{
    Api, Ports,
    auth::Caller,
    cursor::Listing,
    problem::Problem,
    query::Parameters,
    view::{Page, TransitionView, Under, moment},
};
use axum::{Json, extract::State};
use domain::{DestinationId, Home, TriggerId, model::Model};
use http::Uri;
use pipeline::notify::{Attempt, Delivery, DeliveryFilter, DeliveryState, Suppression};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The words for where a delivery stands.
const STATES: [&str; 6] = ["pending", "delivering", "delivered", "failed", "suppressed", "dead"];

/// One notification to one destination.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Its id; sent with every attempt.
    #[schema(example = "msg_5c1f0f1bb3a64d8c5a3b6f7ea0f6b1d2")]
    pub id: String,
    /// What it tells, such as `account.level_entered`.
    #[serde(rename = "type")]
    #[schema(example = "account.level_entered")]
    pub kind: String,
    /// `pending`, `delivering`, `delivered`, `failed` (every attempt), `suppressed` (not to be sent) or `dead` (it can never succeed).
    #[schema(example = "delivered")]
    pub state: &'static str,
    /// Why it failed or was suppressed.
    #[schema(required)]
    pub reason: Option<String>,
    /// When the next attempt is due, RFC 3339.
    #[schema(required)]
    pub next_attempt_at: Option<String>,
    /// When the destination took it.
    #[schema(required)]
    pub delivered_at: Option<String>,
    /// The trigger that fired.
    pub trigger_id: String,
    /// What the trigger was called then.
    pub trigger_name: String,
    /// Where it goes.
    pub destination_id: String,
    /// The account; null when it is about an unresolved lead.
    #[schema(required)]
    pub account_id: Option<String>,
    /// What the account was called then.
    #[schema(required)]
    pub account_name: Option<String>,
    /// The change that fired the trigger.
    pub transition: TransitionView,
    /// When it was made.
    pub created_at: String,
    /// When the first attempt began.
    #[schema(required)]
    pub first_attempt_at: Option<String>,
    /// How many attempts were begun.
    pub tries: u32,
    /// What came of them, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// One attempt to deliver.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// When it began.
    pub at: String,
    /// The status of the answer; null when there was none.
    #[schema(required, example = 200)]
    pub status: Option<u16>,
    /// What went wrong; null when it was taken.
    #[schema(required)]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The beginning of the answer's body.
    pub response: String,
}

impl AttemptView {
    fn new(attempt: Attempt) -> Self {
        let Attempt { at, status, error, duration_ms, response } = attempt;
        Self { at: at.to_string(), status, error, duration_ms, response }
    }
}

impl DeliveryView {
    fn new(delivery: Delivery, model: &Model) -> Self {
        let (reason, next_attempt_at, delivered_at) = match &delivery.state {
            DeliveryState::Pending { next_attempt_at } => (None, Some(*next_attempt_at), None),
            DeliveryState::Delivering { until } => (None, Some(*until), None),
            DeliveryState::Delivered { at } => (None, None, Some(*at)),
            DeliveryState::Failed { reason } | DeliveryState::Dead { reason } => (Some(reason.clone()), None, None),
            DeliveryState::Suppressed { because } => (Some(suppression(*because)), None, None),
        };
        Self {
            id: delivery.id.to_string(),
            state: delivery.state.as_str(),
            reason,
            next_attempt_at: moment(next_attempt_at),
            delivered_at: moment(delivered_at),
            trigger_id: delivery.trigger.to_string(),
            trigger_name: delivery.trigger_name,
            destination_id: delivery.destination.to_string(),
            account_id: delivery.home.account().map(ToString::to_string),
            account_name: delivery.account_name,
            transition: TransitionView::new(&delivery.transition, model, Under::default()),
            created_at: delivery.created_at.to_string(),
            first_attempt_at: moment(delivery.first_attempt_at),
            tries: delivery.tries,
            attempts: delivery.attempts.into_iter().map(AttemptView::new).collect(),
            kind: delivery.kind,
        }
    }
}

fn suppression(because: Suppression) -> String {
    match because {
        Suppression::Cooldown { until } => format!("the trigger fired for this account lately; it fires again from {until} on"),
        Suppression::Once => "the trigger fires once per account, and did".to_owned(),
        Suppression::DestinationOff => "the destination was switched off".to_owned(),
    }
}

/// List deliveries
///
/// Newest first. A page may hold fewer deliveries than asked for; `next_cursor` alone tells the end.
#[utoipa::path(get, path = "/api/v1/deliveries", operation_id = "listDeliveries", tag = "Deliveries",
    params(
        ("trigger" = Option<String>, Query, description = "Of this trigger, by its id"),
        ("destination" = Option<String>, Query, description = "To this destination, by its id"),
        ("account" = Option<String>, Query, description = "About this account, by its id or one of its domains"),
        ("state" = Option<String>, Query, description = "`pending`, `delivering`, `delivered`, `failed`, `suppressed` or `dead`"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of deliveries", body = Page<DeliveryView>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let mut query = Parameters::of(&uri);
    let trigger = query.text("trigger", 64);
    let destination = query.text("destination", 64);
    let account = query.text("account", 256);
    let state = query.word("state", &STATES.map(|state| (state, state)));
    let (limit, cursor) = (query.limit(), query.cursor());
    let trigger_id = trigger.as_deref().map(TriggerId::new).transpose();
    if let Err(error) = &trigger_id {
        query.fault("trigger", error.to_string());
    }
    let destination_id = destination.as_deref().map(DestinationId::new).transpose();
    if let Err(error) = &destination_id {
        query.fault("destination", error.to_string());
    }
    query.finish()?;
    let home = match &account {
        Some(account) => Some(Home::Account(api.account_named(&workspace, account).await?)),
        None => None,
    };
    let listing = Listing::new("deliveries", &workspace, &[trigger.as_deref(), destination.as_deref(), account.as_deref(), state]);
    let after: Option<String> = listing.read(cursor.as_deref())?;
    let filter = DeliveryFilter {
        trigger: trigger_id.ok().flatten(),
        destination: destination_id.ok().flatten(),
        home,
        state: state.map(str::to_owned),
    };
    let page = api.deliveries.list(&workspace, &filter, after.as_deref(), limit).await?;
    let model = api.models.current(&workspace).await?;
    let data = page.deliveries.into_iter().map(|delivery| DeliveryView::new(delivery, &model)).collect();
    Ok(Json(Page { data, next_cursor: page.next.and_then(|next| listing.after(&next)) }))
}
