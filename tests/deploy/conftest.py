"""What the tests share: a stand-in for AWS, and a deployment on it."""

import contextlib
import dataclasses
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import boto3
import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import startup  # noqa: E402
from template import FUNCTIONS, ROOT  # noqa: E402

STACK = "harpoon"
HARPOON = ROOT / "target" / "debug" / "harpoon"
#: A stage is polled once a second, and a message passes four of them.
PATIENCE_SECONDS = 60


def wait_for(what: str, look, seconds: float = PATIENCE_SECONDS):
    """Looks until there is something, and fails with `what` when there is nothing for too long."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, f"waited {seconds} seconds in vain: {what}"
        time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def server(what: str, command: list, health: str, log: pathlib.Path):
    """A server of somebody else's beside its log, from its first answer at `health` on. Nothing of AWS or its own in the environment reaches it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)

    def answers():
        assert process.poll() is None, f"{what} ended: {log.read_text(errors='replace')[-2000:]}"
        try:
            return requests.get(health, timeout=2).ok
        except requests.ConnectionError:
            return False

    try:
        wait_for(f"{what} answers", answers)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclasses.dataclass
class StandIn:
    """A running stand-in for AWS."""

    port: int
    directory: pathlib.Path
    log: pathlib.Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "SAM_CLI_TELEMETRY": "0",
        }

    def client(self, service: str):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )

    def denied(self) -> list[str]:
        """What functions were refused for want of rights."""
        log = self.directory / "denied.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def run(self, *command, **options) -> subprocess.CompletedProcess:
        """A command of the project, against the stand-in."""
        return subprocess.run(
            [str(part) for part in command], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300, check=False, **options
        )


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stand-in")
    port, log = free_port(), directory / "log"
    running = StandIn(port, directory, log)
    command = [sys.executable, pathlib.Path(__file__).parent / "stand_in.py", str(port), str(directory)]
    with server("the stand-in for AWS", command, f"{running.endpoint}/_ministack/health", log):
        yield running


@dataclasses.dataclass
class Deployment:
    """A deployed stack, seen as its users and operators see it."""

    stand_in: StandIn
    outputs: dict[str, str]
    write_key: str = "wk_unknown"
    api_token: str = "at_unknown"

    def client(self, service: str):
        return self.stand_in.client(service)

    def request(self, method: str, path: str, **options) -> requests.Response:
        """To the HTTP API, which the stand-in knows by its host name."""
        host = f"{self.outputs['HttpApiId']}.execute-api.localhost:{self.stand_in.port}"
        headers = {"host": host, **options.pop("headers", {})}
        return requests.request(method, self.stand_in.endpoint + path, headers=headers, timeout=90, **options)

    def track(self, path: str, body: dict) -> requests.Response:
        return self.request("POST", path, json=body, auth=(self.write_key, ""))

    def api(self, method: str, path: str, body: dict | None = None) -> dict:
        answer = self.request(method, f"/api/v1{path}", json=body, headers={"authorization": f"Bearer {self.api_token}"})
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    def harpoon(self, *command: str) -> str:
        """What `harpoon … --aws` prints."""
        assert HARPOON.exists(), "the local binary is missing; build it with: cargo build --bin harpoon"
        done = self.stand_in.run(HARPOON, *command, "--aws", "--prefix", self.outputs["TablePrefix"])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def queue(self, name: str) -> str:
        return self.outputs[f"{name}QueueUrl"]

    def logs(self, function: str) -> list[dict]:
        """What a function has printed so far, line by line."""
        path = self.stand_in.directory / "logs" / f"{STACK}-{function}.log"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.fixture(scope="session")
def deployment(stand_in):
    for function in FUNCTIONS:
        assert startup.machine(startup.binary(function)) == "x86_64", "the stand-in runs x86_64; build with: scripts/build-functions.sh x86_64"
    deployed = stand_in.run(
        sys.executable, "scripts/deploy.py", "--stack", STACK, "--arch", "x86_64", "Protect=false", "AllowPrivateDestinations=1"
    )
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr + stand_in.log.read_text(errors="replace")[-4000:]
    (stack,) = stand_in.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    made = Deployment(stand_in, {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]})
    made.deployed = deployed.stdout
    return made


class Receiver:
    """A webhook endpoint on this machine that remembers what it was sent."""

    def __init__(self):
        received = self.received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                received.append((dict(self.headers), body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="session")
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()
