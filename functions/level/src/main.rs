//! The level function: wiring only.

use aws::{AwsClients, CalledBy, Metrics, or_explain};
use level::{Leveler, config::Config};
use pipeline::{SystemClock, SystemEntropy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = or_explain(Config::from_env(), CalledBy::Events).await?;
    let clients = or_explain(AwsClients::of_function(), CalledBy::Events).await?;
    let store = clients.store(&config.table_prefix);
    let levelr = Leveler::new(store, clients.queue(&config.dispatch_queue_url), SystemClock, SystemEntropy);
    let dead = clients.dead_queue(&config.dead_queue_url, config.max_receives);
    aws::serve_queue(levelr, clients.queue(&config.level_queue_url), dead, Metrics::of_process()).await
}
