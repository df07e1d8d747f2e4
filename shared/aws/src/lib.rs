#![doc = include_str!("../README.md")]

pub mod batch;
pub mod clients;
pub mod dynamo;
pub mod lambda;
pub mod sqs;

pub use batch::{DeadQueue, MemoryDeadQueue, Parked, SqsBatchResponse, SqsEvent, SqsRecord, handle_sqs, sqs_event};
pub use clients::AwsClients;
pub use dynamo::{ConsumedUnits, DynamoStore, Meter};
pub use lambda::{LambdaError, init_tracing, serve_http, serve_queue, serve_schedule};
pub use sqs::{SqsDeadQueue, SqsQueue};
