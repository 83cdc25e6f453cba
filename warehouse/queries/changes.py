"""How often the library was changed: the cheap question of whoever keeps something that was derived from it.

Counters are kept by triggers of the database (migration 0003). Whoever reads them before the data, and keeps what it
derived under what it read, can never answer something older than the counters say: every commit changes them, also one
of two in the same tick of the clock, or one that overtakes another.
"""

from typing import NamedTuple

from sqlalchemy import Connection, Select, func, select

from warehouse import facets
from warehouse.models import Adapter, ChangeCount, FacetCount


class Changes(NamedTuple):
    """What is different after every commit that changes what recommendations show or are ranked by."""

    adapters: int
    """Rises with every change and deletion of adapters, their words, descriptions and duplicates."""
    embeddings: int
    """Rises with every change of vectors and of the quality that was measured with them."""
    total: int
    """Adapters there are: without a deletion, which is counted, it rises with every commit of new ones."""
    newest: int
    """The highest number of an adapter."""


def _changes_of(noun: str) -> Select[int]:
    return select(func.coalesce(func.sum(ChangeCount.changes), 0)).where(ChangeCount.noun == noun)


_TOTAL = select(FacetCount.count).where(FacetCount.facet == facets.ALL, FacetCount.value == "")
_PARTS = (_changes_of("adapters"), _changes_of("embeddings"), _TOTAL, select(func.max(Adapter.pk)))
_COUNTED = select(*(part.scalar_subquery() for part in _PARTS))
"""Made once: to make it takes eight times as long as to ask it."""


def counted(connection: Connection) -> Changes:
    """The counters of this moment; four look-ups in one statement."""
    row = connection.execute(_COUNTED).one()
    return Changes(*(int(value or 0) for value in row))
