#!/usr/bin/env python3
"""Deploys what `make build` built: scripts/deploy.py [--stack harpoon] [--arch arm64] [PARAMETER=VALUE …]

Parameters are those of infra/template.yaml; what is not given keeps its value of the last deployment. A stack whose tables are
protected is protected against being deleted, too. Region and credentials are those of the environment.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

import boto3
import stacks

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(sys.executable).parent


def has_key(dynamodb, table: str) -> bool:
    """Whether any key was ever made."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table,
        ProjectionExpression="pk",
        FilterExpression="begins_with(pk, :key)",
        ExpressionAttributeValues={":key": {"S": "KEY#"}},
    )
    return any(page["Count"] for page in pages)


def sam_deploy(stack: str, parameters: list[str]) -> int:
    """Creates or updates the stack; answers what SAM ended with."""
    command = ["deploy", "--template-file", "infra/template.yaml", "--config-file", ROOT / "infra" / "samconfig.toml"]
    command += ["--stack-name", stack, "--s3-prefix", stack, "--no-progressbar", "--parameter-overrides", *parameters]
    return subprocess.run([TOOLS / "sam", *command], cwd=ROOT, check=False).returncode


def create(stack: str, parameters: list[str]) -> int:
    """Makes the stack. What is protected stays when making it fails, and is in the way of the next attempt; so nothing is protected
    until everything stands."""
    protection = [text for text in parameters if text.startswith("Protect=")] or ["Protect=true"]
    others = [text for text in parameters if not text.startswith("Protect=")]
    code = sam_deploy(stack, [*others, "Protect=false"])
    if code or protection[-1] == "Protect=false":
        return code
    print("\nEverything stands. Now it is protected.")
    code = sam_deploy(stack, [*others, protection[-1]])
    if code:
        print(f"deploy: it is not protected yet; run: make deploy STACK={stack} PARAMETERS={protection[-1]}", file=sys.stderr)
    return code


def keep_template(cloudformation, stack: str) -> None:
    """Puts the template in force beside the uploads, to roll back to."""
    bucket = stacks.uploads(cloudformation)
    if bucket is None:
        return
    body = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    text = body if isinstance(body, str) else json.dumps(body)
    key = f"{stack}/before-{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H%M%SZ}.template"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
    print(f"The template in force is kept, to roll back to: s3://{bucket}/{key}")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stack", default="harpoon")
    arguments.add_argument("--arch", default="arm64", choices=["arm64", "x86_64"])
    arguments.add_argument("parameters", nargs="*", metavar="PARAMETER=VALUE")
    given = arguments.parse_args()
    wrong = [text for text in given.parameters if "=" not in text]
    if wrong:
        arguments.error(f"`{wrong[0]}` is no PARAMETER=VALUE")
    parameters = [f"Architecture={given.arch}", *given.parameters]

    cloudformation = boto3.client("cloudformation")
    found = stacks.describe(cloudformation, given.stack)
    if found and found["StackStatus"] == stacks.HALF_GONE:
        print(f"deploy: {given.stack} was not deleted to its end; first run: make destroy STACK={given.stack}", file=sys.stderr)
        return 1
    if found and found["StackStatus"] in stacks.NEVER_STOOD:
        print(f"{given.stack} never stood: {found['StackStatus']}. What is left of that attempt is removed first.")
        failed = stacks.delete(cloudformation, given.stack)
        if failed:
            print("deploy: these could not be deleted; mend the reason and run this again:", *failed, sep="\n  ", file=sys.stderr)
            return 1
        found = None
    if found is None or found["StackStatus"] == stacks.NOT_BEGUN:
        code = create(given.stack, parameters)
    else:
        keep_template(cloudformation, given.stack)
        code = sam_deploy(given.stack, parameters)
    if code:
        return code

    said = stacks.outputs(stacks.describe(cloudformation, given.stack))
    protect = said["Protection"] == "true"
    cloudformation.update_termination_protection(StackName=given.stack, EnableTerminationProtection=protect)
    print(f"\nTracking calls  {said['TrackingUrl'].rstrip('/')}/v1\nAPI             {said['ApiUrl']}/api/v1\nDashboard       {said['DashboardUrl']}")
    print(f"Protected       {'yes' if protect else 'no: `make destroy` deletes the data'}")
    if not has_key(boto3.client("dynamodb"), f"{said['TablePrefix']}config"):
        print("\nNobody has a key yet. Make a write key and an API token; each is shown once:")
        for kind in ("write-key", "api-token"):
            key = f"key create --aws --prefix {said['TablePrefix']} --workspace main --kind {kind}"
            print(f"  cargo run --release --bin harpoon -- {key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
