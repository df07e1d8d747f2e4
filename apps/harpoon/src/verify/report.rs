//! What was found, in a sentence and as a table.

use crate::text::grouped;
use domain::{Home, IdentityId, WorkspaceId};
use serde::Serialize;
use std::{cmp::Reverse, fmt::Display};

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A state that lies where no mapping says.
    Stray {
        /// Where it lies.
        home: Home,
        /// Whose it is.
        identity: IdentityId,
    },
    /// An identity: its parcels, its mapping and its state.
    Identity(IdentityId),
    /// An account or an unresolved lead: its score and its standing.
    Home(Home),
}

/// One way in which what is stored does not follow from the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Parcels of an identity of which nothing else is known.
    Lost {
        /// Distinct events in them.
        events: u64,
    },
    /// The mapping's home does not hold the state.
    StateMissing {
        /// Distinct events in the log.
        events: u64,
    },
    /// The state lacks events.
    EventsMissing {
        /// How many.
        events: u64,
    },
    /// The state counts other than the log.
    StateDiffers {
        /// How many more events it counts than the log holds.
        more: u64,
        /// In what it differs.
        what: Vec<&'static str>,
    },
    /// The state lies where no mapping says.
    Stray,
    /// Links that the log states and the mappings lack.
    LinksMissing {
        /// How many.
        links: u64,
    },
    /// Fields that the log states of accounts and that these lack.
    FieldsMissing {
        /// How many accounts.
        accounts: u64,
    },
    /// The score is another one than the log gives.
    ScoreDiffers {
        /// By how many points, of fit or of engagement, whichever is more.
        points: u64,
    },
    /// There is no score, or it follows from earlier states.
    NotScored,
    /// The score would not be looked at again when it changes without an event.
    DueLost,
    /// The levels do not follow from the last score.
    NotLevelled,
    /// Changes that were recorded minutes ago and never sent.
    Unsent {
        /// How many.
        changes: u64,
    },
}

impl Fault {
    /// By how much it is worse than another: points first, then events.
    fn weight(&self) -> u64 {
        match self {
            Self::ScoreDiffers { points } => *points,
            Self::Lost { events } | Self::StateMissing { events } | Self::EventsMissing { events } => *events,
            Self::StateDiffers { more, .. } => *more,
            Self::LinksMissing { links } => *links,
            Self::FieldsMissing { accounts } => *accounts,
            Self::Unsent { changes } => *changes,
            Self::Stray | Self::NotScored | Self::DueLost | Self::NotLevelled => 0,
        }
    }

    /// In words, for a table.
    pub fn words(&self) -> String {
        match self {
            Self::Lost { events } => format!("{} in the log, no mapping and no state", count(*events, "event", "events")),
            Self::StateMissing { events } => format!("no state where the mapping says; {} in the log", count(*events, "event", "events")),
            Self::EventsMissing { events } => format!("its state lacks {}", count(*events, "event", "events")),
            Self::StateDiffers { more: 0, what } => format!("its state differs from the log in {}", what.join(", ")),
            Self::StateDiffers { more, .. } => format!("its state counts {} that the log lacks", count(*more, "event", "events")),
            Self::Stray => "a state that no mapping names".to_owned(),
            Self::LinksMissing { links } => format!("{} missing", count(*links, "link", "links")),
            Self::FieldsMissing { accounts } => format!("fields that it stated are missing at {}", count(*accounts, "account", "accounts")),
            Self::ScoreDiffers { points: 0 } => "the score record shows something else than the log gives".to_owned(),
            Self::ScoreDiffers { points } => format!("the score differs by {}", count(*points, "point", "points")),
            Self::NotScored => "not scored from its latest states".to_owned(),
            Self::DueLost => "nothing would score it again when it is due".to_owned(),
            Self::NotLevelled => "not levelled from its last score".to_owned(),
            Self::Unsent { changes } => format!("{} never sent", count(*changes, "change", "changes")),
        }
    }
}

/// Something that stayed wrong when it was looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Identities whose states were compared with the log.
    pub identities: u64,
    /// Accounts whose scores were computed again.
    pub accounts: u64,
    /// Unresolved leads whose scores were computed again.
    pub unresolved_leads: u64,
    /// What differs, in no order.
    pub findings: Vec<Finding>,
    /// So many more looked wrong at first sight than are remembered; they were not looked at again.
    pub not_looked_at: u64,
    /// What was still being changed by somebody at every look.
    pub in_flight: u64,
    /// Homes that were last scored with an earlier model, whose scores can't be computed again.
    pub earlier_model: u64,
}

/// A number with its noun.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(i128::from(n)), if n == 1 { one } else { many })
}

fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl Report {
    /// Whether everything follows from the log.
    pub const fn agrees(&self) -> bool {
        self.findings.is_empty() && self.not_looked_at == 0
    }

    fn homes(&self, wanted: impl Fn(&Fault) -> bool) -> (u64, u64) {
        let (mut accounts, mut leads) = (0, 0);
        for finding in &self.findings {
            if let Subject::Home(home) = &finding.subject
                && finding.faults.iter().any(&wanted)
            {
                if home.account().is_some() { accounts += 1 } else { leads += 1 }
            }
        }
        (accounts, leads)
    }

    fn sum(&self, of: impl Fn(&Fault) -> Option<u64>) -> (u64, u64) {
        let found: Vec<u64> = self.findings.iter().filter_map(|finding| finding.faults.iter().find_map(&of)).collect();
        (u64::try_from(found.len()).unwrap_or(u64::MAX), found.iter().sum())
    }

    fn largest(&self) -> u64 {
        let points = |fault: &Fault| if let Fault::ScoreDiffers { points } = fault { Some(*points) } else { None };
        self.findings.iter().flat_map(|finding| &finding.faults).filter_map(points).max().unwrap_or_default()
    }

    /// What was found, in one sentence.
    pub fn sentence(&self) -> String {
        if self.agrees() {
            let mut parts = vec![count(self.identities, "identity", "identities"), count(self.accounts, "account", "accounts")];
            if self.unresolved_leads > 0 {
                parts.push(count(self.unresolved_leads, "unresolved lead", "unresolved leads"));
            }
            return format!("{} agree with the log.", listed(&parts));
        }
        let mut clauses = self.clauses_of_homes();
        clauses.extend(self.clauses_of_identities());
        if self.not_looked_at > 0 {
            clauses.push(format!("{} more looked wrong and were not looked at again", grouped(i128::from(self.not_looked_at))));
        }
        format!("{}.", clauses.join("; "))
    }

    fn clauses_of_homes(&self) -> Vec<String> {
        let mut clauses = Vec::new();
        let mut say = |wanted: fn(&Fault) -> bool, one: &str, many: &str, more: String| {
            let (accounts, leads) = self.homes(wanted);
            let mut parts = Vec::new();
            if accounts > 0 {
                parts.push(count(accounts, "account", "accounts"));
            }
            if leads > 0 {
                parts.push(count(leads, "unresolved lead", "unresolved leads"));
            }
            if !parts.is_empty() {
                let verb = if accounts + leads == 1 { one } else { many };
                clauses.push(format!("{} {verb}{more}", listed(&parts)));
            }
        };
        let (accounts, leads) = self.homes(|fault| matches!(fault, Fault::ScoreDiffers { points: 1.. }));
        let points = count(self.largest(), "point", "points");
        let by = if accounts + leads == 1 { format!(" by {points}") } else { format!(", largest by {points}") };
        say(|fault| matches!(fault, Fault::ScoreDiffers { points: 1.. }), "differs", "differ", by);
        say(|fault| matches!(fault, Fault::ScoreDiffers { points: 0 }), "shows", "show", " something else than the log gives".to_owned());
        say(|fault| matches!(fault, Fault::NotScored), "is", "are", " not scored from the latest states".to_owned());
        say(|fault| matches!(fault, Fault::NotLevelled), "is", "are", " not levelled from the last score".to_owned());
        say(|fault| matches!(fault, Fault::DueLost), "would", "would", " not be scored again when that is due".to_owned());
        say(|fault| matches!(fault, Fault::Unsent { .. }), "holds", "hold", " changes that were never sent".to_owned());
        clauses
    }

    fn clauses_of_identities(&self) -> Vec<String> {
        let mut clauses = Vec::new();
        let identities = |n| count(n, "identity", "identities");
        let has = |n| if n == 1 { "has" } else { "have" };
        let events = |n| count(n, "event", "events");
        let (n, missing) = self.sum(|fault| if let Fault::EventsMissing { events } = fault { Some(*events) } else { None });
        if n > 0 {
            let whose = if n == 1 { "its state lacks" } else { "their states lack" };
            clauses.push(format!("{} {} {} that {whose}", identities(n), has(n), events(missing)));
        }
        let lost = |fault: &Fault| match fault {
            Fault::Lost { events } | Fault::StateMissing { events } => Some(*events),
            _ => None,
        };
        let (n, missing) = self.sum(lost);
        if n > 0 {
            clauses.push(format!("{} with {} {} no state", identities(n), events(missing), has(n)));
        }
        let (n, more) = self.sum(|fault| if let Fault::StateDiffers { more, .. } = fault { Some(*more) } else { None });
        if n > 0 {
            let counted = if more > 0 { format!(", by {} too many", events(more)) } else { String::new() };
            clauses.push(format!("{} {} a state that differs from the log{counted}", identities(n), has(n)));
        }
        let (n, _) = self.sum(|fault| matches!(fault, Fault::Stray).then_some(1));
        if n > 0 {
            clauses.push(format!("{} where no mapping says", if n == 1 { "1 state lies".to_owned() } else { format!("{n} states lie") }));
        }
        let (n, links) = self.sum(|fault| if let Fault::LinksMissing { links } = fault { Some(*links) } else { None });
        if n > 0 {
            clauses.push(format!("{} {} missing", count(links, "link", "links"), if links == 1 { "is" } else { "are" }));
        }
        let (n, _) = self.sum(|fault| if let Fault::FieldsMissing { accounts } = fault { Some(*accounts) } else { None });
        if n > 0 {
            clauses.push(format!("{} stated fields that accounts lack", identities(n)));
        }
        clauses
    }

    /// What should be known beside the sentence.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.in_flight > 0 {
            remarks.push(format!("{} being changed at every look and not judged.", count(self.in_flight, "place was", "places were")));
        }
        if self.earlier_model > 0 {
            let what = count(self.earlier_model, "score was", "scores were");
            remarks.push(format!("{what} made with an earlier model and not computed again."));
        }
        remarks
    }

    /// The findings, the worst first: those with most points, then those with most events.
    pub fn worst(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        let weight = |finding: &Finding| finding.faults.iter().map(Fault::weight).max().unwrap_or_default();
        findings.sort_by_key(|finding| (Reverse(weight(finding)), finding.workspace.clone(), finding.subject.clone()));
        findings
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stray { home, identity } => write!(f, "state of {identity} in {home}"),
            Self::Identity(identity) => write!(f, "identity {identity}"),
            Self::Home(Home::Account(account)) => write!(f, "account {account}"),
            Self::Home(Home::Lead(lead)) => write!(f, "unresolved lead {lead}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AccountId, Identity};

    fn finding(subject: Subject, fault: Fault) -> Finding {
        Finding { workspace: WorkspaceId::new("main").unwrap(), subject, faults: vec![fault] }
    }

    fn account(id: &str) -> Subject {
        Subject::Home(Home::Account(AccountId::new(id).unwrap()))
    }

    fn user(id: &str) -> Subject {
        Subject::Identity(Identity::user(id).id())
    }

    #[test]
    fn agreement_names_what_was_compared() {
        let report = Report { identities: 12_402, accounts: 3_010, ..Report::default() };
        assert_eq!(report.sentence(), "12,402 identities and 3,010 accounts agree with the log.");
        let report = Report { identities: 1, accounts: 1, unresolved_leads: 2, ..Report::default() };
        assert_eq!(report.sentence(), "1 identity, 1 account and 2 unresolved leads agree with the log.");
    }

    #[test]
    fn differences_are_one_sentence() {
        let findings = vec![
            finding(account("a"), Fault::ScoreDiffers { points: 5 }),
            finding(account("b"), Fault::ScoreDiffers { points: 12 }),
            finding(account("c"), Fault::ScoreDiffers { points: 1 }),
            finding(user("u"), Fault::EventsMissing { events: 4 }),
        ];
        let report = Report { findings, ..Report::default() };
        assert_eq!(report.sentence(), "3 accounts differ, largest by 12 points; 1 identity has 4 events that its state lacks.");
        let worst: Vec<String> = report.worst().iter().map(|finding| finding.subject.to_string()).collect();
        assert_eq!(worst, ["account b", "account a", &format!("identity {}", Identity::user("u").id()), "account c"]);
    }

    #[test]
    fn every_kind_of_fault_has_its_clause() {
        let lead = Subject::Home(Home::Lead(Identity::user("u").id()));
        let findings = vec![
            finding(account("a"), Fault::ScoreDiffers { points: 1 }),
            finding(lead, Fault::NotScored),
            finding(account("b"), Fault::NotLevelled),
            finding(account("c"), Fault::DueLost),
            finding(account("d"), Fault::Unsent { changes: 2 }),
            finding(user("v"), Fault::Lost { events: 3 }),
            finding(user("w"), Fault::StateDiffers { more: 1, what: vec!["events"] }),
            finding(user("x"), Fault::LinksMissing { links: 1 }),
            finding(user("y"), Fault::FieldsMissing { accounts: 1 }),
            finding(Subject::Stray { home: Home::Lead(Identity::user("z").id()), identity: Identity::user("z").id() }, Fault::Stray),
        ];
        assert_eq!(
            Report { findings, ..Report::default() }.sentence(),
            "1 account differs by 1 point; 1 unresolved lead is not scored from the latest states; 1 account is not levelled from the \
             last score; 1 account would not be scored again when that is due; 1 account holds changes that were never sent; 1 identity \
             with 3 events has no state; 1 identity has a state that differs from the log, by 1 event too many; 1 state lies where no \
             mapping says; 1 link is missing; 1 identity stated fields that accounts lack."
        );
    }
}
