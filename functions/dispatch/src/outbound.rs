//! The transport over the real network, built so that nobody can make Harpoon call what only Harpoon can reach.
//!
//! The host is resolved here, every address is checked, and the connection is made to an address that passed: there is no second look-up
//! that could answer otherwise. The host's name is used for the certificate and the `Host` header alone. No proxy, no redirects, no
//! connection is kept for later.

use crate::transport::{Answer, Outgoing, Transport, TransportError};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use pipeline::notify::{check_url, is_always_refused, is_public};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{Duration, Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

/// How much of an answer is read at most.
const READ_BYTES: usize = 64 * 1024;
/// How much of it is kept.
const KEPT_BYTES: usize = 4 * 1024;
/// How long one address gets before the next one is tried.
const CONNECT: Duration = Duration::from_secs(4);
/// How many addresses of a host are tried.
const ADDRESSES: usize = 4;

/// Finds the addresses of a host's name.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses, in the order in which they should be tried; none when the name does not exist.
    fn resolve(&self, host: &str) -> impl Future<Output = Vec<IpAddr>> + Send;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> Vec<IpAddr> {
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// The transport over the network.
pub struct HyperTransport<R> {
    resolver: R,
    tls: TlsConnector,
    allow_private: bool,
}

impl<R> std::fmt::Debug for HyperTransport<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HyperTransport").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

impl HyperTransport<SystemResolver> {
    /// With the operating system's resolver and the public certificate authorities. `allow_private` also reaches private addresses and
    /// speaks plain HTTP.
    pub fn new(allow_private: bool) -> Result<Self, rustls::Error> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::with(SystemResolver, roots, allow_private)
    }
}

impl<R: Resolver> HyperTransport<R> {
    /// With this resolver and these certificate authorities.
    pub fn with(resolver: R, roots: RootCertStore, allow_private: bool) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { resolver, tls: TlsConnector::from(Arc::new(config)), allow_private })
    }

    /// The addresses of the URL's host that may be connected to.
    async fn addresses(&self, host: &Host<&str>) -> Result<Vec<IpAddr>, TransportError> {
        let found = match host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            Host::Domain(name) => self.resolver.resolve(name).await,
        };
        if found.is_empty() {
            return Err(TransportError::Resolve);
        }
        let permitted: Vec<IpAddr> = found
            .into_iter()
            .filter(|address| !is_always_refused(*address) && (self.allow_private || is_public(*address)))
            .take(ADDRESSES)
            .collect();
        if permitted.is_empty() {
            return Err(TransportError::Refused { reason: "must not have a private, local or reserved address".to_owned() });
        }
        Ok(permitted)
    }

    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, TransportError> {
        let mut reason = String::new();
        for address in addresses {
            match timeout(CONNECT, TcpStream::connect(SocketAddr::new(*address, port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reason = error.kind().to_string(),
                Err(_) => reason = "timed out".to_owned(),
            }
        }
        Err(TransportError::Connect { reason })
    }

    async fn exchange(&self, request: &Outgoing, deadline: Instant) -> Result<Answer, TransportError> {
        let refused = |reason: &str| TransportError::Refused { reason: reason.to_owned() };
        let url = check_url(&request.url, self.allow_private).map_err(|fault| refused(&fault.to_string()))?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(refused("must name a host"));
        };
        let addresses = self.addresses(&host).await?;
        let stream = self.connect(&addresses, port).await?;
        if url.scheme() != "https" {
            return send(stream, &url, request, deadline).await;
        }
        let name = match host {
            Host::Domain(name) => {
                ServerName::try_from(name.trim_end_matches('.').to_owned()).map_err(|_| refused("must have a valid host name"))?
            }
            Host::Ipv4(address) => ServerName::from(IpAddr::V4(address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::V6(address)),
        };
        let stream = self.tls.connect(name, stream).await.map_err(|error| TransportError::Tls { reason: error.to_string() })?;
        send(stream, &url, request, deadline).await
    }
}

fn protocol(error: &impl std::error::Error) -> TransportError {
    TransportError::Protocol { reason: error.to_string() }
}

async fn send<IO>(stream: IO, url: &Url, request: &Outgoing, deadline: Instant) -> Result<Answer, TransportError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| protocol(&e))?;
    // The set aborts the connection's task when this function is left, on whatever way.
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // How the connection ends shows in the exchange itself.
        let _ended = connection.await;
    });
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let mut builder = Request::post(target)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("Harpoon/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    let outgoing = builder.body(Full::new(Bytes::from(request.body.clone()))).map_err(|e| protocol(&e))?;
    let response = sender.send_request(outgoing).await.map_err(|e| protocol(&e))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Answer { status, retry_after, excerpt: excerpt(response, deadline).await })
}

/// The beginning of the body. The status is what counts: a body that breaks off or stalls is cut there.
async fn excerpt(response: Response<Incoming>, deadline: Instant) -> String {
    let mut body = response.into_body();
    let (mut kept, mut read) = (Vec::new(), 0_usize);
    while read < READ_BYTES {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else {
            break;
        };
        if let Ok(data) = frame.into_data() {
            read = read.saturating_add(data.len());
            let room = KEPT_BYTES.saturating_sub(kept.len()).min(data.len());
            kept.extend(data.get(..room).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

impl<R: Resolver> Transport for HyperTransport<R> {
    async fn post(&self, request: Outgoing) -> Result<Answer, TransportError> {
        let deadline = Instant::now() + request.timeout;
        // The body's own limit ends a little earlier, so that a status that was received is never lost to a stalling body.
        let body_deadline = deadline.checked_sub(Duration::from_millis(100)).unwrap_or(deadline);
        match timeout_at(deadline, self.exchange(&request, body_deadline)).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Timeout { seconds: request.timeout.as_secs() }),
        }
    }
}

#[cfg(test)]
mod tests;
