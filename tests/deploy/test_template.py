"""What must be true of the template, whatever else changes in it."""

import json
import re

import pytest
import sources
from template import FUNCTIONS, ROOT, STAGES, allowed, environment, expanded, listed, mentions, resources, role_of, statements, written

TABLES = {"ConfigTable", "AccountsTable", "EventsTable", "DeliveriesTable"}
READING = {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"}


def properties(logical_id: str) -> dict:
    return expanded()["Resources"][logical_id]["Properties"]


def queues() -> dict:
    return {name: queue for name, queue in resources("AWS::SQS::Queue").items() if not name.endswith("DeadQueue")}


def alarms_on(logical_id: str) -> dict[str, dict]:
    """The alarms that look at a resource, by metric."""
    return {
        alarm["Properties"]["MetricName"]: alarm["Properties"]
        for alarm in resources("AWS::CloudWatch::Alarm").values()
        if logical_id in mentions(alarm["Properties"]["Dimensions"])
    }


# Queues and their consumers.


def test_every_queue_has_a_dead_queue_and_alarms():
    assert set(queues()) == {f"{stage.capitalize()}Queue" for stage in STAGES}
    for name, queue in queues().items():
        redrive = queue["Properties"]["RedrivePolicy"]
        (dead,) = mentions(redrive["deadLetterTargetArn"])
        assert dead == name.replace("Queue", "DeadQueue")
        assert redrive["maxReceiveCount"] == {"Ref": "MaxReceives"}
        assert "ApproximateAgeOfOldestMessage" in alarms_on(name)
        assert alarms_on(dead)["ApproximateNumberOfMessagesVisible"]["Threshold"] == 1


def test_every_queue_is_encrypted_and_keeps_messages_for_fourteen_days():
    for name, queue in resources("AWS::SQS::Queue").items():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True, name
        assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600, name


@pytest.mark.parametrize("stage", STAGES)
def test_a_queue_is_named_after_the_stage_that_reads_it(stage):
    name = stage.capitalize()
    assert properties(f"{name}Queue")["QueueName"] == {"Fn::Sub": f"${{AWS::StackName}}-{stage}"}
    assert properties(f"{name}DeadQueue")["QueueName"] == {"Fn::Sub": f"${{AWS::StackName}}-{stage}-dead"}


def consumers() -> dict[str, dict]:
    return {stage: properties(f"{stage.capitalize()}FunctionMessages") for stage in STAGES}


def test_every_consumer_reports_partial_failures():
    assert len(resources("AWS::Lambda::EventSourceMapping")) == len(STAGES)
    for stage, source in consumers().items():
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"], stage
        assert mentions(source["EventSourceArn"]) == {f"{stage.capitalize()}Queue"}


def test_a_message_stays_hidden_six_times_as_long_as_an_invocation_may_take():
    for stage in STAGES:
        name = stage.capitalize()
        assert properties(f"{name}Queue")["VisibilityTimeout"] >= 6 * properties(f"{name}Function")["Timeout"], stage


def test_batch_size_window_and_concurrency_are_parameters_with_the_numbers_of_the_local_runner():
    parameters, local = written()["Parameters"], sources.event_sources()
    assert set(local) == set(STAGES)
    for stage, source in consumers().items():
        name = stage.capitalize()
        assert source["BatchSize"] == {"Ref": f"{name}BatchSize"}
        assert source["MaximumBatchingWindowInSeconds"] == {"Ref": f"{name}WindowSeconds"}
        assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": f"{name}Concurrency"}}
        of_template = {
            "batch_size": parameters[f"{name}BatchSize"]["Default"],
            "window": parameters[f"{name}WindowSeconds"]["Default"],
            "concurrency": parameters[f"{name}Concurrency"]["Default"],
            "timeout": properties(f"{name}Function")["Timeout"],
            "max_receives": parameters["MaxReceives"]["Default"],
        }
        assert of_template == local[stage], stage
        # SQS takes a batch above ten only with a window.
        assert of_template["batch_size"] <= 10 or of_template["window"] >= 1


def test_full_messages_of_the_largest_batch_of_resolve_fit_an_invocation():
    assert written()["Parameters"]["ResolveBatchSize"]["MaxValue"] * 64 * 1024 < 6_000_000


# Functions.


def test_there_is_a_function_for_every_folder():
    folders = {path.parent.parent.name for path in ROOT.glob("functions/*/src/main.rs")}
    assert folders == set(FUNCTIONS)
    assert set(resources("AWS::Lambda::Function")) == {f"{function.capitalize()}Function" for function in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_variable_that_a_function_reads_is_set_and_none_is_extra(function):
    read, given = sources.variables(function), set(environment(function))
    assert not given - read, "the template sets what nobody reads"
    assert not read - given, "the template does not set what is read"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_a_role_a_log_group_and_a_trace_of_its_own(function):
    name = function.capitalize()
    made = properties(f"{name}Function")
    assert made["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]} or made["Role"] == {"Fn::GetAtt": f"{name}Role.Arn"}
    assert made["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}Logs"}
    assert made["LoggingConfig"]["LogFormat"] == "JSON"
    assert made["TracingConfig"] == {"Mode": "Active"}
    assert made["FunctionName"] == {"Fn::Sub": f"${{AWS::StackName}}-{function}"}
    assert made["Runtime"] == "provided.al2023"
    assert properties(f"{name}Logs")["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_errors_and_throttles_of_every_function_raise_an_alarm(function):
    assert {"Errors", "Throttles"} <= set(alarms_on(f"{function.capitalize()}Function"))


def test_the_architecture_is_a_parameter_and_arm_the_default():
    assert written()["Parameters"]["Architecture"]["Default"] == "arm64"
    for function in FUNCTIONS:
        assert properties(f"{function.capitalize()}Function")["Architectures"] == [{"Ref": "Architecture"}]


# Rights.


def test_nothing_is_allowed_on_everything_but_what_has_no_resources():
    """X-Ray's actions have no resource form. A key's policy is about its key, so its `*` is that key."""
    named = {("SecretsKey", "LeaveItToIam")} | {(role_of(function), "Trace") for function in FUNCTIONS}
    found = set()
    for name, statement in statements():
        wildcards = [action for action in listed(statement["Action"]) if "*" in action]
        if statement.get("Resource") == "*" or "*" in listed(statement.get("Resource", [])) or wildcards:
            found.add((name, statement.get("Sid")))
        if statement.get("Sid") == "Trace":
            assert set(listed(statement["Action"])) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
        assert "NotAction" not in statement and "NotResource" not in statement
    assert found == named


def test_only_the_function_url_may_be_called_by_everybody():
    found = {name for name, permission in resources("AWS::Lambda::Permission").items() if permission["Properties"]["Principal"] == "*"}
    assert found == {"IngestUrlPermission", "IngestUrlInvokePermission"}
    for name in found:
        permission = expanded()["Resources"][name]
        assert permission["Condition"] == "ThroughFunctionUrl"
        assert permission["Properties"].get("FunctionUrlAuthType") == "NONE" or permission["Properties"]["InvokedViaFunctionUrl"] is True
    for name, permission in resources("AWS::Lambda::Permission").items():
        assert name in found or "SourceArn" in permission["Properties"], name


def test_nobody_uses_a_managed_policy():
    for name, role in resources("AWS::IAM::Role").items():
        assert not role["Properties"].get("ManagedPolicyArns"), name


def rights(function: str) -> dict[str, set[str]]:
    """{table, queue or key: actions}, logs and traces left out."""
    found: dict[str, set[str]] = {}
    for action, names in allowed(function):
        for name in names:
            found.setdefault(name, set()).add(action)
    return found


def test_ingest_may_only_send_to_its_queue_and_read_keys():
    assert rights("ingest") == {"ResolveQueue": {"sqs:SendMessage"}, "ConfigTable": {"dynamodb:GetItem"}}
    (keys,) = [statement for name, statement in statements() if name == "IngestRole" and statement.get("Sid") == "ReadKeys"]
    assert keys["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["KEY#*"]}}


def test_dispatch_reads_configuration_and_writes_only_its_own_table():
    found = rights("dispatch")
    writable = {table for table in TABLES if found.get(table, set()) - READING}
    assert writable == {"DeliveriesTable"}
    assert found["ConfigTable"] == found["AccountsTable"] == READING
    assert found["SecretsKey"] == {"kms:Decrypt"}


def test_the_api_can_seal_secrets_and_never_open_them():
    assert rights("api")["SecretsKey"] == {"kms:GenerateDataKey"}
    assert [function for function in FUNCTIONS if "SecretsKey" in rights(function)] == ["dispatch", "api"]


def test_keys_are_read_by_ingest_and_the_api_only_and_made_by_no_function():
    for function in FUNCTIONS:
        denials = [statement for name, statement in statements() if name == role_of(function) and statement["Effect"] == "Deny"]
        reads = READING & rights(function).get("ConfigTable", set())
        assert reads
        if function == "ingest":
            assert rights(function)["ConfigTable"] == {"dynamodb:GetItem"} and not denials
            continue
        (denial,) = denials
        assert denial["Condition"] == {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["KEY#*"]}}
        assert mentions(denial["Resource"]) >= {"ConfigTable"}
        left = rights(function)["ConfigTable"] - set(denial["Action"]) - {"dynamodb:ConditionCheckItem"}
        assert left == (READING if function == "api" else set())


SENDS = {
    "ingest": {"ResolveQueue"},
    "resolve": {"ResolveQueue", "ResolveDeadQueue", "ScoreQueue"},
    "score": {"ScoreQueue", "ScoreDeadQueue", "LevelQueue"},
    "level": {"LevelQueue", "LevelDeadQueue", "DispatchQueue"},
    "dispatch": {"DispatchQueue", "DispatchDeadQueue"},
    "rescore": {"ResolveQueue", "ScoreQueue", "DispatchQueue"},
    "api": {"ScoreQueue"},
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_sends_to_the_queues_that_it_is_told_and_receives_from_its_own(function):
    found = rights(function)
    assert {queue for queue, actions in found.items() if "sqs:SendMessage" in actions} == SENDS[function]
    told = {name for name in mentions(list(environment(function).values())) if name.endswith("Queue")}
    assert told == SENDS[function]
    received = {queue for queue, actions in found.items() if "sqs:ReceiveMessage" in actions}
    assert received == ({f"{function.capitalize()}Queue"} if function in STAGES else set())


def test_no_function_may_scan_change_a_table_or_touch_more_than_its_own_logs():
    for function in FUNCTIONS:
        for action, names in allowed(function):
            service, verb = action.split(":")
            assert service in {"dynamodb", "sqs", "kms", "logs", "xray"}, action
            if service == "dynamodb":
                assert verb in {"GetItem", "BatchGetItem", "Query", "PutItem", "DeleteItem", "ConditionCheckItem"}
        (log,) = [s for name, s in statements() if name == role_of(function) and s.get("Sid") == "Log"]
        assert log["Resource"]["Fn::Sub"].endswith(f":log-group:/aws/lambda/${{AWS::StackName}}-{function}:*")


# Tables and keys.


def test_every_table_is_paid_on_demand_backed_up_encrypted_and_expires_items():
    tables = resources("AWS::DynamoDB::Table")
    assert set(tables) == TABLES
    for name, table in tables.items():
        made = table["Properties"]
        assert made["BillingMode"] == "PAY_PER_REQUEST", name
        assert made["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
        assert made["SSESpecification"] == {"SSEEnabled": True}, name
        assert made["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}, name
        assert [key["AttributeName"] for key in made["KeySchema"]] == ["pk", "sk"], name


def test_one_parameter_protects_everything_that_can_not_be_made_again():
    assert written()["Parameters"]["Protect"]["Default"] == "true"
    kept = {"Fn::If": ["Protected", "Retain", "Delete"]}
    protected = {name for name, resource in expanded()["Resources"].items() if "DeletionPolicy" in resource and "Version" not in resource["Type"]}
    assert protected == TABLES | {"SecretsKey"}
    for name in protected:
        resource = expanded()["Resources"][name]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == kept, name
    for name in TABLES:
        assert properties(name)["DeletionProtectionEnabled"] == {"Fn::If": ["Protected", True, False]}


def test_sam_is_the_only_transform():
    # AWS::LanguageExtensions puts the values of parameters into the stored template, so that none can be changed in the console.
    assert written()["Transform"] == "AWS::Serverless-2016-10-31"


def test_restored_tables_are_read_under_the_same_rights():
    own = {"Fn::If": ["Restored", {"Fn::Sub": "${AWS::StackName}-${RestoredTables}-"}, {"Fn::Sub": "${AWS::StackName}-"}]}
    assert written()["Globals"]["Function"]["Environment"]["Variables"]["HARPOON_TABLE_PREFIX"] == own
    for name, statement in statements():
        for resource in listed(statement.get("Resource", [])):
            if mentions(resource) & TABLES:
                (table,) = mentions(resource) & TABLES
                restored = resource["Fn::If"][1]["Fn::Sub"]
                assert restored.endswith(f":table/${{AWS::StackName}}-${{RestoredTables}}-{table.removesuffix('Table').lower()}"), name


# What people reach, and what tells them.


def test_the_http_api_is_plain_throttled_and_logged():
    stage = properties("HttpStage")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == {"Ref": "IngestRate"}
    assert stage["RouteSettings"]["$default"]["ThrottlingRateLimit"] == {"Ref": "ApiRate"}
    logged = stage["AccessLogSettings"]["Format"]
    for secret in ("sourceIp", "$context.path", "$context.identity", "authorizer", "protocol", "routeParam"):
        assert secret not in logged
    json.loads(re.sub(r"\$context\.[A-Za-z.]+", "1", logged))
    for kind in ("AWS::Serverless::HttpApi", "AWS::Serverless::Api", "AWS::ApiGateway::RestApi"):
        assert not resources(kind, written())


def test_ingest_is_behind_the_http_api_or_a_function_url_as_told():
    every = expanded()["Resources"]
    assert {name for name, resource in every.items() if resource.get("Condition") == "ThroughHttpApi"} == {
        "TrackingIntegration",
        "TrackingRoute",
        "TrackingPermission",
    }
    assert every["IngestUrl"]["Condition"] == "ThroughFunctionUrl"
    assert written()["Parameters"]["IngestThrough"]["AllowedValues"] == ["http-api", "function-url"]


def test_every_schedule_has_a_name_of_this_stack():
    schedules = resources("AWS::Scheduler::Schedule")
    assert schedules
    for schedule in schedules.values():
        assert schedule["Properties"]["Name"]["Fn::Sub"].startswith("${AWS::StackName}-")
        assert schedule["Properties"]["ScheduleExpression"] == "rate(1 minute)"


def alarm_name(alarm: dict) -> str:
    return alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")


def test_every_alarm_is_sent_somewhere_and_has_a_runbook():
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ .*$", manual, re.M))
    for name, alarm in resources("AWS::CloudWatch::Alarm").items():
        made, called = alarm["Properties"], alarm_name(alarm)
        assert made["AlarmActions"] == made["OKActions"] == [{"Ref": "AlarmTopic"}], name
        assert f"Runbook, {called} in docs/operations.md." in made["AlarmDescription"], name
        assert any(f"`{called}`" in heading for heading in headings), f"docs/operations.md has no section about `{called}`"


def test_the_dashboard_shows_what_is_there():
    body = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    assert set(re.findall(r"\$\{([^}]+)\}", body)) <= {"AWS::StackName", "AWS::Region", "AWS::AccountId", "AWS::Partition", "HttpApi"}
    names = {resource["Properties"].get(key, {}).get("Fn::Sub")
             for resource in expanded()["Resources"].values()
             for key in ("FunctionName", "QueueName", "TableName", "AlarmName") if isinstance(resource.get("Properties", {}).get(key), dict)}
    shown = json.loads(body)
    for widget in shown["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            dimension, value = metric[2], metric[3]
            assert value in names or (dimension, value) == ("ApiId", "${HttpApi}"), metric
    alarms = {alarm.split(":alarm:")[1] for widget in shown["widgets"] for alarm in widget["properties"].get("alarms", [])}
    always = {alarm["Properties"]["AlarmName"]["Fn::Sub"] for alarm in resources("AWS::CloudWatch::Alarm").values() if "Condition" not in alarm}
    assert alarms == always
    titles = [widget["properties"].get("title", "") for widget in shown["widgets"]]
    for stage in STAGES:
        assert f"[{stage}]: waiting" in titles and f"[{stage}-dead]: parked" in titles


def test_every_counter_that_is_shown_is_sent():
    body = json.loads(properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    shown = {metric[1] for widget in body["widgets"] for metric in widget["properties"].get("metrics", []) if metric[0] == "Harpoon"}
    shown |= {alarm["Properties"]["MetricName"] for alarm in resources("AWS::CloudWatch::Alarm").values() if alarm["Properties"]["Namespace"] == "Harpoon"}
    text = sources.every_source()
    assert shown and not {counter for counter in shown if not re.search(rf"Counter::{counter}\b", text)}, "these counters are shown, and nobody counts them"


def test_saved_queries_look_into_log_groups_of_this_stack():
    queries = resources("AWS::Logs::QueryDefinition")
    groups = set(resources("AWS::Logs::LogGroup"))
    assert any("messageId" in query["Properties"]["Name"]["Fn::Sub"] for query in queries.values())
    for name, query in queries.items():
        assert mentions(query["Properties"]["LogGroupNames"]) <= groups, name
        assert query["Properties"]["Name"]["Fn::Sub"].startswith("${AWS::StackName}/"), name


def test_saved_queries_ask_for_what_is_logged():
    logged = "".join(re.findall(r"tracing::\w+!\((.*?)\);", sources.every_source(), re.S))
    # What Lambda logs itself, and what every line has.
    others = {"level", "message", "type"}
    for name, query in resources("AWS::Logs::QueryDefinition").items():
        asked = re.sub(r"#[^\n]*|/[^/\n]*/|'[^']*'|record\.[\w.]+|@\w+| as \w+", " ", query["Properties"]["QueryString"])
        words = r"\b(?:fields|filter|stats|sort|limit|by|asc|desc|and|or|in|like|ispresent|count|min|max|sum|latest|pct|\d+)\b"
        sorted_by = set(re.findall(r" as (\w+)", query["Properties"]["QueryString"]))
        for field in set(re.findall(r"[a-z][\w.]*", re.sub(words, " ", asked))) - sorted_by - others:
            assert re.search(rf"[%?\s]{re.escape(field)}(?: =|,)", logged), f"{name}: nobody logs `{field}`"


def test_what_is_made_is_tagged():
    taggable = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::KMS::Key", "AWS::IAM::Role", "AWS::Logs::LogGroup", "AWS::SNS::Topic",
                "AWS::Lambda::Function", "AWS::ApiGatewayV2::Api", "AWS::CloudWatch::Alarm"}
    for name, resource in expanded()["Resources"].items():
        if resource["Type"] in taggable and name != "RescoreFunctionEveryMinuteRole":
            tags = resource["Properties"].get("Tags", [])
            tags = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            assert tags.get("app") == "harpoon", name


def test_a_budget_is_watched_when_there_is_somebody_to_tell():
    assert expanded()["Resources"]["Budget"]["Condition"] == "HasBudget"
    assert mentions(properties("Budget")) >= {"MonthlyBudgetUsd", "AlarmEmail"}


def test_every_parameter_is_described_grouped_and_used():
    template = written()
    grouped = {name for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"] for name in group["Parameters"]}
    used = mentions([template["Resources"], template["Conditions"], template["Globals"], template["Outputs"], template["Rules"]])
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert name in grouped and name in used, name


def test_outputs_tell_the_urls_and_the_names():
    outputs = written()["Outputs"]
    named = mentions([output["Value"] for output in outputs.values()])
    for stage in STAGES:
        assert {f"{stage.capitalize()}Queue", f"{stage.capitalize()}DeadQueue"} <= named
    assert {f"{function.capitalize()}Function" for function in FUNCTIONS} <= named
    assert {"TrackingUrl", "ApiUrl", "TablePrefix", "DashboardUrl", "AlarmTopicArn"} <= set(outputs)
