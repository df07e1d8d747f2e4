"""What an instance shows of accounts, leads and timelines, read through its API and compared with the oracle."""

import time
from collections import Counter
from dataclasses import dataclass, field

import oracle
from product import Product, quoted


def name_of(level):
    """A level as the oracle names it: `Very Hot` and `very_hot` are one."""
    if isinstance(level, dict):
        level = level.get("id") or level.get("name")
    return level.lower().replace(" ", "_") if level else level


@dataclass(frozen=True)
class LeadRow:
    identities: frozenset
    email: str | None
    score: int
    level: str

    @classmethod
    def of(cls, item):
        identities = frozenset((one["kind"], one["value"]) for one in item["identities"])
        return cls(identities, item.get("email"), item["engagement_score"], name_of(item["lead_level"]))

    def __str__(self):
        return " + ".join(sorted(f"{kind} {value}" for kind, value in self.identities))


@dataclass
class AccountRow:
    item: dict
    leads: list
    messages: Counter

    def shown(self):
        """What must be equal whatever way the events came: everything but moments that depend on the clock."""
        names = (
            "account_id", "domain", "name", "account_score", "account_level", "engagement_score", "engagement_level", "total_leads",
            "surge_active", "fields",
        )  # fmt: skip
        return {name: self.item.get(name) for name in names} | {"leads": sorted(self.leads, key=str)}


@dataclass
class Reading:
    """Everything at one moment."""

    accounts: dict = field(default_factory=dict)
    unresolved: dict = field(default_factory=dict)

    @classmethod
    def of(cls, product: Product):
        accounts = {}
        for item in product.listed("/accounts"):
            account = item["account_id"]
            assert account not in accounts, f"the accounts list holds `{account}` twice"
            leads = [LeadRow.of(lead) for lead in product.listed(f"/accounts/{quoted(account)}/leads")]
            messages = Counter(event["message_id"] for event in product.listed(f"/accounts/{quoted(account)}/timeline"))
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
    def settled(cls, product, calm=4, within=120, pause=0.5):
        """Reads until nothing changed for `calm` seconds."""
        deadline = time.monotonic() + within
        reading, since = cls.of(product), time.monotonic()
        while time.monotonic() - since < calm:
            assert time.monotonic() < deadline, f"the pipeline still moves after {within} s\n{product.log_tail()}"
            time.sleep(pause)
            again = cls.of(product)
            if again != reading:
                reading, since = again, time.monotonic()
        return reading

    def events(self):
        """How often each message id is in the timelines of all accounts."""
        return sum((account.messages for account in self.accounts.values()), Counter())

    def __eq__(self, other):
        return self.comparable() == other.comparable()

    def comparable(self):
        return ({name: (row.shown(), row.messages) for name, row in self.accounts.items()}, self.unresolved)

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
        "account_level": account.level,
        "engagement_score": account.engagement,
        "total_leads": len(account.leads),
        "surge_active": account.surge,
    }
    shown = {**item, "account_level": name_of(item["account_level"])}
    found = [f"{account.id}: {key} should be {value}, is {shown[key]}" for key, value in expected.items() if shown[key] != value]
    if (engagement_level := name_of(item["engagement_level"])) not in account.engagement_levels:
        found.append(f"{account.id}: engagement_level should be of {account.engagement_levels}, is {engagement_level}")
    if item["domain"] not in (account.domains or {None}):
        found.append(f"{account.id}: domain should be of {account.domains}, is {item['domain']}")
    if "name" in account.fields and item["name"] != account.fields["name"]:
        found.append(f"{account.id}: name should be {account.fields['name']}, is {item['name']}")
    found += lead_differences(account.id, {frozenset(lead.identities): lead for lead in account.leads}, {lead.identities: lead for lead in row.leads})
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
        if lead.score != row.score:
            found.append(f"{where}: lead {row} should have {lead.score}, has {row.score}")
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
        reading = Reading.of(product)
        differences = reading.differences(oracle.World(events, today))
        if oracle.today() != today:
            continue
        if not differences:
            return reading
        if time.monotonic() > deadline:
            text = "\n".join(differences[:60])
            raise AssertionError(f"{len(differences)} differences from the oracle after {within} s:\n{text}\n\n{product.log_tail()}")
        time.sleep(0.5)
