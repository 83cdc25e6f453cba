"""Who may come at all: names in Host, pages in Origin; and the headers that every answer has."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from serving.addresses import AddressGuard
from tests.serving.conftest import KEYS
from warehouse.engine import Database
from warehouse.settings import Settings

FRONT = "https://front.example"


def status(client: httpx.Client, host: str) -> int:
    return client.get("/health", headers={"Host": host}).status_code


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000", "[::1]", "a.localhost", "localhost."],
)
def test_names_of_this_machine_are_answered(sqlite_client: httpx.Client, host: str) -> None:
    assert status(sqlite_client, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "evil.example:8000", "192.168.1.5", "0.0.0.0"),
        *(
            "[::2]",
            "evillocalhost",
            "127.0.0.1@evil.example",
            "[::1].evil.example",
            "2130706433",
            "",
            "localhost:1@evil.example",
        ),
    ],
)
def test_other_names_are_not_while_there_are_no_keys(sqlite_client: httpx.Client, host: str) -> None:
    response = sqlite_client.get("/api/v1/adapters", headers={"Host": host})
    assert response.status_code in (400, 421)
    assert response.headers["content-type"] == "application/problem+json"
    assert "items" not in response.text


def test_configured_names_and_keys_open_it(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    named = serve(sqlite_database, allowed_hosts=["Loras.example"])
    assert status(named, "loras.example:8000") == 200
    assert status(named, "evil.example") == 421
    assert status(serve(sqlite_database, api_keys=KEYS), "any.example") == 200


@pytest.mark.parametrize("hosts", ["Host: localhost\r\nHost: evil.example\r\n", ""])
def test_a_request_has_one_host(sqlite_client: httpx.Client, hosts: str) -> None:
    with socket.create_connection((sqlite_client.base_url.host, sqlite_client.base_url.port or 0), timeout=20) as raw:
        raw.sendall(f"GET /health HTTP/1.1\r\n{hosts}\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "http://localhost", ""])
def test_pages_of_others_change_nothing(sqlite_client: httpx.Client, origin: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        refused = sqlite_client.request(method, "/api/v1/adapters", headers={"Origin": origin}, content=b"{}")
        assert (refused.status_code, refused.json()["status"]) == (403, 403)


def test_our_page_and_configured_origins_may(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    client = serve(sqlite_database, cors_origins=[FRONT])
    own = str(client.base_url).rstrip("/")
    for origin in (own, own.upper(), FRONT):
        asked = client.post("/api/v1/recommendations/prompt", json={"prompt": ""}, headers={"Origin": origin})
        assert asked.status_code == 422
    for origin in (f"{FRONT}.evil.example", f"{FRONT}:8443", "http://front.example", "https://evil-front.example"):
        refused = client.post("/api/v1/recommendations/prompt", json={"prompt": ""}, headers={"Origin": origin})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
    two = [("Origin", FRONT), ("Origin", "http://evil.example")]
    assert client.post("/api/v1/recommendations/prompt", json={"prompt": ""}, headers=two).status_code == 403


def asked(settings: Settings, **scope: Any) -> tuple[bool, list[Message]]:
    """(whether a request got through the guard, what the guard sent)."""
    reached, sent = [], []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    complete = {"path": "/ws/progress", "state": {}, "http_version": "1.1", **scope}
    asyncio.run(AddressGuard(inner, settings)(complete, receive, send))
    return bool(reached), sent


@pytest.mark.parametrize(
    ("origin", "passes"), [(b"http://localhost:8000", True), (b"http://evil.example", False), (None, True)]
)
def test_a_socket_is_opened_for_our_page_alone(settings: Settings, origin: bytes | None, passes: bool) -> None:
    headers = [(b"host", b"localhost:8000")] + ([(b"origin", origin)] if origin else [])
    reached, sent = asked(settings, type="websocket", headers=headers)
    assert reached is passes
    assert [message["code"] for message in sent] == ([] if passes else [1008])


@pytest.mark.parametrize(
    ("address", "passes"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("fe80::1%eth0", False)]
)
def test_without_keys_connections_of_other_machines_are_refused(settings: Settings, address: str, passes: bool) -> None:
    headers = [(b"host", b"localhost:8000")]
    reached, _ = asked(settings, type="http", method="GET", headers=headers, server=(address, 8000))
    assert reached is passes


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/api/v1/adapters", "/no", "/metrics", "/static/app.js"])
def test_every_answer_has_the_headers(sqlite_client: httpx.Client, path: str) -> None:
    headers = sqlite_client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "Origin" in headers["vary"]
    page = path in ("/", "/docs", "/static/app.js")
    assert headers["cache-control"] == ("no-cache" if page else "no-store")
    for name in headers:
        assert len(headers.get_list(name)) == 1, name
    assert "server" not in headers
