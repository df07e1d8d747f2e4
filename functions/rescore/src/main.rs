//! The rescore function: wiring only.

use aws::{AwsClients, CalledBy, Metrics, or_explain};
use futures::FutureExt;
use pipeline::SystemClock;
use rescore::{
    Rescorer,
    config::Config,
    jobs::{BUDGET, JobRunner, Outlets},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = or_explain(Config::from_env(), CalledBy::Events).await?;
    let clients = or_explain(AwsClients::of_function(), CalledBy::Events).await?;
    let store = clients.store(&config.table_prefix);
    let (touched, changed) = (clients.queue(&config.score_queue_url), clients.queue(&config.dispatch_queue_url));
    let outlets = Outlets { score: clients.queue(&config.score_queue_url), resolve: clients.queue(&config.resolve_queue_url) };
    let jobs = JobRunner::new(store.clone(), outlets, SystemClock).keeping(config.event_log_kept);
    let metrics = Metrics::of_process();
    let rescorer = Rescorer::new(store, touched, changed, SystemClock).with_counters(metrics.counters().clone());
    let (rescorer, jobs) = (&rescorer, &jobs);
    let run = || async { futures::join!(rescorer.run(), jobs.run(BUDGET)) }.map(|(due, jobs)| due.and(jobs)).boxed();
    aws::serve_schedule("rescore", || metrics.reporting(run())).await
}
