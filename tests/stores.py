"""An S3-compatible store for tests: a real server process, and a wire to it that writes down every request.

The wire passes requests on as they are. A test may look at each before it is passed on, and let it fail.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from warehouse.settings import Settings

KEY = "library-reader:secret/of+reader"
PAGE = 50
"""Objects of one page of a listing, few enough that small libraries have several."""
_OWNER = "AWS4-HMAC-SHA256 Credential=owner/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""Of who fills buckets; the server believes it as long as it is not told to look."""
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """The address of a server of the package moto on loopback, which ends with the block."""
    port = _free_port()
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
            stdout=log,
            stderr=log,
        )
    try:
        while True:
            assert process.poll() is None, (folder / "moto.log").read_text()
            try:
                HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/moto-api/")
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Asked:
    """One request that a store was asked."""

    method: str
    path: str
    query: str
    range: str | None
    if_match: str | None

    @property
    def key(self) -> str:
        """The path without its bucket."""
        return self.path.split("/", 2)[2] if self.path.count("/") > 1 else ""


class Refusal(Exception):  # noqa: N818 - what a test answers in the place of the store
    """An answer that a test gives; status 0 breaks the connection off."""

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass
class Wire:
    """The way to a store."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    before: Callable[[Asked], int | None] | None = None
    """Called with each request before it is passed on; may raise a Refusal, or say after how many bytes the answer
    shall break off."""

    def count(self, method: str | None = None) -> int:
        """How many requests there were."""
        return sum(method in (None, asked.method) for asked in self.asked)


@contextmanager
def wire_to(server: str) -> Iterator[Wire]:
    """A way to a server, cut with the end of the block."""
    host, _, port = urlsplit(server).netloc.partition(":")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the base
            pass

        def _pass_on(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, path, query, self.headers.get("Range"), self.headers.get("If-Match"))
            wire.asked.append(asked)
            whole_until = None
            try:
                if wire.before is not None:
                    whole_until = wire.before(asked)
            except Refusal as refusal:
                self._refuse(refusal)
                return
            connection = HTTPConnection(host, int(port), timeout=60)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content[:whole_until])
            self.close_connection = self.close_connection or whole_until is not None

        def _refuse(self, refusal: Refusal) -> None:
            self.close_connection = True
            if refusal.status:
                self.send_response(refusal.status)
                self.send_header("Content-Length", str(len(refusal.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(refusal.body.encode())

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - names of the base

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    wire = Wire(f"http://127.0.0.1:{proxy.server_address[1]}")
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield wire
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


@dataclass
class Store:
    """A bucket, the server behind it for whoever fills it, and the wire for who is tested."""

    server: str
    wire: Wire
    bucket: str

    def url(self, prefix: str = "") -> str:
        """The bucket, or a prefix of it, as settings name it."""
        return f"s3://{self.bucket}/{prefix}" if prefix else f"s3://{self.bucket}"

    def put(self, key: str, content: bytes) -> None:
        """Write an object, past the wire."""
        self._ask("PUT", key, content)

    def delete(self, key: str) -> None:
        """Remove an object, past the wire."""
        self._ask("DELETE", key)

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Write every file of a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def settings(self, settings: Settings, **more: Any) -> Settings:
        """The settings of somebody who reads libraries in this store over the wire."""
        changes = {"library_s3_endpoint": self.wire.url, "library_s3_key": KEY, "s3_retry_seconds": 0.0, **more}
        given = settings.model_dump(exclude_unset=True)
        return Settings(_env_file=None, **{**given, "library_poll_seconds": 0.0, **changes})  # type: ignore[call-arg]

    def create(self) -> None:
        """Make the bucket."""
        self._ask("PUT", None)

    def _ask(self, method: str, key: str | None, content: bytes | None = None) -> None:
        host, _, port = urlsplit(self.server).netloc.partition(":")
        connection = HTTPConnection(host, int(port), timeout=60)
        try:
            path = f"/{self.bucket}" if key is None else f"/{self.bucket}/{quote(key)}"
            connection.request(method, path, content, {"Authorization": _OWNER})
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, (answer.status, said)
