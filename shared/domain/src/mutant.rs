//! Deliberate bugs that a test turns on at run time, to show that the fault simulator, or another test, notices them.
//!
//! Without the feature `mutants`, which only the test crate asks for, [`active`] is a constant `false` and the compiler
//! removes whatever stands behind it: the shipped programs hold none of it.

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// Ingest gives two messages of one request the same batch id.
    SharedBatchId,
    /// A state is written before its parcel is put, and a failed put is not reported.
    StateBeforeParcel,
    /// A fold writes the state without a condition.
    StateWrittenBlindly,
    /// A fold that finds no state makes a new one.
    FoldCreatesState,
    /// Message ids that leave the window are not spilled.
    EvictedIdsForgotten,
    /// Spilled message ids are believed gone after an hour.
    SpillExpires,
    /// Spilled ids are believed even when the fold that spilled them never finished.
    UnfinishedSpillBelieved,
    /// An event that was folded from a later copy keeps that copy.
    FirstFoldedCopyKept,
    /// Folding again stops at parcels of the last days.
    RefoldForgetsOld,
    /// Resolve acknowledges messages whose parcels were not folded.
    AckBeforeWrite,
    /// Resolve sends nothing when it finds its work done.
    ResolveSendSkipped,
    /// A moved state leaves its old home without a due item.
    MoveWithoutDue,
    /// A state is put at its new home before it is deleted at the old one, in two steps.
    MoveInTwoSteps,
    /// Score reads its own version after the states.
    VersionAfterStates,
    /// Score writes without a condition.
    ScoreWrittenBlindly,
    /// Score sends nothing when it finds its work done.
    ScoreSendSkipped,
    /// A worker writes with an older model than the record names.
    OldModelWrites,
    /// Level sends nothing when it finds its work done.
    LevelSendSkipped,
    /// Level forgets transitions that were not sent yet.
    PendingForgotten,
    /// Level removes pending transitions before it sends them.
    PendingRemovedBeforeSend,
    /// Level writes the standing without a condition.
    StandingWrittenBlindly,
    /// Rescore removes a due item without leasing it.
    DueNotLeased,
    /// Dispatch makes a new delivery id at every attempt.
    DeliveryIdByMoment,
    /// Dispatch takes the cooldown before it writes the deliveries, and forgets for which transition.
    CooldownTakenApart,
    /// A split message is acknowledged although its parts were not sent.
    SplitLost,
    /// Resolve does not say which shard of a giant home it touched.
    ShardForgotten,
    /// Score believes a stored sum of another day.
    OldSumBelieved,
    /// Score reads its own version after the sums of a giant home.
    VersionAfterSums,
    /// A publication counts events anew while some workers still count by the older model.
    FoldBeforeSettle,
    /// A publication forgets to go on counting what its rules no longer ask for.
    KeptPartsDropped,
    /// A publication asks for nothing that it was decided by to be still so.
    PublishOnAnyVersion,
    /// A job goes on although what it found was not stored.
    JobCursorWithoutRows,
    /// A worker begins a chunk of a job without taking the job.
    JobWithoutLease,
    /// Changes that follow from a publication are told to people although nobody asked for it.
    SilenceForgotten,
    /// A dry run compares with the scores that are stored, whatever day they are of.
    DryRunByStoredScores,
    /// Whoever is disqualified leaves a level as slowly as anybody else.
    DisqualifiedKeptByHysteresis,
    /// What is told of a past moment counts what happened since.
    AsOfSeesTheFuture,
    /// Whoever is levelled for the first time was scored by the model in force.
    FirstStandingBelieved,
}

impl Mutant {
    /// Deliberate bugs that show in giant homes only.
    pub const GIANT: [Self; 3] = [Self::ShardForgotten, Self::OldSumBelieved, Self::VersionAfterSums];

    /// Deliberate bugs of editing and publishing the scoring model, which the fault simulator does not do. Each has a test of its own.
    pub const MODEL: [Self; 10] = [
        Self::FoldBeforeSettle,
        Self::KeptPartsDropped,
        Self::PublishOnAnyVersion,
        Self::JobCursorWithoutRows,
        Self::JobWithoutLease,
        Self::SilenceForgotten,
        Self::DryRunByStoredScores,
        Self::DisqualifiedKeptByHysteresis,
        Self::AsOfSeesTheFuture,
        Self::FirstStandingBelieved,
    ];

    /// Every other deliberate bug.
    pub const ALL: [Self; 25] = [
        Self::SharedBatchId,
        Self::StateBeforeParcel,
        Self::StateWrittenBlindly,
        Self::FoldCreatesState,
        Self::EvictedIdsForgotten,
        Self::SpillExpires,
        Self::UnfinishedSpillBelieved,
        Self::FirstFoldedCopyKept,
        Self::RefoldForgetsOld,
        Self::AckBeforeWrite,
        Self::ResolveSendSkipped,
        Self::MoveWithoutDue,
        Self::MoveInTwoSteps,
        Self::VersionAfterStates,
        Self::ScoreWrittenBlindly,
        Self::ScoreSendSkipped,
        Self::OldModelWrites,
        Self::LevelSendSkipped,
        Self::PendingForgotten,
        Self::PendingRemovedBeforeSend,
        Self::StandingWrittenBlindly,
        Self::DueNotLeased,
        Self::DeliveryIdByMoment,
        Self::CooldownTakenApart,
        Self::SplitLost,
    ];
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Turns one deliberate bug on for this thread, or all of them off.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    /// Whether a deliberate bug is turned on for this thread.
    pub fn active(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{active, choose};

/// Whether a deliberate bug is turned on: never, in a build without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn active(_mutant: Mutant) -> bool {
    false
}
