"""Embeddings as they are asked about: those of one adapter, and how much of the library has them.

Does not belong here: vectors themselves and what is due to be computed (`warehouse.vectors`).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from warehouse import facets
from warehouse.models import Embedding, FacetCount


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
    """How many adapters have a vector, by space, from the maintained counters; spaces without any are left out."""
    statement = select(FacetCount.value, FacetCount.count).where(
        FacetCount.facet == facets.EMBEDDED, FacetCount.count > 0
    )
    return dict(connection.execute(statement.order_by(FacetCount.value)).all())


def oldest_after(connection: Connection, last_pk: int) -> datetime | None:
    """When the first of the vectors that came after a number was computed; None where none did."""
    newer = select(Embedding.updated_at).where(Embedding.pk > last_pk).order_by(Embedding.pk).limit(1)
    return connection.execute(newer).scalar()
