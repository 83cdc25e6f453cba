"""Exact counts of adapters by facet, kept by the very transactions that change adapters or their vectors.

A list page must say how many adapters match without counting them, so whoever inserts, changes or deletes adapters
sums the difference here and applies it in the same transaction; so does whoever writes vectors, for how many adapters
have one in each space. `recount` is the truth that checks compare with.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select

from warehouse.dialects import insert_or
from warehouse.models import Adapter, AdapterTag, Embedding, FacetCount

ALL = "all"
"""The facet with the single value '' that counts every adapter."""

EMBEDDED = "embedded"
"""The facet that counts, under the name of each space, the adapters that have a vector in it."""

COLUMN_FACETS = ("active", "base_model", "archetype", "author_username", "nsfw_level", "file_state")

FacetKey = tuple[str, str]

_PARAMETERS = 500
"""Values in one statement."""


def value_of(value: Any) -> str:
    """How a facet's value is written: '' for NULL, 'true' and 'false' for booleans."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def keys_of(row: Mapping[str, Any], tags: Iterable[str]) -> list[FacetKey]:
    """The counters in which one adapter is counted; `tags` are folded tags, each once."""
    keys = [(ALL, ""), *((facet, value_of(row[facet])) for facet in COLUMN_FACETS)]
    keys.extend(("tag", tag) for tag in tags)
    return keys


def tally(columns: Mapping[str, Sequence[Any]], tags: Iterable[str]) -> Counter[FacetKey]:
    """The counters of many adapters at once, given by column; `tags` are the folded tags of all of them."""
    counts: Counter[FacetKey] = Counter({(ALL, ""): len(columns[COLUMN_FACETS[0]])})
    for facet in COLUMN_FACETS:
        for value, count in Counter(columns[facet]).items():
            counts[facet, value_of(value)] += count
    for tag, count in Counter(tags).items():
        counts["tag", tag] += count
    return counts


def vectors_of(connection: Connection, adapter_pks: Sequence[int]) -> Counter[FacetKey]:
    """The counters in which the vectors of adapters are counted: whoever deletes adapters takes these off, because
    their vectors go with them. The adapters stay locked until commit, so that none gets another vector meanwhile."""
    counts: Counter[FacetKey] = Counter()
    numbers = sorted(adapter_pks)
    for start in range(0, len(numbers), _PARAMETERS):
        part = numbers[start : start + _PARAMETERS]
        connection.execute(select(Adapter.pk).where(Adapter.pk.in_(part)).order_by(Adapter.pk).with_for_update())
        found = connection.execute(
            select(Embedding.embedding_type, func.count())
            .where(Embedding.adapter_pk.in_(part))
            .group_by(Embedding.embedding_type)
        )
        for space, count in found:
            counts[EMBEDDED, space] += count
    return counts


def apply(connection: Connection, difference: Counter[FacetKey]) -> None:
    """Add a signed difference to the counters. Keys are taken in order, so that two writers cannot deadlock."""
    rows = [
        {"facet": facet, "value": value, "count": count}
        for (facet, value), count in sorted(difference.items())
        if count
    ]
    if not rows:
        return
    statement = insert_or(connection, FacetCount)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["facet", "value"],
            set_={"count": FacetCount.__table__.c.count + statement.excluded.count},
        ),
        rows,
    )


_COUNT = select(FacetCount.count).where(FacetCount.facet == bindparam("wanted"), FacetCount.value == bindparam("of"))


def count_of(connection: Connection, facet: str = ALL, value: str = "") -> int:
    """The counter of one value of a facet."""
    return connection.execute(_COUNT, {"wanted": facet, "of": value}).scalar() or 0


def counts_of(connection: Connection, facet: str) -> dict[str, int]:
    """The counters of the values of a facet that have few, without those that have come down to zero."""
    statement = select(FacetCount.value, FacetCount.count).where(FacetCount.facet == facet, FacetCount.count > 0)
    return dict(connection.execute(statement).all())


def _truth() -> list[Any]:
    selects: list[Any] = [select(literal(ALL), literal(""), func.count()).select_from(Adapter)]
    for facet in COLUMN_FACETS:
        column = getattr(Adapter, facet)
        selects.append(select(literal(facet), column, func.count()).group_by(column))
    selects.append(select(literal("tag"), AdapterTag.tag, func.count()).group_by(AdapterTag.tag))
    selects.append(select(literal(EMBEDDED), Embedding.embedding_type, func.count()).group_by(Embedding.embedding_type))
    return selects


def recount(connection: Connection) -> Counter[FacetKey]:
    """Every counter as a full count gives it: O(library), for checks and repair only."""
    counts: Counter[FacetKey] = Counter()
    for statement in _truth():
        for facet, value, count in connection.execute(statement):
            if count:
                counts[facet, value_of(value)] += count
    return counts


def stored(connection: Connection) -> Counter[FacetKey]:
    """Every counter as it is kept, without those that have come down to zero."""
    rows = connection.execute(select(FacetCount.facet, FacetCount.value, FacetCount.count))
    return Counter({(facet, value): count for facet, value, count in rows if count})


def repair(connection: Connection) -> int:
    """Replace the counters by a full count; returns how many were wrong."""
    truth, kept = recount(connection), stored(connection)
    wrong = sum(1 for key in truth.keys() | kept.keys() if truth[key] != kept[key])
    if wrong:
        connection.execute(delete(FacetCount))
        connection.execute(
            insert(FacetCount),
            [{"facet": facet, "value": value, "count": count} for (facet, value), count in truth.items()],
        )
    return wrong
