"""The documents of one bundle read, and its adapters derived while they are parsed. Runs in worker processes.

Belongs here: what a worker does for a bundle whose documents are due. Does not: reading one document (`reading`),
deriving (`deriving`), and whether a bundle may be derived now (`documents`).
"""

from msgspec import Struct

from warehouse.civitai import Reading, Source
from warehouse.ingest import deriving, reading
from warehouse.ingest.deriving import BundleTask, Derived
from warehouse.ingest.reading import ReadOutcome, ReadTask


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


def read_bundle(task: BundleReadTask, max_bytes: int) -> BundleRead:
    """Read the documents of a bundle, and derive its adapters if they are all it consists of."""
    results = [reading.read_and_parse(document, max_bytes) for document in task.documents]
    outcomes = [outcome for outcome, _ in results]
    if task.place is None or any(outcome.state != "present" for outcome in outcomes):
        return BundleRead(task.pk, outcomes)
    sources = [
        _source(document, outcome, parsed)
        for document, (outcome, parsed) in zip(task.documents, results, strict=True)
        if parsed is not None and outcome.is_sound
    ]
    if not sources:
        return BundleRead(task.pk, outcomes, is_hollow=True)
    directory, stem = task.place
    bundle = BundleTask(pk=task.pk, revision=0, directory=directory, stem=stem, weights=[], documents=[])
    try:
        derived = deriving.derive_from(bundle, [(source, True) for source in sources])
    except Exception:
        # A fault of ours: the stage of adapters meets it again, and reports it.
        derived = None
    return BundleRead(task.pk, outcomes, derived)


def _source(document: ReadTask, outcome: ReadOutcome, parsed: Reading) -> Source:
    return Source(path=document.path, mtime_ns=outcome.mtime_ns, size=outcome.size, reading=parsed)


def crashed(task: BundleReadTask, what: str) -> BundleRead:
    """The outcome of documents that ended their worker, or met a fault of ours."""
    return BundleRead(task.pk, [reading.crashed(document, what) for document in task.documents])
