"""Exclusive work by name: a lease row, renewed while its holder lives, taken over when it does not.

Belongs here: mutual exclusion between processes that may run on several hosts. Does not: locks inside a process.
Of a process of this host it is known whether it lives, so the time says nothing of its lease: it is free at once when
the process is gone, so that work killed with -9 can be run again, and it is held while the process lives, whatever
became of the clock, or of the database when the lease was to be renewed. Time decides about other hosts alone.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from warehouse.dialects import shared_now
from warehouse.engine import Database
from warehouse.models import Lock
from warehouse.processes import identity, is_holder_gone, is_of_this_host, new_holder

LEASE = timedelta(seconds=60)
"""How long a lease outlives its last renewal. Renewed every quarter of it."""
_RENEW_AGAIN_SECONDS = 1.0
"""After a renewal that the database did not take."""
_log = logging.getLogger(__name__)


class LockHeld(RuntimeError):  # noqa: N818 - a state of the world, not a fault
    """Somebody else holds the lock."""

    def __init__(self, name: str, holder: str) -> None:
        host, pid, *_ = [*holder.split("|"), "?"]
        super().__init__(
            f"'{name}' is being worked on by process {pid} on {host}: wait until it ends, or stop it, and try again"
        )
        self.name = name
        self.holder = holder


_held: set[str] = set()
"""Holders that work in this process now: the row of any other was left by a release that the database did not take."""


def _is_held(holder: str, *, expired: bool) -> bool:
    if not is_of_this_host(holder):
        return not expired
    if holder.startswith(identity() + "|"):
        return holder in _held
    return not is_holder_gone(holder)


def _take(connection: Connection, name: str, holder: str) -> None:
    now = shared_now(connection)
    row = connection.execute(select(Lock.holder, Lock.expires_at).where(Lock.name == name).with_for_update()).first()
    if row is not None:
        if _is_held(row.holder, expired=row.expires_at <= now):
            raise LockHeld(name, row.holder)
        connection.execute(delete(Lock).where(Lock.name == name))
    connection.execute(insert(Lock).values(name=name, holder=holder, acquired_at=now, expires_at=now + LEASE))


def _renew(database: Database, name: str, holder: str) -> bool:
    """Whether the lease is still the holder's."""
    with database.write() as connection:
        mine = update(Lock).where(Lock.name == name, Lock.holder == holder)
        return connection.execute(mine.values(expires_at=shared_now(connection) + LEASE)).rowcount == 1


def _renew_until(database: Database, name: str, holder: str, stop: threading.Event) -> None:
    seconds = LEASE.total_seconds() / 4
    while not stop.wait(seconds):
        try:
            is_mine = _renew(database, name, holder)
        except SQLAlchemyError as error:
            # A database that restarts must not cost the lease: the next renewal comes before it is over.
            _log.warning("the lease of '%s' could not be renewed, and is tried again: %s", name, type(error).__name__)
            seconds = _RENEW_AGAIN_SECONDS
            continue
        if not is_mine:
            _log.error("the lease of '%s' ran out, and another host has taken it: two work on it now", name)
            return
        seconds = LEASE.total_seconds() / 4


def _release(database: Database, name: str, holder: str) -> None:
    try:
        with database.write() as connection:
            connection.execute(delete(Lock).where(Lock.name == name, Lock.holder == holder))
    except SQLAlchemyError as error:
        # What failed before, if anything did, says more; the row is free as soon as nobody here works under it.
        _log.warning("the lease of '%s' could not be given back: %s", name, type(error).__name__)


@contextmanager
def renewed(database: Database, name: str, holder: str) -> Iterator[None]:
    """Renew a lease for the block, and give it back at its end; the database may be away meanwhile."""
    stop = threading.Event()
    renewer = threading.Thread(target=_renew_until, args=(database, name, holder, stop), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        stop.set()
        renewer.join()
        _release(database, name, holder)


@contextmanager
def exclusive(database: Database, name: str) -> Iterator[None]:
    """Hold the named lock for the block.

    Raises:
        LockHeld: another living process holds it.
    """
    holder = new_holder()
    _held.add(holder)
    try:
        with database.write() as connection:
            _take(connection, name, holder)
        with renewed(database, name, holder):
            yield
    finally:
        _held.discard(holder)
