"""Pictures as files named by their content, each kept once.

A name stands for whole bytes or is not there; two writers of the same picture write the same (`warehouse.content`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warehouse.content import ContentFolder
from warehouse.pictures.formats import PictureFormat, sniff

_NAME: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture that is kept."""

    sha256: str
    format: PictureFormat
    width: int
    height: int
    size: int
    """Bytes."""


class PictureStore:
    """The pictures of a data folder."""

    def __init__(self, folder: Path) -> None:
        """A store; its folder is made with the first picture."""
        self._files = ContentFolder(folder)

    def put(self, data: bytes) -> StoredPicture:
        """Keep a picture as it is.

        Raises:
            UnknownPictureError: the bytes are no picture.
            OSError: it cannot be written; nothing of it is left.
        """
        found = sniff(data)
        digest = self._files.keep(data, f".{found.format.value}")
        return StoredPicture(digest, found.format, found.width, found.height, len(data))

    def path_of(self, sha256: str) -> tuple[Path, PictureFormat] | None:
        """Where a picture lies; None where no such one is kept. Anything but a digest is none."""
        if not _NAME.fullmatch(sha256):
            return None
        for kind in PictureFormat:
            path = self._files.place(sha256, f".{kind.value}")
            if path.is_file():
                return path, kind
        return None

    def get(self, sha256: str) -> bytes | None:
        """The bytes of a picture; None where no such one is kept."""
        found = self.path_of(sha256)
        return found[0].read_bytes() if found is not None else None

    def discard(self, sha256: str) -> bool:
        """Forget a picture that no row needs, unless it was put a short while ago, by a generation whose row may be on
        its way; whether it is gone. What is left is collected later."""
        found = self.path_of(sha256)
        return found is not None and self._files.discard(found[0])

    def old(self) -> Iterator[tuple[str, Path]]:
        """The files that were not put lately, each with its digest; what a crash left half written has none ('')."""
        for path in self._files.old():
            yield (path.stem if _NAME.fullmatch(path.stem) else ""), path

    def discard_file(self, path: Path) -> bool:
        """Remove one of them; whether it is gone."""
        return self._files.discard(path)
