#!/bin/sh
# Sets up what builds, checks and deploys the cloud deployment: a Python environment in .venv-deploy (SAM, cfn-lint, cargo-lambda with
# zig, and the stand-ins that the tests deploy to) and one in .venv-checkov, both in the versions that are written down in tests/deploy.
# Running it again is quick: what is there and up to date is left alone.
#
# Needs Python 3.11 or newer with venv. Building for arm64, the default, also needs that target of the Rust compiler, which
# `rustup target add aarch64-unknown-linux-gnu` installs.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "setup-deploy: $1" >&2
    exit 1
}

PYTHON=${PYTHON:-python3}
command -v "$PYTHON" >/dev/null || fail "Python is missing; install it, for example with: apt-get install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; PYTHON=/path/to/python3 chooses another one"

# One environment: where it is, and the file that says what is in it.
environment() {
    venv="$root/$1" requirements="$root/tests/deploy/$2"
    # A stamp holds what the environment was made from, so that a changed version makes it anew.
    wanted=$("$PYTHON" --version; cat "$requirements")
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "setup-deploy: making $1"
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv" || fail "the Python environment can't be made; is venv installed? (apt-get install python3-venv)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
    "$venv/bin/python" -m pip check --disable-pip-version-check >/dev/null || fail "$2 does not fit together; see: $1/bin/pip check"
    printf '%s\n' "$wanted" >"$venv/stamp"
}

environment .venv-deploy requirements.txt
environment .venv-checkov requirements-checkov.txt
