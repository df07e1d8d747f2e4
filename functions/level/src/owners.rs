//! Who looks after an account by the workspace's owner rules.
//!
//! An owner is given in the transaction that records the level which the rule was chosen by: account, turn and standing are written together or not
//! at all. What tells whether it is to be done is the account itself, which names the rule that its owner comes from; so a message that comes again
//! finds nothing to do, and the wheel turns once for each account that comes under a rule.

use domain::{AccountId, Home, Timestamp, WorkspaceId, model::Model, owner::OwnerRule, segments::AccountFacts};
use pipeline::{
    Consistency, Store, StoreError, Versioned, Write,
    accounts::account_key,
    homes::{HomeStore, put_due, put_record},
    records::{AccountRecord, OwnerBy, OwnerTurns, ScoreRecord, from_item, owner_turns_key},
};

/// What the rules say of an account.
#[derive(Debug)]
pub(crate) enum Owned {
    /// Nothing: there are no rules, or it is no account that has an owner.
    Unruled,
    /// It keeps the owner that it has, or has none.
    Keeps(Option<String>),
    /// It came under this rule, and gets one of its owners.
    Gets(Box<Versioned<AccountRecord>>, OwnerRule),
}

/// Decides whether an account that has this level from now on gets another owner.
pub(crate) async fn owned<S: Store>(
    homes: &HomeStore<S>,
    workspace: &WorkspaceId,
    account: Option<&AccountId>,
    model: &Model,
    score: &ScoreRecord,
    level: Option<&str>,
) -> Result<Owned, StoreError> {
    let Some(account) = account.filter(|_| !model.document.owners.is_empty() && score.merged_into.is_none()) else {
        return Ok(Owned::Unruled);
    };
    let Some(read) = homes.account(workspace, account, Consistency::Strong).await? else { return Ok(Owned::Unruled) };
    if read.record.merged_into.is_some() {
        return Ok(Owned::Unruled);
    }
    // Rules do not see the owner, which is what they decide.
    let stated = AccountFacts::new(score.tier.as_deref(), None, score.priority.as_deref());
    let rule = model.owner_rule(&score.fields, &stated, level, score.as_of);
    Ok(match (rule, read.record.owner_by()) {
        // Who falls under no rule any more keeps its owner.
        (None, _) | (_, Some(OwnerBy::Manual)) => Owned::Keeps(read.record.owner),
        (Some(rule), Some(OwnerBy::Rule { id }))
            if *id == rule.id && read.record.owner.as_deref().is_some_and(|owner| rule.names(owner)) =>
        {
            Owned::Keeps(read.record.owner)
        }
        (Some(rule), _) => Owned::Gets(Box::new(read), rule.clone()),
    })
}

/// The writes that give an account to whoever's turn it is, and that owner. The turn is read here: of two accounts at once, one finds that the
/// other took it.
pub(crate) async fn give<S: Store>(
    store: &S,
    workspace: &WorkspaceId,
    account: Versioned<AccountRecord>,
    rule: &OwnerRule,
    now: Timestamp,
) -> Result<Option<(String, Vec<Write>)>, StoreError> {
    let key = owner_turns_key(workspace, &rule.id);
    let item = store.read(&key, Consistency::Strong).await?;
    let (version, turns) = match &item {
        Some(item) => (item.version, from_item::<OwnerTurns>(item)?),
        None => (0, OwnerTurns::default()),
    };
    let Some(owner) = rule.owner(turns.taken).map(str::to_owned) else { return Ok(None) };
    let Versioned { version: read, mut record } = account;
    let home = Home::Account(record.id.clone());
    record.owner = Some(owner.clone());
    record.owner_by = Some(OwnerBy::Rule { id: rule.id.clone() });
    let writes = vec![
        put_record(account_key(workspace, &record.id), read, &record)?,
        put_record(key, version, &OwnerTurns { taken: turns.taken.wrapping_add(1) })?,
        // The score record names the owner, too; what is shown of the account follows from it.
        put_due(workspace, &home, now, 0)?,
    ];
    Ok(Some((owner, writes)))
}
