//! The one port: tracking calls go to ingest, everything else to the API.

use axum::body::HttpBody as _;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
    routing::any,
    serve::ListenerExt,
};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, time::timeout};

/// How much of a body that is too large is read, so that the client gets to see the answer.
const DRAINED_BYTES: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(60);
/// How long open connections may go on once everything stops.
const GRACE: Duration = Duration::from_secs(5);

/// Answers a tracking call; it is given the address of the client.
pub type Tracking = Arc<dyn Fn(http::Request<Bytes>, Option<IpAddr>) -> BoxFuture<'static, http::Response<Bytes>> + Send + Sync>;

/// Everything that the port answers.
pub fn routes(tracking: Tracking, api: Router) -> Router {
    let tracking = Router::new().route("/v1/{*call}", any(track)).with_state(tracking);
    // The API's own fallback answers what nobody knows.
    api.merge(tracking)
}

/// Serves until `stopped` resolves; then open connections have a little time to finish.
///
/// # Errors
/// The port can no longer be listened on.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    stopped: impl Future<Output = ()> + Clone + Send + 'static,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Answers are small: they should not wait for more to come.
        let _ = stream.set_nodelay(true);
    });
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped.clone());
    let given_up = async {
        stopped.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = given_up => Ok(()),
    }
}

async fn track(State(tracking): State<Tracking>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match timeout(BODY_TIME, read(body)).await {
        Ok(Ok(body)) => tracking(http::Request::from_parts(parts, body), Some(peer.ip())).await.map(Body::from),
        Ok(Err(_)) => cross_origin(problem(StatusCode::BAD_REQUEST, "The body ended early")),
        Err(_) => cross_origin(problem(StatusCode::REQUEST_TIMEOUT, "The body took longer than a minute")),
    }
}

/// A body, cut after the first byte too many: with it ingest sees that the body is too large, and answers so. The rest is read
/// and dropped.
async fn read(mut body: Body) -> Result<Bytes, axum::Error> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX).min(ingest::MAX_BODY_BYTES);
    let mut read = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if body.is_end_stream() && length == data.len() && length <= ingest::MAX_BODY_BYTES {
            // What came in one piece needs no copy.
            return Ok(data);
        }
        data.truncate((ingest::MAX_BODY_BYTES + 1).saturating_sub(read.len()));
        if read.is_empty() {
            read.reserve(announced);
        }
        read.extend_from_slice(&data);
        if length > DRAINED_BYTES {
            break;
        }
    }
    Ok(read.freeze())
}

/// A browser shows a page the answer only with this.
fn cross_origin(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
