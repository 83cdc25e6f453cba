"""The process in which one query of a person runs, started by `query` for that query alone.

DuckDB's own limits leave gaps: strings and lists are not counted against `memory_limit`, and an interrupt waits for
the function that is running. So the operating system limits this process, and its parent can kill it. It reads one
request from standard input and writes to standard output one line that tells what became of it (`Outcome`), and then
the rows; it imports nothing of the project, because it is started as a file and its start is part of every query's
time.
"""

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    import duckdb

CATALOG_NAME: Final = "analytics"
HEADROOM_BYTES: Final = 1_536 * 2**20
"""Address space beyond DuckDB's memory: the interpreter, libraries, stacks, and the answer."""

TABLE_FUNCTIONS: Final = frozenset(
    {
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_types",
        "duckdb_views",
        "generate_series",
        "histogram",
        "histogram_values",
        "json_each",
        "json_tree",
        "range",
        "repeat",
        "unnest",
    }
)
"""Table functions a query may call. Others read files, run text as SQL, take pointers, or change the instance."""

_FETCH_ROWS = 256
_ARROW_ROWS = 2_048
"""What DuckDB computes at once, so that little is computed behind a limit."""

SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that every reader of JSON keeps exactly."""
EXACT_DIGITS: Final = 15
"""Digits of a decimal that every reader of JSON keeps exactly."""

_NICENESS = 10
"""A query gives way to what answers other requests of this machine."""

Failure = Literal["refused", "failed", "timeout", "too_large", "unavailable"]
Form = Literal["json", "arrow"]
Parameters = list[Any] | dict[str, Any]
"""Values for `?` and `$1`, or by name for `$name`."""


class Request(msgspec.Struct, frozen=True):
    """A query and its limits.

    `form`: rows as a JSON array of arrays, or as an Arrow IPC stream. `zoned`: a moment without a zone is UTC and is
    written with it. `notes`: what the schema of an Arrow stream says beside its columns.
    """

    folders: list[str]
    catalog: str
    sql: str
    rows: int
    timeout: float
    memory_bytes: int
    answer_bytes: int
    parameters: Parameters = []
    form: Form = "json"
    zoned: bool = False
    notes: dict[str, str] = {}


class Outcome(msgspec.Struct, frozen=True):
    """Columns as (name, DuckDB type) and how many rows follow, or a failure and its message."""

    columns: list[tuple[str, str]] = []
    row_count: int = 0
    truncated: bool = False
    failure: Failure | None = None
    message: str = ""


class RefusedError(Exception):
    """The text must not be run."""


class UnavailableError(Exception):
    """What is published cannot be opened."""


def limit_process(request: Request) -> None:
    """Let the operating system refuse what no query needs: memory without end, and any file that is written."""
    limits = {
        resource.RLIMIT_AS: request.memory_bytes + HEADROOM_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 512,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (bound, bound))
        except (ValueError, OSError):
            # macOS knows no limit of the address space; DuckDB's own limit and the parent's clock remain.
            continue
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)


def connect(request: Request) -> "duckdb.DuckDBPyConnection":
    """A DuckDB in memory that sees the catalog and the files of one generation, and lets nothing be changed."""
    import duckdb

    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": f"{request.memory_bytes}B",
            "temp_directory": "",
            "threads": 2,
        }
    )
    catalog, *folders = ("'" + text.replace("'", "''") + "'" for text in (request.catalog, *request.folders))
    connection.execute(f"ATTACH {catalog} AS {CATALOG_NAME} (READ_ONLY)")
    connection.execute(f"USE {CATALOG_NAME}")
    for name, value in (
        ("TimeZone", "'UTC'"),
        ("allowed_directories", f"[{', '.join(folders)}]"),
        ("enable_external_access", "false"),
        ("python_enable_replacements", "false"),
        ("lock_configuration", "true"),
    ):
        connection.execute(f"SET {name} = {value}")
    return connection


def _table_functions(node: Any) -> Iterator[str]:
    """Names of the table functions anywhere in a statement's syntax tree."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.get("type") == "TABLE_FUNCTION":
                yield str(item["function"]["function_name"])
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def check(connection: "duckdb.DuckDBPyConnection", sql: str) -> "duckdb.Statement":
    """The one statement of a text.

    Raises:
        RefusedError: it is not exactly one SELECT, or calls a table function that is not for queries.
    """
    import duckdb

    if "\x00" in sql:
        raise RefusedError("a query cannot hold a NUL character")
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise RefusedError(f"one SELECT statement is expected, not {len(statements) or 'an empty text'}")
    statement = statements[0]
    if statement.type != duckdb.StatementType.SELECT:
        raise RefusedError(
            f"only SELECT (also FROM, DESCRIBE, SHOW and SUMMARIZE) can be run, not {statement.type.name}"
        )
    # To the end of its one row: a relation cannot be made beside a result that is not finished.
    ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [statement.query]).fetchall()
    tree = msgspec.json.decode(text)
    if tree.get("error", True):
        raise RefusedError(f"this kind of statement cannot be checked: {tree.get('error_message')}")
    strangers = sorted(set(_table_functions(tree)) - TABLE_FUNCTIONS)
    if strangers:
        raise RefusedError(
            f"the function {strangers[0]} cannot be used in FROM: the published views are listed by SHOW TABLES"
        )
    return statement


def plain(value: Any, *, zoned: bool) -> Any:
    """A value as JSON can carry it to any reader: what a double cannot hold exactly becomes text."""
    kind = type(value)
    if kind is int:
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
    if kind is Decimal:
        return value if len(value.as_tuple().digits) <= EXACT_DIGITS else format(value, "f")
    if kind is datetime:
        return value.replace(tzinfo=UTC) if zoned and value.tzinfo is None else value
    if kind is dict:
        # A map may have keys that JSON does not know.
        return {str(key): plain(item, zoned=zoned) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [plain(item, zoned=zoned) for item in value]
    return value


_ENCODER: Final = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def encode(row: tuple[Any, ...], *, zoned: bool = False) -> bytes:
    """A row as JSON: dates and moments in ISO 8601, binary in base64, infinity and NaN as null; see `plain`."""
    return _ENCODER.encode([plain(value, zoned=zoned) for value in row])


def without_paths(message: str, folders: Iterable[str]) -> str:
    """A message for whoever wrote the query: no folder of this machine, no stack of DuckDB's own."""
    text = message.partition("\n\nStack Trace")[0]
    ours = {*folders, sys.prefix, sys.base_prefix, str(Path(__file__).parent)}
    for folder in sorted(ours, key=len, reverse=True):
        text = text.replace(folder, "…")
    return text.strip()


def answer(connection: "duckdb.DuckDBPyConnection", request: Request) -> tuple[Outcome, bytes]:
    """Run a checked statement and take its rows up to the limits."""
    statement = check(connection, request.sql)
    return (_as_arrow if request.form == "arrow" else _as_json)(connection, statement, request)


def _as_json(
    connection: "duckdb.DuckDBPyConnection", statement: "duckdb.Statement", request: Request
) -> tuple[Outcome, bytes]:
    connection.execute(statement, request.parameters)
    columns = [(name, str(kind)) for name, kind, *_ in connection.description or []]
    rows: list[bytes] = []
    size = 0
    truncated = False
    while not truncated and (fetched := connection.fetchmany(min(_FETCH_ROWS, request.rows + 1 - len(rows)))):
        for row in fetched:
            encoded = encode(row, zoned=request.zoned)
            size += len(encoded)
            if len(rows) == request.rows or size > request.answer_bytes:
                truncated = True
                break
            rows.append(encoded)
    return Outcome(columns, len(rows), truncated), b"[" + b",".join(rows) + b"]"


def _as_arrow(
    connection: "duckdb.DuckDBPyConnection", statement: "duckdb.Statement", request: Request
) -> tuple[Outcome, bytes]:
    import pyarrow as pa

    # A relation gives its batches as they are computed; a result that was executed would be computed to its end first.
    relation = connection.sql(statement, params=request.parameters)
    reader = relation.to_arrow_reader(min(_ARROW_ROWS, request.rows + 1))
    batches: list[Any] = []
    count = size = 0
    truncated = False
    for batch in reader:
        size += batch.nbytes
        truncated = count + batch.num_rows > request.rows or size > request.answer_bytes
        if size <= request.answer_bytes:
            batches.append(batch.slice(0, request.rows - count))
            count += batches[-1].num_rows
        if truncated:
            break
    notes = {**request.notes, "row_count": str(count), "truncated": str(truncated).lower()}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, reader.schema.with_metadata(notes)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    columns = [(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)]
    return Outcome(columns, count, truncated), sink.getvalue().to_pybytes()


def run(request: Request) -> tuple[Outcome, bytes]:
    """Answer a request; whatever goes wrong is an answer too."""
    limit_process(request)
    try:
        return _within_time(request)
    except Exception as error:
        failure = _failure_of(error)
        if failure is None:
            raise
        folders = [*request.folders, str(Path(request.catalog).parent)]
        return Outcome(failure=failure, message=without_paths(str(error), folders)), b""


def _failure_of(error: Exception) -> Failure | None:
    import duckdb

    kinds: tuple[tuple[Failure, tuple[type[Exception], ...]], ...] = (
        ("refused", (RefusedError,)),
        # Nothing but the published files is ever read.
        ("unavailable", (UnavailableError, duckdb.IOException)),
        ("timeout", (duckdb.InterruptException,)),
        ("too_large", (MemoryError, duckdb.OutOfMemoryException)),
        ("failed", (duckdb.Error, UnicodeError, ValueError, OverflowError)),
    )
    return next((failure for failure, types in kinds if isinstance(error, types)), None)


def _within_time(request: Request) -> tuple[Outcome, bytes]:
    import duckdb

    try:
        connection = connect(request)
    except duckdb.Error as error:
        raise UnavailableError(str(error)) from error
    alarm = threading.Timer(request.timeout, connection.interrupt)
    alarm.daemon = True
    alarm.start()
    return answer(connection, request)


def main() -> None:
    """Read a request, write its outcome and its rows."""
    # Before the request is read, so that a process which waits for one has its slow start behind it.
    import duckdb  # noqa: F401

    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    outcome, payload = run(request)
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    sys.stdout.buffer.write(payload)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
