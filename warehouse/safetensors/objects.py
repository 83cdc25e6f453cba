"""A weight file in a store, judged as one on disk is: its header by one range read, all of it by streamed ones.

Belongs here: which ranges are read, and what of them is kept. Does not: the requests (`warehouse.storage`), what the
bytes mean (`header`, `facts`, `hashing`).

Values of alpha tensors lie all over a file. On disk each costs a small read; here they are taken from the stream as
it passes, so that an inspection without hashes knows no alpha unless it lies in what was read anyhow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Final

from warehouse.safetensors.facts import HeaderFacts, describe_header
from warehouse.safetensors.hashing import Digests, FileHashes
from warehouse.safetensors.header import Header, parse_header
from warehouse.safetensors.inspection import Inspection, judge
from warehouse.safetensors.problems import HeaderError, HeaderProblem, describe_os_error, file_system_problem
from warehouse.storage import PART_BYTES, Access, ChangedError, ObjectFile, Seen, object_at

HEAD_BYTES: Final = 256 * 2**10
"""Read for a header, whose length is not known before. Of adapters few are longer, which costs a second request."""


def inspect_object(path: str, access: Access, *, hashes: bool = True, seen: Seen | None = None) -> Inspection:
    """Inspect an object; with `hashes=False` only its header is read, and no alpha is guessed that it does not tell.

    Problems of the object are in the answer, not raised. What is read is of one version of it: an object that is
    replaced meanwhile gives `changed_while_read`, a store that cannot be had `unreachable`.
    """
    name = PurePosixPath(path.rpartition("/")[2])
    try:
        bucket, key = object_at(path, access)
        file = bucket.open(key, first=PART_BYTES if hashes else HEAD_BYTES, seen=seen)
    except OSError as error:
        failure = HeaderError(file_system_problem(error), name, describe_os_error(error))
        return judge(None, failure.problem, str(failure), None, None)
    header, flaw = _header(file, name)
    problem, message = (flaw.problem, str(flaw)) if flaw else (None, None)
    if not hashes or problem in (HeaderProblem.unreachable, HeaderProblem.changed_while_read):
        return judge(header, problem, message, _first_facts(header, file), None)
    sought = _Sought(header)
    digests: FileHashes | None = None
    try:
        digests = _hash(file, header, sought.watch)
    except OSError as failed:
        failure = HeaderError(file_system_problem(failed), name, describe_os_error(failed))
        problem, message = failure.problem, str(failure)
    facts = describe_header(header, read_bytes=sought.read) if header is not None else None
    return judge(header, problem, message, facts, digests)


def _header(file: ObjectFile, name: PurePosixPath) -> tuple[Header | None, HeaderError | None]:
    try:
        return parse_header(file.pread, name, file.size, file.mtime_ns), None
    except HeaderError as error:
        return error.header, error


def _first_facts(header: Header | None, file: ObjectFile) -> HeaderFacts | None:
    """What the header tells, without an alpha where its tensors were not read."""
    if header is None:
        return None
    is_whole = True

    def read(offset: int, count: int) -> bytes:
        nonlocal is_whole
        is_whole = is_whole and offset + count <= len(file.head)
        return file.head[offset : offset + count]

    facts = describe_header(header, read_bytes=read)
    return facts if is_whole else dataclasses.replace(facts, alpha=None)


class _Sought:
    """The few bytes that the facts need beside the header, picked out of the stream."""

    def __init__(self, header: Header | None) -> None:
        self._found: dict[int, bytes] = {}
        self._counts: dict[int, int] = {}
        if header is not None:
            describe_header(header, read_bytes=self._ask)

    def _ask(self, offset: int, count: int) -> bytes:
        self._counts[offset] = count
        return b""

    def watch(self, part: memoryview, start: int) -> None:
        """Keep what is wanted of a part that lies at `start`; a value may lie across two parts."""
        for offset, count in self._counts.items():
            begin, end = max(offset, start), min(offset + count, start + len(part))
            if begin < end:
                self._found[offset] = self._found.get(offset, b"") + bytes(part[begin - start : end - start])

    def read(self, offset: int, _count: int) -> bytes:
        """As `os.pread` would have read it."""
        return self._found.get(offset, b"")


def _hash(file: ObjectFile, header: Header | None, watch: Callable[[memoryview, int], None]) -> FileHashes:
    digests = Digests(header.length if header is not None else None)
    stream = _Stream(file, watch)
    try:
        done = digests.feed(stream.fill, file.size, None, None)
    finally:
        stream.close()
    if done != file.size:
        raise ChangedError(file.key)
    return digests.result(file.size, file.mtime_ns)


class _Stream:
    """The parts of an object in order, the next one on its way while one is worked on."""

    def __init__(self, file: ObjectFile, watch: Callable[[memoryview, int], None]) -> None:
        self._file = file
        self._watch = watch
        self._threads = ThreadPoolExecutor(1, "store-part")
        self._parts = self._ordered()
        self._part = memoryview(b"")

    def fill(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer; 0 at the end."""
        if not self._part:
            self._part = next(self._parts, memoryview(b""))
        count = min(len(buffer), len(self._part))
        buffer[:count] = self._part[:count]
        self._part = self._part[count:]
        return count

    def close(self) -> None:
        """Want no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _ordered(self) -> Iterator[memoryview]:
        size, offset, part = self._file.size, 0, self._file.head
        coming = self._ask(len(part))
        while part:
            view = memoryview(part)
            self._watch(view, offset)
            yield view
            offset += len(part)
            if coming is None:
                return
            part = coming.result()
            coming = self._ask(offset + len(part)) if offset + len(part) < size else None

    def _ask(self, offset: int) -> Future[bytes] | None:
        if offset >= self._file.size:
            return None
        return self._threads.submit(self._file.pread, PART_BYTES, offset)
