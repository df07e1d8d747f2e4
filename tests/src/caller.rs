//! Asks the API of a world, as a program with a token would.

use crate::world::World;
use bytes::Bytes;
use domain::Timestamp;
use http::Request;
use pipeline::{Credential, CredentialKind, Credentials, secrets::FileKeySecrets};
use serde_json::{Value, json};
use std::{pin::Pin, sync::Arc};

type Answering = dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = http::Response<Bytes>>>>;

const TOKEN: &str = "at_test";

/// The API of a world.
pub struct Caller(Box<Answering>);

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; null when there is none.
    pub body: Value,
}

impl Answer {
    /// The body of an answer that grants what was asked.
    ///
    /// # Panics
    /// It is a refusal.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }
}

impl Caller {
    /// Over the world's store, clock and queues, with a token of its workspace.
    pub async fn new(world: &World) -> anyhow::Result<Self> {
        let credential = Credential {
            workspace: world.workspace.clone(),
            kind: CredentialKind::ApiToken,
            name: "test".into(),
            created_at: Timestamp::default(),
            revoked_at: None,
        };
        Credentials::new(Arc::clone(&world.store), Arc::clone(&world.clock)).put(TOKEN, &credential).await?;
        let ports = (Arc::clone(&world.store), FileKeySecrets::new(&[7; 32]), Arc::clone(&world.clock), Arc::clone(&world.to_score));
        let api = api::Api::new(ports.0, ports.1, ports.2, ports.3).allow_private_destinations(true);
        let routes = api::router(api);
        Ok(Self(Box::new(move |request| Box::pin(api::answer(routes.clone(), request)))))
    }

    /// Sends a request and reads the answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder().method(method).uri(format!("/api/v1{path}")).header("authorization", format!("Bearer {TOKEN}"));
        let answered = (self.0)(request.body(body)?).await;
        let (parts, body) = answered.into_parts();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Answer { status: parts.status.as_u16(), body })
    }

    /// Reads what is at an address.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask("GET", path, None).await
    }

    /// Puts something at an address.
    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.ask("PUT", path, Some(body)).await
    }

    /// Posts something to an address.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.ask("POST", path, Some(body)).await
    }

    /// Changes what is at an address.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.ask("PATCH", path, Some(body)).await
    }

    /// Publishes the draft of a ruleset, given its path, and waits for nobody.
    ///
    /// # Panics
    /// There is no draft, or it is refused.
    pub async fn publish(&self, path: &str, notify: bool) -> anyhow::Result<Value> {
        let revision = self.get(path).await?.ok()["draft"]["revision"].clone();
        let body = json!({ "revision": revision, "why": "a test", "notify": notify });
        Ok(self.post(&format!("{path}/publish"), body).await?.ok())
    }
}
