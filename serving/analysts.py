"""Queries of analysts over HTTP: few at a time, each in its own process, given up when nobody waits any more.

Belongs here: who gets a turn, and what becomes of an error. Does not: what may be asked and with which limits
(`warehouse.marts`).
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

from fastapi.concurrency import run_in_threadpool

from serving.problems import Problem
from warehouse.engine import Database
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.marts import QueryError, RawResult, Sandboxes

AT_ONCE: Final = 2
"""Queries that run at the same time: each may take two threads and 1 GiB."""
PATIENCE: Final = 5.0
"""Seconds that a query may wait for its turn."""
QUEUE: Final = 16
"""Queries that may wait."""
TIMEOUT: Final = 30.0
"""Seconds that a query may run."""
ANSWER_BYTES: Final = 16 * 2**20
"""Bytes of rows in one answer."""
_LISTEN = 0.5
"""Seconds between two looks whether the client is still there."""


class Analysts:
    """Runs the queries of one process of the API."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._sandboxes: Sandboxes | None = None
        self._waiting = 0
        self._lock = threading.Lock()

    async def ask(
        self,
        sql: str,
        *,
        parameters: list[Any] | dict[str, Any] | None,
        limit: int,
        form: Literal["json", "arrow"],
        gone: Callable[[], Awaitable[bool]],
    ) -> "RawResult":
        """Run one query.

        Args:
            gone: whether the client has gone; its query is then ended.

        Raises:
            Problem: 422 for a query that cannot be run or asks for too much, 429 while too many run, 503 while nothing
                is published, 504 for one that takes too long.
        """
        await self._take_turn()
        unwanted = threading.Event()
        try:
            work = asyncio.ensure_future(
                run_in_threadpool(self._run, sql, parameters, limit=limit, form=form, unwanted=unwanted)
            )
            while not (await asyncio.wait({work}, timeout=_LISTEN))[0]:
                if await gone():
                    unwanted.set()
            return work.result()
        finally:
            # Also when this task is cancelled: a process must not outlive the wish for its answer.
            unwanted.set()
            self._turns.release()

    def close(self) -> None:
        """End the process that waits for the next query."""
        if self._sandboxes is not None:
            self._sandboxes.close()

    def _processes(self) -> "Sandboxes":
        from warehouse.marts import Sandboxes

        with self._lock:
            if self._sandboxes is None:
                # Whoever asked once asks again: the next one is spared the start of a process.
                self._sandboxes = Sandboxes(ahead=True)
            return self._sandboxes

    async def _take_turn(self) -> None:
        if self._turns.locked() and self._waiting >= QUEUE:
            raise _busy()
        self._waiting += 1
        try:
            await asyncio.wait_for(self._turns.acquire(), PATIENCE)
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1

    def _run(
        self,
        sql: str,
        parameters: list[Any] | dict[str, Any] | None,
        *,
        limit: int,
        form: Literal["json", "arrow"],
        unwanted: threading.Event,
    ) -> "RawResult":
        from warehouse.marts import NothingPublishedError, QueryCancelledError, QueryError, run_query_raw

        try:
            return run_query_raw(
                self._database,
                self._settings,
                sql,
                parameters=parameters,
                limit=limit,
                timeout=TIMEOUT,
                answer_bytes=ANSWER_BYTES,
                form=form,
                zoned=True,
                unwanted=unwanted,
                sandboxes=self._processes(),
            )
        except QueryError as error:
            raise _of_query(error) from error
        except NothingPublishedError as error:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                str(error),
                kind="nothing-published",
                title="Nothing published",
                headers={"Retry-After": "30"},
            ) from error
        except QueryCancelledError as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error


def _busy() -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"{AT_ONCE} queries are running and others wait: ask again in a moment",
        kind="queries-busy",
        title="Too many queries",
        headers={"Retry-After": "2"},
    )


def _of_query(error: "QueryError") -> Problem:
    from warehouse.marts import QueryRefusedError, QueryTimeoutError, QueryTooLargeError

    message = str(error)
    if isinstance(error, QueryTimeoutError):
        detail = f"the query did not end within {TIMEOUT:g} seconds: ask for less"
        return Problem(HTTPStatus.GATEWAY_TIMEOUT, detail, kind="query-timeout", title="Query took too long")
    if isinstance(error, QueryRefusedError):
        kind, title = "query-refused", "Query not allowed"
    elif isinstance(error, QueryTooLargeError):
        kind, title = "query-too-large", "Query needs too much memory"
    else:
        kind, title = "query-failed", "Query failed"
    errors = [{"loc": ["body", "sql"], "msg": message, "type": kind.replace("-", "_")}]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, message, kind=kind, title=title, errors=errors)
