"""One SELECT of a person over the published views: checked, limited, run in a process of its own.

Belongs here: the limits, the process, the typed errors. Does not: what is checked (`sandbox`), where text comes from.
"""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.marts import sandbox
from warehouse.marts.catalog import CATALOG, as_pattern, current_catalog
from warehouse.marts.errors import (
    NothingPublishedError,
    QueryCancelledError,
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
_LISTEN_SECONDS = 0.25
"""How often somebody who no longer wants the answer is heard."""


class Sandboxes:
    """Processes in which queries run, each for one query; with one that is started ahead, for whoever asks often.

    Safe in any number of threads. A waiting process ends with the one that started it, whose pipe it listens to.
    """

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead
        self._closed = False
        self._lock = threading.Lock()
        self._waiting: subprocess.Popen[bytes] | None = None

    def take(self) -> subprocess.Popen[bytes]:
        """A process that waits for its request."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return _start()
        if waiting.poll() is None:
            return waiting
        with waiting:
            return _start()

    def refill(self) -> None:
        """Start the next one, once the query before has its answer."""
        with self._lock:
            if self._ahead and not self._closed and self._waiting is None:
                self._waiting = _start()

    def close(self) -> None:
        """End the process that waits."""
        with self._lock:
            waiting, self._waiting, self._closed = self._waiting, None, True
        if waiting is not None:
            with waiting:
                waiting.kill()


def _start() -> subprocess.Popen[bytes]:
    # -I: nothing of the caller's environment or folder decides what is imported. The environment is empty: a query
    # shall not be able to learn a secret from it.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and file
        [sys.executable, "-I", sandbox.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
    )


_ON_DEMAND = Sandboxes(ahead=False)


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result and its DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class RawResult:
    """What a query gave, its rows as the process wrote them: a JSON array of arrays, or an Arrow IPC stream.

    `truncated`: there were more rows than the limit, or more bytes than `answer_bytes`. `generation`: the one that was
    read. `seconds`: with the start of the process.
    """

    columns: tuple[ResultColumn, ...]
    row_count: int
    truncated: bool
    payload: bytes
    seconds: float
    generation: Published


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows as JSON values: moments are UTC in ISO 8601 without a zone, as they are published; an integer or a decimal
    that a double cannot hold is text.

    `truncated`: there were more rows than the limit, or more bytes than `MAX_ANSWER_BYTES`. `generation`: the name of
    the generation that was read.
    """

    columns: tuple[ResultColumn, ...]
    rows: list[list[Any]]
    truncated: bool
    seconds: float
    generation: str


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
    raw = run_query_raw(database, settings, sql, limit=limit, timeout=timeout)
    return QueryResult(
        columns=raw.columns,
        rows=msgspec.json.decode(raw.payload),
        truncated=raw.truncated,
        seconds=raw.seconds,
        generation=raw.generation.name,
    )


def run_query_raw(
    database: Database,
    settings: Settings,
    sql: str,
    *,
    parameters: sandbox.Parameters | None = None,
    limit: int = DEFAULT_ROWS,
    timeout: float = DEFAULT_TIMEOUT,
    answer_bytes: int = MAX_ANSWER_BYTES,
    form: sandbox.Form = "json",
    zoned: bool = False,
    unwanted: threading.Event | None = None,
    sandboxes: Sandboxes = _ON_DEMAND,
) -> RawResult:
    """Run one SELECT over the current generation and give its first rows unread, for whoever passes them on.

    Args:
        parameters: JSON values for `?` and `$1`, or by name for `$name`.
        limit: rows, 1..MAX_ROWS.
        timeout: seconds of the query itself, above 0, at most MAX_TIMEOUT.
        answer_bytes: bytes of rows beyond which the answer is cut.
        form: how rows are written.
        zoned: moments, which are published in UTC without a zone, are written with it; of JSON alone.
        unwanted: set by whoever no longer waits for the answer; the process is then killed.
        sandboxes: where processes come from.

    Raises:
        NothingPublishedError: there is nothing to ask yet, or its files cannot be read.
        QueryError: one of its kinds; the message is meant for whoever wrote the query.
        QueryCancelledError: `unwanted` was set.
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
        sql=_storable(sql),
        rows=limit,
        timeout=timeout,
        memory_bytes=MEMORY_BYTES,
        answer_bytes=answer_bytes,
        parameters=_storable(parameters or []),
        form=form,
        zoned=zoned,
        notes={"generation": published.name, "published_at": published.created_at.isoformat()},
    )
    started = time.perf_counter()
    if not published.path.is_dir():
        raise NothingPublishedError(_GONE)
    try:
        outcome, payload = _run(request, sandboxes.take(), unwanted)
    finally:
        sandboxes.refill()
    if outcome.failure is not None:
        raise _error(outcome, timeout)
    return RawResult(
        columns=tuple(ResultColumn(name, kind) for name, kind in outcome.columns),
        row_count=outcome.row_count,
        truncated=outcome.truncated,
        payload=payload,
        seconds=time.perf_counter() - started,
        generation=published,
    )


def _storable(value: Any) -> Any:
    """A value of JSON whose texts are Unicode: half a surrogate pair becomes a question mark."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _run(
    request: sandbox.Request, process: subprocess.Popen[bytes], unwanted: threading.Event | None
) -> tuple[sandbox.Outcome, bytes]:
    with process:
        try:
            output, errors = _listen(process, request, unwanted)
        finally:
            process.kill()
    if process.returncode != 0:
        # The limit of the address space can strike where DuckDB does not expect it.
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        reason = sandbox.without_paths(last[0], request.folders)
        raise QueryTooLargeError(f"the query broke its process, most likely for want of memory: {reason}")
    line, _, payload = output.partition(b"\n")
    return msgspec.json.decode(line, type=sandbox.Outcome), payload


def _listen(
    process: subprocess.Popen[bytes], request: sandbox.Request, unwanted: threading.Event | None
) -> tuple[bytes, bytes]:
    text: bytes | None = msgspec.json.encode(request)
    deadline = time.monotonic() + request.timeout + _START_SECONDS
    while True:
        try:
            return process.communicate(text, timeout=_LISTEN_SECONDS)
        except subprocess.TimeoutExpired:
            text = None
            if unwanted is not None and unwanted.is_set():
                raise QueryCancelledError("nobody waits for the answer any more") from None
            if time.monotonic() > deadline:
                raise QueryTimeoutError(_timed_out(request.timeout)) from None


_GONE = "the published files cannot be read: run `lora-manager sync` to publish them again"


def _timed_out(timeout: float) -> str:
    return f"the query did not end within {timeout:g} seconds: ask for less, or allow it more time"


def _error(outcome: sandbox.Outcome, timeout: float) -> QueryError | NothingPublishedError:
    match outcome.failure:
        case "refused":
            return QueryRefusedError(outcome.message)
        case "timeout":
            return QueryTimeoutError(_timed_out(timeout))
        case "too_large":
            gigabytes = MEMORY_BYTES / 2**30
            return QueryTooLargeError(f"the query needs more than {gigabytes:g} GiB of memory: group or filter first")
        case "unavailable":
            return NothingPublishedError(f"{_GONE} ({outcome.message.splitlines()[0]})")
        case _:
            return QueryFailedError(outcome.message)
