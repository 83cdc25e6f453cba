"""Who is at work: a lease row by name, renewed while its process lives, so that its silence is heard on every host.

Belongs here: saying that one lives, and asking who does not. Does not: exclusive work (`locks`, in the same table).
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import delete, insert, select

from warehouse.dialects import shared_now
from warehouse.engine import Database
from warehouse.locks import LEASE, renewed
from warehouse.models import Lock
from warehouse.processes import new_holder

_FORGOTTEN = timedelta(days=1)
"""After so long the presence of somebody who never took his leave is deleted."""


@contextmanager
def present(database: Database, name: str) -> Iterator[None]:
    """Be known under a name as living, for the block, to whoever asks for the `absent`, on any host."""
    holder = new_holder()
    with database.write() as connection:
        now = shared_now(connection)
        connection.execute(delete(Lock).where((Lock.name == name) | (Lock.expires_at < now - _FORGOTTEN)))
        connection.execute(insert(Lock).values(name=name, holder=holder, acquired_at=now, expires_at=now + LEASE))
    with renewed(database, name, holder):
        yield


def absent(database: Database, names: Collection[str]) -> set[str]:
    """Those of the names under which nobody is `present`: who left, and who has been silent for the time of a lease."""
    with database.read() as connection:
        living = select(Lock.name).where(Lock.name.in_(names), Lock.expires_at > shared_now(connection))
        return set(names) - set(connection.execute(living).scalars())
