//! The API function: wiring only.

use api::{Api, config::Config};
use aws::AwsClients;
use pipeline::{SystemClock, secrets::FileKeySecrets};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = Config::from_env()?;
    let clients = AwsClients::from_env().await;
    let (store, queue) = (clients.store(&config.table_prefix), clients.queue(&config.score_queue_url));
    let api = Api::new(store, FileKeySecrets::new(&config.secrets_key), SystemClock, queue);
    let routes = api::router(api.allow_private_destinations(config.allow_private_destinations));
    aws::serve_http(|request, _peer| api::answer(routes.clone(), request)).await
}
