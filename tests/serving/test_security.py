"""Keys, roles and origins over HTTP."""

from collections.abc import Callable

import httpx
import pytest

from serving.security import required_role
from tests.serving.conftest import KEYS
from warehouse.engine import Database
from warehouse.settings import Role

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
