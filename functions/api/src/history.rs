//! Every change of an account's levels, score and surge, and of a lead's level, with its cause.

use crate::{
    Api, Ports, Routes,
    auth::{Caller, Named},
    cursor::Listing,
    lead::lead_with,
    problem::Problem,
    query::Parameters,
    view::{Page, TransitionView, Under},
};
use axum::{Json, extract::State, routing::get};
use domain::{
    Home, IdentityId,
    transition::{Changed, Transition},
};
use http::Uri;
use pipeline::{
    Consistency, Query, Store, Table,
    records::{from_item, history_partition},
};
use std::sync::Arc;
use utoipa::OpenApi;

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/accounts/{id}/history", get(list::<P>)).route("/api/v1/leads/{id}/history", get(of_lead::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(list, of_lead))]
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
    let standing = api.homes.standing(&workspace, &home, Consistency::Eventual).await?.map(|standing| standing.record);
    let under = Under::of(standing.as_ref());
    let data = transitions.iter().map(|transition| TransitionView::new(transition, &model, under)).collect();
    Ok(Json(Page { data, next_cursor: page.next.and_then(|next| listing.after(&next)) }))
}

/// How many changes of the account one request for a lead's looks at.
const LOOKED_AT: usize = 2_000;

/// List what changed about a lead
///
/// Every change of the lead's level, newest first, each with its cause; for an unresolved lead also those of engagement and surge. They are kept with
/// the account that the lead belonged to then, so a lead that moved shows those since it belongs where it does. A page may hold fewer changes than
/// asked for; `next_cursor` alone tells the end.
#[utoipa::path(get, path = "/api/v1/leads/{id}/history", operation_id = "listLeadHistory", tag = "Leads",
    params(
        ("id" = String, Path, description = "`ld_…`, `user:<userId>` or `anonymous:<anonymousId>`", example = "user:u-1001"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of changes", body = Page<TransitionView>)))]
pub(crate) async fn of_lead<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<Page<TransitionView>>, Problem> {
    let mut query = Parameters::of(&uri);
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;
    let found = api.lead_named(&workspace, &id).await?;
    let home = &found.whole.home;
    // Whoever founded the lead may have been another of its identities then.
    let ids: Vec<IdentityId> = lead_with(&found.whole.gathered, found.id)
        .map_or_else(|| vec![found.id], |lead| lead.identities.iter().map(|(id, _)| *id).collect());
    let concerns = |transition: &Transition| match &transition.change {
        Changed::LeadLevel { lead, .. } => ids.contains(lead),
        _ => home.account().is_none(),
    };
    let listing = Listing::new("lead-history", &workspace, &[Some(&home.to_string()), Some(&format!("{}", found.id))]);
    let mut after: Option<String> = listing.read(cursor.as_deref())?;
    let (model, under) = (&found.whole.model, Under::of(found.whole.standing.as_ref()));
    let (mut data, mut looked_at) = (Vec::new(), 0);
    loop {
        let changes = Query::partition(Table::Accounts, history_partition(&workspace, home)).descending().limit(200).after(after.clone());
        let page = api.store.query(&changes).await?;
        for item in &page.items {
            after = Some(item.key.sk.clone());
            looked_at += 1;
            let transition: Transition = from_item(item)?;
            if concerns(&transition) {
                data.push(TransitionView::new(&transition, model, under));
            }
            if data.len() >= limit {
                break;
            }
        }
        if data.len() >= limit || looked_at >= LOOKED_AT {
            let next_cursor = after.and_then(|after| listing.after(&after));
            return Ok(Json(Page { data, next_cursor }));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Json(Page { data, next_cursor: None })),
        }
    }
}
