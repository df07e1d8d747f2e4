"""A stand-in for AWS on this machine: MiniStack, with what its CloudFormation leaves out.

`python stand_in.py PORT DIRECTORY` serves on the loopback address until it is ended. MiniStack runs native `bootstrap` binaries, one
process for each invocation, so that a template is deployed with the very binaries. What is added here, each for its reason:

* Queues get their redrive policy and tables their expiry: its CloudFormation makes both without, its own API knows them.
* Saved queries and budgets are kept by name only: it does not know these types, and a stack with one of them would fail.
* Stacks can be protected against deletion: its CloudFormation has no such action.
* Functions may do what their roles allow and nothing else: it checks no rights. What was refused stands in DIRECTORY/denied.log.
* What a function prints is kept in DIRECTORY/logs/FUNCTION.log: it throws the standard output of native binaries away.

What it does not show at all stands in README.md.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import rights

#: The access key of a function's process, by which its requests are known.
KEY = "FUNCTION-"


def prepare(port: int, directory: pathlib.Path) -> None:
    """The environment that MiniStack reads while it is imported."""
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    os.environ.update(
        # Without this one it listens on every interface.
        BIND_HOST="127.0.0.1",
        # An address would make host names such as ID.execute-api.127.0.0.1, which no URL may have.
        MINISTACK_HOST="localhost",
        GATEWAY_PORT=str(port),
        # Lambda functions find it by this one.
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="us-east-1",
        # It would open ports of its own for these, on every interface.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        PERSIST_STATE="0",
        TMPDIR=str(directory),
    )


def complete_resources() -> None:
    """Makes resources as their templates say."""
    from ministack.services import dynamodb, sqs
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS

    def after(kind, then):
        create = handlers[kind]["create"]

        def created(logical_id, props, stack):
            physical_id, attributes = create(logical_id, props, stack)
            then(physical_id, props)
            return physical_id, attributes

        handlers[kind]["create"] = created

    def redrive(url, props):
        for policy in ("RedrivePolicy", "RedriveAllowPolicy"):
            if policy in props:
                sqs._queues[url]["attributes"][policy] = json.dumps(props[policy])

    def expire(table, props):
        expiry = props.get("TimeToLiveSpecification")
        if expiry:
            dynamodb._update_ttl({"TableName": table, "TimeToLiveSpecification": expiry})

    after("AWS::SQS::Queue", redrive)
    after("AWS::DynamoDB::Table", expire)
    for kind in ("AWS::Logs::QueryDefinition", "AWS::Budgets::Budget"):
        if kind in handlers:
            raise SystemExit(f"stand_in: MiniStack knows {kind} by now; take it out of this file")
        handlers[kind] = {"create": lambda logical_id, props, stack: (f"{stack}-{logical_id}", {}), "delete": lambda physical_id, props: None}


def protect_stacks() -> None:
    """UpdateTerminationProtection, and stacks that refuse to be deleted."""
    from ministack.services import cloudformation
    from ministack.services.cloudformation import handlers, helpers

    delete = handlers._ACTION_HANDLERS["DeleteStack"]
    protected: set[str] = set()

    def update(params):
        name, wanted = helpers._p(params, "StackName"), helpers._p(params, "EnableTerminationProtection") == "true"
        if name not in cloudformation._stacks:
            return helpers._error("ValidationError", f"Stack [{name}] does not exist")
        protected.add(name) if wanted else protected.discard(name)
        stack_id = cloudformation._stacks[name]["StackId"]
        inner = f"<UpdateTerminationProtectionResult><StackId>{stack_id}</StackId></UpdateTerminationProtectionResult>"
        return helpers._xml(200, "UpdateTerminationProtectionResponse", inner)

    def delete_unless_protected(params):
        name = helpers._p(params, "StackName")
        if name in protected:
            return helpers._error("ValidationError", f"Stack [{name}] cannot be deleted while TerminationProtection is enabled")
        return delete(params)

    handlers._ACTION_HANDLERS.update(UpdateTerminationProtection=update, DeleteStack=delete_unless_protected)


def check_rights(directory: pathlib.Path) -> None:
    """Refuses what the role of the calling function does not allow."""
    from ministack.core.responses import error_response_json
    from ministack.services import dynamodb, iam, kms, lambda_svc, sqs

    def policies(function: str) -> list[dict]:
        role = lambda_svc._functions[function]["config"]["Role"].rsplit("/", 1)[-1]
        return [json.loads(policy) for policy in iam._roles[role]["InlinePolicies"].values()]

    def guard(name: str, service) -> None:
        handle = service.handle_request

        async def guarded(method, path, headers, body, query_params):
            caller = re.search(rf"Credential={KEY}([\w-]+)/", headers.get("authorization", ""))
            if caller:
                function = caller.group(1)
                for action, resource, partitions in rights.asked(name, headers.get("x-amz-target", ""), body):
                    if not rights.allows(policies(function), action, resource, partitions):
                        refusal = f"User: {function} is not authorized to perform: {action} on resource: {resource}"
                        with (directory / "denied.log").open("a", encoding="utf-8") as log:
                            log.write(f"{refusal}\n")
                        return error_response_json("AccessDeniedException", refusal, 400)
            return await handle(method, path, headers, body, query_params)

        service.handle_request = guarded

    for name, service in (("dynamodb", dynamodb), ("kms", kms), ("sqs", sqs)):
        guard(name, service)


def watch_functions(directory: pathlib.Path) -> None:
    """Lets native binaries print to a file of their function, and sign their requests as it."""
    from ministack.services import lambda_svc

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            function = (options.get("env") or {}).get("AWS_LAMBDA_FUNCTION_NAME")
            self._log = None
            if function and options.get("stdout") is subprocess.PIPE:
                options["env"] = {**options["env"], "AWS_ACCESS_KEY_ID": f"{KEY}{function}"}
                self._log = open(directory / "logs" / f"{function}.log", "ab")
                options["stdout"] = self._log
            super().__init__(*arguments, **options)

        def communicate(self, *arguments, **options):
            out, err = super().communicate(*arguments, **options)
            if self._log:
                self._log.close()
            return out or b"", err or b""

    class Subprocess:
        """The module, with another Popen."""

        def __getattr__(self, name):
            return getattr(subprocess, name)

    shim = Subprocess()
    shim.Popen = Popen
    lambda_svc.subprocess = shim


def main() -> None:
    port, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    prepare(port, directory)
    complete_resources()
    protect_stacks()
    check_rights(directory)
    watch_functions(directory)
    from ministack.app import main as serve

    sys.argv = ["ministack"]
    serve()


if __name__ == "__main__":
    main()
