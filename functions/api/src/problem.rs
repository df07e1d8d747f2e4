//! Errors as RFC 9457 problem details.

use axum::response::{IntoResponse, Response};
use domain::problem::Problems;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pipeline::{QueueError, SecretError, StoreError, notify::DestinationError};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// What went wrong with a request; its content type is `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "about:blank", "title": "Unprocessable Entity", "status": 422,
    "detail": "1 field is not right",
    "errors": [{"pointer": "/tier", "detail": "must be `1:1`, `1:few` or `1:many`, or null"}]
}))]
pub struct ProblemBody {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what would be right.
    pub detail: String,
    /// Everything that is wrong with the request, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where in the body: a JSON pointer, empty for the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong there and what would be right.
    pub detail: String,
}

impl Fault {
    /// Something wrong in the body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    /// Something wrong with a query parameter.
    pub fn of(parameter: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(parameter.into()), detail: detail.into() }
    }
}

/// A request that is not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<Fault>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), header: None }
    }

    /// 400: the request can't be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: there is no token.
    pub fn no_token() -> Self {
        let detail = "send an API token in the header `Authorization: Bearer <token>`";
        let header = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"harpoon\""));
        Self { header: Some(header), ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// 401: the token opens nothing.
    pub fn unknown_token() -> Self {
        let detail = "the API token is not known or was revoked; write keys open the tracking API only";
        let header = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"harpoon\", error=\"invalid_token\""));
        Self { header: Some(header), ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// 404: what is not there, such as "account".
    pub fn not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(128).collect();
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} `{id}`"))
    }

    /// 404: no such address.
    pub fn nothing_here() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this address; `/api/v1/openapi.json` lists every one")
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method; the `Allow` header lists those that it takes")
    }

    /// 409: it does not go together with what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 409 because somebody else wrote in between, at every attempt.
    pub fn busy() -> Self {
        Self::conflict("somebody else changed it at the same time; read it and try again")
    }

    /// 412: the client looked at something older.
    pub fn stale(revision: u64) -> Self {
        let detail = match revision {
            // Nothing was made of it yet, or not any more.
            0 => "it has no revision of its own by now; read it again".to_owned(),
            revision => format!("it is at revision {revision} by now; read it again"),
        };
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 413.
    pub fn too_large(max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have at most {max} bytes"))
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let header = (header::RETRY_AFTER, HeaderValue::from_static("1"));
        Self { header: Some(header), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// 500, without any detail of the inside.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong inside; the log says what")
    }

    /// 400: query parameters that are not right. `None` when there is no fault.
    pub fn parameters(faults: Vec<Fault>) -> Option<Self> {
        Self::faulty(StatusCode::BAD_REQUEST, "query parameter", faults)
    }

    /// 422: a body that is not right. `None` when there is no fault.
    pub fn body(faults: Vec<Fault>) -> Option<Self> {
        Self::faulty(StatusCode::UNPROCESSABLE_ENTITY, "field", faults)
    }

    fn faulty(status: StatusCode, what: &str, errors: Vec<Fault>) -> Option<Self> {
        let detail = match errors.len() {
            0 => return None,
            1 => format!("1 {what} is not right"),
            n => format!("{n} {what}s are not right"),
        };
        Some(Self { errors, ..Self::new(status, detail) })
    }

    /// The same with the place that it is about.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.errors.push(fault);
        self
    }
}

impl From<Problems> for Problem {
    fn from(problems: Problems) -> Self {
        let faults = problems.0.into_iter().map(|problem| Fault::at(problem.pointer, problem.message)).collect();
        Self::body(faults).unwrap_or_else(Self::internal)
    }
}

/// Logs what the store saw, and tells the client whether another attempt may help.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Conflict { .. } => Self::busy(),
            StoreError::Busy { .. } | StoreError::Unavailable { .. } => {
                tracing::warn!(stage = "api", error = %error, cause = cause(&error), "the store can't be used");
                Self::unavailable("the store can't be reached at the moment; try again")
            }
            StoreError::Refused { .. } | StoreError::Corrupt { .. } => {
                tracing::error!(stage = "api", error = %error, cause = cause(&error), "the store does not hold what it should");
                Self::internal()
            }
        }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        tracing::error!(stage = "api", error = %error, cause = cause(&error), "a secret can't be sealed or opened");
        match error {
            SecretError::Unavailable { .. } => Self::unavailable("the key service can't be reached at the moment; try again"),
            SecretError::NotOurs { .. } => Self::internal(),
        }
    }
}

impl From<DestinationError> for Problem {
    fn from(error: DestinationError) -> Self {
        match error {
            DestinationError::Store(error) => error.into(),
            DestinationError::Secret(error) => error.into(),
            DestinationError::Invalid(problems) => problems.into(),
        }
    }
}

/// Everything behind an error, joined, for the log.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut parts = Vec::new();
    let mut source = error.source();
    while let Some(error) = source {
        parts.push(error.to_string());
        source = error.source();
    }
    parts.join(": ")
}

/// A hint that could not be sent delays what it stands for until the due item is found, and nothing more.
pub(crate) fn not_sent(error: &QueueError) {
    tracing::warn!(stage = "api", error = %error, cause = cause(error), "the hint was not sent; the due item stands for it");
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], text).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
