"""What lies in stores, got ahead of the workers that judge it: they reach no store and know no credentials.

Belongs here: how many requests are under way, and what a failure means to a task. Does not: the requests
(`warehouse.storage`), judging what was got (`reading`, `deriving`). Tasks of files on this machine pass as they are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from warehouse.ingest import deriving
from warehouse.ingest.bundles import BundleReadTask
from warehouse.ingest.deriving import BundleTask, WeightTask
from warehouse.ingest.reading import Fetched, ReadTask
from warehouse.safetensors import HeaderProblem, inspect_object
from warehouse.settings import Settings
from warehouse.storage import Access, Seen, is_stored, object_at

TaskT = TypeVar("TaskT")

_REQUESTS: Final = 32
"""Requests under way at once: a store answers after tens of milliseconds, however many it is asked."""
_AHEAD: Final = 3
"""Batches that are being got while the one before them is worked on."""


def with_documents(batches: Iterable[list[BundleReadTask]], settings: Settings) -> Iterator[list[BundleReadTask]]:
    """The batches, with the bytes of those documents that lie in stores."""
    access, limit = settings.library_access, settings.max_document_bytes

    def fetch(task: BundleReadTask) -> BundleReadTask:
        documents = [_fetched(each, access, limit) if is_stored(each.path) else each for each in task.documents]
        return msgspec.structs.replace(task, documents=documents)

    return _ahead(batches, fetch, lambda task: any(is_stored(each.path) for each in task.documents))


def with_headers(batches: Iterable[Sequence[BundleTask]], settings: Settings) -> Iterator[list[BundleTask]]:
    """The batches, with what the headers tell of those weight files that lie in stores and were not inspected yet."""
    access = settings.library_access

    def fetch(task: BundleTask) -> BundleTask:
        weights = [_looked_at(each, access) if _is_due(each) else each for each in task.weights]
        return msgspec.structs.replace(task, weights=weights)

    return _ahead(batches, fetch, lambda task: any(_is_due(each) for each in task.weights))


def _ahead(
    batches: Iterable[Sequence[TaskT]], fetch: Callable[[TaskT], TaskT], wants: Callable[[TaskT], bool]
) -> Iterator[list[TaskT]]:
    waiting: deque[list[TaskT | Future[TaskT]]] = deque()
    threads: ThreadPoolExecutor | None = None
    try:
        for batch in batches:
            if any(map(wants, batch)):
                threads = threads or ThreadPoolExecutor(_REQUESTS, "store")
                waiting.append([threads.submit(fetch, task) if wants(task) else task for task in batch])
            elif not waiting:
                yield list(batch)
            else:
                waiting.append(list(batch))
            while len(waiting) > _AHEAD:
                yield _got(waiting.popleft())
        while waiting:
            yield _got(waiting.popleft())
    finally:
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)


def _got(batch: Sequence["TaskT | Future[TaskT]"]) -> list[TaskT]:
    return [task.result() if isinstance(task, Future) else task for task in batch]


def _fetched(task: ReadTask, access: Access, limit: int) -> ReadTask:
    try:
        bucket, key = object_at(task.path, access)
        raw, size, mtime_ns = bucket.read(key, limit=limit)
        fetched = Fetched("present", raw, size, mtime_ns)
    except FileNotFoundError:
        fetched = Fetched("missing")
    except OSError as error:
        fetched = Fetched("unreadable", reason=error.strerror or type(error).__name__)
    return msgspec.structs.replace(task, fetched=fetched)


def _is_due(weight: WeightTask) -> bool:
    return not weight.inspected and weight.is_there and is_stored(weight.path)


def _looked_at(weight: WeightTask, access: Access) -> WeightTask:
    """The weight file with what its header tells; as it is while that cannot be read."""
    inspection = inspect_object(weight.path, access, hashes=False, seen=Seen(weight.size, weight.mtime_ns))
    if inspection.problem is HeaderProblem.vanished:
        return msgspec.structs.replace(weight, is_there=False)
    if inspection.problem is HeaderProblem.unreachable:
        return weight
    row = deriving.inspection_row(weight.pk, weight.size, weight.mtime_ns, inspection)
    return msgspec.structs.replace(
        weight, inspected=True, valid=row.valid, problem=row.problem, facts=row.facts, fresh=row
    )
