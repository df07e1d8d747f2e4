//! Rulesets of every kind: heads, drafts, versions, and how a change of the model comes into force.
//!
//! | Table | Partition | Sort key | Holds | Version |
//! |---|---|---|---|---|
//! | config | `{workspace}` | `model` | the model in force, packed | the document's own |
//! | config | `{workspace}` | `model-at#{version}` | every model that ever was in force, packed | 1 |
//! | config | `{workspace}` | `ruleset#{kind}#{id}` | [`RulesetHead`] | counts writes |
//! | config | `{workspace}` | `draft#{kind}#{id}` | [`Draft`], packed | its revision |
//! | config | `{workspace}` | `version#{kind}#{id}#{n}` | [`RulesetVersion`], packed, never changed | 1 |
//! | config | `{workspace}` | `publication` | [`Publication`]: there while a publication's job runs | counts writes |
//!
//! Kinds in keys: `a` account, `e` engagement, `al` account levels, `ll` lead levels, `el` engagement levels.
//!
//! A publication is one transaction on the versions of everything that it was decided by, so of two at once one wins, and the other is told which.
//! While one is brought to every account, there is no second one.
//!
//! Counts of events are kept by what is counted, not by rule. So a change that counts nothing new takes effect at once: what no rule asks for
//! any more stays counted (`kept_parts` of the model) and no event is read again. A change that counts something new is prepared first: the model
//! counts for the old rules *and* the new ones, a job counts the past anew for everybody, and only then the new rules come into force. Until
//! then every score is that of the old rules.
//!
//! A ruleset that is in the model but has no head (of a workspace that never published, or whose model was put in whole) shows as published.

mod change;
mod edit;
mod implied;
mod publish;
mod record;

pub use change::{Change, HeadPatch, Plan, PublishError, Started};
pub use edit::NewRuleset;
pub use publish::SETTLE_MS;
pub(crate) use publish::give_up;
pub(crate) use record::read_publication;
pub use record::{
    Computed, Draft, Listed, Publication, PublicationState, Ruleset, RulesetHead, RulesetVersion, Subject, VersionHead, draft_key,
    head_key, publication_key, version_key,
};

use crate::{
    clock::{Clock, Entropy},
    models::{Models, model_key},
    packed::from_packed,
    records::{Versioned, from_item},
    store::{Consistency, Item, Key, Query, Store, StoreError, Table},
};
use domain::{
    Day, IdError, RulesetId, Timestamp, WorkspaceId,
    candidate::Place,
    model::{ModelDocument, default_document},
    ruleset::{Content, RulesetKind},
    segments::level_of,
};
use record::{head_prefix, version_prefix};

/// The most rulesets of a kind.
pub const MAX_RULESETS: usize = 200;
/// The most rulesets of a kind that are scored at the same time.
pub const MAX_ENABLED: usize = 20;

/// A new ruleset's id: three letters for its kind, and 26 characters.
pub fn new_ruleset_id(kind: RulesetKind, entropy: &impl Entropy, now: Timestamp) -> Result<RulesetId, IdError> {
    RulesetId::new(&format!("{}{}", kind.prefix(), entropy.batch_id(now).to_string().to_lowercase()))
}

/// The rulesets of all workspaces.
#[derive(Debug, Clone)]
pub struct Rulesets<S, C> {
    store: S,
    clock: C,
}

/// The model as it is in force, and under which version it is stored; 0 when it is the built-in one.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) stored: u64,
    pub(crate) document: ModelDocument,
}

/// Everything that is stored about one ruleset, and what decides about its publication.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) current: Current,
    pub(crate) publication: Option<Versioned<Publication>>,
    /// The head with its version, 0 when it is implied by the model; `None` when there is no such ruleset, or no ruleset is asked for.
    pub(crate) head: Option<Versioned<RulesetHead>>,
    pub(crate) draft: Option<Draft>,
}

impl<S: Store + Clone, C: Clock> Rulesets<S, C> {
    /// Over this store.
    pub const fn new(store: S, clock: C) -> Self {
        Self { store, clock }
    }

    /// Every ruleset of a kind: the primary one, then those of segments in the order in which they are asked, then the others in the order of their
    /// ids.
    pub async fn list(&self, workspace: &WorkspaceId, kind: RulesetKind) -> Result<Vec<Listed>, StoreError> {
        let query = Query::partition(Table::Config, workspace.as_str()).prefix(&head_prefix(kind));
        let (current, items) = futures::try_join!(self.current(workspace), self.store.query_all(query))?;
        let stored = items.iter().map(from_item::<RulesetHead>).collect::<Result<Vec<_>, _>>()?;
        let today = self.clock.now().day();
        let implied = implied::heads(&current.document, kind)?.into_iter().filter(|head| !stored.iter().any(|known| known.id == head.id));
        let mut listed: Vec<Listed> =
            implied.chain(stored.iter().filter(|head| !head.deleted).cloned()).map(|head| listed(head, &current.document, today)).collect();
        listed.sort_by(|a, b| {
            let place = |listed: &Listed| (!listed.primary, listed.order.unwrap_or(usize::MAX));
            place(a).cmp(&place(b)).then_with(|| a.head.id.cmp(&b.head.id))
        });
        Ok(listed)
    }

    /// The ruleset with its draft and its published content, as they are now.
    pub async fn find(&self, workspace: &WorkspaceId, kind: RulesetKind, id: &RulesetId) -> Result<Option<Ruleset>, StoreError> {
        let seen = self.see(workspace, Some(&Subject { kind, id: id.clone() })).await?;
        self.shown(workspace, seen).await
    }

    pub(crate) async fn shown(&self, workspace: &WorkspaceId, seen: Seen) -> Result<Option<Ruleset>, StoreError> {
        let Some(head) = seen.head.clone() else { return Ok(None) };
        let content = self.published(workspace, &seen.current.document, &head.record).await?;
        let Listed { head: record, primary, in_force, order } = listed(head.record, &seen.current.document, self.clock.now().day());
        Ok(Some(Ruleset {
            head: record,
            seen: head.version,
            primary,
            in_force,
            order,
            draft: seen.draft,
            content,
            model_version: seen.current.document.version,
            publication: seen.publication.map(|publication| publication.record),
        }))
    }

    /// The publication whose job runs, if there is one.
    pub async fn publication(&self, workspace: &WorkspaceId) -> Result<Option<Publication>, StoreError> {
        let item = self.store.read(&publication_key(workspace), Consistency::Strong).await?;
        item.as_ref().map(read_publication).transpose()
    }

    /// Versions of a ruleset, newest first: those before `before` when that is given, at most `limit`.
    pub async fn versions(
        &self,
        workspace: &WorkspaceId,
        kind: RulesetKind,
        id: &RulesetId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<Vec<RulesetVersion>>, StoreError> {
        let subject = Subject { kind, id: id.clone() };
        let seen = self.see(workspace, Some(&subject)).await?;
        let Some(head) = seen.head else { return Ok(None) };
        if head.version == 0 {
            let implied = implied::version(&seen.current.document, &subject)?;
            return Ok(Some(implied.into_iter().filter(|version| before.is_none_or(|before| version.head.version < before)).collect()));
        }
        let prefix = version_prefix(kind, id);
        let query = Query::partition(Table::Config, workspace.as_str()).prefix(&prefix).descending().limit(limit.clamp(1, 200));
        let mut query = query.after(before.map(|before| format!("{prefix}{before:010}")));
        let mut versions = Vec::new();
        while versions.len() < limit {
            let page = self.store.query(&query).await?;
            for item in &page.items {
                versions.push(from_packed(item)?);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        versions.truncate(limit);
        Ok(Some(versions))
    }

    /// One version of a ruleset.
    pub async fn version(
        &self,
        workspace: &WorkspaceId,
        kind: RulesetKind,
        id: &RulesetId,
        version: u64,
    ) -> Result<Option<RulesetVersion>, StoreError> {
        let key = version_key(workspace, kind, id, version);
        if let Some(item) = self.store.read(&key, Consistency::Strong).await? {
            return from_packed(&item).map(Some);
        }
        let document = self.current(workspace).await?.document;
        let implied = implied::version(&document, &Subject { kind, id: id.clone() })?;
        Ok(implied.filter(|implied| implied.head.version == version))
    }

    /// The model in force, strongly consistent.
    pub(crate) async fn current(&self, workspace: &WorkspaceId) -> Result<Current, StoreError> {
        read_current(self.store.read(&model_key(workspace), Consistency::Strong).await?.as_ref())
    }

    /// Reads everything that a change is decided by.
    pub(crate) async fn see(&self, workspace: &WorkspaceId, subject: Option<&Subject>) -> Result<Seen, StoreError> {
        let mut keys = vec![model_key(workspace), publication_key(workspace)];
        if let Some(subject) = subject {
            keys.push(head_key(workspace, subject.kind, &subject.id));
            keys.push(draft_key(workspace, subject.kind, &subject.id));
        }
        let items = self.store.read_many(&keys, Consistency::Strong).await?;
        let item = |key: &Key| items.iter().find(|item| item.key == *key);
        let current = read_current(item(&model_key(workspace)))?;
        let publication = match item(&publication_key(workspace)) {
            Some(item) => Some(Versioned { version: item.version, record: read_publication(item)? }),
            None => None,
        };
        let (mut head, mut draft) = (None, None);
        if let Some(subject) = subject {
            head = match item(&head_key(workspace, subject.kind, &subject.id)) {
                Some(item) => Some(Versioned { version: item.version, record: from_item::<RulesetHead>(item)? }),
                None => implied::head(&current.document, subject)?.map(|record| Versioned { version: 0, record }),
            };
            head = head.filter(|head| !head.record.deleted);
            if let Some(item) = item(&draft_key(workspace, subject.kind, &subject.id)).filter(|_| head.is_some()) {
                draft = Some(from_packed(item)?);
            }
        }
        Ok(Seen { current, publication, head, draft })
    }

    /// The published content of a ruleset.
    pub(crate) async fn published(
        &self,
        workspace: &WorkspaceId,
        document: &ModelDocument,
        head: &RulesetHead,
    ) -> Result<Option<Content>, StoreError> {
        let Some(published) = &head.published else { return Ok(None) };
        let key = version_key(workspace, head.kind, &head.id, published.version);
        if let Some(item) = self.store.read(&key, Consistency::Strong).await? {
            return Ok(Some(from_packed::<RulesetVersion>(&item)?.content));
        }
        let implied = implied::version(document, &head.subject())?;
        match implied.filter(|implied| implied.head.version == published.version) {
            Some(implied) => Ok(Some(implied.content)),
            None => Err(StoreError::Corrupt { key: Box::new(key), what: "published version", source: "it is not there".into() }),
        }
    }
}

fn listed(head: RulesetHead, document: &ModelDocument, today: Day) -> Listed {
    let place = document.place_of(head.kind, &head.id);
    let in_force = match place {
        Place::Primary => true,
        Place::Beside => head.dates_hold(today),
        Place::Nowhere => false,
    };
    let segments = level_of(head.kind).map(|of| document.segments(of)).unwrap_or_default();
    let order = segments.iter().position(|segment| segment.ruleset.id == head.id.as_str()).map(|place| place.saturating_add(1));
    Listed { primary: place == Place::Primary, in_force, order, head }
}

fn read_current(item: Option<&Item>) -> Result<Current, StoreError> {
    match item {
        Some(item) => Ok(Current { stored: item.version, document: from_packed(item)? }),
        None => {
            let document = default_document().map_err(|e| StoreError::Refused { source: Box::new(e) })?;
            Ok(Current { stored: 0, document })
        }
    }
}

impl<S: Store + Clone, C: Clock + Clone> Rulesets<S, C> {
    /// Models over the same store.
    pub fn models(&self) -> Models<S, C> {
        Models::new(self.store.clone(), self.clock.clone())
    }
}
