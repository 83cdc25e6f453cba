"""Stage 4, `catalog/inspections`: weight files are read to their last byte, once per size and time.

Belongs here: the work list, the rows of hashes, and what follows from them: files that find their documents, moved
files, duplicates. Does not: hashing and validation themselves (`warehouse.safetensors`).
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from warehouse.engine import AnyRow, Database
from warehouse.ingest import duplicates, moves
from warehouse.ingest.adapters import build_due
from warehouse.ingest.deriving import inspection_row
from warehouse.ingest.pool import usable_cores
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.report import StageReport
from warehouse.ingest.work import alone
from warehouse.ingest.writer import upsert_inspections
from warehouse.models import Bundle, File, Inspection, utc_now
from warehouse.safetensors import HeaderProblem, inspect_file, inspect_object
from warehouse.safetensors import Inspection as Inspected
from warehouse.settings import Settings
from warehouse.storage import Seen, is_stored

_LOAD: Final = 500
_COMMIT_FILES: Final = 200
_COMMIT_SECONDS: Final = 2.0
"""What a kill may cost: the hashes of these seconds, or one file."""
_STORED_AT_ONCE: Final = 6
"""Objects of stores that are hashed at once; each has two parts in memory, and waits for its store most of the time."""
_UNSEEN: Final = frozenset({HeaderProblem.vanished, HeaderProblem.unreachable})
"""Where nothing of the file was read, so that there is nothing to write of it."""


def inspect_files(database: Database, settings: Settings, *, progress: Progress | None = None) -> StageReport:
    """Hash and validate files not yet hashed at their size and time, smallest first; then rebuild what that changes.

    Raises:
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    started = time.perf_counter()
    with alone(database):
        shown = progress or Silence()
        counts = _Inspections(database, settings, shown).run()
        rebuilt = build_due(database, settings, shown)
        with database.write() as connection:
            groups = duplicates.recompute(connection)
        with database.read() as connection:
            rows = connection.execute(select(func.count()).where(File.state != "missing")).scalar_one()
            problems = _problems(connection)
    return StageReport(
        rows=rows,
        changed=counts["hashed"],
        skipped=max(0, rows - counts["hashed"] - counts["failed"]),
        rejected=sum(problems.values()),
        seconds=time.perf_counter() - started,
        details={
            "bytes": counts["bytes"],
            "failed": counts["failed"],
            "moved": counts["moved"],
            "rebuilt_bundles": rebuilt["bundles"],
            "changed_adapters": rebuilt["changed"],
            "duplicates": groups,
            "problems": problems,
        },
    )


def _problems(connection: Connection) -> dict[str, int]:
    statement = (
        select(Inspection.problem, func.count())
        .join(File, File.pk == Inspection.file_pk)
        .where(Inspection.valid.is_(False), File.state != "missing")
        .group_by(Inspection.problem)
    )
    return {problem or "unknown": count for problem, count in connection.execute(statement)}


class _Inspections:
    """One pass over the files that are due."""

    def __init__(self, database: Database, settings: Settings, progress: Progress) -> None:
        self._database = database
        self._access = settings.library_access
        self._progress = progress
        # Hashing one large file keeps two cores busy already.
        self._threads = max(1, usable_cores() // 2)

    def run(self) -> Counter[str]:
        """Inspect and commit; what it came to."""
        due = and_(File.hashed_mtime_ns.is_(None), File.state != "missing")
        with self._database.read() as connection:
            total = connection.execute(select(func.coalesce(func.sum(File.size), 0)).where(due)).scalar_one()
        self._progress.start(int(total), "bytes")
        counts: Counter[str] = Counter()
        waiting: list[tuple[AnyRow, Inspected]] = []
        committed = time.monotonic()
        for row, inspected in self._inspect(self._due()):
            waiting.append((row, inspected))
            if len(waiting) >= _COMMIT_FILES or time.monotonic() - committed >= _COMMIT_SECONDS:
                counts += self._commit(waiting)
                waiting, committed = [], time.monotonic()
        if waiting:
            counts += self._commit(waiting)
        return counts

    def _due(self) -> Iterator[AnyRow]:
        after = (-1, 0)
        while True:
            with self._database.read() as connection:
                rows = connection.execute(
                    select(File.pk, File.bundle_pk, File.path, File.size, File.mtime_ns)
                    .where(
                        File.hashed_mtime_ns.is_(None),
                        File.state != "missing",
                        or_(File.size > after[0], and_(File.size == after[0], File.pk > after[1])),
                    )
                    .order_by(File.size, File.pk)
                    .limit(_LOAD)
                ).all()
            if not rows:
                return
            after = (rows[-1].size, rows[-1].pk)
            yield from rows

    def _inspect(self, rows: Iterable[AnyRow]) -> Iterator[tuple[AnyRow, Inspected]]:
        with ThreadPoolExecutor(self._threads) as threads, ThreadPoolExecutor(_STORED_AT_ONCE) as stored:
            under_way: deque[tuple[AnyRow, Future[Inspected]]] = deque()
            away = 0
            try:
                for row in rows:
                    if is_stored(row.path):
                        away += 1
                        seen = Seen(row.size, row.mtime_ns)
                        under_way.append((row, stored.submit(inspect_object, row.path, self._access, seen=seen)))
                    else:
                        under_way.append((row, threads.submit(inspect_file, Path(row.path))))
                    while len(under_way) - away > 2 * self._threads or away > 2 * _STORED_AT_ONCE:
                        done, future = under_way.popleft()
                        away -= is_stored(done.path)
                        yield done, future.result()
                while under_way:
                    done, future = under_way.popleft()
                    yield done, future.result()
            finally:
                for _, future in under_way:
                    future.cancel()

    def _commit(self, inspected: Sequence[tuple[AnyRow, Inspected]]) -> Counter[str]:
        counts: Counter[str] = Counter()
        with self._database.write() as connection:
            _write_inspections(connection, inspected)
            hashed = [(row, result) for row, result in inspected if result.hashes is not None]
            _write_hashes(connection, hashed)
            vanished = [row.pk for row, result in inspected if result.problem is HeaderProblem.vanished]
            if vanished:
                connection.execute(
                    update(File).where(File.pk.in_(vanished)).values(state="missing", missing_since=utc_now())
                )
            counts["moved"] = moves.inherit(connection, [row.pk for row, _ in hashed])
            touched = sorted(
                {row.bundle_pk for row, result in inspected if result.hashes is not None or row.pk in vanished}
            )
            connection.execute(update(Bundle).where(Bundle.pk.in_(touched)).values(revision=Bundle.revision + 1))
        counts["hashed"] = len(hashed)
        counts["failed"] = len(inspected) - len(hashed)
        counts["bytes"] = sum(result.hashes.size for _, result in hashed if result.hashes is not None)
        self._progress.advance(sum(row.size for row, _ in inspected))
        return counts


def _write_hashes(connection: Connection, hashed: Sequence[tuple[AnyRow, Inspected]]) -> None:
    names = ("sha256", "payload_sha256", "blake3", "crc32", "autov1")
    rows = []
    for row, result in hashed:
        hashes = result.hashes
        assert hashes is not None
        # The stat that belongs to these bytes: the file may have changed since it was scanned.
        values = {"new_size": hashes.size, "new_mtime_ns": hashes.mtime_ns}
        rows.append({"file": row.pk, **values, **{f"new_{name}": getattr(hashes, name) for name in names}})
    if not rows:
        return
    connection.execute(
        update(File)
        .where(File.pk == bindparam("file"))
        .values(
            size=bindparam("new_size"),
            mtime_ns=bindparam("new_mtime_ns"),
            hashed_size=bindparam("new_size"),
            hashed_mtime_ns=bindparam("new_mtime_ns"),
            state="present",
            **{name: bindparam(f"new_{name}") for name in names},
        ),
        rows,
    )


def _write_inspections(connection: Connection, inspected: Sequence[tuple[AnyRow, Inspected]]) -> None:
    rows = []
    for row, result in inspected:
        if result.problem not in _UNSEEN:
            hashes = result.hashes
            size, mtime_ns = (hashes.size, hashes.mtime_ns) if hashes is not None else (row.size, row.mtime_ns)
            rows.append(inspection_row(row.pk, size, mtime_ns, result))
    upsert_inspections(connection, rows)
