"""Which tables stand behind which asset, and their columns as the asset pages show them.

Columns and comments are taken from the tables themselves, so that they cannot drift.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
from sqlalchemy import ClauseElement, Column, Table
from sqlalchemy.sql import visitors

from pipelines.keys import ADAPTERS, DOCUMENTS, INSPECTIONS, LIBRARY_FILES, PAIRS, PROFILES
from warehouse.models import Base

TABLES: Mapping[dg.AssetKey, Sequence[str]] = {
    LIBRARY_FILES: ("roots", "bundles", "files"),
    DOCUMENTS: ("documents", "document_contents", "hash_claims"),
    ADAPTERS: ("adapters", "adapter_details", "adapter_tags", "adapter_search"),
    INSPECTIONS: ("inspections", "findings", "duplicates"),
    PAIRS: ("adapter_pairs",),
    PROFILES: ("use_profiles",),
}
"""The tables that each asset writes; an embedding space is a part of one table, and not among them."""


def assets_read_by(statement: ClauseElement) -> Iterable[dg.AssetKey]:
    """The assets whose tables a statement names."""
    names = {element.name for element in visitors.iterate(statement) if isinstance(element, Table)}
    return [key for key, tables in TABLES.items() if names.intersection(tables)]


def _column(column: Column[object]) -> dg.TableColumn:
    references = [f"references {key.column.table.name}.{key.column.name}" for key in column.foreign_keys]
    constraints = dg.TableColumnConstraints(
        nullable=bool(column.nullable), unique=bool(column.unique or column.primary_key), other=references
    )
    return dg.TableColumn(column.name, str(column.type).lower(), column.comment, constraints)


def table_metadata(name: str) -> dict[str, str | dg.TableSchema]:
    """The definition metadata of an asset that is a table: its name and its columns with their comments."""
    table: Table = Base.metadata.tables[name]
    return {
        "dagster/table_name": name,
        "dagster/column_schema": dg.TableSchema([_column(column) for column in table.columns]),
    }
