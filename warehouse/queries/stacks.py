"""Stacks: the adapters that a prompt is composed of, with what the composition and advice on it need of them.

Does not belong here: the order of the tokens and what is left out (`serving.composition`).
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, select

from warehouse import facets
from warehouse.models import Adapter, AdapterDetail, Base, Inspection


class StackRow(msgspec.Struct, frozen=True):
    """An adapter of a stack, with what was measured of its file and the weights that are known; None is unknown."""

    id: str
    name: str
    version: str | None
    weight: float
    ordinal: int | None
    base_model: str | None
    file_state: str
    activation_text: str | None
    trained_words: list[str]
    triggers: list[str]
    author_username: str | None
    licence: dict[str, Any] | None
    network_type: str | None
    rank: int | None
    alpha: float | None
    strengths: dict[str, Any] | None


_MEASURED = ("network_type", "rank", "alpha")
_TABLES: dict[str, type[Base]] = {**dict.fromkeys(_MEASURED, Inspection), "strengths": AdapterDetail}
_COLUMNS = tuple(_TABLES.get(name, Adapter).__table__.c[name] for name in StackRow.__struct_fields__)


def _statement() -> Select[*tuple[Any, ...]]:
    return (
        select(*_COLUMNS)
        .select_from(Adapter)
        .outerjoin(Inspection, Inspection.file_pk == Adapter.file_pk)
        .outerjoin(AdapterDetail, AdapterDetail.adapter_pk == Adapter.pk)
    )


def active(connection: Connection, *, limit: int) -> list[StackRow]:
    """The active adapters: those with an ordinal first, ascending, then by name; at most `limit`.

    Two ranges of one index, since the dialects disagree on where NULL stands in it.
    """
    chosen = _statement().where(Adapter.active.is_(True))
    placed = chosen.where(Adapter.ordinal.is_not(None)).order_by(Adapter.ordinal, Adapter.name, Adapter.pk)
    rows = connection.execute(placed.limit(limit)).all()
    unplaced = chosen.where(Adapter.ordinal.is_(None)).order_by(Adapter.name, Adapter.pk)
    rest = connection.execute(unplaced.limit(limit - len(rows))).all()
    return [StackRow(*row) for row in (*rows, *rest)]


def active_count(connection: Connection) -> int:
    """How many adapters are active, from the maintained counter."""
    return facets.count_of(connection, "active", "true")


def by_ids(connection: Connection, ids: Sequence[str]) -> dict[str, StackRow]:
    """The adapters of public ids; those that do not exist are left out."""
    if not ids:
        return {}
    return {row.id: StackRow(*row) for row in connection.execute(_statement().where(Adapter.id.in_(ids)))}
