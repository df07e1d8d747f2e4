"""Random account rulesets on random accounts: the running binary scores them as another public rule engine, json-rules-engine, does."""

import datetime
import json
import os
import pathlib
import random
import subprocess
import time

import pytest
from product import Product, quoted

HERE = pathlib.Path(__file__).resolve().parent
RULESETS = 200
ACCOUNTS = 20
# A difference is printed with the seed of everything; another one can be asked for.
SEED = int(os.environ.get("HARPOON_RULES_SEED", "20260318"))

# The primary ruleset of a new workspace: its draft is tried, and some of its drafts are published.
RULESET = "/account-rulesets/enterprise-b2b-saas"

# Fields that no alias table knows. All but the last two have the type of what was first said of them.
KINDS = {
    "segment": "text",
    "motion": "text",
    "seats": "number",
    "employees": "number",
    "trial": "truth",
    "existing_customer": "truth",
    "tools": "list",
    "created_at": "date",
}
WORDS = ["paper", "paper mill", "mill", "looms", "loom", "northern looms", "müller", "mü"]
OPERATORS = {
    "text": ["eq", "neq", "in", "not_in", "contains", "not_contains", "starts_with", "exists", "not_exists"],
    "number": ["eq", "neq", "gt", "gte", "lt", "lte", "between", "in", "not_in", "exists", "not_exists"],
    "truth": ["eq", "neq", "in", "exists", "not_exists"],
    "list": ["eq", "neq", "in", "not_in", "contains", "not_contains", "starts_with", "exists", "not_exists"],
    "date": ["within_days", "within_days", "gt", "gte", "lt", "lte", "between", "eq", "neq", "exists", "not_exists"],
}
EPOCH = datetime.date(1970, 1, 1)


def day_text(day):
    return (EPOCH + datetime.timedelta(days=day)).isoformat()


class Story:
    """Rulesets and accounts in Harpoon's form (`ours`) and in that of the other engine (`theirs`)."""

    def __init__(self, seed, today):
        self.random = random.Random(seed)
        self.today = today
        self.accounts = [self.account() for _ in range(ACCOUNTS)]
        self.rulesets = [self.ruleset() for _ in range(RULESETS)]

    def word(self):
        """A text as somebody writes it, and in lower case."""
        word = self.random.choice(WORDS)
        return self.random.choice([word, word.upper(), word.title()]), word

    def number(self):
        value = self.random.randrange(0, 41)
        return value + 0.5 if self.random.random() < 0.2 else value

    def day(self):
        return self.today - 20 + self.random.randrange(0, 25)

    def value(self, kind):
        if kind == "text":
            return self.word()
        if kind == "list":
            words = {lower: written for written, lower in (self.word() for _ in range(self.random.randrange(1, 4)))}
            return list(words.values()), list(words)
        if kind == "date":
            day = self.day()
            return day_text(day) + self.random.choice(["", "T05:30:00Z", "T23:59:59.999Z"]), day
        value = self.number() if kind == "number" else self.random.random() < 0.5
        return value, value

    def account(self):
        known = {field: self.value(kind) for field, kind in KINDS.items() if self.random.random() < 0.7}
        return {field: ours for field, (ours, _) in known.items()}, {field: theirs for field, (_, theirs) in known.items()}

    def operand(self, kind):
        """A value that a rule compares with, both ways."""
        if kind == "date":
            day = self.day()
            return day_text(day), day
        return self.word() if kind == "list" else self.value(kind)

    def test(self):
        field = self.random.choice(list(KINDS))
        kind = KINDS[field]
        op = self.random.choice(OPERATORS[kind])
        if op in ("exists", "not_exists"):
            return {"field": field, "op": op}, {"field": field, "op": op}
        if op == "within_days":
            ours = theirs = self.random.randrange(1, 20)
        elif op == "between":
            ends = sorted((self.operand(kind) for _ in range(2)), key=lambda pair: pair[1])
            ours, theirs = [list(side) for side in zip(*ends)]
        elif op in ("in", "not_in"):
            ours, theirs = [list(side) for side in zip(*(self.operand(kind) for _ in range(self.random.randrange(1, 4))))]
        elif op in ("contains", "not_contains", "starts_with") and kind == "text" and self.random.random() < 0.5:
            written, lower = self.word()
            ours, theirs = written[:3].strip(), lower[:3].strip()
        else:
            ours, theirs = self.operand(kind)
        return {"field": field, "op": op, "value": ours}, {"field": field, "op": op, "value": theirs}

    def condition(self, depth):
        if depth == 0 or self.random.random() < 0.5:
            return self.test()
        group = self.random.choice(["all", "any"])
        members = [self.condition(depth - 1) for _ in range(self.random.randrange(1, 4))]
        return {group: [ours for ours, _ in members]}, {group: [theirs for _, theirs in members]}

    def ruleset(self):
        groups = [{"id": f"g{n}"} | ({"cap": self.random.randrange(60)} if self.random.random() < 0.5 else {}) for n in range(2)]
        rules, theirs = [], []
        for n in range(self.random.randrange(1, 9)):
            ours, other = self.condition(3)
            rule = {"id": f"r{n}", "points": self.random.randrange(-30, 70), "condition": ours}
            if self.random.random() < 0.5:
                rule["group"] = self.random.choice(["g0", "g1"])
            rules.append(rule)
            theirs.append({"id": rule["id"], "points": rule["points"], "condition": other})
        content = {"name": "Random", "groups": groups, "rules": rules}
        content["missing_means_no"] = [field for field in ("trial", "existing_customer") if self.random.random() < 0.5]
        if self.random.random() < 0.4:
            content["cap"] = self.random.randrange(120)
        return content, theirs

    def facts(self, content, account):
        """What the other engine is told of an account."""
        facts = dict(account)
        for field in content["missing_means_no"]:
            facts.setdefault(field, False)
        if "created_at" in account:
            facts["created_at_days_since"] = self.today - account["created_at"]
        return facts | {"known": list(account)}

    def by_the_other_engine(self, directory):
        """For each ruleset, for each account, the rules that hold."""
        cases = [
            {"rules": rules, "kinds": KINDS, "accounts": [self.facts(content, account) for _, account in self.accounts]}
            for content, rules in self.rulesets
        ]
        file = directory / "cases.json"
        file.write_text(json.dumps(cases), encoding="utf-8")
        done = subprocess.run(["node", HERE / "node" / "rules.mjs", file], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"rules.mjs ended with {done.returncode}:\n{done.stderr}"
        return json.loads(done.stdout)


def total(content, fired):
    """The score by plain arithmetic: sums, the least of a sum and its cap, never below 0."""
    group_of = {rule["id"]: rule.get("group") for rule in content["rules"]}
    caps = {group["id"]: group.get("cap") for group in content["groups"]} | {None: None}
    sums = {group: sum(points for rule, points in fired.items() if group_of[rule] == group) for group in caps}
    score = sum(points if caps[group] is None else min(points, caps[group]) for group, points in sums.items())
    return max(min(score, content.get("cap", score)), 0)


def account_id(n):
    return f"acct_{n}"


def tried(product: Product, content, n):
    """What a dry run says of the draft and one account: the score, the rules that hold, and the day."""
    one = product.api("POST", f"{RULESET}/dry-run", {"account": account_id(n)})
    account = one["new"]["account"]
    held = {line["rule_id"]: line["possible"] for line in account["rules"] if line["outcome"] in ("matched", "capped")}
    return account["score"], held, one["as_of"]


def publish(product: Product):
    """Publishes the draft and waits until every account is scored by it."""
    revision = product.api("GET", RULESET)["draft"]["revision"]
    published = product.api("POST", f"{RULESET}/publish", {"revision": revision, "why": "a random ruleset"})
    deadline = time.monotonic() + 120
    while (job := product.api("GET", f"/jobs/{quoted(published['job']['id'])}"))["state"] != "done":
        assert job["state"] in ("waiting", "running") and time.monotonic() < deadline, f"{job}\n{product.log_tail()}"
        time.sleep(0.2)


def listed_as(product: Product, should):
    """The scores in the list of accounts, which follows changes with a delay: as soon as they are these, at the latest after two minutes."""
    deadline = time.monotonic() + 120
    while True:
        listed = {item["account_id"]: item["account_score"] for item in product.listed("/accounts")}
        if listed == should or time.monotonic() > deadline:
            return listed
        time.sleep(0.2)


def compare(product: Product, story: Story, directory):
    """Tries every ruleset on every account; answers how many scores and rules were compared, and the days on which."""
    theirs = story.by_the_other_engine(directory)
    scores, rules, days, points = 0, 0, set(), set()
    for number, ((content, _), expected) in enumerate(zip(story.rulesets, theirs)):
        product.api("PUT", RULESET, content)
        for n, fired in enumerate(expected):
            score, held, as_of = tried(product, content, n)
            days.add(as_of)
            told = f"seed {SEED}, ruleset {number}, {account_id(n)} {story.accounts[n][0]}: {json.dumps(content, ensure_ascii=False)}"
            if as_of == day_text(story.today):
                assert held == fired, f"other rules hold than json-rules-engine says, {held} instead of {fired}: {told}"
                assert score == total(content, fired), f"{score} instead of {total(content, fired)}: {told}"
            scores, rules = scores + 1, rules + len(content["rules"])
            points.add(score)
        # The first and the last are published, too, and lead to the same scores.
        if number in (0, RULESETS - 1):
            publish(product)
            should = {account_id(n): total(content, fired) for n, fired in enumerate(expected)}
            listed = listed_as(product, should)
            if day_of(product) == story.today:
                assert listed == should, f"seed {SEED}, ruleset {number}, published"
    assert len(points) > 40, f"there are hardly any scores: {points}"
    return scores, rules, days


def day_of(product: Product):
    """The UTC day by which the binary scores."""
    as_of = product.api("GET", f"/accounts/{account_id(0)}/explain")["as_of"]
    return (datetime.date.fromisoformat(as_of) - EPOCH).days


@pytest.fixture
def product(instances):
    product = instances.start("rules")
    product.api("PUT", f"/accounts/{account_id(0)}", {"fields": {}})
    return product


def test_random_rulesets_score_random_accounts_as_another_rule_engine_does(product: Product, tmp_path):
    for _ in range(2):
        today = day_of(product)
        story = Story(SEED, today)
        for n, (fields, _) in enumerate(story.accounts):
            cleared = dict.fromkeys(KINDS)
            product.api("PUT", f"/accounts/{account_id(n)}", {"fields": cleared | fields})
        scores, rules, days = compare(product, story, tmp_path)
        # What was asked about another day than the one that was expected is asked again.
        if days == {day_text(today)}:
            break
    print(f"\n{RULESETS} rulesets × {ACCOUNTS} accounts from seed {SEED}: {scores} scores and {rules} rules are those of json-rules-engine")
    assert days == {day_text(today)}
    assert scores >= 200 * 20
