"""The frame every stage works in: alone, and with a clear word when the database cannot be written.

Does not belong here: what the stages do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from warehouse.engine import Database
from warehouse.locks import exclusive

LOCK = "ingest"
"""The one lock of all stages: two syncs never write the same rows."""


class StorageError(RuntimeError):
    """The database could not be read or written. What was committed before is kept."""


@contextmanager
def alone(database: Database) -> Iterator[None]:
    """Work on the library while nobody else does.

    Raises:
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    try:
        with exclusive(database, LOCK):
            yield
    except OperationalError as error:
        where = database.engine.url.render_as_string()
        reason = str(error.orig).strip().splitlines()[0] if error.orig is not None else str(error)
        raise StorageError(
            f"the database {where} could not be written ({reason}). Free disk space, or check that it can be reached, "
            "and sync again: everything committed so far is kept and is not done twice"
        ) from error
