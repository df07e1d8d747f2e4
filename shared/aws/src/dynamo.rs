//! The store port on DynamoDB.
//!
//! Every table has the partition key `pk` and the sort key `sk` (text), and its items hold `v` (the version, a number),
//! `d` (the body, text or bytes) and, where an item expires, `ttl` (seconds since 1970).

mod errors;
mod items;
mod tables;

use crate::clients::AwsClients;
use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    types::{AttributeValue, ConditionCheck, ConsumedCapacity, Delete, KeysAndAttributes, Put, ReturnConsumedCapacity, TransactWriteItem},
};
use errors::{Place, refused, translate, translate_transaction};
use futures::{StreamExt, TryStreamExt, stream};
use items::{attributes, condition, item, key_attributes};
use pipeline::{Consistency, Item, Key, Page, Query, Scan, ScanPage, Store, StoreError, Table, Write, store::Condition};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

/// The most keys one batch read may name.
const KEYS_PER_READ: usize = 100;
/// The most writes one transaction may hold.
const WRITES_PER_TRANSACTION: usize = 100;
/// How many batch reads of one `read_many` run at a time.
const READS_AT_A_TIME: usize = 4;
/// How often the keys that a batch read left out are asked for again before the store counts as busy.
const LEFTOVER_ROUNDS: u32 = 8;

/// What one request was billed.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumedUnits {
    /// The operation, as DynamoDB calls it.
    pub operation: &'static str,
    /// The table's full name.
    pub table: String,
    /// Read units of a read, write units of a write.
    pub units: f64,
}

/// Is told what each request was billed.
pub type Meter = Arc<dyn Fn(ConsumedUnits) + Send + Sync>;

/// Keeps items in DynamoDB.
#[derive(Clone)]
pub struct DynamoStore {
    client: Client,
    prefix: Arc<str>,
    meter: Option<Meter>,
}

impl fmt::Debug for DynamoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl DynamoStore {
    /// Over this client; table names begin with `prefix`.
    pub fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.into(), meter: None }
    }

    /// As the environment of a function says; table names begin with `prefix`.
    pub async fn from_env(prefix: &str) -> Self {
        AwsClients::from_env().await.store(prefix)
    }

    /// Tells `meter` what every request was billed.
    #[must_use]
    pub fn metered(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Makes the tables that are not there yet and waits until all of them can be used. A deployment has them from its
    /// template; this is for the embedded database and for tests.
    ///
    /// # Errors
    /// Those of the store: it can't be reached, or refuses.
    pub async fn create_tables(&self) -> Result<(), StoreError> {
        for table in Table::ALL {
            tables::create(&self.client, &self.table(table)).await?;
        }
        Ok(())
    }

    /// Where its tables are, for errors.
    fn place(&self) -> Place<'_> {
        Place { prefix: &self.prefix, region: self.client.config().region().map(AsRef::as_ref) }
    }

    fn table(&self, table: Table) -> String {
        format!("{}{}", self.prefix, table.as_str())
    }

    fn wanted_capacity(&self) -> Option<ReturnConsumedCapacity> {
        self.meter.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }

    fn count<'a>(&self, operation: &'static str, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        if let Some(meter) = &self.meter {
            for capacity in consumed {
                meter(ConsumedUnits {
                    operation,
                    table: capacity.table_name().unwrap_or_default().to_owned(),
                    units: capacity.capacity_units().unwrap_or_default(),
                });
            }
        }
    }

    async fn put(&self, item: &Item, on: Condition) -> Result<(), StoreError> {
        let (expression, values) = condition(on);
        let answer = self
            .client
            .put_item()
            .table_name(self.table(item.key.table))
            .set_item(Some(attributes(item)))
            .set_condition_expression(expression)
            .set_expression_attribute_values(values)
            .set_return_consumed_capacity(self.wanted_capacity())
            .send()
            .await
            .map_err(|error| translate(&error, &item.key, self.place()))?;
        self.count("PutItem", answer.consumed_capacity());
        Ok(())
    }

    async fn delete(&self, key: &Key, on: Condition) -> Result<(), StoreError> {
        let (expression, values) = condition(on);
        let answer = self
            .client
            .delete_item()
            .table_name(self.table(key.table))
            .set_key(Some(key_attributes(key)))
            .set_condition_expression(expression)
            .set_expression_attribute_values(values)
            .set_return_consumed_capacity(self.wanted_capacity())
            .send()
            .await
            .map_err(|error| translate(&error, key, self.place()))?;
        self.count("DeleteItem", answer.consumed_capacity());
        Ok(())
    }

    /// A check that stands alone writes nothing, so a strong read tells as much as a condition would, at a fourth of the price.
    async fn check(&self, key: &Key, on: Condition) -> Result<(), StoreError> {
        let holds = match on {
            Condition::Always => true,
            Condition::Absent => self.read(key, Consistency::Strong).await?.is_none(),
            Condition::Version(version) => self.read(key, Consistency::Strong).await?.is_some_and(|item| item.version == version),
        };
        if holds { Ok(()) } else { Err(StoreError::Conflict { key: Box::new(key.clone()) }) }
    }

    fn transacted(&self, write: &Write) -> Result<TransactWriteItem, StoreError> {
        let unbuilt = |error: BuildError| refused(error);
        let part = TransactWriteItem::builder();
        let part = match write {
            Write::Put(item, on) => {
                let (expression, values) = condition(*on);
                let put = Put::builder()
                    .table_name(self.table(item.key.table))
                    .set_item(Some(attributes(item)))
                    .set_condition_expression(expression)
                    .set_expression_attribute_values(values);
                part.put(put.build().map_err(unbuilt)?)
            }
            Write::Delete(key, on) => {
                let (expression, values) = condition(*on);
                let delete = Delete::builder()
                    .table_name(self.table(key.table))
                    .set_key(Some(key_attributes(key)))
                    .set_condition_expression(expression)
                    .set_expression_attribute_values(values);
                part.delete(delete.build().map_err(unbuilt)?)
            }
            Write::Check(key, on) => {
                let (expression, values) = condition(*on);
                let check = ConditionCheck::builder()
                    .table_name(self.table(key.table))
                    .set_key(Some(key_attributes(key)))
                    .set_condition_expression(expression)
                    .set_expression_attribute_values(values);
                part.condition_check(check.build().map_err(unbuilt)?)
            }
        };
        Ok(part.build())
    }

    async fn read_chunk(&self, keys: Vec<Key>, consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let mut wanted: HashMap<String, Vec<HashMap<String, AttributeValue>>> = HashMap::new();
        let mut tables: HashMap<String, Table> = HashMap::new();
        for key in &keys {
            let name = self.table(key.table);
            wanted.entry(name.clone()).or_default().push(key_attributes(key));
            tables.insert(name, key.table);
        }
        let mut request = HashMap::new();
        for (name, keys) in wanted {
            let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(consistency == Consistency::Strong);
            request.insert(name, keys.build().map_err(refused)?);
        }
        let mut items = Vec::new();
        for round in 0..LEFTOVER_ROUNDS {
            let answer = self
                .client
                .batch_get_item()
                .set_request_items(Some(request))
                .set_return_consumed_capacity(self.wanted_capacity())
                .send()
                .await
                .map_err(|error| translate(&error, first, self.place()))?;
            self.count("BatchGetItem", answer.consumed_capacity());
            for (name, found) in answer.responses.unwrap_or_default() {
                if let Some(table) = tables.get(&name) {
                    for attributes in found {
                        items.push(item(*table, attributes)?);
                    }
                }
            }
            request = answer.unprocessed_keys.unwrap_or_default();
            if request.is_empty() {
                return Ok(items);
            }
            tokio::time::sleep(Duration::from_millis(25 << round)).await;
        }
        Err(StoreError::Busy { source: "keys of a batch read stayed unprocessed".into() })
    }
}

/// The sort keys that a query may answer, and where it starts among them; `None` when it can't answer any.
struct Range {
    expression: &'static str,
    values: Vec<(&'static str, String)>,
    start: Option<String>,
}

impl Range {
    fn of(query: &Query) -> Option<Self> {
        let (from, to) = (query.from.as_str(), query.to.as_str());
        let bounded = !to.is_empty();
        if bounded && from > to {
            return None;
        }
        // A start outside the range is refused by DynamoDB: at or behind the far end nothing is left, before the near end
        // it changes nothing.
        let mut start = None;
        if let Some(after) = query.after.as_deref() {
            let (past, before) = if query.descending {
                (after <= from, bounded && after > to)
            } else {
                (bounded && after >= to, after < from || after.is_empty())
            };
            if past {
                return None;
            }
            if !before {
                start = Some(after.to_owned());
            }
        }
        let mut values = Vec::new();
        let expression = match (from.is_empty(), bounded) {
            (true, false) => "pk = :pk",
            (false, false) => "pk = :pk AND sk >= :from",
            (true, true) => "pk = :pk AND sk <= :to",
            (false, true) => "pk = :pk AND sk BETWEEN :from AND :to",
        };
        if !from.is_empty() {
            values.push((":from", from.to_owned()));
        }
        if bounded {
            values.push((":to", to.to_owned()));
        }
        Some(Self { expression, values, start })
    }
}

impl Store for DynamoStore {
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(self.table(key.table))
            .set_key(Some(key_attributes(key)))
            .consistent_read(consistency == Consistency::Strong)
            .set_return_consumed_capacity(self.wanted_capacity())
            .send()
            .await
            .map_err(|error| translate(&error, key, self.place()))?;
        self.count("GetItem", answer.consumed_capacity());
        answer.item.map(|attributes| item(key.table, attributes)).transpose()
    }

    async fn read_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        // A batch read that names a key twice is refused.
        let keys: Vec<Key> = keys.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let chunks: Vec<Vec<Key>> = keys.chunks(KEYS_PER_READ).map(<[Key]>::to_vec).collect();
        let found: Vec<Vec<Item>> =
            stream::iter(chunks).map(|chunk| self.read_chunk(chunk, consistency)).buffer_unordered(READS_AT_A_TIME).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        let Some(range) = Range::of(query) else { return Ok(Page::default()) };
        let limit = if query.limit == 0 { None } else { Some(i32::try_from(query.limit).unwrap_or(i32::MAX)) };
        let start = range.start.map(|sk| key_attributes(&Key::new(query.table, query.pk.as_str(), sk)));
        let mut request = self
            .client
            .query()
            .table_name(self.table(query.table))
            .key_condition_expression(range.expression)
            .expression_attribute_values(":pk", AttributeValue::S(query.pk.clone()))
            .consistent_read(query.consistency == Consistency::Strong)
            .scan_index_forward(!query.descending)
            .set_limit(limit)
            .set_exclusive_start_key(start)
            .set_return_consumed_capacity(self.wanted_capacity());
        for (name, value) in range.values {
            request = request.expression_attribute_values(name, AttributeValue::S(value));
        }
        let answer =
            request.send().await.map_err(|error| translate(&error, &Key::new(query.table, query.pk.as_str(), ""), self.place()))?;
        self.count("Query", answer.consumed_capacity());
        let next = answer.last_evaluated_key.and_then(|mut key| match key.remove("sk") {
            Some(AttributeValue::S(sk)) => Some(sk),
            _ => None,
        });
        let items = answer.items.unwrap_or_default().into_iter().map(|attributes| item(query.table, attributes));
        Ok(Page { items: items.collect::<Result<_, _>>()?, next })
    }

    async fn scan(&self, scan: &Scan) -> Result<ScanPage, StoreError> {
        let whole = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        if scan.segment >= scan.of {
            return Err(refused(format!("there is no segment {} of {}", scan.segment, scan.of)));
        }
        // One segment is the whole table, which the embedded database reads faster when nobody speaks of segments.
        let several = scan.of > 1;
        let limit = if scan.limit == 0 { None } else { Some(i32::try_from(scan.limit).unwrap_or(i32::MAX)) };
        let answer = self
            .client
            .scan()
            .table_name(self.table(scan.table))
            .set_segment(several.then(|| whole(scan.segment)))
            .set_total_segments(several.then(|| whole(scan.of)))
            .consistent_read(false)
            .set_limit(limit)
            .set_exclusive_start_key(scan.after.as_ref().map(key_attributes))
            .set_return_consumed_capacity(self.wanted_capacity())
            .send()
            .await
            .map_err(|error| translate(&error, &Key::new(scan.table, "", ""), self.place()))?;
        self.count("Scan", answer.consumed_capacity());
        let next = answer.last_evaluated_key.and_then(|mut key| match (key.remove("pk"), key.remove("sk")) {
            (Some(AttributeValue::S(pk)), Some(AttributeValue::S(sk))) => Some(Key::new(scan.table, pk, sk)),
            _ => None,
        });
        let items = answer.items.unwrap_or_default().into_iter().map(|attributes| item(scan.table, attributes));
        Ok(ScanPage { items: items.collect::<Result<_, _>>()?, next })
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Put(item, on) => self.put(&item, on).await,
            Write::Delete(key, on) => self.delete(&key, on).await,
            Write::Check(key, on) => self.check(&key, on).await,
        }
    }

    async fn transact(&self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.len() <= 1 {
            return match writes.pop() {
                Some(write) => self.write(write).await,
                None => Ok(()),
            };
        }
        if writes.len() > WRITES_PER_TRANSACTION {
            return Err(refused(format!("a transaction holds at most {WRITES_PER_TRANSACTION} writes, not {}", writes.len())));
        }
        let mut seen = BTreeSet::new();
        if !writes.iter().all(|write| seen.insert(write.key())) {
            return Err(refused("a transaction names an item twice"));
        }
        let parts = writes.iter().map(|write| self.transacted(write)).collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .client
            .transact_write_items()
            .set_transact_items(Some(parts))
            .set_return_consumed_capacity(self.wanted_capacity())
            .send()
            .await
            .map_err(|error| translate_transaction(&error, &writes, self.place()))?;
        self.count("TransactWriteItems", answer.consumed_capacity());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(query: &Query) -> Option<Option<String>> {
        Range::of(query).map(|range| range.start)
    }

    fn between(from: &str, to: &str, after: &str) -> Query {
        Query::partition(Table::Events, "p").between(from, to).after(Some(after.into()))
    }

    #[test]
    fn a_range_that_ends_before_it_begins_asks_for_nothing() {
        assert!(Range::of(&Query::partition(Table::Events, "p").between("b", "a")).is_none());
    }

    #[test]
    fn a_cursor_inside_the_range_is_where_the_query_starts() {
        assert_eq!(start(&between("b", "y", "m")), Some(Some("m".into())));
        assert_eq!(start(&between("b", "y", "m").descending()), Some(Some("m".into())));
        assert_eq!(start(&between("b", "y", "b")), Some(Some("b".into())));
        assert_eq!(start(&between("b", "y", "y").descending()), Some(Some("y".into())));
    }

    #[test]
    fn a_cursor_before_the_near_end_changes_nothing() {
        assert_eq!(start(&between("b", "y", "a")), Some(None));
        assert_eq!(start(&between("b", "y", "z").descending()), Some(None));
    }

    #[test]
    fn a_cursor_at_or_behind_the_far_end_leaves_nothing() {
        assert_eq!(start(&between("b", "y", "y")), None);
        assert_eq!(start(&between("b", "y", "z")), None);
        assert_eq!(start(&between("b", "y", "b").descending()), None);
        assert_eq!(start(&between("b", "y", "a").descending()), None);
    }
}
