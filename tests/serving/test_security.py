"""Keys, roles and origins over HTTP."""

import asyncio
import hashlib
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from serving.app import create_app
from serving.security import is_public, required_role
from tests.serving.conftest import KEYS
from warehouse.engine import Database
from warehouse.settings import Role, Settings

UNKNOWN = "0190a6f2-0000-7000-8000-000000000000"
ROUTES = [
    "/api/v1/adapters",
    "/api/v1/adapters/tags",
    f"/api/v1/adapters/{UNKNOWN}",
    f"/api/v1/adapters/{UNKNOWN}/preview",
    "/api/dashboard/stats",
    "/api/v1/dashboard/activity-feed",
    "/api/recommendations/stats",
    f"/api/v1/recommendations/similar/{UNKNOWN}",
    "/nothing",
]


@pytest.fixture
def guarded(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> httpx.Client:
    return serve(sqlite_database, api_keys=KEYS, cors_origins=["https://front.example"])


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_needs_a_key(guarded: httpx.Client, path: str) -> None:
    for headers in (
        {},
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic cmVhZGluZw=="},
    ):
        response = guarded.get(path, headers=headers)
        assert response.status_code == 401, headers
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert guarded.get(path, params={"api_key": "reader-secret"}).status_code == 401
    for headers in ({"X-API-Key": "reader-secret"}, {"Authorization": "bearer reader-secret"}):
        assert guarded.get(path, headers=headers).status_code not in (401, 403)


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/health/ready", "/static/app.js"])
def test_pages_documents_and_health_are_public(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code in (200, 503)


def test_a_body_is_not_read_before_the_key_is_known(guarded: httpx.Client) -> None:
    response = guarded.post(
        "/api/v1/recommendations/prompt", content=b"{", headers={"content-type": "application/json"}
    )
    assert response.status_code == 401


def test_a_reader_may_ask_and_not_change(guarded: httpx.Client) -> None:
    reader = {"X-API-Key": "reader-secret"}
    assert guarded.post("/api/v1/recommendations/prompt", json={"prompt": ""}, headers=reader).status_code == 422
    assert guarded.delete(f"/api/v1/adapters/{UNKNOWN}", headers=reader).status_code == 403
    editor = {"X-API-Key": "editor-secret"}
    assert guarded.delete(f"/api/v1/adapters/{UNKNOWN}", headers=editor).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api/v1/adapters", Role.READER),
        ("POST", "/api/recommendations/prompt", Role.READER),
        ("POST", "/api/v1/generation/backends", Role.READER),
        ("POST", "/api/v1/analytics/query", Role.READER),
        ("POST", "/api/v1/adapters", Role.EDITOR),
        ("POST", "/api/v1/compose", Role.EDITOR),
        ("DELETE", "/api/v1/generation/results/1", Role.EDITOR),
        ("POST", "/api/recommendations/embeddings/compute", Role.EDITOR),
        ("GET", "/api/v1/audit", Role.ADMIN),
        ("HEAD", "/api/audit/x", Role.ADMIN),
        ("GET", "/api/v1/auditx", Role.READER),
        ("POST", "/api/v1/adaptersx", Role.ADMIN),
        ("POST", "/api/v1/anything/new", Role.ADMIN),
        ("POST", "/api/v1/recommendations/prompt/", Role.ADMIN),
    ],
)
def test_roles_are_closed(method: str, path: str, role: Role) -> None:
    assert required_role(method, path) is role


TRICKS = st.sampled_from(
    ["/", "//", "%2f", "%2e%2e/", "../", "./", "\n", " ", ";", "?", "#", "\\", "\0", "api/", "v1/", "API/", "X"]
)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "post"]
PROTECTED = [
    "/api/v1/adapters",
    f"/api/v1/adapters/{UNKNOWN}",
    "/api/recommendations/prompt",
    "/api/v1/recommendations/prompt",
    f"/api/v1/recommendations/similar/{UNKNOWN}",
    "/api/v1/dashboard/stats",
    "/metrics",
]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("data")))  # type: ignore[call-arg]


def endpoint_of(application: FastAPI, method: str, path: str) -> object:
    """What the router calls for a request; None where it calls nothing. What is called fails, for nothing is open."""
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "root_path": "", "app": application}
    scope |= {"headers": [], "query_string": b"", "state": {}}

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        pass

    with suppress(Exception):
        asyncio.run(application.router(scope, receive, send))
    return scope.get("endpoint")


def test_the_router_is_asked_as_it_routes(application: FastAPI) -> None:
    for path in PROTECTED:
        method = "POST" if path.endswith("/prompt") else "GET"
        assert endpoint_of(application, method, path) is not None, path
        assert endpoint_of(application, method, path + "x/y/z") is None


@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PROTECTED),
    edits=st.lists(st.tuples(st.integers(0, 80), TRICKS), max_size=4),
)
@hypothesis.settings(max_examples=400, deadline=None)
def test_no_spelling_of_a_path_gets_more_than_its_role(
    application: FastAPI, method: str, path: str, edits: list[tuple[int, str]]
) -> None:
    spelt = path
    for position, trick in edits:
        spelt = spelt[:position] + trick + spelt[position:]
    reached = endpoint_of(application, method, spelt)
    if reached is not None and reached is endpoint_of(application, method, path):
        assert not is_public(spelt)
        least = {Role.READER: 0, Role.EDITOR: 1, Role.ADMIN: 2}
        assert least[required_role(method, spelt)] >= least[required_role(method, path)]
    elif is_public(spelt):
        assert spelt in ("/", "/health", "/health/ready", "/docs", "/openapi.json") or spelt.startswith("/static/")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../api/v1/adapters",
            "/static/%2e%2e/api/v1/adapters",
            "/static//api/v1/adapters",
            "//api/v1/adapters",
        ),
        *("/health/../api/v1/adapters", "/api/v1/adapters/", "/API/v1/adapters", "/docs/../metrics", "/openapi.json/"),
        *("/static/..%2f..%2fapp.py", "/static/%2fetc/passwd", "/static/..\\..\\app.py", "/static/%00"),
    ],
)
def test_no_spelling_is_answered_without_a_key(guarded: httpx.Client, path: str) -> None:
    with socket.create_connection((guarded.base_url.host, guarded.base_url.port or 0), timeout=20) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer[9:12] in (b"401", b"404", b"307", b"405"), answer
    assert b"items" not in answer
    assert b"create_app" not in answer


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "https://front.example.evil.example", "https://evilfront.example"),
        *(
            "http://front.example",
            "https://front.example:444",
            "https://front.example/",
            "https://front.example@evil.example",
        ),
        *("HTTPS://FRONT.EXAMPLE.", "", "*", "https://*"),
    ],
)
def test_no_other_origin_is_reflected(guarded: httpx.Client, origin: str) -> None:
    asked = {"Origin": origin, "Cookie": "a=b", "X-API-Key": "reader-secret"}
    answer = guarded.get("/api/v1/adapters", headers=asked)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    preflight = guarded.options("/api/v1/adapters", headers={**asked, "Access-Control-Request-Method": "DELETE"})
    assert "access-control-allow-origin" not in preflight.headers


def test_keys_from_a_file_and_as_digests(
    sqlite_database: Database, serve: Callable[..., httpx.Client], tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"from-a-digest").hexdigest()
    (tmp_path / "keys").write_text(f"# who may\n\nfiled:editor:from-a-file\nhashed:reader:sha256:{digest}\n")
    client = serve(sqlite_database, api_keys="set:reader:from-settings", api_keys_file=tmp_path / "keys")
    for secret in ("from-settings", "from-a-file", "from-a-digest"):
        assert client.get("/api/v1/adapters", headers={"X-API-Key": secret}).status_code == 200
    for secret in ("nothing", digest, f"sha256:{digest}"):
        assert client.get("/api/v1/adapters", headers={"X-API-Key": secret}).status_code == 401


def test_only_configured_origins_are_reflected(guarded: httpx.Client) -> None:
    ours = guarded.get("/health", headers={"Origin": "https://front.example"})
    assert ours.headers["access-control-allow-origin"] == "https://front.example"
    for origin in ("https://evil.example", "null", "https://front.example.evil.example"):
        theirs = guarded.get("/health", headers={"Origin": origin, "Cookie": "a=b"})
        assert "access-control-allow-origin" not in theirs.headers
    refused = guarded.get("/api/v1/adapters", headers={"Origin": "https://front.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://front.example")


def test_a_preflight_that_is_refused_is_a_problem(guarded: httpx.Client) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    refused = guarded.options("/api/v1/adapters", headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert "origin" in refused.json()["detail"]
    assert "access-control-allow-origin" not in refused.headers


def test_head_needs_the_key_that_get_needs(guarded: httpx.Client) -> None:
    assert guarded.head("/api/v1/adapters").status_code == 401
    assert guarded.head("/api/v1/adapters", headers={"X-API-Key": "reader-secret"}).status_code == 200


def test_a_preflight_needs_no_key(guarded: httpx.Client) -> None:
    response = guarded.options(
        "/api/v1/adapters",
        headers={
            "Origin": "https://front.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key,content-type",
        },
    )
    assert response.status_code == 200


def test_any_origin_never_comes_with_credentials(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    client = serve(sqlite_database, cors_origins=["*"])
    response = client.get("/health", headers={"Origin": "https://evil.example", "Cookie": "a=b"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers
