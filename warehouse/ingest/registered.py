"""Adapters that a client registered and no sync has met yet: whether their file is still there.

A sync that meets such a file takes the adapter into a bundle, whose rules hold from then on. Belongs here: the state of
those that are in none. Does not: registering (`warehouse.catalog`).
"""

from collections import Counter
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select, update

from warehouse import facets
from warehouse.engine import AnyRow, Database
from warehouse.facets import FacetKey
from warehouse.ingest import bulk
from warehouse.models import Adapter, utc_now

_CHUNK: Final = 1_000
_MISSING: Final = "missing"
_PRESENT: Final = "present"


def look_after_registered(database: Database) -> int:
    """Mark adapters in no bundle whose file is gone as missing, and those whose file is back as present; how many."""
    changed, after = 0, 0
    while rows := _some(database, after):
        after = rows[-1].pk
        there = {row.pk: _is_there(row.file_path) for row in rows}
        gone = [row for row in rows if not there[row.pk] and row.file_state != _MISSING]
        back = [row for row in rows if there[row.pk] and row.file_state == _MISSING]
        if gone or back:
            with database.write() as connection:
                changed += _mark(connection, gone, _MISSING) + _mark(connection, back, _PRESENT)
    return changed


def _is_there(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        # Whether it is there cannot be seen, which for whoever wants to use it is the same.
        return False


def _some(database: Database, after: int) -> list[AnyRow]:
    statement = (
        select(Adapter.pk, Adapter.file_path, Adapter.file_state)
        .where(Adapter.bundle_pk.is_(None), Adapter.pk > after)
        .order_by(Adapter.pk)
        .limit(_CHUNK)
    )
    with database.read() as connection:
        return list(connection.execute(statement).all())


def _mark(connection: Connection, rows: list[AnyRow], state: str) -> int:
    """Set the state of those that are still as they were looked at; a client may have changed or deleted some."""
    if not rows:
        return 0
    known = {row.pk: row for row in rows}
    columns = (Adapter.pk, Adapter.file_path, Adapter.file_state, Adapter.bundle_pk)
    current = connection.execute(
        select(*columns).where(bulk.among(connection, Adapter.pk, known)).order_by(Adapter.pk).with_for_update()
    ).all()
    due = [
        row for row in current if row.bundle_pk is None and (row.file_path, row.file_state) == tuple(known[row.pk])[1:]
    ]
    if due:
        pks = [row.pk for row in due]
        connection.execute(
            update(Adapter)
            .where(bulk.among(connection, Adapter.pk, pks))
            .values(file_state=state, updated_at=utc_now())
        )
        difference: Counter[FacetKey] = Counter(("file_state", state) for _ in due)
        difference.subtract(("file_state", row.file_state) for row in due)
        facets.apply(connection, difference)
    return len(due)
