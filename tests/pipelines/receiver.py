"""A real HTTP server that takes deliveries: what it was sent, and answers as a test wants them."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """A request that arrived."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float = field(default_factory=time.time)

    @property
    def delivery_id(self) -> str:
        return str(self.body["delivery_id"])


class Receiver:
    """The server. A path says how it answers: `/status/503`, `/slow` (until `let_go`), `/pause/SECONDS`, `/reset`,
    `/big`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.let_go = threading.Event()
        self.statuses: list[int] = []
        """Answers of the next requests, in order; then 200."""
        self.headers: dict[str, str] = {}
        self.busy = self.most_at_once = 0
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One segment for headers and body: two would wait for each other's acknowledgement.
            wbufsize = -1

            def do_POST(self) -> None:
                receiver.answer(self)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        content = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        with self.lock:
            self.received.append(Received(request.path, content, {k.lower(): v for k, v in request.headers.items()}))
            status = self.statuses.pop(0) if self.statuses else 200
            self.busy += 1
            self.most_at_once = max(self.most_at_once, self.busy)
        try:
            self._reply(request, status)
        finally:
            with self.lock:
                self.busy -= 1

    def _reply(self, request: BaseHTTPRequestHandler, status: int) -> None:
        body = b"taken"
        if request.path.startswith("/status/"):
            status = int(request.path.split("/")[2])
        elif request.path == "/slow":
            self.let_go.wait(30)
        elif request.path.startswith("/pause"):
            time.sleep(float(request.path.removeprefix("/pause").strip("/") or 0.05))
        elif request.path == "/reset":
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        elif request.path == "/big":
            body = b"\xff\x00" * 200_000
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def times(self) -> Counter[str]:
        """How often each delivery arrived."""
        with self.lock:
            return Counter(each.delivery_id for each in self.received)

    def close(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver for a block."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
