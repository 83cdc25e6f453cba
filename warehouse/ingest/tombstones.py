"""Deleting an adapter for good: the row goes, and a tombstone keeps a sync from bringing it back.

The tombstone is by path and document, never by content: a copy of the file elsewhere is another adapter. When the
files of its bundle change, the adapter comes back.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from warehouse import facets
from warehouse.facets import COLUMN_FACETS, FacetKey
from warehouse.models import Adapter, AdapterTag, Document, File, Tombstone, utc_now


def bury(connection: Connection, adapter_pks: Iterable[int]) -> int:
    """Delete adapters, with all that hangs on them, and remember that a user did. Returns how many there were."""
    pks = sorted(set(adapter_pks))
    columns = [getattr(Adapter, name) for name in COLUMN_FACETS]
    rows = connection.execute(
        select(Adapter.pk, Adapter.source_key, Adapter.bundle_pk, *columns).where(Adapter.pk.in_(pks))
    ).all()
    if not rows:
        return 0
    tags: dict[int, list[str]] = {row.pk: [] for row in rows}
    for pk, tag in connection.execute(
        select(AdapterTag.adapter_pk, AdapterTag.tag).where(AdapterTag.adapter_pk.in_(pks))
    ):
        tags[pk].append(tag)
    difference: Counter[FacetKey] = Counter()
    for row in rows:
        difference.subtract(facets.keys_of(dict(row._mapping), tags[row.pk]))
    prints = fingerprints(connection, {row.bundle_pk for row in rows if row.bundle_pk is not None})
    module = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = module.insert(Tombstone)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["source_key"],
            set_={"fingerprint": statement.excluded.fingerprint, "deleted_at": statement.excluded.deleted_at},
        ),
        [
            {
                "source_key": row.source_key,
                "fingerprint": prints.get(row.bundle_pk, ""),
                "deleted_at": utc_now(),
            }
            for row in rows
        ],
    )
    connection.execute(delete(Adapter).where(Adapter.pk.in_(pks)))
    facets.apply(connection, difference)
    return len(rows)


def fingerprints(connection: Connection, bundle_pks: Iterable[int]) -> dict[int, str]:
    """Of each bundle: its files by path, size and time, its documents by path and content."""
    pks = sorted(bundle_pks)
    parts: dict[int, list[str]] = {pk: [] for pk in pks}
    files = select(File.bundle_pk, File.path, File.size, File.mtime_ns).where(File.bundle_pk.in_(pks))
    for file in connection.execute(files):
        parts[file.bundle_pk].append(f"{file.path}\0{file.size}\0{file.mtime_ns}")
    documents = select(Document.bundle_pk, Document.path, Document.digest).where(
        Document.bundle_pk.in_(pks), Document.state != "missing"
    )
    for document in connection.execute(documents):
        parts[document.bundle_pk].append(f"{document.path}\0{document.digest}")
    return {pk: _digest(lines) for pk, lines in parts.items()}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=16).hexdigest()
