//! A whole pipeline in memory: tracking calls go in through ingest, run through the real stages, and are asked for over the API.

use crate::{Api, answer, router};
use axum::Router;
use bytes::Bytes;
use domain::{Home, Timestamp, WorkspaceId};
use http::{Method, Request, Response, StatusCode, header};
use ingest::Ingester;
use level::Leveler;
use pipeline::{
    AccountScored, AccountTouched, Clock, Credential, CredentialKind, Credentials, EventsReceived, ManualClock, Outcome, Queue, Received,
    Stage,
    clock::CountingEntropy,
    jobs::Jobs,
    memory::{MemoryQueue, MemoryStore},
    secrets::FileKeySecrets,
};
use rescore::jobs::{JobRunner, Outlets};
use resolve::Resolver;
use score::Scorer;
use serde_json::{Value, json};
use std::sync::Arc;

/// The moment at which every test begins: a Friday noon.
pub const NOW: &str = "2026-11-20T12:00:00.000Z";
/// Opens the workspace `main`.
pub const TOKEN: &str = "at_main";
/// Opens the workspace `other`.
pub const OTHER: &str = "at_other";

pub struct Given {
    pub store: Arc<MemoryStore>,
    pub clock: Arc<ManualClock>,
    pub touched: Arc<MemoryQueue>,
    received: Arc<MemoryQueue>,
    scored: Arc<MemoryQueue>,
    entropy: Arc<CountingEntropy>,
    routes: Router,
}

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answered {
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }

    /// The pointers or parameters of a problem.
    #[track_caller]
    pub fn places(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {} {}", self.status, self.body));
        errors.iter().map(|error| error["pointer"].as_str().or(error["parameter"].as_str()).unwrap()).collect()
    }
}

pub async fn given() -> Given {
    let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::at(Timestamp::parse(NOW).unwrap())));
    let credentials = Credentials::new(Arc::clone(&store), Arc::clone(&clock));
    for (workspace, secret, kind) in [
        ("main", "wk_main", CredentialKind::WriteKey),
        ("other", "wk_other", CredentialKind::WriteKey),
        ("main", TOKEN, CredentialKind::ApiToken),
        ("other", OTHER, CredentialKind::ApiToken),
    ] {
        let workspace = WorkspaceId::new(workspace).unwrap();
        let credential = Credential { workspace, kind, name: "test".into(), created_at: Timestamp::default(), revoked_at: None };
        credentials.put(secret, &credential).await.unwrap();
    }
    let touched = Arc::new(MemoryQueue::default());
    let api = Api::new(Arc::clone(&store), FileKeySecrets::new(&[7; 32]), Arc::clone(&clock), Arc::clone(&touched));
    Given {
        routes: router(api.allow_private_destinations(true)),
        store,
        clock,
        touched,
        received: Arc::default(),
        scored: Arc::default(),
        entropy: Arc::default(),
    }
}

pub fn main() -> WorkspaceId {
    WorkspaceId::new("main").unwrap()
}

impl Given {
    /// Sends tracking calls of a workspace and runs them through the pipeline.
    pub async fn track(&self, workspace: &str, calls: Vec<Value>) {
        self.ingest(workspace, calls).await;
        self.run().await;
    }

    async fn ingest(&self, workspace: &str, calls: Vec<Value>) {
        let ingester =
            Ingester::new(Arc::clone(&self.store), Arc::clone(&self.received), Arc::clone(&self.clock), Arc::clone(&self.entropy));
        for calls in calls.chunks(50) {
            let body = json!({ "writeKey": format!("wk_{workspace}"), "batch": calls });
            let request = Request::post("/v1/batch").body(Bytes::from(body.to_string())).unwrap();
            let answered = ingester.handle(request, None).await;
            assert_eq!(answered.status(), 200, "{:?}", answered.body());
            assert!(!String::from_utf8_lossy(answered.body()).contains("rejected\":[{"), "{:?}", answered.body());
        }
    }

    /// Runs every stage until nothing is left to do.
    pub async fn run(&self) {
        let resolver = Resolver::new(Arc::clone(&self.store), Arc::clone(&self.touched), Arc::clone(&self.clock));
        done(resolver.handle(self.received.take::<EventsReceived>().into_iter().map(Received::first).collect()).await);
        let scorer = Scorer::new(Arc::clone(&self.store), Arc::clone(&self.scored), Arc::clone(&self.clock));
        done(scorer.handle(self.touched.take::<AccountTouched>().into_iter().map(Received::first).collect()).await);
        let leveler =
            Leveler::new(Arc::clone(&self.store), Arc::new(MemoryQueue::default()), Arc::clone(&self.clock), Arc::clone(&self.entropy));
        done(leveler.handle(self.scored.take::<AccountScored>().into_iter().map(Received::first).collect()).await);
        // Lists are at most half a second old.
        self.clock.advance(1_000);
    }

    /// Runs every job to its end, and every stage in between. The clock goes on to when a job looks again.
    pub async fn run_jobs(&self) {
        let jobs = Jobs::new(Arc::clone(&self.store), Arc::clone(&self.clock));
        self.run_some_jobs(1_000).await;
        // What is to be done on another day is not waited for.
        let soon = self.clock.now().plus_millis(domain::DAY_MS / 2);
        if jobs.next_due().await.unwrap().is_some_and(|next| next <= soon) {
            panic!("the jobs never end: {:?}", jobs.list(&main(), None, 20).await.unwrap());
        }
    }

    /// Works so many rounds of chunks of all jobs, unless they end before, and every stage in between.
    pub async fn run_some_jobs(&self, rounds: usize) {
        let outlets = Outlets { score: Arc::clone(&self.touched), resolve: Arc::clone(&self.received) };
        let runner = JobRunner::new(Arc::clone(&self.store), outlets, Arc::clone(&self.clock));
        let jobs = Jobs::new(Arc::clone(&self.store), Arc::clone(&self.clock));
        for _ in 0..rounds {
            let Some(next) = jobs.next_due().await.unwrap() else { return };
            let ahead = next.millis_since(self.clock.now());
            // What is to be done on another day is not waited for.
            if ahead > domain::DAY_MS / 2 {
                return;
            }
            if ahead > 0 {
                self.clock.advance(ahead);
            }
            runner.round().await.unwrap();
            self.run().await;
        }
    }

    /// States fields of an account, as a person.
    pub async fn set(&self, account: &str, fields: Value) -> Value {
        let path = format!("/api/v1/accounts/{account}");
        let set = self.put(&path, json!({ "fields": fields })).await.ok();
        self.run().await;
        set
    }

    /// The account score and level as they stand, after every stage has run.
    pub async fn stands(&self, account: &str) -> (i64, String) {
        let account = self.get(&format!("/api/v1/accounts/{account}")).await.ok();
        (account["account_score"].as_i64().unwrap(), account["account_level"].as_str().unwrap_or_default().to_owned())
    }

    /// Makes a ruleset and answers its address.
    pub async fn make(&self, kind: &str, body: Value) -> String {
        let made = self.post(&format!("/api/v1/{kind}"), body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.headers[header::LOCATION].to_str().unwrap().to_owned()
    }

    /// Publishes the draft and waits until every account follows it.
    pub async fn publish(&self, path: &str) -> Value {
        let revision = self.get(path).await.ok()["draft"]["revision"].clone();
        let published = self.post(&format!("{path}/publish"), json!({ "revision": revision, "why": "a test" })).await.ok();
        self.run_jobs().await;
        published
    }

    /// Makes a ruleset the primary one of its kind and waits until every account follows it.
    pub async fn make_primary(&self, path: &str) {
        self.patch(path, json!({ "primary": true })).await.ok();
        self.run_jobs().await;
        assert_eq!(self.get(path).await.ok()["primary"], true);
    }

    /// Makes, publishes and makes primary; answers the address.
    pub async fn install(&self, kind: &str, body: Value) -> String {
        let path = self.make(kind, body).await;
        self.publish(&path).await;
        self.make_primary(&path).await;
        path
    }

    /// What was touched since the last run or question. It stays to be scored.
    pub async fn touched(&self) -> Vec<String> {
        let messages = self.touched.take::<AccountTouched>();
        let mut homes: Vec<String> = messages.iter().flat_map(|message| &message.homes).map(Home::to_string).collect();
        homes.sort();
        homes.dedup();
        Queue::<AccountTouched>::send(&*self.touched, messages).await.unwrap();
        homes
    }

    /// Loses every hint.
    pub fn lose_hints(&self) {
        self.touched.take_bodies();
    }

    pub async fn send(&self, request: Request<Bytes>) -> Answered {
        let response: Response<Bytes> = answer(self.routes.clone(), request).await;
        let (parts, body) = response.into_parts();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            assert_eq!(parts.headers.get(header::CONTENT_TYPE).unwrap(), "application/problem+json");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((problem["status"].as_u64(), problem["type"].as_str()), (Some(parts.status.as_u16().into()), Some("about:blank")));
            assert!(problem["title"].is_string() && problem["detail"].is_string());
        }
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answered { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answered {
        let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.send(request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.call(TOKEN, Method::GET, path, None).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answered {
        self.call(TOKEN, Method::PATCH, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answered {
        self.call(TOKEN, Method::PUT, path, Some(body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answered {
        self.call(TOKEN, Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answered {
        self.call(TOKEN, Method::DELETE, path, None).await
    }

    /// Follows a list to its end and gives one field of every item.
    pub async fn all(&self, path: &str, field: &str) -> Vec<String> {
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let address = cursor.as_ref().map_or(path.to_owned(), |cursor| format!("{path}{joint}cursor={cursor}"));
            let page = self.get(&address).await.ok();
            seen.extend(page["data"].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return seen,
            }
        }
    }
}

#[track_caller]
fn done<M: std::fmt::Debug>(outcomes: Vec<Outcome<M>>) {
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    }
}

/// A call that says who somebody is.
pub fn identify(user: &str, email: &str) -> Value {
    json!({ "type": "identify", "userId": user, "messageId": format!("identify-{user}"), "traits": { "email": email, "name": format!("Person {user}") } })
}

/// Something that somebody did so many minutes before the test began.
pub fn track(user: &str, event: &str, minutes_ago: i64, id: &str) -> Value {
    let at = Timestamp::parse(NOW).unwrap().plus_millis(-minutes_ago * 60_000);
    json!({ "type": "track", "userId": user, "event": event, "messageId": id, "timestamp": at.to_string(), "properties": { "id": id } })
}

/// What is known of an account.
pub fn group(user: &str, account: &str, traits: Value) -> Value {
    json!({ "type": "group", "userId": user, "groupId": account, "messageId": format!("group-{user}-{account}"), "traits": traits })
}

/// The seeds' Enterprise B2B SaaS account.
pub fn enterprise() -> Value {
    json!({ "name": "Northwind Looms", "employees": 1500, "annual_revenue": 60_000_000, "country": "United States", "industry": "Technology" })
}
