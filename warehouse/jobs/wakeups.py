"""Waiting for a change of jobs: PostgreSQL says so, SQLite is asked forty times a second.

Belongs here: noticing that something may have changed. Does not: what (the caller looks). A wake-up for nothing is
allowed, a change without one is not.
"""

import time
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from warehouse.engine import Database
from warehouse.jobs.changes import CHANNEL

POLL_SECONDS = 0.02
"""`PRAGMA data_version` reads a counter in shared memory: fifty looks a second cost a third of a percent of a core."""

_RECONNECT_SECONDS = 1.0


class ChangeWatch:
    """A connection of its own that notices commits of others. For one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: PoolProxiedConnection | None = None
        self._driver: Any = None
        self._version = 0

    def __enter__(self) -> Self:
        # A database that does not answer now is what `wait` gets over.
        self._try_to_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def wait(self, seconds: float) -> bool:
        """Wait for a change since the last call (or since the block was entered), at most so long.

        Returns:
            Whether something may have changed. True also when the connection was lost: what happened meanwhile is not
            known.
        """
        if self._connection is None:
            return self._reconnect(seconds)
        try:
            return self._poll(seconds) if self._database.is_sqlite else self._listen(seconds)
        except (SQLAlchemyError, OSError, self._driver_error()):
            self._close()
            return True

    def _open(self) -> None:
        # The driver's own connection, outside of any transaction: inside one SQLite would show no change.
        self._connection = self._database.engine.raw_connection()
        self._driver = self._connection.driver_connection
        if self._database.is_sqlite:
            self._version = self._data_version()
        else:
            self._driver.autocommit = True
            self._driver.execute(f"LISTEN {CHANNEL}")

    def _close(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            # Listening ends with the connection, so it does not go back to the pool.
            connection.invalidate()

    def _reconnect(self, seconds: float) -> bool:
        if not self._try_to_open():
            time.sleep(min(seconds, _RECONNECT_SECONDS))
        return True

    def _try_to_open(self) -> bool:
        try:
            self._open()
        except (SQLAlchemyError, OSError, self._driver_error()):
            self._close()
            return False
        return True

    def _poll(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            version = self._data_version()
            if version != self._version:
                self._version = version
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(POLL_SECONDS, left))

    def _data_version(self) -> int:
        return int(self._driver.execute("PRAGMA data_version").fetchone()[0])

    def _listen(self, seconds: float) -> bool:
        return any(True for _ in self._driver.notifies(timeout=seconds, stop_after=1))

    def _driver_error(self) -> type[Exception]:
        error: type[Exception] = self._database.engine.dialect.loaded_dbapi.Error
        return error
