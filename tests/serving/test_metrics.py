"""What `/metrics` shows: every name documented, labels bounded, nothing read that grows with the library."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, event

from tests.serving.conftest import KEYS
from tests.warehouse.queries.library import fill
from warehouse.engine import Database

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
UNKNOWN = "0190a6f2-0000-7000-8000-000000000000"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(client: httpx.Client) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(response.text))
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for f in families for each in f.samples}


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"lora_manager_{name}", tuple(sorted(labels.items()))))


def test_every_metric_is_documented_and_no_other(sqlite_client: httpx.Client) -> None:
    text = sqlite_client.get("/metrics").text
    exported = {name for name in re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE) if not name.endswith("_created")}
    documented = set(re.findall(r"^\| `((?:lora_manager|process)_\w+)` \|", OPERATIONS, re.MULTILINE))
    assert exported == documented


def test_requests_are_counted_by_the_template_of_their_route(sqlite_client: httpx.Client) -> None:
    for number in range(3):
        sqlite_client.get(f"/api/v1/adapters/{UNKNOWN[:-1]}{number}", params={"q": str(number)})
        sqlite_client.get(f"/nothing/{number}")
        sqlite_client.request("PROPFIND", "/health")
    sqlite_client.head("/api/v1/adapters")
    sqlite_client.get("/api/dashboard/featured-loras")
    sqlite_client.get("/static/app.js")
    samples = scraped(sqlite_client)
    # A request is counted when all of it is sent, which the client may see a moment before.
    while value(samples, "http_requests_total", method="GET", route="/static", status="200") is None:
        time.sleep(0.01)
        samples = scraped(sqlite_client)

    def count(method: str, route: str, status: int) -> float | None:
        return value(samples, "http_requests_total", method=method, route=route, status=str(status))

    assert count("GET", "/api/v1/adapters/{adapter_id}", 404) == 3
    assert count("GET", "none", 404) == 3
    assert count("HEAD", "/api/v1/adapters", 200) == 1
    assert count("GET", "/api/dashboard/featured-loras", 200) == 1
    assert count("GET", "/static", 200) == 1
    assert count("other", "/health", 405) == 3
    assert value(samples, "http_request_duration_seconds_count", method="HEAD", route="/api/v1/adapters") == 1
    assert value(samples, "http_requests_in_flight") == 1
    shown = {dict(labels).get("route", "") for _, labels in samples}
    assert not any(UNKNOWN[:8] in route or route.startswith("/nothing") for route in shown)


def test_bodies_are_measured(sqlite_client: httpx.Client) -> None:
    sqlite_client.post("/api/v1/recommendations/prompt", json={"prompt": ""})
    samples = scraped(sqlite_client)
    assert value(samples, "http_request_body_bytes_sum") == len(b'{"prompt":""}')
    assert (value(samples, "http_response_body_bytes_sum") or 0) > 100


def test_the_library_the_pool_and_the_statements_are_shown(database: Database, client: httpx.Client) -> None:
    fill(database, 30)
    before = scraped(client)
    # The recommender and others open their connections when they come to it.
    while not value(before, "pool_connections", state="idle") or value(before, "pool_connections", state="checked_out"):
        time.sleep(0.02)
        before = scraped(client)
    assert value(before, "adapters") == 30
    states = {dict(labels)["state"]: each for (name, labels), each in before.items() if name.endswith("by_file_state")}
    assert sum(states.values()) == 30
    assert value(before, "database_up") == 1
    assert value(before, "pool_size") == 16
    client.get("/api/v1/adapters")
    after = scraped(client)
    for name in ("statements_total", "statement_seconds_total"):
        labels = {"verb": "select", "table": "adapters"}
        assert (value(after, name, **labels) or 0) > (value(before, name, **labels) or 0)
    assert (value(after, "pool_checkouts_total") or 0) > (value(before, "pool_checkouts_total") or 0)
    states = {dict(labels)["state"] for (name, labels) in after if name == "lora_manager_recommender_state"}
    assert states == {"loading", "ready", "failed", "absent"}


def test_a_scrape_scans_nothing(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    fill(sqlite_database, 300)
    client = serve(sqlite_database)
    # The recommender reads the library when it is opened, which is no part of a scrape.
    while value(scraped(client), "recommender_state", state="loading"):
        time.sleep(0.05)
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        scraped(client)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    asked = [statement for statement in executed if statement.startswith("SELECT")]
    assert 3 <= len(asked) <= 12
    tables = set(re.findall(r"FROM (\w+)", " ".join(asked)))
    assert tables <= {"facet_counts", "job_counts", "lanes", "roots", "pointers", "generations"}


def test_a_scrape_needs_a_reader(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    client = serve(sqlite_database, api_keys=KEYS)
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"X-API-Key": "reader-secret"}).status_code == 200


def test_applications_of_one_process_count_apart(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    one, two = serve(sqlite_database), serve(sqlite_database)
    one.get("/api/v1/adapters")
    labels = {"method": "GET", "route": "/api/v1/adapters", "status": "200"}
    assert value(scraped(one), "http_requests_total", **labels) == 1
    assert value(scraped(two), "http_requests_total", **labels) is None
