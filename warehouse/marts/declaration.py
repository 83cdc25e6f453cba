"""How a mart is declared: its name, what one row is, and for every column its type, its meaning and where it is from.

Two kinds: a `Fact` is read from the tables, an `Aggregate` is computed by DuckDB from the facts of the same
generation. Does not belong here: the marts themselves (`facts`, `aggregates`), nor how they are written (`export`).
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Date, FromClause, Join, Select, func, select

if TYPE_CHECKING:
    import pyarrow as pa


class ColumnType(StrEnum):
    """Types of columns, under DuckDB's names. Moments are UTC and carry no zone: see `docs/analytics.md`."""

    TEXT = "VARCHAR"
    TEXTS = "VARCHAR[]"
    INTEGER = "BIGINT"
    REAL = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    MOMENT = "TIMESTAMP"
    DAY = "DATE"

    def arrow(self) -> "pa.DataType":
        """The Arrow type of the same values."""
        import pyarrow as pa

        types: dict[ColumnType, pa.DataType] = {
            ColumnType.TEXT: pa.string(),
            # "element" is what Parquet calls an item: a file then has exactly this schema when read back.
            ColumnType.TEXTS: pa.list_(pa.field("element", pa.string())),
            ColumnType.INTEGER: pa.int64(),
            ColumnType.REAL: pa.float64(),
            ColumnType.BOOLEAN: pa.bool_(),
            ColumnType.MOMENT: pa.timestamp("us"),
            ColumnType.DAY: pa.date32(),
        }
        return types[self]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of a mart. `source` is the expression that feeds a fact; an aggregate's SQL names its own columns."""

    name: str
    type: ColumnType
    description: str
    source: ColumnElement[Any] | Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Mart:
    """A published table. `grain` completes the sentence "one row per …"."""

    name: str
    description: str
    grain: str
    columns: tuple[Column, ...]

    def schema(self) -> "pa.Schema":
        """The Arrow schema; descriptions are its metadata, so that a Parquet file explains itself."""
        import pyarrow as pa

        return pa.schema(
            [pa.field(column.name, column.type.arrow(), metadata=_describe(column)) for column in self.columns],
            metadata={"mart": self.name, "description": self.description, "grain": self.grain},
        )

    def fingerprint(self) -> str:
        """Changes with everything that a file of this mart says about its columns."""
        parts = [self.name, self.description, self.grain]
        parts.extend(part for column in self.columns for part in (column.name, column.type, column.description))
        return hashlib.blake2b("\x00".join(parts).encode(), digest_size=16).hexdigest()


def _describe(column: Column) -> dict[str, str]:
    return {"description": column.description}


@dataclass(frozen=True, slots=True, eq=False)
class Fact(Mart):
    """A mart read from the tables.

    `origin` is a table, or joins that start with it and neither lose nor multiply its rows; `order_by` a key with an
    index, so that the database streams instead of sorting. With `partition_by`, the name of a day column, each day is
    a folder of its own that is written once it is over.
    """

    origin: FromClause
    order_by: tuple[Any, ...]
    partition_by: str | None = None

    def statement(self) -> Select[Any]:
        """The select of all rows, its columns in the order of the declaration."""
        sources = [column.source.label(column.name) for column in self.columns]
        return select(*sources).select_from(self.origin).order_by(*self.order_by)

    @property
    def table(self) -> FromClause:
        """The table whose rows these are."""
        origin = self.origin
        while isinstance(origin, Join):
            origin = origin.left
        return origin

    def count(self) -> Select[int]:
        """The select of how many rows there must be: counted without the joins, so that a wrong join is found out."""
        return select(func.count()).select_from(self.table)

    def partition(self) -> ColumnElement[Any]:
        """The expression of the day that partitions the fact."""
        source = next(column.source for column in self.columns if column.name == self.partition_by)
        expression: ColumnElement[Any] = source.expression if hasattr(source, "expression") else source
        assert isinstance(expression.type, Date)
        return expression


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate(Mart):
    """A mart that DuckDB computes.

    `sql` names facts, and aggregates declared before it, as tables; the variable `exported_at` tells when.
    """

    sql: str
