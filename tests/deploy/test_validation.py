"""The validators of others."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEMPLATE = ROOT / "infra" / "template.yaml"
TOOLS = pathlib.Path(sys.executable).parent
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
SKIPPED = re.compile(r"^  - (CKV\w*_\d+)", re.M)


def run(*command, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}
    return subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, **options)


def test_sam_finds_nothing():
    result = run(TOOLS / "sam", "validate", "--lint", "--template-file", TEMPLATE)
    assert result.returncode == 0, result.stdout + result.stderr


def test_cfn_lint_finds_nothing():
    result = run(TOOLS / "cfn-lint", "--regions", "us-east-1", "eu-central-1", "--", TEMPLATE)
    assert result.returncode == 0 and not result.stdout.strip(), result.stdout + result.stderr


def checkov(*arguments) -> subprocess.CompletedProcess:
    assert CHECKOV.exists(), "checkov is missing; install it with: scripts/setup-deploy.sh"
    return run(CHECKOV, "--file", TEMPLATE, *arguments)


def test_checkov_finds_nothing():
    result = checkov("--config-file", ROOT / "infra" / ".checkov.yaml")
    assert result.returncode == 0 and "Failed checks: 0" in result.stdout, result.stdout + result.stderr


def test_what_checkov_skips_has_a_reason_and_is_still_needed():
    text = (ROOT / "infra" / ".checkov.yaml").read_text(encoding="utf-8")
    skipped = SKIPPED.findall(text)
    assert skipped and len(skipped) == len(set(skipped))
    for check in skipped:
        before = text.split(f"  - {check}")[0].rstrip().splitlines()
        assert before[-1].startswith("  # "), f"{check} is skipped without a reason above it"
    found = checkov("--framework", "cloudformation", "--compact", "--quiet", "--skip-download").stdout
    needed = set(re.findall(r"Check: (CKV\w*_\d+)", found))
    assert needed == set(skipped), "infra/.checkov.yaml skips what checkov does not find any more"


def test_what_cfn_lint_skips_has_a_reason_above_it():
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
    skips = [n for n, line in enumerate(lines) if "ignore_checks" in line]
    assert len(skips) <= 1
    for n in skips:
        assert lines[n - 1].strip().startswith("#"), f"line {n + 1} skips a check without a reason above it"


def test_the_template_holds_the_dashboard_of_its_file():
    result = run(sys.executable, "scripts/dashboard.py", "--check")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("word", ["HARPOON_SECRETS_KEY:", "NoEcho", "resolve:secretsmanager", "resolve:ssm-secure"])
def test_no_secret_goes_through_the_template(word):
    # A secret that is a parameter or a variable is shown in the console to everybody who may look at the stack.
    assert word not in TEMPLATE.read_text(encoding="utf-8")
