"""Who is at work: a lease row by name, renewed while its process lives, so that its silence is heard on every host.

Belongs here: saying that one lives, and asking who does not. Does not: exclusive work (`locks`, in the same table).
"""

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from warehouse.availability import unavailability
from warehouse.engine import Database
from warehouse.locks import LEASE
from warehouse.models import Lock, utc_now
from warehouse.processes import new_holder

_FORGOTTEN = timedelta(days=1)
"""After so long the presence of somebody who never took his leave is deleted."""

_log = logging.getLogger(__name__)


def _renew_until(database: Database, name: str, holder: str, stop: threading.Event) -> None:
    while not stop.wait(LEASE.total_seconds() / 4):
        try:
            with database.write() as connection:
                connection.execute(
                    update(Lock).where(Lock.name == name, Lock.holder == holder).values(expires_at=utc_now() + LEASE)
                )
        except SQLAlchemyError as error:
            if unavailability(error) is None:
                raise
            # The lease outlives three renewals that fail.
            _log.warning("the presence of %s could not be renewed; tried again", name, exc_info=True)


def _leave(database: Database, name: str, holder: str) -> None:
    try:
        with database.write() as connection:
            connection.execute(delete(Lock).where(Lock.name == name, Lock.holder == holder))
    except SQLAlchemyError as error:
        if unavailability(error) is None:
            raise
        _log.warning("%s could not take its leave; its lease expires", name, exc_info=True)


@contextmanager
def present(database: Database, name: str) -> Iterator[None]:
    """Be known under a name as living, for the block, to whoever asks for the `absent`, on any host."""
    holder, now = new_holder(), utc_now()
    with database.write() as connection:
        connection.execute(delete(Lock).where((Lock.name == name) | (Lock.expires_at < now - _FORGOTTEN)))
        connection.execute(insert(Lock).values(name=name, holder=holder, acquired_at=now, expires_at=now + LEASE))
    stop = threading.Event()
    renewer = threading.Thread(target=_renew_until, args=(database, name, holder, stop), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        stop.set()
        renewer.join()
        _leave(database, name, holder)


def absent(database: Database, names: Collection[str]) -> set[str]:
    """Those of the names under which nobody is `present`: who left, and who has been silent for the time of a lease."""
    with database.read() as connection:
        living = select(Lock.name).where(Lock.name.in_(names), Lock.expires_at > utc_now())
        return set(names) - set(connection.execute(living).scalars())
