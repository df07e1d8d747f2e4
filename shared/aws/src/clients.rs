//! SDK clients with an HTTP client that fits the endpoint, time limits and retries.

use crate::{
    dynamo::DynamoStore,
    kms::KmsSecrets,
    sqs::{SqsDeadQueue, SqsQueue},
};
use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use pipeline::environment::Environment;
use std::time::Duration;

/// The roots that sign the certificates of AWS's endpoints.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");
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
        let environment = Environment::of_process();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client(&environment))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(time_limits(Duration::from_secs(5)));
        // Lambda puts the credentials of a function's role into its variables; nothing else need be made ready to be asked for them.
        let config = match is_function(&environment) {
            true => config.credentials_provider(EnvironmentVariableCredentialsProvider::new()),
            false => config,
        };
        Self { config: config.load().await }
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

fn is_function(environment: &Environment<'_>) -> bool {
    environment.optional("AWS_LAMBDA_FUNCTION_NAME").is_some()
}

/// What speaks to the endpoint. In a function, nothing else than the roots of AWS's own certificates is read: the hundreds of a host's
/// store take longer to read than all the rest of a start. Whoever names certificates, an endpoint or a region that has others gets the host's.
fn http_client(environment: &Environment<'_>) -> SharedHttpClient {
    let endpoint = environment.optional("AWS_ENDPOINT_URL");
    if endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) {
        return Builder::new().build_http();
    }
    let builder = Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring));
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| environment.optional(name).is_some());
    let elsewhere = environment.optional("AWS_REGION").is_none_or(|region| region.starts_with("cn-"));
    if !is_function(environment) || endpoint.is_some() || named || elsewhere {
        return builder.build_https();
    }
    let roots = tls::TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
    match tls::TlsContext::builder().with_trust_store(roots).build() {
        Ok(context) => builder.tls_context(context).build_https(),
        Err(_) => builder.build_https(),
    }
}

fn time_limits(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 3)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::result::SdkError;

    /// A certificate that can't be read would end the process at the first request.
    #[tokio::test]
    async fn a_function_asks_over_tls_with_the_roots_of_amazon() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let environment = Environment::new(|name| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("harpoon-score".into()),
            "AWS_REGION" => Some("eu-central-1".into()),
            _ => None,
        });
        let config = AwsClients::at(&format!("https://{closed}")).config.into_builder().http_client(http_client(&environment));
        let config = config.retry_config(RetryConfig::disabled()).build();
        let refused = aws_sdk_dynamodb::Client::new(&config).list_tables().send().await.unwrap_err();
        assert!(matches!(&refused, SdkError::DispatchFailure(failure) if failure.is_io()), "{refused:?}");
    }
}
