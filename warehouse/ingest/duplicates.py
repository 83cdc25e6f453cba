"""Adapters that are there twice, in four classes, recomputed as sets.

`same_file`: equal bytes at several paths. `same_weights`: equal tensors under other headers. `same_version`: other
files of one Civitai version. `name_clash`: one name and version for several adapters. Near duplicates are a matter of
vectors and do not belong here.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, delete, func, insert, literal, select, tuple_

from warehouse.ingest.writer import NAME_CLASH
from warehouse.models import Adapter, Duplicate, File, Finding

KINDS: Final = ("same_file", "same_weights", "same_version", "name_clash")
_CHUNK: Final = 1_000


def recompute(connection: Connection) -> dict[str, int]:
    """Replace the groups of these classes; the number of adapters in each class."""
    connection.execute(delete(Duplicate).where(Duplicate.kind.in_(KINDS)))
    for statement in (_same_file(), _same_weights(), _same_version()):
        connection.execute(insert(Duplicate).from_select(["kind", "group_key", "adapter_pk"], statement))
    for rows in _name_clashes(connection):
        connection.execute(insert(Duplicate), rows)
    counted = select(Duplicate.kind, func.count()).where(Duplicate.kind.in_(KINDS)).group_by(Duplicate.kind)
    return dict.fromkeys(KINDS, 0) | dict(connection.execute(counted).all())


def _same_file() -> Select[*tuple[Any, ...]]:
    there = and_(File.state != "missing", File.sha256.is_not(None))
    repeated = select(File.sha256).where(there).group_by(File.sha256).having(func.count() > 1)
    return (
        select(literal("same_file"), File.sha256, Adapter.pk)
        .join(File, File.pk == Adapter.file_pk)
        .where(there, File.sha256.in_(repeated))
        .order_by(File.sha256, Adapter.pk)
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
        select(literal("same_weights"), File.payload_sha256, Adapter.pk)
        .join(File, File.pk == Adapter.file_pk)
        .where(there, File.payload_sha256.in_(repeated))
        .order_by(File.payload_sha256, Adapter.pk)
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
        select(literal("same_version"), Adapter.civitai_version_id.cast(Duplicate.group_key.type), Adapter.pk)
        .join(File, File.pk == Adapter.file_pk)
        .where(there, Adapter.civitai_version_id.in_(repeated))
        .order_by(Adapter.civitai_version_id, Adapter.pk)
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
