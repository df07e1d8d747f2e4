//! The delivery log, newest first over all shards.

use super::{
    Deliveries, Delivery,
    delivery::{parse_sort_key, partition, read},
};
use crate::{
    records::SHARDS,
    store::{Query, Store, StoreError, Table},
};
use domain::{DestinationId, Home, TriggerId, WorkspaceId};
use futures::future::try_join_all;
use std::collections::VecDeque;

/// How many deliveries one call looks at before it answers with what it has, so that a rare filter can't make it read everything.
const LOOKED_AT: usize = 2_000;

/// Which deliveries are listed; what is absent is not filtered by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this trigger.
    pub trigger: Option<TriggerId>,
    /// To this destination.
    pub destination: Option<DestinationId>,
    /// About this account or unresolved lead.
    pub home: Option<Home>,
    /// In this state, by its word such as `failed`.
    pub state: Option<String>,
}

impl DeliveryFilter {
    fn admits(&self, delivery: &Delivery) -> bool {
        self.trigger.as_ref().is_none_or(|trigger| *trigger == delivery.trigger)
            && self.destination.as_ref().is_none_or(|destination| *destination == delivery.destination)
            && self.home.as_ref().is_none_or(|home| *home == delivery.home)
            && self.state.as_deref().is_none_or(|state| state == delivery.state.as_str())
    }
}

/// One page of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<Delivery>,
    /// Where the next page begins; `None` at the end. A page may hold less than asked for and still have a next one.
    pub next: Option<String>,
}

struct Shard {
    query: Query,
    waiting: VecDeque<(String, Delivery)>,
    exhausted: bool,
}

impl Shard {
    async fn fill<S: Store>(&mut self, store: &S, before: Option<&str>) -> Result<(), StoreError> {
        while self.waiting.is_empty() && !self.exhausted {
            let page = store.query(&self.query).await?;
            for item in &page.items {
                // The bound is inclusive, the cursor's own delivery was on the page before.
                if before.is_none_or(|before| item.key.sk.as_str() < before) {
                    self.waiting.push_back((item.key.sk.clone(), read(item)?.record));
                }
            }
            self.exhausted = page.next.is_none();
            self.query.after = page.next;
        }
        Ok(())
    }
}

impl<S: Store> Deliveries<S> {
    /// Lists deliveries, newest transition first, from the beginning or from the `next` of a page. A cursor that no page gave is taken
    /// as the beginning. `limit` is kept within 1 and 500.
    pub async fn list(
        &self,
        workspace: &WorkspaceId,
        filter: &DeliveryFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<DeliveryPage, StoreError> {
        let limit = limit.clamp(1, 500);
        let before = cursor.filter(|cursor| parse_sort_key(cursor).is_some());
        let mut shards: Vec<Shard> = (0..SHARDS)
            .map(|shard| {
                let query = Query::partition(Table::Deliveries, partition(workspace, shard))
                    .between(String::new(), before.unwrap_or_default())
                    .descending()
                    .limit((limit / 4).max(8));
                Shard { query, waiting: VecDeque::new(), exhausted: false }
            })
            .collect();
        let mut page = DeliveryPage::default();
        let mut looked_at = 0;
        loop {
            try_join_all(shards.iter_mut().map(|shard| shard.fill(&self.store, before))).await?;
            let newest = shards.iter_mut().max_by(|a, b| {
                let head = |shard: &Shard| shard.waiting.front().map(|(sort_key, _)| sort_key.clone());
                head(a).cmp(&head(b))
            });
            let Some((sort_key, delivery)) = newest.and_then(|shard| shard.waiting.pop_front()) else {
                page.next = None;
                return Ok(page);
            };
            looked_at += 1;
            if filter.admits(&delivery) {
                if page.deliveries.len() == limit {
                    // One more is known to exist: the next page begins with it.
                    return Ok(page);
                }
                page.deliveries.push(delivery);
            }
            page.next = Some(sort_key);
            if looked_at >= LOOKED_AT {
                return Ok(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::MemoryStore,
        notify::{
            DeliveryState,
            delivery::tests::{delivery, main},
        },
    };
    use domain::{AccountId, Timestamp};
    use std::sync::Arc;

    fn account(number: usize) -> String {
        format!("account-{number}")
    }

    #[tokio::test]
    async fn pages_hold_every_delivery_once_newest_first() {
        let deliveries = Deliveries::new(Arc::new(MemoryStore::default()));
        // 100 deliveries, four in each millisecond.
        for n in 0..100 {
            let state = if n % 10 == 0 {
                DeliveryState::Failed { reason: "503".into() }
            } else {
                DeliveryState::Delivered { at: Timestamp::default() }
            };
            let new = delivery(&account(n % 5), 1_000 + n as i64 / 4, n as u64, "d", state);
            deliveries.create(&main(), None, vec![new]).await.unwrap();
        }
        for limit in [1, 7, 33, 99, 100, 500] {
            let (mut cursor, mut seen) = (None, Vec::new());
            loop {
                let page = deliveries.list(&main(), &DeliveryFilter::default(), cursor.as_deref(), limit).await.unwrap();
                assert!(page.deliveries.len() <= limit);
                seen.extend(page.deliveries.iter().map(Delivery::sort_key));
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen.len(), 100, "limit {limit}");
            assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
        }
        let other = WorkspaceId::new("other").unwrap();
        assert_eq!(deliveries.list(&other, &DeliveryFilter::default(), None, 50).await.unwrap(), DeliveryPage::default());
    }

    #[tokio::test]
    async fn filters_choose_by_trigger_account_and_state() {
        let deliveries = Deliveries::new(Arc::new(MemoryStore::default()));
        for n in 0..20 {
            let state = if n % 2 == 0 {
                DeliveryState::Failed { reason: "503".into() }
            } else {
                DeliveryState::Delivered { at: Timestamp::default() }
            };
            deliveries.create(&main(), None, vec![delivery(&account(n % 4), 1_000, n as u64, "d", state)]).await.unwrap();
        }
        let count = async |filter: DeliveryFilter| deliveries.list(&main(), &filter, Some("nonsense"), 500).await.unwrap().deliveries.len();
        let home = Some(Home::Account(AccountId::new("account-0").unwrap()));
        assert_eq!(count(DeliveryFilter { state: Some("failed".into()), ..DeliveryFilter::default() }).await, 10);
        assert_eq!(count(DeliveryFilter { home: home.clone(), ..DeliveryFilter::default() }).await, 5);
        assert_eq!(count(DeliveryFilter { home, state: Some("delivered".into()), ..DeliveryFilter::default() }).await, 0);
        assert_eq!(count(DeliveryFilter { trigger: TriggerId::new("trg_2").ok(), ..DeliveryFilter::default() }).await, 0);
        assert_eq!(
            count(DeliveryFilter {
                trigger: TriggerId::new("trg_1").ok(),
                destination: DestinationId::new("d").ok(),
                ..DeliveryFilter::default()
            })
            .await,
            20
        );
    }
}
