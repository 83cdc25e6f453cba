"""Hard filters of a search: what a candidate must be. Applied to candidates by number, never to the whole library.

Does not belong here: filters of the adapter list (`warehouse.queries.filters`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, select

from warehouse.models import Adapter
from warehouse.vectors.stored import PARAMETERS, batched

_THERE = select(Adapter.pk).where(Adapter.pk.in_(bindparam("numbers", expanding=True)))


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """What every result must be.

    `base_model` as Civitai spells it. `nsfw_max` is a level of Civitai's bit mask (1 PG, 2 PG-13, 4 R, 8 X, 16 XXX):
    no bit above its highest may be set; a level that is not stated passes. `available_only`: the file is there.
    """

    base_model: str | None = None
    nsfw_max: int | None = None
    available_only: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions on columns of `adapters`."""
        conditions: list[ColumnElement[bool]] = []
        if self.base_model is not None:
            conditions.append(Adapter.base_model == self.base_model)
        if self.nsfw_max is not None:
            conditions.append(Adapter.nsfw_level < 1 << max(0, self.nsfw_max).bit_length())
        if self.available_only:
            conditions.append(Adapter.file_state == "present")
        return conditions

    def passing(self, connection: Connection, pks: Sequence[int]) -> set[int]:
        """Those of the adapters that exist and pass."""
        conditions = self.conditions()
        statement = _THERE.where(*conditions) if conditions else _THERE
        found: set[int] = set()
        for part in batched(pks, PARAMETERS):
            found.update(connection.execute(statement, {"numbers": part}).scalars())
        return found


ANY = SearchFilter()
"""Every adapter that exists."""
