"""The process is killed again and again at random moments under load. What was answered with 200 is there once, and equals a replay.

HARPOON_KILLS says how often (20), HARPOON_KILL_EVENTS how many events must have been accepted before the load ends (1,000).
"""

import http.client
import json
import os
import random
import threading
import time
from dataclasses import dataclass, field

import oracle
import story
from product import ask, write_key_header
from reading import Reading, expect
from recorder import Request

KILLS = int(os.environ.get("HARPOON_KILLS", "20"))
EVENTS_ACCEPTED = int(os.environ.get("HARPOON_KILL_EVENTS", "1000"))
SENDERS = 4
HEADERS = (("Authorization", write_key_header()), ("Content-Type", "application/json"))
PEOPLE = 200
COMPANIES = [domain for _, domain, *_ in story.COMPANIES if domain][:20]
# So few points each that hardly anybody reaches the cap, where a lost event would not show.
EVENTS = {"Page View": 50, "Content Downloaded": 10, "Demo Requested": 2, "Email Clicked": 20, "Meeting Held": 2, "Search Performed": 16}


@dataclass
class Load:
    """Several clients that post batches until told to stop. A batch that fails is sent again, cut in another way, as clients do."""

    product: object
    begun_ms: int
    stopped: threading.Event = field(default_factory=threading.Event)
    calls: dict = field(default_factory=dict)
    accepted: set = field(default_factory=set)
    refused: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self):
        self.threads = [threading.Thread(target=self.send, args=(number,), daemon=True) for number in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def send(self, number):
        chance = random.Random(1000 + number)
        made, waiting, connection = 0, [], None
        while not self.stopped.is_set():
            while len(waiting) < 60:
                waiting.append(self.call(chance, number, made))
                made += 1
            size = chance.choice([1, 5, 10, 30])
            # Some of what was accepted is sent once more: a client that did not hear an answer does that too.
            batch = chance.sample(waiting, size)
            body = json.dumps({"batch": batch}).encode()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.product.port, timeout=10)
                answer = ask(connection, "POST", "/v1/batch", body, HEADERS)
            except (OSError, http.client.HTTPException):
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.02)
                continue
            if answer.status == 200 and answer.json() == {"success": True}:
                with self.lock:
                    self.accepted.update(call["messageId"] for call in batch)
                keep = {call["messageId"] for call in batch if chance.random() < 0.05}
                sent = {call["messageId"] for call in batch}
                waiting = [call for call in waiting if call["messageId"] not in sent or call["messageId"] in keep]
            elif answer.status != 503:
                self.refused.append(answer)
            time.sleep(chance.random() * 0.25)

    def call(self, chance, number, made):
        """A call of one of the people; every one of them has an anonymous id, and says who they are again and again."""
        person = chance.randrange(PEOPLE)
        domain = COMPANIES[person % len(COMPANIES)]
        who = {"userId": f"u-{person}"} if chance.random() < 0.7 else {"anonymousId": f"a-{person}"}
        moment = self.begun_ms - chance.randrange(30) * story.DAY_MS - (number * 1_000_000 + made) % 1_200_000
        call = {"messageId": f"k-{number}-{made}", "timestamp": story.Teller.iso(moment), **who}
        if chance.random() < 0.1:
            call |= {"type": "identify", "userId": f"u-{person}", "anonymousId": f"a-{person}"}
            call["traits"] = {"email": f"p{person}@{domain}"}
        elif chance.random() < 0.04:
            call |= {"type": "group", "groupId": f"acct-{domain}", "traits": {"employees": 1000 + person, "industry": "Technology"}}
        else:
            call |= {"type": "track", "event": chance.choices(list(EVENTS), list(EVENTS.values()))[0]}
            call["properties"] = {"asset": f"asset-{chance.randrange(9)}", "campaign_id": f"mail-{chance.randrange(50)}", "path": "/"}
            call["properties"]["session_id"] = f"s-{person}-{moment // story.DAY_MS}-{chance.randrange(3)}"
        with self.lock:
            self.calls[call["messageId"]] = call
        return call


def test_kills_lose_nothing_and_double_nothing(instances):
    chance = random.Random(20)
    product = instances.start("killed")
    # Noon of yesterday, so that no moment lies near the end of a day.
    load = Load(product, (time.time_ns() // 1_000_000 // story.DAY_MS - 1) * story.DAY_MS + story.DAY_MS // 2)
    load.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.5))
        product.kill()
        product.start()
    time.sleep(1)
    deadline = time.monotonic() + 60 + EVENTS_ACCEPTED / 50
    while len(load.accepted) < EVENTS_ACCEPTED:
        assert time.monotonic() < deadline, f"only {len(load.accepted)} events were accepted, and {load.refused[:3]} refused"
        time.sleep(0.1)
    load.stop()
    assert load.refused == []

    # The last word of everybody, so that nobody is without an account and every event is in an account's timeline.
    finals = []
    for person in range(PEOPLE):
        domain = COMPANIES[person % len(COMPANIES)]
        final = {"type": "identify", "userId": f"u-{person}", "anonymousId": f"a-{person}", "messageId": f"final-{person}"}
        finals.append({**final, "timestamp": story.Teller.iso(load.begun_ms), "traits": {"email": f"p{person}@{domain}"}})
        group = {"type": "group", "userId": f"u-{person}", "groupId": f"acct-{domain}", "messageId": f"last-{person}"}
        finals.append({**group, "timestamp": story.Teller.iso(load.begun_ms + 1 + person), "traits": {"name": domain}})
    for start in range(0, len(finals), 100):
        assert product.track("/v1/batch", {"batch": finals[start : start + 100]}).status == 200
    for call in finals:
        load.calls[call["messageId"]] = call
        load.accepted.add(call["messageId"])

    reading = Reading.settled(product, calm=8, within=180 + KILLS * 5)
    events = reading.events()
    lost = load.accepted - events.keys()
    assert not lost, f"{len(lost)} of {len(load.accepted)} events were answered with 200 and are in no timeline, such as {[load.calls[one] for one in sorted(lost)[:5]]}\n{product.log_tail()}"
    doubled = {message: count for message, count in events.items() if count != 1}
    assert not doubled, f"{len(doubled)} events are in the timelines more than once, such as {dict(list(doubled.items())[:5])}"
    assert events.keys() <= load.calls.keys()
    assert reading.unresolved == {}

    # A replay of the log on a fresh instance, and the oracle, come to the same.
    log = [load.calls[message] for message in sorted(events)]
    random.Random(3).shuffle(log)
    requests = [
        Request("POST", "/v1/batch", HEADERS, json.dumps({"batch": log[start : start + 100]}).encode(), time.time_ns() // 1_000_000)
        for start in range(0, len(log), 100)
    ]
    replay = instances.start("replay")
    for request in requests:
        assert replay.request("POST", request.path, request.body, request.headers).status == 200
    replayed = expect(replay, requests, within=180 + len(log) // 20)
    assert expect(product, requests, within=30).events() == events
    assert replayed.events() == events
    assert {name: row.shown() for name, row in replayed.accounts.items()} == {name: row.shown() for name, row in reading.accounts.items()}

    # The deployment's own judgement: while the server runs, and from its files alone.
    verified = product.verify()
    assert verified["agrees"], f"{verified}\n{product.log_tail()}"
    product.stop()
    began = time.monotonic()
    at_rest = product.verify()
    took = time.monotonic() - began
    assert at_rest["agrees"] and at_rest["report"] == verified["report"], (verified, at_rest)
    print(
        f"\n{KILLS} kills: {len(load.accepted):,} of {len(load.calls):,} events were answered with 200; each is there once. "
        f"{at_rest['sentence']} (verified in {took:.1f} s)"
    )
