"""The frame every stage works in: alone, and with a clear word when the database cannot be written.

Does not belong here: what the stages do.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import OperationalError

from warehouse.availability import Unavailability, unavailability
from warehouse.engine import Database
from warehouse.locks import exclusive

LOCK = "ingest"
"""The one lock of all stages: two syncs never write the same rows."""
_OBJECTS_BETWEEN_COLLECTIONS: Final = 100_000
"""More than a chunk of rows is made of. They hold no cycles, and looking for some took a tenth of the time."""


class StorageError(RuntimeError):
    """The database could not be read or written. What was committed before is kept.

    Attributes:
        may_pass: whether the same work may succeed soon by itself: the database was away or busy, not full.
    """

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


@contextmanager
def alone(database: Database) -> Iterator[None]:
    """Work on the library while nobody else does.

    Raises:
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    try:
        with exclusive(database, LOCK), _rare_collections():
            yield
    except OperationalError as error:
        where = database.engine.url.render_as_string()
        reason = str(error.orig).strip().splitlines()[0] if error.orig is not None else str(error)
        raise StorageError(
            f"the database {where} could not be written ({reason}). Free disk space, or check that it can be reached, "
            "and sync again: everything committed so far is kept and is not done twice",
            may_pass=unavailability(error) in (Unavailability.BUSY, Unavailability.GONE),
        ) from error


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the collector of reference cycles run less often for a while."""
    young, *older = gc.get_threshold()
    gc.set_threshold(max(young, _OBJECTS_BETWEEN_COLLECTIONS), *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)
