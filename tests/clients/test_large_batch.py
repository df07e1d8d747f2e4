"""A batch as large as one may be, all of one user: it splits into several messages, and every event counts once."""

import json
import time

from product import write_key_header
from reading import expect
from recorder import Request
from story import Teller

ITEMS, BYTES = 2_500, 500_000


def large_batch(now_ms):
    """2,500 events of one user in just under 500 KB: a new page view every half minute of the last days."""
    who = {"type": "identify", "userId": "weaver-1", "messageId": "big-0", "timestamp": Teller.iso(now_ms - 60_000)}
    items = [{**who, "traits": {"email": "ada@umberline-paper.com", "name": "Ada Abara"}}]
    for place in range(1, ITEMS):
        item = {"type": "track", "userId": "weaver-1", "event": "Page View", "messageId": f"big-{place}"}
        items.append({**item, "timestamp": Teller.iso(now_ms - 60_000 - place * 30_000), "properties": {"path": "/", "x": ""}})
    left = BYTES - 1 - len(body_of(items))
    for item in items[1:]:
        item["properties"]["x"] = "x" * (left // (ITEMS - 1))
    return body_of(items)


def body_of(items):
    return json.dumps({"batch": items}, separators=(",", ":")).encode()


def test_every_event_of_a_500_kb_batch_of_one_user_counts_once(instances):
    product = instances.start("large")
    # Away from the ends of half hours, so that the sessions do not depend on the moment of the test.
    body = large_batch(time.time_ns() // 1_000_000 // 1_800_000 * 1_800_000)
    assert BYTES - ITEMS <= len(body) < BYTES
    headers = (("Authorization", write_key_header()), ("Content-Type", "application/json"))
    answer = product.request("POST", "/v1/batch", body, headers)
    assert (answer.status, answer.json()) == (200, {"success": True})

    sent = [Request("POST", "/v1/batch", headers, body, time.time_ns() // 1_000_000)]
    reading = expect(product, sent)
    assert reading.events() == {f"big-{place}": 1 for place in range(ITEMS)}

    # The client did not hear the answer and sends it all again, in halves.
    items = json.loads(body)["batch"]
    for part in (items[ITEMS // 2 :], items[: ITEMS // 2]):
        assert product.request("POST", "/v1/batch", body_of(part), headers).status == 200
    mark = {"userId": "weaver-2", "messageId": "mark", "traits": {"email": "bo@corrigan-pumpworks.com"}}
    assert product.track("/v1/identify", mark).status == 200
    sent.append(Request("POST", "/v1/identify", headers, json.dumps(mark).encode(), time.time_ns() // 1_000_000))
    expect(product, sent)
    time.sleep(2)
    again = expect(product, sent, within=1)
    assert again.accounts["umberline-paper.com"] == reading.accounts["umberline-paper.com"]
