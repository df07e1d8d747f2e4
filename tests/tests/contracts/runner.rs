//! The local event source loop.

use crate::place::{Place, QUEUE, eventually};
use harpoon::{
    local_queue::Depth,
    runner::{self, EventSource, run_schedule, run_stage},
};
use harpoon_tests::contracts::queue::message;
use pipeline::{AccountScored, Outcome, Queue, Received, Stage, StageError};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const SOURCE: EventSource = EventSource {
    stage: QUEUE,
    batch_size: 10,
    window: Duration::from_millis(5),
    concurrency: 3,
    timeout: Duration::from_secs(10),
    max_receives: 3,
};

/// Counts what it is given; fails an account named `flaky` twice and one named `broken` always.
#[derive(Default)]
struct Counting {
    seen: Mutex<BTreeMap<String, usize>>,
    largest: AtomicUsize,
}

impl Counting {
    fn seen(&self, account: &str) -> usize {
        self.seen.lock().unwrap().get(account).copied().unwrap_or(0)
    }
}

impl Stage for Counting {
    const NAME: &'static str = QUEUE;
    type Input = AccountScored;

    async fn handle(&self, batch: Vec<Received<AccountScored>>) -> Vec<Outcome<AccountScored>> {
        self.largest.fetch_max(batch.len(), Ordering::SeqCst);
        let mut seen = self.seen.lock().unwrap();
        let outcomes = batch.iter().map(|received| {
            let account = received.message.homes[0].account().unwrap().as_str();
            let count = seen.entry(account.to_owned()).or_default();
            *count += 1;
            match account {
                "flaky" if *count <= 2 => Outcome::Failed(StageError::retry("not yet")),
                "broken" => Outcome::Failed(StageError::retry("never")),
                _ => Outcome::Done,
            }
        });
        outcomes.collect()
    }
}

async fn is_empty(place: &Place) -> bool {
    let Depth { visible, hidden, .. } = place.queues.depth(QUEUE).await.unwrap();
    visible + hidden == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_sent_before_and_while_it_runs_is_handled_once() {
    let (place, stage) = (Place::new(), Arc::new(Counting::default()));
    let queue = place.queues.queue(QUEUE);
    queue.send((0..100).map(|n| message(&format!("early-{n}"))).collect()).await.unwrap();
    let (stop, stopped) = runner::stop();
    let running = tokio::spawn(run_stage(stage.clone(), place.queues.clone(), SOURCE, stopped));
    for n in 0..100 {
        queue.send(vec![message(&format!("late-{n}"))]).await.unwrap();
    }
    eventually("all 200 messages are done", async || is_empty(&place).await).await;
    stop.send(true).unwrap();
    running.await.unwrap();
    let seen = stage.seen.lock().unwrap();
    assert_eq!((seen.len(), seen.values().sum::<usize>()), (200, 200));
    assert_eq!(stage.largest.load(Ordering::SeqCst), 10);
}

/// It comes again one second after the first failure, four after the second. Whoever sets the clock also wakes the runner.
async fn let_it_fail_twice(place: &Place, stage: &Counting, account: &str) {
    for (attempts, back_off_ms) in [(1, 1_000), (2, 4_000)] {
        eventually("the attempt was made", async || stage.seen(account) == attempts).await;
        eventually("it was deferred", async || {
            let now = pipeline::Clock::now(&place.clock);
            let next = place.queues.receive(QUEUE, 0, Duration::from_secs(1), 3).await.unwrap().next_at;
            next.is_some_and(|at| at.millis_since(now) == back_off_ms)
        })
        .await;
        place.clock.advance(back_off_ms);
        place.queues.wake_all();
    }
}

#[tokio::test]
async fn a_failed_message_comes_again_after_its_back_off() {
    let (place, stage) = (Place::new(), Arc::new(Counting::default()));
    let (stop, stopped) = runner::stop();
    let running = tokio::spawn(run_stage(stage.clone(), place.queues.clone(), SOURCE, stopped));
    place.queues.queue(QUEUE).send(vec![message("flaky"), message("fine")]).await.unwrap();
    let_it_fail_twice(&place, &stage, "flaky").await;
    eventually("it is done", async || is_empty(&place).await).await;
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!((stage.seen("flaky"), stage.seen("fine")), (3, 1));
}

#[tokio::test]
async fn a_message_that_always_fails_is_parked_with_its_last_error() {
    let (place, stage) = (Place::new(), Arc::new(Counting::default()));
    let (stop, stopped) = runner::stop();
    let running = tokio::spawn(run_stage(stage.clone(), place.queues.clone(), SOURCE, stopped));
    place.queues.queue(QUEUE).send(vec![message("broken")]).await.unwrap();
    let_it_fail_twice(&place, &stage, "broken").await;
    eventually("it is parked", async || is_empty(&place).await).await;
    stop.send(true).unwrap();
    running.await.unwrap();
    let dead = place.queues.dead(QUEUE, 10).await.unwrap();
    assert_eq!((dead.len(), stage.seen("broken")), (1, 3));
    assert_eq!(dead[0].reason, "failed 3 times, at last: never");
}

/// A stage that tells when it began and ends when it is let go.
struct Slow {
    began: tokio::sync::Notify,
    go: tokio::sync::Notify,
}

impl Stage for Slow {
    const NAME: &'static str = QUEUE;
    type Input = AccountScored;

    async fn handle(&self, batch: Vec<Received<AccountScored>>) -> Vec<Outcome<AccountScored>> {
        self.began.notify_one();
        self.go.notified().await;
        batch.iter().map(|_| Outcome::Done).collect()
    }
}

#[tokio::test]
async fn what_runs_when_everything_stops_is_finished_and_acknowledged() {
    let place = Place::new();
    let stage = Arc::new(Slow { began: tokio::sync::Notify::new(), go: tokio::sync::Notify::new() });
    let (stop, stopped) = runner::stop();
    let running = tokio::spawn(run_stage(stage.clone(), place.queues.clone(), SOURCE, stopped));
    place.queues.queue(QUEUE).send(vec![message("a")]).await.unwrap();
    stage.began.notified().await;
    stop.send(true).unwrap();
    stage.go.notify_one();
    running.await.unwrap();
    assert!(is_empty(&place).await);
}

#[tokio::test]
async fn a_schedule_goes_on_after_a_run_that_failed_or_panicked() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = runner::stop();
    let counted = Arc::clone(&runs);
    let running = tokio::spawn(run_schedule("rescore", Duration::from_millis(1), stopped, move || {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match n {
                0 => Err(std::io::Error::other("the store is busy")),
                1 => panic!("as told"),
                _ => Ok(()),
            }
        }
    }));
    eventually("it ran five times", async || runs.load(Ordering::SeqCst) >= 5).await;
    stop.send(true).unwrap();
    running.await.unwrap();
}

/// The lines of one resource of the template.
fn resource(template: &str, name: &str) -> String {
    let lines = template.lines().skip_while(|line| *line != format!("  {name}:")).skip(1);
    lines.take_while(|line| line.is_empty() || line.starts_with("   ")).collect::<Vec<_>>().join("\n")
}

/// A number of a resource, or the default of the parameter that it names; `None` when it does not name it.
fn number(template: &str, resource_text: &str, name: &str) -> Option<u64> {
    let rest = resource_text.split(&format!("{name}: ")).nth(1)?;
    if let Some(parameter) = rest.strip_prefix("!Ref ") {
        let parameter = parameter.split_whitespace().next()?;
        return number(template, &resource(template, parameter), "Default");
    }
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[test]
fn the_numbers_are_those_of_the_template() {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/template.yaml")).unwrap();
    for source in runner::EVENT_SOURCES {
        let stage = format!("{}{}", source.stage[..1].to_uppercase(), &source.stage[1..]);
        let (function, queue) = (resource(&template, &format!("{stage}Function")), resource(&template, &format!("{stage}Queue")));
        let seconds = |duration: Duration| Some(duration.as_secs());
        assert_eq!(number(&template, &function, "BatchSize"), Some(source.batch_size as u64), "{stage}");
        assert_eq!(number(&template, &function, "MaximumBatchingWindowInSeconds").or(Some(0)), seconds(source.window), "{stage}");
        assert_eq!(number(&template, &function, "MaximumConcurrency"), Some(source.concurrency as u64), "{stage}");
        assert_eq!(number(&template, &function, "Timeout"), seconds(source.timeout), "{stage}");
        assert_eq!(number(&template, &queue, "VisibilityTimeout"), seconds(source.visibility()), "{stage}");
        assert_eq!(number(&template, &queue, "maxReceiveCount"), Some(u64::from(source.max_receives)), "{stage}");
    }
}
