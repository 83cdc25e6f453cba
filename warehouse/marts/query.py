"""One SELECT of a person over the published views: checked, limited, run in a process of its own.

Belongs here: the limits, the process, the typed errors. Does not: what is checked (`sandbox`), where text comes from.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from warehouse.engine import Database
from warehouse.marts import sandbox
from warehouse.marts.catalog import CATALOG, as_pattern, current_catalog
from warehouse.marts.errors import (
    QueryError,
    QueryFailedError,
    QueryRefusedError,
    QueryTimeoutError,
    QueryTooLargeError,
)
from warehouse.settings import Settings

DEFAULT_ROWS: Final = 1_000
MAX_ROWS: Final = 100_000
DEFAULT_TIMEOUT: Final = 30.0
MAX_TIMEOUT: Final = 600.0
"""Seconds."""
MEMORY_BYTES: Final = 2**30
MAX_ANSWER_BYTES: Final = 32 * 2**20
MAX_SQL_BYTES: Final = 100_000
_START_SECONDS = 10.0
"""Grace for starting the process, and for an interrupt to be heard, before it is killed."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result and its DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows as JSON values: moments are UTC in ISO 8601 without a zone, as they are published.

    `truncated`: there were more rows than the limit, or more bytes than `MAX_ANSWER_BYTES`. `generation`: the name of
    the generation that was read.
    """

    columns: tuple[ResultColumn, ...]
    rows: list[list[Any]]
    truncated: bool
    seconds: float
    generation: str


class _Answer(msgspec.Struct):
    """`sandbox.Answer` as it arrives."""

    columns: list[tuple[str, str]]
    rows: list[list[Any]]
    truncated: bool
    failure: sandbox.Failure | None
    message: str


def run_query(
    database: Database, settings: Settings, sql: str, *, limit: int = DEFAULT_ROWS, timeout: float = DEFAULT_TIMEOUT
) -> QueryResult:
    """Run one SELECT over the current generation and give its first rows.

    Args:
        limit: rows, 1..MAX_ROWS.
        timeout: seconds of the query itself, above 0, at most MAX_TIMEOUT.

    Raises:
        NothingPublishedError: there is nothing to ask yet.
        QueryError: one of its kinds; the message is meant for whoever wrote the query.
        ValueError: a limit is out of its range.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise ValueError(f"limit {limit} is not within 1..{MAX_ROWS}")
    if not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout {timeout} is not above 0 and at most {MAX_TIMEOUT:g} seconds")
    if len(sql.encode(errors="replace")) > MAX_SQL_BYTES:
        raise QueryRefusedError(f"the query is longer than {MAX_SQL_BYTES} bytes")
    published = current_catalog(database, settings)
    request = sandbox.Request(
        # DuckDB compares both what a view says, which is a pattern, and what it stands for.
        folders=sorted({str(published.path), as_pattern(published.path)}),
        catalog=str(published.path / CATALOG),
        sql=sql.encode(errors="replace").decode(),
        rows=limit,
        timeout=timeout,
        memory_bytes=MEMORY_BYTES,
        answer_bytes=MAX_ANSWER_BYTES,
    )
    started = time.perf_counter()
    answer = _ask(request, published.path)
    if answer.failure is not None:
        raise _error(answer, timeout)
    return QueryResult(
        columns=tuple(ResultColumn(name, kind) for name, kind in answer.columns),
        rows=answer.rows,
        truncated=answer.truncated,
        seconds=time.perf_counter() - started,
        generation=published.name,
    )


def _ask(request: sandbox.Request, folder: Path) -> _Answer:
    # -I: nothing of the caller's environment or folder decides what is imported. The environment is empty: a query
    # shall not be able to learn a secret from it.
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
        [sys.executable, "-I", sandbox.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
    )
    with process:
        try:
            output, errors = process.communicate(msgspec.json.encode(request), timeout=request.timeout + _START_SECONDS)
        except subprocess.TimeoutExpired:
            raise QueryTimeoutError(_timed_out(request.timeout)) from None
        finally:
            process.kill()
    if process.returncode != 0:
        # The limit of the address space can strike where DuckDB does not expect it.
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise QueryTooLargeError(f"the query broke its process, most likely for want of memory: {last[0]}")
    return msgspec.json.decode(output, type=_Answer)


def _timed_out(timeout: float) -> str:
    return f"the query did not end within {timeout:g} seconds: ask for less, or allow it more time"


def _error(answer: _Answer, timeout: float) -> QueryError:
    match answer.failure:
        case "refused":
            return QueryRefusedError(answer.message)
        case "timeout":
            return QueryTimeoutError(_timed_out(timeout))
        case "too_large":
            gigabytes = MEMORY_BYTES / 2**30
            return QueryTooLargeError(f"the query needs more than {gigabytes:g} GiB of memory: group or filter first")
        case _:
            return QueryFailedError(answer.message)
