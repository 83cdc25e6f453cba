"""Rows into the tables of a database, in the transaction of the caller.

The triggers of the tables do their work as they always do: full-text indices follow, and the counters of changes that
they raise are written over in the end, since their table comes last. On a refusal the row and the column are named.
"""

import re
import sqlite3
from collections.abc import Sequence
from itertools import islice

import msgspec
import psycopg
from sqlalchemy import Connection, delete, table, text
from sqlalchemy.exc import DBAPIError, StatementError

from warehouse.transfer import PortableRow, TransferError
from warehouse.transfer.shapes import COUNTERS, Kind, TableShape

_PLACE = re.compile(r"COPY \w+, line (\d+)(?:, column (\w+))?")
"""In what PostgreSQL says of the place of an error."""


class UnstorableValueError(TransferError):
    """A value that the database does not take."""


def prepare(connection: Connection, shape: TableShape) -> None:
    """Make a table ready for its first rows."""
    if shape.name == COUNTERS:
        connection.execute(delete(table(COUNTERS)))


def write_rows(connection: Connection, shape: TableShape, rows: Sequence[PortableRow]) -> None:
    """Write rows with their keys.

    Raises:
        UnstorableValueError: the database refuses one; nothing of the transaction may be kept.
    """
    if not rows:
        return
    names = ", ".join(f'"{part.name}"' for part in shape.columns)
    try:
        if connection.dialect.name == "sqlite":
            places = ", ".join("?" * len(shape.columns))
            connection.exec_driver_sql(f'INSERT INTO "{shape.name}" ({names}) VALUES ({places})', list(rows))  # noqa: S608
        else:
            _copy(connection, f'COPY "{shape.name}" ({names}) FROM STDIN', rows)
    except (psycopg.DataError, psycopg.IntegrityError, StatementError, sqlite3.Error) as error:
        if isinstance(error, DBAPIError) and not isinstance(error.orig, (sqlite3.IntegrityError, sqlite3.DataError)):
            # A full disk or a lost server says nothing of the rows.
            raise
        raise UnstorableValueError(_explanation(shape, rows, error)) from error


def _copy(connection: Connection, statement: str, rows: Sequence[PortableRow]) -> None:
    # Moments have no zone; whoever is connected may have set another.
    connection.execute(text("SET LOCAL TimeZone TO 'UTC'"))
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _has_nul(value: object, kind: Kind) -> bool:
    if not isinstance(value, str):
        return False
    if kind is Kind.JSON:
        return "\\u0000" in value and "\x00" in _texts(msgspec.json.decode(value))
    return "\x00" in value


def _texts(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"{name}{_texts(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "".join(_texts(item) for item in value)
    return value if isinstance(value, str) else ""


def _explanation(shape: TableShape, rows: Sequence[PortableRow], error: Exception) -> str:
    """Which row, which column, and why."""
    said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    row, column = None, None
    diagnosis = getattr(error, "diag", None)
    found = _PLACE.search(getattr(diagnosis, "context", None) or "")
    if found:
        row, column = next(islice(rows, int(found[1]) - 1, None), None), found[2]
    if column is None:
        for candidate in rows if row is None else (row,):
            names = [
                part.name for part, value in zip(shape.columns, candidate, strict=True) if _has_nul(value, part.kind)
            ]
            if names:
                row, column, said = candidate, names[0], "it holds a NUL character, which PostgreSQL stores in no text"
                break
    where = f"a row of {shape.name}"
    if row is not None:
        key = ", ".join(f"{name} {value!r}" for name, value in zip(shape.key, shape.key_of(row), strict=True))
        where = f"the row of {shape.name} with {key}"
    if column is not None:
        where += f", column {column}"
    return f"{where}, cannot be stored: {said}. Change it in the source, then go on"
