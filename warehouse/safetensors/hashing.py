"""The hashes of a weight file, all in one read.

Belongs here: what the bytes are. Does not: what a document claims they are, and what the header says (`training`).

SHA-256 runs twice over nearly the same bytes (the file, and the payload after the header, whose prefix differs),
so two threads share the work: one takes SHA-256 of the file and CRC-32, the other SHA-256 of the payload and
BLAKE3, while the reader fills the next buffer. All four release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from warehouse.safetensors.opening import open_file
from warehouse.safetensors.problems import (
    HashingError,
    HashingStoppedError,
    HeaderProblem,
    describe_os_error,
    file_system_problem,
)

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) after every buffer."""

_BUFFER_BYTES = 4 << 20
# Starting two threads costs about as much as hashing this much.
_THREADS_FROM_BYTES = 2 << 20
_AUTOV1_OFFSET = 0x100000
_AUTOV1_BYTES = 0x10000


@dataclass(frozen=True, slots=True)
class FileHashes:
    """Hashes of one file, lower-case hexadecimal.

    `payload_sha256` covers the bytes after the header and equals for equal weights under another header;
    it and `autov3` are None for a file without a safetensors header, `autov1` for a file that ends before its
    sample (64 KiB at 1 MiB). `autov1` has 8 digits, `autov2` 10, `autov3` 12: Civitai's names.
    """

    size: int
    mtime_ns: int
    sha256: str
    blake3: str
    crc32: str
    payload_sha256: str | None
    autov1: str | None

    @property
    def autov2(self) -> str:
        """First ten digits of the file's SHA-256."""
        return self.sha256[:10]

    @property
    def autov3(self) -> str | None:
        """First twelve digits of the payload's SHA-256."""
        return self.payload_sha256[:12] if self.payload_sha256 else None


def hash_file(
    path: Path,
    *,
    header_length: int | None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FileHashes:
    """Hash `path` in one read.

    `header_length` is the length of the JSON header in bytes (`Header.length`), None where there is none.
    Raises `HashingError` when the file cannot be read or changes meanwhile, `HashingStoppedError` when
    `should_stop` (asked once per buffer of 4 MiB) says so.
    """
    descriptor, status = open_file(path, HashingError)
    try:
        return _hash(descriptor, status, path, header_length, progress, should_stop)
    except OSError as error:
        raise HashingError(file_system_problem(error), path, describe_os_error(error)) from error
    finally:
        os.close(descriptor)


def _hash(
    descriptor: int,
    before: os.stat_result,
    path: Path,
    header_length: int | None,
    progress: Progress | None,
    should_stop: Callable[[], bool] | None,
) -> FileHashes:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    digests = Digests(header_length)
    done = digests.feed(lambda buffer: os.readv(descriptor, [buffer]), before.st_size, progress, should_stop)
    after = os.fstat(descriptor)
    if done != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise HashingError(HeaderProblem.changed_while_read, path, "changed while it was read.")
    return digests.result(before.st_size, before.st_mtime_ns)


class Digests:
    """The running hashes, in two lanes that each take the buffers in order."""

    def __init__(self, header_length: int | None) -> None:
        self._payload_offset = None if header_length is None else 8 + header_length
        self._file = hashlib.sha256()
        self._payload = hashlib.sha256()
        self._sample = hashlib.sha256()
        self._blake3 = blake3()
        self._crc32 = 0

    def update_file(self, chunk: memoryview) -> None:
        """First lane."""
        self._file.update(chunk)
        self._crc32 = zlib.crc32(chunk, self._crc32)

    def update_payload(self, chunk: memoryview, offset: int) -> None:
        """Second lane; `offset` is where `chunk` lies in the file."""
        self._blake3.update(chunk)
        if self._payload_offset is not None:
            self._payload.update(chunk[max(0, self._payload_offset - offset) :])
        begin, end = _AUTOV1_OFFSET - offset, _AUTOV1_OFFSET + _AUTOV1_BYTES - offset
        if end > 0 and begin < len(chunk):
            self._sample.update(chunk[max(0, begin) : end])

    def result(self, size: int, mtime_ns: int) -> FileHashes:
        has_payload = self._payload_offset is not None and self._payload_offset <= size
        return FileHashes(
            size=size,
            mtime_ns=mtime_ns,
            sha256=self._file.hexdigest(),
            blake3=self._blake3.hexdigest(),
            crc32=f"{self._crc32:08x}",
            payload_sha256=self._payload.hexdigest() if has_payload else None,
            autov1=self._sample.hexdigest()[:8] if size > _AUTOV1_OFFSET else None,
        )

    def feed(
        self,
        fill: Callable[[memoryview], int],
        size: int,
        progress: Progress | None,
        should_stop: Callable[[], bool] | None,
    ) -> int:
        """Hash `size` bytes as `fill` puts them into buffers, 0 at the end; the number of bytes there were."""
        buffer_bytes = min(_BUFFER_BYTES, max(size, 1))
        with ExitStack() as stack:
            lanes = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2 if size >= _THREADS_FROM_BYTES else 0)]
            buffers = [memoryview(bytearray(buffer_bytes)) for _ in range(2 if lanes else 1)]
            pending: list[list[Future[None]]] = [[] for _ in buffers]
            offset = turn = 0
            # A file that is being written would be read for ever: its growth shows in its status afterwards.
            while offset < size:
                for future in pending[turn]:
                    future.result()
                if should_stop is not None and should_stop():
                    raise HashingStoppedError
                count = fill(buffers[turn][: size - offset])
                if count == 0:
                    break
                chunk = buffers[turn][:count]
                if lanes:
                    pending[turn] = [
                        lanes[0].submit(self.update_file, chunk),
                        lanes[1].submit(self.update_payload, chunk, offset),
                    ]
                else:
                    self.update_file(chunk)
                    self.update_payload(chunk, offset)
                offset += count
                turn = (turn + 1) % len(buffers)
                if progress is not None:
                    progress(offset, size)
            for futures in pending:
                for future in futures:
                    future.result()
        return offset
