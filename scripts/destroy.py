#!/usr/bin/env python3
"""Deletes a deployment with everything in it: scripts/destroy.py [--stack harpoon] [--yes]

It refuses while the deployment is protected, waits until the stack is gone, removes what was uploaded for it, and then looks whether
anything of it is left. Running it again goes on where it stopped.
"""

import argparse
import sys
import time

import boto3
from botocore.exceptions import ClientError

#: Stack states in which nothing happens.
AT_REST = ("_COMPLETE", "_FAILED")


def describe(cloudformation, stack: str) -> dict | None:
    """The stack as it is, or nothing when it is gone."""
    try:
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def delete(cloudformation, stack: str) -> list[str]:
    """Deletes the stack and waits; answers what could not be deleted."""
    found = describe(cloudformation, stack)
    if found is None:
        return []
    stack_id = found["StackId"]
    cloudformation.update_termination_protection(StackName=stack, EnableTerminationProtection=False)
    cloudformation.delete_stack(StackName=stack)
    print(f"Deleting {stack} …")
    while (found := describe(cloudformation, stack_id)) and not (
        found["StackStatus"].startswith("DELETE") and found["StackStatus"].endswith(AT_REST)
    ):
        time.sleep(2)
    if found is None:
        return []
    events = cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
    return [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in events
        if event["ResourceStatus"] == "DELETE_FAILED"
    ]


def remove_uploads(cloudformation, s3, stack: str) -> int:
    """Removes the packages that were uploaded for the stack; answers how many."""
    tools = describe(cloudformation, "aws-sam-cli-managed-default")
    bucket = next((o["OutputValue"] for o in (tools or {}).get("Outputs", []) if o["OutputKey"] == "SourceBucket"), None)
    if bucket is None:
        return 0
    removed = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{stack}/"):
        for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])
            removed += 1
    return removed


def left(stack: str) -> list[str]:
    """What still has a name of this stack."""
    found = []
    queues = boto3.client("sqs").list_queues(QueueNamePrefix=f"{stack}-").get("QueueUrls", [])
    found += [f"queue {url.rsplit('/', 1)[-1]}" for url in queues]
    for page in boto3.client("dynamodb").get_paginator("list_tables").paginate():
        found += [f"table {name}" for name in page["TableNames"] if name.startswith(f"{stack}-")]
    for page in boto3.client("lambda").get_paginator("list_functions").paginate():
        found += [f"function {f['FunctionName']}" for f in page["Functions"] if f["FunctionName"].startswith(f"{stack}-")]
    for prefix in (f"/aws/lambda/{stack}-", f"/aws/vendedlogs/{stack}-"):
        for page in boto3.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            found += [f"log group {group['logGroupName']}" for group in page["logGroups"]]
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stack", default="harpoon")
    arguments.add_argument("--yes", action="store_true", help="do not ask")
    given = arguments.parse_args()
    cloudformation = boto3.client("cloudformation")

    found = describe(cloudformation, given.stack)
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in (found or {}).get("Parameters", [])}
    if parameters.get("Protect") == "true":
        print(
            f"destroy: {given.stack} is protected, nothing was deleted. To delete its data for good, first run:\n"
            f"  make deploy STACK={given.stack} PARAMETERS=Protect=false",
            file=sys.stderr,
        )
        return 1
    if found and not given.yes and input(f"Delete {given.stack} with all its data? Type its name: ") != given.stack:
        print("destroy: nothing was deleted", file=sys.stderr)
        return 1

    failed = delete(cloudformation, given.stack)
    if failed:
        print("destroy: these could not be deleted; mend the reason and run this again:", *failed, sep="\n  ", file=sys.stderr)
        return 1
    removed = remove_uploads(cloudformation, boto3.client("s3"), given.stack)
    still = left(given.stack)
    if still:
        print("destroy: the stack is gone, but these have its name; look whose they are:", *still, sep="\n  ", file=sys.stderr)
        return 1
    print(f"{given.stack} is gone, with {removed} uploaded files. Its key is deleted after a waiting time that KMS demands.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
