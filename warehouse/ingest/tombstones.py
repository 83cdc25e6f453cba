"""Deleting an adapter for good: the row goes, and a tombstone keeps a sync from bringing it back.

The tombstone is by path and document, never by content: a copy of the file elsewhere is another adapter. When the
files of its bundle change, the adapter comes back. Of a registered file that no sync has met yet only the file is
known: its tombstone is by path, size and time, until a sync that meets the file takes its documents in.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, delete, func, select, tuple_

from warehouse import facets
from warehouse.dialects import insert_or
from warehouse.engine import AnyRow
from warehouse.facets import COLUMN_FACETS, FacetKey
from warehouse.ingest import bulk
from warehouse.ingest.deriving import FILE_KEY
from warehouse.models import Adapter, AdapterTag, Document, Duplicate, File, Finding, Tombstone, utc_now


def bury(connection: Connection, adapter_pks: Iterable[int]) -> int:
    """Delete adapters, with all that hangs on them, and remember that a user did. Returns how many there were."""
    pks = sorted(set(adapter_pks))
    columns = [getattr(Adapter, name) for name in COLUMN_FACETS]
    rows = connection.execute(
        select(Adapter.pk, Adapter.source_key, Adapter.bundle_pk, Adapter.file_path, *columns).where(
            bulk.among(connection, Adapter.pk, pks)
        )
    ).all()
    if not rows:
        return 0
    tags: dict[int, list[str]] = {row.pk: [] for row in rows}
    for pk, tag in connection.execute(
        select(AdapterTag.adapter_pk, AdapterTag.tag).where(bulk.among(connection, AdapterTag.adapter_pk, pks))
    ):
        tags[pk].append(tag)
    difference: Counter[FacetKey] = Counter()
    for row in rows:
        difference.subtract(facets.keys_of(dict(row._mapping), tags[row.pk]))
    difference.subtract(facets.vectors_of(connection, pks))
    _delete_findings(connection, rows)
    groups = connection.execute(
        select(Duplicate.kind, Duplicate.group_key).where(bulk.among(connection, Duplicate.adapter_pk, pks)).distinct()
    ).all()
    connection.execute(delete(Adapter).where(bulk.among(connection, Adapter.pk, pks)))
    _set_stones(connection, rows)
    _dissolve(connection, [(kind, key) for kind, key in groups])
    facets.apply(connection, difference)
    return len(rows)


def _set_stones(connection: Connection, rows: Sequence[AnyRow]) -> None:
    """A tombstone for each row that a sync could bring back; the rows are deleted already."""
    prints = fingerprints(connection, {row.bundle_pk for row in rows if row.bundle_pk is not None})
    stones = {row.source_key: prints[row.bundle_pk] for row in rows if row.bundle_pk is not None}
    paths = {row.file_path for row in rows if row.bundle_pk is None}
    # Another adapter of the same file still stands for it.
    paths -= set(
        connection.execute(select(Adapter.file_path).where(bulk.among(connection, Adapter.file_path, paths))).scalars()
    )
    stones |= {f"{FILE_KEY}{path}": _fingerprint_on_disk(path) for path in paths}
    if not stones:
        return
    now = utc_now()
    statement = insert_or(connection, Tombstone)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["source_key"],
            set_={"fingerprint": statement.excluded.fingerprint, "deleted_at": statement.excluded.deleted_at},
        ),
        [
            {"source_key": key, "fingerprint": fingerprint, "deleted_at": now}
            for key, fingerprint in sorted(stones.items())
        ],
    )


def _delete_findings(connection: Connection, rows: Sequence[AnyRow]) -> None:
    """What was found about the adapters themselves; what is about documents stays, for they are still there."""
    connection.execute(
        delete(Finding).where(
            bulk.among(connection, Finding.bundle_pk, {row.bundle_pk for row in rows if row.bundle_pk is not None}),
            bulk.among(connection, Finding.path, {row.file_path for row in rows}),
            Finding.origin == "adapters",
        )
    )


def _dissolve(connection: Connection, groups: Sequence[tuple[str, str]]) -> None:
    """Groups of duplicates of which one member is left."""
    for start in range(0, len(groups), 500):
        pair = tuple_(Duplicate.kind, Duplicate.group_key)
        alone = (
            select(Duplicate.kind, Duplicate.group_key)
            .where(pair.in_(groups[start : start + 500]))
            .group_by(Duplicate.kind, Duplicate.group_key)
            .having(func.count() < 2)
        )
        connection.execute(delete(Duplicate).where(pair.in_(alone)))


def buried(connection: Connection, bundles: Mapping[str, int]) -> set[str]:
    """Of source keys (with their bundles) those that a user deleted and whose files are as they were.

    The tombstones of the others are lifted.
    """
    stones = connection.execute(
        select(Tombstone.source_key, Tombstone.fingerprint).where(bulk.among(connection, Tombstone.source_key, bundles))
    ).all()
    if not stones:
        return set()
    prints = fingerprints(connection, {bundles[stone.source_key] for stone in stones})
    files = _fingerprints_of_files(connection, [stone.source_key for stone in stones])
    kept: dict[str, str] = {}
    lifted: list[str] = []
    for stone in stones:
        current = prints[bundles[stone.source_key]]
        if stone.fingerprint in (current, files.get(stone.source_key)):
            kept[stone.source_key] = current
        else:
            lifted.append(stone.source_key)
    renewed = [
        {"source_key": stone.source_key, "fingerprint": kept[stone.source_key]}
        for stone in stones
        if stone.source_key in kept and kept[stone.source_key] != stone.fingerprint
    ]
    bulk.update(connection, bulk.table_of(Tombstone), "source_key", renewed)
    connection.execute(delete(Tombstone).where(bulk.among(connection, Tombstone.source_key, lifted)))
    return set(kept)


def lift(connection: Connection, path: str) -> None:
    """Forget that the adapter of a weight file was deleted: somebody registers the file anew."""
    connection.execute(delete(Tombstone).where(Tombstone.source_key == f"{FILE_KEY}{path}"))


def fingerprints(connection: Connection, bundle_pks: Iterable[int]) -> dict[int, str]:
    """Of each bundle: its files by path, size and time, its documents by path and content."""
    pks = sorted(bundle_pks)
    parts: dict[int, list[str]] = {pk: [] for pk in pks}
    files = select(File.bundle_pk, File.path, File.size, File.mtime_ns).where(
        bulk.among(connection, File.bundle_pk, pks)
    )
    for file in connection.execute(files):
        parts[file.bundle_pk].append(_line(file.path, file.size, file.mtime_ns))
    documents = select(Document.bundle_pk, Document.path, Document.digest).where(
        bulk.among(connection, Document.bundle_pk, pks), Document.state != "missing"
    )
    for document in connection.execute(documents):
        parts[document.bundle_pk].append(f"{document.path}\0{document.digest}")
    return {pk: _digest(lines) for pk, lines in parts.items()}


def _fingerprints_of_files(connection: Connection, source_keys: Iterable[str]) -> dict[str, str]:
    """By source key, the fingerprint of its weight file alone."""
    paths = [key.removeprefix(FILE_KEY) for key in source_keys if key.startswith(FILE_KEY)]
    files = select(File.path, File.size, File.mtime_ns).where(bulk.among(connection, File.path, paths))
    return {
        f"{FILE_KEY}{file.path}": _digest([_line(file.path, file.size, file.mtime_ns)])
        for file in connection.execute(files)
    }


def _fingerprint_on_disk(path: str) -> str:
    """The fingerprint of a weight file as it lies there now; of none where it is gone."""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return _digest([_line(path, status.st_size, status.st_mtime_ns)])


def _line(path: str, size: int, mtime_ns: int) -> str:
    return f"{path}\0{size}\0{mtime_ns}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=16).hexdigest()
