//! The rescore function: wiring only.

use aws::AwsClients;
use futures::FutureExt;
use pipeline::SystemClock;
use rescore::{
    Rescorer,
    config::Config,
    jobs::{BUDGET, JobRunner},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = Config::from_env()?;
    let clients = AwsClients::from_env().await;
    let store = clients.store(&config.table_prefix);
    let (touched, changed) = (clients.queue(&config.score_queue_url), clients.queue(&config.dispatch_queue_url));
    let jobs = JobRunner::new(store.clone(), clients.queue(&config.score_queue_url), SystemClock);
    let rescorer = Rescorer::new(store, touched, changed, SystemClock);
    let (rescorer, jobs) = (&rescorer, &jobs);
    let run = || async { futures::join!(rescorer.run(), jobs.run(BUDGET)) }.map(|(due, jobs)| due.and(jobs)).boxed();
    aws::serve_schedule("rescore", run).await
}
