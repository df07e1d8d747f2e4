"""Lambda's runtime API for one process on this machine, and an endpoint that refuses everything."""

import contextlib
import http.server
import json
import pathlib
import queue
import subprocess
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))


@contextlib.contextmanager
def serving(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def refusing(code: str, message: str):
    """An endpoint that answers every AWS request with this error; gives its URL."""

    class Handler(_Handler):
        def do_POST(self):
            self.body()
            body = json.dumps({"__type": f"com.amazonaws#{code}", "message": message}).encode()
            self.answer(400, body, {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": code})

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


class Function:
    """A function's process between its start and its end."""

    def __init__(self, process: subprocess.Popen, events: queue.Queue, outcomes: queue.Queue):
        self.process, self._events, self._outcomes = process, events, outcomes

    def invoke(self, event: dict, seconds: float = 30) -> tuple[str, object]:
        """Gives it one event: (`response` or `error`, what it said). `exit` when it ended instead."""
        self._events.put(event)
        for _ in range(int(seconds * 10)):
            with contextlib.suppress(queue.Empty):
                return self._outcomes.get(timeout=0.1)
            if self.process.poll() is not None:
                return ("exit", self.process.returncode)
        raise AssertionError(f"no outcome within {seconds} seconds")


@contextlib.contextmanager
def running(binary: pathlib.Path, environment: dict[str, str], log: pathlib.Path):
    """Runs a function's binary against a runtime API of its own; what it prints goes to `log`."""
    events: queue.Queue = queue.Queue()
    outcomes: queue.Queue = queue.Queue()

    class Handler(_Handler):
        def do_GET(self):
            event = events.get()
            headers = {
                "lambda-runtime-aws-request-id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                "lambda-runtime-deadline-ms": "32503680000000",
                "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:123456789012:function:test",
                "content-type": "application/json",
            }
            self.answer(200, json.dumps(event).encode(), headers)

        def do_POST(self):
            said = self.body()
            kind = "response" if self.path.endswith("/response") else "error"
            self.answer(202, b"{}", {"content-type": "application/json"})
            outcomes.put((kind, json.loads(said)))

    with serving(Handler) as port, log.open("wb") as output:
        variables = {**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"}
        process = subprocess.Popen([binary], env=variables, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Function(process, events, outcomes)
        finally:
            process.kill()
            process.wait()
