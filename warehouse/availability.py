"""Whether an error of the database means that it cannot be had just now, and so that the same work may succeed later.

Belongs here: telling such errors from those of a statement, on both dialects. Does not: waiting and trying again, and
what a client is told (`serving`).
"""

import sqlite3
from enum import StrEnum

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class Unavailability(StrEnum):
    """Why the database cannot be had."""

    BUSY = "busy"
    """Others hold it: its lock, its rows or every connection of the pool."""
    FULL = "full"
    """It has no room to write."""
    GONE = "gone"
    """It does not answer, or takes no connection."""


_SQLITE = {
    sqlite3.SQLITE_BUSY: Unavailability.BUSY,
    sqlite3.SQLITE_LOCKED: Unavailability.BUSY,
    sqlite3.SQLITE_PROTOCOL: Unavailability.BUSY,
    sqlite3.SQLITE_FULL: Unavailability.FULL,
    sqlite3.SQLITE_CANTOPEN: Unavailability.GONE,
}
"""By the primary code; an error that is not here (a damaged file, say) does not pass by itself."""
_SQLITE_PRIMARY = 0xFF

_STATES = {
    "40001": Unavailability.BUSY,  # serialisation failure
    "40P01": Unavailability.BUSY,  # deadlock
    "55P03": Unavailability.BUSY,  # lock not available
    "57014": Unavailability.BUSY,  # statement timeout of the server's own
    "53300": Unavailability.BUSY,  # too many connections
    "53100": Unavailability.FULL,  # disk full
    "25006": Unavailability.GONE,  # read-only: a server that is not, or not yet, the primary one
    "57P01": Unavailability.GONE,  # shut down by its administrator
    "57P02": Unavailability.GONE,  # crashed
    "57P03": Unavailability.GONE,  # starts or stops
}
_CONNECTION_CLASS = "08"


def unavailability(error: BaseException) -> Unavailability | None:
    """Why the database could not be had; None where the error has another reason."""
    if isinstance(error, PoolTimeoutError):
        return Unavailability.BUSY
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return None if code is None else _SQLITE.get(code & _SQLITE_PRIMARY)
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return Unavailability.GONE if state.startswith(_CONNECTION_CLASS) else _STATES.get(state)
    # PostgreSQL gives every error of a statement a state: without one it is the connection that failed.
    failed = error.connection_invalidated or isinstance(error, OperationalError)
    return Unavailability.GONE if failed else None
