"""Marts: the library as published tables that analysts, dashboards and other tools read without touching the database.

Belongs here: declaring them, exporting them to Parquet with a DuckDB catalog, reading and querying what is published.
Does not: the exact "now" (`queries`), nor who runs an export and when (`pipelines`).
DuckDB and PyArrow are imported where they are used, so that declaring a mart costs nothing.
"""

from typing import Final

from warehouse.marts.aggregates import AGGREGATES
from warehouse.marts.catalog import CATALOG, KIND, current_link, follow_pointer, open_catalog, repair_catalog
from warehouse.marts.dashboard import DashboardSummary, dashboard_summary
from warehouse.marts.declaration import Aggregate, Column, ColumnType, Fact, Mart
from warehouse.marts.errors import (
    MartError,
    NothingPublishedError,
    QueryCancelledError,
    QueryError,
    QueryFailedError,
    QueryRefusedError,
    QueryTimeoutError,
    QueryTooLargeError,
)
from warehouse.marts.export import export_marts
from warehouse.marts.facts import FACTS
from warehouse.marts.query import QueryResult, RawResult, ResultColumn, Sandboxes, run_query, run_query_raw
from warehouse.marts.reading import read_mart
from warehouse.marts.snapshots import snapshot_statistics

MARTS: Final[tuple[Mart, ...]] = (*FACTS, *AGGREGATES)
"""Every mart, in the order in which an export makes them."""

__all__ = [
    "AGGREGATES",
    "CATALOG",
    "FACTS",
    "KIND",
    "MARTS",
    "Aggregate",
    "Column",
    "ColumnType",
    "DashboardSummary",
    "Fact",
    "Mart",
    "MartError",
    "NothingPublishedError",
    "QueryCancelledError",
    "QueryError",
    "QueryFailedError",
    "QueryRefusedError",
    "QueryResult",
    "QueryTimeoutError",
    "QueryTooLargeError",
    "RawResult",
    "ResultColumn",
    "Sandboxes",
    "current_link",
    "dashboard_summary",
    "export_marts",
    "follow_pointer",
    "open_catalog",
    "read_mart",
    "repair_catalog",
    "run_query",
    "run_query_raw",
    "snapshot_statistics",
]
