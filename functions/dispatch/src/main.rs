//! The dispatch function: wiring only.

use aws::{AwsClients, CalledBy, Metrics, or_explain};
use dispatch::{Config, Dispatcher, HyperTransport, ModelDirectory, Settings};
use pipeline::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = or_explain(Config::from_env(), CalledBy::Events).await?;
    let clients = or_explain(AwsClients::of_function(), CalledBy::Events).await?;
    let store = clients.store(&config.table_prefix);
    let secrets = clients.secrets(&config.secrets_key_arn);
    let transport = or_explain(HyperTransport::new(config.allow_private_destinations), CalledBy::Events).await?;
    let directory = ModelDirectory::new(store.clone(), SystemClock);
    let dispatcher = Dispatcher::new(store, SystemClock, secrets, transport, directory, Settings::from(&config));
    let metrics = Metrics::of_process();
    let dispatcher = dispatcher.with_counters(metrics.counters().clone());
    let dead = clients.dead_queue(&config.dead_queue_url, config.max_receives);
    aws::serve_queue(dispatcher, clients.queue(&config.dispatch_queue_url), dead, metrics).await
}
