"""What deploying and destroying a stack share."""

import time

from botocore.exceptions import ClientError

#: Stack states in which nothing happens.
AT_REST = ("_COMPLETE", "_FAILED")
#: Of a stack whose creation failed. It can only be deleted.
NEVER_STOOD = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
#: Of a stack whose deletion failed, and of one for which nothing was made yet.
HALF_GONE, NOT_BEGUN = "DELETE_FAILED", "REVIEW_IN_PROGRESS"


def describe(cloudformation, stack: str) -> dict | None:
    """The stack as it is, or nothing when it is gone."""
    try:
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def outputs(found: dict | None) -> dict[str, str]:
    """What a deployed stack says of itself."""
    return {output["OutputKey"]: output["OutputValue"] for output in (found or {}).get("Outputs", [])}


def uploads(cloudformation) -> str | None:
    """The bucket that SAM keeps packages and templates in."""
    return outputs(describe(cloudformation, "aws-sam-cli-managed-default")).get("SourceBucket")


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
