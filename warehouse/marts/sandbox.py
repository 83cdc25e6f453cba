"""The process in which one query of a person runs, started by `query` for that query alone.

DuckDB's own limits leave gaps: strings and lists are not counted against `memory_limit`, and an interrupt waits for
the function that is running. So the operating system limits this process, and its parent can kill it. It reads one
request from standard input and writes one answer to standard output; it imports nothing of the project, because it
is started as a file and its start is part of every query's time.
"""

import resource
import sys
import threading
from collections.abc import Iterator
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

Failure = Literal["refused", "failed", "timeout", "too_large"]


class Request(msgspec.Struct, frozen=True):
    """A query and its limits."""

    folders: list[str]
    catalog: str
    sql: str
    rows: int
    timeout: float
    memory_bytes: int
    answer_bytes: int


class Answer(msgspec.Struct, frozen=True):
    """Columns as (name, DuckDB type) and rows, or a failure and its message."""

    columns: list[tuple[str, str]] = []
    rows: list[msgspec.Raw] = []
    truncated: bool = False
    failure: Failure | None = None
    message: str = ""


class RefusedError(Exception):
    """The text must not be run."""


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
    row = connection.execute("SELECT json_serialize_sql(?)", [statement.query]).fetchone()
    tree = msgspec.json.decode(row[0] if row is not None else b"{}")
    if tree.get("error", True):
        raise RefusedError(f"this kind of statement cannot be checked: {tree.get('error_message')}")
    strangers = sorted(set(_table_functions(tree)) - TABLE_FUNCTIONS)
    if strangers:
        raise RefusedError(
            f"the function {strangers[0]} cannot be used in FROM: the published views are listed by SHOW TABLES"
        )
    return statement


def encode(row: tuple[Any, ...]) -> msgspec.Raw:
    """A row as JSON: exact decimals as numbers, dates in ISO 8601, binary in base64, infinity and NaN as null."""
    try:
        return msgspec.Raw(_ENCODER.encode(row))
    except TypeError:
        # A map whose keys JSON does not know.
        return msgspec.Raw(_ENCODER.encode([_with_text_keys(value) for value in row]))


_ENCODER: Final = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value


def answer(connection: "duckdb.DuckDBPyConnection", request: Request) -> Answer:
    """Run a checked statement and take its rows up to the limits."""
    connection.execute(check(connection, request.sql))
    columns = [(name, str(kind)) for name, kind, *_ in connection.description or []]
    rows: list[msgspec.Raw] = []
    size = 0
    while fetched := connection.fetchmany(min(_FETCH_ROWS, request.rows + 1 - len(rows))):
        for row in fetched:
            encoded = encode(row)
            size += memoryview(encoded).nbytes
            if len(rows) == request.rows or size > request.answer_bytes:
                return Answer(columns, rows, truncated=True)
            rows.append(encoded)
    return Answer(columns, rows)


def run(request: Request) -> Answer:
    """Answer a request; whatever goes wrong is an answer too."""
    import duckdb

    limit_process(request)
    try:
        connection = connect(request)
        alarm = threading.Timer(request.timeout, connection.interrupt)
        alarm.daemon = True
        alarm.start()
        return answer(connection, request)
    except RefusedError as error:
        return Answer(failure="refused", message=str(error))
    except duckdb.InterruptException:
        return Answer(failure="timeout")
    except (MemoryError, duckdb.OutOfMemoryException) as error:
        return Answer(failure="too_large", message=str(error))
    except (duckdb.Error, UnicodeError, ValueError, OverflowError) as error:
        return Answer(failure="failed", message=str(error))


def main() -> None:
    """Read a request, write its answer."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    sys.stdout.buffer.write(msgspec.json.encode(run(request)))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
