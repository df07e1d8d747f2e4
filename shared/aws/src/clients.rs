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
use aws_smithy_http_client::{Builder, Connector, ConnectorBuilder, tls};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn};
use pipeline::environment::{Environment, EnvironmentError};
use std::{sync::OnceLock, time::Duration};

/// The roots that sign the certificates of AWS's endpoints.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");
/// What regions begin with whose endpoints may have certificates of others: China, the governments' and the sovereign ones.
const ELSEWHERE: [&str; 5] = ["cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"];
/// Asks for endpoints with certified cryptography.
const FIPS: &str = "AWS_USE_FIPS_ENDPOINT";
/// How often a request is tried before its error is reported.
const ATTEMPTS: u32 = 4;

/// The cryptography of connections.
const TLS: tls::Provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
/// How long it may take until a connection stands.
const CONNECT: Duration = Duration::from_secs(2);

/// The configuration that every client of this process shares, HTTP connections included.
#[derive(Debug, Clone)]
pub struct AwsClients {
    config: SdkConfig,
    sqs: OnceLock<aws_sdk_sqs::Client>,
}

impl AwsClients {
    /// For somebody's terminal: region, credentials, profile and endpoint as the AWS tools find them.
    pub async fn from_env() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(Builder::new().tls_provider(TLS).build_https())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(time_limits(Duration::from_secs(5)));
        config.load().await.into()
    }

    /// For a function: Lambda puts the region and the credentials of the function's role into its variables, and nothing else need be
    /// made ready to be asked for them.
    ///
    /// # Errors
    /// A variable that Lambda sets is missing.
    pub fn of_function() -> Result<Self, EnvironmentError> {
        Self::of_function_in(&Environment::of_process())
    }

    fn of_function_in(environment: &Environment<'_>) -> Result<Self, EnvironmentError> {
        let region = environment.required("AWS_REGION", "the region of AWS, such as `eu-central-1`")?;
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
            .use_fips(is_on(environment, FIPS))
            .use_dual_stack(is_on(environment, "AWS_USE_DUALSTACK_ENDPOINT"))
            .http_client(http_client_of_function(environment))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(time_limits(Duration::from_secs(5)));
        config.set_endpoint_url(environment.optional("AWS_ENDPOINT_URL"));
        Ok(config.build().into())
    }

    /// At an endpoint of this machine such as `http://127.0.0.1:8000`, with credentials that nobody checks.
    pub fn at(endpoint: &str) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "local");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(client_of(connector().build_http()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            // One disk serves everything here: a request may wait long behind others without anything being wrong.
            .timeout_config(time_limits(Duration::from_secs(30)))
            .build();
        config.into()
    }

    /// The store whose tables' names begin with `prefix`, such as `harpoon-`.
    pub fn store(&self, prefix: &str) -> DynamoStore {
        DynamoStore::new(aws_sdk_dynamodb::Client::new(&self.config), prefix)
    }

    /// Secrets under the KMS key with this ARN, key id or alias.
    pub fn secrets(&self, key: &str) -> KmsSecrets {
        KmsSecrets::new(self.config.clone(), key)
    }

    /// The client that queues share.
    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        self.sqs.get_or_init(|| aws_sdk_sqs::Client::new(&self.config)).clone()
    }

    /// The queue at this URL.
    pub fn queue<M>(&self, url: &str) -> SqsQueue<M> {
        SqsQueue::new(self.sqs(), url)
    }

    /// The dead queue at this URL, which takes a message at the `max_receives`th failed attempt.
    pub fn dead_queue(&self, url: &str, max_receives: u32) -> SqsDeadQueue {
        SqsDeadQueue::new(self.sqs(), url, max_receives)
    }
}

impl From<SdkConfig> for AwsClients {
    fn from(config: SdkConfig) -> Self {
        Self { config, sqs: OnceLock::new() }
    }
}

fn is_on(environment: &Environment<'_>, name: &str) -> bool {
    environment.optional(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// What speaks to the endpoint. Nothing else than the roots of AWS's own certificates is read: the hundreds of a host's store take longer to
/// read than all the rest of a start. Whoever names certificates, an endpoint or a region that has others gets the host's.
fn http_client_of_function(environment: &Environment<'_>) -> SharedHttpClient {
    let endpoint = environment.optional("AWS_ENDPOINT_URL");
    if endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) {
        return client_of(connector().build_http());
    }
    let builder = connector().tls_provider(TLS);
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| environment.optional(name).is_some());
    let elsewhere = environment.optional("AWS_REGION").is_none_or(|region| ELSEWHERE.iter().any(|begin| region.starts_with(begin)));
    if endpoint.is_some() || named || elsewhere || is_on(environment, FIPS) {
        return client_of(builder.build());
    }
    let roots = tls::TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
    client_of(match tls::TlsContext::builder().with_trust_store(roots).build() {
        Ok(context) => builder.tls_context(context).build(),
        Err(error) => {
            tracing::error!(error = crate::batch::chain(&error), "the roots of Amazon can't be read; the host's are used");
            builder.build()
        }
    })
}

fn connector() -> ConnectorBuilder {
    Connector::builder().connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT).build())
}

/// One connector for all services. The SDK's own client would make another one for each, and read the roots every time.
fn client_of(connector: Connector) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}

fn time_limits(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).operation_timeout(attempt * 3).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::result::SdkError;

    fn of_lambda(name: &str) -> Option<String> {
        match name {
            "AWS_REGION" => Some("eu-central-1".into()),
            "AWS_USE_DUALSTACK_ENDPOINT" => Some("true".into()),
            _ => None,
        }
    }

    /// A certificate that can't be read would end the process at its start.
    #[tokio::test]
    async fn a_function_asks_over_tls_with_the_roots_of_amazon() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = AwsClients::of_function_in(&Environment::new(of_lambda)).unwrap().config;
        assert_eq!(
            (config.region().map(AsRef::as_ref), config.use_fips(), config.use_dual_stack()),
            (Some("eu-central-1"), Some(false), Some(true))
        );
        let config =
            config.into_builder().use_dual_stack(false).endpoint_url(format!("https://{closed}")).retry_config(RetryConfig::disabled());
        let config = config.credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test"))).build();
        let refused = aws_sdk_dynamodb::Client::new(&config).list_tables().send().await.unwrap_err();
        assert!(matches!(&refused, SdkError::DispatchFailure(failure) if failure.is_io()), "{refused:?}");
    }

    #[test]
    fn a_function_without_a_region_says_so() {
        let error = AwsClients::of_function_in(&Environment::new(|_| None)).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable `AWS_REGION` must be the region of AWS, such as `eu-central-1`");
    }
}
