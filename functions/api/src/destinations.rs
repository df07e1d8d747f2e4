//! Destinations: where notifications go. Their URLs and secrets are shown once, when they are given, and masked ever after.

use crate::{
    ATTEMPTS, Api, Ports,
    auth::{Caller, Named},
    body::{Json as Body, single},
    problem::{Fault, Problem},
    query,
    view::Page,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{DestinationId, WorkspaceId};
use http::{StatusCode, Uri, header};
use pipeline::{
    StoreError,
    notify::{Destination, DestinationDraft, PublicDestination, ShownOnce, new_destination_id},
};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// A destination as a client writes it. To change one, send what changes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "Sales webhook", "kind": "signed_webhook", "url": "https://hooks.yourcompany.example/harpoon"}))]
pub(crate) struct DestinationBody {
    /// What to call it, 1 to 200 characters.
    name: Option<String>,
    /// `signed_webhook` (Standard Webhooks) or `slack` (an incoming webhook). It can't be changed.
    kind: Option<String>,
    /// Where to post; https.
    url: Option<String>,
    /// A signed webhook's own secret, `whsec_` and base64; left out, one is made.
    secret: Option<String>,
    /// Whether it is sent anything; usually true.
    enabled: Option<bool>,
    /// The only account fields that may leave; null for all.
    fields: Option<Vec<String>>,
    /// Only in a change: make a new secret, which the answer shows. The old one signs beside it for a day.
    rotate_secret: Option<bool>,
}

/// A destination. Its URL and secret are masked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestinationView {
    /// Its id.
    #[schema(example = "dst_01k4z8e6v3y0m9c2w5t7r1p4qx")]
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `signed_webhook` or `slack`.
    #[schema(example = "signed_webhook")]
    pub kind: &'static str,
    /// Masked.
    #[schema(example = "https://hooks.yourcompany.example/…poon")]
    pub url: String,
    /// The signing secret: whole in the answer to the request that made it, masked ever after. Absent for Slack.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_…q83v")]
    pub secret: Option<String>,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// Why it was switched off, when Harpoon did that. A change to `enabled` or `url` ends it.
    #[schema(required)]
    pub disabled_reason: Option<String>,
    /// The only account fields that may leave; null for all.
    #[schema(required)]
    pub fields: Option<Vec<String>>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Counts its changes.
    pub version: u64,
}

impl DestinationView {
    fn new(destination: &Destination, shown: Option<ShownOnce>) -> Self {
        let PublicDestination { id, name, kind, url, secret, enabled, disabled_reason, fields, created_at, version } = destination.public();
        let secret = shown.map(|shown| shown.0).or(secret);
        Self { id: id.to_string(), name, kind, url, secret, enabled, disabled_reason, fields, created_at, version }
    }
}

impl<P: Ports> Api<P> {
    async fn destination_named(&self, workspace: &WorkspaceId, id: &str) -> Result<Destination, Problem> {
        let missing = || Problem::not_found("destination", id);
        let id = DestinationId::new(id).map_err(|_| missing())?;
        self.destinations.find(workspace, &id).await?.ok_or_else(missing)
    }
}

/// List destinations
///
/// All of them, in the order in which they were made.
#[utoipa::path(get, path = "/api/v1/destinations", operation_id = "listDestinations", tag = "Destinations",
    responses((status = 200, description = "All destinations", body = Page<DestinationView>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
) -> Result<Json<Page<DestinationView>>, Problem> {
    query::none(&uri)?;
    let destinations = api.destinations.list(&workspace).await?;
    let data = destinations.iter().map(|destination| DestinationView::new(destination, None)).collect();
    Ok(Json(Page { data, next_cursor: None }))
}

/// Show a destination
#[utoipa::path(get, path = "/api/v1/destinations/{id}", operation_id = "showDestination", tag = "Destinations",
    params(("id" = String, Path, description = "The destination's id")),
    responses((status = 200, description = "The destination", body = DestinationView)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<DestinationView>, Problem> {
    query::none(&uri)?;
    Ok(Json(DestinationView::new(&api.destination_named(&workspace, &id).await?, None)))
}

/// Make a destination
///
/// The answer shows a signed webhook's secret for the only time.
#[utoipa::path(post, path = "/api/v1/destinations", operation_id = "createDestination", tag = "Destinations",
    request_body(content = DestinationBody, content_type = "application/json"),
    responses((status = 201, description = "The destination that was made", body = DestinationView)))]
pub(crate) async fn create<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let draft = DestinationDraft::read(&body, api.allow_private_destinations)?;
    let id = new_destination_id(&api.entropy, api.now()).map_err(|_| Problem::internal())?;
    let (destination, shown) = api.destinations.create_destination(&workspace, id, draft, &api.secrets).await?;
    let location = [(header::LOCATION, format!("/api/v1/destinations/{}", destination.id))];
    Ok((StatusCode::CREATED, location, Json(DestinationView::new(&destination, shown))).into_response())
}

/// Change a destination
///
/// Whatever the body does not name stays. With `rotate_secret` the answer shows the new secret for the only time.
#[utoipa::path(put, path = "/api/v1/destinations/{id}", operation_id = "changeDestination", tag = "Destinations",
    params(("id" = String, Path, description = "The destination's id")),
    request_body(content = DestinationBody, content_type = "application/json"),
    responses((status = 200, description = "The destination after the change", body = DestinationView)))]
pub(crate) async fn change<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(mut body): Body,
) -> Result<Json<DestinationView>, Problem> {
    query::none(&uri)?;
    let rotate = match body.as_object_mut().and_then(|body| body.remove("rotate_secret")) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(single(Fault::at("/rotate_secret", "must be `true` or `false`"))),
    };
    if rotate && body.get("secret").is_some_and(|secret| !secret.is_null()) {
        return Err(single(Fault::at("/rotate_secret", "makes a new secret; leave it out to give your own as `secret`")));
    }
    let draft = DestinationDraft::read(&body, api.allow_private_destinations)?;
    let before = api.destination_named(&workspace, &id).await?;
    if rotate && before.public().secret.is_none() {
        return Err(single(Fault::at("/rotate_secret", "belongs only to a `signed_webhook`; a Slack destination's secret is its URL")));
    }
    let nothing_else = body.as_object().is_some_and(serde_json::Map::is_empty) && rotate;
    let mut destination =
        if nothing_else { before } else { api.destinations.change_destination(&workspace, before, draft, &api.secrets).await? };
    let mut shown = None;
    if rotate && let Some((rotated, secret)) = api.destinations.rotate_secret(&workspace, destination.clone(), &api.secrets).await? {
        (destination, shown) = (rotated, Some(secret));
    }
    Ok(Json(DestinationView::new(&destination, shown)))
}

/// Delete a destination
///
/// One that a trigger names can't be deleted; change the trigger first.
#[utoipa::path(delete, path = "/api/v1/destinations/{id}", operation_id = "deleteDestination", tag = "Destinations",
    params(("id" = String, Path, description = "The destination's id")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    query::none(&uri)?;
    for _ in 0..ATTEMPTS {
        let destination = api.destination_named(&workspace, &id).await?;
        let triggers = api.triggers.list(&workspace).await?;
        if let Some(trigger) = triggers.iter().find(|trigger| trigger.destinations.contains(&destination.id)) {
            return Err(Problem::conflict(format!(
                "the trigger `{}` ({}) names this destination; change that trigger first",
                trigger.name, trigger.id
            )));
        }
        match api.destinations.delete(&workspace, &destination.id, destination.version).await {
            Err(StoreError::Conflict { .. }) => {}
            deleted => return deleted.map(|()| StatusCode::NO_CONTENT).map_err(Problem::from),
        }
    }
    Err(Problem::busy())
}
