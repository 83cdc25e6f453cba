"""Conventions: addresses, health, errors, times, ids, request ids."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.contract.conftest import World
from tests.contract.service import API, UNKNOWN_ID, Service, as_problem
from tests.databases import scratch_database
from tests.serving.conftest import Server

HOSTILE: list[Any] = [
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    "\x00",
    "\ud800",
    "'; DROP TABLE adapters; --",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "🐉" * 2000,
    [],
    [[[]]],
    {},
    {"$ne": None},
]
TIMES = ("created_at", "updated_at", "published_at", "last_ingested_at", "json_file_mtime")


def operations(client: httpx.Client) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path with ids filled in, operation) of every documented operation."""
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), re.sub(r"\{[^}]*\}", UNKNOWN_ID, path), operation


def test_routes_are_versioned(client: httpx.Client) -> None:
    """Every route is under `/api`, versioned as `/api/v1/…`. The aliases stay out of the OpenAPI document."""
    paths = list(client.get("/openapi.json").json()["paths"])
    assert {path for path in paths if not path.startswith("/api/v1/")} == {"/health", "/health/ready"}


@pytest.mark.parametrize("path", ["/stats", f"/similar/{UNKNOWN_ID}", f"/embeddings/{UNKNOWN_ID}/status"])
def test_recommendations_have_an_alias(client: httpx.Client, path: str) -> None:
    """`/api/recommendations/…` (no `v1`) answers the same as `/api/v1/recommendations/…`"""
    answers = [client.get(f"{prefix}/recommendations{path}") for prefix in ("/api", "/api/v1")]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json().keys() == answers[1].json().keys()


def test_the_alias_of_recommendations_takes_bodies(client: httpx.Client) -> None:
    """`/api/recommendations/…` (no `v1`) answers the same as `/api/v1/recommendations/…`"""
    answers = [client.post(f"{prefix}/recommendations/prompt", json={"prompt": "ink"}) for prefix in ("/api", API)]
    found = [[item["lora_id"] for item in answer.json()["recommendations"]] for answer in answers]
    assert found[0] == found[1]
    for prefix in ("/api", API):
        as_problem(client.post(f"{prefix}/recommendations/embeddings/compute", json={"lora_id": UNKNOWN_ID}), 404)


@pytest.mark.parametrize("path", ["/stats", "/featured-loras", "/activity-feed"])
def test_the_dashboard_has_two_addresses(client: httpx.Client, path: str) -> None:
    """the dashboard is `/api/dashboard/…` and `/api/v1/dashboard/…`"""
    answers = [client.get(f"{prefix}/dashboard{path}") for prefix in ("/api", "/api/v1")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert type(answers[0].json()) is type(answers[1].json())


def test_it_says_that_it_lives(client: httpx.Client) -> None:
    """`/health` (alive)"""
    assert client.get("/health").status_code == 200


def test_it_says_whether_it_is_ready(client: httpx.Client) -> None:
    """`/health/ready` (database, index, Dagster: each with its state)"""
    checks = client.get("/health/ready").json()["checks"]
    assert {"database", "index", "dagster"} <= checks.keys()
    assert all(isinstance(check["status"], str) for check in checks.values())


def test_documents_are_served(client: httpx.Client) -> None:
    """`/openapi.json`, `/docs`"""
    assert client.get("/openapi.json").json()["openapi"].startswith("3.")
    assert client.get("/docs").headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/nothing", "/api/v2/adapters", "/api/v1/adapters/x/y/z", "//", "/%00"]
)
def test_unknown_routes_are_problems(client: httpx.Client, path: str) -> None:
    """Errors are RFC 9457 problem details … So do 404s of unknown routes"""
    problem = as_problem(client.get(httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode())), 404)
    assert problem["title"] == "Not Found"


def test_wrong_methods_are_problems(client: httpx.Client) -> None:
    """So do … 405"""
    response = client.put(f"{API}/adapters")
    as_problem(response, 405)
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} x', b'{"name": "\\ud800"}', b"NaN", b"null"],
    ids=lambda body: ascii(body[:20]),
)
def test_malformed_bodies_are_problems(client: httpx.Client, body: bytes) -> None:
    """So do … malformed JSON"""
    for path in ("/adapters", "/recommendations/prompt", "/compose"):
        response = client.post(API + path, content=body, headers={"Content-Type": "application/json"})
        if path == "/compose" and body in (b"", b"null"):
            continue  # nothing in it is required
        as_problem(response, 422)


def test_bodies_of_another_type_are_problems(client: httpx.Client) -> None:
    """So do … malformed JSON"""
    for path in ("/adapters", "/recommendations/prompt"):
        as_problem(client.post(API + path, data={"name": "x", "prompt": "x"}), 422)


def test_problems_say_where(client: httpx.Client) -> None:
    """`type`, `title`, `status`, `detail` (a string), `instance`; validation errors (422) add `errors`"""
    problem = as_problem(client.get(f"{API}/adapters", params={"limit": 0}), 422)
    assert problem["instance"] == f"{API}/adapters"
    assert problem["errors"][0]["loc"] == ["query", "limit"]
    assert as_problem(client.get(f"{API}/adapters/{UNKNOWN_ID}"), 404)["instance"] == f"{API}/adapters/{UNKNOWN_ID}"


def test_nothing_in_a_query_breaks_it(client: httpx.Client) -> None:
    """Nothing a client sends may cause a 500 or poison a later answer."""
    for method, path, operation in operations(client):
        if method != "GET":
            continue
        for parameter in operation.get("parameters", []):
            for value in ("", "\x00", "é" * 300, "-1", "1e999", "99999999999999999999", "{", "[1]", "' OR 1=1 --"):
                if parameter["in"] == "query":
                    response = client.get(path, params={parameter["name"]: value})
                    assert response.status_code < 500, (path, parameter["name"], value, response.text[:300])
    assert client.get(f"{API}/adapters").status_code == 200


def test_nothing_in_a_body_breaks_it(client: httpx.Client) -> None:
    """Nothing a client sends may cause a 500 or poison a later answer."""
    document = client.get("/openapi.json").json()
    before = client.get(f"{API}/adapters", params={"limit": 1}).json()["total"]
    for method, path, operation in operations(client):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if not content or "/generation" in path or "/deliveries" in path:
            continue
        schema = content["schema"]
        schema = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
        for field in [*schema.get("properties", {}), "no_such_field"]:
            for value in HOSTILE:
                body = json.dumps({field: value}).encode()
                response = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
                assert response.status_code < 500, (method, path, field, ascii(value)[:80], response.text[:300])
    page = client.get(f"{API}/adapters", params={"limit": 500})
    assert page.status_code == 200
    assert page.json()["total"] == before


def test_an_unexpected_failure_says_nothing_of_the_inside(
    world: World, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    """unexpected failures (500 with a request id and no trace, SQL or path inside)"""
    dialect = "sqlite" if world.database.is_sqlite else "postgresql"
    with scratch_database(request, tmp_path, dialect) as database:
        url = database.engine.url.render_as_string(hide_password=False)
        server = Server(world.settings_for().model_copy(update={"database_url": url}))
        server.start()
        try:
            with database.write() as connection:
                connection.execute(text("ALTER TABLE adapters RENAME TO moved"))
            response = server.client.get(f"{API}/adapters/{UNKNOWN_ID}")
        finally:
            server.stop()
    problem = as_problem(response, 500)
    assert problem["request_id"] == response.headers["x-request-id"]
    for inside in (
        "select",
        "adapters.",
        "traceback",
        "sqlalchemy",
        "sqlite",
        "psycopg",
        "relation",
        ".py",
        str(tmp_path),
    ):
        assert inside not in response.text.lower().replace(problem["instance"].lower(), "")


def moments(value: Any) -> Iterator[str]:
    """Every time in an answer."""
    if isinstance(value, dict):
        yield from (found for key, found in value.items() if key in TIMES and found is not None)
        for nested in value.values():
            yield from moments(nested)
    elif isinstance(value, list):
        for nested in value:
            yield from moments(nested)


def test_times_have_a_zone(service: Service) -> None:
    """Times are RFC 3339 with a zone … times end in `Z` or an offset."""
    adapter = service.create(published_at="2025-03-02T09:30:00+02:00")
    found = [*moments(service.get("/adapters", limit=50)), *moments(adapter)]
    assert len(found) > 10
    for moment in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", moment), moment
    assert datetime.fromisoformat(adapter["published_at"]) == datetime.fromisoformat("2025-03-02T07:30:00Z")


def test_a_time_without_a_zone_is_not_guessed_or_is_utc(service: Service) -> None:
    """Times are RFC 3339 with a zone."""
    body = {"name": service.name(), "file_path": str(service.weight_file()), "published_at": "2025-03-02T09:30:00"}
    response = service.client.post(f"{API}/adapters", json=body)
    if response.status_code == 201:
        service.client.delete(f"{API}/adapters/{response.json()['adapter']['id']}")
        assert response.json()["adapter"]["published_at"] == "2025-03-02T09:30:00Z"
    else:
        as_problem(response, 422)


def test_ids_are_uuids(service: Service) -> None:
    """Ids are UUID strings."""
    for item in [*service.get("/adapters", limit=20)["items"], service.create()]:
        assert str(uuid.UUID(item["id"])) == item["id"]


def test_unknown_body_fields_are_refused(service: Service) -> None:
    """Unknown body fields are a 422"""
    adapter = service.create()
    body = {"name": service.name(), "file_path": str(service.weight_file()), "colour": "red"}
    assert service.refused("POST", "/adapters", 422, json=body)["errors"][0]["loc"] == ["body", "colour"]
    for method, path, fields in (
        ("PATCH", f"/adapters/{adapter['id']}", {}),
        ("POST", f"/adapters/{adapter['id']}/activate", {}),
        ("POST", "/adapters/bulk", {"action": "activate", "lora_ids": []}),
        ("POST", "/compose", {}),
        ("POST", "/recommendations/prompt", {"prompt": "x"}),
        ("POST", "/recommendations/embeddings/compute", {"lora_id": adapter["id"]}),
        ("POST", "/recommendations/embeddings/batch", {"lora_ids": [adapter["id"]]}),
    ):
        problem = service.refused(method, path, 422, json={**fields, "colour": "red"})
        assert ["body", "colour"] in [error["loc"] for error in problem["errors"]], path


def test_request_ids_are_taken_or_made(client: httpx.Client) -> None:
    """`X-Request-ID` is taken or made, returned, and logged."""
    made = client.get("/health").headers["x-request-id"]
    assert made
    assert client.get("/health").headers["x-request-id"] != made
    for path in ("/health", f"{API}/adapters", "/nothing"):
        assert client.get(path, headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    strange = client.get("/health", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert strange != "a b\tc"
