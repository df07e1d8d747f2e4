//! What a notification says, before it is put into the form of a destination.

use crate::directory::{Directory, LevelNames, Person, Play};
use domain::{
    Home, IdentityId, Timestamp, WorkspaceId,
    transition::{Changed, Transition},
    trigger::{Direction, FilterFacts, LevelOf, Trigger, When},
};
use pipeline::{
    Consistency, Key, Store, StoreError,
    records::{self, ScoreRecord, Standing},
};
use serde_json::Value;
use url::Url;

/// How many leads a notification names.
pub const LEADS: usize = 3;
/// How many reasons it gives.
pub const REASONS: usize = 3;

/// An account as it was when the trigger fired. Everything may be missing: a notification then says what is known.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The account or unresolved lead.
    pub home: Home,
    /// Its scores.
    pub score: Option<ScoreRecord>,
    /// Its levels.
    pub standing: Option<Standing>,
    /// Who its best leads and the lead of the transition are, once they were looked up.
    pub people: Vec<Person>,
}

impl Snapshot {
    /// Reads the records that there are. People are not looked up yet.
    pub async fn read(store: &impl Store, workspace: &WorkspaceId, home: &Home) -> Result<Self, StoreError> {
        let keys = [records::home_key(workspace, home, records::SCORE), records::standing_key(workspace, home)];
        let items = store.read_many(&keys, Consistency::Strong).await?;
        let find = |key: &Key| items.iter().find(|item| item.key == *key);
        let [score_key, standing_key] = &keys;
        let score = find(score_key).map(records::from_item).transpose()?;
        let standing = find(standing_key).map(records::from_item).transpose()?;
        Ok(Self { home: home.clone(), score, standing, people: Vec::new() })
    }

    /// With the people that a notification of this transition names: the best leads and the lead that the transition is about.
    pub async fn with_people(
        mut self,
        directory: &impl Directory,
        workspace: &WorkspaceId,
        transition: &Transition,
    ) -> Result<Self, StoreError> {
        let mut leads: Vec<IdentityId> = self.leads().map(|(lead, _, _)| lead).collect();
        let moved = match &transition.change {
            Changed::LeadLevel { lead, .. } => Some(*lead),
            _ => None,
        };
        let own = match &self.home {
            Home::Lead(lead) => Some(*lead),
            Home::Account(_) => None,
        };
        for lead in [moved, own].into_iter().flatten() {
            if !leads.contains(&lead) {
                leads.push(lead);
            }
        }
        self.people = directory.people(workspace, &self.home, &leads).await?;
        Ok(self)
    }

    /// What filters see.
    pub fn admits(&self, trigger: &Trigger) -> bool {
        let field = |name: &str| {
            let value = self.score.as_ref()?.fields.get(name)?;
            serde_json::to_value(value).ok()
        };
        let standing = self.standing.as_ref();
        let facts = FilterFacts {
            level: standing.and_then(|standing| standing.level.as_deref()),
            engagement_level: standing.and_then(|standing| standing.engagement_level.as_deref()),
            grade: standing.and_then(|standing| standing.grade),
            grid: standing.and_then(|standing| standing.grid),
            tier: self.tier(),
            owner: self.owner(),
            field: Some(&field),
        };
        trigger.admits(&facts)
    }

    /// Who looks after the account. Owner rules give an owner with the standing, which the score record follows.
    pub fn owner(&self) -> Option<&str> {
        let given = self.standing.as_ref().and_then(|standing| standing.owner.as_deref());
        given.or_else(|| self.score.as_ref()?.owner.as_deref())
    }

    /// The named account's tier.
    pub fn tier(&self) -> Option<&str> {
        self.of(|score| score.tier.as_deref(), |standing| standing.tier.as_deref())
    }

    /// The named account's priority.
    pub fn priority(&self) -> Option<&str> {
        self.of(|score| score.priority.as_deref(), |standing| standing.priority.as_deref())
    }

    /// The first web domain.
    pub fn domain(&self) -> Option<&str> {
        self.of(|score| score.domain.as_deref(), |standing| standing.domain.as_deref())
    }

    /// The account's name, when it has one.
    pub fn name(&self) -> Option<&str> {
        self.of(|score| score.name.as_deref(), |standing| standing.name.as_deref())
    }

    /// What the account is called: its name, else its domain, else its id; for an unresolved lead what the lead is called.
    pub fn called(&self) -> String {
        let known = self.name().or_else(|| self.domain()).map(str::to_owned);
        known.unwrap_or_else(|| match &self.home {
            Home::Account(id) => id.to_string(),
            Home::Lead(lead) => self.person(lead).unwrap_or_else(|| "An unresolved lead".to_owned()),
        })
    }

    /// What a lead is called.
    pub fn person(&self, lead: &IdentityId) -> Option<String> {
        self.people.iter().find(|person| person.lead == *lead).map(|person| person.name.clone())
    }

    fn of<'a>(
        &'a self,
        score: impl Fn(&'a ScoreRecord) -> Option<&'a str>,
        standing: impl Fn(&'a Standing) -> Option<&'a str>,
    ) -> Option<&'a str> {
        self.score.as_ref().and_then(score).or_else(|| self.standing.as_ref().and_then(standing))
    }

    /// The best leads with their points.
    pub fn leads(&self) -> impl Iterator<Item = (IdentityId, i64, Option<&Person>)> {
        let best = self.score.iter().flat_map(|score| score.leads.iter().take(LEADS));
        best.map(|lead| (lead.lead, lead.score, self.people.iter().find(|person| person.lead == lead.lead)))
    }

    /// The JSON form of the fields, only the chosen ones when `chosen` says so, at most 100.
    pub fn fields(&self, chosen: Option<&[String]>) -> serde_json::Map<String, Value> {
        let mut fields = serde_json::Map::new();
        for (name, value) in self.score.iter().flat_map(|score| &score.fields) {
            let name = name.to_string();
            if chosen.is_some_and(|chosen| !chosen.contains(&name)) || fields.len() >= 100 {
                continue;
            }
            if let Ok(value) = serde_json::to_value(value) {
                fields.insert(name, value);
            }
        }
        fields
    }
}

/// A trigger fired for a transition of an account.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    /// Whose account.
    pub workspace: &'a WorkspaceId,
    /// What fired.
    pub trigger: &'a Trigger,
    /// For what.
    pub transition: &'a Transition,
    /// The account.
    pub snapshot: &'a Snapshot,
    /// How levels are called.
    pub levels: &'a LevelNames,
    /// Where a person sees the account.
    pub link: String,
}

/// The address at which a person sees a home.
pub fn link(public_url: &Url, home: &Home) -> String {
    let mut url = public_url.clone();
    let (kind, id) = match home {
        Home::Account(id) => ("accounts", id.to_string()),
        Home::Lead(lead) => ("leads", format!("ld_{lead}")),
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["api", "v1", kind, &id]);
    }
    // The parser leaves this character alone; in a Slack link it would end the address.
    url.to_string().replace('|', "%7C")
}

impl Notice<'_> {
    /// The level's or score's former and present state in words.
    pub fn from_to(&self) -> (Option<String>, String) {
        let level = |of, id: &str| self.levels.name(of, id);
        match &self.transition.change {
            Changed::AccountLevel { from, to } => (from.as_deref().map(|id| level(LevelOf::Account, id)), level(LevelOf::Account, to)),
            Changed::EngagementLevel { from, to } => {
                (from.as_deref().map(|id| level(LevelOf::Engagement, id)), level(LevelOf::Engagement, to))
            }
            Changed::LeadLevel { from, to, .. } => (from.as_deref().map(|id| level(LevelOf::Lead, id)), level(LevelOf::Lead, to)),
            Changed::Surge { active } => {
                let word = |on: bool| if on { "Surging" } else { "Not surging" }.to_owned();
                (Some(word(!active)), word(*active))
            }
            Changed::Grid { from, to } => (from.as_ref().map(ToString::to_string), to.to_string()),
            Changed::Engagement { from, to } => (Some(from.to_string()), to.to_string()),
        }
    }

    /// What the change is a change of.
    pub const fn subject(&self) -> &'static str {
        match &self.transition.change {
            Changed::AccountLevel { .. } => "Account level",
            Changed::EngagementLevel { .. } => "Engagement level",
            Changed::LeadLevel { .. } => "Lead level",
            Changed::Surge { .. } => "Surge",
            Changed::Grid { .. } => "Grid cell",
            Changed::Engagement { .. } => "Engagement score",
        }
    }

    /// One sentence without a full stop. `name` is the account's, fit for the message.
    pub fn headline(&self, name: &str, fit: impl Fn(&str) -> String) -> String {
        let (from, to) = self.from_to();
        let (from, to) = (from.map(|from| fit(&from)).unwrap_or_default(), fit(&to));
        let person = match &self.transition.change {
            Changed::LeadLevel { lead, .. } => fit(&self.snapshot.person(lead).unwrap_or_else(|| "A lead".to_owned())),
            _ => String::new(),
        };
        match &self.trigger.when {
            When::LevelEntered { of: LevelOf::Account, .. } => format!("{name} is now {to}"),
            When::LevelEntered { of: LevelOf::Engagement, .. } => format!("{name} is now {to} in engagement"),
            When::LevelEntered { of: LevelOf::Lead, .. } => format!("{person} of {name} is now {to}"),
            When::LevelLeft { of: LevelOf::Account, .. } => format!("{name} is no longer {from}"),
            When::LevelLeft { of: LevelOf::Engagement, .. } => format!("{name} is no longer {from} in engagement"),
            When::LevelLeft { of: LevelOf::Lead, .. } => format!("{person} of {name} is no longer {from}"),
            When::SurgeStarted {} => format!("{name} is surging"),
            When::SurgeEnded {} => format!("The surge of {name} has ended"),
            When::GridEntered { .. } => format!("{name} is now in {to} of the grid of fit and engagement"),
            When::EngagementCrossed { threshold, direction: Direction::Up } => format!("{name} reached {threshold} engagement points"),
            When::EngagementCrossed { threshold, direction: Direction::Down } => format!("{name} fell below {threshold} engagement points"),
        }
    }

    /// The play of the level that was entered, else of the account's present level.
    pub fn play(&self) -> Option<&Play> {
        let entered = match &self.transition.change {
            Changed::AccountLevel { to, .. } => self.levels.play(LevelOf::Account, to),
            Changed::EngagementLevel { to, .. } => self.levels.play(LevelOf::Engagement, to),
            Changed::LeadLevel { to, .. } => self.levels.play(LevelOf::Lead, to),
            Changed::Surge { .. } | Changed::Grid { .. } | Changed::Engagement { .. } => None,
        };
        entered.or_else(|| {
            let present = self.snapshot.standing.as_ref().and_then(|standing| standing.level.as_deref());
            present.and_then(|level| self.levels.play(LevelOf::Account, level))
        })
    }

    /// The best reasons in words; without a score record the cause of the transition.
    pub fn reasons(&self) -> Vec<&str> {
        let known: Vec<&str> =
            self.snapshot.score.iter().flat_map(|score| score.reasons.iter().take(REASONS)).map(String::as_str).collect();
        if known.is_empty() && !self.transition.cause.is_empty() { vec![&self.transition.cause] } else { known }
    }

    /// When level recorded the transition.
    pub const fn at(&self) -> Timestamp {
        self.transition.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::AccountId;

    #[test]
    fn a_link_keeps_hostile_ids_in_its_last_segment() {
        let base = Url::parse("https://harpoon.example.com/base/").unwrap();
        let account = |id: &str| link(&base, &Home::Account(AccountId::new(id).unwrap()));
        assert_eq!(account("northwind-looms.com"), "https://harpoon.example.com/base/api/v1/accounts/northwind-looms.com");
        assert_eq!(
            account("a/../b?c#d|<!channel>"),
            "https://harpoon.example.com/base/api/v1/accounts/a%2F..%2Fb%3Fc%23d%7C%3C!channel%3E"
        );
        let lead = IdentityId::from_bytes([0xab; 16]);
        assert_eq!(link(&base, &Home::Lead(lead)), format!("https://harpoon.example.com/base/api/v1/leads/ld_{}", "ab".repeat(16)));
    }
}
