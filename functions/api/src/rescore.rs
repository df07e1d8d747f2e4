//! One account scored on demand.

use crate::{
    Api, Ports, Routes,
    auth::{Caller, Named},
    body::{Json as Body, Object},
    problem::Problem,
    query,
};
use axum::{Json, extract::State, routing::post};
use domain::Home;
use http::{StatusCode, Uri};
use pipeline::{Store, homes::put_due};
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/accounts/{id}/rescore", post(rescore::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(rescore))]
pub(crate) struct Doc;

/// Nothing has to be said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({}))]
pub(crate) struct RescoreBody {}

/// An account that is about to be scored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rescoring {
    /// Its id.
    #[schema(example = "acct_4711")]
    account_id: String,
    /// Since when it is due, RFC 3339.
    #[schema(example = "2026-11-21T20:06:54.123Z")]
    due_at: String,
}

/// Score an account
///
/// Accounts are scored whenever something changes, and on every day on which something may be different; so this is for making sure. The score
/// follows within seconds. It is written, and levels are looked at, when anything behind it differs from the last time; nobody is notified twice.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/rescore", operation_id = "rescoreAccount", tag = "Accounts",
    params(("id" = String, Path, description = "The account's id, or one of its domains")),
    request_body(content = RescoreBody, content_type = "application/json"),
    responses((status = 202, description = "It is about to be scored", body = Rescoring)))]
pub(crate) async fn rescore<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
    Body(body): Body,
) -> Result<(StatusCode, Json<Rescoring>), Problem> {
    query::none(&uri)?;
    Object::of(&body, &[])?.finish(())?;
    let account = api.account_named(&workspace, &id).await?;
    let (home, now) = (Home::Account(account.clone()), api.now());
    api.store.write(put_due(&workspace, &home, now, 0)?).await?;
    api.touch(&workspace, BTreeSet::from([home])).await;
    Ok((StatusCode::ACCEPTED, Json(Rescoring { account_id: account.to_string(), due_at: now.to_string() })))
}
