"""The documents of one bundle read, and its adapters derived while they are parsed. Runs in worker processes.

Belongs here: what a worker does for a bundle whose documents are due. Does not: reading one document (`reading`),
deriving (`deriving`), and whether a bundle may be derived now (`documents`).
"""

from collections.abc import Sequence

from msgspec import Struct

from warehouse.civitai import Reading, Source
from warehouse.ingest import deriving, reading
from warehouse.ingest.deriving import Begun, BundleTask, Derived
from warehouse.ingest.reading import Fetched, ReadOutcome, ReadTask
from warehouse.ingest.steps import Fault, each, together


class BundleReadTask(Struct, array_like=True, frozen=True):
    """Due documents of a bundle. `place` (folder and stem) where they are all it consists of, else None."""

    pk: int
    documents: list[ReadTask]
    place: tuple[str, str] | None = None


class BundleRead(Struct, array_like=True, frozen=True):
    """What reading them gave. `derived` are the adapters, at revision 0; None where reading them is not enough.

    `is_hollow` where no document holds anything that adapters are derived from.
    """

    pk: int
    outcomes: list[ReadOutcome]
    derived: Derived | None = None
    is_hollow: bool = False


class _Fetched(Struct, frozen=True):
    """A bundle whose documents were got."""

    task: BundleReadTask
    documents: list[Fetched]


class _Parsed(Struct, frozen=True):
    """A bundle whose documents were read, in their order; None where there was nothing to read."""

    task: BundleReadTask
    documents: list[Fetched]
    readings: list[Reading | None]


class _Judged(Struct, frozen=True):
    """A bundle whose documents were judged."""

    task: BundleReadTask
    readings: list[Reading | None]
    outcomes: list[ReadOutcome]


_Begun = tuple[BundleRead, Begun | None]
"""The result of a bundle as far as it needs no adapters, and their drafts where it has any."""


def read_bundles(tasks: Sequence[BundleReadTask], max_bytes: int) -> list[BundleRead | Fault]:
    """Read the documents of bundles, and derive the adapters of those that consist of nothing else."""
    results: list[BundleRead | Fault] = []
    for some in together(tasks):
        fetched = each(lambda task: _fetch(task, max_bytes), some)
        parsed = each(lambda bundle: _parse(bundle, max_bytes), fetched)
        judged = each(lambda bundle: _judge(bundle, max_bytes), parsed)
        results += each(_finish, each(_weigh, each(_begin, judged)))
    return results


def _fetch(task: BundleReadTask, max_bytes: int) -> _Fetched:
    return _Fetched(task, [reading.fetch(document, max_bytes) for document in task.documents])


def _parse(bundle: _Fetched, max_bytes: int) -> _Parsed:
    task, documents = bundle.task, bundle.documents
    readings = [
        reading.parse(document, got, max_bytes) for document, got in zip(task.documents, documents, strict=True)
    ]
    return _Parsed(task, documents, readings)


def _judge(bundle: _Parsed, max_bytes: int) -> _Judged:
    task, readings = bundle.task, bundle.readings
    every = zip(task.documents, bundle.documents, readings, strict=True)
    return _Judged(task, readings, [reading.judge(document, got, said, max_bytes) for document, got, said in every])


def _begin(judged: _Judged) -> _Begun:
    task, outcomes = judged.task, judged.outcomes
    if task.place is None or any(outcome.state != "present" for outcome in outcomes):
        return BundleRead(task.pk, outcomes), None
    sources = [
        (_source(document, outcome, said), True)
        for document, outcome, said in zip(task.documents, outcomes, judged.readings, strict=True)
        if said is not None and outcome.is_sound
    ]
    if not sources:
        return BundleRead(task.pk, outcomes, is_hollow=True), None
    directory, stem = task.place
    bundle = BundleTask(pk=task.pk, revision=0, directory=directory, stem=stem, weights=[], documents=[])
    try:
        begun = deriving.begin(bundle, sources)
    except Exception:
        # A fault of ours: the stage of adapters meets it again, and reports it.
        begun = None
    return BundleRead(task.pk, outcomes), begun


def _weigh(begun: _Begun) -> _Begun:
    read, drafts = begun
    if drafts is None:
        return begun
    try:
        return read, deriving.weigh(drafts)
    except Exception:
        # As above.
        return read, None


def _finish(begun: _Begun) -> BundleRead:
    read, drafts = begun
    if drafts is None:
        return read
    try:
        return BundleRead(read.pk, read.outcomes, deriving.finish(drafts))
    except Exception:
        # As above.
        return read


def _source(document: ReadTask, outcome: ReadOutcome, parsed: Reading) -> Source:
    return Source(path=document.path, mtime_ns=outcome.mtime_ns, size=outcome.size, reading=parsed)


def crashed(task: BundleReadTask, what: str) -> BundleRead:
    """The outcome of documents that ended their worker, or met a fault of ours."""
    return BundleRead(task.pk, [reading.crashed(document, what) for document in task.documents])
