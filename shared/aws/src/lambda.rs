//! The entry points of functions. A function's `main` makes its adapters and calls one of them.

use crate::batch::{DeadQueue, SqsEvent, chain, handle_sqs};
use bytes::Bytes;
use http_body_util::Full;
use lambda_http::{RequestExt, request::RequestContext};
use lambda_runtime::{LambdaEvent, service_fn};
use pipeline::{Queue, Stage};
use serde::de::IgnoredAny;
use std::{convert::Infallible, error::Error, future::Future, net::IpAddr};
use tracing_subscriber::EnvFilter;

/// Why a function could not start or answer.
pub type LambdaError = lambda_runtime::Error;

/// Logs JSON lines to the standard output, from `info` on unless `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG` says otherwise. A
/// second call changes nothing.
pub fn init_tracing() {
    let filter = EnvFilter::try_from_env("AWS_LAMBDA_LOG_LEVEL")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(false).with_env_filter(filter);
    // It fails only where logs are set up already.
    let _ = logs.try_init();
}

/// Serves the SQS events of one stage until Lambda ends the process.
///
/// # Errors
/// The Lambda runtime API can't be used.
pub async fn serve_queue<S, Q, D>(stage: S, own: Q, dead: D) -> Result<(), LambdaError>
where
    S: Stage,
    Q: Queue<S::Input>,
    D: DeadQueue,
{
    let (stage, own, dead) = (&stage, &own, &dead);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        Ok::<_, LambdaError>(handle_sqs(stage, event.payload, own, dead).await)
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
        let outcome = run().await;
        if let Err(error) = &outcome {
            tracing::error!(stage = name, error = chain(error), "the scheduled run failed");
        }
        outcome.map_err(LambdaError::from)
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
