//! The API function: wiring only.

use api::{Api, config::Config};
use aws::{AwsClients, CalledBy, or_explain};
use pipeline::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), aws::LambdaError> {
    aws::init_tracing();
    let config = or_explain(Config::from_env(), CalledBy::Requests).await?;
    let clients = or_explain(AwsClients::of_function(), CalledBy::Requests).await?;
    let (store, queue) = (clients.store(&config.table_prefix), clients.queue(&config.score_queue_url));
    let api = Api::new(store, clients.secrets(&config.secrets_key_arn), SystemClock, queue);
    let routes = api::router(api.allow_private_destinations(config.allow_private_destinations));
    aws::serve_http(|request, _peer| api::answer(routes.clone(), request)).await
}
