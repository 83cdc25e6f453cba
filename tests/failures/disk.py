"""A disk that is nearly full: a small file system in memory, in the place of a folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PLENTY = 256 * 2**20


class Disk:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: int) -> None:
        """Let it have so many bytes, used ones included."""
        _mount("-o", f"remount,size={size}", os.fspath(self.folder))

    def used(self) -> int:
        """Bytes that are taken."""
        return shutil.disk_usage(self.folder).used

    def fill(self, *, room: int = 0) -> None:
        """Leave so many bytes free, and no more."""
        self.resize(max(4096, self.used() + room))

    def grow(self) -> None:
        """Let there be plenty of room."""
        self.resize(_PLENTY)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def small_disk(folder: Path, *, room: int | None = None) -> Iterator[Disk]:
    """Put a file system of its own in the place of a folder, with what is in it, and at its end put it back.

    Args:
        room: bytes that are left free; None: plenty.

    Skips the test where this user may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.copytree(folder, kept, symlinks=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={_PLENTY},mode=0755", "tmpfs", os.fspath(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        disk = Disk(folder)
        if room is not None:
            disk.fill(room=room)
        yield disk
    finally:
        # Lazily: a process that a failed test left behind may still have a file open.
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True)
        shutil.rmtree(kept)
