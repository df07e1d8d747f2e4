//! Does on one machine what event source mappings and schedules do in the cloud: gives each stage the payloads that Lambda
//! would give it, and its queue the answers.

use crate::local_queue::{Delivered, LocalQueues, Receipt};
use aws::{SqsBatchResponse, handle_sqs, sqs_event};
use futures::FutureExt;
use pipeline::Stage;
use std::{collections::HashSet, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// How a stage is fed from its queue. The numbers are those of the deployment's template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSource {
    /// The queue, named after the stage that reads it.
    pub stage: &'static str,
    /// The most messages one invocation is given.
    pub batch_size: usize,
    /// How long an invocation waits for its batch to fill.
    pub window: Duration,
    /// How many invocations run at a time.
    pub concurrency: usize,
    /// When an invocation is given up.
    pub timeout: Duration,
    /// How often a message is received before it goes to the dead queue.
    pub max_receives: u32,
}

/// Resolve: packed messages of up to 64 KB, so fifty of them stay well below the 6 MB of an invocation.
pub const RESOLVE: EventSource = EventSource {
    stage: "resolve",
    batch_size: 50,
    window: Duration::from_secs(2),
    concurrency: 20,
    timeout: Duration::from_secs(60),
    max_receives: 5,
};

/// Score: a wide window, so that an account that is touched often is scored once.
pub const SCORE: EventSource = EventSource {
    stage: "score",
    batch_size: 100,
    window: Duration::from_secs(5),
    concurrency: 20,
    timeout: Duration::from_secs(60),
    max_receives: 5,
};

/// Level: hints, like those of score.
pub const LEVEL: EventSource = EventSource {
    stage: "level",
    batch_size: 100,
    window: Duration::from_secs(1),
    concurrency: 20,
    timeout: Duration::from_secs(30),
    max_receives: 5,
};

/// Dispatch: calls of other people's servers take their time, so batches are small and start at once.
pub const DISPATCH: EventSource = EventSource {
    stage: "dispatch",
    batch_size: 10,
    window: Duration::ZERO,
    concurrency: 10,
    timeout: Duration::from_secs(60),
    max_receives: 5,
};

/// Every event source, in pipeline order.
pub const EVENT_SOURCES: [EventSource; 4] = [RESOLVE, SCORE, LEVEL, DISPATCH];

/// How often rescore looks for what is due, in the cloud.
pub const RESCORE_EVERY: Duration = Duration::from_secs(60);
/// How often it looks on one machine, where a person is watching.
pub const RESCORE_EVERY_LOCALLY: Duration = Duration::from_secs(2);

/// The longest window on one machine: batches still fill under load, and a single event is shown at once.
const LOCAL_WINDOW: Duration = Duration::from_millis(25);
/// The most invocations of one stage at a time on one machine.
const LOCAL_CONCURRENCY: usize = 4;
/// After this the queue is looked at although nobody announced anything, should the clock have been set.
const IDLE: Duration = Duration::from_secs(30);
/// How long running invocations may go on once everything stops.
const GRACE: Duration = Duration::from_secs(10);

impl EventSource {
    /// How long a received message stays hidden: six times the timeout, so that a throttled invocation does not double it.
    pub const fn visibility(&self) -> Duration {
        Duration::from_millis(self.timeout.as_millis() as u64 * 6)
    }

    /// As it is on one machine.
    #[must_use]
    pub fn locally(mut self) -> Self {
        self.window = self.window.min(LOCAL_WINDOW);
        self.concurrency = self.concurrency.min(LOCAL_CONCURRENCY);
        self
    }

    /// How long a message that failed for the `attempt`th time waits: 1, 4, 16, 64 seconds, at most the visibility timeout.
    fn back_off(&self, attempt: u32) -> Duration {
        let factor = 4_u32.saturating_pow(attempt.saturating_sub(1));
        Duration::from_secs(1).saturating_mul(factor).min(self.visibility())
    }
}

/// Tells every loop to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// Makes a [`Stop`]. It is given when the sender sends `true` or is dropped.
pub fn stop() -> (watch::Sender<bool>, Stop) {
    let (stop, told) = watch::channel(false);
    (stop, Stop(told))
}

impl Stop {
    /// Whether it was given.
    pub fn given(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Resolves once it is given.
    pub async fn wait(&mut self) {
        // An error means that the sender is gone, which counts as well.
        let _ = self.0.wait_for(|given| *given).await;
    }
}

/// Feeds a stage from its queue until told to stop; then running invocations have a little time to finish. What they do not
/// finish comes again.
pub async fn run_stage<S: Stage>(stage: Arc<S>, queues: LocalQueues, source: EventSource, mut stop: Stop) {
    let mut running = JoinSet::new();
    let slots = Arc::new(Semaphore::new(source.concurrency.max(1)));
    while let Some((slot, batch)) = next_batch(&queues, source, &slots, &mut stop).await {
        let (stage, queues) = (Arc::clone(&stage), queues.clone());
        running.spawn(async move {
            invoke(&*stage, &queues, source, batch).await;
            drop(slot);
        });
        while running.try_join_next().is_some() {}
    }
    if timeout(GRACE, async { while running.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(stage = source.stage, "invocations were still running when everything stopped; their messages come again");
    }
}

/// The next batch together with the right to work on it; `None` when told to stop.
async fn next_batch(
    queues: &LocalQueues,
    source: EventSource,
    slots: &Arc<Semaphore>,
    stop: &mut Stop,
) -> Option<(OwnedSemaphorePermit, Vec<Delivered>)> {
    let slot = tokio::select! {
        slot = Arc::clone(slots).acquire_owned() => slot.ok()?,
        () = stop.wait() => return None,
    };
    let mut batch: Vec<Delivered> = Vec::new();
    let mut looked_twice = false;
    loop {
        if stop.given() {
            give_back(queues, source, &batch).await;
            return None;
        }
        let wanted = source.batch_size.saturating_sub(batch.len());
        let pause = match queues.receive(source.stage, wanted, source.visibility(), source.max_receives).await {
            Ok(delivery) => {
                batch.extend(delivery.messages);
                let waits = delivery.next_at.map(|at| at.millis_since(queues.now()));
                waits.map_or(IDLE, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(IDLE))
            }
            Err(error) => {
                tracing::error!(stage = source.stage, %error, "the queue can't be read");
                Duration::from_secs(1)
            }
        };
        if batch.is_empty() {
            tokio::select! {
                () = queues.arrived(source.stage) => {}
                () = sleep(pause) => {}
                () = stop.wait() => {}
            }
        } else if looked_twice || batch.len() >= source.batch_size || source.window.is_zero() {
            return Some((slot, batch));
        } else {
            looked_twice = true;
            tokio::select! {
                () = sleep(source.window) => {}
                () = stop.wait() => {}
            }
        }
    }
}

async fn give_back(queues: &LocalQueues, source: EventSource, batch: &[Delivered]) {
    for message in batch {
        if let Err(error) = queues.defer(message.receipt, Duration::ZERO).await {
            tracing::warn!(stage = source.stage, %error, "a message that was not worked on stays hidden for a while");
        }
    }
}

async fn invoke<S: Stage>(stage: &S, queues: &LocalQueues, source: EventSource, batch: Vec<Delivered>) {
    let event = sqs_event(source.stage, batch.iter().map(Delivered::record));
    let own = queues.queue::<S::Input>(source.stage);
    let dead = queues.dead_queue(source.stage, source.max_receives);
    let handled = AssertUnwindSafe(timeout(source.timeout, handle_sqs(stage, event, &own, &dead))).catch_unwind().await;
    match handled {
        Ok(Ok(response)) => acknowledge(queues, source, batch, &response).await,
        // As in the cloud, nobody tells what became of the batch: it comes again when its visibility timeout ran out.
        Ok(Err(_)) => tracing::error!(stage = source.stage, messages = batch.len(), "the invocation took too long and was given up"),
        Err(_) => tracing::error!(stage = source.stage, messages = batch.len(), "the invocation panicked"),
    }
}

async fn acknowledge(queues: &LocalQueues, source: EventSource, batch: Vec<Delivered>, response: &SqsBatchResponse) {
    let failed: HashSet<&str> = response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    let (failed, done): (Vec<Delivered>, Vec<Delivered>) = batch.into_iter().partition(|message| failed.contains(message.id.as_str()));
    let done: Vec<Receipt> = done.iter().map(|message| message.receipt).collect();
    if !done.is_empty()
        && let Err(error) = queues.delete(done).await
    {
        tracing::error!(stage = source.stage, %error, "messages that are done can't be deleted and will come again");
    }
    for message in failed {
        if let Err(error) = queues.defer(message.receipt, source.back_off(message.receive_count)).await {
            tracing::error!(stage = source.stage, %error, "a failed message comes again only after its visibility timeout");
        }
    }
}

/// Calls `run` every so often until told to stop. A run that fails or panics is logged, and the next one comes at its time.
pub async fn run_schedule<F, R, E>(name: &'static str, every: Duration, mut stop: Stop, run: F)
where
    F: Fn() -> R,
    R: Future<Output = Result<(), E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.wait() => return,
        }
        match AssertUnwindSafe(async { run().await }).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(stage = name, error = format!("{:#}", anyhow::Error::new(error)), "the scheduled run failed"),
            Err(_) => tracing::error!(stage = name, "the scheduled run panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_hidden_six_times_as_long_as_an_invocation_may_take() {
        for source in EVENT_SOURCES {
            assert_eq!(source.visibility(), source.timeout * 6);
        }
    }

    #[test]
    fn a_batch_of_full_messages_fits_an_invocation() {
        // An invocation's payload is limited to 6 MB. Hints are at most 200 ids, so only resolve's messages are that large.
        const { assert!(RESOLVE.batch_size * 64 * 1024 < 6_000_000) };
    }

    #[test]
    fn back_off_grows_fourfold_up_to_the_visibility_timeout() {
        let seconds: Vec<u64> = (1..=6).map(|attempt| LEVEL.back_off(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 4, 16, 64, 180, 180]);
    }
}
