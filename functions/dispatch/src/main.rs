//! The dispatch function: wiring only.

use aws::AwsClients;
use dispatch::{Config, Dispatcher, HyperTransport, ModelDirectory, Settings};
use pipeline::{SystemClock, secrets::FileKeySecrets};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = Config::from_env()?;
    let clients = AwsClients::from_env().await;
    let store = clients.store(&config.table_prefix);
    let secrets = FileKeySecrets::new(&config.secrets_key);
    let transport = HyperTransport::new(config.allow_private_destinations)?;
    let directory = ModelDirectory::new(store.clone(), SystemClock);
    let dispatcher = Dispatcher::new(store, SystemClock, secrets, transport, directory, Settings::from(&config));
    let dead = clients.dead_queue(&config.dead_queue_url, config.max_receives);
    aws::serve_queue(dispatcher, clients.queue(&config.dispatch_queue_url), dead).await
}
