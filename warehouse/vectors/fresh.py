"""Vectors newer than the index, held in memory and compared exactly until the next generation has them.

Every change of a vector takes a higher number, so what is newer is a range of numbers. Bounded: the newest adapters
are kept and the answer says that it is not complete. Does not belong here: the index itself (`generation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from warehouse.engine import Database
from warehouse.models import Embedding
from warehouse.vectors.generation import OpenIndex
from warehouse.vectors.layout import Asked, Layout
from warehouse.vectors.spaces import SpaceName
from warehouse.vectors.stored import assemble, layout_of, newest_pk, vectors_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ADAPTERS = 20_000
"""Some 90 MiB of vectors."""
_OVERLAP = 2_048
"""PostgreSQL gives out numbers before the commit: so far below the newest seen, a row may still appear."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The newer vectors: adapters' numbers, ascending, and their rows. Immutable; `advanced` gives the next state."""

    layout: Layout
    after: int
    """The highest number of a vector that the index has."""
    numbers: NDArray[np.int64]
    rows: NDArray[np.float32]
    newest: int
    complete: bool

    @classmethod
    def since(cls, database: Database, producers: Mapping[SpaceName, str], index: OpenIndex | None) -> Fresh:
        """What is newer than an index and made by these producers; everything without an index."""
        after = index.last_embedding if index is not None else 0
        with database.read() as connection:
            layout = layout_of(connection, producers)
            return cls._load(connection, layout, after, overlap=cls._overlap(database))

    def advanced(self, database: Database, producers: Mapping[SpaceName, str]) -> Fresh:
        """This, and what was written since; all of it anew where other producers are in use, or have their first
        vector."""
        with database.read() as connection:
            layout = layout_of(connection, producers)
            before = self if layout == self.layout else None
            return self._load(connection, layout, self.after, before, overlap=self._overlap(database))

    @staticmethod
    def _overlap(database: Database) -> int:
        return 0 if database.is_sqlite else _OVERLAP

    @classmethod
    def _load(
        cls, connection: Connection, layout: Layout, after: int, before: Fresh | None = None, *, overlap: int
    ) -> Fresh:
        import numpy as np

        newest = newest_pk(connection)
        changed = _changed(connection, (before.newest if before is not None else after) - overlap)
        numbers, rows = assemble(vectors_of(connection, changed[:MAX_ADAPTERS]), layout)
        complete = len(changed) <= MAX_ADAPTERS
        if before is not None:
            kept = ~np.isin(before.numbers, numbers)
            complete = complete and before.complete
            numbers = np.concatenate([before.numbers[kept], numbers])
            rows = np.concatenate([before.rows[kept], rows])
            order = np.argsort(numbers)[-MAX_ADAPTERS:]
            complete = complete and len(order) == len(numbers)
            numbers, rows = numbers[order], rows[order]
        return cls(layout, after, numbers, rows, newest, complete)

    def count_beside(self, index: OpenIndex | None) -> int:
        """How many of the adapters an index does not have at all."""
        import numpy as np

        if index is None or not len(index.numbers):
            return len(self.numbers)
        places = np.minimum(np.searchsorted(index.numbers, self.numbers), len(index.numbers) - 1)
        return int((index.numbers[places] != self.numbers).sum())

    def nearest(self, asked: Asked, weights: Mapping[SpaceName, float], k: int) -> list[tuple[int, float]]:
        """At most `k` numbers with their scores, the best first."""
        import numpy as np

        comparable = self.layout.comparable(asked)
        if not comparable or not len(self.numbers):
            return []
        scores = self.rows @ self.layout.weighted(comparable, weights)
        order = np.argsort(-scores, kind="stable")[:k]
        return list(zip(self.numbers[order].tolist(), scores[order].tolist(), strict=True))


def _changed(connection: Connection, after: int) -> list[int]:
    """Adapters with a vector of a higher number, the newest first; one more than are kept."""
    numbers = connection.execute(
        select(Embedding.adapter_pk)
        .where(Embedding.pk > after)
        .order_by(Embedding.pk.desc())
        .limit(3 * (MAX_ADAPTERS + 1))
    ).scalars()
    return list(dict.fromkeys(numbers))
