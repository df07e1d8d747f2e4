//! SDK clients with an HTTP client that fits the endpoint, time limits and retries.

use crate::{
    dynamo::DynamoStore,
    kms::KmsSecrets,
    sqs::{SqsDeadQueue, SqsQueue},
};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{Builder, tls};
use std::time::Duration;

/// How often a request is tried before its error is reported.
const ATTEMPTS: u32 = 4;

/// The configuration that every client of this process shares, HTTP connections included.
#[derive(Debug, Clone)]
pub struct AwsClients {
    config: SdkConfig,
}

impl AwsClients {
    /// As the environment says: region, credentials and endpoint in the variables that Lambda and the SDKs know.
    pub async fn from_env() -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(Builder::new().tls_provider(tls).build_https())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(time_limits(Duration::from_secs(5)))
            .load()
            .await;
        // A deployment under test has a plain endpoint; reading the host's root certificates for it would be for nothing.
        let plain = config.endpoint_url().is_some_and(|url| url.starts_with("http://"));
        let config = if plain { config.into_builder().http_client(Builder::new().build_http()).build() } else { config };
        Self { config }
    }

    /// At an endpoint of this machine such as `http://127.0.0.1:8000`, with credentials that nobody checks.
    pub fn at(endpoint: &str) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "local");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(Builder::new().build_http())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            // One disk serves everything here: a request may wait long behind others without anything being wrong.
            .timeout_config(time_limits(Duration::from_secs(30)))
            .build();
        Self { config }
    }

    /// The store whose tables' names begin with `prefix`, such as `harpoon-`.
    pub fn store(&self, prefix: &str) -> DynamoStore {
        DynamoStore::new(aws_sdk_dynamodb::Client::new(&self.config), prefix)
    }

    /// Secrets under the KMS key with this ARN, key id or alias.
    pub fn secrets(&self, key: &str) -> KmsSecrets {
        KmsSecrets::new(aws_sdk_kms::Client::new(&self.config), key)
    }

    /// The client that queues share.
    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    /// The queue at this URL.
    pub fn queue<M>(&self, url: &str) -> SqsQueue<M> {
        SqsQueue::new(aws_sdk_sqs::Client::new(&self.config), url)
    }

    /// The dead queue at this URL, which takes a message at the `max_receives`th failed attempt.
    pub fn dead_queue(&self, url: &str, max_receives: u32) -> SqsDeadQueue {
        SqsDeadQueue::new(aws_sdk_sqs::Client::new(&self.config), url, max_receives)
    }
}

fn time_limits(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 3)
        .build()
}
