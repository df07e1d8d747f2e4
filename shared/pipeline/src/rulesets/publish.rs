//! A change of the model comes into force.

use super::{
    Current, MAX_ENABLED, Rulesets, Seen,
    change::{Change, HeadPatch, Plan, PublishError, Started},
    edit::{NewRuleset, discard_writes, head_writes},
    record::{
        Computed, Draft, Publication, PublicationState, Ruleset, RulesetHead, RulesetVersion, Subject, VersionHead, put_publication,
        put_version,
    },
};
use crate::{
    clock::Clock,
    jobs::{self, JobKind, JobRecord, JobState, start_writes},
    models::{model_key, model_writes, past_model},
    notify::Triggers,
    records::Versioned,
    store::{Condition, Consistency, Store, StoreError, Write},
};
use domain::{
    BatchId, IdError, JobId, RulesetId, Timestamp, WorkspaceId,
    candidate::Place,
    engagement::{MatchingPart, PartId},
    hash64,
    level::CutPoint,
    lint::{Circumstances, Finding, Severity, lint},
    mapping::AccountMapping,
    model::{ANNOUNCED, Model, ModelDocument, Published},
    mutant::{Mutant, active},
    owner::goes_round,
    ruleset::{Content, LevelContent, RulesetKind, check_dates, diff},
    segments::level_of,
};
use std::collections::BTreeSet;

/// So long after a publication nobody counts events by an older model any more: a model is believed for half a minute, and a worker finishes
/// what it began with it.
pub const SETTLE_MS: i64 = 60_000;

/// What the model and the ruleset are to be.
struct Proposal {
    /// The model, its version and who published it apart.
    document: ModelDocument,
    /// What is published, in words.
    what: String,
    /// The ruleset's head as it is to be.
    head: Option<RulesetHead>,
    /// The ruleset's new version.
    version: Option<RulesetVersion>,
    /// The draft that becomes the version.
    draft: Option<Draft>,
}

impl Proposal {
    /// Names the job that brings the new version to every account.
    fn made_by(&mut self, job: &JobId) {
        if let Some(version) = &mut self.version {
            version.head.job = Some(job.clone());
            if let Some(published) = self.head.as_mut().and_then(|head| head.published.as_mut()) {
                published.job = Some(job.clone());
            }
        }
    }
}

/// What a plan comes to.
enum Proposed {
    /// Nothing.
    Unchanged,
    /// A change of what is stored about the ruleset, or of the model, or of both.
    Change(Box<Proposal>),
}

impl<S: Store + Clone, C: Clock + Clone> Rulesets<S, C> {
    /// Brings a change into force: at once where nothing follows from it, else with a job that brings it to every account, which is begun in the
    /// same transaction.
    ///
    /// # Errors
    /// Nothing was written. Of two publications at once one gets [`PublishError::Stale`], [`PublishError::Running`] or
    /// [`PublishError::Published`]: it must be looked at again, so it is not tried again here.
    pub async fn publish(&self, plan: &Plan<'_>) -> Result<Started, PublishError> {
        let seen = self.see(plan.workspace, plan.change.subject().as_ref()).await?;
        self.publish_seen(plan, seen).await
    }

    /// As [`Self::publish`], for a change that was made from this version of the model: with any other in force it is
    /// [`PublishError::Published`], so that what somebody else changed meanwhile is not lost.
    pub async fn publish_over(&self, plan: &Plan<'_>, model: u64) -> Result<Started, PublishError> {
        let seen = self.see(plan.workspace, plan.change.subject().as_ref()).await?;
        let document = &seen.current.document;
        if document.version != model {
            return Err(published(document));
        }
        self.publish_seen(plan, seen).await
    }

    /// Makes a ruleset with a draft and brings a change of the model into force that it needs, both or neither. The change was made from this version
    /// of the model, and no score follows from it.
    pub async fn create_over(&self, plan: &Plan<'_>, model: u64, new: NewRuleset) -> Result<Ruleset, PublishError> {
        let seen = self.see(plan.workspace, None).await?;
        if let Some(publication) = &seen.publication {
            return Err(PublishError::Running { job: publication.record.job.clone() });
        }
        if seen.current.document.version != model {
            return Err(published(&seen.current.document));
        }
        let (subject, mut writes) = self.create_writes(plan.workspace, new, plan.by).await?;
        if let Proposed::Change(proposal) = self.propose(plan, &seen).await? {
            writes.extend(self.in_force(plan, &seen, &proposal)?.1);
            writes.push(Write::Check(super::publication_key(plan.workspace), Condition::Absent));
        }
        match self.store.transact(writes).await {
            Err(e) if e.is_conflict() => Err(self.who_was_faster(plan, &seen, e).await),
            Err(e) => Err(e.into()),
            Ok(()) => self.again(plan.workspace, &subject).await,
        }
    }

    async fn publish_seen(&self, plan: &Plan<'_>, seen: Seen) -> Result<Started, PublishError> {
        if let Some(publication) = &seen.publication {
            return Err(PublishError::Running { job: publication.record.job.clone() });
        }
        match self.begin(plan, &seen).await {
            Err(PublishError::Store(e)) if e.is_conflict() => Err(self.who_was_faster(plan, &seen, e).await),
            other => other,
        }
    }

    /// Says what stood in the way of a transaction.
    async fn who_was_faster(&self, plan: &Plan<'_>, before: &Seen, conflict: StoreError) -> PublishError {
        let seen = match self.see(plan.workspace, plan.change.subject().as_ref()).await {
            Ok(seen) => seen,
            Err(e) => return e.into(),
        };
        let revision = |seen: &Seen| seen.draft.as_ref().map_or(0, |draft| draft.revision);
        if plan.change.subject().is_some() && seen.head.is_none() {
            return PublishError::Missing;
        }
        if let Some(publication) = seen.publication {
            return PublishError::Running { job: publication.record.job };
        }
        if seen.current.document.version != before.current.document.version {
            return published(&seen.current.document);
        }
        if revision(&seen) != revision(before) {
            return PublishError::Stale { revision: revision(&seen) };
        }
        PublishError::Store(conflict)
    }

    async fn begin(&self, plan: &Plan<'_>, seen: &Seen) -> Result<Started, PublishError> {
        let proposal = match self.propose(plan, seen).await? {
            Proposed::Unchanged => {
                if let (Some(head), Some(draft), Change::Ruleset { .. }) = (&seen.head, &seen.draft, &plan.change) {
                    self.store.transact(discard_writes(plan.workspace, seen, head, draft)?).await?;
                }
                return Ok(Started::Unchanged);
            }
            Proposed::Change(proposal) => proposal,
        };
        if let Some((rule, segment)) = goes_round(&proposal.document) {
            let says = format!(
                "the segment `{segment}` asks for the owner, and the owner rule `{rule}` for the account level: one would change the other for ever"
            );
            return Err(PublishError::invalid("", says));
        }
        let nobody = Write::Check(super::publication_key(plan.workspace), Condition::Absent);
        let (current, version) = (&seen.current.document, proposal.version.as_ref().map(|version| version.head.version));
        if proposal.document == *current {
            let mut writes = self.ruleset_writes(plan.workspace, seen, &proposal)?;
            writes.push(nobody);
            self.store.transact(writes).await?;
            return Ok(Started::AtOnce { version, model: None });
        }
        if !current.scores_differ(&proposal.document) && current.parts_new_in(&proposal.document).is_empty() {
            let (document, mut writes) = self.in_force(plan, seen, &proposal)?;
            writes.push(nobody);
            self.store.transact(writes).await?;
            return Ok(Started::AtOnce { version, model: Some(document.version) });
        }
        self.with_job(plan, seen, *proposal).await
    }

    /// Begins a publication that concerns accounts.
    async fn with_job(&self, plan: &Plan<'_>, seen: &Seen, mut proposal: Proposal) -> Result<Started, PublishError> {
        let now = self.clock.now();
        let id = job_id(plan.workspace, seen.current.document.version, now).map_err(|e| StoreError::Refused { source: Box::new(e) })?;
        let prepare = !seen.current.document.parts_new_in(&proposal.document).is_empty();
        let version = proposal.version.as_ref().map(|version| version.head.version);
        proposal.made_by(&id);
        let (document, mut writes) = if prepare { self.preparing(plan, seen, &proposal)? } else { self.in_force(plan, seen, &proposal)? };
        let kind = JobKind::Publish {
            change: Box::new(plan.change.clone()),
            why: plan.why.clone(),
            notify: plan.notify,
            what: proposal.what.clone(),
            model: document.version,
            prepare,
        };
        let job = JobRecord::new(id, kind, plan.by, now);
        let publication = Publication {
            job: job.id.clone(),
            what: proposal.what,
            subject: plan.change.subject(),
            by: plan.by.to_owned(),
            at: now,
            state: if prepare { PublicationState::Preparing } else { PublicationState::Rescoring },
        };
        writes.push(put_publication(plan.workspace, &publication, 1, Condition::Absent)?);
        writes.extend(start_writes(plan.workspace, &job)?);
        if active(Mutant::PublishOnAnyVersion) {
            writes = writes.into_iter().map(whatever_is_there).collect();
        }
        self.store.transact(writes).await?;
        Ok(Started::Job { job: Box::new(job), version, model: document.version })
    }

    /// Puts the change of a publication that was prepared into force, and its job into the next phase. A conflict when somebody else has the job
    /// by now; any other error than the store's means that it can't come into force.
    pub async fn switch(
        &self,
        workspace: &WorkspaceId,
        read: &Versioned<JobRecord>,
        pointer: Timestamp,
    ) -> Result<Versioned<JobRecord>, PublishError> {
        let JobKind::Publish { change, why, notify, what, .. } = &read.record.kind else {
            return Err(PublishError::Missing);
        };
        let plan = Plan { workspace, by: &read.record.by, why: why.clone(), notify: *notify, change: (**change).clone() };
        let seen = self.see(workspace, plan.change.subject().as_ref()).await?;
        let publication = seen.publication.clone().filter(|publication| publication.record.job == read.record.id);
        let publication = publication.ok_or(PublishError::Missing)?;
        let Proposed::Change(mut proposal) = self.propose(&plan, &seen).await? else {
            return Err(PublishError::Missing);
        };
        proposal.made_by(&read.record.id);
        let (document, mut writes) = self.in_force(&plan, &seen, &proposal)?;
        let running = Publication { state: PublicationState::Rescoring, ..publication.record };
        let version = publication.version;
        writes.push(put_publication(workspace, &running, version.saturating_add(1), Condition::Version(version))?);
        let mut record = read.record.clone();
        record.kind = JobKind::Publish {
            change: change.clone(),
            why: why.clone(),
            notify: *notify,
            what: what.clone(),
            model: document.version,
            prepare: true,
        };
        record.runs = 0;
        record.state = JobState::Running;
        record.touched_at = self.clock.now();
        record.next_phase();
        let (record, job_writes) = jobs::save_writes(workspace, read, record, pointer)?;
        writes.extend(job_writes);
        self.store.transact(writes).await?;
        Ok(Versioned { version: read.version.saturating_add(1), record })
    }

    /// Notes in the model that everything stored was read by this version of the mapping, and puts the job that saw to it into its next phase: every
    /// home is to be scored by the model that says so. Answers `false` while a publication is under way, which must not be overtaken. A conflict when
    /// somebody else has the job by now, or published meanwhile.
    pub async fn applied(
        &self,
        workspace: &WorkspaceId,
        read: &Versioned<JobRecord>,
        mapping: u64,
        pointer: Timestamp,
    ) -> Result<bool, PublishError> {
        let seen = self.see(workspace, None).await?;
        if seen.publication.is_some() {
            return Ok(false);
        }
        let mut document = seen.current.document.clone();
        document.mapping_applied = Some(mapping);
        let now = self.clock.now();
        document.version = document.version.saturating_add(1);
        // This changes no level, and must not keep a later publication from being heard of.
        announce(&mut document);
        let what = format!("account mapping version {mapping} applied");
        document.published = Some(Published { at: now, by: read.record.by.clone(), why: String::new(), what });
        let mut record = read.record.clone();
        record.kind = JobKind::ApplyMapping { mapping, model: document.version };
        record.runs = 0;
        record.state = JobState::Running;
        record.touched_at = now;
        record.next_phase();
        let mut writes = model_writes(workspace, seen.current.stored, &document, now)?;
        writes.push(Write::Check(super::publication_key(workspace), Condition::Absent));
        writes.extend(jobs::save_writes(workspace, read, record, pointer)?.1);
        self.store.transact(writes).await?;
        Ok(true)
    }

    /// The model that counts for a candidate while the present rules go on.
    fn preparing(&self, plan: &Plan<'_>, seen: &Seen, proposal: &Proposal) -> Result<(ModelDocument, Vec<Write>), PublishError> {
        let mut document = seen.current.document.clone();
        document.kept_parts = document.parts_to_come(&proposal.document);
        let document = self.next(document, plan, &seen.current, format!("preparing {}", proposal.what));
        let mut writes = model_writes(plan.workspace, seen.current.stored, &document, self.clock.now())?;
        // What was reviewed is what will come into force, and the ruleset is still the same then.
        if let Some(subject) = plan.change.subject()
            && let Some(head) = &seen.head
        {
            let key = super::head_key(plan.workspace, subject.kind, &subject.id);
            writes.push(Write::Check(key, crate::homes::unchanged(head.version)));
            if let Some(draft) = &proposal.draft {
                let key = super::draft_key(plan.workspace, subject.kind, &subject.id);
                writes.push(Write::Check(key, Condition::Version(draft.revision)));
            }
        }
        Ok((document, writes))
    }

    /// The writes that put a proposal into force, and the model as it is then.
    fn in_force(&self, plan: &Plan<'_>, seen: &Seen, proposal: &Proposal) -> Result<(ModelDocument, Vec<Write>), PublishError> {
        let mut document = proposal.document.clone();
        document.kept_parts = if active(Mutant::KeptPartsDropped) { Vec::new() } else { seen.current.document.parts_kept_for(&document) };
        let document = self.next(document, plan, &seen.current, proposal.what.clone());
        Model::compile(document.clone())?;
        let mut writes = model_writes(plan.workspace, seen.current.stored, &document, self.clock.now())?;
        writes.extend(self.ruleset_writes(plan.workspace, seen, proposal)?);
        Ok((document, writes))
    }

    /// The document as the next version of the model.
    fn next(&self, mut document: ModelDocument, plan: &Plan<'_>, current: &Current, what: String) -> ModelDocument {
        document.version = current.document.version.saturating_add(1);
        // What changes no level must not keep a later publication from being heard of.
        if plan.notify || matches!(plan.change, Change::Owners { .. }) || !current.document.scores_differ(&document) {
            announce(&mut document);
        }
        document.published = Some(Published { at: self.clock.now(), by: plan.by.to_owned(), why: plan.why.clone(), what });
        document
    }

    /// The writes about the ruleset itself: head, version, draft.
    fn ruleset_writes(&self, workspace: &WorkspaceId, seen: &Seen, proposal: &Proposal) -> Result<Vec<Write>, StoreError> {
        let (Some(head), Some(read)) = (&proposal.head, &seen.head) else {
            return Ok(Vec::new());
        };
        let mut writes = head_writes(workspace, seen, read, head)?;
        if let Some(version) = &proposal.version {
            writes.push(put_version(workspace, &head.subject(), version, Condition::Absent)?);
        }
        if let Some(draft) = &proposal.draft {
            writes.push(Write::Delete(super::draft_key(workspace, head.kind, &head.id), Condition::Version(draft.revision)));
        }
        Ok(writes)
    }

    async fn propose(&self, plan: &Plan<'_>, seen: &Seen) -> Result<Proposed, PublishError> {
        let current = &seen.current.document;
        let setting = |document: ModelDocument, what: &str| {
            if document == *current {
                return Proposed::Unchanged;
            }
            Proposed::Change(Box::new(Proposal { document, what: what.to_owned(), head: None, version: None, draft: None }))
        };
        Ok(match &plan.change {
            Change::Ruleset { revision, .. } => {
                let draft = seen.draft.as_ref().filter(|draft| draft.revision == *revision);
                let stale = || PublishError::Stale { revision: seen.draft.as_ref().map_or(0, |draft| draft.revision) };
                let head = seen.head.as_ref().ok_or(PublishError::Missing)?;
                let draft = draft.ok_or_else(stale)?;
                self.propose_version(plan, seen, head, draft.content.clone(), Some(draft), None).await?
            }
            Change::Rollback { kind, id, to } => {
                let head = seen.head.as_ref().ok_or(PublishError::Missing)?;
                let version = self.version(plan.workspace, *kind, id, *to).await?.ok_or(PublishError::Missing)?;
                self.propose_version(plan, seen, head, version.content, None, Some(*to)).await?
            }
            Change::Head { patch, .. } => self.propose_head(plan, seen, patch).await?,
            Change::Order { kind, order } => {
                let document = reordered(current, *kind, order)?;
                self.check_triggers(plan.workspace, *kind, current, &document).await?;
                setting(document, &format!("order of the {}s", kind.title()))
            }
            Change::CutPoints { version, points, scores, next, .. } => {
                let computed = Computed { at: self.clock.now(), scores: *scores, next: next.clone() };
                self.propose_cut_points(plan, seen, *version, points, computed).await?
            }
            Change::Surge { settings } => setting(ModelDocument { surge: settings.clone(), ..current.clone() }, "surge settings"),
            Change::Mapping { mapping, source_order } => {
                let version = current.mapping.version();
                let as_version = |version| AccountMapping::new(version, mapping.currency(), mapping.entries().to_vec());
                let source_order = source_order.unwrap_or(current.source_order);
                let same = as_version(version) == current.mapping;
                if same && source_order == current.source_order {
                    return Ok(Proposed::Unchanged);
                }
                let mapping = as_version(version.saturating_add(1));
                // Whose statement wins is asked when it is looked at: what was read by the same entries was read by this version, too.
                let applied = if same && current.is_mapping_applied() { Some(mapping.version()) } else { current.mapping_applied };
                let document = ModelDocument { mapping, source_order, mapping_applied: applied, ..current.clone() };
                setting(document, if same { "order of sources" } else { "account mapping" })
            }
            Change::Aliases { aliases } => setting(ModelDocument { aliases: aliases.clone(), ..current.clone() }, "alias tables"),
            Change::Owners { owners } => setting(ModelDocument { owners: owners.clone(), ..current.clone() }, "owner rules"),
            Change::Profiles { profiles } => setting(ModelDocument { profiles: profiles.clone(), ..current.clone() }, "profile mapping"),
        })
    }

    /// A content becomes the next version of a ruleset.
    async fn propose_version(
        &self,
        plan: &Plan<'_>,
        seen: &Seen,
        head: &Versioned<RulesetHead>,
        content: Content,
        draft: Option<&Draft>,
        copied_from: Option<u64>,
    ) -> Result<Proposed, PublishError> {
        let current = &seen.current.document;
        let before = self.published(plan.workspace, current, &head.record).await?;
        let Subject { kind, id } = head.record.subject();
        if before.as_ref().is_some_and(|before| before.same_as(&content)) {
            return Ok(Proposed::Unchanged);
        }
        let number = head.record.version().saturating_add(1);
        let content = content.with_identity(&id, None, number);
        let refusals = self.refusals(current, kind, &head.record, &content);
        if !refusals.is_empty() {
            return Err(PublishError::Refused(refusals));
        }
        let version = VersionHead {
            version: number,
            at: self.clock.now(),
            by: plan.by.to_owned(),
            why: plan.why.clone(),
            copied_from,
            job: None,
            possible: content.possible(),
            rules: content.len(),
        };
        let mut next = head.record.clone();
        content.name().clone_into(&mut next.name);
        next.published = Some(version.clone());
        next.revisions = draft.map_or(next.revisions, |draft| draft.revision);
        let mut document = current.clone();
        put_in_place(&mut document, &next, content.clone());
        check_room(kind, current, &document, "")?;
        self.check_triggers(plan.workspace, kind, current, &document).await?;
        Ok(Proposed::Change(Box::new(Proposal {
            document,
            what: format!("{} \"{}\" version {number}", kind.title(), next.name),
            head: Some(next),
            version: Some(RulesetVersion { diff: diff(before.as_ref(), &content), head: version, content }),
            draft: draft.cloned(),
        })))
    }

    /// The levels of the newest version begin elsewhere. When they do not, only that it was computed is noted.
    async fn propose_cut_points(
        &self,
        plan: &Plan<'_>,
        seen: &Seen,
        version: u64,
        points: &[CutPoint],
        computed: Computed,
    ) -> Result<Proposed, PublishError> {
        let head = seen.head.as_ref().ok_or(PublishError::Missing)?;
        if head.record.version() != version {
            return Err(PublishError::Stale { revision: head.record.version() });
        }
        let before = self.published(plan.workspace, &seen.current.document, &head.record).await?;
        let Some(Content::Levels(levels)) = before else { return Err(PublishError::Missing) };
        let content = Content::Levels(LevelContent { ruleset: levels.ruleset.with_cut_points(points), ..levels });
        match self.propose_version(plan, seen, head, content, None, None).await? {
            Proposed::Change(mut proposal) => {
                if let Some(head) = &mut proposal.head {
                    head.cut_points = Some(computed);
                }
                Ok(Proposed::Change(proposal))
            }
            Proposed::Unchanged => {
                let next = RulesetHead { cut_points: Some(computed), ..head.record.clone() };
                let (document, what) = (seen.current.document.clone(), String::new());
                Ok(Proposed::Change(Box::new(Proposal { document, what, head: Some(next), version: None, draft: None })))
            }
        }
    }

    /// What keeps a content from being published.
    fn refusals(&self, current: &ModelDocument, kind: RulesetKind, head: &RulesetHead, content: &Content) -> Vec<Finding> {
        let circumstances = Circumstances {
            primary: current.place_of(kind, &head.id) == Place::Primary,
            starts_on: head.starts_on,
            ends_on: head.ends_on,
            ..Circumstances::new(kind, current, self.clock.now().day())
        };
        lint(content, &circumstances).into_iter().filter(|finding| finding.severity == Severity::Error).collect()
    }

    /// Whether and when a ruleset is scored, what it is called, whether it is the primary one.
    async fn propose_head(&self, plan: &Plan<'_>, seen: &Seen, patch: &HeadPatch) -> Result<Proposed, PublishError> {
        let current = &seen.current.document;
        let read = seen.head.as_ref().ok_or(PublishError::Missing)?;
        let Subject { kind, id } = read.record.subject();
        let next = patched(&read.record, patch)?;
        let place = current.place_of(kind, &id);
        self.check_head(patch, &next, place)?;
        let published = self.published(plan.workspace, current, &next).await?;
        let mut document = current.clone();
        if let Some(mut content) = published {
            content.rename(&next.name);
            if patch.primary == Some(true) && place != Place::Primary {
                if content.levels().is_some_and(|levels| levels.segment.is_some()) {
                    return Err(PublishError::invalid(
                        "/primary",
                        "the ruleset has a segment, and the primary one has none: publish it without one first",
                    ));
                }
                let before = current.primary(kind);
                document.put_primary(kind, content);
                self.keep_beside(plan.workspace, &mut document, kind, before).await?;
            } else {
                put_in_place(&mut document, &next, content);
            }
        }
        check_room(kind, current, &document, if patch.primary == Some(true) { "/primary" } else { "/enabled" })?;
        self.check_triggers(plan.workspace, kind, current, &document).await?;
        if document == *current && next == read.record {
            return Ok(Proposed::Unchanged);
        }
        let what = format!("{} \"{}\" {}", kind.title(), next.name, happening(patch));
        Ok(Proposed::Change(Box::new(Proposal { document, what, head: Some(next), version: None, draft: None })))
    }

    /// The ruleset that was the primary one is scored beside the new one while it is enabled.
    async fn keep_beside(
        &self,
        workspace: &WorkspaceId,
        document: &mut ModelDocument,
        kind: RulesetKind,
        before: Content,
    ) -> Result<(), PublishError> {
        let Ok(id) = RulesetId::new(before.id()) else { return Ok(()) };
        let head = self.see(workspace, Some(&Subject { kind, id })).await?.head;
        if let Some(head) = head.filter(|head| head.record.enabled) {
            document.put_beside(kind, before, head.record.days());
        }
        Ok(())
    }

    fn check_head(&self, patch: &HeadPatch, next: &RulesetHead, place: Place) -> Result<(), PublishError> {
        check_dates(next.starts_on, next.ends_on).map_err(PublishError::Invalid)?;
        let today = self.clock.now().day();
        if next.kind.is_of_levels() {
            for (said, pointer) in [(patch.starts_on.is_some(), "/starts_on"), (patch.ends_on.is_some(), "/ends_on")] {
                if said {
                    return Err(PublishError::invalid(pointer, "a level ruleset has no dates: it is used as long as it is enabled"));
                }
            }
        }
        let dated = next.ends_on.is_some() || next.starts_on.is_some_and(|first| first > today);
        match (patch.primary, place) {
            (Some(false), Place::Primary) => return Err(PublishError::Primary),
            (Some(true), Place::Beside | Place::Nowhere) => {
                if next.published.is_none() {
                    return Err(PublishError::invalid("/primary", "the ruleset was never published; publish it first"));
                }
                if !next.enabled {
                    return Err(PublishError::invalid("/primary", "the ruleset is not enabled; enable it first"));
                }
                if dated {
                    return Err(PublishError::invalid("/primary", "the primary ruleset has no `ends_on` and no `starts_on` to come"));
                }
            }
            (_, Place::Primary) if !next.enabled || dated => return Err(PublishError::Primary),
            _ => {}
        }
        Ok(())
    }

    /// Refuses a model that lacks a level which an enabled trigger names. Levels of all rulesets of a kind are one vocabulary.
    async fn check_triggers(
        &self,
        workspace: &WorkspaceId,
        kind: RulesetKind,
        current: &ModelDocument,
        next: &ModelDocument,
    ) -> Result<(), PublishError> {
        let Some(of) = level_of(kind) else { return Ok(()) };
        let after = next.level_ids(of);
        let gone: Vec<&str> = current.level_ids(of).into_iter().filter(|id| !after.contains(id)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let triggers = Triggers::new(self.store.clone(), self.clock.clone()).list(workspace).await?;
        for level in gone {
            let naming = triggers.iter().filter(|trigger| trigger.enabled && trigger.when.level() == Some((of, level)));
            let naming: Vec<_> = naming.map(|trigger| (trigger.id.clone(), trigger.name.clone())).collect();
            if !naming.is_empty() {
                return Err(PublishError::Referenced { level: level.to_owned(), triggers: naming });
            }
        }
        Ok(())
    }
}

/// Puts the content of a ruleset into its place: where it stands already, or beside the primary one when it is enabled. Levels without a segment
/// that are not the primary ones are not used.
fn put_in_place(document: &mut ModelDocument, head: &RulesetHead, content: Content) {
    if document.place_of(head.kind, &head.id) == Place::Primary {
        document.put_primary(head.kind, content);
    } else if head.enabled && content.levels().is_none_or(|levels| levels.segment.is_some()) {
        document.put_beside(head.kind, content, head.days());
    } else {
        document.take_out(head.kind, &head.id);
    }
}

/// No more than so many rulesets of a kind are used at the same time; drafts do not count.
fn check_room(kind: RulesetKind, current: &ModelDocument, next: &ModelDocument, pointer: &str) -> Result<(), PublishError> {
    let used = |document: &ModelDocument| {
        let beside = match (kind, level_of(kind)) {
            (_, Some(of)) => document.segments(of).len(),
            (RulesetKind::Account, _) => document.other_accounts.len(),
            _ => document.other_engagements.len(),
        };
        beside.saturating_add(1)
    };
    if used(next) > MAX_ENABLED && used(next) > used(current) {
        let detail = format!("{MAX_ENABLED} rulesets of this kind are enabled, which is the most; disable one");
        return Err(PublishError::invalid(pointer, detail));
    }
    Ok(())
}

/// The model with its segments in another order.
fn reordered(current: &ModelDocument, kind: RulesetKind, order: &[RulesetId]) -> Result<ModelDocument, PublishError> {
    let of = level_of(kind).ok_or_else(|| PublishError::invalid("", "only level rulesets have an order"))?;
    let mut document = current.clone();
    let segments = document.segments_mut(of);
    let place = |id: &str| order.iter().position(|listed| listed.as_str() == id);
    let unknown = order.iter().enumerate().find(|(_, id)| segments.iter().all(|segment| segment.ruleset.id != id.as_str()));
    if let Some((i, id)) = unknown {
        return Err(PublishError::invalid(
            &format!("/order/{i}"),
            format!("must be the id of an enabled ruleset with a segment, got `{id}`"),
        ));
    }
    let twice = order.iter().enumerate().find(|(i, id)| order.iter().take(*i).any(|before| before == *id));
    if let Some((i, id)) = twice {
        return Err(PublishError::invalid(&format!("/order/{i}"), format!("`{id}` is named twice")));
    }
    let missing: Vec<String> =
        segments.iter().map(|segment| segment.ruleset.id.as_str()).filter(|id| place(id).is_none()).map(|id| format!("`{id}`")).collect();
    if !missing.is_empty() {
        let detail = format!("must name each of the {} rulesets with a segment once; missing: {}", segments.len(), missing.join(", "));
        return Err(PublishError::invalid("/order", detail));
    }
    segments.sort_by_cached_key(|segment| place(&segment.ruleset.id));
    Ok(document)
}

/// Somebody published this model meanwhile.
fn published(document: &ModelDocument) -> PublishError {
    let (by, at) = document.published.clone().map_or_else(Default::default, |published| (published.by, published.at));
    PublishError::Published { version: document.version, by, at }
}

/// A write that asks for nothing: a deliberate bug.
fn whatever_is_there(write: Write) -> Write {
    match write {
        Write::Put(item, _) => Write::Put(item, Condition::Always),
        Write::Delete(key, _) => Write::Delete(key, Condition::Always),
        Write::Check(key, _) => Write::Check(key, Condition::Always),
    }
}

/// Lets people hear of what this version of the model changes.
fn announce(document: &mut ModelDocument) {
    document.announced.push(document.version);
    let beyond = document.announced.len().saturating_sub(ANNOUNCED);
    document.announced.drain(..beyond);
}

/// The writes that take back what a publication prepared: from now on states are counted only by what all of them are counted by already.
pub(crate) async fn give_up<S: Store>(
    store: &S,
    workspace: &WorkspaceId,
    publication: &Publication,
    now: Timestamp,
) -> Result<Vec<Write>, StoreError> {
    let current = super::read_current(store.read(&model_key(workspace), Consistency::Strong).await?.as_ref())?;
    let before = past_model(store, workspace, current.document.version.saturating_sub(1)).await?;
    let mut document = current.document;
    let known: BTreeSet<PartId> = before.matching_parts().map(MatchingPart::id).collect();
    document.kept_parts.retain(|part| known.contains(&part.id()));
    document.version = document.version.saturating_add(1);
    announce(&mut document);
    let (by, what) = (publication.by.clone(), format!("nothing: {} was given up", publication.what));
    document.published = Some(Published { at: now, by, why: String::new(), what });
    model_writes(workspace, current.stored, &document, now)
}

/// The head with what is to be different.
fn patched(head: &RulesetHead, patch: &HeadPatch) -> Result<RulesetHead, PublishError> {
    let mut next = head.clone();
    if let Some(name) = &patch.name {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 200 {
            return Err(PublishError::invalid("/name", "must have 1 to 200 characters"));
        }
        name.clone_into(&mut next.name);
    }
    next.enabled = patch.enabled.unwrap_or(next.enabled);
    next.starts_on = patch.starts_on.unwrap_or(next.starts_on);
    next.ends_on = patch.ends_on.unwrap_or(next.ends_on);
    Ok(next)
}

/// What happens to the ruleset, in words.
fn happening(patch: &HeadPatch) -> &'static str {
    match (patch.primary, patch.enabled) {
        (Some(true), _) => "made the primary one",
        (_, Some(true)) => "enabled",
        (_, Some(false)) => "disabled",
        _ if patch.starts_on.is_some() || patch.ends_on.is_some() => "given other dates",
        _ => "renamed",
    }
}

/// The id of the job of a publication. Only one publication can follow a version of the model, so the id need not be random.
fn job_id(workspace: &WorkspaceId, after: u64, now: Timestamp) -> Result<JobId, IdError> {
    let digest = hash64(&[b"publication", workspace.as_str().as_bytes(), &after.to_le_bytes(), &now.millis().to_le_bytes()]);
    JobId::new(&format!("job_{}", BatchId::new(now, u128::from(digest)).to_string().to_lowercase()))
}
