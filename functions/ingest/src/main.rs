//! The ingest function: wiring only.

use aws::AwsClients;
use ingest::{Config, Ingester};
use pipeline::{SystemClock, SystemEntropy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = Config::from_env()?;
    let clients = AwsClients::from_env().await;
    let (store, queue) = (clients.store(&config.table_prefix), clients.queue(&config.resolve_queue_url));
    let ingester = &Ingester::new(store, queue, SystemClock, SystemEntropy).with_public_url(config.public_url);
    aws::serve_http(|request, peer| ingester.handle(request, peer)).await
}
