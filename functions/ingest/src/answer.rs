//! Answers: success, problems (RFC 9457), preflights, and the headers that let any web page read them.

use crate::route::Route;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use pipeline::Rejected;
use serde::Serialize;
use std::borrow::Cow;

/// Seconds after which a client may try again when the queue or the store did not answer.
const RETRY_AFTER: &str = "5";
/// The headers that the Segment libraries send, for a preflight that names none.
const USUAL_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, content-encoding, x-retry-count");

/// What a client is told of a refused batch item.
#[derive(Debug, Serialize)]
pub struct RejectedItem {
    index: usize,
    pointer: String,
    reason: String,
}

impl From<&Rejected> for RejectedItem {
    fn from(rejected: &Rejected) -> Self {
        Self { index: rejected.index, pointer: rejected.pointer.clone(), reason: rejected.reason.clone() }
    }
}

fn json(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 200 with a JSON body.
pub fn ok(body: impl Into<Bytes>) -> Response<Bytes> {
    json(StatusCode::OK, "application/json", body.into())
}

/// What the libraries expect.
pub fn success() -> Response<Bytes> {
    ok(Bytes::from_static(br#"{"success":true}"#))
}

/// Success, with the items that were refused.
pub fn accepted(rejected: &[RejectedItem]) -> Response<Bytes> {
    #[derive(Serialize)]
    struct Accepted<'a> {
        success: bool,
        rejected: &'a [RejectedItem],
    }
    if rejected.is_empty() {
        return success();
    }
    serde_json::to_vec(&Accepted { success: true, rejected }).map_or_else(|_| success(), ok)
}

/// Lets a browser send what it asked to send.
pub fn preflight(headers: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|value| {
        let names = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b',' | b' ');
        value.len() <= 1_000 && value.as_bytes().iter().all(names)
    });
    let out = response.headers_mut();
    out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.cloned().unwrap_or(USUAL_HEADERS));
    out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    out.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// Adds what every answer carries.
pub fn for_any_page(mut response: Response<Bytes>) -> Response<Bytes> {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // The browser library reads it to know when to come again.
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Why a request is not answered with 200.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// The last part of the problem's type; also what the log says.
    pub slug: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    pointer: Option<Cow<'static, str>>,
    header: Option<(&'static str, &'static str)>,
}

impl Problem {
    fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, slug, title, detail: detail.into(), pointer: None, header: None }
    }

    /// There is nothing at this path.
    pub fn not_found() -> Self {
        let detail = "tracking calls are sent to /v1/track, /v1/identify, /v1/page, /v1/screen, /v1/group, /v1/alias, /v1/batch and /v1/account-event";
        Self::new(StatusCode::NOT_FOUND, "not-found", "Unknown path", detail)
    }

    /// The path is right and the method is not.
    pub fn method_not_allowed(route: &Route<'_>) -> Self {
        let (allow, detail) = match route {
            Route::Settings(_) => ("GET, OPTIONS", "the settings are read with GET"),
            Route::Health => ("GET, OPTIONS", "the health is read with GET"),
            _ => ("POST, OPTIONS", "tracking calls are sent with POST"),
        };
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Wrong method", detail);
        Self { header: Some(("allow", allow)), ..problem }
    }

    /// No write key came along.
    pub fn no_key() -> Self {
        let detail = "send the write key as the user name of Basic authorization, or as `writeKey` in the body";
        Self::new(StatusCode::UNAUTHORIZED, "no-write-key", "Write key missing", detail)
    }

    /// A key that opens nothing.
    pub fn unknown_key() -> Self {
        let detail = "the write key is unknown or was revoked";
        Self::new(StatusCode::UNAUTHORIZED, "unknown-write-key", "Unknown write key", detail)
    }

    /// More than is taken at once.
    pub fn too_large(detail: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    /// A body that can't be read.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-body", "Malformed body", detail)
    }

    /// A call that can be read and is wrong.
    pub fn invalid(pointer: Cow<'static, str>, detail: String) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid-call", "Invalid call", detail);
        Self { pointer: Some(pointer), ..problem }
    }

    /// The host name that the client used can't be told back to it.
    pub fn no_host() -> Self {
        let detail = "the request must name the host that it was sent to";
        Self::new(StatusCode::BAD_REQUEST, "no-host", "Host missing", detail)
    }

    /// The queue or the store did not answer.
    pub fn unavailable() -> Self {
        let detail = "the call was not stored for certain; send it again, with the same messageId";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again", detail);
        Self { header: Some(("retry-after", RETRY_AFTER)), ..problem }
    }

    /// Calls can't be taken.
    pub fn unhealthy() -> Self {
        let detail = "write keys can't be looked up; the log says why";
        Self { detail: detail.into(), ..Self::unavailable() }
    }

    /// As a response.
    pub fn response(&self) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Place<'a> {
            pointer: &'a str,
            detail: &'a str,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            errors: Option<[Place<'a>; 1]>,
        }
        let body = Body {
            r#type: format!("urn:harpoon:problem:{}", self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: self.pointer.as_deref().map(|pointer| [Place { pointer, detail: &self.detail }]),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = json(self.status, "application/problem+json", body.into());
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}
