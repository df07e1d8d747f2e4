//! One notification to one destination: its item, the cooldown that it was decided by, and how both are written.

use super::due::{due_item, due_key};
use crate::{
    records::{self, SHARDS, Versioned},
    store::{Condition, Consistency, Item, Key, Store, StoreError, Table, Write},
};
use domain::{
    DestinationId, Home, Timestamp, TriggerId, WorkspaceId, hash64,
    mutant::{Mutant, active},
    transition::Transition,
    trigger::{Fire, FireMode},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// How long the log keeps a delivery, counted from the transition: 90 days.
const KEPT_MS: i64 = 90 * domain::DAY_MS;
/// How long a cooldown is kept after its end, so that it still holds while dead messages may be redriven: 30 days.
const COOLDOWN_KEPT_MS: i64 = 30 * domain::DAY_MS;

/// Names a delivery: the same trigger, account, transition and destination give the same id, whoever makes it and how often. It is what a
/// receiver de-duplicates by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId(String);

impl DeliveryId {
    /// The id: `msg_` and 32 hexadecimal digits of a digest.
    pub fn new(workspace: &WorkspaceId, trigger: &TriggerId, home: &Home, seq: u64, destination: &DestinationId) -> Self {
        let mut hash = Sha256::new();
        let home = home.to_string();
        for part in [workspace.as_str(), trigger.as_str(), &home, &seq.to_string(), destination.as_str()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digits = hex::encode(hash.finalize());
        Self(format!("msg_{}", digits.get(..32).unwrap_or_default()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = domain::IdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix("msg_").unwrap_or_default();
        if digits.len() == 32 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text));
        }
        Err(domain::IdError::Form {
            what: "delivery id",
            expected: "`msg_` and 32 hexadecimal digits",
            got: text.chars().take(64).collect(),
        })
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> String {
        id.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be attempted at a moment.
    Pending {
        /// When.
        next_attempt_at: Timestamp,
    },
    /// Somebody is attempting it. When the moment has passed, that somebody is taken for dead.
    Delivering {
        /// Until when it is left alone.
        until: Timestamp,
    },
    /// The destination took it.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// Every attempt failed.
    Failed {
        /// What the last attempt saw.
        reason: String,
    },
    /// It was not to be sent.
    Suppressed {
        /// Why.
        #[serde(flatten)]
        because: Suppression,
    },
    /// It was given up before its attempts were used up: it can never succeed.
    Dead {
        /// Why.
        reason: String,
    },
}

impl DeliveryState {
    /// The word used in JSON and in filters.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Delivering { .. } => "delivering",
            Self::Delivered { .. } => "delivered",
            Self::Failed { .. } => "failed",
            Self::Suppressed { .. } => "suppressed",
            Self::Dead { .. } => "dead",
        }
    }
}

/// Why a delivery was not to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Suppression {
    /// The trigger fired for this account lately.
    Cooldown {
        /// From when on it fires again.
        until: Timestamp,
    },
    /// The trigger fires once per account, and did.
    Once,
    /// The destination was switched off when the trigger fired.
    DestinationOff,
}

/// One attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// The status of the answer; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, without the destination's secrets; absent when it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The beginning of the answer's body, at most 500 bytes, without the destination's secrets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub response: String,
}

/// One notification to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id, sent with every attempt.
    pub id: DeliveryId,
    /// The trigger that fired.
    pub trigger: TriggerId,
    /// What the trigger was called then.
    #[serde(default)]
    pub trigger_name: String,
    /// Where it goes.
    pub destination: DestinationId,
    /// The account or unresolved lead.
    pub home: Home,
    /// What that was called then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// What it tells, such as `account.level_entered`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The transition that fired the trigger.
    pub transition: Transition,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: DeliveryState,
    /// When the first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_attempt_at: Option<Timestamp>,
    /// How many attempts were begun; one that was never finished counts.
    #[serde(default)]
    pub tries: u32,
    /// What came of the attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What is sent, fixed when the delivery is made. Empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl Delivery {
    /// Its sort key: the transition's moment in milliseconds with 15 digits, `#`, and the id. Newer ones sort later.
    pub fn sort_key(&self) -> String {
        format!("{:015}#{}", self.transition.at.millis().max(0), self.id)
    }

    /// When somebody has to look at it again; `None` when it is finished.
    pub const fn due_at(&self) -> Option<Timestamp> {
        match self.state {
            DeliveryState::Pending { next_attempt_at } => Some(next_attempt_at),
            DeliveryState::Delivering { until } => Some(until),
            _ => None,
        }
    }
}

/// Over which of the [`SHARDS`] partitions the delivery lies.
pub(super) fn shard_of(id: &DeliveryId) -> u64 {
    hash64(&[id.as_str().as_bytes()]) % SHARDS
}

pub(super) fn partition(workspace: &WorkspaceId, shard: u64) -> String {
    format!("{workspace}#D#{shard:02}")
}

/// Reads a delivery's sort key: the transition's moment and the id.
pub(super) fn parse_sort_key(sort_key: &str) -> Option<(Timestamp, DeliveryId)> {
    let (moment, id) = sort_key.split_once('#')?;
    let digits = moment.len() == 15 && moment.bytes().all(|c| c.is_ascii_digit());
    let moment = moment.parse().ok().filter(|_| digits)?;
    Some((Timestamp::from_millis(moment), DeliveryId::try_from(id.to_owned()).ok()?))
}

/// The key of the delivery with this sort key; `None` when no delivery can have it.
pub fn delivery_key(workspace: &WorkspaceId, sort_key: &str) -> Option<Key> {
    let (_, id) = parse_sort_key(sort_key)?;
    Some(Key::new(Table::Deliveries, partition(workspace, shard_of(&id)), sort_key))
}

/// The key of what took a trigger's cooldown for an account.
pub fn cooldown_key(workspace: &WorkspaceId, trigger: &TriggerId, home: &Home) -> Key {
    Key::new(Table::Deliveries, format!("{workspace}#C#{trigger}"), home.to_string())
}

/// Which transition a trigger last fired for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// The transition's sequence number. The same transition passes again.
    pub seq: u64,
    /// The transition's moment, from which the cooldown counts.
    pub at: Timestamp,
}

/// Whether a trigger may fire for a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may, and nothing needs to be noted: it took the cooldown earlier, or there is none.
    Pass,
    /// It may, if it takes the cooldown in the same step.
    Take,
    /// It may not.
    Suppress(Suppression),
}

/// Decides whether a trigger may fire for the transition with this sequence number and moment, given what it last fired for.
///
/// A cooldown counts from transition to transition, so that a late message is judged as it would have been in time. A transition older
/// than the one that took the cooldown stays quiet: the newer one was told.
pub fn verdict(fire: Fire, last: Option<Fired>, seq: u64, at: Timestamp) -> Verdict {
    let Some(last) = last else {
        return if fire.mode == FireMode::Always && fire.cooldown_hours == 0 { Verdict::Pass } else { Verdict::Take };
    };
    if last.seq == seq && !active(Mutant::CooldownTakenApart) {
        return Verdict::Pass;
    }
    let until = last.at.plus_millis(fire.cooldown_ms());
    match fire.mode {
        FireMode::Once => Verdict::Suppress(Suppression::Once),
        FireMode::Always if fire.cooldown_hours == 0 => Verdict::Pass,
        FireMode::Always if at < until => Verdict::Suppress(Suppression::Cooldown { until }),
        FireMode::Always => Verdict::Take,
    }
}

/// What came of writing new deliveries.
#[derive(Debug)]
pub enum Created {
    /// They are there, in the order given.
    Written(Vec<Versioned<Delivery>>),
    /// Somebody else wrote one of them or took the cooldown: read again and decide anew.
    Conflict,
}

/// The deliveries of all workspaces, their due items and cooldowns.
#[derive(Debug)]
pub struct Deliveries<S> {
    pub(super) store: S,
}

fn item(key: Key, version: u64, delivery: &Delivery) -> Result<Item, StoreError> {
    let expires_at = Some(delivery.transition.at.plus_millis(KEPT_MS));
    Ok(Item { body: records::text(&key, delivery)?, key, version, expires_at })
}

pub(super) fn read(item: &Item) -> Result<Versioned<Delivery>, StoreError> {
    Ok(Versioned { version: item.version, record: records::from_item(item)? })
}

impl<S: Store> Deliveries<S> {
    /// Over this store.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    fn key(workspace: &WorkspaceId, delivery: &Delivery) -> Key {
        Key::new(Table::Deliveries, partition(workspace, shard_of(&delivery.id)), delivery.sort_key())
    }

    /// The delivery with this sort key, strongly consistent. `None` when there is none or the sort key has another form.
    pub async fn find(&self, workspace: &WorkspaceId, sort_key: &str) -> Result<Option<Versioned<Delivery>>, StoreError> {
        match delivery_key(workspace, sort_key) {
            Some(key) => self.store.read(&key, Consistency::Strong).await?.as_ref().map(read).transpose(),
            None => Ok(None),
        }
    }

    /// Those of the deliveries that are there, strongly consistent, in no order.
    pub async fn find_many(&self, workspace: &WorkspaceId, sort_keys: &[String]) -> Result<Vec<Versioned<Delivery>>, StoreError> {
        let keys: Vec<Key> = sort_keys.iter().filter_map(|sort_key| delivery_key(workspace, sort_key)).collect();
        self.store.read_many(&keys, Consistency::Strong).await?.iter().map(read).collect()
    }

    /// What a trigger last fired for at an account, strongly consistent; version 0 when it never did.
    pub async fn last_fired(
        &self,
        workspace: &WorkspaceId,
        trigger: &TriggerId,
        home: &Home,
    ) -> Result<Versioned<Option<Fired>>, StoreError> {
        match self.store.read(&cooldown_key(workspace, trigger, home), Consistency::Strong).await? {
            Some(item) => Ok(Versioned { version: item.version, record: Some(records::from_item(&item)?) }),
            None => Ok(Versioned { version: 0, record: None }),
        }
    }

    /// Writes new deliveries of one trigger, account and transition, their due items, and, when `take` holds what was read of it, the
    /// cooldown: all or nothing. At most 20 deliveries.
    pub async fn create(
        &self,
        workspace: &WorkspaceId,
        take: Option<(Fire, Versioned<Option<Fired>>)>,
        deliveries: Vec<Delivery>,
    ) -> Result<Created, StoreError> {
        let Some(first) = deliveries.first() else {
            return Ok(Created::Written(Vec::new()));
        };
        let mut writes = Vec::new();
        if let Some((fire, before)) = take {
            let key = cooldown_key(workspace, &first.trigger, &first.home);
            let fired = Fired { seq: first.transition.seq, at: first.transition.at };
            let expires_at = match fire.mode {
                FireMode::Once => None,
                FireMode::Always => Some(fired.at.plus_millis(fire.cooldown_ms().saturating_add(COOLDOWN_KEPT_MS))),
            };
            let condition = if before.version == 0 { Condition::Absent } else { Condition::Version(before.version) };
            let body = records::text(&key, &fired)?;
            writes.push(Write::Put(Item { key, version: before.version.saturating_add(1), body, expires_at }, condition));
        }
        if active(Mutant::CooldownTakenApart) && !writes.is_empty() {
            self.store.transact(std::mem::take(&mut writes)).await?;
        }
        for delivery in &deliveries {
            writes.push(Write::Put(item(Self::key(workspace, delivery), 1, delivery)?, Condition::Absent));
            if let Some(at) = delivery.due_at() {
                writes.push(Write::Put(due_item(due_key(workspace, &delivery.id, &delivery.sort_key(), at))?, Condition::Always));
            }
        }
        match self.store.transact(writes).await {
            Ok(()) => Ok(Created::Written(deliveries.into_iter().map(|record| Versioned { version: 1, record }).collect())),
            Err(error) if error.is_conflict() => Ok(Created::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Writes a changed delivery over the version that it was read with, and moves or removes its due item in the same step. A conflict
    /// when somebody else changed it.
    pub async fn save(
        &self,
        workspace: &WorkspaceId,
        before: &Versioned<Delivery>,
        after: Delivery,
    ) -> Result<Versioned<Delivery>, StoreError> {
        let version = before.version.saturating_add(1);
        let mut writes = vec![Write::Put(item(Self::key(workspace, &after), version, &after)?, Condition::Version(before.version))];
        if before.record.due_at() != after.due_at() {
            let due = |at| due_key(workspace, &after.id, &after.sort_key(), at);
            if let Some(at) = before.record.due_at() {
                writes.push(Write::Delete(due(at), Condition::Always));
            }
            if let Some(at) = after.due_at() {
                writes.push(Write::Put(due_item(due(at))?, Condition::Always));
            }
        }
        match (writes.len(), writes.pop()) {
            (1, Some(only)) => self.store.write(only).await?,
            (_, last) => {
                writes.extend(last);
                self.store.transact(writes).await?;
            }
        }
        Ok(Versioned { version, record: after })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use domain::{AccountId, DAY_MS, transition::Changed};
    use std::sync::Arc;

    pub(in crate::notify) fn delivery(account: &str, at: i64, seq: u64, destination: &str, state: DeliveryState) -> Delivery {
        let home = Home::Account(AccountId::new(account).unwrap());
        let (trigger, destination) = (TriggerId::new("trg_1").unwrap(), DestinationId::new(destination).unwrap());
        Delivery {
            id: DeliveryId::new(&main(), &trigger, &home, seq, &destination),
            trigger,
            trigger_name: "New Targets".into(),
            destination,
            home,
            account_name: None,
            kind: "account.level_entered".into(),
            transition: Transition {
                seq,
                at: Timestamp::from_millis(at),
                change: Changed::AccountLevel { from: None, to: "target".into() },
                cause: String::new(),
                silent: false,
            },
            created_at: Timestamp::from_millis(at),
            state,
            first_attempt_at: None,
            tries: 0,
            attempts: Vec::new(),
            body: "{}".into(),
        }
    }

    pub(in crate::notify) fn main() -> WorkspaceId {
        WorkspaceId::new("main").unwrap()
    }

    fn pending(at: i64) -> DeliveryState {
        DeliveryState::Pending { next_attempt_at: Timestamp::from_millis(at) }
    }

    async fn due(deliveries: &Deliveries<Arc<MemoryStore>>, now: i64) -> Vec<(String, i64)> {
        let mut due = Vec::new();
        for shard in 0..SHARDS {
            for found in deliveries.due_deliveries(shard, Timestamp::from_millis(now), 100).await.unwrap() {
                due.push((found.delivery, found.at.millis()));
            }
        }
        due
    }

    #[test]
    fn the_id_says_what_it_is_of_and_nothing_else() {
        let base = delivery("acme-looms.com", 5, 1, "a", pending(5)).id;
        assert_eq!(delivery("acme-looms.com", 9, 1, "a", DeliveryState::Delivered { at: Timestamp::default() }).id, base);
        for other in [
            delivery("other-looms.com", 5, 1, "a", pending(5)),
            delivery("acme-looms.com", 5, 2, "a", pending(5)),
            delivery("acme-looms.com", 5, 1, "b", pending(5)),
        ] {
            assert_ne!(other.id, base);
        }
        assert_eq!(base.as_str().len(), 36);
        assert!(DeliveryId::try_from("msg_XYZ".to_owned()).is_err());
    }

    #[test]
    fn sort_keys_of_another_form_name_nothing() {
        let good = delivery("a", 5, 1, "a", pending(5)).sort_key();
        assert!(delivery_key(&main(), &good).is_some());
        for bad in ["", "#", "5#msg_0", &good.replace("msg_", "msg-"), &format!("+{}", good.get(1..).unwrap()), &format!("{good}0")] {
            assert!(delivery_key(&main(), bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_delivery_reads_back_with_its_state_beside_it() {
        for state in [
            pending(5),
            DeliveryState::Suppressed { because: Suppression::Cooldown { until: Timestamp::from_millis(9) } },
            DeliveryState::Suppressed { because: Suppression::Once },
            DeliveryState::Dead { reason: "410".into() },
        ] {
            let delivery = delivery("a", 5, 1, "a", state.clone());
            let text = serde_json::to_value(&delivery).unwrap();
            assert_eq!(text.get("state").and_then(|s| s.as_str()), Some(state.as_str()));
            assert_eq!(serde_json::from_value::<Delivery>(text).unwrap(), delivery);
        }
    }

    #[test]
    fn a_cooldown_holds_for_its_hours_and_lets_the_same_transition_pass() {
        let week = Fire::default();
        let last = Some(Fired { seq: 4, at: Timestamp::from_millis(1_000) });
        let at = |ms: i64| Timestamp::from_millis(1_000 + ms);
        assert_eq!(verdict(week, None, 4, at(0)), Verdict::Take);
        assert_eq!(verdict(week, last, 4, at(0)), Verdict::Pass);
        let until = at(7 * DAY_MS);
        assert_eq!(verdict(week, last, 5, at(7 * DAY_MS - 1)), Verdict::Suppress(Suppression::Cooldown { until }));
        assert_eq!(verdict(week, last, 5, until), Verdict::Take);
        assert_eq!(verdict(week, last, 3, at(-DAY_MS)), Verdict::Suppress(Suppression::Cooldown { until }));
        let once = Fire { mode: FireMode::Once, cooldown_hours: 0 };
        assert_eq!(verdict(once, None, 4, at(0)), Verdict::Take);
        assert_eq!(verdict(once, last, 4, at(0)), Verdict::Pass);
        assert_eq!(verdict(once, last, 5, at(400 * DAY_MS)), Verdict::Suppress(Suppression::Once));
        let every = Fire { mode: FireMode::Always, cooldown_hours: 0 };
        assert_eq!((verdict(every, None, 4, at(0)), verdict(every, last, 5, at(0))), (Verdict::Pass, Verdict::Pass));
    }

    #[tokio::test]
    async fn exactly_one_of_two_transitions_takes_the_cooldown() {
        let deliveries = Deliveries::new(Arc::new(MemoryStore::default()));
        let (one, two) = (delivery("a", 5, 1, "d", pending(5)), delivery("a", 6, 2, "d", pending(6)));
        let before = deliveries.last_fired(&main(), &one.trigger, &one.home).await.unwrap();
        let take = || Some((Fire::default(), before.clone()));
        assert!(matches!(deliveries.create(&main(), take(), vec![one.clone()]).await.unwrap(), Created::Written(_)));
        assert!(matches!(deliveries.create(&main(), take(), vec![two.clone()]).await.unwrap(), Created::Conflict));
        assert!(deliveries.find(&main(), &two.sort_key()).await.unwrap().is_none());
        let fired = deliveries.last_fired(&main(), &one.trigger, &one.home).await.unwrap();
        assert_eq!((fired.version, fired.record.map(|fired| fired.seq)), (1, Some(1)));
    }

    #[tokio::test]
    async fn the_due_item_moves_with_the_delivery_and_goes_when_it_is_finished() {
        let store = Arc::new(MemoryStore::default());
        let deliveries = Deliveries::new(Arc::clone(&store));
        let new = delivery("a", 5, 1, "d", pending(1_000));
        let sort_key = new.sort_key();
        let Created::Written(written) = deliveries.create(&main(), None, vec![new]).await.unwrap() else { panic!("written") };
        assert_eq!(due(&deliveries, 999).await, []);
        assert_eq!(due(&deliveries, 1_000).await, [(sort_key.clone(), 1_000)]);
        let moved = Delivery { state: pending(2_000), ..written[0].record.clone() };
        let saved = deliveries.save(&main(), &written[0], moved).await.unwrap();
        assert!(deliveries.save(&main(), &written[0], written[0].record.clone()).await.unwrap_err().is_conflict());
        assert_eq!(due(&deliveries, 1_999).await, []);
        assert_eq!(due(&deliveries, 2_000).await, [(sort_key, 2_000)]);
        let done = Delivery { state: DeliveryState::Delivered { at: Timestamp::from_millis(2_000) }, ..saved.record.clone() };
        deliveries.save(&main(), &saved, done).await.unwrap();
        assert_eq!(due(&deliveries, i64::MAX).await, []);
        assert_eq!(store.dump().len(), 1);
    }

    #[tokio::test]
    async fn a_leased_due_delivery_is_not_enqueued_twice() {
        let deliveries = Deliveries::new(Arc::new(MemoryStore::default()));
        let new = delivery("a", 5, 1, "d", pending(1_000));
        let shard = shard_of(&new.id);
        deliveries.create(&main(), None, vec![new]).await.unwrap();
        let at = Timestamp::from_millis;
        let found = deliveries.due_deliveries(shard, at(1_000), 10).await.unwrap();
        assert!(deliveries.lease_due(&found[0], at(5_000)).await.unwrap());
        assert!(!deliveries.lease_due(&found[0], at(5_000)).await.unwrap());
        assert!(deliveries.due_deliveries(shard, at(4_999), 10).await.unwrap().is_empty());
        assert_eq!(deliveries.due_deliveries(shard, at(5_000), 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_due_item_without_its_delivery_is_removed() {
        let store = Arc::new(MemoryStore::default());
        let deliveries = Deliveries::new(Arc::clone(&store));
        let new = delivery("a", 5, 1, "d", pending(1_000));
        let sort_key = new.sort_key();
        deliveries.create(&main(), None, vec![new]).await.unwrap();
        store.write(Write::Delete(delivery_key(&main(), &sort_key).unwrap(), Condition::Always)).await.unwrap();
        let other = WorkspaceId::new("other").unwrap();
        assert_eq!(deliveries.remove_orphan_due(&other, &sort_key, Timestamp::from_millis(1_000)).await.unwrap(), 0);
        assert_eq!(deliveries.remove_orphan_due(&main(), &sort_key, Timestamp::from_millis(1_000)).await.unwrap(), 1);
        assert!(store.dump().is_empty());
    }
}
