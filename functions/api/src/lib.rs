#![doc = include_str!("../README.md")]

mod account;
mod accounts;
mod auth;
mod body;
mod change;
pub mod config;
mod coverage;
mod cursor;
mod deliveries;
mod destinations;
mod dry_run;
mod etag;
mod filter;
mod grades;
mod health;
mod history;
mod jobs;
mod kinds;
mod lead;
mod leads;
mod link;
mod listing;
mod mappings;
mod openapi;
mod owner_rules;
mod problem;
mod programmes;
mod query;
mod rescore;
mod rulesets;
mod setting;
mod surge_settings;
mod templates;
mod timeline;
mod triggers;
mod view;

pub use openapi::document;

use axum::{Router, middleware, routing::get};
use bytes::Bytes;
use domain::{Home, Timestamp, WorkspaceId};
use http_body_util::BodyExt;
use pipeline::{
    AccountTouched, Clock, Credentials, Homes, Queue, Secrets, Store, SystemEntropy,
    board::Board,
    homes::HomeStore,
    jobs::Jobs,
    models::Models,
    notify::{Deliveries, Destinations, Triggers},
    parcels::Parcels,
    rulesets::Rulesets,
};
use problem::{Problem, not_sent};
use std::{collections::BTreeSet, sync::Arc};
use tower::ServiceExt;

/// How often a change is tried again when somebody else wrote in between.
pub(crate) const ATTEMPTS: usize = 8;

/// What the API stands on. Implemented for the tuple of a store, secrets, a clock and the queue that score reads.
pub trait Ports: Send + Sync + 'static {
    /// Where everything is kept.
    type Store: Store + Clone;
    /// What seals destination secrets.
    type Secrets: Secrets;
    /// The present moment.
    type Clock: Clock + Clone;
    /// The queue that score reads.
    type Touched: Queue<AccountTouched>;
}

impl<S: Store + Clone, X: Secrets, C: Clock + Clone, Q: Queue<AccountTouched>> Ports for (S, X, C, Q) {
    type Store = S;
    type Secrets = X;
    type Clock = C;
    type Touched = Q;
}

/// The API over its ports.
#[derive(Debug)]
pub struct Api<P: Ports> {
    store: P::Store,
    homes: HomeStore<P::Store>,
    parcels: Parcels<P::Store>,
    models: Models<P::Store, P::Clock>,
    rulesets: Rulesets<P::Store, P::Clock>,
    jobs: Jobs<P::Store, P::Clock>,
    credentials: Credentials<P::Store, P::Clock>,
    board: Board<P::Store, P::Clock>,
    triggers: Triggers<P::Store, P::Clock>,
    destinations: Destinations<P::Store, P::Clock>,
    deliveries: Deliveries<P::Store>,
    secrets: P::Secrets,
    clock: P::Clock,
    touched: P::Touched,
    entropy: SystemEntropy,
    allow_private_destinations: bool,
}

impl<S: Store + Clone, X: Secrets, C: Clock + Clone, Q: Queue<AccountTouched>> Api<(S, X, C, Q)> {
    /// Over these ports.
    pub fn new(store: S, secrets: X, clock: C, touched: Q) -> Self {
        Self {
            homes: HomeStore::new(store.clone()),
            parcels: Parcels::new(store.clone()),
            models: Models::new(store.clone(), clock.clone()),
            rulesets: Rulesets::new(store.clone(), clock.clone()),
            jobs: Jobs::new(store.clone(), clock.clone()),
            credentials: Credentials::new(store.clone(), clock.clone()),
            board: Board::new(store.clone(), clock.clone()),
            triggers: Triggers::new(store.clone(), clock.clone()),
            destinations: Destinations::new(store.clone(), clock.clone()),
            deliveries: Deliveries::new(store.clone()),
            store,
            secrets,
            clock,
            touched,
            entropy: SystemEntropy,
            allow_private_destinations: false,
        }
    }
}

impl<P: Ports> Api<P> {
    /// Whether destinations may have private and loopback addresses: for tests and local use.
    #[must_use]
    pub fn allow_private_destinations(mut self, allow: bool) -> Self {
        self.allow_private_destinations = allow;
        self
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells score what was changed. What is due stands in the store already, so a hint that is not sent only delays.
    async fn touch(&self, workspace: &WorkspaceId, homes: BTreeSet<Home>) {
        let mut touched = Homes::default();
        homes.into_iter().for_each(|home| touched.add(workspace, home));
        let messages = touched.touched();
        if messages.is_empty() {
            return;
        }
        if let Err(error) = self.touched.send(messages).await {
            not_sent(&error);
        }
    }
}

/// The addresses so far. Each part adds its own to them: a router that is merged into another has all its addresses entered once more, and that
/// is time of every cold start.
type Routes<P> = Router<Arc<Api<P>>>;

/// Every address of the API.
pub fn router<P: Ports>(api: Api<P>) -> Router {
    let api = Arc::new(api);
    let guarded: Routes<P> = Router::new()
        .route("/api/v1/accounts", get(accounts::list::<P>))
        .route("/api/v1/accounts/{id}", get(account::show::<P>).patch(change::patch::<P>).put(change::put::<P>))
        .route("/api/v1/accounts/{id}/leads", get(leads::of_account::<P>))
        .route("/api/v1/accounts/{id}/timeline", get(timeline::show::<P>))
        .route("/api/v1/accounts/{id}/explain", get(account::explain::<P>))
        .route("/api/v1/accounts/{id}/fields/{name}", axum::routing::delete(change::forget::<P>))
        .route("/api/v1/leads", get(leads::list::<P>))
        .route("/api/v1/leads/{id}", get(lead::show::<P>).put(link::put::<P>))
        .route("/api/v1/leads/{id}/explain", get(lead::explain::<P>))
        .route("/api/v1/leads/{id}/account", axum::routing::delete(link::undo::<P>))
        .route("/api/v1/triggers", get(triggers::list::<P>).post(triggers::create::<P>))
        .route("/api/v1/triggers/{id}", get(triggers::show::<P>).put(triggers::replace::<P>).delete(triggers::delete::<P>))
        .route("/api/v1/destinations", get(destinations::list::<P>).post(destinations::create::<P>))
        .route("/api/v1/destinations/{id}", get(destinations::show::<P>).put(destinations::change::<P>).delete(destinations::delete::<P>))
        .route("/api/v1/deliveries", get(deliveries::list::<P>));
    let parts = [
        history::add_routes,
        rulesets::add_routes,
        templates::add_routes,
        dry_run::add_routes,
        mappings::add_routes,
        coverage::add_routes,
        surge_settings::add_routes,
        owner_rules::add_routes,
        programmes::add_routes,
        grades::add_routes,
        rescore::add_routes,
        jobs::add_routes,
    ];
    let guarded = parts.into_iter().fold(guarded, |routes, add| add(routes));
    let guarded = guarded.route_layer(middleware::from_fn_with_state(Arc::clone(&api), auth::require::<P>));
    let open = Router::new().route("/healthz", get(health::show::<P>)).route("/api/v1/openapi.json", get(openapi::show));
    guarded
        .merge(open)
        .fallback(async || Problem::nothing_here())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(&api), auth::log::<P>))
        .with_state(api)
}

/// Answers one request whose body is at hand, as functions get it.
pub async fn answer(router: Router, request: http::Request<Bytes>) -> http::Response<Bytes> {
    let response = match router.oneshot(request.map(axum::body::Body::from)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    // The bodies of this router are in memory, so that collecting one can't fail.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    http::Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests;
