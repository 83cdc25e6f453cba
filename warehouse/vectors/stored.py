"""Stored vectors as they are read: by adapter, or all of them as a stream of rows.

Does not belong here: writing them (`work`) and what they are compared with (`search`, `indices`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, tuple_

from warehouse.models import Embedding
from warehouse.vectors.codec import decode_vectors
from warehouse.vectors.layout import Layout, Part
from warehouse.vectors.spaces import SPACES, SpaceName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARAMETERS = 10_000
"""Numbers in one IN list; SQLite allows 32,766 and PostgreSQL 65,535 parameters."""
_STREAM_ROWS = 6_144

_SPACES = {space.value: space for space in SpaceName}
"""Several times faster than calling the enumeration, and thousands of rows are read for a question."""
Value = TypeVar("Value")


def batched(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """Lists of at most `size` values, in order."""
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part


class StoredVector(NamedTuple):
    """A stored vector. Those of one producer can be compared."""

    adapter_pk: int
    space: SpaceName
    producer: str
    data: bytes


_OF_ADAPTERS = select(
    Embedding.adapter_pk, Embedding.embedding_type, Embedding.producer, Embedding.embedding_data
).where(Embedding.adapter_pk.in_(bindparam("numbers", expanding=True)))


def vectors_of(connection: Connection, pks: Sequence[int]) -> list[StoredVector]:
    """Every vector of these adapters."""
    found: list[StoredVector] = []
    for part in batched(pks, PARAMETERS):
        rows = connection.execute(_OF_ADAPTERS, {"numbers": part}).all()
        found += [StoredVector(row[0], _SPACES[row[1]], row[2], row[3]) for row in rows]
    return found


def by_adapter(connection: Connection, pks: Sequence[int]) -> dict[int, list[StoredVector]]:
    """Every vector of these adapters by their numbers; none of those that have no vectors."""
    found: dict[int, list[StoredVector]] = {pk: [] for pk in pks}
    for item in vectors_of(connection, pks):
        found[item.adapter_pk].append(item)
    return found


def newest_pk(connection: Connection) -> int:
    """The highest number of a vector; 0 without any. Every change gives a higher one."""
    return connection.execute(select(func.max(Embedding.pk))).scalar() or 0


def layout_of(connection: Connection, producers: Mapping[SpaceName, str]) -> Layout:
    """The layout of the stored vectors of these producers; a space that has none takes no place."""
    parts: list[Part] = []
    offset = 0
    for space in (space.name for space in SPACES if space.name in producers):
        row = connection.execute(
            select(Embedding.dimension, Embedding.model_name)
            .where(Embedding.embedding_type == space.value, Embedding.producer == producers[space])
            .limit(1)
        ).first()
        if row is not None:
            parts.append(Part(space, producers[space], row.model_name, offset, row.dimension))
            offset += row.dimension
    return Layout(tuple(parts))


def of_layout(layout: Layout) -> ColumnElement[bool]:
    """The stored vectors that have a place in a layout."""
    pairs = [(part.space.value, part.producer) for part in layout.parts]
    return tuple_(Embedding.embedding_type, Embedding.producer).in_(pairs)


def counts_of(connection: Connection, layout: Layout) -> dict[SpaceName, int]:
    """How many stored vectors each part of a layout has: counted in an index alone."""
    return {
        part.space: connection.execute(
            select(func.count())
            .select_from(Embedding)
            .where(Embedding.embedding_type == part.space.value, Embedding.producer == part.producer)
        ).scalar_one()
        for part in layout.parts
    }


def stream_rows(
    connection: Connection, layout: Layout, *where: ColumnElement[bool]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Adapters' numbers, ascending, and their rows, float32 (n, layout.dimension), in chunks of some 2,000.

    A space without a vector is zeros.
    """
    columns = (Embedding.adapter_pk, Embedding.embedding_type, Embedding.producer, Embedding.embedding_data)
    after = 0
    while True:
        found = connection.execute(
            select(*columns)
            .where(of_layout(layout), Embedding.adapter_pk > after, *where)
            .order_by(Embedding.adapter_pk)
            .limit(_STREAM_ROWS)
        ).all()
        if not found:
            return
        # The last adapter may have further rows; it comes with the next chunk.
        last = found[-1][0]
        whole = found if len(found) < _STREAM_ROWS or last == found[0][0] else [row for row in found if row[0] != last]
        yield assemble([StoredVector(row[0], _SPACES[row[1]], row[2], row[3]) for row in whole], layout)
        after = whole[-1][0]


def assemble(vectors: Sequence[StoredVector], layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Adapters' numbers, ascending, and their rows; vectors of producers that the layout does not know are left out."""
    import numpy as np

    places = {(part.space, part.producer): part for part in layout.parts}
    known = [vector for vector in vectors if (vector.space, vector.producer) in places]
    numbers = sorted({vector.adapter_pk for vector in known})
    position = {number: index for index, number in enumerate(numbers)}
    rows = np.zeros((len(numbers), layout.dimension), dtype=np.float32)
    for part in layout.parts:
        mine = [vector for vector in known if (vector.space, vector.producer) == (part.space, part.producer)]
        if mine:
            targets = [position[vector.adapter_pk] for vector in mine]
            rows[targets, part.offset : part.offset + part.dimension] = decode_vectors([item.data for item in mine])
    return np.array(numbers, dtype=np.int64), rows
