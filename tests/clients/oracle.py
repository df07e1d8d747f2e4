"""What Harpoon has to answer, computed a second time from the requests that clients sent.

Written from what the documentation says and from the numbers in the rulesets, not from the program: another language, decimal arithmetic, no
folds, no states, nothing incremental. It reads all events at once and is slow and plain on purpose.
"""

import base64
import gzip
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from publicsuffixlist import PublicSuffixList

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
HALF_HOUR_MS = 1_800_000
LOOK_BACK_DAYS = 395

SUFFIXES = PublicSuffixList()
# A few of each kind, by hand; the tests use no others.
FREE_MAIL = {"gmail.com", "outlook.com", "yahoo.com", "gmx.de", "proton.me", "icloud.com", "hotmail.com"}
DISPOSABLE = {"mailinator.com", "guerrillamail.com", "10minutemail.com", "yopmail.com"}
ROLES = {"info", "sales", "support", "office", "admin", "contact"}

# ---------------------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, eq=False)
class Event:
    """One event as a client stated it, at the moment that the server's clock gives it."""

    message_id: str
    kind: str
    name: str | None
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None
    named: str | None  # the account that it names: property `account_id`, group id, or an account event's own
    domain: str | None  # the web domain that an account event names instead
    at: int
    received_at: int
    properties: dict
    traits: dict
    context: dict

    @property
    def day(self):
        return self.at // DAY_MS

    @property
    def order(self):
        return (self.at, self.message_id)

    @property
    def identity(self):
        if self.user_id:
            return ("user", self.user_id)
        if self.anonymous_id:
            return ("anonymous", self.anonymous_id)
        return ("account", self.named or self.domain)

    def value(self, path):
        """What stands at a dotted path such as `properties.asset`, or None."""
        head, _, rest = path.partition(".")
        if head == "name":
            return self.name
        value = {"properties": self.properties, "traits": self.traits, "context": self.context}[head]
        for step in rest.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def text(self, paths):
        """The first of the paths that holds text or a number, as text."""
        for path in paths:
            value = self.value(path)
            if isinstance(value, (str, int, float)) and str(value).strip():
                return str(value).strip()
        return None


SINGLE = {
    "track": "track", "t": "track", "page": "page", "p": "page", "identify": "identify", "i": "identify", "group": "group", "g": "group",
    "alias": "alias", "a": "alias", "screen": "screen", "s": "screen", "account-event": "account-event",
}  # fmt: skip


def millis(text):
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(Fraction((moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()) * 1000)


def calls_of(request):
    """The calls of a recorded request as (call, sentAt); nothing for other requests."""
    if request.method != "POST" or not request.path.startswith("/v1/"):
        return []
    body = gzip.decompress(request.body) if request.header("content-encoding") == "gzip" else request.body
    last = request.path.removeprefix("/v1/")
    if last in ("batch", "b", "import"):
        batch = json.loads(body)
        return [(call, call.get("sentAt") or batch.get("sentAt")) for call in batch["batch"]]
    if last not in SINGLE:
        return []
    call = json.loads(body)
    return [({**call, "type": SINGLE[last]}, call.get("sentAt"))]


def event_of(call, sent_at, received_ms):
    kind = call["type"]
    properties, traits, context = call.get("properties") or {}, call.get("traits") or {}, call.get("context") or {}
    stated = call.get("originalTimestamp") or call.get("timestamp")
    at = received_ms
    if stated:
        at = millis(stated)
        if sent_at:
            at = received_ms - (millis(sent_at) - at)
    named = {
        "track": properties.get("account_id"), "page": properties.get("account_id"), "screen": properties.get("account_id"),
        "identify": traits.get("account_id"), "group": call.get("groupId"), "account-event": call.get("account_id"),
    }.get(kind) or context.get("groupId")  # fmt: skip
    return Event(
        message_id=call.get("messageId"),
        kind=kind,
        name=call.get("event") if kind in ("track", "account-event") else call.get("name"),
        user_id=call.get("userId"),
        anonymous_id=call.get("anonymousId"),
        previous_id=call.get("previousId"),
        named=named,
        domain=call.get("domain"),
        at=min(at, received_ms),
        received_at=received_ms,
        properties=properties,
        traits=traits,
        context=context,
    )


def events_of(requests):
    """All events of recorded requests, each message id once, as it came first."""
    found = {}
    for request in sorted(requests, key=lambda request: request.received_ms):
        for call, sent_at in calls_of(request):
            event = event_of(call, sent_at, request.received_ms)
            found.setdefault(event.message_id, event)
    return list(found.values())


# ---------------------------------------------------------------------------------------------------------------------------- scoring


@dataclass(frozen=True)
class Rule:
    """An engagement rule: what it is worth, which events it takes, what counts as one, how it fades."""

    id: str
    points: int
    names: frozenset
    once: str  # session, day, key, key and day, 24 hours, every
    half_life: int
    key: tuple = ()
    cap_per_day: int = 0
    pricing: bool = False


def fold(name):
    return "".join(letter for letter in name.lower() if letter not in " _-")


def names(*texts):
    return frozenset(fold(text) for text in texts)


VIEWS = names("page view", "viewed page", "website visit")
RULES = (
    Rule("visit", 5, VIEWS, "session", 21, cap_per_day=15),
    Rule("pricing_page", 15, VIEWS, "day", 21, pricing=True),
    Rule(
        "download", 10, names("content download", "content downloaded", "file downloaded", "asset downloaded", "download"), "key", 45,
        key=tuple("properties." + key for key in ("asset", "asset_id", "content", "file", "file_name", "title", "name", "url")),
    ),
    Rule(
        "email_click", 5, names("email click", "email clicked", "email link clicked"), "key", 21,
        key=tuple("properties." + key for key in ("email_id", "message_id", "campaign_id", "campaign", "email_subject", "subject")),
    ),
    Rule(
        "linkedin_ad_click", 5, names("linkedin ad click", "linkedin ad clicked"), "key and day", 21,
        key=("properties.campaign_id", "properties.campaign", "context.campaign.name", "properties.utm_campaign"),
    ),
    Rule("demo_request", 50, names("demo request", "demo requested", "requested demo", "request demo"), "24 hours", 90),
    Rule("sdr_meeting", 30, names("sdr meeting", "meeting held", "meeting completed", "sales meeting"), "every", 90),
)  # fmt: skip
PRICING_PLACES = ("properties.path", "properties.url", "properties.title", "context.page.path", "context.page.url", "name")
LEAD_CAP = 100_000


def takes(rule, event):
    """Whether a rule looks at an event at all."""
    if event.kind == "page":
        name = "pageview"
    elif event.kind in ("track", "account-event"):
        name = fold(event.name)
    else:
        return False
    if name not in rule.names:
        return False
    return not rule.pricing or any("pricing" in str(event.value(place) or "").lower() for place in PRICING_PLACES)


def session(event):
    """The client's session id, else the UTC half hour."""
    stated = event.text(("context.sessionId", "properties.session_id"))
    return ("id", stated) if stated else ("half hour", event.at // HALF_HOUR_MS)


def counted(rule, events):
    """Of the events of one lead that a rule takes, those that count."""
    events = sorted(events, key=lambda event: event.order)
    if rule.once == "every":
        return events
    if rule.once == "24 hours":
        chosen = []
        for event in events:
            if not chosen or event.at - chosen[-1].at >= 24 * HOUR_MS:
                chosen.append(event)
        return chosen
    keys = {
        "session": session,
        "day": lambda event: event.day,
        "key": lambda event: (event.text(rule.key) or "").lower(),
        "key and day": lambda event: ((event.text(rule.key) or "").lower(), event.day),
    }
    first = {}
    for event in events:
        first.setdefault(keys[rule.once](event), event)
    return list(first.values())


def decayed(milli, age, half_life):
    """`milli`·2^(−age/half_life), rounded half away from zero."""
    with localcontext() as context:
        context.prec = 40
        left = Decimal(milli) * Decimal(2) ** (Decimal(-age) / Decimal(half_life))
        return int(left.quantize(Decimal(1), ROUND_HALF_UP))


def rule_milli(rule, events, today):
    """What a rule gives for counted events, in thousandths of a point."""
    per_day = defaultdict(int)
    for event in events:
        per_day[event.day] += 1
    total = 0
    for day, count in per_day.items():
        if today - LOOK_BACK_DAYS < day <= today:
            points = count * rule.points
            if rule.cap_per_day:
                points = min(points, rule.cap_per_day)
            total += decayed(points * 1000, today - day, rule.half_life)
    return total


def engagement_milli(events, today):
    """One lead's engagement in thousandths of a point."""
    total = 0
    for rule in RULES:
        total += rule_milli(rule, counted(rule, [event for event in events if takes(rule, event)]), today)
    return min(total, LEAD_CAP)


def most_milli(events, today):
    """The most that any part of these events, in any order of arrival, can have been worth at some moment.

    What counts once counts from its earliest event. While only a later one is known it is worth more, and a level that was reached then is
    not left at once. So this bounds which levels may be held.
    """
    total = 0
    for rule in RULES:
        taken = [event for event in events if takes(rule, event)]
        if not taken:
            continue
        if rule.once in ("every", "day", "key and day"):
            total += rule_milli(rule, counted(rule, taken), today)
        elif rule.once == "24 hours":
            newest = max(event.day for event in taken)
            total += len(counted(rule, taken)) * decayed(rule.points * 1000, max(0, today - newest), rule.half_life)
        else:
            total += rule_milli(rule, latest_of_each(rule, taken), today)
    return min(total, LEAD_CAP)


def latest_of_each(rule, events):
    last = {}
    for event in sorted(events, key=lambda event: event.order):
        key = session(event) if rule.once == "session" else (event.text(rule.key) or "").lower()
        last[key] = event
    return list(last.values())


def shown(milli):
    """Thousandths as the whole points that people see."""
    return (milli + 500) // 1000


LEAD_LEVELS = ((0, "cold"), (25, "warm"), (50, "hot"), (75, "very_hot"))
ENGAGEMENT_LEVELS = ((0, "cold"), (30, "warm"), (80, "hot"), (150, "very_hot"))
ACCOUNT_LEVELS = ((0, "low_priority"), (20, "standard"), (50, "qualified"), (80, "target"))

LEVEL_NAMES = {"low_priority": "Low Priority", "standard": "Standard", "qualified": "Qualified", "target": "Target"}


def level(ladder, score):
    return [name for floor, name in ladder if score >= floor][-1]


def levels_between(ladder, score, most):
    """The levels that may be held by whoever has `score` now and had at most `most` before."""
    low, high = level(ladder, score), level(ladder, max(score, most))
    all_names = [name for _, name in ladder]
    return set(all_names[all_names.index(low) : all_names.index(high) + 1])


# ---------------------------------------------------------------------------------------------------------------------------- fields

FIELD_PLACES = {
    "name": ("group name", "traits.company.name"),
    "industry": ("group industry", "properties.industry", "traits.industry", "traits.company.industry"),
    "employees": ("group employees", "properties.employees", "traits.employees", "traits.company.employee_count"),
    "revenue": ("group revenue", "group annual_revenue", "properties.revenue", "traits.revenue", "traits.annual_revenue"),
    "country": ("group country", "group address.country", "properties.country", "traits.country"),
}
COUNTRIES = {"united states": "US", "usa": "US", "us": "US", "united kingdom": "UK", "uk": "UK", "gb": "UK", "germany": "DE", "de": "DE",
             "canada": "CA", "ca": "CA", "australia": "AU", "au": "AU", "france": "FR", "fr": "FR", "japan": "JP", "jp": "JP", "brazil": "BR",
             "br": "BR", "sweden": "SE", "se": "SE"}  # fmt: skip


def stated_fields(event):
    """The account fields that an event states: (field, value, whether by a group call)."""
    for name, places in FIELD_PLACES.items():
        for place in places:
            by_group = place.startswith("group ")
            if by_group and event.kind == "group":
                value = event.value("traits." + place.removeprefix("group "))
            elif not by_group and (event.kind != "group") and not (place.startswith("traits") and event.kind != "identify"):
                value = event.value(place)
            else:
                value = None
            if isinstance(value, (str, int, float)) and value != "":
                yield name, value, by_group
                break


def least(value):
    """The least number that a stated number can mean: `1,000+` is 1,000 or more, `201-500` at least 201, `$50M` is 50,000,000."""
    if isinstance(value, (int, float)):
        return Fraction(value)
    text = value.strip().removesuffix("+").replace(",", "").replace("$", "").split("-")[0].strip()
    scale = {"k": 10**3, "m": 10**6, "b": 10**9}.get(text[-1:].lower(), 1)
    return Fraction(text.rstrip("kKmMbB")) * scale


def fit(fields):
    """The Enterprise B2B SaaS pattern: employees ≥1,000 +50, revenue ≥50 million +45, country +20, industry +30."""
    score = 0
    if "employees" in fields and least(fields["employees"]) >= 1000:
        score += 50
    if "revenue" in fields and least(fields["revenue"]) >= 50_000_000:
        score += 45
    country = str(fields.get("country", "")).lower()
    if COUNTRIES.get(country) in {"US", "UK", "CA", "AU", "DE"}:
        score += 20
    if str(fields.get("industry", "")).lower() in {"technology", "finance", "healthcare"}:
        score += 30
    return score


# ---------------------------------------------------------------------------------------------------------------------------- surge


def surges(earning, leads, first_day, today):
    """Runs the enter and leave rule over the last 56 UTC days. `earning` maps days to counts, `leads` is a list of sets of days."""
    active = False
    for day in range(today - 55, today + 1):
        window = sum(earning.get(d, 0) for d in range(day - 6, day + 1))
        baseline = sum(earning.get(d, 0) for d in range(day - 27, day - 6))
        ratio = Fraction(window) / max(Fraction(baseline, 3), 3)
        people = sum(1 for days in leads if any(day - 6 <= d <= day for d in days))
        young = first_day is None or day - first_day < 28
        if active:
            active = window >= 5 and (young or ratio >= Fraction(3, 2))
        elif young:
            active = window >= 15 and people >= 3
        else:
            active = window >= 10 and people >= 2 and ratio >= 2
    return active


# ---------------------------------------------------------------------------------------------------------------------------- the world


@dataclass(eq=False)
class Lead:
    identities: set
    events: list
    today: int = 0
    account: str | None = None
    may_have_been_at: set = field(default_factory=set)
    most: int = 0
    milli: int = 0
    email: str | None = None

    @property
    def score(self):
        return shown(self.milli)

    @property
    def sessions(self):
        return len({session(event) for event in self.events if event.day > self.today - LOOK_BACK_DAYS})

    @property
    def levels(self):
        return levels_between(LEAD_LEVELS, self.score, shown(self.most))

    @property
    def message_ids(self):
        return {event.message_id for event in self.events}


@dataclass(eq=False)
class Account:
    id: str
    domains: set = field(default_factory=set)
    leads: list = field(default_factory=list)
    own_events: list = field(default_factory=list)
    fields: dict = field(default_factory=dict)
    fit: int = 0
    milli: int = 0
    most: int = 0
    surge: bool = False

    @property
    def level(self):
        return level(ACCOUNT_LEVELS, self.fit)

    @property
    def engagement(self):
        return shown(self.milli)

    @property
    def engagement_levels(self):
        return levels_between(ENGAGEMENT_LEVELS, self.engagement, shown(self.most))

    @property
    def events(self):
        return [event for lead in self.leads for event in lead.events] + self.own_events

    @property
    def message_ids(self):
        return {event.message_id for event in self.events}


def email_of(events):
    """The latest e-mail address that a person's events state."""
    latest = None
    for event in sorted(events, key=lambda event: event.order):
        for stated in (event.traits.get("email") if event.kind == "identify" else None, event.value("context.traits.email")):
            if isinstance(stated, str) and stated.strip():
                latest = stated.strip().lower()
                break
    return latest


def company_domain(email):
    """The registrable domain of a company's address; nothing for free-mail, disposable and academic ones."""
    if not email:
        return None
    host = email.rpartition("@")[2]
    domain = SUFFIXES.privatesuffix(host)
    if domain is None or domain in FREE_MAIL | DISPOSABLE or domain.endswith((".edu", ".ac.uk")):
        return None
    return domain


class World:
    """Everything that can be asked of Harpoon after these events, on the UTC day `today` (days since the epoch)."""

    def __init__(self, events, today):
        self.today = today
        self.accounts = {}
        by_identity = defaultdict(list)
        for event in events:
            by_identity[event.identity].append(event)
        people = {identity: own for identity, own in by_identity.items() if identity[0] != "account"}
        self._link(events)
        leads = self._leads(people)
        owners = self._owners(leads)
        for lead in leads:
            self._place(lead, owners)
        self.unresolved = [lead for lead in leads if lead.account is None]
        for event in events:
            if event.named:
                self._account(event.named)
            if event.kind == "account-event":
                home = event.named or owners.get(event.domain, event.domain)
                account = self._account(home)
                account.own_events.append(event)
                if not event.named and home == event.domain:
                    account.domains.add(event.domain)
        for lead in leads:
            self._score_lead(lead, people)
        for account in self.accounts.values():
            self._score_account(account, events, leads)

    def _account(self, account_id):
        return self.accounts.setdefault(account_id, Account(account_id))

    def _link(self, events):
        """An anonymous id belongs to the user id whose earliest (timestamp, messageId) names both."""
        earliest = {}
        self.named_with = defaultdict(set)
        for event in events:
            for anonymous in (event.anonymous_id, event.previous_id):
                if event.user_id and anonymous:
                    self.named_with[anonymous].add(event.user_id)
                    known = earliest.get(anonymous)
                    if known is None or event.order < known[0]:
                        earliest[anonymous] = (event.order, event.user_id)
        self.user_of = {anonymous: user for anonymous, (_, user) in earliest.items()}

    def _leads(self, people):
        """Two user ids with one e-mail address are one lead, unless it is a role or shared mailbox."""
        groups = defaultdict(set)
        for kind, value in people:
            user = self.user_of.get(value) if kind == "anonymous" else value
            if user is None:
                groups[("anonymous", value)].add((kind, value))
                continue
            email = email_of(people.get(("user", user), []))
            personal = email and email.partition("@")[0] not in ROLES
            groups[("email", email) if personal else ("user", user)].add((kind, value))
        for anonymous, user in self.user_of.items():
            # Known only from events that name both.
            for identities in groups.values():
                if ("user", user) in identities:
                    identities.add(("anonymous", anonymous))
        return [Lead(identities, [event for one in identities for event in people.get(one, [])], self.today) for identities in groups.values()]

    def _owners(self, leads):
        """An account that events name owns its leads' company domain."""
        owners = {}
        for lead in leads:
            lead.email = email_of([event for event in lead.events if event.user_id])
            named = self._named(lead)
            domain = company_domain(lead.email)
            if named and domain:
                assert owners.setdefault(domain, named) == named, f"the story lets two accounts claim {domain}"
        return owners

    @staticmethod
    def _named(lead):
        naming = [event for event in lead.events if event.named]
        return max(naming, key=lambda event: event.order).named if naming else None

    def _place(self, lead, owners):
        named, domain = self._named(lead), company_domain(lead.email)
        lead.account = named or (domain and owners.get(domain, domain))
        lead.may_have_been_at = {event.named for event in lead.events if event.named} | ({lead.account} - {None})
        if domain:
            lead.may_have_been_at.add(owners.get(domain, domain))
        if lead.account:
            account = self._account(lead.account)
            account.leads.append(lead)
            if domain:
                account.domains.add(domain)

    def _score_lead(self, lead, people):
        lead.milli = engagement_milli(lead.events, self.today)
        reachable = list(lead.events)
        for anonymous, users in self.named_with.items():
            theirs = any(("user", user) in lead.identities for user in users)
            if theirs and ("anonymous", anonymous) not in lead.identities:
                reachable += people.get(("anonymous", anonymous), [])
        lead.most = most_milli(reachable, self.today)

    def _score_account(self, account, events, leads):
        own = engagement_milli(account.own_events, self.today)
        account.milli = sum(lead.milli for lead in account.leads) + own
        account.most = sum(lead.most for lead in leads if account.id in lead.may_have_been_at) + most_milli(account.own_events, self.today)
        members = account.leads + ([Lead(set(), account.own_events)] if account.own_events else [])
        # Which fields hold: a group call's before any other, then the latest.
        rank = {}
        own_ids = {event.message_id for member in members for event in member.events}
        for event in events:
            if event.named != account.id and (event.named or event.message_id not in own_ids):
                continue
            for name, value, by_group in stated_fields(event):
                if name not in rank or (by_group, event.order) > rank[name][0]:
                    rank[name] = ((by_group, event.order), value)
        account.fields = {name: value for name, (_, value) in rank.items()}
        account.fit = fit(account.fields)
        account.surge = self._surge(account, members)

    def _surge(self, account, members):
        """Looks at events that earn points: those of which a rule takes notice."""
        per_day = defaultdict(int)
        people = []
        for member in members:
            days = [event.day for event in member.events if any(takes(rule, event) for rule in RULES)]
            if member in account.leads:
                people.append(set(days))
            for day in days:
                per_day[day] += 1
        first_day = min((event.day for event in account.events), default=None)
        return surges(per_day, people, first_day, self.today)


def today():
    """The UTC day, counted from the epoch."""
    return int(datetime.now(timezone.utc).timestamp()) // 86_400


def basic(write_key):
    """The Authorization header of a write key."""
    return "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()
