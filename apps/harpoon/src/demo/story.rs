//! A month of invented companies, as tracking calls.

use super::{
    chance::Chance,
    company::{self, Company, KnownBy, Part},
    person::{People, Person},
};
use domain::{DAY_MS, Timestamp};
use serde_json::{Map, Value, json};

/// The site that everybody visits.
const SITE: &str = "https://www.your-site.example";
/// Pages that say little about intent.
const PAGES: [(&str, &str); 9] = [
    ("/", "Home"),
    ("/product", "Product"),
    ("/product/integrations", "Integrations"),
    ("/customers", "Customers"),
    ("/security", "Security"),
    ("/blog/scoring-accounts-by-hand", "Scoring accounts by hand"),
    ("/blog/what-a-good-fit-is", "What a good fit is"),
    ("/docs/getting-started", "Getting started"),
    ("/about", "About us"),
];
const ASSETS: [&str; 6] = [
    "buyers-guide",
    "return-on-investment-worksheet",
    "security-white-paper",
    "benchmark-report",
    "integration-handbook",
    "checklist-for-pilots",
];
const CAMPAIGNS: [&str; 5] = ["spring-release", "customer-stories", "invitation-to-the-webinar", "monthly-letter", "migration-offer"];
const AD_CAMPAIGNS: [&str; 3] = ["operations-leaders", "security-teams", "revenue-teams"];
const PRODUCT_EVENTS: [&str; 5] = ["Report Created", "Dashboard Shared", "Export Run", "Integration Enabled", "Teammate Invited"];

/// Some were known already when the month began, for so many days: an account needs four weeks of past for a surge to stand out from.
pub const BEFORE: i64 = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The same seed tells the same story.
    pub seed: u64,
    /// How many companies.
    pub companies: usize,
    /// How many days.
    pub days: i64,
    /// When the story ends.
    pub now: Timestamp,
}

/// Where a call is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To `/v1/batch`, with others.
    Batch,
    /// To `/v1/account-event`, by itself.
    AccountEvent,
}

/// A call and when it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// When it happened.
    pub at: Timestamp,
    /// Where it is sent.
    pub route: Route,
    /// Its JSON.
    pub body: Value,
}

/// The month.
#[derive(Debug, Clone)]
pub struct Story {
    /// Who is in it; those worth a look first.
    pub companies: Vec<Company>,
    /// How many people, those of no company among them.
    pub people: usize,
    /// What happened, in the order in which it did.
    pub calls: Vec<Call>,
}

impl Story {
    /// Tells it. Which calls there are and the id of each follows from the seed, the sizes and the UTC day alone; only the moments
    /// follow from the time of the day.
    pub fn tell(request: Request) -> Self {
        let companies = company::companies(request.seed, request.companies);
        let mut teller = Teller::new(request);
        let mut people = People::new(request.seed);
        for company in &companies {
            let mut staff: Vec<Person> = (0..teller.staff(company.part)).map(|_| people.of(company)).collect();
            teller.share_a_browser(&mut staff);
            teller.month_of(company, &staff);
        }
        for _ in 0..request.companies.div_ceil(5) {
            let person = people.private();
            teller.private_month(&person);
        }
        for _ in 0..request.companies.div_ceil(3) {
            let person = people.private();
            teller.passing_by(&person);
        }
        let mut calls = teller.calls;
        // Stable, so that what happens at once stays in the order in which it was told.
        calls.sort_by_key(|call| call.at);
        Self { companies, people: people.number(), calls }
    }
}

/// Whether a person has said who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Only the browser is known.
    No,
    /// They signed in.
    Yes,
}

struct Teller {
    chance: Chance,
    request: Request,
    prefix: String,
    sessions: usize,
    calls: Vec<Call>,
}

impl Teller {
    fn new(request: Request) -> Self {
        let chance = Chance::new(request.seed, "story");
        let prefix = format!("demo-{}-{}", request.seed, request.now.day());
        Self { chance, request, prefix, sessions: 0, calls: Vec::new() }
    }

    /// The oldest day of the month, in days ago.
    const fn oldest(&self) -> i64 {
        self.request.days.saturating_sub(1)
    }

    /// A day between so many days ago, both included, cut to the days of the story.
    fn ago(&mut self, from: i64, to: i64) -> i64 {
        self.chance.between(from, to).min(self.oldest())
    }

    fn staff(&mut self, part: Part) -> i64 {
        match part {
            Part::Evaluating => self.chance.between(4, 5),
            Part::Surging | Part::Spiking => self.chance.between(4, 6),
            Part::Arriving => 4,
            Part::Steady => self.chance.between(2, 4),
            Part::Light => self.chance.between(1, 2),
            Part::Cooling | Part::Advertised => self.chance.between(2, 3),
            Part::Customer => self.chance.between(4, 8),
            Part::Watching => 0,
        }
    }

    /// In some companies two people use one computer.
    fn share_a_browser(&mut self, staff: &mut [Person]) {
        if let [first, second, ..] = staff
            && self.chance.percent(12)
        {
            second.anonymous_id.clone_from(&first.anonymous_id);
            second.user_agent = first.user_agent;
            second.ip.clone_from(&first.ip);
        }
    }

    // ------------------------------------------------------------------------------------------------------------------- moments

    /// A moment in office hours of a time zone, so many days ago: the latest one that is past, less whole days. Weekends are mostly free,
    /// except for the last two days, because something must have happened lately.
    fn office_hours(&mut self, zone: i64, ago: i64) -> Timestamp {
        let second = self.chance.between(9 * 3600, 17 * 3600 + 1800);
        let shift = zone * 60_000;
        let local_now = self.request.now.millis() + shift;
        let mut local = local_now.div_euclid(DAY_MS) * DAY_MS + second * 1000;
        if local > local_now {
            local -= DAY_MS;
        }
        local -= ago * DAY_MS;
        if ago >= 2 {
            // 1970-01-01 was a Thursday. What falls on a weekend happened on the Friday before, unless that is too early.
            let back = match (local.div_euclid(DAY_MS) + 3).rem_euclid(7) {
                5 => 1,
                6 => 2,
                _ => 0,
            };
            let friday = local - back * DAY_MS;
            if friday > local_now - (self.request.days + if ago > self.oldest() { BEFORE } else { 0 }) * DAY_MS {
                local = friday;
            }
        }
        Timestamp::from_millis(local - shift)
    }

    /// So many seconds later, but not in the future.
    fn later(&mut self, at: Timestamp, from: i64, to: i64) -> Timestamp {
        at.plus_millis(self.chance.between(from, to) * 1000).min(self.request.now)
    }

    // --------------------------------------------------------------------------------------------------------------------- calls

    fn push(&mut self, at: Timestamp, route: Route, call: Value) {
        let Value::Object(mut body) = call else { return };
        body.insert("messageId".to_owned(), format!("{}-{}", self.prefix, self.calls.len() + 1).into());
        body.insert("timestamp".to_owned(), at.to_string().into());
        self.calls.push(Call { at, route, body: Value::Object(body) });
    }

    /// What a browser sends.
    fn browser(&mut self, person: &Person, known: Known, at: Timestamp, session: usize, mut call: Value, page: (&str, &str)) {
        let context = json!({
            "direct": true,
            "ip": person.ip,
            "userAgent": person.user_agent,
            "sessionId": format!("{}-visit-{session}", self.prefix),
            "page": { "path": page.0, "title": page.1, "url": format!("{SITE}{}", page.0) },
        });
        if let Some(call) = call.as_object_mut() {
            call.insert("anonymousId".to_owned(), person.anonymous_id.clone().into());
            if known == Known::Yes {
                call.insert("userId".to_owned(), person.user_id.clone().into());
            }
            call.insert("context".to_owned(), context);
        }
        self.push(at, Route::Batch, call);
    }

    /// What a server sends about somebody: the mailing, the CRM, the product.
    fn server(&mut self, person: &Person, at: Timestamp, event: &str, properties: Value) {
        let call = json!({ "type": "track", "userId": person.user_id, "event": event, "properties": properties });
        self.push(at, Route::Batch, call);
    }

    /// Somebody says who they are, and their company's account is named when clients know it.
    fn introduce(&mut self, company: Option<&Company>, person: &Person, at: Timestamp) {
        let (given, family) = person.name;
        let mut traits = json!({
            "email": person.email, "firstName": given, "lastName": family, "title": person.role.0, "department": person.role.1,
        });
        let stated: Option<Map<String, Value>> = company.map(|company| {
            let fields = company.fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone()));
            fields.collect()
        });
        let (name, stated) = (company.map(|company| company.name.as_str()), stated.unwrap_or_default());
        let by_group = company.is_some_and(|company| company.known_by == KnownBy::Group);
        if let (Some(traits), Some(name), false, false) = (traits.as_object_mut(), name, by_group, stated.is_empty()) {
            let mut of_company = stated.clone();
            of_company.insert("name".to_owned(), name.into());
            // Being a customer is said of the person's account, not of the company as such.
            if let Some(customer) = of_company.remove("existing_customer") {
                traits.insert("existing_customer".to_owned(), customer);
            }
            traits.insert("company".to_owned(), Value::Object(of_company));
        }
        self.sessions += 1;
        let (session, page) = (self.sessions, ("/sign-up", "Sign up"));
        self.browser(person, Known::Yes, at, session, json!({ "type": "identify", "traits": traits }), page);
        if let (Some(company), true) = (company, by_group) {
            let mut traits = stated;
            traits.insert("name".to_owned(), company.name.as_str().into());
            traits.insert("website".to_owned(), format!("https://www.{}", company.domain).into());
            let at = self.later(at, 1, 2);
            self.browser(person, Known::Yes, at, session, json!({ "type": "group", "groupId": company.id, "traits": traits }), page);
        }
    }

    /// A visit of a few pages.
    fn visit(&mut self, person: &Person, known: Known, zone: i64, ago: i64, pages: i64) {
        let mut at = self.office_hours(zone, ago);
        self.sessions += 1;
        let session = self.sessions;
        for _ in 0..pages.max(1) {
            let page = self.chance.pick(&PAGES);
            self.page(person, known, at, session, page);
            at = self.later(at, 20, 240);
        }
    }

    fn page(&mut self, person: &Person, known: Known, at: Timestamp, session: usize, page: (&str, &str)) {
        let properties = json!({ "path": page.0, "title": page.1, "url": format!("{SITE}{}", page.0) });
        self.browser(person, known, at, session, json!({ "type": "page", "name": page.1, "properties": properties }), page);
    }

    /// A visit that ends at the prices.
    fn pricing(&mut self, person: &Person, known: Known, zone: i64, ago: i64) {
        let at = self.office_hours(zone, ago);
        self.sessions += 1;
        let session = self.sessions;
        self.page(person, known, at, session, ("/product", "Product"));
        let at = self.later(at, 30, 300);
        self.page(person, known, at, session, ("/pricing", "Pricing"));
    }

    fn download(&mut self, person: &Person, known: Known, zone: i64, ago: i64) {
        let (at, asset) = (self.office_hours(zone, ago), self.chance.pick(&ASSETS));
        self.sessions += 1;
        let session = self.sessions;
        let call = json!({ "type": "track", "event": "Content Downloaded", "properties": { "asset": asset } });
        self.browser(person, known, at, session, call, ("/resources", "Resources"));
    }

    fn email_click(&mut self, person: &Person, zone: i64, ago: i64) {
        let (at, campaign) = (self.office_hours(zone, ago), self.chance.pick(&CAMPAIGNS));
        self.server(person, at, "Email Clicked", json!({ "campaign": campaign, "email_id": format!("{campaign}-{}", ago / 7) }));
    }

    fn ad_click(&mut self, person: &Person, known: Known, zone: i64, ago: i64) {
        let (at, campaign) = (self.office_hours(zone, ago), self.chance.pick(&AD_CAMPAIGNS));
        self.sessions += 1;
        let session = self.sessions;
        let call = json!({ "type": "track", "event": "LinkedIn Ad Clicked", "properties": { "campaign": campaign } });
        self.browser(person, known, at, session, call, ("/landing", "Welcome"));
        let at = self.later(at, 5, 30);
        self.page(person, known, at, session, ("/product", "Product"));
    }

    fn demo_request(&mut self, person: &Person, zone: i64, ago: i64) {
        let at = self.office_hours(zone, ago);
        self.sessions += 1;
        let session = self.sessions;
        let properties = json!({ "form": "demo", "message": "We would like to see how it works with our data." });
        let call = json!({ "type": "track", "event": "Demo Requested", "properties": properties });
        self.browser(person, Known::Yes, at, session, call, ("/demo", "Request a demo"));
    }

    fn meeting(&mut self, person: &Person, zone: i64, ago: i64) {
        let at = self.office_hours(zone, ago);
        self.server(person, at, "SDR Meeting", json!({ "channel": "sales", "minutes": 30, "outcome": "held" }));
    }

    fn review_site(&mut self, company: &Company, ago: i64) {
        let at = self.office_hours(company.zone, ago);
        let event = self.chance.pick(&["Review Site Profile Viewed", "Review Site Profile Viewed", "Review Site Comparison Viewed"]);
        let mut call = json!({ "event": event, "properties": { "source": "review site" } });
        let (field, value) = match company.known_by {
            KnownBy::Group => ("account_id", &company.id),
            KnownBy::Address | KnownBy::AccountEvents => ("domain", &company.domain),
        };
        if let Some(call) = call.as_object_mut() {
            call.insert(field.to_owned(), value.as_str().into());
        }
        self.push(at, Route::AccountEvent, call);
    }

    // -------------------------------------------------------------------------------------------------------------------- months

    /// Somebody becomes known so many days ago. Many were here before without saying who they are.
    fn arrive(&mut self, company: &Company, person: &Person, ago: i64) {
        if ago + 2 < self.oldest() && self.chance.percent(35) {
            let before = self.ago(ago + 1, ago + 9);
            let pages = self.chance.between(2, 5);
            self.visit(person, Known::No, company.zone, before, pages);
        }
        let at = self.office_hours(company.zone, ago);
        self.introduce(Some(company), person, at);
    }

    fn month_of(&mut self, company: &Company, staff: &[Person]) {
        match company.part {
            Part::Evaluating => self.evaluation(company, staff),
            Part::Surging => self.surge(company, staff, 4),
            Part::Spiking => self.surge(company, staff, 0),
            Part::Arriving => self.arrival(company, staff),
            Part::Cooling => self.cooling(company, staff),
            Part::Light => self.light(company, staff),
            Part::Steady => self.steady(company, staff),
            Part::Advertised => self.advertised(company, staff),
            Part::Customer => self.customer(company, staff),
            Part::Watching => {}
        }
        let reviews = match company.part {
            Part::Watching => self.chance.between(5, 8),
            Part::Evaluating | Part::Surging | Part::Spiking => self.chance.between(1, 3),
            _ => i64::from(self.chance.percent(8)),
        };
        for n in 0..reviews {
            let ago = if n == 0 { 0 } else { self.ago(1, 20) };
            self.review_site(company, ago);
        }
    }

    /// The quiet time before a rise: the first person was here before the month began, so that there is a past to compare with.
    fn quiet_past(&mut self, company: &Company, staff: &[Person]) {
        for (n, person) in staff.iter().enumerate() {
            let ago = if n == 0 { self.oldest() + BEFORE - 1 } else { self.ago(9, 24) };
            if n < 2 {
                self.arrive(company, person, ago);
                self.visit(person, Known::Yes, company.zone, ago, 1);
            }
        }
        if let Some(person) = staff.first() {
            let ago = self.ago(9, 26);
            self.email_click(person, company.zone, ago);
        }
    }

    /// The people that were not known before become so as the rise begins, so many days ago.
    fn newcomers(&mut self, company: &Company, staff: &[Person], begins: i64) {
        for person in staff.iter().skip(2) {
            let ago = self.ago((begins - 1).max(0), begins);
            self.arrive(company, person, ago);
        }
    }

    fn burst(&mut self, company: &Company, person: &Person, begins: i64, visits: i64) {
        let days = (begins - 1).max(0);
        for n in 0..visits {
            // Everybody was here within the last day.
            let ago = if n == 0 { 0 } else { self.ago(0, days) };
            let pages = self.chance.between(2, 5);
            self.visit(person, Known::Yes, company.zone, ago, pages);
        }
        if self.chance.percent(60) {
            let ago = self.ago(0, days);
            self.pricing(person, Known::Yes, company.zone, ago);
        }
        if self.chance.percent(50) {
            let ago = self.ago(0, days);
            self.download(person, Known::Yes, company.zone, ago);
        }
    }

    fn surge(&mut self, company: &Company, staff: &[Person], begins: i64) {
        self.quiet_past(company, staff);
        self.newcomers(company, staff, begins);
        for person in staff {
            let visits = self.chance.between(2, 4);
            self.burst(company, person, begins, visits);
        }
        if let Some(person) = staff.get(1) {
            self.pricing(person, Known::Yes, company.zone, 0);
        }
    }

    fn evaluation(&mut self, company: &Company, staff: &[Person]) {
        self.quiet_past(company, staff);
        self.newcomers(company, staff, 4);
        for person in staff {
            let visits = self.chance.between(2, 3);
            self.burst(company, person, 4, visits);
        }
        if let Some(person) = staff.get(1) {
            self.pricing(person, Known::Yes, company.zone, 2);
            self.demo_request(person, company.zone, 1);
            self.meeting(person, company.zone, 0);
        }
        if let Some(person) = staff.get(2) {
            self.download(person, Known::Yes, company.zone, 1);
            self.meeting(person, company.zone, 0);
        }
    }

    fn arrival(&mut self, company: &Company, staff: &[Person]) {
        for person in staff {
            let at = self.office_hours(company.zone, 3);
            // For now they leave an address and no more.
            self.introduce(None, person, at);
            let visits = self.chance.between(4, 5);
            self.burst(company, person, 4, visits);
        }
        if let Some(person) = staff.first() {
            let at = self.office_hours(company.zone, 0);
            self.introduce(Some(company), person, at);
            self.ad_click(person, Known::Yes, company.zone, 2);
            self.pricing(person, Known::Yes, company.zone, 0);
        }
    }

    fn cooling(&mut self, company: &Company, staff: &[Person]) {
        for person in staff {
            let oldest = self.oldest();
            self.arrive(company, person, oldest);
            for _ in 0..self.chance.between(3, 5) {
                let ago = self.ago(20, 28);
                let pages = self.chance.between(2, 6);
                self.visit(person, Known::Yes, company.zone, ago, pages);
            }
            if self.chance.percent(60) {
                let ago = self.ago(20, 27);
                self.pricing(person, Known::Yes, company.zone, ago);
            }
            if self.chance.percent(50) {
                let ago = self.ago(19, 27);
                self.download(person, Known::Yes, company.zone, ago);
            }
        }
    }

    fn light(&mut self, company: &Company, staff: &[Person]) {
        for person in staff {
            let ago = self.ago(2, 27);
            self.arrive(company, person, ago);
            for _ in 0..self.chance.between(1, 2) {
                let (ago, pages) = (self.ago(0, ago), self.chance.between(1, 4));
                self.visit(person, Known::Yes, company.zone, ago, pages);
            }
        }
    }

    fn steady(&mut self, company: &Company, staff: &[Person]) {
        for person in staff {
            let oldest = self.ago(26, 29);
            self.arrive(company, person, oldest);
            for week in 0..4 {
                for _ in 0..self.chance.between(1, 2) {
                    let ago = self.ago(week * 7, week * 7 + 6).min(oldest);
                    let pages = self.chance.between(2, 5);
                    self.visit(person, Known::Yes, company.zone, ago, pages);
                }
            }
            if self.chance.percent(50) {
                let ago = self.ago(0, oldest);
                self.download(person, Known::Yes, company.zone, ago);
            }
            if self.chance.percent(30) {
                let ago = self.ago(0, oldest);
                self.pricing(person, Known::Yes, company.zone, ago);
            }
        }
    }

    fn advertised(&mut self, company: &Company, staff: &[Person]) {
        for person in staff {
            let oldest = self.ago(18, 28);
            self.arrive(company, person, oldest);
            for _ in 0..self.chance.between(2, 4) {
                let ago = self.ago(0, oldest);
                self.email_click(person, company.zone, ago);
            }
            for _ in 0..self.chance.between(1, 3) {
                let ago = self.ago(0, oldest);
                self.ad_click(person, Known::Yes, company.zone, ago);
            }
        }
    }

    fn customer(&mut self, company: &Company, staff: &[Person]) {
        let today = i64::from(self.request.now.day().0);
        for person in staff {
            let oldest = self.oldest();
            let at = self.office_hours(company.zone, oldest);
            self.introduce(Some(company), person, at);
            for ago in 0..oldest {
                let weekend = (today - ago + 3).rem_euclid(7) >= 5;
                if weekend || !self.chance.percent(70) {
                    continue;
                }
                for _ in 0..self.chance.between(1, 4) {
                    let (at, event) = (self.office_hours(company.zone, ago), self.chance.pick(&PRODUCT_EVENTS));
                    self.server(person, at, event, json!({ "channel": "product" }));
                }
            }
            if self.chance.percent(25) {
                let ago = self.ago(0, 12);
                self.pricing(person, Known::Yes, company.zone, ago);
            }
        }
    }

    /// Somebody with a private mailbox, whose company nobody can tell.
    fn private_month(&mut self, person: &Person) {
        let (zone, oldest) = (self.chance.pick(&[-300, 0, 60, 330]), self.ago(3, 26));
        let at = self.office_hours(zone, oldest);
        self.introduce(None, person, at);
        for _ in 0..self.chance.between(1, 4) {
            let (ago, pages) = (self.ago(0, oldest), self.chance.between(1, 4));
            self.visit(person, Known::Yes, zone, ago, pages);
        }
        if self.chance.percent(40) {
            let ago = self.ago(0, oldest);
            self.download(person, Known::Yes, zone, ago);
        }
    }

    /// Somebody who never says who they are.
    fn passing_by(&mut self, person: &Person) {
        let zone = self.chance.pick(&[-480, -300, 0, 60, 540]);
        for _ in 0..self.chance.between(1, 3) {
            let (ago, pages) = (self.ago(0, 29), self.chance.between(1, 4));
            self.visit(person, Known::No, zone, ago, pages);
        }
        if self.chance.percent(20) {
            let ago = self.ago(0, 29);
            self.pricing(person, Known::No, zone, ago);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        CallKind, Event, MessageId,
        segment::{self, Batch, Origin},
    };
    use std::collections::{BTreeMap, BTreeSet};

    /// Saturday, 2026-11-21, 20:00 UTC.
    const NOW: Timestamp = Timestamp::from_millis(1_795_291_200_000);

    fn request(seed: u64) -> Request {
        Request { seed, companies: 60, days: 30, now: NOW }
    }

    /// The events that ingest makes of the calls.
    fn events(story: &Story) -> Vec<Event> {
        let origin = Origin { received_at: NOW, ip: None, user_agent: None };
        let made = || -> Result<MessageId, domain::IdError> { panic!("every call has an id of its own") };
        let read = |call: &Call| {
            let text = call.body.to_string();
            assert!(text.len() <= segment::MAX_CALL_BYTES);
            match call.route {
                Route::AccountEvent => segment::Call::parse(&text).unwrap().event(CallKind::AccountEvent, &origin, made).unwrap(),
                Route::Batch => {
                    let envelope = format!(r#"{{"batch":[{text}]}}"#);
                    let batch = Batch::parse(&envelope).unwrap();
                    let call = batch.call(batch.items().next().unwrap()).unwrap();
                    call.event(call.kind().unwrap(), &origin, made).unwrap()
                }
            }
        };
        story.calls.iter().map(read).collect()
    }

    fn ids(story: &Story) -> BTreeSet<&str> {
        story.calls.iter().map(|call| call.body["messageId"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        assert_eq!(Story::tell(request(1)).calls, Story::tell(request(1)).calls);
        assert_ne!(Story::tell(request(1)).calls, Story::tell(request(2)).calls);
    }

    #[test]
    fn later_on_the_same_day_it_is_the_same_calls_of_the_same_people() {
        let said = |now: Timestamp| -> BTreeMap<String, Value> {
            let story = Story::tell(Request { now, ..request(1) });
            let without_moment = |call: Call| {
                let Value::Object(mut body) = call.body else { panic!("an object") };
                body.remove("timestamp");
                (body["messageId"].as_str().unwrap().to_owned(), Value::Object(body))
            };
            story.calls.into_iter().map(without_moment).collect()
        };
        let morning = NOW.day().start().plus_millis(7_000);
        assert_eq!(said(morning), said(morning.plus_millis(DAY_MS - 10_000)));
    }

    #[test]
    fn another_day_has_other_ids() {
        let (today, tomorrow) = (Story::tell(request(1)), Story::tell(Request { now: NOW.plus_millis(DAY_MS), ..request(1) }));
        assert!(ids(&today).is_disjoint(&ids(&tomorrow)));
    }

    #[test]
    fn every_call_is_accepted_with_the_moment_that_it_states() {
        let story = Story::tell(request(1));
        let events = events(&story);
        assert_eq!(ids(&story).len(), events.len());
        for (call, event) in story.calls.iter().zip(&events) {
            assert_eq!((event.timestamp, event.clamped), (call.at, false));
            let age = NOW.millis_since(event.timestamp);
            assert!((0..=(30 + BEFORE) * DAY_MS).contains(&age), "{age}");
        }
    }

    #[test]
    fn most_of_it_happens_in_office_hours_and_some_of_it_within_the_last_day() {
        let story = Story::tell(request(1));
        let fresh = events(&story).iter().filter(|event| event.is_fresh()).count();
        assert!(fresh > 50, "{fresh}");
        // Names of companies of the cast stand for their time zone.
        let first = &story.companies[0];
        let of_first = |call: &&Call| call.body["groupId"] == first.id.as_str();
        for call in story.calls.iter().filter(of_first) {
            let minute = (call.at.millis() / 60_000 + first.zone).rem_euclid(1440);
            assert!((9 * 60..=18 * 60).contains(&minute), "{minute}");
        }
    }

    #[test]
    fn a_month_of_sixty_companies_is_a_few_thousand_calls() {
        let story = Story::tell(request(1));
        assert!((2_000..10_000).contains(&story.calls.len()), "{}", story.calls.len());
    }

    #[test]
    fn any_number_of_companies_and_days_can_be_told() {
        for (companies, days) in [(1, 1), (3, 2), (11, 7), (200, 90)] {
            let story = Story::tell(Request { companies, days, ..request(4) });
            assert_eq!(story.companies.len(), companies);
            for event in events(&story) {
                assert!((0..=(days + BEFORE) * DAY_MS).contains(&NOW.millis_since(event.timestamp)));
            }
        }
    }
}
