"""Stage 1, `library/files`: the rows of files and documents made true to what lies in the folders.

Belongs here: what each difference does to the rows. Does not: finding differences (`staging`), reading a single byte.
Vanished is a state: no row is deleted. Every chunk commits with the revisions of the bundles it touches, so that a
scan that was killed leaves only differences for the next one to find.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from warehouse.engine import AnyRow, Database, Session
from warehouse.ingest import staging
from warehouse.ingest.elements import ElementKind
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.report import StageReport
from warehouse.ingest.roots import LibraryError, LibraryRoots, choose, register
from warehouse.ingest.signature import library_signature
from warehouse.ingest.staging import Change, below_any
from warehouse.ingest.walk import Obstacle, Walk
from warehouse.locks import exclusive
from warehouse.models import Adapter, Bundle, Document, File, Finding, Root, utc_now
from warehouse.settings import Settings

CHUNK = 1_000
MAX_FINDINGS = 5_000
"""Obstacles beyond these are counted, not kept: a tree of undecodable names is one problem, not a million."""
ORIGIN = "scan"

_BundleKey = tuple[str, str]


def scan_library(
    database: Database,
    settings: Settings,
    roots: Sequence[Path] | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> StageReport:
    """Compare the folders with the rows and write the differences.

    Args:
        roots: folders to walk, registered for later syncs; None takes the configured and the registered ones.
        force: read every document and header again, whatever its size and time say; believe an empty folder.

    Raises:
        LibraryError: a given folder is none, no folder is known, or there is nothing at all to be found.
        LockHeld: another sync is at work.
    """
    started = time.perf_counter()
    with exclusive(database, "ingest"):
        chosen = choose(database, settings, roots)
        with database.session() as session:
            walk, obstacles = _walk(session, settings, chosen, force=force)
            report = _Scan(session, walk, progress or Silence()).run(force=force)
            _finish(session, settings, walk, obstacles)
    details = {**report, "roots": [str(root) for root in walk.roots], "obstacles": len(obstacles)}
    return StageReport(
        rows=report["weights"] + report["documents"],
        changed=report["written"],
        skipped=max(0, report["weights"] + report["documents"] - report["written"]),
        rejected=len(obstacles),
        seconds=time.perf_counter() - started,
        details=details,
    )


def _walk(session: Session, settings: Settings, chosen: LibraryRoots, *, force: bool) -> tuple[Walk, list[Obstacle]]:
    """Walk and compare. A root that holds nothing is taken for a disk that is not mounted, unless forced."""
    walk = Walk(chosen.walkable, excluded=frozenset({str(settings.data_dir)}))
    staging.stage(session, walk, believe_empty=force)
    empty = [root for root, count in walk.found.items() if count == 0]
    if len(empty) == len(walk.found) and not force:
        unread = [obstacle.message for obstacle in walk.obstacles if obstacle.code == "folder_unreadable"]
        raise LibraryError(
            "; ".join(unread)
            or f"{', '.join(empty)}: no weight file and no metadata document in it. Check the path or mount the disk; "
            "if it was emptied on purpose, sync with --force to mark its adapters as missing"
        )
    return walk, [*chosen.obstacles, *walk.obstacles]


class _Scan:
    """One application of the staged differences."""

    def __init__(self, session: Session, walk: Walk, progress: Progress) -> None:
        self._session = session
        self._walk = walk
        self._progress = progress
        self._roots: dict[str, int] = {}
        self._now = utc_now()

    def run(self, *, force: bool) -> dict[str, int]:
        """Write every difference; what was written, by kind of change."""
        with self._session.write() as connection:
            self._roots = register(connection, self._walk.roots)
        with self._session.temporary() as connection:
            counts = staging.counts(connection)
            found = staging.found_counts(connection)
        total = sum(counts.values())
        self._progress.start(total, "files")
        last = 0
        while True:
            with self._session.temporary() as connection:
                rows = staging.changes_after(connection, last, CHUNK)
            if not rows:
                break
            with self._session.write() as connection:
                self._apply(connection, rows)
            last = rows[-1].seq
            self._progress.advance(len(rows))
        previews = self._apply_previews()
        if force:
            self._reread_everything()
        changes: dict[str, int] = {str(change): 0 for change in Change}
        for (_, change), count in counts.items():
            changes[change] += count
        return {
            "weights": found.get(ElementKind.WEIGHT, 0),
            "documents": found.get(ElementKind.DOCUMENT, 0),
            "written": total + previews,
            "previews": previews,
            **changes,
        }

    def _apply(self, connection: Connection, rows: Sequence[AnyRow]) -> None:
        groups: dict[tuple[str, str], list[AnyRow]] = defaultdict(list)
        for row in rows:
            # The file is back since the comparison, or lies outside the walked folders: then it is a copy.
            is_copy = row.change == Change.MOVED and os.path.lexists(row.old_path)
            groups[row.kind, Change.NEW if is_copy else row.change].append(row)
        bundles = self._bundles(connection, [row for row in rows if row.directory is not None])
        touched: set[int] = set()
        for (kind, change), members in groups.items():
            touched |= _apply_group(connection, ElementKind(kind), Change(change), members, bundles, self._now)
        _raise_revisions(connection, touched)

    def _bundles(self, connection: Connection, rows: Iterable[AnyRow]) -> dict[_BundleKey, int]:
        keys = list(dict.fromkeys((row.directory, row.stem) for row in rows))
        if not keys:
            return {}
        module = sqlite if connection.dialect.name == "sqlite" else postgresql
        known = _bundle_pks(connection, keys)
        missing = [key for key in keys if key not in known]
        if missing:
            connection.execute(
                module.insert(Bundle).on_conflict_do_nothing(),
                [
                    {
                        "root_pk": self._root_of(directory),
                        "directory": directory,
                        "stem": stem,
                        "revision": 0,
                        "built_revision": 0,
                    }
                    for directory, stem in missing
                ],
            )
            known |= _bundle_pks(connection, missing)
        return known

    def _root_of(self, directory: str) -> int:
        path = Path(directory)
        for root, pk in self._roots.items():
            if path.is_relative_to(root):
                return pk
        raise AssertionError(f"{directory} is below no root")

    def _apply_previews(self) -> int:
        statement = staging.preview_changes(self._walk)
        total = last = 0
        while True:
            with self._session.write() as connection:
                rows = connection.execute(statement.where(Bundle.pk > last).limit(CHUNK)).all()
                if not rows:
                    return total
                connection.execute(
                    update(Bundle)
                    .where(Bundle.pk == bindparam("bundle"))
                    .values(preview_path=bindparam("preview"), revision=Bundle.revision + 1),
                    [{"bundle": pk, "preview": path} for pk, path in rows],
                )
            last = rows[-1][0]
            total += len(rows)

    def _reread_everything(self) -> None:
        roots = [str(root) for root in self._walk.roots]
        with self._session.write() as connection:
            connection.execute(
                update(Document)
                .where(below_any(Document.path, roots), Document.state != "missing")
                .values(read_mtime_ns=None)
            )
            present = select(File.bundle_pk).where(below_any(File.path, roots), File.state != "missing")
            connection.execute(
                update(Bundle).where(Bundle.pk.in_(present)).values(revision=Bundle.revision + 1, producer=None)
            )


def _bundle_pks(connection: Connection, keys: Sequence[_BundleKey]) -> dict[_BundleKey, int]:
    statement = select(Bundle.directory, Bundle.stem, Bundle.pk).where(tuple_(Bundle.directory, Bundle.stem).in_(keys))
    return {(row.directory, row.stem): row.pk for row in connection.execute(statement)}


def _raise_revisions(connection: Connection, bundle_pks: Iterable[int]) -> None:
    pks = sorted(bundle_pks)
    if pks:
        connection.execute(update(Bundle).where(Bundle.pk.in_(pks)).values(revision=Bundle.revision + 1))


def _apply_group(
    connection: Connection,
    kind: ElementKind,
    change: Change,
    rows: Sequence[AnyRow],
    bundles: dict[_BundleKey, int],
    now: datetime,
) -> set[int]:
    """Write the rows of one kind and change; the bundles whose adapters may be others now."""
    model: type[File] | type[Document] = File if kind is ElementKind.WEIGHT else Document
    if change is Change.NEW:
        return _insert(connection, model, rows, bundles, now)
    pks = [row.row_pk for row in rows]
    before = set(connection.execute(select(model.bundle_pk).where(model.pk.in_(pks))).scalars())
    if change is Change.VANISHED:
        connection.execute(update(model).where(model.pk.in_(pks)).values(state="missing", missing_since=now))
        return before
    if change is Change.MOVED:
        _rename_sources(connection, kind, rows, bundles)
    values = [_values(row, bundles) for row in rows]
    statement = update(model).where(model.pk == bindparam("row_pk"))
    changed: dict[str, Any] = {name: bindparam(f"new_{name}") for name in values[0] if name != "row_pk"}
    watermarks = _watermarks(model) if change is Change.CHANGED else {}
    connection.execute(
        statement.values(**changed, state="present", missing_since=None, **watermarks),
        [{name if name == "row_pk" else f"new_{name}": value for name, value in row.items()} for row in values],
    )
    if change is Change.CHANGED and model is Document:
        # Its bytes may be the same: whoever reads it knows whether its adapters are due.
        return set()
    return before | {row["bundle_pk"] for row in values}


def _insert(
    connection: Connection,
    model: type[File] | type[Document],
    rows: Sequence[AnyRow],
    bundles: dict[_BundleKey, int],
    now: datetime,
) -> set[int]:
    values: list[dict[str, Any]] = []
    for row in rows:
        value = {**_values(row, bundles), "state": "present"}
        del value["row_pk"]
        if model is File:
            value["first_seen_at"] = now
        else:
            value["complaints"] = 0
        values.append(value)
    connection.execute(insert(model), values)
    # A document makes its bundle due when it has been read.
    return {value["bundle_pk"] for value in values} if model is File else set()


def _values(row: AnyRow, bundles: dict[_BundleKey, int]) -> dict[str, Any]:
    return {
        "row_pk": row.row_pk,
        "bundle_pk": bundles[row.directory, row.stem],
        "path": row.path,
        "size": row.size,
        "mtime_ns": row.mtime_ns,
        "inode": row.inode,
    }


def _watermarks(model: type[File] | type[Document]) -> dict[str, None]:
    """What is forgotten of a file whose size or time changed, so that it is read again."""
    if model is Document:
        return {"read_mtime_ns": None}
    return dict.fromkeys(("hashed_size", "hashed_mtime_ns", "sha256", "payload_sha256", "blake3", "crc32", "autov1"))


def _rename_sources(
    connection: Connection, kind: ElementKind, rows: Sequence[AnyRow], bundles: dict[_BundleKey, int]
) -> None:
    """Let the adapters of moved files and documents keep their identity, which names the path."""
    for row in rows:
        bundle_pk = bundles[row.directory, row.stem]
        if kind is ElementKind.WEIGHT:
            new_keys = {f"file:{row.old_path}": f"file:{row.path}"}
        else:
            prefix = f"{row.old_path}#"
            known = connection.execute(
                select(Adapter.source_key)
                .join(Document, Document.bundle_pk == Adapter.bundle_pk)
                .where(Document.pk == row.row_pk)
            ).scalars()
            new_keys = {key: f"{row.path}#{key.removeprefix(prefix)}" for key in known if key.startswith(prefix)}
        taken = set(
            connection.execute(select(Adapter.source_key).where(Adapter.source_key.in_(new_keys.values()))).scalars()
        )
        renamed = {old: new for old, new in new_keys.items() if new not in taken}
        if renamed:
            connection.execute(
                update(Adapter)
                .where(Adapter.source_key.in_(renamed))
                .values(source_key=case(renamed, value=Adapter.source_key), bundle_pk=bundle_pk)
            )


def _finish(session: Session, settings: Settings, walk: Walk, obstacles: Sequence[Obstacle]) -> None:
    """Replace what earlier scans found about these folders, and note that they were scanned."""
    now = utc_now()
    paths = [str(root) for root in walk.roots]
    stated = [*paths, *(obstacle.path for obstacle in obstacles if obstacle.code == "root_not_there")]
    with session.write() as connection:
        connection.execute(delete(Finding).where(Finding.origin == ORIGIN, below_any(Finding.path, stated)))
        if obstacles:
            connection.execute(
                insert(Finding),
                [
                    {
                        "origin": ORIGIN,
                        "code": obstacle.code,
                        "severity": "warning",
                        "path": obstacle.path,
                        "message": obstacle.message,
                        "found_at": now,
                    }
                    for obstacle in obstacles[:MAX_FINDINGS]
                ],
            )
        connection.execute(
            update(Root)
            .where(Root.path == bindparam("root"))
            .values(scanned_at=now, signature=bindparam("now_signature")),
            [{"root": path, "now_signature": library_signature(settings, [Path(path)])} for path in paths],
        )
