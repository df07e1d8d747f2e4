//! What a request failed with, in words that say where to look.

use crate::batch::chain;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use std::error::Error;

/// A request that failed: about what, where, and what the service said.
#[derive(Debug, thiserror::Error)]
#[error("{kind} `{name}`{place}: {said}")]
pub(crate) struct Failed {
    /// Such as `table`.
    kind: &'static str,
    name: String,
    place: String,
    said: String,
}

impl Failed {
    pub(crate) fn new<E>(kind: &'static str, name: &str, region: Option<&str>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let said = match error.as_service_error() {
            Some(service) => [service.code(), service.message()].into_iter().flatten().collect::<Vec<_>>().join(": "),
            None => chain(error),
        };
        let place = region.map(|region| format!(" in `{region}`")).unwrap_or_default();
        Self { kind, name: name.to_owned(), place, said: if said.is_empty() { chain(error) } else { said } }
    }
}
