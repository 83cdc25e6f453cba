"""Checks generated from the tables: required texts, the domains that column comments state, references.

A comment such as "present | missing | unreadable" or "Calibrated probability, 0..1" is documentation on the asset
page and, here, a rule; so neither can drift from the other. The database enforces NOT NULL and, on most tables,
references by itself; what it cannot see is an empty text where a name must be, or rows written with its checks off.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    String,
    Table,
    Text,
    and_,
    case,
    func,
    not_,
    or_,
    select,
)

from pipelines import previews
from pipelines.keys import ADAPTERS, SPACE_NAMES, vector_key
from pipelines.resources import Warehouse
from pipelines.tables import TABLES
from warehouse.models import Base

_DOMAIN = re.compile(r"([\w ]+(?: \| [\w ]+)+)(?::|$)")
"""Values between bars; a comment that goes on with "…" states no closed domain."""

_RANGE = re.compile(r"(?:^|\s)(\d+)\.\.(\d+)\b")

_MAY_BE_EMPTY = re.compile(r"\bempty: ")
"""A comment that says what an empty text means allows it."""

_PUBLISHED = {ADAPTERS}
"""Assets whose broken rows would reach readers: their grave faults stop what is published from them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that no row of a table may meet."""

    check: str
    column: str
    statement: str
    violated: ColumnElement[bool]


def domain_of(column: Column[object]) -> tuple[str, ...] | None:
    """The closed set of values that a column's comment states."""
    found = _DOMAIN.match(column.comment or "")
    return tuple(found[1].split(" | ")) if found else None


def range_of(column: Column[object]) -> tuple[int, int] | None:
    """The range that a numeric column's comment states."""
    found = _RANGE.search(column.comment or "") if isinstance(column.type, (Float, Integer)) else None
    return (int(found[1]), int(found[2])) if found else None


def rules_of(table: Table) -> Iterator[Rule]:
    """The rules of a table's columns."""
    for column in table.columns:
        is_required = not column.nullable and isinstance(column.type, (String, Text)) and column.default is None
        if is_required and not _MAY_BE_EMPTY.search(column.comment or ""):
            yield Rule("required_values", column.name, "is not empty", or_(column.is_(None), column == ""))
        if (domain := domain_of(column)) is not None:
            known = " | ".join(domain)
            yield Rule("values_in_domain", column.name, f"is one of {known}", column.not_in(domain))
        if (bounds := range_of(column)) is not None:
            low, high = bounds
            text = f"is between {low} and {high}"
            yield Rule("values_in_domain", column.name, text, not_(column.between(low, high)))


def _broken_rules(connection: Connection, table: Table, *where: ColumnElement[bool]) -> Iterator[dict[str, object]]:
    """Every rule that rows violate, in one pass over the table."""
    rules = list(rules_of(table))
    if not rules:
        return
    violations = [func.count(case((rule.violated, 1))) for rule in rules]
    row = connection.execute(select(*violations).select_from(table).where(*where)).one()
    for rule, count in zip(rules, row, strict=True):
        if count:
            column = f"{table.name}.{rule.column}"
            yield {"check": rule.check, "column": column, "rule": rule.statement, "rows that break it": count}


def _orphans(connection: Connection, table: Table, *where: ColumnElement[bool]) -> Iterator[dict[str, object]]:
    """Every reference of a table that rows hold to something that is not there."""
    for key in table.foreign_keys:
        parent = key.column.table.alias("parent")
        target = parent.c[key.column.name]
        statement = (
            select(func.count())
            .select_from(table.outerjoin(parent, target == key.parent))
            .where(key.parent.is_not(None), target.is_(None), *where)
        )
        if count := connection.execute(statement).scalar_one():
            column = f"{table.name}.{key.parent.name}"
            rule = f"names a row of {key.column.table.name}"
            yield {"check": "references_resolve", "column": column, "rule": rule, "rows that break it": count}


_DESCRIPTIONS = {
    "required_values": "Texts that must be there are not empty.",
    "values_in_domain": "Every value is one that its column's comment allows.",
    "references_resolve": "No row refers to a row that is not there.",
}


_GRAVE = {"required_values", "references_resolve"}
"""A value outside its domain is a fault to mend; a row that is no row must not be published."""


def _specs(key: dg.AssetKey, *, published: bool) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name, asset=key, description=text, blocking=published and name in _GRAVE)
        for name, text in _DESCRIPTIONS.items()
    ]


def _results(key: dg.AssetKey, broken: Sequence[Mapping[str, object]]) -> Iterator[dg.AssetCheckResult]:
    for name in _DESCRIPTIONS:
        rows = [{k: v for k, v in row.items() if k != "check"} for row in broken if row["check"] == name]
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=not rows,
            description=f"Broken rules: {len(rows)}." if rows else "Every row keeps every rule.",
            metadata={"broken": dg.MetadataValue.md(previews.table(rows))} if rows else {},
        )


def _table_check(key: dg.AssetKey, names: Sequence[str]) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(name="_".join((*key.path, "tables")), specs=_specs(key, published=key in _PUBLISHED))
    def check(warehouse: dg.ResourceParam[Warehouse]) -> Iterator[dg.AssetCheckResult]:
        tables = [Base.metadata.tables[name] for name in names]
        with warehouse.database.read() as connection:
            broken = [
                row for table in tables for row in (*_broken_rules(connection, table), *_orphans(connection, table))
            ]
        yield from _results(key, broken)

    return check


def _embeddings_check() -> dg.AssetChecksDefinition:
    keys = {space: vector_key(space) for space in SPACE_NAMES}

    @dg.multi_asset_check(
        name="vectors_table", specs=[spec for key in keys.values() for spec in _specs(key, published=True)]
    )
    def check(warehouse: dg.ResourceParam[Warehouse]) -> Iterator[dg.AssetCheckResult]:
        table = Base.metadata.tables["embeddings"]
        for space, key in keys.items():
            this_space = and_(table.c.embedding_type == space)
            with warehouse.database.read() as connection:
                broken = [*_broken_rules(connection, table, this_space), *_orphans(connection, table, this_space)]
            yield from _results(key, broken)

    return check


TABLE_CHECKS = [*(_table_check(key, names) for key, names in TABLES.items()), _embeddings_check()]
"""One step per asset; the spaces share theirs, being one table."""
