#![doc = include_str!("../README.md")]

pub mod batch;
pub mod clients;
pub mod dynamo;
mod failed;
pub mod kms;
pub mod lambda;
pub mod metrics;
pub mod parked;
pub mod sqs;

pub use batch::{DeadQueue, MemoryDeadQueue, Parked, SqsBatchResponse, SqsEvent, SqsRecord, handle_sqs, handle_sqs_counting, sqs_event};
pub use clients::AwsClients;
pub use dynamo::{ConsumedUnits, DynamoStore, Meter};
pub use kms::KmsSecrets;
pub use lambda::{CalledBy, LambdaError, init_tracing, or_explain, serve_http, serve_queue, serve_schedule};
pub use metrics::Metrics;
pub use parked::{ParkedMessage, SqsParkedMessages};
pub use sqs::{SqsDeadQueue, SqsQueue};
