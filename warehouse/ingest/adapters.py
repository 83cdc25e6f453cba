"""Stage 3, `catalog/adapters`: bundles that changed since their adapters were derived are derived again.

Belongs here: the work list, what a bundle's task holds, and committing in chunks. Does not: deriving (`deriving`),
writing (`writer`). Bundles that were derived while their documents were read (`documents`) are not due any more.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.exc import DBAPIError, OperationalError

from warehouse import facets
from warehouse.engine import AnyRow, Database
from warehouse.ingest import bulk, deriving, fetching, foreign
from warehouse.ingest.calls import Call
from warehouse.ingest.deriving import BUILD_PRODUCER, INSPECT_PRODUCER, BundleTask, Derived, DocumentTask, WeightTask
from warehouse.ingest.pool import Pool
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.registered import look_after_registered
from warehouse.ingest.report import StageReport
from warehouse.ingest.work import alone
from warehouse.ingest.writer import Bundled, Written, write
from warehouse.models import Bundle, Document, DocumentContent, File, Finding, Inspection
from warehouse.settings import Settings

_LOAD_BUNDLES: Final = 512
_BATCH_BUNDLES: Final = 32
_LOAD_BYTES: Final = 8 * 2**20
"""Bytes of documents, as they lie on disk, that are loaded at once."""
_COMMIT_ADAPTERS: Final = 1_000
_COMMIT_BUNDLES: Final = 512
_MAX_PASSES: Final = 8
"""Building a bundle may make another one due (a file that finds its document), which never goes on for long."""
_BUNDLE: Final = (Bundle.pk, Bundle.revision, Bundle.directory, Bundle.stem, Bundle.preview_path)


def build_adapters(database: Database, settings: Settings, *, progress: Progress | None = None) -> StageReport:
    """Derive the adapters of every bundle that is due.

    Raises:
        LockHeld: another sync is at work.
        StorageError: the disk is full, or the database is gone.
    """
    started = time.perf_counter()
    with alone(database):
        _expire(database)
        counts = build_due(database, settings, progress or Silence())
        looked_after = look_after_registered(database)
        with database.read() as connection:
            rows = facets.count_of(connection)
            states = facets.counts_of(connection, "file_state")
            errors = connection.execute(
                select(func.count()).where(Finding.code == "internal_error", Finding.severity == "error")
            ).scalar_one()
    return StageReport(
        rows=rows,
        changed=counts["changed"] + looked_after,
        # An adapter that was inserted and completed in a later pass counts twice among the changes.
        skipped=max(rows - counts["inserted"] - counts["updated"] - counts["missing"] - looked_after, 0),
        rejected=errors,
        seconds=time.perf_counter() - started,
        details={
            "bundles": counts["bundles"],
            **{name: counts[name] for name in ("inserted", "updated", "missing", "deleted")},
            "states": states,
        },
    )


def _expire(database: Database) -> None:
    """Let bundles that an earlier version derived adapters from be derived again."""
    due = (Bundle.built_revision == Bundle.revision, or_(Bundle.producer.is_(None), Bundle.producer != BUILD_PRODUCER))
    with database.read() as connection:
        if connection.execute(select(Bundle.pk).where(*due, Bundle.revision > 0).limit(1)).first() is None:
            return
    with database.write() as connection:
        connection.execute(update(Bundle).where(*due, Bundle.revision > 0).values(revision=Bundle.revision + 1))


def build_due(database: Database, settings: Settings, progress: Progress) -> Counter[str]:
    """Derive until nothing is due. The caller holds the lock."""
    counts: Counter[str] = Counter()
    for _ in range(_MAX_PASSES):
        with database.read() as connection:
            total = connection.execute(select(func.count()).where(Bundle.built_revision < Bundle.revision)).scalar_one()
        if total == 0:
            break
        progress.start(total, "bundles")
        counts += _Pass(database, settings, progress, total).run()
    return counts


class _Pass:
    """One walk over the bundles that are due."""

    def __init__(self, database: Database, settings: Settings, progress: Progress, total: int) -> None:
        self._database = database
        self._settings = settings
        self._progress = progress
        self._pool: Pool[BundleTask, Derived] = Pool(
            Call.DERIVE, settings, expected=total, failed=deriving.failed, weigh=_bytes_of
        )
        self._counts: Counter[str] = Counter()
        self._bundled: dict[int, Bundled] = {}
        self._hollow: list[int] = []

    def run(self) -> Counter[str]:
        waiting: list[Derived] = []
        size = 0
        for derived in self._pool.map(fetching.with_headers(self._batches(), self._settings)):
            waiting.extend(derived)
            size += sum(len(item.adapters) for item in derived)
            if size >= _COMMIT_ADAPTERS or len(waiting) >= _COMMIT_BUNDLES:
                self._commit(waiting)
                waiting, size = [], 0
        self._commit(waiting)
        return self._counts

    def _batches(self) -> Iterator[list[BundleTask]]:
        after = 0
        while True:
            with self._database.read() as connection:
                bundles = _due(connection, after)
                if not bundles:
                    return
                pks = [row.pk for row in bundles]
                sizes = _document_sizes(connection, pks)
            after = pks[-1]
            for group in _grouped(bundles, sizes):
                with self._database.read() as connection:
                    tasks = self._tasks(connection, group)
                for start in range(0, len(tasks), _BATCH_BUNDLES):
                    yield tasks[start : start + _BATCH_BUNDLES]

    def _tasks(self, connection: Connection, bundles: Sequence[AnyRow]) -> list[BundleTask]:
        pks = [row.pk for row in bundles]
        weights = _weights(connection, pks)
        documents = _documents(connection, pks)
        others = _foreign_documents(connection, weights)
        tasks = []
        for row in bundles:
            self._bundled[row.pk] = Bundled(row.preview_path, bool(weights.get(row.pk)))
            task = _task(row, weights.get(row.pk, []), documents.get(row.pk, []), others.get(row.pk, []))
            if task is None:
                self._hollow.append(row.pk)
            else:
                tasks.append(task)
        return tasks

    def _commit(self, derived: Sequence[Derived]) -> None:
        hollow, self._hollow = self._hollow, []
        if not derived and not hollow:
            return
        try:
            written = self._write(derived, hollow)
        except OperationalError:
            # The database is out of space or gone: nothing that going through the bundles one by one could mend.
            raise
        except (DBAPIError, OverflowError, ValueError):
            written = self._write_one_by_one(derived, hollow)
        self._counts += Counter(
            changed=written.changed,
            inserted=written.inserted,
            updated=written.updated,
            missing=written.missing,
            deleted=written.deleted,
            bundles=len(derived) + len(hollow),
        )
        for pk in (*(item.pk for item in derived), *hollow):
            self._bundled.pop(pk, None)
        self._progress.advance(len(derived) + len(hollow))

    def _write(self, derived: Sequence[Derived], hollow: Sequence[int]) -> Written:
        with self._database.write() as connection:
            return write(connection, derived, self._bundled, hollow)

    def _write_one_by_one(self, derived: Sequence[Derived], hollow: Sequence[int]) -> Written:
        """Keep one bundle that the database refuses from stopping the others of its chunk."""
        total = self._write([], hollow) if hollow else Written()
        for item in derived:
            try:
                written = self._write([item], [])
            except OperationalError:
                raise
            except (DBAPIError, OverflowError, ValueError) as error:
                fault = f"the database refused its values ({type(error).__name__}: {str(error).splitlines()[0]})"
                written = self._write([_refused(item, fault)], [])
            for name in ("inserted", "updated", "skipped", "missing", "deleted", "findings"):
                setattr(total, name, getattr(total, name) + getattr(written, name))
        return total


def derive_one(connection: Connection, settings: Settings, bundle_pk: int) -> Derived | None:
    """What one bundle gives, from what is known of its files; None where nothing of it is there. Writes nothing."""
    row = connection.execute(select(*_BUNDLE).where(Bundle.pk == bundle_pk)).one()
    weights = _weights(connection, [bundle_pk])
    documents = _documents(connection, [bundle_pk])
    others = _foreign_documents(connection, weights)
    task = _task(row, weights.get(bundle_pk, []), documents.get(bundle_pk, []), others.get(bundle_pk, []))
    return deriving.derive(task, settings.max_document_bytes) if task is not None else None


def _task(
    row: AnyRow, weights: list[WeightTask], own: list[DocumentTask], others: list[DocumentTask]
) -> BundleTask | None:
    """The task of a bundle; None where nothing of it is on disk."""
    if not own and not any(weight.is_there for weight in weights):
        return None
    return BundleTask(
        pk=row.pk,
        revision=row.revision,
        directory=row.directory,
        stem=row.stem,
        weights=weights,
        documents=[*own, *others],
    )


def _bytes_of(task: BundleTask) -> int:
    return sum(len(document.raw) for document in task.documents)


def _refused(item: Derived, fault: str) -> Derived:
    path = item.adapters[0].columns.file_path if item.adapters else "?"
    directory, _, stem = path.rpartition("/")
    task = BundleTask(pk=item.pk, revision=item.revision, directory=directory, stem=stem, weights=[], documents=[])
    return deriving.failed(task, fault)


def _due(connection: Connection, after: int) -> Sequence[AnyRow]:
    return connection.execute(
        select(*_BUNDLE)
        .where(Bundle.built_revision < Bundle.revision, Bundle.pk > after)
        .order_by(Bundle.pk)
        .limit(_LOAD_BUNDLES)
    ).all()


def _document_sizes(connection: Connection, pks: Sequence[int]) -> dict[int, int]:
    statement = (
        select(Document.bundle_pk, func.sum(Document.size))
        .where(bulk.among(connection, Document.bundle_pk, pks))
        .group_by(Document.bundle_pk)
    )
    return dict(connection.execute(statement).all())


def _grouped(bundles: Sequence[AnyRow], sizes: dict[int, int]) -> Iterator[list[AnyRow]]:
    """Groups that are bounded by the bytes of their documents."""
    group: list[AnyRow] = []
    size = 0
    for row in bundles:
        own = int(sizes.get(row.pk, 0))
        if group and size + own > _LOAD_BYTES:
            yield group
            group, size = [], 0
        group.append(row)
        size += own
    if group:
        yield group


def _weights(connection: Connection, pks: Sequence[int]) -> dict[int, list[WeightTask]]:
    statement = (
        select(
            File.bundle_pk,
            File.pk,
            File.path,
            File.size,
            File.mtime_ns,
            File.state,
            File.sha256,
            File.payload_sha256,
            File.blake3,
            File.crc32,
            Inspection.size.label("inspected_size"),
            Inspection.mtime_ns.label("inspected_mtime_ns"),
            Inspection.producer.label("inspected_by"),
            Inspection.valid,
            Inspection.problem,
            Inspection.facts,
        )
        .outerjoin(Inspection, Inspection.file_pk == File.pk)
        .where(bulk.among(connection, File.bundle_pk, pks))
        .order_by(File.path)
    )
    weights: dict[int, list[WeightTask]] = defaultdict(list)
    for row in connection.execute(statement):
        watermark = (row.inspected_size, row.inspected_mtime_ns, row.inspected_by)
        weights[row.bundle_pk].append(
            WeightTask(
                pk=row.pk,
                path=row.path,
                size=row.size,
                mtime_ns=row.mtime_ns,
                is_there=row.state != "missing",
                sha256=row.sha256,
                payload_sha256=row.payload_sha256,
                blake3=row.blake3,
                crc32=row.crc32,
                inspected=watermark == (row.size, row.mtime_ns, INSPECT_PRODUCER),
                valid=row.valid,
                problem=row.problem,
                facts=row.facts,
            )
        )
    return weights


def _documents(connection: Connection, pks: Sequence[int], *, own: bool = True) -> dict[int, list[DocumentTask]]:
    """The documents of bundles that are there and can be read, or could before they became unreadable or broken."""
    statement = (
        select(Document.bundle_pk, Document.path, Document.size, Document.mtime_ns, DocumentContent.raw)
        .join(DocumentContent, DocumentContent.document_pk == Document.pk)
        .where(
            bulk.among(connection, Document.bundle_pk, pks),
            Document.state != "missing",
            DocumentContent.is_sound,
        )
        .order_by(Document.path)
    )
    documents: dict[int, list[DocumentTask]] = defaultdict(list)
    for row in connection.execute(statement):
        documents[row.bundle_pk].append(DocumentTask(row.path, row.size, row.mtime_ns, row.raw, own))
    return documents


def _foreign_documents(connection: Connection, weights: dict[int, list[WeightTask]]) -> dict[int, list[DocumentTask]]:
    """For weight files without a document that names their version: the documents that speak of them."""
    claimants = foreign.bundles_of_documents(connection, weights)
    if not claimants:
        return {}
    theirs = _documents(connection, sorted({pk for pks in claimants.values() for pk in pks}), own=False)
    return {
        pk: [document for claimant in pks for document in theirs.get(claimant, ())] for pk, pks in claimants.items()
    }
