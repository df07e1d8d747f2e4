//! The load: invented people of invented companies, and what their browsers and an application tell about them.

use crate::demo::chance::Chance;
use domain::{DAY_MS, Timestamp};
use serde_json::{Value, json};

/// How large the load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Makes another load of the same kind.
    pub seed: u64,
    /// Companies.
    pub accounts: usize,
    /// People of each.
    pub leads_per_account: usize,
    /// Bytes of an event as it arrives, on average.
    pub event_bytes: usize,
}

/// Somebody, by the number of the account and of the person in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// Which account.
    pub account: usize,
    /// Which of its people.
    pub lead: usize,
}

const PAGES: [(&str, &str); 12] = [
    ("/", "Planning for looms and mills"),
    ("/product", "What it does"),
    ("/product/scheduling", "Scheduling across sites"),
    ("/product/quality", "Quality records without paper"),
    ("/pricing", "Pricing"),
    ("/customers", "Who uses it"),
    ("/customers/tidewell", "How Tidewell Foundry halved its set-up time"),
    ("/docs/getting-started", "Getting started"),
    ("/docs/import", "Importing orders"),
    ("/blog/warp-and-weft", "Warp, weft and waiting: where the hours go"),
    ("/blog/five-questions", "Five questions before you buy planning software"),
    ("/webinars", "Webinars"),
];
const DEEDS: [&str; 8] = [
    "Report Exported",
    "Project Created",
    "Schedule Published",
    "Order Imported",
    "Dashboard Opened",
    "Teammate Invited",
    "Comment Added",
    "Alert Acknowledged",
];
const CAMPAIGNS: [(&str, &str); 4] =
    [("newsletter", "spring-planning"), ("search", "brand"), ("partner", "mill-owners"), ("social", "customer-stories")];
const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
];
const WORDS: [&str; 24] = [
    "shuttle", "spindle", "carding", "combing", "dobby", "heddle", "jacquard", "linen", "merino", "nettle", "ply", "raddle", "selvedge",
    "tenter", "tweed", "twill", "velour", "warp", "weft", "worsted", "yarn", "bobbin", "batten", "beam",
];
/// Of companies that fit badly, so that it is known what a better fit changes.
const INDUSTRIES: [&str; 4] = ["Agriculture", "Forestry", "Fishing", "Mining"];

/// By how many bytes one event makes good what others were too short or too long.
const MOST_OWED: i64 = 100;

/// Makes calls.
#[derive(Debug)]
pub struct Load {
    size: Size,
    chance: Chance,
    events: u64,
    bytes: u64,
    /// Bytes by which the events so far are too short together.
    owed: i64,
}

impl Load {
    /// Of this size.
    pub fn new(size: Size) -> Self {
        Self { size, chance: Chance::new(size.seed, "cost"), events: 0, bytes: 0, owed: 0 }
    }

    /// Forgets how much was made.
    pub fn start_counting(&mut self) {
        (self.events, self.bytes) = (0, 0);
    }

    /// How many events were made, and how many bytes of bodies.
    pub const fn made(&self) -> (u64, u64) {
        (self.events, self.bytes)
    }

    /// The chance of this load, for its order.
    pub const fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// A request of these calls.
    pub fn body(&mut self, calls: &[Value]) -> String {
        let body = json!({ "batch": calls }).to_string();
        self.events += calls.len() as u64;
        self.bytes += body.len() as u64;
        body
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).filter_map(|_| char::from_digit(u32::try_from(self.chance.below(16)).unwrap_or_default(), 16)).collect()
    }

    fn uuid(&mut self) -> String {
        format!("{}-{}-4{}-a{}-{}", self.hex(8), self.hex(4), self.hex(3), self.hex(3), self.hex(12))
    }

    /// The id that the application gave somebody: a UUID, as most do.
    fn user_id(&self, who: Who) -> String {
        let digest = domain::hash64(&[&self.size.seed.to_le_bytes(), &who.account.to_le_bytes(), &who.lead.to_le_bytes()]);
        format!(
            "{:08x}-{:04x}-4{:03x}-b{:03x}-{:012x}",
            digest >> 32,
            digest & 0xffff,
            digest >> 20 & 0xfff,
            digest >> 8 & 0xfff,
            digest >> 7 & 0xffff_ffff_ffff
        )
    }

    fn domain(&self, account: usize) -> String {
        format!("mill-works-{}-{account:05}.com", self.size.seed)
    }

    fn call(&mut self, who: Who, kind: &str, at: Timestamp) -> Value {
        let message_id = self.uuid();
        let digest = domain::hash64(&[&who.account.to_le_bytes(), &who.lead.to_le_bytes()]);
        let browser = BROWSERS.get(usize::try_from(digest % 3).unwrap_or_default()).copied().unwrap_or_default();
        json!({
            "type": kind,
            "messageId": message_id,
            "userId": self.user_id(who),
            "timestamp": at.to_string(),
            "context": {
                "ip": format!("198.51.100.{}", digest % 254 + 1),
                "userAgent": browser,
                "locale": "en-US",
            },
        })
    }

    /// The first thing that is heard of somebody: who they are, and for the first one of an account also what the account is.
    pub fn introduce(&mut self, who: Who, at: Timestamp) -> Vec<Value> {
        let mut identify = self.call(who, "identify", at);
        let email = format!("person.{}@{}", who.lead, self.domain(who.account));
        let name = format!("Robin {}-{}", self.chance.pick(&WORDS), who.lead);
        set(&mut identify, "traits", json!({ "email": email, "name": name, "title": "Head of Operations" }));
        let mut calls = vec![identify];
        if who.lead == 0 {
            let mut group = self.call(who, "group", at);
            let (words, number) = ((self.chance.pick(&WORDS), self.chance.pick(&WORDS)), who.account);
            set(&mut group, "groupId", json!(format!("acct-{number:05}")));
            let traits = json!({
                "name": format!("{} {} Works", words.0, words.1),
                "employees": self.chance.between(3, 15),
                "revenue": self.chance.between(20, 90) * 1_000,
                "industry": self.chance.pick(&INDUSTRIES),
                "country": "US",
                "website": format!("https://www.{}", self.domain(number)),
            });
            set(&mut group, "traits", traits);
            calls.push(group);
        }
        calls
    }

    /// What makes an account fit best, or not at all: its level changes.
    pub fn turn(&mut self, who: Who, fits: bool, at: Timestamp) -> Value {
        let mut group = self.call(who, "group", at);
        set(&mut group, "groupId", json!(format!("acct-{:05}", who.account)));
        let (employees, revenue) = if fits { (5_000, 60_000_000) } else { (3, 20_000) };
        let industry = if fits { "Technology" } else { "Agriculture" };
        set(&mut group, "traits", json!({ "employees": employees, "revenue": revenue, "industry": industry, "country": "US" }));
        group
    }

    /// What somebody did over the last days: `events` events, some each day.
    pub fn past(&mut self, who: Who, events: usize, days: usize, now: Timestamp) -> Vec<Value> {
        let days = i64::try_from(days.max(1)).unwrap_or(1);
        let mut times: Vec<i64> =
            (0..events).map(|n| i64::try_from(n).unwrap_or_default() % days * DAY_MS + self.chance.between(600_000, 20_000_000)).collect();
        times.sort_unstable_by_key(|ago| std::cmp::Reverse(*ago));
        times.into_iter().map(|ago| self.event(who, now.plus_millis(-ago))).collect()
    }

    /// `events` events of somebody, the last one now, some seconds apart.
    pub fn visit(&mut self, who: Who, events: usize, now: Timestamp) -> Vec<Value> {
        let mut ago = 0;
        let mut calls: Vec<Value> = Vec::with_capacity(events);
        for _ in 0..events {
            calls.push(self.event(who, now.plus_millis(-ago)));
            ago += self.chance.between(3_000, 20_000);
        }
        calls.reverse();
        calls
    }

    fn event(&mut self, who: Who, at: Timestamp) -> Value {
        let mut event = if self.chance.percent(70) { self.page_view(who, at) } else { self.deed(who, at) };
        // The rest of an event is what companies send along: words of their own, more or fewer, so that the average is as wanted.
        let wanted = self.size.event_bytes as i64 + self.owed.clamp(-MOST_OWED, MOST_OWED) + self.chance.between(-40, 40);
        let have = event.to_string().len() + r#","note":"""#.len() + ",".len();
        let room = usize::try_from(wanted).unwrap_or_default().saturating_sub(have);
        let mut note = String::new();
        while note.len() < room {
            if !note.is_empty() {
                note.push(' ');
            }
            note.push_str(self.chance.pick(&WORDS));
        }
        note.truncate(room);
        if let Some(properties) = event.get_mut("properties") {
            set(properties, "note", json!(note));
        }
        self.owed += self.size.event_bytes as i64 - event.to_string().len() as i64 - 1;
        event
    }

    fn page_view(&mut self, who: Who, at: Timestamp) -> Value {
        let (path, title) = self.chance.pick(&PAGES);
        let (source, campaign) = self.chance.pick(&CAMPAIGNS);
        let came_from = self.chance.pick(&PAGES).0;
        let mut call = self.call(who, "page", at);
        set(&mut call, "name", json!(title));
        let properties = json!({
            "path": path,
            "url": format!("https://www.northwind-looms.example{path}"),
            "title": title,
            "referrer": format!("https://www.northwind-looms.example{came_from}"),
        });
        set(&mut call, "properties", properties);
        if let Some(context) = call.get_mut("context") {
            set(context, "campaign", json!({ "source": source, "name": campaign }));
        }
        call
    }

    fn deed(&mut self, who: Who, at: Timestamp) -> Value {
        let mut call = self.call(who, "track", at);
        set(&mut call, "event", json!(self.chance.pick(&DEEDS)));
        let properties = json!({
            "project": format!("{}-{}", self.chance.pick(&WORDS), self.hex(6)),
            "plan": "growth",
            "seats": self.chance.between(3, 60),
            "duration_ms": self.chance.between(40, 9_000),
        });
        set(&mut call, "properties", properties);
        call
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_arrive_as_large_as_was_asked_for_on_average() {
        let now = Timestamp::parse("2026-03-18T12:00:00Z").unwrap();
        for event_bytes in [640, 900] {
            let mut load = Load::new(Size { seed: 1, accounts: 1, leads_per_account: 1, event_bytes });
            for _ in 0..100 {
                let calls = load.visit(Who { account: 0, lead: 0 }, 20, now);
                load.body(&calls);
            }
            let (events, bytes) = load.made();
            let average = bytes as f64 / events as f64;
            assert!((average - event_bytes as f64).abs() < event_bytes as f64 * 0.01, "{average} instead of {event_bytes}");
        }
    }
}
