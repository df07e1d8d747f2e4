#!/usr/bin/env python3
"""Runs the black-box tests against the built binary; arguments go to pytest.

HARPOON_BIN names the binary; without it target/debug/harpoon is taken, then target/release/harpoon.
What the tests need is set up by scripts/setup-tests.sh.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"


def main():
    if not PYTHON.exists() or not (HERE / "node_modules" / "@segment").is_dir():
        sys.exit("the tests are not set up; set them up with: scripts/setup-tests.sh")
    sys.path.insert(0, str(HERE))
    from product import binary

    try:
        os.environ["HARPOON_BIN"] = str(binary())
    except FileNotFoundError as missing:
        sys.exit(str(missing))
    sys.stdout.flush()
    os.chdir(HERE)
    os.execv(PYTHON, [str(PYTHON), "-B", "-m", "pytest", *sys.argv[1:]])


if __name__ == "__main__":
    main()
