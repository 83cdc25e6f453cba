"""One document read from disk: its bytes, and the verdict on them. Runs in worker processes, so no database here.

Whatever the file system or the bytes do, the answer is an outcome, never an exception.
"""

import os
import stat
from pathlib import PurePath
from typing import Final, Literal

from blake3 import blake3
from isal import isal_zlib
from msgspec import Struct

from warehouse.civitai import Reading, ReasonCode, Shape, Verdict, read_document

COMPRESSION_LEVEL: Final = 1
"""Of ISA-L, whose output is zlib's: the size of zlib's level 1 in a third of the time."""
MAX_COMPLAINTS: Final = 20
"""Complaints of one document that are kept; all of them are counted."""


class Fetched(Struct, array_like=True, frozen=True):
    """A document as it was got: from this machine, or beforehand from a store, for a worker reaches none. `raw` is None
    where it is too large to be taken, or was not got; then `state` and `reason` say why."""

    state: Literal["present", "missing", "unreadable"]
    raw: bytes | None = None
    size: int = 0
    mtime_ns: int = 0
    reason: str | None = None


_MISSING: Final = Fetched("missing")


class ReadTask(Struct, array_like=True, frozen=True):
    """A document to read; `fetched` where that has been done."""

    pk: int
    path: str
    fetched: Fetched | None = None


class Complained(Struct, array_like=True, frozen=True):
    """A field that could not be taken as it stands."""

    code: str
    path: str
    message: str


class ReadOutcome(Struct, array_like=True, frozen=True, kw_only=True):
    """What reading a document gave.

    `state`: present, missing (it vanished meanwhile) or unreadable. `size` and `mtime_ns` are those of the bytes that
    were read; `raw` is their zlib stream, None where nothing was read.
    """

    pk: int
    state: Literal["present", "missing", "unreadable"]
    size: int = 0
    mtime_ns: int = 0
    digest: str | None = None
    shape: str | None = None
    verdict: str | None = None
    reason_code: str | None = None
    reason: str | None = None
    complaint_count: int = 0
    complaints: list[Complained] = []
    raw: bytes | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the document could be read and understood."""
        return self.state == "present" and self.verdict != Verdict.QUARANTINED


def read(task: ReadTask, max_bytes: int) -> ReadOutcome:
    """Read one document and judge it. A file larger than `max_bytes` is not read."""
    fetched = fetch(task, max_bytes)
    return judge(task, fetched, parse(task, fetched, max_bytes), max_bytes)


def fetch(task: ReadTask, max_bytes: int) -> Fetched:
    """The bytes of a document."""
    if task.fetched is not None:
        return task.fetched
    try:
        descriptor = os.open(task.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except OSError as error:
        return _failed(error)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return _MISSING
        if status.st_size > max_bytes:
            return Fetched("present", None, status.st_size, status.st_mtime_ns)
        raw, status = _stable_bytes(descriptor, status, max_bytes)
    except OSError as error:
        return _failed(error)
    finally:
        os.close(descriptor)
    return Fetched("present", raw, status.st_size, status.st_mtime_ns)


def _failed(error: OSError) -> Fetched:
    return Fetched("unreadable", reason=error.strerror or type(error).__name__)


def parse(task: ReadTask, fetched: Fetched, max_bytes: int) -> Reading | None:
    """What a document says; None where nothing was read."""
    if fetched.raw is None:
        return None
    return read_document(fetched.raw, file_name=task.path.rpartition("/")[2], max_bytes=max_bytes)


def judge(task: ReadTask, fetched: Fetched, reading: Reading | None, max_bytes: int) -> ReadOutcome:
    """The outcome for a document that was got and, if it could be, read."""
    if fetched.state == "missing":
        return ReadOutcome(pk=task.pk, state="missing")
    if fetched.state == "unreadable":
        return _unreadable(task, fetched.reason or "no reason given")
    if fetched.raw is None or reading is None:
        return _too_large(task, fetched.size, fetched.mtime_ns, max_bytes)
    return _outcome(task, fetched.raw, (fetched.size, fetched.mtime_ns), reading)


def _stable_bytes(descriptor: int, status: os.stat_result, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """The bytes, read again while the file is being written, and the status that belongs to them."""
    for _ in range(3):
        # No more is asked for than there is: the buffer of a read is allocated before anything is read.
        raw = os.pread(descriptor, min(status.st_size, max_bytes + 1), 0)
        while len(raw) < status.st_size and (more := os.pread(descriptor, status.st_size - len(raw), len(raw))):
            raw += more
        after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns) and len(raw) == after.st_size:
            return raw, after
        status = after
    return raw, status


def _outcome(task: ReadTask, raw: bytes, status: tuple[int, int], reading: Reading) -> ReadOutcome:
    size, mtime_ns = status
    return ReadOutcome(
        pk=task.pk,
        state="present",
        size=size,
        mtime_ns=mtime_ns,
        digest=blake3(raw).hexdigest(),
        shape=reading.shape,
        verdict=reading.verdict,
        reason_code=reading.reason_code,
        reason=reading.reason,
        complaint_count=len(reading.complaints),
        complaints=[
            Complained(complaint.code, complaint.path, complaint.message)
            for complaint in reading.complaints[:MAX_COMPLAINTS]
        ],
        raw=isal_zlib.compress(raw, COMPRESSION_LEVEL),
    )


def _too_large(task: ReadTask, size: int, mtime_ns: int, max_bytes: int) -> ReadOutcome:
    return ReadOutcome(
        pk=task.pk,
        state="present",
        size=size,
        mtime_ns=mtime_ns,
        shape=Shape.UNKNOWN,
        verdict=Verdict.QUARANTINED,
        reason_code=ReasonCode.TOO_LARGE,
        reason=f"{PurePath(task.path).name}: {size:,} bytes are more than the {max_bytes:,} that a document "
        "may have; raise LORA_MANAGER_MAX_DOCUMENT_BYTES if it really is metadata",
    )


def _unreadable(task: ReadTask, reason: str) -> ReadOutcome:
    return ReadOutcome(
        pk=task.pk,
        state="unreadable",
        verdict=Verdict.QUARANTINED,
        reason_code="unreadable",
        reason=f"{PurePath(task.path).name}: cannot be read ({reason}); check its "
        "permissions and the disk, the next sync tries again",
    )


def crashed(task: ReadTask, what: str) -> ReadOutcome:
    """The outcome of a document that ended its worker, or met a fault of ours: set aside until it changes."""
    if task.fetched is not None:
        size, mtime_ns = task.fetched.size, task.fetched.mtime_ns
    else:
        try:
            status = os.stat(task.path)  # noqa: PTH116 - as everywhere in this module
        except OSError:
            return ReadOutcome(pk=task.pk, state="missing")
        size, mtime_ns = status.st_size, status.st_mtime_ns
    return ReadOutcome(
        pk=task.pk,
        state="present",
        size=size,
        mtime_ns=mtime_ns,
        shape=Shape.UNKNOWN,
        verdict=Verdict.QUARANTINED,
        reason_code="internal_error",
        reason=f"{PurePath(task.path).name}: {what}. Please report it with the document; everything else goes on",
    )
