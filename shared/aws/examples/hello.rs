//! The least that a function can be. The start of the real functions is measured against it; it does nothing else.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::IgnoredAny;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(|_: LambdaEvent<IgnoredAny>| async { Ok::<_, Error>("hello") })).await
}
