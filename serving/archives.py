"""ZIP archives that are sent while they are made: never more than one file of them is in memory."""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""ZIP knows no time before."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive."""

    name: str
    at: datetime
    content: bytes


class _Sink:
    """Where the writer writes to; it cannot go back, so the writer puts lengths behind the contents."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


def archive(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The bytes of an archive, a piece for each entry and one for the end. Pictures are packed already: stored."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as writer:  # type: ignore[call-overload]
        for entry in entries:
            moment = max(_EARLIEST, entry.at.timetuple()[:6])
            writer.writestr(zipfile.ZipInfo(entry.name, moment), entry.content)
            yield sink.take()
    yield sink.take()
