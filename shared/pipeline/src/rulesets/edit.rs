//! Rulesets are made, their drafts edited and thrown away, and they are deleted.

use super::{
    MAX_RULESETS, Rulesets, Seen,
    change::PublishError,
    implied,
    record::{Draft, Ruleset, RulesetHead, Subject, put_draft, put_head, put_version},
};
use crate::{
    clock::Clock,
    records::Versioned,
    store::{Condition, Store, StoreError, Write},
};
use domain::{
    Day, RulesetId, WorkspaceId,
    candidate::Place,
    ruleset::{Content, RulesetKind, check_dates},
};

/// How often an edit is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 8;

/// A ruleset that is to be made. It has a draft and nothing published.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRuleset {
    /// Its kind.
    pub kind: RulesetKind,
    /// Its id, which nobody else may have: see [`new_ruleset_id`](super::new_ruleset_id).
    pub id: RulesetId,
    /// Its first draft; its name is the ruleset's.
    pub content: Content,
    /// Whether it is scored once it is published.
    pub enabled: bool,
    /// The first day on which it is scored, UTC.
    pub starts_on: Option<Day>,
    /// The last day on which it is scored, UTC.
    pub ends_on: Option<Day>,
}

impl<S: Store + Clone, C: Clock> Rulesets<S, C> {
    /// Makes a ruleset with a draft.
    pub async fn create(&self, workspace: &WorkspaceId, new: NewRuleset, by: &str) -> Result<Ruleset, PublishError> {
        let (subject, writes) = self.create_writes(workspace, new, by).await?;
        match self.store.transact(writes).await {
            Err(e) if e.is_conflict() => Err(PublishError::Taken),
            Err(e) => Err(e.into()),
            Ok(()) => self.again(workspace, &subject).await,
        }
    }

    /// The writes that make a ruleset with a draft.
    pub(super) async fn create_writes(
        &self,
        workspace: &WorkspaceId,
        new: NewRuleset,
        by: &str,
    ) -> Result<(Subject, Vec<Write>), PublishError> {
        check_dates(new.starts_on, new.ends_on).map_err(PublishError::Invalid)?;
        let listed = self.list(workspace, new.kind).await?;
        if listed.len() >= MAX_RULESETS {
            return Err(PublishError::invalid(
                "",
                format!("there are {MAX_RULESETS} rulesets of this kind, which is the most; delete one"),
            ));
        }
        let now = self.clock.now();
        let subject = Subject { kind: new.kind, id: new.id };
        let seen = self.see(workspace, Some(&subject)).await?;
        if seen.head.is_some() {
            return Err(PublishError::Taken);
        }
        let head = RulesetHead {
            kind: subject.kind,
            id: subject.id.clone(),
            name: new.content.name().to_owned(),
            enabled: new.enabled,
            starts_on: new.starts_on,
            ends_on: new.ends_on,
            created_at: now,
            created_by: by.to_owned(),
            published: None,
            revisions: 0,
            cut_points: None,
            deleted: false,
        };
        let content = new.content.with_identity(&subject.id, None, 1);
        let draft = Draft { content, revision: 1, base: None, by: by.to_owned(), at: now };
        let writes = vec![put_head(workspace, &head, 0)?, put_draft(workspace, &subject, &draft, Condition::Absent)?];
        Ok((subject, writes))
    }

    /// Stores the content as the ruleset's draft and answers the ruleset. With `expected` only over that revision of the draft (0: over none);
    /// without it over whatever there is.
    pub async fn put_draft(
        &self,
        workspace: &WorkspaceId,
        kind: RulesetKind,
        id: &RulesetId,
        content: Content,
        by: &str,
        expected: Option<u64>,
    ) -> Result<Ruleset, PublishError> {
        let subject = Subject { kind, id: id.clone() };
        for _ in 0..ATTEMPTS {
            let seen = self.see(workspace, Some(&subject)).await?;
            let head = seen.head.clone().ok_or(PublishError::Missing)?;
            let before = seen.draft.as_ref().map_or(0, |draft| draft.revision);
            if expected.is_some_and(|expected| expected != before) {
                return Err(PublishError::Stale { revision: before });
            }
            let (revision, condition) = match &seen.draft {
                Some(draft) => (draft.revision.saturating_add(1), Condition::Version(draft.revision)),
                None => (head.record.revisions.saturating_add(1), Condition::Absent),
            };
            let base = seen.draft.as_ref().map_or_else(|| head.record.published.as_ref().map(|p| p.version), |draft| draft.base);
            let version = head.record.version().saturating_add(1);
            let content = content.clone().with_identity(id, None, version);
            let draft = Draft { content, revision, base, by: by.to_owned(), at: self.clock.now() };
            let mut writes = vec![put_draft(workspace, &subject, &draft, condition)?];
            writes.extend(unheld(workspace, &subject, &seen, &head)?);
            match self.store.transact(writes).await {
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e.into()),
                Ok(()) => return self.again(workspace, &subject).await,
            }
        }
        Err(busy())
    }

    /// Begins a draft with the content of an earlier version. A draft that is there already is refused, or replaced.
    pub async fn copy_version(
        &self,
        workspace: &WorkspaceId,
        kind: RulesetKind,
        id: &RulesetId,
        version: u64,
        by: &str,
        replace: bool,
    ) -> Result<Ruleset, PublishError> {
        let ruleset = self.find(workspace, kind, id).await?.ok_or(PublishError::Missing)?;
        let copied = self.version(workspace, kind, id, version).await?.ok_or(PublishError::Missing)?;
        if !replace && let Some(draft) = &ruleset.draft {
            return Err(PublishError::DraftThere { revision: draft.revision });
        }
        self.put_draft(workspace, kind, id, copied.content, by, Some(ruleset.revision())).await
    }

    /// Throws the draft away: with `expected` only that revision. A ruleset that was never published keeps its draft.
    pub async fn discard_draft(
        &self,
        workspace: &WorkspaceId,
        kind: RulesetKind,
        id: &RulesetId,
        expected: Option<u64>,
    ) -> Result<(), PublishError> {
        let subject = Subject { kind, id: id.clone() };
        for _ in 0..ATTEMPTS {
            let seen = self.see(workspace, Some(&subject)).await?;
            let head = seen.head.clone().ok_or(PublishError::Missing)?;
            let draft = seen.draft.clone().ok_or(PublishError::Missing)?;
            if expected.is_some_and(|expected| expected != draft.revision) {
                return Err(PublishError::Stale { revision: draft.revision });
            }
            if head.record.published.is_none() {
                return Err(PublishError::invalid("", "the ruleset was never published, its draft is all there is; delete the ruleset"));
            }
            let mut writes = discard_writes(workspace, &seen, &head, &draft)?;
            writes.extend(held_check(workspace, &subject, &seen)?);
            match self.store.transact(writes).await {
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e.into()),
                Ok(()) => return Ok(()),
            }
        }
        Err(busy())
    }

    /// Deletes a ruleset that is neither the primary one nor enabled, with its draft. Its versions stay for whoever looks up an old publication.
    pub async fn delete(&self, workspace: &WorkspaceId, kind: RulesetKind, id: &RulesetId) -> Result<(), PublishError> {
        let subject = Subject { kind, id: id.clone() };
        for _ in 0..ATTEMPTS {
            let seen = self.see(workspace, Some(&subject)).await?;
            let head = seen.head.clone().ok_or(PublishError::Missing)?;
            match seen.current.document.place_of(kind, id) {
                Place::Primary => return Err(PublishError::Primary),
                Place::Beside => return Err(PublishError::Enabled),
                Place::Nowhere => {}
            }
            let is_built_in = head.record.published.as_ref().is_some_and(|published| published.is_built_in()) || head.version == 0;
            let mut writes = if is_built_in {
                // Without a trace it would be there again.
                head_writes(workspace, &seen, &head, &RulesetHead { deleted: true, ..head.record.clone() })?
            } else {
                vec![Write::Delete(super::head_key(workspace, kind, id), Condition::Version(head.version))]
            };
            if let Some(draft) = &seen.draft {
                writes.push(Write::Delete(super::draft_key(workspace, kind, id), Condition::Version(draft.revision)));
            }
            writes.extend(held_check(workspace, &subject, &seen)?);
            match self.store.transact(writes).await {
                Err(e) if e.is_conflict() => {}
                Err(e) => return Err(e.into()),
                Ok(()) => return Ok(()),
            }
        }
        Err(busy())
    }

    pub(super) async fn again(&self, workspace: &WorkspaceId, subject: &Subject) -> Result<Ruleset, PublishError> {
        self.find(workspace, subject.kind, &subject.id).await?.ok_or(PublishError::Missing)
    }
}

pub(super) fn busy() -> PublishError {
    PublishError::Store(StoreError::Busy { source: "somebody else wrote at every attempt".into() })
}

/// The writes that put a head over the one that was read. One that was implied leaves its version behind.
pub(super) fn head_writes(
    workspace: &WorkspaceId,
    seen: &Seen,
    read: &Versioned<RulesetHead>,
    head: &RulesetHead,
) -> Result<Vec<Write>, StoreError> {
    let mut writes = vec![put_head(workspace, head, read.version)?];
    if read.version == 0
        && let Some(version) = implied::version(&seen.current.document, &head.subject())?
    {
        writes.push(put_version(workspace, &head.subject(), &version, Condition::Always)?);
    }
    Ok(writes)
}

/// The writes that throw a draft away and remember its revision.
pub(super) fn discard_writes(
    workspace: &WorkspaceId,
    seen: &Seen,
    head: &Versioned<RulesetHead>,
    draft: &Draft,
) -> Result<Vec<Write>, StoreError> {
    let record = RulesetHead { revisions: draft.revision, ..head.record.clone() };
    let mut writes = head_writes(workspace, seen, head, &record)?;
    writes.push(Write::Delete(super::draft_key(workspace, record.kind, &record.id), Condition::Version(draft.revision)));
    Ok(writes)
}

/// Refuses while a publication of the ruleset is being prepared, and makes sure that none begins meanwhile.
fn held_check(workspace: &WorkspaceId, subject: &Subject, seen: &Seen) -> Result<Option<Write>, PublishError> {
    let condition = match &seen.publication {
        Some(publication) if publication.record.holds(subject) => {
            return Err(PublishError::Running { job: publication.record.job.clone() });
        }
        Some(publication) => Condition::Version(publication.version),
        None => Condition::Absent,
    };
    Ok(Some(Write::Check(super::publication_key(workspace), condition)))
}

/// The checks beside a draft's write: nobody prepares its publication, and nobody deletes the ruleset or throws a draft away meanwhile.
fn unheld(workspace: &WorkspaceId, subject: &Subject, seen: &Seen, head: &Versioned<RulesetHead>) -> Result<Vec<Write>, PublishError> {
    let mut checks: Vec<Write> = held_check(workspace, subject, seen)?.into_iter().collect();
    let condition = crate::homes::unchanged(head.version);
    checks.push(Write::Check(super::head_key(workspace, subject.kind, &subject.id), condition));
    Ok(checks)
}
