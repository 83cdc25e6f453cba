"""What the tables look like: their columns by kind, in an order in which rows can be written.

A backup carries its shapes along, so that one of an earlier version is read without that version's models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import JSON, Boolean, Date, Float, Integer, LargeBinary, String, Table

from warehouse.models import Base, UtcDateTime

LEFT_OUT = frozenset({"locks"})
"""Leases of processes: they say who works on this very database."""
COUNTERS = "change_counts"
"""The table that triggers write while others are filled; it is written last, over what they left."""


class Kind(StrEnum):
    """What a column holds."""

    INTEGER = "integer"
    FLOAT = "float"
    TEXT = "text"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    JSON = "json"
    MOMENT = "moment"
    DAY = "day"


_KINDS: tuple[tuple[type[Any], Kind], ...] = (
    (UtcDateTime, Kind.MOMENT),
    (JSON, Kind.JSON),
    (Boolean, Kind.BOOLEAN),
    (Date, Kind.DAY),
    (Float, Kind.FLOAT),
    (Integer, Kind.INTEGER),
    (LargeBinary, Kind.BYTES),
    (String, Kind.TEXT),
)


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """A column."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table: its columns in the order of its rows, and the names of those of its primary key."""

    name: str
    columns: tuple[ColumnShape, ...]
    key: tuple[str, ...]

    def places(self, kind: Kind) -> tuple[int, ...]:
        """Where in a row the values of a kind stand."""
        return tuple(place for place, column in enumerate(self.columns) if column.kind is kind)

    def key_of(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The primary key of a row."""
        names = [column.name for column in self.columns]
        return tuple(row[names.index(name)] for name in self.key)

    def to_json(self) -> dict[str, Any]:
        """As a manifest writes it."""
        columns = [[column.name, column.kind.value] for column in self.columns]
        return {"name": self.name, "columns": columns, "key": list(self.key)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TableShape":
        """What a manifest says.

        Raises:
            KeyError, TypeError, ValueError: it is no such thing.
        """
        columns = tuple(ColumnShape(str(name), Kind(kind)) for name, kind in value["columns"])
        return cls(str(value["name"]), columns, tuple(str(name) for name in value["key"]))


def _kind_of(table: Table, name: str) -> Kind:
    for kind_of_type, kind in _KINDS:
        if isinstance(table.c[name].type, kind_of_type):
            return kind
    raise TypeError(f"{table.name}.{name} has the type {table.c[name].type!r}, which no kind stands for")


@cache
def shapes() -> tuple[TableShape, ...]:
    """The tables of this version, each after those that it refers to, the counters of changes last."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]
    tables.sort(key=lambda table: table.name == COUNTERS)
    return tuple(
        TableShape(
            table.name,
            tuple(ColumnShape(column.name, _kind_of(table, column.name)) for column in table.columns),
            tuple(column.name for column in table.primary_key),
        )
        for table in tables
    )
