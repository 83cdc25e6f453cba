"""Opening a user's file for reading, and nothing but a file.

Belongs here: the system calls and what their failures mean. Does not: what is in the file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from warehouse.safetensors.problems import (
    HashingError,
    HeaderError,
    HeaderProblem,
    describe_os_error,
    file_system_problem,
)


def open_file(path: Path, failure: type[HeaderError] | type[HashingError]) -> tuple[int, os.stat_result]:
    """A descriptor of the regular file `path`, which the caller closes, and its status.

    Raises `failure` with the reason for anything else: folders, pipes and devices, missing or locked files.
    """
    try:
        # A named pipe would block for ever without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(descriptor)
    except OSError as error:
        raise failure(file_system_problem(error), path, describe_os_error(error)) from error
    except ValueError as error:
        raise failure(HeaderProblem.vanished, path, "has a name that no file can have.") from error
    if stat.S_ISREG(status.st_mode):
        return descriptor, status
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise failure(HeaderProblem.is_directory, path, "is a folder.")
    raise failure(HeaderProblem.io_error, path, "is a device or a pipe, not a file.")
