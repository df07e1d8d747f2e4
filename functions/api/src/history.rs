//! Every change of an account's levels, score and surge, with its cause.

use crate::{
    Api, Ports,
    auth::{Caller, Named},
    cursor::Listing,
    problem::Problem,
    query::Parameters,
    view::{Page, TransitionView},
};
use axum::{Json, Router, extract::State, routing::get};
use domain::{Home, transition::Transition};
use http::Uri;
use pipeline::{
    Query, Store, Table,
    records::{from_item, history_partition},
};
use std::sync::Arc;
use utoipa::OpenApi;

/// The addresses of this module.
pub(crate) fn routes<P: Ports>() -> Router<Arc<Api<P>>> {
    Router::new().route("/api/v1/accounts/{id}/history", get(list::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(list))]
pub(crate) struct Doc;

/// List what changed about an account
///
/// Every change of its levels, of its leads' levels, of its engagement and of surge, newest first, each with its cause. A page may hold fewer
/// changes than asked for; `next_cursor` alone tells the end.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/history", operation_id = "listAccountHistory", tag = "Accounts",
    params(
        ("id" = String, Path, description = "The account's id, or one of its domains"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of changes", body = Page<TransitionView>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<Page<TransitionView>>, Problem> {
    let mut query = Parameters::of(&uri);
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;
    let home = Home::Account(api.account_named(&workspace, &id).await?);
    let listing = Listing::new("history", &workspace, &[Some(&home.to_string())]);
    let after: Option<String> = listing.read(cursor.as_deref())?;
    let model = api.models.current(&workspace).await?;
    let changes = Query::partition(Table::Accounts, history_partition(&workspace, &home)).descending().limit(limit).after(after);
    let page = api.store.query(&changes).await?;
    let transitions = page.items.iter().map(from_item::<Transition>).collect::<Result<Vec<_>, _>>()?;
    let data = transitions.iter().map(|transition| TransitionView::new(transition, &model)).collect();
    Ok(Json(Page { data, next_cursor: page.next.and_then(|next| listing.after(&next)) }))
}
