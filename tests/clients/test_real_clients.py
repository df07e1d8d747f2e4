"""Official client libraries, unmodified, drive the running binary; what it shows is compared with the oracle."""

import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import oracle
import pytest
import story
from hooks import subscribe_to_targets, verified
from product import WRITE_KEY, Product, quoted, write_key_header
from reading import Reading, expect
from receiver import Receiver
from recorder import Recorder, Request

HERE = Path(__file__).parent


@dataclass
class Drive:
    """One run of the story: the instance, what the libraries sent, what the destination got."""

    product: Product
    tale: story.Story
    requests: list
    receiver: Receiver
    secret: str


def run_libraries(calls, browsers, url, directory):
    """Runs the libraries at the same time, each as a process of its own."""
    programs = []
    for client, program in {
        "node": ["node", HERE / "node" / "server.mjs"],
        "python": [sys.executable, "-B", HERE / "python" / "server.py"],
        "python gzip": [sys.executable, "-B", HERE / "python" / "server.py"],
    }.items():
        own = [{key: value for key, value in call.items() if key != "client"} for call in calls if call["client"] == client]
        if own:
            programs.append((client, program, own, ["--gzip"] if client == "python gzip" else [], len(own)))
    if browsers:
        programs.append(("browser", ["node", HERE / "node" / "browser.mjs"], browsers, [], sum(len(browser["calls"]) for browser in browsers)))

    def run(client, program, said, options, count):
        file = directory / f"{client.replace(' ', '-')}-{time.monotonic_ns()}.json"
        file.write_text(json.dumps(said), encoding="utf-8")
        command = [*map(str, program), str(file), url, WRITE_KEY, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, f"{client}: {done.stderr}"
        assert int(done.stdout) == count, f"{client}: {done.stdout}"

    with ThreadPoolExecutor(len(programs)) as pool:
        for running in [pool.submit(run, *program) for program in programs]:
            running.result()


@pytest.fixture(scope="module")
def drive(module_instances, tmp_path_factory):
    directory = tmp_path_factory.mktemp("calls")
    product = module_instances.start("first")
    # The first delivery is refused once, so that it has to come again under the same id.
    with Receiver(answers=[503]) as receiver, Recorder(product.port) as recorder:
        secret = subscribe_to_targets(product, receiver.url)
        tale = story.tell(time.time_ns() // 1_000_000)
        run_libraries(tale.calls, tale.browsers, recorder.url, directory)
        send_account_events(recorder, tale.account_events)
        # The web domains' accounts are there before the accounts that absorb them are named.
        for domain in ("hollin-escapements.com", "ivywell-batteries.com"):
            Reading.wait(product, lambda reading, domain=domain: domain in reading.accounts)
        run_libraries(tale.late, [], recorder.url, directory)
        yield Drive(product, tale, recorder.requests, receiver, secret)


def send_account_events(recorder, events):
    """Account events are no part of the libraries' API; they are sent as a server of a review site would."""
    through = Product.__new__(Product)
    through.port = int(recorder.url.rpartition(":")[2])
    for event in events:
        assert through.track("/v1/account-event", event).status == 200


def test_the_libraries_delivered_every_call_at_the_first_attempt(drive):
    tale = drive.tale
    told = len(tale.calls) + len(tale.late) + sum(len(browser["calls"]) for browser in tale.browsers) + len(tale.account_events)
    sent = [call["messageId"] for request in drive.requests for call, _ in oracle.calls_of(request)]
    assert len(sent) == len(set(sent)) == told
    assert {request.status for request in drive.requests} == {200}
    answers = [json.loads(request.answer) for request in drive.requests if request.method == "POST"]
    assert [answer for answer in answers if answer != {"success": True}] == []
    assert len({request.header("user-agent") for request in drive.requests}) >= 2


def test_accounts_leads_scores_levels_and_timelines_are_as_computed_elsewhere(drive):
    reading = expect(drive.product, drive.requests)
    # And as written by hand beside the story's companies.
    for name, domain, kind, _, score, level in story.COMPANIES:
        row = reading.accounts[domain if kind in ("domain", "event by domain") else story.account_id(name)].item
        assert (row["account_score"], row["account_level_id"]) == (score, level), name
    assert len(reading.accounts) == 40
    assert len(reading.unresolved) == 31


def test_a_signed_webhook_arrives_once_for_each_account_that_became_a_target(drive):
    targets = {
        domain if kind == "domain" else story.account_id(name)
        for name, domain, kind, _, _, level in story.COMPANIES
        if level == story.T and name not in story.STALE
    }
    deadline = time.monotonic() + 60
    while True:
        delivered = [one for one in verified(drive.receiver, drive.secret) if one.status < 300]
        if {one.account for one in delivered} >= targets or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert sorted(one.account for one in delivered) == sorted(targets)
    assert len({one.id for one in delivered}) == len(targets)
    refused = [one for one in verified(drive.receiver, drive.secret) if one.status >= 300]
    assert [one.id for one in refused] == [one.id for one in delivered if one.id == refused[0].id], "what was refused comes again under its id"
    logged = drive.product.listed("/deliveries")
    assert len([one for one in logged if one["state"] == "delivered"]) == len(targets)


def test_explanations_sum_to_the_scores_and_agree_with_the_oracle_to_the_thousandth(drive):
    expect(drive.product, drive.requests)
    world = oracle.World(oracle.events_of(drive.requests), oracle.today())
    for name, account in world.accounts.items():
        explained = drive.product.api("GET", f"/accounts/{quoted(name)}/explain")
        fit, engagement = explained["account"], explained["engagement"]
        assert fit["score"] == account.fit == sum(line["points"] for line in fit["rules"] + fit["caps"]), name
        assert fit["known"] == f"{len(account.fields.keys() & {'employees', 'revenue', 'country', 'industry'})} of 4 fields known"
        assert engagement["score"] == account.engagement == sum(lead["counts"] for lead in engagement["leads"]), name
        for lead in engagement["leads"]:
            assert lead["score"] == summed(lead["rules"], lead.get("cap")), lead
            for rule in lead["rules"]:
                assert rule["points"] == summed(rule["days"], rule.get("cap")), rule
        decayed = [min(oracle.LEAD_CAP, sum(day["decayed_milli"] for rule in lead["rules"] for day in rule["days"])) for lead in engagement["leads"]]
        expected = [lead.milli for lead in account.leads] + [oracle.engagement_milli(account.own_events, world.today)]
        assert sorted(filter(None, decayed)) == sorted(filter(None, expected)), name


def summed(lines, cap):
    return sum(line["points"] for line in lines) + (cap["points"] if cap else 0)


def test_lists_show_the_same_in_small_pages_and_under_filters(drive):
    expect(drive.product, drive.requests)
    world = oracle.World(oracle.events_of(drive.requests), oracle.today())

    def listed(**query):
        return [item["account_id"] for item in drive.product.listed("/accounts", **query)]

    for sort in ("priority", "activity", "account_score", "engagement", "name"):
        whole = listed(sort=sort)
        assert len(whole) == 40 and listed(sort=sort, limit=7) == whole
    scores = [item["engagement_score"] for item in drive.product.listed("/accounts", sort="engagement", order="asc", limit=3)]
    assert scores == sorted(scores) == sorted(account.engagement for account in world.accounts.values())
    for level in ("target", "qualified", "standard", "low_priority"):
        assert sorted(listed(level=level, limit=5)) == sorted(name for name, account in world.accounts.items() if account.level == level)
    assert sorted(listed(surging="true")) == sorted(name for name, account in world.accounts.items() if account.surge)
    assert listed(search="Kestrel") == listed(search="kestrel-anvils.com") == ["acct-kestrel-anvils"]
    everybody = drive.product.listed("/leads", resolved="true", limit=9)
    assert len(everybody) == len({lead["lead_id"] for lead in everybody}) == sum(len(account.leads) for account in world.accounts.values())
    assert len(drive.product.listed("/leads", resolved="false", limit=4)) == len(world.unresolved)
    by_domain = drive.product.api("GET", "/accounts/kestrel-anvils.com")
    assert by_domain["account_id"] == "acct-kestrel-anvils"


def test_a_restart_changes_nothing(drive):
    before = expect(drive.product, drive.requests)
    drive.product.stop()
    drive.product.start()
    assert Reading.of(drive.product) == before
    assert expect(drive.product, drive.requests, within=10) == before


def test_the_same_requests_again_change_nothing(drive):
    before = expect(drive.product, drive.requests)
    notified = len(drive.receiver.received)
    for request in drive.requests:
        if oracle.calls_of(request):
            headers = [(name, value) for name, value in request.headers if name.lower() in ("authorization", "content-type", "content-encoding")]
            assert drive.product.request("POST", request.path, request.body, headers).status == 200
    after = Reading.settled(drive.product)
    assert after.comparable() == before.comparable()
    assert expect(drive.product, drive.requests, within=1).comparable() == before.comparable()
    assert len(drive.receiver.received) == notified


def test_other_batches_in_another_order_give_the_same(drive, module_instances):
    first = expect(drive.product, drive.requests)
    fresh = module_instances.start("recut")
    requests = recut(drive.requests)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda request: fresh.request("POST", request.path, request.body, request.headers), requests))
    assert {answer.status for answer in answers} == {200}
    second = expect(fresh, drive.requests)
    assert second.events() == first.events()
    assert {name: row.shown() for name, row in second.accounts.items()} == {name: row.shown() for name, row in first.accounts.items()}
    assert second.unresolved == first.unresolved


def recut(requests):
    """The recorded calls in other batches: shuffled, of other sizes, a sixth of the calls twice. Each says its corrected moment."""
    chance = random.Random(7)
    events = {event.message_id: event for event in oracle.events_of(requests)}
    calls, alone = [], []
    for request in requests:
        for call, _ in oracle.calls_of(request):
            call = {key: value for key, value in call.items() if key not in ("sentAt", "originalTimestamp", "writeKey")}
            call["timestamp"] = story.Teller.iso(events[call["messageId"]].at)
            (alone if call["type"] == "account-event" else calls).append(call)
    calls += chance.sample(calls, len(calls) // 6)
    chance.shuffle(calls)
    bodies = [("/v1/account-event", call) for call in alone + alone[:3]]
    while calls:
        size = chance.choice([1, 1, 2, 7, 30, 120])
        bodies.append(("/v1/batch", {"batch": calls[:size]}))
        calls = calls[size:]
    chance.shuffle(bodies)
    headers = (("Authorization", write_key_header()), ("Content-Type", "application/json"))
    return [Request("POST", path, headers, json.dumps(body).encode(), 0) for path, body in bodies]
