"""What the runbook names is there."""

import re

import pytest
from template import ROOT, resources, written

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
        if name in ("AccessDenied", "AccessDeniedException", "ResourceNotFoundException", "DashboardUrl"):
            continue
        assert name in parameters or name.endswith("Exception"), name
