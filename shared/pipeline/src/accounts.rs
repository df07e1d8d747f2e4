//! Accounts made on first sight, and who owns a web domain: by events as well as by people's decisions.

use crate::{
    homes::{HomeStore, put_record},
    records::{ACCOUNT, AccountOrigin, AccountRecord, DomainClaim, domain_key, home_key},
    store::{Consistency, Key, Store, StoreError},
};
use domain::{AccountId, Home, Timestamp, WorkspaceId, mail::WebDomain};
use std::collections::BTreeMap;

/// Where an account's record is kept.
pub fn account_key(workspace: &WorkspaceId, account: &AccountId) -> Key {
    home_key(workspace, &Home::Account(account.clone()), ACCOUNT)
}

/// An account of which nothing is known yet.
pub fn new_account(account: &AccountId, origin: AccountOrigin, domains: Vec<String>, now: Timestamp) -> AccountRecord {
    AccountRecord {
        id: account.clone(),
        origin,
        created_at: now,
        domains,
        external_ids: BTreeMap::new(),
        merged_into: None,
        members: Vec::new(),
        owner: None,
        owner_by: None,
        tier: None,
        priority: None,
    }
}

/// A lost race is success for whoever only wants the item to be there.
pub fn or_there(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.is_conflict() => Ok(()),
        other => other,
    }
}

impl<S: Store> HomeStore<S> {
    /// Makes sure that an account is stored.
    pub async fn ensure_account(
        &self,
        workspace: &WorkspaceId,
        account: &AccountId,
        origin: AccountOrigin,
        domains: Vec<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.account(workspace, account, Consistency::Eventual).await?.is_some() {
            return Ok(());
        }
        let record = new_account(account, origin, domains, now);
        or_there(self.store().write(put_record(account_key(workspace, account), 0, &record)?).await)
    }

    /// The account that owns a company's web domain; made, under the domain as its id, when nobody does.
    pub async fn domain_owner(&self, workspace: &WorkspaceId, domain: &WebDomain, now: Timestamp) -> Result<AccountId, StoreError> {
        if let Some(claim) = self.domain_claim(workspace, domain.as_str(), Consistency::Strong).await? {
            return Ok(claim.record.account);
        }
        let account = AccountId::new(domain.as_str()).map_err(|e| StoreError::Refused { source: Box::new(e) })?;
        self.ensure_account(workspace, &account, AccountOrigin::Domain, vec![domain.as_str().to_owned()], now).await?;
        let made = DomainClaim { account: account.clone(), origin: AccountOrigin::Domain, at: now };
        or_there(self.store().write(put_record(domain_key(workspace, domain.as_str()), 0, &made)?).await)?;
        // Somebody else may have been faster, for another account.
        let claim = self.domain_claim(workspace, domain.as_str(), Consistency::Strong).await?;
        Ok(claim.map_or(account, |claim| claim.record.account))
    }
}
