"""Analytics over HTTP: SQL with everything a hostile analyst tries, the catalog, the summary; on both dialects."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from sqlalchemy import insert

from serving import analysts
from serving.schemas.analytics import AnalyticsAnswer, AnalyticsCatalog, AnalyticsSummary
from tests.databases import scratch_database
from tests.processes import new_children
from tests.serving.conftest import KEYS, Server, scratch_settings
from tests.warehouse.marts import library
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database
from warehouse.marts import MARTS, export_marts
from warehouse.models import Activity, utc_now
from warehouse.queries.trends import TimeRange, span_of
from warehouse.settings import Settings

ROUTE = "/api/v1/analytics/query"
ARROW = "application/vnd.apache.arrow.stream"


Children = Callable[[], list[psutil.Process]]


@pytest.fixture(scope="module")
def sandboxes() -> Children:
    """Processes of queries that the server of this module started."""
    return new_children("sandbox.py")


@pytest.fixture(scope="module")
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models_dir: Any, sandboxes: Children
) -> Iterator[httpx.Client]:
    """A server of the small published library, for tests that change nothing. What is published is the same of either
    dialect: `test_a_library_of_either_dialect_is_asked`."""
    folder = tmp_path_factory.mktemp("asked")
    with scratch_database(request, folder, "sqlite") as database:
        library.fill(database)
        settings = scratch_settings(database, folder / "data", models_dir, api_keys=KEYS)
        export_marts(database, settings)
        server = Server(settings)
        server.start()
        server.client.headers["X-API-Key"] = "reader-secret"
        yield server.client
        server.stop()


def ask(client: httpx.Client, sql: str, **body: Any) -> httpx.Response:
    return client.post(ROUTE, json={"sql": sql, **body})


def rows_of(client: httpx.Client, sql: str, **body: Any) -> list[list[Any]]:
    response = ask(client, sql, **body)
    assert response.status_code == 200, response.text
    rows: list[list[Any]] = response.json()["rows"]
    return rows


def test_a_library_of_either_dialect_is_asked(
    database: Database, serve: Callable[..., httpx.Client], settings_for: Callable[..., Settings]
) -> None:
    library.fill(database)
    export_marts(database, settings_for(database))
    client = serve(database)
    assert rows_of(client, "SELECT count(*), max(downloads) FROM adapters") == [[5, 5_000]]
    assert rows_of(
        client, "SELECT name FROM adapters WHERE author = ? ORDER BY name DESC LIMIT 1", parameters=["作者"]
    ) == [["水墨画風 🖌️"]]
    for sql in ("DROP VIEW adapters", "FROM read_csv('/etc/passwd')", "SELECT nope FROM adapters"):
        assert ask(client, sql).status_code == 422


def test_a_question_is_answered_with_its_columns_and_its_publication(asked: httpx.Client) -> None:
    response = ask(asked, "SELECT name, downloads FROM adapters ORDER BY downloads DESC NULLS LAST", limit=2)
    answer = response.json()
    TypeAdapter(AnalyticsAnswer).validate_python(answer)
    assert answer.keys() == AnalyticsAnswer.model_fields.keys()
    assert answer["columns"] == [{"name": "name", "type": "VARCHAR"}, {"name": "downloads", "type": "BIGINT"}]
    assert (answer["row_count"], answer["truncated"], len(answer["rows"])) == (2, True, 2)
    assert answer["rows"][0][1] == 5_000
    assert datetime.fromisoformat(answer["published_at"]).tzinfo is not None
    assert answer["generation"] == asked.get("/api/v1/analytics/catalog").json()["generation"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1.25::DECIMAL(9, 2)", 1.25),
        ("'12345678901234567890.12'::DECIMAL(38, 2)", "12345678901234567890.12"),
        ("9007199254740991", 2**53 - 1),
        ("9007199254740992", str(2**53)),
        ("-9007199254740992", str(-(2**53))),
        ("170141183460469231731687303715884105727::HUGEINT", str(2**127 - 1)),
        ("sum(downloads)", 5_100),
        ("'nan'::DOUBLE", None),
        ("'-inf'::FLOAT", None),
        ("1e400", None),
        ("TIMESTAMP '2026-03-01 10:00:00.5'", "2026-03-01T10:00:00.500000Z"),
        ("TIMESTAMPTZ '2026-03-01 10:00:00+02'", "2026-03-01T08:00:00Z"),
        ("DATE '2026-03-01'", "2026-03-01"),
        ("DATE '99999-03-01'", "99999-03-01"),
        ("INTERVAL 36 HOUR", "P1DT43200S"),
        ("'\\xAA\\x00'::BLOB", "qgA="),
        ("[1, NULL, 9007199254740993]", [1, None, "9007199254740993"]),
        (
            "{'at': TIMESTAMP '2026-03-01', 'n': ['nan'::DOUBLE]}",
            {"at": "2026-03-01T00:00:00Z", "n": [None]},
        ),
        ("MAP {DATE '2026-03-01': 1::HUGEINT}", {"2026-03-01": 1}),
        ("'水墨' || chr(0) || '\"'", '水墨\x00"'),
        ("uuid() IS NOT NULL", True),
    ],
)
def test_values_are_safe_for_every_reader_of_json(asked: httpx.Client, expression: str, value: Any) -> None:
    assert rows_of(asked, f"SELECT {expression} FROM adapters LIMIT 1")[0][0] == value


@pytest.mark.parametrize(
    ("sql", "parameters", "rows"),
    [
        ("SELECT ?::INTEGER + 1, ?", [1, "x'; DROP TABLE adapters; --"], [[2, "x'; DROP TABLE adapters; --"]]),
        ("SELECT $1, $1", ["a"], [["a", "a"]]),
        ("SELECT count(*) FROM adapters WHERE list_contains($names, name) OR $all", {"names": [], "all": True}, [[5]]),
        ("SELECT $a, $b, $c", {"a": None, "b": 0.5, "c": [1, 2]}, [[None, 0.5, [1, 2]]]),
        ("SELECT 1", [], [[1]]),
        ("SELECT 1", None, [[1]]),
    ],
)
def test_parameters_are_values_and_nothing_else(
    asked: httpx.Client, sql: str, parameters: Any, rows: list[list[Any]]
) -> None:
    assert rows_of(asked, sql, parameters=parameters) == rows


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT ?", []),
        ("SELECT ?", ["a", "b"]),
        ("SELECT 1", [1]),
        ("SELECT $a", {"b": 1}),
        ("SELECT ?, $a", [1]),
        ("SELECT ?::INTEGER", ["x"]),
        ("SELECT name FROM ?", ["adapters"]),
    ],
)
def test_parameters_that_do_not_fit_are_an_error_of_the_query(asked: httpx.Client, sql: str, parameters: Any) -> None:
    response = ask(asked, sql, parameters=parameters)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["loc"] == ["body", "sql"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sql": ""},
        {"sql": None},
        {"sql": 1},
        {"sql": "SELECT 1", "limit": 0},
        {"sql": "SELECT 1", "limit": 100_001},
        {"sql": "SELECT 1", "limit": "all"},
        {"sql": "SELECT 1", "more": 1},
        {"sql": "SELECT 1", "parameters": "x"},
        {"sql": "SELECT 1", "parameters": [{"x": 1}]},
        {"sql": "SELECT 1", "parameters": [2**63]},
        {"sql": "SELECT 1", "parameters": [[[1]]]},
        {"sql": "SELECT 1", "parameters": [0] * 1_001},
        {"sql": "SELECT '" + "x" * 100_000 + "'"},
    ],
)
def test_a_body_that_is_none_is_refused(asked: httpx.Client, body: Any) -> None:
    response = asked.post(ROUTE, json=body)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"sql": "SELECT 1", "parameters": [NaN]}', b"\xff"])
def test_a_body_that_is_no_json_is_refused(asked: httpx.Client, raw: bytes) -> None:
    response = asked.post(ROUTE, content=raw, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"sql": "SELECT \'\\ud800\'"}',
        b'{"sql": "SELECT ?", "parameters": ["\\ud800"]}',
        b'{"sql": "SELECT 1\\u0000"}',
        b'{"sql": "SELECT ?", "parameters": ["a\\u0000b"]}',
    ],
)
def test_characters_that_are_none_break_nothing(asked: httpx.Client, raw: bytes) -> None:
    response = asked.post(ROUTE, content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 422), response.text
    assert rows_of(asked, "SELECT 1") == [[1]]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("COPY adapters TO '/tmp/out.csv'", "query-refused"),
        ("COPY (SELECT 1) TO 'out.parquet'", "query-refused"),
        ("ATTACH '/etc/passwd'", "query-refused"),
        ("ATTACH ':memory:' AS x; SELECT 1", "query-refused"),
        ("INSTALL httpfs", "query-refused"),
        ("LOAD '/tmp/x.duckdb_extension'", "query-refused"),
        ("PRAGMA database_list", "query-refused"),
        ("SET enable_external_access = true", "query-refused"),
        ("RESET memory_limit", "query-refused"),
        ("SELECT 1; DROP VIEW adapters", "query-refused"),
        ("/* SELECT 1 */ DROP VIEW adapters", "query-refused"),
        ("-- SELECT 1", "query-refused"),
        ("/* */", "query-refused"),
        (";", "query-refused"),
        ("CREATE TABLE t AS SELECT 1", "query-refused"),
        ("CALL enable_logging()", "query-refused"),
        ("EXPLAIN ANALYZE SELECT 1", "query-refused"),
        ("SELECT * FROM read_csv('/etc/passwd')", "query-refused"),
        ("FROM read_text(['/etc/passwd', '/proc/self/environ'])", "query-refused"),
        ("SELECT (SELECT content FROM read_text('/etc/passwd'))", "query-refused"),
        ("FROM glob('/*')", "query-refused"),
        ("FROM query('SELECT 1')", "query-refused"),
        ("FROM query_table('adapters')", "query-refused"),
        ("SELECT * FROM '/etc/passwd'", "query-failed"),
        ("SELECT * FROM '/etc/hosts.csv'", "query-failed"),
        ("SELECT getenv('HOME')", "query-failed"),
        ("SELECT nope FROM adapters", "query-failed"),
        ("SELEC 1", "query-failed"),
        ("SELECT 'x'::INTEGER", "query-failed"),
        ("SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "query-failed"),
    ],
)
def test_what_a_query_must_not_do_is_a_problem_of_the_query(asked: httpx.Client, sql: str, kind: str) -> None:
    response = ask(asked, sql)
    problem = response.json()
    assert (response.status_code, problem["type"]) == (422, f"urn:lora-manager:problem:{kind}"), problem
    assert problem["errors"][0]["msg"] == problem["detail"] != ""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT array_agg(i) FROM range(10_000_000_000) t(i)",
        "SELECT repeat('x', 1_000_000_000)",
        "SELECT repeat('x', 100_000_000) FROM range(100)",
        "FROM adapters a, adapters b, range(100_000_000) t(i) ORDER BY random()",
    ],
)
def test_a_memory_bomb_ends_its_own_process_alone(asked: httpx.Client, sql: str) -> None:
    # A text of a gigabyte is copied where no interrupt is heard: its process is killed some seconds after its time.
    response = asked.post(ROUTE, json={"sql": sql}, timeout=90)
    assert response.status_code in (200, 422, 504), response.text
    if response.status_code == 200:
        # One string beyond the limit of bytes: cut to nothing.
        assert (response.json()["rows"], response.json()["truncated"]) == ([], True)
    assert rows_of(asked, "SELECT 1") == [[1]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b",
        "WITH RECURSIVE t AS (SELECT 1 i UNION ALL SELECT i + 1 FROM t) SELECT max(i) FROM t",
        "SELECT sleep_ms(60_000)",
    ],
)
def test_a_query_without_end_is_ended(asked: httpx.Client, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    monkeypatch.setattr(analysts, "TIMEOUT", 1.0)
    response = ask(asked, sql)
    assert (response.status_code, response.json()["type"]) == (504, "urn:lora-manager:problem:query-timeout")
    assert "within 1 seconds" in response.json()["detail"]


def test_errors_name_no_folder_of_this_machine(asked: httpx.Client) -> None:
    for sql in ("FROM nowhere", "SELECT * FROM '/etc/hosts.csv'", "SELECT error('x')", "FROM duckdb_secrets"):
        detail = ask(asked, sql).json()["detail"]
        for hidden in ("site-packages", "/generations/", "pytest-", ".duckdb_extension", "sandbox"):
            assert hidden not in detail, (sql, detail)


def test_large_answers_are_cut_by_rows_and_by_bytes(asked: httpx.Client) -> None:
    answer = ask(asked, "SELECT i FROM range(1_000_000_000_000) t(i)", limit=100_000).json()
    assert (answer["row_count"], answer["truncated"], answer["rows"][-1]) == (100_000, True, [99_999])
    answer = ask(asked, "SELECT repeat('x', 1_000_000) FROM range(1_000)").json()
    assert answer["truncated"]
    assert 10 <= answer["row_count"] == len(answer["rows"]) <= 16


def test_arrow_is_given_to_whoever_asks_for_it(asked: httpx.Client) -> None:
    body = {"sql": "SELECT i, i::HUGEINT AS h, $x AS x FROM range(1_000_000_000) t(i)", "limit": 5_000}
    response = asked.post(ROUTE, json={**body, "parameters": {"x": "a"}}, headers={"Accept": f"{ARROW}, */*;q=0.1"})
    assert (response.status_code, response.headers["content-type"]) == (200, ARROW)
    with pa.ipc.open_stream(response.content) as reader:
        table = reader.read_all()
    assert (table.num_rows, table.column("i")[4_999].as_py(), table.schema.names) == (5_000, 4_999, ["i", "h", "x"])
    notes = table.schema.metadata
    assert (notes[b"row_count"], notes[b"truncated"]) == (b"5000", b"true")
    assert notes[b"generation"].decode() == asked.get("/api/v1/analytics/catalog").json()["generation"]
    shown = asked.post(ROUTE, json={"sql": "SHOW TABLES"}, headers={"Accept": ARROW})
    with pa.ipc.open_stream(shown.content) as reader:
        assert "adapters" in reader.read_all().column("name").to_pylist()
    problem = asked.post(ROUTE, json={"sql": "SELEC"}, headers={"Accept": ARROW})
    assert (problem.status_code, problem.headers["content-type"]) == (422, "application/problem+json")
    assert asked.post(ROUTE, json={"sql": "SELECT 1"}, headers={"Accept": f"{ARROW};q=0"}).json()["rows"] == [[1]]


def test_queries_beyond_the_turns_are_told_to_come_again(
    asked: httpx.Client, sandboxes: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysts, "PATIENCE", 0.2)
    answers: list[int] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(ask(asked, "SELECT sleep_ms(4_000)").status_code))
        for _ in range(analysts.AT_ONCE)
    ]
    for thread in waiting:
        thread.start()
    while len(sandboxes()) < analysts.AT_ONCE:
        time.sleep(0.02)
    busy = ask(asked, "SELECT 1")
    assert (busy.status_code, busy.json()["type"]) == (429, "urn:lora-manager:problem:queries-busy")
    assert int(busy.headers["Retry-After"]) > 0
    # Everybody else is answered meanwhile.
    assert asked.get("/api/v1/adapters", params={"limit": 1}).status_code == 200
    for thread in waiting:
        thread.join()
    assert answers == [200] * analysts.AT_ONCE
    assert rows_of(asked, "SELECT 1") == [[1]]


def test_the_query_of_a_client_that_has_gone_is_ended(asked: httpx.Client, sandboxes: Children) -> None:
    connection = HTTPConnection(asked.base_url.host, asked.base_url.port)
    headers = {"Content-Type": "application/json", "X-API-Key": asked.headers["X-API-Key"]}
    connection.request("POST", ROUTE, json.dumps({"sql": "SELECT sleep_ms(600_000)"}), headers)
    while not (running := sandboxes()):
        time.sleep(0.05)
    connection.close()
    assert psutil.wait_procs(running, timeout=25)[1] == []
    assert rows_of(asked, "SELECT 1") == [[1]]


def test_keys_of_readers_are_enough_and_no_key_is_not(asked: httpx.Client) -> None:
    body = {"sql": "SELECT 1"}
    assert asked.post(ROUTE, json=body, headers={"X-API-Key": "admin-secret"}).status_code == 200
    assert asked.post(ROUTE, json=body, headers={"X-API-Key": "wrong"}).status_code == 401
    for path in ("catalog", "summary"):
        assert asked.get(f"/api/v1/analytics/{path}", headers={"X-API-Key": ""}).status_code == 401
        assert asked.get(f"/api/v1/analytics/{path}").status_code == 200


def test_nothing_published_is_no_fault_of_the_query(client: httpx.Client) -> None:
    response = ask(client, "SELECT 1")
    assert (response.status_code, response.json()["type"]) == (503, "urn:lora-manager:problem:nothing-published")
    assert "lora-manager sync" in response.json()["detail"]
    assert int(response.headers["Retry-After"]) > 0
    catalog = client.get("/api/v1/analytics/catalog").json()
    assert (catalog["generation"], {view["rows"] for view in catalog["views"]}) == (None, {None})


def test_files_that_are_gone_are_no_fault_of_the_query(
    sqlite_database: Database, serve: Callable[..., httpx.Client], settings_for: Callable[..., Settings]
) -> None:
    library.fill(sqlite_database)
    published = export_marts(sqlite_database, settings_for(sqlite_database))
    client = serve(sqlite_database)
    (published.path / "adapters.parquet").rename(published.path / "away")
    response = ask(client, "FROM adapters")
    assert (response.status_code, response.json()["type"]) == (503, "urn:lora-manager:problem:nothing-published")
    assert str(published.path) not in response.text
    assert rows_of(client, "SELECT count(*) FROM documents") == [[5]]
    published.path.rename(published.path.with_name("gone"))
    assert ask(client, "SELECT 1").status_code == 503


def test_the_catalog_describes_every_view(asked: httpx.Client) -> None:
    catalog = asked.get("/api/v1/analytics/catalog").json()
    TypeAdapter(AnalyticsCatalog).validate_python(catalog)
    assert [view["name"] for view in catalog["views"]] == [mart.name for mart in MARTS]
    views = {view["name"]: view for view in catalog["views"]}
    assert (views["adapters"]["rows"], views["adapters"]["kind"]) == (5, "fact")
    assert all(column["description"] for view in catalog["views"] for column in view["columns"])
    described = rows_of(asked, "SELECT column_name, column_type FROM (DESCRIBE adapters)")
    assert described == [[column["name"], column["type"]] for column in views["adapters"]["columns"]]


def test_the_summary_counts_what_came_and_what_was_activated(
    client: httpx.Client, database: Database, settings_for: Callable[..., Settings]
) -> None:
    now = utc_now()
    adapters = [
        adapter_values(1, name="Old", created_at=now - timedelta(days=40)),
        adapter_values(2, name="Week", created_at=now - timedelta(days=3)),
        adapter_values(3, name="New", created_at=now),
    ]
    insert_adapters(database, adapters)
    week_id, new_id = adapters[1]["id"], adapters[2]["id"]
    activations = [(week_id, 1), (week_id, 2), (new_id, 0), ("deleted", 0), (new_id, 50)]
    with database.write() as connection:
        connection.execute(
            insert(Activity),
            [
                {"at": now - timedelta(days=days), "kind": "activation", "subject_id": subject, "summary": "activated"}
                for subject, days in activations
            ]
            + [{"at": now, "kind": "sync", "subject_id": "run", "summary": "synced"}],
        )
    for published in (False, True):
        if published:
            export_marts(database, settings_for(database))
        totals = {}
        for time_range in ("24h", "7d", "30d", "90d", "all"):
            answer = client.get("/api/v1/analytics/summary", params={"time_range": time_range}).json()
            TypeAdapter(AnalyticsSummary).validate_python(answer)
            assert answer.keys() == AnalyticsSummary.model_fields.keys()
            stats, series = answer["stats"], answer["series"]
            assert sum(point["loras_added"] for point in series) == stats["loras_added"]
            assert sum(point["activations"] for point in series) == stats["activations"]
            assert (stats["total_loras"], stats["generations"], stats["success_rate"]) == (3, 0, None)
            totals[time_range] = (stats["loras_added"], stats["activations"], len(series))
        assert {key: value[:2] for key, value in totals.items()} == {
            "24h": (1, 2),
            "7d": (2, 4),
            "30d": (2, 4),
            "90d": (3, 5),
            "all": (3, 4 if (now - timedelta(days=50)).month != (now - timedelta(days=40)).month else 5),
        }
        assert [totals[key][2] for key in ("24h", "7d", "30d", "90d")] == [24, 7, 30, 90]
    week = client.get("/api/v1/analytics/summary", params={"time_range": "7d"}).json()
    assert [(item["name"], item["activations"]) for item in week["top_loras"]] == [("Week", 2), ("New", 1)]
    assert week["chart_data"]["lora_usage"][0] == {"name": "Week", "usage_count": 2}
    assert week["published_at"] is not None


def test_the_summary_tells_what_the_community_downloads(
    sqlite_database: Database, serve: Callable[..., httpx.Client], settings_for: Callable[..., Settings]
) -> None:
    library.fill(sqlite_database)
    export_marts(sqlite_database, settings_for(sqlite_database))
    answer = serve(sqlite_database).get("/api/v1/analytics/summary", params={"time_range": "all"}).json()
    (mover,) = answer["top_movers"]
    assert (mover["downloads_gained"], mover["likes_gained"]) == (4_990, 298)
    assert (answer["stats"]["downloads_gained"], answer["stats"]["likes_gained"]) == (4_990, 298)


@pytest.mark.parametrize("time_range", ["", "1h", "7D", "ALL", "365d", "7d'", "\u0000"])
def test_a_range_that_is_none_is_refused(sqlite_client: httpx.Client, time_range: str) -> None:
    response = sqlite_client.get("/api/v1/analytics/summary", params={"time_range": time_range})
    assert (response.status_code, response.json()["errors"][0]["loc"]) == (422, ["query", "time_range"])


def test_spans_are_whole_buckets_up_to_now() -> None:
    now = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
    day = span_of(TimeRange.DAY, now, None)
    assert (day.starts[0], day.starts[-1]) == (datetime(2026, 2, 28, 11, tzinfo=UTC), now.replace(minute=0))
    week = span_of(TimeRange.WEEK, now, None)
    assert (week.starts[0], week.edges[-1]) == (
        datetime(2026, 2, 23, tzinfo=UTC),
        datetime(2026, 3, 2, tzinfo=UTC),
    )
    whole = span_of(TimeRange.ALL, now, datetime(2025, 12, 31, 23, tzinfo=UTC))
    assert [start.month for start in whole.starts] == [12, 1, 2, 3]
    assert len(span_of(TimeRange.ALL, now, now + timedelta(days=90)).starts) == 1
    assert week.previous() == (datetime(2026, 2, 16, tzinfo=UTC), datetime(2026, 2, 23, tzinfo=UTC))
