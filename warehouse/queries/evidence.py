"""What adapters and a question have in common in words: the facts to compare, and the adapters that rare words find.

Belongs here: bounded reads. Does not: what such evidence is worth (`serving.recommending`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from warehouse import fulltext
from warehouse.models import Adapter
from warehouse.queries.filters import is_sqlite

COMMON = 40
"""A phrase that more adapters than this have says too little to look them up by it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an adapter in words, with the numbers that rank it."""

    pk: int
    id: str
    name: str
    version: str | None
    description: str | None
    author: str | None
    tags: list[str]
    trained_words: list[str]
    triggers: list[str]
    activation_text: str | None
    archetype: str | None
    base_model: str | None
    nsfw_level: int
    downloads: int | None
    rating: float | None
    civitai_model_id: int | None
    file_path: str
    file_state: str
    preview_path: str | None


_COLUMNS = (
    Adapter.pk,
    Adapter.id,
    Adapter.name,
    Adapter.version,
    Adapter.description,
    Adapter.author_username,
    Adapter.tags,
    Adapter.trained_words,
    Adapter.triggers,
    Adapter.activation_text,
    Adapter.archetype,
    Adapter.base_model,
    Adapter.nsfw_level,
    Adapter.downloads,
    Adapter.rating,
    Adapter.civitai_model_id,
    Adapter.file_path,
    Adapter.file_state,
    Adapter.preview_path,
)


def facts_of(connection: Connection, pks: Sequence[int]) -> dict[int, Facts]:
    """The facts of adapters by number; those that were deleted are left out."""
    found: dict[int, Facts] = {}
    for start in range(0, len(pks), 500):
        rows: Sequence[Any] = connection.execute(
            select(*_COLUMNS).where(Adapter.pk.in_(pks[start : start + 500]))
        ).all()
        found.update((row.pk, Facts(*row)) for row in rows)
    return found


def found_by(connection: Connection, phrase: str) -> list[int]:
    """Numbers of the adapters in whose words a phrase occurs, or none at all where it is common."""
    words = tuple(word for piece, _ in fulltext.parse(f'"{phrase}"').phrases for word in piece)
    if not words:
        return []
    question = fulltext.Query(((words, False),))
    matched = fulltext.matches(question, sqlite=is_sqlite(connection)).limit(COMMON + 1).subquery("matched")
    pks = list(connection.execute(select(matched.c.adapter_pk)).scalars())
    return pks if len(pks) <= COMMON else []


def named(connection: Connection, name: str) -> list[int]:
    """Numbers of the adapters of a name, at most a few: what a LoRA tag of a prompt means."""
    statement = select(Adapter.pk).where(Adapter.name == name.replace("\x00", "\ufffd")).order_by(Adapter.pk).limit(5)
    return list(connection.execute(statement).scalars())
