"""Keys, roles and origins, on a server that has some."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.contract.conftest import ORIGIN
from tests.contract.service import API, UNKNOWN_ID, as_problem
from tests.contract.test_conventions import operations

READER, EDITOR, ADMIN = ({"X-API-Key": f"{role}-secret"} for role in ("reader", "editor", "admin"))
EDITORS = ("/adapters", "/compose", "/deliveries", "/generation", "/recommendations/embeddings")
ADMINS = ("/audit",)
"""Beyond the contract: who changed what is for admins to read."""
READERS_POSTS = ("/recommendations/prompt", "/generation/backends", "/analytics/query")


def test_every_route_but_the_public_ones_needs_a_key(guarded: httpx.Client) -> None:
    """With keys configured, every route but `/health*`, `/docs`, `/openapi.json` needs one"""
    for method, path, _ in operations(guarded):
        if path.startswith("/health"):
            assert guarded.request(method, path).status_code in (200, 503)
            continue
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
            as_problem(guarded.request(method, path, headers=headers), 401)
    for path in ("/docs", "/openapi.json"):
        assert guarded.get(path).status_code == 200
    as_problem(guarded.get("/api/dashboard/stats"), 401)
    as_problem(guarded.get(f"{API}/adapters", params={"api_key": "reader-secret"}), 401)


def test_a_key_is_sent_in_either_header(guarded: httpx.Client) -> None:
    """Optional API keys (`X-API-Key`, also `Authorization: Bearer`)."""
    for headers in (READER, {"Authorization": "Bearer reader-secret"}, {"Authorization": "bearer reader-secret"}):
        assert guarded.get(f"{API}/adapters", headers=headers).status_code == 200


def test_a_reader_reads(guarded: httpx.Client) -> None:
    """`reader` (GET, `POST /recommendations/prompt`, `POST /generation/backends`, the analytics query)"""
    for method, path, _ in operations(guarded):
        if path.startswith("/health") or path.removeprefix(API).startswith(ADMINS):
            continue
        allowed = method == "GET" or path.removeprefix(API) in READERS_POSTS
        response = guarded.request(method, path, headers=READER)
        assert (response.status_code == 403) is not allowed, (method, path, response.status_code)
        assert response.status_code != 401


def test_an_editor_changes_adapters_and_makes_requests(guarded: httpx.Client) -> None:
    """`editor` (also adapters, compose, deliveries, generation, computing embeddings), `admin` (all)"""
    for method, path, _ in operations(guarded):
        if path.startswith("/health") or path.removeprefix(API).startswith(ADMINS):
            continue
        route = path.removeprefix(API)
        allowed = method == "GET" or route in READERS_POSTS or route.startswith(EDITORS)
        response = guarded.request(method, path, headers=EDITOR, content=b"{")
        assert (response.status_code == 403) is not allowed, (method, path, response.status_code)
        assert guarded.request(method, path, headers=ADMIN, content=b"{").status_code not in (401, 403)


def test_the_page_is_public(guarded: httpx.Client) -> None:
    """`/` and its static files are public"""
    for path in ("/", "/static/app.js"):
        assert guarded.get(path).status_code == 200


def test_previews_are_shown_without_a_key_for_a_while(guarded: httpx.Client) -> None:
    """image and preview URLs in answers are signed and expire, so that a browser can show them."""
    items = guarded.get(f"{API}/adapters", params={"limit": 100}, headers=READER).json()["items"]
    url = next(item["preview_url"] for item in items if item["preview_url"])
    assert guarded.get(url).headers["content-type"].startswith("image/")
    address = urlsplit(url)
    as_problem(guarded.get(address.path), 401)
    as_problem(guarded.get(f"{address.path}?{address.query.replace('expires=', 'expires=1')}"), 401)
    as_problem(guarded.get(f"{address.path.removesuffix('/preview')}?{address.query}"), 401)


def test_without_keys_only_loopback_is_bound(tmp_path: Path) -> None:
    """No keys configured: open, and bound to loopback only."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
    command = [sys.executable, "-m", "serving.cli.main", "serve", "--host", "0.0.0.0", "--port", "28431"]
    environment["LORA_MANAGER_DATA_DIR"] = str(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "LORA_MANAGER_API_KEYS" in done.stderr


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
def test_configured_origins_are_allowed(guarded: httpx.Client, method: str) -> None:
    """CORS with configured origins"""
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "x-api-key,content-type",
    }
    response = guarded.options(f"{API}/adapters/{UNKNOWN_ID}", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert method in response.headers["access-control-allow-methods"]


def test_other_origins_are_not_reflected(guarded: httpx.Client, client: httpx.Client) -> None:
    """an origin that is not configured is never reflected with credentials."""
    for asked in (guarded, client):
        for origin in ("https://evil.example", f"{ORIGIN}.evil.example", "null"):
            for response in (
                asked.get("/health", headers={"Origin": origin}),
                asked.options(f"{API}/adapters", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}),
            ):
                assert response.headers.get("access-control-allow-origin") not in (origin, "*")
    assert guarded.get(f"{API}/adapters", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
