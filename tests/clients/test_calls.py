"""The files in events/invalid and events/inbound, sent to the running binary. Their form is told in events/README.md."""

import base64
import gzip
import http.client
import json
import socket

import pytest
from product import ROOT, Answer, Product, ask, write_key_header
from reading import Reading

FOLDER = ROOT / "events"
INVALID = sorted((FOLDER / "invalid").glob("*.json"))
INBOUND = sorted((FOLDER / "inbound").glob("*.json"))


def unfolded(value):
    """A value with `{"repeat": …, "times": n}` written out."""
    if isinstance(value, dict):
        if set(value) == {"repeat", "times"}:
            one = unfolded(value["repeat"])
            return one * value["times"] if isinstance(one, str) else [one] * value["times"]
        return {key: unfolded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [unfolded(inner) for inner in value]
    return value


def body_of(request):
    """The bytes that a file's request sends."""
    if "base64" in request:
        body = base64.b64decode(request["base64"])
    elif "raw" in request:
        raw = unfolded(request["raw"])
        body = ("".join(raw) if isinstance(raw, list) else raw).encode()
    elif "body" in request:
        body = json.dumps(unfolded(request["body"]), separators=(",", ":"), ensure_ascii=False).encode()
    else:
        body = b""
    if request.get("gzip"):
        body = gzip.compress(body)
    return body[: request["cut"]] if "cut" in request else body


def differences(expected, found, at=""):
    """Where `found` does not hold what `expected` says: members left out may be anything, null expects none, lists are complete."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [each for key, value in expected.items() for each in differences(value, found.get(key), f"{at}/{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [each for place, pair in enumerate(zip(expected, found)) for each in differences(*pair, f"{at}/{place}")]
    return [] if expected == found else [f"{at}: expected {expected!r}, got {found!r}"]


def send(product, file):
    """Sends a file's request as it stands; answers what the file expects and what came."""
    case = json.loads(file.read_text(encoding="utf-8"))
    request = case["request"]
    answer = product.request(request["method"], request["path"], body_of(request), request.get("headers", {}))
    return case["response"], answer


def judge(expected, answer: Answer):
    found = differences(expected.get("status"), answer.status, "status")
    found += differences({name.lower(): value for name, value in expected.get("headers", {}).items()}, answer.headers, "headers")
    if "body" in expected:
        try:
            found += differences(expected["body"], answer.json(), "body")
        except ValueError:
            found.append(f"body: expected JSON, got {answer.body[:200]!r}")
    return found


@pytest.fixture(scope="module")
def product(module_instances):
    """An instance that knows one account and one unresolved lead."""
    product = module_instances.start("calls")
    known = [
        {"type": "identify", "userId": "known-1", "messageId": "k-1", "traits": {"email": "mina@umberline-paper.com", "country": "AU"}},
        {"type": "track", "userId": "known-1", "messageId": "k-2", "event": "Demo Requested"},
        {"type": "page", "anonymousId": "known-2", "messageId": "k-3", "name": "Home"},
    ]
    answer = product.track("/v1/batch", {"batch": known})
    assert answer.status == 200, answer
    Reading.wait(product, lambda reading: reading.events() == {"k-1": 1, "k-2": 1} and len(reading.unresolved) == 1)
    return product


def test_there_are_files_to_send():
    assert len(INVALID) >= 40 and len(INBOUND) >= 15


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_a_bad_request_gets_its_answer_and_changes_nothing(product: Product, file):
    before = Reading.of(product)
    expected, answer = send(product, file)
    assert not judge(expected, answer), answer
    assert Reading.of(product) == before
    assert product.request("GET", "/healthz").status == 200


def test_nothing_that_was_refused_arrives_later(product: Product):
    """A request that is accepted after all the bad ones passes the whole pipeline; then nothing but it is new."""
    before = Reading.of(product)
    mark = {"userId": "known-3", "messageId": "k-9", "traits": {"email": "bo@corrigan-pumpworks.com"}}
    assert product.track("/v1/identify", mark).status == 200
    after = Reading.wait(product, lambda reading: "k-9" in reading.events())
    assert after.accounts.pop("corrigan-pumpworks.com").messages == {"k-9": 1}
    assert after == before


@pytest.mark.parametrize("file", INBOUND, ids=lambda file: file.stem)
def test_a_good_request_gets_its_answer(product: Product, file):
    expected, answer = send(product, file)
    assert not judge(expected, answer), answer


def test_half_a_request_is_not_waited_for_by_others(product: Product):
    """Clients that send headers and never a body hold up nobody."""
    held = []
    for _ in range(50):
        waiting = socket.create_connection(("127.0.0.1", product.port))
        waiting.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        held.append(waiting)
    answer = product.track("/v1/track", {"userId": "known-1", "event": "Search Performed"}, timeout=10)
    for waiting in held:
        waiting.close()
    assert answer.status == 200


def test_one_connection_serves_several_requests_and_counts_each_once(product: Product):
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=10)
    body = json.dumps({"userId": "known-1", "event": "Search Performed", "messageId": "k-20"}).encode()
    headers = {"Authorization": write_key_header(), "Content-Type": "application/json"}
    answers = [ask(connection, "POST", "/v1/track", body, headers).status for _ in range(3)]
    connection.close()
    assert answers == [200, 200, 200]
    reading = Reading.wait(product, lambda reading: "k-20" in reading.events())
    assert reading.events()["k-20"] == 1
