"""What the dashboard shows that must be of this moment: totals, the newest, the featured, the feed.

Every statement reads a counter or the end of an index. Figures that need a scan are published (`warehouse.marts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import cycle, islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from warehouse.audit import SYNC
from warehouse.models import Activity, Adapter
from warehouse.queries.adapters import AdapterRow, rows_by_pk

RECENT_LIMIT = 10_000
"""Recent imports are counted up to this many: after the first sync of a large library all of it is recent."""


class Reason(StrEnum):
    """Why an adapter is featured."""

    ACTIVE = "in use: it is among the active adapters"
    POPULAR = "popular: among the most downloaded of this library"
    RATED = "highly rated: among the best rated of this library"
    NEW = "new: among the last that were added"


@dataclass(frozen=True, slots=True)
class Featured:
    """A featured adapter."""

    adapter: AdapterRow
    reason: Reason


_CHOICES: tuple[tuple[Reason, ColumnElement[bool], Any], ...] = (
    (Reason.ACTIVE, Adapter.active.is_(True), Adapter.ordinal),
    (Reason.POPULAR, Adapter.downloads.is_not(None), Adapter.downloads.desc()),
    (Reason.RATED, Adapter.rating.is_not(None), Adapter.rating.desc()),
    (Reason.NEW, Adapter.pk.is_not(None), Adapter.created_at.desc()),
)


def featured(connection: Connection, *, limit: int) -> list[Featured]:
    """Adapters worth a look, each with the reason: in turn from every kind, those whose file is here first.

    Never empty while there are adapters: the newest always exist.
    """
    pools = [(reason, iter(_best(connection, condition, order, limit))) for reason, condition, order in _CHOICES]
    chosen: dict[int, Reason] = {}
    for reason, pks in islice(cycle(pools), limit * len(pools)):
        if len(chosen) < limit and (pk := next((pk for pk in pks if pk not in chosen), None)) is not None:
            chosen[pk] = reason
    rows = rows_by_pk(connection, list(chosen))
    return [Featured(row, chosen[row.pk]) for row in rows]


def _best(connection: Connection, condition: ColumnElement[bool], order: Any, limit: int) -> Sequence[int]:
    statement = select(Adapter.pk, Adapter.file_state).where(condition).order_by(order, Adapter.pk.desc())
    rows = connection.execute(statement.limit(2 * limit)).all()
    return [row.pk for row in sorted(rows, key=lambda row: row.file_state != "present")][:limit]


def recent_imports(connection: Connection, since: datetime) -> int:
    """How many adapters were added since a moment, at most RECENT_LIMIT."""
    newest = select(Adapter.pk).where(Adapter.created_at >= since).limit(RECENT_LIMIT).subquery()
    return connection.execute(select(func.count()).select_from(newest)).scalar_one()


def last_ingest(connection: Connection) -> datetime | None:
    """When the last sync that changed something ended, as the feed tells."""
    newest = select(Activity.at).where(Activity.kind == SYNC).order_by(Activity.at.desc()).limit(1)
    return connection.execute(newest).scalar()


@dataclass(frozen=True, slots=True)
class FeedItem:
    """Something that happened."""

    number: int
    at: datetime
    kind: str
    subject_id: str | None
    summary: str
    data: dict[str, Any] | None


def activity(connection: Connection, *, limit: int, before: int | None = None) -> list[FeedItem]:
    """The feed, newest first; `before` is the number of the last item of the page before."""
    columns = (Activity.pk, Activity.at, Activity.kind, Activity.subject_id, Activity.summary, Activity.data)
    statement = select(*columns).order_by(Activity.pk.desc()).limit(limit)
    if before is not None:
        statement = statement.where(Activity.pk < before)
    return [FeedItem(*row) for row in connection.execute(statement)]
