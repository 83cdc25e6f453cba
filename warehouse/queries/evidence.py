"""What adapters and a question have in common in words: the facts to compare, and the adapters that words find.

Belongs here: bounded reads. Does not: what such evidence is worth (`serving.ranking`).

Statements that every recommendation asks are made once: SQLAlchemy takes longer to make and to recognise one than
SQLite to answer it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Integer, Select, bindparam, func, select

from warehouse import fulltext
from warehouse.models import Adapter, AdapterDetail, Duplicate, Embedding
from warehouse.models.base import JsonObject
from warehouse.queries import matching
from warehouse.queries.filters import is_sqlite, storable

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an adapter in words, with the numbers that rank it."""

    pk: int
    id: str
    name: str
    version: str | None
    author: str | None
    tags: list[str]
    trained_words: list[str]
    triggers: list[str]
    activation_text: str | None
    archetype: str | None
    base_model: str | None
    downloads: int | None
    civitai_model_id: int | None
    file_state: str
    preview_path: str | None


_COLUMNS = (
    Adapter.pk,
    Adapter.id,
    Adapter.name,
    Adapter.version,
    Adapter.author_username,
    Adapter.tags,
    Adapter.trained_words,
    Adapter.triggers,
    Adapter.activation_text,
    Adapter.archetype,
    Adapter.base_model,
    Adapter.downloads,
    Adapter.civitai_model_id,
    Adapter.file_state,
    Adapter.preview_path,
)

_NUMBERS: BindParameter[int] = bindparam("numbers", expanding=True)
_FACTS = select(*_COLUMNS).where(Adapter.pk.in_(_NUMBERS))
_ORIGINS = select(Adapter.pk, Adapter.author_username, Adapter.civitai_model_id).where(Adapter.pk.in_(_NUMBERS))
_QUALITIES = (
    select(Embedding.adapter_pk, func.max(Embedding.quality_score))
    .where(Embedding.adapter_pk.in_(_NUMBERS), Embedding.quality_score.is_not(None))
    .group_by(Embedding.adapter_pk)
)
_SUMMARIES = select(
    AdapterDetail.adapter_pk, func.substr(AdapterDetail.description_text, 1, bindparam("length", type_=Integer))
).where(AdapterDetail.adapter_pk.in_(_NUMBERS), AdapterDetail.description_text.is_not(None))
_STRENGTHS = (
    select(Adapter.id, AdapterDetail.strengths)
    .join(AdapterDetail, AdapterDetail.adapter_pk == Adapter.pk)
    .where(Adapter.id.in_(bindparam("ids", expanding=True)))
)


def _chunks(pks: Sequence[int]) -> list[Sequence[int]]:
    return [pks[start : start + _CHUNK] for start in range(0, len(pks), _CHUNK)]


def facts_of(connection: Connection, pks: Sequence[int]) -> dict[int, Facts]:
    """The facts of adapters by number; those that were deleted are left out."""
    found: dict[int, Facts] = {}
    for chunk in _chunks(pks):
        rows: Sequence[Any] = connection.execute(_FACTS, {"numbers": chunk}).all()
        found.update((row.pk, Facts(*row)) for row in rows)
    return found


def origins(connection: Connection, pks: Sequence[int]) -> dict[int, tuple[str | None, int | None]]:
    """Author and model of adapters by number: much less to read than their facts."""
    found: dict[int, tuple[str | None, int | None]] = {}
    for chunk in _chunks(pks):
        rows = connection.execute(_ORIGINS, {"numbers": chunk})
        found.update((pk, (author, model)) for pk, author, model in rows)
    return found


def qualities(connection: Connection, pks: Sequence[int]) -> dict[int, float]:
    """How much is known of adapters, 0..1, where it was measured."""
    found: dict[int, float] = {}
    for chunk in _chunks(pks):
        rows = connection.execute(_QUALITIES, {"numbers": chunk})
        found.update((pk, score) for pk, score in rows if score is not None)
    return found


def summaries(connection: Connection, pks: Sequence[int], *, length: int) -> dict[int, str]:
    """The first characters of adapters' descriptions as plain text, where there are any."""
    found: dict[int, str] = {}
    for chunk in _chunks(pks):
        found.update(connection.execute(_SUMMARIES, {"numbers": chunk, "length": length}).all())
    return found


def strengths(connection: Connection, ids: Sequence[str]) -> dict[str, JsonObject]:
    """The weights that are known of adapters (`adapter_details.strengths`), by public id, where any are."""
    found: dict[str, JsonObject] = {}
    for start in range(0, len(ids), _CHUNK):
        rows = connection.execute(_STRENGTHS, {"ids": ids[start : start + _CHUNK]})
        found.update((key, known) for key, known in rows if known is not None)
    return found


def duplicate_groups(connection: Connection, pks: Sequence[int]) -> list[tuple[int, str]]:
    """(number, group) of those of the adapters that are in groups of duplicates."""
    found: list[tuple[int, str]] = []
    for chunk in _chunks(pks):
        statement = select(Duplicate.adapter_pk, Duplicate.kind, Duplicate.group_key).where(
            Duplicate.adapter_pk.in_(chunk), Duplicate.kind != "name_clash"
        )
        found.extend((pk, f"{kind}:{key}") for pk, kind, key in connection.execute(statement))
    return found


def found_by(connection: Connection, phrase: str, *, limit: int) -> list[int]:
    """Numbers of adapters in whose words a phrase occurs, at most `limit` of them."""
    statement = _having(connection, phrase, limit)
    return [] if statement is None else list(connection.execute(statement).scalars().all())


def occurrences(connection: Connection, phrase: str, *, limit: int) -> int:
    """In the words of how many adapters a phrase occurs, counted up to `limit`; counting in the database costs a tenth
    of fetching them."""
    statement = _having(connection, phrase, limit)
    if statement is None:
        return 0
    return connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one()


def _having(connection: Connection, phrase: str, limit: int) -> Select[int] | None:
    """A select of `limit` adapters with a phrase; None where the phrase has no word."""
    question = fulltext.phrase(phrase)
    if not question:
        return None
    matched = matching.matches(question, sqlite=is_sqlite(connection))
    # Without the score, which would be computed for every match.
    return matched.with_only_columns(matched.selected_columns.adapter_pk).limit(limit)


def named(connection: Connection, name: str) -> str | None:
    """The id of the oldest adapter of a name: what a LoRA tag of a prompt means."""
    statement = select(Adapter.id).where(Adapter.name == storable(name)).order_by(Adapter.pk).limit(1)
    return connection.execute(statement).scalar()
