"""The documents of one bundle read, and its adapters derived while they are parsed. Runs in worker processes.

Belongs here: what a worker does for a bundle whose documents are due. Does not: reading one document (`reading`),
deriving (`deriving`), and whether a bundle may be derived now (`documents`).
"""

from collections.abc import Sequence

from msgspec import Struct

from warehouse.civitai import Reading, Source
from warehouse.ingest import deriving, reading
from warehouse.ingest.deriving import Begun, BundleTask, Derived
from warehouse.ingest.reading import ReadOutcome, ReadTask
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


class _Parsed(Struct, frozen=True):
    """A bundle whose documents were read."""

    task: BundleReadTask
    documents: list[tuple[ReadOutcome, Reading | None]]

    @property
    def outcomes(self) -> list[ReadOutcome]:
        """What reading them gave."""
        return [outcome for outcome, _ in self.documents]


def read_bundles(tasks: Sequence[BundleReadTask], max_bytes: int) -> list[BundleRead | Fault]:
    """Read the documents of bundles, and derive the adapters of those that consist of nothing else."""
    results: list[BundleRead | Fault] = []
    for some in together(tasks):
        parsed = each(lambda task: _parse(task, max_bytes), some)
        begun = each(_begin, parsed)
        results += each(_finish, begun)
    return results


def _parse(task: BundleReadTask, max_bytes: int) -> _Parsed:
    return _Parsed(task, [reading.read_and_parse(document, max_bytes) for document in task.documents])


def _begin(parsed: _Parsed) -> tuple[BundleRead, Begun | None]:
    """The result of the bundle as far as it needs no adapters, and their drafts where it has any."""
    task, outcomes = parsed.task, parsed.outcomes
    if task.place is None or any(outcome.state != "present" for outcome in outcomes):
        return BundleRead(task.pk, outcomes), None
    sources = [
        (_source(document, outcome, said), True)
        for document, (outcome, said) in zip(task.documents, parsed.documents, strict=True)
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


def _finish(begun: tuple[BundleRead, Begun | None]) -> BundleRead:
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
