"""Exclusive work by name: a lease row, renewed while its holder lives, taken over when it does not.

Belongs here: mutual exclusion between processes that may run on several hosts. Does not: locks inside a process.
A lease of a process of this host that is gone is free at once, so that work killed with -9 can be run again without
waiting for the lease to expire.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update

from warehouse.engine import Database
from warehouse.models import Lock, utc_now
from warehouse.processes import is_holder_gone, new_holder

LEASE = timedelta(seconds=60)
"""How long a lease outlives its last renewal. Renewed every quarter of it."""


class LockHeld(RuntimeError):  # noqa: N818 - a state of the world, not a fault
    """Somebody else holds the lock."""

    def __init__(self, name: str, holder: str) -> None:
        host, pid, *_ = [*holder.split("|"), "?"]
        super().__init__(
            f"'{name}' is being worked on by process {pid} on {host}: wait until it ends, or stop it, and try again"
        )
        self.name = name
        self.holder = holder


def _take(connection: Connection, name: str, holder: str) -> None:
    now = utc_now()
    row = connection.execute(select(Lock.holder, Lock.expires_at).where(Lock.name == name).with_for_update()).first()
    if row is not None:
        if row.expires_at > now and not is_holder_gone(row.holder):
            raise LockHeld(name, row.holder)
        connection.execute(delete(Lock).where(Lock.name == name))
    connection.execute(insert(Lock).values(name=name, holder=holder, acquired_at=now, expires_at=now + LEASE))


def _renew_until(database: Database, name: str, holder: str, stop: threading.Event) -> None:
    while not stop.wait(LEASE.total_seconds() / 4):
        with database.write() as connection:
            connection.execute(
                update(Lock).where(Lock.name == name, Lock.holder == holder).values(expires_at=utc_now() + LEASE)
            )


@contextmanager
def exclusive(database: Database, name: str) -> Iterator[None]:
    """Hold the named lock for the block.

    Raises:
        LockHeld: another living process holds it.
    """
    holder = new_holder()
    with database.write() as connection:
        _take(connection, name, holder)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew_until, args=(database, name, holder, stop), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        stop.set()
        renewer.join()
        with database.write() as connection:
            connection.execute(delete(Lock).where(Lock.name == name, Lock.holder == holder))
