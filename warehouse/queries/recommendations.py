"""Kept recommendations: looking one up, keeping some, removing what nobody can be answered with any more.

Belongs here: statements on `recommendation_cache` and the part of its keys that says what answers came from. Does not:
what a question is and when it is kept (`serving.answer_cache`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from warehouse.contracts import INDEX, LEXICAL_INDEX
from warehouse.generations import current_pk
from warehouse.models import Adapter, Generation, Pointer, RecommendationCache, utc_now
from warehouse.queries import changes
from warehouse.queries.filters import is_sqlite

MAX_ROWS = 4_096
"""Answers that are kept: 15 MB of ten recommendations each; the oldest make way."""
PRUNED_AT_ONCE = 1_000
"""Rows that one call of `prune` removes at most, so that it never holds a write transaction for long."""


def current_generation(connection: Connection) -> str | None:
    """The name of the published index."""
    statement = (
        select(Generation.name)
        .join(Pointer, Pointer.generation_pk == Generation.pk)
        .where(Pointer.kind == "/".join(INDEX))
    )
    return connection.execute(statement).scalar()


def origin(connection: Connection, generation: str | None) -> str:
    """The beginning of every key that is valid now: the published indexes, and the changes so far."""
    words = current_pk(connection, "/".join(LEXICAL_INDEX))
    return f"{generation or '-'}:{words or '-'}:{'.'.join(map(str, changes.counted(connection)))}:"


def find(connection: Connection, key: str) -> tuple[bytes, datetime] | None:
    """What is kept under a key and has not expired, and when it was made."""
    statement = select(RecommendationCache.recommendations, RecommendationCache.created_at).where(
        RecommendationCache.cache_key == key, RecommendationCache.expires_at > utc_now()
    )
    row = connection.execute(statement).first()
    return None if row is None else (row[0], row[1])


def keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep answers, given as rows of different keys, in the place of those that have their keys.

    Those that were overtaken by a change are left out.
    """
    valid = origin(connection, current_generation(connection))
    rows = [row for row in rows if row["cache_key"].startswith(valid)]
    numbers = {row["adapter_pk"] for row in rows} - {None}
    # The lock keeps the adapters from being deleted until the commit, and holds up no other change of them.
    existing = select(Adapter.pk).where(Adapter.pk.in_(numbers)).with_for_update(read=True, key_share=True)
    alive = {None, *connection.execute(existing).scalars()}
    rows = [row for row in rows if row["adapter_pk"] in alive]
    if rows:
        module = sqlite if is_sqlite(connection) else postgresql
        statement = module.insert(RecommendationCache)
        # What is there has expired or cannot be read, or another process was first, and its answer is as good.
        renewed = {name: statement.excluded[name] for name in ("recommendations", "created_at", "expires_at")}
        connection.execute(statement.on_conflict_do_update(index_elements=["cache_key"], set_=renewed), rows)


def prune(connection: Connection, *, at_most: int = PRUNED_AT_ONCE) -> int:
    """Remove what has expired, what a change has overtaken, and the oldest beyond MAX_ROWS; returns how many."""
    table = RecommendationCache
    valid = origin(connection, current_generation(connection))
    useless = (
        select(table.pk)
        .where(or_(table.expires_at <= utc_now(), func.substr(table.cache_key, 1, len(valid)) != valid))
        .order_by(table.pk)
        .limit(at_most)
    )
    removed: int = connection.execute(delete(table).where(table.pk.in_(useless))).rowcount
    last_too_many = select(table.pk).order_by(table.pk.desc()).offset(MAX_ROWS).limit(1).scalar_subquery()
    too_many = select(table.pk).where(table.pk <= last_too_many).order_by(table.pk).limit(at_most)
    removed += connection.execute(delete(table).where(table.pk.in_(too_many))).rowcount
    return removed


def count(connection: Connection) -> int:
    """How many answers are kept."""
    return connection.execute(select(func.count()).select_from(RecommendationCache)).scalar_one()
