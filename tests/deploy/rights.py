"""Whether a role allows a request: as much of IAM as this project's template uses.

Unknown operators and keys raise, so that a policy is never taken for more or less than it says.
"""

import fnmatch
import json
import re

ACCOUNT, REGION = "000000000000", "us-east-1"


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def _keys(items) -> list[str]:
    return [item["pk"]["S"] for item in items]


def _queried(body: dict) -> list[str]:
    """The partition that a Query names."""
    names, values = body.get("ExpressionAttributeNames", {}), body["ExpressionAttributeValues"]
    name, value = re.search(r"(#?\w+)\s*=\s*(:\w+)", body["KeyConditionExpression"]).groups()
    assert names.get(name, name) == "pk", body["KeyConditionExpression"]
    return [values[value]["S"]]


def _table(name: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"


def _of_dynamodb(operation: str, body: dict) -> list[tuple[str, str, list[str]]]:
    def one(action, request, keys):
        return (f"dynamodb:{action}", _table(request["TableName"]), keys)

    match operation:
        case "GetItem" | "DeleteItem":
            return [one(operation, body, _keys([body["Key"]]))]
        case "PutItem":
            return [one(operation, body, _keys([body["Item"]]))]
        case "Query":
            return [one(operation, body, _queried(body))]
        case "BatchGetItem":
            return [(f"dynamodb:{operation}", _table(table), _keys(request["Keys"])) for table, request in body["RequestItems"].items()]
        case "TransactWriteItems":
            names = {"Put": "PutItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem", "Update": "UpdateItem"}
            return [
                one(names[kind], request, _keys([request.get("Key") or request["Item"]]))
                for item in body["TransactItems"]
                for kind, request in item.items()
            ]
    return [(f"dynamodb:{operation}", _table(body.get("TableName", "?")), [])]


def _of_sqs(operation: str, body: dict) -> list[tuple[str, str, list[str]]]:
    action = {"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage"}.get(operation, operation)
    queue = body.get("QueueUrl", "?").rsplit("/", 1)[-1]
    return [(f"sqs:{action}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}", [])]


def _of_kms(operation: str, body: dict) -> list[tuple[str, str, list[str]]]:
    # Decrypt finds the key in the ciphertext when it is given none.
    return [(f"kms:{operation}", body.get("KeyId", "*"), [])]


def asked(service: str, target: str, body: bytes) -> list[tuple[str, str, list[str]]]:
    """What a request asks for: actions with the resource and the partitions that they touch."""
    read = {"dynamodb": _of_dynamodb, "sqs": _of_sqs, "kms": _of_kms}[service]
    return read(target.rsplit(".", 1)[-1], json.loads(body or b"{}"))


def _holds(condition: dict, partitions: list[str]) -> bool:
    for operator, tests in condition.items():
        quantifier, _, comparison = operator.partition(":")
        assert comparison == "StringLike" and set(tests) == {"dynamodb:LeadingKeys"}, condition
        patterns = listed(tests["dynamodb:LeadingKeys"])
        fits = [any(fnmatch.fnmatchcase(partition, pattern) for pattern in patterns) for partition in partitions]
        if not {"ForAllValues": all, "ForAnyValue": any}[quantifier](fits):
            return False
    return True


def _covers(statement: dict, action: str, resource: str, partitions: list[str]) -> bool:
    actions = [known.lower() for known in listed(statement["Action"])]
    return (
        any(fnmatch.fnmatchcase(action.lower(), known) for known in actions)
        and (resource == "*" or any(fnmatch.fnmatchcase(resource, known) for known in listed(statement["Resource"])))
        and _holds(statement.get("Condition", {}), partitions)
    )


def allows(policies: list[dict], action: str, resource: str, partitions: list[str]) -> bool:
    """Whether policies allow an action: some statement does, and none denies it."""
    statements = [statement for policy in policies for statement in listed(policy["Statement"])]
    effects = {statement["Effect"] for statement in statements if _covers(statement, action, resource, partitions)}
    return effects == {"Allow"}
