//! The real stages over the in-memory adapters, driven message by message.

use crate::hooked::{Flaky, Hooked};
use anyhow::{Context, Result, ensure};
use domain::{
    AccountId, BatchId, CallKind, Day, Event, Home, Identity, IdentityId, JsonObject, NamedAccount, NamedBy, Timestamp, WorkspaceId,
};
use pipeline::{
    AccountChanged, AccountScored, AccountTouched, Clock, Consistency, EventsReceived, ManualClock, Outcome, Parcel, Received, Stage,
    homes::HomeStore,
    messages,
    records::{ScoreRecord, Standing},
};
use std::sync::Arc;

/// The clock shows this at the beginning of a test: noon, so that a test does not run over midnight by accident.
pub const START: &str = "2026-03-18T12:00:00Z";

/// Where jobs send.
pub type Outlets = rescore::jobs::Outlets<Arc<Flaky>, Arc<Flaky>>;

/// A pipeline.
pub struct World {
    /// The store.
    pub store: Arc<Hooked>,
    /// The clock of all stages.
    pub clock: Arc<ManualClock>,
    /// The workspace of the test.
    pub workspace: WorkspaceId,
    /// What resolve reads.
    pub to_resolve: Arc<Flaky>,
    /// What score reads.
    pub to_score: Arc<Flaky>,
    /// What level reads.
    pub to_level: Arc<Flaky>,
    /// What dispatch reads.
    pub to_dispatch: Arc<Flaky>,
    /// The stage.
    pub resolver: resolve::Resolver<Arc<Hooked>, Arc<Flaky>, Arc<ManualClock>>,
    /// The stage.
    pub scorer: score::Scorer<Arc<Hooked>, Arc<Flaky>, Arc<ManualClock>>,
    /// The stage.
    pub leveler: level::Leveler<Arc<Hooked>, Arc<Flaky>, Arc<ManualClock>, Arc<pipeline::clock::CountingEntropy>>,
    /// The scheduled finder of due work.
    pub rescorer: rescore::Rescorer<Arc<Hooked>, Arc<Flaky>, Arc<Flaky>, Arc<ManualClock>>,
    /// The worker of jobs.
    pub jobs: rescore::jobs::JobRunner<Arc<Hooked>, Outlets, Arc<ManualClock>>,
    batches: std::sync::atomic::AtomicU64,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a stage over bodies and puts back what it wants to see again.
async fn drive<S: Stage>(stage: &S, queue: &Arc<Flaky>, bodies: Vec<String>) -> Result<()> {
    let batch = bodies.iter().map(|body| Ok(Received::first(messages::decode::<S::Input>(body)?))).collect::<Result<Vec<_>>>()?;
    for (outcome, body) in stage.handle(batch).await.into_iter().zip(bodies) {
        match outcome {
            Outcome::Done => {}
            Outcome::Failed(e) => anyhow::bail!("{} failed: {e}: {} on {body}", S::NAME, e.source_text()),
            Outcome::Split { retry, reject } => {
                ensure!(reject.is_empty(), "{} rejected a part of {body}", S::NAME);
                pipeline::Queue::send(queue.as_ref(), retry).await?;
            }
        }
    }
    Ok(())
}

impl World {
    /// A pipeline with nothing in it.
    pub fn new() -> Self {
        let store = Arc::new(Hooked::default());
        let clock = Arc::new(ManualClock::at(Timestamp::parse(START).unwrap_or_default()));
        let queue = || Arc::new(Flaky::default());
        let (to_resolve, to_score, to_level, to_dispatch) = (queue(), queue(), queue(), queue());
        let entropy = Arc::new(pipeline::clock::CountingEntropy::default());
        Self {
            resolver: resolve::Resolver::new(Arc::clone(&store), Arc::clone(&to_score), Arc::clone(&clock)),
            scorer: score::Scorer::new(Arc::clone(&store), Arc::clone(&to_level), Arc::clone(&clock)),
            leveler: level::Leveler::new(Arc::clone(&store), Arc::clone(&to_dispatch), Arc::clone(&clock), entropy),
            rescorer: rescore::Rescorer::new(Arc::clone(&store), Arc::clone(&to_score), Arc::clone(&to_dispatch), Arc::clone(&clock)),
            jobs: rescore::jobs::JobRunner::new(
                Arc::clone(&store),
                rescore::jobs::Outlets { score: Arc::clone(&to_score), resolve: Arc::clone(&to_resolve) },
                Arc::clone(&clock),
            ),
            workspace: WorkspaceId::try_from("main".to_owned()).unwrap_or_else(|_| unreachable!("a fixed id")),
            batches: std::sync::atomic::AtomicU64::new(1),
            store,
            clock,
            to_resolve,
            to_score,
            to_level,
            to_dispatch,
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A batch id of now.
    pub fn batch_id(&self) -> BatchId {
        BatchId::new(self.now(), u128::from(self.batches.fetch_add(1, std::sync::atomic::Ordering::SeqCst)))
    }

    /// A message with these events, grouped into parcels.
    pub fn message(&self, events: Vec<Event>) -> EventsReceived {
        self.message_as(self.batch_id(), events)
    }

    /// A message with this batch id.
    pub fn message_as(&self, batch: BatchId, events: Vec<Event>) -> EventsReceived {
        let mut parcels: Vec<(Identity, Vec<Event>)> = Vec::new();
        for event in events {
            let Some(identity) = event.identity() else { continue };
            match parcels.iter_mut().find(|(known, _)| *known == identity) {
                Some((_, events)) => events.push(event),
                None => parcels.push((identity, vec![event])),
            }
        }
        let parcels = parcels.into_iter().map(|(identity, events)| Parcel { identity, events: events.into() }).collect();
        EventsReceived { workspace: self.workspace.clone(), batch, received_at: self.now(), parcels, rejected: Vec::new() }
    }

    /// Sends events as one message.
    pub async fn send(&self, events: Vec<Event>) -> Result<()> {
        Ok(pipeline::Queue::send(self.to_resolve.as_ref(), vec![self.message(events)]).await?)
    }

    /// Runs resolve, score and level until nothing waits for them.
    pub async fn settle(&self) -> Result<()> {
        for _ in 0..1_000 {
            let (a, b, c) = (self.to_resolve.memory.take_bodies(), self.to_score.memory.take_bodies(), self.to_level.memory.take_bodies());
            if a.is_empty() && b.is_empty() && c.is_empty() {
                return Ok(());
            }
            drive(&self.resolver, &self.to_resolve, a).await?;
            drive(&self.scorer, &self.to_score, b).await?;
            drive(&self.leveler, &self.to_level, c).await?;
        }
        anyhow::bail!("the pipeline does not come to rest")
    }

    /// A second worker of jobs on another host.
    pub fn another_job_runner(&self) -> rescore::jobs::JobRunner<Arc<Hooked>, Outlets, Arc<ManualClock>> {
        let outlets = rescore::jobs::Outlets { score: Arc::clone(&self.to_score), resolve: Arc::clone(&self.to_resolve) };
        rescore::jobs::JobRunner::new(Arc::clone(&self.store), outlets, Arc::clone(&self.clock))
    }

    /// The rulesets of the world's store.
    pub fn rulesets(&self) -> pipeline::rulesets::Rulesets<Arc<Hooked>, Arc<ManualClock>> {
        pipeline::rulesets::Rulesets::new(Arc::clone(&self.store), Arc::clone(&self.clock))
    }

    /// The jobs of the world's store.
    pub fn job_list(&self) -> pipeline::jobs::Jobs<Arc<Hooked>, Arc<ManualClock>> {
        pipeline::jobs::Jobs::new(Arc::clone(&self.store), Arc::clone(&self.clock))
    }

    /// Runs all jobs to their end, and the pipeline to rest in between. The clock goes on to whenever the next chunk is due.
    pub async fn run_jobs(&self) -> Result<()> {
        for _ in 0..10_000 {
            let worked = self.jobs.round().await?;
            self.settle().await?;
            if worked == 0 {
                let Some(next) = self.job_list().next_due().await? else { return Ok(()) };
                // What is to be done on another day is not waited for.
                if next.millis_since(self.now()) > domain::DAY_MS / 2 {
                    return Ok(());
                }
                self.clock.set(next.max(self.now()));
            }
        }
        anyhow::bail!("the jobs do not come to an end")
    }

    /// Runs one stage over one message as it came for the first time.
    pub async fn run<S: Stage>(&self, stage: &S, message: S::Input) -> Result<()> {
        drive(stage, &Arc::new(Flaky::default()), vec![messages::encode(&message)?]).await
    }

    /// Runs one stage over one message; answers whether it was done.
    pub async fn attempt<S: Stage>(&self, stage: &S, message: S::Input, receive_count: u32) -> bool {
        let received = Received { message_id: String::new(), receive_count, message };
        matches!(stage.handle(vec![received]).await.as_slice(), [Outcome::Done])
    }

    /// A second worker of the stage on another host.
    pub fn another_resolver(&self) -> resolve::Resolver<Arc<Hooked>, Arc<Flaky>, Arc<ManualClock>> {
        resolve::Resolver::new(Arc::clone(&self.store), Arc::clone(&self.to_score), Arc::clone(&self.clock))
    }

    /// A second worker of the stage on another host.
    pub fn another_scorer(&self) -> score::Scorer<Arc<Hooked>, Arc<Flaky>, Arc<ManualClock>> {
        score::Scorer::new(Arc::clone(&self.store), Arc::clone(&self.to_level), Arc::clone(&self.clock))
    }

    /// Sends events and runs the pipeline to rest.
    pub async fn take(&self, events: Vec<Event>) -> Result<()> {
        self.send(events).await?;
        self.settle().await
    }

    /// Typed access to the store.
    pub fn homes(&self) -> HomeStore<Arc<Hooked>> {
        HomeStore::new(Arc::clone(&self.store))
    }

    /// An account's score record.
    pub async fn score_of(&self, account: &str) -> Result<ScoreRecord> {
        self.score_at(&home(account)?).await
    }

    /// A home's score record.
    pub async fn score_at(&self, home: &Home) -> Result<ScoreRecord> {
        let record = self.homes().score(&self.workspace, home, Consistency::Strong).await?;
        Ok(record.with_context(|| format!("no score for {home}"))?.record)
    }

    /// An account's standing.
    pub async fn standing_of(&self, account: &str) -> Result<Standing> {
        self.standing_at(&home(account)?).await
    }

    /// A home's standing.
    pub async fn standing_at(&self, home: &Home) -> Result<Standing> {
        let record = self.homes().standing(&self.workspace, home, Consistency::Strong).await?;
        Ok(record.with_context(|| format!("no standing for {home}"))?.record)
    }

    /// Where an identity's state lives.
    pub async fn home_of(&self, identity: &Identity) -> Result<Home> {
        let mapping = self.homes().mapping(&self.workspace, &identity.id(), Consistency::Strong).await?;
        Ok(mapping.with_context(|| format!("no mapping of {identity:?}"))?.record.home)
    }

    /// What dispatch was told, and forgets it.
    pub fn changes(&self) -> Vec<AccountChanged> {
        self.to_dispatch.memory.take()
    }

    /// Hints for score that wait.
    pub fn touched(&self) -> Vec<AccountTouched> {
        self.to_score.memory.take()
    }

    /// Hints for level that wait.
    pub fn scored(&self) -> Vec<AccountScored> {
        self.to_level.memory.take()
    }
}

/// An account's home.
pub fn home(account: &str) -> Result<Home> {
    Ok(Home::Account(AccountId::new(account)?))
}

/// The home of an unresolved lead that nobody's e-mail address is known of.
pub fn lead_home(identity: &Identity) -> Home {
    Home::Lead(identity.id())
}

/// An identity's key.
pub fn id(identity: &Identity) -> IdentityId {
    identity.id()
}

/// Builds events in a sentence.
#[derive(Debug, Clone)]
pub struct Told(Event);

/// An event of this kind that happened at a moment.
pub fn event(kind: CallKind, message_id: &str, at: Timestamp) -> Told {
    Told(Event {
        message_id: domain::MessageId::new(message_id).unwrap_or_else(|_| unreachable!("a fixed id")),
        kind,
        name: None,
        user_id: None,
        anonymous_id: None,
        previous_id: None,
        account: None,
        timestamp: at,
        received_at: at,
        clamped: false,
        skew_ms: Some(0),
        ip: None,
        user_agent: None,
        properties: None,
        traits: None,
        context: None,
    })
}

fn object(value: &serde_json::Value) -> Option<JsonObject> {
    value.as_object().and_then(JsonObject::from_map)
}

impl Told {
    /// By a user.
    #[must_use]
    pub fn user(mut self, id: &str) -> Self {
        self.0.user_id = Some(id.to_owned());
        self
    }

    /// By a browser.
    #[must_use]
    pub fn anonymous(mut self, id: &str) -> Self {
        self.0.anonymous_id = Some(id.to_owned());
        self
    }

    /// With a name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.0.name = Some(name.to_owned());
        self
    }

    /// With properties.
    #[must_use]
    pub fn properties(mut self, value: serde_json::Value) -> Self {
        self.0.properties = object(&value);
        self
    }

    /// With traits.
    #[must_use]
    pub fn traits(mut self, value: serde_json::Value) -> Self {
        self.0.traits = object(&value);
        self
    }

    /// With a context.
    #[must_use]
    pub fn context(mut self, value: serde_json::Value) -> Self {
        self.0.context = object(&value);
        self
    }

    /// Naming an account.
    #[must_use]
    pub fn account(mut self, id: &str, by: NamedBy) -> Self {
        self.0.account = AccountId::new(id).ok().map(|id| NamedAccount { id, by });
        self
    }

    /// Received at another moment than it happened.
    #[must_use]
    pub fn received(mut self, at: Timestamp) -> Self {
        self.0.received_at = at;
        self
    }

    /// The event.
    pub fn build(self) -> Event {
        self.0
    }
}

/// A page view of a user in a session.
pub fn page(message_id: &str, user: &str, session: &str, at: Timestamp) -> Told {
    event(CallKind::Page, message_id, at).user(user).context(serde_json::json!({ "sessionId": session }))
}

/// An identify call that states an e-mail address.
pub fn identify(message_id: &str, user: &str, email: &str, at: Timestamp) -> Told {
    event(CallKind::Identify, message_id, at).user(user).traits(serde_json::json!({ "email": email }))
}

/// A track call.
pub fn track(message_id: &str, user: &str, name: &str, at: Timestamp) -> Told {
    event(CallKind::Track, message_id, at).user(user).named(name)
}

/// A group call with traits of the account.
pub fn group(message_id: &str, user: &str, account: &str, traits: serde_json::Value, at: Timestamp) -> Told {
    event(CallKind::Group, message_id, at).user(user).account(account, NamedBy::GroupId).traits(traits)
}

/// The UTC day of the beginning.
pub fn start_day() -> Day {
    Timestamp::parse(START).unwrap_or_default().day()
}
