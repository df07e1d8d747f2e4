//! The entry points of functions. A function's `main` makes its adapters and calls one of them.

use crate::{
    batch::{DeadQueue, SqsEvent, chain, handle_sqs_counting},
    metrics::Metrics,
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use lambda_http::{RequestExt, request::RequestContext};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use pipeline::{Queue, Stage, environment::Environment};
use serde::de::IgnoredAny;
use serde_json::json;
use std::{
    convert::Infallible,
    error::Error,
    future::{Future, ready},
    net::IpAddr,
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Why a function could not start or answer.
pub type LambdaError = lambda_runtime::Error;

/// Logs JSON lines to the standard output, from `info` on unless `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG` says otherwise. A
/// second call changes nothing.
pub fn init_tracing() {
    let environment = Environment::of_process();
    let said = |name| environment.optional(name)?.trim_end_matches(',').parse::<Targets>().ok();
    let filter =
        said("AWS_LAMBDA_LOG_LEVEL").or_else(|| said("RUST_LOG")).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // It fails only where logs are set up already.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// What calls a function; it decides how the function says that it can't work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledBy {
    /// HTTP requests, which are answered with 503.
    Requests,
    /// Events of a queue or a schedule, whose invocations fail: messages stay in their queue, and the alarm on errors goes off.
    Events,
}

/// Why an invocation fails, when the log says so already.
#[derive(Clone)]
struct Told {
    kind: &'static str,
    message: String,
}

/// The runtime logs this form once more, and one line is enough.
impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the invocation failed; an earlier line says why")
    }
}

impl From<Told> for Diagnostic {
    fn from(told: Told) -> Self {
        Self { error_type: told.kind.to_owned(), error_message: told.message }
    }
}

/// Gives back what a function can't work without. If that could not be made, the reason is logged once, and then every
/// invocation is told it until Lambda ends the process. A function that ended by itself would be started again at every event, and all that
/// people saw would be that it ended.
///
/// # Errors
/// It could not be made, and the Lambda runtime API can't be used either.
pub async fn or_explain<T, E: Error>(made: Result<T, E>, called_by: CalledBy) -> Result<T, LambdaError> {
    let error = match made {
        Ok(made) => return Ok(made),
        Err(error) => chain(&error),
    };
    tracing::error!(error, "the function can't work as it is configured");
    match called_by {
        CalledBy::Requests => serve_http(|_, _| ready(not_configured(&error))).await?,
        CalledBy::Events => {
            let told = &Told { kind: "Configuration", message: error.clone() };
            lambda_runtime::run(service_fn(|_: LambdaEvent<IgnoredAny>| ready(Err::<(), Told>(told.clone())))).await?;
        }
    }
    Err(error.into())
}

/// The answer of a function that can't work: a problem (RFC 9457) that says why. It repeats no value of the environment.
fn not_configured(error: &str) -> http::Response<Bytes> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let body = json!({
        "type": "urn:harpoon:problem:not-configured", "title": "Not configured", "status": status.as_u16(),
        "detail": format!("the function can't work as it is configured: {error}"),
    });
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    // Browsers show it to the page that called.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Serves the SQS events of one stage until Lambda ends the process. After each the counters are written.
///
/// # Errors
/// The Lambda runtime API can't be used.
pub async fn serve_queue<S, Q, D>(stage: S, own: Q, dead: D, metrics: Metrics) -> Result<(), LambdaError>
where
    S: Stage,
    Q: Queue<S::Input>,
    D: DeadQueue,
{
    let (stage, own, dead, metrics) = (&stage, &own, &dead, &metrics);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let handled = handle_sqs_counting(stage, event.payload, own, dead, metrics.counters());
        Ok::<_, LambdaError>(metrics.reporting(handled).await)
    }))
    .await
}

/// Calls `run` for every event of a schedule, whatever the event says. An error is logged here and reported to Lambda, which
/// calls again.
///
/// # Errors
/// The Lambda runtime API can't be used.
pub async fn serve_schedule<F, R, E>(name: &'static str, run: F) -> Result<(), LambdaError>
where
    F: Fn() -> R,
    R: Future<Output = Result<(), E>>,
    E: Error + Send + Sync + 'static,
{
    let run = &run;
    lambda_runtime::run(service_fn(move |_: LambdaEvent<IgnoredAny>| async move {
        run().await.map_err(|error| {
            let message = chain(&error);
            tracing::error!(stage = name, error = message, "the scheduled run failed");
            Told { kind: "ScheduledRun", message }
        })
    }))
    .await
}

/// Serves HTTP requests (HTTP API or function URL) until Lambda ends the process. The handler is given the address that the
/// gateway saw, if it saw one.
///
/// # Errors
/// The Lambda runtime API can't be used.
pub async fn serve_http<F, R>(handler: F) -> Result<(), LambdaError>
where
    F: Fn(http::Request<Bytes>, Option<IpAddr>) -> R,
    R: Future<Output = http::Response<Bytes>> + Send,
{
    let handler = &handler;
    lambda_http::run(service_fn(move |request: lambda_http::Request| {
        let peer = peer(&request);
        let response = handler(request.map(bytes), peer);
        async move { Ok::<_, Infallible>(response.await.map(Full::new)) }
    }))
    .await
}

fn bytes(body: lambda_http::Body) -> Bytes {
    match body {
        lambda_http::Body::Text(text) => Bytes::from(text),
        lambda_http::Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    }
}

fn peer(request: &lambda_http::Request) -> Option<IpAddr> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref()?.parse().ok(),
        #[allow(unreachable_patterns, reason = "other features of the crate add other contexts")]
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::environment::EnvironmentError;
    use serde_json::Value;

    const MISSING: EnvironmentError = EnvironmentError { name: "HARPOON_TABLE_PREFIX", expected: "what the tables' names begin with" };

    #[test]
    fn requests_to_a_function_without_its_configuration_are_told_the_variable() {
        let response = not_configured(&chain(&MISSING));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["status"], 503);
        assert_eq!(
            body["detail"],
            "the function can't work as it is configured: the environment variable `HARPOON_TABLE_PREFIX` must be what the tables' names begin with"
        );
    }

    #[test]
    fn an_invocation_that_fails_says_why_to_lambda_and_not_once_more_to_the_log() {
        let told = Told { kind: "Configuration", message: chain(&MISSING) };
        assert!(!format!("{told:?}").contains("HARPOON_TABLE_PREFIX"));
        let diagnostic = Diagnostic::from(told);
        assert_eq!(diagnostic.error_type, "Configuration");
        assert!(diagnostic.error_message.contains("HARPOON_TABLE_PREFIX"));
    }

    #[tokio::test]
    async fn what_could_be_made_is_given_back() {
        assert_eq!(or_explain(Ok::<_, EnvironmentError>(7), CalledBy::Events).await.unwrap(), 7);
    }

    /// The event that an HTTP API of payload version 2.0 sends, from the documentation of API Gateway.
    const EVENT: &str = r#"{
        "version": "2.0", "routeKey": "$default", "rawPath": "/v1/batch", "rawQueryString": "debug=1",
        "headers": {"content-type": "application/json", "host": "abc.execute-api.eu-central-1.amazonaws.com"},
        "requestContext": {"accountId": "123456789012", "apiId": "abc", "domainName": "abc.execute-api.eu-central-1.amazonaws.com",
          "domainPrefix": "abc", "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "12/Mar/2020:19:03:58 +0000",
          "timeEpoch": 1583348638390, "http": {"method": "POST", "path": "/v1/batch", "protocol": "HTTP/1.1",
          "sourceIp": "192.0.2.1", "userAgent": "agent"}},
        "body": "eyJiYXRjaCI6W119", "isBase64Encoded": true}"#;

    #[test]
    fn a_gateway_event_gives_path_body_and_peer() {
        let request = lambda_http::request::from_str(EVENT).unwrap();
        assert_eq!(peer(&request), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().path(), "/v1/batch");
        assert_eq!(request.uri().query(), Some("debug=1"));
        assert_eq!(bytes(request.into_body()), Bytes::from_static(b"{\"batch\":[]}"));
    }
}
