"""A sweep over the known files for edits in place, which change no folder: a budget of files per call, round and round.

Belongs here: comparing the size and time of a file with what the last scan saw. Does not: reading files, writing rows;
whoever finds an edit asks for a sync.
"""

import os
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, select

from warehouse.engine import Database
from warehouse.models import Document, File
from warehouse.storage import is_stored

BUDGET: Final = 5_000
"""Files per call: some 10 ms on a local disk. A library of a million files takes two hours at a call every 30 s."""
_TABLES: Final = (Document, File)


class Position(Struct, frozen=True):
    """Where the next call goes on: the table's place among documents and weight files, and the last number seen."""

    table: int = 0
    after: int = 0


class Sweep(Struct, frozen=True):
    """What a call found: where to go on, and the first edited file with the size and time it has now."""

    position: Position
    edited: str | None


def sweep_edits(database: Database, position: Position, *, budget: int = BUDGET) -> Sweep:
    """Look at up to `budget` known files from a position on, once around at most; ends at the first edited one.

    A file that is gone is no edit: that changes its folder, or its whole disk is away. Objects of stores are passed
    over: their listing tells edits too.
    """
    with database.read() as connection:
        for _ in range(len(_TABLES) + 1):
            rows = _rows(connection, position, budget)
            for pk, path, size, mtime_ns in rows:
                edited = _edited(path, size, mtime_ns)
                if edited is not None:
                    return Sweep(Position(position.table, pk), edited)
            if len(rows) == budget:
                return Sweep(Position(position.table, rows[-1][0]), None)
            budget -= len(rows)
            position = Position((position.table + 1) % len(_TABLES), 0)
    return Sweep(position, None)


def _rows(connection: Connection, position: Position, limit: int) -> list[tuple[int, str, int, int]]:
    table = _TABLES[position.table % len(_TABLES)]
    statement = (
        select(table.pk, table.path, table.size, table.mtime_ns)
        .where(table.pk > position.after, table.state == "present")
        .order_by(table.pk)
        .limit(limit)
    )
    return [(row.pk, row.path, row.size, row.mtime_ns) for row in connection.execute(statement)]


def _edited(path: str, size: int, mtime_ns: int) -> str | None:
    if is_stored(path):
        return None
    try:
        status = os.stat(path)  # noqa: PTH116 - thousands of these
    except OSError:
        return None
    if (status.st_size, status.st_mtime_ns) == (size, mtime_ns):
        return None
    return f"{path} ({status.st_size} bytes, {status.st_mtime_ns})"
