"""What an instance shows of accounts, leads and timelines, read through its API and compared with the oracle."""

import time
from collections import Counter
from dataclasses import dataclass, field

import oracle
from product import Product, quoted


@dataclass(frozen=True)
class LeadRow:
    """A lead as it is shown. Two of them are equal when everything but the level is, which may depend on the order of arrival."""

    identities: frozenset
    account: str | None
    email: str | None
    score: int
    events: int
    sessions: int
    level: str = field(compare=False)

    @classmethod
    def of(cls, item):
        identities = frozenset((one["kind"], one["value"]) for one in item["identities"])
        return cls(identities, item["account_id"], item["email"], item["score"], item["events"], item["sessions"], item["level_id"])

    def __str__(self):
        return " + ".join(sorted(f"{kind} {value}" for kind, value in self.identities))


@dataclass
class AccountRow:
    item: dict
    leads: list
    messages: Counter | None  # how often each message id is in the timeline; None when the timeline was not read

    def shown(self):
        """What must be equal whatever way the events came: everything but moments that depend on the clock."""
        names = (
            "account_id", "domain", "name", "account_score", "account_level_id", "engagement_score", "total_leads", "sessions", "surge_active",
            "fields", "fields_known",
        )  # fmt: skip
        return {name: self.item[name] for name in names} | {"leads": sorted(self.leads, key=str)}

    def levels(self):
        """What may depend on the order in which events arrived, because levels are not left at once."""
        return {str(lead): lead.level for lead in self.leads} | {self.item["account_id"]: self.item["engagement_level_id"]}


@dataclass
class Reading:
    """Everything at one moment."""

    accounts: dict = field(default_factory=dict)
    unresolved: dict = field(default_factory=dict)

    @classmethod
    def of(cls, product: Product, timelines=True):
        accounts = {}
        for item in product.listed("/accounts"):
            account = item["account_id"]
            assert account not in accounts, f"the accounts list holds `{account}` twice"
            leads = [LeadRow.of(lead) for lead in product.listed(f"/accounts/{quoted(account)}/leads")]
            events = product.listed(f"/accounts/{quoted(account)}/timeline") if timelines else None
            messages = Counter(event["message_id"] for event in events) if timelines else None
            accounts[account] = AccountRow(item, leads, messages)
        rows = [LeadRow.of(lead) for lead in product.listed("/leads", resolved="false")]
        unresolved = {row.identities: row for row in rows}
        assert len(unresolved) == len(rows), "the list of unresolved leads holds a lead twice"
        return cls(accounts, unresolved)

    @classmethod
    def wait(cls, product, holds, within=120, pause=0.3):
        """Reads until `holds(reading)`; a reading that never does fails the test."""
        deadline = time.monotonic() + within
        while True:
            reading = cls.of(product)
            if holds(reading):
                return reading
            assert time.monotonic() < deadline, f"after {within} s the pipeline shows {reading}\n{product.log_tail()}"
            time.sleep(pause)

    @classmethod
    def settled(cls, product, calm=4, within=180, pause=0.5):
        """Reads until nothing that is counted or scored changed for `calm` seconds, then everything."""
        deadline = time.monotonic() + within
        reading, since = cls.of(product, timelines=False), time.monotonic()
        while time.monotonic() - since < calm:
            assert time.monotonic() < deadline, f"the pipeline still moves after {within} s\n{product.log_tail()}"
            time.sleep(pause)
            again = cls.of(product, timelines=False)
            if again != reading:
                reading, since = again, time.monotonic()
        return cls.of(product)

    def events(self):
        """How often each message id is in the timelines of all accounts."""
        return sum((account.messages for account in self.accounts.values()), Counter())

    def __eq__(self, other):
        return self.comparable() == other.comparable()

    def comparable(self):
        """What must not change when the same events come once more."""
        accounts = {name: (row.shown(), row.levels(), row.messages) for name, row in self.accounts.items()}
        return (accounts, {str(row): (row, row.level) for row in self.unresolved.values()})

    # --------------------------------------------------------------------------------------------------------------------- against the oracle

    def differences(self, world: oracle.World):
        """Where it differs from what the oracle computed, each as a sentence."""
        found = []
        found += [f"account {name} is missing" for name in world.accounts.keys() - self.accounts.keys()]
        found += [f"account {name} should not be" for name in self.accounts.keys() - world.accounts.keys()]
        for name in sorted(world.accounts.keys() & self.accounts.keys()):
            found += account_differences(world.accounts[name], self.accounts[name])
        expected = {frozenset(lead.identities): lead for lead in world.unresolved}
        found += lead_differences("unresolved", expected, self.unresolved)
        return found


def account_differences(account: oracle.Account, row: AccountRow):
    item = row.item
    expected = {
        "account_score": account.fit,
        "account_level_id": account.level,
        "engagement_score": account.engagement,
        "total_leads": len(account.leads),
        "sessions": sum(lead.sessions for lead in account.leads),
        "surge_active": account.surge,
        "fields_known": len(account.fields.keys() & {"employees", "revenue", "country", "industry"}),
        "account_level": oracle.LEVEL_NAMES[account.level],
    }
    found = [f"{account.id}: {key} should be {value}, is {item[key]}" for key, value in expected.items() if item[key] != value]
    if item["engagement_level_id"] not in account.engagement_levels:
        found.append(f"{account.id}: engagement level should be of {account.engagement_levels}, is {item['engagement_level_id']}")
    if item["domain"] not in (account.domains or {None}):
        found.append(f"{account.id}: domain should be of {account.domains}, is {item['domain']}")
    if "name" in account.fields and item["name"] != account.fields["name"]:
        found.append(f"{account.id}: name should be {account.fields['name']}, is {item['name']}")
    found += lead_differences(account.id, {frozenset(lead.identities): lead for lead in account.leads}, {lead.identities: lead for lead in row.leads})
    if row.messages is None:
        return found
    missing, doubled = account.message_ids - row.messages.keys(), [key for key, count in row.messages.items() if count > 1]
    foreign = row.messages.keys() - account.message_ids
    for what, ids in (("lost from", missing), ("doubled in", doubled), ("foreign to", foreign)):
        if ids:
            found.append(f"{account.id}: {len(ids)} events {what} the timeline, such as {sorted(ids)[:3]}")
    return found


def lead_differences(where, expected, rows):
    found = []
    for identities in expected.keys() - rows.keys():
        found.append(f"{where}: no lead is exactly {sorted(identities)}")
    for identities in rows.keys() - expected.keys():
        found.append(f"{where}: there should be no lead {sorted(identities)}")
    for identities in expected.keys() & rows.keys():
        lead, row = expected[identities], rows[identities]
        for what, should, is_ in (
            ("points", lead.score, row.score), ("events", len(lead.events), row.events), ("sessions", lead.sessions, row.sessions), ("account", lead.account, row.account),
        ):  # fmt: skip
            if should != is_:
                found.append(f"{where}: lead {row}: {what} should be {should}, is {is_}")
        if row.level not in lead.levels:
            found.append(f"{where}: lead {row} should be of {lead.levels}, is {row.level}")
        if lead.email and row.email and lead.email != row.email.lower():
            found.append(f"{where}: lead {row} should have the address {lead.email}, has {row.email}")
    return found


def expect(product, requests, within=180):
    """Reads until everything is as the oracle computes it from these requests; fails with the differences that stay."""
    events = oracle.events_of(requests)
    deadline = time.monotonic() + within
    while True:
        today = oracle.today()
        world = oracle.World(events, today)
        reading = Reading.of(product, timelines=False)
        differences = reading.differences(world)
        if not differences:
            # The timelines, which are longer to read, are read once the rest is right.
            reading = Reading.of(product)
            differences = reading.differences(world)
        if oracle.today() != today:
            continue
        if not differences:
            return reading
        if time.monotonic() > deadline:
            text = "\n".join(differences[:60])
            raise AssertionError(f"{len(differences)} differences from the oracle after {within} s:\n{text}\n\n{product.log_tail()}")
        time.sleep(0.5)
