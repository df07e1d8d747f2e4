"""A destination for webhooks on the loopback interface that remembers what came."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from recorder import Server, read_body


@dataclass
class Receiver:
    """`answers` gives the statuses of the first requests; after them all are answered with 204."""

    answers: list = field(default_factory=list)
    received: list = field(default_factory=list)

    def __enter__(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = read_body(self)
                with receiver._lock:
                    status = receiver.answers.pop(0) if receiver.answers else 204
                    receiver.received.append((dict(self.headers.items()), body, status))
                self.send_response_only(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/harpoon"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
