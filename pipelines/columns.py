"""Column schemas for the asset pages, taken from the tables themselves, so that they cannot drift."""

import dagster as dg
from sqlalchemy import Column, Table

from warehouse.models import Base


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
