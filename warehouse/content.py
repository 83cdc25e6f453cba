"""A folder of files that are named by the SHA-256 of their content, each kept once, and the end of those that nobody
needs.

A file is written aside, synced and renamed, so that a name stands for whole bytes or is not there. Keeping what is
there already makes it young again: between the keeping and the row that needs it lies a while, in which nobody may take
the file for unneeded. Belongs here: files. Does not: who needs them (rows), what is in them (`pictures`,
`jobs.attachments`).
"""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

GRACE: Final = timedelta(hours=1)
"""How long a file is left alone after it was last kept, needed or not."""


class ContentFolder:
    """The folder; it is made with the first file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, digest: str, extension: str = "") -> Path:
        """Where the content of a digest lies, if it is there."""
        # Two digits of folders: a folder of a million files is slow on most file systems.
        return self._folder / digest[:2] / f"{digest}{extension}"

    def keep(self, data: bytes, extension: str = "") -> str:
        """Keep a content; its digest.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self.place(digest, extension)
        try:
            os.utime(path)
        except FileNotFoundError:
            _write(path, data)
        return digest

    def discard(self, path: Path) -> bool:
        """Remove a file that nobody needs, unless it was kept a short while ago; whether it is gone."""
        # Out of the way first: who keeps it again from here on writes it anew, and who did so before made it young.
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if time.time() - aside.stat().st_mtime < GRACE.total_seconds():
            aside.replace(path)
            return False
        aside.unlink()
        return True

    def old(self) -> Iterator[Path]:
        """The files that were not kept lately, those that a crash left half written among them."""
        limit = time.time() - GRACE.total_seconds()
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if not folder.is_dir():
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < limit:
                            yield Path(entry.path)


def _write(path: Path, data: bytes) -> None:
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
