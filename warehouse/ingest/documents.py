"""Stage 2, `catalog/documents`: every document whose bytes are not the ones last read is read and judged.

Belongs here: the work list, the rows, and which bundles are derived on the way. Does not: the reading itself
(`reading`), what follows from it otherwise (`adapters`).

A bundle of documents alone is derived by the worker that has just parsed them, and written with them: parsing is half
of the work of deriving. That goes on as long as nothing else is due, and in the order of bundles, so that the rows are
the ones that `adapters` would have made, which does the rest.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, or_, select, tuple_, update
from sqlalchemy.exc import DBAPIError, OperationalError

from warehouse.civitai import Verdict
from warehouse.engine import AnyRow, Database
from warehouse.ingest import bulk, bundles, fetching
from warehouse.ingest.bundles import BundleRead, BundleReadTask
from warehouse.ingest.calls import Call
from warehouse.ingest.pool import Pool
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.reading import ReadOutcome, ReadTask
from warehouse.ingest.report import StageReport
from warehouse.ingest.work import alone
from warehouse.ingest.writer import Bundled, Written, write
from warehouse.models import Bundle, Document, DocumentContent, File, Finding, utc_now
from warehouse.settings import Settings

READ_PRODUCER: Final = "documents/1"
"""Version of the reading: raised when the same bytes shall get another verdict."""
ORIGIN: Final = "documents"
_BATCH_DOCUMENTS: Final = 32
_BATCH_BYTES: Final = 3 * 2**20
"""A batch ends at either, so that memory is bounded by neither many nor large documents."""
_COMMIT_DOCUMENTS: Final = 768
_LAST_DOCUMENTS: Final = 128
_COMMIT_BYTES: Final = 16 * 2**20
_COMMIT_ADAPTERS: Final = 2_000
"""Every commit writes nearly all pages of the indexes whose keys come in no order, so few of them; twice as much in
each took 3 % less time, and 50 MiB more memory. At the end they get smaller down to `_LAST_DOCUMENTS`, because workers
have nothing to do during the last one."""
_JUDGED: Final = ("digest", "shape", "verdict", "reason_code", "reason")
"""Columns of a document that are named as in its outcome."""


def read_documents(database: Database, settings: Settings, *, progress: Progress | None = None) -> StageReport:
    """Read what is new or changed; quarantined documents are kept with their reason.

    `details` of the report: `read`, `vanished`, `verdicts`, and under `adapters` what was derived on the way.

    Raises:
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    started = time.perf_counter()
    with alone(database):
        _expire(database)
        counts = _Reader(database, settings, progress or Silence()).run()
        with database.read() as connection:
            verdicts = _verdicts(connection)
    rows = sum(verdicts.values())
    return StageReport(
        rows=rows,
        changed=counts["changed"],
        skipped=rows - counts["changed"],
        rejected=verdicts.get("quarantined", 0),
        seconds=time.perf_counter() - started,
        details={
            "read": counts["read"],
            "vanished": counts["vanished"],
            "verdicts": verdicts,
            "adapters": {name: counts[name] for name in ("bundles", "inserted", "updated", "missing", "deleted")},
        },
    )


def _expire(database: Database) -> None:
    """Let documents that an earlier version judged be judged again."""
    stale = or_(Document.producer.is_(None), Document.producer != READ_PRODUCER)
    due = (Document.read_mtime_ns.is_not(None), stale)
    with database.read() as connection:
        if connection.execute(select(Document.pk).where(*due).limit(1)).first() is None:
            return
    with database.write() as connection:
        connection.execute(update(Document).where(*due).values(read_mtime_ns=None))


def _verdicts(connection: Connection) -> dict[str, int]:
    statement = select(Document.verdict, func.count()).where(Document.state != "missing").group_by(Document.verdict)
    return {verdict or "unread": count for verdict, count in connection.execute(statement)}


class _Reader:
    """One walk over the documents that are due."""

    def __init__(self, database: Database, settings: Settings, progress: Progress) -> None:
        self._database = database
        self._settings = settings
        self._progress = progress
        with database.read() as connection:
            self._total: int = connection.execute(
                select(func.count()).where(Document.read_mtime_ns.is_(None), Document.state != "missing")
            ).scalar_one()
            waiting = connection.execute(select(Bundle.pk).where(Bundle.built_revision < Bundle.revision).limit(1))
            self._derives = waiting.first() is None
        self._pool: Pool[BundleReadTask, BundleRead] = Pool(
            Call.READ, settings, expected=self._total, failed=bundles.crashed
        )
        self._counts: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        self._progress.start(self._total, "documents")
        waiting: list[BundleRead] = []
        left, documents, size, adapters = self._total, 0, 0, 0
        for reads in self._pool.map(fetching.with_documents(self._batches(), self._settings)):
            waiting.extend(reads)
            documents += sum(len(read.outcomes) for read in reads)
            size += sum(len(outcome.raw or b"") for read in reads for outcome in read.outcomes)
            adapters += sum(len(read.derived.adapters) for read in reads if read.derived is not None)
            enough = min(_COMMIT_DOCUMENTS, max(_LAST_DOCUMENTS, left // 2))
            if documents >= enough or size >= _COMMIT_BYTES or adapters >= _COMMIT_ADAPTERS:
                self._commit(waiting)
                left -= documents
                waiting, documents, size, adapters = [], 0, 0, 0
        if waiting:
            self._commit(waiting)
        return self._counts

    def _batches(self) -> Iterator[list[BundleReadTask]]:
        after = (0, 0)
        while True:
            with self._database.read() as connection:
                rows = _due(connection, after)
                places = _places(connection, rows) if self._derives else {}
            if not rows:
                return
            after = (rows[-1].bundle_pk, rows[-1].pk)
            batch: list[BundleReadTask] = []
            count = size = 0
            for task, its_size in _tasks(rows, places):
                if batch and (count >= _BATCH_DOCUMENTS or size + its_size > _BATCH_BYTES):
                    yield batch
                    batch, count, size = [], 0, 0
                batch.append(task)
                count += len(task.documents)
                size += its_size
            yield batch

    def _commit(self, reads: Sequence[BundleRead]) -> None:
        try:
            counts, derives = _write(self._database, reads, derives=self._derives)
        except OperationalError:
            # The database is out of space or gone.
            raise
        except (DBAPIError, OverflowError, ValueError):
            if not self._derives:
                raise
            # The stage of adapters finds out which bundle the database refuses.
            counts, derives = _write(self._database, reads, derives=False)
        self._counts += counts
        self._derives = derives
        self._progress.advance(sum(len(read.outcomes) for read in reads))


def _due(connection: Connection, after: tuple[int, int]) -> Sequence[AnyRow]:
    """The next documents by bundle; those of the last bundle may go on in the next call unless they fill this one."""
    limit = 32 * _BATCH_DOCUMENTS
    place = tuple_(Document.bundle_pk, Document.pk)
    rows = connection.execute(
        select(Document.pk, Document.bundle_pk, Document.path, Document.size)
        .where(Document.read_mtime_ns.is_(None), Document.state != "missing", place > after)
        .order_by(Document.bundle_pk, Document.pk)
        .limit(limit)
    ).all()
    if len(rows) < limit or rows[0].bundle_pk == rows[-1].bundle_pk:
        return rows
    return [row for row in rows if row.bundle_pk != rows[-1].bundle_pk]


def _places(connection: Connection, rows: Sequence[AnyRow]) -> dict[int, tuple[str, str]]:
    """Folder and stem of the bundles that consist of these documents alone."""
    due = Counter(row.bundle_pk for row in rows)
    own = select(func.count()).where(Document.bundle_pk == Bundle.pk, Document.state != "missing").scalar_subquery()
    weights = select(File.pk).where(File.bundle_pk == Bundle.pk).exists()
    statement = select(Bundle.pk, Bundle.directory, Bundle.stem, own.label("documents")).where(
        bulk.among(connection, Bundle.pk, due), ~weights
    )
    found = connection.execute(statement).all()
    return {pk: (directory, stem) for pk, directory, stem, documents in found if documents == due[pk]}


def _tasks(rows: Sequence[AnyRow], places: Mapping[int, tuple[str, str]]) -> Iterator[tuple[BundleReadTask, int]]:
    """Tasks with the bytes of their documents; only the documents of a bundle with a place stay together."""
    for pk, group in groupby(rows, key=lambda row: row.bundle_pk):
        own = list(group)
        size = sum(row.size for row in own)
        if pk in places and (len(own) == 1 or (len(own) <= _BATCH_DOCUMENTS and size <= _BATCH_BYTES)):
            yield BundleReadTask(pk, [ReadTask(row.pk, row.path) for row in own], places[pk]), size
        else:
            yield from ((BundleReadTask(pk, [ReadTask(row.pk, row.path)]), row.size) for row in own)


def _write(database: Database, reads: Sequence[BundleRead], *, derives: bool) -> tuple[Counter[str], bool]:
    """Commit what was read, and make the bundles due whose documents say something else now.

    With `derives` their adapters are written too. Returned with the counts: whether no bundle is left due.
    """
    outcomes = [outcome for read in reads for outcome in read.outcomes]
    with database.write() as connection:
        known = _known(connection, [outcome.pk for outcome in outcomes])
        kept = _kept(connection, outcomes)
        outcomes = [_still_in_use(outcome) if outcome.pk in kept else outcome for outcome in outcomes]
        changed = [outcome for outcome in outcomes if _differs(known[outcome.pk], outcome)]
        _write_outcomes(connection, outcomes)
        _write_contents(connection, changed)
        _write_complaints(connection, changed, known)
        due = {row.bundle_pk: row for row in (known[outcome.pk] for outcome in changed)}
        if due:
            connection.execute(
                update(Bundle).where(bulk.among(connection, Bundle.pk, due)).values(revision=Bundle.revision + 1)
            )
        ready = _ready(reads, due, kept) if derives else []
        written = _write_adapters(connection, ready, due) if ready else Written()
    states = Counter(outcome.state for outcome in outcomes)
    counts = Counter(
        read=states["present"],
        vanished=states["missing"],
        changed=len(changed),
        bundles=len(ready),
        inserted=written.inserted,
        updated=written.updated,
        missing=written.missing,
        deleted=written.deleted,
    )
    return counts, derives and len(ready) == len(due)


def _known(connection: Connection, pks: Sequence[int]) -> dict[int, AnyRow]:
    """The rows of documents as they are, with what deriving needs of their bundles."""
    statement = (
        select(
            Document.pk,
            Document.bundle_pk,
            Document.path,
            Document.digest,
            Document.verdict,
            Document.reason_code,
            Document.producer,
            Document.state,
            Bundle.revision,
            Bundle.preview_path,
        )
        .join(Bundle, Bundle.pk == Document.bundle_pk)
        .where(bulk.among(connection, Document.pk, pks))
    )
    return {row.pk: row for row in connection.execute(statement).all()}


def _ready(reads: Sequence[BundleRead], due: Mapping[int, AnyRow], kept: set[int]) -> list[BundleRead]:
    """What can be derived of the bundles that are due now, up to the first one that takes more than was read."""
    ready: list[BundleRead] = []
    for read in reads:
        if read.pk in due:
            is_complete = read.derived is not None or read.is_hollow
            if not is_complete or any(outcome.pk in kept for outcome in read.outcomes):
                break
            ready.append(read)
    return ready


def _write_adapters(connection: Connection, ready: Sequence[BundleRead], due: Mapping[int, AnyRow]) -> Written:
    derived = [
        msgspec.structs.replace(read.derived, revision=due[read.pk].revision + 1)
        for read in ready
        if read.derived is not None
    ]
    bundled = {read.pk: Bundled(due[read.pk].preview_path, has_weight=False) for read in ready}
    return write(connection, derived, bundled, [read.pk for read in ready if read.is_hollow])


def _differs(row: AnyRow, outcome: ReadOutcome) -> bool:
    if outcome.state != "present":
        return bool(row.state != outcome.state)
    return (row.digest, row.verdict, row.reason_code, row.producer, row.state) != (
        outcome.digest,
        outcome.verdict,
        outcome.reason_code,
        READ_PRODUCER,
        "present",
    )


def _write_outcomes(connection: Connection, outcomes: Sequence[ReadOutcome]) -> None:
    now = utc_now()
    read = [outcome for outcome in outcomes if outcome.state == "present"]
    sizes, times = [outcome.size for outcome in read], [outcome.mtime_ns for outcome in read]
    columns: dict[str, Sequence[Any]] = {
        "pk": [outcome.pk for outcome in read],
        "size": sizes,
        "mtime_ns": times,
        "read_size": sizes,
        "read_mtime_ns": times,
        "complaints": [outcome.complaint_count for outcome in read],
        **{name: [getattr(outcome, name) for outcome in read] for name in _JUDGED},
        "state": ["present"] * len(read),
        "missing_since": [None] * len(read),
        "producer": [READ_PRODUCER] * len(read),
        "read_at": [now] * len(read),
    }
    bulk.update_columns(connection, bulk.table_of(Document), "pk", columns)
    missing = [outcome.pk for outcome in outcomes if outcome.state == "missing"]
    if missing:
        connection.execute(update(Document).where(Document.pk.in_(missing)).values(state="missing", missing_since=now))
    for outcome in outcomes:
        # Not marked as read, so that the next sync tries again; what was read of it before is kept.
        if outcome.state == "unreadable":
            connection.execute(
                update(Document)
                .where(Document.pk == outcome.pk)
                .values(
                    state="unreadable",
                    verdict=outcome.verdict,
                    reason_code=outcome.reason_code,
                    reason=outcome.reason,
                )
            )


def _kept(connection: Connection, outcomes: Sequence[ReadOutcome]) -> set[int]:
    """Documents that cannot be read any more, but once could: a slip of an editor takes nothing from an adapter."""
    broken = [outcome.pk for outcome in outcomes if _is_broken(outcome)]
    if not broken:
        return set()
    sound = select(DocumentContent.document_pk).where(
        DocumentContent.is_sound, bulk.among(connection, DocumentContent.document_pk, broken)
    )
    return set(connection.execute(sound).scalars())


def _is_broken(outcome: ReadOutcome) -> bool:
    return outcome.state == "present" and outcome.verdict == Verdict.QUARANTINED


def _still_in_use(outcome: ReadOutcome) -> ReadOutcome:
    reason = f"{outcome.reason} What the document said before stays in use."
    return msgspec.structs.replace(outcome, reason=reason, raw=None)


def _write_contents(connection: Connection, outcomes: Sequence[ReadOutcome]) -> None:
    grown = [outcome.pk for outcome in outcomes if outcome.state == "present" and outcome.raw is None]
    if grown:
        connection.execute(
            delete(DocumentContent).where(DocumentContent.document_pk.in_(grown), DocumentContent.is_sound.is_(False))
        )
    rows = [
        {"document_pk": outcome.pk, "raw": outcome.raw, "is_sound": not _is_broken(outcome)}
        for outcome in outcomes
        if outcome.raw is not None
    ]
    bulk.insert(connection, bulk.table_of(DocumentContent), rows, conflict="replace")


def _write_complaints(connection: Connection, outcomes: Sequence[ReadOutcome], known: dict[int, AnyRow]) -> None:
    """Replace the findings about these documents."""
    bundles = {known[outcome.pk].bundle_pk for outcome in outcomes}
    paths = [known[outcome.pk].path for outcome in outcomes]
    connection.execute(
        delete(Finding).where(
            bulk.among(connection, Finding.bundle_pk, bundles),
            Finding.origin == ORIGIN,
            bulk.among(connection, Finding.path, paths),
        )
    )
    now = utc_now()
    rows = [
        {
            "bundle_pk": known[outcome.pk].bundle_pk,
            "origin": ORIGIN,
            "code": complaint.code,
            "severity": "info",
            "path": known[outcome.pk].path,
            "message": complaint.message,
            "data": {"json_path": complaint.path},
            "found_at": now,
        }
        for outcome in outcomes
        for complaint in outcome.complaints
    ]
    bulk.insert(connection, bulk.table_of(Finding), rows)
