"""How many adapters pass a filter, exactly and without counting them where a counter is kept.

One condition has a maintained counter (`facets`). A combination is counted along its narrowest condition, because no
counter can be kept for every pair of values. Two conditions that each match a large part of a library are the one
case whose cost grows with it; such a count is remembered until an adapter changes.
"""

import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import Connection, func, select

from warehouse import facets
from warehouse.models import Adapter
from warehouse.queries.filters import AdapterFilter, candidates


class _Counts:
    """Exact counts of wide combinations, each valid until an adapter changes. Shared by the threads of a process."""

    LIMIT = 512
    WORTH_KEEPING = 0.002
    """Seconds that a count must have taken to be remembered: what is cheap is counted again."""
    MAX_AGE = timedelta(seconds=30)
    """Bound on what two transactions that commit out of order could hide from the stamp."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[Any, tuple[Any, datetime, int]] = OrderedDict()

    def get(self, key: Any, stamp: Any) -> int | None:
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or kept[0] != stamp or datetime.now(UTC) - kept[1] > self.MAX_AGE:
            return None
        return kept[2]

    def put(self, key: Any, stamp: Any, count: int) -> None:
        with self._lock:
            self._kept[key] = (stamp, datetime.now(UTC), count)
            self._kept.move_to_end(key)
            while len(self._kept) > self.LIMIT:
                self._kept.popitem(last=False)


_counts = _Counts()


def catalog_stamp(connection: Connection) -> tuple[int, datetime | None, int | None]:
    """What differs whenever an adapter was added, changed or deleted; three look-ups."""
    newest = connection.execute(select(func.max(Adapter.updated_at))).scalar()
    last = connection.execute(select(func.max(Adapter.pk))).scalar()
    return facets.count_of(connection), newest, last


def _single_facet(narrowed: AdapterFilter) -> tuple[str, str] | None:
    """The maintained counter of a filter that has at most one condition."""
    if narrowed.conditions() == 0:
        return facets.ALL, ""
    if narrowed.conditions() > 1 or narrowed.question is not None:
        return None
    if narrowed.active is not None:
        return "active", facets.value_of(narrowed.active)
    if narrowed.base_model is not None:
        return "base_model", narrowed.base_model
    tags = narrowed.all_tags or narrowed.any_tags
    return ("tag", tags[0]) if len(tags) == 1 else None


def count(connection: Connection, narrowed: AdapterFilter) -> int:
    """How many adapters pass a filter, exactly."""
    facet = _single_facet(narrowed)
    if facet is not None:
        return facets.count_of(connection, *facet)
    if narrowed.question is not None and not narrowed.question:
        return 0
    key = (connection.engine.url, narrowed)
    stamp = catalog_stamp(connection)
    kept = _counts.get(key, stamp)
    if kept is not None:
        return kept
    began = time.perf_counter()
    found = connection.execute(select(func.count()).select_from(candidates(connection, narrowed).subquery()))
    total = found.scalar_one()
    if time.perf_counter() - began > _Counts.WORTH_KEEPING:
        _counts.put(key, stamp, total)
    return total
