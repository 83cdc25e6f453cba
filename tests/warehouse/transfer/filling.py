"""Rows for every table there is, with what the dialects keep differently in them.

The tables are taken from the models, so that a new one is filled, copied and compared without anybody thinking of it.
"""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Boolean, Date, Float, Integer, LargeBinary, Table, insert, inspect

from warehouse.engine import Database
from warehouse.models import Base, UtcDateTime
from warehouse.transfer.shapes import TableShape, shapes

BORN = datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)
JSONS: tuple[Any, ...] = (
    {},
    {"zebra": 1, "a": [1, 2.5, None, True], "ключ": {"b": "水墨画 🐉", "": []}},
    {"large": 1e16, "small": 1e-7, "whole": 3.0, "minus": -0.0, "exact": 0.1, "long": 2**62},
    [],
    ["x", '"quoted"', "back\\slash", "line\nbreak", "tab\t", "\x7f"],
    [1.5, [[]], {"deep": {"deeper": [None]}}],
)
FLOATS = (0.0, -0.0, 0.1, 1e-300, 1.7976931348623157e308, float("inf"), 3.0)
TEXTS = ("", "plain", "水墨画", "🐉", "a\tb\nc\\d", "\\N", "'; DROP", "é", "é", "\x01\x7f")


def present_shapes(database: Database) -> tuple[TableShape, ...]:
    """The shapes of a database at an earlier revision: those tables and columns that it has."""
    with database.read() as connection:
        inspector = inspect(connection)
        names = set(inspector.get_table_names())
        columns = {name: {column["name"] for column in inspector.get_columns(name)} for name in names}
    return tuple(
        TableShape(shape.name, tuple(part for part in shape.columns if part.name in columns[shape.name]), shape.key)
        for shape in shapes()
        if shape.name in names
    )


def fill(database: Database, *, rows: int = 12, seed: int = 0) -> None:
    """Put rows into every table of whatever revision; those that refer to others refer to some that are there."""
    source = random.Random(seed)
    keys: dict[str, list[Any]] = {}
    columns = {shape.name: [part.name for part in shape.columns] for shape in present_shapes(database)}
    with database.write() as connection:
        for counters in {"change_counts", "facet_counts"} & columns.keys():
            connection.exec_driver_sql(f"DELETE FROM {counters}")
        for table in Base.metadata.sorted_tables:
            if table.name in columns:
                made = [_row(table, columns[table.name], number, keys, source) for number in range(1, rows + 1)]
                connection.execute(insert(table), made)
                key = next(iter(table.primary_key)).name
                keys[table.name] = [row[key] for row in made]


def _row(
    table: Table, columns: list[str], number: int, keys: dict[str, list[Any]], source: random.Random
) -> dict[str, Any]:
    return {name: _value(table, table.columns[name], number, keys, source) for name in columns}


def _value(table: Table, column: Any, number: int, keys: dict[str, list[Any]], source: random.Random) -> Any:
    unique = column.primary_key or column.unique or column.name in {"id", "name", "position", "job_id", "stem"}
    if column.foreign_keys:
        parents = keys[next(iter(column.foreign_keys)).column.table.name]
        # In order, so that keys of references are unique.
        return parents[number - 1] if unique or not column.nullable or source.random() < 0.7 else None
    if column.nullable and not unique and source.random() < 0.3:
        return None
    return _of_type(table, column, number, source, unique=unique)


def _of_type(table: Table, column: Any, number: int, source: random.Random, *, unique: bool) -> Any:
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return BORN + timedelta(microseconds=number) if source.random() < 0.5 else BORN.replace(microsecond=0)
    if column.name == "provenance":
        # The one object whose form a revision changed (0011, which has its own test): nothing is nothing in either.
        return {}
    if isinstance(kind, JSON):
        return source.choice(JSONS)
    if isinstance(kind, Boolean):
        return source.random() < 0.5
    if isinstance(kind, Date):
        return date(2026, 1, number)
    if isinstance(kind, Float):
        return source.choice(FLOATS)
    if isinstance(kind, LargeBinary):
        return source.randbytes(source.choice((0, 1, 300)))
    if isinstance(kind, Integer):
        return number if unique else source.choice((0, 1, -1, 2**31 - 1))
    text = f"{number:04d}" if unique else source.choice(TEXTS)
    return text[: getattr(kind, "length", None)]
