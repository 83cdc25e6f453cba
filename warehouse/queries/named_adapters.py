"""Adapters by the names that tokens of prompts bear, with what other programs could recognise their files by.

Does not belong here: what a program calls them (`pipelines.backends.loras`).
"""

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection, select

from warehouse.models import Adapter, File

_VERSIONS_PER_NAME = 100
"""Rows that are read for a name; a library has a handful."""


class NamedAdapter(msgspec.Struct, frozen=True):
    """An adapter of a name."""

    pk: int
    id: str
    name: str
    version: str | None
    active: bool
    file_path: str
    file_state: str
    sha256: str | None
    payload_sha256: str | None


_MEASURED = ("sha256", "payload_sha256")
_COLUMNS = tuple((File if name in _MEASURED else Adapter).__table__.c[name] for name in NamedAdapter.__struct_fields__)


def by_names(connection: Connection, names: Collection[str]) -> dict[str, list[NamedAdapter]]:
    """The adapters of each name, the one that a token of it means first: active, its file present, the newest."""
    if not names:
        return {}
    statement = select(*_COLUMNS).select_from(Adapter).outerjoin(File, File.pk == Adapter.file_pk)
    rows = connection.execute(
        statement.where(Adapter.name.in_(set(names)))
        .order_by(Adapter.name, Adapter.pk)
        .limit(len(names) * _VERSIONS_PER_NAME)
    )
    found: dict[str, list[NamedAdapter]] = {}
    for row in rows:
        adapter = NamedAdapter(*row)
        found.setdefault(adapter.name, []).append(adapter)
    for versions in found.values():
        versions.sort(key=lambda each: (not each.active, each.file_state != "present", -each.pk))
    return found
