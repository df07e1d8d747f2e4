//! Who the simulated people are, and what they do.

use super::rng::Rng;
use domain::{DAY_MS, Timestamp};
use std::{collections::BTreeSet, fmt::Write as _};

/// How the traffic is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Load {
    /// Everybody does about as much.
    Uniform,
    /// Half of all traffic is of one account's people.
    HotAccount,
    /// A third of all traffic is of one person.
    HotIdentity,
    /// More than half of all traffic is of the many people of one account: they are so many that it is evaluated by shards.
    GiantAccount,
}

/// In a run of so many events, a giant account is as large as one of a deployment.
pub(super) const GIANT_EVENTS: usize = 2_400;
/// Runs of so many events have most of them told in bulk.
const BULK_EVENTS: usize = 2_000;

impl Load {
    /// Every load.
    pub const ALL: [Self; 4] = [Self::Uniform, Self::HotAccount, Self::HotIdentity, Self::GiantAccount];

    /// As the command line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::HotAccount => "hot-account",
            Self::HotIdentity => "hot-identity",
            Self::GiantAccount => "giant-account",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|load| load.as_str() == text)
    }
}

struct Company {
    /// The id that events name, unless it is known by its domain alone.
    id: Option<String>,
    /// The domain of its people's addresses, unless they use free mail.
    domain: Option<String>,
}

struct Person {
    id: String,
    company: Option<usize>,
    email: Option<String>,
    browsers: Vec<String>,
}

/// An event as a client holds it.
#[derive(Debug)]
pub(super) struct Told {
    /// The call, as JSON. The same text at every attempt.
    pub json: String,
    /// When it was sent first; `None` while it was not.
    pub first_sent: Option<i64>,
    /// Whether a request with it was answered 200.
    pub accepted: bool,
}

/// Makes events.
pub(super) struct Workload {
    companies: Vec<Company>,
    people: Vec<Person>,
    /// How many of the people are of any company; the others are of the giant one.
    ordinary: usize,
    introduced: BTreeSet<usize>,
    load: Load,
    bulk: bool,
    next: usize,
    /// Some clients' clocks are off.
    pub skews: Vec<i64>,
}

const WORDS: [&str; 8] = ["quarry", "fern", "saltmarsh", "tidewell", "brightforge", "northwind", "marrow", "kestrel"];

impl Workload {
    /// People for so many events.
    pub fn new(rng: &mut Rng, load: Load, events: usize) -> Self {
        let companies: Vec<Company> = (0..(events / 100).clamp(4, 60))
            .map(|n| {
                let domain = format!("{}-{n}-works.com", rng.pick(&WORDS));
                match n % 4 {
                    0 | 3 => Company { id: Some(format!("acct_{n}")), domain: Some(domain) },
                    1 => Company { id: None, domain: Some(domain) },
                    _ => Company { id: Some(format!("acct_{n}")), domain: None },
                }
            })
            .collect();
        let ordinary = companies.len() * 3;
        let many = if load == Load::GiantAccount { (events / 10).clamp(24, 240) } else { 0 };
        let people = (0..ordinary + many)
            .map(|n| {
                let company = if n < ordinary { (n % 10 != 9).then_some(n % companies.len()) } else { Some(0) };
                let domain = company.and_then(|company| companies[company].domain.clone());
                let email = match (&domain, n % 7) {
                    (_, 6) => None,
                    (Some(domain), _) => Some(format!("person{n}@{domain}")),
                    (None, _) => Some(format!("person{}.free@gmail.com", n / 2)),
                };
                // One browser of one's own, and one that several people share.
                let browsers = vec![format!("own-{n}"), format!("shared-{}", n / 4)];
                Person { id: format!("u{n}"), company, email, browsers }
            })
            .collect();
        let skews = (0..8).map(|_| if rng.chance(0.3) { rng.between(-90_000, 90_000) } else { rng.between(-500, 500) }).collect();
        Self { companies, people, ordinary, introduced: BTreeSet::new(), load, bulk: events >= BULK_EVENTS, next: 0, skews }
    }

    /// Whether most events are told in large requests.
    pub const fn in_bulk(&self) -> bool {
        self.bulk
    }

    /// How many events a request has, about.
    pub const fn mean_request(&self) -> usize {
        if self.bulk { 24 } else { 7 }
    }

    /// The user ids.
    pub fn user(&self, rng: &mut Rng) -> &str {
        let who = self.person(rng);
        &self.people[who].id
    }

    /// An account id that a person might link somebody to.
    pub fn account(&self, rng: &mut Rng) -> String {
        let company = rng.pick(&self.companies);
        match (&company.id, &company.domain) {
            (Some(id), _) => id.clone(),
            (None, Some(domain)) => domain.clone(),
            (None, None) => "acct_elsewhere".to_owned(),
        }
    }

    fn person(&self, rng: &mut Rng) -> usize {
        match self.load {
            Load::HotIdentity if rng.chance(0.3) => 0,
            Load::HotAccount if rng.chance(0.5) => {
                let per = self.ordinary / self.companies.len();
                rng.below(per) * self.companies.len()
            }
            Load::GiantAccount if rng.chance(0.6) => self.ordinary + rng.below(self.people.len() - self.ordinary),
            _ => rng.below(self.ordinary),
        }
    }

    /// The events of one request.
    pub fn request(&mut self, rng: &mut Rng, now: i64, left: usize) -> Vec<Told> {
        let kind = rng.below(100);
        // How many, the chance that the next one is another person's, and how much longer than usual.
        let (size, changes, padding) = match kind {
            0 => (24 + rng.below(12), 0.0, 3_000 + rng.below(3_000)),
            1..=29 => (1 + rng.below(3), 0.0, 0),
            30..=49 if self.bulk => (4 + rng.below(20), 0.5, 0),
            _ if self.bulk => (20 + rng.below(40), if self.load == Load::GiantAccount { 0.3 } else { 0.03 }, 0),
            30..=69 => (2 + rng.below(12), 0.0, 0),
            _ => (4 + rng.below(20), 1.0, 0),
        };
        let mut who = self.person(rng);
        (0..size.min(left).max(1))
            .map(|_| {
                if rng.chance(changes) {
                    who = self.person(rng);
                }
                self.event(rng, who, now, padding)
            })
            .collect()
    }

    fn event(&mut self, rng: &mut Rng, who: usize, now: i64, padding: usize) -> Told {
        let n = self.next;
        self.next += 1;
        let person = &self.people[who];
        let company = person.company.map(|company| &self.companies[company]);
        let id = company.and_then(|company| company.id.as_deref());
        let at = match rng.below(100) {
            0..=2 => now + rng.between(60_000, 2 * DAY_MS),
            3..=7 => now - rng.between(DAY_MS, 20 * DAY_MS),
            8..=10 => now - rng.between(20 * 3_600_000, 24 * 3_600_000),
            11..=18 => now - rng.between(0, 12 * 3_600_000),
            _ => now - rng.between(0, 4_000),
        };
        let day = at.div_euclid(DAY_MS);
        let browser = rng.pick(&person.browsers).clone();
        let mut json = format!(r#"{{"messageId":"m{n}","timestamp":"{}""#, Timestamp::from_millis(at));
        let session = format!(r#""context":{{"sessionId":"s{who}-{}"}}"#, day * 3 + rng.between(0, 2));
        let user = &person.id;
        let padded = if padding == 0 { String::new() } else { format!(r#","note":"{}""#, "harpoon ".repeat(padding / 8)) };
        let add = &mut json;
        // Each of the many says first whose they are.
        let first = who >= self.ordinary && self.introduced.insert(who);
        let what = match (first, &person.email) {
            (true, Some(_)) => 74,
            (true, None) => 85,
            (false, _) => rng.below(100),
        };
        let _ = match what {
            0..=24 => write!(add, r#","type":"page","userId":"{user}","properties":{{"path":"/p{}"{padded}}},{session}"#, rng.below(30)),
            25..=34 => write!(
                add,
                r#","type":"page","userId":"{user}","anonymousId":"{browser}","properties":{{"path":"/pricing"{padded}}},{session}"#
            ),
            35..=47 => {
                write!(add, r#","type":"page","anonymousId":"{browser}","properties":{{"path":"/p{}"{padded}}},{session}"#, rng.below(30))
            }
            48..=57 => write!(
                add,
                r#","type":"track","event":"Content Downloaded","userId":"{user}","properties":{{"asset":"guide-{}"{padded}}}"#,
                rng.below(12)
            ),
            58..=63 => {
                write!(add, r#","type":"track","event":"email clicked","userId":"{user}","properties":{{"email_id":"e{}"}}"#, rng.below(20))
            }
            64..=66 => write!(
                add,
                r#","type":"track","event":"LinkedIn Ad Click","anonymousId":"{browser}","properties":{{"campaign":"c{}"}}"#,
                rng.below(4)
            ),
            67..=70 => write!(
                add,
                r#","type":"track","event":"demo_request","userId":"{user}","properties":{{"form":"f{}"{padded}}}"#,
                rng.below(3)
            ),
            71..=73 => write!(add, r#","type":"track","event":"SDR Meeting","userId":"{user}","properties":{{"n":{n}}}"#),
            74..=84 => {
                let email = person.email.as_ref().map(|email| format!(r#","email":"{email}""#)).unwrap_or_default();
                let anonymous = if rng.chance(0.4) { format!(r#","anonymousId":"{browser}""#) } else { String::new() };
                write!(
                    add,
                    r#","type":"identify","userId":"{user}"{anonymous},"traits":{{"name":"Person {who}","title":"t{}"{email}{padded}}}"#,
                    rng.below(5)
                )
            }
            85..=90 => match id {
                Some(id) => write!(
                    add,
                    r#","type":"group","userId":"{user}","groupId":"{id}","traits":{{"employees":{},"industry":"Technology","annual_revenue":{},"country":"US"{padded}}}"#,
                    rng.below(8) * 500,
                    rng.below(9) * 10_000_000
                ),
                None => write!(
                    add,
                    r#","type":"track","event":"signed up","userId":"{user}","properties":{{"employees":{}}}"#,
                    rng.below(5) * 700
                ),
            },
            91..=93 => match (id, company.and_then(|company| company.domain.as_deref())) {
                (Some(id), _) => {
                    write!(add, r#","type":"account-event","event":"SDR meeting","account_id":"{id}","properties":{{"n":{n}}}"#)
                }
                (None, Some(domain)) => {
                    write!(add, r#","type":"account-event","event":"SDR meeting","domain":"{domain}","properties":{{"n":{n}}}"#)
                }
                (None, None) => write!(add, r#","type":"track","event":"wandered","userId":"{user}""#),
            },
            94 | 95 => write!(add, r#","type":"alias","userId":"{user}","previousId":"{browser}""#),
            96..=98 => match id {
                Some(id) => {
                    write!(add, r#","type":"track","event":"used product","userId":"{user}","properties":{{"account_id":"{id}","n":{n}}}"#)
                }
                None => write!(add, r#","type":"screen","userId":"{user}","name":"home""#),
            },
            _ => write!(
                add,
                r#","type":"track","event":"Campaign Answered","userId":"{user}","properties":{{"campaign":"c{}"}}"#,
                rng.below(5)
            ),
        };
        json.push('}');
        Told { json, first_sent: None, accepted: false }
    }
}
