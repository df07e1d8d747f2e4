"""The very template, deployed with the real functions to a stand-in for AWS, used as clients use it and then deleted.

The tests build on each other and run in the order in which they stand here. What the stand-in can't show stands in README.md.
"""

import base64
import hashlib
import hmac
import json
import re
import sys

import pytest
import startup
from conftest import STACK, wait_for
from template import FUNCTIONS, ROOT, STAGES, expanded

STORY = json.loads((ROOT / "events" / "scenarios" / "a-target-is-found.json").read_text(encoding="utf-8"))
PAYLOADS = sorted((ROOT / "events" / "lambda").glob("*.*.json"))


def statuses(deployment) -> dict[str, str]:
    listed = deployment.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    return {resource["LogicalResourceId"]: resource["ResourceStatus"] for resource in listed}


def test_every_resource_of_the_template_is_made(deployment):
    conditions = {"ThroughHttpApi"}
    wanted = {name for name, resource in expanded()["Resources"].items() if resource.get("Condition") in (None, *conditions)}
    made = statuses(deployment)
    assert set(made) == wanted
    assert set(made.values()) == {"CREATE_COMPLETE"}


def test_a_deployment_says_where_it_is_and_how_keys_are_made(deployment):
    assert f"Tracking calls  {deployment.outputs['TrackingUrl']}/v1\n" in deployment.deployed
    assert "Nobody has a key yet" in deployment.deployed
    assert deployment.deployed.count("harpoon -- key create") == 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_code_that_is_deployed_is_the_one_that_was_built(deployment, function):
    found = deployment.client("lambda").get_function_configuration(FunctionName=f"{STACK}-{function}")
    assert found["Architectures"] == ["x86_64"] and found["Runtime"] == "provided.al2023"
    assert found["CodeSize"] < 50 * 1024 * 1024
    assert abs(found["CodeSize"] - startup.zipped(startup.binary(function))) < 4096


def test_calls_without_a_key_are_refused_and_with_one_are_taken(deployment):
    assert deployment.track("/v1/track", {"userId": "nobody", "event": "Knock"}).status_code == 401
    for kind in ("write-key", "api-token"):
        made = deployment.harpoon("key", "create", "--workspace", "main", "--kind", kind, "--name", "test").strip()
        setattr(deployment, kind.replace("-", "_"), made)
    listed = deployment.harpoon("key", "list", "--workspace", "main")
    assert deployment.write_key not in listed and deployment.api_token not in listed
    stored = json.dumps(deployment.client("dynamodb").scan(TableName=f"{STACK}-config")["Items"])
    assert deployment.write_key not in stored and hashlib.sha256(deployment.write_key.encode()).hexdigest() in stored
    assert deployment.request("GET", "/healthz").json() == {"status": "ok"}


def test_a_destination_is_made_and_its_secrets_are_sealed(deployment, receiver):
    made = deployment.api("POST", "/destinations", {"name": "Hook", "kind": "signed_webhook", "url": receiver.url})
    deployment.hook, deployment.secret = made["id"], made["secret"]
    deployment.api(
        "POST", "/triggers", {"name": "New targets", "when": {"kind": "level_entered", "level": "target"}, "destinations": [made["id"]]}
    )
    items = deployment.client("dynamodb").scan(TableName=f"{STACK}-config")["Items"]
    stored = json.dumps(items, default=lambda value: base64.b64encode(bytes(value)).decode())
    assert made["id"] in stored
    assert receiver.url not in stored and made["secret"] not in stored


def account(deployment) -> dict:
    """The account of the story in the list of accounts: what score and level wrote. (Its own page computes anew.)"""
    answer = deployment.request("GET", "/api/v1/accounts", headers={"authorization": f"Bearer {deployment.api_token}"})
    assert answer.ok, answer.text
    return next((row for row in answer.json()["data"] if row["account_id"] == "acct_1"), {})


def test_events_over_http_become_scores_and_levels(deployment):
    for call in [*STORY["given"], *STORY["when"]]:
        answer = deployment.track(call["path"], call["body"])
        assert answer.status_code == 200 and answer.json() == {"success": True}
    expected = STORY["then"]["accounts"]["acct_1"]

    def levelled():
        found = account(deployment)
        shown = (found.get("account_score"), found.get("engagement_score"), found.get("engagement_level_id"))
        return found if shown == (expected["account_score"], expected["engagement"], expected["engagement_level"]) else None

    found = wait_for("the account is scored and levelled", levelled)
    assert found["account_level_id"] == expected["level"]
    assert found["name"] == expected["name"]


def test_a_signed_webhook_is_delivered_once(deployment, receiver):
    wait_for("the webhook comes", lambda: receiver.received)
    ((headers, body),) = receiver.received
    lower = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(deployment.secret.removeprefix("whsec_"))
    signed = f"{lower['webhook-id']}.{lower['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert f"v1,{signature}" in lower["webhook-signature"].split()
    deliveries = deployment.api("GET", "/deliveries")["data"]
    assert [delivery["state"] for delivery in deliveries] == ["delivered"]


def messages(deployment, queue: str) -> list[dict]:
    answer = deployment.client("sqs").receive_message(
        QueueUrl=deployment.queue(queue), MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    return answer.get("Messages", [])


def test_a_damaged_message_is_parked_with_its_reason(deployment):
    deployment.client("sqs").send_message(QueueUrl=deployment.queue("Resolve"), MessageBody='{"type":"EventsReceived","version":2,"body":{}}')
    (parked,) = wait_for("the message is parked", lambda: messages(deployment, "ResolveDead"))
    said = {name: value["StringValue"] for name, value in parked["MessageAttributes"].items()}
    assert said == {"stage": "resolve", "reason": "message version 2 is newer than 1; deploy the newer build before it is redriven"}
    deployment.client("sqs").purge_queue(QueueUrl=deployment.queue("ResolveDead"))


def test_what_can_not_be_handled_is_parked_and_counts_once_when_it_is_redriven_after_the_fix(deployment):
    sqs, table = deployment.client("sqs"), f"{STACK}-config"
    # A message that failed is hidden for as long as the queue says; nobody waits minutes for that here.
    patience = sqs.get_queue_attributes(QueueUrl=deployment.queue("Resolve"), AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=deployment.queue("Resolve"), Attributes={"VisibilityTimeout": "3"})
    before = account(deployment)["engagement_score"]
    damaged = {"pk": {"S": "main"}, "sk": {"S": "model"}}
    deployment.client("dynamodb").put_item(TableName=table, Item={**damaged, "v": {"N": "1"}, "d": {"S": "not a model"}})
    try:
        answer = deployment.track("/v1/track", {"userId": "u1", "messageId": "m-late", "event": "Email Clicked"})
        assert answer.status_code == 200
        # On a slow machine an attempt may take longer than that, and two of them park the message.
        parked, *_ = wait_for("the message is parked", lambda: messages(deployment, "ResolveDead"))
    finally:
        deployment.client("dynamodb").delete_item(TableName=table, Key=damaged)
        sqs.set_queue_attributes(QueueUrl=deployment.queue("Resolve"), Attributes=patience)
    reason = parked["MessageAttributes"]["reason"]["StringValue"]
    assert reason.startswith("failed 5 times, at last: ") and "model" in reason

    assert reason[:40] in deployment.harpoon("dead", "list", "--stage", "resolve")
    shown = deployment.harpoon("dead", "show", parked["MessageId"])
    assert reason in shown and "m-late" in shown
    deployment.harpoon("dead", "redrive", "--stage", "resolve")
    assert not messages(deployment, "ResolveDead")
    after = wait_for("the event counts", lambda: account(deployment)["engagement_score"] - before)
    # A second copy of the message, as a redrive that was interrupted leaves one behind.
    sqs.send_message(QueueUrl=deployment.queue("Resolve"), MessageBody=parked["Body"])
    wait_for("the queue is empty again", lambda: not pending(deployment, "Resolve"))
    wait_for("the queues after it are, too", lambda: not any(pending(deployment, stage.capitalize()) for stage in STAGES))
    assert account(deployment)["engagement_score"] - before == after


def pending(deployment, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = deployment.client("sqs").get_queue_attributes(QueueUrl=deployment.queue(queue), AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def event_source(deployment, function: str) -> str:
    listed = deployment.client("lambda").list_event_source_mappings(FunctionName=f"{STACK}-{function}")
    (mapping,) = listed["EventSourceMappings"]
    return mapping["UUID"]


def test_the_schedule_rescores_what_no_message_announced(deployment):
    score = event_source(deployment, "score")
    client = deployment.client("lambda")
    # Score is paused while an account is changed, and the message about it is lost.
    client.update_event_source_mapping(UUID=score, Enabled=False)
    deployment.api("PATCH", "/accounts/acct_1", {"fields": {"country": "Norway"}})
    assert pending(deployment, "Score") >= 1
    deployment.client("sqs").purge_queue(QueueUrl=deployment.queue("Score"))
    client.update_event_source_mapping(UUID=score, Enabled=True)
    # Norway is not among the countries that fit: 20 points less.
    wait_for("rescore found the account", lambda: account(deployment)["account_score"] == 125, seconds=150)
    assert any(line.get("message") == "due work was enqueued" and line.get("accounts") for line in deployment.logs("rescore"))


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.name)
def test_a_sample_payload_is_answered(deployment, path):
    function = path.name.split(".")[0]
    answer = deployment.client("lambda").invoke(FunctionName=f"{STACK}-{function}", Payload=path.read_bytes())
    said = json.loads(answer["Payload"].read())
    assert not answer.get("FunctionError"), said
    if function in STAGES:
        assert said == {"batchItemFailures": []}
    elif function != "rescore":
        # Their keys are of a workspace that is not known here.
        expected = 204 if "preflight" in path.name else 200 if "health" in path.name else 401
        assert said["statusCode"] == expected


def test_the_roles_allow_all_that_was_done(deployment):
    # The stand-in checks every request of a function against its role.
    assert deployment.stand_in.denied() == []


def test_logs_are_json_and_hold_nothing_private(deployment):
    private = [deployment.write_key, deployment.api_token, deployment.secret, "ada@quarrystone-mills.com", "Ada Quarry", "203.0.113.7", "127.0.0.1"]
    for function in FUNCTIONS:
        lines = deployment.logs(function)
        assert lines, f"{function} logged nothing"
        for line in lines:
            text = json.dumps(line)
            assert not [word for word in private if word in text], line
            assert "_aws" in line or {"timestamp", "level", "message"} <= set(line)


def test_a_function_url_takes_tracking_calls_where_it_is_asked_for_and_a_first_deployment_is_protected_at_last(deployment, stand_in):
    stack = "harpoon-url"
    command = [sys.executable, "scripts/deploy.py", "--stack", stack, "--arch", "x86_64"]
    deployed = stand_in.run(*command, "IngestThrough=function-url")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    (made,) = stand_in.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
    assert ".lambda-url." in outputs["TrackingUrl"]
    answer = deployment.request("POST", "/v1/track", headers={"host": outputs["TrackingUrl"].split("/")[2]}, json={"userId": "a", "event": "b"})
    assert answer.status_code == 401, answer.text

    states = [event["ResourceStatus"] for event in stand_in.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]]
    assert "Everything stands. Now it is protected." in deployed.stdout and "UPDATE_COMPLETE" in states
    table = stand_in.client("dynamodb").describe_table(TableName=f"{stack}-events")["Table"]
    assert table["DeletionProtectionEnabled"]

    bare = stand_in.run(*command, "Protect=false")
    assert bare.returncode == 0, bare.stdout + bare.stderr
    # What it replaced is kept, to roll back to.
    (address,) = re.findall(r"to roll back to: s3://([^/]+)/(\S+)", bare.stdout)
    kept = stand_in.client("s3").get_object(Bucket=address[0], Key=address[1])["Body"].read().decode()
    assert "IngestFunction:" in kept and "s3://" in kept
    gone = stand_in.run(sys.executable, "scripts/destroy.py", "--stack", stack, "--yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr


def test_a_first_deployment_that_failed_can_be_repeated(stand_in):
    stack, cloudformation = "harpoon-again", stand_in.client("cloudformation")
    never = {"Resources": {"Never": {"Type": "Harpoon::Nothing::Here"}}}
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(never))
    status = lambda: cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]  # noqa: E731
    wait_for("the stack is rolled back", lambda: status() == "ROLLBACK_COMPLETE")
    made = stand_in.run(sys.executable, "scripts/deploy.py", "--stack", stack, "--arch", "x86_64", "Protect=false")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "never stood" in made.stdout and status() == "CREATE_COMPLETE"
    gone = stand_in.run(sys.executable, "scripts/destroy.py", "--stack", stack, "--yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr


def test_a_protected_stack_is_not_destroyed(deployment, stand_in):
    deployed = stand_in.run(sys.executable, "scripts/deploy.py", "--stack", STACK, "--arch", "x86_64", "Protect=true")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    kept = stand_in.run(sys.executable, "scripts/destroy.py", "--stack", STACK, "--yes")
    assert kept.returncode == 1 and "is protected, nothing was deleted" in kept.stderr
    with pytest.raises(deployment.client("cloudformation").exceptions.ClientError, match="TerminationProtection"):
        deployment.client("cloudformation").delete_stack(StackName=STACK)
    assert f"{STACK}-events" in deployment.client("dynamodb").list_tables()["TableNames"]


#: What a stack of this template can leave behind: service, operation, key of the answer, attribute with the name.
KINDS = [
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("sqs", "list_queues", "QueueUrls", None),
    ("dynamodb", "list_tables", "TableNames", None),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("scheduler", "list_schedules", "Schedules", "Name"),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("apigatewayv2", "get_apis", "Items", "Name"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("kms", "list_aliases", "Aliases", "AliasName"),
]


def test_a_stack_that_is_destroyed_leaves_nothing(deployment, stand_in):
    deployed = stand_in.run(sys.executable, "scripts/deploy.py", "--stack", STACK, "--arch", "x86_64", "Protect=false")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    # What a restore made is no part of the stack, and is named for as long as it is there. That of another stack is none of it.
    for table in (f"{STACK}-r1-config", f"{STACK}stable-r1-config"):
        deployment.client("dynamodb").create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    for _ in range(2):
        kept = stand_in.run(sys.executable, "scripts/destroy.py", "--stack", STACK, "--yes")
        assert kept.returncode == 1, kept.stdout
        assert kept.stderr.splitlines()[1:] == [f"  restored table {STACK}-r1-config"]
    for table in (f"{STACK}-r1-config", f"{STACK}stable-r1-config"):
        deployment.client("dynamodb").delete_table(TableName=table)
    gone = stand_in.run(sys.executable, "scripts/destroy.py", "--stack", STACK, "--yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    for service, operation, key, attribute in KINDS:
        listed = getattr(deployment.client(service), operation)().get(key, [])
        assert [item[attribute] if attribute else item for item in listed] == [], service
    states = [deployment.client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] for key in deployment.client("kms").list_keys()["Keys"]]
    assert set(states) <= {"PendingDeletion"}
    again = stand_in.run(sys.executable, "scripts/destroy.py", "--stack", STACK, "--yes")
    assert again.returncode == 0, "destroying what is gone is no error"
