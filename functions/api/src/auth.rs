//! Who asks: the workspace comes from the token and from nowhere else.

use crate::{Api, Ports, problem::Problem};
use axum::{
    extract::{FromRequestParts, MatchedPath, Path, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::WorkspaceId;
use http::{header, request::Parts};
use pipeline::{Clock, CredentialKind};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The workspace whose token came with the request.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) WorkspaceId);

impl<P: Ports> FromRequestParts<Arc<Api<P>>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<P>>) -> Result<Self, Problem> {
        if let Some(workspace) = parts.extensions.get::<WorkspaceId>() {
            return Ok(Self(workspace.clone()));
        }
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else { return Err(Problem::no_token()) };
        let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(Problem::no_token)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::no_token());
        }
        match api.credentials.find(token.trim(), CredentialKind::ApiToken).await? {
            Some(credential) => {
                parts.extensions.insert(By(credential.name));
                parts.extensions.insert(credential.workspace.clone());
                Ok(Self(credential.workspace))
            }
            None => Err(Problem::unknown_token()),
        }
    }
}

/// Who asks: the name of the token that came with the request.
#[derive(Debug, Clone)]
pub(crate) struct By(pub(crate) String);

impl<P: Ports> FromRequestParts<Arc<Api<P>>> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<P>>) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, api).await?;
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::no_token)
    }
}

/// The part of the path that names something. One that is no text names nothing.
#[derive(Debug)]
pub(crate) struct Named<T = String>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, state).await.map_err(|_| Problem::nothing_here())?;
        Ok(Self(named))
    }
}

/// Lets a request through only with a valid token, before anything of it is read.
pub(crate) async fn require<P: Ports>(State(api): State<Arc<Api<P>>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match Caller::from_request_parts(&mut parts, &api).await {
        Ok(Caller(workspace)) => {
            let mut response = next.run(Request::from_parts(parts, body)).await;
            response.extensions_mut().insert(workspace);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// One log line for each request: the route, never the address, the body or who it is about.
pub(crate) async fn log<P: Ports>(State(api): State<Arc<Api<P>>>, request: Request, next: Next) -> Response {
    let began = api.clock.now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    tracing::info!(
        stage = "api",
        workspace.id = response.extensions().get::<WorkspaceId>().map(tracing::field::display),
        %method,
        route,
        status = response.status().as_u16(),
        duration_ms = api.clock.now().millis_since(began),
        "answered an API request"
    );
    response
}
