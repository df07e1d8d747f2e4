//! What the browser library asks for before it sends anything.

use crate::{Url, answer, answer::Problem};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use serde_json::json;

/// The settings for a write key that is known. They must name the host to send to: without it the library would send the
/// visitors' data to its maker.
pub fn answer(write_key: &str, request: &Request<Bytes>, public_url: Option<&Url>) -> Result<Response<Bytes>, Problem> {
    let (protocol, host) = match public_url {
        Some(url) => (scheme(Some(url.scheme())), told_host(url)),
        None => (called_scheme(request), called_host(request)),
    };
    let host = host.ok_or_else(Problem::no_host)?;
    let enabled = json!({"__default": {"enabled": true, "integrations": {}}});
    let settings = json!({
        // One integration only: with a second one the library would load code of its maker.
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": format!("{host}/v1"),
                "protocol": protocol,
                "addBundledMetadata": true,
                "unbundledIntegrations": [],
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            },
        },
        "plan": {"track": enabled, "identify": enabled, "group": enabled},
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    });
    let mut response = answer::ok(settings.to_string());
    // Private: a shared cache must not hand one host's settings to a page that asked another.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=300"));
    Ok(response)
}

fn scheme(text: Option<&str>) -> &'static str {
    if text.is_some_and(|text| text.eq_ignore_ascii_case("https")) { "https" } else { "http" }
}

fn called_scheme(request: &Request<Bytes>) -> &'static str {
    let forwarded = request.headers().get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    scheme(forwarded.or_else(|| request.uri().scheme_str()))
}

fn called_host(request: &Request<Bytes>) -> Option<String> {
    let header = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(|authority| authority.as_str()))?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if !host.is_empty() && host.len() <= 300 && host.bytes().all(fits) { Some(host.to_owned()) } else { None }
}

/// Host, port and path of the address that the operator told.
fn told_host(url: &Url) -> Option<String> {
    let path = url.path().trim_end_matches('/');
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    url.host_str().map(|host| format!("{host}{port}{path}"))
}
