//! Fields of accounts that events name outright. They are the account's own and stay with it when a lead moves on.

use crate::{Resolver, Touched, Work};
use domain::{
    AccountId, Home, NamedAccount, Shards,
    engagement::EventView,
    facts::{StatedField, field_facts},
    model::Model,
};
use pipeline::{
    AccountTouched, Clock, Queue, StageError, Store,
    homes::put_record,
    records::{OWN_FIELDS, home_key},
};
use std::collections::BTreeMap;

const ATTEMPTS: usize = 12;

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Resolver<S, Q, C> {
    /// Merges what the parcels say about named accounts. Merging the same again changes nothing.
    pub(crate) async fn merge_own_fields(&self, work: &Work, model: &Model, touched: &mut Touched) -> Result<(), StageError> {
        let mut stated: BTreeMap<AccountId, (NamedAccount, Vec<StatedField>, u64)> = BTreeMap::new();
        for event in work.parcels.values().flatten() {
            let Some(named) = &event.account else { continue };
            let facts = field_facts(event, &mut EventView::new(event), &model.document.mapping);
            if !facts.is_empty() {
                let entry = stated.entry(named.id.clone()).or_insert_with(|| (named.clone(), Vec::new(), 0));
                entry.1.extend(facts);
                entry.2 += u64::from(event.is_fresh());
            }
        }
        for (named, facts, fresh) in stated.into_values() {
            let account = self.named_account(&work.workspace, &named, self.now()).await?;
            self.merge_fields(work, &account, facts, fresh).await?;
            // The account's own fields are in no shard.
            touched.add(Home::Account(account), Shards::NONE);
        }
        Ok(())
    }

    async fn merge_fields(&self, work: &Work, account: &AccountId, facts: Vec<StatedField>, fresh: u64) -> Result<(), StageError> {
        let key = home_key(&work.workspace, &Home::Account(account.clone()), OWN_FIELDS);
        for _ in 0..ATTEMPTS {
            let mut own = self.homes.own_fields(&work.workspace, account).await?;
            let before = own.record.facts.clone();
            for stated in &facts {
                own.record.facts.merge(&stated.field, stated.fact.clone(), stated.keep);
            }
            if own.record.facts == before {
                return Ok(());
            }
            own.record.fresh = own.record.fresh.saturating_add(fresh);
            match self.homes.store().write(put_record(key.clone(), own.version, &own.record)?).await {
                Err(e) if e.is_conflict() => {}
                other => return Ok(other?),
            }
        }
        Err(StageError::retry("the account's fields were changed by others at every attempt"))
    }
}
