"""A small HTTP proxy on the loopback interface that forwards everything to one server and remembers what passed."""

import http.client
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Headers that concern one connection and are not passed on.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}


class Server(ThreadingHTTPServer):
    """Serves until it is shut down; clients that go away without a word are no error."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@dataclass(frozen=True)
class Request:
    """A request as it passed, and how it was answered."""

    method: str
    path: str
    headers: tuple
    body: bytes
    received_ms: int
    status: int = 0
    answer: bytes = b""

    def header(self, name):
        """The header's value, or an empty text."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass
class Recorder:
    """Listens on a free port from `start()` to `stop()`; forwards to `127.0.0.1:upstream_port`."""

    upstream_port: int
    requests: list = field(default_factory=list)

    def start(self):
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def forward(self):
                recorder._forward(self)

            do_GET = do_POST = do_PUT = do_OPTIONS = do_DELETE = forward

            def log_message(self, *_):
                pass

        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _forward(self, handler):
        body = read_body(handler)
        received_ms = time.time_ns() // 1_000_000
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=30)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        kept = Request(handler.command, handler.path, tuple(handler.headers.items()), body, received_ms, response.status, answer)
        with self._lock:
            self.requests.append(kept)
        handler.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)


def read_body(handler):
    """The body of a request that `handler` serves, chunked or not."""
    if "chunked" in handler.headers.get("Transfer-Encoding", "").lower():
        body = b""
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return body
    return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
