"""Which weight files may be registered, and what a look at one tells.

Belongs here: the rules of `file_path`. Does not: reading weights (`warehouse.safetensors`), walking folders (`ingest`).
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from warehouse.catalog.errors import FieldError
from warehouse.ingest.roots import registered
from warehouse.safetensors import WEIGHT_SUFFIXES, InspectionState, inspect_file
from warehouse.settings import Settings

FIELD = "file_path"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file that may be registered, at the path under which a sync meets it; `state` as in `adapters.file_state`."""

    path: str
    size: int
    state: str


def roots_of(connection: Connection, settings: Settings) -> list[Path]:
    """The folders a registered file must lie under: configured ones, and with them those of earlier syncs.

    Empty where none is configured: any file may be registered then.
    """
    if not settings.library_roots:
        return []
    # Objects of stores come in by a sync alone, so that their roots allow no file.
    return [root for root in (*settings.library_roots, *registered(connection)) if isinstance(root, Path)]


def look_at(text: str, roots: Sequence[Path]) -> WeightFile:
    """The weight file at a path that a client names.

    Raises:
        FieldError: it cannot be registered. What lies outside the roots is not told, not even whether it exists.
    """
    given = Path(text)
    if not given.is_absolute():
        raise FieldError(FIELD, "must be an absolute path, as the machine of this service sees the file")
    if given.suffix.lower() not in WEIGHT_SUFFIXES:
        raise FieldError(FIELD, f"must name a weight file: {', '.join(sorted(WEIGHT_SUFFIXES))}")
    try:
        # The folder by its real name and the file by the name it has there, as a sync lists it.
        path, target = given.parent.resolve() / given.name, given.resolve()
        if roots and not any(target.is_relative_to(root) for root in roots):
            raise FieldError(
                FIELD,
                "lies outside the library folders, once links are followed: move the file into one of them, or add "
                "its folder to LORA_MANAGER_LIBRARY_ROOTS",
            )
        status = path.stat()
    except FileNotFoundError:
        raise FieldError(FIELD, "does not exist: check the path, or mount the disk it is on") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise FieldError(FIELD, f"cannot be opened ({reason}): check the path and its permissions") from None
    if not stat.S_ISREG(status.st_mode):
        raise FieldError(FIELD, "is no regular file: name the weight file itself")
    if not os.access(path, os.R_OK):
        raise FieldError(FIELD, "cannot be read: give the account that runs this service access to it")
    state = "invalid" if inspect_file(path, hashes=False).state is InspectionState.invalid else "present"
    return WeightFile(str(path), status.st_size, state)
