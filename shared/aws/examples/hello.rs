//! Hello world, as functions are usually begun. The start of the real functions is measured against it; it does nothing else.
//!
//! With the argument `one-thread` it does without the runtime's other threads, as the real functions do: the least that a function can be.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::IgnoredAny;
use tokio::runtime::Builder;

fn main() -> Result<(), Error> {
    let one_thread = std::env::args().nth(1).is_some_and(|argument| argument == "one-thread");
    let mut runtime = if one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let hello = lambda_runtime::run(service_fn(|_: LambdaEvent<IgnoredAny>| async { Ok::<_, Error>("hello") }));
    runtime.enable_all().build()?.block_on(hello)
}
