//! The price file.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// The price file that is built in.
const BUILT_IN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/prices.toml"));

/// One price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Dollars for one `unit`.
    pub dollars: f64,
    /// What the dollars are for, in words.
    pub unit: String,
    /// How many requests, seconds or bytes that is.
    pub per: f64,
    /// When it was looked up.
    pub date: String,
    /// Where.
    pub source: String,
}

impl Price {
    /// Dollars for so many.
    pub fn of(&self, count: f64) -> f64 {
        self.dollars * count / self.per
    }
}

/// The prices of a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// DynamoDB, on demand: write request units.
    pub dynamodb_write: Price,
    /// DynamoDB, on demand: read request units.
    pub dynamodb_read: Price,
    /// DynamoDB: a GB kept for a month.
    pub dynamodb_storage: Price,
    /// SQS standard queues: requests of up to 64 KB.
    pub sqs_request: Price,
    /// Lambda: invocations.
    pub lambda_request: Price,
    /// Lambda on arm64: GB-seconds.
    pub lambda_duration: Price,
    /// API Gateway: HTTP API requests.
    pub http_api_request: Price,
    /// CloudWatch Logs: a GB taken in.
    pub logs_ingested: Price,
    /// X-Ray: traces recorded.
    pub traces_recorded: Price,
}

/// How long requests take, seen from a function in the same region, in milliseconds. Not prices, and not measured here: stated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// Reading an item.
    pub read_ms: f64,
    /// Reading a batch of items.
    pub read_many_ms: f64,
    /// Reading a page.
    pub query_ms: f64,
    /// Writing an item.
    pub write_ms: f64,
    /// Writing several in a transaction.
    pub transact_ms: f64,
    /// Sending messages.
    pub send_ms: f64,
    /// Posting a notification.
    pub post_ms: f64,
}

/// How a function is billed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// The memory that the template gives each function, in MB.
    pub memory_mb: f64,
    /// The memory that comes with one whole processor, in MB.
    pub memory_of_a_processor_mb: f64,
    /// Milliseconds of a whole processor that one request to the store or a queue takes: signing, encryption, HTTP, JSON. Stated.
    pub request_cpu_ms: f64,
    /// Bytes that an invocation logs beside the functions' own lines.
    pub platform_log_bytes: f64,
    /// Share of invocations that are traced.
    pub traced_share: f64,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceFile {
    /// By region.
    pub region: BTreeMap<String, Prices>,
    /// Stated latencies.
    pub latency: Latencies,
    /// Functions.
    pub function: Function,
}

impl PriceFile {
    /// The file at `path`, or the one that is built in.
    ///
    /// # Errors
    /// The file can't be read, or is no price file.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let (text, name) = match path {
            Some(path) => {
                let name = path.display().to_string();
                (std::fs::read_to_string(path).with_context(|| format!("the price file `{name}` can't be read"))?, name)
            }
            None => (BUILT_IN.to_owned(), "infra/prices.toml".to_owned()),
        };
        toml::from_str(&text).with_context(|| format!("`{name}` is no price file"))
    }

    /// The prices of a region.
    ///
    /// # Errors
    /// There are none.
    pub fn region(&self, region: &str) -> anyhow::Result<&Prices> {
        let Some(prices) = self.region.get(region) else {
            let known: Vec<&str> = self.region.keys().map(String::as_str).collect();
            bail!("there are no prices for the region `{region}`, only for {}", known.join(", "));
        };
        Ok(prices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_can_be_read_and_names_where_each_price_is_from() {
        let file = PriceFile::read(None).unwrap();
        let prices = serde_json::to_value(file.region("us-east-1").unwrap()).unwrap();
        for (name, price) in prices.as_object().unwrap() {
            assert!(price["source"].as_str().unwrap().starts_with("https://"), "{name}");
            assert!(domain::Timestamp::parse(&format!("{}T00:00:00Z", price["date"].as_str().unwrap())).is_some(), "{name}");
        }
        assert!(file.region("nowhere").is_err());
    }

    #[test]
    fn a_million_write_units_cost_what_the_price_list_says() {
        let file = PriceFile::read(None).unwrap();
        assert!((file.region("us-east-1").unwrap().dynamodb_write.of(1e6) - 0.625).abs() < 1e-12);
    }
}
