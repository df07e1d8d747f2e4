"""What a function does when its surroundings are not as they should be: it says so, once and clearly, and its health check fails.

A function that ends at once is started again by Lambda at every event, and all that people see is `Runtime exited`.
"""

import json

import pytest
import runtime_api
import sources
import startup
from template import FUNCTIONS, ROOT, STAGES

#: Functions that HTTP requests come to.
HTTP = ("ingest", "api")
OPTIONAL = {"HARPOON_ALLOW_PRIVATE_DESTINATIONS", ("ingest", "HARPOON_PUBLIC_URL")}
REQUIRED = [
    (function, variable)
    for function in FUNCTIONS
    for variable in sorted(sources.variables(function))
    if variable not in OPTIONAL and (function, variable) not in OPTIONAL
]
EVENTS = {
    "ingest": "ingest.http-api.track.json",
    "resolve": "resolve.sqs.json",
    "score": "score.sqs.json",
    "level": "level.sqs.json",
    "dispatch": "dispatch.sqs.json",
    "rescore": "rescore.scheduler.json",
    "api": "api.http-api.health.json",
}


def event(function: str) -> dict:
    return json.loads((ROOT / "events" / "lambda" / EVENTS[function]).read_text(encoding="utf-8"))


def lines(log) -> list[dict]:
    """What was logged; a line that is no JSON is a failure of its own."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]


def said_once(log, *words: str) -> None:
    told = [line for line in lines(log) if line.get("level") in ("ERROR", "WARN") and all(word in json.dumps(line) for word in words)]
    assert len(told) == 1, f"{words} in {log.read_text(encoding='utf-8')}"


def fails(function: str, outcome: tuple[str, object]) -> None:
    """The outcome of an invocation that did not do its work, as Lambda and people notice it."""
    kind, said = outcome
    if function in HTTP:
        assert kind == "response" and said["statusCode"] == 503, outcome
    else:
        assert kind == "error", outcome


def works_not(function: str, outcome: tuple[str, object]) -> None:
    """As `fails`, where it is the surroundings that fail: a stage gives all messages back."""
    if function in STAGES:
        failures = [{"itemIdentifier": record["messageId"]} for record in event(function)["Records"]]
        assert outcome == ("response", {"batchItemFailures": failures})
    else:
        fails(function, outcome)


def every_complaint_names(log, *words: str) -> None:
    """Of what the function itself complains about, everything names these; Lambda's runtime only adds that an invocation failed."""
    complaints = [line for line in lines(log) if line.get("level") in ("ERROR", "WARN") and not line["target"].startswith("lambda_runtime")]
    assert complaints and all(word in json.dumps(line) for line in complaints for word in words), complaints


@pytest.mark.parametrize(("function", "variable"), REQUIRED, ids=lambda value: value)
def test_a_missing_variable_is_named_and_nothing_is_served(function, variable, tmp_path):
    environment = startup.environment(function, 0)
    del environment[variable]
    log = tmp_path / "log"
    with runtime_api.running(startup.binary(function), environment, log) as process:
        outcome = process.invoke(event(function))
        fails(function, outcome)
        assert variable in json.dumps(outcome[1])
    said_once(log, variable)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_missing_region_is_named(function, tmp_path):
    environment = startup.environment(function, 0)
    del environment["AWS_REGION"]
    log = tmp_path / "log"
    with runtime_api.running(startup.binary(function), environment, log) as process:
        fails(function, process.invoke(event(function)))
    said_once(log, "AWS_REGION")


REFUSALS = {
    "a table is missing": ("ResourceNotFoundException", "Requested resource not found: Table: harpoon-config not found"),
    "access is denied": ("AccessDeniedException", "User: test is not authorized to perform: dynamodb:GetItem on resource: table/harpoon-config"),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda value: value)
def test_a_refusal_is_told_with_its_code_and_work_is_not_lost(function, refusal, tmp_path):
    code, message = REFUSALS[refusal]
    log = tmp_path / "log"
    with runtime_api.refusing(code, message) as endpoint:
        environment = {**startup.environment(function, 0), "AWS_ENDPOINT_URL": endpoint}
        with runtime_api.running(startup.binary(function), environment, log) as process:
            outcome = process.invoke(event(function))
    works_not(function, outcome)
    every_complaint_names(log, code, "harpoon-")


# Rescore asks for so much in a run that it takes a minute to give up on all of it.
@pytest.mark.parametrize("function", [function for function in FUNCTIONS if function != "rescore"])
def test_an_unreachable_region_is_named_and_work_is_not_lost(function, tmp_path):
    log = tmp_path / "log"
    environment = {**startup.environment(function, 0), "AWS_REGION": "us-north-9", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    asked = event(function)
    if function == "ingest":
        asked = event("api") | {"rawPath": "/v1/health", "routeKey": "ANY /v1/{proxy+}"}
        asked["requestContext"]["http"]["path"] = asked["rawPath"]
    with runtime_api.running(startup.binary(function), environment, log) as process:
        outcome = process.invoke(asked, 60)
    works_not(function, outcome)
    every_complaint_names(log, "us-north-9")
