"""Writing edited adapters: the rows and all that must agree with them, in the caller's transaction.

Belongs here: SQL by sets for one row or a thousand, counters, words, tags, audit and feed. Does not: which values
change and why (`editing`, `bulk_changes`).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update

from warehouse import audit, facets
from warehouse.audit import Actor, Change
from warehouse.catalog.effects import FEEDING, effects_of
from warehouse.catalog.fields import DERIVED, USER_STATE
from warehouse.civitai import html_to_text
from warehouse.facets import COLUMN_FACETS, FacetKey
from warehouse.ingest import bulk
from warehouse.models import Adapter, AdapterDetail, AdapterSearch, AdapterTag

KIND: Final = "adapter"
"""Of the subjects of audit entries."""
_CHUNK: Final = 200
"""Adapters whose descriptions and examples are held at once."""


@dataclass(slots=True)
class Edit:
    """A row as it was, and the columns that change. `description_text` is set where the plain text is known."""

    before: Mapping[str, Any]
    values: dict[str, Any]
    description_text: str | None = None

    @property
    def after(self) -> dict[str, Any]:
        """The row as it becomes."""
        return {**self.before, **self.values}


def locked(connection: Connection, ids: Collection[str], columns: Iterable[Any]) -> list[dict[str, Any]]:
    """The adapters of public ids that exist, by number; nobody else changes them until the transaction ends."""
    statement = select(*columns).where(bulk.among(connection, Adapter.id, ids)).order_by(Adapter.pk).with_for_update()
    return [dict(row) for row in connection.execute(statement).mappings()]


def write(connection: Connection, edits: Sequence[Edit], at: datetime) -> None:
    """Write edits (at most one per row), none of them empty."""
    details: list[dict[str, Any]] = []
    search: list[dict[str, Any]] = []
    tags: dict[int, list[str]] = {}
    feeding = [edit for edit in edits if not FEEDING.isdisjoint(edit.values)]
    for start in range(0, len(feeding), _CHUNK):
        _follow(connection, feeding[start : start + _CHUNK], details, search, tags)
    difference = _difference(connection, edits, tags)
    _update_rows(connection, edits, at)
    bulk.update(connection, bulk.table_of(AdapterDetail), "adapter_pk", details)
    bulk.insert(connection, bulk.table_of(AdapterSearch), search, conflict="replace", keep_equal=True)
    if tags:
        connection.execute(delete(AdapterTag).where(bulk.among(connection, AdapterTag.adapter_pk, tags)))
        rows = [{"adapter_pk": pk, "tag": tag} for pk, own in tags.items() for tag in own]
        bulk.insert(connection, bulk.table_of(AdapterTag), rows)
    facets.apply(connection, difference)


def _follow(
    connection: Connection,
    edits: Sequence[Edit],
    details: list[dict[str, Any]],
    search: list[dict[str, Any]],
    tags: dict[int, list[str]],
) -> None:
    """Add what follows from edits: rows of details and words, folded tags by number, digests to the edits."""
    columns = (
        AdapterDetail.adapter_pk,
        AdapterDetail.description_text,
        AdapterDetail.notes,
        AdapterDetail.examples,
    )
    known = {
        row.adapter_pk: row
        for row in connection.execute(
            select(*columns).where(
                bulk.among(connection, AdapterDetail.adapter_pk, [edit.before["pk"] for edit in edits])
            )
        )
    }
    for edit in edits:
        pk, detail = edit.before["pk"], known[edit.before["pk"]]
        text = detail.description_text
        if "description" in edit.values:
            text = edit.description_text or html_to_text(edit.values["description"] or "")
            details.append({"adapter_pk": pk, "description_text": text})
        effects = effects_of(edit.after, description_text=text, notes=detail.notes, examples=detail.examples)
        edit.values["content_digest"] = effects.content_digest
        search.append({"adapter_pk": pk, **effects.search})
        if not {"tags", "user_tags"}.isdisjoint(edit.values):
            tags[pk] = effects.tags


def _difference(connection: Connection, edits: Sequence[Edit], tags: Mapping[int, Sequence[str]]) -> Counter[FacetKey]:
    """How the counters change; nothing is written yet."""
    difference: Counter[FacetKey] = Counter()
    for edit in edits:
        if not edit.values.keys().isdisjoint(COLUMN_FACETS):
            difference.update(facets.keys_of(edit.after, ()))
            difference.subtract(facets.keys_of(edit.before, ()))
    if tags:
        difference.update(("tag", tag) for own in tags.values() for tag in own)
        before = select(AdapterTag.tag).where(bulk.among(connection, AdapterTag.adapter_pk, tags))
        difference.subtract(("tag", tag) for tag in connection.execute(before).scalars())
    return difference


def _update_rows(connection: Connection, edits: Sequence[Edit], at: datetime) -> None:
    """One statement for rows that change alike; else one statement, given the values of many rows at once."""
    groups: defaultdict[tuple[str, ...], list[Edit]] = defaultdict(list)
    for edit in edits:
        groups[tuple(sorted(edit.values))].append(edit)
    for group in groups.values():
        values = group[0].values
        if all(edit.values == values for edit in group):
            pks = [edit.before["pk"] for edit in group]
            connection.execute(
                update(Adapter).where(bulk.among(connection, Adapter.pk, pks)).values(**values, updated_at=at)
            )
        else:
            rows = [{"pk": edit.before["pk"], **edit.values, "updated_at": at} for edit in group]
            bulk.update(connection, bulk.table_of(Adapter), "pk", rows)


def change_of(edit: Edit, action: str) -> Change:
    """The audit entry of an edit: what a client sees of it, as it was and became."""
    shown = [name for name in edit.values if name in DERIVED or name in USER_STATE] or ["user_fields"]
    return Change(
        action,
        KIND,
        edit.before["id"],
        {name: edit.before[name] for name in shown},
        {name: edit.values[name] for name in shown},
    )


@dataclass(frozen=True, slots=True)
class Told:
    """An item of the feed: `verb` is done to `names`, the names of adapters by their ids."""

    kind: str
    verb: str
    names: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)


def tell(connection: Connection, actor: Actor, at: datetime, told: Told) -> None:
    """One item of the feed, however many adapters it is about."""
    ids = list(told.names)
    what = told.names[ids[0]] if len(ids) == 1 else f"{len(ids):,} adapters"
    audit.tell(
        connection,
        at,
        kind=told.kind,
        subject_id=ids[0] if len(ids) == 1 else None,
        summary=f"{told.verb} {what}",
        data={"actor": actor.key_name, "count": len(ids), **told.data},
    )
