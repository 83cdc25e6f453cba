"""One adapter: its row as it is shown, its provenance, its preview.

Does not belong here: lists (`pages`) and writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from warehouse.ingest.userstate import kept
from warehouse.models import Adapter, AdapterDetail, Bundle


class AdapterRow(msgspec.Struct, frozen=True):
    """An adapter as lists show it: every column of `adapters` that is anybody's business."""

    pk: int
    id: str
    name: str
    version: str | None
    canonical_version_name: str | None
    description: str | None
    author_username: str | None
    visibility: str
    published_at: datetime | None
    tags: list[str]
    trained_words: list[str]
    triggers: list[str]
    activation_text: str | None
    negative_text: str | None
    archetype: str | None
    archetype_confidence: float | None
    base_model: str | None
    sd_version: str | None
    nsfw_level: int
    supports_generation: bool
    civitai_model_id: int | None
    civitai_version_id: int | None
    downloads: int | None
    likes: int | None
    rating: float | None
    stats: dict[str, Any]
    licence: dict[str, Any] | None
    extra: dict[str, Any]
    file_path: str
    file_state: str
    primary_file_name: str | None
    primary_file_size_kb: float | None
    primary_file_sha256: str | None
    primary_file_download_url: str | None
    primary_file_local_path: str | None
    preview_path: str | None
    json_file_path: str | None
    json_file_mtime: datetime | None
    json_file_size: int | None
    weight: float
    weight_by_user: bool
    active: bool
    ordinal: int | None
    favorite: bool
    user_tags: list[str]
    user_notes: str | None
    last_ingested_at: datetime | None
    created_at: datetime
    updated_at: datetime


_ROW = tuple(Adapter.__table__.c[name] for name in AdapterRow.__struct_fields__)


def rows_by_pk(connection: Connection, pks: Sequence[int]) -> list[AdapterRow]:
    """The adapters of the given numbers, in their order; numbers of deleted ones are passed over."""
    if not pks:
        return []
    found = {row.pk: row for row in connection.execute(select(*_ROW).where(Adapter.pk.in_(pks)))}
    return [AdapterRow(*found[pk]) for pk in pks if pk in found]


def names_of(connection: Connection, adapter_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Name and version by public id; ids of deleted adapters are left out."""
    if not adapter_ids:
        return {}
    found = connection.execute(select(Adapter.id, Adapter.name, Adapter.version).where(Adapter.id.in_(adapter_ids)))
    return {row.id: (row.name, row.version) for row in found}


def get(connection: Connection, adapter_id: str) -> AdapterRow | None:
    """The adapter of a public id."""
    row = connection.execute(select(*_ROW).where(Adapter.id == adapter_id)).first()
    return AdapterRow(*row) if row is not None else None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the fields of an adapter come from."""

    sources: dict[str, Any]
    """Field -> path of the document, or `header`, `file`."""
    last_ingested_at: datetime | None
    user_columns: set[str]
    """What a user edited, and what follows from it."""


def provenance(connection: Connection, adapter_id: str) -> Provenance | None:
    """Which file gave each field of an adapter, and when."""
    row = connection.execute(
        select(AdapterDetail.provenance, Adapter.last_ingested_at, Adapter.user_fields, Adapter.weight_by_user)
        .select_from(Adapter)
        .outerjoin(AdapterDetail, AdapterDetail.adapter_pk == Adapter.pk)
        .where(Adapter.id == adapter_id)
    ).first()
    if row is None:
        return None
    by_user = kept(row.user_fields) | ({"weight"} if row.weight_by_user else set())
    sources = {field: source for source, fields in (row.provenance or {}).items() for field in fields}
    return Provenance(sources, row.last_ingested_at, by_user - {"file_state"})


def preview_path(connection: Connection, adapter_id: str) -> tuple[bool, str | None]:
    """(whether the adapter exists, the path of its local preview image if it has one)."""
    row = connection.execute(
        select(func.coalesce(Adapter.preview_path, Bundle.preview_path).label("path"))
        .select_from(Adapter)
        .outerjoin(Bundle, Bundle.pk == Adapter.bundle_pk)
        .where(Adapter.id == adapter_id)
    ).first()
    return (row is not None, row.path if row is not None else None)


def pk_of(connection: Connection, adapter_id: str) -> int | None:
    """The internal number of a public id."""
    return connection.execute(select(Adapter.pk).where(Adapter.id == adapter_id)).scalar()
