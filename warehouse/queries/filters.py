"""Filters of the adapter list: what a client may narrow it to, and the statements that find what passes.

Does not belong here: how many pass (`counts`), and in which order they are read (`pages`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVarTuple

from sqlalchemy import ColumnElement, Connection, Select, exists, select

from warehouse import facets, fulltext
from warehouse.models import Adapter, AdapterTag
from warehouse.queries import matching

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True, slots=True)
class AdapterFilter:
    """What a list is narrowed to; every condition given must hold."""

    active: bool | None = None
    all_tags: tuple[str, ...] = ()
    """Folded tags, each of which the adapter must have."""
    any_tags: tuple[str, ...] = ()
    """Folded tags of which it must have at least one."""
    base_model: str | None = None
    question: fulltext.Query | None = None

    def conditions(self) -> int:
        """How many conditions there are."""
        single = (self.active is not None, self.base_model is not None, bool(self.any_tags), self.question is not None)
        return sum(single) + len(self.all_tags)


def make_filter(
    *,
    active: bool | None = None,
    all_tags: Iterable[str] = (),
    any_tags: Iterable[str] = (),
    base_model: str | None = None,
    question: str | None = None,
) -> AdapterFilter:
    """A filter from what a client wrote: tags folded and each once, blanks ignored, the question parsed.

    A question without a single letter or digit asks for nothing that could match and therefore matches nothing.
    """
    return AdapterFilter(
        active=active,
        all_tags=_folded(all_tags),
        any_tags=_folded(any_tags),
        base_model=storable(base_model) if base_model else None,
        question=fulltext.parse(question) if question and question.strip() else None,
    )


def _folded(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({storable(fulltext.fold(tag.strip())) for tag in tags if tag.strip()}))


def storable(value: str) -> str:
    """Text as both dialects can compare it: PostgreSQL refuses NUL, and nothing that is stored has one."""
    return value.replace("\x00", "\ufffd")


def is_sqlite(connection: Connection) -> bool:
    """Whether statements of SQLite's own are understood."""
    return connection.dialect.name == "sqlite"


def has_tag(pk: ColumnElement[int], tags: Sequence[str]) -> ColumnElement[bool]:
    """Whether the adapter of a number has at least one of the tags."""
    return exists().where(AdapterTag.adapter_pk == pk, AdapterTag.tag.in_(tags))


def of_adapter(narrowed: AdapterFilter) -> list[ColumnElement[bool]]:
    """The conditions on columns of `adapters`."""
    conditions: list[ColumnElement[bool]] = []
    if narrowed.active is not None:
        conditions.append(Adapter.active.is_(narrowed.active))
    if narrowed.base_model is not None:
        conditions.append(Adapter.base_model == narrowed.base_model)
    return conditions


def narrow(statement: Select[*Columns], pk: ColumnElement[int], narrowed: AdapterFilter) -> Select[*Columns]:
    """A select of adapters' numbers without those that fail a condition on tags or columns; the question is not asked.

    Each condition is a probe by key: for a statement that a few rows drive.
    """
    for tag in narrowed.all_tags:
        statement = statement.where(has_tag(pk, [tag]))
    if narrowed.any_tags:
        statement = statement.where(has_tag(pk, narrowed.any_tags))
    conditions = of_adapter(narrowed)
    if conditions:
        statement = statement.where(exists().where(Adapter.pk == pk, *conditions))
    return statement


def candidates(connection: Connection, narrowed: AdapterFilter) -> Select[int]:
    """Numbers of the adapters that pass, driven by full text, else by the rarest tag, else by an index of a column."""
    if narrowed.question is not None:
        matched = matching.matches(narrowed.question, sqlite=is_sqlite(connection)).subquery("matched")
        return narrow(select(matched.c.adapter_pk.label("pk")), matched.c.adapter_pk, narrowed)
    if narrowed.all_tags:
        rarest = min(narrowed.all_tags, key=lambda tag: (facets.count_of(connection, "tag", tag), tag))
        driving = select(AdapterTag.adapter_pk).where(AdapterTag.tag == rarest).subquery("driving")
        others = replace(narrowed, all_tags=tuple(tag for tag in narrowed.all_tags if tag != rarest))
        return narrow(select(driving.c.adapter_pk.label("pk")), driving.c.adapter_pk, others)
    if narrowed.any_tags:
        tagged = (
            select(AdapterTag.adapter_pk).where(AdapterTag.tag.in_(narrowed.any_tags)).distinct().subquery("tagged")
        )
        others = replace(narrowed, any_tags=())
        return narrow(select(tagged.c.adapter_pk.label("pk")), tagged.c.adapter_pk, others)
    return select(Adapter.pk.label("pk")).where(*of_adapter(narrowed))
