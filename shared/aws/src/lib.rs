//! The DynamoDB, SQS and Lambda adapters: the only crate that names AWS
