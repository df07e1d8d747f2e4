//! Tables for the embedded database and for tests. A deployment has them from its template.

use super::errors::{Place, refused, translate};
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus, TimeToLiveSpecification,
        TimeToLiveStatus,
    },
};
use pipeline::{Key, StoreError, Table};
use std::{error::Error, time::Duration};

/// How often and how long to look whether a new table can be used.
const LOOKS: u32 = 240;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Makes a table unless it is there, waits for it, and has expired items removed by `ttl`.
pub async fn create(client: &Client, name: &str) -> Result<(), StoreError> {
    let key = |attribute: &str, kind| KeySchemaElement::builder().attribute_name(attribute).key_type(kind).build().map_err(refused);
    let text = |attribute: &str| {
        AttributeDefinition::builder().attribute_name(attribute).attribute_type(ScalarAttributeType::S).build().map_err(refused)
    };
    let made = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .attribute_definitions(text("pk")?)
        .attribute_definitions(text("sk")?)
        .send()
        .await;
    match made {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {}
        Err(error) => return Err(failed(&error, name)),
    }
    wait_until_usable(client, name).await?;

    let expiry = client.describe_time_to_live().table_name(name).send().await.map_err(|error| failed(&error, name))?;
    let status = expiry.time_to_live_description().and_then(|description| description.time_to_live_status());
    if !matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        let expiry = TimeToLiveSpecification::builder().attribute_name("ttl").enabled(true).build().map_err(refused)?;
        let update = client.update_time_to_live().table_name(name).time_to_live_specification(expiry);
        update.send().await.map_err(|error| failed(&error, name))?;
    }
    Ok(())
}

/// What a request about a whole table failed with.
fn failed<E>(error: &SdkError<E, HttpResponse>, name: &str) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let table = Table::ALL.into_iter().find(|table| name.ends_with(table.as_str())).unwrap_or(Table::Config);
    let prefix = name.strip_suffix(table.as_str()).unwrap_or(name);
    translate(error, &Key::new(table, name, ""), Place { prefix, region: None })
}

async fn wait_until_usable(client: &Client, name: &str) -> Result<(), StoreError> {
    for _ in 0..LOOKS {
        let answer = client.describe_table().table_name(name).send().await.map_err(|error| failed(&error, name))?;
        if answer.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(StoreError::Unavailable { source: format!("the table `{name}` did not become active").into() })
}
