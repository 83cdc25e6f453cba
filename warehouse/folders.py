"""Who works on a data folder: services together, or one restoration alone. The lock is the system's, on the folder as
such, so it leaves no file behind and goes with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, *, alone: bool) -> Iterator[bool]:
    """Whether this process has a folder for the block: alone, or with others that do not want it alone.

    It is made where there is none. On a file system without such locks everybody has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        has_it = True
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            has_it = False
        except OSError:
            # A network's file system that locks only what is open for writing, which no folder is.
            pass
        yield has_it
    finally:
        os.close(descriptor)
