#!/usr/bin/env python3
"""Deploys what `make build` built: scripts/deploy.py [--stack harpoon] [--arch arm64] [PARAMETER=VALUE …]

Parameters are those of infra/template.yaml; what is not given keeps its value of the last deployment. A stack whose tables are
protected is protected against being deleted, too. Region and credentials are those of the environment.
"""

import argparse
import pathlib
import subprocess
import sys

import boto3

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(sys.executable).parent


def outputs(cloudformation, stack: str) -> dict[str, str]:
    """What a deployed stack says of itself."""
    (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def has_key(dynamodb, table: str) -> bool:
    """Whether any key was ever made."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table,
        ProjectionExpression="pk",
        FilterExpression="begins_with(pk, :key)",
        ExpressionAttributeValues={":key": {"S": "KEY#"}},
    )
    return any(page["Count"] for page in pages)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stack", default="harpoon")
    arguments.add_argument("--arch", default="arm64", choices=["arm64", "x86_64"])
    arguments.add_argument("parameters", nargs="*", metavar="PARAMETER=VALUE")
    given = arguments.parse_args()
    wrong = [text for text in given.parameters if "=" not in text]
    if wrong:
        arguments.error(f"`{wrong[0]}` is no PARAMETER=VALUE")

    deployed = subprocess.run(
        [
            TOOLS / "sam",
            "deploy",
            "--template-file",
            "infra/template.yaml",
            "--config-file",
            ROOT / "infra" / "samconfig.toml",
            "--stack-name",
            given.stack,
            "--s3-prefix",
            given.stack,
            "--no-progressbar",
            "--parameter-overrides",
            f"Architecture={given.arch}",
            *given.parameters,
        ],
        cwd=ROOT,
        check=False,
    )
    if deployed.returncode:
        return deployed.returncode

    cloudformation = boto3.client("cloudformation")
    said = outputs(cloudformation, given.stack)
    protect = said["Protection"] == "true"
    cloudformation.update_termination_protection(StackName=given.stack, EnableTerminationProtection=protect)
    print(f"\nTracking calls  {said['TrackingUrl'].rstrip('/')}/v1\nAPI             {said['ApiUrl']}/api/v1\nDashboard       {said['DashboardUrl']}")
    print(f"Protected       {'yes' if protect else 'no: `make destroy` deletes the data'}")
    if not has_key(boto3.client("dynamodb"), f"{said['TablePrefix']}config"):
        print("\nNobody has a key yet. Make a write key and an API token; each is shown once:")
        for kind in ("write-key", "api-token"):
            print(f"  target/release/harpoon key create --aws --prefix {said['TablePrefix']} --workspace main --kind {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
