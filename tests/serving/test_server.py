"""The server ends what dawdles and refuses what is too large, as seen by raw sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from serving import middleware, protocol
from serving.middleware import MAX_BODY_BYTES, MAX_GENERATION_BYTES, body_limit
from warehouse.engine import Database

HEAD = b"POST /api/v1/recommendations/prompt HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, sqlite_client: httpx.Client) -> httpx.Client:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(middleware, "_BODY_SECONDS", 0.3)
    return sqlite_client


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20)


def answer(raw: socket.socket) -> bytes:
    """Everything until the server closes the connection; raises a timeout if it does not."""
    taken = b""
    while part := raw.recv(65536):
        taken += part
    return taken


def send_on(raw: socket.socket, data: bytes) -> None:
    """Send the same again and again, until the connection is closed or it has been enough."""
    for _ in range(4_000):
        raw.sendall(data)
        time.sleep(0.001)


def test_a_connection_that_says_nothing_is_closed(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        assert answer(raw).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("first", [b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"\r\n"])
def test_headers_that_drip_are_not_waited_for(impatient: httpx.Client, first: bytes) -> None:
    with connect(impatient) as raw:
        raw.sendall(first)
        dripping = threading.Event()

        def drip() -> None:
            while not dripping.wait(0.05):
                try:
                    raw.sendall(b"X-A: b\r\n" if first != b"\r\n" else b"\r\n")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            head, _, body = answer(raw).partition(b"\r\n\r\n")
        finally:
            dripping.set()
            thread.join()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 408


def test_a_second_request_that_drips_is_not_waited_for(impatient: httpx.Client) -> None:
    with connect(impatient) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"alive" in raw.recv(65536)
        raw.sendall(b"GET /hea")
        assert answer(raw).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_that_does_not_come_is_not_waited_for(impatient: httpx.Client, framing: bytes) -> None:
    with connect(impatient) as raw:
        raw.sendall(HEAD + framing)
        taken = answer(raw)
    assert taken.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in taken


def test_headers_have_a_bound(sqlite_client: httpx.Client) -> None:
    for start in (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"GET /"):
        with connect(sqlite_client) as raw:
            raw.sendall(start)
            try:
                for _ in range(64):
                    raw.sendall(b"x" * 2**14)
                    time.sleep(0.002)
            except OSError:
                pass
            try:
                taken = answer(raw)
            except ConnectionResetError:
                taken = b""
        assert taken[:13] in (b"", b"HTTP/1.1 431 ")
    assert sqlite_client.get("/health", headers={"X-A": "x" * 30_000}).status_code == 200


def test_trailers_have_a_bound(sqlite_client: httpx.Client) -> None:
    with connect(sqlite_client) as raw:
        raw.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_on(raw, b"X-A: " + b"x" * 1000 + b"\r\n")


def test_what_is_no_http_is_told_so_as_a_problem(sqlite_client: httpx.Client) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"FETCH / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with connect(sqlite_client) as raw:
            raw.sendall(garbage)
            assert answer(raw).startswith(b"HTTP/1.1 400 ")
    assert sqlite_client.get("/health").status_code == 200


def test_connections_beyond_the_bound_are_refused_and_the_others_go_on(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, max_connections=5)
    assert client.get("/health").status_code == 200
    idle = [connect(client) for _ in range(4)]
    with connect(client) as refused:
        assert answer(refused).startswith(b"HTTP/1.1 503 ")
    assert client.get("/health").status_code == 200
    for raw in idle:
        raw.close()


def test_a_body_has_the_bound_of_its_route(sqlite_client: httpx.Client) -> None:
    assert body_limit("/api/v1/adapters") == body_limit("/api/v1/generationx") == MAX_BODY_BYTES
    for path in ("/api/v1/generation/generate", "/api/v1/deliveries", "/api/v1/compose"):
        assert body_limit(path) == MAX_GENERATION_BYTES
    large = {"prompt": "x" * MAX_BODY_BYTES}
    refused = sqlite_client.post("/api/v1/recommendations/prompt", json=large)
    assert refused.status_code == 413
    assert "1 MiB" in refused.json()["detail"]
    assert refused.headers["connection"] == "close"
    assert sqlite_client.post("/api/v1/generation/generate", json=large).status_code == 422


def test_an_answer_that_is_not_taken_ends(
    monkeypatch: pytest.MonkeyPatch, sqlite_client: httpx.Client, tmp_path: Path
) -> None:
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.3)
    with connect(sqlite_client) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        question = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_on(raw, question)


@pytest.fixture(autouse=True)
def still_well(sqlite_client: httpx.Client) -> Iterator[None]:
    yield
    assert sqlite_client.get("/health").status_code == 200
