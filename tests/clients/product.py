"""The built binary as a process: started on a free loopback port with a data directory of its own, asked over HTTP, killed by its id."""

import base64
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
WRITE_KEY = "wk_northwind"
API_TOKEN = "at_northwind"


def binary():
    """The path of the binary under test."""
    given = os.environ.get("HARPOON_BIN")
    places = [pathlib.Path(given)] if given else [ROOT / "target" / build / "harpoon" for build in ("debug", "release")]
    for place in places:
        if place.is_file():
            return place.resolve()
    told = f"HARPOON_BIN names `{given}`, which is not there" if given else "the binary is not built; build it with: cargo build -p harpoon"
    raise FileNotFoundError(told)


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    """Status, headers (names in lower case) and body of a response."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:2000].decode(errors='replace')}"


class Product:
    """One instance. It can be killed and started again on the same data."""

    def __init__(self, directory, port=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.process = None
        self.log = self.directory / "harpoon.log"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, within=60):
        """Starts it and waits until it answers `GET /healthz` with 200."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HARPOON_")}
        environment |= {
            "HARPOON_PORT": str(self.port),
            "HARPOON_DATA_DIR": str(self.directory / "data"),
            "HARPOON_WRITE_KEY": WRITE_KEY,
            "HARPOON_API_TOKEN": API_TOKEN,
            "HARPOON_ALLOW_PRIVATE_DESTINATIONS": "1",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([binary(), "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + within
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"harpoon ended at once with {self.process.returncode}:\n{self.log_tail()}")
            try:
                if self.request("GET", "/healthz", timeout=2).status == 200:
                    return self
            except OSError:
                pass
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"harpoon did not answer GET /healthz with 200 within {within} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def kill(self):
        """SIGKILL, to this process alone."""
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, within=20):
        """SIGTERM; SIGKILL when it takes too long."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def run(self, *arguments, within=600):
        """Runs a subcommand on its data; answers the exit code and what was printed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HARPOON_")}
        environment |= {"HARPOON_PORT": str(self.port), "HARPOON_DATA_DIR": str(self.directory / "data")}
        environment |= {"HARPOON_WRITE_KEY": WRITE_KEY, "HARPOON_API_TOKEN": API_TOKEN}
        done = subprocess.run([binary(), *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within)
        assert done.returncode in (0, 1), f"harpoon {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
        return done.returncode, done.stdout

    def verify(self, *arguments):
        """What `harpoon verify --json` says; its exit code must say the same."""
        code, printed = self.run("verify", "--json", *arguments)
        verified = json.loads(printed)
        assert (code == 0) == verified["agrees"], f"exit code {code}: {printed}"
        return verified

    def log_tail(self, lines=40):
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # --------------------------------------------------------------------------------------------------------------------- requests

    def request(self, method, path, body=None, headers=(), timeout=30):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def track(self, path, body, **more):
        """A tracking call with the write key."""
        headers = {"Authorization": write_key_header(), "Content-Type": "application/json"}
        return self.request("POST", path, json.dumps(body).encode(), headers, **more)

    def api(self, method, path, body=None, **query):
        """A request to the API; answers the parsed body, fails on anything but 2xx."""
        answer = self.ask_api(method, path, body, **query)
        if not 200 <= answer.status < 300:
            raise AssertionError(f"{method} {path} {query or ''} was answered {answer}")
        return answer.json() if answer.body else None

    def ask_api(self, method, path, body=None, **query):
        """A request to the API with the token."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        asked = {name: value for name, value in query.items() if value is not None}
        target = "/api/v1" + path + ("?" + urllib.parse.urlencode(asked) if asked else "")
        return self.request(method, target, body, headers)

    def listed(self, path, limit=200, **query):
        """Every item of a list, over all its pages."""
        items, cursor, seen = [], None, set()
        while True:
            page = self.api("GET", path, limit=limit, cursor=cursor, **query)
            items += page["data"]
            cursor = page.get("next_cursor")
            if not cursor:
                return items
            assert cursor not in seen, f"GET {path}: the cursor `{cursor}` came twice"
            seen.add(cursor)


def ask(connection, method, path, body=None, headers=()):
    """One request on a given connection, with exactly the given headers."""
    headers = dict(headers)
    lower = {name.lower() for name in headers}
    connection.putrequest(method, path, skip_host="host" in lower, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if "content-length" not in lower and (body is not None or method in ("POST", "PUT", "PATCH")):
        connection.putheader("Content-Length", str(len(body or b"")))
    try:
        connection.endheaders(body)
    except (BrokenPipeError, ConnectionResetError):
        # A server may answer and close before it has read a body that is too large; the answer is still to be read.
        pass
    response = connection.getresponse()
    return Answer(response.status, response.getheaders(), response.read())


def write_key_header(key=WRITE_KEY):
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def quoted(text):
    """An id as one step of a path."""
    return urllib.parse.quote(text, safe="")
