//! What must be true once everything has come to rest: nothing lost, nothing doubled, everything equal to a replay.

use super::{
    actor::{World, home_of},
    queue::STAGES,
    store::SimStore,
};
use domain::{
    AccountId, Home, IdentityId, IdentityKind, Timestamp,
    evaluate::Evaluation,
    facts::Facts,
    level::LevelRuleset,
    model::Model,
    resolution::{Claim, claims, unresolved_home},
    transition::{Changed, Transition},
    trigger::{FireMode, Trigger},
};
use futures::executor::block_on;
use pipeline::{
    Consistency, Item, Table,
    homes::{Gathered, HomeStore},
    notify::{Delivery, DeliveryId, DeliveryState, Triggers},
    parcels::Parcels,
    records::{self, IdentityMapping, LeadScore, ScoreRecord, Standing},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Everything that was due is served, and nothing more.
    AtRest,
    /// Every home was touched after the last publication.
    Touched,
}

struct Check<'w> {
    world: &'w World,
    homes: HomeStore<SimStore>,
    models: BTreeMap<u64, Model>,
    phase: Phase,
    now: Timestamp,
    found: Vec<String>,
    replays: Replays,
    giants: u64,
}

/// What the parcels of each identity add up to.
pub(super) type Replays = BTreeMap<IdentityId, Facts>;

/// What a check came to.
pub(super) struct Checked {
    /// What is not as it must be, in a sentence each.
    pub found: Vec<String>,
    /// A touch changes no state: the next check need not replay again.
    pub replays: Replays,
    /// Accounts that are giant.
    pub giants: u64,
}

/// Looks at everything, and says in a sentence each what is not as it must be.
pub(super) fn check(world: &World, phase: Phase, replays: Replays) -> Checked {
    let compiled = |document: &domain::model::ModelDocument| Model::compile(document.clone()).unwrap();
    let models = world.models.borrow().iter().map(|(version, document)| (*version, compiled(document))).collect();
    let mut check = Check {
        homes: HomeStore::new(SimStore(Arc::clone(&world.sim))),
        models,
        phase,
        now: world.sim.now(),
        found: Vec::new(),
        replays,
        giants: 0,
        world,
    };
    check.queues();
    if phase == Phase::AtRest {
        check.identities();
    }
    check.scores();
    check.notifications();
    Checked { found: check.found, replays: check.replays, giants: check.giants }
}

impl Check<'_> {
    fn say(&mut self, what: impl Into<String>) {
        if self.found.len() < 40 {
            self.found.push(what.into());
        }
    }

    fn items(&self, table: Table) -> Vec<Arc<Item>> {
        self.world.sim.lock().tables.items(table).map(Arc::clone).collect()
    }

    fn queues(&mut self) {
        let left: Vec<String> = {
            let inner = self.world.sim.lock();
            let queues = STAGES.iter().zip(&inner.queues.queues);
            queues
                .filter(|(_, queue)| queue.len() + queue.dead() > 0)
                .map(|(stage, queue)| {
                    let body: String = queue.bodies().next().unwrap_or_default().chars().take(300).collect();
                    format!("the queue of {stage} still holds {} messages and {} dead ones: {body}", queue.len(), queue.dead())
                })
                .collect()
        };
        left.into_iter().for_each(|what| self.say(what));
    }

    /// Events, parcels, states, mappings.
    fn identities(&mut self) {
        let workspace = self.world.workspace.clone();
        let mut mappings: BTreeMap<IdentityId, IdentityMapping> = BTreeMap::new();
        let mut homes: BTreeSet<Home> = BTreeSet::new();
        for item in self.items(Table::Accounts) {
            if item.key.pk.contains("#I#") {
                let mapping: IdentityMapping = records::from_item(&item).unwrap();
                mappings.insert(mapping.identity.id(), mapping);
            } else if let Some(home) = home_of(&item.key.pk) {
                homes.insert(home);
            }
        }
        let mut placed: BTreeMap<IdentityId, (Home, Facts)> = BTreeMap::new();
        for home in &homes {
            let partition = block_on(self.homes.partition(&workspace, home, Consistency::Strong)).unwrap();
            for stored in partition.states {
                match mappings.get(&stored.identity) {
                    None => self.say(format!("{:?} has a state at {home} and no mapping", stored.state.identity)),
                    Some(mapping) if mapping.home != *home => {
                        self.say(format!("{:?} has a state at {home}, and its mapping says {}", mapping.identity, mapping.home));
                    }
                    Some(_) => {}
                }
                if let Some((other, _)) = placed.insert(stored.identity, (home.clone(), stored.state.facts)) {
                    self.say(format!("{:?} has two states, at {other} and at {home}", stored.state.identity));
                }
            }
        }
        for (id, mapping) in &mappings {
            if !placed.contains_key(id) {
                self.say(format!("{:?} has a mapping to {} and no state there", mapping.identity, mapping.home));
            }
        }
        self.events(&mappings, &placed);
        self.places(&mappings, &placed);
    }

    /// Every accepted event is counted once, and each state is what its parcels add up to.
    fn events(&mut self, mappings: &BTreeMap<IdentityId, IdentityMapping>, placed: &BTreeMap<IdentityId, (Home, Facts)>) {
        let workspace = self.world.workspace.clone();
        let logged: BTreeSet<IdentityId> =
            self.items(Table::Events).iter().filter_map(|item| IdentityId::parse(item.key.pk.split_once("#P#")?.1).ok()).collect();
        let parcels = Parcels::new(SimStore(Arc::clone(&self.world.sim)));
        let mut counted: BTreeMap<usize, IdentityId> = BTreeMap::new();
        for id in logged.iter().chain(mappings.keys()).copied().collect::<BTreeSet<_>>() {
            let all = block_on(parcels.of(&workspace, &id, self.now)).unwrap();
            let mut seen = BTreeSet::new();
            let mut fresh = Vec::new();
            for parcel in &all {
                for event in &parcel.events {
                    if seen.insert(event.message_id.as_str()) {
                        fresh.push(event);
                        let number = event.message_id.as_str().trim_start_matches('m').parse().unwrap_or(usize::MAX);
                        if let Some(other) = counted.insert(number, id) {
                            self.say(format!("event m{number} is in the parcels of {other} and of {id}"));
                        }
                    }
                }
            }
            let who = mappings.get(&id).map_or_else(|| id.to_string(), |mapping| format!("{:?}", mapping.identity));
            let Some((home, facts)) = placed.get(&id) else {
                if !fresh.is_empty() {
                    self.say(format!("{who} has {} events in {} parcels and no state", fresh.len(), all.len()));
                }
                continue;
            };
            if facts.count != fresh.len() as u64 {
                let list: Vec<String> = all
                    .iter()
                    .map(|parcel| {
                        let ids: Vec<&str> = parcel.events.iter().map(|event| event.message_id.as_str()).collect();
                        format!("{} [{}]", parcel.batch, ids.join(" "))
                    })
                    .collect();
                let counts = (fresh.len(), all.len(), facts.count);
                self.say(format!(
                    "{who} at {home} has {} events in {} parcels, and its state counts {}: {}",
                    counts.0,
                    counts.1,
                    counts.2,
                    list.join(" ")
                ));
            }
            let Some(model) = self.models.values().rev().find(|model| model.matcher.digest() == facts.parts) else {
                self.say(format!("the state of {who} was folded with parts that were never published"));
                continue;
            };
            let mut replay = Facts::new(&model.matcher);
            replay.absorb_all(fresh, &model.matcher, &model.document.mapping);
            if replay != *facts && facts.count == replay.count {
                let difference = difference(facts, &replay);
                self.say(format!("the state of {who} at {home} differs from its replay: {difference}"));
            }
            self.replays.insert(id, replay);
        }
        let lost: Vec<String> = {
            let events = self.world.events.borrow();
            let lost = events.iter().enumerate().filter(|(n, event)| event.accepted && !counted.contains_key(n));
            let never = counted.keys().filter(|n| events.get(**n).is_none_or(|event| event.first_sent.is_none()));
            lost.map(|(n, event)| {
                format!("event m{n} was accepted and is in no parcel: {}", event.json.chars().take(200).collect::<String>())
            })
            .chain(never.map(|n| format!("event m{n} was counted and never sent")))
            .collect()
        };
        lost.into_iter().for_each(|what| self.say(what));
    }

    fn root(&self, account: &AccountId) -> Home {
        Home::Account(block_on(self.homes.root(&self.world.workspace, account, Consistency::Strong)).unwrap())
    }

    fn rooted(&self, home: &Home) -> Home {
        home.account().map_or_else(|| home.clone(), |account| self.root(account))
    }

    /// Every identity is where people's decisions and its own words say.
    fn places(&mut self, mappings: &BTreeMap<IdentityId, IdentityMapping>, placed: &BTreeMap<IdentityId, (Home, Facts)>) {
        let Some((_, model)) = self.models.last_key_value() else { return };
        let mut wrong = Vec::new();
        for (id, mapping) in mappings {
            let Some((_, facts)) = placed.get(id) else { continue };
            let said = mapping.said(&facts.said);
            let expected = if let Some(manual) = &mapping.manual {
                manual.account.as_ref().map_or_else(|| unresolved_home(*id, &facts.said), |account| self.root(account))
            } else if mapping.identity.kind == IdentityKind::Account {
                AccountId::new(&mapping.identity.value).map_or_else(|_| Home::Lead(*id), |account| self.root(&account))
            } else if let Some(user) = mapping.link.as_ref().and_then(|link| mappings.get(&link.user)) {
                self.rooted(&user.home)
            } else {
                let found = claims(&said, model).into_iter().find_map(|claim| match claim {
                    Claim::Account(_, account) => Some(self.root(&account)),
                    Claim::External(..) => None,
                    Claim::Domain(_, domain) => {
                        let owner = block_on(self.homes.domain_claim(&self.world.workspace, domain.as_str(), Consistency::Strong)).unwrap();
                        owner.map(|owner| self.root(&owner.record.account))
                    }
                });
                found.unwrap_or_else(|| unresolved_home(*id, &said))
            };
            let home = self.rooted(&mapping.home);
            if home != expected {
                wrong.push(format!("{:?} is at {home} by {:?}, and belongs to {expected}", mapping.identity, mapping.resolution.method));
            }
        }
        wrong.into_iter().for_each(|what| self.say(what));
    }

    fn gathered(&self, home: &Home) -> Gathered {
        let mut gathered = block_on(self.homes.gather(&self.world.workspace, home, Consistency::Strong)).unwrap();
        let all = std::iter::once(&mut gathered.own).chain(&mut gathered.members);
        for stored in all.flat_map(|partition| &mut partition.states) {
            if let Some(replay) = self.replays.get(&stored.identity) {
                stored.state.facts = replay.clone();
            }
        }
        gathered
    }

    /// The version that is stored. A publication that failed at every attempt left the one before in force.
    fn model_in_force(&self) -> u64 {
        let first = self.models.first_key_value().map_or(0, |(version, _)| *version);
        self.items(Table::Config).iter().find(|item| item.key.sk == "model").map_or(first, |item| item.version)
    }

    fn scores(&mut self) {
        let homes: BTreeSet<Home> = self.items(Table::Accounts).iter().filter_map(|item| home_of(&item.key.pk)).collect();
        for home in homes {
            let gathered = self.gathered(&home);
            let account = gathered.own.account.as_ref().map(|account| &account.record);
            let Some(score) = gathered.own.score.clone() else {
                if !gathered.own.states.is_empty() {
                    self.say(format!("{home} holds {} identities and was never scored", gathered.own.states.len()));
                }
                continue;
            };
            let record = &score.record;
            self.giants += u64::from(record.giant);
            if account.and_then(|account| account.merged_into.clone()) != record.merged_into {
                self.say(format!(
                    "{home} was merged into {:?}, and its score says {:?}",
                    account.map(|a| &a.merged_into),
                    record.merged_into
                ));
            }
            let last = self.model_in_force();
            if self.phase == Phase::Touched && (record.model, record.as_of) != (last, self.now.day()) {
                self.say(format!(
                    "{home} was scored with model {} as of {}, not {last} as of {}",
                    record.model,
                    record.as_of,
                    self.now.day()
                ));
            }
            if record.merged_into.is_none() {
                let Some(model) = self.models.get(&record.model) else {
                    self.say(format!("{home} was scored with model {}, which was never published", record.model));
                    continue;
                };
                // Everything that a record says, and whatever it was summed from.
                let whole = score::record::compute(&home, &gathered, model, record.as_of, self.now);
                let undated = |record: &ScoreRecord| ScoreRecord { due_at: None, ..record.clone() };
                let differs = undated(&whole) != undated(record);
                let shown = Scored::from(record);
                if !differs && record.as_of == self.now.day() {
                    self.standing(&home, record, score.version);
                    continue;
                }
                let then = Scored::of(&Evaluation::new(model, gathered.inputs(), record.as_of));
                let today = Scored::of(&Evaluation::new(model, gathered.inputs(), self.now.day()));
                let levels = |scored: &Scored| -> Vec<(IdentityId, Option<String>)> {
                    let ruleset = &model.document.lead_levels;
                    let kept = |score| ruleset.kept(score).map(|level| level.id.clone());
                    scored
                        .leads
                        .iter()
                        .map(|lead| (lead.lead, kept(lead.score)))
                        .filter(|(_, level)| level.as_deref() != ruleset.levels.first().map(|lowest| lowest.id.as_str()))
                        .collect::<BTreeMap<_, _>>()
                        .into_iter()
                        .collect()
                };
                let stale = (today.account, today.engagement, today.surge) != (shown.account, shown.engagement, shown.surge)
                    || levels(&today) != levels(&shown);
                if then != shown {
                    self.say(format!("{home} is scored {shown} as of {}, and its replay gives {then}", record.as_of));
                } else if differs && (record.giant || self.phase == Phase::Touched) {
                    self.say(format!("{home} has the record {record:?}, and its replay gives {whole:?}"));
                } else if stale {
                    self.say(format!(
                        "{home} is shown {shown} as of {}, and today is {today}; it is due at {:?}",
                        record.as_of, record.due_at
                    ));
                }
            }
            self.standing(&home, record, score.version);
        }
    }

    fn standing(&mut self, home: &Home, record: &ScoreRecord, version: u64) {
        match block_on(self.homes.standing(&self.world.workspace, home, Consistency::Strong)).unwrap() {
            None => self.say(format!("{home} has a score and no standing")),
            Some(standing) => self.levels(home, record, version, &standing.record),
        }
    }

    fn history(&self, home: &Home) -> Vec<Transition> {
        let query = pipeline::Query::partition(Table::Accounts, records::history_partition(&self.world.workspace, home));
        let items = block_on(pipeline::Store::query_all(self.homes.store(), query)).unwrap();
        items.iter().map(|item| records::from_item(item).unwrap()).collect()
    }

    fn levels(&mut self, home: &Home, record: &ScoreRecord, version: u64, standing: &Standing) {
        if standing.served != version {
            self.say(format!("level has served version {} of {home}, and the score is at {version}", standing.served));
            return;
        }
        let row = (standing.account_score, standing.engagement, standing.surge, standing.total_leads);
        if row != (record.account_score, record.engagement, record.surge, record.total_leads) {
            self.say(format!("the standing of {home} shows other numbers than its score"));
        }
        if !standing.pending.is_empty() {
            self.say(format!("{} transitions of {home} were never sent", standing.pending.len()));
        }
        let history = self.history(home);
        let numbers: Vec<u64> = history.iter().map(|transition| transition.seq).collect();
        if numbers != (1..=standing.seq).collect::<Vec<_>>() {
            self.say(format!("the history of {home} holds the transitions {numbers:?}, and {} were recorded", standing.seq));
            return;
        }
        let untold = {
            let inner = self.world.sim.lock();
            numbers.into_iter().find(|seq| !inner.queues.told.contains(&(home.clone(), *seq)))
        };
        if let Some(seq) = untold {
            self.say(format!("dispatch was never told of transition {seq} of {home}"));
        }
        if record.merged_into.is_some() || (home.account().is_none() && record.total_leads == 0) {
            return;
        }
        let Some(model) = self.models.get(&record.model) else { return };
        let document = &model.document;
        let leads = block_on(self.homes.lead_levels(&self.world.workspace, home, Consistency::Strong)).unwrap().record;
        let mut wrong = Vec::new();
        if home.account().is_some() {
            let held = (standing.level.as_deref(), standing.level_since);
            wrong.extend(stands(&document.account_levels, i64::from(record.account_score), held, self.now, "account level"));
        }
        let held = (standing.engagement_level.as_deref(), standing.engagement_level_since);
        wrong.extend(stands(&document.engagement_levels, record.engagement, held, self.now, "engagement level"));
        let lowest = document.lead_levels.levels.first().map(|level| level.id.clone()).unwrap_or_default();
        for lead in &record.leads {
            let held = leads.levels.get(&lead.lead).map(|(level, since)| (level.as_str(), *since));
            let level = document.lead_levels.assign(lead.score, held, self.now).map(|assigned| assigned.level.id.as_str());
            let known = held.map_or(lowest.as_str(), |(level, _)| level);
            if level != Some(known) {
                wrong.push(format!("lead {} with score {} has level `{known}` instead of {level:?}", lead.lead, lead.score));
            }
        }
        let emptied = self.world.sim.lock().emptied.get(&home.to_string()).cloned().unwrap_or_default();
        wrong.extend(chains(&history, &emptied, standing, &leads, &lowest));
        wrong.into_iter().for_each(|what| self.say(format!("at {home}, {what}")));
    }

    /// Each edge that a trigger watches was told exactly once.
    fn notifications(&mut self) {
        let workspace = self.world.workspace.clone();
        let store = SimStore(Arc::clone(&self.world.sim));
        let clock = super::scheduler::SimClock { sim: Arc::clone(&self.world.sim), skew: Arc::default() };
        let triggers = block_on(Triggers::new(store, clock).list(&workspace)).unwrap();
        let mut deliveries: BTreeMap<String, Delivery> = BTreeMap::new();
        for item in self.items(Table::Deliveries) {
            if item.key.pk.contains("#D#") {
                let delivery: Delivery = records::from_item(&item).unwrap();
                if let Some(twin) = deliveries.insert(delivery.id.to_string(), delivery.clone()) {
                    self.say(format!(
                        "delivery {} is there twice, for the transitions {} and {}",
                        twin.id, twin.transition.seq, delivery.transition.seq
                    ));
                }
            } else if item.key.pk.starts_with("DUE#")
                && item.key.sk.split('#').next().and_then(|at| at.parse::<i64>().ok()).is_some_and(|at| at <= self.now.millis())
            {
                self.say(format!("the delivery {} is still due", item.key.sk));
            }
        }
        let posts: BTreeMap<String, (u64, u64)> =
            self.world.sim.lock().posts.0.iter().map(|(id, seen)| (id.clone(), (seen.posts, seen.taken))).collect();
        let homes: BTreeSet<Home> = self
            .items(Table::Accounts)
            .iter()
            .filter_map(|item| serde_json::from_value(serde_json::Value::String(item.key.pk.split_once("#T#")?.1.to_owned())).ok())
            .collect();
        let mut expected: BTreeSet<String> = BTreeSet::new();
        for home in &homes {
            let history = self.history(home);
            for trigger in &triggers {
                let edges: Vec<&Transition> = history.iter().filter(|transition| trigger.fires_on(transition)).collect();
                let mut told: Vec<(Told, &Transition)> = Vec::new();
                for edge in edges {
                    for destination in &trigger.destinations {
                        let id = DeliveryId::new(&workspace, &trigger.id, home, edge.seq, destination).to_string();
                        match deliveries.get(&id) {
                            None => self.say(format!(
                                "trigger `{}` fires on transition {} of {home}, and there is no delivery",
                                trigger.name, edge.seq
                            )),
                            Some(delivery) => {
                                let (sent, taken) = posts.get(&id).copied().unwrap_or_default();
                                let quiet = matches!(delivery.state, DeliveryState::Suppressed { .. });
                                let right = match &delivery.state {
                                    DeliveryState::Delivered { .. } => taken > 0,
                                    DeliveryState::Failed { .. } => sent > 0,
                                    DeliveryState::Suppressed { .. } => sent == 0,
                                    _ => false,
                                };
                                if !right {
                                    self.say(format!(
                                        "delivery {id} is {:?}, was posted {sent} times and taken {taken} times",
                                        delivery.state
                                    ));
                                }
                                told.push((if quiet { Told::Not } else { Told::Yes }, edge));
                            }
                        }
                        expected.insert(id);
                    }
                }
                self.cooldown(home, trigger, &told);
            }
        }
        for id in deliveries.keys().chain(posts.keys()).collect::<BTreeSet<_>>() {
            if !expected.contains(id) {
                self.say(format!("delivery {id} stands for no edge that a trigger watches"));
            }
        }
    }

    fn cooldown(&mut self, home: &Home, trigger: &Trigger, told: &[(Told, &Transition)]) {
        let yes: BTreeMap<u64, Timestamp> =
            told.iter().filter(|(told, _)| *told == Told::Yes).map(|(_, edge)| (edge.seq, edge.at)).collect();
        if told.is_empty() {
            return;
        }
        let name = &trigger.name;
        if yes.is_empty() {
            self.say(format!("trigger `{name}` never fired for {home}, although {} edges call for it", told.len()));
        }
        let pause = trigger.fire.cooldown_ms();
        match trigger.fire.mode {
            FireMode::Once if yes.len() > 1 => {
                self.say(format!("trigger `{name}` fires once and fired for the transitions {:?} of {home}", yes.keys()))
            }
            FireMode::Always => {
                let moments: Vec<Timestamp> = yes.values().copied().collect();
                for (place, a) in moments.iter().enumerate() {
                    if moments[place + 1..].iter().any(|b| b.millis_since(*a).abs() < pause) {
                        self.say(format!("trigger `{name}` fired twice for {home} within its cooldown: {yes:?}"));
                        break;
                    }
                }
                for (_, edge) in told.iter().filter(|(told, _)| *told == Told::Not) {
                    if !moments.iter().any(|at| edge.at < at.plus_millis(pause)) {
                        self.say(format!("transition {} of {home} was kept back by no cooldown of trigger `{name}`", edge.seq));
                    }
                }
            }
            FireMode::Once => {}
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    Not,
}

fn stands(ruleset: &LevelRuleset, score: i64, held: (Option<&str>, Option<Timestamp>), now: Timestamp, what: &str) -> Option<String> {
    let assigned = ruleset.assign(score, held.0.zip(held.1), now)?;
    (held.0 != Some(assigned.level.id.as_str()))
        .then(|| format!("the {what} is {:?}, and a score of {score} asks for `{}`", held.0, assigned.level.id))
}

/// Each transition begins where the one before ended, and the last ends where the standing is. A home whose last lead has left, after
/// one of the transitions `emptied`, forgets its levels.
fn chains(history: &[Transition], emptied: &BTreeSet<u64>, standing: &Standing, leads: &records::LeadLevels, lowest: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut account, mut engagement, mut surge): (Option<&str>, Option<&str>, bool) = (None, None, false);
    let mut people: BTreeMap<IdentityId, &str> = BTreeMap::new();
    let mut emptied = emptied.iter().peekable();
    for transition in history {
        if emptied.next_if(|after| **after < transition.seq).is_some() {
            while emptied.next_if(|after| **after < transition.seq).is_some() {}
            (account, engagement, surge) = (None, None, false);
            people.clear();
        }
        let mut joins = |now: &mut Option<&str>, from: Option<&str>| {
            if from.is_some() && from != *now {
                wrong.push(format!("transition {} leaves {from:?}, where nobody was: it was {now:?}", transition.seq));
            }
        };
        match &transition.change {
            Changed::AccountLevel { from, to } => {
                joins(&mut account, from.as_deref());
                account = Some(to);
            }
            Changed::EngagementLevel { from, to } => {
                joins(&mut engagement, from.as_deref());
                engagement = Some(to);
            }
            Changed::LeadLevel { lead, from, to } => {
                if from.as_deref() != Some(lowest) {
                    joins(&mut people.get(lead).copied(), from.as_deref());
                }
                people.insert(*lead, to);
            }
            Changed::Surge { active } => surge = *active,
            Changed::Engagement { .. } | Changed::Grid { .. } => {}
        }
    }
    if emptied.next().is_some() {
        (account, engagement, surge) = (None, None, false);
        people.clear();
    }
    if account != standing.level.as_deref() || engagement != standing.engagement_level.as_deref() || surge != standing.surge {
        wrong.push(format!(
            "the history ends at {account:?}, {engagement:?}, surge {surge}, and the standing is {:?}, {:?}, surge {}",
            standing.level, standing.engagement_level, standing.surge
        ));
    }
    for lead in people.keys().chain(leads.levels.keys()).collect::<BTreeSet<_>>() {
        let told = people.get(lead).copied().unwrap_or(lowest);
        let known = leads.levels.get(lead).map_or(lowest, |(level, _)| level.as_str());
        if told != known {
            wrong.push(format!("the history leaves lead {lead} at `{told}`, and its level is `{known}`"));
        }
    }
    wrong
}

/// The numbers of a score.
#[derive(Debug, PartialEq)]
struct Scored {
    account: i32,
    engagement: i64,
    surge: bool,
    leads: Vec<LeadScore>,
    total_leads: u32,
    sessions: u32,
    last: Option<Timestamp>,
    fields: BTreeMap<String, domain::field::FieldValue>,
}

impl Scored {
    fn of(evaluation: &Evaluation<'_>) -> Self {
        let people = evaluation.engagement.leads.iter().filter(|lead| !lead.is_account && lead.shown() != 0);
        Self {
            account: evaluation.account.score,
            engagement: evaluation.engagement.shown(),
            surge: evaluation.surge.active,
            leads: people.take(records::NAMED_LEADS).map(|lead| LeadScore { lead: lead.lead, score: lead.shown() }).collect(),
            total_leads: evaluation.people().count() as u32,
            sessions: evaluation.people().map(|lead| lead.sessions()).sum::<usize>() as u32,
            last: evaluation.last_activity(),
            fields: evaluation.fields.winners().map(|(name, winner)| (name.to_string(), winner.value.clone())).collect(),
        }
    }
}

impl From<&ScoreRecord> for Scored {
    fn from(record: &ScoreRecord) -> Self {
        Self {
            account: record.account_score,
            engagement: record.engagement,
            surge: record.surge,
            leads: record.leads.clone(),
            total_leads: record.total_leads,
            sessions: record.sessions,
            last: record.last_activity_at,
            fields: record.fields.clone(),
        }
    }
}

impl std::fmt::Display for Scored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, engagement, surge, leads, total_leads, sessions, .. } = self;
        let points: Vec<i64> = leads.iter().map(|lead| lead.score).collect();
        write!(f, "fit {account}, engagement {engagement}, surge {surge}, {total_leads} leads {points:?}, {sessions} sessions")
    }
}

/// Which parts of two facts differ.
fn difference(stored: &Facts, replay: &Facts) -> String {
    let mut parts = Vec::new();
    macro_rules! compare {
        ($($part:ident),*) => {$(
            if stored.$part != replay.$part {
                let show = |value: String| value.chars().take(300).collect::<String>();
                let (a, b) = (show(format!("{:?}", stored.$part)), show(format!("{:?}", replay.$part)));
                parts.push(format!("`{}` is {a} instead of {b}", stringify!($part)));
            }
        )*};
    }
    compare!(count, fresh, first_seen, last_seen, channels, matched, keys, minutes, sessions, said, fields);
    parts.join("; ")
}
