"""Dated snapshots of the community's numbers: the history that Civitai itself does not give.

Belongs here: taking a snapshot. Does not: showing trends (`aggregates.COMMUNITY_TRENDS`).
"""

from datetime import date
from typing import Any

from sqlalchemy import Date, func, literal, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from warehouse.engine import Database
from warehouse.marts.expressions import JsonInteger
from warehouse.models import Adapter, CommunityStatistic

_CHUNK = 50_000
"""Adapters looked at in one transaction, so that no other writer waits long."""

_NUMBERS = ("downloads", "likes", "rating", "comments")


def snapshot_statistics(database: Database, day: date) -> int:
    """Keep the community's numbers of a day, for adapters whose numbers differ from their last snapshot.

    An adapter of which no number was ever known gets no row; a number that is no longer stated is NULL. Taken again
    on the same day, the latest numbers of the day stay. Returns the number of rows written.

    Raises:
        ValueError: a later day is kept already; days are closed once the next has begun.
    """
    with database.read() as connection:
        newest = connection.execute(select(func.max(CommunityStatistic.day))).scalar()
        last_pk = connection.execute(select(func.max(Adapter.pk))).scalar() or 0
    if newest is not None and day < newest:
        raise ValueError(f"statistics of {newest} are kept already: {day} cannot be added behind it")
    written = 0
    for first in range(1, last_pk + 1, _CHUNK):
        with database.write() as connection:
            statement = _statement(sqlite if database.is_sqlite else postgresql, day, first, first + _CHUNK)
            written += connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    return written


def _statement(dialect: Any, day: date, first: int, behind: int) -> Any:
    """Insert the snapshots of the adapters numbered `first` up to, not including, `behind`."""
    last = aliased(CommunityStatistic)
    other = aliased(CommunityStatistic)
    last_day = (
        select(func.max(other.day))
        .where(other.adapter_pk == Adapter.pk, other.day <= day)
        .correlate(Adapter)
        .scalar_subquery()
    )
    now = {
        "downloads": Adapter.downloads,
        "likes": Adapter.likes,
        "rating": Adapter.rating,
        "comments": JsonInteger(Adapter.stats, "commentCount"),
    }
    changed = or_(*(now[name].is_distinct_from(getattr(last, name)) for name in _NUMBERS))
    rows = (
        select(Adapter.pk, literal(day, Date), *(now[name] for name in _NUMBERS))
        .select_from(Adapter)
        .outerjoin(last, (last.adapter_pk == Adapter.pk) & (last.day == last_day))
        .where(Adapter.pk >= first, Adapter.pk < behind, changed)
    )
    insert = dialect.insert(CommunityStatistic).from_select(["adapter_pk", "day", *_NUMBERS], rows)
    return insert.on_conflict_do_update(
        index_elements=["adapter_pk", "day"], set_={name: insert.excluded[name] for name in _NUMBERS}
    )
