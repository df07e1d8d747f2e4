"""The template as it stands, and as CloudFormation gets it once SAM's resources are expanded."""

import copy
import functools
import os
import pathlib
import re

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATH = ROOT / "infra" / "template.yaml"

#: Every function, in pipeline order, by the name that its folder, binary and log group have.
FUNCTIONS = ("ingest", "resolve", "score", "level", "dispatch", "rescore", "api")
#: Those that read a queue of their own name.
STAGES = ("resolve", "score", "level", "dispatch")


@functools.cache
def _written() -> dict:
    return yaml_parse(PATH.read_text(encoding="utf-8"))


def written() -> dict:
    """The template as people read it."""
    return copy.deepcopy(_written())


class NoManagedPolicies:
    """Names of managed policies are left as they are."""

    def load(self):
        return {}


@functools.cache
def _expanded() -> dict:
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    template = written()
    # SAM's translator opens code folders only when packaging; any place will do here.
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    return transform(template, {}, NoManagedPolicies())


def expanded() -> dict:
    """The template with plain resources only, those that SAM adds included."""
    return copy.deepcopy(_expanded())


def resources(kind: str, template: dict | None = None) -> dict:
    """The resources of one type, by logical id."""
    every = (template or expanded())["Resources"]
    return {name: resource for name, resource in every.items() if resource["Type"] == kind}


def environment(function: str) -> dict:
    """The variables of a function, those of Globals included."""
    template = written()
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    own = template["Resources"][f"{function.capitalize()}Function"]["Properties"]["Environment"]["Variables"]
    return {**shared, **own}


def mentions(value) -> set[str]:
    """The logical ids that a value refers to by Ref, Fn::GetAtt or Fn::Sub."""
    if isinstance(value, dict):
        found = set()
        for key, inner in value.items():
            if key == "Ref" and isinstance(inner, str):
                found.add(inner)
            elif key == "Fn::GetAtt":
                found.add(inner[0] if isinstance(inner, list) else inner.split(".")[0])
            elif key == "Fn::Sub":
                text = inner if isinstance(inner, str) else inner[0]
                found |= {name.split(".")[0] for name in re.findall(r"\$\{([^}!]+)\}", text)}
            else:
                found |= mentions(inner)
        return found
    if isinstance(value, list):
        return set().union(*(mentions(inner) for inner in value)) if value else set()
    return set()


def listed(value) -> list:
    """One value or several, as a list."""
    return value if isinstance(value, list) else [value]


def statements(template: dict | None = None):
    """Every statement of every policy: (logical id, statement)."""
    template = template or expanded()
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", []) if isinstance(policy, dict)]
        documents += [properties[key] for key in ("PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument") if key in properties]
        for document in documents:
            for statement in listed(document["Statement"]):
                yield name, statement


def role_of(function: str) -> str:
    """The logical id of a function's role."""
    return f"{function.capitalize()}Role"


def allowed(function: str) -> list[tuple[str, set[str]]]:
    """What a function may do: (action, logical ids of the resources)."""
    return [
        (action, mentions(statement["Resource"]) - {"AWS::Partition", "AWS::Region", "AWS::AccountId", "AWS::StackName", "RestoredTables"})
        for name, statement in statements()
        if name == role_of(function) and statement["Effect"] == "Allow" and "Resource" in statement
        for action in listed(statement["Action"])
    ]
