"""The stand-in's idea of IAM, on the examples of its documentation."""

import json

import pytest
import rights
from template import FUNCTIONS, expanded, role_of

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/harpoon-config"
READ = {"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:Query"], "Resource": TABLE}
ONLY_KEYS = {**READ, "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["KEY#*"]}}}
NEVER_KEYS = {**READ, "Effect": "Deny", "Condition": {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["KEY#*"]}}}


@pytest.mark.parametrize(
    ("statements", "action", "partitions", "allowed"),
    [
        ([READ], "dynamodb:GetItem", ["main"], True),
        ([READ], "dynamodb:PutItem", ["main"], False),
        ([], "dynamodb:GetItem", ["main"], False),
        ([ONLY_KEYS], "dynamodb:GetItem", ["KEY#ab"], True),
        ([ONLY_KEYS], "dynamodb:GetItem", ["main"], False),
        ([ONLY_KEYS], "dynamodb:GetItem", ["KEY#ab", "main"], False),
        ([READ, NEVER_KEYS], "dynamodb:GetItem", ["main"], True),
        ([READ, NEVER_KEYS], "dynamodb:GetItem", ["KEY#ab"], False),
        ([READ, NEVER_KEYS], "dynamodb:GetItem", ["main", "KEY#ab"], False),
    ],
)
def test_a_denial_wins_and_what_is_not_allowed_is_refused(statements, action, partitions, allowed):
    assert rights.allows([{"Statement": statements}], action, TABLE, partitions) is allowed


def test_another_resource_is_not_covered():
    assert not rights.allows([{"Statement": READ}], "dynamodb:GetItem", TABLE.replace("config", "events"), ["main"])


def test_requests_are_read_as_the_actions_that_they_need():
    def asked(service, operation, body):
        return rights.asked(service, f"Service.{operation}", json.dumps(body).encode())

    item = {"pk": {"S": "main"}, "sk": {"S": "model"}}
    assert asked("dynamodb", "PutItem", {"TableName": "harpoon-config", "Item": item}) == [("dynamodb:PutItem", TABLE, ["main"])]
    query = {"TableName": "harpoon-config", "KeyConditionExpression": "pk = :p AND begins_with(sk, :s)", "ExpressionAttributeValues": {":p": {"S": "main"}}}
    assert asked("dynamodb", "Query", query) == [("dynamodb:Query", TABLE, ["main"])]
    both = {"TransactItems": [{"Put": {"TableName": "harpoon-config", "Item": item}}, {"ConditionCheck": {"TableName": "harpoon-config", "Key": item}}]}
    assert [action for action, _, _ in asked("dynamodb", "TransactWriteItems", both)] == ["dynamodb:PutItem", "dynamodb:ConditionCheckItem"]
    sent = asked("sqs", "SendMessageBatch", {"QueueUrl": "http://127.0.0.1:1/000000000000/harpoon-score"})
    assert sent == [("sqs:SendMessage", "arn:aws:sqs:us-east-1:000000000000:harpoon-score", [])]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_understands_every_condition_of_the_template(function):
    for policy in expanded()["Resources"][role_of(function)]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            rights._holds(statement.get("Condition", {}), ["main"])
