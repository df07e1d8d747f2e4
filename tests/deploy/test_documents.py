"""What the runbook names is there."""

import re
import sys

import pytest
from template import ROOT, resources, written

sys.path.insert(0, str(ROOT / "scripts"))

import destroy  # noqa: E402

DOCUMENTS = [ROOT / "docs" / "operations.md", ROOT / "docs" / "upgrades.md", ROOT / "events" / "README.md", ROOT / "tests" / "deploy" / "README.md"]


def anchors(text: str) -> set[str]:
    """The names by which headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#][^)]*|#[^)]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        assert other.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(other.read_text(encoding="utf-8")), f"{path.name}: {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_targets_and_scripts_are_there(path):
    text = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.M):
        assert target in targets, target
    for script in re.findall(r"scripts/[\w.-]+", text):
        assert (ROOT / script).exists(), script


def test_the_runbook_names_saved_queries_and_parameters_as_they_are():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    names = {query["Properties"]["Name"]["Fn::Sub"].split("/")[1] for query in resources("AWS::Logs::QueryDefinition").values()}
    for name in re.findall(r"[Qq]uery \*([^*]+)\*", text):
        assert any(known == name or known.startswith(f"{name} ") for known in names), name
    parameters = set(written()["Parameters"])
    for name in re.findall(r"`([A-Z][A-Za-z]+)(?:=[^`]*)?`", text):
        if name in ("AccessDenied", "ResourceNotFound", "DashboardUrl"):
            continue
        assert name in parameters or name.endswith("Exception"), name


def test_the_reasons_in_the_runbook_are_those_that_stages_give():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.split("| The reason says | Do |\n")[1].split("\n\n")[0]
    quoted = [phrase for row in table.splitlines()[1:] for phrase in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    said = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "shared").rglob("*.rs") if "tests" not in path.parts)
    said += "AccessDenied ResourceNotFound"
    assert len(quoted) > 10
    for phrase in quoted:
        for part in re.sub(r"\d+", "…", phrase).split("…"):
            assert part.strip(" ,:") in said, phrase


def test_what_is_looked_for_after_a_teardown_has_the_names_of_the_template():
    named = {
        "queue": {queue["Properties"]["QueueName"]["Fn::Sub"] for queue in resources("AWS::SQS::Queue").values()},
        "function": {function["Properties"]["FunctionName"]["Fn::Sub"] for function in resources("AWS::Lambda::Function").values()},
        "log group": {group["Properties"]["LogGroupName"]["Fn::Sub"] for group in resources("AWS::Logs::LogGroup").values()},
        "table": {table["Properties"]["TableName"]["Fn::Sub"] for table in resources("AWS::DynamoDB::Table").values()},
    }
    assert {kind: set(names) for kind, names in destroy.names("${AWS::StackName}").items()} == named
