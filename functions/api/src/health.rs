//! Whether the API can do its work.

use crate::{
    Api, Ports,
    problem::{Problem, cause},
    query,
};
use axum::{Json, extract::State};
use http::Uri;
use pipeline::{Consistency, Key, Store, Table};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// That everything works.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Check that the API works
///
/// Needs no token. Answers 503 with what is wrong when the tables can't be read.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "About",
    responses((status = 200, description = "Everything works", body = Health)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, uri: Uri) -> Result<Json<Health>, Problem> {
    query::none(&uri)?;
    for table in Table::ALL {
        let read = api.store.read(&Key::new(table, "health", "-"), Consistency::Eventual).await;
        if let Err(error) = read {
            tracing::warn!(stage = "api", table = table.as_str(), error = %error, cause = cause(&error), "a table can't be read");
            return Err(Problem::unavailable(format!("the table `{}` can't be read", table.as_str())));
        }
    }
    Ok(Json(Health { status: "ok" }))
}
