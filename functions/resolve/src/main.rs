//! The resolve function: wiring only.

use aws::{AwsClients, CalledBy, Metrics, or_explain};
use pipeline::SystemClock;
use resolve::{Resolver, config::Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = or_explain(Config::from_env(), CalledBy::Events).await?;
    let clients = or_explain(AwsClients::of_function(), CalledBy::Events).await?;
    let store = clients.store(&config.table_prefix);
    let resolver = Resolver::new(store, clients.queue(&config.score_queue_url), SystemClock).keeping(config.event_log_kept);
    let dead = clients.dead_queue(&config.dead_queue_url, config.max_receives);
    aws::serve_queue(resolver, clients.queue(&config.resolve_queue_url), dead, Metrics::of_process()).await
}
