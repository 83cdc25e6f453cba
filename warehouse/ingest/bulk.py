"""Many rows at once, by the driver's own executemany: a tenth of what a general statement costs per row.

Belongs here: INSERT, UPDATE and set membership for thousands of rows, in both dialects. Does not: statements that run
once. Rows are dictionaries of one shape; JSON columns are given as encoded text or as lists and dictionaries.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import JSON, ColumnElement, Connection, DateTime, Table, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from warehouse.models import Base, UtcDateTime

OnConflict = Literal["fail", "skip", "replace"]
_JSON: Final = msgspec.json.Encoder()


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
        names = tuple(rows[0])
        statement = _insert(connection.dialect.name, table, names, conflict, keep_equal)
        connection.exec_driver_sql(statement, _prepared(connection, table, names, rows))


def update(connection: Connection, table: Table, key: str, rows: Sequence[dict[str, Any]]) -> None:
    """Set the other columns of each row where `key` has its value."""
    if rows:
        names = tuple(rows[0])
        statement = _update(connection.dialect.name, table, names, key)
        connection.exec_driver_sql(statement, _prepared(connection, table, names, rows))


def among(connection: Connection, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Whether a column is one of many values: one parameter, so that the statement stays the same for any number."""
    if connection.dialect.name == "sqlite":
        given = func.json_each(_JSON.encode(list(values)).decode()).table_valued("value")
        found: ColumnElement[bool] = column.in_(select(given.c.value))
        return found
    return column == any_(bindparam(None, list(values), type_=ARRAY(column.type)))  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _insert(dialect: str, table: Table, names: tuple[str, ...], conflict: OnConflict, keep_equal: bool) -> str:
    columns = ", ".join(_quoted(name) for name in names)
    values = ", ".join(_placeholder(dialect, table, name) for name in names)
    statement = f"INSERT INTO {_quoted(table.name)} ({columns}) VALUES ({values})"  # noqa: S608 - our own names
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
    changed = ", ".join(f"{_quoted(name)} = {_placeholder(dialect, table, name)}" for name in names if name != key)
    where = f"{_quoted(key)} = {_placeholder(dialect, table, key)}"
    return f"UPDATE {_quoted(table.name)} SET {changed} WHERE {where}"  # noqa: S608 - our own names


def _quoted(name: str) -> str:
    return f'"{name}"'


def _placeholder(dialect: str, table: Table, name: str) -> str:
    if dialect == "sqlite":
        return f":{name}"
    return f"%({name})s::jsonb" if isinstance(table.c[name].type, JSON) else f"%({name})s"


def _prepared(
    connection: Connection, table: Table, names: Iterable[str], rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows with values as the driver takes them; rows that need no change are passed on as they are."""
    is_sqlite = connection.dialect.name == "sqlite"
    moments = [name for name in names if is_sqlite and isinstance(table.c[name].type, (UtcDateTime, DateTime))]
    documents = [name for name in names if isinstance(table.c[name].type, JSON)]
    if not moments and not documents:
        return list(rows)
    prepared = []
    for row in rows:
        values = dict(row)
        for name in moments:
            if values[name] is not None:
                values[name] = _moment(values[name])
        for name in documents:
            if values[name] is not None and not isinstance(values[name], str):
                values[name] = _JSON.encode(values[name]).decode()
        prepared.append(values)
    return prepared


@lru_cache(maxsize=1024)
def _moment(value: datetime) -> str:
    """As SQLAlchemy stores a moment in SQLite."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
