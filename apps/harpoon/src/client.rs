//! A client of a running Harpoon, for the subcommands that talk to one.

use crate::{serve::Place, setup};
use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// A running Harpoon.
#[derive(Clone)]
pub struct Server {
    base_url: String,
    data_dir: PathBuf,
    write_key: Option<String>,
    api_token: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// An answer of the server.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// After how many seconds to come again, when it says so.
    pub retry_after: Option<u64>,
    /// Its body.
    pub body: Bytes,
}

/// The part of a problem document (RFC 9457) that people read.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
}

impl Server {
    /// The server that runs with these settings; keys that are not given are those that its data directory keeps.
    ///
    /// # Errors
    /// The key file can't be read.
    pub fn at(place: &Place) -> anyhow::Result<Self> {
        let kept = setup::kept_keys(&place.data_dir)?;
        let (write_key, api_token) = kept.unzip();
        Ok(Self {
            base_url: base_url(place.bind, place.port),
            data_dir: place.data_dir.clone(),
            write_key: place.write_key.clone().or(write_key),
            api_token: place.api_token.clone().or(api_token),
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    /// Its address, such as `http://127.0.0.1:8787`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where its data is supposed to be.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Makes sure that it runs.
    ///
    /// # Errors
    /// It does not, and how it is started; or something else is listening there.
    pub async fn check(&self) -> anyhow::Result<()> {
        let answer = self.call(Method::GET, "/healthz", HeaderMap::new(), Bytes::new()).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE => bail!("the server at {} is not well: {}", self.base_url, answer.detail()),
            status => bail!("what answers at {} is no Harpoon (`/healthz` says {status}); is HARPOON_PORT right?", self.base_url),
        }
    }

    /// Posts JSON to the tracking API.
    ///
    /// # Errors
    /// There is no write key, or no answer.
    pub async fn track(&self, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        let key = self.write_key.as_deref().with_context(|| self.no_key("write key", "HARPOON_WRITE_KEY"))?;
        let basic = format!("Basic {}", STANDARD.encode(format!("{key}:")));
        self.call(Method::POST, path, authorized(&basic)?, body).await
    }

    /// Reads from the API: the answer, whatever its status.
    ///
    /// # Errors
    /// There is no API token, or no answer.
    pub async fn answer(&self, path: &str) -> anyhow::Result<Answer> {
        let token = self.api_token.as_deref().with_context(|| self.no_key("API token", "HARPOON_API_TOKEN"))?;
        self.call(Method::GET, path, authorized(&format!("Bearer {token}"))?, Bytes::new()).await
    }

    /// Reads from the API.
    ///
    /// # Errors
    /// There is no API token or no answer, or it is an error or not of this form.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.answer(path).await?;
        self.accepted(&answer, path)?;
        serde_json::from_slice(&answer.body)
            .with_context(|| format!("the answer of {path} can't be understood; are server and command of one version?"))
    }

    /// Makes sure that an answer is no error.
    ///
    /// # Errors
    /// It is one.
    pub fn accepted(&self, answer: &Answer, path: &str) -> anyhow::Result<()> {
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED => bail!(
                "the server at {} does not know this key: it may run on another data directory than `{}`, or with keys of its own. \
                 Give the same HARPOON_DATA_DIR, HARPOON_WRITE_KEY and HARPOON_API_TOKEN to both",
                self.base_url,
                self.data_dir.display()
            ),
            status => bail!("{path} answered {status}: {}", answer.detail()),
        }
    }

    fn no_key(&self, what: &str, variable: &str) -> String {
        format!(
            "there is no {what}: `{}` keeps none. Run this where the server runs, or give HARPOON_DATA_DIR or {variable} as the server has it",
            self.data_dir.display()
        )
    }

    async fn call(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> anyhow::Result<Answer> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.base_url).parse().with_context(|| format!("`{path}` is no address"))?;
        *request.headers_mut() = headers;
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| self.unreachable(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer of {path} broke off: {error}"))?.to_bytes();
            let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Answer { status: parts.status, retry_after, body })
        };
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => bail!("the server at {} took longer than {} seconds to answer {path}", self.base_url, PATIENCE.as_secs()),
        }
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> anyhow::Error {
        if error.is_connect() {
            return anyhow::anyhow!(
                "no Harpoon is running at {}. Start one in another terminal with `make run` (or `harpoon serve`); \
                 if it runs on another port, say so with HARPOON_PORT",
                self.base_url
            );
        }
        anyhow::anyhow!("the connection to {} broke off: {error}", self.base_url)
    }
}

impl Answer {
    /// What it says is wrong, as one line.
    pub fn detail(&self) -> String {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_default();
        if problem.detail.is_empty() { "it gave no reason".to_owned() } else { crate::text::plain(&problem.detail, 300) }
    }
}

/// The address by which a server that listens here is reached from this machine.
fn base_url(bind: IpAddr, port: u16) -> String {
    let ip = match bind {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, port))
}

fn authorized(value: &str) -> anyhow::Result<HeaderMap> {
    let mut value = http::HeaderValue::from_str(value).context("the key holds characters that no header can carry")?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value);
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(headers)
}

/// A part of a path: everything but letters, digits and `-._~` is escaped.
pub fn path_part(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// A page of accounts, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub struct Accounts {
    /// The accounts of the page.
    pub data: Vec<Account>,
    /// Where the next page begins.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An account as lists show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Its id.
    pub account_id: String,
    /// Its web domain.
    pub domain: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Fit.
    pub account_score: i64,
    /// The level by fit.
    pub account_level: Option<String>,
    /// Behaviour.
    pub engagement_score: i64,
    /// The level by behaviour.
    pub engagement_level: Option<String>,
    /// How many people.
    pub total_leads: u64,
    /// Whether it surges.
    pub surge_active: bool,
    /// When something happened last.
    pub last_activity_at: Option<String>,
}

impl Server {
    /// Every account, page by page, until there are at least so many.
    ///
    /// # Errors
    /// As [`Server::read`].
    pub async fn accounts(&self, most: usize) -> anyhow::Result<Vec<Account>> {
        let mut accounts = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let path = match &cursor {
                None => "/api/v1/accounts?sort=name&limit=200".to_owned(),
                Some(cursor) => format!("/api/v1/accounts?sort=name&limit=200&cursor={}", path_part(cursor)),
            };
            let page: Accounts = self.read(&path).await?;
            accounts.extend(page.data);
            cursor = page.next_cursor.filter(|_| accounts.len() < most);
            if cursor.is_none() {
                return Ok(accounts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_the_loopback_one() {
        assert_eq!(base_url("0.0.0.0".parse().unwrap(), 8787), "http://127.0.0.1:8787");
        assert_eq!(base_url("::".parse().unwrap(), 1), "http://[::1]:1");
        assert_eq!(base_url("192.0.2.7".parse().unwrap(), 80), "http://192.0.2.7:80");
    }

    #[test]
    fn nothing_in_a_name_leads_to_another_path() {
        assert_eq!(path_part("a/../b?c#d%e f.é"), "a%2F..%2Fb%3Fc%23d%25e%20f.%C3%A9");
    }
}
