"""The dashboard in one call: live totals from the maintained counters, everything else from the published aggregates.

Nothing here takes longer for a larger library. Does not belong here: HTTP, and deliveries, which are not marts yet.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from warehouse import facets
from warehouse.engine import Database
from warehouse.generations import current
from warehouse.marts.catalog import KIND
from warehouse.marts.reading import read_mart
from warehouse.models import FacetCount
from warehouse.settings import Settings

Row = dict[str, Any]

_TOP = 20
_FACETS = ("base_model", "archetype", "nsfw_level", "file_state")
"""Facets with few values, which are therefore counted live; authors and tags are not."""


@dataclass(frozen=True, slots=True)
class DashboardSummary:
    """What a dashboard shows.

    `adapters`, `active` and `counts` are of this moment; `counts` maps a facet to (value, adapters), most first, where
    a missing value is ''. The rest is of `exported_at`: None and empty before the first export.
    """

    adapters: int
    active: int
    counts: dict[str, list[tuple[str, int]]]
    exported_at: datetime | None
    library: Row | None
    coverage: list[Row]
    authors: list[Row]
    tags: list[Row]
    growth: list[Row]


def _counts(connection: Connection, facet: str) -> list[tuple[str, int]]:
    rows = connection.execute(
        select(FacetCount.value, FacetCount.count)
        .where(FacetCount.facet == facet, FacetCount.count > 0)
        .order_by(FacetCount.count.desc(), FacetCount.value)
    )
    return [(value, count) for value, count in rows]


def dashboard_summary(database: Database, settings: Settings) -> DashboardSummary:
    """The numbers of the dashboard, from counters and published aggregates alone."""
    with database.read() as connection:
        adapters = facets.count_of(connection)
        active = facets.count_of(connection, "active", "true")
        counts = {facet: _counts(connection, facet) for facet in _FACETS}
    published = current(database, settings, KIND)
    return DashboardSummary(
        adapters=adapters,
        active=active,
        counts=counts,
        exported_at=None if published is None else datetime.fromisoformat(published.manifest["exported_at"]),
        library=next(iter(read_mart(database, settings, "library_summary", limit=1)), None),
        coverage=read_mart(database, settings, "embeddings_coverage"),
        authors=read_mart(database, settings, "adapters_by_author", limit=_TOP),
        tags=read_mart(database, settings, "adapters_by_tag", limit=_TOP),
        growth=read_mart(database, settings, "library_growth"),
    )
