"""Pictures as files named by their content, each kept once.

A file is written aside, synced and renamed, so that a name stands for whole bytes or is not there; one that is there
already is left as it is, and two writers of the same picture write the same.
"""

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
        self._folder = folder

    def put(self, data: bytes) -> StoredPicture:
        """Keep a picture as it is.

        Raises:
            UnknownPictureError: the bytes are no picture.
            OSError: it cannot be written; nothing of it is left.
        """
        found = sniff(data)
        digest = hashlib.sha256(data).hexdigest()
        path = self._place(digest, found.format)
        if not path.exists():
            self._write(path, data)
        return StoredPicture(digest, found.format, found.width, found.height, len(data))

    def path_of(self, sha256: str) -> tuple[Path, PictureFormat] | None:
        """Where a picture lies; None where no such one is kept. Anything but a digest is none."""
        if not _NAME.fullmatch(sha256):
            return None
        for kind in PictureFormat:
            path = self._place(sha256, kind)
            if path.is_file():
                return path, kind
        return None

    def get(self, sha256: str) -> bytes | None:
        """The bytes of a picture; None where no such one is kept."""
        found = self.path_of(sha256)
        return found[0].read_bytes() if found is not None else None

    def remove(self, sha256: str) -> bool:
        """Forget a picture; whether it was there."""
        found = self.path_of(sha256)
        if found is None:
            return False
        found[0].unlink(missing_ok=True)
        return True

    def _place(self, digest: str, kind: PictureFormat) -> Path:
        # Two digits of folders: a folder of a million files is slow on most file systems.
        return self._folder / digest[:2] / f"{digest}.{kind.value}"

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with aside.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
