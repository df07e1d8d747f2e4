#!/usr/bin/env python3
"""Puts infra/dashboards/pipeline.json into infra/template.yaml, between the two `# dashboard:` lines.

CloudFormation can't read a dashboard from a file, and one that is edited inside a template is edited blindly. So the file is what
people change (paste into it what CloudWatch shows under "View/edit source", with ${AWS::StackName} and ${AWS::Region} put back), and
this script brings the template up to date. With --check it changes nothing and fails when the two differ.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "infra" / "template.yaml"
SOURCE = ROOT / "infra" / "dashboards" / "pipeline.json"
BEGIN, END = "      # dashboard: begin\n", "      # dashboard: end\n"


def rendered(template: str, source: str) -> str:
    """The template with this dashboard in it."""
    json.loads(source)
    before, _, rest = template.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"dashboard: {TEMPLATE.name} has no `# dashboard:` lines")
    body = "".join(f"        {line}\n" for line in source.splitlines())
    return f"{before}{BEGIN}      DashboardBody: !Sub |\n{body}{END}{after}"


def main() -> None:
    template = TEMPLATE.read_text(encoding="utf-8")
    wanted = rendered(template, SOURCE.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--check"]:
        if template != wanted:
            raise SystemExit("dashboard: infra/template.yaml does not hold infra/dashboards/pipeline.json; run scripts/dashboard.py")
    else:
        TEMPLATE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
