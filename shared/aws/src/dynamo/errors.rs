//! Errors of the SDK become errors of the port, here and nowhere else.

use crate::failed::Failed;
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
};
use pipeline::{Key, StoreError, Table, Write};
use std::error::Error;

/// Whose tables a request was about, so that its error names the table as people find it in the console.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// What the tables' names begin with.
    pub prefix: &'a str,
    /// Where they are, if that is known.
    pub region: Option<&'a str>,
}

impl Place<'_> {
    fn failed<E>(&self, error: &SdkError<E, HttpResponse>, table: Table) -> Failed
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        Failed::new("table", &format!("{}{}", self.prefix, table.as_str()), self.region, error)
    }
}

/// A request that can never succeed.
pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Refused { source: source.into() }
}

/// What kind of failure a code names.
enum Kind {
    Conflict,
    Busy,
    Unavailable,
    Refused,
}

fn kind(code: &str) -> Kind {
    match code {
        "ConditionalCheckFailedException" => Kind::Conflict,
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "ReplicatedWriteConflictException" => Kind::Busy,
        "InternalServerError" | "InternalFailure" | "ServiceUnavailable" | "RequestTimeout" => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

/// Translates what a request about `key` failed with.
pub fn translate<E>(error: &SdkError<E, HttpResponse>, key: &Key, place: Place<'_>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let kind = match error {
        SdkError::ConstructionFailure(_) => Kind::Refused,
        SdkError::ServiceError(service) if service.raw().status().is_server_error() => Kind::Unavailable,
        SdkError::ServiceError(service) => kind(service.err().code().unwrap_or_default()),
        // Nobody answered, or nobody can tell what was answered: the write may have happened.
        _ => Kind::Unavailable,
    };
    match kind {
        Kind::Conflict => StoreError::Conflict { key: Box::new(key.clone()) },
        Kind::Busy => StoreError::Busy { source: Box::new(place.failed(error, key.table)) },
        Kind::Unavailable => StoreError::Unavailable { source: Box::new(place.failed(error, key.table)) },
        Kind::Refused => refused(place.failed(error, key.table)),
    }
}

/// Translates what a transaction failed with: a cancelled one says for each write why.
pub fn translate_transaction(error: &SdkError<TransactWriteItemsError, HttpResponse>, writes: &[Write], place: Place<'_>) -> StoreError {
    let Some(first) = writes.first() else { return refused("a transaction without writes failed") };
    let reasons: Vec<String> = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default().to_owned()).collect()
        }
        _ => return translate(error, first.key(), place),
    };
    // A failed condition stands even if another item was contended: reading again is what helps.
    if let Some((_, write)) = reasons.iter().zip(writes).find(|(reason, _)| *reason == "ConditionalCheckFailed") {
        return StoreError::Conflict { key: Box::new(write.key().clone()) };
    }
    let busy = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"];
    if reasons.iter().any(|reason| busy.contains(&reason.as_str())) {
        return StoreError::Busy { source: Box::new(place.failed(error, first.key().table)) };
    }
    refused(place.failed(error, first.key().table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::{
        error::ErrorMetadata,
        operation::put_item::PutItemError,
        types::{CancellationReason, error::TransactionCanceledException},
    };
    use pipeline::{Body, Item, store::Condition};

    fn answer(status: u16) -> HttpResponse {
        HttpResponse::new(status.try_into().unwrap(), "".into())
    }

    const PLACE: Place<'static> = Place { prefix: "harpoon-", region: Some("eu-central-1") };

    fn put_error(code: &str, status: u16) -> StoreError {
        let error = PutItemError::generic(ErrorMetadata::builder().code(code).message("said the service").build());
        translate(&SdkError::service_error(error, answer(status)), &Key::new(Table::Accounts, "p", "s"), PLACE)
    }

    fn source_of(error: &StoreError) -> String {
        error.source().unwrap().to_string()
    }

    #[test]
    fn an_error_names_the_table_the_region_and_the_code() {
        assert_eq!(
            source_of(&put_error("AccessDeniedException", 400)),
            "table `harpoon-accounts` in `eu-central-1`: AccessDeniedException: said the service"
        );
        let late: SdkError<PutItemError, HttpResponse> = SdkError::timeout_error("late");
        let late = translate(&late, &Key::new(Table::Config, "p", "s"), Place { prefix: "h-", region: None });
        assert_eq!(source_of(&late), "table `h-config`: request has timed out: late");
    }

    #[test]
    fn codes_become_what_the_caller_should_do() {
        assert!(
            matches!(put_error("ConditionalCheckFailedException", 400), StoreError::Conflict { key } if key.pk == "p" && key.sk == "s")
        );
        for code in
            ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "TransactionConflictException"]
        {
            assert!(matches!(put_error(code, 400), StoreError::Busy { .. }), "{code}");
        }
        for code in ["ResourceNotFoundException", "AccessDeniedException", "ValidationException"] {
            assert!(matches!(put_error(code, 400), StoreError::Refused { .. }), "{code}");
        }
        assert!(matches!(put_error("InternalServerError", 500), StoreError::Unavailable { .. }));
        assert!(matches!(put_error("", 503), StoreError::Unavailable { .. }));
    }

    #[test]
    fn nobody_answering_is_no_refusal() {
        let key = Key::new(Table::Accounts, "p", "s");
        let late: SdkError<PutItemError, HttpResponse> = SdkError::timeout_error("late");
        assert!(matches!(translate(&late, &key, PLACE), StoreError::Unavailable { .. }));
    }

    fn cancelled(reasons: &[&str]) -> StoreError {
        let writes: Vec<Write> = (0..reasons.len())
            .map(|n| {
                let key = Key::new(Table::Accounts, "p", n.to_string());
                Write::Put(Item { key, version: 1, body: Body::Text(String::new()), expires_at: None }, Condition::Absent)
            })
            .collect();
        let reasons = reasons.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
        let error = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
        let error = TransactWriteItemsError::TransactionCanceledException(error);
        translate_transaction(&SdkError::service_error(error, answer(400)), &writes, PLACE)
    }

    #[test]
    fn a_cancelled_transaction_names_the_item_whose_condition_failed() {
        let error = cancelled(&["None", "TransactionConflict", "ConditionalCheckFailed", "ConditionalCheckFailed"]);
        assert!(matches!(error, StoreError::Conflict { key } if key.sk == "2"));
    }

    #[test]
    fn a_transaction_that_met_another_one_may_be_tried_again() {
        assert!(matches!(cancelled(&["None", "TransactionConflict"]), StoreError::Busy { .. }));
        assert!(matches!(cancelled(&["ThrottlingError", "None"]), StoreError::Busy { .. }));
        assert!(matches!(cancelled(&["None", "ValidationError"]), StoreError::Refused { .. }));
    }
}
