"""Embeddings as they are asked about: those of one adapter, and how much of the library has them.

Does not belong here: vectors themselves and what is due to be computed (`warehouse.vectors`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from warehouse import facets
from warehouse.models import Adapter, Embedding


@dataclass(frozen=True, slots=True)
class EmbeddingStatus:
    """The embeddings of one adapter."""

    spaces: dict[str, str]
    """Space -> model."""
    last_computed: datetime | None
    quality_score: float | None
    """The mean of the known scores, 0..1."""


def status(connection: Connection, adapter_pk: int) -> EmbeddingStatus:
    """What is embedded of an adapter."""
    rows = connection.execute(
        select(Embedding.embedding_type, Embedding.model_name, Embedding.updated_at, Embedding.quality_score)
        .where(Embedding.adapter_pk == adapter_pk)
        .order_by(Embedding.embedding_type)
    ).all()
    scores = [row.quality_score for row in rows if row.quality_score is not None]
    return EmbeddingStatus(
        spaces={row.embedding_type: row.model_name for row in rows},
        last_computed=max((row.updated_at for row in rows), default=None),
        quality_score=sum(scores) / len(scores) if scores else None,
    )


def coverage(connection: Connection) -> dict[str, int]:
    """How many adapters have a vector in each space: a scan of one index, so its result is kept (`change_stamp`)."""
    rows = connection.execute(select(Embedding.embedding_type, func.count()).group_by(Embedding.embedding_type)).all()
    return {row[0]: row[1] for row in rows}


def change_stamp(connection: Connection) -> tuple[Any, ...]:
    """What differs whenever a count of embeddings can differ: numbers are never reused, so three look-ups tell.

    An adapter that is deleted takes its embeddings along, and is missing from the counter of all.
    """
    return (
        facets.count_of(connection),
        connection.execute(select(func.max(Embedding.pk))).scalar(),
        connection.execute(select(func.max(Adapter.pk))).scalar(),
    )
