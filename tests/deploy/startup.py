#!/usr/bin/env python3
"""How long the functions take from their start to their first question for work, and what they weigh.

Each binary in target/lambda is started with the variables of its function against a small runtime API on the loopback address, and
ended when it asks for its first invocation. Runs alternate with those of `hello`, a function as it is usually begun, built the same
way, and with hello on one thread, the least that a function can be. Figures are medians; the ratios are what docs/performance.md
speaks of, the first one is what `--must` is about.

    python tests/deploy/startup.py [--runs 40] [--must 1.5] [--json]
"""

import argparse
import io
import json
import os
import pathlib
import platform
import socket
import statistics
import subprocess
import sys
import time
import zipfile

import sources

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAMBDA = ROOT / "target" / "lambda"
FUNCTIONS = ("ingest", "resolve", "score", "level", "dispatch", "rescore", "api")
MACHINES = {62: "x86_64", 183: "aarch64"}
#: Values that a function takes without looking whether anybody is there.
VALUES = {
    "HARPOON_TABLE_PREFIX": "harpoon-",
    "HARPOON_MAX_RECEIVES": "5",
    "HARPOON_PUBLIC_URL": "https://harpoon.example.com",
    "HARPOON_ALLOW_PRIVATE_DESTINATIONS": "0",
    "HARPOON_EVENT_LOG_MONTHS": "25",
    "HARPOON_SECRETS_KEY_ARN": "arn:aws:kms:us-east-1:123456789012:key/0d990263-018e-4e65-a703-eff731de951e",
}


def binary(name: str) -> pathlib.Path:
    for path in (LAMBDA / name / "bootstrap", LAMBDA / "examples" / name / "bootstrap"):
        if path.exists():
            return path
    raise SystemExit(f"startup: {LAMBDA / name / 'bootstrap'} is missing; build it with: scripts/build-functions.sh")


def machine(path: pathlib.Path) -> str:
    """What processor a binary is for, from its ELF header."""
    with path.open("rb") as file:
        header = file.read(20)
    return MACHINES.get(int.from_bytes(header[18:20], "little"), "unknown")


def zipped(path: pathlib.Path) -> int:
    """The bytes that are uploaded."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "bootstrap")
    return len(buffer.getvalue())


def environment(name: str, port: int) -> dict[str, str]:
    names = sources.variables(name) if name in FUNCTIONS else set()
    variables = {variable: VALUES.get(variable, "https://sqs.us-east-1.amazonaws.com/123456789012/queue") for variable in names}
    return {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
        "AWS_LAMBDA_LOG_GROUP_NAME": "group",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "test",
        **variables,
    }


def start(name: str, path: pathlib.Path, *arguments: str) -> float:
    """Milliseconds from the start of the process to its first `GET …/invocation/next`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        variables = environment(name, server.getsockname()[1])
        began = time.perf_counter()
        process = subprocess.Popen([path, *arguments], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                request = connection.recv(4096)
                took = (time.perf_counter() - began) * 1000
        except TimeoutError:
            process.kill()
            said = process.communicate()[0].decode(errors="replace")
            raise SystemExit(f"startup: {name} did not ask for work; it said: {said[:600]}") from None
        finally:
            process.kill()
            process.wait()
        if not request.startswith(b"GET /2018-06-01/runtime/invocation/next"):
            raise SystemExit(f"startup: {name} asked for {request[:80]!r} first")
        return took


def measure(runs: int) -> dict[str, dict[str, float]]:
    """Sizes of every binary, and medians of alternating starts where this machine can run them."""
    paths = {name: binary(name) for name in ("hello", *FUNCTIONS)}
    figures = {name: {"bytes": path.stat().st_size, "zip_bytes": zipped(path)} for name, path in paths.items()}
    if runs and {machine(path) for path in paths.values()} == {platform.machine()}:
        for name in FUNCTIONS:
            in_turn = {"start_ms": (name,), "hello_ms": ("hello",), "least_ms": ("hello", "one-thread")}
            took = {figure: [] for figure in in_turn}
            for run in range(runs + 1):
                for figure, (binary_name, *arguments) in in_turn.items():
                    milliseconds = start(binary_name, paths[binary_name], *arguments)
                    # The first run reads the binaries from the disk.
                    if run:
                        took[figure].append(milliseconds)
            figures[name] |= {figure: statistics.median(all_runs) for figure, all_runs in took.items()}
            figures[name]["ratio"] = figures[name]["start_ms"] / figures[name]["hello_ms"]
            figures[name]["ratio_to_least"] = figures[name]["start_ms"] / figures[name]["least_ms"]
    return figures


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=40, help="starts of each binary [40]; 0 for sizes only")
    arguments.add_argument("--must", type=float, help="fail when a ratio is above this")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    given = arguments.parse_args()
    figures = measure(given.runs)
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        print(f"{'function':<10} {'binary':>9} {'zip':>9}   start")
        for name, figure in figures.items():
            started = ""
            if "ratio" in figure:
                started = f"{figure['start_ms']:6.2f} ms, {figure['ratio']:.2f} × hello, {figure['ratio_to_least']:.2f} × hello on one thread"
            print(f"{name:<10} {figure['bytes'] / 1e6:>6.1f} MB {figure['zip_bytes'] / 1e6:>6.1f} MB   {started}")
        if not any("ratio" in figure for figure in figures.values()):
            print("Start-up is measured only where the binaries can run: build with ARCH of this machine.")
    slow = [name for name, figure in figures.items() if given.must and figure.get("ratio", 0) > given.must]
    if slow:
        print(f"startup: slower than {given.must} × hello: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
