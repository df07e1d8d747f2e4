"""The payloads in events/lambda are what Lambda sends, and say what the stages say to each other."""

import base64
import gzip
import json

import pytest
import sources
from template import FUNCTIONS, ROOT, STAGES

FOLDER = ROOT / "events" / "lambda"
FILES = sorted(path for path in FOLDER.glob("*.*.json"))


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_function_has_payloads_from_every_source_that_calls_it():
    sources_of = {}
    for path in FILES:
        function, source = path.name.split(".")[:2]
        sources_of.setdefault(function, set()).add(source)
    expected = {stage: {"sqs"} for stage in STAGES}
    expected |= {"ingest": {"http-api", "function-url"}, "api": {"http-api"}, "rescore": {"scheduler"}}
    assert sources_of == expected
    assert set(sources_of) == set(FUNCTIONS)


@pytest.mark.parametrize("path", [path for path in FILES if ".sqs." in path.name], ids=lambda path: path.name)
def test_bodies_of_queue_messages_are_those_of_the_message_files(path):
    known = [load(file) for file in (ROOT / "events" / "messages").glob("*.json")]
    stage = path.name.split(".")[0]
    unknown = 0
    for record in load(path)["Records"]:
        assert record["eventSourceARN"].endswith(f":harpoon-{stage}")
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        try:
            unknown += json.loads(record["body"]) not in known
        except json.JSONDecodeError:
            unknown += 1
    assert unknown == (1 if "poisoned" in path.name else 0)


@pytest.mark.parametrize("path", [path for path in FILES if ".http-api." in path.name or ".function-url." in path.name], ids=lambda path: path.name)
def test_http_payloads_are_of_version_two(path):
    event = load(path)
    context = event["requestContext"]
    assert event["version"] == "2.0" and context["stage"] == "$default"
    assert context["http"]["path"] == event["rawPath"]
    assert event["routeKey"] == context["routeKey"]
    assert context["domainName"] == event["headers"]["host"]
    assert ".lambda-url." in context["domainName"] or ".execute-api." in context["domainName"]
    if event["isBase64Encoded"]:
        body = base64.b64decode(event["body"])
        assert json.loads(gzip.decompress(body))["batch"]
    elif "body" in event:
        json.loads(event["body"])


def test_the_scheduler_sends_an_event_without_detail():
    event = load(FOLDER / "rescore.scheduler.json")
    assert event["source"] == "aws.scheduler" and event["detail"] == "{}"


def test_the_environments_for_calls_by_hand_hold_every_variable():
    read = set().union(*(sources.variables(function) for function in FUNCTIONS))
    lines = (FOLDER / "environment").read_text(encoding="utf-8").splitlines()
    of_watch = dict(line.split("=", 1) for line in lines)
    of_sam = load(FOLDER / "environment.json")["Parameters"]
    assert read <= set(of_watch)
    assert set(of_sam) == set(of_watch) | {"AWS_ENDPOINT_URL"}
    assert {name: value.replace("host.docker.internal", "127.0.0.1") for name, value in of_sam.items() if name in of_watch} == of_watch
