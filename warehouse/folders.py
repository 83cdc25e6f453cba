"""Who has a whole data folder to itself: one `up`, or one restoration. The lock is the system's, on the folder as such,
so it leaves no file behind and goes with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Whether this process has a folder, which exists, to itself for the block; False where another one has it.

    On a file system without such locks everybody has it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        has_it = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            has_it = False
        except OSError:
            # A network's file system that locks only what is open for writing, which no folder is.
            pass
        yield has_it
    finally:
        os.close(descriptor)
