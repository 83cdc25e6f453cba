"""Adapters that are there twice, in four classes, recomputed as sets.

`same_file`: equal bytes at several paths. `same_weights`: equal tensors under other headers. `same_version`: other
files of one Civitai version. `name_clash`: one name and version for several adapters. Near duplicates are a matter of
vectors and do not belong here.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Select, Subquery, and_, delete, exists, func, insert, literal, select, tuple_

from warehouse.ingest import bulk
from warehouse.ingest.writer import NAME_CLASH
from warehouse.models import Adapter, Duplicate, File, Finding

KINDS: Final = ("same_file", "same_weights", "same_version", "name_clash")
_CHUNK: Final = 1_000


def recompute(connection: Connection) -> dict[str, int]:
    """Bring the groups of these classes up to date; the number of adapters in each class.

    Rows that hold still stay, for each that goes or comes counts as a change of the library, which overtakes the
    recommendations that are kept.
    """
    for kind, members in (
        ("same_file", _same_file()),
        ("same_weights", _same_weights()),
        ("same_version", _same_version()),
    ):
        _replace(connection, kind, members.subquery())
    _replace_name_clashes(connection)
    counted = select(Duplicate.kind, func.count()).where(Duplicate.kind.in_(KINDS)).group_by(Duplicate.kind)
    return dict.fromkeys(KINDS, 0) | dict(connection.execute(counted).all())


def _replace(connection: Connection, kind: str, members: Subquery) -> None:
    """Make the rows of a class those of `members` (group_key, adapter_pk)."""
    key, adapter_pk = members.c.group_key, members.c.adapter_pk
    is_same = and_(Duplicate.kind == kind, Duplicate.group_key == key, Duplicate.adapter_pk == adapter_pk)
    holds = exists().where(is_same)
    connection.execute(delete(Duplicate).where(Duplicate.kind == kind, ~holds.select_from(members)))
    fresh = select(literal(kind), key, adapter_pk).where(~holds.select_from(Duplicate)).order_by(key, adapter_pk)
    connection.execute(insert(Duplicate).from_select(["kind", "group_key", "adapter_pk"], fresh))


def _replace_name_clashes(connection: Connection) -> None:
    rows = connection.execute(
        select(Duplicate.group_key, Duplicate.adapter_pk, Duplicate.pk).where(Duplicate.kind == "name_clash")
    )
    gone = {(key, adapter_pk): pk for key, adapter_pk, pk in rows}
    for clashes in _name_clashes(connection):
        fresh = [clash for clash in clashes if gone.pop((clash["group_key"], clash["adapter_pk"]), None) is None]
        if fresh:
            connection.execute(insert(Duplicate), fresh)
    if gone:
        connection.execute(delete(Duplicate).where(bulk.among(connection, Duplicate.pk, list(gone.values()))))


def _same_file() -> Select[*tuple[Any, ...]]:
    there = and_(File.state != "missing", File.sha256.is_not(None))
    repeated = select(File.sha256).where(there).group_by(File.sha256).having(func.count() > 1)
    return (
        select(File.sha256.label("group_key"), Adapter.pk.label("adapter_pk"))
        .join(File, File.pk == Adapter.file_pk)
        .where(there, File.sha256.in_(repeated))
    )


def _same_weights() -> Select[*tuple[Any, ...]]:
    there = and_(File.state != "missing", File.payload_sha256.is_not(None))
    repeated = (
        select(File.payload_sha256)
        .where(there)
        .group_by(File.payload_sha256)
        .having(func.count(File.sha256.distinct()) > 1)
    )
    return (
        select(File.payload_sha256.label("group_key"), Adapter.pk.label("adapter_pk"))
        .join(File, File.pk == Adapter.file_pk)
        .where(there, File.payload_sha256.in_(repeated))
    )


def _same_version() -> Select[*tuple[Any, ...]]:
    there = and_(File.state != "missing", File.sha256.is_not(None), Adapter.civitai_version_id.is_not(None))
    repeated = (
        select(Adapter.civitai_version_id)
        .join(File, File.pk == Adapter.file_pk)
        .where(there)
        .group_by(Adapter.civitai_version_id)
        .having(func.count(File.sha256.distinct()) > 1)
    )
    return (
        select(
            Adapter.civitai_version_id.cast(Duplicate.group_key.type).label("group_key"),
            Adapter.pk.label("adapter_pk"),
        )
        .join(File, File.pk == Adapter.file_pk)
        .where(there, Adapter.civitai_version_id.in_(repeated))
    )


def _name_clashes(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """Each finding names an adapter that gave way; with it goes the one that has the plain name."""
    last = 0
    listed: set[int] = set()
    while True:
        findings = connection.execute(
            select(Finding.pk, Finding.data)
            .where(Finding.code == NAME_CLASH, Finding.pk > last)
            .order_by(Finding.pk)
            .limit(_CHUNK)
        ).all()
        if not findings:
            return
        last = findings[-1].pk
        groups: dict[tuple[str, str], str] = {}
        for row in findings:
            name, plain = row.data["name"], row.data["original_version"] or ""
            for version in (plain, row.data["version"] or ""):
                groups[name, version] = f"{name} {plain}".strip()
        pair = tuple_(Adapter.name, func.coalesce(Adapter.version, ""))
        members = connection.execute(
            select(Adapter.pk, Adapter.name, Adapter.version).where(pair.in_(list(groups))).order_by(Adapter.pk)
        ).all()
        rows = [
            {"kind": "name_clash", "group_key": groups[row.name, row.version or ""], "adapter_pk": row.pk}
            for row in members
            if row.pk not in listed
        ]
        listed.update(row["adapter_pk"] for row in rows)
        if rows:
            yield rows
