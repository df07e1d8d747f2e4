//! The rescore function: wiring only.

use aws::AwsClients;
use futures::FutureExt;
use pipeline::SystemClock;
use rescore::{Rescorer, config::Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = Config::from_env()?;
    let clients = AwsClients::from_env().await;
    let store = clients.store(&config.table_prefix);
    let (touched, changed) = (clients.queue(&config.score_queue_url), clients.queue(&config.dispatch_queue_url));
    let rescorer = Rescorer::new(store, touched, changed, SystemClock);
    let rescorer = &rescorer;
    aws::serve_schedule("rescore", || async { rescorer.run().await.map(drop) }.boxed()).await
}
