"""One weight file judged as a whole: is it sound, what is it, which hashes has it.

Belongs here: the order of the steps. Does not: the steps (`header`, `facts`, `hashing`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from warehouse.safetensors.facts import HeaderFacts, describe_header
from warehouse.safetensors.hashing import FileHashes, Progress, hash_file
from warehouse.safetensors.header import Header, read_header
from warehouse.safetensors.opening import open_file
from warehouse.safetensors.problems import HashingError, HeaderError, HeaderProblem

_UNREADABLE = frozenset(
    {HeaderProblem.vanished, HeaderProblem.permission, HeaderProblem.is_directory, HeaderProblem.io_error}
)
_OTHER_FORMATS = frozenset({HeaderProblem.pickle, HeaderProblem.zip_archive, HeaderProblem.gguf})


class InspectionState(StrEnum):
    """`not_inspected` is a weight file of a format that is never opened (pickle, zip, GGUF): neither good nor bad."""

    valid = "valid"
    invalid = "invalid"
    not_inspected = "not_inspected"


@dataclass(frozen=True, slots=True)
class Inspection:
    """The outcome. `problem` and `message` are None for a valid file; `facts` are there whenever the JSON of the
    header was sound, also for a truncated file; `hashes` whenever they were asked for and the file was readable."""

    state: InspectionState
    problem: HeaderProblem | None
    message: str | None
    header_length: int | None
    facts: HeaderFacts | None
    hashes: FileHashes | None

    @property
    def valid(self) -> bool:
        """Whether the file is sound safetensors."""
        return self.state is InspectionState.valid


def inspect_file(
    path: Path,
    *,
    hashes: bool = True,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Inspection:
    """Inspect `path`; with `hashes=False` only the header is read.

    Problems of the file are in the answer, not raised; `HashingStoppedError` alone passes through.
    """
    header, error = _header(path)
    facts = _facts(header, path) if header is not None else None
    digests: FileHashes | None = None
    problem: HeaderProblem | None = error.problem if error else None
    message = str(error) if error else None
    if hashes and problem not in _UNREADABLE:
        try:
            length = header.length if header is not None else None
            digests = hash_file(path, header_length=length, progress=progress, should_stop=should_stop)
        except HashingError as failure:
            problem, message = failure.problem, str(failure)
    return judge(header, problem, message, facts, digests)


def judge(
    header: Header | None,
    problem: HeaderProblem | None,
    message: str | None,
    facts: HeaderFacts | None,
    hashes: FileHashes | None,
) -> Inspection:
    """The outcome of what was read."""
    return Inspection(_state(problem), problem, message, header.length if header is not None else None, facts, hashes)


def _header(path: Path) -> tuple[Header | None, HeaderError | None]:
    try:
        return read_header(path), None
    except HeaderError as error:
        return error.header, error


def _facts(header: Header, path: Path) -> HeaderFacts:
    try:
        descriptor, _ = open_file(path, HeaderError)
    except HeaderError:
        return describe_header(header)
    try:
        return describe_header(header, read_bytes=lambda offset, count: _pread(descriptor, count, offset))
    finally:
        os.close(descriptor)


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, count, offset)
    except (OSError, OverflowError):
        return b""


def _state(problem: HeaderProblem | None) -> InspectionState:
    if problem is None:
        return InspectionState.valid
    return InspectionState.not_inspected if problem in _OTHER_FORMATS else InspectionState.invalid
