//! A dry run: homes are scored and levelled by the model in force and by a candidate, by the very steps that the stages take, and compared.
//! Nothing is written.

use crate::{
    homes::{Gathered, HomeStore},
    levelling::{Step, Taken},
    notify::{Deliveries, Fired, Verdict, verdict},
    parcels::Parcels,
    past,
    records::{LeadLevels, ScoreRecord, Standing, Versioned},
    scoring,
    store::{Consistency, Store, StoreError},
};
use domain::{
    Day, Home, Timestamp, TriggerId, WorkspaceId,
    dry_run::{ChangedHome, Comparison, Fixed, Placed, Seen, Subject, account_differences, engagement_differences, fires_by_day},
    evaluate::Evaluation,
    explain::{Explanation, HeldLevels},
    grade::GridCell,
    model::{Beside, Model},
    mutant::{Mutant, active},
    score::{CompiledEngagement, Engagement, LeadBase},
    transition::Transition,
    trigger::{FilterFacts, LevelOf, Trigger},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;

/// How many homes are read at once.
const CONCURRENCY: usize = 16;

/// What a dry run compares.
#[derive(Debug)]
pub struct Rehearsal<'a, S> {
    /// The homes.
    pub homes: &'a HomeStore<S>,
    /// The log, for what only the candidate counts.
    pub parcels: &'a Parcels<S>,
    /// Whose.
    pub workspace: &'a WorkspaceId,
    /// The model in force.
    pub old: &'a Model,
    /// The candidate; it is to be announced ([`domain::candidate::Candidate::announced`]) if notifications are to be foretold.
    pub new: &'a Model,
    /// Which score it is about.
    pub subject: Subject,
    /// What notifies people.
    pub triggers: &'a [Trigger],
    /// For how many days back it is told how often triggers would have fired; 0 for not at all.
    pub days: u32,
    /// The moment of the question.
    pub now: Timestamp,
}

/// One home by both models.
#[derive(Debug)]
pub struct Rehearsed {
    /// What changes; nothing when everything stays.
    pub changed: Option<ChangedHome>,
    /// The explanation by the model in force.
    pub old: Explanation,
    /// The explanation by the candidate.
    pub new: Explanation,
    /// What would be sent.
    pub notifications: Vec<Foretold>,
}

/// A notification that a publication would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foretold {
    /// The trigger.
    pub trigger: TriggerId,
    /// What it is called.
    pub name: String,
    /// Its cooldown would hold it back.
    pub held_by_cooldown: bool,
}

/// A home as it was read.
struct Read<'h> {
    home: &'h Home,
    gathered: Gathered,
    /// With what only the candidate counts.
    refolded: Option<Gathered>,
    standing: Option<Standing>,
    leads: LeadLevels,
}

impl Read<'_> {
    /// What the candidate sees.
    fn for_new(&self) -> &Gathered {
        self.refolded.as_ref().unwrap_or(&self.gathered)
    }
}

/// A home by one model.
struct Side {
    record: ScoreRecord,
    taken: Taken,
}

impl<S: Store + Clone> Rehearsal<'_, S> {
    /// Compares homes by both models: what it adds up to, and every home for which something changes, in the order given. Absorbed homes and
    /// leads that have found an account are passed over.
    pub async fn compare(&self, page: &[Home]) -> Result<(Comparison, Vec<ChangedHome>), StoreError> {
        let mut comparison = Comparison::new(self.subject.clone(), self.old, self.new);
        let mut changed = Vec::new();
        let (thresholds, cells) = self.watched();
        // The futures are made first: of a stream that makes them from references it is not known that it may move between threads.
        let reads: Vec<_> = page.iter().map(|home| self.read(home)).collect();
        let mut reads = stream::iter(reads).buffered(CONCURRENCY);
        while let Some(read) = reads.try_next().await? {
            let Some(read) = read else { continue };
            let (old, new) = self.sides(&read, &thresholds, &cells);
            let seen = self.seen(&read, &old, &new);
            changed.extend(comparison.add(&seen, || self.because(&read, &old, &new)));
            self.add_matched(&mut comparison, &read, &new);
            for foretold in self.foretold(&read, &new).await? {
                comparison.add_fire(&foretold.trigger, read.home, foretold.held_by_cooldown);
            }
            if self.days > 0 && !self.triggers.is_empty() && self.subject.drives_levels() && !read.gathered.is_giant() {
                let history = |model: &Model, gathered: &Gathered, side: &Side| self.history(model, read.home, gathered, &side.record);
                comparison.add_history(&history(self.old, &read.gathered, &old), &history(self.new, read.for_new(), &new));
            }
        }
        Ok((comparison, changed))
    }

    /// Compares one home by both models, with both explanations. `None` for an absorbed home and one where nobody is.
    pub async fn one(&self, home: &Home, leads: usize) -> Result<Option<Rehearsed>, StoreError> {
        let Some(read) = self.read(home).await? else { return Ok(None) };
        let (thresholds, cells) = self.watched();
        let (old, new) = self.sides(&read, &thresholds, &cells);
        let mut comparison = Comparison::new(self.subject.clone(), self.old, self.new);
        let changed = comparison.add(&self.seen(&read, &old, &new), Vec::new);
        let explain = |model: &Model, gathered: &Gathered, side: &Side| {
            let evaluation = Evaluation::new(model, gathered.inputs(), self.day());
            let held = HeldLevels {
                account: side.taken.standing.level.as_deref(),
                engagement: side.taken.standing.engagement_level.as_deref(),
                leads: &side.taken.lead_levels.levels,
            };
            Explanation::new(model, &evaluation, held, leads)
        };
        Ok(Some(Rehearsed {
            changed,
            old: explain(self.old, &read.gathered, &old),
            new: explain(self.new, read.for_new(), &new),
            notifications: self.foretold(&read, &new).await?,
        }))
    }

    const fn day(&self) -> Day {
        self.now.day()
    }

    fn watched(&self) -> (Vec<i64>, Vec<GridCell>) {
        (Trigger::thresholds(self.triggers), Trigger::cells(self.triggers))
    }

    async fn read<'h>(&self, home: &'h Home) -> Result<Option<Read<'h>>, StoreError> {
        let (gathered, standing, leads) = futures::try_join!(
            self.homes.gather(self.workspace, home, Consistency::Eventual),
            self.homes.standing(self.workspace, home, Consistency::Eventual),
            self.homes.lead_levels(self.workspace, home, Consistency::Eventual),
        )?;
        let absorbed = gathered.own.account.as_ref().is_some_and(|account| account.record.merged_into.is_some());
        if absorbed || (home.account().is_none() && gathered.identities() == 0) {
            return Ok(None);
        }
        let refolded = self.refolded(&gathered).await?;
        Ok(Some(Read { home, gathered, refolded, standing: standing.map(|standing| standing.record), leads: leads.record }))
    }

    /// The home with its events counted by the candidate, when the candidate counts something that the model in force does not.
    async fn refolded(&self, gathered: &Gathered) -> Result<Option<Gathered>, StoreError> {
        let digest = self.new.matcher.digest();
        let counted = |gathered: &Gathered| {
            gathered.partitions().flat_map(|partition| &partition.states).all(|stored| stored.state.facts.parts == digest)
        };
        if digest == self.old.matcher.digest() || counted(gathered) {
            return Ok(None);
        }
        let mut again = gathered.clone();
        let states = std::iter::once(&mut again.own).chain(&mut again.members).flat_map(|partition| &mut partition.states);
        for stored in states.filter(|stored| stored.state.facts.parts != digest) {
            stored.state = past::refolded(self.parcels, self.workspace, &stored.state, self.new, None, self.now, |_| {}).await?;
        }
        Ok(Some(again))
    }

    fn sides(&self, read: &Read<'_>, thresholds: &[i64], cells: &[GridCell]) -> (Side, Side) {
        let side = |model: &Model, gathered: &Gathered| {
            let stored = gathered.own.score.as_ref().filter(|score| score.record.model == model.version());
            let record = match stored.filter(|_| active(Mutant::DryRunByStoredScores)) {
                Some(stored) => stored.record.clone(),
                None => scoring::compute(read.home, gathered, model, self.day(), self.now),
            };
            let version = gathered.own.score.as_ref().map_or(0, |score| score.version).saturating_add(1);
            let step = Step { model, thresholds, cells, now: self.now, is_account: read.home.account().is_some() };
            let score = Versioned { version, record };
            let taken = step.take(read.standing.as_ref(), &read.leads, &score);
            Side { record: score.record, taken }
        };
        (side(self.old, &read.gathered), side(self.new, read.for_new()))
    }

    fn seen<'s>(&'s self, read: &'s Read<'_>, old: &'s Side, new: &'s Side) -> Seen<'s> {
        Seen {
            home: read.home,
            name: new.record.name.as_deref(),
            total_leads: new.record.total_leads,
            old: self.placed(self.old, old),
            new: self.placed(self.new, new),
        }
    }

    fn placed<'s>(&'s self, model: &'s Model, side: &'s Side) -> Placed<'s> {
        let (record, standing) = (&side.record, &side.taken.standing);
        let other =
            |scores: &[domain::evaluate::OtherScore], id: &str| scores.iter().find(|score| score.ruleset == id).map(|score| score.score);
        Placed {
            score: match &self.subject {
                Subject::Account {} => Some(i64::from(record.account_score)),
                Subject::Engagement {} => Some(record.engagement),
                Subject::OtherAccount { ruleset } => other(&record.others, ruleset),
                Subject::OtherEngagement { ruleset } => other(&record.other_engagements, ruleset),
            },
            account_score: i64::from(record.account_score),
            engagement: record.engagement,
            account_level: standing.level.as_deref(),
            engagement_level: standing.engagement_level.as_deref(),
            grade: standing.grade,
            grid: standing.grid,
            surge: record.surge,
            lowest_lead_level: self.lowest_lead_level(model, standing),
            leads: &side.taken.lead_levels.levels,
        }
    }

    /// The level of the leads that are not recorded.
    fn lowest_lead_level<'m>(&self, model: &'m Model, standing: &Standing) -> Option<&'m str> {
        let levels = model.document.levels_by_id(LevelOf::Lead, standing.lead_level_ruleset.as_deref());
        levels.lowest().map(|level| level.id.as_str())
    }

    /// The rules that make the difference.
    fn because(&self, read: &Read<'_>, old: &Side, new: &Side) -> Vec<String> {
        let moment = self.day().start();
        match &self.subject {
            Subject::Account {} => account_differences(
                Some(&self.old.account.evaluate(&old.record.fields, moment)),
                Some(&self.new.account.evaluate(&new.record.fields, moment)),
            ),
            Subject::OtherAccount { ruleset } => {
                let score = |model: &Model, side: &Side| {
                    let place = place_of(&model.document.other_accounts, self.day(), |of| of.id == *ruleset)?;
                    Some(model.other_accounts.get(place)?.evaluate(&side.record.fields, moment))
                };
                account_differences(score(self.old, old).as_ref(), score(self.new, new).as_ref())
            }
            Subject::Engagement {} => {
                let of = |model: &Model, gathered: &Gathered| Evaluation::new(model, gathered.inputs(), self.day()).engagement;
                let (old, new) = (of(self.old, &read.gathered), of(self.new, read.for_new()));
                engagement_differences(Some((&self.old.engagement, &old)), Some((&self.new.engagement, &new)))
            }
            Subject::OtherEngagement { ruleset } => {
                let old = self.other_engagement(self.old, &read.gathered, ruleset);
                let new = self.other_engagement(self.new, read.for_new(), ruleset);
                engagement_differences(old.as_ref().map(|(of, with)| (*of, with)), new.as_ref().map(|(of, with)| (*of, with)))
            }
        }
    }

    fn other_engagement<'m>(&self, model: &'m Model, gathered: &Gathered, ruleset: &str) -> Option<(&'m CompiledEngagement, Engagement)> {
        let place = place_of(&model.document.other_engagements, self.day(), |of| of.id == ruleset)?;
        let compiled = model.other_engagements.get(place)?;
        let inputs = gathered.inputs();
        let bases: Vec<LeadBase> = inputs.leads().iter().map(|lead| compiled.base(lead)).collect();
        Some((compiled, compiled.engagement(&bases, self.day(), inputs.giant)))
    }

    /// Counts which rules of an account ruleset hold.
    fn add_matched(&self, comparison: &mut Comparison, read: &Read<'_>, new: &Side) {
        let compiled = match &self.subject {
            _ if read.home.account().is_none() => None,
            Subject::Account {} => Some(&self.new.account),
            Subject::OtherAccount { ruleset } => place_of(&self.new.document.other_accounts, self.day(), |of| of.id == *ruleset)
                .and_then(|place| self.new.other_accounts.get(place)),
            Subject::Engagement {} | Subject::OtherEngagement { .. } => None,
        };
        if let Some(compiled) = compiled {
            comparison.add_matched(&compiled.evaluate(&new.record.fields, self.day().start()));
        }
    }

    /// What the transitions to the candidate would send.
    async fn foretold(&self, read: &Read<'_>, new: &Side) -> Result<Vec<Foretold>, StoreError> {
        let before = read.standing.as_ref().map_or(0, |standing| standing.seq);
        let transitions: Vec<&Transition> = new.taken.standing.pending.iter().filter(|transition| transition.seq > before).collect();
        let mut foretold = Vec::new();
        if transitions.is_empty() {
            return Ok(foretold);
        }
        let deliveries = Deliveries::new(self.homes.store().clone());
        for trigger in self.triggers.iter().filter(|trigger| self.admits(trigger, new)) {
            let mut last: Option<Option<Fired>> = None;
            for transition in transitions.iter().filter(|transition| trigger.fires_on(transition)) {
                let known = match last {
                    Some(known) => known,
                    None => deliveries.last_fired(self.workspace, &trigger.id, read.home).await?.record,
                };
                let held_by_cooldown = matches!(verdict(trigger.fire, known, transition.seq, transition.at), Verdict::Suppress(_));
                last = Some(if held_by_cooldown { known } else { Some(Fired { seq: transition.seq, at: transition.at }) });
                foretold.push(Foretold { trigger: trigger.id.clone(), name: trigger.name.clone(), held_by_cooldown });
            }
        }
        Ok(foretold)
    }

    fn admits(&self, trigger: &Trigger, side: &Side) -> bool {
        let (record, standing) = (&side.record, &side.taken.standing);
        let field = |name: &str| serde_json::to_value(record.fields.get(name)?).ok();
        trigger.admits(&FilterFacts {
            level: standing.level.as_deref(),
            engagement_level: standing.engagement_level.as_deref(),
            grade: standing.grade,
            grid: standing.grid,
            tier: record.tier.as_deref(),
            owner: record.owner.as_deref(),
            field: Some(&field),
        })
    }

    fn history(&self, model: &Model, home: &Home, gathered: &Gathered, record: &ScoreRecord) -> BTreeMap<TriggerId, u64> {
        let evaluation = Evaluation::new(model, gathered.inputs(), self.day());
        let field = |name: &str| serde_json::to_value(record.fields.get(name)?).ok();
        let (tier, owner) = (record.tier.as_deref(), record.owner.as_deref());
        let fixed = Fixed { is_account: home.account().is_some(), tier, owner, field: Some(&field) };
        fires_by_day(model, &evaluation, &fixed, self.days, self.triggers)
    }
}

/// The place of a ruleset that is in force on a day.
fn place_of<R>(others: &[Beside<R>], day: Day, is: impl Fn(&R) -> bool) -> Option<usize> {
    others.iter().position(|other| is(&other.ruleset) && other.is_in_force(day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, memory::MemoryStore, models::Models};
    use std::sync::Arc;

    fn may_move(_: impl Send) {}

    #[test]
    fn a_server_may_await_dry_runs_and_looks_into_the_past() {
        let store = Arc::new(MemoryStore::default());
        let (homes, parcels) = (HomeStore::new(Arc::clone(&store)), Parcels::new(Arc::clone(&store)));
        let (workspace, now) = (WorkspaceId::new("main").unwrap(), Timestamp::default());
        let model = domain::model::default_model().unwrap();
        let home = Home::Lead(domain::Identity::user("u").id());
        let rehearsal = Rehearsal {
            homes: &homes,
            parcels: &parcels,
            workspace: &workspace,
            old: model,
            new: model,
            subject: Subject::Account {},
            triggers: &[],
            days: 0,
            now,
        };
        may_move(rehearsal.compare(std::slice::from_ref(&home)));
        may_move(rehearsal.one(&home, 1));
        let models = Models::new(Arc::clone(&store), Arc::new(ManualClock::at(now)));
        may_move(past::gather(&store, &models, &workspace, &home, now, now));
    }
}
