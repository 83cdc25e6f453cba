"""Many rows at once, by the driver's own executemany: a tenth of what a general statement costs per row.

Belongs here: INSERT, UPDATE and set membership for thousands of rows, in both dialects. Does not: statements that run
once. Rows are dictionaries of one shape, or columns of one length: thousands of rows that have most values in common
are faster made that way. JSON columns are given as encoded text or as lists and dictionaries.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import JSON, ColumnElement, Connection, DateTime, Table, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from warehouse.models import AdapterSearch, Base, UtcDateTime

OnConflict = Literal["fail", "skip", "replace"]
Columns = Mapping[str, Sequence[Any]]
"""Values by the name of their column, in the order of the rows."""
_ROWS_OF_WORDS: Final = 1_024
"""In one statement: five parameters each, of the 32,766 that SQLite takes."""
_JSON: Final = msgspec.json.Encoder()
_UTC_OFFSET: Final = -len("+00:00")


def table_of(model: type[Base]) -> Table:
    """The table of a model."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def insert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    conflict: OnConflict = "fail",
    keep_equal: bool = False,
) -> None:
    """Insert rows; `conflict` on the primary key fails, skips the row, or replaces its other columns.

    With `keep_equal` a row that is there with the same values is left untouched, so that no trigger runs.
    """
    if rows:
        insert_columns(connection, table, _columns(rows), conflict=conflict, keep_equal=keep_equal)


def insert_columns(
    connection: Connection,
    table: Table,
    columns: Columns,
    *,
    conflict: OnConflict = "fail",
    keep_equal: bool = False,
) -> None:
    """Insert rows that are given by column."""
    if values := _values(connection, table, columns):
        statement = _insert(connection.dialect.name, table, tuple(columns), conflict, keep_equal, count=1)
        connection.exec_driver_sql(statement, values)


def insert_rows(connection: Connection, table: Table, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Insert rows whose values are in the order of `names` and as the driver takes them.

    For wide rows: turning them into columns and back touches every value twice more. JSON is text, moments are `bound`.
    """
    if rows:
        statement = _insert(connection.dialect.name, table, names, "fail", keep_equal=False, count=1)
        connection.exec_driver_sql(statement, rows)


def bound(connection: Connection, moment: datetime | None) -> datetime | str | None:
    """A moment as the driver takes it."""
    return _moment(moment) if connection.dialect.name == "sqlite" else moment


def insert_words(connection: Connection, columns: Columns) -> None:
    """Insert or replace rows of `adapter_search`; equal ones are left untouched.

    On SQLite a trigger hands each row to FTS5, which writes out what it gathered at the end of the statement: hundreds
    of rows are one statement there, which takes a third of the time. Its rows are a power of two, the last one repeated
    to make them that many: a driver keeps the statements that it compiled, and those of every number of rows would take
    half a megabyte each.
    """
    table = table_of(AdapterSearch)
    if connection.dialect.name != "sqlite":
        insert_columns(connection, table, columns, conflict="replace", keep_equal=True)
        return
    rows, names = _values(connection, table, columns), tuple(columns)
    for start in range(0, len(rows), _ROWS_OF_WORDS):
        some = rows[start : start + _ROWS_OF_WORDS]
        size = 1 << (len(some) - 1).bit_length()
        statement = _insert("sqlite", table, names, "replace", keep_equal=True, count=size)
        connection.exec_driver_sql(statement, tuple(chain.from_iterable([*some, *some[-1:] * (size - len(some))])))


def update(connection: Connection, table: Table, key: str, rows: Sequence[dict[str, Any]]) -> None:
    """Set the other columns of each row where `key` has its value."""
    if rows:
        update_columns(connection, table, key, _columns(rows))


def update_columns(connection: Connection, table: Table, key: str, columns: Columns) -> None:
    """The same with rows that are given by column."""
    names = tuple(name for name in columns if name != key)
    if values := _values(connection, table, {name: columns[name] for name in (*names, key)}):
        connection.exec_driver_sql(_update(connection.dialect.name, table, names, key), values)


def _columns(rows: Sequence[dict[str, Any]]) -> Columns:
    names = tuple(rows[0])
    if len(names) == 1:
        return {names[0]: [row[names[0]] for row in rows]}
    return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))


def among(connection: Connection, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Whether a column is one of many values: one parameter, so that the statement stays the same for any number."""
    if connection.dialect.name == "sqlite":
        given = func.json_each(_JSON.encode(list(values)).decode()).table_valued("value")
        found: ColumnElement[bool] = column.in_(select(given.c.value))
        return found
    return column == any_(bindparam(None, list(values), type_=ARRAY(column.type)))  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _insert(
    dialect: str, table: Table, names: tuple[str, ...], conflict: OnConflict, keep_equal: bool, count: int
) -> str:
    columns = ", ".join(_quoted(name) for name in names)
    row = f"({', '.join(_placeholder(dialect, table, name) for name in names)})"
    values = ", ".join([row] * count)
    statement = f"INSERT INTO {_quoted(table.name)} ({columns}) VALUES {values}"  # noqa: S608 - our own names
    if conflict == "fail":
        return statement
    key = [column.name for column in table.primary_key]
    if conflict == "skip":
        return f"{statement} ON CONFLICT DO NOTHING"
    others = [_quoted(name) for name in names if name not in key]
    changed = ", ".join(f"{name} = excluded.{name}" for name in others)
    statement += f" ON CONFLICT ({', '.join(map(_quoted, key))}) DO UPDATE SET {changed}"
    if keep_equal:
        differs = " OR ".join(f"{_quoted(table.name)}.{name} IS DISTINCT FROM excluded.{name}" for name in others)
        if dialect == "sqlite":
            differs = differs.replace("IS DISTINCT FROM", "IS NOT")
        statement += f" WHERE {differs}"
    return statement


@lru_cache(maxsize=256)
def _update(dialect: str, table: Table, names: tuple[str, ...], key: str) -> str:
    changed = ", ".join(f"{_quoted(name)} = {_placeholder(dialect, table, name)}" for name in names)
    where = f"{_quoted(key)} = {_placeholder(dialect, table, key)}"
    return f"UPDATE {_quoted(table.name)} SET {changed} WHERE {where}"  # noqa: S608 - our own names


def _quoted(name: str) -> str:
    return f'"{name}"'


def _placeholder(dialect: str, table: Table, name: str) -> str:
    if dialect == "sqlite":
        return "?"
    return "%s::jsonb" if isinstance(table.c[name].type, JSON) else "%s"


def _values(connection: Connection, table: Table, columns: Columns) -> list[tuple[Any, ...]]:
    """The rows as the driver takes them: by their places, for it looks each name of each row up.

    Column by column: most of them need nothing, which one look at each tells.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    return list(zip(*(_bound(table.c[name].type, is_sqlite, column) for name, column in columns.items()), strict=True))


def _bound(kind: Any, is_sqlite: bool, column: Sequence[Any]) -> Sequence[Any]:
    if is_sqlite and isinstance(kind, (UtcDateTime, DateTime)):
        return _moments(column)
    return _documents(column) if isinstance(kind, JSON) else column


def _documents(column: Sequence[Any]) -> Sequence[str | None]:
    """JSON values as text, which they may be already."""
    if {*map(type, column)} <= {str, NoneType}:
        return column
    return [value if value is None or type(value) is str else _JSON.encode(value).decode() for value in column]


def _moments(column: Sequence[datetime | None]) -> Sequence[str | None]:
    """Moments as SQLAlchemy stores them in SQLite."""
    if column and column.count(column[0]) == len(column):
        return [_moment(column[0])] * len(column)
    return list(map(_moment, column))


def _moment(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")[:_UTC_OFFSET]
