#!/usr/bin/env python3
"""Deletes a deployment with everything in it: scripts/destroy.py [--stack harpoon] [--yes]

It refuses while the deployment is protected, waits until the stack is gone, removes what was uploaded for it, and then looks whether
anything of it is left. Running it again goes on where it stopped.
"""

import argparse
import re
import sys

import boto3
import stacks

#: What the names of a deployment's parts end in.
QUEUES = [f"{stage}{dead}" for stage in ("resolve", "score", "level", "dispatch") for dead in ("", "-dead")]
TABLES = ["config", "accounts", "events", "deliveries"]
FUNCTIONS = ["ingest", "resolve", "score", "level", "dispatch", "rescore", "api"]


def remove_uploads(cloudformation, s3, stack: str) -> int:
    """Removes the packages and templates that were uploaded for the stack; answers how many."""
    bucket = stacks.uploads(cloudformation)
    if bucket is None:
        return 0
    removed = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{stack}/"):
        for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])
            removed += 1
    return removed


def names(stack: str) -> dict[str, list[str]]:
    """The names of a deployment's parts."""
    return {
        "queue": [f"{stack}-{queue}" for queue in QUEUES],
        "table": [f"{stack}-{table}" for table in TABLES],
        "function": [f"{stack}-{function}" for function in FUNCTIONS],
        "log group": [f"/aws/vendedlogs/{stack}-http", *(f"/aws/lambda/{stack}-{function}" for function in FUNCTIONS)],
    }


def restored(cloudformation, stack: str, tables: set[str]) -> list[str]:
    """Tables that a restore made beside those of the stack, and that are not another stack's."""
    named = re.compile(rf"({re.escape(stack)}-[a-z0-9]+)-(?:{'|'.join(TABLES)})")
    matches = filter(None, map(named.fullmatch, sorted(tables)))
    return [match[0] for match in matches if stacks.describe(cloudformation, match[1]) is None]


def left(cloudformation, stack: str) -> list[str]:
    """What still has a name of this stack. Other stacks may have names that begin as its name does."""

    def pages(client: str, operation: str, member: str, **options) -> list:
        return [item for page in boto3.client(client).get_paginator(operation).paginate(**options) for item in page.get(member, [])]

    groups = [pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=f"/aws/{kind}/{stack}-") for kind in ("lambda", "vendedlogs")]
    there = {
        "queue": {url.rsplit("/", 1)[-1] for url in pages("sqs", "list_queues", "QueueUrls", QueueNamePrefix=f"{stack}-")},
        "table": set(pages("dynamodb", "list_tables", "TableNames")),
        "function": {function["FunctionName"] for function in pages("lambda", "list_functions", "Functions")},
        "log group": {group["logGroupName"] for found in groups for group in found},
    }
    own = [f"{kind} {name}" for kind, all_names in names(stack).items() for name in all_names if name in there[kind]]
    return own + [f"restored table {name}" for name in restored(cloudformation, stack, there["table"])]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stack", default="harpoon")
    arguments.add_argument("--yes", action="store_true", help="do not ask")
    given = arguments.parse_args()
    cloudformation = boto3.client("cloudformation")

    found = stacks.describe(cloudformation, given.stack)
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in (found or {}).get("Parameters", [])}
    # One that failed to be made or to be deleted can't be updated any more. What is protected in it stays.
    stands = found and found["StackStatus"] not in (*stacks.NEVER_STOOD, stacks.HALF_GONE)
    if stands and parameters.get("Protect") == "true":
        print(
            f"destroy: {given.stack} is protected, nothing was deleted. To delete its data for good, first run:\n"
            f"  make deploy STACK={given.stack} PARAMETERS=Protect=false",
            file=sys.stderr,
        )
        return 1
    if found and not given.yes and input(f"Delete {given.stack} with all its data? Type its name: ") != given.stack:
        print("destroy: nothing was deleted", file=sys.stderr)
        return 1

    failed = stacks.delete(cloudformation, given.stack)
    if failed:
        print("destroy: these could not be deleted; mend the reason and run this again:", *failed, sep="\n  ", file=sys.stderr)
        return 1
    removed = remove_uploads(cloudformation, boto3.client("s3"), given.stack)
    still = left(cloudformation, given.stack)
    if still:
        print("destroy: the stack is gone, but these have its name; delete what nobody needs:", *still, sep="\n  ", file=sys.stderr)
        return 1
    print(f"{given.stack} is gone, with {removed} uploaded files. Its key is deleted after a waiting time that KMS demands.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
