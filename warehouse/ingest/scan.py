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

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from warehouse.engine import AnyRow, Database, Session
from warehouse.ingest import bulk, staging
from warehouse.ingest.elements import ElementKind
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.report import StageReport
from warehouse.ingest.roots import LibraryError, LibraryRoots, choose, register
from warehouse.ingest.signature import library_signature
from warehouse.ingest.staging import CHANGES, FOUND, Change, below, below_any, within
from warehouse.ingest.walk import Obstacle, Walk
from warehouse.ingest.work import alone
from warehouse.models import Adapter, Bundle, Document, File, Finding, Root, UtcDateTime, utc_now
from warehouse.settings import Settings
from warehouse.storage import LibraryRoot, root_at

CHUNK = 2_000
MAX_FINDINGS = 5_000
"""Obstacles beyond these are counted, not kept: a tree of undecodable names is one problem, not a million."""
ORIGIN = "scan"


def scan_library(
    database: Database,
    settings: Settings,
    roots: Sequence[LibraryRoot] | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> StageReport:
    """Compare the folders with the rows and write the differences.

    Args:
        roots: places to walk, registered for later syncs; None takes the configured and the registered ones.
        force: read every document and header again, whatever its size and time say; believe an empty folder.

    Raises:
        LibraryError: a given folder is none, no folder is known, or there is nothing at all to be found.
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    started = time.perf_counter()
    with alone(database):
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
    walk = Walk(chosen.walkable, frozenset({str(settings.data_dir)}), settings.library_access)
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
        self._now = utc_now()
        self._root_of: ColumnElement[int] = literal(0)

    def run(self, *, force: bool) -> dict[str, int]:
        """Write every difference; what was written, by kind of change."""
        with self._session.write() as connection:
            roots = register(connection, self._walk.roots)
            self._root_of = case(*((below(FOUND.c.directory, path), pk) for path, pk in roots.items()))
        with self._session.temporary() as connection:
            counts = staging.counts(connection)
            found = staging.found_counts(connection)
            last = staging.last_change(connection)
        total = sum(counts.values())
        self._progress.start(total, "files")
        for first in range(1, last + 1, CHUNK):
            chunk = within(first, first + CHUNK - 1)
            with self._session.write() as connection:
                self._apply(connection, chunk)
            self._progress.advance(min(CHUNK, last - first + 1))
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

    def _apply(self, connection: Connection, chunk: ColumnElement[bool]) -> None:
        _take_copies_for_new(connection, chunk)
        self._insert_bundles(connection, chunk)
        self._insert_new(connection, chunk)
        touched: set[int] = set()
        for (kind, change), rows in _known_changes(connection, chunk).items():
            touched |= _apply_group(connection, ElementKind(kind), Change(change), rows, self._now)
        _raise_revisions(connection, touched)

    def _insert_bundles(self, connection: Connection, chunk: ColumnElement[bool]) -> None:
        new = (
            select(self._root_of, FOUND.c.directory, FOUND.c.stem, literal(0), literal(0))
            .join(CHANGES, and_(CHANGES.c.path == FOUND.c.path, CHANGES.c.kind == FOUND.c.kind))
            .outerjoin(Bundle, and_(Bundle.directory == FOUND.c.directory, Bundle.stem == FOUND.c.stem))
            .where(chunk, Bundle.pk.is_(None))
            .group_by(FOUND.c.directory, FOUND.c.stem)
            .order_by(func.min(CHANGES.c.seq))
        )
        columns = ["root_pk", "directory", "stem", "revision", "built_revision"]
        connection.execute(insert(Bundle).from_select(columns, new))

    def _insert_new(self, connection: Connection, chunk: ColumnElement[bool]) -> None:
        for kind, model in ((ElementKind.WEIGHT, File), (ElementKind.DOCUMENT, Document)):
            new = and_(chunk, CHANGES.c.change == Change.NEW, CHANGES.c.kind == kind)
            seen = literal(self._now, UtcDateTime) if model is File else literal(0)
            rows = (
                select(
                    Bundle.pk,
                    FOUND.c.path,
                    FOUND.c.size,
                    FOUND.c.mtime_ns,
                    FOUND.c.inode,
                    literal("present"),
                    seen,
                )
                .select_from(CHANGES)
                .join(FOUND, and_(FOUND.c.path == CHANGES.c.path, FOUND.c.kind == kind))
                .join(Bundle, and_(Bundle.directory == FOUND.c.directory, Bundle.stem == FOUND.c.stem))
                .where(new)
                .order_by(CHANGES.c.seq)
            )
            columns = ["bundle_pk", "path", "size", "mtime_ns", "inode", "state"]
            last = "first_seen_at" if model is File else "complaints"
            connection.execute(insert(model).from_select([*columns, last], rows))
        # A document makes its bundle due when it has been read.
        due = (
            select(File.bundle_pk)
            .join(CHANGES, CHANGES.c.path == File.path)
            .where(chunk, CHANGES.c.change == Change.NEW, CHANGES.c.kind == ElementKind.WEIGHT)
        )
        connection.execute(update(Bundle).where(Bundle.pk.in_(due)).values(revision=Bundle.revision + 1))

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


def _take_copies_for_new(connection: Connection, chunk: ColumnElement[bool]) -> None:
    """What looked moved is a copy if the old file is there after all: back since the walk, or outside of it."""
    moved = connection.execute(
        select(CHANGES.c.seq, CHANGES.c.old_path).where(chunk, CHANGES.c.change == Change.MOVED)
    ).all()
    copies = [row.seq for row in moved if os.path.lexists(row.old_path)]
    if copies:
        connection.execute(update(CHANGES).where(CHANGES.c.seq.in_(copies)).values(change=Change.NEW, row_pk=None))


def _known_changes(connection: Connection, chunk: ColumnElement[bool]) -> dict[tuple[str, str], list[AnyRow]]:
    """The differences of rows that exist, by kind and change, with what the walk saw and the bundle they are in now."""
    statement = (
        select(
            CHANGES.c.kind,
            CHANGES.c.change,
            CHANGES.c.path,
            CHANGES.c.row_pk,
            CHANGES.c.old_path,
            Bundle.pk.label("bundle_pk"),
            FOUND.c.size,
            FOUND.c.mtime_ns,
            FOUND.c.inode,
        )
        .outerjoin(FOUND, and_(FOUND.c.path == CHANGES.c.path, FOUND.c.kind == CHANGES.c.kind))
        .outerjoin(Bundle, and_(Bundle.directory == FOUND.c.directory, Bundle.stem == FOUND.c.stem))
        .where(chunk, CHANGES.c.change != Change.NEW)
        .order_by(CHANGES.c.seq)
    )
    groups: dict[tuple[str, str], list[AnyRow]] = defaultdict(list)
    for row in connection.execute(statement):
        groups[row.kind, row.change].append(row)
    return groups


def _raise_revisions(connection: Connection, bundle_pks: Iterable[int]) -> None:
    pks = sorted(bundle_pks)
    if pks:
        connection.execute(
            update(Bundle).where(bulk.among(connection, Bundle.pk, pks)).values(revision=Bundle.revision + 1)
        )


def _apply_group(
    connection: Connection, kind: ElementKind, change: Change, rows: Sequence[AnyRow], now: datetime
) -> set[int]:
    """Write the rows of one kind and change; the bundles whose adapters may be others now."""
    model: type[File] | type[Document] = File if kind is ElementKind.WEIGHT else Document
    pks = [row.row_pk for row in rows]
    before = set(connection.execute(select(model.bundle_pk).where(bulk.among(connection, model.pk, pks))).scalars())
    if change is Change.VANISHED:
        connection.execute(
            update(model).where(bulk.among(connection, model.pk, pks)).values(state="missing", missing_since=now)
        )
        return before
    if change is Change.MOVED:
        _rename_sources(connection, kind, rows)
    watermarks = _watermarks(model) if change is Change.CHANGED else {}
    bulk.update(
        connection,
        bulk.table_of(model),
        "pk",
        [
            {
                "pk": row.row_pk,
                "bundle_pk": row.bundle_pk,
                "path": row.path,
                "size": row.size,
                "mtime_ns": row.mtime_ns,
                "inode": row.inode,
                "state": "present",
                "missing_since": None,
                **watermarks,
            }
            for row in rows
        ],
    )
    if change is Change.CHANGED and model is Document:
        # Its bytes may be the same: whoever reads it knows whether its adapters are due.
        return set()
    return before | {row.bundle_pk for row in rows}


def _watermarks(model: type[File] | type[Document]) -> dict[str, None]:
    """What is forgotten of a file whose size or time changed, so that it is read again."""
    if model is Document:
        return {"read_mtime_ns": None}
    return dict.fromkeys(("hashed_size", "hashed_mtime_ns", "sha256", "payload_sha256", "blake3", "crc32", "autov1"))


def _rename_sources(connection: Connection, kind: ElementKind, rows: Sequence[AnyRow]) -> None:
    """Let the adapters of moved files and documents keep their identity, which names the path."""
    for row in rows:
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
                .values(source_key=case(renamed, value=Adapter.source_key), bundle_pk=row.bundle_pk)
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
            [
                {"root": path, "now_signature": library_signature(settings, [root_at(path)], walk.signatures)}
                for path in paths
            ],
        )
