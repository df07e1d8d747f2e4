use super::*;
use std::sync::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// Answers a fixed list of addresses, one list per look-up, the last one for ever.
struct FakeResolver(Mutex<Vec<Vec<IpAddr>>>);

impl FakeResolver {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Self(Mutex::new(answers.iter().map(parse).collect()))
    }
}

impl Resolver for FakeResolver {
    async fn resolve(&self, _host: &str) -> Vec<IpAddr> {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers.first().cloned().unwrap_or_default() }
    }
}

fn transport(resolver: impl Resolver, allow_private: bool) -> HyperTransport<impl Resolver> {
    HyperTransport::with(resolver, RootCertStore::empty(), allow_private).unwrap()
}

fn request(url: &str) -> Outgoing {
    Outgoing {
        url: url.to_owned(),
        headers: vec![("webhook-id", "msg_1".to_owned())],
        body: "{\"a\":1}".to_owned(),
        timeout: Duration::from_secs(5),
    }
}

/// Takes one connection, reads its request to the end of the body, answers, and gives what it read.
async fn serve_once<IO: AsyncRead + AsyncWrite + Unpin>(mut stream: IO, answer: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&read).ends_with("{\"a\":1}") {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "the request broke off");
        read.extend_from_slice(&buffer[..n]);
    }
    // The client may hang up once it has read what it wants.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    String::from_utf8(read).unwrap()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn answered(answer: &'static str) -> (Answer, String) {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move { serve_once(listener.accept().await.unwrap().0, answer).await });
    let transport = transport(SystemResolver, true);
    let answer = transport.post(request(&format!("http://127.0.0.1:{port}/hook?x=1"))).await.unwrap();
    (answer, server.await.unwrap())
}

#[tokio::test]
async fn a_local_listener_is_reached_only_when_private_destinations_are_allowed() {
    let (answer, read) = answered("HTTP/1.1 202 Accepted\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(answer, Answer { status: 202, retry_after: Some("7".into()), excerpt: "ok".into() });
    assert!(read.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{read}");
    assert!(
        read.contains("webhook-id: msg_1\r\n") && read.contains("content-type: application/json\r\n") && read.contains("host: 127.0.0.1:")
    );

    let (listener, port) = listener().await;
    let refused = transport(SystemResolver, false).post(request(&format!("https://127.0.0.1:{port}/"))).await;
    assert!(matches!(refused, Err(TransportError::Refused { .. })), "{refused:?}");
    let refused = transport(SystemResolver, false).post(request(&format!("https://localhost:{port}/"))).await;
    assert!(matches!(refused, Err(TransportError::Refused { .. })), "{refused:?}");
    // Nothing ever knocked.
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_name_that_answers_with_private_addresses_is_refused() {
    for address in ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:10.0.0.8", "100.64.0.1"] {
        let refused = transport(FakeResolver::new(&[&[address]]), false).post(request("https://hooks.example.com/")).await;
        assert!(matches!(refused, Err(TransportError::Refused { .. })), "{address}: {refused:?}");
    }
    let metadata = transport(FakeResolver::new(&[&["169.254.169.254"]]), true).post(request("http://hooks.example.com/")).await;
    assert!(matches!(metadata, Err(TransportError::Refused { .. })));
    let nothing = transport(FakeResolver::new(&[&[]]), false).post(request("https://hooks.example.com/")).await;
    assert_eq!(nothing, Err(TransportError::Resolve));
}

#[tokio::test]
async fn a_name_that_changes_its_answer_after_the_check_gains_nothing() {
    let (listener, port) = listener().await;
    // The first look-up names an address that nobody listens at, every later one the local listener. Only one look-up is ever made, and
    // the connection goes where it pointed.
    let resolver = Arc::new(FakeResolver::new(&[&["127.0.0.2"], &["127.0.0.1"]]));
    struct Shared(Arc<FakeResolver>);
    impl Resolver for Shared {
        async fn resolve(&self, host: &str) -> Vec<IpAddr> {
            self.0.resolve(host).await
        }
    }
    let transport = HyperTransport::with(Shared(Arc::clone(&resolver)), RootCertStore::empty(), true).unwrap();
    let failed = transport.post(request(&format!("http://hooks.example.com:{port}/"))).await;
    assert!(matches!(failed, Err(TransportError::Connect { .. })), "{failed:?}");
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err());
    assert_eq!(resolver.0.lock().unwrap().len(), 1, "exactly one look-up");
}

#[tokio::test]
async fn private_addresses_among_public_ones_are_left_out() {
    let transport = transport(FakeResolver::new(&[&["127.0.0.1", "8.8.8.8", "10.0.0.1"]]), false);
    let host = Host::Domain("hooks.example.com");
    assert_eq!(transport.addresses(&host).await.unwrap(), ["8.8.8.8".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (answer, _) = answered("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn a_long_answer_is_cut_and_a_broken_one_keeps_its_status() {
    let long: &'static str =
        Box::leak(format!("HTTP/1.1 500 Oops\r\ncontent-length: 200000\r\n\r\n{}", "x".repeat(200_000)).into_boxed_str());
    let (answer, _) = answered(long).await;
    assert_eq!((answer.status, answer.excerpt.len()), (500, 4_096));
    let (answer, _) = answered("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").await;
    assert_eq!((answer.status, answer.excerpt.as_str()), (200, "half"));
}

#[tokio::test]
async fn what_is_no_http_and_what_does_not_answer_is_told_apart() {
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move { serve_once(listener.accept().await.unwrap().0, "SSH-2.0-x\r\n").await });
    let url = format!("http://127.0.0.1:{port}/");
    assert!(matches!(transport(SystemResolver, true).post(request(&url)).await, Err(TransportError::Protocol { .. })));
    server.await.unwrap();
    // The listener is gone.
    assert!(matches!(transport(SystemResolver, true).post(request(&url)).await, Err(TransportError::Connect { .. })));
    let (listener, port) = self::listener().await;
    let short = Outgoing { timeout: Duration::from_millis(150), ..request(&format!("http://127.0.0.1:{port}/")) };
    let silent = transport(SystemResolver, true).post(short).await;
    assert!(matches!(silent, Err(TransportError::Timeout { .. })), "{silent:?}");
    drop(listener);
}

/// A TLS server with a certificate for `hooks.example.com`, and the store that trusts it.
fn tls_server() -> (TlsAcceptor, RootCertStore) {
    let issued = rcgen::generate_simple_self_signed(vec!["hooks.example.com".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

#[tokio::test]
async fn the_certificate_is_checked_against_the_name_while_the_checked_address_is_dialled() {
    let (acceptor, roots) = tls_server();
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        assert_eq!(stream.get_ref().1.server_name(), Some("hooks.example.com"));
        serve_once(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
    });
    let transport = HyperTransport::with(FakeResolver::new(&[&["127.0.0.1"]]), roots, true).unwrap();
    let answer = transport.post(request(&format!("https://hooks.example.com:{port}/"))).await.unwrap();
    assert_eq!((answer.status, answer.excerpt.as_str()), (200, "ok"));
    assert!(server.await.unwrap().contains(&format!("host: hooks.example.com:{port}\r\n")));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_no_secure_connection() {
    let (acceptor, roots) = tls_server();
    let (listener, port) = listener().await;
    let server = tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await.is_err() });
    let transport = HyperTransport::with(FakeResolver::new(&[&["127.0.0.1"]]), roots, true).unwrap();
    let failed = transport.post(request(&format!("https://other.example.com:{port}/"))).await;
    assert!(matches!(failed, Err(TransportError::Tls { .. })), "{failed:?}");
    assert!(server.await.unwrap());
}
