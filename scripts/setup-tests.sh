#!/bin/sh
# Sets up what the black-box tests in tests/clients need: a Python environment in .venv and the client libraries in
# tests/clients/node_modules, both in the versions that are written down beside the tests. Running it again is quick: what is there
# and up to date is left alone.
#
# Needs Python 3.11 or newer with venv, Node 20 or newer, and npm.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
clients="$root/tests/clients"
venv="$root/.venv"

fail() {
    echo "setup-tests: $1" >&2
    exit 1
}

PYTHON=${PYTHON:-python3}
command -v "$PYTHON" >/dev/null || fail "Python is missing; install it, for example with: apt-get install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; PYTHON=/path/to/python3 chooses another one"
command -v node >/dev/null || fail "Node is missing; install version 20 or newer, for example with: apt-get install nodejs npm"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || fail "Node 20 or newer is needed; this is $(node --version)"
command -v npm >/dev/null || fail "npm is missing; install it, for example with: apt-get install npm"

# A stamp holds what the environment was made from, so that a changed version makes it anew.
wanted=$("$PYTHON" --version; cat "$clients/requirements.txt")
if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "setup-tests: making .venv"
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv" || fail "the Python environment can't be made; is venv installed? (apt-get install python3-venv)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$clients/requirements.txt"
    "$venv/bin/python" -m pip check --disable-pip-version-check >/dev/null || fail "requirements.txt does not fit together; see: .venv/bin/pip check"
    printf '%s\n' "$wanted" >"$venv/stamp"
fi

wanted=$(node --version; cat "$clients/package-lock.json")
if [ "$(cat "$clients/node_modules/.stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "setup-tests: making tests/clients/node_modules"
    (cd "$clients" && npm ci --ignore-scripts --no-audit --no-fund --silent)
    printf '%s\n' "$wanted" >"$clients/node_modules/.stamp"
fi
