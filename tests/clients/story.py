"""A month of 200 invented people at 40 invented companies, as calls of client libraries.

The same on every run except for the moments, which are told from the moment at which the test starts. Moments keep minutes away from every
boundary that matters (UTC half hours and days, 24 hours), so that the milliseconds a request travels, or a test that runs over midnight,
change nothing that is expected.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timezone

SEED = 20260301
MINUTE_MS, HALF_HOUR_MS, DAY_MS = 60_000, 1_800_000, 86_400_000

T, Q, S, L = "target", "qualified", "standard", "low_priority"

# Name, domain, how it comes to be known, what is stated of it, the account score and the level by hand.
COMPANIES = [
    # Known by the e-mail addresses of its people; fields from identify traits.
    ("Brightforge Looms", "brightforge-looms.com", "domain", dict(employees=4200, revenue="$120M", country="United States", industry="Technology"), 145, T),
    ("Quillmarsh Textiles", "quillmarsh-textiles.co.uk", "domain", dict(employees=1000, revenue=50_000_000, country="UK", industry="Finance"), 145, T),
    ("Ostrava Kiln Works", "ostrava-kilnworks.com", "domain", dict(employees=999, revenue="49.9M", country="US", industry="Healthcare"), 50, Q),
    ("Pellworth Dairies", "pellworth-dairies.de", "domain", dict(employees=1500), 50, Q),
    ("Tarnholt Shipping", "tarnholt-shipping.com", "domain", dict(revenue="75M", country="CA"), 65, Q),
    ("Vexley Optics", "vexley-optics.io", "domain", dict(industry="Technology", country="DE"), 50, Q),
    ("Umberline Paper", "umberline-paper.com", "domain", dict(country="AU"), 20, S),
    ("Corrigan Pumps", "corrigan-pumpworks.com", "domain", dict(industry="Healthcare"), 30, S),
    ("Sandrel Ferries", "sandrel-ferries.com", "domain", dict(country="FR", industry="Retail", employees=40), 0, L),
    ("Moorgate Candles", "moorgate-candleworks.com", "domain", {}, 0, L),
    ("Ilmenau Rope", "ilmenau-ropeworks.de", "domain", {}, 0, L),
    ("Halvorsen Skis", "halvorsen-skiworks.com", "domain", dict(employees="1,000+", industry="Finance"), 80, T),
    ("Petrelly Glass", "petrelly-glass.com", "domain", dict(employees="201-500", country="GB"), 20, S),
    ("Zephyrine Fans", "zephyrine-fans.com", "domain", dict(revenue="$50M", employees=1200, country="US"), 115, T),
    ("Dunmere Lifts", "dunmere-lifts.com", "domain", {}, 0, L),
    # Known by group calls, which also state the fields.
    ("Kestrel Anvils", "kestrel-anvils.com", "group", dict(employees=12_000, revenue="$1.2B", country="United Kingdom", industry="Finance"), 145, T),
    ("Larkspur Metering", "larkspur-metering.com", "group", dict(employees=2500, country="US", industry="Technology"), 100, T),
    ("Obsidian Rail", "obsidian-rail.co.uk", "group", dict(employees=3100, revenue=880_000_000), 95, T),
    ("Fenwick Orchards", "fenwick-orchardry.com", "group", dict(employees=1100, country="Germany"), 70, Q),
    ("Galloway Mills", "galloway-millwrights.com", "group", dict(revenue=61_000_000, country="FR"), 45, S),
    ("Ravensfield Pianos", "ravensfield-pianos.com", "group", dict(industry="Healthcare", country="Canada"), 50, Q),
    ("Tidewater Cranes", "tidewater-craneworks.com", "group", dict(employees=5000, industry="Energy"), 50, Q),
    ("Windlass Freight", "windlass-freightlines.com", "group", dict(country="Australia", industry="Retail"), 20, S),
    ("Yarrow Instruments", "yarrow-instrumentation.com", "group", dict(industry="Technology"), 30, S),
    ("Bellweather Tiles", "bellweather-tileworks.com", "group", dict(employees=12), 0, L),
    ("Cinderford Ovens", "cinderford-ovens.com", "group", dict(employees=900, revenue="49M", country="JP", industry="Media"), 0, L),
    ("Drumlin Surveys", "drumlin-surveys.com", "group", dict(employees=1001, revenue="50M", country="DE", industry="Healthcare"), 145, T),
    ("Everly Bindery", "everly-bindery.com", "group", {}, 0, L),
    ("Foxglove Valves", "foxglove-valves.com", "group", dict(employees=1800, revenue="51M"), 95, T),
    ("Greyling Docks", "greyling-docks.com", "group", dict(country="BR"), 0, L),
    # As before, but people of the company are seen first, so that an automatic account of the domain is absorbed.
    ("Hollin Escapements", "hollin-escapements.com", "absorbed", dict(employees=7000, revenue="$90M", industry="Technology"), 125, T),
    ("Ivywell Batteries", "ivywell-batteries.com", "absorbed", dict(country="US"), 20, S),
    # Known by the property `account_id` of track events, which also state the fields.
    ("Jessamine Cables", "jessamine-cables.com", "property", dict(employees=1300, country="US", industry="Finance"), 100, T),
    ("Knapweed Boilers", "knapweed-boilers.com", "property", dict(revenue=70_000_000), 45, S),
    ("Lindisfarne Saddles", "lindisfarne-saddlery.com", "property", dict(industry="Technology", country="SE"), 30, S),
    ("Mistral Gauges", "mistral-gauges.com", "property", {}, 0, L),
    # Known by `context.groupId`.
    ("Nettlebed Presses", "nettlebed-presses.com", "context", {}, 0, L),
    ("Orrery Bearings", "orrery-bearings.com", "context", {}, 0, L),
    # Known by account events alone: by an id, and by a web domain.
    ("Pimpernel Labels", None, "event by id", {}, 0, L),
    ("Quern Lathes", "quern-latheworks.com", "event by domain", {}, 0, L),
]

# Companies of which every event is more than a day old: scored like all others, but nobody is notified.
STALE = {"Zephyrine Fans", "Foxglove Valves"}

# How many people each company has; the last two have none.
SIZES = [6, 5, 4, 4, 4, 3, 5, 3, 3, 3, 3, 5, 4, 3, 6, 7, 5, 4, 4, 4, 3, 5, 6, 3, 3, 3, 4, 4, 3, 3, 5, 4, 6, 5, 5, 4, 4, 4, 0, 0]

GIVEN = "Ada Bo Cleo Dov Esra Finn Greta Hugo Inez Jun Kaya Lior Mina Nils Orla Pavel Quin Rhea Sven Thea Umar Vera Wim Xena Yves Zola".split()
FAMILY = "Abara Brandvold Castellan Drozd Eikeland Farrow Grosz Hallam Ibsen Jarvi Kovic Lindqvist Morrow Nyberg Okoye Prewitt Quist Rask".split()

VIEW_NAMES = ["Page View", "page_view", "Viewed Page", "Website Visit"]
DOWNLOAD_NAMES = ["Content Downloaded", "content_download", "Download", "Asset Downloaded"]
CLICK_NAMES = ["Email Clicked", "Email Link Clicked", "email-click"]
DEMO_NAMES = ["Demo Requested", "demo_request", "Requested Demo"]
MEETING_NAMES = ["Meeting Held", "SDR Meeting", "meeting completed"]


def account_id(company):
    return "acct-" + company.lower().replace(" ", "-")


@dataclass
class Person:
    key: int
    company: str | None
    user_id: str | None
    email: str | None
    anonymous_id: str | None
    client: str
    stale: bool
    calls: list = field(default_factory=list)
    used: set = field(default_factory=set)


@dataclass
class Story:
    people: list
    calls: list  # for the server libraries, in the order in which they are sent; each says which `client` sends it
    late: list  # the same, to be sent when the accounts of their people's web domains are there
    browsers: list  # for the browser library
    account_events: list  # bodies of POST /v1/account-event


class Teller:
    def __init__(self, now_ms):
        self.now_ms = now_ms
        self.random = random.Random(SEED)
        self.ticks = 0
        self.people = []

    # ------------------------------------------------------------------------------------------------------------------ moments

    def slot(self, person, days=None, half=None):
        """The start of a UTC half hour in which the person did nothing yet: `days` ago, or within the last 20 hours for 0."""
        for _ in range(500):
            ago = self.random.choice([0, 0, 2, 3, 5, 8, 10, 12, 14, 17, 20, 24, 27, 33, 38]) if days is None else days
            if person.stale and ago == 0:
                if days == 0:
                    raise ValueError("a stale person does nothing today")
                continue
            if ago == 0:
                start = self.now_ms // HALF_HOUR_MS * HALF_HOUR_MS - self.random.randint(1, 38) * HALF_HOUR_MS
            else:
                chosen = self.random.randint(12, 40) if half is None else half
                start = (self.now_ms // DAY_MS - ago) * DAY_MS + chosen * HALF_HOUR_MS
            if start not in person.used:
                person.used.add(start)
                return start
            if half is not None:
                raise ValueError("the person did something then already")
        raise ValueError("no half hour is left")

    def moment(self, slot, step=0):
        """A moment of its own within a half hour: from its 6th to its 20th minute."""
        self.ticks += 1
        assert step < 14
        return slot + (6 + step) * MINUTE_MS + 7_000 + self.ticks % 40_000

    @staticmethod
    def iso(moment):
        return datetime.fromtimestamp(moment / 1000, timezone.utc).isoformat(timespec="milliseconds")

    # -------------------------------------------------------------------------------------------------------------------- calls

    def say(self, person, kind, moment, known=True, both=False, user_id=None, **call):
        """Adds a call of the person, under the user id, the anonymous id or both."""
        who = {}
        user = user_id or person.user_id
        if known and user:
            who["userId"] = user
        if person.anonymous_id and (both or not known or not user):
            who["anonymousId"] = person.anonymous_id
        if kind == "alias":
            who = {"userId": user}
        person.calls.append({"type": kind, **who, **call, "timestamp": self.iso(moment)})

    def visit(self, person, slot, pages=1, known=True, user_id=None, session=None, both=False):
        session = session or self.random.choice(["none", "context", "property"])
        if person.client == "browser" and session == "context":
            session = "property"
        session_id = f"s-{person.key}-{slot // HALF_HOUR_MS}"
        for step in range(pages):
            path = self.random.choice(["/", "/product", "/blog/looms", "/team", "/plans"])
            properties = {"path": path, "url": "https://www.northwind-looms.example" + path}
            extra = {}
            if session == "context":
                extra["context"] = {"sessionId": session_id}
            elif session == "property":
                properties["session_id"] = session_id
            if self.random.random() < 0.5:
                self.say(person, "page", self.moment(slot, step), known, both, user_id, name="Page " + path, properties=properties, **extra)
            else:
                name = self.random.choice(VIEW_NAMES)
                self.say(person, "track", self.moment(slot, step), known, both, user_id, event=name, properties=properties, **extra)

    def pricing(self, person, slot, known=True, user_id=None):
        if self.random.random() < 0.5:
            properties = {"path": "/pricing", "title": "Plans"}
            self.say(person, "page", self.moment(slot), known, user_id=user_id, name="Plans", properties=properties)
        else:
            properties = {"url": "https://www.northwind-looms.example/Pricing?currency=usd"}
            self.say(person, "track", self.moment(slot), known, user_id=user_id, event="Page View", properties=properties)

    def download(self, person, slot, asset, user_id=None):
        key = self.random.choice(["asset", "file_name", "asset_id"])
        self.say(person, "track", self.moment(slot), user_id=user_id, event=self.random.choice(DOWNLOAD_NAMES), properties={key: asset})

    def click(self, person, slot, message):
        properties = {"campaign_id": message, "link": "https://www.northwind-looms.example/"}
        self.say(person, "track", self.moment(slot), event=self.random.choice(CLICK_NAMES), properties=properties)

    def ad(self, person, slot, campaign):
        self.say(person, "track", self.moment(slot), event="LinkedIn Ad Clicked", properties={"campaign": campaign})

    def demo(self, person, slot, step=0):
        self.say(person, "track", self.moment(slot, step), event=self.random.choice(DEMO_NAMES), properties={"form": "demo"})

    def meeting(self, person, slot):
        self.say(person, "track", self.moment(slot), event=self.random.choice(MEETING_NAMES), properties={"minutes": 30})

    def other(self, person, slot):
        """Something that earns nothing."""
        name = self.random.choice(["Email Opened", "Newsletter Subscribed", "Video Paused", "Search Performed"])
        self.say(person, "track", self.moment(slot), event=name, properties={"detail": "Zwölf Webstühle 🧵"})

    def identify(self, person, slot, step=0, user_id=None, email=None, both=None, **traits):
        both = bool(person.anonymous_id) if both is None else both
        traits = {"email": email or person.email, "name": self.name(person), **traits}
        self.say(person, "identify", self.moment(slot, step), both=both, user_id=user_id, traits={k: v for k, v in traits.items() if v})

    def name(self, person):
        return f"{GIVEN[person.key % len(GIVEN)]} {FAMILY[person.key // 3 % len(FAMILY)]}"

    # ------------------------------------------------------------------------------------------------------------------- people

    def person(self, company=None, domain=None, client=None, known=True, anonymous=None, email=None):
        key = len(self.people)
        client = client or self.random.choices(["node", "python", "python gzip", "browser"], [45, 25, 20, 10])[0]
        if anonymous is None:
            anonymous = client == "browser" or self.random.random() < 0.45
        if email is None and domain:
            host = self.random.choice([domain, domain, domain, "mail." + domain, domain.upper()])
            email = f"{GIVEN[key % len(GIVEN)].lower()}.{key}@{host}"
        person = Person(
            key=key,
            company=company,
            user_id=f"u-{1000 + key}" if known else None,
            email=email,
            anonymous_id=f"anon-{key}-{self.random.getrandbits(32):08x}" if anonymous or not known else None,
            client=client,
            stale=company in STALE,
        )
        self.people.append(person)
        return person

    def introduce(self, person, days=None, **traits):
        """Anonymous visits, for those who have an anonymous id; then the call that names the person."""
        slot = self.slot(person, days=days)
        if person.anonymous_id:
            for _ in range(self.random.randint(1, 2)):
                self.visit(person, self.earlier(person, slot), pages=self.random.randint(1, 2), known=False)
        self.identify(person, slot, **traits)

    def earlier(self, person, before):
        """A half hour of the person before another one, at least as stale."""
        for back in range(1, 2000):
            start = before - back * HALF_HOUR_MS * 3
            if start not in person.used and (start < self.now_ms - 26 * 2 * HALF_HOUR_MS) == (before < self.now_ms - 26 * 2 * HALF_HOUR_MS):
                person.used.add(start)
                return start
        raise ValueError("no half hour is left")

    def usual(self, person, actions):
        """So many things that people do."""
        for _ in range(actions):
            what = self.random.choices(
                ["visit", "pricing", "download", "again", "click", "ad", "demo", "meeting", "other"], [40, 12, 10, 6, 12, 6, 3, 3, 12]
            )[0]
            slot = self.slot(person)
            if what == "visit":
                self.visit(person, slot, pages=self.random.choice([1, 1, 2, 3, 4]))
            elif what == "pricing":
                self.pricing(person, slot)
            elif what == "download":
                self.download(person, slot, self.random.choice(["Weaving Guide", "ROI sheet", "Case study 4", "loom-specs.pdf"]))
            elif what == "again":
                # The same asset twice: only the first one counts.
                self.download(person, slot, "Weaving Guide")
                self.download(person, self.slot(person), "weaving guide")
            elif what == "click":
                self.click(person, slot, f"mail-{self.random.randint(1, 6)}")
            elif what == "ad":
                self.ad(person, slot, self.random.choice(["spring", "autumn"]))
            elif what == "demo":
                self.demo(person, slot)
            elif what == "meeting":
                self.meeting(person, slot)
            else:
                self.other(person, slot)

    # ---------------------------------------------------------------------------------------------------------------- companies

    def company(self, place):
        name, domain, kind, stated, _, _ = COMPANIES[place]
        stale = name in STALE
        if kind.startswith("event"):
            return []
        ours = [self.person(name, domain) for _ in range(SIZES[place])]
        first = ours[0]
        when = 33 if stale else 0
        if kind == "domain":
            self.by_domain(name, stated, first, when)
        elif kind in ("group", "absorbed"):
            self.by_group(name, stated, first, when)
        elif kind == "property":
            self.introduce(first, days=0)
            slot = self.slot(first, days=0)
            for step, (key, value) in enumerate(stated.items() or [("note", "none")]):
                properties = {"account_id": account_id(name), key: value}
                self.say(first, "track", self.moment(slot, step), event="Trial Started", properties=properties)
        elif kind == "context":
            self.introduce(first, days=2)
            self.say(first, "track", self.moment(self.slot(first)), event="Report Viewed", context={"groupId": account_id(name)})
            first.client = "node"
        for person in ours[1:]:
            self.introduce(person)
        return ours

    def by_domain(self, name, stated, first, when):
        company = {"name": name}
        traits = {}
        for key, value in stated.items():
            if key == "employees":
                company["employee_count"] = value
            elif key == "industry":
                company["industry"] = value
            else:
                traits[key] = value
        self.introduce(first, days=when, company=company, **traits)

    def by_group(self, name, stated, first, when):
        """Two group calls; what the second one leaves out stays."""
        self.introduce(first, days=when)
        keys = list(stated)
        slot = self.slot(first, days=when)
        for step, part in enumerate([keys[:2], keys[2:]]):
            traits = {"name": name}
            for key in part:
                if key == "country":
                    traits["address"] = {"country": stated[key]}
                elif key == "revenue":
                    traits["annual_revenue"] = stated[key]
                else:
                    traits[key] = stated[key]
            self.say(first, "group", self.moment(slot, step), groupId=account_id(name), traits=traits)

    # ------------------------------------------------------------------------------------------------------------- special cases

    def two_on_one_browser(self, first, second, second_sends_first):
        """The second person is never merged with the first: the anonymous id stays the first one's."""
        for person in (first, second):
            person.client = "node"
            person.calls = [call for call in person.calls if "anonymousId" not in call or "userId" in call]
            for call in person.calls:
                call.pop("anonymousId", None)
        shared = f"shared-{first.key}-{second.key}"
        first.anonymous_id = second.anonymous_id = shared
        before, named = self.slot(first, days=8), self.slot(first, days=5)
        self.visit(first, before, pages=2, known=False, session="none")
        self.identify(first, named)
        later = self.slot(second, days=3)
        second_calls, second.calls = second.calls, []
        self.identify(second, later)
        self.visit(second, self.slot(second, days=2), pages=2, both=True, session="none")
        after = self.slot(first, days=2)
        self.visit(first, after, pages=1, known=False, session="none")
        news, second.calls = second.calls, second_calls
        # Whoever sends first, the earlier moment wins.
        if second_sends_first:
            second.calls[:0] = news
            first.calls, second.calls = second.calls + first.calls, []
        else:
            first.calls += news

    def two_user_ids(self, person):
        """The CRM knows the person under another id, with the same address in other letters."""
        other = f"crm-{person.key}"
        self.identify(person, self.slot(person), user_id=other, email=person.email.upper(), both=False)
        self.visit(person, self.slot(person, days=3), user_id=other)
        self.pricing(person, self.slot(person, days=5), user_id=other)
        self.download(person, self.slot(person, days=12), "Weaving Guide", user_id=other)
        self.download(person, self.slot(person, days=8), "Weaving Guide")

    def shared_mailbox(self, first, second):
        """Two people who give the office's address stay two leads."""
        for person in (first, second):
            host = person.email.partition("@")[2].lower().removeprefix("mail.")
            self.identify(person, self.slot(person, days=0), email="info@" + host)
            person.email = "info@" + host
            for call in person.calls:
                if call["type"] == "identify":
                    call["traits"]["email"] = person.email

    def alias(self, person):
        """`alias` says that what an anonymous id did was this person."""
        person.client = "node"
        self.visit(person, self.slot(person, days=8), pages=2, known=False)
        self.say(person, "alias", self.moment(self.slot(person, days=5)), previousId=person.anonymous_id)

    def busy_day(self, person):
        """Five sessions on one day: 15 points, not 25."""
        for half in (14, 17, 20, 23, 26):
            self.visit(person, self.slot(person, days=4, half=half), pages=2, session="none")

    def demos(self, person):
        """Three requests: the second is 23½ hours after the first, the third 24½."""
        self.demo(person, self.slot(person, days=7, half=20))
        self.demo(person, self.slot(person, days=6, half=19))
        self.demo(person, self.slot(person, days=6, half=21))

    def champion(self, person):
        """More than 100 points: the lead's cap."""
        for days in (2, 3, 4):
            self.meeting(person, self.slot(person, days=days))
        self.demo(person, self.slot(person, days=2))

    def long_ago(self, person):
        """A demo request 500 days ago is in the timeline and worth nothing."""
        self.demo(person, self.slot(person, days=500))

    def surging(self, people):
        """An old account that did little, and now much."""
        self.visit(people[0], self.slot(people[0], days=40), session="none")
        for person in people[:3]:
            for days in (0, 2, 3, 4):
                self.visit(person, self.slot(person, days=days), pages=1, session="none")
                self.pricing(person, self.slot(person, days=days))

    def steady(self, people):
        """As much in the last week as in each of the three before."""
        for person in people[:3]:
            for days in range(1, 40, 2):
                self.visit(person, self.slot(person, days=days + 1, half=20), pages=1, session="none")

    def alone(self, person):
        """Much, but by one person."""
        self.visit(person, self.slot(person, days=40), session="none")
        for days in (2, 3, 4):
            for half in (14, 18, 22, 26):
                self.visit(person, self.slot(person, days=days, half=half), pages=1, session="none")

    def young(self, people):
        """An account first seen this week, with at least 15 events of three people."""
        for person in people[:3]:
            for days in (2, 3, 4):
                for half in (15, 19):
                    self.visit(person, self.slot(person, days=days, half=half), pages=1, session="none")

    # -------------------------------------------------------------------------------------------------------------------- story

    def tell(self):
        quiet = {"Halvorsen Skis", "Moorgate Candles", "Ilmenau Rope", "Dunmere Lifts", "Everly Bindery", "Orrery Bearings"}
        companies = {name: self.company(place) for place, (name, *_) in enumerate(COMPANIES)}
        for name, people in companies.items():
            for person in people:
                if name not in quiet:
                    self.usual(person, self.random.randint(3, 8))
        ours = companies.__getitem__

        # Of these companies the special events are all there is, so that surge is told by hand.
        for name in ("Moorgate Candles", "Ilmenau Rope", "Dunmere Lifts", "Orrery Bearings"):
            for person in map(self.server_person, ours(name)):
                person.calls.clear()
                person.used.clear()
                self.identify(person, self.slot(person, days=3, half=40))
        self.surging(ours("Halvorsen Skis"))
        self.steady(ours("Moorgate Candles"))
        self.alone(ours("Ilmenau Rope")[0])
        for person in ours("Orrery Bearings"):
            person.client = "node"
            self.say(person, "track", self.moment(self.slot(person, days=2)), event="Report Viewed", context={"groupId": account_id("Orrery Bearings")})
        self.young(ours("Dunmere Lifts"))

        self.two_on_one_browser(ours("Brightforge Looms")[1], ours("Kestrel Anvils")[1], second_sends_first=False)
        self.two_on_one_browser(ours("Umberline Paper")[1], ours("Umberline Paper")[2], second_sends_first=True)
        self.two_on_one_browser(ours("Tidewater Cranes")[1], ours("Vexley Optics")[1], second_sends_first=True)
        self.two_on_one_browser(ours("Windlass Freight")[1], ours("Windlass Freight")[2], second_sends_first=False)
        for name in ("Larkspur Metering", "Petrelly Glass", "Jessamine Cables"):
            self.two_user_ids(self.server_person(ours(name)[1]))
        self.shared_mailbox(*map(self.server_person, ours("Galloway Mills")[1:3]))
        self.shared_mailbox(*map(self.server_person, ours("Corrigan Pumps")[1:3]))
        for name in ("Fenwick Orchards", "Knapweed Boilers", "Quillmarsh Textiles"):
            self.alias(self.without_anonymous(ours(name)[2]))
        for name in ("Quillmarsh Textiles", "Drumlin Surveys", "Mistral Gauges"):
            self.busy_day(ours(name)[0])
        for name in ("Obsidian Rail", "Ostrava Kiln Works", "Everly Bindery"):
            self.demos(ours(name)[1])
        for name in ("Tarnholt Shipping", "Kestrel Anvils", "Hollin Escapements"):
            self.champion(ours(name)[2])
        self.long_ago(ours("Pellworth Dairies")[1])

        self.strangers()
        self.movers()
        late = []
        for name in ("Hollin Escapements", "Ivywell Batteries"):
            first = self.server_person(ours(name)[0])
            late += [{"client": first.client, **call} for call in first.calls if call["type"] == "group"]
            first.calls = [call for call in first.calls if call["type"] != "group"]
        calls = self.shuffled()
        browsers = [
            {"anonymousId": person.anonymous_id, "calls": person.calls} for person in self.people if person.client == "browser" and person.calls
        ]
        return Story(self.people, calls, late, browsers, self.account_events())

    @staticmethod
    def server_person(person):
        if person.client == "browser":
            person.client = "node"
        return person

    def without_anonymous(self, person):
        """Someone whom nothing but `alias` connects with an anonymous id."""
        person.client = "node"
        person.calls = [call for call in person.calls if "userId" in call]
        for call in person.calls:
            call.pop("anonymousId", None)
        person.anonymous_id = f"before-{person.key}"
        return person

    def strangers(self):
        """People who belong to no account: private and throw-away addresses, a school's, and visitors who never say who they are."""
        hosts = ["gmail.com", "outlook.com", "yahoo.com", "gmx.de", "proton.me", "icloud.com", "hotmail.com"] * 2
        hosts += ["mailinator.com", "guerrillamail.com", "10minutemail.com", "yopmail.com"] + ["northfield-polytechnic.edu", "saltmarsh-college.ac.uk"]
        for host in hosts:
            person = self.person(email=f"harpoon.sample.{len(self.people)}@{host}")
            self.introduce(person)
            self.usual(person, self.random.randint(2, 6))
        while len(self.people) < 190:
            person = self.person(known=False)
            for _ in range(self.random.randint(1, 3)):
                self.visit(person, self.slot(person), pages=self.random.randint(1, 3), known=False)
            self.pricing(person, self.slot(person), known=False)

    def movers(self):
        """Private addresses with an explicit account: some always the same one, some another one later."""
        homes = ["Knapweed Boilers", "Lindisfarne Saddles", "Mistral Gauges", "Greyling Docks"]
        while len(self.people) < 200:
            place = len(self.people) - 190
            person = self.person(email=f"harpoon.sample.{len(self.people)}@gmail.com", client="python")
            self.introduce(person)
            self.usual(person, 3)
            early, late = self.slot(person, days=8), self.slot(person, days=3)
            first, second = homes[place % 4], homes[(place + (1 if place % 2 else 0)) % 4]
            calls = []
            for slot, home in ((early, first), (late, second)):
                said = len(person.calls)
                self.say(person, "track", self.moment(slot), event="Workshop Joined", properties={"account_id": account_id(home)})
                calls += person.calls[said:]
                del person.calls[said:]
            # Some are sent in the other order: the later moment wins all the same.
            person.calls += calls if place % 3 else calls[::-1]

    def shuffled(self):
        """Everybody's calls, interleaved; each person's own stay in order."""
        waiting = [(person, list(person.calls)) for person in self.people if person.client != "browser"]
        waiting = [(person, calls) for person, calls in waiting if calls]
        merged = []
        while waiting:
            place = self.random.randrange(len(waiting))
            person, calls = waiting[place]
            merged.append({"client": person.client, **calls.pop(0)})
            if not calls:
                waiting.pop(place)
        return merged

    def account_events(self):
        events = []
        tell = Person(-1, None, None, None, None, "raw", False)
        for who, name, days in [
            ({"account_id": account_id("Pimpernel Labels")}, "Page View", 0),
            ({"account_id": account_id("Pimpernel Labels")}, "Review Site Visited", 2),
            ({"account_id": account_id("Pimpernel Labels")}, "Demo Requested", 3),
            ({"domain": "quern-latheworks.com"}, "Page View", 2),
            ({"domain": "quern-latheworks.com"}, "Content Downloaded", 5),
            ({"domain": "kestrel-anvils.com"}, "Meeting Held", 2),
            ({"domain": "kestrel-anvils.com"}, "Meeting Held", 5),
            ({"domain": "moorgate-candleworks.com"}, "Email Clicked", 5),
            ({"account_id": account_id("Fenwick Orchards")}, "Content Downloaded", 0),
        ]:
            moment = self.moment(self.slot(tell, days=days))
            properties = {"asset": "Buyer's guide", "campaign_id": "listing"}
            message_id = f"account-event-{len(events)}"
            events.append({**who, "event": name, "messageId": message_id, "timestamp": self.iso(moment), "properties": properties})
        return events


def tell(now_ms):
    """The story as of a moment."""
    return Teller(now_ms).tell()
