"""Vectors of given adapters, in every space, and what became of each adapter.

Belongs here: what somebody asked for by id and waits for. Does not: how vectors are computed and stored (`work`), and
computing whatever is due (the pipelines).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import and_, select

from warehouse.engine import Database
from warehouse.ids import canonical
from warehouse.models import Adapter, Embedding
from warehouse.settings import Settings
from warehouse.vectors import tuned
from warehouse.vectors.spaces import SPACES, SpaceName
from warehouse.vectors.stored import PARAMETERS, batched
from warehouse.vectors.work import compute_embeddings, producers_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """Adapters that were asked for by id, as they are now."""

    due: frozenset[str]
    """They lack a current vector in some space, or all are to be computed anew."""
    current: frozenset[str]
    unknown: frozenset[str]
    """There is no adapter with this id."""


@dataclass(frozen=True, slots=True)
class Computed:
    """What became of adapters that were due."""

    computed: frozenset[str]
    gone: frozenset[str]
    """Deleted meanwhile."""
    lacking: Mapping[str, tuple[SpaceName, ...]]
    """Spaces without a current vector: the model gave none that is finite, or the adapter was edited meanwhile."""


def look_up(database: Database, settings: Settings, ids: Collection[str], *, force: bool = False) -> Wanted:
    """Which of the adapters are due.

    Raises:
        EncoderError: a model of the settings cannot be used.
    """
    numbers = _current_vectors(database, settings, ids)
    due = {key for key, vectors in numbers.items() if force or len(vectors) < len(SPACES)}
    return Wanted(frozenset(due), frozenset(numbers.keys() - due), frozenset(set(ids) - numbers.keys()))


def compute_requested(database: Database, settings: Settings, ids: Collection[str], *, force: bool = False) -> Computed:
    """Compute the vectors of these adapters in every space, exactly as a run does.

    Raises:
        EncoderError: a model of the settings cannot be used.
    """
    before = _current_vectors(database, settings, ids) if force else {}
    for space in SPACES:
        compute_embeddings(database, settings, space.name, adapter_ids=ids, force=force)
    after = _current_vectors(database, settings, ids)
    lacking: dict[str, tuple[SpaceName, ...]] = {}
    for key, vectors in after.items():
        # A vector that was computed has a new number; without force only the lack of one made it due.
        stale = before.get(key, {}).items()
        missing = tuple(
            space.name for space in SPACES if space.name not in vectors or (space.name, vectors[space.name]) in stale
        )
        if missing:
            lacking[key] = missing
    return Computed(frozenset(after.keys() - lacking.keys()), frozenset(set(ids) - after.keys()), lacking)


def _current_vectors(database: Database, settings: Settings, ids: Collection[str]) -> dict[str, dict[SpaceName, int]]:
    """Of each adapter that exists, the numbers of its current vectors by space; a statement per 10,000 adapters."""
    producers = producers_of(tuned.in_use(database, settings))
    join = and_(Embedding.adapter_pk == Adapter.pk, Embedding.content_digest == Adapter.content_digest)
    columns = (Adapter.id, Embedding.embedding_type, Embedding.producer, Embedding.pk)
    found: dict[str, dict[SpaceName, int]] = {}
    with database.read() as connection:
        for part in batched(filter(None, map(canonical, ids)), PARAMETERS):
            rows = connection.execute(select(*columns).outerjoin(Embedding, join).where(Adapter.id.in_(part)))
            for key, space, producer, number in rows:
                vectors = found.setdefault(key, {})
                if space is not None and producers[SpaceName(space)] == producer:
                    vectors[SpaceName(space)] = number
    return found
