"""All rows of a table, one after the other, in the order of its key."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
    tuple_,
)
from sqlalchemy.types import BigInteger, Boolean, Date, Float, LargeBinary, TypeEngine

from warehouse.engine import Database
from warehouse.transfer import PortableRow
from warehouse.transfer.shapes import Kind, TableShape

_FETCH_ROWS = 500
_FETCH_WIDE_ROWS = 25
"""Rows that exist at once where a row may hold a document of megabytes."""
_TYPES: dict[Kind, TypeEngine[Any]] = {
    Kind.INTEGER: BigInteger(),
    Kind.FLOAT: Float(),
    Kind.BOOLEAN: Boolean(),
    Kind.BYTES: LargeBinary(),
    Kind.TEXT: Text(),
}
_MOMENT_LENGTH = len("2026-01-01 00:00:00.000000")
_SECOND_LENGTH = len("2026-01-01 00:00:00")


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """A connection on which everything is read as it is at this moment, while others go on writing."""
    with database.read() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        # The moment is that of the first statement.
        connection.execute(text("SELECT count(*) FROM alembic_version"))
        yield connection


def _expression(connection: Connection, name: str, kind: Kind) -> ColumnElement[Any]:
    plain: ColumnElement[Any] = column(name, _TYPES.get(kind))
    if connection.dialect.name == "sqlite":
        return plain
    if kind in {Kind.JSON, Kind.DAY}:
        return cast(plain, Text).label(name)
    if kind is Kind.MOMENT:
        return func.to_char(
            func.timezone("UTC", plain), literal_column("'YYYY-MM-DD HH24:MI:SS.US'"), type_=Text
        ).label(name)
    return plain


def _exact(moment: str) -> str:
    """A moment that was written into SQLite without its fraction."""
    if len(moment) == _SECOND_LENGTH:
        return f"{moment}.000000"
    whole, _, fraction = moment.partition(".")
    return f"{whole}.{fraction[:6]:0<6}"


def read_rows(
    connection: Connection, shape: TableShape, *, after: Sequence[Any] | None = None
) -> Iterator[PortableRow]:
    """The rows of a table in the order of its key, behind a key if one is given; few of them exist at a time."""
    kinds = {part.name: part.kind for part in shape.columns}
    key: list[ColumnElement[Any]] = [
        column(name, Date() if kinds[name] is Kind.DAY else _TYPES[kinds[name]]) for name in shape.key
    ]
    statement = select(*(_expression(connection, part.name, part.kind) for part in shape.columns))
    statement = statement.select_from(table(shape.name)).order_by(*key)
    if after is not None:
        last = [
            literal(date.fromisoformat(value) if kinds[name] is Kind.DAY else value, part.type)
            for name, part, value in zip(shape.key, key, after, strict=True)
        ]
        statement = statement.where(tuple_(*key) > tuple_(*last) if len(key) > 1 else key[0] > last[0])
    size = _FETCH_WIDE_ROWS if shape.places(Kind.BYTES) else _FETCH_ROWS
    moments = shape.places(Kind.MOMENT) if connection.dialect.name == "sqlite" else ()
    result = connection.execute(statement, execution_options={"yield_per": size})
    for row in result:
        values = tuple(row)
        if any(values[place] is not None and len(values[place]) != _MOMENT_LENGTH for place in moments):
            values = tuple(
                _exact(value) if place in moments and value is not None else value for place, value in enumerate(values)
            )
        yield values


def count_rows(connection: Connection, name: str) -> int:
    """How many rows a table has."""
    return connection.execute(select(func.count()).select_from(table(name))).scalar_one()
