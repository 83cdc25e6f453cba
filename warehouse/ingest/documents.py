"""Stage 2, `catalog/documents`: every document whose bytes are not the ones last read is read and judged.

Belongs here: the work list and the rows. Does not: the reading itself (`reading`), what follows from it (`adapters`).
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, or_, select, update

from warehouse.civitai import Verdict
from warehouse.engine import AnyRow, Database
from warehouse.ingest import bulk, reading
from warehouse.ingest.calls import Call
from warehouse.ingest.pool import Pool
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.reading import ReadOutcome, ReadTask
from warehouse.ingest.report import StageReport
from warehouse.ingest.work import alone
from warehouse.models import Bundle, Document, DocumentContent, Finding, utc_now
from warehouse.settings import Settings

READ_PRODUCER: Final = "documents/1"
"""Version of the reading: raised when the same bytes shall get another verdict."""
ORIGIN: Final = "documents"
_BATCH_DOCUMENTS: Final = 64
_BATCH_BYTES: Final = 4 * 2**20
"""A batch ends at either, so that memory is bounded by neither many nor large documents."""
_COMMIT_DOCUMENTS: Final = 512
_COMMIT_BYTES: Final = 16 * 2**20


def read_documents(database: Database, settings: Settings, *, progress: Progress | None = None) -> StageReport:
    """Read what is new or changed; quarantined documents are kept with their reason.

    Raises:
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    started = time.perf_counter()
    with alone(database):
        _expire(database)
        counts = _read_due(database, settings, progress or Silence())
        with database.read() as connection:
            verdicts = _verdicts(connection)
    rows = sum(verdicts.values())
    return StageReport(
        rows=rows,
        changed=counts["changed"],
        skipped=rows - counts["changed"],
        rejected=verdicts.get("quarantined", 0),
        seconds=time.perf_counter() - started,
        details={"read": counts["read"], "vanished": counts["missing"], "verdicts": verdicts},
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


def _due(connection: Connection, after: int, limit: int) -> Sequence[AnyRow]:
    statement = (
        select(Document.pk, Document.path, Document.size)
        .where(Document.read_mtime_ns.is_(None), Document.state != "missing", Document.pk > after)
        .order_by(Document.pk)
        .limit(limit)
    )
    return connection.execute(statement).all()


def _batches(database: Database) -> Iterator[list[ReadTask]]:
    after = 0
    while True:
        with database.read() as connection:
            rows = _due(connection, after, 16 * _BATCH_DOCUMENTS)
        if not rows:
            return
        after = rows[-1].pk
        batch: list[ReadTask] = []
        size = 0
        for row in rows:
            if batch and (len(batch) >= _BATCH_DOCUMENTS or size + row.size > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(ReadTask(row.pk, row.path))
            size += row.size
        yield batch


def _read_due(database: Database, settings: Settings, progress: Progress) -> Counter[str]:
    with database.read() as connection:
        total = connection.execute(
            select(func.count()).where(Document.read_mtime_ns.is_(None), Document.state != "missing")
        ).scalar_one()
    progress.start(total, "documents")
    counts: Counter[str] = Counter()
    pool: Pool[ReadTask, ReadOutcome] = Pool(Call.READ, settings, expected=total, failed=reading.crashed)
    waiting: list[ReadOutcome] = []
    size = 0
    for outcomes in pool.map(_batches(database)):
        waiting.extend(outcomes)
        size += sum(len(outcome.raw or b"") for outcome in outcomes)
        if len(waiting) >= _COMMIT_DOCUMENTS or size >= _COMMIT_BYTES:
            counts += _write(database, waiting)
            progress.advance(len(waiting))
            waiting, size = [], 0
    if waiting:
        counts += _write(database, waiting)
        progress.advance(len(waiting))
    return counts


def _write(database: Database, outcomes: Sequence[ReadOutcome]) -> Counter[str]:
    """Commit what was read, and make the bundles due whose documents say something else now."""
    with database.write() as connection:
        pks = [outcome.pk for outcome in outcomes]
        known = {
            row.pk: row
            for row in connection.execute(
                select(
                    Document.pk,
                    Document.bundle_pk,
                    Document.path,
                    Document.digest,
                    Document.verdict,
                    Document.reason_code,
                    Document.producer,
                    Document.state,
                ).where(bulk.among(connection, Document.pk, pks))
            )
        }
        kept = _kept(connection, outcomes)
        outcomes = [_still_in_use(outcome) if outcome.pk in kept else outcome for outcome in outcomes]
        changed = [outcome for outcome in outcomes if _differs(known[outcome.pk], outcome)]
        _write_outcomes(connection, outcomes)
        _write_contents(connection, changed)
        _write_complaints(connection, changed, known)
        bundles = sorted({known[outcome.pk].bundle_pk for outcome in changed})
        if bundles:
            connection.execute(
                update(Bundle).where(bulk.among(connection, Bundle.pk, bundles)).values(revision=Bundle.revision + 1)
            )
    states = Counter(outcome.state for outcome in outcomes)
    return Counter(read=states["present"], missing=states["missing"], changed=len(changed))


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
    read = [
        {
            "pk": outcome.pk,
            "size": outcome.size,
            "mtime_ns": outcome.mtime_ns,
            "read_size": outcome.size,
            "read_mtime_ns": outcome.mtime_ns,
            "digest": outcome.digest,
            "shape": outcome.shape,
            "verdict": outcome.verdict,
            "reason_code": outcome.reason_code,
            "reason": outcome.reason,
            "complaints": outcome.complaint_count,
            "state": "present",
            "missing_since": None,
            "producer": READ_PRODUCER,
            "read_at": now,
        }
        for outcome in outcomes
        if outcome.state == "present"
    ]
    bulk.update(connection, bulk.table_of(Document), "pk", read)
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
