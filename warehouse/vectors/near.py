"""Near duplicates: adapters of different models whose texts say nearly the same, such as one uploaded twice.

Looked for once per new vector, among its neighbours in the published index, so a resync costs what has changed. Other
versions of one Civitai model are versions, not duplicates. Classes that files and names decide stand in
`warehouse.ingest.duplicates`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, update

from warehouse.engine import Database
from warehouse.generations import at_hand, current
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.report import StageReport
from warehouse.models import Adapter, Duplicate, Embedding, utc_now
from warehouse.settings import Settings
from warehouse.vectors.generation import OpenIndex, open_index
from warehouse.vectors.indices import KIND
from warehouse.vectors.layout import Layout
from warehouse.vectors.recall import search_parameters
from warehouse.vectors.spaces import SpaceName
from warehouse.vectors.stored import assemble, vectors_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = "near"
"""The class of these groups; a group is a pair."""
THRESHOLD = 0.95
"""Least cosine in each compared space. Of 1,610 real adapters three pairs of different models reach it, each a twin of
the other; at 0.93 collections whose descriptions share a template come in."""
NEIGHBOURS = 16
_COMPARED = (SpaceName.SEMANTIC, SpaceName.ARTISTIC)
_CHUNK = 256

Pair = tuple[int, int]


def find_near_duplicates(database: Database, settings: Settings, *, progress: Progress | None = None) -> StageReport:
    """Look for near duplicates of every adapter whose vectors are new; committed per chunk.

    Without a published index nothing is compared. `changed` counts adapters compared, `details["pairs"]` the pairs.
    """
    started = time.monotonic()
    shown = progress or Silence()
    published = current(database, settings, KIND)
    compared = 0
    if published is not None:
        index = open_index(at_hand(database, settings, published))
        with database.read() as connection:
            shown.start(_count_due(connection, index), "adapters")
        while due := _due(database, index):
            _compare(database, index, due)
            compared += len(due)
            shown.advance(len(due))
    with database.write() as connection:
        _drop_widowed(connection)
        rows = connection.execute(
            select(func.count()).select_from(Embedding).where(Embedding.embedding_type == SpaceName.SEMANTIC.value)
        ).scalar_one()
        pairs = connection.execute(
            select(func.count(Duplicate.group_key.distinct())).where(Duplicate.kind == NEAR)
        ).scalar_one()
    seconds = time.monotonic() - started
    return StageReport(rows, compared, rows - compared, 0, seconds, details={"pairs": pairs})


def _is_due(index: OpenIndex) -> Any:
    return (
        (Embedding.embedding_type == SpaceName.SEMANTIC.value)
        & Embedding.compared_at.is_(None)
        & (Embedding.pk <= index.last_embedding)
    )


def _count_due(connection: Connection, index: OpenIndex) -> int:
    return connection.execute(select(func.count()).select_from(Embedding).where(_is_due(index))).scalar_one()


def _due(database: Database, index: OpenIndex) -> list[int]:
    statement = select(Embedding.adapter_pk).where(_is_due(index)).order_by(Embedding.pk).limit(_CHUNK)
    with database.read() as connection:
        return list(connection.execute(statement).scalars())


def _compare(database: Database, index: OpenIndex, due: list[int]) -> None:
    with database.read() as connection:
        numbers, rows = assemble(vectors_of(connection, due), index.layout)
        neighbours = _neighbours(index, rows)
        everyone = sorted({int(number) for number in neighbours[neighbours >= 0]} | set(due))
        known, vectors = assemble(vectors_of(connection, everyone), index.layout)
        models = _models_of(connection, everyone)
    position = {int(number): place for place, number in enumerate(known)}
    candidates = {
        (min(int(number), int(other)), max(int(number), int(other)))
        for number, found in zip(numbers, neighbours, strict=True)
        for other in found
        if other >= 0 and other != number and int(other) in position
    }
    scores = {
        pair: score
        for pair in candidates
        if _different_models(models, pair)
        and (score := _score(index.layout, vectors[position[pair[0]]], vectors[position[pair[1]]])) >= THRESHOLD
    }
    with database.write() as connection:
        _replace(connection, due, scores)


def _neighbours(index: OpenIndex, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of the nearest adapters of each row by the compared spaces alone, shape (n, k); -1 where fewer."""
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(1)
    questions = np.zeros_like(rows)
    for space in _COMPARED:
        part = index.layout.part(space)
        if part is not None:
            places = slice(part.offset, part.offset + part.dimension)
            questions[:, places] = rows[:, places] / len(_COMPARED)
    k = min(NEIGHBOURS + 1, index.count)
    found: NDArray[np.int64] = index.index.search(questions, k, params=search_parameters(index.nprobe))[1]
    return found


def _models_of(connection: Connection, pks: Sequence[int]) -> dict[int, int | None]:
    rows = connection.execute(select(Adapter.pk, Adapter.civitai_model_id).where(Adapter.pk.in_(pks)))
    return {row.pk: row.civitai_model_id for row in rows}


def _different_models(models: Mapping[int, int | None], pair: Pair) -> bool:
    if pair[0] not in models or pair[1] not in models:
        return False
    first, second = models[pair[0]], models[pair[1]]
    return first is None or first != second


def _score(layout: Layout, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The lower of the cosines in the spaces that both have; 0 where the semantic one is missing."""
    cosines: list[float] = []
    for space in _COMPARED:
        part = layout.part(space)
        if part is None:
            continue
        places = slice(part.offset, part.offset + part.dimension)
        if first[places].any() and second[places].any():
            cosines.append(float(first[places] @ second[places]))
        elif space is SpaceName.SEMANTIC:
            return 0.0
    return min(1.0, *cosines) if cosines else 0.0


def _replace(connection: Connection, due: list[int], scores: Mapping[Pair, float]) -> None:
    """The pairs of these adapters as they are now, and that they have been looked at."""
    theirs = select(Duplicate.group_key).where(Duplicate.kind == NEAR, Duplicate.adapter_pk.in_(due))
    connection.execute(delete(Duplicate).where(Duplicate.kind == NEAR, Duplicate.group_key.in_(theirs)))
    rows = [
        {"kind": NEAR, "group_key": _key(pair), "adapter_pk": pk, "score": round(score, 4)}
        for pair, score in sorted(scores.items())
        for pk in pair
    ]
    if rows:
        _drop_pairs(connection, map(_key, scores))
        connection.execute(insert(Duplicate), rows)
    connection.execute(
        update(Embedding)
        .where(Embedding.embedding_type == SpaceName.SEMANTIC.value, Embedding.adapter_pk.in_(due))
        .values(compared_at=utc_now())
    )


def _key(pair: Pair) -> str:
    return f"{pair[0]}~{pair[1]}"


def _drop_pairs(connection: Connection, keys: Iterable[str]) -> None:
    connection.execute(delete(Duplicate).where(Duplicate.kind == NEAR, Duplicate.group_key.in_(list(keys))))


def _drop_widowed(connection: Connection) -> None:
    """Pairs one of whose adapters was deleted."""
    widowed = select(Duplicate.group_key).where(Duplicate.kind == NEAR)
    widowed = widowed.group_by(Duplicate.group_key).having(func.count() < 2)
    connection.execute(delete(Duplicate).where(Duplicate.kind == NEAR, Duplicate.group_key.in_(widowed)))
