//! Accounts made on first sight, and who owns a web domain.

use crate::{Resolver, Touched};
use domain::{
    AccountId, Home, NamedAccount, NamedBy, Shards, Timestamp, WorkspaceId,
    facts::Evidence,
    mail::WebDomain,
    model::Model,
    resolution::{Claim, Method, company_domain},
};
use pipeline::{
    AccountTouched, Clock, Condition, Consistency, Item, Queue, StageError, Store, Versioned, Write,
    accounts::{account_key, or_there},
    homes::{put_due, put_record},
    records::{AccountOrigin, AccountRecord, DomainClaim, domain_key, review_key, text},
};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Accounts that are known to be stored, so that they are not read for every new lead.
#[derive(Debug, Default)]
pub(crate) struct KnownAccounts(Mutex<HashSet<(WorkspaceId, AccountId)>>);

/// How many are remembered.
const KNOWN: usize = 50_000;

impl KnownAccounts {
    fn holds(&self, workspace: &WorkspaceId, account: &AccountId) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&(workspace.clone(), account.clone()))
    }

    fn add(&self, workspace: &WorkspaceId, account: &AccountId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert((workspace.clone(), account.clone()));
    }
}

/// How often a write is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 8;

impl<S: Store + Clone, Q: Queue<AccountTouched>, C: Clock + Clone> Resolver<S, Q, C> {
    /// The account that a claim comes to. A named account and the account of a company's domain are made on first sight.
    pub(crate) async fn claimed(
        &self,
        workspace: &WorkspaceId,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Option<(AccountId, Method)>, StageError> {
        match claim {
            Claim::Account(method, account) => {
                self.ensure_named(workspace, account, now).await?;
                Ok(Some((account.clone(), *method)))
            }
            Claim::External(kind, id) => {
                let found = self.homes.external(workspace, kind, id).await?;
                Ok(found.map(|found| (found.record, Method::ExternalId)))
            }
            Claim::Domain(method, domain) => Ok(Some((self.homes.domain_owner(workspace, domain, now).await?, *method))),
        }
    }

    /// The account that an event names. An account event may name a web domain, which stands for the account that owns it.
    pub(crate) async fn named_account(
        &self,
        workspace: &WorkspaceId,
        named: &NamedAccount,
        now: Timestamp,
    ) -> Result<AccountId, StageError> {
        if named.by == NamedBy::AccountEvent
            && let Some(domain) =
                WebDomain::from_url(named.id.as_str()).filter(|domain| domain.as_str() == named.id.as_str() && domain.is_corporate())
        {
            return Ok(self.homes.domain_owner(workspace, &domain, now).await?);
        }
        self.ensure_named(workspace, &named.id, now).await?;
        Ok(named.id.clone())
    }

    /// Makes sure that an account which an id names is stored.
    pub(crate) async fn ensure_named(&self, workspace: &WorkspaceId, account: &AccountId, now: Timestamp) -> Result<(), StageError> {
        if !self.known.holds(workspace, account) {
            self.homes.ensure_account(workspace, account, AccountOrigin::Id, Vec::new(), now).await?;
            self.known.add(workspace, account);
        }
        Ok(())
    }

    /// An account made from an id adopts its leads' company domain. An account that was made for that domain alone is absorbed; a
    /// domain that another id owns is left to a person.
    pub(crate) async fn adopt(
        &self,
        workspace: &WorkspaceId,
        home: &Home,
        said: &Evidence,
        model: &Model,
        touched: &mut Touched,
    ) -> Result<(), StageError> {
        let (Home::Account(account), Some(domain)) = (home, company_domain(said, model)) else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            match self.try_adopt(workspace, account, domain.as_str(), touched).await {
                Err(e) if e.is_conflict() => {}
                other => return other,
            }
        }
        Err(StageError::retry("the domain's owner was changed by others at every attempt"))
    }

    async fn try_adopt(&self, workspace: &WorkspaceId, account: &AccountId, domain: &str, touched: &mut Touched) -> Result<(), StageError> {
        let now = self.now();
        let claim = self.homes.domain_claim(workspace, domain, Consistency::Strong).await?;
        let account = self.homes.root(workspace, account, Consistency::Strong).await?;
        if claim.as_ref().is_some_and(|claim| claim.record.account == account) {
            return Ok(());
        }
        let Some(adopter) = self.homes.account(workspace, &account, Consistency::Strong).await? else {
            return Ok(());
        };
        if adopter.record.origin != AccountOrigin::Id {
            return Ok(());
        }
        let mut record = adopter.record.clone();
        if !record.domains.iter().any(|known| known == domain) {
            record.domains.push(domain.to_owned());
        }
        let key = domain_key(workspace, domain);
        let new_claim = DomainClaim { account: account.clone(), origin: AccountOrigin::Id, at: now };
        let home = Home::Account(account.clone());
        let Some(claim) = claim else {
            let writes = vec![
                put_record(key, 0, &new_claim)?,
                put_record(account_key(workspace, &account), adopter.version, &record)?,
                put_due(workspace, &home, now, 0)?,
            ];
            self.homes.store().transact(writes).await?;
            touched.add(home, Shards::ALL);
            return Ok(());
        };
        let owner = self.homes.account(workspace, &claim.record.account, Consistency::Strong).await?;
        match owner {
            Some(owner) if owner.record.origin == AccountOrigin::Domain && owner.record.merged_into.is_none() => {
                self.absorb(workspace, domain, Versioned { version: adopter.version, record }, owner, claim.version, new_claim).await?;
                touched.add(home, Shards::ALL);
                touched.add(Home::Account(claim.record.account), Shards::ALL);
            }
            _ => self.review(workspace, domain, &account, &claim.record.account).await?,
        }
        Ok(())
    }

    /// Makes an automatic account a member of another one. Nothing of it is moved: whoever reads the account reads its members.
    async fn absorb(
        &self,
        workspace: &WorkspaceId,
        domain: &str,
        mut adopter: Versioned<AccountRecord>,
        mut absorbed: Versioned<AccountRecord>,
        claim_version: u64,
        claim: DomainClaim,
    ) -> Result<(), StageError> {
        let now = self.now();
        let (to, from) = (adopter.record.id.clone(), absorbed.record.id.clone());
        absorbed.record.merged_into = Some(to.clone());
        adopter.record.members.push(from.clone());
        let writes = vec![
            put_record(domain_key(workspace, domain), claim_version, &claim)?,
            put_record(account_key(workspace, &to), adopter.version, &adopter.record)?,
            put_record(account_key(workspace, &from), absorbed.version, &absorbed.record)?,
            put_due(workspace, &Home::Account(to.clone()), now, 0)?,
            put_due(workspace, &Home::Account(from.clone()), now, 0)?,
        ];
        self.homes.store().transact(writes).await?;
        tracing::info!(stage = "resolve", account.id = %to, absorbed = %from, "an automatic account was absorbed by the account whose leads have its domain");
        Ok(())
    }

    /// Leaves a note for a person that two accounts claim one domain.
    async fn review(&self, workspace: &WorkspaceId, domain: &str, claimant: &AccountId, owner: &AccountId) -> Result<(), StageError> {
        let key = review_key(workspace, &format!("domain#{domain}#{claimant}"));
        let body = text(&key, &serde_json::json!({ "domain": domain, "claimant": claimant, "owner": owner, "at": self.now() }))?;
        let put = Write::Put(Item { key, version: 1, body, expires_at: None }, Condition::Absent);
        Ok(or_there(self.homes.store().write(put).await)?)
    }
}
