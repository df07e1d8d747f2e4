//! What events state of accounts that they name, read again by a mapping that is being applied.
//!
//! Such facts lie with the account and not with an identity, and no account knows which identities named it. So a job goes three times over the
//! homes: it sets apart what accounts hold from events ([`set_apart`]), reads every identity's parcels and collects what they state beside each account
//! ([`collect`]), and puts that in the place of what was set apart ([`replace`]). What was set apart counts until then, and events that come
//! meanwhile are merged as ever: so no account ever lacks what is known of it, and whoever gives up half-way leaves a sound account behind. Every step
//! is harmless to do again.
//!
//! | Table | Partition | Sort key | Holds |
//! |---|---|---|---|
//! | accounts | `{workspace}#H#{home}` | `M#{job}` | what parcels state of the account by the new mapping; gone when the job is done, at the latest after 30 days |

use crate::{
    homes::{HomeStore, put_due, put_record, unchanged},
    records::{OWN_FIELDS, OwnFields, from_item, home_key, text},
    store::{Condition, Consistency, Item, Key, Store, StoreError, Write},
};
use domain::{
    AccountId, DAY_MS, Event, Home, JobId, NamedAccount, NamedBy, Timestamp, WorkspaceId, engagement::EventView, facts::field_facts,
    field::FieldFacts, mail::WebDomain, mapping::AccountMapping,
};
use std::collections::BTreeMap;

/// How often a write is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 12;
/// How long what was collected for a job that never ended is kept.
const COLLECTED_LIFE_MS: i64 = 30 * DAY_MS;

/// What events state of the accounts that they name.
#[derive(Debug, Clone, Default)]
pub struct Stated(BTreeMap<(AccountId, bool), FieldFacts>);

impl Stated {
    /// Adds what these events state.
    pub fn add(&mut self, events: &[Event], mapping: &AccountMapping) {
        for event in events {
            let Some(named) = &event.account else { continue };
            for stated in field_facts(event, &mut EventView::new(event), mapping) {
                let of = self.0.entry((named.id.clone(), named.by == NamedBy::AccountEvent)).or_default();
                of.merge(&stated.field, stated.fact, stated.keep);
            }
        }
    }

    /// Adds what other events state.
    pub fn merge(&mut self, other: Self) {
        for (named, facts) in other.0 {
            self.0.entry(named).or_default().merge_all(&facts);
        }
    }

    /// The same by the accounts that are meant: an account event may name a web domain, which stands for the account that owns it.
    pub async fn by_account<S: Store>(
        self,
        homes: &HomeStore<S>,
        workspace: &WorkspaceId,
    ) -> Result<BTreeMap<AccountId, FieldFacts>, StoreError> {
        let mut meant: BTreeMap<AccountId, FieldFacts> = BTreeMap::new();
        for ((id, by_account_event), facts) in self.0 {
            let by = if by_account_event { NamedBy::AccountEvent } else { NamedBy::AccountId };
            let account = meant_by(homes, workspace, NamedAccount { id, by }).await?;
            meant.entry(account).or_default().merge_all(&facts);
        }
        Ok(meant)
    }
}

async fn meant_by<S: Store>(homes: &HomeStore<S>, workspace: &WorkspaceId, named: NamedAccount) -> Result<AccountId, StoreError> {
    let domain = WebDomain::from_url(named.id.as_str()).filter(|domain| domain.as_str() == named.id.as_str() && domain.is_corporate());
    if named.by == NamedBy::AccountEvent
        && let Some(domain) = domain
        && let Some(claim) = homes.domain_claim(workspace, domain.as_str(), Consistency::Strong).await?
    {
        return Ok(claim.record.account);
    }
    Ok(named.id)
}

/// Sets apart what an account holds from events. It counts as before, and whatever events state from now on is beside it.
pub async fn set_apart<S: Store>(homes: &HomeStore<S>, workspace: &WorkspaceId, account: &AccountId) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS {
        let own = homes.own_fields(workspace, account).await?;
        let (others, of_events) = own.record.facts.apart();
        if of_events.is_empty() {
            return Ok(());
        }
        let mut next = OwnFields { facts: others, ..own.record };
        next.set_apart.merge_all(&of_events);
        match homes.store().write(put_record(own_key(workspace, account), own.version, &next)?).await {
            Err(e) if e.is_conflict() => {}
            other => return other,
        }
    }
    Err(busy())
}

/// Notes what events state of an account by the new mapping.
pub async fn collect<S: Store>(
    homes: &HomeStore<S>,
    workspace: &WorkspaceId,
    job: &JobId,
    account: &AccountId,
    facts: &FieldFacts,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = collected_key(workspace, account, job);
    for _ in 0..ATTEMPTS {
        let (version, mut collected) = read_collected(homes.store(), &key).await?;
        if !collected.merge_all(facts) {
            return Ok(());
        }
        let body = text(&key, &collected)?;
        let expires_at = Some(now.plus_millis(COLLECTED_LIFE_MS));
        let item = Item { key: key.clone(), version: version.saturating_add(1), body, expires_at };
        match homes.store().write(Write::Put(item, unchanged(version))).await {
            Err(e) if e.is_conflict() => {}
            other => return other,
        }
    }
    Err(busy())
}

/// Puts what was collected in the place of what was set apart. What was stated before the log begins can't be read again and stays. Tells whether
/// the account holds something else since then; then it is due.
pub async fn replace<S: Store>(
    homes: &HomeStore<S>,
    workspace: &WorkspaceId,
    job: &JobId,
    account: &AccountId,
    log_begins: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = collected_key(workspace, account, job);
    for _ in 0..ATTEMPTS {
        let own = homes.own_fields(workspace, account).await?;
        let (version, collected) = read_collected(homes.store(), &key).await?;
        if version == 0 && own.record.set_apart.is_empty() {
            return Ok(false);
        }
        let before = own.record.all();
        let mut next = OwnFields { set_apart: FieldFacts::new(), ..own.record.clone() };
        next.facts.merge_all(&collected);
        next.facts.merge_all(&own.record.set_apart.before(log_begins));
        let changed = next.facts != before;
        let mut writes = vec![put_record(own_key(workspace, account), own.version, &next)?];
        if version > 0 {
            writes.push(Write::Delete(key.clone(), Condition::Version(version)));
        }
        if changed {
            writes.push(put_due(workspace, &Home::Account(account.clone()), now, 0)?);
        }
        match homes.store().transact(writes).await {
            Err(e) if e.is_conflict() => {}
            other => return other.map(|()| changed),
        }
    }
    Err(busy())
}

fn own_key(workspace: &WorkspaceId, account: &AccountId) -> Key {
    home_key(workspace, &Home::Account(account.clone()), OWN_FIELDS)
}

fn collected_key(workspace: &WorkspaceId, account: &AccountId, job: &JobId) -> Key {
    home_key(workspace, &Home::Account(account.clone()), &format!("{OWN_FIELDS}#{job}"))
}

async fn read_collected<S: Store>(store: &S, key: &Key) -> Result<(u64, FieldFacts), StoreError> {
    match store.read(key, Consistency::Strong).await? {
        Some(item) => Ok((item.version, from_item(&item)?)),
        None => Ok((0, FieldFacts::new())),
    }
}

fn busy() -> StoreError {
    StoreError::Busy { source: "somebody else wrote the account's fields at every attempt".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use domain::field::{FieldFact, FieldName, FieldSource, FieldValue, Keep};
    use std::sync::Arc;

    fn facts(stated: &[(&str, &str, i64, FieldSource)]) -> FieldFacts {
        let mut facts = FieldFacts::new();
        for (name, value, at, source) in stated {
            let tie = if *source == FieldSource::Manual { 0 } else { at.unsigned_abs() };
            let value = Some(FieldValue::Text((*value).to_owned()));
            let fact = FieldFact { value, at: Timestamp::from_millis(*at), tie, source: *source };
            facts.merge(&FieldName::new(name).unwrap(), fact, Keep::Latest);
        }
        facts
    }

    fn shown(facts: &FieldFacts) -> Vec<String> {
        facts.winners().map(|(name, winner)| format!("{name} {} by {}", winner.value, winner.source.as_str())).collect()
    }

    #[tokio::test]
    async fn what_events_stated_is_replaced_and_nobody_sees_the_account_without_it() {
        use FieldSource::{Group, Manual};
        let homes = HomeStore::new(Arc::new(MemoryStore::default()));
        let (main, account) = (WorkspaceId::new("main").unwrap(), AccountId::new("acct_7").unwrap());
        let job = JobId::new("job_1").unwrap();
        let (now, begins) = (Timestamp::from_millis(10_000), Timestamp::from_millis(100));
        let stated =
            [("employees", "12", 500, Manual), ("plan", "pro", 300, Group), ("size", "old", 400, Group), ("city", "Oslo", 50, Group)];
        let own = OwnFields { facts: facts(&stated), fresh: 3, ..OwnFields::default() };
        homes.store().write(put_record(own_key(&main, &account), 0, &own).unwrap()).await.unwrap();
        let read = async || homes.own_fields(&main, &account).await.unwrap().record;
        let before = shown(&read().await.all());

        for _ in 0..2 {
            set_apart(&homes, &main, &account).await.unwrap();
            assert_eq!(
                (shown(&read().await.all()), shown(&read().await.facts)),
                (before.clone(), vec!["employees 12 by manual".to_owned()])
            );
        }
        // An event comes meanwhile; and two states' worth is collected, one of them twice.
        let mut own = homes.own_fields(&main, &account).await.unwrap();
        own.record.facts.merge_all(&facts(&[("plan", "max", 350, Group)]));
        homes.store().write(put_record(own_key(&main, &account), own.version, &own.record).unwrap()).await.unwrap();
        for read_again in [&[("seats", "40", 300, Group)], &[("plan", "pro", 300, Group)], &[("seats", "40", 300, Group)]] {
            collect(&homes, &main, &job, &account, &facts(read_again), now).await.unwrap();
        }
        assert_eq!(shown(&read().await.all()), ["city Oslo by group", "employees 12 by manual", "plan max by group", "size old by group"]);

        assert!(replace(&homes, &main, &job, &account, begins, now).await.unwrap());
        // What no entry states any more is gone; what is older than the log stays.
        let after = ["city Oslo by group", "employees 12 by manual", "plan max by group", "seats 40 by group"];
        assert_eq!(
            (shown(&read().await.facts), shown(&read().await.all()), read().await.fresh),
            (after.map(str::to_owned).into(), after.map(str::to_owned).into(), 3)
        );
        assert!(!replace(&homes, &main, &job, &account, begins, now).await.unwrap());
        let left: Vec<String> = homes.store().dump().into_iter().map(|item| item.key.sk).filter(|sk| sk.starts_with("M#")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
