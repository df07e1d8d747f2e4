//! Why a ruleset was not changed, as the API says it.

use crate::problem::{Fault, Problem};
use domain::{lint::Finding, ruleset::RulesetKind};
use pipeline::rulesets::PublishError;

/// What somebody wanted to do, for those refusals that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Editing a draft or a head.
    Edit,
    /// Deleting a ruleset.
    Delete,
    /// Publishing a draft: the revision is a field of the body.
    Publish,
}

/// The problem of a refusal. `id` names the ruleset.
pub(crate) fn refused(error: PublishError, deed: Deed, kind: RulesetKind, id: &str) -> Problem {
    match error {
        PublishError::Stale { revision: 0 } if deed == Deed::Publish => Problem::conflict("there is no draft")
            .with(Fault::at("/revision", "there is no draft to publish; the newest version is all there is")),
        PublishError::Stale { revision } if deed == Deed::Publish => {
            let detail = format!("the draft is at revision {revision} by now; look at it again");
            Problem::conflict(detail.clone()).with(Fault::at("/revision", detail))
        }
        PublishError::Primary if deed == Deed::Delete => {
            Problem::conflict("the primary ruleset can't be deleted; make another one primary first")
        }
        PublishError::Missing => Problem::not_found(kind.title(), id),
        error => problem(error),
    }
}

/// The problem of a refusal that does not depend on what somebody wanted to do.
pub(crate) fn problem(error: PublishError) -> Problem {
    match error {
        PublishError::Stale { revision } => Problem::stale(revision),
        PublishError::Running { .. } => Problem::conflict(error.to_string()).with(Fault::at("", error.to_string())),
        PublishError::Published { .. }
        | PublishError::Referenced { .. }
        | PublishError::Primary
        | PublishError::Enabled
        | PublishError::DraftThere { .. }
        | PublishError::Taken
        | PublishError::Missing => Problem::conflict(error.to_string()),
        PublishError::Refused(findings) => findings_problem(&findings),
        PublishError::Invalid(problems) => problems.into(),
        PublishError::TooLarge { .. } => single("", error.to_string()),
        PublishError::Unusable(error) => single("", with_cause(&error)),
        PublishError::Store(error) => error.into(),
    }
}

/// What publication refuses: the places are those of the draft's content.
fn findings_problem(findings: &[Finding]) -> Problem {
    let faults = findings.iter().map(|finding| Fault::at(&*finding.pointer, format!("{}: {}", finding.says, finding.remedy)));
    Problem::body(faults.collect()).unwrap_or_else(Problem::internal)
}

fn single(pointer: &str, detail: String) -> Problem {
    crate::body::single(Fault::at(pointer, detail))
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
