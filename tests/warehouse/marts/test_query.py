"""Queries of people: what they may ask is answered, what would read, write, run or never end is refused."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import duckdb
import psutil
import pytest

from tests.processes import new_children
from tests.warehouse.marts.conftest import Analyst
from warehouse.engine import Database
from warehouse.marts import (
    NothingPublishedError,
    QueryError,
    QueryFailedError,
    QueryRefusedError,
    QueryTimeoutError,
    QueryTooLargeError,
    Sandboxes,
    run_query,
    run_query_raw,
    sandbox,
)
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def cell(analyst: Analyst) -> Iterator[duckdb.DuckDBPyConnection]:
    """The DuckDB in which a query runs, without the process around it."""
    request = sandbox.Request([str(analyst.folder)], str(analyst.folder / "catalog.duckdb"), "", 1, 1.0, 2**30, 1)
    with sandbox.connect(request) as connection:
        yield connection


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM adapters", [[5]]),
        ("FROM adapters SELECT name WHERE author = '作者' ORDER BY name DESC LIMIT 1;", [["水墨画風 🖌️"]]),
        ("-- a comment\nSELECT 1 -- and another", [[1]]),
        ("SELECT sum(downloads) FROM adapters", [[5_100]]),
        ("SELECT DATE '2026-03-01', TIMESTAMP '2026-03-01 10:00:00'", [["2026-03-01", "2026-03-01T10:00:00"]]),
        ("SELECT 1.25::DECIMAL(9, 2), 'nan'::DOUBLE, NULL", [[1.25, None, None]]),
        ("SELECT MAP {1: 'a'}, {'k': [1, 2]}", [[{"1": "a"}, {"k": [1, 2]}]]),
        ("SELECT MAP {DATE '2026-03-01': 1}, '\\xAA'::BLOB, INTERVAL 1 DAY", [[{"2026-03-01": 1}, "qg==", "P1D"]]),
        ("SELECT unnest(tags) AS tag FROM adapters WHERE downloads = 5000 ORDER BY tag", [["Ink"], ["水墨"]]),
        ("SELECT stats->>'commentCount' FROM adapters WHERE downloads = 5000", [["12"]]),
        ("SELECT count(*) FROM range(3), generate_series(1, 2)", [[6]]),
        ("WITH t AS (FROM adapter_tags) SELECT count(*) FROM t WHERE tag IN (SELECT tag FROM t)", [[7]]),
        ("SELECT count(*) FROM community_statistics WHERE day >= DATE '2026-03-02'", [[2]]),
        ("SELECT current_setting('TimeZone')", [["UTC"]]),
        ("SELECT '\ud800'", [["?"]]),
    ],
)
def test_questions_are_answered(analyst: Analyst, sql: str, rows: list[list[object]]) -> None:
    result = analyst.ask(sql)
    assert (result.rows, result.truncated) == (rows, False)
    assert result.generation == analyst.folder.name


def test_what_is_there_can_be_found_out(analyst: Analyst) -> None:
    assert ["adapters"] in analyst.ask("SHOW TABLES").rows
    described = analyst.ask("DESCRIBE adapters")
    assert [column.name for column in described.columns][:2] == ["column_name", "column_type"]
    assert ["downloads", "BIGINT"] in [row[:2] for row in described.rows]
    assert analyst.ask("SUMMARIZE adapters").rows
    comments = analyst.ask("SELECT comment FROM duckdb_columns() WHERE table_name = 'files' AND column_name = 'path'")
    assert comments.rows == [["Absolute path"]]


def test_rows_beyond_the_limit_are_cut_and_said_so(analyst: Analyst) -> None:
    assert analyst.ask("FROM adapters", limit=5).truncated is False
    result = analyst.ask("FROM adapters", limit=4)
    assert (len(result.rows), result.truncated) == (4, True)
    result = analyst.ask("SELECT i FROM range(1_000_000_000_000) t(i)", limit=3)
    assert (result.rows, result.truncated) == ([[0], [1], [2]], True)
    wide = analyst.ask("SELECT repeat('x', 1_000_000) FROM range(1_000)")
    assert (0 < len(wide.rows) < 100, wide.truncated) == (True, True)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("", "one SELECT statement is expected"),
        ("-- nothing", "one SELECT statement is expected"),
        ("SELECT 1; SELECT 2", "one SELECT statement is expected, not 2"),
        ("SELECT 1; COPY adapters TO 'x.csv'", "one SELECT"),
        ("COPY adapters TO '{folder}/out.csv'", "not COPY"),
        ("COPY (SELECT 1) TO '{folder}/out.parquet'", "not COPY"),
        ("ATTACH '/tmp/other.duckdb'", "not ATTACH"),
        ("DETACH analytics", "not DETACH"),
        ("INSTALL httpfs", "only SELECT"),
        ("LOAD httpfs", "not LOAD"),
        ("PRAGMA database_list", "not PRAGMA"),
        ("SET memory_limit = '100GB'", "only SELECT"),
        ("RESET lock_configuration", "only SELECT"),
        ("CALL enable_logging()", "not CALL"),
        ("CREATE TABLE memory.main.t AS SELECT 1", "not CREATE"),
        ("CREATE MACRO f() AS 1", "not CREATE"),
        ("INSERT INTO adapters VALUES (1)", "not INSERT"),
        ("DELETE FROM adapters", "not DELETE"),
        ("UPDATE adapters SET name = ''", "not UPDATE"),
        ("DROP VIEW adapters", "not DROP"),
        ("EXPORT DATABASE '/tmp/out'", "only SELECT"),
        ("BEGIN", "not TRANSACTION"),
        ("PREPARE p AS SELECT 1", "not PREPARE"),
        ("EXPLAIN ANALYZE SELECT 1", "not EXPLAIN"),
        ("VACUUM", "not VACUUM"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv cannot be used"),
        ("FROM read_text('/etc/passwd')", "read_text cannot be used"),
        ("FROM read_blob('/etc/hostname')", "read_blob cannot be used"),
        ("FROM glob('/etc/*')", "glob cannot be used"),
        ("FROM read_parquet('{folder}/adapters.parquet')", "read_parquet cannot be used"),
        ("FROM parquet_metadata('/etc/passwd')", "parquet_metadata cannot be used"),
        ("FROM sniff_csv('/etc/passwd')", "sniff_csv cannot be used"),
        ("FROM read_json('/proc/self/environ')", "read_json cannot be used"),
        ("FROM read_duckdb('/tmp/x.duckdb')", "read_duckdb cannot be used"),
        ("SELECT (SELECT content FROM READ_TEXT('/etc/passwd'))", "cannot be used"),
        ("WITH t AS (FROM system.main.read_text('/etc/passwd')) FROM t", "read_text cannot be used"),
        ("DESCRIBE SELECT * FROM read_text('/etc/passwd')", "read_text cannot be used"),
        ("SUMMARIZE FROM read_text('/etc/passwd')", "read_text cannot be used"),
        ("FROM adapters WHERE name IN (SELECT file FROM glob('/etc/*'))", "glob cannot be used"),
        ("FROM query('SELECT 1')", "query cannot be used"),
        ("FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))", "cannot be used"),
        ("FROM query_table('adapters')", "query_table cannot be used"),
        ("FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)", "arrow_scan cannot be used"),
        ("FROM pandas_scan(1::POINTER)", "pandas_scan cannot be used"),
        ("FROM enable_logging(storage_path = '/tmp/logs')", "enable_logging cannot be used"),
        ("FROM enable_profiling('json')", "cannot be used"),
        ("FROM duckdb_secrets()", "duckdb_secrets cannot be used"),
        ("FROM checkpoint()", "checkpoint cannot be used"),
        ("SELECT 1\x00; COPY adapters TO 'x'", "NUL"),
    ],
)
def test_what_is_no_question_is_refused(
    analyst: Analyst, cell: duckdb.DuckDBPyConnection, sql: str, reason: str
) -> None:
    with pytest.raises(sandbox.RefusedError, match=reason):
        sandbox.check(cell, sql.replace("{folder}", str(analyst.folder)))


def test_a_refusal_reaches_whoever_asked(analyst: Analyst) -> None:
    before = sorted(path.name for path in analyst.folder.rglob("*"))
    for sql, reason in (
        (f"COPY adapters TO '{analyst.folder}/out.csv'", "not COPY"),
        ("SELECT 1; SELECT 2", "not 2"),
        ("FROM read_text('/etc/passwd')", "read_text cannot be used"),
        ("SELECT '" + "x" * 100_000 + "'", "longer than 100000 bytes"),
    ):
        with pytest.raises(QueryRefusedError, match=reason):
            analyst.ask(sql)
    assert sorted(path.name for path in analyst.folder.rglob("*")) == before


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('{folder}/../../../../warehouse.sqlite3')",
        "FROM glob('/etc/*')",
        "FROM read_duckdb('/tmp/x.duckdb', table_name = 't')",
        "COPY adapters TO '/tmp/out.csv'",
        "ATTACH '/tmp/other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "CREATE VIEW more AS SELECT 1",
        "DROP VIEW adapters",
        "CALL enable_logging(storage_path = '/tmp/logs')",
        "EXPORT DATABASE '/tmp/out'",
        "FROM cell",
    ],
)
def test_duckdb_itself_would_refuse_too(analyst: Analyst, cell: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(duckdb.Error):
        cell.execute(sql.replace("{folder}", str(analyst.folder))).fetchall()


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT 1 WHERE", "syntax error"),
        ("SELECT nope FROM adapters", "nope"),
        ("FROM nowhere", "nowhere"),
        ("SELECT 'x'::INTEGER", "Could not convert"),
        ("SELECT error('stop')", "stop"),
        ("SELECT getenv('HOME')", "getenv"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM '/etc/hosts.csv'", "disabled"),
        ("SELECT * FROM 'https://127.0.0.1/x.parquet'", "Error"),
        ("FROM statement", "does not exist"),
        ("FROM request", "does not exist"),
        ("FROM duckdb_secrets", "Error"),
        ("SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "depth"),
    ],
)
def test_what_cannot_be_run_says_why(analyst: Analyst, sql: str, reason: str) -> None:
    with pytest.raises(QueryFailedError, match=reason):
        analyst.ask(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT array_agg(i) FROM range(10_000_000_000) t(i)",
        "SELECT string_agg(i::VARCHAR) FROM range(10_000_000_000) t(i)",
        "SELECT repeat('x', 100_000_000) FROM range(100)",
        "SELECT list_sum(range(10_000_000_000))",
        "FROM adapters a, adapters b, range(100_000_000) t(i) ORDER BY random()",
    ],
)
def test_a_memory_bomb_ends_its_own_process_alone(analyst: Analyst, sql: str) -> None:
    with pytest.raises((QueryTooLargeError, QueryFailedError)):
        analyst.ask(sql)
    assert analyst.ask("SELECT 1").rows == [[1]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b",
        "WITH RECURSIVE t AS (SELECT 1 i UNION ALL SELECT i + 1 FROM t) SELECT max(i) FROM t",
        "SELECT sleep_ms(60_000)",
    ],
)
def test_a_query_without_end_is_ended(analyst: Analyst, sql: str) -> None:
    with pytest.raises(QueryTimeoutError, match=r"within 0\.5 seconds"):
        analyst.ask(sql, timeout=0.5)


def test_a_function_that_hears_no_interrupt_is_killed(analyst: Analyst, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.marts.query._START_SECONDS", 2.0)
    children = new_children("sandbox.py")
    with pytest.raises(QueryTimeoutError):
        analyst.ask("SELECT levenshtein(repeat('a', 1_000_000), repeat('b', 1_000_000))", timeout=0.5)
    assert children() == []


def test_a_query_process_that_dies_is_an_error_of_the_query(analyst: Analyst) -> None:
    def kill() -> None:
        while not (found := children()):
            stopped.wait(0.02)
        os.kill(found[0].pid, signal.SIGKILL)

    stopped = threading.Event()
    children = new_children("sandbox.py")
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QueryTooLargeError, match="broke its process"):
        analyst.ask("SELECT sleep_ms(20_000)")
    killer.join()


def _the_one(children: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """The only child; a process has no command line for a moment when its program begins."""
    deadline = time.monotonic() + 60
    while len(found := children()) != 1:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def test_a_process_that_is_started_ahead_answers_once_and_is_replaced(analyst: Analyst) -> None:
    waiting = new_children("sandbox.py")
    sandboxes = Sandboxes(ahead=True)
    seen: list[list[psutil.Process]] = []
    for _ in range(2):
        result = run_query_raw(analyst.database, analyst.settings, "SELECT 1", sandboxes=sandboxes)
        assert (result.payload, result.row_count) == (b"[[1]]", 1)
        seen.append(_the_one(waiting))
    assert seen[0] != seen[1]
    (idle,) = seen[1]
    os.kill(idle.pid, signal.SIGKILL)
    while idle.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert run_query_raw(analyst.database, analyst.settings, "SELECT 2", sandboxes=sandboxes).payload == b"[[2]]"
    sandboxes.close()
    assert waiting() == []


def test_a_query_sees_nothing_of_the_environment(analyst: Analyst, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    real = subprocess.Popen

    def popen(*arguments: object, **options: object) -> object:
        seen.append(options["env"])
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", popen)
    analyst.ask("SELECT 1")
    assert seen == [{"LANG": "C.UTF-8"}]


def test_nothing_published_says_what_to_do(sqlite_database: Database, settings: Settings) -> None:
    with pytest.raises(NothingPublishedError, match="lora-manager sync"):
        run_query(sqlite_database, settings, "SELECT 1")


def test_limits_are_checked(analyst: Analyst) -> None:
    for limit, timeout in ((0, 1.0), (100_001, 1.0), (1, 0.0), (1, 601.0), (1, float("nan"))):
        with pytest.raises(ValueError, match=r"limit|timeout"):
            analyst.ask("SELECT 1", limit=limit, timeout=timeout)


def test_the_errors_of_queries_have_one_base() -> None:
    assert {QueryRefusedError, QueryFailedError, QueryTimeoutError, QueryTooLargeError} == set(
        QueryError.__subclasses__()
    )
