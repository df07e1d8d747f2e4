//! The ingest function: wiring only.

use aws::{AwsClients, CalledBy, Metrics, or_explain};
use ingest::{Config, Ingester};
use pipeline::{SystemClock, SystemEntropy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = or_explain(Config::from_env(), CalledBy::Requests).await?;
    let clients = or_explain(AwsClients::of_function(), CalledBy::Requests).await?;
    let (store, queue) = (clients.store(&config.table_prefix), clients.queue(&config.resolve_queue_url));
    let metrics = &Metrics::of_process();
    let ingester = Ingester::new(store, queue, SystemClock, SystemEntropy).with_public_url(config.public_url);
    let ingester = &ingester.with_counters(metrics.counters().clone());
    aws::serve_http(|request, peer| metrics.reporting(ingester.handle(request, peer))).await
}
